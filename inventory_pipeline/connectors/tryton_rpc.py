"""Tryton's JSON-RPC: logs in, asks, and tells what an error in a 200 means.

Every call names a model and a method, and ends with the context. Only methods that read are called
here, so that each may be repeated: a lock answers 503, and asking again gets through.
"""

import base64
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import Answer, Caller, Kind, Trouble

READ_METHODS = frozenset({"search_read", "read", "search_count"})
# What a person has to change before the same question can be answered.
LOGIN = "LoginException"

Row = dict[str, Any]
Domain = Sequence[Any]


class Rpc:
    """One user's session in one database. Safe to use from several threads."""

    def __init__(self, caller: Caller, *, database: str, username: str, password: Secret) -> None:
        self._caller = caller
        self._path = f"/{database}/rpc/"
        self._username = username
        self._password = password
        self._session = ""
        self._context: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.server_time: datetime | None = None  # of the newest answer, whole seconds

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        order: Sequence[Sequence[str]] | None = None,
        limit: int | None = None,
        offset: int = 0,
        context: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """Rows of a model. A field like `product.code` stands below `product.`. Raises Trouble."""
        found = self._call(
            model, "search_read", [domain, offset, limit, order, list(fields)], context or {}
        )
        if not isinstance(found, list):
            raise Trouble(Kind.UNKNOWN, f"{model}: the answer is no list of rows")
        return found

    def _call(
        self, model: str, method: str, parameters: list[Any], context: Mapping[str, Any]
    ) -> Any:
        assert method in READ_METHODS, "this client only reads"
        session = self._session or self._log_in("")
        for last in (False, True):
            try:
                full = [*parameters, {**self._context, **context}]
                return self._ask(f"model.{model}.{method}", full, session)
            except Trouble as trouble:
                # A session ends there after a time; one new login tells the rest.
                if last or trouble.status not in {401, 403}:
                    raise
                session = self._log_in(session)
        raise AssertionError("unreachable")

    def _ask(self, method: str, parameters: list[Any], session: str) -> Any:
        body = {"id": 1, "method": method, "params": _encoded(parameters)}
        headers = {"Authorization": f"Session {session}"} if session else {}
        answer = self._caller.read("POST", self._path, json=body, headers=headers)
        self._look_at_clock(answer)
        found = answer.body
        if not isinstance(found, dict) or ("result" not in found and "error" not in found):
            raise Trouble(Kind.UNKNOWN, "the answer is no JSON-RPC answer")
        if "error" in found:
            raise _trouble(found["error"], method)
        return _decoded(found["result"])

    def _log_in(self, used: str) -> str:
        """A session that is not `used`: threads that found it ended log in once."""
        with self._lock:
            if self._session != used:
                return self._session
            who = [self._username, {"password": self._password.reveal()}, "en"]
            try:
                user, token, *_ = self._ask("common.db.login", who, "")
            except Trouble as trouble:
                if trouble.status == 404:
                    raise Trouble(
                        Kind.REFUSED,
                        f"there is no database at {self._path}",
                        hint="check `url` and `database`.",
                        status=404,
                    ) from trouble
                raise
            plain = f"{self._username}:{user}:{token}".encode()
            session = base64.b64encode(plain).decode()
            # Names the company, without which there is no stock.
            found = self._ask("model.res.user.get_preferences", [True, {}], session)
            self._context = dict(found)
            self._session = session
            return session

    def _look_at_clock(self, answer: Answer) -> None:
        try:
            found = parsedate_to_datetime(answer.headers.get("date", ""))
        except (ValueError, TypeError):
            return
        self.server_time = found if found.tzinfo else found.replace(tzinfo=UTC)


def _trouble(error: Any, method: str) -> Trouble:
    """The trouble of [name, arguments]."""
    name, said = "", ""
    if isinstance(error, list) and error:
        name = str(error[0])
        said = str(error[1:])[:300]
    if name == LOGIN:
        return Trouble(Kind.REFUSED, "it wants another way to log in", hint="use a password user.")
    return Trouble(
        Kind.REFUSED,
        f"{method} is refused: {name} {said}".rstrip(),
        hint="check that the modules and rights of docs/tryton.md are there.",
    )


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime"} | {name: getattr(utc, name) for name in names}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    if isinstance(value, Mapping):
        return {key: _encoded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(one) for one in value]
    return value


def _decoded(value: Any) -> Any:
    """Times are UTC there and say so here."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("__class__")
    if kind == "datetime":
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return datetime(*[int(value.get(name) or 0) for name in names], tzinfo=UTC)  # type: ignore[arg-type, misc]
    if kind == "date":
        return date(int(value["year"]), int(value["month"]), int(value["day"]))
    if kind == "Decimal":
        return Decimal(value["decimal"])
    return {key: _decoded(one) for key, one in value.items()}

"""Calls as hub.yaml writes them: filled in, signed, paged, limited, and judged."""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import Answer, Caller, Kind, Trouble
from inventory_pipeline.connectors.rest_policy import (
    Auth,
    Basic,
    Bearer,
    Call,
    ErrorClass,
    HeaderAuth,
    Login,
    OAuth2,
    Paging,
    QueryAuth,
    Rest,
)
from inventory_pipeline.connectors.tracing import finder
from inventory_pipeline.core.limits import Limit, Pauses, TokenBucket, Window

MAX_PAGES = 10_000
MAX_PATHS = 1_000  # kept compiled; those that look something up differ from row to row
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
WHOLE = re.compile(r"\{([a-z_]+)\}\Z")
NEXT_LINK = re.compile(r"""<([^>]+)>[^,]*;\s*rel="?next"?""")
EARLY_S = 60.0  # a token is renewed this long before it ends
LIFE_S = 3600.0
KINDS = {"busy": Kind.BUSY, "refused": Kind.REFUSED, "unknown": Kind.UNKNOWN, "stale": Kind.REFUSED}


class Stale(Trouble):
    """The system says that what was compared is not there any more."""


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its {names} replaced. A text that is one name alone takes the value as it is,
    so that numbers stay numbers; in longer texts the value's text is put in. A name that is not in
    `values` stays, because queries have braces of their own.
    """
    if isinstance(template, str):
        alone = WHOLE.match(template)
        if alone and alone[1] in values:
            return values[alone[1]]
        return PLACEHOLDER.sub(lambda m: str(values[m[1]]) if m[1] in values else m[0], template)
    if isinstance(template, Secret):
        return template.reveal()
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in template]
    return template


def container(path: str) -> str | None:
    """The path to the list that a path chooses from: `$.a` of `$.a[*]` and of `$.a[?@.b]`; None
    where it does not choose.
    """
    depth, begin, quoted = 0, 0, ""
    for at, sign in enumerate(path):
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "'\"":
            quoted = sign
        elif sign == "[":
            begin = begin if depth else at
            depth += 1
        elif sign == "]":
            depth -= 1
    return (
        path[:begin] if path.endswith("]") and path[begin + 1 : begin + 2] in {"*", "?"} else None
    )


class Paths:
    """JSON paths, compiled once; what each finds is shown by `probe --trace`."""

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}
        self._show = finder()

    def all(self, path: str, value: Any) -> list[Any]:
        import jsonpath

        compiled = self._compiled.get(path)
        if compiled is None:
            if len(self._compiled) >= MAX_PATHS:
                self._compiled.clear()
            compiled = self._compiled[path] = jsonpath.compile(path)
        found = list(compiled.findall(value))
        self._show(path, f"{len(found)} found: {found[:1]}" if len(found) != 1 else found[0])
        return found

    def one(self, path: str | None, value: Any) -> Any:
        """The first find; None for nothing."""
        if path is None:
            return None
        found = self.all(path, value)
        return found[0] if found else None

    def entries(self, path: str, answer: Any, *, absent_is_empty: bool = False) -> int:
        """How many entries stand where a path looks for its rows, before it chooses among them.

        Raises Trouble where nothing is there: an empty list and a list of another name are not the
        same.
        """
        place = container(path)
        found = self.all(place or path, answer)
        if place is None and found:
            return len(found)
        if found and isinstance(found[0], list | dict):
            return sum(len(one) for one in found if isinstance(one, list | dict))
        if absent_is_empty:
            return 0
        raise Trouble(
            Kind.REFUSED,
            f"the answer has nothing at {place or path}",
            hint="compare `items` in hub.yaml with the answer: `probe --trace` shows both; where "
            "nothing means none, say `absent_is_empty: true`.",
        )

    def rows(self, steps: Sequence[str], whole: Any) -> Iterator["Row"]:
        """What the steps find, one inside the other."""
        found = [Row(self, whole, whole, whole)]
        for step in steps:
            found = [Row(self, whole, row.here, inner) for row in found for inner in row.all(step)]
        yield from found


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an answer: "$" is the whole, "^" the row around this one, "@" this one."""

    paths: Paths
    whole: Any
    around: Any
    here: Any

    def all(self, path: str) -> list[Any]:
        start = {"@": self.here, "^": self.around}.get(path[:1], self.whole)
        return self.paths.all("$" + path[1:] if path[:1] in {"@", "^"} else path, start)

    def one(self, path: str | None) -> Any:
        """The first find; None for nothing."""
        found = self.all(path) if path else []
        return found[0] if found else None


class Client:
    """One system. Safe to use from several threads."""

    def __init__(self, caller: Caller, policy: Rest, paths: Paths) -> None:
        self._caller = caller
        self._policy = policy
        self._paths = paths
        self._limit = _limit(policy)
        self._token = ""
        self._token_until = 0.0
        self._lock = threading.Lock()

    def pages(
        self, call: Call, paging: Paging, values: Mapping[str, Any], target: str = ""
    ) -> Iterator[Answer]:
        """Answers of a reading, until the consumer stops or nothing follows. Raises Trouble.

        `values` go before the paging's own, so that a pass can begin where another ended.
        """
        cursor: Any = ""
        for number in range(MAX_PAGES):
            known = {
                "size": paging.size,
                "page": paging.first + number,
                "offset": number * paging.size,
                "cursor": cursor,
            }
            answer = self.call(call, {**known, **values}, target=target)
            yield answer
            following = self.following(paging, answer)
            if paging.style == "none" or (paging.style in {"cursor", "link"} and not following):
                return
            cursor = following
            target = following if paging.style == "link" else ""
        raise Trouble(Kind.REFUSED, f"more than {MAX_PAGES} pages", hint="check `paging`.")

    def following(self, paging: Paging, answer: Answer) -> str:
        """What names the next page in an answer, "" where nothing follows."""
        if paging.style == "cursor":
            return str(self._paths.one(paging.next, answer.body) or "")
        if paging.style == "link":
            link = NEXT_LINK.search(answer.headers.get("link", ""))
            return link[1] if link else ""
        return ""

    def call(
        self, call: Call, values: Mapping[str, Any], *, writes: bool = False, target: str = ""
    ) -> Answer:
        """One call; a reading is repeated where that can help. Raises Trouble, or Stale."""
        used = self._current_token()
        try:
            return self._judged(self._send(call, values, used, writes=writes, target=target))
        except _LoginEnded:
            fresh = self._new_token(used)
        try:
            return self._judged(self._send(call, values, fresh, writes=writes, target=target))
        except _LoginEnded as ended:
            raise Trouble(
                Kind.REFUSED, ended.message, hint="check the credentials and their rights."
            ) from ended

    def _send(
        self, call: Call, values: Mapping[str, Any], token: str, *, writes: bool, target: str
    ) -> Answer:
        headers, query = _credentials(self._policy.auth, token)
        request: dict[str, Any] = {"headers": {**self._policy.headers, **headers}}
        if not target:
            request["params"] = {**filled(call.query, values), **query}
        if call.body is not None:
            request["json"] = _plain(filled(call.body, values))
        send = self._caller.once if writes else self._caller.read
        try:
            path = self._same_host(target) if target else _path(call.path, values)
            return send(call.method, path, limit=self._limit, **request)
        except Trouble as trouble:
            raise self._classed(trouble) from trouble

    def _same_host(self, target: str) -> str:
        """The next page's address: credentials go to no other host, whoever names it."""
        here, there = urlsplit(self._policy.url), urlsplit(target)
        if there.netloc and (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise Trouble(
                Kind.REFUSED,
                f"its next page is at another address: {there.scheme}://{there.netloc}",
                hint="put that address into `url`, if it is theirs.",
            )
        return target

    def _judged(self, answer: Answer) -> Answer:
        """The answer, or the trouble that it tells of in a 200."""
        for one in self._policy.errors:
            if one.path is None or one.status:
                continue
            if self._paths.all(one.path, answer.body):
                raise self._as_trouble(one, answer.body, "the answer holds an error")
        return answer

    def _classed(self, trouble: Trouble) -> Trouble:
        try:
            body = json.loads(trouble.content or b"null")
        except ValueError:
            body = None
        for one in self._policy.errors:
            if one.status and trouble.status not in one.status:
                continue
            if one.path is not None and not self._paths.all(one.path, body):
                continue
            return self._as_trouble(one, body, trouble.message, trouble)
        login = isinstance(self._policy.auth, Login | OAuth2) and trouble.status == 401
        return _LoginEnded(Kind.REFUSED, trouble.message) if login else trouble

    def _as_trouble(
        self, one: ErrorClass, body: Any, message: str, cause: Trouble | None = None
    ) -> Trouble:
        said = str(self._paths.one(one.message, body) or message)[:300]
        if one.means == "login":
            return _LoginEnded(Kind.REFUSED, said)
        make = Stale if one.means == "stale" else Trouble
        pause = cause.retry_after_s if cause else None
        hint = cause.hint if cause else ""
        return make(KINDS[one.means], said, hint=hint, retry_after_s=pause)

    def _current_token(self) -> str:
        if not isinstance(self._policy.auth, Login | OAuth2):
            return ""
        if self._token and time.monotonic() < self._token_until:
            return self._token
        return self._new_token(self._token)

    def _new_token(self, used: str) -> str:
        """A token that is not `used`: threads that found it ended get the next one once."""
        auth = self._policy.auth
        with self._lock:
            if self._token != used:
                return self._token
            if isinstance(auth, Login):
                self._token, life = self._logged_in(auth), LIFE_S * 24
            elif isinstance(auth, OAuth2):
                self._token, life = self._granted(auth)
            else:
                raise Trouble(
                    Kind.REFUSED,
                    "it asks for a login, and `auth` has none",
                    hint="check the credentials and their rights.",
                )
            self._token_until = time.monotonic() + max(0.0, life - EARLY_S)
            return self._token

    def _logged_in(self, auth: Login) -> str:
        who = {"username": auth.username, "password": auth.password.get_secret_value()}
        answer = self._caller.read(
            "POST", auth.path, json=filled(auth.body, who), headers=self._policy.headers
        )
        token = (
            self._paths.one(auth.token, answer.body)
            if auth.token
            else answer.headers.get(auth.token_header.lower(), "")
        )
        if not isinstance(token, str) or not token:
            raise Trouble(
                Kind.REFUSED,
                f"the login gives no token at {auth.token or auth.token_header}",
                hint="check the credentials, and `auth` with `probe --trace`.",
            )
        return token

    def _granted(self, auth: OAuth2) -> tuple[str, float]:
        form = {"client_id": auth.client_id, "client_secret": auth.client_secret.get_secret_value()}
        if auth.refresh_token is not None:
            form |= {
                "grant_type": "refresh_token",
                "refresh_token": auth.refresh_token.get_secret_value(),
            }
        else:
            form |= {"grant_type": "client_credentials"}
        if auth.scope:
            form["scope"] = auth.scope
        answer = self._caller.read("POST", auth.token_path, data=form)
        token = answer.body.get("access_token") if isinstance(answer.body, dict) else None
        if not isinstance(token, str) or not token:
            raise Trouble(Kind.REFUSED, "the token address gives no access_token", hint="check it.")
        return token, float(answer.body.get("expires_in") or LIFE_S)


class _LoginEnded(Trouble):
    """The session or token does not hold any more."""


def _credentials(auth: Auth, token: str) -> tuple[dict[str, str], dict[str, str]]:
    """(headers, query) that say who asks."""
    match auth:
        case Bearer():
            return {"Authorization": f"Bearer {auth.token.get_secret_value()}"}, {}
        case HeaderAuth():
            return {auth.name: auth.value.get_secret_value()}, {}
        case QueryAuth():
            return {}, {auth.name: auth.value.get_secret_value()}
        case OAuth2():
            return {"Authorization": f"Bearer {token}"}, {}
        case Login():
            return {auth.send_as: auth.prefix + token}, {}
        case _:
            return {}, {}


def basic_auth(auth: Auth) -> tuple[str, str] | None:
    """What httpx wants for Basic."""
    return (auth.username, auth.password.get_secret_value()) if isinstance(auth, Basic) else None


def _limit(policy: Rest) -> Limit:
    said = policy.limit
    if said is None:
        return Pauses()
    if said.burst is not None and said.per_second is not None:
        return TokenBucket(name="calls", capacity=said.burst, per_second=said.per_second)
    assert said.units is not None
    assert said.seconds is not None
    return Window(name="calls", units=said.units, seconds=said.seconds)


def _path(template: str, values: Mapping[str, Any]) -> str:
    """A path with names filled in. A sku may hold / or ?: it stays one part of the path."""
    return str(filled(template, {name: quote(str(one), safe="") for name, one in values.items()}))


def _plain(value: Any) -> Any:
    """JSON without Decimals: whole numbers as such, others as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value

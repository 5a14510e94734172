"""Who asks: a token in the header, a browser's signed session, or this machine itself."""

import base64
import hashlib
import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from inventory_pipeline.core.access import Role
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.memory import access
from inventory_pipeline.memory.access import Token
from inventory_pipeline.memory.postgres import Postgres

COOKIE = "hub_session"
SESSION_LENGTH = timedelta(hours=12)
# A revoked token stops within this time in every process.
REMEMBERED = timedelta(seconds=5)
MAX_REMEMBERED = 1_000
FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody or some program that may do what `role` says; `session` binds forms to a login."""

    name: str
    role: Role
    session: str

    def may(self, role: Role) -> bool:
        return self.role.includes(role)


LOCAL = Person(name="this machine", role=Role.APPROVE, session="local")


class Sessions:
    """Finds out who asks. `bound_to`: the address that the server listens on.

    Where that is loopback, whoever works on this machine needs no token.
    """

    def __init__(self, pg: Postgres, clock: Clock, *, bound_to: str) -> None:
        self._pg = pg
        self._clock = clock
        self._open = is_loopback(bound_to)
        self._key: bytes | None = None
        self._lock = threading.Lock()
        self._known: dict[str, tuple[datetime, Person]] = {}

    def local(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """The request comes from this machine to a server that only this machine can reach.

        Not so through a proxy, and not under a foreign name: a page elsewhere could have its own
        name point here (DNS rebinding).
        """
        server = scope.get("server") or ("", 0)
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        return (
            self._open
            and is_loopback(str(server[0]))
            and is_loopback(host)
            and not any(name in headers for name in FORWARDING_HEADERS)
        )

    def of_token(self, text: str) -> Person | None:
        """Who has this token. Asks Postgres at most every few seconds for each."""
        found = self._remembered(_token_key(text))
        if found is not None:
            return found
        with self._pg.connection() as connection:
            token = access.by_text(connection, text, at=self._clock())
        return None if token is None else self._remember(_token_key(text), token)

    def of_cookie(self, value: str) -> Person | None:
        """Whose session this is, if its signature fits, it has not ended and its token counts."""
        body, _, signature = value.rpartition(".")
        if not body or not hmac.compare_digest(self._sign("session", body), signature):
            return None
        token_id, _, until = body.partition(".")
        if not until.isdigit() or self._clock().timestamp() >= int(until):
            return None
        found = self._remembered("session " + body)
        if found is not None:
            return found
        with self._pg.connection() as connection:
            token = access.by_id(connection, token_id, at=self._clock())
        return None if token is None else self._remember("session " + body, token, session=body)

    def open_session(self, text: str) -> str | None:
        """The cookie's value for whoever knows this token; None if it is none."""
        with self._pg.connection() as connection:
            token = access.by_text(connection, text, at=self._clock())
        if token is None:
            return None
        until = self._clock() + SESSION_LENGTH
        if token.expires_at is not None:
            until = min(until, token.expires_at)
        body = f"{token.token_id}.{int(until.timestamp())}"
        return f"{body}.{self._sign('session', body)}"

    def form_token(self, person: Person) -> str:
        """What a form must carry, so that only pages of ours can have made it."""
        return self._sign("form", person.session)

    def fits(self, person: Person, form_token: str) -> bool:
        return hmac.compare_digest(self.form_token(person).encode(), form_token.encode())

    def _sign(self, what: str, text: str) -> str:
        if self._key is None:
            with self._pg.connection() as connection:
                self._key = access.signing_key(connection)
        digest = hmac.new(self._key, f"{what}\n{text}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _remembered(self, key: str) -> Person | None:
        with self._lock:
            at, person = self._known.get(key, (None, None))
            return person if at is not None and self._clock() - at < REMEMBERED else None

    def _remember(self, key: str, token: Token, *, session: str = "") -> Person:
        person = Person(
            name=token.name, role=token.role, session=session or f"token {token.token_id}"
        )
        with self._lock:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = (self._clock(), person)
        return person


def _token_key(text: str) -> str:
    return "token " + hashlib.sha256(text.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8 or ::1."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

"""Tokens: who may look, operate and approve. A token is shown once; the memory holds its SHA-256.

A token has 256 bits from the system's random source, so a plain hash cannot be turned back.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from inventory_pipeline.core.access import Role
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.memory import audit
from inventory_pipeline.memory.postgres import Connection

PREFIX = "hub_"  # secret scanners find what has a name
MAX_NAME = 80  # characters
USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret."""

    token_id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", Role(self.role))

    def valid_at(self, at: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


_COLUMNS = (
    "token_id, name, role, created_at, created_by, expires_at, used_at, revoked_at, revoked_by"
)


def create(
    connection: Connection,
    *,
    name: str,
    role: Role,
    by: str,
    at: datetime,
    expires_at: datetime | None = None,
) -> str:
    """Makes a token and returns its secret text, which nothing can show again.

    Raises HubError for a name that is empty, too long, or that a token in use has.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise HubError(
            f"a token's name has 1 to {MAX_NAME} printable characters",
            hint="name the person or the program that will use it: `storefront`, `maria`.",
        )
    taken = connection.execute(
        "SELECT 1 FROM hub.tokens WHERE name = %s AND revoked_at IS NULL", (name,)
    ).fetchone()
    if taken:
        raise HubError(
            f"there is a token {name!r} already",
            hint="choose another name, or revoke that one first.",
        )
    text = PREFIX + secrets.token_urlsafe(32)
    token_id = secrets.token_hex(4)
    connection.execute(
        "INSERT INTO hub.tokens (token_id, name, role, hash, created_at, created_by, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (token_id, name, role.value, _hash(text), at, by, expires_at),
    )
    audit.record(
        connection,
        by=by,
        action="token.create",
        subject=name,
        detail={
            "token_id": token_id,
            "role": role.value,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
        at=at,
    )
    return text


def listed(connection: Connection, *, revoked: bool = False) -> list[Token]:
    """Tokens by name; with `revoked` those that no longer count, too."""
    return _tokens(
        connection,
        f"SELECT {_COLUMNS} FROM hub.tokens WHERE revoked_at IS NULL OR %s"
        " ORDER BY name, created_at LIMIT 10000",
        (revoked,),
    )


def revoke(connection: Connection, which: str, *, by: str, at: datetime) -> Token:
    """Ends the token of this name or id at once, and every browser session made with it.

    Raises HubError if there is none in use.
    """
    found = _tokens(
        connection,
        f"UPDATE hub.tokens SET revoked_at = %s, revoked_by = %s"
        f" WHERE (name = %s OR token_id = %s) AND revoked_at IS NULL RETURNING {_COLUMNS}",
        (at, by, which, which),
    )
    if not found:
        raise HubError(
            f"there is no token {which!r} in use",
            hint="`inventory-pipeline token list HUB` shows names and ids.",
        )
    for token in found:
        audit.record(
            connection,
            by=by,
            action="token.revoke",
            subject=token.name,
            detail={"token_id": token.token_id},
            at=at,
        )
    return found[0]


def by_text(connection: Connection, text: str, *, at: datetime) -> Token | None:
    """The token with this secret, if it counts at `at`; its use is noted about once a minute."""
    return _counting(
        connection,
        _tokens(connection, f"SELECT {_COLUMNS} FROM hub.tokens WHERE hash = %s", (_hash(text),)),
        at,
    )


def by_id(connection: Connection, token_id: str, *, at: datetime) -> Token | None:
    """The token of a browser session, if it still counts at `at`."""
    return _counting(
        connection,
        _tokens(connection, f"SELECT {_COLUMNS} FROM hub.tokens WHERE token_id = %s", (token_id,)),
        at,
    )


def signing_key(connection: Connection) -> bytes:
    """What sessions and forms are signed with; made once, the same for every process."""
    connection.execute(
        "INSERT INTO hub.signing_key (secret) VALUES (%s) ON CONFLICT DO NOTHING",
        (secrets.token_bytes(32),),
    )
    row = connection.execute("SELECT secret FROM hub.signing_key").fetchone()
    assert row is not None
    return bytes(row[0])


def _counting(connection: Connection, found: list[Token], at: datetime) -> Token | None:
    if not found or not found[0].valid_at(at):
        return None
    token = found[0]
    if token.used_at is None or at - token.used_at > USED_EVERY:
        connection.execute(
            "UPDATE hub.tokens SET used_at = %s WHERE token_id = %s", (at, token.token_id)
        )
    return token


def _tokens(connection: Connection, sql: str, parameters: tuple[object, ...]) -> list[Token]:
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

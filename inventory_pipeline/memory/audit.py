"""What people did: one row an action, appended and never edited.

`by` is a person's or a program's name, as the token says, or the account that ran a command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from inventory_pipeline.memory.postgres import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One action of one person: `subject` is what it was done to, `detail` the rest as JSON."""

    audit_id: int
    at: datetime
    by: str
    action: str
    subject: str
    detail: dict[str, Any]


def record(
    connection: Connection,
    *,
    by: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> int:
    """Appends an action in the caller's transaction, so that both are kept or neither; its number.

    `action` is a dotted verb (`guard.release`, `token.create`); `detail` holds JSON values only
    and no secrets.
    """
    row = connection.execute(
        "INSERT INTO hub.audit (at, by, action, subject, detail) VALUES (%s, %s, %s, %s, %s)"
        " RETURNING audit_id",
        (at, by, action, subject, Jsonb(dict(detail))),
    ).fetchone()
    assert row is not None
    return int(row[0])


def recent(
    connection: Connection,
    *,
    by: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Act]:
    """The newest actions, newest first; `action` may end in a dot: `guard.` is all of the guard's.

    `before` continues below an audit_id.
    """
    with connection.cursor(row_factory=class_row(Act)) as cursor:
        return cursor.execute(
            """
            SELECT audit_id, at, by, action, subject, detail FROM hub.audit
            WHERE (%(by)s::text IS NULL OR by = %(by)s)
              AND (%(action)s::text IS NULL OR action = %(action)s
                   OR (right(%(action)s, 1) = '.' AND starts_with(action, %(action)s)))
              AND (%(subject)s::text IS NULL OR subject = %(subject)s)
              AND (%(before)s::bigint IS NULL OR audit_id < %(before)s)
            ORDER BY audit_id DESC LIMIT %(limit)s
            """,
            {"by": by, "action": action, "subject": subject, "before": before, "limit": limit},
        ).fetchall()

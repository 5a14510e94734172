"""Rows that were not understood, kept until a person lets them in (SEMANTICS §1).

Every function works inside the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from inventory_pipeline.core.ledger import BadRow
from inventory_pipeline.memory.postgres import Connection

_COLUMNS = (
    "quarantine_id, system, kind, source, position, reason, message, raw, received_at,"
    " released_at, released_offset, ledger_offset, mapping_offset, accepted_once"
)
_CHOSEN = (
    "(%(system)s::text IS NULL OR system = %(system)s)"
    " AND (%(reason)s::text IS NULL OR reason = %(reason)s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A row as it came, why it failed, and what became of it.

    `kind` is `event` or `snapshot_row`; `ledger_offset` the event or snapshot that it belongs to,
    where that is known. `mapping_offset` is set where a change of the catalogue took the row out of
    the numbers, in which it was as it came (`accepted_once`) or since its release.
    """

    quarantine_id: int
    system: str
    kind: str
    source: str
    position: str
    reason: str
    message: str
    raw: str
    received_at: datetime
    released_at: datetime | None
    released_offset: int | None
    ledger_offset: int | None
    mapping_offset: int | None
    accepted_once: bool

    @property
    def open(self) -> bool:
        return self.released_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many rows of one system failed for one reason, and how many of them were released."""

    system: str
    reason: str
    rows: int
    released: int


def counts(
    connection: Connection, *, system: str | None = None, reason: str | None = None
) -> list[Held]:
    """Rows per system and reason, the most that are still open first."""
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(
            "SELECT system, reason, count(*) FILTER (WHERE released_at IS NULL) AS rows,"
            " count(released_at) AS released"
            f" FROM hub.quarantine WHERE {_CHOSEN}"
            " GROUP BY system, reason ORDER BY 3 DESC, 1, 2",
            {"system": system, "reason": reason},
        ).fetchall()


def listed(
    connection: Connection,
    *,
    system: str | None = None,
    reason: str | None = None,
    released: bool = False,
    limit: int,
) -> list[Quarantined]:
    """The newest rows first; `released` includes those that are not open any more."""
    with connection.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM hub.quarantine"
            f" WHERE {_CHOSEN} AND (%(released)s OR released_at IS NULL)"
            " ORDER BY quarantine_id DESC LIMIT %(limit)s",
            {"system": system, "reason": reason, "released": released, "limit": limit},
        ).fetchall()


def open_ids(connection: Connection, *, system: str | None, reason: str | None) -> list[int]:
    """Rows that are still open, in the order in which they came."""
    rows = connection.execute(
        f"SELECT quarantine_id FROM hub.quarantine WHERE {_CHOSEN} AND released_at IS NULL"
        " ORDER BY quarantine_id",
        {"system": system, "reason": reason},
    )
    return [number for (number,) in rows]


def one(connection: Connection, quarantine_id: int) -> Quarantined | None:
    """A row by its number; None if there is none."""
    found = some(connection, [quarantine_id])
    return found[0] if found else None


def some(
    connection: Connection, quarantine_ids: Sequence[int], *, lock: bool = False
) -> list[Quarantined]:
    """Rows by their numbers; with `lock`, nobody else releases them until this transaction ends."""
    with connection.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM hub.quarantine WHERE quarantine_id = ANY(%s)"
            " ORDER BY quarantine_id" + (" FOR UPDATE" if lock else ""),
            (list(quarantine_ids),),
        ).fetchall()


def of_source(connection: Connection, system: str, source: str) -> list[Quarantined]:
    """All rows of the snapshots of one file, open and released, in the order in which they came."""
    with connection.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM hub.quarantine"
            " WHERE system = %s AND source = %s AND kind = 'snapshot_row'"
            " ORDER BY quarantine_id",
            (system, source),
        ).fetchall()


def release(
    connection: Connection,
    quarantine_ids: Sequence[int],
    *,
    at: datetime,
    offset: int,
    ledger_offset: int | None = None,
) -> None:
    """These rows are in the numbers from `offset` on, as part of the entry at `ledger_offset`."""
    connection.execute(
        "UPDATE hub.quarantine SET released_at = %s, released_offset = %s,"
        " ledger_offset = coalesce(%s, ledger_offset) WHERE quarantine_id = ANY(%s)",
        (at, offset, ledger_offset, list(quarantine_ids)),
    )


def put_out(
    connection: Connection,
    rows: Sequence[tuple[BadRow, int]],
    *,
    mapping_offset: int,
    at: datetime,
) -> None:
    """Rows that a change of the catalogue takes out of the numbers, each with the offset that it
    came in with. A row that was here before is open again.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw,"
            " received_at, ledger_offset, mapping_offset, accepted_once)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true)"
            " ON CONFLICT (system, source, position, reason, md5(raw)) DO UPDATE SET"
            " released_at = NULL, released_offset = NULL, message = excluded.message,"
            " ledger_offset = excluded.ledger_offset, mapping_offset = excluded.mapping_offset,"
            " accepted_once = true",
            [
                (
                    row.system, row.kind, row.source, row.position, row.reason, row.message,
                    row.raw, at, offset, mapping_offset,
                )
                for row, offset in rows
            ],
        )  # fmt: skip


def reopen(connection: Connection, rows: Sequence[tuple[int, str]], *, mapping_offset: int) -> None:
    """Released rows (number, why) that a change of the catalogue takes out of the numbers."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE hub.quarantine SET released_at = NULL, mapping_offset = %s, message = %s"
            " WHERE quarantine_id = %s",
            [(mapping_offset, message, number) for number, message in rows],
        )


def take_back(
    connection: Connection, ledger_offsets: Sequence[int], *, at: datetime, mapping_offset: int
) -> None:
    """Events that a catalogue put out and the one at `mapping_offset` accepts again."""
    connection.execute(
        "UPDATE hub.quarantine SET released_at = %s, released_offset = %s"
        " WHERE ledger_offset = ANY(%s) AND kind = 'event' AND accepted_once"
        " AND released_at IS NULL",
        (at, mapping_offset, list(ledger_offsets)),
    )

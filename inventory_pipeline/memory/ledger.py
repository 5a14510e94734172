"""The ledger: append-only, gapless, duplicates recognized (SEMANTICS §3).

Every function works inside the caller's transaction. Writers take the counter's row lock last and
hold it until they commit, so a reader that sees offset N sees everything below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from inventory_pipeline.core.ledger import (
    BadRow,
    CheckedSnapshot,
    IngestCount,
    LedgerEvent,
    RejectedSnapshot,
    conflicting_duplicate,
)
from inventory_pipeline.core.vocabulary import Reason
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection

_EVENT_COLUMNS = (
    "system", "event_id", "type", "occurred_at", "received_at", "item", "sku", "quantity_milli",
    "external_location", "location", "external_to_location", "to_location", "reference", "order_id",
    "line_id", "reservation_id", "channel", "expires_at", "expected_at", "disposition", "reason",
    "source", "position", "content_hash", "raw",
)  # fmt: skip
_COLUMNS = ", ".join(_EVENT_COLUMNS)

# The same id with the same content is a duplicate; with other content, a conflict; the first stays.
_APPEND = f"""
WITH ranked AS (
    SELECT incoming.*,
           first_value(content_hash) OVER same_id AS first_hash,
           row_number() OVER same_id AS copy
    FROM pg_temp.incoming
    WINDOW same_id AS (PARTITION BY system, event_id ORDER BY row_no)
), judged AS (
    SELECT ranked.*,
           coalesce(known.content_hash, CASE WHEN copy > 1 THEN first_hash END) AS held_hash
    FROM ranked
    LEFT JOIN hub.ledger AS known
        ON known.kind = 'event' AND known.system = ranked.system
       AND known.event_id = ranked.event_id
), inserted AS (
    INSERT INTO hub.ledger (ledger_offset, kind, mapping_version, {_COLUMNS})
    SELECT %(head)s + row_number() OVER (ORDER BY row_no), 'event', %(mapping_version)s, {_COLUMNS}
    FROM judged WHERE held_hash IS NULL
    RETURNING system
)
SELECT system,
       count(*) FILTER (WHERE held_hash IS NULL),
       count(*) FILTER (WHERE held_hash = content_hash),
       coalesce(array_agg(row_no) FILTER (WHERE held_hash <> content_hash), '{{}}')
FROM judged GROUP BY system
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedSnapshot:
    """An accepted snapshot as the register holds it; `path` is relative to the state folder."""

    ledger_offset: int
    system: str
    as_of: datetime
    complete: bool
    states: tuple[str, ...]
    path: str
    source: str


def append_events(
    connection: Connection,
    events: Sequence[LedgerEvent],
    bad: Sequence[BadRow],
    *,
    received_at: datetime,
    mapping_version: int,
) -> IngestCount:
    """Appends what is new, counts duplicates, keeps conflicts and bad rows in quarantine.

    The counter is taken after the rows are with the server and just before the commit that the
    caller makes; listeners are told at that commit.
    """
    systems = {event.system for event in events} | {row.system for row in bad}
    per_system = {system: IngestCount() for system in systems}
    kept = list(bad)
    last_offset = None
    if events:
        _stage(connection, events)
        head = _lock_counter(connection)
        parameters = {"head": head, "mapping_version": mapping_version}
        for system, accepted, duplicates, conflicting in connection.execute(_APPEND, parameters):
            kept += [conflicting_duplicate(events[number]) for number in conflicting]
            per_system[system] = IngestCount(
                accepted=accepted, duplicates=duplicates, conflicting=len(conflicting)
            )
        accepted = sum(count.accepted for count in per_system.values())
        _advance(connection, accepted)
        last_offset = head + accepted if accepted else None
    for row in quarantine(connection, kept, received_at=received_at):
        if row.reason is not Reason.CONFLICTING_DUPLICATE:
            per_system[row.system] += IngestCount(quarantined=1)
    _count(connection, per_system)
    return sum(per_system.values(), IngestCount(last_offset=last_offset))


def quarantine(
    connection: Connection, bad: Sequence[BadRow], *, received_at: datetime
) -> list[BadRow]:
    """Keeps rows that failed, the same row from the same place once. Returns the new ones."""
    return [
        row
        for row in bad
        if connection.execute(
            "INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw,"
            " received_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                row.system, row.kind, row.source, row.position, row.reason, row.message, row.raw,
                received_at,
            ),
        ).rowcount
    ]  # fmt: skip


def register_snapshot(
    connection: Connection,
    snapshot: CheckedSnapshot,
    *,
    path: str,
    landed_at: datetime,
    mapping_version: int,
) -> int | None:
    """Registers an accepted snapshot whose Parquet file is already durable at `path`.

    Returns its offset, or None where this (system, key, as_of) has been seen before.
    """
    head = _lock_counter(connection)
    row = connection.execute(
        "INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, complete, states,"
        " data_rows, quarantined_rows, path, ledger_offset, landed_at)"
        " VALUES (%s, %s, %s, %s, %s, 'accepted', %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING RETURNING snapshot_id",
        (
            snapshot.system, snapshot.feed, snapshot.source, snapshot.key, snapshot.as_of,
            snapshot.complete, list(snapshot.states), snapshot.data_rows, len(snapshot.bad), path,
            head + 1, landed_at,
        ),
    ).fetchone()  # fmt: skip
    if row is None:
        return None
    connection.execute(
        "INSERT INTO hub.ledger (ledger_offset, kind, system, occurred_at, received_at,"
        " snapshot_id,"
        " mapping_version, source, position) VALUES (%s, 'snapshot', %s, %s, %s, %s, %s, %s, %s)",
        (
            head + 1, snapshot.system, snapshot.as_of, landed_at, row[0], mapping_version,
            snapshot.source, snapshot.key,
        ),
    )  # fmt: skip
    bad = quarantine(connection, snapshot.bad, received_at=landed_at)
    _count(connection, {snapshot.system: IngestCount(quarantined=len(bad))})
    _advance(connection, 1)
    return head + 1


def reject_snapshot(
    connection: Connection, snapshot: RejectedSnapshot, *, landed_at: datetime
) -> None:
    """Remembers why a snapshot was refused; it takes no offset because it changes no number."""
    connection.execute(
        "INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, reason, message,"
        " data_rows,"
        " landed_at) VALUES (%s, %s, %s, %s, %s, 'rejected', %s, %s, %s, %s) ON CONFLICT DO"
        " NOTHING",
        (
            snapshot.system, snapshot.feed, snapshot.source, snapshot.key, snapshot.as_of,
            snapshot.reason, snapshot.message, snapshot.data_rows, landed_at,
        ),
    )  # fmt: skip


def append_entry(connection: Connection, *, kind: str, at: datetime, mapping_version: int) -> int:
    """An entry without an event: a mapping change or an activation of a policy. Returns its
    offset.
    """
    head = _lock_counter(connection)
    connection.execute(
        "INSERT INTO hub.ledger (ledger_offset, kind, occurred_at, received_at,"
        " mapping_version, source,"
        " position) VALUES (%s, %s, %s, %s, %s, 'hub folder', '')",
        (head + 1, kind, at, at, mapping_version),
    )
    _advance(connection, 1)
    return head + 1


def seen_snapshots(connection: Connection, system: str) -> frozenset[str]:
    """Keys of this system's snapshots that have landed or were rejected."""
    rows = connection.execute("SELECT DISTINCT key FROM hub.snapshots WHERE system = %s", (system,))
    return frozenset(key for (key,) in rows)


def last_accepted_rows(connection: Connection, system: str, feed: str) -> int | None:
    """Data rows of the newest accepted snapshot of this feed: what max_drop compares with."""
    row = connection.execute(
        "SELECT data_rows FROM hub.snapshots WHERE system = %s AND feed = %s AND status ="
        " 'accepted'"
        " ORDER BY as_of DESC, ledger_offset DESC LIMIT 1",
        (system, feed),
    ).fetchone()
    return None if row is None else int(row[0])


def head(connection: Connection) -> int:
    """The newest committed offset; 0 for an empty ledger."""
    row = connection.execute("SELECT ledger_offset FROM hub.counter").fetchone()
    assert row is not None
    return int(row[0])


_UTC = pa.timestamp("us", tz="UTC")
EVENT_SCHEMA = pa.schema(
    [
        ("ledger_offset", pa.int64()), ("system", pa.string()), ("event_id", pa.string()),
        ("type", pa.string()), ("occurred_at", _UTC), ("received_at", _UTC), ("item", pa.string()),
        ("sku", pa.string()), ("quantity_milli", pa.int64()), ("location", pa.string()),
        ("to_location", pa.string()), ("reference", pa.string()), ("order_id", pa.string()),
        ("line_id", pa.string()), ("reservation_id", pa.string()), ("channel", pa.string()),
        ("expires_at", _UTC), ("expected_at", _UTC), ("disposition", pa.string()),
        ("reason", pa.string()),
    ]
)  # fmt: skip


def read_events(connection: Connection, after: int, upto: int) -> pa.Table:
    """Events with after < ledger_offset <= upto, in order, as EVENT_SCHEMA."""
    columns = ", ".join(EVENT_SCHEMA.names)
    rows = connection.execute(
        f"SELECT {columns} FROM hub.ledger WHERE kind = 'event' AND ledger_offset > %s"
        " AND ledger_offset <= %s ORDER BY ledger_offset",
        (after, upto),
    ).fetchall()
    by_column: Any = zip(*rows, strict=True) if rows else ([] for _ in EVENT_SCHEMA.names)
    arrays = [pa.array(v, f.type) for v, f in zip(by_column, EVENT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


def read_snapshots(connection: Connection, after: int, upto: int) -> list[LandedSnapshot]:
    """Accepted snapshots with after < ledger_offset <= upto, in the order of their offsets."""
    rows = connection.execute(
        "SELECT ledger_offset, system, as_of, complete, states, path, source FROM hub.snapshots"
        " WHERE ledger_offset > %s AND ledger_offset <= %s ORDER BY ledger_offset",
        (after, upto),
    )
    return [
        LandedSnapshot(
            ledger_offset=offset, system=system, as_of=as_of, complete=complete,
            states=tuple(states), path=path, source=source,
        )
        for offset, system, as_of, complete, states, path, source in rows
    ]  # fmt: skip


def _stage(connection: Connection, events: Sequence[LedgerEvent]) -> None:
    connection.execute("SET LOCAL client_min_messages TO warning")
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE hub.ledger, row_no integer)"
        " ON COMMIT DELETE ROWS"
    )
    connection.execute(
        "ALTER TABLE pg_temp.incoming ALTER ledger_offset DROP NOT NULL, ALTER kind DROP NOT NULL,"
        " ALTER mapping_version DROP NOT NULL"
    )
    with connection.cursor().copy(f"COPY pg_temp.incoming ({_COLUMNS}, row_no) FROM STDIN") as copy:
        for number, event in enumerate(events):
            copy.write_row((*(getattr(event, name) for name in _EVENT_COLUMNS), number))


def _lock_counter(connection: Connection) -> int:
    row = connection.execute("SELECT ledger_offset FROM hub.counter FOR UPDATE").fetchone()
    assert row is not None
    return int(row[0])


def _advance(connection: Connection, by: int) -> None:
    if by:
        connection.execute("UPDATE hub.counter SET ledger_offset = ledger_offset + %s", (by,))
        connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))


def _count(connection: Connection, per_system: dict[str, IngestCount]) -> None:
    for system, count in sorted(per_system.items()):
        connection.execute(
            "INSERT INTO hub.intake VALUES (%s, %s, %s, %s, %s) ON CONFLICT (system) DO UPDATE SET"
            " accepted = intake.accepted + excluded.accepted,"
            " duplicates = intake.duplicates + excluded.duplicates,"
            " conflicting = intake.conflicting + excluded.conflicting,"
            " quarantined = intake.quarantined + excluded.quarantined",
            (system, count.accepted, count.duplicates, count.conflicting, count.quarantined),
        )

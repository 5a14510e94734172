"""The ledger: append-only, gapless, duplicates recognized (SEMANTICS §3).

Every function works inside the caller's transaction. Writers take the counter's row lock last and
hold it until they commit, so a reader that sees offset N sees everything below it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
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
from inventory_pipeline.memory.event_lines import EventLines
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection

# The ids are in the index's order: looking them up is one walk along its leaves.
_KNOWN = """
SELECT event_id, content_hash FROM hub.ledger
WHERE event_id = ANY(%(event_ids)s::text[]) AND system = %(system)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedSnapshot:
    """An accepted snapshot as the register holds it; `path` is relative to the state folder.

    `snapshot_offset` is the snapshot's own offset; `ledger_offset` is later where it is a release.
    """

    ledger_offset: int
    system: str
    as_of: datetime
    complete: bool
    states: tuple[str, ...]
    path: str
    source: str
    snapshot_offset: int


def append_events(
    connection: Connection,
    events: Sequence[LedgerEvent],
    bad: Sequence[BadRow],
    *,
    received_at: datetime,
    mapping_version: int,
) -> IngestCount:
    """Appends what is new, counts duplicates, keeps conflicts and bad rows in quarantine.

    The counter is taken when the rows are ready to be sent, before the commit that the caller
    makes; listeners are told at that commit.
    """
    return append_lines(
        connection,
        EventLines.of(events),
        bad,
        received_at=received_at,
        mapping_version=mapping_version,
    )


def append_lines(
    connection: Connection,
    lines: EventLines,
    bad: Sequence[BadRow],
    *,
    received_at: datetime,
    mapping_version: int,
) -> IngestCount:
    """As append_events, of events that were made ready before: for whoever has a second thread."""
    per_system = {row.system: IngestCount() for row in bad}
    kept = list(bad)
    last_offset = None
    if lines.events:
        head = _lock_counter(connection)
        held = _held(connection, lines)
        _copy(connection, lines, held, head=head, mapping_version=mapping_version)
        accepted = len(lines.events) - len(held)
        per_system |= _outcomes(lines, held)
        kept += [
            conflicting_duplicate(lines.events[place])
            for place, same in sorted(held.items())
            if not same
        ]
        _advance(connection, accepted)
        last_offset = head + accepted if accepted else None
    for row in quarantine(connection, kept, received_at=received_at):
        if row.reason is not Reason.CONFLICTING_DUPLICATE:
            per_system[row.system] += IngestCount(quarantined=1)
    _count(connection, per_system)
    return sum(per_system.values(), IngestCount(last_offset=last_offset))


def _held(connection: Connection, lines: EventLines) -> dict[int, bool]:
    """Places of events whose id came before; True where it came with the same content.

    The first of an id stays: it decides, whether it is in the ledger or earlier in this batch.
    """
    events = lines.events
    held = {place: events[earlier].content_hash for place, earlier in lines.repeats.items()}
    for system, places in lines.places_of_systems().items():
        wanted = sorted({lines.event_ids[place] for place in places})
        rows = connection.execute(_KNOWN, {"system": system, "event_ids": _array(wanted)})
        known: dict[str, bytes] = dict(rows.fetchall())
        if known:
            ids = lines.event_ids
            held |= {place: known[ids[place]] for place in places if ids[place] in known}
    return {place: events[place].content_hash == hash_ for place, hash_ in held.items()}


def _array(texts: Sequence[str]) -> str:
    """A text[] as Postgres writes it: several times faster than the driver's own way."""
    together = '","'.join(texts)
    if together.count('"') > 2 * (len(texts) - 1) or "\\" in together:
        together = '","'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + together + '"}' if texts else "{}"


def _copy(
    connection: Connection,
    lines: EventLines,
    held: dict[int, bool],
    *,
    head: int,
    mapping_version: int,
) -> None:
    columns = ", ".join(("ledger_offset", "kind", "mapping_version", *lines.columns))
    with connection.cursor().copy(f"COPY hub.ledger ({columns}) FROM STDIN") as copy:
        for piece in lines.numbered(held, after=head, mapping_version=mapping_version):
            copy.write(piece)


def _outcomes(lines: EventLines, held: dict[int, bool]) -> dict[str, IngestCount]:
    """What became of the events of each system."""
    sent = Counter(lines.systems)
    same = Counter(lines.systems[place] for place, same in held.items() if same)
    other = Counter(lines.systems[place] for place, same in held.items() if not same)
    return {
        system: IngestCount(
            accepted=count - same[system] - other[system],
            duplicates=same[system],
            conflicting=other[system],
        )
        for system, count in sent.items()
    }


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


# Entries that a later catalogue mapped again, each as the newest one up to `mapped_upto` has it.
_REMAPPED = """
remapped AS (
    SELECT DISTINCT ON (ledger_offset) ledger_offset, sku, quantity_milli, held
    FROM hub.remaps
    WHERE ledger_offset > %(remapped_after)s AND ledger_offset <= %(upto)s
      AND (%(mapped_upto)s::bigint IS NULL OR mapping_offset <= %(mapped_upto)s)
    ORDER BY ledger_offset, mapping_offset DESC
)
"""
# Events of some skus, and every event of the orders and reservations that these name.
_WANTED = """
named AS (
    SELECT l.ledger_offset, l.system, l.order_id, l.reservation_id
    FROM hub.ledger l
    WHERE l.kind = 'event' AND l.sku = ANY(%(skus)s) AND l.ledger_offset <= %(upto)s
      AND NOT EXISTS (SELECT 1 FROM remapped r WHERE r.ledger_offset = l.ledger_offset)
    UNION ALL
    SELECT l.ledger_offset, l.system, l.order_id, l.reservation_id
    FROM remapped r JOIN hub.ledger l ON l.ledger_offset = r.ledger_offset
    WHERE r.sku = ANY(%(skus)s) AND NOT r.held
), wanted AS (
    SELECT ledger_offset FROM named
    UNION
    SELECT l.ledger_offset
    FROM (SELECT DISTINCT order_id FROM named WHERE order_id IS NOT NULL) o
    JOIN hub.ledger l ON l.order_id = o.order_id
    UNION
    SELECT l.ledger_offset
    FROM (SELECT DISTINCT system, reservation_id FROM named WHERE reservation_id IS NOT NULL) r
    JOIN hub.ledger l ON l.reservation_id = r.reservation_id AND l.system = r.system
)
"""
_AS_MAPPED = {
    "sku": "CASE WHEN r.ledger_offset IS NULL THEN l.sku ELSE r.sku END",
    "quantity_milli": "CASE WHEN r.ledger_offset IS NULL THEN l.quantity_milli"
    " ELSE r.quantity_milli END",
}


def read_events(
    connection: Connection,
    after: int,
    upto: int,
    *,
    skus: Collection[str] | None = None,
    mapped_upto: int | None = None,
) -> pa.Table:
    """Events with after < ledger_offset <= upto, in order, as EVENT_SCHEMA.

    They are mapped as the catalogue at offset `mapped_upto` maps them (None: the newest); what that
    catalogue does not accept is left out. With `skus`, only events of these skus and every event,
    of whatever sku and system, of the orders and reservations that those events name.
    """
    with_ = _REMAPPED if skus is None else f"{_REMAPPED}, {_WANTED}"
    only = "" if skus is None else "AND l.ledger_offset IN (SELECT ledger_offset FROM wanted)"
    return _events(
        connection,
        f"WITH {with_}",
        f"l.ledger_offset > %(after)s AND l.ledger_offset <= %(upto)s {only}",
        {
            "after": after, "upto": upto, "mapped_upto": mapped_upto,
            "remapped_after": after if skus is None else 0,
            "skus": None if skus is None else sorted(skus),
        },
    )  # fmt: skip


def read_entries(connection: Connection, offsets: Sequence[int]) -> pa.Table:
    """The events with these offsets as the newest catalogue maps them, as EVENT_SCHEMA."""
    return _events(
        connection,
        f"WITH {_REMAPPED}",
        "l.ledger_offset = ANY(%(offsets)s)",
        {
            "offsets": list(offsets), "mapped_upto": None,
            "remapped_after": min(offsets, default=0) - 1, "upto": max(offsets, default=0),
        },
    )  # fmt: skip


def _events(connection: Connection, with_: str, which: str, parameters: dict[str, Any]) -> pa.Table:
    columns = ", ".join(_AS_MAPPED.get(name, f"l.{name}") for name in EVENT_SCHEMA.names)
    rows = connection.execute(
        f"{with_} SELECT {columns} FROM hub.ledger l"
        " LEFT JOIN remapped r ON r.ledger_offset = l.ledger_offset"
        f" WHERE l.kind = 'event' AND {which} AND NOT coalesce(r.held, false)"
        " ORDER BY l.ledger_offset",
        parameters,
    ).fetchall()
    by_column: Any = zip(*rows, strict=True) if rows else ([] for _ in EVENT_SCHEMA.names)
    arrays = [pa.array(v, f.type) for v, f in zip(by_column, EVENT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


# A snapshot is read from the file of the newest catalogue that mapped it again, else from its own;
# that file holds the releases before it.
_SNAPSHOTS = """
WITH mapped AS (
    SELECT DISTINCT ON (snapshot_offset) snapshot_offset, ledger_offset, path
    FROM hub.amendments
    WHERE kind = 'mapping' AND snapshot_offset <= %(upto)s
      AND (%(mapped_upto)s::bigint IS NULL OR ledger_offset <= %(mapped_upto)s)
    ORDER BY snapshot_offset, ledger_offset DESC
)
SELECT s.ledger_offset, s.system, s.as_of, s.complete, s.states, coalesce(m.path, s.path), s.source,
       s.ledger_offset
FROM hub.snapshots s LEFT JOIN mapped m ON m.snapshot_offset = s.ledger_offset
WHERE s.ledger_offset > %(after)s AND s.ledger_offset <= %(upto)s
  AND (%(systems)s::text[] IS NULL OR s.system = ANY(%(systems)s))
UNION ALL
SELECT a.ledger_offset, s.system, s.as_of, false, s.states, a.path, a.source, s.ledger_offset
FROM hub.amendments a
JOIN hub.snapshots s ON s.ledger_offset = a.snapshot_offset
LEFT JOIN mapped m ON m.snapshot_offset = a.snapshot_offset
WHERE a.kind = 'release' AND a.ledger_offset > coalesce(m.ledger_offset, 0)
  AND a.ledger_offset > %(after)s AND a.ledger_offset <= %(upto)s
  AND (%(systems)s::text[] IS NULL OR s.system = ANY(%(systems)s))
ORDER BY 1
"""


def read_snapshots(
    connection: Connection,
    after: int,
    upto: int,
    *,
    systems: Collection[str] | None = None,
    mapped_upto: int | None = None,
) -> list[LandedSnapshot]:
    """Accepted snapshots, and rows of theirs that were released later, with after < ledger_offset
    <= upto, in the order of their offsets; mapped as the catalogue at `mapped_upto` maps them
    (None: the newest). `systems`: only theirs.
    """
    rows = connection.execute(
        _SNAPSHOTS,
        {
            "after": after, "upto": upto, "mapped_upto": mapped_upto,
            "systems": None if systems is None else sorted(systems),
        },
    )  # fmt: skip
    return [
        LandedSnapshot(
            ledger_offset=offset, system=system, as_of=as_of, complete=complete,
            states=tuple(states), path=path, source=source, snapshot_offset=snapshot_offset,
        )
        for offset, system, as_of, complete, states, path, source, snapshot_offset in rows
    ]  # fmt: skip


def find_event(connection: Connection, system: str, event_id: str) -> tuple[int, bytes] | None:
    """(offset, content hash) of the event that has this id; None if it is free."""
    row = connection.execute(
        "SELECT ledger_offset, content_hash FROM hub.ledger"
        " WHERE kind = 'event' AND system = %s AND event_id = %s",
        (system, event_id),
    ).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def append_release(
    connection: Connection,
    snapshot: LandedSnapshot,
    *,
    released_source: str,
    path: str,
    position: str,
    at: datetime,
    mapping_version: int,
) -> int:
    """A row of a landed snapshot that came out of quarantine; `path` holds its cell, durable.

    Returns the offset from which it counts: the one that `next_offset` gave.
    """
    offset = next_offset(connection)
    connection.execute(
        "INSERT INTO hub.ledger (ledger_offset, kind, system, occurred_at, received_at,"
        " snapshot_id, mapping_version, source, position)"
        " SELECT %s, 'release', system, as_of, %s, snapshot_id, %s, source, %s"
        " FROM hub.snapshots WHERE ledger_offset = %s",
        (offset, at, mapping_version, position, snapshot.snapshot_offset),
    )
    connection.execute(
        "INSERT INTO hub.amendments (ledger_offset, snapshot_offset, kind, source, path)"
        " VALUES (%s, %s, 'release', %s, %s)",
        (offset, snapshot.snapshot_offset, released_source, path),
    )
    _advance(connection, 1)
    return offset


def next_offset(connection: Connection) -> int:
    """The offset of the next entry; nobody else appends until this transaction ends."""
    return _lock_counter(connection) + 1


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

"""Entries that a change of the catalogue maps again: nothing is edited, newer rows stand beside.

Every function works inside the caller's transaction.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from inventory_pipeline.memory.postgres import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What one event is of, under one catalogue. `held`: that catalogue does not accept it."""

    ledger_offset: int
    sku: str | None
    quantity_milli: int | None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event's item and quantity as received, and what it is mapped to now."""

    ledger_offset: int
    system: str
    item: str
    type: str
    quantity: str | None  # the number as its system sent it
    sku: str | None
    quantity_milli: int | None
    held: bool
    source: str
    position: str
    raw: str

    @property
    def mapped(self) -> Mapped:
        return Mapped(
            ledger_offset=self.ledger_offset,
            sku=self.sku,
            quantity_milli=self.quantity_milli,
            held=self.held,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An accepted snapshot as it landed; `remapped` if a later catalogue mapped it again."""

    ledger_offset: int
    system: str
    feed: str
    source: str
    key: str
    as_of: datetime
    complete: bool
    states: tuple[str, ...]
    path: str
    data_rows: int
    mapping_version: int
    remapped: bool


def events_of(
    connection: Connection, system: str, items: Collection[str], *, upto: int
) -> Iterator[Received]:
    """Events up to this offset that name one of these external items, in order."""
    with connection.cursor(name="remapping", row_factory=class_row(Received)) as cursor:
        cursor.execute(
            "SELECT l.ledger_offset, l.system, l.item, l.type, l.raw ->> 'quantity' AS quantity,"
            " CASE WHEN r.ledger_offset IS NULL THEN l.sku ELSE r.sku END AS sku,"
            " CASE WHEN r.ledger_offset IS NULL THEN l.quantity_milli ELSE r.quantity_milli END"
            " AS quantity_milli, coalesce(r.held, false) AS held,"
            " l.source, l.position, l.raw::text AS raw"
            " FROM hub.ledger l LEFT JOIN (SELECT DISTINCT ON (ledger_offset) * FROM hub.remaps"
            "  ORDER BY ledger_offset, mapping_offset DESC) r"
            "  ON r.ledger_offset = l.ledger_offset"
            " WHERE l.kind = 'event' AND l.system = %s AND l.item = ANY(%s)"
            " AND l.ledger_offset <= %s ORDER BY l.ledger_offset",
            (system, sorted(items), upto),
        )
        yield from cursor


def held_items(connection: Connection, system: str) -> set[str]:
    """External items of events that some catalogue put out of the numbers."""
    rows = connection.execute(
        "SELECT DISTINCT l.item FROM hub.remaps r JOIN hub.ledger l USING (ledger_offset)"
        " WHERE r.held AND l.system = %s",
        (system,),
    )
    return {item for (item,) in rows}


def store(connection: Connection, mapped: Sequence[Mapped], *, mapping_offset: int) -> None:
    """These entries are mapped so from `mapping_offset` on."""
    with connection.cursor().copy(
        "COPY hub.remaps (ledger_offset, mapping_offset, sku, quantity_milli, held) FROM STDIN"
    ) as copy:
        for one in mapped:
            copy.write_row(
                (one.ledger_offset, mapping_offset, one.sku, one.quantity_milli, one.held)
            )


def snapshots_of(connection: Connection, system: str) -> list[Snapshot]:
    """Every accepted snapshot of a system, as it landed, in the order of offsets."""
    rows = connection.execute(
        "SELECT s.ledger_offset, s.system, s.feed, s.source, s.key, s.as_of, s.complete, s.states,"
        " s.path, s.data_rows, l.mapping_version, EXISTS (SELECT 1 FROM hub.amendments a"
        "  WHERE a.snapshot_offset = s.ledger_offset AND a.kind = 'mapping')"
        " FROM hub.snapshots s JOIN hub.ledger l USING (ledger_offset)"
        " WHERE s.system = %s AND s.status = 'accepted' ORDER BY s.ledger_offset",
        (system,),
    )
    return [
        Snapshot(
            ledger_offset=row[0], system=row[1], feed=row[2], source=row[3], key=row[4],
            as_of=row[5], complete=row[6], states=tuple(row[7]), path=row[8], data_rows=row[9],
            mapping_version=row[10], remapped=row[11],
        )
        for row in rows
    ]  # fmt: skip


def amend(connection: Connection, snapshot: Snapshot, *, path: str, mapping_offset: int) -> None:
    """The snapshot is read from this durable file from `mapping_offset` on."""
    connection.execute(
        "INSERT INTO hub.amendments (ledger_offset, snapshot_offset, kind, source, path)"
        " VALUES (%s, %s, 'mapping', %s, %s)",
        (mapping_offset, snapshot.ledger_offset, snapshot.source, path),
    )


def events_between(connection: Connection, after: int, upto: int) -> list[int]:
    """Events up to `after` that a catalogue with after < offset <= upto mapped again."""
    rows = connection.execute(
        "SELECT DISTINCT ledger_offset FROM hub.remaps"
        " WHERE mapping_offset > %s AND mapping_offset <= %s AND ledger_offset <= %s ORDER BY 1",
        (after, upto, after),
    )
    return [offset for (offset,) in rows]


def systems_between(connection: Connection, after: int, upto: int) -> list[str]:
    """Systems with snapshots up to `after` that such a catalogue mapped again."""
    rows = connection.execute(
        "SELECT DISTINCT s.system FROM hub.amendments a"
        " JOIN hub.snapshots s ON s.ledger_offset = a.snapshot_offset"
        " WHERE a.kind = 'mapping' AND a.ledger_offset > %s AND a.ledger_offset <= %s"
        " AND s.ledger_offset <= %s ORDER BY 1",
        (after, upto, after),
    )
    return [system for (system,) in rows]


def snapshot_offsets(connection: Connection, systems: Sequence[str], *, upto: int) -> list[int]:
    """Offsets of these systems' snapshots and of releases into them."""
    rows = connection.execute(
        "SELECT ledger_offset FROM hub.snapshots"
        " WHERE system = ANY(%(systems)s) AND ledger_offset <= %(upto)s"
        " UNION ALL SELECT a.ledger_offset FROM hub.amendments a"
        " JOIN hub.snapshots s ON s.ledger_offset = a.snapshot_offset"
        " WHERE s.system = ANY(%(systems)s) AND a.kind = 'release' AND a.ledger_offset <= %(upto)s"
        " ORDER BY 1",
        {"systems": list(systems), "upto": upto},
    )
    return [offset for (offset,) in rows]


def read_again(connection: Connection, skus: Collection[str]) -> int:
    """The channels' numbers of these skus are read before anything is sent: what a channel sold
    itself was counted under another sku. Returns how many listings.
    """
    return connection.execute(
        "UPDATE hub.outbox SET look = true, looks = looks + 1, look_after = NULL, unread = true"
        " WHERE sku = ANY(%s)",
        (sorted(skus),),
    ).rowcount

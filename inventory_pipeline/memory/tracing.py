"""Where one id stands in the memory: its entries, deliveries, writes and listings.

Every list is bounded by MOST; quantities are decimal texts in the channel's unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from inventory_pipeline.memory.correlation import OF_ENTRY
from inventory_pipeline.memory.postgres import Connection

MOST = 1_000
_ENTRY = (
    f"SELECT l.ledger_offset, l.kind, l.system, l.event_id, l.type, l.sku, l.order_id,"
    f" l.occurred_at, l.received_at, l.source, {OF_ENTRY} AS correlation_id FROM hub.ledger l"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    ledger_offset: int
    kind: str
    system: str | None
    event_id: str | None
    type: str | None
    sku: str | None
    order_id: str | None
    occurred_at: datetime
    received_at: datetime
    source: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One attempt; without an outcome it is under way."""

    channel: str
    external_id: str
    quantity: str
    key: str
    desired_offset: int
    computed_at: datetime
    sent_at: datetime
    answered_at: datetime | None
    outcome: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A listing whose number it moved last, and that was not written for it."""

    channel: str
    external_id: str
    desired_offset: int
    computed_at: datetime
    look: bool
    failure: str | None
    dead_at: datetime | None


def entries(connection: Connection, name: str) -> list[Entry]:
    """Ledger entries of an id, an offset, or an order, in their order."""
    if name.isdigit():
        return _entries(connection, "l.ledger_offset = %(offset)s", offset=int(name))
    system, _, rest = name.partition("/")
    if system in {"policy", "catalog"}:
        table = "policy_versions" if system == "policy" else "mapping_versions"
        if not rest.isdigit():
            return []
        where = f"l.ledger_offset IN (SELECT ledger_offset FROM hub.{table} WHERE version = %(v)s)"
        return _entries(connection, where, v=int(rest))
    number = rest.removeprefix("snapshot-")
    if number != rest and number.isdigit():
        where = (
            "l.ledger_offset IN (SELECT ledger_offset FROM hub.snapshots WHERE snapshot_id = %(n)s)"
        )
        return _entries(connection, where, n=int(number))
    for column in ("delivery", "event_id", "order_id"):
        where = f"l.{column} = %(rest)s AND l.system = %(system)s"
        found = _entries(connection, where, rest=rest, system=system)
        if found:
            return found
    return []


def _entries(connection: Connection, where: str, **values: object) -> list[Entry]:
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        cursor.execute(f"{_ENTRY} WHERE {where} ORDER BY l.ledger_offset LIMIT {MOST}", values)
        return cursor.fetchall()


def deliveries(connection: Connection, names: Sequence[str]) -> list[tuple[datetime, str]]:
    """When webhooks of these ids were accepted, and what became of them."""
    parts = [name.partition("/") for name in names]
    rows = connection.execute(
        "SELECT i.received_at, coalesce('given up: ' || i.failure, i.topic) FROM hub.inbox i"
        " JOIN unnest(%s::text[], %s::text[]) AS p (system, name) ON p.system = i.system"
        " AND p.name = coalesce(nullif(i.delivery_id, ''),"
        "  'body-' || left(encode(sha256(i.body), 'hex'), 16))"
        f" ORDER BY i.received_at LIMIT {MOST}",
        ([system for system, _, _ in parts], [rest for _, _, rest in parts]),
    )
    return [(at, about) for at, about in rows]


_WRITES = f"""
WITH moved AS (
    -- The first write of each listing that has it in its number, and every write before that ...
    SELECT a.*, row_number() OVER (
        PARTITION BY a.channel, a.bucket, a.external_id,
            a.outcome IS NOT DISTINCT FROM 'acked' ORDER BY a.sent_at) AS nth
    FROM hub.attempts a
    WHERE a.sku IN (SELECT sku FROM hub.ledger WHERE ledger_offset = ANY(%(offsets)s))
      AND a.desired_offset >= (SELECT min(o) FROM unnest(%(offsets)s::bigint[]) o)
), first_acked AS (
    SELECT channel, bucket, external_id, sent_at FROM moved WHERE outcome = 'acked' AND nth = 1
), chosen AS (
    SELECT m.channel, m.bucket, m.external_id, m.key FROM moved m
    LEFT JOIN first_acked f USING (channel, bucket, external_id)
    WHERE f.sent_at IS NULL OR m.sent_at <= f.sent_at
    UNION
    -- ... and what it moved itself: bundles, and all of a snapshot.
    SELECT a.channel, a.bucket, a.external_id, a.key FROM hub.attempts a
    WHERE a.caused_by = ANY(%(offsets)s) AND a.sent_at >= (
        SELECT min(received_at) FROM hub.ledger WHERE ledger_offset = ANY(%(offsets)s))
)
SELECT a.channel, a.external_id, trim_scale(a.quantity_milli / 1000.0)::text AS quantity, a.key,
       a.desired_offset, a.computed_at, a.sent_at, a.answered_at, a.outcome, a.error
FROM chosen JOIN hub.attempts a USING (channel, bucket, external_id, key)
ORDER BY a.sent_at, a.channel, a.external_id LIMIT {MOST}
"""


def writes(connection: Connection, offsets: Sequence[int]) -> list[Write]:
    """What was sent because of these entries, up to the first answer that has them in."""
    with connection.cursor(row_factory=class_row(Write)) as cursor:
        cursor.execute(_WRITES, {"offsets": list(offsets)})
        return cursor.fetchall()


def waiting(connection: Connection, offsets: Sequence[int]) -> list[Listing]:
    """Listings that these entries moved and that no write was needed or made for."""
    with connection.cursor(row_factory=class_row(Listing)) as cursor:
        cursor.execute(
            "SELECT o.channel, o.external_id, o.desired_offset, o.computed_at, o.look, o.failure,"
            " o.dead_at FROM hub.outbox o WHERE o.caused_by = ANY(%(offsets)s) AND NOT EXISTS ("
            "  SELECT 1 FROM hub.attempts a WHERE a.channel = o.channel AND a.bucket = o.bucket"
            "  AND a.external_id = o.external_id AND a.desired_offset = o.desired_offset"
            "  AND a.outcome IN ('acked', 'shadow'))"
            f" ORDER BY o.channel, o.external_id LIMIT {MOST}",
            {"offsets": list(offsets)},
        )
        return cursor.fetchall()

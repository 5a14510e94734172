"""The outbox: state, not a queue. Desired, base, what is under way (SEMANTICS §8).

Quantities in thousandths of the channel's unit. Every write of a drain checks its epoch first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import Capabilities, Level, ListingRef
from inventory_pipeline.core.vocabulary import EventType, MovesAt
from inventory_pipeline.memory.places import UNTOUCHED, each, seen
from inventory_pipeline.memory.postgres import Connection

_PENDING = (
    "channel", "bucket", "external_id", "bucket_external", "sku", "units_milli", "desired_milli",
    "desired_offset", "occurred_at", "received_at", "listed",
)  # fmt: skip

# A newer desired value replaces an older one that was not sent; an older one never a newer. The
# same value again, as after a rebuild, is no news: the row stays as it is.
_UPSERT = f"""
INSERT INTO hub.outbox AS o ({", ".join(_PENDING)}, policy_version, mapping_version, computed_at)
SELECT {", ".join(_PENDING)}, %(policy_version)s, %(mapping_version)s, %(computed_at)s
FROM pg_temp.pending
ON CONFLICT (channel, bucket, external_id) DO UPDATE SET
    bucket_external = excluded.bucket_external, sku = excluded.sku,
    units_milli = excluded.units_milli, desired_milli = excluded.desired_milli,
    desired_offset = excluded.desired_offset, occurred_at = excluded.occurred_at,
    received_at = excluded.received_at, listed = excluded.listed,
    policy_version = excluded.policy_version, mapping_version = excluded.mapping_version,
    computed_at = excluded.computed_at,
    look = true, looks = o.looks + 1, look_after = NULL, attempts = 0,
    failure = NULL, dead_at = NULL
WHERE excluded.desired_offset >= o.desired_offset
  AND (excluded.desired_milli, excluded.listed, excluded.sku, excluded.units_milli,
       excluded.bucket_external)
   IS DISTINCT FROM (o.desired_milli, o.listed, o.sku, o.units_milli, o.bucket_external)
"""


def store_desired(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    *,
    policy_version: int,
    mapping_version: int,
    computed_at: datetime,
) -> None:
    """Upserts desired values; repeating it is harmless.

    `rows` have the keys channel, bucket, external_id, bucket_external, sku, units_milli,
    desired_milli, ledger_offset, occurred_at, received_at, listed.
    """
    connection.execute("SET LOCAL client_min_messages TO warning")
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS pending (channel text, bucket text, external_id text,"
        " bucket_external text, sku text, units_milli bigint, desired_milli bigint,"
        " desired_offset bigint, occurred_at timestamptz, received_at timestamptz, listed boolean)"
        " ON COMMIT DELETE ROWS"
    )
    with connection.cursor().copy(f"COPY pg_temp.pending ({', '.join(_PENDING)}) FROM STDIN") as c:
        for row in rows:
            c.write_row(
                tuple(row["ledger_offset" if n == "desired_offset" else n] for n in _PENDING)
            )
    connection.execute(
        _UPSERT,
        {
            "policy_version": policy_version,
            "mapping_version": mapping_version,
            "computed_at": computed_at,
        },
    )


def look_at_own_events(
    connection: Connection, systems: Mapping[str, Sequence[str]], *, after: int, upto: int
) -> None:
    """Marks listings whose channel reported an event of its own: its number moved by itself.

    `systems` is system → its channels; offsets are ledger offsets, after < o <= upto.
    """
    for system, channels in systems.items():
        connection.execute(
            "UPDATE hub.outbox o SET look = true, looks = o.looks + 1, look_after = NULL"
            " FROM hub.ledger l"
            " WHERE l.ledger_offset > %s AND l.ledger_offset <= %s AND l.kind = 'event'"
            " AND l.system = %s AND l.order_id IS NOT NULL AND o.channel = ANY(%s)"
            " AND (l.sku = o.sku OR l.sku IS NULL AND o.sku IN (SELECT k.sku FROM hub.ledger k"
            "  WHERE k.system = l.system AND k.order_id = l.order_id))",
            (after, upto, system, list(channels)),
        )


_MOVES = {
    MovesAt.ORDER: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.PAYMENT: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.FULFILMENT: (EventType.ORDER_FULFILLED,),
    MovesAt.NONE: (),
}

_DUE = "AND look AND dead_at IS NULL AND (look_after IS NULL OR look_after <= %(now)s)"

# The base tells the number at some moment between sent and answered; events dated near that
# interval may or may not be in it. An own event without a quantity can't be added up: uncertain as
# well.
_LOOK = """
WITH candidates AS (
    SELECT * FROM hub.outbox
    WHERE channel = %(channel)s {only}
    ORDER BY computed_at, bucket, external_id
    LIMIT %(limit)s
), own AS (
    SELECT o.bucket, o.external_id,
           sum(CASE WHEN l.occurred_at <= o.base_answered_at + %(skew)s THEN 0
                    WHEN l.type = ANY(%(takes)s) THEN -l.quantity_milli
                    ELSE l.quantity_milli END * 1000 / o.units_milli) AS own_milli,
           bool_or(l.occurred_at <= o.base_answered_at + %(skew)s OR l.quantity_milli IS NULL
                   OR o.shared) AS uncertain,
           max(l.occurred_at) AS last_own_at
    FROM (SELECT c.*, EXISTS (SELECT 1 FROM hub.outbox x
              WHERE x.channel = c.channel AND x.external_id = c.external_id
                AND x.bucket <> c.bucket AND x.listed) AS shared FROM candidates c) o
    JOIN hub.ledger l
      ON l.kind = 'event' AND l.system = %(system)s
     AND (l.channel = %(channel)s OR l.channel IS NULL)
     AND l.occurred_at >= o.base_sent_at - %(skew)s
     -- What is not computed yet is in neither number: desired and showing move together.
     AND l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
     AND (l.type = ANY(%(takes)s) OR l.type = ANY(%(gives)s))
     AND (l.sku = o.sku AND (l.item = o.external_id OR NOT EXISTS (
              SELECT 1 FROM hub.outbox other
              WHERE other.channel = o.channel AND other.external_id = l.item))
          OR l.sku IS NULL AND EXISTS (SELECT 1 FROM hub.ledger k
              WHERE k.system = l.system AND k.order_id = l.order_id AND k.sku = o.sku))
    GROUP BY o.bucket, o.external_id
)
SELECT c.bucket, c.bucket_external, c.external_id, c.sku, c.desired_milli, c.desired_offset,
       c.policy_version, c.computed_at, c.occurred_at, c.received_at, c.base_milli, c.base_sent_at,
       c.base_answered_at, coalesce(own.own_milli, 0)::bigint, coalesce(own.uncertain, false),
       own.last_own_at, c.attempts, c.listed, c.looks, c.unread
FROM candidates c LEFT JOIN own USING (bucket, external_id)
ORDER BY c.computed_at, c.bucket, c.external_id
"""


def rows_to_look_at(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    *,
    now: datetime,
    limit: int,
    everything: bool = False,
) -> list[OutboxRow]:
    """Listings that may need work, oldest first, with what the channel did itself since the base.

    With `everything` all listings of the channel, whether they need a look or not (reconciliation).
    """
    only = "" if everything else _DUE
    return _rows(connection, channel, capabilities, only, {"now": now, "limit": limit})


def rows_of_sku(
    connection: Connection, channel: Channel, capabilities: Capabilities, sku: str, *, limit: int
) -> list[OutboxRow]:
    """The listings of a sku in one channel, with what the channel did itself since the base."""
    only = "AND sku = %(sku)s"
    return _rows(connection, channel, capabilities, only, {"sku": sku, "limit": limit})


def _rows(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    only: str,
    parameters: Mapping[str, Any],
) -> list[OutboxRow]:
    gives = [EventType.ORDER_CANCELLED] if "cancel" in capabilities.restores_on else []
    rows = connection.execute(
        _LOOK.format(only=only),
        {
            "channel": channel.id, "system": channel.system, "skew": channel.skew,
            "gives": [str(t) for t in gives],
            "takes": [str(t) for t in _MOVES[capabilities.moves_at]],
            **parameters,
        },
    )  # fmt: skip
    return [_row(channel.id, row) for row in rows]


def channels_due(connection: Connection, *, now: datetime) -> frozenset[str]:
    """Channels with listings that need a look now."""
    rows = connection.execute(
        "SELECT DISTINCT channel FROM hub.outbox WHERE look AND dead_at IS NULL"
        " AND (look_after IS NULL OR look_after <= %s)",
        (now,),
    )
    return frozenset(channel for (channel,) in rows)


def next_look(connection: Connection) -> datetime | None:
    """When the next postponed listing is due; None if none waits."""
    row = connection.execute(
        "SELECT min(look_after) FROM hub.outbox WHERE look AND dead_at IS NULL"
    ).fetchone()
    return row[0] if row else None


def settle(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """These show what they must: no look needed until something changes."""
    each(
        connection,
        "UPDATE hub.outbox SET look = false, look_after = NULL, attempts = 0, failure = NULL"
        f" WHERE {UNTOUCHED}",
        [seen(row) for row in rows],
    )


def postpone(connection: Connection, rows: Sequence[OutboxRow], until: datetime) -> None:
    """Looks at these again at `until`."""
    each(
        connection,
        f"UPDATE hub.outbox SET look = true, look_after = %s WHERE {UNTOUCHED}",
        [(until, *seen(row)) for row in rows],
    )


def store_readings(connection: Connection, channel: str, levels: Sequence[Level]) -> None:
    """A reading becomes the base unless a newer answer is already held."""
    each(
        connection,
        "UPDATE hub.outbox SET base_milli = %s, base_kind = 'reading', base_sent_at = %s,"
        " base_answered_at = %s, unread = false, open_key = NULL"
        " WHERE channel = %s AND bucket = %s AND external_id = %s"
        " AND (base_answered_at IS NULL OR base_answered_at <= %s)",
        [
            (
                level.quantity_milli, level.asked_at, level.answered_at, channel,
                level.listing.bucket, level.listing.external_id, level.answered_at,
            )
            for level in levels
        ],
    )  # fmt: skip


def not_listed(
    connection: Connection, rows: Sequence[OutboxRow], message: str, *, until: datetime
) -> None:
    """The channel does not have these listings: asked again later, and shown to people
    meanwhile.
    """
    each(
        connection,
        f"UPDATE hub.outbox SET failure = %s, look_after = %s WHERE {UNTOUCHED}",
        [(message, until, *seen(row)) for row in rows],
    )


def reading_failed(
    connection: Connection, rows: Sequence[OutboxRow], message: str, *, until: datetime
) -> None:
    """The channel did not answer: asked again at `until`; nothing is known to have changed."""
    each(
        connection,
        "UPDATE hub.outbox SET failure = %s, look_after = %s, attempts = attempts + 1"
        f" WHERE {UNTOUCHED}",
        [(message, until, *seen(row)) for row in rows],
    )


def repush(connection: Connection, channel: str, places: Sequence[tuple[str, str]]) -> None:
    """Reads these again and sends desired where it differs; a dead one gets another chance."""
    each(
        connection,
        "UPDATE hub.outbox SET look = true, looks = looks + 1, look_after = NULL, dead_at = NULL,"
        " unread = true WHERE channel = %s AND bucket = %s AND external_id = %s",
        [(channel, *place) for place in places],
    )


def _row(channel: str, row: tuple[Any, ...]) -> OutboxRow:
    return OutboxRow(
        channel=channel,
        listing=ListingRef(bucket=row[0], bucket_external=row[1], external_id=row[2]),
        sku=row[3], desired_milli=row[4], desired_offset=row[5], policy_version=row[6],
        computed_at=row[7], occurred_at=row[8], received_at=row[9], base_milli=row[10],
        base_sent_at=row[11], base_answered_at=row[12], own_milli=row[13], uncertain=row[14],
        last_own_at=row[15], attempts=row[16], listed=row[17], looks=row[18], unread=row[19],
    )  # fmt: skip

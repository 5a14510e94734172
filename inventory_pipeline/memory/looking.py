"""Which listings need a look, and what each channel did itself since their base (SEMANTICS §8).

Quantities in thousandths of the channel's unit.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.outbox import ONE_IN, OutboxRow
from inventory_pipeline.core.ports import Capabilities, ListingRef
from inventory_pipeline.memory.arrays import moments, numbers, texts
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.showing import Place, takes_and_gives

_NOTHING: tuple[int, bool, datetime | None] = (0, False, None)
_AGE = "coalesce(waiting_since, computed_at)"
_DUE = (
    "AND look AND dead_at IS NULL AND open_key IS NULL"
    " AND (look_after IS NULL OR look_after <= %(now)s::timestamptz)"
)

# Where the newest own event of a sku (`own_at`) is older than a listing's base there is nothing to
# add up, and no look into the ledger.
_LOOK = """
SELECT bucket, bucket_external, external_id, sku, desired_milli, desired_offset, policy_version,
       computed_at, occurred_at, received_at, base_milli, base_sent_at, base_answered_at, attempts,
       looks, unread OR coalesce(verify_at <= %(now)s::timestamptz, false), listed, base_kind,
       bases, falling_milli, waiting_since, failing_since, caused_by, raise_after,
       units_milli,
       base_sent_at IS NOT NULL AND coalesce(own_at >= base_sent_at - %(skew)s::interval, true)
FROM hub.outbox WHERE channel = %(channel)s {only} ORDER BY {order} LIMIT %(limit)s
"""

# Each candidate is looked up in the ledger's index by its sku; entries of whole orders (a cancel
# without a line has no sku) by their time and then by their order.
#
# The base tells the number at some moment between sent and answered; events dated near that
# interval may or may not be in it. An own event without a quantity can't be added up: uncertain as
# well.
_OWN = """
WITH candidates AS MATERIALIZED (
    SELECT * FROM unnest(%(own_buckets)s::text[], %(own_ids)s::text[], %(own_skus)s::text[],
        %(own_units)s::bigint[], %(own_sent)s::timestamptz[], %(own_answered)s::timestamptz[])
        AS c (bucket, external_id, sku, units_milli, base_sent_at, base_answered_at)
), own_events AS (
    SELECT o.bucket, o.external_id, l.type, l.quantity_milli, l.occurred_at
    FROM candidates o CROSS JOIN LATERAL (
        SELECT l.* FROM hub.ledger l
        WHERE l.sku = o.sku AND l.occurred_at >= o.base_sent_at - %(skew)s
          AND l.kind = 'event' AND l.system = %(system)s
          AND (l.channel = %(channel)s OR l.channel IS NULL)
          -- What is not computed yet is in neither number: desired and showing move together.
          AND l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
          AND l.type = ANY(%(types)s)
        OFFSET 0  -- one look into the ledger's index for each
    ) l
    WHERE l.item = o.external_id OR NOT EXISTS (
        SELECT 1 FROM hub.outbox other
        WHERE other.channel = %(channel)s AND other.bucket = ANY(%(buckets)s)
          AND other.external_id = l.item)
    UNION ALL
    SELECT DISTINCT o.bucket, o.external_id, l.type, NULL::bigint, l.occurred_at
    FROM hub.ledger l
    JOIN hub.ledger k ON k.order_id = l.order_id AND k.system = l.system
    JOIN candidates o ON o.sku = k.sku AND l.occurred_at >= o.base_sent_at - %(skew)s
    WHERE l.sku IS NULL
      AND l.occurred_at >= (SELECT min(base_sent_at) FROM candidates) - %(skew)s
      AND l.kind = 'event' AND l.system = %(system)s
      AND (l.channel = %(channel)s OR l.channel IS NULL)
      AND l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
      AND l.type = ANY(%(types)s)
)
SELECT e.bucket, e.external_id,
       sum(CASE WHEN e.occurred_at <= o.base_answered_at + %(skew)s THEN 0
                WHEN e.type = ANY(%(takes)s) THEN -e.quantity_milli
                ELSE e.quantity_milli END * 1000 / o.units_milli)::bigint,
       bool_or(e.occurred_at <= o.base_answered_at + %(skew)s OR e.quantity_milli IS NULL
               -- Listed in several buckets: which of them it was sold from is not known.
               OR EXISTS (SELECT 1 FROM hub.outbox x
                  WHERE x.channel = %(channel)s AND x.bucket = ANY(%(buckets)s)
                    AND x.bucket <> o.bucket AND x.external_id = o.external_id AND x.listed)),
       max(e.occurred_at)
FROM own_events e JOIN candidates o USING (bucket, external_id)
GROUP BY e.bucket, e.external_id
"""
_THESE = "SELECT * FROM unnest(%(these_buckets)s::text[], %(these_ids)s::text[])"
_BY_RISK = f"risk, {_AGE}"


def rows_to_look_at(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    *,
    now: datetime,
    limit: int,
    everything: bool = False,
    among: Sequence[str] | None = None,
    without: Sequence[str] = (),
    under_way: Collection[Place] = (),
) -> list[OutboxRow]:
    """Listings that may need work, the most dangerous first, with what the channel did itself since
    the base. Where more are due than `limit`, one in ten is of those that have waited longest.
    `among` and `without` name skus, None stands for all; those `under_way` are left out.

    With `everything` all listings of the channel, whether they need a look or not (reconciliation).
    """
    if everything:
        return _rows(
            connection, channel, capabilities, {"now": now, "limit": limit}, only="", order=_AGE
        )
    asked: dict[str, Any] = {
        "now": now, "limit": limit, "among": among, "without": list(without)
    }  # fmt: skip
    due = _DUE
    if among is not None:
        due += " AND sku = ANY(%(among)s)"
    if without:
        due += " AND sku <> ALL(%(without)s)"
    if under_way:
        due += f" AND (bucket, external_id) NOT IN ({_THESE})"
        asked |= _these(under_way)
    rows = _rows(connection, channel, capabilities, asked, only=due, order=_BY_RISK)
    if len(rows) < limit or limit < ONE_IN:
        return rows
    asked["limit"] = limit // ONE_IN
    oldest = _rows(connection, channel, capabilities, asked, only=due, order=_AGE)
    chosen = {row.place: row for row in oldest}
    for row in rows:
        if len(chosen) == limit:
            break
        chosen[row.place] = row
    return list(chosen.values())


def rows_of_sku(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    sku: str,
    *,
    limit: int,
    now: datetime | None = None,
) -> list[OutboxRow]:
    """The listings of a sku in one channel, with what the channel did itself since the base."""
    asked = {"sku": sku, "limit": limit, "now": now}
    return _rows(connection, channel, capabilities, asked, only="AND sku = %(sku)s", order=_AGE)


def rows_at(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    places: Collection[Place],
    *,
    now: datetime,
) -> dict[Place, OutboxRow]:
    """The rows of these listings, whatever their state; one that is gone is left out."""
    if not places:
        return {}
    only = f"AND (bucket, external_id) IN ({_THESE})"
    asked = {"limit": len(places), "now": now, **_these(places)}
    rows = _rows(connection, channel, capabilities, asked, only=only, order=_AGE)
    return {row.place: row for row in rows}


def _these(places: Collection[Place]) -> dict[str, Any]:
    return {
        "these_buckets": texts([bucket for bucket, _ in places]),
        "these_ids": texts([external_id for _, external_id in places]),
    }


def _rows(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    parameters: Mapping[str, Any],
    *,
    only: str,
    order: str,
) -> list[OutboxRow]:
    found = connection.execute(
        _LOOK.format(only=only, order=order),
        {"channel": channel.id, "skew": channel.skew, **parameters},
    ).fetchall()
    own = _own(connection, channel, capabilities, [row for row in found if row[-1]])
    return [_row(channel.id, row, own.get((row[0], row[2]), _NOTHING)) for row in found]


def _own(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    found: Sequence[tuple[Any, ...]],
) -> dict[tuple[str, str], tuple[int, bool, datetime | None]]:
    """What the channel did itself to each of these since its base: how much, whether that is
    uncertain, and when last.
    """
    takes, gives = takes_and_gives(capabilities)
    if not found or not (takes or gives):
        return {}
    sums = connection.execute(
        _OWN,
        {
            "channel": channel.id, "system": channel.system, "skew": channel.skew,
            "takes": takes, "types": [*takes, *gives],
            "buckets": [bucket.id for bucket in channel.buckets],
            "own_buckets": texts([row[0] for row in found]),
            "own_ids": texts([row[2] for row in found]),
            "own_skus": texts([row[3] for row in found]),
            "own_units": numbers([row[-2] for row in found]),
            "own_sent": moments([row[11] for row in found]),
            "own_answered": moments([row[12] for row in found]),
        },
    )  # fmt: skip
    return {(row[0], row[1]): (row[2] or 0, bool(row[3]), row[4]) for row in sums}


def _row(channel: str, row: tuple[Any, ...], own: tuple[int, bool, datetime | None]) -> OutboxRow:
    """`row` has the columns of _LOOK: first the listing's, then OutboxRow's in their order."""
    listing = ListingRef(bucket=row[0], bucket_external=row[1], external_id=row[2])
    return OutboxRow._make((channel, listing, *row[3:13], *own, *row[13:24], True))

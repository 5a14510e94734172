"""Which listings need a look, and what each channel did itself since their base (SEMANTICS §8).

Quantities in thousandths of the channel's unit.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.outbox import ONE_IN, OutboxRow
from inventory_pipeline.core.ports import Capabilities, ListingRef
from inventory_pipeline.core.vocabulary import EventType, MovesAt
from inventory_pipeline.memory.postgres import Connection

_MOVES = {
    MovesAt.ORDER: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.PAYMENT: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.FULFILMENT: (EventType.ORDER_FULFILLED,),
    MovesAt.NONE: (),
}

_AGE = "coalesce(waiting_since, computed_at)"
_DUE = (
    "AND look AND dead_at IS NULL AND open_key IS NULL"
    " AND (look_after IS NULL OR look_after <= %(now)s::timestamptz)"
)

# Each candidate is looked up in the ledger's index by its sku; entries of whole orders (a cancel
# without a line has no sku) by their time and then by their order.
#
# The base tells the number at some moment between sent and answered; events dated near that
# interval may or may not be in it. An own event without a quantity can't be added up: uncertain as
# well.
_OWN = """
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
        WHERE other.channel = o.channel AND other.bucket = ANY(%(buckets)s)
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
), own AS (
    SELECT e.bucket, e.external_id,
           sum(CASE WHEN e.occurred_at <= o.base_answered_at + %(skew)s THEN 0
                    WHEN e.type = ANY(%(takes)s) THEN -e.quantity_milli
                    ELSE e.quantity_milli END * 1000 / o.units_milli) AS own_milli,
           bool_or(e.occurred_at <= o.base_answered_at + %(skew)s OR e.quantity_milli IS NULL
                   -- Listed in several buckets: which of them it was sold from is not known.
                   OR EXISTS (SELECT 1 FROM hub.outbox x
                      WHERE x.channel = %(channel)s AND x.bucket = ANY(%(buckets)s)
                        AND x.bucket <> o.bucket AND x.external_id = o.external_id AND x.listed)
           ) AS uncertain,
           max(e.occurred_at) AS last_own_at
    FROM own_events e JOIN candidates o USING (bucket, external_id)
    GROUP BY e.bucket, e.external_id
"""
_LOOK = """
WITH candidates AS MATERIALIZED (
    SELECT * FROM hub.outbox WHERE channel = %(channel)s {only} ORDER BY {order} LIMIT %(limit)s
{own}
)
SELECT c.bucket, c.bucket_external, c.external_id, c.sku, c.desired_milli, c.desired_offset,
       c.policy_version, c.computed_at, c.occurred_at, c.received_at, c.base_milli, c.base_sent_at,
       c.base_answered_at, {own_columns}, c.attempts, c.looks,
       c.unread OR coalesce(c.verify_at <= %(now)s::timestamptz, false), c.listed, c.base_kind,
       c.bases, c.falling_milli, c.waiting_since, c.failing_since
FROM candidates c {join}
ORDER BY {order}, c.bucket, c.external_id
"""
_WITH_OWN = {
    "own": _OWN,
    "own_columns": "coalesce(own.own_milli, 0)::bigint, coalesce(own.uncertain, false),"
    " own.last_own_at",
    "join": "LEFT JOIN own USING (bucket, external_id)",
}
_WITHOUT_OWN = {"own": "", "own_columns": "0, false, NULL::timestamptz", "join": ""}
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
) -> list[OutboxRow]:
    """Listings that may need work, the most dangerous first, with what the channel did itself since
    the base. Where more are due than `limit`, one in ten is of those that have waited longest.
    `among` and `without` name skus; None stands for all.

    With `everything` all listings of the channel, whether they need a look or not (reconciliation).
    """
    if everything:
        return _rows(
            connection, channel, capabilities, {"now": now, "limit": limit}, only="", order=_AGE
        )
    asked = {"now": now, "limit": limit, "among": among, "without": list(without)}
    due = _DUE
    if among is not None:
        due += " AND sku = ANY(%(among)s)"
    if without:
        due += " AND sku <> ALL(%(without)s)"
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
    places: Sequence[tuple[str, str]],
    *,
    now: datetime,
) -> dict[tuple[str, str], OutboxRow]:
    """The rows of these listings, whatever their state; one that is gone is left out."""
    if not places:
        return {}
    buckets, external_ids = zip(*places, strict=True)
    only = (
        "AND (bucket, external_id) IN"
        " (SELECT * FROM unnest(%(some_buckets)s::text[], %(some_ids)s::text[]))"
    )
    asked = {
        "some_buckets": list(buckets), "some_ids": list(external_ids), "limit": len(places),
        "now": now,
    }  # fmt: skip
    rows = _rows(connection, channel, capabilities, asked, only=only, order=_AGE)
    return {row.place: row for row in rows}


def _rows(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    parameters: Mapping[str, Any],
    *,
    only: str,
    order: str,
) -> list[OutboxRow]:
    gives = [EventType.ORDER_CANCELLED] if "cancel" in capabilities.restores_on else []
    takes = _MOVES[capabilities.moves_at]
    own = _WITH_OWN if takes or gives else _WITHOUT_OWN
    rows = connection.execute(
        _LOOK.format(only=only, order=order, **own),
        {
            "channel": channel.id, "system": channel.system, "skew": channel.skew,
            "takes": [str(t) for t in takes], "types": [str(t) for t in (*takes, *gives)],
            "buckets": [bucket.id for bucket in channel.buckets],
            **parameters,
        },
    )  # fmt: skip
    name = channel.id
    return [_row(name, row) for row in rows.fetchall()]


def _row(channel: str, row: tuple[Any, ...]) -> OutboxRow:
    return OutboxRow(
        channel=channel,
        listing=ListingRef(bucket=row[0], bucket_external=row[1], external_id=row[2]),
        sku=row[3], desired_milli=row[4], desired_offset=row[5], policy_version=row[6],
        computed_at=row[7], occurred_at=row[8], received_at=row[9], base_milli=row[10],
        base_sent_at=row[11], base_answered_at=row[12], own_milli=row[13], uncertain=row[14],
        last_own_at=row[15], attempts=row[16], looks=row[17], unread=row[18], listed=row[19],
        base_kind=row[20], bases=row[21], falling_milli=row[22], waiting_since=row[23],
        failing_since=row[24],
    )  # fmt: skip

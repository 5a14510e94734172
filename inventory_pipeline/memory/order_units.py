"""What orders did to skus between two ledger offsets, in thousandths of base units.

For the guard, which lets pass what customers caused. Entries count as they were mapped when they
came in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from inventory_pipeline.core.vocabulary import EventType
from inventory_pipeline.memory.postgres import Connection

# Whatever else touches a sku was not caused by an order; goods_issued counts where it names one.
OF_ORDERS = (
    EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED, EventType.ORDER_CANCELLED,
    EventType.PAYMENT_FAILED, EventType.PAYMENT_RECOVERED, EventType.ORDER_FULFILLED,
    EventType.FULFILMENT_CANCELLED, EventType.GOODS_ISSUED, EventType.POS_SALE, EventType.RETURNED,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A sku and from where on: entries after the offset; of the channel's own orders only those
    dated after `own_after`, where it is given.
    """

    sku: str
    after: int
    own_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUnits:
    """What orders took from a sku and gave back to it. `moved_milli` of what they took, the channel
    took from its own number itself. `orders`, `others`: whether entries of orders, and other ones
    about the sku, came in.
    """

    n: int
    sold_milli: int
    moved_milli: int
    gave_milli: int
    orders: bool
    others: bool


# A line takes what was ordered or, where its order came before, what was shipped; never both.
_UNITS = """
WITH asked AS (
    SELECT * FROM unnest(%(n)s::int[], %(sku)s::text[], %(after)s::bigint[],
                         %(own_after)s::timestamptz[]) AS a (n, sku, after, own_after)
), entries AS MATERIALIZED (
    SELECT a.n, l.type, l.quantity_milli AS quantity, l.order_id, l.line_id,
           l.system = %(system)s AND (l.channel = %(channel)s OR l.channel IS NULL) AS own,
           l.type = ANY(%(of_orders)s) AND (l.type <> 'goods_issued' OR l.order_id IS NOT NULL)
               AS of_order
    FROM asked a JOIN hub.ledger l
      ON l.sku = a.sku AND l.ledger_offset > a.after AND l.ledger_offset <= %(upto)s
    WHERE l.kind = 'event'
      AND (l.system = ANY(%(counting)s) OR l.type IN ('pos_sale', 'goods_issued'))
      AND (a.own_after IS NULL OR l.occurred_at > a.own_after OR l.system <> %(system)s
           OR l.channel <> %(channel)s)
), lines AS (
    SELECT n, bool_or(own) AS own,
           coalesce(sum(quantity) FILTER (WHERE type IN ('order_placed', 'order_adjusted')), 0)
               AS ordered,
           coalesce(sum(quantity) FILTER (WHERE type = 'goods_issued'), 0) AS issued,
           coalesce(sum(quantity) FILTER (WHERE type = 'order_fulfilled'), 0) AS fulfilled,
           coalesce(sum(quantity) FILTER (WHERE type = 'order_cancelled'), 0) AS cancelled,
           bool_or(type = 'order_cancelled' AND quantity IS NULL) AS given_up
    FROM entries WHERE of_order AND order_id IS NOT NULL GROUP BY n, order_id, line_id
), taken AS (
    SELECT n, own, fulfilled,
           greatest(0, greatest(CASE WHEN given_up THEN 0 ELSE ordered - cancelled END,
                                issued, fulfilled)) AS sold
    FROM lines
), sold AS (
    SELECT n, sum(sold) AS sold,
           sum(CASE WHEN NOT own THEN 0 WHEN 'order_placed' = ANY(%(takes)s) THEN sold
                    WHEN 'order_fulfilled' = ANY(%(takes)s) THEN least(fulfilled, sold)
                    ELSE 0 END) AS moved
    FROM taken GROUP BY n
), plain AS (
    SELECT n, coalesce(sum(quantity) FILTER (WHERE type = 'pos_sale'), 0) AS sold,
           coalesce(sum(quantity) FILTER (WHERE type IN ('order_cancelled', 'returned')), 0)
               AS gave,
           bool_or(of_order) AS orders, bool_or(NOT of_order) AS others
    FROM entries GROUP BY n
), whole AS MATERIALIZED (
    SELECT ledger_offset, type, system, order_id, line_id, sku FROM hub.ledger
    WHERE ledger_offset > (SELECT min(after) FROM asked) AND ledger_offset <= %(upto)s
      AND quantity_milli IS NULL AND order_id IS NOT NULL
      AND type IN ('order_cancelled', 'payment_failed', 'payment_recovered')
), orders AS (
    SELECT a.n, coalesce(sum(k.quantity_milli) FILTER (WHERE w.type = 'payment_recovered'), 0)
               AS taken,
           coalesce(sum(k.quantity_milli) FILTER (WHERE w.type <> 'payment_recovered'), 0) AS gave
    FROM whole w
    JOIN hub.ledger k ON k.order_id = w.order_id AND k.system = w.system
        AND k.type IN ('order_placed', 'order_adjusted')
        AND (w.line_id IS NULL OR w.line_id = k.line_id)
    JOIN asked a ON a.sku = k.sku AND w.ledger_offset > a.after
    GROUP BY a.n
)
SELECT a.n, (coalesce(sold.sold, 0) + coalesce(plain.sold, 0) + coalesce(orders.taken, 0))::bigint
           AS sold_milli,
       coalesce(sold.moved, 0)::bigint AS moved_milli,
       (coalesce(plain.gave, 0) + coalesce(orders.gave, 0))::bigint AS gave_milli,
       coalesce(plain.orders, false) OR orders.n IS NOT NULL AS orders,
       coalesce(plain.others, false) AS others
FROM asked a LEFT JOIN sold USING (n) LEFT JOIN plain USING (n) LEFT JOIN orders USING (n)
ORDER BY a.n
"""


def order_units(
    connection: Connection,
    asked: Sequence[Asked],
    *,
    channel: str,
    system: str,
    takes: Sequence[str],
    counting: Sequence[str],
    upto: int,
) -> list[OrderUnits]:
    """One answer for each of `asked`, in its order.

    `system` and `takes`: the channel's own system and by which events it lowers its own number;
    `counting`: systems whose orders count (SEMANTICS §3).
    """
    if not asked:
        return []
    with connection.cursor(row_factory=class_row(OrderUnits)) as cursor:
        return cursor.execute(
            _UNITS,
            {
                "n": list(range(len(asked))),
                "sku": [one.sku for one in asked],
                "after": [one.after for one in asked],
                "own_after": [one.own_after for one in asked],
                "channel": channel,
                "system": system,
                "takes": list(takes),
                "counting": list(counting),
                "of_orders": [str(type_) for type_ in OF_ORDERS],
                "upto": upto,
            },
        ).fetchall()


def newest_change_of_all(connection: Connection, *, after: int, upto: int) -> int:
    """The newest entry in that range that may have changed any sku: a snapshot, a release, a
    catalogue, rules. `after` if there is none.
    """
    row = connection.execute(
        "SELECT coalesce(max(ledger_offset), %(after)s) FROM hub.ledger WHERE kind <> 'event'"
        " AND ledger_offset > %(after)s AND ledger_offset <= %(upto)s",
        {"after": after, "upto": upto},
    ).fetchone()
    assert row is not None
    return int(row[0])

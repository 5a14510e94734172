-- What is known of each order line as a whole (SEMANTICS §5).
-- In: order_events. Grain: system, order_id, line_id; a line exists once it has an order_placed.
-- Empty unless: order_events
WITH named AS (
    SELECT
        system,
        order_id,
        line_id,
        min(occurred_at) AS first_event_at,
        min(occurred_at) FILTER (type = 'order_placed') AS first_placed_at,
        max_by(item, (occurred_at, event_id)) FILTER (type = 'order_placed') AS item,
        max_by(location, (occurred_at, event_id))
            FILTER (type = 'order_placed' AND location IS NOT NULL) AS location,
        max_by(channel, (occurred_at, event_id))
            FILTER (type = 'order_placed' AND channel IS NOT NULL) AS channel,
        -- Without a quantity a cancel takes all that is not shipped, for good.
        bool_or(type = 'order_cancelled' AND quantity_milli IS NULL) AS line_cancelled
    FROM order_events
    WHERE line_id IS NOT NULL
    GROUP BY system, order_id, line_id
),
whole_order AS (
    SELECT
        system,
        order_id,
        bool_or(type = 'order_cancelled' AND line_id IS NULL) AS order_cancelled,
        -- At the same time the recovery counts.
        max_by(type, (occurred_at, type = 'payment_recovered'))
            FILTER (type IN ('payment_failed', 'payment_recovered')) AS payment
    FROM order_events
    GROUP BY system, order_id
)
SELECT
    n.system,
    n.order_id,
    n.line_id,
    n.item,
    n.location,
    n.channel,
    n.first_event_at,
    n.first_placed_at,
    n.line_cancelled OR o.order_cancelled AS cancelled,
    coalesce(o.payment = 'payment_failed', false) AS payment_failed
FROM named n
JOIN whole_order o ON o.system = n.system AND o.order_id = n.order_id
WHERE n.first_placed_at IS NOT NULL

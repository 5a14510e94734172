-- Every order event of the orders that name an item in scope, as received (SEMANTICS §5).
-- In: events, systems, happened; $at. Grain: one row an event; item and line may be null.
-- Empty unless: happened WHERE order_id IS NOT NULL
WITH orders AS (
    SELECT DISTINCT order_id FROM happened WHERE order_id IS NOT NULL
)
SELECT
    e.system,
    e.order_id,
    e.line_id,
    e.event_id,
    e.type,
    e.occurred_at,
    e.sku AS item,
    e.quantity_milli,
    e.location,
    c.channel  -- an unknown channel counts as none
FROM events e
JOIN systems s ON s.system = e.system
SEMI JOIN orders ON orders.order_id = e.order_id
LEFT JOIN channels c ON c.channel = e.channel
WHERE e.occurred_at <= $at
  AND s.counts_orders
  AND e.type IN (
      'order_placed', 'order_adjusted', 'order_cancelled', 'order_fulfilled',
      'fulfilment_cancelled', 'payment_failed', 'payment_recovered')

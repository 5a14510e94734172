-- What happened to the items in scope up to the evaluation time, bundles exploded (SEMANTICS §4).
-- In: events, systems, components, scope; $at. Grain: one row an event and component.
-- Order and reservation events of a system with `orders: ignore` are observations and stay out.
-- Empty unless: events
SELECT
    e.system,
    e.event_id,
    e.type,
    e.occurred_at,
    coalesce(x.component, e.sku) AS sku,
    e.sku AS item,
    e.quantity_milli AS item_quantity_milli,
    e.quantity_milli * coalesce(x.quantity_milli, 1000) // 1000 AS quantity_milli,
    e.location,
    e.to_location,
    e.reference,
    e.order_id,
    e.line_id,
    e.reservation_id,
    e.channel,
    e.expires_at,
    e.expected_at,
    e.disposition
FROM events e
JOIN systems s ON s.system = e.system
LEFT JOIN components x ON x.sku = e.sku
SEMI JOIN scope ON scope.sku = coalesce(x.component, e.sku)
WHERE e.occurred_at <= $at
  AND (s.counts_orders OR e.type NOT IN (
      'reserved', 'order_placed', 'order_adjusted', 'order_cancelled',
      'order_fulfilled', 'fulfilment_cancelled'))
  -- A bundle has no stock: of it only these may be said.
  AND (x.component IS NULL OR e.type IN (
      'reserved', 'order_placed', 'order_adjusted', 'order_cancelled', 'order_fulfilled',
      'fulfilment_cancelled', 'goods_issued', 'pos_sale', 'returned'))

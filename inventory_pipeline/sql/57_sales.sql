-- What was sold from each bucket's pool, for auto buffers (SEMANTICS §6): lines placed there or taken
-- from it without a location, and sales at its tills.
-- In: happened, lines, buckets, bucket_locations, owned. Grain: one row a sale, bucket and
-- item; a bundle's sale is a sale of its components and of the bundle.
-- Empty unless: rules WHERE auto_factor_millionths IS NOT NULL
WITH placed AS (
    SELECT h.system, h.event_id, h.occurred_at, h.sku, h.quantity_milli, l.location, l.channel
    FROM happened h
    JOIN lines l ON l.system = h.system AND l.order_id = h.order_id AND l.line_id = h.line_id
    WHERE h.type = 'order_placed'
    UNION
    SELECT h.system, h.event_id, h.occurred_at, h.item, h.item_quantity_milli, l.location,
        l.channel
    FROM happened h
    JOIN lines l ON l.system = h.system AND l.order_id = h.order_id AND l.line_id = h.line_id
    WHERE h.type = 'order_placed' AND h.item <> h.sku
),
rung_up AS (
    SELECT h.system, h.event_id, h.occurred_at, h.sku, h.quantity_milli, h.location
    FROM happened h
    JOIN owned o ON o.location = h.location AND o.on_hand_system = h.system
    WHERE h.type = 'pos_sale'
    UNION
    SELECT h.system, h.event_id, h.occurred_at, h.item, h.item_quantity_milli, h.location
    FROM happened h
    JOIN owned o ON o.location = h.location AND o.on_hand_system = h.system
    WHERE h.type = 'pos_sale' AND h.item <> h.sku
),
reach AS (
    SELECT DISTINCT own.channel AS line_channel, f.channel, f.bucket
    FROM bucket_locations own
    JOIN bucket_locations f ON f.location = own.location
    UNION ALL
    SELECT NULL, channel, bucket FROM buckets
)
SELECT f.channel, f.bucket, p.sku, p.occurred_at, p.quantity_milli
FROM placed p
JOIN bucket_locations f ON f.location = p.location
UNION ALL
SELECT r.channel, r.bucket, p.sku, p.occurred_at, p.quantity_milli
FROM placed p
JOIN reach r ON r.line_channel IS NOT DISTINCT FROM p.channel
WHERE p.location IS NULL
UNION ALL
SELECT f.channel, f.bucket, p.sku, p.occurred_at, p.quantity_milli
FROM rung_up p
JOIN bucket_locations f ON f.location = p.location

-- Order lines and reservations without a location, in every pool that they may be taken from
-- (SEMANTICS §5). In: line_units, open_reservations, buckets, bucket_locations, scope.
-- Grain: bucket_no, item_no.
-- Empty unless: (SELECT 1 FROM line_units UNION ALL SELECT 1 FROM open_reservations)
WITH without_location AS (
    SELECT sku, channel, open_milli AS quantity_milli
    FROM line_units WHERE location IS NULL AND open_milli <> 0
    UNION ALL
    SELECT sku, channel, quantity_milli FROM open_reservations WHERE location IS NULL
),
per_channel AS (
    SELECT sku, channel, sum(quantity_milli) AS quantity_milli
    FROM without_location
    GROUP BY sku, channel
),
reach AS (
    SELECT DISTINCT own.channel AS line_channel, f.channel, f.bucket
    FROM bucket_locations own
    JOIN bucket_locations f ON f.location = own.location
    UNION ALL
    SELECT NULL, channel, bucket FROM buckets
)
SELECT
    b.bucket_no,
    s.item_no,
    sum(p.quantity_milli)::BIGINT AS unassigned_milli
FROM per_channel p
JOIN reach r ON r.line_channel IS NOT DISTINCT FROM p.channel
JOIN buckets b ON b.channel = r.channel AND b.bucket = r.bucket
JOIN scope s ON s.sku = p.sku
GROUP BY b.bucket_no, s.item_no

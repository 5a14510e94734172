-- The quantity of each listing, in the channel's own unit and decimals (SEMANTICS §6, step 10).
-- In: waterfall, listings, buckets, channels. Grain: channel, bucket, external_id.
-- An item without a row in identifiers.csv is listed under its own sku, one unit each, unless that
-- name belongs to another item there.
WITH listed AS (
    SELECT w.channel, w.bucket, w.sku, w.available_milli, l.external_id, l.units_milli
    FROM waterfall w
    JOIN listings l ON l.channel = w.channel AND l.sku = w.sku
    UNION ALL
    SELECT w.channel, w.bucket, w.sku, w.available_milli, w.sku, 1000
    FROM waterfall w
    ANTI JOIN listings l ON l.channel = w.channel AND l.sku = w.sku
    ANTI JOIN listings other ON other.channel = w.channel AND other.external_id = w.sku
)
SELECT
    l.channel,
    l.bucket,
    b.bucket_external,
    l.external_id,
    l.sku,
    l.units_milli,
    l.available_milli * 1000 // (l.units_milli * c.step_milli) * c.step_milli AS desired_milli
FROM listed l
JOIN channels c ON c.channel = l.channel
JOIN buckets b ON b.channel = l.channel AND b.bucket = l.bucket

-- The quantity of each listing, in the channel's own unit and decimals (SEMANTICS §6, step 10).
-- In: moved_offers, items, buckets, channels, listings. Grain: channel, bucket, external_id.
-- An item without a row in identifiers.csv is listed under its own sku, one unit each, unless that
-- name belongs to another item there.
-- Empty unless: moved_offers
WITH offered AS (
    SELECT
        m.item_no, m.available_milli, m.before_milli,
        i.sku, b.channel, b.bucket, b.bucket_external, c.step_milli
    FROM moved_offers m
    JOIN items i ON i.item_no = m.item_no
    JOIN buckets b ON b.bucket_no = m.bucket_no
    JOIN channels c ON c.channel = b.channel
),
listed AS (
    SELECT o.*, l.external_id, l.units_milli
    FROM offered o
    JOIN listings l ON l.item_no = o.item_no AND l.channel = o.channel
    UNION ALL
    SELECT o.*, o.sku, 1000
    FROM offered o
    ANTI JOIN listings l ON l.item_no = o.item_no AND l.channel = o.channel
    ANTI JOIN listings other ON other.channel = o.channel AND other.external_id = o.sku
)
SELECT
    channel,
    bucket,
    bucket_external,
    external_id,
    sku,
    item_no,
    units_milli,
    available_milli * 1000 // (units_milli * step_milli) * step_milli AS desired_milli,
    before_milli * 1000 // (units_milli * step_milli) * step_milli AS before_milli
FROM listed

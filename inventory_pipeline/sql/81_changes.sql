-- Which listings now want another quantity than before, and which are gone (SEMANTICS §8).
-- In: quantities, desired, scope; $ledger_offset. Grain: channel, bucket, external_id.
WITH before AS (
    SELECT d.* FROM desired d SEMI JOIN scope ON scope.sku = d.sku
),
compared AS (
    SELECT
        coalesce(q.channel, b.channel) AS channel,
        coalesce(q.bucket, b.bucket) AS bucket,
        coalesce(q.bucket_external, b.bucket_external) AS bucket_external,
        coalesce(q.external_id, b.external_id) AS external_id,
        coalesce(q.sku, b.sku) AS sku,
        coalesce(q.units_milli, b.units_milli) AS units_milli,
        coalesce(q.desired_milli, 0) AS desired_milli,
        q.sku IS NOT NULL AS listed,
        q.sku IS DISTINCT FROM b.sku
            OR q.bucket_external IS DISTINCT FROM b.bucket_external
            OR q.units_milli IS DISTINCT FROM b.units_milli
            OR q.desired_milli IS DISTINCT FROM b.desired_milli AS changed
    FROM quantities q
    FULL JOIN before b
        ON b.channel = q.channel AND b.bucket = q.bucket AND b.external_id = q.external_id
)
SELECT
    c.channel,
    c.bucket,
    c.bucket_external,
    c.external_id,
    c.sku,
    c.units_milli,
    c.desired_milli,
    $ledger_offset::BIGINT AS ledger_offset,
    s.occurred_at,
    s.received_at,
    c.listed
FROM compared c
LEFT JOIN scope s ON s.sku = c.sku
WHERE c.changed

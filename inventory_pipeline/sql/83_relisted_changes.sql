-- The same after listings themselves changed: new ones, others, and those that are gone (SEMANTICS §8).
-- In: quantities, listed_before, scope; $ledger_offset. Grain: channel, bucket, external_id.
SELECT
    coalesce(q.channel, b.channel) AS channel,
    coalesce(q.bucket, b.bucket) AS bucket,
    coalesce(q.bucket_external, b.bucket_external) AS bucket_external,
    coalesce(q.external_id, b.external_id) AS external_id,
    coalesce(q.sku, b.sku) AS sku,
    coalesce(q.units_milli, b.units_milli) AS units_milli,
    coalesce(q.desired_milli, 0) AS desired_milli,
    $ledger_offset::BIGINT AS ledger_offset,
    s.occurred_at,
    s.received_at,
    s.caused_by,
    q.sku IS NOT NULL AS listed
FROM quantities q
FULL JOIN listed_before b
    ON b.channel = q.channel AND b.bucket = q.bucket AND b.external_id = q.external_id
LEFT JOIN scope s ON s.item_no = q.item_no
WHERE q.sku IS DISTINCT FROM b.sku
   OR q.bucket_external IS DISTINCT FROM b.bucket_external
   OR q.units_milli IS DISTINCT FROM b.units_milli
   OR q.desired_milli IS DISTINCT FROM b.desired_milli

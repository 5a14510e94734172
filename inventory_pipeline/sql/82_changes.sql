-- Which listings now want another quantity than before (SEMANTICS §8).
-- In: quantities, scope; $ledger_offset. Grain: channel, bucket, external_id.
SELECT
    q.channel,
    q.bucket,
    q.bucket_external,
    q.external_id,
    q.sku,
    q.units_milli,
    q.desired_milli,
    $ledger_offset::BIGINT AS ledger_offset,
    s.occurred_at,
    s.received_at,
    s.caused_by,
    true AS listed
FROM quantities q
LEFT JOIN scope s ON s.item_no = q.item_no
WHERE q.desired_milli IS DISTINCT FROM q.before_milli

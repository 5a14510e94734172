-- What a preorder rule can promise: goods due within its horizon, and what it has promised already
-- (SEMANTICS §6, step 8). In: rulebook, buckets, expected, reference_postings, item_lines,
-- bucket_locations, scope; $at. Grain: bucket_no, item_no; only where a preorder rule won.
-- Empty unless: rulebook WHERE preorder_rule IS NOT NULL
WITH offered AS (
    SELECT
        i.item_no, i.sku, b.bucket_no, b.channel, b.bucket, r.preorder_horizon_us AS horizon_us,
        r.preorder_from_at AS from_at, r.preorder_until_at AS until_at
    FROM scope i
    JOIN rulebook r ON r.profile = i.profile
    JOIN buckets b ON b.bucket_no = r.bucket_no
    WHERE i.kind = 'simple' AND r.preorder_rule IS NOT NULL
),
-- The date of a reference is that of its latest event that has one.
references_open AS (
    SELECT
        reference, location, sku,
        max(open_milli) FILTER (latest) AS open_milli,
        max_by(expected_at, (occurred_at, event_id)) FILTER (expected_at IS NOT NULL) AS due_at
    FROM reference_postings
    GROUP BY reference, location, sku
),
due AS (
    SELECT o.bucket_no, o.item_no, p.location, sum(p.open_milli) AS due_milli
    FROM offered o
    JOIN bucket_locations f ON f.channel = o.channel AND f.bucket = o.bucket
    JOIN references_open p ON p.sku = o.sku AND p.location = f.location
    WHERE p.due_at <= $at + to_microseconds(o.horizon_us)
    GROUP BY o.bucket_no, o.item_no, p.location
),
incoming AS (
    SELECT d.bucket_no, d.item_no,
        sum(least(greatest(0, e.incoming_milli), d.due_milli)) AS incoming_due_milli
    FROM due d
    JOIN expected e ON e.item_no = d.item_no AND e.location = d.location
    GROUP BY d.bucket_no, d.item_no
),
promised AS (
    SELECT o.bucket_no, o.item_no, sum(l.open_milli) AS promised_milli
    FROM offered o
    JOIN item_lines l ON l.sku = o.sku AND l.channel = o.channel
    WHERE (o.from_at IS NULL OR l.first_placed_at >= o.from_at)
      AND (o.until_at IS NULL OR l.first_placed_at < o.until_at)
    GROUP BY o.bucket_no, o.item_no
)
SELECT
    o.bucket_no,
    o.item_no,
    coalesce(i.incoming_due_milli, 0)::BIGINT AS incoming_due_milli,
    coalesce(p.promised_milli, 0)::BIGINT AS preordered_milli
FROM offered o
LEFT JOIN incoming i ON i.bucket_no = o.bucket_no AND i.item_no = o.item_no
LEFT JOIN promised p ON p.bucket_no = o.bucket_no AND p.item_no = o.item_no

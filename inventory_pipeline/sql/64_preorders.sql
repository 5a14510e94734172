-- What a preorder rule can promise: goods due within its horizon, and what it has promised already
-- (SEMANTICS §6, step 8). In: items, rulebook, balances, reference_postings, item_lines,
-- bucket_locations, scope; $at. Grain: channel, bucket, sku; only where a preorder rule won.
-- Empty unless: rulebook WHERE preorder_rule IS NOT NULL
WITH offered AS (
    SELECT
        i.sku, r.channel, r.bucket, r.preorder_horizon_us AS horizon_us,
        r.preorder_from_at AS from_at, r.preorder_until_at AS until_at
    FROM items i
    SEMI JOIN scope ON scope.sku = i.sku
    JOIN rulebook r ON r.profile = i.profile
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
    SELECT o.channel, o.bucket, o.sku, p.location, sum(p.open_milli) AS due_milli
    FROM offered o
    JOIN bucket_locations f ON f.channel = o.channel AND f.bucket = o.bucket
    JOIN references_open p ON p.sku = o.sku AND p.location = f.location
    WHERE p.due_at <= $at + to_microseconds(o.horizon_us)
    GROUP BY o.channel, o.bucket, o.sku, p.location
),
incoming AS (
    SELECT d.channel, d.bucket, d.sku,
        sum(least(greatest(0, b.incoming_milli), d.due_milli)) AS incoming_due_milli
    FROM due d
    JOIN balances b ON b.sku = d.sku AND b.location = d.location
    GROUP BY d.channel, d.bucket, d.sku
),
promised AS (
    SELECT o.channel, o.bucket, o.sku, sum(l.open_milli) AS promised_milli
    FROM offered o
    JOIN item_lines l ON l.sku = o.sku AND l.channel = o.channel
    WHERE (o.from_at IS NULL OR l.first_placed_at >= o.from_at)
      AND (o.until_at IS NULL OR l.first_placed_at < o.until_at)
    GROUP BY o.channel, o.bucket, o.sku
)
SELECT
    o.channel,
    o.bucket,
    o.sku,
    coalesce(i.incoming_due_milli, 0)::BIGINT AS incoming_due_milli,
    coalesce(p.promised_milli, 0)::BIGINT AS preordered_milli
FROM offered o
LEFT JOIN incoming i ON i.channel = o.channel AND i.bucket = o.bucket AND i.sku = o.sku
LEFT JOIN promised p ON p.channel = o.channel AND p.bucket = o.bucket AND p.sku = o.sku

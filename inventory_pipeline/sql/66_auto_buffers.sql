-- Auto buffer: units per hour sold from the pool x hours of blindness x factor (SEMANTICS §6).
-- In: rulebook, buckets, blindness, sales, scope; $at. Grain: bucket_no, item_no; only where an auto
-- buffer won. Rates are kept as fractions of integers until the one rounding up.
-- Empty unless: rulebook WHERE buffer_auto_factor_millionths IS NOT NULL
WITH automatic AS (
    SELECT
        i.item_no, i.sku, i.step_milli, b.bucket_no, b.channel, b.bucket,
        r.buffer_auto_factor_millionths AS factor_millionths,
        r.buffer_auto_max_milli AS max_milli,
        r.buffer_auto_window_us AS window_us
    FROM scope i
    JOIN rulebook r ON r.profile = i.profile
    JOIN buckets b ON b.bucket_no = r.bucket_no
    WHERE r.buffer_auto_factor_millionths IS NOT NULL
),
sold AS (
    SELECT a.channel, a.bucket, a.sku, sum(s.quantity_milli) AS sold_milli
    FROM automatic a
    JOIN sales s ON s.sku = a.sku AND s.channel = a.channel AND s.bucket = a.bucket
    WHERE s.occurred_at > $at - to_microseconds(a.window_us)
    GROUP BY a.channel, a.bucket, a.sku
),
needed AS (
    SELECT
        a.bucket_no, a.item_no, a.step_milli, a.max_milli, b.quarters,
        coalesce(s.sold_milli, 0)::HUGEINT * coalesce(b.quarters, 0) * 900000000
            * a.factor_millionths AS numerator,
        a.window_us::HUGEINT * 1000000 * a.step_milli AS denominator
    FROM automatic a
    JOIN blindness b ON b.channel = a.channel AND b.bucket = a.bucket
    LEFT JOIN sold s ON s.channel = a.channel AND s.bucket = a.bucket AND s.sku = a.sku
)
SELECT
    bucket_no,
    item_no,
    CASE
        -- An owner that was never heard of: as blind as can be.
        WHEN quarters IS NULL THEN max_milli
        ELSE least(max_milli, (numerator + denominator - 1) // denominator * step_milli)
    END::BIGINT AS buffer_milli
FROM needed

-- Which rule applies, of the kinds where exactly one does (SEMANTICS §6, which rule wins).
-- In: rules, rule_profiles, rule_buckets, rule_locations, bucket_locations, items, scope; $at.
-- Grain: slot, profile, channel, bucket[, location]. A profile is a set of items that the same rules
-- match in the same way, so rules are compared once a profile and not once an item.
-- Empty unless: rules
WITH profiles AS (
    SELECT DISTINCT i.profile FROM items i SEMI JOIN scope ON scope.sku = i.sku
),
active AS (
    SELECT * FROM rules
    WHERE slot NOT IN ('protect', 'contract')
      AND (from_at IS NULL OR from_at <= $at) AND (until_at IS NULL OR $at < until_at)
),
candidates AS (
    SELECT
        a.slot, r.profile, b.channel, b.bucket, f.location, a.rule_no, a.rule,
        a.priority, r.sku_rank, b.channel_rank,
        a.units_milli, a.percent_millionths, a.limit_milli, a.horizon_us, a.from_at, a.until_at,
        a.fulfilment, a.auto_factor_millionths, a.auto_max_milli, a.auto_window_us
    FROM active a
    JOIN rule_profiles r ON r.rule_no = a.rule_no
    SEMI JOIN profiles ON profiles.profile = r.profile
    JOIN rule_buckets b ON b.rule_no = a.rule_no
    LEFT JOIN rule_locations l ON l.rule_no = a.rule_no
    LEFT JOIN bucket_locations f
        ON f.channel = b.channel AND f.bucket = b.bucket AND f.location = l.location
    -- A rule of a location counts only in a bucket that sells from it.
    WHERE l.location IS NULL OR f.location IS NOT NULL
)
SELECT *
FROM candidates
QUALIFY row_number() OVER (
    PARTITION BY slot, profile, channel, bucket, location
    ORDER BY priority DESC, sku_rank DESC, channel_rank DESC, rule_no) = 1

-- Which rule applies, of the kinds where exactly one does (SEMANTICS §6, which rule wins).
-- In: rules, rule_profiles, rule_buckets, rule_locations; $at. Grain: slot, profile, channel,
-- bucket[, location]. A profile is a set of items that the same rules match in the same way, so rules
-- are compared once a profile and not once an item.
-- Made when rules change.
-- Empty unless: rules
WITH active AS (
    SELECT * FROM rules
    WHERE slot NOT IN ('protect', 'contract')
      AND (from_at IS NULL OR from_at <= $at) AND (until_at IS NULL OR $at < until_at)
)
SELECT
    a.slot, r.profile, b.channel, b.bucket, l.location, a.rule_no, a.rule,
    a.priority, r.sku_rank, b.channel_rank,
    a.units_milli, a.percent_millionths, a.limit_milli, a.horizon_us, a.from_at, a.until_at,
    a.fulfilment, a.auto_factor_millionths, a.auto_max_milli, a.auto_window_us
FROM active a
JOIN rule_profiles r ON r.rule_no = a.rule_no
JOIN rule_buckets b ON b.rule_no = a.rule_no
LEFT JOIN rule_locations l ON l.rule_no = a.rule_no
QUALIFY row_number() OVER (
    PARTITION BY slot, r.profile, b.channel, b.bucket, l.location
    ORDER BY a.priority DESC, r.sku_rank DESC, b.channel_rank DESC, a.rule_no) = 1

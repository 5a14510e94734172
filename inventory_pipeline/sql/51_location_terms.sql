-- What rules keep back at each location, in the view of each bucket (SEMANTICS §6, step 1).
-- In: rule_winners. Grain: profile, channel, bucket, location; locations without such a rule have no row.
-- Empty unless: rule_winners WHERE location IS NOT NULL
SELECT
    profile,
    channel,
    bucket,
    location,
    coalesce(max(units_milli) FILTER (slot = 'location_safety_stock'), 0) AS safety_stock_milli,
    max(rule) FILTER (slot = 'location_safety_stock') AS safety_stock_rule,
    coalesce(max(units_milli) FILTER (slot = 'location_reserve'), 0) AS location_reserve_milli,
    max(rule) FILTER (slot = 'location_reserve') AS location_reserve_rule
FROM rule_winners
WHERE slot IN ('location_safety_stock', 'location_reserve')
GROUP BY profile, channel, bucket, location

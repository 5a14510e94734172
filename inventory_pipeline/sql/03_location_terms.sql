-- What rules keep back at each location, in the view of each bucket (SEMANTICS §6, step 1).
-- In: rule_winners, buckets, locations. Grain: profile, bucket_no, location_no; locations without such
-- a rule have no row. A location counts in a bucket only if the bucket sells from it (rulebook).
-- Made when rules change.
-- Empty unless: rule_winners WHERE location IS NOT NULL
SELECT
    w.profile,
    b.bucket_no,
    l.location_no,
    w.location,
    coalesce(max(w.units_milli) FILTER (w.slot = 'location_safety_stock'), 0) AS safety_stock_milli,
    max(w.rule) FILTER (w.slot = 'location_safety_stock') AS safety_stock_rule,
    coalesce(max(w.units_milli) FILTER (w.slot = 'location_reserve'), 0) AS location_reserve_milli,
    max(w.rule) FILTER (w.slot = 'location_reserve') AS location_reserve_rule
FROM rule_winners w
JOIN buckets b ON b.channel = w.channel AND b.bucket = w.bucket
JOIN locations l ON l.location = w.location
WHERE w.slot IN ('location_safety_stock', 'location_reserve')
GROUP BY w.profile, b.bucket_no, l.location_no, w.location

-- What is left of a channel's own exclusive contracts where it has ordered under them already
-- (SEMANTICS §6, step 7). In: contract_units, claims, scope. Grain: bucket_no, item_no.
-- Empty unless: contract_units
WITH ordered AS (
    SELECT DISTINCT sku FROM contract_units
)
SELECT
    c.bucket_no,
    s.item_no,
    min(greatest(0, c.units_milli - coalesce(o.ordered_milli, 0))) AS units_left_milli
FROM scope s
SEMI JOIN ordered ON ordered.sku = s.sku
JOIN claims c ON c.profile = s.profile
LEFT JOIN contract_units o ON o.rule_no = c.rule_no AND o.sku = s.sku
WHERE c.kind = 'contract' AND c.own AND c.exclusive
GROUP BY c.bucket_no, s.item_no

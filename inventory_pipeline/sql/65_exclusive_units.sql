-- What is left of a channel's own exclusive contracts where it has ordered under them already
-- (SEMANTICS §6, step 7). In: pools, claims, contract_units. Grain: channel, bucket, sku.
-- Empty unless: contract_units
WITH ordered AS (
    SELECT DISTINCT sku FROM contract_units
)
SELECT
    p.channel,
    p.bucket,
    p.sku,
    min(greatest(0, c.units_milli - coalesce(o.ordered_milli, 0))) AS units_left_milli
FROM pools p
SEMI JOIN ordered ON ordered.sku = p.sku
JOIN claims c ON c.profile = p.profile AND c.channel = p.channel AND c.bucket = p.bucket
LEFT JOIN contract_units o ON o.rule_no = c.rule_no AND o.sku = p.sku
WHERE c.kind = 'contract' AND c.own AND c.exclusive
GROUP BY p.channel, p.bucket, p.sku

-- What other channels have already ordered under their contracts is no longer kept for them
-- (SEMANTICS §6, step 3). In: contract_units, claims, scope. Grain: bucket_no, item_no.
-- Empty unless: contract_units
SELECT
    c.bucket_no,
    s.item_no,
    sum(least(c.units_milli, o.ordered_milli))::BIGINT AS served_milli
FROM contract_units o
JOIN scope s ON s.sku = o.sku
JOIN claims c ON c.rule_no = o.rule_no AND c.profile = s.profile
WHERE c.kind = 'contract' AND NOT c.own
GROUP BY c.bucket_no, s.item_no

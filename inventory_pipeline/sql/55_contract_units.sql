-- What a contract's channel has already ordered of an item in the contract's period (SEMANTICS §6).
-- In: item_lines, rules. Grain: rule_no, sku; items without such lines have no row.
-- Empty unless: item_lines
SELECT
    r.rule_no,
    l.sku,
    sum(l.contracted_milli)::BIGINT AS ordered_milli
FROM item_lines l
JOIN rules r ON r.for_channel = l.channel
WHERE r.slot = 'contract'
  AND (r.from_at IS NULL OR l.first_placed_at >= r.from_at)
  AND (r.until_at IS NULL OR l.first_placed_at < r.until_at)
GROUP BY r.rule_no, l.sku

-- The components of the bundles in scope (SEMANTICS §6, Bundles).
-- In: components, scope. Grain: item_no of the bundle, part_no of the component.
-- Empty unless: scope WHERE kind = 'bundle'
SELECT
    b.item_no, b.profile, b.step_milli,
    c.item_no AS part_no, c.profile AS part_profile, x.quantity_milli
FROM scope b
JOIN components x ON x.sku = b.sku
JOIN scope c ON c.sku = x.component
WHERE b.kind = 'bundle'

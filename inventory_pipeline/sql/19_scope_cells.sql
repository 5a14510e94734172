-- What snapshots say of these places, read once (SEMANTICS §3).
-- In: cells, spoken_places. Grain: one row a snapshot, sku and location.
WITH of_items AS MATERIALIZED (
    SELECT c.* FROM cells c SEMI JOIN spoken_places p ON p.item_no = c.item_no
)
SELECT c.*, p.sku
FROM of_items c
JOIN spoken_places p ON p.item_no = c.item_no AND p.location = c.location

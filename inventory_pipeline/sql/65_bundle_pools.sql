-- The pool of a bundle: how many can be put together from its components (SEMANTICS §6, Bundles).
-- In: parts, component_places, component_rests, location_terms, rulebook, scope.
-- Grain: bucket_no, item_no. A bundle has no stock, so it has no terms of step 1.
-- Empty unless: scope WHERE kind = 'bundle'
WITH
-- Never more than what the components' own protections leave.
put_together AS (
    SELECT
        p.item_no, c.bucket_no,
        min(greatest(0, c.after_protect_milli) * 1000
            // (p.quantity_milli * p.step_milli) * p.step_milli) AS quantity_milli
    FROM parts p
    JOIN component_rests c ON c.item_no = p.part_no
    GROUP BY p.item_no, c.bucket_no
),
-- Buckets with the same view of locations share the work.
views AS (
    SELECT DISTINCT view_no FROM rulebook WHERE fulfilment = 'same_location'
),
at_location AS (
    SELECT
        s.item_no, v.view_no, s.location_no,
        min(greatest(0,
            s.net_milli - coalesce(t.safety_stock_milli, 0) - coalesce(t.location_reserve_milli, 0))
            * 1000 // (s.quantity_milli * s.step_milli) * s.step_milli) AS quantity_milli
    FROM component_places s
    CROSS JOIN views v
    LEFT JOIN location_terms t
        ON t.profile = s.part_profile AND t.bucket_no = v.view_no
        AND t.location_no = s.location_no
    GROUP BY s.item_no, v.view_no, s.location_no
),
in_view AS (
    SELECT item_no, view_no, list(quantity_milli ORDER BY location_no) AS quantities_milli
    FROM at_location
    GROUP BY item_no, view_no
),
bundles AS (
    SELECT item_no, profile, step_milli FROM scope WHERE kind = 'bundle'
)
SELECT
    b.item_no, b.profile, b.step_milli, r.bucket_no,
    CASE WHEN r.fulfilment = 'split' THEN coalesce(t.quantity_milli, 0)
        ELSE least(coalesce(t.quantity_milli, 0),
            coalesce(list_sum(list_select(v.quantities_milli, r.location_nos)), 0))
    END::BIGINT AS pool_milli
FROM bundles b
JOIN rulebook r ON r.profile = b.profile
LEFT JOIN put_together t ON t.item_no = b.item_no AND t.bucket_no = r.bucket_no
LEFT JOIN in_view v ON v.item_no = b.item_no AND v.view_no = r.view_no

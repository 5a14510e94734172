-- What lies of each part at each location, where bundles are put together location by location
-- (SEMANTICS §6, Bundles). In: parts, stock, rulebook. Grain: bundle, part, location.
-- Empty unless: parts
SELECT
    p.item_no, p.part_no, p.part_profile, p.quantity_milli, p.step_milli,
    unnest(k.net_milli) AS net_milli,
    generate_subscripts(k.net_milli, 1) AS location_no
FROM parts p
JOIN stock k ON k.item_no = p.part_no
SEMI JOIN rulebook r ON r.profile = p.profile AND r.fulfilment = 'same_location'

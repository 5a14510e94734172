-- Steps 1 and 2: what lies in a bucket's locations and may be sold, less what rules keep back there
-- (SEMANTICS §6). A debt at one place lowers the pool. The pool of a bundle is made of its components.
-- In: priced, stock, rulebook, unassigned, bundle_pools. Grain: bucket_no, item_no.
-- Ephemeral.
-- Each group of locations is added up once, for all sets of them (compute/location_sums.py).
WITH grouped AS (
    SELECT p.item_no, p.profile, p.step_milli, sums_of_groups(k.net_milli) AS by_group
    FROM priced p
    JOIN stock k ON k.item_no = p.item_no
),
added AS (
    SELECT item_no, profile, step_milli, sums_of_sets(by_group) AS by_set FROM grouped
),
sellable AS (
    SELECT
        g.item_no, g.step_milli, r.bucket_no, r.network_safety_stock_milli,
        r.protects_no, r.protect_milli, r.largest_protect_milli, r.contract_milli,
        r.exclusive_contract_milli, r.buffer_units_milli, r.buffer_percent_millionths,
        r.share_millionths, r.backorder_limit_milli, r.preorder_limit_milli, r.cap_milli,
        r.min_display_milli, r.excluded,
        g.by_set[r.set_no] - r.safety_stock_milli - r.location_reserve_milli AS sellable_milli
    FROM added g
    JOIN rulebook r ON r.profile = g.profile
)
SELECT
    s.item_no, s.step_milli, s.bucket_no,
    s.protects_no, s.protect_milli, s.largest_protect_milli, s.contract_milli,
    s.exclusive_contract_milli, s.buffer_units_milli, s.buffer_percent_millionths,
    s.share_millionths, s.backorder_limit_milli, s.preorder_limit_milli, s.cap_milli,
    s.min_display_milli, s.excluded,
    s.sellable_milli,
    coalesce(u.unassigned_milli, 0) AS unassigned_milli,
    s.sellable_milli - coalesce(u.unassigned_milli, 0) - s.network_safety_stock_milli AS pool_milli
FROM sellable s
LEFT JOIN unassigned u ON u.item_no = s.item_no AND u.bucket_no = s.bucket_no
UNION ALL
SELECT
    b.item_no, b.step_milli, b.bucket_no,
    r.protects_no, r.protect_milli, r.largest_protect_milli, r.contract_milli,
    r.exclusive_contract_milli, r.buffer_units_milli, r.buffer_percent_millionths,
    r.share_millionths, r.backorder_limit_milli, r.preorder_limit_milli, r.cap_milli,
    r.min_display_milli, r.excluded,
    NULL, NULL, b.pool_milli
FROM bundle_pools b
JOIN rulebook r ON r.profile = b.profile AND r.bucket_no = b.bucket_no

-- One row of rules for each kind of item in each bucket: every number that rules bring into the
-- waterfall, and the ids of the rules that won (SEMANTICS §6).
-- In: rule_winners, location_terms, claims, bucket_places, buckets, items. Grain: profile, bucket_no.
-- Made when rules change.
WITH profiles AS (
    SELECT DISTINCT profile FROM items
),
winners AS (
    SELECT
        b.bucket_no, w.profile,
        max(units_milli) FILTER (slot = 'network_safety_stock') AS network_safety_stock_milli,
        max(rule) FILTER (slot = 'network_safety_stock') AS network_safety_stock_rule,
        max(units_milli) FILTER (slot = 'buffer') AS buffer_units_milli,
        max(percent_millionths) FILTER (slot = 'buffer') AS buffer_percent_millionths,
        max(auto_factor_millionths) FILTER (slot = 'buffer') AS buffer_auto_factor_millionths,
        max(auto_max_milli) FILTER (slot = 'buffer') AS buffer_auto_max_milli,
        max(auto_window_us) FILTER (slot = 'buffer') AS buffer_auto_window_us,
        max(rule) FILTER (slot = 'buffer') AS buffer_rule,
        max(percent_millionths) FILTER (slot = 'share') AS share_millionths,
        max(rule) FILTER (slot = 'share') AS share_rule,
        max(limit_milli) FILTER (slot = 'backorder') AS backorder_limit_milli,
        max(rule) FILTER (slot = 'backorder') AS backorder_rule,
        max(limit_milli) FILTER (slot = 'preorder') AS preorder_limit_milli,
        max(horizon_us) FILTER (slot = 'preorder') AS preorder_horizon_us,
        max(from_at) FILTER (slot = 'preorder') AS preorder_from_at,
        max(until_at) FILTER (slot = 'preorder') AS preorder_until_at,
        max(rule) FILTER (slot = 'preorder') AS preorder_rule,
        max(units_milli) FILTER (slot = 'cap') AS cap_milli,
        max(rule) FILTER (slot = 'cap') AS cap_rule,
        max(units_milli) FILTER (slot = 'min_display') AS min_display_milli,
        max(rule) FILTER (slot = 'min_display') AS min_display_rule,
        max(rule) FILTER (slot = 'exclude') AS exclude_rule,
        max(fulfilment) FILTER (slot = 'bundle') AS fulfilment,
        max(rule) FILTER (slot = 'bundle') AS bundle_rule
    FROM rule_winners w
    JOIN buckets b ON b.channel = w.channel AND b.bucket = w.bucket
    WHERE w.location IS NULL
    GROUP BY b.bucket_no, w.profile
),
kept_back AS (
    SELECT
        t.profile, t.bucket_no,
        sum(safety_stock_milli)::BIGINT AS safety_stock_milli,
        string_agg(location || ': ' || safety_stock_rule, ', ' ORDER BY location)
            AS safety_stock_rules,
        sum(location_reserve_milli)::BIGINT AS location_reserve_milli,
        string_agg(location || ': ' || location_reserve_rule, ', ' ORDER BY location)
            AS location_reserve_rules
    FROM location_terms t
    JOIN bucket_places p ON p.bucket_no = t.bucket_no
    WHERE list_contains(p.location_nos, t.location_no)
    GROUP BY t.profile, t.bucket_no
),
claimed AS (
    SELECT
        profile, bucket_no,
        count(*) FILTER (kind = 'protect' AND NOT own) AS protects,
        list(units_milli ORDER BY units_milli)
            FILTER (kind = 'protect' AND NOT own) AS protects_milli,
        (sum(units_milli) FILTER (kind = 'protect' AND NOT own))::BIGINT AS protect_milli,
        max(units_milli) FILTER (kind = 'protect' AND NOT own) AS largest_protect_milli,
        (sum(units_milli) FILTER (kind = 'contract' AND NOT own))::BIGINT AS contract_milli,
        string_agg(rule, ', ' ORDER BY rule_no) FILTER (NOT own) AS protect_rules,
        min(units_milli) FILTER (kind = 'contract' AND own AND exclusive)
            AS exclusive_contract_milli,
        string_agg(rule, ', ' ORDER BY rule_no)
            FILTER (kind = 'contract' AND own AND exclusive) AS contract_rules
    FROM claims
    GROUP BY profile, bucket_no
)
SELECT
    p.profile,
    b.bucket_no,
    b.location_nos,
    b.set_no,
    b.view_no,
    coalesce(k.safety_stock_milli, 0) AS safety_stock_milli,
    k.safety_stock_rules,
    coalesce(k.location_reserve_milli, 0) AS location_reserve_milli,
    k.location_reserve_rules,
    coalesce(w.network_safety_stock_milli, 0) AS network_safety_stock_milli,
    w.network_safety_stock_rule,
    coalesce(c.protects, 0) AS protects,
    c.protects_milli,
    -- Those with the same list of rules to look at one by one share its number.
    CASE WHEN c.protects > 1 THEN dense_rank() OVER (
        ORDER BY coalesce(c.protects > 1, false) DESC, c.protects_milli) END AS protects_no,
    coalesce(c.protect_milli, 0) AS protect_milli,
    coalesce(c.largest_protect_milli, 0) AS largest_protect_milli,
    coalesce(c.contract_milli, 0) AS contract_milli,
    c.protect_rules,
    c.exclusive_contract_milli,
    c.contract_rules,
    w.buffer_units_milli,
    w.buffer_percent_millionths,
    w.buffer_auto_factor_millionths,
    w.buffer_auto_max_milli,
    w.buffer_auto_window_us,
    w.buffer_rule,
    w.share_millionths,
    w.share_rule,
    w.backorder_limit_milli,
    w.backorder_rule,
    w.preorder_limit_milli,
    w.preorder_horizon_us,
    w.preorder_from_at,
    w.preorder_until_at,
    w.preorder_rule,
    w.cap_milli,
    w.cap_rule,
    w.min_display_milli,
    w.min_display_rule,
    w.exclude_rule IS NOT NULL AS excluded,
    w.exclude_rule,
    coalesce(w.fulfilment, 'same_location') AS fulfilment,
    w.bundle_rule
FROM profiles p
CROSS JOIN bucket_places b
LEFT JOIN winners w ON w.profile = p.profile AND w.bucket_no = b.bucket_no
LEFT JOIN kept_back k ON k.profile = p.profile AND k.bucket_no = b.bucket_no
LEFT JOIN claimed c ON c.profile = p.profile AND c.bucket_no = b.bucket_no

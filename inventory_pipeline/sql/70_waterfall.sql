-- From the pool to what a channel may sell: steps 5 to 10, beside the terms of steps 1 to 4
-- (SEMANTICS §6). Percents are millionths; a product with one is split so that it stays in 64 bits.
-- In: pools, after_protect, rulebook, auto_buffers, exclusive_units, preorders, first_listings,
-- channels. Grain: channel, bucket, sku. Units: thousandths of the base unit; desired_milli:
-- thousandths of the channel's own unit.
WITH protected AS (
    SELECT
        p.*,
        a.protected_for_others_milli,
        a.after_protect_milli,
        r.* EXCLUDE (profile, channel, bucket, safety_stock_milli, location_reserve_milli,
            network_safety_stock_milli),
        u.buffer_milli AS auto_buffer_milli
    FROM pools p
    JOIN after_protect a ON a.channel = p.channel AND a.bucket = p.bucket AND a.sku = p.sku
    JOIN rulebook r ON r.profile = p.profile AND r.channel = p.channel AND r.bucket = p.bucket
    LEFT JOIN auto_buffers u ON u.channel = p.channel AND u.bucket = p.bucket AND u.sku = p.sku
),
-- 5. Rounded up to the item's smallest step.
buffered AS (
    SELECT
        *,
        coalesce(
            buffer_units_milli,
            auto_buffer_milli,
            (greatest(0, after_protect_milli) // 1000000 * buffer_percent_millionths
                + (greatest(0, after_protect_milli) % 1000000 * buffer_percent_millionths
                    + 999999) // 1000000
                + step_milli - 1) // step_milli * step_milli,
            0) AS buffer_milli,
        after_protect_milli - buffer_milli AS after_buffer_milli
    FROM protected
),
-- 6. A debt stays a debt.
shared AS (
    SELECT
        *,
        CASE WHEN share_millionths IS NOT NULL AND after_buffer_milli > 0
            THEN (after_buffer_milli // 1000000 * share_millionths
                + after_buffer_milli % 1000000 * share_millionths // 1000000)
                // step_milli * step_milli
            ELSE after_buffer_milli
        END AS after_share_milli
    FROM buffered
),
-- 7.
contracted AS (
    SELECT
        s.*,
        CASE WHEN s.exclusive_contract_milli IS NOT NULL
            THEN coalesce(x.units_left_milli, s.exclusive_contract_milli)
        END AS contract_units_left_milli,
        least(s.after_share_milli, coalesce(contract_units_left_milli, s.after_share_milli))
            AS after_contract_milli
    FROM shared s
    LEFT JOIN exclusive_units x
        ON x.channel = s.channel AND x.bucket = s.bucket AND x.sku = s.sku
),
-- 8.
promised AS (
    SELECT
        c.*,
        coalesce(c.backorder_limit_milli, 0) AS backorder_milli,
        c.after_contract_milli + backorder_milli AS after_backorder_milli,
        p.incoming_due_milli,
        p.preordered_milli,
        CASE WHEN p.sku IS NULL THEN after_backorder_milli
            ELSE greatest(
                after_backorder_milli,
                least(after_backorder_milli + p.incoming_due_milli,
                    c.preorder_limit_milli - p.preordered_milli))
        END AS after_preorder_milli
    FROM contracted c
    LEFT JOIN preorders p ON p.channel = c.channel AND p.bucket = c.bucket AND p.sku = c.sku
),
-- 9.
capped AS (
    SELECT *, least(after_preorder_milli, coalesce(cap_milli, after_preorder_milli))
        AS after_cap_milli
    FROM promised
),
displayed AS (
    SELECT *, CASE WHEN after_cap_milli < min_display_milli THEN 0 ELSE after_cap_milli
        END AS after_min_display_milli
    FROM capped
),
excluded AS (
    SELECT *, CASE WHEN exclude_rule IS NOT NULL THEN 0 ELSE after_min_display_milli
        END AS after_exclude_milli
    FROM displayed
),
-- 10. Rounded down once, to what the channel can show.
available AS (
    SELECT
        e.*,
        greatest(0, e.after_exclude_milli) AS available_milli,
        coalesce(l.external_id, e.sku) AS external_id,
        coalesce(l.units_milli, 1000) AS units_milli,
        c.step_milli AS channel_step_milli,
        available_milli * 1000 // (coalesce(l.units_milli, 1000) * c.step_milli) * c.step_milli
            AS desired_milli
    FROM excluded e
    JOIN channels c ON c.channel = e.channel
    LEFT JOIN first_listings l ON l.channel = e.channel AND l.sku = e.sku
)
SELECT
    channel, bucket, sku, kind, step_milli,
    on_hand_milli, damaged_milli, quality_control_milli, committed_milli, reserved_milli,
    safety_stock_milli, safety_stock_rules, location_reserve_milli, location_reserve_rules,
    sellable_milli,
    unassigned_milli, network_safety_stock_milli, network_safety_stock_rule,
    fulfilment, bundle_rule, pool_milli,
    protected_for_others_milli, protect_rules, after_protect_milli,
    buffer_milli, buffer_rule, after_buffer_milli,
    share_millionths, share_rule, after_share_milli,
    contract_units_left_milli, contract_rules, after_contract_milli,
    backorder_milli, backorder_rule, after_backorder_milli,
    incoming_due_milli, preordered_milli, preorder_limit_milli, preorder_rule,
    after_preorder_milli,
    cap_milli, cap_rule, after_cap_milli,
    min_display_milli, min_display_rule, after_min_display_milli,
    exclude_rule, after_exclude_milli,
    available_milli, external_id, units_milli, desired_milli
FROM available

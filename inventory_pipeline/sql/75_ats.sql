-- The waterfall as people read it: every term of SEMANTICS §6 and the rules that won, with the quantity
-- of the item's first listing in the channel's own unit and decimals (step 10).
-- In: waterfall, balances, rulebook, bucket_locations, buckets, channels, items, first_listings.
-- Grain: channel, bucket, sku. Units: thousandths of the base unit; desired_milli: thousandths of the
-- channel's own unit. Ephemeral.
WITH fed AS (
    SELECT b.bucket_no, f.location
    FROM buckets b
    JOIN bucket_locations f ON f.channel = b.channel AND f.bucket = b.bucket
),
states AS (
    SELECT
        i.item_no, f.bucket_no,
        sum(b.on_hand_milli)::BIGINT AS on_hand_milli,
        sum(b.damaged_milli)::BIGINT AS damaged_milli,
        sum(b.quality_control_milli)::BIGINT AS quality_control_milli,
        sum(b.committed_milli)::BIGINT AS committed_milli,
        sum(b.reserved_milli)::BIGINT AS reserved_milli
    FROM balances b
    JOIN items i ON i.sku = b.sku
    JOIN fed f ON f.location = b.location
    GROUP BY i.item_no, f.bucket_no
),
listed AS (
    SELECT
        w.*, r.safety_stock_milli, r.safety_stock_rules, r.location_reserve_milli,
        r.location_reserve_rules, r.network_safety_stock_milli, r.network_safety_stock_rule,
        r.fulfilment, r.bundle_rule, r.protect_rules, r.buffer_rule, r.share_rule, r.exclude_rule,
        r.contract_rules, r.backorder_rule, r.preorder_rule, r.cap_rule, r.min_display_rule,
        b.channel, b.bucket, i.sku, i.kind,
        i.kind = 'simple' AS stocked,
        coalesce(l.external_id, i.sku) AS external_id,
        coalesce(l.units_milli, 1000) AS units_milli,
        c.step_milli AS channel_step_milli
    FROM waterfall w
    JOIN items i ON i.item_no = w.item_no
    JOIN rulebook r ON r.profile = i.profile AND r.bucket_no = w.bucket_no
    JOIN buckets b ON b.bucket_no = w.bucket_no
    JOIN channels c ON c.channel = b.channel
    LEFT JOIN first_listings l ON l.channel = b.channel AND l.sku = i.sku
)
SELECT
    l.channel, l.bucket, l.sku, l.kind, l.step_milli,
    CASE WHEN stocked THEN coalesce(s.on_hand_milli, 0) END AS on_hand_milli,
    CASE WHEN stocked THEN coalesce(s.damaged_milli, 0) END AS damaged_milli,
    CASE WHEN stocked THEN coalesce(s.quality_control_milli, 0) END AS quality_control_milli,
    CASE WHEN stocked THEN coalesce(s.committed_milli, 0) END AS committed_milli,
    CASE WHEN stocked THEN coalesce(s.reserved_milli, 0) END AS reserved_milli,
    CASE WHEN stocked THEN l.safety_stock_milli END AS safety_stock_milli,
    CASE WHEN stocked THEN l.safety_stock_rules END AS safety_stock_rules,
    CASE WHEN stocked THEN l.location_reserve_milli END AS location_reserve_milli,
    CASE WHEN stocked THEN l.location_reserve_rules END AS location_reserve_rules,
    l.sellable_milli,
    l.unassigned_milli,
    CASE WHEN stocked THEN l.network_safety_stock_milli END AS network_safety_stock_milli,
    CASE WHEN stocked THEN l.network_safety_stock_rule END AS network_safety_stock_rule,
    l.fulfilment, l.bundle_rule, l.pool_milli,
    l.protected_for_others_milli, l.protect_rules, l.after_protect_milli,
    l.buffer_milli, l.buffer_rule, l.after_buffer_milli,
    l.share_millionths, l.share_rule, l.after_share_milli,
    l.contract_units_left_milli, l.contract_rules, l.after_contract_milli,
    l.backorder_milli, l.backorder_rule, l.after_backorder_milli,
    l.incoming_due_milli, l.preordered_milli, l.preorder_limit_milli, l.preorder_rule,
    l.after_preorder_milli,
    l.cap_milli, l.cap_rule, l.after_cap_milli,
    l.min_display_milli, l.min_display_rule, l.after_min_display_milli,
    l.exclude_rule, l.after_exclude_milli,
    l.available_milli, l.external_id, l.units_milli,
    l.available_milli * 1000 // (l.units_milli * l.channel_step_milli) * l.channel_step_milli
        AS desired_milli
FROM listed l
LEFT JOIN states s ON s.item_no = l.item_no AND s.bucket_no = l.bucket_no

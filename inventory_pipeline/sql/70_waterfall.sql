-- From the pool to what a channel may sell: steps 5 to 10, beside the terms of steps 1 to 4
-- (SEMANTICS §6). Percents are millionths; a product with one is split so that it stays in 64 bits.
-- In: after_protect, auto_buffers, exclusive_units, preorders. Grain: bucket_no, item_no.
-- Units: thousandths of the base unit. Ephemeral.
WITH protected AS (
    SELECT p.*, u.buffer_milli AS auto_buffer_milli
    FROM after_protect p
    LEFT JOIN auto_buffers u ON u.item_no = p.item_no AND u.bucket_no = p.bucket_no
),
-- 5. Rounded up to the item's smallest step.
buffered AS (
    SELECT
        *,
        CASE WHEN buffer_percent_millionths IS NOT NULL
            THEN (greatest(0, after_protect_milli) // 1000000 * buffer_percent_millionths
                + (greatest(0, after_protect_milli) % 1000000 * buffer_percent_millionths
                    + 999999) // 1000000
                + step_milli - 1) // step_milli * step_milli
            ELSE coalesce(buffer_units_milli, auto_buffer_milli, 0)
        END AS buffer_milli,
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
    LEFT JOIN exclusive_units x ON x.item_no = s.item_no AND x.bucket_no = s.bucket_no
),
-- 8.
promised AS (
    SELECT
        c.*,
        coalesce(c.backorder_limit_milli, 0) AS backorder_milli,
        c.after_contract_milli + backorder_milli AS after_backorder_milli,
        p.incoming_due_milli,
        p.preordered_milli,
        CASE WHEN p.item_no IS NULL THEN after_backorder_milli
            ELSE greatest(
                after_backorder_milli,
                least(after_backorder_milli + p.incoming_due_milli,
                    c.preorder_limit_milli - p.preordered_milli))
        END AS after_preorder_milli
    FROM contracted c
    LEFT JOIN preorders p ON p.item_no = c.item_no AND p.bucket_no = c.bucket_no
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
    SELECT *, CASE WHEN excluded THEN 0 ELSE after_min_display_milli
        END AS after_exclude_milli
    FROM displayed
)
SELECT *, greatest(0, after_exclude_milli) AS available_milli
FROM excluded

-- Steps 1 and 2 for items that have stock of their own: what lies in a bucket's locations and may be
-- sold (SEMANTICS §6). In: balances, items, bucket_locations, rulebook, unassigned, scope.
-- Grain: channel, bucket, sku. A debt at one place lowers the pool.
WITH summed AS (
    SELECT
        f.channel, f.bucket, p.sku,
        sum(p.on_hand_milli) AS on_hand_milli,
        sum(p.damaged_milli) AS damaged_milli,
        sum(p.quality_control_milli) AS quality_control_milli,
        sum(p.committed_milli) AS committed_milli,
        sum(p.reserved_milli) AS reserved_milli
    FROM balances p
    JOIN bucket_locations f ON f.location = p.location
    GROUP BY f.channel, f.bucket, p.sku
),
terms AS (
    SELECT
        r.channel, r.bucket, i.sku, i.kind, i.profile, i.step_milli,
        coalesce(s.on_hand_milli, 0)::BIGINT AS on_hand_milli,
        coalesce(s.damaged_milli, 0)::BIGINT AS damaged_milli,
        coalesce(s.quality_control_milli, 0)::BIGINT AS quality_control_milli,
        coalesce(s.committed_milli, 0)::BIGINT AS committed_milli,
        coalesce(s.reserved_milli, 0)::BIGINT AS reserved_milli,
        r.safety_stock_milli,
        r.location_reserve_milli,
        coalesce(u.unassigned_milli, 0) AS unassigned_milli,
        r.network_safety_stock_milli
    FROM items i
    SEMI JOIN scope ON scope.sku = i.sku
    JOIN rulebook r ON r.profile = i.profile
    LEFT JOIN summed s ON s.channel = r.channel AND s.bucket = r.bucket AND s.sku = i.sku
    LEFT JOIN unassigned u ON u.channel = r.channel AND u.bucket = r.bucket AND u.sku = i.sku
    WHERE i.kind = 'simple'
),
sellable AS (
    SELECT
        *,
        on_hand_milli - damaged_milli - quality_control_milli - committed_milli - reserved_milli
            - safety_stock_milli - location_reserve_milli AS sellable_milli
    FROM terms
)
SELECT *, sellable_milli - unassigned_milli - network_safety_stock_milli AS pool_milli
FROM sellable

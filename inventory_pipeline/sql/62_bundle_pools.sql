-- The pool of a bundle: how many can be put together from its components (SEMANTICS §6, Bundles).
-- In: items, explosion, balances, bucket_locations, location_terms, rulebook, after_protect, scope.
-- Grain: channel, bucket, sku. A bundle has no stock, so the terms of step 1 are null.
-- Empty unless: items JOIN scope USING (sku) WHERE items.kind = 'bundle'
WITH bundles AS (
    SELECT i.sku, i.kind, i.profile, i.step_milli, r.channel, r.bucket, r.fulfilment
    FROM items i
    SEMI JOIN scope ON scope.sku = i.sku
    JOIN rulebook r ON r.profile = i.profile
    WHERE i.kind = 'bundle'
),
parts AS (
    SELECT b.channel, b.bucket, b.sku, b.step_milli, b.fulfilment, x.component, x.quantity_milli,
        count(*) OVER (PARTITION BY b.channel, b.bucket, b.sku) AS components
    FROM bundles b
    JOIN explosion x ON x.sku = b.sku
),
-- Never more than what the components' own protections leave.
put_together AS (
    SELECT
        p.channel, p.bucket, p.sku,
        min(greatest(0, a.after_protect_milli) * 1000
            // (p.quantity_milli * p.step_milli) * p.step_milli) AS quantity_milli
    FROM parts p
    JOIN after_protect a
        ON a.channel = p.channel AND a.bucket = p.bucket AND a.sku = p.component
    GROUP BY p.channel, p.bucket, p.sku
),
sellable_at AS (
    SELECT
        p.channel, p.bucket, p.sku, p.step_milli, p.components, p.quantity_milli, s.location,
        greatest(0,
            s.on_hand_milli - s.damaged_milli - s.quality_control_milli - s.committed_milli
            - s.reserved_milli - coalesce(t.safety_stock_milli, 0)
            - coalesce(t.location_reserve_milli, 0)) AS sellable_milli
    FROM parts p
    JOIN bucket_locations f ON f.channel = p.channel AND f.bucket = p.bucket
    JOIN balances s ON s.location = f.location AND s.sku = p.component
    JOIN items c ON c.sku = p.component
    LEFT JOIN location_terms t
        ON t.profile = c.profile AND t.channel = p.channel AND t.bucket = p.bucket
        AND t.location = f.location
    WHERE p.fulfilment = 'same_location'
),
at_location AS (
    SELECT
        channel, bucket, sku, location,
        -- A component without a row there has nothing to sell.
        CASE WHEN count(*) = max(components)
            THEN min(sellable_milli * 1000 // (quantity_milli * step_milli) * step_milli)
            ELSE 0 END AS quantity_milli
    FROM sellable_at
    GROUP BY channel, bucket, sku, location
),
same_location AS (
    SELECT channel, bucket, sku, sum(quantity_milli)::BIGINT AS quantity_milli
    FROM at_location
    GROUP BY channel, bucket, sku
)
SELECT
    b.channel, b.bucket, b.sku, b.kind, b.profile, b.step_milli,
    NULL::BIGINT AS on_hand_milli,
    NULL::BIGINT AS damaged_milli,
    NULL::BIGINT AS quality_control_milli,
    NULL::BIGINT AS committed_milli,
    NULL::BIGINT AS reserved_milli,
    NULL::BIGINT AS safety_stock_milli,
    NULL::BIGINT AS location_reserve_milli,
    NULL::BIGINT AS unassigned_milli,
    NULL::BIGINT AS network_safety_stock_milli,
    NULL::BIGINT AS sellable_milli,
    CASE WHEN b.fulfilment = 'split' THEN coalesce(t.quantity_milli, 0)
        ELSE least(coalesce(t.quantity_milli, 0), coalesce(s.quantity_milli, 0))
    END AS pool_milli
FROM bundles b
LEFT JOIN put_together t ON t.channel = b.channel AND t.bucket = b.bucket AND t.sku = b.sku
LEFT JOIN same_location s ON s.channel = b.channel AND s.bucket = b.bucket AND s.sku = b.sku

-- Steps 3 and 4: what is left of each pool after what is kept for other channels (SEMANTICS §6).
-- In: pools, rulebook, claims, contract_units. Grain: channel, bucket, sku.
WITH ruled AS (
    SELECT
        p.channel, p.bucket, p.sku, p.profile, p.pool_milli,
        r.protects, r.protect_milli, r.largest_protect_milli, r.contract_milli
    FROM pools p
    JOIN rulebook r ON r.profile = p.profile AND r.channel = p.channel AND r.bucket = p.bucket
),
-- Only where the pool is smaller than one of several rules do they need to be looked at one by one.
scarce AS (
    SELECT
        p.channel, p.bucket, p.sku,
        sum(least(c.units_milli, p.pool_milli))::BIGINT AS protected_milli
    FROM ruled p
    JOIN claims c ON c.profile = p.profile AND c.channel = p.channel AND c.bucket = p.bucket
    WHERE c.kind = 'protect' AND NOT c.own
      AND p.protects > 1 AND p.pool_milli > 0 AND p.pool_milli < p.largest_protect_milli
    GROUP BY p.channel, p.bucket, p.sku
),
-- What other channels have already ordered under their contracts is no longer kept for them.
served AS (
    SELECT
        p.channel, p.bucket, p.sku,
        sum(least(c.units_milli, o.ordered_milli))::BIGINT AS served_milli
    FROM contract_units o
    JOIN ruled p ON p.sku = o.sku
    JOIN claims c
        ON c.rule_no = o.rule_no AND c.profile = p.profile
        AND c.channel = p.channel AND c.bucket = p.bucket
    WHERE c.kind = 'contract' AND NOT c.own
    GROUP BY p.channel, p.bucket, p.sku
),
protected AS (
    SELECT
        p.channel, p.bucket, p.sku, p.pool_milli,
        CASE
            WHEN p.pool_milli <= 0 THEN 0
            WHEN p.pool_milli >= p.largest_protect_milli THEN p.protect_milli
            WHEN p.protects = 1 THEN p.pool_milli
            ELSE s.protected_milli
        END AS protect_milli,
        p.contract_milli - coalesce(d.served_milli, 0) AS contract_milli
    FROM ruled p
    LEFT JOIN scarce s ON s.channel = p.channel AND s.bucket = p.bucket AND s.sku = p.sku
    LEFT JOIN served d ON d.channel = p.channel AND d.bucket = p.bucket AND d.sku = p.sku
)
SELECT
    channel,
    bucket,
    sku,
    protect_milli + contract_milli AS protected_for_others_milli,
    pool_milli - (protect_milli + contract_milli) AS after_protect_milli
FROM protected

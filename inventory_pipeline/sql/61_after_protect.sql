-- Steps 3 and 4: what is left of each pool after what is kept for other channels (SEMANTICS §6).
-- In: pools, rulebook, contracts_served. Grain: bucket_no, item_no. Ephemeral.
WITH several AS (
    SELECT coalesce(list(protects_milli ORDER BY protects_no), []) AS lists
    FROM (
        SELECT DISTINCT protects_no, protects_milli FROM rulebook WHERE protects_no IS NOT NULL)
),
protected AS (
    SELECT
        p.*,
        CASE WHEN p.protects_no IS NOT NULL
            THEN CASE
                WHEN p.pool_milli <= 0 THEN 0
                WHEN p.pool_milli >= p.largest_protect_milli THEN p.protect_milli
                -- A pool smaller than one of the rules: each takes no more than there is.
                ELSE list_sum(list_transform(l.lists[p.protects_no],
                    lambda units: least(units, p.pool_milli)))::BIGINT
            END
            ELSE least(p.protect_milli, greatest(0, p.pool_milli))
        END + p.contract_milli - coalesce(s.served_milli, 0) AS protected_for_others_milli
    FROM pools p
    CROSS JOIN several l
    LEFT JOIN contracts_served s ON s.item_no = p.item_no AND s.bucket_no = p.bucket_no
)
SELECT *, pool_milli - protected_for_others_milli AS after_protect_milli
FROM protected

-- How long ago the stalest owner of on_hand behind each bucket was heard, in full quarters of an hour
-- (SEMANTICS §6, auto buffer). In: rules, events, snapshots, owned, buckets, bucket_locations; $at.
-- Grain: channel, bucket; quarters is null
-- where an owner was never heard of; next_at is the moment at which one quarter more begins.
-- Empty unless: rules WHERE auto_factor_millionths IS NOT NULL
WITH heard AS (
    SELECT system, max(heard_at) AS heard_at
    FROM (
        SELECT system, max(as_of) AS heard_at FROM snapshots WHERE as_of <= $at GROUP BY system
        UNION ALL
        SELECT system, max(occurred_at) FROM events
        WHERE occurred_at <= $at
          AND EXISTS (SELECT 1 FROM rules WHERE auto_factor_millionths IS NOT NULL)
        GROUP BY system)
    GROUP BY system
),
owners_of AS (
    SELECT DISTINCT f.channel, f.bucket, o.on_hand_system AS system
    FROM bucket_locations f
    JOIN owned o ON o.location = f.location
    WHERE o.on_hand_system IS NOT NULL
),
ages AS (
    SELECT
        w.channel, w.bucket,
        bool_or(h.heard_at IS NULL) AS unheard,
        min(h.heard_at) AS heard_at
    FROM owners_of w
    LEFT JOIN heard h ON h.system = w.system
    GROUP BY w.channel, w.bucket
),
quarters AS (
    SELECT
        b.channel, b.bucket, a.heard_at,
        CASE WHEN NOT coalesce(a.unheard, true)
            THEN (epoch_us($at::TIMESTAMP) - epoch_us(a.heard_at) + 899999999) // 900000000
        END AS quarters
    FROM buckets b
    LEFT JOIN ages a ON a.channel = b.channel AND a.bucket = b.bucket
    WHERE b.active
)
SELECT
    channel,
    bucket,
    quarters,
    heard_at + to_microseconds(quarters * 900000000 + 1) AS next_at
FROM quarters

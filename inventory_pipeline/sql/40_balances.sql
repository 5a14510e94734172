-- Position = the owner's latest snapshot value + the postings that it cannot yet contain (SEMANTICS §3).
-- In: snapshot_values, postings, line_units, open_reservations, owned. Grain: sku, location.
WITH judged AS (
    SELECT
        p.*,
        CASE p.state
            WHEN 'on_hand' THEN v.on_hand_taken_at
            WHEN 'damaged' THEN v.damaged_taken_at
            WHEN 'quality_control' THEN v.quality_control_taken_at
            ELSE v.incoming_taken_at
        END AS taken_at,
        to_microseconds(coalesce(CASE p.state
            WHEN 'on_hand' THEN o.on_hand_lag_us
            WHEN 'damaged' THEN o.damaged_lag_us
            WHEN 'quality_control' THEN o.quality_control_lag_us
            ELSE o.incoming_lag_us
        END, 0)) AS lag,
        CASE WHEN p.state IN ('on_hand', 'incoming') THEN p.quantity_milli < 0
            ELSE p.quantity_milli > 0 END AS lowers
    FROM postings p
    LEFT JOIN snapshot_values v ON v.sku = p.sku AND v.location = p.location
    LEFT JOIN owned o ON o.location = p.location
),
posted AS (
    SELECT
        sku, location,
        sum(quantity_milli) FILTER (state = 'on_hand') AS on_hand_milli,
        sum(quantity_milli) FILTER (state = 'damaged') AS damaged_milli,
        sum(quantity_milli) FILTER (state = 'quality_control') AS quality_control_milli,
        sum(quantity_milli) FILTER (state = 'incoming') AS incoming_milli
    FROM judged
    WHERE taken_at IS NULL OR occurred_at > taken_at OR (lowers AND occurred_at > taken_at - lag)
    GROUP BY sku, location
),
-- A snapshot of committed (or reserved) already holds what was placed up to T - L.
promised AS (
    SELECT l.sku, l.location, sum(l.open_milli) AS committed_milli
    FROM line_units l
    LEFT JOIN snapshot_values v ON v.sku = l.sku AND v.location = l.location
    LEFT JOIN owned o ON o.location = l.location
    WHERE l.location IS NOT NULL AND l.open_milli <> 0
      AND (v.committed_taken_at IS NULL
           OR l.first_event_at > v.committed_taken_at - to_microseconds(o.committed_lag_us))
    GROUP BY l.sku, l.location
),
held AS (
    SELECT r.sku, r.location, sum(r.quantity_milli) AS reserved_milli
    FROM open_reservations r
    LEFT JOIN snapshot_values v ON v.sku = r.sku AND v.location = r.location
    LEFT JOIN owned o ON o.location = r.location
    WHERE r.location IS NOT NULL
      AND (v.reserved_taken_at IS NULL
           OR r.first_event_at > v.reserved_taken_at - to_microseconds(o.reserved_lag_us))
    GROUP BY r.sku, r.location
)
SELECT
    v.sku,
    v.location,
    (coalesce(v.on_hand_milli, 0) + coalesce(p.on_hand_milli, 0))::BIGINT AS on_hand_milli,
    (coalesce(v.damaged_milli, 0) + coalesce(p.damaged_milli, 0))::BIGINT AS damaged_milli,
    (coalesce(v.quality_control_milli, 0) + coalesce(p.quality_control_milli, 0))::BIGINT
        AS quality_control_milli,
    (coalesce(v.committed_milli, 0) + coalesce(c.committed_milli, 0))::BIGINT AS committed_milli,
    (coalesce(v.reserved_milli, 0) + coalesce(h.reserved_milli, 0))::BIGINT AS reserved_milli,
    (coalesce(v.incoming_milli, 0) + coalesce(p.incoming_milli, 0))::BIGINT AS incoming_milli,
    v.on_hand_taken_at,
    v.damaged_taken_at,
    v.quality_control_taken_at,
    v.committed_taken_at,
    v.reserved_taken_at,
    v.incoming_taken_at
FROM snapshot_values v
LEFT JOIN posted p ON p.sku = v.sku AND p.location = v.location
LEFT JOIN promised c ON c.sku = v.sku AND c.location = v.location
LEFT JOIN held h ON h.sku = v.sku AND h.location = v.location

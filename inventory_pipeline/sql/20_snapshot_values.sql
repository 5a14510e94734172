-- The owner's latest accepted value of each state, and its time T (SEMANTICS §3).
-- In: cells, sweeps, happened, lines, owned, scope; $at. Grain: sku, location; a null *_taken_at
-- means that no snapshot ever spoke of that state there.
WITH places AS (
    SELECT c.sku, c.location FROM cells c SEMI JOIN scope ON scope.sku = c.sku
    UNION
    SELECT sku, location FROM happened WHERE location IS NOT NULL
    UNION
    SELECT sku, to_location FROM happened WHERE to_location IS NOT NULL
    UNION
    SELECT h.sku, l.location
    FROM happened h
    JOIN lines l ON l.system = h.system AND l.order_id = h.order_id AND l.line_id = h.line_id
    WHERE l.location IS NOT NULL
),
reported AS (
    SELECT c.sku, c.location, c.system, c.as_of AS taken_at, 0 AS rank, c.source AS tie,
        c.on_hand_milli, c.damaged_milli, c.quality_control_milli,
        c.committed_milli, c.reserved_milli, c.incoming_milli
    FROM cells c
    SEMI JOIN scope ON scope.sku = c.sku
    WHERE c.as_of <= $at
),
-- Complete snapshots say 0 of what they leave out; a row without a value is not left out.
left_out AS (
    SELECT p.sku, p.location, s.system, s.as_of AS taken_at, 0 AS rank, s.source AS tie,
        CASE WHEN s.on_hand THEN 0 END AS on_hand_milli,
        CASE WHEN s.damaged THEN 0 END AS damaged_milli,
        CASE WHEN s.quality_control THEN 0 END AS quality_control_milli,
        CASE WHEN s.committed THEN 0 END AS committed_milli,
        CASE WHEN s.reserved THEN 0 END AS reserved_milli,
        CASE WHEN s.incoming THEN 0 END AS incoming_milli
    FROM places p
    JOIN sweeps s ON s.location = p.location
    ANTI JOIN cells c
        ON c.sku = p.sku AND c.location = p.location
        AND c.system = s.system AND c.as_of = s.as_of AND c.source = s.source
    WHERE s.as_of <= $at
),
-- A count is a one-row snapshot of on_hand; at the same time as a snapshot it replaces it.
counted AS (
    SELECT sku, location, system, occurred_at AS taken_at, 1 AS rank, event_id AS tie,
        quantity_milli AS on_hand_milli, NULL AS damaged_milli, NULL AS quality_control_milli,
        NULL AS committed_milli, NULL AS reserved_milli, NULL AS incoming_milli
    FROM happened
    WHERE type = 'counted'
),
said AS (
    SELECT * FROM reported
    UNION ALL SELECT * FROM left_out
    UNION ALL SELECT * FROM counted
),
-- Only the owner's word is part of a position.
owned_values AS (
    SELECT
        s.sku, s.location, s.taken_at, (s.taken_at, s.rank, s.tie) AS place,
        CASE WHEN o.on_hand_system = s.system THEN s.on_hand_milli END AS on_hand_milli,
        CASE WHEN o.damaged_system = s.system THEN s.damaged_milli END AS damaged_milli,
        CASE WHEN o.quality_control_system = s.system
            THEN s.quality_control_milli END AS quality_control_milli,
        CASE WHEN o.committed_system = s.system THEN s.committed_milli END AS committed_milli,
        CASE WHEN o.reserved_system = s.system THEN s.reserved_milli END AS reserved_milli,
        CASE WHEN o.incoming_system = s.system THEN s.incoming_milli END AS incoming_milli
    FROM said s
    JOIN owned o ON o.location = s.location
)
SELECT
    p.sku,
    p.location,
    max_by(v.on_hand_milli, v.place) FILTER (v.on_hand_milli IS NOT NULL) AS on_hand_milli,
    max(v.taken_at) FILTER (v.on_hand_milli IS NOT NULL) AS on_hand_taken_at,
    max_by(v.damaged_milli, v.place) FILTER (v.damaged_milli IS NOT NULL) AS damaged_milli,
    max(v.taken_at) FILTER (v.damaged_milli IS NOT NULL) AS damaged_taken_at,
    max_by(v.quality_control_milli, v.place)
        FILTER (v.quality_control_milli IS NOT NULL) AS quality_control_milli,
    max(v.taken_at) FILTER (v.quality_control_milli IS NOT NULL) AS quality_control_taken_at,
    max_by(v.committed_milli, v.place) FILTER (v.committed_milli IS NOT NULL) AS committed_milli,
    max(v.taken_at) FILTER (v.committed_milli IS NOT NULL) AS committed_taken_at,
    max_by(v.reserved_milli, v.place) FILTER (v.reserved_milli IS NOT NULL) AS reserved_milli,
    max(v.taken_at) FILTER (v.reserved_milli IS NOT NULL) AS reserved_taken_at,
    max_by(v.incoming_milli, v.place) FILTER (v.incoming_milli IS NOT NULL) AS incoming_milli,
    max(v.taken_at) FILTER (v.incoming_milli IS NOT NULL) AS incoming_taken_at
FROM places p
LEFT JOIN owned_values v ON v.sku = p.sku AND v.location = p.location
GROUP BY p.sku, p.location

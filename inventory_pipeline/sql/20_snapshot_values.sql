-- The owner's latest accepted value of each state, and its time T (SEMANTICS §3).
-- In: spoken_places, scope_cells, sweeps, happened, owned; $at. Grain: sku, location; a null *_taken_at
-- means that no snapshot ever spoke of that state there.
WITH reported AS (
    SELECT c.sku, c.location, c.system, c.as_of AS taken_at, 0 AS rank, c.source AS tie,
        c.on_hand_milli, c.damaged_milli, c.quality_control_milli,
        c.committed_milli, c.reserved_milli, c.incoming_milli
    FROM scope_cells c
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
    FROM sweeps s
    JOIN spoken_places p ON p.location = s.location
    ANTI JOIN scope_cells c
        ON c.sku = p.sku AND c.location = p.location
        AND c.system = s.system AND c.as_of = s.as_of AND c.source = s.source
    WHERE s.as_of <= $at
),
-- A count is a one-row snapshot of on_hand; at the same time as a snapshot it replaces it.
counted AS (
    SELECT h.sku, h.location, h.system, h.occurred_at AS taken_at, 1 AS rank, h.event_id AS tie,
        h.quantity_milli AS on_hand_milli, NULL AS damaged_milli, NULL AS quality_control_milli,
        NULL AS committed_milli, NULL AS reserved_milli, NULL AS incoming_milli
    FROM happened h
    WHERE h.type = 'counted'
),
-- The last says nothing: there are places that only events, or snapshots to come, know of.
said AS (
    SELECT * FROM reported
    UNION ALL SELECT * FROM left_out
    UNION ALL SELECT * FROM counted
    UNION ALL
    SELECT sku, location, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM spoken_places
),
-- Which of two counts, as a number: comparing numbers is cheaper, and there are few different ones.
ordered AS (
    SELECT *, row_number() OVER (ORDER BY taken_at, rank, tie) AS place
    FROM (SELECT DISTINCT taken_at, rank, tie FROM said)
),
-- Only the owner's word is part of a position.
owned_values AS (
    SELECT
        s.sku, s.location, s.taken_at, n.place,
        CASE WHEN o.on_hand_system = s.system THEN s.on_hand_milli END AS on_hand_milli,
        CASE WHEN o.damaged_system = s.system THEN s.damaged_milli END AS damaged_milli,
        CASE WHEN o.quality_control_system = s.system
            THEN s.quality_control_milli END AS quality_control_milli,
        CASE WHEN o.committed_system = s.system THEN s.committed_milli END AS committed_milli,
        CASE WHEN o.reserved_system = s.system THEN s.reserved_milli END AS reserved_milli,
        CASE WHEN o.incoming_system = s.system THEN s.incoming_milli END AS incoming_milli
    FROM said s
    LEFT JOIN ordered n ON n.taken_at = s.taken_at AND n.rank = s.rank AND n.tie = s.tie
    LEFT JOIN owned o ON o.location = s.location
)
SELECT
    sku,
    location,
    max_by(on_hand_milli, place) FILTER (on_hand_milli IS NOT NULL) AS on_hand_milli,
    max(taken_at) FILTER (on_hand_milli IS NOT NULL) AS on_hand_taken_at,
    max_by(damaged_milli, place) FILTER (damaged_milli IS NOT NULL) AS damaged_milli,
    max(taken_at) FILTER (damaged_milli IS NOT NULL) AS damaged_taken_at,
    max_by(quality_control_milli, place) FILTER (quality_control_milli IS NOT NULL) AS quality_control_milli,
    max(taken_at) FILTER (quality_control_milli IS NOT NULL) AS quality_control_taken_at,
    max_by(committed_milli, place) FILTER (committed_milli IS NOT NULL) AS committed_milli,
    max(taken_at) FILTER (committed_milli IS NOT NULL) AS committed_taken_at,
    max_by(reserved_milli, place) FILTER (reserved_milli IS NOT NULL) AS reserved_milli,
    max(taken_at) FILTER (reserved_milli IS NOT NULL) AS reserved_taken_at,
    max_by(incoming_milli, place) FILTER (incoming_milli IS NOT NULL) AS incoming_milli,
    max(taken_at) FILTER (incoming_milli IS NOT NULL) AS incoming_taken_at
FROM owned_values
GROUP BY sku, location

-- Complete snapshots that no later run needs at a location: a newer one there speaks of the same states,
-- with a value in each of its rows (SEMANTICS §3). In: cells, sweeps; $at.
-- Grain: one row a sweep to forget.
WITH gaps AS (
    SELECT
        system, as_of, source, location,
        bool_or(on_hand_milli IS NULL) AS on_hand,
        bool_or(damaged_milli IS NULL) AS damaged,
        bool_or(quality_control_milli IS NULL) AS quality_control,
        bool_or(committed_milli IS NULL) AS committed,
        bool_or(reserved_milli IS NULL) AS reserved,
        bool_or(incoming_milli IS NULL) AS incoming
    FROM cells
    GROUP BY system, as_of, source, location
),
whole AS (
    SELECT
        s.system, s.as_of, s.source, s.location,
        s.on_hand AND NOT coalesce(g.on_hand, false) AS on_hand,
        s.damaged AND NOT coalesce(g.damaged, false) AS damaged,
        s.quality_control AND NOT coalesce(g.quality_control, false) AS quality_control,
        s.committed AND NOT coalesce(g.committed, false) AS committed,
        s.reserved AND NOT coalesce(g.reserved, false) AS reserved,
        s.incoming AND NOT coalesce(g.incoming, false) AS incoming
    FROM sweeps s
    LEFT JOIN gaps g
        ON g.system = s.system AND g.as_of = s.as_of AND g.source = s.source
        AND g.location = s.location
    WHERE s.as_of <= $at::TIMESTAMP - INTERVAL 1 HOUR
)
SELECT DISTINCT s.system, s.as_of, s.source, s.location
FROM sweeps s
JOIN whole w
    ON w.system = s.system AND w.location = s.location
    AND (w.as_of > s.as_of OR (w.as_of = s.as_of AND w.source > s.source))
WHERE (w.on_hand OR NOT s.on_hand)
  AND (w.damaged OR NOT s.damaged)
  AND (w.quality_control OR NOT s.quality_control)
  AND (w.committed OR NOT s.committed)
  AND (w.reserved OR NOT s.reserved)
  AND (w.incoming OR NOT s.incoming)

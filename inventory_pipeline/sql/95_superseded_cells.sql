-- Cells that no later run needs: each of their states has a newer value (SEMANTICS §3).
-- An hour is kept in any case, so that a clock that goes back finds what it needs.
-- In: cells, sweeps; $at. Grain: one row a cell to forget.
WITH settled AS (
    SELECT * FROM cells WHERE as_of <= $at::TIMESTAMP - INTERVAL 1 HOUR
),
followed AS (
    SELECT
        system, as_of, source, item_no, location,
        on_hand_milli, damaged_milli, quality_control_milli, committed_milli, reserved_milli,
        incoming_milli,
        count(on_hand_milli) OVER newer > 0 AS on_hand_again,
        count(damaged_milli) OVER newer > 0 AS damaged_again,
        count(quality_control_milli) OVER newer > 0 AS quality_control_again,
        count(committed_milli) OVER newer > 0 AS committed_again,
        count(reserved_milli) OVER newer > 0 AS reserved_again,
        count(incoming_milli) OVER newer > 0 AS incoming_again
    FROM settled
    WINDOW newer AS (
        PARTITION BY system, item_no, location ORDER BY as_of, source
        ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
)
SELECT f.system, f.as_of, f.source, f.item_no, f.location
FROM followed f
-- Without its row a complete snapshot would say 0 of the item.
LEFT JOIN sweeps s
    ON s.system = f.system AND s.as_of = f.as_of AND s.source = f.source
    AND s.location = f.location
WHERE (on_hand_again OR (on_hand_milli IS NULL AND NOT coalesce(s.on_hand, false)))
  AND (damaged_again OR (damaged_milli IS NULL AND NOT coalesce(s.damaged, false)))
  AND (quality_control_again
       OR (quality_control_milli IS NULL AND NOT coalesce(s.quality_control, false)))
  AND (committed_again OR (committed_milli IS NULL AND NOT coalesce(s.committed, false)))
  AND (reserved_again OR (reserved_milli IS NULL AND NOT coalesce(s.reserved, false)))
  AND (incoming_again OR (incoming_milli IS NULL AND NOT coalesce(s.incoming, false)))

-- Soft holds that are open at the evaluation time (SEMANTICS §4).
-- In: happened, events, systems, channels; $at. Grain: one row a reserved event and component.
-- Empty unless: happened WHERE type = 'reserved'
WITH held AS (
    SELECT * FROM happened
    WHERE type = 'reserved' AND (expires_at IS NULL OR expires_at > $at)
),
named AS (
    SELECT DISTINCT system, reservation_id FROM held
),
-- A release closes its reservation for good, and its first event may name another item.
whole AS (
    SELECT
        e.system,
        e.reservation_id,
        min(e.occurred_at) FILTER (e.type = 'reserved') AS first_event_at,
        bool_or(e.type = 'reservation_released') AS released
    FROM events e
    SEMI JOIN named n ON n.system = e.system AND n.reservation_id = e.reservation_id
    WHERE e.occurred_at <= $at AND e.type IN ('reserved', 'reservation_released')
    GROUP BY e.system, e.reservation_id
)
SELECT
    h.system,
    h.reservation_id,
    h.event_id,
    h.sku,
    h.item,
    h.location,
    c.channel,
    w.first_event_at,
    h.expires_at,
    h.quantity_milli
FROM held h
JOIN whole w ON w.system = h.system AND w.reservation_id = h.reservation_id
LEFT JOIN channels c ON c.channel = h.channel
WHERE NOT w.released

-- Shipments that the warehouse proves: goods_issued that name an order line, from a system that owns
-- on_hand there (SEMANTICS §5). The line of its own system counts, else that of the one other system
-- that has it; if several have it, nothing is proved.
-- In: happened, lines, owned. Grain: one row an event and component.
-- Empty unless: lines
WITH issued AS (
    SELECT h.*
    FROM happened h
    JOIN owned o ON o.location = h.location AND o.on_hand_system = h.system
    WHERE h.type = 'goods_issued'
),
candidates AS (
    SELECT
        i.*,
        l.system AS line_system,
        count(*) OVER (PARTITION BY i.system, i.event_id, i.sku) AS systems_with_the_line
    FROM issued i
    JOIN lines l ON l.order_id = i.order_id AND l.line_id = i.line_id
)
SELECT
    line_system AS system,
    order_id,
    line_id,
    sku,
    location,
    quantity_milli,
    item,
    item_quantity_milli,
    system AS issuing_system,
    event_id
FROM candidates
WHERE line_system = system OR systems_with_the_line = 1

-- Order lines in units of the item that was ordered, bundles not exploded: what contracts and preorders
-- count (SEMANTICS §6, steps 3 and 8).
-- In: order_events, lines, proofs, line_units, items, scope. Grain: system, order_id, line_id.
-- Empty unless: lines, rules WHERE rules.slot IN ('contract', 'preorder')
WITH proved AS (
    SELECT system, order_id, line_id, item, sum(item_quantity_milli) AS proved_milli
    FROM (
        SELECT DISTINCT system, order_id, line_id, item, issuing_system, event_id,
            item_quantity_milli
        FROM proofs)
    GROUP BY system, order_id, line_id, item
),
told AS (
    SELECT
        l.system, l.order_id, l.line_id,
        coalesce(sum(e.quantity_milli)
            FILTER (e.type IN ('order_placed', 'order_adjusted')), 0) AS ordered_milli,
        coalesce(sum(e.quantity_milli)
            FILTER (e.type = 'order_cancelled'), 0) AS cancelled_milli,
        coalesce(sum(e.quantity_milli)
            FILTER (e.type = 'order_fulfilled'), 0) AS fulfilled_milli,
        coalesce(sum(e.quantity_milli)
            FILTER (e.type = 'fulfilment_cancelled'), 0) AS taken_back_milli
    FROM lines l
    SEMI JOIN scope ON scope.sku = l.item
    JOIN order_events e
        ON e.system = l.system AND e.order_id = l.order_id AND e.line_id = l.line_id
        AND (e.item = l.item OR (e.item IS NULL AND e.type = 'order_cancelled'))
    GROUP BY l.system, l.order_id, l.line_id
)
SELECT
    l.system,
    l.order_id,
    l.line_id,
    l.item AS sku,
    l.channel,
    l.location,
    l.first_placed_at,
    -- A failed payment gives nothing back; a cancel without quantity leaves what was shipped.
    CASE WHEN l.cancelled
        THEN greatest(0, greatest(coalesce(p.proved_milli, 0), t.fulfilled_milli)
                         - t.taken_back_milli)
        ELSE greatest(0, t.ordered_milli - t.cancelled_milli)
    END::BIGINT AS contracted_milli,
    -- Only a simple item can be on preorder.
    coalesce(u.open_milli, 0) AS open_milli
FROM told t
JOIN lines l ON l.system = t.system AND l.order_id = t.order_id AND l.line_id = t.line_id
LEFT JOIN proved p
    ON p.system = l.system AND p.order_id = l.order_id AND p.line_id = l.line_id
    AND p.item = l.item
LEFT JOIN line_units u
    ON u.system = l.system AND u.order_id = l.order_id AND u.line_id = l.line_id
    AND u.sku = l.item

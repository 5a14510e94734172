-- What each event posts to on_hand, damaged, quality_control and incoming (SEMANTICS §4).
-- In: happened, reference_postings, proofs, owned. Grain: one row a posting, signed.
-- A state is posted only by its owner at that location.
-- Empty unless: happened
WITH proved AS (
    SELECT DISTINCT system, order_id, line_id, sku, location FROM proofs
),
moves AS (
    SELECT
        h.*,
        CASE WHEN h.type = 'transfer_received' THEN h.to_location ELSE h.location END AS place,
        CASE
            WHEN h.type IN ('goods_received', 'transfer_received', 'adjusted') THEN 1
            WHEN h.type IN ('goods_issued', 'transfer_shipped', 'pos_sale') THEN -1
            WHEN h.type = 'returned' AND h.disposition IN ('restock', 'inspect') THEN 1
            -- Already posted by the goods_issued that proves it.
            WHEN h.type IN ('order_fulfilled', 'fulfilment_cancelled') AND p.sku IS NOT NULL THEN 0
            WHEN h.type = 'order_fulfilled' THEN -1
            WHEN h.type = 'fulfilment_cancelled' THEN 1
            ELSE 0
        END AS on_hand_sign,
        CASE WHEN h.type = 'damaged' THEN 1 ELSE 0 END AS damaged_sign,
        CASE
            WHEN h.type = 'quality_held' THEN 1
            WHEN h.type = 'returned' AND h.disposition = 'inspect' THEN 1
            ELSE 0
        END AS quality_control_sign
    FROM happened h
    LEFT JOIN proved p
        ON p.system = h.system AND p.order_id = h.order_id AND p.line_id = h.line_id
        AND p.sku = h.sku AND p.location = h.location
)
SELECT 'on_hand' AS state, m.sku, m.place AS location, m.occurred_at,
    m.on_hand_sign * m.quantity_milli AS quantity_milli
FROM moves m JOIN owned o ON o.location = m.place AND o.on_hand_system = m.system
WHERE m.on_hand_sign <> 0
UNION ALL
SELECT 'damaged', m.sku, m.place, m.occurred_at, m.quantity_milli
FROM moves m JOIN owned o ON o.location = m.place AND o.damaged_system = m.system
WHERE m.damaged_sign <> 0
UNION ALL
SELECT 'quality_control', m.sku, m.place, m.occurred_at, m.quantity_milli
FROM moves m JOIN owned o ON o.location = m.place AND o.quality_control_system = m.system
WHERE m.quality_control_sign <> 0
UNION ALL
SELECT 'incoming', sku, location, occurred_at, quantity_milli
FROM reference_postings

-- What each order line still promises, per component (SEMANTICS §5).
-- In: happened, order_events, lines, proofs, snapshot_values, owned, components, scope.
-- Grain: system, order_id, line_id, sku. Units: thousandths.
-- Empty unless: lines
WITH proved_there AS (
    SELECT DISTINCT system, order_id, line_id, sku, location FROM proofs
),
-- A shop's word about a shipment counts once the owner of on_hand has accounted for it.
told AS (
    SELECT
        h.system, h.order_id, h.line_id, h.sku, h.type, h.quantity_milli,
        h.type = 'order_fulfilled' AND coalesce(
            (o.on_hand_system = h.system AND p.sku IS NULL)
            OR v.on_hand_taken_at - to_microseconds(o.on_hand_lag_us) >= h.occurred_at,
            false) AS accounted
    FROM happened h
    LEFT JOIN owned o ON o.location = h.location
    LEFT JOIN snapshot_values v ON v.sku = h.sku AND v.location = h.location
    LEFT JOIN proved_there p
        ON p.system = h.system AND p.order_id = h.order_id AND p.line_id = h.line_id
        AND p.sku = h.sku AND p.location = h.location
    WHERE h.line_id IS NOT NULL
      AND h.type IN (
          'order_placed', 'order_adjusted', 'order_cancelled', 'order_fulfilled',
          'fulfilment_cancelled')
    UNION ALL
    SELECT system, order_id, line_id, sku, 'proved', quantity_milli, true FROM proofs
    UNION ALL
    -- A cancel may leave the item out: it is the line's own.
    SELECT e.system, e.order_id, e.line_id, coalesce(x.component, l.item), e.type,
        e.quantity_milli * coalesce(x.quantity_milli, 1000) // 1000, false
    FROM order_events e
    JOIN lines l ON l.system = e.system AND l.order_id = e.order_id AND l.line_id = e.line_id
    LEFT JOIN components x ON x.sku = l.item
    SEMI JOIN scope ON scope.sku = coalesce(x.component, l.item)
    WHERE e.type = 'order_cancelled' AND e.item IS NULL AND e.quantity_milli IS NOT NULL
),
summed AS (
    SELECT
        system, order_id, line_id, sku,
        coalesce(sum(quantity_milli)
            FILTER (type IN ('order_placed', 'order_adjusted')), 0)::BIGINT AS ordered_milli,
        coalesce(sum(quantity_milli)
            FILTER (type = 'order_cancelled'), 0)::BIGINT AS cancelled_milli,
        coalesce(sum(quantity_milli) FILTER (type = 'proved'), 0)::BIGINT AS proved_milli,
        coalesce(sum(quantity_milli)
            FILTER (type = 'order_fulfilled' AND accounted), 0)::BIGINT AS said_milli,
        coalesce(sum(quantity_milli)
            FILTER (type = 'order_fulfilled'), 0)::BIGINT AS fulfilled_milli,
        coalesce(sum(quantity_milli)
            FILTER (type = 'fulfilment_cancelled'), 0)::BIGINT AS taken_back_milli
    FROM told
    GROUP BY system, order_id, line_id, sku
),
shipped AS (
    SELECT
        *,
        greatest(0, greatest(proved_milli, said_milli) - taken_back_milli) AS shipped_milli,
        greatest(0, greatest(proved_milli, fulfilled_milli) - taken_back_milli)
            AS shipped_any_milli
    FROM summed
),
terms AS (
    SELECT
        s.*, l.item, l.location, l.channel, l.first_event_at, l.first_placed_at, l.cancelled,
        l.payment_failed,
        CASE WHEN l.cancelled OR l.payment_failed THEN 0
            ELSE greatest(0, ordered_milli - cancelled_milli - shipped_any_milli)
        END AS not_shipped_milli,
        greatest(0, least(shipped_any_milli, ordered_milli) - shipped_milli)
            AS awaiting_shipment_proof_milli
    FROM shipped s
    JOIN lines l ON l.system = s.system AND l.order_id = s.order_id AND l.line_id = s.line_id
)
SELECT
    system, order_id, line_id, sku, item, location, channel, first_event_at, first_placed_at,
    ordered_milli, cancelled_milli, proved_milli, said_milli, shipped_milli, shipped_any_milli,
    cancelled, payment_failed, not_shipped_milli, awaiting_shipment_proof_milli,
    not_shipped_milli + awaiting_shipment_proof_milli AS open_milli
FROM terms

-- What each event posts to incoming, and what stays open on its reference (SEMANTICS §4).
-- In: happened, owned. Grain: one row an event and sku; open is kept per (reference, destination, sku)
-- in the order of occurred_at, additions before receipts, and never falls below 0.
-- Empty unless: happened WHERE reference IS NOT NULL
WITH destined AS (
    SELECT
        *,
        CASE WHEN type IN ('transfer_shipped', 'transfer_received')
            THEN to_location ELSE location END AS destination
    FROM happened
    WHERE reference IS NOT NULL
      AND type IN ('goods_expected', 'goods_received', 'transfer_shipped', 'transfer_received')
),
judged AS (
    SELECT
        d.*,
        coalesce(owner.incoming_system = d.system, false) AS by_owner,
        d.type IN ('goods_expected', 'transfer_shipped') AS adds
    FROM destined d
    LEFT JOIN owned owner ON owner.location = d.destination
),
-- Where incoming's owner has itself reported a reference, only its report counts.
owner_reported AS (
    SELECT DISTINCT reference, destination, sku FROM judged WHERE by_owner AND adds
),
counting AS (
    SELECT j.*
    FROM judged j
    LEFT JOIN owned shipper ON shipper.location = j.location
    LEFT JOIN owner_reported r
        ON r.reference = j.reference AND r.destination = j.destination AND r.sku = j.sku
    WHERE j.by_owner
       OR (j.type = 'transfer_shipped' AND shipper.on_hand_system = j.system
           AND r.reference IS NULL)
),
running AS (
    SELECT
        reference, destination, sku, occurred_at, adds, event_id, system, expected_at,
        (sum(CASE WHEN adds THEN quantity_milli ELSE -quantity_milli END) OVER in_order)::BIGINT
            AS running_milli
    FROM counting
    WINDOW in_order AS (
        PARTITION BY reference, destination, sku
        ORDER BY occurred_at, NOT adds, event_id, system ROWS UNBOUNDED PRECEDING)
),
opened AS (
    SELECT
        *,
        -- A sum that may not fall below 0 is the plain sum lifted by its lowest point so far.
        running_milli - least(0, min(running_milli) OVER in_order) AS open_milli
    FROM running
    WINDOW in_order AS (
        PARTITION BY reference, destination, sku
        ORDER BY occurred_at, NOT adds, event_id, system ROWS UNBOUNDED PRECEDING)
)
SELECT
    reference,
    destination AS location,
    sku,
    occurred_at,
    expected_at,
    event_id,
    open_milli,
    open_milli - lag(open_milli, 1, 0) OVER in_order AS quantity_milli,
    row_number() OVER (
        PARTITION BY reference, destination, sku
        ORDER BY occurred_at DESC, adds, event_id DESC, system DESC) = 1 AS latest
FROM opened
WINDOW in_order AS (
    PARTITION BY reference, destination, sku
    ORDER BY occurred_at, NOT adds, event_id, system)

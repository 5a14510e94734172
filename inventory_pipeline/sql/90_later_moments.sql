-- Moments at which time alone will change a number of the items in scope (architecture: the hot path).
-- A rule's own dates are not among them: the next one stands in `rules`.
-- In: events, cells, sweeps, components, open_reservations, reference_postings, buckets,
-- rulebook, sales, blindness, scope; $at. Grain: sku, due_at, after $at.
-- Empty unless: (SELECT 1 FROM events WHERE occurred_at > $at
--   UNION ALL SELECT 1 FROM cells WHERE as_of > $at UNION ALL SELECT 1 FROM sweeps WHERE as_of > $at
--   UNION ALL SELECT 1 FROM open_reservations UNION ALL SELECT 1 FROM reference_postings
--   UNION ALL SELECT 1 FROM rulebook WHERE buffer_auto_window_us IS NOT NULL)
WITH dated_ahead AS (
    SELECT e.*
    FROM events e WHERE e.occurred_at > $at
),
by_event AS (
    SELECT occurred_at AS due_at, sku FROM dated_ahead
    UNION ALL
    SELECT d.occurred_at, e.sku
    FROM dated_ahead d JOIN events e ON e.order_id = d.order_id
    UNION ALL
    SELECT d.occurred_at, e.sku
    FROM dated_ahead d
    JOIN events e ON e.system = d.system AND e.reservation_id = d.reservation_id
),
by_snapshot AS (
    SELECT c.as_of AS due_at, s.sku
    FROM cells c JOIN scope s ON s.item_no = c.item_no
    WHERE c.as_of > $at
    UNION ALL
    SELECT s.as_of, scope.sku FROM sweeps s CROSS JOIN scope WHERE s.as_of > $at
),
by_expiry AS (
    SELECT expires_at AS due_at, sku FROM open_reservations WHERE expires_at > $at
),
by_horizon AS (
    SELECT r.expected_at - to_microseconds(b.preorder_horizon_us) AS due_at, r.sku
    FROM reference_postings r
    JOIN scope i ON i.sku = r.sku
    JOIN rulebook b ON b.profile = i.profile
    WHERE r.expected_at IS NOT NULL AND b.preorder_horizon_us IS NOT NULL
),
-- An auto buffer moves when a sale leaves its window and at each quarter of an hour of blindness.
automatic AS (
    SELECT DISTINCT i.sku, k.channel, k.bucket, b.buffer_auto_window_us AS window_us
    FROM scope i
    JOIN rulebook b ON b.profile = i.profile
    JOIN buckets k ON k.bucket_no = b.bucket_no
    WHERE b.buffer_auto_window_us IS NOT NULL
),
by_window AS (
    SELECT s.occurred_at + to_microseconds(a.window_us) AS due_at, a.sku
    FROM automatic a
    JOIN sales s ON s.sku = a.sku AND s.channel = a.channel AND s.bucket = a.bucket
    WHERE s.occurred_at > $at - to_microseconds(a.window_us)
),
by_blindness AS (
    SELECT b.next_at AS due_at, a.sku
    FROM automatic a
    JOIN blindness b ON b.channel = a.channel AND b.bucket = a.bucket
    WHERE b.next_at IS NOT NULL
),
moments AS (
    SELECT e.due_at, coalesce(x.component, e.sku) AS sku
    FROM by_event e LEFT JOIN components x ON x.sku = e.sku
    UNION ALL SELECT due_at, sku FROM by_snapshot
    UNION ALL SELECT due_at, sku FROM by_expiry
    UNION ALL SELECT due_at, sku FROM by_horizon
    UNION ALL SELECT due_at, sku FROM by_window
    UNION ALL SELECT due_at, sku FROM by_blindness
)
SELECT DISTINCT m.due_at, m.sku
FROM moments m
SEMI JOIN scope ON scope.sku = m.sku
WHERE m.due_at > $at

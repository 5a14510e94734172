-- Which items a batch can have changed: the scope of an incremental run (SEMANTICS §3 to §6).
-- In: events, cells, sweeps, positions, wakeups, explosion,
-- blindness, last_blindness, rules, rule_profiles, items; $reached (offset of the last run), $at.
-- Out: sku, with the times of the newest event that touched it (null where none did).
WITH arrived AS (
    SELECT * FROM events WHERE ledger_offset > $reached
),
-- An order is seen by several systems, and some of its events name no item.
by_order AS (
    SELECT e.sku, a.ledger_offset, a.occurred_at, a.received_at
    FROM arrived a JOIN events e ON e.order_id = a.order_id
),
by_reservation AS (
    SELECT e.sku, a.ledger_offset, a.occurred_at, a.received_at
    FROM arrived a
    JOIN events e ON e.system = a.system AND e.reservation_id = a.reservation_id
),
by_event AS (
    SELECT sku, ledger_offset, occurred_at, received_at FROM arrived
    UNION ALL
    SELECT sku, ledger_offset, occurred_at, received_at FROM by_order
    UNION ALL
    SELECT sku, ledger_offset, occurred_at, received_at FROM by_reservation
),
by_snapshot AS (
    SELECT sku FROM cells WHERE ledger_offset > $reached
    UNION
    -- A complete snapshot says 0 of what it leaves out.
    SELECT p.sku
    FROM positions p
    JOIN sweeps s ON s.location = p.location
    WHERE s.ledger_offset > $reached
),
by_time AS (
    SELECT sku FROM wakeups WHERE due_at <= $at
),
-- An owner that was heard again makes every auto buffer that waits for it smaller.
by_blindness AS (
    SELECT i.sku
    FROM rules r
    JOIN rule_profiles p ON p.rule_no = r.rule_no
    JOIN items i ON i.profile = p.profile
    WHERE r.auto_factor_millionths IS NOT NULL
      AND EXISTS (
          SELECT 1 FROM blindness b
          LEFT JOIN last_blindness was ON was.channel = b.channel AND was.bucket = b.bucket
          WHERE was.quarters IS DISTINCT FROM b.quarters)
),
touched AS (
    SELECT sku, ledger_offset, occurred_at, received_at FROM by_event WHERE sku IS NOT NULL
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_snapshot
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_time
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_blindness
),
components AS (
    SELECT x.component AS sku, t.ledger_offset, t.occurred_at, t.received_at
    FROM touched t JOIN explosion x ON x.sku = t.sku
),
-- A simple item contains itself, so this holds the components and every bundle with one of them.
containing AS (
    SELECT x.sku, c.ledger_offset, c.occurred_at, c.received_at
    FROM components c JOIN explosion x ON x.component = c.sku
),
-- A bundle needs all of its components computed, the untouched ones too.
needed AS (
    SELECT sku, ledger_offset, occurred_at, received_at FROM containing
    UNION ALL
    SELECT x.component, NULL, NULL, NULL
    FROM containing c JOIN explosion x ON x.sku = c.sku
)
SELECT
    sku,
    max_by(occurred_at, ledger_offset) AS occurred_at,
    max_by(received_at, ledger_offset) AS received_at
FROM needed
GROUP BY sku

-- Which items a batch can have changed: the scope of an incremental run (SEMANTICS §3 to §6).
-- In: events, cells, sweeps, stock, locations, wakeups, components, blindness, last_blindness, rules,
-- rule_profiles, items, item_numbers; $reached (offset of the last run), $since (its time), $at.
-- Out: sku, with the offset of the newest entry that touched it (caused_by) and the times of the newest
-- event that did; null where none did.
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
    SELECT item_no, ledger_offset FROM cells WHERE ledger_offset > $reached
    UNION
    -- A complete snapshot says 0 of what it leaves out.
    SELECT k.item_no, s.ledger_offset
    FROM sweeps s
    JOIN locations l ON l.location = s.location
    JOIN stock k ON list_contains(k.location_nos, l.location_no)
    WHERE s.ledger_offset > $reached
),
by_time AS (
    SELECT sku FROM wakeups WHERE due_at <= $at
),
-- A rule began or ended.
by_rule AS (
    SELECT i.sku
    FROM rules r
    JOIN rule_profiles p ON p.rule_no = r.rule_no
    JOIN items i ON i.profile = p.profile
    WHERE (r.from_at > $since AND r.from_at <= $at) OR (r.until_at > $since AND r.until_at <= $at)
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
    SELECT n.sku, b.ledger_offset, NULL, NULL
    FROM by_snapshot b JOIN item_numbers n ON n.item_no = b.item_no
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_rule
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_time
    UNION ALL
    SELECT sku, NULL, NULL, NULL FROM by_blindness
),
-- What each of them is made of; an item that is no bundle is its own only part.
parts AS (
    SELECT coalesce(x.component, t.sku) AS sku, t.ledger_offset, t.occurred_at, t.received_at
    FROM touched t LEFT JOIN components x ON x.sku = t.sku
),
containing AS (
    SELECT sku, ledger_offset, occurred_at, received_at FROM parts
    UNION ALL
    SELECT x.sku, p.ledger_offset, p.occurred_at, p.received_at
    FROM parts p JOIN components x ON x.component = p.sku
),
-- A bundle needs all of its components computed, the untouched ones too.
needed AS (
    SELECT sku, ledger_offset, occurred_at, received_at FROM containing
    UNION ALL
    SELECT x.component, NULL, NULL, NULL
    FROM containing c JOIN components x ON x.sku = c.sku
)
SELECT
    sku,
    max(ledger_offset) AS caused_by,
    max_by(occurred_at, ledger_offset) AS occurred_at,
    max_by(received_at, ledger_offset) AS received_at
FROM needed
GROUP BY sku

-- Where positions of the items in scope can have changed: events speak of the place, or a snapshot that
-- came since the last run, or whose time has come since (SEMANTICS §3). Elsewhere they stay.
-- In: happened, lines, cells, sweeps, stock, locations, scope; $reached and $since: the offset and the
-- time of the last run, both before all entries where every position is to be computed; $at.
-- Grain: item_no, location.
WITH named AS (
    SELECT sku, location FROM happened WHERE location IS NOT NULL
    UNION ALL
    SELECT sku, to_location FROM happened WHERE to_location IS NOT NULL
    UNION ALL
    SELECT h.sku, l.location
    FROM happened h
    JOIN lines l ON l.system = h.system AND l.order_id = h.order_id AND l.line_id = h.line_id
    WHERE l.location IS NOT NULL
),
swept AS (
    SELECT location FROM sweeps
    WHERE ledger_offset > $reached OR (as_of > $since AND as_of <= $at)
)
SELECT s.item_no, s.sku, n.location
FROM named n
JOIN scope s ON s.sku = n.sku
UNION
SELECT s.item_no, s.sku, c.location
FROM cells c
JOIN scope s ON s.item_no = c.item_no
WHERE c.ledger_offset > $reached OR (c.as_of > $since AND c.as_of <= $at)
UNION
-- A complete snapshot says 0 of what it leaves out.
SELECT s.item_no, s.sku, l.location
FROM swept w
JOIN locations l ON l.location = w.location
JOIN stock k ON list_contains(k.location_nos, l.location_no)
JOIN scope s ON s.item_no = k.item_no

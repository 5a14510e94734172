-- Positions as one row an item, those that were not computed as they were.
-- In: balances, locations, stock, scope. Grain: item_no, for items with stock of their own. Element n of
-- a list is location n: net_milli is on_hand less damaged, quality_control, committed and reserved, 0
-- where nothing is known; location_nos names the locations where there is a position.
WITH numbered AS (
    SELECT range(1, coalesce(max(location_no), 0) + 1) AS numbers FROM locations
),
computed AS (
    SELECT
        s.item_no,
        list(struct_pack(
            location_no := l.location_no,
            net_milli := b.on_hand_milli - b.damaged_milli - b.quality_control_milli
                - b.committed_milli - b.reserved_milli)) AS places
    FROM balances b
    JOIN scope s ON s.sku = b.sku
    JOIN locations l ON l.location = b.location
    WHERE s.kind = 'simple'
    GROUP BY s.item_no
),
beside AS (
    SELECT
        c.item_no,
        list_transform(c.places, lambda place: place.location_no) AS computed_nos,
        list_transform(c.places, lambda place: place.net_milli) AS net_milli,
        k.net_milli AS net_before,
        coalesce(k.location_nos, []) AS nos_before,
        n.numbers
    FROM computed c
    CROSS JOIN numbered n
    LEFT JOIN stock k ON k.item_no = c.item_no
)
SELECT
    item_no,
    list_transform(numbers, lambda no: coalesce(
        net_milli[list_position(computed_nos, no)], net_before[no], 0)) AS net_milli,
    list_distinct(list_concat(computed_nos, nos_before)) AS location_nos
FROM beside

-- The same as one row an item, as it is kept: what an item offers is read and replaced at once.
-- In: offers_now. Grain: item_no; the buckets of a list are in no order.
SELECT
    item_no,
    list(struct_pack(bucket_no := bucket_no, available_milli := available_milli)) AS buckets
FROM offers_now
GROUP BY item_no

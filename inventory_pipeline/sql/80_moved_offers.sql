-- Which offers are not what they were before the run.
-- In: offers_now, offer_differences, offers_before. Grain: bucket_no, item_no; before_milli is null for
-- a new offer.
SELECT
    n.item_no,
    n.bucket_no,
    n.available_milli,
    b.available_milli AS before_milli
FROM offers_now n
SEMI JOIN offer_differences d ON d.item_no = n.item_no
LEFT JOIN offers_before b ON b.item_no = n.item_no AND b.bucket_no = n.bucket_no
WHERE n.available_milli IS DISTINCT FROM b.available_milli

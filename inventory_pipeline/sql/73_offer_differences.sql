-- Items that do not offer what they did before the run. In: offer_rows, offers. Grain: item_no.
SELECT n.item_no, b.buckets AS buckets_before
FROM offer_rows n
LEFT JOIN offers b ON b.item_no = n.item_no
WHERE n.buckets IS DISTINCT FROM b.buckets

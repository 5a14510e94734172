-- What these items offered, one row a bucket. In: offer_differences. Grain: bucket_no, item_no.
SELECT item_no, offer.bucket_no AS bucket_no, offer.available_milli AS available_milli
FROM (SELECT item_no, unnest(buckets_before) AS offer FROM offer_differences)

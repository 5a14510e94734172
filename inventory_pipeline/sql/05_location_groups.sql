-- Locations that feed exactly the same buckets: their stock is added up once for all of these buckets
-- (SEMANTICS §6, step 2). In: buckets, bucket_locations, locations. Grain: group_no, from 1 without gaps.
-- Made when rules change.
WITH feeding AS (
    SELECT l.location_no, list(DISTINCT b.bucket_no) AS bucket_nos
    FROM buckets b
    JOIN bucket_locations f ON f.channel = b.channel AND f.bucket = b.bucket
    JOIN locations l ON l.location = f.location
    WHERE b.active
    GROUP BY l.location_no
),
grouped AS (
    SELECT
        list_sort(bucket_nos) AS bucket_nos,
        list(location_no ORDER BY location_no) AS location_nos
    FROM feeding
    GROUP BY list_sort(bucket_nos)
)
SELECT row_number() OVER (ORDER BY bucket_nos) AS group_no, bucket_nos, location_nos
FROM grouped

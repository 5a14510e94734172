-- Where each bucket sells from, as numbers for lists of stock (SEMANTICS §6, step 2). Buckets that sell
-- from the same locations share a set; those in whose view rules keep back the same, a view.
-- In: buckets, location_groups, location_terms. Grain: bucket_no; only buckets of channels not off.
-- Made when rules change.
WITH fed AS (
    SELECT
        unnest(bucket_nos) AS bucket_no,
        group_no,
        location_nos
    FROM location_groups
),
places AS (
    SELECT
        bucket_no,
        list(group_no ORDER BY group_no) AS group_nos,
        list_sort(flatten(list(location_nos))) AS location_nos
    FROM fed
    GROUP BY bucket_no
),
seen AS (
    SELECT
        b.bucket_no,
        list((t.profile, t.location_no, t.safety_stock_milli, t.location_reserve_milli)
            ORDER BY t.profile, t.location_no) AS terms
    FROM buckets b
    LEFT JOIN location_terms t ON t.bucket_no = b.bucket_no
    WHERE b.active
    GROUP BY b.bucket_no
)
SELECT
    s.bucket_no,
    coalesce(p.location_nos, []) AS location_nos,
    coalesce(p.group_nos, []) AS group_nos,
    dense_rank() OVER (ORDER BY coalesce(p.group_nos, [])) AS set_no,
    min(s.bucket_no) OVER (PARTITION BY s.terms) AS view_no
FROM seen s
LEFT JOIN places p ON p.bucket_no = s.bucket_no

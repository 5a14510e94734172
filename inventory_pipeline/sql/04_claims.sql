-- protect and contract rules that concern a bucket: other channels' claims on its pool, and the
-- channel's own contracts (SEMANTICS §6, steps 3 and 7). These add up; none wins over another.
-- In: rules, rule_profiles, rule_locations, buckets, bucket_locations; $at.
-- Grain: profile, bucket_no, rule.
-- Made when rules change.
-- Empty unless: rules WHERE slot IN ('protect', 'contract')
WITH active AS (
    SELECT * FROM rules
    WHERE slot IN ('protect', 'contract')
      AND (from_at IS NULL OR from_at <= $at) AND (until_at IS NULL OR $at < until_at)
),
-- With locations a rule counts where one of them feeds the bucket; without, where a bucket of its
-- channel shares a location with it.
reach AS (
    SELECT a.rule_no, f.channel, f.bucket
    FROM active a
    JOIN rule_locations l ON l.rule_no = a.rule_no
    JOIN bucket_locations f ON f.location = l.location
    WHERE a.has_locations
    UNION
    SELECT a.rule_no, f.channel, f.bucket
    FROM active a
    JOIN bucket_locations own ON own.channel = a.for_channel
    JOIN bucket_locations f ON f.location = own.location
    WHERE NOT a.has_locations
)
SELECT
    r.profile,
    b.bucket_no,
    a.rule_no,
    a.rule,
    a.slot AS kind,
    a.for_channel = b.channel AS own,
    a.exclusive,
    a.units_milli
FROM active a
JOIN reach ON reach.rule_no = a.rule_no
JOIN buckets b ON b.channel = reach.channel AND b.bucket = reach.bucket
JOIN rule_profiles r ON r.rule_no = a.rule_no
WHERE b.active

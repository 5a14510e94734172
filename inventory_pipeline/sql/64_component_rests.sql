-- What is left of the pools of bundles' components after their own protections (SEMANTICS §6,
-- Bundles). In: after_protect, with only these components priced. Grain: bucket_no, item_no.
-- Empty unless: scope WHERE kind = 'bundle'
SELECT item_no, bucket_no, after_protect_milli
FROM after_protect

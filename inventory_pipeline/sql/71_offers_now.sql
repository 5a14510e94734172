-- What each bucket may sell of each item in scope, before the channel's own unit (SEMANTICS §6).
-- In: waterfall. Grain: bucket_no, item_no. Units: thousandths of the base unit.
SELECT item_no, bucket_no, available_milli
FROM waterfall

-- The newest ledger entry that moved each desired quantity; null where time or rules moved it, and for
-- what was computed before this.
ALTER TABLE hub.outbox ADD COLUMN caused_by bigint;
ALTER TABLE hub.attempts ADD COLUMN caused_by bigint;

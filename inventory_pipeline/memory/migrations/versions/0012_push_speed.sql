-- The newest event of the listing's own channel (or what is known to be newer): where it is older than
-- the base, nothing has to be looked for in the ledger. Null: unknown, it is looked for.
ALTER TABLE hub.outbox ADD COLUMN own_at timestamptz;
UPDATE hub.outbox SET own_at = now();

-- What is appended in the order of time is appended at the right edge of an index.
DROP INDEX hub.attempts_recent;
CREATE INDEX attempts_recent ON hub.attempts (channel, sent_at);
DROP INDEX hub.attempts_newest;
CREATE INDEX attempts_newest ON hub.attempts (sent_at);

-- Until then the number is not raised: it was found lower than it had to be, and the order behind that
-- may still be on its way. Another desired value does not end that.
ALTER TABLE hub.outbox ADD COLUMN raise_after timestamptz;

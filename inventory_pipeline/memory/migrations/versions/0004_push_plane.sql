-- What the sender has to know of a listing. `waiting_since`: since when the channel has not shown
-- what it must (null: since computed_at). `falling_milli`: by how much desired fell of late, an
-- hour's old fall counting half. `failing_since`: the first of the failures that `attempts` counts.
-- `verify_at`: an acknowledged number is read then. `bases`: rises with every base, so that the same
-- number from another base is another intent. A shadow's base is no base for a channel that sends.
ALTER TABLE hub.outbox DROP CONSTRAINT outbox_base_kind_check;
ALTER TABLE hub.outbox
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN falling_milli bigint NOT NULL DEFAULT 0,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN verify_at timestamptz,
    ADD COLUMN bases bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT outbox_base_kind_check CHECK (base_kind IN ('write', 'reading', 'shadow'));
UPDATE hub.outbox o SET base_kind = 'shadow' FROM hub.attempts a
WHERE a.channel = o.channel AND a.bucket = o.bucket AND a.external_id = o.external_id
    AND a.sent_at = o.base_sent_at AND a.outcome = 'shadow' AND o.base_kind = 'write';

-- Which listings are looked at first: the smaller, the sooner. Decreases (and what nobody has read
-- yet) by what is left, the less the faster it falls; then increases from zero; then the rest. Which
-- of the listings looked at is sent first is decided again in core/outbox.py, with the channel's own
-- sales in it; the numbers are the same.
ALTER TABLE hub.outbox ADD COLUMN risk integer NOT NULL GENERATED ALWAYS AS (
    CASE
        WHEN desired_milli <= 0 AND (base_milli IS NULL OR unread OR base_milli > 0) THEN 0
        WHEN base_milli IS NULL OR unread OR desired_milli < base_milli
            THEN 1 + (600000 * greatest(desired_milli, 0)
                 / (greatest(desired_milli, 0) + greatest(falling_milli, 1000)))::integer
        WHEN base_milli <= 0 THEN 900000
        ELSE 1800000
    END
) STORED;
DROP INDEX hub.outbox_look;
CREATE INDEX outbox_look ON hub.outbox (channel, look_after)
    WHERE look AND dead_at IS NULL AND open_key IS NULL;
CREATE INDEX outbox_risk ON hub.outbox (channel, risk, coalesce(waiting_since, computed_at))
    WHERE look AND dead_at IS NULL AND open_key IS NULL;
CREATE INDEX outbox_age ON hub.outbox (channel, coalesce(waiting_since, computed_at))
    WHERE look AND dead_at IS NULL AND open_key IS NULL;
CREATE INDEX outbox_dead ON hub.outbox (channel, dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX outbox_shadow ON hub.outbox (channel) WHERE base_kind = 'shadow';

-- Room beside each row: a row that changes stays on its page.
ALTER TABLE hub.outbox SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Batches under way: stored before the request leaves, gone when its answer is stored. What became
-- of each write is in hub.attempts then.
--   sent      no answer yet
--   again     outcome unknown: sent again as it is, with the same key, at `due_at`
--   accepted  not applied yet: asked about at `due_at` with `receipt`
-- After `until` nothing is repeated or asked any more: the listings are read.
CREATE TABLE hub.intents (
    channel text NOT NULL,
    key text NOT NULL,
    epoch bigint NOT NULL,
    mode text NOT NULL,
    state text NOT NULL DEFAULT 'sent' CHECK (state IN ('sent', 'again', 'accepted')),
    sent_at timestamptz NOT NULL,
    due_at timestamptz,
    until timestamptz,
    tries integer NOT NULL DEFAULT 1,
    receipt jsonb,
    buckets text[] NOT NULL,
    external_ids text[] NOT NULL,
    quantities bigint[] NOT NULL,
    written bigint[] NOT NULL,
    compared bigint[] NOT NULL,
    PRIMARY KEY (channel, key)
);
CREATE INDEX intents_due ON hub.intents (channel, due_at) WHERE due_at IS NOT NULL;

-- Attempts of the version before that nobody will answer any more.
UPDATE hub.outbox SET open_key = NULL, unread = true, look = true, looks = looks + 1,
    look_after = NULL WHERE open_key IS NOT NULL;
UPDATE hub.attempts SET outcome = 'unknown', answered_at = sent_at,
    error = 'the process that sent it ended before the answer' WHERE outcome IS NULL;
ALTER TABLE hub.attempts DROP CONSTRAINT attempts_outcome_check;
ALTER TABLE hub.attempts ADD CONSTRAINT attempts_outcome_check CHECK (outcome IN
    ('acked', 'accepted', 'stale', 'split', 'busy', 'refused', 'unknown', 'shadow'));

-- One circuit breaker a channel (core/breaker.py). `suspects`: listings that every failure of the
-- streak has in common, null for all; while there is one it may be to blame.
CREATE TABLE hub.breakers (
    channel text PRIMARY KEY,
    state text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open')),
    since timestamptz,
    why text NOT NULL DEFAULT '',
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    suspects text[],
    probes integer NOT NULL DEFAULT 0,
    next_probe_at timestamptz,
    paused_until timestamptz,
    acked_at timestamptz,
    failing text NOT NULL DEFAULT ''
);

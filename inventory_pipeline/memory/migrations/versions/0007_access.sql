-- Who may look, operate and approve. A token is shown once, when it is made; here is its SHA-256.
CREATE TABLE hub.tokens (
    token_id text PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('read', 'operate', 'approve')),
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);
CREATE UNIQUE INDEX tokens_name ON hub.tokens (name) WHERE revoked_at IS NULL;

-- What browser sessions and forms are signed with: made at the first use.
CREATE TABLE hub.signing_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret bytea NOT NULL
);

-- Every action of a person. Append-only.
CREATE TABLE hub.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    by text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL
);
CREATE INDEX audit_subject ON hub.audit (subject, audit_id DESC);
CREATE FUNCTION hub.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: what was done stays written';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON hub.audit
    FOR EACH STATEMENT EXECUTE FUNCTION hub.refuse_audit_change();

-- One row a channel and five minutes, for charts: pushes by their sent_at. Latencies are counts in
-- steps, each a fifth longer than the one before (memory/periods.py), so that periods add up to
-- hours. `event_steps`: from the event to the answer; `answer_steps`: from sending to the answer.
CREATE TABLE hub.channel_periods (
    channel text NOT NULL,
    begins_at timestamptz NOT NULL,
    acked integer NOT NULL,
    failed integer NOT NULL,
    other integer NOT NULL,
    event_steps integer[] NOT NULL,
    answer_steps integer[] NOT NULL,
    PRIMARY KEY (channel, begins_at)
);
CREATE TABLE hub.periods_cursor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rolled_to timestamptz
);
INSERT INTO hub.periods_cursor DEFAULT VALUES;

-- How a channel's listings stood when they were counted last: a count over millions of rows is not
-- for a page to wait for.
CREATE TABLE hub.channel_counts (
    channel text PRIMARY KEY,
    listings bigint NOT NULL,
    unwell bigint NOT NULL,
    waiting bigint NOT NULL,
    failed bigint NOT NULL,
    dead bigint NOT NULL,
    counted_at timestamptz NOT NULL,
    cost_ms integer NOT NULL
);

-- What pages ask for and had no index: few rows each, whatever the size of their table.
CREATE INDEX outbox_unwell ON hub.outbox (channel)
    WHERE look OR failure IS NOT NULL OR dead_at IS NOT NULL;
CREATE INDEX outbox_changed ON hub.outbox (channel, desired_offset, bucket, external_id);
CREATE INDEX attempts_newest ON hub.attempts (sent_at DESC);
CREATE INDEX ledger_sku_offset ON hub.ledger (sku, ledger_offset);
CREATE INDEX snapshots_landed ON hub.snapshots (landed_at DESC);
CREATE INDEX snapshots_accepted ON hub.snapshots (system, as_of DESC) WHERE status = 'accepted';
CREATE INDEX variances_closed ON hub.variances (closed_at DESC) WHERE closed_at IS NOT NULL;
CREATE INDEX inbox_failed ON hub.inbox (inbox_id) WHERE failure IS NOT NULL;

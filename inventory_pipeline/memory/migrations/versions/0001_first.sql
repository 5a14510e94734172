-- One sequence: everything that can change a number takes its offset from this row, just before its
-- transaction commits. A sequence or identity column would let a reader pass an uncommitted offset.
CREATE TABLE hub.counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_offset bigint NOT NULL
);
INSERT INTO hub.counter (ledger_offset) VALUES (0);

-- Append-only: no UPDATE, no DELETE (a trigger refuses both).
CREATE TABLE hub.ledger (
    ledger_offset bigint PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('event', 'snapshot', 'release', 'mapping', 'policy')),
    system text,
    event_id text,
    type text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    item text,
    sku text,
    quantity_milli bigint,
    external_location text,
    location text,
    external_to_location text,
    to_location text,
    reference text,
    order_id text,
    line_id text,
    reservation_id text,
    channel text,
    expires_at timestamptz,
    expected_at timestamptz,
    disposition text,
    reason text,
    snapshot_id bigint,
    mapping_version integer NOT NULL,
    source text NOT NULL,
    position text NOT NULL,
    content_hash bytea,
    raw jsonb
);
CREATE UNIQUE INDEX ledger_event_key ON hub.ledger (system, event_id) WHERE kind = 'event';
CREATE INDEX ledger_sku ON hub.ledger (sku, occurred_at);
CREATE INDEX ledger_order ON hub.ledger (system, order_id) WHERE order_id IS NOT NULL;

CREATE FUNCTION hub.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: corrections are entries, never edits';
END $$;
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON hub.ledger
    FOR EACH STATEMENT EXECUTE FUNCTION hub.refuse_change();

-- Snapshot register: accepted ones have an offset and a landing file, rejected ones a reason.
CREATE TABLE hub.snapshots (
    snapshot_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system text NOT NULL,
    feed text NOT NULL,
    source text NOT NULL,
    key text NOT NULL,
    as_of timestamptz,
    status text NOT NULL CHECK (status IN ('accepted', 'rejected')),
    reason text,
    message text,
    complete boolean NOT NULL DEFAULT false,
    states text[] NOT NULL DEFAULT '{}',
    data_rows integer NOT NULL,
    quarantined_rows integer NOT NULL DEFAULT 0,
    path text,
    ledger_offset bigint UNIQUE,
    landed_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (system, key, as_of)
);
CREATE INDEX snapshots_latest ON hub.snapshots (system, feed, as_of DESC);

CREATE TABLE hub.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('event', 'snapshot_row')),
    source text NOT NULL,
    position text NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    raw text NOT NULL,
    received_at timestamptz NOT NULL,
    released_at timestamptz,
    released_offset bigint
);
CREATE UNIQUE INDEX quarantine_row ON hub.quarantine (system, source, position, reason, md5(raw));

-- Where each feed of each system was read to. Moved in the transaction that stores what was read.
CREATE TABLE hub.feeds (
    system text NOT NULL,
    feed text NOT NULL,
    cursor jsonb NOT NULL DEFAULT '{}',
    read_at timestamptz,
    as_of timestamptz,
    failed_at timestamptz,
    failure text,
    PRIMARY KEY (system, feed)
);

-- What became of everything that systems sent: duplicates leave no other trace.
CREATE TABLE hub.intake (
    system text PRIMARY KEY,
    accepted bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    conflicting bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0
);

-- Webhooks, durable before they are answered; parsed afterwards.
CREATE TABLE hub.inbox (
    inbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system text NOT NULL,
    topic text NOT NULL,
    delivery_id text NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    url text NOT NULL,
    received_at timestamptz NOT NULL,
    done_at timestamptz,
    failure text
);
CREATE INDEX inbox_open ON hub.inbox (inbox_id) WHERE done_at IS NULL;

-- Versions of catalog/ (mapping) and of hub.yaml (policy), with the offset from which each counts.
CREATE TABLE hub.mapping_versions (
    version integer PRIMARY KEY,
    hash text NOT NULL,
    ledger_offset bigint NOT NULL,
    activated_at timestamptz NOT NULL,
    files jsonb NOT NULL
);
CREATE TABLE hub.policy_versions (
    version integer PRIMARY KEY,
    hash text NOT NULL,
    ledger_offset bigint NOT NULL,
    activated_at timestamptz NOT NULL,
    activated_by text NOT NULL,
    content text NOT NULL
);

-- How far the derived store is, who may drain (epoch), and when time alone will change a number.
CREATE TABLE hub.sync_cursor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_offset bigint NOT NULL DEFAULT 0,
    computed_at timestamptz,
    next_wakeup_at timestamptz,
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT ''
);
INSERT INTO hub.sync_cursor DEFAULT VALUES;

-- The outbox is a table of state, not a queue (SEMANTICS §8). Quantities in thousandths of the channel's unit.
CREATE TABLE hub.outbox (
    channel text NOT NULL,
    bucket text NOT NULL,
    external_id text NOT NULL,
    bucket_external text NOT NULL,
    sku text NOT NULL,
    units_milli bigint NOT NULL,
    desired_milli bigint NOT NULL,
    desired_offset bigint NOT NULL,
    policy_version integer NOT NULL,
    mapping_version integer NOT NULL,
    computed_at timestamptz NOT NULL,
    occurred_at timestamptz,
    received_at timestamptz,
    listed boolean NOT NULL DEFAULT true,
    base_milli bigint,
    base_kind text CHECK (base_kind IN ('write', 'reading')),
    base_sent_at timestamptz,
    base_answered_at timestamptz,
    unread boolean NOT NULL DEFAULT false,
    open_key text,
    look boolean NOT NULL DEFAULT true,
    looks bigint NOT NULL DEFAULT 0,
    look_after timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    failure text,
    dead_at timestamptz,
    PRIMARY KEY (channel, bucket, external_id)
);
CREATE INDEX outbox_look ON hub.outbox (channel, look_after) WHERE look;
CREATE INDEX outbox_sku ON hub.outbox (sku);

-- Every attempt: stored before the request leaves, answered afterwards.
CREATE TABLE hub.attempts (
    key text NOT NULL,
    channel text NOT NULL,
    bucket text NOT NULL,
    external_id text NOT NULL,
    sku text NOT NULL,
    epoch bigint NOT NULL,
    quantity_milli bigint NOT NULL,
    compare_milli bigint,
    desired_offset bigint NOT NULL,
    policy_version integer NOT NULL,
    mode text NOT NULL,
    occurred_at timestamptz,
    received_at timestamptz,
    computed_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL,
    answered_at timestamptz,
    outcome text CHECK (outcome IN
        ('acked', 'stale', 'split', 'busy', 'refused', 'unknown', 'shadow')),
    error text,
    PRIMARY KEY (channel, bucket, external_id, key)
);
CREATE INDEX attempts_recent ON hub.attempts (channel, sent_at DESC);
CREATE INDEX attempts_sku ON hub.attempts (sku, sent_at DESC);

CREATE TABLE hub.reconciliations (
    reconciliation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    comparison text NOT NULL CHECK (comparison IN ('channel', 'ledger', 'systems')),
    channel text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    ledger_offset bigint NOT NULL,
    compared integer NOT NULL DEFAULT 0,
    variances integer NOT NULL DEFAULT 0,
    reread integer NOT NULL DEFAULT 0
);
CREATE INDEX reconciliations_recent ON hub.reconciliations (comparison, channel, started_at DESC);

CREATE TABLE hub.variances (
    variance_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    comparison text NOT NULL CHECK (comparison IN ('channel', 'ledger', 'systems')),
    channel text,
    bucket text,
    external_id text,
    system text,
    location text,
    state text,
    sku text,
    expected_milli bigint,
    found_milli bigint,
    cause text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}',
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    closed_at timestamptz,
    heal text,
    healed_at timestamptz
);
CREATE UNIQUE INDEX variances_open ON hub.variances
    (comparison, channel, bucket, external_id, system, location, state, sku) NULLS NOT DISTINCT
    WHERE closed_at IS NULL;

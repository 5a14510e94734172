-- Listings that their channel says have changed: one row a listing, until it is known whether the
-- channel tells of anything new. `told_milli` null: no number was told. It is judged from `due_at`
-- on, when `ledger_offset` is computed: what was sold before it is counted by then.
CREATE TABLE hub.hints (
    channel text NOT NULL,
    bucket text NOT NULL,
    external_id text NOT NULL,
    told_milli bigint,
    told_at timestamptz,
    received_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    ledger_offset bigint NOT NULL,
    PRIMARY KEY (channel, bucket, external_id)
);

-- What people were told of, so that nothing is told twice: one row for each thing that is not well.
-- `told` is the level that the last message about it named; null: nobody was told yet.
CREATE TABLE hub.alerts (
    alert text PRIMARY KEY,
    subject text NOT NULL,
    level text NOT NULL CHECK (level IN ('warning', 'error')),
    message text NOT NULL,
    href text NOT NULL,
    since timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    well_since timestamptz,
    told text CHECK (told IN ('warning', 'error')),
    told_at timestamptz
);

-- Messages, stored before they are sent: one row for each place that a message goes to.
CREATE TABLE hub.notifications (
    notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL,
    target text NOT NULL,
    level text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    failure text,
    given_up_at timestamptz
);
CREATE INDEX notifications_open ON hub.notifications (due_at)
    WHERE sent_at IS NULL AND given_up_at IS NULL;

-- Places where less than nothing lies: kept up by each computation of positions.
CREATE TABLE hub.negative_positions (
    sku text NOT NULL,
    location text NOT NULL,
    on_hand_milli bigint NOT NULL,
    ledger_offset bigint NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (sku, location)
);

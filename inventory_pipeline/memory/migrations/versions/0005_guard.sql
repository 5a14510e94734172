-- What the guard holds, and what people decided about it (SEMANTICS §8). One row a listing, in the
-- channel's thousandths. `from_milli`: what the channel showed, less what orders had taken from it by
-- `from_offset`; later orders lower it further (the channel's own only if dated after `from_at`).
-- `desired_milli`: the newest number that is held, or the one that was decided about. A release
-- counts until `used_at`; the row stays for as long as the guard's window may still need it.
CREATE TABLE hub.holds (
    channel text NOT NULL,
    bucket text NOT NULL,
    external_id text NOT NULL,
    sku text NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'released', 'rejected')),
    from_milli bigint NOT NULL,
    from_offset bigint NOT NULL,
    from_at timestamptz NOT NULL,
    desired_milli bigint NOT NULL,
    why text NOT NULL,
    held_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text,
    reason text,
    used_at timestamptz,
    PRIMARY KEY (channel, bucket, external_id)
);

-- Up to which ledger offset orders were looked for that lower what is held.
CREATE TABLE hub.guard_cursor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_upto bigint NOT NULL DEFAULT 0
);
INSERT INTO hub.guard_cursor DEFAULT VALUES;

-- Up to which ledger offset the number that the channel shows was the desired one: noted when a
-- settled listing gets another desired value. Null: it was never settled.
ALTER TABLE hub.outbox ADD COLUMN right_upto bigint;
CREATE FUNCTION hub.note_right_upto() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.right_upto := (SELECT ledger_offset FROM hub.sync_cursor);
    RETURN NEW;
END $$;
CREATE TRIGGER outbox_right_upto BEFORE UPDATE OF desired_milli ON hub.outbox
    FOR EACH ROW
    WHEN (NOT OLD.look AND OLD.desired_milli IS DISTINCT FROM NEW.desired_milli)
    EXECUTE FUNCTION hub.note_right_upto();
-- What was computed since the guard counted last.
CREATE INDEX outbox_fresh ON hub.outbox (channel, computed_at) WHERE look;

-- Modes that a person has set below hub.yaml's own; they count at once and until they are lifted.
CREATE TABLE hub.mode_overrides (
    channel text PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('off', 'shadow', 'canary', 'live')),
    set_at timestamptz NOT NULL,
    set_by text NOT NULL,
    reason text NOT NULL
);

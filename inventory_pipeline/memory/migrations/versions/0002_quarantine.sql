-- An order or a reservation is looked up by its id alone, too: several systems see the same one.
DROP INDEX hub.ledger_order;
CREATE INDEX ledger_order ON hub.ledger (order_id, system) WHERE order_id IS NOT NULL;
CREATE INDEX ledger_reservation ON hub.ledger (reservation_id, system)
    WHERE reservation_id IS NOT NULL;

-- Events as a later catalogue maps them: the newest row of an entry counts. `held` means that this
-- catalogue does not accept it: out of the numbers until a later one does.
CREATE TABLE hub.remaps (
    ledger_offset bigint NOT NULL,
    mapping_offset bigint NOT NULL,
    sku text,
    quantity_milli bigint,
    held boolean NOT NULL,
    PRIMARY KEY (ledger_offset, mapping_offset)
);
CREATE INDEX remaps_mapping ON hub.remaps (mapping_offset);
CREATE INDEX remaps_sku ON hub.remaps (sku);
CREATE TRIGGER remaps_are_append_only BEFORE UPDATE OR DELETE ON hub.remaps
    FOR EACH STATEMENT EXECUTE FUNCTION hub.refuse_change();

-- Landed snapshots that came to mean something else. `release`: cells computed again with a row out
-- of quarantine; they count beside the snapshot's own and win over them. `mapping`: the whole
-- snapshot as a later catalogue maps it, in place of its file and of its releases before that.
CREATE TABLE hub.amendments (
    ledger_offset bigint NOT NULL,
    snapshot_offset bigint NOT NULL REFERENCES hub.snapshots (ledger_offset),
    kind text NOT NULL CHECK (kind IN ('release', 'mapping')),
    source text NOT NULL,
    path text NOT NULL,
    PRIMARY KEY (snapshot_offset, ledger_offset)
);
CREATE INDEX amendments_offset ON hub.amendments (ledger_offset);
CREATE TRIGGER amendments_are_append_only BEFORE UPDATE OR DELETE ON hub.amendments
    FOR EACH STATEMENT EXECUTE FUNCTION hub.refuse_change();

-- `ledger_offset`: the entry that a row belongs to, where one has it. `mapping_offset`: the change of
-- the catalogue that took it out of the numbers; a later one that accepts it takes it back by itself.
-- `accepted_once`: it was in the numbers as it came in, and not only since a release.
ALTER TABLE hub.quarantine
    ADD COLUMN ledger_offset bigint,
    ADD COLUMN mapping_offset bigint,
    ADD COLUMN accepted_once boolean NOT NULL DEFAULT false;
CREATE INDEX quarantine_open ON hub.quarantine (system, reason) WHERE released_at IS NULL;
CREATE INDEX quarantine_entry ON hub.quarantine (ledger_offset) WHERE ledger_offset IS NOT NULL;

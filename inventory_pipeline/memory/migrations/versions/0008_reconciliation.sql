-- What a variance costs and what was done about it. `units_milli`: base units in one compared unit;
-- `value`: price of the difference, null without a price; `alert_at`: since when a person is to be
-- told; `healed_at` null: nothing was decided about what the last comparison saw.
ALTER TABLE hub.variances
    ADD COLUMN units_milli bigint NOT NULL DEFAULT 1000,
    ADD COLUMN value numeric,
    ADD COLUMN difference_milli bigint NOT NULL
        GENERATED ALWAYS AS (coalesce(found_milli, 0) - coalesce(expected_milli, 0)) STORED,
    ADD COLUMN repushes integer NOT NULL DEFAULT 0,
    ADD COLUMN alert_at timestamptz;
CREATE INDEX variances_sku ON hub.variances (sku, first_seen DESC);
CREATE INDEX variances_to_heal ON hub.variances (first_seen)
    WHERE closed_at IS NULL AND healed_at IS NULL;

-- Everything that was done about variances, by the hub (`by` = 'hub') or by a person.
CREATE TABLE hub.heals (
    heal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    variance_id bigint REFERENCES hub.variances,
    at timestamptz NOT NULL,
    by text NOT NULL,
    action text NOT NULL,
    result text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX heals_variance ON hub.heals (variance_id, heal_id);
CREATE INDEX heals_recent ON hub.heals (at DESC);

-- Whether everything was read, and where the system's change feed stood when the comparison began:
-- from there its orders can be listed again where the channel has no better way.
ALTER TABLE hub.reconciliations
    ADD COLUMN whole boolean NOT NULL DEFAULT true,
    ADD COLUMN feed_cursor jsonb,
    ADD COLUMN failure text;

-- When light comparisons saw each listing; a whole comparison sees all and empties this.
CREATE TABLE hub.sightings (
    channel text NOT NULL,
    bucket text NOT NULL,
    external_id text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (channel, bucket, external_id)
);

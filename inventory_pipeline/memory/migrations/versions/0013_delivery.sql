-- The webhook that brought an event: one id from its reception to the channel's answer.
ALTER TABLE hub.ledger ADD COLUMN delivery text COLLATE "C";
CREATE INDEX ledger_delivery ON hub.ledger (delivery, system) WHERE delivery IS NOT NULL;

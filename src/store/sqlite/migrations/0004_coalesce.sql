-- What waits of a record on a route that coalesces, and by which mark it is told newer from older; and what took the place
-- of a delivery.
ALTER TABLE delivery ADD COLUMN coalesce_key TEXT;
ALTER TABLE delivery ADD COLUMN mark TEXT;
ALTER TABLE delivery ADD COLUMN superseded_by INTEGER;
-- Whether a person had it replayed although a later state of the record was delivered.
ALTER TABLE delivery ADD COLUMN even_if_newer INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_coalescing ON delivery (way, coalesce_key) WHERE coalesce_key IS NOT NULL AND unsettled = 1;
CREATE INDEX delivery_successor ON delivery (superseded_by) WHERE superseded_by IS NOT NULL;

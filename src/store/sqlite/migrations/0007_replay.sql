-- What was kept of answers. `value` is JSON; `text` is what a single value is searched by.
CREATE TABLE kept (
    delivery INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    text TEXT,
    warning TEXT,
    PRIMARY KEY (delivery, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_text ON kept (name, text) WHERE text IS NOT NULL;

-- The delivery that one comes after, of the same notification; whether others come after it, so that nobody looks for them
-- in vain; and whether its lane stops behind it when it dies of the one that it comes after.
ALTER TABLE delivery ADD COLUMN comes_after INTEGER;
ALTER TABLE delivery ADD COLUMN has_followers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_followers ON delivery (comes_after) WHERE comes_after IS NOT NULL;

-- The delivery that one repeats because a person wanted it so, and the configuration it is to be mapped with.
ALTER TABLE delivery ADD COLUMN replay_of INTEGER;
ALTER TABLE delivery ADD COLUMN as_it_was INTEGER;
CREATE INDEX delivery_replays ON delivery (replay_of) WHERE replay_of IS NOT NULL;

-- The content that a person edited to make this one; none: Salesforce sent it.
ALTER TABLE notification ADD COLUMN edited_from INTEGER;

-- SHA-256 of the call that was made, less what credentials add.
ALTER TABLE attempt ADD COLUMN call_hash BLOB CHECK (call_hash IS NULL OR length(call_hash) = 32);

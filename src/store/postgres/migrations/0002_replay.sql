-- What was kept of answers. `value` is JSON; `text` is what a single value is searched by.
CREATE TABLE kept (
    delivery bigint NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    text text,
    warning text,
    PRIMARY KEY (delivery, name)
);
CREATE INDEX kept_text ON kept (name, left(text, 64)) WHERE text IS NOT NULL;

-- The delivery that one comes after, of the same notification; whether others come after it, so that nobody looks for them
-- in vain; and whether its lane stops behind it when it dies of the one that it comes after.
ALTER TABLE delivery ADD COLUMN comes_after bigint;
ALTER TABLE delivery ADD COLUMN has_followers boolean NOT NULL DEFAULT false;
ALTER TABLE delivery ADD COLUMN holds boolean NOT NULL DEFAULT false;
CREATE INDEX delivery_followers ON delivery (comes_after) WHERE comes_after IS NOT NULL;

-- The delivery that one repeats because a person wanted it so, and the configuration it is to be mapped with.
ALTER TABLE delivery ADD COLUMN replay_of bigint;
ALTER TABLE delivery ADD COLUMN as_it_was bigint;
CREATE INDEX delivery_replays ON delivery (replay_of) WHERE replay_of IS NOT NULL;

-- The content that a person edited to make this one; none: Salesforce sent it.
ALTER TABLE notification ADD COLUMN edited_from bigint;

-- SHA-256 of the call that was made, less what credentials add.
ALTER TABLE attempt ADD COLUMN call_hash bytea CHECK (call_hash IS NULL OR length(call_hash) = 32);

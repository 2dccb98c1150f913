-- Whether the heartbeat is of a gateway on this store. One that a move brought along says when somebody listened, and not that
-- a gateway is at work here.
ALTER TABLE alive ADD COLUMN own boolean NOT NULL DEFAULT true;
-- When the copy was made that this store is, until a gateway starts on it: what was acknowledged since then may be gone.
ALTER TABLE alive ADD COLUMN copied_at bigint;
ALTER TABLE absence ADD COLUMN restored boolean NOT NULL DEFAULT false;

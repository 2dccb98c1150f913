-- Whether the heartbeat is of a gateway on this store. One that a move brought along says when somebody listened, and not that
-- a gateway is at work here.
ALTER TABLE alive ADD COLUMN own INTEGER NOT NULL DEFAULT 1;

-- Tokens of the admin API: of the secret only its hash. Rights and scope are words with blanks between them.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    rights TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
) STRICT, WITHOUT ROWID;

-- What an entry of the audit log changed, and a hash over all it says and the hash before it. Entries from before have none.
ALTER TABLE audit ADD COLUMN was TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN became TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash TEXT;

-- Where the chain of hashes begins, behind what was pruned or is from before; and its last link.
CREATE TABLE audit_chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    anchor_entry INTEGER NOT NULL,
    anchor_hash TEXT NOT NULL,
    head_entry INTEGER NOT NULL,
    head_hash TEXT NOT NULL
) STRICT;
INSERT INTO audit_chain (id, anchor_entry, anchor_hash, head_entry, head_hash)
SELECT 1, coalesce(max(id), 0), '', coalesce(max(id), 0), '' FROM audit;

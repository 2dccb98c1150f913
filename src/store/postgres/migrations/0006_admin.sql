-- Tokens of the admin API: of the secret only its hash. Rights and scope are words with blanks between them.
CREATE TABLE token (
    id text PRIMARY KEY,
    name text NOT NULL,
    hash text NOT NULL UNIQUE,
    role text NOT NULL,
    rights text NOT NULL,
    scope text NOT NULL,
    created_at bigint NOT NULL,
    created_by text NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint,
    revoked_at bigint,
    revoked_by text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);

-- What an entry of the audit log changed, and a hash over all it says and the hash before it. Entries from before have none.
ALTER TABLE audit ADD COLUMN was text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN became text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash text;

-- Where the chain of hashes begins, behind what was pruned or is from before; and its last link.
CREATE TABLE audit_chain (
    id bigint PRIMARY KEY CHECK (id = 1),
    anchor_entry bigint NOT NULL,
    anchor_hash text NOT NULL,
    head_entry bigint NOT NULL,
    head_hash text NOT NULL
);
INSERT INTO audit_chain (id, anchor_entry, anchor_hash, head_entry, head_hash)
SELECT 1, coalesce(max(id), 0), '', coalesce(max(id), 0), '' FROM audit;

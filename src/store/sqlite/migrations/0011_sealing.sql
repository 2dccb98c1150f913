-- Keys that payloads are sealed with: of a key only what tells it from another one under the same id.
CREATE TABLE sealing_key (
    id TEXT PRIMARY KEY,
    proof TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

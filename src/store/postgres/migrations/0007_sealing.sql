-- Keys that payloads are sealed with: of a key only what tells it from another one under the same id.
CREATE TABLE sealing_key (
    id text PRIMARY KEY,
    proof text NOT NULL,
    since bigint NOT NULL
);

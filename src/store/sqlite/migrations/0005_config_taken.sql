-- Which configuration came into force when, and what brought it.
CREATE TABLE config_taken (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    brought_by TEXT NOT NULL CHECK (brought_by IN ('start', 'signal', 'file', 'api')),
    reason TEXT NOT NULL
) STRICT;

-- A move of the store into another one, or of another one into this; and what changed since it began, as triggers note
-- it that stand only while it is under way.
CREATE TABLE moving (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    direction TEXT NOT NULL CHECK (direction IN ('out', 'in')),
    token INTEGER NOT NULL,
    other TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('copying', 'shut', 'moved')),
    -- How many tables are copied, and the key of the last row of the next one.
    tables INTEGER NOT NULL DEFAULT 0,
    after TEXT,
    moved_at INTEGER,
    CHECK ((stage = 'moved') = (moved_at IS NOT NULL))
) STRICT;
CREATE TABLE moving_change (
    number INTEGER PRIMARY KEY,
    place TEXT NOT NULL,
    a INTEGER NOT NULL,
    b INTEGER,
    c TEXT
) STRICT;

-- What a list is asked, under a name that all operators share. The query may hold values that records have, and is sealed.
CREATE TABLE saved_view (
    id INTEGER PRIMARY KEY,
    list TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    saved_by TEXT NOT NULL,
    saved_at INTEGER NOT NULL,
    UNIQUE (list, name)
) STRICT;

-- What a list is asked, under a name that all operators share. The query may hold values that records have, and is sealed.
CREATE TABLE saved_view (
    id bigint PRIMARY KEY,
    list text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    query text NOT NULL,
    saved_by text NOT NULL,
    saved_at bigint NOT NULL,
    UNIQUE (list, name)
);

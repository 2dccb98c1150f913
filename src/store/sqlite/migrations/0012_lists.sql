-- What the fields hold that a source names in `search`, by the row of the content that they stand in.
CREATE TABLE searched (
    notification INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (notification, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX searched_value ON searched (name, value, notification);

-- What was measured every few minutes, as JSON: one row that all gateways share, under an empty name, and one of each gateway.
CREATE TABLE sample (
    at INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (at, gateway)
) STRICT, WITHOUT ROWID;

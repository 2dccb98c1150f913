-- What the fields hold that a source names in `search`, by the row of the content that they stand in.
CREATE TABLE searched (
    notification INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (notification, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX searched_value ON searched (name, value, notification);

-- What the fields hold that a source names in `search`, by the row of the content that they stand in. Values are short, and
-- compared byte by byte, so that the index finds how they begin.
CREATE TABLE searched (
    notification bigint NOT NULL,
    name text NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (notification, name)
);
CREATE INDEX searched_value ON searched (name, value, notification);

-- What was measured every few minutes, as JSON: one row that all gateways share, under an empty name, and one of each gateway.
CREATE TABLE sample (
    at bigint NOT NULL,
    gateway text NOT NULL,
    figures text NOT NULL,
    PRIMARY KEY (at, gateway)
);

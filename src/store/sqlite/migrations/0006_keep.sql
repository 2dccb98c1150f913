-- The ledger by UTC day (days since 1970), written with the counters: how much each account changed on that day. Of a
-- source also when its last envelope came, and the longest time without one that ended on that day.
CREATE TABLE source_day (
    day INTEGER NOT NULL,
    source INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0,
    "unique" INTEGER NOT NULL DEFAULT 0,
    duplicate INTEGER NOT NULL DEFAULT 0,
    revised INTEGER NOT NULL DEFAULT 0,
    routed INTEGER NOT NULL DEFAULT 0,
    unrouted INTEGER NOT NULL DEFAULT 0,
    skipped_empty INTEGER NOT NULL DEFAULT 0,
    unreadable INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    last_at INTEGER NOT NULL DEFAULT 0,
    silence_ms INTEGER NOT NULL DEFAULT 0,
    silence_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE destination_day (
    day INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    routed INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    blocked INTEGER NOT NULL DEFAULT 0,
    in_flight INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    attempts_unknown INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, destination)
) STRICT, WITHOUT ROWID;

-- What was counted before days were kept stands on the last day of which the rows know.
CREATE TEMP TABLE before_days AS SELECT max(
    coalesce((SELECT max(received_at) FROM envelope), 0), coalesce((SELECT max(changed_at) FROM delivery), 0)
) / 86400000 AS day;

INSERT INTO source_day (day, source, received, "unique", duplicate, revised, routed, unrouted, skipped_empty,
    unreadable, quarantined, last_at)
SELECT (SELECT day FROM before_days), owner,
    sum(iif(account = 'received', value, 0)), sum(iif(account = 'unique', value, 0)),
    sum(iif(account = 'duplicate', value, 0)), sum(iif(account = 'revised', value, 0)),
    sum(iif(account = 'routed', value, 0)), sum(iif(account = 'unrouted', value, 0)),
    sum(iif(account = 'skipped_empty', value, 0)), sum(iif(account = 'unreadable', value, 0)),
    sum(iif(account = 'quarantined', value, 0)),
    coalesce((SELECT max(received_at) FROM envelope WHERE source = owner), 0)
FROM counter WHERE kind = 'source' GROUP BY owner;

INSERT INTO destination_day (day, destination, routed, waiting, blocked, in_flight, held, delivered, dead, superseded,
    discarded, attempts, attempts_unknown)
SELECT (SELECT day FROM before_days), owner,
    sum(iif(account = 'routed', value, 0)), sum(iif(account = 'waiting', value, 0)),
    sum(iif(account = 'blocked', value, 0)), sum(iif(account = 'in_flight', value, 0)),
    sum(iif(account = 'held', value, 0)), sum(iif(account = 'delivered', value, 0)),
    sum(iif(account = 'dead', value, 0)), sum(iif(account = 'superseded', value, 0)),
    sum(iif(account = 'discarded', value, 0)), sum(iif(account = 'attempts', value, 0)),
    sum(iif(account = 'attempts_unknown', value, 0))
FROM counter WHERE kind = 'destination' GROUP BY owner;

DROP TABLE before_days;

-- What people did. Nobody changes an entry, and none goes within a year.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    object_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    result TEXT NOT NULL
) STRICT;

CREATE INDEX audit_object ON audit (object, object_id);

-- In place of the table `change`, which stays for the omgate before and is written no more.
INSERT INTO audit (at, who, verb, object, object_id, count, reason, result)
SELECT at, '', change, 'delivery', CAST(delivery AS TEXT), 1, reason, 'done' FROM change ORDER BY id;
DELETE FROM change;

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'an entry of the audit log cannot be changed'); END;
CREATE TRIGGER audit_lasts BEFORE DELETE ON audit
WHEN OLD.at > (SELECT at FROM audit ORDER BY id DESC LIMIT 1) - 31536000000
BEGIN SELECT RAISE(ABORT, 'an entry of the audit log stays for a year'); END;

-- What can be pruned, by state and age. How far each walk over it came.
CREATE INDEX delivery_settled ON delivery (state, changed_at) WHERE unsettled = 0;
CREATE TABLE prune_walk (
    walk TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    id INTEGER NOT NULL,
    begun_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A later delivery of the same record and route that was delivered and pruned.
ALTER TABLE delivery ADD COLUMN outdated_by INTEGER;

-- When the gateway was last known to listen, and when it did not.
CREATE TABLE alive (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
CREATE TABLE absence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    CHECK (since < until),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) STRICT;

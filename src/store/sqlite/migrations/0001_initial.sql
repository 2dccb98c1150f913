-- Everything a gateway knows and must not forget. Times are milliseconds since 1970 in UTC.
-- Names are kept once, in `name`; the rows of the hot path carry integers.

CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('source', 'organization', 'route', 'destination', 'system')),
    text TEXT NOT NULL,
    UNIQUE (kind, text)
) STRICT;

-- Where a delivery goes: its route, destination and system as they were when it was made. A route that is given another
-- destination later gets another way, so a claim asks for exactly the ways that may be served now.
CREATE TABLE way (
    id INTEGER PRIMARY KEY,
    route INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    system INTEGER NOT NULL,
    UNIQUE (route, destination, system)
) STRICT;

CREATE TABLE config_version (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    files TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE envelope (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    config_version INTEGER NOT NULL,
    organization_id TEXT NOT NULL,
    action_id TEXT NOT NULL,
    enterprise_url TEXT NOT NULL,
    partner_url TEXT NOT NULL,
    sender TEXT NOT NULL
) STRICT;

-- One row per revision. The long text stands last, so that the rest is read without it.
CREATE TABLE notification (
    id INTEGER PRIMARY KEY,
    envelope INTEGER NOT NULL,
    source INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    notification_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (
        CASE kind
            WHEN 'routed' THEN revision = 1
            WHEN 'unrouted' THEN revision = 1
            WHEN 'skipped_empty' THEN revision = 1
            WHEN 'unreadable' THEN revision = 1 AND reason IS NOT NULL
            WHEN 'quarantined' THEN revision = 1 AND reason IS NOT NULL
            WHEN 'revised' THEN revision > 1
            ELSE 0
        END
    ),
    duplicates INTEGER NOT NULL DEFAULT 0,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    reason TEXT,
    record_type TEXT NOT NULL,
    record_id TEXT NOT NULL,
    xml TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX notification_key ON notification (notification_id, organization, revision);
CREATE INDEX notification_record ON notification (record_id) WHERE record_id <> '';
-- Conditions are joined with OR, not IN: only so does SQLite see that one of them implies the index.
CREATE INDEX notification_odd ON notification (kind)
    WHERE kind = 'unrouted' OR kind = 'unreadable' OR kind = 'quarantined';

-- The id is the sequence within the lane; `sequence` below sees to it that none is given twice.
-- `unsettled` is 1 while the delivery keeps its place in its lane; it stands apart from `state`, so that a claim does
-- not touch the lane's index.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    notification INTEGER NOT NULL,
    way INTEGER NOT NULL,
    system INTEGER NOT NULL,
    lane TEXT,
    state TEXT NOT NULL CHECK (
        CASE state
            WHEN 'waiting' THEN unsettled = 1 AND due_at IS NOT NULL AND lease IS NULL
            WHEN 'blocked' THEN unsettled = 1 AND due_at IS NULL AND lease IS NULL AND lane IS NOT NULL
            WHEN 'in_flight' THEN unsettled = 1 AND due_at IS NULL AND lease IS NOT NULL AND attempts > 0
            WHEN 'delivered' THEN unsettled = 0 AND due_at IS NULL AND lease IS NULL AND attempts > 0
            WHEN 'held' THEN unsettled = 1 AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            WHEN 'dead' THEN
                unsettled IN (0, 1) AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
                AND (unsettled = 0 OR lane IS NOT NULL)
            WHEN 'superseded' THEN unsettled = 0 AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            WHEN 'discarded' THEN unsettled = 0 AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            ELSE 0
        END
    ),
    unsettled INTEGER NOT NULL,
    due_at INTEGER,
    lease INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    first_attempt_active_ms INTEGER,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    status INTEGER,
    same_bytes_as INTEGER,
    repeat_count INTEGER NOT NULL DEFAULT 0,
    repeat_key TEXT,
    reason TEXT
) STRICT;

CREATE INDEX delivery_notification ON delivery (notification);
CREATE INDEX delivery_due ON delivery (way, due_at) WHERE state = 'waiting';
CREATE INDEX delivery_lane ON delivery (system, lane) WHERE unsettled = 1 AND lane IS NOT NULL;
CREATE INDEX delivery_open ON delivery (way) WHERE unsettled = 1;
CREATE UNIQUE INDEX delivery_in_flight ON delivery (system, lane) WHERE state = 'in_flight';
CREATE INDEX delivery_stopped ON delivery (state) WHERE state = 'dead' OR state = 'held';

-- The newest delivery of each route, for notifications that were revised; keyed by the row of their first revision.
-- One that was never revised has none: its deliveries are those of its one row.
CREATE TABLE newest_delivery (
    notification INTEGER NOT NULL,
    route INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (notification, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    lease INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    config_version INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT CHECK (outcome IN ('delivered', 'refused', 'retry', 'unknown')),
    duration_ms INTEGER,
    status INTEGER,
    request_cut INTEGER NOT NULL DEFAULT 0,
    response_cut INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    fault TEXT,
    request_line TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL DEFAULT '',
    response TEXT NOT NULL DEFAULT '',
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;

CREATE UNIQUE INDEX attempt_delivery ON attempt (delivery, number);

CREATE TABLE system (
    name INTEGER PRIMARY KEY,
    active_ms INTEGER NOT NULL,
    paused_reason TEXT,
    paused_since INTEGER,
    probe_at INTEGER,
    CHECK ((paused_reason IS NULL) = (paused_since IS NULL)),
    CHECK (probe_at IS NULL OR paused_reason IS NOT NULL)
) STRICT;

-- What was last delivered for a record on a route with `stale_by`.
CREATE TABLE stale_mark (
    route INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    record_id TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (route, organization, record_id)
) STRICT, WITHOUT ROWID;

-- The ledger's accounts. `owner` is a name's id, or 0.
CREATE TABLE counter (
    kind TEXT NOT NULL,
    owner INTEGER NOT NULL,
    account TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (kind, owner, account)
) STRICT, WITHOUT ROWID;

-- The last number given of each kind.
CREATE TABLE sequence (
    kind TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO sequence (kind, value) VALUES ('delivery', 0), ('lease', 0);

CREATE TABLE refused (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    sender TEXT NOT NULL,
    reason TEXT NOT NULL,
    dropped_at INTEGER,
    body TEXT NOT NULL
) STRICT;

-- What people did.
CREATE TABLE change (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('replay', 'hold', 'release', 'discard')),
    reason TEXT NOT NULL
) STRICT;

-- Written while the disk fails, to see whether it works again.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    filler BLOB NOT NULL
) STRICT;

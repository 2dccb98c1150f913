-- Everything a gateway knows and must not forget. Times are milliseconds since 1970 in UTC, save `lease_until` and what
-- else is compared by the database alone. Names are kept once, in `name`; the rows of the hot path carry integers.
-- A text that is long or chosen by a sender stands in no index: what is looked for by it has a key made of its hash.

CREATE TABLE name (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('source', 'organization', 'route', 'destination', 'system')),
    text text NOT NULL,
    UNIQUE (kind, text)
);

-- Where a delivery goes: its route, destination and system as they were when it was made. A route that is given another
-- destination later gets another way, so a claim asks for exactly the ways that may be served now.
CREATE TABLE way (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route bigint NOT NULL,
    destination bigint NOT NULL,
    system bigint NOT NULL,
    UNIQUE (route, destination, system)
);

CREATE TABLE config_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    files text NOT NULL,
    created_at bigint NOT NULL
);

CREATE SEQUENCE envelope_id;
CREATE TABLE envelope (
    id bigint PRIMARY KEY,
    source bigint NOT NULL,
    received_at bigint NOT NULL,
    config_version bigint NOT NULL,
    organization_id text NOT NULL,
    action_id text NOT NULL,
    enterprise_url text NOT NULL,
    partner_url text NOT NULL,
    sender text NOT NULL
);

-- One row per revision.
CREATE SEQUENCE notification_row;
CREATE TABLE notification (
    id bigint PRIMARY KEY,
    envelope bigint NOT NULL,
    source bigint NOT NULL,
    organization bigint NOT NULL,
    notification_id text NOT NULL,
    revision bigint NOT NULL,
    kind text NOT NULL,
    duplicates bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    reason text,
    record_type text NOT NULL,
    record_id text NOT NULL,
    xml text NOT NULL,
    CONSTRAINT notification_kind CHECK (
        CASE kind
            WHEN 'routed' THEN revision = 1
            WHEN 'unrouted' THEN revision = 1
            WHEN 'skipped_empty' THEN revision = 1
            WHEN 'unreadable' THEN revision = 1 AND reason IS NOT NULL
            WHEN 'quarantined' THEN revision = 1 AND reason IS NOT NULL
            WHEN 'revised' THEN revision > 1
            ELSE false
        END
    )
);

CREATE UNIQUE INDEX notification_key ON notification (notification_id, organization, revision);
CREATE INDEX notification_record ON notification (left(record_id, 64)) WHERE record_id <> '';
CREATE INDEX notification_odd ON notification (kind, id) WHERE kind IN ('unrouted', 'unreadable', 'quarantined');

-- The id is the sequence within the lane: it is taken while the lane is locked.
-- `unsettled` holds while the delivery keeps its place in its lane; it stands apart from `state`, so that a claim, which
-- locks no lane, does not touch the lane's order.
-- `lane_key` is what the lane is known by: a hash of its system and its text.
CREATE SEQUENCE delivery_id;
CREATE SEQUENCE lease_id;
CREATE TABLE delivery (
    id bigint PRIMARY KEY,
    notification bigint NOT NULL,
    way bigint NOT NULL,
    system bigint NOT NULL,
    lane_key bigint,
    lane text,
    state text NOT NULL,
    unsettled boolean NOT NULL,
    due_at bigint,
    lease bigint,
    lease_until timestamptz,
    holder bigint,
    attempts bigint NOT NULL DEFAULT 0,
    excused bigint NOT NULL DEFAULT 0,
    first_attempt_active_ms bigint,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    status bigint,
    same_bytes_as bigint,
    repeat_count bigint NOT NULL DEFAULT 0,
    repeat_key text,
    reason text,
    coalesce_key bigint,
    mark text,
    superseded_by bigint,
    even_if_newer boolean NOT NULL DEFAULT false,
    CONSTRAINT delivery_lane_named CHECK ((lane IS NULL) = (lane_key IS NULL)),
    CONSTRAINT delivery_leased CHECK (
        (lease IS NULL) = (lease_until IS NULL) AND (lease IS NULL) = (holder IS NULL)
    ),
    CONSTRAINT delivery_state CHECK (
        CASE state
            WHEN 'waiting' THEN unsettled AND due_at IS NOT NULL AND lease IS NULL
            WHEN 'blocked' THEN unsettled AND due_at IS NULL AND lease IS NULL AND lane IS NOT NULL
            WHEN 'in_flight' THEN unsettled AND due_at IS NULL AND lease IS NOT NULL AND attempts > 0
            WHEN 'delivered' THEN NOT unsettled AND due_at IS NULL AND lease IS NULL AND attempts > 0
            WHEN 'held' THEN unsettled AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            WHEN 'dead' THEN
                due_at IS NULL AND lease IS NULL AND reason IS NOT NULL AND (NOT unsettled OR lane IS NOT NULL)
            WHEN 'superseded' THEN NOT unsettled AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            WHEN 'discarded' THEN NOT unsettled AND due_at IS NULL AND lease IS NULL AND reason IS NOT NULL
            ELSE false
        END
    )
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX delivery_notification ON delivery (notification);
CREATE INDEX delivery_due ON delivery (way, due_at, id) WHERE state = 'waiting';
CREATE INDEX delivery_lane ON delivery (lane_key, id) WHERE unsettled AND lane_key IS NOT NULL;
CREATE INDEX delivery_open ON delivery (way, id) WHERE unsettled;
-- The database itself refuses a second call in a lane.
CREATE UNIQUE INDEX delivery_in_flight ON delivery (lane_key) WHERE state = 'in_flight';
CREATE INDEX delivery_under_way ON delivery (system) WHERE state = 'in_flight';
CREATE INDEX delivery_stopped ON delivery (state, id) WHERE state IN ('dead', 'held');
CREATE INDEX delivery_coalescing ON delivery (way, coalesce_key) WHERE coalesce_key IS NOT NULL AND unsettled;
CREATE INDEX delivery_successor ON delivery (superseded_by) WHERE superseded_by IS NOT NULL;

-- The newest delivery of each route, for notifications that were revised; keyed by the row of their first revision.
-- One that was never revised has none: its deliveries are those of its one row.
CREATE TABLE newest_delivery (
    notification bigint NOT NULL,
    route bigint NOT NULL,
    delivery bigint NOT NULL,
    PRIMARY KEY (notification, route)
);

CREATE TABLE attempt (
    lease bigint PRIMARY KEY,
    delivery bigint NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    config_version bigint NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    outcome text CHECK (outcome IN ('delivered', 'refused', 'retry', 'unknown')),
    duration_ms bigint,
    status bigint,
    request_cut boolean NOT NULL DEFAULT false,
    response_cut boolean NOT NULL DEFAULT false,
    reason text,
    fault text,
    request_line text NOT NULL DEFAULT '',
    request text NOT NULL DEFAULT '',
    response text NOT NULL DEFAULT '',
    CONSTRAINT attempt_ended CHECK ((outcome IS NULL) = (ended_at IS NULL))
);

CREATE UNIQUE INDEX attempt_delivery ON attempt (delivery, number);

-- What holds for a system whichever gateway calls it. A claim locks its row, so claims of one system go one by one:
-- only so can calls at once and calls per time be counted over all gateways.
CREATE TABLE system (
    name bigint PRIMARY KEY,
    paused_reason text,
    paused_since bigint,
    paused_until bigint,
    probe_at bigint,
    broken_reason text,
    broken_since bigint,
    broken_probe_at bigint,
    broken_trips bigint,
    -- Until when another gateway's probe is under way.
    probing_until timestamptz,
    -- When the next call would be on time, by the rate.
    next_call timestamptz,
    CONSTRAINT system_paused CHECK ((paused_reason IS NULL) = (paused_since IS NULL)),
    CONSTRAINT system_paused_until CHECK ((probe_at IS NULL AND paused_until IS NULL) OR paused_reason IS NOT NULL),
    CONSTRAINT system_broken CHECK (
        (broken_reason IS NULL) = (broken_since IS NULL) AND (broken_reason IS NULL) = (broken_probe_at IS NULL)
        AND (broken_reason IS NULL) = (broken_trips IS NULL)
    )
) WITH (fillfactor = 50);

-- How long a system was open: the greatest of its shards. Written with every settlement, and therefore apart.
CREATE TABLE system_active (
    system bigint NOT NULL,
    shard bigint NOT NULL,
    active_ms bigint NOT NULL,
    PRIMARY KEY (system, shard)
) WITH (fillfactor = 50);

-- What was last delivered for a record on a route with `stale_by`.
CREATE TABLE stale_mark (
    route bigint NOT NULL,
    organization bigint NOT NULL,
    record_key bytea NOT NULL,
    record_id text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (route, organization, record_key)
);

-- The ledger's accounts: each is the sum of its shards, so that no two transactions need wait for one row.
-- `owner` is a name's id, or 0.
CREATE TABLE counter (
    kind text NOT NULL,
    owner bigint NOT NULL,
    account text NOT NULL,
    shard bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (kind, owner, account, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE refused (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    source text NOT NULL,
    sender text NOT NULL,
    reason text NOT NULL,
    dropped_at bigint,
    body text NOT NULL
);

-- What people did.
CREATE TABLE change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    delivery bigint NOT NULL,
    change text NOT NULL CHECK (change IN ('replay', 'hold', 'release', 'discard')),
    reason text NOT NULL
);

-- One row a transaction, kept for an hour: whoever lost the answer to a COMMIT sees here whether it happened.
CREATE TABLE receipt (
    token bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX receipt_at ON receipt (at);

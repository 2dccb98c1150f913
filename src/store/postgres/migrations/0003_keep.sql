-- Which configuration came into force when, and what brought it.
CREATE TABLE config_taken (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version bigint NOT NULL,
    at bigint NOT NULL,
    brought_by text NOT NULL CHECK (brought_by IN ('start', 'signal', 'file', 'api')),
    reason text NOT NULL
);

-- The ledger by UTC day (days since 1970), written with the counters and sharded as they are: how much each account
-- changed on that day. Of days that are over the shards are added up as shard -1.
CREATE TABLE account_day (
    day bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('source', 'destination')),
    owner bigint NOT NULL,
    account text NOT NULL,
    shard bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (day, kind, owner, account, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX account_day_apart ON account_day (day) WHERE shard >= 0;

-- When each source was heard last on a day, and the longest time without an envelope that ended on that day.
CREATE TABLE source_heard (
    source bigint NOT NULL,
    day bigint NOT NULL,
    shard bigint NOT NULL,
    last_at bigint NOT NULL,
    silence_ms bigint NOT NULL,
    silence_until bigint NOT NULL,
    PRIMARY KEY (source, day, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX source_heard_apart ON source_heard (day) WHERE shard >= 0;

-- What was counted before days were kept stands on the last day of which the rows know.
INSERT INTO account_day (day, kind, owner, account, shard, value)
SELECT greatest(coalesce((SELECT max(received_at) FROM envelope), 0),
           coalesce((SELECT max(changed_at) FROM delivery), 0)) / 86400000,
    kind, owner, account, -1, sum(value)::bigint
FROM counter WHERE kind IN ('source', 'destination') GROUP BY kind, owner, account;

INSERT INTO source_heard (source, day, shard, last_at, silence_ms, silence_until)
SELECT source, max(received_at) / 86400000, -1, max(received_at), 0, 0 FROM envelope GROUP BY source;

-- What people did. Nobody changes an entry, and none goes within a year. How many were written stands among the
-- counters, so that one that is missing is noticed.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    who text NOT NULL,
    verb text NOT NULL,
    object text NOT NULL,
    object_id text NOT NULL,
    count bigint NOT NULL,
    reason text NOT NULL,
    result text NOT NULL
);
CREATE INDEX audit_object ON audit (object, left(object_id, 64));

INSERT INTO audit (at, who, verb, object, object_id, count, reason, result)
SELECT at, '', change, 'delivery', delivery::text, 1, reason, 'done' FROM change ORDER BY id;
INSERT INTO counter (kind, owner, account, shard, value) SELECT 'audit', 0, 'written', 0, count(*) FROM audit;
DROP TABLE change;

CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an entry of the audit log cannot be changed';
END $$;
CREATE FUNCTION audit_lasts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.at > (SELECT a.at FROM omgate.audit a ORDER BY a.id DESC LIMIT 1) - 31536000000 THEN
        RAISE EXCEPTION 'an entry of the audit log stays for a year';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_stays();
CREATE TRIGGER audit_lasts BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_lasts();
CREATE TRIGGER audit_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();

-- What can be pruned, by state and age. How far each walk over it came.
CREATE INDEX delivery_settled ON delivery (state, changed_at, id) WHERE NOT unsettled;
CREATE INDEX notification_envelope ON notification (envelope);
CREATE TABLE prune_walk (
    walk text PRIMARY KEY,
    at bigint NOT NULL,
    id bigint NOT NULL,
    begun_at bigint NOT NULL
);

-- A later delivery of the same record and route that was delivered and pruned.
ALTER TABLE delivery ADD COLUMN outdated_by bigint;

-- When any gateway was last known to listen, and when none did.
CREATE TABLE alive (
    id bigint PRIMARY KEY CHECK (id = 1),
    at bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE absence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since bigint NOT NULL,
    until bigint NOT NULL,
    acknowledged_at bigint,
    acknowledged_by text,
    CONSTRAINT absence_span CHECK (since < until),
    CONSTRAINT absence_acknowledged CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);

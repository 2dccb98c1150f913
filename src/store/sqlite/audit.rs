//! The ledger, and its comparison with the rows.

use rusqlite::Connection;

use super::{days, shape};
use crate::clock::Timestamp;
use crate::store::ledger::{self, Counter, Group, Rows};
use crate::store::{Backlog, Discrepancy, Ledger};

/// The accounts.
pub(super) fn ledger(connection: &Connection) -> rusqlite::Result<Ledger> {
    Ok(ledger::ledger(counters(connection)?))
}

fn counters(connection: &Connection) -> rusqlite::Result<Vec<Counter>> {
    let sql =
        "SELECT c.kind, coalesce(n.text, ''), c.account, c.value FROM counter c LEFT JOIN name n ON n.id = c.owner";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    rows.collect()
}

/// What waits, and since when.
pub(super) fn backlog(connection: &Connection) -> rusqlite::Result<Backlog> {
    let mut backlog = Backlog::default();
    let sql = "SELECT n.text, (SELECT created_at FROM delivery INDEXED BY delivery_open
                               WHERE way = way.id AND unsettled = 1 ORDER BY id LIMIT 1)
               FROM way JOIN name n ON n.id = way.destination";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    for row in rows {
        let (destination, Some(created_at)) = row? else { continue };
        let oldest = backlog.oldest_unsettled.entry(destination).or_insert(Timestamp(created_at));
        *oldest = (*oldest).min(Timestamp(created_at));
    }
    let sql = "SELECT coalesce(sum(value), 0) FROM counter WHERE kind = 'lanes' AND account = 'repaired'";
    backlog.lanes_repaired = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(backlog)
}

/// Compares every counter with the rows and the rows with one another, in one moment of the database.
///
/// A rule that is broken is told like an account: none may break it, and so many rows do.
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<Vec<Discrepancy>> {
    let mut found: Vec<Discrepancy> = shape::missing(connection)?.into_iter().map(ledger::gone).collect();
    match wrong_rows(connection) {
        Ok(wrong) => found.extend(wrong),
        // Where something is missing, not every question can be asked.
        Err(_) if !found.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn wrong_rows(connection: &Connection) -> rusqlite::Result<Vec<Discrepancy>> {
    let mut found = disagreements(connection)?;
    found.extend(broken(connection)?.into_iter().map(|(what, rows)| Discrepancy {
        account: what.to_owned(),
        counter: 0,
        rows,
    }));
    Ok(found)
}

/// Counters that differ from the rows, or from the sum of their days.
fn disagreements(connection: &Connection) -> rusqlite::Result<Vec<Discrepancy>> {
    let notifications = "SELECT s.text, g.kind, g.rows, g.duplicates FROM
               (SELECT source, kind, count(*) AS rows, sum(duplicates) AS duplicates FROM notification
                WHERE edited_from IS NULL GROUP BY source, kind) g
               LEFT JOIN name s ON s.id = g.source";
    let deliveries = "SELECT t.text, g.state, g.rows, 0 FROM
               (SELECT way, state, count(*) AS rows FROM delivery GROUP BY way, state) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    let attempts = "SELECT t.text, '', g.rows, g.unknown FROM
               (SELECT d.way AS way, count(*) AS rows, sum(a.outcome IS 'unknown') AS unknown
                FROM attempt a LEFT JOIN delivery d ON d.id = a.delivery GROUP BY d.way) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    let rows = Rows {
        notifications: grouped(connection, notifications)?,
        deliveries: grouped(connection, deliveries)?,
        attempts: grouped(connection, attempts)?,
        days: days::sums(connection)?,
    };
    Ok(ledger::disagreements(&counters(connection)?, &rows))
}

/// A name, a word and two sums of each group.
fn grouped(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Group>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let name: Option<String> = row.get(0)?;
        Ok((name.unwrap_or_else(|| "(unknown)".to_owned()), row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    rows.collect()
}

/// What is wrong inside the file: pages, rows that refer to nothing, lanes out of order, accounts.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut findings: Vec<String> = connection
        .prepare("PRAGMA quick_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    findings.retain(|finding| finding != "ok");
    let missing = shape::missing(connection)?;
    if !missing.is_empty() {
        findings.extend(missing.into_iter().map(|part| format!("{part} is missing")));
        return Ok(findings);
    }
    findings.extend(broken(connection)?.into_iter().map(|(what, rows)| format!("{rows} {what}")));
    for Discrepancy { account, counter, rows } in disagreements(connection)? {
        findings.push(format!("{account}: the counter says {counter}, the rows say {rows}"));
    }
    Ok(findings)
}

/// The rules that rows break, and how many do.
fn broken(connection: &Connection) -> rusqlite::Result<Vec<(&'static str, i64)>> {
    let mut broken = Vec::new();
    for (what, sql) in RULES {
        let rows: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if rows > 0 {
            broken.push((what, rows));
        }
    }
    Ok(broken)
}

/// What must hold of all rows: each query counts those that break it.
const RULES: [(&str, &str); 17] = [
    (
        "fields that notifications are found by without their notification",
        "SELECT count(*) FROM searched WHERE notification NOT IN (SELECT id FROM notification)",
    ),
    (
        "deliveries without their notification",
        "SELECT count(*) FROM delivery WHERE notification NOT IN (SELECT id FROM notification)",
    ),
    (
        "notifications without their envelope",
        "SELECT count(*) FROM notification WHERE envelope NOT IN (SELECT id FROM envelope)",
    ),
    (
        "lanes with more than one delivery waiting or in flight",
        "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE unsettled = 1 AND lane IS NOT NULL
         AND state IN ('waiting', 'in_flight') GROUP BY system, lane HAVING count(*) > 1)",
    ),
    (
        "lanes in which a delivery waits behind another",
        "SELECT count(*) FROM delivery d WHERE unsettled = 1 AND lane IS NOT NULL AND state = 'waiting' AND EXISTS
         (SELECT 1 FROM delivery b INDEXED BY delivery_lane
          WHERE b.system = d.system AND b.lane = d.lane AND b.unsettled = 1 AND b.lane IS NOT NULL AND b.id < d.id)",
    ),
    (
        "deliveries that went out before the one that they come after was delivered",
        "SELECT count(*) FROM delivery d JOIN delivery lead ON lead.id = d.comes_after
         WHERE d.comes_after IS NOT NULL AND d.state IN ('waiting', 'in_flight', 'delivered')
         AND lead.state <> 'delivered'",
    ),
    (
        "deliveries that wait for one that will not be delivered",
        "SELECT count(*) FROM delivery d JOIN delivery lead ON lead.id = d.comes_after
         WHERE d.comes_after IS NOT NULL AND d.state IN ('blocked', 'held')
         AND lead.state IN ('dead', 'superseded', 'discarded')",
    ),
    (
        "deliveries that others come after and that do not know it",
        "SELECT count(*) FROM delivery d JOIN delivery lead ON lead.id = d.comes_after
         WHERE d.comes_after IS NOT NULL AND d.unsettled = 1 AND lead.has_followers = 0",
    ),
    (
        "deliveries in flight without an attempt under way",
        "SELECT count(*) FROM delivery d WHERE state = 'in_flight' AND NOT EXISTS
         (SELECT 1 FROM attempt a WHERE a.lease = d.lease AND a.delivery = d.id AND a.outcome IS NULL)",
    ),
    (
        "entries of the audit log that are missing",
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0) - count(*)
         - coalesce((SELECT sum(value) FROM counter WHERE kind = 'pruned_audit' OR kind = 'audit_skipped'), 0) FROM audit",
    ),
    (
        ledger::NO_NAME,
        "SELECT count(*) FROM (
             SELECT 'route' AS kind, route AS id FROM way UNION SELECT 'destination', destination FROM way
             UNION SELECT 'system', system FROM way UNION SELECT 'system', system FROM delivery
             UNION SELECT 'system', name FROM system UNION SELECT 'source', source FROM envelope
             UNION SELECT 'source', source FROM notification UNION SELECT 'organization', organization FROM notification
             UNION SELECT 'route', route FROM newest_delivery UNION SELECT 'route', route FROM stale_mark
             UNION SELECT 'organization', organization FROM stale_mark
             UNION SELECT replace(kind, 'pruned_', ''), owner FROM counter WHERE owner <> 0
             UNION SELECT 'source', source FROM source_day UNION SELECT 'destination', destination FROM destination_day
         ) used WHERE NOT EXISTS (SELECT 1 FROM name WHERE name.id = used.id AND name.kind = used.kind)",
    ),
    (ledger::NO_WAY, "SELECT count(DISTINCT way) FROM delivery WHERE way NOT IN (SELECT id FROM way)"),
    (
        ledger::NO_CONFIGURATION,
        "SELECT count(*) FROM (
             SELECT config_version AS id FROM envelope UNION SELECT config_version FROM attempt
             UNION SELECT same_bytes_as FROM delivery UNION SELECT as_it_was FROM delivery
             UNION SELECT version FROM config_taken
         ) used WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM config_version)",
    ),
    (
        ledger::NUMBERS_AGAIN,
        "SELECT ((SELECT coalesce(max(id), 0) FROM delivery)
                 > coalesce((SELECT value FROM sequence WHERE kind = 'delivery'), -1))
             + ((SELECT coalesce(max(lease), 0) FROM attempt)
                 > coalesce((SELECT value FROM sequence WHERE kind = 'lease'), -1))
             + ((SELECT coalesce(max(id), 0) FROM audit)
                 > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0))",
    ),
    (
        ledger::NO_CHAIN,
        "SELECT NOT EXISTS (SELECT 1 FROM audit_chain WHERE id = 1
             AND head_entry = (SELECT coalesce(max(id), 0) FROM audit))",
    ),
    (
        "values kept of answers without their delivery",
        "SELECT count(*) FROM kept WHERE delivery NOT IN (SELECT id FROM delivery)",
    ),
    (
        ledger::NO_CONTENT,
        "SELECT count(*) FROM delivery d JOIN notification n ON n.id = d.notification
         WHERE d.unsettled = 1 AND d.replay_of IS NULL AND n.record_type <> '' AND octet_length(n.xml) = 0",
    ),
];

//! The ledger, and its comparison with the rows.

use super::days;
use super::failure::Failure;
use super::session::{Cells, Session, read};
use super::shape;
use crate::clock::Timestamp;
use crate::store::ledger::{self, Counter, Group, Rows};
use crate::store::{Backlog, Discrepancy, Ledger};

/// The accounts.
pub(super) async fn ledger(session: &mut Session) -> Result<Ledger, Failure> {
    Ok(ledger::ledger(counters(session).await?))
}

async fn counters(session: &mut Session) -> Result<Vec<Counter>, Failure> {
    let sql = "SELECT c.kind, coalesce(n.text, ''), c.account, c.value FROM
                   (SELECT kind, owner, account, sum(value)::bigint AS value FROM counter GROUP BY kind, owner, account) c
               LEFT JOIN name n ON n.id = c.owner";
    let rows = session.query(sql, &[]).await?;
    read(&rows, |cells| Ok((cells.next()?, cells.text()?, cells.next()?, cells.number()?)))
}

/// What waits, and since when.
pub(super) async fn backlog(session: &mut Session) -> Result<Backlog, Failure> {
    let mut backlog = Backlog::default();
    let sql = "SELECT n.text, (SELECT d.created_at FROM delivery d WHERE d.way = w.id AND d.unsettled
                               ORDER BY d.way, d.id LIMIT 1)
               FROM way w JOIN name n ON n.id = w.destination";
    let rows = session.query(sql, &[]).await?;
    for (destination, created_at) in read(&rows, |cells| Ok((cells.text()?, cells.maybe_time()?)))? {
        let Some(created_at) = created_at else { continue };
        let oldest: &mut Timestamp = backlog.oldest_unsettled.entry(destination).or_insert(created_at);
        *oldest = (*oldest).min(created_at);
    }
    let sql = "SELECT coalesce(sum(value), 0)::bigint FROM counter WHERE kind = 'lanes' AND account = 'repaired'";
    backlog.lanes_repaired = number(session, sql).await?;
    Ok(backlog)
}

async fn number(session: &mut Session, sql: &str) -> Result<i64, Failure> {
    let rows = session.query(sql, &[]).await?;
    Ok(read(&rows, Cells::number)?.first().copied().unwrap_or(0))
}

/// Compares every counter with the rows and the rows with one another, in one moment of the database.
///
/// A rule that is broken is told like an account: none may break it, and so many rows do.
pub(super) async fn verify(session: &mut Session) -> Result<Vec<Discrepancy>, Failure> {
    let mut found: Vec<Discrepancy> = shape::missing(session).await?.into_iter().map(ledger::gone).collect();
    match wrong_rows(session).await {
        Ok(wrong) => found.extend(wrong),
        // Where something is missing, not every question can be asked.
        Err(_) if !found.is_empty() => {}
        Err(failure) => return Err(failure),
    }
    Ok(found)
}

async fn wrong_rows(session: &mut Session) -> Result<Vec<Discrepancy>, Failure> {
    let mut found = disagreements(session).await?;
    for (what, sql) in RULES {
        let rows = number(session, sql).await?;
        if rows > 0 {
            found.push(Discrepancy { account: what.to_owned(), counter: 0, rows });
        }
    }
    Ok(found)
}

/// Counters that differ from the rows, or from the sum of their days.
async fn disagreements(session: &mut Session) -> Result<Vec<Discrepancy>, Failure> {
    let days = days::sums(session).await?;
    let counters = counters(session).await?;
    let notifications = "SELECT s.text, g.kind, g.rows, g.duplicates FROM
                   (SELECT source, kind, count(*) AS rows, sum(duplicates)::bigint AS duplicates FROM notification
                    WHERE edited_from IS NULL GROUP BY source, kind) g
               LEFT JOIN name s ON s.id = g.source";
    let deliveries = "SELECT t.text, g.state, g.rows, 0::bigint FROM
                   (SELECT way, state, count(*) AS rows FROM delivery GROUP BY way, state) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    let attempts = "SELECT t.text, '', g.rows, g.unknown FROM
                   (SELECT d.way AS way, count(*) AS rows, count(*) FILTER (WHERE a.outcome = 'unknown') AS unknown
                    FROM attempt a LEFT JOIN delivery d ON d.id = a.delivery GROUP BY d.way) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    let rows = Rows {
        notifications: grouped(session, notifications).await?,
        deliveries: grouped(session, deliveries).await?,
        attempts: grouped(session, attempts).await?,
        days,
    };
    Ok(ledger::disagreements(&counters, &rows))
}

/// A name, a word and two sums of each group.
async fn grouped(session: &mut Session, sql: &str) -> Result<Vec<Group>, Failure> {
    let rows = session.query(sql, &[]).await?;
    read(&rows, |cells| {
        let name = cells.maybe_text()?.unwrap_or_else(|| "(unknown)".to_owned());
        Ok((name, cells.next()?, cells.number()?, cells.number()?))
    })
}

/// What must hold of all rows: each query counts those that break it.
const RULES: [(&str, &str); 17] = [
    (
        "deliveries without their notification",
        "SELECT count(*) FROM delivery d WHERE NOT EXISTS (SELECT 1 FROM notification n WHERE n.id = d.notification)",
    ),
    (
        "notifications without their envelope",
        "SELECT count(*) FROM notification n WHERE NOT EXISTS (SELECT 1 FROM envelope e WHERE e.id = n.envelope)",
    ),
    (
        "lanes with more than one delivery waiting or in flight",
        "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE unsettled AND lane_key IS NOT NULL
         AND state IN ('waiting', 'in_flight') GROUP BY lane_key HAVING count(*) > 1) lanes",
    ),
    (
        "lanes in which a delivery waits behind another",
        "SELECT count(*) FROM delivery d WHERE unsettled AND lane_key IS NOT NULL AND state = 'waiting' AND EXISTS
         (SELECT 1 FROM delivery b WHERE b.lane_key = d.lane_key AND b.unsettled AND b.id < d.id)",
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
         WHERE d.comes_after IS NOT NULL AND d.unsettled AND NOT lead.has_followers",
    ),
    (
        "deliveries in flight without an attempt under way",
        "SELECT count(*) FROM delivery d WHERE state = 'in_flight' AND NOT EXISTS
         (SELECT 1 FROM attempt a WHERE a.lease = d.lease AND a.delivery = d.id AND a.outcome IS NULL)",
    ),
    (
        "entries of the audit log that are missing",
        "SELECT coalesce((SELECT sum(value) FILTER (WHERE kind = 'audit') - coalesce(sum(value) FILTER (WHERE kind =
         'pruned_audit'), 0) FROM counter WHERE kind IN ('audit', 'pruned_audit')), 0)::bigint - count(*) FROM audit",
    ),
    (
        "fields that notifications are found by without their notification",
        "SELECT count(*) FROM searched s WHERE NOT EXISTS (SELECT 1 FROM notification n WHERE n.id = s.notification)",
    ),
    (
        "values kept of answers without their delivery",
        "SELECT count(*) FROM kept k WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = k.delivery)",
    ),
    (
        ledger::NO_NAME,
        "SELECT count(*) FROM (
             SELECT 'route' AS kind, route AS id FROM way UNION SELECT 'destination', destination FROM way
             UNION SELECT 'system', system FROM way UNION SELECT 'system', system FROM delivery
             UNION SELECT 'system', name FROM system UNION SELECT 'system', system FROM system_active
             UNION SELECT 'source', source FROM envelope UNION SELECT 'source', source FROM notification
             UNION SELECT 'organization', organization FROM notification
             UNION SELECT 'route', route FROM newest_delivery UNION SELECT 'route', route FROM stale_mark
             UNION SELECT 'organization', organization FROM stale_mark
             UNION SELECT replace(kind, 'pruned_', ''), owner FROM counter WHERE owner <> 0
             UNION SELECT kind, owner FROM account_day UNION SELECT 'source', source FROM source_heard
         ) used WHERE NOT EXISTS (SELECT 1 FROM name WHERE name.id = used.id AND name.kind = used.kind)",
    ),
    (
        ledger::NO_WAY,
        "SELECT count(DISTINCT d.way) FROM delivery d WHERE NOT EXISTS (SELECT 1 FROM way w WHERE w.id = d.way)",
    ),
    (
        ledger::NO_CONFIGURATION,
        "SELECT count(*) FROM (
             SELECT config_version AS id FROM envelope UNION SELECT config_version FROM attempt
             UNION SELECT same_bytes_as FROM delivery UNION SELECT as_it_was FROM delivery
             UNION SELECT version FROM config_taken
         ) used WHERE id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM config_version c WHERE c.id = used.id)",
    ),
    (
        // The last number given stands with its sequence, and may be ahead of what is seen here.
        ledger::NUMBERS_AGAIN,
        "SELECT count(*) FROM (
             SELECT (SELECT max(id) FROM envelope) AS used, CASE WHEN is_called THEN last_value ELSE 0 END AS given FROM envelope_id
             UNION ALL SELECT (SELECT max(id) FROM notification), CASE WHEN is_called THEN last_value ELSE 0 END FROM notification_row
             UNION ALL SELECT (SELECT max(id) FROM delivery), CASE WHEN is_called THEN last_value ELSE 0 END FROM delivery_id
             UNION ALL SELECT (SELECT max(lease) FROM attempt), CASE WHEN is_called THEN last_value ELSE 0 END FROM lease_id
             UNION ALL SELECT (SELECT max(id) FROM audit), CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_id_seq
             UNION ALL SELECT (SELECT max(id) FROM name), CASE WHEN is_called THEN last_value ELSE 0 END FROM name_id_seq
             UNION ALL SELECT (SELECT max(id) FROM way), CASE WHEN is_called THEN last_value ELSE 0 END FROM way_id_seq
             UNION ALL SELECT (SELECT max(id) FROM config_version), CASE WHEN is_called THEN last_value ELSE 0 END
                 FROM config_version_id_seq
         ) numbers WHERE used > given",
    ),
    (
        ledger::NO_CHAIN,
        "SELECT count(*) FROM (SELECT 1) one WHERE NOT EXISTS (SELECT 1 FROM audit_chain WHERE id = 1
             AND head_entry = (SELECT coalesce(max(id), 0) FROM audit))",
    ),
    (
        ledger::NO_CONTENT,
        "SELECT count(*) FROM delivery d JOIN notification n ON n.id = d.notification
         WHERE d.unsettled AND d.replay_of IS NULL AND n.record_type <> '' AND octet_length(n.xml) = 0",
    ),
];

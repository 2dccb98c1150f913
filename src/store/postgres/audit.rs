//! The ledger, and its comparison with the rows.

use super::days;
use super::failure::Failure;
use super::session::{Cells, Session, read};
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
const RULES: [(&str, &str); 9] = [
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
];

//! The ledger, and its comparison with the rows.

use std::collections::BTreeMap;

use super::days;
use super::failure::Failure;
use super::session::{Cells, Session, read};
use crate::clock::Timestamp;
use crate::store::{AttemptCounts, Backlog, DeliveryCounts, Discrepancy, Ledger, NotificationCounts};

/// An account's name in words, such as `destination erp-create, delivered`, and what it holds.
type Sums = BTreeMap<String, i64>;

/// The accounts.
pub(super) async fn ledger(session: &mut Session) -> Result<Ledger, Failure> {
    let mut ledger = Ledger::default();
    for (kind, owner, account, value) in counters(session).await? {
        match kind.as_str() {
            "source" => add_notifications(ledger.sources.entry(owner).or_default(), &account, value),
            "destination" => match account.as_str() {
                "attempts" => ledger.attempts.total += value,
                "attempts_unknown" => ledger.attempts.unknown += value,
                _ => add_deliveries(ledger.destinations.entry(owner).or_default(), &account, value),
            },
            _ => {}
        }
    }
    for counts in ledger.sources.values() {
        for (account, value) in counts.by_name() {
            add_notifications(&mut ledger.notifications, account, value);
        }
    }
    for counts in ledger.destinations.values() {
        for (account, value) in counts.by_name() {
            add_deliveries(&mut ledger.deliveries, account, value);
        }
    }
    let AttemptCounts { total, unknown } = ledger.attempts;
    ledger.balanced = ledger.sources.values().all(NotificationCounts::balanced)
        && ledger.destinations.values().all(DeliveryCounts::balanced)
        && (0..=total).contains(&unknown);
    Ok(ledger)
}

async fn counters(session: &mut Session) -> Result<Vec<(String, String, String, i64)>, Failure> {
    let sql = "SELECT c.kind, coalesce(n.text, ''), c.account, c.value FROM
                   (SELECT kind, owner, account, sum(value)::bigint AS value FROM counter GROUP BY kind, owner, account) c
               LEFT JOIN name n ON n.id = c.owner";
    let rows = session.query(sql, &[]).await?;
    read(&rows, |cells| Ok((cells.next()?, cells.text()?, cells.next()?, cells.number()?)))
}

pub(super) fn add_notifications(counts: &mut NotificationCounts, account: &str, value: i64) {
    let count = match account {
        "received" => &mut counts.received,
        "unique" => &mut counts.unique,
        "duplicate" => &mut counts.duplicate,
        "revised" => &mut counts.revised,
        "routed" => &mut counts.routed,
        "unrouted" => &mut counts.unrouted,
        "skipped_empty" => &mut counts.skipped_empty,
        "unreadable" => &mut counts.unreadable,
        "quarantined" => &mut counts.quarantined,
        _ => return,
    };
    *count += value;
}

pub(super) fn add_deliveries(counts: &mut DeliveryCounts, account: &str, value: i64) {
    let count = match account {
        "routed" => &mut counts.routed,
        "waiting" => &mut counts.waiting,
        "blocked" => &mut counts.blocked,
        "in_flight" => &mut counts.in_flight,
        "held" => &mut counts.held,
        "delivered" => &mut counts.delivered,
        "dead" => &mut counts.dead,
        "superseded" => &mut counts.superseded,
        "discarded" => &mut counts.discarded,
        _ => return,
    };
    *count += value;
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

/// Counters that differ from the rows and what was pruned of them, or from the sum of their days.
///
/// What came again with the same content is counted for the source it came from, and noted on the row it repeats, which
/// may be another source's: `received` and `duplicate` are compared in sum.
async fn disagreements(session: &mut Session) -> Result<Vec<Discrepancy>, Failure> {
    let by_day = differing_days(session).await?;
    let mut counted = counted(session).await?;
    let found = found(session).await?;
    for account in found.keys() {
        counted.entry(account.clone()).or_insert(0);
    }
    let compare = |(account, counter): (String, i64)| {
        let rows = found.get(&account).copied().unwrap_or(0);
        (rows != counter).then_some(Discrepancy { account, counter, rows })
    };
    Ok(counted.into_iter().filter_map(compare).chain(by_day).collect())
}

/// Counters that differ from the sum of what their days say.
async fn differing_days(session: &mut Session) -> Result<Vec<Discrepancy>, Failure> {
    let mut pairs: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (kind, owner, account, sum) in days::sums(session).await? {
        pairs.entry(format!("{kind} {owner}, {account}, by day")).or_default().1 += sum;
    }
    for (kind, owner, account, value) in counters(session).await? {
        if matches!(kind.as_str(), "source" | "destination") {
            pairs.entry(format!("{kind} {owner}, {account}, by day")).or_default().0 += value;
        }
    }
    let differ = |(account, (counter, rows))| (counter != rows).then_some(Discrepancy { account, counter, rows });
    Ok(pairs.into_iter().filter_map(differ).collect())
}

async fn counted(session: &mut Session) -> Result<Sums, Failure> {
    let mut sums = Sums::new();
    for (kind, owner, account, value) in counters(session).await? {
        let name = match (kind.as_str(), account.as_str()) {
            ("source", "received" | "duplicate") => format!("all sources, {account}"),
            ("source" | "destination", _) => format!("{kind} {owner}, {account}"),
            _ => continue,
        };
        *sums.entry(name).or_insert(0) += value;
    }
    Ok(sums)
}

async fn found(session: &mut Session) -> Result<Sums, Failure> {
    let mut sums = Sums::new();
    let mut add = |name: String, value: i64| *sums.entry(name).or_insert(0) += value;
    // What a person edited did not come in, and is counted nowhere.
    let sql = "SELECT s.text, g.kind, g.rows, g.duplicates FROM
                   (SELECT source, kind, count(*) AS rows, sum(duplicates)::bigint AS duplicates FROM notification
                    WHERE edited_from IS NULL GROUP BY source, kind) g
               LEFT JOIN name s ON s.id = g.source";
    for (source, kind, rows, duplicates) in grouped(session, sql).await? {
        add("all sources, received".to_owned(), rows + duplicates);
        add("all sources, duplicate".to_owned(), duplicates);
        if kind != "revised" {
            add(format!("source {source}, unique"), rows);
        }
        add(format!("source {source}, {kind}"), rows);
    }
    let sql = "SELECT t.text, g.state, g.rows, 0::bigint FROM
                   (SELECT way, state, count(*) AS rows FROM delivery GROUP BY way, state) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    for (destination, state, rows, _) in grouped(session, sql).await? {
        add(format!("destination {destination}, {state}"), rows);
        add(format!("destination {destination}, routed"), rows);
    }
    let sql = "SELECT t.text, '', g.rows, g.unknown FROM
                   (SELECT d.way AS way, count(*) AS rows, count(*) FILTER (WHERE a.outcome = 'unknown') AS unknown
                    FROM attempt a LEFT JOIN delivery d ON d.id = a.delivery GROUP BY d.way) g
               LEFT JOIN way w ON w.id = g.way LEFT JOIN name t ON t.id = w.destination";
    for (destination, _, rows, unknown) in grouped(session, sql).await? {
        add(format!("destination {destination}, attempts"), rows);
        add(format!("destination {destination}, attempts_unknown"), unknown);
    }
    for (kind, owner, account, value) in counters(session).await? {
        match (kind.as_str(), account.as_str()) {
            ("pruned_source", "received" | "duplicate") => add(format!("all sources, {account}"), value),
            ("pruned_source", _) => add(format!("source {owner}, {account}"), value),
            ("pruned_destination", _) => add(format!("destination {owner}, {account}"), value),
            _ => {}
        }
    }
    Ok(sums)
}

/// A name, a word and two sums of each group.
async fn grouped(session: &mut Session, sql: &str) -> Result<Vec<(String, String, i64, i64)>, Failure> {
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

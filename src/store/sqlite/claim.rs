//! Leases the next eligible deliveries of a system, and gives leases back.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Row;
use serde_json::Map;

use super::after;
use super::books::{Books, Failure};
use super::kept;
use super::lane;
use crate::clock::Timestamp;
use crate::delivery::{ConfigVersion, DeliveryId, Lease, State};
use crate::mutation::{self, Mutation};
use crate::stale::Mark;
use crate::store::accounts::{self, Account};
use crate::store::attempt::LOOKING_UP;
use crate::store::names::{Kind, Way};
use crate::store::turn::Turn;
use crate::store::{self, Claim, Claimed, Claims, StoreError, StoredNotification};

/// No claim takes more than this, whatever it asks for.
const CLAIM_MAX: usize = 1_000;

/// A delivery that is due.
#[derive(Debug)]
struct Due {
    at: i64,
    id: i64,
    way: Arc<Way>,
}

/// A delivery's own columns.
#[derive(Debug)]
struct Columns {
    notification: i64,
    lane: Option<String>,
    attempts: u32,
    excused: u32,
    even_if_newer: bool,
    first_attempt_active_ms: Option<i64>,
    repeat_count: u32,
    repeat_key: Option<String>,
    same_bytes_as: Option<i64>,
    comes_after: Option<i64>,
    replay_of: Option<i64>,
    as_it_was: Option<i64>,
    carried: Option<Carried>,
}

/// What a delivery carries.
#[derive(Debug)]
struct Carried {
    envelope: i64,
    organization: i64,
    notification: StoredNotification,
}

/// Executes the command.
pub(super) fn claim(books: &mut Books, claim: &Claim) -> Result<Claims, Failure> {
    let limit = claim.limit.min(CLAIM_MAX);
    if limit == 0 {
        return Ok(Claims::default());
    }
    books.accounts.at(claim.now);
    let (due, next_due) = match newest_due(books, claim, limit)? {
        newest if newest.is_empty() => find_due(books, claim, limit)?,
        newest => (newest, None),
    };
    let mut claimed = Vec::with_capacity(due.len());
    for delivery in &due {
        claimed.extend(lease(books, claim, delivery)?);
    }
    spend(books, claim, &claimed)?;
    let next_due = if claimed.len() < due.len() {
        // Something had to be put aside: there may be more that is due.
        Some(claim.now)
    } else if due.len() < limit {
        next_due
    } else {
        None
    };
    Ok(Claims { claimed, next_due, state: None })
}

/// Notes that calls begin, for the rate: so that it holds over a restart too.
fn spend(books: &mut Books, claim: &Claim, claimed: &[Claimed]) -> Result<(), Failure> {
    let Some(rate) = claim.bounds.rate.as_ref().filter(|_| !claimed.is_empty()) else { return Ok(()) };
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let calls: usize = claimed.iter().map(|claimed| claimed.calls(&claim.bounds)).sum();
    let (now, took) = (claim.now.0.saturating_mul(1_000), rate.per_call * u32::try_from(calls).unwrap_or(u32::MAX));
    let earliest = now.saturating_sub(micros(rate.per_call * rate.burst.saturating_sub(1)));
    let latest = now.saturating_add(micros(rate.per_call * rate.burst.saturating_mul(2).saturating_add(1)));
    let system = books.names.number(books.connection, Kind::System, &claim.system)?;
    let sql = "INSERT INTO system (name, active_ms, next_call_us) VALUES (?1, 0, ?2 + ?4)
               ON CONFLICT DO UPDATE SET next_call_us = ?4 + CASE WHEN next_call_us > ?3 THEN ?5
                   ELSE max(coalesce(next_call_us, ?2), ?2) END";
    books.run(sql, (system, earliest, latest, micros(took), now)).map(|_| ())
}

/// The lowest due of all ways that may be served, and when the next one falls due.
///
/// Each way is a run of its own in the index of what is due, so nothing is read that is not eligible: at most `limit`
/// entries and one more of each way.
fn find_due(books: &mut Books, claim: &Claim, limit: usize) -> Result<(Vec<Due>, Option<Timestamp>), Failure> {
    let sql = "SELECT due_at, id FROM delivery INDEXED BY delivery_due
               WHERE way = ?1 AND state = 'waiting' ORDER BY due_at, id LIMIT ?2";
    let fetched = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut due = Vec::new();
    let mut next_due = None;
    for way in books.names.ways_of_system(books.connection, &claim.system)? {
        if !claim.routes.contains(&way.route_name) || !claim.destinations.contains(&way.destination_name) {
            continue;
        }
        let rows = books.list(sql, (way.id, fetched), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        for (at, id) in rows {
            if at > claim.now.0 && !mutation::active(Mutation::DueTimeIgnored) {
                next_due = Some(next_due.map_or(at, |next: i64| next.min(at)));
                break;
            }
            due.push(Due { at, id, way: Arc::clone(&way) });
        }
    }
    due.sort_unstable_by_key(|delivery| (delivery.at, delivery.id));
    due.truncate(limit);
    Ok((due, next_due.map(Timestamp)))
}

/// What fell due last, where the claim asks for that.
fn newest_due(books: &mut Books, claim: &Claim, limit: usize) -> Result<Vec<Due>, Failure> {
    let mut due = Vec::new();
    if !claim.newest_first {
        return Ok(due);
    }
    let sql = "SELECT due_at, id FROM delivery INDEXED BY delivery_due
               WHERE way = ?1 AND state = 'waiting' AND due_at <= ?2 ORDER BY due_at DESC, id DESC LIMIT ?3";
    let fetched = i64::try_from(limit).unwrap_or(i64::MAX);
    for way in books.names.ways_of_system(books.connection, &claim.system)? {
        if !claim.routes.contains(&way.route_name) || !claim.destinations.contains(&way.destination_name) {
            continue;
        }
        let values = (way.id, claim.now.0, fetched);
        let rows = books.list(sql, values, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        due.extend(rows.into_iter().map(|(at, id)| Due { at, id, way: Arc::clone(&way) }));
    }
    due.sort_unstable_by_key(|delivery| std::cmp::Reverse((delivery.at, delivery.id)));
    due.truncate(limit);
    Ok(due)
}

/// Begins one attempt; none when the delivery has nothing to carry.
fn lease(books: &mut Books, claim: &Claim, due: &Due) -> Result<Option<Claimed>, Failure> {
    let mut columns = columns(books, due.id)?;
    let row = columns.notification;
    let Carried { organization, envelope, notification } = match columns.carried.take() {
        Some(Carried { notification, .. }) if notification.is_pruned() => {
            let reason =
                format!("its record was pruned from the store: {} came too long ago", notification.notification_id);
            bury(books, due.id, &reason, claim.now)?;
            return Ok(None);
        }
        Some(carried) => carried,
        None => {
            let reason = format!("its notification (row {row}) or envelope is missing from the store");
            bury(books, due.id, &reason, claim.now)?;
            return Ok(None);
        }
    };
    let after = match columns.comes_after.map(|lead| kept::of_chain(books, lead)) {
        None => Map::new(),
        Some(Ok(after)) => after,
        Some(Err(Failure::Rule(error))) => {
            bury(books, due.id, &error.to_string(), claim.now)?;
            return Ok(None);
        }
        Some(Err(error)) => return Err(error),
    };
    let lease = books.sequences.next_lease();
    let attempt = columns.attempts.saturating_add(1);
    let first_attempt_active_ms = columns.first_attempt_active_ms.unwrap_or(claim.active_ms);
    let sql = "UPDATE delivery SET state = 'in_flight', due_at = NULL, lease = ?2, attempts = ?3,
               first_attempt_active_ms = ?4, changed_at = ?5 WHERE id = ?1";
    books.run(sql, (due.id, lease, attempt, first_attempt_active_ms, claim.now.0))?;
    begin_attempt(books, claim, due, &columns, (lease, attempt))?;
    books.accounts.post(accounts::begun(due.way.destination));
    Ok(Some(Claimed {
        delivery: DeliveryId(due.id),
        lease: Lease(lease),
        attempt,
        excused: columns.excused,
        route: due.way.route_name.clone(),
        destination: due.way.destination_name.clone(),
        system: due.way.system_name.clone(),
        lane: columns.lane,
        stale_mark: stale_mark(books, due.way.route, organization, &notification.record_id)?,
        notification,
        envelope,
        first_attempt_active_ms,
        repeat: columns.repeat_key.map(|key| (key, columns.repeat_count)),
        same_bytes_as: columns.same_bytes_as.map(ConfigVersion),
        even_if_newer: columns.even_if_newer,
        comes_after: columns.comes_after.is_some(),
        after,
        replay_of: columns.replay_of.map(DeliveryId),
        as_it_was: columns.as_it_was.map(ConfigVersion),
        unreadable: None,
    }))
}

/// Writes that an attempt is under way: a look-up first, where what an earlier one came to is to be looked up.
fn begin_attempt(
    books: &Books,
    claim: &Claim,
    due: &Due,
    columns: &Columns,
    (lease, attempt): (i64, u32),
) -> Result<(), Failure> {
    if mutation::active(Mutation::AttemptNotWritten) {
        return Ok(());
    }
    let config_version = columns.same_bytes_as.or(columns.as_it_was).unwrap_or(claim.config_version.0);
    let looks_up = columns.same_bytes_as.is_some() && claim.bounds.looks_up(&due.way.route_name);
    let sql = "INSERT INTO attempt (lease, delivery, number, config_version, started_at, reason)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    books.run(sql, (lease, due.id, attempt, config_version, claim.now.0, looks_up.then_some(LOOKING_UP))).map(|_| ())
}

/// A row that was removed by hand or by damage must not stop its whole system, nor is a record sent that is not there.
fn bury(books: &mut Books, delivery: i64, reason: &str, now: Timestamp) -> Result<(), Failure> {
    let place = lane::place_of(books, delivery)?;
    let turn = Turn { to: State::Dead, due_at: None, unsettled: false, reason: Some(reason), at: now };
    lane::turn(books, &place, turn)?;
    lane::promote(books, &place, now)?;
    after::tell(books, delivery, now).map(|_| ())
}

/// A delivery and what it carries, read at once: a row more or less is nothing beside a statement more.
fn columns(books: &Books, delivery: i64) -> Result<Columns, Failure> {
    let sql = "SELECT d.notification, d.lane, d.attempts, d.first_attempt_active_ms, d.repeat_count, d.repeat_key,
               d.same_bytes_as, d.excused, d.even_if_newer, d.comes_after, d.replay_of, d.as_it_was,
               e.id, s.text, e.organization_id, e.action_id, e.enterprise_url, e.partner_url, e.received_at,
               n.organization, n.notification_id, n.revision, n.record_type, n.record_id, n.xml
               FROM delivery d LEFT JOIN notification n ON n.id = d.notification LEFT JOIN envelope e ON e.id = n.envelope
               LEFT JOIN name s ON s.id = n.source WHERE d.id = ?1";
    let found = books.find(sql, [delivery], |row| {
        Ok(Columns {
            notification: row.get(0)?,
            lane: row.get(1)?,
            attempts: row.get(2)?,
            first_attempt_active_ms: row.get(3)?,
            repeat_count: row.get(4)?,
            repeat_key: row.get(5)?,
            same_bytes_as: row.get(6)?,
            excused: row.get(7)?,
            even_if_newer: row.get(8)?,
            comes_after: row.get(9)?,
            replay_of: row.get(10)?,
            as_it_was: row.get(11)?,
            carried: carried(row)?,
        })
    })?;
    found.ok_or_else(|| Failure::Rule(StoreError::Refused(format!("delivery {delivery} is due and has no row"))))
}

fn carried(row: &Row<'_>) -> rusqlite::Result<Option<Carried>> {
    let (Some(envelope), Some(source)) = (row.get(12)?, row.get(13)?) else { return Ok(None) };
    let notification = StoredNotification {
        row: row.get(0)?,
        source,
        organization_id: row.get(14)?,
        action_id: row.get(15)?,
        enterprise_url: row.get(16)?,
        partner_url: row.get(17)?,
        received_at: Timestamp(row.get(18)?),
        notification_id: row.get(20)?,
        revision: row.get(21)?,
        record_type: row.get(22)?,
        record_id: row.get(23)?,
        xml: row.get(24)?,
    };
    Ok(Some(Carried { envelope, organization: row.get(19)?, notification }))
}

fn stale_mark(books: &Books, route: i64, organization: i64, record_id: &str) -> Result<Option<Mark>, Failure> {
    if record_id.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT field, value FROM stale_mark WHERE route = ?1 AND organization = ?2 AND record_id = ?3";
    let read = |row: &Row<'_>| Ok(Mark { field: row.get(0)?, value: row.get(1)? });
    books.find(sql, (route, organization, record_id), read)
}

/// Gives leases back whose call was never begun; what is no longer leased is passed by.
pub(super) fn release(books: &mut Books, leases: &[(DeliveryId, Lease)], now: Timestamp) -> Result<(), Failure> {
    books.accounts.at(now);
    for (delivery, lease) in leases {
        if let Some(place) = leased(books, *delivery, *lease)? {
            give_back(books, &place, *lease, now)?;
        }
    }
    Ok(())
}

/// Gives one lease back: the delivery waits as before.
pub(super) fn give_back(books: &mut Books, place: &lane::Place, lease: Lease, now: Timestamp) -> Result<(), Failure> {
    let reason = place.reason.clone();
    lane::take_turn(books, place, now, reason.as_deref(), now, None)?;
    uncount(books, place, lease)
}

/// The place of a delivery that is in flight under this lease.
fn leased(books: &mut Books, delivery: DeliveryId, lease: Lease) -> Result<Option<lane::Place>, Failure> {
    let is_leased = |place: &lane::Place| place.state == State::InFlight && place.lease == Some(lease.0);
    Ok(lane::place(books, delivery.0)?.filter(is_leased))
}

/// The look-up before a call is over, and the call begins.
pub(super) fn begin_call(books: &mut Books, delivery: DeliveryId, lease: Lease) -> Result<(), Failure> {
    if leased(books, delivery, lease)?.is_none() {
        return Err(Failure::Rule(StoreError::LeaseLost));
    }
    books.run("UPDATE attempt SET reason = NULL WHERE lease = ?1", [lease.0]).map(|_| ())
}

/// Books a leased delivery on another way of its system.
pub(super) fn redirect(
    books: &mut Books,
    delivery: DeliveryId,
    lease: Lease,
    way: &store::Way,
    now: Timestamp,
) -> Result<(), Failure> {
    books.accounts.at(now);
    let Some(place) = leased(books, delivery, lease)? else {
        return Err(Failure::Rule(StoreError::LeaseLost));
    };
    let to = books.names.way_to(books.connection, [&way.route, &way.destination, &way.system])?;
    if to.system != place.way.system || to.route != place.way.route {
        let rule = format!("delivery {delivery} cannot leave its route and its system");
        return Err(Failure::Rule(StoreError::Refused(rule)));
    }
    let sql = "SELECT count(*), coalesce(sum(outcome IS 'unknown'), 0) FROM attempt WHERE delivery = ?1";
    let tried = books.find(sql, [delivery.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let (attempts, unknown) = tried.unwrap_or_default();
    books.run("UPDATE delivery SET way = ?2 WHERE id = ?1", [delivery.0, to.id])?;
    books.accounts.post(accounts::redirected(place.way.destination, to.destination, attempts, unknown));
    Ok(())
}

/// Takes an attempt back for which no call was made: as if it had never been begun.
pub(super) fn uncount(books: &mut Books, place: &lane::Place, lease: Lease) -> Result<(), Failure> {
    books.run("DELETE FROM attempt WHERE lease = ?1", [lease.0])?;
    let sql = "UPDATE delivery SET attempts = attempts - 1,
               first_attempt_active_ms = iif(attempts = 1, NULL, first_attempt_active_ms) WHERE id = ?1";
    books.run(sql, [place.id])?;
    books.accounts.add(Account::destination(place.way.destination, "attempts"), -1);
    Ok(())
}

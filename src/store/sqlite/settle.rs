//! Completes attempts: by their outcome, or because the process that made the call is gone.

use super::after;
use super::books::{Books, Failure};
use super::claim;
use super::kept;
use super::lane::{self, Place, Remembered};
use crate::clock::Timestamp;
use crate::delivery::{Lease, State};
use crate::mutation::{self, Mutation};
use crate::stale::Mark;
use crate::store::accounts::Account;
use crate::store::attempt::{self, LOOKING_UP, STOPPED, UNKNOWN};
use crate::store::names::Kind;
use crate::store::turn::{self, Next};
use crate::store::{NOT_CALLED, Settle, Settlement, StoreError};

/// Executes the command.
pub(super) fn settle(books: &mut Books, settle: &Settle) -> Result<(), Failure> {
    let place = lane::place(books, settle.delivery.0)?;
    let place = place.filter(|place| {
        let leased = place.state == State::InFlight && place.lease == Some(settle.lease.0);
        leased || mutation::active(Mutation::NoLeaseGuard)
    });
    let Some(place) = place else { return Err(Failure::Rule(StoreError::LeaseLost)) };
    books.accounts.at(settle.ended_at);
    if settle.outcome == NOT_CALLED {
        move_on(books, &place, &settle.settlement, &settle.reason, settle.ended_at, None)?;
        claim::uncount(books, &place, settle.lease)?;
    } else {
        complete_attempt(books, settle)?;
        if settle.outcome == UNKNOWN && !mutation::active(Mutation::UnknownCountedAsRetry) {
            books.accounts.add(Account::destination(place.way.destination, "attempts_unknown"), 1);
        }
        kept::write(books, place.id, &settle.kept)?;
        let call = remembered(settle);
        move_on(books, &place, &settle.settlement, &settle.reason, settle.ended_at, Some(&call))?;
    }
    books.note_open_time(place.way.system, settle.active_ms);
    match &settle.stale_mark {
        Some(_) if mutation::active(Mutation::StaleMarkNotWritten) => Ok(()),
        Some(mark) => keep_stale_mark(books, &place, mark),
        None => Ok(()),
    }
}

fn complete_attempt(books: &Books, settle: &Settle) -> Result<(), Failure> {
    let record = &settle.record;
    let fault = attempt::write_fault(record.fault.as_ref()).map_err(StoreError::Refused)?;
    let sql = "UPDATE attempt SET ended_at = ?2, outcome = ?3, duration_ms = ?4, status = ?5, request_cut = ?6,
               response_cut = ?7, reason = ?8, fault = ?9, request_line = ?10, request = ?11, response = ?12,
               call_hash = ?13 WHERE lease = ?1";
    let values = (
        settle.lease.0,
        settle.ended_at.0,
        settle.outcome,
        i64::try_from(settle.duration.as_millis()).unwrap_or(i64::MAX),
        record.status,
        record.request_cut,
        record.response_cut,
        Some(&settle.reason).filter(|reason| !reason.is_empty()),
        fault,
        &record.request_line,
        &record.request,
        &record.response,
        &record.call_hash,
    );
    books.run(sql, values).map(|_| ())
}

fn remembered(settle: &Settle) -> Remembered<'_> {
    Remembered {
        status: settle.record.status,
        repeat_key: settle.repeat_key.as_deref(),
        is_excused: settle.excused,
        goes_on: matches!(settle.settlement, Settlement::Waiting { .. }),
        is_unknown: settle.outcome == UNKNOWN && !mutation::active(Mutation::NewBytesAfterUnknown),
        lease: settle.lease.0,
    }
}

/// Gives the delivery its new state, and lets its lane go on.
fn move_on(
    books: &mut Books,
    place: &Place,
    settlement: &Settlement,
    last_reason: &str,
    at: Timestamp,
    call: Option<&Remembered<'_>>,
) -> Result<(), Failure> {
    let last_reason = Some(last_reason).filter(|reason| !reason.is_empty());
    let turn = match turn::settled(settlement, place.lane.as_ref(), at) {
        Next::Again(due_at) => {
            lane::take_turn(books, place, due_at, last_reason, at, call)?;
            return if mutation::active(Mutation::LaneIgnoredForRetries) {
                lane::pass_by(books, place, at)
            } else {
                Ok(())
            };
        }
        Next::Turn(turn) => turn,
    };
    lane::turn_after(books, place, turn, call)?;
    lane::promote(books, place, at)?;
    if place.has_followers {
        after::tell(books, place.id, at)?;
    }
    Ok(())
}

fn keep_stale_mark(books: &Books, place: &Place, mark: &Mark) -> Result<(), Failure> {
    let sql = "INSERT INTO stale_mark (route, organization, record_id, value, field)
               SELECT ?2, n.organization, n.record_id, ?3, ?4
               FROM delivery d CROSS JOIN notification n ON n.id = d.notification
               WHERE d.id = ?1 AND n.record_id <> ''
               ON CONFLICT DO UPDATE SET value = excluded.value, field = excluded.field";
    books.run(sql, (place.id, place.way.route, &mark.value, &mark.field)).map(|_| ())
}

/// Completes every attempt that an earlier process left: whether its call was taken, nobody knows. The delivery is sent
/// again, or held for a person where its destination says so. One that was only being looked up is left as it was. How many
/// there were.
pub(super) fn rescue(books: &mut Books, hold: &[String], now: Timestamp) -> Result<u64, Failure> {
    books.accounts.at(now);
    let sql = "SELECT id FROM delivery INDEXED BY delivery_in_flight WHERE state = 'in_flight' ORDER BY id";
    let left: Vec<i64> = books.list(sql, [], |row| row.get(0))?;
    if mutation::active(Mutation::RescueForgotten) {
        return Ok(0);
    }
    for delivery in &left {
        let place = lane::place_of(books, *delivery)?;
        let sql = "SELECT lease FROM attempt WHERE lease = ?1 AND reason = ?2";
        if let Some(lease) = books.find(sql, (place.lease, LOOKING_UP), |row| row.get(0))? {
            claim::give_back(books, &place, Lease(lease), now)?;
            continue;
        }
        let sql = "UPDATE attempt SET ended_at = ?2, outcome = 'unknown', reason = ?3 WHERE lease = ?1";
        books.run(sql, (place.lease, now.0, STOPPED))?;
        let sql = "UPDATE delivery SET status = NULL, repeat_count = 0, repeat_key = NULL,
                   same_bytes_as = (SELECT config_version FROM attempt WHERE attempt.lease = delivery.lease)
                   WHERE id = ?1";
        books.run(sql, [delivery])?;
        books.accounts.add(Account::destination(place.way.destination, "attempts_unknown"), 1);
        let settlement = attempt::stopped(hold, &place.way.destination_name, now);
        move_on(books, &place, &settlement, STOPPED, now, None)?;
    }
    Ok(u64::try_from(left.len()).unwrap_or(u64::MAX))
}

/// Pulls due times beyond `latest` back to it, of blocked deliveries too, at most `limit` of them; how many.
pub(super) fn pull_back(books: &mut Books, now: Timestamp, latest: Timestamp, limit: i64) -> Result<u64, Failure> {
    let ways: Vec<i64> = books.list("SELECT id FROM way", [], |row| row.get(0))?;
    let mut pulled = 0;
    for way in ways {
        let sql = "UPDATE delivery SET due_at = CASE attempts WHEN 0 THEN ?2 ELSE ?3 END WHERE id IN (
                       SELECT id FROM delivery INDEXED BY delivery_due WHERE way = ?1 AND state = 'waiting'
                       AND due_at > ?2 AND (due_at > ?3 OR attempts = 0) LIMIT ?4)";
        let left = limit.saturating_sub(pulled);
        pulled += i64::try_from(books.run(sql, (way, now.0, latest.0, left))?).unwrap_or(i64::MAX);
    }
    let sql = "UPDATE delivery SET not_before = ?1 WHERE id IN (
                   SELECT id FROM delivery INDEXED BY delivery_not_before WHERE not_before > ?1 LIMIT ?2)";
    pulled += i64::try_from(books.run(sql, (latest.0, limit.saturating_sub(pulled)))?).unwrap_or(i64::MAX);
    Ok(u64::try_from(pulled).unwrap_or(0))
}

/// Writes a system's state.
pub(super) fn set_system(books: &mut Books, system: &str, state: &crate::store::SystemState) -> Result<(), Failure> {
    let system = books.names.number(books.connection, Kind::System, system)?;
    let pause = state.paused.as_ref();
    let outage = state.breaker.as_ref();
    let sql = "INSERT INTO system (name, active_ms, paused_reason, paused_since, probe_at, paused_until, broken_reason,
               broken_since, broken_probe_at, broken_trips) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT DO UPDATE SET active_ms = max(active_ms, excluded.active_ms),
               paused_reason = excluded.paused_reason, paused_since = excluded.paused_since,
               probe_at = excluded.probe_at, paused_until = excluded.paused_until,
               broken_reason = excluded.broken_reason, broken_since = excluded.broken_since,
               broken_probe_at = excluded.broken_probe_at, broken_trips = excluded.broken_trips";
    let values = (
        system,
        state.active_ms,
        pause.map(|pause| &pause.reason),
        pause.map(|pause| pause.since.0),
        pause.and_then(|pause| pause.probe_at).map(|probe_at| probe_at.0),
        pause.and_then(|pause| pause.until).map(|until| until.0),
        outage.map(|outage| &outage.reason),
        outage.map(|outage| outage.since.0),
        outage.map(|outage| outage.probe_at.0),
        outage.map(|outage| outage.trips),
    );
    books.run(sql, values).map(|_| ())
}

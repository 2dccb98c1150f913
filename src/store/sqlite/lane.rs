//! Lanes: who may go next.
//!
//! In a lane at most one delivery is waiting or in flight: the lowest that is not settled. The one exception is a
//! replayed delivery that came back while a later one was in flight: it stands blocked, and is next when that call ends.
//! A head that comes after a delivery of another lane is blocked too, until that one is delivered.

use rusqlite::Params;

use super::after;
use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::mutation::{self, Mutation};
use crate::store::StoreError;
use crate::store::accounts::{self, Account};
use crate::store::names::Way;
use crate::store::turn::Turn;

/// A delivery as the writer needs it to move it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: i64,
    pub(super) way: std::sync::Arc<Way>,
    pub(super) lane: Option<String>,
    pub(super) state: State,
    pub(super) unsettled: bool,
    pub(super) lease: Option<i64>,
    pub(super) attempts: u32,
    pub(super) reason: Option<String>,
    /// When it is due; of a blocked one, before when it is not to be sent.
    pub(super) due_at: Option<Timestamp>,
    /// The delivery that it comes after.
    pub(super) comes_after: Option<i64>,
    /// Whether others come after it.
    pub(super) has_followers: bool,
    /// Whether its lane stops behind it when it dies of the one that it comes after.
    pub(super) holds: bool,
    /// Whether a person had it made.
    pub(super) is_replay: bool,
}

/// What a delivery remembers of its last call: for the next one, and for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered<'a> {
    pub(super) status: Option<u16>,
    pub(super) repeat_key: Option<&'a str>,
    /// Whether it does not count towards the delivery's attempts.
    pub(super) is_excused: bool,
    /// Whether nobody knows what came of it: the next one sends the same bytes.
    pub(super) is_unknown: bool,
    /// Whether an earlier one may have been taken still, if nobody knows of that: it is sent again.
    pub(super) goes_on: bool,
    pub(super) lease: i64,
}

/// The statement that reads places.
macro_rules! placed {
    ($which:literal) => {
        concat!(
            "SELECT way, lane, state, unsettled, lease, attempts, reason, comes_after, has_followers, holds,
             replay_of IS NOT NULL, coalesce(due_at, not_before), id FROM delivery ",
            $which
        )
    };
}

/// Reads a delivery's place.
pub(super) fn place(books: &mut Books, delivery: i64) -> Result<Option<Place>, Failure> {
    read(books, placed!("WHERE id = ?1"), [delivery])
}

/// The place of the lowest delivery of a lane that is not settled.
fn head(books: &mut Books, system: i64, lane: &str) -> Result<Option<Place>, Failure> {
    let sql = placed!(
        "INDEXED BY delivery_lane WHERE system = ?1 AND lane = ?2 AND unsettled = 1 ORDER BY delivery.id LIMIT 1"
    );
    read(books, sql, (system, lane))
}

fn read(books: &mut Books, sql: &'static str, values: impl Params) -> Result<Option<Place>, Failure> {
    let found = books.find(sql, values, |row| {
        let (way, state) = (row.get::<_, i64>(0)?, row.get::<_, String>(2)?);
        let (lane, unsettled, lease) = (row.get::<_, Option<String>>(1)?, row.get(3)?, row.get(4)?);
        let ties = (row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?);
        let due_at = row.get::<_, Option<i64>>(11)?.map(Timestamp);
        Ok((row.get(12)?, way, state, lane, unsettled, lease, row.get(5)?, row.get(6)?, due_at, ties))
    })?;
    let Some((id, way, state, lane, unsettled, lease, attempts, reason, due_at, ties)) = found else { return Ok(None) };
    let way = books.names.way_of(books.connection, way)?;
    let state = parse_state(&state)?;
    let (comes_after, has_followers, holds, is_replay) = ties;
    Ok(Some(Place {
        id,
        way,
        lane,
        state,
        unsettled,
        lease,
        attempts,
        reason,
        due_at,
        comes_after,
        has_followers,
        holds,
        is_replay,
    }))
}

/// Reads a delivery's place, which must be there.
pub(super) fn place_of(books: &mut Books, delivery: i64) -> Result<Place, Failure> {
    place(books, delivery)?.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("delivery {delivery}"))))
}

fn parse_state(text: &str) -> Result<State, Failure> {
    text.parse().map_err(|error| Failure::Rule(StoreError::Refused(error)))
}

/// The statement that gives a delivery its new state, and what else it sets.
macro_rules! moving {
    ($also:literal) => {
        concat!(
            "UPDATE delivery SET state = ?2, due_at = ?3, lease = NULL, reason = ?4, changed_at = ?5, not_before = ?6",
            $also,
            " WHERE id = ?1"
        )
    };
}

/// Gives a delivery its new state, and the accounts with it.
pub(super) fn turn(books: &mut Books, place: &Place, turn: Turn<'_>) -> Result<(), Failure> {
    turn_after(books, place, turn, None)
}

/// As [`turn`], with what the delivery remembers of the call that ended, in one statement.
pub(super) fn turn_after(
    books: &mut Books,
    place: &Place,
    turn: Turn<'_>,
    call: Option<&Remembered<'_>>,
) -> Result<(), Failure> {
    let (due_at, not_before) = moments(&turn);
    let (id, state, reason, at) = (place.id, turn.to.as_str(), turn.reason, turn.at.0);
    match call {
        Some(&Remembered { status, repeat_key, is_excused, is_unknown, goes_on, lease }) => {
            let sql = moving!(
                ", unsettled = ?7, status = ?8,
                   repeat_count = CASE WHEN ?9 IS NULL THEN 0 WHEN repeat_key = ?9 THEN repeat_count + 1 ELSE 1 END,
                   repeat_key = ?9, excused = excused + ?10,
                   first_attempt_active_ms = iif(?10, NULL, first_attempt_active_ms),
                   same_bytes_as = CASE WHEN ?11 THEN (SELECT config_version FROM attempt WHERE attempt.lease = ?12)
                       WHEN ?13 THEN same_bytes_as END"
            );
            let unsettled = turn.unsettled;
            let values = (
                id, state, due_at, reason, at, not_before, unsettled, status, repeat_key, is_excused, is_unknown,
                lease, goes_on,
            );
            books.run(sql, values)?;
        }
        // Leaves the indexes of what is unsettled alone.
        None if turn.unsettled == place.unsettled => {
            books.run(moving!(""), (id, state, due_at, reason, at, not_before))?;
        }
        None => {
            let sql = moving!(", unsettled = ?7");
            books.run(sql, (id, state, due_at, reason, at, not_before, turn.unsettled))?;
        }
    }
    books.accounts.post(accounts::turned(place.way.destination, place.state, turn.to));
    Ok(())
}

/// When it is due, and before when it is not to be sent.
fn moments(turn: &Turn<'_>) -> (Option<i64>, Option<i64>) {
    let at = |state| turn.due_at.filter(|_| turn.to == state).map(|due_at| due_at.0);
    (at(State::Waiting), at(State::Blocked))
}

/// Whether any delivery of the lane is not settled: a new one must stand behind it.
pub(super) fn is_occupied(books: &Books, system: i64, lane: &str) -> Result<bool, Failure> {
    Ok(lowest(books, system, lane)?.is_some())
}

/// The lowest delivery of a lane that is not settled.
pub(super) fn lowest(books: &Books, system: i64, lane: &str) -> Result<Option<i64>, Failure> {
    let sql = "SELECT id FROM delivery INDEXED BY delivery_lane
               WHERE system = ?1 AND lane = ?2 AND unsettled = 1 ORDER BY id LIMIT 1";
    books.find(sql, (system, lane), |row| row.get(0))
}

/// Whether a delivery of the lane is in flight.
pub(super) fn is_in_flight(books: &Books, system: i64, lane: &str) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM delivery INDEXED BY delivery_in_flight
               WHERE system = ?1 AND lane = ?2 AND state = 'in_flight'";
    Ok(books.find(sql, (system, lane), |_| Ok(()))?.is_some())
}

/// Lets the lane go on after this one of it left or stopped; see [`go_on`].
pub(super) fn promote(books: &mut Books, left: &Place, now: Timestamp) -> Result<bool, Failure> {
    let Some(lane) = &left.lane else { return Ok(false) };
    // No two of a lane are in flight.
    let is_quiet = left.state == State::InFlight;
    go_on(books, left.way.system, lane, is_quiet, now)
}

/// Lets a lane go on: its lowest, if it is blocked, becomes due. Whether there was one to let go. `is_quiet`: none of it is
/// in flight, as is known.
fn go_on(books: &mut Books, system: i64, lane: &str, is_quiet: bool, now: Timestamp) -> Result<bool, Failure> {
    if mutation::active(Mutation::PromotionForgotten) {
        return Ok(false);
    }
    let Some(next) = head(books, system, lane)?.filter(|next| next.state == State::Blocked) else { return Ok(false) };
    if (!is_quiet && is_in_flight(books, system, lane)?) || !after::is_free(books, &next)? {
        return Ok(false);
    }
    due(books, &next, now)?;
    Ok(true)
}

/// Lets a delivery that is not in flight any more, or held or dead no more, take its turn: waiting if it is the lane's
/// lowest and nothing is in flight, else blocked.
pub(super) fn take_turn(
    books: &mut Books,
    place: &Place,
    due_at: Timestamp,
    reason: Option<&str>,
    now: Timestamp,
    call: Option<&Remembered<'_>>,
) -> Result<(), Failure> {
    let system = place.way.system;
    let stands_behind = match &place.lane {
        None => false,
        // It keeps its place, and those behind it wait with it.
        Some(_) if !after::is_free(books, place)? => true,
        Some(lane) => {
            let other_in_flight = place.state != State::InFlight && is_in_flight(books, system, lane)?;
            other_in_flight || lowest(books, system, lane)?.is_some_and(|lowest| lowest < place.id)
        }
    };
    let to = if stands_behind { State::Blocked } else { State::Waiting };
    turn_after(books, place, Turn { to, due_at: Some(due_at), unsettled: true, reason, at: now }, call)?;
    if stands_behind {
        promote(books, place, now)?;
    }
    Ok(())
}

/// Makes way for an earlier delivery of the lane that comes back: what waits there is blocked.
pub(super) fn make_way(books: &mut Books, system: i64, lane: &str, now: Timestamp) -> Result<(), Failure> {
    let Some(head) = head(books, system, lane)?.filter(|head| head.state == State::Waiting) else { return Ok(()) };
    let reason = head.reason.as_deref();
    turn(books, &head, Turn { to: State::Blocked, due_at: head.due_at, unsettled: true, reason, at: now })
}

/// Lets the one behind go, as if this one did not wait: a fault on purpose.
pub(super) fn pass_by(books: &mut Books, place: &Place, now: Timestamp) -> Result<(), Failure> {
    let sql = "SELECT id FROM delivery INDEXED BY delivery_lane
               WHERE system = ?1 AND lane = ?2 AND unsettled = 1 AND id > ?3 ORDER BY id LIMIT 1";
    let next = books.find(sql, (place.way.system, &place.lane, place.id), |row| row.get(0))?;
    let Some(next) = next else { return Ok(()) };
    let next = place_of(books, next)?;
    if next.state == State::Blocked { due(books, &next, now) } else { Ok(()) }
}

/// Makes a blocked one due, now or when it was due before it was blocked.
fn due(books: &mut Books, place: &Place, now: Timestamp) -> Result<(), Failure> {
    let (due_at, reason) = (place.due_at.max(Some(now)), place.reason.as_deref());
    turn(books, place, Turn { to: State::Waiting, due_at, unsettled: true, reason, at: now })
}

/// Looks again at lanes that seemed to have blocked deliveries and no head, and repairs those that have; how many.
pub(super) fn repair(books: &mut Books, lanes: &[(i64, String)], now: Timestamp) -> Result<u64, Failure> {
    books.accounts.at(now);
    let mut repaired = 0;
    for (system, lane) in lanes {
        if go_on(books, *system, lane, false, now)? {
            repaired += 1;
            books.accounts.add(Account::lanes_repaired(), 1);
        }
    }
    Ok(repaired)
}

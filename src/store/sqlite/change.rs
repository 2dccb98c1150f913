//! What people do to a delivery: replay, hold, release, discard.

use rusqlite::{Connection, OptionalExtension};

use super::books::{Books, Failure};
use super::lane::{self, Place, Turn};
use super::queries;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::mutation::{self, Mutation};
use crate::store::{Change, DeliveryView, StoreError};

/// Executes the command.
pub(super) fn change(
    books: &mut Books,
    delivery: DeliveryId,
    change: &Change,
    reason: &str,
    now: Timestamp,
) -> Result<DeliveryView, Failure> {
    let place = lane::place_of(books, delivery.0)?;
    check(&place, change)?;
    match change {
        Change::Replay { even_if_newer } => {
            if !even_if_newer && !mutation::active(Mutation::OutdatedReplayed) {
                refuse_outdated(books, &place)?;
            }
            books.run("UPDATE delivery SET even_if_newer = ?2 WHERE id = ?1", (place.id, even_if_newer))?;
            replay(books, &place, now)?;
        }
        Change::Release => lane::take_turn(books, &place, now, None, now)?,
        Change::Hold => leave(
            books,
            &place,
            Turn { to: State::Held, due_at: None, unsettled: true, reason: Some(reason), at: now },
        )?,
        Change::Discard => {
            leave(
                books,
                &place,
                Turn { to: State::Discarded, due_at: None, unsettled: false, reason: Some(reason), at: now },
            )?;
        }
    }
    let sql = "INSERT INTO change (at, delivery, change, reason) VALUES (?1, ?2, ?3, ?4)";
    books.run(sql, (now.0, delivery.0, word(change), reason))?;
    let view = queries::delivery_view(books.connection, delivery.0)?;
    view.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {delivery}"))))
}

fn check(place: &Place, change: &Change) -> Result<(), Failure> {
    let (allowed, rule): (&[State], _) = match change {
        Change::Replay { .. } => (&[State::Dead], "only a dead one can be replayed"),
        Change::Hold => (&[State::Waiting, State::Blocked], "only a waiting or blocked one can be held"),
        Change::Release => (&[State::Held], "only a held one can be released"),
        Change::Discard => (
            &[State::Waiting, State::Blocked, State::Held, State::Dead],
            "only a waiting, blocked, held or dead one can be discarded",
        ),
    };
    if allowed.contains(&place.state) {
        return Ok(());
    }
    let state = match place.state {
        State::InFlight => "in flight",
        State::Waiting
        | State::Blocked
        | State::Delivered
        | State::Dead
        | State::Held
        | State::Superseded
        | State::Discarded => place.state.as_str(),
    };
    Err(Failure::Rule(StoreError::Conflict(format!("delivery {} is {state}; {rule}", place.id))))
}

fn word(change: &Change) -> &'static str {
    match change {
        Change::Replay { .. } => "replay",
        Change::Hold => "hold",
        Change::Release => "release",
        Change::Discard => "discard",
    }
}

/// Sending an older state of a record behind a newer one would undo it.
fn refuse_outdated(books: &Books, place: &Place) -> Result<(), Failure> {
    let Some(newer) = outdated_by(books.connection, place.id)? else { return Ok(()) };
    let reason = format!(
        "delivery {} is outdated: delivery {newer} brought a later state of the record; replay it with \
         --even-if-newer (even_if_newer in the API) if that is what you want",
        place.id
    );
    Err(Failure::Rule(StoreError::Conflict(reason)))
}

/// A later delivery of the same record on the same route that was delivered.
pub(super) fn outdated_by(connection: &Connection, delivery: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT later.id FROM delivery this
               CROSS JOIN notification mine ON mine.id = this.notification
               CROSS JOIN way ON way.id = this.way
               CROSS JOIN notification other ON other.record_id = mine.record_id AND other.record_id <> ''
                    AND other.organization = mine.organization
               CROSS JOIN delivery later ON later.notification = other.id
               CROSS JOIN way its ON its.id = later.way AND its.route = way.route
               WHERE this.id = ?1 AND later.id > this.id AND later.state = 'delivered' LIMIT 1";
    connection.prepare_cached(sql)?.query_row([delivery], |row| row.get(0)).optional()
}

/// A dead one comes back to its old place. A person decided to try again: its age and its repeated fault start anew,
/// while its attempts are counted on.
fn replay(books: &mut Books, place: &Place, now: Timestamp) -> Result<(), Failure> {
    let system = place.way.system;
    if let Some(lane) = &place.lane
        && lane::lowest(books, system, lane)?.is_some_and(|lowest| place.id < lowest)
        && !mutation::active(Mutation::ReplayMakesNoWay)
    {
        lane::make_way(books, system, lane, now)?;
    }
    let sql = "UPDATE delivery SET first_attempt_active_ms = NULL, repeat_count = 0, repeat_key = NULL WHERE id = ?1";
    books.run(sql, [place.id])?;
    lane::take_turn(books, place, now, None, now)
}

/// It stops or goes; where it was the head of its lane, a held one stops the lane and a discarded one lets it go on.
fn leave(books: &mut Books, place: &Place, turn: Turn<'_>) -> Result<(), Failure> {
    lane::turn(books, place, turn)?;
    lane::promote(books, place.way.system, place.lane.as_deref(), turn.at).map(|_| ())
}

//! What people do to a delivery: replay, hold, release, discard.

use rusqlite::{Connection, OptionalExtension};

use super::after;
use super::audit_log;
use super::books::{Books, Failure};
use super::coalesce;
use super::lane::{self, Place};
use super::queries;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::mutation::{self, Mutation};
use crate::store::change::{deed, discarded, held, let_go, outdated, stands};
use crate::store::turn::Turn;
use crate::store::{By, Change, DECIDED, DeliveryView, StoreError};

/// Executes the command.
pub(super) fn change(
    books: &mut Books,
    delivery: DeliveryId,
    (change, still): (&Change, Option<State>),
    by: &By,
    now: Timestamp,
) -> Result<DeliveryView, Failure> {
    books.accounts.at(now);
    let reason = by.reason.as_str();
    let place = lane::place_of(books, delivery.0)?;
    stands(place.id, place.state, still)?;
    change.check(place.id, place.state)?;
    match change {
        Change::Replay { even_if_newer } => {
            if !even_if_newer && !mutation::active(Mutation::OutdatedReplayed) {
                refuse_outdated(books, place.id, place.way.route)?;
            }
            after::rejoin(books, &place, None)?;
            let place = lane::place_of(books, place.id)?;
            replay(books, &place, *even_if_newer, now)?;
        }
        Change::Release => {
            decided(books, place.id)?;
            if coalesce::come_back(books, &place, now)? {
                lane::take_turn(books, &place, now, None, now, None)?;
            }
        }
        Change::Hold => leave(books, &place, held(reason, now))?,
        Change::Discard => {
            leave(books, &place, discarded(reason, now))?;
            if place.has_followers {
                after::tell(books, place.id, now)?;
            }
        }
        Change::LetGo => leave(books, &place, let_go(place.reason.as_deref(), now))?,
    }
    let after = view(books, delivery.0)?;
    let deed = deed(delivery, change.word(), by, now, "done".to_owned());
    audit_log::write(books, &deed.between(place.state, after.state))?;
    Ok(after)
}

/// Notes what a person did.
pub(super) fn note(
    books: &Books,
    delivery: DeliveryId,
    change: &str,
    by: &By,
    now: Timestamp,
    result: String,
) -> Result<(), Failure> {
    let deed = deed(delivery, change, by, now, result);
    audit_log::write(books, &deed).map(|_| ())
}

/// How a delivery stands now.
pub(super) fn view(books: &Books, delivery: i64) -> Result<DeliveryView, Failure> {
    let view = queries::delivery_view(books.connection, delivery)?;
    view.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {delivery}"))))
}

/// Sending an older state of a record behind a newer one would undo it.
pub(super) fn refuse_outdated(books: &Books, delivery: i64, route: i64) -> Result<(), Failure> {
    let Some(newer) = outdated_on(books.connection, delivery, Some(route))? else { return Ok(()) };
    Err(outdated(delivery, newer).into())
}

/// A later delivery of the same record on the same route that was delivered with other content.
pub(super) fn outdated_by(connection: &Connection, delivery: i64) -> rusqlite::Result<Option<i64>> {
    outdated_on(connection, delivery, None)
}

fn outdated_on(connection: &Connection, delivery: i64, route: Option<i64>) -> rusqlite::Result<Option<i64>> {
    let pruned = "SELECT d.outdated_by FROM delivery d CROSS JOIN way ON way.id = d.way
                  WHERE d.id = ?1 AND way.route = coalesce(?2, way.route)";
    let pruned: Option<Option<i64>> =
        connection.prepare_cached(pruned)?.query_row((delivery, route), |row| row.get(0)).optional()?;
    if let Some(Some(newer)) = pruned {
        return Ok(Some(newer));
    }
    let sql = "SELECT later.id FROM delivery this
               CROSS JOIN notification mine ON mine.id = this.notification
               CROSS JOIN way ON way.id = this.way
               CROSS JOIN notification other ON other.record_id = mine.record_id AND other.record_id <> ''
                    AND other.organization = mine.organization
               CROSS JOIN delivery later ON later.notification = other.id
               CROSS JOIN way its ON its.id = later.way AND its.route = coalesce(?2, way.route)
               WHERE this.id = ?1 AND later.id > this.id AND later.state = 'delivered'
               AND later.notification <> this.notification LIMIT 1";
    connection.prepare_cached(sql)?.query_row((delivery, route), |row| row.get(0)).optional()
}

/// A dead one comes back to its old place. A person decided to try again: its age, its repeated fault and what counts
/// against its limits start anew, while its attempts are numbered on.
pub(super) fn replay(books: &mut Books, place: &Place, even_if_newer: bool, now: Timestamp) -> Result<(), Failure> {
    let system = place.way.system;
    books.run("UPDATE delivery SET even_if_newer = ?2, as_it_was = NULL WHERE id = ?1", (place.id, even_if_newer))?;
    if let Some(lane) = &place.lane
        && lane::lowest(books, system, lane)?.is_some_and(|lowest| place.id < lowest)
        && !mutation::active(Mutation::ReplayMakesNoWay)
    {
        lane::make_way(books, system, lane, now)?;
    }
    decided(books, place.id)?;
    books.run("UPDATE delivery SET first_attempt_active_ms = NULL, excused = attempts WHERE id = ?1", [place.id])?;
    lane::take_turn(books, place, now, None, now, None)
}

/// A person wants it sent: whatever is unknown of it, nobody is asked again before its next attempt.
fn decided(books: &Books, delivery: i64) -> Result<(), Failure> {
    let sql = "UPDATE delivery SET repeat_count = 0, repeat_key = ?2 WHERE id = ?1";
    books.run(sql, (delivery, DECIDED)).map(|_| ())
}

/// It stops or goes; where it was the head of its lane, a held one stops the lane and a discarded one lets it go on.
fn leave(books: &mut Books, place: &Place, turn: Turn<'_>) -> Result<(), Failure> {
    lane::turn(books, place, turn)?;
    lane::promote(books, place, turn.at).map(|_| ())
}

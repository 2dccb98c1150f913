//! A person has a delivery sent again: in its old place, or as a new one that is linked to it.

use rusqlite::types::ToSql;

use super::accept::Envelope;
use super::books::{Books, Failure};
use super::change;
use super::lane::{self, Place};
use super::{after, revise, searched};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, Planned, State};
use crate::store::arrival;
use crate::store::change as rules;
use crate::store::lead;
use crate::store::names::Kind;
use crate::store::turn::Turn;
use crate::store::{Edit, Replay, Replayed, StoreError};

/// Executes the command.
pub(super) fn replay(books: &mut Books, replay: &Replay) -> Result<Replayed, Failure> {
    let place = lane::place_of(books, replay.delivery.0)?;
    rules::stands(place.id, place.state, replay.still)?;
    if !matches!(place.state, State::Dead | State::Delivered) {
        let state = place.state.as_str().replace('_', " ");
        return conflict(format!("delivery {} is {state}; only a dead or a delivered one can be replayed", place.id));
    }
    let own_route = replay.planned.as_ref().is_none_or(|planned| planned.route == place.way.route_name);
    if place.state == State::Dead && own_route && replay.edit.is_none() {
        return in_place(books, replay, &place);
    }
    let Some(planned) = &replay.planned else {
        let route = &place.way.route_name;
        return conflict(format!(
            "delivery {}: its route {route:?} can make nothing new of it; name another with --to (`to` in the API)",
            place.id
        ));
    };
    linked(books, replay, &place, planned)
}

fn conflict<T>(reason: String) -> Result<T, Failure> {
    Err(Failure::Rule(StoreError::Conflict(reason)))
}

fn in_place(books: &mut Books, replay: &Replay, place: &Place) -> Result<Replayed, Failure> {
    if !replay.even_if_newer {
        change::refuse_outdated(books, place.id, place.way.route)?;
    }
    let planned = replay.planned.as_ref();
    after::rejoin(books, place, planned.map(|planned| planned.after.as_ref()))?;
    // What a person says of it counts from here on.
    let place = lane::place_of(books, place.id)?;
    change::replay(books, &place, replay.even_if_newer, replay.now)?;
    let as_it_was = replay.as_it_was.map(|version| version.0);
    books.run("UPDATE delivery SET as_it_was = ?2 WHERE id = ?1", (place.id, as_it_was))?;
    change::note(books, replay.delivery, "replay", &replay.by, replay.now, replay.result(None))?;
    let delivery = change::view(books, place.id)?;
    Ok(Replayed { delivery, woken: vec![place.way.system_name.clone()] })
}

/// Makes a new delivery. Nobody's newer state gives way to it: it does not coalesce.
fn linked(books: &mut Books, replay: &Replay, place: &Place, planned: &Planned) -> Result<Replayed, Failure> {
    let route = books.names.number(books.connection, Kind::Route, &planned.route)?;
    if !replay.even_if_newer {
        change::refuse_outdated(books, place.id, route)?;
    }
    let first = after::first_row(books, place.id)?;
    let carried = match &replay.edit {
        Some(edit) => edited(books, place, edit, &replay.by.reason)?,
        None => carried(books, place)?,
    };
    if let Some(wanted) = &planned.after
        && let Some(reason) = lead::refusal(wanted, after::lead(books, first, &wanted.route)?)
    {
        return conflict(format!("delivery {}: {reason}", place.id));
    }
    let accept = arrival::nothing_new(replay.now);
    let mut envelope = Envelope::of_known(&accept, 0, 0);
    let planned = Planned { coalesce: None, ..planned.clone() };
    let made = envelope.deliver(books, first, carried.row, &carried.record_id, &planned)?;
    let sql = "UPDATE delivery SET replay_of = ?2, even_if_newer = ?3, as_it_was = ?4 WHERE id = ?1";
    let as_it_was = replay.as_it_was.map(|version| version.0);
    books.run(sql, (made, place.id, replay.even_if_newer, as_it_was))?;
    revise::remember_route(books, first, &planned.route, made)?;
    if place.state == State::Dead && replay.stays_dead {
        let_go(books, &mut envelope, place, replay.now)?;
    } else if place.state == State::Dead {
        supersede(books, &mut envelope, replay, place, made)?;
    }
    let result = replay.result(Some(DeliveryId(made)));
    change::note(books, replay.delivery, "replay", &replay.by, replay.now, result)?;
    Ok(Replayed { delivery: change::view(books, made)?, woken: envelope.woken() })
}

/// The dead letter is dealt with: what it stood for shows with the new one, should that die too.
fn supersede(
    books: &mut Books,
    envelope: &mut Envelope<'_>,
    replay: &Replay,
    place: &Place,
    made: i64,
) -> Result<(), Failure> {
    let reason = format!("a person had it replayed as delivery {made}");
    let at = replay.now;
    lane::turn(
        books,
        place,
        Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at },
    )?;
    books.run("UPDATE delivery SET superseded_by = ?2 WHERE id = ?1", [place.id, made])?;
    if lane::promote(books, place, at)? {
        envelope.wake(&place.way);
    }
    Ok(())
}

/// The dead letter waits for the new delivery, which may stand in its lane: so it does not stop that.
fn let_go(books: &mut Books, envelope: &mut Envelope<'_>, place: &Place, now: Timestamp) -> Result<(), Failure> {
    if !place.unsettled {
        return Ok(());
    }
    lane::turn(books, place, rules::let_go(place.reason.as_deref(), now))?;
    if lane::promote(books, place, now)? {
        envelope.wake(&place.way);
    }
    Ok(())
}

/// The content that the new delivery carries.
struct Carried {
    row: i64,
    record_id: String,
}

fn carried(books: &Books, place: &Place) -> Result<Carried, Failure> {
    let sql =
        "SELECT n.id, n.record_id FROM delivery d CROSS JOIN notification n ON n.id = d.notification WHERE d.id = ?1";
    let found = books.find(sql, [place.id], |row| Ok(Carried { row: row.get(0)?, record_id: row.get(1)? }))?;
    found.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {}", place.id))))
}

/// Writes the edited content as a revision of the notification that Salesforce did not send; the one that is there already,
/// when the newest was edited to the same.
fn edited(books: &mut Books, place: &Place, edit: &Edit, reason: &str) -> Result<Carried, Failure> {
    let original = carried(books, place)?.row;
    let found = |sql, values: &[&dyn ToSql]| {
        books.find(sql, values, |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, u32>(1)?,
                row.get::<_, [u8; 32]>(2)?,
                row.get::<_, Option<i64>>(3)?,
            ))
        })
    };
    let missing = || Failure::Rule(StoreError::NotFound(format!("notification row {original}")));
    let own = "SELECT id, revision, hash, edited_from FROM notification WHERE id = ?1";
    let (_, _, hash, _) = found(own, &[&original])?.ok_or_else(missing)?;
    if hash == edit.hash {
        return conflict(format!("delivery {}: the edit changes nothing of its record", place.id));
    }
    let newest = "SELECT n.id, n.revision, n.hash, n.edited_from FROM notification this
                  CROSS JOIN notification n ON n.notification_id = this.notification_id
                  AND n.organization = this.organization WHERE this.id = ?1 ORDER BY n.revision DESC LIMIT 1";
    let (row, revision, hash, edited_from) = found(newest, &[&original])?.ok_or_else(missing)?;
    if hash == edit.hash && edited_from.is_some() {
        return Ok(Carried { row, record_id: edit.record_id.clone() });
    }
    let sql = "INSERT INTO notification (envelope, source, organization, notification_id, revision, kind, hash, reason,
               record_type, record_id, xml, edited_from)
               SELECT envelope, source, organization, notification_id, ?2, 'revised', ?3, ?4, ?5, ?6, ?7, id
               FROM notification WHERE id = ?1";
    let Edit { hash, record_type, record_id, xml, search } = edit;
    books.run(sql, (original, revision.saturating_add(1), hash, reason, record_type, record_id, xml))?;
    let row = books.connection.last_insert_rowid();
    searched::write(books, row, search)?;
    Ok(Carried { row, record_id: record_id.clone() })
}

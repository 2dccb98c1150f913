//! Notifications that came before: duplicates, and revisions with their table.

use std::sync::Arc;

use super::accept::Envelope;
use super::after;
use super::books::{Books, Failure};
use super::lane::{self, Place};
use crate::delivery::{Planned, State};
use crate::mutation::{self, Mutation};
use crate::store::accounts::{self, Account};
use crate::store::names::Kind;
use crate::store::revision::{self, Case, MATES_MAX, Old, Step};
use crate::store::turn::Turn;
use crate::store::{Fate, Incoming, IncomingKind, StoreError};

/// The newest content that Salesforce sent, as the store has it.
#[derive(Debug)]
struct Known {
    row: i64,
    /// The newest revision, of whomever.
    revision: u32,
    hash: [u8; 32],
    /// What a person made of it since: then that too is known.
    edited: Option<[u8; 32]>,
}

/// The content of the new revision.
#[derive(Clone, Copy, Debug)]
struct Content<'a> {
    row: i64,
    revision: u32,
    record_id: &'a str,
}

/// A notification whose first revision is in the store already.
pub(super) fn came_again(books: &mut Books, envelope: &mut Envelope<'_>, incoming: &Incoming) -> Result<Fate, Failure> {
    let known = known(books, envelope.organization, &incoming.notification_id)?;
    let is_same = known.hash == incoming.hash || known.edited == Some(incoming.hash);
    if is_same && !mutation::active(Mutation::DedupeKeyDropped) {
        books.run("UPDATE notification SET duplicates = duplicates + 1 WHERE id = ?1", [known.row])?;
        books.accounts.add(Account::source(envelope.source, "duplicate"), 1);
        return Ok(Fate::Duplicate);
    }
    let revision = known.revision.saturating_add(1);
    let Some(row) = envelope.write_row(books, incoming, revision, Fate::Revised)? else {
        let rule = format!("revision {revision} of {} is there already", incoming.notification_id);
        return Err(Failure::Rule(StoreError::Refused(rule)));
    };
    books.accounts.add(Account::source(envelope.source, "revised"), 1);
    let readable = !matches!(incoming.kind, IncomingKind::Unreadable(_));
    if envelope.accept.quarantine.is_none() && readable {
        deliver(books, envelope, incoming, row, revision)?;
    }
    Ok(Fate::Revised)
}

fn known(books: &Books, organization: i64, notification_id: &str) -> Result<Known, Failure> {
    let sql = "SELECT id, revision, hash, edited_from IS NOT NULL FROM notification
               WHERE notification_id = ?1 AND organization = ?2 ORDER BY revision DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        let known = Known { row: row.get(0)?, revision: row.get(1)?, hash: row.get(2)?, edited: None };
        Ok((known, row.get::<_, bool>(3)?))
    };
    let key = (notification_id, organization);
    let newest = books.find(sql, key, read)?;
    let (newest, is_edited) = newest.ok_or(Failure::Database(rusqlite::Error::QueryReturnedNoRows))?;
    if !is_edited {
        return Ok(newest);
    }
    // Salesforce repeats what it sent, and knows nothing of what a person made of it.
    let sql = "SELECT id, revision, hash, 0 FROM notification WHERE notification_id = ?1 AND organization = ?2
               AND edited_from IS NULL ORDER BY revision DESC LIMIT 1";
    let (sent, _) = books.find(sql, key, read)?.ok_or(Failure::Database(rusqlite::Error::QueryReturnedNoRows))?;
    Ok(Known { revision: newest.revision, edited: Some(newest.hash), ..sent })
}

fn deliver(
    books: &mut Books,
    envelope: &mut Envelope<'_>,
    incoming: &Incoming,
    row: i64,
    revision: u32,
) -> Result<(), Failure> {
    let sql = "SELECT id, source, kind FROM notification
               WHERE notification_id = ?1 AND organization = ?2 AND revision = 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?));
    let key = (&incoming.notification_id, envelope.organization);
    let Some((first, source, kind)) = books.find(sql, key, read)? else {
        return Err(Failure::Database(rusqlite::Error::QueryReturnedNoRows));
    };
    let mut made = false;
    for case in cases(books, envelope, incoming, first)? {
        made |= handle(books, envelope, case, first, Content { row, revision, record_id: &incoming.record_id })?;
    }
    envelope.tell_fallen(books)?;
    if made && kind != "routed" {
        reclassify(books, first, source, &kind)?;
    }
    Ok(())
}

/// A notification that had no delivery has one now: it counts as routed from here on.
pub(super) fn reclassify(books: &mut Books, first: i64, source: i64, kind: &str) -> Result<(), Failure> {
    let other = || StoreError::Refused(format!("{kind:?} is no kind of a first revision"));
    let postings = accounts::reclassified(source, kind).ok_or_else(other)?;
    books.run("UPDATE notification SET kind = 'routed' WHERE id = ?1", [first])?;
    books.accounts.post(postings);
    Ok(())
}

/// What becomes of each route that matches now or has a delivery.
fn cases<'a>(
    books: &mut Books,
    envelope: &Envelope<'_>,
    incoming: &'a Incoming,
    first: i64,
) -> Result<Vec<Case<'a>>, Failure> {
    let mut newest = Vec::new();
    for delivery in newest_deliveries(books, first)? {
        newest.extend(lane::place(books, delivery)?.map(|place| (delivery, place.way)));
    }
    let number = |route: &str| books.names.number(books.connection, Kind::Route, route);
    revision::cases(envelope.accept, incoming, newest, number)
}

impl<'a> From<&'a Place> for Old<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            id: place.id,
            state: place.state,
            is_attempted: place.attempts > 0,
            is_replay: place.is_replay,
            comes_after: place.comes_after,
            lane: place.lane.as_ref(),
            way: &place.way,
        }
    }
}

/// The newest delivery of each route, lowest id first.
pub(super) fn newest_deliveries(books: &Books, first: i64) -> Result<Vec<i64>, Failure> {
    let sql = "SELECT delivery FROM newest_delivery WHERE notification = ?1
               UNION SELECT id FROM delivery WHERE notification = ?1 ORDER BY 1";
    books.list(sql, [first], |row| row.get(0))
}

/// Handles one route; whether it has a delivery of this revision now.
fn handle(
    books: &mut Books,
    envelope: &mut Envelope<'_>,
    case: Case<'_>,
    first: i64,
    content: Content<'_>,
) -> Result<bool, Failure> {
    let Content { row, revision, record_id } = content;
    let (mut superseded, mut kept) = (None, None);
    if let Some(old) = case.old {
        // Read only now: superseding the delivery of another route may have moved it.
        let old = lane::place_of(books, old)?;
        let lead = match case.planned.and_then(|planned| planned.after.as_ref()) {
            Some(after) => after::lead(books, first, &after.route)?,
            None => None,
        };
        let step = match revision::step(Old::from(&old), &case, lead) {
            Step::Replace if would_overtake(books, envelope, &old, first, record_id)? => Step::Keep,
            Step::Supersede if case.planned.is_none() && stands_for_others(books, old.id, first)? => Step::Keep,
            step @ (Step::Replace | Step::Supersede | Step::Keep) => step,
        };
        match step {
            Step::Replace => {
                let mark = case.planned.and_then(|planned| planned.coalesce.as_ref()).map(|coalesce| &coalesce.mark);
                // Where nobody can say what the mark is now, it is no older than the one that is known.
                let sql =
                    "UPDATE delivery SET notification = ?2, changed_at = ?3, mark = iif(?5, mark, ?4) WHERE id = ?1";
                books.run(sql, (old.id, row, envelope.now().0, mark, case.is_absent))?;
                remember(books, first, case.route, old.id)?;
                return Ok(true);
            }
            Step::Supersede => {
                supersede(books, envelope, &old, case.planned, revision)?;
                superseded = Some(old.id);
            }
            Step::Keep if case.is_absent => kept = revision::kept_for(Old::from(&old)),
            Step::Keep => {}
        }
        remember(books, first, case.route, old.id)?;
    }
    let Some(planned) = case.planned.or(kept.as_ref()) else { return Ok(false) };
    let made = envelope.deliver(books, first, row, record_id, planned)?;
    if let Some(old) = superseded {
        books.run("UPDATE delivery SET superseded_by = ?2 WHERE id = ?1", [old, made])?;
    }
    remember(books, first, case.route, made)?;
    Ok(true)
}

/// Whether another notification's state of the same record stands behind a delivery in its lane: it is older than what came
/// now, so the new content must not go out before it.
fn would_overtake(
    books: &Books,
    envelope: &Envelope<'_>,
    old: &Place,
    first: i64,
    record_id: &str,
) -> Result<bool, Failure> {
    let Some(lane) = old.lane.as_deref().filter(|_| !record_id.is_empty()) else { return Ok(false) };
    if mutation::active(Mutation::RevisionOvertakes) {
        return Ok(false);
    }
    let sql = "WITH mate (id) AS MATERIALIZED (
                   SELECT id FROM notification WHERE record_id = ?1 AND record_id <> '' AND organization = ?2
                   AND notification_id <> (SELECT notification_id FROM notification WHERE id = ?3)
                   ORDER BY id DESC LIMIT ?4
               ) SELECT 1 FROM mate CROSS JOIN delivery d ON d.notification = mate.id
               WHERE d.id > ?5 AND d.system = ?6 AND d.lane = ?7
               AND d.state NOT IN ('delivered', 'superseded', 'discarded') LIMIT 1";
    let values = (record_id, envelope.organization, first, MATES_MAX, old.id, old.way.system, lane);
    Ok(books.find(sql, values, |_| Ok(()))?.is_some())
}

/// Whether a delivery stands in the place of another notification's, whose update would be lost with it.
fn stands_for_others(books: &Books, delivery: i64, first: i64) -> Result<bool, Failure> {
    let sql = "WITH RECURSIVE before (id) AS (
                   SELECT id FROM delivery WHERE superseded_by = ?1
                   UNION SELECT d.id FROM delivery d CROSS JOIN before ON d.superseded_by = before.id LIMIT 100
               ) SELECT 1 FROM before CROSS JOIN delivery d ON d.id = before.id
               CROSS JOIN notification n ON n.id = d.notification
               WHERE n.notification_id <> (SELECT notification_id FROM notification WHERE id = ?2) LIMIT 1";
    Ok(books.find(sql, (delivery, first), |_| Ok(()))?.is_some())
}

fn supersede(
    books: &mut Books,
    envelope: &mut Envelope<'_>,
    old: &Place,
    planned: Option<&Planned>,
    revision: u32,
) -> Result<(), Failure> {
    let reason = revision::reason(i64::from(revision), planned);
    let at = envelope.now();
    lane::turn(books, old, Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at })?;
    if lane::promote(books, old, at)? {
        envelope.wake(&Arc::clone(&old.way));
    }
    if old.has_followers {
        envelope.fell(old.id);
    }
    Ok(())
}

/// Notes the newest delivery of a notification on a route.
pub(super) fn remember_route(books: &mut Books, first: i64, route: &str, delivery: i64) -> Result<(), Failure> {
    let route = books.names.number(books.connection, Kind::Route, route)?;
    remember(books, first, route, delivery)
}

fn remember(books: &Books, first: i64, route: i64, delivery: i64) -> Result<(), Failure> {
    let sql = "INSERT INTO newest_delivery (notification, route, delivery) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET delivery = excluded.delivery";
    books.run(sql, (first, route, delivery)).map(|_| ())
}

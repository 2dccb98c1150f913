//! Notifications that came before: duplicates, and revisions with their table.

use std::sync::Arc;

use super::accept::{self, Envelope};
use super::after;
use super::books::{Books, Failure};
use super::lane::{self, Place};
use crate::delivery::{OnRevision, Planned, State};
use crate::mutation::{self, Mutation};
use crate::store::accounts::{self, Account};
use crate::store::names::Kind;
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

/// A route's newest delivery of the notification, and what the route wants now.
#[derive(Debug)]
struct Case<'a> {
    route: i64,
    old: Option<i64>,
    planned: Option<&'a Planned>,
}

/// The content of the new revision.
#[derive(Clone, Copy, Debug)]
struct Content<'a> {
    row: i64,
    revision: u32,
    record_id: &'a str,
}

/// What an old delivery becomes when its notification was revised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It carries the new content.
    Replace,
    /// It is superseded, and a new one is made where the route matches.
    Supersede,
    /// It stays as it is, and a new one is made where the route matches.
    Keep,
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

/// Every route that matches now or has a delivery, each once, less those that ignore revisions.
fn cases<'a>(
    books: &mut Books,
    envelope: &Envelope<'_>,
    incoming: &'a Incoming,
    first: i64,
) -> Result<Vec<Case<'a>>, Failure> {
    let ignored = |route: &str| envelope.accept.revision_ignored_by.iter().any(|ignoring| ignoring == route);
    let mut cases: Vec<Case<'a>> = Vec::new();
    for delivery in newest_deliveries(books, first)? {
        let Some(old) = lane::place(books, delivery)? else { continue };
        // Ids rise: of two deliveries of a route the later one is the newest.
        cases.retain(|case| case.route != old.way.route);
        if !ignored(&old.way.route_name) {
            cases.push(Case { route: old.way.route, old: Some(delivery), planned: None });
        }
    }
    for planned in &incoming.deliveries {
        if ignored(&planned.route) {
            continue;
        }
        let route = books.names.number(books.connection, Kind::Route, &planned.route)?;
        match cases.iter_mut().find(|case| case.route == route) {
            Some(case) if case.planned.is_some() => {}
            Some(case) => case.planned = Some(planned),
            None => cases.push(Case { route, old: None, planned: Some(planned) }),
        }
    }
    cases.retain(|case| case.planned.is_none_or(|planned| planned.on_revision == OnRevision::Deliver));
    // What others come after is planned before them, and what is not planned any more is seen to first of all.
    if incoming.deliveries.iter().any(|planned| planned.after.is_some()) {
        let place = |case: &Case<'_>| {
            let route = case.planned.map(|planned| &planned.route);
            route.map(|route| incoming.deliveries.iter().position(|planned| planned.route == *route))
        };
        cases.sort_by_key(place);
    }
    Ok(cases)
}

/// The newest delivery of each route, lowest id first.
pub(super) fn newest_deliveries(books: &Books, first: i64) -> Result<Vec<i64>, Failure> {
    let sql = "SELECT delivery FROM newest_delivery WHERE notification = ?1
               UNION SELECT id FROM delivery WHERE notification = ?1 ORDER BY 1";
    books.list(sql, [first], |row| row.get(0))
}

/// The table of DESIGN §3.
fn step(old: &Place, planned: Option<&Planned>, lead: Option<i64>) -> Step {
    let untouched = old.attempts == 0 || mutation::active(Mutation::RevisionReplacesAttempted);
    match old.state {
        // What a person had made is not for Salesforce to change.
        State::Waiting | State::Blocked | State::Held if old.is_replay => Step::Keep,
        // What it comes after was attempted and stays: so does it, and both are made anew.
        State::Waiting | State::Blocked | State::Held
            if old.attempts == 0 && planned.is_some() && old.comes_after.is_some() && old.comes_after != lead =>
        {
            Step::Keep
        }
        State::Waiting | State::Blocked | State::Held if untouched => {
            let own_lane = lead.map(|_| accept::own_lane(old.id));
            let replaceable = planned.is_some_and(|planned| {
                planned.dead.is_none()
                    && lead == old.comes_after
                    && planned.lane.as_ref().or(own_lane.as_ref()) == old.lane.as_ref()
                    && planned.destination == old.way.destination_name
                    && planned.system == old.way.system_name
            });
            if replaceable { Step::Replace } else { Step::Supersede }
        }
        State::Dead => Step::Supersede,
        State::Waiting
        | State::Blocked
        | State::Held
        | State::InFlight
        | State::Delivered
        | State::Superseded
        | State::Discarded => Step::Keep,
    }
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
    let mut superseded = None;
    if let Some(old) = case.old {
        // Read only now: superseding the delivery of another route may have moved it.
        let old = lane::place_of(books, old)?;
        let lead = match case.planned.and_then(|planned| planned.after.as_ref()) {
            Some(after) => after::lead(books, first, &after.route)?.map(|lead| lead.id),
            None => None,
        };
        let step = match step(&old, case.planned, lead) {
            Step::Replace if would_overtake(books, envelope, &old, first, record_id)? => Step::Keep,
            Step::Supersede if case.planned.is_none() && stands_for_others(books, old.id, first)? => Step::Keep,
            step @ (Step::Replace | Step::Supersede | Step::Keep) => step,
        };
        match step {
            Step::Replace => {
                let mark = case.planned.and_then(|planned| planned.coalesce.as_ref()).map(|coalesce| &coalesce.mark);
                let sql = "UPDATE delivery SET notification = ?2, changed_at = ?3, mark = ?4 WHERE id = ?1";
                books.run(sql, (old.id, row, envelope.now().0, mark))?;
                remember(books, first, case.route, old.id)?;
                return Ok(true);
            }
            Step::Supersede => {
                supersede(books, envelope, &old, case.planned.is_some(), revision)?;
                superseded = Some(old.id);
            }
            Step::Keep => {}
        }
        remember(books, first, case.route, old.id)?;
    }
    let Some(planned) = case.planned else { return Ok(false) };
    let made = envelope.deliver(books, first, row, record_id, planned)?;
    if let Some(old) = superseded {
        books.run("UPDATE delivery SET superseded_by = ?2 WHERE id = ?1", [old, made])?;
    }
    remember(books, first, case.route, made)?;
    Ok(true)
}

/// How many of a record's latest notifications are looked at for what stands behind a delivery.
const MATES_MAX: i64 = 1_000;

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
    matches: bool,
    revision: u32,
) -> Result<(), Failure> {
    let reason = if matches {
        format!("revision {revision} of the notification took its place")
    } else {
        format!("revision {revision} of the notification came, and the route does not match it")
    };
    let at = envelope.now();
    lane::turn(books, old, Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at })?;
    if lane::promote(books, old.way.system, old.lane.as_deref(), at)? {
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

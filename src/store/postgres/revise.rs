//! Notifications that came before: duplicates, and revisions with their table.

use std::collections::{BTreeMap, BTreeSet};

use super::accept::{Desk, Envelope, Key, Known};
use super::after;
use super::coalesce;
use super::failure::Failure;
use super::lane::Place;
use super::session::{Cells, args, read};
use super::text;
use super::work::Work;
use crate::delivery::{Planned, State};
use crate::store::accounts::{self, Account};
use crate::store::names::Kind;
use crate::store::revision::{self, Case, MATES_MAX, Old, Step};
use crate::store::turn::Turn;
use crate::store::{Fate, Incoming, IncomingKind, StoreError};

/// The new revision.
#[derive(Clone, Copy, Debug)]
struct Content<'a> {
    first: i64,
    row: i64,
    revision: i64,
    record_id: &'a str,
}

/// Reads the newest delivery of each route of some notifications, known by their first revisions.
pub(super) async fn read_newest(
    work: &mut Work,
    firsts: &[i64],
    newest: &mut BTreeMap<(i64, i64), i64>,
    lanes: &mut BTreeMap<i64, Option<i64>>,
) -> Result<(), Failure> {
    let sql = "SELECT k.first, w.route, d.id, d.lane_key FROM unnest($1::bigint[]) k (first)
               CROSS JOIN LATERAL (SELECT delivery AS id FROM newest_delivery WHERE notification = k.first
                   UNION SELECT id FROM delivery WHERE notification = k.first) x
               JOIN delivery d ON d.id = x.id JOIN way w ON w.id = d.way ORDER BY d.id";
    let rows = work.session.query(sql, args![INT8_ARRAY firsts]).await?;
    let read = read(&rows, |cells| Ok(((cells.number()?, cells.number()?), cells.number()?, cells.next()?)))?;
    for (key, id, lane) in read {
        // Ids rise: of two deliveries of a route the later one is the newest.
        newest.insert(key, id);
        lanes.insert(id, lane);
    }
    Ok(())
}

/// A notification whose first revision is in the store already.
pub(super) fn came_again<'a>(
    desk: &mut Desk<'a>,
    work: &mut Work,
    envelope: &mut Envelope<'a>,
    incoming: &'a Incoming,
    key: &Key,
) -> Result<Fate, Failure> {
    let missing = || Failure::Fault(format!("notification {} was not read", incoming.notification_id));
    let known = desk.known.get_mut(key).ok_or_else(missing)?;
    if known.has(&incoming.hash) {
        known.came_again += 1;
        work.accounts.add(Account::source(envelope.source, "duplicate"), 1);
        return Ok(Fate::Duplicate);
    }
    let (first, revision) = (known.first, known.revision.saturating_add(1));
    // What came again so far belongs to the revision that it repeated.
    let repeats = (known.row, std::mem::take(&mut known.came_again));
    let row = desk.add_row(envelope, incoming, revision, Fate::Revised)?;
    desk.note_repeats(repeats);
    if let Some(known) = desk.known.get_mut(key) {
        (known.row, known.revision, known.hash, known.edited) = (row, revision, incoming.hash, None);
    }
    work.accounts.add(Account::source(envelope.source, "revised"), 1);
    let readable = !matches!(incoming.kind, IncomingKind::Unreadable(_));
    if envelope.accept.quarantine.is_none() && readable {
        let content = Content { first, row, revision, record_id: &incoming.record_id };
        deliver(desk, work, envelope, incoming, content, key)?;
    }
    Ok(Fate::Revised)
}

fn deliver(
    desk: &mut Desk<'_>,
    work: &mut Work,
    envelope: &Envelope<'_>,
    incoming: &Incoming,
    content: Content<'_>,
    key: &Key,
) -> Result<(), Failure> {
    let mut made = false;
    for case in cases(desk, work, envelope, incoming, content.first)? {
        made |= handle(desk, work, envelope, case, content)?;
    }
    desk.tell_fallen(work, envelope.now())?;
    if made && let Some(known) = desk.known.get_mut(key).filter(|known| known.first_kind != "routed") {
        let source = known.first_source;
        let kind = std::mem::replace(&mut known.first_kind, "routed".to_owned());
        known.kind_changed = true;
        reclassify(work, source, &kind)?;
    }
    Ok(())
}

/// A notification that had no delivery has one now: it counts as routed from here on.
pub(super) fn reclassify(work: &mut Work, source: i64, kind: &str) -> Result<(), Failure> {
    let other = || StoreError::Refused(format!("{kind:?} is no kind of a first revision"));
    work.accounts.post(accounts::reclassified(source, kind).ok_or_else(other)?);
    Ok(())
}

/// What becomes of each route that matches now or has a delivery.
fn cases<'a>(
    desk: &Desk<'_>,
    work: &Work,
    envelope: &Envelope<'_>,
    incoming: &'a Incoming,
    first: i64,
) -> Result<Vec<Case<'a>>, Failure> {
    let mut newest: Vec<_> = desk.newest.range((first, i64::MIN)..=(first, i64::MAX)).map(|(_, id)| *id).collect();
    newest.sort_unstable();
    let newest = newest.into_iter().filter_map(|id| desk.scene.find(id)).map(|place| (place.id, &place.way));
    revision::cases(envelope.accept, incoming, newest, |route| work.names.number(Kind::Route, route))
}

impl<'a> From<&'a Place> for Old<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            id: place.id,
            state: place.state,
            is_attempted: place.attempts > 0,
            is_replay: place.replay_of.is_some(),
            comes_after: place.comes_after,
            lane: place.lane.as_ref(),
            way: &place.way,
        }
    }
}

/// Handles one route; whether it has a delivery of this revision now.
fn handle(
    desk: &mut Desk<'_>,
    work: &mut Work,
    envelope: &Envelope<'_>,
    case: Case<'_>,
    content: Content<'_>,
) -> Result<bool, Failure> {
    let Content { first, row, revision, record_id } = content;
    let (mut superseded, mut kept) = (None, None);
    if let Some(old) = case.old {
        // Looked at only now: superseding the delivery of another route may have moved it.
        let lead = match case.planned.and_then(|planned| planned.after.as_ref()) {
            Some(after) => {
                let route = work.names.number(Kind::Route, &after.route)?;
                after::lead(&desk.scene, &desk.newest, first, route)
            }
            None => None,
        };
        let step = match revision::step(Old::from(desk.scene.place(old)?), &case, lead) {
            Step::Replace if desk.would_overtake(old, first, coalesce::key(envelope.organization, record_id))? => {
                Step::Keep
            }
            Step::Supersede if case.planned.is_none() && desk.standing_for_others.contains(&old) => Step::Keep,
            step @ (Step::Replace | Step::Supersede | Step::Keep) => step,
        };
        desk.remember((first, case.route), old);
        match step {
            Step::Replace => {
                let mark = case.planned.and_then(|planned| planned.coalesce.as_ref()).map(|coalesce| &coalesce.mark);
                let place = desk.scene.change(old)?;
                place.notification = row;
                place.changed_at = envelope.now().0;
                // Where nobody can say what the mark is now, it is no older than the one that is known.
                if !case.is_absent {
                    place.mark = mark.cloned().flatten();
                }
                return Ok(true);
            }
            Step::Supersede => {
                supersede(desk, work, envelope, old, case.planned, revision)?;
                superseded = Some(old);
            }
            Step::Keep if case.is_absent => kept = revision::kept_for(Old::from(desk.scene.place(old)?)),
            Step::Keep => {}
        }
    }
    let Some(planned) = case.planned.or(kept.as_ref()) else { return Ok(false) };
    let made = desk.deliver(work, envelope, first, row, record_id, planned)?;
    if let Some(old) = superseded {
        desk.scene.change(old)?.superseded_by = Some(made);
        if desk.standing_for_others.contains(&old) {
            desk.standing_for_others.insert(made);
        }
    }
    desk.remember((first, case.route), made);
    Ok(true)
}

fn supersede(
    desk: &mut Desk<'_>,
    work: &mut Work,
    envelope: &Envelope<'_>,
    old: i64,
    planned: Option<&Planned>,
    revision: i64,
) -> Result<(), Failure> {
    let reason = revision::reason(revision, planned);
    let at = envelope.now();
    let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at };
    desk.scene.turn(work, old, turn)?;
    let place = desk.scene.place(old)?;
    let (lane, has_followers) = (place.lane_key, place.has_followers);
    desk.scene.promote(work, lane, at)?;
    if has_followers {
        desk.fallen.push(old);
    }
    Ok(())
}

/// Where a record has deliveries: its lane, and the record with its organization.
pub(super) type Spot = (i64, i64);

/// Reads what stands in lanes for the records of some notifications, known by their first revisions: each delivery with the
/// first revision of its notification. The lanes must be locked.
pub(super) async fn read_mates(
    work: &mut Work,
    records: &BTreeMap<(i64, String), i64>,
    lanes: &BTreeSet<i64>,
    mates: &mut BTreeMap<Spot, Vec<(i64, i64)>>,
) -> Result<(), Failure> {
    let organizations: Vec<i64> = records.keys().map(|(organization, _)| *organization).collect();
    let ids: Vec<_> = records.keys().map(|(_, id)| text::written(id)).collect();
    let keys: Vec<i64> = records.values().copied().collect();
    let lanes: Vec<i64> = lanes.iter().copied().collect();
    let sql = "SELECT d.lane_key, k.key, d.id, f.id
               FROM unnest($1::bigint[], $2::text[], $3::bigint[]) k (organization, id, key)
               CROSS JOIN LATERAL (SELECT id, notification_id FROM notification
                   WHERE left(record_id, 64) = left(k.id, 64) AND record_id = k.id AND record_id <> ''
                   AND organization = k.organization ORDER BY id DESC LIMIT $5) n
               JOIN delivery d ON d.notification = n.id AND d.lane_key = ANY($4)
                   AND d.state NOT IN ('delivered', 'superseded', 'discarded')
               JOIN notification f ON f.notification_id = n.notification_id AND f.organization = k.organization
                   AND f.revision = 1";
    let arguments = args![INT8_ARRAY organizations, TEXT_ARRAY ids, INT8_ARRAY keys, INT8_ARRAY lanes, INT8 MATES_MAX];
    let rows = work.session.query(sql, arguments).await?;
    let read = read(&rows, |cells| Ok(((cells.number()?, cells.number()?), (cells.number()?, cells.number()?))))?;
    for (spot, mate) in read {
        mates.entry(spot).or_default().push(mate);
    }
    Ok(())
}

/// Which of some deliveries stand in the place of another notification's, whose update would be lost with them.
pub(super) async fn read_standing(work: &mut Work, deliveries: &[i64]) -> Result<BTreeSet<i64>, Failure> {
    let sql = "SELECT k.id FROM unnest($1::bigint[]) k (id) JOIN delivery own ON own.id = k.id
               JOIN notification mine ON mine.id = own.notification WHERE EXISTS (
                   WITH RECURSIVE before (id, notification) AS (
                       SELECT d.id, d.notification FROM delivery d WHERE d.superseded_by = k.id
                       UNION SELECT d.id, d.notification FROM before JOIN delivery d ON d.superseded_by = before.id
                   ) SELECT 1 FROM (SELECT notification FROM before LIMIT 100) b
                   JOIN notification n ON n.id = b.notification WHERE n.notification_id <> mine.notification_id)";
    let rows = work.session.query(sql, args![INT8_ARRAY deliveries]).await?;
    Ok(read(&rows, Cells::number)?.into_iter().collect())
}

impl Desk<'_> {
    /// Whether another notification's state of the same record stands behind a delivery in its lane: it is older than what
    /// came now, so the new content must not go out before it.
    fn would_overtake(&self, old: i64, first: i64, record: i64) -> Result<bool, Failure> {
        let Some(lane) = self.scene.place(old)?.lane_key else { return Ok(false) };
        let is_settled = |state| matches!(state, State::Delivered | State::Superseded | State::Discarded);
        let mut mates = self.mates.get(&(lane, record)).into_iter().flatten();
        Ok(mates.any(|(mate, of)| {
            *mate > old && *of != first && self.scene.find(*mate).is_none_or(|place| !is_settled(place.state))
        }))
    }

    /// Notes the newest delivery of a notification on a route.
    pub(super) fn remember(&mut self, key: (i64, i64), delivery: i64) {
        self.newest.insert(key, delivery);
        self.newest_changed.insert(key);
    }
}

/// Writes how often revisions came again, and what first revisions are now.
pub(super) async fn write_known(
    work: &mut Work,
    known: impl Iterator<Item = &Known>,
    earlier: &[(i64, i64)],
) -> Result<(), Failure> {
    let (mut rows, mut repeats, mut routed) = (Vec::new(), Vec::new(), Vec::new());
    for known in known {
        if known.came_again > 0 {
            rows.push(known.row);
            repeats.push(known.came_again);
        }
        if known.kind_changed {
            routed.push(known.first);
        }
    }
    for (row, times) in earlier.iter().filter(|(_, times)| *times > 0) {
        rows.push(*row);
        repeats.push(*times);
    }
    if !rows.is_empty() {
        let sql = "UPDATE notification n SET duplicates = n.duplicates + u.times
                   FROM unnest($1::bigint[], $2::bigint[]) u (id, times) WHERE n.id = u.id";
        work.session.query(sql, args![INT8_ARRAY rows, INT8_ARRAY repeats]).await?;
    }
    if !routed.is_empty() {
        let sql = "UPDATE notification SET kind = 'routed' WHERE id = ANY($1)";
        work.session.query(sql, args![INT8_ARRAY routed]).await?;
    }
    Ok(())
}

/// Writes the newest deliveries of what was revised.
pub(super) async fn write_newest(
    work: &mut Work,
    newest: &BTreeMap<(i64, i64), i64>,
    changed: &BTreeSet<(i64, i64)>,
) -> Result<(), Failure> {
    let (mut firsts, mut routes, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
    for (key, delivery) in newest.iter().filter(|(key, _)| changed.contains(key)) {
        firsts.push(key.0);
        routes.push(key.1);
        deliveries.push(*delivery);
    }
    if firsts.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO newest_delivery (notification, route, delivery)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) ORDER BY 1, 2
               ON CONFLICT (notification, route) DO UPDATE SET delivery = excluded.delivery";
    work.session.query(sql, args![INT8_ARRAY firsts, INT8_ARRAY routes, INT8_ARRAY deliveries]).await.map(|_| ())
}

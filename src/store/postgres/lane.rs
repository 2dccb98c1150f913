//! Lanes: who may go next. The deliveries that a command concerns are read once, with the heads of their lanes, moved in
//! memory by the rules, and written back once: a command costs the same few statements whatever it moves.
//!
//! In a lane at most one delivery is waiting or in flight: the lowest that is not settled. The one exception is a
//! replayed delivery that came back while a later one was in flight: it stands blocked, and is next when that call ends.
//! A head that comes after a delivery of another lane is blocked too, until that one is delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;

use super::failure::Failure;
use super::session::{args, read};
use super::text;
use super::work::Work;
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::store::StoreError;
use crate::store::accounts::{self, Account};
use crate::store::names::Way;
use crate::store::turn::Turn;

/// A delivery as it stands in its row.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: i64,
    pub(super) notification: i64,
    pub(super) way: Arc<Way>,
    pub(super) lane: Option<String>,
    pub(super) lane_key: Option<i64>,
    pub(super) state: State,
    pub(super) unsettled: bool,
    /// When it is due; of a blocked one, before when it is not to be sent.
    pub(super) due_at: Option<i64>,
    pub(super) lease: Option<i64>,
    pub(super) attempts: i64,
    pub(super) excused: i64,
    pub(super) first_attempt_active_ms: Option<i64>,
    pub(super) created_at: i64,
    pub(super) changed_at: i64,
    pub(super) status: Option<i64>,
    pub(super) same_bytes_as: Option<i64>,
    pub(super) repeat_count: i64,
    pub(super) repeat_key: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) coalesce_key: Option<i64>,
    pub(super) mark: Option<String>,
    pub(super) superseded_by: Option<i64>,
    pub(super) even_if_newer: bool,
    /// The delivery that it comes after.
    pub(super) comes_after: Option<i64>,
    /// Whether others come after it.
    pub(super) has_followers: bool,
    /// Whether its lane stops behind it when it dies of the one that it comes after.
    pub(super) holds: bool,
    /// The delivery that it repeats, because a person had it made.
    pub(super) replay_of: Option<i64>,
    /// The configuration that it is to be mapped with.
    pub(super) as_it_was: Option<i64>,
}

/// The head of a lane as far as it was read.
#[derive(Debug, Default)]
struct Lane {
    /// The lowest that are not settled.
    unsettled: BTreeSet<i64>,
    /// Whether there are more behind those that were read: then none of this command's own can be the lowest.
    more: bool,
}

/// The deliveries that a command concerns.
#[derive(Debug, Default)]
pub(super) struct Scene {
    places: BTreeMap<i64, Place>,
    lanes: HashMap<i64, Lane>,
    /// How those stand that others of the scene come after.
    leads: HashMap<i64, State>,
    changed: BTreeSet<i64>,
    new: BTreeSet<i64>,
}

const COLUMNS: &str = "d.id, d.notification, d.way, d.lane, d.lane_key, d.state, d.unsettled,
    coalesce(d.due_at, d.not_before), d.lease, d.attempts, d.excused, d.first_attempt_active_ms, d.created_at, d.changed_at, d.status, d.same_bytes_as,
    d.repeat_count, d.repeat_key, d.reason, d.coalesce_key, d.mark, d.superseded_by, d.even_if_newer,
    d.comes_after, d.has_followers, d.holds, d.replay_of, d.as_it_was";

impl Scene {
    /// Reads deliveries, with the lowest `leaving + 2` of each of the lanes and what is in flight there, and keeps others
    /// from changing them. The lanes must be locked; no more than `leaving` deliveries of any may leave it.
    pub(super) async fn load(
        work: &mut Work,
        deliveries: &[i64],
        lanes: &BTreeSet<i64>,
        leaving: usize,
    ) -> Result<Self, Failure> {
        let depth = i64::try_from(leaving).unwrap_or(i64::MAX).saturating_add(2);
        let keys: Vec<i64> = lanes.iter().copied().collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM delivery d WHERE d.id = ANY(ARRAY(
                 SELECT unnest($1::bigint[])
                 UNION SELECT l.id FROM unnest($2::bigint[]) k (key) CROSS JOIN LATERAL
                     (SELECT id FROM delivery WHERE lane_key = k.key AND unsettled ORDER BY lane_key, id LIMIT $3) l
                 UNION SELECT f.id FROM unnest($2::bigint[]) k (key)
                     JOIN delivery f ON f.lane_key = k.key AND f.state = 'in_flight'
             )) ORDER BY d.id FOR UPDATE"
        );
        let rows = work.session.query(&sql, args![INT8_ARRAY deliveries, INT8_ARRAY keys, INT8 depth]).await?;
        let ways: BTreeSet<i64> = rows.iter().map(|row| row.try_get(2)).collect::<Result<_, _>>()?;
        work.know_ways(&ways.into_iter().collect::<Vec<_>>()).await?;
        let mut scene = Self::default();
        for row in &rows {
            let place = read_place(work, row)?;
            scene.places.insert(place.id, place);
        }
        for key in lanes {
            let of_it = scene.places.values().filter(|place| place.lane_key == Some(*key) && place.unsettled);
            let unsettled: BTreeSet<i64> = of_it.map(|place| place.id).collect();
            let more = unsettled.len() >= usize::try_from(depth).unwrap_or(usize::MAX);
            scene.lanes.insert(*key, Lane { unsettled, more });
        }
        scene.read_leads(work).await?;
        Ok(scene)
    }

    /// Reads how those stand that others come after. Whoever delivers one of them later waits for the lanes of those
    /// others, and then sees to them.
    async fn read_leads(&mut self, work: &mut Work) -> Result<(), Failure> {
        let leads = self.places.values().filter_map(|place| place.comes_after);
        let asked: BTreeSet<i64> = leads.filter(|lead| !self.places.contains_key(lead)).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let asked: Vec<i64> = asked.into_iter().collect();
        let sql = "SELECT id, state FROM delivery WHERE id = ANY($1)";
        let rows = work.session.query(sql, args![INT8_ARRAY asked]).await?;
        self.leads = read(&rows, |cells| Ok((cells.number()?, cells.parsed()?)))?.into_iter().collect();
        Ok(())
    }

    /// Nothing is known of the lanes but which of them have deliveries that are not settled.
    pub(super) fn of_lanes(lanes: &BTreeSet<i64>, occupied: &BTreeSet<i64>) -> Self {
        let lane = |key: &i64| (*key, Lane { unsettled: BTreeSet::new(), more: occupied.contains(key) });
        Self { lanes: lanes.iter().map(lane).collect(), ..Self::default() }
    }

    /// A delivery, if it is there.
    pub(super) fn find(&self, id: i64) -> Option<&Place> {
        self.places.get(&id)
    }

    /// A delivery, which must be there.
    pub(super) fn place(&self, id: i64) -> Result<&Place, Failure> {
        self.find(id).ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("delivery {id}"))))
    }

    /// A delivery that is to be changed apart from its state.
    pub(super) fn change(&mut self, id: i64) -> Result<&mut Place, Failure> {
        self.changed.insert(id);
        let missing = || Failure::Rule(StoreError::NotFound(format!("delivery {id}")));
        self.places.get_mut(&id).ok_or_else(missing)
    }

    /// Whether a delivery need not wait for the one that it comes after. What is missing from the store holds nothing up:
    /// the claim sees that it is gone.
    fn is_free(&self, place: &Place) -> bool {
        let state = |lead| self.find(lead).map(|lead| lead.state).or_else(|| self.leads.get(&lead).copied());
        place.comes_after.and_then(state).is_none_or(|state| state == State::Delivered)
    }

    /// Those that come after a delivery, as far as they were read.
    pub(super) fn followers(&self, lead: i64) -> Vec<i64> {
        self.places.values().filter(|place| place.comes_after == Some(lead)).map(|place| place.id).collect()
    }

    /// Adds a new one.
    pub(super) fn add(&mut self, place: Place) {
        if let Some(lane) = place.lane_key.filter(|_| place.unsettled) {
            self.lanes.entry(lane).or_default().unsettled.insert(place.id);
        }
        self.new.insert(place.id);
        self.places.insert(place.id, place);
    }

    /// Whether any delivery of the lane is not settled: a new one must stand behind it.
    pub(super) fn is_occupied(&self, lane: i64) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.more || !lane.unsettled.is_empty())
    }

    /// The lowest delivery of a lane that is not settled, if it was read.
    pub(super) fn lowest(&self, lane: i64) -> Option<i64> {
        let lane = self.lanes.get(&lane)?;
        let lowest = lane.unsettled.first().copied()?;
        // Where only this command's own are known and others stand before them, none of those is the lowest.
        let others_before = lane.more && self.new.contains(&lowest);
        (!others_before).then_some(lowest)
    }

    fn is_in_flight(&self, lane: i64) -> bool {
        self.places.values().any(|place| place.lane_key == Some(lane) && place.state == State::InFlight)
    }

    /// Gives a delivery its new state, and the accounts with it.
    pub(super) fn turn(&mut self, work: &mut Work, id: i64, turn: Turn<'_>) -> Result<(), Failure> {
        let place = self.change(id)?;
        let (from, destination) = (place.state, place.way.destination);
        place.state = turn.to;
        place.due_at = turn.due_at.map(|due_at| due_at.0);
        place.lease = None;
        place.reason = turn.reason.map(str::to_owned);
        place.changed_at = turn.at.0;
        place.unsettled = turn.unsettled;
        if let Some(lane) = place.lane_key.and_then(|lane| self.lanes.get_mut(&lane)) {
            if turn.unsettled {
                lane.unsettled.insert(id);
            } else {
                lane.unsettled.remove(&id);
            }
        }
        work.accounts.post(accounts::turned(destination, from, turn.to));
        Ok(())
    }

    /// Lets the lane go on after one of it left or stopped: its lowest, if it is blocked, becomes due.
    /// Whether there was one to let go.
    pub(super) fn promote(&mut self, work: &mut Work, lane: Option<i64>, now: Timestamp) -> Result<bool, Failure> {
        let Some(lane) = lane else { return Ok(false) };
        let Some(next) = self.lowest(lane) else { return Ok(false) };
        let place = self.place(next)?;
        if place.state != State::Blocked || self.is_in_flight(lane) || !self.is_free(place) {
            return Ok(false);
        }
        let (reason, system) = (place.reason.clone(), place.way.system_name.clone());
        let due_at = place.due_at.map(Timestamp).max(Some(now));
        let turn = Turn { to: State::Waiting, due_at, unsettled: true, reason: reason.as_deref(), at: now };
        self.turn(work, next, turn)?;
        work.wake(&system);
        Ok(true)
    }

    /// Lets a delivery that is not in flight any more, or held or dead no more, take its turn: waiting if it is the lane's
    /// lowest and nothing is in flight, else blocked.
    pub(super) fn take_turn(
        &mut self,
        work: &mut Work,
        id: i64,
        due_at: Timestamp,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let place = self.place(id)?;
        let (lane, was_in_flight, system) =
            (place.lane_key, place.state == State::InFlight, place.way.system_name.clone());
        // One that is not free keeps its place, and those behind it wait with it.
        let is_free = self.is_free(place);
        let stands_behind = lane.is_some_and(|lane| {
            let other_in_flight = !was_in_flight && self.is_in_flight(lane);
            !is_free || other_in_flight || self.lowest(lane).is_some_and(|lowest| lowest < id)
        });
        let to = if stands_behind { State::Blocked } else { State::Waiting };
        self.turn(work, id, Turn { to, due_at: Some(due_at), unsettled: true, reason, at: now })?;
        if stands_behind {
            self.promote(work, lane, now)?;
        } else {
            work.wake(&system);
        }
        Ok(())
    }

    /// Makes way for an earlier delivery of the lane that comes back: what waits there is blocked.
    pub(super) fn make_way(&mut self, work: &mut Work, lane: i64, now: Timestamp) -> Result<(), Failure> {
        let Some(head) = self.lowest(lane) else { return Ok(()) };
        let place = self.place(head)?;
        if place.state != State::Waiting {
            return Ok(());
        }
        let (reason, due_at) = (place.reason.clone(), place.due_at.map(Timestamp));
        let turn = Turn { to: State::Blocked, due_at, unsettled: true, reason: reason.as_deref(), at: now };
        self.turn(work, head, turn)
    }

    /// Writes what is new and what was changed.
    pub(super) async fn write(&self, work: &mut Work) -> Result<(), Failure> {
        let new: Vec<&Place> = self.new.iter().filter_map(|id| self.places.get(id)).collect();
        if !new.is_empty() {
            insert(work, &new).await?;
        }
        let changed = self.changed.difference(&self.new).filter_map(|id| self.places.get(id));
        let changed: Vec<&Place> = changed.collect();
        if changed.is_empty() { Ok(()) } else { update(work, &changed).await }
    }
}

fn read_place(work: &Work, row: &Row) -> Result<Place, Failure> {
    let places = read(std::slice::from_ref(row), |cells| {
        Ok(Place {
            id: cells.number()?,
            notification: cells.number()?,
            way: work.names.way_of(cells.number()?)?,
            lane: cells.maybe_text()?,
            lane_key: cells.next()?,
            state: cells.parsed()?,
            unsettled: cells.next()?,
            due_at: cells.next()?,
            lease: cells.next()?,
            attempts: cells.number()?,
            excused: cells.number()?,
            first_attempt_active_ms: cells.next()?,
            created_at: cells.number()?,
            changed_at: cells.number()?,
            status: cells.next()?,
            same_bytes_as: cells.next()?,
            repeat_count: cells.number()?,
            repeat_key: cells.maybe_text()?,
            reason: cells.maybe_text()?,
            coalesce_key: cells.next()?,
            mark: cells.maybe_text()?,
            superseded_by: cells.next()?,
            even_if_newer: cells.next()?,
            comes_after: cells.next()?,
            has_followers: cells.next()?,
            holds: cells.next()?,
            replay_of: cells.next()?,
            as_it_was: cells.next()?,
        })
    })?;
    places.into_iter().next().ok_or_else(|| Failure::Fault("a row was read and is not there".to_owned()))
}

/// One column of some deliveries.
fn column<'a, T>(places: &[&'a Place], value: impl Fn(&'a Place) -> T) -> Vec<T> {
    places.iter().map(|place| value(place)).collect()
}

fn texts<'a>(
    places: &[&'a Place],
    value: impl Fn(&'a Place) -> Option<&'a String>,
) -> Vec<Option<std::borrow::Cow<'a, str>>> {
    places.iter().map(|place| value(place).map(|text| text::written(text))).collect()
}

async fn insert(work: &mut Work, places: &[&Place]) -> Result<(), Failure> {
    let sql =
        "INSERT INTO delivery (id, notification, way, system, lane_key, lane, state, unsettled, due_at, created_at,
                   changed_at, reason, coalesce_key, mark, superseded_by, even_if_newer, comes_after, has_followers, holds,
                   replay_of, as_it_was)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
                   $7::text[], $8::boolean[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[],
                   $14::text[], $15::bigint[], $16::boolean[], $17::bigint[], $18::boolean[], $19::boolean[], $20::bigint[],
                   $21::bigint[])";
    let arguments = args![
        INT8_ARRAY column(places, |place| place.id),
        INT8_ARRAY column(places, |place| place.notification),
        INT8_ARRAY column(places, |place| place.way.id),
        INT8_ARRAY column(places, |place| place.way.system),
        INT8_ARRAY column(places, |place| place.lane_key),
        TEXT_ARRAY texts(places, |place| place.lane.as_ref()),
        TEXT_ARRAY column(places, |place| place.state.as_str()),
        BOOL_ARRAY column(places, |place| place.unsettled),
        // What is new was never put off: blocked, it has no time to keep.
        INT8_ARRAY column(places, |place| place.due_at.filter(|_| place.state == State::Waiting)),
        INT8_ARRAY column(places, |place| place.created_at),
        INT8_ARRAY column(places, |place| place.changed_at),
        TEXT_ARRAY texts(places, |place| place.reason.as_ref()),
        INT8_ARRAY column(places, |place| place.coalesce_key),
        TEXT_ARRAY texts(places, |place| place.mark.as_ref()),
        INT8_ARRAY column(places, |place| place.superseded_by),
        BOOL_ARRAY column(places, |place| place.even_if_newer),
        INT8_ARRAY column(places, |place| place.comes_after),
        BOOL_ARRAY column(places, |place| place.has_followers),
        BOOL_ARRAY column(places, |place| place.holds),
        INT8_ARRAY column(places, |place| place.replay_of),
        INT8_ARRAY column(places, |place| place.as_it_was),
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

async fn update(work: &mut Work, places: &[&Place]) -> Result<(), Failure> {
    let sql = "UPDATE delivery d SET notification = u.notification, state = u.state, unsettled = u.unsettled,
                   due_at = CASE u.state WHEN 'waiting' THEN u.due_at END,
                   not_before = CASE u.state WHEN 'blocked' THEN u.due_at END,
                   lease = u.lease, lease_until = CASE WHEN u.lease IS NULL THEN NULL ELSE d.lease_until END,
                   holder = CASE WHEN u.lease IS NULL THEN NULL ELSE d.holder END, attempts = u.attempts,
                   excused = u.excused, first_attempt_active_ms = u.first_attempt_active_ms, changed_at = u.changed_at,
                   status = u.status, same_bytes_as = u.same_bytes_as, repeat_count = u.repeat_count,
                   repeat_key = u.repeat_key, reason = u.reason, mark = u.mark, superseded_by = u.superseded_by,
                   even_if_newer = u.even_if_newer, comes_after = u.comes_after, has_followers = u.has_followers,
                   holds = u.holds, as_it_was = u.as_it_was
               FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[], $5::bigint[], $6::bigint[],
                   $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
                   $14::text[], $15::text[], $16::text[], $17::bigint[], $18::boolean[],
                   $19::bigint[], $20::boolean[], $21::boolean[], $22::bigint[])
                   u (id, notification, state, unsettled, due_at, lease, attempts, excused, first_attempt_active_ms,
                      changed_at, status, same_bytes_as, repeat_count, repeat_key, reason, mark, superseded_by,
                      even_if_newer, comes_after, has_followers, holds, as_it_was)
               WHERE d.id = u.id";
    let arguments = args![
        INT8_ARRAY column(places, |place| place.id),
        INT8_ARRAY column(places, |place| place.notification),
        TEXT_ARRAY column(places, |place| place.state.as_str()),
        BOOL_ARRAY column(places, |place| place.unsettled),
        INT8_ARRAY column(places, |place| place.due_at),
        INT8_ARRAY column(places, |place| place.lease),
        INT8_ARRAY column(places, |place| place.attempts),
        INT8_ARRAY column(places, |place| place.excused),
        INT8_ARRAY column(places, |place| place.first_attempt_active_ms),
        INT8_ARRAY column(places, |place| place.changed_at),
        INT8_ARRAY column(places, |place| place.status),
        INT8_ARRAY column(places, |place| place.same_bytes_as),
        INT8_ARRAY column(places, |place| place.repeat_count),
        TEXT_ARRAY texts(places, |place| place.repeat_key.as_ref()),
        TEXT_ARRAY texts(places, |place| place.reason.as_ref()),
        TEXT_ARRAY texts(places, |place| place.mark.as_ref()),
        INT8_ARRAY column(places, |place| place.superseded_by),
        BOOL_ARRAY column(places, |place| place.even_if_newer),
        INT8_ARRAY column(places, |place| place.comes_after),
        BOOL_ARRAY column(places, |place| place.has_followers),
        BOOL_ARRAY column(places, |place| place.holds),
        INT8_ARRAY column(places, |place| place.as_it_was),
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

/// Looks again at lanes that seemed to have blocked deliveries and no head, and repairs those that have; how many.
pub(super) async fn repair(work: &mut Work, lanes: &BTreeSet<i64>, now: Timestamp) -> Result<u64, Failure> {
    super::locks::lock_lanes(work, lanes).await?;
    let mut scene = Scene::load(work, &[], lanes, 0).await?;
    let mut repaired = 0;
    for lane in lanes {
        if scene.promote(work, Some(*lane), now)? {
            repaired += 1;
            work.accounts.add(Account::lanes_repaired(), 1);
        }
    }
    scene.write(work).await?;
    Ok(repaired)
}

//! Deliveries that come after another of their notification: they wait until that one is delivered, and die when it will
//! not be.
//!
//! Whoever may deliver one or lose it locks the lanes of all that come after it, and holds the rows of all of them. Whoever
//! lets another come after it holds its row too. So each of them sees what the other did.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::lane::Scene;
use super::locks;
use super::names::Known;
use super::session::{Cells, Session, args, read};
use super::work::Work;
use crate::clock::Timestamp;
use crate::delivery::{After, State};
use crate::store::StoreError;
use crate::store::names::Kind;
use crate::store::turn::Turn;

/// The delivery that another comes after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) id: i64,
    pub(super) state: State,
}

impl Lead {
    /// Whether it will not be delivered, unless a person sees to it.
    pub(super) fn is_lost(self) -> bool {
        matches!(self.state, State::Dead | State::Superseded | State::Discarded)
    }
}

/// The newest delivery of each route of a notification: (first revision, route) → delivery.
pub(super) type Newest = BTreeMap<(i64, i64), i64>;

/// Deliveries with all that come after them, each with its lane.
pub(super) async fn with_followers(
    session: &mut Session,
    deliveries: &[i64],
) -> Result<BTreeMap<i64, Option<i64>>, Failure> {
    let sql = "WITH RECURSIVE told (id, lane_key, has_followers) AS (
                   SELECT id, lane_key, has_followers FROM delivery WHERE id = ANY($1)
                   UNION SELECT f.id, f.lane_key, f.has_followers FROM told
                   JOIN delivery f ON f.comes_after = told.id WHERE told.has_followers
               ) SELECT id, lane_key FROM told";
    let rows = session.query(sql, args![INT8_ARRAY deliveries]).await?;
    Ok(read(&rows, |cells| Ok((cells.number()?, cells.next()?)))?.into_iter().collect())
}

/// Locks the lanes of some deliveries and of all that come after them, and reads who stands there.
pub(super) async fn load(work: &mut Work, deliveries: &[i64]) -> Result<Scene, Failure> {
    let all = with_followers(&mut work.session, deliveries).await?;
    let lanes = all.values().filter_map(|lane| *lane).collect();
    locks::lock_lanes(work, &lanes).await?;
    read_scene(work, &all, &lanes).await
}

/// Reads deliveries with all that come after them, in lanes that are locked.
pub(super) async fn read_scene(
    work: &mut Work,
    all: &BTreeMap<i64, Option<i64>>,
    lanes: &BTreeSet<i64>,
) -> Result<Scene, Failure> {
    let deliveries: Vec<i64> = all.keys().copied().collect();
    let scene = Scene::load(work, &deliveries, lanes, deliveries.len()).await?;
    let leads = deliveries.iter().filter(|id| scene.find(**id).is_some_and(|place| place.has_followers));
    let leads: Vec<i64> = leads.copied().collect();
    if leads.is_empty() {
        return Ok(scene);
    }
    // Those that came meanwhile stand in lanes that are not locked.
    let rows =
        work.session.query("SELECT id FROM delivery WHERE comes_after = ANY($1)", args![INT8_ARRAY leads]).await?;
    let mut followers = read(&rows, Cells::number)?.into_iter();
    if followers.any(|follower| !all.contains_key(&follower)) {
        return Err(Failure::Again("a delivery came after one that was about to move".to_owned()));
    }
    Ok(scene)
}

/// The newest delivery that a route made of a notification, whose first revision stands at a row.
pub(super) fn lead(scene: &Scene, newest: &Newest, first: i64, route: i64) -> Option<Lead> {
    let place = scene.find(*newest.get(&(first, route))?)?;
    Some(Lead { id: place.id, state: place.state })
}

/// Why a delivery cannot go out at all; none when its lead is, or may yet be, delivered.
pub(super) fn refusal(after: &After, lead: Option<Lead>) -> Option<String> {
    let route = &after.route;
    match lead {
        None => Some(format!(
            "route {route:?}, which it comes after, made no delivery of this notification, so there is no answer to take"
        )),
        Some(lead) if lead.is_lost() => Some(lost(route, lead)),
        Some(_) => None,
    }
}

// The id stands in quotes, so that dead letters with this cause are grouped.
fn lost(route: &str, lead: Lead) -> String {
    let Lead { id, state } = lead;
    let then = match state {
        State::Dead => "; once that one was replayed and delivered, this one can be replayed",
        State::Waiting
        | State::Blocked
        | State::InFlight
        | State::Delivered
        | State::Held
        | State::Superseded
        | State::Discarded => "",
    };
    format!("delivery \"{id}\" on route {route:?}, which it comes after, is {state} and gave no answer{then}")
}

/// Tells those that come after a delivery what became of it.
pub(super) fn tell(work: &mut Work, scene: &mut Scene, lead: i64, now: Timestamp) -> Result<(), Failure> {
    let mut told = vec![lead];
    while let Some(lead) = told.pop() {
        let place = scene.place(lead)?;
        let known = Lead { id: lead, state: place.state };
        let route = place.way.route_name.clone();
        if known.state != State::Delivered && !known.is_lost() {
            continue;
        }
        for follower in scene.followers(lead) {
            let place = scene.place(follower)?;
            let (lane, holds, has_followers) = (place.lane_key, place.holds, place.has_followers);
            if known.is_lost() {
                if !matches!(place.state, State::Blocked | State::Held) {
                    continue;
                }
                let reason = lost(&route, known);
                let turn = Turn { to: State::Dead, due_at: None, unsettled: holds, reason: Some(&reason), at: now };
                scene.turn(work, follower, turn)?;
                if has_followers {
                    told.push(follower);
                }
            }
            scene.promote(work, lane, now)?;
        }
    }
    Ok(())
}

/// What is known of a notification: the row of its first revision, and its newest deliveries, which the scene has.
pub(super) struct Story {
    pub(super) first: i64,
    pub(super) newest: Newest,
    pub(super) scene: Scene,
}

/// A delivery that a person sends again waits for the one that it comes after: the one that it knows, or where that is lost
/// the newest that its route made of the notification. `after` is what the configuration says now, where that is known.
pub(super) fn rejoin(story: &mut Story, names: &Known, id: i64, after: Option<Option<&After>>) -> Result<(), Failure> {
    let place = story.scene.place(id)?;
    let (held, has_lane) = (place.holds, place.lane_key.is_some());
    let known = place.comes_after.and_then(|lead| story.scene.find(lead));
    let (route, number) = match (after, known) {
        (Some(None), _) => {
            story.scene.change(id)?.comes_after = None;
            return Ok(());
        }
        (Some(Some(after)), _) => (after.route.clone(), names.number(Kind::Route, &after.route)?),
        (None, Some(known)) => (known.way.route_name.clone(), known.way.route),
        (None, None) => return Ok(()),
    };
    if let Some(known) = known
        && known.way.route == number
        && !(Lead { id: known.id, state: known.state }).is_lost()
    {
        return Ok(());
    }
    let holds_lane = after.flatten().map_or(held, |after| after.holds_lane);
    let after = After { route, holds_lane };
    let lead = lead(&story.scene, &story.newest, story.first, number);
    // Who waits for a higher number may stand before it in its own lane: then neither would ever go out. And who has no
    // lane has no place in which to wait.
    let early = lead.filter(|lead| (lead.id > id || !has_lane) && lead.state != State::Delivered);
    let reason = refusal(&after, lead).or_else(|| {
        let Lead { id, .. } = early?;
        let route = &after.route;
        Some(format!(
            "delivery {id} on route {route:?}, which it comes after, is not delivered yet; replay this one once it is"
        ))
    });
    match reason {
        Some(reason) => Err(Failure::Rule(StoreError::Conflict(format!("delivery {id}: {reason}")))),
        None => note(&mut story.scene, id, lead, holds_lane),
    }
}

/// Notes what a delivery comes after.
fn note(scene: &mut Scene, id: i64, lead: Option<Lead>, holds_lane: bool) -> Result<(), Failure> {
    let place = scene.change(id)?;
    place.comes_after = lead.map(|lead| lead.id);
    place.holds = holds_lane;
    match lead {
        Some(lead) => lead_on(scene, lead.id),
        None => Ok(()),
    }
}

/// Notes that others come after a delivery.
pub(super) fn lead_on(scene: &mut Scene, lead: i64) -> Result<(), Failure> {
    if !scene.place(lead)?.has_followers {
        scene.change(lead)?.has_followers = true;
    }
    Ok(())
}

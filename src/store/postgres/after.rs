//! Deliveries that come after another of their notification: they wait until that one is delivered, and die when it will
//! not be.
//!
//! Whoever may deliver one or lose it locks the lanes of all that come after it, and holds the rows of all of them. Whoever
//! lets another come after it holds its row too. So each of them sees what the other did.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::lane::{Place, Scene};
use super::locks;
use super::names::Known;
use super::session::{Cells, Session, args, read};
use super::work::Work;
use crate::clock::Timestamp;
use crate::delivery::{After, State};
use crate::store::lead::{self, Follower, Lead, Rejoined};
use crate::store::names::Kind;
use crate::store::turn::Turn;

/// The newest delivery of each route of a notification: (first revision, route) → delivery.
pub(super) type Newest = BTreeMap<(i64, i64), i64>;

impl From<&Place> for Lead {
    fn from(place: &Place) -> Self {
        Self { id: place.id, state: place.state }
    }
}

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
    scene.find(*newest.get(&(first, route))?).map(Lead::from)
}

/// Tells those that come after a delivery what became of it.
pub(super) fn tell(work: &mut Work, scene: &mut Scene, lead: i64, now: Timestamp) -> Result<(), Failure> {
    let mut told = vec![lead];
    while let Some(lead) = told.pop() {
        let place = scene.place(lead)?;
        let lead = Lead { id: lead, state: place.state };
        if !lead.is_decided() {
            continue;
        }
        let reason = lead.lost(&place.way.route_name);
        for follower in scene.followers(lead.id) {
            let place = scene.place(follower)?;
            let (lane, unsettled, has_followers) = (place.lane_key, place.holds, place.has_followers);
            match lead.follower(place.state) {
                Follower::Stays => continue,
                Follower::GoesOn => {}
                Follower::Dies => {
                    let turn = Turn { to: State::Dead, due_at: None, unsettled, reason: Some(&reason), at: now };
                    scene.turn(work, follower, turn)?;
                    if has_followers {
                        told.push(follower);
                    }
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
    let lane = place.lane_key;
    let known = place.comes_after.and_then(|lead| story.scene.find(lead)).map(|known| (&known.way, Lead::from(known)));
    let by_name = known.map(|(way, lead)| (way.route_name.as_str(), lead));
    let after = match lead::rejoined(after, by_name, place.holds) {
        Rejoined::Nothing => {
            story.scene.change(id)?.comes_after = None;
            return Ok(());
        }
        Rejoined::AsItWas => return Ok(()),
        Rejoined::Newest(after) => after,
    };
    let number = match known.filter(|(way, _)| way.route_name == after.route) {
        Some((way, _)) => way.route,
        None => names.number(Kind::Route, &after.route)?,
    };
    let lead = lead(&story.scene, &story.newest, story.first, number);
    lead::check(id, lane, &after, lead)?;
    note(&mut story.scene, id, lead, after.holds_lane)
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

//! What people do to a delivery: replay, hold, release, discard.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::after;
use super::audit_log;
use super::coalesce;
use super::failure::Failure;
use super::lane::{Place, Scene};
use super::queries;
use super::replay;
use super::session::{Cells, Session, args, read};
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::store::change;
use crate::store::turn::Turn;
use crate::store::{By, Change, DECIDED, DeliveryView, StoreError};

/// The command.
pub(super) struct Changing {
    pub(super) delivery: DeliveryId,
    pub(super) change: Change,
    pub(super) still: Option<State>,
    pub(super) by: By,
    pub(super) now: Timestamp,
}

impl Job for Changing {
    type Done = DeliveryView;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<DeliveryView, Failure>> {
        Box::pin(async move {
            let id = self.delivery.0;
            let (mut scene, updates) = match self.change {
                Change::Replay { even_if_newer } => (self.rejoined(work, even_if_newer).await?, BTreeSet::new()),
                Change::Release => coalesce::load(work, id).await?,
                Change::Hold | Change::Discard | Change::LetGo => (after::load(work, &[id]).await?, BTreeSet::new()),
            };
            let was = scene.place(id)?.state;
            self.check(id, was)?;
            work.accounts.at(self.now);
            self.apply(work, &mut scene, &updates)?;
            scene.write(work).await?;
            let shown = view(work, id).await?;
            let deed = change::deed(self.delivery, self.change.word(), &self.by, self.now, "done".to_owned());
            audit_log::write(work, &deed.between(was, shown.state)).await?;
            Ok(shown)
        })
    }
}

/// How a delivery stands now.
pub(super) async fn view(work: &mut Work, delivery: i64) -> Result<DeliveryView, Failure> {
    let view = queries::delivery_view(&mut work.session, delivery).await?;
    view.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {delivery}"))))
}

impl Changing {
    /// Whether the delivery can be changed so where it stands, with its lane locked.
    fn check(&self, id: i64, state: State) -> Result<(), StoreError> {
        change::stands(id, state, self.still)?;
        self.change.check(id, state)
    }

    /// Reads what a replay concerns; the delivery waits for the one that it comes after.
    async fn rejoined(&self, work: &mut Work, even_if_newer: bool) -> Result<Scene, Failure> {
        let id = self.delivery.0;
        let (mut story, _) = replay::open(work, id, None).await?;
        let place = story.scene.place(id)?;
        let route = place.way.route;
        self.check(id, place.state)?;
        if !even_if_newer {
            refuse_outdated(work, id, route).await?;
        }
        after::rejoin(&mut story, &work.names, id, None)?;
        Ok(story.scene)
    }

    /// `updates`: see [`coalesce::load`].
    fn apply(&self, work: &mut Work, scene: &mut Scene, updates: &BTreeSet<i64>) -> Result<(), Failure> {
        let (id, now, reason) = (self.delivery.0, self.now, self.by.reason.as_str());
        match self.change {
            Change::Replay { even_if_newer } => replay(work, scene, id, even_if_newer, now),
            Change::Release => {
                decided(scene.change(id)?);
                if coalesce::come_back(work, scene, id, updates, now)? {
                    scene.take_turn(work, id, now, None, now)?;
                }
                Ok(())
            }
            Change::Hold => leave(work, scene, id, change::held(reason, now)),
            Change::Discard => {
                leave(work, scene, id, change::discarded(reason, now))?;
                after::tell(work, scene, id, now)
            }
            Change::LetGo => {
                let reason = scene.place(id)?.reason.clone();
                leave(work, scene, id, change::let_go(reason.as_deref(), now))
            }
        }
    }
}

/// Sending an older state of a record behind a newer one would undo it.
pub(super) async fn refuse_outdated(work: &mut Work, id: i64, route: i64) -> Result<(), Failure> {
    let Some(newer) = outdated_by(&mut work.session, id, Some(route)).await? else { return Ok(()) };
    Err(change::outdated(id, newer).into())
}

/// A later delivery of the same record that was delivered with other content, on a route or else on the same one.
pub(super) async fn outdated_by(
    session: &mut Session,
    delivery: i64,
    route: Option<i64>,
) -> Result<Option<i64>, Failure> {
    let pruned = "SELECT d.outdated_by FROM delivery d JOIN way ON way.id = d.way
                  WHERE d.id = $1 AND d.outdated_by IS NOT NULL AND way.route = coalesce($2, way.route)";
    let rows = session.query(pruned, args![INT8 delivery, INT8 route]).await?;
    if let Some(newer) = read(&rows, Cells::number)?.first() {
        return Ok(Some(*newer));
    }
    let sql = "SELECT later.id FROM delivery this
               JOIN notification mine ON mine.id = this.notification JOIN way ON way.id = this.way
               JOIN notification other ON left(other.record_id, 64) = left(mine.record_id, 64)
                    AND other.record_id = mine.record_id AND other.record_id <> '' AND other.organization = mine.organization
               JOIN delivery later ON later.notification = other.id
               JOIN way its ON its.id = later.way AND its.route = coalesce($2, way.route)
               WHERE this.id = $1 AND later.id > this.id AND later.state = 'delivered'
               AND later.notification <> this.notification LIMIT 1";
    let rows = session.query(sql, args![INT8 delivery, INT8 route]).await?;
    Ok(read(&rows, Cells::number)?.first().copied())
}

/// A dead one comes back to its old place. A person decided to try again: its age, its repeated fault and what counts
/// against its limits start anew, while its attempts are numbered on.
pub(super) fn replay(
    work: &mut Work,
    scene: &mut Scene,
    id: i64,
    even_if_newer: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let lane = scene.place(id)?.lane_key;
    if let Some(lane) = lane.filter(|lane| scene.lowest(*lane).is_some_and(|lowest| id < lowest)) {
        scene.make_way(work, lane, now)?;
    }
    let place = scene.change(id)?;
    place.even_if_newer = even_if_newer;
    place.as_it_was = None;
    place.first_attempt_active_ms = None;
    place.excused = place.attempts;
    decided(place);
    scene.take_turn(work, id, now, None, now)
}

/// A person wants it sent: whatever is unknown of it, nobody is asked again before its next attempt.
fn decided(place: &mut Place) {
    place.repeat_count = 0;
    place.repeat_key = Some(DECIDED.to_owned());
}

/// It stops or goes; where it was the head of its lane, a held one stops the lane and a discarded one lets it go on.
pub(super) fn leave(work: &mut Work, scene: &mut Scene, id: i64, turn: Turn<'_>) -> Result<(), Failure> {
    let lane = scene.place(id)?.lane_key;
    scene.turn(work, id, turn)?;
    scene.promote(work, lane, turn.at).map(|_| ())
}

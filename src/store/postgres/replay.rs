//! A person has a delivery sent again: in its old place, or as a new one that is linked to it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;

use super::accept::{Desk, Envelope, lane_key};
use super::after::{self, Story};
use super::audit_log;
use super::change;
use super::failure::Failure;
use super::lane::Place;
use super::locks::{self, Class, Gate, Keys};
use super::names::Wanted;
use super::revise;
use super::searched;
use super::session::{args, read};
use super::text;
use super::work::{Job, Work};
use crate::delivery::{DeliveryId, Planned, State};
use crate::store::arrival;
use crate::store::change as rules;
use crate::store::change::deed;
use crate::store::lead;
use crate::store::names::Kind;
use crate::store::turn::Turn;
use crate::store::{DeliveryView, Edit, Replay, Replayed, StoreError};

/// What a delivery carries.
#[derive(Debug)]
pub(super) struct Carried {
    organization: i64,
    notification_id: String,
    first: i64,
    row: i64,
    record_id: String,
}

/// Locks the notification of a delivery and the lanes of all its newest deliveries, and of one that is to be made of it,
/// and reads them.
pub(super) async fn open(
    work: &mut Work,
    delivery: i64,
    planned: Option<&Planned>,
) -> Result<(Story, Carried), Failure> {
    let asked = carried(work, delivery).await?;
    let mut keys = Keys::default();
    keys.add(Class::Notification, locks::key(asked.organization, &asked.notification_id));
    locks::enter(&mut work.session, Gate::Shared, &keys).await?;
    // Read again: a revision may have come before the lock.
    let carried = carried(work, delivery).await?;
    let (mut newest, mut old) = (BTreeMap::new(), BTreeMap::new());
    revise::read_newest(work, &[carried.first], &mut newest, &mut old).await?;
    let sql = "SELECT id FROM delivery WHERE id = $1 UNION SELECT comes_after FROM delivery WHERE id = $1
               AND comes_after IS NOT NULL";
    let rows = work.session.query(sql, args![INT8 delivery]).await?;
    let mut concerned: BTreeSet<i64> = old.into_keys().collect();
    concerned.extend(read(&rows, super::session::Cells::number)?);
    let concerned: Vec<i64> = concerned.into_iter().collect();
    let all = after::with_followers(&mut work.session, &concerned).await?;
    let mut lanes: BTreeSet<i64> = all.values().filter_map(|lane| *lane).collect();
    if let Some(planned) = planned {
        lanes.extend(lane_key(work.names.way(planned)?.as_ref(), planned));
    }
    locks::take(&mut work.session, Gate::Shared, &Keys::lanes(lanes.iter().copied())).await?;
    let scene = after::read_scene(work, &all, &lanes).await?;
    Ok((Story { first: carried.first, newest, scene }, carried))
}

async fn carried(work: &mut Work, delivery: i64) -> Result<Carried, Failure> {
    let sql = "SELECT this.organization, this.notification_id, first.id, this.id, this.record_id FROM delivery d
               LEFT JOIN notification this ON this.id = d.notification
               LEFT JOIN notification first ON first.notification_id = this.notification_id
                   AND first.organization = this.organization AND first.revision = 1
               WHERE d.id = $1";
    let rows = work.session.query(sql, args![INT8 delivery]).await?;
    let found = read(&rows, |cells| {
        let organization: Option<i64> = cells.next()?;
        let (notification_id, first) = (cells.maybe_text()?, cells.next::<Option<i64>>()?);
        let (Some(organization), Some(notification_id), Some(first)) = (organization, notification_id, first) else {
            return Ok(None);
        };
        let (row, record_id) = (cells.number()?, cells.text()?);
        Ok(Some(Carried { organization, notification_id, first, row, record_id }))
    })?;
    let missing = |what: String| Failure::Rule(StoreError::NotFound(what));
    let found = found.into_iter().next().ok_or_else(|| missing(format!("delivery {delivery}")))?;
    found.ok_or_else(|| missing(format!("the notification of delivery {delivery}")))
}

/// The command.
pub(super) struct Replaying(pub(super) Replay);

impl Job for Replaying {
    type Done = Replayed;

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        if let Some(planned) = &self.0.planned {
            wanted.way(planned);
        }
        wanted
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Replayed, Failure>> {
        Box::pin(async move {
            let replay = &self.0;
            work.accounts.at(replay.now);
            let (story, carried) = open(work, replay.delivery.0, replay.planned.as_ref()).await?;
            let place = story.scene.place(replay.delivery.0)?.clone();
            rules::stands(place.id, place.state, replay.still)?;
            if !matches!(place.state, State::Dead | State::Delivered) {
                let state = place.state.as_str().replace('_', " ");
                let rule = "only a dead or a delivered one can be replayed";
                return conflict(format!("delivery {} is {state}; {rule}", place.id));
            }
            let own_route = replay.planned.as_ref().is_none_or(|planned| planned.route == place.way.route_name);
            if place.state == State::Dead && own_route && replay.edit.is_none() {
                return self.in_place(work, story, &place).await;
            }
            let Some(planned) = &replay.planned else {
                let route = &place.way.route_name;
                return conflict(format!(
                    "delivery {}: its route {route:?} can make nothing new of it; name another with --to (`to` in the API)",
                    place.id
                ));
            };
            self.linked(work, story, carried, &place, planned).await
        })
    }
}

fn conflict<T>(reason: String) -> Result<T, Failure> {
    Err(Failure::Rule(StoreError::Conflict(reason)))
}

impl Replaying {
    async fn in_place(&self, work: &mut Work, mut story: Story, place: &Place) -> Result<Replayed, Failure> {
        let replay = &self.0;
        if !replay.even_if_newer {
            change::refuse_outdated(work, place.id, place.way.route).await?;
        }
        let planned = replay.planned.as_ref();
        after::rejoin(&mut story, &work.names, place.id, planned.map(|planned| planned.after.as_ref()))?;
        change::replay(work, &mut story.scene, place.id, replay.even_if_newer, replay.now)?;
        story.scene.change(place.id)?.as_it_was = replay.as_it_was.map(|version| version.0);
        story.scene.write(work).await?;
        let delivery = self.done(work, place.id, None).await?;
        Ok(Replayed { delivery, woken: vec![place.way.system_name.clone()] })
    }

    /// Makes a new delivery. Nobody's newer state gives way to it: it does not coalesce.
    async fn linked(
        &self,
        work: &mut Work,
        story: Story,
        carried: Carried,
        place: &Place,
        planned: &Planned,
    ) -> Result<Replayed, Failure> {
        let replay = &self.0;
        let route = work.names.number(Kind::Route, &planned.route)?;
        if !replay.even_if_newer {
            change::refuse_outdated(work, place.id, route).await?;
        }
        let (row, record_id) = match &replay.edit {
            Some(edit) => (self.edited(work, carried.row, edit).await?, edit.record_id.clone()),
            None => (carried.row, carried.record_id),
        };
        let Story { first, newest, scene } = story;
        if let Some(wanted) = &planned.after {
            let lead = after::lead(&scene, &newest, first, work.names.number(Kind::Route, &wanted.route)?);
            if let Some(reason) = lead::refusal(wanted, lead) {
                return conflict(format!("delivery {}: {reason}", place.id));
            }
        }
        let mut desk = Desk::of_scene(work, scene, 1).await?;
        desk.newest = newest;
        let accept = arrival::nothing_new(replay.now);
        let envelope = Envelope::of_known(&accept, 0, 0);
        let planned = Planned { coalesce: None, ..planned.clone() };
        let made = desk.deliver(work, &envelope, first, row, &record_id, &planned)?;
        let new = desk.scene.change(made)?;
        new.replay_of = Some(place.id);
        new.even_if_newer = replay.even_if_newer;
        new.as_it_was = replay.as_it_was.map(|version| version.0);
        desk.remember((first, route), made);
        if place.state == State::Dead && self.0.stays_dead {
            self.let_go(work, &mut desk, place)?;
        } else if place.state == State::Dead {
            self.supersede(work, &mut desk, place, made)?;
        }
        desk.finish(work).await?;
        let delivery = self.done(work, made, Some(DeliveryId(made))).await?;
        Ok(Replayed { delivery, woken: work.woken.clone() })
    }

    /// The dead letter is dealt with: what it stood for shows with the new one, should that die too.
    fn supersede(&self, work: &mut Work, desk: &mut Desk<'_>, place: &Place, made: i64) -> Result<(), Failure> {
        let reason = format!("a person had it replayed as delivery {made}");
        let at = self.0.now;
        let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at };
        desk.scene.turn(work, place.id, turn)?;
        desk.scene.change(place.id)?.superseded_by = Some(made);
        desk.scene.promote(work, place.lane_key, at).map(|_| ())
    }

    /// The dead letter waits for the new delivery, which may stand in its lane: so it does not stop that.
    fn let_go(&self, work: &mut Work, desk: &mut Desk<'_>, place: &Place) -> Result<(), Failure> {
        if !place.unsettled {
            return Ok(());
        }
        desk.scene.turn(work, place.id, rules::let_go(place.reason.as_deref(), self.0.now))?;
        desk.scene.promote(work, place.lane_key, self.0.now).map(|_| ())
    }

    /// Writes the edited content as a revision of the notification that Salesforce did not send; the one that is there
    /// already, when the newest was edited to the same. Its row.
    async fn edited(&self, work: &mut Work, original: i64, edit: &Edit) -> Result<i64, Failure> {
        let sql = "SELECT this.hash, n.id, n.revision, n.hash, n.edited_from IS NOT NULL FROM notification this
                   CROSS JOIN LATERAL (SELECT id, revision, hash, edited_from FROM notification
                       WHERE notification_id = this.notification_id AND organization = this.organization
                       ORDER BY revision DESC LIMIT 1) n
                   WHERE this.id = $1";
        let rows = work.session.query(sql, args![INT8 original]).await?;
        let found = read(&rows, |cells| {
            Ok((cells.next::<Vec<u8>>()?, cells.number()?, cells.number()?, cells.next::<Vec<u8>>()?, cells.next()?))
        })?;
        let missing = || Failure::Rule(StoreError::NotFound(format!("notification row {original}")));
        let (own, newest, revision, hash, is_edited) = found.into_iter().next().ok_or_else(missing)?;
        if own == edit.hash {
            return conflict(format!("delivery {}: the edit changes nothing of its record", self.0.delivery));
        }
        if is_edited && hash == edit.hash {
            return Ok(newest);
        }
        let sql = "INSERT INTO notification (id, envelope, source, organization, notification_id, revision, kind, hash,
                       reason, record_type, record_id, xml, edited_from)
                   SELECT nextval('notification_row'), envelope, source, organization, notification_id, $2, 'revised', $3,
                       $4, $5, $6, $7, id FROM notification WHERE id = $1 RETURNING id";
        let arguments = args![
            INT8 original,
            INT8 revision.saturating_add(1),
            BYTEA edit.hash.as_slice(),
            TEXT text::written(&self.0.by.reason),
            TEXT text::written(&edit.record_type),
            TEXT text::written(&edit.record_id),
            TEXT text::written(&edit.xml),
        ];
        let rows = work.session.query(sql, arguments).await?;
        let row = read(&rows, super::session::Cells::number)?.into_iter().next().ok_or_else(missing)?;
        searched::write(&mut work.session, std::iter::once((row, &edit.search))).await?;
        Ok(row)
    }

    async fn done(&self, work: &mut Work, shown: i64, made: Option<DeliveryId>) -> Result<DeliveryView, Failure> {
        let deed = deed(self.0.delivery, "replay", &self.0.by, self.0.now, self.0.result(made));
        audit_log::write(work, &deed).await?;
        change::view(work, shown).await
    }
}

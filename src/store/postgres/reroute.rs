//! A notification that no route matched, or that was quarantined, gets the deliveries that routes make of it now.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::BoxFuture;

use super::accept::{self, Desk, Envelope, lane_key};
use super::after;
use super::coalesce;
use super::failure::Failure;
use super::locks::{self, Class, Gate, Keys};
use super::names::Wanted;
use super::revise;
use super::session::{args, read};
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::delivery::Planned;
use crate::store::arrival;
use crate::store::names::Kind;
use crate::store::{Reroute, StoreError};

/// The command.
pub(super) struct Rerouting {
    row: i64,
    deliveries: Vec<Planned>,
    even_if_newer: bool,
    now: Timestamp,
}

/// The first revision of the notification, and what it is known by.
struct First {
    row: i64,
    source: i64,
    organization: i64,
    kind: String,
    notification_id: String,
    record_id: String,
}

impl Job for Rerouting {
    type Done = Vec<String>;

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for planned in &self.deliveries {
            wanted.way(planned);
        }
        wanted
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let key = self.first(work).await?;
            let mut keys = Keys::default();
            keys.add(Class::Notification, locks::key(key.organization, &key.notification_id));
            let mut records = BTreeSet::new();
            for planned in self.deliveries.iter().filter(|planned| planned.coalesce.is_some()) {
                let (way, key) = (work.names.way(planned)?.id, coalesce::key(key.organization, &key.record_id));
                keys.add(Class::Record, coalesce::lock(way, key));
                records.insert((way, key));
            }
            let gate = Gate::for_keys(keys.len() + self.deliveries.len());
            locks::enter(&mut work.session, gate, &keys).await?;
            // Read again: a revision may have come before the lock.
            let first = self.first(work).await?;
            arrival::check_reroutable(self.row, &first.kind)?;
            if self.deliveries.is_empty() {
                work.idle = true;
                return Ok(Vec::new());
            }
            work.accounts.at(self.now);
            self.deliver(work, gate, &first, &records).await?;
            Ok(work.woken.clone())
        })
    }
}

impl Rerouting {
    pub(super) fn of(reroute: Reroute) -> Self {
        let Reroute { row, even_if_newer, now, .. } = reroute;
        Self { row, deliveries: reroute.planned().collect(), even_if_newer, now }
    }

    async fn first(&self, work: &mut Work) -> Result<First, Failure> {
        let sql = "SELECT first.id, first.source, first.organization, first.kind, first.notification_id, this.record_id
                   FROM notification this JOIN notification first ON first.notification_id = this.notification_id
                   AND first.organization = this.organization AND first.revision = 1 WHERE this.id = $1";
        let rows = work.session.query(sql, args![INT8 self.row]).await?;
        let found = read(&rows, |cells| {
            Ok(First {
                row: cells.number()?,
                source: cells.number()?,
                organization: cells.number()?,
                kind: cells.next()?,
                notification_id: cells.text()?,
                record_id: cells.text()?,
            })
        })?;
        let missing = || Failure::Rule(StoreError::NotFound(format!("notification row {}", self.row)));
        found.into_iter().next().ok_or_else(missing)
    }

    async fn deliver(
        &self,
        work: &mut Work,
        gate: Gate,
        first: &First,
        records: &BTreeSet<(i64, i64)>,
    ) -> Result<(), Failure> {
        let (mut waiting, mut old) = (HashMap::new(), BTreeMap::new());
        if !records.is_empty() {
            coalesce::read_waiting(work, records, &mut waiting, &mut old).await?;
        }
        let mut newest = BTreeMap::new();
        if self.deliveries.iter().any(|planned| planned.after.is_some()) {
            revise::read_newest(work, &[first.row], &mut newest, &mut old).await?;
        }
        if !old.is_empty() {
            let concerned: Vec<i64> = old.into_keys().collect();
            old = after::with_followers(&mut work.session, &concerned).await?;
        }
        let mut lanes: BTreeSet<i64> = old.values().filter_map(|lane| *lane).collect();
        for planned in &self.deliveries {
            lanes.extend(lane_key(work.names.way(planned)?.as_ref(), planned));
        }
        let scene = accept::enter_lanes(work, gate, &lanes, &old).await?;
        let mut desk = Desk::of_scene(work, scene, self.deliveries.len()).await?;
        desk.waiting = waiting;
        desk.newest = newest;
        let nothing_new = arrival::nothing_new(self.now);
        let envelope = Envelope::of_known(&nothing_new, first.source, first.organization);
        for planned in &self.deliveries {
            let made = desk.deliver(work, &envelope, first.row, self.row, &first.record_id, planned)?;
            desk.scene.change(made)?.even_if_newer = self.even_if_newer;
            let route = work.names.number(Kind::Route, &planned.route)?;
            desk.remember((first.row, route), made);
        }
        desk.tell_fallen(work, self.now)?;
        revise::reclassify(work, first.source, &first.kind)?;
        work.session.query("UPDATE notification SET kind = 'routed' WHERE id = $1", args![INT8 first.row]).await?;
        desk.finish(work).await
    }
}

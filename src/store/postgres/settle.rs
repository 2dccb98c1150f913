//! Completes attempts: by their outcome, or because the gateway that made the call is gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::after;
use super::failure::Failure;
use super::kept;
use super::lane::Scene;
use super::locks;
use super::queue::Group;
use super::session::{Cells, args, read};
use super::text;
use super::work::{Engine, Job, Work};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, Lease, State};
use crate::stale::Mark;
use crate::store::accounts::Account;
use crate::store::attempt::{self, LOOKING_UP, STOPPED, UNKNOWN};
use crate::store::turn::{self, Next};
use crate::store::{NOT_CALLED, Settle, Settlement, StoreError, StoreResult};

/// Settlements go in groups.
pub(super) enum Settling {}

impl Group for Settling {
    type Command = Settle;
    type Answer = ();

    fn weight(_: &Settle) -> usize {
        4
    }

    fn bytes(settle: &Settle) -> usize {
        settle.record.request.len() + settle.record.response.len()
    }

    fn run<'a>(engine: &'a Arc<Engine>, settles: Vec<&'a Settle>) -> BoxFuture<'a, StoreResult<Vec<StoreResult<()>>>> {
        Box::pin(async move { engine.run(&Settles(settles)).await })
    }
}

/// Attempts that are completed in one transaction. Each is judged by itself: one whose lease is lost harms no other.
pub(super) struct Settles<'a>(pub(super) Vec<&'a Settle>);

impl Job for Settles<'_> {
    type Done = Vec<StoreResult<()>>;

    fn commands(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|command| Settling::bytes(command)).sum()
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Self::Done, Failure>> {
        Box::pin(async move {
            let deliveries: Vec<i64> = self.0.iter().map(|settle| settle.delivery.0).collect();
            let mut scene = after::load(work, &deliveries).await?;
            let versions = versions(work, &self.0).await?;
            let mut done = Vec::with_capacity(self.0.len());
            let mut settled: Vec<&Settle> = Vec::new();
            for settle in &self.0 {
                let is_ours =
                    |place: &super::lane::Place| place.state == State::InFlight && place.lease == Some(settle.lease.0);
                if !scene.find(settle.delivery.0).is_some_and(is_ours) {
                    done.push(Err(StoreError::LeaseLost));
                    continue;
                }
                work.accounts.at(settle.ended_at);
                settle_one(work, &mut scene, settle, &versions)?;
                settled.push(settle);
                done.push(Ok(()));
            }
            if settled.is_empty() {
                work.idle = true;
                return Ok(done);
            }
            scene.write(work).await?;
            write_attempts(work, &settled).await?;
            keep_active(work, &scene, &settled).await?;
            keep_stale_marks(work, &scene, &settled).await?;
            Ok(done)
        })
    }
}

/// The configuration that each attempt was mapped with, by its lease; asked for only where it will be needed again.
async fn versions(work: &mut Work, settles: &[&Settle]) -> Result<BTreeMap<i64, i64>, Failure> {
    let unknown = settles.iter().filter(|settle| settle.outcome == UNKNOWN);
    let leases: Vec<i64> = unknown.map(|settle| settle.lease.0).collect();
    if leases.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = "SELECT lease, config_version FROM attempt WHERE lease = ANY($1)";
    let rows = work.session.query(sql, args![INT8_ARRAY leases]).await?;
    Ok(read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?.into_iter().collect())
}

fn settle_one(
    work: &mut Work,
    scene: &mut Scene,
    settle: &Settle,
    versions: &BTreeMap<i64, i64>,
) -> Result<(), Failure> {
    let id = settle.delivery.0;
    let destination = scene.place(id)?.way.destination;
    if settle.outcome == NOT_CALLED {
        move_on(work, scene, id, &settle.settlement, &settle.reason, settle.ended_at)?;
        return uncount(work, scene, id);
    }
    let place = scene.change(id)?;
    place.status = settle.record.status.map(i64::from);
    place.repeat_count = match &settle.repeat_key {
        None => 0,
        same if *same == place.repeat_key => place.repeat_count + 1,
        Some(_) => 1,
    };
    place.repeat_key.clone_from(&settle.repeat_key);
    place.excused += i64::from(settle.excused);
    if settle.excused {
        place.first_attempt_active_ms = None;
    }
    // Of an attempt that came to nothing nobody learns what came of the one before it.
    let before = place.same_bytes_as.filter(|_| matches!(settle.settlement, Settlement::Waiting { .. }));
    place.same_bytes_as = versions.get(&settle.lease.0).copied().or(before);
    if settle.outcome == UNKNOWN {
        work.accounts.add(Account::destination(destination, "attempts_unknown"), 1);
    }
    move_on(work, scene, id, &settle.settlement, &settle.reason, settle.ended_at)
}

/// Gives the delivery its new state, and lets its lane go on.
fn move_on(
    work: &mut Work,
    scene: &mut Scene,
    id: i64,
    settlement: &Settlement,
    last_reason: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    let place = scene.place(id)?;
    let (lane, has_followers) = (place.lane_key, place.has_followers);
    let last_reason = Some(last_reason).filter(|reason| !reason.is_empty());
    let turn = match turn::settled(settlement, lane, at) {
        Next::Again(due_at) => return scene.take_turn(work, id, due_at, last_reason, at),
        Next::Turn(turn) => turn,
    };
    scene.turn(work, id, turn)?;
    scene.promote(work, lane, at)?;
    if has_followers { after::tell(work, scene, id, at) } else { Ok(()) }
}

/// Takes an attempt back for which no call was made: as if it had never been begun. Its row is removed apart.
fn uncount(work: &mut Work, scene: &mut Scene, id: i64) -> Result<(), Failure> {
    let place = scene.change(id)?;
    if place.attempts == 1 {
        place.first_attempt_active_ms = None;
    }
    place.attempts -= 1;
    let destination = place.way.destination;
    work.accounts.add(Account::destination(destination, "attempts"), -1);
    Ok(())
}

/// A column of the attempts that were made.
fn column<'a, T>(settles: &[&'a Settle], value: impl Fn(&'a Settle) -> T) -> Vec<T> {
    settles.iter().map(|settle| value(settle)).collect()
}

/// A leased delivery waits as before. Its attempt's row is removed apart.
fn give_back(work: &mut Work, scene: &mut Scene, id: i64, now: Timestamp) -> Result<(), Failure> {
    let reason = scene.place(id)?.reason.clone();
    scene.take_turn(work, id, now, reason.as_deref(), now)?;
    uncount(work, scene, id)
}

async fn write_attempts(work: &mut Work, settles: &[&Settle]) -> Result<(), Failure> {
    let (called, not_called): (Vec<&Settle>, Vec<&Settle>) =
        settles.iter().copied().partition(|settle| settle.outcome != NOT_CALLED);
    if !not_called.is_empty() {
        let leases = column(&not_called, |settle| settle.lease.0);
        work.session.query("DELETE FROM attempt WHERE lease = ANY($1)", args![INT8_ARRAY leases]).await?;
    }
    if called.is_empty() {
        return Ok(());
    }
    kept::write(work, &called).await?;
    let mut faults = Vec::with_capacity(called.len());
    for settle in &called {
        let kept = attempt::write_fault(settle.record.fault.as_ref()).map_err(Failure::Fault)?;
        faults.push(kept.map(|text| text::written(&text).into_owned()));
    }
    let text = |value: fn(&Settle) -> &String| -> Vec<Cow<'_, str>> {
        called.iter().map(|settle| text::written(value(settle))).collect()
    };
    let sql = "UPDATE attempt a SET ended_at = u.ended_at, outcome = u.outcome, duration_ms = u.duration_ms,
                   status = u.status, request_cut = u.request_cut, response_cut = u.response_cut,
                   reason = nullif(u.reason, ''), fault = u.fault, request_line = u.request_line, request = u.request,
                   response = u.response, call_hash = u.call_hash
               FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::boolean[],
                   $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                   $13::bytea[])
                   u (lease, ended_at, outcome, duration_ms, status, request_cut, response_cut, reason, fault,
                      request_line, request, response, call_hash)
               WHERE a.lease = u.lease";
    let arguments = args![
        INT8_ARRAY column(&called, |settle| settle.lease.0),
        INT8_ARRAY column(&called, |settle| settle.ended_at.0),
        TEXT_ARRAY column(&called, |settle| settle.outcome),
        INT8_ARRAY column(&called, |settle| i64::try_from(settle.duration.as_millis()).unwrap_or(i64::MAX)),
        INT8_ARRAY column(&called, |settle| settle.record.status.map(i64::from)),
        BOOL_ARRAY column(&called, |settle| settle.record.request_cut),
        BOOL_ARRAY column(&called, |settle| settle.record.response_cut),
        TEXT_ARRAY text(|settle| &settle.reason),
        TEXT_ARRAY faults,
        TEXT_ARRAY text(|settle| &settle.record.request_line),
        TEXT_ARRAY text(|settle| &settle.record.request),
        TEXT_ARRAY text(|settle| &settle.record.response),
        BYTEA_ARRAY column(&called, |settle| settle.record.call_hash.as_ref().map(<[u8; 32]>::as_slice)),
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

/// A system's open time never goes back. Each connection has a row of its own, so that nobody waits for another.
async fn keep_active(work: &mut Work, scene: &Scene, settles: &[&Settle]) -> Result<(), Failure> {
    let mut active: BTreeMap<i64, i64> = BTreeMap::new();
    for settle in settles {
        let longest = active.entry(scene.place(settle.delivery.0)?.way.system).or_insert(0);
        *longest = settle.active_ms.max(*longest);
    }
    let (systems, times): (Vec<i64>, Vec<i64>) = active.into_iter().unzip();
    let sql = "INSERT INTO system_active (system, shard, active_ms)
               SELECT u.system, pg_backend_pid() % 32, u.active_ms
               FROM unnest($1::bigint[], $2::bigint[]) u (system, active_ms) ORDER BY 1
               ON CONFLICT (system, shard) DO UPDATE SET active_ms = excluded.active_ms
               WHERE system_active.active_ms < excluded.active_ms";
    work.session.query(sql, args![INT8_ARRAY systems, INT8_ARRAY times]).await.map(|_| ())
}

async fn keep_stale_marks(work: &mut Work, scene: &Scene, settles: &[&Settle]) -> Result<(), Failure> {
    let marked = settles.iter().filter(|settle| settle.stale_mark.is_some());
    let marked: BTreeMap<i64, &Settle> = marked.map(|settle| (settle.delivery.0, *settle)).collect();
    if marked.is_empty() {
        return Ok(());
    }
    let mut notifications = Vec::with_capacity(marked.len());
    for id in marked.keys() {
        notifications.push(scene.place(*id)?.notification);
    }
    let sql = "SELECT k.place, n.organization, n.record_id FROM unnest($1::bigint[]) WITH ORDINALITY k (id, place)
               JOIN notification n ON n.id = k.id WHERE n.record_id <> ''";
    let rows = work.session.query(sql, args![INT8_ARRAY notifications]).await?;
    let found = read(&rows, |cells| Ok((cells.number()?, cells.number()?, cells.text()?)))?;
    // Of one record on one route at most one is delivered at a time, unless it has no lane: then the last one stands.
    let mut marks: Marks<'_> = BTreeMap::new();
    for (place, organization, record_id) in found {
        let Some((id, settle)) = usize::try_from(place - 1).ok().and_then(|place| marked.iter().nth(place)) else {
            continue;
        };
        if let Some(mark) = &settle.stale_mark {
            let key = (scene.place(*id)?.way.route, organization, record_key(&record_id));
            marks.insert(key, (record_id, mark));
        }
    }
    write_stale_marks(work, &marks).await
}

/// Marks by route, organization and record's key, each with the record's id.
type Marks<'a> = BTreeMap<(i64, i64, Vec<u8>), (String, &'a Mark)>;

async fn write_stale_marks(work: &mut Work, marks: &Marks<'_>) -> Result<(), Failure> {
    let routes: Vec<i64> = marks.keys().map(|key| key.0).collect();
    let organizations: Vec<i64> = marks.keys().map(|key| key.1).collect();
    let keys: Vec<&[u8]> = marks.keys().map(|key| key.2.as_slice()).collect();
    let records: Vec<_> = marks.values().map(|(record, _)| text::written(record)).collect();
    let values: Vec<_> = marks.values().map(|(_, mark)| text::written(&mark.value)).collect();
    let fields: Vec<_> =
        marks.values().map(|(_, mark)| mark.field.as_ref().map(|field| text::written(field))).collect();
    let sql = "INSERT INTO stale_mark (route, organization, record_key, record_id, value, field)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::text[], $6::text[])
               ORDER BY 1, 2, 3
               ON CONFLICT (route, organization, record_key) DO UPDATE SET value = excluded.value, field = excluded.field";
    let arguments = args![
        INT8_ARRAY routes, INT8_ARRAY organizations, BYTEA_ARRAY keys, TEXT_ARRAY records, TEXT_ARRAY values,
        TEXT_ARRAY fields,
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

/// What a record is looked for by: its id may be longer than an index takes.
pub(super) fn record_key(record_id: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, record_id.as_bytes()).as_ref().to_vec()
}

/// Gives leases back whose call was never begun; what is no longer leased is passed by.
pub(super) struct Release {
    pub(super) leases: Vec<(DeliveryId, Lease)>,
    pub(super) now: Timestamp,
}

impl Job for Release {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let deliveries: Vec<i64> = self.leases.iter().map(|(delivery, _)| delivery.0).collect();
            let lanes = locks::lock_lanes_of(work, &deliveries).await?;
            let mut scene = Scene::load(work, &deliveries, &lanes, 0).await?;
            let mut released = Vec::new();
            work.accounts.at(self.now);
            for (delivery, lease) in &self.leases {
                let Some(place) = scene.find(delivery.0) else { continue };
                if place.state != State::InFlight || place.lease != Some(lease.0) {
                    continue;
                }
                give_back(work, &mut scene, delivery.0, self.now)?;
                released.push(lease.0);
            }
            if released.is_empty() {
                work.idle = true;
                return Ok(());
            }
            scene.write(work).await?;
            let sql = "DELETE FROM attempt WHERE lease = ANY($1)";
            work.session.query(sql, args![INT8_ARRAY released]).await.map(|_| ())
        })
    }
}

/// Completes attempts whose lease ran out as `unknown`: the gateway that had them died, or cannot reach the database.
/// Whether its call was taken, nobody knows. The delivery is sent again, or held for a person where its destination says
/// so. One that was only being looked up is left as it was. How many there were, at most a batch of them.
pub(super) struct Rescue {
    pub(super) now: Timestamp,
    /// Only those that ran out by this moment too, of a clock that does not jump with the database's.
    pub(super) until: Option<Timestamp>,
}

/// Leases rescued in one command.
pub(super) const RESCUE_BATCH: i64 = 200;

impl Job for Rescue {
    type Done = u64;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(async move {
            let sql = "SELECT id FROM delivery WHERE state = 'in_flight' AND lease_until < clock_timestamp()
                       AND lease_until < to_timestamp($2) LIMIT $1";
            let rows = work.session.query(sql, args![INT8 RESCUE_BATCH, FLOAT8 self.until()]).await?;
            let deliveries = read(&rows, Cells::number)?;
            if deliveries.is_empty() {
                work.idle = true;
                return Ok(0);
            }
            let mut scene = after::load(work, &deliveries).await?;
            let looked_up = self.remove_looked_up(work, &deliveries).await?;
            work.accounts.at(self.now);
            for id in &looked_up {
                give_back(work, &mut scene, *id, self.now)?;
            }
            let left = self.complete_unknown(work, &deliveries).await?;
            for (id, version) in &left {
                self.rescue(work, &mut scene, *id, *version)?;
            }
            let count = left.len() + looked_up.len();
            work.idle = count == 0;
            scene.write(work).await?;
            Ok(u64::try_from(count).unwrap_or(u64::MAX))
        })
    }
}

impl Rescue {
    /// In seconds.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of any year that there will be are told apart")]
    fn until(&self) -> f64 {
        self.until.map_or(f64::INFINITY, |until| until.0 as f64 / 1_000.0)
    }

    /// Removes the attempts, as those below are, whose call was never begun, for what came before was being looked up; the
    /// deliveries.
    async fn remove_looked_up(&self, work: &mut Work, deliveries: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        let sql = "DELETE FROM attempt a USING delivery d
                   WHERE d.id = ANY($1) AND d.state = 'in_flight' AND d.lease_until < clock_timestamp()
                   AND d.lease_until < to_timestamp($2)
                   AND a.lease = d.lease AND a.outcome IS NULL AND a.reason = $3 RETURNING d.id";
        let arguments = args![INT8_ARRAY deliveries, FLOAT8 self.until(), TEXT LOOKING_UP];
        let rows = work.session.query(sql, arguments).await?;
        Ok(read(&rows, Cells::number)?.into_iter().collect())
    }

    /// Completes the attempts of what is in flight still under a lease that ran out; the deliveries, each with the
    /// configuration that its call was mapped with. Their rows are locked.
    async fn complete_unknown(&self, work: &mut Work, deliveries: &[i64]) -> Result<BTreeSet<(i64, i64)>, Failure> {
        let sql = "UPDATE attempt a SET ended_at = $2, outcome = 'unknown', reason = $3
                   FROM delivery d WHERE d.id = ANY($1) AND d.state = 'in_flight' AND d.lease_until < clock_timestamp()
                   AND d.lease_until < to_timestamp($4)
                   AND a.lease = d.lease AND a.outcome IS NULL RETURNING d.id, a.config_version";
        let arguments = args![INT8_ARRAY deliveries, INT8 self.now.0, TEXT STOPPED, FLOAT8 self.until()];
        let rows = work.session.query(sql, arguments).await?;
        Ok(read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?.into_iter().collect())
    }

    fn rescue(&self, work: &mut Work, scene: &mut Scene, id: i64, version: i64) -> Result<(), Failure> {
        let place = scene.change(id)?;
        place.status = None;
        place.repeat_count = 0;
        place.repeat_key = None;
        place.same_bytes_as = Some(version);
        let way = Arc::clone(&place.way);
        work.accounts.add(Account::destination(way.destination, "attempts_unknown"), 1);
        let settlement = attempt::stopped(&work.engine.hold_unknown, &way.destination_name, self.now);
        move_on(work, scene, id, &settlement, STOPPED, self.now)
    }
}

/// Makes leases last longer; those that are no longer ours are given back.
pub(super) struct Renew {
    pub(super) leases: Vec<(DeliveryId, Lease)>,
    pub(super) seconds: f64,
}

impl Job for Renew {
    type Done = Vec<DeliveryId>;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Vec<DeliveryId>, Failure>> {
        Box::pin(async move {
            let (deliveries, leases): (Vec<i64>, Vec<i64>) =
                self.leases.iter().map(|(delivery, lease)| (delivery.0, lease.0)).unzip();
            let sql = "WITH mine AS (SELECT d.id FROM delivery d
                           JOIN unnest($1::bigint[], $2::bigint[]) u (id, lease) ON d.id = u.id AND d.lease = u.lease
                           WHERE d.state = 'in_flight' ORDER BY d.id FOR UPDATE OF d)
                       UPDATE delivery d SET lease_until = clock_timestamp() + make_interval(secs => $3)
                       FROM mine WHERE d.id = mine.id RETURNING d.id";
            let arguments = args![INT8_ARRAY deliveries, INT8_ARRAY leases, FLOAT8 self.seconds];
            let rows = work.session.query(sql, arguments).await?;
            let renewed: BTreeSet<i64> = read(&rows, Cells::number)?.into_iter().collect();
            let lost = self.leases.iter().map(|(delivery, _)| *delivery).filter(|id| !renewed.contains(&id.0));
            Ok(lost.collect())
        })
    }
}

/// Ends the leases that a gateway leaves when it closes, so that the next one need not wait for them.
pub(super) struct GiveUp;

impl Job for GiveUp {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let sql = "UPDATE delivery SET lease_until = clock_timestamp() - interval '1 millisecond'
                       WHERE state = 'in_flight' AND holder = $1 RETURNING id";
            let left = work.session.query(sql, args![INT8 work.engine.holder]).await?;
            work.idle = left.is_empty();
            Ok(())
        })
    }
}

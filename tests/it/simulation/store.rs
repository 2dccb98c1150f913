//! A store that faults by order, around a real one; and the disks that real ones stand on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use omgate::clock::{Clock as _, Day, SharedClock, Timestamp};
use omgate::delivery::{ConfigVersion, DeliveryId, Lease, State};
use omgate::store::sqlite::{Faults, Options, SqliteStore};
use omgate::store::{
    Absence, Accept, Accepted, AttemptView, AuditEntry, AuditFilter, Backlog, By, Chain, Change, Claim, Claims,
    Content, DayFilter, Deed, DeliveryFilter, DeliveryView, Discarded, Discrepancy, Gap, Health, LaneFilter, Lanes,
    Ledger, LedgerDays, NotificationFilter, NotificationView, Page, PayloadMark, Prunable, Prune, Pruned, RefusedPost,
    Replay, Replayed, Reroute, Retention, Rewrite, Rewritten, Sample, SavedView, SealingKey, Settle, Signal, Store,
    StoreError, StoreResult, StoredConfig, SystemState, TakenConfig, Token, Unsettled, Way, WriterFigures,
};
use tokio::sync::{Notify, broadcast, watch};

use super::clock::Time;
use super::law::Law;
use super::look::{Look, Seen};
use super::steps::{Command, Disk, Fault};
use super::wait;

/// Where a store stands: it is opened again and again, and things befall it.
pub(crate) trait Ground: Send + Sync {
    /// Opens the store; an earlier one is closed.
    fn open(&self, clock: SharedClock, hold_unknown: Vec<String>) -> Arc<dyn Store>;
    /// The disk changes.
    fn set(&self, disk: Disk);
    /// What was written until now is safe.
    fn sync(&self) {}
    /// What was not synced is lost, save perhaps a part (of a hundred); nothing is open.
    fn lose_power(&self, _kept: u64) {}
    /// The same store, for whoever looks on while a gateway has it open: what befalls the gateway's does not befall this one.
    fn beside(&self, open: &Arc<dyn Store>) -> Look;
    /// So much time has passed in all; whether leases of the gateway ran out and were rescued by another.
    fn pass(&self, _passed: Duration) -> bool {
        false
    }
    /// A command never takes longer than this, whatever happens.
    fn command_max(&self) -> Duration {
        Duration::MAX
    }
}

/// A SQLite database in a folder.
pub(crate) struct SqliteGround {
    path: PathBuf,
    faults: Faults,
    /// So much of the write-ahead log is safe.
    synced: Mutex<u64>,
    _folder: tempfile::TempDir,
}

impl SqliteGround {
    pub(crate) fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, Self::new_database()).unwrap();
        Self { path, faults: Faults::default(), synced: Mutex::new(0), _folder: folder }
    }

    /// A database that was made and closed; made once for all histories.
    fn new_database() -> &'static [u8] {
        static NEW: OnceLock<Vec<u8>> = OnceLock::new();
        NEW.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.db");
            drop(SqliteStore::open(Options::new(path.clone(), Arc::new(Time::default()))).unwrap());
            std::fs::read(path).unwrap()
        })
    }

    fn log(&self) -> PathBuf {
        self.path.with_extension("db-wal")
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }
}

impl Ground for SqliteGround {
    fn open(&self, clock: SharedClock, hold_unknown: Vec<String>) -> Arc<dyn Store> {
        let options = Options { hold_unknown, faults: self.faults.clone(), ..Options::new(self.path.clone(), clock) };
        let store = SqliteStore::open(options).unwrap();
        self.sync();
        store
    }

    fn set(&self, disk: Disk) {
        self.faults.limit_pages((disk == Disk::Full).then_some(1));
        self.faults.fail_commits(match disk {
            Disk::Fine | Disk::Full => None,
            Disk::Late => Some(13),
            Disk::Broken => Some(10),
        });
    }

    fn beside(&self, open: &Arc<dyn Store>) -> Look {
        Look::at_rows(Arc::clone(open), &self.path)
    }

    fn sync(&self) {
        *self.synced.lock().unwrap() = self.log_bytes();
    }

    /// Commits append to the log, which these histories are too short to fill: what was not synced is its end.
    fn lose_power(&self, kept: u64) {
        let (all, synced) = (self.log_bytes(), *self.synced.lock().unwrap());
        if all > synced {
            let log = std::fs::File::options().write(true).open(self.log()).unwrap();
            log.set_len(synced + (all - synced) * kept / 100).unwrap();
        }
    }
}

/// A history in which more commands are given goes round in circles.
const COMMANDS_MAX: u64 = 50_000;

/// A process that is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Kill,
    PowerCut,
}

/// The store that the gateway sees.
pub(crate) struct FaultyStore {
    pub(crate) real: Arc<dyn Store>,
    pub(crate) beside: Arc<Look>,
    pub(crate) law: Arc<Law>,
    pub(crate) ground: Arc<dyn Ground>,
    pub(crate) time: Arc<Time>,
    pub(crate) armed: Arc<Mutex<Vec<(Command, Fault)>>>,
    pub(crate) death: Arc<Doom>,
}

/// Tells the simulation that the process dies.
#[derive(Default)]
pub(crate) struct Doom {
    pub(crate) coming: Notify,
    pub(crate) how: Mutex<Option<Death>>,
}

impl FaultyStore {
    fn fault(&self, command: Command) -> Option<Fault> {
        if self.law.tick() > COMMANDS_MAX {
            self.law.breaks(format!("it does not come to rest within {COMMANDS_MAX} commands"));
        }
        let mut armed = self.armed.lock().unwrap();
        let place = armed.iter().position(|(kind, _)| *kind == command)?;
        let (_, fault) = armed.remove(place);
        self.law.say(format!("{command:?} meets {fault:?}"));
        Some(fault)
    }

    async fn delay(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms).min(self.ground.command_max())).await;
    }

    async fn die<T>(&self, how: Death) -> StoreResult<T> {
        *self.death.how.lock().unwrap() = Some(how);
        self.death.coming.notify_one();
        std::future::pending().await
    }

    /// Runs a command as its fault has it. `seen` hears of what was done, at the moment it is done.
    async fn write<T>(
        &self,
        command: Command,
        run: impl FnOnce() -> StoreResult<T>,
        seen: impl FnOnce(&T),
    ) -> StoreResult<T> {
        let run = move || {
            let result = run();
            if let Ok(done) = &result {
                seen(done);
                // A claim that found nothing changed nothing; of one that did, the law hears.
                if command != Command::Claim {
                    self.law.hear();
                }
            }
            result
        };
        let fault = self.fault(command);
        if self.law.broken().is_some() {
            // What is broken is not looked at any longer.
            return self.die(Death::Kill).await;
        }
        let result = match fault {
            None => run(),
            Some(Fault::Refused) => Err(StoreError::Unavailable("the simulation refuses".to_owned())),
            Some(Fault::Overloaded) => Err(StoreError::Overloaded),
            Some(Fault::AnswerLost) => run().and(Err(StoreError::Unavailable("the answer was lost".to_owned()))),
            Some(Fault::SlowAnswer(ms)) => {
                let result = run();
                self.delay(ms).await;
                result
            }
            Some(Fault::SlowWrite(ms)) => {
                self.delay(ms).await;
                run()
            }
            Some(Fault::DiesBefore) => return self.die(Death::Kill).await,
            Some(Fault::DiesAfter) => {
                drop(run());
                return self.die(Death::Kill).await;
            }
            Some(Fault::PowerFails) => {
                drop(run());
                return self.die(Death::PowerCut).await;
            }
        };
        if result.is_ok() {
            self.ground.sync();
        }
        result
    }
}

impl Store for FaultyStore {
    fn accept(&self, accept: Accept) -> BoxFuture<'_, StoreResult<Accepted>> {
        let kept = accept.clone();
        Box::pin(self.write(
            Command::Accept,
            || wait(self.real.accept(accept)),
            move |accepted| self.law.accepted(&kept, accepted),
        ))
    }

    fn refuse(&self, post: RefusedPost) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move { wait(self.real.refuse(post)) })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, StoreResult<Claims>> {
        let asked = self.law.tick();
        let kept = claim.clone();
        Box::pin(async move {
            if self.ground.pass(self.time.monotonic()) {
                self.law.rescued(&self.beside);
            }
            let seen = move |claims: &Claims| self.law.claimed(&self.beside, &kept, asked, claims);
            self.write(Command::Claim, || wait(self.real.claim(claim)), seen).await
        })
    }

    fn settle(&self, settle: Settle) -> BoxFuture<'_, StoreResult<()>> {
        let kept = settle.clone();
        Box::pin(async move {
            self.law.settles(&kept);
            let result =
                self.write(Command::Settle, || wait(self.real.settle(settle)), |()| self.law.settled(&kept)).await;
            match result {
                Ok(()) => self.law.promised(&kept),
                Err(_) => self.law.unsettled(&kept, self.time.monotonic()),
            }
            result
        })
    }

    fn release(&self, leases: Vec<(DeliveryId, Lease)>) -> BoxFuture<'_, StoreResult<()>> {
        let kept = leases.clone();
        let seen = move |(): &()| kept.iter().for_each(|(delivery, _)| self.law.released(delivery.0));
        Box::pin(self.write(Command::Release, || wait(self.real.release(leases)), seen))
    }

    fn begin_call(&self, delivery: DeliveryId, lease: Lease) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.write(Command::Claim, move || wait(self.real.begin_call(delivery, lease)), |()| {}))
    }

    fn redirect(&self, delivery: DeliveryId, lease: Lease, way: Way) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.write(Command::Claim, move || wait(self.real.redirect(delivery, lease, way)), |()| {}))
    }

    fn change(
        &self,
        delivery: DeliveryId,
        change: Change,
        still: Option<State>,
        by: By,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<DeliveryView>> {
        let kept = change.clone();
        let run = move || {
            let all = self.beside.deliveries();
            let changed = wait(self.real.change(delivery, change, still, by, now))?;
            Ok((all, changed))
        };
        let seen = move |(all, _): &(Vec<Seen>, DeliveryView)| {
            if let Some(before) = all.iter().find(|seen| seen.id == delivery.0) {
                self.law.changed(before, all, &kept);
            }
        };
        Box::pin(async move { self.write(Command::Change, run, seen).await.map(|(_, changed)| changed) })
    }

    fn reroute(&self, reroute: Reroute) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.real.reroute(reroute)
    }

    fn stands_for(&self, deliveries: Vec<DeliveryId>) -> BoxFuture<'_, StoreResult<Vec<Vec<DeliveryId>>>> {
        self.real.stands_for(deliveries)
    }

    fn outdated_by(&self, delivery: DeliveryId) -> BoxFuture<'_, StoreResult<Option<DeliveryId>>> {
        Box::pin(async move { wait(self.real.outdated_by(delivery)) })
    }

    fn system(&self, system: String) -> BoxFuture<'_, StoreResult<SystemState>> {
        Box::pin(async move { wait(self.real.system(system)) })
    }

    fn set_system(&self, system: String, state: SystemState, deed: Option<Deed>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.write(Command::SetSystem, || wait(self.real.set_system(system, state, deed)), |()| ()))
    }

    fn save_config(&self, config: StoredConfig, now: Timestamp) -> BoxFuture<'_, StoreResult<ConfigVersion>> {
        Box::pin(async move { wait(self.real.save_config(config, now)) })
    }

    fn config(&self, version: ConfigVersion) -> BoxFuture<'_, StoreResult<StoredConfig>> {
        Box::pin(async move { wait(self.real.config(version)) })
    }

    fn sweep(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move { wait(self.real.sweep()) })
    }

    fn pull_back(&self, now: Timestamp, wait_max: Duration) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move {
            let pulled = wait(self.real.pull_back(now, wait_max));
            if pulled.is_ok() {
                self.law.pulled_back(now.plus(wait_max));
                self.ground.sync();
            }
            pulled
        })
    }

    fn renew(&self, leases: Vec<(DeliveryId, Lease)>, lease: Duration) -> BoxFuture<'_, StoreResult<Vec<DeliveryId>>> {
        Box::pin(async move { wait(self.real.renew(leases, lease)) })
    }

    fn turn_system(
        &self,
        system: String,
        from: SystemState,
        to: SystemState,
    ) -> BoxFuture<'_, StoreResult<SystemState>> {
        let run = || wait(self.real.turn_system(system, from, to));
        Box::pin(self.write(Command::SetSystem, run, |_: &SystemState| ()))
    }

    fn signals(&self) -> Option<broadcast::Receiver<Signal>> {
        self.real.signals()
    }

    fn replay(&self, replay: Replay) -> BoxFuture<'_, StoreResult<Replayed>> {
        self.real.replay(replay)
    }

    fn take_config(&self, taken: TakenConfig) -> BoxFuture<'_, StoreResult<()>> {
        self.real.take_config(taken)
    }

    fn taken_configs(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<TakenConfig>>> {
        self.real.taken_configs(limit)
    }

    fn ways(&self) -> BoxFuture<'_, StoreResult<Vec<Way>>> {
        self.real.ways()
    }

    fn unsettled(&self) -> BoxFuture<'_, StoreResult<Vec<Unsettled>>> {
        self.real.unsettled()
    }

    fn discard_unsettled(
        &self,
        ways: Vec<Way>,
        by: By,
        limit: u32,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Discarded>> {
        self.real.discard_unsettled(ways, by, limit, now)
    }

    fn ledger_days(&self, filter: DayFilter) -> BoxFuture<'_, StoreResult<LedgerDays>> {
        self.real.ledger_days(filter)
    }

    fn gaps(&self, since: Day, to: Option<Day>) -> BoxFuture<'_, StoreResult<Vec<Gap>>> {
        self.real.gaps(since, to)
    }

    fn heartbeat(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<Option<Absence>>> {
        self.real.heartbeat(now)
    }

    fn absences(&self) -> BoxFuture<'_, StoreResult<Vec<Absence>>> {
        self.real.absences()
    }

    fn acknowledge(&self, absence: i64, by: By, now: Timestamp) -> BoxFuture<'_, StoreResult<Absence>> {
        self.real.acknowledge(absence, by, now)
    }

    fn add_sample(&self, sample: Sample) -> BoxFuture<'_, StoreResult<()>> {
        self.real.add_sample(sample)
    }

    fn samples(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<Sample>>> {
        self.real.samples(since)
    }

    fn audit(&self, deed: Deed) -> BoxFuture<'_, StoreResult<i64>> {
        self.real.audit(deed)
    }

    fn audit_log(&self, filter: AuditFilter) -> BoxFuture<'_, StoreResult<Vec<AuditEntry>>> {
        self.real.audit_log(filter)
    }

    fn audit_chain(&self, after: i64, limit: u32) -> BoxFuture<'_, StoreResult<(Chain, Vec<AuditEntry>)>> {
        self.real.audit_chain(after, limit)
    }

    fn add_token(&self, token: Token, hash: String) -> BoxFuture<'_, StoreResult<()>> {
        self.real.add_token(token, hash)
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<Token>>> {
        self.real.tokens()
    }

    fn token(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Token>>> {
        self.real.token(hash)
    }

    fn revoke_token(&self, id: String, by: String, now: Timestamp) -> BoxFuture<'_, StoreResult<Token>> {
        self.real.revoke_token(id, by, now)
    }

    fn use_token(&self, id: String, now: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.real.use_token(id, now)
    }

    fn save_view(&self, view: SavedView) -> BoxFuture<'_, StoreResult<Option<SavedView>>> {
        self.real.save_view(view)
    }

    fn views(&self) -> BoxFuture<'_, StoreResult<Vec<SavedView>>> {
        self.real.views()
    }

    fn forget_view(&self, list: String, name: String) -> BoxFuture<'_, StoreResult<SavedView>> {
        self.real.forget_view(list, name)
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        self.real.sealing_keys()
    }

    fn note_sealing_key(&self, key: SealingKey) -> BoxFuture<'_, StoreResult<()>> {
        self.real.note_sealing_key(key)
    }

    fn forget_sealing_key(&self, id: String) -> BoxFuture<'_, StoreResult<()>> {
        self.real.forget_sealing_key(id)
    }

    fn rewrite_payloads(
        &self,
        from: PayloadMark,
        limit: usize,
        rewrite: Rewrite,
    ) -> BoxFuture<'_, StoreResult<Rewritten>> {
        self.real.rewrite_payloads(from, limit, rewrite)
    }

    fn prune(&self, prune: Prune) -> BoxFuture<'_, StoreResult<Pruned>> {
        self.real.prune(prune)
    }

    fn contents(&self, after: i64) -> BoxFuture<'_, StoreResult<Vec<Content>>> {
        self.real.contents(after)
    }

    fn prunable(&self, retention: Retention, now: Timestamp) -> BoxFuture<'_, StoreResult<Prunable>> {
        self.real.prunable(retention, now)
    }

    fn ledger(&self) -> BoxFuture<'_, StoreResult<Ledger>> {
        Box::pin(async move { wait(self.real.ledger()) })
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.real.backlog()
    }

    fn verify(&self) -> BoxFuture<'_, StoreResult<Vec<Discrepancy>>> {
        self.real.verify()
    }

    fn notifications(&self, filter: NotificationFilter) -> BoxFuture<'_, StoreResult<Page<NotificationView>>> {
        self.real.notifications(filter)
    }

    fn notification(&self, id: String) -> BoxFuture<'_, StoreResult<Vec<NotificationView>>> {
        self.real.notification(id)
    }

    fn records(&self, rows: Vec<i64>) -> BoxFuture<'_, StoreResult<BTreeMap<i64, String>>> {
        self.real.records(rows)
    }

    fn deliveries(&self, filter: DeliveryFilter) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.real.deliveries(filter)
    }

    fn lanes(&self, filter: LaneFilter) -> BoxFuture<'_, StoreResult<Lanes>> {
        self.real.lanes(filter)
    }

    fn lane(
        &self,
        system: String,
        lane: String,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.real.lane(system, lane, after, limit)
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, StoreResult<(DeliveryView, Vec<AttemptView>)>> {
        self.real.delivery(id)
    }

    fn refused(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<RefusedPost>>> {
        self.real.refused(limit)
    }

    fn condition(&self) -> Health {
        self.real.condition()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.real.health()
    }

    fn figures(&self) -> WriterFigures {
        self.real.figures()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.beside.let_go();
        Box::pin(async move { wait(self.real.close()) })
    }
}

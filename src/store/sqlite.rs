//! The store over SQLite: one writer that commits in groups, readers apart, a lock that keeps other processes out.

mod accept;
mod after;
mod archive;
mod alive;
mod audit;
mod audit_log;
mod backup;
mod books;
mod change;
mod claim;
mod coalesce;
mod days;
mod kept;
mod lane;
mod lanes;
mod lists;
mod names;
mod orphans;
mod prune;
mod queries;
mod readers;
mod replay;
mod reroute;
mod revise;
mod samples;
mod schema;
mod searched;
mod sealing;
mod settle;
mod shape;
mod taken;
mod token;
mod transfer;
mod view;
mod words;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot, watch};

use self::books::{Books, Failure};
use self::readers::Readers;
use self::writer::{Message, Shared, Task, Writer};
use crate::clock::{Day, SharedClock, Timestamp};
use crate::delivery::{ConfigVersion, DeliveryId, Lease, State};
use crate::store::repeats::Repeats;
use crate::store::{
    Absence, Accept, Accepted, AttemptView, AuditEntry, AuditFilter, Backlog, Backup, BackupRoom, By, Chain, Change,
    Claim, Claims, Content, DayFilter, Deed, DeliveryFilter, DeliveryView, Discarded, Discrepancy, Gap, Health,
    LaneFilter, Lanes, Ledger, LedgerDays, NotificationFilter, NotificationView, Page, PayloadMark, Prunable, Prune,
    Pruned, RefusedPost, Replay, Replayed, Reroute, Retention, Rewrite, Rewritten, Sample, SavedView, SealingKey,
    Settle, Signal, Store, StoreError, StoreResult, StoredConfig, SystemState, TakenConfig, Token, Unsettled, Way,
    WriterFigures,
};

pub use self::archive::SqliteArchive;
pub use self::backup::room as backup_room;
pub use self::schema::OpenError;
pub use self::transfer::{SqliteDestination, SqliteOrigin, sight};
pub use self::writer::Faults;

/// Refused POSTs that are kept.
const REFUSED_MAX: i64 = 1_000;
/// A commit that takes this long is stuck: Salesforce is answered without it by then.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// Due times pulled back in one command.
const PULL_BACK_BATCH: i64 = 1_000;
/// Deliveries discarded in one command: it keeps the writer for a few milliseconds.
const DISCARD_BATCH: u32 = 100;
/// Lanes looked at again in one command of a sweep.
const SWEEP_BATCH: usize = 1_000;

/// How the store is opened.
#[derive(Clone)]
pub struct Options {
    /// The database file; created, readable by its owner alone, when it is absent.
    pub path: PathBuf,
    /// Envelopes and refused POSTs that may wait for the writer; one more is answered with `Overloaded`. Everything
    /// else has twice the room, so that a flood of envelopes does not keep attempts from being completed.
    pub queue_max: usize,
    /// What waiting commands may hold in memory, in bytes. A single one is always taken.
    pub queue_bytes_max: usize,
    /// Questions answered at once.
    pub readers: usize,
    /// Destinations whose deliveries are held, not sent again, when the process died during their call.
    pub hold_unknown: Vec<String>,
    /// Where time comes from.
    pub clock: SharedClock,
    /// Faults made on purpose, for tests.
    pub faults: Faults,
}

impl Options {
    /// The defaults: 1,024 envelopes and 32 MiB waiting, 4 questions at once.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, clock: SharedClock) -> Self {
        Self {
            path: path.into(),
            queue_max: 1_024,
            queue_bytes_max: 32 << 20,
            readers: 4,
            hold_unknown: Vec::new(),
            clock,
            faults: Faults::default(),
        }
    }
}

/// The store over SQLite. Questions need a tokio runtime; commands do not.
pub struct SqliteStore {
    path: PathBuf,
    queue: Sender<Message>,
    queue_max: usize,
    queue_bytes_max: usize,
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    clock: SharedClock,
    ended: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    rescued: u64,
}

impl SqliteStore {
    /// Opens the store: takes its lock, recovers what a crash left, brings the schema up to date, and completes every
    /// attempt that an earlier process left as `unknown`.
    ///
    /// # Errors
    /// In words that tell an operator what to do; see [`OpenError`].
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let path = schema::real_path(&options.path)?;
        schema::look_at(&path)?;
        let lock = schema::lock(&path)?;
        let mut connection = match first_connection(&path) {
            Ok(connection) => connection,
            Err(error) => {
                lock.discard();
                return Err(error);
            }
        };
        let wal_pages = Arc::new(AtomicI32::new(0));
        let rescued = repair(&mut connection, &wal_pages, &options).map_err(|failure| OpenError::Inaccessible {
            path: path.clone(),
            doing: "read and repair what it holds",
            reason: match failure {
                Failure::Database(error) => words::of(&error),
                Failure::Rule(error) => error.to_string(),
            },
        })?;
        let shared = Arc::new(Shared::idle());
        let (queue, commands) = channel();
        let ended = watch::Sender::new(false);
        let ended_receiver = ended.subscribe();
        let writer = Writer {
            path: path.clone(),
            file: schema::Identity::at(&path),
            first: Some(connection),
            queue: commands,
            shared: Arc::clone(&shared),
            faults: options.faults,
            clock: Arc::clone(&options.clock),
            wal_pages,
            checkpoint_at: writer::CHECKPOINT_PAGES,
            pages_max: 0,
            broken: 0,
            rests_since: None,
            lost_bytes: 0,
            refusals: Repeats::default(),
            waiting: None,
            _lock: lock,
            ended,
        };
        let thread = start(writer)?;
        Ok(Arc::new(Self {
            path: path.clone(),
            queue,
            queue_max: options.queue_max.max(1),
            queue_bytes_max: options.queue_bytes_max,
            shared,
            readers: Readers::new(path, options.readers),
            clock: options.clock,
            ended: ended_receiver,
            thread: Mutex::new(Some(thread)),
            rescued,
        }))
    }

    /// How many attempts an earlier process had left under way when the store was opened.
    #[must_use]
    pub fn rescued(&self) -> u64 {
        self.rescued
    }

    /// Whether the database of a stopped gateway is of our schema: who only looks does not bring it up to date.
    ///
    /// # Errors
    /// When it is absent, of an earlier or a later omgate, or cannot be read.
    pub fn is_current(path: &Path) -> Result<(), OpenError> {
        schema::archive(path).map(drop)
    }

    /// Writes the database of a stopped gateway anew: all its free space is returned, and one made by an earlier omgate can
    /// give space back by itself from then on. It needs as much room again while it works. The sizes before and after.
    ///
    /// # Errors
    /// When another process works on the file, or the disk has no room.
    pub fn compact(path: &Path) -> Result<(u64, u64), OpenError> {
        let path = schema::real_path(path)?;
        schema::look_at(&path)?;
        let size = || std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let _lock = schema::lock(&path)?;
        let before = size();
        let connection = schema::writer(&path)?;
        let done =
            connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        done.map_err(|error| OpenError::Inaccessible {
            path: path.clone(),
            doing: "write it anew",
            reason: words::of(&error),
        })?;
        drop(connection);
        Ok((before, size()))
    }

    /// Looks for damage: of the file, of what refers to what, of the order of lanes, of the accounts. Reads everything,
    /// so it is for the background. Empty when all is well.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be read.
    pub async fn check(&self) -> StoreResult<Vec<String>> {
        self.readers.ask(audit::check).await
    }

    /// Queues a command and waits until it is durable.
    fn write<T: Send + 'static>(
        &self,
        size: Size,
        run: impl FnMut(&mut Books) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'_, StoreResult<T>> {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(size, Job { run, found: None, reply, size });
        Box::pin(async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn enqueue(&self, size: Size, task: impl Task + 'static) -> StoreResult<()> {
        let room = if size.reserved { self.queue_max.saturating_mul(2) } else { self.queue_max };
        let shared = &self.shared;
        let queued = shared.queued.fetch_add(1, Ordering::Relaxed);
        let bytes = shared.queued_bytes.fetch_add(size.bytes, Ordering::Relaxed);
        let too_many = queued >= room;
        let too_large = !size.reserved && queued > 0 && bytes.saturating_add(size.bytes) > self.queue_bytes_max;
        let sent = if too_many || too_large {
            Err(StoreError::Overloaded)
        } else {
            self.queue.send(Message::Task(Box::new(task))).map_err(|_| StoreError::Closed)
        };
        if sent.is_err() {
            shared.queued.fetch_sub(1, Ordering::Relaxed);
            shared.queued_bytes.fetch_sub(size.bytes, Ordering::Relaxed);
        }
        sent
    }

    /// Asks the readers.
    fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, StoreResult<T>> {
        Box::pin(self.readers.ask(question))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // What is queued is still written; the lock is free when this returns.
        let _ = self.queue.send(Message::Stop);
        self.readers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Store for SqliteStore {
    fn accept(&self, accept: Accept) -> BoxFuture<'_, StoreResult<Accepted>> {
        let bytes = accept.notifications.iter().map(|incoming| incoming.xml.len() + 512).sum();
        let rows = accept.notifications.iter().map(|incoming| 1 + incoming.deliveries.len()).sum::<usize>() + 1;
        self.write(Size { rows, bytes, reserved: false }, move |books| accept::accept(books, &accept))
    }

    fn refuse(&self, mut post: RefusedPost) -> BoxFuture<'_, StoreResult<()>> {
        post.cut();
        let size = Size { rows: 2, bytes: post.body.len(), reserved: false };
        self.write(size, move |books| refuse(books, &post))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, StoreResult<Claims>> {
        let size = Size { rows: 1 + claim.limit.saturating_mul(2), ..Size::SMALL };
        self.write(size, move |books| claim::claim(books, &claim))
    }

    fn settle(&self, settle: Settle) -> BoxFuture<'_, StoreResult<()>> {
        let bytes = settle.record.request.len() + settle.record.response.len();
        self.write(Size { rows: 3, bytes, reserved: true }, move |books| settle::settle(books, &settle))
    }

    fn release(&self, leases: Vec<(DeliveryId, Lease)>) -> BoxFuture<'_, StoreResult<()>> {
        let now = self.clock.now();
        let size = Size { rows: leases.len().saturating_mul(2), ..Size::SMALL };
        self.write(size, move |books| claim::release(books, &leases, now))
    }

    fn begin_call(&self, delivery: DeliveryId, lease: Lease) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| claim::begin_call(books, delivery, lease))
    }

    fn redirect(&self, delivery: DeliveryId, lease: Lease, way: Way) -> BoxFuture<'_, StoreResult<()>> {
        let now = self.clock.now();
        self.write(Size::SMALL, move |books| claim::redirect(books, delivery, lease, &way, now))
    }

    fn renew(&self, _: Vec<(DeliveryId, Lease)>, _: Duration) -> BoxFuture<'_, StoreResult<Vec<DeliveryId>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn change(
        &self,
        delivery: DeliveryId,
        change: Change,
        still: Option<State>,
        by: By,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<DeliveryView>> {
        self.write(Size::SMALL, move |books| change::change(books, delivery, (&change, still), &by, now))
    }

    fn replay(&self, replay: Replay) -> BoxFuture<'_, StoreResult<Replayed>> {
        let bytes = replay.edit.as_ref().map_or(0, |edit| edit.xml.len());
        self.write(Size { rows: 4, bytes, reserved: true }, move |books| replay::replay(books, &replay))
    }

    fn reroute(&self, reroute: Reroute) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        let size = Size { rows: 2 + reroute.deliveries.len(), ..Size::SMALL };
        self.write(size, move |books| reroute::reroute(books, &reroute))
    }

    fn stands_for(&self, deliveries: Vec<DeliveryId>) -> BoxFuture<'_, StoreResult<Vec<Vec<DeliveryId>>>> {
        self.read(move |connection| deliveries.iter().map(|id| queries::stands_for(connection, id.0)).collect())
    }

    fn outdated_by(&self, delivery: DeliveryId) -> BoxFuture<'_, StoreResult<Option<DeliveryId>>> {
        self.read(move |connection| Ok(change::outdated_by(connection, delivery.0)?.map(DeliveryId)))
    }

    fn system(&self, system: String) -> BoxFuture<'_, StoreResult<SystemState>> {
        self.read(move |connection| Ok(queries::system(connection, &system)?.unwrap_or_default()))
    }

    fn set_system(&self, system: String, state: SystemState, deed: Option<Deed>) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| {
            settle::set_system(books, &system, &state)?;
            deed.as_ref().map_or(Ok(()), |deed| audit_log::write(books, deed).map(drop))
        })
    }

    fn turn_system(
        &self,
        system: String,
        _from: SystemState,
        to: SystemState,
    ) -> BoxFuture<'_, StoreResult<SystemState>> {
        // Nobody else can have changed it.
        Box::pin(async move { self.set_system(system, to.clone(), None).await.map(|()| to) })
    }

    fn save_config(&self, config: StoredConfig, now: Timestamp) -> BoxFuture<'_, StoreResult<ConfigVersion>> {
        self.write(Size::SMALL, move |books| save_config(books, &config, now))
    }

    fn config(&self, version: ConfigVersion) -> BoxFuture<'_, StoreResult<StoredConfig>> {
        let files = self.read(move |connection| queries::config(connection, version.0));
        Box::pin(async move {
            let Some(files) = files.await? else {
                return Err(StoreError::NotFound(format!("configuration version {}", version.0)));
            };
            let files = serde_json::from_str(&files).map_err(|error| {
                StoreError::Refused(format!("reading configuration version {}: {error}", version.0))
            })?;
            Ok(StoredConfig { files })
        })
    }

    fn take_config(&self, taken: TakenConfig) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| taken::take(books, &taken))
    }

    fn taken_configs(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<TakenConfig>>> {
        self.read(move |connection| taken::list(connection, limit))
    }

    fn ways(&self) -> BoxFuture<'_, StoreResult<Vec<Way>>> {
        self.read(orphans::ways)
    }

    fn unsettled(&self) -> BoxFuture<'_, StoreResult<Vec<Unsettled>>> {
        self.read(orphans::unsettled)
    }

    fn discard_unsettled(
        &self,
        ways: Vec<Way>,
        by: By,
        limit: u32,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Discarded>> {
        let limit = limit.clamp(1, DISCARD_BATCH);
        let size = Size { rows: 4 * limit as usize, ..Size::SMALL };
        self.write(size, move |books| orphans::discard(books, &ways, &by, limit, now))
    }

    fn sweep(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move {
            let lanes = self.readers.ask(queries::headless_lanes).await?;
            let now = self.clock.now();
            let mut repaired = 0;
            for batch in lanes.chunks(SWEEP_BATCH) {
                let batch = batch.to_vec();
                repaired += self.write(Size::SMALL, move |books| lane::repair(books, &batch, now)).await?;
            }
            Ok(repaired)
        })
    }

    fn pull_back(&self, now: Timestamp, wait_max: Duration) -> BoxFuture<'_, StoreResult<u64>> {
        let latest = now.plus(wait_max);
        Box::pin(async move {
            let mut pulled = 0;
            loop {
                let size = Size { rows: 1_000, ..Size::SMALL };
                let batch =
                    self.write(size, move |books| settle::pull_back(books, now, latest, PULL_BACK_BATCH)).await?;
                pulled += batch;
                if batch == 0 {
                    return Ok(pulled);
                }
            }
        })
    }

    fn ledger(&self) -> BoxFuture<'_, StoreResult<Ledger>> {
        self.read(audit::ledger)
    }

    fn ledger_days(&self, filter: DayFilter) -> BoxFuture<'_, StoreResult<LedgerDays>> {
        if let Err(error) = filter.check() {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.read(move |connection| days::ledger_days(connection, &filter))
    }

    fn gaps(&self, since: Day, to: Option<Day>) -> BoxFuture<'_, StoreResult<Vec<Gap>>> {
        self.read(move |connection| days::gaps(connection, since, to))
    }

    fn heartbeat(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<Option<Absence>>> {
        self.write(Size::SMALL, move |books| alive::heartbeat(books, now))
    }

    fn absences(&self) -> BoxFuture<'_, StoreResult<Vec<Absence>>> {
        self.read(alive::absences)
    }

    fn acknowledge(&self, absence: i64, by: By, now: Timestamp) -> BoxFuture<'_, StoreResult<Absence>> {
        self.write(Size::SMALL, move |books| alive::acknowledge(books, absence, &by, now))
    }

    fn add_sample(&self, sample: Sample) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| samples::add(books, &sample))
    }

    fn samples(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<Sample>>> {
        self.read(move |connection| samples::list(connection, since))
    }

    fn audit(&self, deed: Deed) -> BoxFuture<'_, StoreResult<i64>> {
        self.write(Size::SMALL, move |books| audit_log::write(books, &deed))
    }

    fn audit_log(&self, filter: AuditFilter) -> BoxFuture<'_, StoreResult<Vec<AuditEntry>>> {
        self.read(move |connection| audit_log::list(connection, filter))
    }

    fn audit_chain(&self, after: i64, limit: u32) -> BoxFuture<'_, StoreResult<(Chain, Vec<AuditEntry>)>> {
        self.read(move |connection| audit_log::chain(connection, after, limit))
    }

    fn add_token(&self, token: Token, hash: String) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| token::add(books, &token, &hash))
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<Token>>> {
        self.read(token::list)
    }

    fn token(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Token>>> {
        self.read(move |connection| token::find(connection, &hash))
    }

    fn revoke_token(&self, id: String, by: String, now: Timestamp) -> BoxFuture<'_, StoreResult<Token>> {
        self.write(Size::SMALL, move |books| token::revoke(books, &id, &by, now))
    }

    fn use_token(&self, id: String, now: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| token::used(books, &id, now))
    }

    fn save_view(&self, view: SavedView) -> BoxFuture<'_, StoreResult<Option<SavedView>>> {
        self.write(Size::SMALL, move |books| view::save(books, &view))
    }

    fn views(&self) -> BoxFuture<'_, StoreResult<Vec<SavedView>>> {
        self.read(view::list)
    }

    fn forget_view(&self, list: String, name: String) -> BoxFuture<'_, StoreResult<SavedView>> {
        self.write(Size::SMALL, move |books| view::forget(books, &list, &name))
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        self.read(sealing::list)
    }

    fn note_sealing_key(&self, key: SealingKey) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| sealing::note(books, &key))
    }

    fn forget_sealing_key(&self, id: String) -> BoxFuture<'_, StoreResult<()>> {
        self.write(Size::SMALL, move |books| sealing::forget(books, &id))
    }

    fn rewrite_payloads(
        &self,
        from: PayloadMark,
        limit: usize,
        rewrite: Rewrite,
    ) -> BoxFuture<'_, StoreResult<Rewritten>> {
        let size = Size { rows: limit, ..Size::SMALL };
        let written = self.write(size, move |books| sealing::rewrite(books, &from, limit, &rewrite));
        Box::pin(async move {
            let step = written.await?;
            if step.next.is_none() {
                let path = self.path.clone();
                let _ = tokio::task::spawn_blocking(move || sealing::empty_log(&path)).await;
            }
            Ok(step)
        })
    }

    fn prune(&self, prune: Prune) -> BoxFuture<'_, StoreResult<Pruned>> {
        let clock = Arc::clone(&self.clock);
        let size = Size { rows: prune.limit.saturating_mul(2), ..Size::SMALL };
        self.write(size, move |books| prune::step(books, &prune, &clock))
    }

    fn prunable(&self, retention: Retention, now: Timestamp) -> BoxFuture<'_, StoreResult<Prunable>> {
        self.read(move |connection| prune::prunable(connection, &retention, now))
    }

    fn backup(&self, file: PathBuf, progress: watch::Sender<(u64, u64)>) -> BoxFuture<'_, StoreResult<Backup>> {
        backup::backup((self.path.clone(), self.clock.now()), file, progress)
    }

    fn backup_room(&self, file: PathBuf) -> BoxFuture<'_, StoreResult<BackupRoom>> {
        Box::pin(std::future::ready(backup::room(&self.path, &file)))
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.read(audit::backlog)
    }

    fn verify(&self) -> BoxFuture<'_, StoreResult<Vec<Discrepancy>>> {
        self.read(audit::verify)
    }

    fn notifications(&self, filter: NotificationFilter) -> BoxFuture<'_, StoreResult<Page<NotificationView>>> {
        self.read(move |connection| lists::notifications(connection, filter))
    }

    fn notification(&self, id: String) -> BoxFuture<'_, StoreResult<Vec<NotificationView>>> {
        Box::pin(async move {
            let asked = id.clone();
            let revisions = self.readers.ask(move |connection| queries::notification(connection, &asked)).await?;
            if revisions.is_empty() { Err(StoreError::NotFound(format!("notification {id}"))) } else { Ok(revisions) }
        })
    }

    fn records(&self, rows: Vec<i64>) -> BoxFuture<'_, StoreResult<BTreeMap<i64, String>>> {
        self.read(move |connection| queries::records(connection, &rows))
    }

    fn contents(&self, after: i64) -> BoxFuture<'_, StoreResult<Vec<Content>>> {
        self.read(move |connection| queries::contents_above(connection, after))
    }

    fn deliveries(&self, filter: DeliveryFilter) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.read(move |connection| lists::deliveries(connection, filter))
    }

    fn lanes(&self, filter: LaneFilter) -> BoxFuture<'_, StoreResult<Lanes>> {
        self.read(move |connection| lanes::list(connection, &filter))
    }

    fn lane(
        &self,
        system: String,
        lane: String,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.read(move |connection| lanes::show(connection, &system, &lane, after, limit))
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, StoreResult<(DeliveryView, Vec<AttemptView>)>> {
        let found = self.read(move |connection| {
            let view = queries::delivery_view(connection, id.0)?;
            Ok((view, queries::attempts(connection, id.0)?))
        });
        Box::pin(async move {
            match found.await? {
                (Some(view), attempts) => Ok((view, attempts)),
                (None, _) => Err(StoreError::NotFound(format!("delivery {id}"))),
            }
        })
    }

    fn refused(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<RefusedPost>>> {
        self.read(move |connection| queries::refused(connection, limit))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    fn condition(&self) -> Health {
        let health = self.shared.health.borrow().clone();
        let busy_for = self.shared.busy_for(self.clock.monotonic());
        if health == Health::Ready && busy_for >= STUCK_AFTER {
            let seconds = busy_for.as_secs();
            return Health::Failing(format!("the disk has not answered for {seconds} s: a commit is stuck"));
        }
        health
    }

    fn signals(&self) -> Option<broadcast::Receiver<Signal>> {
        None
    }

    fn figures(&self) -> WriterFigures {
        let mut figures = WriterFigures {
            queue: self.shared.queued.load(Ordering::Relaxed),
            commits: self.shared.commits.load(Ordering::Relaxed),
            commands: self.shared.commands.load(Ordering::Relaxed),
            commit_sizes: Default::default(),
        };
        for (figure, count) in figures.commit_sizes.iter_mut().zip(&self.shared.commit_sizes) {
            *figure = count.load(Ordering::Relaxed);
        }
        figures
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let _ = self.queue.send(Message::Stop);
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // An error means that the thread is gone, which is what is waited for.
            let _ = ended.wait_for(|ended| *ended).await;
            self.readers.close();
        })
    }
}

/// What a command costs the queue.
#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    bytes: usize,
    /// Whether it may use the room that envelopes leave.
    reserved: bool,
}

impl Size {
    const SMALL: Self = Self { rows: 2, bytes: 0, reserved: true };
}

/// A command on its way: what to do, what it found, whom to answer.
struct Job<T, F> {
    run: F,
    found: Option<T>,
    reply: oneshot::Sender<StoreResult<T>>,
    size: Size,
}

impl<T: Send, F: FnMut(&mut Books) -> Result<T, Failure> + Send> Task for Job<T, F> {
    fn run(&mut self, books: &mut Books) -> Result<(), Failure> {
        self.found = Some((self.run)(books)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let answer = match (outcome, self.found) {
            (Ok(()), Some(found)) => Ok(found),
            (Ok(()), None) => Err(StoreError::Refused("the command was not run".to_owned())),
            (Err(error), _) => Err(error),
        };
        // Nobody waits any more: what was done stays done.
        let _ = self.reply.send(answer);
    }

    fn rows(&self) -> usize {
        self.size.rows
    }

    fn bytes(&self) -> usize {
        self.size.bytes
    }
}

/// The connection that a store is opened with, its file made where it is absent.
fn first_connection(path: &Path) -> Result<Connection, OpenError> {
    schema::look_at(path)?;
    schema::create(path)?;
    let connection = schema::writer(path)?;
    // One that is moved away or into says so first: its indexes may not be there yet.
    match (transfer::look(&connection, path), schema::look_for_gaps(&connection, path)) {
        (Err(moved @ (OpenError::Arriving { .. } | OpenError::Moved { .. })), _) => Err(moved),
        (_, Err(incomplete)) => Err(incomplete),
        (looked, Ok(())) => looked.map(|()| connection),
    }
}

/// Brings in order what an earlier process left; how many attempts it had under way.
fn repair(connection: &mut Connection, wal_pages: &Arc<AtomicI32>, options: &Options) -> Result<u64, Failure> {
    writer::watch_wal(connection, wal_pages)?;
    let rescued = rescue(connection, options)?;
    warn_when_unbalanced(connection);
    Ok(rescued)
}

fn start(writer: Writer) -> Result<JoinHandle<()>, OpenError> {
    let path = writer.path.clone();
    let thread = std::thread::Builder::new().name("omgate-store".to_owned()).spawn(move || writer.run());
    let doing = "start the writer's thread";
    thread.map_err(|error| OpenError::Inaccessible { path, doing, reason: error.to_string() })
}

/// Completes what an earlier process left under way, in one transaction.
fn rescue(connection: &Connection, options: &Options) -> Result<u64, Failure> {
    let mut books = Books::open(connection)?;
    books.command("BEGIN IMMEDIATE")?;
    let rescued = settle::rescue(&mut books, &options.hold_unknown, options.clock.now())?;
    books.accounts.keep_sheet();
    books.write_accounts()?;
    books.command("COMMIT")?;
    if rescued > 0 {
        tracing::warn!(attempts = rescued, "attempts that were under way when the gateway stopped are unknown");
    }
    Ok(rescued)
}

fn warn_when_unbalanced(connection: &Connection) {
    match audit::ledger(connection) {
        Ok(ledger) if ledger.balanced => {}
        Ok(_) => tracing::error!("the ledger does not balance; run `omgate store verify`"),
        Err(error) => tracing::error!(reason = words::of(&error), "the ledger cannot be read"),
    }
}

fn refuse(books: &Books, post: &RefusedPost) -> Result<(), Failure> {
    let sql = "INSERT INTO refused (at, source, sender, reason, dropped_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let dropped_at = post.dropped_at.map(|dropped_at| dropped_at.0);
    books.run(sql, (post.at.0, &post.source, &post.sender, &post.reason, dropped_at, &post.body))?;
    let oldest = books.connection.last_insert_rowid().saturating_sub(REFUSED_MAX);
    books.run("DELETE FROM refused WHERE id <= ?1", [oldest]).map(|_| ())
}

fn save_config(books: &Books, config: &StoredConfig, now: Timestamp) -> Result<ConfigVersion, Failure> {
    let refused = |error: serde_json::Error| StoreError::Refused(format!("keeping the configuration: {error}"));
    let files = serde_json::to_string(&config.files).map_err(refused)?;
    let digest = digest::digest(&digest::SHA256, files.as_bytes());
    let hash = digest.as_ref();
    let sql = "SELECT id FROM config_version WHERE hash = ?1";
    if let Some(version) = books.find(sql, [hash], |row| row.get(0))? {
        return Ok(ConfigVersion(version));
    }
    let sql = "INSERT INTO config_version (hash, files, created_at) VALUES (?1, ?2, ?3)";
    books.run(sql, (hash, files, now.0))?;
    Ok(ConfigVersion(books.connection.last_insert_rowid()))
}

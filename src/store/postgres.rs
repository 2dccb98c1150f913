//! The store over PostgreSQL: each command in a transaction of its own, several gateways at once on one database.
//!
//! Between gateways stand locks that end with their transaction, leases on the database's clock, and nothing else: no
//! session has a state, so a pooler may stand before the database. What a gateway believes of others is never relied on;
//! what they may do together is decided in the transaction that does it.

mod accept;
mod accounts;
mod after;
mod alive;
mod archive;
mod audit;
mod audit_log;
mod change;
mod claim;
mod coalesce;
mod connect;
mod days;
mod failure;
mod kept;
mod lane;
mod lanes;
mod lists;
mod locks;
mod names;
mod orphans;
mod prune;
mod queries;
mod queue;
mod recovery;
mod refuse;
mod replay;
mod reroute;
mod revise;
mod samples;
mod schema;
mod searched;
mod session;
mod sealing;
mod settle;
mod shape;
mod signals;
mod standing;
mod statistics;
mod system;
mod taken;
mod text;
mod time;
mod token;
mod transfer;
mod view;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::failure::Failure;
use self::queue::Queue;
use self::session::{Manner, Session};
use self::time::DatabaseClock;
use self::work::{Engine, Figures, Job, random};
use crate::clock::{Day, SharedClock, Timestamp};
use crate::delivery::{ConfigVersion, DeliveryId, Lease, State};
use crate::store::{
    Absence, Accept, Accepted, AttemptView, AuditEntry, AuditFilter, Backlog, By, Chain, Change, Claim, Claims,
    Content, DayFilter, Deed, DeliveryFilter, DeliveryView, Discarded, Discrepancy, Gap, Health, LaneFilter, Lanes,
    Ledger, LedgerDays, NotificationFilter, NotificationView, Page, PayloadMark, Prunable, Prune, Pruned, RefusedPost,
    Replay, Replayed, Reroute, Retention, Rewrite, Rewritten, Sample, SavedView, SealingKey, Settle, Signal, Store,
    StoreError, StoreResult, StoredConfig, SystemState, TakenConfig, Token, Unsettled, Way, WriterFigures,
};

pub use self::archive::PostgresArchive;
pub use self::connect::Address;
pub use self::schema::OpenError;
pub use self::shape::PARTS;
pub use self::standing::{Standing, standing};
pub use self::transfer::{PostgresDestination, PostgresOrigin, sight};

/// Transactions that accept envelopes at once: while the commit of one is on its way, others go on.
const ACCEPTING: usize = 4;
/// Transactions that complete attempts at once.
const SETTLING: usize = 2;
/// Lanes looked at again in one command of a sweep.
const SWEEP_BATCH: usize = 200;
/// Due times pulled back in one command.
const PULL_BACK_BATCH: i64 = 1_000;
/// A question is given up after this long.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Questions about everything have this long.
const AUDIT_MAX: Duration = Duration::from_secs(600);
/// How often leases that ran out are looked for, and the database's clock is read.
const ROUND_EVERY: Duration = Duration::from_secs(2);
/// A database's clock that differs by so much from what it said before was set, or is another's.
const CLOCK_SET: Duration = Duration::from_secs(1);
/// Then no lease is taken to have run out for so long: by then whoever has a call under way has renewed its own.
const LEASES_SPARED: Duration = Duration::from_secs(10);
/// Receipts are cleared away every so many rounds.
const CLEAR_EVERY: u64 = 30;
/// A clock reading that took longer says too little.
const READING_MAX: Duration = Duration::from_secs(1);

/// How the store is opened.
#[derive(Clone)]
pub struct Options {
    /// Where the database is.
    pub address: Address,
    /// Connections at once, besides the one that listens.
    pub connections: usize,
    /// Envelopes that may wait; one more is answered with `Overloaded`.
    pub queue_max: usize,
    /// What waiting envelopes may hold in memory, in bytes. A single one is always taken.
    pub queue_bytes_max: usize,
    /// Destinations whose deliveries are held, not sent again, when a gateway died during their call.
    pub hold_unknown: Vec<String>,
    /// This machine's clock. Of its wall clock nothing is used.
    pub clock: SharedClock,
    /// A clock in place of the database's, for tests.
    pub time: Option<SharedClock>,
}

impl Options {
    /// The defaults: 16 connections, 1,024 envelopes and 32 MiB waiting.
    #[must_use]
    pub fn new(address: Address, clock: SharedClock) -> Self {
        Self {
            address,
            connections: 16,
            queue_max: 1_024,
            queue_bytes_max: 32 << 20,
            hold_unknown: Vec::new(),
            clock,
            time: None,
        }
    }
}

/// The store over PostgreSQL.
pub struct PostgresStore {
    engine: Arc<Engine>,
    accepts: Queue<accept::Accepting>,
    settles: Queue<settle::Settling>,
    refusals: Queue<refuse::Refusing>,
    signals: broadcast::Sender<Signal>,
    /// Held by whoever notes that a configuration came into force.
    taking: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    /// Held shared by every command under way; had alone by who closes.
    busy: Arc<RwLock<()>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Opens the store: connects, brings the schema up to date, completes what earlier gateways left.
    ///
    /// # Errors
    /// In words that tell an operator what to do; see [`OpenError`].
    pub async fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let address = options.address.shown().to_owned();
        let pool = options.address.pool(options.connections.max(2));
        let pool = pool.map_err(|reason| OpenError::Tls { address: address.clone(), reason })?;
        schema::prepare(&pool, &address).await?;
        shape::look_for_gaps(&pool, &address, transfer::look(&pool, &address).await).await?;
        let (notices, told) = mpsc::unbounded_channel();
        let database = Arc::new(DatabaseClock::new(Arc::clone(&options.clock)));
        let engine = Arc::new(Engine {
            pool,
            names: names::Names::default(),
            clock: options.time.unwrap_or_else(|| Arc::clone(&database) as SharedClock),
            hold_unknown: options.hold_unknown,
            machine: options.clock,
            holder: random(),
            health: watch::Sender::new(Health::Ready),
            notices,
            figures: Figures::default(),
            losses: recovery::Losses::default(),
        });
        let unfit = |error: StoreError| OpenError::Unfit { address: address.clone(), reason: error.to_string() };
        read_clock(&engine, &database).await.map_err(|failure| unfit(failure.into_error()))?;
        let rescued = rescue(&engine, None).await.map_err(unfit)?;
        if rescued > 0 {
            tracing::warn!(attempts = rescued, "attempts whose gateway stopped are unknown");
        }
        let signals = broadcast::Sender::new(1_024);
        let ear = signals::Ear { engine: Arc::clone(&engine), address: options.address, heard: signals.clone() };
        let tasks = vec![
            tokio::spawn(Arc::clone(&engine).watch()),
            tokio::spawn(signals::tell(Arc::clone(&engine), told)),
            tokio::spawn(ear.listen()),
            tokio::spawn(keep_house(Arc::clone(&engine), database, signals.clone())),
        ];
        Ok(Arc::new(Self {
            accepts: Queue::new(&engine, ACCEPTING, options.queue_max.max(1), options.queue_bytes_max),
            settles: Queue::new(&engine, SETTLING, usize::MAX, usize::MAX),
            refusals: Queue::new(&engine, 1, options.queue_max.max(1), options.queue_bytes_max),
            engine,
            signals,
            taking: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            busy: Arc::default(),
            tasks: Mutex::new(tasks),
        }))
    }

    /// The database's clock, which all gateways share.
    #[must_use]
    pub fn clock(&self) -> SharedClock {
        Arc::clone(&self.engine.clock)
    }

    /// Completes the attempts whose lease ran out as unknown; how many there were. The store does so by itself every
    /// few seconds.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn rescue(&self) -> StoreResult<u64> {
        rescue(&self.engine, None).await
    }

    /// Clears away what nobody looks at any more: old receipts, the shards of past days. The store does so by itself every
    /// minute.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn clear(&self) -> StoreResult<()> {
        clear(&self.engine).await
    }

    /// Begins a command; it goes on even when nobody waits for it.
    fn run<J: Job + 'static>(&self, job: J) -> BoxFuture<'static, StoreResult<J::Done>>
    where
        J::Done: 'static,
    {
        let entered = self.enter();
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let busy = entered?;
            let command = tokio::spawn(async move {
                let done = engine.run(&job).await;
                drop(busy);
                done
            });
            command.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn enter(&self) -> StoreResult<OwnedRwLockReadGuard<()>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        Arc::clone(&self.busy).try_read_owned().map_err(|_| StoreError::Closed)
    }

    /// A session for a question.
    async fn asking(&self, manner: Manner) -> StoreResult<Session> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        Session::open(&self.engine.pool, manner).await.map_err(unread)
    }

    /// Asks one question.
    fn ask<'a, T: Send + 'a>(
        &'a self,
        manner: Manner,
        question: impl for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, Result<T, Failure>> + Send + 'a,
    ) -> BoxFuture<'a, StoreResult<T>> {
        let longest = if manner == Manner::Audit { AUDIT_MAX } else { ASK_MAX };
        Box::pin(async move {
            let asked = async {
                let mut session = self.asking(manner).await?;
                let answer = question(&mut session).await.map_err(unread)?;
                session.end().await.map_err(unread)?;
                Ok(answer)
            };
            let late = || StoreError::Unavailable("the database did not answer in time".to_owned());
            timeout(longest, asked).await.unwrap_or_else(|_| Err(late()))
        })
    }
}

fn unread(failure: Failure) -> StoreError {
    failure.into_error()
}

/// Completes what other gateways left under leases that ran out, by the database's clock and, where it is given, by this one,
/// which does not jump with that.
async fn rescue(engine: &Arc<Engine>, clock: Option<&DatabaseClock>) -> StoreResult<u64> {
    use crate::clock::Clock;
    let mut rescued = 0;
    loop {
        let rescue = settle::Rescue { now: engine.clock.now(), until: clock.map(Clock::now) };
        let batch = engine.run(&rescue).await?;
        rescued += batch;
        if batch < u64::try_from(settle::RESCUE_BATCH).unwrap_or(u64::MAX) {
            return Ok(rescued);
        }
    }
}

/// Sets the clock by the database's; how far that was set since.
async fn read_clock(engine: &Engine, clock: &DatabaseClock) -> Result<Duration, Failure> {
    use crate::clock::Clock;
    let mut session = Session::open(&engine.pool, Manner::Read).await?;
    // The first statement goes with the beginning of the transaction: the second is quicker.
    queries::time(&mut session).await?;
    let asked = clock.monotonic();
    let told = queries::time(&mut session).await?;
    let answered = clock.monotonic();
    session.end().await?;
    let is_telling = answered.saturating_sub(asked) <= READING_MAX;
    Ok(if is_telling { clock.set(asked, told, answered) } else { Duration::ZERO })
}

/// What has to be done from time to time.
async fn keep_house(engine: Arc<Engine>, clock: Arc<DatabaseClock>, signals: broadcast::Sender<Signal>) {
    use crate::clock::Clock;
    refresh_statistics(&engine).await;
    let mut spared_until = Duration::ZERO;
    for round in 1_u64.. {
        sleep(ROUND_EVERY).await;
        if *engine.health.borrow() != Health::Ready {
            continue;
        }
        // A failure here is one of every command too, and told there.
        match timeout(ASK_MAX, read_clock(&engine, &clock)).await {
            Ok(Ok(set)) if set >= CLOCK_SET => {
                let seconds = set.as_secs_f64();
                tracing::warn!(seconds, "the database's clock was set: no lease runs out for a while");
                spared_until = clock.monotonic() + LEASES_SPARED;
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %error.into_error(), "the database's clock could not be read");
                continue;
            }
        }
        if clock.monotonic() >= spared_until {
            rescue_of_others(&engine, &clock, &signals).await;
        }
        if round.is_multiple_of(CLEAR_EVERY) {
            if let Err(error) = clear(&engine).await {
                tracing::debug!(%error, "old receipts and the shards of past days could not be cleared away");
            }
            refresh_statistics(&engine).await;
        }
    }
}

async fn rescue_of_others(engine: &Arc<Engine>, clock: &DatabaseClock, signals: &broadcast::Sender<Signal>) {
    match rescue(engine, Some(clock)).await {
        Ok(0) | Err(_) => {}
        Ok(attempts) => {
            tracing::warn!(attempts, "attempts whose gateway stopped or lost the database are unknown");
            let _ = signals.send(Signal::Look);
        }
    }
}

async fn refresh_statistics(engine: &Engine) {
    match statistics::refresh(&engine.pool).await {
        Ok(tables) if tables.is_empty() => {}
        Ok(tables) => tracing::debug!("the database looked anew at what is in {}", tables.join(", ")),
        Err(failure) => {
            tracing::debug!(error = %failure.into_error(), "the database could not look anew at what is in its tables");
        }
    }
}

/// Clears away what nobody looks at any more: all of it, however much comes.
async fn clear(engine: &Arc<Engine>) -> StoreResult<()> {
    while engine.run(&refuse::ClearReceipts).await? == refuse::RECEIPTS_AT_ONCE {}
    // What is settled around midnight may be booked on the day before.
    let before = engine.clock.now().day().plus(-1);
    while engine.run(&days::Fold { before }).await? > 0 {}
    Ok(())
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.accepts.close();
        self.settles.close();
        self.refusals.close();
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Store for PostgresStore {
    fn accept(&self, accept: Accept) -> BoxFuture<'_, StoreResult<Accepted>> {
        self.accepts.ask(accept)
    }

    fn refuse(&self, post: RefusedPost) -> BoxFuture<'_, StoreResult<()>> {
        self.refusals.ask(refuse::cut(post))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, StoreResult<Claims>> {
        self.run(claim)
    }

    fn settle(&self, settle: Settle) -> BoxFuture<'_, StoreResult<()>> {
        self.settles.ask(settle)
    }

    fn release(&self, leases: Vec<(DeliveryId, Lease)>) -> BoxFuture<'_, StoreResult<()>> {
        self.run(settle::Release { leases, now: self.engine.clock.now() })
    }

    fn begin_call(&self, delivery: DeliveryId, lease: Lease) -> BoxFuture<'_, StoreResult<()>> {
        self.run(claim::BeginCall { delivery, lease })
    }

    fn redirect(&self, delivery: DeliveryId, lease: Lease, way: Way) -> BoxFuture<'_, StoreResult<()>> {
        self.run(claim::Redirect { delivery, lease, way, now: self.engine.clock.now() })
    }

    fn renew(&self, leases: Vec<(DeliveryId, Lease)>, lease: Duration) -> BoxFuture<'_, StoreResult<Vec<DeliveryId>>> {
        self.run(settle::Renew { leases, seconds: lease.as_secs_f64() })
    }

    fn change(
        &self,
        delivery: DeliveryId,
        change: Change,
        still: Option<State>,
        by: By,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<DeliveryView>> {
        self.run(change::Changing { delivery, change, still, by, now })
    }

    fn replay(&self, replay: Replay) -> BoxFuture<'_, StoreResult<Replayed>> {
        self.run(replay::Replaying(replay))
    }

    fn take_config(&self, taken: TakenConfig) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            // One after the other, as they came into force.
            let _turn = self.taking.lock().await;
            self.run(taken::Take(taken)).await
        })
    }

    fn taken_configs(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<TakenConfig>>> {
        self.ask(Manner::Read, move |session| Box::pin(taken::list(session, limit)))
    }

    fn ways(&self) -> BoxFuture<'_, StoreResult<Vec<Way>>> {
        self.ask(Manner::Read, |session| Box::pin(orphans::ways(session)))
    }

    fn unsettled(&self) -> BoxFuture<'_, StoreResult<Vec<Unsettled>>> {
        self.ask(Manner::Read, |session| Box::pin(orphans::unsettled(session)))
    }

    fn discard_unsettled(
        &self,
        ways: Vec<Way>,
        by: By,
        limit: u32,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Discarded>> {
        self.run(orphans::Discard { ways, by, limit, now })
    }

    fn ledger_days(&self, filter: DayFilter) -> BoxFuture<'_, StoreResult<LedgerDays>> {
        if let Err(error) = filter.check() {
            return Box::pin(async { Err(error) });
        }
        self.ask(Manner::Audit, |session| Box::pin(days::ledger_days(session, filter)))
    }

    fn gaps(&self, since: Day, to: Option<Day>) -> BoxFuture<'_, StoreResult<Vec<Gap>>> {
        self.ask(Manner::Read, move |session| Box::pin(days::gaps(session, since, to)))
    }

    fn heartbeat(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<Option<Absence>>> {
        self.run(alive::Beat(now))
    }

    fn absences(&self) -> BoxFuture<'_, StoreResult<Vec<Absence>>> {
        self.ask(Manner::Read, |session| Box::pin(alive::absences(session, alive::LIST_MAX)))
    }

    fn acknowledge(&self, absence: i64, by: By, now: Timestamp) -> BoxFuture<'_, StoreResult<Absence>> {
        self.run(alive::Acknowledge { absence, by, now })
    }

    fn add_sample(&self, sample: Sample) -> BoxFuture<'_, StoreResult<()>> {
        self.run(samples::Add(sample))
    }

    fn samples(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<Sample>>> {
        self.ask(Manner::Read, move |session| Box::pin(samples::list(session, since)))
    }

    fn audit(&self, deed: Deed) -> BoxFuture<'_, StoreResult<i64>> {
        self.run(audit_log::Note(deed))
    }

    fn audit_log(&self, filter: AuditFilter) -> BoxFuture<'_, StoreResult<Vec<AuditEntry>>> {
        self.ask(Manner::Read, |session| Box::pin(audit_log::list(session, filter)))
    }

    fn audit_chain(&self, after: i64, limit: u32) -> BoxFuture<'_, StoreResult<(Chain, Vec<AuditEntry>)>> {
        self.ask(Manner::Audit, move |session| Box::pin(audit_log::chain(session, after, limit)))
    }

    fn add_token(&self, token: Token, hash: String) -> BoxFuture<'_, StoreResult<()>> {
        self.run(token::Add { token, hash })
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<Token>>> {
        self.ask(Manner::Read, |session| Box::pin(token::list(session)))
    }

    fn token(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Token>>> {
        self.ask(Manner::Read, move |session| Box::pin(async move { token::find(session, &hash).await }))
    }

    fn revoke_token(&self, id: String, by: String, now: Timestamp) -> BoxFuture<'_, StoreResult<Token>> {
        self.run(token::Revoke { id, by, now })
    }

    fn use_token(&self, id: String, now: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.run(token::Use { id, now })
    }

    fn save_view(&self, view: SavedView) -> BoxFuture<'_, StoreResult<Option<SavedView>>> {
        self.run(view::Save(view))
    }

    fn views(&self) -> BoxFuture<'_, StoreResult<Vec<SavedView>>> {
        self.ask(Manner::Read, |session| Box::pin(view::list(session)))
    }

    fn forget_view(&self, list: String, name: String) -> BoxFuture<'_, StoreResult<SavedView>> {
        self.run(view::Forget { list, name })
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        self.ask(Manner::Read, |session| Box::pin(sealing::list(session)))
    }

    fn note_sealing_key(&self, key: SealingKey) -> BoxFuture<'_, StoreResult<()>> {
        self.run(sealing::Note(key))
    }

    fn forget_sealing_key(&self, id: String) -> BoxFuture<'_, StoreResult<()>> {
        self.run(sealing::Forget(id))
    }

    fn rewrite_payloads(
        &self,
        from: PayloadMark,
        limit: usize,
        rewrite: Rewrite,
    ) -> BoxFuture<'_, StoreResult<Rewritten>> {
        self.run(sealing::Step { from, limit, rewrite })
    }

    fn prune(&self, prune: Prune) -> BoxFuture<'_, StoreResult<Pruned>> {
        self.run(prune::Pruning(prune))
    }

    fn prunable(&self, retention: Retention, now: Timestamp) -> BoxFuture<'_, StoreResult<Prunable>> {
        self.ask(Manner::Audit, move |session| Box::pin(async move { prune::prunable(session, &retention, now).await }))
    }

    fn reroute(&self, reroute: Reroute) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.run(reroute::Rerouting::of(reroute))
    }

    fn stands_for(&self, deliveries: Vec<DeliveryId>) -> BoxFuture<'_, StoreResult<Vec<Vec<DeliveryId>>>> {
        self.ask(Manner::Read, move |session| Box::pin(async move { queries::stands_for(session, &deliveries).await }))
    }

    fn outdated_by(&self, delivery: DeliveryId) -> BoxFuture<'_, StoreResult<Option<DeliveryId>>> {
        self.ask(Manner::Read, move |session| {
            Box::pin(async move { Ok(change::outdated_by(session, delivery.0, None).await?.map(DeliveryId)) })
        })
    }

    fn system(&self, system: String) -> BoxFuture<'_, StoreResult<SystemState>> {
        self.ask(Manner::Read, move |session| Box::pin(async move { system::Ask(system).answer(session).await }))
    }

    fn set_system(&self, system: String, state: SystemState, deed: Option<Deed>) -> BoxFuture<'_, StoreResult<()>> {
        let done = self.run(system::Turn { system, from: None, to: state, deed });
        Box::pin(async move { done.await.map(|_| ()) })
    }

    fn turn_system(
        &self,
        system: String,
        from: SystemState,
        to: SystemState,
    ) -> BoxFuture<'_, StoreResult<SystemState>> {
        self.run(system::Turn { system, from: Some(from), to, deed: None })
    }

    fn save_config(&self, config: StoredConfig, now: Timestamp) -> BoxFuture<'_, StoreResult<ConfigVersion>> {
        self.run(refuse::SaveConfig { config, now })
    }

    fn config(&self, version: ConfigVersion) -> BoxFuture<'_, StoreResult<StoredConfig>> {
        let files =
            self.ask(Manner::Read, move |session| Box::pin(async move { queries::config(session, version.0).await }));
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

    fn sweep(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move {
            let lanes = self.ask(Manner::Audit, |session| Box::pin(queries::headless_lanes(session))).await?;
            let now = self.engine.clock.now();
            let mut repaired = 0;
            for batch in lanes.chunks(SWEEP_BATCH) {
                let lanes: BTreeSet<i64> = batch.iter().copied().collect();
                repaired += self.run(refuse::Repair { lanes, now }).await?;
            }
            Ok(repaired)
        })
    }

    fn pull_back(&self, now: Timestamp, wait_max: Duration) -> BoxFuture<'_, StoreResult<u64>> {
        let latest = now.plus(wait_max);
        Box::pin(async move {
            let mut pulled = 0;
            loop {
                let batch = self.run(refuse::PullBack { now, latest, limit: PULL_BACK_BATCH }).await?;
                pulled += batch;
                if batch == 0 {
                    return Ok(pulled);
                }
            }
        })
    }

    fn ledger(&self) -> BoxFuture<'_, StoreResult<Ledger>> {
        self.ask(Manner::Read, |session| Box::pin(audit::ledger(session)))
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.ask(Manner::Read, |session| Box::pin(audit::backlog(session)))
    }

    fn verify(&self) -> BoxFuture<'_, StoreResult<Vec<Discrepancy>>> {
        self.ask(Manner::Audit, |session| Box::pin(audit::verify(session)))
    }

    fn notifications(&self, filter: NotificationFilter) -> BoxFuture<'_, StoreResult<Page<NotificationView>>> {
        self.ask(Manner::Read, move |session| Box::pin(lists::notifications(session, filter)))
    }

    fn notification(&self, id: String) -> BoxFuture<'_, StoreResult<Vec<NotificationView>>> {
        let asked = id.clone();
        let found = self
            .ask(Manner::Read, move |session| Box::pin(async move { queries::notification(session, &asked).await }));
        Box::pin(async move {
            let revisions = found.await?;
            if revisions.is_empty() { Err(StoreError::NotFound(format!("notification {id}"))) } else { Ok(revisions) }
        })
    }

    fn records(&self, rows: Vec<i64>) -> BoxFuture<'_, StoreResult<BTreeMap<i64, String>>> {
        self.ask(Manner::Read, move |session| Box::pin(async move { queries::records(session, &rows).await }))
    }

    fn contents(&self, after: i64) -> BoxFuture<'_, StoreResult<Vec<Content>>> {
        self.ask(Manner::Read, move |session| Box::pin(queries::contents_above(session, after)))
    }

    fn deliveries(&self, filter: DeliveryFilter) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.ask(Manner::Read, move |session| Box::pin(lists::deliveries(session, filter)))
    }

    fn lanes(&self, filter: LaneFilter) -> BoxFuture<'_, StoreResult<Lanes>> {
        self.ask(Manner::Read, move |session| Box::pin(async move { lanes::list(session, &filter).await }))
    }

    fn lane(
        &self,
        system: String,
        lane: String,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>> {
        self.ask(Manner::Read, move |session| {
            Box::pin(async move { lanes::show(session, &system, &lane, after, limit).await })
        })
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, StoreResult<(DeliveryView, Vec<AttemptView>)>> {
        let found = self.ask(Manner::Audit, move |session| {
            Box::pin(async move {
                let view = queries::delivery_view(session, id.0).await?;
                Ok((view, queries::attempts(session, id.0).await?))
            })
        });
        Box::pin(async move {
            match found.await? {
                (Some(view), attempts) => Ok((view, attempts)),
                (None, _) => Err(StoreError::NotFound(format!("delivery {id}"))),
            }
        })
    }

    fn refused(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<RefusedPost>>> {
        self.ask(Manner::Read, move |session| Box::pin(queries::refused(session, limit)))
    }

    fn condition(&self) -> Health {
        self.engine.health.borrow().clone()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.engine.health.subscribe()
    }

    fn signals(&self) -> Option<broadcast::Receiver<Signal>> {
        Some(self.signals.subscribe())
    }

    fn figures(&self) -> WriterFigures {
        let figures = &self.engine.figures;
        let mut told = WriterFigures {
            queue: figures.queued.load(Ordering::Relaxed),
            commits: figures.commits.load(Ordering::Relaxed),
            commands: figures.commands.load(Ordering::Relaxed),
            commit_sizes: Default::default(),
        };
        for (figure, count) in told.commit_sizes.iter_mut().zip(&figures.commit_sizes) {
            *figure = count.load(Ordering::Relaxed);
        }
        told
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        self.accepts.close();
        self.settles.close();
        self.refusals.close();
        Box::pin(async move {
            self.accepts.ended().await;
            self.settles.ended().await;
            self.refusals.ended().await;
            let _alone = self.busy.write().await;
            if !first {
                return;
            }
            // What is left under way is over: the others need not wait until its leases run out.
            if let Err(error) = self.engine.run(&settle::GiveUp).await {
                tracing::debug!(%error, "leases could not be given up; they run out by themselves");
            }
            for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                task.abort();
            }
            self.engine.pool.close();
        })
    }
}

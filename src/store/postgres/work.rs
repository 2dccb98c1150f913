//! Runs commands: each in a transaction of its own, again when it met another, and never twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::accounts::{self, Accounts};
use super::failure::{self, Failure};
use super::names::{Known, Names, Wanted};
use super::recovery::Losses;
use super::session::{Argument, Manner, Session, args};
use crate::clock::SharedClock;
use crate::crash;
use crate::store::{COMMIT_SIZES, Health, Signal, StoreError, StoreResult};

/// A command is given up after this long: Salesforce is answered, a verdict is tried again.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// A commit is waited for no longer; then the database is asked what became of it.
pub(super) const COMMIT_MAX: Duration = Duration::from_secs(5);
/// How often a command is tried.
const TRIES: u32 = 6;
/// How long between two tries, at first.
const PAUSE: Duration = Duration::from_millis(15);
/// While the database fails, it is tried this often.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(500);

/// A command.
pub(super) trait Job: Send + Sync {
    /// What it finds.
    type Done: Send;

    /// The names that it uses.
    fn wanted(&self) -> Wanted {
        Wanted::default()
    }

    /// How many commands it stands for.
    fn commands(&self) -> usize {
        1
    }

    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        0
    }

    /// Does it, in the transaction at hand. It may be run again, so it changes nothing but that.
    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Self::Done, Failure>>;
}

/// A transaction under way, and what its command keeps in memory until it commits.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) names: Known,
    pub(super) accounts: Accounts,
    pub(super) engine: Arc<Engine>,
    /// Systems that have something that is due.
    pub(super) woken: Vec<String>,
    /// Systems whose state changed.
    pub(super) turned: Vec<String>,
    /// Set when it found nothing to write.
    pub(super) idle: bool,
}

impl Work {
    /// A system has something that is due.
    pub(super) fn wake(&mut self, system: &str) {
        if self.woken.iter().all(|woken| woken != system) {
            self.woken.push(system.to_owned());
        }
    }

    /// Learns ways by their numbers.
    pub(super) async fn know_ways(&mut self, ids: &[i64]) -> Result<(), Failure> {
        let engine = Arc::clone(&self.engine);
        engine.names.ways(&mut self.session, ids, &mut self.names).await
    }
}

/// What all commands share.
pub(super) struct Engine {
    pub(super) pool: Pool,
    pub(super) names: Names,
    pub(super) clock: SharedClock,
    /// This machine's clock: how long something takes.
    pub(super) machine: SharedClock,
    /// Destinations whose deliveries are held, not sent again, when their outcome is unknown because a gateway died.
    pub(super) hold_unknown: Vec<String>,
    /// Who holds the leases that this gateway takes.
    pub(super) holder: i64,
    pub(super) health: watch::Sender<Health>,
    /// What the other gateways are to hear of.
    pub(super) notices: mpsc::UnboundedSender<Signal>,
    pub(super) figures: Figures,
    pub(super) losses: Losses,
}

/// How the commands fare.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) queued: AtomicUsize,
    pub(super) queued_bytes: AtomicUsize,
    pub(super) commits: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) commit_sizes: [AtomicU64; COMMIT_SIZES.len() + 1],
}

impl Figures {
    fn note(&self, commands: usize) {
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands, Ordering::Relaxed);
        for (bound, count) in COMMIT_SIZES.iter().chain([&u64::MAX]).zip(&self.commit_sizes) {
            if commands <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A number that nobody else has.
pub(super) fn random() -> i64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => i64::from_be_bytes(bytes).max(1 - i64::MAX).abs(),
        Err(_) => i64::from(std::process::id()),
    }
}

impl Engine {
    /// Runs a command until it is durable or came to nothing.
    pub(super) async fn run<J: Job>(self: &Arc<Self>, job: &J) -> StoreResult<J::Done> {
        if let Health::Failing(reason) = &*self.health.borrow() {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        let deadline = self.machine.monotonic() + COMMAND_MAX;
        let mut pause = PAUSE;
        let mut tried = 0;
        loop {
            tried += 1;
            let failure = match self.once(job, deadline).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let again = matches!(failure, Failure::Again(_) | Failure::Lost(_));
            if !again || tried >= TRIES || self.machine.monotonic() + pause >= deadline {
                self.take_note(&failure, job.bytes()).await;
                return Err(failure.into_error());
            }
            // Two that met each other come back at different times.
            sleep(pause + pause.mul_f64((random() % 100) as f64 / 100.0)).await;
            pause *= 2;
        }
    }

    async fn once<J: Job>(self: &Arc<Self>, job: &J, deadline: Duration) -> Result<J::Done, Failure> {
        let left = deadline.saturating_sub(self.machine.monotonic());
        let prepared = timeout(left, self.prepare(job)).await;
        let (work, done) =
            prepared.unwrap_or_else(|_| Err(Failure::Lost("the database does not answer".to_owned())))?;
        if work.idle {
            // What was found stays true whatever becomes of the connection.
            let _ = timeout(COMMIT_MAX, work.session.end()).await;
            return Ok(done);
        }
        let (woken, turned) = (work.woken.clone(), work.turned.clone());
        self.commit(work).await?;
        self.figures.note(job.commands());
        let signals = woken.into_iter().map(Signal::Work).chain(turned.into_iter().map(Signal::System));
        for signal in signals {
            // Whoever tells the others is gone only when the store is closed.
            let _ = self.notices.send(signal);
        }
        Ok(done)
    }

    async fn prepare<J: Job>(self: &Arc<Self>, job: &J) -> Result<(Work, J::Done), Failure> {
        let names = self.names.resolve(&self.pool, &job.wanted()).await?;
        let mut work = Work {
            session: Session::open(&self.pool, Manner::Write).await?,
            names,
            accounts: Accounts::default(),
            engine: Arc::clone(self),
            woken: Vec::new(),
            turned: Vec::new(),
            idle: false,
        };
        work.accounts.at(self.clock.now());
        match job.run(&mut work).await {
            Ok(done) => Ok((work, done)),
            Err(failure @ Failure::Rule(_)) => {
                // A rule was broken and nothing else: the connection is as good as before.
                work.session.end().await?;
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Commits. When the answer is lost, looks whether it happened: a command is never run again on a mere suspicion.
    async fn commit(&self, work: Work) -> Result<(), Failure> {
        let token = random();
        let (columns, heard) = (work.accounts.columns(), work.accounts.heard());
        crash::point("before-commit");
        let arguments: &[Argument<'_>] = args![
            INT8 token,
            TEXT_ARRAY columns.kinds,
            INT8_ARRAY columns.owners,
            TEXT_ARRAY columns.names,
            INT8_ARRAY columns.days,
            INT8_ARRAY columns.values,
            INT8_ARRAY heard.sources,
            INT8_ARRAY heard.days,
            INT8_ARRAY heard.first,
            INT8_ARRAY heard.last,
        ];
        let (sql, arguments) = match heard.sources.as_slice() {
            [] => (accounts::WRITE, arguments.get(..6).unwrap_or(arguments)),
            [..] => (accounts::WRITE_HEARD, arguments),
        };
        let committed = timeout(COMMIT_MAX, work.session.commit(sql, arguments)).await;
        match committed {
            Ok(Ok(())) => {}
            // The database itself says that it did not.
            Ok(Err(error)) if said_no(&error) => return Err(Failure::from(error)),
            Ok(Err(error)) => self.find_out(token, &failure::words(&error)).await?,
            Err(_) => self.find_out(token, "it did not answer in time").await?,
        }
        crash::point("after-commit");
        Ok(())
    }

    /// Whether the transaction with this receipt was committed. To write the same receipt waits for that transaction to
    /// end, and once it is written, that transaction can be committed no more.
    async fn find_out(&self, token: i64, reason: &str) -> Result<(), Failure> {
        tracing::warn!(reason, "the answer to a commit was lost; looking whether it happened");
        let deadline = self.machine.monotonic() + COMMAND_MAX;
        loop {
            let left = deadline.saturating_sub(self.machine.monotonic());
            match timeout(left, self.leave_receipt(token)).await {
                Ok(Ok(true)) => return Err(Failure::Lost(format!("the commit did not happen: {reason}"))),
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(_)) if !left.is_zero() => sleep(PROBE_EVERY / 4).await,
                Ok(Err(_)) | Err(_) => {
                    return Err(Failure::Gone(format!("whether the last commit happened is not known: {reason}")));
                }
            }
        }
    }

    /// Writes a receipt; whether it was not there before.
    pub(super) async fn leave_receipt(&self, token: i64) -> Result<bool, Failure> {
        let mut session = Session::open(&self.pool, Manner::Write).await?;
        let sql = "INSERT INTO receipt (token) VALUES ($1) ON CONFLICT DO NOTHING RETURNING token";
        let written = !session.query(sql, args![INT8 token]).await?.is_empty();
        session.commit("SELECT 1", &[]).await?;
        Ok(written)
    }
}

/// Whether an error says that a transaction was surely not committed.
fn said_no(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::Severity;
    error.as_db_error().is_some_and(|said| matches!(said.parsed_severity(), Some(Severity::Error)))
}

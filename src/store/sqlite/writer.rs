//! The one thread that writes: it takes what is queued, commits it together, and only then answers.
//!
//! There is no time window: whatever came while the last commit was on its way to the disk makes the next one. Commands
//! run without savepoints, which cost a copy of every page they touch; only when one of them fails after it wrote is the
//! group rolled back and run again, each under a savepoint of its own, so that the bad one harms itself alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::books::{Books, Failure};
use super::words::{self, Reach};
use super::{schema, shape};
use crate::clock::SharedClock;
use crate::crash;
use crate::mutation::{self, Mutation};
use crate::store::repeats::Repeats;
use crate::store::{COMMIT_SIZES, Health, StoreError};

/// A group is committed when its commands come to this many rows, even when more are queued.
const GROUP_ROWS_MAX: usize = 2_000;
/// The write-ahead log is copied into the database when it has this many pages (16 MiB).
pub(super) const CHECKPOINT_PAGES: i32 = 4_000;
/// How often a failing disk is tried.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// So many connections in a row may break at once; after that the disk is left alone between two trials. A dying disk takes
/// its time for every error, and each command that waits for one keeps Salesforce waiting for its answer.
const BROKEN_AT_ONCE: u32 = 3;
/// How much a trial writes: enough to find out that the disk is still full. As much as what failed, and not more than this.
const PROBE_BYTES: usize = 65_536;
const PROBE_BYTES_MAX: usize = 1 << 20;

/// A command with its own answer: see `super::Job`.
pub(super) trait Task: Send {
    /// Runs it inside the writer's transaction; may be called again after a rollback.
    fn run(&mut self, books: &mut Books<'_>) -> Result<(), Failure>;
    /// Answers: what `run` found, now that it is durable, or why not.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
    /// About how many rows it touches.
    fn rows(&self) -> usize;
    /// How many bytes it keeps in memory.
    fn bytes(&self) -> usize;
}

/// What goes through the queue.
pub(super) enum Message {
    Task(Box<dyn Task>),
    Stop,
}

/// What the writer and those who ask it both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) health: watch::Sender<Health>,
    pub(super) queued: AtomicUsize,
    pub(super) queued_bytes: AtomicUsize,
    pub(super) commits: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) commit_sizes: [AtomicU64; COMMIT_SIZES.len() + 1],
    /// Since when the writer is at what it does now, in monotonic milliseconds; or [`IDLE`].
    pub(super) busy_since: AtomicI64,
}

/// The writer waits for commands.
const IDLE: i64 = -1;

impl Shared {
    /// Of a writer that has nothing to do yet.
    pub(super) fn idle() -> Self {
        Self {
            health: watch::Sender::new(Health::Ready),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            commit_sizes: Default::default(),
            busy_since: AtomicI64::new(IDLE),
        }
    }

    /// How long the writer has been at what it does.
    pub(super) fn busy_for(&self, now: Duration) -> Duration {
        match u64::try_from(self.busy_since.load(Ordering::SeqCst)) {
            Ok(since) => now.saturating_sub(Duration::from_millis(since)),
            Err(_) => Duration::ZERO,
        }
    }
}

/// Faults made on purpose: for tests of this store and of what stands on it. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pages_max: Arc<AtomicU32>,
    commit_code: Arc<AtomicI32>,
    gate: Arc<Gate>,
}

/// Where commits hang while it is shut.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    is_shut: bool,
    is_met: bool,
}

/// No fault lasts longer than this, so that a test that fails does not hang.
const HANG_MAX: Duration = Duration::from_secs(60);

impl Faults {
    /// The database may not grow beyond this many pages, as if the disk were full; none lifts it.
    pub fn limit_pages(&self, pages: Option<u32>) {
        self.pages_max.store(pages.unwrap_or(0), Ordering::SeqCst);
    }

    /// Every commit fails with this SQLite result code, such as 10 for an I/O error; none lifts it.
    pub fn fail_commits(&self, code: Option<i32>) {
        self.commit_code.store(code.unwrap_or(0), Ordering::SeqCst);
    }

    /// From now on commits hang, as in a disk that does not answer, until [`Faults::resume_commits`].
    pub fn hang_commits(&self) {
        self.gate.set(GateState { is_shut: true, is_met: false });
    }

    /// Commits go on, those that hang first.
    pub fn resume_commits(&self) {
        self.gate.set(GateState::default());
    }

    /// Blocks until a commit hangs.
    pub fn await_hang(&self) {
        self.gate.wait_while(|state| !state.is_met);
    }
}

impl Gate {
    fn set(&self, state: GateState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.moved.notify_all();
    }

    fn wait_while(&self, condition: impl FnMut(&mut GateState) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_timeout_while(state, HANG_MAX, condition));
    }

    /// What every commit passes.
    fn pass(&self) {
        self.wait_while(|state| {
            if state.is_shut && !state.is_met {
                state.is_met = true;
                self.moved.notify_all();
            }
            state.is_shut
        });
    }
}

/// A command that ran, and what became of it so far.
struct Done {
    task: Box<dyn Task>,
    outcome: Result<(), StoreError>,
}

/// How a pass over the group ended.
enum Pass {
    /// Committed.
    Committed,
    /// A command failed after it wrote: the group must run again with savepoints.
    Again,
    /// The transaction is gone.
    Lost(rusqlite::Error),
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    /// The file that was opened. One that was moved away or replaced would be written on, and be missing afterwards.
    pub(super) file: Option<schema::Identity>,
    /// The connection that the store was opened with.
    pub(super) first: Option<Connection>,
    pub(super) queue: Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) faults: Faults,
    pub(super) clock: SharedClock,
    pub(super) wal_pages: Arc<AtomicI32>,
    /// The size of the log at which it is copied next.
    pub(super) checkpoint_at: i32,
    pub(super) pages_max: u32,
    /// Connections that broke since the disk last worked.
    pub(super) broken: u32,
    /// Since when the disk is left alone, until it may be tried again.
    pub(super) rests_since: Option<Duration>,
    /// The most that a group held which was lost since the disk last worked.
    pub(super) lost_bytes: usize,
    /// What the database refused was said already.
    pub(super) refusals: Repeats,
    /// A command that came when the rest was over.
    pub(super) waiting: Option<Box<dyn Task>>,
    /// Held as long as the thread lives.
    pub(super) _lock: schema::Lock,
    pub(super) ended: watch::Sender<bool>,
}

/// Counts the write-ahead log's pages as commits append them.
pub(super) fn watch_wal(connection: &mut Connection, pages: &Arc<AtomicI32>) -> rusqlite::Result<()> {
    let pages = Arc::clone(pages);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
        pages.store(count, Ordering::Relaxed);
        Ok(())
    }))
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.health.send_if_modified(|health| {
            let was_ready = *health == Health::Ready;
            *health = Health::Failing("the store is closed".to_owned());
            was_ready
        });
    }
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// With the same connection.
    Serve,
    /// With a new one: an error broke this one.
    Reconnect,
    /// Not at all.
    Stop,
}

impl Writer {
    /// Runs until it is told to stop or nobody is left who could ask.
    pub(super) fn run(mut self) {
        let mut next = Next::Reconnect;
        while next != Next::Stop {
            next = match self.rests() {
                Some(reason) => self.refuse_one(&reason),
                None => self.try_disk(),
            };
        }
        let ended = self.ended.clone();
        drop(self);
        ended.send_replace(true);
    }

    /// Serves until an error breaks the connection.
    fn try_disk(&mut self) -> Next {
        let connection = match self.first.take() {
            Some(first) => Ok(first),
            None => self.connect(),
        };
        match connection {
            Ok(connection) => self.work(&connection),
            Err(reason) => self.cannot_open(&reason),
        }
    }

    /// There is nothing to serve with: the disk rests, and only what breaks at work is counted.
    fn cannot_open(&mut self, reason: &str) -> Next {
        self.fail(reason);
        self.rest();
        Next::Reconnect
    }

    fn rest(&mut self) {
        self.rests_since = Some(self.clock.monotonic());
    }

    /// Serves with one connection for as long as it can be trusted.
    fn work(&mut self, connection: &Connection) -> Next {
        let mut books = match Books::open(connection) {
            Ok(books) => books,
            Err(Failure::Database(error)) => return self.cannot_open(&words::of(&error)),
            Err(Failure::Rule(error)) => return self.cannot_open(&error.to_string()),
        };
        self.pages_max = 0;
        let mut next = Next::Serve;
        while next == Next::Serve {
            next = match self.receive() {
                Ok(Message::Task(first)) => self.serve(&mut books, first),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => Next::Stop,
                Err(RecvTimeoutError::Timeout) => self.probe(&mut books),
            };
        }
        if next == Next::Stop {
            // What stays in the log is recovered when the store is opened again.
            let _ = checkpoint(connection, "TRUNCATE");
        } else {
            self.broken = self.broken.saturating_add(1);
            if self.broken >= BROKEN_AT_ONCE {
                self.rest();
            }
        }
        next
    }

    /// The next command; while the disk fails, only so long as until it is tried again.
    fn receive(&mut self) -> Result<Message, RecvTimeoutError> {
        if let Some(task) = self.waiting.take() {
            return Ok(Message::Task(task));
        }
        if self.is_failing() {
            self.queue.recv_timeout(PROBE_EVERY)
        } else {
            self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn is_failing(&self) -> bool {
        *self.shared.health.borrow() != Health::Ready
    }

    /// Why the disk is left alone for now.
    fn rests(&self) -> Option<String> {
        let since = self.clock.monotonic().saturating_sub(self.rests_since?);
        match &*self.shared.health.borrow() {
            Health::Failing(reason) if since < PROBE_EVERY => Some(reason.clone()),
            Health::Failing(_) | Health::Ready => None,
        }
    }

    /// A connection in place of one that an error broke.
    fn connect(&self) -> Result<Connection, String> {
        self.stands_in_place().map_err(|error| words::of(&error))?;
        let mut connection = schema::writer(&self.path).map_err(|error| error.to_string())?;
        watch_wal(&mut connection, &self.wal_pages).map_err(|error| words::of(&error))?;
        Ok(connection)
    }

    /// The disk rests: what comes next is refused, unless the rest is over by then.
    fn refuse_one(&mut self, reason: &str) -> Next {
        match self.receive() {
            Ok(Message::Task(task)) if self.rests().is_none() => {
                self.waiting = Some(task);
                Next::Reconnect
            }
            Ok(Message::Task(task)) => {
                self.leave_queue(task.as_ref());
                task.answer(Err(StoreError::Unavailable(reason.to_owned())));
                Next::Reconnect
            }
            Err(RecvTimeoutError::Timeout) => {
                self.rests_since = None;
                Next::Reconnect
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => Next::Stop,
        }
    }

    /// Lets others see for how long the disk has been at something.
    fn mark_busy(&self) {
        let now = i64::try_from(self.clock.monotonic().as_millis()).unwrap_or(i64::MAX);
        self.shared.busy_since.store(now, Ordering::SeqCst);
    }

    fn mark_idle(&self) {
        self.shared.busy_since.store(IDLE, Ordering::SeqCst);
    }

    /// Serves a command and all that are queued behind it.
    fn serve(&mut self, books: &mut Books<'_>, first: Box<dyn Task>) -> Next {
        self.mark_busy();
        let mut stop = false;
        let mut group = Vec::new();
        let mut pass = self.first_pass(books, first, &mut group, &mut stop);
        if matches!(pass, Pass::Again) {
            pass = self.careful_pass(books, &mut group);
        }
        let next = match pass {
            Pass::Committed => self.answer(books, group),
            Pass::Again => self.lose(group, &rusqlite::Error::InvalidQuery),
            Pass::Lost(error) => self.lose(group, &error),
        };
        if stop { Next::Stop } else { next }
    }

    /// Takes commands and runs them as they come, until the queue is empty or the group is full.
    fn first_pass(
        &mut self,
        books: &mut Books<'_>,
        first: Box<dyn Task>,
        group: &mut Vec<Done>,
        stop: &mut bool,
    ) -> Pass {
        let mut next = Some(first);
        let mut rows = 0;
        books.accounts.begin(self.clock.now());
        let mut verdict = self.begin(books).map_or_else(Pass::Lost, |()| Pass::Committed);
        let changes = books.connection.total_changes();
        while let Some(task) = next.take() {
            self.leave_queue(task.as_ref());
            rows += task.rows();
            let mut done = Done { task, outcome: Ok(()) };
            // After an error the rest of the group is still taken, so that all of it is answered.
            if matches!(verdict, Pass::Committed)
                && let Some(worse) = run_one(books, &mut done)
            {
                verdict = worse;
            }
            group.push(done);
            if rows < GROUP_ROWS_MAX {
                match self.queue.try_recv() {
                    Ok(Message::Task(task)) => next = Some(task),
                    Ok(Message::Stop) => *stop = true,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
                }
            }
        }
        self.conclude(books, verdict, changes, group.len())
    }

    /// Runs the group once more, each command under a savepoint.
    fn careful_pass(&mut self, books: &mut Books<'_>, group: &mut [Done]) -> Pass {
        if let Err(error) = self.begin(books) {
            return self.conclude(books, Pass::Lost(error), 0, 0);
        }
        let changes = books.connection.total_changes();
        let mut verdict = Pass::Committed;
        let commands = group.len();
        for done in group {
            match run_guarded(books, done) {
                Ok(None) => {}
                Ok(Some(refusal)) => self.note_refusal(books, &refusal),
                Err(error) => {
                    verdict = Pass::Lost(error);
                    break;
                }
            }
        }
        self.conclude(books, verdict, changes, commands)
    }

    /// The database refused a command: what somebody took away from it is missed by one today and by others tomorrow.
    fn note_refusal(&self, books: &Books<'_>, refusal: &str) {
        if self.refusals.are_over(refusal, self.clock.monotonic()) {
            tracing::error!(reason = refusal, "a command was refused by the database");
        }
        if let Ok(missing) = shape::missing(books.connection) {
            self.miss(&missing);
        }
    }

    /// Whether something is missing in the database, which fails then.
    fn miss(&self, missing: &[String]) -> bool {
        if missing.is_empty() {
            return false;
        }
        let missing = missing.join(", ");
        self.fail(&format!("the database lacks what omgate made in it: {missing}; stop omgate and restore a backup"));
        true
    }

    fn begin(&mut self, books: &Books<'_>) -> Result<(), rusqlite::Error> {
        self.stands_in_place()?;
        let pages_max = self.faults.pages_max.load(Ordering::Relaxed);
        if pages_max != self.pages_max {
            let pages = if pages_max == 0 { u32::MAX - 1 } else { pages_max };
            books.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            self.pages_max = pages_max;
        }
        books.command("BEGIN IMMEDIATE")
    }

    /// Whether the database file is still where it was opened.
    fn stands_in_place(&self) -> Result<(), rusqlite::Error> {
        if schema::Identity::at(&self.path) == self.file {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED), None))
    }

    /// Commits, or sees to it that nothing is left of the group.
    fn conclude(&mut self, books: &mut Books<'_>, verdict: Pass, changes_before: u64, commands: usize) -> Pass {
        let verdict = match verdict {
            Pass::Committed => match self.commit(books, changes_before, commands) {
                Ok(()) => return Pass::Committed,
                Err(error) => Pass::Lost(error),
            },
            Pass::Again | Pass::Lost(_) => verdict,
        };
        if !books.connection.is_autocommit() {
            // A failed commit leaves its transaction open. Its pages may stand in the log already, unsynced; the next
            // commit, at the latest the probe's, overwrites them.
            let _ = books.connection.execute_batch("ROLLBACK");
        }
        books.forget_group();
        verdict
    }

    fn commit(&mut self, books: &mut Books<'_>, changes_before: u64, commands: usize) -> Result<(), rusqlite::Error> {
        if mutation::active(Mutation::CountersOutsideTransaction) {
            return Self::commit_in_two(books, self.faults.commit_code.load(Ordering::Relaxed));
        }
        books.write_accounts().map_err(|failure| match failure {
            Failure::Database(error) => error,
            Failure::Rule(_) => rusqlite::Error::InvalidQuery,
        })?;
        let writes = books.connection.total_changes() != changes_before;
        if writes {
            crash::point("before-commit");
            self.faults.gate.pass();
            let code = self.faults.commit_code.load(Ordering::Relaxed);
            if code != 0 {
                return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
            }
        }
        books.command("COMMIT")?;
        if writes {
            crash::point("after-commit");
            self.count(commands);
        }
        Ok(())
    }

    /// The rows by themselves, then the counters: a fault on purpose.
    fn commit_in_two(books: &mut Books<'_>, code: i32) -> Result<(), rusqlite::Error> {
        books.command("COMMIT")?;
        if code != 0 {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        }
        books.command("BEGIN IMMEDIATE")?;
        books.write_accounts().map_err(|_| rusqlite::Error::InvalidQuery)?;
        books.command("COMMIT")
    }

    fn answer(&mut self, books: &mut Books<'_>, group: Vec<Done>) -> Next {
        // Commands that only looked prove nothing; the probe writes.
        let next = if self.is_failing() { self.probe(books) } else { Next::Serve };
        self.mark_idle();
        for done in group {
            done.task.answer(done.outcome);
        }
        self.checkpoint_when_due(books);
        next
    }

    fn checkpoint_when_due(&mut self, books: &Books<'_>) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages < CHECKPOINT_PAGES {
            self.checkpoint_at = CHECKPOINT_PAGES;
        }
        if pages < self.checkpoint_at {
            return;
        }
        // A long question keeps the log from being copied whole; trying again at every commit would only cost.
        self.checkpoint_at = pages.saturating_add(CHECKPOINT_PAGES / 4);
        self.mark_busy();
        if let Err(error) = checkpoint(books.connection, "PASSIVE") {
            tracing::warn!(reason = words::of(&error), "the write-ahead log could not be copied into the database");
        }
        self.mark_idle();
    }

    /// Counts a commit and what it held. A group that wrote nothing is none: nothing goes to the disk for it.
    fn count(&self, commands: usize) {
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        let size = u64::try_from(commands).unwrap_or(u64::MAX);
        self.shared.commands.fetch_add(size, Ordering::Relaxed);
        let bucket = COMMIT_SIZES.iter().position(|&bound| size <= bound).unwrap_or(COMMIT_SIZES.len());
        for count in self.shared.commit_sizes.iter().skip(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing of the group happened.
    fn lose(&mut self, group: Vec<Done>, error: &rusqlite::Error) -> Next {
        let reason = words::of(error);
        self.fail(&reason);
        self.mark_idle();
        self.lost_bytes = group.iter().map(|done| done.task.bytes()).sum::<usize>().max(self.lost_bytes);
        for done in group {
            let early = mutation::active(Mutation::AckBeforeCommit);
            done.task.answer(if early { Ok(()) } else { Err(StoreError::Unavailable(reason.clone())) });
        }
        after(error)
    }

    fn fail(&self, reason: &str) {
        let failing = Health::Failing(reason.to_owned());
        let changed = self.shared.health.send_if_modified(|health| {
            let changed = *health != failing;
            *health = failing;
            changed
        });
        if changed {
            tracing::error!(reason, "the store cannot write");
        }
    }

    /// Tries whether the disk works again.
    fn probe(&mut self, books: &mut Books<'_>) -> Next {
        let written = self.write_probe(books);
        if !books.connection.is_autocommit() {
            let _ = books.connection.execute_batch("ROLLBACK");
        }
        match written.and_then(|()| shape::missing(books.connection)) {
            Ok(missing) if self.miss(&missing) => Next::Serve,
            Ok(_) => {
                tracing::info!("the store can write again");
                self.shared.health.send_replace(Health::Ready);
                (self.broken, self.rests_since, self.lost_bytes) = (0, None, 0);
                Next::Serve
            }
            Err(error) => {
                self.fail(&words::of(&error));
                after(&error)
            }
        }
    }

    fn write_probe(&mut self, books: &Books<'_>) -> Result<(), rusqlite::Error> {
        self.begin(books)?;
        let bytes = i64::try_from(self.lost_bytes.clamp(PROBE_BYTES, PROBE_BYTES_MAX)).unwrap_or(i64::MAX);
        books.connection.execute("INSERT OR REPLACE INTO probe (id, filler) VALUES (1, zeroblob(?1))", [bytes])?;
        let code = self.faults.commit_code.load(Ordering::Relaxed);
        if code != 0 {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        }
        books.connection.execute_batch("COMMIT")
    }

    fn leave_queue(&self, task: &dyn Task) {
        self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        self.shared.queued_bytes.fetch_sub(task.bytes(), Ordering::Relaxed);
    }
}

/// Whether the connection can be trusted after an error.
fn after(error: &rusqlite::Error) -> Next {
    if words::reach(error) == Reach::Connection { Next::Reconnect } else { Next::Serve }
}

/// Runs a command; the verdict on the group, if it changes.
fn run_one(books: &mut Books<'_>, done: &mut Done) -> Option<Pass> {
    let changes = books.connection.total_changes();
    match done.task.run(books) {
        Ok(()) => {
            books.accounts.keep_sheet();
            None
        }
        Err(failure) => {
            books.accounts.drop_sheet();
            let clean = books.connection.total_changes() == changes && !books.connection.is_autocommit();
            match failure {
                Failure::Rule(error) if clean => {
                    done.outcome = Err(error);
                    None
                }
                Failure::Database(error) if words::reach(&error) != Reach::Command => Some(Pass::Lost(error)),
                Failure::Rule(_) | Failure::Database(_) => Some(Pass::Again),
            }
        }
    }
}

/// Runs a command under a savepoint; an error is the whole group's. What the database said when it refused it, alone.
fn run_guarded(books: &mut Books<'_>, done: &mut Done) -> Result<Option<String>, rusqlite::Error> {
    books.command("SAVEPOINT command")?;
    let mut refusal = None;
    let error = match done.task.run(books) {
        Ok(()) => {
            books.accounts.keep_sheet();
            done.outcome = Ok(());
            return books.command("RELEASE command").map(|()| None);
        }
        Err(Failure::Rule(error)) => error,
        Err(Failure::Database(error)) => {
            if words::reach(&error) != Reach::Command || books.connection.is_autocommit() {
                return Err(error);
            }
            StoreError::Refused(refusal.insert(error.to_string()).clone())
        }
    };
    done.outcome = Err(error);
    books.accounts.drop_sheet();
    books.names.forget();
    books.connection.execute_batch("ROLLBACK TO command; RELEASE command")?;
    Ok(refusal)
}

/// Copies the write-ahead log into the database.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_database_that_cannot_be_opened_rests_once_and_breaks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone.db");
        let (_queue, commands) = channel();
        let mut writer = Writer {
            file: None,
            first: None,
            queue: commands,
            shared: Arc::new(Shared::idle()),
            faults: Faults::default(),
            clock: SystemClock::shared(),
            wal_pages: Arc::default(),
            checkpoint_at: CHECKPOINT_PAGES,
            pages_max: 0,
            broken: 0,
            rests_since: None,
            lost_bytes: 0,
            refusals: Repeats::default(),
            waiting: None,
            _lock: schema::lock(&path).unwrap(),
            ended: watch::Sender::new(false),
            path,
        };
        for _ in 0..=BROKEN_AT_ONCE {
            let began = writer.clock.monotonic();
            assert_eq!(writer.try_disk(), Next::Reconnect);
            assert_eq!(writer.broken, 0);
            assert!(writer.rests_since.is_some_and(|since| since >= began), "it rests from the trial on");
            assert!(writer.is_failing());
        }
    }
}

//! What claim, settlement, accept, ledger and pruning cost behind a small and behind a large backlog, on SQLite.
//!
//! `cargo bench --bench backlog [-- --large N] [--small N] [--ops N] [--in FOLDER]`: fills a store with N waiting
//! deliveries, one to a lane, opens it anew, and measures on the writer's own thread (Linux: its CPU time and its read
//! calls, of which each is one page); the ledger's readers by all threads. With `--in` the databases are kept and used
//! again; then `--only claim|settle|accept --large N` runs one kind of operation on one of them, for an instruction
//! counter such as callgrind (`--toggle-collect='*Writer*serve*'`). With `--large 10000000` the temporary folder
//! needs some 15 GB; the memory of the process must stay within bounds whatever it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use omgate::clock::{SystemClock, Timestamp};
use omgate::store::Store;
use omgate::store::sqlite::{Options, SqliteStore};

use self::support::Outcome;
use self::support::backlog::{Cost, Measured, Size, Worker, compare, cost_line, fill, fresh, line, measure, timed};
use self::support::figures::{self, Used};
use self::support::messages::{DAY_MS, THEN, claim, envelope, settle};

mod support;

/// Commands under way at once.
const AT_ONCE: usize = 16;

struct Arguments {
    small: u64,
    large: u64,
    ops: u64,
    folder: Option<PathBuf>,
    only: Option<String>,
}

fn main() -> Outcome<()> {
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

fn arguments() -> Outcome<Arguments> {
    let mut arguments = Arguments { small: 1_000, large: 1_000_000, ops: 500, folder: None, only: None };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--small" => arguments.small = value.parse()?,
            "--large" => arguments.large = value.parse()?,
            "--ops" => arguments.ops = value.parse()?,
            "--in" => arguments.folder = Some(value.into()),
            "--only" => arguments.only = Some(value),
            _ => return Err(format!("{word} is not known: --small, --large, --ops, --in, --only").into()),
        }
    }
    Ok(arguments)
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.as_deref().unwrap_or(temporary.path());
    let size = |backlog| Size { backlog, ops: arguments.ops, at_once: AT_ONCE };
    if let Some(only) = &arguments.only {
        let store = filled(folder, size(arguments.large)).await?;
        return one_kind(&store, only, arguments.ops).await;
    }
    single_accepts(temporary.path()).await?;
    let (small, large) = (size(arguments.small), size(arguments.large));
    let pair = [OnDisk::open(folder, small).await?, OnDisk::open(folder, large).await?];
    compare([small.backlog, large.backlog], &measure(pair, large).await?, "page reads")
}

/// One store, open all the time.
struct OnDisk {
    store: Arc<SqliteStore>,
    writer: Option<PathBuf>,
    worker: Worker,
}

impl OnDisk {
    async fn open(folder: &Path, size: Size) -> Outcome<Self> {
        filled(folder, size).await?.close().await;
        let before = figures::store_threads();
        let store = filled(folder, size).await?;
        // A thread gives itself its name.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let writer = figures::store_threads().into_iter().find(|thread| !before.contains(thread));
        Ok(Self { store, writer, worker: Worker::Writer })
    }
}

impl Measured for OnDisk {
    async fn begin(&mut self, worker: Worker) -> Outcome<Arc<dyn Store>> {
        self.worker = worker;
        Ok(Arc::clone(&self.store) as Arc<dyn Store>)
    }

    fn used(&self) -> Used {
        match self.worker {
            Worker::Writer => figures::of(self.writer.as_deref()),
            Worker::Reader => figures::process(),
        }
    }

    async fn end(&mut self, _: Arc<dyn Store>) -> Outcome<Used> {
        Ok(Used::default())
    }
}

async fn one_kind(store: &SqliteStore, only: &str, ops: u64) -> Outcome<()> {
    let now = Timestamp(THEN + 12 * DAY_MS);
    match only {
        "claim" => drop(timed(ops, AT_ONCE, |_| store.claim(claim(1, now))).await?),
        "accept" => {
            let accept = |number| store.accept(envelope(fresh() + number..fresh() + number + 1, now));
            drop(timed(ops, AT_ONCE, accept).await?);
        }
        "settle" => {
            let (_, claimed) = timed(ops, AT_ONCE, |_| store.claim(claim(1, now))).await?;
            for claimed in claimed.iter().flat_map(|claims| &claims.claimed) {
                store.settle(settle(claimed, now)).await?;
            }
        }
        _ => return Err(format!("{only} is not an operation").into()),
    }
    Ok(())
}

/// What an accept costs by itself: the ratio of the CPU of the writer to the notifications it stored.
async fn single_accepts(folder: &Path) -> Outcome<()> {
    line("accept", "of", "wall µs", "cpu µs", "page reads");
    for size in [1, 10, 100] {
        let store = open(&folder.join(format!("accept-{size}.db")))?;
        let before = figures::writer();
        let accept = |number: u64| store.accept(envelope(number * size..(number + 1) * size, Timestamp(THEN)));
        let (wall, _) = timed(40_000 / size, AT_ONCE, accept).await?;
        let wall = wall / u32::try_from(size)?;
        cost_line("accept", size, Cost::each(wall, figures::writer().since(before), 40_000)?);
        store.close().await;
    }
    Ok(())
}

fn open(path: &Path) -> Outcome<Arc<SqliteStore>> {
    Ok(SqliteStore::open(Options::new(path, SystemClock::shared()))?)
}

/// A store with that many waiting deliveries, opened anew.
async fn filled(folder: &Path, size: Size) -> Outcome<Arc<SqliteStore>> {
    let path = folder.join(format!("backlog-{}.db", size.backlog));
    if !path.exists() {
        let store = open(&path)?;
        fill(&*store, size).await?;
        store.close().await;
        // What the machine has yet to write must not slow down what is measured.
        std::fs::File::open(&path)?.sync_all()?;
    }
    open(&path)
}

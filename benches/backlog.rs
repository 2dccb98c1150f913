//! What claim, settlement, accept, ledger and pruning cost behind a small and behind a large backlog, on SQLite.
//!
//! `cargo bench --bench backlog [-- --large N] [--small N] [--ops N] [--in FOLDER]`: fills a store with N waiting
//! deliveries, one to a lane, opens it anew, and measures on the writer's own thread (Linux: its CPU time and its read
//! calls, of which each is one page); the ledger's readers by all threads. With `--in` the databases are kept and used
//! again; then `--only claim|settle|accept|ledger|prune --large N` runs one kind of operation on one of them. With
//! `--large 10000000` the temporary folder needs some 15 GB; the memory of the process must stay within bounds whatever
//! it is.
//!
//! With `--count yes` it counts what does not go by the machine, with valgrind: the instructions of an operation, and
//! the pages that SQLite looks at, in its memory or not.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use omgate::clock::{SystemClock, Timestamp};
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{Prune, Retention, Store};

use self::support::Outcome;
use self::support::backlog::{
    Cost, DELIVERED, Measured, PRUNED_AT_ONCE, Size, Worker, compare, cost_line, fill, fresh, line, measure, ratio,
    timed,
};
use self::support::callgrind::{self, Count};
use self::support::figures::{self, Used};
use self::support::messages::{DAY_MS, THEN, claim, envelope, settle};

mod support;

/// Commands under way at once.
const AT_ONCE: usize = 16;
/// Operations of the runs that are counted; what the second took more is that of its operations.
const COUNTED: [u64; 2] = [100, 400];
/// The instructions that an operation may take behind the large backlog, against the small one.
const INSTRUCTIONS_MAX: f64 = 1.5;

struct Arguments {
    small: u64,
    large: u64,
    ops: u64,
    folder: Option<PathBuf>,
    only: Option<String>,
    count: bool,
}

fn main() -> Outcome<()> {
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

fn arguments() -> Outcome<Arguments> {
    let mut arguments = Arguments { small: 1_000, large: 1_000_000, ops: 500, folder: None, only: None, count: false };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--small" => arguments.small = value.parse()?,
            "--large" => arguments.large = value.parse()?,
            "--ops" => arguments.ops = value.parse()?,
            "--in" => arguments.folder = Some(value.into()),
            "--only" => arguments.only = Some(value),
            "--count" => arguments.count = value == "yes",
            _ => return Err(format!("{word} is not known: --small, --large, --ops, --in, --only, --count").into()),
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
    if arguments.count {
        return counted(folder, [arguments.small, arguments.large].map(size)).await;
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
        tokio::time::sleep(Duration::from_millis(200)).await;
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
                store.settle(settle(claimed, DELIVERED)).await?;
            }
        }
        "ledger" => drop(timed(ops, 1, |_| store.ledger()).await?),
        "prune" => {
            let (retention, limit) = (Retention::default(), PRUNED_AT_ONCE);
            let step = Prune { retention, now, limit, budget: Duration::from_secs(60) };
            drop(timed(ops / u64::try_from(limit)?, 1, |_| store.prune(step.clone())).await?);
        }
        _ => return Err(format!("{only} is not an operation").into()),
    }
    Ok(())
}

/// Counts each kind of operation behind both backlogs, and says which takes too many instructions more.
async fn counted(folder: &Path, sizes: [Size; 2]) -> Outcome<()> {
    for size in sizes {
        filled(folder, size).await?.close().await;
    }
    let mut grown = Vec::new();
    counted_line("operation", "backlog", "instructions", "pages looked at");
    for operation in ["claim", "settle", "accept", "ledger", "prune"] {
        let [small, large] = sizes.map(|size| count_of(folder, operation, size));
        let (small, large) = (small?, large?);
        for (size, count) in sizes.iter().zip([small, large]) {
            let pages = format!("{:.2}", count.pages);
            counted_line(operation, size.backlog, format!("{:.0}", count.instructions), pages);
        }
        let instructions = ratio(large.instructions, small.instructions);
        let pages = format!("{:.2}×", ratio(large.pages, small.pages));
        counted_line("", "ratio", format!("{instructions:.2}×"), pages);
        if instructions > INSTRUCTIONS_MAX {
            grown
                .push(format!("{operation}: {instructions:.2} times the instructions, {INSTRUCTIONS_MAX} are allowed"));
        }
    }
    if grown.is_empty() { Ok(()) } else { Err(grown.join("; ").into()) }
}

/// What one operation takes on a copy of that store. What is settled was claimed before, which does not count.
fn count_of(folder: &Path, operation: &str, size: Size) -> Outcome<Count> {
    let [few, many] = COUNTED.map(|ops| {
        let all = counted_run(folder, operation, size, ops)?;
        let claims = if operation == "settle" { counted_run(folder, "claim", size, ops)? } else { Count::default() };
        Ok::<_, Box<dyn std::error::Error>>(all.each_beyond(claims, 1.0))
    });
    let [least, most] = COUNTED.map(u32::try_from);
    Ok(many?.each_beyond(few?, f64::from(most? - least?)))
}

fn counted_run(folder: &Path, operation: &str, size: Size, ops: u64) -> Outcome<Count> {
    let copy = tempfile::tempdir_in(folder)?;
    let name = database(size);
    std::fs::copy(folder.join(&name), copy.path().join(&name))?;
    let arguments = |only: &str, ops: u64| {
        let place = copy.path().display();
        format!("--in {place} --only {only} --large {} --ops {ops}", size.backlog)
            .split(' ')
            .map(str::to_owned)
            .collect()
    };
    if operation == "prune" {
        let settled: Vec<String> = arguments("settle", size.ops);
        callgrind::run(&settled)?;
    }
    let counted: Vec<String> = arguments(operation, ops);
    callgrind::count(&counted, &copy.path().join("callgrind.out"))
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn counted_line(name: &str, of: impl Display, instructions: impl Display, pages: impl Display) {
    println!("{name:<10} {of:>10} {instructions:>14} {pages:>16}");
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

fn database(size: Size) -> String {
    format!("backlog-{}.db", size.backlog)
}

/// A store with that many waiting deliveries, opened anew.
async fn filled(folder: &Path, size: Size) -> Outcome<Arc<SqliteStore>> {
    let path = folder.join(database(size));
    if !path.exists() {
        let store = open(&path)?;
        fill(&*store, size).await?;
        store.close().await;
        // What the machine has yet to write must not slow down what is measured.
        std::fs::File::open(&path)?.sync_all()?;
    }
    open(&path)
}

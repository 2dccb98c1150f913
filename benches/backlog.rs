//! What a claim, a settlement and an accept cost behind a small and behind a large backlog.
//!
//! `cargo bench --bench backlog [-- --large N] [--small N] [--ops N] [--in FOLDER]`: fills a store with N waiting
//! deliveries, one to a lane, opens it anew, and measures on the writer's own thread (Linux: its CPU time and its read
//! calls, of which each is one page). With `--in` the databases are kept and used again; then
//! `--only claim|settle|accept --large N` runs one kind of operation on one of them, for an instruction counter such as
//! callgrind (`--toggle-collect='*Writer*serve*'`). With `--large 10000000` the temporary folder
//! needs some 15 GB; the memory of the process must stay within bounds whatever it is.

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join_all};
use omgate::clock::{SystemClock, Timestamp};
use omgate::delivery::{ConfigVersion, OnRevision, Planned};
use omgate::outcome::Record;
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{
    Accept, Bounds, Claim, Claimed, Incoming, IncomingKind, Settle, Settlement, Store, StoreError, StoreResult,
};

/// Commands under way at once.
const AT_ONCE: usize = 16;
/// The process may hold so much, whatever the backlog.
const MEMORY_MIB_MAX: u64 = 150;
/// When the backlog was accepted; the measurement claims later.
const THEN: i64 = 1_790_000_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Arguments {
    small: u64,
    large: u64,
    ops: u64,
    folder: Option<PathBuf>,
    only: Option<String>,
}

/// What one operation costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    reads: f64,
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
    if let Some(only) = &arguments.only {
        let store = filled(folder, arguments.large).await?;
        return one_kind(&store, only, arguments.ops).await;
    }
    single_accepts(temporary.path()).await?;
    let small = measure(folder, arguments.small, arguments.ops).await?;
    let large = measure(folder, arguments.large, arguments.ops).await?;
    line("operation", "backlog", "wall µs", "cpu µs", "page reads");
    for (name, small, large) in
        [("claim", small[0], large[0]), ("settle", small[1], large[1]), ("accept", small[2], large[2])]
    {
        cost_line(name, arguments.small, small);
        cost_line(name, arguments.large, large);
        let ratio = |large: f64, small: f64| format!("{:.2}×", large / small);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        line(
            "",
            "ratio",
            ratio(micros(large.wall), micros(small.wall)),
            ratio(micros(large.cpu), micros(small.cpu)),
            ratio(large.reads, small.reads),
        );
    }
    memory()
}

/// What the process holds in memory must not grow with the backlog.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn memory() -> Outcome<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    let Some(peak_mib) = peak.map(|kib| kib / 1_024) else { return Ok(()) };
    println!("at most {peak_mib} MiB of memory, {MEMORY_MIB_MAX} are allowed");
    if peak_mib < MEMORY_MIB_MAX { Ok(()) } else { Err(format!("{peak_mib} MiB of memory are too much").into()) }
}

fn cost_line(name: &str, backlog: u64, cost: Cost) {
    let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
    line(name, backlog, micros(cost.wall), micros(cost.cpu), format!("{:.2}", cost.reads));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn line(name: impl Display, backlog: impl Display, wall: impl Display, cpu: impl Display, reads: impl Display) {
    println!("{name:<10} {backlog:>10} {wall:>10} {cpu:>10} {reads:>10}");
}

/// Claims, settles, accepts behind a backlog.
async fn measure(folder: &Path, backlog: u64, ops: u64) -> Outcome<[Cost; 3]> {
    let store = filled(folder, backlog).await?;
    let store: &dyn Store = &*store;
    let (claim_cost, claimed) = timed(ops, |_| store.claim(claim())).await?;
    let claimed: Vec<Claimed> = claimed.into_iter().flat_map(|claims| claims.claimed).collect();
    let mut settles = claimed.iter().map(settle);
    let unclaimed = || StoreError::Refused("fewer were claimed than settled".to_owned());
    let (settle_cost, _) = timed(claimed.len() as u64, |_| match settles.next() {
        Some(settle) => store.settle(settle),
        None => Box::pin(async move { Err(unclaimed()) }),
    })
    .await?;
    let (accept_cost, _) = timed(ops, |number| store.accept(envelope(fresh() + number, 1))).await?;
    Ok([claim_cost, settle_cost, accept_cost])
}

async fn one_kind(store: &SqliteStore, only: &str, ops: u64) -> Outcome<()> {
    match only {
        "claim" => drop(timed(ops, |_| store.claim(claim())).await?),
        "accept" => drop(timed(ops, |number| store.accept(envelope(fresh() + number, 1))).await?),
        "settle" => {
            let (_, claimed) = timed(ops, |_| store.claim(claim())).await?;
            for claimed in claimed.iter().flat_map(|claims| &claims.claimed) {
                store.settle(settle(claimed)).await?;
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
        let (cost, _) = timed(40_000 / size, |number| store.accept(envelope(number * size, size))).await?;
        let each = u32::try_from(size)?;
        let cost = Cost { wall: cost.wall / each, cpu: cost.cpu / each, reads: cost.reads / f64::from(each) };
        cost_line("accept", size, cost);
        store.close().await;
    }
    Ok(())
}

/// Where the numbers of this run's notifications begin: behind the backlog's, and new in a database that is used again.
fn fresh() -> u64 {
    1_000_000_000 + u64::from(std::process::id()) * 100_000
}

fn open(path: &Path) -> Outcome<Arc<SqliteStore>> {
    Ok(SqliteStore::open(Options::new(path, SystemClock::shared()))?)
}

/// A store with that many waiting deliveries, opened anew.
async fn filled(folder: &Path, backlog: u64) -> Outcome<Arc<SqliteStore>> {
    let path = folder.join(format!("backlog-{backlog}.db"));
    if !path.exists() {
        let store = open(&path)?;
        timed(backlog.div_ceil(100), |number| store.accept(envelope(number * 100, 100))).await?;
        store.close().await;
    }
    open(&path)
}

/// Runs an operation so many times, some at once; what each cost, and what they gave.
async fn timed<'a, T>(
    times: u64,
    mut operation: impl FnMut(u64) -> BoxFuture<'a, StoreResult<T>>,
) -> Outcome<(Cost, Vec<T>)> {
    let (cpu, reads) = writer_figures();
    let started = Instant::now();
    let mut results = Vec::new();
    let numbers: Vec<u64> = (0..times).collect();
    for batch in numbers.chunks(AT_ONCE) {
        results.extend(try_join_all(batch.iter().map(|&number| operation(number))).await?);
    }
    let wall = started.elapsed();
    let (cpu_after, reads_after) = writer_figures();
    let count = u32::try_from(times.max(1))?;
    let cost = Cost {
        wall: wall / count,
        cpu: cpu_after.saturating_sub(cpu) / count,
        reads: (reads_after - reads) / f64::from(count),
    };
    Ok((cost, results))
}

/// The CPU time and the read calls of the writer's thread so far; zero where the system does not tell.
fn writer_figures() -> (Duration, f64) {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return (Duration::ZERO, 0.0) };
    // The latest thread of that name: an earlier store's may be ending.
    let mut folders: Vec<PathBuf> = threads.flatten().map(|thread| thread.path()).collect();
    folders.sort();
    let read = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let Some(folder) = folders.iter().rev().find(|folder| read(folder, "comm").starts_with("omgate-store")) else {
        return (Duration::ZERO, 0.0);
    };
    let nanos = read(folder, "schedstat").split_whitespace().next().and_then(|text| text.parse().ok());
    let io = read(folder, "io");
    let reads = io.lines().find_map(|line| line.strip_prefix("syscr: ")).and_then(|text| text.parse().ok());
    (Duration::from_nanos(nanos.unwrap_or(0)), reads.unwrap_or(0.0))
}

fn claim() -> Claim {
    Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned()],
        routes: vec!["orders".to_owned()],
        limit: 1,
        newest_first: false,
        now: Timestamp(THEN + 1_000_000_000),
        active_ms: 0,
        config_version: ConfigVersion(1),
        bounds: Bounds::default(),
    }
}

fn settle(claimed: &Claimed) -> Settle {
    Settle {
        delivery: claimed.delivery,
        lease: claimed.lease,
        ended_at: Timestamp(THEN + 1_000_000_100),
        duration: Duration::from_millis(100),
        outcome: "delivered",
        reason: String::new(),
        record: Record {
            request_line: "POST http://erp.internal:8000/orders".to_owned(),
            request: "r".repeat(900),
            status: Some(200),
            response: "a".repeat(300),
            ..Record::default()
        },
        repeat_key: None,
        excused: false,
        settlement: Settlement::Delivered,
        active_ms: 0,
        stale_mark: None,
        kept: Vec::new(),
    }
}

fn envelope(first: u64, size: u64) -> Accept {
    Accept {
        source: "order-won".to_owned(),
        received_at: Timestamp(THEN + i64::try_from(first).unwrap_or(0) / 10),
        organization_id: "00D24000000abcdEAA".to_owned(),
        organization_key: "00D24000000abcd".to_owned(),
        action_id: "04k24000000HfHaAAK".to_owned(),
        enterprise_url: "https://example.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd".to_owned(),
        partner_url: "https://example.my.salesforce.com/services/Soap/u/61.0/00D24000000abcd".to_owned(),
        sender: "10.0.0.1:50000".to_owned(),
        quarantine: None,
        config_version: ConfigVersion(1),
        revision_ignored_by: Vec::new(),
        notifications: (first..first + size).map(notification).collect(),
    }
}

fn notification(number: u64) -> Incoming {
    let record_id = format!("006{number:012}AAA");
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    Incoming {
        notification_id: format!("04l{number:012}AAA"),
        hash,
        kind: IncomingKind::Record,
        record_type: "Opportunity".to_owned(),
        xml: format!("<sObject><Id>{record_id}</Id><Name>{}</Name></sObject>", "n".repeat(250)),
        deliveries: vec![Planned {
            route: "orders".to_owned(),
            destination: "create".to_owned(),
            system: "erp".to_owned(),
            lane: Some(record_id.clone()),
            on_revision: OnRevision::Deliver,
            coalesce: None,
            after: None,
            dead: None,
        }],
        record_id,
    }
}

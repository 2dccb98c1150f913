//! What pruning costs, in a small and in a large store, and for how long it keeps others waiting.
//!
//! `cargo bench --bench prune [-- --large N] [--small N] [--in FOLDER]`: fills a store with N delivered messages of some
//! 300 bytes, and as many again that are too young, opens it anew, and prunes the old ones: what a step takes at the most,
//! what a delivery costs on the writer's own thread (Linux: CPU time and read calls), and how long an envelope waits that
//! comes meanwhile. With `--in` the filled databases are kept; each run works on a copy.

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use omgate::clock::{SystemClock, Timestamp};
use omgate::delivery::{ConfigVersion, OnRevision, Planned};
use omgate::outcome::Record;
use omgate::store::pace::{BUDGET, Pace};
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{
    Accept, Bounds, Claim, Claimed, Incoming, IncomingKind, Prune, Pruned, Retention, Settle, Settlement, Store,
};

/// When the old ones were delivered.
const THEN: i64 = 1_790_000_000_000;
const DAY_MS: i64 = 86_400_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let (mut small, mut large, mut folder) = (1_000, 100_000, None);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--small" => small = value.parse()?,
            "--large" => large = value.parse()?,
            "--in" => folder = Some(PathBuf::from(value)),
            _ => return Err(format!("{word} is not known: --small, --large, --in").into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let temporary = tempfile::tempdir()?;
        let kept = folder.as_deref().unwrap_or(temporary.path());
        line("prune", "of", "cpu µs each", "reads each", "step ms", "accept ms");
        for count in [small, large] {
            measure(kept, temporary.path(), count).await?;
        }
        Ok(())
    })
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn line(
    what: impl Display,
    of: impl Display,
    cpu: impl Display,
    reads: impl Display,
    step: impl Display,
    accept: impl Display,
) {
    println!("{what:<10} {of:>10} {cpu:>12} {reads:>12}  {step:>18} {accept:>18}");
}

async fn measure(kept: &Path, work: &Path, count: u64) -> Outcome<()> {
    let filled = kept.join(format!("delivered-{count}.db"));
    if !filled.exists() {
        fill(&filled, count).await?;
    }
    let copy = work.join(format!("copy-{count}.db"));
    std::fs::copy(&filled, &copy)?;
    let store = open(&copy)?;
    let accepts = Accepts::begin(Arc::clone(&store), 10_000_000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    line("nothing", count, "", "", "", spread(accepts.end().await));
    store.close().await;
    for (name, days) in [("payloads", 31), ("rows", 91)] {
        let store = open(&copy)?;
        // The old ones are as many days old as it takes; the young ones always a day.
        let now = Timestamp(THEN + days * DAY_MS);
        let accepts = Accepts::begin(Arc::clone(&store), u64::try_from(days)? * 100_000_000);
        let (cpu, reads) = writer_figures();
        let (pruned, steps) = prune(&store, now).await?;
        let (cpu_after, reads_after) = writer_figures();
        let accepted = accepts.end().await;
        let each = pruned.payloads.max(pruned.deliveries).max(1) as f64;
        line(
            name,
            count,
            format!("{:.1}", cpu_after.saturating_sub(cpu).as_secs_f64() * 1e6 / each),
            format!("{:.2}", (reads_after - reads) / each),
            spread(steps),
            spread(accepted),
        );
        store.close().await;
    }
    Ok(())
}

/// The median, the 99th percentile and the longest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let millis = |time: Option<&Duration>| format!("{:.1}", time.map_or(0.0, |time| time.as_secs_f64() * 1e3));
    [at(50), at(99), times.last()].map(millis).join(" ")
}

/// Prunes at the gateway's own pace, less the rests; how long each step took from the asking to the answer.
async fn prune(store: &SqliteStore, now: Timestamp) -> Outcome<(Pruned, Vec<Duration>)> {
    let (mut all, mut steps, mut pace) = (Pruned::default(), Vec::new(), Pace::default());
    while !all.done {
        let started = Instant::now();
        let retention = Retention::default();
        let prune = Prune { retention, now, limit: pace.things(), budget: BUDGET };
        all.add(&store.prune(prune).await?);
        let took = started.elapsed();
        steps.push(took);
        pace.learn(took);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((all, steps))
}

/// Envelopes that come while it is pruned.
struct Accepts {
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Accepts {
    fn begin(store: Arc<SqliteStore>, first: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            for number in first.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let started = Instant::now();
                if store.accept(envelope(number, 1, THEN + 200 * DAY_MS)).await.is_err() {
                    break;
                }
                times.push(started.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            times
        });
        Self { over, task }
    }

    async fn end(self) -> Vec<Duration> {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

fn open(path: &Path) -> Outcome<Arc<SqliteStore>> {
    Ok(SqliteStore::open(Options::new(path, SystemClock::shared()))?)
}

/// Half of it old, half of it young, all delivered.
async fn fill(path: &Path, count: u64) -> Outcome<()> {
    let store = open(path)?;
    for (first, at) in [(0, THEN), (count, THEN + 90 * DAY_MS)] {
        for batch in (first..first + count).step_by(1_000) {
            let end = (batch + 1_000).min(first + count);
            let starts: Vec<u64> = (batch..end).step_by(100).collect();
            try_join_all(starts.iter().map(|&start| store.accept(envelope(start, (end - start).min(100), at)))).await?;
            let claimed = store.claim(claim(at)).await?.claimed;
            try_join_all(claimed.iter().map(|claimed| store.settle(settle(claimed, at)))).await?;
        }
    }
    store.close().await;
    Ok(())
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

fn claim(at: i64) -> Claim {
    Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned()],
        routes: vec!["orders".to_owned()],
        limit: 1_000,
        newest_first: false,
        bounds: Bounds::default(),
        now: Timestamp(at),
        active_ms: 0,
        config_version: ConfigVersion(1),
    }
}

fn settle(claimed: &Claimed, at: i64) -> Settle {
    Settle {
        delivery: claimed.delivery,
        lease: claimed.lease,
        ended_at: Timestamp(at),
        duration: Duration::from_millis(100),
        outcome: "delivered",
        reason: String::new(),
        record: Record {
            request_line: "POST http://erp.internal:8000/orders".to_owned(),
            request: "r".repeat(300),
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

fn envelope(first: u64, size: u64, at: i64) -> Accept {
    Accept {
        source: "order-won".to_owned(),
        received_at: Timestamp(at),
        organization_id: "00D24000000abcdEAA".to_owned(),
        organization_key: "00D24000000abcd".to_owned(),
        action_id: "04k24000000HfHaAAK".to_owned(),
        enterprise_url: "https://example.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd".to_owned(),
        partner_url: String::new(),
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
        xml: format!("<sObject><Id>{record_id}</Id><Name>{}</Name></sObject>", "n".repeat(240)),
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

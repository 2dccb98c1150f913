//! What pruning costs, in a small and in a large store, and for how long it keeps others waiting.
//!
//! `cargo bench --bench prune [-- --large N] [--small N] [--in FOLDER]`: fills a store with N delivered messages of some
//! 300 bytes, and as many again that are too young, opens it anew, and prunes the old ones: what a step takes at the most,
//! what a delivery costs on the writer's own thread (Linux: CPU time and read calls), and how long an envelope waits that
//! comes meanwhile. With `--in` the filled databases are kept; each run works on a copy.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use omgate::clock::{SystemClock, Timestamp};
use omgate::store::pace::{BUDGET, Pace};
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{Prune, Pruned, Retention, Store};

use self::support::Outcome;
use self::support::figures;
use self::support::messages::{DAY_MS, THEN, claim, envelope, settle};

mod support;

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
        let before = figures::writer();
        let (pruned, steps) = prune(&store, now).await?;
        let used = figures::writer().since(before);
        let accepted = accepts.end().await;
        let each = pruned.payloads.max(pruned.deliveries).max(1) as f64;
        line(
            name,
            count,
            format!("{:.1}", used.cpu.as_secs_f64() * 1e6 / each),
            format!("{:.2}", used.pages / each),
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
                if store.accept(envelope(number..number + 1, Timestamp(THEN + 200 * DAY_MS))).await.is_err() {
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
    for (first, at) in [(0, Timestamp(THEN)), (count, Timestamp(THEN + 90 * DAY_MS))] {
        for batch in (first..first + count).step_by(1_000) {
            let end = (batch + 1_000).min(first + count);
            let starts: Vec<u64> = (batch..end).step_by(100).collect();
            let accept = |&start: &u64| store.accept(envelope(start..end.min(start + 100), at));
            try_join_all(starts.iter().map(accept)).await?;
            let claimed = store.claim(claim(1_000, at)).await?.claimed;
            try_join_all(claimed.iter().map(|claimed| store.settle(settle(claimed, at)))).await?;
        }
    }
    store.close().await;
    Ok(())
}

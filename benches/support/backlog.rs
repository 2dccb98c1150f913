//! What a store's operations cost behind a small and behind a large backlog: claim, settle, accept, ledger, prune.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join_all};
use omgate::clock::Timestamp;
use omgate::store::{Claimed, Prune, Pruned, Retention, Store, StoreError, StoreResult};

use super::Outcome;
use super::figures::{self, Used};
use super::messages::{DAY_MS, THEN, claim, envelope, settle};

/// The process may hold so much, whatever the backlog.
const MEMORY_MIB_MAX: u64 = 150;
/// What an operation may cost behind the large backlog, against the small one: in pages, and in time.
const PAGES_MAX: f64 = 1.5;
const WALL_MAX: f64 = 3.0;
/// Differences of less than a page, or of less than so much time, are noise.
const PAGES_NOISE: f64 = 1.0;
const WALL_NOISE: Duration = Duration::from_micros(200);
/// Envelopes under way at once while a store is filled.
const FILLING: usize = 16;
/// Things that a step of pruning takes.
const PRUNED_AT_ONCE: usize = 50;

/// What is measured and how much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) backlog: u64,
    /// Operations of each kind.
    pub(crate) ops: u64,
    /// Operations under way at once.
    pub(crate) at_once: usize,
}

/// Who does the work of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worker {
    Writer,
    Reader,
}

/// A store that is measured.
pub(crate) trait Measured {
    /// The store, for operations that are measured from here on.
    async fn begin(&mut self, worker: Worker) -> Outcome<Arc<dyn Store>>;
    /// What was used since the beginning.
    async fn end(&mut self, store: Arc<dyn Store>) -> Outcome<Used>;
}

/// What one operation costs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) pages: f64,
}

impl Cost {
    /// One of so many that used this in all, and took so long each.
    pub(crate) fn each(wall: Duration, used: Used, count: u64) -> Outcome<Self> {
        let count = u32::try_from(count.max(1))?;
        Ok(Self { wall, cpu: used.cpu / count, pages: used.pages / f64::from(count) })
    }
}

/// When the messages of the backlog came. Those that are measured first are old, so that they can be pruned.
fn came_at(number: u64, ops: u64) -> Timestamp {
    let old = number < ops;
    Timestamp(if old { THEN - 200 * DAY_MS } else { THEN } + i64::try_from(number / 10).unwrap_or(0))
}

/// When what is measured was delivered.
const DELIVERED: Timestamp = Timestamp(THEN - 199 * DAY_MS);
/// When it is claimed: everything is due. Nothing young is old enough to be pruned.
const NOW: Timestamp = Timestamp(THEN + 12 * DAY_MS);

/// Makes a backlog of waiting deliveries, one to a lane.
pub(crate) async fn fill(store: &dyn Store, size: Size) -> Outcome<()> {
    let starts: Vec<u64> = (0..size.ops).step_by(100).chain((size.ops..size.backlog).step_by(100)).collect();
    for batch in starts.chunks(FILLING) {
        let accepts = batch.iter().map(|&start| {
            let end = if start < size.ops { size.ops } else { size.backlog };
            store.accept(envelope(start..(start + 100).min(end), came_at(start, size.ops)))
        });
        try_join_all(accepts).await?;
    }
    Ok(())
}

/// The operations behind a backlog, each by its name.
pub(crate) async fn measure(measured: &mut impl Measured, size: Size) -> Outcome<Vec<(&'static str, Cost)>> {
    let store = measured.begin(Worker::Writer).await?;
    let (wall, claims) = timed(size.ops, size.at_once, |_| store.claim(claim(1, NOW))).await?;
    let claim = Cost::each(wall, measured.end(store).await?, size.ops)?;
    let claimed: Vec<Claimed> = claims.into_iter().flat_map(|claims| claims.claimed).collect();

    let store = measured.begin(Worker::Writer).await?;
    let mut settles = claimed.iter().map(|claimed| settle(claimed, DELIVERED));
    let unclaimed = || StoreError::Refused("fewer were claimed than settled".to_owned());
    let (wall, _) = timed(size.ops, size.at_once, |_| match settles.next() {
        Some(settle) => store.settle(settle),
        None => Box::pin(async move { Err(unclaimed()) }),
    })
    .await?;
    let settle = Cost::each(wall, measured.end(store).await?, size.ops)?;

    let store = measured.begin(Worker::Writer).await?;
    let first = fresh();
    let accept = |number| store.accept(envelope(first + number..first + number + 1, NOW));
    let (wall, _) = timed(size.ops, size.at_once, accept).await?;
    let accept = Cost::each(wall, measured.end(store).await?, size.ops)?;

    let store = measured.begin(Worker::Reader).await?;
    let (wall, _) = timed(size.ops, 1, |_| store.ledger()).await?;
    let ledger = Cost::each(wall, measured.end(store).await?, size.ops)?;

    let store = measured.begin(Worker::Writer).await?;
    let (pruned, wall) = prune(&*store).await?;
    if pruned.deliveries < size.ops {
        return Err(format!("{} deliveries were pruned, and {} were to be", pruned.deliveries, size.ops).into());
    }
    let prune = Cost::each(wall, measured.end(store).await?, pruned.deliveries)?;
    Ok(vec![("claim", claim), ("settle", settle), ("accept", accept), ("ledger", ledger), ("prune", prune)])
}

/// Prunes all that is old enough, in steps of a size that does not go by the time they take; what went, and how long one
/// delivery took, by the median of the steps.
async fn prune(store: &dyn Store) -> Outcome<(Pruned, Duration)> {
    let (mut all, mut took) = (Pruned::default(), Vec::new());
    while !all.done {
        let started = Instant::now();
        let retention = Retention::default();
        let step = Prune { retention, now: NOW, limit: PRUNED_AT_ONCE, budget: Duration::from_secs(60) };
        all.add(&store.prune(step).await?);
        took.push(started.elapsed());
    }
    let steps = u32::try_from(took.len())?;
    let each = median(took) * steps / u32::try_from(all.deliveries.max(1))?;
    Ok((all, each))
}

/// Runs an operation so many times, some at once; how long one took in the median, and what they gave.
///
/// The median, because whatever else runs on the machine makes some of them wait; what work they make is in the CPU time and
/// the pages of all of them.
pub(crate) async fn timed<'a, T>(
    times: u64,
    at_once: usize,
    mut operation: impl FnMut(u64) -> BoxFuture<'a, StoreResult<T>>,
) -> Outcome<(Duration, Vec<T>)> {
    let (mut results, mut took) = (Vec::new(), Vec::new());
    let numbers: Vec<u64> = (0..times).collect();
    for batch in numbers.chunks(at_once) {
        let started = Instant::now();
        results.extend(try_join_all(batch.iter().map(|&number| operation(number))).await?);
        took.push(started.elapsed() / u32::try_from(batch.len())?);
    }
    Ok((median(took), results))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Where the numbers of this run's notifications begin: behind the backlog's, and new in a store that is used again.
pub(crate) fn fresh() -> u64 {
    1_000_000_000 + u64::from(std::process::id()) * 100_000
}

/// Shows the costs side by side, and says what grew too much.
pub(crate) fn compare(small: (u64, &[(&str, Cost)]), large: (u64, &[(&str, Cost)]), pages: &str) -> Outcome<()> {
    let mut grown = Vec::new();
    line("operation", "backlog", "wall µs", "cpu µs", pages);
    for ((name, few), (_, many)) in small.1.iter().zip(large.1) {
        cost_line(name, small.0, *few);
        cost_line(name, large.0, *many);
        let wall = ratio(micros(many.wall), micros(few.wall));
        let touched = ratio(many.pages, few.pages);
        line("", "ratio", shown(wall), shown(ratio(micros(many.cpu), micros(few.cpu))), shown(touched));
        if touched > PAGES_MAX && many.pages - few.pages > PAGES_NOISE {
            grown.push(format!("{name}: {touched:.2} times the pages, {PAGES_MAX} are allowed"));
        }
        if wall > WALL_MAX && many.wall.saturating_sub(few.wall) > WALL_NOISE {
            grown.push(format!("{name}: {wall:.2} times the time, {WALL_MAX} are allowed"));
        }
    }
    memory()?;
    if grown.is_empty() { Ok(()) } else { Err(grown.join("; ").into()) }
}

fn ratio(large: f64, small: f64) -> f64 {
    if small == 0.0 { f64::from(large > 0.0) } else { large / small }
}

fn shown(ratio: f64) -> String {
    format!("{ratio:.2}×")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What the process holds in memory must not grow with the backlog.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn memory() -> Outcome<()> {
    let Some(peak_mib) = figures::memory_mib() else { return Ok(()) };
    println!("at most {peak_mib} MiB of memory, {MEMORY_MIB_MAX} are allowed");
    if peak_mib < MEMORY_MIB_MAX { Ok(()) } else { Err(format!("{peak_mib} MiB of memory are too much").into()) }
}

pub(crate) fn cost_line(name: &str, backlog: u64, cost: Cost) {
    let shown = |time| format!("{:.1}", micros(time));
    line(name, backlog, shown(cost.wall), shown(cost.cpu), format!("{:.2}", cost.pages));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
pub(crate) fn line(name: impl Display, of: impl Display, wall: impl Display, cpu: impl Display, pages: impl Display) {
    println!("{name:<10} {of:>10} {wall:>10} {cpu:>10} {pages:>12}");
}

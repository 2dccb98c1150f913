//! What a store's operations cost behind a small and behind a large backlog: claim, settle, accept, ledger, prune.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join_all};
use omgate::clock::Timestamp;
use omgate::store::{Claimed, Prune, Pruned, Retention, Settle, Store, StoreResult};

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
/// Turns of each kind that are not counted: until every tree was split once at its edge.
const FIRST_TURNS: usize = 8;
/// Things that a step of pruning takes.
pub(crate) const PRUNED_AT_ONCE: usize = 50;

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
    /// What was used until now, where that can be told at any moment.
    fn used(&self) -> Used;
    /// What was used since the beginning, where that is told only now.
    async fn end(&mut self, store: Arc<dyn Store>) -> Outcome<Used>;
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Claim,
    Settle,
    Accept,
    Ledger,
    Prune,
}

const OPERATIONS: [(&str, Operation); 5] = [
    ("claim", Operation::Claim),
    ("settle", Operation::Settle),
    ("accept", Operation::Accept),
    ("ledger", Operation::Ledger),
    ("prune", Operation::Prune),
];

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
pub(crate) const DELIVERED: Timestamp = Timestamp(THEN - 199 * DAY_MS);
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

/// What each operation costs behind the small and behind the large backlog.
///
/// The two take turns, a few operations each: whatever else the machine does, it does to both. The first turns of each kind
/// are not counted: they read what a store that was just opened keeps from then on, some pages more for each level of a tree.
pub(crate) async fn measure<M: Measured>(pair: [M; 2], size: Size) -> Outcome<Vec<(&'static str, [Cost; 2])>> {
    let mut sides = pair.map(Side::new);
    let mut costs = Vec::new();
    for (name, operation) in OPERATIONS {
        let at_once = if operation == Operation::Ledger { 1 } else { size.at_once };
        let numbers: Vec<u64> = (0..size.ops).collect();
        let all: Vec<&[u64]> = numbers.chunks(at_once).collect();
        let (first, others) = all.split_at(FIRST_TURNS.min(all.len() / 2));
        turns(&mut sides, operation, first, true).await?;
        let [small, large] = turns(&mut sides, operation, others, false).await?;
        costs.push((name, [small, large]));
    }
    for side in &sides {
        let pruned = side.pruned.deliveries;
        if pruned < size.ops {
            return Err(format!("{pruned} deliveries were pruned, and {} were to be", size.ops).into());
        }
    }
    Ok(costs)
}

/// What the operations of some turns cost on each side; pruning takes one step at first, and then all that there are.
async fn turns<M: Measured>(
    sides: &mut [Side<M>; 2],
    operation: Operation,
    turns: &[&[u64]],
    is_first: bool,
) -> Outcome<[Cost; 2]> {
    let worker = if operation == Operation::Ledger { Worker::Reader } else { Worker::Writer };
    for side in sides.iter_mut() {
        side.begin(worker).await?;
    }
    if operation == Operation::Prune {
        let steps = if is_first { 1 } else { usize::MAX };
        for _ in 0..steps {
            for side in sides.iter_mut().filter(|side| !side.pruned.done) {
                side.prune().await?;
            }
            if sides.iter().all(|side| side.pruned.done) {
                break;
            }
        }
    } else {
        for numbers in turns {
            for side in sides.iter_mut() {
                side.run(operation, numbers).await?;
            }
        }
    }
    let [small, large] = sides;
    Ok([small.end().await?, large.end().await?])
}

/// One of the two stores, and what its operations took.
struct Side<M> {
    measured: M,
    store: Option<Arc<dyn Store>>,
    claimed: Vec<Claimed>,
    pruned: Pruned,
    /// How long each turn took, what they used, and the operations in them.
    took: Vec<Duration>,
    used: Used,
    done: u64,
}

impl<M: Measured> Side<M> {
    fn new(measured: M) -> Self {
        let (claimed, pruned) = (Vec::new(), Pruned::default());
        Self { measured, store: None, claimed, pruned, took: Vec::new(), used: Used::default(), done: 0 }
    }

    async fn begin(&mut self, worker: Worker) -> Outcome<()> {
        self.store = Some(self.measured.begin(worker).await?);
        Ok(())
    }

    fn store(&self) -> Outcome<Arc<dyn Store>> {
        self.store.clone().ok_or_else(|| "the store is not open".into())
    }

    /// Runs some operations at once.
    async fn run(&mut self, operation: Operation, numbers: &[u64]) -> Outcome<()> {
        let store = self.store()?;
        let settles: Vec<Settle> = match operation {
            Operation::Settle => numbers
                .iter()
                .filter_map(|number| self.claimed.get(usize::try_from(*number).ok()?))
                .map(|claimed| settle(claimed, DELIVERED))
                .collect(),
            Operation::Claim | Operation::Accept | Operation::Ledger | Operation::Prune => Vec::new(),
        };
        let (before, started) = (self.measured.used(), Instant::now());
        match operation {
            Operation::Claim => {
                let claims = try_join_all(numbers.iter().map(|_| store.claim(claim(1, NOW)))).await?;
                self.claimed.extend(claims.into_iter().flat_map(|claims| claims.claimed));
            }
            Operation::Settle => drop(try_join_all(settles.into_iter().map(|settle| store.settle(settle))).await?),
            Operation::Accept => {
                let accept = |number: &u64| store.accept(envelope(fresh() + number..fresh() + number + 1, NOW));
                drop(try_join_all(numbers.iter().map(accept)).await?);
            }
            Operation::Ledger => drop(try_join_all(numbers.iter().map(|_| store.ledger())).await?),
            Operation::Prune => {}
        }
        self.note(before, started.elapsed(), u64::try_from(numbers.len())?);
        Ok(())
    }

    /// Takes a step of pruning, of a size that does not go by the time it takes.
    async fn prune(&mut self) -> Outcome<()> {
        let store = self.store()?;
        let retention = Retention::default();
        let step = Prune { retention, now: NOW, limit: PRUNED_AT_ONCE, budget: Duration::from_secs(60) };
        let (before, started) = (self.measured.used(), Instant::now());
        let pruned = store.prune(step).await?;
        self.note(before, started.elapsed(), pruned.deliveries);
        self.pruned.add(&pruned);
        Ok(())
    }

    fn note(&mut self, before: Used, took: Duration, count: u64) {
        self.used = self.used.plus(self.measured.used().since(before));
        self.took.push(took);
        self.done += count;
    }

    /// What one operation cost since the beginning.
    async fn end(&mut self) -> Outcome<Cost> {
        let Some(store) = self.store.take() else { return Err("the store is not open".into()) };
        let used = std::mem::take(&mut self.used).plus(self.measured.end(store).await?);
        let (took, done) = (std::mem::take(&mut self.took), std::mem::take(&mut self.done));
        let turns = u32::try_from(took.len())?;
        Cost::each(median(took) * turns / u32::try_from(done.max(1))?, used, done)
    }
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
pub(crate) fn compare([small, large]: [u64; 2], costs: &[(&str, [Cost; 2])], pages: &str) -> Outcome<()> {
    let mut grown = Vec::new();
    line("operation", "backlog", "wall µs", "cpu µs", pages);
    for (name, [few, many]) in costs {
        cost_line(name, small, *few);
        cost_line(name, large, *many);
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

pub(crate) fn ratio(large: f64, small: f64) -> f64 {
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

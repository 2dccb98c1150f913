//! Whole gateways simulated in fast time: the real way in and the real way out, a clock and a network in the test's hand,
//! and a store that faults. A seed makes a history; the invariants are asserted after every step of it.
//!
//! `OMGATE_SIM_SEED=n` lives through one history again, `OMGATE_SIM_SEEDS=n` through so many (500 unless said).

pub(crate) mod clock;
pub(crate) mod law;
pub(crate) mod look;
pub(crate) mod network;
pub(crate) mod scene;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod world;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use steps::Step;
use store::Ground;
use tokio::runtime::Handle;
use world::{Broken, Summary};

thread_local! {
    /// The runtime that a store works on, where it needs one: its time is the world's, not the simulation's.
    static OUTSIDE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The stores of this thread work on a runtime of their own.
pub(crate) fn work_on(outside: &Handle) {
    OUTSIDE.set(Some(outside.clone()));
}

/// Makes what a history stands on.
pub(crate) type Grounds<'a> = &'a (dyn Fn() -> Arc<dyn Ground> + Sync);

/// Waits for a future right here, and lets nothing else of the runtime run meanwhile: what a store does takes no time.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Parked(Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let outside = OUTSIDE.with_borrow(Clone::clone);
    let _outside = outside.as_ref().map(Handle::enter);
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// Lives through a history on ground of its own. A panic breaks it like any law.
pub(crate) fn live(grounds: Grounds<'_>, seed: u64, steps: &[Step]) -> Result<Summary, Broken> {
    let lived = catch_unwind(AssertUnwindSafe(|| world::live(grounds(), seed, steps)));
    lived.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(Broken { why: format!("a panic: {}", words.unwrap_or_default()), log: Vec::new() })
    })
}

/// The lowest seed below `count` whose history breaks, with what broke; every seed is lived through, by so many threads
/// as the machine has processors.
pub(crate) fn first_broken(grounds: Grounds<'_>, count: u64, heard: impl Fn(&Summary) + Sync) -> Option<(u64, Broken)> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let found: Mutex<Option<(u64, Broken)>> = Mutex::new(None);
    // A history often waits for a thread of its store: more of them than processors keep these busy. But where they are few,
    // other tests run beside them.
    let at_once = if count > 1_000 { 3 } else { 1 };
    let threads = at_once * std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= count {
                        return;
                    }
                    match live(grounds, seed, &steps::of_seed(seed)) {
                        Ok(summary) => heard(&summary),
                        Err(broken) => {
                            stop.store(true, Ordering::SeqCst);
                            let mut found = found.lock().unwrap();
                            if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                                *found = Some((seed, broken));
                            }
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// Drops steps for as long as the same still breaks, numbers aside.
fn shrunk(grounds: Grounds<'_>, seed: u64, mut steps: Vec<Step>, why: &str) -> (Vec<Step>, Broken) {
    let rule = |why: &str| why.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>();
    let started = Instant::now();
    let mut broken = None;
    let mut size = steps.len().div_ceil(2).max(1);
    loop {
        let mut place = 0;
        let mut dropped = false;
        while place < steps.len() && started.elapsed() < Duration::from_secs(60) {
            let mut fewer = steps.clone();
            fewer.drain(place..(place + size).min(steps.len()));
            match live(grounds, seed, &fewer) {
                Err(still) if rule(&still.why) == rule(why) => {
                    (steps, broken, dropped) = (fewer, Some(still), true);
                }
                Err(_) | Ok(_) => place += size,
            }
        }
        if size == 1 && !dropped || started.elapsed() >= Duration::from_secs(60) {
            break;
        }
        size = if dropped { size } else { size.div_ceil(2) }.max(1);
        if size == 1 && !dropped && steps.len() <= 1 {
            break;
        }
    }
    let broken = broken.or_else(|| live(grounds, seed, &steps).err());
    let broken = broken.unwrap_or_else(|| Broken { why: "it did not break again".to_owned(), log: Vec::new() });
    (steps, broken)
}

/// What a person needs to see of a history that breaks.
pub(crate) fn report(grounds: Grounds<'_>, seed: u64, broken: &Broken) -> String {
    let (steps, smallest) = shrunk(grounds, seed, steps::of_seed(seed), &broken.why);
    let steps: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
    format!(
        "seed {seed}: {}\nOMGATE_SIM_SEED={seed} lives through it again; the fewest steps that still break it ({}):\n{}\n\
         what happened:\n  {}\n",
        broken.why,
        smallest.why,
        steps.join("\n"),
        smallest.log.join("\n  ")
    )
}

/// A number from the environment.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

//! Histories drawn from seeds: whatever happens to a gateway, the invariants hold.

use std::sync::Mutex;
use std::time::Instant;

use crate::simulation::{self, steps, world};

#[test]
fn whatever_happens_to_a_gateway_the_invariants_hold() {
    if let Some(seed) = simulation::asked("OMGATE_SIM_SEED") {
        if let Err(broken) = simulation::live(seed, &steps::of_seed(seed)) {
            panic!("{}", simulation::report(seed, &broken));
        }
        return println!("seed {seed} holds");
    }
    let count = simulation::asked("OMGATE_SIM_SEEDS").unwrap_or(500);
    let started = Instant::now();
    let all = Mutex::new(world::Summary::default());
    let broken = simulation::first_broken(count, |summary| {
        let mut all = all.lock().unwrap();
        all.calls += summary.calls;
        all.starts += summary.starts;
        all.acked += summary.acked;
        all.delivered += summary.delivered;
        all.unknown += summary.unknown;
        for (what, times) in &summary.met {
            *all.met.entry(what.clone()).or_default() += times;
        }
    });
    if let Some((seed, broken)) = broken {
        panic!("{}", simulation::report(seed, &broken));
    }
    let all = all.into_inner().unwrap();
    println!("{count} seeds in {} s: {all:?}", started.elapsed().as_secs());
    assert!(all.met.len() >= 5 && all.unknown > 0 && all.delivered > 0, "nothing much happened: {all:?}");
}

//! Histories drawn from seeds: whatever happens to a gateway, the invariants hold, whatever store it has.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::simulation::store::{Ground, SqliteGround};
use crate::simulation::{self, Grounds, steps, world};

#[cfg(feature = "postgres")]
mod server;

#[test]
fn whatever_happens_to_a_gateway_the_invariants_hold() {
    let count = simulation::asked("OMGATE_SIM_SEEDS").unwrap_or(500);
    live_through(&|| Arc::new(SqliteGround::new()) as Arc<dyn Ground>, count);
}

#[cfg(feature = "postgres")]
#[test]
fn the_invariants_hold_over_postgresql_too() {
    // One is made before the histories: without a server there are none.
    if server::ServerGround::new().is_none() {
        return println!("skipped: there is no PostgreSQL that the test may restart");
    }
    let count = simulation::asked("OMGATE_SIM_POSTGRES_SEEDS").unwrap_or(20);
    live_through(&|| Arc::new(server::ServerGround::new().unwrap()) as Arc<dyn Ground>, count);
}

/// Lives through the histories of so many seeds, or of the one that is asked for.
fn live_through(grounds: Grounds<'_>, count: u64) {
    if let Some(seed) = simulation::asked("OMGATE_SIM_SEED") {
        if let Err(broken) = simulation::live(grounds, seed, &steps::of_seed(seed)) {
            panic!("{}", simulation::report(grounds, seed, &broken));
        }
        return println!("seed {seed} holds");
    }
    let started = Instant::now();
    let all = Mutex::new(world::Summary::default());
    let broken = simulation::first_broken(grounds, count, |summary| {
        let mut all = all.lock().unwrap();
        all.calls += summary.calls;
        all.starts += summary.starts;
        all.acked += summary.acked;
        all.delivered += summary.delivered;
        all.unknown += summary.unknown;
        all.leases_lost += summary.leases_lost;
        for (what, times) in &summary.met {
            *all.met.entry(what.clone()).or_default() += times;
        }
    });
    if let Some((seed, broken)) = broken {
        panic!("{}", simulation::report(grounds, seed, &broken));
    }
    let all = all.into_inner().unwrap();
    println!("{count} seeds in {} s: {all:?}", started.elapsed().as_secs());
    assert!(all.met.len() >= 4 && all.unknown > 0 && all.delivered > 0, "nothing much happened: {all:?}");
}

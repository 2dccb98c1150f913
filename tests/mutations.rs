//! Rules broken on purpose: the simulation finds each of them, or it proves nothing.
//!
//! `cargo test --features mutations --test mutations`. A binary of its own, because a broken rule is broken in the whole
//! process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    reason = "a test fails by panicking, prints what it found, and shares the simulation with another binary"
)]

#[path = "it"]
mod it {
    pub(crate) mod simulation;
}

use std::sync::Arc;

use it::simulation;
use it::simulation::store::{Ground, SqliteGround};
use omgate::mutation::{self, Mutation};

/// Each is found within so many histories.
const SEEDS: u64 = 500;

#[test]
fn every_rule_that_is_broken_on_purpose_is_noticed() {
    let sqlite = || Arc::new(SqliteGround::new()) as Arc<dyn Ground>;
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for broken in Mutation::ALL {
        mutation::set(Some(broken));
        match simulation::first_broken(&sqlite, SEEDS, |_| ()) {
            Some((seed, found)) => println!("{broken:?}: seed {seed}: {}", found.why),
            None => {
                println!("{broken:?}: NOT NOTICED");
                missed.push(broken);
            }
        }
    }
    mutation::set(None);
    assert!(missed.is_empty(), "the simulation does not notice {missed:?}");
}

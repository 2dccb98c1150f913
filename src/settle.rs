//! Outcome + policy + now → verdict. Pure.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::store::{Pause, Settlement};

/// How a route's deliveries to a destination are retried.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The wait after the first attempt.
    pub first: Duration,
    /// Each wait is the one before times this.
    pub factor: f64,
    /// No wait is longer (before jitter), and no Retry-After counts beyond it.
    pub wait_max: Duration,
    /// Dead after this many attempts; none: no limit.
    pub attempts_max: Option<u32>,
    /// Dead when this old, counted from the first attempt while the system is open; but never before 3 attempts.
    pub age_max: Duration,
    /// What follows an unknown outcome.
    pub unknown: OnUnknown,
    /// What happens behind a dead letter.
    pub on_dead: OnDead,
}

/// What follows an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// The same bytes go out again with the same idempotency key.
    #[default]
    Resend,
    /// A person decides.
    Hold,
}

/// What happens behind a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// The lane goes on.
    #[default]
    Continue,
    /// The lane stops until the dead letter is replayed or discarded.
    Hold,
}

/// What is known of the delivery when its attempt ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The number of the attempt that just ended, from 1.
    pub attempt: u32,
    /// Since the first attempt, counted while the system was open.
    pub age: Duration,
    /// The fault before this one and how often in a row it came.
    pub repeat: Option<(String, u32)>,
    /// Now.
    pub now: Timestamp,
    /// In 0..1; spreads the waits, which only ever grow by it.
    pub jitter: f64,
}

/// What is to be stored and done.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The delivery's new state.
    pub settlement: Settlement,
    /// Set when the whole system is to be paused.
    pub pause: Option<Pause>,
}

/// Decides.
#[must_use]
pub fn verdict(_outcome: &Outcome, _facts: &Facts, _policy: &Policy) -> Verdict {
    unimplemented!()
}

/// The verdict on a delivery of which no call can be made.
#[must_use]
pub fn unmappable(_reason: &str, _policy: &Policy) -> Verdict {
    unimplemented!()
}

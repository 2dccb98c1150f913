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

/// A delivery never dies of age before this many attempts.
const ATTEMPTS_BEFORE_AGE: u32 = 3;
/// The same fault with a detail so often in a row is no passing trouble.
const REPEATS_MAX: u32 = 12;
/// Waits grow by up to this part, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// How long a system that refused our credentials is left alone before one delivery tries again.
const PROBE_AFTER: Duration = Duration::from_secs(300);

/// Decides.
#[must_use]
pub fn verdict(outcome: &Outcome, facts: &Facts, policy: &Policy) -> Verdict {
    match outcome {
        Outcome::Delivered => only(Settlement::Delivered),
        Outcome::Refused { reason } => only(dead(format!("refused: {reason}"), policy)),
        Outcome::Retry { reason, after, repeat_key } => only(match repeats(repeat_key.as_deref(), facts) {
            count if count >= REPEATS_MAX => {
                let often = format!("the same fault came {count} times in a row");
                dead(format!("gave up, {often}, {}: {reason}", effort(facts)), policy)
            }
            _ => again(reason, *after, facts, policy),
        }),
        Outcome::Unauthorized { reason } => locked_out(reason, facts, policy),
        Outcome::Unknown { reason } => only(match policy.unknown {
            OnUnknown::Resend => again(reason, None, facts, policy),
            OnUnknown::Hold => Settlement::Held { reason: format!("it is unknown whether it was taken: {reason}") },
        }),
    }
}

/// The verdict on a delivery of which no call can be made.
#[must_use]
pub fn unmappable(reason: &str, policy: &Policy) -> Verdict {
    only(dead(format!("no call can be made: {reason}"), policy))
}

fn only(settlement: Settlement) -> Verdict {
    Verdict { settlement, pause: None }
}

fn dead(reason: String, policy: &Policy) -> Settlement {
    Settlement::Dead { reason, holds_lane: policy.on_dead == OnDead::Hold }
}

/// Again later, unless a limit is reached.
fn again(reason: &str, after: Option<Duration>, facts: &Facts, policy: &Policy) -> Settlement {
    if policy.attempts_max.is_some_and(|max| facts.attempt >= max) {
        return dead(format!("gave up {}, the most that max_attempts allows: {reason}", effort(facts)), policy);
    }
    if facts.attempt >= ATTEMPTS_BEFORE_AGE && facts.age >= policy.age_max {
        return dead(format!("gave up {}, longer than max_age allows: {reason}", effort(facts)), policy);
    }
    Settlement::Waiting { due_at: facts.now.plus(wait(after, facts, policy)) }
}

/// The wait before the next attempt: exponential, or what the destination asked for if that is longer; never more than
/// the longest wait; then spread upwards.
fn wait(after: Option<Duration>, facts: &Facts, policy: &Policy) -> Duration {
    let longest = policy.wait_max.as_secs_f64();
    let factor = if policy.factor.is_finite() { policy.factor.max(1.0) } else { 1.0 };
    let exponent = i32::try_from(facts.attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    // NaN (a first wait of nothing, times infinity) is no wait: f64::min would take the other side.
    let grown = policy.first.as_secs_f64() * factor.powi(exponent);
    let grown = if grown.is_nan() { 0.0 } else { grown };
    let asked = after.unwrap_or_default().as_secs_f64();
    let jitter = if facts.jitter.is_finite() { facts.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let seconds = grown.max(asked).min(longest) * (1.0 + JITTER * jitter);
    Duration::try_from_secs_f64(seconds).unwrap_or(policy.wait_max)
}

/// Credentials were refused: no fault of this delivery, so no limit kills it. It is due when the system is probed.
fn locked_out(reason: &str, facts: &Facts, policy: &Policy) -> Verdict {
    let probe_at = facts.now.plus(PROBE_AFTER);
    Verdict {
        settlement: Settlement::Waiting { due_at: facts.now.plus(PROBE_AFTER.min(policy.wait_max)) },
        pause: Some(Pause { reason: reason.to_owned(), since: facts.now, probe_at: Some(probe_at) }),
    }
}

/// How often in a row this fault has come, this time included; 0 when it is none that counts.
fn repeats(key: Option<&str>, facts: &Facts) -> u32 {
    match (key, &facts.repeat) {
        (None, _) => 0,
        (Some(key), Some((before, count))) if before == key => count.saturating_add(1),
        (Some(_), _) => 1,
    }
}

fn effort(facts: &Facts) -> String {
    let attempts = if facts.attempt == 1 { "attempt" } else { "attempts" };
    format!("after {} {attempts} in {}", facts.attempt, span(facts.age))
}

/// A span of time in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{} ms", time.as_millis()),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, _, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

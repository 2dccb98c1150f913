//! Pruning at a pace that leaves the writer to others.

use std::time::Duration;

use crate::clock::SharedClock;
use crate::store::{Prune, Pruned, Retention, Store, StoreResult};

/// How long a step may work. What it began when the time is up is ended, and the commit comes on top: together they stay
/// far below the 50 ms for which nobody should have to wait.
pub const BUDGET: Duration = Duration::from_millis(5);
/// A step that takes longer than this from end to end is followed by smaller ones.
const SLOW: Duration = Duration::from_millis(15);
/// A step that takes less is followed by larger ones.
const FAST: Duration = Duration::from_millis(5);
/// The smallest and the largest step, in things.
const THINGS: (usize, usize) = (2, 500);
/// Between two steps the writer is free for so many times as long as the step took, and at most so long.
const REST_SHARE: u32 = 3;
const REST_MAX: Duration = Duration::from_secs(2);

/// Who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Envelopes come and deliveries go: they go first.
    Others,
    /// Nobody: the gateway does not run.
    Nobody,
}

/// How large the next step may be: learned from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In things.
    things: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { things: 20 }
    }
}

impl Pace {
    /// How many things the next step looks at.
    #[must_use]
    pub fn things(self) -> usize {
        self.things
    }

    /// Learns how long a step took, from the asking to the answer: who waited long must not make others wait.
    pub fn learn(&mut self, took: Duration) {
        let (least, most) = THINGS;
        let next = if took > SLOW {
            self.things / 4
        } else if took < FAST {
            self.things.saturating_mul(2)
        } else {
            self.things
        };
        self.things = next.clamp(least, most);
    }
}

/// Prunes until nothing is left to do, or until `patience` is over; what was taken away.
///
/// # Errors
/// When the store does not take a step; what was done before stays done.
pub async fn prune(
    store: &dyn Store,
    retention: &Retention,
    clock: &SharedClock,
    company: Company,
    patience: Duration,
) -> StoreResult<Pruned> {
    let begun = clock.monotonic();
    let mut pace = Pace::default();
    let mut pruned = Pruned::default();
    loop {
        let started = clock.monotonic();
        let step = Prune { retention: retention.clone(), now: clock.now(), limit: pace.things(), budget: BUDGET };
        pruned.add(&store.prune(step).await?);
        let ended = clock.monotonic();
        if pruned.done || ended.saturating_sub(begun) >= patience {
            return Ok(pruned);
        }
        let took = ended.saturating_sub(started);
        pace.learn(took);
        match company {
            Company::Others => {
                tokio::time::sleep(took.saturating_mul(REST_SHARE).clamp(Duration::from_millis(1), REST_MAX)).await;
            }
            Company::Nobody => tokio::task::yield_now().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_steps_are_followed_by_smaller_ones_and_fast_ones_by_larger_ones() {
        let mut pace = Pace::default();
        for (took_ms, things) in [(1, 40), (4, 80), (10, 80), (16, 20), (300, 5), (300, 2), (300, 2), (1, 4)] {
            pace.learn(Duration::from_millis(took_ms));
            assert_eq!(pace.things(), things, "after {took_ms} ms");
        }
        for _ in 0..20 {
            pace.learn(Duration::ZERO);
        }
        assert_eq!(pace.things(), 500);
    }
}

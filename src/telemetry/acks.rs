//! How fast Salesforce was answered lately: buckets of their own, for the metrics' histogram cannot be read back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::SECONDS;

const BUCKETS: usize = SECONDS.len() + 1;
/// How many marks are remembered: so far back reaches what counts as lately.
const MARKS: usize = 5;

/// Counts answers by how long they took.
#[derive(Debug, Default)]
pub struct AckTimes {
    buckets: [AtomicU64; BUCKETS],
    marks: Mutex<VecDeque<AckCounts>>,
}

/// How many answers took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckCounts([u64; BUCKETS]);

impl AckTimes {
    pub(super) fn observe(&self, seconds: f64) {
        let place = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All since the start.
    #[must_use]
    pub fn all(&self) -> AckCounts {
        let mut counts = AckCounts::default();
        for (count, bucket) in counts.0.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        counts
    }

    /// A minute is over: to be said once a minute.
    pub fn mark(&self) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKS {
            marks.pop_front();
        }
        marks.push_back(self.all());
    }

    /// Those of the last five minutes.
    #[must_use]
    pub fn lately(&self) -> AckCounts {
        let before = self.marks.lock().unwrap_or_else(PoisonError::into_inner).front().copied().unwrap_or_default();
        self.all().since(&before)
    }
}

impl AckCounts {
    /// Those that came after others.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.0.iter_mut().zip(before.0) {
            *count = count.saturating_sub(before);
        }
        since
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How long so many of a hundred took at most, in milliseconds, within the width of a bucket; none when there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody counts so many answers that it matters")]
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let wanted = self.count() as f64 * percent / 100.0;
        let mut below = 0.0;
        let mut low = 0.0;
        for (place, count) in self.0.iter().enumerate() {
            // What is beyond all bounds is told as the last of them.
            let high = SECONDS.get(place).or(SECONDS.last()).copied().unwrap_or(low);
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some((low + (high - low) * ((wanted - below) / count)) * 1_000.0);
            }
            below += count;
            low = high;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_in_the_bucket_of_those_that_took_so_long() {
        let times = AckTimes::default();
        assert_eq!(times.lately().percentile_ms(99.0), None);
        for _ in 0..98 {
            times.observe(0.003);
        }
        times.observe(0.2);
        times.observe(100.0);
        let within = |percent, low: f64, high: f64| {
            let found = times.lately().percentile_ms(percent).unwrap();
            assert!((low..=high).contains(&found), "{percent}: {found}");
        };
        within(50.0, 2.5, 5.0);
        within(99.0, 100.0, 250.0);
        within(100.0, 30_000.0, 60_000.0);
        assert_eq!(times.all().count(), 100);
    }

    #[test]
    fn what_was_answered_before_the_last_five_minutes_does_not_count() {
        let times = AckTimes::default();
        times.observe(0.2);
        times.mark();
        times.observe(0.003);
        assert_eq!(times.lately().count(), 1);
        for _ in 0..MARKS {
            times.mark();
        }
        assert_eq!((times.lately().count(), times.all().count()), (0, 2));
    }
}

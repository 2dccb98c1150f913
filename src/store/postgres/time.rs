//! The database's clock: the one clock of all gateways that work on it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SharedClock, Timestamp};

/// The database's time, told by this machine's monotonic clock since it was last asked. However this machine's own wall
/// clock stands or jumps, it does no harm.
pub(super) struct DatabaseClock {
    machine: SharedClock,
    /// What the monotonic clock is behind the database's, in milliseconds.
    ahead_ms: AtomicI64,
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl DatabaseClock {
    /// A clock that was not set yet shows the machine's time.
    pub(super) fn new(machine: SharedClock) -> Self {
        let ahead_ms = machine.now().0.saturating_sub(milliseconds(machine.monotonic()));
        Self { machine, ahead_ms: AtomicI64::new(ahead_ms) }
    }

    /// The database said `told`, somewhere between two moments of the monotonic clock; how far that is from what it would
    /// have said if nobody had set its clock.
    pub(super) fn set(&self, asked: Duration, told: Timestamp, answered: Duration) -> Duration {
        let middle = asked + answered.saturating_sub(asked) / 2;
        let ahead_ms = told.0.saturating_sub(milliseconds(middle));
        let before_ms = self.ahead_ms.swap(ahead_ms, Ordering::Relaxed);
        Duration::from_millis(ahead_ms.abs_diff(before_ms))
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp(milliseconds(self.machine.monotonic()).saturating_add(ahead_ms))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Machine;

    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            Timestamp(1_000_000)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(500)
        }
    }

    #[test]
    fn the_databases_time_stands_above_the_machines() {
        let clock = DatabaseClock::new(Arc::new(Machine));
        assert_eq!(clock.now(), Timestamp(1_000_000));
        let asked = |told| clock.set(Duration::from_millis(100), Timestamp(told), Duration::from_millis(300));
        asked(5_000_000);
        assert_eq!(clock.now(), Timestamp(5_000_300), "told at 200, now it is 500");
        assert_eq!(asked(5_000_000), Duration::ZERO);
        assert_eq!(asked(8_600_000), Duration::from_hours(1));
        assert_eq!(asked(5_000_000), Duration::from_hours(1));
    }
}

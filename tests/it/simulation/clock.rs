//! Time that passes when the simulation says so.

use std::sync::Mutex;
use std::time::Duration;

use omgate::clock::{Clock, Timestamp};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

/// When every simulation begins: a Thursday in November.
pub(crate) const BEGINNING: i64 = 1_795_680_000_000;

/// Both clocks of a machine. While a gateway runs, its runtime's paused time drives them; between, they are moved by hand.
#[derive(Default)]
pub(crate) struct Time(Mutex<Moment>);

#[derive(Default)]
struct Moment {
    /// Monotonic, as last seen.
    passed: Duration,
    /// Which runtime it is, its time at its start, and ours.
    since: Option<(Id, Instant, Duration)>,
    /// How far the wall clock was set.
    set_ms: i64,
}

impl Time {
    /// A runtime begins; called within it.
    pub(crate) fn begin(&self) {
        let mut moment = self.0.lock().unwrap();
        moment.since = Some((Handle::current().id(), Instant::now(), moment.passed));
    }

    /// The runtime is over.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap().since = None;
    }

    /// Time passes while nothing runs.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.lock().unwrap().passed += time;
    }

    /// The wall clock is set.
    pub(crate) fn set(&self, by_ms: i64) {
        self.0.lock().unwrap().set_ms += by_ms;
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.monotonic().as_millis()).unwrap();
        Timestamp(BEGINNING + passed + self.0.lock().unwrap().set_ms)
    }

    /// Threads beside the runtime, and other runtimes, such as the store's, see the moment that the runtime saw last.
    fn monotonic(&self) -> Duration {
        let mut moment = self.0.lock().unwrap();
        if let Some((runtime, started, before)) = moment.since
            && Handle::try_current().is_ok_and(|current| current.id() == runtime)
        {
            moment.passed = before + Instant::now().saturating_duration_since(started);
        }
        moment.passed
    }
}

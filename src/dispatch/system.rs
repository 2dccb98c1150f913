//! One system's runner: claims no more than it has free slots, and only while the system may be called.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock::Timestamp;
use crate::dispatch::attempt::{After, Attempts};
use crate::dispatch::{Plan, Rate, Stop, System};
use crate::settle::PROBE_AFTER;
use crate::store::{Claim, Claims, Pause, StoreError, StoreResult, SystemState};

/// Even when nothing wakes it, a runner looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After the store failed, a runner waits this long.
const STORE_FAILED: Duration = Duration::from_secs(1);

/// What one step of a runner came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Calls were begun: there may be more to do at once.
    Begun,
    /// Nothing to do before this long, unless woken.
    Idle(Duration),
}

/// Runs one system.
pub(crate) struct Runner {
    name: String,
    settings: System,
    destinations: Vec<String>,
    routes: Vec<String>,
    attempts: Arc<Attempts>,
    slots: Arc<Semaphore>,
    awake: Notify,
    gate: Mutex<Gate>,
}

/// Whether, and how fast, the system may be called.
struct Gate {
    paused: Option<Pause>,
    probing: bool,
    active_ms_base: i64,
    /// Monotonic; none while paused.
    open_since: Option<Duration>,
    bucket: Option<Bucket>,
}

/// A token bucket with little burst: a rate holds over any second, not just on average.
struct Bucket {
    per_call: Duration,
    burst: u32,
    /// Monotonic: when the next call would be on time.
    next: Duration,
}

impl Bucket {
    /// A twentieth of a second's calls may go at once, so that timers of a millisecond do not lower the rate.
    fn new(rate: Rate) -> Self {
        let per_call = rate.per / rate.calls.max(1);
        let burst = (Duration::from_millis(50).as_nanos() / per_call.as_nanos().max(1)).clamp(1, 1_000);
        Self { per_call, burst: u32::try_from(burst).unwrap_or(1), next: Duration::ZERO }
    }

    /// How many calls may go now, at most `wanted`; or how long to wait for one.
    fn ready(&self, now: Duration, wanted: usize) -> Result<usize, Duration> {
        let earliest = now.saturating_sub(self.per_call * self.burst.saturating_sub(1));
        let next = self.next.max(earliest);
        if next > now {
            return Err(next - now);
        }
        let ready = 1 + (now - next).as_nanos() / self.per_call.as_nanos().max(1);
        Ok(usize::try_from(ready).unwrap_or(usize::MAX).min(wanted))
    }

    fn take(&mut self, now: Duration, calls: usize) {
        let earliest = now.saturating_sub(self.per_call * self.burst.saturating_sub(1));
        self.next = self.next.max(earliest) + self.per_call * u32::try_from(calls).unwrap_or(u32::MAX);
    }
}

impl Runner {
    /// A runner in the state that the store remembers.
    pub(crate) fn new(name: &str, settings: &System, plan: &Plan, state: SystemState, attempts: Arc<Attempts>) -> Self {
        let destinations: Vec<String> =
            plan.destinations.values().filter(|known| known.system == name).map(|known| known.name.clone()).collect();
        let routes = plan
            .routes
            .values()
            .filter(|route| destinations.contains(&route.destination))
            .map(|route| route.name.clone())
            .collect();
        let paused = if settings.paused && state.paused.is_none() {
            Some(Pause {
                reason: "paused in the configuration".to_owned(),
                since: attempts.clock.now(),
                probe_at: None,
            })
        } else {
            state.paused
        };
        let open_since = paused.is_none().then(|| attempts.clock.monotonic());
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            destinations,
            routes,
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            awake: Notify::new(),
            gate: Mutex::new(Gate {
                paused,
                probing: false,
                active_ms_base: state.active_ms,
                open_since,
                bucket: settings.rate.map(Bucket::new),
            }),
            attempts,
        }
    }

    pub(crate) fn wake(&self) {
        self.awake.notify_one();
    }

    /// Something new is due. Who is paused or has no free slot need not hear of it: he looks by himself when that ends,
    /// and waking a thread for nothing costs more than accepting an envelope does.
    pub(crate) fn hear_of_work(&self) {
        if self.slots.available_permits() > 0 && self.gate().paused.is_none() {
            self.wake();
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut stop = self.attempts.stop.clone();
        while *stop.borrow() == Stop::No {
            let Step::Idle(wait) = self.step().await else {
                continue;
            };
            tokio::select! {
                () = self.awake.notified() => {}
                () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Claims what may be called now and begins the calls.
    async fn step(self: &Arc<Self>) -> Step {
        let limit = match self.limit() {
            Ok(limit) => limit,
            Err(wait) => return Step::Idle(wait),
        };
        let now = self.attempts.clock.now();
        match self.claim(limit, now).await {
            Ok(claims) if claims.claimed.is_empty() => {
                self.gate().probing = false;
                Step::Idle(claims.next_due.map_or(LOOK_AGAIN, |due| due.since(now)))
            }
            Ok(claims) => {
                let (full, next_due) = (claims.claimed.len() >= limit, claims.next_due);
                self.begin(claims);
                if full { Step::Begun } else { Step::Idle(next_due.map_or(LOOK_AGAIN, |due| due.since(now))) }
            }
            Err(error) => {
                self.gate().probing = false;
                tracing::debug!(system = self.name, %error, "nothing could be claimed");
                Step::Idle(STORE_FAILED)
            }
        }
    }

    /// How many calls may begin now; or how long to wait. Marks a probe of a paused system.
    fn limit(&self) -> Result<usize, Duration> {
        let free = self.slots.available_permits();
        if free == 0 {
            return Err(LOOK_AGAIN);
        }
        let monotonic = self.attempts.clock.monotonic();
        let mut gate = self.gate();
        let probing = gate.probing;
        let wanted = match &mut gate.paused {
            None => free,
            Some(Pause { probe_at: Some(at), .. }) if !probing => {
                let now = self.attempts.clock.now();
                // A wall clock that was set back must not put the probe off.
                *at = (*at).min(now.plus(PROBE_AFTER));
                let wait = at.since(now);
                if wait > Duration::ZERO {
                    return Err(wait);
                }
                gate.probing = true;
                1
            }
            Some(_) => return Err(LOOK_AGAIN),
        };
        match &gate.bucket {
            None => Ok(wanted),
            Some(bucket) => bucket.ready(monotonic, wanted).inspect_err(|_| gate.probing = false),
        }
    }

    async fn claim(&self, limit: usize, now: Timestamp) -> StoreResult<Claims> {
        let claim = Claim {
            system: self.name.clone(),
            destinations: self.destinations.clone(),
            routes: self.routes.clone(),
            limit,
            now,
            active_ms: self.active_ms(),
            config_version: self.attempts.config_version,
        };
        self.attempts.store.claim(claim).await
    }

    fn begin(self: &Arc<Self>, claims: Claims) {
        let monotonic = self.attempts.clock.monotonic();
        if let Some(bucket) = &mut self.gate().bucket {
            bucket.take(monotonic, claims.claimed.len());
        }
        for claimed in claims.claimed {
            // The claim was no larger than the free slots, and only this task takes any.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                tracing::error!(system = self.name, delivery = %claimed.delivery, "no slot for a claimed delivery");
                continue;
            };
            let runner = Arc::clone(self);
            tokio::spawn(async move { runner.attempt(claimed, slot).await });
        }
    }

    async fn attempt(self: Arc<Self>, claimed: crate::store::Claimed, slot: OwnedSemaphorePermit) {
        let (delivery, lease) = (claimed.delivery, claimed.lease);
        let run = AssertUnwindSafe(self.attempts.run(claimed, || self.active_ms())).catch_unwind();
        let after = match run.await {
            Ok(after) => after,
            Err(_) => self.attempts.give_up(delivery, lease, self.active_ms()).await,
        };
        self.follow(after).await;
        drop(slot);
        self.wake();
    }

    /// What an attempt means for the system as a whole.
    async fn follow(&self, after: After) {
        let probing = self.gate().probing;
        let done = match after {
            After::Pause(pause) => self.pause(pause).await,
            After::Answered if probing => self.resume().await,
            // A probe that got no answer says nothing of the credentials.
            After::Silent if probing => self.probe_later().await,
            After::Answered | After::Silent | After::NoCall => {
                self.gate().probing = false;
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::warn!(system = self.name, %error, "the system's state could not be stored");
        }
    }

    async fn pause(&self, pause: Pause) -> StoreResult<()> {
        self.attempts.alarms.raise("paused", &self.name, &format!("{}; its deliveries wait", pause.reason));
        {
            let mut gate = self.gate();
            gate.active_ms_base = gate.active_ms(self.attempts.clock.monotonic());
            gate.open_since = None;
            gate.probing = false;
            // A person's pause is not softened by what calls under way bring home.
            if gate.paused.as_ref().is_none_or(|standing| standing.probe_at.is_some()) {
                let since = gate.paused.as_ref().map_or(pause.since, |standing| standing.since);
                gate.paused = Some(Pause { since, ..pause });
            }
        }
        self.keep().await
    }

    async fn probe_later(&self) -> StoreResult<()> {
        {
            let mut gate = self.gate();
            gate.probing = false;
            let now = self.attempts.clock.now();
            if let Some(Pause { probe_at: Some(at), .. }) = &mut gate.paused {
                *at = now.plus(PROBE_AFTER);
            }
        }
        self.keep().await
    }

    pub(crate) async fn pause_by_person(&self, reason: &str) -> StoreResult<()> {
        self.gate().paused = None;
        self.pause(Pause { reason: reason.to_owned(), since: self.attempts.clock.now(), probe_at: None }).await
    }

    pub(crate) async fn resume(&self) -> StoreResult<()> {
        {
            let mut gate = self.gate();
            gate.paused = None;
            gate.probing = false;
            if gate.open_since.is_none() {
                gate.open_since = Some(self.attempts.clock.monotonic());
            }
        }
        self.attempts.alarms.clear("paused", &self.name);
        self.wake();
        self.keep().await
    }

    async fn keep(&self) -> StoreResult<()> {
        match self.attempts.store.set_system(self.name.clone(), self.state()).await {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }

    pub(crate) fn state(&self) -> SystemState {
        let gate = self.gate();
        SystemState { active_ms: gate.active_ms(self.attempts.clock.monotonic()), paused: gate.paused.clone() }
    }

    fn active_ms(&self) -> i64 {
        self.gate().active_ms(self.attempts.clock.monotonic())
    }

    /// Resolves when no call is under way.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX);
        // Fails only when the semaphore is closed, which it never is.
        drop(self.slots.acquire_many(all).await);
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn active_ms(&self, monotonic: Duration) -> i64 {
        let open = self.open_since.map_or(Duration::ZERO, |since| monotonic.saturating_sub(since));
        self.active_ms_base.saturating_add(i64::try_from(open.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_over_any_second() {
        let mut bucket = Bucket::new(Rate { calls: 20, per: Duration::from_secs(1) });
        let mut begun = Vec::new();
        for ms in 0..3_000_u64 {
            let now = Duration::from_secs(100) + Duration::from_millis(ms);
            if let Ok(calls) = bucket.ready(now, 8) {
                bucket.take(now, calls);
                begun.extend(std::iter::repeat_n(ms, calls));
            }
        }
        assert!((58..=61).contains(&begun.len()), "{}", begun.len());
        for window in begun.windows(22) {
            assert!(window[21] - window[0] >= 1_000, "{window:?}");
        }
    }

    #[test]
    fn a_high_rate_is_reached_with_coarse_timers() {
        let mut bucket = Bucket::new(Rate { calls: 1_000, per: Duration::from_secs(1) });
        let mut begun = 0;
        for step in 0..500_u64 {
            let now = Duration::from_secs(1) + Duration::from_millis(2 * step);
            if let Ok(calls) = bucket.ready(now, 100) {
                bucket.take(now, calls);
                begun += calls;
            }
        }
        assert!((950..=1_060).contains(&begun), "{begun}");
    }
}

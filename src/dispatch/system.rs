//! One system's runner: claims no more than it has free slots, and only while the system may be called.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock::{SharedClock, Timestamp};
use crate::delivery::DeliveryId;
use crate::dispatch::attempt::{After, Attempts};
use crate::dispatch::gate::{Gate, Moment};
use crate::dispatch::{Plan, Stop, System};
use crate::store::{Claim, Claims, Pause, StoreError, StoreResult, SystemState};
use crate::why::Shut;

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
    concurrency: usize,
    destinations: Vec<String>,
    routes: Vec<String>,
    attempts: Arc<Attempts>,
    slots: Arc<Semaphore>,
    awake: Notify,
    gate: Mutex<Gate>,
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
        let gate = Gate::new(settings, state, moment(&attempts.clock));
        Self {
            name: name.to_owned(),
            concurrency: settings.concurrency,
            destinations,
            routes,
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            awake: Notify::new(),
            gate: Mutex::new(gate),
            attempts,
        }
    }

    pub(crate) fn wake(&self) {
        self.awake.notify_one();
    }

    /// Something new is due. Who is paused or has no free slot need not hear of it: he looks by himself when that ends,
    /// and waking a thread for nothing costs more than accepting an envelope does.
    pub(crate) fn hear_of_work(&self) {
        if self.slots.available_permits() > 0 && !self.gate().is_shut(self.moment()) {
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
        let now = self.moment();
        self.pass_time(now).await;
        let admitted = self.gate().admit(self.slots.available_permits(), now);
        let limit = match admitted {
            Ok(limit) => limit,
            Err(shut) => return Step::Idle(shut.wait(now.wall).unwrap_or(LOOK_AGAIN)),
        };
        match self.claim(limit, now.wall).await {
            Ok(claims) if claims.claimed.is_empty() => {
                self.gate().no_probe();
                Step::Idle(claims.next_due.map_or(LOOK_AGAIN, |due| due.since(now.wall)))
            }
            Ok(claims) => {
                let (full, next_due) = (claims.claimed.len() >= limit, claims.next_due);
                self.begin(claims);
                if full { Step::Begun } else { Step::Idle(next_due.map_or(LOOK_AGAIN, |due| due.since(now.wall))) }
            }
            Err(error) => {
                self.gate().no_probe();
                tracing::debug!(system = self.name, %error, "nothing could be claimed");
                Step::Idle(STORE_FAILED)
            }
        }
    }

    /// Ends a pause whose time is over.
    async fn pass_time(&self, now: Moment) {
        if !self.gate().pass_time(now) {
            return;
        }
        tracing::info!(system = self.name, "the time of its pause is over");
        self.attempts.alarms.clear("paused", &self.name);
        self.keep_or_warn().await;
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
            bounds: crate::store::Bounds::default(),
        };
        self.attempts.store.claim(claim).await
    }

    fn begin(self: &Arc<Self>, claims: Claims) {
        // A look-up before a call is a call too.
        let calls: usize = claims.claimed.iter().map(|claimed| 1 + usize::from(self.attempts.looks_up(claimed))).sum();
        self.gate().begin(calls, self.moment());
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
        self.follow(delivery, after).await;
        drop(slot);
        self.wake();
    }

    /// What an attempt means for the system as a whole.
    async fn follow(&self, delivery: DeliveryId, after: After) {
        let now = self.moment();
        match after {
            After::NoCall => self.gate().no_probe(),
            After::Pause(pause) => {
                self.alarm_pause(&pause.reason);
                self.gate().pause(pause, now);
                self.keep_or_warn().await;
            }
            After::Ended { answered, sign } => {
                let changed = self.gate().hear(&sign, answered, delivery, now);
                if changed {
                    self.alarm(&self.state());
                    self.keep_or_warn().await;
                }
            }
        }
    }

    /// Begins or ends the alarms of a state that changed.
    fn alarm(&self, state: &SystemState) {
        if state.paused.is_none() {
            self.attempts.alarms.clear("paused", &self.name);
        }
        match &state.breaker {
            Some(outage) => {
                let message = format!("{}; it is left alone, and its deliveries wait", outage.reason);
                self.attempts.alarms.raise("breaker", &self.name, &message);
            }
            None => self.attempts.alarms.clear("breaker", &self.name),
        }
    }

    fn alarm_pause(&self, reason: &str) {
        self.attempts.alarms.raise("paused", &self.name, &format!("{reason}; its deliveries wait"));
    }

    pub(crate) async fn pause_by_person(&self, reason: &str, until: Option<Timestamp>) -> StoreResult<()> {
        let now = self.moment();
        self.alarm_pause(reason);
        self.gate().pause_by_person(Pause { until, ..Pause::new(reason, now.wall) }, now);
        self.wake();
        self.keep().await
    }

    pub(crate) async fn resume(&self) -> StoreResult<()> {
        self.gate().resume(self.moment());
        self.alarm(&self.state());
        self.wake();
        self.keep().await
    }

    async fn keep_or_warn(&self) {
        if let Err(error) = self.keep().await {
            tracing::warn!(system = self.name, %error, "the system's state could not be stored");
        }
    }

    async fn keep(&self) -> StoreResult<()> {
        match self.attempts.store.set_system(self.name.clone(), self.state()).await {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }

    pub(crate) fn state(&self) -> SystemState {
        self.gate().state(self.moment())
    }

    /// Why it is not called now, if so.
    pub(crate) fn shut(&self) -> Option<Shut> {
        self.gate().look(self.slots.available_permits(), self.moment()).err()
    }

    fn active_ms(&self) -> i64 {
        self.gate().active_ms(self.attempts.clock.monotonic())
    }

    fn moment(&self) -> Moment {
        moment(&self.attempts.clock)
    }

    /// Resolves when no call is under way.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.concurrency).unwrap_or(u32::MAX);
        // Fails only when the semaphore is closed, which it never is.
        drop(self.slots.acquire_many(all).await);
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment(clock: &SharedClock) -> Moment {
    Moment { wall: clock.now(), monotonic: clock.monotonic() }
}

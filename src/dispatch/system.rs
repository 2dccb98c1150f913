//! One system's runner: claims no more than it has free slots, and only while the system may be called.
//!
//! It outlives the plan that began it: another plan gives it another course, and everything that it knows of the system
//! (pause, outage, open time, calls under way) stays.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::clock::{SharedClock, Timestamp};
use crate::delivery::{DeliveryId, Lease};
use crate::dispatch::attempt::{self, After, Attempts, Hold};
use crate::dispatch::gate::{Gate, Moment};
use crate::dispatch::slots::{Slot, Slots};
use crate::dispatch::{InForce, Note, Remembered, Route, Stop, System};
use crate::store::{Bounds, Claim, Claims, Pause, StoreError, StoreResult, SystemState};
use crate::why::Shut;

/// Even when nothing wakes it, a runner looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After the store failed, a runner waits this long.
const STORE_FAILED: Duration = Duration::from_secs(1);
/// So many claims that the store refuses, in a row, are an alarm.
const REFUSED_MIN: u32 = 3;
/// A lease holds for the longest that a call may take, and this long beyond.
const LEASE_BEYOND: Duration = Duration::from_secs(15);
/// While a call runs, its lease is renewed this often.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// What one step of a runner came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Calls were begun: there may be more to do at once.
    Begun,
    /// Nothing to do before this long, unless woken.
    Idle(Duration),
}

/// What a runner goes by: the plan in force, and what of it belongs to its system.
pub(crate) struct Course {
    in_force: Arc<InForce>,
    destinations: Vec<String>,
    routes: Vec<String>,
    concurrency: usize,
    /// The longest that one of its calls may take.
    call_max: Duration,
    /// Routes whose resends are looked up first.
    looked_up: Vec<String>,
}

impl Course {
    /// A system's part of a plan; nothing when the plan does not have it.
    pub(crate) fn new(system: &str, in_force: &Arc<InForce>) -> Self {
        let plan = &in_force.plan;
        let of_system = plan.destinations.values().filter(|known| known.system == system);
        let destinations: Vec<String> = of_system.map(|known| known.name.clone()).collect();
        let leads_here = |destination: &String| destinations.contains(destination);
        let of_it = || plan.routes.values().filter(|route| leads_here(&route.destination));
        let lookup = |route: &Arc<Route>| route.lookup.as_ref().map(|lookup| lookup.mapping.timeout);
        let call_max = of_it().map(|route| route.mapping.timeout.max(lookup(route).unwrap_or_default())).max();
        let looked_up = of_it().filter(|route| route.lookup.is_some()).map(|route| route.name.clone()).collect();
        let routes = of_it().map(|route| route.name.clone()).collect();
        let concurrency = plan.systems.get(system).map_or(usize::MAX, |settings| settings.concurrency);
        let call_max = call_max.unwrap_or_default();
        Self { in_force: Arc::clone(in_force), destinations, routes, concurrency, call_max, looked_up }
    }

    /// How long a lease holds, where it runs out.
    fn lease(&self) -> Duration {
        self.call_max + LEASE_BEYOND
    }
}

/// Runs one system.
pub(crate) struct Runner {
    name: String,
    attempts: Arc<Attempts>,
    course: ArcSwap<Course>,
    slots: Arc<Slots>,
    awake: Notify,
    gate: Mutex<Gate>,
    /// A step is under way: it may have claimed what no slot shows yet.
    stepping: AtomicBool,
    ended: AtomicBool,
    /// What the store is known to keep of the system; locked while something is written.
    kept: tokio::sync::Mutex<SystemState>,
    /// How often a person paused or resumed it.
    wishes: AtomicU64,
    /// What a person wanted is not stored yet.
    owes: AtomicBool,
    /// Claims in a row that the store refused.
    refused: AtomicU32,
}

impl Runner {
    /// A runner in the state that the store remembers.
    pub(crate) fn new(
        name: &str,
        settings: &System,
        course: Course,
        remembered: Remembered,
        attempts: Arc<Attempts>,
    ) -> Self {
        let kept = tokio::sync::Mutex::new(remembered.state.clone());
        let gate = Gate::new(settings, remembered, moment(&attempts.clock));
        Self {
            name: name.to_owned(),
            course: ArcSwap::from_pointee(course),
            slots: Slots::new(settings.concurrency),
            awake: Notify::new(),
            gate: Mutex::new(gate),
            stepping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            kept,
            wishes: AtomicU64::new(0),
            owes: AtomicBool::new(false),
            refused: AtomicU32::new(0),
            attempts,
        }
    }

    /// Goes by another plan and other settings from now on; whether what the store keeps of the system changed.
    pub(crate) fn reconfigure(&self, settings: &System, course: Course) -> bool {
        self.slots.resize(settings.concurrency);
        let changed = self.gate().reconfigure(settings, self.moment());
        self.course.store(Arc::new(course));
        if changed {
            self.announce();
        }
        self.wake();
        changed
    }

    /// The plan in force does not have the system any more: nothing is claimed, and no time counts.
    pub(crate) fn set_aside(&self, course: Course) {
        self.course.store(Arc::new(course));
        self.gate().set_aside(self.moment());
        self.attempts.alarms.clear("paused", &self.name);
        self.attempts.alarms.clear("breaker", &self.name);
        self.refused.store(0, Ordering::Relaxed);
        self.attempts.alarms.clear("store", &self.refusals());
    }

    /// Begins the alarms of the state that the system is in.
    pub(crate) fn announce(&self) {
        let state = self.state();
        if let Some(pause) = &state.paused {
            self.alarm_pause(&pause.reason);
        }
        self.alarm(&state);
    }

    /// Whether no call is under way and none is about to be.
    pub(crate) fn is_idle(&self) -> bool {
        !self.stepping.load(Ordering::SeqCst) && self.slots.is_idle()
    }

    /// Runs no longer.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.awake.notify_one();
    }

    /// Something new is due. Who is paused or has no free slot need not hear of it: he looks by himself when that ends,
    /// and waking a thread for nothing costs more than accepting an envelope does.
    pub(crate) fn hear_of_work(&self) {
        if self.slots.free() > 0 && !self.gate().is_shut(self.moment()) {
            self.wake();
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut stop = self.attempts.stop.clone();
        while *stop.borrow() == Stop::No && !self.ended.load(Ordering::SeqCst) {
            self.stepping.store(true, Ordering::SeqCst);
            let step = self.step().await;
            self.stepping.store(false, Ordering::SeqCst);
            let Step::Idle(wait) = step else {
                continue;
            };
            tokio::select! {
                biased;
                // Whoever wakes it is rarely alone: what was settled in one commit ends one after the other, and one claim
                // for all of it costs one commit.
                () = self.awake.notified() => tokio::task::yield_now().await,
                () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Claims what may be called now and begins the calls.
    async fn step(self: &Arc<Self>) -> Step {
        let now = self.moment();
        self.pass_time(now).await;
        let admitted = self.gate().admit(self.slots.free(), now);
        let limit = match admitted {
            Ok(limit) => limit.min(self.slots.part()),
            Err(shut) => return Step::Idle(shut.wait(now.wall).unwrap_or(LOOK_AGAIN)),
        };
        let course = self.course.load_full();
        let claims = self.claim(&course, limit, now.wall).await;
        self.note_claim(claims.as_ref().err());
        match claims {
            Ok(claims) if claims.claimed.is_empty() => {
                self.gate().no_probe();
                self.learn(claims.state.as_ref());
                Step::Idle(claims.next_due.map_or(LOOK_AGAIN, |due| due.since(now.wall)))
            }
            Ok(claims) => {
                let (full, next_due) = (claims.claimed.len() >= limit, claims.next_due);
                self.learn(claims.state.as_ref());
                self.begin(claims, &course, now);
                if full { Step::Begun } else { Step::Idle(next_due.map_or(LOOK_AGAIN, |due| due.since(now.wall))) }
            }
            Err(error) => {
                self.gate().no_probe();
                tracing::debug!(system = self.name, %error, "nothing could be claimed");
                Step::Idle(STORE_FAILED)
            }
        }
    }

    /// A store that refuses to give anything out, whatever it is asked, is an alarm.
    fn note_claim(&self, error: Option<&StoreError>) {
        match error {
            Some(StoreError::Refused(reason)) => {
                if self.refused.fetch_add(1, Ordering::Relaxed) + 1 == REFUSED_MIN {
                    let message =
                        format!("nothing is sent: the database refuses it: {reason}; omgate store verify may say why");
                    self.attempts.alarms.raise("store", &self.refusals(), &message);
                }
            }
            Some(_) => {}
            None => {
                if self.refused.swap(0, Ordering::Relaxed) >= REFUSED_MIN {
                    self.attempts.alarms.clear("store", &self.refusals());
                }
            }
        }
    }

    /// What the alarm about them is about. A source may be called as a system is.
    fn refusals(&self) -> String {
        format!("system {}", self.name)
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

    async fn claim(&self, course: &Course, limit: usize, now: Timestamp) -> StoreResult<Claims> {
        // Apart: the guard of a temporary would live through the whole claim.
        let newest_first = self.gate().probes_newest();
        let claim = Claim {
            system: self.name.clone(),
            destinations: course.destinations.clone(),
            routes: course.routes.clone(),
            limit,
            now,
            active_ms: self.active_ms(),
            config_version: course.in_force.version,
            newest_first,
            bounds: self.bounds(course),
        };
        self.attempts.store.claim(claim).await
    }

    fn bounds(&self, course: &Course) -> Bounds {
        let gate = self.gate();
        if !self.attempts.shared {
            return Bounds { rate: gate.pace(), looked_up: course.looked_up.clone(), ..Bounds::default() };
        }
        Bounds {
            lease: course.lease(),
            concurrency: course.concurrency,
            rate: gate.pace(),
            looked_up: course.looked_up.clone(),
            probe: gate.is_probing(),
            probe_within: gate.probe_within(),
        }
    }

    /// Takes over what another gateway made of the system, unless something of this one is on its way to the store.
    fn learn(&self, standing: Option<&SystemState>) {
        let (Some(standing), Ok(mut kept)) = (standing, self.kept.try_lock()) else { return };
        let now = self.moment();
        self.gate().raise_active(standing.active_ms, now);
        if kept.paused == standing.paused && kept.breaker == standing.breaker {
            return;
        }
        tracing::info!(system = self.name, "another gateway changed its state");
        self.adopt(&mut kept, standing, now);
    }

    fn adopt(&self, kept: &mut SystemState, standing: &SystemState, now: Moment) {
        kept.clone_from(standing);
        self.gate().adopt(standing, now);
        self.alarm(standing);
        if let Some(pause) = &standing.paused {
            self.alarm_pause(&pause.reason);
        }
        self.wake();
    }

    /// Another gateway says that it changed the system's state.
    pub(crate) async fn hear_of_change(&self) {
        match self.attempts.store.system(self.name.clone()).await {
            Ok(standing) => self.learn(Some(&standing)),
            Err(error) => tracing::debug!(system = self.name, %error, "its state could not be read"),
        }
    }

    /// Anything may have happened elsewhere.
    pub(crate) async fn look(&self) {
        // Who claims learns of the state by that.
        if self.gate().is_shut(self.moment()) {
            self.hear_of_change().await;
        }
        self.hear_of_work();
    }

    fn begin(self: &Arc<Self>, claims: Claims, course: &Course, asked: Moment) {
        let in_force = &course.in_force;
        // A look-up before a call is a call too.
        let looks_up = |claimed| usize::from(attempt::looks_up(&in_force.plan, claimed));
        let calls: usize = claims.claimed.iter().map(|claimed| 1 + looks_up(claimed)).sum();
        self.gate().begin(calls, self.moment());
        self.gate().sent(claims.claimed.iter().map(|claimed| claimed.delivery));
        for claimed in claims.claimed {
            let (runner, in_force, slot) = (Arc::clone(self), Arc::clone(in_force), self.slots.take());
            let hold = Hold { asked, lease: course.lease() };
            tokio::spawn(async move { runner.attempt(claimed, &in_force, slot, hold).await });
        }
    }

    async fn attempt(self: Arc<Self>, claimed: crate::store::Claimed, in_force: &InForce, slot: Slot, hold: Hold) {
        let (delivery, lease, route) = (claimed.delivery, claimed.lease, claimed.route.clone());
        let lockouts_alone = self.gate().lockouts_alone(delivery);
        // Where others share the store it counts calls by what is settled.
        let handed_over = || {
            if !self.attempts.shared && !self.gate().is_probing() {
                slot.settle();
                self.wake();
            }
        };
        // Some seven kilobytes, which are moved from hand to hand otherwise.
        let run =
            Box::pin(self.attempts.run(claimed, in_force, lockouts_alone, || self.active_ms(), handed_over, &hold));
        let run = AssertUnwindSafe(run).catch_unwind();
        let ended = if self.attempts.shared { self.renewing(delivery, lease, run).await } else { run.await };
        let after = match ended {
            Ok(after) => after,
            Err(_) => self.attempts.give_up(delivery, lease, self.active_ms()).await,
        };
        self.follow(delivery, after).await;
        self.attempts.wake_after(&route);
        drop(slot);
        self.wake();
    }

    /// Keeps the lease while a call runs.
    async fn renewing<T>(&self, delivery: DeliveryId, lease: Lease, run: impl Future<Output = T>) -> T {
        let mut run = std::pin::pin!(run);
        let mut is_ours = true;
        loop {
            tokio::select! {
                ended = &mut run => return ended,
                () = tokio::time::sleep(RENEW_EVERY), if is_ours => {}
            }
            match self.attempts.store.renew(vec![(delivery, lease)], self.course.load().lease()).await {
                Ok(lost) if lost.is_empty() => {}
                Ok(_) => {
                    is_ours = false;
                    tracing::warn!(%delivery, "its lease ran out: another gateway counts the call as unknown");
                }
                Err(error) => tracing::debug!(%delivery, %error, "its lease could not be renewed"),
            }
        }
    }

    /// What an attempt means for the system as a whole.
    async fn follow(&self, delivery: DeliveryId, after: After) {
        let now = self.moment();
        let was_probing = self.gate().is_probing();
        self.draw_conclusions(delivery, after, now).await;
        // The others wait for the end of a probe, whatever came of it.
        if was_probing && self.attempts.shared {
            self.keep_or_warn().await;
        }
    }

    async fn draw_conclusions(&self, delivery: DeliveryId, after: After, now: Moment) {
        match after {
            After::NoCall => self.gate().no_call(delivery),
            After::Pause(pause) => {
                self.alarm_pause(&pause.reason);
                self.gate().pause_for(delivery, pause, now);
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
                self.attempts.alarms.restate("breaker", &self.name, &message);
            }
            None => self.attempts.alarms.clear("breaker", &self.name),
        }
    }

    fn alarm_pause(&self, reason: &str) {
        self.attempts.alarms.restate("paused", &self.name, &format!("{reason}; its deliveries wait"));
    }

    pub(crate) async fn pause_by_person(
        self: &Arc<Self>,
        reason: &str,
        until: Option<Timestamp>,
        note: Option<Note<'_>>,
    ) -> StoreResult<bool> {
        let now = self.moment();
        let pause = Pause { until, ..Pause::new(reason, now.wall) };
        self.alarm_pause(reason);
        self.wish(|gate| gate.pause_by_person(pause.clone(), now), note).await
    }

    pub(crate) async fn resume(self: &Arc<Self>, note: Option<Note<'_>>) -> StoreResult<bool> {
        self.wish(|gate| gate.resume(self.moment()), note).await
    }

    /// What a person wants counts at once, whatever is being written; and again behind that, which may have brought what
    /// another gateway wanted, unless a person wanted something else meanwhile. Whether its note is in the audit log.
    async fn wish(self: &Arc<Self>, turn: impl Fn(&mut Gate), note: Option<Note<'_>>) -> StoreResult<bool> {
        let number = {
            let mut gate = self.gate();
            turn(&mut gate);
            self.wishes.fetch_add(1, Ordering::SeqCst) + 1
        };
        self.wake();
        let mut kept = self.kept.lock().await;
        {
            let mut gate = self.gate();
            if self.wishes.load(Ordering::SeqCst) == number {
                turn(&mut gate);
            }
        }
        self.alarm(&self.state());
        self.wake();
        let error = match self.insist(&mut kept, note).await {
            Ok(is_noted) => return Ok(is_noted),
            Err(error) => error,
        };
        drop(kept);
        let StoreError::Unavailable(reason) = error else { return Err(error) };
        // Whoever is at it already writes this too.
        if !self.owes.swap(true, Ordering::SeqCst) {
            tokio::spawn(Arc::clone(self).pay());
        }
        let counts = "it counts from now on, and is stored as soon as the store can write again; if this gateway stops before \
                      that, it is undone";
        Err(StoreError::Unavailable(format!("{counts}: {reason}")))
    }

    /// Writes what a person wants, whatever stands, and the note of it with it. Whether the audit log has that: a log that
    /// takes no entry keeps no system from being paused.
    async fn insist(&self, kept: &mut SystemState, note: Option<Note<'_>>) -> StoreResult<bool> {
        let state = self.state();
        let deed = note.map(|note| note(&state));
        let write = |deed| self.attempts.store.set_system(self.name.clone(), state.clone(), deed);
        let is_noted = deed.is_some();
        let written = match write(deed).await {
            Err(StoreError::Refused(_)) if is_noted => write(None).await.map(|()| false),
            written => written.map(|()| is_noted),
        };
        match written {
            Ok(is_noted) => {
                *kept = state;
                Ok(is_noted)
            }
            Err(StoreError::Closed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes what a person wanted while the store could not, as soon as it can.
    async fn pay(self: Arc<Self>) {
        while !self.ended.load(Ordering::SeqCst) {
            tokio::time::sleep(STORE_FAILED).await;
            let mut kept = self.kept.lock().await;
            match self.insist(&mut kept, None).await {
                Ok(_) => {
                    self.owes.store(false, Ordering::SeqCst);
                    return tracing::info!(system = self.name, "what a person wants of it is stored");
                }
                Err(error) => tracing::debug!(system = self.name, %error, "what a person wants is not stored yet"),
            }
        }
    }

    pub(crate) async fn keep_or_warn(&self) {
        if let Err(error) = self.keep().await {
            tracing::warn!(system = self.name, %error, "the system's state could not be stored");
        }
    }

    /// Writes what calls and time made of the state, unless another gateway changed it meanwhile: then that stands.
    async fn keep(&self) -> StoreResult<()> {
        let mut kept = self.kept.lock().await;
        let state = self.state();
        let standing = match self.attempts.store.turn_system(self.name.clone(), kept.clone(), state.clone()).await {
            Ok(standing) => standing,
            Err(StoreError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        if standing.paused == state.paused && standing.breaker == state.breaker {
            *kept = standing;
        } else {
            self.adopt(&mut kept, &standing, self.moment());
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> SystemState {
        self.gate().state(self.moment())
    }

    /// Why it is not called now, if so.
    pub(crate) fn shut(&self) -> Option<Shut> {
        self.gate().look(self.slots.free(), self.moment()).err()
    }

    /// Why it does not go on as it should, if so.
    pub(crate) fn standing(&self) -> Option<Shut> {
        self.gate().standing(self.slots.free(), self.moment())
    }

    fn active_ms(&self) -> i64 {
        self.gate().active_ms(self.attempts.clock.monotonic())
    }

    fn moment(&self) -> Moment {
        moment(&self.attempts.clock)
    }

    /// Resolves when no call is under way.
    pub(crate) async fn idle(&self) {
        self.slots.idle().await;
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment(clock: &SharedClock) -> Moment {
    Moment { wall: clock.now(), monotonic: clock.monotonic() }
}

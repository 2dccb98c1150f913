//! The driver of the way out: store → map → deliver → settle → store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{SharedClock, Timestamp};
use crate::deliver::keep::Keep;
use crate::deliver::tls::Dated;
use crate::deliver::{self, Transport, classify, tls};
use crate::delivery::{ConfigVersion, State};
use crate::dispatch::attempt::Attempts;
use crate::dispatch::calendar::Calendar;
use crate::dispatch::lookup::Lookup;
use crate::dispatch::system::{Course, Runner};
use crate::envelope::RecordTypes;
use crate::map::Mapping;
use crate::secret::Mask;
use crate::settle::{OnDead, Policy};
use crate::store::{Deed, DeliveryView, Signal, Store, StoreError, StoreResult, StoredConfig, SystemState};
use crate::telemetry::{Alarms, Metrics, Traces};
use crate::why::Shut;

/// What the audit log is to say of a system's new state.
pub type Note<'a> = &'a (dyn Fn(&SystemState) -> Deed + Sync);

mod attempt;
pub mod breaker;
pub mod calendar;
mod gate;
pub mod lookup;
mod rehearse;
mod slots;
mod system;

pub(crate) use attempt::subject_of;
pub use rehearse::{Rehearsal, Rehearsed};

/// All that is needed to make calls under one configuration.
#[derive(Debug, Default)]
pub struct Plan {
    /// By name.
    pub systems: HashMap<String, System>,
    /// By name.
    pub destinations: HashMap<String, Arc<Destination>>,
    /// By name.
    pub routes: HashMap<String, Arc<Route>>,
    /// Takes secrets out of what is kept and shown.
    pub mask: Mask,
}

/// What belongs to a system as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// Calls at once.
    pub concurrency: usize,
    /// Calls per time, if limited.
    pub rate: Option<Rate>,
    /// How many of them may go at once after a quiet time; none: next to none.
    pub burst: Option<u32>,
    /// When it may be called; none: always.
    pub calendar: Option<Calendar>,
    /// When it is left alone because too much fails; none: never.
    pub breaker: Option<breaker::Settings>,
    /// Over how long the calls at once grow back to all after an outage; none: at once.
    pub warm_up: Option<Duration>,
    /// Paused by the configuration.
    pub paused: bool,
    /// The longest wait of any of its retries: due times never lie further ahead.
    pub wait_max: Duration,
}

/// So many calls in so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many.
    pub calls: u32,
    /// In how long.
    pub per: Duration,
}

/// What belongs to a destination.
#[derive(Debug)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Its system's name.
    pub system: String,
    /// The connection.
    pub target: deliver::Target,
    /// Its own rules for answers.
    pub rules: classify::Rules,
    /// What is kept of the answer to what was delivered.
    pub keep: Vec<Keep>,
}

/// What belongs to a route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Its destination's name.
    pub destination: String,
    /// How its calls are made.
    pub mapping: Mapping,
    /// How its deliveries are retried.
    pub policy: Policy,
    /// How it finds out whether a message arrived, after an unknown outcome.
    pub lookup: Option<Lookup>,
    /// The field whose value tells newer from older.
    pub stale_by: Option<String>,
    /// The route that it comes after.
    pub after: Option<String>,
    /// The declared fields of its source.
    pub record_types: Option<Arc<RecordTypes>>,
    /// The systems that may have something to do when a delivery of it is settled: those of the routes that come after it.
    pub wakes: Vec<String>,
}

/// Makes a plan of a stored configuration; none when that cannot be done any more.
pub type Recall = Box<dyn Fn(&StoredConfig) -> Option<Arc<Plan>> + Send + Sync>;

/// What the dispatch needs.
pub struct Parts {
    /// Where deliveries come from and go back to.
    pub store: Arc<dyn Store>,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// Its version.
    pub config_version: ConfigVersion,
    /// Makes older plans, for calls that must go out again byte for byte.
    pub recall: Recall,
    /// What carries the calls.
    pub transport: Arc<dyn Transport>,
    /// Time.
    pub clock: SharedClock,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Alarms.
    pub alarms: Arc<Alarms>,
    /// What traces attempts.
    pub traces: Arc<Traces>,
}

/// How far the dispatch has been told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// Nothing new is claimed; calls under way go on.
    Draining,
    /// Calls under way are cut.
    Cut,
}

/// The plan that new claims go by, and its version. Calls under way keep the one that they began with.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) plan: Arc<Plan>,
    pub(crate) version: ConfigVersion,
}

/// How systems stand in the store, by name.
pub type States = HashMap<String, Remembered>;

/// How a system stands that has no runner yet.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    state: SystemState,
    /// A person resumed it after the configuration had paused it.
    was_resumed: bool,
}

impl From<SystemState> for Remembered {
    fn from(state: SystemState) -> Self {
        Self { state, was_resumed: false }
    }
}

/// Whether the plan in force serves a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It has its route.
    pub has_route: bool,
    /// It has its destination.
    pub has_destination: bool,
    /// The system that its route or destination belongs to now, when that is another.
    pub moved_to: Option<String>,
}

impl Known {
    /// Whether it is claimed at all.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.has_route && self.has_destination && self.moved_to.is_none()
    }
}

/// The running way out: one runner per system, so that none waits for another.
pub struct Dispatch {
    attempts: Arc<Attempts>,
    running: ArcSwap<Running>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<Stop>,
}

/// What runs: the plan, and a runner for each of its systems. Those of systems that are gone stay while calls are under
/// way, so that a system that comes back does not get more calls at once than it allows.
struct Running {
    in_force: Arc<InForce>,
    runners: HashMap<String, Arc<Runner>>,
}

impl Dispatch {
    /// Starts a runner for each system of the plan.
    ///
    /// # Errors
    /// When the store cannot tell the systems' states.
    pub async fn start(parts: Parts) -> StoreResult<Arc<Self>> {
        Self::start_after(parts, &HashSet::new()).await
    }

    /// The same where the plan in force before paused these systems, and a person resumed them: they stay so.
    ///
    /// # Errors
    /// When the store cannot tell the systems' states.
    pub async fn start_after(parts: Parts, resumed: &HashSet<String>) -> StoreResult<Arc<Self>> {
        let (stop, stopped) = watch::channel(Stop::No);
        let Parts { plan, config_version: version, .. } = &parts;
        let in_force = Arc::new(InForce { plan: Arc::default(), version: *version });
        let (plan, version) = (Arc::clone(plan), *version);
        let dispatch = Self {
            attempts: Arc::new(Attempts::new(parts, stopped)),
            running: ArcSwap::from_pointee(Running { in_force, runners: HashMap::new() }),
            tasks: Mutex::new(Vec::new()),
            stop,
        };
        let mut states = dispatch.states(&plan).await?;
        for (name, remembered) in &mut states {
            remembered.was_resumed = resumed.contains(name);
        }
        dispatch.adopt(plan, version, states).keep().await;
        Ok(Arc::new(dispatch))
    }

    /// How the systems of a plan stand that have no runner yet: what [`Dispatch::adopt`] must know of them.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn states(&self, plan: &Plan) -> StoreResult<States> {
        let running = self.running.load_full();
        let mut states = States::new();
        for name in plan.systems.keys().filter(|name| !running.runners.contains_key(*name)) {
            states.insert(name.clone(), self.attempts.store.system(name.clone()).await?.into());
        }
        Ok(states)
    }

    /// From now on this plan is in force: new claims go by it, and calls under way end by the one they began with. What
    /// changed of systems by that is to be kept then.
    pub fn adopt(&self, plan: Arc<Plan>, version: ConfigVersion, mut states: States) -> Adopted {
        let before = self.running.load_full();
        let in_force = Arc::new(InForce { plan, version });
        let mut runners = HashMap::new();
        let mut changed = Vec::new();
        // In the order of their names: a simulation must find the same order again.
        let mut systems: Vec<_> = in_force.plan.systems.iter().collect();
        systems.sort_by_key(|(name, _)| *name);
        for (name, settings) in systems {
            let course = Course::new(name, &in_force);
            let runner = match before.runners.get(name) {
                Some(runner) => {
                    if runner.reconfigure(settings, course) {
                        changed.push(Arc::clone(runner));
                    }
                    Arc::clone(runner)
                }
                None => self.begin(name, settings, course, states.remove(name).unwrap_or_default()),
            };
            runners.insert(name.clone(), runner);
        }
        for (name, runner) in before.runners.iter().filter(|(name, _)| !in_force.plan.systems.contains_key(*name)) {
            if before.in_force.plan.systems.contains_key(name) {
                runner.set_aside(Course::new(name, &in_force));
                changed.push(Arc::clone(runner));
            } else if runner.is_idle() {
                runner.end();
                continue;
            }
            runners.insert(name.clone(), Arc::clone(runner));
        }
        self.warn_of_connections(&before.in_force.plan, &in_force.plan);
        self.attempts.meet(&in_force.plan, &runners);
        self.running.store(Arc::new(Running { in_force, runners }));
        Adopted { attempts: Arc::clone(&self.attempts), changed }
    }

    /// A destination whose connection is dangerous is an alarm for as long as it is.
    fn warn_of_connections(&self, before: &Plan, plan: &Plan) {
        for (name, alarm) in before.destinations.keys().flat_map(|name| tls::ALARMS.map(|alarm| (name, alarm))) {
            let now = plan.destinations.get(name).map(|destination| destination.target.alarms()).unwrap_or_default();
            if !now.iter().any(|(standing, _)| *standing == alarm) {
                self.attempts.alarms.clear(alarm, name);
            }
        }
        for (name, destination) in &plan.destinations {
            for (alarm, message) in destination.target.alarms() {
                self.attempts.alarms.restate(alarm, name, message);
            }
        }
    }

    /// The certificates that calls depend on, with the destinations in the order of their names.
    pub fn certificates(&self) -> Vec<(String, Dated)> {
        let running = self.running.load();
        let mut destinations: Vec<_> = running.in_force.plan.destinations.values().collect();
        destinations.sort_by_key(|destination| &destination.name);
        let each = |destination: &&Arc<Destination>| {
            let name = destination.name.clone();
            destination.target.certificates().into_iter().map(move |dated| (name.clone(), dated))
        };
        destinations.iter().flat_map(each).collect()
    }

    fn begin(&self, name: &str, settings: &System, course: Course, remembered: Remembered) -> Arc<Runner> {
        let runner = Arc::new(Runner::new(name, settings, course, remembered, Arc::clone(&self.attempts)));
        runner.announce();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(Arc::clone(&runner).run()));
        runner
    }

    /// Something may be due for a system.
    pub fn wake(&self, system: &str) {
        if let Some(runner) = self.running.load().runners.get(system) {
            runner.hear_of_work();
        }
    }

    /// A delivery of a route was settled or changed: those that come after it may be due.
    pub fn wake_after(&self, route: &str) {
        self.attempts.wake_after(route);
    }

    /// The call that a delivery would make.
    ///
    /// # Errors
    /// Why none can be made, in words.
    pub async fn rehearse(&self, rehearsal: Rehearsal<'_>) -> Result<Rehearsed, String> {
        let running = self.running.load_full();
        self.attempts.rehearse(&running.in_force, rehearsal).await
    }

    /// Another gateway on the same store tells something.
    pub async fn hear(&self, signal: Signal) {
        let running = self.running.load_full();
        match signal {
            Signal::Work(system) => self.wake(&system),
            Signal::System(system) => {
                if let Some(runner) = running.runners.get(&system) {
                    runner.hear_of_change().await;
                }
            }
            Signal::Look => drop(join_all(running.runners.values().map(|runner| runner.look())).await),
        }
    }

    /// The systems and how they stand, by name.
    #[must_use]
    pub fn systems(&self) -> Vec<(String, SystemState)> {
        let running = self.running.load();
        let known = running.runners.iter().filter(|(name, _)| running.has_system(name));
        let mut list: Vec<_> = known.map(|(name, runner)| (name.clone(), runner.state())).collect();
        list.sort_by(|one, other| one.0.cmp(&other.0));
        list
    }

    /// Why a system is not called now; none when it is, or when there is no such system.
    #[must_use]
    pub fn shut(&self, system: &str) -> Option<Shut> {
        self.runner(system).ok()?.shut()
    }

    /// Why a system does not go on as it should: why it is not called, or that it fails and the next call tries it; none
    /// when it does, or when there is no such system.
    #[must_use]
    pub fn standing(&self, system: &str) -> Option<Shut> {
        self.runner(system).ok()?.standing()
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.running.load().in_force.plan)
    }

    /// The system that a route leads to now, or that a destination belongs to.
    #[must_use]
    pub fn system_of(&self, to: &str) -> Option<String> {
        let plan = self.plan();
        let destination = plan.routes.get(to).map_or(to, |route| route.destination.as_str());
        plan.destinations.get(destination).map(|destination| destination.system.clone())
    }

    /// Whether the plan in force serves deliveries of this route to this destination, made for this system.
    #[must_use]
    pub fn knows(&self, route: &str, destination: &str, system: &str) -> Known {
        self.running.load().in_force.plan.knows(route, destination, system)
    }

    /// Whether the head of a lane is a dead letter that does not stop it, as its route has it now.
    #[must_use]
    pub fn lets_go(&self, head: &DeliveryView) -> bool {
        let running = self.running.load();
        let route = running.in_force.plan.routes.get(&head.route);
        head.state == State::Dead && route.is_some_and(|route| route.policy.on_dead == OnDead::Continue)
    }

    /// A person pauses a system: nothing is claimed until a person resumes it, or until a moment. Whether the audit log has the
    /// note of it: it is written with the state, where the log takes it.
    ///
    /// # Errors
    /// When there is no such system, or the store cannot keep it.
    pub async fn pause(
        &self,
        system: &str,
        reason: &str,
        until: Option<Timestamp>,
        note: Option<Note<'_>>,
    ) -> StoreResult<bool> {
        self.runner(system)?.pause_by_person(reason, until, note).await
    }

    /// A person resumes a system; the answer is that of a pause.
    ///
    /// # Errors
    /// When there is no such system, or the store cannot keep it.
    pub async fn resume(&self, system: &str, note: Option<Note<'_>>) -> StoreResult<bool> {
        self.runner(system)?.resume(note).await
    }

    fn runner(&self, system: &str) -> StoreResult<Arc<Runner>> {
        let running = self.running.load();
        let runner = running.runners.get(system).filter(|_| running.has_system(system));
        runner.map(Arc::clone).ok_or_else(|| StoreError::NotFound(format!("system {system}")))
    }

    /// Claims nothing more, gives calls under way `patience` to end, then cuts the rest.
    pub async fn drain(&self, patience: Duration) {
        self.stop.send_replace(Stop::Draining);
        let running = self.running.load_full();
        let idle = join_all(running.runners.values().map(|runner| runner.idle()));
        if tokio::time::timeout(patience, idle).await.is_err() {
            self.stop.send_replace(Stop::Cut);
            // What was cut is settled as unknown; a store that does not answer is not waited for without end.
            let idle = join_all(running.runners.values().map(|runner| runner.idle()));
            if tokio::time::timeout(Duration::from_secs(5), idle).await.is_err() {
                tracing::warn!("some verdicts could not be stored; those calls count as unknown at the next start");
            }
        }
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// What is left to do once a plan is in force; nothing waits for it.
#[must_use]
pub struct Adopted {
    attempts: Arc<Attempts>,
    changed: Vec<Arc<Runner>>,
}

impl Adopted {
    /// Keeps the states of systems that changed.
    pub async fn keep(self) {
        self.attempts.forget_vain_recalls().await;
        for runner in self.changed {
            runner.keep_or_warn().await;
        }
    }
}

impl Running {
    fn has_system(&self, name: &str) -> bool {
        self.in_force.plan.systems.contains_key(name)
    }
}

impl Plan {
    /// Whether it serves deliveries of this route to this destination, made for this system.
    #[must_use]
    pub fn knows(&self, route: &str, destination: &str, system: &str) -> Known {
        let route = self.routes.get(route);
        let present = route.and_then(|route| self.destinations.get(&route.destination));
        let own = self.destinations.get(destination);
        let elsewhere = own.into_iter().chain(present).map(|found| &found.system).find(|found| *found != system);
        Known { has_route: route.is_some(), has_destination: own.is_some(), moved_to: elsewhere.cloned() }
    }
}

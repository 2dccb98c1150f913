//! The driver of the way out: store → map → deliver → settle → store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::clock::{SharedClock, Timestamp};
use crate::deliver::{self, classify};
use crate::delivery::ConfigVersion;
use crate::dispatch::attempt::Attempts;
use crate::dispatch::calendar::Calendar;
use crate::dispatch::lookup::Lookup;
use crate::dispatch::system::Runner;
use crate::envelope::RecordTypes;
use crate::map::Mapping;
use crate::secret::Mask;
use crate::settle::Policy;
use crate::store::{Signal, Store, StoreError, StoreResult, StoredConfig, SystemState};
use crate::telemetry::{Alarms, Metrics};
use crate::why::Shut;

mod attempt;
pub mod breaker;
pub mod calendar;
mod gate;
pub mod lookup;
mod system;

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
    /// The declared fields of its source.
    pub record_types: Option<Arc<RecordTypes>>,
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
    /// Time.
    pub clock: SharedClock,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Alarms.
    pub alarms: Arc<Alarms>,
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

/// The running way out: one runner per system, so that none waits for another.
pub struct Dispatch {
    plan: Arc<Plan>,
    runners: HashMap<String, Arc<Runner>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<Stop>,
}

impl Dispatch {
    /// Starts a runner for each system of the plan.
    ///
    /// # Errors
    /// When the store cannot tell the systems' states.
    pub async fn start(parts: Parts) -> StoreResult<Arc<Self>> {
        let (stop, stopped) = watch::channel(Stop::No);
        let plan = Arc::clone(&parts.plan);
        let attempts = Arc::new(Attempts::new(parts, stopped));
        let mut runners = HashMap::new();
        let mut tasks = Vec::new();
        for (name, system) in &plan.systems {
            let state = attempts.store.system(name.clone()).await?;
            let runner = Arc::new(Runner::new(name, system, &plan, state, Arc::clone(&attempts)));
            tasks.push(tokio::spawn(Arc::clone(&runner).run()));
            runners.insert(name.clone(), runner);
        }
        Ok(Arc::new(Self { plan, runners, tasks: Mutex::new(tasks), stop }))
    }

    /// Something may be due for a system.
    pub fn wake(&self, system: &str) {
        if let Some(runner) = self.runners.get(system) {
            runner.hear_of_work();
        }
    }

    /// Another gateway on the same store tells something.
    pub async fn hear(&self, signal: Signal) {
        match signal {
            Signal::Work(system) => self.wake(&system),
            Signal::System(system) => {
                if let Some(runner) = self.runners.get(&system) {
                    runner.hear_of_change().await;
                }
            }
            Signal::Look => drop(join_all(self.runners.values().map(|runner| runner.look())).await),
        }
    }

    /// The systems and how they stand, by name.
    #[must_use]
    pub fn systems(&self) -> Vec<(String, SystemState)> {
        let mut list: Vec<_> = self.runners.iter().map(|(name, runner)| (name.clone(), runner.state())).collect();
        list.sort_by(|one, other| one.0.cmp(&other.0));
        list
    }

    /// Why a system is not called now; none when it is, or when there is no such system.
    #[must_use]
    pub fn shut(&self, system: &str) -> Option<Shut> {
        self.runners.get(system)?.shut()
    }

    /// Whether the plan in force has this route, and this destination.
    #[must_use]
    pub fn knows(&self, route: &str, destination: &str) -> (bool, bool) {
        (self.plan.routes.contains_key(route), self.plan.destinations.contains_key(destination))
    }

    /// A person pauses a system: nothing is claimed until a person resumes it, or until a moment.
    ///
    /// # Errors
    /// When there is no such system, or the store cannot keep it.
    pub async fn pause(&self, system: &str, reason: &str, until: Option<Timestamp>) -> StoreResult<()> {
        self.runner(system)?.pause_by_person(reason, until).await
    }

    /// A person resumes a system.
    ///
    /// # Errors
    /// When there is no such system, or the store cannot keep it.
    pub async fn resume(&self, system: &str) -> StoreResult<()> {
        self.runner(system)?.resume().await
    }

    fn runner(&self, system: &str) -> StoreResult<&Arc<Runner>> {
        self.runners.get(system).ok_or_else(|| StoreError::NotFound(format!("system {system}")))
    }

    /// Claims nothing more, gives calls under way `patience` to end, then cuts the rest.
    pub async fn drain(&self, patience: Duration) {
        self.stop.send_replace(Stop::Draining);
        let idle = join_all(self.runners.values().map(|runner| runner.idle()));
        if tokio::time::timeout(patience, idle).await.is_err() {
            self.stop.send_replace(Stop::Cut);
            // What was cut is settled as unknown; a store that does not answer is not waited for without end.
            let idle = join_all(self.runners.values().map(|runner| runner.idle()));
            if tokio::time::timeout(Duration::from_secs(5), idle).await.is_err() {
                tracing::warn!("some verdicts could not be stored; those calls count as unknown at the next start");
            }
        }
        for task in self.tasks.lock().await.drain(..) {
            task.abort();
        }
    }
}

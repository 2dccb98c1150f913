//! Whole gateways that live through a history: the real way in, the real way out, time and faults from outside.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use omgate::clock::{Clock, SharedClock};
use omgate::config::{self, Loaded};
use omgate::delivery::{DeliveryId, State};
use omgate::dispatch::{self, Dispatch, Plan};
use omgate::intake::{self, Desk};
use omgate::receive::answer::Answer;
use omgate::receive::{Intake, Limits, Post, Source};
use omgate::route::Route;
use omgate::store::{By, Change, Ledger, Store, StoredConfig, SystemState};
use omgate::telemetry::{Alarms, Metrics, Traces};
use tokio::runtime::{Builder, Runtime};

use super::clock::Time;
use super::law::Law;
use super::look::{Look, Seen};
use super::network::Network;
use super::scene;
use super::steps::{Command, Disk, Fault, Hand, Mood, Note, SYSTEMS, Step, mixed};
use super::store::{Death, Doom, FaultyStore, Ground};

/// When all faults are lifted, everything must be settled within so many rounds of thirty seconds.
const ROUNDS_MAX: u32 = 120;

/// What a configuration file comes to; read once for all histories.
struct Scene {
    sources: Vec<Arc<Source>>,
    routes: HashMap<String, Vec<Route>>,
    limits: Limits,
    plan: Arc<Plan>,
    stored: StoredConfig,
    hold_unknown: Vec<String>,
    wait_max: Duration,
}

fn scenes() -> &'static [Scene; 3] {
    static SCENES: OnceLock<[Scene; 3]> = OnceLock::new();
    SCENES.get_or_init(|| {
        [0, 1, scene::PATIENT].map(|number| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("omgate.toml");
            std::fs::write(&path, scene::configuration(number)).unwrap();
            let Loaded { server, sources, routes, plan, stored, hold_unknown, .. } = config::load(&path).unwrap();
            let wait_max = plan.systems.values().map(|system| system.wait_max).max().unwrap();
            let sources = sources.into_iter().map(Arc::new).collect();
            Scene { sources, routes, limits: server.limits, plan, stored, hold_unknown, wait_max }
        })
    })
}

/// A gateway's parts, as `gateway` composes them, without listeners.
struct Gateway {
    store: Arc<dyn Store>,
    dispatch: Arc<Dispatch>,
    desk: Arc<Desk>,
    wait_max: Duration,
}

impl Gateway {
    async fn start(scene: &'static Scene, store: Arc<FaultyStore>, clock: SharedClock, network: Arc<Network>) -> Self {
        let store: Arc<dyn Store> = store;
        // These commands of the start are no part of the history: the disk is fine when a process starts.
        let config_version = store.save_config(scene.stored.clone(), clock.now()).await.unwrap();
        store.pull_back(clock.now(), scene.wait_max).await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let alarms = Arc::new(Alarms::new(Arc::clone(&metrics)));
        let recall = |stored: &StoredConfig| {
            scenes().iter().find(|scene| scene.stored.files == stored.files).map(|scene| Arc::clone(&scene.plan))
        };
        let parts = dispatch::Parts {
            store: Arc::clone(&store),
            plan: Arc::clone(&scene.plan),
            config_version,
            recall: Box::new(recall),
            transport: network,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            alarms: Arc::clone(&alarms),
            traces: Traces::off(),
        };
        let dispatch = Dispatch::start(parts).await.unwrap();
        let wake = Arc::clone(&dispatch);
        let desk = Desk::new(intake::Parts {
            rules: intake::Rules {
                sources: scene.sources.clone(),
                routes: scene.routes.clone(),
                limits: scene.limits.clone(),
                config_version,
            },
            store: Arc::clone(&store),
            clock,
            metrics,
            alarms,
            traces: Traces::off(),
            wake: Box::new(move |system| wake.wake(system)),
        });
        Self { store, dispatch, desk: Arc::new(desk), wait_max: scene.wait_max }
    }
}

/// A running gateway and the runtime that is its process.
struct Process {
    gateway: Gateway,
    /// The store that the law looks at.
    beside: Arc<Look>,
    runtime: Runtime,
}

/// What a history came to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Calls made.
    pub(crate) calls: u64,
    /// What they met.
    pub(crate) met: BTreeMap<String, u64>,
    /// Processes started.
    pub(crate) starts: u64,
    /// Notifications acknowledged.
    pub(crate) acked: u64,
    pub(crate) delivered: i64,
    pub(crate) unknown: i64,
    /// Leases that ran out while their gateway ran.
    pub(crate) leases_lost: u64,
}

/// What broke, and what happened until then.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) why: String,
    pub(crate) log: Vec<String>,
}

/// A gateway, its targets, and what befalls them.
pub(crate) struct World {
    ground: Arc<dyn Ground>,
    pub(crate) law: Arc<Law>,
    pub(crate) network: Arc<Network>,
    time: Arc<Time>,
    armed: Arc<Mutex<Vec<(Command, Fault)>>>,
    doom: Arc<Doom>,
    process: Option<Process>,
    configuration: usize,
    starts: u64,
    /// The last word of each notification, for Salesforce to repeat until it is acknowledged.
    posted: BTreeMap<u64, Note>,
    acked: Arc<Mutex<BTreeMap<u64, Note>>>,
    /// All deliveries, as the last look found them.
    all: Vec<Seen>,
}

/// Lives through a history.
pub(crate) fn live(ground: Arc<dyn Ground>, seed: u64, steps: &[Step]) -> Result<Summary, Broken> {
    let mut world = World::new(ground, seed, 0);
    let law = Arc::clone(&world.law);
    let end = |world: World| Broken { why: law.broken().unwrap_or_default(), log: world.law.log() };
    for step in steps {
        law.say(format!("-- {step:?}"));
        world.step(step);
        if law.broken().is_some() {
            return Err(end(world));
        }
    }
    world.rest();
    if law.broken().is_some() {
        return Err(end(world));
    }
    Ok(world.summary())
}

impl World {
    /// Nothing runs yet.
    pub(crate) fn new(ground: Arc<dyn Ground>, seed: u64, configuration: usize) -> Self {
        let law = Arc::new(Law::default());
        if configuration == scene::PATIENT {
            law.be_patient();
        }
        Self {
            ground,
            network: Arc::new(Network::new(Arc::clone(&law), seed)),
            law,
            time: Arc::default(),
            armed: Arc::default(),
            doom: Arc::default(),
            process: None,
            configuration,
            starts: 0,
            posted: BTreeMap::new(),
            acked: Arc::default(),
            all: Vec::new(),
        }
    }

    /// Posts an envelope to a gateway that works; whether it was acknowledged.
    pub(crate) fn deliver(&mut self, notes: Vec<Note>) -> bool {
        self.post(notes.clone());
        let acked = self.acked.lock().unwrap();
        notes.iter().all(|note| acked.get(&note.id) == Some(note))
    }

    /// Time passes until so many milliseconds after the beginning, with a gateway that runs or without one.
    pub(crate) fn until(&mut self, moment_ms: u64, runs: bool) {
        let passed = u64::try_from(self.time.monotonic().as_millis()).unwrap();
        let left = moment_ms.saturating_sub(passed);
        if runs {
            self.run(left);
        } else {
            self.time.pass(Duration::from_millis(left));
        }
    }

    /// Everything is settled, within bounds; all deliveries.
    pub(crate) fn come_to_rest(&mut self) -> Vec<Seen> {
        for _ in 0..ROUNDS_MAX {
            self.run(30_000);
            self.check();
            if self.law.broken().is_some() || self.is_idle() {
                break;
            }
        }
        self.all.clone()
    }

    /// The accounts.
    pub(crate) fn ledger(&mut self) -> Ledger {
        self.within(async |gateway| gateway.store.ledger().await.unwrap()).unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Post(notes) => self.post(notes.clone()),
            Step::Pass(ms) => self.run(*ms),
            Step::Arm(command, fault) => self.armed.lock().unwrap().push((*command, *fault)),
            Step::Disk(disk) => self.ground.set(*disk),
            Step::Target(system, mood) => self.network.set(system, *mood),
            Step::Hand(hand, which) => self.hand(*hand, *which),
            Step::Pause(system, seconds) => self.pause(system, *seconds),
            Step::Resume(system) => self.resume(system),
            Step::SetClock(hours) => self.set_clock(*hours),
            Step::Kill(down_ms, configuration) => {
                self.end(Some(Death::Kill), *down_ms);
                self.configuration = *configuration;
            }
            Step::PowerCut(down_ms) => self.end(Some(Death::PowerCut), *down_ms),
            Step::Stop(down_ms) => self.end(None, *down_ms),
        }
        self.check();
    }

    pub(crate) fn check(&mut self) {
        self.ensure();
        if let Some(process) = &self.process {
            let _inside = process.runtime.enter();
            if let Some(all) = self.law.check(&process.beside, self.time.monotonic()) {
                self.all = all;
            }
        }
    }

    /// Sees to it that a gateway runs.
    fn ensure(&mut self) {
        if self.process.is_some() {
            return;
        }
        // A process that is started on a bad disk only fails to start.
        self.ground.set(Disk::Fine);
        self.starts += 1;
        self.doom = Arc::default();
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let scene = &scenes()[self.configuration];
        let clock: SharedClock = Arc::clone(&self.time) as _;
        let (gateway, beside) = runtime.block_on(async {
            self.time.begin();
            let real = self.ground.open(Arc::clone(&clock), scene.hold_unknown.clone());
            let beside = Arc::new(self.ground.beside(&real));
            self.law.opened(&beside, clock.now());
            let store = Arc::new(FaultyStore {
                real,
                beside: Arc::clone(&beside),
                law: Arc::clone(&self.law),
                ground: Arc::clone(&self.ground),
                time: Arc::clone(&self.time),
                armed: Arc::clone(&self.armed),
                death: Arc::clone(&self.doom),
            });
            (Gateway::start(scene, store, clock, Arc::clone(&self.network)).await, beside)
        });
        self.process = Some(Process { gateway, beside, runtime });
    }

    /// Does something within the process; it may die of it.
    fn within<T>(&mut self, action: impl AsyncFnOnce(&Gateway) -> T) -> Option<T> {
        self.ensure();
        let doom = Arc::clone(&self.doom);
        let process = self.process.as_ref()?;
        let done = process.runtime.block_on(async {
            let action = pin!(action(&process.gateway));
            match select(pin!(doom.coming.notified()), action).await {
                Either::Left(_) => None,
                Either::Right((done, _)) => Some(done),
            }
        });
        let death = *doom.how.lock().unwrap();
        if let Some(death) = death {
            self.end(Some(death), 0);
        }
        done
    }

    /// The process ends: by a death, or in good order.
    pub(crate) fn end(&mut self, death: Option<Death>, down_ms: u64) {
        if death.is_none() {
            let stopped = self.within(async |gateway| {
                gateway.desk.close();
                gateway.dispatch.drain(Duration::from_secs(2)).await;
                gateway.store.close().await;
            });
            if stopped.is_none() {
                return;
            }
        }
        let Some(Process { gateway, beside, runtime }) = self.process.take() else { return };
        self.law.say(format!("the process ends: {death:?}"));
        drop(runtime);
        self.time.end();
        // The last that hold the store: it closes.
        beside.let_go();
        drop((gateway, beside));
        if death == Some(Death::PowerCut) {
            self.ground.lose_power(mixed(self.law.tick()) % 101);
        }
        self.time.pass(Duration::from_millis(down_ms));
    }

    fn run(&mut self, ms: u64) {
        self.within(async |_| tokio::time::sleep(Duration::from_millis(ms)).await);
    }

    fn post(&mut self, notes: Vec<Note>) {
        self.posted.extend(notes.iter().map(|note| (note.id, *note)));
        let (law, acked) = (Arc::clone(&self.law), Arc::clone(&self.acked));
        self.within(async move |gateway| {
            let desk = Arc::clone(&gateway.desk);
            tokio::spawn(async move {
                let body = Bytes::from(scene::envelope(&notes));
                let post = Post { source: "orders".to_owned(), body, charset: None, sender: "10.0.0.1".to_owned() };
                match desk.take(post).await {
                    Answer::Accepted => {
                        law.acked(&notes);
                        acked.lock().unwrap().extend(notes.iter().map(|note| (note.id, *note)));
                    }
                    Answer::NotNow => law.say("nacked".to_owned()),
                    answer => law.breaks(format!("a proper envelope is answered with {answer:?}")),
                }
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }

    fn hand(&mut self, hand: Hand, which: u64) {
        let clock = Arc::clone(&self.time);
        self.check();
        let all = &self.all;
        let (change, wanted) = match hand {
            Hand::Replay => (Change::Replay { even_if_newer: false }, State::Dead),
            Hand::ReplayEvenIfNewer => (Change::Replay { even_if_newer: true }, State::Dead),
            Hand::Hold => (Change::Hold, State::Waiting),
            Hand::Release => (Change::Release, State::Held),
            Hand::Discard => (Change::Discard, State::Held),
        };
        // Mostly one to which it applies.
        let fitting: Vec<_> = all.iter().filter(|view| which.is_multiple_of(5) || view.state == wanted).collect();
        if fitting.is_empty() {
            return;
        }
        let place = usize::try_from(which / 5).unwrap() % fitting.len();
        let delivery = DeliveryId(fitting[place].id);
        self.within(async move |gateway| {
            let store = Arc::clone(&gateway.store);
            let dispatch = Arc::clone(&gateway.dispatch);
            // A person's patience ends before that of a slow disk.
            tokio::spawn(async move {
                let changed = store.change(delivery, change, None, By::new("somebody", "because"), clock.now()).await;
                if let Ok(view) = changed {
                    dispatch.wake(&view.system);
                }
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }

    fn pause(&mut self, system: &'static str, seconds: Option<u64>) {
        let (law, clock) = (Arc::clone(&self.law), Arc::clone(&self.time));
        self.within(async move |gateway| {
            let until = seconds.map(|seconds| clock.now().plus(Duration::from_secs(seconds)));
            let dispatch = Arc::clone(&gateway.dispatch);
            tokio::spawn(async move {
                law.paused(system, until);
                drop(dispatch.pause(system, "because", until, None).await);
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }

    fn resume(&mut self, system: &'static str) {
        let law = Arc::clone(&self.law);
        self.within(async move |gateway| {
            let dispatch = Arc::clone(&gateway.dispatch);
            tokio::spawn(async move {
                law.resumed(system);
                drop(dispatch.resume(system, None).await);
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }

    /// The wall clock jumps, and what looks after that notices.
    fn set_clock(&mut self, hours: i64) {
        self.law.expire(self.time.now());
        self.time.set(hours * 3_600_000);
        self.law.expire(self.time.now());
        let clock = Arc::clone(&self.time);
        self.within(async move |gateway| {
            drop(gateway.store.pull_back(clock.now(), gateway.wait_max).await);
        });
    }

    /// All faults are lifted, and Salesforce repeats until it is heard: everything is settled within bounds.
    fn rest(&mut self) {
        self.law.say("-- all is well from here on".to_owned());
        self.armed.lock().unwrap().clear();
        self.ground.set(Disk::Fine);
        for system in SYSTEMS {
            self.network.set(system, Mood::Up);
        }
        self.end(Some(Death::Kill), 0);
        self.check();
        for _ in 0..ROUNDS_MAX {
            self.repeat_what_was_not_acked();
            self.help();
            self.run(30_000);
            self.check();
            if self.law.broken().is_some() || self.is_idle() {
                break;
            }
        }
        for (system, state) in self.within(async |gateway| gateway.dispatch.systems()).unwrap_or_default() {
            if state.breaker.is_some() && self.law.works(&system) {
                self.law.breaks(format!("{system} works and is left alone: {state:?}"));
            }
        }
        self.end(Some(Death::Kill), 0);
        self.check();
        if let Some(process) = &self.process {
            let _inside = process.runtime.enter();
            self.law.check_end(&process.beside, self.time.now());
        }
    }

    fn repeat_what_was_not_acked(&mut self) {
        let missing: Vec<Note> = {
            let acked = self.acked.lock().unwrap();
            self.posted.values().filter(|note| acked.get(&note.id) != Some(note)).copied().collect()
        };
        for notes in missing.chunks(100) {
            self.post(notes.to_vec());
        }
    }

    /// People look after what waits for them.
    fn help(&mut self) {
        let by_person = |state: &SystemState| state.paused.as_ref().is_some_and(|pause| pause.probe_at.is_none());
        let paused = self.within(async |gateway| gateway.dispatch.systems()).unwrap_or_default();
        for system in SYSTEMS {
            if paused.iter().any(|(name, state)| name == system && by_person(state)) {
                self.resume(system);
            }
        }
        let all = self.all.clone();
        let clock = Arc::clone(&self.time);
        self.within(async move |gateway| {
            for view in all {
                let change = match view.state {
                    State::Held => Change::Release,
                    State::Dead if view.way.dead_holds && view.attempts > 0 => Change::Discard,
                    _ => continue,
                };
                drop(
                    gateway
                        .store
                        .change(DeliveryId(view.id), change, None, By::new("somebody", "help"), clock.now())
                        .await,
                );
                gateway.dispatch.wake(view.way.system);
            }
        });
    }

    fn is_idle(&self) -> bool {
        let all_acked = {
            let acked = self.acked.lock().unwrap();
            self.posted.values().all(|note| acked.get(&note.id) == Some(note))
        };
        all_acked
            && self.all.iter().all(|view| match view.state {
                State::Delivered | State::Superseded | State::Discarded => true,
                State::Dead => !view.way.dead_holds || view.attempts == 0,
                _ => false,
            })
    }

    fn summary(mut self) -> Summary {
        let mut summary = Summary {
            calls: self.law.calls(),
            leases_lost: self.law.leases_lost(),
            met: self.network.met(),
            starts: self.starts,
            acked: self.acked.lock().unwrap().len() as u64,
            ..Summary::default()
        };
        if let Some(process) = &self.process {
            let _inside = process.runtime.enter();
            let ledger = super::wait(process.beside.store.ledger()).unwrap();
            summary.delivered = ledger.deliveries.delivered;
            summary.unknown = ledger.attempts.unknown;
        }
        self.end(Some(Death::Kill), 0);
        summary
    }
}

//! Another configuration in place of the one in force: read, checked as a whole, and taken at once, or not at all.
//!
//! What is under way ends as it began: each envelope is routed, and each call made, by the configuration that it met.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::Instrument as _;

use crate::account::Account;
use crate::admin::Terms;
use crate::admin::oidc::People;
use crate::admin::reload::{Changed, Failed, Order, Orphans, Refusal, Reload, Reloaded, Standing, said};
use crate::clock::{SharedClock, Timestamp};
use crate::config::{self, Loaded, Seen, Server, StoreSettings};
use crate::dispatch::{Dispatch, Plan, States};
use crate::facts::{DestinationFacts, Facts};
use crate::gateway::certificates::Certificates;
use crate::gateway::discard::{Discard, Ordered};
use crate::gateway::heralds::Telling;
use crate::intake::{self, Desk, Outgoing};
use crate::receive::front::Standing as Front;
use crate::receive::{Edge, Source};
use crate::store::sealed::{SharedKeys, rekey};
use crate::store::{By, Store, StoreError, StoredConfig, TakenBy, TakenConfig, Unsettled, Way};
use crate::telemetry::{Alarms, Metrics, Traces};

/// So long it may take to look what the files hold now.
const LOOKING: Duration = Duration::from_secs(5);
/// How long a stop waits for a reload that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// What another configuration changes in a gateway that runs.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) desk: Arc<Desk>,
    pub(super) edge: Arc<Edge>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) clock: SharedClock,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) terms: Arc<ArcSwap<Terms>>,
    pub(super) telling: Arc<ArcSwap<Telling>>,
    pub(super) traces: Arc<Traces>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) accounts: Arc<ArcSwap<Vec<Account>>>,
    pub(super) people: People,
    pub(super) keys: SharedKeys,
}

/// The configuration that a gateway was started with.
pub(super) struct Start {
    pub(super) path: Option<PathBuf>,
    pub(super) server: Server,
    pub(super) settings: StoreSettings,
    pub(super) seen: Seen,
    pub(super) plan: Arc<Plan>,
    pub(super) sources: BTreeSet<String>,
    pub(super) taken: TakenConfig,
}

/// Reads the configuration again when it is told to.
pub struct Reloader {
    parts: Parts,
    path: Option<PathBuf>,
    started: Started,
    me: Weak<Self>,
    /// Whoever asks may go away, and runs elsewhere: what is begun is finished, and what is started lives, here.
    home: Handle,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
    /// Rung when what is to be watched changed.
    pub(super) rearm: Notify,
}

/// What runs until the next start, whatever the file says.
struct Started {
    server: Server,
    settings: StoreSettings,
}

/// What is known of the configuration in force.
struct Known {
    standing: Standing,
    server: Server,
    seen: Seen,
    /// The files as they were when they were last tried.
    tried: Seen,
    plan: Arc<Plan>,
    sources: BTreeSet<String>,
}

/// What is to be watched, and how the files were when they were last tried.
pub(super) struct Watched {
    pub(super) is_on: bool,
    pub(super) every: Duration,
    pub(super) tried: Seen,
    /// The store's file: what lies beside it is busy.
    pub(super) store: PathBuf,
}

impl Reloader {
    pub(super) fn new(parts: Parts, start: Start) -> Arc<Self> {
        let Start { path, server, settings, seen, plan, sources, taken } = start;
        let standing = Standing {
            taken,
            path: path.as_ref().map(|path| path.to_string_lossy().into_owned()),
            needs_restart: Vec::new(),
            last_failed: None,
        };
        let known = Known { standing, server: server.clone(), seen: seen.clone(), tried: seen, plan, sources };
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            home: Handle::current(),
            parts,
            path,
            started: Started { server, settings },
            turn: tokio::sync::Mutex::new(()),
            known: Mutex::new(known),
            rearm: Notify::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store was moved, and the configuration still names another: nobody may find that out at the next start.
    pub(super) fn warn_of_store(&self, named: &StoreSettings) {
        let (now, named) = (self.started.settings.shown(), named.shown());
        self.known().standing.needs_restart = vec!["store.url"];
        let message =
            format!("the store is {now}, and the configuration names {named}: write the new address into [store] url");
        self.parts.alarms.raise("moved", "", &message);
    }

    /// How long calls under way may go on when the gateway stops.
    pub(super) fn drain(&self) -> Duration {
        self.known().server.drain
    }

    /// The longest wait of any retry.
    pub(super) fn wait_max(&self) -> Duration {
        wait_max(&self.known().plan)
    }

    pub(super) fn watched(&self) -> Watched {
        let known = self.known();
        let Server { watch, watch_every, .. } = known.server;
        Watched {
            is_on: watch && self.path.is_some(),
            every: watch_every,
            tried: known.tried.clone(),
            store: self.started.settings.path.clone(),
        }
    }

    /// Waits for a reload that is under way; from now on the gateway is closing, and there is no other.
    pub(super) async fn end(&self) {
        if tokio::time::timeout(PATIENCE, self.turn.lock()).await.is_err() {
            tracing::warn!("a reload is still under way; it is not waited for any longer");
        }
    }

    async fn turn(&self, order: Order) -> Result<Reloaded, Refusal> {
        let Some(path) = self.path.clone() else { return Err(Refusal::NoFile) };
        let _turn = self.turn.lock().await;
        if self.parts.closing.load(Ordering::SeqCst) {
            return Err(Refusal::Stopping);
        }
        let read = tokio::task::spawn_blocking(move || config::load_and_see(&path)).await;
        let Ok((loaded, seen)) = read else { return Err(failed()) };
        let result = match loaded {
            Ok(loaded) => self.consider(loaded, &order).await,
            Err(problems) => Err(Refusal::Wrong(problems.0.iter().map(ToString::to_string).collect())),
        };
        if !order.dry_run {
            self.remember(&order, &result, seen);
        }
        result
    }

    /// Keeps what came of it: for people, and for the watch, which does not try again what was tried.
    fn remember(&self, order: &Order, result: &Result<Reloaded, Refusal>, seen: Seen) {
        if !matches!(result, Err(Refusal::Store(_))) {
            self.known().tried = seen;
        }
        self.rearm.notify_one();
        match result {
            Ok(reloaded) => {
                self.mended();
                if !reloaded.changed {
                    tracing::info!(by = order.by.as_str(), "the configuration was read again; nothing changed");
                }
            }
            Err(refusal) => {
                let (at, by, error) = (self.parts.clock.now(), order.by, refusal.to_string());
                tracing::error!(by = by.as_str(), "reload: {error}");
                self.parts.alarms.restate("reload", "", &first_lines(&error));
                self.known().standing.last_failed = Some(Failed { at, by, error });
            }
        }
    }

    /// What was wrong with the files is no longer.
    fn mended(&self) {
        self.known().standing.last_failed = None;
        self.parts.alarms.clear("reload", "");
    }

    /// Whether and how a configuration that is right can be taken; takes it, unless it is only asked.
    async fn consider(&self, loaded: Loaded, order: &Order) -> Result<Reloaded, Refusal> {
        let unsettled = self.parts.store.unsettled().await.map_err(Refusal::Store)?;
        let reordered = {
            let (facts, plan) = (self.parts.terms.load(), Arc::clone(&self.known().plan));
            super::lanes::reordered((&facts.facts, &plan), (&loaded.facts, &loaded.plan), &unsettled)
        };
        let served = |plan: &Plan, way: &Way| plan.knows(&way.route, &way.destination, &way.system).is_served();
        let (before, mut reloaded) = {
            let known = self.known();
            let (lost, _): (Vec<Unsettled>, Vec<_>) =
                unsettled.into_iter().partition(|found| !served(&loaded.plan, &found.way));
            let (orphans, before): (Vec<_>, Vec<_>) =
                lost.into_iter().partition(|found| served(&known.plan, &found.way));
            let mut reloaded = differences(&known, &loaded, &self.parts.terms.load().facts);
            reloaded.warnings = loaded.warnings.iter().map(ToString::to_string).chain(reordered).collect();
            if loaded.store == self.started.settings {
                self.parts.alarms.clear("moved", "");
            }
            reloaded.needs_restart = self.needs_restart(&loaded);
            reloaded.orphans = orphans;
            (before, reloaded)
        };
        reloaded.dry_run = order.dry_run;
        reloaded.orphans_before = before.iter().map(|orphan| orphan.count).sum();
        if !reloaded.changed {
            return Ok(reloaded);
        }
        if loaded.sources.is_empty() && !self.known().sources.is_empty() {
            let reason = "it has no [[source]], [[destination]] and [[route]] any more, as a file that was cut off; to end all \
                          flows on purpose stop the gateway, and start it with that file";
            return Err(Refusal::Wrong(vec![reason.to_owned()]));
        }
        rekey::check(&*self.parts.store, &loaded.encryption).await.map_err(|error| {
            if let StoreError::Conflict(reason) = error { Refusal::Wrong(vec![reason]) } else { Refusal::Store(error) }
        })?;
        let orphans_are = match (order.by, order.orphans) {
            // Nobody is there to be asked.
            (TakenBy::Signal | TakenBy::File | TakenBy::Start, None) => Some(Orphans::Keep),
            (_, orphans) => orphans,
        };
        reloaded.orphans_are = orphans_are.filter(|_| !reloaded.orphans.is_empty());
        if order.dry_run {
            return Ok(reloaded);
        }
        if orphans_are.is_none() && !reloaded.orphans.is_empty() {
            return Err(Refusal::Orphans(reloaded.orphans));
        }
        self.take(loaded, order, reloaded).await.map_err(Refusal::Store)
    }

    /// Keys of the file whose values count from the next start.
    fn needs_restart(&self, loaded: &Loaded) -> Vec<&'static str> {
        let Started { server, settings } = &self.started;
        config::needs_restart((server, settings), (&loaded.server, &loaded.store))
    }

    /// Takes a configuration. Whatever may fail comes first; then nothing does.
    async fn take(&self, loaded: Loaded, order: &Order, mut reloaded: Reloaded) -> Result<Reloaded, StoreError> {
        let masks = loaded.masks();
        let Loaded {
            server,
            accounts,
            encryption,
            sources,
            routes,
            plan,
            stored,
            seen,
            retention,
            facts,
            alarms: alarming,
            collector,
            ..
        } = loaded;
        let facts = Arc::new(facts);
        rekey::note(&*self.parts.store, &encryption, self.parts.clock.now()).await?;
        let (taken, states) = self.note(stored, &plan, order).await?;
        let version = taken.version;

        super::series::begin(&self.parts.metrics, sources.iter().map(|source| source.name.as_str()), &plan, &alarming);
        // Before all else: what is written by the new plan is read by it.
        self.parts.keys.store(Arc::new(encryption));
        // What was routed just before is carried by the new plan; what is posted to a new path finds its desk.
        let adopted = self.parts.dispatch.adopt(Arc::clone(&plan), version, states);
        let sources: Vec<Arc<Source>> = sources.into_iter().map(Arc::new).collect();
        let limits = server.limits.clone();
        let rules = intake::Rules { sources: sources.clone(), routes, limits, config_version: version };
        let outgoing = self.serve(rules, &server);
        // Before the new version is shown: who sees it must not be told of the mistake before it.
        self.mended();
        self.parts.terms.store(Arc::new(Terms {
            retention,
            sources: super::silences(&sources),
            masks,
            facts,
            four_eyes: server.four_eyes,
        }));
        self.parts.telling.store(Arc::new(Telling { alarming, gateway: server.name.clone() }));
        self.parts.traces.adopt(collector);
        self.parts.accounts.store(Arc::new(accounts));
        self.parts.people.store(Arc::new(super::people::provider(&server)));
        {
            let mut known = self.known();
            known.standing.taken = taken;
            known.standing.needs_restart.clone_from(&reloaded.needs_restart);
            known.sources = sources.iter().map(|source| source.name.clone()).collect();
            (known.server, known.seen, known.plan) = (server, seen, plan);
        }
        reloaded.version = version;
        adopted.keep().await;
        self.tell(order, &reloaded);
        self.settle_in(order, &reloaded, outgoing).await;
        Ok(reloaded)
    }

    /// Keeps that a configuration is in force from here on; and what is known of its systems.
    async fn note(
        &self,
        stored: StoredConfig,
        plan: &Plan,
        order: &Order,
    ) -> Result<(TakenConfig, States), StoreError> {
        let now = self.parts.clock.now();
        let version = self.parts.store.save_config(stored, now).await?;
        let states = self.parts.dispatch.states(plan).await?;
        let taken = TakenConfig { version, at: now, by: order.by, reason: order.reason.clone() };
        self.parts.store.take_config(taken.clone()).await?;
        Ok((taken, states))
    }

    /// What is posted to a new path finds its desk: so the desk comes first.
    fn serve(&self, rules: intake::Rules, server: &Server) -> Outgoing {
        let (served, limits) = (rules.sources.clone(), rules.limits.clone());
        let outgoing = self.parts.desk.adopt(rules);
        self.parts.edge.adopt(served, limits);
        let tls = server.tls.as_ref().and_then(|tls| tls.served.clone());
        self.parts.edge.take(Front { tls, proxy: server.proxy.clone() });
        self.parts.certificates.look();
        outgoing
    }

    fn tell(&self, order: &Order, reloaded: &Reloaded) {
        let (version, by) = (reloaded.version.0, order.by.as_str());
        tracing::info!(version, by, reason = order.reason, files = ?reloaded.files, "another configuration is in force");
        for warning in &reloaded.warnings {
            tracing::warn!("configuration: {warning}");
        }
        if !reloaded.needs_restart.is_empty() {
            tracing::warn!(keys = ?reloaded.needs_restart, "these keys count from the next start");
        }
        if let Some(are) = reloaded.orphans_are {
            let become_of = match are {
                Orphans::Keep => "they are kept",
                Orphans::Discard => "they are discarded",
            };
            tracing::warn!(
                "deliveries have no route or destination any more; {become_of}: {}",
                said(&reloaded.orphans)
            );
        }
    }

    /// What follows from a configuration once it is in force.
    async fn settle_in(&self, order: &Order, reloaded: &Reloaded, outgoing: Outgoing) {
        if let Err(error) = self.parts.store.pull_back(self.parts.clock.now(), self.wait_max()).await {
            tracing::warn!(%error, "due times could not be brought back within the longest wait");
        }
        let by = By::new(order.person.clone(), order.reason.trim());
        if reloaded.orphans_are == Some(Orphans::Discard) {
            let ways = reloaded.orphans.iter().map(|orphan| orphan.way.clone()).collect();
            let ordered = Ordered { version: reloaded.version.0, by: by.clone(), ways };
            self.discarding().begun(&ordered).await;
            self.discard(ordered, Some(outgoing));
        }
        self.let_lanes_go(by);
        self.look_for_orphans().await;
    }

    fn discarding(&self) -> Discard {
        let Parts { store, dispatch, clock, closing, .. } = &self.parts;
        let (store, dispatch) = (Arc::clone(store), Arc::clone(dispatch));
        Discard { store, dispatch, clock: Arc::clone(clock), closing: Arc::clone(closing) }
    }

    fn discard(&self, ordered: Ordered, outgoing: Option<Outgoing>) {
        let (discarding, me) = (self.discarding(), Weak::clone(&self.me));
        tokio::spawn(async move {
            discarding.run(ordered, outgoing).await;
            if let Some(me) = me.upgrade() {
                me.look_for_orphans().await;
            }
        });
    }

    /// What a start has to see to: what a stop cut off, and what the configuration says otherwise than before.
    pub(super) async fn begin(&self) {
        match self.discarding().cut_off().await {
            Ok(cut_off) => cut_off.into_iter().for_each(|ordered| self.discard(ordered, None)),
            Err(error) => tracing::warn!(%error, "whether orphans were being discarded could not be read"),
        }
        self.let_lanes_go(By::default());
        self.look_for_orphans().await;
    }

    /// Lets lanes go on that stop at dead letters whose routes do not want that any more.
    fn let_lanes_go(&self, by: By) {
        let Parts { store, dispatch, clock, closing, .. } = &self.parts;
        let (store, dispatch) = (Arc::clone(store), Arc::clone(dispatch));
        let (clock, closing) = (Arc::clone(clock), Arc::clone(closing));
        tokio::spawn(async move {
            let is_over = || closing.load(Ordering::SeqCst);
            let count = super::lanes::let_go(&*store, &dispatch, &by, || clock.now(), is_over).await;
            if count > 0 {
                tracing::info!(count, "lanes go on behind dead letters, as their routes say now");
            }
        });
    }

    /// Raises the alarm of deliveries that have no way, or ends it.
    pub(super) async fn look_for_orphans(&self) {
        let mut orphans = match self.parts.store.unsettled().await {
            Ok(unsettled) => unsettled,
            Err(error) => {
                tracing::debug!(%error, "orphans could not be counted");
                return;
            }
        };
        orphans.retain(|Unsettled { way, .. }| {
            !self.parts.dispatch.knows(&way.route, &way.destination, &way.system).is_served()
        });
        match orphans.iter().map(|orphan| orphan.count).sum::<u64>() {
            0 => self.parts.alarms.clear("orphans", ""),
            count => {
                let said = said(&orphans);
                let message = format!("{count} deliveries wait for a route or destination that is gone ({said})");
                self.parts.alarms.restate("orphans", "", &message);
            }
        }
    }

    /// Looks again while the alarm stands: people discard, and envelopes that were under way add.
    pub(super) async fn minute(&self) {
        if self.parts.alarms.standing().iter().any(|(alarm, _, _)| *alarm == "orphans") {
            self.look_for_orphans().await;
        }
    }
}

impl Reload for Reloader {
    fn reload(&self, order: Order) -> BoxFuture<'_, Result<Reloaded, Refusal>> {
        let me = self.me.upgrade();
        async move {
            let Some(me) = me else { return Err(Refusal::Stopping) };
            let home = me.home.clone();
            let turn = home.spawn(async move { me.turn(order).await }.in_current_span());
            turn.await.unwrap_or_else(|error| if error.is_panic() { Err(failed()) } else { Err(Refusal::Stopping) })
        }
        .boxed()
    }

    fn standing(&self) -> Standing {
        self.known().standing.clone()
    }

    fn changed(&self) -> BoxFuture<'_, Changed> {
        let seen = self.known().seen.clone();
        let is_watched = self.watched().is_on;
        let look = tokio::task::spawn_blocking(move || {
            let now = seen.now();
            let others: Vec<&Path> = seen.paths().filter(|path| !seen.agrees(&now, path)).collect();
            let at = others.iter().filter_map(|path| written_at(path)).max();
            let files = others.into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
            Changed { files, at, is_watched }
        });
        // A file system that hangs must hang nothing else.
        async move {
            let looked = tokio::time::timeout(LOOKING, look).await.ok().and_then(Result::ok);
            looked.unwrap_or(Changed { is_watched, ..Changed::default() })
        }
        .boxed()
    }
}

/// When a file was written, as its file system says.
fn written_at(path: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}

fn failed() -> Refusal {
    let reason = "omgate itself failed while it read the configuration: please report what the log says";
    Refusal::Wrong(vec![reason.to_owned()])
}

pub(super) fn wait_max(plan: &Plan) -> Duration {
    plan.systems.values().map(|system| system.wait_max).max().unwrap_or_default()
}

/// What is another in a new configuration.
fn differences(known: &Known, loaded: &Loaded, facts: &Facts) -> Reloaded {
    let files: BTreeSet<_> = known.seen.paths().chain(loaded.seen.paths()).collect();
    let differs = |path: &&Path| !known.seen.agrees(&loaded.seen, path);
    let files: Vec<String> =
        files.into_iter().filter(differs).map(|path| path.to_string_lossy().into_owned()).collect();
    let (before, after) = (names(&known.plan, &known.sources), {
        let sources = loaded.sources.iter().map(|source| source.name.clone()).collect();
        names(&loaded.plan, &sources)
    });
    let systems = loaded.plan.systems.iter();
    let other = |(name, system): &(&String, &crate::dispatch::System)| {
        known.plan.systems.get(*name).is_some_and(|known| known != *system)
    };
    let mut systems_changed: Vec<String> = systems.filter(other).map(|(name, _)| name.clone()).collect();
    systems_changed.sort();
    Reloaded {
        changed: !files.is_empty(),
        dry_run: false,
        version: known.standing.taken.version,
        files,
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
        altered: altered(facts, &loaded.facts),
        systems_changed,
        orphans: Vec::new(),
        orphans_are: None,
        orphans_before: 0,
        needs_restart: Vec::new(),
        warnings: Vec::new(),
    }
}

/// What is there before and after, and says something else. Where a line stands in the file says nothing.
fn altered(before: &Facts, after: &Facts) -> Vec<String> {
    fn others<T>(
        kind: &str,
        (before, after): (&[T], &[T]),
        name: fn(&T) -> &str,
        differ: fn(&T, &T) -> bool,
    ) -> Vec<String> {
        let known = |one: &&T| before.iter().any(|known| name(known) == name(one) && differ(known, one));
        after.iter().filter(known).map(|one| format!("{kind} {}", name(one))).collect()
    }
    fn is_other(one: &DestinationFacts, other: &DestinationFacts) -> bool {
        let plain = |one: &DestinationFacts| {
            let settings = one.settings.iter().map(|setting| (setting.key, setting.value.clone()));
            (one.system.clone(), one.kind, one.call.clone(), settings.collect::<Vec<_>>())
        };
        plain(one) != plain(other)
    }
    let sources = others("source", (&before.sources, &after.sources), |one| &one.name, |one, other| one != other);
    let destinations = (before.destinations.as_slice(), after.destinations.as_slice());
    let destinations = others("destination", destinations, |one| &one.name, is_other);
    let routes = others("route", (&before.routes, &after.routes), |one| &one.summary.route, |one, other| one != other);
    [sources, destinations, routes].concat()
}

/// Everything that has a name.
fn names(plan: &Plan, sources: &BTreeSet<String>) -> BTreeSet<String> {
    let kinds = [
        ("source", sources.iter().collect::<Vec<_>>()),
        ("route", plan.routes.keys().collect()),
        ("destination", plan.destinations.keys().collect()),
        ("system", plan.systems.keys().collect()),
    ];
    kinds.into_iter().flat_map(|(kind, names)| names.into_iter().map(move |name| format!("{kind} {name}"))).collect()
}

/// The start of a long list of mistakes: an alarm says that something is wrong, and the log says all of it.
fn first_lines(error: &str) -> String {
    let mut lines = error.lines();
    let shown: Vec<&str> = lines.by_ref().take(3).collect();
    let left = lines.count();
    if left == 0 { shown.join(" ") } else { format!("{} (and {left} more)", shown.join(" ")) }
}

//! The composition root: builds the parts, hands back the ports, runs, drains.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer};
use arc_swap::ArcSwap;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::admin::book::Probe;
use crate::admin::moving::Standing;
use crate::admin::{self, Admin, Terms};
use crate::clock::{SharedClock, Timestamp};
use crate::config::{self, Loaded, StoreSettings};
use crate::deliver;
use crate::dispatch::{self, Dispatch};
use crate::facts::Facts;
use crate::gateway::open::{OpenError, Opened};
use crate::intake::{self, Desk};
use crate::receive::answer::Answer;
use crate::receive::front::Standing as Front;
use crate::receive::tls::{self, TlsError};
use crate::receive::{self, Edge, Source};
use crate::store::{AuditFilter, Deed, Signal, Store, StoreError, StoreResult, StoredConfig, TakenBy, TakenConfig};
use crate::telemetry::{Alarms, Collector, Metrics, Traces};

mod certificates;
mod discard;
mod heralds;
mod lanes;
mod lookout;
mod moving;
pub mod open;
mod people;
mod reload;
mod series;
mod upkeep;
mod watch;
mod workbench;

use self::certificates::Certificates;
use self::heralds::{Heralds, Telling};
use self::lookout::Lookout;
use self::moving::Order;
use self::upkeep::{Sampled, Upkeep};
pub use moving::Moving;
pub use reload::Reloader;

/// Of the refused POSTs of an earlier process so many are looked at.
const REFUSED_READ: u32 = 100;
/// So many times that a configuration came into force are gone back to.
const TAKEN_MAX: u32 = 100;
/// How often the housekeeping looks round.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How often it is looked whether a store that failed works again.
const STORE_LOOK: Duration = Duration::from_millis(500);
/// Wall and monotonic time that part by more than this mean that the wall clock was set.
const CLOCK_JUMP: Duration = Duration::from_secs(60);
/// How long an admin request may take to end when the gateway stops, in seconds.
const ADMIN_PATIENCE_SECONDS: u64 = 2;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store was opened and does not answer.
    #[error("reading the store")]
    Store(#[from] StoreError),
    /// A port cannot be bound.
    #[error("listening on {address} ({key}): {error}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The configuration became wrong while the gateway ran, and what was in force cannot be read either.
    #[error("reading the configuration again: {0}")]
    Configuration(String),
    /// TLS cannot be offered.
    #[error("server.tls")]
    Tls(#[from] TlsError),
    /// TLS cannot be offered to people.
    #[error("server.admin_tls")]
    AdminTls(#[source] TlsError),
}

/// A running gateway.
pub struct Gateway {
    sockets: Sockets,
    probe: Option<Probe>,
    /// The clock of this machine.
    clock: SharedClock,
    path: Option<PathBuf>,
    settings: StoreSettings,
    moving: Arc<Moving>,
    public: SocketAddr,
    admin: SocketAddr,
    store: Arc<dyn Store>,
    dispatch: Arc<Dispatch>,
    desk: Arc<Desk>,
    closing: Arc<AtomicBool>,
    reloader: Arc<Reloader>,
    jobs: admin::Jobs,
    public_server: Running,
    admin_server: Running,
    rounds: Rounds,
    upkeep: Arc<Upkeep>,
    traces: Arc<Traces>,
}

/// The sockets that listen. They outlive the servers on them: while the gateway turns to another store, whoever connects
/// waits a moment and is not refused.
struct Sockets {
    public: TcpListener,
    admin: TcpListener,
}

impl Sockets {
    fn bind(server: &config::Server) -> Result<Self, StartError> {
        let bind =
            |key, address| TcpListener::bind(address).map_err(|error| StartError::Listen { key, address, error });
        Ok(Self {
            public: bind("server.listen", server.listen)?,
            admin: bind("server.admin_listen", server.admin_listen)?,
        })
    }

    /// Second handles of the same sockets.
    fn handles(&self, server: &config::Server) -> Result<(TcpListener, TcpListener), StartError> {
        let handle = |key, socket: &TcpListener, address| {
            socket.try_clone().map_err(|error| StartError::Listen { key, address, error })
        };
        let public = handle("server.listen", &self.public, server.listen)?;
        Ok((public, handle("server.admin_listen", &self.admin, server.admin_listen)?))
    }
}

/// What listens, and how: the two sockets' second handles, where they are, and what a connection begins by.
struct Doors {
    front: Front,
    admin_tls: Option<rustls::ServerConfig>,
    public_socket: TcpListener,
    admin_socket: TcpListener,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Doors {
    fn of(sockets: &Sockets, server: &config::Server) -> Result<Self, StartError> {
        let front = front(server)?;
        let admin_tls = admin_tls(server).map_err(StartError::AdminTls)?;
        let (public_socket, admin_socket) = sockets.handles(server)?;
        let public = address(&public_socket, server.listen);
        let admin = address(&admin_socket, server.admin_listen);
        Ok(Self { front, admin_tls, public_socket, admin_socket, public, admin })
    }
}

/// What runs beside the two ways for as long as the gateway does.
struct Rounds {
    housekeeping: JoinHandle<()>,
    telling: JoinHandle<()>,
    watch: JoinHandle<()>,
    upkeeping: [JoinHandle<()>; 2],
}

impl Rounds {
    fn begin(house: Housekeeping, heralds: &Arc<Heralds>, reloader: &Arc<Reloader>, upkeep: &Arc<Upkeep>) -> Self {
        Self {
            housekeeping: tokio::spawn(house.run()),
            telling: tokio::spawn(Arc::clone(heralds).run()),
            watch: tokio::spawn(watch::run(Arc::clone(reloader))),
            upkeeping: [tokio::spawn(Arc::clone(upkeep).beat_on()), tokio::spawn(Arc::clone(upkeep).prune_on())],
        }
    }
}

struct Running {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Gateway {
    /// Opens the store, binds both ports, and starts the way in and the way out.
    ///
    /// # Errors
    /// What stood in the way; nothing is left running then.
    pub async fn start(loaded: Loaded, clock: SharedClock) -> Result<Self, StartError> {
        Self::start_with(loaded, clock, None).await
    }

    /// The same, with what looks at a destination when somebody wants one to be tried.
    ///
    /// # Errors
    /// As for [`Gateway::start`].
    pub async fn start_with(loaded: Loaded, clock: SharedClock, probe: Option<Probe>) -> Result<Self, StartError> {
        let sockets = Sockets::bind(&loaded.server)?;
        Self::start_on((sockets, probe), loaded, clock, None).await
    }

    async fn start_on(
        (sockets, probe): (Sockets, Option<Probe>),
        loaded: Loaded,
        clock: SharedClock,
        earlier: Option<Standing>,
    ) -> Result<Self, StartError> {
        let Doors { front, admin_tls, public_socket, admin_socket, public, admin } =
            Doors::of(&sockets, &loaded.server)?;
        let limits = loaded.server.limits.clone();
        let (path, settings) = (loaded.path.clone(), loaded.store.clone());
        let (parts, start) = Parts::build(loaded, Arc::clone(&clock)).await?;
        let moving = parts.moving(path.as_deref(), &settings, earlier);
        // Before anything comes in: what comes would show that it listened.
        let upkeep = Arc::new(parts.upkeep());
        upkeep.beat().await;
        parts.tell_past().await;
        let edge = parts.edge(&limits, front);
        let certificates = Arc::new(parts.certificates(&edge));
        certificates.look();
        let scheme = edge.scheme();
        let reloader = parts.reloader(Arc::clone(&edge), Arc::clone(&certificates), start);
        let listen = |key, address| move |error| StartError::Listen { key, address, error };
        let public_server = public_server(edge, public_socket, &limits).map_err(listen("server.listen", public))?;
        let door = admin::Door { is_tls: admin_tls.is_some(), is_exposed: !admin.ip().is_loopback() };
        let outside = Outside { door, public: format!("{scheme}://{public}"), probe: probe.clone() };
        let shown = parts.admin(outside, &reloader, &moving, &certificates);
        let jobs = shown.jobs.clone();
        let admin_server =
            admin_server(shown, admin_socket, admin_tls).map_err(listen("server.admin_listen", admin))?;
        let house = parts.housekeeping(&reloader, &moving, certificates, parts.lookout(&settings));
        let rounds = Rounds::begin(house, &parts.senses.heralds, &reloader, &upkeep);
        tracing::info!(%public, %admin, scheme, "omgate is ready");
        let Parts { opened, senses, dispatch, desk, closing, .. } = parts;
        Ok(Self {
            sockets,
            probe,
            clock,
            path,
            settings,
            moving,
            public,
            admin,
            store: opened.store,
            dispatch,
            desk,
            closing,
            reloader,
            jobs,
            public_server: Running::spawn(public_server),
            admin_server: Running::spawn(admin_server),
            rounds,
            upkeep,
            traces: senses.traces,
        })
    }

    /// The port Salesforce posts to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.public.port()
    }

    /// Where Salesforce posts to.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// The port of the admin listener.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin.port()
    }

    /// The store, for those who run a gateway inside their own process.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// What reads the configuration again.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// What moves the store, and says when this gateway should turn to the other one: see [`Gateway::switch`].
    #[must_use]
    pub fn moving(&self) -> Arc<Moving> {
        Arc::clone(&self.moving)
    }

    /// Stops gracefully: POSTs are nacked, calls under way get the drain time, then the listeners and the store close.
    pub async fn shutdown(self) {
        self.quiet("the gateway was stopped, which cut it off; order it again for the rest").await;
        self.public_server.stop().await;
        self.admin_server.stop().await;
        self.upkeep.beat().await;
        self.store.close().await;
        tracing::info!("stopped");
    }

    /// Turns to the store that this one was moved into, or goes on with this one when the last step of the move fails. In
    /// between POSTs are nacked, then wait for a moment.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn switch(self) -> Result<Self, StartError> {
        self.quiet("a move of the store cut it off; order it again for the rest").await;
        self.upkeep.beat().await;
        let (standing, order) = self.moving.switch().await;
        let in_force = in_force(&self.store).await;
        tokio::join!(self.public_server.stop(), self.admin_server.stop());
        self.store.close().await;
        let Self { sockets, probe, clock, path, settings, .. } = self;
        let read = path.as_deref().map(config::load);
        let loaded = match (read, in_force) {
            (Some(Ok(loaded)), _) => loaded,
            // What was in force is as good as a file that is being written.
            (_, Some(loaded)) => Loaded { path, ..loaded },
            (Some(Err(problems)), None) => return Err(StartError::Configuration(problems.to_string())),
            (None, None) => return Err(StartError::Configuration("there is none any more".to_owned())),
        };
        let named = loaded.store.clone();
        let store = order.as_ref().map_or(settings, |order| order.settings.clone());
        open::until_there(&store, &clock).await;
        let gateway = Self::start_on((sockets, probe), Loaded { store, ..loaded }, clock, Some(standing)).await?;
        if let Some(order) = order {
            gateway.arrived(order, &named).await;
        }
        Ok(gateway)
    }

    /// Nothing comes in, and nothing goes out any more. `why` is why a job that is under way ends.
    async fn quiet(&self, why: &'static str) {
        self.closing.store(true, Ordering::SeqCst);
        self.desk.close();
        self.jobs.end(why).await;
        let Rounds { housekeeping, telling, watch, upkeeping } = &self.rounds;
        [housekeeping, watch, telling].into_iter().for_each(JoinHandle::abort);
        self.reloader.end().await;
        let drain = self.reloader.drain();
        tracing::info!(drain_s = drain.as_secs(), "stopping: envelopes are nacked, calls under way may end");
        upkeeping.iter().for_each(JoinHandle::abort);
        self.dispatch.drain(drain).await;
        self.traces.end().await;
    }

    /// Notes that this store is the gateway's from here on. `named` is what the configuration names.
    async fn arrived(&self, order: Order, named: &StoreSettings) {
        let Order { settings, by } = order;
        let (at, result) = (self.clock.now(), "done".to_owned());
        let deed = Deed {
            at,
            by,
            verb: "move".to_owned(),
            object: "store",
            object_id: settings.shown(),
            count: 1,
            result,
            ..Deed::default()
        };
        if let Err(error) = self.store.audit(deed).await {
            tracing::error!(%error, "no entry in the audit log: the store was moved");
        }
        if *named != settings {
            self.reloader.warn_of_store(named);
        }
    }
}

/// The configuration in force, as it is stored.
async fn in_force(store: &Arc<dyn Store>) -> Option<Loaded> {
    let taken = store.taken_configs(1).await.ok()?.into_iter().next()?;
    let stored = store.config(taken.version).await.ok()?;
    config::load_stored(&stored).ok()
}

/// The systems that a plan pauses and that a person resumed since the configuration began to say so. The audit log tells: that
/// no pause is kept proves nothing, for the gateway may have ended before it was.
async fn resumed(
    store: &Arc<dyn Store>,
    plan: &dispatch::Plan,
    history: &[TakenConfig],
) -> StoreResult<HashSet<String>> {
    let mut resumes = HashMap::new();
    for (name, _) in plan.systems.iter().filter(|(_, system)| system.paused) {
        let filter = AuditFilter {
            verb: Some("resume".to_owned()),
            object: Some("system".to_owned()),
            object_id: Some(name.clone()),
            limit: Some(1),
            ..AuditFilter::default()
        };
        if let Some(entry) = store.audit_log(filter).await?.first() {
            resumes.insert(name.clone(), entry.at);
        }
    }
    let mut resumed = HashSet::new();
    let mut looked_at = None;
    for taken in history {
        if resumes.is_empty() {
            break;
        }
        if looked_at.as_ref().is_none_or(|(version, _)| *version != taken.version) {
            let loaded = store.config(taken.version).await.ok().and_then(|stored| config::load_stored(&stored).ok());
            looked_at = Some((taken.version, loaded));
        }
        let Some((_, Some(loaded))) = &looked_at else { break };
        // Going back: what did not pause it ends the search, and so does the time of the resume.
        resumes.retain(|name, _| loaded.plan.systems.get(name).is_some_and(|system| system.paused));
        resumed.extend(resumes.extract_if(|_, resume| *resume >= taken.at).map(|(name, _)| name));
    }
    Ok(resumed)
}

impl Running {
    fn spawn(server: Server) -> Self {
        Self { handle: server.handle(), task: tokio::spawn(server) }
    }

    async fn stop(self) {
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(%error, "a listener ended badly");
        }
    }
}

/// Where a socket really listens: port 0 means any.
fn address(socket: &TcpListener, configured: SocketAddr) -> SocketAddr {
    socket.local_addr().unwrap_or(configured)
}

/// What a section of TLS serves. What was not read with the configuration is read now.
fn served(tls: &receive::Tls) -> Result<Arc<tls::Served>, TlsError> {
    match &tls.served {
        Some(served) => Ok(Arc::clone(served)),
        None => tls::serve(tls, &|path| std::fs::read(path)).map(Arc::new),
    }
}

/// What connections begin by, as a configuration says.
fn front(server: &config::Server) -> Result<Front, TlsError> {
    let tls = server.tls.as_ref().map(served).transpose()?;
    Ok(Front { tls, proxy: server.proxy.clone() })
}

fn admin_tls(server: &config::Server) -> Result<Option<rustls::ServerConfig>, TlsError> {
    let served = server.admin_tls.as_ref().map(served).transpose()?;
    Ok(served.map(|served| rustls::ServerConfig::clone(&served.config)))
}

fn public_server(edge: Arc<Edge>, socket: TcpListener, limits: &receive::Limits) -> io::Result<Server> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(16);
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(limits.connections_max.div_ceil(workers))
        .shutdown_timeout(ADMIN_PATIENCE_SECONDS)
        .disable_signals();
    let (header_timeout, ending) = (limits.header_timeout, server.graceful_shutdown_signal());
    let service = move || {
        let ending = ending.clone();
        let ends = move || {
            let ending = ending.clone();
            async move { ending.notified().await }
        };
        receive::front::service(Arc::clone(&edge), header_timeout, ends)
    };
    Ok(server.listen("public", socket, service)?.run())
}

fn admin_server(admin: Arc<Admin>, socket: TcpListener, tls: Option<rustls::ServerConfig>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        let admin = Arc::clone(&admin);
        App::new().configure(move |config| admin::configure(config, admin))
    })
    .workers(1)
    .max_connections(256)
    .shutdown_timeout(ADMIN_PATIENCE_SECONDS)
    .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(socket, tls)?,
        None => server.listen(socket)?,
    };
    Ok(server.run())
}

/// How the admin listener is reached, where the public one is, and what tries destinations.
struct Outside {
    door: admin::Door,
    public: String,
    probe: Option<Probe>,
}

/// What compares configurations.
fn comparing(clock: &SharedClock) -> admin::what_if::WhatIf {
    let clock = Arc::clone(clock);
    admin::what_if::WhatIf::new(Box::new(move |comparison| workbench::compared(comparison, &clock)))
}

/// Takes an envelope from this process as if it had been posted.
fn taker_of(desk: &Arc<Desk>) -> admin::sample::Take {
    let desk = Arc::clone(desk);
    Box::new(move |source, envelope| {
        let desk = Arc::clone(&desk);
        Box::pin(async move {
            let post =
                receive::Post { source, body: envelope.into(), charset: None, sender: "this gateway".to_owned() };
            match receive::Intake::take(desk.as_ref(), post).await {
                Answer::Accepted => Ok(()),
                Answer::NotNow => Err("the store or the gateway cannot take it now".to_owned()),
                Answer::Refused(refusal) => Err(refusal.reason),
                Answer::TooLarge(reason) => Err(reason),
            }
        })
    })
}

/// For how long each source may be silent.
fn silences(sources: &[Arc<Source>]) -> BTreeMap<String, Option<Duration>> {
    sources.iter().map(|source| (source.name.clone(), source.silence)).collect()
}

/// What measures, warns and traces, and who is told of it.
struct Senses {
    metrics: Arc<Metrics>,
    alarms: Arc<Alarms>,
    traces: Arc<Traces>,
    telling: Arc<ArcSwap<Telling>>,
    heralds: Arc<Heralds>,
}

impl Senses {
    fn new(telling: Telling, collector: Option<Collector>, clock: &SharedClock) -> Self {
        let metrics = Arc::new(Metrics::default());
        let alarms = Arc::new(Alarms::by_clock(Arc::clone(&metrics), Arc::clone(clock)));
        let traces = Arc::new(Traces::new(Arc::clone(&metrics), Arc::clone(clock)));
        traces.adopt(collector);
        let telling = Arc::new(ArcSwap::from_pointee(telling));
        let (told_of, figures, time) = (Arc::clone(&alarms), Arc::clone(&metrics), Arc::clone(clock));
        let heralds = Arc::new(Heralds::new(told_of, figures, time, Arc::clone(&telling)));
        Self { metrics, alarms, traces, telling, heralds }
    }
}

/// The parts behind the listeners.
struct Parts {
    opened: Opened,
    senses: Senses,
    sources: Vec<Arc<Source>>,
    dispatch: Arc<Dispatch>,
    desk: Arc<Desk>,
    closing: Arc<AtomicBool>,
    terms: Arc<ArcSwap<Terms>>,
    accounts: Arc<ArcSwap<Vec<Account>>>,
    people: admin::oidc::People,
}

impl Parts {
    async fn build(loaded: Loaded, clock: SharedClock) -> Result<(Self, reload::Start), StartError> {
        let masks = loaded.masks();
        let Loaded { server, store: settings, plan, .. } = loaded;
        let held = (loaded.hold_unknown, server.limits.queue_max);
        let opened = open::store((settings.clone(), loaded.encryption), held.0, held.1, clock).await?;
        let (taken, resumed) = come_into_force(&opened, &plan, &loaded.facts, loaded.stored).await?;
        let telling = Telling { alarming: loaded.alarms, gateway: server.name.clone() };
        let names: BTreeSet<String> = loaded.sources.iter().map(|source| source.name.clone()).collect();
        let senses = Senses::new(telling, loaded.collector, &opened.clock);
        let named = names.iter().map(String::as_str);
        series::begin(&senses.metrics, named, &plan, &senses.telling.load().alarming);
        let dispatch = way_out(&opened, &senses, &plan, (&taken, &resumed)).await?;
        listen(&opened.store, &dispatch);
        let sources: Vec<_> = loaded.sources.into_iter().map(Arc::new).collect();
        let terms = Terms {
            retention: loaded.retention,
            sources: silences(&sources),
            masks,
            facts: Arc::new(loaded.facts),
            four_eyes: server.four_eyes,
        };
        let rules = intake::Rules {
            sources: sources.clone(),
            routes: loaded.routes,
            limits: server.limits.clone(),
            config_version: taken.version,
        };
        let parts = Self {
            desk: way_in(&opened, &senses, &dispatch, rules),
            opened,
            senses,
            sources,
            dispatch,
            closing: Arc::default(),
            terms: Arc::new(ArcSwap::from_pointee(terms)),
            accounts: Arc::new(ArcSwap::from_pointee(loaded.accounts)),
            people: Arc::new(ArcSwap::from_pointee(people::provider(&server))),
        };
        let (path, seen) = (loaded.path, loaded.seen);
        Ok((parts, reload::Start { path, server, settings, seen, plan, sources: names, taken }))
    }

    fn moving(&self, path: Option<&Path>, settings: &StoreSettings, earlier: Option<Standing>) -> Arc<Moving> {
        let Opened { store, clock, origin, .. } = &self.opened;
        let folder = path.and_then(Path::parent).map_or_else(PathBuf::new, Path::to_owned);
        Moving::new((Arc::clone(origin), store, settings.clone()), folder, Arc::clone(clock), earlier)
    }

    fn edge(&self, limits: &receive::Limits, front: Front) -> Arc<Edge> {
        let (sources, desk) = (self.sources.clone(), Arc::clone(&self.desk) as _);
        Arc::new(Edge::new(sources, limits.clone(), front, Arc::clone(&self.opened.clock), desk))
    }

    fn certificates(&self, edge: &Arc<Edge>) -> Certificates {
        Certificates {
            edge: Arc::clone(edge),
            desk: Arc::clone(&self.desk),
            dispatch: Arc::clone(&self.dispatch),
            metrics: Arc::clone(&self.senses.metrics),
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            alarmed: Mutex::default(),
        }
    }

    fn reloader(&self, edge: Arc<Edge>, certificates: Arc<Certificates>, start: reload::Start) -> Arc<Reloader> {
        let parts = reload::Parts {
            store: Arc::clone(&self.opened.store),
            dispatch: Arc::clone(&self.dispatch),
            desk: Arc::clone(&self.desk),
            edge,
            certificates,
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            closing: Arc::clone(&self.closing),
            terms: Arc::clone(&self.terms),
            telling: Arc::clone(&self.senses.telling),
            traces: Arc::clone(&self.senses.traces),
            metrics: Arc::clone(&self.senses.metrics),
            accounts: Arc::clone(&self.accounts),
            people: Arc::clone(&self.people),
            keys: Arc::clone(&self.opened.keys),
        };
        Reloader::new(parts, start)
    }

    fn admin(
        &self,
        outside: Outside,
        reloader: &Arc<Reloader>,
        moving: &Arc<Moving>,
        certificates: &Arc<Certificates>,
    ) -> Arc<Admin> {
        let Outside { door, public, probe } = outside;
        let certificates = Arc::clone(certificates);
        let (taker, guard, considerer) = (Arc::clone(&self.desk), Arc::clone(&self.desk), Arc::clone(&self.desk));
        let (desk, along, editor) = (Arc::clone(&self.desk), Arc::clone(&self.desk), Arc::clone(&self.desk));
        Arc::new(Admin {
            answers: admin::Answers::default(),
            since: self.opened.clock.now(),
            plan: Box::new(move |stored| desk.plan(stored)),
            plan_to: Box::new(move |stored, to| along.plan_to(stored, to)),
            edit: Box::new(move |stored, edits| editor.edit(stored, edits)),
            consider: Box::new(move |stored| considerer.consider(stored)),
            takes: Box::new(move |source, organization| taker.takes(source, organization)),
            admits: Box::new(move |stored| guard.admits(stored)),
            edge: Box::new(move || certificates.shown()),
            public,
            trial: Box::new(workbench::tried),
            what_if: comparing(&self.opened.clock),
            take: taker_of(&self.desk),
            probe,
            store: Arc::clone(&self.opened.store),
            dispatch: Arc::clone(&self.dispatch),
            metrics: Arc::clone(&self.senses.metrics),
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            closing: Arc::clone(&self.closing),
            jobs: admin::Jobs::default(),
            unwritten: admin::Unwritten::default(),
            issues: admin::FoundIssues::default(),
            failing: admin::FoundFailing::default(),
            proposals: admin::Proposals::default(),
            reload: Some(Arc::clone(reloader) as _),
            moving: Some(Arc::new(moving::Desk(Arc::clone(moving)))),
            herald: Some(Arc::clone(&self.senses.heralds) as _),
            entry: admin::Entry::new(Arc::clone(&self.accounts), Arc::clone(&self.people), door),
            keep: admin::Keep {
                terms: Arc::clone(&self.terms),
                keys: Arc::clone(&self.opened.keys),
                ..admin::Keep::default()
            },
        })
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep {
            store: Arc::clone(&self.opened.store),
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            terms: Arc::clone(&self.terms),
            metrics: Arc::clone(&self.senses.metrics),
            sampled: Sampled::default(),
        }
    }

    /// Lets the desk know for how long each source was silent before the start, and what was refused.
    async fn tell_past(&self) {
        let now = self.opened.clock.now();
        match self.opened.store.gaps(now.day(), None).await {
            Ok(gaps) => gaps.iter().for_each(|gap| self.desk.silent_before(&gap.source, now.since(gap.last_envelope))),
            Err(error) => tracing::debug!(%error, "the silence of sources could not be read"),
        }
        match self.opened.store.refused(REFUSED_READ).await {
            Ok(posts) => self.desk.refused_before(&posts),
            Err(error) => tracing::debug!(%error, "what was refused before could not be read"),
        }
    }

    fn lookout(&self, settings: &StoreSettings) -> Lookout {
        let folder = (!settings.is_database()).then(|| settings.path.parent().unwrap_or(Path::new("")).to_owned());
        Lookout {
            store: Arc::clone(&self.opened.store),
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            telling: Arc::clone(&self.senses.telling),
            folder,
            known: Mutex::default(),
        }
    }

    fn housekeeping(
        &self,
        reloader: &Arc<Reloader>,
        moving: &Arc<Moving>,
        certificates: Arc<Certificates>,
        lookout: Lookout,
    ) -> Housekeeping {
        Housekeeping {
            lookout,
            store: Arc::clone(&self.opened.store),
            desk: Arc::clone(&self.desk),
            alarms: Arc::clone(&self.senses.alarms),
            clock: Arc::clone(&self.opened.clock),
            reloader: Arc::clone(reloader),
            moving: Arc::clone(moving),
            certificates,
        }
    }
}

/// Keeps that this configuration is in force from here on; and the systems that it pauses and that a person resumed.
async fn come_into_force(
    opened: &Opened,
    plan: &dispatch::Plan,
    facts: &Facts,
    stored: StoredConfig,
) -> StoreResult<(TakenConfig, HashSet<String>)> {
    let Opened { store, clock, .. } = opened;
    let history = store.taken_configs(TAKEN_MAX).await?;
    let resumed = resumed(store, plan, &history).await?;
    let version = store.save_config(stored, clock.now()).await?;
    let taken = TakenConfig { version, at: clock.now(), by: TakenBy::Start, reason: String::new() };
    store.take_config(taken.clone()).await?;
    if let Some(before) = history.first().filter(|before| before.version != version) {
        tracing::info!(version = version.0, "the configuration is another than before this start");
        warn_of_lanes(store, before, (facts, plan)).await?;
    }
    store.pull_back(clock.now(), reload::wait_max(plan)).await?;
    Ok((taken, resumed))
}

/// Says which routes keep their order otherwise than before this start.
async fn warn_of_lanes(
    store: &Arc<dyn Store>,
    before: &TakenConfig,
    now: (&Facts, &dispatch::Plan),
) -> StoreResult<()> {
    // One that does not load any more, with what it names gone, says nothing.
    let Ok(before) = config::load_stored_without_secrets(&store.config(before.version).await?) else { return Ok(()) };
    for warning in lanes::reordered((&before.facts, &before.plan), now, &store.unsettled().await?) {
        tracing::warn!("configuration: {warning}");
    }
    Ok(())
}

/// Starts what delivers.
async fn way_out(
    opened: &Opened,
    senses: &Senses,
    plan: &Arc<dispatch::Plan>,
    (taken, resumed): (&TakenConfig, &HashSet<String>),
) -> StoreResult<Arc<Dispatch>> {
    let parts = dispatch::Parts {
        store: Arc::clone(&opened.store),
        plan: Arc::clone(plan),
        config_version: taken.version,
        recall: Box::new(|stored| config::load_stored(stored).ok().map(|loaded| loaded.plan)),
        transport: Arc::new(deliver::Http),
        clock: Arc::clone(&opened.clock),
        metrics: Arc::clone(&senses.metrics),
        alarms: Arc::clone(&senses.alarms),
        traces: Arc::clone(&senses.traces),
    };
    Dispatch::start_after(parts, resumed).await
}

/// What takes envelopes in, and wakes what delivers.
fn way_in(opened: &Opened, senses: &Senses, dispatch: &Arc<Dispatch>, rules: intake::Rules) -> Arc<Desk> {
    let wake = Arc::clone(dispatch);
    Arc::new(Desk::new(intake::Parts {
        rules,
        store: Arc::clone(&opened.store),
        clock: Arc::clone(&opened.clock),
        metrics: Arc::clone(&senses.metrics),
        alarms: Arc::clone(&senses.alarms),
        traces: Arc::clone(&senses.traces),
        wake: Box::new(move |system| wake.wake(system)),
    }))
}

/// Hears what other gateways on the same store tell, for as long as the store is open.
fn listen(store: &Arc<dyn Store>, dispatch: &Arc<Dispatch>) {
    let Some(mut signals) = store.signals() else { return };
    // The store is closed when nobody holds it any more; this must not be who does.
    let dispatch = Arc::downgrade(dispatch);
    tokio::spawn(async move {
        loop {
            let signal = match signals.recv().await {
                Ok(signal) => signal,
                // Whoever missed some looks everywhere.
                Err(RecvError::Lagged(_)) => Signal::Look,
                Err(RecvError::Closed) => return,
            };
            match dispatch.upgrade() {
                Some(dispatch) => dispatch.hear(signal).await,
                None => return,
            }
        }
    });
}

/// Looks round: lanes without a head, a wall clock that was set, alarms that begin and end with time.
struct Housekeeping {
    store: Arc<dyn Store>,
    desk: Arc<Desk>,
    alarms: Arc<Alarms>,
    clock: SharedClock,
    reloader: Arc<Reloader>,
    moving: Arc<Moving>,
    certificates: Arc<Certificates>,
    lookout: Lookout,
}

impl Housekeeping {
    async fn run(self) {
        tokio::join!(self.keep_house(), self.watch_store());
    }

    async fn watch_store(&self) {
        loop {
            tokio::time::sleep(STORE_LOOK).await;
            self.desk.look_at_store();
        }
    }

    async fn keep_house(&self) {
        let mut wall = WallClock::new(&self.clock);
        self.reloader.begin().await;
        self.moving.look(&self.alarms).await;
        self.lookout.look().await;
        for round in 1_u64.. {
            tokio::time::sleep(HOUSEKEEPING).await;
            if wall.was_set(&self.clock) {
                tracing::warn!("the wall clock was set: due times are brought back within the longest wait");
                if let Err(error) = self.store.pull_back(self.clock.now(), self.reloader.wait_max()).await {
                    tracing::warn!(%error, "due times could not be brought back");
                }
            }
            self.lookout.look().await;
            if round.is_multiple_of(6) {
                self.desk.minute();
                self.certificates.look();
                self.reloader.minute().await;
                self.moving.look(&self.alarms).await;
                sweep(&self.store, &self.alarms).await;
            }
        }
    }
}

async fn sweep(store: &Arc<dyn Store>, alarms: &Alarms) {
    match store.sweep().await {
        Ok(0) => {}
        Ok(lanes) => {
            alarms.raise("lanes", "", "a lane had blocked deliveries and no head: please report this");
            tracing::error!(lanes, "lanes were repaired");
        }
        Err(error) => tracing::debug!(%error, "the sweep did not run"),
    }
}

/// Compares the two clocks.
struct WallClock {
    wall: Timestamp,
    monotonic: Duration,
}

impl WallClock {
    fn new(clock: &SharedClock) -> Self {
        Self { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// Whether wall and monotonic time parted since the last look.
    fn was_set(&mut self, clock: &SharedClock) -> bool {
        let now = Self::new(clock);
        let by_wall = now.wall.0.saturating_sub(self.wall.0);
        let by_monotonic = i64::try_from(now.monotonic.saturating_sub(self.monotonic).as_millis()).unwrap_or(i64::MAX);
        *self = now;
        by_wall.abs_diff(by_monotonic) > u64::try_from(CLOCK_JUMP.as_millis()).unwrap_or(u64::MAX)
    }
}

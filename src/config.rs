//! The configuration file: read, checked as a whole, and made into what the stages need.
//!
//! Everything wrong in it is found at once, each with its place. What a delivery depends on (the file itself, WSDLs,
//! schemas, tables, templates) is remembered, secrets as references, so that a call can be made again byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::account::{Account, Right};
use crate::cipher::Keyring;
use crate::deliver::Target;
use crate::deliver::egress::Egress;
use crate::dispatch::{self, Plan, System};
use crate::facts::Facts;
use crate::masking::Masks;
use crate::receive;
use crate::route::{Lane, Route};
use crate::secret::{Mask, Text};
use crate::settle::{OnUnknown, Policy};
use crate::store::{Retention, StoredConfig};
use crate::wsdl::outbound::DeclaredRecord;

mod account;
mod adopt;
mod alarms;
mod after;
mod auth;
mod destination;
mod egress;
mod encryption;
mod facts;
mod file;
mod fit;
mod hand;
mod keep;
mod limits;
mod oidc;
mod pair;
mod problem;
mod read;
mod retention;
mod route;
mod rules;
mod secret;
mod security;
mod server;
mod source;
mod summary;
mod table;
mod telemetry;
mod tls;
mod value;
mod variant;

pub use adopt::{Adopted, adopted};
pub use alarms::{Alarming, Notify};
pub use file::Seen;
pub use hand::{ByHand, Whereabouts};
pub use oidc::Oidc;
pub use pair::pair;
pub use problem::{Problem, Problems, Severity};
pub use route::split_path;
pub use server::{Server, StoreSettings, needs_restart};
pub use source::GAP_PATH;
pub use value::duration;
pub use variant::with_route;

use destination::Configured;
use file::Files;
use read::{Desk, Section, Spot};
use route::Built;

/// Under this name a stored configuration keeps the configuration file itself.
const ITSELF: &str = "";
/// How a stored configuration is named in problems.
const STORED: &str = "stored configuration";

/// A configuration, checked and ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// `[server]`.
    pub server: Server,
    /// `[[account]]`, in order.
    pub accounts: Vec<Account>,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[store.encryption]`; empty where it is not there.
    pub encryption: Keyring,
    /// Whether there is a section `[store.encryption]`, its keys known or not.
    pub is_encrypted: bool,
    /// `[[source]]`, in order.
    pub sources: Vec<receive::Source>,
    /// The routes of each source, in order.
    pub routes: HashMap<String, Vec<Route>>,
    /// All that calls need.
    pub plan: Arc<Plan>,
    /// What is stored with the deliveries it makes.
    pub stored: StoredConfig,
    /// Remarkable, not wrong.
    pub warnings: Vec<Problem>,
    /// Destinations with `unknown = "hold"`.
    pub hold_unknown: Vec<String>,
    /// `[retention]`.
    pub retention: Retention,
    /// What it says, for people.
    pub facts: Facts,
    /// `[alarms]` and `[[notify]]`.
    pub alarms: Alarming,
    /// `[telemetry]`; absent: nothing is traced.
    pub collector: Option<crate::telemetry::Collector>,
    /// Every destination, for calls without a route.
    pub by_hand: HashMap<String, ByHand>,
    /// What the WSDLs of sources declare, by the source's name.
    pub declarations: HashMap<String, Arc<[DeclaredRecord]>>,
    /// The configuration file, absolute; none when it was stored.
    pub path: Option<PathBuf>,
    /// The files that it was made of.
    pub seen: Seen,
}

impl Loaded {
    /// What people are not to see: the fields that sources mask, and what their routes make of them.
    #[must_use]
    pub fn masks(&self) -> Masks {
        masks_of(&[self])
    }

    /// What people are not to see of what this one makes, or another: a field that either masks is hidden in what the
    /// routes of both make of it.
    #[must_use]
    pub fn masks_with(&self, other: &Self) -> Masks {
        masks_of(&[self, other])
    }
}

fn masks_of(all: &[&Loaded]) -> Masks {
    let mut masks = Masks::default();
    for source in all.iter().flat_map(|loaded| &loaded.sources) {
        masks.add_source(&source.name, source.mask.iter().cloned());
    }
    for (loaded, source) in all.iter().flat_map(|loaded| loaded.sources.iter().map(move |source| (loaded, source))) {
        for route in loaded.routes.get(&source.name).into_iter().flatten() {
            if let Some(made) = loaded.plan.routes.get(&route.name) {
                let lane = if let Lane::Expression(lane) = &route.lane { Some(lane) } else { None };
                masks.add_route(&source.name, &route.name, &made.mapping, lane);
            }
        }
    }
    masks
}

/// Loads a configuration file and all that it names.
///
/// # Errors
/// All that is wrong, and the warnings.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_and_see(path).0
}

/// Loads a configuration file and all that it names; and the files that were read for it, also where it is wrong.
pub fn load_and_see(path: &Path) -> (Result<Loaded, Problems>, Seen) {
    load_by(path, &environment)
}

/// Loads a configuration file as [`load`] does, to look at what it would do: a secret that is not there is no mistake, and
/// its reference stands for its value.
///
/// # Errors
/// All that is wrong, and the warnings.
pub fn load_without_secrets(path: &Path) -> Result<Loaded, Problems> {
    load_by(path, &environment_or_reference).0
}

/// Loads a stored configuration as [`load_stored`] does, without need of its secrets.
///
/// # Errors
/// All that is wrong.
pub fn load_stored_without_secrets(stored: &StoredConfig) -> Result<Loaded, Problems> {
    let text = stored.files.get(ITSELF).map(String::as_str).unwrap_or_default();
    read(STORED.to_owned(), text, &Files::stored(stored), &environment_or_reference)
}

fn load_by(path: &Path, environment: secret::Environment<'_>) -> (Result<Loaded, Problems>, Seen) {
    let files = Files::disk(&folder_of(path));
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Noted first, so that a file that cannot be read is looked for again.
    let text = files.disk_bytes(&absolute);
    let loaded =
        text_in(path, text).and_then(|text| read(path.to_string_lossy().into_owned(), &text, &files, environment));
    let seen = files.seen();
    let loaded = loaded.map(|loaded| Loaded { path: Some(absolute), seen: seen.clone(), ..loaded });
    (loaded, seen)
}

/// Loads a configuration file with one WSDL in place of another, wherever it names that; and the keys that name it.
pub fn load_instead(path: &Path, old: &Path, new: &Path) -> (Result<Loaded, Problems>, Vec<String>) {
    let text = match text_of(path) {
        Ok(text) => text,
        Err(problems) => return (Err(problems), Vec::new()),
    };
    let files = Files::with_instead(&folder_of(path), old, new);
    let loaded = read(path.to_string_lossy().into_owned(), &text, &files, &environment);
    (loaded, files.users())
}

fn text_of(path: &Path) -> Result<String, Problems> {
    text_in(path, file::read(path))
}

fn text_in(path: &Path, bytes: std::io::Result<Vec<u8>>) -> Result<String, Problems> {
    bytes
        .map_err(|error| file::reason(&error))
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()))
        .map_err(|reason| whole_file(&path.to_string_lossy(), format!("cannot read the configuration: {reason}")))
}

fn folder_of(path: &Path) -> PathBuf {
    std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default()
}

/// Loads a stored configuration: its files as they were, secrets from today's environment and files.
///
/// # Errors
/// All that is wrong, such as a secret that is gone.
pub fn load_stored(stored: &StoredConfig) -> Result<Loaded, Problems> {
    let text = stored.files.get(ITSELF).map(String::as_str).unwrap_or_default();
    read(STORED.to_owned(), text, &Files::stored(stored), &environment)
}

/// Where the gateway of a configuration listens for its people, read leniently: other faults of the file do not matter.
///
/// # Errors
/// In words.
pub fn admin_address(path: &Path) -> Result<AdminAddress, String> {
    let name = path.to_string_lossy();
    let bytes = file::read(path).map_err(|error| {
        let elsewhere =
            "name the configuration with --config FILE or OMGATE_CONFIG, or the gateway itself with --admin URL";
        let hint = if error.kind() == std::io::ErrorKind::NotFound { format!("; {elsewhere}") } else { String::new() };
        format!("reading {name}: {}{hint}", file::reason(&error))
    })?;
    let text = String::from_utf8(bytes).map_err(|_| format!("reading {name}: it is not UTF-8 text"))?;
    let files = Files::disk(path.parent().unwrap_or(Path::new("")));
    let (table, _) = DeTable::parse_recoverable(&text);
    let desk = Desk::new(name.into_owned(), &text, &files, &environment);
    let root = Section::new(&desk, table.get_ref(), Spot { key: String::new(), span: 0..0 });
    let server = server::server(&root, &egress::egress(&root));
    Ok(AdminAddress { listen: server.admin_listen, certificate: server.admin_tls.map(|tls| tls.certificate) })
}

/// Where the admin listener of a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress {
    /// `server.admin_listen`.
    pub listen: SocketAddr,
    /// The certificate of `[server.admin_tls]`, when it speaks TLS.
    pub certificate: Option<PathBuf>,
}

/// The store that an address names, as `store.url` would; a path that is relative counts from `folder`.
///
/// # Errors
/// What is wrong with it.
pub fn store_at(url: &str, folder: &Path) -> Result<StoreSettings, String> {
    let text = format!("[store]\nurl = {}", toml::Value::String(url.to_owned()));
    let files = Files::disk(folder);
    let (table, _) = DeTable::parse_recoverable(&text);
    let desk = Desk::new("--to".to_owned(), &text, &files, &environment);
    let root = Section::new(&desk, table.get_ref(), Spot { key: String::new(), span: 0..0 });
    let (settings, _) = server::store(&root);
    let (problems, _) = desk.finish();
    match problems.into_iter().find(|problem| problem.severity == Severity::Error) {
        Some(problem) => Err(problem.reason),
        None => Ok(settings),
    }
}

/// A text of the command line in which `${NAME}`, `${file:PATH}` and their like stand for secrets.
///
/// # Errors
/// Which secret is not there.
pub fn with_secrets(raw: &str) -> Result<Text, String> {
    let (text, problems) = secret::substitute(raw, &environment, &Files::disk(Path::new("")));
    match problems.into_iter().find(|(_, severity, _)| *severity == Severity::Error) {
        Some((_, _, reason)) => Err(reason),
        None => Ok(text),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A secret that is not there is shown, and sent nowhere, as what refers to it.
fn environment_or_reference(name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty()).or_else(|| Some(format!("${{{name}}}")))
}

fn whole_file(name: &str, reason: String) -> Problems {
    let file = name.to_owned();
    let severity = Severity::Error;
    Problems(vec![Problem {
        severity,
        file,
        line: 0,
        column: 0,
        rule: String::new(),
        key: String::new(),
        reason,
        suggestion: None,
    }])
}

fn read(name: String, text: &str, files: &Files, environment: secret::Environment<'_>) -> Result<Loaded, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let desk = Desk::new(name, text, files, environment);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        desk.error(&Spot { key: String::new(), span }, error.message().trim().replace('\n', ", "));
    }
    // What cannot be read as TOML would only be reported again as missing.
    let loaded = if desk.has_failed() { None } else { build(&desk, table.get_ref(), text) };
    let failed = desk.has_failed();
    let (problems, secrets) = desk.finish();
    match loaded {
        Some(mut loaded) if !failed => {
            if let Some(plan) = Arc::get_mut(&mut loaded.plan) {
                plan.mask = Mask::new(secrets);
            }
            loaded.facts.warnings = problems.iter().map(ToString::to_string).collect();
            loaded.warnings = problems;
            Ok(loaded)
        }
        _ => Err(Problems(problems)),
    }
}

fn build(desk: &Desk<'_>, table: &DeTable<'_>, text: &str) -> Option<Loaded> {
    let root = Section::new(desk, table, Spot { key: String::new(), span: 0..0 });
    let egress = egress::egress(&root);
    let Around { server, accounts, store, encryption, is_encrypted, retention, alarms, collector } =
        around(desk, &root, &egress);
    let tables = table::tables(&root);
    let (sources, declarations) = source::sources(&root);
    let destinations = destination::destinations(&root, &tables);
    let parts =
        route::Parts { sources: &sources, declarations: &declarations, destinations: &destinations, tables: &tables };
    let built = route::routes(&root, &parts);
    let systems = destination::systems(&root, &destinations);
    warn_of_idle(desk, &root, &sources, &destinations, &built);
    let targets: Vec<Option<Target>> =
        destinations.iter().map(|configured| destination::target(&root, configured, &destinations, &egress)).collect();
    if desk.has_failed() {
        root.finish();
        return None;
    }
    let parts = facts::Parts {
        sources: &sources,
        declarations: &declarations,
        destinations: &destinations,
        systems: &systems,
        built: &built,
    };
    let facts = facts::facts(&root, &parts);
    root.finish();
    if desk.has_failed() {
        return None;
    }
    let by_hand = destinations.iter().map(|configured| (configured.name.clone(), ByHand::of(configured))).collect();
    let hold_unknown = hold_unknown(&destinations);
    let routes = routes(&built, &sources, &destinations);
    let plan = plan(built, &sources, destinations, targets, systems)?;
    let mut remembered: BTreeMap<String, String> = desk.files.remembered();
    remembered.insert(ITSELF.to_owned(), text.to_owned());
    Some(Loaded {
        server,
        accounts,
        store,
        encryption,
        is_encrypted,
        sources,
        routes,
        plan: Arc::new(plan),
        stored: StoredConfig { files: remembered },
        warnings: Vec::new(),
        hold_unknown,
        retention,
        facts,
        alarms,
        collector,
        by_hand,
        declarations,
        path: None,
        seen: Seen::default(),
    })
}

/// What is said of the gateway itself, around its flows.
struct Around {
    server: Server,
    accounts: Vec<Account>,
    store: StoreSettings,
    encryption: Keyring,
    is_encrypted: bool,
    retention: Retention,
    alarms: Alarming,
    collector: Option<crate::telemetry::Collector>,
}

fn around(desk: &Desk<'_>, root: &Section<'_, '_>, egress: &Egress) -> Around {
    let server = server::server(root, egress);
    let accounts = account::accounts(root);
    if server.four_eyes && accounts.len() < 2 && server.oidc.is_none() {
        let section = root.section("server");
        let spot = section.map_or_else(|| root.spot_of("server"), |section| section.spot_of("four_eyes"));
        desk.error(&spot, "needs two people who log in: two [[account]], or [server.oidc]");
    }
    warn_of_nobody(desk, root, &accounts, server.oidc.as_ref());
    let (store, encryption) = server::store(root);
    let is_encrypted = root.section("store").is_some_and(|store| store.is_table("encryption"));
    let retention = retention::retention(root);
    let alarms = alarms::alarms(root, egress, &server.name);
    let collector = telemetry::telemetry(root, egress, &server.name);
    Around { server, accounts, store, encryption, is_encrypted, retention, alarms, collector }
}

fn hold_unknown(destinations: &[Configured]) -> Vec<String> {
    let held = destinations.iter().filter(|configured| configured.unknown == OnUnknown::Hold);
    held.map(|configured| configured.name.clone()).collect()
}

/// Where people log in, somebody must be able to do what has to be done; where nobody is named, all is open to the machine.
fn warn_of_nobody(desk: &Desk<'_>, root: &Section<'_, '_>, accounts: &[Account], oidc: Option<&Oidc>) {
    if accounts.is_empty() && oidc.is_none() {
        return;
    }
    let granted = oidc.into_iter().flat_map(|oidc| oidc.grants.iter().map(|grant| &grant.rights));
    let rights: Vec<_> = accounts.iter().map(|account| &account.rights).chain(granted).collect();
    let has = |right: Right| rights.iter().any(|rights| rights.has(right));
    if has(Right::Administer) {
        return;
    }
    let nobody = if [Right::Operate, Right::Replay, Right::Edit].into_iter().any(has) {
        "nobody may make tokens, reload, back up or prune"
    } else {
        "nobody may change anything: not replay, pause, reload or make tokens"
    };
    let reason = format!(
        "{nobody}, for no account or grant has the role \"admin\"; give it to one, such as [[account]] with name, \
         password = what `omgate account hash` prints, and role = \"admin\""
    );
    desk.warning(&root.spot_of(if accounts.is_empty() { "server" } else { "account" }), reason);
}

/// Sources without a route and destinations without one are remarkable, and so is a file that has none of them.
fn warn_of_idle(
    desk: &Desk<'_>,
    root: &Section<'_, '_>,
    sources: &[receive::Source],
    destinations: &[Configured],
    routes: &[Built],
) {
    if desk.has_failed() {
        return;
    }
    for section in root.sections("source") {
        if let Some(source) = sources.iter().find(|source| section.spot.key == format!("source.{}", source.name))
            && !routes.iter().any(|route| route.source == source.name)
        {
            desk.warning(&section.spot, "no route starts here: its notifications are stored and go nowhere");
        }
    }
    for (position, configured) in destinations.iter().enumerate() {
        let asks = |route: &Built| route.lookup.as_ref().is_some_and(|lookup| lookup.destination == configured.name);
        if !routes.iter().any(|route| route.destination == position || asks(route)) {
            desk.warning(&configured.spot, "no route leads here");
        }
    }
    if root.is_yet_to_be_filled() {
        let reason =
            "there is no [[source]], [[destination]] and [[route]] yet: the page at admin_listen guides through them";
        desk.warning(&root.spot_of("source"), reason);
    }
}

fn routes(built: &[Built], sources: &[receive::Source], destinations: &[Configured]) -> HashMap<String, Vec<Route>> {
    let mut routes: HashMap<String, Vec<Route>> =
        sources.iter().map(|source| (source.name.clone(), Vec::new())).collect();
    // What others come after is planned before them.
    let mut built: Vec<&Built> = built.iter().collect();
    built.sort_by_key(|route| route.after.as_ref().map_or(0, |after| after.depth));
    for route in built {
        let Some(configured) = destinations.get(route.destination) else { continue };
        routes.entry(route.source.clone()).or_default().push(Route {
            name: route.name.clone(),
            destination: configured.name.clone(),
            system: configured.system.clone(),
            when: route.when.clone(),
            lane: route.lane.clone(),
            on_empty: route.on_empty,
            deleted_when: route.deleted_when.clone(),
            on_deleted: route.on_deleted,
            on_revision: route.on_revision,
            coalesce: route.coalesce,
            stale_by: route.stale_by.clone(),
            after: route.after.as_ref().map(|after| after.planned.clone()),
        });
    }
    routes
}

fn plan(
    built: Vec<Built>,
    sources: &[receive::Source],
    destinations: Vec<Configured>,
    targets: Vec<Option<Target>>,
    systems: HashMap<String, System>,
) -> Option<Plan> {
    let mut routes = HashMap::new();
    let mut wakes = after::wakes(&built, &destinations);
    for route in built {
        let configured = destinations.get(route.destination)?;
        let policy = Policy {
            first: configured.retry.first,
            factor: configured.retry.factor,
            wait_max: configured.retry.wait_max,
            attempts_max: configured.retry.attempts_max,
            age_max: configured.retry.age_max,
            unknown: configured.unknown,
            on_dead: route.on_dead,
        };
        let planned = dispatch::Route {
            name: route.name.clone(),
            destination: configured.name.clone(),
            mapping: route.mapping?,
            policy,
            lookup: route.lookup,
            stale_by: route.stale_by,
            after: route.after.as_ref().map(|after| after.planned.route.clone()),
            record_types: route::types_of(sources, &route.source),
            wakes: wakes.remove(&route.name).unwrap_or_default(),
        };
        routes.insert(route.name, Arc::new(planned));
    }
    let mut named = HashMap::new();
    for (configured, target) in destinations.into_iter().zip(targets) {
        let destination = dispatch::Destination {
            name: configured.name.clone(),
            system: configured.system,
            target: target?,
            rules: configured.rules,
            keep: configured.keep,
        };
        named.insert(configured.name, Arc::new(destination));
    }
    Some(Plan { systems, destinations: named, routes, mask: Mask::default() })
}

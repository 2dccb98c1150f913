//! `[server]` and `[store]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::oidc::{self, Oidc};
use super::read::{Field, Section, Spot};
use super::{encryption, file, tls, value};
use crate::cipher::Keyring;
use crate::deliver::egress::Egress;
use crate::receive::proxy::Proxy;
use crate::receive::{Limits, Tls};
use crate::secret::Text;
#[cfg(feature = "postgres")]
use crate::store::postgres::Address;
use crate::telemetry::{self, LogFormat};

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// `listen`: Salesforce posts here. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `admin_listen`: UI, API, metrics, health. Default `127.0.0.1:8081`; beyond loopback only with TLS and accounts.
    pub admin_listen: SocketAddr,
    /// `[server.admin_tls]`; absent: plain HTTP, on loopback only.
    pub admin_tls: Option<Tls>,
    /// `[server.oidc]`; absent: people log in by their accounts.
    pub oidc: Option<Oidc>,
    /// `[server.limits]`.
    pub limits: Limits,
    /// `[server.tls]`; absent: plain HTTP, for use behind a reverse proxy.
    pub tls: Option<Tls>,
    /// `[server.proxy]`; absent: nobody speaks for others.
    pub proxy: Option<Arc<Proxy>>,
    /// `drain`: how long calls under way may go on when the gateway stops. Default 20 s, at most 1 h.
    pub drain: Duration,
    /// `watch`: whether a changed file of the configuration is taken by itself. Default true.
    pub watch: bool,
    /// `watch_every`: how often the files are read again, where nothing tells that they changed. Default 30 s, 1 s to 1 h.
    pub watch_every: Duration,
    /// `name`: what this gateway calls itself in what it tells others. Default the machine's name.
    pub name: String,
    /// `log`: how log lines look, `text` (default) or `json`.
    pub log: LogFormat,
    /// `log_level`: a level or a filter as `tracing` knows it. Default `info`.
    pub log_level: String,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// `url = "sqlite:PATH"`. Default `omgate.db` beside the configuration.
    pub path: PathBuf,
    /// `url = "postgres://…"`: then it stands in a database, and `path` is of no account.
    #[cfg(feature = "postgres")]
    pub database: Option<Address>,
}

impl StoreSettings {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// Whether it stands in a database, and not in a file.
    #[must_use]
    pub fn is_database(&self) -> bool {
        #[cfg(feature = "postgres")]
        return self.database.is_some();
        #[cfg(not(feature = "postgres"))]
        false
    }

    /// Where it is, as it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        #[cfg(feature = "postgres")]
        if let Some(address) = &self.database {
            return address.shown().to_owned();
        }
        format!("sqlite:{}", self.path.display())
    }
}

const WATCH_EVERY: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

pub(super) fn server(root: &Section<'_, '_>, egress: &Egress) -> Server {
    let Some(section) = root.section("server") else {
        return Server {
            listen: LISTEN,
            admin_listen: ADMIN_LISTEN,
            admin_tls: None,
            oidc: None,
            limits: Limits::default(),
            tls: None,
            proxy: None,
            drain: Duration::from_secs(20),
            watch: true,
            watch_every: WATCH_EVERY,
            name: machine(),
            log: LogFormat::Text,
            log_level: "info".to_owned(),
        };
    };
    let listen = section.parsed("listen", value::address);
    let admin = section.parsed("admin_listen", value::address);
    if let Some(admin) = &admin {
        check_admin(root, &section, admin, listen.as_ref());
    }
    let tls = section.section("tls").and_then(tls::tls);
    let proxy = section.section("proxy").and_then(|section| tls::proxy(section, tls.as_ref()));
    let people = (admin.as_ref().map_or(ADMIN_LISTEN, |field| field.value), section.is_table("admin_tls"));
    let server = Server {
        listen: listen.map_or(LISTEN, |field| field.value),
        admin_listen: admin.map_or(ADMIN_LISTEN, |field| field.value),
        admin_tls: section.section("admin_tls").and_then(tls::admin),
        oidc: section.section("oidc").and_then(|section| oidc::oidc(section, people, egress)),
        limits: section.section("limits").map_or_else(Limits::default, limits),
        tls,
        proxy: proxy.map(Arc::new),
        drain: section.duration("drain", Duration::ZERO..=HOUR).map_or(Duration::from_secs(20), |field| field.value),
        watch: section.boolean("watch").unwrap_or(true),
        watch_every: section.duration("watch_every", SECOND..=HOUR).map_or(WATCH_EVERY, |field| field.value),
        name: section.parsed("name", name).map_or_else(machine, |field| field.value),
        log: section
            .choice("log", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            .map_or(LogFormat::Text, |field| field.value),
        log_level: section.parsed("log_level", log_level).map_or_else(|| "info".to_owned(), |field| field.value),
    };
    section.finish();
    server
}

/// The keys that a running gateway does not take over, where it was started with other values: they count from the next
/// start. What is not named here is taken at once.
#[must_use]
pub fn needs_restart(running: (&Server, &StoreSettings), new: (&Server, &StoreSettings)) -> Vec<&'static str> {
    let (running, store) = running;
    // A certificate, what is asked of clients, and which proxies are believed, count for the next connection; who knows
    // people, for the next login.
    let Server {
        listen,
        admin_listen,
        admin_tls,
        limits,
        tls,
        log,
        log_level,
        proxy: _,
        oidc: _,
        drain: _,
        watch: _,
        watch_every: _,
        name: _,
    } = running;
    let (server, new_store) = new;
    let pairs = [
        ("server.listen", *listen != server.listen),
        ("server.admin_listen", *admin_listen != server.admin_listen),
        ("server.admin_tls", is_another(admin_tls.as_ref(), server.admin_tls.as_ref())),
        ("server.limits.header_timeout", limits.header_timeout != server.limits.header_timeout),
        ("server.limits.connections", limits.connections_max != server.limits.connections_max),
        ("server.limits.queue", limits.queue_max != server.limits.queue_max),
        ("server.tls", tls.is_some() != server.tls.is_some()),
        ("server.log", *log != server.log),
        ("server.log_level", *log_level != server.log_level),
        ("store.url", *store != *new_store),
    ];
    pairs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// The machine's name, as the kernel knows it.
fn machine() -> String {
    let read = crate::disk::read(Path::new("/proc/sys/kernel/hostname"), 1 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&read).trim().to_owned();
    name(&text).unwrap_or_else(|_| "gateway".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no name: 1 to 64 letters, digits, hyphens, dots and underscores"))
}

fn log_level(text: &str) -> Result<String, String> {
    match telemetry::check_level(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no level or filter such as \"info\" or \"info,omgate=debug\": {error}")),
    }
}

/// Whether another certificate or key would be served.
fn is_another(running: Option<&Tls>, new: Option<&Tls>) -> bool {
    let shown = |tls: &Tls| {
        let leaf = tls.served.as_ref().and_then(|served| served.chain.first()).map(|leaf| leaf.sha256);
        (tls.certificate.clone(), tls.private_key.clone(), leaf)
    };
    running.map(shown) != new.map(shown)
}

fn check_admin(
    root: &Section<'_, '_>,
    section: &Section<'_, '_>,
    admin: &Field<SocketAddr>,
    listen: Option<&Field<SocketAddr>>,
) {
    let lacks_tls = !section.is_table("admin_tls");
    let lacks_accounts = root.sections("account").is_empty() && !section.is_table("oidc");
    if !admin.value.ip().is_loopback() && (lacks_tls || lacks_accounts) {
        let lacking = match (lacks_tls, lacks_accounts) {
            (true, true) => "[server.admin_tls] and an [[account]], or [server.oidc], are",
            (true, false) => "[server.admin_tls] is",
            (false, _) => "an [[account]], or [server.oidc], is",
        };
        let reason = format!(
            "others than this machine's people reach {}, so it needs TLS and accounts: {lacking} missing; or listen on a \
             loopback address such as 127.0.0.1:8081",
            admin.value
        );
        section.desk.error(&admin.spot, reason);
    }
    let listen_value = listen.map_or(LISTEN, |field| field.value);
    if listen_value == admin.value && admin.value.port() != 0 {
        section.desk.error(&admin.spot, "must differ from listen: people and Salesforce never share a port");
    }
}

fn limits(section: Section<'_, '_>) -> Limits {
    let default = Limits::default();
    let moment = Duration::from_millis(100);
    let body_bytes_max = section.size("body", 1 << 10..=1 << 30).unwrap_or(default.body_bytes_max);
    let bodies = section.size("bodies", 1 << 10..=1 << 40);
    if bodies.is_some_and(|bodies| bodies < body_bytes_max) {
        let reason = format!("must not be smaller than body ({body_bytes_max} bytes): no such body could ever be read");
        section.desk.error(&section.spot_of("bodies"), reason);
    }
    let limits = Limits {
        body_bytes_max,
        bodies_bytes_max: bodies.unwrap_or(default.bodies_bytes_max.max(body_bytes_max)),
        depth_max: section.count("depth", 8..=1_000, default.depth_max),
        notifications_max: section.count("notifications", 1..=100, default.notifications_max),
        fields_max: section.count("fields", 1..=100_000, default.fields_max),
        header_timeout: section
            .duration("header_timeout", moment..=300 * SECOND)
            .map_or(default.header_timeout, |field| field.value),
        body_timeout: section
            .duration("body_timeout", moment..=600 * SECOND)
            .map_or(default.body_timeout, |field| field.value),
        connections_max: section.count("connections", 1..=100_000, default.connections_max),
        queue_max: section.count("queue", 1..=100_000, default.queue_max),
    };
    section.finish();
    limits
}

pub(super) fn check_pem(section: &Section<'_, '_>, path: &str, spot: &Spot) {
    match section.desk.files.disk_bytes(Path::new(path)) {
        Err(error) => section.desk.error(spot, format!("cannot read {path:?}: {}", file::reason(&error))),
        Ok(bytes) if !String::from_utf8_lossy(&bytes).contains("-----BEGIN ") => {
            section.desk.error(spot, format!("{path:?} is no PEM file: it has no line `-----BEGIN …`"));
        }
        Ok(_) => {}
    }
}

pub(super) fn store(root: &Section<'_, '_>) -> (StoreSettings, Keyring) {
    let default = || StoreSettings::at(root.desk.files.resolve("omgate.db"));
    let Some(section) = root.section("store") else { return (default(), Keyring::default()) };
    let keys = encryption::encryption(&section);
    let url = section.text("url");
    let settings = url.and_then(|url| {
        let text = url.value.reveal();
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return database(root, &url, default());
        }
        match store_path(&text) {
            Ok(path) => {
                let path = root.desk.files.resolve(path);
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| root.desk.files.is_disk() && !folder.is_dir()) {
                    root.desk.error(&url.spot, format!("there is no folder {}: make it first", folder.display()));
                }
                Some(StoreSettings::at(path))
            }
            Err(reason) => {
                root.desk.error(&url.spot, reason);
                None
            }
        }
    });
    section.finish();
    (settings.unwrap_or_else(default), keys)
}

fn store_path(url: &str) -> Result<&str, String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() {
            Err("the path is missing; write \"sqlite:omgate.db\"".to_owned())
        } else if path.contains(['?', '\0']) || path.contains(":memory:") {
            Err("must name a file without options, such as \"sqlite:omgate.db\"".to_owned())
        } else {
            Ok(path)
        };
    }
    Err("is no store; write \"sqlite:omgate.db\" or \"postgres://user@host/database\"".to_owned())
}

/// A database of PostgreSQL: only the form of its address is looked at, the database itself when the store is opened.
#[cfg(feature = "postgres")]
fn database(root: &Section<'_, '_>, url: &Field<Text>, settings: StoreSettings) -> Option<StoreSettings> {
    let mut address = match Address::parse(&url.value) {
        Ok(address) => address,
        Err(reason) => {
            root.desk.error(&url.spot, reason);
            return None;
        }
    };
    if let Some(file) = address.authorities().map(|path| root.desk.files.resolve(&path.to_string_lossy())) {
        if root.desk.files.is_disk() && !file.is_file() {
            root.desk.error(&url.spot, format!("sslrootcert: there is no file {}", file.display()));
        }
        address = address.with_authorities(file);
    }
    if address.has_password() && url.value.is_plain() {
        let reason = "the password stands in clear in the configuration; write ${NAME} or ${file:PATH} in its place";
        root.desk.warning(&url.spot, reason);
    }
    Some(StoreSettings { database: Some(address), ..settings })
}

#[cfg(not(feature = "postgres"))]
fn database(root: &Section<'_, '_>, url: &Field<Text>, _: StoreSettings) -> Option<StoreSettings> {
    root.desk.error(&url.spot, "this build stores in SQLite only; write \"sqlite:omgate.db\"");
    None
}

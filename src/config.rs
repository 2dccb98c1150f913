//! The configuration file: read, checked as a whole, and made into what the stages need.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::Plan;
use crate::receive;
use crate::route::Route;
use crate::store::StoredConfig;
use crate::telemetry::LogFormat;

/// A configuration, checked and ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[[source]]`.
    pub sources: Vec<receive::Source>,
    /// The routes of each source.
    pub routes: HashMap<String, Vec<Route>>,
    /// All that calls need.
    pub plan: Arc<Plan>,
    /// What is stored with the deliveries it makes.
    pub stored: StoredConfig,
    /// Remarkable, not wrong.
    pub warnings: Vec<Problem>,
    /// Destinations with `unknown = "hold"`.
    pub hold_unknown: Vec<String>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Salesforce posts here.
    pub listen: SocketAddr,
    /// UI, API, metrics, health.
    pub admin_listen: SocketAddr,
    /// Bounds.
    pub limits: receive::Limits,
    /// TLS.
    pub tls: Option<receive::Tls>,
    /// How long calls under way may go on when the gateway stops.
    pub drain: Duration,
    /// How log lines look.
    pub log: LogFormat,
    /// What is logged.
    pub log_level: String,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The SQLite file.
    pub path: PathBuf,
}

/// One thing wrong.
#[derive(Clone, Debug)]
pub struct Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}

/// All that is wrong.
#[derive(Clone, Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}

/// Loads.
///
/// # Errors
/// Problems.
pub fn load(_path: &Path) -> Result<Loaded, Problems> {
    unimplemented!()
}

/// Loads a stored one.
///
/// # Errors
/// Problems.
pub fn load_stored(_stored: &StoredConfig) -> Result<Loaded, Problems> {
    unimplemented!()
}

/// Where the gateway of a configuration listens for its people, read leniently: other faults of the file do not matter.
///
/// # Errors
/// In words.
pub fn admin_address(_path: &Path) -> Result<SocketAddr, String> {
    unimplemented!()
}

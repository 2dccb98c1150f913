//! The driver of the way out: store → map → deliver → settle → store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::deliver::{self, classify};
use crate::envelope::RecordTypes;
use crate::map::Mapping;
use crate::secret::Mask;
use crate::settle::Policy;

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
    /// The field whose value tells newer from older.
    pub stale_by: Option<String>,
    /// The declared fields of its source.
    pub record_types: Option<Arc<RecordTypes>>,
}

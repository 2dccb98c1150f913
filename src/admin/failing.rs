//! Deliveries that were tried and still wait: by destination, so that a person hears of them long before they are given up.
//! Found within a bound, and held for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::admin::{Admin, masked};
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::issue;
use crate::store::{DeliveryFilter, DeliveryView, Ledger, StoreResult};

/// Whoever was tried so often fails again and again.
const TRIES: u32 = 3;
/// Whoever was tried once and is older than that does so too.
const LONG: Duration = Duration::from_secs(300);
/// So long they need not be looked for again.
const HOLD: Duration = Duration::from_secs(5);
/// So many are read, the oldest first.
const READ_MAX: u32 = 500;

/// Deliveries of one destination that fail again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) destination: String,
    pub(super) system: String,
    pub(super) count: usize,
    /// There may be more than were counted.
    pub(super) is_more: bool,
    /// Each is the first of a lane.
    pub(super) are_lanes: bool,
    /// When the oldest was made.
    pub(super) since: Timestamp,
    /// What the last attempt of the oldest came to.
    pub(super) reason: String,
    /// Others came to something else.
    pub(super) has_others: bool,
}

/// Those that were found last.
#[derive(Debug, Default)]
pub struct Found(Mutex<Option<(Duration, Arc<Vec<Failing>>)>>);

impl Found {
    /// Those that fail now, or did a moment ago.
    pub(super) async fn of(&self, admin: &Admin, ledger: &Ledger) -> StoreResult<Arc<Vec<Failing>>> {
        let now = admin.clock.monotonic();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, found)) = known.filter(|(at, _)| now.saturating_sub(*at) < HOLD) {
            return Ok(found);
        }
        let found = Arc::new(if may_fail(admin, ledger) { look(admin).await? } else { Vec::new() });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&found)));
        Ok(found)
    }
}

/// Whether anything waits for a system that is called: what is told of one that is not says enough, and the most may wait for it.
fn may_fail(admin: &Admin, ledger: &Ledger) -> bool {
    let plan = admin.dispatch.plan();
    let is_called = |name: &String| {
        let known = plan.destinations.get(name);
        known.is_some_and(|known| !admin.dispatch.standing(&known.system).is_some_and(|shut| shut.is_outage()))
    };
    ledger.destinations.iter().any(|(name, counts)| counts.waiting + counts.in_flight > 0 && is_called(name))
}

async fn look(admin: &Admin) -> StoreResult<Vec<Failing>> {
    let (mut views, mut is_more) = (Vec::new(), false);
    for (state, attempts) in [(State::Waiting, 1), (State::InFlight, TRIES)] {
        let filter = DeliveryFilter {
            state: Some(state),
            attempts: Some(attempts),
            after: Some(0),
            limit: Some(READ_MAX),
            ..DeliveryFilter::default()
        };
        let page = admin.store.deliveries(filter).await?;
        is_more |= page.next.is_some();
        views.extend(page);
    }
    let mut heads = heads(views, admin.clock.now());
    // What is told of each destination is told by its oldest.
    for own in heads.values_mut() {
        masked::deliveries(admin, own.get_mut(..1).unwrap_or_default()).await?;
    }
    Ok(heads.into_iter().filter_map(|(destination, own)| gathered(destination, &own, is_more)).collect())
}

/// Those that fail again and again, by their destinations, the oldest first.
fn heads(views: Vec<DeliveryView>, now: Timestamp) -> BTreeMap<String, Vec<DeliveryView>> {
    let mut heads: BTreeMap<String, Vec<DeliveryView>> = BTreeMap::new();
    for view in views {
        if view.reason.is_some() && (view.attempts >= TRIES || now.since(view.created_at) >= LONG) {
            heads.entry(view.destination.clone()).or_default().push(view);
        }
    }
    heads.values_mut().for_each(|own| own.sort_by_key(|view| view.created_at));
    heads
}

fn gathered(destination: String, own: &[DeliveryView], is_more: bool) -> Option<Failing> {
    let oldest = own.first()?;
    let causes: BTreeSet<String> = own.iter().filter_map(|view| view.reason.as_deref()).map(issue::cause).collect();
    Some(Failing {
        destination,
        system: oldest.system.clone(),
        count: own.len(),
        is_more,
        are_lanes: own.iter().all(|view| view.lane.is_some()),
        since: oldest.created_at,
        reason: oldest.reason.clone().unwrap_or_default(),
        has_others: causes.len() > 1,
    })
}

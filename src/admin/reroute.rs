//! `POST /api/v1/notifications/reroute`: what no route matched is routed again, oldest first, by the routes in force.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::admin::body::Body;
use crate::admin::bulk::Pace;
use crate::admin::names::Asked;
use crate::admin::person::Person;
use crate::admin::unended::BEGUN;
use crate::admin::{Admin, api};
use crate::delivery::{Planned, State};
use crate::store::{By, DeliveryFilter, DeliveryView, NotificationFilter, Reroute, StoreError, StoredNotification};

/// How many notifications one call looks at.
const AT_ONCE: u32 = 500;
/// Where they are routed slowly, no more than take so long: whoever asked waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many of the latest deliveries of a record are looked at for a later state.
const LATER_MAX: u32 = 20;

/// Which, and whether in earnest.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rerouting)]
pub(super) struct Order {
    /// Only of this source.
    source: Option<String>,
    /// Above this row: the cursor of the call before.
    #[serde(default)]
    after: i64,
    /// Even where a later state of the record was or will be sent.
    #[serde(default)]
    even_if_newer: bool,
    #[serde(default)]
    dry_run: bool,
    /// Changes a second: from 1 to 10,000, 100 unless it is said.
    rate: Option<u32>,
    /// Why; it stands in the log.
    #[serde(default)]
    reason: String,
}

/// What came of it.
#[derive(Default, Serialize, utoipa::ToSchema)]
#[schema(as = Rerouted)]
pub(super) struct Found {
    /// Notifications that were looked at.
    looked_at: u64,
    /// Those that a route matches now.
    routed: u64,
    /// The deliveries that these make.
    deliveries: u64,
    /// Those that could not be routed, and why.
    failed: Vec<Failed>,
    /// Where the next call goes on; none when all were looked at.
    next: Option<i64>,
}

/// One that stays as it is.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NotRouted)]
pub(super) struct Failed {
    pub(super) notification_id: String,
    pub(super) reason: String,
}

/// Routes unrouted notifications again.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/reroute",
    request_body = Order,
    responses((status = 200, body = Found))
)]
pub(super) async fn reroute(admin: web::Data<Admin>, order: Body<Order>, person: Person) -> HttpResponse {
    let order = order.into_inner();
    if let Some(fault) = (Asked { source: order.source.as_deref(), ..Asked::default() }).fault(&admin).await {
        return fault;
    }
    let pace = match Pace::of(order.rate) {
        Ok(pace) => pace,
        Err(detail) => return api::problem(400, &detail),
    };
    api::answer(super::to_its_end(carry_out(admin, order, pace, person)).await)
}

async fn carry_out(admin: web::Data<Admin>, order: Order, pace: Pace, person: Person) -> Result<Found, StoreError> {
    let by = By::new(person.0, &order.reason);
    let noted = Noted::new(&admin, by, "reroute", order.source.as_deref().unwrap_or("*"));
    let found = noted.seen_through(look(&admin, &order, pace, &noted).await).await?;
    if !order.dry_run && found.looked_at > 0 {
        let Found { routed, deliveries, .. } = found;
        noted.ended(routed, "done").await;
        tracing::info!(routed, deliveries, reason = order.reason, "a person had unrouted notifications routed again");
    }
    Ok(found)
}

/// A routing as the audit log has it: when it begins, for the gateway may end before it does, and what came of it.
pub(super) struct Noted<'a> {
    admin: &'a Admin,
    by: By,
    verb: &'static str,
    source: &'a str,
    begun: AtomicBool,
}

impl<'a> Noted<'a> {
    pub(super) fn new(admin: &'a Admin, by: By, verb: &'static str, source: &'a str) -> Self {
        Self { admin, by, verb, source, begun: AtomicBool::new(false) }
    }

    /// Notes that it begins, before the first is routed.
    pub(super) async fn begun(&self) -> Result<(), StoreError> {
        self.admin.begun(self.by.clone(), self.verb, ("source", self.source), 0, BEGUN).await?;
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn ended(&self, count: u64, result: &str) {
        self.admin.audit(self.by.clone(), self.verb, ("source", self.source), count, result).await;
    }

    /// What began and broke off has an end too.
    pub(super) async fn seen_through<T>(&self, found: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &found
            && self.begun.load(Ordering::Relaxed)
        {
            self.ended(0, &format!("broken off: {error}")).await;
        }
        found
    }
}

/// How many notifications a call looks at.
pub(super) fn at_once(pace: Pace) -> u32 {
    pace.within(PATIENCE).min(AT_ONCE)
}

async fn look(admin: &Admin, order: &Order, pace: Pace, noted: &Noted<'_>) -> Result<Found, StoreError> {
    let filter = NotificationFilter {
        source: order.source.clone(),
        kind: Some("unrouted".to_owned()),
        after: Some(order.after),
        limit: Some(at_once(pace)),
        ..NotificationFilter::default()
    };
    let unrouted = admin.store.notifications(filter).await?;
    let mut found = Found { next: unrouted.next, ..Found::default() };
    let mut run = Run::of(order.even_if_newer, order.dry_run, pace);
    if !order.dry_run && !unrouted.is_empty() {
        noted.begun().await?;
    }
    for view in unrouted {
        found.looked_at += 1;
        let notification_id = view.notification.notification_id.clone();
        match one(admin, &mut run, &view.notification).await {
            Ok(0) => {}
            Ok(deliveries) => {
                found.routed += 1;
                found.deliveries += deliveries;
            }
            Err(StoreError::NotFound(reason) | StoreError::Conflict(reason)) => {
                found.failed.push(Failed { notification_id, reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One call: how it goes, and what it would have made so far, where nothing is made.
pub(super) struct Run {
    even_if_newer: bool,
    /// None where it is only asked what it would do.
    pace: Option<Pace>,
    /// The latest content that would go along a route, by that, the source and the record.
    would_have: HashMap<(String, String, String), i64>,
}

impl Run {
    pub(super) fn of(even_if_newer: bool, dry_run: bool, pace: Pace) -> Self {
        Self { even_if_newer, pace: (!dry_run).then_some(pace), would_have: HashMap::new() }
    }

    fn key(planned: &Planned, content: &StoredNotification) -> (String, String, String) {
        (planned.route.clone(), content.source.clone(), content.record_id.clone())
    }

    /// In earnest the store knows it.
    fn note(&mut self, planned: &[Planned], content: &StoredNotification) {
        for planned in planned.iter().filter(|planned| planned.dead.is_none()) {
            let latest = self.would_have.entry(Self::key(planned, content)).or_insert(content.row);
            *latest = content.row.max(*latest);
        }
    }

    /// What would be outdated by what the same run would have routed before.
    fn refuse_outdated(&self, planned: &Planned, content: &StoredNotification) -> Result<(), StoreError> {
        let latest = self.would_have.get(&Self::key(planned, content));
        if latest.is_none_or(|latest| *latest <= content.row) {
            return Ok(());
        }
        Err(outdated(&format!("a notification that goes along route {} before it", planned.route), content))
    }
}

/// Why one is not routed: `later` has a state of its record that it would undo.
fn outdated(later: &str, content: &StoredNotification) -> StoreError {
    StoreError::Conflict(format!(
        "it is outdated: {later} has a later state of record {}, which it would undo; route it with \
         --even-if-newer (even_if_newer in the API) if that is what you want",
        content.record_id
    ))
}

/// What counts of an organization's id.
pub(super) fn organization_key(id: &str) -> &str {
    id.get(..15).unwrap_or(id)
}

/// Sending an older state of a record behind a newer one, which was or will be sent, would undo it.
async fn refuse_outdated(
    admin: &Admin,
    run: &Run,
    content: &StoredNotification,
    planned: &[Planned],
) -> Result<(), StoreError> {
    if content.record_id.is_empty() {
        return Ok(());
    }
    for planned in planned.iter().filter(|planned| planned.lane.is_some() && planned.dead.is_none()) {
        let filter = DeliveryFilter {
            record_id: Some(content.record_id.clone()),
            route: Some(planned.route.clone()),
            limit: Some(LATER_MAX),
            ..DeliveryFilter::default()
        };
        let is_later = |later: &DeliveryView| {
            let is_gone = matches!(later.state, State::Dead | State::Superseded | State::Discarded);
            later.notification_row > content.row && later.source == content.source && !is_gone
        };
        if let Some(newer) = admin.store.deliveries(filter).await?.iter().find(|later| is_later(later)) {
            return Err(outdated(&format!("delivery {} of route {}", newer.delivery_id, planned.route), content));
        }
        run.refuse_outdated(planned, content)?;
    }
    Ok(())
}

/// Routes one by its newest content, and rests as its pace wants it; how many deliveries that makes. Without a pace it only
/// says so.
pub(super) async fn one(admin: &Admin, run: &mut Run, unrouted: &StoredNotification) -> Result<u64, StoreError> {
    // Two organizations may use the same id.
    let organization = organization_key(&unrouted.organization_id);
    let revisions = admin.store.notification(unrouted.notification_id.clone()).await?;
    let mut newest = revisions.into_iter().map(|view| view.notification);
    let newest = newest.rfind(|revision| organization_key(&revision.organization_id) == organization);
    let Some(newest) = newest else {
        return Err(StoreError::NotFound(format!("notification {}", unrouted.notification_id)));
    };
    let planned = (admin.plan)(&newest).map_err(StoreError::Conflict)?;
    let even_if_newer = run.even_if_newer;
    if !even_if_newer {
        refuse_outdated(admin, run, &newest, &planned).await?;
    }
    let count = u64::try_from(planned.len()).unwrap_or(u64::MAX);
    let Some(pace) = run.pace else {
        run.note(&planned, &newest);
        return Ok(count);
    };
    if count > 0 {
        let reroute = Reroute { row: newest.row, deliveries: planned, even_if_newer, now: admin.clock.now() };
        for system in admin.store.reroute(reroute).await? {
            admin.dispatch.wake(&system);
        }
        tokio::time::sleep(pace.between()).await;
    }
    Ok(count)
}

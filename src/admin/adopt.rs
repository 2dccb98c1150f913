//! `POST /api/v1/sources/{name}/adopt`: what was quarantined of an organization goes its way, once the configuration has it.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::body::Body;
use crate::admin::bulk::Pace;
use crate::admin::person::Person;
use crate::admin::reroute::{self, Failed, Noted};
use crate::admin::{Admin, api};
use crate::store::{By, NotificationFilter, NotificationView, Page, StoreError};

/// Which organization, and whether in earnest.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Adoption)]
pub(super) struct Order {
    /// Its id, 15 or 18 characters.
    organization: String,
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
#[schema(as = Adopted)]
pub(super) struct Found {
    /// Whether the source takes the organization by the configuration in force; if not, nothing was done.
    in_force: bool,
    /// Quarantined notifications of the organization that were looked at.
    waiting: u64,
    /// Quarantined notifications of the source that were looked at, by the organization that they name.
    quarantined: BTreeMap<String, u64>,
    /// Those that a route matches now.
    routed: u64,
    /// The deliveries that these make.
    deliveries: u64,
    /// Those that stay quarantined, and why.
    failed: Vec<Failed>,
    /// Where the next call goes on; none when all were looked at.
    next: Option<i64>,
}

/// Routes quarantined notifications of an organization that the source takes by now.
#[utoipa::path(
    post,
    path = "/api/v1/sources/{name}/adopt",
    params(("name" = String, Path)),
    request_body = Order,
    responses((status = 200, body = Found))
)]
pub(super) async fn adopt(
    admin: web::Data<Admin>,
    source: web::Path<String>,
    order: Body<Order>,
    person: Person,
) -> HttpResponse {
    let (source, order) = (source.into_inner(), order.into_inner());
    if !matches!(order.organization.len(), 15 | 18) {
        return api::problem(400, "organization must be an id of 15 or 18 characters, such as 00D24000000abcdEAA");
    }
    let Some(in_force) = (admin.takes)(&source, &order.organization) else {
        return api::problem(404, &format!("there is no source {source:?}"));
    };
    let pace = match Pace::of(order.rate) {
        Ok(pace) => pace,
        Err(detail) => return api::problem(400, &detail),
    };
    api::answer(super::to_its_end(carry_out(admin, (source, in_force), order, pace, person)).await)
}

async fn carry_out(
    admin: web::Data<Admin>,
    (source, in_force): (String, bool),
    order: Order,
    pace: Pace,
    person: Person,
) -> Result<Found, StoreError> {
    let noted = Noted::new(&admin, By::new(person.0, &order.reason), "adopt", &source);
    let found = noted.seen_through(look(&admin, (&source, in_force), &order, pace, &noted).await).await?;
    if in_force && !order.dry_run && found.waiting > 0 {
        let Found { routed, deliveries, .. } = found;
        let result = json!({"organization": order.organization, "deliveries": deliveries}).to_string();
        noted.ended(routed, &result).await;
        if quarantined(&admin, &source, (0, 1)).await?.is_empty() {
            admin.alarms.clear("quarantine", &source);
        }
        tracing::info!(source, organization = order.organization, routed, deliveries, "an organization was adopted");
    }
    Ok(found)
}

/// What is quarantined of a source behind a row, so many at the most.
async fn quarantined(
    admin: &Admin,
    source: &str,
    (after, limit): (i64, u32),
) -> Result<Page<NotificationView>, StoreError> {
    let filter = NotificationFilter {
        source: Some(source.to_owned()),
        kind: Some("quarantined".to_owned()),
        after: Some(after),
        limit: Some(limit),
        ..NotificationFilter::default()
    };
    admin.store.notifications(filter).await
}

async fn look(
    admin: &Admin,
    (source, in_force): (&str, bool),
    order: &Order,
    pace: Pace,
    noted: &Noted<'_>,
) -> Result<Found, StoreError> {
    let quarantined = quarantined(admin, source, (order.after, reroute::at_once(pace))).await?;
    let mut found = Found { in_force, ..Found::default() };
    let mut run = reroute::Run::of(order.even_if_newer, order.dry_run, pace);
    found.next = quarantined.next;
    let wanted = reroute::organization_key(&order.organization);
    let is_wanted = |view: &NotificationView| reroute::organization_key(&view.notification.organization_id) == wanted;
    if in_force && !order.dry_run && quarantined.iter().any(is_wanted) {
        noted.begun().await?;
    }
    for view in quarantined.iter() {
        let is_other = !is_wanted(view);
        let view = &view.notification;
        *found.quarantined.entry(view.organization_id.clone()).or_default() += 1;
        if is_other {
            continue;
        }
        found.waiting += 1;
        if !in_force {
            continue;
        }
        let notification_id = view.notification_id.clone();
        // The organization is one of the source's; the outbound message need not be.
        let one = match (admin.admits)(view) {
            Ok(()) => reroute::one(admin, &mut run, view).await,
            Err(reason) => Err(StoreError::Conflict(reason)),
        };
        match one {
            Ok(0) => found.failed.push(Failed { notification_id, reason: "no route matches it".to_owned() }),
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

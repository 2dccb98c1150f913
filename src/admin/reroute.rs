//! `POST /api/v1/notifications/reroute`: what no route matched is routed again, oldest first, by the routes in force.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::admin::person::Person;
use crate::admin::{Admin, api};
use crate::store::{By, NotificationFilter, StoreError, StoredNotification};

/// How many notifications one call looks at.
const AT_ONCE: u32 = 500;

/// Which, and whether in earnest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// Only of this source.
    source: Option<String>,
    /// Above this row: the cursor of the call before.
    #[serde(default)]
    after: i64,
    #[serde(default)]
    dry_run: bool,
    /// Why; it stands in the log.
    #[serde(default)]
    reason: String,
}

/// What came of it.
#[derive(Default, Serialize)]
struct Found {
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

#[derive(Serialize)]
struct Failed {
    notification_id: String,
    reason: String,
}

pub(super) async fn reroute(admin: web::Data<Admin>, order: web::Json<Order>, person: Person) -> HttpResponse {
    let order = order.into_inner();
    match look(&admin, &order).await {
        Ok(found) => {
            if !order.dry_run {
                let Found { routed, deliveries, .. } = found;
                let source = order.source.as_deref().unwrap_or("*");
                admin.audit(By::new(person.0, &order.reason), "reroute", ("source", source), routed, "done").await;
                tracing::info!(
                    routed,
                    deliveries,
                    reason = order.reason,
                    "a person had unrouted notifications routed again"
                );
            }
            HttpResponse::Ok().json(found)
        }
        Err(error) => api::from_store(&error),
    }
}

async fn look(admin: &Admin, order: &Order) -> Result<Found, StoreError> {
    let filter = NotificationFilter {
        source: order.source.clone(),
        kind: Some("unrouted".to_owned()),
        after: Some(order.after),
        limit: Some(AT_ONCE),
        ..NotificationFilter::default()
    };
    let unrouted = admin.store.notifications(filter).await?;
    let mut found = Found::default();
    if unrouted.len() == AT_ONCE as usize {
        found.next = unrouted.last().map(|view| view.notification.row);
    }
    for view in unrouted {
        found.looked_at += 1;
        let notification_id = view.notification.notification_id.clone();
        match one(admin, order, &notification_id).await {
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

/// Routes one by its newest content; how many deliveries that makes.
async fn one(admin: &Admin, order: &Order, notification_id: &str) -> Result<u64, StoreError> {
    let newest: Option<StoredNotification> =
        admin.store.notification(notification_id.to_owned()).await?.pop().map(|view| view.notification);
    let Some(newest) = newest else { return Err(StoreError::NotFound(format!("notification {notification_id}"))) };
    let planned = (admin.plan)(&newest).map_err(StoreError::Conflict)?;
    let count = u64::try_from(planned.len()).unwrap_or(u64::MAX);
    if count > 0 && !order.dry_run {
        for system in admin.store.reroute(newest.row, planned, admin.clock.now()).await? {
            admin.dispatch.wake(&system);
        }
    }
    Ok(count)
}

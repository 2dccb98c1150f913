//! What a configuration makes of a stored notification: for each route a call, or why there is none.

use std::collections::BTreeMap;

use crate::call::Call;
use crate::config::Loaded;
use crate::delivery::Planned;
use crate::dispatch;
use crate::envelope::{ActionId, Content, Drift, Envelope, Notification, NotificationId, OrganizationId};
use crate::expression::Subject;
use crate::map::{self, Identity};
use crate::parse;
use crate::receive::{Source, UnknownOrganization, guard};
use crate::route;
use crate::store::StoredNotification;

/// One of the two configurations.
pub(super) struct Side<'l> {
    loaded: &'l Loaded,
}

/// What a route makes of a notification.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) destination: String,
    pub(super) lane: Option<String>,
    /// The call, or why the delivery is dead before one is made.
    pub(super) call: Result<Call, String>,
}

/// What a configuration makes of a notification.
#[derive(Debug, Default)]
pub(super) struct Making {
    /// By the route's name.
    pub(super) routes: BTreeMap<String, Made>,
    /// Why no route was asked at all.
    pub(super) refused: Option<String>,
}

impl Making {
    fn refused(reason: String) -> Self {
        Self { routes: BTreeMap::new(), refused: Some(reason) }
    }
}

impl<'l> Side<'l> {
    pub(super) fn new(loaded: &'l Loaded) -> Self {
        Self { loaded }
    }

    pub(super) fn has_route(&self, route: &str) -> bool {
        self.loaded.plan.routes.contains_key(route)
    }

    /// What it makes of a notification that comes now.
    pub(super) fn make(&self, stored: &StoredNotification) -> Making {
        let Some(source) = self.loaded.sources.iter().find(|source| source.name == stored.source) else {
            return Making::refused(format!("there is no source {:?}", stored.source));
        };
        if let Err(reason) = admit(source, stored) {
            return Making::refused(reason);
        }
        let notification = match read(source, stored) {
            Ok(notification) => notification,
            Err(reason) => return Making::refused(reason),
        };
        if let Some(drift) = unknown_type(&notification) {
            return Making::refused(drift.to_string());
        }
        let subject = dispatch::subject_of(stored, notification.record());
        let routes = self.loaded.routes.get(&stored.source).map(Vec::as_slice).unwrap_or_default();
        let planned = route::deliveries(routes, &notification, &subject);
        let routes = planned.into_iter().map(|planned| (planned.route.clone(), self.delivery(planned, &subject)));
        Making { routes: routes.collect(), refused: None }
    }

    fn delivery(&self, planned: Planned, subject: &Subject<'_>) -> Made {
        let Planned { route, destination, lane, dead, .. } = planned;
        let call = match (dead, self.loaded.plan.routes.get(&route)) {
            (Some(reason), _) => Err(reason),
            (None, None) => Err(format!("route {route} makes no calls")),
            (None, Some(planned)) => {
                // Real keys are digests of this; both configurations make the same.
                let identity = Identity { idempotency_key: format!("{}/{route}", subject.notification_id) };
                map::call(&planned.mapping, subject, &identity).map_err(|error| error.reason)
            }
        };
        Made { destination, lane, call }
    }
}

/// Whether the source would take it; one that sets strangers aside routes them no more than one that refuses them.
fn admit(source: &Source, stored: &StoredNotification) -> Result<(), String> {
    let (Ok(organization_id), Ok(action_id)) =
        (OrganizationId::parse(&stored.organization_id), ActionId::parse(&stored.action_id))
    else {
        return Err("its ids cannot be read".to_owned());
    };
    let envelope = Envelope {
        organization_id,
        action_id,
        enterprise_url: String::new(),
        partner_url: String::new(),
        notifications: Vec::new(),
    };
    guard::admit(source, &envelope).map_err(|stranger| match source.unknown_organization {
        UnknownOrganization::Refuse => format!("refused: {stranger}"),
        UnknownOrganization::Quarantine => format!("quarantined: {stranger}"),
    })
}

fn read(source: &Source, stored: &StoredNotification) -> Result<Notification, String> {
    let id = NotificationId::parse(&stored.notification_id).map_err(|error| error.to_string())?;
    let content = if stored.xml.is_empty() {
        Content::Empty { id }
    } else {
        let record = parse::record(&stored.xml, source.record_types.as_deref())
            .map_err(|error| format!("the stored record cannot be read: {error}"))?;
        Content::Record { id, record, xml: String::new() }
    };
    Ok(Notification { content, hash: [0; 32] })
}

fn unknown_type(notification: &Notification) -> Option<&Drift> {
    let drift = &notification.record()?.drift;
    drift.iter().find(|drift| matches!(drift, Drift::UnknownRecordType(_)))
}

//! What a configuration makes of a stored notification: for each route a call, or why there is none.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::call::Call;
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::delivery::Planned;
use crate::dispatch;
use crate::envelope::{ActionId, Content, Drift, Envelope, Notification, NotificationId, OrganizationId, Record};
use crate::expression::Subject;
use crate::map::{self, Identity, MapError};
use crate::masking::{Masking, Masks};
use crate::parse;
use crate::receive::{Source, UnknownOrganization, guard};
use crate::route;
use crate::secret::Mask;
use crate::store::StoredNotification;

mod report;

pub use report::Report;

/// What was not received was received at 2026-01-01T00:00:00.000Z.
const RECEIVED_AT: Timestamp = Timestamp(1_767_225_600_000);

/// A configuration, asked what it would make of notifications.
pub struct Side<'l> {
    loaded: &'l Loaded,
    /// Derived from all its mappings: once, and when it is asked for.
    masks: OnceLock<Masks>,
}

/// What a route makes of a notification.
#[derive(Debug)]
pub struct Made {
    /// Where it leads.
    pub destination: String,
    /// Its lane; none: no order to keep.
    pub lane: Option<String>,
    /// The call, or why the delivery is dead before one is made.
    pub call: Result<Call, MapError>,
}

/// What a configuration makes of a notification.
#[derive(Debug, Default)]
pub struct Making {
    /// By the route's name.
    pub routes: BTreeMap<String, Made>,
    /// Why other routes make nothing, by their names.
    pub passed: BTreeMap<String, String>,
    /// Why no route was asked at all.
    pub refused: Option<String>,
}

impl Making {
    fn refused(reason: String) -> Self {
        Self { refused: Some(reason), ..Self::default() }
    }
}

impl<'l> Side<'l> {
    /// Of a configuration.
    #[must_use]
    pub fn new(loaded: &'l Loaded) -> Self {
        Self { loaded, masks: OnceLock::new() }
    }

    /// What is to be hidden of what a route made of a notification.
    #[must_use]
    pub fn masking(&self, stored: &StoredNotification, route: &str) -> Option<Masking> {
        self.masks.get_or_init(|| self.loaded.masks()).of_call(&stored.source, route, &stored.xml)
    }

    /// What of secrets is to be hidden.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.loaded.plan.mask
    }

    /// Whether it has a route of this name.
    #[must_use]
    pub fn has_route(&self, route: &str) -> bool {
        self.loaded.plan.routes.contains_key(route)
    }

    /// What it makes of a notification that comes now.
    #[must_use]
    pub fn make(&self, stored: &StoredNotification) -> Making {
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
        let is_empty = matches!(notification.content, Content::Empty { .. });
        let mut making = Making::default();
        for (route, decided) in route::considered(routes, is_empty, &subject) {
            match decided {
                Ok(route::Made { planned, .. }) => {
                    drop(making.routes.insert(planned.route.clone(), self.delivery(planned, &subject)));
                }
                Err(passed) => drop(making.passed.insert(route.name.clone(), passed.to_string())),
            }
        }
        making
    }

    fn delivery(&self, planned: Planned, subject: &Subject<'_>) -> Made {
        let Planned { route, destination, lane, dead, .. } = planned;
        let call = match (dead, self.loaded.plan.routes.get(&route)) {
            (Some(reason), _) => Err(MapError { place: format!("route {route}"), reason }),
            (None, None) => {
                Err(MapError { place: format!("route {route}"), reason: format!("route {route} makes no calls") })
            }
            (None, Some(planned)) => {
                // Real keys are digests of this; both configurations make the same.
                let identity = Identity { idempotency_key: format!("{}/{route}", subject.notification_id) };
                map::call(&planned.mapping, subject, &identity)
            }
        };
        Made { destination, lane, call }
    }
}

/// The notifications of an envelope as they would be stored, and why some could not be read.
///
/// # Errors
/// When it is no envelope that the source takes, in words.
pub fn notifications(
    loaded: &Loaded,
    source: &Source,
    body: &[u8],
) -> Result<Vec<Result<StoredNotification, String>>, String> {
    let limits = &loaded.server.limits;
    let limits =
        parse::Limits { depth: limits.depth_max, notifications: limits.notifications_max, fields: limits.fields_max };
    let envelope =
        parse::envelope(body, None, &limits, source.record_types.as_deref()).map_err(|error| error.to_string())?;
    let stored = |notification: &Notification| {
        let (id, xml, record) = match &notification.content {
            Content::Record { id, xml, record } => (id, xml.clone(), Some(record)),
            Content::Empty { id } => (id, String::new(), None),
            Content::Unreadable { reason, .. } => return Err(reason.clone()),
        };
        Ok(StoredNotification {
            row: 0,
            notification_id: id.as_str().to_owned(),
            revision: 1,
            source: source.name.clone(),
            organization_id: envelope.organization_id.as_str().to_owned(),
            action_id: envelope.action_id.as_str().to_owned(),
            enterprise_url: envelope.enterprise_url.clone(),
            partner_url: envelope.partner_url.clone(),
            received_at: RECEIVED_AT,
            record_type: record.map(|record| record.record_type.clone()).unwrap_or_default(),
            record_id: record.and_then(Record::id).unwrap_or_default().to_owned(),
            xml,
        })
    };
    Ok(envelope.notifications.iter().map(stored).collect())
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

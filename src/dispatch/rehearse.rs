//! The call that a delivery would make, made and not sent.

use serde_json::{Map, Value as Json};

use crate::delivery::{ConfigVersion, DeliveryId};
use crate::dispatch::InForce;
use crate::dispatch::attempt::{self, Attempts, Way};
use crate::expression::Subject;
use crate::store::StoredNotification;

/// What a call is to be made of.
#[derive(Clone, Debug)]
pub struct Rehearsal<'a> {
    /// The content.
    pub notification: &'a StoredNotification,
    /// The route that it goes along.
    pub route: &'a str,
    /// What was kept of the answers to those that it comes after.
    pub after: &'a Map<String, Json>,
    /// The configuration to map with; none: the one in force.
    pub version: Option<ConfigVersion>,
    /// Which delivery it is, where that repeats another and so has a key of its own.
    pub replay: Option<DeliveryId>,
    /// It would be a delivery that is not there yet, whose key nobody knows.
    pub is_new: bool,
}

/// Stands for a key that nobody knows yet.
const NEW_KEY: &str = "(a new one)";

/// A call that was not sent: masked, and cut as what is kept of an attempt.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// Method and URL.
    pub request_line: String,
    /// Headers, in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub request: String,
    /// Whether the body was cut.
    pub request_cut: bool,
    /// Its hash as its mapping made it.
    pub hash: [u8; 32],
}

impl Attempts {
    /// Makes a call and sends it nowhere.
    ///
    /// # Errors
    /// Why none can be made, in words.
    pub(super) async fn rehearse(&self, in_force: &InForce, rehearsal: Rehearsal<'_>) -> Result<Rehearsed, String> {
        let InForce { plan, version: version_in_force } = in_force;
        let Rehearsal { notification, route, after, version, replay, is_new } = rehearsal;
        let gone = |what: &str| format!("the configuration has no {what} any more");
        let route = plan.routes.get(route).ok_or_else(|| gone(&format!("route {route:?}")))?;
        let destination = plan.destinations.get(&route.destination);
        let destination = destination.ok_or_else(|| gone(&format!("destination {:?}", route.destination)))?;
        let older = self.plan_for(version, *version_in_force).await;
        let both = older.as_ref().map(|older| plan.mask.with(&older.mask));
        let mask = both.as_ref().unwrap_or(&plan.mask);
        let way = Way { plan, route, destination, older };
        if let Some(version) = version.filter(|version| version != version_in_force)
            && way.older_maker().is_none()
        {
            return Err(attempt::no_older(version));
        }
        let record = attempt::record_of(notification, way.maker())?;
        let subject = Subject { after: Some(after), ..attempt::subject_of(notification, record.as_ref()) };
        let identity = attempt::identity(notification, &route.name, replay);
        let (call, hash) = way.call(&subject, &identity).map_err(|error| mask.apply(&error.reason))?;
        let (request, request_cut) = attempt::cut(&call.body, mask);
        let keys = if is_new { vec![identity.message_id(), identity.idempotency_key] } else { Vec::new() };
        let told = |text: String| keys.iter().fold(text, |text, key| text.replace(key, NEW_KEY));
        let header = |(name, value): &(String, crate::secret::Text)| (name.clone(), told(mask.apply(&value.masked())));
        Ok(Rehearsed {
            request_line: format!("{} {}", call.method, mask.apply(&call.url.masked())),
            headers: call.headers.iter().map(header).collect(),
            request: told(request),
            request_cut,
            hash,
        })
    }
}

//! The driver of the way in: receive → parse → route → store → answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::clock::{SharedClock, Timestamp};
use crate::crash;
use crate::delivery::{ConfigVersion, OnRevision, Planned};
use crate::envelope::{
    ActionId, Content, Drift, Envelope, Notification, NotificationId, OrganizationId, Record, Value, named,
};
use crate::expression::Subject;
use crate::facts::{Considered, RouteTold};
use crate::mutation::{self, Mutation};
use crate::parse::{self, Edited, ParseError};
use crate::receive::answer::{Answer, Cause, Refusal};
use crate::receive::denial::Denied;
use crate::receive::guard::{self, Stranger};
use crate::receive::{Intake, Limits, Near, Post, Source, Stray, UnknownOrganization};
use crate::route::{self, Made, Route};
use crate::store::{
    Accept, Accepted, Edit, Edits, Fate, Health, Incoming, IncomingKind, RefusedPost, Store, StoreError,
    StoredNotification, searchable,
};
use crate::telemetry::{Alarms, Id, Metrics, Moment, Origin, RequestId, Span, Trace, Traces};

mod denials;

use self::denials::Denials;
pub use self::denials::RefusedCertificate;

/// How long Salesforce keeps trying before it drops a message (its "Considerations for Outbound Messages").
const SALESFORCE_KEEPS: Duration = Duration::from_secs(24 * 3600);
/// Salesforce tries again at least every two hours: what did not come again for longer is over.
const OVER_AFTER: Duration = Duration::from_secs(150 * 60);
/// Salesforce waits 60 s for an answer; the store gets less.
const STORE_PATIENCE: Duration = Duration::from_secs(20);
/// How much of a refused body is kept, in bytes.
const REFUSED_BYTES_KEPT: usize = 64 << 10;
/// How many refused POSTs may be on their way to the store at once; more are counted, not kept.
const REFUSED_AT_ONCE: usize = 16;
/// How many different drifts of one source are remembered.
const DRIFT_KINDS_MAX: usize = 10_000;
/// How many different records of one source are counted within a minute.
const RECORDS_PER_MINUTE_MAX: usize = 100_000;

/// Tells the way out that a system has work.
pub type Wake = Box<dyn Fn(&str) + Send + Sync>;

/// What a configuration says of the way in.
pub struct Rules {
    /// The sources.
    pub sources: Vec<Arc<Source>>,
    /// The routes of each source, by its name.
    pub routes: HashMap<String, Vec<Route>>,
    /// The bounds of an envelope.
    pub limits: Limits,
    /// The configuration that routes by them.
    pub config_version: ConfigVersion,
}

/// What the intake needs.
pub struct Parts {
    /// What it goes by.
    pub rules: Rules,
    /// Where envelopes become durable.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: SharedClock,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Alarms.
    pub alarms: Arc<Alarms>,
    /// What traces envelopes.
    pub traces: Arc<Traces>,
    /// The way out.
    pub wake: Wake,
}

/// Takes POSTs, one at a time and many at once.
pub struct Desk {
    rules: ArcSwap<InForce>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    alarms: Arc<Alarms>,
    traces: Arc<Traces>,
    wake: Wake,
    places: Semaphore,
    refusals: Arc<Semaphore>,
    closing: AtomicBool,
    strays: Mutex<Strays>,
    denials: Denials,
}

/// The rules that envelopes are taken by. Each goes by those it met, from its first byte to its answer.
struct InForce {
    sources: HashMap<String, SourceDesk>,
    /// All of them, whatever their source, with what each does with revisions.
    routes_in_force: Arc<BTreeMap<String, OnRevision>>,
    limits: parse::Limits,
    config_version: ConfigVersion,
}

impl InForce {
    /// What was watched of sources that are still there goes on.
    fn new(rules: Rules, watches: impl Fn(&str) -> Arc<Mutex<Watch>>) -> Self {
        let Rules { sources, mut routes, limits, config_version } = rules;
        let all = routes.values().flatten().map(|route| (route.name.clone(), route.on_revision));
        let routes_in_force = Arc::new(all.collect());
        let desk = |source: Arc<Source>| {
            let routes = routes.remove(&source.name).unwrap_or_default();
            let watch = watches(&source.name);
            (source.name.clone(), SourceDesk { source, routes, watch })
        };
        Self {
            sources: sources.into_iter().map(desk).collect(),
            routes_in_force,
            limits: parse::Limits {
                depth: limits.depth_max,
                notifications: limits.notifications_max,
                fields: limits.fields_max,
            },
            config_version,
        }
    }

    /// What the store is told of an envelope.
    fn accept(
        &self,
        desk: &SourceDesk,
        envelope: Envelope,
        quarantine: Option<String>,
        received_at: Timestamp,
        sender: String,
    ) -> Accept {
        let Envelope { organization_id, action_id, enterprise_url, partner_url, notifications } = envelope;
        let incoming = |notification: Notification| {
            let subject = Subject {
                record: notification.record(),
                notification_id: notification.id().map_or("", |id| id.as_str()),
                received_at,
                organization_id: organization_id.as_str(),
                action_id: action_id.as_str(),
                enterprise_url: &enterprise_url,
                partner_url: &partner_url,
                source: &desk.source.name,
                after: None,
            };
            let deliveries = if quarantine.is_some() || is_of_unknown_type(&notification) {
                Vec::new()
            } else {
                route::deliveries(&desk.routes, &notification, &subject)
            };
            incoming(notification, deliveries, &desk.source.search)
        };
        let notifications = notifications.into_iter().map(incoming).collect();
        Accept {
            source: desk.source.name.clone(),
            received_at,
            organization_key: organization_id.key().to_owned(),
            organization_id: organization_id.as_str().to_owned(),
            action_id: action_id.as_str().to_owned(),
            enterprise_url,
            partner_url,
            sender,
            quarantine,
            config_version: self.config_version,
            routes_in_force: Arc::clone(&self.routes_in_force),
            notifications,
        }
    }
}

/// Whether envelopes are still being taken by rules that are not in force any more.
pub struct Outgoing(Weak<InForce>);

impl Outgoing {
    /// Whether all of them were answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// How often strays of one kind are told in the log: a scanner must not fill it.
const STRAYS_EVERY: Duration = Duration::from_secs(60);

/// Requests to paths that no source has: when they were told last, and how many were not since.
#[derive(Debug, Default)]
struct Strays {
    posts: Untold,
    others: Untold,
}

#[derive(Debug, Default)]
struct Untold {
    told_at: Option<Duration>,
    count: u64,
}

impl Untold {
    /// Counts one more; how many are to be told now.
    fn add(&mut self, now: Duration) -> Option<u64> {
        self.count += 1;
        if self.told_at.is_some_and(|told_at| now.saturating_sub(told_at) < STRAYS_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

struct SourceDesk {
    source: Arc<Source>,
    routes: Vec<Route>,
    watch: Arc<Mutex<Watch>>,
}

/// What is watched of a source, to raise alarms.
#[derive(Default)]
struct Watch {
    drift_seen: HashSet<Drift>,
    /// By a keyed hash of the record's id, which costs no memory of its own.
    records_in_minute: HashMap<u64, u32>,
    keys: RandomState,
    loop_seen: bool,
    last_envelope: Duration,
    /// For how long it was silent already when the gateway started, until it is heard.
    silent_before: Duration,
    /// When what an alarm is about happened last, by the alarm and its subject.
    last_seen: HashMap<(&'static str, String), Duration>,
}

/// What expressions see of a stored notification.
fn subject_of<'a>(stored: &'a StoredNotification, record: Option<&'a Record>) -> Subject<'a> {
    Subject {
        record,
        notification_id: &stored.notification_id,
        received_at: stored.received_at,
        organization_id: &stored.organization_id,
        action_id: &stored.action_id,
        enterprise_url: &stored.enterprise_url,
        partner_url: &stored.partner_url,
        source: &stored.source,
        after: None,
    }
}

/// A field's text as a person gave it in JSON; none is nil.
fn field_text(name: &str, value: &Json) -> Result<Option<String>, String> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.clone())),
        Json::Number(number) => Ok(Some(number.to_string())),
        Json::Bool(boolean) => Ok(Some(boolean.to_string())),
        Json::Array(_) | Json::Object(_) => Err(format!(
            "field {name} must be text, a number, true, false or null; for more give the whole sObject as XML"
        )),
    }
}

/// What an edit must leave alone, and what it got wrong that was right.
fn refuse_edit(original: &Record, edited: &Record) -> Result<(), String> {
    if original.record_type != edited.record_type || original.id() != edited.id() {
        let name = |record: &Record| format!("{} {}", record.record_type, record.id().unwrap_or("without Id"));
        return Err(format!(
            "the edit makes another record of it: it is {}, and was {}; type and Id must stay",
            name(edited),
            name(original)
        ));
    }
    match edited.drift.iter().find(|drift| !original.drift.contains(drift)) {
        Some(drift) => Err(format!("the edit does not fit the WSDL of its source: {drift}")),
        None => Ok(()),
    }
}

impl Desk {
    /// A desk, open.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { rules, store, clock, metrics, alarms, traces, wake } = parts;
        let started = clock.monotonic();
        let places = Semaphore::new(rules.limits.queue_max);
        let in_force = InForce::new(rules, |_| watch_from(started));
        Self {
            rules: ArcSwap::from_pointee(in_force),
            store,
            clock,
            metrics,
            alarms,
            traces,
            wake,
            places,
            refusals: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
            closing: AtomicBool::new(false),
            strays: Mutex::default(),
            denials: Denials::default(),
        }
    }

    /// From now on envelopes are taken by these rules; those under way end by the rules that they met.
    pub fn adopt(&self, rules: Rules) -> Outgoing {
        let now = self.clock.monotonic();
        let before = self.rules.load_full();
        let watched = |name: &str| match before.sources.get(name) {
            Some(desk) => {
                // Other declarations, other drift: it is told anew.
                lock(&desk.watch).drift_seen.clear();
                Arc::clone(&desk.watch)
            }
            None => watch_from(now),
        };
        let in_force = Arc::new(InForce::new(rules, watched));
        for (name, desk) in before.sources.iter().filter(|(name, _)| !in_force.sources.contains_key(*name)) {
            self.forget(name, desk);
        }
        drop(before);
        Outgoing(Arc::downgrade(&self.rules.swap(in_force)))
    }

    /// Ends the alarms of a source that is gone.
    fn forget(&self, name: &str, desk: &SourceDesk) {
        for alarm in ["loop", "silence", "overload"] {
            self.alarms.clear(alarm, name);
        }
        let seen: Vec<_> = lock(&desk.watch).last_seen.drain().map(|(alarm, _)| alarm).collect();
        for (alarm, subject) in seen {
            self.alarms.clear(alarm, &subject);
        }
    }

    /// The deliveries that the routes make now of a notification that was stored before.
    ///
    /// # Errors
    /// When its source is gone, or what was stored cannot be read.
    pub fn plan(&self, stored: &StoredNotification) -> Result<Vec<Planned>, String> {
        let rules = self.rules.load_full();
        let desk =
            rules.sources.get(&stored.source).ok_or_else(|| format!("there is no source {:?}", stored.source))?;
        let types = desk.source.record_types.as_deref();
        let record = parse::record(&stored.xml, types).map_err(|error| format!("it cannot be read: {error}"))?;
        let id = NotificationId::parse(&stored.notification_id).map_err(|error| error.to_string())?;
        let content = Content::Record { id, record, xml: String::new() };
        let notification = Notification { content, hash: [0; 32] };
        if is_of_unknown_type(&notification) {
            return Ok(Vec::new());
        }
        let subject = subject_of(stored, notification.record());
        Ok(route::deliveries(&desk.routes, &notification, &subject))
    }

    /// What the routes of its source make of a stored notification now, and why some make nothing.
    ///
    /// # Errors
    /// When its source is gone, or what was stored cannot be read.
    pub fn consider(&self, stored: &StoredNotification) -> Result<Considered, String> {
        let rules = self.rules.load_full();
        let desk = rules.sources.get(&stored.source);
        let desk = desk.ok_or_else(|| format!("the configuration has no source {:?} any more", stored.source))?;
        let types = desk.source.record_types.as_deref();
        let record = match stored.xml.as_str() {
            "" => None,
            xml => Some(parse::record(xml, types).map_err(|error| format!("it cannot be read: {error}"))?),
        };
        let drift: Vec<Drift> = record.as_ref().map(|record| record.drift.clone()).unwrap_or_default();
        let type_of = |name: &str| {
            let declared = types.zip(record.as_ref()).and_then(|(types, record)| types.0.get(&record.record_type));
            declared.and_then(|declared| declared.field(name)).map(|known| known.to_string())
        };
        let fields = record.iter().flat_map(|record| &record.fields);
        let fields = fields.map(|field| (field.name.clone(), type_of(&field.name))).collect();
        if let Some(unknown) = drift.iter().find(|drift| matches!(drift, Drift::UnknownRecordType(_))) {
            return Err(format!("no route is asked: {unknown}"));
        }
        let subject = subject_of(stored, record.as_ref());
        let routes = route::considered(&desk.routes, record.is_none(), &subject);
        let told = |(route, decided): (&Route, Result<Made, route::Passed>)| {
            let (name, destination) = (route.name.clone(), route.destination.clone());
            match decided {
                Ok(Made { planned: Planned { lane, dead, .. }, is_undecided }) => {
                    RouteTold { name, destination, matches: true, lane, because: dead, is_undecided }
                }
                Err(passed) => {
                    let because = Some(passed.to_string());
                    RouteTold { name, destination, matches: false, lane: None, because, is_undecided: false }
                }
            }
        };
        Ok(Considered {
            fields,
            drift: drift.iter().map(ToString::to_string).collect(),
            routes: routes.into_iter().map(told).collect(),
        })
    }

    /// The delivery that one route of its source makes of a notification that was stored before: the route with this name, or
    /// the only one that leads to the destination with this name.
    ///
    /// # Errors
    /// When there is no such route, or it can make none.
    pub fn plan_to(&self, stored: &StoredNotification, to: &str) -> Result<Planned, String> {
        let source = &stored.source;
        let rules = self.rules.load_full();
        let desk = rules.sources.get(source).ok_or_else(|| format!("there is no source {source:?} any more"))?;
        let named = desk.routes.iter().find(|route| route.name == to);
        let leading: Vec<&Route> = desk.routes.iter().filter(|route| route.destination == to).collect();
        let route = match (named, leading.as_slice()) {
            (Some(route), _) => route,
            (None, [route]) => *route,
            (None, []) => {
                return Err(format!(
                    "no route of source {source:?} has the name {to:?} or leads to a destination of that name, so nothing says \
                     how to map it"
                ));
            }
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|route| route.name.as_str()).collect();
                return Err(format!("several routes lead to {to:?}; name one of them: {}", names.join(", ")));
            }
        };
        let record = match stored.xml.as_str() {
            "" => None,
            xml => Some(
                parse::record(xml, desk.source.record_types.as_deref())
                    .map_err(|error| format!("it cannot be read: {error}"))?,
            ),
        };
        route::by_hand(route, &subject_of(stored, record.as_ref()))
    }

    /// The content of a stored notification as a person wants it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn edit(&self, stored: &StoredNotification, edits: &Edits) -> Result<Edit, String> {
        let rules = self.rules.load_full();
        let source = rules.sources.get(&stored.source).map(|desk| &desk.source);
        let types = source.and_then(|source| source.record_types.as_deref());
        let xml = match edits {
            Edits::Xml(xml) => Cow::Borrowed(xml.as_str()),
            Edits::Fields(_) if stored.xml.is_empty() => {
                return Err("it came without a record; give the whole sObject as XML".to_owned());
            }
            Edits::Fields(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), field_text(name, value)?)));
                let fields = fields.collect::<Result<_, String>>()?;
                Cow::Owned(parse::with_fields(&stored.xml, &fields).map_err(|error| error.to_string())?)
            }
        };
        let edited = parse::sobject(&xml, &rules.limits, types).map_err(|error| error.to_string())?;
        if !stored.xml.is_empty() {
            let original = parse::record(&stored.xml, types).map_err(|error| error.to_string())?;
            refuse_edit(&original, &edited.record)?;
        }
        let Edited { record, hash, xml } = edited;
        let record_id = record.id().unwrap_or_default().to_owned();
        let search = source.map(|source| searched(&record, &source.search)).unwrap_or_default();
        Ok(Edit { hash, record_type: record.record_type, record_id, xml, search })
    }

    /// Whether a source takes an organization; none when there is no such source.
    #[must_use]
    pub fn takes(&self, source: &str, organization: &str) -> Option<bool> {
        let rules = self.rules.load();
        let source = &rules.sources.get(source)?.source;
        let id = OrganizationId::parse(organization).ok();
        Some(source.organizations.as_ref().is_none_or(|known| id.is_some_and(|id| known.contains(&id))))
    }

    /// Whether the source of a stored notification takes its organization and outbound message now.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, stored: &StoredNotification) -> Result<(), String> {
        let rules = self.rules.load();
        let desk =
            rules.sources.get(&stored.source).ok_or_else(|| format!("there is no source {:?}", stored.source))?;
        let organization = OrganizationId::parse(&stored.organization_id).map_err(|error| error.to_string())?;
        let action = ActionId::parse(&stored.action_id).map_err(|error| error.to_string())?;
        guard::admit_ids(&desk.source, &organization, &action).map_err(|stranger| stranger.to_string())
    }

    /// A source was silent for so long when the gateway started.
    pub fn silent_before(&self, source: &str, silent: Duration) {
        if let Some(desk) = self.rules.load().sources.get(source) {
            lock(&desk.watch).silent_before = silent;
        }
    }

    /// From now on nothing is taken: every POST is nacked.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    async fn answer(&self, rules: &InForce, desk: &SourceDesk, post: Post) -> Answer {
        if self.closing.load(Ordering::SeqCst) {
            return Answer::NotNow;
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.alarms.raise("overload", &desk.source.name, "more envelopes wait for the store than the queue holds");
            return Answer::NotNow;
        };
        crash::point("after-read");
        let begun = self.traces.now();
        let received_at = self.clock.now();
        let types = desk.source.record_types.as_deref();
        let envelope = match parse::envelope(&post.body, post.charset.as_deref(), &rules.limits, types) {
            Ok(envelope) => envelope,
            Err(error) => {
                return self.refuse(desk, &post, Refusal { cause: cause_of(&error), reason: error.to_string() });
            }
        };
        let quarantine = match guard::admit(&desk.source, &envelope) {
            Ok(()) => None,
            Err(stranger) if desk.source.unknown_organization == UnknownOrganization::Quarantine => {
                self.raise(desk, "quarantine", &desk.source.name, &quarantined(&desk.source.name, &stranger));
                Some(stranger.to_string())
            }
            Err(stranger) => {
                let cause = match stranger {
                    Stranger::Organization(_) => Cause::Organization,
                    Stranger::Action(_) => Cause::Action,
                };
                return self.refuse(desk, &post, Refusal { cause, reason: stranger.to_string() });
            }
        };
        self.watch(desk, &envelope);
        let parsed = self.clock.monotonic();
        let accept = rules.accept(desk, envelope, quarantine, received_at, post.sender);
        self.keep(desk, accept, Steps { begun, parsed, routed: self.clock.monotonic() }).await
    }

    async fn keep(&self, desk: &SourceDesk, accept: Accept, steps: Steps) -> Answer {
        let organization = accept.organization_id.clone();
        let received_at = accept.received_at;
        match tokio::time::timeout(STORE_PATIENCE, self.store.accept(accept)).await {
            Ok(Ok(accepted)) => {
                self.alarms.clear("overload", &desk.source.name);
                self.alarms.clear("store", &desk.source.name);
                self.alarms.clear("store", "");
                for system in &accepted.woken {
                    (self.wake)(system);
                }
                report(&desk.source.name, &organization, &accepted);
                self.trace(desk, &organization, received_at, &accepted, &steps);
                Answer::Accepted
            }
            Ok(Err(StoreError::Overloaded)) => {
                self.alarms.raise("overload", &desk.source.name, "the store's queue is full");
                Answer::NotNow
            }
            Ok(Err(error)) => {
                // A store that fails is looked at until it works again; what it refuses of a source is no fault of its disk.
                let failing = matches!(error, StoreError::Unavailable(_) | StoreError::Closed);
                let subject = if failing { "" } else { desk.source.name.as_str() };
                self.alarms.raise("store", subject, &error.to_string());
                Answer::NotNow
            }
            Err(_) if mutation::active(Mutation::AckOfTheImpatient) => Answer::Accepted,
            Err(_) => {
                self.alarms.raise("store", "", "the store did not answer in time");
                Answer::NotNow
            }
        }
    }

    /// Traces an envelope that is stored; one that brought nothing new is known by when it came.
    fn trace(&self, desk: &SourceDesk, organization: &str, received_at: Timestamp, accepted: &Accepted, steps: &Steps) {
        let Steps { begun, parsed, routed } = *steps;
        let envelope = accepted.envelope.unwrap_or_else(|| {
            let nanoseconds = i64::try_from(begun.monotonic().as_nanos()).unwrap_or(i64::MAX);
            nanoseconds.saturating_neg()
        });
        let Some(trace) = self.traces.of(&Origin { organization, envelope, received_at }) else { return };
        let now = self.clock.monotonic();
        let at = |moment: Duration| begun.after(moment.saturating_sub(begun.monotonic()));
        for (name, from, to) in [("parse", begun, parsed), ("route", at(parsed), routed), ("store", at(routed), now)] {
            let span = Span { name, trace, id: Id::Step(name), begun: from, attributes: Vec::new(), failed: None };
            self.traces.ended_at(span, to);
        }
        self.traces.ended_at(envelope_span(&desk.source.name, accepted, trace, begun), now);
    }

    /// Refuses for good: said once as an alarm, kept raw for an operator to see.
    fn refuse(&self, desk: &SourceDesk, post: &Post, refusal: Refusal) -> Answer {
        self.note_refusal(desk, post, refusal.cause, &refusal.reason);
        Answer::Refused(refusal)
    }

    /// An alarm that ends when its cause did not come again.
    fn raise(&self, desk: &SourceDesk, alarm: &'static str, subject: &str, message: &str) {
        lock(&desk.watch).last_seen.insert((alarm, subject.to_owned()), self.clock.monotonic());
        self.alarms.raise(alarm, subject, message);
    }

    fn note_refusal(&self, desk: &SourceDesk, post: &Post, cause: Cause, reason: &str) {
        let (source, sender) = (desk.source.name.as_str(), post.sender.as_str());
        self.metrics.refused(source, cause.as_str());
        if self.denials.is_first(cause.as_str(), source, sender, self.clock.monotonic()) {
            tracing::warn!(kind = cause.as_str(), source, sender, "a POST is refused: {reason}");
        }
        self.alarm_of_refusal(desk, sender, cause.as_str(), reason);
        self.keep_refusal(desk, sender, reason, &post.body);
    }

    fn alarm_of_refusal(&self, desk: &SourceDesk, sender: &str, kind: &'static str, reason: &str) {
        let dropped_at = self.clock.now().plus(SALESFORCE_KEEPS).spoken();
        let subject = format!("{}/{kind}", desk.source.name);
        let message = format!("a POST from {sender} is refused: {reason}; Salesforce drops it by {dropped_at}");
        self.raise(desk, "refused", &subject, &message);
    }

    /// Keeps what was refused, for people to see.
    fn keep_refusal(&self, desk: &SourceDesk, sender: &str, reason: &str, body: &[u8]) {
        let at = self.clock.now();
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let kept = body.get(..REFUSED_BYTES_KEPT.min(body.len())).unwrap_or_default();
        let refused = RefusedPost {
            at,
            source: desk.source.name.clone(),
            sender: sender.to_owned(),
            reason: reason.to_owned(),
            dropped_at: Some(at.plus(SALESFORCE_KEEPS)),
            body: parse::without_session_id(kept),
        };
        let store = Arc::clone(&self.store);
        let kept = async move {
            if let Err(error) = store.refuse(refused).await {
                tracing::warn!(%error, "a refused POST could not be kept");
            }
            drop(place);
        };
        tokio::spawn(kept.in_current_span());
    }

    /// Counts records and looks for drift.
    fn watch(&self, desk: &SourceDesk, envelope: &Envelope) {
        let source = &desk.source;
        let mut watch = lock(&desk.watch);
        let now = self.clock.monotonic();
        watch.last_envelope = now;
        watch.silent_before = Duration::ZERO;
        for record in envelope.notifications.iter().filter_map(Notification::record) {
            for drift in &record.drift {
                if watch.drift_seen.len() < DRIFT_KINDS_MAX && watch.drift_seen.insert(drift.clone()) {
                    tracing::warn!(source = source.name, record_type = &*named(&record.record_type), "drift: {drift}");
                }
                if let Drift::UnknownRecordType(name) = drift {
                    let message =
                        format!("record type {} is not in the source's WSDL; such records are unrouted", named(name));
                    watch.last_seen.insert(("record_type", source.name.clone()), now);
                    self.alarms.raise("record_type", &source.name, &message);
                }
            }
            if let Some(id) = record.id()
                && let Some(count) = watch.count(id)
                && count > source.loop_per_minute
            {
                watch.loop_seen = true;
                let message =
                    format!("record {id} came {count} times within a minute: does a target write back to it?");
                self.alarms.raise("loop", &source.name, &message);
            }
        }
    }

    /// What an earlier process refused for good, of which Salesforce may still keep the message: a restart is no reason to
    /// forget that somebody must look. It ends as the alarms do that are raised now.
    pub fn refused_before(&self, posts: &[RefusedPost]) {
        let now = self.clock.now();
        for (name, desk) in &self.rules.load_full().sources {
            let is_ours = |post: &&RefusedPost| {
                let age = now.0.saturating_sub(post.at.0);
                post.source == *name && i128::from(age) <= i128::try_from(OVER_AFTER.as_millis()).unwrap_or(0)
            };
            let Some((newest, dropped_at)) =
                posts.iter().filter(is_ours).find_map(|post| post.dropped_at.map(|dropped_at| (post, dropped_at)))
            else {
                continue;
            };
            let message = format!(
                "a POST from {} was refused before this start, the last at {}: {}; Salesforce drops it by {}",
                newest.sender,
                newest.at.spoken(),
                newest.reason,
                dropped_at.spoken()
            );
            self.raise(desk, "refused", &format!("{name}/before"), &message);
        }
    }

    /// Once in a while: the alarm about the store stands while it cannot write and ends when it can, whether or not anything
    /// comes in.
    pub fn look_at_store(&self) {
        match self.store.condition() {
            Health::Ready => self.alarms.clear("store", ""),
            Health::Failing(reason) => self.alarms.raise("store", "", &StoreError::Unavailable(reason).to_string()),
        }
    }

    /// Once a minute: alarms that end, and silence.
    pub fn minute(&self) {
        let now = self.clock.monotonic();
        self.tell_refused(now);
        for (name, desk) in &self.rules.load_full().sources {
            let mut watch = lock(&desk.watch);
            if !watch.loop_seen {
                self.alarms.clear("loop", name);
            }
            watch.loop_seen = false;
            watch.records_in_minute.clear();
            for (alarm, subject) in watch.over(now) {
                self.alarms.clear(alarm, &subject);
            }
            let silent_for = now.saturating_sub(watch.last_envelope).saturating_add(watch.silent_before);
            match desk.source.silence {
                Some(silence) if silent_for >= silence => {
                    let message = format!("nothing came for {} s", silent_for.as_secs());
                    self.alarms.raise("silence", name, &message);
                }
                Some(_) => self.alarms.clear("silence", name),
                None => {}
            }
        }
    }
}

impl Intake for Desk {
    fn take(&self, post: Post) -> BoxFuture<'_, Answer> {
        async move {
            let started = self.clock.monotonic();
            self.metrics.body_bytes(post.body.len());
            let rules = self.rules.load_full();
            let Some(desk) = rules.sources.get(&post.source) else {
                return Answer::NotNow;
            };
            let answer = self.answer(&rules, desk, post).await;
            let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
            self.metrics.answered(&desk.source.name, answer.as_str(), seconds);
            answer
        }
        .instrument(RequestId::default().span())
        .boxed()
    }

    fn refused(&self, post: Post, answer: &Answer) -> BoxFuture<'_, ()> {
        let _request = RequestId::default().span().entered();
        let why = match answer {
            Answer::Refused(Refusal { cause, reason }) => Some((*cause, reason)),
            Answer::TooLarge(reason) => Some((Cause::TooLarge, reason)),
            Answer::Accepted | Answer::NotNow => None,
        };
        let rules = self.rules.load_full();
        if let (Some(desk), Some((cause, reason))) = (rules.sources.get(&post.source), why) {
            self.note_refusal(desk, &post, cause, reason);
            self.metrics.answered(&desk.source.name, answer.as_str(), 0.0);
        }
        std::future::ready(()).boxed()
    }

    fn strayed(&self, stray: &Stray) {
        let _request = RequestId::default().span().entered();
        self.metrics.strayed(stray.is_post);
        let told = {
            let mut strays = lock(&self.strays);
            let kind = if stray.is_post { &mut strays.posts } else { &mut strays.others };
            kind.add(self.clock.monotonic())
        };
        let Some(requests) = told else { return };
        let sender = &stray.sender;
        match &stray.near {
            Some(Near { source, characters }) if stray.is_post => {
                let alike = format!("its first {characters} characters are those of source {source}'s path");
                tracing::warn!(sender, requests, "a POST to a path that no source has; {alike}: is it mistyped?");
            }
            _ if stray.is_post => tracing::warn!(sender, requests, "a POST to a path that no source has"),
            _ => tracing::info!(sender, requests, "a request to a path that no source has"),
        }
    }

    fn crowded_out(&self, source: &str) {
        let _request = RequestId::default().span().entered();
        self.alarms.raise("overload", source, "the bodies being read hold all the memory that limits.bodies allows");
        self.metrics.answered(source, Answer::NotNow.as_str(), 0.0);
    }

    fn denied(&self, denied: &Denied) {
        self.turned_away(denied);
    }

    fn answered(&self) {
        crash::point("before-ack");
        if crash::is_armed("after-ack") {
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                crash::point("after-ack");
            });
        }
    }
}

impl Watch {
    /// The alarms whose cause did not come again; each once.
    fn over(&mut self, now: Duration) -> Vec<(&'static str, String)> {
        self.last_seen.extract_if(|_, at| now.saturating_sub(*at) > OVER_AFTER).map(|(alarm, _)| alarm).collect()
    }

    fn count(&mut self, record: &str) -> Option<u32> {
        let key = self.keys.hash_one(record);
        if let Some(count) = self.records_in_minute.get_mut(&key) {
            *count = count.saturating_add(1);
            return Some(*count);
        }
        if self.records_in_minute.len() < RECORDS_PER_MINUTE_MAX {
            self.records_in_minute.insert(key, 1);
        }
        None
    }
}

fn watch_from(started: Duration) -> Arc<Mutex<Watch>> {
    Arc::new(Mutex::new(Watch { last_envelope: started, ..Watch::default() }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the steps of taking an envelope ended.
#[derive(Clone, Copy)]
struct Steps {
    begun: Moment,
    parsed: Duration,
    routed: Duration,
}

fn envelope_span(source: &str, accepted: &Accepted, trace: Trace, begun: Moment) -> Span {
    let count = |fate: Option<Fate>| {
        let of = |other: &&Fate| fate.is_none_or(|fate| **other == fate);
        i64::try_from(accepted.fates.iter().filter(of).count()).unwrap_or(i64::MAX)
    };
    let attributes = vec![
        ("omgate.source", source.into()),
        ("omgate.notifications", count(None).into()),
        ("omgate.duplicates", count(Some(Fate::Duplicate)).into()),
    ];
    Span { name: "envelope", trace, id: Id::Envelope, begun, attributes, failed: None }
}

/// What the alarm says of who was stored aside.
fn quarantined(source: &str, stranger: &Stranger) -> String {
    match stranger {
        // What is no id is no part of a command either.
        Stranger::Organization(id) if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            format!("{stranger}; `omgate sources adopt {source} --organization {id}` lets it in")
        }
        Stranger::Organization(_) | Stranger::Action(_) => stranger.to_string(),
    }
}

/// Which kind of reason it is that an envelope cannot be read.
fn cause_of(error: &ParseError) -> Cause {
    match error {
        ParseError::Encoding { .. } | ParseError::UnknownEncoding(_) => Cause::Encoding,
        ParseError::Malformed { .. }
        | ParseError::UnboundPrefix { .. }
        | ParseError::Doctype { .. }
        | ParseError::Deep { .. } => Cause::Malformed,
        ParseError::Foreign { .. }
        | ParseError::Missing { .. }
        | ParseError::Repeated { .. }
        | ParseError::Id { .. }
        | ParseError::NoNotifications
        | ParseError::ManyNotifications { .. } => Cause::Foreign,
    }
}

fn is_of_unknown_type(notification: &Notification) -> bool {
    notification
        .record()
        .is_some_and(|record| record.drift.iter().any(|drift| matches!(drift, Drift::UnknownRecordType(_))))
}

/// What the store is told of one notification.
fn incoming(notification: Notification, deliveries: Vec<Planned>, search: &[String]) -> Incoming {
    let Notification { content, hash } = notification;
    match content {
        Content::Record { id, record, xml } => Incoming {
            notification_id: id.as_str().to_owned(),
            hash,
            kind: IncomingKind::Record,
            record_id: record.id().unwrap_or_default().to_owned(),
            search: searched(&record, search),
            record_type: record.record_type,
            xml,
            deliveries,
        },
        Content::Empty { id } => Incoming {
            notification_id: id.as_str().to_owned(),
            hash,
            kind: IncomingKind::Empty,
            record_type: String::new(),
            record_id: String::new(),
            xml: String::new(),
            search: BTreeMap::new(),
            deliveries,
        },
        Content::Unreadable { xml, reason } => Incoming {
            notification_id: unreadable_id(&hash),
            hash,
            kind: IncomingKind::Unreadable(reason),
            record_type: String::new(),
            record_id: String::new(),
            xml,
            search: BTreeMap::new(),
            deliveries: Vec::new(),
        },
    }
}

/// What the fields hold that a notification is found by. A field without a value, and one that came more than once, finds
/// nothing.
fn searched(record: &Record, fields: &[String]) -> BTreeMap<String, String> {
    let text = |name: &String| match record.field(name)? {
        Value::Text(text) | Value::Number(text) if !text.is_empty() => Some(searchable(text).to_owned()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Null | Value::Text(_) | Value::Number(_) | Value::List(_) => None,
    };
    fields.iter().filter_map(|name| text(name).map(|text| (name.clone(), text))).collect()
}

/// The dedupe key of what has no id: a resend of the same content does not pile up.
fn unreadable_id(hash: &[u8; 32]) -> String {
    let mut id = String::from("sha256:");
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn report(source: &str, organization: &str, accepted: &Accepted) {
    let count = |fate| accepted.fates.iter().filter(|&&other| other == fate).count();
    tracing::debug!(
        source,
        organization,
        notifications = accepted.fates.len(),
        duplicates = count(Fate::Duplicate),
        revised = count(Fate::Revised),
        unrouted = count(Fate::Unrouted),
        "envelope accepted"
    );
    let unreadable = count(Fate::Unreadable);
    if unreadable > 0 {
        tracing::warn!(source, organization, unreadable, "notifications are unreadable; they are kept raw");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_told_once_a_minute_with_how_many_there_were() {
        let mut untold = Untold::default();
        let told: Vec<_> = [0, 1, 59, 60, 61, 200].map(|second| untold.add(Duration::from_secs(second))).into();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }

    #[test]
    fn an_alarm_is_over_when_its_cause_did_not_come_again_for_longer_than_salesforce_waits() {
        let key = |alarm, subject: &str| (alarm, subject.to_owned());
        let mut watch = Watch::default();
        watch.last_seen.insert(key("quarantine", "orders"), Duration::ZERO);
        watch.last_seen.insert(key("refused", "orders/organization"), Duration::from_secs(60));
        assert!(watch.over(OVER_AFTER).is_empty());
        assert_eq!(watch.over(OVER_AFTER + Duration::from_secs(1)), [key("quarantine", "orders")]);
        assert!(watch.over(OVER_AFTER + Duration::from_secs(2)).is_empty(), "each ends once");
        watch.last_seen.insert(key("refused", "orders/organization"), Duration::from_secs(120));
        assert!(watch.over(OVER_AFTER + Duration::from_secs(61)).is_empty(), "it came again meanwhile");
        watch.last_seen.insert(key("refused", "orders/too_large"), OVER_AFTER);
        let over = watch.over(OVER_AFTER + Duration::from_secs(121));
        assert_eq!(over, [key("refused", "orders/organization")], "each cause by itself");
    }
}

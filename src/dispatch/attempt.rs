//! One attempt, from the lease to its settlement.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::call::Call;
use crate::clock::{SharedClock, Timestamp};
use crate::crash;
use crate::deliver::{self, classify};
use crate::delivery::{ConfigVersion, DeliveryId, Lease};
use crate::dispatch::breaker::Sign;
use crate::dispatch::lookup::{Found, Lookup};
use crate::dispatch::{Destination, Parts, Plan, Recall, Route, Stop};
use crate::envelope::Record;
use crate::expression::Subject;
use crate::map::{self, Identity, Mapping};
use crate::outcome::{self, Exchange, Follow, Judgement, Outcome};
use crate::parse;
use crate::secret::Mask;
use crate::settle::{self, Facts, Verdict};
use crate::soap::Reply;
use crate::stale;
use crate::store::{Claimed, NOT_CALLED, Pause, Settle, Settlement, Store, StoreError, StoredNotification};
use crate::telemetry::{Alarms, Metrics};

/// What is kept of a request or a response body, in bytes.
const BODY_BYTES_KEPT: usize = 64 << 10;
/// A verdict that cannot be stored is tried again after this long.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// Our own namespace of idempotency keys (a fixed random UUID).
const KEY_NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x6f6d_6761_7465_4b65_9d1c_52a7_31e8_04f2);

/// What an attempt means for its system.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum After {
    /// The call is over.
    Ended {
        /// Whether the destination answered at all.
        answered: bool,
        /// What that says of the system.
        sign: Sign,
    },
    /// No call was made.
    NoCall,
    /// The whole system is to be paused.
    Pause(Pause),
}

/// Makes attempts.
pub(super) struct Attempts {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: SharedClock,
    pub(super) alarms: Arc<Alarms>,
    pub(super) config_version: ConfigVersion,
    pub(super) stop: watch::Receiver<Stop>,
    /// Whether other gateways may work on the same store.
    pub(super) shared: bool,
    plan: Arc<Plan>,
    recall: Recall,
    recalled: Mutex<HashMap<ConfigVersion, Option<Arc<Plan>>>>,
    metrics: Arc<Metrics>,
    random: RandomState,
}

/// What a call is made by: all of the plan in force, save a resend after an unknown outcome, whose bytes are those of the
/// plan that made them. Where it goes, how it is judged and what follows is always for the plan in force to say: an
/// address or a credential that was corrected counts at once.
struct Way<'a> {
    route: &'a Route,
    destination: &'a Destination,
    older: Option<Arc<Plan>>,
}

impl Way<'_> {
    /// The route that makes the bytes. Those of another protocol are of no use to the destination as it is now.
    fn maker(&self) -> &Route {
        let older = self.older.as_ref().and_then(|older| older.routes.get(&self.route.name));
        let alike = |older: &&Arc<Route>| discriminant(&older.mapping.calls) == discriminant(&self.route.mapping.calls);
        older.filter(alike).map_or(self.route, AsRef::as_ref)
    }

    fn call(&self, subject: &Subject<'_>, identity: &Identity) -> Result<Call, map::MapError> {
        let mut call = map::call(&self.maker().mapping, subject, identity)?;
        if self.older.is_some() {
            call.timeout = self.route.mapping.timeout;
            // Where the present address cannot be made, the one of then is as good as any.
            call.url = map::address(&self.route.mapping, subject).unwrap_or(call.url);
        }
        Ok(call)
    }
}

/// What was decided about an attempt, and what is kept of it.
struct Decided {
    /// None when no call was made.
    judgement: Option<Judgement>,
    verdict: Verdict,
    /// Why no call was made.
    reason: String,
    /// What it means for the system, where that is not to be seen from the judgement.
    after: Option<After>,
    record: outcome::Record,
    duration: Duration,
    stale_mark: Option<String>,
}

/// What a call came to.
struct Answered {
    judgement: Judgement,
    record: outcome::Record,
    duration: Duration,
}

/// What a look-up found.
enum LookedUp {
    /// The message arrived.
    There(Box<Answered>),
    /// It did not: it goes out again.
    Absent,
    /// Nobody can say.
    Unknown {
        /// What follows for the delivery.
        judgement: Judgement,
        /// What the look-up means for the system.
        after: After,
    },
}

impl Decided {
    fn outcome(&self) -> Option<&Outcome> {
        self.judgement.as_ref().map(|judgement| &judgement.outcome)
    }
}

impl Attempts {
    pub(super) fn new(parts: Parts, stop: watch::Receiver<Stop>) -> Self {
        let Parts { store, plan, config_version, recall, clock, metrics, alarms } = parts;
        Self {
            shared: store.signals().is_some(),
            store,
            clock,
            alarms,
            config_version,
            stop,
            plan,
            recall,
            recalled: Mutex::new(HashMap::new()),
            metrics,
            random: RandomState::new(),
        }
    }

    /// Whether the target is asked first whether the message arrived.
    pub(super) fn looks_up(&self, claimed: &Claimed) -> bool {
        claimed.same_bytes_as.is_some()
            && self.plan.routes.get(&claimed.route).is_some_and(|route| route.lookup.is_some())
    }

    /// Takes a leased delivery through to its settlement.
    pub(super) async fn run(&self, claimed: Claimed, active_ms: impl Fn() -> i64) -> After {
        crash::point("after-claim");
        if *self.stop.borrow() != Stop::No {
            self.release(&claimed).await;
            return After::NoCall;
        }
        // A claim names the routes and destinations of the plan in force.
        let Some((route, destination)) = self.plan.way(&claimed) else {
            tracing::error!(delivery = %claimed.delivery, route = claimed.route, "the route is gone; released");
            self.release(&claimed).await;
            return After::NoCall;
        };
        let older = self.plan_for(claimed.same_bytes_as).await;
        let way = Way { route, destination, older };
        let decided = self.decide(&claimed, &way, &active_ms).await;
        self.report(&claimed, &decided);
        let after = match (&decided.verdict.pause, decided.outcome()) {
            (Some(pause), _) => After::Pause(pause.clone()),
            (None, Some(outcome)) => {
                let status = decided.record.status;
                After::Ended { answered: status.is_some(), sign: sign(outcome, status) }
            }
            (None, None) => decided.after.clone().unwrap_or(After::NoCall),
        };
        self.settle(self.settlement(&claimed, decided, active_ms())).await;
        after
    }

    /// Maps, checks, calls, classifies: everything between the lease and the settlement.
    async fn decide(&self, claimed: &Claimed, way: &Way<'_>, active_ms: &impl Fn() -> i64) -> Decided {
        let Way { route, destination, .. } = *way;
        let mask = &*match &way.older {
            Some(older) => Cow::Owned(self.plan.mask.with(&older.mask)),
            None => Cow::Borrowed(&self.plan.mask),
        };
        let record = match record_of(&claimed.notification, way.maker()) {
            Ok(record) => record,
            Err(reason) => return no_call(settle::unmappable(&reason, &route.policy), ""),
        };
        let mark = route.stale_by.as_deref().and_then(|field| stale::mark_of(record.as_ref(), field));
        let stale = stale::reason(claimed.stale_mark.as_deref(), mark.as_deref());
        if let Some(reason) = stale.filter(|_| !claimed.even_if_newer) {
            return no_call(Verdict { settlement: Settlement::Superseded { reason }, pause: None }, "");
        }
        let subject = subject_of(&claimed.notification, record.as_ref());
        let call = match way.call(&subject, &identity_of(claimed)) {
            Ok(call) => call,
            Err(error) => return no_call(settle::unmappable(&mask.apply(&error.reason), &route.policy), ""),
        };
        let looked_up = match route.lookup.as_ref().filter(|_| claimed.same_bytes_as.is_some()) {
            Some(lookup) => self.look_up(lookup, claimed, &subject, mask).await,
            None => LookedUp::Absent,
        };
        let Answered { judgement, record, duration } = match looked_up {
            LookedUp::There(answered) => *answered,
            LookedUp::Absent => self.send(destination, &way.maker().mapping, &call, mask).await,
            LookedUp::Unknown { mut judgement, after } => {
                // No call was made for the delivery: what its last attempt came to stands, and none is counted.
                let facts = self.facts(claimed, active_ms());
                let facts = Facts { attempt: facts.attempt.saturating_sub(1).max(1), ..facts };
                if judgement.follow == Some(Follow::Retry(None)) {
                    let wait = (facts.age / 4).clamp(route.policy.first, route.policy.wait_max.max(route.policy.first));
                    judgement.follow = Some(Follow::Retry(Some(wait)));
                }
                let verdict = settle::verdict(&judgement, &facts, &route.policy);
                return Decided { after: Some(after), ..no_call(verdict, judgement.outcome.reason()) };
            }
        };
        let facts = self.facts(claimed, active_ms());
        let verdict = settle::verdict(&judgement, &facts, &route.policy);
        let stale_mark = stale::newer(claimed.stale_mark.as_deref(), mark)
            .filter(|_| matches!(verdict.settlement, Settlement::Delivered));
        Decided {
            judgement: Some(judgement),
            verdict,
            reason: String::new(),
            after: None,
            record,
            duration,
            stale_mark,
        }
    }

    /// Makes a call and judges what comes back.
    async fn send(&self, destination: &Destination, mapping: &Mapping, call: &Call, mask: &Mask) -> Answered {
        let (exchange, duration) = self.exchange(destination, call).await;
        let reply = map::reply(mapping, &exchange);
        let mut judgement = classify::judge(&exchange, reply.as_ref(), &destination.rules);
        judgement.outcome = masked(judgement.outcome, mask);
        let record = kept(call, &exchange, reply.as_ref(), mask);
        Answered { judgement, record, duration }
    }

    /// After an unknown outcome, asks the target whether the message arrived.
    async fn look_up(&self, lookup: &Lookup, claimed: &Claimed, subject: &Subject<'_>, mask: &Mask) -> LookedUp {
        let unknown = |reason: &str, follow, after| {
            let reason = mask.apply(&format!("whether it arrived could not be looked up: {reason}"));
            let judgement = Judgement { outcome: Outcome::Unknown { reason }, follow: Some(follow), rule: None };
            LookedUp::Unknown { judgement, after }
        };
        let Some(asked) = self.plan.destinations.get(&lookup.destination) else {
            let reason = format!("there is no destination {}", lookup.destination);
            return unknown(&reason, Follow::Retry(None), After::NoCall);
        };
        // A question is no repetition of the call that it asks about.
        let identity = Identity { idempotency_key: format!("{}-lookup", identity_of(claimed).idempotency_key) };
        let call = match map::call(&lookup.mapping, subject, &identity) {
            Ok(call) => call,
            Err(error) => return unknown(&error.reason, Follow::Retry(None), After::NoCall),
        };
        let (exchange, duration) = self.exchange(asked, &call).await;
        let reply = map::reply(&lookup.mapping, &exchange);
        let outcome = classify::judge(&exchange, reply.as_ref(), &asked.rules).outcome;
        match lookup.judge(&exchange, reply.as_ref(), &outcome) {
            Found::Absent => LookedUp::Absent,
            Found::There => LookedUp::There(Box::new(Answered {
                judgement: Outcome::Delivered.into(),
                record: kept(&call, &exchange, reply.as_ref(), mask),
                duration,
            })),
            Found::Unknown { reason } => {
                let status = match &exchange {
                    Exchange::Answered(response) => Some(response.status),
                    Exchange::NotSent { .. } | Exchange::NoAnswer { .. } => None,
                };
                let after = After::Ended { answered: status.is_some(), sign: sign(&outcome, status) };
                let locked_out = matches!(outcome, Outcome::Unauthorized { .. });
                unknown(&reason, if locked_out { Follow::Pause(None) } else { Follow::Retry(None) }, after)
            }
        }
    }

    async fn exchange(&self, destination: &Destination, call: &Call) -> (Exchange, Duration) {
        let started = self.clock.monotonic();
        let mut stop = self.stop.clone();
        let cut = async {
            // Fails only when the dispatch is gone; then there is nobody left to cut the call.
            if stop.wait_for(|stop| *stop == Stop::Cut).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let exchange = tokio::select! {
            exchange = deliver::send(&destination.target, call) => exchange,
            () = cut => Exchange::NoAnswer { reason: "the gateway stopped while the call was under way".to_owned() },
        };
        crash::point("after-response");
        let exchange = dated(exchange, self.clock.now());
        (exchange, self.clock.monotonic().saturating_sub(started))
    }

    fn facts(&self, claimed: &Claimed, active_ms: i64) -> Facts {
        let age_ms = active_ms.saturating_sub(claimed.first_attempt_active_ms);
        let draw = self.random.hash_one((claimed.delivery, claimed.attempt));
        Facts {
            attempt: claimed.attempt,
            excused: claimed.excused,
            age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
            repeat: claimed.repeat.clone(),
            now: self.clock.now(),
            jitter: f64::from(u32::try_from(draw >> 32).unwrap_or(0)) / f64::from(u32::MAX),
        }
    }

    fn settlement(&self, claimed: &Claimed, decided: Decided, active_ms: i64) -> Settle {
        let repeat_key = match decided.outcome() {
            Some(Outcome::Retry { repeat_key, .. }) => repeat_key.clone(),
            _ => None,
        };
        let excused = decided.verdict.pause.is_some();
        let Decided { judgement, verdict, reason, record, duration, stale_mark, after: _ } = decided;
        let outcome = judgement.map(|judgement| judgement.outcome);
        Settle {
            delivery: claimed.delivery,
            lease: claimed.lease,
            ended_at: self.clock.now(),
            duration,
            outcome: outcome.as_ref().map_or(NOT_CALLED, Outcome::as_str),
            reason: outcome.as_ref().map_or(reason, |outcome| outcome.reason().to_owned()),
            record,
            repeat_key,
            excused,
            settlement: verdict.settlement,
            active_ms,
            stale_mark,
        }
    }

    /// Stores the verdict. Until that succeeds it stays here and keeps its slot.
    async fn settle(&self, settle: Settle) {
        loop {
            match self.store.settle(settle.clone()).await {
                Ok(()) => return self.alarms.clear("settle", ""),
                Err(StoreError::Unavailable(reason)) => {
                    self.alarms.raise("settle", "", &format!("verdicts wait for the store: {reason}"));
                }
                Err(StoreError::Overloaded) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(delivery = %settle.delivery, %error, "a verdict was not stored");
                    return;
                }
            }
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
    }

    /// Settles an attempt that a fault of our own ended: nobody knows whether its call was taken, and a person looks at
    /// it before it could happen again.
    pub(super) async fn give_up(&self, delivery: DeliveryId, lease: Lease, active_ms: i64) -> After {
        let reason = "omgate itself failed while it made this call: please report what the log says".to_owned();
        tracing::error!(%delivery, "{reason}");
        let settle = Settle {
            delivery,
            lease,
            ended_at: self.clock.now(),
            duration: Duration::ZERO,
            outcome: "unknown",
            reason: reason.clone(),
            record: outcome::Record::default(),
            repeat_key: None,
            excused: false,
            settlement: Settlement::Held { reason },
            active_ms,
            stale_mark: None,
        };
        self.settle(settle).await;
        After::Ended { answered: false, sign: Sign::Nothing }
    }

    async fn release(&self, claimed: &Claimed) {
        if let Err(error) = self.store.release(vec![(claimed.delivery, claimed.lease)]).await {
            tracing::warn!(delivery = %claimed.delivery, %error, "a lease was not released; the next start does it");
        }
    }

    /// The older plan that made the bytes which must go out again; none when that is the plan in force.
    async fn plan_for(&self, version: Option<ConfigVersion>) -> Option<Arc<Plan>> {
        let version = version.filter(|version| *version != self.config_version)?;
        let mut recalled = self.recalled.lock().await;
        if let Some(plan) = recalled.get(&version) {
            return plan.clone();
        }
        let plan = match self.store.config(version).await {
            Ok(stored) => (self.recall)(&stored),
            Err(error) => {
                tracing::warn!(version = version.0, %error, "an older configuration could not be read");
                None
            }
        };
        if plan.is_none() {
            tracing::warn!(
                version = version.0,
                "an older configuration cannot be used; the present one maps in its place"
            );
        }
        recalled.insert(version, plan.clone());
        plan
    }

    /// Says in the log what became of an attempt: ids and codes, never what a record or an answer holds.
    fn report(&self, claimed: &Claimed, decided: &Decided) {
        let outcome = decided.outcome().map_or(NOT_CALLED, Outcome::as_str);
        let cause = cause_of(decided);
        let duration_ms = u64::try_from(decided.duration.as_millis()).unwrap_or(u64::MAX);
        if decided.outcome().is_some() {
            self.metrics.called(&claimed.destination, outcome, decided.duration.as_secs_f64());
        }
        // Without a call there was no attempt: the delivery does not count one either.
        let attempt = decided.outcome().map(|_| claimed.attempt);
        let delivery = claimed.delivery.0;
        let (notification, destination) = (&claimed.notification.notification_id, &claimed.destination);
        match &decided.verdict.settlement {
            Settlement::Delivered => {
                tracing::debug!(delivery, attempt, notification, destination, duration_ms, "delivered");
            }
            Settlement::Waiting { due_at } => {
                tracing::info!(delivery, attempt, notification, destination, outcome, cause, %due_at, duration_ms, "again later");
            }
            Settlement::Dead { .. } => {
                tracing::warn!(
                    delivery,
                    attempt,
                    notification,
                    destination,
                    outcome,
                    cause,
                    duration_ms,
                    "dead letter"
                );
            }
            Settlement::Held { .. } | Settlement::Superseded { .. } => {
                tracing::info!(delivery, attempt, notification, destination, outcome, cause, duration_ms, "set aside");
            }
        }
    }
}

impl Plan {
    fn way(&self, claimed: &Claimed) -> Option<(&Route, &Destination)> {
        let (route, destination) = (self.routes.get(&claimed.route)?, self.destinations.get(&claimed.destination)?);
        Some((route, destination))
    }
}

/// What an outcome says of the system as a whole. Who refuses works; who asks to go slower (425, 429), or whose fault has
/// a detail, which is about this message, says nothing.
fn sign(outcome: &Outcome, status: Option<u16>) -> Sign {
    match (outcome, status) {
        (Outcome::Delivered | Outcome::Refused { .. }, _) => Sign::Works,
        (Outcome::Unauthorized { .. } | Outcome::Retry { repeat_key: Some(_), .. }, _) => Sign::Nothing,
        (Outcome::Retry { .. }, Some(425 | 429)) => Sign::Nothing,
        (Outcome::Retry { .. }, Some(status)) if status < 500 => Sign::Works,
        (Outcome::Retry { reason, .. } | Outcome::Unknown { reason }, status) => Sign::Fails {
            reason: reason.clone(),
            // These are said by whoever stands before it, or by a system that takes nothing at all.
            itself: status.is_some_and(|status| !matches!(status, 408 | 502..=504 | 520..=524 | 598 | 599)),
        },
    }
}

/// Why, as far as a log may say it: the status and the fault's code; the words of the transport; nothing of a mapping,
/// whose errors quote values.
fn cause_of(decided: &Decided) -> String {
    match (decided.outcome(), decided.record.status, &decided.record.fault) {
        (_, Some(status), Some(fault)) => format!("HTTP {status}, fault {}", fault.code),
        (_, Some(status), None) => format!("HTTP {status}"),
        (Some(outcome), None, _) => outcome.reason().to_owned(),
        (None, None, _) => "no call was made; the delivery says why".to_owned(),
    }
}

/// An answer without a Date is of the moment it came (RFC 9110, §6.6.1); a `Retry-After` may count from it.
fn dated(mut exchange: Exchange, now: Timestamp) -> Exchange {
    if let Exchange::Answered(response) = &mut exchange
        && response.header("date").is_none()
        && let Ok(now) = jiff::Timestamp::from_millisecond(now.0)
        && let Ok(date) = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now)
    {
        response.headers.push(("date".to_owned(), date));
    }
    exchange
}

/// No call was made for the delivery; why, where that is to be seen while it waits.
fn no_call(verdict: Verdict, reason: &str) -> Decided {
    Decided {
        judgement: None,
        verdict,
        reason: reason.to_owned(),
        after: None,
        record: outcome::Record::default(),
        duration: Duration::ZERO,
        stale_mark: None,
    }
}

fn record_of(notification: &StoredNotification, route: &Route) -> Result<Option<Record>, String> {
    if notification.xml.is_empty() {
        return Ok(None);
    }
    parse::record(&notification.xml, route.record_types.as_deref())
        .map(Some)
        .map_err(|error| format!("the stored record cannot be read: {error}"))
}

/// What expressions see of a stored notification.
pub(crate) fn subject_of<'a>(notification: &'a StoredNotification, record: Option<&'a Record>) -> Subject<'a> {
    Subject {
        record,
        notification_id: &notification.notification_id,
        received_at: notification.received_at,
        organization_id: &notification.organization_id,
        action_id: &notification.action_id,
        enterprise_url: &notification.enterprise_url,
        partner_url: &notification.partner_url,
        source: &notification.source,
    }
}

/// The key is made of organization, notification id, route and revision: the same for every attempt.
fn identity_of(claimed: &Claimed) -> Identity {
    let notification = &claimed.notification;
    let organization: String = notification.organization_id.chars().take(15).collect();
    let name =
        [organization.as_str(), &notification.notification_id, &claimed.route, &notification.revision.to_string()]
            .join("\u{0}");
    Identity { idempotency_key: uuid::Uuid::new_v5(&KEY_NAMESPACE, name.as_bytes()).to_string() }
}

fn masked(outcome: Outcome, mask: &Mask) -> Outcome {
    match outcome {
        Outcome::Delivered => Outcome::Delivered,
        Outcome::Refused { reason } => Outcome::Refused { reason: mask.apply(&reason) },
        Outcome::Retry { reason, after, repeat_key } => {
            Outcome::Retry { reason: mask.apply(&reason), after, repeat_key }
        }
        Outcome::Unauthorized { reason } => Outcome::Unauthorized { reason: mask.apply(&reason) },
        Outcome::Unknown { reason } => Outcome::Unknown { reason: mask.apply(&reason) },
    }
}

/// What is kept of a call: masked, and cut.
fn kept(call: &Call, exchange: &Exchange, reply: Option<&Reply>, mask: &Mask) -> outcome::Record {
    let (request, request_cut) = cut(&call.body, mask);
    let mut record = outcome::Record {
        request_line: format!("{} {}", call.method, mask.apply(&call.url.masked())),
        request,
        request_cut,
        ..outcome::Record::default()
    };
    if let Exchange::Answered(response) = exchange {
        let (text, was_cut) = cut(&response.body, mask);
        record.status = Some(response.status);
        record.response = text;
        record.response_cut = was_cut || response.cut;
    }
    if let Some(Reply::Fault(fault)) = reply {
        let mut fault = fault.clone();
        fault.string = mask.apply(&fault.string);
        fault.detail = fault.detail.map(|detail| cut(detail.as_bytes(), mask).0);
        fault.content = serde_json::Value::Null;
        record.fault = Some(fault);
    }
    record
}

/// The first 64 KiB as text. Masked before it is cut, so that no secret is left half shown at the edge.
fn cut(body: &[u8], mask: &Mask) -> (String, bool) {
    let slack = BODY_BYTES_KEPT + (4 << 10);
    let text = mask.apply(&String::from_utf8_lossy(body.get(..slack.min(body.len())).unwrap_or_default()));
    if body.len() <= BODY_BYTES_KEPT && text.len() <= BODY_BYTES_KEPT {
        return (text, false);
    }
    let end = (0..=BODY_BYTES_KEPT.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    (text.get(..end).unwrap_or_default().to_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    #[test]
    fn an_answer_without_a_date_is_of_now_so_that_a_retry_after_may_be_a_date() {
        let until = ("retry-after".to_owned(), "Sun, 06 Nov 1994 08:51:37 GMT".to_owned());
        let own = ("date".to_owned(), "Sun, 06 Nov 1994 08:51:00 GMT".to_owned());
        for (headers, seconds) in [(vec![until.clone()], 120), (vec![until, own], 37)] {
            let response = outcome::Response { status: 503, headers, body: bytes::Bytes::new(), cut: false };
            let exchange = dated(Exchange::Answered(response), Timestamp(784_111_777_000));
            let outcome = classify::judge(&exchange, None, &classify::Rules::default()).outcome;
            let Outcome::Retry { after, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!(after, Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn a_kept_body_is_cut_at_a_character_and_without_its_secrets() {
        let mask = Mask::new([("${TOKEN}".to_owned(), SecretString::from("s3cr3t"))]);
        assert_eq!(cut(b"a s3cr3t b", &mask), ("a ${TOKEN} b".to_owned(), false));
        let body = "\u{6f22}".repeat(BODY_BYTES_KEPT);
        let (text, was_cut) = cut(body.as_bytes(), &mask);
        assert!(was_cut && text.len() <= BODY_BYTES_KEPT && text.ends_with('\u{6f22}'));
        let at_the_edge = format!("{}s3cr3t", "x".repeat(BODY_BYTES_KEPT - 3));
        assert!(!cut(at_the_edge.as_bytes(), &mask).0.contains("s3c"));
    }
}

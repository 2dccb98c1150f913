//! One attempt, from the lease to its settlement.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::mem::discriminant;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::call::Call;
use crate::clock::{Clock, SharedClock, Timestamp};
use crate::crash;
use crate::deliver::{Transport, classify, keep};
use crate::delivery::{ConfigVersion, DeliveryId, Lease};
use crate::dispatch::breaker::Sign;
use crate::dispatch::gate;
use crate::dispatch::lookup::{Found, Lookup};
use crate::dispatch::system::Runner;
use crate::dispatch::{Destination, InForce, Parts, Plan, Recall, Route, Stop};
use crate::envelope::Record;
use crate::expression::Subject;
use crate::map::{self, Identity, Mapping};
use crate::mutation::{self, Mutation};
use crate::outcome::{self, Exchange, Follow, Judgement, Kept, Outcome};
use crate::parse;
use crate::secret::Mask;
use crate::settle::{self, Facts, Verdict};
use crate::soap::Reply;
use crate::stale::{self, Mark};
use crate::store::{self, Claimed, NOT_CALLED, Pause, Settle, Settlement, Store, StoreError, StoredNotification};
use crate::telemetry::{Alarms, Id, Metrics, Moment, Origin, Span, Trace, Traces};

/// What is kept of a request or a response body, in bytes.
const BODY_BYTES_KEPT: usize = 64 << 10;
/// A verdict that cannot be stored is tried again after this long.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// How many older plans are kept at hand; each may hold whole WSDLs.
const RECALLED_MAX: usize = 8;
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
    pub(super) stop: watch::Receiver<Stop>,
    /// Whether other gateways may work on the same store.
    pub(super) shared: bool,
    runners: ArcSwap<HashMap<String, Weak<Runner>>>,
    /// Which systems may have something to do when a delivery of a route is settled: by the plan in force, and by those
    /// before, which made what still waits.
    wakes: ArcSwap<BTreeMap<String, BTreeSet<String>>>,
    recall: Recall,
    recalled: Mutex<HashMap<ConfigVersion, Option<Arc<Plan>>>>,
    metrics: Arc<Metrics>,
    traces: Arc<Traces>,
    transport: Arc<dyn Transport>,
}

/// What a call is made by: all of the plan in force, save a resend after an unknown outcome, whose bytes are those of the
/// plan that made them. Where it goes, how it is judged and what follows is always for the plan in force to say: an
/// address or a credential that was corrected counts at once.
pub(super) struct Way<'a> {
    pub(super) plan: &'a Plan,
    pub(super) route: &'a Route,
    pub(super) destination: &'a Destination,
    pub(super) older: Option<Arc<Plan>>,
}

impl<'a> Way<'a> {
    /// Where its route was given another destination of its system, a delivery goes where the route leads now; but bytes
    /// that must go out again go to the destination that they were made for.
    fn of(claimed: &Claimed, plan: &'a Plan, older: Option<Arc<Plan>>) -> Option<Self> {
        let route = plan.routes.get(&claimed.route)?;
        let made_for =
            older.as_ref().and_then(|older| older.routes.get(&claimed.route)).map(|older| &older.destination);
        let destination = made_for.filter(|made_for| **made_for == claimed.destination).unwrap_or(&route.destination);
        let destination = plan.destinations.get(destination)?;
        Some(Self { plan, route, destination, older })
    }

    /// The route that makes the bytes. Those of another protocol are of no use to the destination as it is now.
    pub(super) fn maker(&self) -> &Route {
        self.older_maker().unwrap_or(self.route)
    }

    /// The route as the older plan has it.
    pub(super) fn older_maker(&self) -> Option<&Route> {
        let older = self.older.as_ref().and_then(|older| older.routes.get(&self.route.name));
        let alike = |older: &&Arc<Route>| discriminant(&older.mapping.calls) == discriminant(&self.route.mapping.calls);
        older.filter(alike).map(AsRef::as_ref)
    }

    /// The call, and its hash as its mapping made it.
    pub(super) fn call(&self, subject: &Subject<'_>, identity: &Identity) -> Result<(Call, [u8; 32]), map::MapError> {
        let mut call = map::call(&self.maker().mapping, subject, identity)?;
        let hash = call.hash();
        if self.older.is_some() {
            call.timeout = self.route.mapping.timeout;
            // Where the present address cannot be made, or is another destination's, the one of then is as good as any.
            if self.route.destination == self.destination.name {
                call.url = map::address(&self.route.mapping, subject).unwrap_or(call.url);
            }
        }
        Ok((call, hash))
    }
}

/// For how long a delivery is certainly this gateway's, without asking anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// Before the claim that leased it.
    pub(super) asked: gate::Moment,
    /// How long the lease was to hold.
    pub(super) lease: Duration,
}

impl Hold {
    /// Whether little of the time has passed, by both clocks: a machine that slept may show it by one of them alone.
    fn is_fresh(&self, clock: &dyn Clock) -> bool {
        let within = self.lease / 2;
        clock.monotonic().saturating_sub(self.asked.monotonic) < within && clock.now().since(self.asked.wall) < within
    }
}

/// What was decided about an attempt, and what is kept of it.
struct Decided {
    /// None when no call was made.
    judgement: Option<Judgement>,
    verdict: Verdict,
    repeat_key: Option<String>,
    /// Why no call was made.
    reason: String,
    /// What it means for the system, where that is not to be seen from the judgement.
    after: Option<After>,
    record: outcome::Record,
    duration: Duration,
    stale_mark: Option<Mark>,
    kept: Vec<Kept>,
}

/// What a call came to.
struct Answered {
    judgement: Judgement,
    record: outcome::Record,
    duration: Duration,
    /// What the destination that answered keeps of it.
    kept: Vec<Kept>,
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
        let Parts { store, plan: _, config_version: _, recall, transport, clock, metrics, alarms, traces } = parts;
        Self {
            shared: store.signals().is_some(),
            store,
            clock,
            alarms,
            stop,
            runners: ArcSwap::default(),
            wakes: ArcSwap::default(),
            recall,
            recalled: Mutex::new(HashMap::new()),
            metrics,
            traces,
            transport,
        }
    }

    /// Takes a leased delivery through to its settlement, by the plan that it was claimed under.
    /// `lockouts_alone` is how often it alone stopped the system; `handed_over` hears when the verdict of a call that went
    /// well is with the store.
    pub(super) async fn run(
        &self,
        claimed: Claimed,
        in_force: &InForce,
        lockouts_alone: u32,
        active_ms: impl Fn() -> i64,
        handed_over: impl FnOnce(),
        hold: &Hold,
    ) -> After {
        crash::point("after-claim");
        let begun = self.traces.now();
        if *self.stop.borrow() != Stop::No {
            self.release(&claimed).await;
            return After::NoCall;
        }
        let older = self.plan_for(claimed.same_bytes_as.or(claimed.as_it_was), in_force.version).await;
        // A claim names the routes and destinations of its plan.
        let Some(way) = Way::of(&claimed, &in_force.plan, older) else {
            tracing::error!(delivery = %claimed.delivery, route = claimed.route, "the route is gone; released");
            self.release(&claimed).await;
            return After::NoCall;
        };
        if !self.is_booked(&claimed, &way).await {
            self.release(&claimed).await;
            return After::NoCall;
        }
        let facts = || Facts { lockouts_alone, ..self.facts(&claimed, active_ms()) };
        let decided =
            match (self.undecided(&claimed, &way, &facts()).await, not_as_it_was(&claimed, &way, in_force.version)) {
                (Some(held), _) => Some(held),
                (None, Some(reason)) => Some(no_call(settle::unmappable(&reason, &way.route.policy), "")),
                (None, None) => self.decide(&claimed, &way, &facts, hold).await,
            };
        let Some(decided) = decided else { return After::NoCall };
        self.report(&claimed, &decided);
        let after = match (&decided.verdict.pause, decided.outcome()) {
            (Some(pause), _) => After::Pause(pause.clone()),
            (None, Some(outcome)) => {
                let status = decided.record.status;
                // A call that was cut by our own stop says nothing of the system.
                let is_cut = status.is_none() && *self.stop.borrow() == Stop::Cut;
                let sign = if is_cut { Sign::Nothing } else { sign(outcome, status) };
                After::Ended { answered: status.is_some(), sign }
            }
            (None, None) => decided.after.clone().unwrap_or(After::NoCall),
        };
        // What failed may mean something for the system, which is to be known before another call begins.
        let is_delivered = matches!(decided.verdict.settlement, Settlement::Delivered);
        let heard = || {
            if is_delivered {
                handed_over()
            }
        };
        let traced = self.trace_of(&claimed).map(|trace| span_of(&claimed, &decided, trace, begun));
        self.settle(self.settlement(&claimed, decided, active_ms()), heard).await;
        if let Some(span) = traced {
            self.traces.ended(span);
        }
        after
    }

    /// The trace of the envelope that brought it, where there is one.
    fn trace_of(&self, claimed: &Claimed) -> Option<Trace> {
        let Claimed { envelope, notification: StoredNotification { organization_id, received_at, .. }, .. } = claimed;
        self.traces.of(&Origin { organization: organization_id, envelope: *envelope, received_at: *received_at })
    }

    /// What tells destinations of the attempt that calls them.
    fn trace_parent(&self, claimed: &Claimed) -> Option<String> {
        self.trace_of(claimed).map(|trace| trace.parent(id_of(claimed)))
    }

    /// Whether a delivery is booked where it goes: where its route was given another destination, it is moved there first.
    async fn is_booked(&self, claimed: &Claimed, way: &Way<'_>) -> bool {
        if claimed.destination == way.destination.name {
            return true;
        }
        let Claimed { delivery, lease, route, system, .. } = claimed;
        let destination = way.destination.name.clone();
        let to = store::Way { route: route.clone(), destination, system: system.clone() };
        let redirected = self.store.redirect(*delivery, *lease, to).await;
        if let Err(error) = &redirected {
            tracing::warn!(%delivery, %error, "it could not be booked on the destination that its route leads to now");
        }
        redirected.is_ok()
    }

    /// Learns of the runners, to wake them.
    pub(super) fn meet(&self, plan: &Plan, runners: &HashMap<String, Arc<Runner>>) {
        let mut wakes = BTreeMap::clone(&self.wakes.load());
        for route in plan.routes.values().filter(|route| !route.wakes.is_empty()) {
            wakes.entry(route.name.clone()).or_default().extend(route.wakes.iter().cloned());
        }
        wakes.retain(|_, systems| {
            systems.retain(|system| runners.contains_key(system));
            !systems.is_empty()
        });
        self.wakes.store(Arc::new(wakes));
        let runners = runners.iter().map(|(name, runner)| (name.clone(), Arc::downgrade(runner))).collect();
        self.runners.store(Arc::new(runners));
    }

    /// What comes after a delivery of a route may be due, or may have let its lane go on.
    pub(super) fn wake_after(&self, route: &str) {
        let wakes = self.wakes.load();
        let Some(systems) = wakes.get(route) else { return };
        let runners = self.runners.load();
        for runner in systems.iter().filter_map(|system| runners.get(system)?.upgrade()) {
            runner.hear_of_work();
        }
    }

    /// Whether a delivery is still this gateway's to send. Where it slept, as a machine does that is stopped and let go on,
    /// others may have taken the lease for lost, and have sent it and what came behind it.
    async fn is_ours(&self, claimed: &Claimed, hold: &Hold) -> bool {
        if !self.shared || hold.is_fresh(&*self.clock) {
            return true;
        }
        let Claimed { delivery, lease, .. } = claimed;
        match self.store.renew(vec![(*delivery, *lease)], hold.lease).await {
            Ok(lost) if lost.is_empty() => true,
            Ok(_) => {
                tracing::warn!(%delivery, "its lease ran out before the call: it is not sent, for another gateway sees to it");
                false
            }
            Err(error) => {
                tracing::warn!(%delivery, %error, "whether its lease still holds could not be asked: it is not sent");
                self.release(claimed).await;
                false
            }
        }
    }

    /// Maps, checks, calls, classifies: everything between the lease and the settlement; none when the lease was lost before
    /// a call was made.
    async fn decide(
        &self,
        claimed: &Claimed,
        way: &Way<'_>,
        facts: &impl Fn() -> Facts,
        hold: &Hold,
    ) -> Option<Decided> {
        let Way { plan, route, .. } = *way;
        let mask = &*match &way.older {
            Some(older) => Cow::Owned(plan.mask.with(&older.mask)),
            None => Cow::Borrowed(&plan.mask),
        };
        let read = match &claimed.unreadable {
            Some(reason) => Err(reason.clone()),
            None => record_of(&claimed.notification, way.maker()),
        };
        let record = match read {
            Ok(record) => record,
            Err(reason) => return Some(no_call(settle::unmappable(&reason, &route.policy), "")),
        };
        let field = route.stale_by.as_deref();
        let mark = field.and_then(|field| stale::mark_of(record.as_ref(), field));
        let delivered_before = field.and_then(|field| claimed.stale_mark.as_ref()?.by(field));
        let stale = stale::reason(delivered_before, mark.as_deref());
        if let Some(reason) = stale.filter(|_| !claimed.even_if_newer) {
            return Some(no_call(Verdict { settlement: Settlement::Superseded { reason }, pause: None }, ""));
        }
        if let Some(reason) = self.outdated(claimed).await {
            return Some(no_call(settle::unmappable(&reason, &route.policy), ""));
        }
        if let Some(reason) = unled(claimed, route) {
            return Some(no_call(settle::unmappable(&reason, &route.policy), ""));
        }
        let subject = Subject { after: Some(&claimed.after), ..subject_of(&claimed.notification, record.as_ref()) };
        let (call, hash) = match way.call(&subject, &identity_of(claimed)) {
            Ok((call, hash)) => (Call { trace: self.trace_parent(claimed), ..call }, hash),
            Err(error) => return Some(no_call(settle::unmappable(&mask.apply(&error.reason), &route.policy), "")),
        };
        let answered = self.carry(claimed, way, (facts, hold), &subject, (&call, hash), mask).await;
        let Answered { judgement, record, duration, kept } = match answered {
            Ok(answered) => answered,
            Err(decided) => return decided,
        };
        let verdict = settle::verdict(&judgement, &facts(), &route.policy);
        let is_delivered = matches!(verdict.settlement, Settlement::Delivered);
        let marked = field.zip(stale::newer(delivered_before, mark)).filter(|_| is_delivered);
        let stale_mark = marked.map(|(field, value)| Mark { field: Some(field.to_owned()), value });
        Some(Decided {
            repeat_key: settle::remembered(&judgement, &verdict, &facts(), &route.policy),
            judgement: Some(judgement),
            verdict,
            reason: String::new(),
            after: None,
            record,
            duration,
            stale_mark,
            kept: if is_delivered { kept } else { Vec::new() },
        })
    }

    /// Asks first, where that is to be done, whether the message arrived, and makes the call. Else what was decided without
    /// one; none when the lease was lost before.
    async fn carry(
        &self,
        claimed: &Claimed,
        way: &Way<'_>,
        (facts, hold): (&impl Fn() -> Facts, &Hold),
        subject: &Subject<'_>,
        (call, hash): (&Call, [u8; 32]),
        mask: &Mask,
    ) -> Result<Answered, Option<Decided>> {
        let Way { route, destination, .. } = *way;
        if let Some(lookup) = route.lookup.as_ref().filter(|_| claimed.same_bytes_as.is_some()) {
            match self.look_up(lookup, way, claimed, subject, mask).await {
                LookedUp::There(answered) => return Ok(with_unseen(*answered, &destination.keep)),
                LookedUp::Absent => {
                    if let Some(verdict) = settle::exhausted(&facts(), &route.policy) {
                        return Err(Some(no_call(verdict, "")));
                    }
                    if !self.begins_call(claimed).await {
                        return Err(None);
                    }
                }
                LookedUp::Unknown { judgement, after } => {
                    let verdict = still_unknown(&judgement, &facts(), &route.policy);
                    return Err(Some(Decided { after: Some(after), ..no_call(verdict, judgement.outcome.reason()) }));
                }
            }
        }
        if !self.is_ours(claimed, hold).await {
            return Err(None);
        }
        let mut answered = self.send(destination, &way.maker().mapping, call, mask).await;
        answered.record.call_hash = Some(hash);
        Ok(answered)
    }

    /// Whether the call that a look-up came before may begin: the store knows of it from here on.
    async fn begins_call(&self, claimed: &Claimed) -> bool {
        let Claimed { delivery, lease, .. } = claimed;
        let begun = self.store.begin_call(*delivery, *lease).await;
        if let Err(error) = &begun {
            tracing::warn!(%delivery, %error, "that its call begins could not be stored: it is not sent");
            self.release(claimed).await;
        }
        begun.is_ok()
    }

    /// A delivery that was to go out again after an unknown outcome, and whose destination has a person decide by now.
    async fn undecided(&self, claimed: &Claimed, way: &Way<'_>, facts: &Facts) -> Option<Decided> {
        claimed.same_bytes_as?;
        settle::undecided("", facts, &way.route.policy)?;
        let attempts = self.store.delivery(claimed.delivery).await.map(|(_, attempts)| attempts).unwrap_or_default();
        let unknown = attempts.into_iter().rev().find(|attempt| attempt.outcome.as_deref() == Some("unknown"));
        let reason = unknown.and_then(|attempt| attempt.reason).unwrap_or_else(|| "it got no answer".to_owned());
        settle::undecided(&reason, facts, &way.route.policy).map(|verdict| no_call(verdict, &reason))
    }

    /// Why a dead letter that was replayed is not sent: when it was asked for, a later state of the record was under way,
    /// and now that was delivered.
    async fn outdated(&self, claimed: &Claimed) -> Option<String> {
        let is_first_since_replay = claimed.excused > 0 && claimed.excused.saturating_add(1) == claimed.attempt;
        let is_left_out = mutation::active(Mutation::OutdatedReplayed);
        if !is_first_since_replay || claimed.even_if_newer || claimed.lane.is_none() || is_left_out {
            return None;
        }
        let newer = self.store.outdated_by(claimed.delivery).await.ok().flatten()?;
        Some(format!(
            "it is outdated: delivery {newer} brought a later state of the record meanwhile; replay it with --even-if-newer \
             (even_if_newer in the API) if that is what you want"
        ))
    }

    /// Makes a call and judges what comes back.
    async fn send(&self, destination: &Destination, mapping: &Mapping, call: &Call, mask: &Mask) -> Answered {
        let (exchange, duration) = self.exchange(destination, call).await;
        let reply = map::reply(mapping, &exchange);
        let mut judgement = classify::judge(&exchange, reply.as_ref(), &destination.rules);
        judgement.outcome = masked(judgement.outcome, mask);
        let record = recorded(call, &exchange, reply.as_ref(), mask);
        let kept = if judgement.outcome == Outcome::Delivered {
            keep::kept(&destination.keep, &exchange, reply.as_ref(), &|text| mask.apply(text))
        } else {
            Vec::new()
        };
        Answered { judgement, record, duration, kept }
    }

    /// After an unknown outcome, asks the target whether the message arrived.
    async fn look_up(
        &self,
        lookup: &Lookup,
        way: &Way<'_>,
        claimed: &Claimed,
        subject: &Subject<'_>,
        mask: &Mask,
    ) -> LookedUp {
        let unknown = |reason: &str, follow, after| {
            let reason = mask.apply(&format!("whether it arrived could not be looked up: {reason}"));
            let judgement = Judgement { outcome: Outcome::Unknown { reason }, follow: Some(follow), rule: None };
            LookedUp::Unknown { judgement, after }
        };
        let Some(asked) = way.plan.destinations.get(&lookup.destination) else {
            let reason = format!("there is no destination {}", lookup.destination);
            return unknown(&reason, Follow::Retry(None), After::NoCall);
        };
        // A question is no repetition of the call that it asks about.
        let identity = Identity { idempotency_key: format!("{}-lookup", identity_of(claimed).idempotency_key) };
        let call = match map::call(&lookup.mapping, subject, &identity) {
            Ok(call) => Call { trace: self.trace_parent(claimed), ..call },
            Err(error) => return unknown(&error.reason, Follow::Retry(None), After::NoCall),
        };
        let (exchange, duration) = self.exchange(asked, &call).await;
        let reply = map::reply(&lookup.mapping, &exchange);
        let outcome = classify::judge(&exchange, reply.as_ref(), &asked.rules).outcome;
        match lookup.judge(&exchange, reply.as_ref(), &outcome) {
            Found::Absent => LookedUp::Absent,
            Found::There => LookedUp::There(Box::new(Answered {
                judgement: Outcome::Delivered.into(),
                record: recorded(&call, &exchange, reply.as_ref(), mask),
                duration,
                kept: keep::kept(&asked.keep, &exchange, reply.as_ref(), &|text| mask.apply(text)),
            })),
            Found::Unknown { reason } => {
                let status = match &exchange {
                    Exchange::Answered(response) => Some(response.status),
                    Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => None,
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
            biased;
            exchange = self.transport.send(&destination.target, call) => exchange,
            () = cut => Exchange::NoAnswer { reason: "the gateway stopped while the call was under way".to_owned() },
        };
        crash::point("after-response");
        let exchange = dated(exchange, self.clock.now());
        (exchange, self.clock.monotonic().saturating_sub(started))
    }

    fn facts(&self, claimed: &Claimed, active_ms: i64) -> Facts {
        let age_ms = active_ms.saturating_sub(claimed.first_attempt_active_ms);
        // Spread, not secret: the same attempt draws the same number, so that a simulation can be repeated.
        let draw = BuildHasherDefault::<DefaultHasher>::default().hash_one((claimed.delivery, claimed.attempt));
        Facts {
            attempt: claimed.attempt,
            excused: claimed.excused,
            lockouts_alone: 0,
            age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
            repeat: claimed.repeat.clone(),
            now: self.clock.now(),
            jitter: f64::from(u32::try_from(draw >> 32).unwrap_or(0)) / f64::from(u32::MAX),
        }
    }

    fn settlement(&self, claimed: &Claimed, decided: Decided, active_ms: i64) -> Settle {
        let excused = decided.verdict.pause.is_some() || matches!(decided.outcome(), Some(Outcome::Untried { .. }));
        let Decided { judgement, verdict, repeat_key, reason, record, duration, stale_mark, kept, after: _ } = decided;
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
            kept,
        }
    }

    /// Stores the verdict. Until that succeeds it stays here and keeps its slot. `handed_over` hears when the store has it:
    /// what is asked of the store from then on comes behind it.
    async fn settle(&self, settle: Settle, handed_over: impl FnOnce()) {
        let mut handed_over = Some(handed_over);
        loop {
            let storing = self.store.settle(settle.clone());
            if let Some(handed_over) = handed_over.take() {
                handed_over();
            }
            match storing.await {
                Ok(()) => return self.alarms.clear("settle", ""),
                Err(StoreError::Unavailable(reason)) => {
                    self.alarms.raise(
                        "settle",
                        "",
                        &format!("what calls came to cannot be stored yet, and is kept until it can: {reason}"),
                    );
                    if mutation::active(Mutation::VerdictDropped) {
                        return;
                    }
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
            kept: Vec::new(),
        };
        self.settle(settle, || {}).await;
        After::Ended { answered: false, sign: Sign::Nothing }
    }

    async fn release(&self, claimed: &Claimed) {
        if let Err(error) = self.store.release(vec![(claimed.delivery, claimed.lease)]).await {
            tracing::warn!(delivery = %claimed.delivery, %error, "a lease was not released; the next start does it");
        }
    }

    /// What could not be recalled is tried again: another configuration may come with what was missing.
    pub(super) async fn forget_vain_recalls(&self) {
        self.recalled.lock().await.retain(|_, plan| plan.is_some());
    }

    /// The older plan that made the bytes which must go out again; none when that is the plan in force.
    pub(super) async fn plan_for(&self, version: Option<ConfigVersion>, in_force: ConfigVersion) -> Option<Arc<Plan>> {
        let version = version.filter(|version| *version != in_force)?;
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
        if recalled.len() >= RECALLED_MAX {
            recalled.clear();
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

/// An attempt within its trace; a lease is given once.
fn id_of(claimed: &Claimed) -> Id {
    Id::Attempt(claimed.delivery.0, claimed.lease.0)
}

/// An attempt as traces have it: no payload, and no id of a record.
fn span_of(claimed: &Claimed, decided: &Decided, trace: Trace, begun: Moment) -> Span {
    let outcome = decided.outcome().map_or(NOT_CALLED, Outcome::as_str);
    let mut attributes = vec![
        ("omgate.source", claimed.notification.source.as_str().into()),
        ("omgate.route", claimed.route.as_str().into()),
        ("omgate.destination", claimed.destination.as_str().into()),
        ("omgate.system", claimed.system.as_str().into()),
        ("omgate.delivery_id", claimed.delivery.0.into()),
        ("omgate.attempt", i64::from(claimed.attempt).into()),
        ("omgate.outcome", outcome.into()),
    ];
    if let Some((method, _)) = decided.record.request_line.split_once(' ') {
        attributes.push(("http.request.method", method.into()));
    }
    if let Some(status) = decided.record.status {
        attributes.push(("http.response.status_code", i64::from(status).into()));
    }
    let failed = (outcome != Outcome::Delivered.as_str()).then_some(outcome);
    Span { name: "attempt", trace, id: id_of(claimed), begun, attributes, failed }
}

/// Why a delivery that a person wants as it was cannot be mapped so any more.
fn not_as_it_was(claimed: &Claimed, way: &Way<'_>, in_force: ConfigVersion) -> Option<String> {
    let version = claimed.as_it_was.filter(|version| *version != in_force)?;
    way.older_maker().is_none().then(|| no_older(version))
}

/// Whether the target is asked first whether the message arrived.
pub(super) fn looks_up(plan: &Plan, claimed: &Claimed) -> bool {
    claimed.same_bytes_as.is_some() && plan.routes.get(&claimed.route).is_some_and(|route| route.lookup.is_some())
}

/// What an outcome says of the system as a whole. Who refuses works; who asks to go slower (425, 429), or whose fault has
/// a detail, which is about this message, says nothing.
fn sign(outcome: &Outcome, status: Option<u16>) -> Sign {
    match (outcome, status) {
        (Outcome::Delivered | Outcome::Refused { .. }, _) => Sign::Works,
        (Outcome::Unauthorized { .. } | Outcome::Retry { repeat_key: Some(_), .. }, _) => Sign::Nothing,
        (Outcome::Retry { .. }, Some(425 | 429)) => Sign::Nothing,
        (Outcome::Retry { .. }, Some(status)) if status < 500 => Sign::Works,
        (Outcome::Retry { reason, .. } | Outcome::Untried { reason } | Outcome::Unknown { reason }, status) => {
            Sign::Fails {
                reason: reason.clone(),
                // These are said by whoever stands before it, or by a system that takes nothing at all.
                itself: status.is_some_and(|status| !matches!(status, 408 | 502..=504 | 520..=524 | 598 | 599)),
            }
        }
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
        repeat_key: None,
        reason: reason.to_owned(),
        after: None,
        record: outcome::Record::default(),
        duration: Duration::ZERO,
        stale_mark: None,
        kept: Vec::new(),
    }
}

/// What a look-up's answer gives, with what the destination would have kept of its own.
fn with_unseen(mut answered: Answered, keep: &[keep::Keep]) -> Answered {
    let unseen = keep.iter().filter(|keep| answered.kept.iter().all(|kept| kept.name != keep.name));
    let unseen: Vec<Kept> = unseen.map(unseen_answer).collect();
    answered.kept.extend(unseen);
    answered
}

/// What follows from a look-up that failed: no call was made for the delivery, none is counted, and no limit ends it
/// before somebody knows.
fn still_unknown(judgement: &Judgement, facts: &Facts, policy: &settle::Policy) -> Verdict {
    if judgement.follow == Some(Follow::Retry(None)) {
        settle::look_again(facts, policy)
    } else {
        settle::verdict(judgement, facts, policy)
    }
}

/// Why nothing is sent that was made before its route came after another: it waited for no answer, and has none to carry.
/// What goes out again as it was needs none.
fn unled(claimed: &Claimed, route: &Route) -> Option<String> {
    let lead = route.after.as_ref().filter(|_| !claimed.comes_after)?;
    (claimed.same_bytes_as.is_none() && claimed.as_it_was.is_none()).then(|| {
        format!(
            "it was made before its route came after route {lead:?}, and so has waited for no answer of that; replay it, and it \
             waits for that route's delivery"
        )
    })
}

/// What a destination would have kept of an answer that nobody saw: a look-up told that the message arrived.
fn unseen_answer(keep: &keep::Keep) -> Kept {
    let warning = "a look-up found that the message had arrived, and its destination keeps no such value".to_owned();
    Kept { name: keep.name.clone(), value: serde_json::Value::Null, warning: Some(warning) }
}

/// Why a configuration cannot map any more.
pub(super) fn no_older(version: ConfigVersion) -> String {
    format!(
        "configuration version {} cannot map it any more: its route is gone from it, or is of another kind",
        version.0
    )
}

pub(super) fn record_of(notification: &StoredNotification, route: &Route) -> Result<Option<Record>, String> {
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
        after: None,
    }
}

fn identity_of(claimed: &Claimed) -> Identity {
    let mut identity = identity(&claimed.notification, &claimed.route, claimed.replay_of.map(|_| claimed.delivery));
    if mutation::active(Mutation::NewKeyForEachAttempt) {
        identity.idempotency_key.push_str(&claimed.attempt.to_string());
    }
    identity
}

/// The key is made of organization, notification id, route and revision: the same for every attempt. A delivery that repeats
/// another because a person wants it so has one of its own: by the old one the target would take it for done.
pub(super) fn identity(notification: &StoredNotification, route: &str, replay: Option<DeliveryId>) -> Identity {
    let organization: String = notification.organization_id.chars().take(15).collect();
    let revision = notification.revision.to_string();
    let mut name = [organization.as_str(), &notification.notification_id, route, &revision].join("\u{0}");
    if let Some(replay) = replay {
        name.push_str(&format!("\u{0}replay {replay}"));
    }
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
        Outcome::Untried { reason } => Outcome::Untried { reason: mask.apply(&reason) },
        Outcome::Unknown { reason } => Outcome::Unknown { reason: mask.apply(&reason) },
    }
}

/// What is kept of a call: masked, and cut.
fn recorded(call: &Call, exchange: &Exchange, reply: Option<&Reply>, mask: &Mask) -> outcome::Record {
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
        for text in [&mut fault.code, &mut fault.code_namespace, &mut fault.string].into_iter().chain(&mut fault.actor)
        {
            *text = mask.apply(text);
        }
        for text in fault.subcodes.iter_mut().chain(&mut fault.subcode_namespaces) {
            *text = mask.apply(text);
        }
        fault.detail = fault.detail.map(|detail| cut(detail.as_bytes(), mask).0);
        fault.content = serde_json::Value::Null;
        record.fault = Some(fault);
    }
    record
}

/// The first 64 KiB as text. Masked before it is cut, so that no secret is left half shown at the edge.
pub(super) fn cut(body: &[u8], mask: &Mask) -> (String, bool) {
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

    struct At(Duration, Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.1
        }

        fn monotonic(&self) -> Duration {
            self.0
        }
    }

    #[test]
    fn a_lease_is_asked_after_once_half_of_it_has_passed_by_either_clock() {
        let begun = gate::Moment { wall: Timestamp(1_000_000), monotonic: Duration::from_secs(100) };
        let hold = Hold { asked: begun, lease: Duration::from_secs(20) };
        for (seconds, wall, fresh) in
            [(109, 1_009_000, true), (110, 1_009_000, false), (101, 1_010_000, false), (101, 400_000, true)]
        {
            let clock = At(Duration::from_secs(seconds), Timestamp(wall));
            assert_eq!(hold.is_fresh(&clock), fresh, "{seconds}, {wall}");
        }
    }

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

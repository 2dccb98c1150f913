//! The store: what is durable. One trait, whose operations are named for decisions.
//!
//! Everything that changes is a command, executed under one transaction rule: a command is durable when its future
//! resolves to `Ok`, and has left no trace when it resolves to `Err`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::sync::{broadcast, watch};

use crate::cipher;
use crate::clock::{Day, Timestamp};
use crate::delivery::{ConfigVersion, DeliveryId, Lease, OnRevision, Planned, State};
use crate::outcome;
use crate::stale::Mark;

mod accounts;
mod arrival;
mod attempt;
mod audit;
mod change;
mod coalescing;
pub mod contents;
mod days;
mod foretold;
mod lead;
mod ledger;
mod lists;
mod names;
pub mod pace;
pub mod payload;
#[cfg(feature = "postgres")]
pub mod postgres;
mod pruning;
mod repeats;
mod retention;
mod sample;
mod revision;
pub mod sealed;
pub mod sqlite;
mod token;
pub mod transfer;
mod turn;
mod view;

pub use self::audit::{AUDIT_OBJECTS, AUDIT_VERBS, AuditEntry, AuditFilter, By, Chain, Checked, Deed, Walk};
pub use self::contents::Content;
pub use self::days::{Absence, DAYS_MAX, DayChange, DayFilter, Gap, LedgerDay, LedgerDays, Silence};
pub use self::lists::{LIST_MAX, NOTIFICATION_KINDS, Page, is_found_by, searchable};
pub use self::payload::{PayloadMark, Rewrite, Rewritten};
pub use self::retention::{Backup, BackupRoom, Kept, Prunable, Prune, Pruned, Retention};
pub use self::sample::{Acks, Figures, Flow, SAMPLE_EVERY, Sample};
pub use self::token::{TOKEN_LIFE, TOKENS_MAX, Token};
pub use self::view::{SavedView, VIEWS_MAX};

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// More commands wait than the queue holds. Nothing was done; ask again.
    #[error("the store's queue is full")]
    Overloaded,
    /// The disk is full, cannot be written, or failed. Nothing was done; the store tries to come back by itself.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The command broke a rule of the store, alone; a fault of ours.
    #[error("the store refused the command: {0}")]
    Refused(String),
    /// There is no such thing.
    #[error("{0} is not in the store")]
    NotFound(String),
    /// The thing is not in a state that allows it.
    #[error("{0}")]
    Conflict(String),
    /// The lease is no longer ours: the attempt was completed or rescued meanwhile. Nothing was done.
    #[error("the lease is no longer valid")]
    LeaseLost,
}

/// Shorthand for what store operations give back.
pub type StoreResult<T> = Result<T, StoreError>;

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Commands are taken and become durable.
    Ready,
    /// Commands fail; the reason in words. The store tries again by itself.
    Failing(String),
}

/// An envelope, parsed and routed, to be made durable as a whole.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The source's name.
    pub source: String,
    /// When its last byte was read.
    pub received_at: Timestamp,
    /// The organization as sent.
    pub organization_id: String,
    /// What counts of it: see `OrganizationId::key`.
    pub organization_key: String,
    /// The outbound message's id.
    pub action_id: String,
    /// As sent; may be empty.
    pub enterprise_url: String,
    /// As sent; may be empty.
    pub partner_url: String,
    /// The sender's address.
    pub sender: String,
    /// Set when the organization or action is unknown and the source quarantines: every notification is stored as
    /// quarantined, with this reason.
    pub quarantine: Option<String>,
    /// The configuration that routed it.
    pub config_version: ConfigVersion,
    /// The routes that are in force, of whatever source, and what each does with revisions. A delivery of a route that is not
    /// among them keeps for its return.
    pub routes_in_force: Arc<BTreeMap<String, OnRevision>>,
    /// In document order.
    pub notifications: Vec<Incoming>,
}

/// One notification of an [`Accept`].
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its id; for an unreadable one `sha256:` and the hex of its hash.
    pub notification_id: String,
    /// See `Notification::hash`.
    pub hash: [u8; 32],
    /// What it holds.
    pub kind: IncomingKind,
    /// Record type; empty when there is no record.
    pub record_type: String,
    /// Record id; empty when there is none.
    pub record_id: String,
    /// The `sObject` fragment, or the raw `Notification` of an unreadable one; empty for an empty one.
    pub xml: String,
    /// The fields that it is found by, and what they hold: see [`searchable`].
    pub search: BTreeMap<String, String>,
    /// Where it goes. No delivery for a record: unrouted. For an empty one: `skipped_empty`.
    pub deliveries: Vec<Planned>,
}

/// What an incoming notification holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingKind {
    /// A record.
    Record,
    /// No sObject.
    Empty,
    /// Nothing readable, for this reason.
    Unreadable(String),
}

/// What became of one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// New, with one delivery or more.
    Routed,
    /// New; no route matched.
    Unrouted,
    /// New; without sObject, and the routes skip those.
    SkippedEmpty,
    /// New; kept raw.
    Unreadable,
    /// New; stored aside.
    Quarantined,
    /// Same id, same content.
    Duplicate,
    /// Same id, other content.
    Revised,
}

/// The answer to an [`Accept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// One for each notification, in order.
    pub fates: Vec<Fate>,
    /// Systems that have something new that is due.
    pub woken: Vec<String>,
    /// The store's id of the envelope; none when it brought nothing new.
    pub envelope: Option<i64>,
}

/// A POST that was refused, kept so that an operator can see what Salesforce sends.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RefusedPost {
    /// When.
    pub at: Timestamp,
    /// The source's name.
    pub source: String,
    /// The sender's address.
    pub sender: String,
    /// Why, in words.
    pub reason: String,
    /// When Salesforce will drop the message, if the refusal is permanent.
    pub dropped_at: Option<Timestamp>,
    /// The first 64 KiB, as text, less the `SessionId`.
    pub body: String,
}

impl RefusedPost {
    /// What is kept of a body, in bytes.
    const BODY_MAX: usize = 64 << 10;

    /// Cuts the body at its bound; one that is sealed was cut before that.
    fn cut(&mut self) {
        if cipher::key_of(&self.body).is_none() {
            self.body.truncate(self.body.floor_char_boundary(Self::BODY_MAX));
        }
    }
}

/// Asks for the next eligible deliveries of a system.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The system.
    pub system: String,
    /// Destinations of it that may be called now; others are passed by.
    pub destinations: Vec<String>,
    /// Routes that exist in the configuration; deliveries of others are passed by.
    pub routes: Vec<String>,
    /// At most this many.
    pub limit: usize,
    /// Those that fell due last come first.
    pub newest_first: bool,
    /// The present moment.
    pub now: Timestamp,
    /// How long the system has been open, in milliseconds, over its whole life (see [`SystemState::active_ms`]).
    pub active_ms: i64,
    /// The configuration in force.
    pub config_version: ConfigVersion,
    /// What holds for the system over all gateways that share the store.
    pub bounds: Bounds,
}

/// What a claim may take where other gateways claim too. Within one gateway the dispatch itself sees to it, so a store
/// that only one can open need not look; it remembers how far the rate is spent, for the next start.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How long the leases hold: a call must be over by then, or its lease renewed.
    pub lease: Duration,
    /// Calls at once.
    pub concurrency: usize,
    /// Calls per time, if limited.
    pub rate: Option<Pace>,
    /// Routes whose resends are looked up first: a call too, and no attempt while it lasts ([`Store::begin_call`]).
    pub looked_up: Vec<String>,
    /// Whether it is known that the system is paused or broken, and this is the probe.
    pub probe: bool,
    /// No probe of an outage is put off for longer: what stands further ahead was written before the clock was set back.
    pub probe_within: Duration,
}

impl Bounds {
    /// Whether what this route sends again after an unknown outcome is looked up first.
    fn looks_up(&self, route: &String) -> bool {
        self.looked_up.contains(route)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let lease = Duration::from_secs(45);
        let probe_within = Duration::MAX;
        Self { lease, concurrency: usize::MAX, rate: None, looked_up: Vec::new(), probe: false, probe_within }
    }
}

/// A rate as a token bucket has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The time from one call to the next.
    pub per_call: Duration,
    /// Calls that may go at once after a quiet time.
    pub burst: u32,
}

/// What other gateways on the same store tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something may be due for a system.
    Work(String),
    /// A system's state changed.
    System(String),
    /// Something may have happened anywhere: look.
    Look,
}

/// What a claim found.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Leased, each with its attempt durably begun.
    pub claimed: Vec<Claimed>,
    /// When the next waiting delivery of the system falls due, if nothing more is due now.
    pub next_due: Option<Timestamp>,
    /// How the system stands, where other gateways may have changed it.
    pub state: Option<SystemState>,
}

/// A leased delivery with all that mapping and settling need.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The right to settle it.
    pub lease: Lease,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many of the attempts before met refused credentials, or had none.
    pub excused: u32,
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The system's name.
    pub system: String,
    /// The lane's key, if it has one.
    pub lane: Option<String>,
    /// The content it carries.
    pub notification: StoredNotification,
    /// The store's id of the envelope that brought it.
    pub envelope: i64,
    /// `active_ms` of the system at the first attempt (this one's, if it is the first).
    pub first_attempt_active_ms: i64,
    /// `repeat_key` of the last attempt, and how many attempts in a row had it; or [`DECIDED`].
    pub repeat: Option<(String, u32)>,
    /// The configuration to map with when an attempt's outcome was unknown, and those after it came to nothing: the same
    /// bytes must go out again.
    pub same_bytes_as: Option<ConfigVersion>,
    /// The mark of `stale_by`: what was last delivered on this route for this record.
    pub stale_mark: Option<Mark>,
    /// Whether it is sent although a later state of the record was delivered, because a person wants it so.
    pub even_if_newer: bool,
    /// Whether it waited for another of its notification to be delivered.
    pub comes_after: bool,
    /// What was kept of the answers to those that it comes after: of the nearest first, where names meet.
    pub after: Map<String, Json>,
    /// The delivery that it repeats, because a person wants it so.
    pub replay_of: Option<DeliveryId>,
    /// The configuration to map with, because a person wants it as it was.
    pub as_it_was: Option<ConfigVersion>,
    /// Why its content cannot be read any more: what stands in the store is not what was written.
    pub unreadable: Option<String>,
}

impl Claimed {
    /// How many calls it makes: a look-up before it is one too.
    #[must_use]
    pub fn calls(&self, bounds: &Bounds) -> usize {
        1 + usize::from(self.same_bytes_as.is_some() && bounds.looks_up(&self.route))
    }
}

/// A key that payloads in the store are sealed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealingKey {
    /// Its id.
    pub id: String,
    /// What tells it from another key under the same id.
    pub proof: String,
    /// Since when it is in use.
    pub since: Timestamp,
}

/// A notification's content as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StoredNotification {
    /// The store's id of this content (one per revision).
    pub row: i64,
    /// `04l…`.
    pub notification_id: String,
    /// From 1.
    pub revision: u32,
    /// The source's name.
    pub source: String,
    /// As sent.
    pub organization_id: String,
    /// As sent.
    pub action_id: String,
    /// As sent; may be empty.
    pub enterprise_url: String,
    /// As sent; may be empty.
    pub partner_url: String,
    /// When its envelope was read.
    pub received_at: Timestamp,
    /// Record type; may be empty.
    pub record_type: String,
    /// Record id; may be empty.
    pub record_id: String,
    /// The `sObject` fragment; empty when there is none.
    pub xml: String,
}

impl StoredNotification {
    /// Whether its record was taken away because it was kept long enough: then no call can be made of it any more.
    #[must_use]
    pub fn is_pruned(&self) -> bool {
        self.xml.is_empty() && !self.record_type.is_empty()
    }
}

/// The `repeat_key` of a delivery that goes on after an unknown outcome because a person released or replayed it, or a rule
/// says so: until its next attempt nobody is asked again.
pub const DECIDED: &str = "decided";

/// The outcome of an attempt for which no call was made (mapping failed, or the record was stale): its row is removed
/// and it is not counted.
pub const NOT_CALLED: &str = "not_called";

/// Completes an attempt and gives the delivery its new state, in one transaction, under the lease.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Under which lease.
    pub lease: Lease,
    /// When the attempt ended.
    pub ended_at: Timestamp,
    /// How long the call took.
    pub duration: Duration,
    /// What it came to: `delivered`, `refused`, `retry`, `unknown`; or [`NOT_CALLED`].
    pub outcome: &'static str,
    /// Why, in words; empty when delivered.
    pub reason: String,
    /// What is kept of the exchange.
    pub record: outcome::Record,
    /// `repeat_key` of the outcome.
    pub repeat_key: Option<String>,
    /// Whether it met refused credentials, or had none: then it counts against no limit of the delivery, and the delivery's
    /// age begins anew with the next attempt.
    pub excused: bool,
    /// The new state.
    pub settlement: Settlement,
    /// The system's `active_ms` now.
    pub active_ms: i64,
    /// The new mark of `stale_by`, when delivered on a route that has one.
    pub stale_mark: Option<Mark>,
    /// What is kept of the answer, when delivered.
    pub kept: Vec<outcome::Kept>,
}

/// The state that a verdict gives a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Taken.
    Delivered,
    /// Again at this time.
    Waiting {
        /// Not before.
        due_at: Timestamp,
    },
    /// Given up or refused.
    Dead {
        /// In words.
        reason: String,
        /// Whether the lane stops behind it (`on_dead = "hold"`).
        holds_lane: bool,
    },
    /// Waits for a person.
    Held {
        /// In words.
        reason: String,
    },
    /// A newer state of the record was already delivered.
    Superseded {
        /// In words.
        reason: String,
    },
}

/// What a person does to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A dead one is sent again: waiting, attempts counted on, in its old place of the lane. More can be had by [`Replay`].
    Replay {
        /// Even when something later for the same record was delivered on its route; else that is a conflict.
        even_if_newer: bool,
    },
    /// A waiting or blocked one is stopped.
    Hold,
    /// A held one goes on.
    Release,
    /// Given up: a waiting, blocked, held or dead one.
    Discard,
    /// The lane that a dead one stops goes on, and it stays dead: its route says so by now. No verb of a person.
    LetGo,
}

/// A person has a delivery sent again.
///
/// A dead one goes again in its old place of the lane, if nothing of it is to be other than it was. All else makes a new
/// delivery that is linked to it, behind what is in its lane: a repetition of what was delivered, another route, edited
/// content. A dead one is then superseded by the new one, unless it still waits for that; a delivered one stays as it is.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Which.
    pub delivery: DeliveryId,
    /// How it must still stand, if that is said: what was dead is sent once, however many want it sent at once.
    pub still: Option<State>,
    /// What the route that it is to go along makes of it now; none where its own route is gone, or can make nothing of it.
    pub planned: Option<Planned>,
    /// Whether a dead one stays dead, to be sent again itself: what is made now is what it comes after. Its lane goes on.
    pub stays_dead: bool,
    /// The content in place of its own.
    pub edit: Option<Edit>,
    /// The configuration to map with.
    pub as_it_was: Option<ConfigVersion>,
    /// Even when something later for the same record was delivered on that route; else that is a conflict.
    pub even_if_newer: bool,
    /// Who wants it, and why.
    pub by: By,
    /// The present moment.
    pub now: Timestamp,
}

impl Replay {
    /// What came of it, for the audit log; `made` is the new delivery, where there is one.
    pub(crate) fn result(&self, made: Option<DeliveryId>) -> String {
        let route = self.planned.as_ref().map_or("", |planned| planned.route.as_str());
        let done = match made {
            None => "sent again in its place".to_owned(),
            Some(made) => format!("sent again as delivery {made} along route {route}"),
        };
        let kinds = [
            (self.edit.is_some(), "with edited content"),
            (self.as_it_was.is_some(), "as it was"),
            (self.even_if_newer, "even if newer"),
        ];
        kinds.into_iter().filter(|(is_so, _)| *is_so).fold(done, |done, (_, kind)| format!("{done}, {kind}"))
    }
}

/// A notification that was unrouted or quarantined gets the deliveries that routes make of it now.
#[derive(Clone, Debug)]
pub struct Reroute {
    /// The row of the content that goes out.
    pub row: i64,
    /// What the routes make of it.
    pub deliveries: Vec<Planned>,
    /// They are sent even when something later for the same record was delivered, and neither give way to what waits of it
    /// nor take its place.
    pub even_if_newer: bool,
    /// The present moment.
    pub now: Timestamp,
}

impl Reroute {
    /// What is to be made: what goes out whatever is newer does not coalesce.
    pub(crate) fn planned(&self) -> impl Iterator<Item = Planned> {
        let coalesces = !self.even_if_newer;
        self.deliveries.iter().map(move |planned| {
            let coalesce = planned.coalesce.clone().filter(|_| coalesces);
            Planned { coalesce, ..planned.clone() }
        })
    }
}

/// Content that a person edited: a revision of the notification.
#[derive(Clone, Debug)]
pub struct Edit {
    /// See `Notification::hash`.
    pub hash: [u8; 32],
    /// The record's type.
    pub record_type: String,
    /// The record's id; empty when there is none.
    pub record_id: String,
    /// The `sObject` fragment.
    pub xml: String,
    /// The fields that it is found by, and what they hold: see [`searchable`].
    pub search: BTreeMap<String, String>,
}

/// What a person wants of a record that it is not.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edits {
    /// Other values in some fields; null is nil.
    Fields(BTreeMap<String, Json>),
    /// The whole `sObject`.
    Xml(String),
}

/// The answer to a [`Replay`].
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The delivery that goes out: the same, or the new one.
    pub delivery: DeliveryView,
    /// Systems that have something that is due.
    pub woken: Vec<String>,
}

/// A system's durable state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SystemState {
    /// How long the system has been open for calls, over its whole life, in milliseconds. Stands still while the system
    /// is paused and while the gateway is down; ages are counted on it, so that no jump of the wall clock expires one.
    pub active_ms: i64,
    /// Set while it is paused.
    pub paused: Option<Pause>,
    /// Set while its circuit breaker is open.
    pub breaker: Option<Outage>,
    /// When the next call is on time by the system's rate, as claims left it; never written by who writes a state. None: at
    /// once, or by the claims themselves, as where several gateways share the store.
    #[serde(skip)]
    pub next_call: Option<Timestamp>,
}

/// How long a system that refused our credentials is left alone before one delivery tries again.
pub const PROBE_AFTER: Duration = Duration::from_secs(300);

/// Why a system is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Pause {
    /// In words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; none: not by a moment.
    pub until: Option<Timestamp>,
    /// When one delivery may be tried to see whether it works again; none: only a person resumes it.
    pub probe_at: Option<Timestamp>,
}

impl Pause {
    /// A pause that only a person ends.
    #[must_use]
    pub fn new(reason: &str, since: Timestamp) -> Self {
        Self { reason: reason.to_owned(), since, until: None, probe_at: None }
    }

    /// How far ahead a probe at this moment may lie; what lies further was written before a clock was set back.
    #[must_use]
    pub fn probe_within(&self, at: Timestamp) -> Duration {
        at.since(self.since).max(PROBE_AFTER)
    }
}

/// An open circuit breaker: so much failed that the system is left alone for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Outage {
    /// What failed, in words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When one delivery may be tried to see whether it works again.
    pub probe_at: Timestamp,
    /// How often in a row it opened: once, and once more with each probe that failed.
    pub trips: u32,
}

/// The configuration that made deliveries: its files, secrets as references.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredConfig {
    /// Path as the configuration names it → content. The configuration file itself comes under the empty name.
    pub files: BTreeMap<String, String>,
}

/// What brought a configuration into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakenBy {
    /// The gateway was started.
    Start,
    /// A signal (SIGHUP).
    Signal,
    /// A file of it changed.
    File,
    /// A person or program, over the admin API.
    Api,
}

impl TakenBy {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// That a configuration came into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TakenConfig {
    /// Which.
    pub version: ConfigVersion,
    /// When.
    pub at: Timestamp,
    /// What brought it.
    pub by: TakenBy,
    /// What a person said to it; may be empty.
    pub reason: String,
}

/// A route, its destination and its system, as deliveries were made for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Way {
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The system's name.
    pub system: String,
}

/// How many deliveries of a way are not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Unsettled {
    /// Which way.
    #[serde(flatten)]
    pub way: Way,
    /// Waiting, blocked, in flight, held, or dead at the head of a lane that stops behind it.
    pub count: u64,
}

/// What one step of discarding did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// How many were discarded.
    pub count: u64,
    /// Whether some are left: more than one step takes, or in flight, which must come to an end first.
    pub is_more: bool,
}

/// The accounts of DESIGN §7, summed over sources and destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ledger {
    /// What came in.
    pub notifications: NotificationCounts,
    /// What was made of it.
    pub deliveries: DeliveryCounts,
    /// Calls.
    pub attempts: AttemptCounts,
    /// Whether the counters agree with one another.
    pub balanced: bool,
    /// The deliveries of each destination.
    pub destinations: BTreeMap<String, DeliveryCounts>,
    /// The notifications of each source. Not part of the ledger's document; the metrics show it.
    #[serde(skip)]
    pub sources: BTreeMap<String, NotificationCounts>,
    /// What was pruned of them: it stays counted, and is not there any more.
    #[serde(skip)]
    pub pruned: PrunedCounts,
}

/// What was pruned, in the accounts it was counted in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedCounts {
    /// The deliveries of each destination.
    pub destinations: BTreeMap<String, DeliveryCounts>,
    /// The notifications of each source.
    pub sources: BTreeMap<String, NotificationCounts>,
}

impl Ledger {
    /// What is still there of each source and destination: the accounts themselves never go down.
    #[must_use]
    pub fn left(&self) -> Self {
        let mut left = self.clone();
        for (name, gone) in &self.pruned.destinations {
            for (account, count) in gone.by_name() {
                ledger::add_deliveries(left.destinations.entry(name.clone()).or_default(), account, -count);
            }
        }
        for (name, gone) in &self.pruned.sources {
            for (account, count) in gone.by_name() {
                ledger::add_notifications(left.sources.entry(name.clone()).or_default(), account, -count);
            }
        }
        left
    }
}

/// `received = unique + duplicate + revised`; `unique` = the sum of the last five.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the names are the ledger's own words, explained in the README")]
pub struct NotificationCounts {
    pub received: i64,
    pub unique: i64,
    pub duplicate: i64,
    pub revised: i64,
    pub routed: i64,
    pub unrouted: i64,
    pub skipped_empty: i64,
    pub unreadable: i64,
    pub quarantined: i64,
}

/// `routed` = the sum of the states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the names are the ledger's own words, explained in the README")]
pub struct DeliveryCounts {
    pub routed: i64,
    pub waiting: i64,
    pub blocked: i64,
    pub in_flight: i64,
    pub held: i64,
    pub delivered: i64,
    pub dead: i64,
    pub superseded: i64,
    pub discarded: i64,
}

/// Calls made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AttemptCounts {
    /// All calls begun.
    pub total: i64,
    /// Those with an unknown outcome.
    pub unknown: i64,
}

impl NotificationCounts {
    /// Each count with its name in the ledger.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, i64); 9] {
        [
            ("received", self.received),
            ("unique", self.unique),
            ("duplicate", self.duplicate),
            ("revised", self.revised),
            ("routed", self.routed),
            ("unrouted", self.unrouted),
            ("skipped_empty", self.skipped_empty),
            ("unreadable", self.unreadable),
            ("quarantined", self.quarantined),
        ]
    }

    /// The sum of both.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            unique: self.unique + other.unique,
            duplicate: self.duplicate + other.duplicate,
            revised: self.revised + other.revised,
            routed: self.routed + other.routed,
            unrouted: self.unrouted + other.unrouted,
            skipped_empty: self.skipped_empty + other.skipped_empty,
            unreadable: self.unreadable + other.unreadable,
            quarantined: self.quarantined + other.quarantined,
        }
    }

    /// Whether both equations hold.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.received == self.unique + self.duplicate + self.revised
            && self.unique == self.routed + self.unrouted + self.skipped_empty + self.unreadable + self.quarantined
    }
}

impl DeliveryCounts {
    /// The sum of both.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            routed: self.routed + other.routed,
            waiting: self.waiting + other.waiting,
            blocked: self.blocked + other.blocked,
            in_flight: self.in_flight + other.in_flight,
            held: self.held + other.held,
            delivered: self.delivered + other.delivered,
            dead: self.dead + other.dead,
            superseded: self.superseded + other.superseded,
            discarded: self.discarded + other.discarded,
        }
    }

    /// Each count with its name in the ledger.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, i64); 9] {
        [
            ("routed", self.routed),
            ("waiting", self.waiting),
            ("blocked", self.blocked),
            ("in_flight", self.in_flight),
            ("held", self.held),
            ("delivered", self.delivered),
            ("dead", self.dead),
            ("superseded", self.superseded),
            ("discarded", self.discarded),
        ]
    }

    /// Whether the equation holds and no count is below zero.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let states = [
            self.waiting,
            self.blocked,
            self.in_flight,
            self.held,
            self.delivered,
            self.dead,
            self.superseded,
            self.discarded,
        ];
        states.iter().all(|&count| count >= 0) && self.routed == states.iter().sum::<i64>()
    }
}

/// Which notifications to list; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NotificationFilter {
    /// Of this source.
    pub source: Option<String>,
    /// Of this organization: the first 15 characters count.
    pub organization: Option<String>,
    /// With this fate: `routed`, `unrouted`, `skipped_empty`, `unreadable`, `quarantined`.
    pub kind: Option<String>,
    /// With this notification id.
    pub notification_id: Option<String>,
    /// Of this record.
    pub record_id: Option<String>,
    /// Received then or later; content that a person edited: made then or later.
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub since: Option<Timestamp>,
    /// Received, or made, before then.
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub until: Option<Timestamp>,
    /// Whose reason holds this text.
    pub text: Option<String>,
    /// With this value in a field that its source names in `search`: `Name=ACME-4711`, `Name=ACME*` for all that begin so,
    /// or `Name` for any.
    pub search: Option<String>,
    /// Where the value of `search` is sealed: all that it may be written as.
    #[serde(skip)]
    pub search_as: Vec<String>,
    /// Below this row: the cursor.
    pub before: Option<i64>,
    /// Above this row; then the oldest come first.
    pub after: Option<i64>,
    /// At most this many (default 100, at most 1,000).
    #[param(minimum = 1, maximum = 1_000)]
    pub limit: Option<u32>,
}

/// Which deliveries to list; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// Of these alone.
    #[serde(skip)]
    pub ids: Option<Vec<DeliveryId>>,
    /// In this state.
    #[serde(default, deserialize_with = "lists::state")]
    pub state: Option<State>,
    /// From this source.
    pub source: Option<String>,
    /// Of this organization: the first 15 characters count.
    pub organization: Option<String>,
    /// Of this destination.
    pub destination: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// Of this notification.
    pub notification_id: Option<String>,
    /// Of this record.
    pub record_id: Option<String>,
    /// Made then or later.
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub since: Option<Timestamp>,
    /// Made before then.
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub until: Option<Timestamp>,
    /// Which changed last then or later.
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub changed_since: Option<Timestamp>,
    /// Which changed last before then.
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub changed_until: Option<Timestamp>,
    /// With so many attempts at least.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    pub attempts: Option<u32>,
    /// Whose last attempt was answered with this HTTP status.
    pub status: Option<u16>,
    /// Whose reason holds this text.
    pub text: Option<String>,
    /// Of whose answer this was kept: `order=4711`, or `order` alone for any single value.
    pub kept: Option<String>,
    /// Where the value of `kept` is sealed: all that it may be written as.
    #[serde(skip)]
    pub kept_as: Vec<String>,
    /// Of whose notification a field has this value: as for notifications.
    pub search: Option<String>,
    /// Where the value of `search` is sealed: all that it may be written as.
    #[serde(skip)]
    pub search_as: Vec<String>,
    /// Below this id: the cursor.
    pub before: Option<i64>,
    /// Above this id; then the oldest come first.
    pub after: Option<i64>,
    /// At most this many (default 100, at most 1,000).
    #[param(minimum = 1, maximum = 1_000)]
    pub limit: Option<u32>,
}

/// A notification in a list or, with its XML and deliveries, alone.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NotificationView {
    /// The content, less the XML in lists.
    #[serde(flatten)]
    pub notification: StoredNotification,
    /// Its fate when it was new: `routed`, `unrouted`, `skipped_empty`, `unreadable`, `quarantined`; `revised` for a
    /// later revision.
    pub kind: String,
    /// Why it is unreadable or quarantined.
    pub reason: Option<String>,
    /// How often it came again with the same content.
    pub duplicates: i64,
    /// The row of the content that a person edited to make this one; none: Salesforce sent it.
    pub edited_from: Option<i64>,
    /// The fields that it is found by, and what they hold.
    pub search: BTreeMap<String, String>,
}

/// A delivery in a list or alone.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// Its id.
    pub delivery_id: DeliveryId,
    /// The notification's id.
    pub notification_id: String,
    /// The store's id of the content it carries.
    pub notification_row: i64,
    /// The revision it carries.
    pub revision: u32,
    /// The record's id; may be empty.
    pub record_id: String,
    /// The record's type; may be empty.
    pub record_type: String,
    /// Source, route, destination, system.
    pub source: String,
    /// The organization, as its envelope named it.
    pub organization_id: String,
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The system's name.
    pub system: String,
    /// The lane's key.
    pub lane: Option<String>,
    /// Where it stands.
    pub state: State,
    /// When it is due, while it waits.
    pub due_at: Option<Timestamp>,
    /// Attempts so far.
    pub attempts: u32,
    /// Why it is dead, held, superseded or discarded; or what the last attempt came to.
    pub reason: Option<String>,
    /// The HTTP status of the last attempt.
    pub status: Option<u16>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The delivery before it in its lane, while it is blocked.
    pub behind: Option<DeliveryId>,
    /// The first of its lane, which all behind it wait for, while it is blocked.
    pub lane_head: Option<DeliveryId>,
    /// What brought a newer state of the record in its place.
    pub superseded_by: Option<DeliveryId>,
    /// The fields that its notification is found by, and what they hold.
    pub search: BTreeMap<String, String>,
    /// What was kept of the answer, by name.
    #[schema(value_type = BTreeMap<String, Json>)]
    pub kept: Map<String, Json>,
    /// Why something could not be kept, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_warnings: BTreeMap<String, String>,
    /// Which others it belongs to.
    #[serde(flatten)]
    pub links: Links,
}

/// Which lanes to list: those in which something is blocked, or that a dead or held delivery stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneFilter {
    /// Of this system.
    pub system: Option<String>,
    /// Behind this one: its system and its key.
    pub after: Option<(String, String)>,
    /// At most this many (default 100, at most 1,000).
    pub limit: Option<u32>,
}

/// A lane that does not go on by itself, or not yet.
#[derive(Clone, Debug, Serialize)]
pub struct LaneView {
    /// The delivery that all others of it wait for.
    pub head: DeliveryView,
    /// How many stand behind it, counted no further than [`BEHIND_MAX`].
    pub behind: u32,
    /// Whether there are more than that.
    pub is_more: bool,
    /// Since when something waits: since the head is dead or held, or since the first behind it was made.
    pub since: Timestamp,
}

/// So far those are counted that stand behind the head of a lane.
pub const BEHIND_MAX: u32 = 1_000;

/// Some lanes, and where the list goes on.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    /// The lanes, each once, in an order of the store's own.
    pub rows: Vec<LaneView>,
    /// Behind which lane it goes on: its system and its key; none: there is nothing more.
    pub next: Option<(String, String)>,
}

/// How a delivery and others belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Links {
    /// The delivery that it comes after: it waits until that one is delivered.
    pub after: Option<DeliveryId>,
    /// Those that come after it.
    pub followed_by: Vec<DeliveryId>,
    /// The delivery that it repeats, because a person wanted it so.
    pub replay_of: Option<DeliveryId>,
    /// Those that repeat it.
    pub replayed_by: Vec<DeliveryId>,
    /// The row of the content that a person edited to make what it carries.
    pub edited_from: Option<i64>,
    /// The configuration that it is mapped with, because a person wants it as it was.
    pub as_it_was: Option<ConfigVersion>,
}

/// One call made for a delivery.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AttemptView {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub ended_at: Option<Timestamp>,
    /// How long the call took.
    pub duration_ms: Option<i64>,
    /// `delivered`, `refused`, `retry`, `unknown`; none while it runs.
    pub outcome: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The configuration it was mapped with.
    pub config_version: ConfigVersion,
    /// What is kept of the exchange.
    #[serde(flatten)]
    pub record: outcome::Record,
}

/// What the operator and the metrics want to know at a glance, besides the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// When the oldest delivery that is not settled was made, by destination.
    pub oldest_unsettled: BTreeMap<String, Timestamp>,
    /// Lanes that had blocked deliveries and no head, found and repaired by sweeps: must be 0.
    pub lanes_repaired: i64,
}

/// One disagreement between counters and rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Discrepancy {
    /// Which account, such as `destination erp-create, delivered`.
    pub account: String,
    /// What the counter says.
    pub counter: i64,
    /// What the rows say, and what was pruned of them.
    pub rows: i64,
}

/// How the writer works, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct WriterFigures {
    /// Commands waiting now.
    pub queue: usize,
    /// Commits so far that wrote something: each is one sync of the disk.
    pub commits: u64,
    /// Commands in those commits.
    pub commands: u64,
    /// How many commits had at most so many commands as the same place of [`COMMIT_SIZES`] says; the last: all.
    pub commit_sizes: [u64; COMMIT_SIZES.len() + 1],
}

/// The upper bounds of [`WriterFigures::commit_sizes`], less the last, which has none.
pub const COMMIT_SIZES: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// What is in a store, for one who looks at it from beside a gateway and changes nothing.
pub trait Archive: Send + Sync {
    /// The configuration that came into force last, and when; none in a store that no gateway has used.
    ///
    /// # Errors
    /// When it cannot be read.
    fn in_force(&self) -> BoxFuture<'_, StoreResult<Option<(TakenConfig, StoredConfig)>>>;
    /// Keys that payloads were sealed with, by id.
    ///
    /// # Errors
    /// When they cannot be read.
    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>>;
    /// Notifications with their content, newest first: those below a row, of a source, at most so many, and no more than
    /// about 8 MiB of them at once. Empty when there are no more.
    ///
    /// # Errors
    /// When they cannot be read.
    fn contents<'a>(
        &'a self,
        before: Option<i64>,
        source: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, StoreResult<Vec<NotificationView>>>;
}

fn backed_up_elsewhere(file: &Path) -> StoreError {
    StoreError::Conflict(format!(
        "backing up into {}: this store is backed up with its database's own tools, such as pg_dump",
        file.display()
    ))
}

/// The durable heart: everything a gateway knows and must not forget.
pub trait Store: Send + Sync {
    /// Makes an envelope durable with its notifications, dedupe keys and deliveries: all or nothing.
    fn accept(&self, accept: Accept) -> BoxFuture<'_, StoreResult<Accepted>>;
    /// Keeps a refused POST; the last 1,000 are kept.
    fn refuse(&self, post: RefusedPost) -> BoxFuture<'_, StoreResult<()>>;
    /// Leases the next eligible deliveries of a system and begins their attempts.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, StoreResult<Claims>>;
    /// Completes an attempt.
    fn settle(&self, settle: Settle) -> BoxFuture<'_, StoreResult<()>>;
    /// Gives leases back whose call was never begun: no attempt is counted.
    fn release(&self, leases: Vec<(DeliveryId, Lease)>) -> BoxFuture<'_, StoreResult<()>>;
    /// The look-up that came before the call of a leased delivery is over, and the call begins. An attempt that is left
    /// before that counts as none.
    fn begin_call(&self, delivery: DeliveryId, lease: Lease) -> BoxFuture<'_, StoreResult<()>>;
    /// A leased delivery goes another way than it was made for, within its system: its route leads elsewhere now. From here
    /// on all of it is booked there, what was tried before included.
    fn redirect(&self, delivery: DeliveryId, lease: Lease, way: Way) -> BoxFuture<'_, StoreResult<()>>;
    /// Makes leases hold this long from now; the deliveries whose lease is no longer ours. Of no use, and done at once,
    /// where leases do not run out.
    fn renew(&self, leases: Vec<(DeliveryId, Lease)>, lease: Duration) -> BoxFuture<'_, StoreResult<Vec<DeliveryId>>>;
    /// A person's change of one delivery, and its entry in the audit log. A conflict where it does not stand any more as it
    /// must (`still`), if that is said.
    fn change(
        &self,
        delivery: DeliveryId,
        change: Change,
        still: Option<State>,
        by: By,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<DeliveryView>>;
    /// A person has a delivery sent again: in its place, or as a new one that is linked to it.
    fn replay(&self, replay: Replay) -> BoxFuture<'_, StoreResult<Replayed>>;
    /// Gives an unrouted or quarantined notification the deliveries that routes make of it now; the systems that have something
    /// new that is due. A conflict when it is neither any more.
    fn reroute(&self, reroute: Reroute) -> BoxFuture<'_, StoreResult<Vec<String>>>;
    /// For each of some deliveries, those in whose place it stands, lowest first; at most a hundred.
    fn stands_for(&self, deliveries: Vec<DeliveryId>) -> BoxFuture<'_, StoreResult<Vec<Vec<DeliveryId>>>>;
    /// A later delivery of the same record on the same route that was delivered with other content: replaying this one
    /// would undo it.
    fn outdated_by(&self, delivery: DeliveryId) -> BoxFuture<'_, StoreResult<Option<DeliveryId>>>;
    /// The durable state of a system; a fresh one when it was never seen.
    fn system(&self, system: String) -> BoxFuture<'_, StoreResult<SystemState>>;
    /// Writes a system's state, and with it, where a person wants it so, the entry in the audit log.
    fn set_system(&self, system: String, state: SystemState, deed: Option<Deed>) -> BoxFuture<'_, StoreResult<()>>;
    /// Writes a system's state if the one that stands is still `from`, its open time apart: what another gateway did
    /// meanwhile is not undone. The state that stands then.
    fn turn_system(
        &self,
        system: String,
        from: SystemState,
        to: SystemState,
    ) -> BoxFuture<'_, StoreResult<SystemState>>;
    /// Stores a configuration, or finds the one that is equal.
    fn save_config(&self, config: StoredConfig, now: Timestamp) -> BoxFuture<'_, StoreResult<ConfigVersion>>;
    /// A stored configuration.
    fn config(&self, version: ConfigVersion) -> BoxFuture<'_, StoreResult<StoredConfig>>;
    /// Keeps that a configuration came into force; the last 1,000 times are kept.
    fn take_config(&self, taken: TakenConfig) -> BoxFuture<'_, StoreResult<()>>;
    /// When which configuration came into force, newest first; at most this many.
    fn taken_configs(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<TakenConfig>>>;
    /// Every way that a delivery was ever made for, in order: also what is gone from the configuration.
    fn ways(&self) -> BoxFuture<'_, StoreResult<Vec<Way>>>;
    /// How many deliveries are not settled, by way; in order, and only ways that have some.
    fn unsettled(&self) -> BoxFuture<'_, StoreResult<Vec<Unsettled>>>;
    /// Discards the newest unsettled deliveries of some ways, at most `limit` of them, for whom and why is given, as
    /// [`Change::Discard`] does with one; what is in flight is left. What comes after another is newer, and so goes before it.
    fn discard_unsettled(
        &self,
        ways: Vec<Way>,
        by: By,
        limit: u32,
        now: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Discarded>>;
    /// Looks for lanes that have blocked deliveries and no head, and repairs them; how many there were.
    fn sweep(&self) -> BoxFuture<'_, StoreResult<u64>>;
    /// Pulls due times that lie further ahead than `wait_max` back to that, and those of what was never tried to now; how
    /// many there were.
    fn pull_back(&self, now: Timestamp, wait_max: Duration) -> BoxFuture<'_, StoreResult<u64>>;
    /// The accounts.
    fn ledger(&self) -> BoxFuture<'_, StoreResult<Ledger>>;
    /// The accounts by day.
    fn ledger_days(&self, filter: DayFilter) -> BoxFuture<'_, StoreResult<LedgerDays>>;
    /// When each source was heard last, and its longest silence that ended on that day or later; of a last day too, as it was
    /// known at the end of it.
    fn gaps(&self, since: Day, to: Option<Day>) -> BoxFuture<'_, StoreResult<Vec<Gap>>>;
    /// The gateway listens at this moment: to be said once a minute. When the last heartbeat and the last envelope are over
    /// 150 s old, the time since is kept as an absence, and given back.
    fn heartbeat(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<Option<Absence>>>;
    /// The latest absences, newest first; at most a hundred.
    fn absences(&self) -> BoxFuture<'_, StoreResult<Vec<Absence>>>;
    /// A person took note of an absence; an entry in the audit log too.
    fn acknowledge(&self, absence: i64, by: By, now: Timestamp) -> BoxFuture<'_, StoreResult<Absence>>;
    /// Keeps what was measured at a moment, for eight days. What all gateways share is kept once, whoever comes first.
    fn add_sample(&self, sample: Sample) -> BoxFuture<'_, StoreResult<()>>;
    /// What was measured at a moment or later, the oldest first.
    fn samples(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<Sample>>>;
    /// Writes an entry of the audit log; its number.
    fn audit(&self, deed: Deed) -> BoxFuture<'_, StoreResult<i64>>;
    /// Entries of the audit log, newest first.
    fn audit_log(&self, filter: AuditFilter) -> BoxFuture<'_, StoreResult<Vec<AuditEntry>>>;
    /// Where the chain of the audit log begins and ends, and its entries above an id, the oldest first: all at one moment.
    fn audit_chain(&self, after: i64, limit: u32) -> BoxFuture<'_, StoreResult<(Chain, Vec<AuditEntry>)>>;
    /// Keeps a new token under the hash of its secret.
    fn add_token(&self, token: Token, hash: String) -> BoxFuture<'_, StoreResult<()>>;
    /// All tokens that are kept, the newest first.
    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<Token>>>;
    /// The token whose secret has this hash, also when it is over.
    fn token(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Token>>>;
    /// Ends a token.
    fn revoke_token(&self, id: String, by: String, now: Timestamp) -> BoxFuture<'_, StoreResult<Token>>;
    /// Notes that a token was used.
    fn use_token(&self, id: String, now: Timestamp) -> BoxFuture<'_, StoreResult<()>>;
    /// Saves a view, in place of the one that has its name; that one, where there was one.
    fn save_view(&self, view: SavedView) -> BoxFuture<'_, StoreResult<Option<SavedView>>>;
    /// All saved views, by list and name.
    fn views(&self) -> BoxFuture<'_, StoreResult<Vec<SavedView>>>;
    /// Forgets a view; what it was.
    fn forget_view(&self, list: String, name: String) -> BoxFuture<'_, StoreResult<SavedView>>;
    /// Keys that payloads were sealed with, by id.
    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>>;
    /// Remembers that payloads are sealed with a key from now on. One that is known under its id stays as it is.
    fn note_sealing_key(&self, key: SealingKey) -> BoxFuture<'_, StoreResult<()>>;
    /// Forgets a key that no payload needs any more.
    fn forget_sealing_key(&self, id: String) -> BoxFuture<'_, StoreResult<()>>;
    /// One small step of a walk over all payloads: at most so many rows from a mark on, written anew where `rewrite` says so.
    fn rewrite_payloads(
        &self,
        from: PayloadMark,
        limit: usize,
        rewrite: Rewrite,
    ) -> BoxFuture<'_, StoreResult<Rewritten>>;
    /// Takes one small step of pruning; see [`pace`] for all of them.
    fn prune(&self, prune: Prune) -> BoxFuture<'_, StoreResult<Pruned>>;
    /// What pruning would find now.
    fn prunable(&self, retention: Retention, now: Timestamp) -> BoxFuture<'_, StoreResult<Prunable>>;
    /// Copies the store into a file that is not there yet, while it goes on, and looks through the copy. `progress` hears
    /// how many of how many pages are copied.
    /// A store that has tools of its own for that says so.
    fn backup(&self, file: PathBuf, progress: watch::Sender<(u64, u64)>) -> BoxFuture<'_, StoreResult<Backup>> {
        drop(progress);
        Box::pin(std::future::ready(Err(backed_up_elsewhere(&file))))
    }
    /// Whether such a copy could be made, and how large it would be; writes nothing.
    fn backup_room(&self, file: PathBuf) -> BoxFuture<'_, StoreResult<BackupRoom>> {
        Box::pin(std::future::ready(Err(backed_up_elsewhere(&file))))
    }
    /// What waits, and since when.
    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>>;
    /// Compares every counter with the rows and what was pruned of them, and with its days; and the rows with one another.
    fn verify(&self) -> BoxFuture<'_, StoreResult<Vec<Discrepancy>>>;
    /// Contents of notifications above a row, in the order of their rows, with the hashes that they came with: about a
    /// megabyte of them at once, and none when there are no more.
    fn contents(&self, after: i64) -> BoxFuture<'_, StoreResult<Vec<Content>>>;
    /// A list of notifications, XML left empty. A page may be short, or empty, and yet name where the list goes on.
    fn notifications(&self, filter: NotificationFilter) -> BoxFuture<'_, StoreResult<Page<NotificationView>>>;
    /// All revisions of a notification, by row or by notification id, oldest first.
    fn notification(&self, id: String) -> BoxFuture<'_, StoreResult<Vec<NotificationView>>>;
    /// The XML of notifications, by their rows: of those that are there, and empty where it was pruned.
    fn records(&self, rows: Vec<i64>) -> BoxFuture<'_, StoreResult<BTreeMap<i64, String>>>;
    /// A list of deliveries. A page may be short, or empty, and yet name where the list goes on.
    fn deliveries(&self, filter: DeliveryFilter) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>>;
    /// Lanes that do not go on. A page may be short, or empty, and yet name where the list goes on.
    fn lanes(&self, filter: LaneFilter) -> BoxFuture<'_, StoreResult<Lanes>>;
    /// What is not settled in a lane of a system, in order, above an id; at most so many.
    fn lane(
        &self,
        system: String,
        lane: String,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, StoreResult<Page<DeliveryView>>>;
    /// One delivery and its attempts, oldest first.
    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, StoreResult<(DeliveryView, Vec<AttemptView>)>>;
    /// The refused POSTs, newest first.
    fn refused(&self, limit: u32) -> BoxFuture<'_, StoreResult<Vec<RefusedPost>>>;
    /// How the store is at this moment. A commit that is stuck in the disk counts as failing, which nobody is there to
    /// announce, and no longer when it ends.
    fn condition(&self) -> Health;
    /// How the store is; changes are announced.
    fn health(&self) -> watch::Receiver<Health>;
    /// What other gateways on the same store tell; none where there can be no other.
    fn signals(&self) -> Option<broadcast::Receiver<Signal>>;
    /// How the writer works.
    fn figures(&self) -> WriterFigures;
    /// Finishes what is queued and closes the store.
    fn close(&self) -> BoxFuture<'_, ()>;
}

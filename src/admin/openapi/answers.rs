//! The shape of answers that a handler puts together out of several things, for the description of the API alone: none is
//! ever made. `tests/it/openapi.rs` holds real answers against it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::admin::alarms;
use crate::admin::api::Explained;
use crate::admin::aside::Aside;
use crate::admin::book;
use crate::admin::needs::NeedsPerson;
use crate::admin::outlook::Wait;
use crate::admin::proposal;
use crate::admin::reload;
use crate::admin::replay::Mapped;
use crate::clock::{Day, Timestamp};
use crate::delivery::DeliveryId;
use crate::facts::{Facts, RouteTold};
use crate::store::sealed::rekey::{Progress, Rekeyed};
use crate::store::{
    AttemptView, AuditEntry, Backup, Chain, DeliveryView, LedgerDay, NotificationView, Pause, Prunable, TakenConfig,
    Token, Unsettled,
};

/// What is wrong, as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, in words, and what to do.
    detail: String,
    /// Of a configuration that is refused: every mistake.
    #[schema(nullable = false)]
    problems: Option<Vec<String>>,
    /// Of a configuration that is refused: the deliveries that it would leave without a way.
    #[schema(nullable = false)]
    orphans: Option<Vec<Unsettled>>,
}

/// What an operator wants to see first.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Status {
    /// Whether envelopes are taken.
    ready: bool,
    /// Why not.
    reason: Option<String>,
    /// What needs a person, the most urgent first.
    needs: Vec<NeedsPerson>,
    /// Alarms that stand.
    alarms: Vec<StandingAlarm>,
    /// The systems, by name.
    systems: BTreeMap<String, SystemSeen>,
    /// When the oldest delivery that is not settled was made, by destination.
    oldest_unsettled: BTreeMap<String, Timestamp>,
    /// Must be 0.
    lanes_repaired: i64,
    /// So long the slowest one of a hundred took to be acknowledged in the last five minutes; none where none came.
    ack_p99_ms: Option<f64>,
    /// The certificates that are served and trusted, and those that servers showed last.
    certificates: Option<Vec<Certificate>>,
    /// Client certificates that were refused, the latest 50.
    refused_certificates: Option<Vec<BTreeMap<String, Json>>>,
    /// The configuration in force.
    config: Option<reload::Standing>,
}

/// An alarm that stands.
#[derive(Serialize, ToSchema)]
struct StandingAlarm {
    /// Its name.
    alarm: String,
    /// What it is about; may be empty.
    subject: String,
    /// In words.
    message: String,
}

/// The alarms that stand, and who is told of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Alarms)]
pub(in crate::admin) struct AlarmsTold {
    alarms: Vec<AlarmTold>,
    channels: Vec<alarms::Heard>,
}

/// An alarm that stands, and since when.
#[derive(Serialize, ToSchema)]
#[schema(as = AlarmSince)]
struct AlarmTold {
    #[serde(flatten)]
    alarm: StandingAlarm,
    since: Timestamp,
}

/// What a test of channels came to.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct AlarmsTested {
    dry_run: bool,
    /// The channels that are meant.
    channels: Vec<String>,
    /// What became of each; empty in a dry run.
    tried: Vec<alarms::Tried>,
}

/// How a system stands, in short.
#[derive(Serialize, ToSchema)]
struct SystemSeen {
    /// Set while it is paused.
    paused: Option<Pause>,
    /// Why it is not called now.
    why: Option<WhyTold>,
}

/// Why something waits.
#[derive(Serialize, ToSchema)]
#[schema(as = Why)]
pub(in crate::admin) struct WhyTold {
    /// A word for programs.
    code: String,
    /// In plain words.
    text: String,
}

/// A certificate.
#[derive(Serialize, ToSchema)]
struct Certificate {
    /// The configuration key that it belongs to.
    key: String,
    /// Where it stands.
    file: String,
    /// Until when it holds.
    expires_at: Option<Timestamp>,
    /// How many days that is.
    days_left: Option<i64>,
    /// What is wrong with it.
    faults: Vec<String>,
    /// It and those that signed it.
    chain: Vec<BTreeMap<String, Json>>,
}

/// A notification with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Notification)]
pub(in crate::admin) struct NotificationTold {
    /// Its contents, the oldest first.
    revisions: Vec<NotificationView>,
    /// What was made of it.
    deliveries: Vec<DeliveryView>,
    /// The values of the latest content, by path.
    values: Option<BTreeMap<String, String>>,
    /// Why it was set aside, or which routes do not take it; none where every route takes it.
    aside: Option<Aside>,
    /// Its fields in their order, each with its declared type.
    #[schema(nullable = false)]
    record: Option<Vec<(String, Option<String>)>>,
    /// How it differs from what the WSDL declares.
    #[schema(nullable = false)]
    drift: Option<Vec<String>>,
    /// What each route of its source makes of it now.
    #[schema(nullable = false)]
    routes: Option<Vec<RouteTold>>,
    /// Why that cannot be said.
    #[schema(nullable = false)]
    unconsidered: Option<String>,
}

/// A delivery with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(in crate::admin) struct DeliveryTold {
    /// It, and why it waits.
    delivery: Explained,
    /// The calls that were made for it.
    attempts: Vec<AttemptView>,
    /// The deliveries in whose place it stands.
    stands_for: Vec<DeliveryId>,
}

/// A delivery that was changed.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct DeliveryChanged {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// Of a dry run of a replay: what would go out.
    #[schema(nullable = false)]
    replay: Option<ReplayTold>,
    /// Of a replay or release: its system, where that is not called now.
    #[schema(nullable = false)]
    waits: Option<Vec<Wait>>,
}

/// What a replay would send.
#[derive(Serialize, ToSchema)]
#[schema(as = Rehearsal)]
struct ReplayTold {
    /// Whether it becomes a delivery of its own.
    linked: bool,
    /// Along which route.
    route: String,
    /// Where to.
    destination: String,
    /// By which mapping.
    mapping: Mapped,
    /// The call.
    call: Option<CallTold>,
    /// Why none can be made.
    error: Option<String>,
    /// What it comes after, where that is not delivered yet.
    waits_for: Option<i64>,
    /// What was sent last.
    last_attempt: Option<LastAttempt>,
    /// Whether it is the same call.
    same_as_last: Option<bool>,
}

/// A call that would go out.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
struct CallTold {
    request_line: String,
    headers: Vec<HeaderTold>,
    request: String,
    request_cut: bool,
    call_sha256: String,
}

/// A header of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = CallHeader)]
struct HeaderTold {
    name: String,
    value: String,
}

/// What was sent last.
#[derive(Serialize, ToSchema)]
struct LastAttempt {
    number: u32,
    request_line: String,
    request: String,
    /// None where it was not kept.
    call_sha256: Option<String>,
}

/// A sample message.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Sample {
    /// Under which id it is found.
    notification_id: String,
    /// As it was taken.
    envelope: String,
    /// Why it, or something of it, goes nowhere; none where every route takes it, and of a dry run.
    aside: Option<Aside>,
}

/// What routes make of messages.
#[derive(Serialize, ToSchema)]
#[schema(as = Previewed)]
pub(in crate::admin) struct Tried {
    /// The notifications of the envelope, with what each route makes of them.
    #[schema(nullable = false)]
    notifications: Option<Vec<BTreeMap<String, Json>>>,
    /// What is wrong with the edited expressions.
    problems: Vec<ConfigurationProblem>,
    /// What is remarkable in them.
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
    /// What the edited expressions would make other of the last messages, where that was asked.
    #[schema(nullable = false)]
    compared: Option<Compared>,
}

/// What another configuration would make other of stored notifications.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Compared {
    /// The version in force, which it was compared with.
    against: i64,
    /// How many notifications were looked at.
    looked_at: u64,
    /// Of those, how many are unreadable or quarantined: they go nowhere.
    skipped: u64,
    /// Of those, how many have no record any more.
    pruned: u64,
    /// Of those, of how many something would be another.
    differ: u64,
    /// The same, by what would become of them; one may be counted in several.
    counts: ComparedCounts,
    /// By route.
    routes: Vec<ComparedRoute>,
    /// The newest of which something would be another, one by one; empty without the right `payload`.
    messages: Vec<ComparedMessage>,
    /// Whether all that was asked for was compared, within time and memory.
    complete: bool,
    /// Files that hold something else than those of the configuration in force.
    #[schema(nullable = false)]
    changed_files: Option<Vec<String>>,
}

/// Notifications by what another configuration would make of them.
#[derive(Serialize, ToSchema)]
struct ComparedCounts {
    /// Nothing else.
    same: u64,
    /// Other calls, destinations or lanes.
    changed: u64,
    /// A dead letter where a call is made now, or none is made.
    failing: u64,
    /// A call where there is a dead letter now.
    mended: u64,
    /// A dead letter as there is now, for the same reason (then it is one of `same`) or another.
    still_failing: u64,
    /// A delivery that is not made now.
    routed: u64,
    /// No delivery where one is made now.
    not_routed: u64,
}

/// What would be another on a route.
#[derive(Serialize, ToSchema)]
struct ComparedRoute {
    /// The route's name.
    route: String,
    /// Deliveries that would be as they are.
    same: u64,
    /// Those that would not.
    differ: u64,
    /// In what, with a few examples of each.
    differences: Vec<ComparedGroup>,
}

/// Differences at one place.
#[derive(Serialize, ToSchema)]
struct ComparedGroup {
    #[serde(flatten)]
    place: ComparedPlace,
    /// In how many deliveries.
    count: u64,
    /// A few of them.
    examples: Vec<ComparedExample>,
}

/// Where a difference is.
#[derive(Serialize, ToSchema)]
struct ComparedPlace {
    /// A word for programs.
    kind: String,
    /// The field or header, or where a call fails.
    path: Option<String>,
    /// In words.
    words: String,
}

/// A difference of one notification.
#[derive(Serialize, ToSchema)]
struct ComparedExample {
    /// The notification's id and revision.
    notification: String,
    /// What it is now.
    old: Option<String>,
    /// What it would be.
    new: Option<String>,
}

/// A notification of which something would be another.
#[derive(Serialize, ToSchema)]
struct ComparedMessage {
    /// Its row.
    row: i64,
    /// Its id.
    notification_id: String,
    /// Its revision.
    revision: u32,
    /// Its source.
    source: String,
    /// Its record's type.
    record_type: String,
    /// Its record.
    record_id: String,
    /// When it came.
    received_at: Timestamp,
    /// What would be another on each route.
    routes: Vec<ComparedOnRoute>,
}

/// What would be another of one notification on one route.
#[derive(Serialize, ToSchema)]
struct ComparedOnRoute {
    /// The route's name.
    route: String,
    /// In what.
    differences: Vec<ComparedValue>,
    /// How many differences are not shown.
    more: u64,
}

/// A difference, and what is on either side of it.
#[derive(Serialize, ToSchema)]
struct ComparedValue {
    #[serde(flatten)]
    place: ComparedPlace,
    /// What it is now.
    old: Option<String>,
    /// What it would be.
    new: Option<String>,
}

/// A mistake in a configuration.
#[derive(Serialize, ToSchema)]
struct ConfigurationProblem {
    /// The key.
    key: String,
    /// What is wrong with it.
    reason: String,
    /// What may be meant.
    suggestion: Option<String>,
}

/// The configuration in force.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Configuration {
    #[serde(flatten)]
    standing: reload::Standing,
    /// What it leaves without a way.
    orphans: Vec<Unsettled>,
    /// What was in force, the latest first.
    history: Vec<TakenConfig>,
    /// Files of it that are gone from the disk, or hold something else now.
    changed_files: Vec<String>,
    /// When the latest of those was written, as its file system says.
    changed_at: Option<Timestamp>,
    /// Whether a file that changed is taken without being asked for (`server.watch`).
    watched: bool,
}

/// The configuration as it was loaded.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct FactsTold {
    facts: Facts,
    standing: Option<reload::Standing>,
    /// Whether the gateway is stopping.
    is_stopping: bool,
}

/// A destination with its latest troubles.
#[derive(Serialize, ToSchema)]
#[schema(as = DestinationTold)]
pub(in crate::admin) struct DestinationTold {
    #[serde(flatten)]
    destination: book::Destination<'static>,
    /// The latest deliveries that died, are held, or whose last attempt came to nothing.
    troubles: Vec<DeliveryView>,
}

/// What looking at a destination found.
#[derive(Serialize, ToSchema)]
#[schema(as = Findings)]
pub(in crate::admin) struct FindingsTold {
    /// Whether nothing failed.
    ok: bool,
    findings: Vec<FindingTold>,
}

/// One thing that was looked at.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
struct FindingTold {
    /// What it is about.
    subject: String,
    /// What was looked at.
    check: String,
    /// `ok`, `warning`, `failed` or `skipped`.
    level: String,
    /// What was found.
    found: String,
    /// What to do.
    advice: Option<String>,
}

/// The ledger by day.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerDays)]
pub(in crate::admin) struct DaysTold {
    from: Day,
    to: Day,
    /// The first day that has any account.
    first: Option<Day>,
    rows: Vec<LedgerDay>,
}

/// Some of the audit log's chain.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditChain)]
pub(in crate::admin) struct ChainTold {
    chain: Chain,
    /// The oldest first.
    entries: Vec<AuditEntry>,
}

/// What pruning did, or would do.
#[derive(Serialize, ToSchema)]
#[schema(as = Pruned)]
pub(in crate::admin) struct PruneTold {
    #[serde(flatten)]
    both: Prunable,
    /// Envelopes that were taken away.
    #[schema(nullable = false)]
    envelopes: Option<u64>,
    /// Bytes that the database's file gave back.
    #[schema(nullable = false)]
    bytes_returned: Option<u64>,
    /// Whether nothing more is to do now.
    #[schema(nullable = false)]
    done: Option<bool>,
}

/// How a backup stands.
#[derive(Serialize, ToSchema)]
#[schema(as = BackupStanding)]
pub(in crate::admin) struct BackupTold {
    /// `none`, `running`, `done` or `failed`.
    state: String,
    #[schema(nullable = false)]
    file: Option<String>,
    #[schema(nullable = false)]
    begun_at: Option<Timestamp>,
    #[schema(nullable = false)]
    pages_copied: Option<u64>,
    #[schema(nullable = false)]
    pages: Option<u64>,
    /// Why it failed.
    error: Option<String>,
    /// What was made.
    backup: Option<Backup>,
}

/// How the walk stands that writes payloads anew.
#[derive(Serialize, ToSchema)]
#[schema(as = RekeyStanding)]
pub(in crate::admin) struct RekeyTold {
    /// `none`, `running`, `done` or `failed`.
    state: String,
    #[schema(nullable = false)]
    begun_at: Option<Timestamp>,
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    progress: Option<Progress>,
    /// Why it failed.
    error: Option<String>,
    /// What it found and did.
    rekeyed: Option<Rekeyed>,
    /// The key in force; none: payloads are written in clear.
    active: Option<String>,
    /// All keys that are known.
    keys: Vec<String>,
}

/// A move that was given up.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct GivenUp {
    /// Where it went.
    given_up: String,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct TokenMade {
    #[serde(flatten)]
    made: Token,
    /// Its secret: it is told this once.
    token: String,
}

/// A token that would be made.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct TokenForecast {
    dry_run: bool,
    name: String,
    expires_at: Timestamp,
}

/// A lane that does not go on by itself, or not yet.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct LaneTold {
    /// The system's name.
    system: String,
    /// The lane's key.
    lane: Option<String>,
    /// The delivery that all others of it wait for.
    head: Explained,
    /// How many stand behind it, counted up to 1,000.
    behind: u32,
    /// Whether there are more than that.
    is_more: bool,
    /// Since when something waits.
    since: Timestamp,
}

/// An edit that waits for a second person, with the call that it would make.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct ProposalTold {
    /// What is told of it.
    proposal: proposal::Told,
    /// What would be sent, as in the dry run of a replay; none once it was decided.
    replay: Option<Json>,
}

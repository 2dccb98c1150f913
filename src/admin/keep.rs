//! Accounts by day, silence and absences, the audit log; pruning and backups by a person.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::admin::body::Body;
use crate::admin::names::Asked;
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::question::Question;
use crate::admin::rekey::Rekeying;
use crate::admin::unended::BEGUN;
use crate::admin::{Admin, api, unended};
use crate::clock::{Day, Timestamp};
use crate::facts::Facts;
use crate::masking::Masks;
use crate::store::sealed::SharedKeys;
use crate::store::{
    Absence, AuditEntry, AuditFilter, Backup, BackupRoom, By, DAYS_MAX, DayFilter, Gap, Prunable, Pruned, Retention,
    Silence, StoreError, StoreResult, pace,
};

/// How many days the accounts and the silence are shown of when it is not said.
const DAYS: i64 = 30;
/// How long a call that prunes may work; then it says that there is more.
const PRUNE_PATIENCE: Duration = Duration::from_secs(20);

/// What these addresses need besides the store.
#[derive(Debug, Default)]
pub struct Keep {
    /// What the configuration in force says of them.
    pub terms: Arc<ArcSwap<Terms>>,
    /// The backup under way, or the last one.
    pub backup: Mutex<Option<Backing>>,
    /// The keys that payloads are sealed with.
    pub keys: SharedKeys,
    /// The walk that writes payloads anew, under way, or the last one.
    pub rekeying: Rekeying,
}

/// What the configuration says of how long things are kept, and of silence.
#[derive(Debug, Default)]
pub struct Terms {
    /// `[retention]`.
    pub retention: Retention,
    /// Every source, and for how long it may be silent.
    pub sources: BTreeMap<String, Option<Duration>>,
    /// What people are not to see.
    pub masks: Masks,
    /// What the configuration says, for people.
    pub facts: Arc<Facts>,
    /// Whether a second person must look at edited content before it is sent.
    pub four_eyes: bool,
}

/// A backup under way, or how it ended.
#[derive(Debug)]
pub struct Backing {
    file: String,
    begun_at: Timestamp,
    progress: watch::Receiver<(u64, u64)>,
    ended: Option<StoreResult<Backup>>,
}

impl Keep {
    fn backup(&self) -> MutexGuard<'_, Option<Backing>> {
        self.backup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/ledger/days", web::get().to(days))
        .route("/gaps", web::get().to(gaps))
        .route("/absences", web::get().to(absences))
        .route("/absences/{id}/acknowledge", web::post().to(acknowledge))
        .route("/audit", web::get().to(audit))
        .route("/audit/chain", web::get().to(chain))
        .route("/store/prune", web::post().to(prune))
        .route("/store/backup", web::get().to(backup))
        .route("/store/backup", web::post().to(begin_backup));
}

/// Which days.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    from: Option<Day>,
    to: Option<Day>,
    source: Option<String>,
    destination: Option<String>,
}

/// The ledger by UTC day.
#[utoipa::path(get, path = "/api/v1/ledger/days", params(Days), responses((status = 200, body = answers::DaysTold)))]
pub(super) async fn days(admin: web::Data<Admin>, days: Question<Days>) -> HttpResponse {
    let Days { from, to, source, destination } = days.into_inner();
    let asked = Asked { source: source.as_deref(), destination: destination.as_deref(), ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    let to = to.unwrap_or_else(|| admin.clock.now().day());
    let from = from.unwrap_or_else(|| to.plus(1 - DAYS));
    let found = admin.store.ledger_days(DayFilter { from, to, source, destination }).await;
    api::answer(found.map(|found| json!({"from": from, "to": to, "first": found.first, "rows": found.rows})))
}

/// How far back to look for silence.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    #[param(minimum = 1, maximum = 366)]
    days: Option<i64>,
}

/// A source's silence, and whether it is too long.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Silent)]
pub(super) struct Heard {
    source: String,
    last_envelope: Option<Timestamp>,
    silent_s: Option<u64>,
    longest: Option<Silence>,
    longest_s: Option<u64>,
    /// `silence` of the source: an alarm stands when it is silent for longer.
    alarm_after_s: Option<u64>,
    alarm: bool,
}

/// When sources were heard last, and how long they were silent.
#[utoipa::path(get, path = "/api/v1/gaps", params(Window), responses((status = 200, body = Vec<Heard>)))]
pub(super) async fn gaps(admin: web::Data<Admin>, window: Question<Window>) -> HttpResponse {
    let now = admin.clock.now();
    let days = window.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return api::problem(400, &format!("days is {days}: ask for 1 to {DAYS_MAX}"));
    }
    let found = match admin.store.gaps(now.day().plus(1 - days), None).await {
        Ok(found) => found,
        Err(error) => return api::from_store(&error),
    };
    let mut known: BTreeMap<String, Gap> = found.into_iter().map(|gap| (gap.source.clone(), gap)).collect();
    let mut heard: Vec<Heard> = Vec::new();
    for (source, alarm_after) in &admin.keep.terms.load().sources {
        heard.push(hear(source, known.remove(source), *alarm_after, now));
    }
    // Sources of earlier configurations.
    for (source, gap) in known {
        heard.push(hear(&source, Some(gap), None, now));
    }
    HttpResponse::Ok().json(heard)
}

/// The longest silence is the one under way when that is longer.
fn hear(source: &str, gap: Option<Gap>, alarm_after: Option<Duration>, now: Timestamp) -> Heard {
    let last_envelope = gap.as_ref().map(|gap| gap.last_envelope);
    let silent = last_envelope.map(|last| now.since(last));
    let length = |silence: Silence| silence.until.since(silence.since);
    let going_on = last_envelope.map(|since| Silence { since, until: now });
    let longest = gap.and_then(|gap| gap.longest).into_iter().chain(going_on).max_by_key(|silence| length(*silence));
    Heard {
        source: source.to_owned(),
        last_envelope,
        silent_s: silent.map(|silent| silent.as_secs()),
        longest,
        longest_s: longest.map(|longest| length(longest).as_secs()),
        alarm_after_s: alarm_after.map(|after| after.as_secs()),
        alarm: silent.zip(alarm_after).is_some_and(|(silent, after)| silent >= after),
    }
}

/// An absence and what it means.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AbsenceTold)]
pub(super) struct Told {
    #[serde(flatten)]
    absence: Absence,
    dropped_until: Option<Timestamp>,
    over_at: Timestamp,
    stands: bool,
    text: String,
}

pub(super) fn tell(absence: Absence, now: Timestamp) -> Told {
    Told {
        dropped_until: absence.dropped_until(),
        over_at: absence.over_at(),
        stands: absence.stands(now),
        text: absence.words(),
        absence,
    }
}

/// When nobody listened, the newest first.
#[utoipa::path(get, path = "/api/v1/absences", responses((status = 200, body = Vec<Told>)))]
pub(super) async fn absences(admin: web::Data<Admin>) -> HttpResponse {
    let now = admin.clock.now();
    let found = admin.store.absences().await;
    api::answer(found.map(|found| found.into_iter().map(|absence| tell(absence, now)).collect::<Vec<_>>()))
}

/// The body of a changing call.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeepOrder)]
pub(super) struct Because {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
    /// Of a backup: where it goes.
    #[schema(value_type = Option<String>)]
    file: Option<PathBuf>,
}

impl Because {
    fn by(&self, person: Person) -> By {
        By::new(person.0, &self.reason)
    }

    /// What cannot be kept of it.
    fn problem(&self) -> Option<HttpResponse> {
        let too_long = self.reason.len() > api::REASON_BYTES_MAX;
        too_long.then(|| api::problem(400, "the reason is too long"))
    }
}

/// Takes note of an absence.
#[utoipa::path(
    post,
    path = "/api/v1/absences/{id}/acknowledge",
    params(("id" = i64, Path)),
    request_body = Because,
    responses((status = 200, body = Told))
)]
pub(super) async fn acknowledge(
    admin: web::Data<Admin>,
    id: web::Path<i64>,
    because: Body<Because>,
    person: Person,
) -> HttpResponse {
    if let Some(problem) = because.problem() {
        return problem;
    }
    let now = admin.clock.now();
    if because.dry_run {
        let found = admin.store.absences().await;
        let found = found.map(|found| found.into_iter().find(|absence| absence.id == *id));
        return match found {
            Ok(Some(absence)) => HttpResponse::Ok().json(tell(absence, now)),
            Ok(None) => api::problem(404, &format!("absence {id} is not in the store")),
            Err(error) => api::from_store(&error),
        };
    }
    let done = admin.store.acknowledge(*id, because.by(person), now).await;
    if done.is_ok() {
        admin.alarms.clear(ABSENCE_ALARM, &id.to_string());
    }
    api::answer(done.map(|absence| tell(absence, now)))
}

/// The alarm that stands for an absence.
pub const ABSENCE_ALARM: &str = "absence";

/// What people did, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditFilter), responses((status = 200, body = Vec<AuditTold>)))]
pub(super) async fn audit(admin: web::Data<Admin>, filter: Question<AuditFilter>) -> HttpResponse {
    let AuditFilter { verb, object, limit, .. } = &*filter;
    let asked = Asked { verb: verb.as_deref(), object: object.as_deref(), limit: *limit, ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    api::answer(audit_told(&admin, filter.into_inner()).await)
}

/// An entry of the audit log.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AuditTold {
    #[serde(flatten)]
    entry: AuditEntry,
    /// Of what began and has no end in the log: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unended: Option<&'static str>,
}

async fn audit_told(admin: &Admin, filter: AuditFilter) -> StoreResult<Vec<AuditTold>> {
    let entries = admin.store.audit_log(filter).await?;
    let unended = unended::unended(admin, &entries).await?;
    let told = |entry: AuditEntry| AuditTold { unended: unended.get(&entry.id).copied(), entry };
    Ok(entries.into_iter().map(told).collect())
}

/// Where to go on in the chain.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    #[serde(default)]
    after: i64,
}

/// How many entries of the chain are told at once.
const CHAIN_LIMIT: u32 = 1_000;

/// The audit log by its chain of hashes, the oldest entry first.
#[utoipa::path(get, path = "/api/v1/audit/chain", params(After), responses((status = 200, body = answers::ChainTold)))]
pub(super) async fn chain(admin: web::Data<Admin>, after: Question<After>) -> HttpResponse {
    let found = admin.store.audit_chain(after.after, CHAIN_LIMIT).await;
    api::answer(found.map(|(chain, entries)| json!({"chain": chain, "entries": entries})))
}

/// What pruning did, or would do.
#[derive(Serialize)]
#[serde(untagged)]
enum PruneAnswer {
    Would(Prunable),
    Did(Pruned),
}

/// Takes out of the store what was kept long enough.
#[utoipa::path(
    post,
    path = "/api/v1/store/prune",
    request_body = Because,
    responses((status = 200, body = answers::PruneTold))
)]
pub(super) async fn prune(admin: web::Data<Admin>, because: Body<Because>, person: Person) -> HttpResponse {
    if let Some(problem) = because.problem() {
        return problem;
    }
    if because.dry_run {
        let retention = admin.keep.terms.load().retention.clone();
        return api::answer(admin.store.prunable(retention, admin.clock.now()).await.map(PruneAnswer::Would));
    }
    let pruned = super::to_its_end(pruned(admin, because.by(person))).await;
    api::answer(pruned.map(PruneAnswer::Did))
}

/// Prunes, as the audit log has it before and after.
async fn pruned(admin: web::Data<Admin>, by: By) -> StoreResult<Pruned> {
    admin.begun(by.clone(), "prune", ("store", ""), 0, BEGUN).await?;
    let terms = admin.keep.terms.load_full();
    let (store, company) = (admin.store.as_ref(), pace::Company::Others);
    let pruned = pace::prune(store, &terms.retention, &admin.clock, company, PRUNE_PATIENCE).await;
    let (count, result) = match &pruned {
        Ok(pruned) => (pruned.deliveries, serde_json::to_string(pruned).unwrap_or_default()),
        Err(error) => (0, format!("failed: {error}")),
    };
    tracing::info!(deliveries = count, result, "a person had the store pruned");
    admin.audit(by, "prune", ("store", ""), count, &result).await;
    pruned
}

/// Begins a backup; a dry run says whether it could be made.
#[utoipa::path(
    post,
    path = "/api/v1/store/backup",
    request_body = Because,
    responses((status = 200, body = BackupRoom), (status = 202, body = answers::BackupTold))
)]
pub(super) async fn begin_backup(admin: web::Data<Admin>, because: Body<Because>, person: Person) -> HttpResponse {
    if let Some(problem) = because.problem() {
        return problem;
    }
    let Some(file) = because.file.clone() else {
        return api::problem(400, "say in file where the backup goes: a whole path on the gateway's machine");
    };
    let is_under_way = || admin.keep.backup().as_ref().is_some_and(|backing| backing.ended.is_none());
    if because.dry_run && !is_under_way() {
        return api::answer(admin.store.backup_room(file).await);
    }
    // What is in its way already is said at once, and not only when it is asked for how it ended.
    if !is_under_way()
        && let Err(error) = admin.store.backup_room(file.clone()).await
    {
        return api::from_store(&error);
    }
    match super::to_its_end(set_off(admin.clone(), file, because.by(person))).await {
        Ok(()) => HttpResponse::Accepted().json(backing(&admin)),
        Err(error) => api::from_store(&error),
    }
}

/// Lets a backup run, once the audit log has it.
async fn set_off(admin: web::Data<Admin>, file: PathBuf, by: By) -> StoreResult<()> {
    let (sender, progress) = watch::channel((0, 0));
    let name = file.to_string_lossy().into_owned();
    let earlier = {
        let mut backup = admin.keep.backup();
        if backup.as_ref().is_some_and(|backing| backing.ended.is_none()) {
            return Err(StoreError::Conflict("a backup is under way already; wait for it".to_owned()));
        }
        backup.replace(Backing { file: name.clone(), begun_at: admin.clock.now(), progress, ended: None })
    };
    if let Err(error) = admin.begun(by.clone(), "backup", ("store", &name), 0, BEGUN).await {
        *admin.keep.backup() = earlier;
        return Err(error);
    }
    tokio::spawn(async move {
        let ended = admin.store.backup(file, sender).await;
        let result = match &ended {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!(file = name, result, "a backup ended");
        admin.audit(by, "backup", ("store", &name), 1, &result).await;
        if let Some(backing) = admin.keep.backup().as_mut() {
            backing.ended = Some(ended);
        }
    });
    Ok(())
}

/// How far the backup is, or how the last one ended.
#[utoipa::path(get, path = "/api/v1/store/backup", responses((status = 200, body = answers::BackupTold)))]
pub(super) async fn backup(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(backing(&admin))
}

/// How the backup under way stands, or how the last one ended.
fn backing(admin: &Admin) -> serde_json::Value {
    let backup = admin.keep.backup();
    let Some(Backing { file, begun_at, progress, ended }) = backup.as_ref() else {
        return json!({"state": "none"});
    };
    let (copied, total) = *progress.borrow();
    let state = match ended {
        None => "running",
        Some(Ok(_)) => "done",
        Some(Err(_)) => "failed",
    };
    let error = ended.as_ref().and_then(|ended| ended.as_ref().err()).map(StoreError::to_string);
    let made = ended.as_ref().and_then(|ended| ended.as_ref().ok());
    json!({
        "state": state, "file": file, "begun_at": begun_at, "pages_copied": copied, "pages": total,
        "error": error, "backup": made,
    })
}

//! The JSON API under `/api/v1`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::body::Body;
use crate::admin::book::Books;
use crate::admin::bulk::{self, Choice, Jobs, Pace};
use crate::admin::entry::lacking;
use crate::admin::names::{Asked, clipped, no_system};
use crate::admin::needs::{self, NeedsPerson};
use crate::admin::openapi::answers;
use crate::admin::outlook::{self, Wait};
use crate::admin::person::Person;
use crate::admin::proposal;
use crate::admin::question::{Nothing, Question};
use crate::admin::replay::{self, Mapped, Wish};
use crate::admin::{Admin, aside, day, lists, masked};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::dispatch::Note;
use crate::envelope::mistyped;
use crate::fields;
use crate::issue;
use crate::parse;
use crate::store::contents;
use crate::store::{
    By, Change, Deed, DeliveryCounts, DeliveryFilter, DeliveryView, Discrepancy, Edits, Health, LIST_MAX, Ledger,
    NotificationFilter, NotificationView, Page, Pause, RefusedPost, StoreError, StoreResult, SystemState,
};
use crate::why::{self, Shut, Surroundings, Why};

/// How many refused POSTs one answer holds when it is not said; the store knows the most.
const REFUSED_LIMIT: u32 = 100;
/// So long what a pause or a resume is about may take to be counted.
const COUNTING: Duration = Duration::from_secs(2);
/// The longest reason that is kept, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 1_000;

/// What can be done with deliveries, jobs and systems, as the last part of an address says it.
pub(super) const DELIVERY_VERBS: [&str; 4] = ["replay", "hold", "release", "discard"];
pub(super) const JOB_VERBS: [&str; 3] = ["pause", "resume", "cancel"];
pub(super) const SYSTEM_VERBS: [&str; 2] = ["pause", "resume"];

pub(super) fn configure(config: &mut web::ServiceConfig) {
    super::book::configure(config);
    day::configure(config);
    super::alarms::configure(config);
    super::keep::configure(config);
    proposal::configure(config);
    super::rekey::configure(config);
    super::moving::configure(config);
    super::token::configure(config);
    super::views::configure(config);
    super::lanes::configure(config);
    super::series::configure(config);
    config
        .route("/openapi.json", web::get().to(super::openapi::openapi))
        .route("/ledger", web::get().to(ledger))
        .route("/status", web::get().to(status))
        .route("/config", web::get().to(super::reload::config))
        .route("/find", web::get().to(super::find::find))
        .route("/config/what-if", web::get().to(super::what_if::what_if))
        .route("/preview", web::post().to(super::workbench::preview))
        .route("/reload", web::post().to(super::reload::reload))
        .route("/notifications", web::get().to(notifications))
        .route("/sources/{name}/adopt", web::post().to(super::adopt::adopt))
        .route("/sources/{name}/sample", web::post().to(super::sample::sample))
        .route("/notifications/reroute", web::post().to(super::reroute::reroute))
        .route("/notifications/{id}", web::get().to(notification))
        .route("/deliveries", web::get().to(deliveries))
        .route("/deliveries/{id}", web::get().to(delivery))
        .route("/deliveries/{verb}", web::post().to(change_many))
        .route("/deliveries/{id}/{verb}", web::post().to(change))
        .route("/dead", web::get().to(dead))
        .route("/issues", web::get().to(issues))
        .route("/jobs", web::get().to(jobs))
        .route("/jobs/{id}", web::get().to(job))
        .route("/jobs/{id}/{verb}", web::post().to(steer_job))
        .route("/systems", web::get().to(systems))
        .route("/systems/{name}/{verb}", web::post().to(steer))
        .route("/refused", web::get().to(refused))
        .route("/store/verify", web::get().to(verify))
        .default_service(web::to(super::nothing))
        .app_data(
            web::PathConfig::default()
                .error_handler(|error, _| failed(404, format!("the address is not understood: {error}"))),
        );
}

/// What is wrong with a reason over [`REASON_BYTES_MAX`].
fn too_long() -> String {
    format!("the reason is too long: say it in at most {REASON_BYTES_MAX} bytes")
}

fn failed(status: u16, detail: String) -> actix_web::Error {
    actix_web::error::InternalError::from_response(detail.clone(), problem(status, &detail)).into()
}

/// An error as RFC 9457 has it.
pub(super) fn problem(status: u16, detail: &str) -> HttpResponse {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(code)
        .insert_header((CONTENT_TYPE, "application/problem+json"))
        .body(problem_body(status, detail))
}

pub(super) fn problem_body(status: u16, detail: &str) -> String {
    let title = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
    json!({"type": "about:blank", "title": title, "status": status, "detail": detail}).to_string()
}

/// One place that says which of the store's errors is what in HTTP.
pub(super) fn from_store(error: &StoreError) -> HttpResponse {
    let status = match error {
        StoreError::NotFound(_) => 404,
        StoreError::Conflict(_) | StoreError::LeaseLost => 409,
        StoreError::Refused(_) => 400,
        StoreError::Overloaded | StoreError::Unavailable(_) | StoreError::Closed => 503,
    };
    problem(status, &error.to_string())
}

pub(super) fn answer<T: Serialize>(result: Result<T, StoreError>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(error) => from_store(&error),
    }
}

/// Answers with a document as the caller may see it.
pub(super) fn show<T: Serialize>(caller: &Caller, result: Result<T, StoreError>) -> HttpResponse {
    answer(result.map(|value| caller.shown(json!(value))))
}

/// The ledger.
#[utoipa::path(get, path = "/api/v1/ledger", responses((status = 200, body = Ledger)))]
pub(super) async fn ledger(admin: web::Data<Admin>) -> HttpResponse {
    answer(admin.store.ledger().await)
}

/// What an operator wants to see first: health, alarms, systems, backlog.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = answers::Status)))]
pub(super) async fn status(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    answer(Books::read(&admin).await.map(|books| status_by(&admin, &caller, &books)))
}

/// The same, by accounts that were read.
pub(super) fn status_by(admin: &Admin, caller: &Caller, books: &Books) -> serde_json::Value {
    let Books { backlog, .. } = books;
    let health = super::metrics::readiness(admin);
    let standing = admin.alarms.standing();
    let needs = caller.shown(json!(needs_person(admin, caller, books, &standing)));
    let alarms: Vec<_> = standing
        .into_iter()
        .map(|(alarm, subject, message)| {
            let message = masked::alarm(admin, caller, alarm, message);
            json!({"alarm": alarm, "subject": subject, "message": message})
        })
        .collect();
    let systems: serde_json::Map<_, _> = standings(admin)
        .into_iter()
        .map(|(name, standing)| (name, json!({"paused": standing.state.paused, "why": standing.why})))
        .collect();
    let edge = (admin.edge)();
    json!({
        "ready": health.is_ok(),
        "reason": health.err(),
        "needs": needs,
        "alarms": alarms,
        "systems": of_systems(admin, caller, json!(systems)),
        "oldest_unsettled": backlog.oldest_unsettled,
        "ack_p99_ms": admin.metrics.ack_times().lately().percentile_ms(99.0),
        "lanes_repaired": backlog.lanes_repaired,
        "certificates": edge.get("certificates"),
        "refused_certificates": edge.get("refused_certificates"),
        "config": admin.reload.as_ref().map(|reloader| reloader.standing()),
    })
}

/// What needs a person now.
fn needs_person(
    admin: &Admin,
    caller: &Caller,
    Books { ledger, failing, .. }: &Books,
    alarms: &[(&'static str, String, String)],
) -> Vec<NeedsPerson> {
    let shut: Vec<(String, Shut)> = admin
        .dispatch
        .systems()
        .into_iter()
        .filter_map(|(name, _)| admin.dispatch.standing(&name).map(|shut| (name, masked::shut(admin, shut))))
        .collect();
    let system = |(name, shut)| needs::System { name, shut, counts: counts_of(admin, ledger, name) };
    let systems: Vec<_> = shut.iter().map(|(name, shut)| system((name.as_str(), shut))).collect();
    let health = super::metrics::readiness(admin);
    let not_ready = health.as_ref().err().map(String::as_str);
    let said = |(alarm, subject, message): &(&'static str, String, String)| {
        (*alarm, subject.clone(), masked::alarm(admin, caller, alarm, message.clone()))
    };
    let alarms: Vec<_> = alarms.iter().map(said).collect();
    // Nobody can do anything about what was pruned.
    let ledger = &ledger.left();
    needs::needs(&needs::Seen { not_ready, systems: &systems, alarms: &alarms, ledger, failing })
}

/// The deliveries of all destinations of a system.
fn counts_of(admin: &Admin, ledger: &Ledger, system: &str) -> DeliveryCounts {
    let plan = admin.dispatch.plan();
    let is_own = |name: &String| plan.destinations.get(name).is_some_and(|known| known.system == system);
    let own = ledger.destinations.iter().filter(|(name, _)| is_own(name));
    own.fold(DeliveryCounts::default(), |sum, (_, counts)| sum.with(counts))
}

/// Notifications, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    params(NotificationFilter),
    responses((status = 200, body = Vec<NotificationView>))
)]
pub(super) async fn notifications(
    admin: web::Data<Admin>,
    filter: Question<NotificationFilter>,
    caller: Caller,
    request: HttpRequest,
) -> HttpResponse {
    let NotificationFilter { source, kind, limit, .. } = &*filter;
    // Whoever may look for values learns them; and reasons are not shown to everybody as they are.
    if (filter.search.is_some() || filter.text.is_some()) && !caller.has(Right::Payload) {
        return lacking(Right::Payload);
    }
    let search = filter.search.as_deref();
    let asked = Asked { source: source.as_deref(), kind: kind.as_deref(), search, limit: *limit, ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    match lists::notifications(&admin, &caller, filter.into_inner()).await {
        Ok(page) => lists::linked(show(&caller, Ok(page.rows)), &request, page.next),
        Err(error) => from_store(&error),
    }
}

/// A notification, by its id or row.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/{id}",
    params(("id" = String, Path), masked::Asked),
    responses((status = 200, body = answers::NotificationTold))
)]
pub(super) async fn notification(
    admin: web::Data<Admin>,
    id: web::Path<String>,
    asked: Question<masked::Asked>,
    caller: Caller,
    person: Person,
) -> HttpResponse {
    let id = id.into_inner();
    let mut revisions = match admin.store.notification(id.clone()).await {
        Ok(revisions) => revisions,
        Err(StoreError::NotFound(_)) => Vec::new(),
        Err(error) => return from_store(&error),
    };
    let Some(notification_id) = revisions.first().map(|view| view.notification.notification_id.clone()) else {
        return no_notification(&id);
    };
    let object = ("notification", notification_id.as_str());
    let unmasked = match masked::unmasks(&admin, asked.into_inner(), &caller, person, object).await {
        Ok(unmasked) => unmasked,
        Err(answer) => return answer,
    };
    let filter = DeliveryFilter { notification_id: Some(notification_id), ..DeliveryFilter::default() };
    let mut found = admin.store.deliveries(filter).await.map(|page| page.rows);
    let mut considered = revisions.last().map(|view| aside::considered(&admin, view)).unwrap_or_default();
    if !unmasked {
        considered = masked::considered(&admin, &revisions, considered);
        if let Err(error) = masked::notifications(&admin, &mut revisions).await {
            return from_store(&error);
        }
        found = hidden(&admin, found).await;
    }
    let values = revisions.last().and_then(|view| fields::of("text/xml", &view.notification.xml));
    let aside = revisions.last().and_then(|view| aside::of(view, &considered));
    show(
        &caller,
        found.map(|deliveries| {
            let mut document =
                json!({"revisions": revisions, "deliveries": deliveries, "values": values, "aside": aside});
            if let (Some(document), Some(considered)) = (document.as_object_mut(), considered.as_object_mut()) {
                document.append(considered);
            }
            document
        }),
    )
}

/// That there is no notification with an id, and what may be wrong with that.
fn no_notification(id: &str) -> HttpResponse {
    let id = clipped(id);
    let wrong = mistyped(&id).map(|wrong| format!("; {wrong}")).unwrap_or_default();
    problem(404, &format!("there is no notification {id:?}{wrong}; `omgate find` looks for any other id or value"))
}

/// A delivery less what is masked.
async fn hidden_one(admin: &Admin, found: Result<DeliveryView, StoreError>) -> Result<DeliveryView, StoreError> {
    let mut view = found?;
    masked::deliveries(admin, std::slice::from_mut(&mut view)).await?;
    Ok(view)
}

/// Deliveries less what is masked.
async fn hidden(admin: &Admin, found: Result<Vec<DeliveryView>, StoreError>) -> Result<Vec<DeliveryView>, StoreError> {
    let mut views = found?;
    masked::deliveries(admin, &mut views).await?;
    Ok(views)
}

/// Deliveries, the newest first; above an id the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/deliveries",
    params(DeliveryFilter),
    responses((status = 200, body = Vec<Explained>))
)]
pub(super) async fn deliveries(
    admin: web::Data<Admin>,
    filter: Question<DeliveryFilter>,
    caller: Caller,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(fault) = unanswered(&admin, &caller, &filter).await {
        return fault;
    }
    let Page { rows, next } = match lists::deliveries(&admin, &caller, filter.into_inner()).await {
        Ok(page) => page,
        Err(error) => return from_store(&error),
    };
    lists::linked(show(&caller, explained(&admin, rows).await), &request, next)
}

/// The answer in place of a list of deliveries that cannot be meant, or that the caller may not ask for.
async fn unanswered(admin: &Admin, caller: &Caller, filter: &DeliveryFilter) -> Option<HttpResponse> {
    // Whoever may look for values learns them; and reasons are not shown to everybody as they are.
    let looks = filter.kept.is_some() || filter.search.is_some() || filter.text.is_some();
    if looks && !caller.has(Right::Payload) {
        return Some(lacking(Right::Payload));
    }
    let DeliveryFilter { source, route, destination, limit, .. } = filter;
    let (source, route, destination) = (source.as_deref(), route.as_deref(), destination.as_deref());
    let search = filter.search.as_deref();
    Asked { source, route, destination, search, limit: *limit, ..Asked::default() }.fault(admin).await
}

/// A delivery with its attempts, and why it waits.
#[utoipa::path(
    get,
    path = "/api/v1/deliveries/{id}",
    params(("id" = i64, Path), masked::Asked),
    responses((status = 200, body = answers::DeliveryTold))
)]
pub(super) async fn delivery(
    admin: web::Data<Admin>,
    id: web::Path<i64>,
    asked: Question<masked::Asked>,
    caller: Caller,
    person: Person,
) -> HttpResponse {
    let id = DeliveryId(id.into_inner());
    match masked::unmasks(&admin, asked.into_inner(), &caller, person, ("delivery", &id.to_string())).await {
        Ok(unmasked) => show(&caller, told(&admin, id, unmasked).await),
        Err(answer) => answer,
    }
}

/// All there is to say of a delivery.
pub(super) async fn told(admin: &Admin, id: DeliveryId, unmasked: bool) -> Result<serde_json::Value, StoreError> {
    let (mut view, mut attempts) = admin.store.delivery(id).await?;
    if !unmasked {
        masked::delivery(admin, &mut view, &mut attempts).await?;
    }
    let first = match why::waits_for(&view) {
        // It may have gone meanwhile; then it is no reason any more.
        Some(first) => other(admin, first, unmasked).await,
        None => None,
    };
    let delivery = explain(admin, &mut HashMap::new(), view, first.as_ref());
    let stands_for = admin.store.stands_for(vec![id]).await?.pop().unwrap_or_default();
    Ok(json!({"delivery": delivery, "attempts": attempts, "stands_for": stands_for}))
}

/// A delivery that another waits for, while it is there.
async fn other(admin: &Admin, id: DeliveryId, unmasked: bool) -> Option<DeliveryView> {
    let (mut view, _) = admin.store.delivery(id).await.ok()?;
    if !unmasked {
        masked::delivery(admin, &mut view, &mut []).await.ok()?;
    }
    Some(view)
}

/// A delivery, and why it is not under way.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Explained {
    #[serde(flatten)]
    delivery: DeliveryView,
    #[schema(value_type = Option<answers::WhyTold>)]
    why: Option<Why>,
}

/// Why systems are not called, each found out once for a list.
type Shuts = HashMap<String, Option<Shut>>;

/// Deliveries of a list, each with why it is not under way. Those that they wait for are read at once, as far as they do not
/// stand in the list themselves.
pub(super) async fn explained(admin: &Admin, views: Vec<DeliveryView>) -> StoreResult<Vec<Explained>> {
    let listed: BTreeMap<DeliveryId, usize> = views.iter().map(|view| view.delivery_id).zip(0..).collect();
    let others: BTreeSet<DeliveryId> =
        views.iter().filter_map(why::waits_for).filter(|first| !listed.contains_key(first)).collect();
    let others = these(admin, others.into_iter().collect()).await?;
    let first = |view: &DeliveryView| {
        let first = why::waits_for(view)?;
        let listed = listed.get(&first).and_then(|place| views.get(*place));
        listed.or_else(|| others.get(others.binary_search_by_key(&first, |other| other.delivery_id).ok()?)).cloned()
    };
    let firsts: Vec<Option<DeliveryView>> = views.iter().map(first).collect();
    let mut shuts = HashMap::new();
    let explained = views.into_iter().zip(firsts);
    Ok(explained.map(|(view, first)| explain(admin, &mut shuts, view, first.as_ref())).collect())
}

/// Some deliveries, as far as they are there, the lowest first, less what is masked of them.
async fn these(admin: &Admin, ids: Vec<DeliveryId>) -> StoreResult<Vec<DeliveryView>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = DeliveryFilter { ids: Some(ids), after: Some(0), limit: Some(LIST_MAX), ..DeliveryFilter::default() };
    hidden(admin, admin.store.deliveries(filter).await.map(|page| page.rows)).await
}

/// Why a delivery is not under way, with the one that it waits for, where that is there.
fn explain(admin: &Admin, shuts: &mut Shuts, delivery: DeliveryView, first: Option<&DeliveryView>) -> Explained {
    let first = first.map(|first| (first.clone(), why::why(first, &surroundings(admin, shuts, first))));
    let around = Surroundings { first, ..surroundings(admin, shuts, &delivery) };
    Explained { why: why::why(&delivery, &around), delivery }
}

fn shut(admin: &Admin, system: &str) -> Option<Shut> {
    admin.dispatch.shut(system).map(|shut| masked::shut(admin, shut))
}

fn surroundings(admin: &Admin, shuts: &mut Shuts, delivery: &DeliveryView) -> Surroundings {
    let known = admin.dispatch.knows(&delivery.route, &delivery.destination, &delivery.system);
    Surroundings {
        store_failing: match admin.store.condition() {
            Health::Ready => None,
            Health::Failing(reason) => Some(reason),
        },
        is_stopping: admin.closing.load(Ordering::SeqCst),
        has_route: known.has_route,
        has_destination: known.has_destination,
        moved_to: known.moved_to,
        shut: shuts.entry(delivery.system.clone()).or_insert_with_key(|system| shut(admin, system)).clone(),
        first: None,
        now: admin.clock.now(),
    }
}

/// A dead letter in a list: the shape that scripts rely on.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DeadLetter {
    delivery_id: DeliveryId,
    notification_id: String,
    record_id: String,
    destination: String,
    reason: Option<String>,
    status: Option<u16>,
    attempts: u32,
    died_at: Timestamp,
    /// The deliveries in whose place it stood: they died with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stands_for: Vec<DeliveryId>,
}

impl From<DeliveryView> for DeadLetter {
    fn from(view: DeliveryView) -> Self {
        Self {
            delivery_id: view.delivery_id,
            notification_id: view.notification_id,
            record_id: view.record_id,
            destination: view.destination,
            reason: view.reason,
            status: view.status,
            attempts: view.attempts,
            died_at: view.changed_at,
            stands_for: Vec::new(),
        }
    }
}

/// Dead letters, the newest first.
#[utoipa::path(get, path = "/api/v1/dead", params(DeliveryFilter), responses((status = 200, body = Vec<DeadLetter>)))]
pub(super) async fn dead(
    admin: web::Data<Admin>,
    filter: Question<DeliveryFilter>,
    caller: Caller,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(fault) = unanswered(&admin, &caller, &filter).await {
        return fault;
    }
    let filter = DeliveryFilter { state: Some(State::Dead), ..filter.into_inner() };
    let Page { rows, next } = match lists::deliveries(&admin, &caller, filter).await {
        Ok(page) => page,
        Err(error) => return from_store(&error),
    };
    let stands_for = admin.store.stands_for(rows.iter().map(|view| view.delivery_id).collect()).await;
    let letters = stands_for.map(|each| {
        let letter = |(view, stands_for): (DeliveryView, _)| DeadLetter { stands_for, ..view.into() };
        rows.into_iter().zip(each).map(letter).collect::<Vec<_>>()
    });
    lists::linked(show(&caller, letters), &request, next)
}

/// The body of every changing call.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Change)]
pub(super) struct Because {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
    /// When a pause ends by itself.
    until: Option<Timestamp>,
    /// Of a replay: even when a later state of the record was delivered.
    #[serde(default)]
    even_if_newer: bool,
    /// Of a replay: even when no call can be made, so that it dies again at once.
    #[serde(default)]
    even_if_failing: bool,
    /// Of a replay: as it was, or anew.
    #[serde(default)]
    mapping: Mapped,
    /// Of a replay: the route, or the destination that one route leads to.
    to: Option<String>,
    /// Of a replay: what is to be other in its content.
    edit: Option<Edits>,
    /// Of a replay: only when the delivery is in this state.
    state: Option<State>,
}

async fn replay(admin: &Admin, id: DeliveryId, because: Because, person: Person, caller: &Caller) -> HttpResponse {
    let Because { reason, dry_run, even_if_newer, even_if_failing, mapping, to, edit, state, until: _ } = because;
    if edit.is_some() && !caller.has(Right::Edit) {
        return lacking(Right::Edit);
    }
    let wish = Wish { mapping, to, edit, even_if_newer, state, reason };
    if let Some(fault) = wish.fault(dry_run) {
        return problem(400, fault);
    }
    if let Some(fault) = (Asked { to: wish.to.as_deref(), ..Asked::default() }).fault(admin).await {
        return fault;
    }
    if dry_run {
        return match replay::rehearse(admin, id, &wish).await {
            Ok(document) => show(caller, masked::document(admin, id, document).await),
            Err(error) => refused_one(admin, id, error).await,
        };
    }
    if !even_if_failing {
        match replay::dies_at_once(admin, id, &wish).await {
            Ok(None) => {}
            Ok(Some(reason)) => {
                let reason = lists::as_seen(caller, &reason);
                return refused_one(admin, id, failing_again("it", &reason)).await;
            }
            Err(error) => return refused_one(admin, id, error).await,
        }
    }
    if proposal::is_needed(admin, &wish) {
        return proposal::propose(admin, id, wish, person, caller).await;
    }
    let by = By::new(person.0, wish.reason.clone());
    let replayed = replay::replay(admin, id, &wish, by).await;
    if let Ok(view) = &replayed {
        tracing::info!(delivery = id.0, sent = view.delivery_id.0, "a person had a delivery sent again");
    }
    match replayed {
        Ok(view) => shown_with_waits(admin, caller, view).await,
        Err(error) => refused_one(admin, id, error).await,
    }
}

/// That what is to be sent again would die again at once, and what to do.
fn failing_again(what: &str, reason: &str) -> StoreError {
    StoreError::Conflict(format!(
        "{what} would die again at once, for as the configuration stands no call can be made: {reason}; mend that first, or say \
         --even-if-failing (even_if_failing in the API)"
    ))
}

/// A delivery that may go out now, and what its system has it wait for.
async fn shown_with_waits(admin: &Admin, caller: &Caller, view: DeliveryView) -> HttpResponse {
    let system = view.system.clone();
    let told = hidden_one(admin, Ok(view)).await.map(|view| outlook::with_waits(admin, json!(view), &system));
    show(caller, told)
}

/// Why something cannot be done with a delivery, less what is masked of it.
pub(super) async fn refused_one(admin: &Admin, id: DeliveryId, error: StoreError) -> HttpResponse {
    if let StoreError::Conflict(reason) = error {
        return from_store(&StoreError::Conflict(masked::reason(admin, id, reason).await));
    }
    from_store(&error)
}

/// Changes a delivery.
#[utoipa::path(
    post,
    path = "/api/v1/deliveries/{id}/{verb}",
    params(("id" = i64, Path), ("verb" = String, Path)),
    request_body = Because,
    responses((status = 200, body = answers::DeliveryChanged))
)]
pub(super) async fn change(
    admin: web::Data<Admin>,
    path: web::Path<(i64, String)>,
    because: Body<Because>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let (id, verb) = path.into_inner();
    let id = DeliveryId(id);
    let change = match change_of(&verb, because.even_if_newer, (&because.reason, because.dry_run)) {
        Ok(change) => change,
        Err((status, detail)) => return problem(status, detail),
    };
    if matches!(change, Change::Replay { .. }) {
        return replay(&admin, id, because.into_inner(), person, &caller).await;
    }
    let Because { to, edit, state, even_if_newer, even_if_failing, .. } = &*because;
    let of_replays = [to.is_some(), edit.is_some(), state.is_some(), *even_if_newer, *even_if_failing];
    if because.mapping != Mapped::Anew || of_replays.contains(&true) {
        return problem(400, "mapping, to, edit, state, even_if_newer and even_if_failing belong to a replay");
    }
    if because.dry_run {
        return match admin.store.delivery(id).await {
            Ok((view, _)) if change == Change::Release && change.applies_to(view.state) => {
                shown_with_waits(&admin, &caller, view).await
            }
            Ok((view, _)) if change.applies_to(view.state) => show(&caller, hidden_one(&admin, Ok(view)).await),
            Ok((view, _)) => problem(409, &format!("delivery {id} is {}; it cannot be changed so", view.state)),
            Err(error) => from_store(&error),
        };
    }
    let by = By::new(person.0, because.into_inner().reason);
    let is_release = change == Change::Release;
    let changed = admin.store.change(id, change, None, by, admin.clock.now()).await;
    if let Ok(view) = &changed {
        tracing::info!(delivery = id.0, verb, "a person changed a delivery");
        admin.dispatch.wake(&view.system);
        admin.dispatch.wake_after(&view.route);
    }
    match changed {
        Ok(view) if is_release => shown_with_waits(&admin, &caller, view).await,
        changed => show(&caller, hidden_one(&admin, changed).await),
    }
}

/// How a system stands, and why it is not called now.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = System)]
pub(super) struct Standing {
    #[serde(flatten)]
    state: SystemState,
    #[schema(value_type = Option<answers::WhyTold>)]
    why: Option<Why>,
}

/// How a system stands that somebody pauses or resumes, and what that is about.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SteeredSystem)]
pub(super) struct Steered {
    #[serde(flatten)]
    standing: Standing,
    /// Deliveries that wait for the system; none when the store cannot be read now.
    waiting: Option<i64>,
    /// Deliveries that are blocked behind others of their lanes.
    blocked: Option<i64>,
}

fn standings(admin: &Admin) -> BTreeMap<String, Standing> {
    let condition = admin.store.condition();
    let standing = |(name, state): (String, SystemState)| {
        let why = match &condition {
            Health::Failing(reason) => Some(Why::Store { reason: reason.clone() }),
            Health::Ready => admin.dispatch.standing(&name).map(|shut| Why::System { system: name.clone(), shut }),
        };
        (name, Standing { state, why })
    };
    admin.dispatch.systems().into_iter().map(standing).collect()
}

/// The change that a verb means. What is only asked for needs no reason: it changes nothing.
fn change_of(verb: &str, even_if_newer: bool, (reason, dry_run): (&str, bool)) -> Result<Change, (u16, &'static str)> {
    let change = match verb {
        "replay" => Change::Replay { even_if_newer },
        "hold" => Change::Hold,
        "release" => Change::Release,
        "discard" => Change::Discard,
        _ => return Err((404, "a delivery can be replayed, held, released or discarded")),
    };
    if reason.len() > REASON_BYTES_MAX {
        return Err((400, "the reason is too long"));
    }
    if change == Change::Discard && reason.trim().is_empty() && !dry_run {
        return Err((400, "to discard a delivery needs a reason"));
    }
    Ok(change)
}

/// Dead letters, grouped by destination and cause.
#[utoipa::path(get, path = "/api/v1/issues", responses((status = 200, body = Vec<issue::Issue>)))]
pub(super) async fn issues(admin: web::Data<Admin>, _: Question<Nothing>, caller: Caller) -> HttpResponse {
    let mut issues = match admin.issues.of(&admin).await {
        Ok(issues) => Vec::clone(&issues),
        Err(error) => return from_store(&error),
    };
    show(&caller, masked::issues(&admin, &mut issues).await.map(|()| issues))
}

/// The body of a call that changes many deliveries.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeOfMany)]
pub(super) struct Many {
    /// Which; see `Choice`.
    #[serde(default)]
    choose: Choice,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    even_if_newer: bool,
    /// Of a replay: even when of none of those that are tried a call can be made.
    #[serde(default)]
    even_if_failing: bool,
    #[serde(default)]
    mapping: Mapped,
    to: Option<String>,
    /// Changes a second: from 1 to 10,000, 100 unless it is said.
    rate: Option<u32>,
}

/// What a change of many would do.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub(super) struct Forecast {
    count: u64,
    /// The first of them.
    sample: Vec<DeliveryView>,
    /// Those of the sample that would be refused, as a later state of their record was delivered.
    outdated: Vec<DeliveryId>,
    /// Of a dry run of a replay: those of the sample besides of which no call can be made, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing: Vec<bulk::Refusal>,
    /// Of a replay: of how many it was tried whether a call can be made.
    #[serde(skip_serializing_if = "is_none")]
    tried: u64,
    /// How many were named and are not in the store.
    #[serde(skip_serializing_if = "is_none")]
    missing: u64,
    /// The first of those.
    #[serde(skip)]
    missing_ids: Vec<DeliveryId>,
    /// All of both, in their order.
    #[serde(skip)]
    ids: Vec<DeliveryId>,
    /// Systems that are not called now: what is let go to them waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<Wait>,
    /// When there is none: what there is in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Changes many deliveries; a dry run says how many, and so does a call that finds none.
#[utoipa::path(
    post,
    path = "/api/v1/deliveries/{verb}",
    params(("verb" = String, Path)),
    request_body = Many,
    responses((status = 200, body = Forecast), (status = 202, body = bulk::Progress))
)]
pub(super) async fn change_many(
    admin: web::Data<Admin>,
    verb: web::Path<String>,
    many: Body<Many>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let many = many.into_inner();
    let (dry_run, even_if_failing) = (many.dry_run, many.even_if_failing);
    let pace = match Pace::of(many.rate) {
        Ok(pace) => pace,
        Err(detail) => return problem(400, &detail),
    };
    let (change, mut choice, wish) = match wanted(&verb, many) {
        Ok(wanted) => wanted,
        Err((status, detail)) => return problem(status, &detail),
    };
    if let Some(fault) = unchosen(&admin, &caller, &choice, &wish).await {
        return fault;
    }
    if let Err(error) = choice.find_members(admin.store.as_ref()).await {
        return from_store(&error);
    }
    let mut forecast = match forecast(&admin, &choice, &change, wish.to.as_deref()).await {
        Ok(forecast) => forecast,
        Err(error) => return from_store(&error),
    };
    if let Some(reason) = all_missing(&choice, &forecast) {
        return problem(404, &reason);
    }
    let tried = match tried(&admin, &change, &forecast, &wish).await {
        Ok(tried) => tried,
        Err(error) => return from_store(&error),
    };
    // Where there is nothing to do, nobody did anything.
    if dry_run || (forecast.count == 0 && forecast.missing == 0) {
        (forecast.tried, forecast.failing) = (tried.count, tried.failing);
        return show(&caller, Ok(forecast));
    }
    // Of what was not tried some may go.
    let is_whole = tried.count + count_of(&forecast.outdated) >= forecast.count;
    if let Some(reason) = tried.all_die().filter(|_| is_whole && !even_if_failing) {
        return from_store(&failing_again(&tried.in_words(), &lists::as_seen(&caller, reason)));
    }
    let order = bulk::Order {
        verb: verb.into_inner(),
        change,
        ids: forecast.ids,
        wish,
        who: person.0,
        pace,
        waits: forecast.waits,
        warning: tried.warning(),
    };
    match Jobs::begin(&admin, order).await {
        Ok(progress) => HttpResponse::Accepted().json(progress),
        Err(error) => from_store(&error),
    }
}

/// The answer in place of a change of a choice that cannot be meant, or that the caller may not make.
async fn unchosen(admin: &Admin, caller: &Caller, choice: &Choice, wish: &Wish) -> Option<HttpResponse> {
    let Choice { source, route, destination, .. } = choice;
    let (source, route, destination) = (source.as_deref(), route.as_deref(), destination.as_deref());
    let asked = Asked { source, route, destination, to: wish.to.as_deref(), ..Asked::default() };
    if let Some(fault) = asked.fault(admin).await {
        return Some(fault);
    }
    // Whoever may choose by a text or a value learns what stands in it.
    let looks = choice.text.is_some() || choice.search.is_some();
    (looks && !caller.has(Right::Payload)).then(|| lacking(Right::Payload))
}

/// What a call wants done, to which deliveries, and how; or what is wrong with it.
fn wanted(verb: &str, many: Many) -> Result<(Change, Choice, Wish), (u16, String)> {
    let Many { choose, reason, dry_run, even_if_newer, even_if_failing, mapping, to, rate: _ } = many;
    let change =
        change_of(verb, even_if_newer, (&reason, dry_run)).map_err(|(status, detail)| (status, detail.to_owned()))?;
    let choice = meant(&change, choose.ordered()).map_err(|detail| (400, detail))?;
    let of_replays = mapping != Mapped::Anew || to.is_some() || even_if_failing;
    let is_odd = !matches!(change, Change::Replay { .. }) && of_replays;
    let wish = Wish { mapping, to, edit: None, even_if_newer, state: choice.state, reason };
    let fault = wish.fault(dry_run);
    let fault = fault.or_else(|| is_odd.then_some("mapping, to and even_if_failing belong to a replay"));
    fault.map_or(Ok((change, choice, wish)), |fault| Err((400, fault.to_owned())))
}

/// The choice, with the state that the change is for where none is said.
fn meant(change: &Change, mut choice: Choice) -> Result<Choice, String> {
    if let Some(ids) = &choice.ids {
        if ids.is_empty() {
            return Err(
                "ids in choose names no delivery: name at least one, or leave ids out and say what else they have in \
                        common"
                    .to_owned(),
            );
        }
        if let Some(id) = ids.iter().find(|id| id.0 < 1) {
            return Err(format!("ids in choose has {id}: the numbers of deliveries begin with 1"));
        }
    }
    if choice.is_empty() {
        return Err("say in choose which are meant: ids, issue, state, destination, route and so on".to_owned());
    }
    if choice.state.is_none() {
        choice.state = match change {
            // What is named by its id is meant as it is.
            Change::Replay { .. } if choice.ids.is_some() => None,
            Change::Replay { .. } => Some(State::Dead),
            Change::Release => Some(State::Held),
            Change::Hold | Change::Discard if choice.ids.is_none() => {
                let rule =
                    "name --state (state in the API) of those that are meant, such as waiting or blocked, or their ids";
                return Err(rule.to_owned());
            }
            Change::Hold | Change::Discard | Change::LetGo => None,
        };
    }
    match choice.state.filter(|state| !change.applies_to(*state)) {
        Some(state) => Err(format!("what is {} cannot be changed so", state.as_str().replace('_', " "))),
        None => Ok(choice),
    }
}

async fn forecast(admin: &Admin, choice: &Choice, change: &Change, to: Option<&str>) -> Result<Forecast, StoreError> {
    let mut forecast = Forecast::default();
    let mut systems = BTreeSet::new();
    let mut after = 0;
    while let Some(bulk::Page { mut views, missing, last }) = choice.shown(admin, after).await? {
        after = last;
        forecast.missing += u64::try_from(missing.len()).unwrap_or(u64::MAX);
        forecast.ids.extend(&missing);
        let room = bulk::SAMPLE.saturating_sub(forecast.missing_ids.len());
        forecast.missing_ids.extend(missing.into_iter().take(room));
        views.retain(|view| change.applies_to(view.state));
        forecast.count += u64::try_from(views.len()).unwrap_or(u64::MAX);
        forecast.ids.extend(views.iter().map(|view| view.delivery_id));
        systems.extend(views.iter().map(|view| view.system.clone()));
        let room = bulk::SAMPLE.saturating_sub(forecast.sample.len());
        forecast.sample.extend(views.into_iter().take(room));
    }
    forecast.ids.sort_unstable();
    if matches!(change, Change::Replay { even_if_newer: false }) {
        for view in &forecast.sample {
            if admin.store.outdated_by(view.delivery_id).await?.is_some() {
                forecast.outdated.push(view.delivery_id);
            }
        }
    }
    if matches!(change, Change::Replay { .. } | Change::Release) && forecast.count > 0 {
        let elsewhere = to.and_then(|to| admin.dispatch.system_of(to));
        let systems = elsewhere.map_or(systems, |system| BTreeSet::from([system]));
        forecast.waits = outlook::waits(admin, &systems);
    }
    if forecast.count == 0 {
        forecast.hint = Some(outlook::instead(admin, choice).await?);
    }
    masked::deliveries(admin, &mut forecast.sample).await?;
    Ok(forecast)
}

fn count_of<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

/// That none of those that are named is in the store; none where one is.
fn all_missing(choice: &Choice, forecast: &Forecast) -> Option<String> {
    let named = choice.ids.as_ref()?.len();
    let is_all = named > 0 && u64::try_from(named).is_ok_and(|named| named == forecast.missing);
    is_all.then(|| {
        let ids: Vec<String> = forecast.missing_ids.iter().map(ToString::to_string).collect();
        let more = if named > ids.len() { ", …" } else { "" };
        let (what, are) = if named == 1 { ("delivery", "is") } else { ("deliveries", "are") };
        format!("{what} {}{more} {are} not in the store: never made, or pruned; nothing was done", ids.join(", "))
    })
}

/// What the sample of a replay came to when it was tried.
#[derive(Default)]
struct Tried {
    count: u64,
    /// Those that would be refused or of which no call can be made.
    failing: Vec<bulk::Refusal>,
    /// Those of them that would be taken and die again at once.
    dying: Vec<DeliveryId>,
}

impl Tried {
    /// Why they die, when all that were tried would.
    fn all_die(&self) -> Option<&str> {
        let all = u64::try_from(self.dying.len()).is_ok_and(|dying| dying == self.count && dying > 0);
        self.reason().filter(|_| all)
    }

    /// Why the first of them dies.
    fn reason(&self) -> Option<&str> {
        let first = self.failing.iter().find(|failing| self.dying.contains(&failing.delivery_id));
        first.map(|failing| failing.reason.as_str())
    }

    fn in_words(&self) -> String {
        format!("{} of {} tried", self.dying.len(), self.count)
    }

    /// What is said of a replay that goes on all the same. Whoever looks at the job reads it: what records hold is left out.
    fn warning(&self) -> Option<String> {
        let reason = issue::without_values(self.reason()?);
        Some(format!("{} would die again at once, for no call can be made: {reason}", self.in_words()))
    }
}

/// Tries those of a sample, besides the outdated. Nothing but a replay makes a call anew.
async fn tried(admin: &Admin, change: &Change, forecast: &Forecast, wish: &Wish) -> Result<Tried, StoreError> {
    let mut tried = Tried::default();
    if !matches!(change, Change::Replay { .. }) {
        return Ok(tried);
    }
    // What comes after another that is sent again with it is made of that one's answer, which nobody has yet.
    let is_chosen = |id: DeliveryId| forecast.sample.iter().any(|view| view.delivery_id == id);
    let alone = forecast.sample.iter().filter(|view| !view.links.after.is_some_and(is_chosen));
    for delivery_id in alone.map(|view| view.delivery_id).filter(|id| !forecast.outdated.contains(id)) {
        tried.count += 1;
        let reason = match replay::rehearse(admin, delivery_id, wish).await {
            Ok(told) => {
                tried.dying.extend(replay::error_of(admin, &told).map(|_| delivery_id));
                told.pointer("/replay/error").and_then(|error| error.as_str()).map(str::to_owned)
            }
            Err(StoreError::Conflict(reason) | StoreError::NotFound(reason)) => Some(reason),
            Err(error) => return Err(error),
        };
        if let Some(reason) = reason {
            let reason = masked::reason(admin, delivery_id, reason).await;
            tried.failing.push(bulk::Refusal { delivery_id, reason });
        }
    }
    Ok(tried)
}

/// Changes of many deliveries, and how far they are.
#[utoipa::path(get, path = "/api/v1/jobs", responses((status = 200, body = Vec<bulk::Progress>)))]
pub(super) async fn jobs(admin: web::Data<Admin>, _: Question<Nothing>) -> HttpResponse {
    HttpResponse::Ok().json(admin.jobs.list())
}

/// A change of many deliveries.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    params(("id" = u64, Path)),
    responses((status = 200, body = bulk::Progress))
)]
pub(super) async fn job(admin: web::Data<Admin>, id: web::Path<u64>) -> HttpResponse {
    match admin.jobs.get(*id) {
        Some(progress) => HttpResponse::Ok().json(progress),
        None => problem(404, &format!("there is no job {id}; jobs are forgotten when the gateway stops")),
    }
}

/// Steers a change of many deliveries.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/{verb}",
    params(("id" = u64, Path), ("verb" = String, Path)),
    request_body = Because,
    responses((status = 200, body = bulk::Progress))
)]
pub(super) async fn steer_job(
    admin: web::Data<Admin>,
    path: web::Path<(u64, String)>,
    because: Body<Because>,
    person: Person,
) -> HttpResponse {
    let (id, verb) = path.into_inner();
    if because.reason.len() > REASON_BYTES_MAX {
        return problem(400, &too_long());
    }
    let wish = match verb.as_str() {
        "pause" => bulk::Wish::Pause,
        "resume" => bulk::Wish::Run,
        "cancel" => bulk::Wish::Cancel,
        _ => return problem(404, "a job can be paused, resumed or cancelled"),
    };
    let found = admin.jobs.get(id);
    if found.as_ref().is_some_and(bulk::Progress::has_ended) {
        return problem(409, &format!("job {id} has ended"));
    }
    if let Some(job) = found.filter(|_| because.dry_run) {
        return HttpResponse::Ok().json(job);
    }
    match admin.jobs.steer(id, wish) {
        Some(progress) => {
            let by = By::new(person.0, because.into_inner().reason);
            admin.audit(by, &verb, ("job", &id.to_string()), 1, "done").await;
            HttpResponse::Ok().json(progress)
        }
        None => problem(404, &format!("there is no job {id}; jobs are forgotten when the gateway stops")),
    }
}

/// The systems, how they stand, and why one is not called now.
#[utoipa::path(get, path = "/api/v1/systems", responses((status = 200, body = BTreeMap<String, Standing>)))]
pub(super) async fn systems(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(shown_systems(&admin, &caller))
}

/// How all systems stand, as the caller may see it.
pub(super) fn shown_systems(admin: &Admin, caller: &Caller) -> serde_json::Value {
    of_systems(admin, caller, json!(standings(admin)))
}

/// What is said of systems, as the caller may see it.
fn of_systems(admin: &Admin, caller: &Caller, document: serde_json::Value) -> serde_json::Value {
    masked::of_systems(admin, caller.shown(document))
}

/// Steers a system.
#[utoipa::path(
    post,
    path = "/api/v1/systems/{name}/{verb}",
    params(("name" = String, Path), ("verb" = String, Path)),
    request_body = Because,
    responses((status = 200, body = Steered))
)]
pub(super) async fn steer(
    admin: web::Data<Admin>,
    path: web::Path<(String, String)>,
    because: Body<Because>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let (name, verb) = path.into_inner();
    if !matches!(verb.as_str(), "pause" | "resume") {
        return problem(404, "a system can be paused or resumed");
    }
    if because.reason.len() > REASON_BYTES_MAX {
        return problem(400, &too_long());
    }
    if let Some(reason) = no_system(&admin, &name) {
        return problem(404, &reason);
    }
    if let Some(fault) = because.until.and_then(|until| no_end(&verb, until, admin.clock.now())) {
        return problem(400, &fault);
    }
    // Before: what it will be about. A store that cannot be read stops nobody from pausing a system.
    let ledger = tokio::time::timeout(COUNTING, admin.store.ledger()).await.ok().and_then(Result::ok);
    let counts = ledger.map(|ledger| counts_of(&admin, &ledger, &name));
    if !because.dry_run
        && let Err(answer) = steered(&admin, &name, &verb, because.into_inner(), person).await
    {
        return answer;
    }
    let Some(standing) = standings(&admin).remove(&name) else { return problem(404, "the system is gone") };
    let (waiting, blocked) = counts.map(|counts| (counts.waiting, counts.blocked)).unzip();
    HttpResponse::Ok().json(of_systems(&admin, &caller, json!(Steered { standing, waiting, blocked })))
}

/// Pauses or resumes a system in earnest.
async fn steered(
    admin: &Admin,
    name: &str,
    verb: &str,
    because: Because,
    Person(who): Person,
) -> Result<(), HttpResponse> {
    let reason = if because.reason.trim().is_empty() { "paused by a person" } else { &because.reason };
    let (by, was) = (By::new(who, &because.reason), said(state_of(admin, name).as_ref()));
    let end = because.until.map(|until| format!("; it ends at {}", until.spoken())).unwrap_or_default();
    let noted = |outcome: &str, became: Option<&SystemState>| {
        let (verb, object_id, was) = (verb.to_owned(), name.to_owned(), was.clone());
        let result = format!("{outcome}{end}");
        Deed { verb, object: "system", object_id, was, became: said(became), ..admin.deed(by.clone(), &result) }
    };
    let together = |state: &SystemState| noted("done", Some(state));
    // An entry that came before must stand before it.
    let note = admin.unwritten.is_empty().then_some(&together as Note<'_>);
    let done = match verb {
        "pause" => admin.dispatch.pause(name, reason, because.until, note).await,
        _ => admin.dispatch.resume(name, note).await,
    };
    // What cannot be stored yet counts all the same.
    let missing = match &done {
        Ok(is_noted) => (!is_noted).then_some("done"),
        Err(StoreError::Unavailable(_)) => Some("done, and to be stored"),
        Err(error) => return Err(from_store(error)),
    };
    if let Some(outcome) = missing {
        admin.note(noted(outcome, state_of(admin, name).as_ref())).await;
    }
    done.map_err(|error| from_store(&error))?;
    tracing::info!(system = name, verb, "a person steered a system");
    Ok(())
}

/// Why a moment is no end of what is asked for; none where it is one.
fn no_end(verb: &str, until: Timestamp, now: Timestamp) -> Option<String> {
    if verb != "pause" {
        return Some("until belongs to a pause".to_owned());
    }
    let (end, begin) = (until.spoken(), now.spoken());
    let is_over = until <= now;
    is_over.then(|| format!("the pause would be over before it begins: until is {end}, and it is {begin} now"))
}

fn state_of(admin: &Admin, name: &str) -> Option<SystemState> {
    admin.dispatch.systems().into_iter().find(|(system, _)| system == name).map(|(_, state)| state)
}

/// How a system stands, for the audit log.
fn said(state: Option<&SystemState>) -> String {
    let pause = state.and_then(|state| state.paused.clone());
    // The log is kept in clear for years: what an answer said does not belong there.
    let pause = pause.map(|pause| Pause { reason: issue::without_values(&pause.reason), ..pause });
    pause.map_or_else(|| "open".to_owned(), |pause| format!("paused: {}", json!(pause)))
}

/// Which refused POSTs to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RefusedFilter {
    /// By this source.
    source: Option<String>,
    /// On this day: `today`, `yesterday`, or a UTC day such as 2026-11-26.
    #[param(value_type = Option<String>, pattern = r"^(today|yesterday|[0-9]{4}-[0-9]{2}-[0-9]{2})$")]
    day: Option<day::Which>,
    /// At most this many (default 100, at most 1,000).
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

/// POSTs that were refused, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/refused",
    params(RefusedFilter),
    responses((status = 200, body = Vec<RefusedPost>))
)]
pub(super) async fn refused(admin: web::Data<Admin>, filter: Question<RefusedFilter>, caller: Caller) -> HttpResponse {
    let RefusedFilter { source, day, limit } = filter.into_inner();
    let asked = Asked { source: source.as_deref(), limit, ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    let day = match day.map(|day| day.on(admin.clock.now().day())).transpose() {
        Ok(day) => day,
        Err(reason) => return problem(400, &reason),
    };
    let length = limit.unwrap_or(REFUSED_LIMIT);
    // All that are kept are no more than that.
    let read = if source.is_some() || day.is_some() { LIST_MAX } else { length };
    let found = admin.store.refused(read).await;
    let masks = &admin.keep.terms.load().masks;
    show(
        &caller,
        found.map(|mut posts| {
            posts.retain(|post| {
                source.as_ref().is_none_or(|source| post.source == *source)
                    && day.is_none_or(|day| post.at.day() == day)
            });
            posts.truncate(length as usize);
            masked::refused(masks, &mut posts);
            posts
        }),
    )
}

/// Disagreements between counters and rows.
#[utoipa::path(get, path = "/api/v1/store/verify", responses((status = 200, body = Vec<Discrepancy>)))]
pub(super) async fn verify(admin: web::Data<Admin>) -> HttpResponse {
    answer(contents::verify(&*admin.store, parse::has_hash).await)
}

//! What the configuration in force says, and how what it names stands: sources, destinations, the configuration itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::admin::access::Caller;
use crate::admin::body::{Because, Body};
use crate::admin::failing::Failing;
use crate::admin::names::Asked;
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::{Admin, api, masked, reload};
use crate::delivery::State;
use crate::facts::{DestinationFacts, RouteFacts, SourceFacts};
use crate::store::{
    Backlog, By, DeliveryCounts, DeliveryFilter, DeliveryView, Gap, Ledger, NotificationCounts, StoreResult,
    StoredConfig,
};

/// Looks at a destination of a configuration, or, where it is only asked, says how: its findings, `{"ok","findings":[…]}`; or
/// why it cannot be looked at.
pub type Probe = Arc<dyn Fn(StoredConfig, String, bool) -> BoxFuture<'static, Result<Json, String>> + Send + Sync>;

/// How many of a destination's latest troubles are told.
const TROUBLES: u32 = 10;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/sources", web::get().to(sources))
        .route("/sources/{name}", web::get().to(source))
        .route("/destinations", web::get().to(destinations))
        .route("/destinations/{name}", web::get().to(destination))
        .route("/destinations/{name}/test", web::post().to(test))
        .route("/config/facts", web::get().to(facts));
}

/// The accounts and what waits, read once for all that is told of them together.
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) backlog: Backlog,
    pub(super) failing: Arc<Vec<Failing>>,
}

impl Books {
    pub(super) async fn read(admin: &Admin) -> StoreResult<Self> {
        let (ledger, backlog) = (admin.store.ledger().await?, admin.store.backlog().await?);
        let failing = admin.failing.of(admin, &ledger).await?;
        Ok(Self { ledger, backlog, failing })
    }
}

/// A source: what is configured, and how it stands.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Source<'a> {
    #[serde(flatten)]
    facts: &'a SourceFacts,
    /// Where this machine listens for it; what Salesforce must call is the same path at the name of the host or proxy.
    address: String,
    /// The routes that start here.
    routes: Vec<&'a str>,
    counts: NotificationCounts,
    last_envelope: Option<crate::clock::Timestamp>,
    silent_s: Option<u64>,
    /// What stands against it now.
    alarms: Vec<Alarm>,
}

/// An alarm that stands.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Alarm {
    alarm: &'static str,
    message: String,
}

fn alarms_of(admin: &Admin, caller: &Caller, subject: &str) -> Vec<Alarm> {
    let own = admin.alarms.standing().into_iter().filter(|(_, of, _)| of == subject);
    own.map(|(alarm, _, message)| Alarm { alarm, message: masked::alarm(admin, caller, alarm, message) }).collect()
}

/// The sources: what is configured, and how they stand.
#[utoipa::path(get, path = "/api/v1/sources", responses((status = 200, body = Vec<Source<'static>>)))]
pub(super) async fn sources(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    let found = match admin.store.ledger().await {
        Ok(ledger) => sources_by(&admin, &ledger).await,
        Err(error) => Err(error),
    };
    api::show(&caller, found)
}

/// The sources, by accounts that were read.
pub(super) async fn sources_by(admin: &Admin, ledger: &Ledger) -> StoreResult<Json> {
    let terms = admin.keep.terms.load_full();
    let gaps = admin.store.gaps(admin.clock.now().day(), None).await?;
    let now = admin.clock.now();
    let each = terms.facts.sources.iter().map(|facts| {
        let gap: Option<&Gap> = gaps.iter().find(|gap| gap.source == facts.name);
        let last_envelope = gap.map(|gap| gap.last_envelope);
        let routes = &terms.facts.routes;
        Source {
            facts,
            address: format!("{}{}", admin.public, facts.path),
            routes: routes.iter().filter(|known| known.summary.source == facts.name).map(name_of).collect(),
            counts: ledger.sources.get(&facts.name).cloned().unwrap_or_default(),
            last_envelope,
            silent_s: last_envelope.map(|last| now.since(last).as_secs()),
            // What is told of systems quotes answers; what is told of sources does not.
            alarms: alarms_of(admin, &Caller::default(), &facts.name),
        }
    });
    Ok(json!(each.collect::<Vec<_>>()))
}

fn name_of(route: &RouteFacts) -> &str {
    &route.summary.route
}

/// One of a list, by its name.
fn named(list: Json, name: &str) -> Option<Json> {
    let Json::Array(list) = list else { return None };
    list.into_iter().find(|one| one.get("name").and_then(Json::as_str) == Some(name))
}

/// A source.
#[utoipa::path(
    get,
    path = "/api/v1/sources/{name}",
    params(("name" = String, Path)),
    responses((status = 200, body = Source<'static>))
)]
pub(super) async fn source(admin: web::Data<Admin>, name: web::Path<String>, caller: Caller) -> HttpResponse {
    let asked = Asked { source: Some(&name), ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    let found = match admin.store.ledger().await {
        Ok(ledger) => sources_by(&admin, &ledger).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(list) => named(list, &name).map_or_else(|| gone("source", &name), |found| api::show(&caller, Ok(found))),
        Err(error) => api::from_store(&error),
    }
}

fn gone(what: &str, name: &str) -> HttpResponse {
    api::problem(404, &format!("the configuration in force has no {what} {name:?} any more"))
}

/// A destination: what is configured, and how it and its system stand.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Destination<'a> {
    #[serde(flatten)]
    facts: &'a DestinationFacts,
    /// The routes that lead here.
    routes: Vec<&'a str>,
    counts: DeliveryCounts,
    oldest_unsettled: Option<crate::clock::Timestamp>,
    /// How its system stands, as `GET /systems` has it.
    standing: Json,
    /// What stands against it or its system now.
    alarms: Vec<Alarm>,
}

/// The destinations: what is configured, and how they and their systems stand.
#[utoipa::path(get, path = "/api/v1/destinations", responses((status = 200, body = Vec<Destination<'static>>)))]
pub(super) async fn destinations(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    let books = Books::read(&admin).await;
    api::show(&caller, books.map(|books| destinations_by(&admin, &caller, &books)))
}

/// The destinations, by accounts that were read.
pub(super) fn destinations_by(admin: &Admin, caller: &Caller, Books { ledger, backlog, .. }: &Books) -> Json {
    let terms = admin.keep.terms.load_full();
    let plan = admin.dispatch.plan();
    let standings = api::shown_systems(admin, caller);
    let each = terms.facts.destinations.iter().map(|facts| {
        let routes = &terms.facts.routes;
        let leads = |known: &&RouteFacts| {
            plan.routes.get(&known.summary.route).is_some_and(|route| route.destination == facts.name)
        };
        let mut alarms = alarms_of(admin, caller, &facts.name);
        if facts.system != facts.name {
            alarms.extend(alarms_of(admin, caller, &facts.system));
        }
        Destination {
            facts,
            routes: routes.iter().filter(leads).map(name_of).collect(),
            counts: ledger.destinations.get(&facts.name).cloned().unwrap_or_default(),
            oldest_unsettled: backlog.oldest_unsettled.get(&facts.name).copied(),
            standing: standings.get(&facts.system).cloned().unwrap_or_default(),
            alarms,
        }
    });
    json!(each.collect::<Vec<_>>())
}

/// A destination, with its latest troubles.
#[utoipa::path(
    get,
    path = "/api/v1/destinations/{name}",
    params(("name" = String, Path)),
    responses((status = 200, body = answers::DestinationTold))
)]
pub(super) async fn destination(admin: web::Data<Admin>, name: web::Path<String>, caller: Caller) -> HttpResponse {
    let asked = Asked { destination: Some(&name), ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    let found = match Books::read(&admin).await {
        Ok(books) => named(destinations_by(&admin, &caller, &books), &name),
        Err(error) => return api::from_store(&error),
    };
    let Some(mut found) = found else { return gone("destination", &name) };
    match troubles(&admin, &name).await {
        Ok(troubles) => {
            if let Some(found) = found.as_object_mut() {
                found.insert("troubles".to_owned(), json!(troubles));
            }
            api::show(&caller, Ok(found))
        }
        Err(error) => api::from_store(&error),
    }
}

/// Looks at a destination as `omgate doctor` does: resolves, connects, shakes hands, asks a question that changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/destinations/{name}/test",
    params(("name" = String, Path)),
    request_body = Because,
    responses((status = 200, body = answers::FindingsTold), (status = 501))
)]
pub(super) async fn test(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    because: Body<Because>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let name = name.into_inner();
    let asked = Asked { destination: Some(&name), ..Asked::default() };
    if let Some(fault) = asked.fault(&admin).await {
        return fault;
    }
    let Some(probe) = &admin.probe else {
        return api::problem(501, "this gateway cannot look at destinations; run omgate doctor in its place");
    };
    let taken = admin.store.taken_configs(1).await.map(|taken| taken.into_iter().next());
    let config = match taken {
        Ok(Some(taken)) => admin.store.config(taken.version).await,
        Ok(None) => return api::problem(404, "no configuration is in force yet"),
        Err(error) => Err(error),
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => return api::from_store(&error),
    };
    let Because { reason, dry_run } = because.into_inner();
    let found = probe(config, name.clone(), dry_run).await;
    let is_well = found.as_ref().is_ok_and(|found| found.get("ok").and_then(Json::as_bool) == Some(true));
    if !dry_run {
        let by = By::new(person.0, reason);
        admin.audit(by, "test", ("destination", &name), 1, if is_well { "well" } else { "not well" }).await;
    }
    match found {
        Ok(found) => api::show(&caller, Ok(found)),
        Err(reason) => api::problem(422, &reason),
    }
}

/// The latest deliveries of a destination that died, and of those that wait the ones whose last attempt came to nothing.
async fn troubles(admin: &Admin, destination: &str) -> StoreResult<Vec<DeliveryView>> {
    let mut troubles = Vec::new();
    for state in [State::Dead, State::Held, State::Waiting] {
        let filter = DeliveryFilter {
            state: Some(state),
            destination: Some(destination.to_owned()),
            limit: Some(TROUBLES),
            ..DeliveryFilter::default()
        };
        troubles.extend(admin.store.deliveries(filter).await?.into_iter().filter(|view| view.reason.is_some()));
    }
    masked::deliveries(admin, &mut troubles).await?;
    Ok(troubles)
}

/// The configuration as it was loaded: sources, destinations, routes with their mappings, and what is remarkable in it.
#[utoipa::path(get, path = "/api/v1/config/facts", responses((status = 200, body = answers::FactsTold)))]
pub(super) async fn facts(admin: web::Data<Admin>) -> HttpResponse {
    let terms = admin.keep.terms.load_full();
    let standing = admin.reload.as_ref().map(|reloader: &Arc<dyn reload::Reload>| reloader.standing());
    let is_stopping = admin.closing.load(Ordering::SeqCst);
    let body = json!({"facts": terms.facts.as_ref(), "standing": standing, "is_stopping": is_stopping});
    // It is what the configuration says, and no record's.
    HttpResponse::Ok().json(body)
}

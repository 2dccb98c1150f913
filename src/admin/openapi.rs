//! `GET /api/v1/openapi.json`: what the API takes and answers, made of the code that does it.
//!
//! Each handler says what is its own; what holds for all of them is added here, out of the table of addresses.

use std::collections::HashSet;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use bytes::Bytes;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Description, Ref, RefOr, Required, Response, ResponseBuilder, Server,
};
use utoipa::{Modify, OpenApi};

use crate::admin::access::{self, Need};
use crate::admin::{
    adopt, alarms, api, book, day, find, idempotency, keep, lanes, moving, proposal, rekey, reload, reroute, sample,
    series, token, views, what_if, workbench,
};

pub(super) mod answers;

/// Where the API begins.
const BASE: &str = "/api/v1";

/// Which verbs an address takes in its last part.
const VERBS: [(&str, &[&str]); 5] = [
    ("/api/v1/proposals/{id}/{verb}", &proposal::VERBS),
    ("/api/v1/deliveries/{verb}", &api::DELIVERY_VERBS),
    ("/api/v1/deliveries/{id}/{verb}", &api::DELIVERY_VERBS),
    ("/api/v1/jobs/{id}/{verb}", &api::JOB_VERBS),
    ("/api/v1/systems/{name}/{verb}", &api::SYSTEM_VERBS),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "omgate",
        description = "Receives Salesforce Outbound Messages and delivers them to SOAP and REST systems. \
                       A changing call may have an `Idempotency-Key`: made again under the same key within a day it is \
                       answered as it was, with the header `Idempotency-Replayed: true`, and not done again. \
                       Where a list goes on, the header `Link` has the address of its next page. \
                       Whoever lacks the right `payload` sees everything without what records hold."
    ),
    paths(
        adopt::adopt,
        alarms::alarms,
        alarms::test,
        api::change,
        api::change_many,
        api::dead,
        api::deliveries,
        api::delivery,
        api::issues,
        api::job,
        api::jobs,
        api::ledger,
        api::notification,
        api::notifications,
        api::refused,
        api::status,
        api::steer,
        api::steer_job,
        api::systems,
        api::verify,
        book::destination,
        book::destinations,
        book::facts,
        book::source,
        book::sources,
        book::test,
        day::acknowledge,
        day::day,
        find::find,
        keep::absences,
        keep::acknowledge,
        keep::audit,
        keep::backup,
        keep::begin_backup,
        keep::chain,
        keep::days,
        keep::gaps,
        keep::prune,
        lanes::lane,
        lanes::lanes,
        moving::begin,
        moving::give_up,
        moving::standing,
        openapi,
        proposal::decide,
        proposal::list,
        proposal::one,
        rekey::begin,
        rekey::show,
        reload::config,
        reload::reload,
        reroute::reroute,
        sample::sample,
        series::series,
        token::create,
        token::list,
        token::revoke,
        views::forget,
        views::list,
        views::save,
        what_if::what_if,
        workbench::preview,
    ),
    components(schemas(answers::Problem)),
    modifiers(&Common)
)]
struct Api;

/// The document, made once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Api::openapi().to_json().unwrap_or_default().into());

/// The addresses that take parameters: by method and pattern.
static ASKED: LazyLock<HashSet<(&'static str, String)>> = LazyLock::new(|| {
    let is_asked = |operation: &Option<Operation>| {
        let known = operation.as_ref().and_then(|operation| operation.parameters.as_ref());
        let is_of_query =
            |known: &RefOr<Parameter>| matches!(known, RefOr::T(known) if known.parameter_in == ParameterIn::Query);
        known.is_some_and(|known| known.iter().any(is_of_query))
    };
    let paths = Api::openapi().paths.paths.into_iter();
    let asked = paths.flat_map(|(path, item)| {
        let each = [("GET", is_asked(&item.get)), ("POST", is_asked(&item.post))];
        each.into_iter().filter(|(_, is_asked)| *is_asked).map(move |(method, _)| (method, path.clone()))
    });
    asked.collect()
});

/// Whether an address takes any parameters; so does one that is not there, for that is said first.
pub(super) fn takes_parameters(method: &str, path: &str) -> bool {
    access::pattern(method, path).is_none_or(|(method, pattern)| ASKED.contains(&(method, pattern.to_owned())))
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(DOCUMENT.clone())
}

/// What holds for all addresses.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut Description) {
        api.servers = Some(vec![Server::new("/")]);
        spread(api);
        for (path, item) in &mut api.paths.paths {
            for (method, operation) in [("GET", &mut item.get), ("POST", &mut item.post)] {
                if let Some(operation) = operation {
                    complete(method, path, operation);
                }
            }
        }
        let components = api.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("omg_…").build();
        let cookie = "a login at the page; over TLS the name begins with __Host-";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("omgate_session", cookie));
        components.security_schemes.insert("token".to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
        components.security_schemes.insert("session".to_owned(), RefOr::T(SecurityScheme::ApiKey(cookie)));
        let none: [&str; 0] = [];
        // Where no accounts are configured, this machine's people need nothing.
        let open = SecurityRequirement::default();
        api.security =
            Some(vec![SecurityRequirement::new("token", none), SecurityRequirement::new("session", none), open]);
    }
}

/// An address of its own for each verb: a template beside another that is only named otherwise would be the same.
fn spread(api: &mut Description) {
    for (path, verbs) in VERBS {
        let Some(PathItem { post: Some(operation), .. }) = api.paths.paths.remove(path) else { continue };
        for verb in verbs {
            let mut operation = operation.clone();
            if let Some(parameters) = &mut operation.parameters {
                parameters.retain(|parameter| !matches!(parameter, RefOr::T(known) if known.name == "verb"));
            }
            operation.summary = operation.summary.map(|summary| format!("{verb}: {summary}"));
            let item = PathItem::new(HttpMethod::Post, operation);
            api.paths.paths.insert(path.replace("{verb}", verb), item);
        }
    }
}

/// Adds what the table of addresses says of an operation, and what every answer may be.
fn complete(method: &str, path: &str, operation: &mut Operation) {
    let own = path.strip_prefix(BASE).unwrap_or(path);
    let words = own.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    operation.operation_id = Some(words.fold(method.to_lowercase(), |id, word| format!("{id}_{word}")));
    operation.tags = Some(vec![access::area(path).to_owned()]);
    if let Some(Need::Right(right)) = access::need(method, path) {
        let needs = format!("Needs the right `{}`.", right.as_str());
        operation.description = Some(match operation.description.take().filter(|said| !said.is_empty()) {
            Some(said) => format!("{said}\n\n{needs}"),
            None => needs,
        });
    }
    for (status, answer) in &mut operation.responses.responses {
        if let RefOr::T(answer) = answer {
            describe(status, answer);
        }
    }
    let is_question = operation.parameters.as_ref().is_some_and(|known| !known.is_empty());
    let refusals: &[u16] = match (method, is_question) {
        ("POST", _) => &[400, 401, 403, 404, 409, 413, 415, 422, 503],
        (_, true) => &[400, 401, 403, 404, 503],
        // What takes no parameters refuses them.
        (_, false) => &[400, 401, 403, 503],
    };
    for status in refusals {
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(refusal(*status)));
    }
    if method == "POST" {
        operation.parameters.get_or_insert_default().push(RefOr::T(key()));
    }
}

/// Says what an answer is where its handler does not, and that errors are problems.
fn describe(status: &str, answer: &mut Response) {
    let said = match status {
        "200" => "What was asked for, or what was done",
        "201" => "What was made",
        "202" => "It is begun; how far it is can be asked for",
        _ => {
            *answer = refusal(status.parse().unwrap_or(500));
            return;
        }
    };
    if answer.description.is_empty() {
        said.clone_into(&mut answer.description);
    }
}

fn refusal(status: u16) -> Response {
    let said = match status {
        400 => "What was asked is not understood",
        401 => "Nobody is logged in, and no token was shown that counts",
        403 => "It needs a right that is lacking, or comes from a place that may not ask",
        404 => "There is no such thing",
        409 => "It cannot be done as things stand",
        413 => "The body is too long",
        415 => "The body must be JSON",
        422 => "What the call is about is wrong, or its key belongs to another call",
        501 => "This gateway cannot do it",
        _ => "The store takes nothing now, or the gateway stops",
    };
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(said).content("application/problem+json", content).build()
}

/// The key under which a call may be made again.
fn key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(idempotency::KEY_BYTES_MAX))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Names this call: made again under the same key within a day, it is not done again."))
        .schema(Some(schema))
        .build()
}

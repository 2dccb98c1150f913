//! The pages. They are made of the API's own answers and of nothing else, so nobody reads on a page what the API would not
//! tell him; what a page changes, its script asks of the API.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LINK};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use askama::Template;
use serde_json::Value as Json;

use crate::account::Right;
use crate::admin::access::{Caller, Who};
use crate::admin::{Admin, api, metrics};
use crate::store::StoreError;

pub(super) mod assets;
pub(super) mod document;
pub(super) mod find;
pub(super) mod guide;
pub(super) mod lists;
pub(super) mod message;
pub(super) mod overview;
pub(super) mod places;
pub(super) mod records;
pub(super) mod workbench;

/// The pages, by their addresses.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(overview::overview))
        .route("/assets/{digest}/{name}", web::get().to(assets::asset))
        .route("/notifications", web::get().to(lists::notifications))
        .route("/notifications/{id}", web::get().to(message::notification))
        .route("/deliveries", web::get().to(lists::deliveries))
        .route("/deliveries/{id}", web::get().to(message::delivery))
        .route("/dead", web::get().to(lists::dead))
        .route("/lanes", web::get().to(places::lanes))
        .route("/destinations", web::get().to(places::destinations))
        .route("/destinations/{name}", web::get().to(places::destination))
        .route("/sources", web::get().to(places::sources))
        .route("/sources/{name}", web::get().to(places::source))
        .route("/refused", web::get().to(places::refused))
        .route("/ledger", web::get().to(records::ledger))
        .route("/audit", web::get().to(records::audit))
        .route("/configuration", web::get().to(records::configuration))
        .route("/configuration/what-if", web::get().to(records::what_if))
        .route("/deliveries/{id}/edit", web::get().to(workbench::edit))
        .route("/find", web::get().to(find::find))
        .route("/workbench", web::get().to(workbench::workbench))
        .route("/start", web::get().to(guide::start))
        .route("/start/flow.toml", web::get().to(guide::flow));
}

/// The largest answer of the API that a page is made of, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What every page has around it.
pub(super) struct Shell {
    /// What the page is about.
    pub(super) title: String,
    /// Which part of the menu it belongs to.
    pub(super) area: &'static str,
    /// Path and query.
    pub(super) here: String,
    /// Who is logged in, where people log in.
    pub(super) who: Option<String>,
    /// What the form to log out must bring along.
    pub(super) form: String,
    /// What the caller may do besides looking.
    pub(super) may: May,
    /// Why no envelope is taken, if so: every page says it.
    pub(super) not_ready: Option<String>,
}

/// What the caller may do: what he may not is not offered to him.
#[derive(Clone, Copy)]
pub(super) struct May {
    pub(super) operate: bool,
    pub(super) replay: bool,
    pub(super) edit: bool,
    pub(super) administer: bool,
    pub(super) payload: bool,
    pub(super) unmask: bool,
}

impl Shell {
    pub(super) fn new(request: &HttpRequest, caller: &Caller, area: &'static str, title: impl Into<String>) -> Self {
        let who = match &caller.who {
            Who::Account(name) | Who::Person(name) => Some(name.clone()),
            Who::Nobody | Who::Machine | Who::Token(_) => None,
        };
        let admin = request.app_data::<web::Data<Admin>>();
        Self {
            title: title.into(),
            area,
            not_ready: admin.and_then(|admin| metrics::readiness(admin).err()),
            here: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            who,
            form: caller.form.clone().unwrap_or_default(),
            may: May {
                operate: caller.has(Right::Operate),
                replay: caller.has(Right::Replay),
                edit: caller.has(Right::Edit),
                administer: caller.has(Right::Administer),
                payload: caller.has(Right::Payload),
                unmask: caller.has(Right::Payload) && caller.has(Right::Unmask),
            },
        }
    }

    /// Where an asset is: its address changes with what it holds.
    pub(super) fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    pub(super) fn is_at(&self, href: &str) -> bool {
        self.area == href
    }

    /// What stands in the box to find things.
    pub(super) fn sought(&self) -> String {
        let query = self.here.strip_prefix("/find?").unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == "q").map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// The menu: address, words.
    pub(super) fn menu(&self) -> [(&'static str, &'static str); 12] {
        [
            ("/", "Overview"),
            ("/notifications", "Notifications"),
            ("/deliveries", "Deliveries"),
            ("/dead", "Dead letters"),
            ("/lanes", "Lanes"),
            ("/destinations", "Destinations"),
            ("/sources", "Sources"),
            ("/refused", "Refused"),
            ("/ledger", "Ledger"),
            ("/audit", "Audit"),
            ("/configuration", "Configuration"),
            ("/workbench", "Workbench"),
        ]
    }
}

/// Why there is no page, as the API says it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
    style: String,
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let page = ProblemPage {
            status: self.status.as_u16(),
            title: self.status.canonical_reason().unwrap_or("Error"),
            detail: &self.detail,
            style: assets::address("style.css"),
        };
        html(self.status, &page)
    }
}

/// A page, or why there is none.
pub(super) type Page = Result<HttpResponse, Problem>;

/// A page as it is sent.
pub(super) fn page(template: &impl Template) -> Page {
    Ok(html(StatusCode::OK, template))
}

pub(super) fn html(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(text) => HttpResponse::build(status).insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(text),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            HttpResponse::InternalServerError().body("The page could not be made; the log says why.")
        }
    }
}

/// Whether an address is one that people look at.
pub(super) fn is_page(path: &str) -> bool {
    !["/api/", "/assets/", "/metrics", "/livez", "/readyz", "/login"].iter().any(|other| path.starts_with(other))
}

/// Whether an answer is an error that is no page yet.
pub(super) fn is_bare_error(answer: &HttpResponse) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let status = answer.status();
    (status.is_client_error() || status.is_server_error()) && !kind.starts_with("text/html")
}

/// The page of such an error.
pub(super) async fn error_page(answer: HttpResponse) -> HttpResponse {
    match read(answer).await {
        Err(problem) => problem.error_response(),
        Ok(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// What the API answered.
pub(super) struct Answer {
    pub(super) document: Json,
    /// The query of the next page of a list, where there may be one.
    pub(super) next: Option<String>,
}

/// The document of an answer of the API.
pub(super) async fn read(answer: HttpResponse) -> Result<Answer, Problem> {
    let status = answer.status();
    let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_query);
    let Ok(Ok(bytes)) = actix_web::body::to_bytes_limited(answer.into_body(), ANSWER_BYTES_MAX).await else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too long for a page"));
    };
    let document: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() {
        return Ok(Answer { document, next });
    }
    let detail = document.get("detail").and_then(Json::as_str).unwrap_or("it cannot be shown");
    Err(Problem::new(status, detail))
}

/// Why the store does not answer, as the API says it.
pub(super) async fn read_error(error: &StoreError) -> Problem {
    let read = read(api::from_store(error)).await;
    read.err().unwrap_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The query behind `rel="next"` of a `Link` header.
fn next_query(link: &str) -> Option<String> {
    let next = link.split(',').find(|one| one.contains("rel=\"next\""))?;
    let address = next.split('<').nth(1)?.split('>').next()?;
    Some(address.split_once('?')?.1.to_owned())
}

/// What is asked of a list: the query less what is empty and what only the page knows.
pub(super) fn query_of(request: &HttpRequest, own: &[&str], defaults: &[(&str, &str)]) -> String {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(request.query_string().as_bytes())
        .filter(|(name, value)| !value.trim().is_empty() && !own.contains(&name.as_ref()))
        .map(|(name, value)| (name.into_owned(), value.trim().to_owned()))
        .collect();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&pairs);
    query.extend_pairs(defaults.iter().filter(|(name, _)| pairs.iter().all(|(known, _)| known != name)));
    query.finish()
}

/// What one key of a query says; empty when nothing.
pub(super) fn asked(request: &HttpRequest, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_link() {
        let link = "</api/v1/deliveries?state=dead&before=7>; rel=\"next\"";
        assert_eq!(next_query(link).as_deref(), Some("state=dead&before=7"));
        assert_eq!(next_query("</x?y=1>; rel=\"prev\""), None);
    }
}

//! The first page: how the gateway stands, in one look.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::document::Doc;
use super::{Page, Shell, page, read};
use crate::admin::access::Caller;
use crate::admin::{Admin, api, book};

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    shell: Shell,
    status: Doc<'a>,
    ledger: Doc<'a>,
    destinations: Doc<'a>,
    sources: Doc<'a>,
    /// On their way: waiting, blocked, in flight.
    waiting: String,
    /// Since when the oldest waits.
    oldest: Doc<'a>,
    /// Nothing is configured yet.
    is_empty: bool,
}

pub(in crate::admin) async fn overview(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let status = read(api::status(admin.clone(), caller.clone()).await).await?.document;
    let ledger = read(api::ledger(admin.clone()).await).await?.document;
    let destinations = read(book::destinations(admin.clone(), caller.clone()).await).await?.document;
    let sources = read(book::sources(admin.clone(), caller.clone()).await).await?.document;
    let (status, ledger) = (Doc::new(&status), Doc::new(&ledger));
    let moving = ["waiting", "blocked", "in_flight"].map(|state| ledger.at("deliveries").at(state).number());
    let waiting = serde_json::json!(moving.iter().sum::<i64>());
    let oldest = status.at("oldest_unsettled").entries().into_iter().map(|(_, at)| at).min_by_key(|at| at.text());
    let (destinations, sources) = (Doc::new(&destinations), Doc::new(&sources));
    page(&Overview {
        shell: Shell::new(&request, &caller, "/", "Overview"),
        status,
        ledger,
        is_empty: destinations.list().is_empty() && sources.list().is_empty(),
        destinations,
        sources,
        waiting: Doc::new(&waiting).count(),
        oldest: oldest.unwrap_or_default(),
    })
}

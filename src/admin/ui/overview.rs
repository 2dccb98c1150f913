//! The first page: how the gateway stands, in one look.

use actix_web::{HttpRequest, web};
use askama::Template;
use serde_json::json;

use super::document::Doc;
use super::{Page, Shell, page, read, read_error};
use crate::admin::access::Caller;
use crate::admin::book::{self, Books};
use crate::admin::{Admin, api};

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
    let books = match Books::read(&admin).await {
        Ok(books) => books,
        Err(error) => return Err(read_error(&error).await),
    };
    let shown = async |found| read(api::show(&caller, found)).await.map(|answer| answer.document);
    let status = api::status_by(&admin, &caller, &books);
    let ledger = json!(books.ledger);
    let destinations = shown(Ok(book::destinations_by(&admin, &caller, &books))).await?;
    let sources = shown(book::sources_by(&admin, &books.ledger).await).await?;
    let (status, ledger) = (Doc::new(&status), Doc::new(&ledger));
    let moving = ["waiting", "blocked", "in_flight"].map(|state| ledger.at("deliveries").at(state).number());
    let waiting = json!(moving.iter().sum::<i64>());
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

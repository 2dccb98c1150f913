//! What was done and what is in force: the audit log, the configuration, and the guide of a gateway that has none.

use actix_web::{HttpRequest, web};
use askama::Template;
use serde_json::Value as Json;

use super::document::Doc;
use super::lists::parsed;
use super::{Page, Shell, asked, page, query_of, read};
use crate::admin::access::Caller;
use crate::admin::{Admin, api, book, day, keep, reload, what_if as comparing};
use crate::store::AuditFilter;

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit<'a> {
    shell: Shell,
    rows: Vec<Doc<'a>>,
    who: String,
    verb: String,
    object: String,
    object_id: String,
    from: String,
    to: String,
    next: Option<String>,
}

pub(in crate::admin) async fn audit(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let query = query_of(&request, &[], &[("limit", "100")]);
    let filter = parsed::<AuditFilter>(&query)?;
    let answer = read(keep::audit(admin, filter).await).await?;
    let rows = Doc::new(&answer.document).list();
    let last = rows.last().filter(|_| rows.len() >= 100).map(|row| row.at("id").text());
    let next = last.map(|before| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let kept = url::form_urlencoded::parse(request.query_string().as_bytes());
        query.extend_pairs(kept.filter(|(name, _)| name != "before"));
        query.append_pair("before", &before);
        format!("/audit?{}", query.finish())
    });
    let of = |name| asked(&request, name);
    page(&Audit {
        shell: Shell::new(&request, &caller, "/audit", "Audit"),
        rows,
        who: of("who"),
        verb: of("verb"),
        object: of("object"),
        object_id: of("object_id"),
        from: of("from"),
        to: of("to"),
        next,
    })
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct Ledger<'a> {
    shell: Shell,
    day: Doc<'a>,
}

/// A day's accounts and whether anything of it was lost; of yesterday when it is not said.
pub(in crate::admin) async fn ledger(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let asked = parsed(&query_of(&request, &[], &[]))?;
    let told = read(day::day(admin, asked).await).await?.document;
    let day = Doc::new(&told);
    page(&Ledger { shell: Shell::new(&request, &caller, "/ledger", format!("Ledger of {}", day.at("day"))), day })
}

#[derive(Template)]
#[template(path = "configuration.html")]
struct Configuration<'a> {
    shell: Shell,
    /// Which is in force, and what was before.
    standing: Doc<'a>,
    /// What it says.
    facts: Doc<'a>,
    status: Doc<'a>,
}

pub(in crate::admin) async fn configuration(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let status = read(api::status(admin.clone(), caller.clone()).await).await?.document;
    // A gateway without a file has facts and no standing.
    let standing = read(reload::config(admin).await).await.map(|answer| answer.document).unwrap_or_default();
    page(&Configuration {
        shell: Shell::new(&request, &caller, "/configuration", "Configuration"),
        standing: Doc::new(&standing),
        facts: Doc::new(&facts).at("facts"),
        status: Doc::new(&status),
    })
}

#[derive(Template)]
#[template(path = "what_if.html")]
struct WhatIf<'a> {
    shell: Shell,
    last: String,
    source: String,
    sources: Vec<Doc<'a>>,
    /// Why there is nothing to compare; empty when there is.
    problem: String,
    found: Doc<'a>,
}

/// What the file on disk would make other of what is stored.
pub(in crate::admin) async fn what_if(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let query = query_of(&request, &[], &[]);
    let found = read(comparing::what_if(admin, parsed(&query)?, caller.clone()).await).await;
    let (found, problem) = match found {
        Ok(answer) => (answer.document, String::new()),
        // A file that is wrong is what people come here to see.
        Err(problem) => (Json::Null, problem.to_string()),
    };
    let last = asked(&request, "last");
    page(&WhatIf {
        shell: Shell::new(&request, &caller, "/configuration", "What would change"),
        last: if last.is_empty() { "100".to_owned() } else { last },
        source: asked(&request, "source"),
        sources: Doc::new(&facts).at("facts.sources").list(),
        problem,
        found: Doc::new(&found),
    })
}

//! Where messages come from and go to: sources, destinations, lanes.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::document::Doc;
use super::{Page, Shell, asked, page, query_of, read};
use crate::admin::access::Caller;
use crate::admin::{Admin, api, book};

#[derive(Template)]
#[template(path = "destinations.html")]
struct Destinations<'a> {
    shell: Shell,
    rows: Vec<Doc<'a>>,
    system: String,
}

pub(in crate::admin) async fn destinations(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let found = read(book::destinations(admin, caller.clone()).await).await?.document;
    let system = asked(&request, "system");
    let is_asked = |one: &Doc<'_>| system.is_empty() || one.at("system").is(&system);
    let rows = Doc::new(&found).list().into_iter().filter(is_asked).collect();
    let shell = Shell::new(&request, &caller, "/destinations", "Destinations");
    page(&Destinations { shell, rows, system: system.clone() })
}

#[derive(Template)]
#[template(path = "destination.html")]
struct Destination<'a> {
    shell: Shell,
    one: Doc<'a>,
}

pub(in crate::admin) async fn destination(
    admin: web::Data<Admin>,
    request: HttpRequest,
    name: web::Path<String>,
    caller: Caller,
) -> Page {
    let title = format!("Destination {name}");
    let found = read(book::destination(admin, name, caller.clone()).await).await?.document;
    page(&Destination { shell: Shell::new(&request, &caller, "/destinations", title), one: Doc::new(&found) })
}

#[derive(Template)]
#[template(path = "sources.html")]
struct Sources<'a> {
    shell: Shell,
    rows: Vec<Doc<'a>>,
}

pub(in crate::admin) async fn sources(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let found = read(book::sources(admin, caller.clone()).await).await?.document;
    let rows = Doc::new(&found).list();
    page(&Sources { shell: Shell::new(&request, &caller, "/sources", "Sources"), rows })
}

#[derive(Template)]
#[template(path = "source.html")]
struct Source<'a> {
    shell: Shell,
    one: Doc<'a>,
}

pub(in crate::admin) async fn source(
    admin: web::Data<Admin>,
    request: HttpRequest,
    name: web::Path<String>,
    caller: Caller,
) -> Page {
    let title = format!("Source {name}");
    let found = read(book::source(admin, name, caller.clone()).await).await?.document;
    page(&Source { shell: Shell::new(&request, &caller, "/sources", title), one: Doc::new(&found) })
}

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused<'a> {
    shell: Shell,
    /// Which are asked for, in words; empty: all.
    asked: String,
    rows: Vec<Doc<'a>>,
}

pub(in crate::admin) async fn refused(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let filter = super::lists::parsed::<api::RefusedFilter>(&query_of(&request, &[], &[("limit", "100")]))?;
    let (source, day) = (asked(&request, "source"), asked(&request, "day"));
    let by = if source.is_empty() { String::new() } else { format!("by source {source} ") };
    let on = if day.is_empty() { String::new() } else { format!("of {day} (UTC)") };
    let found = read(api::refused(admin, filter, caller.clone()).await).await?.document;
    let rows = Doc::new(&found).list();
    let asked = format!("{by}{on}").trim_end().to_owned();
    page(&Refused { shell: Shell::new(&request, &caller, "/refused", "Refused"), asked, rows })
}

#[derive(Template)]
#[template(path = "lanes.html")]
struct Lanes<'a> {
    shell: Shell,
    systems: Vec<String>,
    system: String,
    /// The lane that is looked into; empty: all that do not go on.
    lane: String,
    rows: Vec<Doc<'a>>,
    next: Option<String>,
}

pub(in crate::admin) async fn lanes(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let (system, lane) = (asked(&request, "system"), asked(&request, "lane"));
    let all = read(api::systems(admin.clone(), caller.clone()).await).await?.document;
    let systems = Doc::new(&all).entries().into_iter().map(|(name, _)| name.to_owned()).collect();
    let answer = if lane.is_empty() {
        let query = query_of(&request, &[], &[("limit", "50")]);
        let found = crate::admin::lanes::lanes(admin, super::lists::parsed(&query)?, caller.clone(), request.clone());
        read(found.await).await?
    } else {
        let query = query_of(&request, &["system", "lane"], &[]);
        let path = web::Path::from((system.clone(), lane.clone()));
        let within = super::lists::parsed(&query)?;
        read(crate::admin::lanes::lane(admin, path, within, caller.clone(), request.clone()).await).await?
    };
    let next = answer.next.as_ref().map(|query| {
        let cursor = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        next.extend_pairs([("system", &system), ("lane", &lane)].into_iter().filter(|(_, value)| !value.is_empty()));
        next.extend_pairs(cursor);
        format!("/lanes?{}", next.finish())
    });
    page(&Lanes {
        shell: Shell::new(&request, &caller, "/lanes", "Lanes"),
        systems,
        system,
        lane,
        rows: Doc::new(&answer.document).list(),
        next,
    })
}

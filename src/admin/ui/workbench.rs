//! Where expressions are tried, and where content is edited before it is sent again.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::document::Doc;
use super::lists::parsed;
use super::{Page, Problem, Shell, asked, page, query_of, read};
use crate::admin::access::Caller;
use crate::admin::person::Person;
use crate::admin::question::Question;
use crate::admin::{Admin, api, book, masked};
use crate::pretty;
use crate::store::NotificationFilter;

#[derive(Template)]
#[template(path = "workbench.html")]
struct Workbench<'a> {
    shell: Shell,
    routes: Vec<Doc<'a>>,
    /// The routes for the script; no character in it ends the element that it stands in.
    routes_json: String,
    route: String,
    source: String,
    notification: String,
    newest: Vec<Doc<'a>>,
}

pub(in crate::admin) async fn workbench(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let routes = Doc::new(&facts).at("facts.routes");
    let route = asked(&request, "route");
    // The newest of others would be no use: no route takes another source's.
    let all = routes.list();
    let shown = all.iter().find(|one| one.at("route").is(&route)).or(all.first());
    let source = shown.map(|one| one.at("source").text()).unwrap_or_default();
    let query = query_of(
        &request,
        &["route", "notification", "when", "map"],
        &[("limit", "5"), ("kind", "routed"), ("source", &source)],
    );
    let filter = parsed::<NotificationFilter>(&query)?;
    let newest = read(api::notifications(admin, filter, caller.clone(), request.clone()).await).await?.document;
    page(&Workbench {
        shell: Shell::new(&request, &caller, "/workbench", "Mapping workbench"),
        routes: routes.list(),
        routes_json: inert(&routes.json()),
        route,
        source,
        notification: asked(&request, "notification"),
        newest: Doc::new(&newest).list(),
    })
}

/// JSON that may stand within a page's element: it cannot end it.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[derive(Template)]
#[template(path = "edit.html")]
struct Edit<'a> {
    shell: Shell,
    delivery: Doc<'a>,
    /// The record's own fields: name, value.
    values: Vec<(String, Doc<'a>)>,
    xml: String,
}

/// The page on which the content of a delivery is edited before it is sent again.
pub(in crate::admin) async fn edit(
    admin: web::Data<Admin>,
    request: HttpRequest,
    id: web::Path<i64>,
    caller: Caller,
    person: Person,
) -> Page {
    let number = *id;
    let told = api::told(&admin, crate::delivery::DeliveryId(number), false).await;
    let told = read(api::show(&caller, told)).await?.document;
    let delivery = Doc::new(&told).at("delivery");
    let row = web::Path::from(delivery.at("notification_row").text());
    let plain = Question(masked::Asked::default());
    let found = read(api::notification(admin, row, plain, caller.clone(), person).await).await?.document;
    let values = Doc::new(&found).at("values").entries().into_iter();
    let values = values.filter(|(name, _)| !name.contains(['{', '@', '.', '[']) && *name != "Id");
    let newest = Doc::new(&found).at("revisions").list().into_iter().next_back().unwrap_or_default();
    if !newest.there() {
        return Err(Problem::new(actix_web::http::StatusCode::NOT_FOUND, "its notification is gone"));
    }
    page(&Edit {
        shell: Shell::new(&request, &caller, "/deliveries", format!("Edit and resend {number}")),
        delivery,
        values: values.map(|(name, value)| (name.to_owned(), value)).collect(),
        xml: pretty::body("text/xml", &newest.at("xml").text()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn what_routes_say_cannot_end_the_element_that_it_stands_in() {
        let json = inert("{\"when\":\"'</script><script>alert(1)</script>' & 1\"}");
        assert!(!json.contains(['<', '>', '&']), "{json}");
        assert!(serde_json::from_str::<Json>(&json).unwrap()["when"].as_str().unwrap().starts_with("'</script>"));
    }
}

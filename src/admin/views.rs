//! `/api/v1/views`: what a list is asked, under names that all operators share.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::account::Right;
use crate::admin::access::{Caller, VEIL};
use crate::admin::body::Body;
use crate::admin::entry::lacking;
use crate::admin::person::Person;
use crate::admin::question::{Nothing, Question};
use crate::admin::{Admin, api};
use crate::store::{By, Deed, DeliveryFilter, NotificationFilter, SavedView, StoreError};

/// The lists that have views.
const LISTS: [&str; 2] = ["deliveries", "notifications"];
/// The longest name, in characters.
const NAME_MAX: usize = 60;
/// The longest query, in bytes.
const QUERY_BYTES_MAX: usize = 2_000;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/views", web::get().to(list))
        .route("/views", web::post().to(save))
        .route("/views/forget", web::post().to(forget));
}

/// A view that is to be saved.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewView)]
pub(super) struct Wanted {
    /// `deliveries` or `notifications`.
    list: String,
    /// Its name: one that is there already is replaced.
    name: String,
    /// The query of the list's page, without the question mark.
    query: String,
    /// It stands in the audit log.
    #[serde(default)]
    reason: String,
    /// Only says what would be saved.
    #[serde(default)]
    dry_run: bool,
}

impl Wanted {
    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        let Self { list, name, query, reason, .. } = self;
        if !LISTS.contains(&list.as_str()) {
            return Some(format!("list must be one of {}", LISTS.join(", ")));
        }
        if name.trim().is_empty() || name.trim() != name || name.chars().count() > NAME_MAX {
            return Some(format!("name must have 1 to {NAME_MAX} characters, and no blanks around them"));
        }
        if name.chars().any(char::is_control) || query.chars().any(char::is_control) {
            return Some("name and query must have no control characters".to_owned());
        }
        if query.len() > QUERY_BYTES_MAX {
            return Some(format!("query is too long: at most {QUERY_BYTES_MAX} bytes are kept"));
        }
        if reason.len() > api::REASON_BYTES_MAX {
            return Some("the reason is too long".to_owned());
        }
        misunderstood(list, query).map(|problem| format!("the list {list} does not understand the query: {problem}"))
    }
}

/// What its page does not understand in the query of a list.
fn misunderstood(list: &str, query: &str) -> Option<String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty() && *pair != OF_THE_PAGE);
    let asked = pairs.collect::<Vec<_>>().join("&");
    let understood = match list {
        "deliveries" => Question::<DeliveryFilter>::of(&asked).map(drop),
        _ => Question::<NotificationFilter>::of(&asked).map(drop),
    };
    understood.err()
}

/// What a list's page takes for itself: that it follows what comes.
const OF_THE_PAGE: &str = "live=1";

/// By these a list is asked for nothing that a record holds: ids, names of the configuration, states, moments and numbers.
const PLAIN: [&str; 18] = [
    "state",
    "kind",
    "source",
    "organization",
    "destination",
    "route",
    "notification_id",
    "record_id",
    "since",
    "until",
    "changed_since",
    "changed_until",
    "attempts",
    "status",
    "before",
    "after",
    "limit",
    "live",
];

/// What a query asks, without the values that it may ask for; and whether there are any.
fn without_values(query: &str) -> (String, bool) {
    let mut asked = url::form_urlencoded::Serializer::new(String::new());
    let mut has_values = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let is_value = !PLAIN.contains(&name.as_ref()) && !value.is_empty();
        has_values |= is_value;
        asked.append_pair(&name, if is_value { VEIL } else { &value });
    }
    (asked.finish(), has_values)
}

/// The answer to a caller who would change a view that he may not see: the one of that name asks for values of records.
async fn hidden(admin: &Admin, (list, name): (&str, &str), caller: &Caller) -> Option<HttpResponse> {
    if caller.has(Right::Payload) {
        return None;
    }
    match admin.store.views().await {
        Ok(views) => {
            let known = views.iter().find(|view| view.list == list && view.name == name)?;
            without_values(&known.query).1.then(|| lacking(Right::Payload))
        }
        Err(error) => Some(api::from_store(&error)),
    }
}

/// A view as a caller may see it: none where it asks for values that he may not see.
fn shown(view: SavedView, caller: &Caller) -> Option<SavedView> {
    let is_open = caller.has(Right::Payload) || !without_values(&view.query).1;
    is_open.then_some(view)
}

/// The saved views, by list and name. What asks for values of records is told to those alone who may see them.
#[utoipa::path(get, path = "/api/v1/views", responses((status = 200, body = Vec<SavedView>)))]
pub(super) async fn list(admin: web::Data<Admin>, _: Question<Nothing>, caller: Caller) -> HttpResponse {
    let views = admin.store.views().await;
    api::answer(views.map(|views| views.into_iter().filter_map(|view| shown(view, &caller)).collect::<Vec<_>>()))
}

/// Saves what a list is asked under a name, in place of what had that name before.
#[utoipa::path(post, path = "/api/v1/views", request_body = Wanted, responses((status = 200, body = SavedView)))]
pub(super) async fn save(
    admin: web::Data<Admin>,
    wanted: Body<Wanted>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let mut wanted = wanted.into_inner();
    // As it is copied from the address of a page.
    if let Some(query) = wanted.query.strip_prefix('?') {
        wanted.query = query.to_owned();
    }
    if let Some(fault) = wanted.fault() {
        return api::problem(400, &fault);
    }
    let Wanted { list, name, query, reason, dry_run } = wanted;
    if without_values(&query).1 && !caller.has(Right::Payload) {
        return lacking(Right::Payload);
    }
    if let Some(refusal) = hidden(&admin, (&list, &name), &caller).await {
        return refusal;
    }
    let view = SavedView { list, name, query, by: person.0.clone(), at: admin.clock.now() };
    if dry_run {
        return HttpResponse::Ok().json(view);
    }
    let before = match admin.store.save_view(view.clone()).await {
        Ok(before) => before,
        Err(error) => return api::from_store(&error),
    };
    note(&admin, By::new(person.0, reason), "save", &view, (before.as_ref(), Some(&view))).await;
    HttpResponse::Ok().json(view)
}

/// A view that is to be forgotten.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgottenView)]
pub(super) struct Named {
    /// `deliveries` or `notifications`.
    list: String,
    /// Its name.
    name: String,
    /// It stands in the audit log.
    #[serde(default)]
    reason: String,
    /// Only says what would be forgotten.
    #[serde(default)]
    dry_run: bool,
}

/// Forgets a saved view; answers with what it was.
#[utoipa::path(post, path = "/api/v1/views/forget", request_body = Named, responses((status = 200, body = SavedView)))]
pub(super) async fn forget(
    admin: web::Data<Admin>,
    named: Body<Named>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let Named { list, name, reason, dry_run } = named.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    if let Some(refusal) = hidden(&admin, (&list, &name), &caller).await {
        return refusal;
    }
    let forgotten = if dry_run {
        let missing = || StoreError::NotFound(format!("a saved view {name:?} of {list}"));
        let views = admin.store.views().await;
        views
            .and_then(|views| views.into_iter().find(|view| view.list == list && view.name == name).ok_or_else(missing))
    } else {
        admin.store.forget_view(list, name).await
    };
    if let Ok(view) = &forgotten
        && !dry_run
    {
        note(&admin, By::new(person.0, reason), "forget", view, (Some(view), None)).await;
    }
    api::answer(forgotten)
}

/// What the log says of it is kept in clear for years: the values that records have do not belong there.
async fn note(
    admin: &Admin,
    by: By,
    verb: &str,
    view: &SavedView,
    (was, became): (Option<&SavedView>, Option<&SavedView>),
) {
    let said = |view: Option<&SavedView>| view.map(|view| without_values(&view.query).0).unwrap_or_default();
    let (was, became) = (said(was), said(became));
    let object_id = format!("{}/{}", view.list, view.name);
    let deed = Deed { verb: verb.to_owned(), object: "view", object_id, was, became, ..admin.deed(by, "done") };
    admin.note(deed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_that_a_view_asks_for_are_told_apart_from_what_else_it_asks() {
        let (plain, has_values) = without_values("state=dead&search=&destination=crm");
        assert_eq!((plain.as_str(), has_values), ("state=dead&search=&destination=crm", false));
        let (plain, has_values) = without_values("state=dead&search=Name%3DJane&text=Jane");
        assert!(has_values && plain.starts_with("state=dead&search=") && !plain.contains("Jane"), "{plain}");
        // Whatever is not known to be plain may be a value.
        for odd in ["?search=Name%3DJane", "Search=Jane", "lane=Jane&state=dead"] {
            let (plain, has_values) = without_values(odd);
            assert!(has_values && !plain.contains("Jane"), "{plain}");
        }
    }

    #[test]
    fn a_view_asks_what_its_list_understands() {
        for query in ["", "state=dead&live=1", "search=Name%3DJane&since=yesterday", "text=a%20b&limit=20"] {
            assert_eq!(misunderstood("deliveries", query), None, "{query}");
        }
        assert_eq!(misunderstood("notifications", "kind=unrouted&source=crm"), None);
        for query in
            ["foo=1", "state=zzz", "state=dead&state=held", "state=dead;search=x", "?state=dead", "state=dead#x"]
        {
            assert!(misunderstood("deliveries", query).is_some(), "{query}");
        }
        assert!(misunderstood("notifications", "destination=erp").is_some());
    }
}

//! Lists: notifications, deliveries, dead letters by issue, lanes. Each is the API's list of the same query.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::document::Doc;
use super::{Page, Problem, Shell, asked, page, query_of, read};
use crate::admin::access::Caller;
use crate::admin::question::Question;
use crate::admin::{Admin, api, book, proposal, views};
use crate::clock::Timestamp;
use crate::store::{DeliveryFilter, NotificationFilter};

/// How many rows a page has unless it is said.
const ROWS: &str = "50";
/// What of a query only the page knows.
const OWN: [&str; 1] = ["live"];

/// What of a query are moments.
const MOMENTS: [&str; 4] = ["since", "until", "changed_since", "changed_until"];

/// A query in which the moments of now stand for `12h` or `yesterday`: what is chosen later is what the list showed.
fn with_moments(query: &str, now: Timestamp) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| {
        let read = if name.ends_with("until") { Timestamp::end } else { Timestamp::beginning };
        let moment = MOMENTS.contains(&name.as_ref()).then(|| read(&value, now).ok()).flatten();
        (name.into_owned(), moment.map_or_else(|| value.into_owned(), |moment| moment.to_string()))
    });
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A query as the API takes it.
pub(super) fn parsed<T: DeserializeOwned>(query: &str) -> Result<Question<T>, Problem> {
    Question::of(query).map_err(|reason| Problem::new(StatusCode::BAD_REQUEST, reason))
}

/// What a form of filters offers, and what is asked now.
pub(super) struct Filters {
    /// Each value of the query, for the form to begin with.
    asked: Vec<(String, String)>,
    pub(super) sources: Vec<String>,
    pub(super) destinations: Vec<String>,
    pub(super) routes: Vec<String>,
    /// Whether the list follows what happens.
    pub(super) is_live: bool,
    /// Which list it is, as saved views name it.
    pub(super) list: &'static str,
    /// Its saved views.
    pub(super) views: Vec<View>,
}

/// A saved view as a page offers it.
pub(super) struct View {
    pub(super) name: String,
    pub(super) query: String,
    pub(super) by: String,
    pub(super) at: String,
    /// What forgets it, as the API takes it.
    pub(super) named: String,
}

impl View {
    async fn all(admin: &web::Data<Admin>, caller: &Caller, list: &str) -> Result<Vec<Self>, Problem> {
        let found = read(views::list(admin.clone(), parsed("")?, caller.clone()).await).await?.document;
        let own = Doc::new(&found).list().into_iter().filter(|view| view.at("list").is(list));
        let view = |view: Doc<'_>| Self {
            name: view.at("name").text(),
            query: view.at("query").text(),
            by: view.at("by").text(),
            at: view.at("at").moment(),
            named: json!({"list": list, "name": view.at("name").text()}).to_string(),
        };
        Ok(own.map(view).collect())
    }
}

impl Filters {
    async fn of(
        admin: &web::Data<Admin>,
        request: &HttpRequest,
        caller: &Caller,
        list: &'static str,
    ) -> Result<Self, Problem> {
        let facts = read(book::facts(admin.clone()).await).await?.document;
        let names = |list: &str, key: &str| {
            let all = Doc::new(&facts).at(list).list();
            let mut names: Vec<String> = all.into_iter().map(|one| one.at(key).text()).collect();
            names.sort();
            names
        };
        let asked = url::form_urlencoded::parse(request.query_string().as_bytes());
        let asked: Vec<(String, String)> = asked.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        // What is gone from the configuration may be asked for: deliveries may still wait for it.
        let with_asked = |mut names: Vec<String>, key: &str| {
            let gone = asked.iter().filter(|(name, value)| name == key && !value.is_empty() && !names.contains(value));
            let gone: Vec<String> = gone.map(|(_, value)| value.clone()).collect();
            names.extend(gone);
            names
        };
        Ok(Self {
            sources: with_asked(names("facts.sources", "name"), "source"),
            destinations: with_asked(names("facts.destinations", "name"), "destination"),
            routes: with_asked(names("facts.routes", "route"), "route"),
            asked,
            is_live: request.query_string().contains("live=1"),
            list,
            views: View::all(admin, caller, list).await?,
        })
    }

    /// What is asked of one key.
    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.asked.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Whether a filter is asked for that is not among the first.
    pub(super) fn has_more(&self) -> bool {
        const MORE: [&str; 9] = [
            "notification_id",
            "organization",
            "attempts",
            "search",
            "kept",
            "since",
            "until",
            "changed_since",
            "changed_until",
        ];
        MORE.iter().any(|name| !self.value(name).is_empty())
    }

    /// What is asked for, in words, for who sees the form folded: name, value.
    pub(super) fn said(&self) -> Vec<(String, &str)> {
        const NONE: [&str; 4] = ["live", "limit", "before", "after"];
        let said = self.asked.iter().filter(|(name, value)| !value.trim().is_empty() && !NONE.contains(&name.as_str()));
        said.map(|(name, value)| (name.replace('_', " "), value.as_str())).collect()
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }
}

/// Where the next page is: as the API says, or below the last row of a full page.
fn next_page(path: &str, request: &HttpRequest, rows: &[Doc<'_>], key: &str, next: Option<String>) -> Option<String> {
    let before = match next {
        Some(query) => url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "before")
            .map(|(_, value)| value.into_owned())?,
        None if rows.len() >= ROWS.parse().unwrap_or(usize::MAX) => rows.last()?.at(key).text(),
        None => return None,
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let kept = url::form_urlencoded::parse(request.query_string().as_bytes());
    query.extend_pairs(kept.filter(|(name, value)| name != "before" && name != "live" && !value.is_empty()));
    query.append_pair("before", &before);
    Some(format!("{path}?{}", query.finish()))
}

/// What a change of everything that the list shows chooses by.
fn choice(query: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let kept = pairs.filter(|(name, _)| !["limit", "before", "after", "kept"].contains(&name.as_ref()));
    let choose: serde_json::Map<String, Json> = kept
        .map(|(name, value)| {
            let is_number = ["status", "attempts"].contains(&name.as_ref());
            let number = value.parse::<u64>().ok().filter(|_| is_number);
            (name.into_owned(), number.map_or_else(|| json!(value), |number| json!(number)))
        })
        .collect();
    json!(choose).to_string()
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct Notifications<'a> {
    shell: Shell,
    filters: Filters,
    rows: Vec<Doc<'a>>,
    next: Option<String>,
}

pub(in crate::admin) async fn notifications(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let query = with_moments(&query_of(&request, &OWN, &[("limit", ROWS)]), admin.clock.now());
    let filter = parsed::<NotificationFilter>(&query)?;
    let answer = read(api::notifications(admin.clone(), filter, caller.clone(), request.clone()).await).await?;
    let filters = Filters::of(&admin, &request, &caller, "notifications").await?;
    let rows = Doc::new(&answer.document).list();
    let next = next_page("/notifications", &request, &rows, "row", answer.next);
    page(&Notifications {
        shell: Shell::new(&request, &caller, "/notifications", "Notifications"),
        filters,
        rows,
        next,
    })
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Deliveries<'a> {
    shell: Shell,
    filters: Filters,
    rows: Vec<Doc<'a>>,
    next: Option<String>,
    /// For a change of all that is asked for.
    choose: String,
    /// The verbs that fit the state that is asked for: verb, words, whether it ends a delivery.
    verbs: Vec<(&'static str, &'static str, bool)>,
}

const STATES: [&str; 8] = ["waiting", "blocked", "in_flight", "held", "delivered", "dead", "superseded", "discarded"];

impl Deliveries<'_> {
    /// Whether the caller may do it.
    fn may(&self, verb: &str) -> bool {
        if verb == "replay" { self.shell.may.replay } else { self.shell.may.operate }
    }

    fn states(&self) -> [&'static str; 8] {
        STATES
    }
}

/// What can be done with all that is in a state.
fn verbs(state: &str) -> Vec<(&'static str, &'static str, bool)> {
    let (replay, hold) = (("replay", "Replay", false), ("hold", "Hold", false));
    let (release, discard) = (("release", "Release", false), ("discard", "Discard", true));
    match state {
        "dead" => vec![replay, discard],
        "delivered" | "superseded" => vec![replay],
        "held" => vec![release, discard],
        "waiting" | "blocked" => vec![hold, discard],
        // What is picked by hand may be in any.
        "" => vec![replay, hold, release, discard],
        _ => Vec::new(),
    }
}

pub(in crate::admin) async fn deliveries(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let query = with_moments(&query_of(&request, &OWN, &[("limit", ROWS)]), admin.clock.now());
    let filter = parsed::<DeliveryFilter>(&query)?;
    let answer = read(api::deliveries(admin.clone(), filter, caller.clone(), request.clone()).await).await?;
    let filters = Filters::of(&admin, &request, &caller, "deliveries").await?;
    let rows = Doc::new(&answer.document).list();
    let next = next_page("/deliveries", &request, &rows, "delivery_id", answer.next);
    page(&Deliveries {
        shell: Shell::new(&request, &caller, "/deliveries", "Deliveries"),
        verbs: verbs(filters.value("state")),
        filters,
        rows,
        next,
        choose: choice(&query),
    })
}

#[derive(Template)]
#[template(path = "dead.html")]
struct Dead<'a> {
    shell: Shell,
    issues: Vec<Doc<'a>>,
    destination: String,
    jobs: Vec<Doc<'a>>,
    /// Edits that wait for a second person.
    proposals: Vec<Doc<'a>>,
    /// Whether the caller may decide about them.
    may_decide: bool,
}

pub(in crate::admin) async fn dead(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let issues = read(api::issues(admin.clone(), parsed("")?, caller.clone()).await).await?.document;
    let jobs = read(api::jobs(admin.clone(), parsed("")?).await).await?.document;
    let proposals = read(proposal::list(admin.clone(), parsed("")?, caller.clone()).await).await?.document;
    let waits = |one: &Doc<'_>| one.at("state").is("waiting");
    let proposals: Vec<Doc<'_>> = Doc::new(&proposals).list().into_iter().filter(waits).collect();
    let may_decide = proposal::may_decide(&caller);
    let destination = asked(&request, "destination");
    let shown = |issue: &Doc<'_>| destination.is_empty() || issue.at("destination").is(&destination);
    let shell = Shell::new(&request, &caller, "/dead", "Dead letters");
    let (issues, jobs) = (Doc::new(&issues).list(), Doc::new(&jobs).list());
    page(&Dead {
        shell,
        issues: issues.into_iter().filter(shown).collect(),
        destination: destination.clone(),
        jobs,
        proposals,
        may_decide,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_moment_that_long_ago() {
        let now = Timestamp(7_200_000);
        assert_eq!(with_moments("since=1h&state=dead", now), "since=1970-01-01T01%3A00%3A00.000Z&state=dead");
        assert_eq!(with_moments("until=1970-01-01", now), "until=1970-01-02T00%3A00%3A00.000Z");
        assert_eq!(with_moments("since=h&until=%E2%82%AC&text=1h", now), "since=h&until=%E2%82%AC&text=1h");
    }

    #[test]
    fn what_is_chosen_is_what_the_list_shows() {
        let query = "state=dead&status=401&limit=50&before=9&changed_since=2026-01-01T00%3A00%3A00Z";
        let expected = json!({"state": "dead", "status": 401, "changed_since": "2026-01-01T00:00:00Z"});
        assert_eq!(serde_json::from_str::<Json>(&choice(query)).unwrap(), expected);
    }
}

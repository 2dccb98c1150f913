//! One message, one page: the notification as it came, what the routes make of it, and each delivery with its attempts; and
//! the page of a delivery alone.

use actix_web::{HttpRequest, web};
use askama::Template;
use serde_json::Value as Json;

use super::document::Doc;
use super::lists::parsed;
use super::{Page, Problem, Shell, page, read};
use crate::admin::access::Caller;
use crate::admin::person::Person;
use crate::admin::question::Question;
use crate::admin::{Admin, api, book, keep, masked};
use crate::fields::{self, Difference, Fields};
use crate::masking::HIDDEN;
use crate::pretty;

/// So many deliveries of a message are shown whole; more as links.
const WHOLE_MAX: usize = 20;

/// A delivery as a page shows it.
struct Shown {
    told: Json,
    attempts: Vec<Attempt>,
    /// Target, expression, value in the last call.
    lineage: Vec<(String, String, String)>,
}

impl Shown {
    fn delivery(&self) -> Doc<'_> {
        Doc::new(&self.told).at("delivery")
    }

    fn stands_for(&self) -> Vec<Doc<'_>> {
        Doc::new(&self.told).at("stands_for").list()
    }

    fn id(&self) -> String {
        self.delivery().at("delivery_id").text()
    }
}

/// An attempt as a page shows it.
struct Attempt {
    told: Json,
    request: String,
    response: String,
    /// How its call differs from that of the attempt before.
    changed: Vec<Difference>,
}

impl Attempt {
    fn doc(&self) -> Doc<'_> {
        Doc::new(&self.told)
    }
}

/// Whether something in a document is masked.
fn hides(document: &Json) -> bool {
    document.to_string().contains(HIDDEN)
}

/// What kind of body a text looks like.
fn kind(body: &str) -> &'static str {
    match body.trim_start().as_bytes().first() {
        Some(b'<') => "text/xml",
        Some(b'{' | b'[') => "application/json",
        _ => "text/plain",
    }
}

fn fields_of(body: &str) -> Fields {
    fields::of(kind(body), body).unwrap_or_default()
}

fn attempts_of(told: &Json) -> Vec<Attempt> {
    let list = Doc::new(told).at("attempts").list();
    let mut before: Option<Fields> = None;
    let each = list.into_iter().map(|doc| {
        let (request, response) = (doc.at("request").text(), doc.at("response").text());
        let own = fields_of(&request);
        let changed = before.as_ref().map(|before| fields::differences(before, &own)).unwrap_or_default();
        before = Some(own);
        Attempt {
            told: serde_json::from_str(&doc.json()).unwrap_or_default(),
            request: pretty::body(kind(&request), &request),
            response: pretty::body(kind(&response), &response),
            changed,
        }
    });
    each.collect()
}

/// Which expression made which value of a call.
fn lineage(facts: Doc<'_>, route: &str, attempts: &[Attempt]) -> Vec<(String, String, String)> {
    let routes = facts.at("facts.routes").list();
    let Some(route) = routes.into_iter().find(|known| known.at("route").is(route)) else { return Vec::new() };
    let made = attempts.last().map(|last| fields_of(&last.doc().at("request").text())).unwrap_or_default();
    let row = |pair: Doc<'_>| {
        let parts: Vec<String> = pair.list().into_iter().map(Doc::text).collect();
        let (target, expression) = (parts.first()?.clone(), parts.get(1)?.clone());
        let ending = format!(".{target}");
        let value = made.iter().find(|(path, _)| **path == target || path.ends_with(&ending));
        Some((target, expression, value.map(|(_, value)| value.clone()).unwrap_or_default()))
    };
    route.at("map").list().into_iter().filter_map(row).collect()
}

fn shown(told: Json, facts: Doc<'_>) -> Shown {
    let attempts = attempts_of(&told);
    let route = Doc::new(&told).at("delivery.route").text();
    Shown { lineage: lineage(facts, &route, &attempts), attempts, told }
}

/// Where the record is in Salesforce; only at an address that Salesforce named itself, by https, and of its own domains.
fn in_salesforce(notification: Doc<'_>) -> Option<String> {
    let (url, record) = (notification.at("enterprise_url").text(), notification.at("record_id").text());
    let host = url.strip_prefix("https://")?.split(['/', ':', '?', '#', '@']).next()?.to_owned();
    let own = [".salesforce.com", ".force.com", ".salesforce.mil", ".cloudforce.com", ".sfcrmproducts.cn"];
    let is_host = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let is_id = !record.is_empty() && record.chars().all(|c| c.is_ascii_alphanumeric());
    (is_host && is_id && own.iter().any(|ending| host.ends_with(ending))).then(|| format!("https://{host}/{record}"))
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    shell: Shell,
    found: Doc<'a>,
    /// The newest revision.
    newest: Doc<'a>,
    xml: String,
    /// How each revision differs from the one before: its number, the differences.
    revised: Vec<(String, Vec<Difference>)>,
    whole: Vec<Shown>,
    /// Whether something of it is hidden because its source masks it.
    is_masked: bool,
    history: Vec<Doc<'a>>,
    audit: Vec<Doc<'a>>,
    salesforce: Option<String>,
}

impl<'a> Message<'a> {
    /// Name, type, value of each field.
    fn values(&self) -> Vec<(String, String, Doc<'a>)> {
        let types = self.found.at("record").list();
        let type_of = |name: &str| {
            let pairs = types.iter().map(|pair| pair.list());
            let mut known = pairs.filter(|pair| pair.first().is_some_and(|first| first.is(name)));
            known.next().and_then(|pair| pair.get(1).copied()).unwrap_or_default().text()
        };
        let is_own = |path: &str| !path.contains("{namespace}") && !path.contains('@');
        let entries = self.found.at("values").entries().into_iter();
        entries.filter(|(path, _)| is_own(path)).map(|(path, value)| (path.to_owned(), type_of(path), value)).collect()
    }

    fn is_pruned(&self) -> bool {
        self.xml.is_empty() && !self.newest.at("kind").is("skipped_empty")
    }
}

/// What people did with an object.
async fn audit_of(admin: &web::Data<Admin>, object: &str, id: &str) -> Result<Json, Problem> {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("object", object), ("object_id", id), ("limit", "20")])
        .finish();
    Ok(read(keep::audit(admin.clone(), parsed(&query)?).await).await?.document)
}

/// The latest deliveries of a record.
async fn history_of(
    admin: &web::Data<Admin>,
    request: &HttpRequest,
    caller: &Caller,
    record: &str,
) -> Result<Json, Problem> {
    if record.is_empty() {
        return Ok(Json::Null);
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("record_id", record), ("limit", "30")])
        .finish();
    Ok(read(api::deliveries(admin.clone(), parsed(&query)?, caller.clone(), request.clone()).await).await?.document)
}

pub(in crate::admin) async fn notification(
    admin: web::Data<Admin>,
    request: HttpRequest,
    id: web::Path<String>,
    asked: Question<masked::Asked>,
    caller: Caller,
    person: Person,
) -> Page {
    let is_unmasked = asked.unmask;
    let found = api::notification(admin.clone(), id, asked, caller.clone(), person).await;
    let found = read(found).await?.document;
    let doc = Doc::new(&found);
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let revisions = doc.at("revisions").list();
    let newest = revisions.last().copied().unwrap_or_default();
    let mut whole = Vec::new();
    for one in doc.at("deliveries").list().iter().rev().take(WHOLE_MAX) {
        let id = one.at("delivery_id").number();
        let told = api::told(&admin, crate::delivery::DeliveryId(id), is_unmasked).await;
        let told = read(api::show(&caller, told)).await?.document;
        whole.push(shown(told, Doc::new(&facts)));
    }
    let history = history_of(&admin, &request, &caller, &newest.at("record_id").text()).await?;
    let audit = audit_of(&admin, "notification", &newest.at("notification_id").text()).await?;
    let xml = newest.at("xml").text();
    page(&Message {
        shell: Shell::new(
            &request,
            &caller,
            "/notifications",
            format!("Notification {}", newest.at("notification_id")),
        ),
        found: doc,
        newest,
        xml: pretty::body("text/xml", &xml),
        revised: revised(&revisions),
        is_masked: hides(&found) || whole.iter().any(|one| hides(&one.told)),
        whole,
        history: Doc::new(&history).list(),
        audit: Doc::new(&audit).list(),
        salesforce: in_salesforce(newest),
    })
}

fn revised(revisions: &[Doc<'_>]) -> Vec<(String, Vec<Difference>)> {
    let pairs = revisions.iter().zip(revisions.iter().skip(1));
    let each = pairs.map(|(before, after)| {
        let (before, now) = (fields_of(&before.at("xml").text()), fields_of(&after.at("xml").text()));
        (after.at("revision").text(), fields::differences(&before, &now))
    });
    each.collect()
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct Delivery<'a> {
    shell: Shell,
    shown: Shown,
    is_masked: bool,
    history: Vec<Doc<'a>>,
    audit: Vec<Doc<'a>>,
}

pub(in crate::admin) async fn delivery(
    admin: web::Data<Admin>,
    request: HttpRequest,
    id: web::Path<i64>,
    asked: Question<masked::Asked>,
    caller: Caller,
    person: Person,
) -> Page {
    let number = *id;
    let told = read(api::delivery(admin.clone(), id, asked, caller.clone(), person).await).await?.document;
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let record = Doc::new(&told).at("delivery.record_id").text();
    let history = history_of(&admin, &request, &caller, &record).await?;
    let audit = audit_of(&admin, "delivery", &number.to_string()).await?;
    page(&Delivery {
        shell: Shell::new(&request, &caller, "/deliveries", format!("Delivery {number}")),
        is_masked: hides(&told),
        shown: shown(told, Doc::new(&facts)),
        history: Doc::new(&history).list(),
        audit: Doc::new(&audit).list(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_salesforce_itself_is_linked_to() {
        let link =
            |url: &str, record: &str| in_salesforce(Doc::new(&json!({"enterprise_url": url, "record_id": record})));
        let url = "https://acme.my.salesforce.com/services/Soap/c/61.0/00D";
        assert_eq!(link(url, "006A").as_deref(), Some("https://acme.my.salesforce.com/006A"));
        for (url, record) in [
            ("http://acme.my.salesforce.com/x", "006A"),
            ("https://evil.example/x.salesforce.com", "006A"),
            ("https://a@evil.example/.salesforce.com", "006A"),
            ("https://evilsalesforce.com/", "006A"),
            (url, "../x"),
            (url, ""),
        ] {
            assert_eq!(link(url, record), None, "{url} {record}");
        }
    }

    #[test]
    fn attempts_are_compared_value_by_value_and_calls_with_their_mapping() {
        let told = json!({"delivery": {"route": "r"}, "attempts": [
            {"request": "{\"a\": 1, \"b\": {\"c\": \"x\"}}", "response": ""},
            {"request": "{\"a\": 2, \"b\": {\"c\": \"x\"}}", "response": "<r/>"},
        ]});
        let facts = json!({"facts": {"routes": [{"route": "r", "map": [["b.c", "record.Name"], ["z", "1"]]}]}});
        let shown = shown(told, Doc::new(&facts));
        assert!(shown.attempts[0].changed.is_empty());
        assert_eq!(shown.attempts[1].changed.len(), 1);
        assert_eq!(shown.attempts[1].changed[0].path, "a");
        let row = |row: &(String, String, String)| (row.0.clone(), row.1.clone(), row.2.clone());
        let rows: Vec<_> = shown.lineage.iter().map(row).collect();
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(rows, [text("b.c", "record.Name", "\"x\""), text("z", "1", "")]);
    }
}

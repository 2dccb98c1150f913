//! The configuration that simulated gateways run, and what its routes mean.

use std::fmt::Write as _;

use serde_json::Value;

use super::steps::{Content, Note};

/// The longest wait of the retries below, in milliseconds, before the spread.
pub(crate) const WAIT_MAX_MS: i64 = 30_000;
/// After so many attempts a delivery is dead.
pub(crate) const ATTEMPTS_MAX: u32 = 12;
/// Calls at once of either system.
pub(crate) const CONCURRENCY: usize = 3;

/// What the law knows of a route.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) route: &'static str,
    pub(crate) destination: &'static str,
    pub(crate) system: &'static str,
    pub(crate) stale_by: bool,
    pub(crate) dead_holds: bool,
}

pub(crate) const WAYS: [Way; 3] = [
    Way { route: "all", destination: "create", system: "erp", stale_by: true, dead_holds: false },
    Way { route: "large", destination: "update", system: "erp", stale_by: false, dead_holds: true },
    Way { route: "newest", destination: "put", system: "crm", stale_by: false, dead_holds: false },
];

pub(crate) fn way(route: &str) -> &'static Way {
    WAYS.iter().find(|way| way.route == route).unwrap()
}

/// A configuration that never gives up.
pub(crate) const PATIENT: usize = 2;

/// The first or the second configuration, which differ in what calls look like; or [`PATIENT`].
pub(crate) fn configuration(number: usize) -> String {
    let (patience, breaker) = if number == PATIENT {
        ("max_wait = \"10m\", max_age = \"30d\"".to_owned(), "")
    } else {
        let patience = format!("max_wait = \"30s\", max_attempts = {ATTEMPTS_MAX}");
        (patience, "breaker = { failures = 3, wait = \"2s\", max_wait = \"20s\" }")
    };
    let retry = format!("retry = {{ first = \"200ms\", factor = 2.0, {patience} }}");
    let unknown = if number == PATIENT { "resend" } else { "hold" };
    let headers = format!("headers = {{ \"X-Configuration\" = \"{number}\" }}");
    format!(
        r#"
[store]
url = "sqlite:unused.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "create"
system = "erp"
kind = "rest"
method = "POST"
url = "http://erp.test/create"
timeout = "5s"
concurrency = {CONCURRENCY}
{breaker}
{retry}
{headers}

[[destination]]
name = "update"
system = "erp"
kind = "rest"
method = "PUT"
url = "http://erp.test/update"
timeout = "5s"
{retry}
{headers}

[[destination]]
name = "put"
system = "crm"
kind = "rest"
method = "PUT"
url = "http://crm.test/put"
timeout = "5s"
concurrency = {CONCURRENCY}
rate = "10/s"
burst = 2
unknown = "{unknown}"
{breaker}
{retry}
{headers}

[[route]]
name = "all"
source = "orders"
destination = "create"
stale_by = "LastModifiedDate"

[[route]]
name = "large"
source = "orders"
destination = "update"
when = "record.Amount__c | decimal(0) > 8"
lane = "record.AccountId"
on_dead = "hold"

[[route]]
name = "newest"
source = "orders"
destination = "put"
coalesce = true
"#
    )
}

/// What a version has as its amount; every seventh cannot be read as a number.
fn amount(version: u64) -> String {
    if version % 7 == 3 { "plenty".to_owned() } else { (version * 5 % 20).to_string() }
}

/// Whether every route can read it.
pub(crate) fn is_readable(version: u64) -> bool {
    amount(version).parse::<u64>().is_ok()
}

/// No target ever takes these.
pub(crate) fn is_poison(version: u64) -> bool {
    version % 19 == 7
}

/// The routes that match a content, those whose condition fails included.
pub(crate) fn routes_of(content: Content) -> Vec<&'static str> {
    let Content::Record { version, .. } = content else { return Vec::new() };
    let large = amount(version).parse::<u64>().map_or(true, |amount| amount > 8);
    WAYS.iter().map(|way| way.route).filter(|route| *route != "large" || large).collect()
}

pub(crate) fn notification_id(number: u64) -> String {
    format!("04l24000000{number:04}AAA")
}

/// The envelope that Salesforce posts.
pub(crate) fn envelope(notes: &[Note]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n \
         <soapenv:Body>\n  <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">\n   \
         <OrganizationId>00D24000000abcdEAA</OrganizationId>\n   <ActionId>04k24000000HfHaAAK</ActionId>\n   \
         <SessionId xsi:nil=\"true\"/>\n   <EnterpriseUrl>https://e.test/c/61.0/00D24000000abcd</EnterpriseUrl>\n   \
         <PartnerUrl>https://e.test/u/61.0/00D24000000abcd</PartnerUrl>\n",
    );
    for note in notes {
        let id = notification_id(note.id);
        let _ = match note.content {
            Content::Empty => writeln!(text, "   <Notification><Id>{id}</Id></Notification>"),
            Content::Broken(number) => {
                writeln!(text, "   <Notification><Id></Id><broken>{number}</broken></Notification>")
            }
            Content::Record { record, version } => writeln!(
                text,
                "   <Notification>\n    <Id>{id}</Id>\n    <sObject xsi:type=\"sf:Order__c\" \
                 xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">\n     <sf:Id>006{record:012}AAA</sf:Id>\n     \
                 <sf:AccountId>001{:012}AAA</sf:AccountId>\n     <sf:Amount__c>{}</sf:Amount__c>\n     \
                 <sf:LastModifiedDate>2026-11-19T{:02}:{:02}:{:02}.000Z</sf:LastModifiedDate>\n     \
                 <sf:Version__c>{version}</sf:Version__c>\n    </sObject>\n   </Notification>",
                record % 2,
                amount(version),
                version / 3600,
                version / 60 % 60,
                version % 60,
            ),
        };
    }
    text.push_str("  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>");
    text
}

/// The content of a stored fragment.
pub(crate) fn content_of(xml: &str) -> Content {
    let number = |before: &str, after: char| -> Option<u64> {
        let rest = xml.split_once(before)?.1;
        rest.split_once(after)?.0.parse().ok()
    };
    if let Some(version) = number("Version__c>", '<') {
        let record = xml.split_once("006").and_then(|(_, rest)| rest.get(..12)?.parse().ok()).unwrap();
        return Content::Record { record, version };
    }
    number("broken>", '<').map_or(Content::Empty, Content::Broken)
}

/// What a call carries: the notification's id and the record's version.
pub(crate) fn carried(body: &[u8]) -> (String, u64, u64) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let version = body["record"]["Version__c"].as_str().unwrap().parse().unwrap();
    let record = body["record"]["Id"].as_str().unwrap()[3..15].parse().unwrap();
    (body["notification_id"].as_str().unwrap().to_owned(), record, version)
}

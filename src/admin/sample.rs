//! `POST /api/v1/sources/{name}/sample`: a made-up message of a source, taken as if Salesforce had posted it, so that a new
//! flow can be seen to work from end to end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::admin::access::Caller;
use crate::admin::aside::{self, Aside};
use crate::admin::body::{Because, Body};
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::{Admin, api};
use crate::clock::Timestamp;
use crate::facts::SourceFacts;
use crate::store::By;

/// Takes an envelope for a source as if it had been posted; or why it was not acknowledged.
pub type Take = Box<dyn Fn(String, String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Takes a made-up message of a source, as if it had been posted.
#[utoipa::path(
    post,
    path = "/api/v1/sources/{name}/sample",
    params(("name" = String, Path)),
    request_body = Because,
    responses((status = 200, body = answers::Sample))
)]
pub(super) async fn sample(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    because: Body<Because>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let Because { reason, dry_run } = because.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    let facts = std::sync::Arc::clone(&admin.keep.terms.load().facts);
    let Some(source) = facts.sources.iter().find(|source| source.name == *name) else {
        return api::problem(404, &format!("the configuration in force has no source {name:?}"));
    };
    let now = admin.clock.now();
    let notification_id = format!("04lSAMPLE{:09}", now.0.rem_euclid(1_000_000_000));
    let own = facts.routes.iter().find(|route| route.summary.source == source.name);
    let wanted = own.map(|route| wanted(&route.summary.when)).unwrap_or_default();
    let envelope = envelope(source, &notification_id, now, &wanted);
    let answer = |aside| json!({"notification_id": notification_id, "envelope": envelope, "aside": aside});
    if dry_run {
        return HttpResponse::Ok().json(answer(None));
    }
    let taken = (admin.take)(name.clone(), envelope.clone()).await;
    let result = taken.as_ref().err().map_or_else(|| "taken".to_owned(), |why| format!("not taken: {why}"));
    admin.audit(By::new(person.0, reason), "sample", ("source", &name), 1, &result).await;
    match taken {
        Ok(()) => HttpResponse::Ok().json(answer(aside(&admin, &notification_id, &caller).await)),
        Err(why) => api::problem(409, &format!("the sample was not acknowledged: {why}")),
    }
}

/// Why the sample, or something of it, goes nowhere. One that cannot be read now is found by its id.
async fn aside(admin: &Admin, notification_id: &str, caller: &Caller) -> Option<Aside> {
    let newest = admin.store.notification(notification_id.to_owned()).await.ok()?.pop()?;
    let aside = aside::of_row(admin, newest.notification.row).await.ok()??;
    Some(aside.seen_by(caller))
}

/// What a condition wants fields to hold, as far as it says so plainly: `record.StageName == 'Closed Won'`.
fn wanted(when: &str) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    for part in when.split("record.").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let quoted = rest.trim_start().strip_prefix("==").map(str::trim_start);
        let value = quoted.and_then(|quoted| {
            let quote = quoted.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
            quoted.get(1..)?.split_once(quote).map(|(value, _)| value)
        });
        // What would have to be written otherwise in XML is left to chance.
        if let Some(value) = value.filter(|value| !value.contains(['&', '<', '>', '\\'])) {
            wanted.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    wanted
}

/// An envelope with one record in which every declared field has a value that is wanted of it, or a made-up one that fits its
/// type.
fn envelope(source: &SourceFacts, notification_id: &str, now: Timestamp, wanted: &BTreeMap<String, String>) -> String {
    let first = |ids: &Option<Vec<String>>, usual: &str| {
        let named = ids.as_ref().and_then(|ids| ids.first());
        named.filter(|id| *id != "*").cloned().unwrap_or_else(|| usual.to_owned())
    };
    let organization = first(&source.organizations, "00D000000000001AAA");
    let action = first(&source.actions, "04k000000000001AAA");
    let (record_type, fields) = match source.records.first() {
        Some(record) => (record.name.as_str(), record.fields.as_slice()),
        None => ("Account", &[][..]),
    };
    let mut elements = String::from("<sf:Id>006000000000001AAA</sf:Id>");
    for (name, kind) in fields.iter().filter(|(name, _)| name != "Id") {
        // Writing to a String cannot fail.
        let text = wanted.get(name).filter(|_| kind == "string").cloned().unwrap_or_else(|| value(name, kind, now));
        let _ = write!(elements, "<sf:{name}>{text}</sf:{name}>");
    }
    if fields.is_empty() {
        let usual = ("Name".to_owned(), "Sample".to_owned());
        let more = wanted.iter().filter(|(name, _)| *name != "Name" && *name != "Id");
        let name = wanted.get_key_value("Name").unwrap_or((&usual.0, &usual.1));
        for (name, text) in [name].into_iter().chain(more) {
            let _ = write!(elements, "<sf:{name}>{text}</sf:{name}>");
        }
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <soapenv:Body><notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">\
         <OrganizationId>{organization}</OrganizationId><ActionId>{action}</ActionId><SessionId xsi:nil=\"true\"/>\
         <EnterpriseUrl>https://sample.my.salesforce.com/services/Soap/c/61.0/{organization}</EnterpriseUrl>\
         <PartnerUrl>https://sample.my.salesforce.com/services/Soap/u/61.0/{organization}</PartnerUrl>\
         <Notification><Id>{notification_id}</Id>\
         <sObject xsi:type=\"sf:{record_type}\" xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">{elements}</sObject>\
         </Notification></notifications></soapenv:Body></soapenv:Envelope>\n"
    )
}

/// A value that fits a declared type.
fn value(name: &str, kind: &str, now: Timestamp) -> String {
    let moment = now.to_string();
    match kind {
        "ID" => "001000000000001AAA".to_owned(),
        "boolean" => "true".to_owned(),
        "double" => "12.5".to_owned(),
        "date" => moment.split('T').next().unwrap_or_default().to_owned(),
        "dateTime" => moment,
        "time" => "12:00:00.000Z".to_owned(),
        "base64Binary" => "c2FtcGxl".to_owned(),
        kind if kind.contains("int") || kind.contains("long") || kind.contains("short") || kind.contains("byte") => {
            "1".to_owned()
        }
        _ => format!("Sample {name}"),
    }
}

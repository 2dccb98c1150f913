//! `GET /api/v1/find`: what there is of a text that a person has in hand, whatever it may be: the number of a delivery, an id
//! of Salesforce, or what a field holds.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::api::{Explained, explained, from_store, problem, show};
use crate::admin::aside::{self, Aside};
use crate::admin::question::Question;
use crate::admin::{Admin, lists, masked, names};
use crate::delivery::DeliveryId;
use crate::envelope::{mistyped, whole_id};
use crate::facts::SourceFacts;
use crate::store::{Absence, DeliveryFilter, NotificationFilter, NotificationView, StoreError, StoreResult};

/// The longest text that is looked for, in characters.
const TEXT_MAX: usize = 300;
/// How many of each kind are answered unless it is said, and at the most.
const LIMIT: u32 = 10;
const LIMIT_MAX: u32 = 50;
/// So many times are named of which the store knows nothing.
const TIMES_MAX: usize = 3;
/// In so many fields a text is looked for at the most.
const FIELDS_MAX: usize = 16;
/// How Salesforce begins the ids of notifications.
const NOTIFICATIONS_BEGIN: &str = "04l";
/// How Salesforce begins the ids of organizations.
const ORGANIZATIONS_BEGIN: &str = "00D";

/// What is looked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The text: a delivery's number, an id of Salesforce with 15 or 18 characters, `Name=ACME-4711`, or a value that a field
    /// named in `search` holds; with `*` at its end all that begin so.
    #[param(min_length = 1, max_length = 300)]
    q: String,
    /// At most so many notifications and deliveries of each kind (default 10, at most 50).
    #[param(minimum = 1, maximum = 50)]
    limit: Option<u32>,
}

/// What was found.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Answer {
    /// In what it was looked for, in words.
    looked_in: Vec<String>,
    /// Where something was found.
    found: Vec<Found>,
    /// What may be wrong with the text, where nothing was found.
    hint: Option<String>,
    /// When something may have come of which the store knows nothing, where nothing was found.
    gone: Option<String>,
}

/// What was found by one understanding of the text.
#[derive(Serialize, utoipa::ToSchema)]
struct Found {
    /// What the text was taken for, in words.
    by: String,
    /// The filter of the lists of notifications and deliveries that finds all of it; none for a delivery's number.
    filter: Option<Filter>,
    /// The newest notifications.
    notifications: Vec<Placed>,
    /// The newest deliveries.
    deliveries: Vec<Explained>,
    /// Whether there are more than these.
    is_more: bool,
}

/// A notification, and why it, or something of it, goes nowhere.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NotificationFound)]
struct Placed {
    #[serde(flatten)]
    notification: NotificationView,
    /// Why it was set aside, or which routes do not take it; none where every route of its source takes it.
    aside: Option<Aside>,
}

/// A filter of lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Filter {
    name: Key,
    value: String,
}

/// By what lists are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Key {
    NotificationId,
    Organization,
    RecordId,
    Search,
}

/// What a text may be.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    by: String,
    filter: Option<Filter>,
    delivery: Option<DeliveryId>,
}

impl Way {
    fn filter(by: impl Into<String>, name: Key, value: impl Into<String>) -> Self {
        Self { by: by.into(), filter: Some(Filter { name, value: value.into() }), delivery: None }
    }
}

/// All that a text may be, the surest first. The fields are those that sources name in `search`.
fn ways(text: &str, fields: &BTreeSet<String>) -> Vec<Way> {
    let mut ways = Vec::new();
    if let Ok(id) = text.parse::<i64>() {
        let delivery = Some(DeliveryId(id)).filter(|_| id > 0);
        ways.extend(delivery.map(|id| Way { by: "a delivery's number".to_owned(), filter: None, delivery: Some(id) }));
    }
    if let Some(id) = whole_id(text) {
        ways.push(match id.get(..3) {
            Some(NOTIFICATIONS_BEGIN) => Way::filter("a notification's id", Key::NotificationId, id),
            Some(ORGANIZATIONS_BEGIN) => Way::filter("an organization's id", Key::Organization, id),
            _ => Way::filter("a record's id", Key::RecordId, id),
        });
    }
    let named = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
    if let Some((name, value)) = named.filter(|(name, _)| fields.contains(*name)) {
        ways.push(Way::filter(format!("what {name} holds"), Key::Search, format!("{name}={value}")));
        return ways;
    }
    let each = fields.iter().take(FIELDS_MAX);
    ways.extend(each.map(|name| Way::filter(format!("what {name} holds"), Key::Search, format!("{name}={text}"))));
    ways
}

/// What there is of a text.
#[utoipa::path(get, path = "/api/v1/find", params(Asked), responses((status = 200, body = Answer)))]
pub(super) async fn find(admin: web::Data<Admin>, asked: Question<Asked>, caller: Caller) -> HttpResponse {
    let text = asked.q.trim();
    if text.is_empty() || text.chars().count() > TEXT_MAX {
        return problem(400, &format!("q is what is looked for: 1 to {TEXT_MAX} characters"));
    }
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return problem(400, &format!("limit is {limit}: ask for 1 to {LIMIT_MAX}"));
    }
    let ways = ways(text, &fields(&admin, &caller));
    match answer(&admin, &caller, ways, limit).await {
        Ok(answer) if answer.found.is_empty() => match admin.store.absences().await {
            Ok(absences) => {
                let (hint, gone) = (hint(&admin, &caller, text), gone(&absences));
                HttpResponse::Ok().json(Answer { hint, gone, ..answer })
            }
            Err(error) => from_store(&error),
        },
        Ok(answer) => show(&caller, Ok(answer)),
        Err(error) => from_store(&error),
    }
}

/// The fields in which the caller may look: whoever may look for values learns them.
fn fields(admin: &Admin, caller: &Caller) -> BTreeSet<String> {
    if !caller.has(Right::Payload) {
        return BTreeSet::new();
    }
    let terms = admin.keep.terms.load_full();
    terms.facts.sources.iter().flat_map(|source| source.search.iter().cloned()).collect()
}

/// What may be wrong with a text that is nowhere.
fn hint(admin: &Admin, caller: &Caller, text: &str) -> Option<String> {
    if let Some(wrong) = mistyped(text) {
        return Some(wrong);
    }
    if !caller.has(Right::Payload) {
        return Some("what fields hold is looked through only for those who have the right `payload`".to_owned());
    }
    if let Some(searched) = names::not_searched(admin, text).filter(|_| text.contains('=')) {
        return Some(searched);
    }
    let terms = admin.keep.terms.load_full();
    let silent: Vec<String> = terms.facts.sources.iter().filter_map(SourceFacts::wants_search).collect();
    let rule = "capitals count, and a field is searched in what came since its source names it in `search`";
    Some(if silent.is_empty() { rule.to_owned() } else { format!("{rule}; {}", silent.join("; ")) })
}

/// When something may have come that a copy of the store does not know, which was put back since; the latest of such times.
fn gone(absences: &[Absence]) -> Option<String> {
    let of = |absence: &Absence| format!("between {} and {}", absence.since.spoken(), absence.until.spoken());
    let times: Vec<String> = absences.iter().filter(|absence| absence.restored).take(TIMES_MAX).map(of).collect();
    let times = times.join(", or ");
    (!times.is_empty()).then(|| format!("{times}: of that the store knows nothing, for a copy of it was put back then"))
}

async fn answer(admin: &Admin, caller: &Caller, ways: Vec<Way>, limit: u32) -> StoreResult<Answer> {
    let looked_in = ways.iter().map(|way| way.by.clone()).collect();
    let mut found = Vec::new();
    for way in ways {
        let one = one(admin, caller, way, limit).await?;
        found.extend(Some(one).filter(|one| !one.notifications.is_empty() || !one.deliveries.is_empty()));
    }
    Ok(Answer { looked_in, found, hint: None, gone: None })
}

async fn one(admin: &Admin, caller: &Caller, way: Way, limit: u32) -> StoreResult<Found> {
    let Some(filter) = way.filter else {
        let deliveries = numbered(admin, way.delivery).await?;
        return Ok(Found { by: way.by, filter: None, notifications: Vec::new(), deliveries, is_more: false });
    };
    let notifications = lists::notifications(admin, caller, of_notifications(&filter, limit)).await?;
    let deliveries = lists::deliveries(admin, caller, of_deliveries(&filter, limit)).await?;
    let is_more = notifications.next.is_some() || deliveries.next.is_some();
    let deliveries = explained(admin, deliveries.rows).await?;
    let mut placed = Vec::new();
    for notification in notifications.rows {
        let aside = aside::of_row(admin, notification.notification.row).await?;
        placed.push(Placed { notification, aside });
    }
    Ok(Found { by: way.by, filter: Some(filter), notifications: placed, deliveries, is_more })
}

/// The delivery of a number, if there is one.
async fn numbered(admin: &Admin, id: Option<DeliveryId>) -> StoreResult<Vec<Explained>> {
    let Some(id) = id else { return Ok(Vec::new()) };
    let mut view = match admin.store.delivery(id).await {
        Ok((view, _)) => view,
        Err(StoreError::NotFound(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    masked::deliveries(admin, std::slice::from_mut(&mut view)).await?;
    explained(admin, vec![view]).await
}

impl Filter {
    /// Writes its value to where a list's filter keeps it: by id of notification, organization, id of record, or field.
    fn put(&self, [notification_id, organization, record_id, search]: [&mut Option<String>; 4]) {
        let place = match self.name {
            Key::NotificationId => notification_id,
            Key::Organization => organization,
            Key::RecordId => record_id,
            Key::Search => search,
        };
        *place = Some(self.value.clone());
    }
}

fn of_notifications(filter: &Filter, limit: u32) -> NotificationFilter {
    let mut asked = NotificationFilter { limit: Some(limit), ..NotificationFilter::default() };
    filter.put([&mut asked.notification_id, &mut asked.organization, &mut asked.record_id, &mut asked.search]);
    asked
}

fn of_deliveries(filter: &Filter, limit: u32) -> DeliveryFilter {
    let mut asked = DeliveryFilter { limit: Some(limit), ..DeliveryFilter::default() };
    filter.put([&mut asked.notification_id, &mut asked.organization, &mut asked.record_id, &mut asked.search]);
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> BTreeSet<String> {
        ["Name", "Number__c"].map(str::to_owned).into()
    }

    #[test]
    fn a_text_is_taken_for_all_that_it_may_be() {
        for (text, expected) in [
            ("4711", &["a delivery's number", "what Name holds", "what Number__c holds"][..]),
            ("006240000000001", &["a delivery's number", "a record's id", "what Name holds", "what Number__c holds"]),
            ("04l24000000abcdEAA", &["a notification's id", "what Name holds", "what Number__c holds"]),
            ("00D24000000abcd", &["an organization's id", "what Name holds", "what Number__c holds"]),
            ("Name = ACME", &["what Name holds"]),
            ("Nmae=ACME", &["what Name holds", "what Number__c holds"]),
            ("-4", &["what Name holds", "what Number__c holds"]),
        ] {
            let by: Vec<String> = ways(text, &fields()).into_iter().map(|way| way.by).collect();
            assert_eq!(by, expected, "{text}");
        }
        assert_eq!(ways("ACME", &BTreeSet::new()), []);
    }

    #[test]
    fn what_is_named_is_asked_for_as_lists_take_it() {
        let filters = |text: &str| ways(text, &fields()).into_iter().filter_map(|way| way.filter).collect::<Vec<_>>();
        let one = |name: Key, value: &str| Filter { name, value: value.to_owned() };
        assert_eq!(filters("Name =  ACME*"), [one(Key::Search, "Name=ACME*")]);
        assert_eq!(filters("00D24000000abCd").first(), Some(&one(Key::Organization, "00D24000000abCdEAI")));
    }
}

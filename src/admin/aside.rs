//! Why a notification was set aside, or a route did not take it, in words: the same in the API, on the pages and in the command
//! line.

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::admin::access::Caller;
use crate::admin::{Admin, lists, masked};
use crate::store::{NotificationView, StoreError, StoreResult};

/// Why something of a notification goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Aside)]
pub(super) struct Aside {
    /// Why.
    text: String,
    /// What to do; empty where nothing need be done.
    advice: String,
}

impl Aside {
    /// As a caller may read it.
    pub(super) fn seen_by(self, caller: &Caller) -> Self {
        Self { text: lists::as_seen(caller, &self.text), ..self }
    }
}

/// What the configuration in force makes of a notification: its typed fields, drift, and each route's answer.
pub(super) fn considered(admin: &Admin, view: &NotificationView) -> Json {
    match (admin.consider)(&view.notification) {
        Ok(considered) => json!({"record": considered.fields, "drift": considered.drift, "routes": considered.routes}),
        Err(reason) => json!({"unconsidered": reason}),
    }
}

/// Why the content of a row goes nowhere, or not along each route, less what is masked; none where every route takes it.
pub(super) async fn of_row(admin: &Admin, row: i64) -> StoreResult<Option<Aside>> {
    let mut revisions = match admin.store.notification(row.to_string()).await {
        Ok(revisions) => revisions,
        // It was pruned meanwhile.
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    revisions.retain(|view| view.notification.row == row);
    let Some(considered) = revisions.last().map(|view| considered(admin, view)) else { return Ok(None) };
    let considered = masked::considered(admin, &revisions, considered);
    masked::notifications(admin, &mut revisions).await?;
    Ok(revisions.last().and_then(|view| of(view, &considered)))
}

/// The same of what was read and masked already.
pub(super) fn of(view: &NotificationView, considered: &Json) -> Option<Aside> {
    let source = &view.notification.source;
    let reason = view.reason.as_deref().unwrap_or("the reason was not kept");
    let (text, advice) = match view.kind.as_str() {
        "unrouted" => unrouted(source, considered),
        "unreadable" => (
            format!("it could not be read, so nothing of it is delivered: {reason}"),
            "it is kept as it came: have it mended where it is made, and sent again from Salesforce".to_owned(),
        ),
        "quarantined" => (
            format!("it waits in quarantine: {reason}"),
            format!(
                "if its organization is one of yours: `omgate sources adopt {source} --organization {} --reason WHY`",
                view.notification.organization_id
            ),
        ),
        "skipped_empty" => skipped(source, considered),
        _ => (passed(considered)?, String::new()),
    };
    Some(Aside { text, advice })
}

fn unrouted(source: &str, considered: &Json) -> (String, String) {
    let again = format!("`omgate notifications reroute --source {source} --reason WHY` asks the routes again");
    match taking(considered) {
        Some(now) => (format!("no route took it when it came; {now}"), again),
        None => (untaken(source, considered), format!("once one does: {again}")),
    }
}

fn skipped(source: &str, considered: &Json) -> (String, String) {
    match taking(considered) {
        Some(now) => (
            format!("it came without a record, and no route took it when it came; {now}"),
            "what was skipped stays so; what comes without a record from now on goes as the routes say now".to_owned(),
        ),
        None => (format!("it came without a record: {}", untaken(source, considered)), String::new()),
    }
}

/// Which routes would take it now; none where none would.
fn taking(considered: &Json) -> Option<String> {
    let taking: Vec<&str> = routes(considered, true).filter_map(|route| route.get("name")?.as_str()).collect();
    (!taking.is_empty()).then(|| format!("now it would go along {}", taking.join(", ")))
}

fn untaken(source: &str, considered: &Json) -> String {
    let why = passed(considered).unwrap_or_else(|| format!("source {source} has none"));
    format!("no route takes it: {why}")
}

/// Each route that does not take it, and why; none where there is none.
fn passed(considered: &Json) -> Option<String> {
    let told = |route: &Json| {
        let text = |key: &str| route.get(key).and_then(Json::as_str).unwrap_or_default();
        format!("route {} to {} does not take it ({})", text("name"), text("destination"), text("because"))
    };
    let all: Vec<String> = routes(considered, false).map(told).collect();
    let unknown = considered.get("unconsidered").and_then(Json::as_str);
    match (all.is_empty(), unknown) {
        (false, _) => Some(all.join("; ")),
        (true, Some(reason)) => Some(format!("what routes make of it cannot be said: {reason}")),
        (true, None) => None,
    }
}

fn routes(considered: &Json, that_take_it: bool) -> impl Iterator<Item = &Json> {
    let routes = considered.get("routes").and_then(Json::as_array).into_iter().flatten();
    routes.filter(move |route| route.get("matches").and_then(Json::as_bool) == Some(that_take_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_do_not_take_it_are_told_with_why() {
        let route = |name: &str, matches: bool| json!({"name": name, "destination": "erp", "matches": matches, "because": "when is false"});
        let none = json!({"routes": [route("a", false), route("b", false)]});
        let (told, advice) = unrouted("crm", &none);
        assert!(
            told.starts_with("no route takes it: route a to erp does not take it (when is false); route b to"),
            "{told}"
        );
        assert!(
            advice.starts_with("once one does: `omgate notifications reroute --source crm --reason WHY`"),
            "{advice}"
        );
        let now = json!({"routes": [route("a", false), route("b", true)]});
        assert_eq!(unrouted("crm", &now).0, "no route took it when it came; now it would go along b");
        assert_eq!(unrouted("crm", &json!({"routes": []})).0, "no route takes it: source crm has none");
        assert_eq!(passed(&json!({"routes": [route("b", true)]})), None);
        let (told, advice) = skipped("crm", &json!({"routes": [route("b", true)]}));
        assert!(told.ends_with("no route took it when it came; now it would go along b"), "{told}");
        assert!(advice.starts_with("what was skipped stays so"), "{advice}");
        let (told, advice) = skipped("crm", &none);
        assert!(told.starts_with("it came without a record: no route takes it: route a to erp") && advice.is_empty());
        let unknown = passed(&json!({"unconsidered": "its record was taken out"})).unwrap();
        assert!(unknown.ends_with("cannot be said: its record was taken out"), "{unknown}");
    }
}

//! What each address of the admin listener needs of whoever asks for it: the one table that decides it.

use std::collections::BTreeSet;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde_json::Value as Json;

use crate::account::{Right, Rights};
use crate::admin::api;
use crate::issue;

/// What an address needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it says no more than anybody may know.
    Nothing,
    /// A right.
    Right(Right),
}

const OPEN: Need = Need::Nothing;
const VIEW: Need = Need::Right(Right::View);
const PAYLOAD: Need = Need::Right(Right::Payload);
const REPLAY: Need = Need::Right(Right::Replay);
const EDIT: Need = Need::Right(Right::Edit);
const OPERATE: Need = Need::Right(Right::Operate);
const ADMINISTER: Need = Need::Right(Right::Administer);

/// Every address that is served: method, path, need. `{…}` stands for one segment, `{verb}` for one that is no number. Of
/// the rows that fit a path, the first of those counts that say most of it. What is not here is not there.
///
/// Whoever lacks the right `payload` sees these without what records hold; edited content needs `edit` besides.
pub const ADDRESSES: &[(&str, &str, Need)] = &[
    ("GET", "/", VIEW),
    ("GET", "/assets/{digest}/{name}", OPEN),
    ("GET", "/notifications", VIEW),
    ("GET", "/notifications/{id}", VIEW),
    ("GET", "/deliveries", VIEW),
    ("GET", "/deliveries/{id}", VIEW),
    ("GET", "/deliveries/{id}/edit", VIEW),
    ("GET", "/find", VIEW),
    ("GET", "/workbench", VIEW),
    ("GET", "/start", VIEW),
    ("GET", "/start/flow.toml", VIEW),
    ("GET", "/dead", VIEW),
    ("GET", "/lanes", VIEW),
    ("GET", "/destinations", VIEW),
    ("GET", "/destinations/{name}", VIEW),
    ("GET", "/sources", VIEW),
    ("GET", "/sources/{name}", VIEW),
    ("GET", "/refused", VIEW),
    ("GET", "/ledger", VIEW),
    ("GET", "/audit", VIEW),
    ("GET", "/configuration", VIEW),
    ("GET", "/configuration/what-if", VIEW),
    ("GET", "/login", OPEN),
    ("POST", "/login", OPEN),
    ("GET", "/login/oidc", OPEN),
    ("GET", "/login/oidc/back", OPEN),
    ("POST", "/logout", OPEN),
    ("GET", "/livez", OPEN),
    ("GET", "/readyz", OPEN),
    ("GET", "/metrics", VIEW),
    ("GET", "/api/v1/openapi.json", VIEW),
    ("GET", "/api/v1/ledger", VIEW),
    ("GET", "/api/v1/ledger/day", VIEW),
    ("GET", "/api/v1/ledger/days", VIEW),
    ("GET", "/api/v1/series", VIEW),
    ("GET", "/api/v1/status", VIEW),
    ("GET", "/api/v1/config", VIEW),
    ("GET", "/api/v1/config/facts", VIEW),
    ("GET", "/api/v1/config/what-if", VIEW),
    ("POST", "/api/v1/preview", PAYLOAD),
    ("POST", "/api/v1/reload", ADMINISTER),
    ("GET", "/api/v1/sources", VIEW),
    ("GET", "/api/v1/sources/{name}", VIEW),
    ("GET", "/api/v1/destinations", VIEW),
    ("GET", "/api/v1/destinations/{name}", VIEW),
    ("GET", "/api/v1/find", VIEW),
    ("GET", "/api/v1/notifications", VIEW),
    ("POST", "/api/v1/notifications/reroute", OPERATE),
    ("POST", "/api/v1/sources/{name}/adopt", OPERATE),
    ("POST", "/api/v1/sources/{name}/sample", OPERATE),
    ("POST", "/api/v1/destinations/{name}/test", OPERATE),
    ("GET", "/api/v1/notifications/{id}", VIEW),
    ("GET", "/api/v1/deliveries", VIEW),
    ("GET", "/api/v1/deliveries/{id}", VIEW),
    ("POST", "/api/v1/deliveries/replay", REPLAY),
    ("POST", "/api/v1/deliveries/{verb}", OPERATE),
    ("POST", "/api/v1/deliveries/{id}/replay", REPLAY),
    ("POST", "/api/v1/deliveries/{id}/{verb}", OPERATE),
    ("GET", "/api/v1/lanes", VIEW),
    ("GET", "/api/v1/lanes/{system}/{lane}", VIEW),
    ("GET", "/api/v1/proposals", VIEW),
    ("GET", "/api/v1/proposals/{id}", VIEW),
    ("POST", "/api/v1/proposals/{id}/{verb}", EDIT),
    ("GET", "/api/v1/dead", VIEW),
    ("GET", "/api/v1/issues", VIEW),
    ("GET", "/api/v1/jobs", VIEW),
    ("GET", "/api/v1/jobs/{id}", VIEW),
    ("POST", "/api/v1/jobs/{id}/{verb}", OPERATE),
    ("GET", "/api/v1/systems", VIEW),
    ("POST", "/api/v1/systems/{name}/{verb}", OPERATE),
    ("GET", "/api/v1/alarms", VIEW),
    ("POST", "/api/v1/alarms/test", OPERATE),
    ("GET", "/api/v1/refused", VIEW),
    ("GET", "/api/v1/gaps", VIEW),
    ("GET", "/api/v1/absences", VIEW),
    ("POST", "/api/v1/absences/{id}/acknowledge", OPERATE),
    ("POST", "/api/v1/ledger/day/{day}/acknowledge", OPERATE),
    ("GET", "/api/v1/audit", VIEW),
    ("GET", "/api/v1/audit/chain", VIEW),
    ("GET", "/api/v1/tokens", ADMINISTER),
    ("POST", "/api/v1/tokens", ADMINISTER),
    ("POST", "/api/v1/tokens/{id}/revoke", ADMINISTER),
    ("GET", "/api/v1/views", VIEW),
    ("POST", "/api/v1/views", OPERATE),
    ("POST", "/api/v1/views/forget", OPERATE),
    ("GET", "/api/v1/store/verify", VIEW),
    ("POST", "/api/v1/store/prune", ADMINISTER),
    ("GET", "/api/v1/store/backup", VIEW),
    ("POST", "/api/v1/store/backup", ADMINISTER),
    ("GET", "/api/v1/store/rekey", VIEW),
    ("POST", "/api/v1/store/rekey", ADMINISTER),
    ("GET", "/api/v1/store/move", VIEW),
    ("POST", "/api/v1/store/move", ADMINISTER),
    ("POST", "/api/v1/store/move/give-up", ADMINISTER),
];

/// What a request needs; none when there is nothing at its address.
#[must_use]
pub fn need(method: &str, path: &str) -> Option<Need> {
    rows(path).find(|(known, ..)| *known == method).map(|(_, _, need)| *need)
}

/// The method and the pattern of the row that counts for a request; none when there is nothing at its address.
pub(super) fn pattern(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    rows(path).find(|(known, ..)| *known == method).map(|(method, pattern, _)| (*method, *pattern))
}

/// The methods that an address knows, as `Allow` has them; empty when there is nothing at it.
pub(super) fn methods(path: &str) -> String {
    let known: BTreeSet<&str> = rows(path).map(|(method, ..)| *method).collect();
    known.into_iter().collect::<Vec<_>>().join(", ")
}

/// What an address belongs to, as the scope of a token names it: its first part, behind that of the API.
pub(super) fn area(path: &str) -> &str {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// All that the scope of a token may name.
pub(super) fn areas() -> BTreeSet<&'static str> {
    let needing = ADDRESSES.iter().filter(|(_, path, need)| *need != Need::Nothing && *path != "/");
    needing.map(|(_, path, _)| area(path)).collect()
}

/// The rows of a path: those that fit it and say most of it.
fn rows(path: &str) -> impl Iterator<Item = &'static (&'static str, &'static str, Need)> {
    let most = ADDRESSES.iter().filter_map(|(_, pattern, _)| said(pattern, path)).max();
    ADDRESSES.iter().filter(move |(_, pattern, _)| most.is_some() && said(pattern, path) == most)
}

/// How many segments of a path a pattern says in so many words; none when it does not fit.
fn said(pattern: &str, path: &str) -> Option<usize> {
    let (mut known, mut asked, mut words) = (pattern.split('/'), path.split('/'), 0);
    loop {
        match (known.next(), asked.next()) {
            (None, None) => return Some(words),
            (Some(known), Some(asked)) if known == asked => words += 1,
            (Some("{verb}"), Some(asked)) if is_verb(asked) => words += 1,
            (Some("{verb}"), Some(asked)) if asked.is_empty() || asked.parse::<i64>().is_ok() => return None,
            (Some(known), Some(asked)) if known.starts_with('{') && !asked.is_empty() => {}
            _ => return None,
        }
    }
}

fn is_verb(word: &str) -> bool {
    let verbs = [&api::DELIVERY_VERBS[..], &api::JOB_VERBS, &api::SYSTEM_VERBS];
    verbs.iter().any(|known| known.contains(&word))
}

/// Who asks, and what they may.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub(super) who: Who,
    pub(super) rights: Rights,
    /// Of a session: what its forms must bring along.
    pub(super) form: Option<String>,
    /// Of a token: what it is for; empty: everything.
    pub(super) scope: Vec<String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// It is not known, and was not asked.
    #[default]
    Nobody,
    /// Somebody on this machine, where no accounts are configured.
    Machine,
    /// A person who logged in.
    Account(String),
    /// A person for whom a provider of logins vouches.
    Person(String),
    /// Whoever has a token, by its name.
    Token(String),
}

impl Caller {
    pub(super) fn machine() -> Self {
        Self { who: Who::Machine, rights: Rights::ALL, ..Self::default() }
    }

    /// Whether an area is within its scope.
    pub(super) fn reaches(&self, area: &str) -> bool {
        self.reaches_all() || self.scope.iter().any(|word| word == area)
    }

    /// Whether nothing is outside of its scope.
    pub(super) fn reaches_all(&self) -> bool {
        self.scope.is_empty()
    }

    /// Whether it may do what an address needs.
    pub(super) fn may(&self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Right(right) => self.rights.has(right),
        }
    }

    pub(super) fn has(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// A document as this caller may see it.
    pub(super) fn shown(&self, mut document: Json) -> Json {
        if !self.has(Right::Payload) {
            veil(&mut document);
        }
        document
    }
}

impl FromRequest for Caller {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// Under these keys stands what records hold, or what was made of it.
const PAYLOAD_KEYS: [&str; 9] =
    ["xml", "values", "request", "request_line", "response", "body", "headers", "kept", "search"];
/// What stands in its place.
pub(super) const VEIL: &str = "(needs the right payload)";

fn veil(document: &mut Json) {
    walk(document, &mut |key, value| {
        match (key, value) {
            (key, value) if PAYLOAD_KEYS.contains(&key) => hide(value),
            // A lane is named by a value of the record; an id says nothing of what it holds.
            ("lane", Json::String(lane)) if !is_id(lane) => VEIL.clone_into(lane),
            // The code of a fault is the system's own.
            ("string" | "actor" | "detail", value @ Json::String(_)) => hide(value),
            // What a reason quotes are values.
            ("reason" | "example" | "cause" | "error" | "text" | "because", Json::String(text)) => {
                *text = issue::without_values(text)
            }
            _ => return true,
        }
        false
    });
}

/// Whether a text looks like an id of Salesforce.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Leaves out what reasons quote: values, and with them names.
pub(super) fn unquote(document: &mut Json) {
    walk(document, &mut |key, value| {
        if let ("reason" | "text", Json::String(text)) = (key, value) {
            *text = issue::without_values(text);
        }
        true
    });
}

/// Goes through the entries of a document, from the outermost. `see` says whether to go on within an entry.
pub(super) fn walk<F: FnMut(&str, &mut Json) -> bool>(document: &mut Json, see: &mut F) {
    match document {
        Json::Object(entries) => {
            for (key, value) in entries.iter_mut() {
                if see(key, value) {
                    walk(value, see);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| walk(item, see)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Keeps the shape, for those who read by it.
fn hide(value: &mut Json) {
    match value {
        Json::Object(entries) => entries.values_mut().for_each(|value| *value = VEIL.into()),
        Json::Array(items) => items.clear(),
        Json::String(text) if !text.is_empty() => VEIL.clone_into(text),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    /// Every address that a handler is registered for. What stands beside the pages is the API's.
    fn registered() -> BTreeSet<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut found = BTreeSet::new();
        for file in files.chain([format!("{folder}.rs").into()]).filter(|path| path.is_file()) {
            let is_page = ["admin.rs", "ui.rs"].iter().any(|page| file.ends_with(page));
            let prefix = if is_page { "" } else { "/api/v1" };
            for registration in std::fs::read_to_string(&file).unwrap().split(".route(\"").skip(1) {
                let (path, rest) = registration.split_once('"').unwrap();
                let method = rest.split("web::").nth(1).unwrap().split('(').next().unwrap();
                found.insert((method.to_uppercase(), format!("{prefix}{path}")));
            }
        }
        found
    }

    #[test]
    fn names_of_the_configuration_are_no_values() {
        use crate::why::Why;

        let route = Why::NoRoute { route: "orders → erp".to_owned() };
        let destination = Why::NoDestination { destination: "erp-create".to_owned() };
        for (why, name) in [(route, "orders → erp"), (destination, "erp-create")] {
            let mut document = json!({ "why": why });
            unquote(&mut document);
            veil(&mut document);
            assert!(document["why"]["text"].as_str().unwrap().contains(name), "{document}");
        }
    }

    #[test]
    fn what_says_that_no_call_can_be_made_quotes_no_value() {
        let said =
            r#"no call can be made: Name: expression `record.Name`: decimal needs a number, not the text "ACME""#;
        let mut document = json!({"replay": {"error": said}, "failing": [{"reason": said}]});
        veil(&mut document);
        let text = document.to_string();
        assert!(!text.contains("ACME") && text.contains("decimal needs a number"), "{text}");
    }

    #[test]
    fn every_address_that_is_registered_stands_in_the_table_and_no_other() {
        // Verbs that need less than the others of their address have rows of their own.
        let verbs = ["/api/v1/deliveries/replay", "/api/v1/deliveries/{id}/replay"];
        let listed: BTreeSet<(String, String)> = ADDRESSES
            .iter()
            .filter(|(_, path, _)| !verbs.contains(path))
            .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        let registered = registered();
        assert!(registered.len() >= 38, "{}", registered.len());
        assert_eq!(registered.difference(&listed).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
        assert_eq!(listed.difference(&registered).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    }

    #[test]
    fn the_scope_of_a_token_names_the_first_part_of_an_address() {
        for (path, found) in [
            ("/api/v1/deliveries/7/replay", "deliveries"),
            ("/deliveries/7", "deliveries"),
            ("/metrics", "metrics"),
            ("/api/v1/ledger", "ledger"),
            ("/", ""),
        ] {
            assert_eq!(area(path), found, "{path}");
        }
        let areas = areas();
        assert!(areas.contains("metrics") && areas.contains("tokens") && !areas.contains("login"), "{areas:?}");
        let scoped = Caller { scope: vec!["metrics".to_owned()], ..Caller::machine() };
        assert!(scoped.reaches("metrics") && !scoped.reaches("ledger") && !scoped.reaches(""));
    }

    #[test]
    fn whatever_changes_something_needs_more_than_to_view() {
        for (method, path, need) in ADDRESSES {
            let is_form = ["/login", "/logout"].contains(path);
            assert!(*method == "GET" || is_form || !matches!(need, Need::Nothing | Need::Right(Right::View)), "{path}");
        }
    }

    #[test]
    fn an_address_is_found_whole_or_not_at_all() {
        for (method, path, found) in [
            ("GET", "/", Some(VIEW)),
            ("GET", "/livez", Some(OPEN)),
            ("POST", "/api/v1/deliveries/7/replay", Some(REPLAY)),
            ("POST", "/api/v1/deliveries/7/%72eplay", Some(OPERATE)),
            ("POST", "/api/v1/deliveries/7/discard", Some(OPERATE)),
            ("POST", "/api/v1/deliveries/replay", Some(REPLAY)),
            ("GET", "/api/v1/deliveries/", None),
            ("GET", "//api/v1/ledger", None),
            ("GET", "/api/v1/ledger/", None),
            ("GET", "/api/v1/%6cedger", None),
            ("HEAD", "/api/v1/ledger", None),
            ("DELETE", "/api/v1/ledger", None),
            ("GET", "/etc/passwd", None),
        ] {
            assert_eq!(need(method, path), found, "{method} {path}");
        }
    }

    #[test]
    fn an_address_tells_which_methods_it_knows() {
        for (path, known) in [
            ("/api/v1/tokens", "GET, POST"),
            ("/api/v1/ledger", "GET"),
            ("/api/v1/deliveries/7/replay", "POST"),
            ("/api/v1/deliveries/7", "GET"),
            ("/api/v1/deliveries/hold", "POST"),
            ("/api/v1/deliveries/nonsense", "GET, POST"),
            ("/api/v1/notifications/reroute", "POST"),
            ("/api/v1/notifications/04l1", "GET"),
            ("/nowhere", ""),
        ] {
            assert_eq!(methods(path), known, "{path}");
        }
    }

    #[test]
    fn without_the_right_payload_the_shape_stays_and_the_content_is_gone() {
        let document = json!({"id": 1, "xml": "<secret/>", "attempts": [{"request": "secret", "request_cut": false,
            "response": "", "headers": [{"name": "A", "value": "secret"}]}], "kept": {"order": "secret"}, "body": null});
        let viewer = Caller { rights: Rights::of(crate::account::Role::Viewer, &[]), ..Caller::default() };
        let shown = viewer.shown(document.clone());
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(shown["kept"]["order"], VEIL);
        assert_eq!((&shown["id"], &shown["attempts"][0]["response"]), (&json!(1), &json!("")));
        assert_eq!(Caller::machine().shown(document.clone()), document);
    }
}

//! The guide of a gateway that is empty: source, destination, route, and a message delivered.
//!
//! What was filled in stands in the address of the page and nowhere else: each step is kept, and taken away as a file, by itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde_json::Value as Json;

use super::document::Doc;
use super::{Page, Shell, page, read};
use crate::account;
use crate::admin::access::Caller;
use crate::admin::{Admin, api, book};
use crate::envelope::OrganizationId;

/// How much of a secret a path ends with: 132 bits.
const SECRET_LETTERS: usize = 22;

/// What was filled in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flow {
    source: String,
    path: String,
    organization: String,
    wsdl: String,
    destination: String,
    /// `soap` or `rest`.
    kind: String,
    target_wsdl: String,
    operation: String,
    endpoint: String,
    method: String,
    url: String,
    when: String,
    /// A line for each element: `Element = expression`.
    map: String,
}

impl Flow {
    /// What a query says. What is not in it has its usual value; what was emptied is empty.
    fn of(query: &str) -> Self {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into(), value.into())).collect();
        let of = |name: &str, usual: &str| {
            let said = pairs.iter().find(|(known, _)| known == name).map_or(usual, |(_, value)| value.as_str());
            said.chars().filter(|c| *c == '\n' || !c.is_control()).collect::<String>().trim().to_owned()
        };
        Self {
            source: of("source", "order-won"),
            path: of("path", ""),
            organization: of("organization", ""),
            wsdl: of("wsdl", "wsdl/order-won.wsdl"),
            destination: of("destination", "erp"),
            kind: of("kind", "soap"),
            target_wsdl: of("target_wsdl", "wsdl/erp.wsdl"),
            operation: of("operation", ""),
            endpoint: of("endpoint", ""),
            method: of("method", "POST"),
            url: of("url", ""),
            when: of("when", ""),
            map: of("map", ""),
        }
    }

    fn is_rest(&self) -> bool {
        self.kind == "rest"
    }

    /// What a source still lacks.
    fn source_lacks(&self) -> Vec<&'static str> {
        let own = [("a name", &self.source), ("a path", &self.path), ("your organization's id", &self.organization)];
        let mut lacks = lacking(&own.map(|(what, text)| (what, text.as_str())));
        if !self.organization.is_empty() && OrganizationId::parse(&self.organization).is_err() {
            lacks.push("an organization's id that is one: 15 or 18 characters, from 00D on");
        }
        lacks
    }

    /// What a destination still lacks.
    fn destination_lacks(&self) -> Vec<&'static str> {
        let own: &[(&str, &str)] = if self.is_rest() {
            &[("a name", &self.destination), ("an address", &self.url)]
        } else {
            &[
                ("a name", &self.destination),
                ("its WSDL", &self.target_wsdl),
                ("an operation", &self.operation),
                ("an endpoint", &self.endpoint),
            ]
        };
        let mut lacks = lacking(own);
        let address = if self.is_rest() { &self.url } else { &self.endpoint };
        if !address.is_empty() && !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
            lacks.push("an address that begins with http:// or https://");
        }
        lacks
    }

    /// What a route still lacks.
    fn route_lacks(&self) -> Vec<&'static str> {
        let mut lacks = lacking(&[("a source", &self.source), ("a destination", &self.destination)]);
        if !self.is_rest() && self.mapped().is_empty() {
            lacks.push("a mapping");
        }
        let mapped = self.mapped();
        let said = self.map.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        if said.count() != mapped.len() {
            lacks.push("an element, = and an expression in each line of the mapping");
        }
        let elements: BTreeSet<&str> = mapped.iter().map(|(element, _)| *element).collect();
        if elements.len() != mapped.len() {
            lacks.push("each element once: one of them stands there twice");
        }
        lacks
    }

    fn mapped(&self) -> Vec<(&str, &str)> {
        let lines = self.map.lines().filter(|line| !line.trim_start().starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(element, expression)| (element.trim(), expression.trim()));
        pairs.filter(|(element, expression)| !element.is_empty() && !expression.is_empty()).collect()
    }

    /// `[[source]]`.
    fn source_section(&self) -> String {
        let mut text = String::from("[[source]]\n");
        set(&mut text, "name", &self.source);
        set(&mut text, "path", &self.path);
        if self.organization.is_empty() {
            text.push_str("# organizations: your organization's id belongs here, 15 or 18 characters, from 00D on\n");
        } else {
            let _ = writeln!(text, "organizations = [{}]", quoted(&self.organization));
        }
        set(&mut text, "wsdl", &self.wsdl);
        text.push_str("# search = [\"Name\"]   # fields by which you will look for its messages\n");
        text
    }

    /// `[[destination]]`.
    fn destination_section(&self) -> String {
        let mut text = String::from("[[destination]]\n");
        set(&mut text, "name", &self.destination);
        set(&mut text, "kind", &self.kind);
        let own: &[(&str, &str)] = if self.is_rest() {
            &[("method", &self.method), ("url", &self.url)]
        } else {
            &[("wsdl", &self.target_wsdl), ("operation", &self.operation), ("endpoint", &self.endpoint)]
        };
        own.iter().for_each(|(key, value)| set(&mut text, key, value));
        text.push_str("# paused = true         # begin by collecting: nothing is sent until it is resumed\n");
        text
    }

    /// `[[route]]`.
    fn route_section(&self) -> String {
        let mut text = String::from("[[route]]\n");
        set(&mut text, "source", &self.source);
        set(&mut text, "destination", &self.destination);
        set(&mut text, "when", &self.when);
        let mapped = self.mapped();
        if !mapped.is_empty() {
            text.push_str("[route.map]\n");
        }
        for (element, expression) in mapped {
            let element: Vec<String> = element.split('.').map(key).collect();
            let _ = writeln!(text, "{} = {}", element.join("."), quoted(expression));
        }
        text
    }

    /// The sections that are complete, as a file, which says what is still to come.
    fn file(&self) -> String {
        let steps = [
            ("a source", self.source_lacks(), self.source_section()),
            ("a destination", self.destination_lacks(), self.destination_section()),
            ("a route", self.route_lacks(), self.route_section()),
        ];
        let mut text =
            String::from("# Written by the guide. It belongs behind [server] and [store] of the configuration.\n");
        for (what, lacks, _) in steps.iter().filter(|(_, lacks, _)| !lacks.is_empty()) {
            let _ = writeln!(text, "# Still to come: {what}. It lacks {}.", lacks.join(", "));
        }
        for (_, _, section) in steps.iter().filter(|(_, lacks, _)| lacks.is_empty()) {
            let _ = write!(text, "\n{section}");
        }
        text
    }
}

fn lacking(keys: &[(&'static str, &str)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, value)| value.is_empty()).map(|(what, _)| *what).collect()
}

/// A key and its value; nothing where there is none.
fn set(text: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    }
}

/// A TOML string: what JSON escapes, TOML reads in the same way.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// A part of a TOML key.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { name.to_owned() } else { quoted(name) }
}

#[derive(Template)]
#[template(path = "start.html")]
struct Start<'a> {
    shell: Shell,
    flow: Flow,
    /// Whether something was filled in: it is not folded away.
    is_begun: bool,
    sources: Vec<Doc<'a>>,
    destinations: Vec<Doc<'a>>,
    routes: Vec<Doc<'a>>,
    standing: Doc<'a>,
    ledger: Doc<'a>,
}

/// The guide.
pub(in crate::admin) async fn start(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let query = request.query_string();
    if let Some(address) = with_path(query) {
        return Ok(HttpResponse::SeeOther().insert_header((LOCATION, address)).finish());
    }
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let sources = read(book::sources(admin.clone(), caller.clone()).await).await?.document;
    let ledger: Json = read(api::ledger(admin).await).await?.document;
    let doc = Doc::new(&facts);
    page(&Start {
        shell: Shell::new(&request, &caller, "/", "Set up a flow"),
        flow: Flow::of(query),
        is_begun: query.contains("organization="),
        sources: Doc::new(&sources).list(),
        destinations: doc.at("facts.destinations").list(),
        routes: doc.at("facts.routes").list(),
        standing: doc.at("standing"),
        ledger: Doc::new(&ledger),
    })
}

/// The guide's address with a path that nobody guesses, where it names none: so that it is the same after a reload.
fn with_path(query: &str) -> Option<String> {
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "path") {
        return None;
    }
    let secret = account::secret().ok()?;
    let path = format!("/om/{}", secret.get(..SECRET_LETTERS)?);
    let mut with = url::form_urlencoded::Serializer::new(query.to_owned());
    Some(format!("/start?{}", with.append_pair("path", &path).finish()))
}

/// What was filled in so far, as a file to take away.
pub(in crate::admin) async fn flow(request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"flow.toml\""))
        .body(Flow::of(request.query_string()).file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_is_written_and_what_is_not_is_said() {
        let empty = Flow::of("").file();
        assert!(!empty.contains("[["), "{empty}");
        assert!(empty.contains("# Still to come: a source. It lacks a path, your organization's id.\n"), "{empty}");
        let begun = Flow::of("path=/om/x").source_section();
        assert!(
            begun.contains("# organizations: your organization's id belongs here") && !begun.contains("[\"\"]"),
            "{begun}"
        );
        let source = Flow::of("path=/om/x&organization=00D24000000abcdEAA").file();
        assert!(source.contains("[[source]]\nname = \"order-won\"\npath = \"/om/x\"\n"), "{source}");
        assert!(source.contains("lacks an operation, an endpoint") && !source.contains("[[destination]]"), "{source}");
    }

    #[test]
    fn whatever_is_typed_stays_a_value() {
        let typed = "source=a%22%5D%0D%0A%5B%5Bserver%5D%5D&kind=rest&destination=crm&url=http%3A%2F%2Fx%2F%7B%7B+record.Id+%7D%7D&\
                     map=a+b.C+%3D+record.X+%3D%3D+%27%22%27%0D%0Aempty%20%3D%0D%0Anothing";
        let flow = Flow::of(typed);
        assert_eq!(flow.mapped(), [("a b.C", "record.X == '\"'")]);
        assert!(
            flow.route_section().contains("\n[route.map]\n\"a b\".C = \"record.X == '\\\"'\"\n"),
            "{}",
            flow.route_section()
        );
        assert!(
            flow.source_section().starts_with("[[source]]\nname = \"a\\\"]\\n[[server]]\"\n"),
            "{}",
            flow.source_section()
        );
        assert!(flow.destination_section().contains("url = \"http://x/{{ record.Id }}\""));
    }

    #[test]
    fn a_path_is_proposed_once_and_never_the_same() {
        let (one, other) = (with_path("source=a").unwrap(), with_path("source=a").unwrap());
        assert!(one.starts_with("/start?source=a&path=%2Fom%2F") && one != other, "{one}");
        assert_eq!(with_path(one.split_once('?').unwrap().1), None, "what stands there stays");
        assert_eq!(with_path("path="), None, "also what was emptied");
    }
}

//! `[[destination]]`, and the systems they make up.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::read::{Field, Section, Spot};
use super::{auth, egress, file, keep, limits, rules, security, value};
use crate::clock::SystemClock;
use crate::deliver::auth::Auth;
use crate::deliver::classify::Rules;
use crate::deliver::egress::{Egress, Names};
use crate::deliver::keep::Keep;
use crate::deliver::rules::Then;
use crate::deliver::tls::Tls;
use crate::deliver::{self, BuildError, Target, TargetConfig};
use crate::dispatch::calendar::Calendar;
use crate::dispatch::{Rate, System, breaker};
use crate::expression::{CALL_NAMES, Expression, Place, RESPONSE_NAMES, Tables, Template};
use crate::map::{AddressingHeaders, IDEMPOTENCY_HEADER};
use crate::secret::Text;
use crate::settle::OnUnknown;
use crate::soap::security::Security;
use crate::soap::security::signature::Signature;
use crate::wsdl::{self, Files, Finding, Operation, OperationChoice, Reading};

pub(super) mod tls;

/// What scaffold writes where a WSDL gives no address.
pub(super) const GAP_ENDPOINT: &str = "http://host/path";

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const CONCURRENCY: usize = 8;

/// Headers that are set here, or that belong to the connection.
const RESERVED_HEADERS: [&str; 9] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "host",
    "expect",
    "te",
    "upgrade",
    "soapaction",
];

/// A destination as configured.
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) system: String,
    pub(super) spot: Spot,
    pub(super) kind: Kind,
    pub(super) headers: Vec<(String, Template)>,
    pub(super) idempotency_header: Option<String>,
    pub(super) timeout: Duration,
    pub(super) retry: Retry,
    pub(super) unknown: OnUnknown,
    pub(super) rules: Rules,
    pub(super) keep: Vec<Keep>,
    /// Every expression about the notification, with its place: checked against the sources that are routed here.
    pub(super) expressions: Vec<(Spot, Expression)>,
    shared: Shared,
    target: TargetParts,
}

impl Configured {
    /// How long a connection may take, and how large an answer may be, in bytes.
    pub(super) fn bounds(&self) -> (Duration, usize) {
        (self.target.connect_timeout, self.target.response_bytes_max)
    }

    /// The WS-Security header that it says for its system.
    pub(super) fn security(&self) -> Option<&Security> {
        self.shared.security.as_ref().map(|field| &field.value)
    }
}

/// What kind of destination; broken: reported already, but known by name.
#[derive(Clone)]
pub(super) enum Kind {
    Rest(Rest),
    Soap(Box<Soap>),
    Broken,
}

#[derive(Clone)]
pub(super) struct Rest {
    pub(super) method: String,
    pub(super) url: Template,
    pub(super) query: Vec<(String, Expression)>,
    pub(super) form: bool,
    pub(super) content_type: Option<String>,
}

#[derive(Clone)]
pub(super) struct Soap {
    pub(super) operation: Operation,
    pub(super) endpoint: Text,
    pub(super) addressing: Option<AddressingHeaders>,
    pub(super) wsdl: String,
}

#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub(super) first: Duration,
    pub(super) factor: f64,
    pub(super) wait_max: Duration,
    pub(super) attempts_max: Option<u32>,
    pub(super) age_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: SECOND, factor: 2.0, wait_max: 600 * SECOND, attempts_max: None, age_max: 3 * DAY }
    }
}

/// What destinations of one system share: whoever says it says it for all.
struct Shared {
    concurrency: Option<Field<i64>>,
    rate: Option<Field<Rate>>,
    burst: Option<Field<i64>>,
    calendar: Option<Field<Calendar>>,
    /// None inside: turned off.
    breaker: Option<Field<Option<breaker::Settings>>>,
    warm_up: Option<Field<Duration>>,
    paused: Option<Field<bool>>,
    auth: Option<Field<Auth>>,
    security: Option<Field<Security>>,
}

struct TargetParts {
    connect_timeout: Duration,
    response_bytes_max: usize,
    tls: Field<Tls>,
    proxy: Option<Field<Text>>,
    /// Where its address stands.
    address: Spot,
}

pub(super) fn destinations(root: &Section<'_, '_>, tables: &Tables) -> Vec<Configured> {
    let mut destinations: Vec<Configured> = Vec::new();
    let sections = root.sections("destination");
    if sections.is_empty() && !root.is_yet_to_be_filled() {
        root.desk.error(&root.spot_of("destination"), "there is no [[destination]]: nothing could be delivered");
    }
    for section in sections {
        let name = section.required("name");
        if let Some(name) = &name
            && destinations.iter().any(|known| known.name == name.value)
        {
            section.desk.error(&name.spot, format!("there are two destinations named {:?}", name.value));
        }
        let configured = destination(&section, name, tables);
        section.finish();
        destinations.extend(configured);
    }
    destinations
}

fn destination(section: &Section<'_, '_>, name: Option<Field<String>>, tables: &Tables) -> Option<Configured> {
    let mut expressions = Vec::new();
    let system = section.plain("system");
    let kind = kind(section, tables, &mut expressions);
    let headers = headers(section, tables, &mut expressions);
    let response = |key| response_rule(section, key, tables);
    let list = rules::rules(section, tables);
    let keep = keep::keep(section, tables, &kind);
    let rules = Rules { list, retry_when: response("retry_when"), success_when: response("success_when") };
    let shared = shared(section, matches!(kind, Kind::Rest(_)));
    let target = target_parts(section);
    let timeout = section.duration("timeout", SECOND / 10..=900 * SECOND).map_or(30 * SECOND, |field| field.value);
    let retry = section.section("retry").map_or_else(Retry::default, retry);
    let unknown = unknown(section);
    let idempotency_header = idempotency_header(section, &kind);
    let name = name?;
    Some(Configured {
        system: system.map(|field| field.value).filter(|system| !system.is_empty()).unwrap_or(name.value.clone()),
        name: name.value,
        spot: section.spot.clone(),
        kind,
        headers,
        idempotency_header,
        timeout,
        retry,
        unknown,
        rules,
        keep,
        expressions,
        shared,
        target,
    })
}

fn kind(section: &Section<'_, '_>, tables: &Tables, expressions: &mut Vec<(Spot, Expression)>) -> Kind {
    let known = if section.has("kind") {
        section.choice("kind", &[("rest", true), ("soap", false)])
    } else {
        section.required("kind");
        None
    };
    match known {
        Some(field) if field.value => rest(section, tables, expressions).map_or(Kind::Broken, Kind::Rest),
        Some(_) => soap(section).map_or(Kind::Broken, |soap| Kind::Soap(Box::new(soap))),
        None => {
            // Which keys belong here is not known: none of them is reported.
            for key in ["wsdl", "service", "port", "operation", "endpoint", "method", "url", "content_type", "body"] {
                section.text(key);
            }
            section.section("query");
            addressing(section);
            section.boolean("strict");
            Kind::Broken
        }
    }
}

fn rest(section: &Section<'_, '_>, tables: &Tables, expressions: &mut Vec<(Spot, Expression)>) -> Option<Rest> {
    let methods = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH"), ("GET", "GET"), ("DELETE", "DELETE")];
    let method = section.choice("method", &methods).map(|field| field.value);
    let method = if section.has("method") { method } else { Some("POST") };
    let url = url(section, tables, expressions);
    let query = query(section, tables, expressions);
    let form = section.choice("body", &[("json", false), ("form", true)]).is_some_and(|field| field.value);
    let content_type = section.parsed("content_type", header_value).map(|field| field.value);
    for key in ["wsdl", "operation", "service", "port", "endpoint", "addressing", "security", "strict"] {
        section.refuse(key, "belongs to kind = \"soap\"; a REST destination has method and url");
    }
    Some(Rest { method: method?.to_owned(), url: url?, query, form, content_type })
}

fn url(section: &Section<'_, '_>, tables: &Tables, expressions: &mut Vec<(Spot, Expression)>) -> Option<Template> {
    section.required("url")?;
    let field = section.text("url")?;
    let template = match Template::compile(&field.value, Place::Url, tables) {
        Ok(template) => template,
        Err(error) => {
            section.desk.expression(&field.spot, &error);
            return None;
        }
    };
    for hole in template.holes() {
        subject_expression(section, &field.spot, hole.clone(), expressions);
    }
    let has_holes = template.holes().next().is_some();
    if let Err(reason) = check_url(&template.before_first_hole(), has_holes) {
        section.desk.error(&field.spot, reason);
        return None;
    }
    Some(template)
}

/// An absolute HTTP URL whose host nothing can change.
fn check_url(before_hole: &str, has_holes: bool) -> Result<(), String> {
    let form = "write one such as \"http://crm.internal/customers/{{ record.Id }}\"";
    let rest = before_hole
        .strip_prefix("https://")
        .or_else(|| before_hole.strip_prefix("http://"))
        .ok_or_else(|| format!("is no absolute http:// or https:// URL; {form}"))?;
    if rest.starts_with(['/', '?', '#']) {
        return Err(format!("has no host; {form}"));
    }
    if has_holes && !rest.contains('/') {
        return Err(format!("a hole must stand behind the host and a slash; {form}"));
    }
    let url = url::Url::parse(before_hole).map_err(|error| format!("is no URL: {error}; {form}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry credentials; put them under auth".to_owned());
    }
    if before_hole.contains('#') {
        return Err("must not have a fragment (#)".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("has no host; {form}"));
    }
    Ok(())
}

fn query(
    section: &Section<'_, '_>,
    tables: &Tables,
    expressions: &mut Vec<(Spot, Expression)>,
) -> Vec<(String, Expression)> {
    let Some(query) = section.section("query") else { return Vec::new() };
    let mut pairs = Vec::new();
    for (name, _, value, spot) in query.ordered_entries() {
        let Some(raw) = value.as_str() else {
            section.desk.error(&spot, "must be an expression, such as \"record.Id\" or \"'fixed'\"");
            continue;
        };
        let text = section.free_text(raw, &spot);
        if let Some(expression) = compiled(section, &spot, &text, tables) {
            subject_expression(section, &spot, expression.clone(), expressions);
            pairs.push((name, expression));
        }
    }
    pairs
}

fn headers(
    section: &Section<'_, '_>,
    tables: &Tables,
    expressions: &mut Vec<(Spot, Expression)>,
) -> Vec<(String, Template)> {
    let Some(table) = section.section("headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, name_spot, value, spot) in table.ordered_entries() {
        if let Err(reason) = check_header(&name) {
            section.desk.error(&name_spot, reason);
        }
        let Some(raw) = value.as_str() else {
            section.desk.error(&spot, "must be text, with {{ expressions }} where needed");
            continue;
        };
        let text = section.free_text(raw, &spot);
        if text.reveal().chars().any(char::is_control) {
            section.desk.error(&spot, "has a line end or control character in it, which no header may carry");
        }
        if name.eq_ignore_ascii_case("authorization") && text.is_plain() {
            section.desk.error(&spot, "stands in clear; write ${NAME} or ${file:PATH}, or use auth");
        }
        match Template::compile(&text, Place::Header, tables) {
            Ok(template) => {
                for hole in template.holes() {
                    subject_expression(section, &spot, hole.clone(), expressions);
                }
                headers.push((name, template));
            }
            Err(error) => section.desk.expression(&spot, &error),
        }
    }
    headers
}

pub(super) fn check_header(name: &str) -> Result<(), String> {
    let is_token =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        return Err(format!("{name:?} is no header name"));
    }
    if RESERVED_HEADERS.contains(&name.to_lowercase().as_str()) {
        let instead = if name.eq_ignore_ascii_case("content-type") { "; use content_type" } else { "" };
        return Err(format!("the header {name} is not set by hand{instead}"));
    }
    Ok(())
}

fn header_value(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) || !text.contains('/') {
        return Err(format!("{text:?} is no content type; write one such as \"application/xml; charset=utf-8\""));
    }
    Ok(text.to_owned())
}

/// Loads a WSDL; what is found in it and in its schemas is reported at its place there.
fn model(section: &Section<'_, '_>, wsdl: &Field<String>, reading: Reading) -> Option<wsdl::Model> {
    let named = section.desk.files.wsdl(&wsdl.value, &wsdl.spot.key);
    let path = Path::new(&named);
    if let Err(error) = section.desk.files.read(path) {
        section.desk.error(&wsdl.spot, format!("cannot read {:?}: {}", wsdl.value, file::reason(&error)));
        return None;
    }
    // The findings name files as seen from the WSDL's folder, a configuration as seen from its own.
    let report = |finding: &Finding| {
        let file = path.with_file_name(&finding.file).display().to_string();
        section.desk.finding(&wsdl.spot, &Finding { file, ..finding.clone() });
    };
    match wsdl::load_as(path, section.desk.files, reading) {
        Ok(model) => {
            model.findings().iter().for_each(report);
            Some(model)
        }
        Err(findings) => {
            findings.iter().for_each(report);
            None
        }
    }
}

fn soap(section: &Section<'_, '_>) -> Option<Soap> {
    for key in ["method", "url", "query", "body", "content_type"] {
        section.refuse(key, "belongs to kind = \"rest\"; a SOAP destination has wsdl, operation and endpoint");
    }
    let wsdl = section.required("wsdl");
    let service = section.plain("service");
    let port = section.plain("port");
    let operation = section.required("operation");
    let endpoint = section.text("endpoint");
    let addressing = addressing(section);
    let reading = if section.boolean("strict").unwrap_or(false) { Reading::Strict } else { Reading::Lenient };
    let wsdl = wsdl?;
    let model = model(section, &wsdl, reading)?;
    let operation = operation?;
    let choice = OperationChoice {
        service: service.as_ref().map(|field| field.value.as_str()),
        port: port.as_ref().map(|field| field.value.as_str()),
        operation: &operation.value,
    };
    let chosen = match model.operation(&choice) {
        Ok(chosen) => chosen,
        Err(error) => {
            let named = [("service", &service), ("port", &port)];
            let wrong = named.into_iter().find(|(key, _)| *key == error.key).and_then(|(_, field)| field.as_ref());
            section.desk.error(&wrong.unwrap_or(&operation).spot, error.reason);
            return None;
        }
    };
    let (endpoint, spot) = match endpoint {
        Some(field) => (field.value, field.spot),
        None => (Text::plain(chosen.endpoint()), wsdl.spot),
    };
    if endpoint.reveal().trim() == GAP_ENDPOINT {
        let reason = format!(
            "{GAP_ENDPOINT:?} is what `omgate scaffold` leaves to be filled in (GAP): write the address of the system"
        );
        section.desk.error(&spot, reason);
        return None;
    }
    if endpoint.reveal().contains("{{") {
        section.desk.error(&spot, "takes no {{ expressions }}: a SOAP message goes to one address");
        return None;
    }
    if let Err(reason) = check_url(&endpoint.reveal(), false) {
        let reason = format!("the address {:?} {reason}; set endpoint", endpoint.masked());
        section.desk.error(&spot, reason);
        return None;
    }
    Some(Soap { operation: chosen, endpoint, addressing, wsdl: wsdl.value })
}

/// `true`, or a table of how.
fn addressing(section: &Section<'_, '_>) -> Option<AddressingHeaders> {
    if !section.is_table("addressing") {
        return section.boolean("addressing").unwrap_or(false).then(AddressingHeaders::default);
    }
    let table = section.section("addressing")?;
    let must_understand = table.boolean("must_understand").unwrap_or(false);
    table.finish();
    Some(AddressingHeaders { must_understand })
}

pub(super) fn response_rule(section: &Section<'_, '_>, key: &'static str, tables: &Tables) -> Option<Expression> {
    let field = section.text(key)?;
    response_expression(section, &field.spot, &field.value, tables)
}

/// An expression over an answer, its names checked.
pub(super) fn response_expression(
    section: &Section<'_, '_>,
    spot: &Spot,
    text: &Text,
    tables: &Tables,
) -> Option<Expression> {
    let expression = compiled(section, spot, text, tables)?;
    if let Err(error) = expression.check_names(&RESPONSE_NAMES) {
        section.desk.expression(spot, &error);
        return None;
    }
    for (path, offset) in expression.names() {
        let mut parts = path.split('.').skip(1);
        let known: &[&str] = match (parts.next(), parts.next()) {
            (Some("status" | "headers" | "body"), _) | (None, _) | (Some("fault"), None) => continue,
            (Some("fault"), Some("code" | "subcodes" | "string" | "actor" | "detail" | "detail_xml")) => continue,
            (Some("fault"), Some(_)) => &["code", "subcodes", "string", "actor", "detail", "detail_xml"],
            (Some(_), _) => &["status", "headers", "fault", "body"],
        };
        let reason = format!("expression `{expression}`: an answer has no {path:?}; there is {}", known.join(", "));
        let name = path.rsplit('.').next().unwrap_or(path);
        section.desk.unknown(&section.desk.inside(spot, offset), reason, name, known.iter().copied());
    }
    Some(expression)
}

pub(super) fn compiled(section: &Section<'_, '_>, spot: &Spot, text: &Text, tables: &Tables) -> Option<Expression> {
    match Expression::compile_text(text, tables) {
        Ok(expression) => Some(expression),
        Err(error) => {
            section.desk.expression(spot, &error);
            None
        }
    }
}

/// Checks the roots of an expression about the notification, and keeps it for the checks against sources.
pub(super) fn subject_expression(
    section: &Section<'_, '_>,
    spot: &Spot,
    expression: Expression,
    expressions: &mut Vec<(Spot, Expression)>,
) {
    match expression.check_names(&CALL_NAMES) {
        Ok(()) => expressions.push((spot.clone(), expression)),
        Err(error) => section.desk.expression(spot, &error),
    }
}

fn retry(section: Section<'_, '_>) -> Retry {
    let default = Retry::default();
    let field =
        |key, low, high, default: Duration| section.duration(key, low..=high).map_or(default, |field| field.value);
    let retry = Retry {
        first: field("first", SECOND / 100, DAY, default.first),
        factor: section.number("factor", 1.0..=100.0).unwrap_or(default.factor),
        wait_max: field("max_wait", SECOND / 100, 7 * DAY, default.wait_max),
        attempts_max: section.integer("max_attempts", 1..=1_000_000).and_then(|field| u32::try_from(field.value).ok()),
        age_max: field("max_age", SECOND, 365 * DAY, default.age_max),
    };
    if retry.wait_max < retry.first {
        let reason = format!("must not be shorter than first ({})", value::written(retry.first));
        section.desk.error(&section.spot_of("max_wait"), reason);
    }
    section.finish();
    retry
}

fn unknown(section: &Section<'_, '_>) -> OnUnknown {
    let words = [("resend", OnUnknown::Resend), ("probe", OnUnknown::Probe), ("hold", OnUnknown::Hold)];
    section.choice("unknown", &words).map(|field| field.value).unwrap_or_default()
}

/// REST carries the key in a header by default; SOAP only where a header is named. Empty turns it off.
fn idempotency_header(section: &Section<'_, '_>, kind: &Kind) -> Option<String> {
    let Some(field) = section.plain("idempotency_header") else {
        return matches!(kind, Kind::Rest(_)).then(|| IDEMPOTENCY_HEADER.to_owned());
    };
    if field.value.is_empty() {
        return None;
    }
    if let Err(reason) = check_header(&field.value) {
        section.desk.error(&field.spot, reason);
    }
    Some(field.value)
}

fn shared(section: &Section<'_, '_>, rest: bool) -> Shared {
    let paused = section.boolean("paused").map(|value| Field { value, spot: section.spot_of("paused") });
    Shared {
        concurrency: section.integer("concurrency", 1..=1_000),
        rate: section.parsed("rate", value::rate),
        burst: limits::burst(section),
        calendar: section.section("calendar").and_then(limits::calendar),
        breaker: limits::breaker(section),
        warm_up: warm_up(section),
        paused,
        auth: section.section("auth").and_then(auth::auth),
        security: if rest { None } else { section.section("security").and_then(security::security) },
    }
}

fn warm_up(section: &Section<'_, '_>) -> Option<Field<Duration>> {
    section.parsed("warm_up", |text| match value::duration(text)? {
        Duration::ZERO => {
            Err(format!("{text:?} is no warm-up; leave the key out, and all calls may go at once after an outage"))
        }
        span if (SECOND..=DAY).contains(&span) => Ok(span),
        span => Err(format!("must be from 1s to 1d, not {}", value::written(span))),
    })
}

fn target_parts(section: &Section<'_, '_>) -> TargetParts {
    TargetParts {
        connect_timeout: section
            .duration("connect_timeout", SECOND / 10..=120 * SECOND)
            .map_or(10 * SECOND, |field| field.value),
        response_bytes_max: section.size("response_limit", 1 << 10..=256 << 20).unwrap_or(deliver::RESPONSE_BYTES_MAX),
        tls: Field { value: tls::tls(section), spot: section.spot_of("tls") },
        proxy: proxy(section),
        address: section.spot_of(["url", "endpoint", "wsdl"].into_iter().find(|key| section.has(key)).unwrap_or("url")),
    }
}

fn proxy(section: &Section<'_, '_>) -> Option<Field<Text>> {
    let proxy = section.text("proxy")?;
    if let Some(url) = deliver::proxy_url(&proxy.value)
        && url.password().is_some()
        && proxy.value.is_plain()
    {
        let reason = "the password stands in clear; write ${NAME} or ${file:PATH}, so that it is never stored or shown";
        section.desk.warning(&proxy.spot, reason);
    }
    Some(proxy)
}

/// The systems that destinations make up: what one destination says holds for all of its system.
pub(super) fn systems(root: &Section<'_, '_>, destinations: &[Configured]) -> HashMap<String, System> {
    let mut systems = HashMap::new();
    for configured in destinations {
        if systems.contains_key(&configured.system) {
            continue;
        }
        let members: Vec<&Configured> = destinations.iter().filter(|other| other.system == configured.system).collect();
        let concurrency = agreed(root, &members, "concurrency", |shared| shared.concurrency.as_ref());
        let rate = agreed(root, &members, "rate", |shared| shared.rate.as_ref());
        let burst = agreed(root, &members, "burst", |shared| shared.burst.as_ref());
        let calendar = agreed(root, &members, "calendar", |shared| shared.calendar.as_ref());
        let breaker = agreed(root, &members, "breaker", |shared| shared.breaker.as_ref());
        let warm_up = agreed(root, &members, "warm_up", |shared| shared.warm_up.as_ref());
        let paused = agreed(root, &members, "paused", |shared| shared.paused.as_ref());
        let system = System {
            concurrency: concurrency.and_then(|value| usize::try_from(value).ok()).unwrap_or(CONCURRENCY),
            rate,
            burst: burst.and_then(|value| u32::try_from(value).ok()),
            calendar,
            breaker: breaker.unwrap_or_else(|| Some(breaker::Settings::default())),
            warm_up,
            paused: paused.unwrap_or(false),
            wait_max: members.iter().map(|member| longest_wait(member)).max().unwrap_or_default(),
        };
        systems.insert(configured.system.clone(), system);
    }
    systems
}

/// No due time lies further ahead: by its retries, or by a rule that says when.
fn longest_wait(configured: &Configured) -> Duration {
    let by_rules = configured.rules.list.iter().filter_map(|rule| match rule.then {
        Then::Retry { after } => after,
        Then::Delivered | Then::Dead | Then::Hold | Then::Pause { .. } => None,
    });
    by_rules.fold(configured.retry.wait_max, Duration::max)
}

fn agreed<T: Clone + PartialEq>(
    root: &Section<'_, '_>,
    members: &[&Configured],
    key: &str,
    pick: impl Fn(&Shared) -> Option<&Field<T>>,
) -> Option<T> {
    let mut said = members.iter().filter_map(|member| pick(&member.shared).map(|field| (member, field)));
    let (first, value) = said.next()?;
    for (_, field) in said {
        if field.value != value.value {
            let reason = format!(
                "differs from that of destination {:?}, and both belong to system {:?}: say {key} once",
                first.name, first.system
            );
            root.desk.error(&field.spot, reason);
        }
    }
    Some(value.value.clone())
}

/// The connection of a destination; its credentials may stand at another destination of its system.
pub(super) fn target(
    root: &Section<'_, '_>,
    configured: &Configured,
    all: &[Configured],
    egress: &Egress,
) -> Option<Target> {
    let auth = credentials(root, configured, all, |shared| shared.auth.as_ref());
    let security = match configured.kind {
        Kind::Rest(_) => None,
        Kind::Soap(_) | Kind::Broken => credentials(root, configured, all, |shared| shared.security.as_ref()),
    };
    let config = TargetConfig {
        name: configured.name.clone(),
        auth: auth.map(|field| field.value.clone()),
        security: security.map(|field| field.value.clone()),
        connect_timeout: configured.target.connect_timeout,
        response_bytes_max: configured.target.response_bytes_max,
        tls: configured.target.tls.value.clone(),
        proxy: configured.target.proxy.as_ref().map(|field| field.value.clone()),
        egress: egress.clone(),
        names: Names::default(),
    };
    foresee(root, configured, egress, auth);
    if let (Kind::Soap(soap), Some(security)) = (&configured.kind, security)
        && soap.addressing.is_none()
        && security.value.signature.as_ref().is_some_and(Signature::signs_addressing)
    {
        let reason = "signs headers of WS-Addressing, and only a template could have them: set addressing = true";
        root.desk.warning(&configured.spot, reason);
    }
    match Target::new(config) {
        Ok(target) => {
            warn_of_expiry(root, configured, &target);
            Some(target)
        }
        Err(error) => {
            let own = |field: Option<&Spot>| field.unwrap_or(&configured.spot).clone();
            let spot = match &error {
                // Reported where the file is named.
                BuildError::Authorities { .. } => return None,
                // A secret that could not be read was reported where it stands.
                BuildError::Auth { .. } | BuildError::Security { .. } | BuildError::Tls { .. }
                    if root.desk.has_failed() =>
                {
                    return None;
                }
                BuildError::Tls { .. } => own(Some(&configured.target.tls.spot)),
                BuildError::Auth { .. } => own(auth.map(|field| &field.spot)),
                BuildError::Security { .. } => own(security.map(|field| &field.spot)),
                BuildError::Proxy { .. } => own(configured.target.proxy.as_ref().map(|field| &field.spot)),
                BuildError::Client { .. } => own(None),
            };
            root.desk.error(&spot, error.to_string());
            None
        }
    }
}

/// A client certificate that soon holds no more is told before it is refused.
fn warn_of_expiry(root: &Section<'_, '_>, configured: &Configured, target: &Target) {
    let now = SystemClock::shared().now();
    for dated in target.certificates() {
        for expiry in dated.certificates.iter().filter_map(|certificate| certificate.expiry(now)) {
            root.desk.warning(&configured.target.tls.spot, format!("{}: {expiry}; renew it", dated.place));
        }
    }
}

/// Reports where no call of a destination could ever go.
fn foresee(root: &Section<'_, '_>, configured: &Configured, egress: &Egress, auth: Option<&Field<Auth>>) {
    // A stored configuration makes no calls of its own.
    if !root.desk.files.is_disk() {
        return;
    }
    let TargetParts { proxy, address, .. } = &configured.target;
    let through = proxy.as_ref().and_then(|proxy| deliver::proxy_url(&proxy.value));
    let url = match &configured.kind {
        Kind::Rest(rest) => rest.url.before_first_hole(),
        Kind::Soap(soap) => soap.endpoint.reveal(),
        Kind::Broken => return,
    };
    if configured.target.tls.value.legacy && !url.trim_start().starts_with("https://") {
        root.desk.error(&configured.target.tls.spot, "is for https addresses, and this destination has another");
    }
    egress::foresee(root, egress, address, &url, through.as_ref());
    if let Some(Field { value: Auth::OAuth(oauth), spot }) = auth {
        egress::foresee(root, egress, spot, &oauth.token_url().reveal(), through.as_ref());
    }
    if let Some((proxy, url)) = proxy.as_ref().zip(through) {
        egress::foresee(root, egress, &proxy.spot, url.as_str(), None);
    }
}

/// What the first of a system says, so that all share what is learned of it, such as a token; it is wrong when they differ.
fn credentials<'c, T: std::fmt::Debug>(
    root: &Section<'_, '_>,
    configured: &'c Configured,
    all: &'c [Configured],
    pick: impl Fn(&'c Shared) -> Option<&'c Field<T>>,
) -> Option<&'c Field<T>> {
    let own = pick(&configured.shared);
    // Debug shows secrets as references.
    let shown = |credentials: &T| format!("{credentials:?}");
    let said: Vec<&Field<T>> =
        all.iter().filter(|other| other.system == configured.system).filter_map(|other| pick(&other.shared)).collect();
    if let Some(own) = own
        && said.iter().any(|other| shown(&other.value) != shown(&own.value))
    {
        let reason =
            format!("differs within system {:?}: credentials belong to the system, say them once", configured.system);
        root.desk.error(&own.spot, reason);
    }
    said.first().copied()
}

/// A number or boolean of the configuration as a constant.
pub(super) fn constant(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::Boolean(boolean) => Some((*boolean).into()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok().map(Into::into)
        }
        DeValue::Float(float) => {
            let digits = float.as_str().replace('_', "");
            serde_json::from_str::<serde_json::Number>(&digits)
                .ok()
                .map(|_| serde_json::Value::Number(serde_json::Number::from_string_unchecked(digits)))
        }
        DeValue::String(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

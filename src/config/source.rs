//! `[[source]]`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::file;
use super::read::{Field, Section};
use super::tls;
use crate::envelope::{ActionId, OrganizationId, RecordTypes};
use crate::expression::{Expression, ExpressionError};
use crate::receive::network::{self, Networks};
use crate::receive::{self, UnknownOrganization};
use crate::secret::Text;
use crate::wsdl::outbound::{self, DeclaredRecord};

const MINUTE: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(365 * 86_400);
/// What the path ends with that `omgate scaffold` writes: a source is never served there.
pub const GAP_PATH: &str = "CHANGE-ME";
/// A secret part of a path that is shorter can be guessed.
const PATH_SECRET_BYTES_MIN: usize = 16;
/// A notification is found by no more fields than these.
const SEARCH_FIELDS_MAX: usize = 8;
/// A record that comes more often than this in a minute is taken for a loop, unless the source says otherwise.
const LOOP_PER_MINUTE: u32 = 60;

/// What the WSDLs of sources declare of their records, by the source's name.
pub(crate) type Declarations = HashMap<String, Arc<[DeclaredRecord]>>;

pub(super) fn sources(root: &Section<'_, '_>) -> (Vec<receive::Source>, Declarations) {
    let mut sources: Vec<receive::Source> = Vec::new();
    let mut declarations = Declarations::new();
    let sections = root.sections("source");
    if sections.is_empty() && !root.is_yet_to_be_filled() {
        let spot = root.spot_of("source");
        root.desk.error(&spot, "there is no [[source]]: nothing could be received");
    }
    for section in sections {
        let name = section.required("name");
        let path = required_path(&section);
        check_unique(&section, &sources, name.as_ref(), path.as_ref());
        if let Some(path) = &path {
            check_path(&section, path);
        }
        let source = source(&section, name, path, &mut declarations);
        section.finish();
        sources.extend(source);
    }
    (sources, declarations)
}

fn check_unique(
    section: &Section<'_, '_>,
    known: &[receive::Source],
    name: Option<&Field<String>>,
    path: Option<&Field<Text>>,
) {
    if let Some(name) = name.filter(|name| known.iter().any(|source| source.name == name.value)) {
        section.desk.error(&name.spot, format!("there are two sources named {:?}", name.value));
    }
    if let Some(path) = path
        && let Some(other) = known.iter().find(|source| source.path.reveal() == path.value.reveal())
    {
        let reason = format!("source {:?} already listens on {:?}", other.name, path.value.masked());
        section.desk.error(&path.spot, reason);
    }
}

/// The path, whose secrets stay secret.
fn required_path(section: &Section<'_, '_>) -> Option<Field<Text>> {
    if !section.has("path") {
        // Says that it is missing.
        section.required("path");
        return None;
    }
    let field = section.text("path")?;
    if field.value.reveal().trim().is_empty() && field.value.is_plain() {
        section.desk.error(&field.spot, "must not be empty");
        return None;
    }
    Some(field)
}

fn check_path(section: &Section<'_, '_>, path: &Field<Text>) {
    // Where secrets are not at hand, a reference stands for its value.
    let text =
        path.value.reveal_with(|secret| if secret.starts_with("${") { "x".to_owned() } else { secret.to_owned() });
    let shown = path.value.masked();
    let fits =
        text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c));
    let is_short = |secret: &SecretString| {
        let secret = secret.expose_secret();
        !secret.is_empty() && !secret.starts_with("${") && secret.len() < PATH_SECRET_BYTES_MIN
    };
    if let Some((reference, _)) = path.value.secrets().find(|(_, secret)| is_short(secret)) {
        let reason = format!("{reference} is shorter than {PATH_SECRET_BYTES_MIN} characters: it can be guessed");
        section.desk.warning(&path.spot, reason);
    }
    if !fits {
        let reason = format!("{shown:?} is no path; write one such as \"/om/order-won\", without ? and #");
        section.desk.error(&path.spot, reason);
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        section.desk.error(&path.spot, "must not have . or .. in it");
    } else if text.to_ascii_uppercase().ends_with(GAP_PATH) {
        let reason = format!(
            "{shown:?} is what `omgate scaffold` leaves to be filled in (GAP): write something long and random in place of \
             {GAP_PATH}, for whoever guesses the path may post to it; `openssl rand -hex 10` makes some"
        );
        section.desk.error(&path.spot, reason);
    }
}

fn source(
    section: &Section<'_, '_>,
    name: Option<Field<String>>,
    path: Option<Field<Text>>,
    declarations: &mut Declarations,
) -> Option<receive::Source> {
    section.choice("kind", &[("outbound-message", ())]);
    let organizations = organizations(section);
    let actions = actions(section);
    let addresses = addresses(section);
    let wsdl = section.plain("wsdl");
    let (declared, text) = wsdl.as_ref().and_then(|wsdl| outbound(section, wsdl)).unzip();
    if let (Some(name), Some(declared)) = (&name, &declared) {
        declarations.entry(name.value.clone()).or_insert_with(|| Arc::clone(declared));
    }
    let expose_wsdl = section.boolean("expose_wsdl").unwrap_or(false);
    if expose_wsdl && wsdl.is_none() {
        section.desk.error(&section.spot_of("expose_wsdl"), "needs wsdl: there is nothing to show");
    }
    let words = [("refuse", UnknownOrganization::Refuse), ("quarantine", UnknownOrganization::Quarantine)];
    let unknown_organization = section.choice("unknown_organization", &words);
    let loop_per_minute = section.integer("loop_per_minute", 1..=1_000_000);
    let silence = section.duration("silence", MINUTE..=SILENCE_MAX);
    let mask = mask(section, declared.as_deref());
    let search = search(section, declared.as_deref(), &mask);
    Some(receive::Source {
        name: name?.value,
        path: path?.value,
        addresses,
        organizations,
        actions,
        unknown_organization: unknown_organization.map(|field| field.value).unwrap_or_default(),
        record_types: declared.map(|declared| Arc::new(outbound::types(&declared))),
        wsdl: text.filter(|_| expose_wsdl),
        loop_per_minute: loop_per_minute.and_then(|field| u32::try_from(field.value).ok()).unwrap_or(LOOP_PER_MINUTE),
        silence: silence.map(|field| field.value),
        mask,
        search,
    })
}

/// Fields that people are not to see. Of a WSDL they must be known: a slip of the pen would show what is to be hidden.
fn mask(section: &Section<'_, '_>, declared: Option<&[DeclaredRecord]>) -> Vec<String> {
    let fields = section.list("mask").unwrap_or_default();
    check_declared(section, &fields, declared);
    fields.into_iter().map(|field| field.value).collect()
}

/// Fields that notifications are found by. Each costs a row of the store for every notification.
fn search(section: &Section<'_, '_>, declared: Option<&[DeclaredRecord]>, mask: &[String]) -> Vec<String> {
    let fields = section.list("search").unwrap_or_default();
    check_declared(section, &fields, declared);
    if fields.len() > SEARCH_FIELDS_MAX {
        let reason = format!("names {} fields; notifications are found by at most {SEARCH_FIELDS_MAX}", fields.len());
        section.desk.error(&section.spot_of("search"), reason);
    }
    let mut known: Vec<String> = Vec::new();
    for field in fields {
        if known.contains(&field.value) {
            section.desk.error(&field.spot, format!("{:?} is listed twice", field.value));
        } else if mask.iter().any(|masked| masked.eq_ignore_ascii_case(&field.value)) {
            let reason = format!("{:?} is masked: whoever searched for it would learn what it holds", field.value);
            section.desk.error(&field.spot, reason);
        } else {
            known.push(field.value);
        }
    }
    known
}

/// Of a WSDL the fields must be known.
fn check_declared(section: &Section<'_, '_>, fields: &[Field<String>], declared: Option<&[DeclaredRecord]>) {
    for field in fields.iter().filter(|_| declared.is_some()) {
        let known =
            || declared.into_iter().flatten().flat_map(|record| &record.fields).map(|field| field.name.as_str());
        if !known().any(|name| name == field.value) {
            let reason = format!("the WSDL declares no field {:?}", field.value);
            section.desk.unknown(&field.spot, reason, &field.value, known());
        }
    }
}

/// Where may be sent from: what is listed, and what a file lists; none: anywhere. What cannot be read lets nobody in.
fn addresses(section: &Section<'_, '_>) -> Option<Networks> {
    let listed = tls::networks(section, "addresses").or_else(|| section.has("addresses").then(Networks::default));
    let Some(path) = section.plain("addresses_file") else { return listed };
    let read = section.desk.files.text(&path.value).map_err(|error| file::reason(&error));
    let file = read.and_then(|text| network::file(&text));
    if let Err(reason) = &file {
        section.desk.error(&path.spot, format!("cannot read networks of {:?}: {reason}", path.value));
    }
    Some(listed.unwrap_or_default().with(&file.unwrap_or_default()))
}

/// None: any organization.
fn organizations(section: &Section<'_, '_>) -> Option<Vec<OrganizationId>> {
    let Some(list) = section.list("organizations") else {
        if !section.has("organizations") {
            let reason = "key `organizations` is missing: whose messages are taken? A client certificate or an address \
                          does not tell organizations apart";
            section.desk.error(&section.spot, reason);
        }
        return Some(Vec::new());
    };
    if list.iter().any(|item| item.value == "*") {
        let spot = section.spot_of("organizations");
        if list.len() > 1 {
            section.desk.error(&spot, "\"*\" accepts any organization; leave the others out");
        }
        section.desk.warning(&spot, "any organization may send: every Salesforce customer can write to this path");
        return None;
    }
    if list.is_empty() {
        section.desk.error(&section.spot_of("organizations"), "is empty: nothing would be taken");
    }
    let mut organizations: Vec<OrganizationId> = Vec::new();
    for item in list {
        match organization(&item.value) {
            Ok(id) if organizations.contains(&id) => {
                section.desk.error(&item.spot, format!("{:?} is listed twice", item.value));
            }
            Ok(id) => organizations.push(id),
            Err(reason) => section.desk.error(&item.spot, reason),
        }
    }
    Some(organizations)
}

fn organization(text: &str) -> Result<OrganizationId, String> {
    let id = OrganizationId::parse(text).map_err(|error| format!("{text:?} {error}"))?;
    let fits = matches!(id.as_str().len(), 15 | 18)
        && id.as_str().starts_with("00D")
        && id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits && id.as_str().get(3..).is_some_and(|rest| rest.bytes().all(|byte| byte == b'0')) {
        return Err(format!(
            "{text:?} is what `omgate scaffold` leaves to be filled in (GAP): write the id of your Salesforce organization"
        ));
    }
    if fits {
        return Ok(id);
    }
    Err(format!("{text:?} is no organization id: 15 or 18 letters and digits that begin with 00D"))
}

fn actions(section: &Section<'_, '_>) -> Option<Vec<ActionId>> {
    let list = section.list("actions")?;
    if list.is_empty() {
        let reason = "is empty: nothing would be taken; leave the key out to take any outbound message";
        section.desk.error(&section.spot_of("actions"), reason);
    }
    let mut actions = Vec::new();
    for item in list {
        match ActionId::parse(&item.value) {
            Ok(id) => actions.push(id),
            Err(error) => section.desk.error(&item.spot, format!("{:?} {error}", item.value)),
        }
    }
    Some(actions)
}

fn outbound(section: &Section<'_, '_>, path: &Field<String>) -> Option<(Arc<[DeclaredRecord]>, Arc<str>)> {
    let named = section.desk.files.wsdl(&path.value, &path.spot.key);
    let text = match section.desk.files.text(&named) {
        Ok(text) => text,
        Err(error) => {
            section.desk.error(&path.spot, format!("cannot read {:?}: {}", path.value, file::reason(&error)));
            return None;
        }
    };
    match outbound::declared(&named, &text) {
        Ok(declared) => Some((Arc::from(declared), Arc::from(text))),
        Err(findings) => {
            findings.iter().for_each(|finding| section.desk.finding(&path.spot, finding));
            None
        }
    }
}

/// The first path of an expression that no notification of a source can have.
pub(super) fn check_names<'n>(
    names: impl Iterator<Item = (&'n str, usize)>,
    types: Option<&RecordTypes>,
    expression: &Expression,
) -> Vec<ExpressionError> {
    names.filter_map(|(path, at)| check_name(path, at, types, expression.source())).collect()
}

/// Whether a path is one that a notification can have; the error when it cannot.
pub(super) fn check_name(
    path: &str,
    offset: usize,
    types: Option<&RecordTypes>,
    source: &str,
) -> Option<ExpressionError> {
    let mut parts = path.split('.');
    let (root, name) = (parts.next().unwrap_or_default(), parts.next());
    let known: Vec<&str> = match root {
        "record" => {
            let types = types?;
            let mut fields: Vec<&str> =
                types.0.values().flat_map(|record| record.fields.iter().map(|(name, _)| name.as_str())).collect();
            fields.sort_unstable();
            fields
        }
        "notification" => vec!["id", "received_at"],
        "envelope" => vec!["organization_id", "action_id", "enterprise_url", "partner_url"],
        _ => return None,
    };
    let name = name?;
    let (reason, suggestion) = if !known.contains(&name) {
        let what = if root == "record" { "the source's WSDL has no field" } else { "there is no name" };
        (format!("{what} {name:?}"), crate::expression::nearest(name, known.into_iter()))
    } else if let Some(deeper) = parts.next() {
        (format!("{root}.{name} is a single value: it has no {deeper:?}"), None)
    } else {
        return None;
    };
    Some(ExpressionError { expression: source.to_owned(), offset: Some(offset), reason, suggestion })
}

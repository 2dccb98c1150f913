//! Sample records of a route, sent through its mapping: a full one, the least one, and one in which all is null.
//!
//! A sample's texts are made up, so a call that cannot be made of them is no proof of a fault: where a mapping wants a
//! certain text (a key of a table, a date), some that are likely are tried before it is reported.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::dispatch;
use crate::envelope::{Field, FieldType, Record, Value};
use crate::expression::{Document, Expression, Subject};
use crate::map::soap::Message;
use crate::map::{self, Body, Calls, Identity, Leaf, Mapping, Tree};
use crate::route::{self, Lane};
use crate::wsdl::outbound::{DeclaredField, DeclaredRecord};
use crate::wsdl::{Operation, Target};

/// Samples are received at 2026-01-31T12:30:00.000Z.
const RECEIVED_AT: Timestamp = Timestamp(1_769_862_600_000);
/// How many made-up values a reason names.
const NAMED_MAX: usize = 3;
/// More texts are not tried for one field.
const TRIES_MAX: usize = 60;
const ID: &str = "001000000000001AAA";

/// What became of one sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trial {
    /// The type of record.
    pub(super) record_type: String,
    /// `full`, `minimal` or `null`.
    pub(super) sample: &'static str,
    /// Whether a valid call came of it.
    pub(super) ok: bool,
    /// Why not, in words.
    pub(super) reason: Option<String>,
}

/// Tries every kind of sample on a route; and says why no record at all makes a call, if that is so.
pub(super) fn trials(loaded: &Loaded, route: &str, source: &str) -> (Vec<Trial>, Option<String>) {
    let Some(planned) = loaded.plan.routes.get(route) else { return (Vec::new(), None) };
    let condition = loaded.routes.get(source).into_iter().flatten().find(|known| known.name == route);
    let conditions = condition.and_then(|route| route.when.as_ref()).into_iter();
    let records = match loaded.declarations.get(source) {
        Some(records) => records.to_vec(),
        None => vec![used(&planned.mapping, conditions)],
    };
    let mut trials = Vec::new();
    let mut never = Vec::new();
    for record in &records {
        let lane = condition.map(|route| &route.lane);
        let bench = Bench { loaded, planned, lane, source, after: kept_sample(&planned.mapping) };
        for (sample, made) in [("full", bench.full(record)), ("minimal", minimal(record)), ("null", null(record))] {
            let reason = bench.reason(&made);
            let record_type = record.name.clone();
            if sample == "full" {
                never.push(reason.clone().filter(|reason| bench.is_proof(record, &made, reason)));
            }
            let reason = reason.map(|reason| with_origin(reason, &made));
            trials.push(Trial { record_type, sample, ok: reason.is_none(), reason });
        }
    }
    let none_sends = trials.iter().all(|trial| !trial.ok) && never.iter().all(Option::is_some);
    // What an answer will hold is nobody's to say.
    let asks_answers = !kept_sample(&planned.mapping).is_empty();
    let never = never.into_iter().flatten().next().filter(|_| none_sends && !asks_answers);
    (trials, never)
}

/// What a mapping reads of the answers to those that its route comes after, made up: each is 1.
pub(in crate::cli) fn kept_sample(mapping: &Mapping) -> Map<String, Json> {
    let mut kept = Map::new();
    let mut read = |path: &str| {
        if let Some(name) = path.strip_prefix("after.").and_then(|rest| rest.split('.').next()) {
            kept.insert(name.to_owned(), Json::String("1".to_owned()));
        }
    };
    expressions(mapping).into_iter().flat_map(Expression::names).for_each(|(path, _)| read(path));
    if let Some(document) = document(mapping) {
        document.names().for_each(|(path, _)| read(path));
    }
    kept
}

/// A reason, with the made-up values that it speaks of: nobody has ever sent them.
fn with_origin(reason: String, record: &Record) -> String {
    let shown = |field: &Field| match &field.value {
        Value::Text(text) => Some(format!("{text:?}")),
        Value::Number(number) => Some(number.clone()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Null | Value::List(_) => None,
    };
    let fields: Vec<(String, String)> =
        record.fields.iter().filter_map(|field| Some((format!("record.{}", field.name), shown(field)?))).collect();
    let mut given: Vec<&(String, String)> = fields.iter().filter(|(name, _)| mentions(&reason, name)).collect();
    if given.is_empty() {
        given = fields.iter().filter(|(_, value)| value.len() > 2 && reason.contains(value.as_str())).collect();
    }
    if given.is_empty() {
        return reason;
    }
    let more = if given.len() > NAMED_MAX { ", …" } else { "" };
    let given: Vec<String> = given.iter().take(NAMED_MAX).map(|(name, value)| format!("{name} is {value}")).collect();
    format!("{reason}; values are made up by this check, in whose sample {}{more}", given.join(", "))
}

/// Whether a text holds a name as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let after = text.get(at + name.len()..).and_then(|rest| rest.chars().next());
        after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

/// A full record of other values than the sample's: what fails for the same reason does not fail for its values.
fn other(declared: &DeclaredRecord) -> Record {
    let text = |text: &str| Value::Text(text.to_owned());
    let value = |field: &DeclaredField| match field.field_type {
        FieldType::Id => text("006000000000007AAA"),
        FieldType::Boolean => Value::Boolean(false),
        FieldType::Integer(integer) if matches!(integer.as_str(), "negativeInteger" | "nonPositiveInteger") => {
            Value::Number("-7".to_owned())
        }
        FieldType::Integer(_) => Value::Number("7".to_owned()),
        FieldType::Double => Value::Number("7.5".to_owned()),
        FieldType::Date => text("2027-02-28"),
        FieldType::DateTime => text("2027-02-28T08:15:00.000Z"),
        FieldType::Time => text("08:15:00.000Z"),
        FieldType::Base64 => text("BAUG"),
        FieldType::String => match field.enumeration.last() {
            Some(last) => text(last),
            None => Value::Text(of_length("Q7", field.length_min, field.length_max)),
        },
    };
    record(declared, declared.fields.iter().map(|field| (field, value(field))))
}

/// Without a WSDL: the fields that the route reads, all as text.
fn used<'e>(mapping: &'e Mapping, conditions: impl Iterator<Item = &'e Expression>) -> DeclaredRecord {
    let mut names: BTreeSet<String> = BTreeSet::from(["Id".to_owned()]);
    let mut read = |path: &str| {
        names.extend(path.strip_prefix("record.").and_then(|rest| rest.split('.').next()).map(str::to_owned));
    };
    expressions(mapping).into_iter().chain(conditions).flat_map(Expression::names).for_each(|(path, _)| read(path));
    if let Some(document) = document(mapping) {
        document.names().for_each(|(path, _)| read(path));
    }
    let field = |name: String| DeclaredField {
        field_type: if name == "Id" { FieldType::Id } else { FieldType::String },
        required: name == "Id",
        name,
        length_min: None,
        length_max: None,
        enumeration: Vec::new(),
        nillable: true,
    };
    DeclaredRecord { name: String::new(), fields: names.into_iter().map(field).collect() }
}

/// Every expression of a mapping that is no part of a document.
pub(in crate::cli) fn expressions(mapping: &Mapping) -> Vec<&Expression> {
    let mut found: Vec<&Expression> = mapping.headers.iter().flat_map(|(_, template)| template.holes()).collect();
    if let Calls::Rest(rest) = &mapping.calls {
        found.extend(rest.url.holes());
        found.extend(rest.query.iter().map(|(_, expression)| expression));
    }
    let leaves = tree(mapping).map(Tree::leaves).unwrap_or_default();
    found.extend(leaves.into_iter().filter_map(|(_, leaf)| match leaf {
        Leaf::Expression(expression) => Some(expression),
        Leaf::Constant(_) => None,
    }));
    found
}

fn tree(mapping: &Mapping) -> Option<&Tree> {
    match &mapping.calls {
        Calls::Rest(rest) => match &rest.body {
            Body::Json(tree) | Body::Form(tree) => Some(tree),
            Body::None | Body::Whole | Body::Document { .. } => None,
        },
        Calls::Soap(soap) => match &soap.message {
            Message::Arguments(tree) => Some(tree),
            Message::Document(_) => None,
        },
    }
}

/// The document of a mapping that has one.
pub(in crate::cli) fn document(mapping: &Mapping) -> Option<&Document> {
    match &mapping.calls {
        Calls::Rest(rest) => match &rest.body {
            Body::Document { document, .. } => Some(document),
            Body::None | Body::Whole | Body::Json(_) | Body::Form(_) => None,
        },
        Calls::Soap(soap) => match &soap.message {
            Message::Document(document) => Some(document),
            Message::Arguments(_) => None,
        },
    }
}

fn minimal(declared: &DeclaredRecord) -> Record {
    let kept = |field: &&DeclaredField| field.name == "Id" || (field.required && !field.nillable);
    record(declared, declared.fields.iter().filter(kept).map(|field| (field, sample(field))))
}

/// Nulls as Salesforce sends them; a record always has its Id.
fn null(declared: &DeclaredRecord) -> Record {
    let value = |field: &DeclaredField| match field.name.as_str() {
        "Id" => sample(field),
        _ if field.required && !field.nillable => sample(field),
        _ => Value::Null,
    };
    record(declared, declared.fields.iter().map(|field| (field, value(field))))
}

fn record<'f>(declared: &DeclaredRecord, fields: impl Iterator<Item = (&'f DeclaredField, Value)>) -> Record {
    let fields = fields.map(|(field, value)| Field { name: field.name.clone(), value }).collect();
    Record { record_type: declared.name.clone(), fields, drift: Vec::new() }
}

fn sample(field: &DeclaredField) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    match field.field_type {
        FieldType::Id => text(ID),
        FieldType::Boolean => Value::Boolean(true),
        FieldType::Integer(integer) if matches!(integer.as_str(), "negativeInteger" | "nonPositiveInteger") => {
            Value::Number("-1".to_owned())
        }
        FieldType::Integer(_) => Value::Number("1".to_owned()),
        FieldType::Double => Value::Number("1.0".to_owned()),
        FieldType::Date => text("2026-01-31"),
        FieldType::DateTime => text("2026-01-31T12:30:00.000Z"),
        FieldType::Time => text("12:30:00.000Z"),
        FieldType::Base64 => text("AAEC"),
        FieldType::String => match field.enumeration.first() {
            Some(first) => text(first),
            None => Value::Text(of_length("text", field.length_min, field.length_max)),
        },
    }
}

fn of_length(text: &str, least: Option<u64>, most: Option<u64>) -> String {
    let number = |length: Option<u64>| length.and_then(|length| usize::try_from(length.min(10_000)).ok());
    let length = number(least).unwrap_or(0).max(text.len()).min(number(most).unwrap_or(usize::MAX));
    text.chars().cycle().take(length).collect()
}

struct Bench<'b> {
    loaded: &'b Loaded,
    planned: &'b dispatch::Route,
    lane: Option<&'b Lane>,
    source: &'b str,
    after: Map<String, Json>,
}

impl Bench<'_> {
    fn subject<'s>(&'s self, record: &'s Record) -> Subject<'s> {
        Subject {
            record: Some(record),
            notification_id: "04l000000000001AAA",
            received_at: RECEIVED_AT,
            organization_id: "00D000000000001AAA",
            action_id: "04k000000000001AAA",
            enterprise_url: "https://example.my.salesforce.com/services/Soap/c/60.0/00D000000000001",
            partner_url: "https://example.my.salesforce.com/services/Soap/u/60.0/00D000000000001",
            source: self.source,
            after: Some(&self.after),
        }
    }

    /// Why no call can be made of a record; none: one was made, and is valid.
    fn reason(&self, record: &Record) -> Option<String> {
        if let Some(Err(reason)) = self.lane.map(|lane| route::lane(lane, &self.subject(record))) {
            return Some(format!("finding `lane`: {}", self.loaded.plan.mask.apply(&reason)));
        }
        let identity = Identity { idempotency_key: "sample".to_owned() };
        let made = map::call(&self.planned.mapping, &self.subject(record), &identity);
        made.err().map(|error| self.loaded.plan.mask.apply(&error.reason))
    }

    /// Whether the reason why a full record fails is that of any record: neither other values of the fields that it
    /// speaks of change it, nor none, one by one or all.
    fn is_proof(&self, declared: &DeclaredRecord, full: &Record, reason: &str) -> bool {
        let with = |names: &[&str], others: &Record| {
            let value = |field: &Field| {
                let named =
                    others.fields.iter().find(|other| other.name == field.name && names.contains(&&*field.name));
                named.unwrap_or(field).clone()
            };
            Record { fields: full.fields.iter().map(value).collect(), ..full.clone() }
        };
        let (others, nulls) = (other(declared), null(declared));
        let read = full.fields.iter().map(|field| field.name.as_str());
        let read: Vec<&str> = read.filter(|name| mentions(reason, &format!("record.{name}"))).take(TRIES_MAX).collect();
        let mut probes = vec![with(&read, &others), with(&read, &nulls)];
        if read.is_empty() {
            probes.extend([minimal(declared), others, nulls]);
        } else {
            probes.extend(read.iter().map(|name| with(&[name], &nulls)));
        }
        probes.iter().all(|probe| self.reason(probe).as_deref() == Some(reason))
    }

    fn full(&self, declared: &DeclaredRecord) -> Record {
        let mut made = record(declared, declared.fields.iter().map(|field| (field, sample(field))));
        let mut settled = BTreeSet::new();
        let operation = match &self.planned.mapping.calls {
            Calls::Soap(soap) => Some(&soap.operation),
            Calls::Rest(_) => None,
        };
        for (path, leaf) in tree(&self.planned.mapping).map(Tree::leaves).unwrap_or_default() {
            let Leaf::Expression(expression) = leaf else { continue };
            let target = operation.and_then(|operation| {
                let names: Vec<&str> = path.split('.').collect();
                operation.resolve(&names).ok().map(|target| (operation, target))
            });
            self.suit(declared, &mut made, &mut settled, expression, target);
        }
        for expression in expressions(&self.planned.mapping) {
            self.suit(declared, &mut made, &mut settled, expression, None);
        }
        made
    }

    /// Changes the texts that an expression reads until it gives what its target takes.
    fn suit(
        &self,
        declared: &DeclaredRecord,
        made: &mut Record,
        settled: &mut BTreeSet<String>,
        expression: &Expression,
        target: Option<(&Operation, Target)>,
    ) {
        let fields: Vec<&str> =
            expression.names().filter_map(|(path, _)| path.strip_prefix("record.")?.split('.').next()).collect();
        let suits = |record: &Record| {
            let Ok(value) = expression.evaluate(&self.subject(record)) else { return false };
            target.as_ref().is_none_or(|(operation, target)| operation.accepts(target, &value).is_ok())
        };
        if !suits(made) {
            let texts = likely(expression, target.as_ref().map(|(_, target)| target));
            'fields: for name in &fields {
                let is_free = declared.fields.iter().any(|field| field.name == *name && is_free(field));
                let Some(at) = made.fields.iter().position(|field| field.name == *name) else { continue };
                if !is_free || settled.contains(*name) {
                    continue;
                }
                for text in texts.iter().take(TRIES_MAX) {
                    let mut other = made.clone();
                    if let Some(field) = other.fields.get_mut(at) {
                        field.value = Value::Text(text.clone());
                    }
                    if suits(&other) {
                        *made = other;
                        break 'fields;
                    }
                }
            }
        }
        settled.extend(fields.into_iter().map(str::to_owned));
    }
}

/// Whether any text may stand in a field.
fn is_free(field: &DeclaredField) -> bool {
    field.field_type == FieldType::String && field.enumeration.is_empty()
}

/// Texts that may suit an expression and its target.
fn likely(expression: &Expression, target: Option<&Target>) -> Vec<String> {
    let mut texts = expression.keys();
    if let Some(target) = target {
        texts.extend(target.enumeration.iter().take(10).cloned());
        texts.extend(target.fixed.iter().cloned());
        for text in ["text", "1", "TEXT"] {
            texts.push(of_length(text, target.min_length, target.max_length));
        }
    }
    let forms = [
        "1",
        "A",
        "AA",
        "AAA",
        "true",
        "2026-01-31",
        "2026-01-31T12:30:00Z",
        "12:30:00",
        "2026",
        "AAEC",
        "P1D",
        "en",
        "a",
        "12345",
        "user@example.com",
        "http://example.com/",
    ];
    texts.extend(forms.map(str::to_owned));
    texts
}

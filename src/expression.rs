//! The one expression language: MiniJinja expressions that give values, never text.
//!
//! No clock and no random: the same names give the same value, so that a call can be made again, byte for byte.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use crate::clock::Timestamp;
use crate::envelope::{self, Record};
use crate::outcome::Fault;
use crate::secret::Text;

mod document;
mod filters;
mod form;
mod number;
mod rewrite;
mod table;
mod template;

pub use document::Document;
pub use form::{Shape, Shapes};
pub use table::{OnMissing, Table, Tables};
pub use template::{Place, Template, scalar};

/// Every filter, for people and for suggestions.
pub const FILTERS: [&str; 22] = [
    "abs", "bool", "date", "decimal", "default", "first", "float", "int", "join", "last", "length", "lookup", "lower",
    "nil", "pad", "replace", "round", "split", "string", "trim", "truncate", "upper",
];

/// Every test (`is …`).
pub const TESTS: [&str; 12] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "even",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "undefined",
];

/// The names at the root of an expression about a notification.
pub const SUBJECT_NAMES: [&str; 4] = ["record", "notification", "envelope", "source"];

/// The names at the root of an expression that makes a call: besides those, what was kept of the answer to the delivery that
/// it comes after.
pub const CALL_NAMES: [&str; 5] = ["record", "notification", "envelope", "source", "after"];

/// The names at the root of an expression about an answer.
pub const RESPONSE_NAMES: [&str; 1] = ["response"];

/// What stands under `response`.
const RESPONSE_PARTS: [&str; 4] = ["status", "headers", "fault", "body"];

/// The longest source of an expression, in bytes.
const SOURCE_BYTES_MAX: usize = 16 << 10;
/// What an evaluation may cost, in MiniJinja's units: one an instruction, one for 64 bytes of data.
const FUEL: u64 = 1_000_000;
/// How deep a result may nest.
const RESULT_DEPTH_MAX: usize = 32;
/// Under this name the tables are in scope; no expression can write it, for it is no subject name.
const TABLES: &str = "_tables";

/// The names an expression can see about one notification.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `record`; none when there is no sObject (every field is then absent).
    pub record: Option<&'a Record>,
    /// `notification.id`.
    pub notification_id: &'a str,
    /// `notification.received_at`.
    pub received_at: Timestamp,
    /// `envelope.organization_id`.
    pub organization_id: &'a str,
    /// `envelope.action_id`.
    pub action_id: &'a str,
    /// `envelope.enterprise_url`.
    pub enterprise_url: &'a str,
    /// `envelope.partner_url`.
    pub partner_url: &'a str,
    /// `source`.
    pub source: &'a str,
    /// `after`: what was kept of the answer to the delivery that this one comes after.
    pub after: Option<&'a Map<String, Json>>,
}

/// The names an expression can see about an answer: `response.status`, `response.headers['retry-after']`,
/// `response.fault.code` (also `subcodes`, `string`, `actor`, `detail` typed and `detail_xml` as text), `response.body`.
#[derive(Clone, Copy, Debug)]
pub struct ResponseScope<'a> {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case; of a repeated one the first counts.
    pub headers: &'a [(String, String)],
    /// The SOAP fault.
    pub fault: Option<&'a Fault>,
    /// The decoded body.
    pub body: Option<&'a Json>,
}

/// What a condition about an answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether it holds.
    pub holds: bool,
    /// Whether it looked at the body on the way: `response.status == 204 or response.body.ok` does not at a 204.
    pub reads_body: bool,
}

/// Why an expression cannot be compiled or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expression `{expression}`: {reason}")]
pub struct ExpressionError {
    /// Its source, secrets as references; cut when long.
    pub expression: String,
    /// Where in its source, in bytes, when that is known.
    pub offset: Option<usize>,
    /// In words.
    pub reason: String,
    /// The nearest name, when a name is unknown.
    pub suggestion: Option<String>,
}

impl ExpressionError {
    fn at(source: &str, offset: usize, reason: String) -> Self {
        Self { expression: shown(source), offset: Some(offset), reason, suggestion: None }
    }

    fn unknown<'n>(source: &str, offset: usize, kind: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Self {
        let mut error = Self::at(source, offset, format!("there is no {kind} named {name:?}"));
        error.suggestion = nearest(name, known);
        error
    }

    fn of(source: &str, error: &minijinja::Error) -> Self {
        let reason = if error.kind() == ErrorKind::OutOfFuel {
            "costs more than an expression may".to_owned()
        } else {
            error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
        };
        Self { expression: shown(source), offset: None, reason, suggestion: None }
    }
}

/// The known name that is nearest to a wrong one, if any is near.
#[must_use]
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    let wanted = name.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

fn shown(source: &str) -> String {
    const LENGTH_MAX: usize = 200;
    let source: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    if source.chars().count() <= LENGTH_MAX {
        return source;
    }
    source.chars().take(LENGTH_MAX).chain(['…']).collect()
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    inner: Arc<Inner>,
}

struct Inner {
    /// As configured, secrets as references.
    source: String,
    compiled: minijinja::Expression<'static, 'static>,
    names: Vec<(String, usize)>,
    needs: Needs,
    tables: Tables,
    form: form::Form,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.inner.source).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.source)
    }
}

/// An environment without anything but ours: no functions, no loaders, no clock.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_recursion_limit(100);
    filters::register(&mut environment);
    environment
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// Texts that say no, where a condition comes to a text: a system whose schema is not known says "false" for false.
const NO: [&str; 4] = ["false", "0", "no", "off"];

/// Whether what a condition comes to means that it holds: false, 0, `""`, an empty list, an empty object and none do not, and
/// neither does a text that says so.
fn holds(value: &Value) -> bool {
    let says_no = |text: &str| NO.iter().any(|no| text.trim().eq_ignore_ascii_case(no));
    value.is_true() && !value.as_str().is_some_and(says_no)
}

impl Expression {
    /// Compiles an expression: checks syntax, filters, tests and the tables that it names.
    /// Which names it may read depends on where it stands: see [`Self::check_names`].
    ///
    /// # Errors
    /// What is wrong, where, and the nearest name.
    pub fn compile(source: &str, tables: &Tables) -> Result<Self, ExpressionError> {
        Self::compile_text(&Text::plain(source), tables)
    }

    /// Compiles an expression that may have secrets inside its string constants.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_text(text: &Text, tables: &Tables) -> Result<Self, ExpressionError> {
        let source = text.masked();
        let rewritten = rewritten(&source, &[])?;
        for (name, at) in &rewritten.tables {
            if !tables.0.contains_key(name) {
                return Err(ExpressionError::unknown(&source, *at, "table", name, tables.names().into_iter()));
            }
        }
        // What a secret stands for is not tried: its reference, which stands in its place here, may not suit.
        for (trial, at) in rewritten.trials.iter().filter(|_| text.is_plain()) {
            let done = ENVIRONMENT.compile_expression_owned(trial.clone()).and_then(|trial| trial.eval(()).map(drop));
            done.map_err(|error| ExpressionError::at(&source, *at, ExpressionError::of(&source, &error).reason))?;
        }
        let compiled_source =
            if text.is_plain() { rewritten.source } else { self::rewritten(&text.reveal_with(escaped), &[])?.source };
        let compiled = ENVIRONMENT
            .compile_expression_owned(compiled_source)
            .map_err(|error| ExpressionError::of(&source, &error))?;
        let needs = Needs::of(rewritten.names.iter().map(|(name, _)| name.as_str()));
        // What a secret makes of a value is nobody's to say.
        let form = if text.is_plain() { rewritten.form } else { form::Form::Unknown };
        let inner = Inner { source, compiled, names: rewritten.names, needs, tables: tables.clone(), form };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The source as configured, secrets as references.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Every dotted path it reads, with its offset in the source in bytes.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.inner.names.iter().map(|(name, at)| (name.as_str(), *at))
    }

    /// The kinds of value that it may give, as far as they are certain. `names` says what a dotted path may hold.
    #[must_use]
    pub fn shapes(&self, names: &dyn Fn(&str) -> Vec<Shape>) -> Shapes {
        form::shapes(&self.inner.form, names, &self.inner.tables)
    }

    /// Some keys of the tables that it looks up, for samples.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for name in form::tables(&self.inner.form) {
            let Some(table) = self.inner.tables.0.get(name) else { continue };
            let mut known: Vec<&String> = table.rows.keys().take(10_000).collect();
            known.sort_unstable();
            keys.extend(known.into_iter().take(10).cloned());
        }
        keys
    }

    /// Checks that every path starts with one of these names.
    ///
    /// # Errors
    /// The first that does not, with the nearest name.
    pub fn check_names(&self, roots: &[&str]) -> Result<(), ExpressionError> {
        let source = &self.inner.source;
        for (path, at) in self.names() {
            let root = path.split('.').next().unwrap_or(path);
            if !roots.contains(&root) {
                let mut error = ExpressionError::unknown(source, at, "name", root, roots.iter().copied());
                if error.suggestion.is_none() && roots.contains(&"record") {
                    error.reason = format!("{}; fields are written as record.{root}", error.reason);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Evaluates to a value: none → null, numbers with their digits, `nil` → `{"$nil": true}`.
    ///
    /// # Errors
    /// What could not be done, naming the expression.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Result<Json, ExpressionError> {
        let value = self.run(self.inner.needs.subject(subject))?;
        json(&value, 0).map_err(|reason| self.error(reason))
    }

    /// Whether it holds for a notification: false, 0, an empty text, list or object and none do not, nor a text that says no.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn holds(&self, subject: &Subject<'_>) -> Result<bool, ExpressionError> {
        self.run(self.inner.needs.subject(subject)).map(|value| holds(&value))
    }

    /// Whether it holds for an answer, and whether the body had a say in it.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_response(&self, response: &ResponseScope<'_>) -> Result<Judged, ExpressionError> {
        let watched = Arc::new(Watched { response: response_value(response), reads_body: AtomicBool::new(false) });
        let value = self.run(vec![("response", Value::from_dyn_object(Arc::clone(&watched)))])?;
        Ok(Judged { holds: holds(&value), reads_body: watched.reads_body.load(Ordering::Relaxed) })
    }

    /// Evaluates to a value of an answer.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn of_response(&self, response: &ResponseScope<'_>) -> Result<Json, ExpressionError> {
        let value = self.run(vec![("response", response_value(response))])?;
        json(&value, 0).map_err(|reason| self.error(reason))
    }

    fn run(&self, mut names: Vec<(&'static str, Value)>) -> Result<Value, ExpressionError> {
        names.push((TABLES, Value::from_object(TablesObject(self.inner.tables.clone()))));
        let scope = Value::from_pairs(names);
        self.inner.compiled.eval(scope).map_err(|error| ExpressionError::of(&self.inner.source, &error))
    }

    fn error(&self, reason: String) -> ExpressionError {
        ExpressionError { expression: shown(&self.inner.source), offset: None, reason, suggestion: None }
    }
}

fn rewritten(source: &str, locals: &[String]) -> Result<rewrite::Rewritten, ExpressionError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(ExpressionError::at(source, 0, "is longer than 16 KiB".to_owned()));
    }
    if source.trim().is_empty() {
        return Err(ExpressionError::at(source, 0, "is empty".to_owned()));
    }
    let rewritten = rewrite::rewrite(source, locals)?;
    match ENVIRONMENT.compile_expression_owned(source.to_owned()) {
        Ok(_) => Ok(rewritten),
        Err(error) => Err(ExpressionError::of(source, &error)),
    }
}

/// A secret as it may stand inside a string constant.
fn escaped(secret: &str) -> String {
    let mut text = String::with_capacity(secret.len());
    for c in secret.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\'' => text.push_str("\\'"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            _ => text.push(c),
        }
    }
    text
}

/// The value that forces `xsi:nil` or JSON's null.
#[derive(Debug)]
struct Nil;

impl Object for Nil {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

#[derive(Debug)]
struct TablesObject(Tables);

impl Object for TablesObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// `response`, which notes whether its body is looked at.
#[derive(Debug)]
struct Watched {
    response: Value,
    reads_body: AtomicBool,
}

impl Object for Watched {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if key.as_str() == Some("body") {
            self.reads_body.store(true, Ordering::Relaxed);
        }
        self.response.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&RESPONSE_PARTS)
    }
}

/// What of a notification an expression reads, so that nothing else is prepared for it.
#[derive(Debug, Default)]
struct Needs {
    record: Fields,
    notification: bool,
    envelope: bool,
    source: bool,
    after: bool,
}

#[derive(Debug, Default)]
enum Fields {
    #[default]
    Nothing,
    These(Vec<String>),
    All,
}

impl Needs {
    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut needs = Self::default();
        for name in names {
            let mut parts = name.split('.');
            match (parts.next(), parts.next()) {
                (Some("record"), field) => needs.record.add(field),
                (Some("notification"), _) => needs.notification = true,
                (Some("envelope"), _) => needs.envelope = true,
                (Some("source"), _) => needs.source = true,
                (Some("after"), _) => needs.after = true,
                _ => {}
            }
        }
        needs
    }

    fn subject(&self, subject: &Subject<'_>) -> Vec<(&'static str, Value)> {
        let mut names = Vec::with_capacity(5);
        if let Some(record) = subject.record {
            match &self.record {
                Fields::Nothing => {}
                Fields::These(fields) => names.push(("record", some_fields(record, fields))),
                Fields::All => {
                    let all = record.fields.iter().map(|field| (field.name.as_str(), field_value(&field.value)));
                    names.push(("record", Value::from_pairs(all)));
                }
            }
        }
        if self.notification {
            let received_at = subject.received_at.to_string();
            names.push(("notification", object([("id", subject.notification_id), ("received_at", &received_at)])));
        }
        if self.envelope {
            let envelope = object([
                ("organization_id", subject.organization_id),
                ("action_id", subject.action_id),
                ("enterprise_url", subject.enterprise_url),
                ("partner_url", subject.partner_url),
            ]);
            names.push(("envelope", envelope));
        }
        if self.source {
            names.push(("source", Value::from(subject.source)));
        }
        if let Some(after) = subject.after.filter(|_| self.after) {
            let kept = after.iter().map(|(name, value)| (name.as_str(), json_value(value)));
            names.push(("after", Value::from_pairs(kept)));
        }
        names
    }
}

impl Fields {
    fn add(&mut self, field: Option<&str>) {
        match (&mut *self, field) {
            (Self::All, _) => {}
            (_, None) => *self = Self::All,
            (Self::Nothing, Some(field)) => *self = Self::These(vec![field.to_owned()]),
            (Self::These(fields), Some(field)) => {
                if !fields.iter().any(|known| known == field) {
                    fields.push(field.to_owned());
                }
            }
        }
    }
}

fn some_fields(record: &Record, fields: &[String]) -> Value {
    Value::from_pairs(
        fields.iter().filter_map(|name| record.field(name).map(|value| (name.as_str(), field_value(value)))),
    )
}

fn object<const N: usize>(entries: [(&str, &str); N]) -> Value {
    Value::from_pairs(entries.into_iter().map(|(name, value)| (name, Value::from(value))))
}

fn field_value(value: &envelope::Value) -> Value {
    match value {
        envelope::Value::Null => Value::from(()),
        envelope::Value::Text(text) => Value::from(text.as_str()),
        envelope::Value::Boolean(boolean) => Value::from(*boolean),
        envelope::Value::Number(digits) => number::value(digits.as_str()),
        envelope::Value::List(values) => values.iter().map(field_value).collect(),
    }
}

/// The fields of a record as a JSON object, in their order, numbers with their digits.
#[must_use]
pub fn record_json(record: &Record) -> Json {
    record.fields.iter().map(|field| (field.name.clone(), field_json(&field.value))).collect()
}

fn field_json(value: &envelope::Value) -> Json {
    match value {
        envelope::Value::Null => Json::Null,
        envelope::Value::Text(text) => Json::String(text.clone()),
        envelope::Value::Boolean(boolean) => Json::Bool(*boolean),
        envelope::Value::Number(digits) => {
            number::json(digits).map_or_else(|| Json::String(digits.clone()), Json::Number)
        }
        envelope::Value::List(values) => values.iter().map(field_json).collect(),
    }
}

fn response_value(response: &ResponseScope<'_>) -> Value {
    let mut headers: Vec<(&str, Value)> = Vec::with_capacity(response.headers.len());
    for (name, value) in response.headers.iter().rev() {
        headers.push((name.as_str(), Value::from(value.as_str())));
    }
    let parts = [
        Value::from(response.status),
        Value::from_pairs(headers),
        response.fault.map_or_else(|| Value::from(()), fault_value),
        response.body.map_or_else(|| Value::from(()), json_value),
    ];
    Value::from_pairs(RESPONSE_PARTS.into_iter().zip(parts))
}

fn fault_value(fault: &Fault) -> Value {
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| Value::from(()), Value::from);
    let entries = [
        ("code", Value::from(fault.code.as_str())),
        ("subcodes", fault.subcodes.iter().map(|code| Value::from(code.as_str())).collect()),
        ("string", Value::from(fault.string.as_str())),
        ("actor", optional(&fault.actor)),
        ("detail", if fault.content.is_null() { optional(&fault.detail) } else { json_value(&fault.content) }),
        ("detail_xml", optional(&fault.detail)),
    ];
    Value::from_pairs(entries)
}

fn json_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(boolean) => Value::from(*boolean),
        Json::Number(digits) => number::value(digits.to_string()),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(json_value).collect(),
        Json::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(name, value)| (name.as_str(), json_value(value))))
        }
    }
}

/// A MiniJinja value as JSON, numbers with their digits.
#[expect(clippy::wildcard_enum_match_arm, reason = "MiniJinja's kinds are not ours to list")]
fn json(value: &Value, depth: usize) -> Result<Json, String> {
    if depth > RESULT_DEPTH_MAX {
        return Err(format!("the result nests deeper than {RESULT_DEPTH_MAX} levels"));
    }
    if value.downcast_object_ref::<Nil>().is_some() {
        return Ok(serde_json::json!({ "$nil": true }));
    }
    if let Some(digits) = number::digits(value) {
        // INF and NaN are numbers in XML; JSON has only text for them.
        return Ok(number::json(&digits).map_or_else(|| Json::String(digits), Json::Number));
    }
    if let Some(text) = value.as_str() {
        return Ok(Json::String(text.to_owned()));
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| error.to_string())?;
            items.map(|item| json(&item, depth + 1)).collect::<Result<_, _>>().map(Json::Array)
        }
        ValueKind::Map => json_object(value, depth),
        kind => Err(format!("the result is a {kind}, which cannot be sent")),
    }
}

fn json_object(value: &Value, depth: usize) -> Result<Json, String> {
    let mut entries = Map::new();
    for key in value.try_iter().map_err(|error| error.to_string())? {
        let entry = value.get_item(&key).map_err(|error| error.to_string())?;
        entries.insert(key.to_string(), json(&entry, depth + 1)?);
    }
    Ok(Json::Object(entries))
}

#[cfg(test)]
mod tests;

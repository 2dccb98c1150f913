//! Walking the TOML with places: typed keys, unknown keys, bounds, suggestions.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Files;
use super::problem::{Problem, Severity};
use super::{secret, value};
use crate::expression::{ExpressionError, nearest};
use crate::secret::{Mask, Text};
use crate::wsdl::Finding;

/// What all sections share: the file, its text, what was found wrong, where files and secrets come from.
pub(super) struct Desk<'d> {
    pub(super) file: String,
    pub(super) text: &'d str,
    pub(super) files: &'d Files,
    pub(super) environment: secret::Environment<'d>,
    problems: RefCell<Vec<Problem>>,
    secrets: RefCell<Vec<(String, SecretString)>>,
    failed: Cell<bool>,
    places: RefCell<HashMap<String, Vec<NameAndValue>>>,
}

/// Where a key and its value stand.
type NameAndValue = (Range<usize>, Range<usize>);

/// Where something stands in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) key: String,
    pub(super) span: Range<usize>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

impl<'d> Desk<'d> {
    pub(super) fn new(file: String, text: &'d str, files: &'d Files, environment: secret::Environment<'d>) -> Self {
        Self {
            file,
            text,
            files,
            environment,
            problems: RefCell::default(),
            secrets: RefCell::default(),
            failed: Cell::new(false),
            places: RefCell::default(),
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// All problems, in the order of their places and without secrets, and all secrets that were used.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<(String, SecretString)>) {
        let mask = self.mask();
        let mut problems = self.problems.into_inner();
        for problem in &mut problems {
            problem.reason = mask.apply(&problem.reason);
            problem.key = mask.apply(&problem.key);
            problem.suggestion = problem.suggestion.as_deref().map(|text| mask.apply(text));
        }
        let own = |problem: &Problem| problem.file != self.file;
        problems.sort_by(|a, b| {
            (own(a), &a.file, a.line, a.column, &a.key).cmp(&(own(b), &b.file, b.line, b.column, &b.key))
        });
        problems.dedup();
        (problems, self.secrets.into_inner())
    }

    pub(super) fn error(&self, spot: &Spot, reason: impl Into<String>) {
        self.report(Severity::Error, "", spot, reason.into(), None);
    }

    pub(super) fn warning(&self, spot: &Spot, reason: impl Into<String>) {
        self.report(Severity::Warning, "", spot, reason.into(), None);
    }

    pub(super) fn suggest(&self, spot: &Spot, reason: impl Into<String>, suggestion: Option<String>) {
        self.report(Severity::Error, "", spot, reason.into(), suggestion);
    }

    /// What a rule with a name found.
    pub(super) fn ruled(&self, severity: Severity, rule: &str, spot: &Spot, reason: String, near: Option<String>) {
        self.report(severity, rule, spot, reason, near);
    }

    /// A name that is none of those known.
    pub(super) fn unknown<'n>(&self, spot: &Spot, reason: String, name: &str, known: impl Iterator<Item = &'n str>) {
        self.suggest(spot, reason, nearest(name, known));
    }

    /// A text about an address without the secrets in it, which stand there in small letters.
    pub(super) fn masked(&self, text: &str) -> String {
        self.mask().apply(text)
    }

    fn mask(&self) -> Mask {
        let secrets = self.secrets.borrow();
        let small = |(reference, value): &(String, SecretString)| {
            (reference.clone(), SecretString::from(value.expose_secret().to_lowercase()))
        };
        Mask::new(secrets.iter().map(small).chain(secrets.iter().cloned()))
    }

    /// What is wrong in an expression that stands at a spot.
    pub(super) fn expression(&self, spot: &Spot, error: &ExpressionError) {
        self.ruled_expression("expression", spot, error);
    }

    /// What a rule with a name found in an expression that stands at a spot.
    pub(super) fn ruled_expression(&self, rule: &str, spot: &Spot, error: &ExpressionError) {
        let place = error.offset.map_or_else(|| spot.clone(), |offset| self.inside(spot, offset));
        self.report(Severity::Error, rule, &place, error.to_string(), error.suggestion.clone());
    }

    /// What was found in a WSDL or schema.
    pub(super) fn finding(&self, spot: &Spot, finding: &Finding) {
        let severity = match finding.severity {
            crate::wsdl::Severity::Error => Severity::Error,
            crate::wsdl::Severity::Warning => Severity::Warning,
        };
        self.push(Problem {
            severity,
            file: finding.file.clone(),
            line: usize::try_from(finding.line).unwrap_or(0),
            column: usize::try_from(finding.column).unwrap_or(0),
            rule: finding.rule.clone(),
            key: spot.key.clone(),
            reason: finding.message.clone(),
            suggestion: None,
        });
    }

    /// Something at an offset of another file.
    pub(super) fn elsewhere(&self, spot: &Spot, file: &str, text: &str, offset: usize, error: &ExpressionError) {
        let (line, column) = line_and_column(text, offset);
        self.push(Problem {
            severity: Severity::Error,
            file: file.to_owned(),
            line,
            column,
            rule: "expression".to_owned(),
            key: spot.key.clone(),
            reason: error.to_string(),
            suggestion: error.suggestion.clone(),
        });
    }

    /// Remembers where a key and its value stand, for checks that come later. In a list of tables it comes again.
    pub(super) fn remember(&self, name: &Spot, value: &Spot) {
        let spans = (name.span.clone(), value.span.clone());
        self.places.borrow_mut().entry(name.key.clone()).or_default().push(spans);
    }

    /// Where a key that was remembered and its value stand, when it comes for so many times from 0.
    pub(super) fn place_of(&self, key: &str, times: usize) -> Option<(Spot, Spot)> {
        let spot = |span: &Range<usize>| Spot { key: key.to_owned(), span: span.clone() };
        self.places.borrow().get(key)?.get(times).map(|(name, value)| (spot(name), spot(value)))
    }

    /// The place of an offset within a string value: exact where the string is written without escapes.
    pub(super) fn inside(&self, spot: &Spot, offset: usize) -> Spot {
        let source = self.text.get(spot.span.clone()).unwrap_or_default();
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| source.starts_with(quote)).unwrap_or("");
        let mut skip = quote.len();
        if quote.len() == 3 && source.get(3..).is_some_and(|rest| rest.starts_with('\n')) {
            skip += 1;
        }
        let is_exact = quote.starts_with('\'') || !source.contains('\\');
        let start = spot.span.start + if is_exact { skip + offset } else { 0 };
        Spot { key: spot.key.clone(), span: start.min(spot.span.end)..spot.span.end }
    }

    fn report(&self, severity: Severity, rule: &str, spot: &Spot, reason: String, suggestion: Option<String>) {
        let (line, column) = line_and_column(self.text, spot.span.start);
        self.push(Problem {
            severity,
            file: self.file.clone(),
            line,
            column,
            rule: rule.to_owned(),
            key: spot.key.clone(),
            reason,
            suggestion,
        });
    }

    fn push(&self, problem: Problem) {
        if problem.severity == Severity::Error {
            self.failed.set(true);
        }
        self.problems.borrow_mut().push(problem);
    }

    /// Replaces the references in a text and keeps the secrets for the mask.
    fn substituted(&self, raw: &str, spot: &Spot) -> Text {
        let (text, problems) = secret::substitute(raw, self.environment, self.files);
        for (offset, severity, reason) in problems {
            self.report(severity, "", &self.inside(spot, offset), reason, None);
        }
        let mut secrets = self.secrets.borrow_mut();
        for (reference, value) in text.secrets() {
            if !secrets.iter().any(|(known, _)| known == reference) {
                secrets.push((reference.to_owned(), value.clone()));
            }
        }
        text
    }
}

/// Line and column, from 1, in characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(line_start..).map_or(0, |line| line.chars().count()) + 1)
}

/// One table being read: remembers which keys it was asked for, so that all others are unknown.
pub(super) struct Section<'s, 'd> {
    pub(super) desk: &'s Desk<'d>,
    table: &'s DeTable<'d>,
    pub(super) spot: Spot,
    known: RefCell<Vec<&'static str>>,
}

impl<'s, 'd> Section<'s, 'd> {
    pub(super) fn new(desk: &'s Desk<'d>, table: &'s DeTable<'d>, spot: Spot) -> Self {
        Self { desk, table, spot, known: RefCell::default() }
    }

    /// The place of a key: of its name when it is there, of the section when not.
    pub(super) fn spot_of(&self, key: &str) -> Spot {
        let span = self.table.get_key_value(key).map_or_else(|| self.spot.span.clone(), |(name, _)| name.span());
        Spot { key: self.path(key), span }
    }

    fn path(&self, key: &str) -> String {
        if self.spot.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.spot.key) }
    }

    fn look(&self, key: &'static str) -> Option<(&'s DeValue<'d>, Spot)> {
        self.known.borrow_mut().push(key);
        let value = self.table.get(key)?;
        Some((value.get_ref(), Spot { key: self.path(key), span: value.span() }))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether this is the root of a configuration that says where to listen or what to store, and nothing of messages yet:
    /// a gateway's first. A file in which nothing stands at all is none: it may have been cut off.
    pub(super) fn is_yet_to_be_filled(&self) -> bool {
        let has_any = |keys: &[&str]| keys.iter().any(|key| self.has(key));
        has_any(&["server", "store"]) && !has_any(&["source", "destination", "route"])
    }

    /// Whether a key is there and holds a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    fn mismatch(&self, spot: &Spot, wanted: &str, value: &DeValue<'_>) {
        self.desk.error(spot, format!("must be {wanted}, not {}", type_name(value)));
    }

    /// Text with its secrets.
    pub(super) fn text(&self, key: &'static str) -> Option<Field<Text>> {
        let (value, spot) = self.look(key)?;
        let Some(raw) = value.as_str() else {
            self.mismatch(&spot, "text", value);
            return None;
        };
        Some(Field { value: self.desk.substituted(raw, &spot), spot })
    }

    /// Text that is used as it is; secrets in it are revealed.
    pub(super) fn plain(&self, key: &'static str) -> Option<Field<String>> {
        self.text(key).map(|field| Field { value: field.value.reveal(), spot: field.spot })
    }

    /// Text that must be there and not be empty.
    pub(super) fn required(&self, key: &'static str) -> Option<Field<String>> {
        if !self.has(key) {
            self.known.borrow_mut().push(key);
            self.desk.error(&self.spot, format!("key `{key}` is missing"));
            return None;
        }
        let field = self.plain(key)?;
        if field.value.trim().is_empty() {
            self.desk.error(&field.spot, "must not be empty");
            return None;
        }
        Some(field)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let (value, spot) = self.look(key)?;
        if value.as_bool().is_none() {
            self.mismatch(&spot, "true or false", value);
        }
        value.as_bool()
    }

    pub(super) fn integer(&self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<Field<i64>> {
        let (value, spot) = self.look(key)?;
        let Some(integer) = value.as_integer() else {
            self.mismatch(&spot, "a whole number", value);
            return None;
        };
        let number = i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok();
        match number.filter(|number| bounds.contains(number)) {
            Some(value) => Some(Field { value, spot }),
            None => {
                let reason = format!("must be from {} to {}, not {}", bounds.start(), bounds.end(), integer.as_str());
                self.desk.error(&spot, reason);
                None
            }
        }
    }

    pub(super) fn count(&self, key: &'static str, bounds: RangeInclusive<i64>, default: usize) -> usize {
        self.integer(key, bounds).and_then(|field| usize::try_from(field.value).ok()).unwrap_or(default)
    }

    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let (value, spot) = self.look(key)?;
        let digits =
            value.as_float().map(|float| float.as_str()).or_else(|| value.as_integer().map(|int| int.as_str()));
        let Some(digits) = digits else {
            self.mismatch(&spot, "a number", value);
            return None;
        };
        let number = digits.replace('_', "").parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.desk.error(&spot, format!("must be from {} to {}, not {digits}", bounds.start(), bounds.end()));
        }
        number
    }

    pub(super) fn duration(&self, key: &'static str, bounds: RangeInclusive<Duration>) -> Option<Field<Duration>> {
        let field = self.parsed(key, value::duration)?;
        if bounds.contains(&field.value) {
            return Some(field);
        }
        let (from, to) = (value::written(*bounds.start()), value::written(*bounds.end()));
        self.desk.error(&field.spot, format!("must be from {from} to {to}, not {}", value::written(field.value)));
        None
    }

    pub(super) fn size(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let number = match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Integer(_)) => {
                let limit = i64::try_from(*bounds.end()).unwrap_or(i64::MAX);
                let start = i64::try_from(*bounds.start()).unwrap_or(0);
                let field = self.integer(key, start..=limit)?;
                return usize::try_from(field.value).ok();
            }
            _ => self.parsed(key, value::size)?,
        };
        if bounds.contains(&number.value) {
            return usize::try_from(number.value).ok();
        }
        let (from, to) = (value::written_size(*bounds.start()), value::written_size(*bounds.end()));
        let reason = format!("must be from {from} to {to}, not {}", value::written_size(number.value));
        self.desk.error(&number.spot, reason);
        None
    }

    /// Text that something else reads.
    pub(super) fn parsed<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Field<T>> {
        let field = self.plain(key)?;
        match parse(&field.value) {
            Ok(value) => Some(Field { value, spot: field.spot }),
            Err(reason) => {
                self.desk.error(&field.spot, reason);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Field<T>> {
        let field = self.plain(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == field.value) {
            return Some(Field { value: value.clone(), spot: field.spot });
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let reason = format!("{:?} is none of {}", field.value, words.join(", "));
        self.desk.unknown(&field.spot, reason, &field.value, choices.iter().map(|(word, _)| *word));
        None
    }

    /// A list of texts, each with its place.
    pub(super) fn list(&self, key: &'static str) -> Option<Vec<Field<String>>> {
        let (value, spot) = self.look(key)?;
        let Some(items) = value.as_array() else {
            self.mismatch(&spot, "a list of texts", value);
            return None;
        };
        let mut list = Vec::new();
        for item in items.iter() {
            let spot = Spot { key: spot.key.clone(), span: item.span() };
            match item.get_ref().as_str() {
                Some(raw) => list.push(Field { value: self.desk.substituted(raw, &spot).reveal(), spot }),
                None => self.mismatch(&spot, "text", item.get_ref()),
            }
        }
        Some(list)
    }

    /// Whether a key holds a list with nothing in it.
    pub(super) fn list_is_empty(&self, key: &str) -> bool {
        self.table.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    /// A text, or a list of texts, with their secrets.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Field<Text>>> {
        if self.table.get(key).is_none_or(|value| !value.get_ref().is_array()) {
            return self.text(key).map(|text| vec![text]);
        }
        let (value, spot) = self.look(key)?;
        let one = |item: &Spanned<DeValue<'d>>| {
            let spot = Spot { key: spot.key.clone(), span: item.span() };
            let Some(raw) = item.get_ref().as_str() else {
                self.mismatch(&spot, "text", item.get_ref());
                return None;
            };
            Some(Field { value: self.desk.substituted(raw, &spot), spot })
        };
        value.as_array()?.iter().map(one).collect()
    }

    /// A text, a whole number, or a list of those; each as text with its place.
    pub(super) fn words(&self, key: &'static str) -> Option<Vec<Field<String>>> {
        let (value, spot) = self.look(key)?;
        let one = |value: &DeValue<'_>, spot: &Spot| match value {
            DeValue::String(text) => Some(Field { value: text.to_string(), spot: spot.clone() }),
            DeValue::Integer(number) => Some(Field { value: number.as_str().to_owned(), spot: spot.clone() }),
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.mismatch(spot, "text, a whole number, or a list of those", value);
                None
            }
        };
        let Some(items) = value.as_array() else { return one(value, &spot).map(|word| vec![word]) };
        let words: Vec<_> =
            items.iter().map(|item| one(item.get_ref(), &Spot { key: spot.key.clone(), span: item.span() })).collect();
        words.into_iter().collect()
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Self> {
        let (value, spot) = self.look(key)?;
        let Some(table) = value.as_table() else {
            self.mismatch(&spot, "a table", value);
            return None;
        };
        Some(Self::new(self.desk, table, self.at_its_name(key, spot)))
    }

    /// `[[key]]`: each is named by its `name`, or by its number from 1.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some((value, spot)) = self.look(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.mismatch(&spot, &format!("a list of tables, written as [[{key}]]"), value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                self.mismatch(&spot, &format!("a list of tables, written as [[{key}]]"), item.get_ref());
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str()).filter(|name| !name.is_empty());
            let label = name.map_or_else(|| format!("{}", position + 1), str::to_owned);
            let spot = Spot { key: format!("{}.{label}", spot.key), span: item.span() };
            sections.push(Self::new(self.desk, table, spot));
        }
        sections
    }

    fn at_its_name(&self, key: &str, spot: Spot) -> Spot {
        let span = self.table.get_key_value(key).map_or(spot.span, |(name, _)| name.span());
        Spot { key: spot.key, span }
    }

    /// Every key and value, for tables whose keys are free.
    pub(super) fn entries(&self) -> Vec<(String, Spot, &'s DeValue<'d>, Spot)> {
        let entry = |name: &Spanned<_>, value: &'s Spanned<DeValue<'d>>| {
            let name_text = AsRef::<str>::as_ref(name.get_ref()).to_owned();
            let key = self.path(&name_text);
            let name_spot = Spot { key: key.clone(), span: name.span() };
            (name_text, name_spot, value.get_ref(), Spot { key, span: value.span() })
        };
        self.table.iter().map(|(name, value): (&Spanned<std::borrow::Cow<'d, str>>, _)| entry(name, value)).collect()
    }

    /// [`Self::entries`] in the order of the file.
    pub(super) fn ordered_entries(&self) -> Vec<(String, Spot, &'s DeValue<'d>, Spot)> {
        let mut entries = self.entries();
        entries.sort_by_key(|(_, spot, ..)| spot.span.start);
        entries
    }

    /// The text of a free value, with its secrets.
    pub(super) fn free_text(&self, raw: &str, spot: &Spot) -> Text {
        self.desk.substituted(raw, spot)
    }

    /// Knows a key of which nothing is said.
    pub(super) fn ignore(&self, key: &'static str) {
        self.look(key);
    }

    /// Knows a key that is refused with a reason of its own.
    pub(super) fn refuse(&self, key: &'static str, reason: &str) {
        if self.look(key).is_some() {
            self.desk.error(&self.spot_of(key), reason);
        }
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (name, spot, ..) in self.entries() {
            if !known.contains(&name.as_str()) {
                self.desk.unknown(&spot, "there is no such key here".to_owned(), &name, known.iter().copied());
            }
        }
    }
}

/// A TOML type in words.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

//! Fields that people are not to see: hidden by their names where a record is written, and in what was made of it by the
//! names that its mapping gives them and by their values. What is sent and stored is not touched.
//!
//! Texts are looked through as they are, well-formed or cut: what is hidden never depends on whether they can be parsed.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value as Json};

use crate::envelope::Value;
use crate::expression::{Document, Expression, Template};
use crate::map::soap::Message;
use crate::map::{Body, Calls, Leaf, Mapping, Tree};
use crate::parse;

mod reason;

/// What stands in place of a value.
pub const HIDDEN: &str = "(masked)";
/// Shorter values are hidden by their names alone: such a text stands everywhere.
const VALUE_MIN: usize = 4;
/// So many characters of a value are known again, with what follows of it: reasons and kept texts are cut.
const PREFIX: usize = 8;
/// And so many where a text ends with them.
const PREFIX_AT_END: usize = 4;
/// Under these keys documents of ours hold what was sent or answered.
const CALL_KEYS: [&str; 6] = ["request", "request_line", "response", "body", "url", "value"];
/// Escaped in a URL.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Escaped in a path, where more may stand as it is.
const IN_PATH: &AsciiSet = &IN_URL.remove(b'@').remove(b'/').remove(b':').remove(b'+');

/// What is hidden, by source and by route.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    sources: BTreeMap<String, BTreeSet<String>>,
    routes: BTreeMap<String, Made>,
}

/// What a mapping makes of hidden fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The names under which they leave.
    names: BTreeSet<String>,
    /// What else is made of them, as reasons name it: the URL, templates.
    places: BTreeSet<String>,
    /// They leave under names that cannot be told.
    everywhere: bool,
    /// They make lanes.
    lane: bool,
}

impl Made {
    fn add(&mut self, Self { names, places, everywhere, lane }: Self) {
        self.names.extend(names);
        self.places.extend(places);
        self.everywhere |= everywhere;
        self.lane |= lane;
    }
}

/// What is to be hidden of one notification, and of what was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    names: BTreeSet<String>,
    places: BTreeSet<String>,
    values: Vec<String>,
    everywhere: bool,
    lane: bool,
    /// The record has nothing in any of these fields.
    bare: bool,
    /// What it was is not known any more.
    unknown: bool,
}

impl Masks {
    /// Has fields of a source hidden.
    pub fn add_source(&mut self, source: &str, fields: impl IntoIterator<Item = String>) {
        self.sources.entry(source.to_owned()).or_default().extend(fields);
    }

    /// Learns what a route of a source makes of that source's fields, which are all known before; of one that was learned
    /// already what else it makes.
    pub fn add_route(&mut self, source: &str, route: &str, mapping: &Mapping, lane: Option<&Expression>) {
        let Some(fields) = self.sources.get(source).filter(|fields| !fields.is_empty()) else { return };
        let lane = lane.is_some_and(|lane| reads(lane.names(), fields));
        let made = Made { lane, ..made(mapping, fields) };
        self.routes.entry(route.to_owned()).or_default().add(made);
    }

    /// Whether something of a source is hidden.
    #[must_use]
    pub fn hides(&self, source: &str) -> bool {
        !self.is_empty() && self.sources.get(source).is_none_or(|fields| !fields.is_empty())
    }

    /// Whether nothing is hidden at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.values().all(BTreeSet::is_empty)
    }

    /// What is to be hidden of a record of a source, as it stands in the store.
    #[must_use]
    pub fn of_record(&self, source: &str, xml: &str) -> Option<Masking> {
        if self.is_empty() {
            return None;
        }
        // Of a source that is gone nobody knows what it masked.
        let Some(fields) = self.sources.get(source) else {
            return Some(Masking { everywhere: true, unknown: true, ..Masking::default() });
        };
        if fields.is_empty() {
            return None;
        }
        let bare = is_bare(xml, fields);
        Some(Masking { names: fields.clone(), values: values(xml, fields), bare, ..Masking::default() })
    }

    /// What is to be hidden of a notification of a source, whose record may be pruned.
    #[must_use]
    pub fn of_notification(&self, source: &str, xml: &str) -> Option<Masking> {
        let masking = self.of_record(source, xml)?;
        // Without the record its values are not known.
        Some(Masking { unknown: masking.unknown || xml.is_empty(), ..masking })
    }

    /// What is to be hidden of what a source sent that is no record.
    #[must_use]
    pub fn of_names(&self, source: &str) -> Option<Masking> {
        self.of_record(source, "")
    }

    /// What is to be hidden of what a route made of a record.
    #[must_use]
    pub fn of_call(&self, source: &str, route: &str, xml: &str) -> Option<Masking> {
        let mut masking = self.of_record(source, xml)?;
        match self.routes.get(route) {
            Some(made) => {
                masking.names.extend(made.names.iter().cloned());
                masking.places.extend(made.places.iter().cloned());
                masking.everywhere |= made.everywhere;
                masking.lane = made.lane;
            }
            // Of a route that is gone nobody knows what it made of them.
            None => (masking.everywhere, masking.lane) = (true, true),
        }
        // Without the record its values are not known.
        masking.unknown |= xml.is_empty();
        Some(masking)
    }
}

impl Masking {
    /// A text less what is to be hidden: a record, a reason, a key.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        if self.unknown && !text.is_empty() {
            return HIDDEN.to_owned();
        }
        let reason = if self.tells(text) { reason::without_values(text) } else { text.to_owned() };
        let mut text = in_pairs(&reason, &self.names);
        if text.contains('<') {
            text = in_xml(&text, &self.names, &mut |_| {});
        }
        if text.contains('"') {
            text = in_json(&text, &self.names);
        }
        self.values.iter().fold(text, |text, value| without(text, value))
    }

    /// Whether a reason may quote what is made of hidden fields.
    fn tells(&self, reason: &str) -> bool {
        !self.bare && reason::tells(reason, &self.names, &self.places)
    }

    /// What reasons have in common, one of which is this example, less what is to be hidden.
    #[must_use]
    pub fn hide_cause(&self, cause: &str, example: &str) -> String {
        if self.tells(example) { self.hide(&reason::without_values(cause)) } else { self.hide(cause) }
    }

    /// What a header holds, less what is to be hidden.
    #[must_use]
    pub fn hide_header(&self, name: &str, value: &str) -> String {
        let is_known = self.names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_known && !value.is_empty() { HIDDEN.to_owned() } else { self.hide_call(value) }
    }

    /// What stands at a path in what was sent, less what is to be hidden.
    #[must_use]
    pub fn hide_at(&self, path: &str, value: &str) -> String {
        if reason::is_of(path, &self.names) { HIDDEN.to_owned() } else { self.hide_call(value) }
    }

    /// A value that was kept under a name, less what is to be hidden.
    #[must_use]
    pub fn hide_value(&self, name: &str, value: &Json) -> Json {
        if self.names.contains(name) && !value.is_null() {
            return Json::from(HIDDEN);
        }
        match value {
            Json::String(text) => Json::from(self.hide(text)),
            Json::Number(number) if self.hide(&number.to_string()) == HIDDEN => Json::from(HIDDEN),
            Json::Array(items) => items.iter().map(|item| self.hide_value("", item)).collect(),
            Json::Object(entries) => {
                entries.iter().map(|(name, value)| (self.hide(name), self.hide_value(name, value))).collect()
            }
            Json::Null => Json::Null,
            Json::Bool(_) | Json::Number(_) if self.unknown => Json::from(HIDDEN),
            Json::Bool(_) | Json::Number(_) => value.clone(),
        }
    }

    /// The key of a lane, less what is to be hidden; a record's id may always be seen.
    #[must_use]
    pub fn hide_lane(&self, lane: &str, record_id: &str) -> String {
        if lane == record_id {
            return lane.to_owned();
        }
        if self.lane { HIDDEN.to_owned() } else { self.hide(lane) }
    }

    /// What is to be hidden of either.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.places.extend(other.places);
        self.values.extend(other.values);
        Self {
            everywhere: self.everywhere || other.everywhere,
            lane: self.lane || other.lane,
            bare: self.bare && other.bare,
            unknown: self.unknown || other.unknown,
            ..self
        }
    }

    /// A document of ours less what is to be hidden: calls in it by their keys.
    #[must_use]
    pub fn hide_document(&self, document: &Json) -> Json {
        let of_key = |(key, value): (&String, &Json)| {
            let hidden = match value {
                Json::String(text) if CALL_KEYS.contains(&key.as_str()) => Json::from(self.hide_call(text)),
                Json::String(text) => Json::from(self.hide(text)),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                    self.hide_document(value)
                }
            };
            (key.clone(), hidden)
        };
        match document {
            // A header: its name stands beside its value.
            Json::Object(entries) if is_named(entries, &self.names) => {
                let hidden = |(key, value): (&String, &Json)| {
                    (key.clone(), if key == "value" { Json::from(HIDDEN) } else { value.clone() })
                };
                entries.iter().map(hidden).collect()
            }
            Json::Object(entries) => entries.iter().map(of_key).collect(),
            Json::Array(items) => items.iter().map(|item| self.hide_document(item)).collect(),
            Json::String(text) => Json::from(self.hide(text)),
            Json::Null | Json::Bool(_) | Json::Number(_) => document.clone(),
        }
    }

    /// What was sent or answered, less what is to be hidden; all of it where that cannot be told.
    #[must_use]
    pub fn hide_call(&self, text: &str) -> String {
        if self.everywhere && !text.is_empty() { HIDDEN.to_owned() } else { self.hide(text) }
    }
}

/// Whether it is the pair of one of these names and its value.
fn is_named(entries: &Map<String, Json>, names: &BTreeSet<String>) -> bool {
    entries.contains_key("value") && entries.get("name").and_then(Json::as_str).is_some_and(|name| names.contains(name))
}

/// The values of fields in a stored record, or in what is stored of a notification that could not be read, as text.
fn values(xml: &str, fields: &BTreeSet<String>) -> Vec<String> {
    let mut values = Vec::new();
    let record = parse::record(xml, None).ok();
    for field in record.iter().flat_map(|record| &record.fields).filter(|field| fields.contains(&field.name)) {
        texts(&field.value, &mut values);
    }
    if values.is_empty() {
        in_xml(xml, fields, &mut |content| values.push(content.trim().to_owned()));
    }
    values.retain(|text| text.chars().count() >= VALUE_MIN);
    // Of two that begin alike the longer one is hidden first.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    values
}

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Text(text) | Value::Number(text) => into.push(text.trim().to_owned()),
        Value::List(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Null | Value::Boolean(_) => {}
    }
}

/// Whether a record holds nothing in any of these fields; of what cannot be read that is not known.
fn is_bare(xml: &str, fields: &BTreeSet<String>) -> bool {
    let Ok(record) = parse::record(xml, None) else { return false };
    !record.fields.iter().any(|field| fields.contains(&field.name) && field.value != Value::Null)
}

/// What a mapping makes of fields.
fn made(mapping: &Mapping, fields: &BTreeSet<String>) -> Made {
    let mut made = Made { names: fields.clone(), ..Made::default() };
    let in_tree = |tree: &Tree, made: &mut Made| {
        for (path, leaf) in tree.leaves() {
            if let Leaf::Expression(expression) = leaf
                && reads(expression.names(), fields)
            {
                // A form has it under the whole path.
                made.names.insert(path.to_owned());
                made.names.extend(path.rsplit('.').next().map(|name| name.trim_start_matches('@').to_owned()));
                // A raw fragment, or the value of an element that also has attributes, stands under the name above.
                if path.ends_with("$xml") || path.ends_with("$value") {
                    made.names.extend(path.rsplit('.').nth(1).map(str::to_owned));
                }
            }
        }
    };
    let of_template = |template: &Template| template.holes().any(|hole| reads(hole.names(), fields));
    let of_document = |document: &Document| reads(document.names(), fields).then(|| document.file().to_owned());
    let headers = mapping.headers.iter().filter(|(_, template)| of_template(template));
    made.names.extend(headers.map(|(name, _)| name.clone()));
    match &mapping.calls {
        Calls::Rest(rest) => {
            let query =
                rest.query.iter().filter(|(_, expression): &&(String, Expression)| reads(expression.names(), fields));
            made.names.extend(query.map(|(name, _)| name.clone()));
            made.places.extend(of_template(&rest.url).then(|| "url".to_owned()));
            match &rest.body {
                Body::None | Body::Whole => {}
                Body::Json(tree) | Body::Form(tree) => in_tree(tree, &mut made),
                Body::Document { document, .. } => made.places.extend(of_document(document)),
            }
        }
        Calls::Soap(soap) => match &soap.message {
            Message::Arguments(tree) => in_tree(tree, &mut made),
            Message::Document(document) => made.places.extend(of_document(document)),
        },
    }
    made.everywhere = !made.places.is_empty();
    made
}

/// Whether an expression reads one of the fields, or the record as a whole.
fn reads<'n>(names: impl Iterator<Item = (&'n str, usize)>, fields: &BTreeSet<String>) -> bool {
    let mut parts = names.map(|(name, _)| name.split('.'));
    parts.any(|mut parts| parts.next() == Some("record") && parts.next().is_none_or(|field| fields.contains(field)))
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// Text with the content of elements, and the values of attributes, of these names hidden. `tell` hears of such content.
fn in_xml(text: &str, names: &BTreeSet<String>, tell: &mut impl FnMut(&str)) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag_on) = rest.split_at(at);
        hidden.push_str(before);
        // What stands within comments and CDATA is looked through like all else.
        if let Some(mark) = ["<!--", "<![CDATA[", "<!", "<?"].into_iter().find(|mark| tag_on.starts_with(mark)) {
            hidden.push_str(mark);
            rest = tag_on.get(mark.len()..).unwrap_or_default();
            continue;
        }
        let (tag, behind) = tag_on.split_at(tag_end(tag_on));
        let name_end = tag.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>')).filter(|end| *end > 0);
        let name = tag.get(1..name_end.unwrap_or(tag.len())).unwrap_or_default();
        hidden.push_str(&in_attributes(tag, names));
        rest = behind;
        if names.contains(local(name)) && !tag.ends_with("/>") {
            let content = content_end(behind, name);
            let (content, closing) = behind.split_at(content);
            if !content.is_empty() {
                hidden.push_str(HIDDEN);
                tell(content);
            }
            rest = closing;
        }
    }
    hidden.push_str(rest);
    hidden
}

/// Where a tag ends, behind its `>`.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return at + 1,
            _ => {}
        }
    }
    // A quote that nobody closes hides nothing.
    let first = if quote.is_some() { text.find('>') } else { None };
    first.map_or(text.len(), |at| at + 1)
}

/// Where the content of an element of this name ends: before its end tag, or with the text.
fn content_end(text: &str, name: &str) -> usize {
    let mut depth = 0_usize;
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find('<')) {
        let at = from + found;
        let tag = text.get(at..).unwrap_or_default();
        let is = |start: &str| {
            tag.strip_prefix(start)
                .and_then(|tag| tag.strip_prefix(name))
                .is_some_and(|tag| tag.starts_with(|c: char| c.is_whitespace() || matches!(c, '/' | '>')))
        };
        let end = tag_end(tag);
        if is("</") {
            if depth == 0 {
                return at;
            }
            depth -= 1;
        } else if is("<") && !tag.get(..end).unwrap_or_default().ends_with("/>") {
            depth += 1;
        }
        from = at + end.max(1);
    }
    text.len()
}

/// A tag with the values of attributes of these names hidden.
fn in_attributes(tag: &str, names: &BTreeSet<String>) -> String {
    let mut hidden = String::with_capacity(tag.len());
    let mut rest = tag;
    while let Some(equals) = rest.find('=') {
        let (before, behind) = rest.split_at(equals + 1);
        let name =
            before.trim_end_matches('=').trim_end().rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
        hidden.push_str(before);
        let value = behind.trim_start();
        hidden.push_str(behind.get(..behind.len() - value.len()).unwrap_or_default());
        let Some(quote) = value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else {
            rest = value;
            continue;
        };
        let inside = value.get(1..).unwrap_or_default();
        let length = inside.find(quote).unwrap_or(inside.len());
        let (content, closing) = inside.split_at(length);
        hidden.push(quote);
        hidden.push_str(if names.contains(local(name)) && !content.is_empty() { HIDDEN } else { content });
        rest = closing;
        if let Some(behind) = rest.strip_prefix(quote) {
            hidden.push(quote);
            rest = behind;
        }
    }
    hidden.push_str(rest);
    hidden
}

/// Text with the JSON values under these keys hidden; null stays.
fn in_json(text: &str, names: &BTreeSet<String>) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, quoted) = rest.split_at(at);
        hidden.push_str(before);
        let (string, behind) = quoted.split_at(string_end(quoted));
        hidden.push_str(string);
        rest = behind;
        let value = behind.trim_start().strip_prefix(':').map(str::trim_start);
        let Some(value) = value.filter(|_| names.contains(string.trim_matches('"'))) else { continue };
        let gap = behind.len() - value.len();
        hidden.push_str(behind.get(..gap).unwrap_or_default());
        let (value, behind) = value.split_at(value_end(value));
        let shown = matches!(value.trim(), "null" | "" | "\"\"");
        if shown {
            hidden.push_str(value);
        } else {
            hidden.push_str(&format!("\"{HIDDEN}\""));
        }
        rest = behind;
    }
    hidden.push_str(rest);
    hidden
}

/// Where a string ends that begins with a quote, behind its other one.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where a JSON value ends.
fn value_end(text: &str) -> usize {
    match text.bytes().next() {
        Some(b'"') => string_end(text),
        Some(b'{' | b'[') => {
            let (mut depth, mut at) = (0_usize, 0);
            while let Some(byte) = text.as_bytes().get(at) {
                match byte {
                    b'"' => {
                        at += string_end(text.get(at..).unwrap_or_default());
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            text.len()
        }
        _ => text.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']')).unwrap_or(text.len()),
    }
}

/// Text with the values of `name=value` hidden, as in queries and forms.
fn in_pairs(text: &str, names: &BTreeSet<String>) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, behind) = rest.split_at(at + 1);
        let separates = |c: char| c.is_whitespace() || matches!(c, '&' | '?' | ';' | '"' | '\'' | '<' | '>');
        let name = before.trim_end_matches('=').rsplit(separates).next().unwrap_or_default();
        hidden.push_str(before);
        rest = behind;
        let decoded = percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned();
        if (names.contains(name) || names.contains(&decoded)) && !behind.starts_with(['"', '\'']) {
            let length =
                behind.find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | '#')).unwrap_or(behind.len());
            let (value, behind) = behind.split_at(length);
            if !value.is_empty() {
                hidden.push_str(HIDDEN);
            }
            rest = behind;
        }
    }
    hidden.push_str(rest);
    hidden
}

/// Text without a value, in any form in which it may stand there, whole or cut, in capitals or not.
fn without(text: String, value: &str) -> String {
    let xml = value.replace('&', "&amp;").replace('<', "&lt;");
    let closed = xml.replace('>', "&gt;");
    let json = Json::from(value).to_string();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let url = utf8_percent_encode(value, IN_URL).to_string();
    let form = url.replace("%20", "+");
    let in_path = utf8_percent_encode(value, IN_PATH).to_string();
    let all_numbered = |written: &dyn Fn(char) -> String| {
        let is_safe = |c: char| c.is_ascii() && !matches!(c, '&' | '<' | '>' | '"' | '\'');
        value.chars().map(|c| if is_safe(c) { c.to_string() } else { written(c) }).collect::<String>()
    };
    let in_json = in_ascii(&json, utf16);
    let mut forms = vec![
        value.to_owned(),
        closed.replace('"', "&quot;").replace('\'', "&apos;"),
        closed.replace('"', "&quot;").replace('\'', "&#39;"),
        closed.replace('"', "&#34;").replace('\'', "&#39;"),
        all_numbered(&|c| format!("&#{};", u32::from(c))),
        all_numbered(&|c| format!("&#x{:x};", u32::from(c))),
        in_ascii(&closed, |c| format!("&#{};", u32::from(c))),
        in_ascii(&closed, |c| format!("&#x{:x};", u32::from(c))),
        xml,
        closed,
        in_json,
        json,
        url,
        form,
        in_path,
    ];
    forms.sort_unstable();
    forms.dedup();
    let forms: Vec<Vec<char>> = forms.iter().map(|form| form.chars().map(folded).collect()).collect();
    without_forms(text, &forms)
}

/// A text in which every other character is written by those of ASCII.
fn in_ascii(text: &str, written: impl Fn(char) -> String) -> String {
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { written(c) }).collect()
}

/// As JSON writes a character in ASCII.
fn utf16(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// A character as it is compared.
fn folded(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// A text less what one of the forms has in common with it, from its beginning on and far enough.
fn without_forms(text: String, forms: &[Vec<char>]) -> String {
    let haystack: Vec<(usize, char)> = text.char_indices().map(|(at, c)| (at, folded(c))).collect();
    let offset = |place: usize| haystack.get(place).map_or(text.len(), |(at, _)| *at);
    let firsts: BTreeSet<char> = forms.iter().filter_map(|form| form.first().copied()).collect();
    let mut hidden = String::with_capacity(text.len());
    let (mut place, mut from) = (0, 0);
    while let Some((_, here)) = haystack.get(place) {
        let rest = haystack.get(place..).unwrap_or_default();
        let same = if firsts.contains(here) { forms.iter().map(|form| in_common(rest, form)).max() } else { None };
        match same.unwrap_or_default() {
            0 => place += 1,
            same => {
                hidden.push_str(text.get(from..offset(place)).unwrap_or_default());
                hidden.push_str(HIDDEN);
                place += same;
                from = offset(place);
            }
        }
    }
    hidden.push_str(text.get(from..).unwrap_or_default());
    hidden
}

/// How many characters a text begins with that are those of a form; none where it is too few to tell.
fn in_common(text: &[(usize, char)], form: &[char]) -> usize {
    let same = text.iter().zip(form).take_while(|((_, one), other)| one == *other).count();
    let ends = text.get(same).is_none_or(|(_, next)| *next == '…');
    if same == form.len() || same >= PREFIX || (ends && same >= PREFIX_AT_END) { same } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masking(names: &[&str], values: &[&str]) -> Masking {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Masking { names: owned(names).into_iter().collect(), values: owned(values), ..Masking::default() }
    }

    #[test]
    fn what_has_a_name_is_hidden_in_every_form_of_text_whole_or_cut() {
        let names = masking(&["Email", "SSN__c"], &[]);
        for (text, hidden) in [
            ("<sf:Email>a@b</sf:Email><sf:Name>x</sf:Name>", "<sf:Email>(masked)</sf:Email><sf:Name>x</sf:Name>"),
            ("<Email a=\"<>\">a<b/>c</Email >", "<Email a=\"<>\">(masked)</Email >"),
            ("<Email><Email>a</Email>b</Email>c", "<Email>(masked)</Email>c"),
            ("<Email><Email/>b</Email>c", "<Email>(masked)</Email>c"),
            ("<Email/><Email></Email><EmailX>a</EmailX>", "<Email/><Email></Email><EmailX>a</EmailX>"),
            ("<Email>a@b is cu", "<Email>(masked)"),
            ("<c Email='a@b' x:Email = \"a\" n=\"1\"/>", "<c Email='(masked)' x:Email = \"(masked)\" n=\"1\"/>"),
            ("<![CDATA[<Email>a</Email>]]><a>1</a>", "<![CDATA[<Email>(masked)</Email>]]><a>1</a>"),
            ("<!-- don't --><Email>a</Email>", "<!-- don't --><Email>(masked)</Email>"),
            ("<a b='c><Email>a</Email>", "<a b='c><Email>(masked)</Email>"),
            ("{\"Email\": \"a\\\"b\", \"n\":1}", "{\"Email\": \"(masked)\", \"n\":1}"),
            ("{\"Email\":[1,{\"x\":\"]\"}],\"n\":1}", "{\"Email\":\"(masked)\",\"n\":1}"),
            ("{\"Email\":null,\"SSN__c\":4711}", "{\"Email\":null,\"SSN__c\":\"(masked)\"}"),
            ("{\"Email\":\"a is cu", "{\"Email\":\"(masked)\""),
            ("{\"a\":\"Email\",\"b\":\"Email: x\"}", "{\"a\":\"Email\",\"b\":\"Email: x\"}"),
            ("Email=a%40b&n=1&SSN__c=", "Email=(masked)&n=1&SSN__c="),
            ("POST http://crm/x?n=1&Email=a@b HTTP", "POST http://crm/x?n=1&Email=(masked) HTTP"),
            ("", ""),
            ("<", "<"),
            ("\"", "\""),
            ("=", "="),
        ] {
            assert_eq!(names.hide(text), hidden, "{text}");
        }
    }

    #[test]
    fn headers_and_paths_are_hidden_by_their_names_and_reasons_only_where_the_record_has_something_to_hide() {
        let names = masking(&["X-Code", "Person"], &[]);
        assert_eq!(names.hide_header("x-code", "GE"), HIDDEN);
        assert_eq!(
            (names.hide_header("x-code", ""), names.hide_header("X-Other", "GE")),
            (String::new(), "GE".to_owned())
        );
        for path in ["Order.Person.Name", "Order/Person[2]/@Code", "Person"] {
            assert_eq!(names.hide_at(path, "GE"), HIDDEN, "{path}");
        }
        assert_eq!(names.hide_at("Order.Persons", "GE"), "GE");
        assert_eq!(masking(&["E Mail"], &[]).hide("E+Mail=a&E%20Mail=b"), "E+Mail=(masked)&E%20Mail=(masked)");
        let reason = "Person: int needs a number, not the text \"GE\"";
        assert_eq!(names.hide(reason), "Person: int needs a number, not the text \"(masked)\"");
        assert_eq!(names.hide_cause("Person: not the number 41", "Person: x"), "Person: not the number (masked)");
        let bare = Masking { bare: true, ..names };
        assert_eq!(bare.hide(reason), reason);
        let mut masks = Masks::default();
        masks.add_source("s", ["Email".to_owned()]);
        let record =
            |fields: &str| format!("<sObject xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">{fields}</sObject>");
        for (xml, is_bare) in [
            (record("<sf:Name>n</sf:Name>"), true),
            (record("<sf:Email xsi:nil=\"true\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"/>"), true),
            (record("<sf:Email>a</sf:Email>"), false),
            ("<sObject><Email>".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(masks.of_record("s", &xml).unwrap().bare, is_bare, "{xml}");
        }
    }

    #[test]
    fn of_what_could_not_be_read_values_are_hidden_too_and_of_what_is_gone_everything() {
        let mut masks = Masks::default();
        masks.add_source("contacts", ["Email".to_owned()]);
        masks.add_source("orders", []);
        let reason = "it came from jane@example.org, of nobody";
        let two = "<Notification><Id>1</Id><Id>2</Id><sObject><sf:Email> jane@example.org </sf:Email></sObject></Notification>";
        let record = "<sObject xmlns:sf=\"urn:sf\"><sf:Email>jane@example.org</sf:Email></sObject>";
        for xml in [two, record] {
            let masking = masks.of_notification("contacts", xml).unwrap();
            assert_eq!(masking.hide(reason), "it came from (masked), of nobody", "{xml}");
        }
        assert_eq!(masks.of_notification("contacts", "").unwrap().hide(reason), HIDDEN);
        assert_eq!(masks.of_notification("orders", record), None);
    }

    #[test]
    fn a_value_is_hidden_wherever_it_stands_escaped_cut_or_in_capitals() {
        let values = masking(&[], &["Jane O'Neil & Söhne <GmbH>"]);
        for (text, hidden) in [
            ("value \"Jane O'Neil & Söhne <GmbH>\" is long", "value \"(masked)\" is long"),
            ("<n>Jane O'Neil &amp; Söhne &lt;GmbH&gt;</n>", "<n>(masked)</n>"),
            ("<n>Jane O&apos;Neil &amp; Söhne &lt;GmbH&gt;</n>", "<n>(masked)</n>"),
            ("PUT /c/Jane%20O%27Neil%20%26%20S%C3%B6hne%20%3CGmbH%3E/x", "PUT /c/(masked)/x"),
            ("n=Jane+O%27Neil+%26+S%C3%B6hne+%3CGmbH%3E", "n=(masked)"),
            ("it was Jane O'Neil & Sö…", "it was (masked)…"),
            ("it was Jane…", "it was (masked)…"),
            ("it was Jane", "it was (masked)"),
            ("it was Jane O'Neil, or not", "it was (masked), or not"),
            ("JANE O'NEIL & SÖHNE <GMBH>!", "(masked)!"),
            ("{\"n\":\"Jane O'Neil & S\\u00f6hne <GmbH>\"}", "{\"n\":\"(masked)\"}"),
            ("<n>Jane O'Neil &amp; S&#246;hne &lt;GmbH&gt;</n>", "<n>(masked)</n>"),
            ("<n>Jane O&#39;Neil &#38; S&#246;hne &#60;GmbH&#62;</n>", "<n>(masked)</n>"),
            ("Jane Doe", "Jane Doe"),
        ] {
            assert_eq!(values.hide(text), hidden, "{text}");
        }
    }

    #[test]
    fn the_values_of_a_record_are_found_and_short_ones_left_to_their_names() {
        let mut masks = Masks::default();
        masks.add_source("s", ["Email".to_owned(), "Age__c".to_owned(), "Gone".to_owned()]);
        let xml = "<sObject xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\"><sf:Email>jane@x.org</sf:Email>\
                   <sf:Age__c>41</sf:Age__c><sf:Name>n</sf:Name></sObject>";
        let masking = masks.of_record("s", xml).unwrap();
        assert_eq!(masking.values, ["jane@x.org"]);
        let hidden = masking.hide(xml);
        assert!(!hidden.contains("jane") && !hidden.contains("41") && hidden.contains("<sf:Name>n<"), "{hidden}");
        assert_eq!(masks.of_record("gone", xml).unwrap().hide("x"), HIDDEN, "nobody knows what it masked");
        masks.add_source("open", []);
        assert_eq!(masks.of_record("open", xml), None);
        assert_eq!(masks.of_call("s", "gone", xml).unwrap().hide_call("x"), HIDDEN);
        assert_eq!(masks.of_call("s", "gone", "").unwrap().hide_value("a", &Json::from(7)), Json::from(HIDDEN));
        assert!(!masks.is_empty() && Masks::default().is_empty());
    }

    #[test]
    fn nothing_is_too_odd_to_be_looked_through() {
        let names = masking(&["Email"], &["value"]);
        let pieces = [
            "<", ">", "/", "\"", "'", "=", "{", "}", "[", "]", ":", "Email", "é", "\\", "&", "<Email", "![CDATA[",
            "value",
        ];
        let mut seed = 7_usize;
        for _ in 0..3_000 {
            let text: String = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    pieces[(seed >> 33) % pieces.len()]
                })
                .collect();
            assert!(!names.hide(&text).contains("value"), "{text}");
        }
    }
}

//! One `sObject`: its fields as they stand in the text, and then as values of their declared types.

use std::collections::HashMap;
use std::ops::Range;

use aws_lc_rs::digest;

use super::ParseError;
use super::lexical;
use super::scope::Namespace;
use super::strict::{Event, Reader, Start};
use crate::envelope::{Drift, Field, FieldType, Record, RecordType, RecordTypes, Value};

/// The fields of a record as they stand in the text. Used again for the next record, so that its memory is.
#[derive(Debug, Default)]
pub(super) struct Raw<'a> {
    /// The local name of `xsi:type`; empty when there is none.
    record_type: String,
    /// The text of all fields, one after another.
    text: String,
    fields: Vec<RawField<'a>>,
}

#[derive(Debug)]
struct RawField<'a> {
    name: &'a str,
    text: Range<usize>,
    is_nil: bool,
}

/// What an `sObject` element was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has fields.
    Fields,
    /// It is nil or has no fields: the record was deleted.
    Nothing,
    /// It has more fields than allowed.
    TooMany,
}

impl<'a> Raw<'a> {
    /// Reads an `sObject` whose start tag was read last, to its end.
    ///
    /// # Errors
    /// When the text is not well-formed.
    pub(super) fn read(&mut self, reader: &mut Reader<'a>, fields_max: usize) -> Result<(Found, usize), ParseError> {
        self.text.clear();
        self.fields.clear();
        self.record_type.clear();
        if let Some(name) = reader.attribute(Namespace::Instance, "type") {
            let name = lexical::trim(&name);
            self.record_type.push_str(name.rsplit(':').next().unwrap_or(name));
        }
        let is_nil = reader.is_nil();
        let mut too_many = false;
        let end = loop {
            match reader.next()? {
                Event::Start(_) if self.fields.len() == fields_max => {
                    too_many = true;
                    reader.skip()?;
                }
                Event::Start(start) => self.read_field(reader, &start)?,
                Event::End { to, .. } => break to,
                Event::Text(_) | Event::Character(_) | Event::Complete => {}
            }
        };
        let found = match (is_nil || self.fields.is_empty(), too_many) {
            (_, true) => Found::TooMany,
            (true, false) => Found::Nothing,
            (false, false) => Found::Fields,
        };
        Ok((found, end))
    }

    /// A field's text is all of its text; the text of a field that holds elements is what stands between its tags.
    fn read_field(&mut self, reader: &mut Reader<'a>, start: &Start<'a>) -> Result<(), ParseError> {
        let is_nil = reader.is_nil();
        let from = self.text.len();
        let mut holds_elements = false;
        let content_end = loop {
            match reader.next()? {
                Event::Text(text) => self.text.push_str(&text),
                Event::Character(character) => self.text.push(character),
                Event::Start(_) => {
                    holds_elements = true;
                    reader.skip()?;
                }
                Event::End { from, .. } => break from,
                Event::Complete => break start.to,
            }
        };
        if holds_elements {
            self.text.truncate(from);
            self.text.push_str(&reader.normalised(start.to, content_end));
        }
        if is_nil {
            self.text.truncate(from);
        }
        self.fields.push(RawField { name: start.local, text: from..self.text.len(), is_nil });
        Ok(())
    }

    /// SHA-256 over the record type and each field's name, nil and text, in the order of the names.
    ///
    /// Every part is preceded by its length, so that no two contents give the same bytes. Prefixes, white space between
    /// elements, the order of different fields and the WSDL make no difference.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut order: Vec<&RawField<'_>> = self.fields.iter().collect();
        order.sort_by_key(|field| field.name);
        let mut bytes = Vec::with_capacity(self.text.len() + self.fields.len() * 40 + 64);
        let mut part = |text: &str| {
            bytes.extend_from_slice(&text.len().to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        part("omgate record");
        part(&self.record_type);
        for field in order {
            part(field.name);
            part(if field.is_nil { "nil" } else { "" });
            part(self.text_of(field).unwrap_or_default());
        }
        sha256(&bytes)
    }

    /// The record with its values typed; without `types` everything is text.
    pub(super) fn record(&self, types: Option<&RecordTypes>) -> Record {
        let mut typing = Typing::new(&self.record_type, types, self.fields.len());
        for field in &self.fields {
            typing.add(field.name, self.text_of(field));
        }
        typing.finish(self.record_type.clone())
    }

    /// None when the field is nil.
    fn text_of(&self, field: &RawField<'_>) -> Option<&str> {
        if field.is_nil { None } else { self.text.get(field.text.clone()) }
    }
}

/// Reads a stored fragment again. The bounds were checked when it came.
///
/// # Errors
/// When the fragment was damaged.
pub(super) fn stored(xml: &str, types: Option<&RecordTypes>) -> Result<Record, ParseError> {
    let mut reader = Reader::new(xml, usize::MAX)?;
    let mut raw = Raw::default();
    while !matches!(reader.next()?, Event::Start(_)) {}
    raw.read(&mut reader, usize::MAX)?;
    while !matches!(reader.next()?, Event::Complete) {}
    Ok(raw.record(types))
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

/// Gives each field its place and type.
struct Typing<'t> {
    declared: Option<&'t RecordType>,
    /// For each declared field, its place among `fields`.
    places: Vec<Option<usize>>,
    /// The declared position after that of the last field: where the next one most likely is.
    next: usize,
    /// Names and places of the fields that are not declared.
    others: Names,
    fields: Vec<Field>,
    drift: Vec<Drift>,
}

impl<'t> Typing<'t> {
    fn new(record_type: &str, types: Option<&'t RecordTypes>, fields: usize) -> Self {
        let declared = types.and_then(|types| types.0.get(record_type)).map(AsRef::as_ref);
        let mut drift = Vec::new();
        if types.is_some() && declared.is_none() {
            drift.push(Drift::UnknownRecordType(record_type.to_owned()));
        }
        let count = declared.map_or(0, |declared| declared.fields.len());
        let places = vec![None; count];
        Self {
            declared,
            places,
            next: 0,
            others: Names::default(),
            fields: Vec::with_capacity(fields.max(count)),
            drift,
        }
    }

    /// `text` is none for a nil.
    fn add(&mut self, name: &str, text: Option<&str>) {
        let position = self.declared.and_then(|declared| position(declared, self.next, name));
        let declared = self.declared.zip(position).and_then(|(declared, position)| declared.fields.get(position));
        let value = match (text, declared) {
            (None, _) => Value::Null,
            (Some(text), None) => Value::Text(text.to_owned()),
            (Some(text), Some(&(_, expected))) => value(text, expected).unwrap_or_else(|| {
                self.note(Drift::Misfit { field: name.to_owned(), expected });
                Value::Text(text.to_owned())
            }),
        };
        let place = self.fields.len();
        let earlier = match position {
            Some(position) => {
                self.next = position + 1;
                self.places.get_mut(position).and_then(|known| std::mem::replace(known, Some(known.unwrap_or(place))))
            }
            None => self.others.place(name, place, &self.fields),
        };
        match earlier {
            Some(earlier) => self.repeat(name, earlier, value),
            None => {
                if self.declared.is_some() && position.is_none() {
                    self.drift.push(Drift::UnknownField(name.to_owned()));
                }
                self.fields.push(Field { name: name.to_owned(), value });
            }
        }
    }

    fn repeat(&mut self, name: &str, place: usize, value: Value) {
        let Some(field) = self.fields.get_mut(place) else { return };
        if let Value::List(values) = &mut field.value {
            values.push(value);
        } else {
            let first = std::mem::replace(&mut field.value, Value::Null);
            field.value = Value::List(vec![first, value]);
            self.drift.push(Drift::Repeated(name.to_owned()));
        }
    }

    /// Drift is told once; the same field misfits again only when it is repeated, so the last entries are where to look.
    fn note(&mut self, drift: Drift) {
        const RECENT: usize = 4;
        if !self.drift.iter().rev().take(RECENT).any(|known| *known == drift) {
            self.drift.push(drift);
        }
    }

    fn finish(mut self, record_type: String) -> Record {
        if let Some(declared) = self.declared {
            let absent = declared.fields.iter().zip(&self.places).filter(|(_, place)| place.is_none());
            self.fields.extend(absent.map(|((name, _), _)| Field { name: name.clone(), value: Value::Null }));
        }
        Record { record_type, fields: self.fields, drift: self.drift }
    }
}

/// The declared position of a field, looked for where the order of the WSDL has it first.
fn position(declared: &RecordType, next: usize, name: &str) -> Option<usize> {
    if declared.fields.get(next).is_some_and(|(expected, _)| expected == name) {
        return Some(next);
    }
    declared.index.get(name).copied()
}

/// Finds repeated names: by looking while they are few, by hash from then on.
#[derive(Default)]
struct Names {
    few: Vec<usize>,
    many: HashMap<String, usize>,
}

impl Names {
    const FEW: usize = 32;

    /// The place of an earlier field of this name, or none, and then this is its place.
    fn place(&mut self, name: &str, place: usize, fields: &[Field]) -> Option<usize> {
        let named = |place: &usize| fields.get(*place).is_some_and(|field| field.name == name);
        if let Some(&earlier) = self.few.iter().find(|place| named(place)) {
            return Some(earlier);
        }
        if self.few.len() < Self::FEW {
            self.few.push(place);
            return None;
        }
        if let Some(&earlier) = self.many.get(name) {
            return Some(earlier);
        }
        self.many.insert(name.to_owned(), place);
        None
    }
}

/// A text as a value of its type; none when it does not fit.
///
/// The white space around values of all types but string and ID is no part of them (XSD 1.0 part 2, §4.3.6), and what is
/// empty without it is null. `INF`, `-INF` and `NaN` fit a double, and stay text, as they have no digits.
fn value(text: &str, field_type: FieldType) -> Option<Value> {
    if matches!(field_type, FieldType::String | FieldType::Id) {
        return Some(Value::Text(text.to_owned()));
    }
    let trimmed = lexical::trim(text);
    if trimmed.is_empty() {
        return Some(Value::Null);
    }
    let as_text = || Value::Text(trimmed.to_owned());
    let as_number = || Value::Number(trimmed.to_owned());
    match field_type {
        FieldType::String | FieldType::Id | FieldType::Base64 => Some(Value::Text(text.to_owned())),
        FieldType::Boolean => match trimmed {
            "true" | "1" => Some(Value::Boolean(true)),
            "false" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        FieldType::Int => is_integer(trimmed).then(as_number),
        FieldType::Double if matches!(trimmed, "INF" | "-INF" | "NaN") => Some(as_text()),
        FieldType::Double => is_double(trimmed).then(as_number),
        FieldType::Date => is_date(without_zone(trimmed)).then(as_text),
        FieldType::Time => is_time(without_zone(trimmed)).then(as_text),
        FieldType::DateTime => {
            let parts = without_zone(trimmed).split_once('T');
            parts.is_some_and(|(date, time)| is_date(date) && is_time(time)).then(as_text)
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_integer(text: &str) -> bool {
    is_digits(text.strip_prefix(['+', '-']).unwrap_or(text))
}

/// XSD 1.0 part 2, §3.2.5, the special values apart.
fn is_double(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let digits = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_optional = |part: &str| part.is_empty() || is_digits(part);
    !(whole.is_empty() && fraction.is_empty())
        && is_optional(whole)
        && is_optional(fraction)
        && exponent.is_none_or(is_integer)
}

/// Takes `Z` or `±hh:mm` off the end.
fn without_zone(text: &str) -> &str {
    if let Some(text) = text.strip_suffix('Z') {
        return text;
    }
    let Some((before, zone)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) else { return text };
    let is_zone = zone
        .strip_prefix(['+', '-'])
        .and_then(|zone| zone.split_once(':'))
        .is_some_and(|(hours, minutes)| is_between(hours, 0, 14) && is_between(minutes, 0, 59));
    if is_zone { before } else { text }
}

/// Two digits within a range.
fn is_between(text: &str, least: u8, most: u8) -> bool {
    text.len() == 2 && is_digits(text) && text.parse::<u8>().is_ok_and(|number| (least..=most).contains(&number))
}

/// XSD 1.0 part 2, §3.2.9, without time zone.
fn is_date(text: &str) -> bool {
    let mut parts = text.strip_prefix('-').unwrap_or(text).split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_year = is_digits(year) && year.len() >= 4 && (year.len() == 4 || !year.starts_with('0'));
    is_year && is_between(month, 1, 12) && is_between(day, 1, days(year, month))
}

/// The days of a month. Leap years repeat every 400 years, so the last four digits tell.
fn days(year: &str, month: &str) -> u8 {
    let year: u32 = year.get(year.len().saturating_sub(4)..).and_then(|year| year.parse().ok()).unwrap_or_default();
    match month {
        "02" if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    }
}

/// XSD 1.0 part 2, §3.2.8, without time zone.
fn is_time(text: &str) -> bool {
    let mut parts = text.split(':');
    let (Some(hour), Some(minute), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = second.split_once('.').map_or((second, None), |(second, part)| (second, Some(part)));
    if !fraction.is_none_or(is_digits) {
        return false;
    }
    let is_midnight =
        (hour, minute, second) == ("24", "00", "00") && fraction.is_none_or(|part| part.bytes().all(|b| b == b'0'));
    is_midnight || (is_between(hour, 0, 23) && is_between(minute, 0, 59) && is_between(second, 0, 59))
}

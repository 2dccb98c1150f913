//! One `sObject`: its fields as they stand in the text, and then as values of their declared types.

use std::borrow::Cow;
use std::collections::HashMap;

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
    fields: Vec<RawField<'a>>,
}

#[derive(Debug)]
struct RawField<'a> {
    name: &'a str,
    /// None when the field is nil.
    text: Option<Cow<'a, str>>,
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
        let mut text = Cow::Borrowed("");
        let mut holds_elements = false;
        let content_end = loop {
            match reader.next()? {
                Event::Text(part) => add(&mut text, part),
                Event::Character(character) => text.to_mut().push(character),
                Event::Start(_) => {
                    holds_elements = true;
                    reader.skip()?;
                }
                Event::End { from, .. } => break from,
                Event::Complete => break start.to,
            }
        };
        if holds_elements {
            text = reader.normalised(start.to, content_end);
        }
        self.fields.push(RawField { name: start.local, text: (!is_nil).then_some(text) });
        Ok(())
    }

    /// SHA-256 over the record type and each field's name, nil and text, in the order of the names.
    ///
    /// Every part is preceded by its length, so that no two contents give the same bytes. Prefixes, white space between
    /// elements, the order of different fields and the WSDL make no difference.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut order: Vec<&RawField<'_>> = self.fields.iter().collect();
        order.sort_by_key(|field| field.name);
        let length = |field: &RawField<'_>| field.name.len() + field.text.as_deref().map_or(0, str::len) + 32;
        let mut bytes = Vec::with_capacity(self.fields.iter().map(length).sum::<usize>() + self.record_type.len() + 64);
        let mut part = |text: &str| {
            bytes.extend_from_slice(&text.len().to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        part("omgate record");
        part(&self.record_type);
        for field in order {
            part(field.name);
            part(if field.text.is_none() { "nil" } else { "" });
            part(field.text.as_deref().unwrap_or_default());
        }
        sha256(&bytes)
    }

    /// The record with its values typed; without `types` everything is text.
    pub(super) fn record(&self, types: Option<&RecordTypes>) -> Record {
        let mut typing = Typing::new(&self.record_type, types, self.fields.len());
        for field in &self.fields {
            typing.add(field.name, field.text.as_deref());
        }
        typing.finish(self.record_type.clone())
    }
}

/// Appends to a text that mostly is of one part.
pub(super) fn add<'a>(text: &mut Cow<'a, str>, part: Cow<'a, str>) {
    if text.is_empty() {
        *text = part;
    } else {
        text.to_mut().push_str(&part);
    }
}

/// Reads a stored fragment again. The bounds were checked when it came.
///
/// # Errors
/// When the fragment was damaged.
pub(super) fn stored(xml: &str, types: Option<&RecordTypes>) -> Result<Record, ParseError> {
    Ok(fragment(xml)?.record(types))
}

/// The hash of a stored fragment: see [`Raw::hash`].
///
/// # Errors
/// When the fragment was damaged.
pub(super) fn hash_of(xml: &str) -> Result<[u8; 32], ParseError> {
    Ok(fragment(xml)?.hash())
}

fn fragment(xml: &str) -> Result<Raw<'_>, ParseError> {
    let mut reader = Reader::new(xml, usize::MAX)?;
    let mut raw = Raw::default();
    while !matches!(reader.next()?, Event::Start(_)) {}
    raw.read(&mut reader, usize::MAX)?;
    while !matches!(reader.next()?, Event::Complete) {}
    Ok(raw)
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
    /// One for each declared field.
    known: Vec<Known>,
    /// The declared position after that of the last field: where the next one most likely is.
    next: usize,
    /// Names and places of the fields that are not declared.
    others: Names,
    fields: Vec<Field>,
    drift: Vec<Drift>,
}

/// What came of a declared field.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Its place among the record's fields.
    place: Option<usize>,
    /// Whether a value did not fit: told once.
    misfits: bool,
}

impl<'t> Typing<'t> {
    fn new(record_type: &str, types: Option<&'t RecordTypes>, fields: usize) -> Self {
        let declared = types.and_then(|types| types.0.get(record_type)).map(AsRef::as_ref);
        let mut drift = Vec::new();
        if types.is_some() && declared.is_none() {
            drift.push(Drift::UnknownRecordType(record_type.to_owned()));
        }
        let count = declared.map_or(0, |declared| declared.fields.len());
        let known = vec![Known::default(); count];
        Self {
            declared,
            known,
            next: 0,
            others: Names::default(),
            fields: Vec::with_capacity(fields.max(count)),
            drift,
        }
    }

    /// `text` is none for a nil.
    fn add(&mut self, name: &str, text: Option<&str>) {
        let place = self.fields.len();
        let position = self.declared.and_then(|declared| position(declared, self.next, name));
        let (value, earlier) = match position {
            Some(position) => (self.declared_value(position, text), self.claim(position, place)),
            None => (
                text.map_or(Value::Null, |text| Value::Text(text.to_owned())),
                self.others.place(name, place, &self.fields),
            ),
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

    fn declared_value(&mut self, position: usize, text: Option<&str>) -> Value {
        let Some(text) = text else { return Value::Null };
        let Some((name, expected)) = self.declared.and_then(|declared| declared.fields.get(position)) else {
            return Value::Text(text.to_owned());
        };
        value(text, *expected).unwrap_or_else(|| {
            let known = self.known.get_mut(position).is_some_and(|known| std::mem::replace(&mut known.misfits, true));
            if !known {
                self.drift.push(Drift::Misfit { field: name.clone(), expected: *expected });
            }
            Value::Text(text.to_owned())
        })
    }

    /// The place of an earlier field of this position, or none, and then it is `place`.
    fn claim(&mut self, position: usize, place: usize) -> Option<usize> {
        self.next = position + 1;
        let known = self.known.get_mut(position)?;
        let earlier = known.place;
        known.place = Some(earlier.unwrap_or(place));
        earlier
    }

    fn finish(mut self, record_type: String) -> Record {
        if let Some(declared) = self.declared {
            let absent = declared.fields.iter().zip(&self.known).filter(|(_, known)| known.place.is_none());
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
        FieldType::Integer(integer) => (is_integer(trimmed) && integer.holds(trimmed)).then(as_number),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::IntegerType;

    const INT: FieldType = FieldType::Integer(IntegerType::Int);

    fn types(fields: &[(&str, FieldType)]) -> RecordTypes {
        let fields = fields.iter().map(|&(name, field_type)| (name.to_owned(), field_type)).collect();
        RecordTypes(HashMap::from([("Thing".to_owned(), std::sync::Arc::new(RecordType::new(fields)))]))
    }

    fn thing(fields: &str) -> String {
        format!("<s xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='Thing'>{fields}</s>")
    }

    fn hash(xml: &str) -> [u8; 32] {
        let mut reader = Reader::new(xml, 10).unwrap();
        let mut raw = Raw::default();
        reader.next().unwrap();
        raw.read(&mut reader, 100).unwrap();
        raw.hash()
    }

    #[test]
    fn a_value_is_typed_when_it_fits_and_text_to_the_letter_when_not() {
        use FieldType::{Base64, Boolean, Date, DateTime, Double, Id, String, Time};
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let number = |text: &str| Some(Value::Number(text.to_owned()));
        let (yes, no) = (Some(Value::Boolean(true)), Some(Value::Boolean(false)));
        for (field_type, given, expected) in [
            (String, "", text("")),
            (String, " a\n", text(" a\n")),
            (Id, "", text("")),
            (Id, " x ", text(" x ")),
            (Base64, "", Some(Value::Null)),
            (Base64, "AA==", text("AA==")),
            (Boolean, "true", yes.clone()),
            (Boolean, " 1\n", yes),
            (Boolean, "false", no.clone()),
            (Boolean, "0", no),
            (Boolean, "TRUE", None),
            (Boolean, "", Some(Value::Null)),
            (INT, "12", number("12")),
            (INT, " -12 ", number("-12")),
            (INT, "+007", number("+007")),
            (INT, "1.0", None),
            (INT, "-", None),
            (INT, "1 2", None),
            (INT, " \t", Some(Value::Null)),
            (Double, "45000.0", number("45000.0")),
            (Double, "-1.5E-7", number("-1.5E-7")),
            (Double, ".5", number(".5")),
            (Double, "5.", number("5.")),
            (Double, "INF", text("INF")),
            (Double, "-INF", text("-INF")),
            (Double, "NaN", text("NaN")),
            (Double, ".", None),
            (Double, "1e", None),
            (Double, "1e5.0", None),
            (Double, "0x10", None),
            (Double, "1,5", None),
            (Double, "nan", None),
            (Double, "--1", None),
            (Date, "2024-02-29", text("2024-02-29")),
            (Date, "2000-02-29", text("2000-02-29")),
            (Date, "2026-11-20+14:00", text("2026-11-20+14:00")),
            (Date, "-0044-03-15Z", text("-0044-03-15Z")),
            (Date, "12026-01-01", text("12026-01-01")),
            (Date, "2023-02-29", None),
            (Date, "1900-02-29", None),
            (Date, "2026-13-01", None),
            (Date, "2026-04-31", None),
            (Date, "26-04-30", None),
            (Date, "2026-4-30", None),
            (Date, "2026-11-20T00:00:00", None),
            (Date, "2026-11-20+15:00", None),
            (DateTime, "2026-11-20T09:15:00.000Z", text("2026-11-20T09:15:00.000Z")),
            (DateTime, "2026-11-20T24:00:00", text("2026-11-20T24:00:00")),
            (DateTime, "2026-11-20T24:00:01", None),
            (DateTime, "2026-11-20 09:15:00", None),
            (DateTime, "2026-11-20T09:15", None),
            (DateTime, "2026-11-20T09:60:00Z", None),
            (DateTime, "2026-11-20", None),
            (DateTime, "ä-11-20", None),
            (Time, "09:15:00.5Z", text("09:15:00.5Z")),
            (Time, "9:15:00", None),
            (Time, "09:15:00.", None),
            (Time, "25:00:00", None),
        ] {
            assert_eq!(value(given, field_type), expected, "{field_type} {given:?}");
        }
    }

    #[test]
    fn a_whole_number_beyond_the_range_of_its_type_does_not_fit() {
        use IntegerType::{
            Byte, Int, Integer, Long, NegativeInteger, NonNegativeInteger, NonPositiveInteger, PositiveInteger, Short,
            UnsignedByte, UnsignedInt, UnsignedLong, UnsignedShort,
        };
        let huge = "1".repeat(60);
        let huge_negative = format!("-{huge}");
        for (integer, fitting, others) in [
            (Int, ["-2147483648", "+02147483647"], ["-2147483649", "99999999999"]),
            (Long, ["-9223372036854775808", "9223372036854775807"], ["-9223372036854775809", "9223372036854775808"]),
            (Short, ["-32768", "32767"], ["-32769", "32768"]),
            (Byte, ["-128", "127"], ["-129", "128"]),
            (UnsignedLong, ["-0", "18446744073709551615"], ["-1", "18446744073709551616"]),
            (UnsignedInt, ["0", "4294967295"], ["-1", "4294967296"]),
            (UnsignedShort, ["0", "65535"], ["-1", "65536"]),
            (UnsignedByte, ["0", "255"], ["-1", "256"]),
            (Integer, [&*huge, &*huge_negative], ["1.0", ""]),
            (NonNegativeInteger, ["0", &*huge], ["-1", &*huge_negative]),
            (PositiveInteger, ["1", &*huge], ["0", &*huge_negative]),
            (NonPositiveInteger, ["0", &*huge_negative], ["1", &*huge]),
            (NegativeInteger, ["-1", &*huge_negative], ["0", &*huge]),
        ] {
            for number in fitting {
                let expected = Some(Value::Number(number.to_owned()));
                assert_eq!(value(number, FieldType::Integer(integer)), expected, "{integer:?} {number}");
            }
            for number in others.into_iter().filter(|number| !number.is_empty()) {
                assert_eq!(value(number, FieldType::Integer(integer)), None, "{integer:?} {number}");
            }
        }
    }

    #[test]
    fn without_a_wsdl_everything_is_text_and_absent_is_absent() {
        let record = stored(&thing("<a>1.0</a><b/><c i:nil=' true '>x</c>"), None).unwrap();
        assert_eq!(record.record_type, "Thing");
        assert_eq!(record.field("a"), Some(&Value::Text("1.0".to_owned())));
        assert_eq!(record.field("b"), Some(&Value::Text(String::new())));
        assert_eq!(record.field("c"), Some(&Value::Null));
        assert_eq!(record.fields.len(), 3);
        assert!(record.drift.is_empty());
    }

    #[test]
    fn declared_fields_that_are_absent_come_last_as_null_in_the_order_of_the_wsdl() {
        let types = types(&[("Id", FieldType::Id), ("A", INT), ("B", FieldType::String), ("C", FieldType::Date)]);
        let record = stored(&thing("<B>b</B><X>x</X>"), Some(&types)).unwrap();
        let names: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["B", "X", "Id", "A", "C"]);
        assert_eq!(record.field("Id"), Some(&Value::Null));
        assert_eq!(record.drift, [Drift::UnknownField("X".to_owned())]);
    }

    #[test]
    fn a_repeated_field_becomes_a_list_and_is_told_once() {
        let types = types(&[("A", INT)]);
        let xml = thing("<A>1</A><b>x</b><A>two</A><b>y</b><A>three</A><A i:nil='1'/>");
        let record = stored(&xml, Some(&types)).unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let list = vec![Value::Number("1".to_owned()), text("two"), text("three"), Value::Null];
        assert_eq!(record.field("A"), Some(&Value::List(list)));
        assert_eq!(record.field("b"), Some(&Value::List(vec![text("x"), text("y")])));
        let repeated = |name: &str| Drift::Repeated(name.to_owned());
        let misfit = Drift::Misfit { field: "A".to_owned(), expected: INT };
        assert_eq!(record.drift, [Drift::UnknownField("b".to_owned()), misfit, repeated("A"), repeated("b")]);
    }

    #[test]
    fn repeats_are_found_among_many_fields_too() {
        let fields: String = (0..200).map(|number| format!("<f{number}/>")).collect();
        let record = stored(&thing(&format!("{fields}{fields}")), None).unwrap();
        assert_eq!(record.fields.len(), 200);
        assert!(record.fields.iter().all(|field| matches!(&field.value, Value::List(values) if values.len() == 2)));
        assert_eq!(record.drift.len(), 200);
    }

    #[test]
    fn an_unknown_record_type_is_drift_and_its_fields_are_text() {
        let types = types(&[("A", INT)]);
        let record = stored(&thing("<A>1</A>").replace("Thing", "x:Other"), Some(&types)).unwrap();
        assert_eq!(record.field("A"), Some(&Value::Text("1".to_owned())));
        assert_eq!(record.drift, [Drift::UnknownRecordType("Other".to_owned())]);
    }

    #[test]
    fn a_field_with_elements_inside_keeps_them_as_they_stand() {
        let record =
            stored(&thing("<A>x <b c='1'>&lt;</b>\r\n<!-- y --></A><B>a<!-- b -->c<![CDATA[ <d> ]]></B>"), None)
                .unwrap();
        assert_eq!(record.field("A"), Some(&Value::Text("x <b c='1'>&lt;</b>\n<!-- y -->".to_owned())));
        assert_eq!(record.field("B"), Some(&Value::Text("ac <d> ".to_owned())));
    }

    #[test]
    fn equal_contents_have_equal_hashes_whatever_their_bytes() {
        let base = hash(&thing("<a>1 &amp; 2</a><b i:nil='true'/><c/>"));
        for same in [
            thing("<c></c>\n<a>1 <![CDATA[& 2]]></a> <b i:nil='1'></b>"),
            thing("<a>1 &#38; 2</a><!-- x --><b other='y' i:nil='true'/><c/>"),
            thing("<p:a xmlns:p='urn:p'>1 &amp; 2</p:a><b i:nil='true'>ignored</b>stray<c/>"),
            thing("<a>1 &amp; 2</a><b i:nil='true'/><c/>")
                .replace("'Thing'", "'sf:Thing'")
                .replace("i:", "x:")
                .replace(":i=", ":x="),
        ] {
            assert_eq!(hash(&same), base, "{same}");
        }
    }

    #[test]
    fn different_contents_have_different_hashes() {
        let contents = [
            thing("<a>1</a>"),
            thing("<a>1 </a>"),
            thing("<a>1</a>").replace("Thing", "Thinh"),
            thing("<a/>"),
            thing("<a i:nil='1'/>"),
            thing("<b>1</b>"),
            thing("<a>1</a><b/>"),
            thing("<a>1</a><a>2</a>"),
            thing("<a>2</a><a>1</a>"),
            thing("<a1></a1>"),
            thing("<a>b1</a>"),
            thing("<ab>1</ab>"),
        ];
        let hashes: std::collections::HashSet<_> = contents.iter().map(|xml| hash(xml)).collect();
        assert_eq!(hashes.len(), contents.len());
    }
}

//! What expressions can do with values: the filters engineers use, and the operators behind `+`, `==` and the rest.
//!
//! All are pure: no clock, no random. All pass none through, except `default`, `nil` and `bool`'s comparison partners.

use std::cmp::Ordering;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::number;
use super::table::{OnMissing, Table};
use super::{Nil, TABLES};

/// The widest field that `pad` makes, in characters.
const WIDTH_MAX: i64 = 10_000;
/// The most decimal places.
const PLACES_MAX: i64 = 100;
/// The longest text that `replace` and `join` make, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 20;

type Outcome = Result<Value, Error>;

/// Puts everything an expression may use into an empty environment.
pub(super) fn register(environment: &mut Environment<'static>) {
    register_filters(environment);
    register_operators(environment);
    register_tests(environment);
}

fn register_filters(environment: &mut Environment<'static>) {
    environment.add_filter("decimal", decimal);
    environment.add_filter("date", date);
    environment.add_filter("pad", pad);
    environment.add_filter("truncate", truncate);
    environment.add_filter("default", default);
    environment.add_filter("lookup", lookup);
    environment.add_filter("upper", |value: Value| on_text(&value, str::to_uppercase));
    environment.add_filter("lower", |value: Value| on_text(&value, str::to_lowercase));
    environment.add_filter("trim", |value: Value| on_text(&value, |text| text.trim().to_owned()));
    environment.add_filter("string", |value: Value| on_text(&value, str::to_owned));
    environment.add_filter("replace", replace);
    environment.add_filter("split", split);
    environment.add_filter("join", join);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("bool", bool);
    environment.add_filter("abs", abs);
    environment.add_filter("round", round);
    environment.add_filter("first", |value: Value| item(&value, End::First));
    environment.add_filter("last", |value: Value| item(&value, End::Last));
    environment.add_filter("length", length);
    environment.add_filter("nil", |_value: Value| Value::from_object(Nil));
}

fn register_operators(environment: &mut Environment<'static>) {
    environment.add_filter("_add", add);
    environment.add_filter("_sub", |a: Value, b: Value| number::calculate("-", &a, &b));
    environment.add_filter("_mul", |a: Value, b: Value| number::calculate("*", &a, &b));
    environment.add_filter("_div", |a: Value, b: Value| number::calculate("/", &a, &b));
    environment.add_filter("_floordiv", |a: Value, b: Value| number::calculate("//", &a, &b));
    environment.add_filter("_rem", |a: Value, b: Value| number::calculate("%", &a, &b));
    environment.add_filter("_pow", |a: Value, b: Value| number::calculate("**", &a, &b));
    environment.add_filter("_neg", |a: Value| number::negated(&a));
    environment.add_filter("_cat", concatenate);
    environment.add_filter("_eq", |a: Value, b: Value| equal(&a, &b));
    environment.add_filter("_ne", |a: Value, b: Value| !equal(&a, &b));
    environment.add_filter("_in", contains);
    environment.add_filter("_lt", |a: Value, b: Value| ordered("<", &a, &b, Ordering::is_lt));
    environment.add_filter("_le", |a: Value, b: Value| ordered("<=", &a, &b, Ordering::is_le));
    environment.add_filter("_gt", |a: Value, b: Value| ordered(">", &a, &b, Ordering::is_gt));
    environment.add_filter("_ge", |a: Value, b: Value| ordered(">=", &a, &b, Ordering::is_ge));
}

fn register_tests(environment: &mut Environment<'static>) {
    environment.add_test("defined", |value: Value| !absent(&value));
    environment.add_test("undefined", |value: Value| absent(&value));
    environment.add_test("none", |value: Value| absent(&value));
    environment.add_test("number", |value: Value| number::digits(&value).is_some());
    environment.add_test("string", |value: Value| value.as_str().is_some());
    environment.add_test("boolean", |value: Value| value.kind() == ValueKind::Bool);
    environment.add_test("sequence", |value: Value| value.kind() == ValueKind::Seq);
    environment.add_test("startingwith", |value: Value, start: Value| {
        part(&value, &start, |text, start| text.starts_with(start))
    });
    environment.add_test("endingwith", |value: Value, end: Value| part(&value, &end, |text, end| text.ends_with(end)));
    environment.add_test("odd", |value: Value| divides(&value, &Value::from(2)).map(|even| !even));
    environment.add_test("even", |value: Value| divides(&value, &Value::from(2)));
    environment.add_test("divisibleby", |value: Value, by: Value| divides(&value, &by));
}

/// What `check` can say of a filter's arguments before the first message.
pub(super) fn check_arguments(name: &str, arguments: &str) -> Result<(), String> {
    let example = match name {
        "decimal" => "the number of places: decimal(2)",
        "date" => "a format: date('%d.%m.%Y')",
        "pad" => "a width: pad(8)",
        "truncate" => "the number of characters: truncate(40)",
        "default" => "the value that stands in: default('EU')",
        "lookup" => "the name of a table: lookup('countries')",
        "replace" => "what is replaced by what: replace('-', '')",
        "split" => "the separator: split(';')",
        _ => return Ok(()),
    };
    if arguments.is_empty() { Err(format!("filter {name} needs {example}")) } else { Ok(()) }
}

/// A value with which a filter's constant arguments are tried before the first message; none for a filter whose
/// arguments cannot be wrong, or not without their value.
pub(super) fn sample(name: &str) -> Option<&'static str> {
    match name {
        "date" => Some("2026-01-31T12:30:00.000Z"),
        "decimal" | "round" => Some("1"),
        "pad" | "truncate" | "replace" | "split" => Some("x"),
        _ => None,
    }
}

/// A value in words, for reasons.
#[expect(clippy::wildcard_enum_match_arm, reason = "MiniJinja's kinds are not ours to list")]
pub(super) fn describe(value: &Value) -> String {
    if let Some(digits) = number::digits(value) {
        return format!("the number {digits}");
    }
    if absent(value) {
        return "none".to_owned();
    }
    match value.as_str() {
        Some(text) if text.chars().count() > 40 => {
            format!("the text {:?}…", text.chars().take(40).collect::<String>())
        }
        Some(text) => format!("the text {text:?}"),
        None => match value.kind() {
            ValueKind::Bool => format!("the boolean {value}"),
            ValueKind::Seq | ValueKind::Iterable => "a list".to_owned(),
            ValueKind::Map => "an object".to_owned(),
            kind => format!("a value of kind {kind}"),
        },
    }
}

pub(super) fn absent(value: &Value) -> bool {
    value.is_none() || value.is_undefined()
}

fn fail<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, reason.into()))
}

fn none() -> Value {
    Value::from(())
}

/// The text of a scalar; an error for lists and objects.
fn text(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if let Some(digits) = number::digits(value) {
        return Ok(digits);
    }
    if value.kind() == ValueKind::Bool {
        return Ok(value.to_string());
    }
    fail(format!("needs text, not {}", describe(value)))
}

fn on_text(value: &Value, change: impl Fn(&str) -> String) -> Outcome {
    if absent(value) {
        return Ok(none());
    }
    Ok(Value::from(change(&text(value)?)))
}

fn whole(what: &str, value: &Value, lowest: i64, highest: i64) -> Result<i64, Error> {
    let number = number::digits(value).and_then(|digits| digits.parse::<i64>().ok());
    match number.filter(|number| (lowest..=highest).contains(number)) {
        Some(number) => Ok(number),
        None => fail(format!("{what} must be a whole number from {lowest} to {highest}, not {}", describe(value))),
    }
}

fn decimal(value: Value, places: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let places = whole("decimal's number of places", &places, 0, PLACES_MAX)?;
    match number::number(&value) {
        Some(number) => Ok(number::value(number::rounded(&number, places))),
        None => fail(format!("decimal needs a number, not {}", describe(&value))),
    }
}

fn round(value: Value, places: Option<Value>) -> Outcome {
    decimal(value, places.unwrap_or_else(|| Value::from(0)))
}

fn int(value: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    if value.kind() == ValueKind::Bool {
        return Ok(number::value(if value.is_true() { "1" } else { "0" }));
    }
    match number::number(&value) {
        Some(number) => Ok(number::value(number::truncated(&number))),
        None => fail(format!("int needs a number, not {}", describe(&value))),
    }
}

fn float(value: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    match (number::number(&value), number::digits(&value).or_else(|| value.as_str().map(str::to_owned))) {
        (Some(_), Some(digits)) => Ok(number::value(digits.trim())),
        _ => fail(format!("float needs a number, not {}", describe(&value))),
    }
}

fn abs(value: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    match number::number(&value) {
        Some(number) => Ok(number::value(number.abs().to_plain_string())),
        None => fail(format!("abs needs a number, not {}", describe(&value))),
    }
}

fn bool(value: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    if value.kind() == ValueKind::Bool {
        return Ok(value);
    }
    if number::digits(&value).is_some() {
        return Ok(Value::from(value.is_true()));
    }
    match value.as_str().map(|text| text.trim().to_lowercase()).as_deref() {
        Some("true" | "1") => Ok(Value::from(true)),
        Some("false" | "0") => Ok(Value::from(false)),
        _ => fail(format!("bool needs true, false, 1 or 0, not {}", describe(&value))),
    }
}

fn pad(value: Value, width: Value, char: Option<Value>, side: Option<Value>) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let width = whole("pad's width", &width, 0, WIDTH_MAX)?;
    let fill = match char {
        Some(char) => text(&char)?,
        None => " ".to_owned(),
    };
    if fill.chars().count() != 1 {
        return fail("pad's second argument must be one character, such as '0'");
    }
    let value = text(&value)?;
    let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    let padding = fill.repeat(usize::try_from(width.saturating_sub(length)).unwrap_or(0));
    match side.as_ref().map_or(Some("left"), Value::as_str) {
        Some("left") => Ok(Value::from(padding + &value)),
        Some("right") => Ok(Value::from(value + &padding)),
        _ => fail("pad's third argument must be 'left' or 'right'"),
    }
}

fn truncate(value: Value, characters: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let characters = whole("truncate's number of characters", &characters, 0, i64::from(u32::MAX))?;
    on_text(&value, |text| text.chars().take(usize::try_from(characters).unwrap_or(usize::MAX)).collect())
}

fn default(value: Value, otherwise: Value, also_empty: Option<bool>) -> Value {
    let empty = also_empty.unwrap_or(false) && !value.is_true();
    if absent(&value) || empty { otherwise } else { value }
}

fn lookup(state: &State, value: Value, table_name: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let key = text(&value)?;
    let name = text(&table_name)?;
    let tables = state.lookup(TABLES);
    let tables = tables.as_ref().and_then(|tables| tables.downcast_object_ref::<super::TablesObject>());
    let Some(table) = tables.and_then(|tables| tables.0.0.get(&name)) else {
        return fail(format!("there is no table named {name:?}"));
    };
    found(table, &name, &key)
}

fn found(table: &Table, name: &str, key: &str) -> Outcome {
    match (table.rows.get(key), table.on_missing) {
        (Some(value), _) => Ok(Value::from(value.as_str())),
        (None, OnMissing::None) => Ok(none()),
        (None, OnMissing::Dead) => fail(format!("table {name:?} has no row for {key:?}")),
    }
}

fn replace(value: Value, from: Value, to: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let (value, from, to) = (text(&value)?, text(&from)?, text(&to)?);
    if from.is_empty() {
        return fail("replace needs a text to replace that is not empty");
    }
    let growth = value.matches(&from).count().saturating_mul(to.len());
    if growth.saturating_add(value.len()) > TEXT_BYTES_MAX {
        return fail("replace would make a text of more than 16 MiB");
    }
    Ok(Value::from(value.replace(&from, &to)))
}

fn split(value: Value, separator: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let (value, separator) = (text(&value)?, text(&separator)?);
    if separator.is_empty() {
        return fail("split needs a separator that is not empty");
    }
    Ok(value.split(separator.as_str()).map(Value::from).collect())
}

fn join(value: Value, separator: Option<Value>) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let separator = separator.as_ref().map_or(Ok(String::new()), text)?;
    let mut joined = String::new();
    for (position, item) in value.try_iter()?.filter(|item| !absent(item)).enumerate() {
        if position > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&text(&item)?);
        if joined.len() > TEXT_BYTES_MAX {
            return fail("join would make a text of more than 16 MiB");
        }
    }
    Ok(Value::from(joined))
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

fn item(value: &Value, end: End) -> Outcome {
    if absent(value) {
        return Ok(none());
    }
    if let Some(text) = value.as_str() {
        let found = match end {
            End::First => text.chars().next(),
            End::Last => text.chars().next_back(),
        };
        return Ok(found.map_or_else(none, |c| Value::from(c.to_string())));
    }
    let mut items = value.try_iter()?;
    let found = match end {
        End::First => items.next(),
        End::Last => items.last(),
    };
    Ok(found.unwrap_or_else(none))
}

fn length(value: Value) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    match value.as_str().map(|text| text.chars().count()).or_else(|| value.len()) {
        Some(length) => Ok(number::value(length.to_string())),
        None => fail(format!("length needs text or a list, not {}", describe(&value))),
    }
}

/// A moment as XML writes it.
enum Moment {
    Date(civil::Date),
    Local(civil::DateTime),
    Exact(jiff::Timestamp, Offset),
}

fn date(value: Value, format: Value, zone: Option<Value>) -> Outcome {
    if absent(&value) {
        return Ok(none());
    }
    let (value, format) = (text(&value)?, text(&format)?);
    let zone = match zone.filter(|zone| !absent(zone)) {
        Some(zone) => Some(time_zone(&text(&zone)?)?),
        None => None,
    };
    let Some(moment) = moment(value.trim()) else {
        return fail(format!("date needs an xsd:date or xsd:dateTime, not {value:?}"));
    };
    let written = match (moment, zone) {
        (Moment::Date(date), _) => jiff::fmt::strtime::format(&format, date),
        (Moment::Local(moment), None) => jiff::fmt::strtime::format(&format, moment),
        (Moment::Local(moment), Some(zone)) => {
            let moment = Offset::UTC.to_timestamp(moment).map(|moment| moment.to_zoned_datetime(zone));
            moment.and_then(|moment| jiff::fmt::strtime::format(&format, &moment))
        }
        (Moment::Exact(moment, offset), None) => {
            jiff::fmt::strtime::format(&format, &moment.to_zoned_datetime(offset.to_time_zone()))
        }
        (Moment::Exact(moment, _), Some(zone)) => jiff::fmt::strtime::format(&format, &moment.to_zoned_datetime(zone)),
    };
    match written {
        Ok(text) => Ok(Value::from(text)),
        Err(error) => fail(format!("date cannot write {value:?} as {format:?}: {error}")),
    }
}

fn time_zone(name: &str) -> Result<TimeZone, Error> {
    match TimeZone::get(name) {
        Ok(zone) => Ok(zone),
        Err(_) => fail(format!("{name:?} is no time zone; use a name such as 'Europe/Berlin'")),
    }
}

fn moment(text: &str) -> Option<Moment> {
    let Some((day, time)) = text.split_once('T') else {
        // An xsd:date may carry a zone, which does not change the day that is written.
        let day = text.get(..10).unwrap_or(text);
        let zone = text.get(10..).unwrap_or_default();
        let zone_fits = zone.is_empty() || offset(zone).is_some();
        return day.parse().ok().filter(|_| zone_fits && day.len() == 10).map(Moment::Date);
    };
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let local = local(day.parse().ok()?, clock)?;
    if zone.is_empty() {
        return Some(Moment::Local(local));
    }
    let offset = offset(zone)?;
    offset.to_timestamp(local).ok().map(|moment| Moment::Exact(moment, offset))
}

/// XSD 1.0 part 2, §3.2.7: `24:00:00` is the first instant of the next day.
fn local(day: civil::Date, clock: &str) -> Option<civil::DateTime> {
    let fraction = clock.strip_prefix("24:00:00");
    let is_end = |fraction: &str| fraction.is_empty() || fraction.strip_prefix('.').is_some_and(is_zeros);
    if fraction.is_some_and(is_end) {
        return day.tomorrow().ok().map(|day| day.to_datetime(civil::Time::midnight()));
    }
    clock.parse().ok().map(|clock| day.to_datetime(clock))
}

fn is_zeros(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'0')
}

fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()?.checked_mul(3_600)? + minutes.parse::<u8>().map(i32::from).ok()? * 60;
    let signed = if text.starts_with('-') { -seconds } else { seconds };
    Offset::from_seconds(signed).ok()
}

fn add(a: Value, b: Value) -> Outcome {
    let both_text = a.as_str().zip(b.as_str());
    if let Some((left, right)) = both_text {
        return Ok(Value::from(format!("{left}{right}")));
    }
    if a.as_str().is_some() || b.as_str().is_some() {
        return fail(format!(
            "cannot add {} and {}: join texts with `~`, or make a number of the text with `| float`",
            describe(&a),
            describe(&b)
        ));
    }
    number::calculate("+", &a, &b)
}

fn concatenate(parts: Rest<Value>) -> Outcome {
    let mut joined = String::new();
    for part in parts.iter().filter(|part| !absent(part)) {
        joined.push_str(&text(part)?);
    }
    Ok(Value::from(joined))
}

/// Numbers are equal by value, also when one of them is written as text; everything else is as MiniJinja has it.
fn equal(a: &Value, b: &Value) -> bool {
    if absent(a) || absent(b) {
        return absent(a) && absent(b);
    }
    let numeric = number::digits(a).is_some() || number::digits(b).is_some();
    match (number::number(a), number::number(b)) {
        (Some(left), Some(right)) if numeric => left == right,
        _ => a == b,
    }
}

/// A comparison with none is never true. Numbers are compared by value, also when one of them is written as text; two
/// texts by their characters, so that dates as XML writes them compare as dates.
fn ordered(operator: &str, a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> Result<bool, Error> {
    if absent(a) || absent(b) {
        return Ok(false);
    }
    if let (Some(left), Some(right)) = (a.as_str(), b.as_str()) {
        return Ok(holds(left.cmp(right)));
    }
    match (number::number(a), number::number(b)) {
        (Some(left), Some(right)) => Ok(holds(left.cmp(&right))),
        _ => fail(format!("cannot compare {} with {} in `{operator}`", describe(a), describe(b))),
    }
}

fn contains(value: Value, container: Value) -> Result<bool, Error> {
    if absent(&container) {
        return Ok(false);
    }
    if let Some(haystack) = container.as_str() {
        return if absent(&value) { Ok(false) } else { Ok(haystack.contains(&text(&value)?)) };
    }
    Ok(container.try_iter()?.any(|item| equal(&value, &item)))
}

fn part(value: &Value, part: &Value, test: fn(&str, &str) -> bool) -> Result<bool, Error> {
    if absent(value) || absent(part) {
        return Ok(false);
    }
    Ok(test(&text(value)?, &text(part)?))
}

fn divides(value: &Value, by: &Value) -> Result<bool, Error> {
    if absent(value) {
        return Ok(false);
    }
    Ok(!number::calculate("%", value, by)?.is_true())
}

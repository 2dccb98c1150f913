//! Whether what a mapping gives fits what its target takes, as far as that is certain before the first message.

use serde_json::Value as Json;

use super::problem::Severity;
use crate::envelope::FieldType;
use crate::expression::{Shape, Shapes};
use crate::map::Leaf;
use crate::wsdl::outbound::{DeclaredField, DeclaredRecord};
use crate::wsdl::{Operation, Target};

/// Salesforce writes record ids in 18 characters, in old formulas in 15.
const ID_LENGTH: (u64, u64) = (15, 18);
/// How many examples a reason names.
const EXAMPLES_MAX: usize = 3;

/// Something that does not fit, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) severity: Severity,
    pub(super) rule: &'static str,
    pub(super) reason: String,
}

impl Misfit {
    fn error(rule: &'static str, reason: String) -> Self {
        Self { severity: Severity::Error, rule, reason }
    }

    fn warning(rule: &'static str, reason: String) -> Self {
        Self { severity: Severity::Warning, rule, reason }
    }
}

/// What a dotted path of a notification may hold, by what the source's WSDL declares; without one, nothing is known.
pub(super) fn names(declared: Option<&[DeclaredRecord]>, path: &str) -> Vec<Shape> {
    let mut parts = path.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("record"), Some(name), None) => match declared {
            Some(records) => field(records, name),
            None => vec![Shape::Unknown],
        },
        (Some("notification"), Some("received_at"), None) => vec![Shape::DateTime],
        (Some("notification" | "envelope"), Some(_), None) | (Some("source"), None, None) => {
            vec![Shape::Text { low: 0, high: None, free: false }]
        }
        (Some("record" | "notification" | "envelope"), None, None) => vec![Shape::Object],
        _ => vec![Shape::Unknown],
    }
}

/// What a field may hold in any of the source's types of record. It may always be absent: Salesforce leaves nulls out.
fn field(records: &[DeclaredRecord], name: &str) -> Vec<Shape> {
    let found = records.iter().filter_map(|record| record.fields.iter().find(|field| field.name == name));
    let mut shapes: Vec<Shape> = found.map(shape).collect();
    if shapes.is_empty() {
        return vec![Shape::Unknown];
    }
    if name != "Id" {
        shapes.push(Shape::None);
    }
    shapes
}

fn shape(field: &DeclaredField) -> Shape {
    let low = field.length_min.unwrap_or(0);
    match field.field_type {
        FieldType::String => Shape::Text { low, high: field.length_max, free: true },
        FieldType::Id => Shape::Text { low: ID_LENGTH.0, high: Some(ID_LENGTH.1), free: true },
        FieldType::Boolean => Shape::Boolean,
        FieldType::Integer(_) => Shape::Number { whole: true, places: Some(0) },
        FieldType::Double => Shape::Number { whole: false, places: None },
        FieldType::Date => Shape::Date,
        FieldType::DateTime => Shape::DateTime,
        FieldType::Time => Shape::Time,
        FieldType::Base64 => Shape::Base64,
    }
}

/// What a leaf may give.
pub(super) fn shapes(leaf: &Leaf, declared: Option<&[DeclaredRecord]>) -> Shapes {
    match leaf {
        Leaf::Expression(expression) => expression.shapes(&|path| names(declared, path)),
        Leaf::Constant(value) => Shapes { alternatives: vec![Shape::Constant(value.clone())], failures: Vec::new() },
    }
}

/// Judges all that a leaf may give against its target.
pub(super) fn misfits(operation: &Operation, target: &Target, shapes: &[Shape]) -> Vec<Misfit> {
    let judge = Judge { operation, target };
    let mut misfits = Vec::new();
    let mut rows = Vec::new();
    for shape in shapes {
        if let Shape::Row { table, value } = shape {
            rows.extend(operation.accepts(target, &Json::String(value.clone())).err().map(|why| (table, why)));
        } else {
            misfits.extend(judge.judge(shape, target.repeated));
        }
    }
    misfits.extend(of_rows(&rows));
    if target.required && !target.nillable && !shapes.is_empty() && shapes.iter().all(|shape| *shape == Shape::None) {
        misfits.push(Misfit::error("required", "is required, and its value is always none".to_owned()));
    }
    misfits
}

/// A table may hold rows that no record ever asks for: they are no errors.
fn of_rows(rows: &[(&String, String)]) -> Option<Misfit> {
    let (table, _) = rows.first()?;
    let reasons: Vec<&str> = rows.iter().take(EXAMPLES_MAX).map(|(_, reason)| reason.as_str()).collect();
    let more =
        if rows.len() > EXAMPLES_MAX { format!(", and {} more", rows.len() - EXAMPLES_MAX) } else { String::new() };
    let reason = format!("values of table {table:?} do not fit: {}{more}", reasons.join("; "));
    Some(Misfit::warning("value", reason))
}

/// What a built-in type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Text,
    Boolean,
    Integer,
    Number,
    Date,
    DateTime,
    Time,
    /// Nothing can be said of it.
    Other,
}

fn takes(builtin: &str) -> Takes {
    match builtin {
        "string" | "normalizedString" | "token" | "anySimpleType" | "anyURI" => Takes::Text,
        "boolean" => Takes::Boolean,
        "decimal" | "float" | "double" => Takes::Number,
        "date" => Takes::Date,
        "dateTime" => Takes::DateTime,
        "time" => Takes::Time,
        "integer" | "nonPositiveInteger" | "negativeInteger" | "long" | "int" | "short" | "byte"
        | "nonNegativeInteger" | "positiveInteger" | "unsignedLong" | "unsignedInt" | "unsignedShort"
        | "unsignedByte" => Takes::Integer,
        _ => Takes::Other,
    }
}

struct Judge<'a> {
    operation: &'a Operation,
    target: &'a Target,
}

impl Judge<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is a single value")]
    fn judge(&self, shape: &Shape, repeated: bool) -> Option<Misfit> {
        let target = self.target;
        if target.any {
            return None;
        }
        match shape {
            Shape::Unknown | Shape::None | Shape::Object | Shape::Row { .. } => None,
            Shape::Nil if target.nillable => None,
            Shape::Nil => Some(Misfit::error("type", "is not nillable, so nil is wrong".to_owned())),
            Shape::List(items) if repeated => items.iter().find_map(|item| self.judge(item, false)),
            Shape::List(_) if target.simple && matches!(target.builtin.as_str(), "list" | "union") => None,
            Shape::List(_) => Some(Misfit::error("type", "comes once, and is given a list".to_owned())),
            Shape::Constant(Json::String(text)) if !target.simple && text.trim().is_empty() => None,
            Shape::Constant(Json::Array(_) | Json::Object(_)) => None,
            shape if !target.simple => {
                Some(Misfit::error("type", format!("holds elements, and is given {shape}: fill what is below it")))
            }
            Shape::Constant(value) => {
                let reason = self.operation.accepts(target, value).err()?;
                Some(Misfit::error("value", format!("{}: {reason}", self.type_name())))
            }
            Shape::Boolean => self.boolean(),
            shape => self.kind(shape).or_else(|| self.length(shape)).or_else(|| self.places(shape)),
        }
    }

    fn type_name(&self) -> String {
        match (self.target.type_name.as_str(), self.target.builtin.as_str()) {
            ("", "") => "is of a type without a name".to_owned(),
            ("", builtin) => format!("is xs:{builtin}"),
            (name, builtin) if name == builtin => format!("is xs:{builtin}"),
            (name, "list" | "union" | "") => format!("is {name}"),
            (name, builtin) => format!("is {name} (xs:{builtin})"),
        }
    }

    /// Both values are tried: a flag may be written as text of one character, or not at all.
    fn boolean(&self) -> Option<Misfit> {
        let refused: Vec<String> = [true, false]
            .iter()
            .filter_map(|truth| self.operation.accepts(self.target, &Json::Bool(*truth)).err())
            .collect();
        let hint = if takes(&self.target.builtin) == Takes::Integer {
            "`| int` makes 1 or 0 of it"
        } else {
            "write such as `'Y' if … else 'N'`"
        };
        match refused.as_slice() {
            [] => None,
            [one] => Some(Misfit::warning("value", format!("{}, and is given true or false: {one}", self.type_name()))),
            [one, ..] => {
                let reason = format!("{}, and is given true or false: {one}; {hint}", self.type_name());
                Some(Misfit::error("type", reason))
            }
        }
    }

    /// Kinds that never go together.
    fn kind(&self, shape: &Shape) -> Option<Misfit> {
        let wrong = |hint: &str| {
            let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
            Some(Misfit::error("type", format!("{}, and is given {shape}{hint}", self.type_name())))
        };
        let moment = matches!(shape, Shape::Date | Shape::DateTime | Shape::Time | Shape::Base64);
        let free = matches!(shape, Shape::Text { free: true, .. });
        match (takes(&self.target.builtin), shape) {
            (Takes::Text | Takes::Other, _) => self.example(shape),
            (Takes::Boolean, Shape::Number { .. }) => {
                let reason = format!("{}, and is given {shape}: only 1 and 0 fit; `| bool`", self.type_name());
                Some(Misfit::warning("type", reason))
            }
            (Takes::Boolean, _) if moment => wrong(""),
            (Takes::Boolean, _) if free => wrong("`| bool` reads true, false, 1 and 0"),
            (Takes::Integer, Shape::Number { whole: false, .. }) => {
                wrong("Salesforce writes 45000.0: `| int` cuts the fraction off, `| round` rounds")
            }
            (Takes::Integer | Takes::Number, _) if moment => wrong(""),
            (Takes::Integer, _) if free => wrong("`| int` makes a number of text that writes one"),
            (Takes::Number, _) if free => wrong("`| decimal(2)` or `| float` makes a number of text that writes one"),
            (Takes::Date, Shape::DateTime) => wrong("`| date('%Y-%m-%d')` takes the day of it"),
            (Takes::DateTime, Shape::Date) => wrong("`| date('%Y-%m-%dT00:00:00')` adds a time"),
            (Takes::Time, Shape::DateTime) => wrong("`| date('%H:%M:%S')` takes the time of it"),
            (Takes::Date, Shape::Date) | (Takes::DateTime, Shape::DateTime) | (Takes::Time, Shape::Time) => None,
            (Takes::Date | Takes::DateTime | Takes::Time, Shape::Number { .. }) => wrong(""),
            (Takes::Date | Takes::DateTime | Takes::Time, _) if moment => wrong(""),
            (Takes::Date, _) if free => wrong("`| date('%Y-%m-%d')` reads text that writes one"),
            (Takes::DateTime, _) if free => wrong("`| date('%Y-%m-%dT%H:%M:%S')` reads text that writes one"),
            (Takes::Time, _) if free => wrong("`| date('%H:%M:%S')` reads text that writes a date with a time"),
            _ => self.example(shape),
        }
    }

    /// Text that is always written in one form.
    fn example(&self, shape: &Shape) -> Option<Misfit> {
        let Shape::Like(example) = shape else { return None };
        let reason = self.operation.accepts(self.target, &Json::String(example.clone())).err()?;
        let reason = format!("{}, and is given {shape}: {reason}", self.type_name());
        // An example shows the form, and not every value: a name of a month has many lengths.
        let is_certain = !matches!(takes(&self.target.builtin), Takes::Text | Takes::Other);
        Some(if is_certain { Misfit::error("type", reason) } else { Misfit::warning("value", reason) })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of the other kinds no length is known")]
    fn length(&self, shape: &Shape) -> Option<Misfit> {
        let (low, high) = match shape {
            Shape::Text { low, high, .. } => (*low, *high),
            Shape::Date => (10, Some(10)),
            Shape::DateTime => (19, Some(35)),
            Shape::Time => (8, Some(24)),
            _ => return None,
        };
        let is_text = matches!(takes(&self.target.builtin), Takes::Text);
        let most = self.target.max_length.filter(|_| is_text)?;
        let given = match high {
            Some(high) if high == low => format!("is given text of {high} characters"),
            Some(high) => format!("is given text of up to {high} characters"),
            None => "is given text of any length".to_owned(),
        };
        if low > most {
            let reason = format!("takes {most} characters (maxLength), and {given}, at least {low}");
            return Some(Misfit::error("length", reason));
        }
        if high.is_some_and(|high| high <= most) {
            return None;
        }
        let reason = format!(
            "takes {most} characters (maxLength), and {given}: what is longer becomes a dead letter; `| truncate({most})` \
             cuts it"
        );
        Some(Misfit::warning("length", reason))
    }

    fn places(&self, shape: &Shape) -> Option<Misfit> {
        let Shape::Number { places, .. } = shape else { return None };
        let most = self.target.fraction_digits.filter(|_| takes(&self.target.builtin) == Takes::Number)?;
        if places.is_some_and(|places| places <= most) {
            return None;
        }
        let given = places.map_or_else(|| "any number of".to_owned(), |places| places.to_string());
        let reason = format!(
            "takes {most} decimal places (fractionDigits), and is given a number with {given}: what has more becomes a \
             dead letter; `| decimal({most})` rounds it"
        );
        Some(Misfit::warning("length", reason))
    }
}

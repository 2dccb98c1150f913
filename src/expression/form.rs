//! What can be said of an expression's values before the first message: the kinds of value it may give.
//!
//! Only what is certain is said. Whatever depends on a record's content is [`Shape::Unknown`] or a wide range.

use serde_json::Value as Json;

use super::{ENVIRONMENT, Tables, json};

/// More alternatives are one unknown.
const ALTERNATIVES_MAX: usize = 200;

/// What an expression is made of, as far as its values are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Form {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A dotted path.
    Path(String),
    /// A constant.
    Constant(Json),
    /// Constants that cannot be put together, and why.
    Fails(String),
    /// True or false.
    Truth,
    /// An object literal.
    Object,
    /// A list literal.
    List(Vec<Self>),
    /// One of several.
    Either(Vec<Self>),
    /// `a and b`: the first that is false, else the last.
    All(Vec<Self>),
    /// `a or b`: the first that is true, else the last.
    Any(Vec<Self>),
    /// A filter or operator on a value.
    Filtered {
        /// Its name; `_add` for `+`, and so on.
        name: String,
        /// What it works on.
        value: Box<Self>,
        /// Its arguments.
        arguments: Vec<Self>,
    },
}

impl Form {
    pub(super) fn none() -> Self {
        Self::Constant(Json::Null)
    }

    pub(super) fn either(forms: impl IntoIterator<Item = Self>) -> Self {
        let mut alternatives: Vec<Self> = Vec::new();
        for form in forms {
            if let Self::Either(inner) = form {
                alternatives.extend(inner);
            } else {
                alternatives.push(form);
            }
        }
        alternatives.dedup();
        Self::Either(alternatives)
    }

    /// A filter with what it works on; worked out at once when all of it is constant. `text` is what is compiled.
    pub(super) fn filtered(name: &str, value: Self, arguments: Vec<Self>, text: &str) -> Self {
        let is_constant = |form: &Self| matches!(form, Self::Constant(_));
        if name != "lookup" && name != "nil" && is_constant(&value) && arguments.iter().all(is_constant) {
            return folded(text);
        }
        Self::Filtered { name: name.to_owned(), value: Box::new(value), arguments }
    }
}

/// The tables that are looked up by a constant name.
pub(super) fn tables(form: &Form) -> Vec<&str> {
    match form {
        Form::Filtered { name, value, arguments } => {
            let named = match arguments.first() {
                Some(Form::Constant(Json::String(table))) if name == "lookup" => Some(table.as_str()),
                _ => None,
            };
            named.into_iter().chain(tables(value)).chain(arguments.iter().flat_map(tables)).collect()
        }
        Form::Either(forms) | Form::All(forms) | Form::Any(forms) | Form::List(forms) => {
            forms.iter().flat_map(tables).collect()
        }
        Form::Unknown | Form::Path(_) | Form::Constant(_) | Form::Fails(_) | Form::Truth | Form::Object => Vec::new(),
    }
}

/// The value of constants, worked out.
pub(super) fn folded(text: &str) -> Form {
    let value = ENVIRONMENT.compile_expression_owned(text.to_owned()).and_then(|compiled| compiled.eval(()));
    match value {
        Ok(value) => json(&value, 0).map_or(Form::Unknown, Form::Constant),
        // What does not even compile is reported as such, elsewhere.
        Err(error) => error.detail().map_or(Form::Unknown, |reason| Form::Fails(reason.to_owned())),
    }
}

/// A kind of value that an expression may give.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Nothing is known.
    Unknown,
    /// None.
    None,
    /// An explicit nil.
    Nil,
    /// A value that stands in the expression.
    Constant(Json),
    /// A value that stands in a lookup table.
    Row {
        /// The table's name.
        table: String,
        /// The value.
        value: String,
    },
    /// Text, by its length in characters.
    Text {
        /// The least length.
        low: u64,
        /// The greatest; none: any.
        high: Option<u64>,
        /// It is what people wrote, not a number or a date that was made text.
        free: bool,
    },
    /// A number.
    Number {
        /// Without a decimal point.
        whole: bool,
        /// How many decimal places at most; none: any.
        places: Option<u64>,
    },
    /// True or false.
    Boolean,
    /// `2026-01-31`.
    Date,
    /// `2026-01-31T12:30:00.000Z`.
    DateTime,
    /// `12:30:00.000Z`.
    Time,
    /// Base64 text.
    Base64,
    /// Text that looks like this example.
    Like(String),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object,
}

/// All that an expression may give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shapes {
    /// The kinds of value.
    pub alternatives: Vec<Shape>,
    /// What fails whenever it is reached, in words.
    pub failures: Vec<String>,
}

impl Shapes {
    fn add(&mut self, shape: Shape) {
        if self.alternatives.len() >= ALTERNATIVES_MAX {
            self.alternatives = vec![Shape::Unknown];
        } else if !self.alternatives.contains(&shape) {
            self.alternatives.push(shape);
        }
    }
}

/// What a form may give. `names` says what a dotted path may hold.
pub(super) fn shapes(form: &Form, names: &dyn Fn(&str) -> Vec<Shape>, tables: &Tables) -> Shapes {
    let mut judge = Judge { names, tables, failures: Vec::new() };
    let mut shapes = Shapes::default();
    for shape in judge.of(form) {
        shapes.add(shape);
    }
    shapes.failures = judge.failures;
    shapes
}

struct Judge<'a> {
    names: &'a dyn Fn(&str) -> Vec<Shape>,
    tables: &'a Tables,
    failures: Vec<String>,
}

impl Judge<'_> {
    fn of(&mut self, form: &Form) -> Vec<Shape> {
        match form {
            Form::Unknown => vec![Shape::Unknown],
            Form::Path(path) => (self.names)(path),
            Form::Constant(Json::Null) => vec![Shape::None],
            Form::Constant(value) => vec![Shape::Constant(value.clone())],
            Form::Fails(reason) => {
                self.fails(reason.clone());
                vec![Shape::Unknown]
            }
            Form::Truth => vec![Shape::Boolean],
            Form::Object => vec![Shape::Object],
            Form::List(items) => {
                let items = items.iter().flat_map(|item| self.of(item)).take(ALTERNATIVES_MAX).collect();
                vec![Shape::List(items)]
            }
            Form::Either(forms) => forms.iter().flat_map(|form| self.of(form)).take(ALTERNATIVES_MAX).collect(),
            Form::All(forms) => self.joined(forms, falsy),
            Form::Any(forms) => self.joined(forms, truthy),
            Form::Filtered { name, value, arguments } => self.filtered(name, value, arguments),
        }
    }

    /// All but the last give only what ends the search.
    fn joined(&mut self, forms: &[Form], ends: fn(Shape) -> Option<Shape>) -> Vec<Shape> {
        let Some((last, before)) = forms.split_last() else { return Vec::new() };
        let mut shapes: Vec<Shape> = Vec::new();
        for form in before {
            shapes.extend(self.of(form).into_iter().filter_map(ends));
        }
        shapes.extend(self.of(last));
        shapes.truncate(ALTERNATIVES_MAX);
        shapes
    }

    fn fails(&mut self, reason: String) {
        if !self.failures.contains(&reason) {
            self.failures.push(reason);
        }
    }

    fn filtered(&mut self, name: &str, value: &Form, arguments: &[Form]) -> Vec<Shape> {
        let mut values = self.of(value);
        match name {
            "default" => {
                let also_empty = arguments.len() > 1;
                values.retain(|shape| *shape != Shape::None);
                if also_empty {
                    values = values.into_iter().filter_map(truthy).collect();
                }
                values.extend(arguments.first().map(|otherwise| self.of(otherwise)).unwrap_or_default());
                return values;
            }
            "_cat" => return self.concatenated(&values, arguments),
            "_add" => return self.added(&values, arguments),
            "nil" => return vec![Shape::Nil],
            "lookup" => return self.looked_up(&values, arguments),
            "join" => return vec![text(0, None, false)],
            _ => {}
        }
        let mut shapes = Vec::new();
        for shape in values {
            match self.one(name, &shape, arguments) {
                Ok(shape) => shapes.push(shape),
                Err(reason) => {
                    self.fails(format!("{name} {reason}"));
                    shapes.push(Shape::Unknown);
                }
            }
        }
        shapes
    }

    /// What a filter makes of one kind of value.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what the other kinds are makes no difference here")]
    fn one(&self, name: &str, shape: &Shape, arguments: &[Form]) -> Result<Shape, String> {
        if matches!(shape, Shape::None) && !name.starts_with('_') {
            return Ok(Shape::None);
        }
        let number = |whole, places| {
            let is_number = !matches!(
                shape,
                Shape::Boolean | Shape::Date | Shape::DateTime | Shape::Time | Shape::List(_) | Shape::Object
            );
            let is_number = is_number && !matches!(shape, Shape::Constant(value) if value.is_boolean());
            if is_number { Ok(Shape::Number { whole, places }) } else { Err(format!("needs a number, not {shape}")) }
        };
        match name {
            "decimal" | "round" => {
                let places = arguments.first().map_or(Some(0), whole_number);
                number(places == Some(0), places)
            }
            "int" if matches!(shape, Shape::Boolean) => Ok(Shape::Number { whole: true, places: Some(0) }),
            "int" => number(true, Some(0)),
            "float" | "abs" => match shape {
                Shape::Number { whole, places } => number(*whole, *places),
                _ => number(false, None),
            },
            "length" => Ok(Shape::Number { whole: true, places: Some(0) }),
            "_sub" | "_mul" | "_div" | "_floordiv" | "_rem" | "_pow" | "_neg" => {
                Ok(Shape::Number { whole: false, places: None })
            }
            "bool" if matches!(shape, Shape::Date | Shape::DateTime | Shape::Time | Shape::List(_) | Shape::Object) => {
                Err(format!("needs true or false, not {shape}"))
            }
            "bool" => Ok(Shape::Boolean),
            "date" => dated(shape, arguments),
            "pad" => Ok(padded(shape, arguments)),
            "truncate" => Ok(truncated(shape, arguments)),
            "upper" | "lower" | "trim" | "string" => Ok(as_text(name, shape)),
            "replace" => Ok(text(0, None, false)),
            "split" => Ok(Shape::List(vec![text(0, None, false)])),
            _ => Ok(Shape::Unknown),
        }
    }

    fn concatenated(&mut self, values: &[Shape], arguments: &[Form]) -> Vec<Shape> {
        let others = arguments.first().map(|other| self.of(other)).unwrap_or_default();
        let (low, high) = range(values);
        let (other_low, other_high) = range(&others);
        let high = high.zip(other_high).map(|(high, other)| high.saturating_add(other));
        vec![text(low.saturating_add(other_low), high, false)]
    }

    fn added(&mut self, values: &[Shape], arguments: &[Form]) -> Vec<Shape> {
        let others = arguments.first().map(|other| self.of(other)).unwrap_or_default();
        let is_number = |shape: &Shape| {
            matches!(shape, Shape::Number { .. }) || matches!(shape, Shape::Constant(value) if value.is_number())
        };
        if !values.is_empty() && values.iter().chain(&others).all(|shape| is_number(shape) || *shape == Shape::None) {
            return vec![Shape::Number { whole: false, places: None }];
        }
        vec![Shape::Unknown]
    }

    fn looked_up(&self, values: &[Shape], arguments: &[Form]) -> Vec<Shape> {
        let name = match arguments.first() {
            Some(Form::Constant(Json::String(name))) => name,
            _ => return vec![Shape::Unknown],
        };
        let Some(table) = self.tables.0.get(name) else { return vec![Shape::Unknown] };
        let mut rows: Vec<&str> = table.rows.values().map(String::as_str).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut shapes: Vec<Shape> = if rows.len() < ALTERNATIVES_MAX {
            rows.into_iter().map(|value| Shape::Row { table: name.clone(), value: value.to_owned() }).collect()
        } else {
            vec![Shape::Unknown]
        };
        if values.contains(&Shape::None) || table.on_missing == super::OnMissing::None {
            shapes.push(Shape::None);
        }
        shapes
    }
}

fn text(low: u64, high: Option<u64>, free: bool) -> Shape {
    Shape::Text { low, high, free }
}

/// What of a kind of value counts as true; none: nothing of it does.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind has values that count as true")]
fn truthy(shape: Shape) -> Option<Shape> {
    match shape {
        Shape::None | Shape::Nil => None,
        Shape::Boolean => Some(Shape::Constant(true.into())),
        Shape::Constant(value) if is_empty(&value) => None,
        Shape::Text { high, free, low } => Some(Shape::Text { low: low.max(1), high, free }),
        other => Some(other),
    }
}

/// What of a kind of value counts as false; none: nothing of it does.
fn falsy(shape: Shape) -> Option<Shape> {
    match shape {
        Shape::Boolean => Some(Shape::Constant(false.into())),
        Shape::Constant(value) if !is_empty(&value) => None,
        Shape::Text { low: 0, .. } => Some(text(0, Some(0), false)),
        Shape::Row { value, .. } if !value.is_empty() => None,
        Shape::Text { .. } | Shape::Date | Shape::DateTime | Shape::Time | Shape::Base64 | Shape::Like(_) => None,
        Shape::Unknown
        | Shape::None
        | Shape::Nil
        | Shape::Constant(_)
        | Shape::Row { .. }
        | Shape::Number { .. }
        | Shape::List(_)
        | Shape::Object => Some(shape),
    }
}

/// Whether a constant counts as false.
fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(truth) => !truth,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.is_empty(),
    }
}

fn whole_number(form: &Form) -> Option<u64> {
    if let Form::Constant(Json::Number(number)) = form { number.to_string().parse().ok() } else { None }
}

fn characters(text: &str) -> u64 {
    text.chars().count() as u64
}

/// The length of a value as text: least, and greatest where there is one.
fn length(shape: &Shape) -> (u64, Option<u64>) {
    match shape {
        Shape::None | Shape::Nil => (0, Some(0)),
        Shape::Constant(Json::String(text)) | Shape::Row { value: text, .. } => {
            (characters(text), Some(characters(text)))
        }
        Shape::Constant(value) => (characters(&value.to_string()), Some(characters(&value.to_string()))),
        Shape::Text { low, high, .. } => (*low, *high),
        Shape::Boolean => (4, Some(5)),
        Shape::Date => (10, Some(16)),
        Shape::DateTime => (19, Some(35)),
        Shape::Time => (8, Some(24)),
        Shape::Number { .. } => (1, None),
        Shape::Unknown | Shape::Base64 | Shape::Like(_) | Shape::List(_) | Shape::Object => (0, None),
    }
}

fn range(shapes: &[Shape]) -> (u64, Option<u64>) {
    let low = shapes.iter().map(|shape| length(shape).0).min().unwrap_or(0);
    let high =
        shapes.iter().map(|shape| length(shape).1).try_fold(0, |most, high| high.map(|high: u64| high.max(most)));
    (low, high)
}

fn is_free(shape: &Shape) -> bool {
    matches!(shape, Shape::Text { free: true, .. })
}

fn padded(shape: &Shape, arguments: &[Form]) -> Shape {
    let (low, high) = length(shape);
    match arguments.first().and_then(whole_number) {
        Some(width) => text(low.max(width), high.map(|high| high.max(width)), is_free(shape)),
        None => text(low, None, is_free(shape)),
    }
}

fn truncated(shape: &Shape, arguments: &[Form]) -> Shape {
    let (low, high) = length(shape);
    match arguments.first().and_then(whole_number) {
        Some(most) => text(low.min(most), Some(high.map_or(most, |high| high.min(most))), is_free(shape)),
        None => text(0, high, is_free(shape)),
    }
}

fn as_text(name: &str, shape: &Shape) -> Shape {
    let (low, high) = length(shape);
    // Capitals may be longer than what they are made of: ß, SS.
    let high = if matches!(name, "upper" | "lower") { high.map(|high| high.saturating_mul(3)) } else { high };
    text(if name == "trim" { 0 } else { low }, high, is_free(shape))
}

/// `date('…')` writes every moment in one form: an example shows it.
#[expect(clippy::wildcard_enum_match_arm, reason = "what the other kinds are makes no difference here")]
fn dated(shape: &Shape, arguments: &[Form]) -> Result<Shape, String> {
    let example = match shape {
        Shape::Date => "2026-01-31",
        Shape::Number { .. } | Shape::Boolean | Shape::Time | Shape::Base64 | Shape::List(_) | Shape::Object => {
            return Err(format!("needs a date, not {shape}"));
        }
        _ => "2026-01-31T12:30:00.000Z",
    };
    let texts: Option<Vec<String>> = arguments
        .iter()
        .map(|argument| match argument {
            Form::Constant(Json::String(text)) => serde_json::to_string(text).ok(),
            _ => None,
        })
        .collect();
    let Some(texts) = texts else { return Ok(text(0, None, false)) };
    match folded(&format!("'{example}'|date({})", texts.join(", "))) {
        Form::Constant(Json::String(written)) => Ok(Shape::Like(written)),
        Form::Fails(reason) => Err(reason.trim_start_matches("date ").to_owned()),
        _ => Ok(text(0, None, false)),
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("anything"),
            Self::None => f.write_str("none"),
            Self::Nil => f.write_str("nil"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Row { table, value } => write!(f, "{value:?} of table {table}"),
            Self::Text { high: Some(high), .. } => write!(f, "text of up to {high} characters"),
            Self::Text { .. } => f.write_str("text"),
            Self::Number { whole: true, .. } => f.write_str("a whole number"),
            Self::Number { .. } => f.write_str("a number"),
            Self::Boolean => f.write_str("true or false"),
            Self::Date => f.write_str("a date"),
            Self::DateTime => f.write_str("a date with a time"),
            Self::Time => f.write_str("a time of day"),
            Self::Base64 => f.write_str("base64 text"),
            Self::Like(example) => write!(f, "text such as {example:?}"),
            Self::List(_) => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, Table};
    use super::*;

    fn field(path: &str) -> Vec<Shape> {
        let shape = match path {
            "record.Name" => text(0, None, true),
            "record.Code" => text(3, Some(10), true),
            "record.Amount" => Shape::Number { whole: false, places: None },
            "record.Count" => Shape::Number { whole: true, places: Some(0) },
            "record.IsWon" => Shape::Boolean,
            "record.CloseDate" => Shape::Date,
            "record.Changed" => Shape::DateTime,
            _ => Shape::Unknown,
        };
        vec![shape, Shape::None]
    }

    fn judged(source: &str) -> (String, Vec<String>) {
        let rows = [("Germany".to_owned(), "DE".to_owned())].into_iter().collect();
        let table = Table { rows, ..Table::default() };
        let tables = Tables(std::sync::Arc::new([("countries".to_owned(), table)].into_iter().collect()));
        let expression = Expression::compile(source, &tables).unwrap();
        let shapes = expression.shapes(&field);
        let words: Vec<String> = shapes.alternatives.iter().map(ToString::to_string).collect();
        (words.join(" | "), shapes.failures)
    }

    #[test]
    fn what_an_expression_may_give_is_known_from_its_fields_and_filters() {
        for (source, expected) in [
            ("record.Name", "text | none"),
            ("record.Name | truncate(5)", "text of up to 5 characters | none"),
            ("record.Code | pad(12)", "text of up to 12 characters | none"),
            ("record.Code | upper", "text of up to 30 characters | none"),
            ("record.Code ~ '-' ~ record.Code", "text of up to 21 characters"),
            ("record.Amount | decimal(2)", "a number | none"),
            ("record.Amount | int", "a whole number | none"),
            ("record.Name | int", "a whole number | none"),
            ("record.Amount * 2 + 1", "a number"),
            ("record.Name + 'x'", "anything"),
            ("record.IsWon | default(false)", "true or false | false"),
            ("record.CloseDate | date('%d.%m.%Y')", "text such as \"31.01.2026\" | none"),
            ("record.Changed | date('%Y-%m-%d', 'Europe/Berlin')", "text such as \"2026-01-31\" | none"),
            ("record.Name | lookup('countries')", "\"DE\" of table countries | none"),
            ("'a' if record.IsWon else 'b' | upper", "\"a\" | \"B\""),
            ("'a' if record.IsWon", "\"a\" | none"),
            ("record.Name or 'x'", "text | \"x\""),
            ("record.IsWon and 'Y' or 'N'", "\"Y\" | \"N\""),
            ("record.IsWon and 'Y'", "false | none | \"Y\""),
            ("record.IsWon | default('N', true)", "true | \"N\""),
            ("record.Name == 'x' and not record.IsWon", "false | true or false"),
            ("record.IsWon is none", "true or false"),
            ("none | nil", "nil"),
            ("-1.50", "-1.50"),
            ("'a' ~ 1 + 2", "anything"),
            ("'1.5' | decimal(2)", "1.50"),
            ("record.Name | split(';')", "a list | none"),
            ("record.Name[0]", "anything"),
            ("{'a': 1}", "an object"),
            ("(record.Name)", "text | none"),
            ("source", "anything | none"),
        ] {
            let (shapes, failures) = judged(source);
            // What fails is a test of its own.
            if source != "'a' ~ 1 + 2" {
                assert_eq!(failures, Vec::<String>::new(), "{source}");
            }
            assert_eq!(shapes, expected, "{source}");
        }
    }

    #[test]
    fn what_fails_whatever_the_record_holds_is_said() {
        for (source, reason) in [
            ("record.IsWon | decimal(2)", "decimal needs a number, not true or false"),
            ("record.CloseDate | int", "int needs a number, not a date"),
            ("record.Amount | date('%Y')", "date needs a date, not a number"),
            ("record.CloseDate | date('%Q')", "date cannot write"),
            ("record.Changed | bool", "bool needs true or false, not a date with a time"),
            ("'abc' | decimal(2)", "decimal needs a number, not the text \"abc\""),
            ("record.Name | default('x' | int)", "int needs a number, not the text \"x\""),
        ] {
            let failures = match Expression::compile(source, &Tables::default()) {
                Ok(_) => judged(source).1,
                // A format that no moment has is refused when it is compiled.
                Err(error) => vec![error.reason],
            };
            assert!(failures.iter().any(|found| found.contains(reason)), "{source}: {failures:?}");
        }
    }
}

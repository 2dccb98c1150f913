//! Numbers that keep the digits they were written with, and calculate exactly.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bigdecimal::{BigDecimal, RoundingMode, Zero};
use minijinja::value::{DynObject, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// More digits are not calculated with: `1e999999999` must not fill the memory.
const DIGITS_MAX: usize = 1_000;
/// No exponent beyond this is calculated with; an `xsd:double` ends at 308.
const EXPONENT_MAX: i64 = 1_000;
/// Decimal places of a quotient that does not end.
const QUOTIENT_PLACES: i64 = 34;

/// A number as it was written: `45000.00` stays `45000.00`.
#[derive(Debug)]
pub(super) struct Digits(pub(super) String);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        parse(&self.0).is_none_or(|number| !number.is_zero())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(match (parse(&self.0), parse(&other.0)) {
            (Some(left), Some(right)) => left.cmp(&right),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => self.0.cmp(&other.0),
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number for an expression to see, with these digits.
pub(super) fn value(digits: impl Into<String>) -> Value {
    Value::from_object(Digits(digits.into()))
}

/// The digits of a number that is one; none for everything else, numeric text included.
pub(super) fn digits(value: &Value) -> Option<String> {
    if let Some(Digits(digits)) = value.downcast_object_ref::<Digits>() {
        return Some(digits.clone());
    }
    (value.kind() == ValueKind::Number).then(|| value.to_string())
}

/// Reads decimal text, within bounds.
pub(super) fn parse(text: &str) -> Option<BigDecimal> {
    let text = text.trim();
    if text.is_empty() || text.len() > DIGITS_MAX || text.contains('_') {
        return None;
    }
    let number = BigDecimal::from_str(text).ok()?;
    (number.fractional_digit_count().abs() <= EXPONENT_MAX).then_some(number)
}

/// The number that a value is, or that its text writes; none for everything else.
pub(super) fn number(value: &Value) -> Option<BigDecimal> {
    match digits(value) {
        Some(digits) => parse(&digits),
        None => value.as_str().and_then(parse),
    }
}

/// Rounds half-even to so many places; exactly that many are written.
pub(super) fn rounded(number: &BigDecimal, places: i64) -> String {
    number.with_scale_round(places, RoundingMode::HalfEven).to_plain_string()
}

/// Cuts the fraction off.
pub(super) fn truncated(number: &BigDecimal) -> String {
    number.with_scale_round(0, RoundingMode::Down).to_plain_string()
}

/// `+ - * / // % **` on numbers and on text that writes one.
pub(super) fn calculate(operator: &str, left: &Value, right: &Value) -> Result<Value, Error> {
    let a = operand(operator, left)?;
    let b = operand(operator, right)?;
    let result = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" | "//" | "%" if b.is_zero() => {
            return Err(Error::new(ErrorKind::InvalidOperation, "divides by zero"));
        }
        "/" => quotient(&a, &b),
        "//" => (&a / &b).with_scale_round(0, RoundingMode::Floor),
        "%" => {
            let floor = (&a / &b).with_scale_round(0, RoundingMode::Floor);
            a - floor * b
        }
        _ => power(&a, &b)?,
    };
    bounded(&result).map(value)
}

/// Changes the sign.
pub(super) fn negated(operand_value: &Value) -> Result<Value, Error> {
    let number = operand("-", operand_value)?;
    bounded(&-number).map(value)
}

fn operand(operator: &str, value: &Value) -> Result<BigDecimal, Error> {
    number(value).ok_or_else(|| {
        let what = super::filters::describe(value);
        Error::new(ErrorKind::InvalidOperation, format!("cannot calculate with {what} in `{operator}`"))
    })
}

fn quotient(a: &BigDecimal, b: &BigDecimal) -> BigDecimal {
    let exact = a / b;
    if exact.fractional_digit_count() > QUOTIENT_PLACES {
        return exact.with_scale_round(QUOTIENT_PLACES, RoundingMode::HalfEven).normalized();
    }
    exact.normalized()
}

fn power(a: &BigDecimal, b: &BigDecimal) -> Result<BigDecimal, Error> {
    let exponent = u32::from_str(&b.normalized().to_plain_string()).ok().filter(|exponent| *exponent <= 100);
    let Some(exponent) = exponent else {
        return Err(Error::new(ErrorKind::InvalidOperation, "an exponent must be a whole number from 0 to 100"));
    };
    let mut result = BigDecimal::from(1);
    for _ in 0..exponent {
        result *= a;
        bounded(&result)?;
    }
    Ok(result)
}

fn bounded(number: &BigDecimal) -> Result<String, Error> {
    let fits = number.digits() <= DIGITS_MAX as u64 && number.fractional_digit_count().abs() <= EXPONENT_MAX;
    if !fits {
        return Err(Error::new(ErrorKind::InvalidOperation, "the result has more than 1,000 digits"));
    }
    Ok(number.to_plain_string())
}

/// The digits as JSON writes a number; none when they write none (`INF`, `NaN`).
pub(super) fn json(digits: &str) -> Option<serde_json::Number> {
    let text = digits.trim();
    if let Some(number) = json_as_written(text) {
        return Some(number);
    }
    // `+5`, `.5`, `5.` and `007` are numbers in XML and not in JSON.
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => unsigned.split_at(at),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    if mantissa.bytes().all(|byte| byte == b'.') {
        return None;
    }
    json_as_written(&format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// Parsing alone would rewrite `1.0E5` as `1.0e+5`.
fn json_as_written(text: &str) -> Option<serde_json::Number> {
    serde_json::from_str::<serde_json::Number>(text).ok()?;
    Some(serde_json::Number::from_string_unchecked(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_numbers_become_json_numbers_with_their_digits() {
        for (digits, expected) in [
            ("45000.00", "45000.00"),
            ("+5", "5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-007.10", "-7.10"),
            ("1.0E5", "1.0E5"),
            ("123456789012345678901234567890.12", "123456789012345678901234567890.12"),
        ] {
            assert_eq!(json(digits).unwrap().to_string(), expected, "{digits}");
        }
        for digits in ["INF", "NaN", "", ".", "-", "1 2"] {
            assert_eq!(json(digits), None, "{digits}");
        }
    }

    #[test]
    fn a_number_with_an_absurd_exponent_is_not_calculated_with() {
        assert!(parse("1e999999999").is_none());
        assert!(parse("1e-999999999").is_none());
        assert!(parse(&"9".repeat(2_000)).is_none());
        assert!(parse("1e300").is_some());
    }
}

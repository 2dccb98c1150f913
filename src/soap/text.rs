//! The texts of simple values: checked against their type, in canonical form, escaped.

use std::borrow::Cow;
use std::str::FromStr;

use bigdecimal::BigDecimal;
use serde_json::Value;

use super::encode::{Done, Encoder};
use super::fragment;
use super::trail::shown;
use crate::wsdl::document::clip;
use crate::wsdl::model::{Name, Simple, Variety};
use crate::wsdl::simple::{self, Builtin};

impl<'a> Encoder<'a> {
    pub(super) fn text_content(&mut self, tag: &str, simple: &'a Simple, value: &Value, fixed: Option<&str>) -> Done {
        let text = self.text(simple, value)?;
        if let Some(fixed) = fixed.filter(|fixed| !same_value(simple, fixed, &text)) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&text, 60))));
        }
        self.out.push('>');
        escape_text(&mut self.out, &text);
        self.close(tag);
        Ok(())
    }

    /// A value as checked text.
    pub(super) fn text<'t>(&mut self, simple: &'a Simple, value: &'t Value) -> Done<Cow<'t, str>> {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Number(number) => Cow::Owned(digits(simple, number.to_string())),
            Value::Array(items) if self.takes_list(simple, 0) => Cow::Owned(self.list(items)?),
            Value::Array(_) => {
                return Err(self.error(format!("is a list, but it comes once and holds one value: {}", shown(value))));
            }
            Value::Null => return Err(self.error("is required and its value is none")),
            Value::Object(_) => {
                return Err(self.error(format!("holds text, but is given an object: {}", shown(value))));
            }
        };
        self.check_characters(&text)?;
        let checked = match text {
            Cow::Borrowed(text) => self.checked(simple, text)?,
            Cow::Owned(text) => Cow::Owned(self.checked(simple, &text)?.into_owned()),
        };
        if matches!(simple.variety, Variety::Atomic(Builtin::QName | Builtin::Notation)) {
            return Ok(Cow::Owned(self.qname(&checked)?));
        }
        if let Variety::List(item) = simple.variety
            && let Some(Variety::Atomic(Builtin::QName)) = self.schemas.simple(item).map(|item| &item.variety)
        {
            let words: Done<Vec<String>> = checked.split(' ').map(|word| self.qname(word)).collect();
            return Ok(Cow::Owned(words?.join(" ")));
        }
        Ok(checked)
    }

    /// A text that its type takes, in canonical form where the type takes that too.
    fn checked<'t>(&self, simple: &'a Simple, text: &'t str) -> Done<Cow<'t, str>> {
        let checked = match simple::check(self.schemas, simple, text) {
            Ok(checked) => checked,
            // The first edition of XSD 1.0 wrote months so, and PHP still does.
            Err(_) if self.is_encoded() && is_old_month(simple, text) => return Ok(Cow::Borrowed(text)),
            // PHP takes a union with a list in it for a list of the union.
            Err(_) if self.is_encoded() && self.is_list_of_union(simple, text) => return Ok(Cow::Borrowed(text)),
            Err(reason) => return Err(self.error(format!("= {reason}"))),
        };
        let Variety::Atomic(builtin) = simple.variety else { return Ok(checked) };
        let better = match canonical(builtin, &checked) {
            Cow::Owned(better) => better,
            Cow::Borrowed(same) if same.len() == checked.len() => return Ok(checked),
            Cow::Borrowed(better) => better.to_owned(),
        };
        // A pattern or an enumeration may want the form that was given.
        let kept = simple.facets.patterns.is_empty() && simple.facets.enumeration.is_empty();
        if kept || simple::check(self.schemas, simple, &better).is_ok() { Ok(Cow::Owned(better)) } else { Ok(checked) }
    }

    fn is_list_of_union(&self, simple: &Simple, text: &str) -> bool {
        let words = |word: &str| simple::check(self.schemas, simple, word).is_ok();
        matches!(simple.variety, Variety::Union(_)) && self.takes_list(simple, 0) && text.split_whitespace().all(words)
    }

    /// Whether values may be lists: of a list type, or a union with one, or where nothing says otherwise.
    pub(super) fn takes_list(&self, simple: &Simple, depth: usize) -> bool {
        match &simple.variety {
            Variety::List(_) => true,
            Variety::Atomic(builtin) => matches!(builtin, Builtin::NmTokens | Builtin::IdRefs | Builtin::Entities),
            Variety::Union(members) => {
                depth < 8
                    && members
                        .iter()
                        .filter_map(|member| self.schemas.simple(*member))
                        .any(|member| self.takes_list(member, depth + 1))
            }
        }
    }

    pub(super) fn list(&self, items: &[Value]) -> Done<String> {
        let mut words = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::String(text) => words.push(text.clone()),
                Value::Number(number) => words.push(number.to_string()),
                Value::Bool(truth) => words.push(truth.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    let (nth, item) = (index + 1, shown(item));
                    return Err(self.error(format!("is a list of texts, but its item {nth} is none: {item}")));
                }
            }
        }
        Ok(words.join(" "))
    }

    /// A qualified name with a prefix that is declared: only `{namespace}local` says what is meant.
    fn qname(&mut self, text: &str) -> Done<String> {
        if let Some((namespace, local)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            return Ok(self.tag(&Name::new(namespace, local)));
        }
        match text.split_once(':') {
            Some((prefix, local)) if prefix != "xml" => {
                let text = clip(text, 60);
                Err(self.error(format!("= {text:?} has a prefix that is not declared: write {{namespace}}{local}")))
            }
            Some(_) | None => Ok(text.to_owned()),
        }
    }

    /// Text without a type: any characters that XML can carry.
    pub(super) fn free_text(&mut self, text: &str) -> Done {
        self.check_characters(text)?;
        escape_text(&mut self.out, text);
        Ok(())
    }

    pub(super) fn check_characters(&self, text: &str) -> Done {
        match text.chars().find(|c| !is_xml_char(*c)) {
            Some(illegal) => {
                let code = u32::from(illegal);
                Err(self.error(format!("holds the character U+{code:04X}, which XML cannot carry")))
            }
            None => Ok(()),
        }
    }

    /// Writes `$xml`: one fragment or a list of them.
    pub(super) fn fragments(&mut self, value: &Value) -> Done {
        self.raw = true;
        let one = std::slice::from_ref(value);
        let list = value.as_array().map_or(one, Vec::as_slice);
        for item in list {
            let Some(text) = item.as_str() else {
                return Err(self.error(format!("has an $xml that is no text: {}", shown(item))));
            };
            let checked = fragment::check(text).map_err(|reason| self.error(format!("has an $xml that {reason}")))?;
            self.out.push_str(checked);
        }
        Ok(())
    }
}

/// A JSON number as its type writes it: an exponent is written out where the type has none.
fn digits(simple: &Simple, text: String) -> String {
    let Variety::Atomic(builtin) = simple.variety else { return text };
    if !builtin.is_decimal() || !text.contains(['e', 'E']) {
        return text;
    }
    let exponent = text.split(['e', 'E']).nth(1).and_then(|exponent| exponent.parse::<i64>().ok());
    match exponent.filter(|exponent| exponent.abs() <= 400).and_then(|_| BigDecimal::from_str(&text).ok()) {
        Some(number) => number.to_plain_string(),
        None => text,
    }
}

/// Whether a value is the one that a schema fixes.
pub(super) fn same_value(simple: &Simple, fixed: &str, text: &str) -> bool {
    let Variety::Atomic(builtin) = simple.variety else { return fixed.split_whitespace().eq(text.split_whitespace()) };
    fixed == text
        || simple::compare(builtin, fixed.trim(), text) == Some(std::cmp::Ordering::Equal)
        || (builtin != Builtin::String && fixed.trim() == text)
}

/// Whether a text is a month as the first edition of XSD 1.0 wrote it: `--04--`.
fn is_old_month(simple: &Simple, text: &str) -> bool {
    let month = text.get(2..4).and_then(|month| month.parse::<u8>().ok());
    matches!(simple.variety, Variety::Atomic(Builtin::GMonth))
        && text.starts_with("--")
        && month.is_some_and(|month| (1..=12).contains(&month))
        && text.get(4..6) == Some("--")
        && matches!(text.get(6..), Some("" | "Z"))
}

/// A checked text in the canonical form of its type (XSD 1.0 part 2, 3), save that a decimal keeps the decimal places
/// it was given, which say how exact it is, and a moment its offset, which says where it was.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type has one form of a value, or keeps the one given")]
pub(super) fn canonical(builtin: Builtin, text: &str) -> Cow<'_, str> {
    match builtin {
        Builtin::Boolean => match text {
            "1" => Cow::Borrowed("true"),
            "0" => Cow::Borrowed("false"),
            _ => Cow::Borrowed(text),
        },
        Builtin::HexBinary if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            Cow::Owned(text.to_ascii_uppercase())
        }
        Builtin::Base64Binary if text.contains(' ') => Cow::Owned(text.replace(' ', "")),
        builtin if builtin.is_decimal() => decimal(text),
        _ => Cow::Borrowed(text),
    }
}

/// No plus, no leading zeros, digits on both sides of a point.
fn decimal(text: &str) -> Cow<'_, str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let stripped = whole.trim_start_matches('0');
    let plain = (stripped.len() == whole.len() || whole == "0") && !whole.is_empty();
    if plain && !text.starts_with('+') && !text.ends_with('.') {
        return Cow::Borrowed(text);
    }
    let whole = if stripped.is_empty() { "0" } else { stripped };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if whole == "0" && fraction.bytes().all(|digit| digit == b'0') { "" } else { sign };
    Cow::Owned(format!("{sign}{whole}{point}{fraction}"))
}

/// XML 1.0 production 2.
pub(crate) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// Character data: a carriage return survives only as a reference (XML 1.0 2.11).
pub(crate) fn escape_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// An attribute's value, in double quotes: blanks survive only as references (XML 1.0 3.3.3).
pub(crate) fn escape_attribute(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

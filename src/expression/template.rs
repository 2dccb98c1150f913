//! Text with `{{ expression }}` holes, for URLs and headers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::{Expression, ExpressionError, Subject, Tables};
use crate::secret::{Piece, Text};

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a template's text goes: decides how the values in its holes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A URL: each value is percent-encoded; none is an error, and so is an empty value in the path.
    Url,
    /// A header: none is empty; control characters are an error.
    Header,
}

/// A compiled text with holes.
#[derive(Clone, Debug)]
pub struct Template {
    place: Place,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Text),
    Hole(Expression),
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// A hole that does not end, or one whose expression is wrong; the offset is within the text.
    pub fn compile(text: &Text, place: Place, tables: &Tables) -> Result<Self, ExpressionError> {
        let mut scanner = Scanner { parts: Vec::new(), literal: Text::default(), hole: None, at: 0, tables };
        for piece in text.pieces() {
            match piece {
                Piece::Plain(plain) => scanner.plain(plain)?,
                Piece::Secret(reference, value) => {
                    scanner.at += reference.len();
                    let target = scanner.hole.as_mut().map_or(&mut scanner.literal, |(hole, _)| hole);
                    target.push_secret(reference, value.clone());
                }
            }
        }
        if let Some((_, start)) = scanner.hole {
            return Err(ExpressionError::at(&text.masked(), start, "`{{` has no `}}`".to_owned()));
        }
        scanner.finish_literal();
        Ok(Self { place, parts: scanner.parts })
    }

    /// The expressions in its holes.
    pub fn holes(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// The text before the first hole; all of it when there is none.
    #[must_use]
    pub fn before_first_hole(&self) -> String {
        match self.parts.first() {
            Some(Part::Text(text)) => text.reveal(),
            Some(Part::Hole(_)) | None => String::new(),
        }
    }

    /// The whole text, where it has no holes.
    #[must_use]
    pub fn whole(&self) -> Option<Text> {
        let mut whole = Text::default();
        for part in &self.parts {
            match part {
                Part::Text(text) => whole.push_text(text),
                Part::Hole(_) => return None,
            }
        }
        Some(whole)
    }

    /// The text as configured, secrets as references.
    #[must_use]
    pub fn source(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.masked(),
                Part::Hole(expression) => format!("{{{{ {} }}}}", expression.source().trim()),
            })
            .collect()
    }

    /// Fills the holes.
    ///
    /// # Errors
    /// The hole that has no usable value.
    pub fn fill(&self, subject: &Subject<'_>) -> Result<Text, ExpressionError> {
        let mut filled = Text::default();
        let mut in_path = true;
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    in_path &= !text.reveal().contains(['?', '#']);
                    filled.push_text(text);
                }
                Part::Hole(expression) => {
                    let value = single(expression, &expression.evaluate(subject)?)?;
                    filled.push_plain(&self.written(expression, value, in_path)?);
                }
            }
        }
        Ok(filled)
    }

    fn written(
        &self,
        expression: &Expression,
        value: Option<String>,
        in_path: bool,
    ) -> Result<String, ExpressionError> {
        match (self.place, value) {
            (Place::Url, None) => Err(expression.error("has no value, and a URL cannot be made without it".to_owned())),
            (Place::Url, Some(value)) if in_path && matches!(value.as_str(), "" | "." | "..") => {
                Err(expression.error(format!("gives {value:?}, which would change the path of the URL")))
            }
            (Place::Url, Some(value)) => Ok(utf8_percent_encode(&value, ENCODED).to_string()),
            (Place::Header, None) => Ok(String::new()),
            (Place::Header, Some(value)) if value.chars().any(|c| c.is_control() && c != '\t') => {
                Err(expression.error("gives a line end or control character, which no header may carry".to_owned()))
            }
            (Place::Header, Some(value)) => Ok(value),
        }
    }
}

fn single(expression: &Expression, value: &Json) -> Result<Option<String>, ExpressionError> {
    if value.is_null() || is_nil(value) {
        return Ok(None);
    }
    match scalar(value) {
        Some(text) => Ok(Some(text)),
        None => Err(expression.error("gives a list or an object where a single value is needed".to_owned())),
    }
}

fn is_nil(value: &Json) -> bool {
    value.as_object().is_some_and(|entries| entries.contains_key("$nil"))
}

/// The text of a scalar value, empty for none and `nil`; none for a list or an object.
#[must_use]
pub fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::Null => Some(String::new()),
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(boolean) => Some(boolean.to_string()),
        Json::Object(_) if is_nil(value) => Some(String::new()),
        Json::Object(_) | Json::Array(_) => None,
    }
}

struct Scanner<'t> {
    parts: Vec<Part>,
    literal: Text,
    hole: Option<(Text, usize)>,
    at: usize,
    tables: &'t Tables,
}

impl Scanner<'_> {
    fn plain(&mut self, mut rest: &str) -> Result<(), ExpressionError> {
        while !rest.is_empty() {
            if self.hole.is_some() {
                rest = self.inside(rest)?;
            } else if let Some(open) = rest.find("{{") {
                let (before, after) = rest.split_at(open);
                self.literal.push_plain(before);
                self.at += open + 2;
                self.hole = Some((Text::default(), self.at));
                rest = after.get(2..).unwrap_or_default();
            } else {
                self.literal.push_plain(rest);
                self.at += rest.len();
                rest = "";
            }
        }
        Ok(())
    }

    /// Walks on inside a hole, up to its `}}` outside of string constants; what comes after that.
    fn inside<'r>(&mut self, rest: &'r str) -> Result<&'r str, ExpressionError> {
        let Some((mut hole, start)) = self.hole.take() else { return Ok(rest) };
        let begun = hole.masked();
        let end = end_of(&begun, rest, "}}");
        let (inside, after) = rest.split_at(end.unwrap_or(rest.len()));
        hole.push_plain(inside);
        self.at += inside.len();
        if end.is_none() {
            self.hole = Some((hole, start));
            return Ok("");
        }
        self.finish_literal();
        let expression = Expression::compile_text(&hole, self.tables).map_err(|mut error| {
            error.offset = error.offset.map(|offset| offset + start);
            error
        })?;
        self.parts.push(Part::Hole(expression));
        self.at += 2;
        Ok(after.get(2..).unwrap_or_default())
    }

    fn finish_literal(&mut self) {
        let literal = std::mem::take(&mut self.literal);
        if !literal.masked().is_empty() {
            self.parts.push(Part::Text(literal));
        }
    }
}

/// Where `close` stands in `rest`, outside of string constants and object literals, with `begun` before it.
pub(super) fn end_of(begun: &str, rest: &str, close: &str) -> Option<usize> {
    let mut walk = Walk::default();
    begun.chars().for_each(|c| walk.step(c));
    for (at, c) in rest.char_indices() {
        if walk.is_outside() && rest.get(at..).is_some_and(|tail| tail.starts_with(close)) {
            return Some(at);
        }
        walk.step(c);
    }
    None
}

#[derive(Default)]
struct Walk {
    quote: Option<char>,
    escaped: bool,
    braces: usize,
}

impl Walk {
    fn step(&mut self, c: char) {
        match (self.quote, c) {
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some(_), '\\') => self.escaped = true,
            (Some(open), _) if c == open => self.quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => self.quote = Some(c),
            (None, '{') => self.braces += 1,
            (None, '}') => self.braces = self.braces.saturating_sub(1),
            (None, _) => {}
        }
    }

    fn is_outside(&self) -> bool {
        self.quote.is_none() && self.braces == 0
    }
}

//! Whole documents from a template: the escape hatch for targets that no mapping fits.
//!
//! MiniJinja's `{{ … }}`, `{% if %}`, `{% for %}` and `{% set %}`, with the expressions of everywhere else. What a hole
//! writes is escaped for XML.

use std::fmt;
use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use super::template::end_of;
use super::{ExpressionError, Needs, Nil, Subject, TABLES, Tables, TablesObject, filters, number, shown};

/// The longest template, in bytes.
const SOURCE_BYTES_MAX: usize = 1 << 20;
const NAME: &str = "document";

/// A compiled document template.
#[derive(Clone)]
pub struct Document {
    inner: Arc<Inner>,
}

struct Inner {
    file: String,
    environment: Environment<'static>,
    names: Vec<(String, usize)>,
    needs: Needs,
    tables: Tables,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.inner.file).finish()
    }
}

impl Document {
    /// Compiles a template. `file` is its name for errors.
    ///
    /// # Errors
    /// What is wrong, with the offset in the source in bytes.
    pub fn compile(file: &str, source: &str, tables: &Tables) -> Result<Self, ExpressionError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(ExpressionError::at(file, 0, "the template is longer than 1 MiB".to_owned()));
        }
        let mut walk = Walk { source, at: 0, locals: Vec::new(), text: String::new(), names: Vec::new(), tables };
        walk.all()?;
        let Walk { text, names, .. } = walk;
        let mut environment = super::environment();
        environment.set_formatter(escape);
        environment.add_template_owned(NAME, text).map_err(|error| ExpressionError::of(file, &error))?;
        let needs = Needs::of(names.iter().map(|(name, _)| name.as_str()));
        let inner = Inner { file: file.to_owned(), environment, names, needs, tables: tables.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its file, as configured.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.inner.file
    }

    /// Every dotted path it reads, with its offset in the source in bytes.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.inner.names.iter().map(|(name, at)| (name.as_str(), *at))
    }

    /// Writes the document.
    ///
    /// # Errors
    /// What could not be written.
    pub fn render(&self, subject: &Subject<'_>) -> Result<String, ExpressionError> {
        let fail = |error: &Error| ExpressionError::of(&self.inner.file, error);
        let template = self.inner.environment.get_template(NAME).map_err(|error| fail(&error))?;
        let mut names = self.inner.needs.subject(subject);
        names.push((TABLES, Value::from_object(TablesObject(self.inner.tables.clone()))));
        let scope = Value::from_pairs(names);
        template.render(scope).map_err(|error| fail(&error))
    }
}

/// Writes a value as XML text. None writes nothing.
fn escape(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match (number::digits(value), value.as_str()) {
        (Some(digits), _) => digits,
        (None, Some(text)) => text.to_owned(),
        (None, None) if filters::absent(value) || value.downcast_object_ref::<Nil>().is_some() => return Ok(()),
        (None, None) if value.kind() == ValueKind::Bool => value.to_string(),
        (None, None) => {
            let reason = format!("cannot write {} into a document", filters::describe(value));
            return Err(Error::new(ErrorKind::InvalidOperation, reason));
        }
    };
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => escaped.push(c),
            _ => {
                let reason = format!("cannot write the character U+{:04X}: XML has no place for it", u32::from(c));
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        }
    }
    out.write_str(&escaped).map_err(Error::from)
}

struct Walk<'a> {
    source: &'a str,
    at: usize,
    locals: Vec<String>,
    text: String,
    names: Vec<(String, usize)>,
    tables: &'a Tables,
}

impl<'a> Walk<'a> {
    fn all(&mut self) -> Result<(), ExpressionError> {
        while let Some(rest) = self.source.get(self.at..).filter(|rest| !rest.is_empty()) {
            let open = ["{{", "{%", "{#"].iter().filter_map(|sign| rest.find(sign)).min().unwrap_or(rest.len());
            let (literal, tag) = rest.split_at(open);
            self.text.push_str(literal);
            self.at += open;
            match tag.get(..2) {
                Some("{{") => self.tag("}}")?,
                Some("{%") => self.tag("%}")?,
                Some("{#") => self.comment()?,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), ExpressionError> {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let Some(end) = rest.find("#}") else {
            return Err(self.error(self.at, "`{#` has no `#}`"));
        };
        self.at += end + 2;
        Ok(())
    }

    fn tag(&mut self, close: &str) -> Result<(), ExpressionError> {
        let start = self.at + 2;
        let rest = self.source.get(start..).unwrap_or_default();
        let Some(end) = end_of("", rest, close) else {
            return Err(self.error(self.at, &format!("a tag has no `{close}`")));
        };
        let inside = rest.get(..end).unwrap_or_default();
        let (trims_before, inside) = match inside.strip_prefix('-') {
            Some(inside) => ("-", inside),
            None => ("", inside),
        };
        let (trims_after, inside) = match inside.strip_suffix('-') {
            Some(inside) => ("-", inside),
            None => ("", inside),
        };
        let offset = start + trims_before.len();
        let (open, written) = if close == "}}" {
            ("{{", self.expression(inside, offset)?)
        } else {
            ("{%", self.statement(inside, offset)?)
        };
        self.text.push_str(&format!("{open}{trims_before} {written} {trims_after}{close}"));
        self.at = start + end + 2;
        Ok(())
    }

    fn statement(&mut self, inside: &'a str, offset: usize) -> Result<String, ExpressionError> {
        let trimmed = inside.trim_start();
        let start = offset + (inside.len() - trimmed.len());
        let word_end = trimmed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at(word_end);
        let rest_at = start + word_end;
        match word {
            "if" | "elif" => Ok(format!("{word} {}", self.expression(rest, rest_at)?)),
            "else" | "endif" | "endfor" if rest.trim().is_empty() => Ok(word.to_owned()),
            "for" => {
                let Some((name, list)) = rest.split_once(" in ") else {
                    return Err(self.error(rest_at, "a loop is written as `{% for item in record.Items %}`"));
                };
                let list_at = rest_at + name.len() + 4;
                let list = self.expression(list, list_at)?;
                let name = self.local(name, rest_at)?;
                self.locals.push("loop".to_owned());
                Ok(format!("for {name} in {list}"))
            }
            "set" => {
                let Some((name, value)) = rest.split_once('=') else {
                    return Err(self.error(rest_at, "a name is set as `{% set total = record.Amount %}`"));
                };
                let value = self.expression(value, rest_at + name.len() + 1)?;
                let name = self.local(name, rest_at)?;
                Ok(format!("set {name} = {value}"))
            }
            _ => Err(self.error(start, &format!("there is no `{{% {word} %}}`: use if, elif, else, for or set"))),
        }
    }

    fn local(&mut self, name: &str, at: usize) -> Result<String, ExpressionError> {
        let name = name.trim();
        let fits = name.chars().all(|c| c.is_alphanumeric() || c == '_') && name.starts_with(char::is_alphabetic);
        if !fits || super::CALL_NAMES.contains(&name) {
            return Err(self.error(at, &format!("{name:?} cannot be used as a name here")));
        }
        self.locals.push(name.to_owned());
        Ok(name.to_owned())
    }

    fn expression(&mut self, inside: &'a str, offset: usize) -> Result<String, ExpressionError> {
        let place = |mut error: ExpressionError| {
            error.offset = error.offset.map(|at| at + offset);
            error
        };
        let rewritten = super::rewritten(inside, &self.locals).map_err(place)?;
        if let Some((name, at)) = rewritten.tables.iter().find(|(name, _)| !self.tables.0.contains_key(name)) {
            let error = ExpressionError::unknown(inside, *at, "table", name, self.tables.names().into_iter());
            return Err(place(error));
        }
        if let Some((path, at)) = rewritten
            .names
            .iter()
            .find(|(path, _)| !super::CALL_NAMES.contains(&path.split('.').next().unwrap_or_default()))
        {
            let names = super::CALL_NAMES.iter().copied();
            return Err(place(ExpressionError::unknown(inside, *at, "name", path, names)));
        }
        self.names.extend(rewritten.names.into_iter().map(|(name, at)| (name, at + offset)));
        Ok(rewritten.source)
    }

    fn error(&self, offset: usize, reason: &str) -> ExpressionError {
        let line = self.source.get(offset..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        ExpressionError { expression: shown(line), offset: Some(offset), reason: reason.to_owned(), suggestion: None }
    }
}

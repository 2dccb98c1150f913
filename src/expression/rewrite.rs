//! Expression source → the MiniJinja source that is compiled, and the names it reads.
//!
//! MiniJinja's operators know machine numbers only and compare text with numbers without a word. So each operator
//! becomes a filter of ours (`a + b` → `a|_add(b)`) that keeps digits, calculates exactly and says when it cannot.
//! What this walk lets pass, MiniJinja's own parser still judges.

use super::form::{self, Form};
use super::{ExpressionError, FILTERS, TESTS, filters};

/// How deep brackets and signs may nest.
const DEPTH_MAX: usize = 40;
/// How many operators, filters and attributes an expression may have: each is a level of what is compiled.
const STEPS_MAX: usize = 300;

/// What was found in an expression.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// What MiniJinja compiles.
    pub(super) source: String,
    /// The dotted paths it reads, each with its offset in the source.
    pub(super) names: Vec<(String, usize)>,
    /// The tables it looks up by a constant name, each with its offset in the source.
    pub(super) tables: Vec<(String, usize)>,
    /// Filters with constant arguments, on a value that suits them, each with its offset in the source: what they cannot
    /// do with that they can do with none.
    pub(super) trials: Vec<(String, usize)>,
    /// What it is made of, for what can be said of its values beforehand.
    pub(super) form: Form,
}

/// A part of an expression: what MiniJinja compiles, and what it is made of.
struct Written {
    text: String,
    form: Form,
}

impl Written {
    fn new(text: String, form: Form) -> Self {
        Self { text, form }
    }

    /// A constant, whose value is known at once.
    fn constant(text: String) -> Self {
        let form = form::folded(&text);
        Self { text, form }
    }
}

/// Rewrites one expression. `locals` are names that something around it defines.
pub(super) fn rewrite(source: &str, locals: &[String]) -> Result<Rewritten, ExpressionError> {
    let tokens = tokens(source)?;
    let mut rewriter =
        Rewriter { source, tokens, position: 0, depth: 0, steps: 0, locals, found: Rewritten::default() };
    let Written { text, form } = rewriter.choice()?;
    if rewriter.kind() != Kind::End {
        return Err(rewriter.unexpected("the end of the expression"));
    }
    rewriter.found.source = text;
    rewriter.found.form = form;
    Ok(rewriter.found)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Number,
    Sign,
    End,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

const SIGNS_OF_TWO: [&str; 6] = ["==", "!=", "<=", ">=", "**", "//"];
const SIGNS_OF_ONE: &str = "+-*/%~<>()[]{}.,:|=";

fn tokens(source: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..)
        && let Some(first) = rest.chars().next()
    {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = token(rest, first).ok_or_else(|| ExpressionError::at(source, at, meaningless(first)))?;
        tokens.push(Token { kind, start: at, end: at + length });
        at += length;
    }
    tokens.push(Token { kind: Kind::End, start: source.len(), end: source.len() });
    Ok(tokens)
}

fn meaningless(first: char) -> String {
    match first {
        '\'' | '"' => "the text that begins here has no end".to_owned(),
        _ => format!("{first:?} has no meaning here"),
    }
}

fn token(rest: &str, first: char) -> Option<(Kind, usize)> {
    if first == '\'' || first == '"' {
        return text_length(rest, first).map(|length| (Kind::Text, length));
    }
    if first.is_ascii_digit() {
        return Some((Kind::Number, number_length(rest)));
    }
    if first.is_alphabetic() || first == '_' {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return Some((Kind::Name, end));
    }
    if SIGNS_OF_TWO.iter().any(|sign| rest.starts_with(sign)) {
        return Some((Kind::Sign, 2));
    }
    SIGNS_OF_ONE.contains(first).then_some((Kind::Sign, 1))
}

fn text_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

fn number_length(rest: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let whole = digits(rest);
    let after = rest.get(whole..).unwrap_or_default();
    let mut length = whole;
    if after.starts_with('.')
        && after.get(1..).is_some_and(|fraction| fraction.starts_with(|c: char| c.is_ascii_digit()))
    {
        length += 1 + digits(after.get(1..).unwrap_or_default());
    }
    let signed = rest.get(..length).is_some_and(|text| text.ends_with(['e', 'E']) && !text.starts_with("0x"));
    let tail = rest.get(length..).unwrap_or_default();
    if signed && tail.starts_with(['+', '-']) {
        length += 1 + digits(tail.get(1..).unwrap_or_default());
    }
    length
}

struct Rewriter<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    steps: usize,
    locals: &'a [String],
    found: Rewritten,
}

impl<'a> Rewriter<'a> {
    fn current(&self) -> Token {
        let end = Token { kind: Kind::End, start: self.source.len(), end: self.source.len() };
        self.tokens.get(self.position).copied().unwrap_or(end)
    }

    fn kind(&self) -> Kind {
        self.current().kind
    }

    fn text(&self) -> &'a str {
        let token = self.current();
        self.source.get(token.start..token.end).unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        let text = self.text();
        self.position += 1;
        text
    }

    fn sees(&self, sign: &str) -> bool {
        self.kind() == Kind::Sign && self.text() == sign
    }

    fn sees_word(&self, word: &str) -> bool {
        self.kind() == Kind::Name && self.text() == word
    }

    fn takes(&mut self, sign: &str) -> bool {
        let sees = self.sees(sign);
        self.position += usize::from(sees);
        sees
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let sees = self.sees_word(word);
        self.position += usize::from(sees);
        sees
    }

    fn expects(&mut self, sign: &str) -> Result<(), ExpressionError> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> ExpressionError {
        let token = self.current();
        let seen = if token.kind == Kind::End { "its end".to_owned() } else { format!("`{}`", self.text()) };
        ExpressionError::at(self.source, token.start, format!("expected {wanted}, found {seen}"))
    }

    fn refused(&self, at: usize, reason: &str) -> ExpressionError {
        ExpressionError::at(self.source, at, reason.to_owned())
    }

    /// `a if b else c`
    fn choice(&mut self) -> Result<Written, ExpressionError> {
        self.enter()?;
        let written = self.choice_inside();
        self.depth -= 1;
        written
    }

    fn enter(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refused(self.current().start, "nests more than 40 levels deep"));
        }
        Ok(())
    }

    /// Counts one more operator, filter or attribute.
    fn step(&mut self) -> Result<(), ExpressionError> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.refused(self.current().start, "has more than 300 operators, filters and attributes"));
        }
        Ok(())
    }

    fn choice_inside(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.any()?;
        while self.takes_word("if") {
            self.step()?;
            let test = self.any()?.text;
            let Written { text, form } = written;
            written = if self.takes_word("else") {
                let otherwise = self.choice()?;
                let text = format!("({text} if {test} else {})", otherwise.text);
                Written::new(text, Form::either([form, otherwise.form]))
            } else {
                Written::new(format!("({text} if {test})"), Form::either([form, Form::none()]))
            };
        }
        Ok(written)
    }

    /// `a or b`
    fn any(&mut self) -> Result<Written, ExpressionError> {
        let mut parts = vec![self.all()?];
        while self.takes_word("or") {
            parts.push(self.all()?);
        }
        Ok(joined(parts, " or "))
    }

    /// `a and b`
    fn all(&mut self) -> Result<Written, ExpressionError> {
        let mut parts = vec![self.not()?];
        while self.takes_word("and") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, " and "))
    }

    fn not(&mut self) -> Result<Written, ExpressionError> {
        let mut count = 0_usize;
        while self.takes_word("not") {
            self.step()?;
            count += 1;
        }
        let written = self.comparison()?;
        let text = &written.text;
        Ok(match count {
            0 => written,
            _ if count % 2 == 1 => Written::new(format!("(not {text})"), Form::Truth),
            _ => Written::new(format!("(not (not {text}))"), Form::Truth),
        })
    }

    fn comparison(&mut self) -> Result<Written, ExpressionError> {
        let first = self.sum()?;
        let mut left = first.text.clone();
        let mut parts = Vec::new();
        while let Some((filter, negated)) = self.comparison_operator() {
            self.step()?;
            let right = self.sum()?.text;
            let test = format!("{left}|{filter}({right})");
            let test = if negated { format!("(not {test})") } else { test };
            parts.push(Written::new(test, Form::Truth));
            left = right;
        }
        Ok(if parts.is_empty() { first } else { joined(parts, " and ") })
    }

    fn comparison_operator(&mut self) -> Option<(&'static str, bool)> {
        let operator = match self.text() {
            "==" => ("_eq", false),
            "!=" => ("_ne", false),
            "<" => ("_lt", false),
            "<=" => ("_le", false),
            ">" => ("_gt", false),
            ">=" => ("_ge", false),
            "in" => ("_in", false),
            "not" => ("_in", true),
            _ => return None,
        };
        self.position += 1;
        if operator.1 {
            self.takes_word("in");
        }
        Some(operator)
    }

    fn sum(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.concatenation()?;
        loop {
            let filter = match self.text() {
                "+" => "_add",
                "-" => "_sub",
                _ => return Ok(written),
            };
            self.step()?;
            self.position += 1;
            let right = self.concatenation()?;
            written = operated(written, filter, right);
        }
    }

    fn concatenation(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.product()?;
        while self.takes("~") {
            self.step()?;
            let right = self.product()?;
            written = operated(written, "_cat", right);
        }
        Ok(written)
    }

    fn product(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.power()?;
        loop {
            let filter = match self.text() {
                "*" => "_mul",
                "/" => "_div",
                "//" => "_floordiv",
                "%" => "_rem",
                _ => return Ok(written),
            };
            self.step()?;
            self.position += 1;
            let right = self.power()?;
            written = operated(written, filter, right);
        }
    }

    fn power(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.filtered()?;
        while self.takes("**") {
            self.step()?;
            let right = self.filtered()?;
            written = operated(written, "_pow", right);
        }
        Ok(written)
    }

    /// An operand with its filters and tests.
    fn filtered(&mut self) -> Result<Written, ExpressionError> {
        let mut written = self.signed()?;
        loop {
            if self.takes("|") {
                self.step()?;
                written = self.filter(written)?;
            } else if self.takes_word("is") {
                self.step()?;
                written = Written::new(self.test(&written.text)?, Form::Truth);
            } else {
                return Ok(written);
            }
        }
    }

    fn filter(&mut self, operand: Written) -> Result<Written, ExpressionError> {
        let at = self.current().start;
        let name = self.next();
        if !FILTERS.contains(&name) {
            return Err(ExpressionError::unknown(self.source, at, "filter", name, FILTERS.iter().copied()));
        }
        let constant = self.sees("(").then(|| self.tokens.get(self.position + 1).copied()).flatten();
        let before = self.position;
        let (arguments, forms) = if self.sees("(") { self.arguments()? } else { Default::default() };
        let is_constant = |tokens: &[Token]| tokens.iter().all(|token| token.kind != Kind::Name);
        if let Some(sample) = filters::sample(name)
            && self.tokens.get(before..self.position).is_some_and(is_constant)
        {
            self.found.trials.push((format!("'{sample}'|{name}({arguments})"), at));
        }
        if name == "lookup"
            && let Some(token) = constant.filter(|token| token.kind == Kind::Text)
        {
            let table = self.source.get(token.start + 1..token.end - 1).unwrap_or_default();
            self.found.tables.push((table.to_owned(), token.start));
        }
        filters::check_arguments(name, &arguments).map_err(|reason| self.refused(at, &reason))?;
        let Written { text: operand, form } = operand;
        let text =
            if arguments.is_empty() { format!("{operand}|{name}") } else { format!("{operand}|{name}({arguments})") };
        let form = Form::filtered(name, form, forms, &text);
        Ok(Written::new(text, form))
    }

    fn test(&mut self, operand: &str) -> Result<String, ExpressionError> {
        let negated = self.takes_word("not");
        let at = self.current().start;
        let name = self.next();
        if !TESTS.contains(&name) {
            return Err(ExpressionError::unknown(self.source, at, "test", name, TESTS.iter().copied()));
        }
        let arguments = if self.sees("(") { self.arguments()?.0 } else { self.bare_argument()? };
        let not = if negated { "not " } else { "" };
        Ok(if arguments.is_empty() {
            format!("({operand} is {not}{name})")
        } else {
            format!("({operand} is {not}{name}({arguments}))")
        })
    }

    fn bare_argument(&mut self) -> Result<String, ExpressionError> {
        let ends = ["and", "or", "else", "is", "if", "not", "in"];
        let is_argument = match self.kind() {
            Kind::Text | Kind::Number => true,
            Kind::Name => !ends.contains(&self.text()),
            Kind::Sign => matches!(self.text(), "-" | "[" | "{"),
            Kind::End => false,
        };
        if is_argument { self.signed().map(|written| written.text) } else { Ok(String::new()) }
    }

    fn arguments(&mut self) -> Result<(String, Vec<Form>), ExpressionError> {
        self.expects("(")?;
        let mut parts = Vec::new();
        let mut forms = Vec::new();
        while !self.takes(")") {
            if !parts.is_empty() {
                self.expects(",")?;
                if self.takes(")") {
                    break;
                }
            }
            if self.sees("*") || self.sees("**") {
                return Err(self.unexpected("an argument"));
            }
            let Written { text, form } = self.choice()?;
            parts.push(text);
            forms.push(form);
            if self.sees("=") {
                return Err(self.refused(self.current().start, "arguments of filters have no names, only an order"));
            }
        }
        Ok((parts.join(", "), forms))
    }

    fn signed(&mut self) -> Result<Written, ExpressionError> {
        if !self.takes("-") {
            return self.postfix();
        }
        if self.kind() == Kind::Number {
            return Ok(Written::constant(literal("-", self.next())));
        }
        self.enter()?;
        let operand = self.signed()?;
        self.depth -= 1;
        let text = format!("{}|_neg", operand.text);
        let form = Form::filtered("_neg", operand.form, Vec::new(), &text);
        Ok(Written::new(text, form))
    }

    /// A value with its `.name` and `[…]`.
    fn postfix(&mut self) -> Result<Written, ExpressionError> {
        let at = self.current().start;
        let mut path = self.path_start();
        let Written { mut text, mut form } = self.primary()?;
        loop {
            if self.takes(".") {
                self.step()?;
                let name = self.next();
                text = format!("{text}.{name}");
                form = Form::Unknown;
                if let Some(path) = &mut path {
                    path.push('.');
                    path.push_str(name);
                }
            } else if self.sees("[") {
                self.step()?;
                let subscript = self.subscript()?;
                text = format!("{text}[{subscript}]");
                form = Form::Unknown;
                self.extend(&mut path, &subscript, at);
            } else if self.sees("(") {
                let reason = "functions and methods cannot be called: use a filter, such as `record.Name | upper`";
                return Err(self.refused(self.current().start, reason));
            } else {
                break;
            }
        }
        if let Some(path) = path {
            form = Form::Path(path.clone());
            self.found.names.push((path, at));
        }
        Ok(Written::new(text, form))
    }

    fn extend(&mut self, path: &mut Option<String>, subscript: &str, at: usize) {
        let constant = constant_text(subscript);
        match (path.as_mut(), constant) {
            (Some(path), Some(name)) => {
                path.push('.');
                path.push_str(name);
            }
            (Some(_), None) => {
                if let Some(path) = path.take() {
                    self.found.names.push((path, at));
                }
            }
            (None, _) => {}
        }
    }

    fn path_start(&self) -> Option<String> {
        let name = self.text();
        let constant = matches!(name, "true" | "True" | "false" | "False" | "none" | "None");
        let local = self.locals.iter().any(|local| local == name);
        (self.kind() == Kind::Name && !constant && !local).then(|| name.to_owned())
    }

    fn subscript(&mut self) -> Result<String, ExpressionError> {
        self.expects("[")?;
        let mut text = String::new();
        while !self.takes("]") {
            if self.takes(":") {
                text.push(':');
            } else {
                text.push_str(&self.choice()?.text);
                if !self.sees(":") && !self.sees("]") {
                    return Err(self.unexpected("`]`"));
                }
            }
        }
        Ok(text)
    }

    fn primary(&mut self) -> Result<Written, ExpressionError> {
        match self.kind() {
            Kind::Name => {
                let name = self.next().to_owned();
                let form = match name.as_str() {
                    "true" | "True" => Form::Constant(true.into()),
                    "false" | "False" => Form::Constant(false.into()),
                    "none" | "None" => Form::none(),
                    _ => Form::Unknown,
                };
                Ok(Written::new(name, form))
            }
            Kind::Number => Ok(Written::constant(literal("", self.next()))),
            Kind::Text => {
                let mut text = self.next().to_owned();
                while self.kind() == Kind::Text {
                    text.push(' ');
                    text.push_str(self.next());
                }
                Ok(Written::constant(text))
            }
            Kind::Sign => match self.text() {
                "(" => self.sequence("(", ")"),
                "[" => self.sequence("[", "]"),
                "{" => self.dictionary().map(|text| Written::new(text, Form::Object)),
                _ => Err(self.unexpected("a value")),
            },
            Kind::End => Err(self.unexpected("a value")),
        }
    }

    fn sequence(&mut self, open: &str, close: &str) -> Result<Written, ExpressionError> {
        self.expects(open)?;
        let mut text = open.to_owned();
        let mut forms = Vec::new();
        let mut is_list = open == "[";
        while !self.takes(close) {
            let item = self.choice()?;
            text.push_str(&item.text);
            forms.push(item.form);
            if self.takes(",") {
                is_list = true;
                text.push_str(", ");
            } else if !self.sees(close) {
                return Err(self.unexpected(&format!("`{close}`")));
            }
        }
        text.push_str(close);
        let alone = if is_list || forms.len() != 1 { None } else { forms.pop() };
        Ok(Written::new(text, alone.unwrap_or(Form::List(forms))))
    }

    fn dictionary(&mut self) -> Result<String, ExpressionError> {
        self.expects("{")?;
        let mut text = "{".to_owned();
        while !self.takes("}") {
            text.push_str(&self.choice()?.text);
            self.expects(":")?;
            text.push_str(": ");
            text.push_str(&self.choice()?.text);
            if self.takes(",") {
                text.push_str(", ");
            } else if !self.sees("}") {
                return Err(self.unexpected("`}`"));
            }
        }
        text.push('}');
        Ok(text)
    }
}

/// `a + b` → `a|_add(b)`.
fn operated(left: Written, filter: &str, right: Written) -> Written {
    let text = format!("{}|{filter}({})", left.text, right.text);
    let form = Form::filtered(filter, left.form, vec![right.form], &text);
    Written::new(text, form)
}

/// Parts between the same word, ` and ` or ` or `: the value is that of one of them.
fn joined(mut parts: Vec<Written>, word: &str) -> Written {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    let (texts, forms): (Vec<String>, Vec<Form>) = parts.into_iter().map(|part| (part.text, part.form)).unzip();
    let form = if word == " or " { Form::Any(forms) } else { Form::All(forms) };
    Written::new(format!("({})", texts.join(word)), form)
}

/// A number as it was written: MiniJinja would round what a machine number cannot hold.
fn literal(sign: &str, digits: &str) -> String {
    let is_plain_integer = digits.len() < 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if is_decimal && !is_plain_integer { format!("'{sign}{digits}'|float") } else { format!("{sign}{digits}") }
}

/// The text of a constant that is nothing but one plain string.
fn constant_text(source: &str) -> Option<&str> {
    let quote = source.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let inner = source.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains([quote, '\\'])).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_become_filters_in_the_order_of_their_binding() {
        for (source, expected) in [
            ("record.A", "record.A"),
            ("a + b * c - d", "a|_add(b|_mul(c))|_sub(d)"),
            ("-a.b | decimal(2)", "a.b|_neg|decimal(2)"),
            ("-5 ** 2", "-5|_pow(2)"),
            ("a < 1 and not b == 'x' or c", "((a|_lt(1) and (not b|_eq('x'))) or c)"),
            ("1 < a <= 3", "(1|_lt(a) and a|_le(3))"),
            ("a not in ['x', b]", "(not a|_in(['x', b]))"),
            ("a if b > 1 else c ~ '-'", "(a if b|_gt(1) else c|_cat('-'))"),
            ("(a + 1)[0]", "(a|_add(1))[0]"),
            ("a is defined and b is not none", "((a is defined) and (b is not none))"),
            ("a | pad(8, '0')", "a|pad(8, '0')"),
            ("a[1:2]", "a[1:2]"),
            ("{'a': 1.5e-3, 'b': -2.50}", "{'a': '1.5e-3'|float, 'b': '-2.50'|float}"),
        ] {
            assert_eq!(rewrite(source, &[]).unwrap().source, expected, "{source}");
        }
    }

    #[test]
    fn every_path_is_named_with_its_place() {
        let found = rewrite("record.A.B | default(record['C d']) ~ record[source]", &[]).unwrap();
        let names: Vec<_> = found.names.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        assert_eq!(names, [("record.A.B", 0), ("record.C d", 21), ("source", 45), ("record", 38)]);
    }
}

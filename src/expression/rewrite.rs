//! Expression source → the MiniJinja source that is compiled, and the names it reads.
//!
//! MiniJinja's operators know machine numbers only and compare text with numbers without a word. So each operator
//! becomes a filter of ours (`a + b` → `a|_add(b)`) that keeps digits, calculates exactly and says when it cannot.
//! What this walk lets pass, MiniJinja's own parser still judges.

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
}

/// Rewrites one expression. `locals` are names that something around it defines.
pub(super) fn rewrite(source: &str, locals: &[String]) -> Result<Rewritten, ExpressionError> {
    let tokens = tokens(source)?;
    let mut rewriter =
        Rewriter { source, tokens, position: 0, depth: 0, steps: 0, locals, found: Rewritten::default() };
    let text = rewriter.choice()?;
    if rewriter.kind() != Kind::End {
        return Err(rewriter.unexpected("the end of the expression"));
    }
    rewriter.found.source = text;
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
    fn choice(&mut self) -> Result<String, ExpressionError> {
        self.enter()?;
        let text = self.choice_inside();
        self.depth -= 1;
        text
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

    fn choice_inside(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.any()?;
        while self.takes_word("if") {
            self.step()?;
            let test = self.any()?;
            text = if self.takes_word("else") {
                let otherwise = self.choice()?;
                format!("({text} if {test} else {otherwise})")
            } else {
                format!("({text} if {test})")
            };
        }
        Ok(text)
    }

    /// `a or b`
    fn any(&mut self) -> Result<String, ExpressionError> {
        let mut parts = vec![self.all()?];
        while self.takes_word("or") {
            parts.push(self.all()?);
        }
        Ok(joined(parts, " or "))
    }

    /// `a and b`
    fn all(&mut self) -> Result<String, ExpressionError> {
        let mut parts = vec![self.not()?];
        while self.takes_word("and") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, " and "))
    }

    fn not(&mut self) -> Result<String, ExpressionError> {
        let mut count = 0_usize;
        while self.takes_word("not") {
            self.step()?;
            count += 1;
        }
        let text = self.comparison()?;
        Ok(match count {
            0 => text,
            _ if count % 2 == 1 => format!("(not {text})"),
            _ => format!("(not (not {text}))"),
        })
    }

    fn comparison(&mut self) -> Result<String, ExpressionError> {
        let mut left = self.sum()?;
        let mut parts = Vec::new();
        while let Some((filter, negated)) = self.comparison_operator() {
            self.step()?;
            let right = self.sum()?;
            let test = format!("{left}|{filter}({right})");
            parts.push(if negated { format!("(not {test})") } else { test });
            left = right;
        }
        Ok(if parts.is_empty() { left } else { joined(parts, " and ") })
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

    fn sum(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.concatenation()?;
        loop {
            let filter = match self.text() {
                "+" => "_add",
                "-" => "_sub",
                _ => return Ok(text),
            };
            self.step()?;
            self.position += 1;
            let right = self.concatenation()?;
            text = format!("{text}|{filter}({right})");
        }
    }

    fn concatenation(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.product()?;
        while self.takes("~") {
            self.step()?;
            let right = self.product()?;
            text = format!("{text}|_cat({right})");
        }
        Ok(text)
    }

    fn product(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.power()?;
        loop {
            let filter = match self.text() {
                "*" => "_mul",
                "/" => "_div",
                "//" => "_floordiv",
                "%" => "_rem",
                _ => return Ok(text),
            };
            self.step()?;
            self.position += 1;
            let right = self.power()?;
            text = format!("{text}|{filter}({right})");
        }
    }

    fn power(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.filtered()?;
        while self.takes("**") {
            self.step()?;
            let right = self.filtered()?;
            text = format!("{text}|_pow({right})");
        }
        Ok(text)
    }

    /// An operand with its filters and tests.
    fn filtered(&mut self) -> Result<String, ExpressionError> {
        let mut text = self.signed()?;
        loop {
            if self.takes("|") {
                self.step()?;
                text = self.filter(&text)?;
            } else if self.takes_word("is") {
                self.step()?;
                text = self.test(&text)?;
            } else {
                return Ok(text);
            }
        }
    }

    fn filter(&mut self, operand: &str) -> Result<String, ExpressionError> {
        let at = self.current().start;
        let name = self.next();
        if !FILTERS.contains(&name) {
            return Err(ExpressionError::unknown(self.source, at, "filter", name, FILTERS.iter().copied()));
        }
        let constant = self.sees("(").then(|| self.tokens.get(self.position + 1).copied()).flatten();
        let before = self.position;
        let arguments = if self.sees("(") { self.arguments()? } else { String::new() };
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
        Ok(if arguments.is_empty() { format!("{operand}|{name}") } else { format!("{operand}|{name}({arguments})") })
    }

    fn test(&mut self, operand: &str) -> Result<String, ExpressionError> {
        let negated = self.takes_word("not");
        let at = self.current().start;
        let name = self.next();
        if !TESTS.contains(&name) {
            return Err(ExpressionError::unknown(self.source, at, "test", name, TESTS.iter().copied()));
        }
        let arguments = if self.sees("(") { self.arguments()? } else { self.bare_argument()? };
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
        if is_argument { self.signed() } else { Ok(String::new()) }
    }

    fn arguments(&mut self) -> Result<String, ExpressionError> {
        self.expects("(")?;
        let mut parts = Vec::new();
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
            parts.push(self.choice()?);
            if self.sees("=") {
                return Err(self.refused(self.current().start, "arguments of filters have no names, only an order"));
            }
        }
        Ok(parts.join(", "))
    }

    fn signed(&mut self) -> Result<String, ExpressionError> {
        if !self.takes("-") {
            return self.postfix();
        }
        if self.kind() == Kind::Number {
            return Ok(literal("-", self.next()));
        }
        self.enter()?;
        let operand = self.signed()?;
        self.depth -= 1;
        Ok(format!("{operand}|_neg"))
    }

    /// A value with its `.name` and `[…]`.
    fn postfix(&mut self) -> Result<String, ExpressionError> {
        let at = self.current().start;
        let mut path = self.path_start();
        let mut text = self.primary()?;
        loop {
            if self.takes(".") {
                self.step()?;
                let name = self.next();
                text = format!("{text}.{name}");
                if let Some(path) = &mut path {
                    path.push('.');
                    path.push_str(name);
                }
            } else if self.sees("[") {
                self.step()?;
                let subscript = self.subscript()?;
                text = format!("{text}[{subscript}]");
                self.extend(&mut path, &subscript, at);
            } else if self.sees("(") {
                let reason = "functions and methods cannot be called: use a filter, such as `record.Name | upper`";
                return Err(self.refused(self.current().start, reason));
            } else {
                break;
            }
        }
        if let Some(path) = path {
            self.found.names.push((path, at));
        }
        Ok(text)
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
                text.push_str(&self.choice()?);
                if !self.sees(":") && !self.sees("]") {
                    return Err(self.unexpected("`]`"));
                }
            }
        }
        Ok(text)
    }

    fn primary(&mut self) -> Result<String, ExpressionError> {
        match self.kind() {
            Kind::Name => Ok(self.next().to_owned()),
            Kind::Number => Ok(literal("", self.next())),
            Kind::Text => {
                let mut text = self.next().to_owned();
                while self.kind() == Kind::Text {
                    text.push(' ');
                    text.push_str(self.next());
                }
                Ok(text)
            }
            Kind::Sign => match self.text() {
                "(" => self.sequence("(", ")"),
                "[" => self.sequence("[", "]"),
                "{" => self.dictionary(),
                _ => Err(self.unexpected("a value")),
            },
            Kind::End => Err(self.unexpected("a value")),
        }
    }

    fn sequence(&mut self, open: &str, close: &str) -> Result<String, ExpressionError> {
        self.expects(open)?;
        let mut text = open.to_owned();
        while !self.takes(close) {
            text.push_str(&self.choice()?);
            if self.takes(",") {
                text.push_str(", ");
            } else if !self.sees(close) {
                return Err(self.unexpected(&format!("`{close}`")));
            }
        }
        text.push_str(close);
        Ok(text)
    }

    fn dictionary(&mut self) -> Result<String, ExpressionError> {
        self.expects("{")?;
        let mut text = "{".to_owned();
        while !self.takes("}") {
            text.push_str(&self.choice()?);
            self.expects(":")?;
            text.push_str(": ");
            text.push_str(&self.choice()?);
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

fn joined(mut parts: Vec<String>, word: &str) -> String {
    match parts.len() {
        1 => parts.pop().unwrap_or_default(),
        _ => format!("({})", parts.join(word)),
    }
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

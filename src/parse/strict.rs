//! quick-xml's events, made strict: what passes here is well-formed XML 1.0 with namespaces and without DTD.
//!
//! quick-xml finds the borders of tags, comments and references fast, and checks little of what is inside; this layer
//! checks the rest. Everything takes time and memory linear in the length of the text.

use std::borrow::Cow;
use std::collections::HashSet;

use quick_xml::errors::IllFormedError;
use quick_xml::events::Event as Raw;

use super::lexical;
use super::scope::{Namespace, Scope};
use super::{ParseError, Place};

/// More attributes on one element are refused.
const ATTRIBUTES_MAX: usize = 1_024;
/// So many bytes of declarations, and as many as the text has, may be written into fragments cut out of it.
const DECLARATION_BYTES_MAX: usize = 64 << 10;

/// Something in the document. Comments and processing instructions are checked and passed over.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A start tag, or the first half of an empty element.
    Start(Start<'a>),
    /// An end tag, or the second half of an empty element.
    End {
        /// Where the tag begins: the end of the element's content.
        from: usize,
        /// Where it ends.
        to: usize,
    },
    /// A piece of text or CDATA, line ends normalised. Not the whole text of an element.
    Text(Cow<'a, str>),
    /// A character that was referred to.
    Character(char),
    /// The document is complete.
    Complete,
}

/// A start tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// The element's namespace.
    pub(crate) namespace: Namespace,
    /// The element's name without prefix.
    pub(crate) local: &'a str,
    /// The element's name as it stands in the text.
    pub(crate) name: &'a str,
    /// Where the tag begins.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
    /// How many declarations were in scope before its own.
    outside: usize,
}

/// An attribute of the start tag that was read last.
#[derive(Debug)]
struct Attribute<'a> {
    prefix: &'a str,
    local: &'a str,
    namespace: Namespace,
    /// Between the quotes, as it stands in the text.
    raw: &'a str,
    /// From the name to the closing quote.
    whole: &'a str,
    from: usize,
}

/// An element that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// How many declarations were in scope before its own.
    outside: usize,
    /// Where its start tag begins.
    from: usize,
}

/// Reads a document from front to end. What it says of errors is read by people who may not see what the document holds: it
/// names places, lengths, and no text of it.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    events: quick_xml::Reader<&'a [u8]>,
    has_carriage_returns: bool,
    depth_max: usize,
    scope: Scope<'a>,
    open: Vec<Open>,
    attributes: Vec<Attribute<'a>>,
    /// How many bytes of declarations more may be written into fragments.
    declaration_bytes: usize,
    root_seen: bool,
    /// Where an empty element ended whose end is still to be told.
    empty_until: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// When a character in the text is not allowed in XML.
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Result<Self, ParseError> {
        let mut events = quick_xml::Reader::from_str(text);
        events.config_mut().check_end_names = true;
        let reader = Self {
            text,
            events,
            has_carriage_returns: text.as_bytes().contains(&b'\r'),
            depth_max,
            scope: Scope::default(),
            open: Vec::with_capacity(16),
            attributes: Vec::with_capacity(8),
            declaration_bytes: text.len().saturating_add(DECLARATION_BYTES_MAX),
            root_seen: false,
            empty_until: None,
        };
        if text.starts_with('\u{FEFF}') {
            return Err(reader.broken(0, "a second byte order mark"));
        }
        match lexical::illegal_char(text) {
            Some(at) => {
                let c = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, u32::from);
                Err(reader.broken(at, format!("the character U+{c:04X} is not allowed in XML")))
            }
            None => Ok(reader),
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// What makes the document no well-formed XML.
    pub(crate) fn next(&mut self) -> Result<Event<'a>, ParseError> {
        if let Some(to) = self.empty_until.take() {
            self.close();
            return Ok(Event::End { from: to, to });
        }
        loop {
            let from = self.position();
            self.refuse_doctype(from)?;
            let event = match self.events.read_event() {
                Ok(event) => event,
                Err(error) => return Err(self.syntax(from, &error)),
            };
            let to = self.position();
            match event {
                Raw::Start(_) => return self.start(from, to, to.saturating_sub(1)).map(Event::Start),
                Raw::Empty(_) => {
                    let start = self.start(from, to, to.saturating_sub(2))?;
                    self.empty_until = Some(to);
                    return Ok(Event::Start(start));
                }
                Raw::End(_) => {
                    self.close();
                    return Ok(Event::End { from, to });
                }
                Raw::Text(_) => {
                    if let Some(text) = self.text(from, to)? {
                        return Ok(Event::Text(text));
                    }
                }
                Raw::CData(_) => {
                    self.inside(from, "a CDATA section")?;
                    return Ok(Event::Text(self.normalised(from + "<![CDATA[".len(), to.saturating_sub("]]>".len()))));
                }
                Raw::GeneralRef(_) => return self.reference(from, to).map(Event::Character),
                Raw::Comment(_) => self.comment(from, to)?,
                Raw::Decl(_) => self.declaration(from, to)?,
                Raw::PI(_) => self.instruction(from, to)?,
                Raw::DocType(_) => return Err(ParseError::Doctype { place: self.place(from) }),
                Raw::Eof => return self.end(to),
            }
        }
    }

    /// The value of an attribute of the start tag that was read last.
    pub(crate) fn attribute(&self, namespace: Namespace, local: &str) -> Option<Cow<'a, str>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.namespace == namespace && attribute.local == local)
            .map(|attribute| lexical::attribute_value(attribute.raw))
    }

    /// Whether the start tag that was read last says `xsi:nil`.
    pub(crate) fn is_nil(&self) -> bool {
        !self.attributes.is_empty()
            && self.attribute(Namespace::Instance, "nil").is_some_and(|nil| matches!(lexical::trim(&nil), "true" | "1"))
    }

    /// Reads past the end of the innermost open element.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(crate) fn skip(&mut self) -> Result<usize, ParseError> {
        let outer = self.open.len().saturating_sub(1);
        loop {
            if let Event::End { from, .. } = self.next()?
                && self.open.len() <= outer
            {
                return Ok(from);
            }
        }
    }

    /// Begins to note what the element of the start tag that was read last needs of the declarations around it.
    pub(crate) fn capture(&mut self, start: &Start<'a>) {
        self.scope.capture(start.outside);
        self.scope.note(lexical::qualified_name(start.name).map_or("", |(prefix, _)| prefix));
        for attribute in &self.attributes {
            note_attribute(&mut self.scope, attribute);
        }
    }

    /// The element that began with `start` and ended at `to`, as a fragment that stands alone. Ends the capture.
    ///
    /// # Errors
    /// When the declarations that fragments need again and again come to more than the text itself: one of a megabyte
    /// around a hundred records would become a hundred megabytes.
    pub(crate) fn captured(&mut self, start: &Start<'a>, to: usize) -> Result<String, ParseError> {
        let declarations = self.scope.captured();
        let name_end = start.from + 1 + start.name.len();
        let added: usize = declarations.iter().map(|declaration| declaration.len() + 1).sum();
        self.declaration_bytes = self.declaration_bytes.checked_sub(added).ok_or_else(|| ParseError::Foreign {
            place: self.place(start.from),
            problem: "the namespace declarations that its notifications share are too long to be kept with each"
                .to_owned(),
        })?;
        let mut fragment = String::with_capacity(to.saturating_sub(start.from) + added);
        fragment.push_str(self.slice(start.from, name_end));
        for declaration in declarations {
            fragment.push(' ');
            fragment.push_str(declaration);
        }
        fragment.push_str(self.slice(name_end, to));
        Ok(fragment)
    }

    /// Ends the capture without a fragment.
    pub(crate) fn abandon(&mut self) {
        self.scope.captured();
    }

    /// A part of the text with its line ends normalised.
    pub(crate) fn normalised(&self, from: usize, to: usize) -> Cow<'a, str> {
        let text = self.slice(from, to);
        if self.has_carriage_returns { lexical::line_ends(text) } else { Cow::Borrowed(text) }
    }

    /// The name of a namespace, for messages.
    pub(crate) fn namespace_name(&self, namespace: Namespace) -> &str {
        self.scope.name(namespace)
    }

    /// The line and column of an offset. Takes time: for errors.
    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::of(self.text, offset)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn position(&self) -> usize {
        usize::try_from(self.events.buffer_position()).unwrap_or(usize::MAX)
    }

    fn broken(&self, offset: usize, problem: impl Into<String>) -> ParseError {
        ParseError::Malformed { place: self.place(offset), problem: problem.into() }
    }

    fn syntax(&self, from: usize, error: &quick_xml::Error) -> ParseError {
        let at = usize::try_from(self.events.error_position()).unwrap_or(from);
        self.broken(at.max(from), self.without_names(error))
    }

    /// What quick-xml says, without the names that it quotes.
    fn without_names(&self, error: &quick_xml::Error) -> String {
        let ill_formed = match error {
            quick_xml::Error::IllFormed(ill_formed) => ill_formed,
            quick_xml::Error::Syntax(_) | quick_xml::Error::InvalidAttr(_) => return error.to_string(),
            quick_xml::Error::Io(_)
            | quick_xml::Error::Encoding(_)
            | quick_xml::Error::Escape(_)
            | quick_xml::Error::Namespace(_) => return "it cannot be read on from here".to_owned(),
        };
        match ill_formed {
            IllFormedError::MismatchedEndTag { .. } => match self.open.last() {
                Some(open) => {
                    format!("the end tag is not that of the element that begins at {}", self.place(open.from))
                }
                None => "an end tag of no element".to_owned(),
            },
            IllFormedError::UnmatchedEndTag(_) => "an end tag of no element".to_owned(),
            IllFormedError::MissingEndTag(_) => "an element does not end".to_owned(),
            IllFormedError::MissingDeclVersion(_) => "the XML declaration does not begin with the version".to_owned(),
            IllFormedError::UnknownVersion
            | IllFormedError::MissingDoctypeName
            | IllFormedError::DoubleHyphenInComment
            | IllFormedError::UnclosedReference => ill_formed.to_string(),
        }
    }

    /// A DTD is not even looked at.
    fn refuse_doctype(&self, from: usize) -> Result<(), ParseError> {
        let next = self.text.as_bytes().get(from..).unwrap_or_default();
        let is_doctype = next.starts_with(b"<!D") || next.starts_with(b"<!d");
        if is_doctype { Err(ParseError::Doctype { place: self.place(from) }) } else { Ok(()) }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.scope.leave(open.outside);
        }
    }

    fn end(&self, at: usize) -> Result<Event<'a>, ParseError> {
        if !self.open.is_empty() {
            return Err(self.broken(at, format!("the document ends with {} elements still open", self.open.len())));
        }
        if !self.root_seen {
            return Err(self.broken(at, "the document has no element"));
        }
        Ok(Event::Complete)
    }

    fn inside(&self, from: usize, what: &str) -> Result<(), ParseError> {
        if self.open.is_empty() {
            Err(self.broken(from, format!("{what} outside of the root element")))
        } else {
            Ok(())
        }
    }

    /// None: white space outside of the root element.
    fn text(&self, from: usize, to: usize) -> Result<Option<Cow<'a, str>>, ParseError> {
        let text = self.slice(from, to);
        if self.open.is_empty() {
            return match text.bytes().position(|byte| !lexical::is_space(byte)) {
                Some(at) => Err(self.broken(from + at, "text outside of the root element")),
                None => Ok(None),
            };
        }
        if memchr::memchr(b']', text.as_bytes()).is_some()
            && let Some(at) = text.find("]]>")
        {
            return Err(self.broken(from + at, "]]> in text"));
        }
        Ok(Some(self.normalised(from, to)))
    }

    fn reference(&self, from: usize, to: usize) -> Result<char, ParseError> {
        self.inside(from, "a reference")?;
        self.resolve_reference(from, self.slice(from + 1, to.saturating_sub(1)))
    }

    fn resolve_reference(&self, at: usize, name: &str) -> Result<char, ParseError> {
        lexical::reference(name).ok_or_else(|| {
            let length = lexical::length(name);
            let problem = if name.starts_with('#') {
                format!("a reference ({length}) to no legal character")
            } else {
                format!("an unknown entity ({length}); only the five of XML are known")
            };
            self.broken(at, problem)
        })
    }

    fn comment(&self, from: usize, to: usize) -> Result<(), ParseError> {
        let content = self.slice(from + "<!--".len(), to.saturating_sub("-->".len()));
        if content.contains("--") || content.ends_with('-') {
            return Err(self.broken(from, "-- in a comment"));
        }
        Ok(())
    }

    fn declaration(&self, from: usize, to: usize) -> Result<(), ParseError> {
        if from != 0 {
            return Err(self.broken(from, "the XML declaration does not stand at the very start"));
        }
        let content = self.slice("<?xml".len(), to.saturating_sub("?>".len()));
        lexical::declaration(content).map_err(|problem| self.broken(0, problem))
    }

    /// XML 1.0 §2.6, and Namespaces 1.0 §7: no colon in the target.
    fn instruction(&self, from: usize, to: usize) -> Result<(), ParseError> {
        let content = self.slice(from + "<?".len(), to.saturating_sub("?>".len()));
        let target = lexical::first_word(content);
        if target.eq_ignore_ascii_case("xml") {
            return Err(self.broken(from, "a processing instruction must not be called xml"));
        }
        if !lexical::is_plain_name(target) {
            return Err(self.broken(from, "a processing instruction without a proper name"));
        }
        Ok(())
    }

    /// Reads the tag at `from..to`; what it holds ends at `content_end`.
    fn start(&mut self, from: usize, to: usize, content_end: usize) -> Result<Start<'a>, ParseError> {
        if self.open.is_empty() && self.root_seen {
            return Err(self.broken(from, "a second root element"));
        }
        self.root_seen = true;
        if self.open.len() >= self.depth_max {
            return Err(ParseError::Deep { place: self.place(from), limit: self.depth_max });
        }
        let outside = self.scope.depth();
        self.open.push(Open { outside, from });

        let content = self.slice(from + 1, content_end);
        let name = lexical::first_word(content);
        let Some((prefix, local)) = lexical::qualified_name(name) else {
            return Err(self.broken(from, format!("a tag without a proper name ({})", lexical::length(name))));
        };
        self.attributes.clear();
        if name.len() < content.len() {
            self.read_attributes(from + 1 + name.len(), content_end)?;
            self.declare()?;
            self.resolve_attributes()?;
            self.refuse_repeated_attributes()?;
        }
        let namespace = self.resolve(prefix, from)?;
        Ok(Start { namespace, local, name, from, to, outside })
    }

    fn read_attributes(&mut self, from: usize, to: usize) -> Result<(), ParseError> {
        let mut at = from;
        loop {
            let rest = self.slice(at, to);
            let text = lexical::trim_start(rest);
            let blanks = rest.len() - text.len();
            at += blanks;
            if text.is_empty() {
                return Ok(());
            }
            if blanks == 0 {
                return Err(self.broken(at, "no white space before an attribute"));
            }
            if self.attributes.len() == ATTRIBUTES_MAX {
                return Err(self.broken(at, format!("more than {ATTRIBUTES_MAX} attributes on one element")));
            }
            let attribute = self.read_attribute(at, text)?;
            at += attribute.whole.len();
            self.attributes.push(attribute);
        }
    }

    /// Reads `name="value"` at the start of `text`, which stands at `from`.
    fn read_attribute(&self, from: usize, text: &'a str) -> Result<Attribute<'a>, ParseError> {
        let name_end = text.bytes().position(|byte| byte == b'=' || lexical::is_space(byte)).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        let Some((prefix, local)) = lexical::qualified_name(name) else {
            return Err(self.broken(from, format!("an attribute without a proper name ({})", lexical::length(name))));
        };
        let value = lexical::trim_start(rest).strip_prefix('=').map(lexical::trim_start);
        let quote = value.and_then(|value| value.bytes().next()).filter(|byte| matches!(byte, b'"' | b'\''));
        let (Some(value), Some(quote)) = (value, quote) else {
            return Err(self.broken(from, "an attribute has no quoted value"));
        };
        let Some((raw, after)) = value.get(1..).and_then(|value| lexical::split_at_byte(value, quote)) else {
            return Err(self.broken(from, "the value of an attribute does not end"));
        };
        let whole = text.get(..text.len() - after.len()).unwrap_or_default();
        self.check_value(from + whole.len() - 1 - raw.len(), raw)?;
        let namespace = if prefix == "xmlns" || name == "xmlns" { Namespace::Declarations } else { Namespace::None };
        Ok(Attribute { prefix, local, namespace, raw, whole, from })
    }

    fn check_value(&self, from: usize, raw: &str) -> Result<(), ParseError> {
        let mut at = 0;
        while let Some((before, rest)) = raw.get(at..).and_then(|rest| {
            let special = memchr::memchr2(b'<', b'&', rest.as_bytes())?;
            rest.split_at_checked(special)
        }) {
            at += before.len();
            let Some(name) = rest.strip_prefix('&') else {
                return Err(self.broken(from + at, "< in an attribute value"));
            };
            let Some((name, _)) = lexical::split_at_byte(name, b';') else {
                return Err(self.broken(from + at, "a reference in an attribute value does not end"));
            };
            self.resolve_reference(from + at, name)?;
            at += name.len() + 2;
        }
        Ok(())
    }

    fn declare(&mut self) -> Result<(), ParseError> {
        for number in 0..self.attributes.len() {
            let Some(attribute) = self.attributes.get(number) else { break };
            if attribute.namespace != Namespace::Declarations {
                continue;
            }
            let prefix = if attribute.prefix.is_empty() { "" } else { attribute.local };
            let name = lexical::attribute_value(attribute.raw);
            let (from, whole) = (attribute.from, attribute.whole);
            self.scope.declare(prefix, name, whole).map_err(|problem| self.broken(from, problem))?;
        }
        Ok(())
    }

    fn resolve_attributes(&mut self) -> Result<(), ParseError> {
        let mut attributes = std::mem::take(&mut self.attributes);
        for attribute in &mut attributes {
            if attribute.namespace == Namespace::None && !attribute.prefix.is_empty() {
                attribute.namespace = self.resolve(attribute.prefix, attribute.from)?;
                note_attribute(&mut self.scope, attribute);
            }
        }
        self.attributes = attributes;
        Ok(())
    }

    fn resolve(&mut self, prefix: &str, from: usize) -> Result<Namespace, ParseError> {
        match self.scope.resolve(prefix) {
            Some(namespace) => Ok(namespace),
            None => Err(ParseError::UnboundPrefix { place: self.place(from), prefix: lexical::prefix(prefix) }),
        }
    }

    fn refuse_repeated_attributes(&self) -> Result<(), ParseError> {
        const FEW: usize = 8;
        let repeated = if self.attributes.len() <= FEW {
            self.attributes.iter().enumerate().find(|&(number, attribute)| {
                self.attributes.iter().take(number).any(|earlier| same_name(earlier, attribute))
            })
        } else {
            let mut names = HashSet::with_capacity(self.attributes.len());
            let mut each = self.attributes.iter().enumerate();
            each.find(|(_, attribute)| !names.insert((attribute.namespace, attribute.local, is_default(attribute))))
        };
        match repeated {
            Some((_, attribute)) => Err(self.broken(attribute.from, "an attribute comes again")),
            None => Ok(()),
        }
    }
}

/// `xmlns="…"`, which is not the same as `xmlns:xmlns="…"`.
fn is_default(attribute: &Attribute<'_>) -> bool {
    attribute.namespace == Namespace::Declarations && attribute.prefix.is_empty()
}

fn same_name(one: &Attribute<'_>, other: &Attribute<'_>) -> bool {
    one.local == other.local && one.namespace == other.namespace && is_default(one) == is_default(other)
}

/// Notes the prefixes that an attribute uses: its own, and that of the name in an `xsi:type`.
fn note_attribute(scope: &mut Scope<'_>, attribute: &Attribute<'_>) {
    if attribute.prefix.is_empty() || attribute.namespace == Namespace::Declarations {
        return;
    }
    scope.note(attribute.prefix);
    if attribute.namespace == Namespace::Instance && attribute.local == "type" {
        let value = lexical::attribute_value(attribute.raw);
        scope.note(lexical::trim(&value).split_once(':').map_or("", |(prefix, _)| prefix));
    }
}

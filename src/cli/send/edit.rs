//! Takes envelopes apart by byte ranges and puts them together again, so that only what is meant to change does.

use std::ops::Range;

use quick_xml::NsReader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, ResolveResult};

/// The namespace of outbound messages.
pub(super) const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
/// The namespaces of a record's fields: of the enterprise WSDL, and of the partner WSDL.
const RECORDS: [&str; 2] = ["urn:sobject.enterprise.soap.sforce.com", "urn:sobject.partner.soap.sforce.com"];
/// Elements inside one another; no outbound message comes near.
const DEPTH_MAX: usize = 1_000;
/// Fields that people write prose into, by a part of their name: the first choice for a change.
const PROSE: [&str; 6] = ["Name", "Description", "Subject", "Title", "Comment", "Note"];

/// An envelope that was understood well enough to be edited.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    notifications: Vec<Notification>,
    kin: Kin,
}

/// What envelopes must have in common before notifications may move from one to the other: who sends, and what prefixes mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kin {
    organization: String,
    action: String,
    scope: Vec<(String, String)>,
}

/// The places of one `Notification` element in the text.
#[derive(Debug, Default)]
struct Notification {
    range: Range<usize>,
    ids: Vec<Range<usize>>,
    record_ids: Vec<Range<usize>>,
    key_prefix: String,
    text_field: Option<TextField>,
}

/// A field that may be changed without leaving its type.
#[derive(Debug)]
struct TextField {
    end: usize,
    rank: (bool, usize),
}

/// What to write otherwise than it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The notification's id.
    pub(super) notification_id: Option<String>,
    /// What follows the key prefix in the record's id; see [`super::ids::finish`].
    pub(super) record_body: Option<String>,
    /// Put behind the value of one text field.
    pub(super) mark: Option<String>,
}

impl Document {
    /// Takes an envelope apart.
    ///
    /// # Errors
    /// Why it cannot be edited, in words.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) if bytes.starts_with(&[0xFE, 0xFF]) || bytes.starts_with(&[0xFF, 0xFE]) => {
                return Err("it is UTF-16, and only UTF-8 can be edited; send it unchanged, or convert it".to_owned());
            }
            Err(error) => {
                return Err(format!("it is not UTF-8 (byte {}), and only UTF-8 can be edited", error.valid_up_to()));
            }
        };
        Walk::new(text).run()
    }

    /// How many notifications there are; at least one.
    pub(super) fn len(&self) -> usize {
        self.notifications.len()
    }

    /// What it shares with others.
    pub(super) fn kin(&self) -> &Kin {
        &self.kin
    }

    /// Whether every notification has an id that can be replaced.
    ///
    /// # Errors
    /// Which has none.
    pub(super) fn check_ids(&self) -> Result<(), String> {
        match self.notifications.iter().position(|notification| notification.ids.is_empty()) {
            Some(at) => Err(format!("notification {} has no Id to replace", at + 1)),
            None => Ok(()),
        }
    }

    /// Whether a notification has a text field that can be changed.
    pub(super) fn is_changeable(&self, index: usize) -> bool {
        self.notifications.get(index).is_some_and(|notification| notification.text_field.is_some())
    }

    /// Everything before the first notification.
    pub(super) fn head(&self) -> &str {
        self.slice(0..self.notifications.first().map_or(0, |first| first.range.start))
    }

    /// Everything behind the last notification.
    pub(super) fn tail(&self) -> &str {
        self.slice(self.notifications.last().map_or(0, |last| last.range.end)..self.text.len())
    }

    /// What stands between this notification and the one before.
    pub(super) fn gap(&self, index: usize) -> &str {
        let end = self.notifications.get(index).map_or(0, |notification| notification.range.start);
        let before = index.checked_sub(1).and_then(|before| self.notifications.get(before));
        self.slice(before.map_or(end, |notification| notification.range.end)..end)
    }

    /// The line end and the indent before a notification.
    pub(super) fn indent(&self) -> &str {
        let head = self.head();
        head.get(head.trim_end_matches(is_blank).len()..).unwrap_or_default()
    }

    /// Writes a notification, changed.
    pub(super) fn write(&self, index: usize, change: &Change, out: &mut String) {
        let Some(notification) = self.notifications.get(index) else { return };
        let mut at = notification.range.start;
        for (range, new) in notification.replacements(change) {
            out.push_str(self.slice(at..range.start));
            out.push_str(&new);
            at = range.end;
        }
        out.push_str(self.slice(at..notification.range.end));
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }
}

impl Notification {
    /// In the order of the text, and never overlapping: each is the content of an element of its own.
    fn replacements(&self, change: &Change) -> Vec<(Range<usize>, String)> {
        let mut all = Vec::new();
        if let Some(id) = &change.notification_id {
            all.extend(self.ids.iter().map(|range| (range.clone(), id.clone())));
        }
        if let Some(body) = &change.record_body {
            let id = super::ids::finish(&self.key_prefix, body);
            all.extend(self.record_ids.iter().map(|range| (range.clone(), id.clone())));
        }
        if let (Some(mark), Some(field)) = (&change.mark, &self.text_field) {
            all.push((field.end..field.end, mark.clone()));
        }
        all.sort_by_key(|(range, _)| range.start);
        all
    }
}

/// Where in an envelope an element stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Envelope,
    Body,
    Notifications,
    Organization,
    Action,
    Notification,
    NotificationId,
    Record,
    RecordId,
    Field,
    Other,
}

fn place(parent: Option<Place>, namespace: &str, local: &str) -> Place {
    let outbound = namespace == OUTBOUND;
    match (parent, local) {
        (None, "Envelope") => Place::Envelope,
        (Some(Place::Envelope), "Body") => Place::Body,
        (Some(Place::Body), "notifications") if outbound => Place::Notifications,
        (Some(Place::Notifications), "OrganizationId") if outbound => Place::Organization,
        (Some(Place::Notifications), "ActionId") if outbound => Place::Action,
        (Some(Place::Notifications), "Notification") if outbound => Place::Notification,
        (Some(Place::Notification), "Id") if outbound => Place::NotificationId,
        (Some(Place::Notification), "sObject") if outbound => Place::Record,
        (Some(Place::Record), "Id") if RECORDS.contains(&namespace) => Place::RecordId,
        (Some(Place::Record), _) => Place::Field,
        _ => Place::Other,
    }
}

/// An element whose text is wanted.
struct Leaf {
    local: String,
    start: usize,
    value: String,
    nested: bool,
}

/// One pass over an envelope.
struct Walk<'t> {
    text: &'t str,
    base: usize,
    stack: Vec<Place>,
    starts: Vec<usize>,
    leaf: Option<Leaf>,
    kin: Kin,
    messages: usize,
    notifications: Vec<Notification>,
}

impl<'t> Walk<'t> {
    fn new(text: &'t str) -> Self {
        let base = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
        Self {
            text,
            base,
            stack: Vec::new(),
            starts: Vec::new(),
            leaf: None,
            kin: Kin::default(),
            messages: 0,
            notifications: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Document, String> {
        let mut reader = NsReader::from_str(self.text.get(self.base..).unwrap_or_default());
        loop {
            let from = self.offset(reader.buffer_position());
            let (resolved, event) = match reader.read_resolved_event() {
                Ok((resolved, event)) => (namespace(&resolved), event),
                Err(error) => return Err(self.at(reader.error_position(), &error.to_string())),
            };
            let to = self.offset(reader.buffer_position());
            let step = match event {
                Event::Start(tag) => resolved.and_then(|namespace| {
                    self.open(&namespace, &tag, from, to)?;
                    self.scope(&reader);
                    Ok(())
                }),
                Event::Empty(tag) => resolved.and_then(|namespace| {
                    self.open(&namespace, &tag, from, to)?;
                    self.close(to, to);
                    Ok(())
                }),
                Event::End(_) => {
                    self.close(from, to);
                    Ok(())
                }
                Event::Text(text) => self.collect(&text.xml10_content()),
                Event::CData(text) => self.collect(&text.xml10_content()),
                Event::GeneralRef(reference) => referred(&reference).and_then(|text| self.collect(&text)),
                Event::Decl(declaration) => utf8(declaration.encoding().and_then(Result::ok).as_deref()),
                Event::DocType(_) => {
                    Err("it has a document type declaration, which no outbound message has".to_owned())
                }
                Event::Comment(_) | Event::PI(_) => Ok(()),
                Event::Eof => break,
            };
            step.map_err(|reason| self.at(u64::try_from(from.saturating_sub(self.base)).unwrap_or(0), &reason))?;
        }
        self.finish()
    }

    fn open(&mut self, namespace: &str, tag: &BytesStart<'_>, from: usize, to: usize) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(format!("its elements are nested deeper than {DEPTH_MAX}"));
        }
        let local = tag.local_name();
        let place = place(self.stack.last().copied(), namespace, local.as_ref());
        self.stack.push(place);
        self.starts.push(from);
        match place {
            Place::Organization | Place::Action | Place::NotificationId | Place::RecordId | Place::Field => {
                let local = local.as_ref().to_owned();
                self.leaf = Some(Leaf { local, start: to, value: String::new(), nested: false });
            }
            Place::Notification => self.notifications.push(Notification::default()),
            Place::Notifications => {
                self.messages += 1;
                if self.messages > 1 {
                    return Err("it has more than one notifications element".to_owned());
                }
            }
            Place::Envelope | Place::Body | Place::Record | Place::Other => {
                if let Some(leaf) = &mut self.leaf {
                    leaf.nested = true;
                }
            }
        }
        Ok(())
    }

    /// Keeps what prefixes mean to the notifications, read when their parent was opened.
    fn scope(&mut self, reader: &NsReader<&[u8]>) {
        if self.stack.last() == Some(&Place::Notifications) {
            self.kin.scope = reader
                .resolver()
                .bindings()
                .map(|(prefix, namespace)| {
                    let prefix = match prefix {
                        PrefixDeclaration::Default => String::new(),
                        PrefixDeclaration::Named(name) => name.to_owned(),
                    };
                    (prefix, namespace.into_inner().to_owned())
                })
                .collect();
            self.kin.scope.sort();
        }
    }

    fn collect(&mut self, text: &str) -> Result<(), String> {
        if let Some(leaf) = &mut self.leaf {
            leaf.value.push_str(text);
        }
        Ok(())
    }

    /// The innermost element ends with a tag from `from` to `to`.
    fn close(&mut self, from: usize, to: usize) {
        let start = self.starts.pop().unwrap_or(from);
        let Some(place) = self.stack.pop() else { return };
        if place == Place::Notification
            && let Some(notification) = self.notifications.last_mut()
        {
            notification.range = start..to;
        }
        if matches!(place, Place::Envelope | Place::Body | Place::Record | Place::Other | Place::Notifications) {
            return;
        }
        let Some(leaf) = self.leaf.take() else { return };
        let range = trimmed(self.text, leaf.start..from);
        match (place, self.notifications.last_mut()) {
            (Place::Organization, _) => self.kin.organization = leaf.value.trim().to_owned(),
            (Place::Action, _) => self.kin.action = leaf.value.trim().to_owned(),
            (_, Some(notification)) if !leaf.nested && !range.is_empty() => notification.take(place, &leaf, range),
            _ => {}
        }
    }

    fn finish(self) -> Result<Document, String> {
        if !self.stack.is_empty() {
            return Err("it ends in the middle: not every element is closed".to_owned());
        }
        if self.messages == 0 {
            return Err(format!("it is no outbound message: no Envelope/Body/notifications in {OUTBOUND}"));
        }
        if self.notifications.is_empty() {
            return Err("it has no Notification".to_owned());
        }
        Ok(Document { text: self.text.to_owned(), notifications: self.notifications, kin: self.kin })
    }

    fn offset(&self, position: u64) -> usize {
        self.base.saturating_add(usize::try_from(position).unwrap_or(usize::MAX))
    }

    fn at(&self, position: u64, reason: &str) -> String {
        let before = self.text.get(..self.offset(position)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().trim_start_matches('\u{FEFF}').chars().count() + 1;
        format!("line {line}, column {column}: {reason}")
    }
}

impl Notification {
    fn take(&mut self, place: Place, leaf: &Leaf, range: Range<usize>) {
        match place {
            Place::NotificationId => self.ids.push(range),
            Place::RecordId => {
                self.key_prefix = leaf.value.trim().chars().take(3).collect();
                self.record_ids.push(range);
            }
            Place::Field => {
                let rank = (PROSE.iter().any(|part| leaf.local.contains(part)), leaf.value.len());
                if is_prose(leaf.value.trim()) && self.text_field.as_ref().is_none_or(|best| best.rank < rank) {
                    self.text_field = Some(TextField { end: range.end, rank });
                }
            }
            Place::Envelope
            | Place::Body
            | Place::Notifications
            | Place::Organization
            | Place::Action
            | Place::Notification
            | Place::Record
            | Place::Other => {}
        }
    }
}

/// Whether a value looks like words: no truth value, number, date, id, address or link, which a longer text would break.
fn is_prose(value: &str) -> bool {
    let typed = value.is_empty()
        || matches!(value, "true" | "false")
        || value.chars().all(|c| c.is_ascii_digit() || "+-.:TZeE".contains(c))
        || (matches!(value.len(), 15 | 18)
            && value.chars().all(|c| c.is_ascii_alphanumeric())
            && value.contains(|c: char| c.is_ascii_digit()))
        || value.contains("://")
        || value.contains('@')
        || value.starts_with('/');
    !typed
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let content = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (content.len() - content.trim_start_matches(is_blank).len());
    start..(range.start + content.trim_end_matches(is_blank).len()).max(start)
}

/// The namespace of an element; empty when it has none.
///
/// # Errors
/// The prefix that was not declared.
pub(super) fn namespace(resolved: &ResolveResult<'_>) -> Result<String, String> {
    match resolved {
        ResolveResult::Bound(namespace) => Ok(namespace.into_inner().to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(prefix) => Err(format!("the prefix {prefix} is not declared")),
    }
}

/// The text that a reference stands for.
///
/// # Errors
/// When it is neither a character nor one of XML's five.
pub(super) fn referred(reference: &BytesRef<'_>) -> Result<String, String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.to_string()),
        Ok(None) => resolve_xml_entity(reference)
            .map(str::to_owned)
            .ok_or_else(|| format!("the entity &{}; is not declared", &**reference)),
        Err(error) => Err(error.to_string()),
    }
}

fn utf8(declared: Option<&str>) -> Result<(), String> {
    match declared {
        Some(name) if !["utf-8", "utf8", "us-ascii"].contains(&name.to_ascii_lowercase().as_str()) => Err(format!(
            "it declares the encoding {name}, and only UTF-8 can be edited; send it unchanged, or convert it"
        )),
        _ => Ok(()),
    }
}

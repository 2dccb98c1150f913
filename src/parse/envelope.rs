//! The SOAP envelope and its notifications.

use std::borrow::Cow;

use super::lexical;
use super::record::{self, Found, Raw};
use super::scope::Namespace;
use super::strict::{Event, Reader, Start};
use super::{Limits, ParseError, encoding};
use crate::envelope::{
    ActionId, Content, Envelope, IdError, Notification, NotificationId, OrganizationId, RecordTypes,
};

/// Reads an envelope. `charset` is the one of the Content-Type, if it names one; [`super::decode`] says what it counts for.
///
/// The elements of a message may come in any order, with any prefix, among unknown elements and stray text; `SessionId` is
/// read past. A notification with no usable id, or broken inside, becomes [`Content::Unreadable`] without harm to others.
///
/// # Errors
/// What makes it no acceptable outbound message, with line and column.
pub fn envelope(
    body: &[u8],
    charset: Option<&str>,
    limits: &Limits,
    types: Option<&RecordTypes>,
) -> Result<Envelope, ParseError> {
    let text = encoding::decode(body, charset)?;
    let reader = Reader::new(&text, limits.depth)?;
    Walk { reader, limits, types, raw: Raw::default(), message: Message::default() }.document()
}

/// The namespace of SOAP 1.2.
const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
/// Headers that are nobody's content: those of WS-Security and WS-Addressing.
const USUAL_HEADERS: [&str; 6] = ["Security", "Action", "To", "From", "MessageID", "ReplyTo"];

/// What is known of the message so far.
#[derive(Default)]
struct Message {
    organization_id: Option<OrganizationId>,
    action_id: Option<ActionId>,
    enterprise_url: Option<String>,
    partner_url: Option<String>,
    notifications: Vec<Notification>,
}

/// One walk over the text.
struct Walk<'a, 'l> {
    reader: Reader<'a>,
    limits: &'l Limits,
    types: Option<&'l RecordTypes>,
    raw: Raw<'a>,
    message: Message,
}

/// The children of a Notification.
#[derive(Default)]
struct Parts {
    id: Option<NotificationId>,
    record: Option<(crate::envelope::Record, [u8; 32], String)>,
    has_record: bool,
    /// The first thing that makes the notification unreadable.
    problem: Option<String>,
}

impl<'a> Walk<'a, '_> {
    fn document(mut self) -> Result<Envelope, ParseError> {
        let root = self.root()?;
        if root.local != "Envelope" || root.namespace != Namespace::Soap11 {
            return Err(self.foreign_root(&root));
        }
        let mut has_body = false;
        let mut has_message = false;
        while let Some(child) = self.child()? {
            if child.local == "Header" && child.namespace == Namespace::Soap11 {
                self.header()?;
                continue;
            }
            if child.local != "Body" || child.namespace != Namespace::Soap11 {
                self.reader.skip()?;
                continue;
            }
            self.once(&mut has_body, &child, "Body")?;
            self.body(&mut has_message)?;
        }
        while !matches!(self.reader.next()?, Event::Complete) {}
        match (has_body, has_message) {
            (false, _) => Err(ParseError::Missing { element: "Body" }),
            (true, false) => Err(ParseError::Foreign {
                place: self.reader.place(root.from),
                problem: format!(
                    "the Body holds no notifications of the namespace {}",
                    self.reader.namespace_name(Namespace::Outbound)
                ),
            }),
            (true, true) => self.message.finish(),
        }
    }

    /// Reads past the header. What must be understood there is not: SOAP 1.1, §4.2.3, wants it refused.
    fn header(&mut self) -> Result<(), ParseError> {
        while let Some(block) = self.child()? {
            let must = self.reader.attribute(Namespace::Soap11, "mustUnderstand");
            if must.is_some_and(|must| matches!(must.trim(), "1" | "true")) {
                let header = match USUAL_HEADERS.iter().find(|usual| **usual == block.local) {
                    Some(usual) => format!("the header {usual}"),
                    None => format!("a header (its name has {})", lexical::length(block.local)),
                };
                return Err(ParseError::Foreign {
                    place: self.reader.place(block.from),
                    problem: format!("{header} must be understood, and this gateway understands none"),
                });
            }
            self.reader.skip()?;
        }
        Ok(())
    }

    fn foreign_root(&self, root: &Start<'a>) -> ParseError {
        let namespace = self.reader.namespace_name(root.namespace);
        let found = match (root.local, namespace) {
            ("Envelope", SOAP12) => "an Envelope of SOAP 1.2".to_owned(),
            ("Envelope", "") => "an Envelope of no namespace".to_owned(),
            ("Envelope", _) => format!("an Envelope of another namespace ({})", lexical::length(namespace)),
            (name, _) if name.eq_ignore_ascii_case("html") => "html: a page, as for people".to_owned(),
            (name, _) => format!("another one (its name has {})", lexical::length(name)),
        };
        let expected = self.reader.namespace_name(Namespace::Soap11);
        ParseError::Foreign {
            place: self.reader.place(root.from),
            problem: format!("the root element is {found}, not a SOAP 1.1 Envelope ({expected})"),
        }
    }

    fn body(&mut self, has_message: &mut bool) -> Result<(), ParseError> {
        while let Some(child) = self.child()? {
            if child.local == "notifications" && child.namespace == Namespace::Outbound {
                self.once(has_message, &child, "notifications")?;
                self.notifications()?;
            } else {
                self.reader.skip()?;
            }
        }
        Ok(())
    }

    fn notifications(&mut self) -> Result<(), ParseError> {
        while let Some(child) = self.child()? {
            match (is_ours(&child), child.local) {
                (true, "OrganizationId") => {
                    let id = self.id(&child, "OrganizationId", OrganizationId::parse)?;
                    self.set(|message| &mut message.organization_id, id, &child, "OrganizationId")?;
                }
                (true, "ActionId") => {
                    let id = self.id(&child, "ActionId", ActionId::parse)?;
                    self.set(|message| &mut message.action_id, id, &child, "ActionId")?;
                }
                (true, "EnterpriseUrl") if self.message.enterprise_url.is_none() => {
                    self.message.enterprise_url = Some(self.trimmed()?);
                }
                (true, "PartnerUrl") if self.message.partner_url.is_none() => {
                    self.message.partner_url = Some(self.trimmed()?);
                }
                (true, "Notification") => {
                    let limit = self.limits.notifications;
                    if self.message.notifications.len() >= limit {
                        return Err(ParseError::ManyNotifications { place: self.reader.place(child.from), limit });
                    }
                    let notification = self.notification(&child)?;
                    self.message.notifications.push(notification);
                }
                _ => {
                    self.reader.skip()?;
                }
            }
        }
        Ok(())
    }

    /// An id of the message: none when it is nil.
    fn id<Id>(
        &mut self,
        child: &Start<'a>,
        element: &'static str,
        parse: fn(&str) -> Result<Id, IdError>,
    ) -> Result<Option<Id>, ParseError> {
        let is_nil = self.reader.is_nil();
        let text = self.text()?;
        if is_nil {
            return Ok(None);
        }
        let place = |problem| ParseError::Id { place: self.reader.place(child.from), element, problem };
        parse(&text).map(Some).map_err(place)
    }

    /// Keeps an id of the message, which must come once only: of two, which is meant cannot be told.
    fn set<Id>(
        &mut self,
        part: fn(&mut Message) -> &mut Option<Id>,
        id: Option<Id>,
        child: &Start<'a>,
        element: &'static str,
    ) -> Result<(), ParseError> {
        let part = part(&mut self.message);
        if part.is_some() {
            return Err(ParseError::Repeated { place: self.reader.place(child.from), element });
        }
        *part = id;
        Ok(())
    }

    fn notification(&mut self, start: &Start<'a>) -> Result<Notification, ParseError> {
        self.reader.capture(start);
        let mut parts = Parts::default();
        let end = loop {
            match self.reader.next()? {
                Event::Start(child) if is_ours(&child) && child.local == "Id" => self.notification_id(&mut parts)?,
                Event::Start(child) if is_ours(&child) && child.local == "sObject" => {
                    self.record(&child, &mut parts)?
                }
                Event::Start(_) => {
                    self.reader.skip()?;
                }
                Event::End { to, .. } => break to,
                Event::Text(_) | Event::Character(_) | Event::Complete => {}
            }
        };
        if parts.id.is_none() {
            parts.problem.get_or_insert_with(|| "the notification has no Id".to_owned());
        }
        if let Some(reason) = parts.problem {
            let xml = self.reader.captured(start, end)?;
            return Ok(Notification {
                hash: record::sha256(xml.as_bytes()),
                content: Content::Unreadable { xml, reason },
            });
        }
        self.reader.abandon();
        match (parts.id, parts.record) {
            (Some(id), Some((record, hash, xml))) => {
                Ok(Notification { content: Content::Record { id, record, xml }, hash })
            }
            (Some(id), None) => {
                Ok(Notification { content: Content::Empty { id }, hash: record::sha256(b"omgate empty") })
            }
            (None, _) => Err(ParseError::Missing { element: "Id" }),
        }
    }

    fn notification_id(&mut self, parts: &mut Parts) -> Result<(), ParseError> {
        let is_nil = self.reader.is_nil();
        let text = self.text()?;
        if parts.id.is_some() {
            parts.problem.get_or_insert_with(|| "the notification has more than one Id".to_owned());
        } else if !is_nil {
            match NotificationId::parse(&text) {
                Ok(id) => parts.id = Some(id),
                Err(error) => {
                    parts.problem.get_or_insert_with(|| format!("the notification's Id {error}"));
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, child: &Start<'a>, parts: &mut Parts) -> Result<(), ParseError> {
        self.reader.capture(child);
        let (found, end) = self.raw.read(&mut self.reader, self.limits.fields)?;
        if std::mem::replace(&mut parts.has_record, true) {
            parts.problem.get_or_insert_with(|| "the notification has more than one sObject".to_owned());
        }
        match found {
            Found::Fields if parts.problem.is_none() => {
                let xml = self.reader.captured(child, end)?;
                parts.record = Some((self.raw.record(self.types), self.raw.hash(), xml));
            }
            Found::Fields | Found::Nothing => self.reader.abandon(),
            Found::TooMany => {
                self.reader.abandon();
                let limit = self.limits.fields;
                parts.problem.get_or_insert_with(|| format!("the record has more than {limit} fields"));
            }
        }
        Ok(())
    }

    fn root(&mut self) -> Result<Start<'a>, ParseError> {
        loop {
            if let Event::Start(start) = self.reader.next()? {
                return Ok(start);
            }
        }
    }

    /// The next child of the innermost open element; none at its end.
    fn child(&mut self) -> Result<Option<Start<'a>>, ParseError> {
        loop {
            match self.reader.next()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End { .. } | Event::Complete => return Ok(None),
                Event::Text(_) | Event::Character(_) => {}
            }
        }
    }

    /// The text of the innermost open element, to its end; elements inside it are passed over.
    fn text(&mut self) -> Result<Cow<'a, str>, ParseError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.reader.next()? {
                Event::Text(part) => record::add(&mut text, part),
                Event::Character(character) => text.to_mut().push(character),
                Event::Start(_) => {
                    self.reader.skip()?;
                }
                Event::End { .. } | Event::Complete => return Ok(text),
            }
        }
    }

    fn trimmed(&mut self) -> Result<String, ParseError> {
        self.text().map(|text| lexical::trim(&text).to_owned())
    }

    fn once(&self, seen: &mut bool, child: &Start<'a>, element: &'static str) -> Result<(), ParseError> {
        if std::mem::replace(seen, true) {
            return Err(ParseError::Repeated { place: self.reader.place(child.from), element });
        }
        Ok(())
    }
}

impl Message {
    fn finish(self) -> Result<Envelope, ParseError> {
        if self.notifications.is_empty() {
            return Err(ParseError::NoNotifications);
        }
        let organization_id = self.organization_id.ok_or(ParseError::Missing { element: "OrganizationId" })?;
        let action_id = self.action_id.ok_or(ParseError::Missing { element: "ActionId" })?;
        Ok(Envelope {
            organization_id,
            action_id,
            enterprise_url: self.enterprise_url.unwrap_or_default(),
            partner_url: self.partner_url.unwrap_or_default(),
            notifications: self.notifications,
        })
    }
}

/// Of the outbound namespace, as the WSDL has it, or of none, as a careless intermediary may leave it.
fn is_ours(start: &Start<'_>) -> bool {
    matches!(start.namespace, Namespace::Outbound | Namespace::None)
}

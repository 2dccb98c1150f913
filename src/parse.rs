//! Bytes → [`Envelope`]: strict about XML, tolerant about everything else. Pure.
//!
//! Strict, because what Salesforce and every other XML processor would read differently must not be guessed at; tolerant,
//! because between Salesforce and here stand proxies that re-serialise. All of it takes time and memory linear in the
//! length of the body.

use std::fmt;

use crate::envelope::{IdError, Record, RecordTypes};

mod encoding;
mod envelope;
mod lexical;
mod record;
mod scope;
mod session;
mod strict;

pub use encoding::decode;
pub use envelope::envelope;
pub use session::without_session_id;

/// The bounds of one envelope.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How deep elements may nest.
    pub depth: usize,
    /// How many notifications an envelope may hold.
    pub notifications: usize,
    /// How many fields a record may have.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, notifications: 100, fields: 2_000 }
    }
}

/// A place in a text, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why an envelope is refused as a whole: the sender's fault, always.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes are not in the encoding that they are said to be in.
    #[error("the body is not {encoding}: byte {offset} cannot be decoded")]
    Encoding {
        /// The encoding's name.
        encoding: &'static str,
        /// Of the first wrong byte, from 0.
        offset: usize,
    },
    /// The XML declaration names an encoding that cannot be read.
    #[error("the encoding {0} is not known; send UTF-8")]
    UnknownEncoding(String),
    /// No well-formed XML.
    #[error("not well-formed XML at {place}: {problem}")]
    Malformed {
        /// Where.
        place: Place,
        /// The rule that is broken.
        problem: String,
    },
    /// A prefix without declaration: not namespace-well-formed.
    #[error("not well-formed XML at {place}: the prefix {prefix} is not declared")]
    UnboundPrefix {
        /// Where.
        place: Place,
        /// The prefix.
        prefix: String,
    },
    /// A document type declaration. SOAP 1.1 §3 forbids it, and it is not looked into.
    #[error("a document type declaration (DOCTYPE) at {place} is not accepted")]
    Doctype {
        /// Where.
        place: Place,
    },
    /// Nested too deep.
    #[error("elements nest deeper than {limit} at {place}")]
    Deep {
        /// Where.
        place: Place,
        /// The limit.
        limit: usize,
    },
    /// Well-formed, and something else than an outbound message.
    #[error("not an outbound message at {place}: {problem}")]
    Foreign {
        /// Where.
        place: Place,
        /// What was found, what was expected.
        problem: String,
    },
    /// An element that an envelope must have is missing.
    #[error("the outbound message has no {element}")]
    Missing {
        /// The element.
        element: &'static str,
    },
    /// An element that an envelope must have once comes again.
    #[error("{element} comes again at {place}")]
    Repeated {
        /// Where.
        place: Place,
        /// The element.
        element: &'static str,
    },
    /// `OrganizationId` or `ActionId` is no id.
    #[error("{element} at {place} {problem}")]
    Id {
        /// Where.
        place: Place,
        /// The element.
        element: &'static str,
        /// The rule that it breaks.
        problem: IdError,
    },
    /// No notification.
    #[error("the outbound message has no Notification")]
    NoNotifications,
    /// Too many notifications.
    #[error("the outbound message has more than {limit} notifications at {place}")]
    ManyNotifications {
        /// Of the first that is too many.
        place: Place,
        /// The limit.
        limit: usize,
    },
}

/// Reads a stored `sObject` fragment again, with the same result as when it came.
///
/// # Errors
/// Only when the fragment was damaged.
pub fn record(xml: &str, types: Option<&RecordTypes>) -> Result<Record, ParseError> {
    record::stored(xml, types)
}

/// Checks that a text is well-formed XML 1.0 with namespaces, without DTD and no deeper than `depth_max`: the gate that a
/// destination's answer passes before another XML reader sees it. A byte order mark at the start is passed over.
///
/// # Errors
/// The first rule that it breaks, with its place.
pub fn well_formed(text: &str, depth_max: usize) -> Result<(), ParseError> {
    let mut reader = strict::Reader::new(text.strip_prefix('\u{FEFF}').unwrap_or(text), depth_max)?;
    while !matches!(reader.next()?, strict::Event::Complete) {}
    Ok(())
}

//! Bytes → [`Envelope`](crate::envelope::Envelope): strict about XML, tolerant about everything else. Pure.
//!
//! Strict, because what Salesforce and every other XML processor would read differently must not be guessed at; tolerant,
//! because between Salesforce and here stand proxies that re-serialise. All of it takes time and memory linear in the
//! length of the body.

use std::fmt;

use crate::envelope::{IdError, Record, RecordTypes};

mod edit;
mod encoding;
mod envelope;
mod lexical;
mod record;
mod scope;
mod session;
mod strict;

pub use edit::{EditError, Edited, sobject, with_fields};
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

/// Why an envelope is refused as a whole: the sender's fault, always. It is read, logged and told by those who may not see
/// what an envelope holds: so it says what is wrong and where, and never in the envelope's own words.
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
    /// The XML declaration names an encoding that cannot be read; how long its name is.
    #[error("the XML declaration names an encoding ({0}) that is not known; send UTF-8")]
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
    #[error("not well-formed XML at {place}: {prefix} is not declared")]
    UnboundPrefix {
        /// Where.
        place: Place,
        /// The prefix, in words.
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

impl ParseError {
    /// Where in the text it is, when that is known.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Malformed { place, .. }
            | Self::UnboundPrefix { place, .. }
            | Self::Doctype { place }
            | Self::Deep { place, .. }
            | Self::Foreign { place, .. }
            | Self::Repeated { place, .. }
            | Self::Id { place, .. }
            | Self::ManyNotifications { place, .. } => Some(*place),
            Self::Encoding { .. } | Self::UnknownEncoding(_) | Self::Missing { .. } | Self::NoNotifications => None,
        }
    }
}

/// Reads a stored `sObject` fragment again, with the same result as when it came.
///
/// # Errors
/// Only when the fragment was damaged.
pub fn record(xml: &str, types: Option<&RecordTypes>) -> Result<Record, ParseError> {
    record::stored(xml, types)
}

/// Whether a stored content is the one that came with a hash: a record, by its fields; or what cannot be read, by its bytes.
#[must_use]
pub fn has_hash(xml: &str, hash: &[u8; 32]) -> bool {
    record::hash_of(xml).is_ok_and(|found| found == *hash) || record::sha256(xml.as_bytes()) == *hash
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_documents_pass() {
        for text in [
            "<a/>",
            "\u{FEFF}<a/>",
            "<?xml version=\"1.0\"?>\n<!-- x --><?p?><a b='1' c=\"'\">x &lt; y<b/><![CDATA[]]><![CDATA[ ]] > ]]></a >\n<?p x?><!---->",
            "<p:a xmlns:p='urn:p' p:x='1' x='2'><p:a p:y=''/></p:a>",
            "<a xmlns='urn:a'><b xmlns=''/></a>",
            "<a xml:lang='de' xml:space='preserve'/>",
            "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
            "<a>]] &gt; ]>&#13;\r\n\t\u{85}\u{FFFD}😀</a>",
            "<名前 属性='値'/>",
            "<a x='&#10;&#x41;&quot;&apos;>'/>",
            "<a\n b\t=\r'c'\n/>",
            "<a x='1' p:x='2' xmlns:p='urn:p'/>",
            "<xmlfoo/>",
        ] {
            assert_eq!(well_formed(text, 10), Ok(()), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_well_formed_is_refused_with_its_place() {
        for (text, message) in [
            ("", "line 1, column 1: the document has no element"),
            (" \n", "line 2, column 1: the document has no element"),
            ("x<a/>", "line 1, column 1: text outside of the root element"),
            ("<a/>\n x", "line 2, column 2: text outside of the root element"),
            ("<a/>&amp;", "column 5: a reference outside of the root element"),
            ("<![CDATA[x]]><a/>", "a CDATA section outside of the root element"),
            ("<a/><b/>", "column 5: a second root element"),
            ("<a>", "line 1, column 4: the document ends with 1 elements still open"),
            ("<a><b></a>", "column 7: the end tag is not that of the element that begins at line 1, column 4"),
            ("</a>", "column 1: an end tag of no element"),
            ("<a></a b='c'>", "the end tag is not that of the element that begins at line 1, column 1"),
            ("<a", "tag not closed"),
            ("<a b='c", "not closed"),
            ("<a b='c>", "not closed"),
            ("<a><!-- x</a>", "comment not closed"),
            ("<a><![CDATA[ x</a>", "CDATA not closed"),
            ("<a><? x</a>", "not closed"),
            ("<a><!x></a>", "unknown or missed symbol"),
            ("<a>é\u{1}</a>", "column 5: the character U+0001 is not allowed in XML"),
            ("<a>\u{FFFE}</a>", "U+FFFE is not allowed"),
            ("<a>&#1;</a>", "a reference (2 characters) to no legal character"),
            ("<a>&#xD800;</a>", "a reference (6 characters) to no legal character"),
            ("<a>&nbsp;</a>", "an unknown entity (4 characters); only the five of XML are known"),
            ("<a>&</a>", "reference"),
            ("<a>&amp</a>", "reference"),
            ("<a>a]]>b</a>", "column 5: ]]> in text"),
            ("<a><!-- a--b --></a>", "column 4: -- in a comment"),
            ("<a><!-- a---></a>", "-- in a comment"),
            ("<a b='<'/>", "column 7: < in an attribute value"),
            ("<a b='&x;'/>", "column 7: an unknown entity (1 character)"),
            ("<a b='&amp'/>", "a reference in an attribute value does not end"),
            ("<a b='1'c='2'/>", "column 9: no white space before an attribute"),
            ("<a b=1/>", "an attribute has no quoted value"),
            ("<a b/>", "an attribute has no quoted value"),
            ("<a b='1' b='2'/>", "column 10: an attribute comes again"),
            ("<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "an attribute comes again"),
            ("<a xmlns='u' xmlns='v'/>", "an attribute comes again"),
            ("<1a/>", "a tag without a proper name (2 characters)"),
            ("< a/>", "a tag without a proper name (0 characters)"),
            ("<a:b:c/>", "a tag without a proper name (5 characters)"),
            ("<a/ >", "a tag without a proper name (2 characters)"),
            ("<a b:='1'/>", "an attribute without a proper name (2 characters)"),
            ("<p:a/>", "column 1: a prefix (1 character) is not declared"),
            ("<a p:b='1'/>", "column 4: a prefix (1 character) is not declared"),
            ("<a><b xmlns:p='u'/><p:b/></a>", "column 20: a prefix (1 character) is not declared"),
            ("<xmlns:a/>", "the prefix xmlns is not declared"),
            ("<a xmlns:p=''/>", "a prefix (1 character) is declared to be in no namespace"),
            ("<a xmlns:xmlns='u'/>", "the prefix xmlns must not be declared"),
            ("<a xmlns:xml='u'/>", "the prefix xml stands for"),
            ("<a xmlns:p='http://www.w3.org/XML/1998/namespac&#101;'/>", "must not be declared"),
            ("<a xmlns='http://www.w3.org/2000/xmlns/'/>", "must not be declared"),
            (" <?xml version='1.0'?><a/>", "column 2: the XML declaration does not stand at the very start"),
            ("<a><?XML x?></a>", "a processing instruction must not be called xml"),
            ("<?xml?><a/>", "the XML declaration does not begin with the version"),
            ("<?xml version='1.1'?><a/>", "only version \"1.0\""),
            ("<?a:b?><a/>", "a processing instruction without a proper name"),
            ("<? a?><a/>", "a processing instruction without a proper name"),
            ("<!DOCTYPE a><a/>", "a document type declaration (DOCTYPE) at line 1, column 1"),
            ("<!doctype a [ <!ENTITY x 'y'> ]><a/>", "a document type declaration"),
            ("<a><!DOCTYPE a></a>", "a document type declaration (DOCTYPE) at line 1, column 4"),
            ("<a><a><a><a/></a></a></a>", "elements nest deeper than 3 at line 1, column 10"),
            ("\u{FEFF}\u{FEFF}<a/>", "a second byte order mark"),
        ] {
            let error = well_formed(text, 3).expect_err(text).to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_reason_has_a_word_of_the_document_in_it() {
        for text in [
            "<a>Lehmann &KontoDE89; x</a>",
            "<a>Lehmann & Soehne KontoDE89; x</a>",
            "<a b='&KontoDE89;'/>",
            "<a><KontoDE89!geheim=\"x\"/></a>",
            "<a KontoDE89!='x'/>",
            "<a KontoDE89/>",
            "<a KontoDE89='x/>",
            "<a KontoDE89='1' KontoDE89='2'/>",
            "<KontoDE89:a/>",
            "<a KontoDE89:b='1'/>",
            "<a xmlns:KontoDE89=''/>",
            "<a><KontoDE89></a>",
            "<a><KontoDE89></a></KontoDE89>",
            "<a></KontoDE89>",
            "</KontoDE89>",
            "<KontoDE89",
            "<KontoDE89>",
            "<?xml KontoDE89='1'?><a/>",
            "<?xml version='1.0' encoding='KontoDE89!'?><a/>",
            "<?KontoDE89:b?><a/>",
            "KontoDE89<a/>",
            "<a>&#KontoDE89;</a>",
            "<!DOCTYPE KontoDE89><a/>",
        ] {
            let error = well_formed(text, 3).expect_err(text).to_string();
            assert!(!error.contains("Konto") && error.contains("line 1, column "), "{text}: {error}");
        }
    }

    #[test]
    fn an_element_has_at_most_1024_attributes() {
        let element = |count: usize| format!("<a{}/>", (0..count).map(|n| format!(" a{n}=''")).collect::<String>());
        assert_eq!(well_formed(&element(1_024), 3), Ok(()));
        assert!(well_formed(&element(1_025), 3).is_err());
        let repeated = element(1_000).replace("a999=", "a0=");
        assert!(well_formed(&repeated, 3).unwrap_err().to_string().contains("an attribute comes again"));
    }
}

//! Bytes → a checked XML document: encoding, bounds, places.
//!
//! Everything the model and the messages read passes [`gate`] first: no DTD, bounded depth, attributes and
//! namespace bindings, so that no later reader (roxmltree, yaserde) meets input that costs it more than its length.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use roxmltree::{Document, Node};

/// How deep elements may nest in a WSDL, a schema or a message.
pub(crate) const DEPTH_MAX: usize = 256;
const ATTRIBUTES_MAX: usize = 1_000;
const BINDINGS_MAX: usize = 1_000;
/// Each element that declares something has all that is in scope noted anew: so often, and this many times for each byte.
const NOTES_MIN: usize = 100_000;
const NOTES_A_BYTE: usize = 2;
/// How far from `xmlns` its value is looked for.
const PREFIX_BYTES_MAX: usize = 200;
/// How much of a component's documentation is kept.
const DOCUMENTATION_BYTES_MAX: usize = 2_000;

/// The namespace of `xsi:type` and `xsi:nil`.
pub(crate) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// The namespace of the prefix `xml`.
pub(crate) const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// Where something stands in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file's number in its bundle.
    pub file: usize,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// From 1; 0 when unknown.
    pub column: u32,
}

/// Why a text is no document for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Defect {
    /// A short stable name.
    pub rule: &'static str,
    /// What could be done about it.
    pub cure: Option<Cure>,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// From 1; 0 when unknown.
    pub column: u32,
    /// In words.
    pub reason: String,
}

/// What makes a document readable that many readers take as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// To declare a prefix.
    Declare(String),
    /// To take away what stands before the XML declaration.
    DropDeclaration,
}

/// Decodes by the byte order mark, else `charset` (of a Content-Type), else the XML declaration, else UTF-8.
pub(crate) fn decode<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, String> {
    let (encoding, rest) = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, bytes.get(length..).unwrap_or_default()),
        None => (declared_encoding(bytes, charset)?, bytes),
    };
    match encoding.decode_without_bom_handling_and_without_replacement(rest) {
        Some(text) => Ok(text),
        None => Err(format!("is not valid {}", encoding.name())),
    }
}

fn declared_encoding(bytes: &[u8], charset: Option<&str>) -> Result<&'static encoding_rs::Encoding, String> {
    match bytes.get(..4) {
        Some([0, b'<', 0, _]) => return Ok(encoding_rs::UTF_16BE),
        Some([b'<', 0, _, 0]) => return Ok(encoding_rs::UTF_16LE),
        Some(_) | None => {}
    }
    let label = charset.map(str::to_owned).or_else(|| declaration_label(bytes));
    let Some(label) = label else { return Ok(encoding_rs::UTF_8) };
    match encoding_rs::Encoding::for_label(label.trim().as_bytes()) {
        // The bytes were just read as ASCII: a declared UTF-16 without its bytes is a slip of a converter.
        Some(encoding) if encoding == encoding_rs::UTF_16BE || encoding == encoding_rs::UTF_16LE => {
            Ok(encoding_rs::UTF_8)
        }
        Some(encoding) => Ok(encoding),
        None => Err(format!("is in the unknown encoding {:?}", clip(&label, 40))),
    }
}

fn declaration_label(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..bytes.len().min(200))?;
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let head = String::from_utf8_lossy(head.get(..end)?).into_owned();
    let tail = head.strip_prefix("<?xml")?.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = tail.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    tail.get(1..)?.split(quote).next().map(str::to_owned)
}

/// At most `limit` characters of a text, for messages.
pub(crate) fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// Refuses what is not well-formed enough to be read further, and everything without a bound. Linear.
pub(crate) fn gate(text: &str, depth_max: usize) -> Result<(), Defect> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<usize> = Vec::new();
    let mut bindings = 0usize;
    let mut notes = text.len().saturating_mul(NOTES_A_BYTE).saturating_add(NOTES_MIN);
    let mut roots = 0usize;
    loop {
        let start = reader.buffer_position();
        let event = reader.read_event().map_err(|error| at(text, reader.error_position(), "XML", error.to_string()))?;
        let here = |rule, reason: String| at(text, start, rule, reason);
        match event {
            Event::Start(start) => {
                roots += usize::from(open.is_empty());
                let declared = declarations(&start).map_err(|reason| here("XML", reason))?;
                bindings += declared;
                notes = notes.saturating_sub(if declared > 0 { bindings } else { 0 });
                open.push(declared);
                if open.len() > depth_max {
                    return Err(here("bounds", format!("nests deeper than {depth_max} elements")));
                }
            }
            Event::Empty(start) => {
                roots += usize::from(open.is_empty());
                let declared = declarations(&start).map_err(|reason| here("XML", reason))?;
                notes = notes.saturating_sub(if declared > 0 { bindings + declared } else { 0 });
            }
            Event::End(_) => bindings -= open.pop().unwrap_or(0),
            Event::DocType(_) => return Err(here("DTD", "has a DOCTYPE, which is never read".to_owned())),
            Event::Eof if open.is_empty() && roots == 1 => return Ok(()),
            Event::Eof => return Err(here("XML", "ends before its root element does".to_owned())),
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
        if notes == 0 {
            let reason = "declares namespaces again and again while too many others are in scope".to_owned();
            return Err(at(text, start, "bounds", reason));
        }
        if bindings > BINDINGS_MAX {
            let reason = format!("has more than {BINDINGS_MAX} namespace declarations in scope");
            return Err(at(text, start, "bounds", reason));
        }
    }
}

fn declarations(start: &BytesStart<'_>) -> Result<usize, String> {
    let mut declared = 0;
    let mut count = 0;
    for attribute in start.attributes().with_checks(false) {
        // What is wrong with an attribute is said by the parser that reads it; here they are counted.
        let Ok(attribute) = attribute else { continue };
        count += 1;
        declared += usize::from(attribute.key.as_namespace_binding().is_some());
        if count > ATTRIBUTES_MAX {
            return Err(format!("has an element with more than {ATTRIBUTES_MAX} attributes"));
        }
    }
    Ok(declared)
}

fn at(text: &str, offset: u64, rule: &'static str, reason: String) -> Defect {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Defect { rule, cure: None, line: number(line), column: number(column), reason }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Passes the gate and builds the tree.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, Defect> {
    gate(text, DEPTH_MAX)?;
    Document::parse(text).map_err(|error| {
        let position = error.pos();
        let (rule, cure) = if let roxmltree::Error::UnknownNamespace(prefix, _) = &error {
            ("undeclared-prefix", Some(Cure::Declare(prefix.clone())))
        } else if matches!(error, roxmltree::Error::UnexpectedDeclaration(_)) {
            ("misplaced-declaration", Some(Cure::DropDeclaration))
        } else {
            ("XML", None)
        };
        Defect { rule, cure, line: position.row, column: position.col, reason: error.to_string() }
    })
}

/// The text without a defect that can be mended, and what was assumed. Lines stay where they are.
pub(crate) fn mend(text: &str, defect: &Defect) -> Option<(String, String)> {
    match defect.cure.as_ref()? {
        Cure::Declare(prefix) => {
            let namespace =
                conventional_namespace(prefix).map_or_else(|| format!("undeclared prefix {prefix}"), str::to_owned);
            let (head, tail) = text.split_at_checked(root_name_end(text)?)?;
            let message = format!("the prefix {prefix} is not declared; assumed: it means {namespace:?}");
            Some((format!("{head} xmlns:{prefix}=\"{namespace}\"{tail}"), message))
        }
        Cure::DropDeclaration => {
            let start = text.find("<?xml")?;
            let end = start + text.get(start..)?.find("?>")? + 2;
            let declaration = text.get(start..end)?;
            let blank: String = declaration.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            let message = "the XML declaration is not the first thing in the file; assumed: it says nothing".to_owned();
            Some((text.replacen(declaration, &blank, 1), message))
        }
    }
}

/// Where the name of the root element ends.
fn root_name_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text.get(at..)?.find('<')?;
        let rest = text.get(at..)?;
        if rest.starts_with("<!--") {
            at += rest.find("-->")? + 3;
        } else if rest.starts_with("<?") {
            at += rest.find("?>")? + 2;
        } else {
            return Some(at + rest.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))?);
        }
    }
}

/// What a prefix means wherever nobody says otherwise.
pub(crate) fn conventional_namespace(prefix: &str) -> Option<&'static str> {
    Some(match prefix {
        "xs" | "xsd" | "s" => "http://www.w3.org/2001/XMLSchema",
        "xsi" => XSI,
        "wsdl" => "http://schemas.xmlsoap.org/wsdl/",
        "soap" => "http://schemas.xmlsoap.org/wsdl/soap/",
        "soap12" => "http://schemas.xmlsoap.org/wsdl/soap12/",
        "mime" => "http://schemas.xmlsoap.org/wsdl/mime/",
        "http" => "http://schemas.xmlsoap.org/wsdl/http/",
        "soapenc" | "SOAP-ENC" => "http://schemas.xmlsoap.org/soap/encoding/",
        "xmime" => "http://www.w3.org/2005/05/xmlmime",
        "wsa" => "http://www.w3.org/2005/08/addressing",
        "wsp" => "http://schemas.xmlsoap.org/ws/2004/09/policy",
        "wsu" => "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
        "wsse" => "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
        _ => return None,
    })
}

/// Where each line of a text starts: places without reading the text again.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Reads a text once.
    pub(crate) fn of(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { starts: std::iter::once(0).chain(newlines).collect() }
    }

    /// Line and column of a byte offset, from 1; the column counts bytes.
    pub(crate) fn place(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        (number(line), number(offset - start + 1))
    }
}

/// The whole text directly within an element, CDATA and references included.
pub(crate) fn text_of(node: Node<'_, '_>) -> String {
    let mut texts = node.children().filter(Node::is_text).filter_map(|text| text.text());
    let first = texts.next().unwrap_or_default().to_owned();
    texts.fold(first, |whole, more| whole + more)
}

/// The namespaces that a text declares prefixes for, in one pass.
pub(crate) fn declared_namespaces(text: &str) -> HashSet<&str> {
    let mut namespaces = HashSet::new();
    for (at, _) in text.match_indices("xmlns") {
        let rest = text.get(at..).unwrap_or_default();
        let equals = rest.bytes().take(PREFIX_BYTES_MAX).position(|byte| byte == b'=');
        let value = equals.and_then(|equals| rest.get(equals + 1..)).map(str::trim_start);
        let quote = value.and_then(|value| value.chars().next()).filter(|quote| matches!(quote, '"' | '\''));
        if let (Some(value), Some(quote)) = (value, quote) {
            namespaces.extend(value.get(1..).and_then(|value| value.split(quote).next()));
        }
    }
    namespaces
}

/// What a component's annotation says, its white space collapsed; cut when it is long.
pub(crate) fn documentation(component: Node<'_, '_>) -> Option<Arc<str>> {
    let annotation = elements(component).next().filter(|child| child.tag_name().name() == "annotation")?;
    let mut said = String::new();
    for child in elements(annotation).filter(|child| child.tag_name().name() == "documentation") {
        let texts = child.descendants().filter(Node::is_text).filter_map(|text| text.text());
        for word in texts.flat_map(str::split_whitespace) {
            if said.len() + word.len() > DOCUMENTATION_BYTES_MAX {
                said.push('…');
                return Some(said.into());
            }
            if !said.is_empty() {
                said.push(' ');
            }
            said.push_str(word);
        }
    }
    (!said.is_empty()).then(|| said.into())
}

/// The child elements.
pub(crate) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// Splits a qualified name at its colon.
pub(crate) fn split_qname(text: &str) -> (Option<&str>, &str) {
    match text.trim().split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_type_is_refused_before_anything_else_reads_it() {
        let defect = gate("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", 10).unwrap_err();
        assert_eq!(defect.rule, "DTD");
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let deep = "<a>".repeat(1_000_000);
        assert_eq!(gate(&deep, 256).unwrap_err().rule, "bounds");
        let fine = format!("{}{}", "<a>".repeat(256), "</a>".repeat(256));
        assert_eq!(gate(&fine, 256), Ok(()));
    }

    #[test]
    fn truncated_and_doubled_documents_are_refused() {
        for text in ["", "<a>", "<a/><b/>", "<a></b>", "text", "<a", "<a x='1"] {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn namespace_declarations_and_attributes_are_bounded() {
        let many: String = (0..2_000).map(|n| format!(" a{n}='x'")).collect();
        assert!(gate(&format!("<a{many}/>"), 10).is_err());
        let scoped: String = (0..30)
            .map(|level| {
                let declared: String = (0..50).map(|n| format!(" xmlns:p{level}x{n}='u'")).collect();
                format!("<a{declared}>")
            })
            .collect();
        assert_eq!(gate(&format!("{scoped}{}", "</a>".repeat(30)), 64).unwrap_err().rule, "bounds");
    }

    #[test]
    fn encodings_are_taken_from_mark_header_declaration_in_this_order() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>";
        assert!(decode(latin, None).unwrap().ends_with("<a>é</a>"));
        assert!(decode(b"<a>\xe9</a>", Some("iso-8859-1")).unwrap().contains('é'));
        assert!(decode(b"<a>\xe9</a>", None).unwrap_err().contains("UTF-8"));
        assert!(decode(b"<a/>", Some("klingon")).unwrap_err().contains("klingon"));
        let mut wide: Vec<u8> = vec![0xff, 0xfe];
        wide.extend("<a>é</a>".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(decode(&wide, Some("utf-8")).unwrap(), "<a>é</a>");
        assert_eq!(decode(b"\xef\xbb\xbf<a/>", None).unwrap(), "<a/>");
    }

    #[test]
    fn an_undeclared_prefix_and_a_late_declaration_can_be_mended() {
        let text = "\n<!-- < --><?xml version='1.0'?>\n<a><xs:b y:z='1'/></a>";
        let mut text = text.to_owned();
        for expected in ["misplaced-declaration", "undeclared-prefix", "undeclared-prefix"] {
            let defect = parse(&text).unwrap_err();
            assert_eq!(defect.rule, expected);
            text = mend(&text, &defect).unwrap().0;
        }
        let document = parse(&text).unwrap();
        let inner = document.root_element().first_element_child().unwrap();
        assert_eq!(inner.tag_name().namespace(), Some("http://www.w3.org/2001/XMLSchema"));
        assert_eq!(text.lines().count(), 3);
        let broken = parse("<a").unwrap_err();
        assert_eq!(mend("<a", &broken), None);
    }

    #[test]
    fn documentation_is_collapsed_and_cut() {
        let said = |text: &str| {
            let xml = format!("<e><annotation><documentation>{text}</documentation></annotation></e>");
            documentation(Document::parse(&xml).unwrap().root_element()).map(|said| said.to_string())
        };
        assert_eq!(said(" An\n  <b>order</b>. "), Some("An order .".to_owned()));
        assert_eq!(said(" "), None);
        assert!(said(&"word ".repeat(1_000)).unwrap().ends_with("word…"));
    }

    #[test]
    fn places_count_from_one() {
        let lines = Lines::of("ab\ncd\n");
        assert_eq!(lines.place(0), (1, 1));
        assert_eq!(lines.place(4), (2, 2));
        assert_eq!(lines.place(6), (3, 1));
    }
}

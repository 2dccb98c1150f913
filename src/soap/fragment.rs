//! Pieces of XML that are kept as text.

use std::cell::Cell;
use std::collections::HashSet;

use roxmltree::Node;

use super::text::{escape_attribute, escape_text};
use crate::wsdl::document;

/// Takes a fragment as it is when it is well-formed by itself, without a document type.
pub(crate) fn check(text: &str) -> Result<&str, String> {
    let fragment = text.trim_start();
    let fragment = match fragment.strip_prefix("<?xml ").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest,
        None => text,
    };
    document::parse(&format!("<x>{fragment}</x>"))
        .map_err(|defect| format!("is not well-formed: {}", defect.reason))?;
    match fragment.contains('\r') || fragment.chars().any(|c| !super::text::is_xml_char(c)) {
        true => Err("holds a carriage return or a character that XML cannot carry".to_owned()),
        false => Ok(fragment),
    }
}

/// How many bytes of namespaces may still be written into what is cut out of a document: as many as it has, and some more.
/// One of a megabyte, used a thousand times, would else become a gigabyte.
#[derive(Debug)]
pub(crate) struct Allowance(Cell<usize>);

impl Allowance {
    /// Besides those of the document itself.
    const BYTES_MIN: usize = 64 << 10;

    /// That of a node's document.
    pub(crate) fn of(node: Node<'_, '_>) -> Self {
        Self(Cell::new(node.document().input_text().len().saturating_add(Self::BYTES_MIN)))
    }

    /// Takes some of it.
    ///
    /// # Errors
    /// In words, when there is not so much left.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), String> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| "its namespaces are too long to be written wherever they are used".to_owned())
    }
}

/// The content of an element as text: its child elements, each with the namespaces it takes from outside; else its
/// text. None when there is neither. Where the namespaces would be longer than the document, none is written.
pub(crate) fn inner(node: Node<'_, '_>) -> Option<String> {
    let allowance = Allowance::of(node);
    let children: Result<Vec<String>, String> =
        document::elements(node).map(|child| outer(child, &allowance)).collect();
    match children {
        Ok(children) if children.is_empty() => {
            let text = document::text_of(node);
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Ok(children) => Some(children.concat()),
        Err(_) => Some(document::elements(node).map(as_it_stands).collect()),
    }
}

/// The content of an element as text, its texts and elements in their order.
///
/// # Errors
/// As [`Allowance::spend`].
pub(crate) fn mixed(node: Node<'_, '_>, allowance: &Allowance) -> Result<String, String> {
    let mut out = String::new();
    for child in node.children() {
        if child.is_element() {
            out.push_str(&outer(child, allowance)?);
        } else if child.is_text() {
            escape_text(&mut out, child.text().unwrap_or_default());
        }
    }
    Ok(out)
}

fn as_it_stands<'i>(node: Node<'_, 'i>) -> &'i str {
    node.document().input_text().get(node.range()).unwrap_or_default()
}

/// Whether a fragment holds text beside its elements.
pub(crate) fn has_text(text: &str) -> bool {
    let whole = format!("<x>{text}</x>");
    let Ok(document) = document::parse(&whole) else { return false };
    let mut texts = document.root_element().children().filter(|child| child.is_text());
    texts.any(|child| !child.text().unwrap_or_default().trim().is_empty())
}

/// An element as text that stands alone.
///
/// # Errors
/// As [`Allowance::spend`].
pub(crate) fn outer(node: Node<'_, '_>, allowance: &Allowance) -> Result<String, String> {
    let text = as_it_stands(node);
    let name_end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(name_end).unwrap_or((text, ""));
    let used = prefixes(text);
    let mut out = name.to_owned();
    for namespace in node.namespaces().filter(|namespace| namespace.name().is_none_or(|prefix| used.contains(prefix))) {
        let is_inherited = |parent: Node<'_, '_>| {
            let same =
                |outer: &roxmltree::Namespace<'_>| (outer.name(), outer.uri()) == (namespace.name(), namespace.uri());
            parent.namespaces().any(same)
        };
        let inherited = node.parent_element().is_some_and(is_inherited);
        if namespace.name() == Some("xml") || !inherited || declares(node, namespace.name()) {
            continue;
        }
        allowance.spend(namespace.uri().len())?;
        match namespace.name() {
            Some(prefix) => out.push_str(&format!(" xmlns:{prefix}=\"")),
            None => out.push_str(" xmlns=\""),
        }
        escape_attribute(&mut out, namespace.uri());
        out.push('"');
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether an element's own start tag declares a prefix.
fn declares(node: Node<'_, '_>, prefix: Option<&str>) -> bool {
    let text = node.document().input_text().get(node.range()).unwrap_or_default();
    let tag = text.split('>').next().unwrap_or_default();
    match prefix {
        Some(prefix) => tag.contains(&format!("xmlns:{prefix}=")) || tag.contains(&format!("xmlns:{prefix} ")),
        None => tag.contains("xmlns=") || tag.contains("xmlns "),
    }
}

/// Everything before a colon: the prefixes a text may use, in names or in values.
fn prefixes(text: &str) -> HashSet<&str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut found = HashSet::new();
    let mut start = 0;
    for (index, c) in text.char_indices() {
        if c == ':' {
            found.extend(text.get(start..index));
        }
        if !is_part(c) {
            start = index + c.len_utf8();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_taken_out_of_a_document_stands_alone() {
        let text = r#"<a xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q"><d> <p:x t="q:y"/><z xmlns="urn:own">&amp;</z></d></a>"#;
        let document = document::parse(text).unwrap();
        let detail = document::elements(document.root_element()).next().unwrap();
        let taken = inner(detail).unwrap();
        assert_eq!(
            taken,
            r#"<p:x xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q" t="q:y"/><z xmlns="urn:own">&amp;</z>"#
        );
        assert!(check(&taken).is_ok());
    }

    #[test]
    fn fragments_cannot_break_out_of_their_place() {
        for text in ["</x><x>", "<a>", "<a></b>", "<!DOCTYPE a><a/>", "<p:a/>", "a & b", "<a/>\r", "<a>\u{1}</a>"] {
            assert!(check(text).is_err(), "{text:?} was taken");
        }
        for text in ["", "text", "<a/><b/>", "<p:a xmlns:p='u'/>", "<?xml version='1.0'?><a/>"] {
            assert!(check(text).is_ok(), "{text:?} was refused");
        }
    }
}

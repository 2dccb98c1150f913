//! What a WSDL or schema names of other files, and the same document with other names.

use std::ops::Range;

use super::bundle::{WSDL, is_built_in, is_xsd};
use super::document;

/// More links are not followed.
const LINKS_MAX: usize = 2_000;

/// A location that a document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As written, references resolved.
    pub location: String,
    /// The namespace it is to bring; empty for none.
    pub namespace: String,
    /// The namespace is known without a file.
    pub built_in: bool,
    span: Range<usize>,
}

/// What kind of document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// WSDL 1.1.
    Wsdl,
    /// An XML schema.
    Schema,
}

/// A document and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// What it is.
    pub kind: Kind,
    /// In UTF-8, and its declaration says so.
    pub text: String,
    /// In document order.
    pub links: Vec<Link>,
}

/// Reads a document. `charset` is that of its Content-Type, if there was one.
///
/// # Errors
/// Why it is no WSDL and no schema, in words.
pub fn read(bytes: &[u8], charset: Option<&str>) -> Result<Linked, String> {
    let text = document::decode(bytes, charset)?;
    let text = in_utf8(&text);
    let parsed = document::parse(&text).map_err(|defect| {
        let place = if defect.line > 0 { format!("line {}: ", defect.line) } else { String::new() };
        format!("{place}{}", defect.reason)
    })?;
    let root = parsed.root_element();
    let kind = match (root.tag_name().namespace(), root.tag_name().name()) {
        (Some(WSDL), "definitions") => Kind::Wsdl,
        (Some(namespace), "schema") if is_xsd(namespace) => Kind::Schema,
        (_, "html" | "HTML") => return Err("is an HTML page, not a WSDL: a login page, or an error?".to_owned()),
        (namespace, name) => {
            return Err(format!("is <{name}> of {:?}, no WSDL 1.1 and no XML schema", namespace.unwrap_or_default()));
        }
    };
    let mut links = Vec::new();
    for node in root.descendants().filter(roxmltree::Node::is_element) {
        let namespace = node.tag_name().namespace().unwrap_or_default();
        let attribute = match node.tag_name().name() {
            "import" if namespace == WSDL => node.attribute_node("location"),
            "import" | "include" | "redefine" if is_xsd(namespace) => node.attribute_node("schemaLocation"),
            _ => None,
        };
        if links.len() >= LINKS_MAX {
            return Err(format!("names more than {LINKS_MAX} other documents"));
        }
        links.extend(attribute.map(|attribute| {
            let brings = node.attribute("namespace").unwrap_or_default().to_owned();
            let built_in = namespace != WSDL && is_built_in(&brings);
            Link {
                location: attribute.value().trim().to_owned(),
                namespace: brings,
                built_in,
                span: attribute.range_value(),
            }
        }));
    }
    drop(parsed);
    Ok(Linked { kind, text, links })
}

impl Linked {
    /// The document with some of its locations changed, each link with its new one. A new location holds nothing that
    /// an attribute could not hold.
    #[must_use]
    pub fn with(&self, changed: &[(&Link, String)]) -> String {
        let mut changed: Vec<_> = changed.iter().collect();
        changed.sort_by_key(|(link, _)| std::cmp::Reverse(link.span.start));
        let mut text = self.text.clone();
        for (link, location) in changed {
            if text.get(link.span.clone()).is_some() {
                text.replace_range(link.span.clone(), location);
            }
        }
        text
    }
}

/// The text with a declaration that names UTF-8, or none.
fn in_utf8(text: &str) -> String {
    let Some(end) = text.starts_with("<?xml").then(|| text.find("?>")).flatten() else { return text.to_owned() };
    let (declaration, rest) = text.split_at(end);
    let Some(at) = declaration.find("encoding") else { return text.to_owned() };
    let quoted = declaration.get(at..).unwrap_or_default();
    let Some(open) = quoted.find(['"', '\'']) else { return text.to_owned() };
    let quote = quoted.get(open..open + 1).unwrap_or("\"");
    let Some(close) = quoted.get(open + 1..).and_then(|after| after.find(quote)) else { return text.to_owned() };
    let before = declaration.get(..at + open + 1).unwrap_or_default();
    let after = declaration.get(at + open + 1 + close..).unwrap_or_default();
    format!("{before}UTF-8{after}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_found_and_changed_and_nothing_else() {
        let text = "<?xml version='1.0' encoding='ISO-8859-1'?>\
            <definitions xmlns='http://schemas.xmlsoap.org/wsdl/' xmlns:x='http://www.w3.org/2001/XMLSchema'>\
            <import namespace='urn:a' location='a.wsdl?x=1&amp;y=2'/><types><x:schema><x:include schemaLocation = \"b.xsd\"/>\
            <x:import namespace='urn:c'/></x:schema></types><documentation location='no'>\u{e9}</documentation></definitions>";
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let linked = read(&latin, None).unwrap();
        let locations: Vec<&str> = linked.links.iter().map(|link| link.location.as_str()).collect();
        assert_eq!(locations, ["a.wsdl?x=1&y=2", "b.xsd"]);
        let changed =
            linked.with(&[(&linked.links[0], "one.wsdl".to_owned()), (&linked.links[1], "two.xsd".to_owned())]);
        let expected =
            text.replace("ISO-8859-1", "UTF-8").replace("a.wsdl?x=1&amp;y=2", "one.wsdl").replace("b.xsd", "two.xsd");
        assert_eq!(changed, expected);
        for (wrong, reason) in
            [("<html/>", "HTML page"), ("<a/>", "no WSDL"), ("<a", ""), ("<!DOCTYPE a><a/>", "DOCTYPE")]
        {
            assert!(read(wrong.as_bytes(), None).unwrap_err().contains(reason), "{wrong}");
        }
    }
}

//! The fixed part of a WSDL, definitions to services, as yaserde reads it.
//!
//! yaserde sees only what [`canonical`] writes: no schemas, no extensions, names resolved to `{namespace}local`,
//! each element with its place in the file. So neither depth, white space, prefixes nor unknown elements reach it.

use roxmltree::Node;
use xml::reader::{EventReader, ParserConfig};
use yaserde::YaDeserialize;

use super::bundle::{Source, WSDL};
use super::document;

pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const MIME: &str = "http://schemas.xmlsoap.org/wsdl/mime/";
pub(crate) const SOAP12: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";

/// `wsdl:definitions` of one file.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(rename = "definitions", prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct Definitions {
    #[yaserde(attribute = true, rename = "targetNamespace", default = "nothing")]
    pub target: String,
    #[yaserde(rename = "message", prefix = "wsdl")]
    pub messages: Vec<Message>,
    #[yaserde(rename = "portType", prefix = "wsdl")]
    pub port_types: Vec<PortType>,
    #[yaserde(rename = "binding", prefix = "wsdl")]
    pub bindings: Vec<Binding>,
    #[yaserde(rename = "service", prefix = "wsdl")]
    pub services: Vec<Service>,
}

/// `wsdl:message`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct Message {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(rename = "part", prefix = "wsdl")]
    pub parts: Vec<Part>,
}

/// `wsdl:part`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct Part {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(attribute = true)]
    pub element: Option<String>,
    #[yaserde(attribute = true, rename = "type")]
    pub type_name: Option<String>,
}

/// `wsdl:portType`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct PortType {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(rename = "operation", prefix = "wsdl")]
    pub operations: Vec<PortOperation>,
}

/// `wsdl:operation` of a port type.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct PortOperation {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(prefix = "wsdl")]
    pub input: Option<Io>,
    #[yaserde(prefix = "wsdl")]
    pub output: Option<Io>,
    #[yaserde(rename = "fault", prefix = "wsdl")]
    pub faults: Vec<Io>,
}

/// `wsdl:input`, `output` or `fault` of a port type.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct Io {
    #[yaserde(attribute = true)]
    pub name: Option<String>,
    #[yaserde(attribute = true, default = "nothing")]
    pub message: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
}

/// `wsdl:binding`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = {
    "wsdl" = "http://schemas.xmlsoap.org/wsdl/",
    "soap11" = "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12" = "http://schemas.xmlsoap.org/wsdl/soap12/"
})]
pub(crate) struct Binding {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(attribute = true, rename = "type", default = "nothing")]
    pub port_type: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(rename = "binding", prefix = "soap11")]
    pub soap11: Option<SoapBinding>,
    #[yaserde(rename = "binding", prefix = "soap12")]
    pub soap12: Option<SoapBinding>,
    #[yaserde(rename = "operation", prefix = "wsdl")]
    pub operations: Vec<BindingOperation>,
}

/// `soap:binding`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
pub(crate) struct SoapBinding {
    #[yaserde(attribute = true)]
    pub style: Option<String>,
    #[yaserde(attribute = true)]
    pub transport: Option<String>,
}

/// `wsdl:operation` of a binding.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = {
    "wsdl" = "http://schemas.xmlsoap.org/wsdl/",
    "soap11" = "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12" = "http://schemas.xmlsoap.org/wsdl/soap12/"
})]
pub(crate) struct BindingOperation {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(rename = "operation", prefix = "soap11")]
    pub soap11: Option<SoapOperation>,
    #[yaserde(rename = "operation", prefix = "soap12")]
    pub soap12: Option<SoapOperation>,
    #[yaserde(prefix = "wsdl")]
    pub input: Option<BoundIo>,
    #[yaserde(prefix = "wsdl")]
    pub output: Option<BoundIo>,
}

/// `soap:operation`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
pub(crate) struct SoapOperation {
    #[yaserde(attribute = true, rename = "soapAction")]
    pub action: Option<String>,
    #[yaserde(attribute = true)]
    pub style: Option<String>,
}

/// `wsdl:input` or `output` of a binding.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = {
    "wsdl" = "http://schemas.xmlsoap.org/wsdl/",
    "soap11" = "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12" = "http://schemas.xmlsoap.org/wsdl/soap12/"
})]
pub(crate) struct BoundIo {
    /// The names of the parts that `mime:content` puts beside the envelope.
    #[yaserde(attribute = true, default = "nothing")]
    pub attachments: String,
    #[yaserde(rename = "body", prefix = "soap11")]
    pub body11: Option<SoapBody>,
    #[yaserde(rename = "body", prefix = "soap12")]
    pub body12: Option<SoapBody>,
    #[yaserde(rename = "header", prefix = "soap11")]
    pub headers11: Vec<SoapHeader>,
    #[yaserde(rename = "header", prefix = "soap12")]
    pub headers12: Vec<SoapHeader>,
}

/// `soap:body`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
pub(crate) struct SoapBody {
    #[yaserde(attribute = true)]
    pub parts: Option<String>,
    #[yaserde(attribute = true, rename = "use")]
    pub usage: Option<String>,
    #[yaserde(attribute = true)]
    pub namespace: Option<String>,
}

/// `soap:header`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
pub(crate) struct SoapHeader {
    #[yaserde(attribute = true, default = "nothing")]
    pub message: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub part: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(attribute = true, rename = "use")]
    pub usage: Option<String>,
    #[yaserde(attribute = true)]
    pub namespace: Option<String>,
    /// `wsdl:required`: the service wants it.
    #[yaserde(attribute = true)]
    pub required: Option<String>,
}

/// `wsdl:service`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = { "wsdl" = "http://schemas.xmlsoap.org/wsdl/" })]
pub(crate) struct Service {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(rename = "port", prefix = "wsdl")]
    pub ports: Vec<ServicePort>,
}

/// `wsdl:port`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
#[yaserde(prefix = "wsdl", namespaces = {
    "wsdl" = "http://schemas.xmlsoap.org/wsdl/",
    "soap11" = "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12" = "http://schemas.xmlsoap.org/wsdl/soap12/"
})]
pub(crate) struct ServicePort {
    #[yaserde(attribute = true, default = "nothing")]
    pub name: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub binding: String,
    #[yaserde(attribute = true, default = "nothing")]
    pub at: String,
    #[yaserde(rename = "address", prefix = "soap11")]
    pub soap11: Option<Address>,
    #[yaserde(rename = "address", prefix = "soap12")]
    pub soap12: Option<Address>,
}

/// `soap:address`.
#[derive(Clone, Debug, Default, PartialEq, YaDeserialize)]
pub(crate) struct Address {
    #[yaserde(attribute = true, default = "nothing")]
    pub location: String,
}

/// What an absent attribute reads as; what needs it says that it is missing.
fn nothing() -> String {
    String::new()
}

/// Reads the skeleton of one file.
pub(crate) fn read(source: &Source<'_>) -> Result<Definitions, String> {
    read_text(&canonical(source))
}

fn read_text(text: &str) -> Result<Definitions, String> {
    let config = ParserConfig::new()
        .trim_whitespace(false)
        .whitespace_to_characters(true)
        .cdata_to_characters(true)
        .ignore_comments(true)
        .coalesce_characters(true);
    let reader = EventReader::new_with_config(text.as_bytes(), config);
    let mut deserializer = yaserde::de::Deserializer::new(reader);
    Definitions::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

fn canonical(source: &Source<'_>) -> String {
    let mut out = String::new();
    let root = source.document.root_element();
    out.push_str("<wsdl:definitions");
    for (prefix, namespace) in [("wsdl", WSDL), ("soap11", SOAP11), ("soap12", SOAP12)] {
        attribute(&mut out, &format!("xmlns:{prefix}"), namespace);
    }
    attribute(&mut out, "targetNamespace", root.attribute("targetNamespace").unwrap_or_default());
    out.push('>');
    for child in document::elements(root).filter(|child| child.tag_name().name() != "types") {
        write(&mut out, source, child, 1);
    }
    out.push_str("</wsdl:definitions>");
    out
}

/// Writes the elements that the shapes know; the depth of those is seven at most.
fn write(out: &mut String, source: &Source<'_>, node: Node<'_, '_>, depth: usize) {
    let prefix = match node.tag_name().namespace() {
        Some(WSDL) => "wsdl",
        Some(SOAP11) => "soap11",
        Some(SOAP12) => "soap12",
        _ => return,
    };
    let name = node.tag_name().name();
    if depth > 7 || matches!(name, "documentation" | "import" | "types") {
        return;
    }
    out.push_str(&format!("<{prefix}:{name}"));
    if has_place(prefix, name, node) {
        let (line, column) = source.lines.place(node.range().start);
        attribute(out, "at", &format!("{line}:{column}"));
    }
    let is_known = |given: &roxmltree::Attribute<'_, '_>| match given.namespace() {
        None => !matches!(given.name(), "at" | "required"),
        Some(namespace) => namespace == WSDL && given.name() == "required",
    };
    for given in node.attributes().filter(is_known) {
        match (name, given.name()) {
            ("part", "element" | "type") | ("binding", "type") | ("port", "binding") | (_, "message") => {
                attribute(out, given.name(), &clark(node, given.value()));
            }
            _ => attribute(out, given.name(), given.value()),
        }
    }
    let mime = |child: &Node<'_, '_>| child.tag_name().namespace() == Some(MIME);
    if matches!(name, "input" | "output") && document::elements(node).any(|child| mime(&child)) {
        let contents = node.descendants().filter(|child| mime(child) && child.tag_name().name() == "content");
        let names: Vec<&str> = contents.filter_map(|content| content.attribute("part")).collect();
        attribute(out, "attachments", &names.join(" "));
    }
    out.push('>');
    // Of a binding to something other than SOAP it is enough to know that it is there.
    let of_soap = |child: Node<'_, '_>| matches!(child.tag_name().namespace(), Some(SOAP11 | SOAP12));
    let told = prefix != "wsdl" || name != "binding" || document::elements(node).any(of_soap);
    for child in document::elements(node).filter(|_| told) {
        if mime(&child) {
            // What SOAP has to say stands within the first part of the multipart message.
            let inner = child.descendants().filter(|inner| of_soap(*inner));
            inner.for_each(|inner| write(out, source, inner, depth + 1));
        }
        write(out, source, child, depth + 1);
    }
    out.push_str(&format!("</{prefix}:{name}>"));
}

/// Whether the shape of an element keeps its place: each attribute costs the reader.
fn has_place(prefix: &str, name: &str, node: Node<'_, '_>) -> bool {
    let bound = || node.ancestors().skip(1).any(|above| above.tag_name().name() == "binding");
    match name {
        "part" | "binding" | "port" => prefix == "wsdl",
        "header" => true,
        "operation" => prefix == "wsdl" && bound(),
        "input" | "output" | "fault" => prefix == "wsdl" && !bound(),
        _ => false,
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!(" {name}=\"{}\"", xml::escape::escape_str_attribute(value)));
}

/// A qualified name as `{namespace}local`; an undeclared prefix gives a namespace that says so.
fn clark(node: Node<'_, '_>, qname: &str) -> String {
    let (prefix, local) = document::split_qname(qname);
    match (prefix, node.lookup_namespace_uri(prefix)) {
        (_, Some(namespace)) => format!("{{{namespace}}}{local}"),
        (None, None) => format!("{{}}{local}"),
        (Some(prefix), None) => format!("{{undeclared prefix {prefix}}}{local}"),
    }
}

/// The line and column that `at` holds.
pub(crate) fn position(at: &str) -> (u32, u32) {
    at.split_once(':').and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?))).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wsdl::document::Lines;

    fn definitions(text: &str) -> Definitions {
        let source = Source { name: String::new(), document: document::parse(text).unwrap(), lines: Lines::of(text) };
        read(&source).unwrap()
    }

    #[test]
    fn prefixes_extensions_and_order_make_no_difference() {
        let read = definitions(
            r#"<d:definitions xmlns:d="http://schemas.xmlsoap.org/wsdl/" xmlns="http://schemas.xmlsoap.org/wsdl/soap/"
                 xmlns:t="urn:t" targetNamespace="urn:t" xmlns:x="urn:x">
              <d:service name="S"><x:policy><x:deep/></x:policy><d:documentation>  text <b>x</b></d:documentation>
                <d:port name="P" binding="t:B"><address location="http://h/?a=1&amp;b=2"/></d:port></d:service>
              <d:binding name="B" type="t:T"><binding transport="http" style="rpc"/>
                <d:operation name="O"><operation soapAction=" a &quot;b&quot;"/><d:input><body use="literal"/></d:input>
                </d:operation></d:binding>
              <d:message name="M"><d:part name="p" element="t:E"/><d:part name="q" type="wrong:E"/></d:message>
            </d:definitions>"#,
        );
        assert_eq!(read.services[0].ports[0].soap11.as_ref().unwrap().location, "http://h/?a=1&b=2");
        assert_eq!(read.services[0].ports[0].binding, "{urn:t}B");
        assert_eq!(read.bindings[0].soap11.as_ref().unwrap().style.as_deref(), Some("rpc"));
        assert_eq!(read.bindings[0].soap12, None);
        assert_eq!(read.bindings[0].operations[0].soap11.as_ref().unwrap().action.as_deref(), Some(" a \"b\""));
        assert_eq!(read.messages[0].parts[0].element.as_deref(), Some("{urn:t}E"));
        assert_eq!(read.messages[0].parts[1].type_name.as_deref(), Some("{undeclared prefix wrong}E"));
        assert_eq!(position(&read.messages[0].at).0, 8);
    }

    #[test]
    fn an_element_that_comes_twice_is_not_silently_the_last_one_of_a_list() {
        let read = definitions(
            r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><message name="A"/><message name="B"/></definitions>"#,
        );
        assert_eq!(read.messages.iter().map(|message| message.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }
}

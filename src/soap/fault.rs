//! SOAP faults of both versions: reading them, and what their codes mean.

use roxmltree::Node;

use super::fragment;
use super::shapes::{self, Fault11, Fault12, SOAP11, SOAP12};
use super::text::escape_text;
use crate::outcome::Fault;
use crate::wsdl::document::{elements, split_qname, text_of};

/// How many subcodes are kept.
const SUBCODES_MAX: usize = 16;

/// What a fault's code says: whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `Client`, `Sender`, `DataEncodingUnknown`: the message is wrong.
    Client,
    /// `Server`, `Receiver`: the other side failed.
    Server,
    /// The other side speaks another SOAP.
    VersionMismatch,
    /// A header was not understood.
    MustUnderstand,
    /// WS-Security's codes and `Client.Authentication`: our credentials or clock, not this message.
    Security,
    /// A code of its own.
    Other,
}

/// WSS: SOAP Message Security 1.1, chapter 12, and WS-SecureConversation's and WS-Trust's of the same sense.
const SECURITY_CODES: [&str; 14] = [
    "UnsupportedSecurityToken",
    "UnsupportedAlgorithm",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "FailedAuthentication",
    "FailedCheck",
    "SecurityTokenUnavailable",
    "MessageExpired",
    "BadContextToken",
    "ExpiredData",
    "Authentication",
    "AuthenticationFailed",
    "AuthenticationBadElements",
    "UnauthorizedAccess",
];

/// Says what a fault's code and subcodes mean.
#[must_use]
pub fn kind(fault: &Fault) -> FaultKind {
    let codes = || std::iter::once(&fault.code).chain(&fault.subcodes);
    let secure = |code: &String| code.split('.').any(|part| SECURITY_CODES.iter().any(|known| same(part, known)));
    if codes().any(secure) {
        return FaultKind::Security;
    }
    let first = fault.code.split('.').next().unwrap_or_default();
    for (name, kind) in [
        ("Client", FaultKind::Client),
        ("Sender", FaultKind::Client),
        ("DataEncodingUnknown", FaultKind::Client),
        ("Server", FaultKind::Server),
        ("Receiver", FaultKind::Server),
        ("VersionMismatch", FaultKind::VersionMismatch),
        ("MustUnderstand", FaultKind::MustUnderstand),
    ] {
        if same(first, name) {
            return kind;
        }
    }
    FaultKind::Other
}

fn same(left: &str, right: &str) -> bool {
    left.trim().eq_ignore_ascii_case(right)
}

/// Reads a `Fault` element of either version, whatever the namespaces of its children.
pub(crate) fn read(node: Node<'_, '_>) -> Fault {
    let has = |name: &str| child(node, name).is_some();
    let newer = (has("Code") || has("Reason")) && !has("faultcode") && !has("faultstring");
    if newer { read_newer(node) } else { read_older(node) }
}

/// SOAP 1.1. Servers put its children into namespaces, or in an order, of their own: they are found by name and
/// handed to the fixed shape in its own form.
fn read_older(node: Node<'_, '_>) -> Fault {
    let mut text = format!("<e:Fault xmlns:e=\"{SOAP11}\">");
    let code = child(node, "faultcode").map(|code| text_of(code).trim().to_owned());
    put(&mut text, "faultcode", code.clone());
    put(&mut text, "faultstring", child(node, "faultstring").map(text_of));
    put(&mut text, "faultactor", child(node, "faultactor").map(text_of));
    put(&mut text, "detail", child(node, "detail").and_then(fragment::inner));
    text.push_str("</e:Fault>");
    let shape: Fault11 = shapes::read(&text).unwrap_or_default();
    let (local, namespace) =
        child(node, "faultcode").map(|at| name_of(at, &code.unwrap_or_default())).unwrap_or_default();
    let tail: Vec<String> = local.split('.').skip(1).take(SUBCODES_MAX).map(str::to_owned).collect();
    Fault {
        code: local,
        code_namespace: namespace,
        subcode_namespaces: vec![String::new(); tail.len()],
        subcodes: tail,
        string: shape.string.unwrap_or_default().trim().to_owned(),
        actor: shape.actor.map(|actor| actor.trim().to_owned()).filter(|actor| !actor.is_empty()),
        detail: shape.detail.filter(|detail| !detail.is_empty()),
    }
}

fn read_newer(node: Node<'_, '_>) -> Fault {
    let mut text = format!("<e:Fault xmlns:e=\"{SOAP12}\">");
    let mut codes = Vec::new();
    let mut next = child(node, "Code");
    while let Some(code) = next.filter(|_| codes.len() <= SUBCODES_MAX) {
        if let Some(value) = child(code, "Value") {
            let name = if codes.is_empty() { "e:Value" } else { "e:Subcode" };
            put(&mut text, name, Some(text_of(value)));
            codes.push(value);
        }
        next = child(code, "Subcode");
    }
    let reason = child(node, "Reason");
    let texts =
        reason.map(|reason| elements(reason).filter(|child| child.tag_name().name() == "Text").collect::<Vec<_>>());
    for reason in texts.unwrap_or_default().into_iter().take(SUBCODES_MAX) {
        let english = reason.attributes().any(|given| given.name() == "lang" && given.value().starts_with("en"));
        put(&mut text, "e:Text", Some(format!("{}{}", if english { "en" } else { "--" }, text_of(reason))));
    }
    put(&mut text, "e:Role", child(node, "Role").map(text_of));
    put(&mut text, "e:Detail", child(node, "Detail").and_then(fragment::inner));
    text.push_str("</e:Fault>");
    let shape: Fault12 = shapes::read(&text).unwrap_or_default();
    let mut names = codes.iter().zip(shape.code.iter().chain(&shape.subcodes)).map(|(at, code)| name_of(*at, code));
    let (code, code_namespace) = names.next().unwrap_or_default();
    let (subcodes, subcode_namespaces) = names.unzip();
    let chosen = shape.texts.iter().find(|text| text.starts_with("en")).or(shape.texts.first());
    Fault {
        code,
        code_namespace,
        subcodes,
        subcode_namespaces,
        string: chosen.and_then(|text| text.get(2..)).unwrap_or_default().trim().to_owned(),
        actor: shape.role.map(|role| role.trim().to_owned()).filter(|role| !role.is_empty()),
        detail: shape.detail.filter(|detail| !detail.is_empty()),
    }
}

fn put(out: &mut String, name: &str, value: Option<String>) {
    let Some(value) = value else { return };
    out.push_str(&format!("<{name}>"));
    escape_text(out, &value);
    out.push_str(&format!("</{name}>"));
}

/// The first child of a local name.
fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    elements(node).find(|child| child.tag_name().name() == name)
}

/// A qualified name's local name and namespace; empty when its prefix is bound to nothing.
fn name_of(node: Node<'_, '_>, qname: &str) -> (String, String) {
    let (prefix, local) = split_qname(qname);
    let namespace = prefix.and_then(|prefix| node.lookup_namespace_uri(Some(prefix)));
    (local.to_owned(), namespace.unwrap_or_default().to_owned())
}

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

/// WSS: SOAP Message Security 1.1, chapter 12, and WS-SecureConversation's of the same sense, and what servers say
/// with codes of their own: `Client.Authentication` and the like. Nobody uses these names for a record's content.
const SECURITY_CODES: [&str; 16] = [
    "UnsupportedSecurityToken",
    "UnsupportedAlgorithm",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "FailedAuthentication",
    "SecurityTokenUnavailable",
    "SecurityError",
    "MessageExpired",
    "BadContextToken",
    "Authentication",
    "AuthenticationError",
    "AuthenticationFailed",
    "AuthenticationBadElements",
    "InvalidCredentialsError",
    "UnauthorizedAccess",
    "Unauthorized",
];

/// Parts of the namespaces of WS-Security, WS-SecureConversation and WS-Trust, of all their editions, and of the library
/// that most Java servers use: a code of theirs, such as `FailedCheck` or `ExpiredData`, is about our credentials.
const SECURITY_NAMESPACES: [&str; 6] = [
    "oasis-200401-wss-",
    "oasis-wss-wssecurity-secext-",
    "/secext",
    "/ws/2005/02/",
    "/ws-sx/",
    "http://ws.apache.org/wss4j",
];

/// Says what a fault's code and subcodes mean.
#[must_use]
pub fn kind(fault: &Fault) -> FaultKind {
    let codes = || std::iter::once(&fault.code).chain(&fault.subcodes);
    let named = |code: &String| code.split('.').any(|part| SECURITY_CODES.iter().any(|known| same(part, known)));
    let spaces = std::iter::once(&fault.code_namespace).chain(&fault.subcode_namespaces);
    let mut spaced = spaces.map(|space| SECURITY_NAMESPACES.iter().any(|known| space.contains(known)));
    if codes().any(named) || spaced.any(|of_security| of_security) {
        return FaultKind::Security;
    }
    // SOAP 1.1 has no subcodes: there a code of WS-Addressing stands alone (WS-Addressing SOAP binding, 6.4).
    if fault.code_namespace.contains("/addressing") {
        return if fault.code == "EndpointUnavailable" { FaultKind::Server } else { FaultKind::Client };
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
        content: serde_json::Value::Null,
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
    // ASP.NET on Mono writes SOAP 1.1's name here.
    let detail = child(node, "Detail").or_else(|| child(node, "detail"));
    put(&mut text, "e:Detail", detail.and_then(fragment::inner));
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
        content: serde_json::Value::Null,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_of_a_newer_fault_is_found_under_its_older_name_too() {
        for name in ["e:Detail", "detail"] {
            let text = format!(
                "<e:Fault xmlns:e=\"{SOAP12}\"><e:Code><e:Value>e:Sender</e:Value></e:Code>\
                 <{name}><a xmlns=\"urn:a\">E42</a></{name}></e:Fault>"
            );
            let document = crate::wsdl::document::parse(&text).unwrap();
            let fault = read(document.root_element());
            assert_eq!((fault.code.as_str(), kind(&fault)), ("Sender", FaultKind::Client));
            assert_eq!(fault.detail.as_deref(), Some("<a xmlns=\"urn:a\">E42</a>"));
        }
    }

    #[test]
    fn what_is_about_our_credentials_is_known_by_its_name_or_its_namespace() {
        let wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
        let trust = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
        for (code, namespace, expected) in [
            ("FailedAuthentication", "", FaultKind::Security),
            ("FailedCheck", wsse, FaultKind::Security),
            ("ExpiredData", trust, FaultKind::Security),
            ("FailedCheck", "http://schemas.xmlsoap.org/ws/2002/04/secext", FaultKind::Security),
            ("SecurityError", "http://ws.apache.org/wss4j", FaultKind::Security),
            ("Client.Authentication", SOAP11, FaultKind::Security),
            ("Client.authenticationError", SOAP11, FaultKind::Security),
            ("Client.AuthenticationError", SOAP11, FaultKind::Security),
            ("Client.UnauthorizedAccess", SOAP11, FaultKind::Security),
            ("MessageAddressingHeaderRequired", "http://www.w3.org/2005/08/addressing", FaultKind::Client),
            // A record's own trouble pauses nobody.
            ("ExpiredData", "urn:orders", FaultKind::Other),
            ("FailedCheck", "urn:orders", FaultKind::Other),
            ("Client.ExpiredData", SOAP11, FaultKind::Client),
            ("Client.NotAuthenticated", SOAP11, FaultKind::Client),
        ] {
            let fault = |code: &str, subcodes: &[(&str, &str)]| Fault {
                code: code.to_owned(),
                code_namespace: namespace.to_owned(),
                subcodes: subcodes.iter().map(|(code, _)| (*code).to_owned()).collect(),
                subcode_namespaces: subcodes.iter().map(|(_, space)| (*space).to_owned()).collect(),
                ..Fault::default()
            };
            assert_eq!(kind(&fault(code, &[])), expected, "{code}");
            let below = Fault { code_namespace: SOAP12.to_owned(), ..fault("Sender", &[(code, namespace)]) };
            let expected = if expected == FaultKind::Security { expected } else { FaultKind::Client };
            assert_eq!(kind(&below), expected, "Sender/{code}");
        }
    }
}

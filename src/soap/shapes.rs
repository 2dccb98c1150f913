//! The fixed SOAP shapes, as yaserde reads and writes them.
//!
//! yaserde trims text, takes the last of two elements for one, reads `xsi:nil` as empty and is quadratic in depth.
//! So it reads with trimming off, lists where one is expected, and only texts that passed the gate.

use xml::reader::{EventReader, ParserConfig};
use yaserde::{YaDeserialize, YaSerialize};

use super::encode::Addressing;
use super::text::is_xml_char;
use crate::wsdl::document;

/// SOAP 1.1's envelope namespace.
pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// SOAP 1.2's envelope namespace.
pub(crate) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// SOAP 1.2's namespace of what it says about rpc answers.
pub(crate) const SOAP12_RPC: &str = "http://www.w3.org/2003/05/soap-rpc";

const ACCEPTED: &[u8] = br#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"#;
const REFUSED: &[u8] = br#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>false</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"#;

/// What Salesforce is told about an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It is safe: Salesforce forgets it.
    Accepted,
    /// Not now: Salesforce tries again.
    Refused,
}

/// The acknowledgement, always the same bytes (the outbound WSDL's `notificationsResponse`).
#[must_use]
pub fn ack(ack: Ack) -> &'static [u8] {
    match ack {
        Ack::Accepted => ACCEPTED,
        Ack::Refused => REFUSED,
    }
}

/// A SOAP 1.1 fault with the code `Client`, for what Salesforce should not have sent.
#[must_use]
pub fn client_fault(reason: &str) -> String {
    let legal: String = reason.chars().map(|c| if is_xml_char(c) && c != '\r' { c } else { ' ' }).collect();
    let envelope = Envelope {
        body: Body {
            responses: Vec::new(),
            faults: vec![Fault11 {
                code: Some("soapenv:Client".to_owned()),
                string: Some(legal),
                actor: None,
                detail: None,
            }],
        },
    };
    // Writing into memory fails for no text of legal characters; the fixed answer stands in all the same.
    write(&envelope).unwrap_or_else(|_| FAULT.to_owned())
}

const FAULT: &str = r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault><faultcode>soapenv:Client</faultcode><faultstring>refused</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"#;

/// Reads an acknowledgement as Salesforce does: any prefixes, any white space around.
///
/// # Errors
/// What it is instead, in words: a fault with its reason, no answer, two answers.
pub fn read_ack(bytes: &[u8]) -> Result<bool, String> {
    let text = document::decode(bytes, None)?;
    document::parse(&text).map_err(|defect| format!("is no acknowledgement: {}", defect.reason))?;
    let envelope: Envelope = read(&text).map_err(|reason| format!("is no acknowledgement: {reason}"))?;
    if let Some(fault) = envelope.body.faults.first() {
        let string = fault.string.as_deref().unwrap_or("no reason given");
        return Err(format!("is a fault: {}", document::clip(string, 300)));
    }
    let acks: Vec<&str> =
        envelope.body.responses.iter().flat_map(|response| &response.acks).map(|ack| ack.trim()).collect();
    match acks.as_slice() {
        ["true" | "1"] => Ok(true),
        ["false" | "0"] => Ok(false),
        [] => Err("is no acknowledgement: it holds no notificationsResponse with an Ack".to_owned()),
        [one] => Err(format!("is no acknowledgement: its Ack is {:?}", document::clip(one, 40))),
        several => Err(format!("is no acknowledgement: it holds {} of them", several.len())),
    }
}

/// Reads a shape from a text that passed the gate.
pub(crate) fn read<T: YaDeserialize>(text: &str) -> Result<T, String> {
    let config = ParserConfig::new()
        .trim_whitespace(false)
        .whitespace_to_characters(true)
        .cdata_to_characters(true)
        .ignore_comments(true)
        .coalesce_characters(true);
    let reader = EventReader::new_with_config(text.as_bytes(), config);
    T::deserialize(&mut yaserde::de::Deserializer::new(reader)).map_err(|error| error.to_string())
}

pub(crate) fn write<T: YaSerialize>(shape: &T) -> Result<String, String> {
    yaserde::ser::to_string(shape).map_err(|error| error.to_string())
}

/// A SOAP 1.1 envelope with what Salesforce is answered.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize, YaDeserialize)]
#[yaserde(
    rename = "Envelope",
    prefix = "soapenv",
    namespaces = { "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/" }
)]
pub(crate) struct Envelope {
    #[yaserde(rename = "Body", prefix = "soapenv")]
    pub body: Body,
}

/// Its body.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize, YaDeserialize)]
#[yaserde(
    rename = "Body",
    prefix = "soapenv",
    namespaces = {
        "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/",
        "om" = "http://soap.sforce.com/2005/09/outbound"
    }
)]
pub(crate) struct Body {
    #[yaserde(rename = "notificationsResponse", prefix = "om")]
    pub responses: Vec<NotificationsResponse>,
    #[yaserde(rename = "Fault", prefix = "soapenv")]
    pub faults: Vec<Fault11>,
}

/// The outbound WSDL's response.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize, YaDeserialize)]
#[yaserde(
    rename = "notificationsResponse",
    prefix = "om",
    namespaces = { "om" = "http://soap.sforce.com/2005/09/outbound" }
)]
pub(crate) struct NotificationsResponse {
    /// One; a list, so that two are seen.
    #[yaserde(rename = "Ack", prefix = "om")]
    pub acks: Vec<String>,
}

/// A SOAP 1.1 fault (SOAP 1.1 4.4): its children have no namespace.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize, YaDeserialize)]
#[yaserde(
    rename = "Fault",
    prefix = "soapenv",
    namespaces = { "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/" }
)]
pub(crate) struct Fault11 {
    #[yaserde(rename = "faultcode")]
    pub code: Option<String>,
    #[yaserde(rename = "faultstring")]
    pub string: Option<String>,
    #[yaserde(rename = "faultactor")]
    pub actor: Option<String>,
    /// Its content as text.
    #[yaserde(rename = "detail")]
    pub detail: Option<String>,
}

/// A SOAP 1.2 fault (SOAP 1.2 part 1, 5.4), its subcodes unnested.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize, YaDeserialize)]
#[yaserde(
    rename = "Fault",
    prefix = "env",
    namespaces = { "env" = "http://www.w3.org/2003/05/soap-envelope" }
)]
pub(crate) struct Fault12 {
    #[yaserde(rename = "Value", prefix = "env")]
    pub code: Option<String>,
    #[yaserde(rename = "Subcode", prefix = "env")]
    pub subcodes: Vec<String>,
    #[yaserde(rename = "Text", prefix = "env")]
    pub texts: Vec<String>,
    #[yaserde(rename = "Role", prefix = "env")]
    pub role: Option<String>,
    /// Its content as text.
    #[yaserde(rename = "Detail", prefix = "env")]
    pub detail: Option<String>,
}

/// WS-Addressing 1.0 headers (2005/08), in a header of their own.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Header",
    prefix = "wsa",
    namespaces = {
        "wsa" = "http://www.w3.org/2005/08/addressing",
        "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/"
    }
)]
struct AddressingHeaders {
    #[yaserde(rename = "Action", prefix = "wsa")]
    action: AddressingBlock,
    #[yaserde(rename = "To", prefix = "wsa")]
    to: AddressingBlock,
    #[yaserde(rename = "MessageID", prefix = "wsa")]
    message_id: AddressingBlock,
    #[yaserde(rename = "ReplyTo", prefix = "wsa")]
    reply_to: EndpointReference,
}

/// A header block that holds an IRI.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(prefix = "wsa", namespaces = { "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/" })]
struct AddressingBlock {
    #[yaserde(attribute = true, rename = "mustUnderstand", prefix = "soapenv")]
    must_understand: Option<String>,
    #[yaserde(text = true)]
    text: String,
}

/// `wsa:EndpointReferenceType`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    prefix = "wsa",
    namespaces = {
        "wsa" = "http://www.w3.org/2005/08/addressing",
        "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/"
    }
)]
struct EndpointReference {
    #[yaserde(attribute = true, rename = "mustUnderstand", prefix = "soapenv")]
    must_understand: Option<String>,
    #[yaserde(rename = "Address", prefix = "wsa")]
    address: String,
}

pub(crate) const WSA: &str = "http://www.w3.org/2005/08/addressing";

/// The header blocks, each with its declaration, for an envelope whose own prefix is `soapenv`. `action` is never
/// empty.
pub(crate) fn addressing_headers(addressing: &Addressing, action: &str) -> Result<String, String> {
    for text in [&addressing.message_id, &addressing.to, action] {
        if text.chars().any(|c| !is_xml_char(c) || c.is_control()) {
            return Err(format!("has a WS-Addressing header {:?} that XML cannot carry", document::clip(text, 60)));
        }
    }
    let must_understand = addressing.must_understand.then(|| "1".to_owned());
    let block = |text: &str| AddressingBlock { must_understand: must_understand.clone(), text: text.to_owned() };
    let headers = AddressingHeaders {
        action: block(action),
        to: block(&addressing.to),
        message_id: block(&addressing.message_id),
        reply_to: EndpointReference { must_understand: must_understand.clone(), address: format!("{WSA}/anonymous") },
    };
    let text = write(&headers)?;
    let inner = text.split_once("<wsa:Header").and_then(|(_, rest)| rest.split_once('>')).map(|(_, rest)| rest);
    let inner = inner.and_then(|rest| rest.strip_suffix("</wsa:Header>"));
    let inner = inner.ok_or("has WS-Addressing headers that cannot be written")?;
    let mut out = inner.to_owned();
    for name in ["Action", "To", "MessageID", "ReplyTo"] {
        out = out.replacen(&format!("<wsa:{name}"), &format!("<wsa:{name} xmlns:wsa=\"{WSA}\""), 1);
    }
    Ok(out)
}

/// `wsse:Security` (WSS: SOAP Message Security 1.1). Its attributes are of the envelope's namespace: who writes it
/// puts SOAP 1.2's in place of SOAP 1.1's.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Security",
    prefix = "wsse",
    namespaces = {
        "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
        "wsu" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
        "soapenv" = "http://schemas.xmlsoap.org/soap/envelope/"
    }
)]
pub(crate) struct SecurityHeader {
    #[yaserde(attribute = true, rename = "mustUnderstand", prefix = "soapenv")]
    pub must_understand: Option<String>,
    #[yaserde(attribute = true, rename = "actor", prefix = "soapenv")]
    pub actor: Option<String>,
    #[yaserde(attribute = true, rename = "role", prefix = "soapenv")]
    pub role: Option<String>,
    #[yaserde(rename = "Timestamp", prefix = "wsu")]
    pub timestamp_first: Option<TimestampElement>,
    #[yaserde(rename = "UsernameToken", prefix = "wsse")]
    pub token: Option<Token>,
    /// The same element, for servers that want it last.
    #[yaserde(rename = "Timestamp", prefix = "wsu")]
    pub timestamp_last: Option<TimestampElement>,
    /// Whose signature follows: who reads the header from top to bottom must know it by then.
    #[yaserde(rename = "BinarySecurityToken", prefix = "wsse")]
    pub certificate: Option<BinaryToken>,
}

/// `wsu:Timestamp`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Timestamp",
    prefix = "wsu",
    namespaces = { "wsu" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" }
)]
pub(crate) struct TimestampElement {
    #[yaserde(attribute = true, rename = "Id", prefix = "wsu")]
    pub id: Option<String>,
    #[yaserde(rename = "Created", prefix = "wsu")]
    pub created: String,
    #[yaserde(rename = "Expires", prefix = "wsu")]
    pub expires: String,
}

/// `wsse:UsernameToken`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "UsernameToken",
    prefix = "wsse",
    namespaces = {
        "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
        "wsu" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
    }
)]
pub(crate) struct Token {
    #[yaserde(attribute = true, rename = "Id", prefix = "wsu")]
    pub id: Option<String>,
    #[yaserde(rename = "Username", prefix = "wsse")]
    pub username: String,
    #[yaserde(rename = "Password", prefix = "wsse")]
    pub password: TypedText,
    #[yaserde(rename = "Nonce", prefix = "wsse")]
    pub nonce: Option<TypedText>,
    #[yaserde(rename = "Created", prefix = "wsu")]
    pub created: Option<String>,
}

/// Text with what it is: `wsse:Password` and `wsse:Nonce`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    prefix = "wsse",
    namespaces = { "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" }
)]
pub(crate) struct TypedText {
    #[yaserde(attribute = true, rename = "Type")]
    pub kind: Option<String>,
    #[yaserde(attribute = true, rename = "EncodingType")]
    pub encoding: Option<String>,
    #[yaserde(text = true)]
    pub text: String,
}

/// `wsse:BinarySecurityToken`: a certificate.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "BinarySecurityToken",
    prefix = "wsse",
    namespaces = { "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
        "wsu" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" }
)]
pub(crate) struct BinaryToken {
    #[yaserde(attribute = true, rename = "Id", prefix = "wsu")]
    pub id: Option<String>,
    #[yaserde(attribute = true, rename = "ValueType")]
    pub kind: Option<String>,
    #[yaserde(attribute = true, rename = "EncodingType")]
    pub encoding: Option<String>,
    #[yaserde(text = true)]
    pub text: String,
}

/// `ds:Signature` (XML Signature).
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Signature",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#",
        "ec" = "http://www.w3.org/2001/10/xml-exc-c14n#",
        "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" }
)]
pub(crate) struct SignatureElement {
    #[yaserde(rename = "SignedInfo", prefix = "ds")]
    pub signed_info: SignedInfo,
    #[yaserde(rename = "SignatureValue", prefix = "ds")]
    pub value: String,
    #[yaserde(rename = "KeyInfo", prefix = "ds")]
    pub key_info: KeyInfo,
}

/// `ds:SignedInfo`: what is signed in the end.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "SignedInfo",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#" }
)]
pub(crate) struct SignedInfo {
    #[yaserde(rename = "CanonicalizationMethod", prefix = "ds")]
    pub canonicalization: Method,
    #[yaserde(rename = "SignatureMethod", prefix = "ds")]
    pub method: Method,
    #[yaserde(rename = "Reference", prefix = "ds")]
    pub references: Vec<Reference>,
}

/// An algorithm by its name.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Method",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#" }
)]
pub(crate) struct Method {
    #[yaserde(attribute = true, rename = "Algorithm")]
    pub algorithm: Option<String>,
}

/// `ds:Reference`: an element and its digest.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Reference",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#" }
)]
pub(crate) struct Reference {
    #[yaserde(attribute = true, rename = "URI")]
    pub uri: Option<String>,
    #[yaserde(rename = "Transforms", prefix = "ds")]
    pub transforms: Transforms,
    #[yaserde(rename = "DigestMethod", prefix = "ds")]
    pub method: Method,
    #[yaserde(rename = "DigestValue", prefix = "ds")]
    pub value: String,
}

/// `ds:Transforms`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Transforms",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#" }
)]
pub(crate) struct Transforms {
    #[yaserde(rename = "Transform", prefix = "ds")]
    pub transform: Transform,
}

/// `ds:Transform`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Transform",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#",
        "ec" = "http://www.w3.org/2001/10/xml-exc-c14n#" }
)]
pub(crate) struct Transform {
    #[yaserde(attribute = true, rename = "Algorithm")]
    pub algorithm: Option<String>,
    #[yaserde(rename = "InclusiveNamespaces", prefix = "ec")]
    pub inclusive: Option<InclusiveNamespaces>,
}

/// `ec:InclusiveNamespaces` (exclusive canonicalization).
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "InclusiveNamespaces",
    prefix = "ec",
    namespaces = { "ec" = "http://www.w3.org/2001/10/xml-exc-c14n#" }
)]
pub(crate) struct InclusiveNamespaces {
    #[yaserde(attribute = true, rename = "PrefixList")]
    pub prefixes: Option<String>,
}

/// `ds:KeyInfo`, as WS-Security has it.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "KeyInfo",
    prefix = "ds",
    namespaces = { "ds" = "http://www.w3.org/2000/09/xmldsig#",
        "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" }
)]
pub(crate) struct KeyInfo {
    #[yaserde(rename = "SecurityTokenReference", prefix = "wsse")]
    pub references: TokenReferences,
}

/// `wsse:SecurityTokenReference`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "SecurityTokenReference",
    prefix = "wsse",
    namespaces = { "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" }
)]
pub(crate) struct TokenReferences {
    #[yaserde(rename = "Reference", prefix = "wsse")]
    pub reference: TokenReference,
}

/// `wsse:Reference`.
#[derive(Clone, Debug, Default, PartialEq, YaSerialize)]
#[yaserde(
    rename = "Reference",
    prefix = "wsse",
    namespaces = { "wsse" = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" }
)]
pub(crate) struct TokenReference {
    #[yaserde(attribute = true, rename = "URI")]
    pub uri: Option<String>,
    #[yaserde(attribute = true, rename = "ValueType")]
    pub kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acknowledgements_are_what_yaserde_writes_and_reads() {
        for (which, word) in [(Ack::Accepted, "true"), (Ack::Refused, "false")] {
            let shape = Envelope {
                body: Body {
                    responses: vec![NotificationsResponse { acks: vec![word.to_owned()] }],
                    faults: Vec::new(),
                },
            };
            let written = write(&shape).unwrap();
            let fixed = std::str::from_utf8(ack(which)).unwrap();
            assert_eq!(infoset(&written), infoset(fixed));
            assert_eq!(read::<Envelope>(fixed).unwrap(), shape);
            assert_eq!(read_ack(ack(which)), Ok(word == "true"));
        }
    }

    fn infoset(text: &str) -> Vec<(String, String)> {
        let document = document::parse(text).unwrap();
        let elements = document.descendants().filter(roxmltree::Node::is_element);
        elements.map(|node| (format!("{:?}", node.tag_name()), document::text_of(node))).collect()
    }

    #[test]
    fn acknowledgements_are_read_whatever_their_prefixes_and_never_guessed() {
        let envelope = |body: &str| {
            format!(
                "<E:Envelope xmlns:E='{SOAP11}' xmlns:o='http://soap.sforce.com/2005/09/outbound' \
                 xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><E:Header/><E:Body>{body}</E:Body></E:Envelope>"
            )
        };
        let response = |acks: &str| envelope(&format!("<o:notificationsResponse>{acks}</o:notificationsResponse>"));
        assert_eq!(read_ack(response("<o:Ack>\n true </o:Ack>").as_bytes()), Ok(true));
        assert_eq!(read_ack(response("<!-- no --><o:Ack>0</o:Ack>").as_bytes()), Ok(false));
        for wrong in [
            String::new(),
            response(""),
            response("<o:Ack>true</o:Ack><o:Ack>false</o:Ack>"),
            response("<o:Ack xsi:nil='true'/>"),
            response("<Ack>true</Ack>"),
            response("<o:Ack>yes</o:Ack>"),
            envelope(""),
            "<html/>".to_owned(),
            format!("<!DOCTYPE a>{}", response("<o:Ack>true</o:Ack>")),
        ] {
            assert!(read_ack(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let fault = client_fault("no <organisation> & \u{1}\r\n");
        assert_eq!(read_ack(fault.as_bytes()), Err("is a fault: no <organisation> &   \n".to_owned()));
    }

    #[test]
    fn yaserde_does_what_the_traps_say_and_the_configured_reader_does_not() {
        let text = format!("<E:Fault xmlns:E='{SOAP11}'><faultstring>  pad  </faultstring></E:Fault>");
        let trimmed: Fault11 = yaserde::de::from_str(&text).unwrap();
        assert_eq!(trimmed.string.as_deref(), Some("pad"), "the default reader trims");
        assert_eq!(read::<Fault11>(&text).unwrap().string.as_deref(), Some("  pad  "));
        let twice = format!("<E:Fault xmlns:E='{SOAP11}'><faultcode>a</faultcode><faultcode>b</faultcode></E:Fault>");
        assert_eq!(
            read::<Fault11>(&twice).unwrap().code.as_deref(),
            Some("b"),
            "the last one wins: lists where it matters"
        );
    }

    #[test]
    fn addressing_headers_stand_alone_and_escape() {
        let addressing = Addressing {
            message_id: "urn:uuid:1".to_owned(),
            to: "http://h/?a=1&b=<".to_owned(),
            must_understand: false,
        };
        let headers = addressing_headers(&addressing, "urn:do").unwrap();
        let document = format!("<x>{headers}</x>");
        let document = document::parse(&document).unwrap();
        let found: Vec<(&str, Option<&str>)> = document
            .descendants()
            .filter(|node| node.tag_name().namespace() == Some(WSA))
            .map(|node| (node.tag_name().name(), node.text()))
            .collect();
        let anonymous = "http://www.w3.org/2005/08/addressing/anonymous";
        assert_eq!(
            found,
            [
                ("Action", Some("urn:do")),
                ("To", Some("http://h/?a=1&b=<")),
                ("MessageID", Some("urn:uuid:1")),
                ("ReplyTo", None),
                ("Address", Some(anonymous)),
            ]
        );
        assert!(!headers.contains("mustUnderstand"), "{headers}");
        let strict = addressing_headers(&Addressing { must_understand: true, ..addressing.clone() }, "urn:do").unwrap();
        let envelope = format!("<x xmlns:soapenv=\"{SOAP12}\">{strict}</x>");
        let document = document::parse(&envelope).unwrap();
        let blocks: Vec<_> = document.root_element().children().collect();
        assert_eq!(blocks.len(), 4);
        for block in blocks {
            assert_eq!(block.attribute((SOAP12, "mustUnderstand")), Some("1"), "{strict}");
        }
        assert!(addressing_headers(&Addressing { to: "a\u{1}".to_owned(), ..addressing }, "urn:do").is_err());
    }
}

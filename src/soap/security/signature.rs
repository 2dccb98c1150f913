//! WS-Security X.509 Certificate Token Profile 1.1 over XML Signature: what of an envelope is signed, and by whom.
//!
//! Elements are named by a `wsu:Id`, never by a path, and their exclusive canonical form is signed. The signature is made
//! of the envelope as it goes out, so nothing is assumed about how it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};

use super::canonical::{canonical, prefixes_in_values};
use crate::signing::{Algorithm, Signer};
use crate::soap::shapes::{
    self, BinaryToken, InclusiveNamespaces, KeyInfo, Method, Reference, SignatureElement, SignedInfo, TokenReference,
    TokenReferences, Transform, Transforms, WSA,
};
use crate::wsdl::document;

const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const X509V3: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const ECDSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";

/// WS-Addressing's headers by a word of their own.
const ADDRESSING: [(&str, &str); 4] =
    [("to", "To"), ("action", "Action"), ("message-id", "MessageID"), ("reply-to", "ReplyTo")];

/// Who signs what.
#[derive(Clone, Debug)]
pub struct Signature {
    /// None where a configuration is looked at without its files: nothing can be signed.
    pub signer: Option<Arc<Signer>>,
    /// What is signed, in this order.
    pub parts: Vec<Signed>,
}

/// A part of an envelope that can be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The header's Timestamp.
    Timestamp,
    /// The header's `UsernameToken`.
    UsernameToken,
    /// The certificate that is sent along.
    Certificate,
    /// The envelope's Body.
    Body,
    /// Each header block of this name.
    Header {
        /// Its namespace.
        namespace: String,
        /// Its local name.
        name: String,
    },
}

impl Signed {
    /// Reads a word, or `{namespace}name` of a header block.
    ///
    /// # Errors
    /// What could be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "timestamp" => return Ok(Self::Timestamp),
            "username-token" => return Ok(Self::UsernameToken),
            "certificate" => return Ok(Self::Certificate),
            "body" => return Ok(Self::Body),
            _ => {}
        }
        if let Some((_, name)) = ADDRESSING.iter().find(|(word, _)| *word == text) {
            return Ok(Self::Header { namespace: WSA.to_owned(), name: (*name).to_owned() });
        }
        let named = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((namespace, name)) = named.filter(|(namespace, name)| !namespace.is_empty() && is_name(name)) else {
            return Err(format!(
                "{text:?} is nothing that can be signed: write timestamp, body, username-token, certificate, to, action, \
                 message-id, reply-to, or a header block as \"{{namespace}}name\""
            ));
        };
        if (namespace, name) == (WSSE, "Security") {
            return Err("holds the signature itself; name what is in it, such as timestamp".to_owned());
        }
        Ok(Self::Header { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "{}:<>&\"'/".contains(c))
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp => f.write_str("Timestamp"),
            Self::UsernameToken => f.write_str("UsernameToken"),
            Self::Certificate => f.write_str("BinarySecurityToken"),
            Self::Body => f.write_str("Body"),
            Self::Header { namespace, name } if namespace == WSA => f.write_str(name),
            Self::Header { namespace, name } => write!(f, "{{{namespace}}}{name}"),
        }
    }
}

/// The ids of one header: random, so that nothing else in an envelope has them.
pub(super) struct Ids(pub(super) String);

impl Ids {
    pub(super) fn timestamp(&self) -> String {
        format!("TS-{}", self.0)
    }

    pub(super) fn token(&self) -> String {
        format!("UT-{}", self.0)
    }

    pub(super) fn certificate(&self) -> String {
        format!("X509-{}", self.0)
    }

    fn element(&self, number: usize) -> String {
        format!("id-{number}-{}", self.0)
    }
}

impl Signature {
    /// What is signed how and by whom, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(Signed::to_string).collect();
        let how = self.signer.as_ref().map_or_else(String::new, |signer| {
            let algorithm = match signer.algorithm() {
                Algorithm::Rsa => "RSA-SHA256",
                Algorithm::Ecdsa => "ECDSA-SHA256",
            };
            format!(" with {algorithm} as {}", signer.certificate().subject)
        });
        format!("signs {}{how}", parts.join(", "))
    }

    /// Whether headers of WS-Addressing are among what is signed.
    #[must_use]
    pub fn signs_addressing(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Signed::Header { namespace, .. } if namespace == WSA))
    }

    pub(super) fn token(&self, ids: &Ids) -> Result<BinaryToken, String> {
        Ok(BinaryToken {
            id: Some(ids.certificate()),
            kind: Some(X509V3.to_owned()),
            encoding: Some(super::BASE64.to_owned()),
            text: STANDARD.encode(self.signer()?.der()),
        })
    }

    fn signer(&self) -> Result<&Signer, String> {
        self.signer.as_deref().ok_or_else(|| "is to be signed, and the certificate for it was not read".to_owned())
    }

    /// Signs an envelope that begins its header with our Security header: gives ids to what is signed and has none, and puts
    /// the signature at that header's end.
    pub(super) fn sign(&self, envelope: &str, ids: &Ids) -> Result<String, String> {
        let (marked, signed) = self.mark(envelope, ids)?;
        let document = parsed(&marked)?;
        let mut with_ids = BTreeMap::new();
        for node in document.descendants() {
            for attribute in node.attributes().filter(|attribute| attribute.name().eq_ignore_ascii_case("id")) {
                with_ids.entry(attribute.value()).or_insert_with(Vec::new).push(node);
            }
        }
        let mut references = Vec::new();
        for id in &signed {
            match with_ids.get(id.as_str()).map(Vec::as_slice) {
                Some([node]) => references.push(reference(id, *node)),
                _ => return Err(format!("has the id {id:?} of what is to be signed more than once")),
            }
        }
        let signature = self.element(references, ids)?;
        let end = security(&document)?.range().end;
        let at = marked.get(..end).and_then(|before| before.rfind("</")).ok_or("has an empty Security header")?;
        let (before, after) = marked.split_at_checked(at).ok_or("cannot be cut")?;
        Ok(format!("{before}{signature}{after}"))
    }

    /// The envelope in which all that is signed has an id, and those ids.
    fn mark(&self, envelope: &str, ids: &Ids) -> Result<(String, Vec<String>), String> {
        let document = parsed(envelope)?;
        let mut signed = Vec::new();
        let mut added: BTreeMap<usize, String> = BTreeMap::new();
        for part in &self.parts {
            let nodes = found(&document, part)?;
            if nodes.is_empty() {
                return Err(format!("has no {part} to be signed"));
            }
            for node in nodes {
                if let Some(id) = node.attribute((WSU, "Id")) {
                    signed.push(id.to_owned());
                    continue;
                }
                let name = envelope.get(node.range().start + 1..).unwrap_or_default();
                let length = name.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(0);
                let id = ids.element(added.len() + 1);
                added.insert(node.range().start + 1 + length, id_attribute(node, &id));
                signed.push(id);
            }
        }
        let mut marked = String::with_capacity(envelope.len() + 200 * added.len());
        let mut from = 0;
        for (at, attribute) in added {
            marked.push_str(envelope.get(from..at).unwrap_or_default());
            marked.push_str(&attribute);
            from = at;
        }
        marked.push_str(envelope.get(from..).unwrap_or_default());
        Ok((marked, signed))
    }

    /// `ds:Signature`. All that its `SignedInfo` uses is declared in it, so its canonical form is the same wherever it stands.
    fn element(&self, references: Vec<Reference>, ids: &Ids) -> Result<String, String> {
        let signer = self.signer()?;
        let method = match signer.algorithm() {
            Algorithm::Rsa => RSA_SHA256,
            Algorithm::Ecdsa => ECDSA_SHA256,
        };
        let token = TokenReference { uri: Some(format!("#{}", ids.certificate())), kind: Some(X509V3.to_owned()) };
        let mut element = SignatureElement {
            signed_info: SignedInfo {
                canonicalization: Method { algorithm: Some(EXCLUSIVE.to_owned()) },
                method: Method { algorithm: Some(method.to_owned()) },
                references,
            },
            value: String::new(),
            key_info: KeyInfo { references: TokenReferences { reference: token } },
        };
        let draft = written(&element)?;
        let document = parsed(&draft)?;
        let info = document.root_element().first_element_child().ok_or("cannot be signed")?;
        let signature = signer.sign(canonical(info, &BTreeSet::new()).as_bytes());
        element.value = STANDARD.encode(signature.ok_or("cannot be signed: the private key does not sign")?);
        written(&element)
    }
}

fn written(element: &SignatureElement) -> Result<String, String> {
    let text = shapes::write(element)?;
    Ok(text.split_once("?>").map_or(text.as_str(), |(_, element)| element).trim().to_owned())
}

fn parsed(text: &str) -> Result<Document<'_>, String> {
    document::parse(text).map_err(|defect| format!("cannot be signed: it {}", defect.reason))
}

fn reference(id: &str, node: Node<'_, '_>) -> Reference {
    let prefixes = prefixes_in_values(node);
    let digest = digest::digest(&digest::SHA256, canonical(node, &prefixes).as_bytes());
    let list: Vec<&str> = prefixes.into_iter().collect();
    let inclusive = (!list.is_empty()).then(|| InclusiveNamespaces { prefixes: Some(list.join(" ")) });
    Reference {
        uri: Some(format!("#{id}")),
        transforms: Transforms { transform: Transform { algorithm: Some(EXCLUSIVE.to_owned()), inclusive } },
        method: Method { algorithm: Some(SHA256.to_owned()) },
        value: STANDARD.encode(digest),
    }
}

/// The header that we began the envelope's header with.
fn security<'a, 'i>(document: &'a Document<'i>) -> Result<Node<'a, 'i>, String> {
    let header = document.root_element().first_element_child().and_then(|header| header.first_element_child());
    header.filter(|node| node.has_tag_name((WSSE, "Security"))).ok_or_else(|| "has no Security header".to_owned())
}

/// The elements that a part names.
fn found<'a, 'i>(document: &'a Document<'i>, part: &Signed) -> Result<Vec<Node<'a, 'i>>, String> {
    let envelope = document.root_element();
    let within = |parent: Node<'a, 'i>, namespace: &str, name: &str| -> Vec<Node<'a, 'i>> {
        parent.children().filter(|node| node.has_tag_name((namespace, name))).collect()
    };
    let security = security(document)?;
    Ok(match part {
        Signed::Timestamp => within(security, WSU, "Timestamp"),
        Signed::UsernameToken => within(security, WSSE, "UsernameToken"),
        Signed::Certificate => within(security, WSSE, "BinarySecurityToken"),
        Signed::Body => within(envelope, envelope.tag_name().namespace().unwrap_or_default(), "Body"),
        Signed::Header { namespace, name } => {
            security.parent().map_or_else(Vec::new, |header| within(header, namespace, name))
        }
    })
}

/// ` wsu:Id="…"`, with a declaration where no prefix stands for its namespace yet.
fn id_attribute(node: Node<'_, '_>, id: &str) -> String {
    if let Some(prefix) = node.lookup_prefix(WSU) {
        return format!(" {prefix}:Id=\"{id}\"");
    }
    // Another meaning of the same prefix may be used further in.
    let free = |prefix: &String| node.lookup_namespace_uri(Some(prefix.as_str())).is_none();
    let numbered = (1..).map(|number| format!("wsu{number}"));
    let prefix = std::iter::once("wsu".to_owned()).chain(numbered).find(free).unwrap_or_default();
    format!(" xmlns:{prefix}=\"{WSU}\" {prefix}:Id=\"{id}\"")
}

//! WS-Security (OASIS WSS 1.0 and 1.1): a `UsernameToken`, a Timestamp and a signature in an envelope.
//!
//! A header is good for a while and, with a nonce, for one time only; so it is no part of the call, which stays the
//! same for every attempt, but is made anew at the edge, as an `Authorization` header is.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

use self::signature::{Ids, Signature};
use super::shapes::{self, SOAP11, SOAP12, SecurityHeader, TimestampElement, Token, TypedText};
use super::text::is_xml_char;
use crate::clock::Timestamp;
use crate::secret::Text;

mod canonical;
pub mod signature;

/// How many random bytes a nonce has (`UsernameToken` Profile 1.1, 3.1, asks for 16 and more).
pub const NONCE_BYTES: usize = 16;

const PROFILE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// What a destination wants to see in a `wsse:Security` header.
#[derive(Clone, Debug)]
pub struct Security {
    /// Who we are; none: the header holds a Timestamp alone.
    pub token: Option<UsernameToken>,
    /// How long a message is good, as its Timestamp says; none: no Timestamp.
    pub ttl: Option<Duration>,
    /// Who signs what of the message; none: nothing is signed.
    pub signature: Option<Signature>,
    /// What stands first.
    pub order: Order,
    /// Whether a server that does not understand the header must say so.
    pub must_understand: bool,
    /// SOAP 1.1's `actor`, SOAP 1.2's `role`: whom the header is for.
    pub actor: Option<String>,
    /// Moments of creation are set back by this, for servers whose clock is behind.
    pub clock_skew: Duration,
}

/// `UsernameToken` Profile 1.1.
#[derive(Clone, Debug)]
pub struct UsernameToken {
    /// As it is, blanks included.
    pub username: Text,
    /// As it is, blanks included.
    pub password: Text,
    /// How the password is sent.
    pub form: PasswordForm,
    /// Whether nonce and moment of creation are sent; with a digest always.
    pub nonce: bool,
}

/// How a password is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// In clear: over TLS only.
    Text,
    /// Base64 of the SHA-1 of nonce, moment and password.
    Digest,
}

/// What stands first in the header. Most servers do not mind; some take one order only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Timestamp, `UsernameToken`.
    #[default]
    TimestampFirst,
    /// `UsernameToken`, Timestamp.
    UsernameFirst,
}

/// What makes one header differ from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Now.
    pub now: Timestamp,
    /// Never used before.
    pub nonce: [u8; NONCE_BYTES],
}

/// Why a header cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// Neither token nor Timestamp nor signature.
    #[error("says neither username nor timestamp nor signature, so the header would be empty")]
    Empty,
    /// A server would refuse it.
    #[error("the {0} is empty")]
    Nobody(Part),
    /// XML has no way to write it.
    #[error("the {0} has a line break or a control character in it")]
    Character(Part),
}

/// A part of the configuration, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The user's name.
    Username,
    /// The password.
    Password,
    /// The actor.
    Actor,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "user name",
            Self::Password => "password",
            Self::Actor => "actor",
        })
    }
}

impl Security {
    /// Whether a header can be written at all, so that it is known before the first call.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self) -> Result<(), SecurityError> {
        if self.token.is_none() && self.ttl.is_none() && self.signature.is_none() {
            return Err(SecurityError::Empty);
        }
        let token = self.token.iter();
        let texts = token
            .flat_map(|token| [(Part::Username, token.username.reveal()), (Part::Password, token.password.reveal())]);
        for (part, text) in texts.chain(self.actor.iter().map(|actor| (Part::Actor, actor.clone()))) {
            if text.chars().any(|c| !is_xml_char(c) || c.is_control()) {
                return Err(SecurityError::Character(part));
            }
            if text.trim().is_empty() && part != Part::Password {
                return Err(SecurityError::Nobody(part));
            }
        }
        Ok(())
    }

    /// The texts that may hold secrets.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Text> {
        self.token.iter().flat_map(|token| [&token.username, &token.password])
    }

    /// Puts the header into an envelope of either version: as the first block of its header.
    ///
    /// # Errors
    /// What the text is instead of an envelope.
    pub fn add(&self, envelope: &str, fresh: &Fresh) -> Result<String, String> {
        let place = Place::find(envelope)?;
        let ids = self.signature.as_ref().map(|_| Ids(hex(&fresh.nonce)));
        let header = self.header(&place, fresh, ids.as_ref())?;
        let (before, after) = envelope.split_at_checked(place.at).ok_or("the envelope cannot be cut there")?;
        let after = after.get(place.replaced..).unwrap_or_default();
        let name = &place.header;
        let whole = match place.inside {
            true => format!("{before}{header}{after}"),
            false => format!("{before}<{name}>{header}</{name}>{after}"),
        };
        match self.signature.as_ref().zip(ids) {
            Some((signature, ids)) => signature.sign(&whole, &ids),
            None => Ok(whole),
        }
    }

    fn header(&self, place: &Place, fresh: &Fresh, ids: Option<&Ids>) -> Result<String, String> {
        let created = Timestamp(fresh.now.0.saturating_sub(milliseconds(self.clock_skew)));
        let stamp = self.ttl.map(|ttl| TimestampElement {
            id: ids.map(Ids::timestamp),
            created: created.to_string(),
            expires: Timestamp(fresh.now.0.saturating_add(milliseconds(ttl))).to_string(),
        });
        let (timestamp_first, timestamp_last) = match self.order {
            Order::TimestampFirst => (stamp, None),
            Order::UsernameFirst => (None, stamp),
        };
        let certificate = match self.signature.as_ref().zip(ids) {
            Some((signature, ids)) => Some(signature.token(ids)?),
            None => None,
        };
        let newer = place.namespace == SOAP12;
        let shape = SecurityHeader {
            must_understand: self.must_understand.then(|| "1".to_owned()),
            actor: self.actor.clone().filter(|_| !newer),
            role: self.actor.clone().filter(|_| newer),
            timestamp_first,
            token: self
                .token
                .as_ref()
                .map(|token| Token { id: ids.map(Ids::token), ..token.element(&created.to_string(), &fresh.nonce) }),
            timestamp_last,
            certificate,
        };
        let text = shapes::write(&shape)?;
        let text = text.split_once("?>").map_or(text.as_str(), |(_, element)| element).trim();
        // A value cannot hold this: its quotes are escaped.
        Ok(text.replacen(&format!("=\"{SOAP11}\""), &format!("=\"{}\"", place.namespace), 1))
    }
}

impl UsernameToken {
    fn element(&self, created: &str, nonce: &[u8]) -> Token {
        let password = self.password.reveal();
        let (kind, password) = match self.form {
            PasswordForm::Text => ("PasswordText", password),
            PasswordForm::Digest => ("PasswordDigest", password_digest(nonce, created, &password)),
        };
        let fresh = self.nonce || self.form == PasswordForm::Digest;
        Token {
            id: None,
            username: self.username.reveal(),
            password: TypedText { kind: Some(format!("{PROFILE}#{kind}")), encoding: None, text: password },
            nonce: fresh.then(|| TypedText {
                kind: None,
                encoding: Some(BASE64.to_owned()),
                text: STANDARD.encode(nonce),
            }),
            created: fresh.then(|| created.to_owned()),
        }
    }
}

/// `UsernameToken` Profile 1.1, 3.1: Base64 (SHA-1 (nonce + created + password)).
fn password_digest(nonce: &[u8], created: &str, password: &str) -> String {
    let whole = [nonce, created.as_bytes(), password.as_bytes()].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &whole))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Where the header goes.
struct Place {
    /// The envelope's namespace: SOAP 1.1's or 1.2's.
    namespace: &'static str,
    /// In bytes.
    at: usize,
    /// How many bytes there are replaced: an empty header element.
    replaced: usize,
    /// Whether a header element is open there.
    inside: bool,
    /// The header element's name, with the envelope's prefix.
    header: String,
}

impl Place {
    fn find(envelope: &str) -> Result<Self, String> {
        let mut reader = NsReader::from_str(envelope);
        let mut root: Option<(&'static str, String)> = None;
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
            let soap = match namespace {
                ResolveResult::Bound(bound) if bound.as_ref() == SOAP11 => Some(SOAP11),
                ResolveResult::Bound(bound) if bound.as_ref() == SOAP12 => Some(SOAP12),
                ResolveResult::Bound(_) | ResolveResult::Unbound | ResolveResult::Unknown(_) => None,
            };
            let (tag, is_empty) = match event {
                Event::Start(tag) => (tag, false),
                Event::Empty(tag) => (tag, true),
                Event::Eof => return Err("is no SOAP envelope".to_owned()),
                Event::End(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => continue,
            };
            let name = tag.name().as_ref().to_owned();
            let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let Some((namespace, prefix)) = root.take() else {
                let (prefix, local) =
                    name.split_once(':').map_or(("", name.as_str()), |(prefix, local)| (prefix, local));
                let namespace = soap.filter(|_| local == "Envelope" && !is_empty).ok_or("is no SOAP envelope")?;
                let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}:") };
                root = Some((namespace, prefix));
                continue;
            };
            let header = format!("{prefix}Header");
            // No `<` stands within a tag.
            let start = envelope.get(..end).and_then(|before| before.rfind('<')).ok_or("cannot be cut")?;
            return Ok(match tag.local_name().as_ref() == "Header" && soap == Some(namespace) {
                true if is_empty => Self { namespace, at: start, replaced: end - start, inside: false, header },
                true => Self { namespace, at: end, replaced: 0, inside: true, header },
                false => Self { namespace, at: start, replaced: 0, inside: false, header },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::wsdl::document;

    const FRESH: Fresh = Fresh { now: Timestamp(1_790_000_000_123), nonce: *b"0123456789abcdef" };
    const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";

    fn password() -> Text {
        let mut text = Text::default();
        text.push_secret("${PASSWORD}", SecretString::from(" <p&\"é "));
        text
    }

    fn security() -> Security {
        Security {
            token: Some(UsernameToken {
                username: Text::plain("erp & co"),
                password: password(),
                form: PasswordForm::Text,
                nonce: false,
            }),
            ttl: Some(Duration::from_secs(300)),
            signature: None,
            order: Order::TimestampFirst,
            must_understand: true,
            actor: None,
            clock_skew: Duration::ZERO,
        }
    }

    fn with_token(change: impl Fn(&mut UsernameToken)) -> Security {
        let mut security = security();
        change(security.token.as_mut().unwrap());
        security
    }

    fn envelope(namespace: &str, prefix: &str, inside: &str) -> String {
        let (colon, declared) =
            if prefix.is_empty() { ("", "xmlns".to_owned()) } else { (":", format!("xmlns:{prefix}")) };
        format!(
            "<?xml version=\"1.0\"?>\n<!-- <a> --><{prefix}{colon}Envelope {declared}=\"{namespace}\">\n{inside}\
             <{prefix}{colon}Body><x a=\"&lt;\"/></{prefix}{colon}Body></{prefix}{colon}Envelope>"
        )
    }

    /// Name, attributes and own text of each element below the header.
    fn blocks(text: &str) -> Vec<String> {
        let document = document::parse(text).unwrap();
        let namespaces = [(WSSE, "wsse"), (WSU, "wsu"), (SOAP11, "s11"), (SOAP12, "s12")];
        let named = |namespace: Option<&str>, name: &str| {
            let known = namespaces.iter().find(|(known, _)| Some(*known) == namespace);
            known.map_or_else(|| name.to_owned(), |(_, prefix)| format!("{prefix}:{name}"))
        };
        let header = document.root_element().children().find(|node| node.tag_name().name() == "Header").unwrap();
        let elements = header.descendants().skip(1).filter(roxmltree::Node::is_element);
        elements
            .map(|node| {
                let mut words = vec![named(node.tag_name().namespace(), node.tag_name().name())];
                words.extend(node.attributes().map(|given| {
                    let value = given.value().rsplit('#').next().unwrap();
                    format!("{}={value}", named(given.namespace(), given.name()))
                }));
                words.extend(node.text().map(|text| format!("[{text}]")));
                words.join(" ")
            })
            .collect()
    }

    #[test]
    fn the_digest_is_that_of_an_independent_implementation() {
        // Made with Python's hashlib and base64 over the same bytes.
        for (nonce, created, password, digest) in [
            (&b"0123456789abcdef"[..], "2026-09-21T14:13:20.123Z", "secret", "q8juBbxc2vzIdqVGprnlivRStsM="),
            (b"\x00\xff\x10\x80", "2003-07-16T01:24:32Z", "", "GLJGW96DR9NALBNqAzbycOnGomE="),
            (b"abcdefghijklmnop", "2026-01-01T00:00:00.000Z", " päßwörd&< ", "c8AmXopU6UYBeqAy7dzuOPfMMj0="),
        ] {
            assert_eq!(password_digest(nonce, created, password), digest);
        }
    }

    #[test]
    fn the_header_holds_what_is_wanted_in_the_order_that_is_wanted() {
        let text = security().add(&envelope(SOAP11, "e", ""), &FRESH).unwrap();
        let stamp =
            ["wsu:Timestamp", "wsu:Created [2026-09-21T14:13:20.123Z]", "wsu:Expires [2026-09-21T14:18:20.123Z]"];
        let token = ["wsse:UsernameToken", "wsse:Username [erp & co]", "wsse:Password Type=PasswordText [ <p&\"é ]"];
        let first = ["wsse:Security s11:mustUnderstand=1"];
        assert_eq!(blocks(&text), [&first[..], &stamp, &token].concat());

        let other = Security { order: Order::UsernameFirst, ..security() };
        let text = other.add(&envelope(SOAP11, "e", ""), &FRESH).unwrap();
        assert_eq!(blocks(&text), [&first[..], &token, &stamp].concat());

        let alone = Security { token: None, must_understand: false, actor: Some("urn:a".to_owned()), ..security() };
        let text = alone.add(&envelope(SOAP11, "e", ""), &FRESH).unwrap();
        assert_eq!(blocks(&text), [&["wsse:Security s11:actor=urn:a"][..], &stamp].concat());
    }

    #[test]
    fn a_digest_comes_with_nonce_and_creation_and_text_with_them_when_asked() {
        let token = |security: &Security| {
            let security = Security { ttl: None, must_understand: false, ..security.clone() };
            blocks(&security.add(&envelope(SOAP12, "e", ""), &FRESH).unwrap()).split_off(2)
        };
        let nonce = "wsse:Nonce EncodingType=Base64Binary [MDEyMzQ1Njc4OWFiY2RlZg==]";
        let created = "wsu:Created [2026-09-21T14:13:20.123Z]";
        let user = "wsse:Username [erp & co]";
        let clear = "wsse:Password Type=PasswordText [ <p&\"é ]";
        assert_eq!(token(&security()), [user, clear]);
        assert_eq!(token(&with_token(|token| token.nonce = true)), [user, clear, nonce, created]);
        let digest = with_token(|token| token.form = PasswordForm::Digest);
        assert_eq!(
            token(&digest),
            [user, "wsse:Password Type=PasswordDigest [RbPyyjCnosy0AonANCddat3xrZQ=]", nonce, created]
        );
    }

    #[test]
    fn what_was_created_is_set_back_by_the_skew_and_expires_counts_from_now() {
        let security = Security { clock_skew: Duration::from_secs(60), token: None, ..security() };
        let text = security.add(&envelope(SOAP11, "e", ""), &FRESH).unwrap();
        assert_eq!(
            blocks(&text)[2..],
            ["wsu:Created [2026-09-21T14:12:20.123Z]", "wsu:Expires [2026-09-21T14:18:20.123Z]"]
        );
    }

    #[test]
    fn the_header_finds_its_place_in_any_envelope_and_changes_nothing_else() {
        let security = Security { actor: Some("urn:a".to_owned()), ttl: None, ..security() };
        for namespace in [SOAP11, SOAP12] {
            for prefix in ["soapenv", "", "E"] {
                let p = if prefix.is_empty() { String::new() } else { format!("{prefix}:") };
                for inside in [
                    String::new(),
                    format!("<{p}Header/>"),
                    format!("<{p}Header a='b' />\n"),
                    format!("<{p}Header><w xmlns='urn:w'>1</w></{p}Header>"),
                    "<Header xmlns='urn:not-soap'/>".to_owned(),
                ] {
                    let plain = envelope(namespace, prefix, &inside);
                    let text = security.add(&plain, &FRESH).unwrap();
                    let role = if namespace == SOAP11 {
                        "s11:mustUnderstand=1 s11:actor"
                    } else {
                        "s12:mustUnderstand=1 s12:role"
                    };
                    let found = blocks(&text);
                    assert_eq!(found[0], format!("wsse:Security {role}=urn:a"), "{text}");
                    assert_eq!(found.iter().any(|block| block == "w [1]"), inside.contains("<w"), "{text}");
                    let (before, rest) = text.split_once("<wsse:Security").unwrap();
                    let (_, after) = rest.split_once("</wsse:Security>").unwrap();
                    let body = plain.split_once("<x a=").unwrap().1;
                    assert!(plain.starts_with(&before[..before.rfind('<').unwrap()]), "{text}");
                    assert!(after.ends_with(body), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_envelope_gets_no_header() {
        for text in ["", "<a/>", "<Envelope/>", "{}", "<e:Envelope xmlns:e='urn:other'><e:Body/></e:Envelope>", "<a"] {
            assert!(security().add(text, &FRESH).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_that_cannot_be_written_are_refused_in_words_and_secrets_are_never_shown() {
        assert_eq!(Security { token: None, ttl: None, ..security() }.check(), Err(SecurityError::Empty));
        let wrong = with_token(|token| token.password = Text::plain("a\r\n"));
        assert_eq!(wrong.check(), Err(SecurityError::Character(Part::Password)));
        let wrong = with_token(|token| token.username = Text::plain(" "));
        assert_eq!(wrong.check(), Err(SecurityError::Nobody(Part::Username)));
        let wrong = Security { actor: Some("\u{1}".to_owned()), ..security() };
        assert_eq!(wrong.check(), Err(SecurityError::Character(Part::Actor)));
        assert_eq!(security().check(), Ok(()));
        let shown = format!("{:?}", security());
        assert!(shown.contains("${PASSWORD}") && !shown.contains("<p&"), "{shown}");
    }
}

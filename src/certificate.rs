//! What an X.509 certificate says: whose it is, who issued it, how long it holds, and the hashes that it is known by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::clock::Timestamp;

pub mod strength;

/// Signatures of a certificate whose hash is none of SHA-256 (RFC 8017, RFC 5758).
const SHA384: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3")];
const SHA512: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4")];
/// The subject's common name (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// So long before a certificate expires people are told.
const AHEAD: Duration = Duration::from_secs(30 * DAY_SECONDS);
const DAY_SECONDS: u64 = 86_400;
/// So many names of a certificate are looked at.
const NAMES_MAX: usize = 500;

/// The hash of a server's certificate by which a connection to it is known (`tls-server-end-point`, RFC 5929, 4.1): by that of
/// its signature, and SHA-256 where that is older.
///
/// # Errors
/// When it is no certificate.
pub fn end_point(der: &[u8]) -> Result<Vec<u8>, String> {
    let certificate = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
    let signature = certificate.signature_algorithm.oid;
    let algorithm = match signature {
        signature if SHA384.contains(&signature) => &digest::SHA384,
        signature if SHA512.contains(&signature) => &digest::SHA512,
        _ => &digest::SHA256,
    };
    Ok(digest::digest(algorithm, der).as_ref().to_vec())
}

/// A certificate, as far as it matters who is let in and what is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whose it is (RFC 4514).
    pub subject: String,
    /// Who issued it (RFC 4514).
    pub issuer: String,
    /// Common names and alternative names, each once.
    pub names: Vec<String>,
    /// It does not hold before.
    pub not_before: Timestamp,
    /// It does not hold after.
    pub not_after: Timestamp,
    /// The hash of the whole certificate.
    pub sha256: Pin,
    /// The hash of its public key (`SubjectPublicKeyInfo`), which stays when a certificate is renewed with the same key.
    pub public_key_sha256: Pin,
    #[serde(skip)]
    subject_der: Vec<u8>,
    #[serde(skip)]
    issuer_der: Vec<u8>,
}

impl Certificate {
    /// Reads one of its DER.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
        let body = &parsed.tbs_certificate;
        let encoded = |name: &Name| name.to_der().map_err(|error| error.to_string());
        let key = body.subject_public_key_info.to_der().map_err(|error| error.to_string())?;
        let mut names = common_names(&body.subject);
        if let Some((_, alternatives)) = body.get::<SubjectAltName>().map_err(|error| error.to_string())? {
            names.extend(alternatives.0.iter().filter_map(alternative));
        }
        names.sort();
        names.dedup();
        names.truncate(NAMES_MAX);
        Ok(Self {
            subject: body.subject.to_string(),
            issuer: body.issuer.to_string(),
            names,
            not_before: moment(body.validity.not_before),
            not_after: moment(body.validity.not_after),
            sha256: Pin::of(der),
            public_key_sha256: Pin::of(&key),
            subject_der: encoded(&body.subject)?,
            issuer_der: encoded(&body.issuer)?,
        })
    }

    /// What is to be said when it soon holds no more, or does not now. What it says changes once a day.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> Option<String> {
        let Self { subject, not_after, .. } = self;
        if *not_after < now {
            return Some(format!("the certificate of {subject} expired at {not_after}"));
        }
        let days = days(not_after.since(now)) + 1;
        (*not_after < now.plus(AHEAD))
            .then(|| format!("the certificate of {subject} expires at {not_after}, within {days} days"))
    }

    /// What people must know and do about how long one of ours holds: it expired, or soon will, or does not hold yet.
    #[must_use]
    pub fn term(&self, now: Timestamp) -> Option<String> {
        let Self { subject, not_before, not_after, .. } = self;
        if now < *not_before {
            let then = "until then whoever checks it refuses it; take the one before, or look at this machine's clock";
            return Some(format!("the certificate of {subject} does not hold before {not_before}: {then}"));
        }
        let advice = if *not_after < now {
            "whoever checks it refuses it; renew it now"
        } else {
            "renew it; it is taken without a restart"
        };
        self.expiry(now).map(|expiry| format!("{expiry}: {advice}"))
    }

    /// Whether nobody else vouches for it.
    #[must_use]
    pub fn is_issued_by_itself(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    fn may_be_issued_by(&self, other: &Self) -> bool {
        self.issuer_der == other.subject_der
    }
}

/// Whole days.
#[must_use]
pub fn days(span: Duration) -> u64 {
    span.as_secs() / DAY_SECONDS
}

/// What a sender would stumble over in a chain as it is served; nothing when it is as it should be: the certificate, then
/// each one's issuer, up to the one below the root.
#[must_use]
pub fn faults(chain: &[Certificate]) -> Vec<String> {
    let mut faults = Vec::new();
    for (certificate, next) in chain.iter().zip(chain.iter().skip(1)) {
        if !certificate.may_be_issued_by(next) {
            faults.push(format!(
                "the chain is not in order: after {:?}, which {:?} issued, comes {:?}; put each one's issuer right after it",
                certificate.subject, certificate.issuer, next.subject
            ));
        }
    }
    if let [only] = chain
        && !only.is_issued_by_itself()
    {
        faults.push(format!(
            "the chain lacks the issuer {:?} of {:?}: whoever does not have it by chance cannot check it, and Salesforce says \
             \"PKIX path building failed\"; append the intermediate certificates of your authority",
            only.issuer, only.subject
        ));
    }
    faults
}

fn moment(time: Time) -> Timestamp {
    Timestamp(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
}

fn common_names(name: &Name) -> Vec<String> {
    let attributes = name.0.iter().flat_map(|relative| relative.0.iter());
    attributes.filter(|attribute| attribute.oid == COMMON_NAME).filter_map(|attribute| text(&attribute.value)).collect()
}

fn text(value: &Any) -> Option<String> {
    let is_text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString);
    let text = std::str::from_utf8(value.value()).ok().filter(|_| is_text)?;
    Some(text.to_owned())
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name) => {
            Some(name.as_str().to_owned())
        }
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| address.to_string()),
        GeneralName::DirectoryName(name) => Some(name.to_string()),
        GeneralName::OtherName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)))
}

/// The SHA-256 of a certificate or of its public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, bytes);
        // SHA-256 has 32 bytes.
        Self(digest.as_ref().try_into().unwrap_or_default())
    }

    /// Reads `sha256:` and 64 hexadecimal digits, with or without colons, or the same in Base64.
    ///
    /// # Errors
    /// How it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("{text:?} is no pin: write \"sha256:\" and the SHA-256 of a certificate or of its public key");
        let hash =
            text.trim().strip_prefix("sha256:").or_else(|| text.trim().strip_prefix("sha256/")).ok_or_else(bad)?;
        let digits: Vec<u8> = hash.bytes().filter(|byte| *byte != b':').collect();
        let bytes = match digits.len() {
            64 => unhex(&digits),
            _ => STANDARD.decode(hash).ok(),
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(bad)
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = digits.iter().map(|digit| char::from(*digit).to_digit(16)).collect();
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from((high << 4) | low).ok(),
        _ => None,
    };
    digits?.chunks(2).map(byte).collect()
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Pin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_each_of_its_forms() {
        let pin = Pin::of(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let colons: Vec<&str> = (0..32).map(|at| &hex[at * 2..at * 2 + 2]).collect();
        for text in [
            format!("sha256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", colons.join(":")),
            "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned(),
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned(),
        ] {
            assert_eq!(Pin::parse(&text), Ok(pin), "{text}");
        }
        for text in ["", "sha256:", hex, "sha1:00", "sha256:00", &format!("sha256:{}g", &hex[1..])] {
            assert!(Pin::parse(text).is_err(), "{text}");
        }
        assert_eq!(pin.to_string(), format!("sha256:{hex}"));
    }

    fn one(subject: &str, issuer: &str) -> Certificate {
        Certificate {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            names: Vec::new(),
            not_before: Timestamp(0),
            not_after: Timestamp(0),
            sha256: Pin([0; 32]),
            public_key_sha256: Pin([0; 32]),
            subject_der: subject.as_bytes().to_vec(),
            issuer_der: issuer.as_bytes().to_vec(),
        }
    }

    #[test]
    fn how_long_a_certificate_holds_is_told_a_month_ahead() {
        const DAY: i64 = 86_400_000;
        let certificate =
            Certificate { not_before: Timestamp(DAY), not_after: Timestamp(100 * DAY), ..one("CN=a", "CN=b") };
        for (now, expected) in [
            (0, Some("CN=a does not hold before 1970-01-02")),
            (DAY, None),
            (70 * DAY, None),
            (70 * DAY + 1, Some("CN=a expires at 1970-04-11T00:00:00.000Z, within 30 days")),
            (100 * DAY, Some("CN=a expires at 1970-04-11T00:00:00.000Z, within 1 days")),
            (100 * DAY + 1, Some("CN=a expired at 1970-04-11")),
        ] {
            let told = certificate.term(Timestamp(now));
            assert_eq!(told.is_some(), expected.is_some(), "{now}: {told:?}");
            assert!(
                expected.is_none_or(|expected| told.as_ref().is_some_and(|told| told.contains(expected))),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_chain_is_told_to_be_out_of_order_or_short() {
        let (leaf, middle, root) = (one("leaf", "middle"), one("middle", "root"), one("root", "root"));
        let told =
            |chain: &[&Certificate]| faults(&chain.iter().map(|one| (*one).clone()).collect::<Vec<_>>()).join("\n");
        assert_eq!(told(&[&leaf, &middle]), "");
        assert_eq!(told(&[&leaf, &middle, &root]), "");
        assert_eq!(told(&[&root]), "", "nobody else issued it");
        assert!(told(&[&leaf]).contains("lacks the issuer \"middle\""), "{}", told(&[&leaf]));
        assert!(told(&[&leaf, &root, &middle]).contains("not in order: after \"leaf\""));
        assert!(told(&[&middle, &leaf]).contains("not in order"));
    }
}

//! How hard the key and the signature of a certificate are to break.

use x509_cert::Certificate as Parsed;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// What whoever checks a certificate makes of its key and of how it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strength {
    /// Kind and size of the key, such as `RSA 2048` or `ECDSA P-256`.
    pub key: String,
    /// What is too weak; each names the thing and says why.
    pub weaknesses: Vec<String>,
}

/// What an RSA key must have (CA/Browser Forum Baseline Requirements §6.1.5; Salesforce asks for it too).
const RSA_BITS_MIN: usize = 2_048;
const RSA: [ObjectIdentifier; 2] = [oid("1.2.840.113549.1.1.1"), oid("1.2.840.113549.1.1.10")];
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = oid("1.3.101.112");
const CURVES: [(ObjectIdentifier, &str); 3] =
    [(oid("1.2.840.10045.3.1.7"), "P-256"), (oid("1.3.132.0.34"), "P-384"), (oid("1.3.132.0.35"), "P-521")];
const BROKEN: [(ObjectIdentifier, &str); 5] = [
    (oid("1.2.840.113549.1.1.5"), "SHA-1"),
    (oid("1.2.840.10045.4.1"), "SHA-1"),
    (oid("1.2.840.10040.4.3"), "SHA-1"),
    (oid("1.2.840.113549.1.1.4"), "MD5"),
    (oid("1.2.840.113549.1.1.2"), "MD2"),
];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

impl Strength {
    /// Reads it of a certificate's DER.
    ///
    /// # Errors
    /// What is wrong with the DER.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = Parsed::from_der(der).map_err(|error| error.to_string())?;
        let (key, weak) = key(&parsed.tbs_certificate.subject_public_key_info);
        let signed = BROKEN.iter().find(|(known, _)| *known == parsed.signature_algorithm.oid);
        // Of one that vouches for itself the signature says nothing.
        let is_own = parsed.tbs_certificate.subject == parsed.tbs_certificate.issuer;
        let signed = signed.filter(|_| !is_own).map(|(_, name)| {
            format!("it is signed over a hash by {name}, which can be forged: no client of today takes it")
        });
        Ok(Self { key, weaknesses: weak.into_iter().chain(signed).collect() })
    }
}

/// The key in words, and what is weak about it.
fn key(info: &SubjectPublicKeyInfoOwned) -> (String, Option<String>) {
    let kind = info.algorithm.oid;
    if RSA.contains(&kind) {
        let bits = modulus_bits(info.subject_public_key.raw_bytes());
        let words = bits.map_or_else(|| "RSA".to_owned(), |bits| format!("RSA {bits}"));
        let weak = bits
            .filter(|bits| *bits < RSA_BITS_MIN)
            .map(|bits| format!("its RSA key has {bits} bits, and clients of today want {RSA_BITS_MIN} at least"));
        return (words, weak);
    }
    if kind == EC {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let named = curve.and_then(|curve| CURVES.iter().find(|(known, _)| *known == curve));
        return match (named, curve) {
            (Some((_, name)), _) => (format!("ECDSA {name}"), None),
            (None, Some(curve)) => {
                let weak = format!("its key is on the curve {curve}, which most clients do not know; take P-256");
                (format!("ECDSA {curve}"), Some(weak))
            }
            (None, None) => ("ECDSA".to_owned(), Some("its key names no curve; take P-256".to_owned())),
        };
    }
    if kind == ED25519 {
        let weak = "its key is Ed25519, which public authorities do not certify and many clients do not know; take ECDSA \
                    P-256 or RSA";
        return ("Ed25519".to_owned(), Some(weak.to_owned()));
    }
    (kind.to_string(), Some(format!("its key is of the kind {kind}, which TLS clients of today do not take")))
}

/// RFC 8017 §A.1.1: a sequence of modulus and exponent.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader.sequence(|inner| {
        let modulus = UintRef::decode(inner)?;
        UintRef::decode(inner)?;
        Ok(modulus.as_bytes().to_vec())
    });
    let modulus = modulus.ok()?;
    let zeros = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    Some(modulus.len() * 8 - zeros)
}

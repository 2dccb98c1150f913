//! Signed assertions (RFC 7519, RFC 7523): who asks for a token, signed with RS256 or ES256, as the key has it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::AuthError;
use crate::clock::Timestamp;
use crate::secret::Text;

/// How long an assertion is good: what the strictest of the known servers take.
const SECONDS: i64 = 180;

/// What an assertion says, and the key that signs it.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Signs it.
    pub key: Key,
    /// `iss`.
    pub issuer: Text,
    /// `sub`; none: the claim is left out.
    pub subject: Option<Text>,
    /// `aud`.
    pub audience: Text,
    /// `kid` of the header; none: left out.
    pub key_id: Option<Text>,
}

/// A private key, read once.
#[derive(Clone)]
pub struct Key(Arc<Pair>);

enum Pair {
    /// Its text is not known: nothing is signed.
    Unknown,
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl Key {
    /// Reads a PEM text: PKCS#8, PKCS#1 (RSA) or SEC1 (P-256), not encrypted.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_pem(pem: &str) -> Result<Self, AuthError> {
        let wrong = |reason: &str| AuthError::Key(reason.to_owned());
        if pem.contains("ENCRYPTED") {
            return Err(wrong("it is encrypted; write it without a passphrase into a file that only omgate can read"));
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong("it is no PEM private key"))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(rsa) => RsaKeyPair::from_der(rsa.secret_pkcs1_der()).ok().map(Pair::Rsa),
            PrivateKeyDer::Sec1(sec1) => ecdsa(sec1.secret_sec1_der()),
            PrivateKeyDer::Pkcs8(pkcs8) => {
                let der = pkcs8.secret_pkcs8_der();
                RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa).or_else(|| ecdsa(der))
            }
            _ => None,
        };
        let pair =
            pair.ok_or_else(|| wrong("it is neither RSA of 2048 bits or more nor an elliptic curve P-256 key"))?;
        Ok(Self(Arc::new(pair)))
    }

    /// A key of which only the reference is known, where a configuration is looked at without its secrets.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Arc::new(Pair::Unknown))
    }

    fn algorithm(&self) -> &'static str {
        match *self.0 {
            Pair::Unknown => "none",
            Pair::Rsa(_) => "RS256",
            Pair::Ecdsa(_) => "ES256",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.0 {
            Pair::Unknown => None,
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
        }
    }
}

fn ecdsa(der: &[u8]) -> Option<Pair> {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der));
    pair.ok().map(Pair::Ecdsa)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl Assertion {
    /// Made now, with a number of its own.
    ///
    /// # Errors
    /// When the machine gives no random bytes, or the key does not sign.
    pub(super) fn made(&self, now: Timestamp, id: &str) -> Result<String, String> {
        let now = now.0.div_euclid(1_000);
        let mut header = json!({ "alg": self.key.algorithm(), "typ": "JWT" });
        let mut claims = json!({
            "iss": self.issuer.reveal(),
            "aud": self.audience.reveal(),
            "iat": now,
            "exp": now.saturating_add(SECONDS),
            "jti": id,
        });
        for (part, name, text) in
            [(&mut header, "kid", self.key_id.as_ref()), (&mut claims, "sub", self.subject.as_ref())]
        {
            if let (Some(part), Some(text)) = (part.as_object_mut(), text) {
                part.insert(name.to_owned(), text.reveal().into());
            }
        }
        let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.key.sign(content.as_bytes()).ok_or("the private key of jwt_bearer does not sign")?;
        Ok(format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &Text> {
        [&self.issuer, &self.audience].into_iter().chain(&self.subject).chain(&self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_in_words() {
        for (pem, expected) in [
            ("", "no PEM private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM private key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither RSA"),
        ] {
            let error = Key::from_pem(pem).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

//! Private keys and what is signed with them over SHA-256: RSA (PKCS#1 1.5), or ECDSA with P-256.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{Certificate, Pin};

/// A private key, read once.
#[derive(Clone)]
pub struct Key(Arc<Pair>);

enum Pair {
    /// Its text is not known: nothing is signed.
    Unknown,
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with PKCS#1 1.5 padding (RFC 8017) over SHA-256.
    Rsa,
    /// ECDSA with P-256 over SHA-256: both numbers one after the other, 32 bytes each.
    Ecdsa,
}

/// Why a text is no private key for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key cannot be used: {0}")]
pub struct KeyError(&'static str);

impl Key {
    /// Reads a PEM text: PKCS#8, PKCS#1 (RSA) or SEC1 (P-256), not encrypted.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("ENCRYPTED") {
            return Err(KeyError(
                "it is encrypted; write it without a passphrase into a file that only omgate can read",
            ));
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError("it is no PEM private key"))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(rsa) => RsaKeyPair::from_der(rsa.secret_pkcs1_der()).ok().map(Pair::Rsa),
            PrivateKeyDer::Sec1(sec1) => ecdsa(sec1.secret_sec1_der()),
            PrivateKeyDer::Pkcs8(pkcs8) => {
                let der = pkcs8.secret_pkcs8_der();
                RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa).or_else(|| ecdsa(der))
            }
            _ => None,
        };
        let pair = pair.ok_or(KeyError("it is neither RSA of 2048 bits or more nor an elliptic curve P-256 key"))?;
        Ok(Self(Arc::new(pair)))
    }

    /// A key of which only the reference is known, where a configuration is looked at without its secrets.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Arc::new(Pair::Unknown))
    }

    /// How it signs; none where it is not known.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match *self.0 {
            Pair::Unknown => None,
            Pair::Rsa(_) => Some(Algorithm::Rsa),
            Pair::Ecdsa(_) => Some(Algorithm::Ecdsa),
        }
    }

    /// The signature of a message; none where the key is not known, or the machine gives no random bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
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

    /// The hash of its public key, as certificates have it.
    fn public(&self) -> Option<Pin> {
        let der: PublicKeyX509Der<'_> = match &*self.0 {
            Pair::Unknown => return None,
            Pair::Rsa(pair) => pair.public_key().as_der().ok()?,
            Pair::Ecdsa(pair) => pair.public_key().as_der().ok()?,
        };
        Some(Pin::of(der.as_ref()))
    }
}

fn ecdsa(der: &[u8]) -> Option<Pair> {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der));
    pair.ok().map(Pair::Ecdsa)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.algorithm())
    }
}

/// Who signs: a certificate, and the private key that belongs to it.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Key,
    algorithm: Algorithm,
    der: Vec<u8>,
    certificate: Certificate,
}

/// Why nobody can sign so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The file of the certificate.
    #[error("{0}")]
    Certificate(String),
    /// The certificate is of another key.
    #[error(
        "is not the private key of the certificate of {0}: whoever checks the signature would refuse it; name the key that \
         the certificate was made for"
    )]
    Pair(String),
    /// There is no key.
    #[error("the private key is not known")]
    Unknown,
}

impl Signer {
    /// The first certificate of a PEM file, and its key.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(pem: &[u8], key: Key) -> Result<Self, SignerError> {
        let first = CertificateDer::pem_slice_iter(pem).next();
        let der = match first {
            Some(Ok(der)) => der.to_vec(),
            Some(Err(error)) => {
                return Err(SignerError::Certificate(format!("is no PEM file of certificates: {error}")));
            }
            None => return Err(SignerError::Certificate("has no PEM certificate in it".to_owned())),
        };
        let certificate = Certificate::read(&der)
            .map_err(|reason| SignerError::Certificate(format!("has a certificate that cannot be read: {reason}")))?;
        let algorithm = key.algorithm().ok_or(SignerError::Unknown)?;
        if key.public() != Some(certificate.public_key_sha256) {
            return Err(SignerError::Pair(certificate.subject));
        }
        Ok(Self { key, algorithm, der, certificate })
    }

    /// What its certificate says.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The certificate in DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(message)
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

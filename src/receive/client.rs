//! Whose client certificates are taken: those that are pinned, or those of an authority, with a name. In a TLS handshake, and
//! in a header of a proxy, by the same rules.
//!
//! rustls' own verifier refuses a self-signed certificate that says it is an authority, and one that is for servers only.
//! Salesforce makes both. So what is pinned is looked up by its hash; the handshake still proves who holds its key.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme};

use crate::certificate::{Certificate, Pin};
use crate::clock::Timestamp;
use crate::receive::ClientAuth;
use crate::receive::denial::Denial;
use crate::receive::tls::{self, TlsError};

/// What a configuration says of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether one is asked for.
    pub auth: ClientAuth,
    /// PEM: the authorities whose certificates are taken.
    pub authorities: Option<PathBuf>,
    /// Of those, only certificates with one of these names; none: any.
    pub names: Vec<String>,
    /// Certificates and public keys that are taken whoever issued them.
    pub pins: Vec<Pin>,
}

/// Judges client certificates.
pub struct Clients {
    rules: Rules,
    /// The authorities, to show them.
    pub authorities: Vec<Certificate>,
    chains: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

/// A client certificate that is not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Which kind of reason it is.
    pub denial: Denial,
    /// In words.
    pub reason: String,
    /// It, when it can be read.
    pub certificate: Option<Box<Certificate>>,
}

impl Clients {
    /// Reads what the rules name; none when no certificate is asked for.
    ///
    /// # Errors
    /// The file and the reason.
    pub fn new(rules: &Rules, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Option<Self>, TlsError> {
        if rules.auth == ClientAuth::Off {
            return Ok(None);
        }
        if rules.authorities.is_none() && rules.pins.is_empty() {
            return Err(TlsError::NoClients);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut authorities = Vec::new();
        let mut chains = None;
        let mut hints = Vec::new();
        if let Some(path) = &rules.authorities {
            let failed = |reason: String| TlsError::File { path: path.clone(), reason };
            let mut roots = RootCertStore::empty();
            for der in tls::certificates(path, read)? {
                authorities.push(Certificate::read(&der).map_err(failed)?);
                roots.add(der).map_err(|error| failed(error.to_string()))?;
            }
            // Who is told of authorities may keep back a certificate that no authority issued.
            if rules.pins.is_empty() {
                hints = roots.subjects();
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            chains = Some(builder.build().map_err(|error| failed(error.to_string()))?);
        }
        Ok(Some(Self { rules: rules.clone(), authorities, chains, algorithms, hints }))
    }

    /// Rules that let nobody in.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            rules: Rules { auth: ClientAuth::Required, ..Rules::default() },
            authorities: Vec::new(),
            chains: None,
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            hints: Vec::new(),
        }
    }

    /// Whether nobody is let in without a certificate.
    #[must_use]
    pub fn are_required(&self) -> bool {
        self.rules.auth == ClientAuth::Required
    }

    /// The file of the authorities.
    #[must_use]
    pub fn authorities_file(&self) -> Option<&Path> {
        self.rules.authorities.as_deref()
    }

    /// Whether a certificate is taken. That whoever shows it has its key is for others to know.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Certificate, Refused> {
        let certificate = Certificate::read(leaf).map_err(|error| Refused {
            denial: Denial::CertificateUnreadable,
            reason: format!("the client certificate cannot be read: {error}"),
            certificate: None,
        })?;
        match self.refusal(&certificate, leaf, intermediates, now) {
            None => Ok(certificate),
            Some((denial, reason)) => Err(Refused { denial, reason, certificate: Some(Box::new(certificate)) }),
        }
    }

    fn refusal(
        &self,
        certificate: &Certificate,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Option<(Denial, String)> {
        if now > certificate.not_after {
            let reason = format!("it expired at {}: whoever sends must renew it", certificate.not_after);
            return Some((Denial::CertificateExpired, reason));
        }
        if now < certificate.not_before {
            let reason = format!("it holds from {} on only: is a clock wrong?", certificate.not_before);
            return Some((Denial::CertificateNotYetValid, reason));
        }
        let Rules { names, pins, .. } = &self.rules;
        if pins.contains(&certificate.sha256) || pins.contains(&certificate.public_key_sha256) {
            return None;
        }
        // Pins without names mean those that are pinned and no others.
        let Some(chains) = self.chains.as_ref().filter(|_| pins.is_empty() || !names.is_empty()) else {
            return Some((Denial::CertificatePin, "it is none of client_pins".to_owned()));
        };
        let seconds = u64::try_from(now.0.max(0) / 1_000).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        if let Err(error) = chains.verify_client_cert(leaf, intermediates, now) {
            return Some((Denial::CertificateIssuer, format!("it does not stand by client_ca: {}", said(&error))));
        }
        let is_named = |name: &String| names.iter().any(|taken| taken.eq_ignore_ascii_case(name));
        if !names.is_empty() && !certificate.names.iter().any(is_named) {
            let reason = format!("it has none of client_names; its names are {}", certificate.names.join(", "));
            return Some((Denial::CertificateName, reason));
        }
        None
    }
}

/// What rustls says of a certificate, in words.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls knows more errors than need words of ours")]
fn said(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no authority of it issued it, or an intermediate certificate is missing".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose) => {
            "it is not for clients (extended key usage); pin it to take it all the same".to_owned()
        }
        other => other.to_string(),
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clients({:?})", self.rules)
    }
}

/// [`Clients`] as rustls asks them.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<Clients>);

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.0.are_required()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let now = Timestamp(i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000));
        match self.0.judge(end_entity, intermediates, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refused) => Err(CertificateError::Other(OtherError(Arc::new(refused))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}

//! TLS towards a destination: whose certificates are trusted, which are pinned, and which one we show.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use p12_keystore::KeyStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier as Platform;

use crate::certificate::{Certificate, Pin};
use crate::disk;
use crate::secret::Text;

/// How large a file of certificates or keys may be.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// So many servers are remembered: a destination, its token endpoint, its proxy.
const SEEN_MAX: usize = 16;

/// What a destination's configuration says about TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM: the only authorities trusted; none: the machine's own.
    pub ca: Option<PathBuf>,
    /// Of the server's certificate or its key, one must be among these; none: it is not asked.
    pub pins: Vec<Pin>,
    /// No older version is spoken.
    pub version_min: Version,
    /// Who we are, for a server that asks.
    pub identity: Option<Identity>,
    /// Any certificate is taken: whoever answers may be anybody.
    pub accept_invalid: bool,
    /// What is too old for anything else is spoken too, down to TLS 1.0.
    pub legacy: bool,
}

/// What is dangerous about a connection: the alarm's name, and what it says.
pub type Alarm = (&'static str, &'static str);

/// The names of all such alarms.
pub const ALARMS: [&str; 2] = ["accept_invalid", "legacy_tls"];

impl Tls {
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let says = if self.pins.is_empty() {
            "its tls says accept_invalid: whoever answers there, with any certificate, gets its calls and credentials"
        } else {
            "its tls says accept_invalid: of the certificate there only the pins are checked, not its names, dates and issuer"
        };
        let legacy = "its tls is legacy: TLS 1.0 and ciphers that can be broken are spoken with it";
        let standing = [(self.accept_invalid, ("accept_invalid", says)), (self.legacy, ("legacy_tls", legacy))];
        standing.into_iter().filter(|(stands, _)| *stands).map(|(_, alarm)| alarm).collect()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2 or later.
    #[default]
    Tls12,
    /// 1.3 or later.
    Tls13,
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Two PEM files.
    Pem {
        /// The certificate, then its intermediates.
        certificate: PathBuf,
        /// Its private key, not encrypted.
        key: PathBuf,
    },
    /// A PKCS#12 file.
    Pkcs12 {
        /// The file.
        file: PathBuf,
        /// Of the file and of the key in it.
        password: Text,
    },
}

impl Identity {
    /// The texts that may hold secrets.
    pub(super) fn texts(&self) -> Option<&Text> {
        match self {
            Self::Pem { .. } => None,
            Self::Pkcs12 { password, .. } => Some(password),
        }
    }
}

/// Why TLS cannot be set up: the configuration's fault.
#[derive(Debug)]
pub(super) enum TlsError {
    /// The file with the authorities.
    Authorities(PathBuf, String),
    /// The client's certificate, or anything else.
    Other(String),
}

/// What connections are made with; and whether the machine has no authorities, so that every handshake will fail.
pub(super) fn client(tls: &Tls, seen: Seen) -> Result<(ClientConfig, bool), TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (verifier, without_authorities) = verifier(tls, seen, &provider)?;
    let versions: &[_] = match tls.version_min {
        Version::Tls12 => &[&TLS13, &TLS12],
        Version::Tls13 => &[&TLS13],
    };
    let other = |error: rustls::Error| TlsError::Other(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = shown(identity).map_err(TlsError::Other)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                TlsError::Other(format!("the client certificate and its key cannot be used together: {error}"))
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, without_authorities))
}

/// Who judges the certificate of a server; and whether the machine has no authorities.
pub(super) fn verifier(
    tls: &Tls,
    seen: Seen,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ServerCertVerifier>, bool), TlsError> {
    let trust = trust(tls, provider)?;
    let without_authorities = matches!(trust, Trust::Nobody);
    let verifier = Verifier { trust, pins: tls.pins.clone(), seen, provider: Arc::clone(provider) };
    Ok((Arc::new(verifier) as _, without_authorities))
}

fn trust(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Trust, TlsError> {
    if tls.accept_invalid {
        return Ok(Trust::Anybody);
    }
    let Some(path) = &tls.ca else {
        // A machine without any certificate authorities can still make plain calls.
        let platform = Platform::new(Arc::clone(provider));
        return Ok(platform.map_or(Trust::Nobody, |platform| Trust::Authorities(Arc::new(platform))));
    };
    let wrong = |reason: String| TlsError::Authorities(path.clone(), reason);
    let mut roots = RootCertStore::empty();
    for authority in certificates(path).map_err(wrong)? {
        roots.add(authority).map_err(|error| wrong(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map(|verifier| Trust::Authorities(verifier as _)).map_err(|error| wrong(error.to_string()))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = disk::read(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| format!("it is no PEM file of certificates: {error}"))?;
    if found.is_empty() { Err("there is no PEM certificate in it".to_owned()) } else { Ok(found) }
}

pub(super) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificates that we show, ours first, and the private key.
pub(super) fn shown(identity: &Identity) -> Result<Shown, String> {
    match identity {
        Identity::Pem { certificate, key } => {
            let named = |path: &Path, reason: String| format!("{}: {reason}", path.display());
            let chain = certificates(certificate).map_err(|reason| named(certificate, reason))?;
            let pem = disk::read(key, FILE_BYTES_MAX).map_err(|error| named(key, error.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| named(key, "there is no PEM private key in it that is not encrypted".to_owned()))?;
            Ok((chain, key))
        }
        Identity::Pkcs12 { file, password } => pkcs12(file, &password.reveal()),
    }
}

fn pkcs12(file: &Path, password: &str) -> Result<Shown, String> {
    let named = |reason: &str| format!("{}: {reason}", file.display());
    let bytes = disk::read(file, FILE_BYTES_MAX).map_err(|error| named(&error.to_string()))?;
    let store = KeyStore::from_pkcs12(&bytes, password)
        .map_err(|error| named(&format!("it cannot be read as PKCS#12 with this password: {error}")))?;
    let (_, chain) = store
        .private_key_chain()
        .ok_or_else(|| named("there is no private key in it that says which certificate is its own (localKeyID)"))?;
    let certificates: Vec<_> =
        chain.chain().iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec())).collect();
    if certificates.is_empty() {
        return Err(named("there is no certificate in it that belongs to its private key"));
    }
    let key = PrivatePkcs8KeyDer::from(chain.key().to_vec());
    Ok((certificates, PrivateKeyDer::Pkcs8(key)))
}

/// Whose certificates are taken.
#[derive(Debug)]
enum Trust {
    Authorities(Arc<dyn ServerCertVerifier>),
    /// There are no authorities.
    Nobody,
    /// `accept_invalid`.
    Anybody,
}

/// The usual check of a server's certificate, and then its pins.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    pins: Vec<Pin>,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

/// Of the server's certificate or its key, one must be among the pins. Only its own counts: what else it sends proves nothing.
pub(super) fn check_pins(pins: &[Pin], certificate: &[u8]) -> Result<(), String> {
    if pins.is_empty() {
        return Ok(());
    }
    let Certificate { sha256, public_key_sha256, .. } = Certificate::read(certificate)
        .map_err(|reason| format!("the server's certificate cannot be read, and so not be pinned: {reason}"))?;
    if pins.contains(&sha256) || pins.contains(&public_key_sha256) {
        return Ok(());
    }
    Err(format!(
        "the server's certificate is not among the pins; it is {sha256}, its public key is {public_key_sha256}"
    ))
}

/// The certificates that servers showed last and that were taken, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Seen {
    pub(super) fn note(&self, name: String, certificate: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SEEN_MAX || seen.contains_key(&name) {
            seen.insert(name, certificate.to_vec());
        }
    }

    fn each(&self) -> Vec<(String, Certificate)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(name, der): (&String, &Vec<u8>)| Some((name.clone(), Certificate::read(der).ok()?));
        seen.iter().filter_map(read).collect()
    }
}

/// Certificates on whose dates a destination depends.
#[derive(Clone, Debug)]
pub struct Dated {
    /// The key of the configuration that names them; none: a server shows them.
    pub key: Option<&'static str>,
    /// Their file, or the name of the server.
    pub place: String,
    /// The one that matters first.
    pub certificates: Vec<Certificate>,
}

/// What is known of the certificates that count here: ours, and those that servers showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) ours: Option<Dated>,
    pub(super) seen: Seen,
}

impl Known {
    pub(super) fn of(tls: &Tls) -> Self {
        Self { ours: tls.identity.as_ref().and_then(ours), seen: Seen::default() }
    }

    pub(super) fn each(&self) -> Vec<Dated> {
        let seen = self.seen.each().into_iter();
        let theirs = seen.map(|(place, certificate)| Dated { key: None, place, certificates: vec![certificate] });
        self.ours.iter().cloned().chain(theirs).collect()
    }
}

fn ours(identity: &Identity) -> Option<Dated> {
    let (key, file) = match identity {
        Identity::Pem { certificate, .. } => ("tls.client_certificate", certificate),
        Identity::Pkcs12 { file, .. } => ("tls.pkcs12", file),
    };
    // What is wrong with it is told elsewhere.
    let (chain, _) = shown(identity).ok()?;
    let certificates = chain.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    Some(Dated { key: Some(key), place: file.to_string_lossy().into_owned(), certificates })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Authorities(authorities) => {
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
            }
            Trust::Nobody => return Err(CertificateError::UnknownIssuer.into()),
            Trust::Anybody => {}
        }
        check_pins(&self.pins, end_entity).map_err(rustls::Error::General)?;
        self.seen.note(server_name.to_str().into_owned(), end_entity);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

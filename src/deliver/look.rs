//! A look at where calls go, without a call: addresses, handshakes, tokens, and what we show of ourselves.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::auth::Ready;
use super::auth::oauth::TokenError;
use super::tls::{self, Seen, Tls, TlsError, Version};
use super::{Target, place};
use crate::certificate::Certificate;
use crate::clock::Timestamp;
use crate::secret::Text;

/// What a server showed of itself.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The version that was agreed upon; none when the handshake did not end.
    pub version: Option<&'static str>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The DER of its certificates in the order served; empty when it showed none.
    pub chain: Vec<Vec<u8>>,
    /// Why a call would not take its certificate.
    pub refused: Option<String>,
    /// Whether it asked for a certificate of ours.
    pub asks: bool,
    /// How many authorities it named when it asked.
    pub hints: usize,
    /// Why the handshake did not end.
    pub failure: Option<String>,
}

/// Connects, shakes hands in no older and no newer version than `only` if that is given, and hangs up. Whatever certificate
/// comes is looked at; nothing is sent.
///
/// # Errors
/// What kept a handshake from being begun, in words.
pub async fn handshake(
    address: SocketAddr,
    name: &str,
    how: &Tls,
    only: Option<Version>,
    patience: Duration,
) -> Result<Handshake, String> {
    let noted: Noted = Arc::default();
    let config = config(how, only, &noted).map_err(|error| match error {
        TlsError::Authorities(path, reason) => format!("{}: {reason}", path.display()),
        TlsError::Other(reason) => reason,
    })?;
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let server = ServerName::try_from(bare.to_owned()).map_err(|_| format!("{name:?} is no name of a server"))?;
    let shaken = tokio::time::timeout(patience, async {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
        Ok::<_, String>(TlsConnector::from(Arc::new(config)).connect(server, stream).await)
    });
    let shaken = shaken.await.map_err(|_| format!("no whole handshake within {} s", patience.as_secs_f64()))??;
    let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shaken {
        Ok(stream) => {
            let (_, connection) = stream.get_ref();
            seen.version = connection.protocol_version().map(words);
            seen.cipher = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        }
        Err(error) => seen.failure = Some(error.to_string()),
    }
    Ok(seen)
}

fn words(version: ProtocolVersion) -> &'static str {
    if version == ProtocolVersion::TLSv1_3 { "1.3" } else { "1.2" }
}

type Noted = Arc<Mutex<Handshake>>;

fn config(how: &Tls, only: Option<Version>, noted: &Noted) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (verifier, _) = tls::verifier(how, Seen::default(), &provider)?;
    let versions: &[_] = match (only, how.version_min) {
        (Some(Version::Tls12), _) => &[&TLS12],
        (Some(Version::Tls13), _) | (None, Version::Tls13) => &[&TLS13],
        (None, Version::Tls12) => &[&TLS13, &TLS12],
    };
    let other = |error: rustls::Error| TlsError::Other(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Watching { verifier, noted: Arc::clone(noted) }));
    let mut config = match &how.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = tls::shown(identity).map_err(TlsError::Other)?;
            builder.with_client_auth_cert(chain, key).map_err(other)?
        }
    };
    let shows = Arc::clone(&config.client_auth_cert_resolver);
    config.client_auth_cert_resolver = Arc::new(Asked { shows, noted: Arc::clone(noted) });
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Notes what is shown and what a call would make of it, and takes it.
#[derive(Debug)]
struct Watching {
    verifier: Arc<dyn ServerCertVerifier>,
    noted: Noted,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        noted.refused = verdict.err().map(|error| error.to_string());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Notes whether our certificate is asked for, and shows it if there is one.
#[derive(Debug)]
struct Asked {
    shows: Arc<dyn ResolvesClientCert>,
    noted: Noted,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.asks = true;
        noted.hints = hints.len();
        drop(noted);
        self.shows.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.shows.has_certs()
    }
}

/// The DER of the certificates in a PEM file, in its order.
///
/// # Errors
/// What is wrong with the file.
pub fn chain_in(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    Ok(tls::certificates(path)?.iter().map(|der| der.to_vec()).collect())
}

/// Whether a certificate is for a name or an address, by its alternative names alone, as clients judge it.
///
/// # Errors
/// Why it is not, in words.
pub fn is_for(der: &[u8], name: &str) -> Result<(), String> {
    let der = CertificateDer::from(der);
    let parsed = ParsedCertificate::try_from(&der).map_err(|error| error.to_string())?;
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let server = ServerName::try_from(bare).map_err(|_| format!("{name:?} is no name of a server"))?;
    verify_server_name(&parsed, &server).map_err(|error| error.to_string())
}

/// What is wrong with the signatures of a chain as it is served: that each certificate was signed by the next one is proven,
/// not read. Dates are for others to look at.
#[must_use]
pub fn unproven(chain: &[Vec<u8>], now: Timestamp) -> Option<String> {
    let (leaf, rest) = chain.split_first()?;
    let (last, between) = rest.split_last()?;
    let leaf = CertificateDer::from(leaf.as_slice());
    let parsed = match ParsedCertificate::try_from(&leaf) {
        Ok(parsed) => parsed,
        Err(error) => return Some(error.to_string()),
    };
    let mut roots = RootCertStore::empty();
    if let Err(error) = roots.add(CertificateDer::from(last.clone())) {
        return Some(format!("the last certificate of the chain cannot be read: {error}"));
    }
    let between: Vec<CertificateDer<'_>> = between.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let seconds = u64::try_from(now.0.max(0) / 1_000).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let error = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &between, now, algorithms).err()?;
    let is_about_dates = matches!(
        &error,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    );
    (!is_about_dates).then(|| error.to_string())
}

impl Target {
    /// The addresses that a call to a URL may connect to: what the name service says, as far as calls may go there. Through a
    /// proxy that resolves names itself, those of the proxy.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn addresses(&self, url: &Url) -> Result<Vec<IpAddr>, String> {
        self.gate.admit(url).map_err(|refusal| refusal.to_string())?;
        let host = self.blueprint.proxy.as_ref().unwrap_or(url).host_str().unwrap_or_default();
        let found = self.gate.addresses(host).await.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        addresses.dedup();
        Ok(addresses)
    }

    /// The proxy that calls go through: its URL, and how it may be shown.
    #[must_use]
    pub fn proxy(&self) -> Option<(&Url, String)> {
        let proxy = self.blueprint.proxy.as_ref()?;
        Some((proxy, place(&Text::plain(proxy.as_str()))))
    }

    /// What its configuration says of TLS.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.blueprint.settings
    }

    /// Whether it sends credentials with each request.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        !matches!(self.credentials, Ready::None)
    }

    /// Fetches a token as a call would; none when it needs none.
    ///
    /// # Errors
    /// Why there is no token, in words.
    pub async fn fetched_token(&self) -> Option<Result<(), String>> {
        let Ready::Token(oauth) = &self.credentials else { return None };
        Some(match oauth.token(self, None).await {
            Ok(_) => Ok(()),
            Err(TokenError::NotNow(reason) | TokenError::Refused(reason)) => Err(reason),
        })
    }

    /// The certificate that its envelopes are signed by, and its DER.
    #[must_use]
    pub fn signs_by(&self) -> Option<(&Certificate, &[u8])> {
        let signer = self.security.as_ref()?.signature.as_ref()?.signer.as_ref()?;
        Some((signer.certificate(), signer.der()))
    }

    /// The same connection for questions that are no envelopes: nothing is put into their bodies.
    #[must_use]
    pub fn for_questions(&self) -> Self {
        Self { security: None, ..self.clone() }
    }
}

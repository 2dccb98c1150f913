//! TLS of the public listener, by rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::receive::{ClientAuth, Tls};

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("reading {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that cannot be used.
    #[error("using {certificate} with its private key: {reason}")]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// Why.
        reason: String,
    },
    /// Client certificates are asked for and no authority is named.
    #[error("client_auth needs client_ca: the PEM file of the authority that issues Salesforce's certificate")]
    NoClientCa,
}

/// The server side of TLS 1.2 and 1.3 as configured.
///
/// # Errors
/// The file and the reason.
pub fn server(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.private_key)
        .map_err(|error| TlsError::File { path: tls.private_key.clone(), reason: error.to_string() })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair =
        |error: rustls::Error| TlsError::Pair { certificate: tls.certificate.clone(), reason: error.to_string() };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match client_verifier(tls)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error: rustls::pki_types::pem::Error| failed(error.to_string()))?;
    if chain.is_empty() { Err(failed("there is no certificate in it".to_owned())) } else { Ok(chain) }
}

fn client_verifier(tls: &Tls) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if tls.client_auth == ClientAuth::Off {
        return Ok(None);
    }
    let path = tls.client_ca.as_ref().ok_or(TlsError::NoClientCa)?;
    let failed = |reason: String| TlsError::File { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if tls.client_auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(Some).map_err(|error| failed(error.to_string()))
}

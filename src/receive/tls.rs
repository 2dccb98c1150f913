//! TLS of the public listener, by rustls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use crate::certificate::Certificate;
use crate::receive::Tls;
use crate::receive::client::{Clients, Verifier};

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
    /// Client certificates are asked for and nothing says whose.
    #[error("client_auth needs client_ca or client_pins: whose certificates are accepted?")]
    NoClients,
}

/// What the files of `[server.tls]` held when they were read, ready to be served.
#[derive(Debug)]
pub struct Served {
    /// The file of the chain.
    pub file: PathBuf,
    /// For each connection that begins.
    pub config: Arc<ServerConfig>,
    /// The chain in the order of the file, the certificate itself first.
    pub chain: Vec<Certificate>,
    /// Whose client certificates are taken; none when none is asked for.
    pub clients: Option<Arc<Clients>>,
}

/// The server side of TLS 1.2 and 1.3 as configured, with what the files hold now.
///
/// # Errors
/// The file and the reason.
pub fn serve(tls: &Tls, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Served, TlsError> {
    let chain = certificates(&tls.certificate, read)?;
    let failed = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
    let key = read(&tls.private_key).map_err(|error| failed(&tls.private_key, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| failed(&tls.private_key, error.to_string()))?;
    let about: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::read(der)).collect();
    let about = about.map_err(|error| failed(&tls.certificate, error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair =
        |error: rustls::Error| TlsError::Pair { certificate: tls.certificate.clone(), reason: error.to_string() };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(pair)?;
    let clients = Clients::new(&tls.clients, read)?.map(Arc::new);
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(Verifier(Arc::clone(clients)))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if clients.is_some() {
        // A session that goes on shows no certificate again: it might have expired meanwhile.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Served { file: tls.certificate.clone(), config: Arc::new(config), chain: about, clients })
}

pub(super) fn certificates(
    path: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let bytes = read(path).map_err(|error| failed(error.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, rustls::pki_types::pem::Error>>()
        .map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() { Err(failed("there is no certificate in it".to_owned())) } else { Ok(chain) }
}

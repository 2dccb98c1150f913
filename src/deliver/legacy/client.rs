//! Calls over OpenSSL, which still speaks what rustls never did: TLS 1.0 and 1.1, ciphers without forward secrecy, signatures
//! by SHA-1, keys of 1024 bits, and servers that know nothing of safe renegotiation. Which ciphers it has is up to how it
//! was built.
//!
//! What is left of safety is that the certificate is checked. Each call has a connection of its own: there is no pool
//! that could hand one to a call that wants better.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::{Request as Outgoing, Uri};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use reqwest::header::{HOST, HeaderValue, USER_AGENT};
use reqwest::{Body, Request, Response, Url};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::certificate::Pin;
use crate::deliver::Failure;
use crate::deliver::egress::Gate;
use crate::deliver::tls::{self, Seen, Tls, TlsError};

/// All that OpenSSL has, less what encrypts nothing and what proves nothing.
const CIPHERS: &str = "ALL:COMPLEMENTOFDEFAULT:!aNULL:!eNULL:@SECLEVEL=0";
/// `SSL_OP_LEGACY_SERVER_CONNECT`: servers without RFC 5746.
const LEGACY_SERVER_CONNECT: u64 = 1 << 2;

/// Calls to servers that are too old for the usual client.
#[derive(Clone)]
pub(in crate::deliver) struct Legacy {
    connector: SslConnector,
    accepts_anybody: bool,
    pins: Arc<[Pin]>,
    seen: Seen,
    gate: Gate,
    connect_timeout: Duration,
}

impl Legacy {
    pub(in crate::deliver) fn new(
        tls: &Tls,
        seen: Seen,
        gate: &Gate,
        connect_timeout: Duration,
    ) -> Result<Self, TlsError> {
        let mut builder = speaking().map_err(|error| TlsError::Other(format!("setting up OpenSSL: {error}")))?;
        if let Some(path) = &tls.ca {
            let wrong = |reason: String| TlsError::Authorities(path.clone(), reason);
            let authorities = tls::certificates(path).map_err(wrong)?;
            trust(&mut builder, authorities.iter().map(AsRef::as_ref)).map_err(|error| wrong(error.to_string()))?;
        }
        if let Some(identity) = &tls.identity {
            let (chain, key) = tls::shown(identity).map_err(TlsError::Other)?;
            show(&mut builder, chain.iter().map(AsRef::as_ref), &key).map_err(|error| {
                TlsError::Other(format!("the client certificate and its key cannot be used together: {error}"))
            })?;
        }
        if tls.accept_invalid {
            builder.set_verify(SslVerifyMode::NONE);
        }
        Ok(Self {
            connector: builder.build(),
            accepts_anybody: tls.accept_invalid,
            pins: tls.pins.clone().into(),
            seen,
            gate: gate.clone(),
            connect_timeout,
        })
    }

    /// Makes the call.
    pub(in crate::deliver) async fn execute(&self, request: Request) -> Result<Response, Failure> {
        let url = request.url().clone();
        let not_made = |reason: String| Failure::NotMade(format!("no connection to {}: {reason}", origin(&url)));
        let connected = tokio::time::timeout(self.connect_timeout, self.connect(&url)).await;
        let stream = match connected {
            Ok(stream) => stream.map_err(not_made)?,
            Err(_) => return Err(not_made(format!("it took longer than {} s", self.connect_timeout.as_secs_f64()))),
        };
        let request = addressed(request).map_err(Failure::NotMade)?;
        // Some of their age tell headers by how they are usually written.
        let begun = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = begun.map_err(|error| not_made(words(&error)))?;
        // It ends with its one answer, or when nobody waits for that any more.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| Failure::Broken(words(&error)))?;
        Ok(Response::from(answer.map(Body::wrap)))
    }

    async fn connect(&self, url: &Url) -> Result<SslStream<TcpStream>, String> {
        if url.scheme() != "https" {
            return Err("its tls is \"legacy\", and the address is no https one".to_owned());
        }
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(443);
        let mut addresses = self.gate.addresses(host).await.map_err(|error| error.to_string())?;
        addresses.iter_mut().for_each(|address: &mut SocketAddr| address.set_port(port));
        let tcp = TcpStream::connect(&*addresses).await.map_err(|error| error.to_string())?;
        let _ = tcp.set_nodelay(true);
        let mut stream = self.secured(host, tcp).map_err(|error| error.to_string())?;
        std::pin::Pin::new(&mut stream).connect().await.map_err(|error| unshaken(&stream, &error))?;
        let shown = stream.ssl().peer_certificate().and_then(|certificate| certificate.to_der().ok());
        let shown = shown.ok_or("the server showed no certificate")?;
        tls::check_pins(&self.pins, &shown)?;
        self.seen.note(host.to_owned(), &shown);
        Ok(stream)
    }

    fn secured(&self, host: &str, tcp: TcpStream) -> Result<SslStream<TcpStream>, ErrorStack> {
        let configured = self.connector.configure()?.verify_hostname(!self.accepts_anybody);
        SslStream::new(configured.into_ssl(host)?, tcp)
    }
}

/// The weakest that is still TLS. What OpenSSL's own configuration file demands does not count.
fn speaking() -> Result<SslConnectorBuilder, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1))?;
    builder.set_security_level(0);
    builder.set_cipher_list(CIPHERS)?;
    builder.set_options(SslOptions::from_bits_retain(LEGACY_SERVER_CONNECT));
    // An authority is whoever is named as one, as with the usual client.
    builder.verify_param_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    Ok(builder)
}

fn trust<'a>(builder: &mut SslConnectorBuilder, authorities: impl Iterator<Item = &'a [u8]>) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(X509::from_der(authority)?)?;
    }
    builder.set_cert_store(store.build());
    Ok(())
}

fn show<'a>(
    builder: &mut SslConnectorBuilder,
    chain: impl Iterator<Item = &'a [u8]>,
    key: &PrivateKeyDer<'_>,
) -> Result<(), ErrorStack> {
    for (position, certificate) in chain.enumerate() {
        let certificate = X509::from_der(certificate)?;
        if position == 0 {
            builder.set_certificate(&certificate)?;
        } else {
            builder.add_extra_chain_cert(certificate)?;
        }
    }
    let key = PKey::private_key_from_der(key.secret_der())?;
    builder.set_private_key(&key)?;
    builder.check_private_key()
}

/// The request as it goes to the server itself.
fn addressed(request: Request) -> Result<Outgoing<Body>, String> {
    let url = request.url().clone();
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request: Outgoing<Body> = request.try_into().map_err(|error: reqwest::Error| error.to_string())?;
    *request.uri_mut() = target.parse::<Uri>().map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(host).map_err(|error| error.to_string())?);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("omgate/", env!("CARGO_PKG_VERSION"))));
    Ok(request)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Why a handshake failed: what was wrong with the certificate, if that was it.
fn unshaken(stream: &SslStream<TcpStream>, error: &openssl::ssl::Error) -> String {
    let verified = stream.ssl().verify_result();
    if verified == openssl::x509::X509VerifyResult::OK {
        format!("TLS: {error}")
    } else {
        format!("the server's certificate: {verified}")
    }
}

/// What an error says, and what is behind it.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    if let Some(inner) = std::error::Error::source(error) {
        words = format!("{words}: {inner}");
    }
    words
}

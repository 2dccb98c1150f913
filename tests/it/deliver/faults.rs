//! A server that does wrong on purpose: what it sends and when it hangs up is given byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail where it stands, in its own functions too"
)]

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One step of what the server does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one whole request, head and body by Content-Length, and keeps it.
    Read,
    /// Reads the head of a request only.
    ReadHead,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends one byte at a time, this far apart.
    Drip(Vec<u8>, Duration),
    /// Says nothing more, and keeps the connection open.
    Hang,
    /// Closes with a reset in place of an end.
    Reset,
}

/// A text to send.
pub(crate) fn say(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// Does the same steps on every connection, then closes it.
pub(crate) struct FaultServer {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl FaultServer {
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (kept, counted) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let (steps, kept) = (steps.clone(), Arc::clone(&kept));
                tokio::spawn(async move { walk(stream, steps, &kept).await });
            }
        });
        Self { address, requests, connections }
    }

    /// The requests that were read, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/orders", self.address)
    }
}

/// Ends early when the client does.
async fn walk(mut stream: TcpStream, steps: Vec<Step>, kept: &Mutex<Vec<String>>) -> Option<()> {
    for step in steps {
        match step {
            Step::Read => {
                let request = read(&mut stream, true).await?;
                kept.lock().unwrap().push(request);
            }
            Step::ReadHead => drop(read(&mut stream, false).await?),
            Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            Step::Drip(bytes, apart) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(apart).await;
                }
            }
            Step::Hang => std::future::pending().await,
            Step::Reset => {
                stream.set_zero_linger().ok()?;
                return None;
            }
        }
    }
    // An orderly end: what was sent arrives before the close.
    stream.shutdown().await.ok()?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.ok()? > 0 {}
    Some(())
}

/// Reads a head and, if wanted, the body that its Content-Length announces; none at an early end.
async fn read(stream: &mut TcpStream, with_body: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        bytes.push(stream.read_u8().await.ok()?);
        if bytes.ends_with(b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes).into_owned();
        }
    };
    if !with_body {
        return Some(head);
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// Whether a TLS server asks who its clients are.
pub(crate) enum Client {
    /// No.
    Ignored,
    /// Only this certificate is let in, which is its own authority.
    Required(PathBuf),
}

/// A TLS server on a thread of its own, with a certificate for `localhost` and 127.0.0.1 that no public authority signed.
/// It answers each request with `204 No Content`.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    pub(crate) fn start(versions: &[&'static rustls::SupportedProtocolVersion], client: Client) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls");
        Self::showing((&folder.join("server.pem"), &folder.join("server-key.pem")), versions, client)
    }

    /// One with another certificate and key.
    pub(crate) fn showing(
        (certificate, key): (&Path, &Path),
        versions: &[&'static rustls::SupportedProtocolVersion],
        client: Client,
    ) -> Self {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = match client {
            Client::Ignored => builder.with_no_client_auth(),
            Client::Required(path) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = std::io::BufReader::new(rustls::StreamOwned::new(connection, stream));
                // A client that refuses the certificate ends the handshake here.
                drop(answer_over_tls(&mut stream, &kept));
            }
        });
        Self { port, heads }
    }

    /// The heads of the requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer_over_tls(
    stream: &mut std::io::BufReader<rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        head.push_str(&line);
    }
    heads.lock().unwrap().push(head);
    stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()
}

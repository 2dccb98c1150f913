//! Connections, before they speak HTTP: what a proxy says first, then the TLS handshake, by the certificate that is in force
//! when the connection begins.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use rustls::{CertificateError, OtherError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Certificate;
use crate::receive::client::Refused;
use crate::receive::denial::{Denial, Denied};
use crate::receive::proxy::{self, Proxy};
use crate::receive::tls::Served;
use crate::receive::{Edge, configure};

/// What connections are begun by.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// TLS; none: plain HTTP.
    pub tls: Option<Arc<Served>>,
    /// Who is believed to speak for others.
    pub proxy: Option<Arc<Proxy>>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The machine that connected.
    pub peer: IpAddr,
    /// The machine that it stands for by the PROXY protocol, or itself.
    pub address: IpAddr,
    /// The client certificate of the handshake.
    pub certificate: Option<Arc<Certificate>>,
}

/// A connection that speaks HTTP.
struct Connection {
    stream: Stream,
    caller: Caller,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What serves the connections of the public listener, for one worker. `ending` makes what resolves when the listener stops.
pub fn service<E: Future<Output = ()> + 'static>(
    edge: Arc<Edge>,
    header_timeout: Duration,
    ending: impl Fn() -> E + 'static,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let app = {
        let edge = Arc::clone(&edge);
        App::new().configure(move |config| configure(config, edge))
    };
    let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(ending)
        .client_request_timeout(header_timeout)
        .client_disconnect_timeout(Duration::from_secs(1))
        .on_connect_ext(|connection: &Connection, extensions| {
            extensions.insert(connection.caller.clone());
        })
        .finish(map_config(app, |()| AppConfig::default()));
    let begin = move |socket: TcpStream| {
        let edge = Arc::clone(&edge);
        async move {
            let connection = begin(&edge, socket, header_timeout).await.ok_or(())?;
            let address = std::net::SocketAddr::new(connection.caller.address, 0);
            Ok((connection, Protocol::Http1, Some(address)))
        }
    };
    fn_service(begin).and_then(http.map_err(|_| ()))
}

/// A connection up to where HTTP begins; none when it was turned away.
async fn begin(edge: &Edge, socket: TcpStream, patience: Duration) -> Option<Connection> {
    let peer = socket.peer_addr().ok()?.ip().to_canonical();
    let standing = edge.standing();
    let denied = |denial, reason: String, certificate| Denied {
        denial,
        source: None,
        sender: peer.to_string(),
        reason,
        certificate,
    };
    match tokio::time::timeout(patience, open(&standing, socket, peer)).await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(refused)) => edge.deny(&denied(refused.denial, refused.reason, refused.certificate)),
        Err(_) => {
            let reason = format!("it began nothing that HTTP could follow within {} s", patience.as_secs());
            edge.deny(&denied(Denial::Handshake, reason, None));
        }
    }
    None
}

async fn open(standing: &Standing, mut socket: TcpStream, peer: IpAddr) -> Result<Connection, Refused> {
    let refused = |denial, reason| Refused { denial, reason, certificate: None };
    let mut address = peer;
    if let Some(proxy) = standing.proxy.as_ref().filter(|proxy| proxy.addresses.contain(peer))
        && let Some(protocol) = proxy.protocol
    {
        let said = proxy::preamble(&mut socket, protocol).await.map_err(|reason| refused(Denial::Proxy, reason))?;
        address = said.map_or(peer, |said| said.ip().to_canonical());
    }
    let Some(tls) = &standing.tls else {
        let caller = Caller { peer, address, certificate: None };
        return Ok(Connection { stream: Stream::Plain(socket), caller });
    };
    let stream = TlsAcceptor::from(Arc::clone(&tls.config)).accept(socket).await.map_err(|error| why(&error))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.and_then(|leaf| Certificate::read(leaf).ok()).map(Arc::new);
    let caller = Caller { peer, address, certificate };
    Ok(Connection { stream: Stream::Tls(Box::new(stream)), caller })
}

/// Why a handshake failed: what was said of the certificate, where that was it.
fn why(error: &io::Error) -> Refused {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) = tls
        && let Some(refused) = other.downcast_ref::<Refused>()
    {
        return refused.clone();
    }
    let is_bare = matches!(tls, Some(rustls::Error::NoCertificatesPresented));
    let denial = if is_bare { Denial::NoCertificate } else { Denial::Handshake };
    Refused { denial, reason: format!("the TLS handshake failed: {error}"), certificate: None }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

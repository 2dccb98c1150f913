//! The edge to destinations: [`Call`] → [`Exchange`].
//!
//! Whether a request left is not guessed from error kinds: the body is handed over by a stream that notes when the
//! connection asks for it. Until then no whole request can have reached anybody; from then on it counts as sent.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Proxy, Request, Url};
use secrecy::{ExposeSecret as _, SecretString};

use crate::call::Call;
use crate::clock::{SharedClock, SystemClock};
use crate::crash;
use crate::deliver::auth::{Added, Auth, AuthError, Outgoing, Ready};
use crate::deliver::egress::{Egress, Gate, Names};
use crate::deliver::exchange::{Asked, ask};
use crate::deliver::legacy::Legacy;
use crate::deliver::tls::{Alarm, Dated, Identity, Known, Tls, TlsError};
use crate::outcome::{Exchange, Response};
use crate::secret::{Mask, Text};
use crate::soap::security::{Fresh, NONCE_BYTES, Security, SecurityError};

pub mod auth;
pub mod classify;
pub mod collector;
pub mod egress;
mod exchange;
pub mod keep;
pub mod legacy;
pub mod look;
pub mod notice;
pub mod oidc;
mod pinned;
pub mod rules;
pub mod tls;

/// An answer's body is read up to this many bytes unless the destination says otherwise.
pub const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// How a proxy is spoken to. With `socks5` names are resolved here, with the others by the proxy.
pub const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// A kept connection is closed after this long without use: shorter than the keep-alive of common servers (5 s and
/// more), so that a request seldom meets a connection that the other side is just closing.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Unused connections kept for each host: as many as a system may make calls at once. With fewer, every burst of calls would
/// open connections that the end of the burst closes.
const IDLE_CONNECTIONS_MAX: usize = 1_000;

/// What tells of the span that calls (W3C Trace Context).
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that belong to the connection, not to the call: set here or not at all.
const OURS: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    header::TE,
    header::UPGRADE,
];

/// What a destination's configuration says about its connection.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The destination's name, for messages.
    pub name: String,
    /// Its credentials.
    pub auth: Option<Auth>,
    /// Its credentials within SOAP envelopes; with SOAP only.
    pub security: Option<Security>,
    /// For name, connection and TLS.
    pub connect_timeout: Duration,
    /// Of an answer's body after decompression, in bytes; see [`RESPONSE_BYTES_MAX`].
    pub response_bytes_max: usize,
    /// Whom it trusts, and as whom we come.
    pub tls: Tls,
    /// `scheme://[user:password@]host:port` of a forward proxy, one of [`PROXY_SCHEMES`]; none: direct, whatever the
    /// environment says.
    pub proxy: Option<Text>,
    /// Where its calls may go.
    pub egress: Egress,
    /// Who knows the addresses of names.
    pub names: Names,
}

/// Why a destination's connection cannot be set up: the configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The file with the authorities.
    #[error("reading the certificate authorities of destination {name} from {path}: {reason}")]
    Authorities {
        /// The destination.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy's address.
    #[error(
        "the proxy of destination {name}, {proxy}, is not a usable address; write http://host:port, or https, socks5 or socks5h"
    )]
    Proxy {
        /// The destination.
        name: String,
        /// As configured, secrets as references.
        proxy: String,
    },
    /// The client certificate.
    #[error("the TLS of destination {name}: {reason}")]
    Tls {
        /// The destination.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials.
    #[error("the credentials of destination {name}: {reason}")]
    Auth {
        /// The destination.
        name: String,
        /// What is wrong with them.
        reason: AuthError,
    },
    /// The WS-Security header.
    #[error("the security of destination {name}: {reason}")]
    Security {
        /// The destination.
        name: String,
        /// What is wrong with it.
        reason: SecurityError,
    },
    /// Anything else.
    #[error("setting up the connection of destination {name}: {reason}")]
    Client {
        /// The destination.
        name: String,
        /// In words.
        reason: String,
    },
}

/// A destination's connection: client, credentials, bounds. Clones share their connections.
#[derive(Clone)]
pub struct Target {
    client: Client,
    /// In the client's place.
    legacy: Option<Legacy>,
    known: Known,
    blueprint: Arc<Blueprint>,
    credentials: Ready,
    security: Option<Security>,
    freshness: Freshness,
    response_bytes_max: usize,
    mask: Mask,
    gate: Gate,
    alarms: Vec<Alarm>,
    /// The machine has no certificate authorities: why every HTTPS call will fail.
    without_authorities: bool,
}

/// Where the moments and nonces of WS-Security headers come from.
#[derive(Clone)]
struct Freshness {
    clock: SharedClock,
    nonces: Nonces,
}

/// Where nonces come from: random bytes, in tests known ones. None when the machine has none to give.
pub type Nonces = Arc<dyn Fn() -> Option<[u8; NONCE_BYTES]> + Send + Sync>;

fn random_nonce() -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).ok()?;
    Some(nonce)
}

/// Random, for what must not come twice.
fn random_hex(nonces: &Nonces) -> Result<String, String> {
    let nonce = nonces().ok_or("the machine gives no random bytes for a nonce")?;
    Ok(nonce.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("response_bytes_max", &self.response_bytes_max).finish_non_exhaustive()
    }
}

impl Target {
    /// Sets up the connection; nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: TargetConfig) -> Result<Self, BuildError> {
        let credentials = match &config.auth {
            Some(auth) => auth.ready().map_err(|reason| BuildError::Auth { name: config.name.clone(), reason })?,
            None => Ready::None,
        };
        if let Some(security) = &config.security {
            security.check().map_err(|reason| BuildError::Security { name: config.name.clone(), reason })?;
        }
        let proxy = proxy(&config)?;
        let gate = Gate::new(config.egress.clone(), proxy.clone(), config.names.clone());
        let known = Known::of(&config.tls);
        let (blueprint, without_authorities) = Blueprint::new(&config, proxy, gate.clone(), &known)?;
        let client = blueprint.builder().and_then(ClientBuilder::build);
        let client = client.map_err(|error| BuildError::Client { name: config.name.clone(), reason: chain(&error) })?;
        let legacy = legacy(&config, &gate, &known)?;
        let identity = config.tls.identity.as_ref().and_then(Identity::texts);
        let within = config.security.iter().flat_map(Security::texts);
        let texts = config.auth.iter().flat_map(Auth::texts).chain(&config.proxy).chain(identity).chain(within);
        Ok(Self {
            client,
            legacy,
            known,
            blueprint: Arc::new(blueprint),
            credentials,
            mask: mask_of(texts),
            security: config.security,
            freshness: Freshness { clock: SystemClock::shared(), nonces: Arc::new(random_nonce) },
            response_bytes_max: config.response_bytes_max,
            gate,
            alarms: config.tls.alarms(),
            without_authorities,
        })
    }

    /// Of an answer's body after decompression, in bytes.
    #[must_use]
    pub fn response_bytes_max(&self) -> usize {
        self.response_bytes_max
    }

    /// The certificates that its calls depend on: those that we show and sign with, and those that servers showed last.
    #[must_use]
    pub fn certificates(&self) -> Vec<Dated> {
        let signature = self.security.as_ref().and_then(|security| security.signature.as_ref());
        let signs = signature.and_then(|signature| signature.signer.as_ref()).map(|signer| {
            let certificate = signer.certificate().clone();
            let place = format!("signing certificate {}", certificate.subject);
            Dated { key: Some("security.signature.certificate"), place, certificates: vec![certificate] }
        });
        signs.into_iter().chain(self.known.each()).collect()
    }

    /// What about its connection is an alarm for as long as it is so.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// What of its envelopes is signed, in words.
    #[must_use]
    pub fn signs(&self) -> Option<String> {
        Some(self.security.as_ref()?.signature.as_ref()?.words())
    }

    /// The same connection with another source of moments and nonces, for tests.
    #[must_use]
    pub fn with_freshness(self, clock: SharedClock, nonces: Nonces) -> Self {
        Self { freshness: Freshness { clock, nonces }, ..self }
    }

    /// The same connection, which hides these secrets too in what it says.
    fn hiding<'t>(self, texts: impl IntoIterator<Item = &'t Text>) -> Self {
        Self { mask: self.mask.with(&mask_of(texts)), ..self }
    }

    /// The body as it goes out: with the WS-Security header, which is made anew for each attempt. One that was used
    /// before, or is too old, would be refused.
    fn body(&self, call: &Call) -> Result<Bytes, String> {
        let Some(security) = &self.security else { return Ok(call.body.clone()) };
        let nonce = (self.freshness.nonces)().ok_or("the machine gives no random bytes for a nonce")?;
        let envelope = std::str::from_utf8(&call.body).map_err(|_| "the body is not UTF-8 text")?;
        let fresh = Fresh { now: self.freshness.clock.now(), nonce };
        let secured = security
            .add(envelope, &fresh)
            .map_err(|reason| format!("the body {reason}: no WS-Security header can be put into it"))?;
        Ok(Bytes::from(secured))
    }
}

/// What carries calls to their targets: the network, or in tests a simulated one.
pub trait Transport: Send + Sync {
    /// Makes the call; see [`send`].
    fn send<'a>(&'a self, target: &'a Target, call: &'a Call) -> BoxFuture<'a, Exchange>;
}

/// HTTP over the machine's network.
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl Transport for Http {
    fn send<'a>(&'a self, target: &'a Target, call: &'a Call) -> BoxFuture<'a, Exchange> {
        Box::pin(send(target, call))
    }
}

/// Makes the call. Never fails: what went wrong is part of the exchange. Never takes longer than the call's timeout.
pub async fn send(target: &Target, call: &Call) -> Exchange {
    let left = Departure::default();
    let crash = left.clone();
    let exchange = async {
        tokio::select! {
            exchange = exchange::exchange(target, call, &left) => exchange,
            () = crash.kill_point() => Err(Failure::Words("the process was to die here".to_owned())),
        }
    };
    let failure = match tokio::time::timeout(call.timeout, exchange).await {
        Ok(Ok(response)) => return Exchange::Answered(response),
        Ok(Err(failure)) => failure,
        Err(_) if left.asks_for_credentials.load(Ordering::SeqCst) => {
            let reason = format!("no token within the {} that the call may take", seconds(call.timeout));
            Failure::NoCredentials { reason, is_refused: false }
        }
        Err(_) => Failure::Timeout(call.timeout),
    };
    explain(target, call, &failure, left.happened())
}

fn wrong_tls(config: &TargetConfig, error: TlsError) -> BuildError {
    let name = config.name.clone();
    match error {
        TlsError::Authorities(path, reason) => BuildError::Authorities { name, path, reason },
        TlsError::Other(reason) => BuildError::Tls { name, reason },
    }
}

fn legacy(config: &TargetConfig, gate: &Gate, known: &Known) -> Result<Option<Legacy>, BuildError> {
    if !config.tls.legacy {
        return Ok(None);
    }
    if config.proxy.is_some() {
        let reason = "legacy goes through no proxy; leave one of them out".to_owned();
        return Err(BuildError::Tls { name: config.name.clone(), reason });
    }
    if matches!(config.auth, Some(Auth::Ntlm(_))) {
        let reason = "NTLM needs a connection that stays, and legacy makes one for each request".to_owned();
        return Err(BuildError::Tls { name: config.name.clone(), reason });
    }
    let legacy = Legacy::new(&config.tls, known.seen.clone(), gate, config.connect_timeout);
    legacy.map(Some).map_err(|error| wrong_tls(config, error))
}

/// What clients are made by.
struct Blueprint {
    connect_timeout: Duration,
    /// As configured.
    settings: Tls,
    tls: rustls::ClientConfig,
    proxy: Option<Url>,
    gate: Gate,
}

impl Blueprint {
    /// With it whether the machine has no authorities.
    fn new(config: &TargetConfig, proxy: Option<Url>, gate: Gate, known: &Known) -> Result<(Self, bool), BuildError> {
        let (tls, without_authorities) =
            tls::client(&config.tls, known.seen.clone()).map_err(|error| wrong_tls(config, error))?;
        // A proxy that no client takes is told as such.
        proxy.as_ref().map_or(Ok(()), |proxy| Proxy::all(proxy.clone()).map(drop)).map_err(|_| wrong_proxy(config))?;
        let (connect_timeout, settings) = (config.connect_timeout, config.tls.clone());
        Ok((Self { connect_timeout, settings, tls, proxy, gate }, without_authorities))
    }

    fn builder(&self) -> reqwest::Result<ClientBuilder> {
        let builder = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .gzip(true)
            .user_agent(concat!("omgate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Arc::new(self.gate.clone()));
        match &self.proxy {
            Some(proxy) => Ok(builder.proxy(Proxy::all(proxy.clone())?)),
            None => Ok(builder),
        }
    }

    /// A client that makes one connection, and sends all over it. It tells the server's certificate.
    fn pinned(&self) -> Result<Client, String> {
        let builder = self.builder().map_err(|error| chain(&error))?.tls_info(true);
        builder.connector_layer(pinned::Once::default()).build().map_err(|error| chain(&error))
    }
}

fn proxy(config: &TargetConfig) -> Result<Option<Url>, BuildError> {
    let Some(proxy) = &config.proxy else { return Ok(None) };
    proxy_url(proxy).map(Some).ok_or_else(|| wrong_proxy(config))
}

/// The address of a proxy, where it is one.
#[must_use]
pub fn proxy_url(proxy: &Text) -> Option<Url> {
    let url = Url::parse(proxy.reveal().trim()).ok()?;
    (PROXY_SCHEMES.contains(&url.scheme()) && url.has_host()).then_some(url)
}

fn wrong_proxy(config: &TargetConfig) -> BuildError {
    let proxy = config.proxy.as_ref().map(Text::masked).unwrap_or_default();
    BuildError::Proxy { name: config.name.clone(), proxy }
}

/// Hosts stand in small letters in what is said of them.
fn mask_of<'a>(texts: impl IntoIterator<Item = &'a Text>) -> Mask {
    let secrets = texts.into_iter().flat_map(Text::secrets);
    Mask::new(secrets.flat_map(|(reference, value)| {
        let small = SecretString::from(value.expose_secret().to_lowercase());
        [(reference.to_owned(), value.clone()), (reference.to_owned(), small)]
    }))
}

/// The request, made anew for each time that it is sent.
fn request(
    target: &Target,
    call: &Call,
    left: &Departure,
    adds: &(dyn Fn(&Outgoing<'_>) -> Result<Added, String> + Send + Sync),
) -> Result<Request, String> {
    let method =
        Method::from_bytes(call.method.as_bytes()).map_err(|_| format!("{:?} is not an HTTP method", call.method))?;
    let url = Url::parse(&call.url.reveal()).map_err(|error| format!("the URL {} is not valid: {error}", call.url))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("the URL {} is not an http or https address", call.url));
    }
    target.gate.admit(&url).map_err(|refusal| format!("no connection to {}: {refusal}", place(&call.url)))?;
    let body = target.body(call)?;
    let added = adds(&Outgoing { method: &method, url: &url, id: &call.id, body: &body })?;
    let mut request = Request::new(method, url);
    *request.headers_mut() = headers(call, body.len(), added)?;
    *request.body_mut() = Some(left.body(body));
    Ok(request)
}

fn headers(call: &Call, body_bytes: usize, added: Added) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(call.headers.len() + added.len() + 3);
    for (name, value) in &call.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a header name"))?;
        let mut revealed = HeaderValue::from_bytes(value.reveal().as_bytes())
            .map_err(|_| format!("the value of header {name} has a line break or a control character in it"))?;
        revealed.set_sensitive(!value.is_plain());
        if !OURS.contains(&header) {
            headers.append(header, revealed);
        }
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
    // One that a configuration sets itself is left alone.
    if let Some(value) = call.trace.as_ref().and_then(|trace| HeaderValue::try_from(trace).ok()) {
        headers.entry(TRACE_PARENT).or_insert(value);
    }
    for (name, value) in added {
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Why there is no whole answer.
enum Failure {
    Timeout(Duration),
    Request(reqwest::Error),
    Body(u16, reqwest::Error),
    /// The connection of the legacy client broke.
    #[cfg(feature = "legacy-tls")]
    Broken(String),
    Words(String),
    /// There was no request.
    NotMade(String),
    /// There was none because whoever issues the credentials for it refuses us, or has none now.
    NoCredentials {
        reason: String,
        is_refused: bool,
    },
}

async fn read(target: &Target, client: &Client, request: Request, body_bytes_max: usize) -> Result<Response, Failure> {
    let answer = match &target.legacy {
        None => client.execute(request).await.map_err(Failure::Request)?,
        Some(legacy) => legacy.execute(request).await?,
    };
    whole(answer, body_bytes_max).await
}

async fn whole(mut answer: reqwest::Response, body_bytes_max: usize) -> Result<Response, Failure> {
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let mut body = BytesMut::new();
    let mut cut = false;
    while let Some(chunk) = answer.chunk().await.map_err(|error| Failure::Body(status, error))? {
        let room = body_bytes_max.saturating_sub(body.len());
        if chunk.len() > room {
            body.extend_from_slice(&chunk.slice(..room));
            cut = true;
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body: body.freeze(), cut })
}

/// Notes whether the request may have left. Where it is made anew, because an answer only asked for other credentials, the
/// last one counts: those before were surely not taken.
#[derive(Clone, Default)]
struct Departure {
    left: Arc<ArcSwap<AtomicBool>>,
    /// It waits for whoever issues the credentials for it.
    asks_for_credentials: Arc<AtomicBool>,
}

impl Departure {
    fn happened(&self) -> bool {
        self.left.load().load(Ordering::SeqCst)
    }

    /// What was sent so far was refused unseen.
    fn took_back(&self) {
        self.left.store(Arc::default());
    }

    /// Asks for credentials: when the call's time is over meanwhile, that is what it lacked.
    async fn credentials<T>(&self, asking: impl Future<Output = T>) -> T {
        self.asks_for_credentials.store(true, Ordering::SeqCst);
        let issued = asking.await;
        self.asks_for_credentials.store(false, Ordering::SeqCst);
        issued
    }

    /// The body, which notes when the connection takes it. A request without a body gives no sign of leaving: it counts as
    /// sent once it was handed over.
    fn body(&self, body: Bytes) -> reqwest::Body {
        let left = Arc::new(AtomicBool::new(body.is_empty()));
        self.left.store(Arc::clone(&left));
        reqwest::Body::wrap_stream(futures_util::stream::once(async move {
            left.store(true, Ordering::SeqCst);
            Ok::<_, io::Error>(body)
        }))
    }

    /// Never ends, unless a crash test wants the process to die between request and answer.
    async fn kill_point(&self) {
        if !crash::is_armed("after-send") {
            return std::future::pending().await;
        }
        while !self.happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Taken by the connection is not yet written to it.
        tokio::time::sleep(Duration::from_millis(5)).await;
        crash::point("after-send");
        std::future::pending().await
    }
}

fn explain(target: &Target, call: &Call, failure: &Failure, left: bool) -> Exchange {
    let whereto = place(&call.url);
    let (reason, surely_not_sent) = match failure {
        Failure::Timeout(after) if left => {
            (format!("no whole answer from {whereto} within {}", seconds(*after)), false)
        }
        Failure::Timeout(after) => (format!("no connection to {whereto} within {}", seconds(*after)), true),
        Failure::Request(error) => request_failed(target, error, &whereto, left),
        #[cfg(feature = "legacy-tls")]
        Failure::Broken(because) => broken(because, &whereto, left),
        Failure::Body(status, error) => {
            (format!("{whereto} answered {status}, but its body was cut or damaged: {}", chain(error)), false)
        }
        Failure::Words(words) => (words.clone(), false),
        Failure::NotMade(reason) | Failure::NoCredentials { reason, .. } => (reason.clone(), true),
    };
    let reason = target
        .mask
        .apply(&mask_of([&call.url].into_iter().chain(call.headers.iter().map(|(_, value)| value))).apply(&reason));
    if let Failure::NoCredentials { is_refused, .. } = failure {
        Exchange::NoCredentials { reason, is_refused: *is_refused }
    } else if surely_not_sent {
        Exchange::NotSent { reason }
    } else {
        Exchange::NoAnswer { reason }
    }
}

fn request_failed(target: &Target, error: &reqwest::Error, whereto: &str, left: bool) -> (String, bool) {
    let because = chain(error);
    if error.is_connect() || error.is_builder() || error.is_dns() {
        let hint = if target.without_authorities && because.contains("certificate") {
            "; this machine has no certificate authorities installed: install them or name a file with `ca`"
        } else {
            ""
        };
        return (format!("no connection to {whereto}: {because}{hint}"), true);
    }
    broken(&because, whereto, left)
}

fn broken(because: &str, whereto: &str, left: bool) -> (String, bool) {
    if left {
        (format!("{whereto} gave no usable answer: {because}"), false)
    } else {
        (format!("the connection to {whereto} broke before the request left: {because}"), true)
    }
}

/// Scheme, host and port: no user, and neither path nor query, which may hold a record's values.
fn place(url: &Text) -> String {
    let masked = url.masked();
    match masked.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => "the destination".to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// What the innermost errors say, without the URL, the outermost first.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        source = inner.source();
        // The connector's own label says nothing that the sentence around it does not say.
        if text.starts_with("client error (") && source.is_some() {
            continue;
        }
        // Most layers repeat what is below them.
        if !words.iter().any(|known| known.contains(&text)) {
            words.retain(|known| !text.contains(known.as_str()));
            words.push(text);
        }
    }
    if words.is_empty() { kind(error).to_owned() } else { words.join(": ") }
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it took too long"
    } else if error.is_builder() {
        "the request cannot be made"
    } else if error.is_decode() || error.is_body() {
        "the body cannot be read"
    } else {
        "the exchange failed"
    }
}

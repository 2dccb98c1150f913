//! The edge to Salesforce: address, identity, size, method, content type. Bytes in, answer out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time, digest};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::clock::SharedClock;
use crate::envelope::{ActionId, OrganizationId, RecordTypes};
use crate::receive::answer::{Answer, Cause};
use crate::receive::denial::{Denial, Denied};
use crate::receive::front::{Caller, Standing};
use crate::receive::network::Networks;
use crate::receive::tls::Served;
use crate::receive::unpack::{Packing, Stop, Unpacked};
use crate::secret::{Piece, Text};

pub mod answer;
pub mod client;
pub mod denial;
pub mod front;
pub mod guard;
pub mod network;
pub mod proxy;
pub mod tls;
mod unpack;

/// A POST as it came, whole and within its bounds.
#[derive(Clone, Debug)]
pub struct Post {
    /// The source's name.
    pub source: String,
    /// The decompressed body.
    pub body: Bytes,
    /// The charset of the Content-Type, if it names one.
    pub charset: Option<String>,
    /// The sender's address.
    pub sender: String,
}

/// A request to a path that no source has. The path itself is not told: it may be a source's, mistyped, and those are
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Whether it was a POST, as Salesforce makes.
    pub is_post: bool,
    /// The sender's address.
    pub sender: String,
    /// The source whose path begins most like this one, if any does.
    pub near: Option<Near>,
}

/// How near a path came to that of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The source's name.
    pub source: String,
    /// So many characters are the same, from the first.
    pub characters: usize,
}

/// What becomes of POSTs: the edge knows no more of it.
pub trait Intake: Send + Sync {
    /// Takes a whole POST and says what Salesforce gets.
    fn take(&self, post: Post) -> BoxFuture<'_, Answer>;
    /// Hears of a POST that the edge itself refused, with the part of the body that was read and the answer.
    fn refused(&self, post: Post, answer: &Answer) -> BoxFuture<'_, ()>;
    /// Hears of a request to a path that no source has.
    fn strayed(&self, stray: &Stray);
    /// Hears of a POST that was nacked unread: the bodies under way hold all the memory that they may.
    fn crowded_out(&self, source: &str);
    /// Hears of somebody who was turned away before a body was read.
    fn denied(&self, _denied: &Denied) {}
    /// Hears that the answer's bytes are on their way.
    fn answered(&self) {}
}

/// Everything the public listener's handlers share.
pub struct Edge {
    serving: ArcSwap<Serving>,
    standing: ArcSwap<Standing>,
    clock: SharedClock,
    intake: Arc<dyn Intake>,
    room: Room,
}

/// What is served: each request goes by what it met.
struct Serving {
    /// By their paths.
    sources: HashMap<String, Arc<Source>>,
    /// Those whose paths are secret, by the hash of the path: how long it takes to find one tells nothing of it.
    secret: Vec<(digest::Digest, Arc<Source>)>,
    limits: Limits,
}

impl Serving {
    fn new(sources: Vec<Arc<Source>>, limits: Limits) -> Self {
        let (plain, secret): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.path.is_plain());
        Self {
            sources: plain.into_iter().map(|source| (source.path.reveal(), source)).collect(),
            secret: secret.into_iter().map(|source| (hash_of(&source.path.reveal()), source)).collect(),
            limits,
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<Source>> {
        if let Some(source) = self.sources.get(path) {
            return Some(source);
        }
        let hash = hash_of(path);
        // All are looked at.
        self.secret.iter().fold(None, |found, (known, source)| {
            let is_it = constant_time::verify_slices_are_equal(known.as_ref(), hash.as_ref()).is_ok();
            if is_it { Some(source) } else { found }
        })
    }

    fn near(&self, path: &str) -> Option<Near> {
        let alike = |source: &Arc<Source>| {
            let open = open_part(&source.path);
            let same = path.chars().zip(open.chars()).take_while(|(one, other)| one == other);
            Near { source: source.name.clone(), characters: same.count() }
        };
        // All paths begin with a slash.
        let all = self.sources.values().chain(self.secret.iter().map(|(_, source)| source));
        let nearest = all.map(alike).max_by_key(|near| near.characters);
        nearest.filter(|near| near.characters > 1)
    }
}

fn hash_of(path: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, path.as_bytes())
}

/// A path up to where it is secret.
fn open_part(path: &Text) -> String {
    let open = path.pieces().map_while(|piece| match piece {
        Piece::Plain(text) => Some(text),
        Piece::Secret(..) => None,
    });
    open.collect()
}

impl Edge {
    /// An edge that serves these sources' paths and nothing else, on connections that begin as `standing` says.
    #[must_use]
    pub fn new(
        sources: Vec<Arc<Source>>,
        limits: Limits,
        standing: Standing,
        clock: SharedClock,
        intake: Arc<dyn Intake>,
    ) -> Self {
        let room = Room::new(limits.bodies_bytes_max);
        let serving = ArcSwap::from_pointee(Serving::new(sources, limits));
        Self { serving, standing: ArcSwap::from_pointee(standing), clock, intake, room }
    }

    /// What connections begin by.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// From now on connections begin by this; those that are open go on. Whether there is TLS at all stays as it was.
    pub fn take(&self, standing: Standing) {
        let tls = match self.standing().tls.clone() {
            Some(before) => Some(standing.tls.unwrap_or(before)),
            None => None,
        };
        self.standing.store(Arc::new(Standing { tls, ..standing }));
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.standing.load().tls.is_some() { "https" } else { "http" }
    }

    /// Tells of somebody who was turned away.
    fn deny(&self, denied: &Denied) {
        self.intake.denied(denied);
    }

    /// From now on serves these; requests under way go on as they began. How many connections there may be, and how long
    /// their headers may take, was settled when the port was bound.
    pub fn adopt(&self, sources: Vec<Arc<Source>>, limits: Limits) {
        self.room.bytes_max.store(limits.bodies_bytes_max, Ordering::Relaxed);
        self.serving.store(Arc::new(Serving::new(sources, limits)));
    }
}

/// Registers the handler of the public listener.
pub fn configure(config: &mut web::ServiceConfig, edge: Arc<Edge>) {
    config.app_data(web::Data::from(edge)).default_service(web::to(handle));
}

async fn handle(request: HttpRequest, payload: web::Payload, edge: web::Data<Edge>) -> HttpResponse {
    let (serving, standing) = (edge.serving.load_full(), edge.standing());
    let payload = payload.into_inner();
    let caller = caller_of(&request);
    let sender = proxy::sender(standing.proxy.as_deref(), &caller, request.headers());
    let Some(source) = serving.find(request.path()) else {
        let is_post = *request.method() == Method::POST;
        let near = serving.near(request.path());
        edge.intake.strayed(&Stray { is_post, sender: sender.to_string(), near });
        return answer::unread(answer::not_found(), payload);
    };
    if let Err(denied) = admit(&request, &edge, &standing, source, (&caller, sender)) {
        edge.deny(&denied);
        return answer::unread(answer::forbidden(), payload);
    }
    match *request.method() {
        Method::POST => {
            let response = post(&request, payload, &edge, source, (&serving.limits, sender)).await;
            edge.intake.answered();
            response
        }
        Method::GET | Method::HEAD => answer::unread(look(&request, &edge, source), payload),
        _ => answer::unread(answer::method_not_allowed(), payload),
    }
}

/// Whether somebody may speak to a source: by the address, and by the certificate that a proxy hands on.
fn admit(
    request: &HttpRequest,
    edge: &Edge,
    standing: &Standing,
    source: &Source,
    (caller, sender): (&Caller, IpAddr),
) -> Result<(), Box<Denied>> {
    let denied = |denial, reason, certificate| {
        let (source, sender) = (Some(source.name.clone()), sender.to_string());
        Box::new(Denied { denial, source, sender, reason, certificate })
    };
    if let Some(proxy) = &standing.proxy {
        proxy::identify(proxy, caller, request.headers(), edge.clock.now())
            .map_err(|refused| denied(refused.denial, refused.reason, refused.certificate))?;
    }
    if source.addresses.as_ref().is_some_and(|addresses| !addresses.contain(sender)) {
        let reason = format!("{sender} is none of the source's addresses (addresses, addresses_file)");
        return Err(denied(Denial::Address, reason, None));
    }
    Ok(())
}

/// GET: the WSDL when it is exposed and asked for, else a page for people.
fn look(request: &HttpRequest, edge: &Edge, source: &Source) -> HttpResponse {
    let asks_for_wsdl =
        request.query_string().split('&').any(|part| part.eq_ignore_ascii_case("wsdl") || part.starts_with("wsdl="));
    if !asks_for_wsdl {
        return answer::page(&source.name);
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    match (&source.wsdl, host) {
        (Some(wsdl), Some(host)) => {
            answer::wsdl(with_address(wsdl, &format!("{}://{host}{}", edge.scheme(), source.path.reveal())))
        }
        (Some(_), None) | (None, _) => answer::not_found(),
    }
}

/// Whether a Host header is a plain host and port: it goes into a document.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
}

/// The WSDL with every `location` of its service's addresses replaced by ours.
fn with_address(wsdl: &str, address: &str) -> String {
    let mut out = String::with_capacity(wsdl.len() + address.len());
    for (position, tag) in wsdl.split('<').enumerate() {
        if position > 0 {
            out.push('<');
        }
        let name = tag.split([' ', '\t', '\r', '\n', '>', '/']).next().unwrap_or_default();
        if name.rsplit(':').next() == Some("address") {
            out.push_str(&with_location(tag, address));
        } else {
            out.push_str(tag);
        }
    }
    out
}

fn with_location(tag: &str, address: &str) -> String {
    let replaced = tag.find("location=").and_then(|at| {
        let (before, attribute) = tag.split_at(at);
        let value = attribute.strip_prefix("location=")?;
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (_, after) = value.get(1..)?.split_once(quote)?;
        Some(format!("{before}location={quote}{address}{quote}{after}"))
    });
    replaced.unwrap_or_else(|| tag.to_owned())
}

fn caller_of(request: &HttpRequest) -> Caller {
    let known = request.conn_data::<Caller>().cloned();
    known.unwrap_or_else(|| {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        Caller { peer, address: peer, certificate: None }
    })
}

async fn post(
    request: &HttpRequest,
    mut payload: Payload,
    edge: &Edge,
    source: &Source,
    (limits, sender): (&Limits, IpAddr),
) -> HttpResponse {
    let charset = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(charset_of)
        .map(str::to_owned);
    let sender = sender.to_string();
    let post = |body| Post { source: source.name.clone(), body, charset, sender };
    // Given back when the POST is answered: until then its body is in memory.
    let mut place = edge.room.place();
    match read(request, &mut payload, limits, &mut place).await {
        Ok(body) => edge.intake.take(post(body)).await.to_response(),
        Err(Unread::Refused { answer, read }) => {
            edge.intake.refused(post(read), &answer).await;
            answer::unread(answer.to_response(), payload)
        }
        Err(Unread::NoRoom) => {
            edge.intake.crowded_out(&source.name);
            answer::unread(Answer::NotNow.to_response(), payload)
        }
    }
}

/// A body that could not be read to its end.
enum Unread {
    /// It never will be.
    Refused { answer: Answer, read: Bytes },
    /// Too many others are being read.
    NoRoom,
}

impl From<Answer> for Unread {
    fn from(answer: Answer) -> Self {
        Self::Refused { answer, read: Bytes::new() }
    }
}

/// The memory that bodies may hold together, from their first byte until they are answered.
#[derive(Debug)]
struct Room {
    bytes_max: AtomicUsize,
    taken: AtomicUsize,
}

impl Room {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max: AtomicUsize::new(bytes_max), taken: AtomicUsize::new(0) }
    }

    /// A place for one body, empty as yet.
    fn place(&self) -> Place<'_> {
        Place { room: self, bytes: 0 }
    }
}

/// What one body holds of the room; given back when it is dropped.
#[derive(Debug)]
struct Place<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Place<'_> {
    /// Takes room for more bytes; none when there is not so much.
    fn grow(&mut self, bytes: usize) -> Option<()> {
        let taken = self.room.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        (taken.saturating_add(bytes) <= self.room.bytes_max.load(Ordering::Relaxed)).then_some(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How much of a refused body is kept.
const REFUSED_BYTES_KEPT: usize = 64 << 10;

async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limits: &Limits,
    place: &mut Place<'_>,
) -> Result<Bytes, Unread> {
    let named = request.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let Some(packing) = Packing::named(named) else {
        let reason = format!("content encoding {named:?} is not understood; gzip is");
        return Err(Answer::refused(Cause::Encoding, reason).into());
    };
    let declared = request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > limits.body_bytes_max) {
        return Err(too_large(limits).into());
    }
    let reserve = declared.unwrap_or(0).min(256 << 10);
    let mut body = Unpacked::new(packing, limits.body_bytes_max, reserve, |bytes| place.grow(bytes).is_some());
    let collected = tokio::time::timeout(limits.body_timeout, collect(payload, &mut body)).await;
    let answer = match collected {
        Ok(Ok(())) => return Ok(body.take()),
        Ok(Err(Stop::NoRoom)) => return Err(Unread::NoRoom),
        Ok(Err(Stop::TooLarge)) => too_large(limits),
        Ok(Err(Stop::Broken(error))) => {
            Answer::refused(Cause::Incomplete, format!("the body could not be read: {error}"))
        }
        Err(_) => {
            let reason = format!("the body did not come within {} s", limits.body_timeout.as_secs());
            Answer::refused(Cause::Incomplete, reason)
        }
    };
    let mut read = body.take();
    read.truncate(REFUSED_BYTES_KEPT);
    Err(Unread::Refused { answer, read })
}

fn too_large(limits: &Limits) -> Answer {
    Answer::TooLarge(format!("the body is larger than {} bytes", limits.body_bytes_max))
}

async fn collect<G: FnMut(usize) -> bool>(payload: &mut Payload, body: &mut Unpacked<G>) -> Result<(), Stop> {
    while let Some(chunk) = payload.next().await {
        body.push(&chunk.map_err(|error| Stop::Broken(io::Error::other(error)))?)?;
    }
    body.finish()
}

/// The charset parameter of a Content-Type, unquoted.
fn charset_of(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    })
}

/// One configured outbound message, as the edge needs it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The path it listens on, with a leading slash. Parts of it may be secret.
    pub path: Text,
    /// Where may be sent from; none: anywhere.
    pub addresses: Option<Networks>,
    /// Who may send; none: any organization.
    pub organizations: Option<Vec<OrganizationId>>,
    /// Which outbound messages may come; none: any.
    pub actions: Option<Vec<ActionId>>,
    /// What happens to others.
    pub unknown_organization: UnknownOrganization,
    /// The declared fields, when there is a WSDL.
    pub record_types: Option<Arc<RecordTypes>>,
    /// The WSDL's text, when `expose_wsdl` is on.
    pub wsdl: Option<Arc<str>>,
    /// Alarm when the same record comes more often than this in a minute.
    pub loop_per_minute: u32,
    /// Alarm when nothing came for this long; none: never.
    pub silence: Option<Duration>,
    /// Fields that people are not to see.
    pub mask: Vec<String>,
    /// Fields that notifications are found by.
    pub search: Vec<String>,
}

impl Source {
    /// A source that admits everyone, refuses nobody and says nothing of its records.
    #[must_use]
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: Text::plain(path),
            addresses: None,
            organizations: None,
            actions: None,
            unknown_organization: UnknownOrganization::Refuse,
            record_types: None,
            wsdl: None,
            loop_per_minute: 60,
            silence: None,
            mask: Vec::new(),
            search: Vec::new(),
        }
    }
}

/// What happens to an envelope of an unknown organization or outbound message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownOrganization {
    /// A Fault; Salesforce drops it.
    #[default]
    Refuse,
    /// Stored aside, acknowledged, alarmed.
    Quarantine,
}

/// The bounds of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a body, before and after decompression, in bytes.
    pub body_bytes_max: usize,
    /// Nesting of elements.
    pub depth_max: usize,
    /// Notifications in an envelope.
    pub notifications_max: usize,
    /// Fields of a record.
    pub fields_max: usize,
    /// Of all bodies together that are being read or wait for their answer, in bytes; one that finds no more room is
    /// nacked.
    pub bodies_bytes_max: usize,
    /// For the request line and headers.
    pub header_timeout: Duration,
    /// For the whole body.
    pub body_timeout: Duration,
    /// Open connections.
    pub connections_max: usize,
    /// Envelopes waiting for the store; one more is nacked.
    pub queue_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            depth_max: 64,
            notifications_max: 100,
            fields_max: 2_000,
            bodies_bytes_max: 128 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            connections_max: 1_024,
            queue_max: 1_024,
        }
    }
}

/// TLS of the public listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM: leaf first, then intermediates.
    pub certificate: PathBuf,
    /// PEM.
    pub private_key: PathBuf,
    /// Whose client certificates are taken.
    pub clients: client::Rules,
    /// What the files held when the configuration was read; none when it was not read from files.
    pub served: Option<Arc<Served>>,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    Off,
    /// Checked when it comes.
    Optional,
    /// No connection without one.
    Required,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_found_in_any_case_and_quoting() {
        for (content_type, charset) in [
            ("text/xml; charset=UTF-8", Some("UTF-8")),
            ("text/xml;Charset=\"utf-8\"", Some("utf-8")),
            ("text/xml; action=x; CHARSET = iso-8859-1 ", Some("iso-8859-1")),
            ("text/xml", None),
        ] {
            assert_eq!(charset_of(content_type), charset, "{content_type}");
        }
    }

    #[test]
    fn bodies_take_of_one_room_and_give_back_what_they_took() {
        let room = Room::new(100);
        let (mut one, mut other) = (room.place(), room.place());
        assert_eq!((one.grow(60), other.grow(40), one.grow(0)), (Some(()), Some(()), Some(())));
        assert_eq!(other.grow(1), None);
        drop(other);
        assert_eq!((one.grow(40), one.grow(1)), (Some(()), None));
        drop(one);
        assert_eq!(room.place().grow(100), Some(()));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_stray_is_told_of_the_source_whose_path_begins_alike() {
        struct Nobody;
        impl Intake for Nobody {
            fn take(&self, _: Post) -> BoxFuture<'_, Answer> {
                Box::pin(std::future::ready(Answer::NotNow))
            }
            fn refused(&self, _: Post, _: &Answer) -> BoxFuture<'_, ()> {
                Box::pin(std::future::ready(()))
            }
            fn strayed(&self, _: &Stray) {}
            fn crowded_out(&self, _: &str) {}
        }
        let source = |name: &str, path: &str| Arc::new(Source::new(name, path));
        let mut sources = vec![source("orders", "/om/orders-1f"), source("leads", "/om/leads")];
        let mut path = Text::plain("/hidden/");
        path.push_secret("${TOKEN}", secrecy::SecretString::from("s3cr3t"));
        sources.push(Arc::new(Source { path, ..Source::new("hidden", "") }));
        let clock = crate::clock::SystemClock::shared();
        let edge = Edge::new(sources, Limits::default(), Standing::default(), clock, Arc::new(Nobody));
        for (path, expected) in [
            ("/om/orders-1g", Some(("orders", 12))),
            ("/om/orders-1f/", Some(("orders", 13))),
            ("/om/leadS", Some(("leads", 8))),
            ("/hidden/s3cr3", Some(("hidden", 8))),
            ("/wp-login.php", None),
            ("/", None),
            ("*", None),
        ] {
            let near = edge.serving.load().near(path);
            assert_eq!(near.as_ref().map(|near| (near.source.as_str(), near.characters)), expected, "{path}");
        }
        let serving = edge.serving.load();
        let found = |path: &str| serving.find(path).map(|source| source.name.clone());
        assert_eq!(found("/hidden/s3cr3t").as_deref(), Some("hidden"));
        assert_eq!((found("/hidden/s3cr3"), found("/hidden/${TOKEN}")), (None, None));
        assert!(!format!("{:?}", serving.secret[0].1).contains("s3cr3t"));
    }

    #[test]
    fn the_wsdl_gets_our_address_and_stays_otherwise_as_it_is() {
        let wsdl = "<service><port><soap:address location=\"http://localhost:80/x\"/></port><p>address of location=\"x\"</p></service>";
        assert_eq!(
            with_address(wsdl, "https://gate:8443/om/a"),
            "<service><port><soap:address location=\"https://gate:8443/om/a\"/></port><p>address of location=\"x\"</p></service>"
        );
    }

    #[test]
    fn a_host_with_markup_never_reaches_the_wsdl() {
        assert!(is_host("gate.example:8443") && is_host("[::1]:80"));
        assert!(!is_host("a\"><x>") && !is_host(""));
    }
}

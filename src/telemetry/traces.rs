//! Traces for a collector (OpenTelemetry, OTLP over HTTP): one for each envelope, through to each attempt of each delivery.
//!
//! The ids of a trace and of its spans are derived from what the store knows of the envelope. So an attempt hours later, after a
//! restart or at another gateway names its trace and its parent without having been told, and the store keeps nothing of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter as Exports, SpanLinks,
    SpanProcessor as _,
};
use tokio::runtime::Handle;

use super::Metrics;
use crate::clock::{SharedClock, Timestamp};

/// So many spans wait for the collector at most; more are dropped, and counted.
const WAITING_MAX: usize = 8_192;
/// So many are sent at once.
const BATCH_MAX: usize = 512;
/// How long spans wait for others to go with them.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last spans may take when the gateway stops.
const LAST: Duration = Duration::from_secs(5);

/// Sends a batch, as protobuf; the status that came back, or why none did.
pub type Post = Arc<dyn Fn(Bytes) -> BoxFuture<'static, Result<u16, String>> + Send + Sync>;

/// Where spans go.
#[derive(Clone)]
pub struct Collector {
    /// Its address, for messages.
    pub address: String,
    /// What sends to it.
    pub post: Post,
    /// `service.name` of the spans.
    pub service: String,
    /// `service.instance.id`: what this gateway calls itself.
    pub instance: String,
    /// Which part of the envelopes is traced, from 0 to 1.
    pub ratio: f64,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, service, instance, ratio, post: _ } = self;
        write!(f, "Collector({address}, {service}, {instance}, {ratio})")
    }
}

/// Takes spans, where there is a collector.
pub struct Traces {
    metrics: Arc<Metrics>,
    clock: SharedClock,
    sending: ArcSwapOption<Sending>,
}

struct Sending {
    collector: Collector,
    processor: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    scope: InstrumentationScope,
}

/// The trace of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    root: SpanId,
}

/// What an envelope is known by.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its organization.
    pub organization: &'a str,
    /// The store's id of it.
    pub envelope: i64,
    /// When it was read.
    pub received_at: Timestamp,
}

/// A moment by both clocks, so that spans are finer than the wall clock's milliseconds, and never end before they begin.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    wall: Timestamp,
    monotonic: Duration,
}

/// Something that happened on the way of an envelope.
#[derive(Clone, Debug)]
pub struct Span {
    /// What.
    pub name: &'static str,
    /// Of which trace.
    pub trace: Trace,
    /// What it is known by within the trace; see [`Trace`].
    pub id: Id,
    /// When it began.
    pub begun: Moment,
    /// What is said of it: names that stay, and neither what records hold nor their ids.
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong, in one word.
    pub failed: Option<&'static str>,
}

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// The envelope itself.
    Envelope,
    /// A step of taking it.
    Step(&'static str),
    /// An attempt: its delivery and its lease.
    Attempt(i64, i64),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// The first bytes of the hash of some parts, each preceded by its length; never all zero, which would be no id.
fn derived<const LENGTH: usize>(parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut all = b"omgate trace".to_vec();
    for part in parts {
        all.extend_from_slice(&part.len().to_be_bytes());
        all.extend_from_slice(part);
    }
    let hash = digest(&SHA256, &all);
    let mut bytes = [0; LENGTH];
    for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    if let Some(last) = bytes.last_mut().filter(|last| **last == 0) {
        *last = 1;
    }
    bytes
}

impl Trace {
    /// That of an envelope: the same at every gateway, at any time.
    #[must_use]
    pub fn of(origin: &Origin<'_>) -> Self {
        let Origin { organization, envelope, received_at } = origin;
        // Organizations are compared on these alone.
        let organization: String = organization.chars().take(15).collect();
        let parts = [organization.as_bytes(), &envelope.to_be_bytes(), &received_at.0.to_be_bytes()];
        let id = TraceId::from_bytes(derived(&parts));
        Self { id, root: SpanId::from_bytes(derived(&[&id.to_bytes(), b"envelope"])) }
    }

    fn span(&self, id: Id) -> SpanId {
        let trace = self.id.to_bytes();
        match id {
            Id::Envelope => self.root,
            Id::Step(name) => SpanId::from_bytes(derived(&[&trace, b"step", name.as_bytes()])),
            Id::Attempt(delivery, lease) => {
                let parts = [&trace[..], b"attempt", &delivery.to_be_bytes(), &lease.to_be_bytes()];
                SpanId::from_bytes(derived(&parts))
            }
        }
    }

    /// Whether a part of all traces has this one in it; every gateway says the same.
    fn is_within(&self, ratio: f64) -> bool {
        let [.., a, b, c, d] = self.id.to_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < ratio * f64::from(u32::MAX) || ratio >= 1.0
    }

    /// What tells a destination of the span that calls it (W3C Trace Context).
    #[must_use]
    pub fn parent(&self, id: Id) -> String {
        format!("00-{}-{}-01", self.id, self.span(id))
    }
}

impl Traces {
    /// Nothing is traced until a collector is given.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, clock: SharedClock) -> Self {
        Self { metrics, clock, sending: ArcSwapOption::empty() }
    }

    /// Nothing is ever traced.
    #[must_use]
    pub fn off() -> Arc<Self> {
        Arc::new(Self::new(Arc::default(), crate::clock::SystemClock::shared()))
    }

    /// From now on spans go to this collector; what waits still goes where it was meant for.
    pub fn adopt(&self, collector: Option<Collector>) {
        let said = |collector: &Collector| format!("{collector:?}");
        let before = self.sending.load_full();
        if before.as_ref().map(|sending| said(&sending.collector)) == collector.as_ref().map(said) {
            return;
        }
        let sending = collector.and_then(|collector| match Sending::to(collector, &self.metrics) {
            Ok(sending) => Some(Arc::new(sending)),
            Err(error) => {
                tracing::error!(%error, "traces cannot be sent");
                None
            }
        });
        self.sending.store(sending);
        if let Some(before) = before {
            tokio::task::spawn_blocking(move || before.end());
        }
    }

    /// Sends what waits, for the last time.
    pub async fn end(&self) {
        if let Some(sending) = self.sending.swap(None) {
            drop(tokio::task::spawn_blocking(move || sending.end()).await);
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() }
    }

    /// The trace of an envelope, where it is to be traced.
    #[must_use]
    pub fn of(&self, origin: &Origin<'_>) -> Option<Trace> {
        let sending = self.sending.load();
        let ratio = sending.as_ref()?.collector.ratio;
        Some(Trace::of(origin)).filter(|trace| trace.is_within(ratio))
    }

    /// Takes a span that ends now.
    pub fn ended(&self, span: Span) {
        let now = self.clock.monotonic();
        self.ended_at(span, now);
    }

    /// Takes a span that ended at a moment of the monotonic clock.
    pub fn ended_at(&self, span: Span, end: Duration) {
        let sending = self.sending.load();
        let Some(sending) = &*sending else { return };
        if sending.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            sending.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.spanned("dropped", 1);
            return;
        }
        sending.processor.on_end(span.data(end, sending.scope.clone()));
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces")
    }
}

impl Moment {
    /// This moment, so much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let wall = self.wall.plus(time);
        Self { wall, monotonic: self.monotonic.saturating_add(time) }
    }

    /// The monotonic time.
    #[must_use]
    pub fn monotonic(self) -> Duration {
        self.monotonic
    }

    fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.wall.0).unwrap_or(0))
    }
}

impl Span {
    fn data(self, end: Duration, scope: InstrumentationScope) -> SpanData {
        let Self { name, trace, id, begun, attributes, failed } = self;
        let (parent, kind) = match id {
            Id::Envelope => (SpanId::INVALID, SpanKind::Server),
            Id::Step(_) => (trace.root, SpanKind::Internal),
            Id::Attempt(..) => (trace.root, SpanKind::Client),
        };
        let attribute = |(key, value)| match value {
            Value::Text(text) => KeyValue::new(key, text),
            Value::Number(number) => KeyValue::new(key, number),
        };
        let start = begun.system();
        SpanData {
            span_context: SpanContext::new(trace.id, trace.span(id), TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: start,
            end_time: start + end.saturating_sub(begun.monotonic),
            attributes: attributes.into_iter().map(attribute).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: failed.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope,
        }
    }
}

impl Sending {
    fn to(collector: Collector, metrics: &Arc<Metrics>) -> Result<Self, ExporterBuildError> {
        let client = Client { post: Arc::clone(&collector.post), home: Handle::current() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::new(client))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint("http://collector/v1/traces")
            .build()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let counting = Counting { exporter, metrics: Arc::clone(metrics), waiting: Arc::clone(&waiting) };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(EVERY)
            .build();
        let mut processor = BatchSpanProcessor::builder(counting).with_batch_config(config).build();
        let about = [
            KeyValue::new("service.instance.id", collector.instance.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let resource = Resource::builder_empty().with_service_name(collector.service.clone()).with_attributes(about);
        processor.set_resource(&resource.build());
        Ok(Self { collector, processor, waiting, scope: InstrumentationScope::builder("omgate").build() })
    }

    /// Sends what waits, and no more. It blocks.
    fn end(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Counts what becomes of spans.
#[derive(Debug)]
struct Counting {
    exporter: SpanExporter,
    metrics: Arc<Metrics>,
    waiting: Arc<AtomicUsize>,
}

impl Exports for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => self.metrics.spanned("sent", count),
            Err(error) => {
                tracing::debug!(%error, "spans were not taken by the collector");
                self.metrics.spanned("failed", count);
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// What the exporter's thread sends by, on our own threads.
struct Client {
    post: Post,
    home: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let sent = self.home.spawn((self.post)(request.into_body()));
        Box::pin(async move {
            let status = sent.await.map_err(HttpError::from)?.map_err(HttpError::from)?;
            Ok(Response::builder().status(status).body(Bytes::new())?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(envelope: i64) -> Origin<'static> {
        Origin { organization: "00D24000000abcdEAA", envelope, received_at: Timestamp(1_700_000_000_123) }
    }

    #[test]
    fn a_trace_is_the_same_for_whoever_derives_it_and_another_for_each_envelope() {
        let trace = Trace::of(&origin(1));
        assert_eq!(trace, Trace::of(&Origin { organization: "00D24000000abcd", ..origin(1) }));
        for other in [origin(2), Origin { received_at: Timestamp(0), ..origin(1) }] {
            assert_ne!(trace, Trace::of(&other));
        }
        let ids = [
            Id::Envelope,
            Id::Step("parse"),
            Id::Step("store"),
            Id::Attempt(1, 1),
            Id::Attempt(1, 2),
            Id::Attempt(2, 1),
        ];
        let spans: std::collections::HashSet<_> = ids.iter().map(|id| trace.span(*id)).collect();
        assert_eq!(spans.len(), ids.len());
        let parent = trace.parent(Id::Attempt(1, 1));
        let parts: Vec<&str> = parent.split('-').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len(), parts[3]), ("00", 32, 16, "01"));
    }

    #[test]
    fn a_part_of_all_traces_is_that_part() {
        let traces: Vec<Trace> = (0..10_000).map(|envelope| Trace::of(&origin(envelope))).collect();
        let within = |ratio| traces.iter().filter(|trace| trace.is_within(ratio)).count();
        assert_eq!((within(0.0), within(1.0)), (0, 10_000));
        let tenth = within(0.1);
        assert!((800..1_200).contains(&tenth), "{tenth}");
        assert!(traces.iter().all(|trace| !trace.is_within(0.1) || trace.is_within(0.2)));
    }

    #[test]
    fn without_a_collector_nothing_is_traced() {
        assert_eq!(Traces::off().of(&origin(1)), None);
    }
}

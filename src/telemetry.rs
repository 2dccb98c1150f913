//! Logs, metrics and alarms: what the gateway says about itself while it runs.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::acks::{AckCounts, AckTimes};
use self::described::{ANSWERS, DENIALS, NOTICED, OUTCOMES, REFUSALS, SPANNED};
use self::sizes::CommitSizes;
use crate::store::{Backlog, DeliveryCounts, Gap, Health, Ledger, NotificationCounts, WriterFigures};

mod acks;
mod alarms;
mod described;
mod news;
mod request;
mod sizes;
mod traces;

pub use alarms::{ALARMS, Alarm, Alarms};
pub use described::{Described, METRICS};
pub use news::{Event, News, Told};
pub use request::RequestId;
pub use traces::{Collector, Id, Moment, Origin, Post, Span, Trace, Traces, Value};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people: one line per event, fields behind the words.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Whether a text is a level or a filter that [`log`] knows.
///
/// # Errors
/// Why not, in words.
pub fn check_level(level: &str) -> Result<(), String> {
    EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    // The library takes a lone word that is no level for a module's name, and logs nothing else: a slip would silence us.
    let slip = level.split(',').map(str::trim).find(|part| {
        let is_word = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_word && part.parse::<LevelFilter>().is_err()
    });
    match slip {
        Some(slip) => Err(format!("there is no level {slip:?}, only error, warn, info, debug, trace and off")),
        None => Ok(()),
    }
}

/// Starts logging to standard error. `level` is a filter such as `info` or `omgate=debug`. Only the first call counts.
pub fn log(format: LogFormat, level: &str) {
    // The libraries of listeners and of watched files speak of their own work; that is no news to an operator. A level given
    // by name wins.
    // yaserde logs what it reads and writes: that is payload, and stays out at any level.
    let directives = format!("actix_server=warn,notify=warn,{level},yaserde=off,yaserde_derive=off");
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => {
            let layer = layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            base.with(layer.fmt_fields(debug_fn(write_field).delimited(" "))).try_init()
        }
        LogFormat::Json => base.with(layer.json().flatten_event(true).with_span_list(false)).try_init(),
    };
    // A second gateway in one process (tests, the demo) logs through the first one's subscriber.
    drop(started);
}

/// Writes a field of a line for people. A line stays one, and no terminal is steered, whatever is written.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for c in on_one_line(&format!("{value:?}")).chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}

/// A text of several lines as one, its lines apart by bars.
fn on_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    destination: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    source: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    source: String,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    source: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    destination: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    channel: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    alarm: &'static str,
    subject: String,
}

type GaugeI64 = Gauge<i64, AtomicI64>;
type GaugeF64 = Gauge<f64, AtomicU64>;

/// The gateway's metrics, in Prometheus' words.
pub struct Metrics {
    registry: Registry,
    answers: Family<AnswerLabels, Counter>,
    strays: Family<MethodLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    certificates: Family<FileLabels, GaugeI64>,
    ack_seconds: Histogram,
    ack_times: AckTimes,
    body_bytes_largest: GaugeI64,
    outcomes: Family<OutcomeLabels, Counter>,
    delivery_seconds: Family<DestinationLabels, Histogram>,
    deliveries: Family<DeliveryLabels, GaugeI64>,
    notifications: Family<NotificationLabels, GaugeI64>,
    silence_seconds: Family<SourceLabels, GaugeF64>,
    attempts: GaugeI64,
    attempts_unknown: GaugeI64,
    balanced: GaugeI64,
    oldest_seconds: Family<DestinationLabels, GaugeF64>,
    lanes_repaired: GaugeI64,
    store_ready: GaugeI64,
    writer_queue: GaugeI64,
    writer_commits: GaugeI64,
    writer_commands: GaugeI64,
    commits_by_size: CommitSizes,
    alarms: Family<AlarmLabels, GaugeI64>,
    notices: Family<NoticeLabels, Counter>,
    spans: Family<SpanLabels, Counter>,
}

/// From half a millisecond to a minute.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            answers: Family::default(),
            strays: Family::default(),
            refused: Family::default(),
            certificates: Family::default(),
            ack_seconds: Histogram::new(SECONDS),
            ack_times: AckTimes::default(),
            body_bytes_largest: Gauge::default(),
            outcomes: Family::default(),
            delivery_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            deliveries: Family::default(),
            notifications: Family::default(),
            silence_seconds: Family::default(),
            attempts: Gauge::default(),
            attempts_unknown: Gauge::default(),
            balanced: Gauge::default(),
            oldest_seconds: Family::default(),
            lanes_repaired: Gauge::default(),
            store_ready: Gauge::default(),
            writer_queue: Gauge::default(),
            writer_commits: Gauge::default(),
            writer_commands: Gauge::default(),
            commits_by_size: CommitSizes::default(),
            alarms: Family::default(),
            notices: Family::default(),
            spans: Family::default(),
        };
        metrics.register_all();
        metrics
    }
}

impl Metrics {
    /// Registers each of [`METRICS`] under its name there.
    fn register_all(&mut self) {
        let Self { registry, .. } = self;
        let mut add = Register { registry };
        add.metric("omgate_notifications", &self.notifications);
        add.metric("omgate_source_silence_seconds", &self.silence_seconds);
        add.metric("omgate_deliveries", &self.deliveries);
        add.metric("omgate_attempts", &self.attempts);
        add.metric("omgate_attempts_unknown", &self.attempts_unknown);
        add.metric("omgate_ledger_balanced", &self.balanced);
        add.metric("omgate_oldest_unsettled_age_seconds", &self.oldest_seconds);
        add.metric("omgate_lanes_repaired", &self.lanes_repaired);
        add.metric("omgate_answers_total", &self.answers);
        add.metric("omgate_refused_total", &self.refused);
        add.metric("omgate_unknown_paths_total", &self.strays);
        add.metric("omgate_ack_seconds", &self.ack_seconds);
        add.metric("omgate_body_bytes_largest", &self.body_bytes_largest);
        add.metric("omgate_certificate_expiry_timestamp_seconds", &self.certificates);
        add.metric("omgate_outcomes_total", &self.outcomes);
        add.metric("omgate_delivery_seconds", &self.delivery_seconds);
        add.metric("omgate_store_ready", &self.store_ready);
        add.metric("omgate_writer_queue", &self.writer_queue);
        add.metric("omgate_writer_commits", &self.writer_commits);
        add.metric("omgate_writer_commands", &self.writer_commands);
        add.metric("omgate_writer_commits_by_size", &self.commits_by_size);
        add.metric("omgate_alarm", &self.alarms);
        add.metric("omgate_notices_total", &self.notices);
        add.metric("omgate_spans_total", &self.spans);
    }

    /// Begins every series of these names at zero: Prometheus sees an increase only of what it knew before.
    pub fn begin<'n>(
        &self,
        sources: impl Iterator<Item = &'n str>,
        destinations: impl Iterator<Item = &'n str>,
        channels: impl Iterator<Item = &'n str>,
    ) {
        for source in sources {
            self.begin_source(source);
        }
        for destination in destinations {
            self.begin_destination(destination);
        }
        for channel in channels {
            for result in NOTICED {
                drop(self.notices.get_or_create(&NoticeLabels { channel: channel.to_owned(), result }));
            }
        }
        // Who was turned away before a path was asked for.
        for reason in DENIALS {
            drop(self.refused.get_or_create(&RefusedLabels { source: String::new(), reason }));
        }
        for method in ["POST", "other"] {
            drop(self.strays.get_or_create(&MethodLabels { method }));
        }
        for result in SPANNED {
            drop(self.spans.get_or_create(&SpanLabels { result }));
        }
    }

    fn begin_source(&self, source: &str) {
        for answer in ANSWERS {
            drop(self.answers.get_or_create(&AnswerLabels { source: source.to_owned(), answer }));
        }
        for reason in REFUSALS.into_iter().chain(DENIALS) {
            drop(self.refused.get_or_create(&RefusedLabels { source: source.to_owned(), reason }));
        }
        for (kind, _) in NotificationCounts::default().by_name() {
            drop(self.notifications.get_or_create(&NotificationLabels { source: source.to_owned(), kind }));
        }
    }

    fn begin_destination(&self, destination: &str) {
        for outcome in OUTCOMES {
            drop(self.outcomes.get_or_create(&OutcomeLabels { destination: destination.to_owned(), outcome }));
        }
        for (state, _) in DeliveryCounts::default().by_name() {
            drop(self.deliveries.get_or_create(&DeliveryLabels { destination: destination.to_owned(), state }));
        }
        drop(self.delivery_seconds.get_or_create(&DestinationLabels { destination: destination.to_owned() }));
    }

    /// Counts an answer to Salesforce. `seconds` is the time since its last byte was read.
    pub fn answered(&self, source: &str, answer: &'static str, seconds: f64) {
        self.answers.get_or_create(&AnswerLabels { source: source.to_owned(), answer }).inc();
        self.ack_seconds.observe(seconds);
        self.ack_times.observe(seconds);
    }

    /// How fast Salesforce was answered.
    #[must_use]
    pub fn ack_times(&self) -> &AckTimes {
        &self.ack_times
    }

    /// Counts a request to a path that no source has.
    pub fn strayed(&self, is_post: bool) {
        let method = if is_post { "POST" } else { "other" };
        self.strays.get_or_create(&MethodLabels { method }).inc();
    }

    /// Counts a refusal; of a connection that came to no request, the source is empty.
    pub fn refused(&self, source: &str, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { source: source.to_owned(), reason }).inc();
    }

    /// Takes over when the certificates of each file expire.
    pub fn certificates<'f>(&self, files: impl Iterator<Item = (&'f str, crate::clock::Timestamp)>) {
        self.certificates.clear();
        for (file, expires_at) in files {
            let labels = FileLabels { file: file.to_owned() };
            self.certificates.get_or_create(&labels).set(expires_at.0.div_euclid(1_000));
        }
    }

    /// Remembers the largest body.
    pub fn body_bytes(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > self.body_bytes_largest.get() {
            self.body_bytes_largest.set(bytes);
        }
    }

    /// Counts what a call came to.
    pub fn called(&self, destination: &str, outcome: &'static str, seconds: f64) {
        self.outcomes.get_or_create(&OutcomeLabels { destination: destination.to_owned(), outcome }).inc();
        self.delivery_seconds
            .get_or_create(&DestinationLabels { destination: destination.to_owned() })
            .observe(seconds);
    }

    /// Takes over the accounts, so that the metrics equal the ledger.
    pub fn accounts(&self, ledger: &Ledger) {
        for (destination, counts) in &ledger.destinations {
            for (state, count) in counts.by_name() {
                self.deliveries.get_or_create(&DeliveryLabels { destination: destination.clone(), state }).set(count);
            }
        }
        for (source, counts) in &ledger.sources {
            for (kind, count) in counts.by_name() {
                self.notifications.get_or_create(&NotificationLabels { source: source.clone(), kind }).set(count);
            }
        }
        self.attempts.set(ledger.attempts.total);
        self.attempts_unknown.set(ledger.attempts.unknown);
        self.balanced.set(i64::from(ledger.balanced));
    }

    /// Takes over when each source was heard last.
    pub fn gaps(&self, gaps: &[Gap], now: crate::clock::Timestamp) {
        for Gap { source, last_envelope, .. } in gaps {
            let labels = SourceLabels { source: source.clone() };
            self.silence_seconds.get_or_create(&labels).set(now.since(*last_envelope).as_secs_f64());
        }
    }

    /// Takes over what waits. `age_seconds` gives the age of a moment.
    pub fn backlog(&self, backlog: &Backlog, age_seconds: impl Fn(crate::clock::Timestamp) -> f64) {
        self.oldest_seconds.clear();
        for (destination, since) in &backlog.oldest_unsettled {
            self.oldest_seconds
                .get_or_create(&DestinationLabels { destination: destination.clone() })
                .set(age_seconds(*since));
        }
        self.lanes_repaired.set(backlog.lanes_repaired);
    }

    /// Takes over how the store is.
    pub fn store(&self, health: &Health, figures: &WriterFigures) {
        self.store_ready.set(i64::from(*health == Health::Ready));
        self.writer_queue.set(i64::try_from(figures.queue).unwrap_or(i64::MAX));
        self.writer_commits.set(i64::try_from(figures.commits).unwrap_or(i64::MAX));
        self.writer_commands.set(i64::try_from(figures.commands).unwrap_or(i64::MAX));
        self.commits_by_size.set(figures);
    }

    fn alarm(&self, alarm: &'static str, subject: &str, standing: i64) {
        self.alarms.get_or_create(&AlarmLabels { alarm, subject: subject.to_owned() }).set(standing);
    }

    /// An alarm that is long over is no line any more.
    fn forget_alarm(&self, alarm: &'static str, subject: &str) {
        self.alarms.remove(&AlarmLabels { alarm, subject: subject.to_owned() });
    }

    /// Counts what became of a notice: `sent`, `failed` (given up) or `dropped` (too many were waiting).
    pub fn noticed(&self, channel: &str, result: &'static str) {
        self.notices.get_or_create(&NoticeLabels { channel: channel.to_owned(), result }).inc();
    }

    /// Counts what became of spans: `sent`, `failed` (the collector did not take them) or `dropped` (too many were waiting).
    fn spanned(&self, result: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.spans.get_or_create(&SpanLabels { result }).inc_by(count);
    }

    /// Everything, in the text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// Registers metrics by what [`METRICS`] says of them.
struct Register<'r> {
    registry: &'r mut Registry,
}

impl Register<'_> {
    fn metric(&mut self, name: &'static str, metric: &(impl Metric + Clone)) {
        let help = METRICS.iter().find(|known| known.name == name).map(Described::help).unwrap_or_default();
        // Of counters the library adds the end of the name itself.
        self.registry.register(name.strip_suffix("_total").unwrap_or(name), help, metric.clone());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_several_lines_is_one_of_the_log() {
        for (text, line) in [
            (
                "the file is wrong:\n  new.toml:3: unknown key\r\n\nnew.toml:7: is empty\n",
                "the file is wrong: | new.toml:3: unknown key | new.toml:7: is empty",
            ),
            ("one", "one"),
            ("", ""),
        ] {
            assert_eq!(on_one_line(text), line);
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_filter() {
        for level in ["info", "WARN", "off", "info,omgate=debug", "omgate::store=trace", "omgate=debug, warn"] {
            assert_eq!(check_level(level), Ok(()), "{level}");
        }
        for level in ["loud", "inof", "info,dbug", "omgate", "omgate=loud", "=="] {
            assert!(check_level(level).is_err(), "{level}");
        }
    }

    #[test]
    fn the_metrics_equal_the_ledger() {
        let metrics = Metrics::default();
        let mut ledger = Ledger { balanced: true, ..Ledger::default() };
        let counts = DeliveryCounts { routed: 3, delivered: 2, waiting: 1, ..Default::default() };
        ledger.destinations.insert("erp".to_owned(), counts);
        metrics.accounts(&ledger);
        let text = metrics.render();
        assert!(text.contains("omgate_deliveries{destination=\"erp\",state=\"delivered\"} 2"), "{text}");
        assert!(text.contains("omgate_ledger_balanced 1"), "{text}");
    }

    #[test]
    fn every_series_that_is_known_begins_at_zero_and_keeps_what_it_counted() {
        let metrics = Metrics::default();
        metrics.called("erp", "delivered", 0.1);
        let counted = || metrics.render().lines().filter(|line| !line.starts_with('#')).count();
        metrics.begin(["orders"].into_iter(), ["erp"].into_iter(), ["mail"].into_iter());
        let text = metrics.render();
        for line in [
            "omgate_answers_total{source=\"orders\",answer=\"nack\"} 0",
            "omgate_refused_total{source=\"orders\",reason=\"organization\"} 0",
            "omgate_refused_total{source=\"\",reason=\"handshake\"} 0",
            "omgate_notifications{source=\"orders\",kind=\"unreadable\"} 0",
            "omgate_deliveries{destination=\"erp\",state=\"dead\"} 0",
            "omgate_outcomes_total{destination=\"erp\",outcome=\"delivered\"} 1",
            "omgate_outcomes_total{destination=\"erp\",outcome=\"refused\"} 0",
            "omgate_notices_total{channel=\"mail\",result=\"failed\"} 0",
            "omgate_unknown_paths_total{method=\"POST\"} 0",
            "omgate_spans_total{result=\"dropped\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}:\n{text}");
        }
        let before = counted();
        metrics.answered("orders", "ack", 0.1);
        metrics.refused("orders", "malformed");
        metrics.refused("", "proxy");
        metrics.strayed(false);
        metrics.called("erp", "unknown", 0.1);
        metrics.noticed("mail", "sent");
        metrics.spanned("sent", 1);
        metrics.begin(["orders"].into_iter(), ["erp"].into_iter(), ["mail"].into_iter());
        assert_eq!(counted(), before, "nothing that happens begins a series");
    }

    #[test]
    fn every_metric_is_described_and_what_is_described_is_one() {
        let metrics = Metrics::default();
        let now = crate::clock::Timestamp(0);
        let mut ledger = Ledger::default();
        ledger.destinations.insert("erp".to_owned(), DeliveryCounts::default());
        ledger.sources.insert("orders".to_owned(), NotificationCounts::default());
        metrics.accounts(&ledger);
        metrics.gaps(&[Gap { source: "orders".to_owned(), last_envelope: now, longest: None }], now);
        let oldest_unsettled = [("erp".to_owned(), now)].into();
        metrics.backlog(&Backlog { oldest_unsettled, lanes_repaired: 0 }, |_| 0.0);
        metrics.store(&Health::Ready, &WriterFigures::default());
        metrics.answered("orders", "ack", 0.1);
        metrics.refused("orders", "malformed");
        metrics.strayed(true);
        metrics.certificates([("file", now)].into_iter());
        metrics.called("erp", "delivered", 0.1);
        metrics.alarm("store", "", 1);
        metrics.noticed("mail", "sent");
        metrics.spanned("sent", 1);
        let text = metrics.render();
        let line = |start: &str, name: &str, end: &str| {
            assert!(
                text.contains(&format!("{start} {} {end}", name.strip_suffix("_total").unwrap_or(name))),
                "{name}:\n{text}"
            );
        };
        for metric in METRICS {
            line("# TYPE", metric.name, metric.kind);
            line("# HELP", metric.name, &metric.help());
            let sample = text.lines().find(|line| line.starts_with(metric.name)).unwrap();
            assert!(metric.labels.iter().all(|label| sample.contains(&format!("{label}=\""))), "{sample}");
        }
        assert_eq!(text.matches("# TYPE").count(), METRICS.len());
    }
}

//! Logs, metrics and alarms: what the gateway says about itself while it runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::acks::{AckCounts, AckTimes};
use crate::store::{Backlog, COMMIT_SIZES, Gap, Health, Ledger, WriterFigures};

mod acks;

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
    // The listeners' own library speaks of its workers; that is no news to an operator. A level given by name wins.
    // yaserde logs what it reads and writes: that is payload, and stays out at any level.
    let directives = format!("actix_server=warn,{level},yaserde=off,yaserde_derive=off");
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => base.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init(),
        LogFormat::Json => base.with(layer.json().flatten_event(true)).try_init(),
    };
    // A second gateway in one process (tests, the demo) logs through the first one's subscriber.
    drop(started);
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
struct SizeLabels {
    le: String,
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
    commits_by_size: Family<SizeLabels, GaugeI64>,
    alarms: Family<AlarmLabels, GaugeI64>,
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
            commits_by_size: Family::default(),
            alarms: Family::default(),
        };
        metrics.register_intake();
        metrics.register_deliveries();
        metrics.register_store();
        metrics
    }
}

impl Metrics {
    fn register_intake(&mut self) {
        let registry = &mut self.registry;
        registry.register("omgate_answers", "Answers to Salesforce, by source and kind", self.answers.clone());
        registry.register("omgate_unknown_paths", "Requests to paths that no source has", self.strays.clone());
        registry.register(
            "omgate_refused",
            "What was refused for good: POSTs, and connections without a source",
            self.refused.clone(),
        );
        registry.register_with_unit(
            "omgate_certificate_expiry_timestamp",
            "When the first certificate of a file expires, in Unix time",
            Unit::Seconds,
            self.certificates.clone(),
        );
        registry.register_with_unit(
            "omgate_ack",
            "From the last byte of a POST to its acknowledgement",
            Unit::Seconds,
            self.ack_seconds.clone(),
        );
        registry.register(
            "omgate_body_bytes_largest",
            "The largest body seen since the start",
            self.body_bytes_largest.clone(),
        );
        registry.register("omgate_notifications", "The ledger's notifications", self.notifications.clone());
        registry.register_with_unit(
            "omgate_source_silence",
            "Time since the last envelope of a source",
            Unit::Seconds,
            self.silence_seconds.clone(),
        );
    }

    fn register_deliveries(&mut self) {
        let registry = &mut self.registry;
        registry.register("omgate_deliveries", "The ledger's deliveries", self.deliveries.clone());
        registry.register("omgate_attempts", "Calls begun", self.attempts.clone());
        registry.register("omgate_attempts_unknown", "Calls with an unknown outcome", self.attempts_unknown.clone());
        registry.register("omgate_outcomes", "What calls came to since the start", self.outcomes.clone());
        registry.register_with_unit(
            "omgate_delivery",
            "How long calls took",
            Unit::Seconds,
            self.delivery_seconds.clone(),
        );
        registry.register_with_unit(
            "omgate_oldest_unsettled_age",
            "Age of the oldest delivery that is not settled",
            Unit::Seconds,
            self.oldest_seconds.clone(),
        );
    }

    fn register_store(&mut self) {
        let registry = &mut self.registry;
        registry.register("omgate_ledger_balanced", "1 when the ledger balances", self.balanced.clone());
        registry.register(
            "omgate_lanes_repaired",
            "Lanes a sweep had to repair: must be 0",
            self.lanes_repaired.clone(),
        );
        registry.register("omgate_store_ready", "1 when the store takes commands", self.store_ready.clone());
        registry.register("omgate_writer_queue", "Commands waiting for the writer", self.writer_queue.clone());
        registry.register(
            "omgate_writer_commits",
            "Commits since the start that wrote something",
            self.writer_commits.clone(),
        );
        registry.register("omgate_writer_commands", "Commands in those commits", self.writer_commands.clone());
        registry.register(
            "omgate_writer_commits_by_size",
            "Commits since the start that wrote something and held at most so many commands",
            self.commits_by_size.clone(),
        );
        registry.register("omgate_alarm", "1 while an alarm stands", self.alarms.clone());
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
        let bounds = COMMIT_SIZES.iter().map(ToString::to_string).chain(std::iter::once("+Inf".to_owned()));
        for (le, count) in bounds.zip(figures.commit_sizes) {
            self.commits_by_size.get_or_create(&SizeLabels { le }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn alarm(&self, alarm: &'static str, subject: &str, standing: i64) {
        self.alarms.get_or_create(&AlarmLabels { alarm, subject: subject.to_owned() }).set(standing);
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

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Conditions that a person should know of: said once when they begin and once when they end.
#[derive(Debug)]
pub struct Alarms {
    metrics: Arc<Metrics>,
    standing: Mutex<HashMap<(&'static str, String), String>>,
    /// How many stand: most calls of `clear` find none, and the hot path makes them.
    count: AtomicUsize,
}

impl Alarms {
    /// More alarms of one kind than this are not told apart any more: the metrics stay bounded.
    const STANDING_MAX: usize = 1_000;

    /// No alarm stands.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, standing: Mutex::new(HashMap::new()), count: AtomicUsize::new(0) }
    }

    /// The condition holds. Logged once, until it is cleared.
    pub fn raise(&self, alarm: &'static str, subject: &str, message: &str) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (alarm, subject.to_owned());
        if standing.contains_key(&key) || standing.len() >= Self::STANDING_MAX {
            return;
        }
        standing.insert(key, message.to_owned());
        self.count.store(standing.len(), Ordering::Relaxed);
        drop(standing);
        self.metrics.alarm(alarm, subject, 1);
        tracing::warn!(alarm, subject, "alarm begins: {message}");
    }

    /// The condition holds, and what is to be said of it may be something else than before. Logged whenever it is.
    pub fn restate(&self, alarm: &'static str, subject: &str, message: &str) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = standing.get_mut(&(alarm, subject.to_owned())) else {
            drop(standing);
            return self.raise(alarm, subject, message);
        };
        if said != message {
            message.clone_into(said);
            drop(standing);
            tracing::warn!(alarm, subject, "alarm goes on: {message}");
        }
    }

    /// The condition holds no longer. Logged once, if it stood.
    pub fn clear(&self, alarm: &'static str, subject: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = standing.remove(&(alarm, subject.to_owned()));
        self.count.store(standing.len(), Ordering::Relaxed);
        drop(standing);
        if removed.is_some() {
            self.metrics.alarm(alarm, subject, 0);
            tracing::info!(alarm, subject, "alarm ends");
        }
    }

    /// The alarms that stand: kind, subject, message.
    #[must_use]
    pub fn standing(&self) -> Vec<(&'static str, String, String)> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> =
            standing.iter().map(|((alarm, subject), text)| (*alarm, subject.clone(), text.clone())).collect();
        list.sort();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_stands_may_say_something_else() {
        let alarms = Alarms::new(Arc::new(Metrics::default()));
        for message in ["one mistake", "another"] {
            alarms.restate("reload", "", message);
            assert_eq!(alarms.standing(), [("reload", String::new(), message.to_owned())]);
        }
        alarms.clear("reload", "");
        assert!(alarms.standing().is_empty());
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
    fn an_alarm_stands_until_it_is_cleared() {
        let metrics = Arc::new(Metrics::default());
        let alarms = Alarms::new(Arc::clone(&metrics));
        alarms.raise("silence", "orders", "nothing for an hour");
        alarms.raise("silence", "orders", "nothing for two hours");
        assert_eq!(alarms.standing(), [("silence", "orders".to_owned(), "nothing for an hour".to_owned())]);
        assert!(metrics.render().contains("omgate_alarm{alarm=\"silence\",subject=\"orders\"} 1"));
        alarms.clear("silence", "orders");
        assert!(alarms.standing().is_empty());
        assert!(metrics.render().contains("omgate_alarm{alarm=\"silence\",subject=\"orders\"} 0"));
    }

    #[test]
    fn the_metrics_equal_the_ledger() {
        let metrics = Metrics::default();
        let mut ledger = Ledger { balanced: true, ..Ledger::default() };
        let counts = crate::store::DeliveryCounts { routed: 3, delivered: 2, waiting: 1, ..Default::default() };
        ledger.destinations.insert("erp".to_owned(), counts);
        metrics.accounts(&ledger);
        let text = metrics.render();
        assert!(text.contains("omgate_deliveries{destination=\"erp\",state=\"delivered\"} 2"), "{text}");
        assert!(text.contains("omgate_ledger_balanced 1"), "{text}");
    }
}

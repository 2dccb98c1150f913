//! Every metric there is: its name, what kind it is, its labels and the words in them, and whether gateways on one store
//! share it.

/// A metric, as people and Prometheus are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// As it stands in the answer.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels. What they hold comes from the configuration or is one of few words, so that there are never many.
    pub labels: &'static [&'static str],
    /// Whether it is about the store, and so the same at every gateway on it.
    pub shared: bool,
    help: &'static str,
}

impl Described {
    /// What it means.
    #[must_use]
    pub fn help(&self) -> String {
        let Self { help, shared, .. } = self;
        if *shared { format!("{help}; shared by gateways on one store: take max, not sum") } else { (*help).to_owned() }
    }
}

const fn own(name: &'static str, kind: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind, labels, shared: false, help }
}

const fn shared(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Described {
    Described { name, kind, labels, shared: true, help }
}

/// All of them.
pub const METRICS: &[Described] = &[
    shared("omgate_notifications", "gauge", &["source", "kind"], "The ledger's notifications"),
    shared("omgate_source_silence_seconds", "gauge", &["source"], "Time since the last envelope of a source"),
    shared("omgate_deliveries", "gauge", &["destination", "state"], "The ledger's deliveries"),
    shared("omgate_attempts", "gauge", &[], "Calls begun"),
    shared("omgate_attempts_unknown", "gauge", &[], "Calls with an unknown outcome"),
    shared("omgate_ledger_balanced", "gauge", &[], "1 when the ledger balances"),
    shared(
        "omgate_oldest_unsettled_age_seconds",
        "gauge",
        &["destination"],
        "Age of the oldest delivery that is not settled",
    ),
    shared("omgate_lanes_repaired", "gauge", &[], "Lanes a sweep had to repair: must be 0"),
    own("omgate_answers_total", "counter", &["source", "answer"], "Answers to Salesforce, by source and kind"),
    own(
        "omgate_refused_total",
        "counter",
        &["source", "reason"],
        "What was refused for good: POSTs, and connections without a source",
    ),
    own("omgate_unknown_paths_total", "counter", &["method"], "Requests to paths that no source has"),
    own("omgate_ack_seconds", "histogram", &[], "From the last byte of a POST to its acknowledgement"),
    own("omgate_body_bytes_largest", "gauge", &[], "The largest body seen since the start"),
    own(
        "omgate_certificate_expiry_timestamp_seconds",
        "gauge",
        &["file"],
        "When the first certificate of a file expires, in Unix time",
    ),
    own("omgate_outcomes_total", "counter", &["destination", "outcome"], "What calls came to since the start"),
    own("omgate_delivery_seconds", "histogram", &["destination"], "How long calls took"),
    own("omgate_store_ready", "gauge", &[], "1 when the store takes commands"),
    own("omgate_writer_queue", "gauge", &[], "Commands waiting for the writer"),
    own("omgate_writer_commits", "gauge", &[], "Commits since the start that wrote something"),
    own("omgate_writer_commands", "gauge", &[], "Commands in those commits"),
    own(
        "omgate_writer_commits_by_size",
        "histogram",
        &[],
        "Commits since the start that wrote something, by how many commands they held",
    ),
    own("omgate_alarm", "gauge", &["alarm", "subject"], "1 while an alarm stands"),
    own("omgate_notices_total", "counter", &["channel", "result"], "Notices of alarms, by what became of them"),
    own("omgate_spans_total", "counter", &["result"], "Spans of traces, by what became of them"),
];

/// What answers to Salesforce are counted by.
pub(super) const ANSWERS: [&str; 4] = ["ack", "nack", "fault", "too_large"];

/// Why a POST was refused for good.
pub(super) const REFUSALS: [&str; 7] =
    ["too_large", "incomplete", "encoding", "malformed", "foreign", "organization", "action"];

/// Why somebody was turned away before a body was read.
pub(super) const DENIALS: [&str; 10] = [
    "no_certificate",
    "certificate_unreadable",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_issuer",
    "certificate_name",
    "certificate_pin",
    "address",
    "proxy",
    "handshake",
];

/// What calls come to.
pub(super) const OUTCOMES: [&str; 4] = ["delivered", "refused", "retry", "unknown"];

/// What becomes of notices.
pub(super) const NOTICED: [&str; 3] = ["sent", "failed", "dropped"];

/// What becomes of spans.
pub(super) const SPANNED: [&str; 3] = ["sent", "failed", "dropped"];

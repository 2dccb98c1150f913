//! What an attempt came to.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

/// What came back from a destination, or did not.
#[derive(Clone, Debug)]
pub enum Exchange {
    /// A whole answer.
    Answered(Response),
    /// The request did not leave (no name, no connection, TLS refused): it was surely not taken.
    NotSent {
        /// What failed, in words, without credentials.
        reason: String,
    },
    /// The request did not leave, because whoever issues the credentials for it gave none: no fault of this delivery.
    NoCredentials {
        /// What was said or failed, in words, without credentials.
        reason: String,
        /// We were refused; else there may be some later.
        is_refused: bool,
    },
    /// The request left, and no usable answer came (timeout, cut connection): it may have been taken.
    NoAnswer {
        /// What happened, in words.
        reason: String,
    },
}

/// A whole HTTP answer, its body bounded.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, values as text.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed, at most the edge's bound.
    pub body: Bytes,
    /// Whether the body was cut at that bound.
    pub cut: bool,
}

impl Response {
    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What an attempt came to: the four that DESIGN knows, each with its reason in words.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Taken.
    Delivered,
    /// Not taken, and never will be as it is.
    Refused {
        /// Why, for the dead letter.
        reason: String,
    },
    /// Not taken now.
    Retry {
        /// Why, for people.
        reason: String,
        /// How long the destination asked us to wait.
        after: Option<Duration>,
        /// Names a fault that carries a detail: the same one again and again is not worth retrying for ever.
        repeat_key: Option<String>,
    },
    /// Not taken because our credentials were refused: no fault of this delivery. The system is paused.
    Unauthorized {
        /// Why, for people.
        reason: String,
    },
    /// Not sent, because nobody issued the credentials for it now: no fault of this delivery, and no try of it.
    Untried {
        /// Why, for people.
        reason: String,
    },
    /// Sent, and no usable answer.
    Unknown {
        /// What happened, in words.
        reason: String,
    },
}

/// What a destination's own rule says is to follow, where the outcome alone would lead to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is sent again: after this long, or as the policy and the answer have it.
    Retry(Option<Duration>),
    /// It is a dead letter.
    Dead,
    /// A person decides.
    Hold,
    /// It waits, and its whole system is paused: one delivery tries again after this long, or after the usual time.
    Pause(Option<Duration>),
}

/// An outcome, and what a rule has to say to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What the attempt came to.
    pub outcome: Outcome,
    /// What is to follow; none: what follows from the outcome.
    pub follow: Option<Follow>,
    /// Which of the destination's rules matched, from 1.
    pub rule: Option<usize>,
}

impl From<Outcome> for Judgement {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, follow: None, rule: None }
    }
}

impl Outcome {
    /// The word for it in the store, the API and the logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused { .. } => "refused",
            Self::Retry { .. } | Self::Unauthorized { .. } | Self::Untried { .. } => "retry",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why, in words; empty for a delivered one.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Delivered => "",
            Self::Refused { reason }
            | Self::Retry { reason, .. }
            | Self::Unauthorized { reason }
            | Self::Untried { reason }
            | Self::Unknown { reason } => reason,
        }
    }
}

/// A value that was kept of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Under this name.
    pub name: String,
    /// Null where there was none, or where it could not be kept.
    pub value: serde_json::Value,
    /// Why it could not be kept, in words.
    pub warning: Option<String>,
}

/// A SOAP fault, of either version, as a destination sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// The code's local name as sent: `Client`, `Server.Busy`, `Sender`, `VersionMismatch` …
    pub code: String,
    /// The code's namespace; empty when it had no prefix or an unbound one.
    pub code_namespace: String,
    /// SOAP 1.2 subcodes, outermost first, local names. Of SOAP 1.1 a dotted code's tail.
    pub subcodes: Vec<String>,
    /// Namespaces of the subcodes, in the same order; empty where there was none.
    #[serde(skip)]
    pub subcode_namespaces: Vec<String>,
    /// `faultstring` or `Reason/Text`.
    pub string: String,
    /// `faultactor` or `Role`.
    pub actor: Option<String>,
    /// The children of `detail`/`Detail` as XML text; none when it was absent or empty.
    pub detail: Option<String>,
    /// The same as a value, typed by what the operation declares of its faults; null where there is none.
    #[serde(skip)]
    pub content: serde_json::Value,
}

/// What is kept of one call, already masked and cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Record {
    /// SHA-256 of the call as its mapping made it, less what credentials add; none where it was not kept.
    #[serde(rename = "call_sha256", serialize_with = "as_hex")]
    #[schema(value_type = Option<String>)]
    pub call_hash: Option<[u8; 32]>,
    /// Method and URL, secrets as references.
    pub request_line: String,
    /// The request's body: the first 64 KiB.
    pub request: String,
    /// Whether the request's body was cut.
    pub request_cut: bool,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// The response's body: the first 64 KiB.
    pub response: String,
    /// Whether the response's body was cut.
    pub response_cut: bool,
    /// The SOAP fault, when there was one.
    pub fault: Option<Fault>,
}

fn as_hex<S: serde::Serializer>(hash: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    hash.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).serialize(serializer)
}

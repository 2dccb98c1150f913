//! The edge to a collector of traces: batches of spans, as the OpenTelemetry protocol has them over HTTP.

use std::time::Duration;

use bytes::Bytes;

use super::{Target, send};
use crate::call::Call;
use crate::outcome::Exchange;
use crate::secret::Text;

/// A collector, and how it is reached.
#[derive(Clone)]
pub struct Collector {
    /// Where batches are posted to.
    pub url: Text,
    /// What it wants to see besides, such as a token.
    pub headers: Vec<(String, Text)>,
    /// The connection.
    pub target: Target,
    /// How long one batch may take.
    pub timeout: Duration,
}

impl Collector {
    /// Posts a batch; the status that came back.
    ///
    /// # Errors
    /// Why none did.
    pub async fn post(&self, batch: Bytes) -> Result<u16, String> {
        let kind = ("Content-Type".to_owned(), Text::plain("application/x-protobuf"));
        let call = Call {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: std::iter::once(kind).chain(self.headers.iter().cloned()).collect(),
            id: String::new(),
            trace: None,
            body: batch,
            timeout: self.timeout,
        };
        match send(&self.target, &call).await {
            Exchange::Answered(answer) => Ok(answer.status),
            Exchange::NotSent { reason } | Exchange::NoCredentials { reason, .. } | Exchange::NoAnswer { reason } => {
                Err(reason)
            }
        }
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "{} {names:?}", self.url)
    }
}

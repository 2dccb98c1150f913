//! One request as Salesforce makes it, and what its answer comes to.

use std::error::Error;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};

use super::answer::{self, Answer};
use super::tally::{Outcome, cut};

/// The most of an answer that is read, in bytes: an acknowledgement has a few hundred.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A connection unused for this long is not used again: many servers close theirs after five seconds.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Headers that the connection needs for itself.
const RESERVED: [&str; 4] = ["content-length", "transfer-encoding", "connection", "upgrade"];

/// Sends envelopes to one address.
#[derive(Debug)]
pub(super) struct Post {
    client: Client,
    to: Url,
    headers: HeaderMap,
    timeout: Duration,
}

/// One sending.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) outcome: Outcome,
    /// How long the answer took, when there was one.
    pub(super) answered: Option<Duration>,
    pub(super) bytes: u64,
}

impl Post {
    /// Prepares the connections.
    ///
    /// # Errors
    /// When the address, a header or the CA is of no use.
    pub(super) fn new(plan: &super::Plan) -> anyhow::Result<Self> {
        if !matches!(plan.to.scheme(), "http" | "https") {
            bail!("the address {} must begin with http:// or https://", plan.to);
        }
        let mut builder = Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(usize::from(plan.connections))
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true);
        if let Some(pem) = &plan.ca {
            let certificates = Certificate::from_pem_bundle(pem).context("reading the CA certificates")?;
            if certificates.is_empty() {
                bail!("reading the CA certificates: there is no PEM certificate in the file");
            }
            builder = builder.tls_certs_only(certificates);
        } else if plan.to.scheme() == "http" {
            // Nothing will be verified: do not look for the system's certificates, which may be missing.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().context("preparing the HTTP client")?;
        Ok(Self { client, to: plan.to.clone(), headers: headers(&plan.headers)?, timeout: plan.timeout })
    }

    /// Sends one envelope and reads the answer.
    pub(super) async fn send(&self, body: Bytes) -> Sending {
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let started = Instant::now();
        match tokio::time::timeout(self.timeout, self.exchange(body)).await {
            Ok(Ok(outcome)) => Sending { outcome, answered: Some(started.elapsed()), bytes },
            Ok(Err(error)) => Sending { outcome: failure(error), answered: None, bytes },
            Err(_) => {
                let text = format!("no answer within {:?}", self.timeout);
                Sending { outcome: Outcome::Error("timeout".to_owned(), text), answered: None, bytes }
            }
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<Outcome, reqwest::Error> {
        let mut response = self.client.post(self.to.clone()).headers(self.headers.clone()).body(body).send().await?;
        let status = response.status();
        if status.is_redirection() {
            return Ok(redirected(&response));
        }
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if content.len() + chunk.len() > ANSWER_BYTES_MAX {
                let text = format!("HTTP {}: the answer is longer than {ANSWER_BYTES_MAX} bytes", status.as_u16());
                return Ok(Outcome::Error("no acknowledgement".to_owned(), text));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(outcome(status, &content))
    }
}

/// What an answer comes to: only HTTP 200 can acknowledge.
fn outcome(status: StatusCode, content: &[u8]) -> Outcome {
    match (status, answer::read(content)) {
        (_, Ok(Answer::Fault { code, reason })) => Outcome::Fault(format!("{code}: {reason}")),
        (StatusCode::OK, Ok(Answer::Ack)) => Outcome::Ack,
        (StatusCode::OK, Ok(Answer::Nack)) => Outcome::Nack,
        (StatusCode::OK, Err(reason)) => Outcome::Error("no acknowledgement".to_owned(), reason),
        (_, Ok(Answer::Ack | Answer::Nack)) => {
            Outcome::Error(format!("HTTP {}", status.as_u16()), "an Ack counts with HTTP 200 only".to_owned())
        }
        (_, Err(_)) => {
            let text =
                String::from_utf8_lossy(content.get(..content.len().min(1_000)).unwrap_or_default()).into_owned();
            let reason = status.canonical_reason().unwrap_or("no standard status");
            let text = if text.trim().is_empty() { reason.to_owned() } else { format!("{reason}: {}", text.trim()) };
            Outcome::Error(format!("HTTP {}", status.as_u16()), text)
        }
    }
}

fn redirected(response: &Response) -> Outcome {
    let target = response.headers().get(LOCATION).map_or_else(String::new, |location| {
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        // A query may hold what is nobody else's business.
        format!(" to {}", cut(location.split(['?', '#']).next().unwrap_or_default()))
    });
    let text = format!(
        "HTTP {}{target}: Salesforce does not follow a redirect, it reads the answer and reports \"{}\"; \
         put the final address into the outbound message",
        response.status().as_u16(),
        answer::PROLOG
    );
    Outcome::Error("redirect".to_owned(), text)
}

fn failure(error: reqwest::Error) -> Outcome {
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "broken connection"
    };
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if text.contains("UnknownIssuer") {
        text.push_str(
            " (Salesforce: PKIX path building failed; the server's CA is unknown, or intermediates are missing)",
        );
    }
    Outcome::Error(kind.to_owned(), text)
}

/// Salesforce's headers, and the caller's: these replace those of the same name, and may repeat.
fn headers(own: &[(HeaderName, HeaderValue)]) -> anyhow::Result<HeaderMap> {
    let mut all = HeaderMap::new();
    all.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=UTF-8"));
    all.insert(HeaderName::from_static("soapaction"), HeaderValue::from_static("\"\""));
    all.insert(USER_AGENT, HeaderValue::from_static("Jakarta Commons-HttpClient/3.1"));
    all.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    for (name, _) in own {
        if RESERVED.contains(&name.as_str()) {
            bail!("the header {name} is made by the connection and cannot be given");
        }
        all.remove(name);
    }
    for (name, value) in own {
        all.append(name.clone(), value.clone());
    }
    Ok(all)
}

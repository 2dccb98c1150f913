//! What came back → what it came to. Pure.
//!
//! The order: transport, `retry_when`, `success_when`, then the defaults of [`by_status`] and [`by_fault`]. Where no rule
//! of the destination's protocol decides, the outcome is chosen that loses nothing and repeats nothing uncounted.

use std::time::Duration;

use uuid::Uuid;

use crate::expression::Expression;
use crate::outcome::{Exchange, Fault, Outcome, Response};
use crate::soap::Reply;

/// Of a text quoted from an answer, in characters.
const QUOTE_MAX: usize = 300;

/// A destination's own rules, asked before the defaults.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// True: the answer means "not now".
    pub retry_when: Option<Expression>,
    /// False: the answer means "refused", whatever its status. True: a 2xx answer is taken even when its body cannot
    /// be read; over any other answer the defaults decide.
    pub success_when: Option<Expression>,
}

/// Classifies an exchange. Precedence: transport, `retry_when`, `success_when`, the defaults.
///
/// A rule that cannot be evaluated leaves open whether the delivery was taken: unknown, with the rule's name.
#[must_use]
pub fn outcome(exchange: &Exchange, reply: Option<&Reply>, rules: &Rules) -> Outcome {
    let response = match exchange {
        Exchange::NotSent { reason } => return retry(reason.clone(), None),
        Exchange::NoAnswer { reason } => return Outcome::Unknown { reason: reason.clone() },
        Exchange::Answered(response) => response,
    };
    match judge("retry_when", rules.retry_when.as_ref(), response, reply) {
        Ok(Some(true)) => {
            return retry(format!("{}, which retry_when calls not now", said(response, reply)), retry_after(response));
        }
        Ok(Some(false) | None) => {}
        Err(unknown) => return unknown,
    }
    match judge("success_when", rules.success_when.as_ref(), response, reply) {
        Ok(Some(false)) => {
            Outcome::Refused { reason: format!("{}, which success_when calls no success", said(response, reply)) }
        }
        Ok(Some(true)) if is_success(response.status) && !matches!(reply, Some(Reply::Fault(_))) => Outcome::Delivered,
        Ok(Some(true) | None) => by_default(response, reply),
        Err(unknown) => unknown,
    }
}

fn judge(
    name: &str,
    rule: Option<&Expression>,
    response: &Response,
    reply: Option<&Reply>,
) -> Result<Option<bool>, Outcome> {
    let Some(rule) = rule else { return Ok(None) };
    evaluate(rule, response, reply).map(Some).map_err(|error| Outcome::Unknown {
        reason: format!("{}, and {name} could not judge it: {error}", said(response, reply)),
    })
}

fn evaluate(_rule: &Expression, _response: &Response, _reply: Option<&Reply>) -> Result<bool, String> {
    Err("not yet connected".to_owned())
}

fn by_default(response: &Response, reply: Option<&Reply>) -> Outcome {
    match reply {
        Some(Reply::Fault(fault)) => by_fault(response, fault),
        Some(Reply::Unreadable(what)) if is_success(response.status) && !response.body.is_empty() => Outcome::Unknown {
            reason: format!("{}, but with {what} in place of a SOAP answer", status_words(response.status)),
        },
        Some(Reply::Body(_) | Reply::Unreadable(_)) | None => by_status(response),
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// What the HTTP status alone says.
fn by_status(response: &Response) -> Outcome {
    let reason = status_words(response.status);
    match response.status {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::Refused { reason: redirected(response) },
        401 | 407 => Outcome::Unauthorized { reason: format!("{reason}: the credentials were refused") },
        // The middle man gave up waiting; 520, 524, 598 and 599 are what some of them say for it.
        408 | 502 | 504 | 520 | 524 | 598 | 599 => {
            Outcome::Unknown { reason: format!("{reason}: it may have been taken") }
        }
        425 | 429 => retry(reason, retry_after(response)),
        400..=499 => Outcome::Refused { reason },
        // RFC 9110 §15: what lies outside 100–599 is read as a server error.
        500.. => retry(reason, retry_after(response)),
        // 101 and the like, unasked for: no answer to the request.
        0..=199 => Outcome::Unknown { reason: format!("{reason}: no answer to the request") },
    }
}

/// A SOAP fault decides whatever the status, but for what HTTP itself says beyond doubt: 401 and 407 (refused
/// credentials harm every delivery, not this one), 425 and 429 (not now), and the middle men's 408, 502 and 504, where a
/// fault that does not blame the message is theirs and not the system's.
fn by_fault(response: &Response, fault: &Fault) -> Outcome {
    let reason = fault_words(response, fault);
    match (response.status, kind(fault)) {
        (401 | 407, _) | (_, FaultKind::Security) => Outcome::Unauthorized { reason },
        (425 | 429, _) => retry(reason, retry_after(response)),
        (_, FaultKind::Client | FaultKind::VersionMismatch | FaultKind::MustUnderstand) => Outcome::Refused { reason },
        (408 | 502 | 504, FaultKind::Server | FaultKind::Other) => Outcome::Unknown { reason },
        (400..=499, FaultKind::Other) => Outcome::Refused { reason },
        (_, FaultKind::Server | FaultKind::Other) => {
            Outcome::Retry { reason, after: retry_after(response), repeat_key: repeat_key(fault) }
        }
    }
}

/// Names a fault that carries a detail: code, text and detail, to the letter.
fn repeat_key(fault: &Fault) -> Option<String> {
    let detail = fault.detail.as_ref()?;
    let whole = format!("{}\n{}\n{}\n{detail}", fault.code, fault.subcodes.join("/"), fault.string);
    Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, whole.as_bytes()).to_string())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    Client,
    Server,
    VersionMismatch,
    MustUnderstand,
    Security,
    Other,
}

fn kind(fault: &Fault) -> FaultKind {
    let base = fault.code.split('.').next().unwrap_or_default();
    let security = |code: &str| {
        matches!(code, "FailedAuthentication" | "InvalidSecurity" | "InvalidSecurityToken" | "FailedCheck")
    };
    if security(base) || fault.subcodes.iter().any(|code| security(code)) {
        return FaultKind::Security;
    }
    match base {
        "Client" | "Sender" => FaultKind::Client,
        "Server" | "Receiver" => FaultKind::Server,
        "VersionMismatch" => FaultKind::VersionMismatch,
        "MustUnderstand" => FaultKind::MustUnderstand,
        _ => FaultKind::Other,
    }
}

fn retry(reason: String, after: Option<Duration>) -> Outcome {
    Outcome::Retry { reason, after, repeat_key: None }
}

/// RFC 9110 §10.2.3: seconds, or a date; a date counts from the answer's own `Date`, since the two clocks may differ.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit: as long as can be said; the policy caps it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = http_date(value)?;
    let now = http_date(response.header("date")?)?;
    Duration::try_from(until.duration_since(now)).ok()
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// What came back, for a sentence about a rule.
fn said(response: &Response, reply: Option<&Reply>) -> String {
    match reply {
        Some(Reply::Fault(fault)) => fault_words(response, fault),
        Some(Reply::Body(_) | Reply::Unreadable(_)) | None => status_words(response.status),
    }
}

fn fault_words(response: &Response, fault: &Fault) -> String {
    let codes: Vec<_> = std::iter::once(&fault.code).chain(&fault.subcodes).map(|code| quote(code)).collect();
    let detail = if fault.detail.is_some() { " (with a detail)" } else { "" };
    format!("SOAP fault {}: {}{detail}, HTTP status {}", codes.join("/"), quote(&fault.string), response.status)
}

fn status_words(status: u16) -> String {
    let name = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    match name {
        Some(name) => format!("answered {status} {name}"),
        None => format!("answered {status}"),
    }
}

fn redirected(response: &Response) -> String {
    let status = status_words(response.status);
    match response.header("location") {
        Some(location) => format!("{status}, to {}; redirects are not followed: correct the address", bare(location)),
        None => status,
    }
}

/// A location without user, query and fragment, where credentials could stand.
fn bare(location: &str) -> String {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let shown = match path.split_once("//") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}//{}{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => path.to_owned(),
    };
    quote(&shown)
}

/// On one line and not too long.
fn quote(text: &str) -> String {
    let mut words = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()).filter(|word| !word.is_empty())
    {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > 4 * QUOTE_MAX {
            break;
        }
    }
    match words.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

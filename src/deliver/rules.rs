//! A destination's own rules, `[[destination.rule]]`: what an answer, or none, comes to. The first that matches counts. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::expression::{Expression, ResponseScope};
use crate::outcome::{Exchange, Fault, Response};
use crate::soap::Reply;

/// One rule. All its conditions must hold; one that is not said always does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// HTTP statuses; empty: any, or none at all.
    pub statuses: Vec<Statuses>,
    /// The SOAP fault's code and subcodes.
    pub fault: Option<FaultCode>,
    /// Text that the fault's detail holds.
    pub detail: Option<String>,
    /// What went wrong before there was an answer.
    pub transport: Option<Transport>,
    /// True of the answer.
    pub when: Option<Expression>,
    /// What follows.
    pub then: Then,
}

/// What follows from an answer that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It was taken.
    Delivered,
    /// It is sent again.
    Retry {
        /// After this long; none: as the policy or the answer has it.
        after: Option<Duration>,
    },
    /// It is a dead letter.
    Dead,
    /// It is held for a person, and its lane stops.
    Hold,
    /// It waits, and its whole system is paused.
    Pause {
        /// After this long one delivery tries again; none: after the usual time.
        after: Option<Duration>,
    },
}

/// What went wrong before there was an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The request did not leave.
    NotSent,
    /// The request left, and no usable answer came.
    NoAnswer,
}

/// `409`, `5xx` or `500-504`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("{text:?} is no HTTP status; those go from 100 to 599: write 409, \"5xx\" or \"500-504\"");
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=599).contains(status));
        if let Some(hundreds) = text.strip_suffix("xx").and_then(|hundreds| hundreds.parse::<u16>().ok()) {
            return if (1..=5).contains(&hundreds) {
                Ok(Self(hundreds * 100..=hundreds * 100 + 99))
            } else {
                Err(wrong())
            };
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self(from..=to)),
            _ => Err(wrong()),
        }
    }
}

/// `Client.Duplicate`, `Sender/BadOrder`, `*/Busy`: a code and as many of its subcodes as are said, by local names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCode(Vec<String>);

impl FromStr for FaultCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<String> = text.split(['.', '/']).map(|part| part.trim().to_owned()).collect();
        let is_name = |part: &String| !part.is_empty() && !part.contains([':', ' ', '{', '}']);
        if parts.iter().all(is_name) {
            return Ok(Self(parts));
        }
        Err(format!(
            "{text:?} is no fault code; write local names such as \"Client\", \"Server.Busy\", \"Sender/BadOrder\" or \"*/Busy\""
        ))
    }
}

impl FaultCode {
    fn matches(&self, fault: &Fault) -> bool {
        let code = fault.code.split('.').next().unwrap_or_default();
        let mut found = std::iter::once(code).chain(fault.subcodes.iter().map(String::as_str));
        self.0.iter().all(|expected| found.next().is_some_and(|part| expected == "*" || expected == part))
    }
}

impl Rule {
    /// Whether it can never count behind another, which matches all that it matches by the status alone, or by what went
    /// wrong without an answer.
    #[must_use]
    pub fn is_hidden_by(&self, before: &Self) -> bool {
        if before.fault.is_some() || before.detail.is_some() || before.when.is_some() {
            return false;
        }
        let within = |own: &Statuses| {
            let covers = |all: &Statuses| all.0.contains(own.0.start()) && all.0.contains(own.0.end());
            before.statuses.iter().any(covers)
        };
        match before.transport {
            Some(transport) => self.transport == Some(transport),
            None => self.transport.is_none() && !self.statuses.is_empty() && self.statuses.iter().all(within),
        }
    }

    /// Whether it matches what came back.
    ///
    /// # Errors
    /// When its expression cannot be evaluated: why.
    pub fn matches(&self, exchange: &Exchange, reply: Option<&Reply>) -> Result<bool, String> {
        let response = match exchange {
            Exchange::Answered(response) if self.transport.is_none() => response,
            Exchange::Answered(_) => return Ok(false),
            Exchange::NotSent { .. } => return Ok(self.transport == Some(Transport::NotSent)),
            // Nothing of the destination: no rule about its answers is asked.
            Exchange::NoCredentials { .. } => return Ok(false),
            Exchange::NoAnswer { .. } => return Ok(self.transport == Some(Transport::NoAnswer)),
        };
        let fault = match reply {
            Some(Reply::Fault(fault)) => Some(fault),
            Some(Reply::Body(_) | Reply::Broken(_) | Reply::Unreadable(_)) | None => None,
        };
        let has_status =
            self.statuses.is_empty() || self.statuses.iter().any(|statuses| statuses.0.contains(&response.status));
        let has_fault = self.fault.as_ref().is_none_or(|code| fault.is_some_and(|fault| code.matches(fault)));
        let holds = |text: &String| fault.and_then(|fault| fault.detail.as_ref()).is_some_and(|all| all.contains(text));
        if !(has_status && has_fault && self.detail.as_ref().is_none_or(holds)) {
            return Ok(false);
        }
        let Some(when) = &self.when else { return Ok(true) };
        let said = evaluate(when, response, reply)?;
        // Of a message that may have been taken, or would be called so, nothing is guessed.
        let matters = is_success(response.status) || (said.holds && self.then == Then::Delivered);
        if said.is_doubtful && matters {
            return Err("its `when` asks for the body, which cannot be read".to_owned());
        }
        Ok(said.holds)
    }
}

/// What a condition says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) holds: bool,
    /// It looked at a body, and there is none that can be read.
    pub(super) lacks_body: bool,
    /// So it might say otherwise, could what stands in the body's place be read: of a middle man, or cut. What is empty hides
    /// nothing, unless it is no answer: one of SOAP has an envelope.
    pub(super) is_doubtful: bool,
}

/// Asks a condition about an answer.
///
/// # Errors
/// Why it cannot be evaluated: by itself, or since it asks for content that cannot be read.
pub(crate) fn evaluate(rule: &Expression, response: &Response, reply: Option<&Reply>) -> Result<Said, String> {
    let judged = rule.evaluate_response(&scope(rule, response, reply)?).map_err(|error| error.to_string())?;
    let (is_there, is_none) = match reply {
        Some(Reply::Body(_) | Reply::Fault(_)) => (true, false),
        Some(Reply::Broken(_) | Reply::Unreadable(_)) => (false, true),
        None => (false, false),
    };
    let lacks_body = judged.reads_body && !is_there;
    let is_doubtful = lacks_body && (!response.body.is_empty() || (judged.holds && is_none));
    Ok(Said { holds: judged.holds, lacks_body, is_doubtful })
}

/// What an expression sees of an answer.
///
/// # Errors
/// Why it cannot be asked: it asks for content that cannot be read.
pub(super) fn scope<'a>(
    rule: &Expression,
    response: &'a Response,
    reply: Option<&'a Reply>,
) -> Result<ResponseScope<'a>, String> {
    let (fault, body) = match reply {
        Some(Reply::Broken(why)) if asks_for_the_body(rule) => return Err(why.clone()),
        Some(Reply::Fault(fault)) => (Some(fault), None),
        Some(Reply::Body(body)) => (None, Some(body)),
        Some(Reply::Broken(_) | Reply::Unreadable(_)) | None => (None, None),
    };
    Ok(ResponseScope { status: response.status, headers: &response.headers, fault, body })
}

pub(super) fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

pub(super) fn asks_for_the_body(rule: &Expression) -> bool {
    let mut names = rule.names();
    names.any(|(path, _)| path == "response" || path == "response.body" || path.starts_with("response.body."))
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Dead => "dead",
            Self::Hold => "hold",
            Self::Pause { .. } => "pause",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Tables;

    fn rule() -> Rule {
        Rule { statuses: Vec::new(), fault: None, detail: None, transport: None, when: None, then: Then::Dead }
    }

    fn answered(status: u16) -> Exchange {
        Exchange::Answered(Response { status, headers: Vec::new(), body: bytes::Bytes::new(), cut: false })
    }

    fn fault(code: &str, subcodes: &[&str], detail: Option<&str>) -> Reply {
        Reply::Fault(Fault {
            code: code.to_owned(),
            subcodes: subcodes.iter().map(|&code| code.to_owned()).collect(),
            detail: detail.map(str::to_owned),
            ..Fault::default()
        })
    }

    #[test]
    fn statuses_are_numbers_hundreds_and_ranges() {
        for (text, inside, outside) in [("409", 409, 408), ("5xx", 599, 600), ("500-504", 504, 505)] {
            let rule = Rule { statuses: vec![text.parse().unwrap()], ..rule() };
            assert!(rule.matches(&answered(inside), None).unwrap(), "{text}");
            assert!(!rule.matches(&answered(outside), None).unwrap(), "{text}");
        }
        for text in ["", "xx", "0xx", "10xx", "99", "1000", "504-500", "5x", "6xx", "600", "500-600", "ok"] {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_is_hidden_by_one_that_matches_all_that_it_does() {
        let with = |statuses: &[&str]| Rule {
            statuses: statuses.iter().map(|text| text.parse().unwrap()).collect(),
            ..rule()
        };
        let detailed = Rule { detail: Some("x".to_owned()), ..with(&["409"]) };
        let broken = |transport| Rule { transport: Some(transport), ..rule() };
        for (before, own, expected) in [
            (&with(&["409"]), &with(&["409"]), true),
            (&with(&["4xx", "5xx"]), &with(&["409", "500-504"]), true),
            (&with(&["409"]), &with(&["409", "410"]), false),
            (&with(&["409"]), &detailed, true),
            (&detailed, &with(&["409"]), false),
            (&detailed, &detailed, false),
            (&with(&["409"]), &broken(Transport::NotSent), false),
            (&broken(Transport::NotSent), &broken(Transport::NotSent), true),
            (&broken(Transport::NotSent), &broken(Transport::NoAnswer), false),
        ] {
            assert_eq!(own.is_hidden_by(before), expected, "{own:?} behind {before:?}");
        }
    }

    #[test]
    fn a_fault_code_matches_as_many_of_its_parts_as_the_rule_says() {
        let dotted = fault("Client.Order.Duplicate", &["Order", "Duplicate"], None);
        let nested = fault("Sender", &["BadOrder"], None);
        for (pattern, reply, expected) in [
            ("Client", &dotted, true),
            ("Client.Order", &dotted, true),
            ("Client/Order/Duplicate", &dotted, true),
            ("Client.Duplicate", &dotted, false),
            ("Client.Order.Duplicate.More", &dotted, false),
            ("*.Order", &dotted, true),
            ("Sender/BadOrder", &nested, true),
            ("Server", &nested, false),
        ] {
            let rule = Rule { fault: Some(pattern.parse().unwrap()), ..rule() };
            assert_eq!(rule.matches(&answered(500), Some(reply)).unwrap(), expected, "{pattern}");
            assert!(!rule.matches(&answered(500), None).unwrap(), "without a fault");
        }
        for text in ["", "soap:Client", "Client..x", "{urn:x}Client"] {
            assert!(text.parse::<FaultCode>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let when = Expression::compile("response.status != 503", &Tables::default()).unwrap();
        let rule = Rule {
            statuses: vec!["5xx".parse().unwrap()],
            fault: Some("Server".parse().unwrap()),
            detail: Some("E17".to_owned()),
            when: Some(when),
            ..rule()
        };
        let detail = Some("<code>E17</code>");
        for (status, reply, expected) in [
            (500, fault("Server", &[], detail), true),
            (503, fault("Server", &[], detail), false),
            (400, fault("Server", &[], detail), false),
            (500, fault("Client", &[], detail), false),
            (500, fault("Server", &[], Some("<code>E18</code>")), false),
            (500, fault("Server", &[], None), false),
        ] {
            assert_eq!(rule.matches(&answered(status), Some(&reply)).unwrap(), expected, "{status} {reply:?}");
        }
    }

    #[test]
    fn what_got_no_answer_is_matched_by_its_transport_alone() {
        let not_sent = Exchange::NotSent { reason: String::new() };
        let no_answer = Exchange::NoAnswer { reason: String::new() };
        let rule = |transport| Rule { transport, ..rule() };
        for (transport, exchange, expected) in [
            (Some(Transport::NotSent), &not_sent, true),
            (Some(Transport::NotSent), &no_answer, false),
            (Some(Transport::NoAnswer), &no_answer, true),
            (Some(Transport::NoAnswer), &answered(200), false),
            (None, &not_sent, false),
            (None, &no_answer, false),
            (None, &answered(200), true),
        ] {
            assert_eq!(rule(transport).matches(exchange, None).unwrap(), expected, "{transport:?} {exchange:?}");
        }
    }
}

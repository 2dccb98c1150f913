//! What came back → what it came to. Pure.
//!
//! The order: the destination's own rules, transport, `retry_when`, `success_when`, then the defaults of `by_status` and
//! `by_fault`. Where no rule of the destination's protocol decides, the outcome is chosen that loses nothing and repeats
//! nothing uncounted.

use std::time::Duration;

use uuid::Uuid;

use crate::deliver::rules::{self, Rule, Said, Then, is_success};
use crate::expression::Expression;
use crate::outcome::{Exchange, Fault, Follow, Judgement, Outcome, Response};
use crate::soap::Reply;
use crate::soap::fault::{self, FaultKind};

/// Of a text quoted from an answer, in characters.
const QUOTE_MAX: usize = 300;

/// A destination's own rules, asked before the defaults.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The first that matches counts, before anything else.
    pub list: Vec<Rule>,
    /// True: the answer means "not now".
    pub retry_when: Option<Expression>,
    /// False: what is a success by its status and fault means "refused". True: a 2xx answer is taken, whatever it holds; over
    /// any other answer the defaults decide. Where it looks at a body, and what is there cannot be read, it says nothing,
    /// whatever it comes to: then a 2xx is unknown. Over an empty answer of REST true is taken, and false is unknown.
    pub success_when: Option<Expression>,
}

/// Classifies an exchange. Precedence: the rules, transport, `retry_when`, `success_when`, the defaults.
///
/// A rule that cannot be evaluated leaves open whether the delivery was taken: unknown, with the rule's name.
#[must_use]
pub fn judge(exchange: &Exchange, reply: Option<&Reply>, rules: &Rules) -> Judgement {
    for (place, rule) in rules.list.iter().enumerate() {
        match rule.matches(exchange, reply) {
            Ok(false) => {}
            Ok(true) => return by_rule(place + 1, rule.then, exchange, reply, rules),
            Err(error) => {
                let reason = format!("{}, and rule {} could not judge it: {error}", told(exchange, reply), place + 1);
                return Outcome::Unknown { reason }.into();
            }
        }
    }
    outcome(exchange, reply, rules).into()
}

/// What a rule makes of an exchange. Whether the message was taken is still for the exchange to say, unless the rule says
/// that it was: so what is unknown stays counted as unknown, whatever follows.
fn by_rule(number: usize, then: Then, exchange: &Exchange, reply: Option<&Reply>, rules: &Rules) -> Judgement {
    let reason = format!("{}, which rule {number} calls {then}", told(exchange, reply));
    let (outcome, follow) = match (then, outcome(exchange, reply, rules)) {
        (Then::Delivered, _) => (Outcome::Delivered, None),
        (Then::Retry { after }, Outcome::Unknown { .. }) => (Outcome::Unknown { reason }, Some(Follow::Retry(after))),
        (Then::Retry { after }, _) => {
            (retry(reason, after_of(exchange)), after.map(|after| Follow::Retry(Some(after))))
        }
        (Then::Dead, Outcome::Unknown { .. }) => (Outcome::Unknown { reason }, Some(Follow::Dead)),
        (Then::Dead, _) => (Outcome::Refused { reason }, None),
        (Then::Hold, Outcome::Unknown { .. }) => (Outcome::Unknown { reason }, Some(Follow::Hold)),
        (Then::Hold, _) => (Outcome::Refused { reason }, Some(Follow::Hold)),
        (Then::Pause { after }, Outcome::Unknown { .. }) => (Outcome::Unknown { reason }, Some(Follow::Pause(after))),
        (Then::Pause { after }, _) => (retry(reason, None), Some(Follow::Pause(after))),
    };
    Judgement { outcome, follow, rule: Some(number) }
}

fn after_of(exchange: &Exchange) -> Option<Duration> {
    match exchange {
        Exchange::Answered(response) => retry_after(response),
        Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => None,
    }
}

/// What came back, or did not, for a sentence about a rule.
fn told(exchange: &Exchange, reply: Option<&Reply>) -> String {
    match exchange {
        Exchange::Answered(response) => said(response, reply),
        Exchange::NotSent { reason } | Exchange::NoCredentials { reason, .. } | Exchange::NoAnswer { reason } => {
            reason.clone()
        }
    }
}

fn outcome(exchange: &Exchange, reply: Option<&Reply>, rules: &Rules) -> Outcome {
    let response = match exchange {
        Exchange::NotSent { reason } => return retry(reason.clone(), None),
        Exchange::NoCredentials { reason, is_refused: true } => {
            return Outcome::Unauthorized { reason: reason.clone() };
        }
        Exchange::NoCredentials { reason, is_refused: false } => return Outcome::Untried { reason: reason.clone() },
        Exchange::NoAnswer { reason } => return Outcome::Unknown { reason: reason.clone() },
        Exchange::Answered(response) => response,
    };
    match ask("retry_when", rules.retry_when.as_ref(), response, reply) {
        Ok(Some(said)) if said.is_doubtful && may_be_taken(response, reply, said.holds) => {
            return unjudged("retry_when", response, reply);
        }
        Ok(Some(said)) if said.holds => {
            return retry(
                format!("{}, which retry_when calls not now", self::said(response, reply)),
                retry_after(response),
            );
        }
        Ok(_) => {}
        Err(unknown) => return unknown,
    }
    match ask("success_when", rules.success_when.as_ref(), response, reply) {
        Ok(Some(said)) if said.holds => match reply {
            Some(Reply::Fault(_)) => by_default(response, reply),
            _ if !is_success(response.status) => by_default(response, reply),
            _ if said.is_doubtful => unjudged("success_when", response, reply),
            _ => Outcome::Delivered,
        },
        // What is no success by itself stays what it is: refused credentials and "not now" are no fault of the message.
        Ok(Some(said)) => match by_default(response, reply) {
            Outcome::Delivered if said.lacks_body => unjudged("success_when", response, reply),
            Outcome::Delivered => Outcome::Refused {
                reason: format!("{}, which success_when calls no success", self::said(response, reply)),
            },
            other @ (Outcome::Refused { .. }
            | Outcome::Retry { .. }
            | Outcome::Untried { .. }
            | Outcome::Unauthorized { .. }
            | Outcome::Unknown { .. }) => other,
        },
        Ok(None) => by_default(response, reply),
        Err(unknown) => unknown,
    }
}

/// Whether an answer leaves open that the message was taken. Of another than a 2xx that is asked only where "not now" would
/// be said of it, as if it were known that it was not.
fn may_be_taken(response: &Response, reply: Option<&Reply>, holds: bool) -> bool {
    is_success(response.status) || (holds && matches!(by_default(response, reply), Outcome::Unknown { .. }))
}

fn ask(
    name: &str,
    rule: Option<&Expression>,
    response: &Response,
    reply: Option<&Reply>,
) -> Result<Option<Said>, Outcome> {
    let Some(rule) = rule else { return Ok(None) };
    rules::evaluate(rule, response, reply).map(Some).map_err(|why| Outcome::Unknown {
        reason: format!("{}, and {name} could not judge it: {why}", said(response, reply)),
    })
}

/// No answer of the system that could be judged.
fn unjudged(name: &str, response: &Response, reply: Option<&Reply>) -> Outcome {
    Outcome::Unknown { reason: format!("{}, with no body that {name} could judge", said(response, reply)) }
}

fn by_default(response: &Response, reply: Option<&Reply>) -> Outcome {
    match reply {
        Some(Reply::Fault(fault)) => by_fault(response, fault),
        Some(Reply::Unreadable(what)) if is_success(response.status) => Outcome::Unknown {
            reason: format!("{}, but with {what} in place of a SOAP answer", status_words(response.status)),
        },
        // The operation's own answer: it was taken, whatever else it says.
        Some(Reply::Body(_) | Reply::Broken(_) | Reply::Unreadable(_)) | None => by_status(response),
    }
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
    match (response.status, fault::kind(fault)) {
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
        Some(Reply::Body(_) | Reply::Broken(_) | Reply::Unreadable(_)) | None => status_words(response.status),
    }
}

fn fault_words(response: &Response, fault: &Fault) -> String {
    // The subcodes of SOAP 1.1 stand in the code already, behind its dots.
    let subcodes = if fault.code.contains('.') { &[] } else { fault.subcodes.as_slice() };
    let codes: Vec<_> = std::iter::once(&fault.code).chain(subcodes).map(|code| quote(code)).collect();
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::deliver::rules::Transport;
    use crate::expression::Tables;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), cut: false }
    }

    fn fault(code: &str, subcodes: &[&str], detail: Option<&str>) -> Fault {
        Fault {
            code: code.to_owned(),
            subcodes: subcodes.iter().map(|&code| code.to_owned()).collect(),
            string: "it\n  broke".to_owned(),
            detail: detail.map(str::to_owned),
            ..Fault::default()
        }
    }

    fn classified(status: u16, headers: &[(&str, &str)], reply: Option<&Reply>) -> Outcome {
        outcome(&Exchange::Answered(response(status, headers, "body")), reply, &Rules::default())
    }

    fn word(outcome: &Outcome) -> &'static str {
        if matches!(outcome, Outcome::Unauthorized { .. }) { "unauthorized" } else { outcome.as_str() }
    }

    fn rules(retry_when: Option<&str>, success_when: Option<&str>) -> Rules {
        let compile = |source| Expression::compile(source, &Tables::default()).unwrap();
        Rules { list: Vec::new(), retry_when: retry_when.map(compile), success_when: success_when.map(compile) }
    }

    #[test]
    fn every_status_has_its_outcome() {
        for (range, expected) in [
            (100..=199, "unknown"),
            (200..=299, "delivered"),
            (300..=399, "refused"),
            (400..=400, "refused"),
            (401..=401, "unauthorized"),
            (402..=406, "refused"),
            (407..=407, "unauthorized"),
            (408..=408, "unknown"),
            (409..=424, "refused"),
            (425..=425, "retry"),
            (426..=428, "refused"),
            (429..=429, "retry"),
            (430..=499, "refused"),
            (500..=501, "retry"),
            (502..=502, "unknown"),
            (503..=503, "retry"),
            (504..=504, "unknown"),
            (505..=519, "retry"),
            (520..=520, "unknown"),
            (521..=523, "retry"),
            (524..=524, "unknown"),
            (525..=597, "retry"),
            (598..=599, "unknown"),
            (600..=999, "retry"),
        ] {
            for status in range {
                assert_eq!(word(&classified(status, &[], None)), expected, "{status}");
            }
        }
    }

    #[test]
    fn the_first_rule_that_matches_says_what_follows_and_the_exchange_whether_it_was_taken() {
        let rule = |statuses: &str, transport, then| Rule {
            statuses: statuses.parse().into_iter().collect(),
            fault: None,
            detail: None,
            transport,
            when: None,
            then,
        };
        let minute = Some(Duration::from_secs(60));
        let no_answer = || Exchange::NoAnswer { reason: "cut".to_owned() };
        let answered = |status| Exchange::Answered(response(status, &[], "body"));
        for (exchange, then, expected, follow) in [
            (answered(409), Then::Delivered, "delivered", None),
            (answered(400), Then::Retry { after: minute }, "retry", Some(Follow::Retry(minute))),
            (answered(400), Then::Retry { after: None }, "retry", None),
            (answered(500), Then::Dead, "refused", None),
            (answered(500), Then::Hold, "refused", Some(Follow::Hold)),
            (answered(200), Then::Pause { after: minute }, "retry", Some(Follow::Pause(minute))),
            (answered(504), Then::Dead, "unknown", Some(Follow::Dead)),
            (no_answer(), Then::Retry { after: None }, "unknown", Some(Follow::Retry(None))),
            (no_answer(), Then::Hold, "unknown", Some(Follow::Hold)),
            (no_answer(), Then::Pause { after: None }, "unknown", Some(Follow::Pause(None))),
        ] {
            let (statuses, transport) = match &exchange {
                Exchange::Answered(response) => (response.status.to_string(), None),
                Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => {
                    (String::new(), Some(Transport::NoAnswer))
                }
            };
            let never = Rule {
                when: Some(Expression::compile("false", &Tables::default()).unwrap()),
                ..rule("xxx", None, Then::Dead)
            };
            let list = vec![never, rule(&statuses, transport, then), rule("xxx", None, Then::Delivered)];
            let judged = judge(&exchange, None, &Rules { list, ..Rules::default() });
            assert_eq!(
                (judged.outcome.as_str(), judged.follow, judged.rule),
                (expected, follow, Some(2)),
                "{exchange:?}"
            );
        }
    }

    #[test]
    fn what_no_rule_matches_and_what_a_rule_cannot_judge() {
        let when = Expression::compile("response.body.Code < 'x' + 1", &Tables::default()).unwrap();
        let rule = Rule {
            statuses: vec!["500".parse().unwrap()],
            fault: None,
            detail: None,
            transport: None,
            when: Some(when),
            then: Then::Delivered,
        };
        let rules = Rules { list: vec![rule], ..Rules::default() };
        let judged = |status| judge(&Exchange::Answered(response(status, &[], "body")), None, &rules);
        assert_eq!(judged(200), Outcome::Delivered.into());
        assert!(judged(500).outcome.reason().contains("rule 1 could not judge it"), "{:?}", judged(500));
        assert_eq!(judged(500).outcome.as_str(), "unknown");
    }

    #[test]
    fn what_did_not_leave_is_retried_and_what_got_no_answer_is_unknown_whatever_the_rules_say() {
        let rules = rules(Some("true"), Some("false"));
        let not_sent = Exchange::NotSent { reason: "no route".to_owned() };
        assert_eq!(outcome(&not_sent, None, &rules), retry("no route".to_owned(), None));
        let no_answer = Exchange::NoAnswer { reason: "cut".to_owned() };
        assert_eq!(outcome(&no_answer, None, &rules), Outcome::Unknown { reason: "cut".to_owned() });
        for (is_refused, expected) in [
            (true, Outcome::Unauthorized { reason: "no token".to_owned() }),
            (false, Outcome::Untried { reason: "no token".to_owned() }),
        ] {
            let exchange = Exchange::NoCredentials { reason: "no token".to_owned(), is_refused };
            assert_eq!(outcome(&exchange, None, &rules), expected);
        }
    }

    #[test]
    fn a_fault_decides_whatever_the_status_but_for_what_http_says_beyond_doubt() {
        for (code, subcodes, statuses, expected) in [
            ("Client", &[][..], &[200, 400, 404, 500, 502, 503][..], "refused"),
            ("Client.Order.Unknown", &[], &[500], "refused"),
            ("Sender", &["BadOrder"], &[400, 500], "refused"),
            ("VersionMismatch", &[], &[500], "refused"),
            ("MustUnderstand", &[], &[500], "refused"),
            ("Server", &[], &[200, 400, 500, 503], "retry"),
            ("Server.Busy", &[], &[500], "retry"),
            ("Receiver", &[], &[200, 500], "retry"),
            ("Server", &[], &[408, 502, 504], "unknown"),
            ("ERR42", &[], &[200, 500, 503], "retry"),
            ("ERR42", &[], &[400, 422], "refused"),
            ("ERR42", &[], &[504], "unknown"),
            ("FailedAuthentication", &[], &[500], "unauthorized"),
            ("Sender", &["InvalidSecurityToken"], &[200, 500], "unauthorized"),
            ("Client", &[], &[401, 407], "unauthorized"),
            ("Client", &[], &[425, 429], "retry"),
        ] {
            let reply = Reply::Fault(fault(code, subcodes, None));
            for &status in statuses {
                assert_eq!(word(&classified(status, &[], Some(&reply))), expected, "{code} {status}");
            }
        }
    }

    #[test]
    fn a_fault_is_told_on_one_line_with_its_codes() {
        let outcome = classified(500, &[], Some(&Reply::Fault(fault("Sender", &["BadOrder"], Some("<d/>")))));
        assert_eq!(outcome.reason(), "SOAP fault Sender/BadOrder: it broke (with a detail), HTTP status 500");
        let long = Fault { string: "x".repeat(1_000_000), ..fault("Server", &[], None) };
        assert!(classified(500, &[], Some(&Reply::Fault(long))).reason().chars().count() < 400);
    }

    #[test]
    fn the_same_server_fault_has_the_same_key_and_one_without_a_detail_has_none() {
        let key = |fault| {
            let outcome = classified(500, &[], Some(&Reply::Fault(fault)));
            let Outcome::Retry { repeat_key, .. } = outcome else { panic!("{outcome:?}") };
            repeat_key
        };
        let known = key(fault("Server", &[], Some("<code>7</code>")));
        assert!(known.is_some());
        assert_eq!(key(fault("Server", &[], Some("<code>7</code>"))), known);
        assert_ne!(key(fault("Server", &[], Some("<code>8</code>"))), known);
        assert_ne!(key(fault("Receiver", &[], Some("<code>7</code>"))), known);
        assert_eq!(key(fault("Server", &[], None)), None);
    }

    #[test]
    fn a_web_page_in_place_of_a_soap_answer_leaves_open_whether_it_was_taken() {
        let page = Reply::Unreadable("an HTML page".to_owned());
        let outcome = classified(200, &[], Some(&page));
        assert_eq!(
            outcome,
            Outcome::Unknown { reason: "answered 200 OK, but with an HTML page in place of a SOAP answer".to_owned() }
        );
        for (status, expected) in [(404, "refused"), (401, "unauthorized"), (503, "retry"), (302, "refused")] {
            assert_eq!(word(&classified(status, &[], Some(&page))), expected, "{status}");
        }
        let empty = Reply::Unreadable("an empty answer".to_owned());
        let nothing = Exchange::Answered(response(200, &[], ""));
        assert_eq!(super::outcome(&nothing, Some(&empty), &Rules::default()).as_str(), "unknown");
        let accepted = Exchange::Answered(response(202, &[], ""));
        let taken = Reply::Body(serde_json::Value::Null);
        assert_eq!(super::outcome(&accepted, Some(&taken), &Rules::default()), Outcome::Delivered);
    }

    #[test]
    fn an_answer_whose_content_cannot_be_read_was_taken_unless_a_rule_asks_for_its_content() {
        let broken = Reply::Broken("<a> refers to #b".to_owned());
        for (rules, expected) in [
            (rules(None, None), "delivered"),
            (rules(None, Some("response.status == 200")), "delivered"),
            (rules(None, Some("response.status == 201")), "refused"),
            (rules(None, Some("response.body.ok")), "unknown"),
            (rules(Some("response.body['busy']"), None), "unknown"),
        ] {
            let outcome = outcome(&Exchange::Answered(response(200, &[], "body")), Some(&broken), &rules);
            assert_eq!(outcome.as_str(), expected, "{rules:?}: {outcome:?}");
        }
        for (status, expected) in [(500, "retry"), (404, "refused"), (504, "unknown")] {
            assert_eq!(word(&classified(status, &[], Some(&broken))), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date_against_the_answers_own_clock() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, expected) in [
            (&[("retry-after", "120")][..], Some(120)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[("retry-after", "99999999999999999999999")], Some(u64::from(u32::MAX))),
            (&[("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT"), date], Some(120)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT")], None),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date], None),
            (&[("retry-after", "soon"), date], None),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "")], None),
            (&[("retry-after", "1.5")], None),
            (&[], None),
        ] {
            let fault = Reply::Fault(fault("Server", &[], None));
            for (status, reply) in [(429, None), (503, None), (500, Some(&fault))] {
                let Outcome::Retry { after, .. } = classified(status, headers, reply) else { panic!("{headers:?}") };
                assert_eq!(after, expected.map(Duration::from_secs), "{headers:?}");
            }
        }
    }

    #[test]
    fn a_redirect_is_refused_and_names_where_to_without_credentials() {
        for (location, expected) in [
            ("https://u:p@login.example/sso?ticket=secret#x", "https://login.example/sso"),
            ("/login?next=/orders", "/login"),
            ("//other.example/x", "//other.example/x"),
        ] {
            let Outcome::Refused { reason } = classified(302, &[("location", location)], None) else { panic!() };
            let full = format!("answered 302 Found, to {expected}; redirects are not followed: correct the address");
            assert_eq!(reason, full);
        }
        assert_eq!(classified(304, &[], None).reason(), "answered 304 Not Modified");
    }

    #[test]
    fn the_rules_come_before_the_defaults_and_retry_when_before_success_when() {
        let ok = Reply::Body(json!({"status": "ok"}));
        let busy = Reply::Body(json!({"status": "busy"}));
        let gone = Reply::Fault(fault("Client", &[], None));
        let asks = Some("response.body.status == 'busy'");
        let succeeds = Some("response.body.status == 'ok'");
        for (rules, status, reply, expected) in [
            (rules(asks, None), 200, &busy, "retry"),
            (rules(asks, None), 400, &busy, "retry"),
            (rules(asks, None), 200, &ok, "delivered"),
            (rules(None, succeeds), 200, &ok, "delivered"),
            (rules(None, succeeds), 200, &busy, "refused"),
            (rules(None, succeeds), 503, &busy, "retry"),
            (rules(None, succeeds), 401, &busy, "unauthorized"),
            (rules(None, succeeds), 429, &busy, "retry"),
            (rules(None, succeeds), 504, &busy, "unknown"),
            (rules(None, succeeds), 409, &busy, "refused"),
            (rules(None, Some("true")), 503, &ok, "retry"),
            (rules(None, Some("true")), 200, &Reply::Unreadable("text".to_owned()), "delivered"),
            (rules(None, Some("true")), 200, &gone, "refused"),
            (rules(asks, succeeds), 200, &busy, "retry"),
            (rules(Some("response.fault.code == 'Client'"), None), 500, &gone, "retry"),
            (rules(Some("response.headers['x-wait'] == 'yes'"), None), 200, &ok, "retry"),
        ] {
            let exchange = Exchange::Answered(response(status, &[("x-wait", "yes")], "body"));
            let outcome = outcome(&exchange, Some(reply), &rules);
            assert_eq!(word(&outcome), expected, "{rules:?} {status} {reply:?}");
        }
    }

    fn ruled(source: &str, then: Then) -> Rules {
        let rule = Rule {
            statuses: Vec::new(),
            fault: None,
            detail: None,
            transport: None,
            when: Some(Expression::compile(source, &Tables::default()).unwrap()),
            then,
        };
        Rules { list: vec![rule], ..Rules::default() }
    }

    #[test]
    fn what_asks_for_a_body_that_cannot_be_read_judges_nothing() {
        let unreadable = Reply::Unreadable("HTML".to_owned());
        let by_body = || rules(None, Some("response.body.ok"));
        let dead = |source| ruled(source, Then::Dead);
        for (rules, status, body, reply, expected) in [
            (by_body(), 200, "<html>", None, "unknown"),
            (by_body(), 200, "", None, "unknown"),
            (by_body(), 200, "<html>", Some(&unreadable), "unknown"),
            (by_body(), 503, "<html>", None, "retry"),
            (by_body(), 422, "", None, "refused"),
            (rules(None, Some("response.status == 204")), 200, "", None, "refused"),
            (rules(Some("response.body.busy"), None), 200, "<html>", None, "unknown"),
            (rules(Some("response.body.busy"), None), 204, "", None, "delivered"),
            (rules(Some("response.body.busy"), None), 503, "<html>", None, "retry"),
            (by_body(), 200, "{}", Some(&Reply::Body(json!({"ok": "false"}))), "refused"),
            (by_body(), 200, "{}", Some(&Reply::Body(json!({"ok": "true"}))), "delivered"),
            (dead("response.body.err == 'E1'"), 200, "<html>", None, "unknown"),
            (dead("response.body.err == 'E1'"), 204, "", None, "delivered"),
            (dead("response.body.err == 'E1'"), 503, "<html>", None, "retry"),
            (dead("response.headers['x-err'] == '1'"), 200, "<html>", None, "delivered"),
        ] {
            let judged = judge(&Exchange::Answered(response(status, &[], body)), reply, &rules);
            assert_eq!(word(&judged.outcome), expected, "{rules:?} {status} {body:?}");
        }
    }

    #[test]
    fn what_holds_of_a_body_that_cannot_be_read_is_no_more_certain_than_what_does_not() {
        let unreadable = Reply::Unreadable("HTML".to_owned());
        let nothing = Reply::Unreadable("an empty answer".to_owned());
        let success = |source| rules(None, Some(source));
        let dead = |source| ruled(source, Then::Dead);
        let taken = |source| ruled(source, Then::Delivered);
        for (rules, status, body, reply, expected) in [
            (success("response.body.Accepted != false"), 200, "<html>", Some(&unreadable), "unknown"),
            (success("not response.body.Warnings"), 200, "", Some(&nothing), "unknown"),
            (success("not response.body.Warnings"), 503, "<html>", Some(&unreadable), "retry"),
            (rules(Some("not response.body.ok"), None), 200, "<html>", None, "unknown"),
            (rules(Some("not response.body.ok"), None), 504, "<html>", None, "unknown"),
            (rules(Some("not response.body.ok"), None), 404, "<html>", None, "retry"),
            (rules(Some("response.status == 504 or response.body.busy"), None), 504, "<html>", None, "retry"),
            (dead("response.body.code != 'E1'"), 200, "<html>", None, "unknown"),
            (dead("response.body.code != 'E1'"), 500, "<html>", None, "refused"),
            (taken("not response.body.error"), 200, "<html>", None, "unknown"),
            (taken("not response.body.error"), 500, "<html>", None, "unknown"),
            (taken("not response.body.error"), 200, "", Some(&nothing), "unknown"),
            (taken("response.body.code == 'DUPLICATE'"), 409, "<html>", None, "refused"),
            // An empty answer of REST was read to its end.
            (success("not response.body.error"), 200, "", None, "delivered"),
            (success("response.status == 204 or response.body.ok"), 204, "", None, "delivered"),
            (success("response.status == 204 or response.body.ok"), 200, "", None, "unknown"),
            (taken("not response.body.error"), 409, "", None, "delivered"),
            // Who does not look at the body does not miss it.
            (success("response.status == 202 or response.body.ok"), 202, "Accepted", None, "delivered"),
            (success("response.status == 202 and response.body.ok"), 200, "<html>", None, "refused"),
            (success("response.status == 200"), 200, "<html>", Some(&unreadable), "delivered"),
        ] {
            let judged = judge(&Exchange::Answered(response(status, &[], body)), reply, &rules);
            assert_eq!(word(&judged.outcome), expected, "{rules:?} {status} {body:?}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_leaves_open_whether_it_was_taken_and_is_named() {
        let reply = Reply::Body(json!({"total": "x"}));
        let exchange = Exchange::Answered(response(200, &[], "body"));
        for (rules, name) in [
            (rules(Some("(response.body.total | int) > 5"), None), "retry_when"),
            (rules(None, Some("(response.body.total | int) > 5")), "success_when"),
        ] {
            let outcome = outcome(&exchange, Some(&reply), &rules);
            assert_eq!(outcome.as_str(), "unknown");
            assert!(
                outcome.reason().starts_with(&format!("answered 200 OK, and {name} could not judge it: ")),
                "{outcome:?}"
            );
        }
    }
}

//! After an unknown outcome: a call that asks the target whether the message arrived (`unknown = "probe"`).

use crate::deliver::rules;
use crate::expression::Expression;
use crate::map::Mapping;
use crate::outcome::{Exchange, Outcome};
use crate::soap::Reply;

/// How a route finds out whether a message arrived.
#[derive(Debug)]
pub struct Lookup {
    /// The destination that is asked.
    pub destination: String,
    /// How the question is made of the record.
    pub mapping: Mapping,
    /// True of the answer: the message is there.
    pub found_when: Expression,
    /// True of the answer: it is not. None: it is not when the question was answered as a success and it was not found.
    pub absent_when: Option<Expression>,
}

/// What the target knows of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It arrived.
    There,
    /// It did not.
    Absent,
    /// The question had no answer that says so.
    Unknown {
        /// Why not, in words.
        reason: String,
    },
}

impl Lookup {
    /// Reads the answer to the question. `outcome` is what the exchange would come to as a delivery.
    pub(super) fn judge(&self, exchange: &Exchange, reply: Option<&Reply>, outcome: &Outcome) -> Found {
        let Exchange::Answered(response) = exchange else { return unknown(outcome.reason()) };
        if response.cut {
            return unknown("its answer is longer than response_limit allows, and was cut");
        }
        let is_success = *outcome == Outcome::Delivered;
        let ask = |rule: &Expression| {
            if may_ask(rule, reply, is_success) {
                Some(rules::evaluate(rule, response, reply).map(|said| said.holds))
            } else {
                None
            }
        };
        let found = ask(&self.found_when);
        let absent = match &self.absent_when {
            Some(rule) => ask(rule),
            // Where nothing was found in a success, there is nothing.
            None => found.as_ref().filter(|_| is_success).map(|found| Ok(!found.as_ref().copied().unwrap_or(true))),
        };
        match [found.unwrap_or(Ok(false)), absent.unwrap_or(Ok(false))] {
            [Err(error), _] | [_, Err(error)] => unknown(&format!("its answer could not be judged: {error}")),
            [Ok(true), Ok(true)] => unknown("its answer says both that the message is there and that it is not"),
            [Ok(true), Ok(false)] => Found::There,
            [Ok(false), Ok(true)] => Found::Absent,
            [Ok(false), Ok(false)] => match outcome.reason() {
                "" => unknown("its answer says neither that the message is there nor that it is not"),
                reason => unknown(reason),
            },
        }
    }
}

/// Whether a rule may be asked of an answer. An answer that is no success says nothing of the message, unless the rule asks
/// for the status or the fault itself; and what cannot be read is no body in which nothing was found.
fn may_ask(rule: &Expression, reply: Option<&Reply>, is_success: bool) -> bool {
    let under = |path: &str, name: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '[']));
    let asks = |name: &str| rule.names().any(|(path, _)| path == name || under(path, name));
    let asks_inside_body = rule.names().any(|(path, _)| under(path, "response.body"));
    let has_body = match reply {
        Some(Reply::Body(body)) => !asks_inside_body || body.is_object() || body.is_array(),
        // Asking it says what is wrong with it.
        Some(Reply::Broken(_)) => true,
        Some(Reply::Fault(_) | Reply::Unreadable(_)) | None => false,
    };
    let has_fault = matches!(reply, Some(Reply::Fault(_)));
    let is_about_this = is_success || asks("response.status") || (has_fault && asks("response.fault"));
    is_about_this && (has_body || !asks("response.body"))
}

fn unknown(reason: &str) -> Found {
    Found::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::deliver::classify;
    use crate::expression::{Place, Tables, Template};
    use crate::map::{Body, Calls, RestCalls};
    use crate::outcome::Response;
    use crate::secret::Text;

    fn lookup(found: &str, absent: Option<&str>) -> Lookup {
        let compile = |source: &str| Expression::compile(source, &Tables::default()).unwrap();
        let url = Template::compile(&Text::plain("http://h/"), Place::Url, &Tables::default()).unwrap();
        let calls = RestCalls { method: "GET".to_owned(), url, query: Vec::new(), body: Body::None };
        Lookup {
            destination: "find".to_owned(),
            mapping: Mapping {
                calls: Calls::Rest(calls),
                headers: Vec::new(),
                idempotency_header: None,
                timeout: Duration::from_secs(1),
            },
            found_when: compile(found),
            absent_when: absent.map(compile),
        }
    }

    #[track_caller]
    fn finds(lookup: &Lookup, status: u16, body: &str, expected: &str) {
        let exchange = Exchange::Answered(Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            cut: false,
        });
        let reply = serde_json::from_str(body).ok().map(Reply::Body);
        let outcome = classify::judge(&exchange, reply.as_ref(), &classify::Rules::default()).outcome;
        let found = match lookup.judge(&exchange, reply.as_ref(), &outcome) {
            Found::There => "there".to_owned(),
            Found::Absent => "absent".to_owned(),
            Found::Unknown { reason } => reason,
        };
        assert_eq!(found, expected, "{status} {body}");
    }

    #[test]
    fn what_is_found_is_there_and_what_a_success_does_not_find_is_not() {
        let lookup = lookup("response.body.id != none", None);
        finds(&lookup, 200, &json!({"id": 7}).to_string(), "there");
        finds(&lookup, 200, "{}", "absent");
        finds(&lookup, 404, "{}", "answered 404 Not Found");
        finds(&lookup, 503, "{}", "answered 503 Service Unavailable");
        finds(&lookup, 401, "{}", "answered 401 Unauthorized: the credentials were refused");
    }

    #[test]
    fn with_a_rule_for_absence_only_that_rule_says_it() {
        let lookup = lookup("response.status == 200", Some("response.status == 404"));
        finds(&lookup, 200, "{}", "there");
        finds(&lookup, 404, "{}", "absent");
        finds(&lookup, 204, "", "its answer says neither that the message is there nor that it is not");
        finds(&lookup, 500, "", "answered 500 Internal Server Error");
    }

    #[test]
    fn an_answer_that_cannot_be_read_or_is_no_success_says_nothing_of_the_message() {
        let neither = "its answer says neither that the message is there nor that it is not";
        for lookup in [
            lookup("response.body.id == 7", Some("response.body.id == none")),
            lookup("response.body.id != none", None),
            lookup("response.body.id | default(0) > 0", None),
        ] {
            for body in ["<html>login</html>", "", "\"oops\"", "null", "{\"id\":", "7"] {
                finds(&lookup, 200, body, neither);
            }
            for (status, reason) in [
                (302, "answered 302 Found"),
                (403, "answered 403 Forbidden"),
                (429, "answered 429 Too Many Requests"),
                (500, "answered 500 Internal Server Error"),
            ] {
                finds(&lookup, status, "{\"id\": 7}", reason);
                finds(&lookup, status, "{}", reason);
            }
        }
        let long = lookup("response.body | length > 0", None);
        finds(&long, 503, "{\"error\":\"x\"}", "answered 503 Service Unavailable");
        let cut = Exchange::Answered(Response {
            status: 200,
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
            cut: true,
        });
        let found = long.judge(&cut, None, &Outcome::Delivered);
        assert_eq!(found, unknown("its answer is longer than response_limit allows, and was cut"));
    }

    #[test]
    fn an_answer_that_says_both_or_cannot_be_judged_says_nothing() {
        let both = lookup("true", Some("true"));
        finds(&both, 200, "{}", "its answer says both that the message is there and that it is not");
        let lookup = lookup("true", None);
        let cut = Exchange::NoAnswer { reason: "cut".to_owned() };
        let outcome = Outcome::Unknown { reason: "cut".to_owned() };
        assert_eq!(lookup.judge(&cut, None, &outcome), unknown("cut"));
        // What cannot be read does not say that the message is not there.
        let asks = self::lookup("response.body.id != none", None);
        let answered = Response { status: 200, headers: Vec::new(), body: Bytes::from_static(b"x"), cut: false };
        let broken = Reply::Broken("<a> refers to #b".to_owned());
        let found = asks.judge(&Exchange::Answered(answered), Some(&broken), &Outcome::Delivered);
        assert_eq!(found, unknown("its answer could not be judged: <a> refers to #b"));
    }
}

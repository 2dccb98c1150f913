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
        let asked = [Some(&self.found_when), self.absent_when.as_ref()]
            .map(|rule| rule.map_or(Ok(false), |rule| rules::evaluate(rule, response, reply)));
        match asked {
            [Err(error), _] | [_, Err(error)] => unknown(&format!("its answer could not be judged: {error}")),
            [Ok(true), Ok(true)] => unknown("its answer says both that the message is there and that it is not"),
            [Ok(true), Ok(false)] => Found::There,
            [Ok(false), Ok(true)] => Found::Absent,
            [Ok(false), Ok(false)] if self.absent_when.is_none() && *outcome == Outcome::Delivered => Found::Absent,
            [Ok(false), Ok(false)] => match outcome.reason() {
                "" => unknown("its answer says neither that the message is there nor that it is not"),
                reason => unknown(reason),
            },
        }
    }
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

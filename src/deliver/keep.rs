//! What a destination keeps of its answers, `keep = { order = "response.body.OrderId" }`. Pure.

use serde_json::Value as Json;

use super::rules;
use crate::expression::Expression;
use crate::outcome::{Exchange, Kept, Response};
use crate::soap::Reply;

/// The most values that one destination keeps.
pub const KEPT_MAX: usize = 20;
/// The longest value that is kept, in bytes of its JSON.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// One value to keep.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Under this name.
    pub name: String,
    /// What it is, of the answer.
    pub expression: Expression,
}

/// Reads what is kept of an answer that was taken as a delivery. `hide` takes secrets out of a text. A value that cannot be
/// had is kept as none, with a warning: it undoes no delivery.
pub fn kept(keeps: &[Keep], exchange: &Exchange, reply: Option<&Reply>, hide: &dyn Fn(&str) -> String) -> Vec<Kept> {
    let one = |keep: &Keep| {
        let found = match exchange {
            Exchange::Answered(response) => value(&keep.expression, response, reply),
            Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => {
                Err("there was no answer".to_owned())
            }
        };
        match found.and_then(|value| bounded(hidden(value, hide))) {
            Ok(value) => Kept { name: keep.name.clone(), value, warning: None },
            Err(reason) => Kept { name: keep.name.clone(), value: Json::Null, warning: Some(hide(&reason)) },
        }
    };
    keeps.iter().map(one).collect()
}

fn value(expression: &Expression, response: &Response, reply: Option<&Reply>) -> Result<Json, String> {
    let scope = rules::scope(expression, response, reply)?;
    if scope.body.is_none() && rules::asks_for_the_body(expression) {
        return Err(match reply {
            Some(Reply::Unreadable(what)) => format!("its body cannot be read: it is {what}"),
            _ if response.cut => "its body is longer than response_limit allows, and was cut".to_owned(),
            _ => "it has no body that can be read".to_owned(),
        });
    }
    expression.of_response(&scope).map_err(|error| error.to_string())
}

fn hidden(value: Json, hide: &dyn Fn(&str) -> String) -> Json {
    match value {
        Json::String(text) => Json::String(hide(&text)),
        Json::Array(items) => items.into_iter().map(|item| hidden(item, hide)).collect(),
        Json::Object(entries) => entries.into_iter().map(|(name, value)| (name, hidden(value, hide))).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => value,
    }
}

fn bounded(value: Json) -> Result<Json, String> {
    let length = value.to_string().len();
    if length <= VALUE_BYTES_MAX {
        return Ok(value);
    }
    Err(format!("it is {length} bytes long, and at most {VALUE_BYTES_MAX} are kept; keep a part of it"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expression::Tables;

    #[track_caller]
    fn keeps(expression: &str, exchange: &Exchange, reply: Option<&Reply>) -> (Json, Option<String>) {
        let expression = Expression::compile(expression, &Tables::default()).unwrap();
        let keep = Keep { name: "x".to_owned(), expression };
        let hide = |text: &str| text.replace("s3cr3t", "${SECRET}");
        let kept = kept(&[keep], exchange, reply, &hide).remove(0);
        (kept.value, kept.warning)
    }

    fn answered(cut: bool) -> Exchange {
        let headers = vec![("location".to_owned(), "/orders/7".to_owned())];
        Exchange::Answered(Response { status: 201, headers, body: bytes::Bytes::new(), cut })
    }

    #[test]
    fn values_of_all_kinds_are_kept_without_secrets() {
        let body =
            json!({"id": 4711, "total": 12.50, "key": "a s3cr3t b", "list": ["s3cr3t", {"k": "s3cr3t"}], "ok": true});
        let reply = Reply::Body(body);
        for (expression, expected) in [
            ("response.body.id", json!(4711)),
            ("response.status", json!(201)),
            ("response.headers.location", json!("/orders/7")),
            ("response.headers.location | split('/') | last", json!("7")),
            ("response.body.key", json!("a ${SECRET} b")),
            ("response.body.list", json!(["${SECRET}", {"k": "${SECRET}"}])),
            ("response.body.ok", json!(true)),
            ("response.body.absent", Json::Null),
        ] {
            assert_eq!(keeps(expression, &answered(false), Some(&reply)), (expected, None), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_none_with_a_warning() {
        let body = Reply::Body(json!({"text": "x".repeat(2_000), "name": "abc"}));
        let unreadable = Reply::Unreadable("an empty answer".to_owned());
        let no_answer = Exchange::NoAnswer { reason: "cut".to_owned() };
        let broken = Reply::Broken("<a> refers to #b".to_owned());
        for (expression, exchange, reply, warning) in [
            ("response.body.text", answered(false), Some(&body), "it is 2002 bytes long, and at most 1024 are kept"),
            ("response.body.name * 2", answered(false), Some(&body), "cannot calculate"),
            ("response.body.a", answered(false), Some(&unreadable), "its body cannot be read: it is an empty answer"),
            ("response.body.a", answered(false), Some(&broken), "<a> refers to #b"),
            ("response.body.a", answered(false), None, "it has no body that can be read"),
            ("response.body.a", answered(true), None, "longer than response_limit allows"),
            ("response.status", no_answer, None, "there was no answer"),
        ] {
            let (value, said) = keeps(expression, &exchange, reply);
            assert_eq!(value, Json::Null, "{expression}");
            assert!(said.as_ref().is_some_and(|said| said.contains(warning)), "{expression}: {said:?}");
        }
    }
}

//! What an address is asked with: each parameter that is not understood is named, and what it may be.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::admin::names::clipped;
use crate::admin::{api, openapi};

/// The parameters of a question, as the address takes them.
#[derive(Debug)]
pub(super) struct Question<T>(pub(super) T);

impl<T> Question<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<T: DeserializeOwned> Question<T> {
    /// What a query string asks; or what in it is not understood.
    pub(super) fn of(query: &str) -> Result<Self, String> {
        asked(query).map(Self)
    }
}

impl<T> Deref for Question<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// No parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned> FromRequest for Question<T> {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let asked = asked(request.query_string()).map(Self);
        ready(asked.map_err(|reason| {
            let answer = api::problem(400, &reason);
            InternalError::from_response(reason, answer).into()
        }))
    }
}

/// Refuses what is asked of an address that takes no parameters. One that takes some names those that it does not.
pub(super) async fn refuse_unasked(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let takes_any = openapi::takes_parameters(request.method().as_str(), request.path());
    let refused = asked::<Nothing>(request.query_string()).err().filter(|_| !takes_any);
    match refused {
        Some(reason) => Ok(request.into_response(api::problem(400, &reason)).map_into_right_body()),
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

/// What is below nothing though it is the number of a row, or as many; none where all can be meant.
fn below_nothing(query: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = web::Query::from_query(query).map(web::Query::into_inner).ok()?;
    let is_below = |(name, value): &&(String, String)| {
        matches!(name.as_str(), "before" | "after") && value.parse::<i64>().is_ok_and(|number| number < 0)
    };
    let (name, value) = pairs.iter().find(is_below)?;
    Some(format!("{name} is {:?}: it must be 0 or more", clipped(value)))
}

/// Reads a query string.
fn asked<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    if let Some(reason) = below_nothing(query) {
        return Err(reason);
    }
    web::Query::<T>::from_query(query).map(web::Query::into_inner).map_err(|error| {
        // The error names no parameter: it is the one that is not understood alone either.
        let alone = |pair: &&str| web::Query::<T>::from_query(pair).is_err();
        match query.split('&').filter(|pair| !pair.is_empty()).find(alone) {
            Some(pair) => refused(pair, &reason(web::Query::<T>::from_query(pair).err().as_ref().unwrap_or(&error))),
            None => format!("the query is not understood: {}", reason(&error)),
        }
    })
}

fn reason(error: &impl ToString) -> String {
    let said = error.to_string();
    said.strip_prefix("Query deserialize error: ").unwrap_or(&said).to_owned()
}

fn refused(pair: &str, reason: &str) -> String {
    let pair: Vec<(String, String)> = web::Query::from_query(pair).map(web::Query::into_inner).unwrap_or_default();
    let (name, value) = pair.into_iter().next().unwrap_or_default();
    if let Some(known) = reason.strip_prefix(&format!("unknown field `{name}`, ")) {
        let known = known.replace("there are no fields", "this address takes none");
        return format!("there is no parameter {:?} here; {known}", clipped(&name));
    }
    let is_number =
        ["invalid digit", "cannot parse integer", "number too"].iter().any(|start| reason.starts_with(start));
    let reason = if is_number { "it must be a whole number, and not so large" } else { reason };
    format!("{name} is {:?}: {reason}", clipped(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuditFilter, DeliveryFilter};

    #[test]
    fn a_parameter_that_is_not_understood_is_named_and_what_it_may_be() {
        let said = |query: &str| asked::<DeliveryFilter>(query).map(drop).unwrap_err();
        for (query, words) in [
            ("limit=many", "limit is \"many\": it must be a whole number"),
            ("limit=-1", "limit is \"-1\": it must be a whole number"),
            ("state=dead&before=x%20y", "before is \"x y\": it must be a whole number"),
            ("before=-1", "before is \"-1\": it must be 0 or more"),
            ("state=dead&after=-7", "after is \"-7\": it must be 0 or more"),
            ("since=99999999d", "since is \"99999999d\": that is longer ago than 36500d"),
            ("state=ded", "state is \"ded\": there is no such state; did you mean \"dead\"?"),
            ("state=zzz", "there are waiting, blocked, in_flight, held, delivered, dead, superseded, discarded"),
            ("stat=dead", "there is no parameter \"stat\" here; expected one of `state`, `source`"),
            ("state=dead&state=held", "the query is not understood: duplicate field `state`"),
        ] {
            assert!(said(query).contains(words), "{query}: {}", said(query));
        }
        assert!(
            asked::<AuditFilter>("from=yesterday&to=2h").is_ok() && asked::<DeliveryFilter>("since=2026-12-01").is_ok()
        );
        let wrong = asked::<AuditFilter>("from=soon").unwrap_err();
        assert!(wrong.starts_with("from is \"soon\": that is neither a day nor a moment; write a UTC day"), "{wrong}");
        let none = asked::<Nothing>("limit=0").map(drop).unwrap_err();
        assert_eq!(none, "there is no parameter \"limit\" here; this address takes none");
        assert!(asked::<Nothing>("").is_ok() && asked::<DeliveryFilter>("state=dead&limit=5&").is_ok());
        assert!(said(&format!("state={}", "x".repeat(5_000))).len() < 500);
    }
}

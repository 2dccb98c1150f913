//! The body of a changing call: one JSON object, read whole and within its bound.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::admin::api;

/// The longest body of a call: edited content may be as long as what came.
const BYTES_MAX: usize = 20 << 20;

/// Why something is to be done, and whether it is only asked what would be.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// It stands in the audit log.
    #[serde(default)]
    pub(super) reason: String,
    /// Only says what would be done.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Why something is to be done that has no dry run.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// It stands in the audit log.
    #[serde(default)]
    pub(super) reason: String,
}

/// What a changing call says.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T> Body<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Body<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Body<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (headers, payload) = (request.headers().clone(), payload.take());
        Box::pin(async move {
            let body = read(&headers, payload).await.map_err(not_taken)?;
            let understood = understood(&body)
                .map_err(|reason| not_taken(api::problem(400, &format!("the body is not understood: {reason}"))))?;
            Ok(Self(understood))
        })
    }
}

fn not_taken(answer: HttpResponse) -> actix_web::Error {
    InternalError::from_response("the body is not taken", answer).into()
}

/// An object: a list of values without their names would be taken for one too.
fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(body).map_err(|error| error.to_string()),
        Some(_) => Err("it must be a JSON object".to_owned()),
        None => Err("it is empty; say at least {}".to_owned()),
    }
}

/// The whole of a body; or the answer to one that cannot be taken.
pub(super) async fn read(headers: &HeaderMap, mut payload: Payload) -> Result<Bytes, HttpResponse> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BYTES_MAX) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| api::problem(400, &format!("the body cannot be read: {error}")))?;
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large() -> HttpResponse {
    api::problem(413, &format!("the body is over {BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_body_is_one_object_and_nothing_else() {
        for (body, words) in [
            ("{\"a\": 1}", None),
            (" \n{}", None),
            ("[]", Some("must be a JSON object")),
            ("null", Some("must be a JSON object")),
            ("", Some("is empty")),
            ("{", Some("EOF")),
            ("{} {}", Some("trailing characters")),
        ] {
            let found = understood::<BTreeMap<String, u32>>(body.as_bytes());
            assert_eq!(found.as_ref().err().is_some(), words.is_some(), "{body}: {found:?}");
            assert!(words.is_none_or(|words| found.unwrap_err().contains(words)), "{body}");
        }
    }
}

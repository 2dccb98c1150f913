//! Record + mapping → [`Call`]. Pure: the same input gives the same bytes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::call::Call;
use crate::expression::{Document, Expression, ExpressionError, Subject, Template, scalar};
use crate::outcome::{Exchange, Response};
use crate::secret::Text;
use crate::soap::Reply;

pub mod soap;
pub mod tree;

pub use soap::{AddressingHeaders, SoapCalls};
pub use tree::{Leaf, Node, Tree};

/// The header that carries the idempotency key unless the destination names another.
pub const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";

/// The longest URL that is made, in bytes.
const URL_BYTES_MAX: usize = 16 << 10;

/// How deep a rendered document may nest.
const XML_DEPTH_MAX: usize = 256;

/// How a route makes its calls: compiled, with the destination's own model.
#[derive(Debug)]
pub struct Mapping {
    /// What kind of call.
    pub calls: Calls,
    /// Headers of the configuration, in its order.
    pub headers: Vec<(String, Template)>,
    /// The header that carries the idempotency key; none: none does.
    pub idempotency_header: Option<String>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

/// What kind of call.
#[derive(Debug)]
pub enum Calls {
    /// Plain HTTP.
    Rest(RestCalls),
    /// SOAP, by the destination's WSDL.
    Soap(Box<SoapCalls>),
}

/// Calls of plain HTTP.
#[derive(Debug)]
pub struct RestCalls {
    /// In capitals.
    pub method: String,
    /// Absolute; holes only behind the host.
    pub url: Template,
    /// Added to the URL, in order; none is left out.
    pub query: Vec<(String, Expression)>,
    /// What is sent.
    pub body: Body,
}

/// What a REST call sends.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// The whole notification as JSON, with typed fields.
    Whole,
    /// The mapped tree as JSON.
    Json(Tree),
    /// The mapped tree, flat, as `application/x-www-form-urlencoded`.
    Form(Tree),
    /// A rendered document.
    Document {
        /// The template.
        document: Document,
        /// Its Content-Type.
        content_type: String,
    },
}

/// Why no call can be made of a notification: the delivery is dead, with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MapError {
    /// What it is about, without any value: a target path, or `url`.
    pub place: String,
    /// In words, with the path of the target element or the name of the expression.
    pub reason: String,
}

impl MapError {
    /// An error in what stands at a place, such as `url` or `Customer.Id`.
    #[must_use]
    pub fn at(place: &str, error: &ExpressionError) -> Self {
        Self { place: place.to_owned(), reason: format!("{place}: {error}") }
    }
}

/// What belongs to the delivery and not to its content.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Made of organization, notification id, route and revision: the same for every attempt.
    pub idempotency_key: String,
}

impl Identity {
    /// The id of its SOAP messages: the same for every attempt.
    #[must_use]
    pub fn message_id(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, self.idempotency_key.as_bytes()).urn().to_string()
    }
}

/// Makes the call.
///
/// # Errors
/// The target path and the reason.
pub fn call(mapping: &Mapping, subject: &Subject<'_>, identity: &Identity) -> Result<Call, MapError> {
    let mut call = match &mapping.calls {
        Calls::Rest(rest) => rest_call(rest, subject, mapping.timeout)?,
        Calls::Soap(soap) => soap.call(subject, identity, mapping.timeout)?,
    };
    call.id.clone_from(&identity.idempotency_key);
    if let Some(header) = &mapping.idempotency_header {
        call.headers.push((header.clone(), Text::plain(identity.idempotency_key.as_str())));
    }
    for (name, template) in &mapping.headers {
        let value = template.fill(subject).map_err(|error| MapError::at(&format!("headers.{name}"), &error))?;
        call.headers.push((name.clone(), value));
    }
    Ok(call)
}

/// Where a call of this mapping goes.
///
/// # Errors
/// The expression of the URL or its query that fails.
pub fn address(mapping: &Mapping, subject: &Subject<'_>) -> Result<Text, MapError> {
    match &mapping.calls {
        Calls::Rest(rest) => rest_address(rest, subject),
        Calls::Soap(soap) => Ok(soap.endpoint.clone()),
    }
}

fn rest_call(rest: &RestCalls, subject: &Subject<'_>, timeout: Duration) -> Result<Call, MapError> {
    let url = rest_address(rest, subject)?;
    let (content_type, body) = body(&rest.body, subject)?;
    let headers = content_type.map(|value| ("Content-Type".to_owned(), Text::plain(value))).into_iter().collect();
    Ok(Call { method: rest.method.clone(), url, headers, id: String::new(), trace: None, body, timeout })
}

fn rest_address(rest: &RestCalls, subject: &Subject<'_>) -> Result<Text, MapError> {
    let mut url = rest.url.fill(subject).map_err(|error| MapError::at("url", &error))?;
    if let Some(query) = query(&rest.query, subject)? {
        let separator = if url.masked().contains('?') { "&" } else { "?" };
        url.push_plain(separator);
        url.push_plain(&query);
    }
    if url.reveal().len() > URL_BYTES_MAX {
        let reason = format!("url: is longer than {URL_BYTES_MAX} bytes");
        return Err(MapError { place: "url".to_owned(), reason });
    }
    Ok(url)
}

fn query(pairs: &[(String, Expression)], subject: &Subject<'_>) -> Result<Option<String>, MapError> {
    let mut serializer = url::form_urlencoded::Serializer::new(String::new());
    for (name, expression) in pairs {
        let place = format!("query.{name}");
        let value = expression.evaluate(subject).map_err(|error| MapError::at(&place, &error))?;
        for value in tree::scalars(&place, &value)? {
            serializer.append_pair(name, &value);
        }
    }
    Ok(Some(serializer.finish()).filter(|query| !query.is_empty()))
}

fn body(body: &Body, subject: &Subject<'_>) -> Result<(Option<String>, Bytes), MapError> {
    let (content_type, text) = match body {
        Body::None => return Ok((None, Bytes::new())),
        Body::Whole => ("application/json".to_owned(), whole(subject).to_string()),
        Body::Json(tree) => ("application/json".to_owned(), tree.json(subject)?.to_string()),
        Body::Form(tree) => ("application/x-www-form-urlencoded".to_owned(), tree.form(subject)?),
        Body::Document { document, content_type } => (content_type.clone(), rendered(document, content_type, subject)?),
    };
    Ok((Some(content_type), Bytes::from(text)))
}

/// Renders a document; one that says it is XML must be.
fn rendered(document: &Document, content_type: &str, subject: &Subject<'_>) -> Result<String, MapError> {
    let text = document.render(subject).map_err(|error| MapError::at(document.file(), &error))?;
    if content_type.contains("xml") {
        crate::parse::well_formed(&text, XML_DEPTH_MAX).map_err(|error| MapError {
            place: document.file().to_owned(),
            reason: format!("{}: what it gives is not well-formed XML: {error}", document.file()),
        })?;
    }
    Ok(text)
}

/// The whole notification: what a REST destination without a mapping gets.
fn whole(subject: &Subject<'_>) -> Json {
    let record = subject.record.map_or(Json::Null, crate::expression::record_json);
    serde_json::json!({
        "organization_id": subject.organization_id,
        "action_id": subject.action_id,
        "notification_id": subject.notification_id,
        "source": subject.source,
        "received_at": subject.received_at,
        "record_type": subject.record.map_or("", |record| record.record_type.as_str()),
        "record": record,
    })
}

/// Reads what came back, by the destination's model; none when nothing came.
#[must_use]
pub fn reply(mapping: &Mapping, exchange: &Exchange) -> Option<Reply> {
    let response = match exchange {
        Exchange::Answered(response) => response,
        Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => return None,
    };
    match &mapping.calls {
        Calls::Soap(soap) => Some(soap.reply(response)),
        Calls::Rest(_) => rest_reply(response),
    }
}

/// A REST answer says with its status whether it took the call: a body that is no JSON, or was cut, hides nothing but
/// what rules could ask of it.
fn rest_reply(response: &Response) -> Option<Reply> {
    if response.cut {
        return None;
    }
    // Which some write before their JSON (RFC 8259 §8.1 lets it be ignored).
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    serde_json::from_slice(body).ok().map(Reply::Body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_answer_that_is_no_json_is_no_reply_and_leaves_its_status_to_decide() {
        let answer = |body: &'static str, cut| Response { status: 200, headers: Vec::new(), body: body.into(), cut };
        for (body, cut, reply) in [
            ("OK", false, None),
            ("<html/>", false, None),
            ("", false, None),
            ("{\"a\":1}", true, None),
            ("{\"a\":1}", false, Some(Reply::Body(serde_json::json!({"a": 1})))),
            ("\u{feff}{\"a\":1}", false, Some(Reply::Body(serde_json::json!({"a": 1})))),
        ] {
            assert_eq!(rest_reply(&answer(body, cut)), reply, "{body}");
        }
    }
}

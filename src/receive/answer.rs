//! What Salesforce gets: the one place that turns what happened into HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header::{ALLOW, CONTENT_TYPE};
use actix_web::http::{ConnectionType, StatusCode};
use bytes::Bytes;

use crate::soap;

/// The answer to a POST on a source's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, or already stored: `Ack` true.
    Accepted,
    /// Not now (store, overload, shutdown): `Ack` false, the WSDL's own nack. Salesforce tries again.
    NotNow,
    /// No acceptable outbound message, now or ever: a Fault with HTTP 500. Salesforce tries again, in vain, and drops it.
    Refused(Refusal),
    /// Larger than the bound: a Fault with HTTP 413.
    TooLarge(String),
}

/// Why a POST is refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of reason it is: alarms are told apart by it.
    pub cause: Cause,
    /// In words.
    pub reason: String,
}

/// The kinds of reasons for which a POST is refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The body is larger than the bound.
    TooLarge,
    /// The body did not come whole, or not in time.
    Incomplete,
    /// An encoding that is not understood, or that the bytes are not in.
    Encoding,
    /// No well-formed XML, with a DOCTYPE, or nested too deep.
    Malformed,
    /// Well-formed, and no outbound message as Salesforce sends it.
    Foreign,
    /// An organization that the source does not list.
    Organization,
    /// An outbound message that the source does not list.
    Action,
}

impl Cause {
    /// The word for it in alarms.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Encoding => "encoding",
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::Organization => "organization",
            Self::Action => "action",
        }
    }
}

impl Answer {
    /// A refusal for good.
    #[must_use]
    pub fn refused(cause: Cause, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal { cause, reason: reason.into() })
    }

    /// The word for it in metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "ack",
            Self::NotNow => "nack",
            Self::Refused(_) => "fault",
            Self::TooLarge(_) => "too_large",
        }
    }

    /// The HTTP response.
    #[must_use]
    pub fn to_response(&self) -> HttpResponse {
        match self {
            Self::Accepted => xml(StatusCode::OK).body(soap::ack(soap::Ack::Accepted)),
            Self::NotNow => xml(StatusCode::OK).body(soap::ack(soap::Ack::Refused)),
            Self::Refused(refusal) => xml(StatusCode::INTERNAL_SERVER_ERROR).body(soap::client_fault(&refusal.reason)),
            Self::TooLarge(reason) => xml(StatusCode::PAYLOAD_TOO_LARGE).body(soap::client_fault(reason)),
        }
    }
}

/// An answer to a request whose body is not read to its end: the connection cannot be used again, and is closed a moment
/// later. A body that is let go of before the answer is sent would be read to its end if it comes in chunks, for as long as
/// the client cares to send any.
#[must_use]
pub fn unread(mut response: HttpResponse, payload: Payload) -> HttpResponse {
    if matches!(payload, Payload::None) {
        return response;
    }
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.map_body(|_, body| BoxBody::new(Unread { body, _payload: payload }))
}

/// The body of such an answer.
struct Unread {
    body: BoxBody,
    _payload: Payload,
}

impl MessageBody for Unread {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

fn xml(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "text/xml; charset=utf-8"));
    response
}

/// The page for a person who opens a source's address in a browser, or a monitor that probes it.
#[must_use]
pub fn page(source: &str) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body(format!(
        "This is omgate. It lives, and takes Salesforce Outbound Messages for \"{source}\" at this address.\n\
         Salesforce posts here; there is nothing to see in a browser.\n"
    ))
}

/// The source's WSDL with our address.
#[must_use]
pub fn wsdl(text: String) -> HttpResponse {
    xml(StatusCode::OK).body(text)
}

/// No such source.
#[must_use]
pub fn not_found() -> HttpResponse {
    HttpResponse::NotFound().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body("not found\n")
}

/// Whoever may not speak to a source.
#[must_use]
pub fn forbidden() -> HttpResponse {
    let mut response = HttpResponse::Forbidden();
    response.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"));
    let mut response = response.body("forbidden: this gateway's own log and status say why\n");
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// A method that a source does not take.
#[must_use]
pub fn method_not_allowed() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((ALLOW, "GET, HEAD, POST"))
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("Salesforce Outbound Messages are posted here\n")
}

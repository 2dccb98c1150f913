//! A complete, unsent request.

use std::time::Duration;

use bytes::Bytes;

use crate::secret::Text;

/// Everything that goes to a destination, save what its credentials add at the edge: an `Authorization` header, and a
/// WS-Security header within the envelope.
/// The same delivery mapped with the same configuration gives the same call, byte for byte.
#[derive(Clone, Debug)]
pub struct Call {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The absolute URL.
    pub url: Text,
    /// Headers in the order they are sent: Content-Type, SOAPAction and Idempotency-Key included.
    pub headers: Vec<(String, Text)>,
    /// The body.
    pub body: Bytes,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

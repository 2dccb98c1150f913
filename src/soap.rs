//! Values ↔ SOAP messages, by the model.

use crate::outcome::Fault;

mod decode;
mod encode;
pub mod fault;
mod fragment;
pub mod security;
mod shapes;

pub use decode::{decode, read};
pub use encode::{Addressing, EncodeError, EncodeOptions, Encoded, encode};
pub use shapes::{Ack, ack, client_fault, read_ack};

/// What a destination's answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The content of the response, typed by the model: objects, lists, strings, numbers with their digits.
    Body(serde_json::Value),
    /// A SOAP fault, whatever the HTTP status.
    Fault(Fault),
    /// No SOAP message and no JSON: what it seems to be, in words.
    Unreadable(String),
}

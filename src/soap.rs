//! Values ↔ SOAP messages, by the model.

use crate::outcome::Fault;

mod decode;
mod encode;
pub mod fault;
mod fragment;
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

/// The acknowledgement of an outbound message's WSDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// `Ack` true.
    Accepted,
    /// `Ack` false.
    NotNow,
}

/// The bytes of an acknowledgement.
#[must_use]
pub fn ack(_ack: Ack) -> &'static [u8] {
    unimplemented!()
}

/// A SOAP 1.1 Fault of the sender's making.
#[must_use]
pub fn client_fault(_reason: &str) -> String {
    unimplemented!()
}

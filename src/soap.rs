//! Values ↔ SOAP messages, by the model.

use crate::outcome::Fault;

mod decode;
mod encode;
mod encoded;
pub mod fault;
mod fragment;
mod matching;
mod members;
mod particles;
mod references;
mod rows;
mod sample;
pub mod security;
mod shapes;
mod slots;
mod specimen;
mod splits;
mod text;
mod trail;
mod validate;

pub use decode::{argument, decode, read};
pub use encode::{Addressing, EncodeError, EncodeOptions, Encoded, Nulls, encode};
pub use sample::{Extent, sample};
pub use shapes::{Ack, ack, client_fault, read_ack};
pub use validate::{misfits, validate};

/// What a destination's answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The content of the response, typed by the model: objects, lists, strings, numbers with their digits.
    Body(serde_json::Value),
    /// A SOAP fault, whatever the HTTP status.
    Fault(Fault),
    /// The SOAP answer of the operation, with content that cannot be read: values that refer to nothing or to
    /// themselves, or that are more than an answer of its size may hold. Why, in words.
    Broken(String),
    /// No SOAP message and no JSON: what it seems to be, in words.
    Unreadable(String),
}

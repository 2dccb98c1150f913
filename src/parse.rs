//! Bytes → [`Envelope`]: strict about XML, tolerant about everything else. Pure.

use crate::envelope::{Envelope, Record, RecordTypes};

/// The bounds of one envelope.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How deep elements may nest.
    pub depth: usize,
    /// How many notifications an envelope may hold.
    pub notifications: usize,
    /// How many fields a record may have.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, notifications: 100, fields: 2_000 }
    }
}

/// Why an envelope is refused as a whole: the sender's fault, always.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Placeholder.
    #[error("not implemented")]
    Placeholder,
}

/// Reads an envelope. `charset` is the one of the Content-Type, if it names one.
///
/// # Errors
/// What makes it no acceptable outbound message, with line and column.
pub fn envelope(
    _body: &[u8],
    _charset: Option<&str>,
    _limits: &Limits,
    _types: Option<&RecordTypes>,
) -> Result<Envelope, ParseError> {
    unimplemented!()
}

/// Reads a stored `sObject` fragment again.
///
/// # Errors
/// Only when the fragment was damaged.
pub fn record(_xml: &str, _types: Option<&RecordTypes>) -> Result<Record, ParseError> {
    unimplemented!()
}

/// The text of a POST less what its SessionId elements hold: works on anything, well-formed or not.
#[must_use]
pub fn without_session_id(_body: &[u8]) -> String {
    unimplemented!()
}

//! Record + mapping → [`Call`]. Pure: the same input gives the same bytes.

use crate::call::Call;
use crate::expression::Subject;
use crate::outcome::Exchange;
use crate::soap::Reply;

/// How a route makes its calls: compiled, with the destination's own model.
#[derive(Debug)]
pub struct Mapping {}

/// Why no call can be made of a notification: the delivery is dead, with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MapError {
    /// In words, with the path of the target element or the name of the expression.
    pub reason: String,
}

/// What belongs to the delivery and not to its content.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Made of organization, notification id, route and revision: the same for every attempt.
    pub idempotency_key: String,
}

/// Makes the call.
///
/// # Errors
/// The target path and the reason.
pub fn call(_mapping: &Mapping, _subject: &Subject<'_>, _identity: &Identity) -> Result<Call, MapError> {
    unimplemented!()
}

/// Reads what came back, by the destination's model; none when nothing came.
#[must_use]
pub fn reply(_mapping: &Mapping, _exchange: &Exchange) -> Option<Reply> {
    unimplemented!()
}

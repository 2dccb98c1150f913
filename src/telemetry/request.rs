//! An id for each request, so that all lines of the log that belong to it are found by one word.

use tracing::Span;

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl Default for RequestId {
    fn default() -> Self {
        // It tells requests apart and keeps no secret: nothing that costs what a key may cost.
        Self(format!("{:016x}", fastrand::u64(..)))
    }
}

impl RequestId {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What carries it to the lines of the log, whatever their level.
    #[must_use]
    pub fn span(&self) -> Span {
        tracing::error_span!("request", request_id = self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_an_id_of_its_own() {
        let (one, other) = (RequestId::default(), RequestId::default());
        assert_ne!(one, other);
        assert!(one.as_str().len() == 16 && one.as_str().chars().all(|c| c.is_ascii_hexdigit()));
    }
}

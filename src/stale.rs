//! Which of two states of a record is the older: by the field that a route names as `stale_by`. Pure.

use crate::envelope::{Record, Value};

/// A record's own value of the field; none when it has none.
#[must_use]
pub fn mark_of(record: Option<&Record>, field: &str) -> Option<String> {
    match record?.field(field)? {
        Value::Text(text) | Value::Number(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Text(_) | Value::Number(_) | Value::Null | Value::Boolean(_) | Value::List(_) => None,
    }
}

/// Why a record is older than what was delivered; none when it is not, or when one of them is unknown.
#[must_use]
pub fn reason(delivered: Option<&str>, this: Option<&str>) -> Option<String> {
    let (delivered, this) = (delivered?, this?);
    is_older(this, delivered)
        .then(|| format!("a newer state of the record was already delivered: {delivered}, this one is of {this}"))
}

/// The mark that stands after a delivery: never an older one than before.
#[must_use]
pub fn newer(delivered: Option<&str>, this: Option<String>) -> Option<String> {
    match (delivered, this) {
        (Some(delivered), Some(this)) if is_older(&this, delivered) => Some(delivered.to_owned()),
        (_, this) => this,
    }
}

/// Compares two moments; failing that two numbers; failing that two texts.
#[must_use]
pub fn is_older(one: &str, other: &str) -> bool {
    if let (Ok(one), Ok(other)) = (one.parse::<jiff::Timestamp>(), other.parse::<jiff::Timestamp>()) {
        return one < other;
    }
    match (one.parse::<bigdecimal::BigDecimal>(), other.parse::<bigdecimal::BigDecimal>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => one < other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_means_an_earlier_moment_whatever_its_zone() {
        assert!(is_older("2026-01-01T10:00:00.000Z", "2026-01-01T11:30:00+01:00"));
        assert!(!is_older("2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00Z"));
        assert!(is_older("9", "10"));
        assert!(is_older("2026-01-01", "2026-02-01"));
    }

    #[test]
    fn an_unknown_mark_is_never_stale() {
        assert_eq!(reason(None, Some("1")), None);
        assert_eq!(reason(Some("1"), None), None);
        assert!(reason(Some("2026-02-01"), Some("2026-01-01")).is_some());
        assert_eq!(newer(Some("2"), Some("1".to_owned())), Some("2".to_owned()));
        assert_eq!(newer(Some("2"), None), None);
    }
}

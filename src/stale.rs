//! Which of two states of a record is the older: by the field that a route names as `stale_by`. Pure.

use crate::envelope::{Record, Value};

/// What was last delivered of a record: the value of the field that tells which of its states is the older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The field; none where it was not noted. Then it counts as the one that is asked for.
    pub field: Option<String>,
    /// Its value.
    pub value: String,
}

impl Mark {
    /// What the field tells of what was delivered; none when another field was marked: values of two fields do not compare.
    #[must_use]
    pub fn by(&self, field: &str) -> Option<&str> {
        self.field.as_deref().is_none_or(|marked| marked == field).then_some(&self.value)
    }
}

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

/// A value by what it can be compared with.
enum Told<'a> {
    Moment(jiff::Timestamp),
    Number(bigdecimal::BigDecimal),
    Text(&'a str),
}

fn told(value: &str) -> Told<'_> {
    let number = || value.parse().map_or(Told::Text(value), Told::Number);
    value.parse().map_or_else(|_| number(), Told::Moment)
}

/// Compares two moments, two numbers or two texts. Of two things of different kinds none is the older.
#[must_use]
pub fn is_older(one: &str, other: &str) -> bool {
    match (told(one), told(other)) {
        (Told::Moment(one), Told::Moment(other)) => one < other,
        (Told::Number(one), Told::Number(other)) => one < other,
        (Told::Text(one), Told::Text(other)) => one < other,
        (Told::Moment(_) | Told::Number(_) | Told::Text(_), _) => false,
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
    fn what_cannot_be_compared_is_not_older() {
        let kinds = ["2026-11-20T10:00:00.000Z", "2", "two", "2026-11-20"];
        for (one, other) in kinds.iter().flat_map(|one| kinds.iter().map(move |other| (one, other))) {
            let are_texts = [one, other].iter().all(|value| ["two", "2026-11-20"].contains(value));
            assert_eq!(is_older(one, other), are_texts && one < other, "{one} and {other}");
        }
        assert_eq!(newer(Some("2026-11-20T10:00:00.000Z"), Some("2".to_owned())), Some("2".to_owned()));
    }

    #[test]
    fn a_mark_tells_nothing_of_another_field() {
        let mark = |field: Option<&str>| Mark { field: field.map(str::to_owned), value: "7".to_owned() };
        assert_eq!(mark(Some("Version__c")).by("Version__c"), Some("7"));
        assert_eq!(mark(Some("Version__c")).by("LastModifiedDate"), None);
        assert_eq!(mark(None).by("LastModifiedDate"), Some("7"), "of which field it is was not noted");
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

//! How long lists are, in which order they stand, and how what was kept is asked for.

use serde::de::{Deserialize, Deserializer, Error};

use crate::delivery::State;

/// The length of a list when none is asked for.
pub const LIST_DEFAULT: u32 = 100;

/// The longest list.
pub const LIST_MAX: u32 = 1_000;

/// What notifications may be asked for by: what one was when it came first, or that it is a later revision.
pub const NOTIFICATION_KINDS: [&str; 6] =
    ["routed", "unrouted", "skipped_empty", "unreadable", "quarantined", "revised"];

/// The kinds of notifications that are few, which an index of their own finds.
const ODD_KINDS: [&str; 3] = ["unrouted", "unreadable", "quarantined"];

/// How many of a list are given.
pub(super) fn length(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX)
}

/// A state that is asked for; in words when there is no such one.
pub(super) fn state<'de, D: Deserializer<'de>>(asked: D) -> Result<Option<State>, D::Error> {
    let text = Option::<String>::deserialize(asked)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// The order of a list: newest first, save behind a cursor.
pub(super) fn order<T>(after: Option<T>) -> &'static str {
    if after.is_some() { "ASC" } else { "DESC" }
}

/// What was kept of an answer, as it is asked for: `name=value`, or `name` for any single value.
pub(super) fn kept(asked: &str) -> (&str, Option<&str>) {
    asked.split_once('=').map_or((asked, None), |(name, value)| (name, Some(value)))
}

/// Whether a kind of notifications is one of the odd ones.
pub(super) fn is_odd(kind: &str) -> bool {
    ODD_KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_never_empty_by_its_length_nor_endless() {
        assert_eq!([None, Some(0), Some(7), Some(u32::MAX)].map(length), [100, 1, 7, 1_000]);
    }

    #[test]
    fn what_was_kept_is_asked_for_by_name_or_by_name_and_value() {
        for (asked, expected) in [
            ("id", ("id", None)),
            ("id=7", ("id", Some("7"))),
            ("id=a=b", ("id", Some("a=b"))),
            ("id=", ("id", Some(""))),
        ] {
            assert_eq!(kept(asked), expected, "{asked}");
        }
    }
}

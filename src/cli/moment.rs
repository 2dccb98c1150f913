//! Moments as they are typed: a date and time, a day, or how long ago.

use serde_json::{Value, json};

use crate::clock::{Day, SystemClock, Timestamp};

/// When a span begins: a moment, how long ago it was, or a UTC day, which begins at midnight.
///
/// # Errors
/// How a moment is written.
pub fn from(text: &str) -> Result<Timestamp, String> {
    Timestamp::beginning(text, SystemClock::shared().now())
}

/// When a span ends: a moment, how long ago it was, or a UTC day, which belongs to it.
///
/// # Errors
/// How a moment is written.
pub fn to(text: &str) -> Result<Timestamp, String> {
    Timestamp::end(text, SystemClock::shared().now())
}

/// The UTC day of a moment, or one that is named.
///
/// # Errors
/// How a day is written.
pub fn day(text: &str) -> Result<Day, String> {
    from(text).map(Timestamp::day)
}

/// A moment as the API takes it.
#[must_use]
pub fn written(moment: Option<Timestamp>) -> Option<Value> {
    moment.map(|moment| json!(moment))
}

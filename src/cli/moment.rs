//! Moments as they are typed: a date and time, or how long ago.

use serde_json::{Value, json};

use crate::clock::{Clock, Day, SystemClock, Timestamp};
use crate::config;

/// `2026-12-01T06:00:00Z`, or `24h` for a day ago.
fn back_from(clock: &dyn Clock, text: &str) -> Option<Timestamp> {
    if let Ok(moment) = serde_json::from_value(json!(text)) {
        return Some(moment);
    }
    let ago = i64::try_from(config::duration(text).ok()?.as_millis()).ok()?;
    Some(Timestamp(clock.now().0.saturating_sub(ago)))
}

/// When a span begins: a moment, how long ago it was, or a UTC day, which begins at midnight.
///
/// # Errors
/// How a moment is written.
pub fn from(text: &str) -> Result<Timestamp, String> {
    bound(SystemClock::shared().as_ref(), text, Day::start)
}

/// When a span ends: a moment, how long ago it was, or a UTC day, which belongs to it.
///
/// # Errors
/// How a moment is written.
pub fn to(text: &str) -> Result<Timestamp, String> {
    bound(SystemClock::shared().as_ref(), text, |day| day.plus(1).start())
}

/// The UTC day of a moment, or one that is named.
///
/// # Errors
/// How a day is written.
pub fn day(text: &str) -> Result<Day, String> {
    from(text).map(Timestamp::day)
}

fn bound(clock: &dyn Clock, text: &str, of_day: impl FnOnce(Day) -> Timestamp) -> Result<Timestamp, String> {
    let day = match text {
        "today" => Some(clock.now().day()),
        "yesterday" => Some(clock.now().day().plus(-1)),
        _ => text.parse().ok(),
    };
    let form = "write a UTC day, such as 2026-12-01 or yesterday, date, time and zone, such as 2026-12-01T06:00:00Z, or how \
                long ago, such as 24h";
    let moment = day.map(of_day).or_else(|| back_from(clock, text));
    moment.ok_or_else(|| format!("that is neither a day nor a moment; {form}"))
}

/// A moment as the API takes it.
#[must_use]
pub fn written(moment: Option<Timestamp>) -> Option<Value> {
    moment.map(|moment| json!(moment))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp(self.0)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn a_moment_is_typed_as_it_is_or_as_how_long_ago_it_was() {
        let clock = At(1_790_000_000_000);
        for (text, moment) in [
            ("2026-09-21T14:13:20Z", Some(1_790_000_000_000)),
            ("2026-09-21T16:13:20+02:00", Some(1_790_000_000_000)),
            ("24h", Some(1_790_000_000_000 - 86_400_000)),
            ("90m", Some(1_790_000_000_000 - 5_400_000)),
            ("yesterday", None),
            ("2026-09-21", None),
            ("", None),
        ] {
            assert_eq!(back_from(&clock, text), moment.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn a_span_is_typed_by_its_days_or_by_its_moments() {
        let clock = At(1_790_000_000_000);
        for (text, begin, end) in [
            ("2026-09-21", "2026-09-21T00:00:00.000Z", "2026-09-22T00:00:00.000Z"),
            ("today", "2026-09-21T00:00:00.000Z", "2026-09-22T00:00:00.000Z"),
            ("yesterday", "2026-09-20T00:00:00.000Z", "2026-09-21T00:00:00.000Z"),
            ("2026-09-21T16:13:20+02:00", "2026-09-21T14:13:20.000Z", "2026-09-21T14:13:20.000Z"),
            ("24h", "2026-09-20T14:13:20.000Z", "2026-09-20T14:13:20.000Z"),
        ] {
            assert_eq!(bound(&clock, text, Day::start).unwrap().to_string(), begin, "{text}");
            assert_eq!(bound(&clock, text, |day| day.plus(1).start()).unwrap().to_string(), end, "{text}");
        }
        assert!(bound(&clock, "tomorrow", Day::start).unwrap_err().contains("neither a day nor a moment"));
    }
}

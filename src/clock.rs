//! Time, injected: the wall clock for what people read, a monotonic one for waiting.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z on the wall clock. Written out as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment plus `wait`; saturates at the far end of time.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this moment; zero when the clock went backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The last moment that is a whole number of steps, this one or one before.
    #[must_use]
    pub fn step(self, step: Duration) -> Self {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        Self(self.0.div_euclid(step).saturating_mul(step))
    }

    /// As people read it: `2026-09-21 14:13:20 UTC`. Programs are given the other form.
    #[must_use]
    pub fn spoken(self) -> String {
        let written = self.to_string();
        match written.split_once('.').and_then(|(whole, _)| whole.split_once('T')) {
            Some((date, time)) => format!("{date} {time} UTC"),
            None => written,
        }
    }

    /// The UTC day that it is on.
    #[must_use]
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_MS))
    }

    /// When a span begins, as a person types it: a moment, how long ago it was (`24h`), or a UTC day (`2026-09-21`, `today`,
    /// `yesterday`), which begins at midnight.
    ///
    /// # Errors
    /// How a moment is typed.
    pub fn beginning(text: &str, now: Self) -> Result<Self, String> {
        typed(text, now, Day::start)
    }

    /// When a span ends, typed likewise; a UTC day belongs to it.
    ///
    /// # Errors
    /// How a moment is typed.
    pub fn end(text: &str, now: Self) -> Result<Self, String> {
        typed(text, now, |day| day.plus(1).start())
    }
}

fn typed(text: &str, now: Timestamp, of_day: impl FnOnce(Day) -> Timestamp) -> Result<Timestamp, String> {
    let day = match text {
        "today" => Some(now.day()),
        "yesterday" => Some(now.day().plus(-1)),
        _ => text.parse().ok(),
    };
    let form = "write a UTC day, such as 2026-12-01 or yesterday, date, time and zone, such as 2026-12-01T06:00:00Z, or how \
                long ago, such as 24h";
    if duration(text).is_ok_and(|ago| ago > AGO_MAX) {
        return Err("that is longer ago than 36500d, before anything was".to_owned());
    }
    let moment = day.map(of_day).or_else(|| moment(text)).or_else(|| back_from(now, text));
    moment.ok_or_else(|| format!("that is neither a day nor a moment; {form}"))
}

/// A hundred years: nothing that is asked for is older.
const AGO_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// `2026-12-01T06:00:00Z`.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_millisecond()))
}

/// `24h` for a day ago.
fn back_from(now: Timestamp, text: &str) -> Option<Timestamp> {
    let ago = i64::try_from(duration(text).ok()?.as_millis()).ok()?;
    Some(Timestamp(now.0.saturating_sub(ago)))
}

/// `250ms`, `30s`, `10m`, `2h`, `3d`: a whole number and a unit.
///
/// # Errors
/// How a duration is written.
pub fn duration(text: &str) -> Result<Duration, String> {
    let form = "write a whole number and ms, s, m, h or d, such as \"30s\"";
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("{text:?} has no unit; {form}"))?;
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no duration; {form}"))?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{text:?} is no duration; {form}")),
    };
    let total = number.checked_mul(milliseconds).ok_or_else(|| format!("{text:?} is too long"))?;
    Ok(Duration::from_millis(total))
}

/// For `deserialize_with`: when a span begins that is asked for, as [`Timestamp::beginning`] takes it.
///
/// # Errors
/// How a moment is typed.
pub fn asked_beginning<'de, D: serde::Deserializer<'de>>(asked: D) -> Result<Option<Timestamp>, D::Error> {
    asked_by(asked, Timestamp::beginning)
}

/// For `deserialize_with`: when a span ends that is asked for, as [`Timestamp::end`] takes it.
///
/// # Errors
/// How a moment is typed.
pub fn asked_end<'de, D: serde::Deserializer<'de>>(asked: D) -> Result<Option<Timestamp>, D::Error> {
    asked_by(asked, Timestamp::end)
}

fn asked_by<'de, D: serde::Deserializer<'de>>(
    asked: D,
    read: fn(&str, Timestamp) -> Result<Timestamp, String>,
) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(asked)?;
    let now = SystemClock::shared().now();
    text.map(|text| read(&text, now).map_err(serde::de::Error::custom)).transpose()
}

const DAY_MS: i64 = 86_400_000;
/// 1970-01-01.
const EPOCH: jiff::civil::Date = jiff::civil::Date::constant(1970, 1, 1);

/// A UTC day, counted from 1970-01-01. Written out as `2026-09-21`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = Date)]
pub struct Day(pub i64);

impl Day {
    /// So many days later, or earlier; stays within what can be written.
    #[must_use]
    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(DAY_MS))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = jiff::Span::new().try_days(self.0).ok();
        match span.and_then(|span| EPOCH.checked_add(span).ok()) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is no day; write one such as 2026-09-21");
        // A moment would be read as its day, of whatever zone it is.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(form());
        }
        let date: jiff::civil::Date = text.parse().map_err(|_| form())?;
        Ok(Self(i64::from(EPOCH.until(date).map_err(|_| form())?.get_days())))
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = "that is no moment; write date, time and zone, such as 2026-12-01T06:00:00Z, at the latest \
                    9999-12-30T22:00:00Z";
        moment(&String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom(form))
    }
}

/// Where time comes from. The system's clock in production, one that is moved by hand in tests.
pub trait Clock: Send + Sync {
    /// Wall-clock time: may jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment: never jumps, never goes back.
    fn monotonic(&self) -> Duration;
}

/// A clock shared by all parts of a gateway.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The machine's clocks, shared.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self { started: Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_in_utc_with_milliseconds() {
        assert_eq!(Timestamp(1_790_000_000_123).to_string(), "2026-09-21T14:13:20.123Z");
        assert_eq!(Timestamp(1_790_000_000_123).spoken(), "2026-09-21 14:13:20 UTC");
        assert_eq!(Timestamp(i64::MAX).spoken(), format!("{} ms", i64::MAX));
        let back: Timestamp = serde_json::from_str("\"2026-09-21T14:13:20.123Z\"").unwrap();
        assert_eq!(back, Timestamp(1_790_000_000_123));
    }

    #[test]
    fn a_step_is_the_last_that_is_over() {
        let step = Duration::from_secs(300);
        for (moment, begun) in [(0, 0), (299_999, 0), (300_000, 300_000), (-1, -300_000)] {
            assert_eq!(Timestamp(moment).step(step), Timestamp(begun));
        }
    }

    #[test]
    fn a_day_is_utc_and_is_read_as_it_is_written() {
        for (moment, day) in
            [(0, "1970-01-01"), (86_399_999, "1970-01-01"), (-1, "1969-12-31"), (1_790_000_000_123, "2026-09-21")]
        {
            assert_eq!(Timestamp(moment).day().to_string(), day);
            assert_eq!(day.parse(), Ok(Timestamp(moment).day()));
        }
        assert_eq!(Timestamp(1_790_000_000_123).day().plus(1).start().to_string(), "2026-09-22T00:00:00.000Z");
        for wrong in ["", "yesterday", "2026-02-30", "2026-13-01", "2026-09-21T16:13:20+02:00"] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
        assert_eq!(Day(i64::MAX).to_string(), format!("day {}", i64::MAX));
    }

    #[test]
    fn a_moment_is_typed_as_it_is_or_as_how_long_ago_it_was() {
        let now = Timestamp(1_790_000_000_000);
        for (text, begin, end) in [
            ("2026-09-21", "2026-09-21T00:00:00.000Z", "2026-09-22T00:00:00.000Z"),
            ("today", "2026-09-21T00:00:00.000Z", "2026-09-22T00:00:00.000Z"),
            ("yesterday", "2026-09-20T00:00:00.000Z", "2026-09-21T00:00:00.000Z"),
            ("2026-09-21T16:13:20+02:00", "2026-09-21T14:13:20.000Z", "2026-09-21T14:13:20.000Z"),
            ("24h", "2026-09-20T14:13:20.000Z", "2026-09-20T14:13:20.000Z"),
            ("90m", "2026-09-21T12:43:20.000Z", "2026-09-21T12:43:20.000Z"),
        ] {
            assert_eq!(Timestamp::beginning(text, now).unwrap().to_string(), begin, "{text}");
            assert_eq!(Timestamp::end(text, now).unwrap().to_string(), end, "{text}");
        }
        let wrong = Timestamp::beginning("36501d", now).unwrap_err();
        assert!(Timestamp::beginning("36500d", now).is_ok() && wrong.contains("longer ago than 36500d"), "{wrong}");
        let last = "9999-12-30T22:00:00Z";
        assert!(moment(last).is_some() && moment("9999-12-31T23:59:59Z").is_none());
        assert!(serde_json::from_str::<Timestamp>("\"9999-12-31T23:59:59Z\"").unwrap_err().to_string().contains(last));
        for wrong in ["tomorrow", "", "24", "h"] {
            assert!(Timestamp::beginning(wrong, now).unwrap_err().contains("neither a day nor a moment"), "{wrong}");
        }
        let wrong = serde_json::from_str::<Timestamp>("\"yesterday\"").unwrap_err().to_string();
        assert!(wrong.starts_with("that is no moment; write date, time and zone"), "{wrong}");
    }

    #[test]
    fn time_that_runs_backwards_counts_as_none() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(i64::MAX).plus(Duration::from_secs(1)), Timestamp(i64::MAX));
    }
}

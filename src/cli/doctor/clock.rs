//! Whether this machine's clock agrees with the others', and whether it knows time zones.

use std::time::Duration;

use super::finding::{Findings, Judged};

/// A difference that is told: signatures and tokens that hold for minutes begin to suffer.
const SKEW_WARNED: Duration = Duration::from_secs(5);
/// A difference at which Kerberos, WS-Security timestamps, and tokens are commonly refused.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// A `Date` header has whole seconds only.
const DATE_STEP: Duration = Duration::from_secs(1);

/// What another's clock said, against ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Whose clock.
    pub(super) whose: String,
    /// How far it is ahead of ours, in milliseconds.
    pub(super) ahead_ms: i64,
    /// How far that may be wrong: the way there, and the step of the clock.
    pub(super) uncertain: Duration,
}

impl Reading {
    /// Reads a `Date` header (RFC 9110 §5.6.7) that came in an answer; `asked` and `answered` in milliseconds by our clock.
    pub(super) fn of_date(whose: &str, date: &str, asked: i64, answered: i64) -> Option<Self> {
        let theirs = jiff::fmt::rfc2822::parse(date.trim()).ok()?.timestamp().as_millisecond();
        Some(Self::of(whose, theirs, asked, answered, DATE_STEP))
    }

    pub(super) fn of(whose: &str, theirs: i64, asked: i64, answered: i64, step: Duration) -> Self {
        let took = answered.saturating_sub(asked).max(0);
        let ahead_ms = theirs.saturating_sub(asked.saturating_add(took / 2));
        let way = Duration::from_millis(u64::try_from(took / 2).unwrap_or(0));
        Self { whose: whose.to_owned(), ahead_ms, uncertain: way.saturating_add(step) }
    }

    fn judged(&self) -> Judged {
        let Self { whose, ahead_ms, uncertain } = self;
        let apart = Duration::from_millis(ahead_ms.unsigned_abs());
        let surely = apart.saturating_sub(*uncertain);
        let way = if *ahead_ms < 0 { "ahead of" } else { "behind" };
        let told = format!("this machine's clock is {:.1} s {way} that of {whose}", apart.as_secs_f64());
        let advice = "set the clock by NTP (`timedatectl`, chrony), on this machine or there: signatures, tokens and \
                      certificates hold by it";
        if surely > SKEW_MAX {
            Judged::failed(told, advice)
        } else if surely > SKEW_WARNED {
            Judged::warning(told, advice)
        } else {
            Judged::ok(format!("it agrees with that of {whose} within {:.1} s", (apart + *uncertain).as_secs_f64()))
        }
    }
}

/// Judges every reading, and whether a zone can be found.
pub(super) fn look(readings: &[Reading]) -> Findings {
    let mut findings = Findings::about("clock");
    if readings.is_empty() {
        findings.skip("skew", "nobody whose clock could be compared was asked or answered");
    }
    for reading in readings {
        findings.judged("skew", reading.judged());
    }
    let name = "Europe/Berlin";
    match jiff::tz::TimeZone::get(name) {
        Ok(_) if std::path::Path::new("/usr/share/zoneinfo").is_dir() => {
            findings.ok("time zones", "this machine's time zone data is used");
        }
        Ok(_) => findings.ok(
            "time zones",
            "this machine has no time zone data (tzdata): what omgate has with it is \
                                            used",
        ),
        Err(error) => findings.fail(
            "time zones",
            format!("the zone {name} cannot be found: {error}"),
            "install the package tzdata: open hours (calendar) are wrong without it",
        ),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_clock_that_differs_for_sure_is_told_and_a_slow_answer_proves_nothing() {
        // Sun, 06 Nov 1994 08:49:37 GMT.
        let theirs = 784_111_777_000;
        for (asked, answered, level) in [
            (theirs, theirs + 100, Level::Ok),
            (theirs - 5_900, theirs - 5_900, Level::Ok),
            (theirs - 7_000, theirs - 7_000, Level::Warning),
            (theirs + 7_000, theirs + 7_000, Level::Warning),
            (theirs + 10_000, theirs + 20_000, Level::Warning),
            (theirs, theirs + 20_000, Level::Ok),
            (theirs - 3_600_000, theirs - 3_600_000, Level::Failed),
            (theirs + 302_000, theirs + 302_000, Level::Failed),
        ] {
            let reading = Reading::of_date("crm", "Sun, 06 Nov 1994 08:49:37 GMT", asked, answered).unwrap();
            let judged = reading.judged();
            assert_eq!(judged.level, level, "{asked} {answered}: {judged:?}");
        }
        let behind = Reading::of_date("crm", "Sun, 06 Nov 1994 08:49:37 GMT", theirs - 9_000, theirs - 9_000).unwrap();
        assert!(behind.judged().found.contains("9.0 s behind that of crm"), "{:?}", behind.judged());
        assert_eq!(Reading::of_date("crm", "yesterday", 0, 0), None);
    }
}

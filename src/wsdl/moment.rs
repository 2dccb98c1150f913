//! Dates, times and durations by their lexical forms (XSD 1.0 part 2, 3.2.6–3.2.14), and their order.

use std::cmp::Ordering;

use super::simple::Builtin;

/// How many seconds a time zone is off at most.
const ZONE_MAX: i128 = 14 * 3_600;
const DAY: i128 = 86_400;
/// The moments from which durations are compared, as years and months (XSD 1.0 part 2, 3.2.6.2); each on its first day.
const REFERENCES: [(i128, i128); 4] = [(1696, 9), (1697, 2), (1903, 3), (1903, 7)];

/// A point on a time line, with what its type leaves out filled in by a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    seconds: i128,
    /// Digits after the point, without trailing zeros.
    fraction: String,
    /// Minutes east of UTC; none: local.
    zone: Option<i128>,
}

impl Moment {
    /// Orders two moments; none where an absent time zone leaves it open (XSD 1.0 part 2, 3.2.7.4: 14 hours either way).
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        let (left, right) = (self.seconds - self.zone.unwrap_or(0) * 60, other.seconds - other.zone.unwrap_or(0) * 60);
        let shifted = |by: i128| left.cmp(&(right + by)).then_with(|| self.fraction.cmp(&other.fraction));
        if self.zone.is_some() == other.zone.is_some() {
            return Some(shifted(0));
        }
        let (earliest, latest) = (shifted(-ZONE_MAX), shifted(ZONE_MAX));
        (earliest == latest && earliest != Ordering::Equal).then_some(earliest)
    }
}

/// A duration: months and seconds do not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Duration {
    negative: bool,
    months: i128,
    seconds: i128,
    fraction: String,
}

impl Duration {
    /// Orders two durations; none where it depends on the calendar.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        let mut orders = REFERENCES.into_iter().map(|start| self.after(start).cmp(&other.after(start)));
        let first = orders.next()?;
        orders.all(|order| order == first).then_some(first)
    }

    /// The moment that is this long after the first day of a month: whole seconds and the digits behind them.
    fn after(&self, (year, month): (i128, i128)) -> (i128, String) {
        let sign = if self.negative { -1 } else { 1 };
        let months = year * 12 + month - 1 + sign * self.months;
        let start = days(months.div_euclid(12), months.rem_euclid(12) + 1, 1) * DAY;
        if !self.negative || self.fraction.is_empty() {
            return (start + sign * self.seconds, self.fraction.clone());
        }
        (start - self.seconds - 1, rest_of_second(&self.fraction))
    }
}

/// What a fraction of a second lacks to the whole one: the complement of its digits.
fn rest_of_second(fraction: &str) -> String {
    let last = fraction.len().saturating_sub(1);
    let digits = fraction.bytes().enumerate();
    digits.map(|(at, digit)| char::from(if at == last { b'9' + 1 } else { b'9' } - digit + b'0')).collect()
}

/// Reads a value of one of the date and time types.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type has no moments")]
pub(crate) fn parse(builtin: Builtin, text: &str) -> Option<Moment> {
    let (text, zone) = zone(text)?;
    let mut rest = Rest(text);
    let (mut year, mut month, mut day, mut clock) = (2000, 1, 1, (0, String::new()));
    match builtin {
        Builtin::DateTime => {
            (year, month, day) = rest.date()?;
            rest.take("T")?;
            clock = rest.clock()?;
        }
        Builtin::Date => (year, month, day) = rest.date()?,
        Builtin::Time => clock = rest.clock()?,
        Builtin::GYearMonth => {
            year = rest.year()?;
            rest.take("-")?;
            month = rest.two(1, 12)?;
        }
        Builtin::GYear => year = rest.year()?,
        Builtin::GMonthDay => {
            rest.take("--")?;
            month = rest.two(1, 12)?;
            rest.take("-")?;
            day = rest.two(1, days_in(2000, month))?;
        }
        Builtin::GDay => {
            rest.take("---")?;
            day = rest.two(1, 31)?;
        }
        Builtin::GMonth => {
            rest.take("--")?;
            month = rest.two(1, 12)?;
        }
        _ => return None,
    }
    let zoned = zone.filter(|_| builtin == Builtin::Time);
    let seconds = zoned.map_or(clock.0, |zone| same_day(clock.0, zone * 60));
    rest.0.is_empty().then(|| Moment { seconds: days(year, month, day) * DAY + seconds, fraction: clock.1, zone })
}

/// A time of day that recurs: moved by a day where its zone would put it into another one.
fn same_day(seconds: i128, zone: i128) -> i128 {
    match seconds - zone {
        utc if utc < 0 => seconds + DAY,
        utc if utc > DAY => seconds - DAY,
        _ => seconds,
    }
}

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut date = Rest(date);
    let (years, months, days) = (date.component('Y')?, date.component('M')?, date.component('D')?);
    let mut time = Rest(time);
    let (hours, minutes) = (time.component('H')?, time.component('M')?);
    let (seconds, fraction) = time.seconds_component()?;
    if !date.0.is_empty() || !time.0.is_empty() {
        return None;
    }
    Some(Duration {
        negative,
        months: years * 12 + months,
        seconds: days * DAY + hours * 3_600 + minutes * 60 + seconds,
        fraction,
    })
}

fn zone(text: &str) -> Option<(&str, Option<i128>)> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Some((rest, Some(0)));
    }
    let Some(split) = text.len().checked_sub(6) else { return Some((text, None)) };
    let (Some(rest), Some(tail)) = (text.get(..split), text.get(split..)) else { return Some((text, None)) };
    let (sign, mut tail) = match (tail.strip_prefix('+'), tail.strip_prefix('-')) {
        (Some(tail), _) if tail.contains(':') => (1, Rest(tail)),
        (_, Some(tail)) if tail.contains(':') => (-1, Rest(tail)),
        _ => return Some((text, None)),
    };
    let hours = tail.two(0, 14)?;
    tail.take(":")?;
    let minutes = tail.two(0, if hours == 14 { 0 } else { 59 })?;
    Some((rest, Some(sign * (hours * 60 + minutes))))
}

fn days_in(year: i128, month: i128) -> i128 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, prefix: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(prefix)?;
        Some(())
    }

    fn digits(&mut self) -> &str {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        digits
    }

    fn two(&mut self, low: i128, high: i128) -> Option<i128> {
        let (digits, rest) = self.0.split_at_checked(2)?;
        let value = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        self.0 = rest;
        (low <= value && value <= high).then_some(value)
    }

    fn year(&mut self) -> Option<i128> {
        let negative = self.take("-").is_some();
        let digits = self.digits();
        if digits.len() < 4 || digits.len() > 12 || (digits.len() > 4 && digits.starts_with('0')) {
            return None;
        }
        let year: i128 = digits.parse().ok().filter(|year| *year != 0)?;
        Some(if negative { -year } else { year })
    }

    fn date(&mut self) -> Option<(i128, i128, i128)> {
        let year = self.year()?;
        self.take("-")?;
        let month = self.two(1, 12)?;
        self.take("-")?;
        let day = self.two(1, days_in(year, month))?;
        Some((year, month, day))
    }

    fn clock(&mut self) -> Option<(i128, String)> {
        let hour = self.two(0, 24)?;
        self.take(":")?;
        let minute = self.two(0, 59)?;
        self.take(":")?;
        let second = self.two(0, 59)?;
        let fraction = self.fraction()?;
        let whole_day = hour == 24 && (minute, second) == (0, 0) && fraction.is_empty();
        (hour < 24 || whole_day).then_some((hour * 3_600 + minute * 60 + second, fraction))
    }

    fn fraction(&mut self) -> Option<String> {
        if self.take(".").is_none() {
            return Some(String::new());
        }
        let digits = self.digits();
        (!digits.is_empty()).then(|| digits.trim_end_matches('0').to_owned())
    }

    /// Digits and their letter, or nothing at all.
    fn component(&mut self, letter: char) -> Option<i128> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let Some(rest) = self.0.get(end..).and_then(|rest| rest.strip_prefix(letter)) else { return Some(0) };
        let value = self.0.get(..end).filter(|digits| digits.len() <= 18)?.parse().ok()?;
        self.0 = rest;
        Some(value)
    }

    fn seconds_component(&mut self) -> Option<(i128, String)> {
        if self.0.is_empty() {
            return Some((0, String::new()));
        }
        let value = self.digits().to_owned();
        let value = (!value.is_empty() && value.len() <= 18).then(|| value.parse().ok())??;
        let fraction = self.fraction()?;
        self.take("S")?;
        Some((value, fraction))
    }
}

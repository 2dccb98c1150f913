//! When a system may be called: open hours on the wall clock of a time zone, with days that are exceptions.
//!
//! A system is open exactly when a clock on the wall in its time zone shows an open time. So hours that a change to
//! summer time leaves out are not there, and an hour that comes twice in autumn is open, or closed, both times.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

const DAY: u16 = 24 * 60;
/// How far ahead the next opening is looked for, in days: every yearly exception is over by then.
const HORIZON_DAYS: usize = 400;
/// The days as they are written; Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Open hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    zone: TimeZone,
    /// Monday first.
    week: [Vec<Hours>; 7],
    exceptions: Vec<Exception>,
}

/// A stretch of a day, in minutes from its midnight; the end is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hours {
    from: u16,
    to: u16,
}

/// `Mon-Fri 06:00-22:00`: days and hours. Hours that end before they begin reach into the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weekly {
    days: Vec<usize>,
    hours: Vec<(usize, Hours)>,
}

/// `2026-12-24..2026-12-26 closed`, or with hours: what holds on these days in place of the week's hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    first: Date,
    last: Date,
    hours: Option<Hours>,
}

impl Calendar {
    /// Open hours of a zone.
    ///
    /// # Errors
    /// When the system would never be open.
    pub fn new(zone: TimeZone, open: &[Weekly], exceptions: Vec<Exception>) -> Result<Self, String> {
        let mut week: [Vec<Hours>; 7] = Default::default();
        for weekly in open {
            for day in &weekly.days {
                for (later, hours) in &weekly.hours {
                    if let Some(day) = week.get_mut((day + later) % 7) {
                        day.push(*hours);
                    }
                }
            }
        }
        refuse_contradictions(&exceptions)?;
        if week.iter().all(Vec::is_empty) {
            return Err("is open at no time of the week; write open = [\"Mon-Fri 06:00-22:00\"]".to_owned());
        }
        Ok(Self { zone, week, exceptions })
    }

    /// Whether the system may be called at this moment.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let Ok(moment) = jiff::Timestamp::from_millisecond(at.0) else { return true };
        self.is_open_on_wall(self.zone.to_datetime(moment))
    }

    /// The next moment at which it may be called; none within 400 days. The moment itself when it is open.
    #[must_use]
    pub fn opens(&self, from: Timestamp) -> Option<Timestamp> {
        if self.is_open(from) {
            return Some(from);
        }
        let moment = jiff::Timestamp::from_millisecond(from.0).ok()?;
        let mut date = self.zone.to_datetime(moment).date();
        for _ in 0..HORIZON_DAYS {
            let mut candidates = self.candidates(date);
            candidates.sort_unstable();
            let found = candidates.into_iter().find(|&candidate| candidate > from && self.is_open(candidate));
            if found.is_some() {
                return found;
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_open_on_wall(&self, wall: DateTime) -> bool {
        let minute = minutes(wall.time());
        self.on(wall.date()).iter().any(|hours| (hours.from..hours.to).contains(&minute))
    }

    fn on(&self, date: Date) -> Vec<Hours> {
        let of_day = || self.exceptions.iter().filter(|exception| (exception.first..=exception.last).contains(&date));
        // What is said of fewer days is said more exactly.
        if let Some(days) = of_day().map(Exception::days).min() {
            return of_day()
                .filter(|exception| exception.days() == days)
                .filter_map(|exception| exception.hours)
                .collect();
        }
        self.week.get(weekday(date.weekday())).cloned().unwrap_or_default()
    }

    /// The moments of a day at which it may begin to be open: where hours begin, both times when the hour comes twice,
    /// and where the clock is set.
    fn candidates(&self, date: Date) -> Vec<Timestamp> {
        let mut candidates = Vec::new();
        for hours in self.on(date) {
            let Ok(time) = Time::new(i8_of(hours.from / 60), i8_of(hours.from % 60), 0, 0) else { continue };
            let ambiguous = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
            candidates.extend([ambiguous.earlier(), ambiguous.later()].into_iter().flatten());
        }
        if let Ok(midnight) = self.zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight())).earlier() {
            candidates.extend(self.zone.following(midnight).take(1).map(|transition| transition.timestamp()));
        }
        candidates.into_iter().map(|moment| Timestamp(moment.as_millisecond())).collect()
    }
}

impl Exception {
    fn days(&self) -> i64 {
        self.last.since(self.first).map_or(i64::MAX, |span| i64::from(span.get_days()))
    }
}

/// A day cannot be closed and open by what is said of just as many days.
fn refuse_contradictions(exceptions: &[Exception]) -> Result<(), String> {
    for (place, one) in exceptions.iter().enumerate() {
        for other in exceptions.iter().skip(place + 1) {
            let meet = one.first <= other.last && other.first <= one.last;
            if meet && one.days() == other.days() && one.hours.is_some() != other.hours.is_some() {
                return Err(format!(
                    "has an exception that says closed and one that gives hours, both for {}",
                    one.first.max(other.first)
                ));
            }
        }
    }
    Ok(())
}

fn minutes(time: Time) -> u16 {
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or(0)
}

fn i8_of(number: u16) -> i8 {
    i8::try_from(number).unwrap_or(i8::MAX)
}

fn weekday(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

impl FromStr for Weekly {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write days and hours, such as \"Mon-Fri 06:00-22:00\" or \"Sat,Sun 22:00-04:00\"";
        let (days, hours) = text.trim().split_once(' ').ok_or(FORM)?;
        let days = days_of(days).ok_or_else(|| format!("{days:?} are no days; {FORM}"))?;
        let hours = hours_of(hours).ok_or_else(|| format!("{hours:?} are no hours; {FORM}"))?;
        Ok(Self { days, hours })
    }
}

impl FromStr for Exception {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "write a day and its hours, such as \"2026-12-25 closed\" or \"2026-12-27..2026-12-30 08:00-12:00\"";
        let (days, hours) = text.trim().split_once(' ').ok_or(FORM)?;
        let (first, last) = days.split_once("..").unwrap_or((days, days));
        let date = |text: &str| text.parse::<Date>().map_err(|_| format!("{text:?} is no day; {FORM}"));
        let (first, last) = (date(first)?, date(last)?);
        if last < first {
            return Err(format!("{days:?} ends before it begins"));
        }
        if hours.trim() == "closed" {
            return Ok(Self { first, last, hours: None });
        }
        match hours_of(hours).as_deref() {
            Some([(0, hours)]) => Ok(Self { first, last, hours: Some(*hours) }),
            Some(_) => Err(format!("{hours:?} reaches into the next day; give that day an exception of its own")),
            None => Err(format!("{hours:?} are no hours; {FORM}")),
        }
    }
}

/// `Mon-Fri`, `Sat,Sun`, `daily`; Monday is 0.
fn days_of(text: &str) -> Option<Vec<usize>> {
    if text.eq_ignore_ascii_case("daily") {
        return Some((0..7).collect());
    }
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        days.extend((0..=count).map(|later| (first + later) % 7));
    }
    Some(days)
}

/// `06:00-22:00`: the hours, and how many days later; two stretches when they pass midnight.
fn hours_of(text: &str) -> Option<Vec<(usize, Hours)>> {
    let (from, to) = text.trim().split_once('-')?;
    let (from, to) = (minute_of(from)?, minute_of(to)?);
    if from == to || from == DAY {
        return None;
    }
    if from < to {
        return Some(vec![(0, Hours { from, to })]);
    }
    let mut hours = vec![(0, Hours { from, to: DAY })];
    if to > 0 {
        hours.push((1, Hours { from: 0, to }));
    }
    Some(hours)
}

fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u16>());
    let (hour, minute) = (number(hour)?.ok()?, number(minute)?.ok()?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (name, hours) in DAYS.iter().zip(&self.week) {
            for Hours { from, to } in hours {
                write!(f, "{between}{name} {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
                between = ", ";
            }
        }
        let zone = self.zone.iana_name().unwrap_or("a fixed offset");
        write!(f, " ({zone})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, open: &[&str], exceptions: &[&str]) -> Calendar {
        let open: Vec<Weekly> = open.iter().map(|text| text.parse().unwrap()).collect();
        let exceptions = exceptions.iter().map(|text| text.parse().unwrap()).collect();
        Calendar::new(TimeZone::get(zone).unwrap(), &open, exceptions).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn it_is_open_when_the_clock_on_the_wall_shows_an_open_time() {
        let office = calendar("Europe/Berlin", &["Mon-Fri 06:00-22:00", "Sat 08:00-12:00"], &["2026-12-25 closed"]);
        for (moment, open) in [
            ("2026-11-26T05:00:00Z", true), // Thursday, 06:00 in Berlin
            ("2026-11-26T04:59:59.999Z", false),
            ("2026-11-26T20:59:59Z", true),
            ("2026-11-26T21:00:00Z", false), // the end is no part of it
            ("2026-07-02T04:00:00Z", true),  // in summer 06:00 is two hours from UTC
            ("2026-11-28T10:59:00Z", true),  // Saturday
            ("2026-11-28T11:00:00Z", false),
            ("2026-11-29T10:00:00Z", false), // Sunday
            ("2026-12-25T10:00:00Z", false), // a Friday, but Christmas
            ("2026-12-24T10:00:00Z", true),
        ] {
            assert_eq!(office.is_open(at(moment)), open, "{moment}");
        }
    }

    #[test]
    fn the_next_opening_is_found_across_nights_weekends_and_exceptions() {
        let office = calendar(
            "Europe/Berlin",
            &["Mon-Fri 06:00-22:00"],
            &["2026-12-24..2027-01-03 closed", "2026-12-28 10:00-11:00"],
        );
        for (from, opens) in [
            ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"),
            ("2026-11-26T21:30:00Z", "2026-11-27T05:00:00Z"),
            ("2026-11-27T21:30:00Z", "2026-11-30T05:00:00Z"),
            ("2026-12-23T22:00:00Z", "2026-12-28T09:00:00Z"),
            ("2026-12-28T10:00:00Z", "2027-01-04T05:00:00Z"),
        ] {
            assert_eq!(office.opens(at(from)), Some(at(opens)), "{from}");
        }
        let closed = calendar("UTC", &["Mon 00:00-24:00"], &["2026-01-01..2030-01-01 closed"]);
        assert_eq!(closed.opens(at("2026-01-02T00:00:00Z")), None);
    }

    #[test]
    fn hours_past_midnight_reach_into_the_next_day() {
        let night = calendar("UTC", &["Fri 22:00-04:00"], &[]);
        for (moment, open) in [
            ("2026-11-27T21:59:00Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T03:59:00Z", true),
            ("2026-11-28T04:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
        ] {
            assert_eq!(night.is_open(at(moment)), open, "{moment}");
        }
        assert_eq!(
            calendar("UTC", &["Sun 20:00-00:00"], &[]).opens(at("2026-11-30T00:00:00Z")),
            Some(at("2026-12-06T20:00:00Z"))
        );
    }

    /// On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00, at 01:00 UTC.
    #[test]
    fn an_hour_that_the_spring_leaves_out_is_not_there() {
        let inside = calendar("Europe/Berlin", &["Sun 02:15-02:45"], &[]);
        assert_eq!(inside.opens(at("2026-03-28T12:00:00Z")), Some(at("2026-04-05T00:15:00Z")), "a week later");
        let across = calendar("Europe/Berlin", &["Sun 02:30-04:00"], &[]);
        assert!(!across.is_open(at("2026-03-29T00:59:59Z")));
        assert!(across.is_open(at("2026-03-29T01:00:00Z")), "the wall shows 03:00");
        assert_eq!(across.opens(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert!(!across.is_open(at("2026-03-29T02:00:00Z")), "the wall shows 04:00");
    }

    /// On 2026-10-25 the clocks of Berlin go from 03:00 to 02:00, at 01:00 UTC.
    #[test]
    fn an_hour_that_the_autumn_brings_twice_counts_both_times() {
        let twice = calendar("Europe/Berlin", &["Sun 02:00-02:30"], &[]);
        for (moment, open) in [
            ("2026-10-24T23:59:00Z", false),
            ("2026-10-25T00:00:00Z", true),
            ("2026-10-25T00:30:00Z", false),
            ("2026-10-25T01:00:00Z", true),
            ("2026-10-25T01:30:00Z", false),
        ] {
            assert_eq!(twice.is_open(at(moment)), open, "{moment}");
        }
        assert_eq!(twice.opens(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
        let backup = calendar("Europe/Berlin", &["Sun 00:00-02:00", "Sun 03:00-24:00"], &[]);
        assert!(!backup.is_open(at("2026-10-25T00:30:00Z")) && !backup.is_open(at("2026-10-25T01:30:00Z")));
        assert_eq!(backup.opens(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T02:00:00Z")));
    }

    #[test]
    fn what_is_no_time_is_refused_in_words() {
        for (text, words) in [
            ("Mon", "write days and hours"),
            ("Mo-Fr 06:00-22:00", "are no days"),
            ("Mon-Fri 6-22", "are no hours"),
            ("Mon 06:00-06:00", "are no hours"),
            ("Mon 06:00-24:01", "are no hours"),
            ("Mon 06:60-07:00", "are no hours"),
            ("Mon 24:00-07:00", "are no hours"),
        ] {
            let error = text.parse::<Weekly>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        for (text, words) in [
            ("2026-12-25", "write a day"),
            ("2026-02-30 closed", "is no day"),
            ("2026-12-26..2026-12-25 closed", "ends before it begins"),
            ("2026-12-25 22:00-04:00", "next day"),
            ("2026-12-25 shut", "are no hours"),
        ] {
            let error = text.parse::<Exception>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let both = ["2026-12-25 closed", "2026-12-25 08:00-12:00"].map(|text| text.parse().unwrap());
        let error = Calendar::new(TimeZone::UTC, &["daily 00:00-24:00".parse().unwrap()], both.to_vec()).unwrap_err();
        assert!(error.contains("both for 2026-12-25"), "{error}");
        assert!(Calendar::new(TimeZone::UTC, &[], Vec::new()).unwrap_err().contains("no time of the week"));
    }

    #[test]
    fn days_are_lists_and_ranges_that_may_pass_the_weekend() {
        assert_eq!(days_of("Fri-Mon"), Some(vec![4, 5, 6, 0]));
        assert_eq!(days_of("mon,Wed,FRI"), Some(vec![0, 2, 4]));
        assert_eq!(days_of("daily").map(|days| days.len()), Some(7));
        assert_eq!(
            calendar("UTC", &["Mon,Sun 06:00-22:30"], &[]).to_string(),
            "Mon 06:00-22:30, Sun 06:00-22:30 (UTC)"
        );
    }
}

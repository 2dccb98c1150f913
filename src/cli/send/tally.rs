//! What came of a run: counts, times and distinct problems, in constant memory.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Distinct problems that are told apart; what comes later is counted together.
const PROBLEMS_MAX: usize = 50;
/// Characters of a problem's text that are kept.
const TEXT_MAX: usize = 300;
/// Latencies differ by less than one part in this many within a bucket.
const STEPS: u64 = 128;

/// How a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Envelopes that will be sent, as far as is known; changed repeats are known when their originals are sent.
    pub planned: u64,
    /// Envelopes sent at least once, repeats included.
    pub envelopes: u64,
    /// Notifications in them.
    pub notifications: u64,
    /// Answers with `Ack` true: as many envelopes are done.
    pub acks: u64,
    /// Answers with `Ack` false.
    pub nacks: u64,
    /// Answers with a SOAP fault.
    pub faults: u64,
    /// All other answers, and none.
    pub errors: u64,
    /// Sendings after the first of an envelope.
    pub retries: u64,
    /// Envelopes that were given up.
    pub dropped: u64,
    /// Envelopes that were sent a second time, unchanged.
    pub duplicates: u64,
    /// Notifications that were sent again, changed.
    pub changed: u64,
    /// Bytes of all bodies sent.
    pub bytes: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The counts.
    #[serde(flatten)]
    pub progress: Progress,
    /// Half of the answers took at most this long, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99 of 100 answers took at most this long, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The slowest answer, in milliseconds.
    pub max_ms: Option<f64>,
    /// How long it all took, in seconds.
    pub seconds: f64,
    /// Requests per second, retries included.
    pub rate: f64,
    /// What the ids and choices were made from; with it a run can be repeated.
    pub seed: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// What went wrong, the most frequent first.
    pub problems: Vec<Problem>,
}

impl Summary {
    /// Whether every envelope was acknowledged in the end.
    #[must_use]
    pub fn is_all_acked(&self) -> bool {
        !self.interrupted && self.progress.dropped == 0 && self.progress.acks == self.progress.envelopes
    }
}

/// A kind of thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// In two words, such as `fault` or `HTTP 503`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// How many notifications were in those envelopes.
    pub notifications: u64,
    /// The first of them, in full.
    pub first: String,
}

/// What one sending came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Acknowledged.
    Ack,
    /// Not now.
    Nack,
    /// A SOAP fault: its reason.
    Fault(String),
    /// Anything else: what, and in full.
    Error(String, String),
}

/// Counts what happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) progress: Progress,
    latencies: Latencies,
    problems: BTreeMap<(String, String), Problem>,
}

impl Tally {
    /// One sending of so many notifications is over; `answered` is the time until the whole answer was there, if one was.
    pub(super) fn count(&mut self, outcome: &Outcome, notifications: u32, answered: Option<Duration>) {
        if let Some(time) = answered {
            self.latencies.add(time);
        }
        match outcome {
            Outcome::Ack => self.progress.acks += 1,
            Outcome::Nack => {
                self.progress.nacks += 1;
                self.problem("nack", "SOAP response was a nack", notifications);
            }
            Outcome::Fault(reason) => {
                self.progress.faults += 1;
                self.problem("fault", reason, notifications);
            }
            Outcome::Error(kind, text) => {
                self.progress.errors += 1;
                self.problem(kind, text, notifications);
            }
        }
    }

    /// The end.
    pub(super) fn summary(self, took: Duration, seed: u64, interrupted: bool) -> Summary {
        let seconds = took.as_secs_f64();
        let sendings = self.progress.envelopes.saturating_add(self.progress.retries);
        let mut problems: Vec<Problem> = self.problems.into_values().collect();
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.count));
        Summary {
            progress: self.progress,
            p50_ms: self.latencies.quantile(50),
            p99_ms: self.latencies.quantile(99),
            max_ms: self.latencies.quantile(100),
            seconds: rounded(seconds),
            rate: if seconds > 0.0 { rounded(sendings as f64 / seconds) } else { 0.0 },
            seed,
            interrupted,
            problems,
        }
    }

    fn problem(&mut self, kind: &str, text: &str, notifications: u32) {
        let mut key = (kind.to_owned(), alike(text));
        if !self.problems.contains_key(&key) && self.problems.len() >= PROBLEMS_MAX {
            key = ("other".to_owned(), String::new());
        }
        let new = Problem { kind: key.0.clone(), count: 0, notifications: 0, first: cut(text) };
        let known = self.problems.entry(key).or_insert(new);
        known.count += 1;
        known.notifications += u64::from(notifications);
    }
}

/// A text less what is different each time: words with digits in them, such as ids.
fn alike(text: &str) -> String {
    let mut out = String::new();
    for piece in cut(text).split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
        if word.contains(|c: char| c.is_ascii_digit()) {
            out.push('#');
            out.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            out.push_str(piece);
        }
    }
    out
}

/// A text on one line, and not too long.
pub(super) fn cut(text: &str) -> String {
    let mut line: String = text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        line.push('…');
    }
    line
}

/// Times in buckets whose width grows with them: an answer's time is known to one part in 128.
#[derive(Debug, Default)]
struct Latencies {
    buckets: BTreeMap<u64, u64>,
    total: u64,
    max: u64,
}

impl Latencies {
    fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket_end(micros)).or_default() += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// The time within which this many of a hundred answers came, in milliseconds.
    fn quantile(&self, percent: u64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = u128::from(self.total) * u128::from(percent);
        let mut seen = 0_u128;
        for (end, count) in &self.buckets {
            seen += u128::from(*count) * 100;
            if seen >= rank {
                return Some(rounded((*end).min(self.max) as f64 / 1_000.0));
            }
        }
        Some(rounded(self.max as f64 / 1_000.0))
    }
}

/// The last number of a number's bucket: at most 64 · 128 buckets in all.
fn bucket_end(micros: u64) -> u64 {
    let width = (micros / STEPS).checked_ilog2().map_or(1, |power| 1_u64 << power);
    micros | (width - 1)
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_one_part_in_a_hundred() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(50), None);
        for micros in 1..=100_000_u64 {
            latencies.add(Duration::from_micros(micros));
        }
        for (percent, expected) in [(50, 50.0), (99, 99.0), (100, 100.0)] {
            let found = latencies.quantile(percent).unwrap();
            assert!((found - expected).abs() < expected / 100.0, "{percent}: {found}");
        }
        assert!(latencies.buckets.len() < 2_000);
        latencies.add(Duration::MAX);
        assert!(latencies.quantile(100).is_some());
    }

    #[test]
    fn problems_that_differ_in_ids_only_are_counted_together() {
        let mut tally = Tally::default();
        for number in 0..1_000 {
            tally.count(&Outcome::Fault(format!("notification 04l{number} of it is no message")), 3, None);
            tally.count(&Outcome::Error("HTTP 503".to_owned(), "busy".to_owned()), 1, None);
        }
        tally.count(&Outcome::Error("HTTP 503".to_owned(), "x".repeat(10_000)), 1, None);
        let summary = tally.summary(Duration::from_secs(1), 0, false);
        assert_eq!(summary.problems.len(), 3);
        assert_eq!(summary.problems[0].count, 1_000);
        let faults = summary.problems.iter().find(|problem| problem.kind == "fault").unwrap();
        assert_eq!((faults.count, faults.notifications), (1_000, 3_000), "an envelope carries several");
        assert!(summary.problems.iter().any(|problem| problem.first == "notification 04l0 of it is no message"));
        assert!(summary.problems.iter().all(|problem| problem.first.chars().count() <= TEXT_MAX + 1));
    }

    #[test]
    fn endless_kinds_of_problems_take_no_endless_room() {
        let mut tally = Tally::default();
        for number in 0..26 * 26 {
            let letter = |n: u8| char::from(b'a' + n % 26);
            let text = format!("{}{}", letter((number / 26) as u8), letter((number % 26) as u8));
            tally.count(&Outcome::Fault(text), 1, None);
        }
        let summary = tally.summary(Duration::from_secs(1), 0, false);
        assert_eq!(summary.problems.len(), PROBLEMS_MAX + 1);
        assert_eq!(summary.problems.iter().map(|problem| problem.count).sum::<u64>(), 26 * 26);
    }
}

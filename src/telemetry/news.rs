//! What is told of alarms to somebody who does not look: one message when a problem begins, one when it ends, and what
//! stands in between. Pure: what was told, what is heard, what time it is → what is told now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::Alarm;

/// Why something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// These begin.
    Begin,
    /// These are over.
    End,
    /// These stand, as they did before.
    Digest,
    /// A person wants to see whether it arrives.
    Test,
}

/// Something to be told, about one alarm or several that are told together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Why.
    pub event: Event,
    /// About what.
    pub alarms: Vec<Alarm>,
}

/// What somebody was told so far.
#[derive(Debug, Default)]
pub struct Told {
    known: BTreeMap<(&'static str, String), Alarm>,
    /// When it was told last what stands.
    last: Duration,
}

impl Told {
    /// What is to be told now. `heard` is what stands or ended a moment ago, `now` monotonic time; without `digest` what
    /// stands is told once.
    pub fn hear(&mut self, heard: &[Alarm], now: Duration, digest: Option<Duration>) -> Vec<News> {
        let key = |alarm: &Alarm| (alarm.name, alarm.subject.clone());
        let begun: Vec<Alarm> = heard.iter().filter(|alarm| !self.known.contains_key(&key(alarm))).cloned().collect();
        let is_heard = |known: &Alarm| heard.iter().any(|alarm| key(alarm) == key(known));
        let over: Vec<Alarm> = self.known.values().filter(|known| !is_heard(known)).cloned().collect();
        for alarm in &over {
            self.known.remove(&key(alarm));
        }
        self.known.extend(heard.iter().map(|alarm| (key(alarm), alarm.clone())));
        let standing: Vec<Alarm> = self.known.values().filter(|alarm| alarm.ended_at.is_none()).cloned().collect();
        let is_due = digest.is_some_and(|every| now.saturating_sub(self.last) >= every);
        let digest = if begun.is_empty() && is_due { standing } else { Vec::new() };
        if !begun.is_empty() || !digest.is_empty() {
            self.last = now;
        }
        [(Event::End, over), (Event::Begin, begun), (Event::Digest, digest)]
            .into_iter()
            .filter(|(_, alarms)| !alarms.is_empty())
            .map(|(event, alarms)| News { event, alarms })
            .collect()
    }
}

impl News {
    /// In one line, such as a subject. `gateway` is who tells it.
    #[must_use]
    pub fn title(&self, gateway: &str) -> String {
        let what = match self.alarms.as_slice() {
            [one] => named(one),
            several => format!("{} alarms", several.len()),
        };
        let (one, several) = match self.event {
            Event::Begin => ("begins", "begin"),
            Event::End => ("ended", "ended"),
            Event::Digest => ("still stands", "still stand"),
            Event::Test => ("this is a test", "this is a test"),
        };
        let verb = if self.alarms.len() == 1 { one } else { several };
        match self.event {
            Event::Test => format!("omgate {gateway}: {verb}"),
            Event::Begin | Event::End | Event::Digest => format!("omgate {gateway}: {what} {verb}"),
        }
    }

    /// For people, a line for each alarm.
    #[must_use]
    pub fn text(&self) -> String {
        if self.event == Event::Test {
            return "Alarms of this gateway arrive here. Nothing is wrong.\n".to_owned();
        }
        let mut text = String::new();
        for alarm in &self.alarms {
            let Alarm { message, since, ended_at, .. } = alarm;
            let until = ended_at.map(|at| format!(" until {at}")).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}, since {since}{until}: {message}", named(alarm));
        }
        text
    }
}

fn named(alarm: &Alarm) -> String {
    let Alarm { name, subject, .. } = alarm;
    if subject.is_empty() { (*name).to_owned() } else { format!("{name} ({subject})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn alarm(subject: &str) -> Alarm {
        let (subject, message) = (subject.to_owned(), "HTTP 401".to_owned());
        Alarm { name: "paused", subject, message, since: Timestamp(0), ended_at: None }
    }

    fn over(subject: &str) -> Alarm {
        Alarm { ended_at: Some(Timestamp(60_000)), ..alarm(subject) }
    }

    fn told(news: &[News]) -> Vec<(Event, Vec<&str>)> {
        news.iter().map(|one| (one.event, one.alarms.iter().map(|alarm| alarm.subject.as_str()).collect())).collect()
    }

    #[test]
    fn a_problem_is_told_when_it_begins_every_so_often_and_when_it_is_over() {
        let mut told_so_far = Told::default();
        let minute = |number: u32| Duration::from_secs(10_000) + number * HOUR / 60;
        for (at, heard, expected) in [
            (0, vec![], vec![]),
            (1, vec![alarm("erp")], vec![(Event::Begin, vec!["erp"])]),
            (2, vec![alarm("erp")], vec![]),
            (31, vec![alarm("crm"), alarm("erp")], vec![(Event::Begin, vec!["crm"])]),
            (90, vec![alarm("crm"), alarm("erp")], vec![]),
            (91, vec![alarm("crm"), alarm("erp")], vec![(Event::Digest, vec!["crm", "erp"])]),
            // It ended, and may begin again at once.
            (151, vec![over("crm"), alarm("erp")], vec![(Event::Digest, vec!["erp"])]),
            (152, vec![alarm("crm"), alarm("erp")], vec![]),
            (153, vec![over("crm"), over("erp")], vec![]),
            (300, vec![over("crm"), over("erp")], vec![]),
            (301, vec![alarm("new")], vec![(Event::End, vec!["crm", "erp"]), (Event::Begin, vec!["new"])]),
        ] {
            assert_eq!(told(&told_so_far.hear(&heard, minute(at), Some(HOUR))), expected, "minute {at}");
        }
    }

    #[test]
    fn what_ends_before_anybody_looked_is_told_all_the_same() {
        let mut told_so_far = Told::default();
        let begun = told_so_far.hear(&[over("erp")], HOUR, None);
        assert_eq!(told(&begun), [(Event::Begin, vec!["erp"])]);
        let ended = told_so_far.hear(&[], HOUR, None);
        assert_eq!(told(&ended), [(Event::End, vec!["erp"])]);
        assert!(told_so_far.hear(&[], 100 * HOUR, None).is_empty());
    }

    #[test]
    fn it_is_told_in_words() {
        let news = News { event: Event::End, alarms: vec![over("erp")] };
        assert_eq!(news.title("gate-1"), "omgate gate-1: paused (erp) ended");
        assert_eq!(
            news.text(),
            "paused (erp), since 1970-01-01T00:00:00.000Z until 1970-01-01T00:01:00.000Z: HTTP 401\n"
        );
        let news = News { event: Event::Begin, alarms: vec![alarm(""), alarm("erp")] };
        assert_eq!(news.title("gate-1"), "omgate gate-1: 2 alarms begin");
        let test = News { event: Event::Test, alarms: Vec::new() };
        assert_eq!(test.title("gate-1"), "omgate gate-1: this is a test");
        assert!(test.text().contains("Nothing is wrong"));
    }
}

//! Alarms: conditions that a person should know of, said once when they begin and once when they end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Metrics;
use crate::clock::{SharedClock, SystemClock, Timestamp};
use crate::issue::without_values;

/// Every alarm there is, by its name.
pub const ALARMS: [&str; 24] = [
    "absence",
    "accept_invalid",
    "breaker",
    "certificate",
    "client_certificate",
    "dead",
    "disk",
    "lanes",
    "ledger",
    "legacy_tls",
    "loop",
    "move",
    "moved",
    "oldest",
    "orphans",
    "overload",
    "paused",
    "quarantine",
    "record_type",
    "refused",
    "reload",
    "settle",
    "silence",
    "store",
];

/// A condition that holds, or did until a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which of [`ALARMS`].
    pub name: &'static str,
    /// What it is about; may be empty.
    pub subject: String,
    /// In words.
    pub message: String,
    /// When it began.
    pub since: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
}

/// The conditions that hold.
pub struct Alarms {
    metrics: Arc<Metrics>,
    clock: SharedClock,
    book: Mutex<HashMap<Key, Entry>>,
    /// How many stand: most calls of `clear` find none, and the hot path makes them.
    count: AtomicUsize,
    changed: Notify,
}

type Key = (&'static str, String);

struct Entry {
    message: String,
    since: Timestamp,
    /// When it ended, by either clock.
    ended: Option<(Timestamp, Duration)>,
}

impl Entry {
    fn stands(&self) -> bool {
        self.ended.is_none()
    }
}

impl Alarms {
    /// More alarms than this are not told apart any more: the metrics stay bounded.
    const BOOK_MAX: usize = 1_000;

    /// No alarm stands.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::by_clock(metrics, SystemClock::shared())
    }

    /// No alarm stands; the time of those to come is this clock's.
    #[must_use]
    pub fn by_clock(metrics: Arc<Metrics>, clock: SharedClock) -> Self {
        Self { metrics, clock, book: Mutex::default(), count: AtomicUsize::new(0), changed: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The condition holds. Logged once, until it is cleared.
    pub fn raise(&self, alarm: &'static str, subject: &str, message: &str) {
        debug_assert!(ALARMS.contains(&alarm), "{alarm} is not listed");
        let mut book = self.book();
        let key = (alarm, subject.to_owned());
        let is_full = book.len() >= Self::BOOK_MAX;
        match book.get_mut(&key) {
            Some(entry) if entry.stands() => return,
            // It ended a moment ago: it is the same one still.
            Some(entry) => {
                entry.ended = None;
                message.clone_into(&mut entry.message);
            }
            None if is_full => return,
            None => {
                let entry = Entry { message: message.to_owned(), since: self.clock.now(), ended: None };
                book.insert(key, entry);
            }
        }
        self.count.store(book.values().filter(|entry| entry.stands()).count(), Ordering::Relaxed);
        drop(book);
        self.metrics.alarm(alarm, subject, 1);
        // What records and answers hold belongs into no log.
        tracing::warn!(alarm, subject, "alarm begins: {}", without_values(message));
        self.changed.notify_one();
    }

    /// The condition holds, and what is to be said of it may be something else than before. Logged whenever it is.
    pub fn restate(&self, alarm: &'static str, subject: &str, message: &str) {
        let mut book = self.book();
        let Some(entry) = book.get_mut(&(alarm, subject.to_owned())).filter(|entry| entry.stands()) else {
            drop(book);
            return self.raise(alarm, subject, message);
        };
        if entry.message != message {
            message.clone_into(&mut entry.message);
            drop(book);
            tracing::warn!(alarm, subject, "alarm goes on: {}", without_values(message));
        }
    }

    /// The condition holds no longer. Logged once, if it stood.
    pub fn clear(&self, alarm: &'static str, subject: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut book = self.book();
        let Some(entry) = book.get_mut(&(alarm, subject.to_owned())).filter(|entry| entry.stands()) else { return };
        entry.ended = Some((self.clock.now(), self.clock.monotonic()));
        self.count.store(book.values().filter(|entry| entry.stands()).count(), Ordering::Relaxed);
        drop(book);
        self.metrics.alarm(alarm, subject, 0);
        tracing::info!(alarm, subject, "alarm ends");
        self.changed.notify_one();
    }

    /// The alarms that stand: kind, subject, message.
    #[must_use]
    pub fn standing(&self) -> Vec<(&'static str, String, String)> {
        self.all()
            .into_iter()
            .filter(|alarm| alarm.ended_at.is_none())
            .map(|a| (a.name, a.subject, a.message))
            .collect()
    }

    /// The alarms that stand and those that ended a moment ago, in order of name and subject.
    #[must_use]
    pub fn all(&self) -> Vec<Alarm> {
        let book = self.book();
        let mut list: Vec<Alarm> = book
            .iter()
            .map(|((name, subject), entry)| Alarm {
                name,
                subject: subject.clone(),
                message: entry.message.clone(),
                since: entry.since,
                ended_at: entry.ended.map(|(at, _)| at),
            })
            .collect();
        list.sort_by(|one, other| (one.name, &one.subject).cmp(&(other.name, &other.subject)));
        list
    }

    /// Forgets what ended this long ago, so that it is over for good.
    pub fn forget(&self, ended_before: Duration) {
        let now = self.clock.monotonic();
        let is_over = |entry: &Entry| entry.ended.is_some_and(|(_, at)| now.saturating_sub(at) >= ended_before);
        let mut book = self.book();
        let over: Vec<Key> = book.extract_if(|_, entry| is_over(entry)).map(|(key, _)| key).collect();
        for (alarm, subject) in over {
            self.metrics.forget_alarm(alarm, &subject);
        }
    }

    /// Waits until one begins or ends.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl std::fmt::Debug for Alarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_stands_may_say_something_else() {
        let alarms = Alarms::new(Arc::new(Metrics::default()));
        for message in ["one mistake", "another"] {
            alarms.restate("reload", "", message);
            assert_eq!(alarms.standing(), [("reload", String::new(), message.to_owned())]);
        }
        alarms.clear("reload", "");
        assert!(alarms.standing().is_empty());
    }

    #[test]
    fn an_alarm_stands_until_it_is_cleared() {
        let metrics = Arc::new(Metrics::default());
        let alarms = Alarms::new(Arc::clone(&metrics));
        alarms.raise("silence", "orders", "nothing for an hour");
        alarms.raise("silence", "orders", "nothing for two hours");
        assert_eq!(alarms.standing(), [("silence", "orders".to_owned(), "nothing for an hour".to_owned())]);
        assert!(metrics.render().contains("omgate_alarm{alarm=\"silence\",subject=\"orders\"} 1"));
        alarms.clear("silence", "orders");
        assert!(alarms.standing().is_empty());
        assert!(metrics.render().contains("omgate_alarm{alarm=\"silence\",subject=\"orders\"} 0"));
    }

    #[test]
    fn an_alarm_that_begins_again_soon_is_the_same_one_and_what_is_over_is_no_line_any_more() {
        let metrics = Arc::new(Metrics::default());
        let alarms = Alarms::new(Arc::clone(&metrics));
        alarms.raise("breaker", "erp", "too much failed");
        let since = alarms.all()[0].since;
        alarms.clear("breaker", "erp");
        alarms.raise("breaker", "erp", "again too much failed");
        let [alarm] = alarms.all().try_into().unwrap();
        assert_eq!((alarm.since, alarm.ended_at, alarm.message.as_str()), (since, None, "again too much failed"));
        alarms.clear("breaker", "erp");
        alarms.forget(Duration::from_secs(60));
        assert!(alarms.standing().is_empty());
        assert!(alarms.all()[0].ended_at.is_some(), "it is remembered for a while");
        alarms.forget(Duration::ZERO);
        assert!(alarms.all().is_empty());
        assert!(!metrics.render().contains("omgate_alarm{"));
    }
}

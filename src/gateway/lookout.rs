//! Looks at the store's accounts every so often, for what is an alarm in them: dead letters, what waits for too long, a
//! ledger that does not balance, a disk that is almost full.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{SharedClock, Timestamp};
use crate::disk;
use crate::gateway::heralds::Telling;
use crate::store::{Backlog, Ledger, Store};
use crate::telemetry::Alarms;

/// The alarm about dead letters ends when there was no new one for this long.
const DEAD_QUIET: Duration = Duration::from_secs(3_600);

/// Looks at the accounts.
pub(super) struct Lookout {
    pub(super) store: Arc<dyn Store>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) clock: SharedClock,
    pub(super) telling: Arc<ArcSwap<Telling>>,
    /// Where the store's file is; none where it stands in a database.
    pub(super) folder: Option<PathBuf>,
    pub(super) known: Mutex<Known>,
}

/// What was seen before.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Dead letters by destination; none until the first look, which alarms of nothing that was there before.
    dead: Option<BTreeMap<String, Dead>>,
    /// The destinations whose oldest delivery is an alarm.
    old: BTreeSet<String>,
}

/// The dead letters of a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dead {
    count: i64,
    /// How many came since the alarm began, since when, and when the last one did.
    new: Option<(i64, Timestamp, Duration)>,
}

/// What is to be done about an alarm.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    Stands(&'static str, String, String),
    Over(&'static str, String),
}

impl Lookout {
    /// Looks once.
    pub(super) async fn look(&self) {
        match (self.store.ledger().await, self.store.backlog().await) {
            (Ok(ledger), Ok(backlog)) => {
                let oldest = self.telling.load().alarming.oldest;
                let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let mut said = vec![balance(&ledger)];
                said.extend(dead(&mut known, &ledger, now, monotonic));
                said.extend(old(&mut known, &backlog, oldest, now));
                said.into_iter().for_each(|say| self.say(say));
            }
            (Err(error), _) | (_, Err(error)) => tracing::debug!(%error, "the accounts could not be looked at"),
        }
        self.look_at_disk();
    }

    fn say(&self, say: Say) {
        match say {
            Say::Stands(alarm, subject, message) => self.alarms.restate(alarm, &subject, &message),
            Say::Over(alarm, subject) => self.alarms.clear(alarm, &subject),
        }
    }

    fn look_at_disk(&self) {
        let Some(folder) = &self.folder else { return };
        match disk::free(folder) {
            Ok((free, _)) => {
                let standing = self.alarms.standing().iter().any(|(alarm, ..)| *alarm == "disk");
                let least = self.telling.load().alarming.disk_free;
                self.say(room(folder, free, least, standing));
            }
            Err(error) => tracing::debug!(%error, "the free space of the disk is not known"),
        }
    }
}

fn balance(ledger: &Ledger) -> Say {
    if ledger.balanced {
        return Say::Over("ledger", String::new());
    }
    let message = "the ledger does not balance: something may be lost; omgate store verify says what, please report it";
    Say::Stands("ledger", String::new(), message.to_owned())
}

/// Dead letters that are new since the last look; those that were there at the first are known already.
fn dead(known: &mut Known, ledger: &Ledger, now: Timestamp, monotonic: Duration) -> Vec<Say> {
    let is_first = known.dead.is_none();
    let before = known.dead.get_or_insert_default();
    let mut said = Vec::new();
    for (destination, counts) in &ledger.destinations {
        let dead = before.entry(destination.clone()).or_default();
        let more = if is_first { 0 } else { counts.dead - dead.count };
        dead.count = counts.dead;
        let last = dead.new.map(|(_, _, last)| last).filter(|_| more <= 0);
        if last.is_some_and(|last| dead.count == 0 || monotonic.saturating_sub(last) >= DEAD_QUIET) {
            dead.new = None;
            said.push(Say::Over("dead", destination.clone()));
        } else if more != 0 && (more > 0 || last.is_some()) {
            // Fewer than before are said too: what stands is told again later, and must be so then.
            let (new, since) = dead.new.map_or((more, now), |(new, since, _)| (new + more.max(0), since));
            let new = new.min(dead.count);
            dead.new = Some((new, since, last.unwrap_or(monotonic)));
            let letters = if new == 1 { "1 new dead letter".to_owned() } else { format!("{new} new dead letters") };
            let message = format!(
                "{letters} since {}, {} in all; omgate issues list says what is behind them",
                since.spoken(),
                dead.count
            );
            said.push(Say::Stands("dead", destination.clone(), message));
        }
    }
    said
}

/// Deliveries that are not settled for too long.
fn old(known: &mut Known, backlog: &Backlog, oldest: Option<Duration>, now: Timestamp) -> Vec<Say> {
    let is_old = |since: &Timestamp| oldest.is_some_and(|bound| now.since(*since) >= bound);
    let old: BTreeMap<_, _> = backlog.oldest_unsettled.iter().filter(|(_, since)| is_old(since)).collect();
    let over: Vec<String> = known.old.iter().filter(|name| !old.contains_key(name)).cloned().collect();
    known.old = old.keys().map(|name| (*name).clone()).collect();
    let stands = old.into_iter().map(|(destination, since)| {
        let message = format!("a delivery is not settled since {}; omgate why says what it waits for", since.spoken());
        Say::Stands("oldest", destination.clone(), message)
    });
    over.into_iter().map(|name| Say::Over("oldest", name)).chain(stands).collect()
}

/// Whether there is room enough; a bit more ends the alarm, so that it does not come and go.
fn room(folder: &Path, free: u64, least: u64, standing: bool) -> Say {
    let subject = folder.display().to_string();
    if free < least || (standing && free < least.saturating_add(least / 10)) {
        // In steps of some parts of it, so that it is not told anew for every byte.
        let step = free.checked_ilog2().map_or(0, |power| power.saturating_sub(2));
        let step = free >> step << step;
        let (free, least) = (disk::in_words(step), disk::in_words(least));
        let message = format!(
            "about {free} are free beside the store, less than {least}: when nothing is, nothing is acknowledged"
        );
        return Say::Stands("disk", subject, message);
    }
    Say::Over("disk", subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DeliveryCounts;

    fn ledger(dead: i64) -> Ledger {
        let counts = DeliveryCounts { dead, ..DeliveryCounts::default() };
        Ledger { balanced: true, destinations: [("erp".to_owned(), counts)].into(), ..Ledger::default() }
    }

    #[test]
    fn new_dead_letters_are_an_alarm_until_none_came_for_an_hour_or_none_is_left() {
        let mut known = Known::default();
        let minute = Duration::from_secs(60);
        let mut look = |count, at: u32| {
            let now = Timestamp(i64::from(at) * 60_000);
            dead(&mut known, &ledger(count), now, minute * at).into_iter().next()
        };
        let stands = |text: &str| Some(Say::Stands("dead", "erp".to_owned(), text.to_owned()));
        let over = Some(Say::Over("dead", "erp".to_owned()));
        assert_eq!(look(7, 0), None, "what was there before is no news");
        let text =
            "1 new dead letter since 1970-01-01 00:01:00 UTC, 8 in all; omgate issues list says what is behind them";
        assert_eq!(look(8, 1), stands(text));
        assert_eq!(look(8, 2), None);
        let text =
            "1 new dead letter since 1970-01-01 00:01:00 UTC, 6 in all; omgate issues list says what is behind them";
        assert_eq!(look(6, 3), stands(text), "some were replayed");
        let text =
            "3 new dead letters since 1970-01-01 00:01:00 UTC, 8 in all; omgate issues list says what is behind them";
        assert_eq!(look(8, 4), stands(text));
        assert_eq!(look(8, 63), None);
        assert_eq!(look(8, 64), over);
        assert_eq!(look(8, 65), None);
        assert!(look(9, 66).is_some());
        assert_eq!(look(0, 67), over);
    }

    #[test]
    fn what_waits_for_too_long_is_an_alarm_while_it_does() {
        let mut known = Known::default();
        let since = Timestamp(1_000);
        let backlog = Backlog { oldest_unsettled: [("erp".to_owned(), since)].into(), ..Backlog::default() };
        let hour = Some(Duration::from_secs(3_600));
        assert!(old(&mut known, &backlog, hour, Timestamp(3_600_000)).is_empty());
        let said = old(&mut known, &backlog, hour, Timestamp(3_601_000));
        assert!(matches!(said.as_slice(), [Say::Stands("oldest", subject, _)] if subject == "erp"), "{said:?}");
        let said = old(&mut known, &Backlog::default(), hour, Timestamp(3_602_000));
        assert_eq!(said, [Say::Over("oldest", "erp".to_owned())]);
        assert!(old(&mut known, &backlog, None, Timestamp(i64::MAX)).is_empty(), "never");
    }

    #[test]
    fn a_ledger_that_does_not_balance_and_a_full_disk_are_alarms() {
        assert_eq!(balance(&ledger(0)), Say::Over("ledger", String::new()));
        let unbalanced = Ledger { balanced: false, ..ledger(0) };
        assert!(matches!(balance(&unbalanced), Say::Stands("ledger", ..)));
        let folder = Path::new("/store");
        let is_alarm = |free, standing| matches!(room(folder, free, 1 << 30, standing), Say::Stands("disk", ..));
        assert!(is_alarm((1 << 30) - 1, false) && !is_alarm(1 << 30, false));
        assert!(is_alarm(1 << 30, true) && !is_alarm(5 << 28, true));
    }
}

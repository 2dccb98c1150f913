//! The ledger by day, and what is known of the silence of sources.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Day, Timestamp};
use crate::store::{By, Deed, DeliveryCounts, NotificationCounts, StoreError};

/// How many days one question may span.
pub const DAYS_MAX: i64 = 366;

/// Which days, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayFilter {
    /// The first.
    pub from: Day,
    /// The last.
    pub to: Day,
    /// Of this source. With a source or a destination only what is named is given.
    pub source: Option<String>,
    /// Of this destination.
    pub destination: Option<String>,
}

impl DayFilter {
    /// Refuses a span that is turned round or too long.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Self { from, to, .. } = self;
        if from > to {
            return Err(StoreError::Refused(format!("{from} lies after {to}; give the earlier day as from")));
        }
        if to.0.saturating_sub(from.0) >= DAYS_MAX {
            let reason = format!("from {from} to {to} are over {DAYS_MAX} days; ask for fewer at once");
            return Err(StoreError::Refused(reason));
        }
        Ok(())
    }
}

/// The accounts of some days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerDays {
    /// The first day that has any account; none in an empty store.
    pub first: Option<Day>,
    /// By day; on each the sources, then the destinations, by name.
    pub rows: Vec<LedgerDay>,
}

/// By how much the accounts of a source or a destination changed on one day. All days together are the ledger's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LedgerDay {
    /// UTC.
    pub day: Day,
    /// Whose.
    #[serde(flatten)]
    pub change: DayChange,
}

/// The accounts themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum DayChange {
    /// Of a source: what came in.
    Source {
        /// Its name.
        source: String,
        /// As in the ledger.
        #[serde(flatten)]
        counts: NotificationCounts,
    },
    /// Of a destination: what became of it. A state that more left than entered on that day is below zero.
    Destination {
        /// Its name.
        destination: String,
        /// As in the ledger.
        #[serde(flatten)]
        counts: DeliveryCounts,
        /// Calls begun.
        attempts: i64,
        /// Calls with an unknown outcome.
        attempts_unknown: i64,
    },
}

/// When a source was heard last, and how long it was silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Its name.
    pub source: String,
    /// When its last envelope came, new or not.
    pub last_envelope: Timestamp,
    /// The longest time without an envelope that ended within the days asked for; none when there was none.
    pub longest: Option<Silence>,
}

/// A time without an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Silence {
    /// The envelope before.
    pub since: Timestamp,
    /// The envelope after.
    pub until: Timestamp,
}

/// A time in which nobody listened, or nothing could be stored; or of which the store knows nothing, for a copy was put in its
/// place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Absence {
    /// Its number.
    pub id: i64,
    /// When the gateway was last known to listen.
    pub since: Timestamp,
    /// When it listened again.
    pub until: Timestamp,
    /// When a person took note.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// Whether the store is a copy that was put back at its end: somebody may have listened meanwhile, and what was
    /// acknowledged then may be gone.
    pub restored: bool,
}

/// A shorter one is no more than a restart, or a heartbeat that came late.
pub(super) const ABSENCE_MIN: Duration = Duration::from_secs(150);

/// A store that is a copy, when a gateway starts on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    /// When the copy was made.
    pub(super) at: Timestamp,
    /// When somebody was last known to listen, as the copy has it.
    pub(super) heard: Timestamp,
}

impl Copied {
    /// From when on what Salesforce queued may have been acknowledged and be gone: what waited there for a gateway that did
    /// not listen when the copy was made, may have come after that.
    pub(super) fn since(self, now: Timestamp) -> Timestamp {
        let is_old = self.at.since(self.heard) >= ABSENCE_MIN;
        let since = if is_old { self.heard } else { self.at };
        since.min(Timestamp(now.0.saturating_sub(1)))
    }

    /// What the audit log says of it.
    pub(super) fn deed(self, now: Timestamp) -> Deed {
        Deed {
            at: now,
            by: By::new("the gateway", ""),
            verb: "restore".to_owned(),
            object: "store",
            count: 1,
            result: "done".to_owned(),
            was: format!("a copy made at {}", self.at),
            ..Deed::default()
        }
    }
}

/// How long Salesforce keeps trying before it drops a message (its "Considerations for Outbound Messages").
const SALESFORCE_KEEPS: Duration = Duration::from_secs(24 * 3_600);
/// Salesforce tries again at least every two hours: what it kept has come by then.
const COME_AGAIN_WITHIN: Duration = Duration::from_secs(150 * 60);

impl Absence {
    /// Until when what Salesforce queued since the beginning may be lost; none when the absence was so short that it dropped
    /// nothing.
    #[must_use]
    pub fn dropped_until(&self) -> Option<Timestamp> {
        if self.restored {
            return Some(self.until);
        }
        let kept_since =
            Timestamp(self.until.0.saturating_sub(i64::try_from(SALESFORCE_KEEPS.as_millis()).unwrap_or(0)));
        Some(kept_since).filter(|kept_since| *kept_since > self.since)
    }

    /// Whether one that began at a moment goes with this one before it: what listened in between did so for less time than
    /// Salesforce takes to come again, so it may have sent nothing meanwhile of what it keeps.
    #[must_use]
    pub fn goes_on_at(&self, since: Timestamp) -> bool {
        !self.restored && since < self.over_at()
    }

    /// By when Salesforce has sent again what it kept.
    #[must_use]
    pub fn over_at(&self) -> Timestamp {
        self.until.plus(COME_AGAIN_WITHIN)
    }

    /// Whether people should still know of it: until what was kept has come, or, when something may be lost, until a
    /// person took note.
    #[must_use]
    pub fn stands(&self, now: Timestamp) -> bool {
        self.acknowledged_at.is_none() && (self.dropped_until().is_some() || now < self.over_at())
    }

    /// What it means, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let (id, since, until) = (self.id, self.since.spoken(), self.until.spoken());
        if self.restored {
            return format!(
                "at {until} a copy of the store was put back: what was acknowledged from {since} until then may be gone, and \
                 Salesforce does not send it again by itself; compare the records changed in that time and have them sent \
                 again, then `omgate sources acknowledge {id}`; what was delivered in that time may go out again, and a \
                 revision or an edit may go out under the idempotency key of one that went out then"
            );
        }
        match self.dropped_until().map(Timestamp::spoken) {
            Some(dropped_until) => format!(
                "nobody listened from {since} to {until}, or not for long enough: Salesforce drops what it cannot deliver for 24 hours, so what it \
                 queued from {since} (and what already waited then) to {dropped_until} may be lost; compare the records \
                 changed in that time, then `omgate sources acknowledge {id}`"
            ),
            None => format!(
                "nobody listened from {since} to {until}, or not for long enough: less than the 24 hours for which Salesforce tries again, so what \
                 it queued comes by {}",
                self.over_at().spoken()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_stands_until_it_is_over_or_until_a_person_took_note_of_what_may_be_lost() {
        const HOUR: i64 = 3_600_000;
        let absence = |hours: i64| Absence {
            id: 7,
            since: Timestamp(0),
            until: Timestamp(hours * HOUR),
            acknowledged_at: None,
            acknowledged_by: None,
            restored: false,
        };
        let short = absence(23);
        assert_eq!((short.dropped_until(), short.over_at()), (None, Timestamp(25 * HOUR + HOUR / 2)));
        assert!(short.stands(Timestamp(25 * HOUR)) && !short.stands(Timestamp(26 * HOUR)));
        assert!(short.words().contains("comes by 1970-01-02 01:30:00 UTC"), "{}", short.words());
        let long = absence(30);
        assert_eq!(long.dropped_until(), Some(Timestamp(6 * HOUR)));
        assert!(long.stands(Timestamp(9_999 * HOUR)));
        let words = long.words();
        assert!(words.contains("to 1970-01-01 06:00:00 UTC may be lost") && words.contains("acknowledge 7"), "{words}");
        assert!(!Absence { acknowledged_at: Some(Timestamp(31 * HOUR)), ..long }.stands(Timestamp(31 * HOUR)));
    }

    #[test]
    fn what_a_copy_that_was_put_back_does_not_know_stands_until_a_person_took_note_however_short_it_was() {
        let (since, until) = (Timestamp(1_000_000), Timestamp(1_060_000));
        let restored = Absence { id: 7, since, until, acknowledged_at: None, acknowledged_by: None, restored: true };
        assert_eq!(restored.dropped_until(), Some(until));
        assert!(restored.stands(Timestamp(i64::MAX)) && !restored.goes_on_at(until), "none after it is a part of it");
        let words = restored.words();
        assert!(words.contains("from 1970-01-01 00:16:40 UTC until then may be gone"), "{words}");
        assert!(words.contains("`omgate sources acknowledge 7`") && words.contains("idempotency key"), "{words}");
        assert!(!words.contains("nobody listened"), "{words}");
    }

    #[test]
    fn what_may_be_gone_began_when_somebody_was_last_known_to_listen_before_the_copy() {
        const MINUTE: i64 = 60_000;
        let since = |heard: i64, at: i64, now: i64| {
            Copied { at: Timestamp(at * MINUTE), heard: Timestamp(heard * MINUTE) }.since(Timestamp(now * MINUTE)).0
        };
        assert_eq!(since(9, 10, 60), 10 * MINUTE, "the gateway ran");
        assert_eq!(since(2, 10, 60), 2 * MINUTE, "it was stopped, and what waited came later");
        assert_eq!(since(9, 10, 10), 10 * MINUTE - 1, "put back at once");
        assert_eq!(since(9, 10, 5), 5 * MINUTE - 1, "the clock was set back");
    }
}

//! What is pruned, by age: which walks there are, how far each came, and which notifications may go.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Kept, Retention};
use crate::clock::Timestamp;
use crate::delivery::State;

/// Entries of the audit log that go at once.
pub(super) const ENTRIES_AT_ONCE: usize = 200;
/// No entry of the audit log goes before it is this old; a trigger guards it.
pub(super) const AUDIT_MIN_MS: i64 = 365 * 86_400_000;
/// Revisions of one notification that are looked at; where there are more, none goes.
pub(super) const REVISIONS_MAX: i64 = 200;
/// Deliveries between one and the last that took its place: more are not shown, and not looked at.
pub(super) const SUCCESSORS_MAX: i64 = 100;
/// Earlier notifications of a record that are looked through for what a pruned delivery outdates.
pub(super) const EARLIER_MAX: i64 = 1_000;
/// What a walk passed by is looked at again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(86_400);

/// What is done to each settled delivery of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Payloads,
    Attempts,
    Rows,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: i64,
    pub(super) id: i64,
    pub(super) begun_at: i64,
}

/// One of the walks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// By which its mark is kept.
    pub(super) name: String,
    /// Whether it begins anew after a day, for what it passed by.
    comes_again: bool,
}

impl Walk {
    /// Over the settled deliveries of a state.
    pub(super) fn of_deliveries(state: State, level: Level) -> Self {
        let word = match level {
            Level::Payloads => "payloads",
            Level::Attempts => "attempts",
            Level::Rows => "rows",
        };
        Self { name: format!("{} {word}", state.as_str()), comes_again: level == Level::Rows }
    }

    /// Over the notifications of a kind that never had a delivery.
    pub(super) fn of_odd(kind: &str) -> Self {
        Self { name: format!("notifications {kind}"), comes_again: true }
    }

    /// Over the notifications whose last delivery went before they could go, and those without a record; each with its age.
    /// A revision is passed once at each age at which the rows of deliveries go: the newest one of a notification finds
    /// whatever is left of it. What is settled later goes with its last delivery. So nothing is read again and again, however
    /// much is kept for good.
    pub(super) fn of_others(retention: &Retention) -> Vec<(Self, Duration)> {
        let rows = settled(retention).into_iter().filter_map(|(_, kept)| kept.rows);
        let ages: BTreeSet<Duration> =
            rows.chain(retention.skipped_empty).map(|age| age.max(retention.dedupe)).collect();
        // Another age is another walk.
        let walk = |age: Duration| (Self { name: format!("notifications {}", age.as_secs()), comes_again: false }, age);
        ages.into_iter().map(walk).collect()
    }

    /// Where it goes on from the mark that is kept of it.
    pub(super) fn resumed(&self, kept: Option<Mark>, now: Timestamp) -> Mark {
        let mark = kept.unwrap_or_default();
        if self.comes_again && now.since(Timestamp(mark.begun_at)) >= AGAIN_AFTER {
            return Mark { at: 0, id: 0, begun_at: now.0 };
        }
        mark
    }
}

/// What is kept how long of each state in which a delivery is settled. Dead letters are kept whole.
pub(super) fn settled(retention: &Retention) -> [(State, Kept); 4] {
    [
        (State::Delivered, retention.delivered),
        (State::Superseded, retention.superseded),
        (State::Discarded, retention.discarded),
        (State::Dead, Kept { payloads: None, attempts: None, rows: retention.dead }),
    ]
}

/// The walks over settled deliveries, in order, each with the age from which on something is done to them.
pub(super) fn levels(retention: &Retention) -> Vec<(State, Level, Duration)> {
    let of = |(state, kept): (State, Kept)| {
        [(Level::Payloads, kept.payloads), (Level::Attempts, kept.attempts), (Level::Rows, kept.rows)]
            .into_iter()
            .filter_map(move |(level, age)| Some((state, level, age?)))
    };
    settled(retention).into_iter().flat_map(of).collect()
}

/// The kinds of notifications that never had a delivery, each with its age; none: for good.
pub(super) fn odd(retention: &Retention) -> [(&'static str, Option<Duration>); 3] {
    let kinds = [
        ("unrouted", retention.unrouted),
        ("unreadable", retention.unreadable),
        ("quarantined", retention.quarantined),
    ];
    kinds.map(|(kind, age)| (kind, age.map(|age| age.max(retention.dedupe))))
}

/// Counts the notifications that a walk over the others finds now, and whose deliveries are gone: from its mark (`?1`) to the
/// first that came after a moment (`?2`), below the mark of the walk of a lesser age (`?4`). Those without a record count
/// when they came before another moment (`?3`).
pub(super) fn left() -> String {
    let found = "notification n CROSS JOIN envelope e";
    format!(
        "SELECT count(*) FROM {found} WHERE e.id = n.envelope AND n.id > ?1 AND n.id < ?4
         AND n.id < coalesce((SELECT n.id FROM {found} WHERE e.id = n.envelope AND n.id > ?1 AND e.received_at > ?2
                              ORDER BY n.id LIMIT 1), (SELECT max(id) FROM notification))
         AND (n.kind = 'routed' OR n.kind = 'skipped_empty' AND e.received_at <= ?3)
         AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.notification = n.id)"
    )
}

/// How long the record of a notification is kept that no delivery carries any more; none: for good.
pub(super) fn unused(retention: &Retention) -> Option<Duration> {
    let ages = [retention.delivered, retention.superseded, retention.discarded].map(|kept| kept.payloads);
    ages.into_iter().max_by_key(|age| age.unwrap_or(Duration::MAX)).flatten()
}

/// The moment before which what happened is older than an age.
pub(super) fn cutoff(now: Timestamp, age: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// One revision of a notification.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) row: i64,
    pub(super) revision: i64,
    pub(super) envelope: i64,
    pub(super) source: i64,
    pub(super) kind: String,
    pub(super) duplicates: i64,
    pub(super) received_at: Option<i64>,
    /// Whether a person edited it: then it did not come in, and is counted nowhere.
    pub(super) is_edited: bool,
    /// Whether a delivery carries it.
    pub(super) is_used: bool,
}

/// Whether a notification may go, with all its revisions, the first one last: it has no delivery, was kept long enough, and a
/// repeat is not to be expected any more.
pub(super) fn may_go(family: &[Revision], retention: &Retention, now: Timestamp) -> bool {
    let Some(first) = family.last().filter(|first| first.revision == 1) else { return false };
    let age = match first.kind.as_str() {
        "unrouted" => retention.unrouted,
        "unreadable" => retention.unreadable,
        "quarantined" => retention.quarantined,
        "skipped_empty" => retention.skipped_empty,
        _ => Some(retention.dedupe),
    };
    let Some(age) = age else { return false };
    let cutoff = cutoff(now, age.max(retention.dedupe));
    family.iter().all(|revision| !revision.is_used && revision.received_at.is_some_and(|at| at <= cutoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_walk_goes_on_where_it_was_and_begins_anew_after_a_day_where_it_passes_things_by() {
        let now = Timestamp(10 * DAY_MS);
        let mark = |begun_at| Some(Mark { at: 5, id: 6, begun_at });
        let anew = Some(Mark { at: 0, id: 0, begun_at: now.0 });
        let rows = Walk::of_deliveries(State::Dead, Level::Rows);
        let payloads = Walk::of_deliveries(State::Dead, Level::Payloads);
        let (others, _) = Walk::of_others(&Retention::default()).remove(0);
        for (walk, kept, expected) in [
            (&rows, None, anew),
            (&rows, mark(9 * DAY_MS + 1), mark(9 * DAY_MS + 1)),
            (&rows, mark(9 * DAY_MS), anew),
            (&Walk::of_odd("unrouted"), mark(9 * DAY_MS), anew),
            (&payloads, mark(0), mark(0)),
            (&payloads, None, Some(Mark::default())),
            (&others, mark(0), mark(0)),
        ] {
            assert_eq!(Some(walk.resumed(kept, now)), expected, "{} from {kept:?}", walk.name);
        }
    }

    #[test]
    fn marks_are_kept_by_names_that_never_change() {
        let names = [Walk::of_deliveries(State::Delivered, Level::Attempts), Walk::of_odd("unreadable")];
        assert_eq!(names.map(|walk| walk.name), ["delivered attempts", "notifications unreadable"]);
        let others = |retention: &Retention| {
            Walk::of_others(retention).into_iter().map(|(walk, age)| (walk.name, age)).collect::<Vec<_>>()
        };
        assert_eq!(others(&Retention::default()), [("notifications 7776000".to_owned(), 90 * DAY)]);
        let short = Kept { rows: Some(7 * DAY), ..Kept::DEFAULT };
        let ages = others(&Retention { delivered: short, skipped_empty: Some(100 * DAY), ..Retention::default() });
        let expected = [(2_592_000, 30), (7_776_000, 90), (8_640_000, 100)];
        assert_eq!(ages, expected.map(|(seconds, days)| (format!("notifications {seconds}"), days * DAY)));
    }

    #[test]
    fn dead_letters_are_kept_whole_and_what_is_kept_for_good_is_not_walked_over() {
        let retention = Retention { dead: Some(DAY), ..Retention::default() };
        let dead: Vec<_> = levels(&retention).into_iter().filter(|(state, ..)| *state == State::Dead).collect();
        assert_eq!(dead, [(State::Dead, Level::Rows, DAY)]);
        assert_eq!(levels(&Retention::default()).len(), 9, "three levels of three states");
        let kept = Kept { payloads: None, ..Kept::DEFAULT };
        assert_eq!(unused(&Retention { superseded: kept, ..Retention::default() }), None);
        assert_eq!(unused(&Retention::default()), Some(30 * DAY));
    }

    #[test]
    fn a_notification_goes_as_a_whole_and_never_before_a_repeat_is_not_to_be_expected_any_more() {
        let now = Timestamp(200 * DAY_MS);
        let of = |revision, kind: &str, age: i64| Revision {
            row: 9,
            revision,
            envelope: 1,
            source: 1,
            kind: kind.to_owned(),
            duplicates: 0,
            received_at: Some(now.0 - age * DAY_MS),
            is_edited: false,
            is_used: false,
        };
        let used = |revision: Revision| Revision { is_used: true, ..revision };
        let lost = |revision: Revision| Revision { received_at: None, ..revision };
        let retention = Retention { unrouted: None, unreadable: Some(DAY), ..Retention::default() };
        for (family, expected) in [
            (vec![of(1, "routed", 30)], true),
            (vec![of(1, "routed", 29)], false),
            (vec![of(2, "revised", 29), of(1, "routed", 40)], false),
            (vec![used(of(2, "revised", 40)), of(1, "routed", 40)], false),
            (vec![lost(of(2, "revised", 40)), of(1, "routed", 40)], false),
            (vec![of(3, "revised", 40), of(2, "revised", 40)], false),
            (vec![of(1, "unrouted", 199)], false),
            (vec![of(1, "unreadable", 29)], false),
            (vec![of(1, "unreadable", 30)], true),
            (vec![], false),
        ] {
            assert_eq!(may_go(&family, &retention, now), expected, "{family:?}");
        }
    }
}

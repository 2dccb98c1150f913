//! The accounts of the ledger, and what is added to which when something happens.

use crate::delivery::State;

/// One account of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// `source`, `destination`, `pruned_source`, `pruned_destination`, `lanes`, `audit` or `pruned_audit`.
    pub(super) kind: &'static str,
    /// The name's id; 0 for what has none.
    pub(super) owner: i64,
    /// The word of the ledger.
    pub(super) name: &'static str,
}

impl Account {
    /// Of a source: `received`, `unique` …
    pub(super) fn source(source: i64, name: &'static str) -> Self {
        Self { kind: "source", owner: source, name }
    }

    /// Of a destination: the deliveries in a state.
    fn state(destination: i64, state: State) -> Self {
        Self { kind: "destination", owner: destination, name: state.as_str() }
    }

    /// Of a destination: `routed`, `attempts`, `attempts_unknown`.
    pub(super) fn destination(destination: i64, name: &'static str) -> Self {
        Self { kind: "destination", owner: destination, name }
    }

    /// What was pruned of a source or of a destination.
    fn pruned(self) -> Self {
        let kind = if self.kind == "source" { "pruned_source" } else { "pruned_destination" };
        Self { kind, ..self }
    }

    /// Entries of the audit log that were written; SQLite numbers them without a gap, and counts by that.
    #[cfg(feature = "postgres")]
    pub(super) fn entries() -> Self {
        Self { kind: "audit", owner: 0, name: "written" }
    }

    /// Entries of the audit log that were pruned.
    pub(super) fn pruned_entries() -> Self {
        Self { kind: "pruned_audit", owner: 0, name: "rows" }
    }

    /// Lanes that a sweep had to repair.
    pub(super) fn lanes_repaired() -> Self {
        Self { kind: "lanes", owner: 0, name: "repaired" }
    }
}

/// What is added to an account.
pub(super) type Posting = (Account, i64);

/// A new delivery is in this state.
pub(super) fn made(destination: i64, state: State) -> [Posting; 2] {
    [(Account::destination(destination, "routed"), 1), (Account::state(destination, state), 1)]
}

/// A delivery goes from one state to another.
pub(super) fn turned(destination: i64, from: State, to: State) -> [Posting; 2] {
    [(Account::state(destination, from), -1), (Account::state(destination, to), 1)]
}

/// A delivery that is due begins an attempt.
pub(super) fn begun(destination: i64) -> [Posting; 3] {
    let [from, to] = turned(destination, State::Waiting, State::InFlight);
    [from, to, (Account::destination(destination, "attempts"), 1)]
}

/// A delivery in flight leaves one destination for another, with so many attempts, of which so many came to nothing known.
pub(super) fn redirected(from: i64, to: i64, attempts: i64, unknown: i64) -> [Posting; 8] {
    let moved = |destination, sign: i64| {
        [
            (Account::destination(destination, "routed"), sign),
            (Account::state(destination, State::InFlight), sign),
            (Account::destination(destination, "attempts"), sign * attempts),
            (Account::destination(destination, "attempts_unknown"), sign * unknown),
        ]
    };
    let ([a, b, c, d], [e, f, g, h]) = (moved(from, -1), moved(to, 1));
    [a, b, c, d, e, f, g, h]
}

/// A notification that had no delivery has one now: it counts as routed from here on. None when it had no such kind.
pub(super) fn reclassified(source: i64, kind: &str) -> Option<[Posting; 2]> {
    let kinds = ["unrouted", "skipped_empty", "quarantined", "unreadable"];
    let kind = kinds.into_iter().find(|known| *known == kind)?;
    Some([(Account::source(source, kind), -1), (Account::source(source, "routed"), 1)])
}

/// A delivery that ended so was pruned.
pub(super) fn pruned_delivery(destination: i64, state: State) -> [Posting; 2] {
    made(destination, state).map(|(account, count)| (account.pruned(), count))
}

/// So many attempts were pruned, of which so many came to nothing known.
pub(super) fn pruned_attempts(destination: i64, attempts: i64, unknown: i64) -> [Posting; 2] {
    [
        (Account::destination(destination, "attempts").pruned(), attempts),
        (Account::destination(destination, "attempts_unknown").pruned(), unknown),
    ]
}

/// A revision of this kind was pruned, which had come again so often.
pub(super) fn pruned_revision(source: i64, kind: &str, duplicates: i64) -> [Posting; 4] {
    let kinds = ["routed", "unrouted", "skipped_empty", "unreadable", "quarantined"];
    let kind = kinds.into_iter().find(|known| *known == kind).unwrap_or("revised");
    [("received", 1 + duplicates), ("duplicate", duplicates), (kind, 1), ("unique", i64::from(kind != "revised"))]
        .map(|(name, count)| (Account::source(source, name).pruned(), count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sums(postings: impl IntoIterator<Item = Posting>) -> BTreeMap<(&'static str, i64, &'static str), i64> {
        let mut sums = BTreeMap::new();
        for (Account { kind, owner, name }, change) in postings {
            *sums.entry((kind, owner, name)).or_insert(0) += change;
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    }

    #[test]
    fn what_a_destination_is_routed_is_always_the_sum_of_its_states() {
        let lived = [
            made(7, State::Blocked).to_vec(),
            turned(7, State::Blocked, State::Waiting).to_vec(),
            begun(7).to_vec(),
            redirected(7, 8, 1, 0).to_vec(),
            turned(8, State::InFlight, State::Delivered).to_vec(),
        ];
        let of = |name| (("destination", 8, name), 1);
        let expected = BTreeMap::from([of("routed"), of("delivered"), of("attempts")]);
        assert_eq!(sums(lived.concat()), expected, "and nothing is left where it was first");
    }

    #[test]
    fn a_revision_that_is_pruned_takes_with_it_what_it_was_counted_as() {
        let of = |name, count| (("pruned_source", 3, name), count);
        let first = BTreeMap::from([of("received", 3), of("duplicate", 2), of("unrouted", 1), of("unique", 1)]);
        assert_eq!(sums(pruned_revision(3, "unrouted", 2)), first);
        let later = BTreeMap::from([of("received", 1), of("revised", 1)]);
        assert_eq!(sums(pruned_revision(3, "revised", 0)), later, "a later revision is unique no more");
    }

    #[test]
    fn only_what_had_no_delivery_can_become_routed() {
        let of = |name, count| (("source", 3, name), count);
        let expected = BTreeMap::from([of("unrouted", -1), of("routed", 1)]);
        assert_eq!(reclassified(3, "unrouted").map(sums), Some(expected));
        assert_eq!(reclassified(3, "revised"), None);
    }
}

//! The ledger out of its counters, and their comparison with the rows.

use std::collections::BTreeMap;

use super::{AttemptCounts, DeliveryCounts, Discrepancy, Ledger, NotificationCounts};

/// A counter: its kind, the name of its owner, its account, and what it holds.
pub(super) type Counter = (String, String, String, i64);

// What both kinds of store look for, each in its own words to its database.

/// A name that a way, a source or an account goes by.
pub(super) const NO_NAME: &str = "names that something goes by and that are gone";
/// A way that deliveries go.
pub(super) const NO_WAY: &str = "ways that deliveries go and that are gone";
/// A configuration that something was routed or mapped with.
pub(super) const NO_CONFIGURATION: &str = "configurations that something was made with and that are gone";
/// Where the last number given is not known any more.
pub(super) const NUMBERS_AGAIN: &str = "kinds of numbers of which some would be given a second time";
/// The ends of the audit log's chain.
pub(super) const NO_CHAIN: &str = "chains of the audit log whose end is gone or is not its last entry";
/// A record that is to be sent.
pub(super) const NO_CONTENT: &str = "deliveries that are not settled and whose content is gone";

/// A part of the schema that is not there: none may be missing, and one is.
pub(super) fn gone(part: String) -> Discrepancy {
    Discrepancy { account: format!("{part} is missing: restore a backup"), counter: 0, rows: 1 }
}

/// Rows of one name and one word: how many, and a second sum of them.
pub(super) type Group = (String, String, i64, i64);

/// An account's name in words, such as `destination erp-create, delivered`, and what it holds.
type Sums = BTreeMap<String, i64>;

/// What the rows hold, for the comparison with the counters.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By source and kind: the notifications that came in, and how often they came again. What a person edited did not come
    /// in, and is counted nowhere.
    pub(super) notifications: Vec<Group>,
    /// By destination and state: the deliveries; the second sum is not used.
    pub(super) deliveries: Vec<Group>,
    /// By destination: the attempts, and those that came to nothing known; the word is not used.
    pub(super) attempts: Vec<Group>,
    /// The sum of each account over all days.
    pub(super) days: Vec<Counter>,
}

/// The accounts.
pub(super) fn ledger(counters: Vec<Counter>) -> Ledger {
    let mut ledger = Ledger::default();
    for (kind, owner, account, value) in counters {
        match kind.as_str() {
            "source" => add_notifications(ledger.sources.entry(owner).or_default(), &account, value),
            "destination" => match account.as_str() {
                "attempts" => ledger.attempts.total += value,
                "attempts_unknown" => ledger.attempts.unknown += value,
                _ => add_deliveries(ledger.destinations.entry(owner).or_default(), &account, value),
            },
            "pruned_source" => add_notifications(ledger.pruned.sources.entry(owner).or_default(), &account, value),
            "pruned_destination" => {
                add_deliveries(ledger.pruned.destinations.entry(owner).or_default(), &account, value);
            }
            _ => {}
        }
    }
    for counts in ledger.sources.values() {
        for (account, value) in counts.by_name() {
            add_notifications(&mut ledger.notifications, account, value);
        }
    }
    for counts in ledger.destinations.values() {
        for (account, value) in counts.by_name() {
            add_deliveries(&mut ledger.deliveries, account, value);
        }
    }
    let AttemptCounts { total, unknown } = ledger.attempts;
    ledger.balanced = ledger.sources.values().all(NotificationCounts::balanced)
        && ledger.destinations.values().all(DeliveryCounts::balanced)
        && (0..=total).contains(&unknown);
    ledger
}

/// Adds to an account of a source, by its word.
pub(super) fn add_notifications(counts: &mut NotificationCounts, account: &str, value: i64) {
    let count = match account {
        "received" => &mut counts.received,
        "unique" => &mut counts.unique,
        "duplicate" => &mut counts.duplicate,
        "revised" => &mut counts.revised,
        "routed" => &mut counts.routed,
        "unrouted" => &mut counts.unrouted,
        "skipped_empty" => &mut counts.skipped_empty,
        "unreadable" => &mut counts.unreadable,
        "quarantined" => &mut counts.quarantined,
        _ => return,
    };
    *count += value;
}

/// Adds to an account of a destination, by its word.
pub(super) fn add_deliveries(counts: &mut DeliveryCounts, account: &str, value: i64) {
    let count = match account {
        "routed" => &mut counts.routed,
        "waiting" => &mut counts.waiting,
        "blocked" => &mut counts.blocked,
        "in_flight" => &mut counts.in_flight,
        "held" => &mut counts.held,
        "delivered" => &mut counts.delivered,
        "dead" => &mut counts.dead,
        "superseded" => &mut counts.superseded,
        "discarded" => &mut counts.discarded,
        _ => return,
    };
    *count += value;
}

/// Counters that differ from the rows and what was pruned of them, or from the sum of their days.
///
/// What came again with the same content is counted for the source it came from, and noted on the row it repeats, which
/// may be another source's: `received` and `duplicate` are compared in sum.
pub(super) fn disagreements(counters: &[Counter], rows: &Rows) -> Vec<Discrepancy> {
    let mut counted = counted(counters);
    let found = found(counters, rows);
    for account in found.keys() {
        counted.entry(account.clone()).or_insert(0);
    }
    let compare = |(account, counter): (String, i64)| {
        let rows = found.get(&account).copied().unwrap_or(0);
        (rows != counter).then_some(Discrepancy { account, counter, rows })
    };
    counted.into_iter().filter_map(compare).chain(differing_days(counters, &rows.days)).collect()
}

/// Counters that differ from the sum of what their days say.
fn differing_days(counters: &[Counter], days: &[Counter]) -> impl Iterator<Item = Discrepancy> {
    let mut pairs: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (kind, owner, account, sum) in days {
        pairs.entry(format!("{kind} {owner}, {account}, by day")).or_default().1 += sum;
    }
    for (kind, owner, account, value) in counters {
        if matches!(kind.as_str(), "source" | "destination") {
            pairs.entry(format!("{kind} {owner}, {account}, by day")).or_default().0 += value;
        }
    }
    let differ = |(account, (counter, rows))| (counter != rows).then_some(Discrepancy { account, counter, rows });
    pairs.into_iter().filter_map(differ)
}

/// What the counters say.
fn counted(counters: &[Counter]) -> Sums {
    let mut sums = Sums::new();
    for (kind, owner, account, value) in counters {
        let name = match (kind.as_str(), account.as_str()) {
            ("source", "received" | "duplicate") => format!("all sources, {account}"),
            ("source" | "destination", _) => format!("{kind} {owner}, {account}"),
            _ => continue,
        };
        *sums.entry(name).or_insert(0) += value;
    }
    sums
}

/// What the rows say, with what was pruned.
fn found(counters: &[Counter], rows: &Rows) -> Sums {
    let mut sums = Sums::new();
    let mut add = |name: String, value: i64| *sums.entry(name).or_insert(0) += value;
    for (source, kind, rows, duplicates) in &rows.notifications {
        add("all sources, received".to_owned(), rows + duplicates);
        add("all sources, duplicate".to_owned(), *duplicates);
        if kind != "revised" {
            add(format!("source {source}, unique"), *rows);
        }
        add(format!("source {source}, {kind}"), *rows);
    }
    for (destination, state, rows, _) in &rows.deliveries {
        add(format!("destination {destination}, {state}"), *rows);
        add(format!("destination {destination}, routed"), *rows);
    }
    for (destination, _, rows, unknown) in &rows.attempts {
        add(format!("destination {destination}, attempts"), *rows);
        add(format!("destination {destination}, attempts_unknown"), *unknown);
    }
    for (kind, owner, account, value) in counters {
        match (kind.as_str(), account.as_str()) {
            ("pruned_source", "received" | "duplicate") => add(format!("all sources, {account}"), *value),
            ("pruned_source", _) => add(format!("source {owner}, {account}"), *value),
            ("pruned_destination", _) => add(format!("destination {owner}, {account}"), *value),
            _ => {}
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(kind: &str, owner: &str, account: &str, value: i64) -> Counter {
        (kind.to_owned(), owner.to_owned(), account.to_owned(), value)
    }

    fn group(name: &str, word: &str, rows: i64, other: i64) -> Group {
        (name.to_owned(), word.to_owned(), rows, other)
    }

    /// Three notifications of two sources, of which one came again and one was pruned.
    fn counters() -> Vec<Counter> {
        vec![
            counter("source", "crm", "received", 3),
            counter("source", "crm", "unique", 2),
            counter("source", "crm", "routed", 2),
            counter("source", "crm", "duplicate", 1),
            counter("source", "shop", "received", 1),
            counter("source", "shop", "unique", 1),
            counter("source", "shop", "unrouted", 1),
            counter("pruned_source", "shop", "received", 1),
            counter("pruned_source", "shop", "unique", 1),
            counter("pruned_source", "shop", "unrouted", 1),
            counter("destination", "erp", "routed", 2),
            counter("destination", "erp", "waiting", 1),
            counter("destination", "erp", "delivered", 1),
            counter("destination", "erp", "attempts", 2),
            counter("destination", "erp", "attempts_unknown", 1),
            counter("lanes", "", "repaired", 4),
        ]
    }

    fn rows() -> Rows {
        let days = counters().into_iter().filter(|(kind, ..)| matches!(kind.as_str(), "source" | "destination"));
        Rows {
            notifications: vec![group("crm", "routed", 2, 1)],
            deliveries: vec![group("erp", "waiting", 1, 0), group("erp", "delivered", 1, 0)],
            attempts: vec![group("erp", "", 2, 1)],
            days: days.collect(),
        }
    }

    #[test]
    fn the_ledger_is_the_sum_of_its_owners_and_balances_only_where_each_does() {
        let whole = ledger(counters());
        assert!(whole.balanced);
        assert_eq!((whole.notifications.received, whole.notifications.unrouted), (4, 1));
        assert_eq!((whole.deliveries.routed, whole.deliveries.delivered), (2, 1));
        assert_eq!((whole.attempts.total, whole.attempts.unknown), (2, 1));
        for wrong in
            [("source", "crm", "unrouted"), ("destination", "erp", "held"), ("destination", "erp", "attempts_unknown")]
        {
            let (kind, owner, account) = wrong;
            let counters = [counters(), vec![counter(kind, owner, account, 2)]].concat();
            assert!(!ledger(counters).balanced, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_pruned_still_counts_and_what_is_missing_is_found_on_both_sides() {
        assert_eq!(disagreements(&counters(), &rows()), []);
        let differ = |account: &str, counter, rows| Discrepancy { account: account.to_owned(), counter, rows };
        let fewer = Rows { deliveries: vec![group("erp", "waiting", 1, 0)], ..rows() };
        let expected = [differ("destination erp, delivered", 1, 0), differ("destination erp, routed", 2, 1)];
        assert_eq!(disagreements(&counters(), &fewer), expected);
        let stray = Rows { attempts: vec![group("erp", "", 2, 1), group("(unknown)", "", 1, 0)], ..rows() };
        assert_eq!(disagreements(&counters(), &stray), [differ("destination (unknown), attempts", 0, 1)]);
        let short = Rows { days: rows().days.into_iter().skip(1).collect(), ..rows() };
        assert_eq!(disagreements(&counters(), &short), [differ("source crm, received, by day", 3, 0)]);
    }
}

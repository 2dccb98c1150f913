//! The ledger's accounts: what a command counts, written with it, last of all.

use std::collections::BTreeMap;

use crate::delivery::State;

/// One account of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// `source`, `destination` or `lanes`.
    kind: &'static str,
    /// The name's id; 0 for `lanes`.
    owner: i64,
    /// The word of the ledger.
    name: &'static str,
}

impl Account {
    /// Of a source: `received`, `unique` …
    pub(super) fn source(source: i64, name: &'static str) -> Self {
        Self { kind: "source", owner: source, name }
    }

    /// Of a destination: the deliveries in a state.
    pub(super) fn state(destination: i64, state: State) -> Self {
        Self { kind: "destination", owner: destination, name: state.as_str() }
    }

    /// Of a destination: `routed`, `attempts`, `attempts_unknown`.
    pub(super) fn destination(destination: i64, name: &'static str) -> Self {
        Self { kind: "destination", owner: destination, name }
    }

    /// Lanes that a sweep had to repair.
    pub(super) fn lanes_repaired() -> Self {
        Self { kind: "lanes", owner: 0, name: "repaired" }
    }
}

/// Adds to the accounts and keeps the receipt. Each account has a row for each of 32 shards, and a transaction takes the
/// one of its connection, so that nobody waits for another's commit; in order, so that nobody waits in a circle.
pub(super) const WRITE: &str = "
    WITH kept AS (INSERT INTO receipt (token) VALUES ($1))
    INSERT INTO counter (kind, owner, account, shard, value)
    SELECT u.kind, u.owner, u.account, pg_backend_pid() % 32, u.value
    FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[]) u (kind, owner, account, value)
    ORDER BY 1, 2, 3
    ON CONFLICT (kind, owner, account, shard) DO UPDATE SET value = counter.value + excluded.value";

/// The changes of accounts that a command brings.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    changes: BTreeMap<Account, i64>,
}

/// The same as columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) kinds: Vec<&'static str>,
    pub(super) owners: Vec<i64>,
    pub(super) names: Vec<&'static str>,
    pub(super) values: Vec<i64>,
}

impl Accounts {
    pub(super) fn add(&mut self, account: Account, change: i64) {
        *self.changes.entry(account).or_insert(0) += change;
    }

    /// A delivery goes from one state to another.
    pub(super) fn turn(&mut self, destination: i64, from: State, to: State) {
        self.add(Account::state(destination, from), -1);
        self.add(Account::state(destination, to), 1);
    }

    pub(super) fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        for (account, change) in self.changes.iter().filter(|(_, change)| **change != 0) {
            columns.kinds.push(account.kind);
            columns.owners.push(account.owner);
            columns.names.push(account.name);
            columns.values.push(*change);
        }
        columns
    }
}

//! The ledger's accounts: what a command counts, written with it, last of all.

use std::collections::BTreeMap;

use crate::clock::{Day, Timestamp};
use crate::store::accounts::{Account, Posting};

/// Adds to the accounts, and to those of the day, and keeps the receipt. Each account has a row for each of 32 shards, and a
/// transaction takes the one of its connection, so that nobody waits for another's commit; in order, so that nobody waits
/// in a circle.
macro_rules! write {
    ($heard:literal) => {
        concat!(
            "WITH kept AS (INSERT INTO receipt (token) VALUES ($1)),
            u AS MATERIALIZED (
                SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
                    u (kind, owner, account, day, value)),
            days AS (
                INSERT INTO account_day (day, kind, owner, account, shard, value)
                SELECT u.day, u.kind, u.owner, u.account, pg_backend_pid() % 32, u.value FROM u
                WHERE u.kind IN ('source', 'destination') ORDER BY 1, 2, 3, 4
                ON CONFLICT (day, kind, owner, account, shard)
                    DO UPDATE SET value = account_day.value + excluded.value)",
            $heard,
            "INSERT INTO counter (kind, owner, account, shard, value)
            SELECT u.kind, u.owner, u.account, pg_backend_pid() % 32, sum(u.value)::bigint FROM u
            GROUP BY u.kind, u.owner, u.account ORDER BY 1, 2, 3
            ON CONFLICT (kind, owner, account, shard) DO UPDATE SET value = counter.value + excluded.value"
        )
    };
}

/// For what heard no source.
pub(super) const WRITE: &str = write!(" ");

/// Notes also which sources were heard, and how long none of the gateways had heard them.
pub(super) const WRITE_HEARD: &str = write!(
    ", heard AS (
        INSERT INTO source_heard (source, day, shard, last_at, silence_ms, silence_until)
        SELECT k.source, k.day, pg_backend_pid() % 32, k.last, k.silence, CASE WHEN k.silence > 0 THEN k.first ELSE 0 END
        FROM (SELECT h.source, h.day, h.first, h.last, greatest(0, h.first - (
                  SELECT max(s.last_at) FROM source_heard s WHERE s.source = h.source
                  AND s.day = (SELECT max(l.day) FROM source_heard l WHERE l.source = h.source))) AS silence
              FROM unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]) h (source, day, first, last)) k
        ORDER BY 1
        ON CONFLICT (source, day, shard) DO UPDATE SET last_at = greatest(source_heard.last_at, excluded.last_at),
            silence_until = CASE WHEN excluded.silence_ms > source_heard.silence_ms
                THEN excluded.silence_until ELSE source_heard.silence_until END,
            silence_ms = greatest(source_heard.silence_ms, excluded.silence_ms)) "
);

/// The changes of accounts that a command brings, by the day on which they happened.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    changes: BTreeMap<(Account, Day), i64>,
    /// When each source was heard first and last.
    heard: BTreeMap<i64, (Timestamp, Timestamp)>,
    /// The day on which what is counted next happened.
    day: Day,
}

/// The same as columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) kinds: Vec<&'static str>,
    pub(super) owners: Vec<i64>,
    pub(super) names: Vec<&'static str>,
    pub(super) days: Vec<i64>,
    pub(super) values: Vec<i64>,
}

/// Which sources were heard, as columns.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) sources: Vec<i64>,
    pub(super) days: Vec<i64>,
    pub(super) first: Vec<i64>,
    pub(super) last: Vec<i64>,
}

impl Accounts {
    pub(super) fn add(&mut self, account: Account, change: i64) {
        *self.changes.entry((account, self.day)).or_insert(0) += change;
    }

    pub(super) fn post(&mut self, postings: impl IntoIterator<Item = Posting>) {
        for (account, change) in postings {
            self.add(account, change);
        }
    }

    /// What is counted from here on happened then.
    pub(super) fn at(&mut self, moment: Timestamp) {
        self.day = moment.day();
    }

    /// An envelope of a source came.
    pub(super) fn hear(&mut self, source: i64, at: Timestamp) {
        let (first, last) = self.heard.entry(source).or_insert((at, at));
        *first = at.min(*first);
        *last = at.max(*last);
    }

    pub(super) fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        for ((account, day), change) in self.changes.iter().filter(|(_, change)| **change != 0) {
            columns.kinds.push(account.kind);
            columns.owners.push(account.owner);
            columns.names.push(account.name);
            columns.days.push(day.0);
            columns.values.push(*change);
        }
        columns
    }

    pub(super) fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        for (source, (first, last)) in &self.heard {
            heard.sources.push(*source);
            heard.days.push(last.day().0);
            heard.first.push(first.0);
            heard.last.push(last.0);
        }
        heard
    }
}

//! What the writer works with: its connection and what it keeps in memory of names, accounts and numbers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Params, Row, Statement};

use super::days::{Heard, Sheets};
use super::names::Names;
use crate::clock::{Day, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{Account, Posting};

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It asked for what the rules forbid; nothing was written.
    Rule(StoreError),
    /// The database said no.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Rule(error)
    }
}

/// The writer's connection with its statements, and what it knows without asking.
pub(super) struct Books<'c> {
    pub(super) connection: &'c Connection,
    /// Prepared once, each under the place of its text in the program; the last used stand last.
    statements: RefCell<Vec<((usize, usize), Statement<'c>)>>,
    pub(super) names: Names,
    pub(super) accounts: Accounts,
    pub(super) sequences: Sequences,
    pub(super) heard: Heard,
    /// How long each system had been open when the group last settled something of it, in milliseconds: written once.
    open_times: BTreeMap<i64, i64>,
}

impl<'c> Books<'c> {
    pub(super) fn open(connection: &'c Connection) -> Result<Self, Failure> {
        let sequences = Sequences::load(connection)?;
        warm(connection)?;
        Ok(Self {
            connection,
            statements: RefCell::default(),
            names: Names::default(),
            accounts: Accounts::default(),
            sequences,
            heard: Heard::default(),
            open_times: BTreeMap::new(),
        })
    }

    /// Notes how long a system has been open. Noted too for a command that fails then: the time passed all the same.
    pub(super) fn note_open_time(&mut self, system: i64, active_ms: i64) {
        let noted = self.open_times.entry(system).or_insert(active_ms);
        *noted = active_ms.max(*noted);
    }

    /// The group was rolled back: nothing that it counted or learnt holds.
    pub(super) fn forget_group(&mut self) {
        self.accounts.drop_all();
        self.names.forget();
        self.heard.forget();
        self.sequences.mark_unwritten();
        self.open_times.clear();
    }

    /// Runs one statement; how many rows it changed.
    pub(super) fn run(&self, sql: &'static str, values: impl Params) -> Result<usize, Failure> {
        Ok(self.with(sql, |statement| statement.execute(values))?)
    }

    /// Runs a statement without values, such as `COMMIT`.
    pub(super) fn command(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.with(sql, |statement| statement.execute([])).map(|_| ())
    }

    /// The first row of a query, if it has one.
    pub(super) fn find<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Failure> {
        Ok(self.with(sql, |statement| statement.query_row(values, read).optional())?)
    }

    /// All rows of a query.
    pub(super) fn list<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        Ok(self.with(sql, |statement| statement.query_map(values, read)?.collect())?)
    }

    /// Uses a statement that stays prepared. It is found by where its text stands, which costs less than a hash of it.
    fn with<T>(
        &self,
        sql: &'static str,
        action: impl FnOnce(&mut Statement<'c>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let text = (sql.as_ptr().addr(), sql.len());
        let mut statement = match self.take(text) {
            Some(statement) => statement,
            None => self.connection.prepare(sql)?,
        };
        let outcome = action(&mut statement);
        self.statements.borrow_mut().push((text, statement));
        outcome
    }

    fn take(&self, text: (usize, usize)) -> Option<Statement<'c>> {
        let mut statements = self.statements.borrow_mut();
        let place = statements.iter().rposition(|(known, _)| *known == text)?;
        Some(statements.remove(place).1)
    }

    /// Writes what the group of commands counted and numbered, once for each account.
    pub(super) fn write_accounts(&mut self) -> Result<(), Failure> {
        let mut group = std::mem::take(&mut self.accounts.group);
        let mut days = Sheets::default();
        for (Line { account, day }, change) in group.drain(..).filter(|(_, change)| *change != 0) {
            let sql = "INSERT INTO counter (kind, owner, account, value) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO UPDATE SET value = value + excluded.value";
            self.run(sql, (account.kind, account.owner, account.name, change))?;
            days.add(account.kind, account.owner, account.name, day, change);
        }
        self.accounts.group = group;
        days.write(self)?;
        self.write_open_times()?;
        self.write_sequences()
    }

    /// A system's open time never goes back.
    fn write_open_times(&mut self) -> Result<(), Failure> {
        let sql = "INSERT INTO system (name, active_ms) VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET active_ms = excluded.active_ms WHERE active_ms < excluded.active_ms";
        while let Some(open_time) = self.open_times.pop_first() {
            self.run(sql, open_time)?;
        }
        Ok(())
    }

    fn write_sequences(&mut self) -> Result<(), Failure> {
        let Sequences { delivery, lease, written, .. } = self.sequences;
        let sql = "INSERT INTO sequence (kind, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        if written.0 != delivery {
            self.run(sql, ("delivery", delivery))?;
        }
        if written.1 != lease {
            self.run(sql, ("lease", lease))?;
        }
        self.sequences.written = (delivery, lease);
        Ok(())
    }
}

/// Reads the far edge of what every envelope appends to, so that the first after a start does not wait for the disk.
fn warm(connection: &Connection) -> Result<(), Failure> {
    for sql in [
        "SELECT max(id) FROM notification",
        "SELECT max(notification_id) FROM notification INDEXED BY notification_key",
        "SELECT max(record_id) FROM notification INDEXED BY notification_record WHERE record_id <> ''",
        "SELECT max(notification) FROM delivery INDEXED BY delivery_notification",
        "SELECT max(way) FROM delivery INDEXED BY delivery_due WHERE state = 'waiting'",
        "SELECT max(way) FROM delivery INDEXED BY delivery_open WHERE unsettled = 1",
        "SELECT max(system) FROM delivery INDEXED BY delivery_lane WHERE unsettled = 1 AND lane IS NOT NULL",
    ] {
        connection.query_row(sql, [], |_| Ok(()))?;
    }
    Ok(())
}

/// The changes of accounts that are not yet written.
///
/// A command counts on a sheet of its own, which is thrown away when the command fails; what the sheets come to is
/// written once for the whole group, in its transaction.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    sheet: Vec<(Line, i64)>,
    /// A walk, not a hash: a group touches a handful of accounts, mostly those of the command before.
    group: Vec<(Line, i64)>,
    /// The day on which what is counted next happened.
    day: Day,
    /// The day of the group, for commands that name no moment.
    today: Day,
}

/// An account on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    account: Account,
    day: Day,
}

impl Accounts {
    pub(super) fn add(&mut self, account: Account, change: i64) {
        note(&mut self.sheet, Line { account, day: self.day }, change);
    }

    pub(super) fn post(&mut self, postings: impl IntoIterator<Item = Posting>) {
        for (account, change) in postings {
            self.add(account, change);
        }
    }

    /// A group begins at this moment.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.today = now.day();
        self.day = self.today;
    }

    /// What the command counts from here on happened then.
    pub(super) fn at(&mut self, moment: Timestamp) {
        self.day = moment.day();
    }

    /// The command succeeded.
    pub(super) fn keep_sheet(&mut self) {
        for (line, change) in self.sheet.drain(..) {
            note(&mut self.group, line, change);
        }
        self.day = self.today;
    }

    /// The command failed.
    pub(super) fn drop_sheet(&mut self) {
        self.sheet.clear();
        self.day = self.today;
    }

    /// The whole group failed.
    pub(super) fn drop_all(&mut self) {
        self.sheet.clear();
        self.group.clear();
    }
}

/// Adds to a line of a sheet. Looked for among the last few only, so that many accounts cost no more than few; a miss
/// makes another line.
fn note(sheet: &mut Vec<(Line, i64)>, line: Line, change: i64) {
    match sheet.iter_mut().rev().take(32).find(|(known, _)| *known == line) {
        Some((_, sum)) => *sum += change,
        None => sheet.push((line, change)),
    }
}

/// Numbers that are given once and never again, even when what they were given to is rolled back or deleted.
#[derive(Debug)]
pub(super) struct Sequences {
    delivery: i64,
    lease: i64,
    /// Not written: the rows themselves keep it.
    envelope: i64,
    written: (i64, i64),
}

impl Sequences {
    fn load(connection: &Connection) -> Result<Self, Failure> {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let delivery = number(
            "SELECT max(coalesce((SELECT value FROM sequence WHERE kind = 'delivery'), 0),
                        coalesce((SELECT max(id) FROM delivery), 0))",
        )?;
        let lease = number(
            "SELECT max(coalesce((SELECT value FROM sequence WHERE kind = 'lease'), 0),
                        coalesce((SELECT max(lease) FROM attempt), 0))",
        )?;
        let envelope = number("SELECT coalesce(max(id), 0) FROM envelope")?;
        Ok(Self { delivery, lease, envelope, written: (delivery, lease) })
    }

    pub(super) fn next_delivery(&mut self) -> i64 {
        self.delivery += 1;
        self.delivery
    }

    pub(super) fn next_lease(&mut self) -> i64 {
        self.lease += 1;
        self.lease
    }

    pub(super) fn next_envelope(&mut self) -> i64 {
        self.envelope += 1;
        self.envelope
    }

    /// The transaction that wrote them was rolled back.
    pub(super) fn mark_unwritten(&mut self) {
        self.written = (-1, -1);
    }
}

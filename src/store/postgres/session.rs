//! One transaction on one connection. Nothing outlives it: no prepared statement, no setting, no lock; so a pooler that
//! gives each transaction another connection of the database does no harm.

use deadpool_postgres::{Object, Pool};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::failure::Failure;
use super::text;
use crate::clock::Timestamp;
use crate::store::StoreError;

/// A value of a statement, and its type.
pub(super) type Argument<'a> = (&'a (dyn ToSql + Sync), Type);

/// The values of a statement with their types: `args![INT8 id, TEXT name]`.
macro_rules! args {
    ($($kind:ident $value:expr),* $(,)?) => {
        &[$((&$value as &(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type::$kind)),*]
    };
}
pub(super) use args;

/// What a transaction is for, and so how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// A command.
    Write,
    /// A question: short.
    Read,
    /// A question about everything, at one moment.
    Audit,
    /// A part of a move of the store: it may take its time, and its locks keep others out.
    Move,
}

impl Manner {
    /// What is set here ends with the transaction, also with one that failed and is not ended: for that one
    /// [`super::connect`] sets a bound on the session.
    ///
    /// The bounds see to it that nothing hangs: not behind a lock, not in a statement, and no lock behind a gateway that
    /// stopped in the middle.
    fn begin(self) -> &'static str {
        match self {
            Self::Write => {
                "BEGIN; SET LOCAL search_path = omgate; SET LOCAL statement_timeout = 8000; SET LOCAL lock_timeout = 4000; \
                 SET LOCAL idle_in_transaction_session_timeout = 15000; SET LOCAL synchronous_commit = on; \
                 SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
            }
            Self::Read => {
                "BEGIN READ ONLY; SET LOCAL search_path = omgate; SET LOCAL statement_timeout = 8000; \
                 SET LOCAL idle_in_transaction_session_timeout = 15000; SET LOCAL jit = off"
            }
            Self::Audit => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = omgate; \
                 SET LOCAL statement_timeout = 600000; SET LOCAL idle_in_transaction_session_timeout = 60000; \
                 SET LOCAL jit = off"
            }
            Self::Move => {
                "BEGIN; SET LOCAL search_path = omgate; SET LOCAL statement_timeout = 3600000; \
                 SET LOCAL lock_timeout = 10000; SET LOCAL idle_in_transaction_session_timeout = 900000; \
                 SET LOCAL synchronous_commit = on; SET LOCAL jit = off; SET LOCAL client_min_messages = warning"
            }
        }
    }
}

/// A transaction.
pub(super) struct Session {
    client: Option<Object>,
    manner: Manner,
    begun: bool,
}

impl Session {
    /// A connection, on which the first statement begins the transaction.
    pub(super) async fn open(pool: &Pool, manner: Manner) -> Result<Self, Failure> {
        Ok(Self { client: Some(pool.get().await?), manner, begun: false })
    }

    fn client(&self) -> Result<&Object, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::Fault("the transaction is over".to_owned()))
    }

    /// Runs one statement.
    pub(super) async fn query(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Failure> {
        let first = !std::mem::replace(&mut self.begun, true);
        let client = self.client()?;
        if first {
            // Sent together: one way there and back.
            let (begun, rows) =
                tokio::join!(client.batch_execute(self.manner.begin()), client.query_typed(sql, arguments));
            begun?;
            return Ok(rows?);
        }
        Ok(client.query_typed(sql, arguments).await?)
    }

    /// Runs one last statement and commits, sent together. An error of the last statement undoes all.
    pub(super) async fn commit(mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<(), tokio_postgres::Error> {
        let Some(client) = &self.client else { return Ok(()) };
        let (last, committed) = tokio::join!(client.query_typed(sql, arguments), client.batch_execute("COMMIT"));
        last?;
        committed?;
        self.begun = false;
        Ok(())
    }

    /// Ends it; nothing of it stays.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        if self.begun {
            self.client()?.batch_execute("ROLLBACK").await?;
            self.begun = false;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Left in the middle: the connection is not given to another, and the database undoes what it did.
        if self.begun
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

/// Reads a row from left to right.
pub(super) struct Cells<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn next<T: FromSql<'a>>(&mut self) -> Result<T, Failure> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn number(&mut self) -> Result<i64, Failure> {
        self.next()
    }

    /// A number that is small by what it counts.
    pub(super) fn count(&mut self) -> Result<u32, Failure> {
        Ok(u32::try_from(self.number()?).unwrap_or(u32::MAX))
    }

    pub(super) fn status(&mut self) -> Result<Option<u16>, Failure> {
        Ok(self.next::<Option<i64>>()?.and_then(|status| u16::try_from(status).ok()))
    }

    pub(super) fn text(&mut self) -> Result<String, Failure> {
        self.next().map(text::read)
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.next::<Option<String>>()?.map(text::read))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        self.number().map(Timestamp)
    }

    pub(super) fn maybe_time(&mut self) -> Result<Option<Timestamp>, Failure> {
        Ok(self.next::<Option<i64>>()?.map(Timestamp))
    }

    /// A word of ours.
    pub(super) fn parsed<T: std::str::FromStr<Err = String>>(&mut self) -> Result<T, Failure> {
        let word: String = self.next()?;
        word.parse().map_err(|error| Failure::Rule(StoreError::Refused(error)))
    }
}

/// All rows, each read from left to right.
pub(super) fn read<'r, T>(
    rows: &'r [Row],
    mut one: impl FnMut(&mut Cells<'r>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    rows.iter().map(|row| one(&mut Cells::of(row))).collect()
}

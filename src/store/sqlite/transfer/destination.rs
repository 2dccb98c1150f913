//! The file that a store is moved into.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::{counts, holes, names, rows_of, sums};
use crate::store::sqlite::schema::{self, Lock, OpenError};
use crate::store::sqlite::words;
use crate::store::transfer::taking::{self, Ending, IN_FLIGHT, Marked, Remedies, Taking, guards};
use crate::store::transfer::{Destination, Mark, Page, Row, Side, Table};
use crate::store::{StoreError, StoreResult};

/// By what lanes are told apart.
const LANE: &str = "system, lane";
pub(super) const REMEDIES: Remedies = Remedies { another: "a new file", clear: "remove the file" };

/// A file of SQLite that a store is moved into. Nobody else opens it meanwhile.
pub struct SqliteDestination {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    _lock: Lock,
}

impl SqliteDestination {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// In words that tell what to do; see [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = schema::real_path(path)?;
        schema::look_at(&path)?;
        let lock = schema::lock(&path)?;
        schema::create(&path)?;
        let connection = schema::writer(&path)?;
        let made = connection.execute_batch("PRAGMA wal_autocheckpoint = 1000;");
        made.map_err(|error| OpenError::Inaccessible {
            path: path.clone(),
            doing: "write the database",
            reason: words::of(&error),
        })?;
        Ok(Self { path, connection: Arc::new(Mutex::new(connection)), _lock: lock })
    }

    /// The name of a file as a move notes it, whether the file is there or not.
    #[must_use]
    pub fn shown_at(path: &Path) -> String {
        let path = schema::real_path(path).unwrap_or_else(|_| path.to_owned());
        format!("sqlite:{}", path.display())
    }

    fn with<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let connection = Arc::clone(&self.connection);
        let shown = self.shown();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || {
                action(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
            });
            let done = done.await.map_err(|_| StoreError::Refused("the move was given up".to_owned()))?;
            done.map_err(|error| StoreError::Unavailable(format!("{shown}: {}", words::of(&error))))
        })
    }
}

impl Side for SqliteDestination {
    fn shown(&self) -> String {
        Self::shown_at(&self.path)
    }

    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>> {
        let units = units.to_vec();
        self.with(move |connection| rows_of(connection, table, &units))
    }

    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>> {
        self.with(|connection| sums::read(connection))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>> {
        self.with(|connection| counts(connection))
    }
}

impl Destination for SqliteDestination {
    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>> {
        let taken = self.with(move |connection| take(connection, &mark));
        let shown = self.shown();
        Box::pin(async move {
            taken.await?.map_err(|reason| StoreError::Conflict(format!("moving into {shown}: {reason}")))
        })
    }

    fn ending(&self, mark: Mark) -> BoxFuture<'_, StoreResult<Ending>> {
        let found = self.with(move |connection| Ok(taking::ending(&mark, marked(connection)?, &counts(connection)?)));
        let shown = self.shown();
        Box::pin(async move { found.await?.map_err(|reason| StoreError::Conflict(format!("{shown}: {reason}"))) })
    }

    fn put<'a>(
        &'a self,
        table: &'static Table,
        units: &'a [Row],
        rows: &'a [Row],
        whole: bool,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (units, rows) = (if whole { units.to_vec() } else { Vec::new() }, rows.to_vec());
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            put(&transaction, table, &units, &rows)?;
            transaction.commit()
        })
    }

    fn put_sums(&self, all: Vec<Vec<Row>>) -> BoxFuture<'_, StoreResult<()>> {
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            sums::write(&transaction, &all)?;
            transaction.commit()
        })
    }

    fn guard(&self, in_flight: bool) -> BoxFuture<'_, StoreResult<()>> {
        self.with(move |connection| {
            for (name, what) in guards(LANE).iter().filter(|(name, _)| in_flight || *name != IN_FLIGHT) {
                connection.execute_batch(&format!("CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {what}"))?;
            }
            Ok(())
        })
    }

    fn complete(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.with(|connection| {
            connection.execute_batch("DELETE FROM moving")?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
    }
}

/// The move that the store is marked with.
pub(super) fn marked(connection: &Connection) -> rusqlite::Result<Option<Marked>> {
    let sql = "SELECT direction = 'in', token, other FROM moving";
    let read = |row: &rusqlite::Row<'_>| Ok(Marked { into: row.get(0)?, token: row.get(1)?, other: row.get(2)? });
    connection.query_row(sql, [], read).optional()
}

/// Takes an empty store for a move, or one that it has already; else why not.
fn take(connection: &mut Connection, mark: &Mark) -> rusqlite::Result<Result<(), String>> {
    let transaction = connection.transaction()?;
    let taking = match taking::taking(mark, marked(&transaction)?, &counts(&transaction)?, &REMEDIES) {
        Ok(taking) => taking,
        Err(reason) => return Ok(Err(reason)),
    };
    if taking == Taking::Anew {
        let sql = "INSERT INTO moving (id, direction, token, other, begun_at, stage)
                   VALUES (1, 'in', ?1, ?2, ?3, 'copying')";
        transaction.execute(sql, (mark.token, &mark.other, mark.begun_at.0))?;
    }
    for (name, _) in guards(LANE) {
        transaction.execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
    }
    transaction.commit()?;
    Ok(Ok(()))
}

/// Takes away the rows of these units, and writes these.
fn put(connection: &Connection, table: &Table, units: &[Row], rows: &[Row]) -> rusqlite::Result<()> {
    let (unit, these) = (names(table.unit_columns()), holes(table.unit));
    let mut away = connection.prepare_cached(&format!("DELETE FROM \"{}\" WHERE ({unit}) = ({these})", table.name))?;
    for unit in taking::gone(table, units, rows) {
        away.execute(params_from_iter(&unit))?;
    }
    let (columns, these) = (names(table.columns), holes(table.columns.len()));
    let key = names(table.key_columns());
    let others = table.columns.iter().skip(table.key).map(|column| super::name(column).to_owned());
    let else_ = taking::on_conflict(table, others);
    let sql = format!("INSERT INTO \"{}\" ({columns}) VALUES ({these}) ON CONFLICT ({key}) DO {else_}", table.name);
    let mut write = connection.prepare_cached(&sql)?;
    rows.iter().try_for_each(|row| write.execute(params_from_iter(row)).map(|_| ()))
}

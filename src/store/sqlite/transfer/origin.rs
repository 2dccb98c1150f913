//! The store that is moved: what it notes while it goes on, and how it is shut.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension};

use super::{chunk, counts, rows_of, sums};
use crate::clock::Timestamp;
use crate::store::sqlite::books::Failure;
use crate::store::sqlite::schema::{self, OpenError};
use crate::store::sqlite::{Size, SqliteStore};
use crate::store::transfer::{
    Begun, Chunk, Kind, Mark, Noted, Origin, Page, Row, Side, Stage, TABLES, Table, Value, table,
};
use crate::store::{StoreError, StoreResult};

/// Changes are counted no further.
const COUNTED_MAX: i64 = 100_000;

/// A store over SQLite that is moved into another one.
pub struct SqliteOrigin {
    store: Arc<SqliteStore>,
}

impl SqliteOrigin {
    /// The store as the origin of a move.
    #[must_use]
    pub fn of(store: Arc<SqliteStore>) -> Self {
        Self { store }
    }

    /// The mark of the move by which a store was left; none when it was not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left(path: &Path) -> Result<Option<Mark>, OpenError> {
        let connection = schema::archive(path)?;
        let say = |error: rusqlite::Error| OpenError::Inaccessible {
            path: path.to_owned(),
            doing: "read whether it was moved",
            reason: error.to_string(),
        };
        let begun = begun(&connection).map_err(say)?;
        Ok(begun.filter(|begun| begun.stage == Stage::Moved).map(|begun| begun.mark))
    }

    /// Changes the tables, in a transaction of the writer.
    fn order(&self, orders: String) -> BoxFuture<'_, StoreResult<()>> {
        let run = move |connection: &Connection| connection.execute_batch(&orders);
        self.store.write(Size::SMALL, move |books| run(books.connection).map_err(Failure::from))
    }
}

impl Side for SqliteOrigin {
    fn shown(&self) -> String {
        format!("sqlite:{}", self.store.path.display())
    }

    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>> {
        let units = units.to_vec();
        self.store.read(move |connection| rows_of(connection, table, &units))
    }

    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>> {
        self.store.read(sums::read)
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>> {
        self.store.read(counts)
    }
}

impl Origin for SqliteOrigin {
    fn heard(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>> {
        self.store.read(|connection| {
            let sql = "SELECT at FROM alive WHERE own";
            connection.query_row(sql, [], |row| row.get(0).map(Timestamp)).optional()
        })
    }

    fn begun(&self) -> BoxFuture<'_, StoreResult<Option<Begun>>> {
        self.store.read(begun)
    }

    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>> {
        self.store.write(Size::SMALL, move |books| {
            let sql = "INSERT OR REPLACE INTO moving (id, direction, token, other, begun_at, stage, tables)
                       VALUES (1, 'out', ?1, ?2, ?3, 'copying', ?4)";
            books.run(sql, (mark.token, &mark.other, mark.begun_at.0, Begun::NOT_NOTING)).map(|_| ())
        })
    }

    fn note(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.order(format!("{}{}UPDATE moving SET tables = 0;", stop_noting(), start_noting()))
    }

    fn chunk(&self, table: &'static Table, after: Option<Row>, limit: usize) -> BoxFuture<'_, StoreResult<Chunk>> {
        self.store.read(move |connection| chunk(connection, table, after.as_ref(), limit))
    }

    fn reached(&self, table: usize, after: Option<Row>) -> BoxFuture<'_, StoreResult<()>> {
        let table = i64::try_from(table).unwrap_or(i64::MAX);
        let after = after.map(|after| Begun::key_as_kept(&after));
        self.store.write(Size::SMALL, move |books| {
            books.run("UPDATE moving SET tables = ?1, after = ?2", (table, &after)).map(|_| ())
        })
    }

    fn noted(&self, limit: usize) -> BoxFuture<'_, StoreResult<(Vec<Noted>, u64)>> {
        self.store.read(move |connection| noted(connection, limit))
    }

    fn last_noted(&self) -> BoxFuture<'_, StoreResult<i64>> {
        let sql = "SELECT coalesce(max(number), 0) FROM moving_change";
        self.store.read(|connection| connection.query_row(sql, [], |row| row.get(0)))
    }

    fn forget(&self, numbers: Vec<i64>) -> BoxFuture<'_, StoreResult<()>> {
        // Whatever was noted later has a higher number: there is one writer.
        let Some(last) = numbers.into_iter().max() else { return Box::pin(async { Ok(()) }) };
        self.store.write(Size::SMALL, move |books| {
            books.run("DELETE FROM moving_change WHERE number <= ?1", [last]).map(|_| ())
        })
    }

    fn shut(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.order(format!("{}{}UPDATE moving SET stage = 'shut';", let_in(), keep_out()))
    }

    fn open(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.order(reopen())
    }

    fn leave(&self, at: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.store.write(Size::SMALL, move |books| {
            let sql = "UPDATE moving SET stage = 'moved', moved_at = ?1 WHERE stage = 'shut'";
            match books.run(sql, [at.0])? {
                0 => Err(Failure::Rule(StoreError::Conflict("the store is not shut".to_owned()))),
                _ => Ok(()),
            }
        })
    }

    fn give_up(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.order(format!("{}{}DELETE FROM moving_change; DELETE FROM moving;", let_in(), stop_noting()))
    }
}

/// Looks whether a store may be opened as a gateway's, and opens one that a move which broke off had shut.
pub(in crate::store::sqlite) fn look(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sql = "SELECT direction, stage, other, coalesce(moved_at, begun_at) FROM moving";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, Timestamp(row.get(3)?)))
    };
    let say = |error: rusqlite::Error| OpenError::Inaccessible {
        path: path.to_owned(),
        doing: "read whether it is being moved",
        reason: error.to_string(),
    };
    let Some((direction, stage, other, at)) = connection.query_row(sql, [], read).optional().map_err(say)? else {
        return Ok(());
    };
    let path = path.to_owned();
    match (direction.as_str(), Stage::of(&stage)) {
        ("in", _) => Err(OpenError::Arriving { path, from: other }),
        (_, Stage::Moved) => Err(OpenError::Moved { path, to: other, at: at.to_string() }),
        (_, Stage::Shut) => connection.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", reopen())).map_err(say),
        (_, Stage::Copying) => {
            tracing::warn!(to = other, "a move of the store is begun and not finished: go on with it, or give it up");
            Ok(())
        }
    }
}

pub(super) fn begun(connection: &Connection) -> rusqlite::Result<Option<Begun>> {
    let sql = "SELECT token, other, begun_at, stage, tables, after FROM moving WHERE direction = 'out'";
    let read = |row: &rusqlite::Row<'_>| {
        let mark = Mark { token: row.get(0)?, other: row.get(1)?, begun_at: Timestamp(row.get(2)?) };
        let (stage, after): (String, Option<String>) = (row.get(3)?, row.get(5)?);
        Ok(Begun::kept(mark, &stage, row.get(4)?, after.as_deref()))
    };
    connection.query_row(sql, [], read).optional()
}

fn noted(connection: &Connection, limit: usize) -> rusqlite::Result<(Vec<Noted>, u64)> {
    let sql = format!("SELECT number, place, a, b, c FROM moving_change ORDER BY number LIMIT {limit}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let place: String = row.get(1)?;
        let Some(table) = table(&place) else { continue };
        let mut unit = vec![Value::Integer(row.get(2)?)];
        unit.extend(row.get::<_, Option<i64>>(3)?.map(Value::Integer));
        unit.extend(row.get::<_, Option<String>>(4)?.map(Value::Text));
        all.push(Noted { number: row.get(0)?, table, unit });
    }
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM moving_change LIMIT {COUNTED_MAX})");
    let waiting: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok((all, u64::try_from(waiting).unwrap_or(0)))
}

/// Each kind of change, and which row names what it changed.
const CHANGES: [(&str, &str); 3] = [("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")];

/// Triggers that note every change.
fn start_noting() -> String {
    let mut all = String::new();
    for table in &TABLES {
        for (change, row) in CHANGES {
            // The numbers of a unit stand first, its text last.
            let cell = |place: usize, wanted: Kind| {
                let column = table.unit_columns().get(place).filter(|column| column.kind == wanted);
                column.map_or_else(|| "NULL".to_owned(), |column| format!("{row}.\"{}\"", column.name))
            };
            let (a, b, c) = (cell(0, Kind::Integer), cell(1, Kind::Integer), cell(2, Kind::Text));
            all += &format!(
                "CREATE TRIGGER moving_{name}_{change} AFTER {change} ON \"{name}\" BEGIN
                 INSERT INTO moving_change (place, a, b, c) VALUES ('{name}', {a}, {b}, {c}); END;\n",
                name = table.name
            );
        }
    }
    all
}

fn stop_noting() -> String {
    drop_all("moving")
}

/// The tables that nothing is written to without others: who cannot write there changes nothing.
fn guarded() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name).chain(["system", "prune_walk", "alive", "token"])
}

/// Triggers that refuse every change.
fn keep_out() -> String {
    let mut all = String::new();
    for name in guarded() {
        for (change, _) in CHANGES {
            all += &format!(
                "CREATE TRIGGER shut_{name}_{change} BEFORE {change} ON \"{name}\" BEGIN
                 SELECT RAISE(ABORT, 'the store is being moved'); END;\n"
            );
        }
    }
    all
}

fn let_in() -> String {
    drop_all("shut")
}

fn reopen() -> String {
    format!("{}UPDATE moving SET stage = 'copying';", let_in())
}

fn drop_all(kind: &str) -> String {
    let one = |name: &str, change: &str| format!("DROP TRIGGER IF EXISTS {kind}_{name}_{change};\n");
    guarded().flat_map(|name| CHANGES.iter().map(move |(change, _)| one(name, change))).collect()
}

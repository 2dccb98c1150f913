//! A store over SQLite as a side of a move: see [`crate::store::transfer`].

mod destination;
mod origin;
mod sums;

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::schema::{self, OpenError};
use super::words;
use crate::disk;
use crate::store::transfer::outlook::{Content, Sight};
use crate::store::transfer::{CHUNK_BYTES, Chunk, Column, Page, Row, TABLES, Table, Value};

pub use self::destination::SqliteDestination;
pub use self::origin::SqliteOrigin;
pub(super) use self::origin::look;

/// Looks at a file from beside, whether it is there or not; writes nothing.
///
/// # Errors
/// When it cannot be read, or could not be made where it is named.
pub fn sight(path: &Path) -> Result<Sight, OpenError> {
    let inaccessible =
        |doing: &'static str, reason: String| OpenError::Inaccessible { path: path.to_owned(), doing, reason };
    let real = schema::real_path(path)?;
    schema::look_at(&real)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    disk::takes_files(folder).map_err(|error| inaccessible("make files in its folder", error.to_string()))?;
    let free = disk::free(folder).ok().map(|(free, _)| free);
    let is_there = std::fs::metadata(&real).is_ok_and(|file| file.len() > 0);
    let content = match is_there {
        false => None,
        true => {
            let connection = schema::archive(&real)?;
            Some(content(&connection).map_err(|error| inaccessible("look at what is in it", words::of(&error)))?)
        }
    };
    Ok(Sight { shown: SqliteDestination::shown_at(path), content, free, remedies: &destination::REMEDIES })
}

fn content(connection: &Connection) -> rusqlite::Result<Content> {
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = connection.query_row(size, [], |row| row.get(0))?;
    Ok(Content {
        bytes: u64::try_from(bytes).unwrap_or(0),
        counts: counts(connection)?,
        begun: origin::begun(connection)?,
        marked: destination::marked(connection)?,
    })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ToSqlOutput::Borrowed;
        Ok(match self {
            Self::Null => Borrowed(ValueRef::Null),
            Self::Integer(number) => Borrowed(ValueRef::Integer(*number)),
            Self::Text(text) => Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn cell(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    (0..row.as_ref().column_count()).map(|place| cell(row.get_ref(place)?)).collect()
}

/// What a column is called here.
fn name(column: &Column) -> &'static str {
    if column.name == "coalesces" { "coalesce_key" } else { column.name }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| format!("\"{}\"", name(column))).collect::<Vec<_>>().join(", ")
}

/// `?1, ?2, …`
fn holes(count: usize) -> String {
    (1..=count).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ")
}

/// What is read of a table: of what coalesces, only what still may.
fn select(table: &Table) -> String {
    let list = names(table.columns).replace("\"coalesce_key\"", "iif(unsettled = 1, coalesce_key, NULL)");
    format!("SELECT {list} FROM \"{}\"", table.name)
}

/// The next rows behind a key.
fn chunk(connection: &Connection, table: &Table, after: Option<&Row>, limit: usize) -> rusqlite::Result<Chunk> {
    let (key, holes) = (names(table.key_columns()), holes(table.key));
    let behind = after.map_or_else(String::new, |_| format!("WHERE ({key}) > ({holes})"));
    let sql = format!("{} {behind} ORDER BY {key} LIMIT {limit}", select(table));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(after.into_iter().flatten()))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(next) = found.next()? {
        let next = row(next)?;
        bytes += length(&next);
        rows.push(next);
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    let more = bytes >= CHUNK_BYTES || rows.len() >= limit;
    Ok(Chunk { rows, more })
}

/// All rows of some units, or of the first of them when they are large.
fn rows_of(connection: &Connection, table: &Table, units: &[Row]) -> rusqlite::Result<Page> {
    let (unit, holes) = (names(table.unit_columns()), holes(table.unit));
    let sql = format!("{} WHERE ({unit}) = ({holes})", select(table));
    let mut statement = connection.prepare_cached(&sql)?;
    let (mut page, mut bytes) = (Page::default(), 0);
    for unit in units {
        let found = statement.query_map(params_from_iter(unit), row)?.collect::<rusqlite::Result<Vec<_>>>()?;
        bytes += found.iter().map(length).sum::<i64>();
        page.rows.extend(found);
        page.units += 1;
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    Ok(page)
}

fn counts(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let count =
        |table: &Table| connection.query_row(&format!("SELECT count(*) FROM \"{}\"", table.name), [], |row| row.get(0));
    TABLES.iter().map(count).collect()
}

fn length(row: &Row) -> i64 {
    let cell = |cell: &Value| match cell {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) => 8,
    };
    i64::try_from(row.iter().map(cell).sum::<usize>()).unwrap_or(i64::MAX)
}

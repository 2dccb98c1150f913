//! A store over PostgreSQL as a side of a move: see [`crate::store::transfer`].

mod destination;
mod origin;
mod sums;

use deadpool_postgres::Pool;
use tokio_postgres::Row as Found;
use tokio_postgres::types::Type;

use super::connect::Address;
use super::failure::Failure;
use super::schema::{self, OpenError};
use super::session::{Argument, Cells, Manner, Session, read};
use super::settle::record_key;
use super::{coalesce, locks, text};
use crate::store::transfer::outlook::{Content, Sight};
use crate::store::transfer::{CHUNK_BYTES, Column, Kind, Page, Row, TABLES, Table, Value};
use crate::store::{StoreError, StoreResult};

pub use self::destination::PostgresDestination;
pub use self::origin::PostgresOrigin;
pub(super) use self::origin::look;

/// The cells of a column, as a statement takes them.
enum Cast {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Cast {
    fn of<'v>(kind: Kind, cells: impl Iterator<Item = &'v Value>) -> Self {
        match kind {
            Kind::Integer | Kind::Boolean => Self::Numbers(cells.map(Value::integer).collect()),
            Kind::Text | Kind::Derived => {
                Self::Texts(cells.map(|cell| cell.text().map(|text| text::written(text).into_owned())).collect())
            }
            Kind::Bytes => {
                let bytes = |cell: &Value| if let Value::Bytes(bytes) = cell { Some(bytes.clone()) } else { None };
                Self::Bytes(cells.map(bytes).collect())
            }
        }
    }

    fn argument(&self) -> Argument<'_> {
        match self {
            Self::Numbers(cells) => (cells, Type::INT8_ARRAY),
            Self::Texts(cells) => (cells, Type::TEXT_ARRAY),
            Self::Bytes(cells) => (cells, Type::BYTEA_ARRAY),
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "bigint",
            Self::Texts(_) => "text",
            Self::Bytes(_) => "bytea",
        }
    }
}

/// `unnest($1::bigint[], $2::text[], …)` for some columns.
fn unnested(columns: &[Cast]) -> String {
    let hole = |(place, column): (usize, &Cast)| format!("${}::{}[]", place + 1, column.type_name());
    format!("unnest({})", columns.iter().enumerate().map(hole).collect::<Vec<_>>().join(", "))
}

fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// What a column is called here; the key of a record is found by its hash.
fn key_name(column: &Column) -> &'static str {
    if column.name == "record_id" { "record_key" } else { column.name }
}

/// The cells of some columns of many rows; a record's id as its hash.
fn key_cells(columns: &[Column], rows: &[Row]) -> Vec<Cast> {
    let cells = |(place, column): (usize, &Column)| {
        let of_rows = || rows.iter().map(move |row| row.get(place).unwrap_or(&Value::Null));
        if column.name == "record_id" {
            return Cast::Bytes(of_rows().map(|cell| cell.text().map(record_key)).collect());
        }
        Cast::of(column.kind, of_rows())
    };
    columns.iter().enumerate().map(cells).collect()
}

/// What is read of a table: of what coalesces, only what still may.
fn select(table: &Table) -> String {
    let column = |column: &Column| match (column.kind, column.name) {
        (Kind::Boolean, name) => format!("t.\"{name}\"::int::bigint"),
        (Kind::Derived, _) => "CASE WHEN t.unsettled AND t.coalesce_key IS NOT NULL THEN
             (SELECT n.organization || ' ' || n.record_id FROM notification n WHERE n.id = t.notification) END"
            .to_owned(),
        (_, name) => format!("t.\"{name}\""),
    };
    table.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// The rows that a condition leaves, in the order of their key; no more than a chunk of large ones.
fn question(table: &Table, condition: &str, limit: &str) -> String {
    let (columns, key) = (select(table), list(table.key_columns().iter().map(key_name)));
    let inner = format!("SELECT * FROM \"{}\" t {condition} ORDER BY {key} {limit}", table.name);
    if table.long.is_empty() {
        return format!("SELECT {columns} FROM ({inner}) t ORDER BY {key}");
    }
    let weight = table.long.iter().map(|long| format!("octet_length(\"{long}\")")).collect::<Vec<_>>().join(" + ");
    format!(
        "SELECT {columns} FROM (SELECT *, coalesce(sum({weight}) OVER (ORDER BY {key} ROWS BETWEEN UNBOUNDED PRECEDING
         AND 1 PRECEDING), 0) AS bytes_before FROM ({inner}) t) t WHERE bytes_before < {CHUNK_BYTES} ORDER BY {key}"
    )
}

fn cells(columns: &[Column], found: &[Found]) -> Result<Vec<Row>, Failure> {
    let cell = |column: &Column, cells: &mut Cells<'_>| {
        Ok(match column.kind {
            Kind::Integer | Kind::Boolean => cells.next::<Option<i64>>()?.map_or(Value::Null, Value::Integer),
            Kind::Text | Kind::Derived => cells.maybe_text()?.map_or(Value::Null, Value::Text),
            Kind::Bytes => cells.next::<Option<Vec<u8>>>()?.map_or(Value::Null, Value::Bytes),
        })
    };
    read(found, |cells| columns.iter().map(|column| cell(column, cells)).collect())
}

/// All rows of some units, which rise; or of the first of them when they are large.
async fn rows_of(session: &mut Session, table: &Table, units: &[Row]) -> Result<Page, Failure> {
    let unit = table.unit_columns();
    let asked = key_cells(unit, units);
    let names: Vec<String> = unit.iter().map(|column| format!("t.\"{}\"", key_name(column))).collect();
    let condition = match names.as_slice() {
        [one] => format!("WHERE {one} = ANY($1)"),
        several => {
            let cells = list((0..several.len()).map(|place| format!("u{place}")));
            format!("JOIN {} AS u ({cells}) ON ({}) = ({cells})", unnested(&asked), several.join(", "))
        }
    };
    // A join brings its own columns along.
    let sql =
        question(table, &condition, "").replacen("SELECT * FROM", "SELECT t.* FROM", usize::from(asked.len() > 1));
    let arguments: Vec<Argument<'_>> = asked.iter().map(Cast::argument).collect();
    let rows = cells(table.columns, &session.query(&sql, &arguments).await?)?;
    let units_read = match rows.last() {
        Some(last) if 2 * bytes(table, &rows) >= CHUNK_BYTES => {
            let last = table.unit_of(last);
            units.iter().filter(|unit| **unit <= last).count()
        }
        _ => units.len(),
    };
    Ok(Page { rows, units: units_read })
}

fn bytes(table: &Table, rows: &[Row]) -> i64 {
    let of_row =
        |row: &Row| -> usize { table.long.iter().filter_map(|long| table.cell(row, long).text().map(str::len)).sum() };
    i64::try_from(rows.iter().map(of_row).sum::<usize>()).unwrap_or(i64::MAX)
}

async fn counts(session: &mut Session) -> Result<Vec<i64>, Failure> {
    let count = |table: &Table| format!("(SELECT count(*) FROM \"{}\")", table.name);
    let sql = format!("SELECT ARRAY[{}]", TABLES.iter().map(count).collect::<Vec<_>>().join(", "));
    let found = session.query(&sql, &[]).await?;
    Ok(read(&found, Cells::next::<Vec<i64>>)?.into_iter().flatten().collect())
}

/// Looks at a database from beside, whether it has a store or not; writes nothing.
///
/// # Errors
/// When it cannot be reached or read.
pub async fn sight(address: &Address) -> Result<Sight, OpenError> {
    let shown = address.shown().to_owned();
    let pool = address.pool(1).map_err(|reason| OpenError::Tls { address: shown.clone(), reason })?;
    let content = match schema::is_there(&pool, &shown).await? {
        false => None,
        true => {
            let found = ask(&pool, Manner::Audit, async |session: &mut Session| content(session).await).await;
            Some(found.map_err(|error| OpenError::Unfit { address: shown.clone(), reason: error.to_string() })?)
        }
    };
    // What is free is the server's own affair.
    Ok(Sight { shown, content, free: None, remedies: &destination::REMEDIES })
}

async fn content(session: &mut Session) -> Result<Content, Failure> {
    let size = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'omgate' AND c.relkind = 'r'";
    let found = session.query(size, &[]).await?;
    let bytes = read(&found, Cells::number)?.into_iter().next().unwrap_or(0);
    Ok(Content {
        bytes: u64::try_from(bytes).unwrap_or(0),
        counts: counts(session).await?,
        begun: origin::begun(session).await?,
        marked: destination::marked_now(session).await?,
    })
}

/// Asks one question, and ends its transaction.
async fn ask<T>(
    pool: &Pool,
    manner: Manner,
    question: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
) -> StoreResult<T> {
    let asked = async {
        let mut session = Session::open(pool, manner).await?;
        let answer = question(&mut session).await?;
        session.end().await?;
        Ok(answer)
    };
    asked.await.map_err(said)
}

/// Writes something, and commits it.
async fn write<T>(pool: &Pool, order: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>) -> StoreResult<T> {
    let written = async {
        let mut session = Session::open(pool, Manner::Move).await?;
        let done = order(&mut session).await?;
        session.commit("SELECT 1", &[]).await?;
        Ok(done)
    };
    written.await.map_err(said)
}

fn said(failure: Failure) -> StoreError {
    failure.into_error()
}

//! Keys that payloads are sealed with, and a walk that writes payloads anew.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::payload::{PayloadTable, Payloads, STEP_BYTES};
use crate::store::{PayloadMark, Rewrite, Rewritten, SealingKey, StoreError};

/// All of them, by id.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SealingKey>> {
    let sql = "SELECT id, proof, since FROM sealing_key ORDER BY id";
    let read =
        |row: &rusqlite::Row<'_>| Ok(SealingKey { id: row.get(0)?, proof: row.get(1)?, since: Timestamp(row.get(2)?) });
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// Remembers one, unless it is known.
pub(super) fn note(books: &Books, key: &SealingKey) -> Result<(), Failure> {
    let sql = "INSERT INTO sealing_key (id, proof, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    books.run(sql, (&key.id, &key.proof, key.since.0)).map(|_| ())
}

/// Forgets one.
pub(super) fn forget(books: &Books, id: &str) -> Result<(), Failure> {
    books.run("DELETE FROM sealing_key WHERE id = ?1", [id]).map(|_| ())
}

struct Found {
    id: i64,
    name: String,
    payloads: Payloads,
}

/// Takes one step of the walk.
pub(super) fn rewrite(
    books: &Books,
    from: &PayloadMark,
    limit: usize,
    rewrite: &Rewrite,
) -> Result<Rewritten, Failure> {
    let Some(table) = PayloadTable::at(from) else {
        return Err(Failure::Rule(StoreError::Refused(format!("there is no table {} of payloads", from.table))));
    };
    let found = read(books, table, from, limit)?;
    let mut step = Rewritten { looked: u64::try_from(found.len()).unwrap_or(u64::MAX), ..Rewritten::default() };
    // What is replaced is overwritten: it may have stood there in clear.
    books.connection.pragma_update(None, "secure_delete", true)?;
    let written = write(books, table, &found, rewrite);
    books.connection.pragma_update(None, "secure_delete", false)?;
    step.changed = written?;
    step.next = PayloadTable::next(from, found.into_iter().next_back().map(|found| (found.id, found.name)));
    Ok(step)
}

fn read(books: &Books, table: &PayloadTable, from: &PayloadMark, limit: usize) -> Result<Vec<Found>, Failure> {
    let mut statement = books.connection.prepare_cached(&table.select('?'))?;
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let mut values = vec![Value::Integer(from.id), Value::Integer(limit), Value::Integer(STEP_BYTES)];
    values.extend(table.has_name().then(|| Value::Text(from.name.clone())));
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name = if table.has_name() { row.get(1)? } else { String::new() };
        let payloads = (0..table.columns.len()).map(|place| row.get(table.key.len() + place));
        found.push(Found { id: row.get(0)?, name, payloads: payloads.collect::<rusqlite::Result<_>>()? });
    }
    Ok(found)
}

fn write(books: &Books, table: &'static PayloadTable, found: &[Found], rewrite: &Rewrite) -> Result<u64, Failure> {
    let mut changed = 0;
    for Found { id, name, payloads } in found {
        let Some(anew) = rewrite.0(table, payloads) else { continue };
        let mut values = vec![Value::Integer(*id)];
        values.extend(table.has_name().then(|| Value::Text(name.clone())));
        let cell = |cell: &Option<String>| cell.clone().map_or(Value::Null, Value::Text);
        values.extend(anew.iter().map(cell));
        values.extend(payloads.iter().map(cell));
        let mut statement = books.connection.prepare_cached(&table.update('?'))?;
        changed += u64::try_from(statement.execute(params_from_iter(values))?).unwrap_or(0);
    }
    Ok(changed)
}

/// Empties the write-ahead log, where what was replaced still stands. Of no account when somebody reads just then: the log
/// is overwritten as work goes on.
pub(super) fn empty_log(path: &Path) {
    let emptied = Connection::open(path).and_then(|connection| {
        connection.busy_timeout(std::time::Duration::from_secs(2))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).optional()
    });
    match emptied {
        Ok(Some(0)) => {}
        Ok(_) => tracing::info!("the write-ahead log is in use; it is overwritten as work goes on"),
        Err(error) => tracing::info!(%error, "the write-ahead log could not be emptied"),
    }
}

//! What notifications are found by: written with their content, and taken away with it.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::books::{Books, Failure};

/// Writes what the content of a row is found by.
pub(super) fn write(books: &Books, row: i64, fields: &BTreeMap<String, String>) -> Result<(), Failure> {
    let sql = "INSERT INTO searched (notification, name, value) VALUES (?1, ?2, ?3)";
    fields.iter().try_for_each(|(name, value)| books.run(sql, (row, name, value)).map(|_| ()))
}

/// What the content of a row is found by.
pub(super) fn of(connection: &Connection, row: i64) -> rusqlite::Result<BTreeMap<String, String>> {
    let sql = "SELECT name, value FROM searched WHERE notification = ?1";
    connection.prepare_cached(sql)?.query_map([row], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The content of a row is gone.
pub(super) fn forget(books: &Books, row: i64) -> Result<(), Failure> {
    books.run("DELETE FROM searched WHERE notification = ?1", [row]).map(|_| ())
}

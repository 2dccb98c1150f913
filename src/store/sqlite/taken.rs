//! Which configuration was in force since when, and what brought it.

use rusqlite::{Connection, Row};

use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::delivery::ConfigVersion;
use crate::store::{TakenBy, TakenConfig};

/// How many times are kept.
const KEPT: i64 = 1_000;

/// Keeps one more.
pub(super) fn take(books: &Books, taken: &TakenConfig) -> Result<(), Failure> {
    let sql = "INSERT INTO config_taken (version, at, brought_by, reason) VALUES (?1, ?2, ?3, ?4)";
    books.run(sql, (taken.version.0, taken.at.0, taken.by.as_str(), &taken.reason))?;
    let oldest = books.connection.last_insert_rowid().saturating_sub(KEPT);
    books.run("DELETE FROM config_taken WHERE id <= ?1", [oldest]).map(|_| ())
}

/// The last of them, newest first.
pub(super) fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<TakenConfig>> {
    let sql = "SELECT version, at, brought_by, reason FROM config_taken ORDER BY id DESC LIMIT ?1";
    connection.prepare_cached(sql)?.query_map([limit], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<TakenConfig> {
    let by = match row.get::<_, String>(2)?.as_str() {
        "signal" => TakenBy::Signal,
        "file" => TakenBy::File,
        "api" => TakenBy::Api,
        // The schema knows no other.
        _ => TakenBy::Start,
    };
    let (version, at) = (ConfigVersion(row.get(0)?), Timestamp(row.get(1)?));
    Ok(TakenConfig { version, at, by, reason: row.get(3)? })
}

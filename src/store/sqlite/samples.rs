//! What is measured every few minutes.

use rusqlite::Connection;

use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::Sample;

/// Keeps what was measured, and no longer what is too old.
pub(super) fn add(books: &Books, sample: &Sample) -> Result<(), Failure> {
    let sql = "INSERT INTO sample (at, gateway, figures) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    for (gateway, figures) in sample.rows() {
        books.run(sql, (sample.at.0, gateway, figures))?;
    }
    books.run("DELETE FROM sample WHERE at < ?1", [sample.kept_since()]).map(|_| ())
}

/// What was measured at a moment or later.
pub(super) fn list(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<Sample>> {
    let sql = "SELECT at, gateway, figures FROM sample WHERE at >= ?1 ORDER BY at, gateway";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([since.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Sample::of_rows(rows.collect::<rusqlite::Result<Vec<_>>>()?))
}

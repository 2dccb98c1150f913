//! Saved views.

use rusqlite::{Connection, Row};

use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::view::{full, missing};
use crate::store::{SavedView, StoreError, VIEWS_MAX};

/// Saves one in place of the one that has its name; that one.
pub(super) fn save(books: &Books, view: &SavedView) -> Result<Option<SavedView>, Failure> {
    let SavedView { list, name, query, by, at } = view;
    let before = find(books, list, name)?;
    let count = books.find("SELECT count(*) FROM saved_view", (), |row| row.get::<_, u32>(0))?.unwrap_or_default();
    if before.is_none() && count >= VIEWS_MAX {
        return Err(Failure::Rule(StoreError::Conflict(full())));
    }
    let sql = "INSERT INTO saved_view (list, name, query, saved_by, saved_at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (list, name) DO UPDATE
               SET query = excluded.query, saved_by = excluded.saved_by, saved_at = excluded.saved_at";
    books.run(sql, (list, name, query, by, at.0))?;
    Ok(before)
}

/// All of them, by list and name.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SavedView>> {
    let sql = "SELECT list, name, query, saved_by, saved_at FROM saved_view ORDER BY list, name";
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// Forgets one; what it was.
pub(super) fn forget(books: &Books, list: &str, name: &str) -> Result<SavedView, Failure> {
    let Some(view) = find(books, list, name)? else {
        return Err(Failure::Rule(StoreError::NotFound(missing(list, name))));
    };
    books.run("DELETE FROM saved_view WHERE list = ?1 AND name = ?2", (list, name))?;
    Ok(view)
}

fn find(books: &Books, list: &str, name: &str) -> Result<Option<SavedView>, Failure> {
    let sql = "SELECT list, name, query, saved_by, saved_at FROM saved_view WHERE list = ?1 AND name = ?2";
    books.find(sql, (list, name), read)
}

fn read(row: &Row<'_>) -> rusqlite::Result<SavedView> {
    let at = Timestamp(row.get(4)?);
    Ok(SavedView { list: row.get(0)?, name: row.get(1)?, query: row.get(2)?, by: row.get(3)?, at })
}

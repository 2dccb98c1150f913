//! The audit log: entries are added, listed, and pruned after a year at the earliest; nothing else.

use rusqlite::{Connection, Row, params_from_iter};

use super::books::{Books, Failure};
use super::queries::Conditions;
use crate::clock::Timestamp;
use crate::store::{AuditEntry, AuditFilter, Deed};

/// Writes an entry; its number.
pub(super) fn write(books: &Books, deed: &Deed) -> Result<i64, Failure> {
    let sql = "INSERT INTO audit (at, who, verb, object, object_id, count, reason, result)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let count = i64::try_from(deed.count).unwrap_or(i64::MAX);
    let Deed { by, verb, object, object_id, result, .. } = deed;
    books.run(sql, (deed.at.0, &by.who, verb, object, object_id, count, &by.reason, result))?;
    Ok(books.connection.last_insert_rowid())
}

/// The entries of a filter, newest first.
pub(super) fn list(connection: &Connection, filter: AuditFilter) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut conditions = Conditions::default();
    conditions.and("instr(who, ?) > 0", filter.who);
    conditions.and("verb = ?", filter.verb);
    conditions.and("object = ?", filter.object);
    conditions.and("object_id = ?", filter.object_id);
    conditions.and("at >= ?", filter.from.map(|from| from.0));
    conditions.and("at < ?", filter.to.map(|to| to.0));
    conditions.and("id < ?", filter.before);
    let sql = format!(
        "SELECT id, at, who, verb, object, object_id, count, reason, result FROM audit{}",
        conditions.ending("id", "DESC", filter.limit)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params_from_iter(conditions.values()), read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at: Timestamp(row.get(1)?),
        who: row.get(2)?,
        verb: row.get(3)?,
        object: row.get(4)?,
        object_id: row.get(5)?,
        count: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        reason: row.get(7)?,
        result: row.get(8)?,
    })
}

//! The audit log: entries are added, listed, and pruned after a year at the earliest; nothing else.

use rusqlite::{Connection, Row, params_from_iter};

use super::books::{Books, Failure};
use super::lists::Conditions;
use crate::clock::Timestamp;
use crate::store::{AuditEntry, AuditFilter, Chain, Deed};

const COLUMNS: &str = "id, at, who, verb, object, object_id, count, reason, result, was, became, hash";

/// Writes an entry; its number.
pub(super) fn write(books: &Books, deed: &Deed) -> Result<i64, Failure> {
    let before: Option<String> = books.find("SELECT head_hash FROM audit_chain WHERE id = 1", [], |row| row.get(0))?;
    let hash = deed.link(&before.unwrap_or_default());
    let sql = "INSERT INTO audit (at, who, verb, object, object_id, count, reason, result, was, became, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let count = i64::try_from(deed.count).unwrap_or(i64::MAX);
    let Deed { by, verb, object, object_id, result, was, became, .. } = deed;
    let values = (deed.at.0, &by.who, verb, object, object_id, count, &by.reason, result, was, became, &hash);
    books.run(sql, values)?;
    let id = books.connection.last_insert_rowid();
    books.run("UPDATE audit_chain SET head_entry = ?1, head_hash = ?2 WHERE id = 1", (id, &hash))?;
    Ok(id)
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
    let sql = format!("SELECT {COLUMNS} FROM audit{}", conditions.ending("id", "DESC", filter.limit));
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
        was: row.get(9)?,
        became: row.get(10)?,
        hash: row.get(11)?,
    })
}

/// The ends of the chain, and entries above an id, the oldest first.
pub(super) fn chain(connection: &Connection, after: i64, limit: u32) -> rusqlite::Result<(Chain, Vec<AuditEntry>)> {
    let sql = "SELECT anchor_entry, anchor_hash, head_entry, head_hash FROM audit_chain WHERE id = 1";
    let chain = connection.query_row(sql, [], |row| {
        Ok(Chain {
            anchor_entry: row.get(0)?,
            anchor_hash: row.get(1)?,
            head_entry: row.get(2)?,
            head_hash: row.get(3)?,
        })
    })?;
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2");
    let entries = connection.prepare_cached(&sql)?.query_map((after, limit), read)?.collect::<rusqlite::Result<_>>()?;
    Ok((chain, entries))
}

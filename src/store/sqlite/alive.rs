//! When the gateway was last known to listen, and when nobody did.

use rusqlite::{Connection, Row};

use super::audit_log;
use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::days::{ABSENCE_MIN, Copied};
use crate::store::{Absence, By, Deed, StoreError};

/// How many absences are listed.
const LIST_MAX: i64 = 100;
/// How many are kept.
const KEPT_MAX: i64 = 10_000;

/// The gateway listens; when nobody did until now, since when. The first on a copy takes its mark off.
pub(super) fn heartbeat(books: &Books, now: Timestamp) -> Result<Option<Absence>, Failure> {
    let read = |row: &Row<'_>| Ok((Timestamp(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(Timestamp)));
    let before = books.find("SELECT at, copied_at FROM alive", [], read)?;
    let sql = "INSERT INTO alive (id, at) VALUES (1, ?1)
               ON CONFLICT DO UPDATE SET at = excluded.at, own = 1, copied_at = NULL";
    books.run(sql, [now.0])?;
    match before {
        Some((last, Some(at))) => restored(books, Copied { at, heard: heard(books, last, now)? }, now).map(Some),
        Some((last, None)) if now.since(last) >= ABSENCE_MIN => absent(books, heard(books, last, now)?, now),
        Some((_, None)) | None => Ok(None),
    }
}

/// What came in after the last heartbeat shows that it listened then.
fn heard(books: &Books, last: Timestamp, now: Timestamp) -> Result<Timestamp, Failure> {
    let sql = "SELECT max(last_at) FROM source_day WHERE day >= ?1 AND last_at <= ?2";
    let heard: Option<i64> = books.find(sql, (last.day().0, now.0), |row| row.get(0))?.flatten();
    Ok(heard.map_or(last, |heard| last.max(Timestamp(heard))))
}

fn absent(books: &Books, since: Timestamp, now: Timestamp) -> Result<Option<Absence>, Failure> {
    if now.since(since) < ABSENCE_MIN {
        return Ok(None);
    }
    let newest = "SELECT id, since, until, acknowledged_at, acknowledged_by, restored FROM absence
                  ORDER BY id DESC LIMIT 1";
    let before = books.find(newest, [], read)?.filter(|before| before.goes_on_at(since));
    if let Some(before) = before.as_ref().filter(|before| before.acknowledged_at.is_none()) {
        books.run("UPDATE absence SET until = ?2 WHERE id = ?1", (before.id, now.0))?;
        return Ok(Some(Absence { until: now, ..before.clone() }));
    }
    let since = before.map_or(since, |before| before.since);
    keep(books, (since, now), false).map(Some)
}

/// Notes that this store is a copy that was put back.
fn restored(books: &Books, copied: Copied, now: Timestamp) -> Result<Absence, Failure> {
    audit_log::write(books, &copied.deed(now))?;
    keep(books, (copied.since(now), now), true)
}

fn keep(books: &Books, (since, until): (Timestamp, Timestamp), restored: bool) -> Result<Absence, Failure> {
    books.run("INSERT INTO absence (since, until, restored) VALUES (?1, ?2, ?3)", (since.0, until.0, restored))?;
    let id = books.connection.last_insert_rowid();
    books.run("DELETE FROM absence WHERE id <= ?1", [id.saturating_sub(KEPT_MAX)])?;
    Ok(Absence { id, since, until, acknowledged_at: None, acknowledged_by: None, restored })
}

/// The latest, newest first.
pub(super) fn absences(connection: &Connection) -> rusqlite::Result<Vec<Absence>> {
    let sql = format!(
        "SELECT id, since, until, acknowledged_at, acknowledged_by, restored FROM absence ORDER BY id DESC LIMIT {LIST_MAX}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([], read)?.collect()
}

/// A person took note of one.
pub(super) fn acknowledge(books: &Books, id: i64, by: &By, now: Timestamp) -> Result<Absence, Failure> {
    let find = "SELECT id, since, until, acknowledged_at, acknowledged_by, restored FROM absence WHERE id = ?1";
    let Some(absence) = books.find(find, [id], read)? else {
        return Err(Failure::Rule(StoreError::NotFound(format!("absence {id}"))));
    };
    if let Some(at) = absence.acknowledged_at {
        return Err(Failure::Rule(StoreError::Conflict(format!("absence {id} was acknowledged at {at} already"))));
    }
    let sql = "UPDATE absence SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE id = ?1";
    books.run(sql, (id, now.0, &by.who))?;
    audit_log::write(
        books,
        &Deed {
            at: now,
            by: by.clone(),
            verb: "acknowledge".to_owned(),
            object: "absence",
            object_id: id.to_string(),
            count: 1,
            result: "done".to_owned(),
            ..Deed::default()
        },
    )?;
    Ok(Absence { acknowledged_at: Some(now), acknowledged_by: Some(by.who.clone()), ..absence })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Absence> {
    Ok(Absence {
        id: row.get(0)?,
        since: Timestamp(row.get(1)?),
        until: Timestamp(row.get(2)?),
        acknowledged_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
        acknowledged_by: row.get(4)?,
        restored: row.get(5)?,
    })
}

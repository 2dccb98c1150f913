//! When the gateway was last known to listen, and when nobody did.

use std::time::Duration;

use rusqlite::{Connection, Row};

use super::audit_log;
use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::{Absence, By, Deed, StoreError};

/// A shorter one is no more than a restart, or a heartbeat that came late.
const ABSENCE_MIN: Duration = Duration::from_secs(150);
/// How many absences are listed.
const LIST_MAX: i64 = 100;
/// How many are kept.
const KEPT_MAX: i64 = 10_000;

const COLUMNS: &str = "id, since, until, acknowledged_at, acknowledged_by";

/// The gateway listens; when nobody did until now, since when.
pub(super) fn heartbeat(books: &Books, now: Timestamp) -> Result<Option<Absence>, Failure> {
    let last: Option<i64> = books.find("SELECT at FROM alive", [], |row| row.get(0))?;
    let sql = "INSERT INTO alive (id, at) VALUES (1, ?1) ON CONFLICT DO UPDATE SET at = excluded.at, own = 1";
    books.run(sql, [now.0])?;
    let Some(last) = last.filter(|last| now.since(Timestamp(*last)) >= ABSENCE_MIN) else { return Ok(None) };
    // What came in after the last heartbeat shows that it listened then.
    let sql = "SELECT max(last_at) FROM source_day WHERE day >= ?1 AND last_at <= ?2";
    let heard: Option<i64> = books.find(sql, (Timestamp(last).day().0, now.0), |row| row.get(0))?.flatten();
    let since = Timestamp(heard.map_or(last, |heard| last.max(heard)));
    if now.since(since) < ABSENCE_MIN {
        return Ok(None);
    }
    let newest = "SELECT id, since, until, acknowledged_at, acknowledged_by FROM absence ORDER BY id DESC LIMIT 1";
    let before = books.find(newest, [], read)?.filter(|before| before.goes_on_at(since));
    if let Some(before) = before.as_ref().filter(|before| before.acknowledged_at.is_none()) {
        books.run("UPDATE absence SET until = ?2 WHERE id = ?1", (before.id, now.0))?;
        return Ok(Some(Absence { until: now, ..before.clone() }));
    }
    let since = before.map_or(since, |before| before.since);
    books.run("INSERT INTO absence (since, until) VALUES (?1, ?2)", (since.0, now.0))?;
    let id = books.connection.last_insert_rowid();
    books.run("DELETE FROM absence WHERE id <= ?1", [id.saturating_sub(KEPT_MAX)])?;
    Ok(Some(Absence { id, since, until: now, acknowledged_at: None, acknowledged_by: None }))
}

/// The latest, newest first.
pub(super) fn absences(connection: &Connection) -> rusqlite::Result<Vec<Absence>> {
    let sql = format!("SELECT {COLUMNS} FROM absence ORDER BY id DESC LIMIT {LIST_MAX}");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([], read)?.collect()
}

/// A person took note of one.
pub(super) fn acknowledge(books: &Books, id: i64, by: &By, now: Timestamp) -> Result<Absence, Failure> {
    let find = "SELECT id, since, until, acknowledged_at, acknowledged_by FROM absence WHERE id = ?1";
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
    })
}

//! What is left of ways that nothing serves any more: how much, and its end in small steps.

use rusqlite::Connection;

use super::books::{Books, Failure};
use super::change;
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::store::names::Kind;
use crate::store::{By, Change, Discarded, Unsettled, Way};

/// Every way that a delivery was ever made for.
pub(super) fn ways(connection: &Connection) -> rusqlite::Result<Vec<Way>> {
    let sql = "SELECT r.text, t.text, y.text FROM way w CROSS JOIN name r ON r.id = w.route
               CROSS JOIN name t ON t.id = w.destination CROSS JOIN name y ON y.id = w.system
               ORDER BY r.text, t.text, y.text";
    let read = |row: &rusqlite::Row<'_>| Ok(Way { route: row.get(0)?, destination: row.get(1)?, system: row.get(2)? });
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// Counts what is not settled, by way. Reads nothing but the index over it.
pub(super) fn unsettled(connection: &Connection) -> rusqlite::Result<Vec<Unsettled>> {
    let sql = "SELECT r.text, t.text, y.text, open.count
               FROM (SELECT way, count(*) AS count FROM delivery INDEXED BY delivery_open
                     WHERE unsettled = 1 GROUP BY way) open
               CROSS JOIN way w ON w.id = open.way CROSS JOIN name r ON r.id = w.route
               CROSS JOIN name t ON t.id = w.destination CROSS JOIN name y ON y.id = w.system
               ORDER BY r.text, t.text, y.text";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        let way = Way { route: row.get(0)?, destination: row.get(1)?, system: row.get(2)? };
        Ok(Unsettled { way, count: row.get::<_, i64>(3)?.unsigned_abs() })
    };
    statement.query_map([], read)?.collect()
}

/// Discards the newest first, so that none becomes the head of its lane only to be discarded next, and none that comes
/// after another dies of it.
pub(super) fn discard(
    books: &mut Books,
    ways: &[Way],
    by: &By,
    limit: u32,
    now: Timestamp,
) -> Result<Discarded, Failure> {
    let sql = "SELECT id FROM delivery INDEXED BY delivery_open
               WHERE way = ?1 AND unsettled = 1 AND state <> 'in_flight' ORDER BY id DESC LIMIT ?2";
    let (mut found, mut numbers): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for way in ways {
        if let Some(way) = number(books, way)? {
            found.extend(books.list(sql, (way, limit), |row| row.get::<_, i64>(0))?);
            numbers.push(way);
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.truncate(limit as usize);
    for delivery in &found {
        change::change(books, DeliveryId(*delivery), (&Change::Discard, None), by, now)?;
    }
    let sql = "SELECT 1 FROM delivery INDEXED BY delivery_open WHERE way = ?1 AND unsettled = 1 LIMIT 1";
    let mut is_more = false;
    for way in numbers {
        is_more |= books.find(sql, [way], |row| row.get::<_, i64>(0))?.is_some();
    }
    Ok(Discarded { count: u64::try_from(found.len()).unwrap_or(u64::MAX), is_more })
}

fn number(books: &mut Books, way: &Way) -> Result<Option<i64>, Failure> {
    let mut numbers = Vec::new();
    for (kind, text) in [(Kind::Route, &way.route), (Kind::Destination, &way.destination), (Kind::System, &way.system)]
    {
        let Some(number) = books.names.find(books.connection, kind, text)? else { return Ok(None) };
        numbers.push(number);
    }
    let [route, destination, system] = numbers.as_slice() else { return Ok(None) };
    let sql = "SELECT id FROM way WHERE route = ?1 AND destination = ?2 AND system = ?3";
    books.find(sql, (route, destination, system), |row| row.get(0))
}

//! Lanes that do not go on, and what stands in one. Each lane is sought by itself in the index over them, so that the cost is
//! that of the lanes that are looked at, however much stands in them.

use rusqlite::{Connection, OptionalExtension};

use super::queries::{DELIVERY, delivery_view, read_delivery, with_ties};
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::store::lists::{self, LOOK_LANES_MAX};
use crate::store::{BEHIND_MAX, DeliveryView, LaneFilter, LaneView, Lanes, Page};

/// A lane, by the number of its system and its key.
type Lane = (i64, String);

/// The lanes of a filter.
pub(super) fn list(connection: &Connection, filter: &LaneFilter) -> rusqlite::Result<Lanes> {
    let mut lanes = Lanes::default();
    let wanted = lists::length(filter.limit) as usize;
    let only = match &filter.system {
        Some(name) => match system(connection, name)? {
            Some(number) => Some(number),
            None => return Ok(lanes),
        },
        None => None,
    };
    if !may_stand(connection)? {
        return Ok(lanes);
    }
    let mut last = match &filter.after {
        Some((name, lane)) => (system(connection, name)?.unwrap_or(i64::MAX), lane.clone()),
        None => (only.unwrap_or(i64::MIN), String::new()),
    };
    let mut is_begun = filter.after.is_some();
    for _ in 0..LOOK_LANES_MAX {
        let next = next(connection, &last, is_begun)?.filter(|(number, _)| only.is_none_or(|only| only == *number));
        let Some(lane) = next else { return Ok(lanes) };
        is_begun = true;
        lanes.rows.extend(look(connection, &lane)?);
        last = lane;
        if lanes.rows.len() >= wanted {
            break;
        }
    }
    let sql = "SELECT text FROM name WHERE id = ?1";
    let name = connection.prepare_cached(sql)?.query_row([last.0], |row| row.get(0))?;
    lanes.next = Some((name, last.1));
    Ok(lanes)
}

/// What is not settled in a lane, in order.
pub(super) fn show(
    connection: &Connection,
    name: &str,
    lane: &str,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Page<DeliveryView>> {
    let Some(number) = system(connection, name)? else { return Ok(Page::default()) };
    let limit = lists::length(Some(limit));
    let sql = format!(
        "{DELIVERY} WHERE d.system = ?1 AND d.lane = ?2 AND d.unsettled = 1 AND d.lane IS NOT NULL AND d.id > ?3
         ORDER BY d.id LIMIT {limit}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map((number, lane, after), read_delivery)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let views = found.into_iter().map(|found| with_ties(connection, found)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::of(views, |view| view.delivery_id.0, limit, None))
}

fn system(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM name WHERE kind = 'system' AND text = ?1";
    connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()
}

/// Whether any lane can stand: then something is blocked, held or dead.
fn may_stand(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT coalesce(sum(value), 0) > 0 FROM counter WHERE account IN ('blocked', 'held', 'dead')";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The lane behind one; of a list that is not begun, that one itself too.
fn next(connection: &Connection, last: &Lane, is_begun: bool) -> rusqlite::Result<Option<Lane>> {
    let sql = if is_begun {
        "SELECT system, lane FROM delivery INDEXED BY delivery_lane WHERE unsettled = 1 AND lane IS NOT NULL
         AND (system, lane) > (?1, ?2) ORDER BY system, lane LIMIT 1"
    } else {
        "SELECT system, lane FROM delivery INDEXED BY delivery_lane WHERE unsettled = 1 AND lane IS NOT NULL
         AND (system, lane) >= (?1, ?2) ORDER BY system, lane LIMIT 1"
    };
    let lane = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    connection.prepare_cached(sql)?.query_row((last.0, &last.1), lane).optional()
}

/// How a lane stands; none when nothing of it waits for another, and nobody stopped it.
fn look(connection: &Connection, (system, lane): &Lane) -> rusqlite::Result<Option<LaneView>> {
    let in_flight = "SELECT id FROM delivery INDEXED BY delivery_in_flight
                     WHERE system = ?1 AND lane = ?2 AND state = 'in_flight'";
    let lowest = "SELECT id FROM delivery INDEXED BY delivery_lane
                  WHERE system = ?1 AND lane = ?2 AND unsettled = 1 AND lane IS NOT NULL ORDER BY id LIMIT 1";
    let mut head: Option<i64> = None;
    for sql in [in_flight, lowest] {
        if head.is_none() {
            head = connection.prepare_cached(sql)?.query_row((system, lane), |row| row.get(0)).optional()?;
        }
    }
    let Some(head) = head else { return Ok(None) };
    let sql = "SELECT id FROM delivery INDEXED BY delivery_lane
               WHERE system = ?1 AND lane = ?2 AND unsettled = 1 AND lane IS NOT NULL AND id <> ?3 ORDER BY id LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let behind = statement.query_map((system, lane, head, i64::from(BEHIND_MAX) + 1), |row| row.get::<_, i64>(0))?;
    let behind = behind.collect::<rusqlite::Result<Vec<_>>>()?;
    let state: String =
        connection.prepare_cached("SELECT state FROM delivery WHERE id = ?1")?.query_row([head], |row| row.get(0))?;
    if behind.is_empty() && (state == State::Waiting.as_str() || state == State::InFlight.as_str()) {
        return Ok(None);
    }
    let made = match behind.first() {
        Some(first) => {
            let sql = "SELECT created_at FROM delivery WHERE id = ?1";
            connection.prepare_cached(sql)?.query_row([first], |row| row.get(0).map(Timestamp)).optional()?
        }
        None => None,
    };
    let count = behind.len();
    Ok(delivery_view(connection, head)?.map(|head| lists::standing(head, count, made)))
}

//! What people and other parts ask: single rows, states.

use std::collections::BTreeMap;

use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Map;

use super::{kept, searched};
use crate::clock::Timestamp;
use crate::delivery::{ConfigVersion, DeliveryId, State};
use crate::outcome;
use crate::store::attempt;
use crate::store::lists::LIST_MAX;
use crate::store::{
    AttemptView, Content, DeliveryView, Links, NotificationView, Outage, Pause, RefusedPost, StoredNotification,
    SystemState,
};

pub(super) const DELIVERY: &str = "
    SELECT d.id, n.notification_id, n.id, n.revision, n.record_id, n.record_type, s.text, r.text, t.text, y.text,
           d.lane, d.state, d.due_at, d.attempts, d.reason, d.status, d.created_at, d.changed_at,
           CASE WHEN d.state = 'blocked' THEN coalesce(
               (SELECT b.id FROM delivery b WHERE b.system = d.system AND b.lane = d.lane AND b.unsettled = 1
                AND b.lane IS NOT NULL AND b.id < d.id ORDER BY b.id DESC LIMIT 1),
               (SELECT b.id FROM delivery b WHERE b.system = d.system AND b.lane = d.lane AND b.state = 'in_flight')
           ) END,
           CASE WHEN d.state = 'blocked' THEN coalesce(
               (SELECT b.id FROM delivery b WHERE b.system = d.system AND b.lane = d.lane AND b.state = 'in_flight'),
               (SELECT b.id FROM delivery b WHERE b.system = d.system AND b.lane = d.lane AND b.unsettled = 1
                AND b.lane IS NOT NULL ORDER BY b.id LIMIT 1)
           ) END,
           d.superseded_by, d.comes_after, d.replay_of, n.edited_from, d.as_it_was, d.has_followers, e.organization_id
    FROM delivery d CROSS JOIN notification n ON n.id = d.notification CROSS JOIN name s ON s.id = n.source
    CROSS JOIN envelope e ON e.id = n.envelope
    CROSS JOIN way w ON w.id = d.way CROSS JOIN name r ON r.id = w.route CROSS JOIN name t ON t.id = w.destination
    CROSS JOIN name y ON y.id = w.system";

pub(super) const NOTIFICATION: &str = "
    FROM notification n CROSS JOIN envelope e ON e.id = n.envelope CROSS JOIN name s ON s.id = n.source";

pub(super) const NOTIFICATION_COLUMNS: &str =
    "n.id, n.notification_id, n.revision, s.text, e.organization_id, e.action_id,
    e.enterprise_url, e.partner_url, e.received_at, n.record_type, n.record_id, n.kind, n.reason, n.duplicates,
    n.edited_from";

/// The deliveries in whose place one stands, and those in whose place they stood.
pub(super) fn stands_for(connection: &Connection, id: i64) -> rusqlite::Result<Vec<DeliveryId>> {
    let sql = "WITH RECURSIVE before (id) AS (
                   SELECT id FROM delivery WHERE superseded_by = ?1
                   UNION SELECT d.id FROM delivery d CROSS JOIN before ON d.superseded_by = before.id LIMIT 100
               ) SELECT id FROM before ORDER BY id";
    connection.prepare_cached(sql)?.query_map([id], |row| row.get(0).map(DeliveryId))?.collect()
}

/// One delivery.
pub(super) fn delivery_view(connection: &Connection, id: i64) -> rusqlite::Result<Option<DeliveryView>> {
    let sql = format!("{DELIVERY} WHERE d.id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id], read_delivery).optional()?;
    found.map(|found| with_ties(connection, found)).transpose()
}

/// Adds what stands in other rows: only of those deliveries that can have it.
pub(super) fn with_ties(connection: &Connection, found: Found) -> rusqlite::Result<DeliveryView> {
    let Found { mut view, has_followers } = found;
    let id = view.delivery_id.0;
    view.search = searched::of(connection, view.notification_row)?;
    if view.state == State::Delivered {
        (view.kept, view.kept_warnings) = kept::of(connection, id)?;
    }
    if has_followers {
        let sql = "SELECT id FROM delivery WHERE comes_after = ?1 ORDER BY id LIMIT 100";
        view.links.followed_by = ids(connection, sql, id)?;
    }
    if matches!(view.state, State::Delivered | State::Superseded) {
        let sql = "SELECT id FROM delivery WHERE replay_of = ?1 ORDER BY id LIMIT 100";
        view.links.replayed_by = ids(connection, sql, id)?;
    }
    Ok(view)
}

/// The deliveries that a statement names for one.
fn ids(connection: &Connection, sql: &str, of: i64) -> rusqlite::Result<Vec<DeliveryId>> {
    connection.prepare_cached(sql)?.query_map([of], |row| row.get(0).map(DeliveryId))?.collect()
}

/// A delivery as its row has it.
pub(super) struct Found {
    view: DeliveryView,
    has_followers: bool,
}

pub(super) fn read_delivery(row: &Row<'_>) -> rusqlite::Result<Found> {
    let id = row.get::<_, i64>(0)?;
    // Of one that is the first of its lane itself, the lane is not what it waits for.
    let lane_head = row.get::<_, Option<i64>>(19)?.filter(|head| *head != id);
    let view = DeliveryView {
        delivery_id: DeliveryId(id),
        notification_id: row.get(1)?,
        notification_row: row.get(2)?,
        revision: row.get(3)?,
        record_id: row.get(4)?,
        record_type: row.get(5)?,
        source: row.get(6)?,
        organization_id: row.get(26)?,
        route: row.get(7)?,
        destination: row.get(8)?,
        system: row.get(9)?,
        lane: row.get(10)?,
        state: row.get::<_, String>(11)?.parse().map_err(|error: String| unreadable(11, error))?,
        due_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        attempts: row.get(13)?,
        reason: row.get(14)?,
        status: row.get(15)?,
        created_at: Timestamp(row.get(16)?),
        changed_at: Timestamp(row.get(17)?),
        behind: row.get::<_, Option<i64>>(18)?.map(DeliveryId),
        lane_head: lane_head.map(DeliveryId),
        superseded_by: row.get::<_, Option<i64>>(20)?.map(DeliveryId),
        search: BTreeMap::new(),
        kept: Map::new(),
        kept_warnings: BTreeMap::new(),
        links: Links {
            after: row.get::<_, Option<i64>>(21)?.map(DeliveryId),
            followed_by: Vec::new(),
            replay_of: row.get::<_, Option<i64>>(22)?.map(DeliveryId),
            replayed_by: Vec::new(),
            edited_from: row.get(23)?,
            as_it_was: row.get::<_, Option<i64>>(24)?.map(ConfigVersion),
        },
    };
    Ok(Found { view, has_followers: row.get(25)? })
}

fn unreadable(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}

/// The calls of a delivery, oldest first.
pub(super) fn attempts(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<AttemptView>> {
    let sql =
        "SELECT number, started_at, ended_at, duration_ms, outcome, reason, config_version, request_line, request,
               request_cut, status, response, response_cut, fault, call_hash FROM attempt WHERE delivery = ?1 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([delivery], |row| {
        let fault: Option<String> = row.get(13)?;
        Ok(AttemptView {
            number: row.get(0)?,
            started_at: Timestamp(row.get(1)?),
            ended_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            duration_ms: row.get(3)?,
            outcome: row.get(4)?,
            reason: row.get(5)?,
            config_version: ConfigVersion(row.get(6)?),
            record: outcome::Record {
                call_hash: row.get(14)?,
                request_line: row.get(7)?,
                request: row.get(8)?,
                request_cut: row.get(9)?,
                status: row.get(10)?,
                response: row.get(11)?,
                response_cut: row.get(12)?,
                fault: attempt::read_fault(fault.as_deref()).map_err(|error| unreadable(13, error))?,
            },
        })
    })?;
    rows.collect()
}

/// Notifications with their XML, newest first, until so many bytes of it are read; at least one.
pub(super) fn contents(
    connection: &Connection,
    before: Option<i64>,
    source: Option<&str>,
    limit: u32,
    bytes_max: usize,
) -> rusqlite::Result<Vec<NotificationView>> {
    let sql = format!(
        "SELECT {NOTIFICATION_COLUMNS}, n.xml {NOTIFICATION} WHERE n.id < ?1
         AND (?2 IS NULL OR n.source = (SELECT id FROM name WHERE kind = 'source' AND text = ?2))
         ORDER BY n.id DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut views = Vec::new();
    let mut bytes = 0;
    for view in statement.query_map((before.unwrap_or(i64::MAX), source, limit), read_notification)? {
        let view = view?;
        bytes += view.notification.xml.len();
        views.push(view);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(views)
}

/// Contents above a row, with their hashes, the lowest row first; about a megabyte of them.
pub(super) fn contents_above(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Content>> {
    let sql = "SELECT id, hash, xml FROM (
                   SELECT id, hash, xml, sum(octet_length(xml)) OVER (ORDER BY id) AS upto FROM (
                       SELECT id, hash, xml FROM notification WHERE id > ?1 ORDER BY id LIMIT 1000)
               ) WHERE upto - octet_length(xml) < 1048576 ORDER BY id";
    let read = |row: &Row<'_>| Ok(Content { row: row.get(0)?, hash: row.get(1)?, xml: row.get(2)?, is_sealed: false });
    connection.prepare_cached(sql)?.query_map([after], read)?.collect()
}

/// All revisions of a notification, by its id or else by the row of any of them; oldest first.
pub(super) fn notification(connection: &Connection, id: &str) -> rusqlite::Result<Vec<NotificationView>> {
    let sql = format!(
        "SELECT {NOTIFICATION_COLUMNS}, n.xml {NOTIFICATION} WHERE n.notification_id = ?1 AND (?2 IS NULL OR n.organization = ?2)
         ORDER BY n.organization, n.revision LIMIT {LIST_MAX}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let by_id = statement.query_map((id, Null), read_notification)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let Some(row) = id.parse::<i64>().ok().filter(|_| by_id.is_empty()) else { return with_fields(connection, by_id) };
    let key = connection
        .prepare_cached("SELECT notification_id, organization FROM notification WHERE id = ?1")?
        .query_row([row], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    match key {
        Some(key) => {
            let views = statement.query_map(key, read_notification)?.collect::<rusqlite::Result<_>>()?;
            with_fields(connection, views)
        }
        None => Ok(Vec::new()),
    }
}

/// The XML of notifications, by their rows.
pub(super) fn records(connection: &Connection, rows: &[i64]) -> rusqlite::Result<BTreeMap<i64, String>> {
    let mut statement = connection.prepare_cached("SELECT xml FROM notification WHERE id = ?1")?;
    let mut found = BTreeMap::new();
    for row in rows {
        found.extend(statement.query_row([row], |found| Ok((*row, found.get(0)?))).optional()?);
    }
    Ok(found)
}

/// Adds what notifications are found by.
pub(super) fn with_fields(
    connection: &Connection,
    mut views: Vec<NotificationView>,
) -> rusqlite::Result<Vec<NotificationView>> {
    for view in &mut views {
        view.search = searched::of(connection, view.notification.row)?;
    }
    Ok(views)
}

pub(super) fn read_notification(row: &Row<'_>) -> rusqlite::Result<NotificationView> {
    Ok(NotificationView {
        notification: StoredNotification {
            row: row.get(0)?,
            notification_id: row.get(1)?,
            revision: row.get(2)?,
            source: row.get(3)?,
            organization_id: row.get(4)?,
            action_id: row.get(5)?,
            enterprise_url: row.get(6)?,
            partner_url: row.get(7)?,
            received_at: Timestamp(row.get(8)?),
            record_type: row.get(9)?,
            record_id: row.get(10)?,
            xml: row.get(15)?,
        },
        kind: row.get(11)?,
        reason: row.get(12)?,
        duplicates: row.get(13)?,
        edited_from: row.get(14)?,
        search: BTreeMap::new(),
    })
}

/// The refused POSTs, newest first.
pub(super) fn refused(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<RefusedPost>> {
    let sql = "SELECT at, source, sender, reason, dropped_at, body FROM refused ORDER BY id DESC LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([limit.min(LIST_MAX)], |row| {
        Ok(RefusedPost {
            at: Timestamp(row.get(0)?),
            source: row.get(1)?,
            sender: row.get(2)?,
            reason: row.get(3)?,
            dropped_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
            body: row.get(5)?,
        })
    })?;
    rows.collect()
}

/// A system's state, if it was ever written.
pub(super) fn system(connection: &Connection, name: &str) -> rusqlite::Result<Option<SystemState>> {
    let sql = "SELECT active_ms, paused_reason, paused_since, probe_at, paused_until, broken_reason, broken_since,
               broken_probe_at, broken_trips, next_call_us FROM system
               WHERE name = (SELECT id FROM name WHERE kind = 'system' AND text = ?1)";
    let read = |row: &Row<'_>| {
        let moment = |column| row.get::<_, Option<i64>>(column).map(|moment| moment.map(Timestamp));
        let (probe_at, until) = (moment(3)?, moment(4)?);
        let paused: Option<(String, Timestamp)> = row.get::<_, Option<String>>(1)?.zip(moment(2)?);
        let broken: Option<(String, Timestamp)> = row.get::<_, Option<String>>(5)?.zip(moment(6)?);
        let (broken_probe_at, trips) = (moment(7)?, row.get::<_, Option<u32>>(8)?.unwrap_or(1));
        Ok(SystemState {
            active_ms: row.get(0)?,
            paused: paused.map(|(reason, since)| Pause { reason, since, until, probe_at }),
            breaker: broken.map(|(reason, since)| Outage {
                reason,
                since,
                probe_at: broken_probe_at.unwrap_or(since),
                trips,
            }),
            // Up, so that no call goes before its time.
            next_call: row
                .get::<_, Option<i64>>(9)?
                .map(|micros| Timestamp(micros.saturating_add(999).div_euclid(1_000))),
        })
    };
    connection.prepare_cached(sql)?.query_row([name], read).optional()
}

/// A stored configuration's files, as JSON.
pub(super) fn config(connection: &Connection, version: i64) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT files FROM config_version WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([version], |row| row.get(0)).optional()
}

/// Lanes whose lowest delivery that is not settled is blocked: a system's number and the lane's key. Some may have a
/// later one in flight, which is in order; the writer looks again.
pub(super) fn headless_lanes(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let blocked: i64 = connection
        .prepare_cached("SELECT coalesce(sum(value), 0) FROM counter WHERE account = 'blocked'")?
        .query_row([], |row| row.get(0))?;
    if blocked == 0 {
        return Ok(Vec::new());
    }
    // With min(), SQLite takes the other columns from the row that has the minimum.
    let sql = "SELECT system, lane, state, min(id) FROM delivery INDEXED BY delivery_lane
               WHERE unsettled = 1 AND lane IS NOT NULL GROUP BY system, lane";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let mut lanes = Vec::new();
    for row in rows {
        let (system, lane, state) = row?;
        if state == "blocked" {
            lanes.push((system, lane));
        }
    }
    Ok(lanes)
}

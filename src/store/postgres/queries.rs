//! What people and other parts ask: single rows.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::session::{Cells, Session, args, read};
use super::text;
use super::{kept, searched};
use crate::clock::Timestamp;
use crate::delivery::{ConfigVersion, DeliveryId, State};
use crate::outcome;
use crate::store::attempt;
use crate::store::lists::LIST_MAX;
use crate::store::{AttemptView, Content, DeliveryView, Links, NotificationView, RefusedPost, StoredNotification};

pub(super) const DELIVERY: &str = "
    SELECT d.id, n.notification_id, n.id, n.revision, n.record_id, n.record_type, s.text, r.text, t.text, y.text,
           d.lane, d.state, d.due_at, d.attempts, d.reason, d.status, d.created_at, d.changed_at,
           CASE WHEN d.state = 'blocked' THEN coalesce(
               (SELECT b.id FROM delivery b WHERE b.lane_key = d.lane_key AND b.unsettled AND b.id < d.id
                ORDER BY b.lane_key DESC, b.id DESC LIMIT 1),
               (SELECT b.id FROM delivery b WHERE b.lane_key = d.lane_key AND b.state = 'in_flight')
           ) END,
           CASE WHEN d.state = 'blocked' THEN coalesce(
               (SELECT b.id FROM delivery b WHERE b.lane_key = d.lane_key AND b.state = 'in_flight'),
               (SELECT b.id FROM delivery b WHERE b.lane_key = d.lane_key AND b.unsettled ORDER BY b.lane_key, b.id LIMIT 1)
           ) END,
           d.superseded_by, d.comes_after, d.replay_of, n.edited_from, d.as_it_was, d.has_followers, e.organization_id
    FROM delivery d JOIN notification n ON n.id = d.notification JOIN name s ON s.id = n.source
    JOIN envelope e ON e.id = n.envelope
    JOIN way w ON w.id = d.way JOIN name r ON r.id = w.route JOIN name t ON t.id = w.destination
    JOIN name y ON y.id = w.system";

pub(super) const NOTIFICATION: &str =
    "FROM notification n JOIN envelope e ON e.id = n.envelope JOIN name s ON s.id = n.source";

pub(super) const NOTIFICATION_COLUMNS: &str =
    "n.id, n.notification_id, n.revision, s.text, e.organization_id, e.action_id,
    e.enterprise_url, e.partner_url, e.received_at, n.record_type, n.record_id, n.kind, n.reason, n.duplicates,
    n.edited_from";

/// Adds what stands in other rows: only of those deliveries that can have it.
pub(super) async fn with_ties(session: &mut Session, found: Vec<Found>) -> Result<Vec<DeliveryView>, Failure> {
    let ids = |among: fn(&Found) -> bool| -> Vec<i64> {
        found.iter().filter(|found| among(found)).map(|found| found.view.delivery_id.0).collect()
    };
    let mut answers = kept::of(session, &ids(|found| found.view.state == State::Delivered)).await?;
    let mut followers = tied(session, "comes_after", &ids(|found| found.has_followers)).await?;
    let repeated = ids(|found| matches!(found.view.state, State::Delivered | State::Superseded));
    let mut replays = tied(session, "replay_of", &repeated).await?;
    let contents: Vec<i64> = found.iter().map(|found| found.view.notification_row).collect();
    let fields = searched::of(session, &contents).await?;
    let with_ties = |Found { mut view, .. }: Found| {
        let id = view.delivery_id.0;
        view.search = fields.get(&view.notification_row).cloned().unwrap_or_default();
        (view.kept, view.kept_warnings) = answers.remove(&id).unwrap_or_default();
        view.links.followed_by = followers.remove(&id).unwrap_or_default();
        view.links.replayed_by = replays.remove(&id).unwrap_or_default();
        view
    };
    Ok(found.into_iter().map(with_ties).collect())
}

/// For each of some deliveries, those that name it in a column.
async fn tied(session: &mut Session, column: &str, ids: &[i64]) -> Result<BTreeMap<i64, Vec<DeliveryId>>, Failure> {
    let mut tied: BTreeMap<i64, Vec<DeliveryId>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(tied);
    }
    let sql = format!(
        "SELECT k.id, d.id FROM unnest($1::bigint[]) k (id) CROSS JOIN LATERAL
             (SELECT id FROM delivery WHERE {column} = k.id ORDER BY id LIMIT 100) d ORDER BY k.id, d.id"
    );
    let rows = session.query(&sql, args![INT8_ARRAY ids]).await?;
    for (id, other) in read(&rows, |cells| Ok((cells.number()?, cells.number()?)))? {
        tied.entry(id).or_default().push(DeliveryId(other));
    }
    Ok(tied)
}

/// For each of some deliveries, those in whose place it stands, and those in whose place they stood.
pub(super) async fn stands_for(session: &mut Session, ids: &[DeliveryId]) -> Result<Vec<Vec<DeliveryId>>, Failure> {
    let asked: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let sql = "SELECT k.place, b.id FROM unnest($1::bigint[]) WITH ORDINALITY k (id, place) CROSS JOIN LATERAL (
                   WITH RECURSIVE before (id) AS (
                       SELECT d.id FROM delivery d WHERE d.superseded_by = k.id
                       UNION SELECT d.id FROM before JOIN delivery d ON d.superseded_by = before.id
                   ) SELECT id FROM before LIMIT 100) b ORDER BY k.place, b.id";
    let rows = session.query(sql, args![INT8_ARRAY asked]).await?;
    let mut before = vec![Vec::new(); ids.len()];
    for (place, id) in read(&rows, |cells| Ok((cells.number()?, cells.number()?)))? {
        let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
        if let Some(list) = before.get_mut(place) {
            list.push(DeliveryId(id));
        }
    }
    Ok(before)
}

/// One delivery.
pub(super) async fn delivery_view(session: &mut Session, id: i64) -> Result<Option<DeliveryView>, Failure> {
    let rows = session.query(&format!("{DELIVERY} WHERE d.id = $1"), args![INT8 id]).await?;
    let found = read(&rows, read_delivery)?;
    Ok(with_ties(session, found).await?.into_iter().next())
}

/// A delivery as its row has it.
pub(super) struct Found {
    view: DeliveryView,
    has_followers: bool,
}

pub(super) fn read_delivery(cells: &mut Cells<'_>) -> Result<Found, Failure> {
    let maybe = |id: Option<i64>| id.map(DeliveryId);
    let mut view = DeliveryView {
        delivery_id: DeliveryId(cells.number()?),
        notification_id: cells.text()?,
        notification_row: cells.number()?,
        revision: cells.count()?,
        record_id: cells.text()?,
        record_type: cells.text()?,
        source: cells.text()?,
        organization_id: String::new(),
        route: cells.text()?,
        destination: cells.text()?,
        system: cells.text()?,
        lane: cells.maybe_text()?,
        state: cells.parsed()?,
        due_at: cells.maybe_time()?,
        attempts: cells.count()?,
        reason: cells.maybe_text()?,
        status: cells.status()?,
        created_at: cells.time()?,
        changed_at: cells.time()?,
        behind: maybe(cells.next()?),
        lane_head: maybe(cells.next()?),
        superseded_by: maybe(cells.next()?),
        search: Default::default(),
        kept: Default::default(),
        kept_warnings: Default::default(),
        links: Links {
            after: maybe(cells.next()?),
            followed_by: Vec::new(),
            replay_of: maybe(cells.next()?),
            replayed_by: Vec::new(),
            edited_from: cells.next()?,
            as_it_was: cells.next::<Option<i64>>()?.map(ConfigVersion),
        },
    };
    // Of one that is the first of its lane itself, the lane is not what it waits for.
    view.lane_head = view.lane_head.filter(|head| *head != view.delivery_id);
    let has_followers = cells.next()?;
    view.organization_id = cells.text()?;
    Ok(Found { view, has_followers })
}

/// The calls of a delivery, oldest first.
pub(super) async fn attempts(session: &mut Session, delivery: i64) -> Result<Vec<AttemptView>, Failure> {
    let sql =
        "SELECT number, started_at, ended_at, duration_ms, outcome, reason, config_version, request_line, request,
                   request_cut, status, response, response_cut, fault, call_hash FROM attempt WHERE delivery = $1 ORDER BY number";
    let rows = session.query(sql, args![INT8 delivery]).await?;
    read(&rows, |cells| {
        let mut view = AttemptView {
            number: cells.count()?,
            started_at: cells.time()?,
            ended_at: cells.maybe_time()?,
            duration_ms: cells.next()?,
            outcome: cells.next()?,
            reason: cells.maybe_text()?,
            config_version: ConfigVersion(cells.number()?),
            record: outcome::Record {
                request_line: cells.text()?,
                request: cells.text()?,
                request_cut: cells.next()?,
                status: cells.status()?,
                response: cells.text()?,
                response_cut: cells.next()?,
                fault: fault(cells.maybe_text()?.as_deref())?,
                call_hash: None,
            },
        };
        let hash: Option<Vec<u8>> = cells.next()?;
        view.record.call_hash = hash.and_then(|hash| hash.try_into().ok());
        Ok(view)
    })
}

fn fault(text: Option<&str>) -> Result<Option<outcome::Fault>, Failure> {
    attempt::read_fault(text).map_err(|error| Failure::Fault(format!("reading a fault: {error}")))
}

/// Notifications with their content, newest first: those below a row, of a source, at most so many, and no more bytes than
/// that at once, unless one alone has more.
pub(super) async fn contents(
    session: &mut Session,
    before: Option<i64>,
    source: Option<&str>,
    limit: u32,
    bytes_max: i64,
) -> Result<Vec<NotificationView>, Failure> {
    let sql = "SELECT n.id, octet_length(n.xml)::bigint FROM notification n WHERE n.id < $1
               AND ($2::text IS NULL OR n.source = (SELECT id FROM name WHERE kind = 'source' AND text = $2))
               ORDER BY n.id DESC LIMIT $3";
    let arguments = args![INT8 before.unwrap_or(i64::MAX), TEXT source.map(text::written), INT8 i64::from(limit)];
    let rows = session.query(sql, arguments).await?;
    let mut bytes = 0;
    let mut ids = Vec::new();
    for (id, length) in read(&rows, |cells| Ok((cells.number()?, cells.number()?)))? {
        ids.push(id);
        bytes += length;
        if bytes >= bytes_max {
            break;
        }
    }
    let sql = format!("SELECT {NOTIFICATION_COLUMNS}, n.xml {NOTIFICATION} WHERE n.id = ANY($1) ORDER BY n.id DESC");
    read(&session.query(&sql, args![INT8_ARRAY ids]).await?, read_notification)
}

/// Contents above a row, with their hashes, the lowest row first; about a megabyte of them.
pub(super) async fn contents_above(session: &mut Session, after: i64) -> Result<Vec<Content>, Failure> {
    let sql = "SELECT id, hash, xml FROM (
                   SELECT id, hash, xml, sum(octet_length(xml)) OVER (ORDER BY id) AS upto FROM (
                       SELECT id, hash, xml FROM notification WHERE id > $1 ORDER BY id LIMIT 1000) found
               ) measured WHERE upto - octet_length(xml) < 1048576 ORDER BY id";
    let rows = session.query(sql, args![INT8 after]).await?;
    read(&rows, |cells| {
        let row = cells.number()?;
        let hash = <[u8; 32]>::try_from(cells.next::<&[u8]>()?)
            .map_err(|_| Failure::Fault(format!("the hash of notification {row} is none")))?;
        Ok(Content { row, hash, xml: cells.text()?, is_sealed: false })
    })
}

/// All revisions of a notification, by its id or else by the row of any of them; oldest first.
pub(super) async fn notification(session: &mut Session, id: &str) -> Result<Vec<NotificationView>, Failure> {
    let sql = format!(
        "SELECT {NOTIFICATION_COLUMNS}, n.xml {NOTIFICATION}
         WHERE n.notification_id = $1 AND ($2::bigint IS NULL OR n.organization = $2)
         ORDER BY n.organization, n.revision LIMIT {LIST_MAX}"
    );
    let rows = session.query(&sql, args![TEXT text::written(id), INT8 None::<i64>]).await?;
    let by_id = read(&rows, read_notification)?;
    let Some(row) = id.parse::<i64>().ok().filter(|_| by_id.is_empty()) else {
        return with_fields(session, by_id).await;
    };
    let key = "SELECT notification_id, organization FROM notification WHERE id = $1";
    let rows = session.query(key, args![INT8 row]).await?;
    let keys = read(&rows, |cells| Ok((cells.next::<String>()?, cells.number()?)))?;
    let Some((id, organization)) = keys.into_iter().next() else { return Ok(Vec::new()) };
    let rows = session.query(&sql, args![TEXT id, INT8 Some(organization)]).await?;
    let views = read(&rows, read_notification)?;
    with_fields(session, views).await
}

/// The XML of notifications, by their rows.
pub(super) async fn records(session: &mut Session, rows: &[i64]) -> Result<BTreeMap<i64, String>, Failure> {
    let found = session.query("SELECT id, xml FROM notification WHERE id = ANY($1)", args![INT8_ARRAY rows]).await?;
    Ok(read(&found, |cells| Ok((cells.number()?, cells.text()?)))?.into_iter().collect())
}

/// Adds what notifications are found by.
pub(super) async fn with_fields(
    session: &mut Session,
    mut views: Vec<NotificationView>,
) -> Result<Vec<NotificationView>, Failure> {
    let rows: Vec<i64> = views.iter().map(|view| view.notification.row).collect();
    let mut fields = searched::of(session, &rows).await?;
    for view in &mut views {
        view.search = fields.remove(&view.notification.row).unwrap_or_default();
    }
    Ok(views)
}

pub(super) fn read_notification(cells: &mut Cells<'_>) -> Result<NotificationView, Failure> {
    let mut notification = StoredNotification {
        row: cells.number()?,
        notification_id: cells.text()?,
        revision: cells.count()?,
        source: cells.text()?,
        organization_id: cells.text()?,
        action_id: cells.text()?,
        enterprise_url: cells.text()?,
        partner_url: cells.text()?,
        received_at: cells.time()?,
        record_type: cells.text()?,
        record_id: cells.text()?,
        xml: String::new(),
    };
    let (kind, reason, duplicates) = (cells.text()?, cells.maybe_text()?, cells.number()?);
    let edited_from = cells.next()?;
    notification.xml = cells.text()?;
    Ok(NotificationView { notification, kind, reason, duplicates, edited_from, search: BTreeMap::new() })
}

/// The refused POSTs, newest first.
pub(super) async fn refused(session: &mut Session, limit: u32) -> Result<Vec<RefusedPost>, Failure> {
    let sql = "SELECT at, source, sender, reason, dropped_at, body FROM refused ORDER BY id DESC LIMIT $1";
    let rows = session.query(sql, args![INT8 i64::from(limit.min(LIST_MAX))]).await?;
    read(&rows, |cells| {
        Ok(RefusedPost {
            at: cells.time()?,
            source: cells.text()?,
            sender: cells.text()?,
            reason: cells.text()?,
            dropped_at: cells.maybe_time()?,
            body: cells.text()?,
        })
    })
}

/// A stored configuration's files, as JSON.
pub(super) async fn config(session: &mut Session, version: i64) -> Result<Option<String>, Failure> {
    let rows = session.query("SELECT files FROM config_version WHERE id = $1", args![INT8 version]).await?;
    Ok(read(&rows, Cells::text)?.into_iter().next())
}

/// Lanes whose lowest delivery that is not settled is blocked. Some may have a later one in flight, which is in order;
/// the command looks again.
pub(super) async fn headless_lanes(session: &mut Session) -> Result<Vec<i64>, Failure> {
    let sql = "SELECT coalesce(sum(value), 0)::bigint FROM counter WHERE account = 'blocked'";
    let rows = session.query(sql, &[]).await?;
    if read(&rows, Cells::number)?.first().copied().unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT lane_key FROM (SELECT DISTINCT ON (lane_key) lane_key, state FROM delivery
                   WHERE unsettled AND lane_key IS NOT NULL ORDER BY lane_key, id) head
               WHERE state = 'blocked' AND NOT EXISTS
                   (SELECT 1 FROM delivery f WHERE f.lane_key = head.lane_key AND f.state = 'in_flight')";
    read(&session.query(sql, &[]).await?, Cells::number)
}

/// The database's clock.
pub(super) async fn time(session: &mut Session) -> Result<Timestamp, Failure> {
    let sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let rows = session.query(sql, &[]).await?;
    let time = read(&rows, Cells::time)?.into_iter().next();
    time.ok_or_else(|| Failure::Fault("the database did not tell the time".to_owned()))
}

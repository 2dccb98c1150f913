//! Lanes that do not go on, and what stands in one. Each lane is sought by itself in the index over them, so that the cost is
//! that of the lanes that are looked at, however much stands in them.

use super::failure::Failure;
use super::locks;
use super::queries::{DELIVERY, read_delivery, with_ties};
use super::session::{Cells, Session, args, read};
use super::text;
use crate::store::lists::{self, LOOK_LANES_MAX};
use crate::store::{BEHIND_MAX, DeliveryView, LaneFilter, Lanes, Page};

/// Lanes that are looked at in one statement: few, where many of them stand.
const AT_ONCE: usize = 500;

/// A lane that stands: its head, how many are behind it, and when the first of those was made.
struct Standing {
    head: i64,
    behind: i64,
    made_at: Option<i64>,
}

/// The lanes of a filter.
pub(super) async fn list(session: &mut Session, filter: &LaneFilter) -> Result<Lanes, Failure> {
    let mut lanes = Lanes::default();
    let wanted = lists::length(filter.limit) as usize;
    let only = match &filter.system {
        Some(name) => match system(session, name).await? {
            Some(number) => Some(number),
            None => return Ok(lanes),
        },
        None => None,
    };
    let mut last = match &filter.after {
        Some((name, lane)) => system(session, name).await?.map_or(i64::MAX, |number| locks::key(number, lane)),
        None => i64::MIN,
    };
    let mut is_begun = filter.after.is_some();
    let (mut found, mut is_last) = (Vec::new(), false);
    for _ in 0..LOOK_LANES_MAX / AT_ONCE {
        let keys = next(session, last, is_begun, AT_ONCE.min(2 * wanted.max(10))).await?;
        let Some(key) = keys.last() else {
            is_last = true;
            break;
        };
        (last, is_begun) = (*key, true);
        found.extend(look(session, &keys, only).await?);
        if found.len() >= wanted {
            break;
        }
    }
    if found.len() > wanted {
        found.truncate(wanted);
        (last, is_last) = (found.last().map_or(last, |(key, _)| *key), false);
    }
    let heads: Vec<i64> = found.iter().map(|(_, standing)| standing.head).collect();
    let mut views = views(session, &heads).await?;
    for (_, Standing { head, behind, made_at }) in found {
        let Some(place) = views.iter().position(|view| view.delivery_id.0 == head) else { continue };
        let count = usize::try_from(behind).unwrap_or(0);
        lanes.rows.push(lists::standing(views.swap_remove(place), count, made_at.map(crate::clock::Timestamp)));
    }
    if !is_last {
        lanes.next = name_of(session, last).await?;
    }
    Ok(lanes)
}

/// What is not settled in a lane, in order.
pub(super) async fn show(
    session: &mut Session,
    name: &str,
    lane: &str,
    after: i64,
    limit: u32,
) -> Result<Page<DeliveryView>, Failure> {
    let Some(number) = system(session, name).await? else { return Ok(Page::default()) };
    let limit = lists::length(Some(limit));
    let sql = format!(
        "{DELIVERY} WHERE d.lane_key = $1 AND d.unsettled AND d.system = $2 AND d.lane = $3 AND d.id > $4
         ORDER BY d.lane_key, d.id LIMIT {limit}"
    );
    let arguments = args![INT8 locks::key(number, lane), INT8 number, TEXT text::written(lane), INT8 after];
    let found = read(&session.query(&sql, arguments).await?, read_delivery)?;
    let views = with_ties(session, found).await?;
    Ok(Page::of(views, |view| view.delivery_id.0, limit, None))
}

async fn system(session: &mut Session, name: &str) -> Result<Option<i64>, Failure> {
    let sql = "SELECT id FROM name WHERE kind = 'system' AND text = $1";
    Ok(read(&session.query(sql, args![TEXT text::written(name)]).await?, Cells::number)?.first().copied())
}

/// The lanes behind one, each found from the one before; of a list that is not begun, that one itself too.
async fn next(session: &mut Session, last: i64, is_begun: bool, count: usize) -> Result<Vec<i64>, Failure> {
    let compared = if is_begun { ">" } else { ">=" };
    let sql = format!(
        "WITH RECURSIVE lanes (key, place) AS (
             (SELECT lane_key, 1 FROM delivery WHERE unsettled AND lane_key IS NOT NULL AND lane_key {compared} $1
              ORDER BY lane_key LIMIT 1)
             UNION ALL
             SELECT (SELECT d.lane_key FROM delivery d WHERE d.unsettled AND d.lane_key IS NOT NULL
                     AND d.lane_key > lanes.key ORDER BY d.lane_key LIMIT 1), place + 1
             FROM lanes WHERE lanes.key IS NOT NULL AND place < {count}
         ) SELECT key FROM lanes WHERE key IS NOT NULL ORDER BY key"
    );
    read(&session.query(&sql, args![INT8 last]).await?, Cells::number)
}

/// Those of some lanes that stand.
async fn look(session: &mut Session, keys: &[i64], only: Option<i64>) -> Result<Vec<(i64, Standing)>, Failure> {
    let sql = "SELECT k.key, head.id, behind.count, behind.made_at FROM unnest($1::bigint[]) k (key)
               CROSS JOIN LATERAL (SELECT d.id, d.state, d.system FROM delivery d WHERE d.lane_key = k.key AND d.unsettled
                   ORDER BY (d.state = 'in_flight') DESC, d.id LIMIT 1) head
               CROSS JOIN LATERAL (SELECT count(*) AS count, min(b.created_at) FILTER (WHERE b.place = 1) AS made_at FROM (
                   SELECT d.created_at, row_number() OVER (ORDER BY d.id) AS place FROM delivery d
                   WHERE d.lane_key = k.key AND d.unsettled AND d.id <> head.id ORDER BY d.id LIMIT $2) b) behind
               WHERE (behind.count > 0 OR head.state NOT IN ('waiting', 'in_flight'))
               AND ($3::bigint IS NULL OR head.system = $3) ORDER BY k.key";
    let rows = session.query(sql, args![INT8_ARRAY keys, INT8 i64::from(BEHIND_MAX) + 1, INT8 only]).await?;
    read(&rows, |cells| {
        let key = cells.number()?;
        Ok((key, Standing { head: cells.number()?, behind: cells.number()?, made_at: cells.next()? }))
    })
}

async fn views(session: &mut Session, ids: &[i64]) -> Result<Vec<DeliveryView>, Failure> {
    let sql = format!("{DELIVERY} WHERE d.id = ANY($1)");
    let found = read(&session.query(&sql, args![INT8_ARRAY ids]).await?, read_delivery)?;
    with_ties(session, found).await
}

/// The system and the key of a lane.
async fn name_of(session: &mut Session, key: i64) -> Result<Option<(String, String)>, Failure> {
    let sql = "SELECT n.text, d.lane FROM delivery d JOIN name n ON n.id = d.system
               WHERE d.lane_key = $1 AND d.unsettled ORDER BY d.lane_key, d.id LIMIT 1";
    let rows = session.query(sql, args![INT8 key]).await?;
    Ok(read(&rows, |cells| Ok((cells.text()?, cells.text()?)))?.into_iter().next())
}

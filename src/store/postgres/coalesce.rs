//! Of several waiting updates of one record only the newest goes out: `coalesce = true`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::accept::Desk;
use super::failure::Failure;
use super::locks;
use super::session::{args, read};
use super::work::Work;
use crate::clock::Timestamp;
use crate::delivery::{Coalesce, State};
use crate::store::coalescing::{self, WAITING_MAX};
use crate::store::names::Way;
use crate::store::turn::Turn;

/// What a record is known by.
pub(super) fn key(organization: i64, record_id: &str) -> i64 {
    locks::key(organization, record_id)
}

/// What is locked while the waiting updates of a record on a way are looked at.
pub(super) fn lock(way: i64, key: i64) -> i64 {
    locks::key(way, &key.to_string())
}

/// Reads which deliveries wait of the records.
pub(super) async fn read_waiting(
    work: &mut Work,
    records: &BTreeSet<(i64, i64)>,
    waiting: &mut HashMap<(i64, i64), BTreeSet<i64>>,
    lanes: &mut BTreeMap<i64, Option<i64>>,
) -> Result<(), Failure> {
    let (ways, keys): (Vec<i64>, Vec<i64>) = records.iter().copied().unzip();
    let sql = "SELECT k.way, k.key, d.id, d.lane_key FROM unnest($1::bigint[], $2::bigint[]) k (way, key)
               CROSS JOIN LATERAL (SELECT id, lane_key FROM delivery WHERE way = k.way AND coalesce_key = k.key AND unsettled
                   AND attempts = 0 AND state IN ('waiting', 'blocked') ORDER BY id LIMIT $3) d";
    let rows = work.session.query(sql, args![INT8_ARRAY ways, INT8_ARRAY keys, INT8 WAITING_MAX]).await?;
    for (record, id, lane) in
        read(&rows, |cells| Ok(((cells.number()?, cells.number()?), cells.number()?, cells.next()?)))?
    {
        waiting.entry(record).or_default().insert(id);
        lanes.insert(id, lane);
    }
    Ok(())
}

/// A new delivery that may take the place of others.
#[derive(Clone, Copy)]
pub(super) struct Newcomer<'a> {
    pub(super) id: i64,
    /// The first revision of its notification.
    pub(super) first: i64,
    pub(super) way: &'a Arc<Way>,
    pub(super) key: i64,
}

/// Supersedes what waits of the same record on the same way and was not attempted yet, for the sake of a newcomer. The one
/// that is newer than the newcomer, if there is such a one: then it is the newcomer that gives way, and nothing was
/// superseded.
pub(super) fn take_place(
    desk: &mut Desk<'_>,
    work: &mut Work,
    newcomer: Newcomer<'_>,
    coalesce: &Coalesce,
    now: Timestamp,
) -> Result<Option<i64>, Failure> {
    let Newcomer { id, first, way, key } = newcomer;
    let own = desk.newest.get(&(first, way.route)).copied();
    // Whoever stood behind what gives way may be due now.
    work.wake(&way.system_name);
    let candidates = desk.waiting.get(&(way.id, key)).into_iter().flatten().filter_map(|id| desk.scene.find(*id));
    let waiting: Vec<(i64, Option<String>)> = candidates
        .filter(|place| place.attempts == 0 && matches!(place.state, State::Waiting | State::Blocked))
        .map(|place| (place.id, place.mark.clone()))
        .collect();
    if let Some(newer) = coalescing::newer(coalesce, &waiting) {
        if own != Some(newer) {
            desk.standing_for_others.insert(newer);
        }
        return Ok(Some(newer));
    }
    for (older, _) in waiting {
        if own != Some(older) || desk.standing_for_others.contains(&older) {
            desk.standing_for_others.insert(id);
        }
        let reason = coalescing::reason(id);
        let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at: now };
        desk.scene.turn(work, older, turn)?;
        let place = desk.scene.change(older)?;
        place.superseded_by = Some(id);
        let (lane, has_followers) = (place.lane_key, place.has_followers);
        desk.scene.promote(work, lane, now)?;
        if has_followers {
            desk.fallen.push(older);
        }
    }
    Ok(None)
}

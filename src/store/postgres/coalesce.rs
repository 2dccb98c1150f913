//! Of several waiting updates of one record only the newest goes out: `coalesce = true`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::accept::Desk;
use super::after;
use super::failure::Failure;
use super::lane::{Place, Scene};
use super::locks::{self, Class, Gate, Keys};
use super::session::{args, read};
use super::work::Work;
use crate::clock::Timestamp;
use crate::delivery::{Coalesce, State};
use crate::store::coalescing::{self, Update, WAITING_MAX};
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
        if give_way(work, &mut desk.scene, older, id, now)? {
            desk.fallen.push(older);
        }
    }
    Ok(None)
}

/// Supersedes an update by another; whether others come after it.
fn give_way(work: &mut Work, scene: &mut Scene, older: i64, newer: i64, at: Timestamp) -> Result<bool, Failure> {
    let reason = coalescing::reason(newer);
    let turn = Turn { to: State::Superseded, due_at: None, unsettled: false, reason: Some(&reason), at };
    scene.turn(work, older, turn)?;
    let place = scene.change(older)?;
    place.superseded_by = Some(newer);
    let (lane, has_followers) = (place.lane_key, place.has_followers);
    scene.promote(work, lane, at)?;
    Ok(has_followers)
}

/// Reads what concerns a held one that comes back, and locks it: the one, and where it coalesces the updates of its record.
pub(super) async fn load(work: &mut Work, held: i64) -> Result<(Scene, BTreeSet<i64>), Failure> {
    let sql = "SELECT way, coalesce_key FROM delivery WHERE id = $1 AND attempts = 0 AND coalesce_key IS NOT NULL";
    let rows = work.session.query(sql, args![INT8 held]).await?;
    let found = read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?;
    let Some((way, key)) = found.into_iter().next() else {
        return Ok((after::load(work, &[held]).await?, BTreeSet::new()));
    };
    let mut keys = Keys::default();
    keys.add(Class::Record, lock(way, key));
    locks::enter(&mut work.session, Gate::Shared, &keys).await?;
    let (mut waiting, mut old) = (HashMap::new(), BTreeMap::from([(held, None)]));
    read_waiting(work, &BTreeSet::from([(way, key)]), &mut waiting, &mut old).await?;
    let updates: BTreeSet<i64> = old.into_keys().collect();
    let all = after::with_followers(&mut work.session, &updates.iter().copied().collect::<Vec<_>>()).await?;
    let lanes: BTreeSet<i64> = all.values().filter_map(|lane| *lane).collect();
    locks::take(&mut work.session, Gate::Shared, &Keys::lanes(lanes.iter().copied())).await?;
    Ok((after::read_scene(work, &all, &lanes).await?, updates))
}

/// A held one comes back: of the updates that were read with it the newest stays, as far as they wait and were not
/// attempted. Whether that is the one that comes back.
pub(super) fn come_back(
    work: &mut Work,
    scene: &mut Scene,
    held: i64,
    updates: &BTreeSet<i64>,
    now: Timestamp,
) -> Result<bool, Failure> {
    let is_waiting = |place: &&Place| matches!(place.state, State::Waiting | State::Blocked) || place.id == held;
    let found = updates.iter().filter_map(|id| scene.find(*id)).filter(is_waiting).filter(|place| place.attempts == 0);
    let found: Vec<Update> =
        found.map(|place| Update { id: place.id, row: place.notification, mark: place.mark.clone() }).collect();
    let Some(newest) = coalescing::newest(&found) else { return Ok(true) };
    let mut fallen = Vec::new();
    for Update { id, .. } in found.into_iter().filter(|update| update.id != newest) {
        if give_way(work, scene, id, newest, now)? {
            fallen.push(id);
        }
    }
    for lead in fallen {
        after::tell(work, scene, lead, now)?;
    }
    Ok(newest == held)
}

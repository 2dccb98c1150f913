//! Takes deliveries away, less those that must stay for a reason.

use std::collections::{BTreeMap, BTreeSet};

use super::super::failure::Failure;
use super::super::session::{Cells, args, read};
use super::{Step, as_count};
use crate::delivery::State;
use crate::store::accounts;
use crate::store::pruning::{EARLIER_MAX, SUCCESSORS_MAX};

impl Step<'_> {
    /// Takes deliveries away that are held, and the notifications of which they were the last; whether it is finished.
    pub(super) async fn take_rows(&mut self, ids: &[i64]) -> Result<bool, Failure> {
        let mut going: BTreeSet<i64> = ids.iter().copied().collect();
        for staying in [self.standing_with_letters(ids).await?, self.followed(ids).await?, self.many_before(ids).await?]
        {
            going.retain(|id| !staying.contains(id));
        }
        let outdating: Vec<i64> = going.iter().copied().collect();
        for staying in self.outdate(&outdating).await? {
            going.remove(&staying);
        }
        let going: Vec<i64> = going.into_iter().collect();
        if going.is_empty() {
            return Ok(true);
        }
        if !self.take_attempts(&going).await? {
            // The last of them may just have gone; the next step finds none.
            return Ok(false);
        }
        self.work.session.query("DELETE FROM kept WHERE delivery = ANY($1)", args![INT8_ARRAY going]).await?;
        let sql = "WITH gone AS (DELETE FROM delivery WHERE id = ANY($1) RETURNING notification, way, state)
                   SELECT gone.notification, w.destination, gone.state FROM gone JOIN way w ON w.id = gone.way";
        let rows = self.work.session.query(sql, args![INT8_ARRAY going]).await?;
        let gone = read(&rows, |cells| Ok((cells.number()?, cells.number()?, cells.parsed::<State>()?)))?;
        for (_, destination, state) in &gone {
            self.work.accounts.post(accounts::pruned_delivery(*destination, *state));
        }
        self.pruned.deliveries += as_count(gone.len());
        let notifications: BTreeSet<i64> = gone.iter().map(|(notification, ..)| *notification).collect();
        self.take_notifications(&notifications.into_iter().collect::<Vec<_>>()).await?;
        Ok(true)
    }

    /// Those of which the last that took their place is a dead letter, or may become one: then both are shown together.
    async fn standing_with_letters(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        let sql = "SELECT k.id FROM unnest($1::bigint[]) k (id)
                   JOIN delivery d ON d.id = k.id AND d.state = 'superseded' AND d.superseded_by IS NOT NULL
                   CROSS JOIN LATERAL (
                       WITH RECURSIVE after (id, place) AS (
                           SELECT d.superseded_by, 1::bigint
                           UNION ALL SELECT n.superseded_by, after.place + 1 FROM after JOIN delivery n ON n.id = after.id
                           WHERE n.superseded_by IS NOT NULL AND after.place < $2
                       ) SELECT l.state FROM after JOIN delivery l ON l.id = after.id
                       ORDER BY after.place DESC LIMIT 1) last
                   WHERE last.state NOT IN ('delivered', 'superseded', 'discarded')";
        let rows = self.work.session.query(sql, args![INT8_ARRAY ids, INT8 SUCCESSORS_MAX]).await?;
        Ok(read(&rows, Cells::number)?.into_iter().collect())
    }

    /// Those whose answers another needs that comes after them: it may yet be sent.
    async fn followed(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        let sql = "SELECT d.id FROM delivery d WHERE d.id = ANY($1) AND d.has_followers AND EXISTS
                       (SELECT 1 FROM delivery f WHERE f.comes_after = d.id
                        AND f.state NOT IN ('delivered', 'superseded', 'discarded'))";
        let rows = self.work.session.query(sql, args![INT8_ARRAY ids]).await?;
        Ok(read(&rows, Cells::number)?.into_iter().collect())
    }

    /// Those that were delivered for a record with too many earlier notifications to look through.
    async fn many_before(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        let sql = "SELECT d.id FROM delivery d JOIN notification n ON n.id = d.notification
                   WHERE d.id = ANY($1) AND d.state = 'delivered' AND n.record_id <> ''
                   AND (SELECT count(*) FROM (SELECT 1 FROM notification b
                       WHERE left(b.record_id, 64) = left(n.record_id, 64) AND b.record_id = n.record_id
                       AND b.record_id <> '' AND b.id < n.id LIMIT $2) before) >= $2";
        let rows = self.work.session.query(sql, args![INT8_ARRAY ids, INT8 EARLIER_MAX]).await?;
        Ok(read(&rows, Cells::number)?.into_iter().collect())
    }

    /// Tells earlier deliveries of the record on the route, which wait or are dead, that a later state was delivered:
    /// whoever replays one must still be warned. Those stay of which an earlier one is at work.
    async fn outdate(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        let sql = "SELECT older.id, d.id FROM delivery d JOIN notification mine ON mine.id = d.notification
                   JOIN way w ON w.id = d.way
                   JOIN notification n ON left(n.record_id, 64) = left(mine.record_id, 64)
                       AND n.record_id = mine.record_id AND n.record_id <> '' AND n.organization = mine.organization
                       AND n.id <= mine.id
                   JOIN delivery older ON older.notification = n.id AND older.id < d.id
                       AND older.state NOT IN ('delivered', 'superseded', 'discarded')
                   JOIN way its ON its.id = older.way AND its.route = w.route
                   WHERE d.id = ANY($1) AND d.state = 'delivered'";
        let rows = self.work.session.query(sql, args![INT8_ARRAY ids]).await?;
        let pairs = read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?;
        if pairs.is_empty() {
            return Ok(BTreeSet::new());
        }
        let older: Vec<i64> = pairs.iter().map(|(older, _)| *older).collect();
        let sql = "SELECT id FROM delivery WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
        let rows = self.work.session.query(sql, args![INT8_ARRAY older]).await?;
        let held: BTreeSet<i64> = read(&rows, Cells::number)?.into_iter().collect();
        let staying: BTreeSet<i64> =
            pairs.iter().filter(|(older, _)| !held.contains(older)).map(|(_, id)| *id).collect();
        let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
        for (older, id) in pairs.into_iter().filter(|(older, _)| held.contains(older)) {
            let newer = newest.entry(older).or_insert(id);
            *newer = id.max(*newer);
        }
        let (older, newer): (Vec<i64>, Vec<i64>) = newest.into_iter().unzip();
        let sql = "UPDATE delivery d SET outdated_by = u.newer
                   FROM unnest($1::bigint[], $2::bigint[]) u (id, newer) WHERE d.id = u.id";
        self.work.session.query(sql, args![INT8_ARRAY older, INT8_ARRAY newer]).await?;
        Ok(staying)
    }
}

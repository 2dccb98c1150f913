//! Pruning, in steps so small that nobody waits for them.
//!
//! Settled deliveries are walked in the order in which they were settled, by an index that holds them by state and time;
//! how far each walk came is kept, so that a step reads only what it takes away. What must stay for a reason is passed by
//! and looked at again a day later. A notification goes with its last delivery, all its revisions at once, because its
//! rows are what a repeat is recognised by.
//!
//! Gateways take turns: a step begins with a lock that all of them share. Of everybody else it waits for nobody: where a
//! notification or a delivery is at work, the step ends before it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::locks::{self, Class, Keys};
use super::searched;
use super::session::{Cells, Session, args, read};
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::store::accounts::{self, Account};
use crate::store::foretold::{Dialect, Questions, Reach};
use crate::store::pruning::{self, AUDIT_MIN_MS, ENTRIES_AT_ONCE, Level, Mark, Walk, cutoff};
use crate::store::{Prunable, Prune, Pruned, Retention};

mod families;
mod rows;

/// Deliveries or notifications that are handled in one batch.
const BATCH: usize = 50;
/// Attempts that are handled at once.
const ATTEMPTS_AT_ONCE: i64 = 500;

/// The lock of whoever prunes.
const TURN: &str = "SELECT pg_advisory_xact_lock(-1869440886)::text";

/// The command.
pub(super) struct Pruning(pub(super) Prune);

impl Job for Pruning {
    type Done = Pruned;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Pruned, Failure>> {
        Box::pin(async move {
            work.session.query(TURN, &[]).await?;
            locks::enter(&mut work.session, locks::Gate::Shared, &Keys::default()).await?;
            let started = work.engine.machine.monotonic();
            let left = self.0.limit.max(1);
            let pruned = Pruned { can_shrink: true, ..Pruned::default() };
            let mut step = Step { work, prune: &self.0, started, left, pruned, moved: false };
            let done = step.run().await?;
            let Step { mut pruned, moved, .. } = step;
            pruned.done = done;
            work.idle = pruned.is_nothing() && !moved;
            Ok(pruned)
        })
    }
}

/// One step under way.
struct Step<'s> {
    work: &'s mut Work,
    prune: &'s Prune,
    started: Duration,
    left: usize,
    pruned: Pruned,
    /// Whether a walk came on.
    moved: bool,
}

impl Step<'_> {
    /// Whether everything was done that is to do now.
    async fn run(&mut self) -> Result<bool, Failure> {
        for (state, level, age) in pruning::levels(&self.prune.retention) {
            if !self.walk_deliveries(state, level, age).await? {
                return Ok(false);
            }
        }
        Ok(self.odd_notifications().await? && self.other_notifications().await? && self.entries().await?)
    }

    fn has_room(&self) -> bool {
        // Something is always done: a slow database must not keep every step from coming anywhere.
        let untouched = self.left == self.prune.limit.max(1);
        let in_time = || self.work.engine.machine.monotonic().saturating_sub(self.started) < self.prune.budget;
        self.left > 0 && (untouched || in_time())
    }

    fn spend(&mut self, things: usize) {
        self.left = self.left.saturating_sub(things);
    }

    fn cutoff(&self, age: Duration) -> i64 {
        cutoff(self.prune.now, age)
    }

    fn batch(&self) -> usize {
        self.left.clamp(1, BATCH)
    }

    /// Walks the settled deliveries of a state that are old enough; whether it came to the end.
    async fn walk_deliveries(&mut self, state: State, level: Level, age: Duration) -> Result<bool, Failure> {
        let walk = Walk::of_deliveries(state, level);
        let before = self.begin(&walk).await?;
        let mut mark = before;
        let cutoff = self.cutoff(age);
        let mut ended = false;
        while !ended && self.has_room() {
            let found = next_settled(self.work, state, mark, cutoff, self.batch()).await?;
            ended = found.is_empty();
            let free = self.hold(state, &found).await?;
            let (ids, is_cut) = (free.ids, free.is_cut);
            if !self.act(level, &ids).await? {
                self.keep(&walk, before, mark).await?;
                return Ok(false);
            }
            self.spend(free.passed);
            if let Some((at, id)) = free.passed.checked_sub(1).and_then(|last| found.get(last)) {
                mark = Mark { at: *at, id: *id, ..mark };
            }
            if is_cut {
                break;
            }
        }
        self.keep(&walk, before, mark).await?;
        Ok(ended)
    }

    /// Does what a level asks for; whether it is finished with these deliveries.
    async fn act(&mut self, level: Level, ids: &[i64]) -> Result<bool, Failure> {
        if ids.is_empty() {
            return Ok(true);
        }
        match level {
            Level::Payloads => self.take_payloads(ids).await,
            Level::Attempts => self.take_attempts(ids).await,
            Level::Rows => self.take_rows(ids).await,
        }
    }

    /// Sees to it that nobody changes some deliveries of a state meanwhile, nor what their notifications have.
    async fn hold(&mut self, state: State, found: &[(i64, i64)]) -> Result<Free, Failure> {
        if found.is_empty() {
            return Ok(Free::default());
        }
        let ids: Vec<i64> = found.iter().map(|(_, id)| *id).collect();
        let sql = "SELECT d.id, n.organization, n.notification_id FROM delivery d JOIN notification n ON n.id = d.notification
                   WHERE d.id = ANY($1)";
        let rows = self.work.session.query(sql, args![INT8_ARRAY ids]).await?;
        let keyed = read(&rows, |cells| {
            let id = cells.number()?;
            Ok((id, locks::key(cells.number()?, &cells.text()?)))
        })?;
        let keys: BTreeSet<i64> = keyed.iter().map(|(_, key)| *key).collect();
        let taken = locks::try_take(&mut self.work.session, Class::Notification, &keys).await?;
        let busy_keys: BTreeSet<i64> =
            keyed.iter().filter(|(_, key)| !taken.contains(key)).map(|(id, _)| *id).collect();
        let held = format!(
            "SELECT id FROM delivery WHERE id = ANY($1) AND state = '{}' AND NOT unsettled ORDER BY id
             FOR UPDATE SKIP LOCKED",
            state.as_str()
        );
        let rows = self.work.session.query(&held, args![INT8_ARRAY ids]).await?;
        let held: BTreeSet<i64> = read(&rows, Cells::number)?.into_iter().collect();
        let there =
            format!("SELECT id FROM delivery WHERE id = ANY($1) AND state = '{}' AND NOT unsettled", state.as_str());
        let rows = self.work.session.query(&there, args![INT8_ARRAY ids]).await?;
        let there: BTreeSet<i64> = read(&rows, Cells::number)?.into_iter().collect();
        let is_busy = |id: &i64| busy_keys.contains(id) || (there.contains(id) && !held.contains(id));
        let passed = ids.iter().take_while(|id| !is_busy(id)).count();
        let free = ids.iter().take(passed).filter(|id| held.contains(id)).copied().collect();
        Ok(Free { ids: free, passed, is_cut: passed < ids.len() })
    }

    async fn take_payloads(&mut self, ids: &[i64]) -> Result<bool, Failure> {
        let sql =
            "UPDATE attempt SET request = '', response = '', fault = NULL, request_cut = true, response_cut = true
                   WHERE lease = ANY(ARRAY(SELECT lease FROM attempt WHERE delivery = ANY($1) AND
                   (octet_length(request) > 0 OR octet_length(response) > 0 OR fault IS NOT NULL) LIMIT $2))
                   RETURNING lease";
        while !self.take_texts(sql, ids).await? {
            if !self.has_room() {
                return Ok(false);
            }
        }
        while !self.take_contents(ids).await? {
            if !self.has_room() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether all are gone.
    async fn take_texts(&mut self, sql: &str, ids: &[i64]) -> Result<bool, Failure> {
        let taken = self.work.session.query(sql, args![INT8_ARRAY ids, INT8 ATTEMPTS_AT_ONCE]).await?.len();
        self.pruned.payloads += as_count(taken);
        self.spend(taken);
        Ok(as_count(taken) < ATTEMPTS_AT_ONCE.unsigned_abs())
    }

    /// Takes away the records of all revisions that may not be sent any more and are not to be kept longer.
    async fn take_contents(&mut self, ids: &[i64]) -> Result<bool, Failure> {
        let retention = &self.prune.retention;
        let kinds = [retention.delivered, retention.superseded, retention.discarded].map(|kept| kept.payloads);
        let [delivered, superseded, discarded] = kinds.map(|age| age.map(|age| self.cutoff(age)));
        let unused = pruning::unused(retention).map(|age| self.cutoff(age));
        let sql = "UPDATE notification SET xml = '' WHERE id = ANY(ARRAY(
                SELECT DISTINCT other.id FROM delivery d JOIN notification n ON n.id = d.notification
                JOIN notification other ON other.notification_id = n.notification_id AND other.organization = n.organization
                LEFT JOIN envelope e ON e.id = other.envelope
                WHERE d.id = ANY($1) AND octet_length(other.xml) > 0
                AND NOT EXISTS (SELECT 1 FROM delivery x WHERE x.notification = other.id AND (x.unsettled OR NOT coalesce(
                    x.changed_at <= CASE x.state WHEN 'delivered' THEN $3::bigint WHEN 'superseded' THEN $4::bigint
                        WHEN 'discarded' THEN $5::bigint END, false)))
                AND (coalesce(e.received_at <= $6::bigint, false)
                    OR EXISTS (SELECT 1 FROM delivery x WHERE x.notification = other.id))
                LIMIT $2)) RETURNING id";
        let arguments = args![
            INT8_ARRAY ids, INT8 ATTEMPTS_AT_ONCE, INT8 delivered, INT8 superseded, INT8 discarded, INT8 unused,
        ];
        let rows = read(&self.work.session.query(sql, arguments).await?, Cells::number)?;
        searched::forget(&mut self.work.session, &rows).await?;
        self.pruned.payloads += as_count(rows.len());
        self.spend(rows.len());
        Ok(as_count(rows.len()) < ATTEMPTS_AT_ONCE.unsigned_abs())
    }

    /// Takes the attempts away; whether all are gone.
    async fn take_attempts(&mut self, ids: &[i64]) -> Result<bool, Failure> {
        loop {
            let sql = "WITH gone AS (
                           DELETE FROM attempt WHERE lease = ANY(ARRAY(
                               SELECT lease FROM attempt WHERE delivery = ANY($1) ORDER BY delivery, number LIMIT $2))
                           RETURNING delivery, outcome)
                       SELECT w.destination, count(*), count(*) FILTER (WHERE gone.outcome = 'unknown')
                       FROM gone JOIN delivery d ON d.id = gone.delivery JOIN way w ON w.id = d.way GROUP BY w.destination";
            let rows = self.work.session.query(sql, args![INT8_ARRAY ids, INT8 ATTEMPTS_AT_ONCE]).await?;
            let mut taken = 0;
            for (destination, count, unknown) in
                read(&rows, |cells| Ok((cells.number()?, cells.number()?, cells.number()?)))?
            {
                self.work.accounts.post(accounts::pruned_attempts(destination, count, unknown));
                taken += count;
            }
            self.pruned.attempts += taken.unsigned_abs();
            self.spend(usize::try_from(taken).unwrap_or(usize::MAX));
            if taken < ATTEMPTS_AT_ONCE {
                return Ok(true);
            }
            if !self.has_room() {
                return Ok(false);
            }
        }
    }

    /// Those that never had a delivery.
    async fn odd_notifications(&mut self) -> Result<bool, Failure> {
        for (kind, age) in pruning::odd(&self.prune.retention) {
            let Some(age) = age else { continue };
            // Kinds are written out, so that the index of the odd ones is used.
            if !self.walk_notifications(&Walk::of_odd(kind), &format!("n.kind = '{kind}' AND"), age).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Those whose last delivery went before they could go, and those without a record.
    async fn other_notifications(&mut self) -> Result<bool, Failure> {
        for (walk, age) in Walk::of_others(&self.prune.retention) {
            if !self.walk_notifications(&walk, "", age).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn walk_notifications(&mut self, walk: &Walk, which: &str, age: Duration) -> Result<bool, Failure> {
        let before = self.begin(walk).await?;
        let sql = format!(
            "SELECT n.id, e.received_at, n.organization, n.notification_id
             FROM notification n JOIN envelope e ON e.id = n.envelope WHERE {which} n.id > $1 ORDER BY n.id LIMIT $2"
        );
        let mut mark = before;
        let cutoff = self.cutoff(age);
        let mut ended = false;
        while !ended && self.has_room() {
            let limit = i64::try_from(self.batch()).unwrap_or(i64::MAX);
            let rows = self.work.session.query(&sql, args![INT8 mark.id, INT8 limit]).await?;
            let found = read(&rows, |cells| {
                let (id, received_at) = (cells.number()?, cells.number()?);
                Ok((id, received_at, locks::key(cells.number()?, &cells.text()?)))
            })?;
            let old = found.iter().take_while(|(_, received_at, _)| *received_at <= cutoff).count();
            ended = found.is_empty() || old < found.len();
            let keys: BTreeSet<i64> = found.iter().take(old).map(|(.., key)| *key).collect();
            let taken = locks::try_take(&mut self.work.session, Class::Notification, &keys).await?;
            let free: Vec<i64> =
                found.iter().take(old).take_while(|(.., key)| taken.contains(key)).map(|(id, ..)| *id).collect();
            self.take_notifications(&free).await?;
            self.spend(free.len());
            mark = Mark { id: free.last().copied().unwrap_or(mark.id), ..mark };
            if free.len() < old {
                ended = false;
                break;
            }
        }
        self.keep(walk, before, mark).await?;
        Ok(ended)
    }

    /// Entries of the audit log.
    async fn entries(&mut self) -> Result<bool, Failure> {
        let Some(age) = self.prune.retention.audit else { return Ok(true) };
        if !self.has_room() {
            return Ok(false);
        }
        let limit = self.left.min(ENTRIES_AT_ONCE);
        // Only from the front, so that what is left is one chain, which goes on from the last that went.
        let sql = "SELECT id, at < least($1, (SELECT at FROM audit ORDER BY id DESC LIMIT 1) - $2), hash FROM audit
                   ORDER BY id LIMIT $3";
        let arguments = args![INT8 self.cutoff(age), INT8 AUDIT_MIN_MS, INT8 i64::try_from(limit).unwrap_or(i64::MAX)];
        let rows = self.work.session.query(sql, arguments).await?;
        let first = read(&rows, |cells| Ok((cells.number()?, cells.next::<bool>()?, cells.maybe_text()?)))?;
        let Some((last, _, hash)) = first.into_iter().take_while(|(_, is_old, _)| *is_old).last() else {
            return Ok(true);
        };
        let taken =
            self.work.session.query("DELETE FROM audit WHERE id <= $1 RETURNING id", args![INT8 last]).await?.len();
        if let Some(hash) = hash {
            let sql = "UPDATE audit_chain SET anchor_entry = $1, anchor_hash = $2 WHERE id = 1";
            self.work.session.query(sql, args![INT8 last, TEXT hash.as_str()]).await?;
        }
        self.work.accounts.add(Account::pruned_entries(), i64::try_from(taken).unwrap_or(0));
        self.pruned.audit += as_count(taken);
        self.spend(taken);
        Ok(taken < limit)
    }

    /// Where a walk goes on.
    async fn begin(&mut self, walk: &Walk) -> Result<Mark, Failure> {
        Ok(walk.resumed(mark(&mut self.work.session, walk).await?, self.prune.now))
    }

    /// Keeps how far it came, unless it came nowhere.
    async fn keep(&mut self, walk: &Walk, before: Mark, mark: Mark) -> Result<(), Failure> {
        if before == mark {
            return Ok(());
        }
        self.moved = true;
        let sql = "INSERT INTO prune_walk (walk, at, id, begun_at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (walk) DO UPDATE SET at = excluded.at, id = excluded.id, begun_at = excluded.begun_at";
        let arguments = args![TEXT walk.name, INT8 mark.at, INT8 mark.id, INT8 mark.begun_at];
        self.work.session.query(sql, arguments).await.map(|_| ())
    }
}

/// What of a batch may be handled now.
#[derive(Debug, Default)]
struct Free {
    ids: Vec<i64>,
    /// So many of the batch, from its beginning, are over when these are: some of them need nothing.
    passed: usize,
    /// Whether one of the batch is at work.
    is_cut: bool,
}

/// The next settled deliveries of a state behind a mark that were settled by the cutoff: when, and their ids.
async fn next_settled(
    work: &mut Work,
    state: State,
    mark: Mark,
    cutoff: i64,
    limit: usize,
) -> Result<Vec<(i64, i64)>, Failure> {
    // The state is written out, and the condition a row's, so that the index is read from the mark on.
    let sql = format!(
        "SELECT changed_at, id FROM delivery WHERE NOT unsettled AND state = '{}' AND (changed_at, id) > ($1, $2)
         AND changed_at <= $3 ORDER BY state, changed_at, id LIMIT $4",
        state.as_str()
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = work.session.query(&sql, args![INT8 mark.at, INT8 mark.id, INT8 cutoff, INT8 limit]).await?;
    read(&rows, |cells| Ok((cells.number()?, cells.number()?)))
}

async fn mark(session: &mut Session, walk: &Walk) -> Result<Option<Mark>, Failure> {
    let rows = session.query("SELECT at, id, begun_at FROM prune_walk WHERE walk = $1", args![TEXT walk.name]).await?;
    let marks = read(&rows, |cells| Ok(Mark { at: cells.number()?, id: cells.number()?, begun_at: cells.number()? }))?;
    Ok(marks.first().copied())
}

fn as_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What pruning would find now.
pub(super) async fn prunable(
    session: &mut Session,
    retention: &Retention,
    now: Timestamp,
) -> Result<Prunable, Failure> {
    let mut found = Prunable { can_shrink: true, ..Prunable::default() };
    let asked = Questions::new(DIALECT, &reaches(session, retention, now).await?, retention, now);
    found.payloads =
        count(&session.query(&asked.texts, &[]).await?)? + count(&session.query(&asked.records, &[]).await?)?;
    found.attempts = count(&session.query(&asked.attempts, &[]).await?)?;
    found.deliveries = count(&session.query(&asked.deliveries, &[]).await?)?;
    for (kind, age) in pruning::odd(retention) {
        let Some(age) = age else { continue };
        // Kinds are written out, so that the index of the odd ones is used.
        let sql = format!(
            "SELECT count(*) FROM notification n JOIN envelope e ON e.id = n.envelope
             WHERE n.kind = '{kind}' AND e.received_at <= $1"
        );
        let cutoff = cutoff(now, age);
        found.notifications += count(&session.query(&sql, args![INT8 cutoff]).await?)?;
    }
    found.notifications += count_left(session, retention, now).await?;
    if let Some(age) = retention.audit {
        let sql =
            "SELECT count(*) FROM audit WHERE at < least($1, (SELECT at FROM audit ORDER BY id DESC LIMIT 1) - $2)";
        found.audit = count(&session.query(sql, args![INT8 cutoff(now, age), INT8 AUDIT_MIN_MS]).await?)?;
    }
    Ok(found)
}

const DIALECT: Dialect = Dialect {
    settled: "delivery d WHERE NOT d.unsettled",
    same_record: "left(b.record_id, 64) = left(n.record_id, 64) AND b.record_id = n.record_id AND b.record_id <> ''",
};

/// How far each walk over settled deliveries goes now. Rows are walked from the beginning, every day.
async fn reaches(session: &mut Session, retention: &Retention, now: Timestamp) -> Result<Vec<Reach>, Failure> {
    let mut reaches = Vec::new();
    for (state, level, age) in pruning::levels(retention) {
        let mark = match level {
            Level::Rows => None,
            Level::Payloads | Level::Attempts => mark(session, &Walk::of_deliveries(state, level)).await?,
        };
        reaches.push(Reach { state, level, mark: mark.unwrap_or_default(), cutoff: cutoff(now, age) });
    }
    Ok(reaches)
}

/// How many notifications are old enough whose deliveries are gone, or that never had a record.
async fn count_left(session: &mut Session, retention: &Retention, now: Timestamp) -> Result<u64, Failure> {
    let sql = pruning::left().replace('?', "$");
    let skipped = retention.skipped_empty.map_or(i64::MIN, |age| cutoff(now, age));
    let (mut found, mut below) = (0, i64::MAX);
    for (walk, age) in Walk::of_others(retention) {
        let Mark { id, .. } = walk.resumed(mark(session, &walk).await?, now);
        let values = args![INT8 id, INT8 cutoff(now, age), INT8 skipped, INT8 below];
        found += count(&session.query(&sql, values).await?)?;
        below = id.saturating_add(1);
    }
    Ok(found)
}

fn count(rows: &[tokio_postgres::Row]) -> Result<u64, Failure> {
    Ok(read(rows, Cells::number)?.first().map_or(0, |count| count.unsigned_abs()))
}

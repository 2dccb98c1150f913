//! When any gateway was last known to listen, and when none did.

use futures_util::future::BoxFuture;

use super::audit_log;
use super::failure::Failure;
use super::session::{Cells, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::store::days::{ABSENCE_MIN, Copied};
use crate::store::{Absence, By, Deed, StoreError};

/// How many absences are listed.
pub(super) const LIST_MAX: i64 = 100;
/// How many are kept.
const KEPT_MAX: i64 = 10_000;

const COLUMNS: &str = "id, since, until, acknowledged_at, acknowledged_by, restored";

/// A gateway listens; when none did until now, since when. All beat in one row: while one of them does, somebody listened.
/// The first on a copy takes its mark off.
pub(super) struct Beat(pub(super) Timestamp);

impl Job for Beat {
    type Done = Option<Absence>;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Option<Absence>, Failure>> {
        Box::pin(async move {
            let now = self.0;
            // Made first, so that two who come after a long time do not both find the absence.
            let sql = "INSERT INTO alive (id, at) VALUES (1, $1) ON CONFLICT DO NOTHING RETURNING id";
            if !work.session.query(sql, args![INT8 now.0]).await?.is_empty() {
                return Ok(None);
            }
            let rows = work.session.query("SELECT at, copied_at FROM alive WHERE id = 1 FOR UPDATE", &[]).await?;
            let before = read(&rows, |cells| Ok((cells.time()?, cells.maybe_time()?)))?.into_iter().next();
            let sql = "UPDATE alive SET at = $1, own = true, copied_at = NULL WHERE id = 1";
            work.session.query(sql, args![INT8 now.0]).await?;
            match before {
                Some((last, Some(at))) => {
                    let heard = heard(work, last, now).await?;
                    restored(work, Copied { at, heard }, now).await.map(Some)
                }
                Some((last, None)) if now.since(last) >= ABSENCE_MIN => {
                    let since = heard(work, last, now).await?;
                    absent(work, since, now).await
                }
                Some((_, None)) | None => Ok(None),
            }
        })
    }
}

/// What came in after the last heartbeat shows that somebody listened then.
async fn heard(work: &mut Work, last: Timestamp, now: Timestamp) -> Result<Timestamp, Failure> {
    let sql = "SELECT max(last_at) FROM source_heard WHERE day >= $1 AND last_at <= $2";
    let rows = work.session.query(sql, args![INT8 last.day().0, INT8 now.0]).await?;
    let heard = read(&rows, Cells::maybe_time)?.into_iter().flatten().next();
    Ok(heard.map_or(last, |heard| last.max(heard)))
}

async fn absent(work: &mut Work, since: Timestamp, now: Timestamp) -> Result<Option<Absence>, Failure> {
    if now.since(since) < ABSENCE_MIN {
        return Ok(None);
    }
    let before = absences(&mut work.session, 1).await?.pop().filter(|before| before.goes_on_at(since));
    if let Some(before) = before.as_ref().filter(|before| before.acknowledged_at.is_none()) {
        let sql = "UPDATE absence SET until = $2 WHERE id = $1";
        work.session.query(sql, args![INT8 before.id, INT8 now.0]).await?;
        return Ok(Some(Absence { until: now, ..before.clone() }));
    }
    let since = before.map_or(since, |before| before.since);
    keep(work, (since, now), false).await.map(Some)
}

/// Notes that this store is a copy that was put back.
async fn restored(work: &mut Work, copied: Copied, now: Timestamp) -> Result<Absence, Failure> {
    audit_log::write(work, &copied.deed(now)).await?;
    keep(work, (copied.since(now), now), true).await
}

async fn keep(work: &mut Work, (since, until): (Timestamp, Timestamp), restored: bool) -> Result<Absence, Failure> {
    let sql = "INSERT INTO absence (since, until, restored) VALUES ($1, $2, $3) RETURNING id";
    let rows = work.session.query(sql, args![INT8 since.0, INT8 until.0, BOOL restored]).await?;
    let id = read(&rows, Cells::number)?.first().copied().unwrap_or_default();
    let sql = "DELETE FROM absence WHERE id <= $1";
    work.session.query(sql, args![INT8 id.saturating_sub(KEPT_MAX)]).await?;
    Ok(Absence { id, since, until, acknowledged_at: None, acknowledged_by: None, restored })
}

/// The latest, newest first.
pub(super) async fn absences(session: &mut Session, limit: i64) -> Result<Vec<Absence>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM absence ORDER BY id DESC LIMIT $1");
    read(&session.query(&sql, args![INT8 limit]).await?, read_absence)
}

/// A person took note of one.
pub(super) struct Acknowledge {
    pub(super) absence: i64,
    pub(super) by: By,
    pub(super) now: Timestamp,
}

impl Job for Acknowledge {
    type Done = Absence;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Absence, Failure>> {
        Box::pin(async move {
            let id = self.absence;
            let sql = format!("SELECT {COLUMNS} FROM absence WHERE id = $1 FOR UPDATE");
            let rows = work.session.query(&sql, args![INT8 id]).await?;
            let Some(absence) = read(&rows, read_absence)?.into_iter().next() else {
                return Err(Failure::Rule(StoreError::NotFound(format!("absence {id}"))));
            };
            if let Some(at) = absence.acknowledged_at {
                let reason = format!("absence {id} was acknowledged at {at} already");
                return Err(Failure::Rule(StoreError::Conflict(reason)));
            }
            let sql = "UPDATE absence SET acknowledged_at = $2, acknowledged_by = $3 WHERE id = $1";
            let who = text::written(&self.by.who);
            work.session.query(sql, args![INT8 id, INT8 self.now.0, TEXT who]).await?;
            let deed = Deed {
                at: self.now,
                by: self.by.clone(),
                verb: "acknowledge".to_owned(),
                object: "absence",
                object_id: id.to_string(),
                count: 1,
                result: "done".to_owned(),
                ..Deed::default()
            };
            audit_log::write(work, &deed).await?;
            Ok(Absence { acknowledged_at: Some(self.now), acknowledged_by: Some(self.by.who.clone()), ..absence })
        })
    }
}

fn read_absence(cells: &mut Cells<'_>) -> Result<Absence, Failure> {
    Ok(Absence {
        id: cells.number()?,
        since: cells.time()?,
        until: cells.time()?,
        acknowledged_at: cells.maybe_time()?,
        acknowledged_by: cells.maybe_text()?,
        restored: cells.next()?,
    })
}

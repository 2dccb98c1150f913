//! The ledger by day, written with the counters and sharded as they are; and the silence of sources.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::session::{Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::clock::{Day, Timestamp};
use crate::store::ledger::{self, Counter};
use crate::store::{DayChange, DayFilter, DeliveryCounts, Gap, LedgerDay, LedgerDays, NotificationCounts, Silence};

/// Days whose shards are added up in one command.
const FOLDED_AT_ONCE: i64 = 8;

/// The accounts of one owner on one day.
#[derive(Debug, Default)]
struct Sheet {
    notifications: NotificationCounts,
    deliveries: DeliveryCounts,
    attempts: i64,
    attempts_unknown: i64,
}

/// The accounts of some days.
pub(super) async fn ledger_days(session: &mut Session, filter: DayFilter) -> Result<LedgerDays, Failure> {
    let all = filter.source.is_none() && filter.destination.is_none();
    let mut rows = Vec::new();
    for (kind, named) in [("source", &filter.source), ("destination", &filter.destination)] {
        if all || named.is_some() {
            rows.extend(rows_of(session, kind, &filter, named.as_deref()).await?);
        }
    }
    // Stable: on each day sources stay before destinations.
    rows.sort_by_key(|row| row.day);
    let found = session.query("SELECT min(day) FROM account_day", &[]).await?;
    let first = read(&found, |cells| cells.next::<Option<i64>>())?.into_iter().flatten().next();
    Ok(LedgerDays { first: first.map(Day), rows })
}

/// The rows of all sources or all destinations, or of the one that is named.
async fn rows_of(
    session: &mut Session,
    kind: &str,
    filter: &DayFilter,
    named: Option<&str>,
) -> Result<Vec<LedgerDay>, Failure> {
    let sql = "SELECT d.day, n.text, d.account, sum(d.value)::bigint FROM account_day d JOIN name n ON n.id = d.owner
               WHERE d.kind = $1 AND d.day BETWEEN $2 AND $3 AND ($4::text IS NULL OR n.text = $4)
               GROUP BY d.day, n.text, d.account";
    let arguments = args![TEXT kind, INT8 filter.from.0, INT8 filter.to.0, TEXT named.map(text::written)];
    let rows = session.query(sql, arguments).await?;
    let mut sheets: BTreeMap<(Day, String), Sheet> = BTreeMap::new();
    for (day, name, account, value) in
        read(&rows, |cells| Ok((cells.number()?, cells.text()?, cells.text()?, cells.number()?)))?
    {
        let sheet = sheets.entry((Day(day), name)).or_default();
        match (kind, account.as_str()) {
            ("source", account) => ledger::add_notifications(&mut sheet.notifications, account, value),
            (_, "attempts") => sheet.attempts += value,
            (_, "attempts_unknown") => sheet.attempts_unknown += value,
            (_, account) => ledger::add_deliveries(&mut sheet.deliveries, account, value),
        }
    }
    let row = |((day, name), sheet): ((Day, String), Sheet)| {
        let Sheet { notifications, deliveries, attempts, attempts_unknown } = sheet;
        let change = if kind == "source" {
            DayChange::Source { source: name, counts: notifications }
        } else {
            DayChange::Destination { destination: name, counts: deliveries, attempts, attempts_unknown }
        };
        LedgerDay { day, change }
    };
    Ok(sheets.into_iter().map(row).collect())
}

/// Each account's sum over all days: kind, owner, account, sum.
pub(super) async fn sums(session: &mut Session) -> Result<Vec<Counter>, Failure> {
    let sql = "SELECT d.kind, coalesce(n.text, '(unknown)'), d.account, d.value FROM
                   (SELECT kind, owner, account, sum(value)::bigint AS value FROM account_day
                    GROUP BY kind, owner, account) d
               LEFT JOIN name n ON n.id = d.owner";
    let rows = session.query(sql, &[]).await?;
    read(&rows, |cells| Ok((cells.text()?, cells.text()?, cells.text()?, cells.number()?)))
}

/// When each source was heard last, and its longest silence that ended on one of the days from `since`.
pub(super) async fn gaps(session: &mut Session, since: Day, to: Option<Day>) -> Result<Vec<Gap>, Failure> {
    let (end, last) = to.map_or((i64::MAX, i64::MAX), |to| (to.plus(1).start().0, to.0));
    // Of silences that begin with one moment the shortest is true: what ended it was not committed yet when the others
    // were noted.
    let sql = "SELECT n.text, l.last_at, longest.since, longest.until
               FROM (SELECT source, max(last_at) AS last_at FROM source_heard WHERE day <= $3 GROUP BY source) l
               JOIN name n ON n.id = l.source
               LEFT JOIN LATERAL (
                   SELECT s.silence_until - s.silence_ms AS since, min(s.silence_until) AS until FROM source_heard s
                   WHERE s.source = l.source AND s.silence_ms > 0 AND s.silence_until >= $1
                   AND s.silence_until < $2 GROUP BY 1
                   ORDER BY min(s.silence_until) - (s.silence_until - s.silence_ms) DESC, 2 DESC LIMIT 1) longest ON true";
    let rows = session.query(sql, args![INT8 since.start().0, INT8 end, INT8 last]).await?;
    let mut gaps = read(&rows, |cells| {
        let (source, last_envelope) = (cells.text()?, cells.time()?);
        let (since, until): (Option<Timestamp>, Option<Timestamp>) = (cells.maybe_time()?, cells.maybe_time()?);
        let longest = since.zip(until).map(|(since, until)| Silence { since, until });
        Ok(Gap { source, last_envelope, longest })
    })?;
    gaps.sort_by(|one, other| one.source.cmp(&other.source));
    Ok(gaps)
}

/// Adds up the shards of days that are over, so that a year is no more than its days. How many rows went.
pub(super) struct Fold {
    pub(super) before: Day,
}

impl Job for Fold {
    type Done = usize;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<usize, Failure>> {
        Box::pin(async move {
            let accounts = "WITH gone AS (
                    DELETE FROM account_day WHERE shard >= 0 AND day = ANY(ARRAY(
                        SELECT DISTINCT day FROM account_day WHERE shard >= 0 AND day < $1 ORDER BY day LIMIT $2))
                    RETURNING day, kind, owner, account, value),
                added AS (
                    INSERT INTO account_day (day, kind, owner, account, shard, value)
                    SELECT day, kind, owner, account, -1, sum(value)::bigint FROM gone
                    GROUP BY day, kind, owner, account ORDER BY 1, 2, 3, 4
                    ON CONFLICT (day, kind, owner, account, shard)
                        DO UPDATE SET value = account_day.value + excluded.value)
                SELECT 1 FROM gone";
            let heard = "WITH gone AS (
                    DELETE FROM source_heard WHERE shard >= 0 AND day = ANY(ARRAY(
                        SELECT DISTINCT day FROM source_heard WHERE shard >= 0 AND day < $1 ORDER BY day LIMIT $2))
                    RETURNING source, day, last_at, silence_ms, silence_until),
                added AS (
                    INSERT INTO source_heard (source, day, shard, last_at, silence_ms, silence_until)
                    SELECT DISTINCT ON (source, day) source, day, -1, max(last_at) OVER (PARTITION BY source, day),
                        silence_ms, silence_until FROM gone ORDER BY source, day, silence_ms DESC
                    ON CONFLICT (source, day, shard) DO UPDATE SET
                        last_at = greatest(source_heard.last_at, excluded.last_at),
                        silence_until = CASE WHEN excluded.silence_ms > source_heard.silence_ms
                            THEN excluded.silence_until ELSE source_heard.silence_until END,
                        silence_ms = greatest(source_heard.silence_ms, excluded.silence_ms))
                SELECT 1 FROM gone";
            let mut gone = 0;
            for sql in [accounts, heard] {
                gone += work.session.query(sql, args![INT8 self.before.0, INT8 FOLDED_AT_ONCE]).await?.len();
            }
            work.idle = gone == 0;
            Ok(gone)
        })
    }
}

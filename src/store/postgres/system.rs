//! What holds for a system whichever gateway calls it: pause, breaker, calls at once, calls per time, open time.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::audit_log;
use super::failure::Failure;
use super::names::Wanted;
use super::session::{Cells, args};
use super::text;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::store::names::Kind;
use crate::store::{Claim, Claimed, Deed, Outage, Pause, SystemState};

/// While other gateways have all the calls, one looks again after this long, unless it is told.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How a system stands, and what a claim may take of it.
pub(super) struct Standing {
    pub(super) state: SystemState,
    /// So many calls may begin.
    pub(super) may: usize,
    /// When none may: when to look again; none: when its state changes.
    pub(super) again_in: Option<Duration>,
}

const STATE: &str =
    "coalesce((SELECT max(active_ms) FROM system_active a WHERE a.system = s.name), 0), s.paused_reason,
    s.paused_since, s.paused_until, s.probe_at, s.broken_reason, s.broken_since, s.broken_probe_at, s.broken_trips";

fn read_state(cells: &mut Cells<'_>) -> Result<SystemState, Failure> {
    let active_ms = cells.number()?;
    let (paused, since) = (cells.maybe_text()?, cells.maybe_time()?);
    let (until, probe_at) = (cells.maybe_time()?, cells.maybe_time()?);
    let (broken, broken_since) = (cells.maybe_text()?, cells.maybe_time()?);
    let (broken_probe_at, trips) = (cells.maybe_time()?, cells.next::<Option<i64>>()?);
    let outage = |(reason, since): (String, Timestamp)| Outage {
        reason,
        since,
        probe_at: broken_probe_at.unwrap_or(since),
        trips: trips.and_then(|trips| u32::try_from(trips).ok()).unwrap_or(1),
    };
    Ok(SystemState {
        active_ms,
        paused: paused.zip(since).map(|(reason, since)| Pause { reason, since, until, probe_at }),
        breaker: broken.zip(broken_since).map(outage),
        next_call: None,
    })
}

/// Locks the system's row, and works out what a claim may take.
pub(super) async fn enter(work: &mut Work, system: i64, claim: &Claim) -> Result<Standing, Failure> {
    let bounds = &claim.bounds;
    let lock = "INSERT INTO system (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
    let rate = bounds.rate.as_ref();
    let (per_call, burst) = rate.map_or((0.0, 1.0), |rate| (rate.per_call.as_secs_f64(), f64::from(rate.burst)));
    let ask = format!(
        "SELECT {STATE}, coalesce(s.probing_until > clock_timestamp(), false),
             (SELECT count(*) FROM delivery d WHERE d.system = s.name AND d.state = 'in_flight'),
             CASE WHEN $2 > 0 THEN
                 extract(epoch FROM ({NEXT_CALL}) - clock_timestamp())::float8
             ELSE -1 END
         FROM system s WHERE s.name = $1 FOR NO KEY UPDATE OF s"
    );
    let mut rows = work.session.query(&ask, args![INT8 system, FLOAT8 per_call, FLOAT8 burst]).await?;
    if rows.is_empty() {
        work.session.query(lock, args![INT8 system]).await?;
        rows = work.session.query(&ask, args![INT8 system, FLOAT8 per_call, FLOAT8 burst]).await?;
    }
    let Some(row) = rows.first() else { return Err(Failure::Again("the system's row is not there yet".to_owned())) };
    let mut cells = Cells::of(row);
    let state = read_state(&mut cells)?;
    let (probing, under_way): (bool, i64) = (cells.next()?, cells.number()?);
    let wait: Option<f64> = cells.next()?;
    Ok(judge(claim, state, probing, usize::try_from(under_way).unwrap_or(usize::MAX), wait.unwrap_or(-1.0)))
}

/// `wait` is how many seconds ahead the next call would be on time; below zero: so long ago.
fn judge(claim: &Claim, state: SystemState, probing: bool, under_way: usize, wait: f64) -> Standing {
    // Whoever knows of it claims as a probe, and not before its time; what lies further ahead than any probe is put off was
    // written before the clock was set back, and whoever claims has seen to that.
    let is_time = |at: Timestamp, within: Duration| at <= claim.now || at > claim.now.plus(within);
    let lets = |at, within| claim.bounds.probe && is_time(at, within) && !probing;
    let lets_pause = |pause: &Pause| pause.probe_at.is_some_and(|at| lets(at, pause.probe_within(at)));
    let lets_outage = |outage: &Outage| lets(outage.probe_at, claim.bounds.probe_within);
    let is_over = |pause: &Pause| pause.until.is_some_and(|until| until <= claim.now);
    let paused = state.paused.as_ref().filter(|pause| !is_over(pause));
    let open = match (paused, &state.breaker) {
        (Some(Pause { probe_at: None, .. }), _) => false,
        (Some(pause), None) => lets_pause(pause),
        (Some(pause), Some(outage)) => lets_pause(pause) && lets_outage(outage),
        (None, Some(outage)) => lets_outage(outage),
        (None, None) => true,
    };
    let free = claim.bounds.concurrency.saturating_sub(under_way);
    let by_rate = match &claim.bounds.rate {
        None => usize::MAX,
        Some(_) if wait > 0.0 => 0,
        // What is on time is the first; each further one by which the time before it exceeds the distance of two.
        Some(rate) => 1 + (-wait / rate.per_call.as_secs_f64().max(1e-9)).min(1e6) as usize,
    };
    let may = if open { free.min(by_rate) } else { 0 };
    let again_in = match (open, free, by_rate) {
        (true, _, 0) => Some(Duration::from_secs_f64(wait.clamp(0.001, 3_600.0))),
        (_, _, _) => Some(LOOK_AGAIN),
    };
    Standing { state, may, again_in }
}

/// When the next call is on time: `$2` from call to call, `$3` at once after a quiet time. A rate that was raised, or a clock
/// that was set back, does not put it off.
const NEXT_CALL: &str =
    "CASE WHEN s.next_call > clock_timestamp() + make_interval(secs => $2 * ($3 * 2 + 1)) THEN clock_timestamp()
    ELSE greatest(s.next_call, clock_timestamp() - make_interval(secs => $2 * ($3 - 1))) END";

/// Notes that calls begin: for the rate, and that a probe is under way.
pub(super) async fn spend(work: &mut Work, system: i64, claim: &Claim, claimed: &[&Claimed]) -> Result<(), Failure> {
    let bounds = &claim.bounds;
    let calls: usize = claimed.iter().map(|claimed| claimed.calls(bounds)).sum();
    let (per_call, burst) =
        bounds.rate.as_ref().map_or((0.0, 1.0), |rate| (rate.per_call.as_secs_f64(), f64::from(rate.burst)));
    if per_call == 0.0 && !bounds.probe {
        return Ok(());
    }
    let sql = format!(
        "UPDATE system s SET
             next_call = CASE WHEN $2 > 0 THEN ({NEXT_CALL}) + make_interval(secs => $2 * $4) ELSE next_call END,
             probing_until = CASE WHEN $5 THEN clock_timestamp() + make_interval(secs => $6) ELSE probing_until END
         WHERE name = $1"
    );
    let calls = u32::try_from(calls).map_or(f64::MAX, f64::from);
    let arguments = args![
        INT8 system, FLOAT8 per_call, FLOAT8 burst, FLOAT8 calls, BOOL bounds.probe, FLOAT8 bounds.lease.as_secs_f64(),
    ];
    work.session.query(&sql, arguments).await.map(|_| ())
}

/// The durable state of a system; none when it was never seen.
pub(super) struct Ask(pub(super) String);

impl Ask {
    pub(super) async fn answer(&self, session: &mut super::session::Session) -> Result<SystemState, Failure> {
        let sql = format!(
            "SELECT {STATE} FROM (SELECT n.id AS name, p.paused_reason, p.paused_since, p.paused_until, p.probe_at,
                 p.broken_reason, p.broken_since, p.broken_probe_at, p.broken_trips
             FROM name n LEFT JOIN system p ON p.name = n.id WHERE n.kind = 'system' AND n.text = $1) s"
        );
        let rows = session.query(&sql, args![TEXT text::written(&self.0)]).await?;
        rows.first().map_or_else(|| Ok(SystemState::default()), |row| read_state(&mut Cells::of(row)))
    }
}

/// Writes a system's state. With `from`, only if the state that stands is still that one, its open time apart: two
/// gateways do not undo what the other did. The state that stands then.
pub(super) struct Turn {
    pub(super) system: String,
    pub(super) from: Option<SystemState>,
    pub(super) to: SystemState,
    /// The entry in the audit log, where a person wants it so.
    pub(super) deed: Option<Deed>,
}

impl Job for Turn {
    type Done = SystemState;

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.name(Kind::System, &self.system);
        wanted
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<SystemState, Failure>> {
        Box::pin(async move {
            let system = work.names.number(Kind::System, &self.system)?;
            let insert = "INSERT INTO system (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
            work.session.query(insert, args![INT8 system]).await?;
            let ask = format!("SELECT {STATE} FROM system s WHERE s.name = $1 FOR NO KEY UPDATE OF s");
            let rows = work.session.query(&ask, args![INT8 system]).await?;
            let missing = || Failure::Again("the system's row is not there yet".to_owned());
            let standing = read_state(&mut Cells::of(rows.first().ok_or_else(missing)?))?;
            keep_active(work, system, self.to.active_ms).await?;
            let active_ms = standing.active_ms.max(self.to.active_ms);
            let same = |from: &SystemState| from.paused == standing.paused && from.breaker == standing.breaker;
            if !self.from.as_ref().is_none_or(same) {
                return Ok(SystemState { active_ms, ..standing });
            }
            if self.to.paused != standing.paused || self.to.breaker != standing.breaker {
                work.turned.push(self.system.clone());
            }
            self.write(work, system).await?;
            if let Some(deed) = &self.deed {
                audit_log::write(work, deed).await?;
            }
            Ok(SystemState { active_ms, ..self.to.clone() })
        })
    }
}

impl Turn {
    async fn write(&self, work: &mut Work, system: i64) -> Result<(), Failure> {
        let (pause, outage) = (self.to.paused.as_ref(), self.to.breaker.as_ref());
        let sql = "UPDATE system SET paused_reason = $2, paused_since = $3, paused_until = $4, probe_at = $5,
                       broken_reason = $6, broken_since = $7, broken_probe_at = $8, broken_trips = $9,
                       probing_until = NULL WHERE name = $1";
        let arguments = args![
            INT8 system,
            TEXT pause.map(|pause| text::written(&pause.reason)),
            INT8 pause.map(|pause| pause.since.0),
            INT8 pause.and_then(|pause| pause.until).map(|until| until.0),
            INT8 pause.and_then(|pause| pause.probe_at).map(|probe_at| probe_at.0),
            TEXT outage.map(|outage| text::written(&outage.reason)),
            INT8 outage.map(|outage| outage.since.0),
            INT8 outage.map(|outage| outage.probe_at.0),
            INT8 outage.map(|outage| i64::from(outage.trips)),
        ];
        work.session.query(sql, arguments).await.map(|_| ())
    }
}

async fn keep_active(work: &mut Work, system: i64, active_ms: i64) -> Result<(), Failure> {
    let sql = "INSERT INTO system_active (system, shard, active_ms) VALUES ($1, pg_backend_pid() % 32, $2)
               ON CONFLICT (system, shard) DO UPDATE SET active_ms = excluded.active_ms
               WHERE system_active.active_ms < excluded.active_ms";
    work.session.query(sql, args![INT8 system, INT8 active_ms]).await.map(|_| ())
}

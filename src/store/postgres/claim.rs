//! Leases the next eligible deliveries of a system.
//!
//! Claims of one system go one by one, behind the system's row: there stands what holds for all gateways, whatever each of
//! them believes. Nobody waits for a delivery that another is moving: it is passed by.

use futures_util::future::BoxFuture;
use tokio_postgres::Row;

use super::after;
use super::failure::Failure;
use super::kept;
use super::names::Wanted;
use super::session::{Cells, args, read};
use super::settle;
use super::system;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::delivery::{ConfigVersion, DeliveryId, Lease, State};
use crate::stale::Mark;
use crate::store::accounts;
use crate::store::attempt::LOOKING_UP;
use crate::store::names::Kind;
use crate::store::turn::Turn;
use crate::store::{self, Claim, Claimed, Claims, StoreError, StoredNotification};

/// No claim takes more than this, whatever it asks for.
const CLAIM_MAX: usize = 1_000;
/// When nothing may go because other gateways have all the calls, or all that is due is being moved: look again then.
const SOON_MS: i64 = 100;

/// What the rows of a claim hold besides.
struct Taken {
    claimed: Claimed,
    organization: i64,
    destination: i64,
}

/// One that has nothing to carry, and why.
struct Empty {
    delivery: i64,
    destination: i64,
    reason: String,
}

/// One row of a claim.
enum Found {
    Whole(Box<Taken>),
    Empty(Empty),
}

impl Job for Claim {
    type Done = Claims;

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.name(Kind::System, &self.system);
        wanted
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Claims, Failure>> {
        Box::pin(async move {
            let number = work.names.number(Kind::System, &self.system)?;
            let standing = system::enter(work, number, self).await?;
            let state = Some(standing.state.clone());
            let limit = self.limit.min(CLAIM_MAX).min(standing.may);
            if limit == 0 {
                work.idle = true;
                let next_due = standing.again_in.map(|wait| self.now.plus(wait));
                return Ok(Claims { claimed: Vec::new(), next_due, state });
            }
            let found = take(work, number, self, limit).await?;
            let full = found.len() >= limit;
            let next_due = if full { None } else { next_due(work, number, self).await? };
            if found.is_empty() {
                work.idle = true;
                return Ok(Claims { claimed: Vec::new(), next_due, state });
            }
            let (taken, mut empty) = part(found);
            let taken = with_answers(work, taken, &mut empty).await?;
            system::spend(work, number, self, &taken.iter().map(|taken| &taken.claimed).collect::<Vec<_>>()).await?;
            work.accounts.at(self.now);
            for taken in &taken {
                work.accounts.post(accounts::begun(taken.destination));
            }
            let had_empty = !empty.is_empty();
            if had_empty {
                bury(work, &empty, self.now).await?;
            }
            let claimed = with_stale_marks(work, taken).await?;
            // Something had to be put aside: there may be more that is due.
            let next_due = if had_empty { Some(self.now) } else { next_due };
            Ok(Claims { claimed, next_due, state })
        })
    }
}

/// The ways that may be served now.
const WAYS: &str = "SELECT w.id FROM way w JOIN name r ON r.id = w.route JOIN name t ON t.id = w.destination
    WHERE w.system = $1 AND r.text = ANY($2) AND t.text = ANY($3)";

/// Takes the lowest due of all ways that may be served, begins their attempts, and reads what they carry.
///
/// Each way is a run of its own in the index of what is due, so nothing is read that is not eligible: at most `limit`
/// entries of each way.
async fn take(work: &mut Work, system: i64, claim: &Claim, limit: usize) -> Result<Vec<Found>, Failure> {
    // What fell due last comes first where the claim asks for that.
    let order = if claim.newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "WITH due AS MATERIALIZED (
             SELECT c.id, c.due_at FROM ({WAYS}) w CROSS JOIN LATERAL
                 (SELECT d.id, d.due_at FROM delivery d WHERE d.way = w.id AND d.state = 'waiting' AND d.due_at <= $4
                  ORDER BY d.way {order}, d.due_at {order}, d.id {order} LIMIT $5) c
             ORDER BY c.due_at {order}, c.id {order} LIMIT $5),
         taken AS MATERIALIZED (
             SELECT d.id, d.due_at, d.notification FROM delivery d
             WHERE d.id = ANY(ARRAY(SELECT id FROM due)) AND d.state = 'waiting' FOR UPDATE SKIP LOCKED),
         leased AS (
             UPDATE delivery d SET state = 'in_flight', due_at = NULL, lease = nextval('lease_id'),
                 lease_until = clock_timestamp() + make_interval(secs => $6), holder = $7, attempts = d.attempts + 1,
                 first_attempt_active_ms = coalesce(d.first_attempt_active_ms, $8), changed_at = $4
             FROM taken WHERE d.id = taken.id
             RETURNING d.*, taken.due_at AS was_due_at),
         begun AS (
             INSERT INTO attempt (lease, delivery, number, config_version, started_at, reason)
             SELECT l.lease, l.id, l.attempts, coalesce(l.same_bytes_as, l.as_it_was, $9), $4,
                 CASE WHEN l.same_bytes_as IS NOT NULL AND r.text = ANY($10) THEN $11 END
             FROM leased l JOIN way w ON w.id = l.way JOIN name r ON r.id = w.route)
         SELECT l.id, l.notification, w.destination, w.route, n.organization, l.lease, l.attempts, l.excused, r.text,
             t.text, l.lane, l.first_attempt_active_ms, l.repeat_key, l.repeat_count, l.same_bytes_as, l.even_if_newer,
             e.id, n.notification_id, n.revision, s.text, e.organization_id, e.action_id, e.enterprise_url,
             e.partner_url, e.received_at, n.record_type, n.record_id, n.xml,
             l.comes_after IS NOT NULL, l.replay_of, l.as_it_was
         FROM leased l JOIN way w ON w.id = l.way JOIN name r ON r.id = w.route JOIN name t ON t.id = w.destination
         LEFT JOIN notification n ON n.id = l.notification LEFT JOIN envelope e ON e.id = n.envelope
         LEFT JOIN name s ON s.id = n.source
         ORDER BY l.was_due_at {order}, l.id {order}"
    );
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let arguments = args![
        INT8 system,
        TEXT_ARRAY claim.routes,
        TEXT_ARRAY claim.destinations,
        INT8 claim.now.0,
        INT8 most,
        FLOAT8 claim.bounds.lease.as_secs_f64(),
        INT8 work.engine.holder,
        INT8 claim.active_ms,
        INT8 claim.config_version.0,
        TEXT_ARRAY claim.bounds.looked_up,
        TEXT LOOKING_UP,
    ];
    let rows = work.session.query(&sql, arguments).await?;
    rows.iter().map(|row| found(row, claim)).collect()
}

fn found(row: &Row, claim: &Claim) -> Result<Found, Failure> {
    let mut cells = Cells::of(row);
    let (delivery, notification, destination) = (cells.number()?, cells.number()?, cells.number()?);
    let (route, organization): (i64, Option<i64>) = (cells.number()?, cells.next()?);
    let (lease, attempt, excused) = (cells.number()?, cells.count()?, cells.count()?);
    let (route_name, destination_name) = (cells.text()?, cells.text()?);
    let (lane, first_attempt_active_ms) = (cells.maybe_text()?, cells.number()?);
    let (repeat_key, repeat_count) = (cells.maybe_text()?, cells.count()?);
    let (same_bytes_as, even_if_newer): (Option<i64>, bool) = (cells.next()?, cells.next()?);
    let envelope: Option<i64> = cells.next()?;
    let (Some(organization), Some(envelope)) = (organization, envelope) else {
        let reason = format!("its notification (row {notification}) or envelope is missing from the store");
        return Ok(Found::Empty(Empty { delivery, destination, reason }));
    };
    let mut claimed = Claimed {
        delivery: DeliveryId(delivery),
        lease: Lease(lease),
        attempt,
        excused,
        route: route_name,
        destination: destination_name,
        system: claim.system.clone(),
        lane,
        notification: StoredNotification {
            row: notification,
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
            xml: cells.text()?,
        },
        envelope,
        first_attempt_active_ms,
        repeat: repeat_key.map(|key| (key, repeat_count)),
        same_bytes_as: same_bytes_as.map(ConfigVersion),
        stale_mark: None,
        even_if_newer,
        comes_after: false,
        after: Default::default(),
        as_it_was: None,
        replay_of: None,
        unreadable: None,
    };
    if claimed.notification.is_pruned() {
        let reason =
            format!("its record was pruned from the store: {} came too long ago", claimed.notification.notification_id);
        return Ok(Found::Empty(Empty { delivery, destination, reason }));
    }
    let _ = route;
    claimed.comes_after = cells.next()?;
    claimed.replay_of = cells.next::<Option<i64>>()?.map(DeliveryId);
    claimed.as_it_was = cells.next::<Option<i64>>()?.map(ConfigVersion);
    Ok(Found::Whole(Box::new(Taken { claimed, organization, destination })))
}

fn part(found: Vec<Found>) -> (Vec<Taken>, Vec<Empty>) {
    let (mut whole, mut empty) = (Vec::with_capacity(found.len()), Vec::new());
    for found in found {
        match found {
            Found::Whole(taken) => whole.push(*taken),
            Found::Empty(nothing) => empty.push(nothing),
        }
    }
    (whole, empty)
}

/// Adds what those kept that they come after; where one of those is missing, there is nothing to make a call of.
async fn with_answers(work: &mut Work, taken: Vec<Taken>, empty: &mut Vec<Empty>) -> Result<Vec<Taken>, Failure> {
    let followers = taken.iter().filter(|taken| taken.claimed.comes_after).map(|taken| taken.claimed.delivery.0);
    let followers: Vec<i64> = followers.collect();
    let mut chains = kept::of_chains(&mut work.session, &followers).await?;
    let mut whole = Vec::with_capacity(taken.len());
    for mut taken in taken {
        let delivery = taken.claimed.delivery.0;
        match chains.remove(&delivery) {
            Some(Err(reason)) => {
                empty.push(Empty { delivery, destination: taken.destination, reason });
                continue;
            }
            Some(Ok(kept)) => taken.claimed.after = kept,
            None => {}
        }
        whole.push(taken);
    }
    Ok(whole)
}

/// When the next delivery falls due that this claim could take.
async fn next_due(work: &mut Work, system: i64, claim: &Claim) -> Result<Option<Timestamp>, Failure> {
    let sql = format!(
        "SELECT min(c.due_at) FROM ({WAYS}) w CROSS JOIN LATERAL
             (SELECT d.due_at FROM delivery d WHERE d.way = w.id AND d.state = 'waiting'
              ORDER BY d.way, d.due_at, d.id LIMIT 1) c"
    );
    let arguments = args![INT8 system, TEXT_ARRAY claim.routes, TEXT_ARRAY claim.destinations];
    let rows = work.session.query(&sql, arguments).await?;
    let next = read(&rows, Cells::maybe_time)?.into_iter().flatten().next();
    // What is due and was not taken is being moved by another.
    Ok(next.map(|due| due.max(Timestamp(claim.now.0.saturating_add(if due <= claim.now { SOON_MS } else { 0 })))))
}

/// A row that was removed by hand or by damage must not stop its whole system.
async fn bury(work: &mut Work, empty: &[Empty], now: Timestamp) -> Result<(), Failure> {
    let deliveries: Vec<i64> = empty.iter().map(|empty| empty.delivery).collect();
    let mut scene = after::load(work, &deliveries).await?;
    work.session
        .query("DELETE FROM attempt WHERE delivery = ANY($1) AND outcome IS NULL", args![INT8_ARRAY deliveries])
        .await?;
    for Empty { delivery, destination, reason } in empty {
        work.accounts.post(accounts::turned(*destination, State::Waiting, State::InFlight));
        let turn = Turn { to: State::Dead, due_at: None, unsettled: false, reason: Some(reason), at: now };
        scene.turn(work, *delivery, turn)?;
        let place = scene.change(*delivery)?;
        place.attempts -= 1;
        let lane = place.lane_key;
        scene.promote(work, lane, now)?;
        after::tell(work, &mut scene, *delivery, now)?;
    }
    scene.write(work).await
}

/// Adds what was last delivered for each record on its route.
async fn with_stale_marks(work: &mut Work, taken: Vec<Taken>) -> Result<Vec<Claimed>, Failure> {
    let marked = |taken: &&Taken| !taken.claimed.notification.record_id.is_empty();
    let asked: Vec<&Taken> = taken.iter().filter(marked).collect();
    let deliveries: Vec<i64> = asked.iter().map(|taken| taken.claimed.delivery.0).collect();
    let organizations: Vec<i64> = asked.iter().map(|taken| taken.organization).collect();
    let keys: Vec<Vec<u8>> =
        asked.iter().map(|taken| settle::record_key(&taken.claimed.notification.record_id)).collect();
    let sql = "SELECT k.delivery, m.field, m.value FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) k (delivery, organization, key)
               JOIN delivery d ON d.id = k.delivery JOIN way w ON w.id = d.way
               JOIN stale_mark m ON m.route = w.route AND m.organization = k.organization AND m.record_key = k.key";
    let rows =
        work.session.query(sql, args![INT8_ARRAY deliveries, INT8_ARRAY organizations, BYTEA_ARRAY keys]).await?;
    let mark = |cells: &mut Cells<'_>| Ok((cells.number()?, Mark { field: cells.maybe_text()?, value: cells.text()? }));
    let mut marks: std::collections::HashMap<i64, Mark> = read(&rows, mark)?.into_iter().collect();
    let with_mark = |taken: Taken| {
        let stale_mark = marks.remove(&taken.claimed.delivery.0);
        Claimed { stale_mark, ..taken.claimed }
    };
    Ok(taken.into_iter().map(with_mark).collect())
}

/// The look-up before a call is over, and the call begins.
pub(super) struct BeginCall {
    pub(super) delivery: DeliveryId,
    pub(super) lease: Lease,
}

impl Job for BeginCall {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let sql = "WITH leased AS MATERIALIZED (
                           SELECT lease FROM delivery WHERE id = $1 AND lease = $2 AND state = 'in_flight' FOR UPDATE)
                       UPDATE attempt a SET reason = NULL FROM leased l WHERE a.lease = l.lease RETURNING a.lease";
            let begun = work.session.query(sql, args![INT8 self.delivery.0, INT8 self.lease.0]).await?;
            if begun.is_empty() { Err(Failure::Rule(StoreError::LeaseLost)) } else { Ok(()) }
        })
    }
}

/// Books a leased delivery on another way of its system.
pub(super) struct Redirect {
    pub(super) delivery: DeliveryId,
    pub(super) lease: Lease,
    pub(super) way: store::Way,
    pub(super) now: Timestamp,
}

impl Job for Redirect {
    type Done = ();

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        let store::Way { route, destination, system } = &self.way;
        wanted.way_to([route.clone(), destination.clone(), system.clone()]);
        wanted
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let id = self.delivery.0;
            let to = work.names.way_to([&self.way.route, &self.way.destination, &self.way.system])?;
            let sql = "WITH leased AS MATERIALIZED (
                           SELECT id, way FROM delivery WHERE id = $1 AND lease = $2 AND state = 'in_flight' FOR UPDATE)
                       SELECT w.route, w.destination, w.system,
                           (SELECT count(*) FROM attempt a WHERE a.delivery = l.id),
                           (SELECT count(*) FROM attempt a WHERE a.delivery = l.id AND a.outcome = 'unknown')
                       FROM leased l JOIN way w ON w.id = l.way";
            let rows = work.session.query(sql, args![INT8 id, INT8 self.lease.0]).await?;
            let found = read(&rows, |cells| {
                let way = (cells.number()?, cells.number()?, cells.number()?);
                Ok((way, cells.number()?, cells.number()?))
            })?;
            let lost = || Failure::Rule(StoreError::LeaseLost);
            let ((route, from, system), attempts, unknown) = found.into_iter().next().ok_or_else(lost)?;
            if (route, system) != (to.route, to.system) {
                let rule = format!("delivery {id} cannot leave its route and its system");
                return Err(Failure::Rule(StoreError::Refused(rule)));
            }
            work.session.query("UPDATE delivery SET way = $2 WHERE id = $1", args![INT8 id, INT8 to.id]).await?;
            work.accounts.at(self.now);
            work.accounts.post(accounts::redirected(from, to.destination, attempts, unknown));
            Ok(())
        })
    }
}

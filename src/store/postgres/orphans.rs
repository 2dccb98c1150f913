//! What is left of ways that nothing serves any more: how much, and its end in small steps.

use futures_util::future::BoxFuture;

use super::after;
use super::audit_log;
use super::change;
use super::failure::Failure;
use super::lane::Place;
use super::session::{Cells, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::store::change::{deed, discarded};
use crate::store::{By, Change, Discarded, Unsettled, Way};

/// One step never discards more.
const STEP_MAX: u32 = 300;

/// Every way that a delivery was ever made for.
pub(super) async fn ways(session: &mut Session) -> Result<Vec<Way>, Failure> {
    let sql = "SELECT r.text, t.text, y.text FROM way w JOIN name r ON r.id = w.route
               JOIN name t ON t.id = w.destination JOIN name y ON y.id = w.system";
    let rows = session.query(sql, &[]).await?;
    let mut found =
        read(&rows, |cells| Ok(Way { route: cells.text()?, destination: cells.text()?, system: cells.text()? }))?;
    // Whatever order of texts the database has.
    found.sort();
    Ok(found)
}

/// Counts what is not settled, by way. Reads nothing but the index over it.
pub(super) async fn unsettled(session: &mut Session) -> Result<Vec<Unsettled>, Failure> {
    let sql = "SELECT r.text, t.text, y.text, open.count
               FROM (SELECT way, count(*) AS count FROM delivery WHERE unsettled GROUP BY way) open
               JOIN way w ON w.id = open.way JOIN name r ON r.id = w.route
               JOIN name t ON t.id = w.destination JOIN name y ON y.id = w.system";
    let rows = session.query(sql, &[]).await?;
    let mut found = read(&rows, |cells| {
        let way = Way { route: cells.text()?, destination: cells.text()?, system: cells.text()? };
        Ok(Unsettled { way, count: cells.number()?.unsigned_abs() })
    })?;
    // Whatever order of texts the database has.
    let key = |unsettled: &Unsettled| {
        let Way { route, destination, system } = &unsettled.way;
        (route.clone(), destination.clone(), system.clone())
    };
    found.sort_by_key(key);
    Ok(found)
}

/// Discards the newest first, so that none becomes the head of its lane only to be discarded next, and none that comes
/// after another dies of it.
pub(super) struct Discard {
    pub(super) ways: Vec<Way>,
    pub(super) by: By,
    pub(super) limit: u32,
    pub(super) now: Timestamp,
}

impl Job for Discard {
    type Done = Discarded;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Discarded, Failure>> {
        Box::pin(async move {
            let ways = self.numbers(work).await?;
            let sql = "SELECT d.id FROM unnest($1::bigint[]) k (way) CROSS JOIN LATERAL
                           (SELECT id FROM delivery WHERE way = k.way AND unsettled AND state <> 'in_flight'
                            ORDER BY way DESC, id DESC LIMIT $2) d
                       ORDER BY d.id DESC LIMIT $2";
            let limit = i64::from(self.limit.min(STEP_MAX));
            let rows = work.session.query(sql, args![INT8_ARRAY ways, INT8 limit]).await?;
            let found = read(&rows, Cells::number)?;
            let count = self.discard(work, &found).await?;
            work.idle = count == 0;
            let sql = "SELECT 1 FROM unnest($1::bigint[]) k (way)
                       WHERE EXISTS (SELECT 1 FROM delivery WHERE way = k.way AND unsettled) LIMIT 1";
            let is_more = !work.session.query(sql, args![INT8_ARRAY ways]).await?.is_empty();
            Ok(Discarded { count, is_more })
        })
    }
}

impl Discard {
    async fn numbers(&self, work: &mut Work) -> Result<Vec<i64>, Failure> {
        let texts =
            |text: fn(&Way) -> &String| -> Vec<_> { self.ways.iter().map(|way| text::written(text(way))).collect() };
        let sql = "SELECT w.id FROM way w JOIN name r ON r.id = w.route JOIN name t ON t.id = w.destination
                   JOIN name y ON y.id = w.system
                   JOIN unnest($1::text[], $2::text[], $3::text[]) k (route, destination, system)
                       ON r.text = k.route AND t.text = k.destination AND y.text = k.system";
        let arguments = args![
            TEXT_ARRAY texts(|way| &way.route),
            TEXT_ARRAY texts(|way| &way.destination),
            TEXT_ARRAY texts(|way| &way.system),
        ];
        read(&work.session.query(sql, arguments).await?, Cells::number)
    }

    /// Discards those that may still be; how many.
    async fn discard(&self, work: &mut Work, found: &[i64]) -> Result<u64, Failure> {
        if found.is_empty() {
            return Ok(0);
        }
        let mut scene = after::load(work, found).await?;
        work.accounts.at(self.now);
        let may_go = |place: &Place| place.unsettled && Change::Discard.applies_to(place.state);
        let mut deeds = Vec::with_capacity(found.len());
        for id in found {
            if !scene.find(*id).is_some_and(may_go) {
                continue;
            }
            change::leave(work, &mut scene, *id, discarded(&self.by.reason, self.now))?;
            after::tell(work, &mut scene, *id, self.now)?;
            deeds.push(deed(DeliveryId(*id), "discard", &self.by, self.now, "done".to_owned()));
        }
        if deeds.is_empty() {
            return Ok(0);
        }
        scene.write(work).await?;
        audit_log::write_all(work, &deeds).await?;
        Ok(u64::try_from(deeds.len()).unwrap_or(u64::MAX))
    }
}

//! Names and ways as small numbers. They are given in transactions of their own and never change, so what is remembered
//! stays true, whatever becomes of the command that wanted them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Pool;

use super::failure::Failure;
use super::session::{Manner, Session, args, read};
use super::text;
use crate::delivery::Planned;
use crate::store::StoreError;
use crate::store::names::{Kind, Way};

/// More names than this are not remembered: senders choose organization ids.
const NAMES_MAX: usize = 8_192;

type Key = (Kind, String);

/// What a command will want to know.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    names: Vec<Key>,
    ways: Vec<[String; 3]>,
}

impl Wanted {
    pub(super) fn name(&mut self, kind: Kind, text: &str) {
        let key = (kind, text.to_owned());
        if !self.names.contains(&key) {
            self.names.push(key);
        }
    }

    pub(super) fn way(&mut self, planned: &Planned) {
        if let Some(after) = &planned.after {
            self.name(Kind::Route, &after.route);
        }
        self.way_to([planned.route.clone(), planned.destination.clone(), planned.system.clone()]);
    }

    /// The way of a route to a destination of a system.
    pub(super) fn way_to(&mut self, way: [String; 3]) {
        if !self.ways.contains(&way) {
            for (kind, text) in [Kind::Route, Kind::Destination, Kind::System].into_iter().zip(&way) {
                self.name(kind, text);
            }
            self.ways.push(way);
        }
    }
}

/// What one command knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: HashMap<Key, i64>,
    ways: HashMap<i64, Arc<Way>>,
}

impl Known {
    pub(super) fn number(&self, kind: Kind, text: &str) -> Result<i64, Failure> {
        let number = self.names.get(&(kind, text.to_owned())).copied();
        number.ok_or_else(|| Failure::Fault(format!("the {} {text:?} was not looked up", kind.as_str())))
    }

    pub(super) fn way(&self, planned: &Planned) -> Result<Arc<Way>, Failure> {
        self.way_to([&planned.route, &planned.destination, &planned.system])
    }

    pub(super) fn way_to(&self, names: [&String; 3]) -> Result<Arc<Way>, Failure> {
        let found = self.ways.values().find(|way| way.is_of(names)).map(Arc::clone);
        found.ok_or_else(|| Failure::Fault(format!("the way of route {:?} was not looked up", names[0])))
    }

    pub(super) fn way_of(&self, id: i64) -> Result<Arc<Way>, Failure> {
        let found = self.ways.get(&id).map(Arc::clone);
        found.ok_or_else(|| Failure::Rule(StoreError::Refused(format!("way {id} is not in the store"))))
    }
}

/// The dictionary of a gateway.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Mutex<Known>,
}

impl Names {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives numbers to what is wanted; what has none yet gets one now.
    pub(super) async fn resolve(&self, pool: &Pool, wanted: &Wanted) -> Result<Known, Failure> {
        let mut known = Known::default();
        if !self.recall(wanted, &mut known) {
            self.learn_names(pool, wanted).await?;
            self.recall(wanted, &mut known);
            self.learn_ways(pool, wanted, &known).await?;
            self.recall(wanted, &mut known);
        }
        Ok(known)
    }

    /// Takes over what is remembered; whether that is all.
    fn recall(&self, wanted: &Wanted, into: &mut Known) -> bool {
        let all = self.known();
        for key in &wanted.names {
            into.names.extend(all.names.get(key).map(|number| (key.clone(), *number)));
        }
        let mut complete = into.names.len() == wanted.names.len();
        for names in &wanted.ways {
            match all.ways.values().find(|way| way.is_of(names.each_ref())) {
                Some(way) => drop(into.ways.insert(way.id, Arc::clone(way))),
                None => complete = false,
            }
        }
        complete
    }

    async fn learn_names(&self, pool: &Pool, wanted: &Wanted) -> Result<(), Failure> {
        let mut missing: Vec<Key> = {
            let all = self.known();
            wanted.names.iter().filter(|key| !all.names.contains_key(*key)).cloned().collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort();
        let kinds: Vec<&str> = missing.iter().map(|(kind, _)| kind.as_str()).collect();
        let texts: Vec<_> = missing.iter().map(|(_, text)| text::written(text)).collect();
        let sql = "SELECT u.place, n.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u (kind, text, place)
                   JOIN name n ON n.kind = u.kind AND n.text = u.text";
        let mut session = Session::open(pool, Manner::Write).await?;
        let mut rows = session.query(sql, args![TEXT_ARRAY kinds, TEXT_ARRAY texts]).await?;
        if rows.len() < missing.len() {
            // In order, so that two who give the same names do not wait for one another.
            let insert =
                "INSERT INTO name (kind, text) SELECT u.kind, u.text FROM unnest($1::text[], $2::text[]) u (kind, text)
                          WHERE NOT EXISTS (SELECT 1 FROM name n WHERE n.kind = u.kind AND n.text = u.text)
                          ORDER BY u.kind, u.text ON CONFLICT DO NOTHING";
            session.query(insert, args![TEXT_ARRAY kinds, TEXT_ARRAY texts]).await?;
            session.commit("SELECT 1", &[]).await?;
            session = Session::open(pool, Manner::Write).await?;
            rows = session.query(sql, args![TEXT_ARRAY kinds, TEXT_ARRAY texts]).await?;
        }
        session.end().await?;
        let numbers = read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?;
        let mut all = self.known();
        if all.names.len() + numbers.len() > NAMES_MAX {
            all.names.clear();
        }
        for (place, number) in numbers {
            let key = usize::try_from(place - 1).ok().and_then(|place| missing.get(place));
            all.names.extend(key.map(|key| (key.clone(), number)));
        }
        Ok(())
    }

    async fn learn_ways(&self, pool: &Pool, wanted: &Wanted, known: &Known) -> Result<(), Failure> {
        if wanted.ways.is_empty() {
            return Ok(());
        }
        let mut ways = wanted.ways.clone();
        ways.sort();
        let (mut routes, mut destinations, mut systems) = (Vec::new(), Vec::new(), Vec::new());
        for [route, destination, system] in &ways {
            routes.push(known.number(Kind::Route, route)?);
            destinations.push(known.number(Kind::Destination, destination)?);
            systems.push(known.number(Kind::System, system)?);
        }
        let insert = "INSERT INTO way (route, destination, system)
                      SELECT u.route, u.destination, u.system FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                          u (route, destination, system)
                      WHERE NOT EXISTS (SELECT 1 FROM way w WHERE w.route = u.route AND w.destination = u.destination
                                        AND w.system = u.system)
                      ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING";
        let mut session = Session::open(pool, Manner::Write).await?;
        session.query(insert, args![INT8_ARRAY routes, INT8_ARRAY destinations, INT8_ARRAY systems]).await?;
        session.commit("SELECT 1", &[]).await?;
        let mut session = Session::open(pool, Manner::Write).await?;
        let sql = format!(
            "{WAY} WHERE (w.route, w.destination, w.system) IN
             (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]))"
        );
        let rows = session.query(&sql, args![INT8_ARRAY routes, INT8_ARRAY destinations, INT8_ARRAY systems]).await?;
        session.end().await?;
        self.remember_ways(&rows)
    }

    /// Adds the ways with these numbers to what a command knows.
    pub(super) async fn ways(&self, session: &mut Session, ids: &[i64], into: &mut Known) -> Result<(), Failure> {
        let take = |into: &mut Known| {
            let all = self.known();
            let missing = |id: &&i64| !into.ways.contains_key(id);
            let found: Vec<_> = ids.iter().filter(missing).filter_map(|id| all.ways.get(id).map(Arc::clone)).collect();
            into.ways.extend(found.into_iter().map(|way| (way.id, way)));
        };
        take(into);
        let missing: Vec<i64> = ids.iter().filter(|id| !into.ways.contains_key(id)).copied().collect();
        if !missing.is_empty() {
            let rows = session.query(&format!("{WAY} WHERE w.id = ANY($1)"), args![INT8_ARRAY missing]).await?;
            self.remember_ways(&rows)?;
            take(into);
        }
        Ok(())
    }

    fn remember_ways(&self, rows: &[tokio_postgres::Row]) -> Result<(), Failure> {
        let ways = read(rows, |cells| {
            Ok(Way {
                id: cells.number()?,
                route: cells.number()?,
                destination: cells.number()?,
                system: cells.number()?,
                route_name: cells.text()?,
                destination_name: cells.text()?,
                system_name: cells.text()?,
            })
        })?;
        self.known().ways.extend(ways.into_iter().map(|way| (way.id, Arc::new(way))));
        Ok(())
    }
}

const WAY: &str = "SELECT w.id, w.route, w.destination, w.system, r.text, d.text, s.text FROM way w
    JOIN name r ON r.id = w.route JOIN name d ON d.id = w.destination JOIN name s ON s.id = w.system";

//! Names and ways as small numbers, kept in the writer's memory.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::books::Failure;
use crate::delivery::Planned;
use crate::store::names::{Kind, Way};

/// More names of a kind than this are not kept in memory but asked for: senders choose organization ids.
const NAMES_MAX: usize = 4_096;

/// The dictionary. Numbers never change, so what is remembered stays true until a transaction is rolled back.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: [HashMap<String, i64>; 5],
    ways: Option<Ways>,
}

#[derive(Debug, Default)]
struct Ways {
    by_id: HashMap<i64, Arc<Way>>,
    by_route: HashMap<String, Vec<Arc<Way>>>,
    by_system: HashMap<String, Vec<Arc<Way>>>,
}

impl Names {
    /// The name's number, given now if it has none yet.
    pub(super) fn number(&mut self, connection: &Connection, kind: Kind, text: &str) -> Result<i64, Failure> {
        if let Some(number) = self.find(connection, kind, text)? {
            return Ok(number);
        }
        let sql = "INSERT INTO name (kind, text) VALUES (?1, ?2)";
        let number = connection.prepare_cached(sql)?.insert((kind.as_str(), text))?;
        self.remember(kind, text, number);
        Ok(number)
    }

    /// The name's number, if it has one.
    pub(super) fn find(&mut self, connection: &Connection, kind: Kind, text: &str) -> Result<Option<i64>, Failure> {
        if let Some(number) = self.known.get(kind as usize).and_then(|known| known.get(text)) {
            return Ok(Some(*number));
        }
        let sql = "SELECT id FROM name WHERE kind = ?1 AND text = ?2";
        let found = connection.prepare_cached(sql)?.query_row((kind.as_str(), text), |row| row.get(0)).optional()?;
        if let Some(number) = found {
            self.remember(kind, text, number);
        }
        Ok(found)
    }

    /// The way of a planned delivery, made now if it is new.
    pub(super) fn way(&mut self, connection: &Connection, planned: &Planned) -> Result<Arc<Way>, Failure> {
        self.way_to(connection, [&planned.route, &planned.destination, &planned.system])
    }

    /// The way of a route to a destination of a system, made now if it is new.
    pub(super) fn way_to(&mut self, connection: &Connection, names: [&String; 3]) -> Result<Arc<Way>, Failure> {
        let [route_name, destination_name, system_name] = names;
        let ways = self.ways(connection)?;
        let same = |way: &&Arc<Way>| way.destination_name == *destination_name && way.system_name == *system_name;
        if let Some(way) = ways.by_route.get(route_name).and_then(|ways| ways.iter().find(same)) {
            return Ok(Arc::clone(way));
        }
        let route = self.number(connection, Kind::Route, route_name)?;
        let destination = self.number(connection, Kind::Destination, destination_name)?;
        let system = self.number(connection, Kind::System, system_name)?;
        let sql = "INSERT INTO way (route, destination, system) VALUES (?1, ?2, ?3)";
        let id = connection.prepare_cached(sql)?.insert((route, destination, system))?;
        let way = Arc::new(Way {
            id,
            route,
            destination,
            system,
            route_name: route_name.clone(),
            destination_name: destination_name.clone(),
            system_name: system_name.clone(),
        });
        self.ways(connection)?.remember(Arc::clone(&way));
        Ok(way)
    }

    /// The way with this number.
    pub(super) fn way_of(&mut self, connection: &Connection, id: i64) -> Result<Arc<Way>, Failure> {
        let found = self.ways(connection)?.by_id.get(&id).map(Arc::clone);
        found.ok_or(Failure::Database(rusqlite::Error::QueryReturnedNoRows))
    }

    /// All ways of a system.
    pub(super) fn ways_of_system(&mut self, connection: &Connection, system: &str) -> Result<Vec<Arc<Way>>, Failure> {
        Ok(self.ways(connection)?.by_system.get(system).cloned().unwrap_or_default())
    }

    /// Forgets all, since some of it may have been rolled back.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn remember(&mut self, kind: Kind, text: &str, number: i64) {
        if let Some(known) = self.known.get_mut(kind as usize) {
            if known.len() >= NAMES_MAX {
                known.clear();
            }
            known.insert(text.to_owned(), number);
        }
    }

    fn ways(&mut self, connection: &Connection) -> Result<&mut Ways, Failure> {
        let loaded = match self.ways.take() {
            Some(ways) => ways,
            None => Ways::load(connection)?,
        };
        Ok(self.ways.insert(loaded))
    }
}

impl Ways {
    fn load(connection: &Connection) -> Result<Self, Failure> {
        let sql = "SELECT way.id, way.route, way.destination, way.system, r.text, d.text, s.text FROM way
                   JOIN name r ON r.id = way.route JOIN name d ON d.id = way.destination
                   JOIN name s ON s.id = way.system";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Way {
                id: row.get(0)?,
                route: row.get(1)?,
                destination: row.get(2)?,
                system: row.get(3)?,
                route_name: row.get(4)?,
                destination_name: row.get(5)?,
                system_name: row.get(6)?,
            })
        })?;
        let mut ways = Self::default();
        for way in rows {
            ways.remember(Arc::new(way?));
        }
        Ok(ways)
    }

    fn remember(&mut self, way: Arc<Way>) {
        self.by_id.insert(way.id, Arc::clone(&way));
        self.by_route.entry(way.route_name.clone()).or_default().push(Arc::clone(&way));
        self.by_system.entry(way.system_name.clone()).or_default().push(way);
    }
}

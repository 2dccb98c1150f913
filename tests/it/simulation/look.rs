//! How the law looks at a store, beside the gateway that works on it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use omgate::delivery::{DeliveryId, State};
use omgate::store::{AttemptView, DeliveryFilter, DeliveryView, NotificationFilter, Store};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::scene::{self, Way};
use super::steps::Content;
use super::wait;

/// A delivery, as far as the law knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: i64,
    pub(crate) state: State,
    pub(crate) way: &'static Way,
    pub(crate) lane: Option<String>,
    pub(crate) attempts: u32,
    pub(crate) reason: Option<String>,
    pub(crate) notification_id: String,
    pub(crate) notification_row: i64,
    pub(crate) revision: u32,
    pub(crate) record_id: String,
}

/// An attempt: its number, and what it came to when it is over.
pub(crate) type Tried = (u32, Option<String>);

/// By notification id, the contents that are stored, oldest first.
pub(crate) type Revisions = BTreeMap<String, Vec<Content>>;

/// Looks at a store by its questions, or, where its rows lie in a file, at these: the law asks after every step.
pub(crate) struct Look {
    pub(crate) store: Arc<dyn Store>,
    rows: Mutex<Option<Rows>>,
}

impl Look {
    pub(crate) fn by_questions(store: Arc<dyn Store>) -> Self {
        Self { store, rows: Mutex::default() }
    }

    pub(crate) fn at_rows(store: Arc<dyn Store>, path: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).unwrap();
        Self { store, rows: Mutex::new(Some(Rows { connection, ways: HashMap::new(), version: None })) }
    }

    /// Lets go of the file, so that whoever closes the store is the last to do so.
    pub(crate) fn let_go(&self) {
        *self.rows.lock().unwrap() = None;
    }

    /// Whether anything was written since this was asked last; none when that cannot be seen.
    pub(crate) fn is_other(&self) -> Option<bool> {
        self.rows.lock().unwrap().as_mut().map(Rows::is_other)
    }

    /// All deliveries, in the order of their ids.
    pub(crate) fn deliveries(&self) -> Vec<Seen> {
        if let Some(rows) = &mut *self.rows.lock().unwrap() {
            return rows.deliveries("TRUE");
        }
        let filter = DeliveryFilter { limit: Some(1_000), ..DeliveryFilter::default() };
        let all = wait(self.store.deliveries(filter)).unwrap();
        assert!(all.len() < 1_000, "a history makes too many deliveries for one look");
        all.into_iter().rev().map(Seen::from).collect()
    }

    /// Those that may keep their place in their lane, at least.
    pub(crate) fn open(&self) -> Vec<Seen> {
        if let Some(rows) = &mut *self.rows.lock().unwrap() {
            return rows.deliveries("d.state NOT IN ('delivered', 'superseded', 'discarded')");
        }
        self.deliveries()
    }

    /// The attempts of a delivery, oldest first; none when there is no such delivery.
    pub(crate) fn attempts(&self, delivery: DeliveryId) -> Option<Vec<Tried>> {
        if let Some(rows) = &*self.rows.lock().unwrap() {
            return rows.attempts(delivery.0);
        }
        let tried = |attempt: AttemptView| (attempt.number, attempt.outcome);
        let (_, attempts) = wait(self.store.delivery(delivery)).ok()?;
        Some(attempts.into_iter().map(tried).collect())
    }

    pub(crate) fn revisions(&self) -> Revisions {
        if let Some(rows) = &*self.rows.lock().unwrap() {
            return rows.revisions();
        }
        let filter = NotificationFilter { limit: Some(1_000), ..NotificationFilter::default() };
        let mut revisions = Revisions::new();
        for view in wait(self.store.notifications(filter)).unwrap() {
            let id = view.notification.notification_id;
            let contents = || {
                let views = wait(self.store.notification(id.clone())).unwrap();
                views.iter().map(|view| scene::content_of(&view.notification.xml)).collect()
            };
            revisions.entry(id.clone()).or_insert_with(contents);
        }
        revisions
    }
}

impl From<DeliveryView> for Seen {
    fn from(view: DeliveryView) -> Self {
        Self {
            id: view.delivery_id.0,
            state: view.state,
            way: scene::way(&view.route),
            lane: view.lane,
            attempts: view.attempts,
            reason: view.reason,
            notification_id: view.notification_id,
            notification_row: view.notification_row,
            revision: view.revision,
            record_id: view.record_id,
        }
    }
}

/// The tables of a SQLite store.
struct Rows {
    connection: Connection,
    ways: HashMap<i64, &'static Way>,
    /// SQLite's number for what others wrote.
    version: Option<i64>,
}

impl Rows {
    fn is_other(&mut self) -> bool {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").unwrap();
        let now = statement.query_row([], |row| row.get(0)).unwrap();
        self.version.replace(now) != Some(now)
    }

    fn deliveries(&mut self, which: &str) -> Vec<Seen> {
        let sql = format!(
            "SELECT d.id, d.state, d.lane, d.attempts, d.reason, n.notification_id, n.id, n.revision, n.record_id, d.way
             FROM delivery d CROSS JOIN notification n ON n.id = d.notification WHERE {which} ORDER BY d.id"
        );
        let mut statement = self.connection.prepare_cached(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let id = row.get(9).unwrap();
            let way = *self.ways.entry(id).or_insert_with(|| way(&self.connection, id));
            all.push(Seen {
                id: row.get(0).unwrap(),
                state: row.get_ref(1).unwrap().as_str().unwrap().parse().unwrap(),
                way,
                lane: row.get(2).unwrap(),
                attempts: row.get(3).unwrap(),
                reason: row.get(4).unwrap(),
                notification_id: row.get(5).unwrap(),
                notification_row: row.get(6).unwrap(),
                revision: row.get(7).unwrap(),
                record_id: row.get(8).unwrap(),
            });
        }
        all
    }

    fn attempts(&self, delivery: i64) -> Option<Vec<Tried>> {
        let found = "SELECT 1 FROM delivery WHERE id = ?1";
        let found = self.connection.prepare_cached(found).unwrap().query_row([delivery], |_| Ok(())).optional();
        found.unwrap()?;
        let sql = "SELECT number, outcome FROM attempt WHERE delivery = ?1 ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql).unwrap();
        let tried = statement.query_map([delivery], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        Some(tried.collect::<rusqlite::Result<_>>().unwrap())
    }

    fn revisions(&self) -> Revisions {
        let sql = "SELECT notification_id, xml FROM notification ORDER BY notification_id, organization, revision";
        let mut statement = self.connection.prepare_cached(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut revisions = Revisions::new();
        while let Some(row) = rows.next().unwrap() {
            let content = scene::content_of(row.get_ref(1).unwrap().as_str().unwrap());
            revisions.entry(row.get(0).unwrap()).or_default().push(content);
        }
        revisions
    }
}

fn way(connection: &Connection, id: i64) -> &'static Way {
    let sql = "SELECT name.text FROM way JOIN name ON name.id = way.route WHERE way.id = ?1";
    let route: String = connection.query_row(sql, [id], |row| row.get(0)).unwrap();
    scene::way(&route)
}

//! The contract of every store: what must hold, whatever database is beneath. Written against `dyn Store`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "a test that fails may panic")]

mod archive;
mod both;
mod configurations;
mod damage;
mod file;
mod keep;
mod lists;
mod model;
mod moving;
#[cfg(feature = "postgres")]
mod postgres;
mod replay;
mod sealing;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use omgate::clock::{Clock, SharedClock, Timestamp};
use omgate::delivery::{After, Coalesce, ConfigVersion, DeliveryId, OnRevision, Planned, State};
use omgate::outcome::{Fault, Record};
use omgate::stale::Mark;
#[cfg(feature = "postgres")]
use omgate::store::postgres::PostgresStore;
use omgate::store::sealed::Sealed;
use omgate::store::sqlite::{Faults, Options, SqliteStore};
use omgate::store::{
    Accept, Accepted, AuditFilter, Bounds, By, Change, Claim, Claimed, Claims, DECIDED, Deed, DeliveryFilter,
    DeliveryView, Discrepancy, Fate, Incoming, IncomingKind, NotificationFilter, Outage, Pause, RefusedPost, Replay,
    Reroute, Settle, Settlement, Store, StoreError, StoreResult, StoredConfig, SystemState,
};

/// A clock that is moved by hand.
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// A store with a folder or a database of its own, and a clock of its own.
struct World {
    folder: tempfile::TempDir,
    /// Where its database is, when it is one of PostgreSQL.
    database: Option<String>,
    clock: Arc<HandClock>,
    faults: Faults,
    store: Option<Opened>,
    active_ms: i64,
    in_force: BTreeMap<String, OnRevision>,
}

/// The store of a world.
#[derive(Clone)]
enum Opened {
    Sqlite(Arc<SqliteStore>),
    /// The same, with its payloads sealed.
    Sealed(Arc<SqliteStore>, Arc<Sealed>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<PostgresStore>),
}

impl World {
    /// Over SQLite, unless the test is run by [`both`].
    fn new() -> Self {
        Self::on(both::database())
    }

    fn on(database: Option<String>) -> Self {
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            database,
            clock: Arc::new(HandClock(AtomicI64::new(1_790_000_000_000))),
            faults: Faults::default(),
            store: None,
            active_ms: 0,
            in_force: ["a", "b", "c"].map(|route| (route.to_owned(), OnRevision::Deliver)).into(),
        };
        world.open();
        world
    }

    fn options(&self) -> Options {
        let clock: SharedClock = self.clock.clone();
        let mut options = Options::new(self.folder.path().join("store.db"), clock);
        options.faults = self.faults.clone();
        options.hold_unknown = vec!["careful".to_owned()];
        options
    }

    fn open(&mut self) {
        self.store = None;
        self.store = Some(match &self.database {
            None if both::is_sealed() => {
                let store = SqliteStore::open(self.options()).unwrap();
                let keys = sealing::keys(&["one"], "one");
                Opened::Sealed(Arc::clone(&store), Arc::new(Sealed::new(store, keys)))
            }
            None => Opened::Sqlite(SqliteStore::open(self.options()).unwrap()),
            Some(url) => both::open(url, self.clock.clone(), vec!["careful".to_owned()]),
        });
    }

    fn shared(&self) -> Arc<dyn Store> {
        match self.store.clone().unwrap() {
            Opened::Sqlite(store) => store,
            Opened::Sealed(_, store) => store,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store,
        }
    }

    /// The store as it is, whatever is sealed above it.
    fn beneath(&self) -> Arc<dyn Store> {
        match self.store.clone().unwrap() {
            Opened::Sqlite(store) | Opened::Sealed(store, _) => store,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store,
        }
    }

    fn sqlite(&self) -> &SqliteStore {
        match self.store.as_ref().unwrap() {
            Opened::Sqlite(store) | Opened::Sealed(store, _) => store,
            #[cfg(feature = "postgres")]
            Opened::Postgres(_) => panic!("it is over PostgreSQL"),
        }
    }

    /// Ends the store, as a stop of the gateway does, and opens it again.
    async fn reopen(&mut self) {
        self.store().close().await;
        self.open();
    }

    fn store(&self) -> &dyn Store {
        match self.store.as_ref().unwrap() {
            Opened::Sqlite(store) => &**store,
            Opened::Sealed(_, store) => &**store,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => &**store,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&mut self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
        self.active_ms += ms;
    }

    fn envelope(&self, notes: impl IntoIterator<Item = Note>) -> Accept {
        Accept {
            source: "orders".to_owned(),
            received_at: self.now(),
            organization_id: "00D24000000abcdEAA".to_owned(),
            organization_key: "00D24000000abcd".to_owned(),
            action_id: "04k24000000HfHaAAK".to_owned(),
            enterprise_url: "https://enterprise".to_owned(),
            partner_url: String::new(),
            sender: "10.0.0.1".to_owned(),
            quarantine: None,
            config_version: ConfigVersion(1),
            routes_in_force: Arc::new(self.in_force.clone()),
            notifications: notes.into_iter().map(|note| note.0).collect(),
        }
    }

    async fn accept(&self, notes: impl IntoIterator<Item = Note>) -> Accepted {
        self.store().accept(self.envelope(notes)).await.unwrap()
    }

    async fn post(&self, notes: impl IntoIterator<Item = Note>) -> Vec<Fate> {
        self.accept(notes).await.fates
    }

    async fn claims(&self, destinations: &[&str], routes: &[&str], limit: usize) -> Claims {
        let claim = Claim {
            system: "erp".to_owned(),
            destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
            routes: routes.iter().map(|&name| name.to_owned()).collect(),
            limit,
            newest_first: false,
            now: self.now(),
            active_ms: self.active_ms,
            config_version: ConfigVersion(1),
            bounds: Bounds::default(),
        };
        self.store().claim(claim).await.unwrap()
    }

    async fn claim(&self, limit: usize) -> Vec<Claimed> {
        self.claims(&["create", "careful"], &["a", "b", "c"], limit).await.claimed
    }

    async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.len(), 1, "one was due");
        claimed.remove(0)
    }

    fn settling(&self, claimed: &Claimed, outcome: &'static str, settlement: Settlement) -> Settle {
        Settle {
            delivery: claimed.delivery,
            lease: claimed.lease,
            ended_at: self.now(),
            duration: Duration::from_millis(12),
            outcome,
            reason: if outcome == "delivered" { String::new() } else { format!("it was {outcome}") },
            record: Record { request_line: "PUT http://erp".to_owned(), status: Some(200), ..Record::default() },
            repeat_key: None,
            excused: false,
            settlement,
            active_ms: self.active_ms,
            stale_mark: None,
            kept: Vec::new(),
        }
    }

    async fn settle(&self, claimed: &Claimed, outcome: &'static str, settlement: Settlement) {
        self.store().settle(self.settling(claimed, outcome, settlement)).await.unwrap();
    }

    async fn deliver(&self, claimed: &Claimed) {
        self.settle(claimed, "delivered", Settlement::Delivered).await;
    }

    async fn retry(&self, claimed: &Claimed, wait_ms: i64) {
        let due_at = Timestamp(self.now().0 + wait_ms);
        self.settle(claimed, "retry", Settlement::Waiting { due_at }).await;
    }

    async fn kill(&self, claimed: &Claimed, holds_lane: bool) {
        let reason = "it was refused".to_owned();
        self.settle(claimed, "refused", Settlement::Dead { reason, holds_lane }).await;
    }

    async fn change(&self, delivery: i64, change: Change) -> StoreResult<DeliveryView> {
        self.change_still(delivery, change, None).await
    }

    /// The same, only while it still stands so.
    async fn change_still(&self, delivery: i64, change: Change, still: Option<State>) -> StoreResult<DeliveryView> {
        self.store().change(DeliveryId(delivery), change, still, By::new("somebody", "because"), self.now()).await
    }

    async fn reroute(&self, row: i64, deliveries: Vec<Planned>, even_if_newer: bool) -> StoreResult<Vec<String>> {
        self.store().reroute(Reroute { row, deliveries, even_if_newer, now: self.now() }).await
    }

    /// The row of the newest content of a notification.
    async fn newest_row(&self, id: &str) -> i64 {
        self.store().notification(id.to_owned()).await.unwrap().pop().unwrap().notification.row
    }

    async fn all(&self) -> Vec<DeliveryView> {
        let filter = DeliveryFilter { limit: Some(1_000), ..DeliveryFilter::default() };
        let mut all = self.store().deliveries(filter).await.unwrap().rows;
        all.reverse();
        all
    }

    /// Every delivery's state, in the order of their ids.
    async fn states(&self) -> Vec<&'static str> {
        self.all().await.iter().map(|delivery| delivery.state.as_str()).collect()
    }

    /// What must hold at any moment.
    async fn assert_sound(&self) {
        let ledger = self.store().ledger().await.unwrap();
        assert!(ledger.balanced, "{ledger:?}");
        assert_eq!(self.disagreements().await, [], "counters and rows agree");
        assert_eq!(self.store().sweep().await.unwrap(), 0, "no lane is without a head");
        assert_eq!(self.store().backlog().await.unwrap().lanes_repaired, 0);
        self.assert_lanes_in_order().await;
    }

    /// What verifying finds. Most of these tests name configurations that were never kept.
    async fn disagreements(&self) -> Vec<Discrepancy> {
        let mut found = self.store().verify().await.unwrap();
        found.retain(|found| !found.account.starts_with("configurations "));
        found
    }

    async fn assert_lanes_in_order(&self) {
        let mut lanes: BTreeMap<(String, String), Vec<DeliveryView>> = BTreeMap::new();
        for delivery in self.all().await {
            if let Some(lane) = delivery.lane.clone() {
                lanes.entry((delivery.system.clone(), lane)).or_default().push(delivery);
            }
        }
        for (lane, mut deliveries) in lanes {
            deliveries.retain(|delivery| {
                matches!(delivery.state, State::Waiting | State::Blocked | State::InFlight | State::Held)
            });
            let going = |delivery: &&DeliveryView| matches!(delivery.state, State::Waiting | State::InFlight);
            assert!(deliveries.iter().filter(going).count() <= 1, "lane {lane:?}: {deliveries:#?}");
            if let Some(waiting) = deliveries.iter().position(|delivery| delivery.state == State::Waiting) {
                assert_eq!(waiting, 0, "lane {lane:?}: the lowest waits: {deliveries:#?}");
            }
        }
    }
}

/// A notification under construction: by default a record of its own, with content `first`.
#[derive(Clone)]
struct Note(Incoming);

fn note(id: &str) -> Note {
    Note(Incoming {
        notification_id: id.to_owned(),
        hash: hash("first"),
        kind: IncomingKind::Record,
        record_type: "Opportunity".to_owned(),
        record_id: format!("006-{id}"),
        xml: "first".to_owned(),
        search: BTreeMap::from([("Name".to_owned(), format!("N-{id}"))]),
        deliveries: Vec::new(),
    })
}

fn hash(content: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (place, byte) in content.bytes().enumerate() {
        hash[place % 32] ^= byte.rotate_left(u32::try_from(place / 32).unwrap());
    }
    hash
}

fn marked(field: &str, value: &str) -> Mark {
    Mark { field: Some(field.to_owned()), value: value.to_owned() }
}

fn planned(route: &str, lane: Option<&str>) -> Planned {
    Planned {
        route: route.to_owned(),
        destination: if route == "c" { "careful" } else { "create" }.to_owned(),
        system: "erp".to_owned(),
        lane: lane.map(str::to_owned),
        on_revision: OnRevision::Deliver,
        coalesce: None,
        after: None,
        dead: None,
    }
}

impl Note {
    fn says(mut self, content: &str) -> Self {
        self.0.hash = hash(content);
        self.0.xml = content.to_owned();
        self
    }

    fn record(mut self, id: &str) -> Self {
        self.0.record_id = id.to_owned();
        self
    }

    /// It is found by this value of a field too.
    fn found_by(mut self, field: &str, value: &str) -> Self {
        self.0.search.insert(field.to_owned(), value.to_owned());
        self
    }

    /// Goes along a route in a lane.
    fn to(mut self, route: &str, lane: &str) -> Self {
        self.0.deliveries.push(planned(route, Some(lane)));
        self
    }

    /// Goes along a route that coalesces, with a mark.
    fn newest(mut self, route: &str, lane: &str, mark: Option<&str>) -> Self {
        let coalesce = Some(Coalesce { mark: mark.map(str::to_owned) });
        self.0.deliveries.push(Planned { coalesce, ..planned(route, Some(lane)) });
        self
    }

    fn in_any_order(mut self, route: &str) -> Self {
        self.0.deliveries.push(planned(route, None));
        self
    }

    fn dead_on(mut self, route: &str, reason: &str) -> Self {
        self.0.deliveries.push(Planned { dead: Some(reason.to_owned()), ..planned(route, Some("L")) });
        self
    }

    fn towards(mut self, route: &str, destination: &str, lane: &str) -> Self {
        let destination = destination.to_owned();
        self.0.deliveries.push(Planned { destination, ..planned(route, Some(lane)) });
        self
    }

    /// Along a route that comes after another.
    fn after(mut self, route: &str, lane: Option<&str>, lead: &str, holds_lane: bool) -> Self {
        let after = Some(After { route: lead.to_owned(), holds_lane });
        self.0.deliveries.push(Planned { after, ..planned(route, lane) });
        self
    }

    fn empty(mut self) -> Self {
        self.0.kind = IncomingKind::Empty;
        self.0.record_type.clear();
        self.says("")
    }

    fn unreadable(mut self, reason: &str) -> Self {
        self.0.kind = IncomingKind::Unreadable(reason.to_owned());
        self.0.record_type.clear();
        self.0.record_id.clear();
        self
    }
}

// ---- what no route matched is routed again ----

#[tokio::test]
async fn an_unrouted_notification_gets_the_deliveries_that_routes_make_of_it_now() {
    let world = World::new();
    world.post([note("1").record("006"), note("2").record("006").to("a", "L")]).await;
    world.post([note("1").record("006").says("second")]).await;
    let newest = world.store().notification("1".to_owned()).await.unwrap().pop().unwrap().notification.row;
    let reroute = |row| world.reroute(row, vec![planned("a", Some("L")), planned("b", Some("M"))], false);
    assert_eq!(reroute(newest).await.unwrap(), ["erp"]);
    assert_eq!(world.states().await, ["waiting", "blocked", "waiting"], "behind what came meanwhile");
    let revision = world.all().await[1].revision;
    assert_eq!(revision, 2, "the newest content goes out");
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.routed, counts.unrouted), (2, 0));
    assert!(matches!(reroute(newest).await, Err(StoreError::Conflict(_))), "once");
    assert!(matches!(reroute(99).await, Err(StoreError::NotFound(_))));
    world.post([note("1").record("006").says("third").to("a", "L")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked", "superseded"], "each route's newest is known");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_quarantined_notification_gets_its_deliveries_when_its_sender_is_adopted() {
    let world = World::new();
    let mut aside = world.envelope([note("1").record("006"), note("2").record("007")]);
    aside.quarantine = Some("unknown organization".to_owned());
    world.store().accept(aside).await.unwrap();
    let row = world.store().notification("1".to_owned()).await.unwrap().pop().unwrap().notification.row;
    let reroute = || world.reroute(row, vec![planned("a", Some("L"))], false);
    assert_eq!(reroute().await.unwrap(), ["erp"]);
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.unique, counts.routed, counts.quarantined), (2, 1, 1));
    assert_eq!(world.states().await, ["waiting"]);
    assert!(matches!(reroute().await, Err(StoreError::Conflict(_))), "once");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_is_routed_again_even_if_newer_goes_out_whatever_else_there_is_of_its_record() {
    let world = World::new();
    let update = |id: &str| note(id).record("006");
    let coalescing = |mark: Option<&str>| update("u").newest("a", "L", mark).0.deliveries;
    for (even_if_newer, mark, states) in [
        (false, Some("1"), ["waiting", "superseded"]),
        (false, None, ["superseded", "waiting"]),
        (true, Some("1"), ["waiting", "blocked"]),
        (true, None, ["waiting", "blocked"]),
    ] {
        let world = World::new();
        world.post([update("u"), update("v").newest("a", "L", Some("2"))]).await;
        world.reroute(world.newest_row("u").await, coalescing(mark), even_if_newer).await.unwrap();
        assert_eq!(world.states().await, states, "{even_if_newer}, {mark:?}");
        world.assert_sound().await;
    }
    world.post([update("u"), update("v")]).await;
    for (id, even_if_newer) in [("u", true), ("v", false)] {
        let planned = vec![planned("a", Some(id))];
        world.reroute(world.newest_row(id).await, planned, even_if_newer).await.unwrap();
    }
    let claimed: Vec<bool> = world.claim(10).await.iter().map(|claimed| claimed.even_if_newer).collect();
    assert_eq!(claimed, [true, false]);
    world.assert_sound().await;
}

// ---- of several waiting updates only the newest goes out ----

#[tokio::test]
async fn of_several_waiting_updates_of_a_record_only_the_newest_goes_out() {
    let world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1"), note("other").record("007").newest("a", "L", None), update("2")]).await;
    world.post([update("3"), note("elsewhere").record("006").newest("b", "L", None)]).await;
    assert_eq!(world.states().await, ["superseded", "waiting", "superseded", "blocked", "blocked"]);
    let all = world.all().await;
    let successors: Vec<_> = all.iter().map(|delivery| delivery.superseded_by.map(|id| id.0)).collect();
    assert_eq!(successors, [Some(3), None, Some(4), None, None]);
    assert_eq!(all[0].reason.as_deref(), Some("delivery 3 brings a newer state of the record"));
    let stands_for = world.store().stands_for(vec![DeliveryId(4), DeliveryId(2)]).await.unwrap();
    assert_eq!(stands_for, [vec![DeliveryId(1), DeliveryId(3)], vec![]], "those of those too");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_was_attempted_or_is_not_waiting_gives_way_to_no_update() {
    let world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1")]).await;
    let claimed = world.claim_one().await;
    world.post([update("2")]).await;
    assert_eq!(world.states().await, ["in_flight", "blocked"]);
    world.retry(&claimed, 0).await;
    world.post([update("3")]).await;
    assert_eq!(world.states().await, ["waiting", "superseded", "blocked"], "the first may have been taken");
    world.change(3, Change::Hold).await.unwrap();
    world.post([update("4")]).await;
    assert_eq!(world.states().await, ["waiting", "superseded", "held", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn an_older_state_that_comes_late_gives_way_itself() {
    let world = World::new();
    let update = |id: &str, mark| note(id).record("006").newest("a", "L", mark);
    world.post([update("new", Some("2026-02-01")), update("old", Some("2026-01-01"))]).await;
    assert_eq!(world.states().await, ["waiting", "superseded"]);
    assert_eq!(world.all().await[1].superseded_by, Some(DeliveryId(1)));
    world.post([update("same", Some("2026-02-01")), update("unknown", None)]).await;
    assert_eq!(
        world.states().await,
        ["superseded", "superseded", "superseded", "waiting"],
        "only what is strictly older"
    );
    world.assert_sound().await;
}

#[tokio::test]
async fn whoever_stood_behind_an_update_that_gave_way_goes_on() {
    let world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1"), note("behind").record("007").to("a", "L")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked"]);
    let accepted = world.store().accept(world.envelope([update("2")])).await.unwrap();
    assert_eq!(accepted.woken, ["erp"]);
    assert_eq!(world.states().await, ["superseded", "waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_is_released_gives_way_to_the_newest_update_that_waits_or_takes_its_place() {
    let update = |id: &str, mark| note(id).record("006").newest("a", "L", mark);
    for (first, second, states, successors) in [
        (None, None, ["superseded", "waiting", "blocked"], [Some(3), None, None]),
        (Some("1"), Some("2"), ["superseded", "waiting", "blocked"], [Some(3), None, None]),
        (Some("2"), Some("1"), ["waiting", "blocked", "superseded"], [None, None, Some(1)]),
    ] {
        let world = World::new();
        world.post([update("1", first)]).await;
        world.change(1, Change::Hold).await.unwrap();
        world.post([note("between").record("007").to("b", "L"), update("2", second)]).await;
        assert_eq!(world.states().await, ["held", "blocked", "blocked"]);
        let released = world.change(1, Change::Release).await.unwrap();
        assert_eq!(released.state.as_str(), states[0], "what is answered is what stands");
        assert_eq!(world.states().await, states, "{first:?}, {second:?}");
        let found: Vec<_> = world.all().await.iter().map(|delivery| delivery.superseded_by.map(|id| id.0)).collect();
        assert_eq!(found, successors);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn what_is_released_leaves_alone_what_was_attempted_what_is_held_and_what_is_of_another_record_or_way() {
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    let world = World::new();
    world.post([update("1")]).await;
    world.retry(&world.claim_one().await, 60_000).await;
    world.change(1, Change::Hold).await.unwrap();
    world.post([update("2")]).await;
    world.change(1, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "blocked"], "it may have been taken");
    world.change(2, Change::Hold).await.unwrap();
    world.change(2, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "blocked"]);
    world.change(2, Change::Hold).await.unwrap();
    world.post([note("3").record("007").newest("a", "L", None), note("4").record("006").newest("b", "L", None)]).await;
    world.post([update("5")]).await;
    world.change(5, Change::Hold).await.unwrap();
    world.change(2, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "blocked", "blocked", "blocked", "held"]);
    world.change(5, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "superseded", "blocked", "blocked", "blocked"], "of those the newest");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_was_revised_while_it_was_held_is_the_newest_when_it_is_released() {
    let world = World::new();
    let update = |id: &str, says: &str, lane| note(id).record("006").says(says).newest("a", lane, None);
    world.post([update("1", "first", "K")]).await;
    world.change(1, Change::Hold).await.unwrap();
    world.post([update("2", "second", "L"), update("1", "third", "K")]).await;
    assert_eq!(world.states().await, ["held", "waiting"]);
    world.change(1, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "superseded"]);
    assert_eq!(world.all().await[1].superseded_by, Some(DeliveryId(1)));
    world.assert_sound().await;
}

#[tokio::test]
async fn those_that_come_after_what_gave_way_when_it_was_released_hear_of_it() {
    let world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1").after("b", Some("M"), "a", false)]).await;
    world.change(1, Change::Hold).await.unwrap();
    world.post([update("2")]).await;
    assert_eq!(world.states().await, ["held", "blocked", "blocked"]);
    world.change(1, Change::Release).await.unwrap();
    assert_eq!(world.states().await, ["superseded", "dead", "waiting"]);
    world.assert_sound().await;
}

// ---- what comes in ----

#[tokio::test]
async fn each_notification_is_exactly_one_of_the_five_kinds() {
    let world = World::new();
    let fates = world
        .post([
            note("routed").to("a", "L"),
            note("unrouted"),
            note("skipped").empty(),
            note("wanted").empty().to("a", "L2"),
            note("sha256:00").unreadable("no id"),
        ])
        .await;
    assert_eq!(fates, [Fate::Routed, Fate::Unrouted, Fate::SkippedEmpty, Fate::Routed, Fate::Unreadable]);
    let mut aside = world.envelope([note("aside").to("a", "L")]);
    aside.quarantine = Some("unknown organization".to_owned());
    assert_eq!(world.store().accept(aside).await.unwrap().fates, [Fate::Quarantined]);

    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.received, counts.unique), (6, 6));
    assert_eq!((counts.routed, counts.unrouted, counts.skipped_empty), (2, 1, 1));
    assert_eq!((counts.unreadable, counts.quarantined), (1, 1));
    assert_eq!(world.states().await, ["waiting", "waiting"], "a quarantined one is not delivered");
    for (kind, id, reason) in [
        ("unreadable", "sha256:00", Some("no id")),
        ("quarantined", "aside", Some("unknown organization")),
        ("unrouted", "unrouted", None),
        ("skipped_empty", "skipped", None),
    ] {
        let filter = NotificationFilter { kind: Some(kind.to_owned()), ..NotificationFilter::default() };
        let listed = world.store().notifications(filter).await.unwrap();
        assert_eq!(listed.len(), 1, "{kind}");
        assert_eq!(listed[0].notification.notification_id, id);
        assert_eq!(listed[0].reason.as_deref(), reason);
        assert_eq!(listed[0].notification.xml, "", "lists leave the XML out");
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn what_is_new_and_due_wakes_its_system_once() {
    let world = World::new();
    let accepted = world.accept([note("1").to("a", "L"), note("2").to("a", "M"), note("3").to("a", "L")]).await;
    assert_eq!(accepted.woken, ["erp"]);
    assert!(world.accept([note("4").to("a", "L")]).await.woken.is_empty(), "it is blocked");
    assert!(world.accept([note("5").dead_on("a", "x")]).await.woken.is_empty(), "it is dead");
}

#[tokio::test]
async fn the_same_content_is_a_duplicate_within_an_envelope_and_between_envelopes() {
    let world = World::new();
    let twin = note("1").to("a", "L");
    assert_eq!(world.post([twin.clone(), twin.clone()]).await, [Fate::Routed, Fate::Duplicate]);
    assert_eq!(world.post([twin.clone()]).await, [Fate::Duplicate]);
    assert_eq!(world.states().await, ["waiting"]);
    assert_eq!(world.store().notification("1".to_owned()).await.unwrap()[0].duplicates, 2);

    let mut other = world.envelope([twin]);
    other.organization_key = "00D24000000zzzz".to_owned();
    assert_eq!(world.store().accept(other).await.unwrap().fates, [Fate::Routed], "another organization's own");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_duplicate_from_another_source_is_counted_where_it_came_in() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let mut other = world.envelope([note("1").to("a", "L")]);
    other.source = "second".to_owned();
    assert_eq!(world.store().accept(other).await.unwrap().fates, [Fate::Duplicate]);
    let sources = world.store().ledger().await.unwrap().sources;
    assert_eq!((sources["second"].received, sources["second"].duplicate), (1, 1));
    assert_eq!((sources["orders"].received, sources["orders"].duplicate), (1, 0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_many_commands_at_once_are_resolved_without_an_error() {
    let world = World::new();
    let posts = (0..64).map(|_| world.store().accept(world.envelope([note("1").to("a", "L")])));
    let fates = futures_util::future::join_all(posts).await;
    let fates: Vec<Fate> = fates.into_iter().flat_map(|accepted| accepted.unwrap().fates).collect();
    assert_eq!(fates.iter().filter(|&&fate| fate == Fate::Routed).count(), 1);
    assert_eq!(fates.iter().filter(|&&fate| fate == Fate::Duplicate).count(), 63);
    world.assert_sound().await;
}

#[tokio::test]
async fn one_route_makes_one_delivery_even_when_it_is_planned_twice() {
    let world = World::new();
    world.post([note("1").to("a", "L").to("a", "M").to("b", "L")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_routing_knows_to_be_undeliverable_is_dead_at_once_and_stops_no_lane() {
    let world = World::new();
    world.post([note("1").dead_on("a", "lane: no such field"), note("2").to("a", "L")]).await;
    assert_eq!(world.states().await, ["dead", "waiting"]);
    assert_eq!(world.all().await[0].reason.as_deref(), Some("lane: no such field"));
    world.assert_sound().await;
}

#[tokio::test]
async fn odd_texts_come_back_as_they_went_in() {
    let world = World::new();
    let text = "a\0b <x>&amp;\u{1F980}\r\n'\"; DROP TABLE delivery; --".repeat(500);
    world.post([note("'odd\"%_").says(&text).record("r'%_\"").to("a", "lane '\0\" %")]).await;
    let claimed = world.claim_one().await;
    assert_eq!(claimed.notification.xml, text);
    assert_eq!(claimed.lane.as_deref(), Some("lane '\0\" %"));
    let found = world.store().notification("'odd\"%_".to_owned()).await.unwrap();
    assert_eq!(found[0].notification.record_id, "r'%_\"");
    world.assert_sound().await;
}

// ---- revisions ----

#[tokio::test]
async fn a_revision_replaces_the_content_of_what_was_never_tried() {
    let world = World::new();
    world.post([note("0").to("a", "L"), note("1").to("a", "L"), note("2").to("a", "M")]).await;
    world.change(3, Change::Hold).await.unwrap();
    for (id, state) in [("1", State::Blocked), ("2", State::Held), ("0", State::Waiting)] {
        let lane = if id == "2" { "M" } else { "L" };
        assert_eq!(world.post([note(id).says("second").to("a", lane)]).await, [Fate::Revised]);
        let filter = DeliveryFilter { notification_id: Some(id.to_owned()), ..DeliveryFilter::default() };
        let found = world.store().deliveries(filter).await.unwrap();
        assert_eq!(found.len(), 1, "in place");
        assert_eq!((found[0].state, found[0].revision), (state, 2));
    }
    let claimed = world.claim_one().await;
    assert_eq!((claimed.notification.xml.as_str(), claimed.notification.revision), ("second", 2));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_never_goes_out_before_an_older_state_of_its_record() {
    let update = |id: &str| note(id).record("006");
    for (behind, is_overtaking) in [
        (update("2").to("a", "L"), true),
        (update("2").to("b", "L"), true),
        (update("2").to("a", "M"), false),
        (update("2").in_any_order("a"), false),
        (note("2").record("007").to("a", "L"), false),
    ] {
        let world = World::new();
        world.post([update("1").to("a", "L"), behind]).await;
        world.post([update("1").says("second").to("a", "L")]).await;
        let revisions: Vec<_> =
            world.all().await.iter().map(|view| (view.notification_id.clone(), view.revision)).collect();
        let (one, two) = ("1".to_owned(), "2".to_owned());
        if is_overtaking {
            assert_eq!(world.states().await, ["waiting", "blocked", "blocked"], "the older stays, the newer is last");
            assert_eq!(revisions, [(one.clone(), 1), (two, 1), (one.clone(), 2)]);
            world.post([update("1").says("third").to("a", "L")]).await;
            let last = world.all().await.pop().unwrap();
            assert_eq!((last.delivery_id.0, last.revision), (3, 3), "nothing older stands behind that one");
        } else {
            assert_eq!(revisions, [(one, 2), (two, 1)], "in place");
        }
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_revision_goes_behind_a_dead_letter_of_its_record_so_that_replaying_that_is_refused_as_outdated() {
    let world = World::new();
    let update = |id: &str| note(id).record("006");
    world.post([update("1").to("a", "L"), update("2").dead_on("a", "lookup: no such country")]).await;
    world.post([update("1").says("second").to("a", "L")]).await;
    assert_eq!(world.states().await, ["waiting", "dead", "blocked"]);
    for _ in 0..2 {
        world.deliver(&world.claim_one().await).await;
    }
    assert_eq!(world.store().outdated_by(DeliveryId(2)).await.unwrap(), Some(DeliveryId(3)));
    world.assert_sound().await;
}

#[tokio::test]
async fn the_revisions_of_both_deliveries_of_one_notification_replace_them_in_place() {
    let world = World::new();
    world.post([note("1").to("a", "L").to("b", "L")]).await;
    world.post([note("1").says("second").to("a", "L").to("b", "L")]).await;
    let revisions: Vec<_> = world.all().await.iter().map(|view| view.revision).collect();
    assert_eq!(revisions, [2, 2]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_stands_for_another_notification_is_not_lost_when_its_own_no_longer_matches() {
    let world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1"), update("2")]).await;
    world.post([note("2").record("006").says("second")]).await;
    assert_eq!(world.states().await, ["superseded", "waiting"], "what the first said must not be lost with it");
    assert_eq!(world.all().await[1].revision, 1);
    // In another lane it is made anew, and stands for the first too.
    world.post([note("2").record("006").says("third").newest("a", "M", None)]).await;
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting"]);
    world.post([note("2").record("006").says("fourth")]).await;
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting"]);
    world.assert_sound().await;
    // Within one envelope, and when it is dead.
    let world = World::new();
    world.post([update("1"), update("2"), note("2").record("006").says("second")]).await;
    assert_eq!(world.states().await, ["superseded", "waiting"]);
    world.kill(&world.claim_one().await, false).await;
    world.post([note("2").record("006").says("third")]).await;
    assert_eq!(world.states().await, ["superseded", "dead"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_a_revision_supersedes_names_what_took_its_place() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    world.kill(&world.claim_one().await, false).await;
    world.post([note("1").says("second").to("a", "L"), note("2").says("second").to("a", "N")]).await;
    world.post([note("2").says("third")]).await;
    let successors: Vec<_> = world.all().await.iter().map(|view| view.superseded_by.map(|id| id.0)).collect();
    assert_eq!(successors, [Some(3), Some(4), None, None]);
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting", "superseded"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_in_another_lane_supersedes_and_makes_a_new_one() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
    world.post([note("1").says("second").to("a", "M")]).await;
    assert_eq!(world.states().await, ["superseded", "waiting", "waiting"], "the old lane goes on");
    assert_eq!(world.all().await[0].reason.as_deref(), Some("revision 2 of the notification took its place"));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_that_no_longer_matches_supersedes_what_was_never_tried() {
    let world = World::new();
    world.post([note("1").to("a", "L").to("b", "L")]).await;
    world.post([note("1").says("second").to("b", "L")]).await;
    assert_eq!(world.states().await, ["superseded", "waiting"]);
    assert_eq!(world.store().ledger().await.unwrap().notifications.routed, 1);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_that_changes_the_lanes_of_two_routes_at_once_keeps_the_accounts() {
    let world = World::new();
    world.post([note("1").to("a", "L").to("b", "L"), note("2").to("a", "L")]).await;
    world.post([note("1").says("second").to("a", "M").to("b", "M")]).await;
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting", "waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_goes_behind_what_is_in_flight_or_was_tried() {
    for tried in [false, true] {
        let world = World::new();
        world.post([note("1").to("a", "L")]).await;
        let claimed = world.claim_one().await;
        if tried {
            world.retry(&claimed, 1_000).await;
        }
        world.post([note("1").says("second").to("a", "L")]).await;
        let first = if tried { "waiting" } else { "in_flight" };
        assert_eq!(world.states().await, [first, "blocked"]);
        // The third takes the place of the second, which was never tried.
        world.post([note("1").says("third").to("a", "L")]).await;
        assert_eq!(world.states().await, [first, "blocked"]);
        assert_eq!(world.all().await[0].revision, 1);
        assert_eq!(world.all().await[1].revision, 3);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_revision_that_no_longer_matches_leaves_what_was_tried() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let _in_flight = world.claim_one().await;
    world.post([note("1").says("second").to("a", "L")]).await;
    world.post([note("1").says("third")]).await;
    assert_eq!(world.states().await, ["in_flight", "superseded"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_of_what_was_delivered_is_a_new_delivery() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.deliver(&world.claim_one().await).await;
    world.post([note("1").says("second").to("a", "L")]).await;
    assert_eq!(world.states().await, ["delivered", "waiting"]);
    world.deliver(&world.claim_one().await).await;
    world.post([note("1").says("first").to("a", "L")]).await;
    assert_eq!(world.states().await, ["delivered", "delivered", "waiting"], "only the latest revision is compared");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_of_a_dead_letter_takes_its_place() {
    for holds_lane in [false, true] {
        let world = World::new();
        world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
        world.kill(&world.claim_one().await, holds_lane).await;
        world.post([note("1").says("second").to("a", "L")]).await;
        assert_eq!(world.states().await, ["superseded", "waiting", "blocked"]);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_revision_brings_life_to_what_was_given_up_and_to_new_routes() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.change(1, Change::Discard).await.unwrap();
    world.post([note("1").says("second").to("a", "L").to("b", "M")]).await;
    assert_eq!(world.states().await, ["discarded", "waiting", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_that_fails_in_routing_supersedes_the_old_and_is_a_dead_letter() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.post([note("1").says("second").dead_on("a", "when: no such field")]).await;
    assert_eq!(world.states().await, ["superseded", "dead"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_to_another_destination_of_the_route_supersedes() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.post([note("1").says("second").towards("a", "careful", "L")]).await;
    assert_eq!(world.states().await, ["superseded", "waiting"]);
    assert_eq!(world.all().await[1].destination, "careful");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_route_that_ignores_revisions_is_left_alone_whether_it_matches_or_not() {
    let mut world = World::new();
    world.in_force.insert("a".to_owned(), OnRevision::Ignore);
    world.post([note("1").to("a", "L").to("b", "M"), note("2")]).await;
    world.post([note("1").says("second").to("b", "M")]).await;
    world.post([note("1").says("third").to("a", "Z").to("b", "M")]).await;
    world.post([note("2").says("second").to("a", "L")]).await;
    let all = world.all().await;
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].route.as_str(), all[0].revision, all[0].state), ("a", 1, State::Waiting));
    assert_eq!((all[1].route.as_str(), all[1].revision), ("b", 3));
    assert_eq!(world.store().ledger().await.unwrap().notifications.unrouted, 1);
    assert_eq!(world.store().notification("1".to_owned()).await.unwrap().len(), 3, "every revision is kept");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_waits_for_its_route_to_come_back_carries_the_newest_revision() {
    let mut world = World::new();
    let update = |id: &str| note(id).record(&format!("006-{id}"));
    world.post(["1", "2", "3"].map(|id| update(id).newest("a", id, Some("1")).to("b", id))).await;
    world.change(3, Change::Hold).await.unwrap();
    let before = world.store().unsettled().await.unwrap();
    let all_in_force = world.in_force.clone();
    world.in_force.remove("a");
    world.post([update("1").says("second").to("b", "1"), update("2").says("second").to("b", "2")]).await;
    world.post([update("3").says("second").to("b", "3")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked", "held", "blocked", "waiting", "blocked"]);
    assert!(world.all().await.iter().all(|delivery| delivery.revision == 2), "both routes' in place");
    assert_eq!(world.store().unsettled().await.unwrap(), before);
    // No other route is left, nor anything in it.
    world.in_force.clear();
    world.post([update("1").says("third"), update("2").empty()]).await;
    let carried: Vec<_> = world.all().await.iter().map(|delivery| delivery.revision).collect();
    assert_eq!(carried, [3, 3, 2, 2, 2, 2], "an empty one says nothing of the record");
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.routed, counts.unrouted, counts.revised), (3, 0, 5));
    world.assert_sound().await;
    // The route comes back: what it finds goes on, and an older state that comes late still gives way.
    world.in_force = all_in_force;
    world.post([note("late").record("006-1").newest("a", "1", Some("0"))]).await;
    assert_eq!(world.states().await.last(), Some(&"superseded"));
    assert_eq!(world.claim_one().await.notification.xml, "third");
    world.assert_sound().await;
}

#[tokio::test]
async fn behind_what_was_tried_given_up_or_made_by_a_person_a_revision_waits_for_the_absent_route() {
    let mut world = World::new();
    world.post(["dead", "tried", "under way", "taken"].map(|id| note(id).to("a", id))).await;
    for claimed in world.claim(4).await {
        match claimed.notification.notification_id.as_str() {
            "dead" => world.kill(&claimed, true).await,
            "tried" => world.retry(&claimed, 1_000).await,
            "taken" => world.deliver(&claimed).await,
            _ => {}
        }
    }
    let again = Replay {
        stays_dead: false,
        delivery: DeliveryId(4),
        still: None,
        planned: Some(planned("a", Some("again"))),
        edit: None,
        as_it_was: None,
        even_if_newer: false,
        by: By::new("somebody", "because"),
        now: world.now(),
    };
    world.store().replay(again).await.unwrap();
    let before = format!("{:?}", world.all().await);
    world.in_force.remove("a");
    world.post(["dead", "tried", "under way", "taken"].map(|id| note(id).says("second"))).await;
    let states = world.states().await;
    assert_eq!(states[..5], ["dead", "waiting", "in_flight", "delivered", "waiting"]);
    assert_eq!(states[5..], ["blocked"; 4], "each in the lane of the one before it");
    let all = world.all().await;
    assert_eq!(format!("{:?}", &all[..5]), before, "nothing of those changes");
    assert!(all[5..].iter().all(|kept| (kept.revision, kept.route.as_str()) == (2, "a")));
    // Those carry what comes next; what a person gave up stays so.
    world.change(6, Change::Discard).await.unwrap();
    world.post(["dead", "tried"].map(|id| note(id).says("third"))).await;
    let carried: Vec<_> = world.all().await.iter().map(|delivery| delivery.revision).collect();
    assert_eq!(carried, [1, 1, 1, 1, 1, 2, 3, 2, 2]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_waits_for_its_route_to_come_back_does_not_overtake_an_older_state_of_its_record() {
    let mut world = World::new();
    let update = |id: &str| note(id).record("006");
    world.post([update("1").to("a", "L"), update("2").to("b", "L")]).await;
    world.in_force.remove("a");
    world.post([update("1").says("second")]).await;
    let carried: Vec<_> = world.all().await.iter().map(|delivery| delivery.revision).collect();
    assert_eq!((carried, world.states().await), (vec![1, 1, 2], vec!["waiting", "blocked", "blocked"]));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_revision_that_is_routed_at_last_moves_the_notification_to_routed() {
    let world = World::new();
    world.post([note("1"), note("2").empty()]).await;
    world.post([note("1").says("second").to("a", "L"), note("2").says("second").to("a", "M")]).await;
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.received, counts.unique, counts.revised), (4, 2, 2));
    assert_eq!((counts.routed, counts.unrouted, counts.skipped_empty), (2, 0, 0));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_quarantined_notification_that_comes_again_from_a_known_sender_is_routed() {
    let world = World::new();
    let mut aside = world.envelope([note("1").to("a", "L")]);
    aside.quarantine = Some("unknown organization".to_owned());
    world.store().accept(aside.clone()).await.unwrap();
    assert_eq!(world.post([note("1").says("second").to("a", "L")]).await, [Fate::Revised]);
    assert_eq!(world.states().await, ["waiting"]);
    aside.notifications = vec![note("1").says("third").0];
    assert_eq!(world.store().accept(aside).await.unwrap().fates, [Fate::Revised]);
    assert_eq!(world.states().await, ["waiting"], "a quarantined revision changes nothing");
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.unique, counts.routed, counts.quarantined, counts.revised), (1, 1, 0, 2));
    world.assert_sound().await;
}

#[tokio::test]
async fn many_revisions_replace_what_was_never_tried() {
    let world = World::new();
    for revision in 0..400 {
        world.post([note("1").says(&format!("revision {revision}")).to("a", "L")]).await;
        if revision % 40 == 0 {
            for claimed in world.claim(1).await {
                world.deliver(&claimed).await;
            }
        }
    }
    assert_eq!(world.store().notification("1".to_owned()).await.unwrap().len(), 400);
    assert_eq!(world.all().await.len(), 11, "what was never tried is replaced");
    world.assert_sound().await;
}

#[tokio::test]
async fn records_are_read_by_their_rows_and_of_rows_that_are_not_there_none() {
    let world = World::new();
    world.post([note("77").to("a", "L"), note("x").says("\u{1}other")]).await;
    world.post([note("77").says("second").to("a", "L")]).await;
    let rows = |id: &'static str| async { world.store().notification(id.to_owned()).await.unwrap() };
    let (revised, other) = (rows("77").await, rows("x").await);
    let [first, second, other] = [&revised[0], &revised[1], &other[0]].map(|view| view.notification.row);
    let records = world.store().records(vec![second, other, 4711, second]).await.unwrap();
    let expected = [(second, "second"), (other, "\u{1}other")].map(|(row, xml)| (row, xml.to_owned()));
    assert_eq!(records, BTreeMap::from(expected));
    assert_eq!(world.store().records(vec![first]).await.unwrap()[&first], "first", "each revision has its own");
    assert!(world.store().records(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_notification_can_be_found_by_its_id_or_by_any_of_its_rows() {
    let world = World::new();
    world.post([note("77").to("a", "L"), note("x")]).await;
    world.post([note("77").says("second").to("a", "L")]).await;
    let by_id = world.store().notification("77".to_owned()).await.unwrap();
    let revisions: Vec<_> = by_id.iter().map(|found| (found.notification.revision, found.kind.as_str())).collect();
    assert_eq!(revisions, [(1, "routed"), (2, "revised")]);
    assert_eq!(by_id[1].notification.xml, "second");
    let row = by_id[1].notification.row.to_string();
    assert_eq!(world.store().notification(row).await.unwrap().len(), 2);
    let missing = world.store().notification("nothing".to_owned()).await.unwrap_err();
    assert_eq!(missing.to_string(), "notification nothing is not in the store");
}

// ---- claims ----

#[tokio::test]
async fn a_claim_takes_what_fell_due_first_and_no_more_than_it_asked_for() {
    let mut world = World::new();
    for id in ["1", "2", "3"] {
        world.post([note(id).to(if id == "2" { "b" } else { "a" }, id)]).await;
        world.advance(10);
    }
    let claimed = world.claim(2).await;
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.notification.notification_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!((claimed[0].attempt, claimed[0].route.as_str()), (1, "a"));
    assert_ne!(claimed[0].lease, claimed[1].lease);
    assert_eq!(world.claim(0).await.len(), 0);
    assert_eq!(world.claim(100).await.len(), 1);
    assert_eq!(world.store().ledger().await.unwrap().attempts.total, 3);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_claim_may_ask_for_what_fell_due_last() {
    let mut world = World::new();
    for id in ["1", "2", "3", "4"] {
        world.post([note(id).to(if id == "2" { "b" } else { "a" }, id)]).await;
        world.advance(10);
    }
    let newest_first = |world: &World| Claim { newest_first: true, limit: 2, ..claim_of_everything(world) };
    let ids = |claims: &Claims| claims.claimed.iter().map(|claimed| claimed.delivery.0).collect::<Vec<_>>();
    let claims = world.store().claim(newest_first(&world)).await.unwrap();
    assert_eq!(ids(&claims), [4, 3]);
    for claimed in &claims.claimed {
        world.retry(claimed, 1_000 + claimed.delivery.0).await;
    }
    let claims = world.store().claim(newest_first(&world)).await.unwrap();
    assert_eq!(ids(&claims), [2, 1], "what is not due yet does not go");
    let claims = world.store().claim(newest_first(&world)).await.unwrap();
    assert_eq!((ids(&claims), claims.next_due), (vec![], Some(Timestamp(world.now().0 + 1_003))));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_claim_passes_by_other_destinations_routes_and_systems() {
    let world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("c", "2"), note("3").to("b", "3")]).await;
    let claimed = world.claims(&["create"], &["a", "c"], 10).await.claimed;
    assert_eq!(claimed.iter().map(|claimed| claimed.delivery.0).collect::<Vec<_>>(), [1]);
    assert!(world.claims(&[], &["a", "b", "c"], 10).await.claimed.is_empty());
    assert!(world.claims(&["create"], &[], 10).await.claimed.is_empty());
    let mut other = Claim { system: "other".to_owned(), ..claim_of_everything(&world) };
    assert!(world.store().claim(other.clone()).await.unwrap().claimed.is_empty());
    other.system = "erp".to_owned();
    assert_eq!(world.store().claim(other).await.unwrap().claimed.len(), 2);
}

fn claim_of_everything(world: &World) -> Claim {
    Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned(), "careful".to_owned()],
        routes: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        limit: 100,
        newest_first: false,
        now: world.now(),
        active_ms: 0,
        config_version: ConfigVersion(1),
        bounds: Bounds::default(),
    }
}

#[tokio::test]
async fn a_claim_that_finds_too_little_says_when_the_next_falls_due() {
    let mut world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("b", "2"), note("3").to("c", "3")]).await;
    for (claimed, wait) in world.claim(3).await.iter().zip([500, 300, 100]) {
        world.retry(claimed, wait).await;
    }
    let found = world.claims(&["create"], &["a", "b", "c"], 10).await;
    assert_eq!(found.next_due, Some(Timestamp(world.now().0 + 300)), "of the destinations that may be called");
    world.advance(300);
    let found = world.claims(&["create"], &["a", "b", "c"], 1).await;
    assert_eq!((found.claimed.len(), found.next_due), (1, None));
    let found = world.claims(&["create"], &["a"], 10).await;
    assert_eq!(found.next_due, Some(Timestamp(world.now().0 + 200)));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_claim_carries_all_that_mapping_needs() {
    let mut world = World::new();
    world.advance(5_000);
    world.post([note("1").says("<sObject/>").record("006").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    let content = &claimed.notification;
    assert_eq!((content.notification_id.as_str(), content.source.as_str()), ("1", "orders"));
    assert_eq!(
        (content.organization_id.as_str(), content.action_id.as_str()),
        ("00D24000000abcdEAA", "04k24000000HfHaAAK")
    );
    assert_eq!((content.enterprise_url.as_str(), content.partner_url.as_str()), ("https://enterprise", ""));
    assert_eq!((content.record_type.as_str(), content.record_id.as_str()), ("Opportunity", "006"));
    assert_eq!((content.xml.as_str(), content.received_at), ("<sObject/>", world.now()));
    assert_eq!((claimed.lane.as_deref(), claimed.first_attempt_active_ms), (Some("L"), 5_000));
    assert_eq!((&claimed.repeat, claimed.same_bytes_as, &claimed.stale_mark), (&None, None, &None));
}

// ---- settlements and lanes ----

#[tokio::test]
async fn a_lane_goes_on_one_by_one_in_the_order_of_arrival() {
    let world = World::new();
    world.post((0..4).map(|id| note(&id.to_string()).to(if id == 2 { "b" } else { "a" }, "L"))).await;
    for expected in 0..4 {
        let claimed = world.claim(10).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].notification.notification_id, expected.to_string());
        world.deliver(&claimed[0]).await;
        world.assert_sound().await;
    }
    assert_eq!(world.store().ledger().await.unwrap().deliveries.delivered, 4);
}

#[tokio::test]
async fn deliveries_without_a_lane_never_wait_for_one_another() {
    let world = World::new();
    world.post((0..5).map(|id| note(&id.to_string()).in_any_order("a"))).await;
    assert_eq!(world.claim(10).await.len(), 5);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_settlement_under_another_lease_does_nothing() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    world.retry(&claimed, 0).await;
    let late = world.settling(&claimed, "delivered", Settlement::Delivered);
    assert!(matches!(world.store().settle(late.clone()).await, Err(StoreError::LeaseLost)));
    let again = world.claim_one().await;
    assert_ne!(again.lease, claimed.lease);
    assert!(matches!(world.store().settle(late).await, Err(StoreError::LeaseLost)));
    let mut unknown = world.settling(&again, "delivered", Settlement::Delivered);
    unknown.delivery = DeliveryId(999);
    assert!(matches!(world.store().settle(unknown).await, Err(StoreError::LeaseLost)));
    world.deliver(&again).await;
    assert_eq!(world.states().await, ["delivered"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn each_settlement_moves_the_lane_as_its_state_says() {
    let reason = || "why".to_owned();
    let cases = [
        (Settlement::Delivered, "delivered", "waiting"),
        (Settlement::Waiting { due_at: Timestamp(i64::MAX) }, "waiting", "blocked"),
        (Settlement::Dead { reason: reason(), holds_lane: false }, "dead", "waiting"),
        (Settlement::Dead { reason: reason(), holds_lane: true }, "dead", "blocked"),
        (Settlement::Held { reason: reason() }, "held", "blocked"),
        (Settlement::Superseded { reason: reason() }, "superseded", "waiting"),
    ];
    for (settlement, state, next) in cases {
        let world = World::new();
        world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
        world.settle(&world.claim_one().await, "retry", settlement).await;
        assert_eq!(world.states().await, [state, next]);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn an_attempt_keeps_what_was_said_and_answered() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    let (_, attempts) = world.store().delivery(claimed.delivery).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].number, attempts[0].outcome.as_deref()), (1, 1, None));
    let record = Record {
        call_hash: Some([7; 32]),
        request_line: "POST http://erp/orders".to_owned(),
        request: "<order/>".to_owned(),
        request_cut: true,
        status: Some(500),
        response: "<fault/>".to_owned(),
        response_cut: false,
        fault: Some(Fault {
            code: "Server.Busy".to_owned(),
            code_namespace: "urn:soap".to_owned(),
            subcodes: vec!["Busy".to_owned()],
            subcode_namespaces: vec![String::new()],
            string: "later".to_owned(),
            actor: None,
            detail: Some("<d/>".to_owned()),
            content: serde_json::Value::Null,
        }),
    };
    let mut settle = world.settling(&claimed, "retry", Settlement::Waiting { due_at: world.now() });
    settle.record = record.clone();
    world.store().settle(settle).await.unwrap();
    let (view, attempts) = world.store().delivery(claimed.delivery).await.unwrap();
    assert_eq!(attempts[0].record, record);
    assert_eq!((attempts[0].outcome.as_deref(), attempts[0].duration_ms), (Some("retry"), Some(12)));
    assert_eq!(attempts[0].reason.as_deref(), Some("it was retry"));
    assert_eq!((view.status, view.attempts, view.reason.as_deref()), (Some(500), 1, Some("it was retry")));
}

#[tokio::test]
async fn an_attempt_that_met_refused_credentials_is_remembered_apart() {
    let mut world = World::new();
    world.post([note("1").to("a", "L")]).await;
    for (excused, before) in [(true, 0), (false, 1), (true, 1), (false, 2)] {
        let claimed = world.claim_one().await;
        assert_eq!(claimed.excused, before);
        let again = Settlement::Waiting { due_at: world.now() };
        let settle = Settle { excused, ..world.settling(&claimed, "retry", again) };
        world.store().settle(settle).await.unwrap();
        world.reopen().await;
    }
    let claimed = world.claim_one().await;
    assert_eq!((claimed.attempt, claimed.excused), (5, 2));
    world.assert_sound().await;
}

#[tokio::test]
async fn the_age_of_a_delivery_begins_anew_behind_an_attempt_that_counts_against_no_limit() {
    let mut world = World::new();
    world.post([note("1").to("a", "L")]).await;
    for (excused, active_ms, first) in
        [(false, 10, 10), (false, 20, 10), (true, 30, 10), (true, 40, 40), (false, 50, 50), (false, 60, 50)]
    {
        world.active_ms = active_ms;
        let claimed = world.claim_one().await;
        assert_eq!(claimed.first_attempt_active_ms, first, "{active_ms}");
        let again = Settlement::Waiting { due_at: world.now() };
        let settle = Settle { excused, ..world.settling(&claimed, "retry", again) };
        world.store().settle(settle).await.unwrap();
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn what_a_person_releases_or_replays_is_decided_until_its_next_attempt() {
    let mut world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let held = || Settlement::Held { reason: "who knows".to_owned() };
    let dead = || Settlement::Dead { reason: "too often".to_owned(), holds_lane: false };
    let replay = Change::Replay { even_if_newer: false };
    world.settle(&world.claim_one().await, "unknown", held()).await;
    for (change, next) in [(Change::Release, dead()), (replay.clone(), held()), (Change::Release, held())] {
        world.change(1, change).await.unwrap();
        world.reopen().await;
        let claimed = world.claim_one().await;
        assert_eq!(claimed.repeat, Some((DECIDED.to_owned(), 0)));
        assert_eq!(claimed.same_bytes_as, Some(ConfigVersion(1)));
        // What was not called stays decided.
        world.store().release(vec![(claimed.delivery, claimed.lease)]).await.unwrap();
        let claimed = world.claim_one().await;
        assert_eq!(claimed.repeat, Some((DECIDED.to_owned(), 0)));
        world.settle(&claimed, "unknown", next).await;
    }
    world.change(1, Change::Release).await.unwrap();
    let due = Settlement::Waiting { due_at: world.now() };
    world.settle(&world.claim_one().await, "unknown", due).await;
    let claimed = world.claim_one().await;
    assert_eq!(claimed.repeat, None, "the attempt was made, and is unknown anew");
    world.reopen().await;
    assert_eq!(world.claim_one().await.repeat, None);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_same_fault_again_is_counted_and_another_starts_anew() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let faults = [Some("x"), Some("x"), Some("y"), None, Some("y")];
    let expected = [Some(("x", 1)), Some(("x", 2)), Some(("y", 1)), None, Some(("y", 1))];
    for (fault, expected) in faults.into_iter().zip(expected) {
        let mut settle = world.settling(&world.claim_one().await, "retry", Settlement::Waiting { due_at: world.now() });
        settle.repeat_key = fault.map(str::to_owned);
        world.store().settle(settle).await.unwrap();
        let claimed = world.claim_one().await;
        assert_eq!(claimed.repeat, expected.map(|(key, count)| (key.to_owned(), count)));
        world.store().release(vec![(claimed.delivery, claimed.lease)]).await.unwrap();
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn after_an_unknown_outcome_the_same_bytes_go_out_until_it_is_settled() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let due = || Settlement::Waiting { due_at: world.now() };
    world.settle(&world.claim_one().await, "unknown", due()).await;
    let mut newer = claim_of_everything(&world);
    newer.config_version = ConfigVersion(7);
    for outcome in ["unknown", "retry"] {
        let claimed = world.store().claim(newer.clone()).await.unwrap().claimed.remove(0);
        assert_eq!(claimed.same_bytes_as, Some(ConfigVersion(1)));
        world.settle(&claimed, outcome, due()).await;
    }
    let claimed = world.store().claim(newer).await.unwrap().claimed.remove(0);
    assert_eq!(
        claimed.same_bytes_as,
        Some(ConfigVersion(1)),
        "who answers \"not now\" says nothing of the call before"
    );
    world.deliver(&claimed).await;
    let (_, attempts) = world.store().delivery(claimed.delivery).await.unwrap();
    let versions: Vec<_> = attempts.iter().map(|attempt| attempt.config_version.0).collect();
    assert_eq!(versions, [1, 1, 1, 1]);
    let counts = world.store().ledger().await.unwrap().attempts;
    assert_eq!((counts.total, counts.unknown), (4, 2));
    world.assert_sound().await;
}

#[tokio::test]
async fn the_age_counts_from_the_first_attempt_and_the_systems_time_never_goes_back() {
    let mut world = World::new();
    world.advance(100);
    world.post([note("1").to("a", "L")]).await;
    world.retry(&world.claim_one().await, 0).await;
    world.advance(900);
    let claimed = world.claim_one().await;
    assert_eq!((claimed.attempt, claimed.first_attempt_active_ms), (2, 100));
    world.retry(&claimed, 0).await;
    assert_eq!(world.store().system("erp".to_owned()).await.unwrap().active_ms, 1_000);
    world.active_ms = 5;
    world.deliver(&world.claim_one().await).await;
    assert_eq!(world.store().system("erp".to_owned()).await.unwrap().active_ms, 1_000);
}

#[tokio::test]
async fn the_mark_of_what_was_delivered_for_a_record_belongs_to_its_route() {
    let world = World::new();
    world.post([note("1").record("R").to("a", "1"), note("2").record("R").to("a", "2").to("b", "3")]).await;
    let mut settle = world.settling(&world.claim_one().await, "delivered", Settlement::Delivered);
    settle.stale_mark = Some(marked("Changed", "2026-01-01"));
    world.store().settle(settle).await.unwrap();
    let claimed = world.claim(10).await;
    let marks: Vec<_> = claimed.iter().map(|claimed| (claimed.route.as_str(), claimed.stale_mark.clone())).collect();
    assert_eq!(marks, [("a", Some(marked("Changed", "2026-01-01"))), ("b", None)]);
    // A mark of another field takes its place.
    let mut settle = world.settling(&claimed[0], "delivered", Settlement::Delivered);
    settle.stale_mark = Some(marked("Version", "2"));
    world.store().settle(settle).await.unwrap();
    world.post([note("3").record("R").to("a", "1")]).await;
    assert_eq!(world.claim_one().await.stale_mark, Some(marked("Version", "2")));
}

#[tokio::test]
async fn leases_given_back_count_no_attempt() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    let wrong = omgate::delivery::Lease(claimed.lease.0 + 1);
    world.store().release(vec![(claimed.delivery, wrong), (DeliveryId(99), claimed.lease)]).await.unwrap();
    assert_eq!(world.states().await, ["in_flight", "blocked"]);
    world.store().release(vec![(claimed.delivery, claimed.lease)]).await.unwrap();
    assert_eq!(world.states().await, ["waiting", "blocked"]);
    assert_eq!(world.store().ledger().await.unwrap().attempts.total, 0);
    assert!(world.store().delivery(claimed.delivery).await.unwrap().1.is_empty());
    let again = world.claim_one().await;
    assert_eq!(again.attempt, 1);
    assert!(again.lease.0 > claimed.lease.0, "a lease is never given twice");
    world.assert_sound().await;
}

// ---- what people do ----

#[tokio::test]
async fn a_replayed_dead_letter_goes_ahead_of_what_was_not_sent_yet() {
    let world = World::new();
    world.post((1..4).map(|id| note(&id.to_string()).to("a", "L"))).await;
    world.kill(&world.claim_one().await, false).await;
    assert_eq!(world.states().await, ["dead", "waiting", "blocked"]);
    let view = world.change(1, Change::Replay { even_if_newer: true }).await.unwrap();
    assert_eq!((view.delivery_id.0, view.state), (1, State::Waiting));
    assert_eq!(world.states().await, ["waiting", "blocked", "blocked"]);
    world.assert_sound().await;
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery.0, claimed.attempt), (1, 2), "attempts are counted on");
    world.deliver(&claimed).await;
    assert_eq!(world.states().await, ["delivered", "waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_makes_way_for_a_replayed_dead_letter_is_not_due_before_it_was() {
    for (in_flight, pulled) in [(false, false), (true, false), (true, true)] {
        let world = World::new();
        world.post((1..4).map(|id| note(&id.to_string()).to("a", "L"))).await;
        world.kill(&world.claim_one().await, false).await;
        let told_to_wait = world.claim_one().await;
        let replay = || world.change(1, Change::Replay { even_if_newer: true });
        if in_flight {
            replay().await.unwrap();
        }
        world.retry(&told_to_wait, 60_000).await;
        if !in_flight {
            replay().await.unwrap();
        }
        assert_eq!(world.states().await, ["waiting", "blocked", "blocked"]);
        world.assert_sound().await;
        if pulled {
            assert_eq!(world.store().pull_back(world.now(), Duration::from_secs(10)).await.unwrap(), 1);
        }
        world.deliver(&world.claim_one().await).await;
        assert_eq!(world.states().await, ["delivered", "waiting", "blocked"]);
        let due_at = world.all().await[1].due_at.unwrap();
        assert_eq!(due_at.0 - world.now().0, if pulled { 10_000 } else { 60_000 });
        assert!(world.claim(1).await.is_empty());
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_replayed_dead_letter_comes_next_after_what_is_in_flight() {
    for again in [false, true] {
        let world = World::new();
        world.post((1..4).map(|id| note(&id.to_string()).to("a", "L"))).await;
        world.kill(&world.claim_one().await, false).await;
        let in_flight = world.claim_one().await;
        let view = world.change(1, Change::Replay { even_if_newer: true }).await.unwrap();
        assert_eq!((view.state, view.behind), (State::Blocked, Some(DeliveryId(2))));
        world.assert_sound().await;
        if again {
            world.retry(&in_flight, 0).await;
            assert_eq!(world.states().await, ["waiting", "blocked", "blocked"]);
        } else {
            world.deliver(&in_flight).await;
            assert_eq!(world.states().await, ["waiting", "delivered", "blocked"]);
        }
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_dead_letter_that_holds_its_lane_lets_it_go_when_replayed_or_discarded() {
    for (change, states) in
        [(Change::Replay { even_if_newer: true }, ["waiting", "blocked"]), (Change::Discard, ["discarded", "waiting"])]
    {
        let world = World::new();
        world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
        world.kill(&world.claim_one().await, true).await;
        assert!(world.claim(1).await.is_empty());
        world.change(1, change).await.unwrap();
        assert_eq!(world.states().await, states);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_held_head_stops_its_lane_and_a_held_other_stops_it_in_its_turn() {
    let world = World::new();
    world.post((1..4).map(|id| note(&id.to_string()).to("a", "L"))).await;
    world.change(2, Change::Hold).await.unwrap();
    world.change(1, Change::Hold).await.unwrap();
    assert_eq!(world.states().await, ["held", "held", "blocked"]);
    assert!(world.claim(1).await.is_empty());
    world.assert_sound().await;
    assert_eq!(world.change(1, Change::Release).await.unwrap().state, State::Waiting);
    world.deliver(&world.claim_one().await).await;
    assert_eq!(world.states().await, ["delivered", "held", "blocked"]);
    world.change(2, Change::Discard).await.unwrap();
    assert_eq!(world.states().await, ["delivered", "discarded", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_released_delivery_behind_another_is_blocked() {
    let world = World::new();
    world.post((1..4).map(|id| note(&id.to_string()).to("a", "L"))).await;
    world.change(2, Change::Hold).await.unwrap();
    let view = world.change(2, Change::Release).await.unwrap();
    assert_eq!((view.state, view.behind), (State::Blocked, Some(DeliveryId(1))));
    world.assert_sound().await;
}

#[tokio::test]
async fn without_a_lane_a_change_concerns_one_delivery_alone() {
    let world = World::new();
    world.post([note("1").in_any_order("a"), note("2").in_any_order("a")]).await;
    world.change(1, Change::Hold).await.unwrap();
    assert_eq!(world.states().await, ["held", "waiting"]);
    world.change(1, Change::Release).await.unwrap();
    for claimed in world.claim(2).await {
        world.kill(&claimed, true).await;
    }
    world.change(2, Change::Replay { even_if_newer: true }).await.unwrap();
    assert_eq!(world.states().await, ["dead", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_change_that_the_state_forbids_is_refused_in_words() {
    let world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("a", "2"), note("3").to("a", "3"), note("4").to("a", "4")]).await;
    world.change(4, Change::Hold).await.unwrap();
    let claimed = world.claim(2).await;
    world.deliver(&claimed[0]).await;
    for (delivery, change, words) in [
        (1, Change::Replay { even_if_newer: true }, "delivery 1 is delivered; only a dead one can be replayed"),
        (1, Change::Discard, "delivery 1 is delivered; only a waiting, blocked, held or dead one can be discarded"),
        (2, Change::Hold, "delivery 2 is in flight; only a waiting or blocked one can be held"),
        (3, Change::Release, "delivery 3 is waiting; only a held one can be released"),
        (4, Change::Hold, "delivery 4 is held; only a waiting or blocked one can be held"),
        (99, Change::Hold, "delivery 99 is not in the store"),
    ] {
        assert_eq!(world.change(delivery, change).await.unwrap_err().to_string(), words);
    }
    assert_eq!(world.states().await, ["delivered", "in_flight", "waiting", "held"]);
    world.assert_sound().await;
}

// ---- systems, configurations, refused POSTs, time ----

#[tokio::test]
async fn a_system_keeps_its_pause_and_its_open_time() {
    let mut world = World::new();
    assert_eq!(world.store().system("erp".to_owned()).await.unwrap(), SystemState::default());
    let pause = Pause { probe_at: Some(Timestamp(5)), until: Some(Timestamp(9)), ..Pause::new("401", world.now()) };
    let outage = Outage { reason: "HTTP 503".to_owned(), since: world.now(), probe_at: Timestamp(6), trips: 3 };
    let paused = SystemState { active_ms: 70, paused: Some(pause), breaker: Some(outage), next_call: None };
    let deed = Deed { at: world.now(), by: By::new("alice", "the ERP is updated"), ..Deed::default() };
    let deed = Deed { verb: "pause".to_owned(), object: "system", object_id: "erp".to_owned(), ..deed };
    world.store().set_system("erp".to_owned(), paused.clone(), Some(deed)).await.unwrap();
    world.reopen().await;
    assert_eq!(world.store().system("erp".to_owned()).await.unwrap(), paused);
    let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
    let entry = log.iter().find(|entry| entry.object_id == "erp").unwrap();
    assert_eq!((entry.verb.as_str(), entry.who.as_str()), ("pause", "alice"), "one goes with the other");
    world
        .store()
        .set_system("erp".to_owned(), SystemState { active_ms: 60, ..SystemState::default() }, None)
        .await
        .unwrap();
    assert_eq!(
        world.store().system("erp".to_owned()).await.unwrap(),
        SystemState { active_ms: 70, ..SystemState::default() },
        "open time never goes back"
    );
}

/// The way out over a store, for a configuration with the one system `erp`.
async fn dispatch(world: &World) -> Arc<omgate::dispatch::Dispatch> {
    let path = world.folder.path().join("omgate.toml");
    let text = "[server]\nlisten = \"127.0.0.1:0\"\n[[source]]\nname = \"a\"\npath = \"/a\"\norganizations = [\"00D24000000abcdEAA\"]\n\
                [[destination]]\nname = \"erp\"\nkind = \"rest\"\nurl = \"http://127.0.0.1:9/\"\n\
                [[route]]\nsource = \"a\"\ndestination = \"erp\"\n";
    std::fs::write(&path, text).unwrap();
    let metrics = Arc::new(omgate::telemetry::Metrics::default());
    let parts = omgate::dispatch::Parts {
        store: world.shared(),
        plan: omgate::config::load(&path).unwrap().plan,
        config_version: ConfigVersion(1),
        recall: Box::new(|_| None),
        transport: Arc::new(omgate::deliver::Http),
        clock: world.clock.clone(),
        metrics: Arc::clone(&metrics),
        alarms: Arc::new(omgate::telemetry::Alarms::new(metrics)),
        traces: omgate::telemetry::Traces::off(),
    };
    omgate::dispatch::Dispatch::start(parts).await.unwrap()
}

#[tokio::test]
async fn what_a_person_wants_of_a_system_counts_at_once_and_the_last_wish_stands() {
    let world = World::new();
    let dispatch = dispatch(&world).await;
    let pause = || dispatch.systems().pop().unwrap().1.paused.map(|pause| pause.reason);
    let mut first = dispatch.pause("erp", "first", None, None).boxed();
    let mut second = dispatch.resume("erp", None).boxed();
    let mut third = dispatch.pause("erp", "third", None, None).boxed();
    // Each is wanted while those before it are still being written; a database is never that fast.
    world.faults.hang_commits();
    for (wish, counts) in [(&mut first, Some("first")), (&mut second, None), (&mut third, Some("third"))] {
        let is_pending = std::future::poll_fn(|context| Poll::Ready(wish.poll_unpin(context).is_pending())).await;
        assert!(is_pending, "it is not written yet");
        assert_eq!(pause().as_deref(), counts, "and counts already");
    }
    world.faults.resume_commits();
    for earlier in [first, second] {
        earlier.await.unwrap();
        assert_eq!(pause().as_deref(), Some("third"), "what was wanted before is not wanted again");
    }
    third.await.unwrap();
    let kept = world.store().system("erp".to_owned()).await.unwrap();
    assert_eq!(kept.paused.map(|pause| pause.reason).as_deref(), Some("third"));
    dispatch.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn an_equal_configuration_is_kept_once() {
    let world = World::new();
    let config = |text: &str| StoredConfig { files: BTreeMap::from([(String::new(), text.to_owned())]) };
    let first = world.store().save_config(config("a"), world.now()).await.unwrap();
    let second = world.store().save_config(config("b"), world.now()).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(world.store().save_config(config("a"), world.now()).await.unwrap(), first);
    assert_eq!(world.store().config(first).await.unwrap().files, config("a").files);
    let missing = world.store().config(ConfigVersion(99)).await.unwrap_err();
    assert_eq!(missing.to_string(), "configuration version 99 is not in the store");
}

#[tokio::test]
async fn the_last_thousand_refused_posts_are_kept_each_cut_at_its_bound() {
    let world = World::new();
    let post = |number: i64| RefusedPost {
        at: Timestamp(number),
        source: "orders".to_owned(),
        sender: "10.0.0.1".to_owned(),
        reason: "not well-formed".to_owned(),
        dropped_at: (number % 2 == 0).then_some(Timestamp(number + 1)),
        body: "ä".repeat(if number == 1_004 { 40_000 } else { 1 }),
    };
    futures_util::future::try_join_all((0..1_005).map(|number| world.store().refuse(post(number)))).await.unwrap();
    let kept = world.store().refused(5_000).await.unwrap();
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0].at, kept[999].at), (Timestamp(1_004), Timestamp(5)));
    assert_eq!(kept[0].body.len(), 64 << 10);
    assert_eq!((kept[0].dropped_at, kept[1].dropped_at), (Some(Timestamp(1_005)), None));
    assert_eq!(world.store().refused(3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn due_times_too_far_ahead_are_pulled_back() {
    let world = World::new();
    world.post((0..3).map(|id| note(&id.to_string()).to("a", &id.to_string()))).await;
    for (claimed, wait) in world.claim(3).await.iter().zip([1_000, 60_000, i64::MAX / 2]) {
        world.retry(claimed, wait).await;
    }
    assert_eq!(world.store().pull_back(world.now(), Duration::from_secs(10)).await.unwrap(), 2);
    assert_eq!(world.store().pull_back(world.now(), Duration::from_secs(10)).await.unwrap(), 0);
    let due: Vec<_> = world.all().await.iter().map(|delivery| delivery.due_at.unwrap().0 - world.now().0).collect();
    assert_eq!(due, [1_000, 10_000, 10_000]);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_was_never_attempted_is_pulled_back_to_the_present() {
    let mut world = World::new();
    world.advance(5_000);
    world.post([note("1").to("a", "1"), note("2").to("a", "2").to("b", "2")]).await;
    let claimed = world.claim_one().await;
    world.retry(&claimed, 3_000).await;
    // The clock was ahead and was set right.
    world.advance(-5_000);
    assert_eq!(world.store().pull_back(world.now(), Duration::from_secs(10)).await.unwrap(), 1);
    assert_eq!(world.store().pull_back(world.now(), Duration::from_secs(10)).await.unwrap(), 0);
    let due: Vec<_> = world.all().await.iter().map(|view| view.due_at.map(|due_at| due_at.0 - world.now().0)).collect();
    assert_eq!(due, [Some(8_000), Some(0), None]);
    world.assert_sound().await;
}

#[tokio::test]
async fn lists_are_filtered_cut_and_continued() {
    let world = World::new();
    world.post((0..5).map(|id| note(&id.to_string()).record(&format!("R{}", id % 2)).to("a", "L").to("c", "M"))).await;
    world.change(3, Change::Hold).await.unwrap();
    let none = DeliveryFilter::default;
    let some = |text: &str| Some(text.to_owned());
    for (filter, ids) in [
        (DeliveryFilter { limit: Some(2), ..none() }, vec![10, 9]),
        (DeliveryFilter { limit: Some(2), before: Some(9), ..none() }, vec![8, 7]),
        (DeliveryFilter { limit: Some(0), ..none() }, vec![10]),
        (DeliveryFilter { state: Some(State::Held), ..none() }, vec![3]),
        (DeliveryFilter { state: Some(State::Waiting), ..none() }, vec![2, 1]),
        (DeliveryFilter { state: Some(State::Dead), ..none() }, vec![]),
        (DeliveryFilter { state: Some(State::InFlight), ..none() }, vec![]),
        (DeliveryFilter { state: Some(State::Held), record_id: some("R1"), ..none() }, vec![3]),
        (DeliveryFilter { state: Some(State::Blocked), record_id: some("R1"), limit: Some(1), ..none() }, vec![8]),
        (DeliveryFilter { route: some("c"), record_id: some("R1"), ..none() }, vec![8, 4]),
        (DeliveryFilter { destination: some("create"), notification_id: some("4"), ..none() }, vec![9]),
        (DeliveryFilter { destination: some("nowhere"), ..none() }, vec![]),
    ] {
        let found = world.store().deliveries(filter.clone()).await.unwrap();
        assert_eq!(found.iter().map(|found| found.delivery_id.0).collect::<Vec<_>>(), ids, "{filter:?}");
    }
    let filter = NotificationFilter { record_id: some("R1"), source: some("orders"), ..NotificationFilter::default() };
    let found = world.store().notifications(filter).await.unwrap();
    assert_eq!(found.iter().map(|found| found.notification.notification_id.as_str()).collect::<Vec<_>>(), ["3", "1"]);
    let filter = NotificationFilter { kind: some("routed"), limit: Some(2), before: Some(3), ..Default::default() };
    let found = world.store().notifications(filter).await.unwrap();
    assert_eq!(found.iter().map(|found| found.notification.row).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn the_backlog_knows_since_when_the_oldest_waits() {
    let mut world = World::new();
    let began = world.now();
    for id in ["1", "2", "3"] {
        world.post([note(id).to("a", id)]).await;
        world.advance(1_000);
    }
    assert_eq!(world.store().backlog().await.unwrap().oldest_unsettled["create"], began);
    world.deliver(&world.claim_one().await).await;
    assert_eq!(world.store().backlog().await.unwrap().oldest_unsettled["create"].0, began.0 + 1_000);
    for claimed in world.claim(2).await {
        world.deliver(&claimed).await;
    }
    assert!(world.store().backlog().await.unwrap().oldest_unsettled.is_empty());
}

// ---- stopping and starting ----

#[tokio::test]
async fn what_was_in_flight_when_the_process_died_is_unknown_and_sent_again_or_held() {
    let mut world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("c", "2"), note("3").to("a", "1")]).await;
    let claimed = world.claim(10).await;
    assert_eq!(claimed.len(), 2);
    world.reopen().await;
    assert_eq!(world.states().await, ["waiting", "held", "blocked"]);
    let counts = world.store().ledger().await.unwrap().attempts;
    assert_eq!((counts.total, counts.unknown), (2, 2));
    let (view, attempts) = world.store().delivery(claimed[1].delivery).await.unwrap();
    assert_eq!(view.reason.as_deref(), Some("the gateway stopped while the call was under way"));
    assert_eq!(attempts[0].outcome.as_deref(), Some("unknown"));
    let late = world.settling(&claimed[0], "delivered", Settlement::Delivered);
    assert!(matches!(world.store().settle(late).await, Err(StoreError::LeaseLost)));
    let again = world.claim_one().await;
    assert_eq!((again.attempt, again.same_bytes_as), (2, Some(ConfigVersion(1))));
    assert!(again.lease.0 > claimed[1].lease.0);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_look_up_that_a_stop_cuts_is_no_attempt_until_the_call_behind_it_begins() {
    let mut world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("a", "1")]).await;
    let first = world.claim_one().await;
    world.settle(&first, "unknown", Settlement::Waiting { due_at: world.now() }).await;
    let looking = |world: &World| {
        let bounds = Bounds { looked_up: vec!["a".to_owned()], ..Bounds::default() };
        Claim { bounds, ..claim_of_everything(world) }
    };
    let reason = world.all().await[0].reason.clone();
    for _ in 0..3 {
        let cut = world.store().claim(looking(&world)).await.unwrap().claimed.remove(0);
        assert_eq!(cut.attempt, 2);
        let (_, attempts) = world.store().delivery(cut.delivery).await.unwrap();
        assert!(attempts[1].reason.as_deref().unwrap().contains("no call was made yet"));
        assert_eq!(attempts[1].outcome, None);
        world.reopen().await;
        assert_eq!(world.states().await, ["waiting", "blocked"]);
        let counts = world.store().ledger().await.unwrap().attempts;
        assert_eq!((counts.total, counts.unknown), (1, 1));
        assert_eq!(world.all().await[0].reason, reason);
        assert!(matches!(world.store().begin_call(cut.delivery, cut.lease).await, Err(StoreError::LeaseLost)));
        world.assert_sound().await;
    }
    let begun = world.store().claim(looking(&world)).await.unwrap().claimed.remove(0);
    assert_eq!((begun.attempt, begun.same_bytes_as), (2, Some(ConfigVersion(1))));
    world.store().begin_call(begun.delivery, begun.lease).await.unwrap();
    world.reopen().await;
    let counts = world.store().ledger().await.unwrap().attempts;
    assert_eq!((counts.total, counts.unknown), (2, 2), "whether the call was taken, nobody knows");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_may_have_been_taken_stays_so_through_attempts_that_come_to_nothing() {
    let world = World::new();
    world.post([note("1").to("a", "1")]).await;
    let waiting = || Settlement::Waiting { due_at: world.now() };
    world.settle(&world.claim_one().await, "unknown", waiting()).await;
    for status in [None, Some(503), None] {
        let claimed = world.claim_one().await;
        assert_eq!(claimed.same_bytes_as, Some(ConfigVersion(1)), "before {status:?}");
        let record = Record { status, ..Record::default() };
        world.store().settle(Settle { record, ..world.settling(&claimed, "retry", waiting()) }).await.unwrap();
    }
    let claimed = world.claim_one().await;
    assert_eq!(claimed.same_bytes_as, Some(ConfigVersion(1)));
    world.kill(&claimed, false).await;
    world.change(1, Change::Replay { even_if_newer: true }).await.unwrap();
    assert_eq!(world.claim_one().await.same_bytes_as, None, "a person has it made anew");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_closed_store_says_so_and_keeps_what_was_queued() {
    let mut world = World::new();
    let posts: Vec<_> =
        (0..50).map(|id| world.store().accept(world.envelope([note(&id.to_string()).to("a", "L")]))).collect();
    let close = world.store().close();
    let accepted = futures_util::future::join_all(posts).await;
    close.await;
    assert!(accepted.iter().all(Result::is_ok), "what was queued before is still written");
    let late = world.store().accept(world.envelope([note("late")])).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(matches!(world.store().ledger().await, Err(StoreError::Closed)));
    world.store().close().await;
    world.open();
    assert_eq!(world.all().await.len(), 50);
    world.assert_sound().await;
}

//! A whole store into another one: of the same kind, of the other kind, and back.

use std::cell::Cell;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use omgate::clock::Day;
use omgate::outcome::Kept;
#[cfg(feature = "postgres")]
use omgate::store::postgres::{PostgresDestination, PostgresOrigin};
use omgate::store::sqlite::{OpenError, SqliteDestination, SqliteOrigin};
use omgate::store::transfer::mover::{Moved, Mover, Progress};
use omgate::store::transfer::taking::Ending;
use omgate::store::transfer::{Destination, Mark, Origin, Page, Row, SUMS, Side, Stage, TABLES, Table};
use omgate::store::{AuditFilter, DayFilter, TakenBy, TakenConfig};
use serde_json::{Value as Json, json};
use tokio::sync::{Notify, watch};

use super::model::{Dice, Outside};
use super::*;

impl World {
    fn file(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn origin(&self) -> Box<dyn Origin> {
        match self.store.clone().unwrap() {
            Opened::Sqlite(store) | Opened::Sealed(store, _) => Box::new(SqliteOrigin::of(store)),
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => {
                let address = crate::postgres::address(self.database.as_ref().unwrap());
                Box::new(PostgresOrigin::of(store, &address))
            }
        }
    }

    /// Closes the store, which is empty, and gives it to be moved into.
    async fn destination(&mut self) -> Box<dyn Destination> {
        if let Some(store) = self.store.take() {
            match store {
                Opened::Sqlite(store) | Opened::Sealed(store, _) => store.close().await,
                #[cfg(feature = "postgres")]
                Opened::Postgres(store) => store.close().await,
            }
        }
        match &self.database {
            None => Box::new(SqliteDestination::open(&self.file()).unwrap()),
            #[cfg(feature = "postgres")]
            Some(url) => Box::new(PostgresDestination::open(&crate::postgres::address(url)).await.unwrap()),
            #[cfg(not(feature = "postgres"))]
            Some(_) => unreachable!(),
        }
    }

    fn mover(&self, destination: Box<dyn Destination>) -> Mover {
        Mover::new(self.origin(), destination, self.clock.clone(), watch::Sender::new(Progress::default()))
    }

    /// Moves this store into an empty one of a kind.
    async fn moved_into(self, database: Option<String>) -> (Self, Moved) {
        let mut target = Self::on(database);
        target.clock.0.store(self.clock.0.load(Ordering::SeqCst), Ordering::SeqCst);
        target.active_ms = self.active_ms;
        let mover = self.mover(target.destination().await);
        mover.copy().await.unwrap();
        let moved = mover.switch().await.unwrap();
        drop(mover);
        self.store().close().await;
        target.open();
        (target, moved)
    }

    /// All that can be asked of the store.
    async fn seen(&self) -> Json {
        let store = self.store();
        let mut deliveries = Vec::new();
        for delivery in self.all().await {
            deliveries.push(json!(store.delivery(delivery.delivery_id).await.unwrap()));
        }
        let newest = NotificationFilter { limit: Some(1_000), ..NotificationFilter::default() };
        let mut notifications = Vec::new();
        for listed in store.notifications(newest).await.unwrap() {
            notifications.push(json!(store.notification(listed.notification.row.to_string()).await.unwrap()));
        }
        let (from, to) = (Day(0), self.now().day());
        let days = DayFilter { from: to.plus(-100).max(from), to, source: None, destination: None };
        let days = store.ledger_days(days).await.unwrap();
        let audit = store.audit_log(AuditFilter::default()).await.unwrap();
        json!({
            "deliveries": deliveries,
            "notifications": notifications,
            "ledger": store.ledger().await.unwrap(),
            "days": days.rows,
            "gaps": json!(store.gaps(to.plus(-100), None).await.unwrap()),
            "absences": store.absences().await.unwrap(),
            "audit": audit,
            "refused": store.refused(100).await.unwrap(),
            "taken": store.taken_configs(100).await.unwrap(),
            "system": format!("{:?}", store.system("erp".to_owned()).await.unwrap()),
            "unsettled": format!("{:?}", store.unsettled().await.unwrap()),
        })
    }
}

/// An empty store of each kind that is to be had.
fn kinds() -> Vec<Option<String>> {
    let mut kinds = vec![None];
    #[cfg(feature = "postgres")]
    kinds.extend(crate::postgres::server().is_some().then(crate::postgres::database));
    kinds
}

/// A bit of everything that a store can hold.
async fn fill(world: &mut World) {
    let store = world.shared();
    let files = BTreeMap::from([("omgate.toml".to_owned(), "[server]".to_owned())]);
    let version = store.save_config(StoredConfig { files }, world.now()).await.unwrap();
    let taken = TakenConfig { version, at: world.now(), by: TakenBy::Start, reason: "ä\u{0}b".to_owned() };
    store.take_config(taken).await.unwrap();
    store.heartbeat(world.now()).await.unwrap();
    world.advance(3 * 86_400_000);
    store.heartbeat(world.now()).await.unwrap();
    let newer = |id: &str| note(id).record("006-c").newest("a", "C", Some("2026"));
    world
        .post([newer("c1"), newer("c2"), note("odd").says("\u{1a}\u{0}").to("a", "O").after("b", Some("P"), "a", true)])
        .await;
    world.post([note("u"), note("e").empty(), note("x").unreadable("no end"), note("u")]).await;
    world.post([note("u").says("second").to("b", "M"), note("h").to("c", "L"), note("h2").to("c", "L")]).await;
    for (place, claimed) in world.claim(4).await.into_iter().enumerate() {
        match place {
            0 => {
                let kept = vec![Kept { name: "order".to_owned(), value: json!("007"), warning: None }];
                let stale_mark = Some(marked("Changed", "2026-01-01"));
                let settle = world.settling(&claimed, "delivered", Settlement::Delivered);
                store.settle(Settle { kept, stale_mark, ..settle }).await.unwrap();
            }
            1 => world.retry(&claimed, 5_000).await,
            2 => world.kill(&claimed, true).await,
            _ => world.settle(&claimed, "unknown", Settlement::Held { reason: "who knows".to_owned() }).await,
        }
    }
    let post = RefusedPost {
        at: world.now(),
        source: "orders".to_owned(),
        sender: "10.0.0.9".to_owned(),
        reason: "not XML".to_owned(),
        dropped_at: None,
        body: "<\u{1a}".to_owned(),
    };
    store.refuse(post).await.unwrap();
    let pause = Pause { until: Some(world.now().plus(Duration::from_secs(60))), ..Pause::new("by hand", world.now()) };
    let paused = SystemState { paused: Some(pause), ..store.system("erp".to_owned()).await.unwrap() };
    store.set_system("erp".to_owned(), paused, None).await.unwrap();
}

#[tokio::test]
async fn all_that_a_store_holds_stands_in_the_other_one_and_comes_back() {
    for first in kinds() {
        for second in kinds() {
            let mut world = World::on(first.clone().map(|_| kinds().pop().unwrap().unwrap()));
            fill(&mut world).await;
            let mut dice = Dice(7);
            let mut outside = Outside::default();
            for _ in 0..160 {
                match dice.roll(5) {
                    0 | 1 => outside.accept(&world, &mut dice).await,
                    2 => outside.claim(&world, &mut dice).await,
                    3 => outside.settle(&world, &mut dice).await,
                    _ => outside.change(&world, &mut dice).await,
                }
            }
            world.reopen().await;
            world.assert_sound().await;
            let before = world.seen().await;
            let audited = before["audit"].as_array().unwrap().len();
            assert!(audited > 0, "people did something");
            let (world, moved) = world.moved_into(second.clone()).await;
            assert!(moved.compared > 100, "{moved:?}");
            similar_asserts(&before, &world.seen().await);
            world.assert_sound().await;
            // It is a store like any other: everything goes on in it, under new numbers.
            let highest = world.all().await.last().unwrap().delivery_id.0;
            world.post([note("later").record("006-c").newest("a", "C", Some("2027")), note("last").to("b", "Z")]).await;
            let last = world.all().await.last().unwrap().delivery_id.0;
            assert!(last > highest);
            assert_eq!(world.post([note("h").to("c", "L")]).await, [Fate::Duplicate]);
            let entry = Some(world.change(last, Change::Hold).await.unwrap());
            assert!(entry.is_some());
            world.assert_sound().await;
            let before = world.seen().await;
            let (world, _) = world.moved_into(first.clone().map(|_| kinds().pop().unwrap().unwrap())).await;
            similar_asserts(&before, &world.seen().await);
            world.assert_sound().await;
        }
    }
}

/// Names the first part that differs.
#[track_caller]
fn similar_asserts(before: &Json, after: &Json) {
    for (part, before) in before.as_object().unwrap() {
        assert_eq!(before, &after[part], "{part}");
    }
}

#[tokio::test]
async fn what_changes_while_it_is_copied_arrives_too() {
    for kind in kinds() {
        let world = World::on(None);
        for envelope in 0..40 {
            let notes = (0..40).map(|place| note(&format!("{envelope}-{place}")).to("a", &format!("L{place}")));
            world.post(notes).await;
        }
        let mut target = World::on(kind);
        let mover = world.mover(target.destination().await);
        let mut dice = Dice(11);
        let mut outside = Outside::default();
        let is_copied = Cell::new(false);
        let copying = async {
            let copied = mover.copy().await;
            is_copied.set(true);
            copied
        };
        // Never cut off in the middle: what a claim takes must be known here, or nobody settles it.
        let working = async {
            while !is_copied.get() {
                match dice.roll(4) {
                    0 => outside.accept_blindly(&world, &mut dice).await,
                    1 => outside.claim(&world, &mut dice).await,
                    2 => outside.settle(&world, &mut dice).await,
                    _ => outside.change(&world, &mut dice).await,
                }
                tokio::task::yield_now().await;
            }
        };
        let (copied, ()) = tokio::join!(copying, working);
        copied.unwrap();
        assert!(outside.changes() > 20, "something happened meanwhile: {}", outside.changes());
        while !outside.is_idle() {
            outside.settle(&world, &mut dice).await;
        }
        let before = world.seen().await;
        mover.switch().await.unwrap();
        drop(mover);
        assert!(world.store().accept(world.envelope([note("late")])).await.is_err(), "nobody writes there now");
        world.store().close().await;
        target.open();
        target.clock.0.store(world.clock.0.load(Ordering::SeqCst), Ordering::SeqCst);
        similar_asserts(&before, &target.seen().await);
        target.assert_sound().await;
    }
}

/// A destination that fails after so many writes, or comes to a halt when it is marked.
struct Failing {
    inner: Box<dyn Destination>,
    left: AtomicI64,
    halt: Option<Halt>,
}

/// A halt, as if the process had ended: behind the mark, or before it.
struct Halt {
    is_marked: bool,
    reached: Arc<Notify>,
}

impl Side for Failing {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>> {
        self.inner.rows(table, units)
    }

    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>> {
        self.inner.sums()
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>> {
        self.inner.counts()
    }
}

impl Destination for Failing {
    fn ending(&self, mark: Mark) -> BoxFuture<'_, StoreResult<Ending>> {
        self.inner.ending(mark)
    }

    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>> {
        let Some(Halt { is_marked, reached }) = &self.halt else { return self.inner.begin(mark) };
        Box::pin(async move {
            if *is_marked {
                self.inner.begin(mark).await?;
            }
            reached.notify_one();
            std::future::pending().await
        })
    }

    fn put<'a>(
        &'a self,
        table: &'static Table,
        units: &'a [Row],
        rows: &'a [Row],
        whole: bool,
    ) -> BoxFuture<'a, StoreResult<()>> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Box::pin(async { Err(StoreError::Unavailable("the line was cut".to_owned())) });
        }
        self.inner.put(table, units, rows, whole)
    }

    fn put_sums(&self, sums: Vec<Vec<Row>>) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.put_sums(sums)
    }

    fn guard(&self, in_flight: bool) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.guard(in_flight)
    }

    fn complete(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.complete()
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_while_the_stores_were_marked_goes_on_or_is_given_up() {
    for (first, second) in
        kinds().into_iter().flat_map(|first| kinds().into_iter().map(move |second| (first.clone(), second)))
    {
        for is_marked in [false, true] {
            let mut world = World::on(first.clone().map(|_| kinds().pop().unwrap().unwrap()));
            world.post([note("1").to("a", "L")]).await;
            let mut target = World::on(second.clone().map(|_| kinds().pop().unwrap().unwrap()));
            for _ in 0..2 {
                let halted = Arc::new(Notify::new());
                let inner = target.destination().await;
                let halt = Some(Halt { is_marked, reached: Arc::clone(&halted) });
                let mover = world.mover(Box::new(Failing { inner, left: AtomicI64::new(i64::MAX), halt }));
                tokio::select! {
                    copied = mover.copy() => panic!("{copied:?}"),
                    () = halted.notified() => {}
                }
                drop(mover);
                world.reopen().await;
                let begun = world.origin().begun().await.unwrap().expect("the origin knows of it");
                assert_eq!((begun.stage, begun.notes, begun.table), (Stage::Copying, false, 0));
            }
            world.post([note("2").to("a", "L")]).await;
            let mover = world.mover(target.destination().await);
            mover.copy().await.unwrap();
            world.post([note("3").to("a", "L")]).await;
            assert!(world.origin().noted(10).await.unwrap().1 > 0, "what changes is noted");
            mover.switch().await.unwrap();
            drop(mover);
            target.open();
            assert_eq!(target.states().await, ["waiting", "blocked", "blocked"]);
            target.assert_sound().await;
        }
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_before_anything_was_noted_is_given_up_like_any_other() {
    for kind in kinds() {
        let world = World::on(kind);
        let mark = Mark { token: 7, other: "sqlite:elsewhere.db".to_owned(), begun_at: world.now() };
        world.origin().begin(mark.clone()).await.unwrap();
        let mut target = World::on(None);
        let refused = world.mover(target.destination().await).copy().await.unwrap_err().to_string();
        assert!(refused.contains("a move to sqlite:elsewhere.db was begun"), "{refused}");
        assert_eq!(Mover::give_up(&*world.origin()).await.unwrap(), Some(mark));
        let full = {
            let mut full = World::on(None);
            full.post([note("1")]).await;
            full.destination().await
        };
        let refused = world.mover(full).copy().await.unwrap_err().to_string();
        assert!(refused.contains("it holds a store already"), "{refused}");
        assert_eq!(world.origin().begun().await.unwrap(), None, "nothing is begun in vain");
        world.mover(target.destination().await).copy().await.unwrap();
    }
}

#[tokio::test]
async fn a_heartbeat_that_a_move_brought_along_is_of_no_gateway_there() {
    for kind in kinds() {
        let world = World::on(None);
        world.store().heartbeat(world.now()).await.unwrap();
        assert_eq!(world.origin().heard().await.unwrap(), Some(world.now()));
        let (mut world, _) = world.moved_into(kind).await;
        assert_eq!(world.origin().heard().await.unwrap(), None, "no gateway was ever at work on it");
        let last = world.now();
        world.advance(3_600_000);
        let absence = world.store().heartbeat(world.now()).await.unwrap().unwrap();
        assert_eq!(absence.since, last, "somebody listened until then all the same");
        assert_eq!(world.origin().heard().await.unwrap(), Some(world.now()));
    }
}

#[tokio::test]
async fn a_copy_stays_one_when_it_is_moved_until_a_gateway_starts_on_it() {
    for (first, second) in kinds().into_iter().zip(kinds().into_iter().rev()) {
        let mut world = World::on(None);
        world.store().heartbeat(world.now()).await.unwrap();
        world.post([note("1").to("a", "L")]).await;
        let (made, file) = (world.now(), world.folder.path().join("backup.db"));
        world.store().backup(file.clone(), watch::Sender::new((0, 0))).await.unwrap();
        world.advance(40_000);
        world.store().close().await;
        world.store = Some(Opened::Sqlite(SqliteStore::open(Options { path: file, ..world.options() }).unwrap()));
        let (world, _) = world.moved_into(first).await;
        let absence = world.store().heartbeat(world.now()).await.unwrap().unwrap();
        assert_eq!((absence.since, absence.until, absence.restored), (made, world.now(), true));
        let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
        assert_eq!(log.iter().map(|entry| entry.verb.as_str()).collect::<Vec<_>>(), ["restore"]);
        let (mut world, _) = world.moved_into(second).await;
        world.advance(40_000);
        assert_eq!(world.store().heartbeat(world.now()).await.unwrap(), None, "what was moved is no copy");
        assert_eq!(world.store().absences().await.unwrap(), [absence], "what is known of it goes along");
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_goes_on_where_it_stood() {
    for kind in kinds() {
        let mut world = World::on(None);
        for envelope in 0..30 {
            world.post((0..40).map(|place| note(&format!("{envelope}-{place}")).to("a", "L"))).await;
        }
        let mut target = World::on(kind);
        let inner = target.destination().await;
        let mover = world.mover(Box::new(Failing { inner, left: 5.into(), halt: None }));
        assert_eq!(mover.copy().await.unwrap_err().to_string(), "the store cannot write: the line was cut");
        drop(mover);
        let begun = world.origin().begun().await.unwrap().unwrap();
        assert_eq!(begun.stage, Stage::Copying);
        assert!(begun.table > 0 && begun.table < TABLES.len(), "{begun:?}");
        // The gateway was stopped meanwhile, and went on.
        world.reopen().await;
        world.post([note("meanwhile").to("b", "M")]).await;
        let claimed = world.claim_one().await;
        world.deliver(&claimed).await;

        let progress = watch::Sender::new(Progress::default());
        let seen = progress.subscribe();
        let mover = Mover::new(world.origin(), target.destination().await, world.clock.clone(), progress);
        mover.copy().await.unwrap();
        assert!(seen.borrow().rows_in_all > 2_000);
        let before = world.seen().await;
        mover.switch().await.unwrap();
        drop(mover);
        target.open();
        similar_asserts(&before, &target.seen().await);
        target.assert_sound().await;
    }
}

#[tokio::test]
async fn what_differs_in_the_destination_is_found_and_nothing_is_switched() {
    let mut world = World::on(None);
    world.post((0..30).map(|place| note(&place.to_string()).to("a", "L"))).await;
    let mut target = World::on(None);
    let path = target.file();
    let meddle = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    drop(target.destination().await);
    let mover = world.mover(Box::new(SqliteDestination::open(&path).unwrap()));
    mover.copy().await.unwrap();
    meddle("UPDATE notification SET xml = 'other' WHERE id = 7");
    let error = mover.copy().await.unwrap_err().to_string();
    assert!(error.contains("the row 7 of the table notification is not the same in both stores"), "{error}");
    meddle("UPDATE notification SET xml = 'first' WHERE id = 7");
    mover.copy().await.unwrap();
    meddle("DELETE FROM delivery WHERE id = 9");
    let error = mover.switch().await.unwrap_err().to_string();
    assert!(error.contains("the table delivery has 30 rows in the origin and 29 in the destination"), "{error}");
    drop(mover);
    // The gateway goes on with what it has, also after a start.
    world.post([note("on").to("a", "L")]).await;
    world.reopen().await;
    world.post([note("and on").to("a", "L")]).await;
    world.assert_sound().await;
}

#[tokio::test]
async fn a_store_that_is_shut_or_moved_or_arriving_is_no_gateways() {
    let mut world = World::on(None);
    world.post([note("1").to("a", "L")]).await;
    let mut target = World::on(None);
    let mover = world.mover(target.destination().await);
    mover.copy().await.unwrap();
    drop(mover);
    let refused = SqliteStore::open(target.options()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Arriving { .. }), "{refused}");
    // Shut, and the process died.
    world.origin().shut().await.unwrap();
    let refused = world.store().accept(world.envelope([note("2")])).await;
    assert!(refused.is_err(), "{refused:?}");
    world.reopen().await;
    world.post([note("2").to("a", "L")]).await;
    // Moved, and the process died before the other one was opened for it.
    world.origin().shut().await.unwrap();
    assert!(world.origin().begun().await.unwrap().unwrap().stage == Stage::Shut);
    world.origin().open().await.unwrap();
    let mover = world.mover(target.destination().await);
    mover.copy().await.unwrap();
    world.origin().shut().await.unwrap();
    let sums = world.origin().sums().await.unwrap();
    drop(mover);
    target.destination().await.put_sums(sums).await.unwrap();
    world.origin().leave(world.now()).await.unwrap();
    world.store().close().await;
    world.store = None;
    let refused = SqliteStore::open(world.options()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Moved { .. }), "{refused}");
    assert!(refused.to_string().contains("give [store] url its address"), "{refused}");
    let refused = SqliteStore::open(target.options()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Arriving { .. }), "{refused}");
    let mark = SqliteOrigin::left(&world.file()).unwrap().unwrap();
    let wrong = Mark { token: mark.token + 1, ..mark.clone() };
    let destination = target.destination().await;
    let refused = Mover::end_in(&*destination, wrong).await.unwrap_err().to_string();
    assert!(refused.contains("it belongs to another move"), "{refused}");
    assert_eq!(Mover::end_in(&*destination, mark.clone()).await.unwrap(), Ending::Open);
    assert_eq!(Mover::end_in(&*destination, mark).await.unwrap(), Ending::Done);
    drop(destination);
    target.open();
    assert_eq!(target.states().await, ["waiting", "blocked"]);
    target.assert_sound().await;
}

#[tokio::test]
async fn a_move_can_be_given_up_and_another_begun() {
    for kind in kinds() {
        let world = World::on(kind.clone());
        world.post([note("1").to("a", "L")]).await;
        let (mut one, mut other) = (World::on(None), World::on(None));
        let mover = world.mover(one.destination().await);
        mover.copy().await.unwrap();
        drop(mover);
        let refused = world.mover(other.destination().await).copy().await.unwrap_err().to_string();
        assert!(refused.contains("is not finished: go on with that one, or give it up"), "{refused}");
        let given_up = Mover::give_up(&*world.origin()).await.unwrap().unwrap();
        assert!(given_up.other.ends_with("store.db"), "{given_up:?}");
        assert_eq!(Mover::give_up(&*world.origin()).await.unwrap(), None);
        world.post([note("2").to("a", "L")]).await;
        assert_eq!(world.origin().noted(10).await.unwrap().1, 0, "nothing is noted any more");
        let refused = world.mover(one.destination().await).copy().await.unwrap_err().to_string();
        assert!(refused.contains("of a move that is under way or was given up"), "{refused}");
        let mover = world.mover(other.destination().await);
        mover.copy().await.unwrap();
        mover.switch().await.unwrap();
        drop(mover);
        other.open();
        assert_eq!(other.states().await, ["waiting", "blocked"]);
        let full = World::on(None);
        full.post([note("1")]).await;
        full.store().close().await;
        let mut full = full;
        let refused = other.mover(full.destination().await).copy().await.unwrap_err().to_string();
        assert!(refused.contains("it holds a store already"), "{refused}");
    }
}

#[tokio::test]
async fn a_call_under_way_while_the_store_is_moved_is_unknown_in_the_other_one() {
    for kind in kinds() {
        let world = World::on(None);
        world.post([note("1").to("a", "L"), note("2").to("c", "M")]).await;
        assert_eq!(world.claim(2).await.len(), 2);
        let (world, _) = world.moved_into(kind).await;
        assert_eq!(world.states().await, ["waiting", "held"]);
        let ledger = world.store().ledger().await.unwrap();
        assert_eq!((ledger.attempts.total, ledger.attempts.unknown), (2, 2));
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn what_must_not_be_there_twice_is_refused_again_once_it_is_moved() {
    let indexes = |world: &World| {
        let connection = rusqlite::Connection::open(world.file()).unwrap();
        let mut statement =
            connection.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?.to_lowercase()));
        let all = statement.query_map([], read).unwrap().map(Result::unwrap);
        all.map(|(name, sql)| (name, sql.replace("if not exists ", ""))).collect::<Vec<_>>()
    };
    let world = World::on(None);
    let fresh = indexes(&world);
    world.post([note("1").to("a", "L")]).await;
    let (world, _) = world.moved_into(None).await;
    assert_eq!(indexes(&world), fresh);
}

/// What a store keeps for itself, or that follows from what is handed over.
const OWN: [&str; 16] = [
    "change",
    "probe",
    "moving",
    "moving_change",
    "sequence",
    "source_day",
    "destination_day",
    "receipt",
    "schema_version",
    "system_active",
    "system.next_call_us",
    "alive.own",
    "delivery.lane_key",
    "delivery.coalesce_key",
    "delivery.lease_until",
    "delivery.holder",
];
const OWN_OF_POSTGRES: [&str; 6] = [
    "stale_mark.record_key",
    "system.probing_until",
    "system.next_call",
    "counter.shard",
    "account_day.shard",
    "source_heard.shard",
];

/// Tables with their columns that no move takes along.
fn forgotten(columns: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let taken = |name: &str, column: &str| {
        let table = TABLES.iter().chain(&SUMS).find(|table| table.name == name);
        table.is_some_and(|table| table.columns.iter().any(|known| known.name == column))
    };
    let own = |name: &str, whole: &str| OWN.contains(&name) || OWN.contains(&whole) || OWN_OF_POSTGRES.contains(&whole);
    let whole = |(name, column): (String, String)| {
        let whole = format!("{name}.{column}");
        (!taken(&name, &column) && !own(&name, &whole)).then_some(whole)
    };
    columns.into_iter().filter_map(whole).collect()
}

#[tokio::test]
async fn no_table_and_no_column_is_forgotten() {
    let world = World::on(None);
    let columns: Vec<(String, String)> = {
        let connection = rusqlite::Connection::open(world.file()).unwrap();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    assert!(columns.len() > 100);
    assert_eq!(forgotten(columns), Vec::<String>::new());
    #[cfg(feature = "postgres")]
    if let Some(url) = kinds().into_iter().flatten().next() {
        let _world = World::on(Some(url.clone()));
        let client = crate::postgres::connect(&url).await;
        let sql =
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'omgate'";
        let found = client.query(sql, &[]).await.unwrap();
        let columns = found.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<_>>();
        assert!(columns.len() > 100);
        assert_eq!(forgotten(columns), Vec::<String>::new());
    }
}

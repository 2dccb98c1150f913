//! What the store over SQLite must do besides: its file, its lock, its disk, its commits.

use std::os::unix::fs::PermissionsExt;

use omgate::store::sqlite::OpenError;
use omgate::store::{Discrepancy, Health};
use tokio::sync::watch;

use super::*;

/// Looks at the file behind the store's back.
fn raw(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.folder.path().join("store.db")).unwrap()
}

fn refusal(options: Options) -> OpenError {
    match SqliteStore::open(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

async fn wait_until(world: &World, wanted: impl Fn(&Health) -> bool) {
    let mut health = world.store().health();
    tokio::time::timeout(Duration::from_secs(20), health.wait_for(wanted)).await.expect("in time").unwrap();
}

#[test]
fn a_second_store_on_the_same_file_is_refused_with_the_holders_process_id() {
    let world = World::new();
    let error = refusal(world.options()).to_string();
    let process = std::process::id();
    assert!(error.contains(&format!("it is in use by another process (process {process})")), "{error}");
    assert!(error.contains("fuser"), "{error}");
    let other_name = world.folder.path().join("link.db");
    std::os::unix::fs::symlink(world.folder.path().join("store.db"), &other_name).unwrap();
    let options = Options { path: other_name, ..world.options() };
    assert!(matches!(refusal(options), OpenError::InUse { .. }), "another name does not help");
}

#[test]
fn a_hard_link_does_not_let_a_second_store_in() {
    let mut world = World::new();
    let other_name = world.folder.path().join("other.db");
    std::fs::hard_link(world.folder.path().join("store.db"), &other_name).unwrap();
    let linked = Options { path: other_name.clone(), ..world.options() };
    let error = refusal(linked).to_string();
    assert!(error.contains("other.db: the file has 1 other hard link,") && error.contains("-samefile"), "{error}");
    assert!(!world.folder.path().join("other.db-lock").exists());
    world.store = None;
    assert!(matches!(refusal(world.options()), OpenError::Linked { others: 1, .. }), "whichever name comes first");
    std::fs::remove_file(other_name).unwrap();
    world.open();
}

#[test]
fn dropping_a_store_frees_its_lock() {
    let mut world = World::new();
    for _ in 0..3 {
        world.open();
    }
}

#[test]
fn the_files_are_their_owners_alone() {
    let world = World::new();
    for name in ["store.db", "store.db-wal", "store.db-lock"] {
        let mode = std::fs::metadata(world.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_that_is_not_ours_is_refused_in_words_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(HandClock(AtomicI64::new(0)));
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, but long enough to look like one\n".repeat(100)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let error = refusal(Options::new(&text, clock.clone())).to_string();
    assert!(error.contains("text.db: it is not a database"), "{error}");
    assert_eq!(std::fs::read(&text).unwrap(), before);

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let error = refusal(Options::new(&foreign, clock.clone())).to_string();
    assert!(error.contains("it is the database of another program"), "{error}");

    let error = refusal(Options::new(folder.path(), clock.clone())).to_string();
    assert!(error.contains("it is a folder"), "{error}");
    let error = refusal(Options::new(folder.path().join("nowhere/x.db"), clock.clone())).to_string();
    assert!(error.contains("cannot find its folder"), "{error}");

    for name in ["text.db-lock", "foreign.db-lock"] {
        assert!(!folder.path().join(name).exists(), "{name} is left behind");
    }
    std::fs::write(folder.path().join("text.db-lock"), "kept").unwrap();
    refusal(Options::new(&text, clock.clone()));
    assert!(folder.path().join("text.db-lock").exists(), "it was there before");

    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    SqliteStore::open(Options::new(&empty, clock)).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_words() {
    let mut world = World::new();
    world.store().close().await;
    world.store = None;
    raw(&world).pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(world.options()).to_string();
    assert!(error.contains("its schema has version 99, and this omgate knows versions up to 17"), "{error}");
    raw(&world).pragma_update(None, "user_version", 17).unwrap();
    world.open();
}

#[tokio::test]
async fn how_far_a_rate_is_spent_is_known_after_a_restart() {
    let mut world = World::new();
    world.post((1..=6).map(|id| note(&id.to_string()).to("a", &id.to_string()))).await;
    let minute = Duration::from_secs(60);
    let claim = |world: &World, limit, rate| Claim {
        limit,
        bounds: Bounds { rate, ..Bounds::default() },
        ..claim_of_everything(world)
    };
    let rate = Some(omgate::store::Pace { per_call: minute, burst: 3 });
    let next = async |world: &World| world.store().system("erp".to_owned()).await.unwrap().next_call;
    world.store().claim(claim(&world, 1, None)).await.unwrap();
    assert_eq!(next(&world).await, None, "without a rate there is nothing to know");
    let began = world.now();
    world.store().claim(claim(&world, 3, rate)).await.unwrap();
    world.reopen().await;
    assert_eq!(next(&world).await, Some(began.plus(minute)), "all three that may go at once went");
    world.store().set_system("erp".to_owned(), SystemState::default(), None).await.unwrap();
    assert_eq!(next(&world).await, Some(began.plus(minute)), "a state that is written leaves it as it is");
    world.advance(10 * 60_000);
    world.store().claim(claim(&world, 1, rate)).await.unwrap();
    assert_eq!(next(&world).await, Some(began.plus(9 * minute)), "a quiet time gives back three and no more");
}

/// An attempt is written at every call: a rule that SQLite puts into a table of its own for each row costs more than the row.
#[tokio::test]
async fn the_rule_for_outcomes_holds_and_needs_no_table_of_its_own() {
    let mut world = World::new();
    world.store().close().await;
    world.store = None;
    let raw = raw(&world);
    let insert = "INSERT INTO attempt (lease, delivery, number, config_version, started_at, ended_at, outcome)
                  VALUES (1, 1, 1, 1, 0, 1, ?1)";
    let mut plan = raw.prepare(&format!("EXPLAIN {insert}")).unwrap();
    let steps: Vec<String> =
        plan.query_map(["delivered"], |row| row.get(1)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(steps.len() > 20 && !steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
    drop(plan);
    for outcome in ["sent", "", "Delivered"] {
        assert!(raw.execute(insert, [outcome]).unwrap_err().to_string().contains("CHECK constraint failed"));
    }
    for outcome in ["delivered", "refused", "retry", "unknown"] {
        assert_eq!(raw.execute(insert, [outcome]), Ok(1));
        raw.execute("DELETE FROM attempt", []).unwrap();
    }
    assert_eq!(raw.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)), Ok("ok".to_owned()));
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date_and_its_deliveries_go_on() {
    let mut world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.retry(&world.claim_one().await, 0).await;
    world.store().close().await;
    world.store = None;
    let mut script =
        "DROP INDEX delivery_coalescing; DROP INDEX delivery_successor; DROP INDEX delivery_followers; DROP INDEX delivery_replays;
         DROP TABLE kept; ALTER TABLE notification DROP COLUMN edited_from; ALTER TABLE attempt DROP COLUMN call_hash;
         ALTER TABLE stale_mark DROP COLUMN field; INSERT INTO stale_mark SELECT w.route, n.organization, n.record_id, '2026'
            FROM delivery d JOIN way w ON w.id = d.way JOIN notification n ON n.id = d.notification;
         PRAGMA user_version = 1;"
            .to_owned();
    for table in [
        "config_taken",
        "source_day",
        "destination_day",
        "audit",
        "prune_walk",
        "alive",
        "absence",
        "moving",
        "moving_change",
        "audit_chain",
        "token",
        "sealing_key",
        "searched",
        "sample",
        "saved_view",
    ] {
        script.push_str(&format!("DROP TABLE {table};"));
    }
    script.push_str(
        "DROP INDEX delivery_settled; DROP INDEX delivery_not_before; ALTER TABLE delivery DROP COLUMN outdated_by;",
    );
    for column in ["excused", "coalesce_key", "mark", "superseded_by", "even_if_newer"] {
        script.push_str(&format!("ALTER TABLE delivery DROP COLUMN {column};"));
    }
    for column in ["comes_after", "has_followers", "holds", "replay_of", "as_it_was", "not_before"] {
        script.push_str(&format!("ALTER TABLE delivery DROP COLUMN {column};"));
    }
    for column in ["paused_until", "broken_since", "broken_reason", "broken_probe_at", "broken_trips", "next_call_us"] {
        script.push_str(&format!("ALTER TABLE system DROP COLUMN {column};"));
    }
    raw(&world).execute_batch(&script).unwrap();
    world.open();
    let claimed = world.claim_one().await;
    assert_eq!((claimed.attempt, claimed.excused), (2, 0));
    let marked = claimed.stale_mark.as_ref();
    assert_eq!(marked.and_then(|mark| mark.by("Changed")), Some("2026"), "of which field it is, nobody noted");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_found() {
    let mut world = World::new();
    world.post((0..200).map(|id| note(&id.to_string()).says(&"x".repeat(2_000)).to("a", "L"))).await;
    world.store().close().await;
    world.store = None;
    let path = world.folder.path().join("store.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 8_192].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    match SqliteStore::open(world.options()) {
        Ok(store) => {
            let found = store.check().await;
            assert!(!matches!(&found, Ok(findings) if findings.is_empty()), "{found:?}");
        }
        Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4_000].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = refusal(world.options());
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::NotADatabase { .. }), "{error}");
}

#[tokio::test]
async fn a_row_deleted_by_hand_is_found() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M"), note("3")]).await;
    let _attempted = world.claim_one().await;
    world.post([note("3")]).await;
    world.assert_sound().await;
    for (table, account) in [
        ("attempt", "destination create, attempts"),
        ("delivery", "destination create, routed"),
        ("notification", "source orders, unique"),
    ] {
        raw(&world)
            .execute(&format!("DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})"), [])
            .unwrap();
        let found: Vec<Discrepancy> = world.disagreements().await;
        let found = found.iter().find(|found| found.account == account).expect(table);
        assert_eq!(found.counter, found.rows + 1);
    }
    assert!(world.store().ledger().await.unwrap().balanced, "the counters among themselves still agree");
    assert!(!world.sqlite().check().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_envelope_deleted_by_hand_is_found_though_no_counter_counts_it() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2")]).await;
    world.assert_sound().await;
    raw(&world).execute("DELETE FROM envelope", []).unwrap();
    let found = world.disagreements().await;
    let expected = Discrepancy { account: "notifications without their envelope".to_owned(), counter: 0, rows: 2 };
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn a_delivery_whose_notification_was_removed_dies_and_its_system_goes_on() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("a", "M")]).await;
    raw(&world).execute("DELETE FROM notification WHERE notification_id = '1'", []).unwrap();
    let claimed = world.claim(10).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.delivery.0).collect::<Vec<_>>(), [3]);
    assert_eq!(world.claim_one().await.delivery.0, 2);
    assert_eq!(world.store().ledger().await.unwrap().deliveries.dead, 1);
    assert!(world.store().ledger().await.unwrap().balanced);
}

#[tokio::test]
async fn a_lane_without_a_head_is_repaired_and_counted() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("a", "M")]).await;
    raw(&world).execute("DELETE FROM delivery WHERE id = 1", []).unwrap();
    assert_eq!(world.store().sweep().await.unwrap(), 1);
    assert_eq!(world.store().sweep().await.unwrap(), 0);
    assert_eq!(world.store().backlog().await.unwrap().lanes_repaired, 1);
    assert_eq!(world.states().await, ["waiting", "waiting"]);
}

#[tokio::test]
async fn a_full_disk_fails_every_command_and_leaves_no_trace_until_there_is_room_again() {
    let world = World::new();
    world.post([note("before").to("a", "L")]).await;
    world.faults.limit_pages(Some(1));
    let large = || note("large").says(&"x".repeat(500_000)).to("a", "M");
    let error = world.store().accept(world.envelope([large()])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().starts_with("the store cannot write: the disk is full"), "{error}");
    let health = world.store().health().borrow().clone();
    assert!(matches!(&health, Health::Failing(reason) if reason.starts_with("the disk is full")), "{health:?}");
    assert_eq!(world.states().await, ["waiting"], "questions are still answered");
    world.faults.limit_pages(None);
    wait_until(&world, |health| *health == Health::Ready).await;
    assert_eq!(world.post([large()]).await, [Fate::Routed], "it had left no trace");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_database_that_was_moved_away_or_replaced_takes_nothing_until_it_is_back() {
    let world = World::new();
    world.post([note("before").to("a", "L")]).await;
    let (path, aside) = (world.folder.path().join("store.db"), world.folder.path().join("aside.db"));
    std::fs::rename(&path, &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::write(&path, "another file").unwrap();
        }
        let error = world.store().accept(world.envelope([note("lost").to("a", "L")])).await.unwrap_err();
        assert!(error.to_string().contains("not where it was opened"), "{error}");
        assert!(matches!(&*world.store().health().borrow(), Health::Failing(_)));
    }
    std::fs::rename(&aside, &path).unwrap();
    wait_until(&world, |health| *health == Health::Ready).await;
    assert_eq!(world.post([note("after").to("a", "L")]).await, [Fate::Routed]);
    assert_eq!(world.states().await, ["waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_disk_that_cannot_sync_fails_commands_and_is_tried_until_it_works() {
    // 1034: fsync failed; 8: read-only; 11: the file is damaged.
    for (code, words) in [(1_034, "the disk failed"), (8, "read-only"), (11, "damaged")] {
        let world = World::new();
        world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
        let claimed = world.claim_one().await;
        world.faults.fail_commits(Some(code));
        let posted = world.store().accept(world.envelope([note("3").to("a", "L").to("b", "new lane")]));
        let settled = world.store().settle(world.settling(&claimed, "delivered", Settlement::Delivered));
        let (posted, settled) = tokio::join!(posted, settled);
        for error in [posted.unwrap_err(), settled.unwrap_err()] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(matches!(&*world.store().health().borrow(), Health::Failing(_)));
        world.faults.fail_commits(None);
        wait_until(&world, |health| *health == Health::Ready).await;
        world.deliver(&claimed).await;
        assert_eq!(world.post([note("3").to("a", "L")]).await, [Fate::Routed]);
        assert_eq!(world.states().await, ["delivered", "waiting", "waiting"]);
        world.assert_sound().await;
    }
}

#[tokio::test]
async fn a_commit_that_is_stuck_counts_as_failing_until_it_ends() {
    let mut world = World::new();
    world.faults.hang_commits();
    let posted = world.store().accept(world.envelope([note("1").to("a", "L")]));
    world.faults.await_hang();
    assert_eq!(world.store().condition(), Health::Ready, "it has only begun");
    world.clock.0.fetch_add(20_000, Ordering::SeqCst);
    let Health::Failing(reason) = world.store().condition() else { panic!("it counts as ready") };
    assert_eq!(reason, "the disk has not answered for 20 s: a commit is stuck");
    world.faults.resume_commits();
    posted.await.unwrap();
    assert_eq!(world.store().condition(), Health::Ready);
    world.advance(60_000);
    assert_eq!(world.store().condition(), Health::Ready, "to wait for work is not to be stuck");
    world.assert_sound().await;
}

/// `/readyz` of an admin listener over a store: status and text.
async fn readyz(world: &World) -> (u16, String) {
    use omgate::{admin, dispatch, telemetry};
    let Some(Opened::Sqlite(store)) = world.store.clone() else { panic!("it is over SQLite") };
    let store: Arc<dyn Store> = store;
    let clock: SharedClock = world.clock.clone();
    let metrics = Arc::new(telemetry::Metrics::default());
    let alarms = Arc::new(telemetry::Alarms::new(Arc::clone(&metrics)));
    let parts = dispatch::Parts {
        store: Arc::clone(&store),
        plan: Arc::default(),
        config_version: ConfigVersion(1),
        recall: Box::new(|_| None),
        transport: Arc::new(omgate::deliver::Http),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        alarms: Arc::clone(&alarms),
        traces: telemetry::Traces::off(),
    };
    let dispatch = dispatch::Dispatch::start(parts).await.unwrap();
    let admin = Arc::new(admin::Admin {
        answers: admin::Answers::default(),
        since: clock.now(),
        store,
        dispatch,
        metrics,
        alarms,
        clock,
        closing: Arc::default(),
        jobs: admin::Jobs::default(),
        unwritten: admin::Unwritten::default(),
        issues: admin::FoundIssues::default(),
        failing: admin::FoundFailing::default(),
        proposals: admin::Proposals::default(),
        plan: Box::new(|_| Ok(Vec::new())),
        takes: Box::new(|_, _| None),
        admits: Box::new(|_| Ok(())),
        edge: Box::new(|| serde_json::json!({})),
        reload: None,
        moving: None,
        herald: None,
        keep: admin::Keep::default(),
        entry: admin::Entry::default(),
        plan_to: Box::new(|_, _| Err(String::new())),
        edit: Box::new(|_, _| Err(String::new())),
        consider: Box::new(|_| Err(String::new())),
        probe: None,
        public: String::new(),
        take: Box::new(|_, _| Box::pin(async { Err(String::new()) })),
        trial: Box::new(|_| Err(String::new())),
        what_if: admin::what_if::WhatIf::new(Box::new(|_| Err(admin::what_if::Fault::Reason(String::new())))),
    });
    let app = actix_web::App::new().configure(|config| admin::configure(config, admin));
    let service = actix_web::test::init_service(app).await;
    let request = actix_web::test::TestRequest::get().uri("/readyz").insert_header(("Host", "localhost"));
    let response = actix_web::test::call_service(&service, request.to_request()).await;
    let status = response.status().as_u16();
    (status, String::from_utf8(actix_web::test::read_body(response).await.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_is_false_while_a_commit_is_stuck_and_true_again_by_itself() {
    let world = World::new();
    assert_eq!(readyz(&world).await, (200, "ready\n".to_owned()));
    world.faults.hang_commits();
    let posted = world.store().accept(world.envelope([note("1").to("a", "L")]));
    world.faults.await_hang();
    world.clock.0.fetch_add(25_000, Ordering::SeqCst);
    let (status, text) = readyz(&world).await;
    assert_eq!(status, 503);
    assert!(text.contains("the disk has not answered for 25 s"), "{text}");
    world.faults.resume_commits();
    posted.await.unwrap();
    assert_eq!(readyz(&world).await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn a_command_that_comes_while_the_disk_fails_is_tried_itself() {
    let world = World::new();
    world.faults.fail_commits(Some(10));
    world.store().accept(world.envelope([note("1")])).await.unwrap_err();
    world.faults.fail_commits(None);
    assert_eq!(world.post([note("1")]).await, [Fate::Unrouted]);
    assert_eq!(*world.store().health().borrow(), Health::Ready);
}

#[tokio::test]
async fn a_disk_that_breaks_again_and_again_is_left_alone_for_half_a_second() {
    let world = World::new();
    world.faults.fail_commits(Some(10));
    for _ in 0..3 {
        world.store().accept(world.envelope([note("1")])).await.unwrap_err();
    }
    world.faults.fail_commits(None);
    let refused = world.store().accept(world.envelope([note("1")])).await.unwrap_err();
    assert!(refused.to_string().contains("the disk failed"), "{refused}");
    world.clock.0.fetch_add(500, Ordering::SeqCst);
    assert_eq!(world.post([note("1")]).await, [Fate::Unrouted]);
    assert_eq!(*world.store().health().borrow(), Health::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_command_harms_itself_alone() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    // A trigger stands in for a fault of ours that the database notices.
    raw(&world)
        .execute_batch(
            "CREATE TRIGGER bad BEFORE INSERT ON delivery WHEN NEW.lane = 'bad'
             BEGIN SELECT RAISE(ABORT, 'a bad row'); END",
        )
        .unwrap();
    let posts = (0..40).map(|id| {
        let lane = if id % 10 == 3 { "bad".to_owned() } else { format!("lane {id}") };
        world.store().accept(world.envelope([note(&format!("n{id}")).to("a", "good").to("b", &lane)]))
    });
    let posted = futures_util::future::join_all(posts).await;
    for (id, posted) in posted.into_iter().enumerate() {
        match posted {
            Ok(accepted) => assert!(id % 10 != 3 && accepted.fates == [Fate::Routed]),
            Err(error) => {
                assert_eq!(id % 10, 3, "{error}");
                assert!(matches!(&error, StoreError::Refused(reason) if reason.contains("a bad row")), "{error}");
            }
        }
    }
    assert_eq!(world.all().await.len(), 1 + 36 * 2);
    assert_eq!(*world.store().health().borrow(), Health::Ready);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_come_together_are_committed_together() {
    let world = World::new();
    let posts = (0..64).map(|id| world.store().accept(world.envelope([note(&id.to_string()).to("a", "L")])));
    futures_util::future::try_join_all(posts).await.unwrap();
    let figures = world.store().figures();
    assert_eq!((figures.queue, figures.commands), (0, 64));
    assert!(figures.commits < 64, "{figures:?}");
    assert_eq!(figures.commit_sizes[10], figures.commits, "every commit is in the last bucket");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_group_that_wrote_nothing_is_no_commit_in_any_figure() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let before = world.store().figures();
    assert!(world.claims(&["create"], &["no such route"], 10).await.claimed.is_empty());
    let after = world.store().figures();
    assert_eq!(
        (after.commits, after.commands, after.commit_sizes),
        (before.commits, before.commands, before.commit_sizes)
    );
    world.post([note("2")]).await;
    let after = world.store().figures();
    assert_eq!((after.commits, after.commands), (before.commits + 1, before.commands + 1));
    assert_eq!(after.commit_sizes[10], after.commits);
}

#[tokio::test]
async fn a_full_queue_refuses_envelopes_at_once_and_leaves_room_for_the_rest() {
    let world = World::new();
    let options = Options { path: world.folder.path().join("small.db"), queue_max: 4, ..world.options() };
    let store = SqliteStore::open(options).unwrap();
    // Another program holds the write lock, so the writer stands still for a while.
    let blocker = rusqlite::Connection::open(world.folder.path().join("small.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let posts: Vec<_> = (0..40).map(|id| store.accept(world.envelope([note(&id.to_string())]))).collect();
    let state = store.set_system("erp".to_owned(), SystemState::default(), None);
    blocker.execute_batch("ROLLBACK").unwrap();
    let posted = futures_util::future::join_all(posts).await;
    let refused = posted.iter().filter(|posted| matches!(posted, Err(StoreError::Overloaded))).count();
    assert!(refused >= 30, "{refused} of 40 were refused");
    assert!(posted.iter().filter(|posted| posted.is_ok()).count() >= 4);
    state.await.unwrap();
}

#[tokio::test]
async fn waiting_envelopes_are_bounded_in_bytes_but_one_is_always_taken() {
    let world = World::new();
    let path = world.folder.path().join("small.db");
    let options = Options { path: path.clone(), queue_bytes_max: 10_000, ..world.options() };
    let store = SqliteStore::open(options).unwrap();
    let blocker = rusqlite::Connection::open(path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let large = |id: &str| world.envelope([note(id).says(&"x".repeat(20_000))]);
    let posts: Vec<_> = ["1", "2", "3", "4"].iter().map(|id| store.accept(large(id))).collect();
    blocker.execute_batch("ROLLBACK").unwrap();
    let posted = futures_util::future::join_all(posts).await;
    assert!(posted[0].is_ok(), "{:?}", posted[0]);
    assert!(posted.iter().any(|posted| matches!(posted, Err(StoreError::Overloaded))));
}

#[tokio::test]
async fn what_a_person_wants_while_the_store_fails_is_stored_once_it_can() {
    let world = World::new();
    let dispatch = dispatch(&world).await;
    world.faults.fail_commits(Some(10));
    let refused = dispatch.pause("erp", "the ERP is updated", None, None).await.unwrap_err();
    assert!(refused.to_string().contains("it counts from now on, and is stored as soon as the store can"), "{refused}");
    world.faults.fail_commits(None);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let kept = world.store().system("erp".to_owned()).await.unwrap();
        if kept.paused.is_some_and(|pause| pause.reason == "the ERP is updated") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it is never stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    dispatch.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn a_database_from_which_something_was_taken_is_neither_opened_nor_backed_up() {
    for (sql, words) in [
        ("DROP TABLE stale_mark", "table stale_mark"),
        ("DROP TABLE moving", "table moving"),
        ("DROP INDEX delivery_due", "index delivery_due of delivery"),
        ("DROP TRIGGER audit_lasts", "trigger audit_lasts of audit"),
        ("ALTER TABLE delivery DROP COLUMN outdated_by", "column outdated_by of delivery"),
    ] {
        let mut world = World::new();
        world.post([note("1").to("a", "L")]).await;
        raw(&world).execute_batch(sql).unwrap();
        let file = world.folder.path().join("backup.db");
        let refused = world.store().backup(file.clone(), watch::Sender::new((0, 0))).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("{words} is missing in the store")), "{sql}: {refused}");
        assert!(!file.exists());
        assert!(world.sqlite().check().await.unwrap().contains(&format!("{words} is missing")), "{sql}");
        world.store().close().await;
        world.store = None;
        let error = refusal(world.options());
        assert!(matches!(&error, OpenError::Incomplete { .. }), "{sql}: {error}");
        let error = error.to_string();
        assert!(error.contains(words) && error.contains("restore a backup"), "{sql}: {error}");
    }
}

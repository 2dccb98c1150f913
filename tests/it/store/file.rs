//! What the store over SQLite does with its file: space that is given back, backups, plans, an earlier file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use omgate::store::{AuditFilter, Backup, DayChange, Kept, Prune, Pruned, Retention};
use tokio::sync::watch;

use super::*;

const DAY_MS: i64 = 86_400_000;

fn path(world: &World) -> PathBuf {
    world.folder.path().join("store.db")
}

fn raw(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

fn number(connection: &rusqlite::Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Takes everything away that is settled.
async fn prune_all(world: &World) -> Pruned {
    let soon = Kept { payloads: Some(Duration::ZERO), attempts: Some(Duration::ZERO), rows: Some(Duration::ZERO) };
    let retention = Retention { delivered: soon, ..Retention::default() };
    let mut all = Pruned::default();
    while !all.done {
        let (now, limit) = (world.now(), 200);
        let prune = Prune { retention: retention.clone(), now, limit, budget: Duration::from_secs(1) };
        all.add(&world.store().prune(prune).await.unwrap());
    }
    all
}

/// Delivers so many notifications of some size.
async fn deliver_many(world: &World, count: usize, bytes: usize) {
    for first in (0..count).step_by(100) {
        let notes = (first..first + 100).map(|id| note(&format!("n{id}")).says(&"x".repeat(bytes)).in_any_order("a"));
        world.post(notes).await;
        for claimed in world.claim(100).await {
            world.deliver(&claimed).await;
        }
    }
}

async fn backup(world: &World, file: &Path) -> Result<Backup, StoreError> {
    world.store().backup(file.to_owned(), watch::Sender::new((0, 0))).await
}

#[tokio::test]
async fn space_that_pruning_frees_is_given_back_in_small_steps() {
    let mut world = World::new();
    deliver_many(&world, 2_000, 4_000).await;
    world.post([note("last")]).await;
    world.advance(31 * DAY_MS);
    let pruned = prune_all(&world).await;
    assert_eq!((pruned.deliveries, pruned.notifications), (2_000, 2_000));
    assert!(pruned.can_shrink && pruned.bytes_returned > 4_000_000, "{pruned:?}");
    assert!(pruned.bytes_free <= 256 * 4_096, "{pruned:?}");
    world.assert_sound().await;
    world.store().close().await;
    let size = std::fs::metadata(path(&world)).unwrap().len();
    assert!(size < 2_500_000, "{size}");
    assert_eq!(
        raw(&path(&world)).query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(),
        "ok"
    );
}

#[tokio::test]
async fn a_file_that_cannot_give_space_back_says_so_and_can_once_it_was_compacted() {
    let mut world = World::new();
    world.store().close().await;
    world.store = None;
    raw(&path(&world)).execute_batch("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM;").unwrap();
    world.open();
    deliver_many(&world, 500, 4_000).await;
    world.post([note("last")]).await;
    world.advance(31 * DAY_MS);
    let pruned = prune_all(&world).await;
    assert!(!pruned.can_shrink && pruned.bytes_returned == 0 && pruned.bytes_free > 1_000_000, "{pruned:?}");
    let refused = SqliteStore::compact(&path(&world)).unwrap_err().to_string();
    assert!(refused.contains("in use by another process"), "{refused}");
    world.store().close().await;
    world.store = None;
    let (before, after) = SqliteStore::compact(&path(&world)).unwrap();
    assert!(after < before / 2, "{before} → {after}");
    assert_eq!(number(&raw(&path(&world)), "PRAGMA auto_vacuum"), 2);
    world.open();
    world.assert_sound().await;
}

#[tokio::test]
async fn what_is_deleted_by_hand_is_found_after_pruning_too() {
    let mut world = World::new();
    deliver_many(&world, 100, 10).await;
    world.advance(31 * DAY_MS);
    world.post([note("kept").in_any_order("a"), note("last")]).await;
    prune_all(&world).await;
    world.assert_sound().await;
    let connection = raw(&path(&world));
    for (sql, account) in [
        ("DELETE FROM delivery WHERE state = 'waiting'", "destination create, waiting"),
        ("DELETE FROM notification WHERE notification_id = 'kept'", "source orders, routed"),
        (
            "UPDATE destination_day SET delivered = delivered - 1 WHERE delivered > 0",
            "destination create, delivered, by day",
        ),
    ] {
        connection.execute(sql, []).unwrap();
        let found = world.disagreements().await;
        assert!(
            found.iter().any(|found| found.account == account && found.counter == found.rows + 1),
            "{sql}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_record_that_is_not_there_any_more_is_not_sent() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
    raw(&path(&world)).execute("UPDATE notification SET xml = '' WHERE notification_id = '1'", []).unwrap();
    assert!(world.claim(10).await.is_empty());
    assert_eq!(world.claim_one().await.delivery.0, 2, "its lane goes on");
    let dead = world.store().delivery(DeliveryId(1)).await.unwrap().0;
    assert!(dead.reason.unwrap().contains("its record was pruned"));
    world.assert_sound().await;
}

#[tokio::test]
async fn an_entry_of_the_audit_log_cannot_be_changed_or_removed_and_is_missed_when_it_is() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    for change in [Change::Hold, Change::Release] {
        world.change(1, change).await.unwrap();
    }
    let connection = raw(&path(&world));
    let words = |sql: &str| connection.execute(sql, []).unwrap_err().to_string();
    assert!(words("UPDATE audit SET who = 'nobody'").contains("cannot be changed"));
    assert!(words("DELETE FROM audit WHERE id = 1").contains("stays for a year"));
    connection.execute_batch("DROP TRIGGER audit_lasts; DELETE FROM audit WHERE id = 1;").unwrap();
    let found = world.disagreements().await;
    let found: Vec<(&str, i64)> = found.iter().map(|found| (found.account.as_str(), found.rows)).collect();
    let trigger = "trigger audit_lasts of audit is missing: restore a backup";
    assert_eq!(found, [(trigger, 1), ("entries of the audit log that are missing", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_envelopes_come_and_is_a_whole_store() {
    let mut world = World::new();
    // The configuration that all of it is made with.
    world.store().save_config(StoredConfig { files: BTreeMap::new() }, world.now()).await.unwrap();
    deliver_many(&world, 1_000, 2_000).await;
    let file = world.folder.path().join("backup.db");
    let progress = watch::Sender::new((0, 0));
    let made = world.store().backup(file.clone(), progress.clone());
    let posts = async {
        for id in 0..200 {
            world.post([note(&format!("during {id}")).to("a", "L")]).await;
        }
    };
    let (made, ()) = tokio::join!(made, posts);
    let made = made.unwrap();
    assert!(made.balanced && made.notifications >= 1_000, "{made:?}");
    let (copied, total) = *progress.borrow();
    assert!(copied == total && total > 500, "{copied} of {total}");
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, made.bytes));
    let beside: Vec<_> =
        std::fs::read_dir(world.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().starts_with("backup.db.") || name == "backup.db-wal"));

    world.store().close().await;
    let options = Options { path: file, ..world.options() };
    world.store = Some(Opened::Sqlite(SqliteStore::open(options).unwrap()));
    world.assert_sound().await;
}

#[tokio::test]
async fn who_starts_on_a_copy_knows_that_it_is_one_and_the_store_itself_does_not_change() {
    let mut world = World::new();
    let beat = |world: &World| {
        let (store, now) = (world.shared(), world.now());
        async move { store.heartbeat(now).await.unwrap() }
    };
    world.store().save_config(StoredConfig { files: BTreeMap::new() }, world.now()).await.unwrap();
    beat(&world).await;
    world.post([note("before")]).await;
    world.advance(60_000);
    let (made, file) = (world.now(), world.folder.path().join("backup.db"));
    assert!(backup(&world, &file).await.unwrap().balanced);
    world.advance(60_000);
    world.post([note("after")]).await;
    world.advance(100_000);
    assert_eq!(beat(&world).await, None);
    assert_eq!(world.store().absences().await.unwrap(), [], "the store is what it was");
    world.reopen().await;
    assert_eq!(beat(&world).await, None);

    // The copy of a copy is as old as that, and to look through it is no start.
    world.store().close().await;
    let second = world.folder.path().join("second.db");
    let copy = SqliteStore::open(Options { path: file, ..world.options() }).unwrap();
    copy.backup(second.clone(), watch::Sender::new((0, 0))).await.unwrap();
    assert_eq!(copy.verify().await.unwrap(), []);
    copy.close().await;
    world.store = Some(Opened::Sqlite(SqliteStore::open(Options { path: second, ..world.options() }).unwrap()));
    let absence = beat(&world).await.unwrap();
    assert_eq!((absence.since, absence.until, absence.restored), (made, world.now(), true));
    assert_eq!(world.store().absences().await.unwrap(), std::slice::from_ref(&absence));
    let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
    assert_eq!((log.len(), log[0].verb.as_str(), log[0].object.as_str()), (1, "restore", "store"));
    assert_eq!((log[0].who.as_str(), log[0].was.clone()), ("the gateway", format!("a copy made at {made}")));
    assert_eq!(world.post([note("after")]).await, [Fate::Unrouted], "it is gone from it");
    world.advance(60_000);
    assert_eq!(beat(&world).await, None, "it is a store like any other");
    world.advance(3_600_000);
    let later = beat(&world).await.unwrap();
    assert!(!later.restored && later.id != absence.id && later.since > absence.until, "{later:?}");
    let noted = world.store().acknowledge(absence.id, By::new("alice", "compared"), world.now()).await.unwrap();
    assert!(noted.restored && !noted.stands(world.now()), "{noted:?}");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_copy_that_was_made_otherwise_is_marked_as_the_readme_says() {
    let readme = include_str!("../../../README.md");
    let (_, order) = readme.split_once("sqlite3 omgate.db \"").unwrap();
    let (order, _) = order.split_once('"').unwrap();
    let mut world = World::new();
    world.store().heartbeat(Timestamp(1_795_658_400_000 - 60_000)).await.unwrap();
    world.store().close().await;
    raw(&path(&world)).execute_batch(order).unwrap();
    world.open();
    let absence = world.store().heartbeat(Timestamp(1_795_700_000_000)).await.unwrap().unwrap();
    assert!(absence.restored, "{absence:?}");
    assert_eq!(absence.since.to_string(), "2026-11-26T02:00:00.000Z");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_when_it_fails() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    let file = world.folder.path().join("backup.db");
    let words = async |file: &Path| backup(&world, file).await.unwrap_err().to_string();
    assert!(words(Path::new("backup.db")).await.contains("a whole path"));
    assert!(words(&world.folder.path().join("nowhere/b.db")).await.contains("cannot create"));
    assert!(words(&path(&world)).await.contains("is there already"));
    std::os::unix::fs::symlink("nowhere", world.folder.path().join("link")).unwrap();
    assert!(
        words(&world.folder.path().join("link")).await.contains("is there already"),
        "a link to nothing is a name too"
    );
    std::fs::write(world.folder.path().join("backup.db.partial"), "broken off").unwrap();
    assert!(words(&file).await.contains("backup.db.partial is there"));
    assert_eq!(std::fs::read(world.folder.path().join("backup.db.partial")).unwrap(), b"broken off");
    std::fs::remove_file(world.folder.path().join("backup.db.partial")).unwrap();

    raw(&path(&world)).execute("DELETE FROM delivery", []).unwrap();
    let made = backup(&world, &file).await.unwrap();
    assert!(!made.balanced, "it is a faithful copy of a store that does not balance, and says so");
}

#[tokio::test]
async fn what_an_earlier_omgate_counted_and_what_people_did_is_taken_over() {
    let mut world = World::new();
    deliver_many(&world, 100, 10).await;
    world.change(100, Change::Hold).await.unwrap_err();
    world.post([note("dead").dead_on("a", "no call")]).await;
    world.post([note("dead").dead_on("a", "no call")]).await;
    let before = world.store().ledger().await.unwrap();
    let (last, day) = (world.now(), world.now().day());
    world.store().close().await;
    world.store = None;
    let mut script = "PRAGMA user_version = 4; DROP TABLE moving; DROP TABLE moving_change; DROP INDEX delivery_settled; DROP INDEX delivery_followers; DROP INDEX delivery_not_before;
        DROP INDEX delivery_replays; DROP TABLE kept; ALTER TABLE notification DROP COLUMN edited_from;
        ALTER TABLE attempt DROP COLUMN call_hash; ALTER TABLE delivery DROP COLUMN outdated_by;
        ALTER TABLE system DROP COLUMN next_call_us; ALTER TABLE stale_mark DROP COLUMN field;
        INSERT INTO change (at, delivery, change, reason) VALUES (5, 101, 'discard', 'a test');"
        .to_owned();
    for table in [
        "config_taken",
        "source_day",
        "destination_day",
        "audit",
        "prune_walk",
        "alive",
        "absence",
        "audit_chain",
        "token",
        "sealing_key",
        "searched",
        "sample",
        "saved_view",
    ] {
        script.push_str(&format!("DROP TABLE {table};"));
    }
    for column in ["comes_after", "has_followers", "holds", "replay_of", "as_it_was", "not_before"] {
        script.push_str(&format!("ALTER TABLE delivery DROP COLUMN {column};"));
    }
    raw(&path(&world)).execute_batch(&script).unwrap();
    world.advance(3 * DAY_MS);
    world.open();
    world.assert_sound().await;
    assert_eq!(world.store().ledger().await.unwrap(), before);
    let filter = omgate::store::DayFilter { from: day, to: day, source: None, destination: None };
    let rows = world.store().ledger_days(filter).await.unwrap().rows;
    assert_eq!(rows.len(), 2, "on the last day of which the rows know");
    assert!(matches!(&rows[0].change, DayChange::Source { counts, .. } if counts.received == 102));
    assert_eq!(world.store().gaps(day, None).await.unwrap()[0].last_envelope, last);
    let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
    assert_eq!((log.len(), log[0].verb.as_str(), log[0].object_id.as_str()), (1, "discard", "101"));
    assert_eq!((log[0].reason.as_str(), log[0].at), ("a test", Timestamp(5)));
}

/// What finds the prunable reads nothing else: each of these goes straight to its place in an index.
#[tokio::test]
async fn pruning_finds_what_it_takes_by_an_index() {
    let world = World::new();
    let connection = raw(&path(&world));
    let source = include_str!("../../../src/store/sqlite/prune.rs");
    let mut looked_at = 0;
    for (place, _) in source.match_indices("FROM delivery INDEXED BY delivery_settled") {
        let start = source[..place].rfind('"').unwrap() + 1;
        let end = place + source[place..].find('"').unwrap();
        let sql = &source[start..end];
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        for parameter in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(parameter, 1).unwrap();
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let plan: String = row.get(3).unwrap();
            assert!(plan.contains("USING COVERING INDEX delivery_settled (state=?"), "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, 2);
}

/// Whether a text stands in any of the store's files.
fn stands_in(folder: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(holds).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn no_file_of_the_store_holds_a_payload_also_of_before_it_was_sealed() {
    let world = World::on(None);
    let keys = sealing::keys(&["one"], "");
    let sealed = Sealed::new(world.beneath(), Arc::clone(&keys));
    sealing::fill(&world, &sealed).await;
    assert!(!stands_in(world.folder.path(), sealing::SECRET).is_empty(), "in clear at first");
    let mut ring = omgate::cipher::Keyring::clone(&keys.load());
    assert!(ring.activate("one"));
    keys.store(ring.into());
    sealing::turn(&world, &sealed, &keys, false).await.unwrap();
    assert_eq!(stands_in(world.folder.path(), sealing::SECRET), [""; 0], "a walk leaves nothing behind");
    assert!(sealing::shown(&sealed).await.contains(sealing::SECRET));
}

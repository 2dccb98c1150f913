//! What somebody did to the database by hand is found, and what cannot be worked with is not called ready.

use aws_lc_rs::digest::{SHA256, digest};
use omgate::outcome::Kept;
use omgate::parse;
use omgate::store::sealed::{Sealed, shared};
use omgate::store::{Content, Discrepancy, Health, contents};

use super::*;

/// How long nothing is ready that must not be: some trials of the store itself.
const WATCHED: Duration = Duration::from_millis(2_500);

impl World {
    /// Does something to the database, past the store.
    fn damage(&self, sql: &str) {
        #[cfg(feature = "postgres")]
        if let Some(url) = self.database.clone() {
            let sql = format!("SET search_path = omgate; {sql}");
            return crate::postgres::wait(async move {
                crate::postgres::connect(&url).await.batch_execute(&sql).await.unwrap();
            });
        }
        let connection = rusqlite::Connection::open(self.folder.path().join("store.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    async fn accounts_found(&self) -> Vec<String> {
        self.store().verify().await.unwrap().into_iter().map(|Discrepancy { account, .. }| account).collect()
    }

    async fn stays_unready(&self, store: &dyn Store, words: &str) {
        let deadline = std::time::Instant::now() + WATCHED;
        while std::time::Instant::now() < deadline {
            let condition = store.condition();
            assert!(matches!(&condition, Health::Failing(reason) if reason.contains(words)), "{condition:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tries to claim, however it ends.
    async fn try_to_claim(&self, store: &dyn Store) -> StoreResult<Claims> {
        store.claim(claim_of_everything(self)).await
    }
}

async fn becomes(wanted: impl Fn(&Health) -> bool, store: &dyn Store) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !wanted(&store.condition()) {
        assert!(std::time::Instant::now() < deadline, "{:?}", store.condition());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A store with something of everything, whose configuration is kept.
async fn filled() -> World {
    let world = World::new();
    let files = BTreeMap::from([("omgate.toml".to_owned(), "x".to_owned())]);
    let version = world.store().save_config(StoredConfig { files }, world.now()).await.unwrap();
    assert_eq!(version, ConfigVersion(1));
    world.post([note("1").to("a", "L"), note("2").to("a", "M"), note("3").to("b", "M")]).await;
    let claimed = world.claim_one().await;
    let kept = vec![Kept { name: "order".to_owned(), value: "4711".into(), warning: None }];
    let settle = Settle { kept, ..world.settling(&claimed, "delivered", Settlement::Delivered) };
    world.store().settle(settle).await.unwrap();
    world.kill(&world.claim_one().await, true).await;
    world.change(2, Change::Discard).await.unwrap();
    assert_eq!(world.accounts_found().await, Vec::<String>::new());
    world
}

#[tokio::test(flavor = "multi_thread")]
pub(super) async fn whatever_rows_refer_to_and_is_gone_is_found() {
    let names = "names that something goes by and that are gone";
    let numbers = "kinds of numbers of which some would be given a second time";
    let (sequence, lease) = match World::new().is_postgres() {
        true => ("SELECT setval('delivery_id', 1)", "SELECT setval('lease_id', 1, false)"),
        false => ("DELETE FROM sequence WHERE kind = 'delivery'", "UPDATE sequence SET value = 1 WHERE kind = 'lease'"),
    };
    for (sql, account) in [
        ("DELETE FROM name WHERE kind = 'source'", names),
        ("DELETE FROM name WHERE kind = 'organization'", names),
        ("DELETE FROM name WHERE text = 'b'", names),
        ("DELETE FROM name WHERE kind = 'system'", names),
        ("UPDATE name SET kind = 'system' WHERE text = 'a'", names),
        ("DELETE FROM way WHERE id = (SELECT max(id) FROM way)", "ways that deliveries go and that are gone"),
        ("DELETE FROM config_version", "configurations that something was made with and that are gone"),
        (sequence, numbers),
        (lease, numbers),
        ("DELETE FROM audit_chain", "chains of the audit log whose end is gone or is not its last entry"),
        ("UPDATE audit_chain SET head_entry = 0", "chains of the audit log whose end is gone or is not its last entry"),
        ("UPDATE kept SET delivery = 4711", "values kept of answers without their delivery"),
        (
            "UPDATE searched SET notification = notification + 4711",
            "fields that notifications are found by without their notification",
        ),
        (
            "UPDATE notification SET xml = '' WHERE notification_id = '3'",
            "deliveries that are not settled and whose content is gone",
        ),
    ] {
        let world = filled().await;
        world.damage(sql);
        let found = world.accounts_found().await;
        assert!(found.iter().any(|found| found == account), "{sql}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(super) async fn a_table_that_somebody_removed_is_told_and_nothing_is_ready_until_it_is_back() {
    let world = filled().await;
    world.damage("ALTER TABLE stale_mark RENAME TO aside");
    let found = world.accounts_found().await;
    assert_eq!(found, ["table stale_mark is missing: restore a backup"]);
    assert!(world.try_to_claim(world.store()).await.is_err());
    becomes(|health| *health != Health::Ready, world.store()).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.stays_unready(world.store(), "table stale_mark").await;
    world.damage("ALTER TABLE aside RENAME TO stale_mark");
    becomes(|health| *health == Health::Ready, world.store()).await;
    assert_eq!(world.try_to_claim(world.store()).await.unwrap().claimed.len(), 1);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
pub(super) async fn what_the_database_refuses_again_and_again_makes_nobody_ready() {
    let world = filled().await;
    let refusing = if world.is_postgres() {
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
         CREATE TRIGGER no BEFORE INSERT ON attempt FOR EACH ROW EXECUTE FUNCTION no()"
    } else {
        "CREATE TRIGGER no BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'no'); END"
    };
    world.damage(refusing);
    let store = Sealed::new(world.shared(), shared(omgate::cipher::Keyring::default()));
    for time in 1..=3 {
        let refused = world.try_to_claim(&store).await;
        assert!(matches!(&refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(store.condition() == Health::Ready, time < 3, "one may be a fault of its own");
    }
    world.stays_unready(&store, "nothing is sent to system erp").await;
    let accepted = store.accept(world.envelope([note("4").to("a", "N")])).await;
    assert!(accepted.is_ok(), "what comes is stored all the same: {accepted:?}");
    world.damage(if world.is_postgres() { "DROP TRIGGER no ON attempt" } else { "DROP TRIGGER no" });
    assert_eq!(world.try_to_claim(&store).await.unwrap().claimed.len(), 2);
    assert_eq!(store.condition(), Health::Ready);
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
pub(super) async fn a_content_that_is_not_what_came_is_found_and_one_that_was_pruned_is_none() {
    let world = filled().await;
    world.damage("UPDATE notification SET xml = ''; DELETE FROM delivery; DELETE FROM attempt; DELETE FROM counter");
    let large = "x".repeat(700_000);
    for (id, text) in [("7", "as it came"), ("8", &large), ("9", &large), ("10", "<sObject/>")] {
        let mut note = note(id).says(text);
        note.0.hash = sha256(text);
        world.post([note]).await;
    }
    let check = async || {
        let found = contents::verify(world.store(), parse::has_hash).await.unwrap();
        let of_contents = |found: &Discrepancy| found.account.contains("contents ");
        found.into_iter().filter(of_contents).map(|found| (found.account, found.rows)).collect::<Vec<_>>()
    };
    assert_eq!(check().await, []);
    let all = world.store().contents(i64::MIN).await.unwrap();
    assert!(all.len() < 7, "they are read in pieces: {}", all.len());
    world.damage("UPDATE notification SET xml = xml || 'x' WHERE notification_id IN ('7', '9')");
    let found = check().await;
    let row = |id: &str| {
        let id = id.to_owned();
        async { world.store().notification(id).await.unwrap()[0].notification.row }
    };
    let (seventh, ninth) = (row("7").await, row("9").await);
    let words = if both::is_sealed() {
        "contents that cannot be read with the keys at hand, or were changed"
    } else {
        "contents that are not what came"
    };
    assert_eq!(found, [(format!("{words}: notifications {seventh}, {ninth}"), 2)]);
    let behind: Vec<Content> = world.store().contents(ninth).await.unwrap();
    assert_eq!(behind.iter().map(|content| content.xml.as_str()).collect::<Vec<_>>(), ["<sObject/>"]);
}

//! A store looked at from beside: whoever looks takes no lock and leaves no trace.

use omgate::store::sqlite::SqliteArchive;
use omgate::store::{Archive, TakenBy, TakenConfig};

use super::*;

fn names(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn open(world: &World) -> Result<SqliteArchive, String> {
    SqliteArchive::open(&world.folder.path().join("store.db")).map_err(|error| error.to_string())
}

async fn fill(world: &World) {
    for number in 1..=5 {
        let mut accept = world.envelope([note(&format!("{number}")).says(&format!("content {number}"))]);
        accept.source = if number == 3 { "leads" } else { "orders" }.to_owned();
        world.store().accept(accept).await.unwrap();
    }
    let files = BTreeMap::from([(String::new(), "[server]".to_owned())]);
    let version = world.store().save_config(StoredConfig { files }, world.now()).await.unwrap();
    let taken = TakenConfig { version, at: world.now(), by: TakenBy::Signal, reason: String::new() };
    world.store().take_config(taken).await.unwrap();
}

async fn look(archive: &dyn Archive) {
    let (taken, config) = archive.in_force().await.unwrap().unwrap();
    assert_eq!((taken.by, config.files[""].as_str()), (TakenBy::Signal, "[server]"));
    let contents = async |before, source, limit| {
        let views = archive.contents(before, source, limit).await.unwrap();
        views.into_iter().map(|view| view.notification.xml).collect::<Vec<_>>()
    };
    assert_eq!(contents(None, None, 2).await, ["content 5", "content 4"]);
    assert_eq!(contents(Some(4), None, 9).await, ["content 3", "content 2", "content 1"]);
    assert_eq!(contents(Some(4), Some("orders"), 9).await, ["content 2", "content 1"]);
    assert!(contents(Some(1), None, 9).await.is_empty() && contents(None, Some("nobody"), 9).await.is_empty());
}

#[tokio::test]
async fn a_store_is_read_while_a_gateway_works_on_it_and_after_it_stopped() {
    let mut world = World::new();
    fill(&world).await;
    look(&open(&world).unwrap()).await;
    world.store().close().await;
    world.store = None;
    let before = names(&world);
    look(&open(&world).unwrap()).await;
    assert_eq!(names(&world), before, "nothing is laid beside it");
    world.open();
    look(&open(&world).unwrap()).await;
}

#[tokio::test]
async fn contents_come_in_pages_that_memory_holds() {
    let world = World::new();
    for number in 1..=4 {
        world.post([note(&format!("{number}")).says(&"x".repeat(5 << 20))]).await;
    }
    let archive = open(&world).unwrap();
    let page = archive.contents(None, None, 100).await.unwrap();
    assert_eq!(page.len(), 2, "8 MiB are enough for once");
    assert_eq!(archive.contents(Some(page[1].notification.row), None, 100).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_that_is_not_there_or_of_another_time_says_so() {
    let mut world = World::new();
    world.store().close().await;
    world.store = None;
    let path = world.folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let reason = open(&world).unwrap_err();
    assert!(reason.contains("start `omgate serve` of this version on it once"), "{reason}");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let reason = open(&world).unwrap_err();
    assert!(reason.contains("its schema has version 99"), "{reason}");
    std::fs::remove_file(&path).unwrap();
    let reason = open(&world).unwrap_err();
    assert!(reason.ends_with("there is no such file"), "{reason}");
    assert!(!path.exists());
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_store_in_a_database_is_read_from_beside_too() {
    use omgate::store::postgres::PostgresArchive;

    if crate::postgres::server().is_none() {
        return;
    }
    let world = World::on(crate::postgres::database());
    let address = crate::postgres::address(world.database.as_deref().unwrap());
    fill(&world).await;
    world.post((6..=9).map(|number| note(&format!("{number}")).says(&"x".repeat(5 << 20)))).await;
    let archive = PostgresArchive::open(&address).await.unwrap();
    let page = archive.contents(None, None, 100).await.unwrap();
    assert_eq!(page.len(), 2, "8 MiB are enough for once");
    let other = World::on(crate::postgres::database());
    fill(&other).await;
    let address = crate::postgres::address(other.database.as_deref().unwrap());
    look(&PostgresArchive::open(&address).await.unwrap()).await;
}

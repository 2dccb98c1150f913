//! The store: its file and what it stands on, or its database.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Setup, examined, says};

#[test]
fn a_store_in_memory_fails() {
    if !Path::new("/dev/shm").is_dir() {
        println!("skipped: there is no /dev/shm");
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = format!("sqlite:{}/omgate.db", folder.path().display());
    let process = Setup { store: &store, ..Setup::default() }.prepare();
    let (code, document) = examined(&process, &["--offline"], &[]);
    says(&document, "store", "file system", "failed", &["nothing in it survives a restart", "path on a disk"]);
    says(&document, "store", "fsync", "ok", &["p50"]);
    assert_eq!(code, Some(1));
}

#[test]
fn a_file_of_another_program_and_one_that_others_read_fail() {
    let process = Setup::default().prepare();
    let file = process.folder.path().join("omgate.db");
    let (_, document) = examined(&process, &["--offline"], &[]);
    says(&document, "store", "schema", "ok", &["not there yet"]);
    assert!(!file.exists(), "it only looks");
    fs::write(&file, "this is no database, but a text that is long enough to be one: ".repeat(20)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, document) = examined(&process, &["--offline"], &[]);
    says(&document, "store", "schema", "failed", &["not a database"]);
    says(&document, "store", "permissions", "failed", &["others may read", "chmod 0600"]);
    assert_eq!(code, Some(1));
    let left: Vec<_> = fs::read_dir(process.folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "nothing stays behind: {left:?}");
}

#[cfg(feature = "postgres")]
mod database {
    use std::time::Duration;

    use super::*;
    use crate::gateways::Pooler;
    use crate::postgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_says_how_it_stands_and_one_that_is_away_fails() {
        let Some(url) = postgres::database() else { return };
        let process = Setup { store: &url, ..Setup::default() }.prepare();
        let (_, document) = examined(&process, &[], &[]);
        says(&document, "store", "database", "ok", &["PostgreSQL"]);
        says(&document, "store", "schema", "ok", &["no store in it yet"]);
        says(&document, "store", "pooler", "ok", &["session of its own"]);
        says(&document, "clock", "skew", "ok", &["the database"]);
        let (_, document) = examined(&process, &["--offline"], &[]);
        says(&document, "store", "database", "skipped", &["--offline"]);
        let process = Setup { store: &format!("{url}_gone"), ..Setup::default() }.prepare();
        let (code, document) = examined(&process, &[], &[]);
        // Between a gateway and its database may stand a pooler.
        if let Some(server) = postgres::server().filter(|server| server.is_ours())
            && let Some(pooler) = Pooler::start(server.port)
        {
            let pooled = url.replace(&format!(":{}", server.port), &format!(":{}", pooler.port));
            postgres::until("the pooler listens", Duration::from_secs(20), async || {
                tokio_postgres::connect(&pooled, tokio_postgres::NoTls).await.is_ok()
            })
            .await;
            let process = Setup { store: &pooled, ..Setup::default() }.prepare();
            let (_, document) = examined(&process, &[], &[]);
            says(&document, "store", "pooler", "ok", &["PgBouncer"]);
        }
        postgres::remove(&url);
        says(&document, "store", "database", "failed", &["cannot be asked", "psql"]);
        assert_eq!(code, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_payloads_are_looked_at_and_those_that_the_store_needs() {
    let write = |process: &crate::harness::Process, name: &str, text: &str, mode: u32| {
        let path = process.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let one = "01".repeat(32);
    let configured = |encryption: &str| {
        let store = format!("sqlite:omgate.db\"\n[store.encryption]\n{encryption}\n# ");
        Setup { store: &store, ..Setup::default() }.text()
    };
    let first = "active = \"k1\"\nkeys = { k1 = \"${file:k1.key}\" }";
    let mut process = crate::harness::Process::prepare(&configured(first));
    write(&process, "k1.key", &one, 0o644);
    write(&process, "k2.key", &"02".repeat(32), 0o600);
    let (code, document) = examined(&process, &["--offline"], &[]);
    says(&document, "encryption", "keys", "ok", &["k1 can be read, 32 bytes each", "k1 encrypts"]);
    says(&document, "encryption", "store", "skipped", &["there is no such file"]);
    says(&document, "configuration", "file", "warning", &["every user of this machine may read it", "chmod 0600"]);
    assert_eq!(code, Some(0), "{document:#}");
    process.start(&[]).await;
    process.stop().await;
    write(&process, "k1.key", &one, 0o600);
    let (_, document) = examined(&process, &["--offline"], &[]);
    says(&document, "encryption", "store", "ok", &["are there: k1"]);
    let judge = |encryption: &str| {
        process.configure(&configured(encryption));
        examined(&process, &["--offline"], &[])
    };
    let (code, document) = judge("active = \"k2\"\nkeys = { k1 = \"${file:k1.key}\", k2 = \"${file:k2.key}\" }");
    says(&document, "encryption", "store", "warning", &["k1, which is not the active key", "omgate store rekey"]);
    assert_eq!(code, Some(0), "{document:#}");
    let (code, document) = judge("active = \"k2\"\nkeys = { k2 = \"${file:k2.key}\" }");
    says(&document, "encryption", "store", "failed", &["encrypted with key \"k1\"", "does not start"]);
    assert_eq!(code, Some(1));
    let (code, document) = judge("active = \"k1\"\nkeys = { k1 = \"${file:k2.key}\" }");
    says(&document, "encryption", "store", "failed", &["is not the one of that id"]);
    assert_eq!(code, Some(1));
    let (code, document) = judge("active = \"k3\"\nkeys = { k1 = \"${file:nowhere.key}\" }");
    says(&document, "configuration", "file", "failed", &["nowhere.key"]);
    assert_eq!(code, Some(1));
}

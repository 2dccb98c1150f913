//! Files that change: written, replaced by renaming, or exchanged behind links.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

/// A table that the one route looks a value up in.
const TABLE: &str = r#"
[[table]]
name = "words"
file = "words.csv"
key = "from"
value = "to"
"#;

fn mapped(url: &str, server: &str) -> String {
    let map = "[route.map]\nWord = \"record.Name | lookup('words')\"\n";
    configuration(server, &format!("{}{map}{TABLE}", way("a", url, "")))
}

fn words(gateway: &Process, to: &str) {
    fs::write(gateway.folder.path().join("words.csv"), format!("from,to\nA,{to}\n")).unwrap();
}

async fn until_version(gateway: &Process, version: i64) -> Value {
    gateway.admin_until("/api/v1/config", PATIENCE, |config| config["version"] == version).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_or_replaced_is_taken_by_itself() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&mapped(&sink.url("/one"), "watch_every = \"30m\""));
    words(&gateway, "eins");
    gateway.start(&[]).await;
    gateway.configure(&mapped(&sink.url("/two"), "watch_every = \"30m\""));
    assert_eq!(until_version(&gateway, 2).await["by"], "file");
    words(&gateway, "zwei");
    until_version(&gateway, 3).await;
    let beside = gateway.folder.path().join("omgate.toml.new");
    let text = fs::read_to_string(gateway.config()).unwrap().replace("/two", "/three");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, gateway.config()).unwrap();
    until_version(&gateway, 4).await;
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    let arrived = &sink.arrived()[0];
    assert_eq!((arrived.path.as_str(), arrived.json()), ("/three", json!({"Word": "zwei"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_exchanged_as_kubernetes_does_are_followed() {
    let sink = ok_sink().await;
    // Nothing is heard of a link in the folder of the store, and half an hour is too long to look.
    let text = mapped(&sink.url("/one"), "watch_every = \"30m\"").replace("omgate.db", "data/omgate.db");
    let mut gateway = Process::prepare(&text);
    let at = |name: &str| gateway.folder.path().join(name);
    fs::create_dir(at("data")).unwrap();
    for (folder, path) in [("..1", "/one"), ("..2", "/two"), ("..3", "/three")] {
        fs::create_dir(at(folder)).unwrap();
        fs::write(at(folder).join("words.csv"), format!("from,to\nA,{folder}\n")).unwrap();
        let text = fs::read_to_string(at("omgate.toml")).unwrap().replace("/one", path);
        fs::write(at(folder).join("omgate.toml"), text).unwrap();
    }
    fs::remove_file(at("omgate.toml")).unwrap();
    symlink("..1", at("..data")).unwrap();
    for name in ["omgate.toml", "words.csv"] {
        symlink(format!("..data/{name}"), at(name)).unwrap();
    }
    gateway.start(&[]).await;
    for (number, folder) in [(2, "..2"), (3, "..3")] {
        let at = |name: &str| gateway.folder.path().join(name);
        symlink(folder, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        until_version(&gateway, number).await;
        fs::remove_dir_all(at(&format!("..{}", number - 1))).unwrap();
    }
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!((sink.arrived()[0].path.as_str(), sink.arrived()[0].json()), ("/three", json!({"Word": "..3"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_told_once_and_mended_by_the_file_that_was_missing() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration("watch_every = \"1s\"", &way("a", &sink.url("/"), "")));
    gateway.start(&[]).await;
    gateway.configure(&mapped(&sink.url("/"), "watch_every = \"1s\""));
    let status = gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"] != json!([])).await;
    assert!(status["alarms"].to_string().contains("words.csv"), "{status:#}");
    // Another mistake is told anew; the same one is not, however often it is looked at.
    gateway.configure(&mapped(&sink.url("/"), "watch_every = \"1s\"").replace("POST", "P O S T"));
    let told = |status: &Value| status["alarms"].to_string().contains("P O S T");
    gateway.admin_until("/api/v1/status", PATIENCE, told).await;
    gateway.configure(&mapped(&sink.url("/"), "watch_every = \"1s\""));
    gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"] != json!([]) && !told(status)).await;
    words(&gateway, "eins");
    until_version(&gateway, 2).await;
    gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"] == json!([])).await;
    assert_eq!(gateway.log().matches("reload: the configuration is wrong").count(), 3, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_another_counts_at_once_and_makes_no_new_version() {
    let sink = ok_sink().await;
    let keys = "auth = { bearer = \"${file:token}\" }";
    let mut gateway = Process::prepare(&configuration("", &way("a", &sink.url("/"), keys)));
    let token = gateway.folder.path().join("token");
    fs::write(&token, "first-token\n").unwrap();
    gateway.start(&[]).await;
    fs::write(&token, "second-token\n").unwrap();
    let config = gateway.admin_until("/api/v1/config", PATIENCE, |config| config["by"] == "file").await;
    assert_eq!(config["version"], 1, "what deliveries are made by is the same");
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived()[0].headers["authorization"], "Bearer second-token");
    assert!(!gateway.log().contains("second-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_watching_a_changed_file_waits_for_a_person() {
    let sink = ok_sink().await;
    let with = |path: &str| configuration("watch = false\nwatch_every = \"1s\"", &way("a", &sink.url(path), ""));
    let mut gateway = Process::prepare(&with("/one"));
    gateway.start(&[]).await;
    gateway.configure(&with("/two"));
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(
        (sink.arrived()[0].path.as_str(), &gateway.admin("/api/v1/config").await["version"]),
        ("/one", &json!(1))
    );
    let on = with("/three").replace("watch = false", "watch = true");
    gateway.configure(&on);
    assert!(gateway.command(&["reload"]).status.success());
    gateway.configure(&on.replace("/three", "/four"));
    assert_eq!(until_version(&gateway, 3).await["by"], "file", "and watching begins with the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_tls_on_waits_for_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=localhost"])
        .args(["-keyout", &at("key.pem"), "-out", &at("cert.pem")])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("skipped: there is no openssl to make a certificate with");
        return;
    }
    let sink = ok_sink().await;
    let with = |tls: &str| configuration(&format!("watch = false\n{tls}"), &way("a", &sink.url("/"), ""));
    let mut gateway = Process::prepare(&with(""));
    gateway.start(&[]).await;
    gateway.configure(&with(&format!(
        "[server.tls]\ncertificate = {:?}\nprivate_key = {:?}",
        at("cert.pem"),
        at("key.pem")
    )));
    let (status, answer) = reload(&gateway, json!({})).await;
    assert_eq!((status, &answer["needs_restart"]), (200, &json!(["server.tls"])), "{answer:#}");
    post(&gateway, [1]).await;
}

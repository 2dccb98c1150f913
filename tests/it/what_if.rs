//! `omgate what-if`: another configuration over what is stored, beside a running gateway and without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Process, free_ports};

const PATIENCE: Duration = Duration::from_secs(20);
const GOLDENS: &str = "fixtures/what-if";

/// Posted in this order; the last one is the newest.
const ENVELOPES: [&str; 5] =
    ["create", "batch-of-three", "null-and-empty", "deleted-record", "unreadable-among-others"];

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs it in a folder, where its file is `new.toml`.
fn what_if(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["what-if", "--config", "new.toml"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The example's configuration beside its files, with systems that are paused, so that nothing goes anywhere.
fn example(folder: &Path) -> String {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(folder.join("wsdl")).unwrap();
    for name in ["erp.wsdl", "erp.xsd", "order-won.wsdl"] {
        fs::copy(project.join("wsdl").join(name), folder.join("wsdl").join(name)).unwrap();
    }
    fs::copy(project.join("fixtures/countries.csv"), folder.join("countries.csv")).unwrap();
    fs::read_to_string(project.join("fixtures/omgate.toml"))
        .unwrap()
        .replace("../wsdl/", "wsdl/")
        .replace(":8080\"", ":{public}\"")
        .replace(":8081\"", ":{admin}\"")
        .replace("rate = \"20/s\"", "rate = \"20/s\"\npaused = true")
        .replace("kind = \"rest\"", "kind = \"rest\"\npaused = true")
}

/// A gateway that runs on the example, with the envelopes posted.
async fn filled() -> (Process, String) {
    filled_with(&[]).await
}

/// One that takes a changed file only when it is told to.
async fn quiet() -> (Process, String) {
    filled_with(&[("[server]\n", "[server]\nwatch = false\n")]).await
}

async fn filled_with(changes: &[(&str, &str)]) -> (Process, String) {
    let mut gateway = Process::prepare("");
    let text = changed(&example(gateway.folder.path()), changes);
    gateway.configure(&text);
    gateway.start(&[]).await;
    for name in ENVELOPES {
        let body = fs::read(format!("fixtures/envelopes/{name}.xml")).unwrap();
        assert!(gateway.post("/om/order-won", body).await.unwrap().is_ack(), "{name}");
    }
    gateway.until(PATIENCE, |ledger| ledger["notifications"]["received"].as_i64() >= Some(9)).await;
    (gateway, text)
}

fn write(gateway: &Process, text: &str, changes: &[(&str, &str)]) {
    let text = changed(text, changes);
    // Its ports do not matter, and may be the gateway's own.
    let (public, admin) = free_ports();
    let text = text.replace("{public}", &public.to_string()).replace("{admin}", &admin.to_string());
    fs::write(gateway.folder.path().join("new.toml"), text).unwrap();
}

const ONE_MORE: &str = r#"
[[route]]
name = "all"
source = "order-won"
destination = "crm"
when = "record.Amount | default(0) > 100"

[[table]]"#;

/// Name of the golden file, exit code, changes of the example.
type Case = (&'static str, i32, &'static [(&'static str, &'static str)]);

const CASES: [Case; 7] = [
    ("same.txt", 0, &[("timeout", "timeout")]),
    (
        "fields.txt",
        1,
        &[
            ("decimal(2)", "decimal(0)"),
            ("truncate(80)", "truncate(6)"),
            ("Comment = ", "# Comment = "),
            ("lane = \"record.AccountId\"", "lane = \"record.Name\""),
            ("/customers/", "/clients/"),
            ("{ X-Source = \"omgate/{{ source }}\" }", "{ X-From = \"omgate\" }"),
        ],
    ),
    (
        "routes.txt",
        1,
        &[("'Closed Won'", "'Closed Lost'"), ("name = \"customers\"", "name = \"clients\""), ("\n[[table]]", ONE_MORE)],
    ),
    (
        "fails.txt",
        1,
        &[("Currency = \"'EUR'\"", "Currency = \"record.Name\""), ("{{ record.Id }}", "{{ record.AccountId }}")],
    ),
    ("strangers.txt", 1, &[("00D24000000abcdEAA", "00D24000000zzzz")]),
    ("source-gone.txt", 1, &[("\"order-won\"", "\"order-lost\"")]),
    ("secrets.txt", 1, &[("X-Source = \"omgate/{{ source }}\"", "X-Source = \"${NOWHERE} ${file:nowhere}\"")]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_another_is_said_by_route_and_field() {
    let (gateway, text) = filled().await;
    let text = text.replace("system = \"erp\"", "system = \"erp\"\ntimeout = \"30s\"");
    let update = std::env::var_os("OMGATE_UPDATE").is_some();
    let mut failures = Vec::new();
    let mut check = |name: &str, actual: &str| {
        let golden = Path::new(GOLDENS).join(name);
        if update {
            fs::write(&golden, actual).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != actual {
            failures.push(format!("{} differs; it gives now:\n{actual}", golden.display()));
        }
    };
    let mut names = BTreeSet::new();
    for (name, code, changes) in CASES {
        write(&gateway, &text, changes);
        let ran = what_if(gateway.folder.path(), &[]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{name}: {}", ran.out);
        check(name, &ran.out);
        names.insert(name.to_owned());
        if name == "fields.txt" {
            let ran = what_if(gateway.folder.path(), &["--json", "--last", "2", "--source", "order-won"]);
            assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["looked_at"], 2);
            check("fields.json", &ran.out);
            names.insert("fields.json".to_owned());
        }
    }
    assert!(failures.is_empty(), "{}\n(OMGATE_UPDATE=1 writes them anew)", failures.join("\n"));
    let there = fs::read_dir(GOLDENS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), names, "golden files without a case");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_changes_nothing_and_needs_no_gateway() {
    let (mut gateway, text) = filled().await;
    write(&gateway, &text, &[("decimal(2)", "decimal(0)")]);
    let before = gateway.ledger().await;
    let beside = what_if(gateway.folder.path(), &[]);
    assert_eq!(gateway.ledger().await, before);
    gateway.stop().await;
    let listed = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<BTreeSet<_>>()
    };
    let (files, bytes) = (listed(gateway.folder.path()), fs::read(gateway.folder.path().join("omgate.db")).unwrap());
    let alone = what_if(gateway.folder.path(), &[]);
    assert_eq!((alone.code, alone.out), (Some(1), beside.out));
    assert_eq!(listed(gateway.folder.path()), files);
    assert!(fs::read(gateway.folder.path().join("omgate.db")).unwrap() == bytes, "not a byte was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_do_it_says_in_words() {
    let (gateway, text) = filled().await;
    let folder = gateway.folder.path();
    write(&gateway, &text, &[("omgate.db", "elsewhere.db")]);
    let ran = what_if(folder, &[]);
    assert!(ran.code == Some(1) && ran.err.contains("elsewhere.db: there is no such file"), "{}", ran.err);
    assert!(ran.err.contains("--store FILE"), "{}", ran.err);
    let ran = what_if(folder, &["--store", "sqlite:omgate.db"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let ran = what_if(folder, &["--store", "omgate.db", "--source", "nobody"]);
    assert!(ran.code == Some(1) && ran.err.contains("there is no source \"nobody\""), "{}", ran.err);
    let ran = what_if(folder, &["--last", "0"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let moved = "INSERT INTO moving (id, direction, token, other, begun_at, stage, moved_at)
                 VALUES (1, 'out', 1, 'postgres://db.internal/omgate', 0, 'moved', 1)";
    rusqlite::Connection::open(folder.join("omgate.db")).unwrap().execute(moved, []).unwrap();
    let ran = what_if(folder, &["--store", "omgate.db"]);
    let told = "this store was moved to postgres://db.internal/omgate at 1970-01-01";
    assert!(ran.code == Some(0) && ran.err.contains(told), "{}", ran.err);
    write(&gateway, &text, &[("record.Amount", "record.Amout")]);
    let ran = what_if(folder, &[]);
    assert!(ran.code == Some(1) && ran.out.contains("new.toml:") && ran.out.contains("Amout"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_compares_the_file_on_disk_as_the_command_does_and_changes_nothing() {
    let (gateway, text) = quiet().await;
    let what_if_of = async |query: &str| gateway.ask(&format!("/api/v1/config/what-if{query}")).await;
    let (status, same) = what_if_of("").await;
    assert_eq!((status, &same["differ"], &same["changed_files"]), (200, &Value::from(0), &Value::Array(Vec::new())));
    let before = gateway.ledger().await;
    let text = changed(
        &text,
        &[
            ("decimal(2)", "decimal(0)"),
            ("'Closed Won'", "'Closed Lost'"),
            ("truncate(80)", "truncate(6)"),
            ("\n[[table]]", ONE_MORE),
        ],
    );
    gateway.configure(&text);
    let (_, found) = what_if_of("").await;
    let beside = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["what-if", "--json", "--config"])
        .arg(gateway.config())
        .output()
        .unwrap();
    let mut beside: Value = serde_json::from_slice(&beside.stdout).unwrap();
    for key in ["messages", "complete", "changed_files"] {
        beside[key] = found[key].clone();
    }
    assert_eq!(found, beside);
    let counts = &found["counts"];
    let number = |key: &str| counts[key].as_u64().unwrap();
    assert!(number("not_routed") > 0 && number("routed") > 0, "{counts}");
    let [looked_at, skipped, differ] = ["looked_at", "skipped", "differ"].map(|key| found[key].as_u64().unwrap());
    assert_eq!(number("same"), looked_at - skipped - differ);
    assert_eq!((&found["complete"], found["messages"].as_array().unwrap().len() as u64), (&Value::Bool(true), differ));
    assert!(found["changed_files"][0].as_str().unwrap().ends_with("omgate.toml"), "{found}");
    assert_eq!(what_if_of("?last=2").await.1["looked_at"], 2);
    let page = gateway.ask("/configuration/what-if?last=20").await.1;
    let page = page.as_str().unwrap();
    assert!(page.contains("differ from what is in force") && page.contains("would not be made any more"), "{page}");
    assert!(gateway.ask("/configuration").await.1.as_str().unwrap().contains("What would change"));
    // A reload says what it would alter, before it does.
    let (_, dry) = gateway.change("/api/v1/reload", &serde_json::json!({"dry_run": true})).await;
    assert_eq!(
        (&dry["added"], &dry["altered"]),
        (&serde_json::json!(["route all"]), &serde_json::json!(["route won-orders"]))
    );
    assert_eq!((gateway.ledger().await, &gateway.ask("/api/v1/config").await.1["version"]), (before, &Value::from(1)));
    for (query, code, words) in [
        ("?last=0", 400, "ask for 1 to 1000"),
        ("?last=1001", 400, "ask for 1 to 1000"),
        ("?source=nobody", 400, "nobody"),
        ("?first=1", 400, "first"),
    ] {
        let (status, told) = what_if_of(query).await;
        assert!(status == code && told["detail"].as_str().unwrap().contains(words), "{query}: {status} {told}");
    }
    gateway.configure(&changed(&text, &[("record.Amount", "record.Amout")]));
    let (status, wrong) = what_if_of("").await;
    assert!(status == 422 && wrong["problems"].to_string().contains("Amout"), "{wrong}");
    assert!(gateway.ask("/configuration/what-if").await.1.as_str().unwrap().contains("the configuration is wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_newly_fails_is_counted_as_such_and_a_record_that_is_gone_is_not_compared() {
    let (gateway, text) = quiet().await;
    gateway.configure(&changed(&text, &[("Currency = \"'EUR'\"", "Currency = \"record.Name\"")]));
    let (_, found) = gateway.ask("/api/v1/config/what-if").await;
    assert!(found["counts"]["failing"].as_u64() > Some(0) && found["counts"]["mended"] == 0, "{}", found["counts"]);
    let looked_at = found["looked_at"].as_u64().unwrap();
    rusqlite::Connection::open(gateway.folder.path().join("omgate.db"))
        .unwrap()
        .execute("UPDATE notification SET xml = '' WHERE id = 1", [])
        .unwrap();
    let (_, found) = gateway.ask("/api/v1/config/what-if").await;
    assert_eq!((&found["pruned"], found["looked_at"].as_u64()), (&Value::from(1), Some(looked_at)), "{found}");
}

fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

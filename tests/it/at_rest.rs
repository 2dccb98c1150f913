//! What the store holds is encrypted, and masked fields are shown to nobody who may not see them: through the real program.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);
const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f";
const SECRET: &str = "jane.doe@example.org";

fn configuration(encryption: &str, source: &str, sink: &Sink) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
watch = false

[store]
url = "sqlite:omgate.db"
{encryption}

[[source]]
name = "contacts"
path = "/om/contacts"
organizations = ["00D24000000abcdEAA"]
{source}

[[destination]]
name = "whole"
kind = "rest"
url = "{whole}"
retry = {{ first = "20ms", max_wait = "50ms" }}
keep = {{ greeting = "response.body.greeting" }}

[[destination]]
name = "mapped"
kind = "rest"
url = "{mapped}"

[[destination]]
name = "by-url"
kind = "rest"
method = "PUT"
url = "{by_url}/{{{{ record.Email | lower }}}}"

[[route]]
name = "whole"
source = "contacts"
destination = "whole"
lane = "record.Email"

[[route]]
name = "mapped"
source = "contacts"
destination = "mapped"
[route.map]
Person.Mail = "record.Email | upper"
Person.Name = "record.Name"

[[route]]
name = "by-url"
source = "contacts"
destination = "by-url"
"#,
        whole = sink.url("/whole"),
        mapped = sink.url("/mapped"),
        by_url = sink.url("/by-url"),
    )
}

/// A system that fails at first, and that quotes what it was sent.
async fn sink() -> Sink {
    let tried = AtomicBool::new(false);
    Sink::start(Box::new(move |_, arrived| {
        let body =
            json!({"greeting": format!("Hello {SECRET}"), "echo": arrived.body, "message": format!("{SECRET}?")});
        let status = match arrived.path.as_str() {
            "/mapped" => 422,
            "/whole" if !tried.swap(true, Ordering::SeqCst) => 503,
            _ => 200,
        };
        Some((status, body.to_string()))
    }))
    .await
}

fn notice() -> String {
    let fields = format!("<sf:Email>{SECRET}</sf:Email><sf:Name>Jane</sf:Name><sf:SSN__c>123-45-6789</sf:SSN__c>");
    envelope(&[Notice { id: "04l000000000001AAA", record: "003000000000001AAA", fields: &fields }])
}

/// Sends one and waits until all that becomes of it is over.
async fn pass_one(process: &Process) {
    assert!(process.post("/om/contacts", notice()).await.unwrap().is_ack());
    let over = |ledger: &Value| {
        let deliveries = &ledger["deliveries"];
        deliveries["delivered"].as_i64().unwrap() + deliveries["dead"].as_i64().unwrap() == 3
    };
    process.until(PATIENCE, over).await;
}

/// The files in a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default().to_ascii_lowercase();
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn encryption(active: &str, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|id| format!("{id} = \"${{file:{id}.key}}\"")).collect();
    let active = if active.is_empty() { String::new() } else { format!("active = \"{active}\"\n") };
    format!("[store.encryption]\n{active}keys = {{ {} }}", keys.join(", "))
}

fn write_keys(process: &Process) {
    use std::os::unix::fs::PermissionsExt;
    for (id, key) in [("one", ONE), ("two", TWO), ("other", TWO)] {
        let path = process.folder.path().join(format!("{id}.key"));
        std::fs::write(&path, format!("{key}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_encrypted_the_key_is_changed_while_it_runs_and_nothing_starts_without_it() {
    let sink = sink().await;
    // The lane is not encrypted, so it must be none that is to be kept secret.
    let configured = |encryption: &str| configuration(encryption, "", &sink).replace("lane = \"record.Email\"", "");
    let mut process = Process::prepare(&configured(&encryption("one", &["one"])));
    write_keys(&process);
    process.start(&[]).await;
    pass_one(&process).await;
    let _ = process.post("/om/contacts", format!("<x>{SECRET}</x>")).await.unwrap();
    let folder = process.folder.path().to_owned();
    assert_eq!(holding(&folder, SECRET), [""; 0], "no file of the store, no log");
    let backup = process.command(&["store", "backup", &folder.join("copy.db").to_string_lossy()]);
    assert!(backup.status.success(), "{}", said(&backup));
    assert_eq!(holding(&folder, SECRET), [""; 0], "nor a copy");
    let shown = process.admin("/api/v1/deliveries/1").await.to_string();
    assert!(shown.contains(SECRET) && shown.contains("answered 503"), "{shown}");
    let found = process.admin(&format!("/api/v1/deliveries?kept=greeting%3DHello%20{SECRET}")).await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let found = process.admin("/api/v1/deliveries?text=answered%20422").await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");

    // Another key, while it runs.
    process.configure(&configured(&encryption("two", &["one", "two"])));
    let reloaded = process.command(&["reload", "--reason", "the yearly change"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    process.configure(&configured(&encryption("two", &["two"])));
    let early = process.command(&["reload"]);
    assert!(!early.status.success() && said(&early).contains("encrypted with key \"one\""), "{}", said(&early));
    process.configure(&configured(&encryption("two", &["one", "two"])));
    let would = process.command(&["store", "rekey", "--dry-run"]);
    assert!(would.status.success() && said(&would).contains("under key one"), "{}", said(&would));
    let would = process.command(&["store", "rekey", "--dry-run", "--json"]);
    let would: Value = serde_json::from_slice(&would.stdout).unwrap();
    let number = |key: &str| would[key].as_u64().unwrap();
    let found: u64 = would["found"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(number("empty") + found, number("rows") + number("repeated"), "every row is accounted for: {would}");
    assert!(number("outdated") > 0 && number("changed") == 0, "{would}");
    let did = process.command(&["store", "rekey", "--reason", "the yearly change"]);
    assert!(did.status.success() && said(&did).contains("[store.encryption] keys: one"), "{}", said(&did));
    let entry = process.admin("/api/v1/audit?verb=rekey").await[0].clone();
    assert_eq!(entry["reason"], "the yearly change");
    process.configure(&configured(&encryption("two", &["two"])));
    let reloaded = process.command(&["reload"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    assert_eq!(process.admin("/api/v1/deliveries/1").await["attempts"][0]["response"], {
        let whole: Value = serde_json::from_str(&shown).unwrap();
        whole["attempts"][0]["response"].clone()
    });
    assert_eq!(holding(&folder, SECRET), [""; 0]);

    // What was encrypted is what another configuration is tried on.
    let new = configured(&encryption("two", &["two"])).replace("record.Name", "record.Name | upper");
    process.configure(&new);
    let what_if = process.command(&["what-if"]);
    assert!(said(&what_if).contains("field Person.Name"), "{}", said(&what_if));

    process.stop().await;
    for (keys, why) in
        [(encryption("other", &["other"]), "encrypted with key \"two\""), (String::new(), "encrypted with key \"two\"")]
    {
        process.configure(&configured(&keys));
        let refused = process.command(&["serve"]);
        assert!(!refused.status.success() && said(&refused).contains(why), "{}", said(&refused));
    }
    std::fs::write(folder.join("two.key"), ONE).unwrap();
    process.configure(&configured(&encryption("two", &["two"])));
    let refused = process.command(&["serve"]);
    assert!(!refused.status.success() && said(&refused).contains("is not the one of that id"), "{}", said(&refused));
    write_keys(&process);
    // With the gateway stopped the command does it on the store.
    process.configure(&configured(&encryption("", &["two"])));
    let did = process.command(&["store", "rekey"]);
    assert!(did.status.success() && said(&did).contains("stand in clear"), "{}", said(&did));
    assert_eq!(holding(&folder, SECRET), ["omgate.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_gains_no_privileges_and_writes_what_its_user_alone_reads() {
    let sink = sink().await;
    let mut process = Process::prepare(&configuration("", "", &sink));
    process.start(&[]).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    for line in ["NoNewPrivs:\t1", "Umask:\t0077"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| std::fs::metadata(process.folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("omgate.db"), mode("omgate.db-wal"), mode("omgate.db-lock")], [0o600; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_fields_are_shown_nowhere_and_in_clear_only_to_whom_it_is_noted_of() {
    let sink = sink().await;
    let mut process = Process::prepare(&configuration("", "mask = [\"Email\", \"SSN__c\"]", &sink));
    process.start(&[]).await;
    pass_one(&process).await;
    let refused = notice().replace("<Id>04l", "<Id>04l0</Id><Id>04l");
    let _ = process.post("/om/contacts", refused).await.unwrap();
    let sent = sink.arrived();
    assert!(
        sent.iter().all(|arrived| arrived.body.contains(SECRET) || arrived.path != "/whole"),
        "it is sent as it came"
    );

    let mut pages = Vec::new();
    for path in [
        "/api/v1/notifications",
        "/api/v1/notifications/04l000000000001AAA",
        "/api/v1/notifications/1",
        "/api/v1/deliveries",
        "/api/v1/deliveries?state=dead",
        "/api/v1/deliveries/1",
        "/api/v1/deliveries/2",
        "/api/v1/deliveries/3",
        "/api/v1/dead",
        "/api/v1/issues",
        "/api/v1/refused",
        "/api/v1/status",
        "/api/v1/systems",
    ] {
        pages.push((path.to_owned(), process.admin(path).await.to_string()));
    }
    let (_, rehearsed) = process.change("/api/v1/deliveries/2/replay", &json!({"dry_run": true})).await;
    pages.push(("dry run".to_owned(), rehearsed.to_string()));
    let (_, many) =
        process.change("/api/v1/deliveries/replay", &json!({"dry_run": true, "choose": {"state": "dead"}})).await;
    pages.push(("dry run of many".to_owned(), many.to_string()));
    for command in [
        ["deliveries", "show", "1"],
        ["deliveries", "show", "2"],
        ["notifications", "show", "1"],
        ["deliveries", "list", "--json"],
        ["dead", "list", "--json"],
        ["issues", "list", "--json"],
        ["why", "2", "--json"],
    ] {
        pages.push((command.join(" "), said(&process.command(&command))));
    }
    let new =
        configuration("", "mask = [\"Email\", \"SSN__c\"]", &sink).replace("| upper", "| upper | trim | truncate(9)");
    process.configure(&new);
    pages.push(("what-if".to_owned(), said(&process.command(&["what-if"]))));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/", "/deliveries/1", "/deliveries/2", "/metrics"] {
        let url = format!("http://127.0.0.1:{}{path}", process.admin);
        pages.push((path.to_owned(), client.get(url).send().await.unwrap().text().await.unwrap()));
    }
    pages.push(("log".to_owned(), process.log()));
    for (page, text) in &pages {
        let text = text.to_lowercase();
        for secret in [SECRET, "jane.doe", "123-45-6789", "jane%2edoe", "jane.doe%40"] {
            assert!(!text.contains(secret), "{page} shows {secret}: {text}");
        }
    }
    let page = |name: &str| &pages.iter().find(|(known, _)| known == name).unwrap().1;
    assert!(page("/api/v1/deliveries/1").contains("(masked)"), "{}", page("/api/v1/deliveries/1"));
    assert!(page("/api/v1/deliveries/2").contains("\\\"Name\\\":\\\"Jane\\\""), "others are shown");
    assert!(page("/api/v1/notifications/1").contains("<sf:Name>Jane</sf:Name>"));

    let clear = process.command(&["deliveries", "show", "1", "--unmask", "--reason", "the customer calls", "--json"]);
    assert!(said(&clear).contains(SECRET), "{}", said(&clear));
    let clear = process.admin("/api/v1/notifications/04l000000000001AAA?unmask=true&reason=support").await;
    assert!(clear.to_string().contains("123-45-6789"), "{clear}");
    let noted = process.admin("/api/v1/audit?verb=unmask").await;
    let noted: Vec<_> = noted
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["object"], &entry["object_id"], &entry["reason"]))
        .collect();
    assert_eq!(
        noted,
        [
            (&json!("notification"), &json!("04l000000000001AAA"), &json!("support")),
            (&json!("delivery"), &json!("1"), &json!("the customer calls")),
        ]
    );
}

/// A gateway of which each delivery dies, with a reason that quotes the value that is looked up.
fn quoting(sink: &Sink) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"

[[source]]
name = "contacts"
path = "/om/contacts"
organizations = ["00D24000000abcdEAA"]
unknown_organization = "quarantine"
mask = ["Email", "Owner__c"]

[[table]]
name = "people"
file = "people.csv"
key = "who"
value = "number"
on_missing = "dead"

[[destination]]
name = "crm"
kind = "rest"
url = "{url}"

[[route]]
name = "crm"
source = "contacts"
destination = "crm"
[route.map]
Person = "record.Email | default(record.Name) | lookup('people')"
"#,
        url = sink.url("/")
    )
}

/// Ids of a page, and where the next one is.
async fn page(process: &Process, path: &str) -> (Vec<i64>, Option<String>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://127.0.0.1:{}{path}", process.admin)).send().await.unwrap();
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let rows: Vec<Value> = answer.json().await.unwrap();
    (rows.iter().map(|row| row["delivery_id"].as_i64().unwrap()).collect(), link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_full_though_much_of_what_was_found_is_masked() {
    let sink = sink().await;
    let mut process = Process::prepare(&quoting(&sink));
    std::fs::write(process.folder.path().join("people.csv"), "who,number\nnobody,0\n").unwrap();
    process.start(&[]).await;
    // Three that show the word, and above them so many that hide it that they are read in several goes.
    const HIDDEN: usize = 300;
    for first in (0..3 + HIDDEN).step_by(100) {
        let of = |number: usize| match number {
            0..3 => format!("<sf:Name>quota {number}</sf:Name>"),
            _ => format!("<sf:Email>quota{number}@example.org</sf:Email>"),
        };
        let numbers = first..(first + 100).min(3 + HIDDEN);
        let parts: Vec<_> =
            numbers.map(|number| (format!("04l{number:012}AAA"), format!("003{number:012}AAA"), of(number))).collect();
        let notices: Vec<Notice> = parts.iter().map(|(id, record, fields)| Notice { id, record, fields }).collect();
        assert!(process.post("/om/contacts", envelope(&notices)).await.unwrap().is_ack());
    }
    process.until(Duration::from_secs(60), |ledger| ledger["deliveries"]["dead"] == 3 + HIDDEN).await;
    let said = process.admin("/api/v1/deliveries?limit=1").await.to_string();
    assert!(said.contains("has no row for") && said.contains("(masked)"), "{said}");
    for list in ["/api/v1/deliveries", "/api/v1/dead"] {
        let next = |query: &str| Some(format!("<{list}?{query}>; rel=\"next\""));
        let all = page(&process, &format!("{list}?text=quota&limit=2")).await;
        assert_eq!(all, (vec![3, 2], next("text=quota&limit=2&before=2")));
        assert_eq!(page(&process, &format!("{list}?text=quota&limit=2&before=2")).await, (vec![1], None));
        let up = page(&process, &format!("{list}?after=0&text=quota&limit=2")).await;
        assert_eq!(up, (vec![1, 2], next("text=quota&limit=2&after=2")));
        assert_eq!(page(&process, &format!("{list}?text=quota&limit=2&after=2")).await, (vec![3], None));
        assert_eq!(
            page(&process, &format!("{list}?text=quota299")).await,
            (Vec::new(), None),
            "nobody learns it by asking"
        );
        assert_eq!(page(&process, &format!("{list}?limit=1&before=3")).await, (vec![2], next("limit=1&before=2")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_of_notifications_are_hidden_by_values_in_lists_too() {
    let sink = sink().await;
    let mut process = Process::prepare(&quoting(&sink));
    std::fs::write(process.folder.path().join("people.csv"), "who,number\nnobody,0\n").unwrap();
    process.start(&[]).await;
    let fields = "<sf:Owner__c>00D99000000zzzzEAA</sf:Owner__c>";
    for (id, fields) in [("04l000000000001AAA", fields), ("04l000000000002AAA", "<sf:Name>Jane</sf:Name>")] {
        let body = envelope(&[Notice { id, record: "003000000000001AAA", fields }]);
        let body = body.replace("<OrganizationId>00D24000000abcdEAA", "<OrganizationId>00D99000000zzzzEAA");
        assert!(process.post("/om/contacts", body).await.unwrap().is_ack());
    }
    let listed = process.admin("/api/v1/notifications?kind=quarantined").await;
    let reason = |place: usize| listed[place]["reason"].as_str().unwrap().to_owned();
    assert!(reason(0).contains("00D99000000zzzz"), "{listed}");
    assert!(reason(1).contains("(masked)") && !reason(1).contains("00D99000000zzzz"), "{listed}");
}

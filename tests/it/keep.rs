//! What operators do to look after the store of a running gateway: accounts by day, audit, silence, pruning, backups.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

fn configuration(url: &str, more: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"

[store]
url = "sqlite:omgate.db"
{more}

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]
silence = "2h"

[[destination]]
name = "sink"
kind = "rest"
method = "PUT"
url = "{url}/orders/{{{{ record.Id }}}}"

[[route]]
source = "orders"
destination = "sink"
"#
    )
}

const AT_ONCE: &str = r#"
[retention]
delivered = { payloads = "0s", attempts = "0s", rows = "0s" }
"#;

async fn sink(status: u16) -> Sink {
    Sink::start(Box::new(move |_, _: &Arrived| Some((status, "{}".to_owned())))).await
}

async fn gateway(sink: &Sink, more: &str) -> Process {
    let mut gateway = Process::prepare(&configuration(&sink.url(""), more));
    gateway.start(&[]).await;
    gateway
}

/// Posts so many, each of a record of its own, and waits until all are delivered.
async fn deliver(gateway: &Process, names: &[&str]) {
    let before = gateway.ledger().await["deliveries"]["delivered"].as_i64().unwrap();
    post(gateway, names).await;
    let wanted = before + i64::try_from(names.len()).unwrap();
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == wanted).await;
}

async fn post(gateway: &Process, names: &[&str]) {
    for name in names {
        let body = envelope(&[Notice { id: &format!("04l{name}"), record: &format!("006{name}"), fields: "" }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
}

/// What a command prints, and how it ends.
fn run(gateway: &Process, arguments: &[&str]) -> (i32, String) {
    let output = gateway.command(arguments);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

fn run_json(gateway: &Process, arguments: &[&str]) -> Value {
    let (code, text) = run(gateway, arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// The database of a gateway that does not run.
fn database(gateway: &Process) -> rusqlite::Connection {
    rusqlite::Connection::open(gateway.folder.path().join("omgate.db")).unwrap()
}

fn me() -> String {
    omgate::person::of_this_process()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_shown_in_all_and_by_day_as_a_table_as_csv_and_as_json() {
    let sink = sink(200).await;
    let gateway = gateway(&sink, "").await;
    deliver(&gateway, &["1", "2"]).await;
    post(&gateway, &["1"]).await;
    let answer = gateway.admin("/api/v1/ledger/days").await;
    let today = answer["to"].as_str().unwrap().to_owned();
    assert_eq!(answer["first"], today.as_str());
    assert_eq!(answer["rows"].as_array().unwrap().len(), 2);
    assert_eq!(answer["rows"][0]["source"], "orders");
    assert_eq!((&answer["rows"][0]["received"], &answer["rows"][0]["duplicate"]), (&json!(3), &json!(1)));
    assert_eq!((&answer["rows"][1]["destination"], &answer["rows"][1]["delivered"]), (&json!("sink"), &json!(2)));

    let (code, table) = run(&gateway, &["ledger"]);
    assert!(code == 0 && table.contains("orders") && table.contains("in flight"), "{table}");
    let (_, csv) = run(&gateway, &["ledger", "--by-day", "--format", "csv"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("day,source,destination,received,"), "{csv}");
    assert_eq!(lines[1], format!("{today},orders,,3,2,1,0,2,0,0,0,0,,,,,,,,,,"));
    assert_eq!(lines[2], format!("{today},,sink,,,,,2,,,,,0,0,0,0,2,0,0,0,2,0"));
    let rows = run_json(&gateway, &["ledger", "--destination", "sink", "--format", "json"]);
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["delivered"], &rows[0]["day"]), (1, &json!(2), &Value::Null));
    let past = ["ledger", "--from", "2020-01-01", "--to", "2022-12-31", "--format", "json"];
    assert_eq!(run_json(&gateway, &past), json!([]), "over a year is asked for in parts");
    for (query, words) in [
        ("from=2026-01-02&to=2026-01-01", "lies after"),
        ("from=2020-01-01&to=2026-01-01", "over 366 days"),
        ("from=yesterday", "no day"),
        ("by=hour", "there is no parameter \"by\" here"),
    ] {
        let problem = gateway.admin(&format!("/api/v1/ledger/days?{query}")).await;
        assert!(problem["detail"].as_str().unwrap().contains(words), "{query}: {problem}");
    }
    assert_eq!(run(&gateway, &["ledger", "--from", "tomorrow"]).0, 2);
    let (code, text) = run(&gateway, &["ledger", "--from", "yesterday", "--to", "1m", "--json"]);
    assert!(code == 0 && text.contains("\"received\": 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_judged_alike_by_the_api_and_the_command_and_what_may_be_lost_is_no_success() {
    let sink = sink(200).await;
    let mut gateway = gateway(&sink, "").await;
    let (code, text) = run(&gateway, &["ledger", "--day", "today"]);
    assert!(code == 1 && text.ends_with("Nothing is known of it: nothing was ever received.\n"), "{text}");
    deliver(&gateway, &["1", "2"]).await;
    post(&gateway, &["1"]).await;
    gateway.until(PATIENCE, |ledger| ledger["notifications"]["duplicate"] == 1).await;
    let told = gateway.admin("/api/v1/ledger/day?day=today").await;
    assert_eq!(
        (&told["verdict"], &told["ok"], &told["is_over"]),
        (&json!("nothing_lost"), &json!(true), &json!(false))
    );
    let day = told["day"].as_str().unwrap();
    let words = format!(
        "Nothing was lost on {day} so far: 3 received = 2 unique + 1 duplicate; 2 deliveries made, 2 delivered; now: nothing \
         was left open."
    );
    assert_eq!(told["text"], words.as_str());
    let holds = |equation: &Value| equation["holds"] == true;
    let equations = told["equations"].as_array().unwrap();
    assert!(equations.len() == 5 && equations.iter().all(holds), "{equations:?}");
    assert_eq!(told["notifications"], gateway.ledger().await["notifications"]);
    assert_eq!(told["at_end"], gateway.ledger().await["deliveries"]);
    let (code, text) = run(&gateway, &["ledger", "--day", day]);
    assert!(code == 0 && text.ends_with(&format!("{words}\n")), "{text}");
    assert!(
        text.contains("counters and the sum of all days: 3 received, 2 deliveries made, 2 calls = 3 received"),
        "{text}"
    );
    assert!(text.lines().all(|line| line == line.trim_end() && !line.contains('│')), "no frame for a pipe: {text}");
    assert_eq!(run_json(&gateway, &["ledger", "--day", "today", "--json"])["text"], words.as_str());
    let page = gateway.admin("/ledger?day=today").await;
    assert!(page.as_str().unwrap().contains(&words), "{page}");
    let (code, text) = run(&gateway, &["ledger", "--day", "yesterday"]);
    assert!(code == 1 && text.contains(&format!("the accounts begin on {day}")), "{text}");
    for (asked, words) in [("tomorrow", "today or yesterday"), ("9999-12-31", "is not there yet")] {
        let (code, text) = run(&gateway, &["ledger", "--day", asked]);
        assert!(code == 1 && text.contains(words), "{text}");
    }
    assert_eq!(run(&gateway, &["ledger", "--day", "today", "--by-day"]).0, 2, "one or the other");

    gateway.stop().await;
    let database = database(&gateway);
    database.execute_batch("UPDATE source_day SET received = received + 1").unwrap();
    gateway.start(&[]).await;
    let (code, text) = run(&gateway, &["ledger", "--day", "today"]);
    assert!(
        code == 1 && text.contains("THE ACCOUNTS DO NOT ADD UP: source orders: 4 received ≠ 2 unique + 1 duplicate"),
        "{text}"
    );
    database.execute_batch("UPDATE source_day SET received = received - 1").unwrap();
    assert_eq!(gateway.post("/om/orders", "<a").await.unwrap().status, 500);
    let refused = |posts: &Value| posts.as_array().is_some_and(|posts| !posts.is_empty());
    gateway.admin_until("/api/v1/refused", PATIENCE, refused).await;
    let (code, text) = run(&gateway, &["ledger", "--day", "today"]);
    assert!(code == 1 && text.contains("1 POST was refused by source orders, the last at "), "{text}");
    let note = |more: &[&str]| run(&gateway, &[&["sources", "acknowledge", "--refused-on", "today"], more].concat());
    let (code, text) = note(&[]);
    assert!(code == 1 && text.contains("needs a reason"), "{text}");
    let (code, text) = note(&["--dry-run"]);
    assert!(code == 0 && text.contains("would take note of that"), "{text}");
    assert_eq!(run(&gateway, &["ledger", "--day", "today"]).0, 1, "it was only asked");
    let (code, text) = note(&["--reason", "a test of ours"]);
    assert!(code == 0 && text.contains("took note of the POSTs that were refused (a test of ours)"), "{text}");
    let (code, text) = run(&gateway, &["ledger", "--day", "today"]);
    assert!(code == 0 && text.contains("took note of what was refused at "), "{text}");
    let (code, text) = note(&["--reason", "once more"]);
    assert!(code == 1 && text.contains("there is nothing to take note of"), "{text}");
    let entry = gateway.admin("/api/v1/audit?verb=acknowledge&object=day").await[0].clone();
    assert_eq!((&entry["count"], &entry["reason"]), (&json!(1), &json!("a test of ours")), "{entry}");
    assert_eq!(gateway.post("/om/orders", "<a").await.unwrap().status, 500);
    let refused = |posts: &Value| posts.as_array().is_some_and(|posts| posts.len() == 2);
    gateway.admin_until("/api/v1/refused", PATIENCE, refused).await;
    let (code, text) = run(&gateway, &["ledger", "--day", "today"]);
    assert!(code == 1 && text.contains("1 of which were taken note of before, and 1 are new"), "{text}");
    assert_eq!(note(&["--reason", "that one too"]).0, 0);
    let entry = gateway.admin("/api/v1/audit?verb=acknowledge&object=day").await[0].clone();
    assert_eq!((&entry["count"], &entry["reason"]), (&json!(1), &json!("that one too")), "only what is new: {entry}");
    // What was refused is listed by day and by source.
    let listed = |arguments: &[&str]| run(&gateway, &[&["sources", "refused"], arguments].concat());
    let (code, text) = listed(&["--day", "today", "--source", "orders"]);
    assert!(code == 0 && text.matches("not well-formed").count() == 2, "{text}");
    assert!(listed(&["--day", "yesterday"]).1.contains("no POST was refused"));
    assert!(listed(&["--source", "ordrs"]).1.contains("did you mean \"orders\"?"));
    let kept: Value = serde_json::from_str(&listed(&["--limit", "1", "--json"]).1).unwrap();
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["body"]), (1, &json!("<a")));
    let page = gateway.admin("/refused?day=yesterday").await;
    assert!(page.as_str().unwrap().contains("Those of yesterday (UTC) alone"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_person_does_stands_in_the_audit_log_with_who_and_why() {
    let sink = sink(400).await;
    let gateway = gateway(&sink, "").await;
    post(&gateway, &["1", "2", "3"]).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 3).await;
    for arguments in [
        ["systems", "pause", "sink", "--reason", "month end"].as_slice(),
        &["dead", "replay", "1", "--reason", "try again"],
        &["deliveries", "hold", "1", "--reason", "a look"],
        &["deliveries", "release", "1", "--reason", "looked at"],
        &["dead", "discard", "2", "--reason", "a test order"],
        &["dead", "replay", "--destination", "sink", "--reason", "all of them"],
        &["systems", "resume", "sink", "--reason", "closed"],
        &["notifications", "reroute", "--reason", "a new route"],
        &["dead", "replay", "3", "--dry-run"],
    ] {
        let (code, text) = run(&gateway, arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
    }
    let log = run_json(&gateway, &["audit", "list", "--json"]);
    let log = log.as_array().unwrap();
    let did: Vec<String> = log
        .iter()
        .rev()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap();
            assert_eq!(text("who"), me(), "the kernel says who: {entry}");
            format!(
                "{} {} {} ×{}: {} → {}",
                text("verb"),
                text("object"),
                text("object_id"),
                entry["count"],
                text("reason"),
                text("result")
            )
        })
        .collect();
    assert_eq!(
        did,
        [
            "pause system sink ×1: month end → done",
            "replay delivery 1 ×1: try again → sent again in its place",
            "hold delivery 1 ×1: a look → done",
            "release delivery 1 ×1: looked at → done",
            "discard delivery 2 ×1: a test order → done",
            "begin replay job 1 ×1: all of them → begun",
            "replay delivery 3 ×1: all of them → sent again in its place",
            "end replay job 1 ×1: all of them → done",
            "resume system sink ×1: closed → done",
        ],
        "where nothing was unrouted, nothing was done"
    );
    let some = run_json(&gateway, &["audit", "list", "--json", "--object", "delivery", "--object-id", "3"]);
    assert_eq!(some.as_array().unwrap().len(), 1);
    assert_eq!(run_json(&gateway, &["audit", "list", "--json", "--to", "2020-01-01"]), json!([]));
    assert_eq!(run_json(&gateway, &["audit", "list", "--json", "--to", "1h"]), json!([]));
    for from in ["yesterday", "1h", "2020-01-01T00:00:00Z"] {
        let found = run_json(&gateway, &["audit", "list", "--json", "--from", from, "--to", "today"]);
        assert_eq!(found.as_array().map(Vec::len), Some(log.len()), "{from}");
    }
    let (_, table) = run(&gateway, &["audit", "list", "--who", "uid", "--limit", "2"]);
    assert!(table.contains("resume") && !table.contains("pause"), "{table}");
    let problem = gateway.admin("/api/v1/audit?whom=me").await;
    assert_eq!(problem["status"], 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told_through_a_restart_and_what_salesforce_may_have_dropped_until_a_person_took_note() {
    let sink = sink(200).await;
    let mut gateway = gateway(&sink, "").await;
    assert_eq!(gateway.admin("/api/v1/gaps").await[0]["last_envelope"], Value::Null, "it was never heard");
    deliver(&gateway, &["1"]).await;
    let gap = gateway.admin("/api/v1/gaps?days=7").await[0].clone();
    assert_eq!(
        (&gap["source"], &gap["alarm_after_s"], &gap["alarm"]),
        (&json!("orders"), &json!(7_200), &json!(false))
    );
    assert!(gap["silent_s"].as_u64().unwrap() < 60, "{gap}");
    assert_eq!(run(&gateway, &["sources", "gaps"]).0, 0);
    let (_, metrics) = (0, gateway.admin("/metrics").await);
    assert!(metrics.as_str().unwrap().contains("omgate_source_silence_seconds{source=\"orders\"}"), "{metrics}");

    gateway.stop().await;
    let database = database(&gateway);
    let alive: i64 = database.query_row("SELECT at FROM alive", [], |row| row.get(0)).unwrap();
    let earlier = |hours: i64| {
        let back = hours * 3_600_000;
        let sql = format!("UPDATE alive SET at = {alive} - {back}; UPDATE source_day SET last_at = {alive} - {back};");
        database.execute_batch(&sql).unwrap();
    };
    earlier(30);
    gateway.start(&[]).await;
    let absences = gateway.admin("/api/v1/absences").await;
    assert_eq!((absences.as_array().unwrap().len(), &absences[0]["stands"]), (1, &json!(true)), "{absences}");
    assert!(absences[0]["text"].as_str().unwrap().contains("may be lost"), "{absences}");
    let status = gateway.admin("/api/v1/status").await;
    assert_eq!((&status["alarms"][0]["alarm"], &status["alarms"][0]["subject"]), (&json!("absence"), &json!("1")));
    let gap = gateway.admin("/api/v1/gaps").await[0].clone();
    assert_eq!(gap["alarm"], true, "it was silent before the start already: {gap}");
    let (code, text) = run(&gateway, &["sources", "gaps"]);
    assert!(code == 1 && text.contains("SILENT") && text.contains("! absence 1: nobody listened from"), "{text}");

    deliver(&gateway, &["2"]).await;
    let longest = gateway.admin("/api/v1/gaps").await[0]["longest_s"].as_u64().unwrap();
    assert!((108_000..110_000).contains(&longest), "{longest}");
    assert_eq!(run(&gateway, &["sources", "gaps"]).0, 1, "nobody took note");
    let (code, text) = run(&gateway, &["sources", "acknowledge", "1", "--dry-run"]);
    assert!(code == 0 && text.contains("would take note"), "{text}");
    assert_eq!(run(&gateway, &["sources", "acknowledge", "1", "--reason", "compared"]).0, 0);
    assert_eq!(gateway.admin("/api/v1/status").await["alarms"], json!([]));
    assert_eq!(run(&gateway, &["sources", "gaps"]).0, 0);
    let (code, text) = run(&gateway, &["sources", "acknowledge", "1", "--reason", "again"]);
    assert!(code == 1 && text.contains("was acknowledged at"), "{text}");
    assert_eq!(run(&gateway, &["sources", "acknowledge", "9", "--reason", "x"]).0, 1);

    gateway.stop().await;
    earlier(3);
    gateway.start(&[]).await;
    let absences = gateway.admin("/api/v1/absences").await;
    // It listened for too short a time to end the one before: what that began may be lost only now.
    assert_eq!(absences[0]["since"], absences[1]["since"], "{absences}");
    assert!(absences[0]["dropped_until"].is_string() && absences[0]["stands"] == true, "{absences}");
    gateway.stop().await;
    gateway.start(&[]).await;
    assert_eq!(gateway.admin("/api/v1/absences").await.as_array().unwrap().len(), 2, "a restart is no absence");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_long_enough_is_pruned_by_a_person_on_the_gateway_and_on_the_file() {
    let sink = sink(200).await;
    let mut gateway = gateway(&sink, AT_ONCE).await;
    deliver(&gateway, &["1", "2", "3"]).await;
    let ledger = gateway.ledger().await;
    let dry = run_json(&gateway, &["store", "prune", "--dry-run", "--json"]);
    assert_eq!(
        (&dry["payloads"], &dry["deliveries"], &dry["can_shrink"]),
        (&json!(6), &json!(3), &json!(true)),
        "three records, and what was kept of three attempts: {dry}"
    );
    let pruned = run_json(&gateway, &["store", "prune", "--reason", "room", "--json"]);
    assert_eq!(
        (&pruned["payloads"], &pruned["deliveries"], &pruned["done"]),
        (&dry["payloads"], &json!(3), &json!(true)),
        "{pruned}"
    );
    assert_eq!(gateway.admin("/api/v1/deliveries").await, json!([]));
    assert_eq!(gateway.ledger().await, ledger, "the ledger stays");
    assert_eq!(run(&gateway, &["store", "verify"]).0, 0);
    post(&gateway, &["1"]).await;
    assert_eq!(gateway.ledger().await["notifications"]["duplicate"], 1, "it is known for at least a week");
    let entry = gateway.admin("/api/v1/audit?verb=prune").await[0].clone();
    assert_eq!((&entry["count"], &entry["reason"]), (&json!(3), &json!("room")));

    deliver(&gateway, &["4"]).await;
    let (code, text) = run(&gateway, &["store", "prune", "--vacuum"]);
    assert!(code == 1 && text.contains("nothing was pruned; stop it first"), "{text}");
    assert_eq!(gateway.admin("/api/v1/deliveries").await.as_array().unwrap().len(), 1, "and so it is");
    gateway.stop().await;
    let (code, text) = run(&gateway, &["store", "prune", "--dry-run"]);
    assert!(code == 0 && text.contains("1 deliveries"), "{text}");
    let pruned = run_json(&gateway, &["store", "prune", "--vacuum", "--json"]);
    assert_eq!((&pruned["deliveries"], &pruned["bytes_free"]), (&json!(1), &json!(0)), "{pruned}");
    assert!(pruned["file_bytes_after"].as_u64().unwrap() > 0, "{pruned}");
    assert_eq!(run(&gateway, &["store", "verify"]).0, 0);
    gateway.start(&[]).await;
    let log = gateway.admin("/api/v1/audit?verb=prune").await;
    assert_eq!((log.as_array().unwrap().len(), &log[0]["who"]), (3, &json!(me())), "{log}");
    assert!(log[2]["result"].as_str().unwrap().starts_with("begun") && log[2]["unended"].is_null(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_has_bounds_and_a_dead_letter_names_what_it_stands_for() {
    let sink = sink(400).await;
    let mut gateway =
        Process::prepare(&configuration(&sink.url(""), "").replace("[[route]]", "[[route]]\ncoalesce = true"));
    gateway.start(&[]).await;
    for (arguments, code, words) in [
        (["--for", "0s"], 2, "a pause of no time is none"),
        (["--for", "4000d"], 2, "longer than 3650d"),
        (["--until", "tomorrow"], 2, "that is no moment; write date, time and zone"),
        (["--until", "2020-01-01T00:00:00Z"], 1, "would be over before it begins"),
        (["--reason", &"x".repeat(1_001)], 1, "at most 1000 bytes"),
        (["--reason", "month end"], 0, "paused"),
    ] {
        let reason: &[&str] = if arguments[0] == "--reason" { &[] } else { &["--reason", "x"] };
        let (found, text) = run(&gateway, &[&["systems", "pause", "sink"], arguments.as_slice(), reason].concat());
        assert!(found == code && text.contains(words), "{arguments:?}: {found} {text}");
    }
    for id in ["04l1", "04l2"] {
        let body = envelope(&[Notice { id, record: "006A", fields: "" }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
    assert_eq!(run(&gateway, &["systems", "resume", "sink", "--reason", "done"]).0, 0);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    let (_, shown) = run(&gateway, &["deliveries", "show", "2"]);
    assert!(shown.contains("stands for        1\n"), "{shown}");
    let page = gateway.admin("/deliveries/2").await;
    assert!(
        page.as_str()
            .unwrap()
            .contains("<dt>stands for</dt><dd><a href=\"/deliveries/1\">1</a> , which gave way to it</dd>"),
        "{page}"
    );
    let (_, listed) = run(&gateway, &["dead", "list"]);
    assert!(listed.contains("stands for"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_not_sent_again_and_the_refusal_says_why() {
    let sink = sink(200).await;
    let more = "[retention]\ndelivered = { payloads = \"0s\", attempts = \"0s\", rows = \"30d\" }\n";
    let gateway = gateway(&sink, more).await;
    deliver(&gateway, &["1"]).await;
    assert_eq!(run(&gateway, &["store", "prune"]).0, 0);
    for arguments in
        [["deliveries", "replay", "1", "--reason", "x"].as_slice(), &["deliveries", "replay", "1", "--dry-run"]]
    {
        let (code, text) = run(&gateway, arguments);
        assert!(code == 1 && text.contains("delivery 1: its record was taken out of the store"), "{text}");
    }
    let (code, text) = run(&gateway, &["deliveries", "replay", "1", "99", "--reason", "lost"]);
    assert!(code == 1 && text.contains("0 changed, 2 refused"), "{text}");
    assert!(text.contains("delivery 99 is not in the store"), "{text}");
    assert_eq!(gateway.admin("/api/v1/deliveries").await.as_array().unwrap().len(), 1, "nothing was made of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_gateway_is_a_store_to_go_on_from() {
    let sink = sink(200).await;
    let mut gateway = gateway(&sink, "").await;
    deliver(&gateway, &["1", "2"]).await;
    let file = gateway.folder.path().join("backup.db");
    let name = file.to_str().unwrap();
    let (code, text) = run(&gateway, &["store", "backup", name, "--dry-run"]);
    assert!(code == 0 && text.contains("are free there; nothing was written"), "{text}");
    assert!(!Path::new(name).exists());
    let made = run_json(&gateway, &["store", "backup", name, "--reason", "before the update", "--json"]);
    let (code, text) = run(&gateway, &["store", "backup", name, "--dry-run"]);
    assert!(code == 1 && text.contains("the file is there already"), "{text}");
    assert_eq!((&made["notifications"], &made["deliveries"], &made["balanced"]), (&json!(2), &json!(2), &json!(true)));
    assert_eq!(made["bytes"], std::fs::metadata(&file).unwrap().len());
    let (code, text) = run(&gateway, &["store", "backup", name]);
    assert!(code == 1 && text.contains("nothing is overwritten"), "{text}");
    assert_eq!(gateway.admin("/api/v1/store/backup").await["state"], "done", "what is refused at once is not begun");
    let (status, problem) = gateway.change("/api/v1/store/backup", &json!({})).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("say in file"), "{problem}");
    let (_, log) = run(&gateway, &["audit", "list", "--verb", "backup"]);
    assert!(log.contains("before the update"), "{log}");
    deliver(&gateway, &["3"]).await;

    gateway.stop().await;
    let second = gateway.folder.path().join("second.db");
    let (code, text) = run(&gateway, &["store", "backup", second.to_str().unwrap()]);
    assert!(code == 0 && text.contains("3 notifications") && text.contains("it is whole"), "{text}");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(gateway.folder.path().join(format!("omgate.db{suffix}")));
    }
    std::fs::copy(&file, gateway.folder.path().join("omgate.db")).unwrap();
    assert_eq!(run(&gateway, &["store", "verify"]).0, 0, "a copy can be looked through before anything starts on it");
    gateway.start(&[]).await;
    assert_eq!(gateway.ledger().await["deliveries"]["delivered"], 2);
    assert_eq!(run(&gateway, &["store", "verify"]).0, 0);
    assert!(!Path::new(&format!("{name}.partial")).exists());
    what_a_copy_does_not_know_is_said(&gateway).await;
    gateway.stop().await;
    gateway.start(&[]).await;
    assert_eq!(gateway.admin("/api/v1/absences").await.as_array().unwrap().len(), 1, "it is noted once");
    deliver(&gateway, &["3"]).await;
}

/// Number 3 was acknowledged after the copy was made.
async fn what_a_copy_does_not_know_is_said(gateway: &Process) {
    let (code, found) = run(gateway, &["find", "04l3"]);
    assert!(code == 1 && found.contains("it never came, or it came between "), "{found}");
    assert!(found.contains("a copy of it was put back then"), "{found}");
    let page = gateway.admin("/find?q=04l3").await;
    assert!(page.as_str().unwrap().contains("a copy of it was put back then"), "{page}");
    let (code, day) = run(gateway, &["ledger", "--day", "today"]);
    assert!(code == 1 && day.contains("may be gone, for the store is a copy that was put back"), "{day}");
    assert!(!day.contains("Nothing was lost"), "{day}");
    let (_, status) = run(gateway, &["status"]);
    assert!(status.contains("a copy of the store was put back: what was acknowledged from"), "{status}");
    let (code, gaps) = run(gateway, &["sources", "gaps"]);
    assert!(code == 1 && gaps.contains("absence 1: at ") && !gaps.contains("nobody listened from"), "{gaps}");
    let (_, log) = run(gateway, &["audit", "list", "--verb", "restore"]);
    assert!(log.contains("the gateway"), "{log}");
    assert_eq!(run(gateway, &["audit", "verify"]).0, 0);
    assert_eq!(run(gateway, &["sources", "acknowledge", "1", "--reason", "sent 3 again"]).0, 0);
    let (code, day) = run(gateway, &["ledger", "--day", "today"]);
    assert!(code == 0 && day.contains("took note of what may be gone"), "{day}");
    let (code, gaps) = run(gateway, &["sources", "gaps"]);
    assert!(code == 0, "{gaps}");
}

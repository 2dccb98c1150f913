//! The log: one event a line, names that stay, and an id on every line that belongs to a request.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(40);

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What stands before the message in every event of a source: its parts.
fn parts(source: &str) -> Vec<String> {
    let levels = ["error", "warn", "info", "debug", "trace"];
    let starts = levels.map(|level| [format!("tracing::{level}!("), format!("tracing::{level}_span!(")]).concat();
    let mut parts = Vec::new();
    for start in starts {
        for (at, _) in source.match_indices(&start) {
            let arguments = &source[at + start.len()..];
            // A span begins with its name.
            let (arguments, end) = match arguments.strip_prefix('"').filter(|_| start.contains("_span")) {
                Some(rest) => rest.split_once("\",").map_or(("", ')'), |(_, rest)| (rest, ')')),
                None => (arguments, '"'),
            };
            parts.extend(before(arguments, end));
        }
    }
    parts
}

/// The parts between commas, up to an end that stands in no parentheses.
fn before(text: &str, end: char) -> Vec<String> {
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in text.chars() {
        match c {
            _ if c == end && depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The name of a field: `name = value`, `%name`, `?name`, `name`, or the last of `a.name`.
fn name(part: &str) -> String {
    let name = part.split_once('=').map_or(part, |(name, _)| name).trim().trim_start_matches(['%', '?']);
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

#[test]
fn the_names_of_fields_are_read_as_they_are_written() {
    let source = r#"
        tracing::info!(a, b = x(1, "2"), %c, ?d, e.f, "message {g}, {}", h);
        tracing::warn!("none {i}");
        tracing::error_span!("request", request_id = self.0)
    "#;
    let names: Vec<String> = parts(source).iter().map(|part| name(part)).collect();
    assert_eq!(names, ["request_id", "a", "b", "c", "d", "f"]);
}

#[test]
fn every_field_is_in_the_readme_and_every_field_there_is_one() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut used = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        used.extend(parts(&text).iter().map(|part| name(part)));
    }
    let (_, below) = include_str!("../../README.md").split_once("### Log\n").unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let documented: BTreeSet<String> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect();
    assert!(used.len() > 50, "{used:?}");
    assert_eq!(used, documented);
}

fn configuration(url: &str, log: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
log = "{log}"
log_level = "info,omgate=debug"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "erp"
kind = "rest"
url = "{url}/orders"
retry = {{ first = "50ms", max_wait = "100ms" }}

[[route]]
source = "orders"
destination = "erp"
"#
    )
}

/// Does what is logged: an envelope, one that is refused, a stray, a retry, and changes by a person; the id of the last.
async fn live(gateway: &mut Process) -> String {
    gateway.start(&[]).await;
    let body = envelope(&[Notice { id: "04l1", record: "006A0000001AAA", fields: "<sf:Name>A\nB</sf:Name>" }]);
    assert!(gateway.post("/om/orders", body.clone()).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    gateway.post("/om/orders", body.replace("00D24000000abcdEAA", "00D24000000zzzzEAA")).await.unwrap();
    gateway.post("/om/orders", "no envelope").await.unwrap();
    gateway.post("/elsewhere", "x").await.unwrap();
    let (status, _) = gateway.change("/api/v1/systems/erp/pause", &json!({"reason": "two\nlines"})).await;
    assert_eq!(status, 200);
    let url = format!("http://127.0.0.1:{}/api/v1/reload", gateway.admin);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    std::fs::write(gateway.config(), format!("{}\n# another\n", std::fs::read_to_string(gateway.config()).unwrap()))
        .unwrap();
    let answer = http.post(url).json(&json!({})).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}

async fn sink() -> Sink {
    Sink::start(Box::new(|number, _| Some((if number == 0 { 503 } else { 200 }, String::new())))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_json_each_line_is_one_event_with_the_id_of_its_request() {
    let sink = sink().await;
    let mut gateway =
        Process::prepare(&configuration(&sink.url(""), "json").replace("[server]", "[server]\nwatch = false"));
    let id = live(&mut gateway).await;
    let log = gateway.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for line in &lines {
        assert!(["timestamp", "level", "message"].iter().all(|key| line[key].is_string()), "{line}");
    }
    let about = |start: &str| {
        let found = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with(start));
        found.unwrap_or_else(|| panic!("no line {start:?} in\n{log}")).clone()
    };
    let mut ids = BTreeSet::new();
    for start in [
        "envelope accepted",
        "a POST is refused: organization",
        "a POST is refused: ",
        "a POST to a path",
        "a person steered",
    ] {
        let line = about(start);
        let id = line["span"]["request_id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        ids.insert(id);
    }
    assert!(ids.len() >= 4, "{ids:?}");
    assert_eq!(about("another configuration is in force")["span"]["request_id"], id);
    let again = about("again later");
    assert_eq!((&again["delivery"], &again["attempt"], &again["destination"]), (&json!(1), &json!(1), &json!("erp")));
    assert_eq!(about("delivered")["attempt"], 2);
    assert!(about("omgate is ready")["span"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_text_each_event_is_one_line_too() {
    let sink = sink().await;
    let mut gateway =
        Process::prepare(&configuration(&sink.url(""), "text").replace("[server]", "[server]\nwatch = false"));
    let id = live(&mut gateway).await;
    let log = gateway.log();
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (time, level) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "{line}");
    }
    let reload = log.lines().find(|line| line.contains("another configuration is in force")).unwrap();
    assert!(reload.contains(&format!("request{{request_id=\"{id}\"}}")), "{reload}");
}

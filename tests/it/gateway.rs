//! The gateway as its neighbours see it: over sockets, from the outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

fn configuration(url: &str) -> String {
    configuration_with(url, "", "", "")
}

/// A source and a REST destination; more keys for the server, the source and the destination.
fn configuration_with(url: &str, server: &str, source: &str, destination: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
drain = "3s"
{server}

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]
{source}

[[destination]]
name = "sink"
kind = "rest"
method = "PUT"
url = "{url}/orders/{{{{ record.Id }}}}"
timeout = "5s"
retry = {{ first = "50ms", max_wait = "1s" }}
{destination}

[[route]]
source = "orders"
destination = "sink"
"#
    )
}

async fn ok_sink() -> Sink {
    Sink::start(Box::new(|_, _: &Arrived| Some((200, "{}".to_owned())))).await
}

/// Posts twenty notifications of as many records, and waits until the system `sink` says that this happened to it.
async fn post_twenty_until(gateway: &Process, happened: &str) {
    for number in 0..20 {
        let id = format!("04l{number}");
        let body = envelope(&[Notice { id: &id, record: &format!("006A{number:08}AAA"), fields: "" }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while gateway.admin("/api/v1/systems").await["sink"][happened].is_null() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A sink that answers with a status until it is opened, and then with 200.
async fn shut_sink(status: u16) -> (Sink, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opened = std::sync::Arc::clone(&open);
    let respond = move |_, _: &Arrived| {
        let is_open = opened.load(std::sync::atomic::Ordering::SeqCst);
        Some((if is_open { 200 } else { status }, String::new()))
    };
    (Sink::start(Box::new(respond)).await, open)
}

fn one(id: &str, name: &str) -> String {
    envelope(&[Notice { id, record: "006A0000001AAA", fields: &format!("<sf:Name>{name}</sf:Name>") }])
}

fn settled(ledger: &serde_json::Value) -> bool {
    ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
}

/// Sends raw bytes on a fresh connection and reads to its end.
fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that closes without reading all may reset the connection; what came before counts.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post_bytes(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST /om/orders HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_salesforces_request_is_acknowledged_and_delivered_once() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let body = one("04l1", "A &amp; B");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let (middle, length) = (body.len() / 2, body.len());
    let (head, tail) = body.split_at(middle);
    let chunked = format!("{:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n", head.len(), tail.len());
    for bytes in [
        post_bytes(
            &format!("Content-Type: text/xml; charset=UTF-8\r\nSOAPAction: \"\"\r\nContent-Length: {length}\r\n"),
            body.as_bytes(),
        ),
        post_bytes(
            &format!("Content-Type: text/xml;charset=\"utf-8\"\r\nSOAPAction: \r\nContent-Length: {length}\r\n"),
            body.as_bytes(),
        ),
        post_bytes(&format!("content-type: TEXT/XML; Charset=utf-8\r\nContent-Length: {length}\r\n"), body.as_bytes()),
        post_bytes("Transfer-Encoding: chunked\r\nContent-Type: text/xml\r\n", chunked.as_bytes()),
        post_bytes(
            &format!(
                "Content-Encoding: gzip\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n",
                gzip.len()
            ),
            &gzip,
        ),
        post_bytes(&format!("Content-Encoding: X-GZIP\r\nContent-Length: {}\r\n", gzip.len()), &gzip),
    ] {
        let answer = raw(gateway.public, &bytes);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("content-type: text/xml; charset=utf-8"), "{answer}");
        assert!(answer.contains("<Ack>true</Ack>"), "{answer}");
    }
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!(ledger["notifications"]["received"], 6);
    assert_eq!(ledger["notifications"]["unique"], 1);
    assert_eq!(ledger["notifications"]["duplicate"], 5);
    let arrived = sink.arrived();
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].method.as_str(), arrived[0].path.as_str()), ("PUT", "/orders/006A0000001AAA"));
    assert_eq!(arrived[0].json()["record"]["Name"], "A & B");
    assert!(!arrived[0].key().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_outbound_message_gets_a_fault_and_never_an_ack() {
    let sink = ok_sink().await;
    let limits = "[server.limits]\nbody = \"64KiB\"\n";
    let text = configuration(&sink.url("")).replace("[store]", &format!("{limits}\n[store]"));
    let mut gateway = Process::prepare(&text);
    gateway.start(&[]).await;
    let many: Vec<String> = (0..101).map(|number| format!("04l{number}")).collect();
    let many = envelope(&many.iter().map(|id| Notice { id, record: "006", fields: "" }).collect::<Vec<_>>());
    let stranger = one("04l1", "x").replace("00D24000000abcdEAA", "00D24000000zzzzEAA");
    for (body, status, word) in [
        (String::new(), 500, ""),
        ("{\"a\":1}".to_owned(), 500, ""),
        (one("04l1", "x").replace("</sObject>", ""), 500, ""),
        (one("04l1", "x").replace("?>\n", "?>\n<!DOCTYPE a [<!ENTITY b \"c\">]>"), 500, "DOCTYPE"),
        (envelope(&[]), 500, "otification"),
        (many, 500, "100"),
        (stranger, 500, "00D24000000zzzzEAA"),
        (one("04l1", &"x".repeat(65 << 10)), 413, "65536"),
    ] {
        let answer = gateway.post("/om/orders", body.clone()).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains("Client</faultcode>") && answer.body.contains(word), "{word}: {answer:?}");
        assert!(answer.content_type.starts_with("text/xml"), "{answer:?}");
        assert!(!answer.body.contains("Ack>"), "{answer:?}");
    }
    let answer = raw(gateway.public, &post_bytes("Content-Encoding: br\r\nContent-Length: 1\r\n", b"x"));
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("content encoding"), "{answer}");
    let ledger = gateway.ledger().await;
    assert_eq!(ledger["notifications"]["received"], 0, "{ledger}");
    // Refused POSTs are kept beside the answer, not before it.
    let deadline = std::time::Instant::now() + PATIENCE;
    let refused = loop {
        let refused = gateway.admin("/api/v1/refused").await;
        if refused.as_array().unwrap().len() == 9 {
            break refused;
        }
        assert!(std::time::Instant::now() < deadline, "{refused:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(gateway.admin("/api/v1/refused?limit=2").await, json!([refused[0], refused[1]]));
    assert_eq!(gateway.admin("/api/v1/refused?limitt=2").await["status"], 400);
    assert!(refused[0]["dropped_at"].is_string() && refused[0]["reason"].is_string());
    let metrics = gateway.admin("/metrics").await;
    for line in [
        "omgate_alarm{alarm=\"refused\",subject=\"orders/malformed\"} 1",
        "omgate_alarm{alarm=\"refused\",subject=\"orders/foreign\"} 1",
        "omgate_alarm{alarm=\"refused\",subject=\"orders/organization\"} 1",
        "omgate_alarm{alarm=\"refused\",subject=\"orders/too_large\"} 1",
        "omgate_alarm{alarm=\"refused\",subject=\"orders/encoding\"} 1",
        "omgate_answers_total{source=\"orders\",answer=\"fault\"} 8",
        "omgate_answers_total{source=\"orders\",answer=\"too_large\"} 1",
    ] {
        assert!(metrics.as_str().unwrap().contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_listener_serves_source_paths_and_nothing_else() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let get = |path: &str, method: &str| {
        raw(gateway.public, format!("{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").as_bytes())
    };
    let page = get("/om/orders", "GET");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("omgate") && page.contains("orders"), "{page}");
    for path in ["/", "/metrics", "/readyz", "/api/v1/ledger", "/om/orders/", "/om/Orders", "/om/orders?wsdl"] {
        assert!(get(path, "GET").starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(get("/om/orders", "DELETE").starts_with("HTTP/1.1 405"));
    assert_eq!(gateway.post("/elsewhere", one("04l1", "x")).await.unwrap().status, 404);
    let metrics = gateway.admin("/metrics").await;
    for line in ["omgate_unknown_paths_total{method=\"POST\"} 1", "omgate_unknown_paths_total{method=\"other\"} 6"] {
        assert!(metrics.as_str().unwrap().contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_path_is_told_in_the_log_without_being_shown() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    for path in ["/om/order-s3cret", "/om/s3cret", "/om/orders?s3cret"] {
        gateway.post(path, one("04l1", "x")).await.unwrap();
    }
    let log = gateway.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("a path that no source has")).collect();
    assert_eq!(lines.len(), 1, "at most one a minute: {log}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("its first 9 characters are those of source orders's"),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_need_more_memory_together_than_allowed_are_nacked_at_once() {
    let sink = ok_sink().await;
    let limits = "[server.limits]\nbody = \"64KiB\"\nbodies = \"100KiB\"\nbody_timeout = \"60s\"";
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), limits, "", ""));
    gateway.start(&[]).await;
    let large = one("04l1", &"x".repeat(60 << 10));
    // A sender that keeps its last byte back holds what it has sent. Which of two comes too late is chance, and so is when
    // the room of one that went away is free again: it is tried until both of them, and a small one, met as meant.
    let bytes = post_bytes(&format!("Content-Length: {}\r\n", large.len()), large.as_bytes());
    let (last, rest) = bytes.split_last().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    for number in 2.. {
        assert!(std::time::Instant::now() < deadline, "it takes all of them, or none");
        let mut slow = TcpStream::connect(("127.0.0.1", gateway.public)).unwrap();
        slow.set_read_timeout(Some(PATIENCE)).unwrap();
        slow.write_all(rest).unwrap();
        let other = gateway.post("/om/orders", large.replace("04l1", &format!("04l{number}"))).await.unwrap();
        let small = gateway.post("/om/orders", one(&format!("04lsmall{number}"), "x")).await.unwrap();
        if !other.is_nack() || !small.is_ack() {
            continue;
        }
        slow.write_all(&[*last]).unwrap();
        let mut answer = [0; 4096];
        let read = slow.read(&mut answer).unwrap();
        if String::from_utf8_lossy(&answer[..read]).contains("<Ack>true</Ack>") {
            break;
        }
    }
    let metrics = gateway.admin("/metrics").await;
    assert!(
        metrics.as_str().unwrap().contains("omgate_answers_total{source=\"orders\",answer=\"nack\"} "),
        "{metrics}"
    );
    while !gateway.post("/om/orders", large.replace("04l1", "04lafter")).await.unwrap().is_ack() {
        assert!(std::time::Instant::now() < deadline, "the room is not given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_duplicates_or_revisions_and_broken_neighbours_harm_nobody() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "first")).await.unwrap().is_ack());
    gateway.until(PATIENCE, settled).await;
    assert!(gateway.post("/om/orders", one("04l1", "second")).await.unwrap().is_ack());
    gateway.until(PATIENCE, settled).await;
    let mixed = envelope(&[
        Notice { id: "04l2", record: "006B0000001AAA", fields: "<sf:Name>good</sf:Name>" },
        Notice { id: "null", record: "006C0000001AAA", fields: "" },
        Notice { id: "04l2", record: "006B0000001AAA", fields: "<sf:Name>good</sf:Name>" },
    ]);
    assert!(gateway.post("/om/orders", mixed.clone()).await.unwrap().is_ack());
    assert!(gateway.post("/om/orders", mixed).await.unwrap().is_ack());
    let ledger = gateway.until(PATIENCE, settled).await;
    let counts = &ledger["notifications"];
    assert_eq!(
        counts,
        &json!({"received": 8, "unique": 3, "duplicate": 4, "revised": 1, "routed": 2, "unrouted": 0,
                "skipped_empty": 0, "unreadable": 1, "quarantined": 0})
    );
    let names: Vec<_> = sink.arrived().iter().map(|request| request.json()["record"]["Name"].clone()).collect();
    assert_eq!(names, ["first", "second", "good"]);
    let keys: std::collections::HashSet<_> = sink.arrived().iter().map(|request| request.key().to_owned()).collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_fails_is_left_alone_says_so_and_goes_on_by_itself() {
    let (sink, open) = shut_sink(503).await;
    let breaker = "breaker = { failures = 5, wait = \"2s\", max_wait = \"2s\" }";
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", breaker));
    gateway.start(&[]).await;
    post_twenty_until(&gateway, "breaker").await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["in_flight"] == 0).await;
    let waiting = gateway.admin("/api/v1/deliveries?state=waiting").await;
    let why: std::collections::HashSet<_> =
        waiting.as_array().unwrap().iter().map(|delivery| delivery["why"]["code"].clone()).collect();
    assert_eq!(why, std::collections::HashSet::from([json!("breaker")]));
    let alarms = gateway.admin("/api/v1/status").await["alarms"].clone();
    assert_eq!((&alarms[0]["alarm"], &alarms[0]["subject"]), (&json!("breaker"), &json!("sink")));
    let calls = sink.arrived().len();
    gateway.stop().await;
    gateway.start(&[]).await;
    let standing = gateway.admin("/api/v1/systems").await["sink"].clone();
    assert_eq!(standing["why"]["code"], "breaker", "it survives a restart: {standing}");
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 20).await;
    assert_eq!(ledger["balanced"], true);
    assert!(calls < 20 + 8, "while it is left alone nothing but a probe is sent: {calls}");
    assert_eq!(gateway.admin("/api/v1/systems").await["sink"]["why"], json!(null));
}

/// A gateway that looks up what got no answer.
fn probing(sink: &Sink) -> String {
    let probe = format!(
        r#"unknown = "probe"
           [[destination]]
           name = "find"
           system = "sink"
           kind = "rest"
           method = "GET"
           url = "{}/orders/{{{{ record.Id }}}}""#,
        sink.url("")
    );
    let route = r#"
        [route.probe]
        destination = "find"
        found_when = "response.status == 200"
        absent_when = "response.status == 404"
    "#;
    configuration_with(&sink.url(""), "", "", &probe) + route
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_a_kill_cuts_counts_towards_no_limit() {
    let is_known = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let of_sink = std::sync::Arc::clone(&is_known);
    let sink = Sink::start(Box::new(move |number, request: &Arrived| {
        if request.method != "GET" {
            return if number == 0 { None } else { Some((200, "{}".to_owned())) };
        }
        if of_sink.load(std::sync::atomic::Ordering::SeqCst) {
            return Some((404, "{}".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(700));
        None
    }))
    .await;
    let limited = probing(&sink).replacen("retry = {", "retry = { max_attempts = 2,", 1);
    assert!(limited.contains("max_attempts"));
    let mut gateway = Process::prepare(&limited);
    gateway.start(&[]).await;
    let notice = Notice { id: "04l1", record: "006A00000001AAA", fields: "" };
    assert!(gateway.post("/om/orders", envelope(&[notice])).await.unwrap().is_ack());
    let asked = |sink: &Sink| sink.arrived().iter().filter(|request| request.method == "GET").count();
    for round in 1..=3 {
        let deadline = std::time::Instant::now() + PATIENCE;
        while asked(&sink) < round {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gateway.kill();
        if round == 3 {
            is_known.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        gateway.start(&[]).await;
    }
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!(ledger["attempts"], json!({"total": 2, "unknown": 1}));
}

/// The target takes the first order and never answers; of the second it takes nothing, and never answers either.
#[tokio::test(flavor = "multi_thread")]
async fn what_got_no_answer_is_looked_up_and_sent_again_only_where_it_did_not_arrive() {
    const FIRST: &str = "006A00000001AAA";
    const SECOND: &str = "006A00000002AAA";
    let kept = std::sync::Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let refuses = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (of_sink, refuses_still) = (std::sync::Arc::clone(&kept), std::sync::Arc::clone(&refuses));
    let sink = Sink::start(Box::new(move |_, request: &Arrived| {
        let record = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut kept = of_sink.lock().unwrap();
        if request.method == "GET" {
            // While it is out of order it does not even know what it has.
            if refuses_still.load(std::sync::atomic::Ordering::SeqCst) {
                return Some((503, String::new()));
            }
            return Some(if kept.contains(&record) { (200, "{}".to_owned()) } else { (404, "{}".to_owned()) });
        }
        let is_known = !kept.insert(record.clone());
        if record == FIRST && !is_known {
            return None;
        }
        if record == SECOND && request_count(&mut kept) == 1 {
            kept.remove(&record);
            return None;
        }
        Some((200, "{}".to_owned()))
    }))
    .await;
    let mut gateway = Process::prepare(&probing(&sink));
    gateway.start(&[]).await;
    for (id, record) in [("04l1", FIRST), ("04l2", SECOND)] {
        assert!(gateway.post("/om/orders", envelope(&[Notice { id, record, fields: "" }])).await.unwrap().is_ack());
    }
    let asked = |sink: &Sink| sink.arrived().iter().filter(|request| request.method == "GET").count();
    let deadline = std::time::Instant::now() + PATIENCE;
    while asked(&sink) < 4 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let puts = |record: &str| {
        let of = |request: &Arrived| request.method == "PUT" && request.path.ends_with(record);
        sink.arrived().iter().filter(|request| of(request)).count()
    };
    assert_eq!((puts(FIRST), puts(SECOND)), (1, 1), "while nobody knows, nothing is sent again");
    refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert_eq!(ledger["balanced"], true);
    assert_eq!((puts(FIRST), puts(SECOND)), (1, 2), "what arrived is not sent again, what did not is");
    assert_eq!(ledger["attempts"], json!({"total": 4, "unknown": 2}), "look-ups that said nothing count as none");
    let keys: std::collections::HashSet<String> = sink
        .arrived()
        .iter()
        .filter(|request| request.method == "PUT" && request.path.ends_with(SECOND))
        .map(|request| request.key().to_owned())
        .collect();
    assert_eq!(keys.len(), 1, "with the same key");
}

/// How often the second order came, kept beside the orders.
fn request_count(kept: &mut std::collections::HashSet<String>) -> usize {
    let count = kept.iter().filter(|entry| entry.starts_with("count")).count() + 1;
    kept.insert(format!("count {count}"));
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_until_a_moment_ends_by_itself_and_a_closed_system_is_not_called() {
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let until = jiff::Timestamp::now() + Duration::from_secs(2);
    let past = json!({"reason": "closing", "until": "2001-01-01T00:00:00Z"});
    assert_eq!(gateway.change("/api/v1/systems/sink/pause", &past).await.0, 400);
    let pause = json!({"reason": "closing", "until": until.to_string()});
    assert_eq!(gateway.change("/api/v1/systems/sink/pause", &pause).await.0, 200);
    let body = |id| envelope(&[Notice { id, record: "006A00000001AAA", fields: "" }]);
    assert!(gateway.post("/om/orders", body("04l1")).await.unwrap().is_ack());
    let delivery = gateway.admin("/api/v1/deliveries/1").await["delivery"].clone();
    assert_eq!(delivery["why"]["code"], "paused", "{delivery}");
    assert!(sink.arrived().is_empty());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert!(jiff::Timestamp::now() >= until);
    gateway.stop().await;

    let closed = "calendar = { time_zone = \"Europe/Berlin\", open = [\"daily 00:00-24:00\"], exceptions = \
                  [\"2020-01-01..9999-12-31 closed\"] }";
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", closed));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", body("04l2")).await.unwrap().is_ack());
    let delivery = gateway.admin("/api/v1/deliveries/1").await["delivery"].clone();
    assert_eq!(delivery["why"]["code"], "closed", "{delivery}");
    assert_eq!(sink.arrived().len(), 1, "that of before");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_grouped_by_cause_and_replayed_together_in_order() {
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opened = std::sync::Arc::clone(&open);
    let sink = Sink::start(Box::new(move |_, request: &Arrived| {
        let is_open = opened.load(std::sync::atomic::Ordering::SeqCst);
        Some((if is_open || request.body.contains("newer") { 200 } else { 409 }, String::new()))
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let post = async |gateway: &Process, id: &str, record: &str, name: &str| {
        let fields = format!("<sf:Name>{name}</sf:Name>");
        let body = envelope(&[Notice { id, record, fields: &fields }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    };
    for number in 0..5 {
        post(&gateway, &format!("04l{number}"), &format!("006A000000{number}AAA"), "old").await;
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 5).await;
    post(&gateway, "04l9", "006A0000003AAA", "newer").await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    let issues = gateway.admin("/api/v1/issues").await;
    assert_eq!((issues[0]["count"].as_u64(), &issues[0]["cause"]), (Some(5), &json!("refused: answered 409 Conflict")));
    let choose = json!({"issue": issues[0]["id"]});
    let dry = json!({"choose": choose, "dry_run": true});
    let (status, forecast) = gateway.change("/api/v1/deliveries/replay", &dry).await;
    assert_eq!((status, forecast["count"].as_u64(), &forecast["outdated"]), (200, Some(5), &json!([4])), "{forecast}");
    assert_eq!(gateway.admin("/api/v1/ledger").await["deliveries"]["dead"], 5, "nothing was done");
    for (wrong, words) in [(json!({"choose": {"issu": "x"}}), "issu"), (json!({"choose": choose, "rate": 0}), "rate")] {
        let (status, problem) = gateway.change("/api/v1/deliveries/replay", &wrong).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    for verb in ["hold", "replay"] {
        let everything = gateway.change(&format!("/api/v1/deliveries/{verb}"), &json!({"choose": {}})).await.0;
        assert_eq!(everything, 400, "not just all");
    }
    for (ids, words) in [(json!([]), "names no delivery"), (json!([-1, -2]), "begin with 1")] {
        let wrong = json!({"choose": {"ids": ids}, "dry_run": true});
        let (status, problem) = gateway.change("/api/v1/deliveries/replay", &wrong).await;
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    for (choose, count) in [
        (json!({"ids": [2, 1, 2]}), 2),
        (json!({"ids": [2, 1], "text": "409"}), 2),
        (json!({"ids": [2, 1], "text": "elsewhere"}), 0),
    ] {
        let dry = json!({"choose": choose, "dry_run": true});
        assert_eq!(gateway.change("/api/v1/deliveries/replay", &dry).await.1["count"], count, "{choose}");
    }
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, job) =
        gateway.change("/api/v1/deliveries/replay", &json!({"choose": choose, "reason": "fixed", "rate": 1000})).await;
    assert_eq!((status, job["total"].as_u64()), (202, Some(5)));
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 5).await;
    assert_eq!((&ledger["balanced"], &ledger["deliveries"]["dead"]), (&json!(true), &json!(1)));
    let deadline = std::time::Instant::now() + PATIENCE;
    let ended = loop {
        let job = gateway.admin(&format!("/api/v1/jobs/{}", job["id"])).await;
        if !job["ended_at"].is_null() {
            break job;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&ended["state"], &ended["changed"], &ended["refused"]), (&json!("done"), &json!(4), &json!(1)));
    assert!(ended["refusals"][0]["reason"].as_str().unwrap().contains("delivery 4 is outdated: delivery 6"), "{ended}");
    let replayed: Vec<String> = sink.arrived().iter().skip(6).map(|request| request.path.clone()).collect();
    assert_eq!(replayed.len(), 4);
    let (status, _) =
        gateway.change("/api/v1/deliveries/4/replay", &json!({"reason": "all the same", "even_if_newer": true})).await;
    assert_eq!(status, 200);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_matched_is_routed_again_after_the_configuration_was_changed() {
    let sink = ok_sink().await;
    let when = |name: &str| configuration(&sink.url("")) + &format!("when = \"record.Name == '{name}'\"\n");
    let mut gateway = Process::prepare(&when("nobody"));
    gateway.start(&[]).await;
    for (id, name) in [("04l1", "yes"), ("04l2", "no"), ("04l3", "yes")] {
        assert!(gateway.post("/om/orders", one(id, name)).await.unwrap().is_ack());
    }
    gateway.stop().await;
    gateway.configure(&when("yes"));
    gateway.start(&[]).await;
    let reroute = async |gateway: &Process, body| gateway.change("/api/v1/notifications/reroute", &body).await.1;
    let found = reroute(&gateway, json!({"dry_run": true})).await;
    let expected = json!({"looked_at": 3, "routed": 2, "deliveries": 2, "failed": [], "next": null});
    assert_eq!(found, expected);
    assert_eq!(gateway.ledger().await["notifications"]["unrouted"], 3);
    let begun = std::time::Instant::now();
    assert_eq!(reroute(&gateway, json!({"reason": "the route was wrong", "rate": 4})).await, expected);
    assert!(begun.elapsed() >= Duration::from_millis(500), "two, of which each takes its quarter of a second");
    let noted = gateway.admin("/api/v1/audit?verb=reroute").await;
    let noted: Vec<_> = noted.as_array().unwrap().iter().map(|entry| (&entry["result"], &entry["count"])).collect();
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert_eq!(noted[0], (&json!("done"), &json!(2)));
    assert!(
        noted[1].0.as_str().unwrap().starts_with("begun"),
        "if the gateway ended meanwhile, it would be known: {noted:?}"
    );
    let (status, answer) = gateway.change("/api/v1/notifications/reroute", &json!({"rate": 10_001})).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("from 1 to 10000"), "{answer}");
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert_eq!((&ledger["notifications"]["unrouted"], &ledger["balanced"]), (&json!(1), &json!(true)));
    assert_eq!(reroute(&gateway, json!({})).await["looked_at"], 1);
    gateway.stop().await;
    assert!(gateway.command(&["store", "verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_many_names_those_of_which_no_call_can_be_made_and_why() {
    let sink = ok_sink().await;
    let map = "[route.map]\nAmount = \"record.Name | decimal(2)\"\n";
    let mut gateway = Process::prepare(&(configuration(&sink.url("")) + map));
    gateway.start(&[]).await;
    for (id, name) in [("04l1", "none"), ("04l2", "no number")] {
        assert!(gateway.post("/om/orders", one(id, name)).await.unwrap().is_ack());
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"].as_i64() >= Some(1)).await;
    let order = json!({"choose": {"state": "dead"}, "dry_run": true});
    let (status, would) = gateway.change("/api/v1/deliveries/replay", &order).await;
    assert!(status == 200 && would["failing"][0]["delivery_id"] == 1, "{would}");
    assert!(would["failing"][0]["reason"].as_str().unwrap().contains("decimal needs a number"), "{would}");
    let told = gateway.command(&["dead", "replay", "--state", "dead", "--dry-run"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("of delivery 1 no call can be made: "), "{told}");
    let tried = would["tried"].as_u64().unwrap();
    assert!(told.contains(&format!("{tried} of {tried} tried would fail again")), "{told}");
    // In earnest it is refused, many and one alike, unless a person wants it so.
    let refused = gateway.command(&["dead", "replay", "--state", "dead", "--reason", "again"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    let rule = format!(
        "{tried} of {tried} tried would die again at once, for as the configuration stands no call can be made"
    );
    assert!(
        refused.status.code() == Some(1) && words.contains(&rule) && words.contains("--even-if-failing"),
        "{words}"
    );
    let (status, one) = gateway.change("/api/v1/deliveries/1/replay", &json!({})).await;
    assert!(status == 409 && one["detail"].as_str().unwrap().contains("decimal needs a number"), "{one}");
    assert_eq!(gateway.admin("/api/v1/jobs").await, json!([]));
    let (status, one) = gateway.change("/api/v1/deliveries/1/replay", &json!({"even_if_failing": true})).await;
    assert_eq!(status, 200, "{one}");
    gateway.admin_until("/api/v1/deliveries/1", PATIENCE, |told| told["delivery"]["state"] == "dead").await;
    let order = json!({"choose": {"ids": [1]}, "even_if_failing": true});
    let (status, job) = gateway.change("/api/v1/deliveries/replay", &order).await;
    assert!(status == 202 && job["warning"].as_str().unwrap().starts_with("1 of 1 tried would die again"), "{job}");
    let (status, odd) = gateway.change("/api/v1/deliveries/1/hold", &json!({"even_if_failing": true})).await;
    assert!(status == 400 && odd["detail"].as_str().unwrap().contains("belong to a replay"), "{odd}");
    // What is not there at all makes no job.
    let (status, none) = gateway.change("/api/v1/deliveries/hold", &json!({"choose": {"ids": [98, 99]}})).await;
    let words = "deliveries 98, 99 are not in the store: never made, or pruned; nothing was done";
    assert!(status == 404 && none["detail"] == words, "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_takes_says_which_did_not_and_why_wherever_one_asks() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&(configuration(&sink.url("")) + "when = \"record.Name == 'nobody'\"\n"));
    gateway.start(&[]).await;
    let id = "04l240000000001AAA";
    assert!(gateway.post("/om/orders", one(id, "somebody")).await.unwrap().is_ack());
    let said = |arguments: &[&str]| {
        let output = gateway.command(arguments);
        (output.status.code(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
    };
    let told = gateway.admin(&format!("/api/v1/notifications/{id}")).await["aside"].clone();
    let (text, advice) = (told["text"].as_str().unwrap(), told["advice"].as_str().unwrap());
    assert!(text.starts_with("no route takes it: route ") && text.contains("does not take it ("), "{told}");
    assert!(advice.contains("`omgate notifications reroute --source orders --reason WHY`"), "{told}");
    let (code, why) = said(&["why", id]);
    assert_eq!((code, why.trim()), (Some(0), format!("notification {id} is unrouted\n{text}; {advice}").as_str()));
    let whole = format!("{text}; {advice}");
    for arguments in [["find", id].as_slice(), &["notifications", "show", id]] {
        let (code, said) = said(arguments);
        assert!(code == Some(0) && said.contains(&whole), "{arguments:?}: {said}");
        assert!(!said.contains("{namespace}"), "{arguments:?}: {said}");
    }
    assert_eq!(gateway.admin(&format!("/api/v1/find?q={id}")).await["found"][0]["notifications"][0]["aside"], told);
    for page in [format!("/find?q={id}"), format!("/notifications/{id}")] {
        let html = gateway.admin(&page).await;
        assert!(html.as_str().unwrap().contains("no route takes it: route "), "{page}: {html}");
    }
    // Of an id with a wrong ending, and of what is neither a number nor an id.
    let wrong = "the last three letters of \"04l240000000001AAB\" do not fit the first 15";
    for arguments in [["why", "04l240000000001AAB"], ["find", "04l240000000001AAB"]] {
        let (code, said) = said(&arguments);
        assert!(code == Some(1) && said.contains(wrong), "{arguments:?}: {said}");
    }
    let (code, nothing) = said(&["why", "order 7"]);
    assert!(code == Some(1) && nothing.contains("there is no notification \"order 7\""), "{nothing}");
    // Moments are asked for in the API and on the pages as in the command line.
    for (query, count) in [("since=today", 1), ("since=1h", 1), ("until=yesterday", 0), ("since=2020-01-01", 1)] {
        let found = gateway.admin(&format!("/api/v1/notifications?{query}")).await;
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{query}: {found}");
        let page = gateway.admin(&format!("/notifications?{query}")).await;
        assert_eq!(page.as_str().unwrap().contains(id), count == 1, "{query}");
    }
    let wrong = gateway.admin("/api/v1/notifications?since=soon").await;
    assert!(
        wrong["detail"].as_str().unwrap().starts_with("since is \"soon\": that is neither a day nor a moment;"),
        "{wrong}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_not_routed_behind_a_newer_one_unless_a_person_wants_it_so() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&(configuration(&sink.url("")) + "when = \"record.Name != 'v1'\"\n"));
    gateway.start(&[]).await;
    for (id, name) in [("04l1", "v1"), ("04l2", "v2")] {
        assert!(gateway.post("/om/orders", one(id, name)).await.unwrap().is_ack());
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    gateway.stop().await;
    gateway.configure(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    for dry_run in [true, false] {
        let body = json!({"dry_run": dry_run});
        let found = gateway.change("/api/v1/notifications/reroute", &body).await.1;
        assert_eq!((&found["routed"], found["failed"].as_array().unwrap().len()), (&json!(0), 1), "{found}");
        assert!(found["failed"][0]["reason"].as_str().unwrap().contains("outdated: delivery 1"), "{found}");
    }
    let told = gateway.command(&["notifications", "reroute", "--reason", "the condition was wrong"]);
    let words = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.code() == Some(1) && words.contains("1 could not be routed:\n  04l1: "), "{words}");
    let found = gateway.change("/api/v1/notifications/reroute", &json!({"even_if_newer": true})).await.1;
    assert_eq!(found["routed"], 1);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
}

/// What a later notification would be outdated by, the same run may have routed before: that counts in a dry run too.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_refuses_what_the_same_run_would_outdate() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&(configuration(&sink.url("")) + "when = \"record.Name == 'nobody'\"\n"));
    gateway.start(&[]).await;
    for (id, name) in [("04l1", "v1"), ("04l2", "v2"), ("04l1", "v3")] {
        assert!(gateway.post("/om/orders", one(id, name)).await.unwrap().is_ack());
    }
    gateway.stop().await;
    gateway.configure(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let reroute = async |body| gateway.change("/api/v1/notifications/reroute", &body).await.1;
    let anyway = reroute(json!({"dry_run": true, "even_if_newer": true})).await;
    assert_eq!((&anyway["routed"], &anyway["failed"]), (&json!(2), &json!([])), "{anyway}");
    for (dry_run, by) in [(true, "a notification that goes along route"), (false, "delivery 1 of route")] {
        let found = reroute(json!({"dry_run": dry_run})).await;
        assert_eq!((&found["routed"], &found["deliveries"]), (&json!(1), &json!(1)), "{found}");
        let refused = &found["failed"][0];
        let reason = refused["reason"].as_str().unwrap();
        assert!(refused["notification_id"] == "04l2" && reason.contains(&format!("outdated: {by}")), "{found}");
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_two_organizations_with_one_id_are_both_routed_again() {
    let sink = ok_sink().await;
    let any = |name: &str| {
        let routed = configuration(&sink.url("")) + &format!("when = \"record.Name == '{name}'\"\n");
        routed.replace("\"00D24000000abcdEAA\"", "\"*\"")
    };
    let mut gateway = Process::prepare(&any("nobody"));
    gateway.start(&[]).await;
    let ours = one("04l1", "A");
    let theirs = ours.replace("00D24000000abcd", "00D24000000wxyz").replace("006A0000001AAA", "006B0000001AAA");
    for body in [ours, theirs] {
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
    gateway.stop().await;
    gateway.configure(&any("A"));
    gateway.start(&[]).await;
    let found = gateway.change("/api/v1/notifications/reroute", &json!({})).await.1;
    assert_eq!((&found["routed"], &found["failed"]), (&json!(2), &json!([])), "{found}");
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_a_later_state_under_way_is_outdated_when_that_is_delivered() {
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let respond = move |_, request: &Arrived| {
        if request.json()["record"]["Name"] == "v1" {
            return Some((409, String::new()));
        }
        // It answers when the test says so, or ends.
        let _ = held.lock().unwrap().recv();
        Some((200, String::new()))
    };
    // Threads of its own: what blocks there must not stop the test.
    let apart = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sink = apart.spawn(Sink::start(Box::new(respond))).await.unwrap();
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "v1")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    assert!(gateway.post("/om/orders", one("04l2", "v2")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["in_flight"] == 1).await;
    let (status, _) = gateway.change("/api/v1/deliveries/1/replay", &json!({"reason": "again"})).await;
    assert_eq!(status, 200);
    let why = gateway.admin("/api/v1/deliveries/1").await["delivery"]["why"]["text"].as_str().unwrap().to_owned();
    assert!(why.starts_with("it waits behind delivery 2"), "{why}");
    let_go.send(()).unwrap();
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1 && settled(ledger)).await;
    let delivery = gateway.admin("/api/v1/deliveries/1").await["delivery"].clone();
    assert!(delivery["reason"].as_str().unwrap().contains("outdated: delivery 2"), "{delivery}");
    assert_eq!(sink.arrived().len(), 2, "it was not sent again");
    apart.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_changes_what_was_there_when_it_began_and_not_what_it_makes_itself() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    for number in 0..3 {
        assert!(gateway.post("/om/orders", one(&format!("04l{number}"), "A")).await.unwrap().is_ack());
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 3).await;
    let body = json!({"choose": {"state": "delivered"}, "even_if_newer": true, "reason": "lost there", "rate": 20});
    let (status, job) = gateway.change("/api/v1/deliveries/replay", &body).await;
    assert_eq!((status, &job["total"]), (202, &json!(3)), "{job}");
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let ended = gateway.admin_until(&path, PATIENCE, |job| !job["ended_at"].is_null()).await;
    assert_eq!((&ended["state"], &ended["changed"]), (&json!("done"), &json!(3)), "{ended}");
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived().len(), 6);
}

/// With `stale_by` an older state is superseded when its turn comes; unless a person wants it sent all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_dead_letter_is_sent_when_a_person_wants_it_and_lowers_no_mark() {
    let (sink, open) = shut_sink(409).await;
    let route = "stale_by = \"LastModifiedDate\"\n";
    let mut gateway = Process::prepare(&(configuration(&sink.url("")) + route));
    gateway.start(&[]).await;
    let post = async |gateway: &Process, id: &str, day: u32| {
        let fields = format!("<sf:LastModifiedDate>2026-01-0{day}T00:00:00Z</sf:LastModifiedDate>");
        let body = envelope(&[Notice { id, record: "006A00000001AAA", fields: &fields }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    };
    post(&gateway, "04l1", 1).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    post(&gateway, "04l2", 3).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    let replay = async |gateway: &Process, body| gateway.change("/api/v1/deliveries/1/replay", &body).await.0;
    assert_eq!(replay(&gateway, json!({})).await, 409);
    assert_eq!(replay(&gateway, json!({"even_if_newer": true})).await, 200);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    post(&gateway, "04l3", 2).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["superseded"] == 1).await;
}

/// A notification with one field beside its record's id, which is always the same.
fn of_field(id: &str, field: &str, value: &str) -> String {
    envelope(&[Notice { id, record: "006A00000001AAA", fields: &format!("<sf:{field}>{value}</sf:{field}>") }])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_another_field_makes_nothing_outdated_and_gives_its_place_away() {
    let sink = ok_sink().await;
    let by = |field: &str| configuration(&sink.url("")) + &format!("stale_by = \"{field}\"\n");
    let mut gateway = Process::prepare(&by("SystemModstamp"));
    gateway.start(&[]).await;
    let post = async |gateway: &Process, id: &str, field: &str, value: &str| {
        assert!(gateway.post("/om/orders", of_field(id, field, value)).await.unwrap().is_ack());
        gateway.until(PATIENCE, settled).await["deliveries"].clone()
    };
    post(&gateway, "04l1", "SystemModstamp", "2026-11-20T10:00:00.000Z").await;
    for field in ["LastModifiedDate", "Version__c"] {
        gateway.stop().await;
        gateway.configure(&by(field));
        gateway.start(&[]).await;
        let values = if field == "Version__c" { ["2", "1"] } else { ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"] };
        let before = gateway.ledger().await["deliveries"]["delivered"].as_i64().unwrap();
        let counts = post(&gateway, &format!("04l{field}"), field, values[0]).await;
        assert_eq!(counts["delivered"], before + 1, "{field}: {counts}");
        let superseded = counts["superseded"].as_i64().unwrap();
        let counts = post(&gateway, &format!("04l{field}late"), field, values[1]).await;
        assert_eq!(
            (&counts["delivered"], &counts["superseded"]),
            (&json!(before + 1), &json!(superseded + 1)),
            "{field}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_routed_again_even_if_newer_passes_by_the_mark_and_lowers_it_not() {
    let sink = ok_sink().await;
    let keys = "stale_by = \"Version__c\"\ncoalesce = true\n";
    let mut gateway =
        Process::prepare(&(configuration(&sink.url("")) + keys + "when = \"record.Version__c != '3'\"\n"));
    gateway.start(&[]).await;
    for (id, version) in [("04l1", "3"), ("04l2", "5")] {
        assert!(gateway.post("/om/orders", of_field(id, "Version__c", version)).await.unwrap().is_ack());
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    gateway.stop().await;
    gateway.configure(&(configuration(&sink.url("")) + keys));
    gateway.start(&[]).await;
    let (_, found) = gateway.change("/api/v1/notifications/reroute", &json!({"even_if_newer": true})).await;
    assert_eq!(found["routed"], 1, "{found}");
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert!(gateway.post("/om/orders", of_field("04l3", "Version__c", "4")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["superseded"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_why_the_first_of_a_lane_waits_in_the_words_of_the_delivery_itself() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", "paused = true"));
    gateway.start(&[]).await;
    for number in 0..3 {
        assert!(gateway.post("/om/orders", one(&format!("04l{number}"), "x")).await.unwrap().is_ack());
    }
    for (verb, words) in [
        ("hold", "delivery 1, the first of its lane; of that one: it is held until a person releases it: look first"),
        ("release", "delivery 1, the first of its lane; of that one: system sink is paused since "),
    ] {
        let because = json!({"reason": "look first"});
        assert_eq!(gateway.change(&format!("/api/v1/deliveries/1/{verb}"), &because).await.0, 200);
        let why = gateway.admin("/api/v1/deliveries/3").await["delivery"]["why"].clone();
        let text = why["text"].as_str().unwrap();
        assert!(text.starts_with(&format!("it waits behind {words}")), "{text}");
        // Also where the first is not in the list itself.
        let lane = lane_of_the_third(&gateway).await;
        for list in ["deliveries", "deliveries?limit=1", "deliveries?state=blocked", &lane] {
            let rows = gateway.admin(&format!("/api/v1/{list}")).await;
            let found = rows.as_array().unwrap().iter().find(|row| row["delivery_id"] == 3);
            assert_eq!(found.unwrap()["why"], why, "{list}: {rows}");
        }
        let found = gateway.admin("/api/v1/find?q=3").await;
        assert_eq!(found["found"][0]["deliveries"][0]["why"], why, "{found}");
        let listed = gateway.command(&["deliveries", "list", "--state", "blocked", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed[0]["why"], why);
        let page = gateway.admin("/deliveries?state=blocked").await;
        let shown = text.split(" since ").next().unwrap();
        assert!(page.as_str().unwrap().contains(shown), "{page}");
    }
}

/// Where what is in the lane of delivery 3 is listed.
async fn lane_of_the_third(gateway: &Process) -> String {
    let found = gateway.admin("/api/v1/deliveries/3").await;
    format!("lanes/sink/{}", found["delivery"]["lane"].as_str().unwrap())
}

/// A job, once it has ended.
async fn ended(gateway: &Process, job: &serde_json::Value) -> serde_json::Value {
    let address = format!("/api/v1/jobs/{}", job["id"]);
    gateway.admin_until(&address, PATIENCE, |job| !job["ended_at"].is_null()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_changes_what_fits_when_it_is_ordered_and_nothing_that_comes_to_fit_by_it() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", "paused = true"));
    gateway.start(&[]).await;
    for number in 0..6 {
        assert!(gateway.post("/om/orders", one(&format!("04l{number}"), "x")).await.unwrap().is_ack());
    }
    for (verb, state, count, left) in [
        ("discard", "waiting", 1, json!({"discarded": 1, "held": 0, "waiting": 1, "blocked": 4})),
        ("hold", "waiting", 1, json!({"discarded": 1, "held": 1, "waiting": 0, "blocked": 4})),
        ("release", "held", 1, json!({"discarded": 1, "held": 0, "waiting": 1, "blocked": 4})),
        ("discard", "blocked", 4, json!({"discarded": 5, "held": 0, "waiting": 1, "blocked": 0})),
    ] {
        let address = format!("/api/v1/deliveries/{verb}");
        let choose = json!({"state": state, "destination": "sink"});
        let dry = json!({"choose": choose, "dry_run": true});
        assert_eq!(gateway.change(&address, &dry).await.1["count"], count, "{verb} {state}");
        let (status, job) = gateway.change(&address, &json!({"choose": choose, "reason": "a test"})).await;
        assert_eq!(status, 202, "{job}");
        let ended = ended(&gateway, &job).await;
        let told = [&ended["total"], &ended["changed"], &ended["refused"]];
        assert_eq!(told, [&json!(count), &json!(count), &json!(0)], "{verb} {state}: {ended}");
        let deliveries = gateway.ledger().await["deliveries"].clone();
        for (state, count) in left.as_object().unwrap() {
            assert_eq!(&deliveries[state], count, "after {verb}: {deliveries}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_passes_by_what_is_not_any_more_as_it_was_chosen_and_says_so() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", "paused = true"));
    gateway.start(&[]).await;
    for number in 0..4 {
        assert!(gateway.post("/om/orders", one(&format!("04l{number}"), "x")).await.unwrap().is_ack());
    }
    let order = json!({"choose": {"state": "blocked"}, "reason": "look first", "rate": 1});
    let (status, job) = gateway.change("/api/v1/deliveries/discard", &order).await;
    assert_eq!(status, 202, "{job}");
    // The last goes first, so that none of those before it is let go; each takes a second.
    assert_eq!(gateway.change("/api/v1/deliveries/2/hold", &json!({"reason": "wait"})).await.0, 200);
    let ended = ended(&gateway, &job).await;
    assert_eq!([&ended["total"], &ended["changed"], &ended["refused"]], [3, 2, 1].map(|n| json!(n)).each_ref());
    let refused = json!([{"delivery_id": 2, "reason": "delivery 2 is held by now, not blocked any more"}]);
    assert_eq!(ended["refusals"], refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_paused_resumed_and_cancelled() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", "paused = true"));
    gateway.start(&[]).await;
    for number in 0..50 {
        let body = one(&format!("04l{number}"), "x");
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
    let order = json!({"choose": {"route": "orders → sink", "state": "blocked"}, "reason": "not now", "rate": 10});
    let (status, job) = gateway.change("/api/v1/deliveries/hold", &order).await;
    assert_eq!((status, job["total"].as_u64()), (202, Some(49)));
    let job = format!("/api/v1/jobs/{}", job["id"]);
    let steer = async |gateway: &Process, verb: &str| gateway.change(&format!("{job}/{verb}"), &json!({})).await;
    let looked = gateway.command(&["jobs", "cancel", job.rsplit('/').next().unwrap(), "--dry-run"]);
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(looked.status.success() && said.contains("goes on as it does; cancel would be done"), "{said}");
    assert_eq!(gateway.admin(&job).await["state"], "running", "what is only asked for changes nothing");
    assert_eq!(steer(&gateway, "pause").await.1["state"], "paused");
    let held = |ledger: &serde_json::Value| ledger["deliveries"]["held"].as_i64().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = held(&gateway.admin("/api/v1/ledger").await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(held(&gateway.admin("/api/v1/ledger").await), before, "paused");
    assert_eq!(steer(&gateway, "resume").await.1["state"], "running");
    gateway.until(PATIENCE, |ledger| held(ledger) > before).await;
    assert_eq!(steer(&gateway, "cancel").await.0, 200);
    let deadline = std::time::Instant::now() + PATIENCE;
    while gateway.admin(&job).await["state"] != "cancelled" {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(held(&gateway.admin("/api/v1/ledger").await) < 49);
    assert_eq!(steer(&gateway, "rewind").await.0, 404);
    assert_eq!(gateway.change("/api/v1/jobs/99/cancel", &json!({})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_pauses_and_a_person_resumed_stays_resumed_until_the_configuration_says_so_anew() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration_with(&sink.url(""), "", "", "paused = true"));
    let is_paused = async |gateway: &Process| !gateway.admin("/api/v1/systems").await["sink"]["paused"].is_null();
    let write = |gateway: &Process, was: &str, is: &str| {
        let path = gateway.folder.path().join("omgate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(was), "{text}");
        std::fs::write(&path, text.replace(was, is)).unwrap();
    };
    for _ in 0..2 {
        gateway.start(&[]).await;
        assert!(is_paused(&gateway).await, "nobody resumed it");
        gateway.stop().await;
        // As if the gateway had ended before it could keep the pause.
        let store = rusqlite::Connection::open(gateway.folder.path().join("omgate.db")).unwrap();
        let forgotten = "UPDATE system SET paused_reason = NULL, paused_since = NULL";
        store.execute(forgotten, []).unwrap();
    }
    write(&gateway, "paused = true", "paused = false");
    gateway.start(&[]).await;
    assert!(!is_paused(&gateway).await, "it does not say so any more");
    gateway.stop().await;
    write(&gateway, "paused = false", "paused = true");
    gateway.start(&[]).await;
    let (status, _) = gateway.change("/api/v1/systems/sink/resume", &json!({"reason": "it is ready"})).await;
    assert_eq!(status, 200);
    gateway.stop().await;
    gateway.start(&[]).await;
    assert!(!is_paused(&gateway).await, "a resume outlives a restart");
    gateway.stop().await;
    write(&gateway, "paused = true", "paused = true\nconcurrency = 2");
    gateway.start(&[]).await;
    assert!(!is_paused(&gateway).await, "and a configuration that says other things anew");
    gateway.stop().await;
    write(&gateway, "paused = true", "paused = false");
    gateway.start(&[]).await;
    gateway.stop().await;
    write(&gateway, "paused = false", "paused = true");
    gateway.start(&[]).await;
    assert!(is_paused(&gateway).await, "it says so anew");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_pause_the_system_and_a_person_resumes_it() {
    let (sink, open) = shut_sink(401).await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    post_twenty_until(&gateway, "paused").await;
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["in_flight"] == 0).await;
    assert_eq!(ledger["deliveries"]["waiting"], 20);
    assert_eq!(ledger["deliveries"]["dead"], 0);
    gateway.stop().await;
    gateway.start(&[]).await;
    assert!(!gateway.admin("/api/v1/systems").await["sink"]["paused"].is_null(), "the pause survives a restart");
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, _) = gateway.change("/api/v1/systems/sink/resume", &json!({"reason": "password changed"})).await;
    assert_eq!(status, 200);
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 20).await;
    assert_eq!(ledger["balanced"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_do_not_count_toward_max_attempts() {
    let sink = Sink::start(Box::new(|number, _| {
        let status = *[401, 503, 401, 200].get(number).unwrap_or(&200);
        Some((status, String::new()))
    }))
    .await;
    let twice = configuration(&sink.url("")).replace("first = \"50ms\"", "max_attempts = 2, first = \"10ms\"");
    let mut gateway = Process::prepare(&twice);
    gateway.start(&[]).await;
    let body = envelope(&[Notice { id: "04l1", record: "006A00000000001AAA", fields: "" }]);
    assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    for calls in [1, 3] {
        let deadline = std::time::Instant::now() + PATIENCE;
        while sink.arrived().len() < calls || gateway.admin("/api/v1/systems").await["sink"]["paused"].is_null() {
            assert!(std::time::Instant::now() < deadline, "{}", gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (status, _) = gateway.change("/api/v1/systems/sink/resume", &json!({"reason": "corrected"})).await;
        assert_eq!(status, 200);
    }
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["waiting"] == 0).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["in_flight"] == 0).await;
    assert_eq!(ledger["deliveries"]["dead"], 0, "{ledger:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_without_a_call_is_logged_without_an_attempt() {
    let sink = ok_sink().await;
    let unmappable = configuration(&sink.url("")).replace("{{ record.Id }}", "{{ record.Name | int }}");
    let mut gateway = Process::prepare(&unmappable);
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "no number")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    assert_eq!(gateway.admin("/api/v1/dead").await[0]["attempts"], 0);
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("dead letter")).expect(&log);
    assert!(line.contains("delivery=1") && line.contains("outcome=\"not_called\""), "{line}");
    assert!(!line.contains("attempt"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_without_an_answer_says_nothing_of_the_credentials() {
    let silent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hangs_up = std::sync::Arc::clone(&silent);
    let sink = Sink::start(Box::new(move |_, _| {
        (!hangs_up.load(std::sync::atomic::Ordering::SeqCst)).then(|| (401, String::new()))
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "x")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["attempts"]["total"] == 1 && ledger["deliveries"]["waiting"] == 1).await;
    gateway.stop().await;
    let store = rusqlite::Connection::open(gateway.folder.path().join("omgate.db")).unwrap();
    assert_eq!(store.execute("UPDATE system SET probe_at = 1", []).unwrap(), 1);
    drop(store);
    silent.store(true, std::sync::atomic::Ordering::SeqCst);
    gateway.start(&[]).await;
    gateway.until(PATIENCE, |ledger| ledger["attempts"]["unknown"] == 1).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let paused = loop {
        let paused = gateway.admin("/api/v1/systems").await["sink"]["paused"].clone();
        if paused["probe_at"] != "1970-01-01T00:00:00.001Z" {
            break paused;
        }
        assert!(std::time::Instant::now() < deadline, "{paused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(paused["probe_at"].is_string(), "the system stays paused: {paused}");
    assert_eq!(sink.arrived().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_says_why_and_is_delivered_when_replayed() {
    let refuse = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let refusing = std::sync::Arc::clone(&refuse);
    let sink = Sink::start(Box::new(move |_, _| {
        let refuse = refusing.load(std::sync::atomic::Ordering::SeqCst);
        Some(if refuse { (422, "no such customer".to_owned()) } else { (200, String::new()) })
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "x")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    let listed = gateway.command(&["dead", "list", "--json"]);
    let dead: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(dead[0]["status"], 422, "{dead:#}");
    assert_eq!(dead[0]["attempts"], 1);
    assert!(dead[0]["reason"].as_str().unwrap().contains("422"), "{dead:#}");
    let id = dead[0]["delivery_id"].to_string();
    let dry = gateway.command(&["dead", "replay", &id, "--dry-run"]);
    assert!(dry.status.success());
    let shown = gateway.command(&["dead", "show", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    for part in ["PUT http://", "\"notification_id\":\"04l1\"", "HTTP 422", "no such customer"] {
        assert!(shown.contains(part), "{part} is not shown: {shown}");
    }
    refuse.store(false, std::sync::atomic::Ordering::SeqCst);
    let replayed = gateway.command(&["dead", "replay", &id, "--reason", "customer created"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!(ledger["deliveries"]["dead"], 0);
    let again = gateway.command(&["dead", "replay", &id, "--reason", "once more"]);
    assert!(!again.status.success(), "what was delivered is not replayed");
    let shown = gateway.admin(&format!("/api/v1/deliveries/{id}")).await;
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!(shown["attempts"][0]["response"], "no such customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_unknown_outcome_the_same_bytes_go_to_the_address_of_now() {
    let wrong = Sink::start(Box::new(|_, _: &Arrived| None)).await;
    let right = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&wrong.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "A &amp; B")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["attempts"]["unknown"] != 0).await;
    gateway.stop().await;
    let before = wrong.arrived();
    let mapping = "\n[route.map]\nOther = \"record.Name\"\n";
    gateway.configure(&(configuration(&right.url("/v2")) + mapping));
    gateway.start(&[]).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!(wrong.arrived().len(), before.len(), "nothing goes to the address that was corrected");
    let arrived = right.arrived();
    assert_eq!(arrived[0].path, "/v2/orders/006A0000001AAA");
    assert_eq!((&arrived[0].body, arrived[0].key()), (&before[0].body, before[0].key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_after_an_unknown_outcome_is_held_where_its_destination_has_a_person_decide_by_now() {
    let sink = Sink::start(Box::new(|count, _: &Arrived| (count > 0).then(|| (200, "{}".to_owned())))).await;
    let with = |unknown: &str| {
        let keys = format!("unknown = \"{unknown}\"");
        configuration_with(&sink.url(""), "", "", &keys)
            .replace("first = \"50ms\"", "first = \"3s\"")
            .replace("\"1s\"", "\"3s\"")
    };
    let mut gateway = Process::prepare(&with("resend"));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "A")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["attempts"]["unknown"] == 1 && ledger["deliveries"]["waiting"] == 1).await;
    let before = gateway.admin("/api/v1/deliveries/1").await["attempts"][0]["reason"].as_str().unwrap().to_owned();
    gateway.configure(&with("hold"));
    assert_eq!(gateway.change("/api/v1/reload", &serde_json::json!({})).await.0, 200);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["held"] == 1).await;
    let held = gateway.admin("/api/v1/deliveries/1").await;
    assert_eq!(held["delivery"]["reason"], format!("it is unknown whether it was taken: {before}"));
    assert_eq!((&held["attempts"].as_array().unwrap().len(), sink.arrived().len()), (&1, 1), "{held:#}");
    let release = gateway.command(&["deliveries", "release", "1", "--reason", "they do not have it"]);
    assert!(release.status.success(), "{}", String::from_utf8_lossy(&release.stderr));
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    let arrived = sink.arrived();
    assert_eq!((&arrived[1].body, arrived[1].key()), (&arrived[0].body, arrived[0].key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_unknown_outcome_the_same_message_goes_out_with_fresh_credentials() {
    let sink = Sink::start(Box::new(|count, _: &Arrived| (count > 0).then(|| (202, String::new())))).await;
    let wsdl = Path::new(env!("CARGO_MANIFEST_DIR")).join("wsdl/erp.wsdl");
    let configuration = format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "erp"
kind = "soap"
wsdl = "{}"
operation = "CreateOrder"
endpoint = "{}"
retry = {{ first = "50ms", max_wait = "1s" }}
addressing = true
security = {{ username = "omgate", password = "${{ERP_PASSWORD}}", password_type = "digest", timestamp = true }}

[[route]]
source = "orders"
destination = "erp"
[route.map]
OrderNumber = "record.Name"
Total = 1
Currency = "'EUR'"
Customer.Id = "'1'"
"#,
        wsdl.display(),
        sink.url("")
    );
    let mut gateway = Process::prepare(&configuration);
    gateway.start(&[("ERP_PASSWORD", "s3cr3t")]).await;
    assert!(gateway.post("/om/orders", one("04l1", "A &amp; B")).await.unwrap().is_ack());
    let ledger = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!((&ledger["attempts"]["unknown"], &ledger["attempts"]["total"]), (&1.into(), &2.into()));
    let arrived = sink.arrived();
    let part = |index: usize, from: &str, to: &str| {
        let body = &arrived[index].body;
        let rest = body.split_once(from).unwrap_or_else(|| panic!("{from}: {body}")).1.to_owned();
        rest.split_once(to).unwrap().0.to_owned()
    };
    for (from, to) in [("<soapenv:Body>", "</soapenv:Body>"), ("<wsa:MessageID", "</wsa:MessageID>")] {
        assert_eq!(part(0, from, to), part(1, from, to), "{from}");
    }
    for (from, to) in [("<wsse:Nonce", "</wsse:Nonce>"), ("PasswordDigest\">", "</wsse:Password>")] {
        assert_ne!(part(0, from, to), part(1, from, to), "{from}");
    }
    let shown = gateway.admin("/api/v1/deliveries/1").await;
    assert_eq!(shown["attempts"][0]["request"], shown["attempts"][1]["request"]);
    let shown = shown.to_string();
    assert!(shown.contains("CreateOrder") && !shown.contains("wsse:") && !shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_system_never_delays_another() {
    let slow = Sink::start(Box::new(|_, _| {
        std::thread::sleep(Duration::from_millis(1));
        None
    }))
    .await;
    let fast = ok_sink().await;
    let text = configuration_with(&slow.url(""), "", "", "concurrency = 1\nrate = \"1/h\"")
        + &format!(
            "\n[[destination]]\nname = \"fast\"\nkind = \"rest\"\nmethod = \"POST\"\nurl = \"{}\"\n\n\
             [[route]]\nsource = \"orders\"\ndestination = \"fast\"\n",
            fast.url("/")
        );
    let mut gateway = Process::prepare(&text);
    gateway.start(&[]).await;
    for number in 0..50 {
        let (id, record) = (format!("04l{number}"), format!("006A{number:08}AAA"));
        assert!(
            gateway
                .post("/om/orders", envelope(&[Notice { id: &id, record: &record, fields: "" }]))
                .await
                .unwrap()
                .is_ack()
        );
    }
    let ledger = gateway.until(PATIENCE, |ledger| ledger["destinations"]["fast"]["delivered"] == 50).await;
    assert_eq!(ledger["destinations"]["sink"]["delivered"], 0);
    assert!(slow.arrived().len() <= 2, "one call an hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_stops_it_nacks_and_lets_calls_under_way_end() {
    let sink = Sink::start(Box::new(|_, _| {
        // On a thread of its own: this one also drives the test's sockets and timers.
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(900)));
        Some((200, String::new()))
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", one("04l1", "x")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["in_flight"] == 1).await;
    let public = gateway.public;
    let nacked = tokio::task::spawn_blocking(move || {
        let body = one("04l2", "y");
        let bytes =
            post_bytes(&format!("Content-Type: text/xml\r\nContent-Length: {}\r\n", body.len()), body.as_bytes());
        (0..40).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            raw(public, &bytes).contains("<Ack>false</Ack>")
        })
    });
    gateway.stop().await;
    assert!(nacked.await.unwrap(), "envelopes that come while it stops are nacked");
    gateway.start(&[]).await;
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!(ledger["attempts"]["unknown"], 0, "the call under way ended in its time: {ledger:#}");
    assert_eq!(ledger["notifications"]["unique"], ledger["deliveries"]["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_store_is_refused_in_words() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let other = gateway.folder.path().join("other.toml");
    let text = text
        .replace(&format!("127.0.0.1:{}", gateway.public), "127.0.0.1:0")
        .replace(&format!("127.0.0.1:{}", gateway.admin), "127.0.0.1:0");
    std::fs::write(&other, text).unwrap();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["serve", "--config"])
        .arg(&other)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert_eq!(words.matches("another process").count(), 1, "said once: {words}");
    assert_eq!(words.matches("opening the store").count(), 1, "said once: {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alarm_about_the_store_ends_with_its_cause_though_nothing_more_comes_in() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let (database, aside) = (gateway.folder.path().join("omgate.db"), gateway.folder.path().join("aside.db"));
    std::fs::rename(&database, &aside).unwrap();
    assert!(gateway.post("/om/orders", one("04l1", "x")).await.unwrap().is_nack());
    let stands = |status: &serde_json::Value| status["alarms"].to_string().contains("\"store\"");
    gateway.admin_until("/api/v1/status", PATIENCE, stands).await;
    std::fs::rename(&aside, &database).unwrap();
    let status = gateway.admin_until("/api/v1/status", PATIENCE, |status| !stands(status)).await;
    assert_eq!(status["ready"], true, "{status:#}");
    let metrics = gateway.admin("/metrics").await;
    let line = "omgate_alarm{alarm=\"store\",subject=\"\"} 0";
    assert!(metrics.as_str().is_some_and(|text| text.contains(line)), "{metrics}");
    assert!(gateway.post("/om/orders", one("04l1", "x")).await.unwrap().is_ack());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_means_nacks_until_there_is_room_again() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    let disk = gateway.folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mounted) = SmallDisk::mount(&disk) else {
        println!("skipped: a small tmpfs cannot be mounted here (it needs root)");
        return;
    };
    let text = configuration(&sink.url("")).replace("sqlite:omgate.db", "sqlite:disk/omgate.db");
    gateway.configure(&text);
    gateway.start(&[]).await;
    let ballast = disk.join("ballast");
    let filled = std::fs::File::create(&ballast).unwrap();
    while (&filled).write_all(&[0; 4096]).is_ok() {}
    let mut answers = Vec::new();
    for number in 0..20 {
        let body = one(&format!("04l{number}"), &"x".repeat(50_000));
        answers.push(gateway.post("/om/orders", body).await.unwrap());
    }
    assert!(answers.iter().any(super::harness::Answered::is_nack), "the disk was not full");
    assert!(answers.iter().all(|answer| answer.is_ack() || answer.is_nack()), "{answers:?}");
    assert!(!gateway.is_ready().await, "readiness is false while the disk is full");
    let reason = gateway.admin("/readyz").await;
    assert!(reason.as_str().unwrap().contains("full"), "{reason}");
    // It is said once, everywhere, and nothing looks as if it went on.
    let needs = gateway.admin("/api/v1/status").await["needs"].clone();
    let what: Vec<_> = needs.as_array().unwrap().iter().map(|need| need["what"].as_str().unwrap()).collect();
    assert_eq!((what[0], what.contains(&"store")), ("not_ready", false), "{needs:#}");
    assert_eq!(gateway.admin("/api/v1/systems").await["sink"]["why"]["code"], "store");
    let page = gateway.admin("/destinations").await;
    assert!(
        page.as_str().unwrap().contains("No envelope is taken and nothing is sent: the store cannot write"),
        "{page}"
    );
    drop(filled); // while it is open, its blocks are not free
    std::fs::remove_file(&ballast).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !gateway.is_ready().await {
        assert!(std::time::Instant::now() < deadline, "it does not come back: {}", gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gateway.post("/om/orders", one("04lback", "x")).await.unwrap().is_ack());
    gateway.admin_until("/api/v1/ledger/day?day=today", PATIENCE, |day| day["ok"] == true).await;
    let acked = answers.iter().filter(|answer| answer.is_ack()).count() as u64 + 1;
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!(ledger["balanced"], true);
    assert_eq!(ledger["notifications"]["unique"].as_u64(), Some(acked), "{ledger:#}");
    assert_eq!(ledger["deliveries"]["delivered"].as_u64(), Some(acked), "{ledger:#}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_they_would_do_and_where_they_asked_in_vain() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let (public, admin) = (gateway.public, gateway.admin);
    let (wrong, bare) = (format!("http://127.0.0.1:{public}"), format!("127.0.0.1:{admin}"));
    for (arguments, code, words) in [
        (&["systems", "pause", "sink", "--dry-run"][..], 0, "system sink goes on; pause would be done"),
        (&["status", "--admin", &wrong], 1, "is it the admin address"),
        (&["status", "--admin", &bare], 0, "the ledger balances"),
    ] {
        let output = gateway.command(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let (status, body) = gateway.change("/api/v1/systems/sink/stop", &json!({"dry_run": true})).await;
    assert_eq!((status, &body["status"]), (404, &json!(404)), "{body}");
    let body = gateway.admin("/api/v1/nothing").await;
    assert_eq!(body["status"], 404, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_names_what_a_blocked_delivery_waits_for() {
    let sink = Sink::start(Box::new(|_, _: &Arrived| Some((503, String::new())))).await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    for id in ["04l1", "04l2"] {
        assert!(gateway.post("/om/orders", one(id, id)).await.unwrap().is_ack());
    }
    let listed = gateway.command(&["deliveries", "list", "--state", "blocked"]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains("behind delivery 1"), "{listed}");
}

/// Three MiB of disk, for as long as it lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a gateway that a failed test left behind may still have it open.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_web_pages_cannot_reach_the_admin_listener() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration(&sink.url("")));
    gateway.start(&[]).await;
    let ask = |head: &str| raw(gateway.admin, format!("{head}Connection: close\r\n\r\n").as_bytes());
    assert!(ask("GET /api/v1/ledger HTTP/1.1\r\nHost: localhost\r\n").starts_with("HTTP/1.1 200"));
    assert!(ask("GET /api/v1/ledger HTTP/1.1\r\nHost: evil.example\r\n").starts_with("HTTP/1.1 403"));
    let post = "POST /api/v1/systems/sink/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n";
    assert!(ask(post).starts_with("HTTP/1.1 415"), "no Content-Type");
    let cross = format!("{post}Content-Type: application/json\r\nOrigin: http://evil.example\r\n");
    assert!(ask(&cross).starts_with("HTTP/1.1 403"), "another origin");
}

//! `omgate send` against a receiver that remembers everything.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands, in its own functions too")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use omgate::envelope::Envelope;
use omgate::parse;
use serde_json::Value;

use crate::harness::{Notice, Respond, Sink, envelope, free_port};

const ACK: &str = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><r:notificationsResponse \
                   xmlns:r=\"http://soap.sforce.com/2005/09/outbound\"><r:Ack>true</r:Ack></r:notificationsResponse>\
                   </e:Body></e:Envelope>";
const FAULT: &str = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><e:Fault>\
                     <faultcode>e:Client</faultcode><faultstring>unknown organization</faultstring></e:Fault></e:Body>\
                     </e:Envelope>";

fn nack() -> String {
    ACK.replace("true", "false")
}

fn acks() -> Respond {
    Box::new(|_, _| Some((200, ACK.to_owned())))
}

/// A folder with `two.xml`, an envelope of two notifications.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let notices = [
        Notice { id: "04l000000000001AAA", record: "006000000000001AAA", fields: "<sf:Amount>45000.0</sf:Amount>" },
        Notice {
            id: "04l000000000002AAA", record: "006000000000002AAA", fields: "<sf:Name>Zürich &amp; Co</sf:Name>"
        },
    ];
    std::fs::write(folder.path().join("two.xml"), envelope(&notices)).unwrap();
    folder
}

async fn send(folder: &tempfile::TempDir, to: &str, arguments: &[&str]) -> (Option<i32>, Value, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omgate"));
    command.current_dir(folder.path()).args(["send", "--json", "--to", to]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), summary, output)
}

fn parsed(body: &str) -> Envelope {
    parse::envelope(body.as_bytes(), None, &parse::Limits::default(), None).unwrap()
}

/// The notification ids of everything that arrived, with how often each came and how many contents it had.
fn arrived_ids(sink: &Sink) -> BTreeMap<String, (usize, BTreeSet<[u8; 32]>)> {
    let mut ids: BTreeMap<String, (usize, BTreeSet<[u8; 32]>)> = BTreeMap::new();
    for request in sink.arrived() {
        for notification in parsed(&request.body).notifications {
            let entry = ids.entry(notification.id().unwrap().to_string()).or_default();
            entry.0 += 1;
            entry.1.insert(notification.hash);
        }
    }
    ids
}

#[tokio::test]
async fn a_file_goes_out_to_the_byte_with_the_headers_of_salesforce() {
    let (sink, folder) = (Sink::start(acks()).await, folder());
    let (code, summary, _) = send(&folder, &sink.url("/om/orders"), &["two.xml"]).await;
    assert_eq!(code, Some(0), "{summary}");
    for (name, expected) in
        [("envelopes", 1), ("notifications", 2), ("acks", 1), ("nacks", 0), ("faults", 0), ("errors", 0)]
    {
        assert_eq!(summary[name], expected, "{summary}");
    }
    assert!(summary["p50_ms"].is_number() && summary["p99_ms"].is_number(), "{summary}");
    let request = sink.arrived().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/om/orders"));
    assert_eq!(request.headers["content-type"], "text/xml; charset=utf-8");
    assert_eq!(request.headers["soapaction"], "\"\"");
    assert_eq!(request.body, std::fs::read_to_string(folder.path().join("two.xml")).unwrap());
}

#[tokio::test]
async fn whatever_is_no_acknowledgement_is_counted_and_fails() {
    let folder = folder();
    for (status, body, counted) in [
        (200, nack(), "nacks"),
        (500, FAULT.to_owned(), "faults"),
        (200, "<html>ok</html>".to_owned(), "errors"),
        (500, ACK.to_owned(), "errors"),
        (302, String::new(), "errors"),
        (200, "x".repeat(1 << 20), "errors"),
    ] {
        let sink = Sink::start(Box::new(move |_, _| Some((status, body.clone())))).await;
        let (code, summary, _) = send(&folder, &sink.url("/"), &["two.xml"]).await;
        assert_eq!((code, &summary[counted], &summary["acks"]), (Some(1), &1.into(), &0.into()), "{summary}");
        assert!(summary["last_failure"].is_string(), "{summary}");
    }
    let (code, summary, _) = send(&folder, &format!("http://127.0.0.1:{}/", free_port()), &["two.xml"]).await;
    assert_eq!((code, &summary["errors"]), (Some(1), &1.into()), "{summary}");
}

#[tokio::test]
async fn an_envelope_is_sent_again_until_it_is_acknowledged() {
    let folder = folder();
    let sink = Sink::start(Box::new(|number, _| match number {
        0 => Some((200, nack())),
        1 => Some((500, FAULT.to_owned())),
        2 => None,
        _ => Some((200, ACK.to_owned())),
    }))
    .await;
    let (code, summary, _) = send(&folder, &sink.url("/"), &["two.xml", "--retry=10ms"]).await;
    assert_eq!(code, Some(0), "{summary}");
    for (name, expected) in [("envelopes", 1), ("acks", 1), ("nacks", 1), ("faults", 1), ("errors", 1)] {
        assert_eq!(summary[name], expected, "{summary}");
    }
    let bodies: BTreeSet<String> = sink.arrived().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn fresh_ids_are_fresh_and_batches_have_the_size_asked_for() {
    let (sink, folder) = (Sink::start(acks()).await, folder());
    let arguments = ["two.xml", "--new-ids", "--count", "30", "--notifications", "100", "--connections", "4"];
    let (code, summary, _) = send(&folder, &sink.url("/"), &arguments).await;
    assert_eq!((code, &summary["notifications"]), (Some(0), &3_000.into()), "{summary}");
    let (mut ids, mut records) = (BTreeSet::new(), BTreeSet::new());
    for request in sink.arrived() {
        let envelope = parsed(&request.body);
        assert_eq!(envelope.notifications.len(), 100);
        for notification in envelope.notifications {
            ids.insert(notification.id().unwrap().to_string());
            records.insert(notification.record().unwrap().id().unwrap().to_owned());
        }
    }
    assert_eq!((ids.len(), records.len()), (3_000, 3_000));
    assert!(ids.iter().all(|id| id.len() == 18 && id.starts_with("04l")), "{ids:?}");
    assert!(records.iter().all(|id| id.len() == 18 && id.starts_with("006")), "{records:?}");
}

#[tokio::test]
async fn duplicates_repeat_and_changed_repeats_differ_and_a_seed_draws_the_same_again() {
    let folder = folder();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sink = Sink::start(acks()).await;
        let arguments =
            ["two.xml", "--new-ids", "--count", "50", "--duplicates", "20%", "--changed", "20%", "--seed", "7"];
        let (code, summary, _) = send(&folder, &sink.url("/"), &arguments).await;
        assert_eq!(code, Some(0), "{summary}");
        let ids = arrived_ids(&sink);
        let repeats: usize = ids.values().map(|(times, _)| times - 1).sum();
        let revisions: usize = ids.values().map(|(_, contents)| contents.len() - 1).sum();
        assert!((20..=60).contains(&repeats), "{repeats}");
        assert!((8..repeats - 5).contains(&revisions), "{revisions} of {repeats}");
        runs.push(sink.arrived().into_iter().map(|request| request.body).collect::<Vec<_>>());
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_rate_spreads_the_envelopes_over_time() {
    let (sink, folder) = (Sink::start(acks()).await, folder());
    let begun = Instant::now();
    let arguments = ["two.xml", "--count", "6", "--rate", "20/s", "--connections", "3"];
    let (code, summary, _) = send(&folder, &sink.url("/"), &arguments).await;
    assert_eq!((code, &summary["envelopes"]), (Some(0), &6.into()));
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_no_envelope_goes_out_as_it_is_but_cannot_be_changed_on_its_way() {
    let (sink, folder) = (Sink::start(acks()).await, folder());
    std::fs::write(folder.path().join("broken.xml"), b"<a>\xff").unwrap();
    std::fs::write(folder.path().join("other.xml"), b"<a/>").unwrap();
    let (code, summary, _) = send(&folder, &sink.url("/"), &["other.xml"]).await;
    assert_eq!((code, &summary["notifications"]), (Some(0), &0.into()), "{summary}");
    assert_eq!(sink.arrived()[0].body, "<a/>");
    for (arguments, expected) in [
        (
            &["broken.xml", "--new-ids"][..],
            "broken.xml cannot be changed on its way, only sent as it is: it is not UTF-8",
        ),
        (&["other.xml", "--new-ids"], "there is no Notification in it"),
        (&["missing.xml"], "reading missing.xml"),
        (&["two.xml", "--rate", "0"], "0.001 or more"),
        (&["two.xml", "--timeout", "5"], "a time needs a unit"),
        (&["two.xml", "--notifications", "101"], "101"),
        (&["two.xml", "--connections", "0"], "0"),
    ] {
        let (code, _, output) = send(&folder, &sink.url("/"), arguments).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code != Some(0) && error.contains(expected), "{arguments:?}: {error}");
    }
    let (code, _, output) = send(&folder, "localhost:1", &["two.xml"]).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(code == Some(1) && error.contains("not an http or https address"), "{error}");
    assert_eq!(sink.arrived().len(), 1);
}

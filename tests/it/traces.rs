//! One trace for each envelope, to a collector that reads the protocol's bytes; and what destinations are told of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(40);

/// The fields of a protobuf message: number → values, of which those with a length are bytes.
struct Message<'a>(Vec<(u64, Wire<'a>)>);

#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    fn read(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let wire = match tag & 7 {
                0 => Wire::Number(varint(&mut bytes)),
                1 => Wire::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    Wire::Bytes(take(&mut bytes, length))
                }
                5 => Wire::Number(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into()),
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, wire));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> Vec<Self> {
        self.bytes(number).into_iter().map(Self::read).collect()
    }

    fn bytes(&self, number: u64) -> Vec<&'a [u8]> {
        let bytes = |(found, wire): &(u64, Wire<'a>)| match wire {
            Wire::Bytes(bytes) if *found == number => Some(*bytes),
            _ => None,
        };
        self.0.iter().filter_map(bytes).collect()
    }

    fn number(&self, number: u64) -> u64 {
        let found = self.0.iter().find_map(|(found, wire)| match wire {
            Wire::Number(value) if *found == number => Some(*value),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn text(&self, number: u64) -> String {
        self.bytes(number).first().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
    }

    fn hex(&self, number: u64) -> String {
        self.bytes(number).concat().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Attributes, as text.
    fn attributes(&self, number: u64) -> BTreeMap<String, String> {
        let one = |pair: Message<'_>| {
            let value = &pair.all(2)[0];
            let text = if value.bytes(1).is_empty() { value.number(3).to_string() } else { value.text(1) };
            (pair.text(1), text)
        };
        self.all(number).into_iter().map(one).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    unreachable!()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

/// A span as the collector has it.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    begun: u64,
    ended: u64,
    failed: bool,
    attributes: BTreeMap<String, String>,
    /// Of the gateway.
    resource: BTreeMap<String, String>,
}

fn spans(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in Message::read(body).all(1) {
        let resource = of_resource.all(1)[0].attributes(1);
        for span in of_resource.all(2).iter().flat_map(|scope| scope.all(2)) {
            spans.push(Span {
                trace: span.hex(1),
                id: span.hex(2),
                parent: span.hex(4),
                name: span.text(5),
                kind: span.number(6),
                begun: span.number(7),
                ended: span.number(8),
                failed: span.all(15).first().is_some_and(|status| status.number(3) == 2),
                attributes: span.attributes(9),
                resource: resource.clone(),
            });
        }
    }
    spans
}

/// One request: its head, and its body.
async fn request(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        stream.read_line(&mut head).await.ok().filter(|&read| read > 0)?;
        let line = head[start..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// What comes in while the test looks on.
type Shared<T> = Arc<Mutex<Vec<T>>>;

/// A collector in the test's own process.
struct Collector {
    url: String,
    spans: Shared<Span>,
    heads: Shared<String>,
}

impl Collector {
    async fn start(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (all, heads): (Shared<Span>, Shared<String>) = Default::default();
        let (kept, said) = (Arc::clone(&all), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, said) = (Arc::clone(&kept), Arc::clone(&said));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some((head, body)) = request(&mut stream).await {
                        said.lock().unwrap().push(head);
                        kept.lock().unwrap().extend(spans(&body));
                        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, spans: all, heads }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// Waits until so many spans with a name are there.
    async fn until(&self, name: &str, count: usize) -> Vec<Span> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: Vec<Span> = self.spans().into_iter().filter(|span| span.name == name).collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{count} spans {name} did not come: {:#?}", self.spans());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn configuration(store: &str, url: &str, telemetry: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
name = "gate-1"

[store]
url = "{store}"
{telemetry}

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "erp"
kind = "rest"
method = "PUT"
url = "{url}/orders/{{{{ record.Id }}}}"
retry = {{ first = "50ms", max_wait = "100ms" }}

[[route]]
name = "won"
source = "orders"
destination = "erp"
"#
    )
}

fn two() -> String {
    let fields = "<sf:Name>jane</sf:Name>";
    envelope(&[
        Notice { id: "04l1", record: "006A0000001AAA", fields },
        Notice { id: "04l2", record: "006A0000002AAA", fields },
    ])
}

async fn pause(gateway: &Process, verb: &str) {
    let (status, answer) = gateway.change(&format!("/api/v1/systems/erp/{verb}"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

/// What a destination was told: trace and span.
fn parent(arrived: &Arrived) -> (String, String) {
    let header = arrived.headers.get("traceparent").cloned().unwrap_or_default();
    let parts: Vec<&str> = header.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[3]), (4, "00", "01"), "{header}");
    (parts[1].to_owned(), parts[2].to_owned())
}

fn delivered(ledger: &Value) -> bool {
    ledger["deliveries"]["delivered"] == 2
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_is_one_trace_through_to_each_attempt_also_after_a_restart() {
    let collector = Collector::start(200).await;
    let sink = Sink::start(Box::new(|number, _| Some((if number == 0 { 503 } else { 200 }, String::new())))).await;
    let telemetry = format!(
        "[telemetry]\notlp = \"{}\"\nservice_name = \"orders\"\nheaders = {{ X-Key = \"${{file:key}}\" }}",
        collector.url
    );
    let mut gateway = Process::prepare(&configuration("sqlite:omgate.db", &sink.url(""), &telemetry));
    std::fs::write(gateway.folder.path().join("key"), "s3cr3t").unwrap();
    gateway.start(&[]).await;
    pause(&gateway, "pause").await;
    assert!(gateway.post("/om/orders", two()).await.unwrap().is_ack());
    let roots = collector.until("envelope", 1).await;
    gateway.stop().await;
    gateway.start(&[]).await;
    pause(&gateway, "resume").await;
    gateway.until(PATIENCE, delivered).await;
    let attempts = collector.until("attempt", 3).await;

    let root = &roots[0];
    assert_eq!((root.parent.as_str(), root.kind, root.attributes["omgate.notifications"].as_str()), ("", 2, "2"));
    assert_eq!(root.attributes["omgate.source"], "orders");
    assert_eq!(
        (root.resource["service.name"].as_str(), root.resource["service.instance.id"].as_str()),
        ("orders", "gate-1")
    );
    for step in ["parse", "route", "store"] {
        let [step] = collector.until(step, 1).await.try_into().unwrap();
        assert_eq!((&step.trace, &step.parent), (&root.trace, &root.id));
        assert!(step.begun >= root.begun && step.ended <= root.ended && step.begun <= step.ended, "{step:?}");
    }
    assert_eq!(attempts.len(), 3);
    for attempt in &attempts {
        assert_eq!((&attempt.trace, &attempt.parent, attempt.kind), (&root.trace, &root.id, 3));
        let said = |key: &str| attempt.attributes[key].as_str();
        assert_eq!(
            (said("omgate.route"), said("omgate.destination"), said("http.request.method")),
            ("won", "erp", "PUT")
        );
        assert_eq!(attempt.failed, said("http.response.status_code") == "503");
        assert_eq!(said("omgate.outcome"), if attempt.failed { "retry" } else { "delivered" });
    }
    let mut of_spans: Vec<_> = attempts.iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
    let mut of_calls: Vec<_> = sink.arrived().iter().map(parent).collect();
    of_spans.sort();
    of_calls.sort();
    assert_eq!(of_spans, of_calls, "each call names its attempt");
    let said = format!("{:?}", collector.spans());
    for nothing in ["jane", "006A", "04l"] {
        assert!(!said.contains(nothing), "{nothing} is in {said}");
    }
    let heads = collector.heads.lock().unwrap().concat();
    assert!(
        heads.contains("POST /v1/traces ")
            && heads.contains("x-key: s3cr3t")
            && heads.contains("application/x-protobuf"),
        "{heads}"
    );
    assert!(!gateway.log().contains("s3cr3t"));
    let metrics = gateway.admin("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("omgate_spans_total{result=\"sent\"}"), "{metrics}");
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_goes_on_with_the_trace() {
    let Some(database) = crate::postgres::database() else { return };
    let collector = Collector::start(200).await;
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    let telemetry = format!("[telemetry]\notlp = \"{}\"", collector.url);
    let text = configuration(&database, &sink.url(""), &telemetry);
    let (mut one, mut other) = (Process::prepare(&text), Process::prepare(&text.replace("gate-1", "gate-2")));
    one.start(&[]).await;
    pause(&one, "pause").await;
    assert!(one.post("/om/orders", two()).await.unwrap().is_ack());
    let roots = collector.until("envelope", 1).await;
    one.stop().await;
    other.start(&[]).await;
    pause(&other, "resume").await;
    other.until(PATIENCE, delivered).await;
    for attempt in collector.until("attempt", 2).await {
        assert_eq!((&attempt.trace, &attempt.parent), (&roots[0].trace, &roots[0].id));
        assert_eq!(attempt.resource["service.instance.id"], "gate-2");
    }
    other.stop().await;
    crate::postgres::remove(&database);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_dead_or_refuses_costs_a_count_and_nothing_else() {
    let refusing = Collector::start(400).await;
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    for collector in ["http://127.0.0.1:9", refusing.url.as_str()] {
        let telemetry = format!("[telemetry]\notlp = \"{collector}\"");
        let mut gateway = Process::prepare(&configuration("sqlite:omgate.db", &sink.url(""), &telemetry));
        gateway.start(&[]).await;
        assert!(gateway.post("/om/orders", two()).await.unwrap().is_ack());
        gateway.until(PATIENCE, delivered).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = gateway.admin("/metrics").await;
            if metrics.as_str().unwrap().contains("omgate_spans_total{result=\"failed\"}") {
                break;
            }
            assert!(Instant::now() < deadline, "{metrics}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let stopping = Instant::now();
        gateway.stop().await;
        assert!(stopping.elapsed() < Duration::from_secs(15), "{:?}", stopping.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_or_outside_of_the_sample_nobody_is_told_and_a_reload_counts() {
    let collector = Collector::start(200).await;
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    let text = |telemetry: &str| configuration("sqlite:omgate.db", &sink.url(""), telemetry);
    let mut gateway =
        Process::prepare(&text(&format!("[telemetry]\notlp = \"{}\"\nsample_ratio = 0.0", collector.url)));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", two()).await.unwrap().is_ack());
    gateway.until(PATIENCE, delivered).await;
    assert!(sink.arrived().iter().all(|arrived| !arrived.headers.contains_key("traceparent")));
    gateway.configure(&text(&format!("[telemetry]\notlp = \"{}/v1/traces\"", collector.url)));
    assert!(gateway.command(&["reload"]).status.success());
    let body = envelope(&[Notice { id: "04l3", record: "006A0000003AAA", fields: "" }]);
    assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    let [attempt] = collector.until("attempt", 1).await.try_into().unwrap();
    assert_eq!(parent(sink.arrived().last().unwrap()), (attempt.trace, attempt.id));
    let paths = collector.heads.lock().unwrap().concat();
    assert!(paths.contains("POST /v1/traces ") && !paths.contains("/v1/traces/v1"), "{paths}");
}

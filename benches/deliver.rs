//! Deliveries a second to a local target, settled durably, against the same HTTP client with no store at all.
//!
//! `cargo bench --bench deliver [-- --count N] [--at-once N] [--rounds N]`: fills a store with N deliveries in N/10 lanes,
//! lets the dispatch carry them to a sink in this process, and checks that each lane arrived in order. Before and after, the
//! client alone makes as many calls of the same kind. The ratio is what to look at, the middle one of several rounds, each
//! with a store of its own; times are this machine's, and differ by a third from one second to the next.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, clippy::allow_attributes_without_reason, unreachable_pub)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use omgate::call::Call;
use omgate::clock::{SystemClock, Timestamp};
use omgate::config;
use omgate::deliver::{self, Target};
use omgate::dispatch::{self, Dispatch};
use omgate::outcome::Exchange;
use omgate::secret::Text;
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{Accept, Incoming, Store};
use omgate::telemetry::{Alarms, Metrics, Traces};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use self::support::messages::{self, THEN};

mod support;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Asked of the dispatch: this part of what the client does alone.
const RATIO_MIN: f64 = 0.25;
/// Deliveries of one lane.
const IN_LANE: u64 = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str, usual: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(usual)
    };
    let (count, at_once, rounds) = (value("--count", 20_000), value("--at-once", 256), value("--rounds", 5));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(bench(count, at_once, rounds.max(1)));
}

async fn bench(count: u64, at_once: u64, rounds: u64) {
    let sink = Sink::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    std::fs::write(&path, configuration(sink.address, at_once)).unwrap();
    let loaded = config::load(&path).unwrap();
    let target = loaded.plan.destinations["sink"].target.clone();

    println!(
        "{:<8} {:>18} {:>18} {:>18}   ratio",
        "a second", "the client alone", "omgate, settled", "the client alone"
    );
    // The first calls open the connections.
    client_alone(&sink, &target, count, at_once).await;
    let mut before = client_alone(&sink, &target, count, at_once).await;
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let ours = dispatched(&sink, &loaded, &folder.path().join(format!("{round}.db")), count).await;
        let after = client_alone(&sink, &target, count, at_once).await;
        let ratio = ours / f64::midpoint(before, after);
        println!("{round:<8} {before:>18.0} {ours:>18.0} {after:>18.0}   {ratio:.3}");
        ratios.push(ratio);
        before = after;
    }
    ratios.sort_by(f64::total_cmp);
    let middle = ratios[ratios.len() / 2];
    println!("ratio {middle:.3} with {at_once} calls at once, at least {RATIO_MIN} is asked");
    assert!(middle >= RATIO_MIN, "omgate delivers too slowly");
}

fn configuration(sink: SocketAddr, at_once: u64) -> String {
    format!(
        r#"
[store]
url = "sqlite:unused.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "sink"
kind = "rest"
method = "POST"
url = "http://{sink}/in"
concurrency = {at_once}

[[route]]
name = "orders"
source = "orders"
destination = "sink"
"#
    )
}

/// Calls a second of the client with no store.
async fn client_alone(sink: &Sink, target: &Target, count: u64, at_once: u64) -> f64 {
    sink.forget();
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let callers = (0..at_once).map(|_| {
        let (next, target, address) = (Arc::clone(&next), target.clone(), sink.address);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= count {
                    return;
                }
                let exchange = deliver::send(&target, &call(address, number)).await;
                assert!(matches!(exchange, Exchange::Answered(answer) if answer.status == 200));
            }
        })
    });
    try_join_all(callers).await.unwrap();
    let elapsed = started.elapsed();
    assert_eq!(sink.count(), count);
    count as f64 / elapsed.as_secs_f64()
}

/// A call such as the dispatch makes.
fn call(sink: SocketAddr, number: u64) -> Call {
    let body = format!(
        "{{\"organization_id\":\"00D24000000abcdEAA\",\"action_id\":\"04k24000000HfHaAAK\",\"notification_id\":\"04l{number:012}AAA\",\
         \"source\":\"orders\",\"received_at\":\"2026-09-21T14:13:20.000Z\",\"record_type\":\"Order__c\",\"record\":{{\"Id\":\"006{:012}AAA\",\
         \"Name\":\"{}\",\"Version__c\":\"{}\"}}}}",
        number / IN_LANE,
        "n".repeat(200),
        number % IN_LANE
    );
    Call {
        method: "POST".to_owned(),
        url: Text::plain(format!("http://{sink}/in")),
        headers: vec![
            ("Content-Type".to_owned(), Text::plain("application/json")),
            ("Idempotency-Key".to_owned(), Text::plain(format!("0b2c8f5e-0000-5000-8000-{number:012}"))),
        ],
        id: format!("0b2c8f5e-0000-5000-8000-{number:012}"),
        trace: None,
        body: Bytes::from(body),
        timeout: Duration::from_secs(30),
    }
}

/// Deliveries a second of the dispatch, from the first claim to the last settlement on disk.
async fn dispatched(sink: &Sink, loaded: &config::Loaded, path: &Path, count: u64) -> f64 {
    sink.forget();
    let clock = SystemClock::shared();
    let store: Arc<dyn Store> = SqliteStore::open(Options::new(path.to_owned(), Arc::clone(&clock))).unwrap();
    let config_version = store.save_config(loaded.stored.clone(), clock.now()).await.unwrap();
    let numbers: Vec<u64> = (0..count).collect();
    for numbers in numbers.chunks(100) {
        let notifications = numbers.iter().map(|number| notification(*number)).collect();
        let accept = Accept { config_version, ..messages::carrying(notifications, Timestamp(THEN)) };
        store.accept(accept).await.unwrap();
    }
    let metrics = Arc::new(Metrics::default());
    let parts = dispatch::Parts {
        store: Arc::clone(&store),
        plan: Arc::clone(&loaded.plan),
        config_version,
        recall: Box::new(|_| None),
        transport: Arc::new(deliver::Http),
        clock,
        alarms: Arc::new(Alarms::new(Arc::clone(&metrics))),
        traces: Traces::off(),
        metrics,
    };
    let started = Instant::now();
    let dispatch = Dispatch::start(parts).await.unwrap();
    while store.ledger().await.unwrap().deliveries.delivered < i64::try_from(count).unwrap() {
        assert!(started.elapsed() < Duration::from_secs(600), "{:?}", store.ledger().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = started.elapsed();
    dispatch.drain(Duration::from_secs(1)).await;
    store.close().await;
    sink.check_order(count);
    count as f64 / elapsed.as_secs_f64()
}

/// Those of one lane come one behind the other.
fn notification(number: u64) -> Incoming {
    let record_id = format!("006{:012}AAA", number / IN_LANE);
    let xml = format!(
        "<sObject xsi:type=\"sf:Order__c\" xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><sf:Id>{record_id}</sf:Id><sf:Name>{}</sf:Name>\
         <sf:Version__c>{}</sf:Version__c></sObject>",
        "n".repeat(200),
        number % IN_LANE
    );
    let deliveries = vec![messages::planned("sink", "sink", &record_id)];
    Incoming { record_type: "Order__c".to_owned(), xml, deliveries, record_id, ..messages::notification(number) }
}

/// Takes everything, and remembers what it was.
struct Sink {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Sink {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        // A burst of connections that the queue does not hold would wait seconds for the kernel's next try.
        let listener = socket.listen(4_096).unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&arrived);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all)));
            }
        });
        Self { address, arrived }
    }

    fn forget(&self) {
        self.arrived.lock().unwrap().clear();
    }

    fn count(&self) -> u64 {
        self.arrived.lock().unwrap().len() as u64
    }

    fn check_order(&self, count: u64) {
        let mut lanes: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (lane, version) in self.arrived.lock().unwrap().iter() {
            lanes.entry(*lane).or_default().push(*version);
        }
        let all: u64 = lanes.values().map(|versions| versions.len() as u64).sum();
        assert_eq!(all, count, "each once");
        for (lane, versions) in lanes {
            assert!(versions.is_sorted_by(|one, other| one < other), "lane {lane} arrived as {versions:?}");
        }
    }
}

async fn serve(mut stream: TcpStream, all: Arc<Mutex<Vec<(u64, u64)>>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = whole(&buffer) {
                break end;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let request = String::from_utf8_lossy(&buffer[..end]);
        let number = |before: &str, length: usize| {
            let at = request.find(before)? + before.len();
            request.get(at..at + length)?.parse().ok()
        };
        let arrived = (number("\"Id\":\"006", 12)?, number("\"Version__c\":\"", 1)?);
        all.lock().unwrap().push(arrived);
        buffer.drain(..end);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.ok()?;
    }
}

/// Where the first whole request ends.
fn whole(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).ok()?.to_ascii_lowercase();
    let length = text.split_once("content-length:")?.1.split("\r\n").next()?.trim().parse::<usize>().ok()?;
    (buffer.len() >= head + length).then_some(head + length)
}

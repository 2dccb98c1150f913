//! `kill -9` at random moments and at named points: nothing acknowledged is lost, nothing is sent twice unaccounted.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Notice, Process, Sink, envelope};

pub(crate) const LOADERS: usize = 6;
const RECORDS_PER_LOADER: usize = 5;

/// At each of these the process dies by itself.
pub(crate) const POINTS: [&str; 8] = [
    "after-read",
    "before-commit",
    "after-commit",
    "before-ack",
    "after-ack",
    "after-claim",
    "after-send",
    "after-response",
];

pub(crate) fn configuration(url: &str) -> String {
    configuration_with("sqlite:omgate.db", url)
}

/// A gateway with this store, that delivers to this URL.
pub(crate) fn configuration_with(store: &str, url: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
drain = "2s"

[store]
url = "{store}"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "sink"
kind = "rest"
method = "POST"
url = "{url}"
timeout = "5s"
retry = {{ first = "50ms", factor = 1.5, max_wait = "500ms" }}

[[route]]
source = "orders"
destination = "sink"
"#
    )
}

/// What the loaders know: the notifications that were acknowledged, with their record and version.
pub(crate) type Acked = Arc<Mutex<BTreeMap<String, (String, u64)>>>;

/// How long a loader that is told to stop goes on with what is not acknowledged yet.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Posts rising versions of its own records, each until it is acknowledged, as Salesforce does: to one gateway after the
/// other, where there are several. What it gave up half-way could still be stored when the books are looked at, so it stops
/// only between two envelopes.
pub(crate) async fn loader(number: usize, public: Vec<u16>, acked: Acked, stop: Arc<AtomicBool>) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let mut ports = public.iter().cycle().skip(number);
    let mut told = None;
    for version in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let batch = 1 + version % 3;
        let notices: Vec<(String, String, String)> = (0..batch)
            .map(|offset| {
                let record = format!("006L{number:03}{:08}AAA", (version + offset) % RECORDS_PER_LOADER as u64);
                let id = format!("04l{number:03}{version:08}{offset}AAA");
                (id, record, format!("<sf:Version__c>{version}</sf:Version__c>"))
            })
            .collect();
        let body =
            envelope(&notices.iter().map(|(id, record, fields)| Notice { id, record, fields }).collect::<Vec<_>>());
        loop {
            if stop.load(Ordering::SeqCst) {
                let told = told.get_or_insert_with(Instant::now);
                assert!(told.elapsed() < STOP_MAX, "an envelope is never acknowledged");
            }
            let url = format!("http://127.0.0.1:{}/om/orders", ports.next().unwrap());
            let sent = http.post(&url).header("Content-Type", "text/xml").body(body.clone()).send().await;
            let answer = match sent {
                Ok(response) => response.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            if answer.contains("<Ack>true</Ack>") {
                let mut acked = acked.lock().unwrap();
                acked.extend(notices.into_iter().map(|(id, record, _)| (id, (record, version))));
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn rounds() -> u64 {
    std::env::var("OMGATE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A small generator: the same seed kills at the same moments, as far as the machine allows.
pub(crate) fn moment(seed: u64, round: u64) -> Duration {
    let mut state = seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_millis(20 + (state ^ (state >> 31)) % 700)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_acknowledged_survives_kill_9_and_is_delivered_in_order_and_accounted_for() {
    let seed = std::env::var("OMGATE_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_123);
    println!("seed {seed}: OMGATE_CRASH_SEED repeats it");
    let sink = Sink::start(Box::new(|number, _| match number % 41 {
        17 => Some((503, "busy".to_owned())),
        29 => None,
        _ => Some((200, String::new())),
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("/in")));
    let (acked, stop): (Acked, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let loaders: Vec<_> = (0..LOADERS)
        .map(|number| tokio::spawn(loader(number, vec![gateway.public], Arc::clone(&acked), Arc::clone(&stop))))
        .collect();
    for (pass, point) in [1, 7].into_iter().flat_map(|pass| POINTS.iter().map(move |point| (pass, point))) {
        gateway.spawn(&[("OMGATE_KILL_AT", &format!("{point}:{pass}"))]);
        assert!(gateway.died(Duration::from_secs(20)).await, "nothing passed {point} {pass} times: {}", gateway.log());
    }
    for round in 0..rounds() {
        gateway.start(&[]).await;
        tokio::time::sleep(moment(seed, round)).await;
        gateway.kill();
    }
    gateway.start(&[]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for loader in loaders {
        loader.await.unwrap();
    }
    let started = Instant::now();
    // What piled up meanwhile goes out in thirty lanes, a few hundred a second.
    let patience =
        Duration::from_secs(60) + Duration::from_millis(10) * u32::try_from(acked.lock().unwrap().len()).unwrap();
    let ledger = gateway
        .until(patience, |ledger| {
            ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
        })
        .await;
    println!("idle {} ms after the last envelope", started.elapsed().as_millis());
    check(&ledger, &acked.lock().unwrap(), &sink);
    gateway.stop().await;
    let verified = gateway.command(&["store", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

pub(crate) fn check(ledger: &serde_json::Value, acked: &BTreeMap<String, (String, u64)>, sink: &Sink) {
    assert_eq!(ledger["balanced"], true, "{ledger:#}");
    let unique = ledger["notifications"]["unique"].as_u64().unwrap();
    assert_eq!(ledger["deliveries"]["delivered"].as_u64(), Some(unique), "{ledger:#}");
    let mut first_seen: HashMap<String, Vec<u64>> = HashMap::new();
    let mut times: HashMap<String, (String, u64, u64)> = HashMap::new();
    let mut arrived = 0_u64;
    for (number, request) in sink.arrived().iter().enumerate() {
        if number % 41 == 17 {
            continue; // this one was told 503: it was not taken
        }
        arrived += 1;
        let body = request.json();
        let id = body["notification_id"].as_str().unwrap().to_owned();
        let record = body["record"]["Id"].as_str().unwrap().to_owned();
        let version = body["record"]["Version__c"].as_str().unwrap().parse().unwrap();
        let entry = times.entry(id).or_insert_with(|| {
            first_seen.entry(record.clone()).or_default().push(version);
            (request.key().to_owned(), version, 0)
        });
        assert_eq!(entry.0, request.key(), "the same delivery came with another key");
        entry.2 += 1;
    }
    for id in acked.keys() {
        assert!(times.contains_key(id), "{id} was acknowledged and never arrived");
    }
    assert_eq!(times.len() as u64, unique, "what arrived is not what was stored");
    let unknown = ledger["attempts"]["unknown"].as_u64().unwrap();
    let repeats = arrived - unique;
    println!("{} acknowledged, {unique} stored, {repeats} repeats, {unknown} attempts unknown", acked.len());
    assert!(repeats <= unknown, "{repeats} repeats but only {unknown} unknown attempts");
    for (record, versions) in first_seen {
        assert!(versions.is_sorted(), "record {record} arrived out of order: {versions:?}");
    }
}

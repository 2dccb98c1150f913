//! Another configuration while the gateway runs: taken whole or not at all, and nothing under way notices.

mod files;
mod orphans;
mod systems;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway's configuration: keys of `[server]`, and whatever sections follow the one source.
fn configuration(server: &str, sections: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
drain = "10s"
{server}

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

{sections}
"#
    )
}

/// A REST destination with more keys, and a route to it of its own name.
fn way(name: &str, url: &str, keys: &str) -> String {
    format!(
        r#"
[[destination]]
name = "{name}"
kind = "rest"
method = "POST"
url = "{url}"
timeout = "30s"
retry = {{ first = "50ms", max_wait = "500ms" }}
{keys}

[[route]]
name = "{name}"
source = "orders"
destination = "{name}"
"#
    )
}

async fn ok_sink() -> Sink {
    Sink::start(Box::new(|_, _: &Arrived| Some((200, "{}".to_owned())))).await
}

fn notice(number: usize) -> String {
    let (id, record) = (format!("04l{number:06}"), format!("006A{number:08}AAA"));
    envelope(&[Notice { id: &id, record: &record, fields: "<sf:Name>A</sf:Name>" }])
}

async fn post(gateway: &Process, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        assert!(gateway.post("/om/orders", notice(number)).await.unwrap().is_ack());
    }
}

async fn reload(gateway: &Process, body: Value) -> (u16, Value) {
    gateway.change("/api/v1/reload", &body).await
}

/// Reloads and expects it to be taken.
async fn taken(gateway: &Process, configuration: &str) -> Value {
    gateway.configure(configuration);
    let (status, answer) = reload(gateway, json!({"orphans": "keep"})).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(true)), "{answer:#}");
    answer
}

fn settled(ledger: &Value) -> bool {
    ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
}

/// A target that answers a request only when it is let go.
struct Gated {
    url: String,
    under_way: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Gated {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (under_way, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, opened) = (Arc::clone(&under_way), Arc::clone(&gate));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (count, opened) = (Arc::clone(&count), Arc::clone(&opened));
                tokio::spawn(async move {
                    // A request comes whole and small; one a connection.
                    let mut buffer = [0; 16 << 10];
                    if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        count.fetch_add(1, Ordering::SeqCst);
                        opened.acquire().await.unwrap().forget();
                        count.fetch_sub(1, Ordering::SeqCst);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
        Self { url, under_way, gate }
    }

    fn let_go(&self, requests: usize) {
        self.gate.add_permits(requests);
    }

    /// Waits until so many are under way, and no other number of them is ever more.
    async fn until(&self, count: usize, at_most: usize) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let now = self.under_way.load(Ordering::SeqCst);
            assert!(now <= at_most, "{now} calls at once, where {at_most} may be");
            if now == count {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{now} calls under way, and not {count}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_taken_at_once_and_says_what_is_new() {
    let (old, new) = (ok_sink().await, ok_sink().await);
    let mut gateway = Process::prepare(&configuration("", &way("a", &old.url("/"), "")));
    gateway.start(&[]).await;
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    let next = way("b", &new.url("/"), "concurrency = 3") + &way("c", &new.url("/"), "");
    gateway.configure(&configuration("watch = false", &next));
    let (status, answer) = reload(&gateway, json!({"reason": "the new system"})).await;
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(
        answer["added"],
        json!(["destination b", "destination c", "route b", "route c", "system b", "system c"])
    );
    assert_eq!(answer["removed"], json!(["destination a", "route a", "system a"]));
    assert!(answer["files"][0].as_str().unwrap().ends_with("omgate.toml"), "{answer:#}");
    assert_eq!((&answer["version"], &answer["orphans"], &answer["orphans_are"]), (&json!(2), &json!([]), &Value::Null));
    post(&gateway, [2]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!((old.arrived().len(), new.arrived().len()), (1, 2));
    let config = gateway.admin("/api/v1/config").await;
    assert_eq!(
        (&config["version"], &config["by"], &config["reason"]),
        (&json!(2), &json!("api"), &json!("the new system"))
    );
    let by: Vec<&str> =
        config["history"].as_array().unwrap().iter().map(|taken| taken["by"].as_str().unwrap()).collect();
    assert_eq!((by, &config["last_failed"]), (vec!["api", "start"], &Value::Null));
    let attempts = &gateway.admin("/api/v1/deliveries/2").await["attempts"];
    assert_eq!(attempts[0]["config_version"], 2, "{attempts:#}");
    let (status, answer) = reload(&gateway, json!({})).await;
    assert_eq!((status, &answer["changed"], &answer["version"]), (200, &json!(false), &json!(2)));
    assert_eq!(
        gateway.admin("/api/v1/config").await["history"].as_array().unwrap().len(),
        2,
        "nothing new, no new entry"
    );
    let status = String::from_utf8(gateway.command(&["status"]).stdout).unwrap();
    assert!(status.contains("configuration 2 in force since") && status.contains("(by api)"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_changes_nothing_and_is_told_everywhere() {
    let sink = ok_sink().await;
    let right = configuration("watch = false", &way("a", &sink.url("/"), ""));
    let mut gateway = Process::prepare(&right);
    gateway.start(&[]).await;
    gateway.configure(&right.replace("method = \"POST\"", "methd = \"POST\"").replace("concurrency", "concurency"));
    let (status, answer) = reload(&gateway, json!({"dry_run": true})).await;
    assert_eq!(status, 422, "{answer:#}");
    assert_eq!(gateway.admin("/api/v1/config").await["last_failed"], Value::Null, "it was only asked");
    let (status, answer) = reload(&gateway, json!({})).await;
    let problem = answer["problems"][0].as_str().unwrap();
    assert!(status == 422 && problem.contains("omgate.toml:") && problem.contains("methd"), "{status} {answer:#}");
    let output = gateway.command(&["reload"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("the one in force stays") && text.contains("did you mean"), "{text}");
    let failed = &gateway.admin("/api/v1/config").await["last_failed"];
    assert!(failed["by"] == "api" && failed["error"].as_str().unwrap().contains("methd"), "{failed}");
    let status = gateway.admin("/api/v1/status").await;
    assert!(status["alarms"].to_string().contains("methd") && status["ready"] == true, "{status:#}");
    assert!(gateway.log().contains("reload: the configuration is wrong"), "{}", gateway.log());
    let said = String::from_utf8(gateway.command(&["status"]).stdout).unwrap();
    assert!(said.contains("(by api) failed: the configuration is wrong"), "{said}");
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived().len(), 1, "the old one goes on");
    gateway.configure(&right);
    let (_, answer) = reload(&gateway, json!({})).await;
    assert_eq!(answer["changed"], false);
    let status = gateway.admin("/api/v1/status").await;
    assert_eq!((&status["alarms"], &status["config"]["last_failed"]), (&json!([]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_has_the_configuration_read_again() {
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration("watch = false", &way("a", &sink.url("/a"), "")));
    gateway.start(&[]).await;
    gateway.configure(&configuration("watch = false", &way("a", &sink.url("/b"), "")));
    gateway.hang_up();
    let config = gateway.admin_until("/api/v1/config", PATIENCE, |config| config["version"] == 2).await;
    assert_eq!(config["by"], "signal");
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived()[0].path, "/b");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_restart_is_named_and_everything_else_is_taken() {
    let sink = ok_sink().await;
    let limits = "[server.limits]\nqueue = 7\nbody = \"64KiB\"";
    let mut gateway = Process::prepare(&configuration("watch = false", &way("a", &sink.url("/a"), "")));
    gateway.start(&[]).await;
    let other = configuration(&format!("watch = false\nlog = \"json\"\n{limits}"), &way("a", &sink.url("/b"), ""));
    let other = other.replace("omgate.db", "other.db").replace("\"127.0.0.1:{public}\"", "\"127.0.0.1:1\"");
    let answer = taken(&gateway, &other).await;
    let keys = json!(["server.listen", "server.limits.queue", "server.log", "store.url"]);
    assert_eq!(answer["needs_restart"], keys);
    assert_eq!(gateway.admin("/api/v1/config").await["needs_restart"], keys, "it stands there until it is done");
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived()[0].path, "/b");
    let large = notice(2).replace("<sf:Name>A", &format!("<sf:Name>{}", "x".repeat(70 << 10)));
    assert_eq!(gateway.post("/om/orders", large).await.unwrap().status, 413, "other bounds of a body count at once");
    let answer = taken(&gateway, &configuration("watch = false", &way("a", &sink.url("/a"), ""))).await;
    assert_eq!(answer["needs_restart"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_and_go_with_their_paths() {
    let sink = ok_sink().await;
    let first = configuration("watch = false", &way("a", &sink.url("/"), ""));
    let mut gateway = Process::prepare(&first);
    gateway.start(&[]).await;
    let second = first.replace("/om/orders", "/om/moved").replace("00D24000000abcdEAA", "00D24000000zzzz");
    let answer = taken(&gateway, &second).await;
    assert_eq!((&answer["added"], &answer["removed"]), (&json!([]), &json!([])));
    assert_eq!(gateway.post("/om/orders", notice(1)).await.unwrap().status, 404);
    let stranger = gateway.post("/om/moved", notice(1)).await.unwrap();
    assert_eq!(stranger.status, 500, "other organizations are let in now: {}", stranger.body);
    let status = gateway.admin("/api/v1/status").await;
    assert!(status["alarms"].to_string().contains("orders/organization"), "{status:#}");
    let third = first.replace("\"orders\"", "\"leads\"").replace("/om/orders", "/om/leads");
    let answer = taken(&gateway, &third).await;
    assert_eq!((&answer["added"], &answer["removed"]), (&json!(["source leads"]), &json!(["source orders"])));
    assert!(gateway.post("/om/leads", notice(1)).await.unwrap().is_ack());
    assert_eq!(gateway.admin("/api/v1/status").await["alarms"], json!([]), "alarms of a source end with it");
}

/// Posts rising versions of its own records, each until it is acknowledged; how many notifications there were.
async fn loader(number: usize, public: u16, stop: Arc<AtomicBool>) -> usize {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let url = format!("http://127.0.0.1:{public}/om/orders");
    let mut posted = 0;
    for version in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let notices: Vec<(String, String, String)> = (0..4)
            .map(|place| {
                let record = format!("006L{number:03}{place:08}AAA");
                (
                    format!("04l{number:03}{version:08}{place}"),
                    record,
                    format!("<sf:Version__c>{version}</sf:Version__c>"),
                )
            })
            .collect();
        let notices: Vec<_> = notices.iter().map(|(id, record, fields)| Notice { id, record, fields }).collect();
        let sent = http.post(&url).header("Content-Type", "text/xml").body(envelope(&notices)).send().await.unwrap();
        let answer = sent.text().await.unwrap();
        assert!(answer.contains("<Ack>true</Ack>"), "a reload turns nobody away: {answer}");
        posted += 4;
        // What is kept of routes that are gone stops its lanes, so the backlog grows until the end.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    posted
}

/// Which configuration took which envelope is seen by the routes: one has `a` and `b`, the other `c` and `d`.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_nothing_double_nothing_keep_order_and_split_no_envelope() {
    let sink = ok_sink().await;
    let way = |name: &str, keys: &str| way(name, &sink.url(&format!("/{name}")), &format!("system = \"erp\"\n{keys}"));
    let one = configuration("watch = false", &(way("a", "concurrency = 4") + &way("b", "")));
    let other = configuration("watch = false", &(way("c", "concurrency = 9") + &way("d", "")));
    let all = configuration("watch = false", &["a", "b", "c", "d"].map(|name| way(name, "")).concat());
    let mut gateway = Process::prepare(&one);
    gateway.start(&[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loaders: Vec<_> =
        (0..4).map(|number| tokio::spawn(loader(number, gateway.public, Arc::clone(&stop)))).collect();
    for round in 0..20 {
        gateway.configure(if round % 2 == 0 { &other } else { &one });
        if round % 5 == 4 {
            gateway.hang_up();
        }
        let (status, answer) = reload(&gateway, json!({"orphans": "keep"})).await;
        assert_eq!(status, 200, "{answer:#}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut posted = 0;
    for loader in loaders {
        posted += loader.await.unwrap();
    }
    taken(&gateway, &all).await;
    let ledger = gateway.until(Duration::from_secs(90), settled).await;
    assert_eq!((&ledger["balanced"], &ledger["attempts"]["unknown"]), (&json!(true), &json!(0)));
    assert_eq!(ledger["notifications"]["routed"], json!(posted), "every one has its deliveries");
    assert_eq!(ledger["deliveries"]["delivered"], json!(2 * posted));
    let arrived = sink.arrived();
    assert_eq!(arrived.len(), 2 * posted, "each once");
    let mut envelopes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut versions: HashMap<(String, String), Vec<u64>> = HashMap::new();
    for request in &arrived {
        let body = request.json();
        let (id, record) = (body["notification_id"].as_str().unwrap(), body["record"]["Id"].as_str().unwrap());
        envelopes.entry(id[..id.len() - 1].to_owned()).or_default().insert(request.path.clone());
        let version = body["record"]["Version__c"].as_str().unwrap().parse().unwrap();
        versions.entry((record.to_owned(), request.path.clone())).or_default().push(version);
    }
    let kinds: BTreeSet<String> = envelopes.into_values().map(|paths| Vec::from_iter(paths).join("")).collect();
    assert_eq!(kinds, BTreeSet::from(["/a/b".to_owned(), "/c/d".to_owned()]), "an envelope was split");
    for (record, versions) in versions {
        assert!(versions.is_sorted(), "{record:?}: {versions:?}");
    }
    println!("{posted} notifications through 21 reloads or more");
    gateway.stop().await;
    assert!(gateway.log().contains("another configuration is in force"));
}

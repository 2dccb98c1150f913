//! `omgate send` against a listener that keeps what it gets and answers from a script.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use omgate::cli::send::{File, Ids, Plan, Retry, Summary, run_plan, run_plan_until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// One request as it came.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// What the listener does with a request.
#[derive(Clone, Debug)]
enum Reply {
    /// Answer with these bytes.
    Raw(String),
    /// Never answer.
    Silence,
    /// Close the connection.
    Close,
}

/// A listener: answers from its script, and acknowledges what comes after the script's end.
struct Listener {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Listener {
    async fn start(script: Vec<Reply>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/om/test?token=t", socket.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&script)));
            }
        });
        Self { address, requests }
    }

    fn bodies(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(Request::text).collect()
    }

    fn plan(&self, texts: &[&str]) -> Plan {
        let files = texts
            .iter()
            .enumerate()
            .map(|(at, text)| File { name: format!("file{at}.xml"), bytes: text.as_bytes().to_vec().into() });
        Plan::new(self.address.parse().unwrap(), files.collect())
    }
}

async fn serve(stream: TcpStream, kept: Arc<Mutex<Vec<Request>>>, script: Arc<Mutex<VecDeque<Reply>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = request(&mut stream).await {
        kept.lock().unwrap().push(request);
        let reply = script.lock().unwrap().pop_front().unwrap_or_else(|| Reply::Raw(answer("true")));
        match reply {
            Reply::Raw(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Reply::Silence => std::future::pending().await,
            Reply::Close => return,
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in lines[1..].iter().map(|line| line.split_once(':').unwrap()) {
        let all = headers.entry(name.to_ascii_lowercase()).or_default();
        *all = format!("{all}{}{}", if all.is_empty() { "" } else { ", " }, value.trim());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line: lines[0].clone(), headers, body })
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answer(ack: &str) -> String {
    http(
        "200 OK",
        &format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Body><notificationsResponse xmlns=\"{OUTBOUND}\">\
             <Ack>{ack}</Ack></notificationsResponse></s:Body></s:Envelope>"
        ),
    )
}

fn fault(reason: &str) -> String {
    let fault = format!("<s:Fault><faultcode>s:Client</faultcode><faultstring>{reason}</faultstring></s:Fault>");
    http("500 Internal Server Error", &format!("<s:Envelope xmlns:s=\"{SOAP}\"><s:Body>{fault}</s:Body></s:Envelope>"))
}

/// An envelope with these (notification id, record id, name).
fn envelope(notifications: &[(&str, &str, &str)]) -> String {
    let all: String = notifications
        .iter()
        .map(|(id, record, name)| {
            format!(
                "   <Notification>\n    <Id>{id}</Id>\n    <sObject xsi:type=\"sf:Account\" xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">\n     \
                 <sf:Id>{record}</sf:Id>\n     <sf:Amount__c>12.0</sf:Amount__c>\n     <sf:Name>{name}</sf:Name>\n     \
                 <sf:ParentId>{record}</sf:ParentId>\n    </sObject>\n   </Notification>\n"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"{SOAP}\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n <soapenv:Body>\n  <notifications xmlns=\"{OUTBOUND}\">\n   \
         <OrganizationId>00D000000000001EAA</OrganizationId>\n   <ActionId>04k000000000001AAA</ActionId>\n   <SessionId xsi:nil=\"true\"/>\n\
         {all}  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>"
    )
}

fn three() -> String {
    envelope(&[
        ("04l000000000001AAA", "001000000000001AAA", "Müller &amp; Söhne"),
        ("04l000000000002AAA", "001000000000002AAA", "Zoë"),
        ("04l000000000003AAA", "003000000000003AAA", "日本"),
    ])
}

fn texts_of(body: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    body.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
}

fn quick() -> Option<Retry> {
    Some(Retry { first: Duration::from_millis(2), give_up_after: None })
}

async fn sent(plan: Plan) -> Summary {
    run_plan(plan, |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_file_is_sent_byte_for_byte_with_salesforces_headers() {
    let listener = Listener::start(vec![]).await;
    let odd = format!("\u{FEFF}{}\r\n\t", three());
    let mut plan = listener.plan(&[&odd]);
    plan.headers.push(("x-test".parse().unwrap(), "a".parse().unwrap()));
    plan.headers.push(("x-test".parse().unwrap(), "b".parse().unwrap()));
    let summary = sent(plan).await;
    assert!(summary.is_all_acked());
    let progress = summary.progress;
    assert_eq!((progress.envelopes, progress.notifications, progress.acks), (1, 3, 1));
    assert_eq!(progress.bytes, odd.len() as u64);
    let requests = listener.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, odd.as_bytes());
    assert_eq!(requests[0].line, "POST /om/test?token=t HTTP/1.1");
    let header = |name: &str| requests[0].headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header("content-type"), "text/xml; charset=UTF-8");
    assert_eq!(header("soapaction"), "\"\"");
    assert_eq!(header("user-agent"), "Jakarta Commons-HttpClient/3.1");
    assert_eq!(header("accept-encoding"), "gzip");
    assert_eq!(header("x-test"), "a, b");
    assert_eq!(header("content-length"), odd.len().to_string());
}

#[tokio::test]
async fn a_header_of_the_callers_replaces_salesforces() {
    let listener = Listener::start(vec![]).await;
    let mut plan = listener.plan(&["<a/>"]);
    plan.headers.push(("user-agent".parse().unwrap(), "other".parse().unwrap()));
    sent(plan).await;
    assert_eq!(listener.requests.lock().unwrap()[0].headers["user-agent"], "other");
}

#[tokio::test]
async fn bytes_in_another_encoding_are_sent_as_they_are_but_not_edited() {
    let listener = Listener::start(vec![]).await;
    let latin: &[u8] = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xE4\xFF</a>";
    let mut plan = listener.plan(&[]);
    plan.files.push(File { name: "latin.xml".to_owned(), bytes: latin.into() });
    assert!(sent(plan.clone()).await.is_all_acked());
    assert_eq!(listener.requests.lock().unwrap()[0].body, latin);
    plan.ids = Ids::Fresh;
    let error = run_plan(plan, |_| {}).await.unwrap_err().to_string();
    assert!(error.starts_with("editing latin.xml: it is not UTF-8"), "{error}");
    assert_eq!(listener.requests.lock().unwrap().len(), 1, "nothing is sent when a file cannot be edited");
}

#[tokio::test]
async fn files_go_round_until_the_count_is_reached() {
    let listener = Listener::start(vec![]).await;
    let (a, b) = (three(), envelope(&[("04l9", "0019", "x")]));
    let mut plan = listener.plan(&[&a, &b]);
    plan.count = Some(5);
    let summary = sent(plan).await;
    assert_eq!((summary.progress.envelopes, summary.progress.notifications), (5, 11));
    assert_eq!(listener.bodies(), [&a, &b, &a, &b, &a].map(Clone::clone));
}

#[tokio::test]
async fn notifications_are_counted_as_a_gateway_counts_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/envelopes");
    let listener = Listener::start(vec![]).await;
    for (name, count) in
        [("unreadable-among-others.xml", 4), ("utf-16.xml", 1), ("latin-1.xml", 1), ("batch-of-three.xml", 3)]
    {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let mut plan = listener.plan(&["unused"]);
        plan.files = vec![File { bytes: bytes.into(), ..plan.files.remove(0) }];
        assert_eq!(sent(plan).await.progress.notifications, count, "{name}");
    }
    let summary = sent(listener.plan(&["<no/>"])).await;
    assert_eq!(
        (summary.progress.envelopes, summary.progress.notifications),
        (1, 0),
        "what is refused as a whole has none"
    );
}

#[tokio::test]
async fn notifications_are_regrouped() {
    let listener = Listener::start(vec![]).await;
    let one = envelope(&[("04l000000000004AAA", "001000000000004AAA", "four")]);
    let mut plan = listener.plan(&[&three(), &one]);
    plan.notifications = Some(2);
    plan.count = Some(3);
    let summary = sent(plan).await;
    assert_eq!((summary.progress.envelopes, summary.progress.notifications), (3, 6));
    let ids: Vec<Vec<String>> = listener.bodies().iter().map(|body| texts_of(body, "Id")).collect();
    let id = |number: u8| format!("04l00000000000{number}AAA");
    assert_eq!(ids, [[id(1), id(2)], [id(3), id(4)], [id(1), id(2)]]);
    let expected = envelope(&[
        ("04l000000000001AAA", "001000000000001AAA", "Müller &amp; Söhne"),
        ("04l000000000002AAA", "001000000000002AAA", "Zoë"),
    ]);
    assert_eq!(listener.bodies()[0], expected, "indents and all");
}

#[tokio::test]
async fn a_single_notification_fills_an_envelope_of_a_hundred() {
    let listener = Listener::start(vec![]).await;
    let mut plan = listener.plan(&[&envelope(&[("04l000000000004AAA", "001000000000004AAA", "four")])]);
    plan.notifications = Some(100);
    plan.ids = Ids::Fresh;
    assert_eq!(sent(plan).await.progress.notifications, 100);
    let ids: HashSet<String> = texts_of(&listener.bodies()[0], "Id").into_iter().collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn new_ids_are_unique_and_only_where_ids_belong() {
    let listener = Listener::start(vec![]).await;
    let original = three();
    let mut plan = listener.plan(&[&original]);
    plan.ids = Ids::Fresh;
    plan.count = Some(20);
    plan.connections = 4;
    sent(plan.clone()).await;
    sent(plan.clone()).await;
    let (mut ids, mut records) = (HashSet::new(), HashSet::new());
    for body in listener.bodies() {
        let (new, new_records) = (texts_of(&body, "Id"), texts_of(&body, "sf:Id"));
        assert_eq!((new.len(), new_records.len()), (3, 3));
        assert!(new.iter().all(|id| id.len() == 18 && id.starts_with("04l")), "{new:?}");
        let prefixes: Vec<&str> = new_records.iter().map(|id| &id[..3]).collect();
        assert_eq!(prefixes, ["001", "001", "003"]);
        assert!(new_records.iter().all(|id| id.len() == 18));
        // Put back, everything is as it was: the ParentId with the record's old id, too.
        let mut back = body.clone();
        for (new, old) in
            new.iter().chain(&new_records).zip(texts_of(&original, "Id").iter().chain(&texts_of(&original, "sf:Id")))
        {
            back = back.replace(new, old);
        }
        assert_eq!(back, original);
        ids.extend(new);
        records.extend(new_records);
    }
    assert_eq!((ids.len(), records.len()), (120, 120), "unique in both runs together");
    plan.seed = Some(7);
    plan.connections = 1;
    let first_of_seed = listener.bodies().len();
    sent(plan.clone()).await;
    sent(plan).await;
    let bodies = listener.bodies();
    assert_eq!(bodies[first_of_seed..first_of_seed + 20], bodies[first_of_seed + 20..], "a seed makes the same run");
}

#[tokio::test]
async fn duplicates_are_sent_twice_unchanged() {
    let listener = Listener::start(vec![]).await;
    let mut plan = listener.plan(&[&three()]);
    plan.ids = Ids::Fresh;
    plan.count = Some(10);
    plan.duplicates = 30.0;
    let summary = sent(plan).await;
    assert_eq!((summary.progress.envelopes, summary.progress.duplicates, summary.progress.acks), (13, 3, 13));
    assert_eq!(summary.progress.planned, 13);
    let mut times: HashMap<String, u32> = HashMap::new();
    listener.bodies().into_iter().for_each(|body| *times.entry(body).or_default() += 1);
    assert_eq!(times.len(), 10);
    assert_eq!(times.values().filter(|times| **times == 2).count(), 3);
}

#[tokio::test]
async fn changed_notifications_come_later_with_the_same_ids() {
    let listener = Listener::start(vec![]).await;
    let mut plan = listener.plan(&[&three()]);
    plan.ids = Ids::Fresh;
    plan.count = Some(10);
    plan.changed = 20.0;
    plan.connections = 3;
    let summary = sent(plan).await;
    assert!(summary.is_all_acked());
    assert_eq!(summary.progress.changed, 6);
    assert_eq!(summary.progress.notifications, 36);
    let mut seen: HashMap<String, (String, String)> = HashMap::new();
    let mut changed = 0;
    for body in listener.bodies() {
        let names = texts_of(&body, "sf:Name");
        let records = texts_of(&body, "sf:Id");
        for (at, id) in texts_of(&body, "Id").into_iter().enumerate() {
            match seen.get(&id) {
                None => {
                    assert!(!names[at].contains("changed"), "the original comes first");
                    seen.insert(id, (records[at].clone(), names[at].clone()));
                }
                Some((record, name)) => {
                    changed += 1;
                    assert_eq!(record, &records[at]);
                    assert!(names[at].starts_with(&format!("{name} (changed ")), "{} / {name}", names[at]);
                }
            }
        }
    }
    assert_eq!((seen.len(), changed), (30, 6));
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_with_the_same_ids() {
    let script = vec![
        Reply::Raw(answer("false")),
        Reply::Raw(http("500 Internal Server Error", "")),
        Reply::Raw(fault("not &amp; now")),
        Reply::Raw(http("200 OK", "ok")),
        Reply::Raw(http("503 Service Unavailable", &answer("true"))),
        Reply::Silence,
        Reply::Close,
        Reply::Raw("garbage\r\n\r\n".to_owned()),
    ];
    let listener = Listener::start(script).await;
    let mut plan = listener.plan(&[&three()]);
    plan.ids = Ids::Fresh;
    plan.retry = quick();
    plan.timeout = Duration::from_secs(1);
    let summary = sent(plan).await;
    let progress = summary.progress;
    assert!(summary.is_all_acked(), "{summary:?}");
    assert_eq!((progress.envelopes, progress.acks, progress.retries, progress.dropped), (1, 1, 8, 0));
    assert_eq!((progress.nacks, progress.faults, progress.errors), (1, 1, 6), "{summary:?}");
    let bodies = listener.bodies();
    assert_eq!(bodies.len(), 9);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let firsts: Vec<&str> = summary.problems.iter().map(|problem| problem.first.as_str()).collect();
    assert!(firsts.contains(&"SOAP response was a nack"), "{firsts:?}");
    assert!(firsts.contains(&"s:Client: not & now"), "{firsts:?}");
    assert!(firsts.contains(&"no answer within 1s"), "{firsts:?}");
    assert!(firsts.iter().any(|first| first.contains("Content is not allowed in prolog")), "{firsts:?}");
}

#[tokio::test]
async fn what_the_rule_gives_up_is_dropped_and_hinders_nothing_else() {
    let listener = Listener::start(vec![Reply::Raw(answer("false")); 3]).await;
    let mut plan = listener.plan(&[&three()]);
    plan.count = Some(2);
    plan.retry = Some(Retry { first: Duration::from_secs(20), give_up_after: Some(Duration::from_secs(1)) });
    let summary = sent(plan.clone()).await;
    assert!(!summary.is_all_acked());
    assert_eq!((summary.progress.nacks, summary.progress.dropped, summary.progress.retries), (2, 2, 0));
    plan.retry = None;
    let summary = sent(plan).await;
    assert_eq!((summary.progress.nacks, summary.progress.dropped, summary.progress.acks), (1, 1, 1));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_explained() {
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: https://login.example/a?secret=1\r\nContent-Length: 0\r\n\r\n";
    let listener = Listener::start(vec![Reply::Raw(elsewhere.to_owned())]).await;
    let summary = sent(listener.plan(&[&three()])).await;
    assert_eq!((summary.progress.errors, summary.progress.dropped), (1, 1));
    let problem = &summary.problems[0];
    assert_eq!(problem.kind, "redirect");
    assert!(problem.first.contains("HTTP 302 to https://login.example/a:"), "{}", problem.first);
    assert!(problem.first.contains("Content is not allowed in prolog"), "{}", problem.first);
    assert_eq!(listener.bodies().len(), 1);
}

#[tokio::test]
async fn an_endless_answer_and_an_unreachable_listener_end_in_an_error() {
    let endless = http("200 OK", "").replace("Content-Length: 0", "Content-Length: 99999999") + &"x".repeat(2_000_000);
    let listener = Listener::start(vec![Reply::Raw(endless)]).await;
    let summary = sent(listener.plan(&[&three()])).await;
    assert!(summary.problems[0].first.contains("longer than"), "{summary:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut plan = listener.plan(&[&three()]);
    plan.to = format!("http://{free}/").parse().unwrap();
    let summary = sent(plan).await;
    assert_eq!(summary.problems[0].kind, "no connection");
    assert!(summary.problems[0].first.to_lowercase().contains("refused"), "{summary:?}");
    assert_eq!(summary.p50_ms, None, "no answer, no latency");
}

#[tokio::test]
async fn a_stopped_run_tells_how_far_it_came() {
    let listener = Listener::start(vec![Reply::Raw(answer("true")), Reply::Silence]).await;
    let mut plan = listener.plan(&[&three()]);
    plan.count = Some(9);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut stop = Some(stop);
    let on_progress = |progress: &omgate::cli::send::Progress| {
        if progress.acks == 1 {
            stop.take().map(|stop| stop.send(()));
        }
    };
    let until = async { stopped.await.unwrap_or(()) };
    let summary = run_plan_until(plan, until, on_progress).await.unwrap();
    assert!(summary.interrupted && !summary.is_all_acked());
    assert_eq!(summary.progress.acks, 1);
    assert_eq!(summary.progress.dropped + 1, summary.progress.envelopes);
}

#[tokio::test]
async fn a_plan_out_of_bounds_is_refused() {
    let listener = Listener::start(vec![]).await;
    let good = listener.plan(&[&three()]);
    let refused: [(&str, Plan); 7] = [
        ("no envelope", Plan { files: vec![], ..good.clone() }),
        ("at least 1", Plan { count: Some(0), ..good.clone() }),
        ("1 to 100", Plan { notifications: Some(101), ..good.clone() }),
        ("1 to 256", Plan { connections: 257, ..good.clone() }),
        ("0 to 100 percent", Plan { changed: f64::NAN, ..good.clone() }),
        ("http:// or https://", Plan { to: "ftp://a/".parse().unwrap(), ..good.clone() }),
        ("content-length", Plan { headers: vec![("content-length".parse().unwrap(), "1".parse().unwrap())], ..good }),
    ];
    for (expected, plan) in refused {
        let error = run_plan(plan, |_| {}).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(listener.bodies().is_empty());
}

/// The command, in a folder with `three.xml`.
async fn command(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omgate"));
    command.current_dir(folder.path()).arg("send").args(arguments);
    command.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("three.xml");
    std::fs::write(path, three()).unwrap();
    folder
}

#[tokio::test]
async fn the_command_exits_with_0_only_when_all_was_acknowledged() {
    let folder = folder();
    let listener = Listener::start(vec![Reply::Raw(answer("false")), Reply::Raw(answer("false"))]).await;
    let to = ["three.xml", "--to", &listener.address];
    let output = command(&folder, &[&to[..], &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["envelopes", "nacks", "dropped"] {
        assert_eq!(summary[key], 1, "{summary}");
    }
    for key in ["acks", "faults", "errors", "retries"] {
        assert_eq!(summary[key], 0, "{summary}");
    }
    assert_eq!(summary["notifications"], 3);
    assert!(["bytes", "p50_ms", "p99_ms", "max_ms", "rate"].iter().all(|key| summary[key].is_number()), "{summary}");
    let again = ["--retry", "--retry-first", "5ms", "--rate", "1000/s", "--connections", "2", "--count", "4"];
    let output = command(&folder, &[&to[..], &again].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("acks") && text.contains("SOAP response was a nack"), "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().is_empty(), "no progress bar without a terminal");
    assert_eq!(listener.bodies().len(), 6);
}

#[tokio::test]
async fn the_command_names_what_is_wrong() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.xml"), "<a>\n<b></a>").unwrap();
    let to = ["--to", "http://127.0.0.1:9/"];
    let cases: [(&[&str], &str); 6] = [
        (&["none.xml"], "reading none.xml"),
        (&["."], "reading .: it is a folder"),
        (&["bad.xml", "--new-ids"], "editing bad.xml: line 2, column 4"),
        (&["three.xml", "--retry-first", "5ms"], "add --retry"),
        (&["three.xml", "--notifications", "101"], "1..=100"),
        (&["three.xml", "--ca", "three.xml"], "no PEM certificate"),
    ];
    for (arguments, expected) in cases {
        let output = command(&folder, &[arguments, &to].concat()).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(expected), "{arguments:?}: {text}");
    }
}

//! A hostile client: each attack over a socket of its own, by name. None is acknowledged, nothing of it is stored, memory
//! stays bounded, and the gateway serves on.

mod framing;
mod patience;
mod xml;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{ACTION, Notice, ORGANIZATION, Process, envelope};

/// What one attack sends.
struct Attack {
    name: &'static str,
    /// Written one after the other, with a pause before each.
    pieces: Vec<(Duration, Vec<u8>)>,
    ending: Ending,
    /// The status of the answer; none when the connection may end without one, or with any.
    status: Option<u16>,
}

/// What the client does when all is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Reads the answers until the gateway closes, which it must.
    Read,
    /// Closes its half first.
    HalfClose,
    /// Goes away without reading.
    Leave,
}

impl Attack {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>, status: impl Into<Option<u16>>) -> Self {
        Self { name, pieces: vec![(Duration::ZERO, bytes.into())], ending: Ending::Read, status: status.into() }
    }

    fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Another piece, so much later.
    fn then(mut self, pause_ms: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push((Duration::from_millis(pause_ms), bytes.into()));
        self
    }
}

/// The longest that an attack may keep its connection: the body's time, and then the gateway's own grace.
const CONNECTION_MAX: Duration = Duration::from_secs(20);
/// What the process may grow by over all attacks, in KiB: what the limits below allow to be held at once, several times.
const GROWTH_MAX_KIB: u64 = 64 << 10;

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:{public}"
admin_listen = "127.0.0.1:{admin}"
drain = "1s"

[server.limits]
body = "1MiB"
bodies = "8MiB"
header_timeout = "1s"
body_timeout = "2s"
connections = 64

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]
actions = ["04k24000000HfHaAAK"]

[[destination]]
name = "sink"
kind = "rest"
method = "PUT"
url = "http://127.0.0.1:9/orders/{{ record.Id }}"
paused = true

[[route]]
source = "orders"
destination = "sink"
"#;

/// An envelope that would be acknowledged, if it came as it should.
fn good(id: &str) -> String {
    envelope(&[Notice { id, record: "006A0000001AAA", fields: "<sf:Name>A</sf:Name>" }])
}

/// The one that attacks carry: were it ever taken, the account would show it.
fn loot() -> String {
    good("04lATTACKED")
}

/// A POST with these header lines, each ended by CR LF, and this body.
fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    request("POST /om/orders HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n", headers, body)
}

fn request(head: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

/// A whole, proper POST of a body.
fn whole(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    post(&format!("Content-Type: text/xml; charset=UTF-8\r\nContent-Length: {}\r\n", body.len()), body)
}

/// Plays an attack; what came back.
fn play(port: u16, attack: &Attack) -> Result<String, String> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(CONNECTION_MAX)).unwrap();
    stream.set_write_timeout(Some(CONNECTION_MAX)).unwrap();
    for (pause, bytes) in &attack.pieces {
        #[expect(clippy::disallowed_methods, reason = "a slow client is slow")]
        std::thread::sleep(*pause);
        // A gateway that has heard enough closes while the client still writes.
        if stream.write_all(bytes).is_err() {
            break;
        }
    }
    match attack.ending {
        Ending::Leave => return Ok(String::new()),
        Ending::HalfClose => drop(stream.shutdown(Shutdown::Write)),
        Ending::Read => {}
    }
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    if let Err(error) = ended
        && matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    {
        return Err(format!("the connection is still open after {:?}", began.elapsed()));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What is wrong with how an attack was answered.
fn judge(attack: &Attack, answer: &str) -> Result<(), String> {
    if answer.contains("<Ack>true") {
        return Err(format!("it was acknowledged: {answer}"));
    }
    let status = |line: &str| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse::<u16>().ok();
    let first = answer.lines().next().and_then(status);
    match attack.status {
        Some(expected) if first != Some(expected) => Err(format!("it was answered with {answer:?}, not {expected}")),
        _ => Ok(()),
    }
}

/// Resident memory of a process, in KiB.
fn memory_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Plays attacks one after the other; after each the gateway must take a proper envelope, and have taken nothing else.
async fn withstand(attacks: Vec<Attack>) {
    let mut gateway = Process::prepare(CONFIGURATION);
    gateway.start(&[]).await;
    let before = memory_kib(gateway.id());
    let count = attacks.len();
    let mut failed = Vec::new();
    for (number, attack) in attacks.into_iter().enumerate() {
        let (port, name) = (gateway.public, attack.name);
        let held = memory_kib(gateway.id());
        let played =
            tokio::task::spawn_blocking(move || play(port, &attack).and_then(|answer| judge(&attack, &answer)));
        if let Err(why) = played.await.unwrap() {
            failed.push(format!("{name}: {why}"));
        }
        let served = gateway.post("/om/orders", good(&format!("04lGOOD{number}"))).await;
        if !served.as_ref().is_ok_and(|answer| answer.is_ack()) {
            failed.push(format!("{name}: a proper envelope after it is answered with {served:?}"));
        }
        let received = gateway.ledger().await["notifications"]["received"].as_u64();
        let grown = memory_kib(gateway.id()).saturating_sub(held);
        if grown > 4 << 10 {
            println!("{name}: memory grew by {grown} KiB");
        }
        if received != Some(number as u64 + 1) {
            failed.push(format!("{name}: {received:?} notifications were received, not {}", number + 1));
            break;
        }
    }
    let grown = memory_kib(gateway.id()).saturating_sub(before);
    println!("{count} attacks, memory grew by {grown} KiB");
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), gateway.log());
    assert!(grown < GROWTH_MAX_KIB, "memory grew by {grown} KiB");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_of_framing_is_acknowledged() {
    withstand(framing::attacks()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_of_xml_is_acknowledged() {
    withstand(xml::attacks()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_slow_or_endless_client_is_acknowledged_or_keeps_its_connection() {
    withstand(patience::attacks()).await;
}

#[test]
fn the_attacks_are_many_and_each_has_a_name_of_its_own() {
    let all = [framing::attacks(), xml::attacks(), patience::attacks()];
    let names: std::collections::BTreeSet<&str> = all.iter().flatten().map(|attack| attack.name).collect();
    assert_eq!(names.len(), all.iter().map(Vec::len).sum::<usize>());
    assert!(names.len() >= 60, "{}", names.len());
}

/// Clients that hold every connection there may be cannot keep Salesforce out for longer than the time for headers.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_connections_ends_by_itself() {
    let mut gateway = Process::prepare(CONFIGURATION);
    gateway.start(&[]).await;
    let before = memory_kib(gateway.id());
    let connect = |_| TcpStream::connect(("127.0.0.1", gateway.public)).unwrap();
    let silent: Vec<TcpStream> = (0..500).map(connect).collect();
    let began = Instant::now();
    while !gateway.post("/om/orders", good("04lGOOD")).await.is_ok_and(|answer| answer.is_ack()) {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", gateway.log());
    }
    drop(silent);
    let grown = memory_kib(gateway.id()).saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "memory grew by {grown} KiB");
}

//! What an acknowledgement costs: syncs, time, CPU and memory, against a server that only returns the constant Ack.
//!
//! `cargo bench --bench ack` builds a shim under which every sync costs a millisecond, runs the servers one after the
//! other under the same load, and prints a table. Ratios and counts are what to look at; times are this machine's.
//!
//! Two servers are there to compare with: one that only returns the constant, and a bare prototype that does the least a
//! durable receiver can do: it finds ids and fields without a check, writes one table, and commits in groups.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::wildcard_enum_match_arm)]
#![allow(clippy::disallowed_methods, clippy::allow_attributes_without_reason, unreachable_pub)]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONSTANT: &str = "--constant-server";
const PROTOTYPE: &str = "--prototype-server";
const ACK: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
    xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><notificationsResponse \
    xmlns=\"http://soap.sforce.com/2005/09/outbound\"><Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == CONSTANT) {
        return constant_server();
    }
    if let Some(at) = arguments.iter().position(|argument| argument == PROTOTYPE) {
        return prototype::serve(Path::new(&arguments[at + 1]));
    }
    let seconds = arguments
        .iter()
        .position(|argument| argument == "--seconds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(8);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(bench(Duration::from_secs(seconds)));
}

async fn bench(duration: Duration) {
    let folder = tempfile::Builder::new().prefix("omgate-ack").tempdir_in(ram_folder()).unwrap();
    let shim = shim(folder.path());
    let constant = measure_constant(duration).await;
    let mut rows = vec![("constant Ack, 64 connections".to_owned(), constant)];
    for (load, connections, notifications) in [
        ("64 connections, 1 notification", 64, 1),
        ("1 connection, 1 notification", 1, 1),
        ("8 connections, 100 notifications", 8, 100),
    ] {
        let prototype = measure_prototype(folder.path(), &shim, connections, notifications, duration).await;
        rows.push((format!("prototype, {load}"), prototype));
        let omgate = measure_omgate(folder.path(), &shim, connections, notifications, duration).await;
        rows.push((format!("omgate, {load}"), omgate));
    }
    println!(
        "{:<42} {:>9} {:>9} {:>8} {:>8} {:>10} {:>9} {:>8} {:>8}",
        "", "acks/s", "notif/s", "p50 ms", "p99 ms", "syncs/ack", "CPU µs/n", "MiB max", "of const"
    );
    for (name, figures) in &rows {
        println!("{name:<42} {}", figures.line(rows[0].1.acks_per_second()));
    }
}

struct Figures {
    acks: u64,
    notifications: u64,
    elapsed: Duration,
    latencies: Vec<Duration>,
    syncs: Option<u64>,
    cpu: Duration,
    memory_mib: f64,
}

impl Figures {
    fn acks_per_second(&self) -> f64 {
        self.acks as f64 / self.elapsed.as_secs_f64()
    }

    fn line(&self, constant: f64) -> String {
        let percentile = |p: f64| {
            let at = ((self.latencies.len() as f64 - 1.0) * p) as usize;
            self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        let per_second = self.notifications as f64 / self.elapsed.as_secs_f64();
        let syncs = self.syncs.map_or("-".to_owned(), |syncs| format!("{:.3}", syncs as f64 / self.acks as f64));
        format!(
            "{:>9.0} {:>9.0} {:>8.2} {:>8.2} {:>10} {:>9.1} {:>8.0} {:>8.3}",
            self.acks_per_second(),
            per_second,
            percentile(0.5),
            percentile(0.99),
            syncs,
            self.cpu.as_secs_f64() * 1e6 / self.notifications as f64,
            self.memory_mib,
            self.acks_per_second() / constant,
        )
    }
}

async fn measure_constant(duration: Duration) -> Figures {
    let (mut child, address) = start(Command::new(std::env::current_exe().unwrap()).arg(CONSTANT));
    let figures = load(&child, address, None, 64, 1, duration).await;
    child.kill().unwrap();
    child.wait().unwrap();
    figures
}

/// Starts a server that prints its port.
fn start(command: &mut Command) -> (Child, SocketAddr) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port).unwrap();
    (child, SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap())))
}

async fn measure_prototype(
    folder: &Path,
    shim: &Path,
    connections: usize,
    notifications: usize,
    duration: Duration,
) -> Figures {
    let folder = folder.join(format!("prototype-{connections}x{notifications}"));
    fs::create_dir(&folder).unwrap();
    let count = folder.join("syncs");
    fs::write(&count, [0_u8; 4096]).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(PROTOTYPE).arg(&folder).env("LD_PRELOAD", shim).env("SLOW_FSYNC_COUNT", &count);
    let (mut child, address) = start(&mut command);
    let figures = load(&child, address, Some(&count), connections, notifications, duration).await;
    child.kill().unwrap();
    child.wait().unwrap();
    figures
}

async fn measure_omgate(
    folder: &Path,
    shim: &Path,
    connections: usize,
    notifications: usize,
    duration: Duration,
) -> Figures {
    let folder = folder.join(format!("{connections}x{notifications}"));
    fs::create_dir(&folder).unwrap();
    let (public, admin) = (free_port(), free_port());
    let config = folder.join("omgate.toml");
    fs::write(&config, configuration(public, admin)).unwrap();
    let count = folder.join("syncs");
    fs::write(&count, [0_u8; 4096]).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["serve", "--config"])
        .arg(&config)
        .env("LD_PRELOAD", shim)
        .env("SLOW_FSYNC_COUNT", &count)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], public));
    until_ready(address).await;
    let figures = load(&child, address, Some(&count), connections, notifications, duration).await;
    let ledger: serde_json::Value =
        reqwest::get(format!("http://127.0.0.1:{admin}/api/v1/ledger")).await.unwrap().json().await.unwrap();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(ledger["notifications"]["unique"].as_u64(), Some(figures.notifications), "{ledger}");
    assert_eq!(ledger["deliveries"]["waiting"].as_u64(), Some(figures.notifications), "{ledger}");
    child.kill().unwrap();
    child.wait().unwrap();
    figures
}

fn configuration(public: u16, admin: u16) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{public}"
admin_listen = "127.0.0.1:{admin}"
log_level = "error"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "bench"
path = "/om/bench"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "sink"
kind = "rest"
method = "POST"
url = "http://127.0.0.1:9/"
paused = true

[[route]]
source = "bench"
destination = "sink"
"#
    )
}

/// Drives a server for `duration`; every connection sends its next request when the answer to the last is there.
async fn load(
    child: &Child,
    address: SocketAddr,
    count: Option<&Path>,
    connections: usize,
    notifications: usize,
    duration: Duration,
) -> Figures {
    let serial = Arc::new(AtomicU64::new(1));
    let (cpu_before, syncs_before) = (cpu_of(child), count.map(syncs));
    let started = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(connection(address, Arc::clone(&serial), notifications, started + duration)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = started.elapsed();
    latencies.sort();
    let acks = latencies.len() as u64;
    Figures {
        acks,
        notifications: acks * notifications as u64,
        elapsed,
        latencies,
        syncs: syncs_before.zip(count.map(syncs)).map(|(before, after)| after - before),
        cpu: cpu_of(child) - cpu_before,
        memory_mib: memory_of(child),
    }
}

async fn connection(address: SocketAddr, serial: Arc<AtomicU64>, notifications: usize, end: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    let mut buffer = vec![0_u8; 8 << 10];
    while Instant::now() < end {
        let request = request(&serial, notifications);
        let started = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let length = response(&mut stream, &mut buffer).await;
        latencies.push(started.elapsed());
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert!(text.contains("<Ack>true</Ack>"), "{text}");
    }
    latencies
}

fn request(serial: &AtomicU64, notifications: usize) -> String {
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n <soapenv:Body>\n  \
         <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">\n   <OrganizationId>00D24000000abcdEAA</OrganizationId>\n   \
         <ActionId>04k24000000HfHaAAK</ActionId>\n   <SessionId xsi:nil=\"true\"/>\n   \
         <EnterpriseUrl>https://example.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd</EnterpriseUrl>\n   \
         <PartnerUrl>https://example.my.salesforce.com/services/Soap/u/61.0/00D24000000abcd</PartnerUrl>\n",
    );
    for _ in 0..notifications {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        write!(
            body,
            "   <Notification>\n    <Id>04l{number:012}AAA</Id>\n    <sObject xsi:type=\"sf:Opportunity\" \
             xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">\n     <sf:Id>006{number:012}AAA</sf:Id>\n     \
             <sf:Amount>50000.0</sf:Amount>\n     <sf:CloseDate>2026-06-30</sf:CloseDate>\n     \
             <sf:LastModifiedDate>2026-06-01T10:00:00.000Z</sf:LastModifiedDate>\n     <sf:Name>Order {number}</sf:Name>\n     \
             <sf:StageName>Closed Won</sf:StageName>\n    </sObject>\n   </Notification>\n"
        )
        .unwrap();
    }
    body.push_str("  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>");
    format!(
        "POST /om/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml; charset=UTF-8\r\nSOAPAction: \"\"\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one response into the buffer; its length.
async fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert!(read > 0, "the server hung up");
        length += read;
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let expected: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap();
            if body.len() >= expected {
                return length;
            }
        }
    }
}

fn constant_server() {
    actix_web::rt::System::new().block_on(async {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", socket.local_addr().unwrap().port());
        actix_web::HttpServer::new(|| {
            actix_web::App::new().default_service(actix_web::web::to(async |_body: actix_web::web::Bytes| {
                actix_web::HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(ACK)
            }))
        })
        .workers(2)
        .listen(socket)
        .unwrap()
        .run()
        .await
        .unwrap();
    });
}

/// The least that a durable receiver can do.
mod prototype {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use actix_web::web;
    use quick_xml::events::Event;
    use tokio::sync::oneshot;

    struct Job {
        rows: Vec<(String, String)>,
        reply: oneshot::Sender<()>,
    }

    pub fn serve(folder: &Path) {
        let (queue, jobs) = channel();
        let path = folder.join("prototype.db");
        std::thread::spawn(move || write(&path, &jobs));
        actix_web::rt::System::new().block_on(async move {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            println!("{}", socket.local_addr().unwrap().port());
            let app = move || {
                let queue = queue.clone();
                actix_web::App::new()
                    .app_data(web::PayloadConfig::new(16 << 20))
                    .default_service(web::to(move |body: web::Bytes| receive(body, queue.clone())))
            };
            actix_web::HttpServer::new(app).workers(2).listen(socket).unwrap().run().await.unwrap();
        });
    }

    async fn receive(body: web::Bytes, queue: Sender<Job>) -> actix_web::HttpResponse {
        let (reply, stored) = oneshot::channel();
        queue.send(Job { rows: notifications(std::str::from_utf8(&body).unwrap()), reply }).unwrap();
        stored.await.unwrap();
        actix_web::HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(super::ACK)
    }

    /// The id and the fields of each notification.
    fn notifications(text: &str) -> Vec<(String, String)> {
        let mut reader = quick_xml::NsReader::from_str(text);
        let (mut found, mut id, mut fields, mut value) = (Vec::new(), String::new(), String::new(), String::new());
        let mut in_record = false;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    in_record |= start.local_name().as_ref() == "sObject";
                    value.clear();
                }
                Event::Text(text) => value.push_str(&text),
                Event::End(end) => match end.local_name().as_ref() {
                    "Id" if !in_record => id = std::mem::take(&mut value),
                    "sObject" => in_record = false,
                    "Notification" => found.push((std::mem::take(&mut id), std::mem::take(&mut fields))),
                    name if in_record => {
                        for part in [name, "=", value.as_str(), ";"] {
                            fields.push_str(part);
                        }
                    }
                    _ => {}
                },
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    fn write(path: &Path, jobs: &Receiver<Job>) {
        let connection = rusqlite::Connection::open(path).unwrap();
        let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
                     CREATE TABLE notification (id TEXT PRIMARY KEY, fields TEXT NOT NULL) WITHOUT ROWID;";
        connection.execute_batch(setup).unwrap();
        let mut insert = connection.prepare("INSERT OR IGNORE INTO notification VALUES (?1, ?2)").unwrap();
        while let Ok(first) = jobs.recv() {
            let group: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(2_000)).collect();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            for row in group.iter().flat_map(|job| &job.rows) {
                insert.execute((&row.0, &row.1)).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
            for job in group {
                let _ = job.reply.send(());
            }
        }
    }
}

fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("slow_fsync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/slow_fsync.c");
    let built =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.is_ok_and(|status| status.success()), "the shim needs a C compiler");
    library
}

fn ram_folder() -> PathBuf {
    let ram = PathBuf::from("/dev/shm");
    if ram.is_dir() { ram } else { std::env::temp_dir() }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn until_ready(address: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("omgate did not start");
}

fn syncs(count: &Path) -> u64 {
    u64::from_ne_bytes(fs::read(count).unwrap()[..8].try_into().unwrap())
}

/// User and system time of a process so far.
fn cpu_of(child: &Child) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn memory_of(child: &Child) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

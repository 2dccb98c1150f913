//! Several gateways on one database: processes that are killed, a server that restarts, a clock that is wrong, a pooler.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use omgate::clock::{Clock, SharedClock, SystemClock, Timestamp};
use omgate::config;
use omgate::gateway::Gateway;
use serde_json::json;

use crate::crash::{Acked, LOADERS, POINTS, check, configuration_with, loader, moment};
use crate::harness::{Notice, Process, Sink, envelope, free_port};
use crate::postgres::{self, Trust, connect, until};

/// What is waited for comes; how soon is the machine's affair, and of what else it does.
const PATIENCE: Duration = Duration::from_secs(180);

fn rounds() -> u64 {
    std::env::var("OMGATE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// Answers nearly always, is busy now and then, and now and then hangs up without a word.
async fn sink() -> Sink {
    Sink::start(Box::new(|number, _| match number % 41 {
        17 => Some((503, "busy".to_owned())),
        29 => None,
        _ => Some((200, String::new())),
    }))
    .await
}

/// Two gateways and those who post to them.
struct Pair {
    gateways: [Process; 2],
    sink: Sink,
    acked: Acked,
    stop: Arc<AtomicBool>,
    loaders: Vec<tokio::task::JoinHandle<()>>,
    database: String,
}

impl Pair {
    async fn start() -> Option<Self> {
        let database = postgres::database()?;
        let sink = sink().await;
        let configuration =
            configuration_with(&database, &sink.url("/in")).replace("timeout = \"5s\"", "timeout = \"1s\"");
        let gateways = [Process::prepare(&configuration), Process::prepare(&configuration)];
        let (acked, stop): (Acked, Arc<AtomicBool>) = Default::default();
        let public: Vec<u16> = gateways.iter().map(|gateway| gateway.public).collect();
        let loaders = (0..LOADERS)
            .map(|number| tokio::spawn(loader(number, public.clone(), Arc::clone(&acked), Arc::clone(&stop))))
            .collect();
        Some(Self { gateways, sink, acked, stop, loaders, database })
    }

    /// Stops posting, lets everything go out, and looks at the books and at what arrived.
    async fn finish(mut self) {
        let before = self.acked.lock().unwrap().len();
        let goes_on = async || self.acked.lock().unwrap().len() > before + 20;
        until("envelopes are acknowledged", PATIENCE, goes_on).await;
        self.stop.store(true, Ordering::SeqCst);
        for loader in self.loaders.drain(..) {
            loader.await.unwrap();
        }
        let started = Instant::now();
        let acked = u32::try_from(self.acked.lock().unwrap().len()).unwrap();
        let patience = PATIENCE + Duration::from_millis(10) * acked;
        self.gateways[0]
            .until(patience, |ledger| {
                ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
            })
            .await;
        println!("idle {} ms after the last envelope", started.elapsed().as_millis());
        // What a loader gave up waiting for, and had acknowledged by the other, is counted as a duplicate whenever it comes.
        let agree = async || self.gateways[0].ledger().await == self.gateways[1].ledger().await;
        until("both tell the same", PATIENCE, agree).await;
        check(&self.gateways[0].ledger().await, &self.acked.lock().unwrap(), &self.sink);
        for gateway in &mut self.gateways {
            gateway.stop().await;
        }
        let verified = self.gateways[0].command(&["store", "verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        postgres::remove(&self.database);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_lose_nothing_and_keep_the_order_when_either_is_killed_at_any_moment() {
    let seed = std::env::var("OMGATE_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_126);
    println!("seed {seed}: OMGATE_CRASH_SEED repeats it");
    let Some(mut pair) = Pair::start().await else { return };
    pair.gateways[1].start(&[]).await;
    for (turn, point) in POINTS.iter().enumerate() {
        let [first, second] = &mut pair.gateways;
        let (dying, other) = if turn % 2 == 0 { (first, second) } else { (second, first) };
        dying.kill();
        if !other.is_ready().await {
            other.kill();
            other.start(&[]).await;
        }
        dying.spawn(&[("OMGATE_KILL_AT", &format!("{point}:{}", 1 + turn % 3))]);
        assert!(dying.died(PATIENCE).await, "nothing passed {point}: {}", dying.log());
    }
    for round in 0..rounds() {
        let gateway = &mut pair.gateways[usize::try_from(round % 2).unwrap()];
        gateway.kill();
        gateway.start(&[]).await;
        tokio::time::sleep(moment(seed, round)).await;
        gateway.kill();
    }
    for gateway in &mut pair.gateways {
        gateway.kill();
        gateway.start(&[]).await;
    }
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_and_restarts_under_load_loses_nothing() {
    let Some(server) = postgres::alone(Trust::Disk) else { return };
    let database = server.create();
    let sink = sink().await;
    let mut gateway = Process::prepare(&configuration_with(&database, &sink.url("/in")));
    gateway.start(&[]).await;
    let (acked, stop): (Acked, Arc<AtomicBool>) = Default::default();
    let loaders: Vec<_> = (0..LOADERS)
        .map(|number| tokio::spawn(loader(number, vec![gateway.public], Arc::clone(&acked), Arc::clone(&stop))))
        .collect();
    for restart in 0..3 {
        let before = acked.lock().unwrap().len();
        until("envelopes are acknowledged", Duration::from_secs(60), async || {
            acked.lock().unwrap().len() > before + 20
        })
        .await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.restart()).await.unwrap();
        println!("restart {restart}: {} acknowledged", acked.lock().unwrap().len());
    }
    until("it is ready again", Duration::from_secs(30), async || gateway.is_ready().await).await;
    stop.store(true, Ordering::SeqCst);
    for loader in loaders {
        loader.await.unwrap();
    }
    let ledger = gateway
        .until(Duration::from_secs(120), |ledger| {
            ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
        })
        .await;
    check(&ledger, &acked.lock().unwrap(), &sink);
    gateway.stop().await;
    let verified = gateway.command(&["store", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

// ---- two gateways in this process ----

/// A clock that is wrong by so much.
struct Wrong {
    right: SharedClock,
    ms: i64,
}

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp(self.right.now().0 + self.ms)
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }
}

/// A gateway in this process.
struct Running {
    gateway: Gateway,
    _folder: tempfile::TempDir,
    http: reqwest::Client,
}

impl Running {
    async fn start(configuration: &str, wrong_by_ms: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = configuration.replace("{public}", "0").replace("{admin}", "0");
        let path = folder.path().join("omgate.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(&path).unwrap();
        let clock = Arc::new(Wrong { right: SystemClock::shared(), ms: wrong_by_ms });
        let gateway = Gateway::start(loaded, clock).await.unwrap();
        Self { gateway, _folder: folder, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn post(&self, id: &str, record: &str) {
        let body = envelope(&[Notice { id, record, fields: "" }]);
        let url = format!("http://127.0.0.1:{}/om/orders", self.gateway.port());
        let answer = self.http.post(url).header("Content-Type", "text/xml").body(body).send().await.unwrap();
        assert!(answer.text().await.unwrap().contains("<Ack>true</Ack>"));
    }

    async fn steer(&self, verb: &str) {
        let url = format!("http://127.0.0.1:{}/api/v1/systems/sink/{verb}", self.gateway.admin_port());
        let answer = self.http.post(url).json(&json!({"reason": "closing"})).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    async fn delivered(&self) -> i64 {
        self.gateway.store().ledger().await.unwrap().deliveries.delivered
    }

    async fn until_delivered(&self, count: i64) {
        until("everything is delivered", Duration::from_secs(20), async || self.delivered().await == count).await;
    }
}

fn notification(number: usize) -> (String, String) {
    (format!("04lA{number:011}AAA"), format!("006A{number:011}AAA"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_on_one_gateway_stops_the_other_within_a_second_and_so_does_its_end() {
    let Some(database) = postgres::database() else { return };
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    let configuration = configuration_with(&database, &sink.url("/in"));
    let (one, other) = (Running::start(&configuration, 0).await, Running::start(&configuration, 0).await);
    let (id, record) = notification(0);
    other.post(&id, &record).await;
    other.until_delivered(1).await;
    one.steer("pause").await;
    let (id, record) = notification(1);
    other.post(&id, &record).await;
    let paused = async || {
        let states = other.gateway.store().system("sink".to_owned()).await.unwrap();
        states.paused.is_some()
    };
    until("the other knows of it", Duration::from_secs(1), paused).await;
    assert_eq!((sink.arrived().len(), other.delivered().await), (1, 1), "nothing goes out meanwhile");
    other.steer("resume").await;
    one.until_delivered(2).await;
    let (id, record) = notification(2);
    one.post(&id, &record).await;
    one.until_delivered(3).await;
    one.gateway.shutdown().await;
    other.gateway.shutdown().await;
    postgres::remove(&database);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_clock_is_wrong_by_ten_minutes_does_no_harm() {
    for wrong_by in [-600_000, 600_000] {
        let Some(database) = postgres::database() else { return };
        // Each is refused once: it is due again, by the database's clock.
        let seen: Mutex<std::collections::HashSet<String>> = Mutex::default();
        let sink = Sink::start(Box::new(move |_, arrived| {
            let is_new = seen.lock().unwrap().insert(arrived.key().to_owned());
            Some((if is_new { 503 } else { 200 }, String::new()))
        }))
        .await;
        let configuration = configuration_with(&database, &sink.url("/in"));
        let right = Running::start(&configuration, 0).await;
        let wrong = Running::start(&configuration, wrong_by).await;
        for number in 0..10 {
            let (id, record) = notification(number);
            [&right, &wrong][number % 2].post(&id, &record).await;
        }
        right.until_delivered(10).await;
        assert_eq!(sink.arrived().len(), 20, "each twice, and none by a lease that was taken for old");
        let filter = omgate::store::DeliveryFilter::default();
        let now = SystemClock::shared().now().0;
        for delivery in right.gateway.store().deliveries(filter).await.unwrap() {
            assert!((delivery.changed_at.0 - now).abs() < 60_000, "{delivery:?}");
        }
        right.gateway.shutdown().await;
        wrong.gateway.shutdown().await;
        postgres::remove(&database);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_together_keep_the_rate_of_a_system() {
    let Some(database) = postgres::database() else { return };
    let moments: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&moments);
    let sink = Sink::start(Box::new(move |_, _| {
        noted.lock().unwrap().push(Instant::now());
        Some((200, String::new()))
    }))
    .await;
    let configuration = configuration_with(&database, &sink.url("/in"))
        .replace("timeout = \"5s\"", "timeout = \"5s\"\nrate = \"20/s\"\nburst = 1");
    let (one, other) = (Running::start(&configuration, 0).await, Running::start(&configuration, 0).await);
    for number in 0..40 {
        let (id, record) = notification(number);
        [&one, &other][number % 2].post(&id, &record).await;
    }
    one.until_delivered(40).await;
    let moments = moments.lock().unwrap().clone();
    let took = moments.last().unwrap().duration_since(moments[0]);
    assert!(took >= Duration::from_millis(1_900), "40 calls at 20 a second took {took:?}");
    one.gateway.shutdown().await;
    other.gateway.shutdown().await;
    postgres::remove(&database);
}

// ---- a pooler in transaction mode ----

pub(crate) struct Pooler {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// `PgBouncer` before a server; none when it is not installed.
    pub(crate) fn start(server: u16) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\nauth_file = {}\npool_mode = transaction\nmax_client_conn = 200\n\
             default_pool_size = 6\nserver_fast_close = 1\n",
            folder.path().join("users").display()
        );
        std::fs::write(&settings, text.replace("auth_type = any", "auth_type = trust")).unwrap();
        std::fs::write(folder.path().join("users"), "\"app\" \"\"\n").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode;
        std::fs::set_permissions(folder.path(), open(0o755)).unwrap();
        let mut command = Command::new("pgbouncer");
        command.arg(&settings);
        if postgres::is_root() {
            command.args(["-u", "postgres"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match child {
            Ok(child) => Some(Self { child, port, _folder: folder }),
            Err(error) => {
                println!("skipped: pgbouncer does not start: {error}");
                None
            }
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_work_behind_a_pooler_in_transaction_mode() {
    let Some(server) = postgres::server().filter(|server| server.is_ours()) else { return };
    let Some(database) = postgres::database() else { return };
    let Some(pooler) = Pooler::start(server.port) else { return };
    let pooled = database.replace(&format!(":{}", server.port), &format!(":{}", pooler.port));
    until("the pooler listens", Duration::from_secs(20), async || {
        tokio_postgres::connect(&pooled, tokio_postgres::NoTls).await.is_ok()
    })
    .await;
    let sink = Sink::start(Box::new(|_, _| Some((200, String::new())))).await;
    let configuration = configuration_with(&pooled, &sink.url("/in"));
    let mut gateways = [Process::prepare(&configuration), Process::prepare(&configuration)];
    for gateway in &mut gateways {
        gateway.start(&[]).await;
    }
    let [one, other] = &gateways;
    for number in 0..60 {
        assert!(post(gateways_turn(&gateways, number), number).await);
    }
    one.until(Duration::from_secs(30), |ledger| ledger["deliveries"]["delivered"] == 60).await;
    assert_eq!(sink.arrived().len(), 60);
    assert_eq!(one.change("/api/v1/systems/sink/pause", &json!({"reason": "closing"})).await.0, 200);
    assert!(post(other, 60).await);
    until("the other knows of it", Duration::from_secs(1), async || {
        other.admin("/api/v1/systems").await["sink"]["paused"] != serde_json::Value::Null
    })
    .await;
    assert_eq!(sink.arrived().len(), 60);
    assert_eq!(other.change("/api/v1/systems/sink/resume", &json!({"reason": "open"})).await.0, 200);
    other.until(Duration::from_secs(30), |ledger| ledger["deliveries"]["delivered"] == 61).await;
    let deaf = "notifications of the database do not arrive";
    until("it says that it hears nothing", Duration::from_secs(40), async || one.log().contains(deaf)).await;
    assert_eq!(one.log().matches(deaf).count(), 1, "once");
    let verified = one.command(&["store", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    for gateway in &mut gateways {
        gateway.stop().await;
    }
    let client = connect(&database).await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let rows = client.query_typed(held, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 0, "no lock outlives its transaction");
    postgres::remove(&database);
}

fn gateways_turn(gateways: &[Process; 2], number: usize) -> &Process {
    &gateways[number % 2]
}

async fn post(gateway: &Process, number: usize) -> bool {
    let (id, record) = notification(number);
    let body = envelope(&[Notice { id: &id, record: &record, fields: "" }]);
    gateway.post("/om/orders", body).await.unwrap().is_ack()
}

// ---- the way to the database ----

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_told_and_no_message_is_taken() {
    let url = format!("postgres://omgate:geheim@127.0.0.1:{}/omgate", free_port());
    let mut gateway = Process::prepare(&configuration_with(&url, "http://127.0.0.1:9/in"));
    let checked = gateway.command(&["check"]);
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "the form is right: {said}");
    assert!(said.contains("store.url: the password stands in clear"), "{said}");
    gateway.spawn(&[]);
    assert!(gateway.died(Duration::from_secs(30)).await);
    let log = gateway.log();
    assert!(log.contains("store.url: opening the store postgres://127.0.0.1:"), "{log}");
    assert!(log.contains("the database cannot be reached") && log.contains("Connection refused"), "{log}");
    assert!(!log.contains("geheim") && !said.contains("geheim"), "{log}{said}");
}

/// Runs a program that must succeed.
fn run(folder: &std::path::Path, command: &str) {
    let output = Command::new("/bin/sh").args(["-c", command]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_the_servers_certificate_is_looked_at() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl");
        return;
    }
    let Some(server) = postgres::alone(Trust::Disk) else { return };
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority",
        "openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=database",
        "printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > names",
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ] {
        run(folder.path(), command);
    }
    server.speak_tls(&folder.path().join("server.pem"), &folder.path().join("server.key")).await;
    let database = server.create();
    let ca = folder.path().join("ca.pem");
    let open = async |options: String| {
        let address = postgres::address(&format!("{database}?{options}"));
        let options = omgate::store::postgres::Options::new(address, SystemClock::shared());
        omgate::store::postgres::PostgresStore::open(options).await
    };
    let store = open(format!("sslmode=verify-full&sslrootcert={}", ca.display())).await.unwrap();
    let client = connect(&database).await;
    let rows = client.query_typed("SELECT count(*) FROM pg_stat_ssl WHERE ssl", &[]).await.unwrap();
    assert!(rows[0].get::<_, i64>(0) >= 1, "it is encrypted");
    omgate::store::Store::close(&*store).await;
    for (options, words) in [
        ("sslmode=require".to_owned(), "name the authority's certificate with sslrootcert=FILE"),
        ("sslmode=require&sslrootcert=/no/such/file".to_owned(), "sslrootcert /no/such/file: "),
    ] {
        let error = open(options).await.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    let elsewhere = database.replace("127.0.0.1", "localhost");
    let address = format!("{elsewhere}?sslmode=verify-full&sslrootcert={}", ca.display());
    let options = omgate::store::postgres::Options::new(postgres::address(&address), SystemClock::shared());
    let error = omgate::store::postgres::PostgresStore::open(options).await.err().unwrap().to_string();
    assert!(error.contains("not valid for name \"localhost\"") || error.contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_brings_no_store_of_an_earlier_omgate_up_to_date() {
    let Some(url) = postgres::database() else { return };
    let sink = sink().await;
    let mut gateway = Process::prepare(&configuration_with(&url, &sink.url("/in")));
    gateway.start(&[]).await;
    gateway.stop().await;
    let client = connect(&url).await;
    client.batch_execute("UPDATE omgate.schema_version SET version = version - 1").await.unwrap();
    let version = async || -> i64 {
        let rows = client.query("SELECT version FROM omgate.schema_version", &[]).await.unwrap();
        rows[0].get(0)
    };
    let before = version().await;
    for looking in [&["store", "verify"] as &[&str], &["store", "prune", "--dry-run"], &["store", "rekey", "--dry-run"]]
    {
        let looked = gateway.command(looking);
        let told = String::from_utf8_lossy(&looked.stderr).into_owned();
        assert!(
            !looked.status.success() && told.contains("start `omgate serve` of this version"),
            "{looking:?}: {told}"
        );
        assert_eq!(version().await, before, "{looking:?}");
    }
    postgres::remove(&url);
}

//! How long the gateway works for a page when a million deliveries are in its store.
//!
//! `cargo bench --bench pages [-- --large N] [--dead N] [--store postgres]`: fills a SQLite store, or one of a PostgreSQL that
//! it starts on 127.0.0.1, with N deliveries, most of them waiting, some delivered and some dead, starts the program on it, and asks for each page nine times, one after the other. It prints the
//! median in milliseconds from the last byte of the question to the last of the answer, on loopback, and fails when one of
//! them is over the bound of 100.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use omgate::clock::{SystemClock, Timestamp};
use omgate::store::postgres::{self as pg, PostgresStore};
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{Settle, Settlement, Store};

use self::support::Outcome;
use self::support::backlog::{Size, fill};
use self::support::messages::{THEN, claim, settle};

#[allow(dead_code, reason = "the tests use more of it")]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "as in the tests")]
#[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "as in the tests")]
#[path = "../tests/it/postgres.rs"]
mod postgres;
mod support;

/// A page is made within this.
const BOUND_MS: f64 = 100.0;
/// How often each is asked for.
const TIMES: usize = 9;

const PAGES: [&str; 22] = [
    "/",
    "/find?q=006000000000007",
    "/find?q=ACME-4711",
    "/notifications",
    "/notifications?source=orders",
    "/notifications?before=500000",
    "/notifications/5",
    "/deliveries",
    "/deliveries?state=waiting",
    "/deliveries?state=dead",
    "/deliveries?state=delivered&destination=create",
    "/deliveries?record_id=006000000000007AAA",
    "/deliveries?state=dead&status=422",
    "/deliveries?text=country",
    "/deliveries?before=400000",
    "/deliveries/5",
    "/dead",
    "/lanes",
    "/destinations",
    "/destinations/create",
    "/sources/orders",
    "/audit",
];

fn main() -> Outcome<()> {
    let (mut large, mut dead) = (1_000_000_u64, 2_000_u64);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut on_server = false;
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match (word.as_str(), value.as_str()) {
            ("--large", _) => large = value.parse()?,
            ("--dead", _) => dead = value.parse()?,
            ("--store", "sqlite" | "postgres") => on_server = value == "postgres",
            _ => return Err(format!("{word} {value} is not known: --large N, --dead N, --store postgres").into()),
        }
    }
    // Without a server it is said why, and nothing is measured.
    if on_server && postgres::server().is_none() {
        return Ok(());
    }
    postgres::runtime().block_on(run(large, dead, on_server))
}

async fn run(large: u64, dead: u64, on_server: bool) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let url = if on_server {
        let url = postgres::database().ok_or("there is no database")?;
        let store = PostgresStore::open(pg::Options::new(postgres::address(&url), SystemClock::shared())).await?;
        filled(&*store, large, dead).await?;
        url
    } else {
        let store = SqliteStore::open(Options::new(folder.path().join("omgate.db"), SystemClock::shared()))?;
        filled(&*store, large, dead).await?;
        "sqlite:omgate.db".to_owned()
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    std::fs::write(folder.path().join("omgate.toml"), configuration(port, &url))?;
    let mut gateway = started(folder.path())?;
    let measured = measure(port).await;
    gateway.kill()?;
    gateway.wait()?;
    let slow = measured?;
    if slow.is_empty() { Ok(()) } else { Err(format!("over {BOUND_MS} ms: {}", slow.join(", ")).into()) }
}

async fn filled(store: &dyn Store, large: u64, dead: u64) -> Outcome<()> {
    let began = Instant::now();
    fill(store, Size { backlog: large, ops: dead.min(large), at_once: 16 }).await?;
    let now = Timestamp(THEN + 1_000);
    let mut left = dead;
    while left > 0 {
        let claimed = store.claim(claim(100, now)).await?.claimed;
        if claimed.is_empty() {
            break;
        }
        for (place, one) in claimed.iter().enumerate() {
            let settled = settle(one, now);
            let died = Settle {
                outcome: "refused",
                reason: format!("refused: answered 422: there is no country number {place}"),
                settlement: Settlement::Dead {
                    reason: format!("there is no country number {place}"),
                    holds_lane: false,
                },
                ..settle(one, now)
            };
            store.settle(if place % 2 == 0 { settled } else { died }).await?;
            left = left.saturating_sub(1);
        }
    }
    store.close().await;
    say(&format!("{large} deliveries were stored in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn configuration(admin: u16, store: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:{admin}\"\n[store]\nurl = \"{store}\"\n\
         [[source]]\nname = \"orders\"\npath = \"/om/orders\"\norganizations = [\"00D24000000abcdEAA\"]\nsearch = [\"Name\"]\n\
         [[destination]]\nname = \"create\"\nsystem = \"erp\"\nkind = \"rest\"\nurl = \"http://127.0.0.1:9/\"\npaused = true\n\
         [[route]]\nname = \"orders\"\nsource = \"orders\"\ndestination = \"create\"\n"
    )
}

fn started(folder: &Path) -> Outcome<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_omgate"));
    command.args(["serve", "--config"]).arg(folder.join("omgate.toml"));
    Ok(command.stdout(Stdio::null()).stderr(log).spawn()?)
}

#[expect(clippy::print_stdout, reason = "a bench speaks")]
fn say(text: &str) {
    println!("{text}");
}

/// The pages that took too long.
async fn measure(port: u16) -> Outcome<Vec<String>> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let deadline = Instant::now() + Duration::from_secs(120);
    while !client.get(format!("http://127.0.0.1:{port}/readyz")).send().await.is_ok_and(|ready| ready.status() == 200) {
        if Instant::now() > deadline {
            return Err("the gateway does not become ready".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut slow = Vec::new();
    for page in PAGES {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = client.get(format!("http://127.0.0.1:{port}{page}")).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            if !status.is_success() || !text.contains("</html>") {
                return Err(format!("{page}: {status}: {text}").into());
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(TIMES / 2).copied().unwrap_or_default();
        say(&format!("{median:>8.1} ms  {page}"));
        if median > BOUND_MS {
            slow.push(page.to_owned());
        }
    }
    Ok(slow)
}

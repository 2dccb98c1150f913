//! `omgate demo`: the whole path on one machine, in a temporary folder, with two stub legacy systems.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::send;
use crate::cli::stub::{ERP_WSDL, ERP_XSD, Speaks, Stub};
use crate::cli::{doctor, print};
use crate::clock::SystemClock;
use crate::config;
use crate::gateway::Gateway;
use crate::store::{DeliveryCounts, Ledger};
use crate::telemetry::{self, LogFormat};

const ORDER_WON_WSDL: &str = include_str!("../../wsdl/order-won.wsdl");
const COUNTRIES: &str = include_str!("../../fixtures/countries.csv");
/// The project's own fixtures, as Salesforce would post them.
const ENVELOPES: [(&str, &str); 6] = [
    ("create.xml", include_str!("../../fixtures/envelopes/create.xml")),
    ("batch-of-three.xml", include_str!("../../fixtures/envelopes/batch-of-three.xml")),
    ("text.xml", include_str!("../../fixtures/envelopes/text.xml")),
    ("other-prefixes.xml", include_str!("../../fixtures/envelopes/other-prefixes.xml")),
    ("bom-and-crlf.xml", include_str!("../../fixtures/envelopes/bom-and-crlf.xml")),
    ("no-declaration.xml", include_str!("../../fixtures/envelopes/no-declaration.xml")),
];

/// `--once` ends by then, one way or the other.
const ONCE_AT_MOST: Duration = Duration::from_secs(60);
/// How often the table is drawn anew.
const REDRAW: Duration = Duration::from_millis(250);
/// Without `--once`, so often more is sent.
const SEND_AGAIN: Duration = Duration::from_secs(3);
/// After Ctrl-C, what is under way gets so long to arrive.
const INTERRUPTED_AT_MOST: Duration = Duration::from_secs(5);
/// Envelopes in the first burst.
const ENVELOPES_FIRST: u64 = 40;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send one burst, wait until everything is delivered, and end: exit code 0 only when the ledger balances and
    /// everything arrived.
    #[arg(long)]
    once: bool,
}

/// Shows the whole path.
///
/// # Errors
/// When something could not even be started.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::log(LogFormat::Text, "error");
    let folder = tempfile::Builder::new().prefix("omgate-demo-").tempdir().context("making a temporary folder")?;
    let erp = Stub::start(Speaks::Soap).context("starting the SOAP stub")?;
    let crm = Stub::start(Speaks::Rest).context("starting the REST stub")?;
    write_files(folder.path(), erp.port(), crm.port())?;
    let loaded = config::load(&folder.path().join("omgate.toml")).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let gateway = Gateway::start_with(loaded, SystemClock::shared(), Some(doctor::probe())).await?;
    introduce(&gateway, &erp, &crm, folder.path());
    // Listened for before the first burst: unheard, this signal ends a process without a word.
    let interrupt =
        if args.once { None } else { Some(signal(SignalKind::interrupt()).context("listening for Ctrl-C")?) };
    let demo = Demo { gateway, erp, crm, screen: Screen::new(), sent: Sent::default() };
    let succeeded = match interrupt {
        Some(interrupt) => demo.until_interrupted(interrupt).await?,
        None => demo.once().await?,
    };
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_files(folder: &Path, erp: u16, crm: u16) -> anyhow::Result<()> {
    for (name, text) in [
        ("order-won.wsdl", ORDER_WON_WSDL),
        ("erp.wsdl", ERP_WSDL),
        ("erp.xsd", ERP_XSD),
        ("countries.csv", COUNTRIES),
        ("omgate.toml", &configuration(erp, crm)),
    ] {
        std::fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}

/// The demo's configuration: what a user would write.
fn configuration(erp: u16, crm: u16) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
drain = "2s"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "order-won"
path = "/om/order-won"
organizations = ["00D24000000abcdEAA"]
wsdl = "order-won.wsdl"

[[destination]]
name = "erp"
kind = "soap"
wsdl = "erp.wsdl"
operation = "CreateOrder"
endpoint = "http://127.0.0.1:{erp}/orders"
addressing = true
retry = {{ first = "200ms", max_wait = "2s" }}

[[destination]]
name = "crm"
kind = "rest"
method = "PUT"
url = "http://127.0.0.1:{crm}/customers/{{{{ record.Id }}}}"
retry = {{ first = "200ms", max_wait = "2s" }}

[[route]]
source = "order-won"
destination = "erp"
[route.map]
OrderNumber = "record.Name | default('none') | truncate(20)"
Total = "record.Amount | default(0) | decimal(2)"
Currency = "'EUR'"
Country = "record.BillingCountry__c | lookup('countries')"
Customer.Id = "record.AccountId | default(record.Id)"

[[route]]
source = "order-won"
destination = "crm"

[[table]]
name = "countries"
file = "countries.csv"
key = "name"
value = "iso"
on_missing = "none"
"#
    )
}

fn introduce(gateway: &Gateway, erp: &Stub, crm: &Stub, folder: &Path) {
    print::line(&format!("omgate listens for Salesforce at http://{}/om/order-won", gateway.public_address()));
    print::line(&format!("its people look at               http://127.0.0.1:{}/", gateway.admin_port()));
    print::line(&format!("an ERP that speaks SOAP          http://127.0.0.1:{}/orders?wsdl", erp.port()));
    print::line(&format!("a CRM that speaks REST and fails http://127.0.0.1:{}/customers", crm.port()));
    print::line(&format!("everything is written to         {}", folder.display()));
}

struct Demo {
    gateway: Gateway,
    erp: Stub,
    crm: Stub,
    screen: Screen,
    sent: Sent,
}

/// Why a demo ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The burst is over, or took too long.
    Expected,
    /// Ctrl-C.
    Interrupted,
}

/// What Salesforce did so far.
#[derive(Default)]
struct Sent {
    envelopes: u64,
    acks: u64,
    dropped: u64,
}

impl Demo {
    async fn once(mut self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + ONCE_AT_MOST;
        self.send(1, ENVELOPES_FIRST).await?;
        loop {
            let ledger = self.draw().await?;
            if is_idle(&ledger.deliveries) || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(REDRAW).await;
        }
        self.finish(End::Expected).await
    }

    async fn until_interrupted(mut self, mut interrupt: Signal) -> anyhow::Result<bool> {
        print::line("Ctrl-C ends it.");
        self.send(1, ENVELOPES_FIRST).await?;
        let mut sent = Instant::now();
        for seed in 2.. {
            while sent.elapsed() < SEND_AGAIN {
                self.draw().await?;
                tokio::select! {
                    _ = interrupt.recv() => return self.interrupted(interrupt).await,
                    () = tokio::time::sleep(REDRAW) => {}
                }
            }
            self.send(seed, 5).await?;
            sent = Instant::now();
        }
        self.interrupted(interrupt).await
    }

    /// Lets what is under way arrive, for a while, so that the end of it can be told. A second Ctrl-C does not wait.
    async fn interrupted(mut self, mut interrupt: Signal) -> anyhow::Result<bool> {
        print::line("Interrupted: nothing more is sent, and what is under way arrives first.");
        let deadline = Instant::now() + INTERRUPTED_AT_MOST;
        while !is_idle(&self.draw().await?.deliveries) && Instant::now() < deadline {
            tokio::select! {
                _ = interrupt.recv() => break,
                () = tokio::time::sleep(REDRAW) => {}
            }
        }
        self.finish(End::Interrupted).await
    }

    /// Sends as Salesforce does: batches, duplicates, changed repeats, and again what was not acknowledged.
    async fn send(&mut self, seed: u64, envelopes: u64) -> anyhow::Result<()> {
        let url = format!("http://{}/om/order-won", self.gateway.public_address());
        let files = ENVELOPES.iter().map(|(name, text)| send::File::embedded(name, text)).collect();
        let plan = send::Plan {
            count: Some(envelopes),
            ids: send::Ids::Fresh,
            duplicates: 10.0,
            connections: 4,
            seed: Some(seed),
            retry: Some(send::Retry { first: Duration::from_millis(100), give_up_after: None }),
            ..send::Plan::new(url.parse().context("making the gateway's address")?, files)
        };
        let summary = send::run_plan(plan, |_| {}).await?;
        self.sent.envelopes += summary.progress.envelopes;
        self.sent.acks += summary.progress.acks;
        self.sent.dropped += summary.progress.dropped;
        Ok(())
    }

    async fn draw(&mut self) -> anyhow::Result<Ledger> {
        let ledger = self.gateway.store().ledger().await.context("reading the ledger")?;
        self.screen.draw(&ledger);
        Ok(ledger)
    }

    /// Compares what Salesforce was told, what the ledger says, and what the systems took.
    async fn finish(mut self, end: End) -> anyhow::Result<bool> {
        let ledger = self.draw().await?;
        let verified = self.gateway.store().verify().await.context("verifying the store")?;
        let unique = u64::try_from(ledger.notifications.unique).unwrap_or(0);
        let unknown = u64::try_from(ledger.attempts.unknown).unwrap_or(0);
        let (at_erp, at_crm) = (self.erp.taken().unique(), self.crm.taken().unique());
        let repeats = self.erp.taken().repeats() + self.crm.taken().repeats();
        let requests = self.erp.taken().requests() + self.crm.taken().requests();
        print::line(&format!(
            "Salesforce sent {} envelopes and got {} acks; {} notifications received, {unique} of them unique.",
            self.sent.envelopes, self.sent.acks, ledger.notifications.received
        ));
        print::line(&format!(
            "The ERP took {at_erp} and the CRM {at_crm}, in {requests} calls: {} were told to try again, \
             {repeats} came twice because their answer was lost ({unknown} such attempts are on the books).",
            requests.saturating_sub(at_erp + at_crm + repeats)
        ));
        let delivered = u64::try_from(ledger.deliveries.delivered).unwrap_or(0);
        let left = under_way(&ledger.deliveries);
        let checks = [
            (ledger.balanced && verified.is_empty(), "the ledger balances, and agrees with the rows"),
            (delivered == 2 * unique && is_idle(&ledger.deliveries), "everything was delivered"),
            (at_erp == unique && at_crm == unique, "each system took each notification"),
            (repeats <= unknown, "nothing came twice that is not on the books"),
            (self.sent.dropped == 0 && self.sent.acks == self.sent.envelopes, "everything was acknowledged"),
        ];
        // Of what is still under way only the ledger can be told.
        let told = checks.get(..if end == End::Interrupted && left > 0 { 1 } else { checks.len() }).unwrap_or_default();
        if told.len() < checks.len() {
            print::line(&format!(
                "{left} deliveries were still under way: a gateway goes on with them at its next start."
            ));
        }
        for (holds, what) in told {
            print::line(&format!("{} {what}", if *holds { "yes:" } else { "NO: " }));
        }
        self.gateway.shutdown().await;
        self.erp.stop().await;
        self.crm.stop().await;
        ensure!(unique > 0, "nothing was sent");
        Ok(told.iter().all(|(holds, _)| *holds))
    }
}

/// How many deliveries are not settled.
fn under_way(counts: &DeliveryCounts) -> i64 {
    counts.waiting + counts.blocked + counts.in_flight + counts.held
}

fn is_idle(counts: &DeliveryCounts) -> bool {
    under_way(counts) == 0
}

/// Draws the table: over itself on a terminal, else only when it changed.
struct Screen {
    redraws: bool,
    lines: usize,
    last: String,
}

impl Screen {
    fn new() -> Self {
        Self { redraws: std::io::stdout().is_terminal(), lines: 0, last: String::new() }
    }

    fn draw(&mut self, ledger: &Ledger) {
        let mut table =
            print::table(&["destination", "routed", "waiting", "blocked", "in flight", "delivered", "dead"]);
        let all = std::iter::once(("all", &ledger.deliveries));
        for (name, counts) in ledger.destinations.iter().map(|(name, counts)| (name.as_str(), counts)).chain(all) {
            let counts =
                [counts.routed, counts.waiting, counts.blocked, counts.in_flight, counts.delivered, counts.dead];
            table.add_row(std::iter::once(name.to_owned()).chain(counts.iter().map(ToString::to_string)));
        }
        let text = print::drawn(&table);
        if text == self.last {
            return;
        }
        if self.redraws && self.lines > 0 {
            print::line(&format!("\u{1b}[{}A\u{1b}[J{text}", self.lines + 1));
        } else {
            print::line(&text);
        }
        self.lines = text.lines().count();
        self.last = text;
    }
}

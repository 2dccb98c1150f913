//! `omgate store`: look after the store.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cli::client::{AdminArgs, ChangeArgs, Client};
use crate::cli::{moving, print, rekey};
use crate::clock::{SystemClock, Timestamp};
use crate::config::{self, Loaded};
use crate::disk;
use crate::gateway::open;
use crate::parse;
use crate::person;
use crate::store::sqlite::{self, Options, SqliteStore};
use crate::store::{Backup, By, Deed, Pruned, Store, contents, pace};

/// How often a backup under way is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Longer than any pruning takes.
const WITHOUT_END: Duration = Duration::from_secs(30 * 86_400);

/// Arguments of `store`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Compare every counter of the ledger with the rows, with what was pruned and with its days. Asks the running gateway;
    /// without one it opens the store.
    Verify {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take away now what was kept as long as `[retention]` says. The running gateway does it; without one it is done on the
    /// file.
    Prune {
        #[command(flatten)]
        change: ChangeArgs,
        /// Write the file of a stopped gateway anew afterwards, so that all its free space is returned at once.
        #[arg(long, conflicts_with = "dry_run")]
        vacuum: bool,
    },
    /// Copy the store into a new file while the gateway goes on, and look through the copy.
    Backup {
        /// The file; nothing is overwritten. The gateway writes it, so it must be allowed to.
        file: PathBuf,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Write every payload anew with the key in force ([store.encryption]), or in clear where none is, while the gateway goes
    /// on. Without a gateway it is done on the store.
    Rekey(ChangeArgs),
    /// Move everything into another store while the gateway goes on, and turn to that one: from a file to PostgreSQL, or back.
    /// A move that was cut off goes on with the same command.
    Move(moving::Args),
}

/// Runs `omgate store`; exit code 1 when something disagrees.
///
/// # Errors
/// When neither the gateway nor the store can be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Verify { json } => verify(&args.admin, json).await,
        Verb::Prune { change, vacuum } => prune(&args.admin, &change, vacuum).await,
        Verb::Rekey(change) => rekey::run(&args.admin, &change).await,
        Verb::Move(order) => moving::run(&args.admin, order).await,
        Verb::Backup { file, change } => backup(&args.admin, &file, &change).await,
    }
}

async fn verify(admin: &AdminArgs, json: bool) -> anyhow::Result<ExitCode> {
    let client = admin.client()?;
    let found = match client.get("/store/verify", &[]).await {
        Ok(found) => found,
        Err(error) if may_open(admin, &error) => verify_file(admin).await.with_context(|| format!("{error:#}"))?,
        Err(error) => return Err(error),
    };
    let count = found.as_array().map_or(0, Vec::len);
    if json {
        print::json(&found);
    } else if count == 0 {
        print::line("every counter agrees with the rows, with what was pruned, and with its days");
    } else {
        print::list(&found, &[("account", "/account"), ("counter", "/counter"), ("rows", "/rows")]);
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn verify_file(admin: &AdminArgs) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let queue_max = loaded.server.limits.queue_max;
    open::is_current(&loaded.store).await?;
    let opened =
        open::store((loaded.store, loaded.encryption), loaded.hold_unknown, queue_max, SystemClock::shared()).await?;
    let store = opened.store;
    let found = contents::verify(&*store, parse::has_hash).await?;
    store.close().await;
    Ok(serde_json::to_value(found)?)
}

/// What is done to a file alone is refused for a database.
fn refuse_database(loaded: &Loaded, instead: &str) -> anyhow::Result<()> {
    if loaded.store.is_database() {
        bail!("the store {} is {instead}", loaded.store.shown());
    }
    Ok(())
}

/// What a person did to a store that no gateway has open, for its audit log.
pub(super) fn deed(at: Timestamp, by: By, verb: &str, object_id: &str, count: u64, result: String) -> Deed {
    Deed {
        at,
        by,
        verb: verb.to_owned(),
        object: "store",
        object_id: object_id.to_owned(),
        count,
        result,
        ..Deed::default()
    }
}

const NOT_NOTED: &str = "writing the audit log";

/// Whether nobody answered at all at the address that the configuration names, so that its store may be opened in the
/// gateway's place.
pub(super) fn may_open(admin: &AdminArgs, error: &anyhow::Error) -> bool {
    !admin.names_address() && is_unreachable(error)
}

/// Whether nobody listens there.
pub(super) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect))
}

async fn prune(admin: &AdminArgs, change: &ChangeArgs, vacuum: bool) -> anyhow::Result<ExitCode> {
    let client = admin.client()?;
    if vacuum && !admin.names_address() {
        let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
        refuse_database(&loaded, "written anew by its own VACUUM FULL, not by omgate")?;
    }
    // Asked first, so that nothing is pruned where the file cannot be written anew then.
    if vacuum && !matches!(client.get("/ledger", &[]).await, Err(error) if is_unreachable(&error)) {
        bail!(
            "the gateway runs: its file cannot be written anew, and nothing was pruned; stop it first, then prune with --vacuum"
        );
    }
    let by_gateway =
        if change.dry_run { client.change("/store/prune", change).await } else { prune_on(&client, change).await };
    let mut report = match by_gateway {
        Ok(report) => report,
        Err(error) if may_open(admin, &error) => {
            prune_closed(admin, change).await.with_context(|| format!("{error:#}"))?
        }
        Err(error) => return Err(error),
    };
    if vacuum {
        let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
        let (before, after) = SqliteStore::compact(&loaded.store.path)?;
        if let Some(report) = report.as_object_mut() {
            report.insert("file_bytes_before".to_owned(), json!(before));
            report.insert("file_bytes_after".to_owned(), json!(after));
            report.insert("can_shrink".to_owned(), json!(true));
            report.insert("bytes_free".to_owned(), json!(0));
        }
    }
    if change.json {
        print::json(&report);
    } else if change.dry_run {
        note_prunable(&report);
    } else {
        note_pruned(&report);
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets the gateway prune until nothing is left; each call does some of it.
async fn prune_on(client: &Client, change: &ChangeArgs) -> anyhow::Result<Value> {
    let mut sum = client.change("/store/prune", change).await?;
    while sum.get("done").and_then(Value::as_bool) == Some(false) {
        let more = client.change("/store/prune", change).await?;
        for (key, value) in more.as_object().into_iter().flatten() {
            let adds = !matches!(key.as_str(), "done" | "can_shrink" | "bytes_free");
            let before = sum.get(key).and_then(Value::as_u64).filter(|_| adds).unwrap_or(0);
            let value = value.as_u64().map_or_else(|| value.clone(), |count| json!(before.saturating_add(count)));
            if let Some(sum) = sum.as_object_mut() {
                sum.insert(key.clone(), value);
            }
        }
    }
    Ok(sum)
}

async fn prune_closed(admin: &AdminArgs, change: &ChangeArgs) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    if change.dry_run {
        open::is_current(&loaded.store).await?;
    }
    let (queue_max, retention) = (loaded.server.limits.queue_max, loaded.retention);
    // On a database other gateways may be at work, and must not wait for this.
    let company = if loaded.store.is_database() { pace::Company::Others } else { pace::Company::Nobody };
    let opened =
        open::store((loaded.store, loaded.encryption), loaded.hold_unknown, queue_max, SystemClock::shared()).await?;
    let (store, clock) = (opened.store, opened.clock);
    let report = if change.dry_run {
        serde_json::to_value(store.prunable(retention, clock.now()).await?)?
    } else {
        let pruned: Pruned = pace::prune(&*store, &retention, &clock, company, WITHOUT_END).await?;
        let result = serde_json::to_string(&pruned)?;
        let by = By::new(person::of_this_process(), &change.reason);
        store.audit(deed(clock.now(), by, "prune", "", pruned.deliveries, result)).await.context(NOT_NOTED)?;
        serde_json::to_value(pruned)?
    };
    store.close().await;
    Ok(report)
}

fn counts(report: &Value, names: &[&str]) -> String {
    let count = |name: &&str| format!("{} {}", print::cell(report.get(*name)), name.replace('_', " "));
    names.iter().map(count).collect::<Vec<_>>().join(", ")
}

fn note_prunable(report: &Value) {
    let what = counts(report, &["payloads", "attempts", "deliveries", "notifications", "audit"]);
    print::line(&format!("would go now: {what}"));
    print::line(
        "with its last delivery goes a notification too, and its envelope; what another may still need stays until that is settled",
    );
    hint(report);
}

fn note_pruned(report: &Value) {
    let what = counts(report, &["payloads", "attempts", "deliveries", "notifications", "envelopes", "audit"]);
    print::line(&format!("pruned: {what}; {}", counts(report, &["bytes_returned", "bytes_free"])));
    if let (Some(before), Some(after)) = (report.get("file_bytes_before"), report.get("file_bytes_after")) {
        print::line(&format!("the file had {before} bytes and has {after}"));
    }
    hint(report);
}

/// What to do about a file that cannot give space back.
fn hint(report: &Value) {
    if report.get("can_shrink").and_then(Value::as_bool) == Some(false) {
        print::line(
            "the file was made by an earlier omgate and cannot give space back yet: stop the gateway and run `omgate store \
             prune --vacuum` once",
        );
    }
}

async fn backup(admin: &AdminArgs, file: &std::path::Path, change: &ChangeArgs) -> anyhow::Result<ExitCode> {
    let file = std::path::absolute(file).with_context(|| format!("finding the place of {}", file.display()))?;
    let client = admin.client()?;
    if change.dry_run {
        return backup_room(admin, &client, (file, change.json)).await;
    }
    let body = json!({"file": file, "reason": change.reason});
    let made = match client.post("/store/backup", &body).await {
        Ok(_) => follow(&client, ("backup", "backup"), pages(), show_pages).await?,
        Err(error) if may_open(admin, &error) => {
            let made = backup_file(admin, file, &change.reason).await.with_context(|| format!("{error:#}"))?;
            serde_json::to_value(made)?
        }
        Err(error) => return Err(error),
    };
    let balanced = made.get("balanced").and_then(Value::as_bool).unwrap_or(false);
    if change.json {
        print::json(&made);
    } else {
        let what = counts(&made, &["bytes", "notifications", "deliveries"]);
        print::line(&format!("{}: {what}", print::cell(made.get("file"))));
        print::line(if balanced {
            "it is whole, and its ledger agrees with its rows"
        } else {
            "IT IS A FAITHFUL COPY OF A STORE WHOSE LEDGER DOES NOT AGREE WITH ITS ROWS; run `omgate store verify`"
        });
    }
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says whether a backup could be made, and how large it would be.
async fn backup_room(admin: &AdminArgs, client: &Client, (file, json): (PathBuf, bool)) -> anyhow::Result<ExitCode> {
    let room = match client.post("/store/backup", &json!({"file": file, "dry_run": true})).await {
        Ok(room) => room,
        Err(error) if may_open(admin, &error) => {
            let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
            refuse_database(&loaded, "backed up with its database's own tools, such as pg_dump")?;
            json!(sqlite::backup_room(&loaded.store.path, &file)?)
        }
        Err(error) => return Err(error),
    };
    if json {
        print::json(&room);
    } else {
        let bytes = |key: &str| disk::in_words(room.get(key).and_then(Value::as_u64).unwrap_or(0));
        print::line(&format!(
            "{} would be written, of {} at the most; {} are free there; nothing was written",
            print::cell(room.get("file")),
            bytes("bytes"),
            bytes("free_bytes")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn pages() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} pages, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn show_pages(bar: &ProgressBar, backup: &Value) {
    let number = |key: &str| backup.get(key).and_then(Value::as_u64).unwrap_or(0);
    bar.set_length(number("pages"));
    bar.set_position(number("pages_copied"));
}

/// Shows how far a gateway is with its store until that ended; what came of it, which stands under `done`.
pub(super) async fn follow(
    client: &Client,
    (what, done): (&str, &str),
    bar: ProgressBar,
    show: fn(&ProgressBar, &Value),
) -> anyhow::Result<Value> {
    let path = format!("/store/{what}");
    let mut standing = client.get(&path, &[]).await?;
    while standing.get("state").and_then(Value::as_str) == Some("running") {
        show(&bar, &standing);
        tokio::time::sleep(LOOK).await;
        standing = client.get(&path, &[]).await?;
    }
    bar.finish_and_clear();
    if standing.get("state").and_then(Value::as_str) != Some("done") {
        bail!("{}", print::cell(standing.get("error")));
    }
    Ok(standing.get_mut(done).map(Value::take).unwrap_or_default())
}

async fn backup_file(admin: &AdminArgs, file: PathBuf, reason: &str) -> anyhow::Result<Backup> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    refuse_database(&loaded, "backed up with its database's own tools, such as pg_dump")?;
    let clock = SystemClock::shared();
    let options = Options::new(loaded.store.path, Arc::clone(&clock));
    let store = SqliteStore::open(Options { hold_unknown: loaded.hold_unknown, ..options })?;
    let name = file.to_string_lossy().into_owned();
    let made = store.backup(file, watch::Sender::new((0, 0))).await?;
    let by = By::new(person::of_this_process(), reason);
    store.audit(deed(clock.now(), by, "backup", &name, 1, "done".to_owned())).await.context(NOT_NOTED)?;
    store.close().await;
    Ok(made)
}

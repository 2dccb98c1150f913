//! `omgate store rekey`: has every payload written anew with the key in force.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::print;
use crate::cli::store::{deed, follow, may_open};
use crate::clock::SystemClock;
use crate::config;
use crate::gateway::open;
use crate::person;
use crate::store::By;
use crate::store::pace::Company;
use crate::store::sealed::rekey::{self, Progress};
use crate::store::sqlite::SqliteStore;

/// How often a walk under way is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(admin: &AdminArgs, change: &ChangeArgs) -> anyhow::Result<ExitCode> {
    let client = admin.client()?;
    let order = json!({"reason": change.reason, "dry_run": change.dry_run});
    let rekeyed = match client.post("/store/rekey", &order).await {
        Ok(_) => follow(&client, ("rekey", "rekeyed"), bar(), show_walk).await?,
        Err(error) if may_open(admin, &error) => closed(admin, change).await.with_context(|| format!("{error:#}"))?,
        Err(error) => return Err(error),
    };
    if change.json {
        print::json(&rekeyed);
    } else {
        tell(&rekeyed);
    }
    let failed = rekeyed.get("failed").and_then(Value::as_u64).unwrap_or(0);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} rows, {per_sec}, {elapsed}: {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: &Value) {
    bar.set_position(progress.get("rows").and_then(Value::as_u64).unwrap_or(0));
    let changed = print::cell(progress.get("changed"));
    bar.set_message(format!("table {}, {changed} written anew", print::cell(progress.get("table"))));
}

fn show_walk(bar: &ProgressBar, standing: &Value) {
    show(bar, standing.get("progress").unwrap_or(&Value::Null));
}

/// Does it on the store of a gateway that does not run.
async fn closed(admin: &AdminArgs, change: &ChangeArgs) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    if change.dry_run {
        open::is_current(&loaded.store).await?;
    }
    let company = if loaded.store.is_database() { Company::Others } else { Company::Nobody };
    let file = Some(loaded.store.path.clone()).filter(|_| !loaded.store.is_database());
    let (named, queue_max) = ((loaded.store, loaded.encryption), loaded.server.limits.queue_max);
    let opened = open::store(named, loaded.hold_unknown, queue_max, SystemClock::shared()).await?;
    let (progress, seen) = watch::channel(Progress::default());
    let bar = bar();
    let walking = rekey::rekey(&*opened.store, &opened.keys, &opened.clock, company, change.dry_run, &progress);
    let watching = async {
        loop {
            tokio::time::sleep(LOOK).await;
            show(&bar, &json!(*seen.borrow()));
        }
    };
    let rekeyed = tokio::select! { rekeyed = walking => rekeyed?, () = watching => bail!("it was given up") };
    bar.finish_and_clear();
    if !change.dry_run {
        let by = By::new(person::of_this_process(), &change.reason);
        let result = serde_json::to_string(&rekeyed)?;
        let deed = deed(opened.clock.now(), by, "rekey", "", rekeyed.changed, result);
        opened.store.audit(deed).await.context("writing the audit log")?;
    }
    opened.store.close().await;
    // Pieces of what stood there in clear may be left in pages that are in use.
    if let Some(file) = file.filter(|_| !change.dry_run && was_in_clear(&json!(rekeyed))) {
        drop(opened);
        SqliteStore::compact(&file)?;
        let mut told = serde_json::to_value(rekeyed)?;
        if let Some(told) = told.as_object_mut() {
            told.insert("written_anew".to_owned(), json!(true));
        }
        return Ok(told);
    }
    Ok(serde_json::to_value(rekeyed)?)
}

/// Whether payloads that are encrypted now were found in clear.
fn was_in_clear(rekeyed: &Value) -> bool {
    rekeyed.get("active").is_some_and(Value::is_string) && rekeyed.pointer("/found/").is_some()
}

fn tell(rekeyed: &Value) {
    let number = |key: &str| print::cell(rekeyed.get(key));
    let goal = match rekeyed.get("active").and_then(Value::as_str) {
        Some(active) => format!("key {active}"),
        None => "no key: payloads stand in clear".to_owned(),
    };
    let is_dry = rekeyed.get("dry_run").and_then(Value::as_bool) == Some(true);
    print::line(&format!(
        "{} rows of notifications, deliveries, attempts, kept answers, searched fields, refused POSTs and systems; in force: \
         {goal}",
        number("rows")
    ));
    print::line(&format!("  {} have nothing in them that is ever encrypted", number("empty")));
    for (key, count) in rekeyed.get("found").and_then(Value::as_object).into_iter().flatten() {
        let was = if key.is_empty() { "in clear".to_owned() } else { format!("under key {key}") };
        print::line(&format!("  {} {was}", print::cell(Some(count))));
    }
    if rekeyed.get("repeated").and_then(Value::as_u64).unwrap_or(0) > 0 {
        print::line(&format!("  less {}: rows with values under several keys count under each", number("repeated")));
    }
    if is_dry {
        print::line(&format!("{} would be written anew", number("outdated")));
    } else {
        print::line(&format!("{} written anew", number("changed")));
    }
    for reason in rekeyed.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("cannot be read: {}", print::cell(Some(reason))));
    }
    if rekeyed.get("failed").and_then(Value::as_u64).unwrap_or(0) > 0 {
        print::line(&format!(
            "{} rows cannot be read and stayed as they are; their keys are still needed",
            number("failed")
        ));
    }
    if !is_dry && was_in_clear(rekeyed) && rekeyed.get("written_anew").is_none() {
        print::line(
            "pages of a SQLite file may still hold pieces of what stood there in clear: stop the gateway once and run `omgate \
             store prune --vacuum`; then make a new backup",
        );
    }
    let unused: Vec<String> = rekeyed
        .get("unused")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|key| print::cell(Some(key)))
        .collect();
    if !unused.is_empty() {
        let unused = unused.join(", ");
        print::line(&format!("nothing needs these keys any more, take them out of [store.encryption] keys: {unused}"));
    }
}

//! `omgate status`: how the gateway stands, and its accounts.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the ledger as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the ledger; exit code 1 when it does not balance.
///
/// # Errors
/// When the gateway cannot be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let ledger = client.get("/ledger", &[]).await?;
    if args.json {
        print::json(&ledger);
    } else {
        let status = client.get("/status", &[]).await?;
        standing(&status);
        accounts(&ledger);
    }
    let balanced = ledger.get("balanced").and_then(Value::as_bool).unwrap_or(false);
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn standing(status: &Value) {
    match status.get("reason").and_then(Value::as_str) {
        None => print::line("ready"),
        Some(reason) => print::line(&format!("not ready: {reason}")),
    }
    for need in status.get("needs").and_then(Value::as_array).into_iter().flatten() {
        if need.get("what").and_then(Value::as_str) == Some("reload") {
            // Said below, and all of it.
            continue;
        }
        let (text, hint) = (print::cell(need.get("text")), print::cell(need.get("hint")));
        print::line(&format!("! {text}"));
        if !hint.is_empty() {
            print::line(&format!("  {hint}"));
        }
    }
    configuration(status);
    edge(status);
    let has_failed = status.pointer("/config/last_failed").is_some_and(|failed| !failed.is_null());
    for alarm in status.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        if has_failed && alarm.get("alarm").and_then(Value::as_str) == Some("reload") {
            // What it says was said above, and all of it.
            continue;
        }
        let (subject, message) = (print::cell(alarm.get("subject")), print::cell(alarm.get("message")));
        print::line(&format!("alarm {}({subject}): {message}", print::cell(alarm.get("alarm"))));
    }
    for system in status.get("systems").and_then(Value::as_object).into_iter().flat_map(|systems| systems.values()) {
        let code = system.pointer("/why/code").and_then(Value::as_str).unwrap_or_default();
        if matches!(code, "paused" | "closed" | "breaker") {
            print::line(&print::cell(system.pointer("/why/text")));
        }
    }
}

/// Which configuration is in force, and what stands between it and the file.
fn configuration(status: &Value) {
    let Some(config) = status.get("config").filter(|config| !config.is_null()) else { return };
    let text = |pointer: &str| print::cell(config.pointer(pointer));
    print::line(&format!("configuration {} in force since {} (by {})", text("/version"), text("/at"), text("/by")));
    for key in config.get("needs_restart").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("  {} counts from the next start", print::cell(Some(key))));
    }
    if config.get("last_failed").is_some_and(|failed| !failed.is_null()) {
        let (at, by, error) = (text("/last_failed/at"), text("/last_failed/by"), text("/last_failed/error"));
        print::line(&format!("  the reload at {at} (by {by}) failed: {}", error.replace('\n', "\n    ")));
    }
}

/// Until when certificates hold, and which ones of clients were refused.
fn edge(status: &Value) {
    for file in status.get("certificates").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| print::cell(file.pointer(pointer));
        let (key, subject, at, days) =
            (text("/key"), text("/chain/0/subject"), text("/expires_at"), text("/days_left"));
        print::line(&format!("{key} ({subject}): holds until {at}, for {days} days"));
        for fault in file.get("faults").and_then(Value::as_array).into_iter().flatten() {
            print::line(&format!("  {}", print::cell(Some(fault))));
        }
    }
    for refused in status.get("refused_certificates").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| print::cell(refused.get(key));
        let (count, subject, issuer, reason) = (text("count"), text("subject"), text("issuer"), text("reason"));
        print::line(&format!(
            "client certificate refused {count} times, last at {} from {}: {subject}, issued by {issuer}: {reason}",
            text("last_at"),
            text("sender")
        ));
        for line in refused.get("let_in").and_then(Value::as_array).into_iter().flatten() {
            print::line(&format!("  to let it in: {}", print::cell(Some(line))));
        }
    }
}

fn accounts(ledger: &Value) {
    for key in ["notifications", "attempts"] {
        let counts = ledger.get(key).and_then(Value::as_object);
        let text: Vec<String> =
            counts.into_iter().flatten().map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
        print::line(&format!("{key}: {}", text.join(", ")));
    }
    let all = ledger.get("deliveries");
    let names: Vec<&String> = all.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name).collect();
    let mut heads = vec!["destination"];
    let words: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    heads.extend(words.iter().map(String::as_str));
    let mut table = print::table(&heads).of_lines();
    let each = ledger.get("destinations").and_then(Value::as_object).into_iter().flatten();
    let rows = each.map(|(name, counts)| (name.as_str(), Some(counts))).chain(std::iter::once(("all", all)));
    for (name, counts) in rows {
        let counts = names.iter().map(|key| print::cell(counts.and_then(|counts| counts.get(key.as_str()))));
        table.add_row(std::iter::once(name.to_owned()).chain(counts));
    }
    print::rows(&table);
    let balanced = ledger.get("balanced").and_then(Value::as_bool).unwrap_or(false);
    print::line(if balanced { "the ledger balances" } else { "THE LEDGER DOES NOT BALANCE" });
}

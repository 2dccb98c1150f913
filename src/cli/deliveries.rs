//! `omgate deliveries`, `omgate dead`: look at deliveries, and change one.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::client::{AdminArgs, ChangeArgs, Client};
use crate::cli::print;

/// Arguments of `deliveries` and `dead`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List deliveries, newest first.
    List(ListArgs),
    /// Show one with its attempts.
    Show {
        /// The delivery's id.
        id: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send a dead letter again.
    Replay(OneArgs),
    /// Stop one that waits.
    Hold(OneArgs),
    /// Let a held one go on.
    Release(OneArgs),
    /// Give one up; needs a reason.
    Discard(OneArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only in this state.
    #[arg(long)]
    state: Option<String>,
    /// Only to this destination.
    #[arg(long)]
    destination: Option<String>,
    /// Only along this route.
    #[arg(long)]
    route: Option<String>,
    /// Only of this record.
    #[arg(long)]
    record_id: Option<String>,
    /// Only of this notification.
    #[arg(long)]
    notification_id: Option<String>,
    /// Below this delivery id: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The delivery's id.
    id: i64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `omgate deliveries`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    run_on(args, "/deliveries").await
}

/// Runs `omgate dead`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run_dead(args: Args) -> anyhow::Result<ExitCode> {
    run_on(args, "/dead").await
}

async fn run_on(args: Args, list_path: &str) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List(filter) => list(&client, list_path, filter).await?,
        Verb::Show { id, json } => show(&client, id, json).await?,
        Verb::Replay(one) => change(&client, one, "replay").await?,
        Verb::Hold(one) => change(&client, one, "hold").await?,
        Verb::Release(one) => change(&client, one, "release").await?,
        Verb::Discard(one) => change(&client, one, "discard").await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, path: &str, filter: ListArgs) -> anyhow::Result<()> {
    let mut query = vec![("limit", filter.limit.to_string())];
    let texts = [
        ("state", filter.state),
        ("destination", filter.destination),
        ("route", filter.route),
        ("record_id", filter.record_id),
        ("notification_id", filter.notification_id),
        ("before", filter.before.map(|id| id.to_string())),
    ];
    query.extend(texts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    let mut found = client.get(path, &query).await?;
    if filter.json {
        print::json(&found);
    } else if path == "/dead" {
        print::list(
            &found,
            &[
                ("delivery", "/delivery_id"),
                ("notification", "/notification_id"),
                ("record", "/record_id"),
                ("destination", "/destination"),
                ("attempts", "/attempts"),
                ("died at", "/died_at"),
                ("reason", "/reason"),
            ],
        );
    } else {
        found.as_array_mut().into_iter().flatten().for_each(say_why);
        print::list(
            &found,
            &[
                ("delivery", "/delivery_id"),
                ("notification", "/notification_id"),
                ("record", "/record_id"),
                ("destination", "/destination"),
                ("state", "/state"),
                ("attempts", "/attempts"),
                ("due at", "/due_at"),
                ("reason", "/reason"),
            ],
        );
    }
    Ok(())
}

/// Of what waits, why it does says more than what its last attempt came to.
fn say_why(delivery: &mut Value) {
    if let Some(why) = delivery.pointer("/why/text").cloned()
        && let Some(reason) = delivery.get_mut("reason")
    {
        *reason = why;
    }
}

async fn show(client: &Client, id: i64, json: bool) -> anyhow::Result<()> {
    let found = client.get(&format!("/deliveries/{id}"), &[]).await?;
    if json {
        print::json(&found);
        return Ok(());
    }
    let empty = serde_json::Map::new();
    for (name, value) in found.get("delivery").and_then(Value::as_object).unwrap_or(&empty) {
        let value = value.get("text").unwrap_or(value);
        print::line(&format!("{:<17} {}", name.replace('_', " "), print::cell(Some(value))));
    }
    let attempts = found.get("attempts").cloned().unwrap_or_default();
    print::list(
        &attempts,
        &[
            ("attempt", "/number"),
            ("started at", "/started_at"),
            ("ms", "/duration_ms"),
            ("outcome", "/outcome"),
            ("status", "/status"),
            ("reason", "/reason"),
        ],
    );
    attempts.as_array().into_iter().flatten().for_each(exchange);
    Ok(())
}

/// What was sent in an attempt, and what came back.
fn exchange(attempt: &Value) {
    let text = |key: &str| print::cell(attempt.get(key));
    let cut = |key: &str| if attempt.get(key) == Some(&Value::Bool(true)) { " (cut)" } else { "" };
    print::line(&format!("\nattempt {}: {}{}", text("number"), text("request_line"), cut("request_cut")));
    print::line(&text("request"));
    let status = text("status");
    if !status.is_empty() {
        print::line(&format!("\nHTTP {status}{}", cut("response_cut")));
        print::line(&text("response"));
    }
}

async fn change(client: &Client, one: OneArgs, verb: &str) -> anyhow::Result<()> {
    let changed = client.change(&format!("/deliveries/{}/{verb}", one.id), &one.change).await?;
    if one.change.json {
        print::json(&changed);
    } else if one.change.dry_run {
        print::line(&format!("delivery {} is {}; {verb} would be done", one.id, print::cell(changed.get("state"))));
    } else {
        print::line(&format!("delivery {} is now {}", one.id, print::cell(changed.get("state"))));
    }
    Ok(())
}

//! `omgate systems`: how the target systems stand; pause and resume one.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::destinations::encoded;
use crate::cli::print;
use crate::clock::{SystemClock, Timestamp};
use crate::config;

/// Arguments of `systems`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the systems.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop calling a system; its deliveries wait.
    Pause(PauseArgs),
    /// Call a system again.
    Resume(OneArgs),
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The system's name.
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct PauseArgs {
    #[command(flatten)]
    one: OneArgs,
    /// When it ends by itself, such as 2026-12-01T06:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "span")]
    until: Option<Timestamp>,
    /// After how long it ends by itself, such as 90m or 2h.
    #[arg(long = "for", id = "span", value_name = "TIME", value_parser = span)]
    span: Option<Duration>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let form = "write date, time and zone, such as 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00";
    serde_json::from_value(json!(text)).map_err(|_| format!("that is no moment; {form}"))
}

/// How long a pause may be that ends by itself.
const SPAN_MAX: Duration = Duration::from_secs(3_650 * 86_400);

fn span(text: &str) -> Result<Duration, String> {
    let span = config::duration(text)?;
    if span.is_zero() {
        return Err("a pause of no time is none; write how long, such as 90m or 2h".to_owned());
    }
    if span > SPAN_MAX {
        return Err("that is longer than 3650d; leave --for out for a pause that only a person ends".to_owned());
    }
    Ok(span)
}

/// Runs `omgate systems`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let (one, verb, until) = match args.verb {
        Verb::List { json } => {
            let systems = client.get("/systems", &[]).await?;
            if json {
                print::json(&systems)
            } else {
                list(&systems)
            }
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Pause(PauseArgs { one, until, span }) => {
            let now = SystemClock::shared().now();
            (one, "pause", until.or_else(|| span.map(|span| now.plus(span))))
        }
        Verb::Resume(one) => (one, "resume", None),
    };
    let state = client.change_until(&format!("/systems/{}/{verb}", encoded(&one.name)), &one.change, until).await?;
    if one.change.json {
        print::json(&state);
    } else if one.change.dry_run {
        let stands = if state.get("paused").is_none_or(Value::is_null) { "goes on" } else { "is paused" };
        print::line(&format!("system {} {stands}; {verb} would be done", one.name));
    } else {
        list(&json!({ one.name.as_str(): state }));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(systems: &Value) {
    let mut table = print::table(&["system", "is", "why"]);
    for (name, state) in systems.as_object().into_iter().flatten() {
        let stands = state.pointer("/why/code").and_then(Value::as_str).unwrap_or("open");
        table.add_row([name.clone(), stands.to_owned(), print::cell(state.pointer("/why/text"))]);
    }
    print::line(&table.to_string());
}

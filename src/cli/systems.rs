//! `omgate systems`: how the target systems stand; pause and resume one.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::print;

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
    Pause(OneArgs),
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

/// Runs `omgate systems`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let (one, verb) = match args.verb {
        Verb::List { json } => {
            let systems = client.get("/systems", &[]).await?;
            if json {
                print::json(&systems)
            } else {
                list(&systems)
            }
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Pause(one) => (one, "pause"),
        Verb::Resume(one) => (one, "resume"),
    };
    let state = client.change(&format!("/systems/{}/{verb}", one.name), &one.change).await?;
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
    let mut table = print::table(&["system", "paused since", "probe at", "reason"]);
    for (name, state) in systems.as_object().into_iter().flatten() {
        let part = |key: &str| print::cell(state.pointer(&format!("/paused/{key}")));
        table.add_row([name.clone(), part("since"), part("probe_at"), part("reason")]);
    }
    print::line(&table.to_string());
}

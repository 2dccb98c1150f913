//! `omgate systems`: how the target systems stand; pause and resume one.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::destinations::{encoded, name, say_queue};
use crate::cli::pause::{PauseArgs, would_end};
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
    Pause(PauseOne),
    /// Call a system again.
    Resume(OneArgs),
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The system's name.
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct PauseOne {
    /// The system's name.
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    pause: PauseArgs,
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
        Verb::Pause(PauseOne { name, pause }) => {
            let until = pause.ends();
            (OneArgs { name, change: pause.change }, "pause", until)
        }
        Verb::Resume(one) => (one, "resume", None),
    };
    let state = client.change_until(&format!("/systems/{}/{verb}", encoded(&one.name)), &one.change, until).await?;
    if one.change.json {
        print::json(&state);
    } else if one.change.dry_run {
        let stands = if state.get("paused").is_none_or(Value::is_null) { "goes on" } else { "is paused" };
        print::line(&format!("system {} {stands}; {verb} would be done{}", one.name, would_end(until)));
        say_queue(verb, &state);
    } else {
        say_queue(verb, &state);
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
    print::rows(&table);
}

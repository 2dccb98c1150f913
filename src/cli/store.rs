//! `omgate store`: look after the store.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::print;
use crate::clock::SystemClock;
use crate::config;
use crate::gateway::open;

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
    /// Compare every counter of the ledger with the rows. Asks the running gateway; without one it opens the store.
    Verify {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `omgate store`; exit code 1 when something disagrees.
///
/// # Errors
/// When neither the gateway nor the store can be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Verb::Verify { json } = args.verb;
    let client = args.admin.client()?;
    let found = match client.get("/store/verify", &[]).await {
        Ok(found) => found,
        Err(unreachable) => verify_file(&args.admin).await.with_context(|| format!("{unreachable:#}"))?,
    };
    let count = found.as_array().map_or(0, Vec::len);
    if json {
        print::json(&found);
    } else if count == 0 {
        print::line("every counter agrees with the rows");
    } else {
        print::list(&found, &[("account", "/account"), ("counter", "/counter"), ("rows", "/rows")]);
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn verify_file(admin: &AdminArgs) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let queue_max = loaded.server.limits.queue_max;
    let opened = open::store(loaded.store, loaded.hold_unknown, queue_max, SystemClock::shared()).await?;
    let store = opened.store;
    let found = store.verify().await?;
    store.close().await;
    Ok(serde_json::to_value(found)?)
}

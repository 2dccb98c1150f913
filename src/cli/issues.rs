//! `omgate issues`: dead letters grouped by destination and cause.

use std::process::ExitCode;

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `issues`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the issues, the largest first; `omgate dead replay --issue ID` replays one.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `omgate issues`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Verb::List { json } = args.verb;
    let issues = args.admin.client()?.get("/issues", &[]).await?;
    if json {
        print::json(&issues);
    } else {
        let columns = [
            ("issue", "/id"),
            ("destination", "/destination"),
            ("dead", "/count"),
            ("first seen", "/first_seen"),
            ("last seen", "/last_seen"),
            ("such as", "/sample"),
            ("cause, as in that one", "/example"),
        ];
        print::list(&issues, &columns);
    }
    Ok(ExitCode::SUCCESS)
}

//! The command line: one file a command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod check;
pub mod demo;
pub mod inspect;
pub mod send;
pub mod serve;
pub mod test;

/// Receives Salesforce Outbound Messages, keeps them safe, and carries each one to SOAP and REST systems.
#[derive(Debug, Parser)]
#[command(name = "omgate", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Args),
    /// Load everything `serve` would and say what each route does.
    Check(check::Args),
    /// Replay envelope fixtures against golden files: no network, no store.
    Test(test::Args),
    /// Show the whole path in a temporary folder: two stub systems, the project's fixtures, a live table.
    Demo(demo::Args),
    /// Post envelopes as Salesforce would.
    Send(send::Args),
    /// Show what omgate sees in an envelope, as JSON.
    Inspect(inspect::Args),
}

/// Runs the command line. Exit codes: 0 ok, 1 failed or findings, 64 wrong configuration in `serve`.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Test(args) => test::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
    }
}

//! `omgate check`.

use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    unimplemented!()
}

//! `omgate completions`: what a shell needs to complete our commands.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Prints the completion script.
///
/// # Errors
/// None; the signature is that of every command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    clap_complete::generate(args.shell, &mut crate::cli::Cli::command(), "omgate", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

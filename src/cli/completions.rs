//! `omgate completions`: what a shell needs to complete our commands.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, print};

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
    // Into memory first: the generator panics when it cannot write, and the reader may have gone away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "omgate", &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}

//! The `omgate` command.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match omgate::cli::run(omgate::cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("omgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The `omgate` command.

use std::process::ExitCode;

use clap::Parser;

/// What one thread allocates another frees here, for every message: the system's allocator takes locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match omgate::cli::run(omgate::cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            omgate::cli::print::note(&format!("omgate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

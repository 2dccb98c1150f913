//! The `omgate` command.

use std::process::ExitCode;

use clap::Parser;

/// What one thread allocates another frees here, for every message: the system's allocator takes locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = omgate::cli::Cli::parse();
    // Before there are other threads: what a thread may not, those may not that it begins.
    omgate::cli::gain_no_privileges();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            omgate::cli::print::note(&format!("omgate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: omgate::cli::Cli) -> anyhow::Result<ExitCode> {
    omgate::cli::run(cli).await
}

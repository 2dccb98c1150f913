//! The `omgate` command.

use std::process::ExitCode;

/// What one thread allocates another frees here, for every message: the system's allocator takes locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (cli, watch) = match omgate::cli::parsed() {
        Ok(parsed) => parsed,
        Err(error) => {
            omgate::cli::print::note(&format!("omgate: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    // Before there are other threads: what a thread may not, those may not that it begins.
    omgate::cli::gain_no_privileges();
    match run(cli, watch) {
        Ok(code) => code,
        Err(error) => {
            omgate::cli::print::note(&format!("omgate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: omgate::cli::Cli, watch: Option<omgate::cli::watch::Watch>) -> anyhow::Result<ExitCode> {
    match watch {
        Some(watch) => watch.run().await,
        None => omgate::cli::run(cli).await,
    }
}

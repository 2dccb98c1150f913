//! `omgate serve`: the gateway itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::reload::{Order, Reload};
use crate::cli::{doctor, print};
use crate::clock::SystemClock;
use crate::config;
use crate::crash;
use crate::gateway::{Gateway, Reloader};
use crate::store::TakenBy;
use crate::telemetry;

/// Wrong configuration, as `sysexits.h` counts it.
const EX_USAGE: u8 = 64;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// For crash tests: die at the n-th passing of a named point.
    #[arg(long, value_name = "NAME[:N]", env = "OMGATE_KILL_AT", hide = true)]
    kill_at: Option<String>,
}

/// Runs the gateway until SIGTERM or SIGINT; SIGHUP has the configuration read again.
///
/// # Errors
/// What stood in the way of starting. A wrong configuration is printed and exits with 64 before any port is bound.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What it writes nobody else reads.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print::note(&problems.to_string());
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    telemetry::log(loaded.server.log, &loaded.server.log_level);
    if let Some(spec) = &args.kill_at {
        crash::arm(spec);
    }
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    if loaded.accounts.is_empty() && loaded.server.oidc.is_none() {
        tracing::info!(
            "the admin listener is open to everybody on this machine: an [[account]] with role = \"admin\" and, as its password, \
             what `omgate account hash` prints, has people log in"
        );
    }
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    // Listened for before anything runs: unheard, this signal ends a process.
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let mut gateway = Gateway::start_with(loaded, SystemClock::shared(), Some(doctor::probe())).await?;
    loop {
        let moving = gateway.moving();
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(()) = hangup.recv() => drop(tokio::spawn(reload(gateway.reloader()))),
            () = moving.ready() => {
                drop(moving);
                gateway = gateway.switch().await?;
            }
        }
    }
    gateway.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// What comes of it is in the log.
async fn reload(reloader: Arc<Reloader>) {
    let order = Order {
        by: TakenBy::Signal,
        person: "SIGHUP".to_owned(),
        orphans: None,
        dry_run: false,
        reason: String::new(),
    };
    let _ = reloader.reload(order).await;
}

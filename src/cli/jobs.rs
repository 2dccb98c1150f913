//! `omgate jobs`: changes of many deliveries; and how commands follow one.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::cli::client::{AdminArgs, ChangeArgs, Client};
use crate::cli::print;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `jobs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the jobs since the gateway started, the newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop one for now.
    Pause(OneArgs),
    /// Let one go on.
    Resume(OneArgs),
    /// End one; what it changed stays changed.
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The job's id.
    id: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `omgate jobs`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let (one, verb) = match args.verb {
        Verb::List { json } => {
            let jobs = client.get("/jobs", &[]).await?;
            show(&jobs, json);
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Pause(one) => (one, "pause"),
        Verb::Resume(one) => (one, "resume"),
        Verb::Cancel(one) => (one, "cancel"),
    };
    let OneArgs { id, change } = one;
    let job = client.change(&format!("/jobs/{id}/{verb}"), &change).await?;
    if change.dry_run && !change.json {
        print::line(&format!("job {id} goes on as it does; {verb} would be done"));
    }
    show(&Value::Array(vec![job]), change.json);
    Ok(ExitCode::SUCCESS)
}

fn show(jobs: &Value, json: bool) {
    if json {
        return print::json(jobs);
    }
    let columns = [
        ("job", "/id"),
        ("verb", "/verb"),
        ("state", "/state"),
        ("of", "/total"),
        ("changed", "/changed"),
        ("refused", "/refused"),
        ("begun at", "/begun_at"),
        ("reason", "/reason"),
    ];
    print::list(jobs, &columns);
}

/// Shows a job's progress until it ends; the job as it ended.
///
/// # Errors
/// When the gateway cannot be reached.
pub async fn follow(client: &Client, job: Value) -> anyhow::Result<Value> {
    let number = |job: &Value, key: &str| job.get(key).and_then(Value::as_u64).unwrap_or(0);
    let id = number(&job, "id");
    let bar = ProgressBar::new(number(&job, "total"));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {per_sec}, {eta} left {msg}") {
        bar.set_style(style);
    }
    let mut job = job;
    while job.get("ended_at").is_none_or(Value::is_null) {
        tokio::time::sleep(LOOK).await;
        job = client.get(&format!("/jobs/{id}"), &[]).await?;
        bar.set_position(number(&job, "changed") + number(&job, "refused"));
        let paused = job.get("state").and_then(Value::as_str) == Some("paused");
        bar.set_message(if paused { "(paused)" } else { "" });
    }
    bar.finish_and_clear();
    Ok(job)
}

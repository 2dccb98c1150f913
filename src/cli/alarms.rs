//! `omgate alarms`: what stands, who is told of it, and whether that arrives.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::client::{ChangeArgs, VerbArgs};
use crate::cli::print;

/// Arguments of `alarms`.
pub type Args = VerbArgs<Verb>;

/// What `alarms` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the alarms that stand, and who is told of alarms.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell the channels of [[notify]] that this is a test. Exit code 1 when one was not reached.
    Test {
        /// This one alone.
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "its own fields are the arguments")]
        change: ChangeArgs,
    },
}

/// Runs `omgate alarms`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List { json } => {
            let found = client.get("/alarms", &[]).await?;
            if json {
                print::json(&found);
            } else {
                list(&found);
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test { channel, change } => {
            let ChangeArgs { reason, dry_run, json } = change;
            let body = json!({"channel": channel, "reason": reason, "dry_run": dry_run});
            let done = client.post("/alarms/test", &body).await?;
            if json {
                print::json(&done);
            }
            tried(&done, dry_run, json)
        }
    }
}

fn list(found: &Value) {
    let each = |key: &str| found.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let alarms = each("alarms");
    if alarms.is_empty() {
        print::line("no alarm stands");
    } else {
        let columns = [("alarm", "/alarm"), ("subject", "/subject"), ("since", "/since"), ("message", "/message")];
        print::list_whole(&Value::from(alarms), &columns);
    }
    let channels = each("channels");
    if channels.is_empty() {
        print::line("nobody is told: there is no [[notify]] in the configuration");
        return;
    }
    let columns = [
        ("channel", "/name"),
        ("kind", "/kind"),
        ("told last", "/sent_at"),
        ("waiting", "/waiting"),
        ("error", "/error"),
    ];
    print::list_whole(&Value::from(channels), &columns);
}

fn tried(done: &Value, dry_run: bool, quiet: bool) -> anyhow::Result<ExitCode> {
    let names = done.get("channels").and_then(Value::as_array).cloned().unwrap_or_default();
    if names.is_empty() {
        bail!("nobody is told: there is no [[notify]] in the configuration");
    }
    if dry_run && !quiet {
        names.iter().for_each(|name| print::line(&format!("{} would be told", print::cell(Some(name)))));
    }
    let tried = done.get("tried").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut code = ExitCode::SUCCESS;
    for one in &tried {
        let name = print::cell(one.get("name"));
        let error = one.get("error").and_then(Value::as_str);
        if error.is_some() {
            code = ExitCode::FAILURE;
        }
        if !quiet {
            print::line(
                &error.map_or_else(|| format!("{name} was told"), |error| format!("{name} was not reached: {error}")),
            );
        }
    }
    Ok(code)
}

//! `omgate reload`: have a running gateway read its configuration again.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::print;

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// What becomes of deliveries whose route or destination is gone. Without it such a configuration is refused.
    #[arg(long, value_name = "WHAT")]
    orphans: Option<Orphans>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Orphans {
    /// They stay, and go on when it comes back.
    Keep,
    /// They are discarded.
    Discard,
}

/// Runs `omgate reload`. Exit code 1 when the configuration in force stays because the new one is wrong or refused.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let orphans = args.orphans.map(|orphans| match orphans {
        Orphans::Keep => "keep",
        Orphans::Discard => "discard",
    });
    let body = json!({"orphans": orphans, "dry_run": args.change.dry_run, "reason": args.change.reason});
    let reloaded = client.post("/reload", &body).await?;
    if args.change.json {
        print::json(&reloaded);
    } else {
        for line in lines(&reloaded) {
            print::line(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(reloaded: &Value) -> Vec<String> {
    let is = |key: &str| reloaded.get(key).and_then(Value::as_bool).unwrap_or(false);
    let version = print::cell(reloaded.get("version"));
    let mut lines = vec![match (is("changed"), is("dry_run")) {
        (false, _) => format!("nothing changed: configuration {version} stays in force"),
        (true, true) => format!("the configuration is right and would be taken; {version} stays in force"),
        (true, false) => format!("configuration {version} is in force"),
    }];
    for (key, what) in [
        ("files", "changed"),
        ("added", "added"),
        ("removed", "removed"),
        ("altered", "says something else"),
        ("systems_changed", "other limits"),
        ("needs_restart", "from the next start only"),
        ("warnings", "warning"),
    ] {
        let list = reloaded.get(key).and_then(Value::as_array).into_iter().flatten();
        lines.extend(list.map(|entry| format!("  {what}: {}", print::cell(Some(entry)))));
    }
    lines.extend(orphans(reloaded, is("dry_run")));
    lines
}

/// What becomes of deliveries that have no way.
fn orphans(reloaded: &Value, dry_run: bool) -> Vec<String> {
    let are = match (reloaded.get("orphans_are").and_then(Value::as_str), dry_run) {
        (Some("keep"), false) => "kept, and wait until it comes back",
        (Some("keep"), true) => "would be kept, and wait until it comes back",
        (Some("discard"), false) => "being discarded",
        (Some("discard"), true) => "would be discarded",
        _ => "it would be refused without --orphans keep or --orphans discard",
    };
    let list = reloaded.get("orphans").and_then(Value::as_array).into_iter().flatten();
    let mut lines: Vec<String> = list
        .map(|orphan| {
            let text = |key: &str| print::cell(orphan.get(key));
            let (route, destination, count) = (text("route"), text("destination"), text("count"));
            format!("  without route or destination: {count} of route {route} to {destination}: {are}")
        })
        .collect();
    if let Some(before @ 1..) = reloaded.get("orphans_before").and_then(Value::as_u64) {
        lines.push(format!(
            "  {before} more have had none since before; `omgate deliveries discard` ends them: GET /api/v1/config names them"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_came_to_is_said_in_words() {
        let orphans = json!([{"route": "r", "destination": "d", "system": "d", "count": 3}]);
        for (reloaded, expected) in [
            (
                json!({"changed": false, "version": 4, "orphans_before": 2}),
                "nothing changed: configuration 4 stays in force\n  2 more have had none since before; `omgate deliveries \
                 discard` ends them: GET /api/v1/config names them",
            ),
            (
                json!({"changed": true, "version": 5, "files": ["a.toml"], "removed": ["route r"], "orphans": orphans,
                       "orphans_are": "keep", "needs_restart": ["server.listen"], "orphans_before": 0}),
                "configuration 5 is in force\n  changed: a.toml\n  removed: route r\n  from the next start only: server.listen\n  \
                 without route or destination: 3 of route r to d: kept, and wait until it comes back",
            ),
            (
                json!({"changed": true, "dry_run": true, "version": 5, "orphans": orphans, "orphans_are": null}),
                "the configuration is right and would be taken; 5 stays in force\n  without route or destination: 3 of route r \
                 to d: it would be refused without --orphans keep or --orphans discard",
            ),
        ] {
            assert_eq!(lines(&reloaded).join("\n"), expected);
        }
    }
}

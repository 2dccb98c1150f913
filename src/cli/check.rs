//! `omgate check`: load everything `serve` would, and say what each route does.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::print;
use crate::config::{self, Loaded, Problem, RouteSummary, Severity};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// Print JSON: `{"ok","problems":[…],"routes":[…]}`.
    #[arg(long)]
    json: bool,
}

/// Checks a configuration. Exit code 1 when it cannot be used.
///
/// # Errors
/// Only when nothing can be printed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (problems, routes) = match config::load(&args.config) {
        Ok(Loaded { warnings, summary, .. }) => (warnings, Some(summary)),
        Err(problems) => (problems.0, None),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let document =
            json!({ "ok": routes.is_some(), "problems": problems, "routes": routes.as_deref().unwrap_or(&[]) });
        writeln!(out, "{document:#}")?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
        match &routes {
            Some(routes) => writeln!(out, "{}", in_order(&args.config.to_string_lossy(), &problems, routes))?,
            None => writeln!(out, "{}", counts(&problems))?,
        }
    }
    Ok(if routes.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_order(file: &str, problems: &[Problem], routes: &[RouteSummary]) -> String {
    if routes.is_empty() {
        return format!("{file} is in order; it has no routes, so everything is stored and goes nowhere");
    }
    let mut table = print::table(&["route", "takes", "sends", "and then"]);
    for route in routes {
        let takes = format!(
            "{} {}\nof {}\nwhen {}\nwithout a record: {}",
            route.source, route.path, route.organizations, route.when, route.on_empty
        );
        let sends = format!("{}\nto {}\n{}", route.call, route.destination, route.body);
        let then = format!("in order of {}\nretry {}", route.lane, route.retry);
        table.add_row([route.route.clone(), takes, sends, then]);
    }
    let plural = if routes.len() == 1 { "route" } else { "routes" };
    let warnings = if problems.is_empty() { String::new() } else { format!(", {}", counts(problems)) };
    format!("{table}\n{file} is in order: {} {plural}{warnings}", routes.len())
}

fn counts(problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let words = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, _) => words(warnings, "warning"),
        (_, 0) => words(errors, "error"),
        _ => format!("{}, {}", words(errors, "error"), words(warnings, "warning")),
    }
}

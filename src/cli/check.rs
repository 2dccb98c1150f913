//! `omgate check`: load everything `serve` would, try every mapping, and say what each route does.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::print;
use crate::config::{self, Loaded, Problem, Severity};
use crate::facts::{RouteFacts, RouteSummary, SourceFacts};

mod trial;

use trial::Trial;
pub(in crate::cli) use trial::{document, expressions, kept_sample};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// Print JSON: `{"ok","problems":[{"severity","file","line","column","rule","key","reason","suggestion"}],"routes":[…],"notes":[…]}`.
    #[arg(long)]
    json: bool,
}

/// A route with what became of its samples.
struct Checked {
    summary: RouteSummary,
    trials: Vec<Trial>,
    /// Why no record at all makes a call.
    never: Option<String>,
}

/// Checks a configuration. Exit code 1 when it cannot be used.
///
/// # Errors
/// Only when nothing can be printed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (problems, routes, notes) = match config::load(&args.config) {
        Ok(loaded) => {
            let routes = checked(&loaded);
            let notes = loaded.facts.sources.iter().filter_map(SourceFacts::wants_search).collect();
            let mut problems = loaded.warnings;
            problems.extend(routes.iter().filter_map(|route| sample_problem(&args.config.to_string_lossy(), route)));
            (problems, Some(routes), notes)
        }
        Err(problems) => (problems.0, None, Vec::new()),
    };
    if args.json {
        let routes: Vec<_> = routes.iter().flatten().map(as_json).collect();
        let ok = !problems.iter().any(|problem| problem.severity == Severity::Error);
        print::json(&json!({ "ok": ok, "problems": problems, "routes": routes, "notes": notes }));
    } else {
        for problem in &problems {
            print::line(&problem.to_string());
        }
        match &routes {
            Some(routes) => print::line(&in_order(&args.config.to_string_lossy(), &problems, routes)),
            None => print::line(&counts(&problems)),
        }
        // What one may want, and nothing is wrong without.
        notes.iter().for_each(|note: &String| print::line(&format!("note: {note}")));
    }
    let fine = routes.is_some() && !problems.iter().any(|problem| problem.severity == Severity::Error);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checked(loaded: &Loaded) -> Vec<Checked> {
    let check = |RouteFacts { summary, .. }: &RouteFacts| {
        let (trials, never) = trial::trials(loaded, &summary.route, &summary.source);
        Checked { trials, never, summary: summary.clone() }
    };
    loaded.facts.routes.iter().map(check).collect()
}

fn as_json(route: &Checked) -> serde_json::Value {
    let mut object = json!(route.summary);
    if let Some(object) = object.as_object_mut() {
        object.insert("samples".to_owned(), json!(route.trials));
    }
    object
}

/// A full record that makes no call is remarkable: its texts are made up, so it is no proof of a fault, unless every
/// record fails for the same reason, whatever it holds.
fn sample_problem(file: &str, route: &Checked) -> Option<Problem> {
    let (severity, reason) = match &route.never {
        Some(reason) => (
            Severity::Error,
            format!("no record ever makes a call, whatever it holds: each becomes a dead letter, for {reason}"),
        ),
        None => {
            let failed = route.trials.iter().find(|trial| trial.sample == "full" && !trial.ok)?;
            let reason = failed.reason.as_deref().unwrap_or_default();
            (Severity::Warning, format!("no valid call could be made of a full sample record: {reason}"))
        }
    };
    Some(Problem {
        severity,
        file: file.to_owned(),
        line: 0,
        column: 0,
        rule: "sample".to_owned(),
        key: format!("route.{}", route.summary.route),
        reason,
        suggestion: None,
    })
}

fn in_order(file: &str, problems: &[Problem], routes: &[Checked]) -> String {
    if routes.is_empty() {
        return format!("{file} is in order; it has no routes, so everything is stored and goes nowhere");
    }
    let mut table = print::table(&["route", "takes", "sends", "and then"]);
    for Checked { summary: route, .. } in routes {
        let takes = format!(
            "{} {}\nof {}\nwhen {}\nwithout a record: {}",
            route.source, route.path, route.organizations, route.when, route.on_empty
        );
        let sends = format!("{}\nto {}\n{}", route.call, route.destination, route.body);
        let mut then = format!("in order of {}\nretry {}", route.lane, route.retry);
        for line in &route.also {
            then.push('\n');
            then.push_str(line);
        }
        table.add_row([route.route.clone(), takes, sends, then]);
    }
    let plural = if routes.len() == 1 { "route" } else { "routes" };
    let warnings = if problems.is_empty() { String::new() } else { format!(", {}", counts(problems)) };
    let tried: String = routes.iter().map(tried).collect();
    let table = print::drawn(&table);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return format!("{table}\n{tried}{file} is not in order: {} {plural}{warnings}", routes.len());
    }
    format!("{table}\n{tried}{file} is in order: {} {plural}{warnings}", routes.len())
}

/// What becomes of sample records, and what a record must have, in lines.
fn tried(route: &Checked) -> String {
    let mut rows: Vec<(String, Vec<&str>, String)> = Vec::new();
    for trial in &route.trials {
        let became = match &trial.reason {
            None => "a valid call".to_owned(),
            Some(reason) => format!("a dead letter: {reason}"),
        };
        match rows.last_mut().filter(|(record, _, known)| *record == trial.record_type && *known == became) {
            Some((_, samples, _)) => samples.push(trial.sample),
            None => rows.push((trial.record_type.clone(), vec![trial.sample], became)),
        }
    }
    let mut text = format!("{}, tried with sample records:\n", route.summary.route);
    for (record, samples, became) in rows {
        let record = if record.is_empty() { "record".to_owned() } else { record };
        text.push_str(&format!("  {record}, {}: {became}\n", samples.join(", ")));
    }
    if !route.summary.dead_without.is_empty() {
        let paths = route.summary.dead_without.join(", ");
        text.push_str(&format!("  a record that leaves one of these empty becomes a dead letter: {paths}\n"));
    }
    text
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

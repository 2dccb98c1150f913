//! `omgate wsdl diff`: what a new version of a WSDL changes, and for which routes of a configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Disk, in_words};
use crate::cli::print;
use crate::config::{self, Loaded, Problem, Severity};
use crate::expression::{Document, Expression};
use crate::map::soap::Message;
use crate::map::{Body, Calls, Mapping};
use crate::route::Lane;
use crate::wsdl::changes::{self, Change};
use crate::wsdl::{self, Files, outbound};

/// Arguments of `wsdl diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WSDL as it was.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The WSDL as it is now.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Say which routes of this configuration use OLD, and what breaks for them with NEW in its place.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: `{"breaks","changes":[{"breaks","within","path","what"}],"routes":[{"route","changes","problems"}]}`.
    #[arg(long)]
    json: bool,
}

/// A route that uses the WSDL.
#[derive(Debug, Serialize)]
struct Affected {
    route: String,
    /// Paths and fields that it uses and that change.
    changes: Vec<Change>,
    /// What `check` finds with the new WSDL that it did not find before.
    problems: Vec<Problem>,
}

/// Compares two versions. Exit code 1 when something breaks: for a route where a configuration is given, else for
/// anybody.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let changes = match compared(&args.old, &args.new) {
        Ok(changes) => changes,
        Err(reasons) => {
            reasons.iter().for_each(|reason| print::note(reason));
            return Ok(ExitCode::FAILURE);
        }
    };
    let routes = match &args.config {
        Some(config) => match affected(config, args, &changes) {
            Ok(routes) => Some(routes),
            Err(reason) => {
                print::note(&reason);
                return Ok(ExitCode::FAILURE);
            }
        },
        None => None,
    };
    let breaks = match &routes {
        Some(routes) => routes.iter().flat_map(|route| &route.problems).any(|found| found.severity == Severity::Error),
        None => changes.iter().any(|change| change.breaks),
    };
    if args.json {
        print::json(&json!({ "breaks": breaks, "changes": changes, "routes": routes }));
    } else {
        show(args, &changes, routes.as_deref(), breaks);
    }
    Ok(if breaks { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Outbound messages are compared by their records, targets by their operations.
fn compared(old: &Path, new: &Path) -> Result<Vec<Change>, Vec<String>> {
    let records = |path: &Path| {
        let text = Disk.read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        outbound::declared(&path.display().to_string(), &text).ok()
    };
    let (before, after) = (records(old), records(new));
    if let (Some(before), Some(after)) = (&before, &after) {
        return Ok(changes::of_records(before, after));
    }
    let model = |path: &Path| {
        let words = |finding: &wsdl::Finding| in_words(path, finding);
        wsdl::load(path, &Disk).map_err(|findings| findings.iter().map(words).collect::<Vec<_>>())
    };
    let models = (model(old)?, model(new)?);
    if before.is_some() != after.is_some() {
        return Err(vec![
            "one of the two is an outbound message's WSDL, the other is not: nothing to compare".to_owned(),
        ]);
    }
    Ok(changes::of_models(&models.0, &models.1))
}

fn affected(config: &Path, args: &Args, changes: &[Change]) -> Result<Vec<Affected>, String> {
    let (before, users) = config::load_instead(config, &args.old, &args.old);
    let before = before.map_err(|problems| {
        format!("{problems}\nthe configuration is wrong with {} already: nothing to compare with", args.old.display())
    })?;
    if users.is_empty() {
        return Err(format!("{} uses {} nowhere", config.display(), args.old.display()));
    }
    let (known, after) = (before.warnings.clone(), config::load_instead(config, &args.old, &args.new).0);
    let problems = match after {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    };
    let is_new = |found: &&Problem| {
        !known.iter().any(|known| (&known.key, &known.rule, &known.reason) == (&found.key, &found.rule, &found.reason))
    };
    let problems: Vec<&Problem> = problems.iter().filter(is_new).collect();
    let mut affected = Vec::new();
    for (position, crate::facts::RouteFacts { summary, .. }) in before.facts.routes.iter().enumerate() {
        let Some(planned) = before.plan.routes.get(&summary.route) else { continue };
        let is_user = |kind: &str, name: &str| users.iter().any(|user| *user == format!("{kind}.{name}.wsdl"));
        let uses = (is_user("source", &summary.source), is_user("destination", &planned.destination));
        if uses == (false, false) {
            continue;
        }
        let uses = if uses.0 {
            Uses::fields(&before, &summary.source, &summary.route, &planned.mapping)
        } else {
            Uses::paths(&planned.mapping)
        };
        let touched = changes.iter().filter(|change| uses.touches(change));
        let labels = [format!("route.{}", summary.route), format!("route.{}", position + 1)];
        let own = |found: &&&Problem| {
            let within = |label: &String| found.key == *label || found.key.starts_with(&format!("{label}."));
            labels.iter().any(within) || users.contains(&found.key)
        };
        affected.push(Affected {
            route: summary.route.clone(),
            changes: touched.cloned().collect(),
            problems: problems.iter().filter(own).map(|found| (*found).clone()).collect(),
        });
    }
    Ok(affected)
}

/// What of a WSDL a route uses.
struct Uses {
    /// The operation and its port; none for a source.
    operation: Option<(String, String)>,
    /// Target paths, or fields; none: all of them.
    paths: Option<Vec<String>>,
}

impl Uses {
    /// The target paths.
    fn paths(mapping: &Mapping) -> Self {
        let Calls::Soap(soap) = &mapping.calls else { return Self { operation: None, paths: Some(Vec::new()) } };
        let operation = Some((soap.operation.name().to_owned(), soap.operation.port().to_owned()));
        let paths = match &soap.message {
            Message::Arguments(tree) => Some(tree.leaves().into_iter().map(|(path, _)| path.to_owned()).collect()),
            Message::Document(_) => None,
        };
        Self { operation, paths }
    }

    /// The fields of the source.
    fn fields(loaded: &Loaded, source: &str, route: &str, mapping: &Mapping) -> Self {
        let is_whole = matches!(&mapping.calls, Calls::Rest(rest) if matches!(rest.body, Body::Whole));
        let mut expressions: Vec<&Expression> = crate::cli::check::expressions(mapping);
        let route = loaded.routes.get(source).into_iter().flatten().find(|known| known.name == route);
        expressions.extend(route.and_then(|route| route.when.as_ref()));
        if let Some(Lane::Expression(lane)) = route.map(|route| &route.lane) {
            expressions.push(lane);
        }
        let names = expressions.into_iter().flat_map(Expression::names);
        let names = names.chain(crate::cli::check::document(mapping).into_iter().flat_map(Document::names));
        let fields = names.filter_map(|(path, _)| path.strip_prefix("record.")).map(str::to_owned).collect();
        Self { operation: None, paths: (!is_whole).then_some(fields) }
    }

    fn touches(&self, change: &Change) -> bool {
        let within = self.operation.as_ref().is_none_or(|(operation, port)| {
            change.within == *operation || change.within == format!("{operation} of port {port}")
        });
        let below = |path: &str, above: &str| path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'));
        let meets = |path: &String| {
            change.path.is_empty() || change.path == *path || below(path, &change.path) || below(&change.path, path)
        };
        within && !change.answer && self.paths.as_ref().is_none_or(|paths| paths.iter().any(meets))
    }
}

fn show(args: &Args, changes: &[Change], routes: Option<&[Affected]>, breaks: bool) {
    if changes.is_empty() {
        return print::line(&format!("{} and {} say the same", args.old.display(), args.new.display()));
    }
    let mut within = "";
    for change in changes {
        if change.within != within {
            print::line(&change.within);
            within = &change.within;
        }
        let mark = if change.breaks { "breaks" } else { "" };
        let answer = if change.answer { "the answer's " } else { "" };
        let path = if change.path.is_empty() { String::new() } else { format!("{answer}{} ", change.path) };
        print::line(&format!("  {mark:6}  {path}{}", change.what));
    }
    for route in routes.into_iter().flatten() {
        print::line(&format!("\nroute {}", route.route));
        for change in &route.changes {
            let what = if change.path.is_empty() {
                format!("{}: {}", change.within, change.what)
            } else {
                format!("{}, which {}", change.path, change.what)
            };
            print::line(&format!("  uses {what}"));
        }
        for problem in &route.problems {
            print::line(&format!("  {problem}"));
        }
        if route.changes.is_empty() && route.problems.is_empty() {
            print::line("  uses nothing that changes");
        }
    }
    let count = changes.iter().filter(|change| change.breaks).count();
    let verdict = match (routes, breaks) {
        (Some(_), true) => "the configuration breaks with it".to_owned(),
        (Some(_), false) => "the configuration holds with it".to_owned(),
        (None, _) => format!("{} changes, {count} of which may break what was right", changes.len()),
    };
    print::line(&format!("\n{verdict}"));
}

//! Whether the configuration can be used, and what is remarkable in it.

use std::path::Path;

use super::finding::Findings;
use crate::config::{self, Loaded, Problem, Severity};

/// Loads it as `serve` would.
pub(super) fn look(path: &Path) -> (Option<Loaded>, Findings) {
    let mut findings = Findings::about("configuration");
    match config::load(path) {
        Ok(loaded) => {
            let (sources, routes) = (loaded.sources.len(), loaded.facts.routes.len());
            let destinations = loaded.by_hand.len();
            findings.ok(
                "file",
                format!(
                    "{} loads, and every secret in it was found: {sources} sources, {routes} routes, {destinations} \
                     destinations",
                    path.display()
                ),
            );
            loaded.warnings.iter().for_each(|problem| note(&mut findings, problem));
            (Some(loaded), findings)
        }
        Err(problems) => {
            problems.0.iter().for_each(|problem| note(&mut findings, problem));
            (None, findings)
        }
    }
}

fn note(findings: &mut Findings, problem: &Problem) {
    let Problem { severity, file, line, column, key, reason, suggestion, .. } = problem;
    let at = match (line, column) {
        (0, _) => file.clone(),
        (line, 0) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    };
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    let found = format!("{at}: {key}{reason}");
    let mend = suggestion.as_ref().map(|name| format!("did you mean `{name}`?"));
    match severity {
        Severity::Error => {
            findings.fail(
                "file",
                found,
                mend.unwrap_or_else(|| "mend it there; `omgate check` says when it is right".to_owned()),
            );
        }
        Severity::Warning => findings.warn("file", found, mend.unwrap_or_else(|| "look at that line".to_owned())),
    }
}

//! `omgate wsdl check`: whether WSDLs can be used, and what is remarkable in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::{Disk, in_words};
use crate::cli::print;
use crate::wsdl::{self, Finding, Reading, Severity};

/// Arguments of `wsdl check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WSDLs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON line a file: `{"file","ok","findings":[{"severity","file","rule","line","column","message"}]}`.
    #[arg(long)]
    json: bool,
    /// Assume nothing: every leniency is an error.
    #[arg(long)]
    strict: bool,
}

/// Loads each file. Exit code 1 when one of them cannot be used.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let reading = if args.strict { Reading::Strict } else { Reading::Lenient };
    let mut all_ok = true;
    for file in &args.files {
        let (ok, findings) = match wsdl::load_as(file, &Disk, reading) {
            Ok(model) => (true, model.findings().to_vec()),
            Err(findings) => (false, findings),
        };
        all_ok &= ok;
        if args.json {
            let file = file.display().to_string();
            print::line(&json!({ "file": file, "ok": ok, "findings": findings }).to_string());
        } else {
            show(file, ok, &findings);
        }
    }
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(file: &Path, ok: bool, findings: &[Finding]) {
    for finding in findings {
        print::line(&in_words(file, finding));
    }
    let verdict = if ok { "can be used" } else { "cannot be used" };
    print::line(&format!("{} {verdict}{}", file.display(), leniencies(findings)));
}

/// How often something was assumed, by rule.
fn leniencies(findings: &[Finding]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        *counts.entry(&finding.rule).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = counts.iter().map(|(rule, count)| format!("{rule} ×{count}")).collect();
    format!("; assumed: {}", counts.join(", "))
}

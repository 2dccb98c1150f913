//! `omgate wsdl`: what WSDLs say, offline; one file a verb.

use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use crate::disk;
use crate::wsdl::{Files, Finding, Model, Operation, OperationChoice, Severity};

mod argument;
mod check;
mod decode;
mod diff;
mod encode;
pub(in crate::cli) mod fetch;
mod sample;
mod show;
pub(in crate::cli) mod tree;

/// The largest file that is read.
const BYTES_MAX: u64 = 32 << 20;

/// Arguments of `wsdl`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Load WSDLs with all they import, and say what is wrong with them.
    Check(check::Args),
    /// Make up a request for every operation: one JSON line each.
    Sample(sample::Args),
    /// Read an operation's argument as JSON from standard input, and print the request.
    Encode(encode::Args),
    /// Read a response from standard input, and print what it says as JSON.
    Decode(decode::Args),
    /// Show services and operations, or one operation's messages as trees.
    Show(show::Args),
    /// Say what a new version of a WSDL changes, and for which routes.
    Diff(diff::Args),
    /// Bring a WSDL with all it imports from the network into a folder.
    Fetch(fetch::Args),
}

/// Runs `omgate wsdl`. Exit code 1 when something is wrong.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(args) => check::run(&args),
        Verb::Sample(args) => sample::run(&args),
        Verb::Encode(args) => encode::run(&args),
        Verb::Decode(args) => decode::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Fetch(args) => fetch::run(args).await,
    }
}

/// Files of the disk.
#[derive(Debug)]
pub(in crate::cli) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        disk::read(path, BYTES_MAX)
    }
}

/// Loads a WSDL.
fn load(path: &Path) -> anyhow::Result<Model> {
    crate::wsdl::load(path, &Disk).map_err(|findings| {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).take(10);
        let lines: Vec<String> = errors.map(|finding| in_words(path, finding)).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// One operation of a WSDL, as the options choose it.
#[derive(Debug, clap::Args)]
struct Choice {
    /// The WSDL.
    file: std::path::PathBuf,
    /// The operation's name.
    #[arg(long)]
    operation: String,
    /// The port's name; by default the first SOAP 1.1 port that has the operation, else the first of SOAP 1.2.
    #[arg(long)]
    port: Option<String>,
    /// The service's name.
    #[arg(long)]
    service: Option<String>,
}

impl Choice {
    fn take(&self) -> anyhow::Result<Operation> {
        let choice = OperationChoice {
            service: self.service.as_deref(),
            port: self.port.as_deref(),
            operation: &self.operation,
        };
        Ok(load(&self.file)?.operation(&choice)?)
    }
}

/// All of standard input, bounded.
fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        anyhow::bail!("standard input is larger than {BYTES_MAX} bytes");
    }
    Ok(bytes)
}

/// A finding in a line, its file as seen from here and not from the WSDL's folder.
pub(in crate::cli) fn in_words(wsdl: &Path, finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let file = wsdl.with_file_name(&finding.file);
    let place = if finding.line == 0 { String::new() } else { format!(":{}:{}", finding.line, finding.column) };
    format!("{}{place}: {severity}: {} [{}]", file.display(), finding.message, finding.rule)
}

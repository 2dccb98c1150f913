//! `omgate test`: replay envelope fixtures against golden files; nothing leaves the machine, no store.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use similar::{ChangeTag, TextDiff};

use crate::cli::print;
use crate::config::{self, Loaded};
use crate::disk;

mod answer;
mod replay;

/// How large a fixture may be.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// How deep folders of fixtures may nest.
const DEPTH_MAX: usize = 16;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the envelopes (`*.xml`), recorded answers (`*.http`) and their golden files (`*.golden`) are; a folder named
    /// like a source or destination holds what belongs to it. Default: `fixtures` beside the configuration, else `envelopes` beside it.
    dir: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// Write the golden files anew.
    #[arg(long)]
    update: bool,
}

/// Replays the fixtures. Exit code 1 when one differs from its golden file.
///
/// # Errors
/// When there is nothing to replay, or files cannot be read or written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print::line(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let folder = args.dir.unwrap_or_else(|| default_folder(&args.config));
    if !folder.is_dir() {
        bail!("there is no folder {}: make it, and put envelopes into it as *.xml", folder.display());
    }
    let mut fixtures = Fixtures::default();
    fixtures.collect(&folder, 0).with_context(|| format!("looking for fixtures in {}", folder.display()))?;
    if fixtures.inputs.is_empty() {
        bail!("there is no *.xml in {}: put envelopes there, one a file", folder.display());
    }
    let mut tally = Tally::default();
    for input in &fixtures.inputs {
        fixtures.goldens.remove(&golden_of(input));
        let shown = input.strip_prefix(&folder).unwrap_or(input);
        let verdict = judge(&loaded, input, shown, args.update).await?;
        tally.add(&shown.to_string_lossy(), &verdict);
    }
    for orphan in &fixtures.goldens {
        let shown = orphan.strip_prefix(&folder).unwrap_or(orphan).to_string_lossy().into_owned();
        let verdict = if args.update { remove(orphan)? } else { Verdict::Orphan };
        tally.add(&shown, &verdict);
    }
    Ok(tally.finish())
}

fn default_folder(config: &Path) -> PathBuf {
    let beside = config.parent().unwrap_or(Path::new(""));
    let fixtures = beside.join("fixtures");
    let envelopes = beside.join("envelopes");
    if !fixtures.is_dir() && envelopes.is_dir() { envelopes } else { fixtures }
}

fn remove(orphan: &Path) -> anyhow::Result<Verdict> {
    std::fs::remove_file(orphan).with_context(|| format!("removing {}", orphan.display()))?;
    Ok(Verdict::Removed)
}

#[derive(Default)]
struct Fixtures {
    inputs: BTreeSet<PathBuf>,
    goldens: BTreeSet<PathBuf>,
}

impl Fixtures {
    fn collect(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => self.collect(&path, depth + 1)?,
                Some("xml" | "http") => drop(self.inputs.insert(path)),
                Some("golden") => drop(self.goldens.insert(path)),
                _ => {}
            }
        }
        Ok(())
    }
}

enum Verdict {
    Passed,
    Written,
    Removed,
    Missing,
    Orphan,
    Untried(String),
    Differs { golden: String, actual: String },
}

fn is_answer(input: &Path) -> bool {
    input.extension().is_some_and(|extension| extension == "http")
}

/// `x.golden` beside the envelope `x.xml`, `x.http.golden` beside the answer `x.http`.
fn golden_of(input: &Path) -> PathBuf {
    input.with_extension(if is_answer(input) { "http.golden" } else { "golden" })
}

async fn judge(loaded: &Loaded, input: &Path, shown: &Path, update: bool) -> anyhow::Result<Verdict> {
    let body = disk::read(input, FILE_BYTES_MAX).with_context(|| format!("reading {}", input.display()))?;
    let actual = if is_answer(input) {
        match answer::replay(loaded, shown, &body).await {
            Ok(actual) => actual,
            Err(reason) => return Ok(Verdict::Untried(reason)),
        }
    } else {
        replay::replay(loaded, shown, &body)
    };
    let golden_path = golden_of(input);
    let golden = match disk::read(&golden_path, FILE_BYTES_MAX) {
        Ok(golden) => Some(String::from_utf8_lossy(&golden).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {}", golden_path.display())),
    };
    if golden.as_ref() == Some(&actual) {
        return Ok(Verdict::Passed);
    }
    if update {
        std::fs::write(&golden_path, &actual).with_context(|| format!("writing {}", golden_path.display()))?;
        return Ok(Verdict::Written);
    }
    Ok(golden.map_or(Verdict::Missing, |golden| Verdict::Differs { golden, actual }))
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    written: usize,
}

impl Tally {
    fn add(&mut self, name: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Written => self.written += 1,
            Verdict::Removed => {}
            Verdict::Missing | Verdict::Orphan | Verdict::Untried(_) | Verdict::Differs { .. } => self.failed += 1,
        }
        match verdict {
            Verdict::Passed => print::line(&format!("ok      {name}")),
            Verdict::Written => print::line(&format!("written {name}")),
            Verdict::Removed => print::line(&format!("removed {name}")),
            Verdict::Untried(reason) => print::line(&format!("FAILED  {name}: {reason}")),
            Verdict::Orphan => {
                print::line(&format!("FAILED  {name}: there is no envelope or answer beside it; --update removes it"));
            }
            Verdict::Differs { golden, actual } => {
                print::line(&format!("FAILED  {name}: differs from its golden file"));
                print::line(diff(golden, actual, io::stdout().is_terminal()).trim_end_matches('\n'));
            }
            Verdict::Missing => print::line(&format!("FAILED  {name}: has no golden file; --update writes it")),
        }
    }

    fn finish(self) -> ExitCode {
        let written = if self.written > 0 { format!(", {} written", self.written) } else { String::new() };
        print::line(&format!("{} passed, {} failed{written}", self.passed, self.failed));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A unified diff, in colour when asked.
fn diff(golden: &str, actual: &str, coloured: bool) -> String {
    let mut text = String::new();
    let diff = TextDiff::from_lines(golden, actual);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', "\u{1b}[31m"),
                ChangeTag::Insert => ('+', "\u{1b}[32m"),
                ChangeTag::Equal => (' ', ""),
            };
            let line = change.value().trim_end_matches('\n');
            let _ = if coloured && !colour.is_empty() {
                writeln!(text, "{colour}{sign}{line}\u{1b}[0m")
            } else {
                writeln!(text, "{sign}{line}")
            };
        }
    }
    text
}

//! Counts instructions, and the pages that SQLite looks at, of a program that runs under valgrind's callgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;

/// What SQLite calls to look at a page, whether it has it in memory or must read it.
const LOOKS_AT_A_PAGE: &str = "getPageNormal";

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) instructions: f64,
    pub(crate) pages: f64,
}

impl Count {
    /// What one of so many operations took more than those of another run.
    pub(crate) fn each_beyond(self, other: Self, operations: f64) -> Self {
        let each = |more: f64, less: f64| (more - less) / operations;
        Self { instructions: each(self.instructions, other.instructions), pages: each(self.pages, other.pages) }
    }
}

/// Runs this very program with other arguments, and counts.
pub(crate) fn count(arguments: &[String], profile: &Path) -> Outcome<Count> {
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(std::env::current_exe()?).args(arguments).stdout(Stdio::null());
    let run = command.output().map_err(|error| format!("valgrind cannot be started ({error}): install it"))?;
    if !run.status.success() {
        return Err(format!("{arguments:?} under valgrind: {}", String::from_utf8_lossy(&run.stderr)).into());
    }
    read(&std::fs::read_to_string(profile)?)
}

/// Runs this very program with other arguments.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let status = Command::new(std::env::current_exe()?).args(arguments).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{arguments:?} ended with {status}").into()) }
}

/// A profile names each function once, `fn=(12) name` or `cfn=(12) name`, and from then on by its number; a line
/// `calls=3 …` belongs to the `cfn=` before it.
fn read(profile: &str) -> Outcome<Count> {
    let (mut looks, mut called, mut count) = (None, "", Count::default());
    for line in profile.lines() {
        if let Some((key, function)) = line.split_once('=').filter(|(key, _)| matches!(*key, "fn" | "cfn")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if name == LOOKS_AT_A_PAGE {
                looks = Some(number);
            }
            if key == "cfn" {
                called = number;
            }
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| looks == Some(called)) {
            count.pages += calls.split(' ').next().unwrap_or_default().parse::<f64>()?;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            count.instructions = total.trim().parse()?;
        }
    }
    if looks.is_none() {
        return Err(format!("the profile does not name {LOOKS_AT_A_PAGE}: the program has no symbols").into());
    }
    Ok(count)
}

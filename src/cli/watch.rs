//! `--watch`: a command that only looks is run again and again, each time over the last picture.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ArgMatches;

use crate::cli::{print, table};

/// Commands, with their verb, that change nothing and come to an end by themselves.
const LOOKS: [&str; 22] = [
    "status",
    "ledger",
    "why",
    "explain",
    "issues",
    "sources list",
    "sources show",
    "sources gaps",
    "destinations list",
    "destinations show",
    "systems list",
    "notifications list",
    "notifications show",
    "deliveries list",
    "deliveries show",
    "dead list",
    "dead show",
    "lanes list",
    "lanes show",
    "jobs list",
    "jobs show",
    "audit list",
];

/// What is to be watched.
pub struct Watch {
    every: Duration,
    arguments: Vec<String>,
}

/// What a command line wants watched; none when nothing.
///
/// # Errors
/// When it wants something watched that changes things, or never ends.
pub fn wanted(matches: &ArgMatches, arguments: Vec<String>) -> anyhow::Result<Option<Watch>> {
    let Some(seconds) = seconds(matches) else { return Ok(None) };
    let words = words(matches);
    if !LOOKS.iter().any(|known| words == *known || words.starts_with(&format!("{known} "))) {
        bail!("--watch is for commands that only look, such as `omgate status --watch`; `omgate {words}` is none");
    }
    Ok(Some(Watch { every: Duration::from_secs(seconds), arguments: without(arguments) }))
}

/// Under which command it was said does not matter.
fn seconds(matches: &ArgMatches) -> Option<u64> {
    let own = matches.try_get_one::<u64>("watch").ok().flatten().copied();
    own.or_else(|| matches.subcommand().and_then(|(_, inner)| seconds(inner)))
}

/// The commands in words: `deliveries list`.
fn words(matches: &ArgMatches) -> String {
    let Some((name, inner)) = matches.subcommand() else { return String::new() };
    format!("{name} {}", words(inner)).trim_end().to_owned()
}

/// The arguments less `--watch` and its seconds.
fn without(arguments: Vec<String>) -> Vec<String> {
    arguments.into_iter().filter(|argument| argument != "--watch" && !argument.starts_with("--watch=")).collect()
}

impl Watch {
    /// Runs the command until it is interrupted.
    ///
    /// # Errors
    /// When this program cannot be run again.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let program = std::env::current_exe().context("finding this program")?;
        loop {
            let room = table::room().map(|room| format!("--room={room}"));
            let mut command = Command::new(&program);
            let output = command.args(&self.arguments).args(room).output().context("running the command again")?;
            let clear = if std::io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
            print::text(clear);
            print::text(&String::from_utf8_lossy(&output.stdout));
            print::text(&String::from_utf8_lossy(&output.stderr));
            let _ = std::io::stdout().flush();
            if tokio::time::timeout(self.every, tokio::signal::ctrl_c()).await.is_ok() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn asked(line: &str) -> anyhow::Result<Option<Watch>> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let matches = Cli::command().try_get_matches_from(&arguments).unwrap();
        wanted(&matches, arguments.into_iter().skip(1).collect())
    }

    #[test]
    fn what_only_looks_is_watched_and_nothing_else() {
        assert!(asked("omgate status").unwrap().is_none());
        let watch = asked("omgate deliveries list --watch=5 --state dead").unwrap().unwrap();
        assert_eq!((watch.every.as_secs(), watch.arguments.join(" ").as_str()), (5, "deliveries list --state dead"));
        assert_eq!(asked("omgate status --watch").unwrap().unwrap().every.as_secs(), 2);
        for line in ["omgate deliveries discard 1 --reason x --watch", "omgate serve --watch", "omgate reload --watch"]
        {
            assert!(asked(line).is_err(), "{line}");
        }
    }
}

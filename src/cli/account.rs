//! `omgate account`: what an account of the admin listener is made of.

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::account::{self, PASSWORD_BYTES_MAX};
use crate::cli::print;

/// Arguments of `account`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make the hash of a password, which is typed or comes from standard input, for `[[account]] password`.
    Hash,
}

/// Runs `omgate account`.
///
/// # Errors
/// When the password will not do.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Verb::Hash = args.verb;
    let password = if io::stdin().is_terminal() { typed_twice()? } else { piped()? };
    print::line(&account::hash(&password).map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

/// The password of somebody who logs in: typed, or from standard input.
pub(in crate::cli) fn password() -> anyhow::Result<String> {
    if io::stdin().is_terminal() { typed("Password: ") } else { piped() }
}

fn typed(words: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(words).context("reading the password from the terminal")
}

fn typed_twice() -> anyhow::Result<String> {
    let password = typed("Password: ")?;
    if password != typed("Once more: ")? {
        bail!("the two are not the same");
    }
    Ok(password)
}

/// The first line.
fn piped() -> anyhow::Result<String> {
    let longest = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(3);
    let mut text = String::new();
    io::stdin().take(longest).read_to_string(&mut text).context("reading the password from standard input")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

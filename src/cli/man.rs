//! `omgate man`: a manual page for each command, from what the command line itself knows.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::{Cli, print};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write `omgate.1`, `omgate-serve.1` and so on into this folder; without it the page of `omgate` is printed.
    folder: Option<PathBuf>,
}

/// Prints or writes manual pages.
///
/// # Errors
/// When they cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.folder {
        Some(folder) => {
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            clap_mangen::generate_to(Cli::command(), &folder)
                .with_context(|| format!("writing manual pages into {}", folder.display()))?;
            let count = std::fs::read_dir(&folder)?.count();
            print::line(&format!(
                "{count} pages in {}; read one with `man {}/omgate.1`",
                folder.display(),
                folder.display()
            ));
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).context("making the manual page")?;
            print::line(String::from_utf8_lossy(&page).trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

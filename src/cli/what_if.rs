//! `omgate what-if`: what another configuration would make of the notifications that are stored; no network, no writes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::print;
use crate::config::{self, Loaded};
use crate::preview::{Report, Side};
use crate::store::Archive;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresArchive;
use crate::store::sealed::SealedArchive;
use crate::store::sqlite::SqliteArchive;

mod text;

use text::text;

/// How many notifications are read at once.
const PAGE: u32 = 200;

/// Arguments of `what-if`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new configuration file. Paths in it are relative to it, the store's too: put it beside the one in force, or name
    /// the store with --store.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// The SQLite file to look into, relative to where you are; by default the store of the new configuration. A gateway may
    /// run on it.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// How many notifications are looked at, from the newest on.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    last: u64,
    /// Only those of this source.
    #[arg(long)]
    source: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate what-if`. Exit code 1 when something would be another than it is, or the new configuration is wrong.
///
/// # Errors
/// When the store cannot be read, or the configuration in force cannot be used any more.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let new = match config::load_without_secrets(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print::line(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let archive = opened(&args, &new).await?;
    let in_force = archive.in_force().await?;
    let (taken, stored) = in_force.ok_or_else(|| {
        anyhow!("no gateway of this version has run on this store: there is no configuration in force to compare with")
    })?;
    let version = taken.version.0;
    let old = config::load_stored_without_secrets(&stored)
        .map_err(|problems| anyhow!("{problems}"))
        .with_context(|| format!("loading configuration {version}, which is in force"))?;
    if let Some(source) = &args.source
        && ![&old, &new].iter().any(|loaded| loaded.sources.iter().any(|known| known.name == *source))
    {
        bail!("there is no source {source:?}, neither in the new configuration nor in the one in force");
    }
    let mut report = Report::new(version, &old.plan.mask.with(&new.plan.mask), old.masks_with(&new));
    walk(archive.as_ref(), &args, (&Side::new(&old), &Side::new(&new)), &mut report).await?;
    if args.json {
        print::json(&report.json());
    } else {
        print::line(text(&report.json(), &args.config.to_string_lossy()).trim_end());
    }
    Ok(if report.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The store to look into; with its keys, where its payloads are sealed.
async fn opened(args: &Args, new: &Loaded) -> anyhow::Result<Box<dyn Archive>> {
    let archive = open(args, new).await?;
    if !new.is_encrypted {
        return Ok(archive);
    }
    let loaded = config::load(&args.config).map_err(|problems| anyhow!("{problems}"));
    let loaded =
        loaded.context("payloads are encrypted, so the secrets of the configuration are needed to read them")?;
    Ok(Box::new(SealedArchive::new(archive, loaded.encryption)))
}

async fn open(args: &Args, new: &Loaded) -> anyhow::Result<Box<dyn Archive>> {
    #[cfg(feature = "postgres")]
    if args.store.is_none() && new.store.database.is_some() {
        return in_database(&args.config).await;
    }
    let named = args.store.as_ref().map(|path| {
        let text = path.to_string_lossy();
        text.strip_prefix("sqlite:").map_or_else(|| path.clone(), |path| Path::new(path).to_owned())
    });
    let path = named.as_ref().unwrap_or(&new.store.path);
    let hint = "name the store of the running gateway with --store FILE, if it is another";
    let archive = SqliteArchive::open(path).map_err(anyhow::Error::from).with_context(|| hint.to_owned())?;
    if let Some((to, at)) = archive.moved()? {
        print::note(&format!("this store was moved to {to} at {at}: what came since is in that one"));
    }
    Ok(Box::new(archive))
}

/// The store of the new configuration, in a database: of its secrets those of the address are needed.
#[cfg(feature = "postgres")]
async fn in_database(path: &Path) -> anyhow::Result<Box<dyn Archive>> {
    let loaded = config::load(path).map_err(|problems| anyhow!("{problems}"));
    let loaded =
        loaded.context("the store is a database, so the secrets of the configuration are needed to reach it")?;
    let Some(address) = &loaded.store.database else {
        bail!("the configuration changed while it was read; run the command again");
    };
    Ok(Box::new(PostgresArchive::open(address).await?))
}

/// Looks at one notification after the other, a page in memory at a time.
async fn walk(
    archive: &dyn Archive,
    args: &Args,
    sides: (&Side<'_>, &Side<'_>),
    report: &mut Report,
) -> anyhow::Result<()> {
    let bar = ProgressBar::new(args.last);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of at most {len}, {eta} left") {
        bar.set_style(style);
    }
    let mut left = args.last;
    let mut before = None;
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = archive.contents(before, args.source.as_deref(), limit).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.notification.row);
        let read = u64::try_from(page.len()).unwrap_or(left);
        left = left.saturating_sub(read);
        for view in page {
            report.look(&view, sides);
        }
        bar.inc(read);
    }
    bar.finish_and_clear();
    Ok(())
}

//! `omgate audit`: what people did.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::json;

use crate::cli::client::{AdminArgs, Client};
use crate::cli::{moment, print};
use crate::clock::Timestamp;
use crate::store::{AuditEntry, Chain, Checked, Walk};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List what people did, the newest first.
    List(ListArgs),
    /// Look whether the log is as it was written: nothing changed, removed or inserted.
    Verify(VerifyArgs),
    /// Write all of the log into a file, which `verify --file` looks through later.
    Export {
        /// The file: one JSON document a line. It must not be there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Look through an exported log in place of the gateway's.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A last hash that was noted earlier: it must be in the log still.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only by people whose name holds this text.
    #[arg(long)]
    who: Option<String>,
    /// Only this verb, such as replay or pause.
    #[arg(long)]
    verb: Option<String>,
    /// Only about this kind of thing: delivery, system, job, source, store, absence.
    #[arg(long)]
    object: Option<String>,
    /// Only about this one.
    #[arg(long)]
    object_id: Option<String>,
    /// From then on: a UTC day, such as 2026-11-01 or yesterday, a date and time, or how long ago, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = moment::from)]
    from: Option<Timestamp>,
    /// Before then; a UTC day belongs to it.
    #[arg(long, value_name = "TIME", value_parser = moment::to)]
    to: Option<Timestamp>,
    /// Below this entry: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate audit`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(wanted) => list(&args.admin.client()?, wanted).await,
        Verb::Verify(wanted) => verify(&args.admin, wanted).await,
        Verb::Export { file } => export(&args.admin.client()?, &file).await,
    }
}

async fn list(client: &Client, list: ListArgs) -> anyhow::Result<ExitCode> {
    let query = [
        ("who", list.who),
        ("verb", list.verb),
        ("object", list.object),
        ("object_id", list.object_id),
        ("from", list.from.map(|from| from.to_string())),
        ("to", list.to.map(|to| to.to_string())),
        ("before", list.before.map(|before| before.to_string())),
        ("limit", Some(list.limit.to_string())),
    ];
    let query: Vec<(&str, String)> = query.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let found = client.get("/audit", &query).await?;
    if list.json {
        print::json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = print::table(&["entry", "at", "who", "did", "to", "many", "reason", "result"]).of_lines();
    for entry in found.as_array().into_iter().flatten() {
        let cell = |key: &str| print::cell(entry.get(key));
        let object = format!("{} {}", cell("object"), cell("object_id"));
        let count = if entry.get("count") == Some(&json!(1)) { String::new() } else { cell("count") };
        table.add_row([
            cell("id"),
            cell("at"),
            cell("who"),
            cell("verb"),
            object,
            count,
            cell("reason"),
            // What never ended says so in place of that it began.
            first_line(&if entry.get("unended").is_some() { cell("unended") } else { cell("result") }),
        ]);
    }
    print::rows(&table);
    Ok(ExitCode::SUCCESS)
}

/// The first line of a result, and how much more there is.
fn first_line(result: &str) -> String {
    match (result.lines().next(), result.lines().count()) {
        (Some(first), count) if count > 1 => format!("{first} (and {} lines more: --json)", count - 1),
        _ => result.to_owned(),
    }
}

/// A part of the log as the gateway tells it; the first line of an exported log has the chain alone.
#[derive(Deserialize)]
struct Part {
    chain: Chain,
    #[serde(default)]
    entries: Vec<AuditEntry>,
}

/// The longest line of an exported log: an entry may hold a long result.
const LINE_BYTES_MAX: u64 = 16 << 20;

async fn part(client: &Client, after: i64) -> anyhow::Result<Part> {
    let part = client.get("/audit/chain", &[("after", after.to_string())]).await?;
    serde_json::from_value(part).context("reading the gateway's audit log")
}

/// Hands every entry to `each`, up to where the chain ended when the walk began.
async fn walk(
    client: &Client,
    first: Part,
    mut each: impl FnMut(&AuditEntry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end = first.chain.head_entry;
    let mut entries = first.entries;
    while let Some(last) = entries.last().map(|entry| entry.id) {
        entries.iter().filter(|entry| entry.id <= end || entry.hash.is_none()).try_for_each(&mut each)?;
        if last >= end {
            break;
        }
        entries = part(client, last).await?.entries;
    }
    Ok(())
}

async fn verify(admin: &AdminArgs, wanted: VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut seen = wanted.head.is_none();
    let mut note = |hash: &str| seen |= wanted.head.as_deref() == Some(hash);
    let checked = match &wanted.file {
        Some(file) => verify_file(file, &mut note)?,
        None => {
            let client = admin.client()?;
            let first = part(&client, 0).await?;
            note(&first.chain.anchor_hash);
            let mut looked = Walk::new(first.chain.clone());
            walk(&client, first, |entry| {
                entry.hash.iter().for_each(|hash| note(hash));
                looked.look(entry);
                Ok(())
            })
            .await?;
            looked.finish()
        }
    };
    tell(checked, seen, wanted.json)
}

fn verify_file(file: &Path, note: &mut impl FnMut(&str)) -> anyhow::Result<Checked> {
    let reading = |line: usize| format!("reading {}, line {line}", file.display());
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let mut lines = BufReader::new(opened);
    let mut looked: Option<Walk> = None;
    for number in 1.. {
        let mut line = String::new();
        lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line).with_context(|| reading(number))?;
        if line.is_empty() {
            break;
        }
        let parsed = |error| anyhow!("{}: {error}; is it a file of `omgate audit export`?", reading(number));
        match &mut looked {
            None => {
                let Part { chain, .. } = serde_json::from_str(&line).map_err(parsed)?;
                note(&chain.anchor_hash);
                looked = Some(Walk::new(chain));
            }
            Some(looked) => {
                let entry: AuditEntry = serde_json::from_str(&line).map_err(parsed)?;
                entry.hash.iter().for_each(|hash| note(hash));
                looked.look(&entry);
            }
        }
    }
    looked.map(Walk::finish).with_context(|| format!("{} is empty", file.display()))
}

fn tell(checked: Checked, seen: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut checked = checked;
    if !seen {
        checked.findings.push(
            "the hash that was noted earlier is not in the log: it was written anew, or what it stood for was pruned"
                .to_owned(),
        );
    }
    if as_json {
        print::json(&json!(checked));
    } else {
        let Checked { entries, from_before, findings, more, head_entry, head_hash } = &checked;
        findings.iter().for_each(|finding| print::line(finding));
        if *more > 0 {
            print::line(&format!("and {more} more"));
        }
        if *from_before > 0 {
            print::line(&format!("{from_before} entries are from before the chain; nothing can be said of them"));
        }
        let verdict = if findings.is_empty() { "each follows from the one before" } else { "THE LOG WAS CHANGED" };
        print::line(&format!("{entries} entries: {verdict}; the last is {head_entry}, its hash {head_hash}"));
    }
    Ok(if checked.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn export(client: &Client, file: &Path) -> anyhow::Result<ExitCode> {
    let writing = || format!("writing {}", file.display());
    if file.exists() {
        bail!("{} is there already; name another file", file.display());
    }
    let mut first = part(client, 0).await?;
    let mut made = std::io::BufWriter::new(File::create_new(file).with_context(writing)?);
    writeln!(made, "{}", json!({"chain": first.chain})).with_context(writing)?;
    let mut count: u64 = 0;
    let entries = std::mem::take(&mut first.entries);
    walk(client, Part { entries, ..first }, |entry| {
        count += 1;
        writeln!(made, "{}", json!(entry)).with_context(writing)
    })
    .await?;
    made.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .with_context(writing)?;
    print::line(&format!("{count} entries are in {}", file.display()));
    Ok(ExitCode::SUCCESS)
}

//! `omgate sources adopt`: a sandbox that was refreshed has another id; it is let in, and what waited goes its way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs, Client, RateArgs};
use crate::cli::destinations::name;
use crate::cli::print;
use crate::config;
use crate::wsdl;

/// Arguments of `sources adopt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The source.
    #[arg(value_parser = name)]
    source: String,
    /// The organization's id, 15 or 18 characters: `omgate notifications list --kind quarantined` and the alarm show it.
    #[arg(long, value_name = "ID")]
    organization: String,
    /// Write the line into the configuration file, and have the gateway take it.
    #[arg(long)]
    write: bool,
    /// Even where a later state of the record was or will be sent: that may undo it.
    #[arg(long)]
    even_if_newer: bool,
    /// With --write: even when no quarantined notification is of that organization.
    #[arg(long, requires = "write")]
    even_if_unseen: bool,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// What was done, for people and for scripts.
#[derive(Default)]
struct Done {
    lines: Vec<String>,
    written: bool,
    edit: Option<String>,
}

/// Exit code 1 while the source does not take the organization.
pub(super) async fn run(admin: &AdminArgs, args: &Args) -> anyhow::Result<ExitCode> {
    check(&args.organization)?;
    if EXAMPLES.iter().any(|example| same_organization(example, &args.organization)) {
        print::note(&format!(
            "warning: {} is the organization id of the README's examples, hardly one of yours",
            args.organization
        ));
    }
    let client = admin.client()?;
    let mut done = Done::default();
    let mut found = call(&client, args, true).await?;
    let is_in_force = |found: &Value| found.get("in_force").and_then(Value::as_bool).unwrap_or(false);
    if !is_in_force(&found) {
        let waits = print::cell(found.get("waiting"));
        done.lines.push(format!("{waits} notifications of {} are quarantined", args.organization));
        refuse_unseen(&found, args, &mut done)?;
        enter(&client, admin.config(), args, &mut done).await?;
        if done.written {
            found = call(&client, args, true).await?;
        }
    }
    let in_force = is_in_force(&found);
    if in_force && !args.change.dry_run {
        found = call(&client, args, false).await?;
    }
    if in_force {
        let number = |key: &str| print::cell(found.get(key));
        let would = if args.change.dry_run { "would be" } else { "are" };
        done.lines.push(format!(
            "source {} takes {}: of {} quarantined notifications {} {would} routed, into {} deliveries",
            args.source,
            args.organization,
            number("waiting"),
            number("routed"),
            number("deliveries")
        ));
    }
    for one in found.get("failed").and_then(Value::as_array).into_iter().flatten() {
        let (id, reason) = (print::cell(one.get("notification_id")), print::cell(one.get("reason")));
        done.lines.push(format!("  {id} stays quarantined: {reason}"));
    }
    show(args, &found, &done);
    Ok(if in_force || args.change.dry_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the README calls an organization where it needs one.
const EXAMPLES: [&str; 2] = ["00D24000000abcdEAA", "00D98000000wxyzEAA"];

/// The last three of 18 characters only repeat which of the others are capitals.
fn same_organization(one: &str, other: &str) -> bool {
    one.get(..15).is_some_and(|key| other.get(..15) == Some(key))
}

/// Whoever lets an organization in that never knocked has probably mistyped it.
fn refuse_unseen(found: &Value, args: &Args, done: &mut Done) -> anyhow::Result<()> {
    let seen = found.get("quarantined").and_then(Value::as_object).into_iter().flatten();
    let seen: Vec<(&str, u64)> = seen.map(|(id, count)| (id.as_str(), count.as_u64().unwrap_or(0))).collect();
    if args.even_if_unseen || seen.iter().any(|(id, _)| same_organization(id, &args.organization)) {
        return Ok(());
    }
    let there = those_seen(&args.organization, &seen);
    if !args.write {
        done.lines.push(there);
        return Ok(());
    }
    bail!(
        "no quarantined notification of source {} is of {}, and nothing is written; {there}; if it is meant all the same, say \
         --even-if-unseen",
        args.source,
        args.organization
    )
}

/// The organizations of what is quarantined, and which of them may be meant.
fn those_seen(wanted: &str, seen: &[(&str, u64)]) -> String {
    if seen.is_empty() {
        return "nothing is quarantined there".to_owned();
    }
    let near = wsdl::nearest(wanted, seen.iter().map(|(id, _)| *id));
    let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let seen: Vec<String> = seen.iter().map(|(id, count)| format!("{id} ({count})")).collect();
    format!("quarantined there are {}{meant}", seen.join(", "))
}

fn show(args: &Args, found: &Value, done: &Done) {
    if !args.change.json {
        done.lines.iter().for_each(|line| print::line(line));
        return;
    }
    let mut all = found.clone();
    if let Some(all) = all.as_object_mut() {
        all.insert("written".to_owned(), json!(done.written));
        all.insert("line".to_owned(), json!(done.edit));
    }
    print::json(&all);
}

fn check(organization: &str) -> anyhow::Result<()> {
    let fits = matches!(organization.len(), 15 | 18)
        && organization.starts_with("00D")
        && organization.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits {
        return Ok(());
    }
    bail!("{organization:?} is no organization id: 15 or 18 letters and digits that begin with 00D")
}

/// Looks at all that is quarantined, or routes it; the sums.
async fn call(client: &Client, args: &Args, dry_run: bool) -> anyhow::Result<Value> {
    let mut sums = [("waiting", 0), ("routed", 0), ("deliveries", 0)];
    let (mut failed, mut in_force) = (Vec::new(), false);
    let mut quarantined: BTreeMap<String, u64> = BTreeMap::new();
    let mut after = Some(0);
    while let Some(row) = after {
        let body = json!({
            "organization": args.organization, "after": row, "even_if_newer": args.even_if_newer,
            "dry_run": dry_run, "rate": args.rate.rate, "reason": args.change.reason,
        });
        let found = client.post(&format!("/sources/{}/adopt", args.source), &body).await?;
        for (key, sum) in &mut sums {
            *sum += found.get(*key).and_then(Value::as_u64).unwrap_or(0);
        }
        failed.extend(found.get("failed").and_then(Value::as_array).into_iter().flatten().cloned());
        for (organization, count) in found.get("quarantined").and_then(Value::as_object).into_iter().flatten() {
            *quarantined.entry(organization.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        in_force = found.get("in_force").and_then(Value::as_bool).unwrap_or(false);
        after = found.get("next").and_then(Value::as_i64);
    }
    let [(_, waiting), (_, routed), (_, deliveries)] = sums;
    Ok(json!({
        "in_force": in_force, "waiting": waiting, "quarantined": quarantined, "routed": routed, "deliveries": deliveries,
        "failed": failed,
    }))
}

/// Says which line lets the organization in, or writes it.
async fn enter(client: &Client, path: &Path, args: &Args, done: &mut Done) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let adopted = config::adopted(&text, &args.source, &args.organization)
        .map_err(|reason| anyhow!("{}: {reason}", path.display()))?;
    let Some(adopted) = adopted else {
        done.lines.push(format!(
            "{} has the organization already, and the gateway does not: run `omgate reload`, then this again",
            path.display()
        ));
        return Ok(());
    };
    done.edit = Some(adopted.list.clone());
    let place = format!("{}:{}", path.display(), adopted.line);
    if !args.write || args.change.dry_run {
        let how =
            if args.write { "would be written" } else { "is to be written (--write does it), and this run again" };
        done.lines.push(format!("into {place} {how}:"));
        done.lines.push(adopted.list);
        return Ok(());
    }
    write(path, &text, &adopted.text)?;
    done.written = true;
    done.lines.push(format!("written into {place}:"));
    done.lines.push(adopted.list);
    let reason = format!("adopt {} in {}: {}", args.organization, args.source, args.change.reason);
    let reloaded = client.post("/reload", &json!({"reason": reason})).await;
    let reloaded = reloaded.context("the line is written, and the gateway did not take the configuration")?;
    done.lines.push(format!("configuration {} is in force", print::cell(reloaded.get("version"))));
    Ok(())
}

/// Puts a file that is right in the place of the one that was read, whole or not at all.
fn write(path: &Path, before: &str, text: &str) -> anyhow::Result<()> {
    // A link stays a link.
    let path = fs::canonicalize(path).with_context(|| format!("finding {}", path.display()))?;
    let folder = path.parent().context("the configuration has no folder")?;
    let write = || format!("writing beside {}: write the line by hand", path.display());
    let mut beside =
        tempfile::Builder::new().prefix(".omgate-").suffix(".toml").tempfile_in(folder).with_context(write)?;
    std::io::Write::write_all(&mut beside, text.as_bytes()).with_context(write)?;
    let permissions = fs::metadata(&path).with_context(write)?.permissions();
    beside.as_file().set_permissions(permissions).with_context(write)?;
    beside.as_file().sync_all().with_context(write)?;
    if let Err(problems) = config::load_without_secrets(beside.path()) {
        bail!("the configuration would be wrong, and stays as it is:\n{problems}");
    }
    let now = fs::read_to_string(&path).with_context(write)?;
    if now != before {
        bail!("{} changed meanwhile, and stays as it is: run this again", path.display());
    }
    beside.persist(&path).with_context(write)?;
    Ok(())
}

//! `omgate notifications`: look at what came in.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs, Client, RateArgs, UnmaskArgs};
use crate::cli::destinations::{encoded, name};
use crate::cli::{moment, print};
use crate::clock::Timestamp;

/// Arguments of `notifications`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List notifications, newest first.
    List(ListArgs),
    /// Route again what no route matched, oldest first, by the routes that are in force now.
    Reroute(RerouteArgs),
    /// Show one: all its revisions, its fields, what each route makes of it, and its deliveries.
    Show {
        /// The notification's id.
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        unmask: UnmaskArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only from this source.
    #[arg(long)]
    source: Option<String>,
    /// Only of this kind: routed, unrouted, `skipped_empty`, unreadable, quarantined.
    #[arg(long)]
    kind: Option<String>,
    /// Only of this organization; the first 15 characters count.
    #[arg(long)]
    organization: Option<String>,
    /// Only with this notification id.
    #[arg(long)]
    notification_id: Option<String>,
    /// Only of this record.
    #[arg(long)]
    record_id: Option<String>,
    /// Only those received then or later: a UTC day, such as 2026-11-01 or yesterday, a date and time, or how long ago, such as
    /// 24h.
    #[arg(long, value_name = "TIME", value_parser = moment::from)]
    since: Option<Timestamp>,
    /// Only those received before then; a UTC day belongs to it.
    #[arg(long, value_name = "TIME", value_parser = moment::to)]
    until: Option<Timestamp>,
    /// Only those whose reason holds this text.
    #[arg(long)]
    text: Option<String>,
    /// Only those of whose record a field has this value, such as Name=ACME-4711; Name=ACME* for all that begin so. The
    /// source names such fields in `search`.
    #[arg(long, value_name = "FIELD=VALUE")]
    search: Option<String>,
    /// Below this row: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RerouteArgs {
    /// Only from this source.
    #[arg(long)]
    source: Option<String>,
    /// Even where a later state of the record was or will be sent: that may undo it.
    #[arg(long)]
    even_if_newer: bool,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `omgate notifications`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::Reroute(order) => return reroute(&client, &order).await,
        Verb::Show { id, unmask, json } => {
            let mut found = client.get(&format!("/notifications/{}", encoded(&id)), &unmask.query()).await?;
            if json { print::json(&found) } else { show(&mut found) }
        }
        Verb::List(filter) => {
            let mut query = vec![("limit", filter.limit.to_string())];
            let texts = [
                ("source", filter.source),
                ("kind", filter.kind),
                ("organization", filter.organization),
                ("notification_id", filter.notification_id),
                ("record_id", filter.record_id),
                ("since", filter.since.map(|since| since.to_string())),
                ("until", filter.until.map(|until| until.to_string())),
                ("text", filter.text),
                ("search", filter.search),
                ("before", filter.before.map(|row| row.to_string())),
            ];
            query.extend(texts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
            let found = client.list("/notifications", &query, filter.limit).await?;
            if filter.json {
                print::json(&found);
            } else {
                print::list(
                    &found,
                    &[
                        ("row", "/row"),
                        ("notification", "/notification_id"),
                        ("revision", "/revision"),
                        ("source", "/source"),
                        ("type", "/record_type"),
                        ("record", "/record_id"),
                        ("kind", "/kind"),
                        ("received at", "/received_at"),
                    ],
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One, as people read it.
fn show(found: &mut Value) {
    let newest = found.get("revisions").and_then(Value::as_array).and_then(|list| list.last()).cloned();
    let newest = newest.unwrap_or_default();
    let facts = [
        ("notification", "notification_id"),
        ("source", "source"),
        ("organization", "organization_id"),
        ("outbound message", "action_id"),
        ("type", "record_type"),
        ("record", "record_id"),
        ("came again", "duplicates"),
    ];
    for (name, key) in facts {
        print::line(format!("{name:<17} {}", print::cell(newest.get(key))).trim_end());
    }
    let revisions = [
        ("row", "/row"),
        ("revision", "/revision"),
        ("received at", "/received_at"),
        ("kind", "/kind"),
        ("reason", "/reason"),
    ];
    part("revisions", found.get("revisions"), &revisions);
    print::say_aside(found.get("aside"));
    let values = found.get("values").and_then(Value::as_object).into_iter().flatten();
    let values = values.filter(|(path, _)| is_own(path));
    let values: Vec<Value> = values.map(|(path, value)| json!({"path": path, "value": value})).collect();
    part("values of the latest", Some(&Value::Array(values)), &[("path", "/path"), ("value", "/value")]);
    if let Some(Value::String(instead)) = found.get("values") {
        print::line(&format!("\nvalues: {instead}"));
    }
    for drift in found.get("drift").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("drift: {}", print::cell(Some(drift))));
    }
    let routes = [
        ("route", "/name"),
        ("destination", "/destination"),
        ("takes it", "/matches"),
        ("lane", "/lane"),
        ("because", "/because"),
    ];
    part("what each route makes of it now", found.get("routes"), &routes);
    if let Some(reason) = found.get("unconsidered") {
        print::line(&format!("what routes make of it cannot be said: {}", print::cell(Some(reason))));
    }
    if let Some(deliveries) = found.get_mut("deliveries") {
        print::say_states(deliveries);
    }
    let deliveries = [
        ("delivery", "/delivery_id"),
        ("revision", "/revision"),
        ("route", "/route"),
        ("destination", "/destination"),
        ("state", "/state"),
        ("attempts", "/attempts"),
        ("reason", "/reason"),
    ];
    part("deliveries", found.get("deliveries"), &deliveries);
}

/// A list under its name, where there is anything in it.
fn part(name: &str, list: Option<&Value>, columns: &[(&str, &str)]) {
    if let Some(list) = list.filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
        print::line(&format!("\n{name}:"));
        print::list(list, columns);
    }
}

/// Goes on until all were looked at: a call takes some of them. Exit code 1 when one could not be routed.
async fn reroute(client: &Client, order: &RerouteArgs) -> anyhow::Result<ExitCode> {
    let mut sums = [("looked_at", 0), ("routed", 0), ("deliveries", 0)];
    let mut failed = Vec::new();
    let mut after = Some(0);
    while let Some(row) = after {
        let change = &order.change;
        let body = json!({
            "source": order.source, "after": row, "even_if_newer": order.even_if_newer,
            "dry_run": change.dry_run, "rate": order.rate.rate, "reason": change.reason,
        });
        let found = client.post("/notifications/reroute", &body).await?;
        for (key, sum) in &mut sums {
            *sum += found.get(*key).and_then(Value::as_u64).unwrap_or(0);
        }
        failed.extend(found.get("failed").and_then(Value::as_array).into_iter().flatten().cloned());
        after = found.get("next").and_then(Value::as_i64);
    }
    let [(_, looked_at), (_, routed), (_, deliveries)] = sums;
    let code = if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if order.change.json {
        print::json(&json!({"looked_at": looked_at, "routed": routed, "deliveries": deliveries, "failed": failed}));
        return Ok(code);
    }
    let would = if order.change.dry_run { "would be" } else { "are" };
    print::line(&format!(
        "of {looked_at} unrouted notifications {routed} {would} routed, into {deliveries} deliveries"
    ));
    if !failed.is_empty() {
        print::line(&format!("{} could not be routed:", failed.len()));
    }
    for one in &failed {
        print::line(&format!("  {}: {}", print::cell(one.get("notification_id")), print::cell(one.get("reason"))));
    }
    Ok(code)
}

/// Whether a value is the record's own, and not what its XML says of namespaces and types.
fn is_own(path: &str) -> bool {
    !path.contains("{namespace}") && !path.contains('@')
}

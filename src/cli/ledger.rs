//! `omgate ledger`: the accounts of sources and destinations, in all or by day, as a table, CSV or JSON; one day, judged.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::cli::client::{AdminArgs, Client};
use crate::cli::{moment, print};
use crate::clock::Day;
use crate::store::DAYS_MAX;

mod day;

/// The columns of the CSV, in this order. What does not apply to a row is empty.
const COLUMNS: [&str; 22] = [
    "day",
    "source",
    "destination",
    "received",
    "unique",
    "duplicate",
    "revised",
    "routed",
    "unrouted",
    "skipped_empty",
    "unreadable",
    "quarantined",
    "waiting",
    "blocked",
    "in_flight",
    "held",
    "delivered",
    "dead",
    "superseded",
    "discarded",
    "attempts",
    "attempts_unknown",
];

/// Arguments of `ledger`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// One UTC day, and whether anything of it was lost: yesterday, today, or such as 2026-11-26. Exit code 1 when something
    /// does not add up, or Salesforce may have dropped something of which nobody took note.
    #[arg(long, value_name = "DAY", conflicts_with_all = ["by_day", "from", "to", "source", "destination", "format"])]
    day: Option<String>,
    /// Each UTC day for itself: by how much each account changed.
    #[arg(long)]
    by_day: bool,
    /// The first UTC day, such as 2026-11-01 or yesterday, or that of a moment, such as 24h ago (default: the first there is).
    #[arg(long, value_name = "TIME", value_parser = moment::day)]
    from: Option<Day>,
    /// The last day (default: today).
    #[arg(long, value_name = "TIME", value_parser = moment::day)]
    to: Option<Day>,
    /// Only of this source.
    #[arg(long)]
    source: Option<String>,
    /// Only of this destination.
    #[arg(long)]
    destination: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print JSON.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For spreadsheets: RFC 4180, one row a source or destination (and day), under a row of names.
    Csv,
    /// For scripts.
    Json,
}

/// Runs `omgate ledger`. Exit code 1 when something of the one day that was asked for may be lost.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    if let Some(day) = args.day {
        return day::run(&client, day, args.json).await;
    }
    let mut rows = fetch(&client, &args).await?;
    if !args.by_day {
        rows = in_all(rows);
    }
    match if args.json { Format::Json } else { args.format } {
        Format::Table => tables(&rows),
        Format::Csv => print::text(&csv(&rows)?),
        Format::Json => print::json(&Value::Array(rows)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of all days that are meant, as many at once as the gateway gives.
async fn fetch(client: &Client, args: &Args) -> anyhow::Result<Vec<Value>> {
    let named = [("source", &args.source), ("destination", &args.destination)];
    let named: Vec<(&str, String)> = named.into_iter().filter_map(|(key, name)| Some((key, name.clone()?))).collect();
    let ask = async |from: Option<Day>, to: Option<Day>| {
        let mut query = named.clone();
        query.extend(from.map(|from| ("from", from.to_string())));
        query.extend(to.map(|to| ("to", to.to_string())));
        client.get("/ledger/days", &query).await
    };
    let day = |answer: &Value, key: &str| answer.get(key).and_then(Value::as_str).and_then(|day| day.parse().ok());
    let latest = ask(None, None).await?;
    let last: Day = match args.to {
        Some(to) => to,
        None => day(&latest, "to").context("the gateway did not say which day it is")?,
    };
    let Some(mut from) = args.from.or_else(|| day(&latest, "first")) else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    anyhow::ensure!(from <= last || args.from.is_none(), "{from} lies after {last}; give the earlier day as --from");
    while from <= last {
        let to = from.plus(DAYS_MAX - 1).min(last);
        if let Some(Value::Array(found)) = ask(Some(from), Some(to)).await?.get_mut("rows").map(Value::take) {
            rows.extend(found);
        }
        from = to.plus(1);
    }
    Ok(rows)
}

/// The sums over all days, sources first.
fn in_all(rows: Vec<Value>) -> Vec<Value> {
    let mut sums: BTreeMap<(bool, String), Map<String, Value>> = BTreeMap::new();
    for row in rows {
        let Value::Object(row) = row else { continue };
        let name = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        let key = (row.contains_key("destination"), name("source").or_else(|| name("destination")).unwrap_or_default());
        let sum = sums.entry(key).or_default();
        for (column, value) in row.into_iter().filter(|(column, _)| column != "day") {
            match value.as_i64() {
                Some(count) => {
                    let before = sum.get(&column).and_then(Value::as_i64).unwrap_or(0);
                    sum.insert(column, json!(before.saturating_add(count)));
                }
                None => {
                    sum.insert(column, value);
                }
            }
        }
    }
    sums.into_values().map(Value::Object).collect()
}

/// One table of sources and one of destinations.
fn tables(rows: &[Value]) {
    for kind in ["source", "destination"] {
        let own: Vec<&Value> = rows.iter().filter(|row| row.get(kind).is_some()).collect();
        let Some(first) = own.first().and_then(|row| row.as_object()) else { continue };
        let columns: Vec<&str> = COLUMNS.into_iter().filter(|column| first.contains_key(*column)).collect();
        let heads: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
        let mut table = print::table(&heads.iter().map(String::as_str).collect::<Vec<_>>());
        for row in own {
            table.add_row(columns.iter().map(|column| print::cell(row.get(*column))));
        }
        print::rows(&table);
    }
    if rows.is_empty() {
        print::line("nothing is booked in that time");
    }
}

/// RFC 4180: a row of names, lines that end with CR LF, quotes where they are needed.
fn csv(rows: &[Value]) -> anyhow::Result<String> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.write_record(COLUMNS.iter().map(|column| print::cell(row.get(*column))))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_summed_and_names_are_quoted_where_they_must_be() {
        let rows = vec![
            json!({"day": "2026-11-01", "source": "a, b", "received": 2, "unique": 2}),
            json!({"day": "2026-11-01", "destination": "erp", "routed": 2, "waiting": 1, "attempts": 1}),
            json!({"day": "2026-11-02", "source": "a, b", "received": 3, "unique": 1}),
            json!({"day": "2026-11-02", "destination": "erp", "routed": 0, "waiting": -1, "attempts": 1}),
        ];
        let text = csv(&rows).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], COLUMNS.join(","));
        assert_eq!(lines[1], "2026-11-01,\"a, b\",,2,2,,,,,,,,,,,,,,,,,");
        assert_eq!(lines[4], "2026-11-02,,erp,,,,,0,,,,,-1,,,,,,,,1,");
        assert_eq!((lines.len(), lines[5]), (6, ""), "the last line ends too");
        let sums = in_all(rows);
        assert_eq!(sums[0], json!({"source": "a, b", "received": 5, "unique": 3}));
        assert_eq!(sums[1], json!({"destination": "erp", "routed": 2, "waiting": 0, "attempts": 2}));
    }
}

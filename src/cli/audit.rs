//! `omgate audit`: what people did.

use std::process::ExitCode;

use comfy_table::ColumnConstraint;
use serde_json::json;

use crate::cli::client::AdminArgs;
use crate::cli::print;
use crate::clock::Day;

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
    /// From this UTC day on, such as 2026-11-01.
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// Up to this UTC day.
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// Below this entry: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100)]
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
    let client = args.admin.client()?;
    let Verb::List(list) = args.verb;
    let moment = |day: Day| day.start().to_string();
    let query = [
        ("who", list.who),
        ("verb", list.verb),
        ("object", list.object),
        ("object_id", list.object_id),
        ("from", list.from.map(moment)),
        ("to", list.to.map(|day| moment(day.plus(1)))),
        ("before", list.before.map(|before| before.to_string())),
        ("limit", Some(list.limit.to_string())),
    ];
    let query: Vec<(&str, String)> = query.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let found = client.get("/audit", &query).await?;
    if list.json {
        print::json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = print::table(&["entry", "at", "who", "did", "to", "many", "reason", "result"]);
    // Numbers, moments and verbs stay whole; what people say takes the room that is left.
    for column in [0, 1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
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
            first_line(&cell("result")),
        ]);
    }
    print::line(&table.to_string());
    Ok(ExitCode::SUCCESS)
}

/// The first line of a result, and how much more there is.
fn first_line(result: &str) -> String {
    match (result.lines().next(), result.lines().count()) {
        (Some(first), count) if count > 1 => format!("{first} (and {} lines more: --json)", count - 1),
        _ => result.to_owned(),
    }
}

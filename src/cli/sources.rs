//! `omgate sources`: when each was heard last, its silence, and when nobody listened.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::client::{ChangeArgs, Client, VerbArgs};
use crate::cli::destinations::{encoded, name};
use crate::cli::{moment, print};
use crate::clock::Day;
use crate::store::DAYS_MAX;

mod adopt;

/// Arguments of `sources`.
pub type Args = VerbArgs<Verb>;

/// What `sources` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the sources: where each listens, when it was heard last, and its accounts.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one: its address for Salesforce, whose messages it takes, its accounts and alarms.
    Show {
        /// The source's name.
        #[arg(value_parser = name)]
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// When each source was heard last, its longest silence, and the times in which the gateway itself did not listen.
    Gaps {
        /// Of this many days.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=DAYS_MAX))]
        days: u16,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the POSTs that were refused for good, newest first.
    Refused {
        /// On this UTC day, such as 2026-11-26 or yesterday.
        #[arg(long, value_name = "DAY", value_parser = moment::day)]
        day: Option<Day>,
        /// By this source.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// At most this many (1,000 at the most, as many as are kept).
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Print JSON, with what was posted.
        #[arg(long)]
        json: bool,
    },
    /// Let an organization in that was quarantined, such as a sandbox that was refreshed, and send what waits of it.
    Adopt(adopt::Args),
    /// Take note of a time in which nobody listened: its alarm ends. Or of the POSTs that were refused on a day.
    Acknowledge {
        /// Its number, as `omgate sources gaps` shows it.
        #[arg(required_unless_present = "refused_on")]
        id: Option<i64>,
        /// Of the POSTs that were refused on this UTC day, such as 2026-11-26 or yesterday.
        #[arg(long, value_name = "DAY", value_parser = moment::day, conflicts_with = "id")]
        refused_on: Option<Day>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "its own fields are the arguments")]
        change: ChangeArgs,
    },
}

/// Runs `omgate sources`; exit code 1 when a source is silent for too long, or something may be lost and nobody took note.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List { json } => {
            let found = client.get("/sources", &[]).await?;
            if json {
                print::json(&found)
            } else {
                list(&found)
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Show { name, json } => {
            let found = client.get(&format!("/sources/{}", encoded(&name)), &[]).await?;
            if json {
                print::json(&found)
            } else {
                detail(&found)
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Gaps { days, json } => {
            let gaps = client.get("/gaps", &[("days", days.to_string())]).await?;
            let absences = client.get("/absences", &[]).await?;
            let is_well = !any(&gaps, "alarm") && !any(&absences, "stands");
            if json {
                print::json(&json!({"sources": gaps, "absences": absences}));
            } else {
                show(&gaps, &absences);
            }
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Refused { day, source, limit, json } => {
            let asked =
                [("day", day.map(|day| day.to_string())), ("source", source), ("limit", Some(limit.to_string()))];
            let asked: Vec<_> = asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let found = client.get("/refused", &asked).await?;
            if json {
                print::json(&found)
            } else {
                refused(&found)
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Adopt(adopted) => adopt::run(&args.admin, &adopted).await,
        Verb::Acknowledge { id, refused_on, change } => {
            if let Some(day) = refused_on {
                acknowledge_refused(&client, day, &change).await?;
            }
            if let Some(id) = id {
                acknowledge(&client, id, &change).await?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn acknowledge(client: &Client, id: i64, change: &ChangeArgs) -> anyhow::Result<()> {
    let absence = client.change(&format!("/absences/{id}/acknowledge"), change).await?;
    if change.json {
        print::json(&absence);
    } else if change.dry_run {
        print::line(&format!("would take note: {}", print::cell(absence.get("text"))));
    } else {
        print::line(&format!("absence {id} is acknowledged, its alarm ends: {}", print::cell(absence.get("text"))));
    }
    Ok(())
}

/// Takes note of what was refused on a day.
async fn acknowledge_refused(client: &Client, day: Day, change: &ChangeArgs) -> anyhow::Result<()> {
    let told = client.change(&format!("/ledger/day/{day}/acknowledge"), change).await?;
    if change.json {
        print::json(&told);
        return Ok(());
    }
    for refused in told.get("refused").and_then(Value::as_array).into_iter().flatten() {
        print::line(&print::cell(refused.get("text")));
    }
    if change.dry_run {
        print::line("would take note of that");
    } else {
        print::line(&print::cell(told.get("text")));
    }
    Ok(())
}

fn list(found: &Value) {
    let columns = [
        ("source", "/name"),
        ("path", "/path"),
        ("last envelope", "/last_envelope"),
        ("received", "/counts/received"),
        ("duplicate", "/counts/duplicate"),
        ("revised", "/counts/revised"),
        ("unrouted", "/counts/unrouted"),
        ("quarantined", "/counts/quarantined"),
        ("unreadable", "/counts/unreadable"),
    ];
    print::list(found, &columns);
}

fn refused(found: &Value) {
    if found.as_array().is_none_or(Vec::is_empty) {
        return print::line("no POST was refused");
    }
    let columns = [
        ("at", "/at"),
        ("source", "/source"),
        ("sender", "/sender"),
        ("Salesforce drops it", "/dropped_at"),
        ("reason", "/reason"),
    ];
    print::list(found, &columns);
    print::line("with --json: what was posted, which `omgate test` takes as a fixture");
}

fn detail(found: &Value) {
    let text = |pointer: &str| print::cell(found.pointer(pointer));
    let words = |key: &str| {
        let list = found.get(key).and_then(Value::as_array).into_iter().flatten();
        list.map(|one| print::cell(Some(one))).collect::<Vec<_>>().join(", ")
    };
    print::line(&format!("source {} listens at {}", text("/name"), text("/address")));
    print::line(
        "  what Salesforce calls is that path at the name and port under which it reaches this machine or its proxy",
    );
    let organizations = words("organizations");
    let taken = if organizations.is_empty() { "any".to_owned() } else { organizations };
    print::line(&format!("organizations: {taken}; others: {}", text("/unknown_organization")));
    print::line(&format!("routes: {}", words("routes")));
    print::line(&format!("last envelope: {}", text("/last_envelope")));
    let counts = found.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counts: Vec<String> = counts.map(|(kind, count)| format!("{} {count}", kind.replace('_', " "))).collect();
    print::line(&counts.join(", "));
    for alarm in found.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("alarm {}: {}", print::cell(alarm.get("alarm")), print::cell(alarm.get("message"))));
    }
}

fn any(list: &Value, key: &str) -> bool {
    list.as_array().into_iter().flatten().any(|one| one.get(key).and_then(Value::as_bool) == Some(true))
}

fn show(gaps: &Value, absences: &Value) {
    let mut table = print::table(&["source", "last envelope", "silent for", "longest silence", "until", "alarm"]);
    for gap in gaps.as_array().into_iter().flatten() {
        let alarm = match (gap.get("alarm").and_then(Value::as_bool), gap.get("alarm_after_s").and_then(Value::as_u64))
        {
            (Some(true), _) => "SILENT".to_owned(),
            (_, Some(after)) => format!("after {}", span(after)),
            (_, None) => String::new(),
        };
        let seconds = |key: &str| gap.get(key).and_then(Value::as_u64).map(span).unwrap_or_default();
        table.add_row([
            print::cell(gap.get("source")),
            print::cell(gap.get("last_envelope")),
            seconds("silent_s"),
            seconds("longest_s"),
            print::cell(gap.pointer("/longest/until")),
            alarm,
        ]);
    }
    print::rows(&table);
    if any(absences, "stands") {
        print::line("take note of an absence with `omgate sources acknowledge NUMBER`:");
    }
    for absence in absences.as_array().into_iter().flatten() {
        let mark = match (absence.get("stands").and_then(Value::as_bool), absence.get("acknowledged_by")) {
            (Some(true), _) => "! ".to_owned(),
            (_, Some(Value::String(who))) => format!("  (acknowledged by {who}) "),
            _ => "  ".to_owned(),
        };
        let (id, text) = (print::cell(absence.get("id")), print::cell(absence.get("text")));
        print::line(&format!("{mark}absence {id}: {text}"));
    }
}

/// Seconds as people say them: the two largest units.
pub(in crate::cli) fn span(seconds: u64) -> String {
    let minutes = Duration::from_secs(seconds).as_secs() / 60;
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        for (seconds, words) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_260, "2 h 1 min"), (180_000, "2 d 2 h")] {
            assert_eq!(span(seconds), words);
        }
    }
}

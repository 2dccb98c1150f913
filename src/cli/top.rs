//! `omgate top`: what comes in and goes out a second, by source and destination, drawn anew until it is interrupted.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    /// End after so many pictures.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// What was there at a moment.
struct Seen {
    at: Instant,
    sources: Value,
    destinations: Value,
}

/// Draws until it is interrupted.
///
/// # Errors
/// When the gateway cannot be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let look = async || -> anyhow::Result<(Seen, Value)> {
        let sources = client.get("/sources", &[]).await?;
        let destinations = client.get("/destinations", &[]).await?;
        let status = client.get("/status", &[]).await?;
        Ok((Seen { at: Instant::now(), sources, destinations }, status))
    };
    let (mut before, _) = look().await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let pause = Duration::from_secs(args.every);
        if tokio::time::timeout(pause, tokio::signal::ctrl_c()).await.is_ok() {
            break;
        }
        let (now, status) = look().await?;
        let picture = picture(&before, &now, &status);
        let clear = if std::io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
        print::line(&format!("{clear}{picture}"));
        before = now;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

fn picture(before: &Seen, now: &Seen, status: &Value) -> String {
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let mut text = String::new();
    for need in status.get("needs").and_then(Value::as_array).into_iter().flatten() {
        let (what, hint) = (print::cell(need.get("text")), print::cell(need.get("hint")));
        text.push_str(format!("! {what} {hint}").trim_end());
        text.push('\n');
    }
    let mut table = print::table(&["source", "in/s", "received", "last envelope"]);
    for (one, old) in pairs(&now.sources, &before.sources) {
        let rate = rate(one, old, "/counts/received", seconds);
        let (name, count) = (print::cell(one.get("name")), print::cell(one.pointer("/counts/received")));
        table.add_row([name, rate, count, print::cell(one.get("last_envelope"))]);
    }
    text.push_str(&table.to_string());
    text.push('\n');
    let heads =
        ["destination", "is", "out/s", "dead/s", "waiting", "blocked", "in flight", "held", "dead", "oldest waiting"];
    let mut table = print::table(&heads);
    for (one, old) in pairs(&now.destinations, &before.destinations) {
        let cell = |pointer: &str| print::cell(one.pointer(pointer));
        let code = one.pointer("/standing/why/code").map(print::word).unwrap_or_default();
        table.add_row([
            cell("/name"),
            if code.is_empty() { "open".to_owned() } else { code },
            rate(one, old, "/counts/delivered", seconds),
            rate(one, old, "/counts/dead", seconds),
            cell("/counts/waiting"),
            cell("/counts/blocked"),
            cell("/counts/in_flight"),
            cell("/counts/held"),
            cell("/counts/dead"),
            cell("/oldest_unsettled"),
        ]);
    }
    text.push_str(&table.to_string());
    text
}

/// Each of a list with what it was before.
fn pairs<'v>(now: &'v Value, before: &'v Value) -> impl Iterator<Item = (&'v Value, Option<&'v Value>)> {
    let old = move |one: &Value| {
        let list = before.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().find(|old| old.get("name") == one.get("name"))
    };
    now.as_array().into_iter().flatten().map(move |one| (one, old(one)))
}

fn rate(now: &Value, before: Option<&Value>, pointer: &str, seconds: f64) -> String {
    let count = |value: &Value| value.pointer(pointer).and_then(Value::as_f64);
    match (count(now), before.and_then(count)) {
        (Some(now), Some(before)) => format!("{:.1}", (now - before).max(0.0) / seconds),
        (_, None) | (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_is_what_was_added_in_the_time_between() {
        let (before, now) = (json!({"counts": {"delivered": 10}}), json!({"counts": {"delivered": 25}}));
        assert_eq!(rate(&now, Some(&before), "/counts/delivered", 2.0), "7.5");
        assert_eq!(
            rate(&before, Some(&now), "/counts/delivered", 2.0),
            "0.0",
            "a counter that was lowered by a replay"
        );
        assert_eq!(rate(&now, None, "/counts/delivered", 2.0), "");
    }
}

//! `omgate top`: what comes in and goes out a second, by source and destination, drawn anew until it is interrupted.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::print;
use crate::cli::table::{self, Room, Table};

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
        let picture = Picture::of(&before, &now, &status);
        match table::room() {
            Some(room) => print::line(&format!("\u{1b}[H\u{1b}[2J{}", picture.within(room))),
            None => print::line(&picture.whole()),
        }
        before = now;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is drawn.
struct Picture {
    needs: Vec<String>,
    sources: Table,
    destinations: Table,
}

/// Frames and heads of two tables, and the line in which the cursor stands.
const LINES_AROUND: usize = 9;

impl Picture {
    fn of(before: &Seen, now: &Seen, status: &Value) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let needs = status.get("needs").and_then(Value::as_array).into_iter().flatten().map(|need| {
            let (what, hint) = (print::cell(need.get("text")), print::cell(need.get("hint")));
            format!("! {what} {hint}").trim_end().to_owned()
        });
        Self {
            needs: needs.collect(),
            sources: sources(before, now, seconds),
            destinations: destinations(before, now, seconds),
        }
    }

    /// All of it, for a file or a program.
    fn whole(&self) -> String {
        let needs: String = self.needs.iter().map(|need| format!("{need}\n")).collect();
        format!("{needs}{}\n{}", self.sources, self.destinations)
    }

    /// So much as a terminal shows at once.
    fn within(mut self, room: Room) -> String {
        let rows = room.lines.saturating_sub(LINES_AROUND).max(3);
        let needs = self.needs.len().min((rows / 3).max(1));
        let left = rows - needs;
        let sources = self.sources.len().min((left / 3).max(1));
        let destinations = self.destinations.len().min(left.saturating_sub(sources).max(1));
        self.destinations.shorten(destinations);
        self.sources.shorten(left.saturating_sub(destinations));
        let more = self.needs.len() - needs;
        if more > 0 {
            self.needs.truncate(needs.saturating_sub(1));
            self.needs.push(format!("! … {} more", more + 1));
        }
        let needs: String = self.needs.iter().map(|need| format!("{}\n", table::cut(need, room.columns))).collect();
        format!("{needs}{}\n{}", self.sources.within(room.columns).0, self.destinations.within(room.columns).0)
    }
}

fn sources(before: &Seen, now: &Seen, seconds: f64) -> Table {
    let mut table = print::table(&["source", "in/s", "received", "last envelope"]).of_lines();
    for (one, old) in pairs(&now.sources, &before.sources) {
        let rate = rate(one, old, "/counts/received", seconds);
        let (name, count) = (print::cell(one.get("name")), print::cell(one.pointer("/counts/received")));
        table.add_row([name, rate, count, print::cell(one.get("last_envelope"))]);
    }
    table
}

fn destinations(before: &Seen, now: &Seen, seconds: f64) -> Table {
    let heads =
        ["destination", "is", "out/s", "dead/s", "waiting", "blocked", "in flight", "held", "dead", "oldest waiting"];
    let mut table = print::table(&heads).of_lines();
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
    table
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
    fn a_picture_has_room_in_its_terminal() {
        let names: Vec<Value> = (1..=30).map(|n| json!({"name": format!("destination-{n}"), "counts": {}})).collect();
        let seen = || Seen { at: Instant::now(), sources: json!(names), destinations: json!(names) };
        let needs: Vec<Value> =
            (0..12).map(|_| json!({"text": "erp is paused since yesterday", "hint": "why?"})).collect();
        let status = json!({"needs": needs});
        for (columns, lines) in [(40, 12), (80, 24), (120, 40), (200, 200)] {
            let picture = Picture::of(&seen(), &seen(), &status).within(Room { columns, lines });
            assert!(picture.lines().count() < lines, "{columns}x{lines}: {picture}");
            assert!(picture.lines().all(|line| line.chars().count() <= columns), "{columns}x{lines}: {picture}");
            assert!(picture.contains("destination") && picture.contains("open") || lines == 12, "{picture}");
            assert_eq!(picture.contains("… "), lines < 200, "{columns}x{lines}: {picture}");
        }
        let whole = Picture::of(&seen(), &seen(), &status).whole();
        assert!(whole.contains("destination-30") && !whole.contains('…'), "{whole}");
    }

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

//! `omgate tail` and `omgate trace`: what happens, while it happens.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::cli::client::{AdminArgs, Client};
use crate::cli::print;
use crate::pretty;

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_millis(700);
/// How many changed deliveries one look takes in.
const AT_ONCE: &str = "500";
/// So far back a look reaches beyond the last one: what was written in the same millisecond is not missed.
const OVERLAP_MAX: usize = 5_000;

/// Arguments of `tail`.
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Only to this destination.
    #[arg(long)]
    destination: Option<String>,
    /// Only along this route.
    #[arg(long)]
    route: Option<String>,
    /// Only of this record.
    #[arg(long)]
    record: Option<String>,
    /// End after so many lines.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Arguments of `trace`.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The destination's name.
    destination: String,
    /// End after so many exchanges.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What changed since the last look.
struct Look<'c> {
    client: &'c Client,
    query: Vec<(&'static str, String)>,
    since: Option<String>,
    /// What was told of each, so that nothing is told twice.
    told: HashMap<i64, (String, u64)>,
}

impl<'c> Look<'c> {
    fn new(client: &'c Client, filters: [(&'static str, Option<String>); 3]) -> Self {
        let mut query: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        query.push(("limit", AT_ONCE.to_owned()));
        Self { client, query, since: None, told: HashMap::new() }
    }

    /// The deliveries that changed, in the order in which they did. The first look only learns what is there.
    async fn next(&mut self) -> anyhow::Result<Vec<Value>> {
        let mut query = self.query.clone();
        query.extend(self.since.clone().map(|since| ("changed_since", since)));
        let found = self.client.get("/deliveries", &query).await?;
        let mut changed: Vec<Value> = found.as_array().cloned().unwrap_or_default();
        // As the gateway wrote it: it is asked with it again.
        let moment = |view: &Value| view.get("changed_at").and_then(Value::as_str).map(str::to_owned);
        changed.sort_by_key(moment);
        let is_first = self.since.is_none();
        if let Some(last) = changed.last() {
            self.since = moment(last);
        } else if is_first {
            self.since = Some("1970-01-01T00:00:00Z".to_owned());
        }
        if self.told.len() > OVERLAP_MAX {
            self.told.clear();
        }
        changed.retain(|view| self.is_news(view) && !is_first);
        Ok(changed)
    }

    fn is_news(&mut self, view: &Value) -> bool {
        let Some(id) = view.get("delivery_id").and_then(Value::as_i64) else { return false };
        let attempts = view.get("attempts").and_then(Value::as_u64).unwrap_or_default();
        let now = (print::cell(view.get("state")), attempts);
        self.told.insert(id, now.clone()) != Some(now)
    }
}

/// Prints each delivery that changes, until it is interrupted.
///
/// # Errors
/// When the gateway cannot be reached.
pub async fn tail(args: TailArgs) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let filters = [("destination", args.destination), ("route", args.route), ("record_id", args.record)];
    let mut look = Look::new(&client, filters);
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        for view in look.next().await? {
            if args.json {
                print::line(&view.to_string())
            } else {
                print::line(&line_of(&view))
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if interrupted().await {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Whether somebody wants it to end; waits a moment for that.
async fn interrupted() -> bool {
    tokio::time::timeout(EVERY, tokio::signal::ctrl_c()).await.is_ok()
}

fn line_of(view: &Value) -> String {
    let text = |key: &str| print::cell(view.get(key)).replace('\n', " ");
    let state = print::word(view.get("state").unwrap_or(&Value::Null));
    let why = match view.pointer("/why/text") {
        Some(why) => print::cell(Some(why)).replace('\n', " "),
        None => text("reason"),
    };
    format!(
        "{} {:>9} {state:<10} {} {} → {} {}{}",
        text("changed_at"),
        text("delivery_id"),
        text("record_type"),
        text("record_id"),
        text("destination"),
        text("status"),
        if why.is_empty() { String::new() } else { format!("  {why}") }
    )
    .trim_end()
    .to_owned()
}

/// Prints each exchange with a destination, until it is interrupted: what the gateway shows of it, masked as everywhere.
///
/// # Errors
/// When the gateway cannot be reached, or has no such destination.
pub async fn trace(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    let filters = [("destination", Some(args.destination)), ("route", None), ("record_id", None)];
    let mut look = Look::new(&client, filters);
    let mut shown: HashMap<i64, u64> = HashMap::new();
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        for view in look.next().await? {
            let Some(id) = view.get("delivery_id").and_then(Value::as_i64) else { continue };
            let whole = client.get(&format!("/deliveries/{id}"), &[]).await?;
            for attempt in whole.get("attempts").and_then(Value::as_array).into_iter().flatten() {
                let number = attempt.get("number").and_then(Value::as_u64).unwrap_or_default();
                let has_ended = attempt.get("outcome").is_some_and(|outcome| !outcome.is_null());
                if !has_ended || shown.get(&id).is_some_and(|last| *last >= number) {
                    continue;
                }
                shown.insert(id, number);
                if args.json {
                    print::line(&attempt.to_string())
                } else {
                    exchange(id, attempt)
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        if shown.len() > OVERLAP_MAX {
            shown.clear();
        }
        if interrupted().await {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn exchange(id: i64, attempt: &Value) {
    let text = |key: &str| print::cell(attempt.get(key));
    let (number, at, took) = (text("number"), text("started_at"), text("duration_ms"));
    print::line(&format!("── delivery {id}, attempt {number}, {at}, {took} ms: {}", text("outcome")));
    print::line(&format!("→ {}", text("request_line")));
    body(&text("request"));
    print::line(&format!("← HTTP {} {}", text("status"), text("reason")));
    body(&text("response"));
}

fn body(text: &str) {
    if text.is_empty() {
        return;
    }
    let kind = if text.trim_start().starts_with('<') { "text/xml" } else { "application/json" };
    for line in pretty::body(kind, text).lines() {
        print::line(&format!("  {line}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_when_what_and_why_and_nothing_breaks_it() {
        let view = json!({
            "delivery_id": 7, "state": "in_flight", "record_type": "Order", "record_id": "801", "destination": "erp",
            "changed_at": "2026-01-01T00:00:00Z", "status": 503, "reason": "two\nlines", "why": null,
        });
        let line = line_of(&view);
        assert_eq!(line, "2026-01-01T00:00:00Z         7 in flight  Order 801 → erp 503  two lines");
    }
}

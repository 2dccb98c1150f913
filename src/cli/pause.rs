//! How a pause is asked for: by whichever name, it belongs to a system.

use std::time::Duration;

use serde_json::json;

use crate::cli::client::ChangeArgs;
use crate::clock::{SystemClock, Timestamp};
use crate::config;

/// Why there is a pause, and when it ends.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
    /// When it ends by itself, such as 2026-12-01T06:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "span")]
    until: Option<Timestamp>,
    /// After how long it ends by itself, such as 90m or 2h.
    #[arg(long = "for", id = "span", value_name = "TIME", value_parser = span)]
    span: Option<Duration>,
}

impl PauseArgs {
    /// When it ends by itself, counted from now; none for one that a person ends.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        self.until.or_else(|| self.span.map(|span| SystemClock::shared().now().plus(span)))
    }
}

/// When a pause that is only asked for would end, as a part of a sentence.
#[must_use]
pub(in crate::cli) fn would_end(until: Option<Timestamp>) -> String {
    until.map(|until| format!(", and end by itself at {}", until.spoken())).unwrap_or_default()
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let form = "write date, time and zone, such as 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00, at the latest 9999-12-30T22:00:00Z";
    serde_json::from_value(json!(text)).map_err(|_| format!("that is no moment; {form}"))
}

/// How long a pause may be that ends by itself.
const SPAN_MAX: Duration = Duration::from_secs(3_650 * 86_400);

fn span(text: &str) -> Result<Duration, String> {
    let span = config::duration(text)?;
    if span.is_zero() {
        return Err("a pause of no time is none; write how long, such as 90m or 2h".to_owned());
    }
    if span > SPAN_MAX {
        return Err("that is longer than 3650d; leave --for out for a pause that only a person ends".to_owned());
    }
    Ok(span)
}

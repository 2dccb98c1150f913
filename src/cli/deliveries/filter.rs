//! Which deliveries are meant, as options of a command.

use serde_json::{Map, Value, json};

use crate::cli::{moment, number};
use crate::clock::Timestamp;
use crate::delivery::State;

/// Options that leave some deliveries out; what several say holds together.
#[derive(Debug, clap::Args)]
#[group(multiple = true)]
pub(super) struct FilterArgs {
    /// In this state.
    #[arg(long)]
    pub(super) state: Option<State>,
    /// From this source.
    #[arg(long)]
    source: Option<String>,
    /// Of this organization; the first 15 characters count.
    #[arg(long)]
    organization: Option<String>,
    /// To this destination.
    #[arg(long)]
    destination: Option<String>,
    /// Along this route.
    #[arg(long)]
    route: Option<String>,
    /// Of this record.
    #[arg(long)]
    record_id: Option<String>,
    /// Of this notification.
    #[arg(long)]
    notification_id: Option<String>,
    /// Made then or later: a UTC day, such as 2026-11-01 or yesterday, a date and time, or how long ago, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = moment::from)]
    since: Option<Timestamp>,
    /// Made before then; a UTC day belongs to it.
    #[arg(long, value_name = "TIME", value_parser = moment::to)]
    until: Option<Timestamp>,
    /// Which changed last then or later, such as died.
    #[arg(long, value_name = "TIME", value_parser = moment::from)]
    changed_since: Option<Timestamp>,
    /// Which changed last before then; a UTC day belongs to it.
    #[arg(long, value_name = "TIME", value_parser = moment::to)]
    changed_until: Option<Timestamp>,
    /// With so many attempts at least.
    #[arg(long, value_name = "COUNT", value_parser = number::count)]
    attempts: Option<u32>,
    /// Whose last attempt was answered with this HTTP status.
    #[arg(long, value_name = "CODE", value_parser = number::status)]
    status: Option<u16>,
    /// Whose reason holds this text.
    #[arg(long)]
    text: Option<String>,
    /// Of whose record a field has this value, such as Name=ACME-4711; Name=ACME* for all that begin so. The source names
    /// such fields in `search`.
    #[arg(long, value_name = "FIELD=VALUE")]
    search: Option<String>,
}

/// How many things a choice can be made by that are no filter.
const NO_FILTER: usize = 2;

/// The ids of all that a choice can be made by; those of the filters stand in the order of their fields.
pub(super) const CHOICES: [&str; 17] = [
    "ids",
    "issue",
    "state",
    "source",
    "organization",
    "destination",
    "route",
    "record_id",
    "notification_id",
    "since",
    "until",
    "changed_since",
    "changed_until",
    "attempts",
    "status",
    "text",
    "search",
];

impl FilterArgs {
    /// What was given, under its key of the API.
    pub(super) fn given(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        let values = [
            self.state.map(|state| json!(state)),
            text(&self.source),
            text(&self.organization),
            text(&self.destination),
            text(&self.route),
            text(&self.record_id),
            text(&self.notification_id),
            moment::written(self.since),
            moment::written(self.until),
            moment::written(self.changed_since),
            moment::written(self.changed_until),
            self.attempts.map(Value::from),
            self.status.map(Value::from),
            text(&self.text),
            text(&self.search),
        ];
        let named = CHOICES.into_iter().skip(NO_FILTER).map(str::to_owned).zip(values);
        named.filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }

    /// The same as a query.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.given().into_iter().map(|(name, value)| (name, plain(value))).collect()
    }
}

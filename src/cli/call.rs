//! `omgate call`: one call by hand, of a configured destination, with values of one's own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::cli::print;
use crate::clock::SystemClock;
use crate::config::{self, Loaded};
use crate::deliver::{self, classify};
use crate::envelope::{self, Record};
use crate::expression::Subject;
use crate::map::{self, Identity, Mapping};
use crate::outcome::{Exchange, Outcome};
use crate::pretty;

/// How deep and how often a path may repeat.
const ITEMS_MAX: usize = 10_000;

/// Arguments of `call`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The destination, as the configuration names it.
    destination: String,
    /// A target path and its value: `Customer.Id=42`, `Lines[2].Article=A1`, `@priority=high`. Text, that is checked
    /// against the element's type; `path:=JSON` gives a number, a list or an object. A path that comes again repeats.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// A field of the record, `NAME=VALUE`: for a URL or header that is made of one.
    #[arg(long, value_name = "NAME=VALUE")]
    field: Vec<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// Make and check the request, print it, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `{"request":{…},"response":{…},"outcome","reason"}`.
    #[arg(long)]
    json: bool,
}

/// Makes one call. Exit code 0 when it was taken, else 1. Nothing of it is stored, and no lane waits for it.
///
/// # Errors
/// What kept it from being made.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print::note(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let mapping = mapping(&loaded, &args)?;
    let record = record(&args.field)?;
    let now = SystemClock::shared().now();
    let subject = Subject {
        record: Some(&record),
        notification_id: "by-hand",
        received_at: now,
        organization_id: "",
        action_id: "",
        enterprise_url: "",
        partner_url: "",
        source: "by-hand",
        after: None,
    };
    // Another key each time: two calls by hand are two calls.
    let identity = Identity { idempotency_key: format!("by-hand-{}", now.0) };
    let call = match map::call(&mapping, &subject, &identity) {
        Ok(call) => call,
        Err(error) => {
            print::note(&format!("no call can be made: {}", loaded.plan.mask.apply(&error.reason)));
            return Ok(ExitCode::FAILURE);
        }
    };
    let page = Page { loaded: &loaded, json: args.json };
    if args.dry_run {
        page.show(&call, None);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(destination) = loaded.plan.destinations.get(&args.destination) else {
        bail!("destination {:?} has no connection", args.destination);
    };
    let (method, address) = (&call.method, call.url.masked());
    print::note(&harmless(&format!(
        "sending to destination {}, in earnest: {method} {address} (--dry-run sends nothing)",
        args.destination
    )));
    let exchange = deliver::send(&destination.target, &call).await;
    let reply = map::reply(&mapping, &exchange);
    let outcome = classify::judge(&exchange, reply.as_ref(), &destination.rules).outcome;
    page.show(&call, Some((&exchange, &outcome)));
    Ok(if outcome == Outcome::Delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mapping(loaded: &Loaded, args: &Args) -> anyhow::Result<Mapping> {
    let Some(by_hand) = loaded.by_hand.get(&args.destination) else {
        let mut names: Vec<&str> = loaded.by_hand.keys().map(String::as_str).collect();
        names.sort_unstable();
        bail!("there is no destination {:?}; there is {}", args.destination, names.join(", "));
    };
    let values = values(&args.set)?;
    by_hand.mapping(values).with_context(|| format!("destination {:?} cannot be called", args.destination))
}

/// The values of `--set` as a tree.
fn values(set: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut tree = Value::Object(Map::new());
    for assignment in set {
        let Some((path, text)) = assignment.split_once('=') else {
            bail!("--set wants PATH=VALUE, not {assignment:?}");
        };
        let (path, value) = match path.strip_suffix(':') {
            Some(path) => {
                let value = serde_json::from_str(text).with_context(|| format!("the value of {path} is no JSON"))?;
                (path, value)
            }
            None => (path, Value::String(text.to_owned())),
        };
        put(&mut tree, &config::split_path(path), value).map_err(|reason| anyhow::anyhow!("--set {path}: {reason}"))?;
    }
    let Value::Object(values) = tree else { bail!("--set makes no object") };
    Ok(values)
}

/// Puts a value at a path. A step may have a position from 1, as in `Lines[2]`; a path that comes again makes a list.
fn put(tree: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let (name, position) = position(step)?;
    let Value::Object(entries) = tree else { return Err(format!("{name:?} stands below a value")) };
    if name.is_empty() {
        return Err("a name is missing".to_owned());
    }
    let slot = entries.entry(name).or_insert(Value::Null);
    let slot = match position {
        Some(position) => item(slot, position)?,
        None => slot,
    };
    if rest.is_empty() {
        match slot {
            Value::Null => *slot = value,
            Value::Array(items) if position.is_none() => items.push(value),
            first if position.is_none() && !first.is_object() => *first = Value::Array(vec![first.take(), value]),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err("is given twice, or has something below it".to_owned());
            }
        }
        return Ok(());
    }
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    put(slot, rest, value)
}

fn position(step: &str) -> Result<(String, Option<usize>), String> {
    let Some((name, rest)) = step.strip_suffix(']').and_then(|step| step.rsplit_once('[')) else {
        return Ok((step.to_owned(), None));
    };
    match rest.parse::<usize>() {
        Ok(position) if (1..=ITEMS_MAX).contains(&position) => Ok((name.to_owned(), Some(position - 1))),
        _ => Err(format!("[{rest}] is no position; the first is [1]")),
    }
}

fn item(slot: &mut Value, position: usize) -> Result<&mut Value, String> {
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    let Value::Array(items) = slot else { return Err("has a position here and none elsewhere".to_owned()) };
    if position > items.len() {
        return Err(format!("[{}] comes before [{}]", position + 1, items.len() + 1));
    }
    if position == items.len() {
        items.push(Value::Null);
    }
    items.get_mut(position).ok_or_else(|| "is out of bounds".to_owned())
}

fn record(fields: &[String]) -> anyhow::Result<Record> {
    let mut record = Record::default();
    for field in fields {
        let Some((name, value)) = field.split_once('=') else { bail!("--field wants NAME=VALUE, not {field:?}") };
        let (name, value) = (name.to_owned(), envelope::Value::Text(value.to_owned()));
        record.fields.push(envelope::Field { name, value });
    }
    Ok(record)
}

struct Page<'p> {
    loaded: &'p Loaded,
    json: bool,
}

impl Page<'_> {
    fn show(&self, call: &Call, answered: Option<(&Exchange, &Outcome)>) {
        if self.json {
            return print::json(&self.document(call, answered));
        }
        let mut text = self.request(call);
        match answered {
            None => text.push_str("\nnot sent: --dry-run; credentials are added when it is"),
            Some((exchange, outcome)) => {
                text.push('\n');
                text.push_str(&self.answer(exchange));
                let reason = self.mask(outcome.reason());
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let _ = write!(text, "\n{}{reason}", outcome.as_str());
            }
        }
        print::line(&harmless(&text));
    }

    fn mask(&self, text: &str) -> String {
        self.loaded.plan.mask.apply(text)
    }

    fn request(&self, call: &Call) -> String {
        let mut text = format!("{} {}\n", call.method, call.url.masked());
        for (name, value) in &call.headers {
            let _ = writeln!(text, "{name}: {}", value.masked());
        }
        if !call.body.is_empty() {
            let _ = writeln!(text, "\n{}", self.body(&content_type(call), &call.body));
        }
        text
    }

    fn body(&self, content_type: &str, body: &[u8]) -> String {
        self.mask(&pretty::body(content_type, &String::from_utf8_lossy(body)))
    }

    fn answer(&self, exchange: &Exchange) -> String {
        let response = match exchange {
            Exchange::NotSent { .. } | Exchange::NoCredentials { .. } => return "not sent\n".to_owned(),
            Exchange::NoAnswer { .. } => return "no answer\n".to_owned(),
            Exchange::Answered(response) => response,
        };
        let mut text = format!("HTTP {}\n", response.status);
        for (name, value) in &response.headers {
            let _ = writeln!(text, "{name}: {}", self.mask(value));
        }
        if !response.body.is_empty() {
            let content_type = response.header("content-type").unwrap_or_default();
            let _ = writeln!(text, "\n{}", self.body(content_type, &response.body));
        }
        if response.cut {
            text.push_str("(cut here: the answer is longer than response_limit)\n");
        }
        text
    }

    fn document(&self, call: &Call, answered: Option<(&Exchange, &Outcome)>) -> Value {
        let headers: Map<String, Value> =
            call.headers.iter().map(|(name, value)| (name.clone(), Value::String(value.masked()))).collect();
        let body = self.mask(&String::from_utf8_lossy(&call.body));
        let request = json!({ "method": call.method, "url": call.url.masked(), "headers": headers, "body": body });
        let Some((exchange, outcome)) = answered else { return json!({ "request": request, "response": null }) };
        let response = match exchange {
            Exchange::Answered(response) => {
                let headers: Map<String, Value> = response
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), Value::String(self.mask(value))))
                    .collect();
                let body = self.mask(&String::from_utf8_lossy(&response.body));
                json!({ "status": response.status, "headers": headers, "body": body, "cut": response.cut })
            }
            Exchange::NotSent { .. } | Exchange::NoCredentials { .. } | Exchange::NoAnswer { .. } => Value::Null,
        };
        let reason = self.mask(outcome.reason());
        json!({ "request": request, "response": response, "outcome": outcome.as_str(), "reason": reason })
    }
}

/// What came from elsewhere must not steer the terminal.
fn harmless(text: &str) -> String {
    print::cell(Some(&Value::String(text.to_owned())))
}

fn content_type(call: &Call) -> String {
    let found = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    found.map(|(_, value)| value.masked()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_make_a_tree_with_lists() {
        let made = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
            values(&set).map(Value::Object).map_err(|error| error.to_string())
        };
        for (set, expected) in [
            (&["A=1", "B.C=x=y", "B.@d="][..], json!({"A": "1", "B": {"C": "x=y", "@d": ""}})),
            (&["T=a", "T=b", "T=c"][..], json!({"T": ["a", "b", "c"]})),
            (&["L[1].A=1", "L[1].B=2", "L[2].A=3"][..], json!({"L": [{"A": "1", "B": "2"}, {"A": "3"}]})),
            (
                &["N:=1.50", "O:={\"a\":null}"][..],
                json!({"N": serde_json::from_str::<Value>("1.50").unwrap(), "O": {"a": null}}),
            ),
        ] {
            assert_eq!(made(set), Ok(expected), "{set:?}");
        }
        for (set, reason) in [
            (&["A"][..], "PATH=VALUE"),
            (&["A:=x"][..], "no JSON"),
            (&["A=1", "A.B=2"][..], "below a value"),
            (&["L[2]=1"][..], "comes before"),
            (&["L[0]=1"][..], "the first is [1]"),
            (&["=1"][..], "a name is missing"),
        ] {
            assert!(made(set).unwrap_err().contains(reason), "{set:?}: {:?}", made(set));
        }
    }
}

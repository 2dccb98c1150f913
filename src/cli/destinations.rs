//! `omgate destinations` and `omgate explain`: where messages go, how each stands, its limits and what made them so.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::client::{AdminArgs, ChangeArgs, Client, VerbArgs};
use crate::cli::pause::{PauseArgs, would_end};
use crate::cli::print;
use crate::clock::Timestamp;

/// Arguments of `destinations`.
pub type Args = VerbArgs<Verb>;

/// What `destinations` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the destinations, how they stand, and what waits for each.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one: how it stands, its limits, its latest troubles.
    Show {
        /// The destination's name.
        #[arg(value_parser = name)]
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try one from the gateway: name, connection, TLS, credentials, and a question that changes nothing.
    Test {
        /// The destination's name.
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "its own fields are the arguments")]
        change: ChangeArgs,
    },
    /// Stop calling the system of one; its deliveries wait.
    Pause(PauseOne),
    /// Call the system of one again.
    Resume(OneArgs),
}

/// One, and why.
#[derive(Debug, clap::Args)]
pub struct OneArgs {
    /// The destination's name.
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// One that is paused.
#[derive(Debug, clap::Args)]
pub struct PauseOne {
    /// The destination's name.
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    pause: PauseArgs,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The destination's name.
    #[arg(value_parser = name)]
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate destinations`. Exit code 1 when a destination that was tried is not well.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List { json } => {
            let found = client.get("/destinations", &[]).await?;
            if json { print::json(&found) } else { list(&found) }
        }
        Verb::Show { name, json } => {
            let found = one(&client, &name).await?;
            if json { print::json(&found) } else { show(&found) }
        }
        Verb::Test { name, change } => return test(&client, &name, &change).await,
        Verb::Pause(PauseOne { name, pause }) => {
            let until = pause.ends();
            steer(&client, &OneArgs { name, change: pause.change }, ("pause", until)).await?;
        }
        Verb::Resume(one) => steer(&client, &one, ("resume", None)).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `omgate explain`.
///
/// # Errors
/// When the gateway cannot be reached or has no such destination.
pub async fn explain(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let found = one(&args.admin.client()?, &args.name).await?;
    let settings = found.get("settings").cloned().unwrap_or_default();
    if args.json {
        print::json(&settings);
    } else {
        print::line(&stands(&found));
        limits(&settings);
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(client: &Client, name: &str) -> anyhow::Result<Value> {
    client.get(&format!("/destinations/{}", encoded(name)), &[]).await
}

/// A name or an id as a person types it; in a path an empty one would lead elsewhere.
///
/// # Errors
/// That it is empty.
pub(in crate::cli) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty; say which is meant".to_owned()) } else { Ok(text.to_owned()) }
}

/// A name as a segment of a path.
pub(in crate::cli) fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn stands(found: &Value) -> String {
    let name = print::cell(found.get("name"));
    match found.pointer("/standing/why/text") {
        Some(why) => format!("{name}: {}", print::cell(Some(why))),
        None => format!("{name} is open: it is called whenever something is due"),
    }
}

fn limits(settings: &Value) {
    let mut table = print::table(&["setting", "value", "because of"]);
    for setting in settings.as_array().into_iter().flatten() {
        let text = |key: &str| print::cell(setting.get(key));
        let is_shared = setting.get("of_system").and_then(Value::as_bool) == Some(true);
        let key = if is_shared { format!("{} (system)", text("key")) } else { text("key") };
        table.add_row([key, text("value"), text("origin")]);
    }
    print::rows(&table);
}

fn list(found: &Value) {
    let mut table = print::table(&[
        "destination",
        "system",
        "is",
        "waiting",
        "blocked",
        "held",
        "dead",
        "delivered",
        "oldest waiting",
    ]);
    for one in found.as_array().into_iter().flatten() {
        let text = |pointer: &str| print::cell(one.pointer(pointer));
        let is = one
            .pointer("/standing/why")
            .map_or_else(|| "open".to_owned(), |why| print::word(why.get("code").unwrap_or(why)));
        let is = if is.is_empty() { "open".to_owned() } else { is };
        table.add_row([
            text("/name"),
            text("/system"),
            is,
            text("/counts/waiting"),
            text("/counts/blocked"),
            text("/counts/held"),
            text("/counts/dead"),
            text("/counts/delivered"),
            text("/oldest_unsettled"),
        ]);
    }
    print::rows(&table);
}

/// What a resume lets go, or what a pause holds up.
pub(in crate::cli) fn say_queue(verb: &str, state: &Value) {
    let count = |key: &str| state.get(key).and_then(Value::as_u64);
    let (Some(waiting), Some(blocked)) = (count("waiting"), count("blocked")) else { return };
    let what = if verb == "pause" { "what it holds up" } else { "what goes on by it" };
    let queue = if waiting + blocked == 0 {
        "nothing that waits now".to_owned()
    } else {
        format!("{waiting} waiting, {blocked} blocked behind")
    };
    print::line(&format!("{what}: {queue}"));
}

fn show(found: &Value) {
    print::line(&stands(found));
    print::line(&format!("calls {}", print::cell(found.get("call"))));
    for alarm in found.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("alarm {}: {}", print::cell(alarm.get("alarm")), print::cell(alarm.get("message"))));
    }
    let counts = found.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counts: Vec<String> = counts.map(|(state, count)| format!("{} {count}", state.replace('_', " "))).collect();
    print::line(&counts.join(", "));
    limits(found.get("settings").unwrap_or(&Value::Null));
    let mut troubles = found.get("troubles").cloned().unwrap_or_default();
    if troubles.as_array().is_some_and(|list| !list.is_empty()) {
        print::say_states(&mut troubles);
        print::line("latest troubles:");
        let columns =
            [("delivery", "/delivery_id"), ("state", "/state"), ("changed", "/changed_at"), ("reason", "/reason")];
        print::list(&troubles, &columns);
    }
}

async fn test(client: &Client, name: &str, change: &ChangeArgs) -> anyhow::Result<ExitCode> {
    let found = client.change(&format!("/destinations/{}/test", encoded(name)), change).await?;
    if change.json {
        print::json(&found);
    } else {
        let columns = [("is", "/level"), ("looked at", "/check"), ("found", "/found"), ("to do", "/advice")];
        print::list_whole(found.get("findings").unwrap_or(&Value::Null), &columns);
    }
    let is_well = found.get("ok").and_then(Value::as_bool) == Some(true);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A pause belongs to the system: all that is asked of the gateway is which one that is.
async fn steer(client: &Client, args: &OneArgs, (verb, until): (&str, Option<Timestamp>)) -> anyhow::Result<()> {
    let found = one(client, &args.name).await?;
    let system = print::cell(found.get("system"));
    let state = client.change_until(&format!("/systems/{}/{verb}", encoded(&system)), &args.change, until).await?;
    if args.change.json {
        print::json(&state);
    } else if args.change.dry_run {
        let end = would_end(until);
        print::line(&format!("{verb} would be done with system {system}, to which {} belongs{end}", args.name));
        say_queue(verb, &state);
    } else {
        say_queue(verb, &state);
        print::line(&stands(&one(client, &args.name).await?));
    }
    Ok(())
}

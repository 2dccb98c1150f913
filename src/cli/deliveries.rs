//! `omgate deliveries`, `omgate dead`: look at deliveries, and change one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, ChangeArgs, Client, RateArgs, UnmaskArgs};
use crate::cli::{jobs, number, print};
use crate::delivery::State;

mod filter;
mod replay;

use self::filter::FilterArgs;

/// Arguments of `deliveries` and `dead`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List deliveries, newest first.
    List(ListArgs),
    /// Show one with its attempts.
    Show {
        /// The delivery's id.
        #[arg(value_parser = number::id)]
        id: i64,
        #[command(flatten)]
        unmask: UnmaskArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters again.
    Replay(ReplayArgs),
    /// Stop what waits.
    Hold(SomeArgs),
    /// Let held ones go on.
    Release(SomeArgs),
    /// Give some up; needs a reason.
    Discard(SomeArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those of whose answer this was kept: `order=4711`, or `order` for any.
    #[arg(long, value_name = "NAME=VALUE")]
    kept: Option<String>,
    /// Below this delivery id: the next page.
    #[arg(long, value_parser = number::id)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which deliveries: by their ids, or all that the options leave.
#[derive(Debug, clap::Args)]
#[group(id = "choice", multiple = true, args = filter::CHOICES)]
struct ChoiceArgs {
    /// The deliveries' ids.
    #[arg(value_parser = number::id)]
    ids: Vec<i64>,
    /// All of this issue (`omgate issues list`).
    #[arg(long)]
    issue: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, clap::Args)]
struct SomeArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    #[command(flatten)]
    some: SomeArgs,
    /// Even when a later state of the record was delivered on the same route.
    #[arg(long)]
    even_if_newer: bool,
    /// Even when no call can be made as the configuration stands, so that it dies again at once.
    #[arg(long)]
    even_if_failing: bool,
    /// Make the call of the last attempt again, with the configuration of then; not mapped anew.
    #[arg(long, conflicts_with_all = ["to", "edit"])]
    as_it_was: bool,
    /// Along another route of the source: its name, or that of the destination it leads to.
    #[arg(long, value_name = "DEST")]
    to: Option<String>,
    /// With other content: a JSON object of fields to change (null is nil), or a whole sObject as XML; `-` reads standard
    /// input.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
}

/// Runs `omgate deliveries`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    run_on(args, "/deliveries").await
}

/// Runs `omgate dead`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run_dead(args: Args) -> anyhow::Result<ExitCode> {
    run_on(args, "/dead").await
}

async fn run_on(args: Args, list_path: &str) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List(filter) => list(&client, list_path, filter).await?,
        Verb::Show { id, unmask, json } => show(&client, id, &unmask, json).await?,
        Verb::Replay(replay) => {
            replay.some.choice.says_which("replay", list_path)?;
            let mut more = replay.more()?;
            let mut some = replay.some;
            if list_path == "/dead" {
                // Said twice, it must not send twice what went out meanwhile.
                match some.choice.is_by_ids() && some.choice.ids.len() == 1 {
                    true => more.push(("state", json!("dead"))),
                    false => some.choice.filter.state = some.choice.filter.state.or(Some(State::Dead)),
                }
            }
            return change(&client, some, "replay", more).await;
        }
        Verb::Hold(some) => {
            some.choice.says_which("hold", list_path)?;
            return change(&client, some, "hold", Vec::new()).await;
        }
        Verb::Release(some) => {
            some.choice.says_which("release", list_path)?;
            return change(&client, some, "release", Vec::new()).await;
        }
        Verb::Discard(mut some) => {
            some.choice.says_which("discard", list_path)?;
            if list_path == "/dead" && !some.choice.is_by_ids() {
                some.choice.filter.state = some.choice.filter.state.or(Some(State::Dead));
            }
            return change(&client, some, "discard", Vec::new()).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, path: &str, filter: ListArgs) -> anyhow::Result<()> {
    let mut query = filter.filter.query();
    let more = [
        ("limit", Some(filter.limit.to_string())),
        ("kept", filter.kept),
        ("before", filter.before.map(|id| id.to_string())),
    ];
    query.extend(more.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))));
    let query: Vec<(&str, String)> = query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut found = client.list(path, &query, filter.limit).await?;
    if filter.json {
        print::json(&found);
    } else if path == "/dead" {
        let mut columns = vec![
            ("delivery", "/delivery_id"),
            ("notification", "/notification_id"),
            ("record", "/record_id"),
            ("destination", "/destination"),
            ("attempts", "/attempts"),
            ("died at", "/died_at"),
            ("reason", "/reason"),
        ];
        if found.as_array().into_iter().flatten().any(|dead| dead.get("stands_for").is_some()) {
            columns.insert(1, ("stands for", "/stands_for"));
            found.as_array_mut().into_iter().flatten().for_each(name_those);
        }
        print::list(&found, &columns);
    } else {
        found.as_array_mut().into_iter().flatten().for_each(say_why);
        print::say_states(&mut found);
        print::list(
            &found,
            &[
                ("delivery", "/delivery_id"),
                ("notification", "/notification_id"),
                ("record", "/record_id"),
                ("destination", "/destination"),
                ("state", "/state"),
                ("attempts", "/attempts"),
                ("changed", "/changed_at"),
                ("due at", "/due_at"),
                ("reason", "/reason"),
            ],
        );
    }
    Ok(())
}

/// The deliveries in whose place one stands, as people write a list.
fn name_those(delivery: &mut Value) {
    if let Some(those) = delivery.get_mut("stands_for") {
        *those = Value::String(joined(those));
    }
}

fn joined(ids: &Value) -> String {
    ids.as_array().into_iter().flatten().map(|id| print::cell(Some(id))).collect::<Vec<_>>().join(", ")
}

/// Of what waits, why it does says more than what its last attempt came to.
fn say_why(delivery: &mut Value) {
    if let Some(why) = delivery.pointer("/why/text").cloned()
        && let Some(reason) = delivery.get_mut("reason")
    {
        *reason = why;
    }
}

async fn show(client: &Client, id: i64, unmask: &UnmaskArgs, json: bool) -> anyhow::Result<()> {
    let found = client.get(&format!("/deliveries/{id}"), &unmask.query()).await?;
    if json {
        print::json(&found);
        return Ok(());
    }
    let empty = serde_json::Map::new();
    for (name, value) in found.get("delivery").and_then(Value::as_object).unwrap_or(&empty) {
        let name = name.replace('_', " ");
        match value.as_object().filter(|value| !value.contains_key("text")) {
            Some(entries) => {
                for (entry, value) in entries {
                    print::line(&format!("{:<17} {entry} = {}", name, print::cell(Some(value))));
                }
            }
            None => {
                let value = value.get("text").unwrap_or(value);
                let text = if name == "state" { print::word(value) } else { print::cell(Some(value)) };
                print::line(&format!("{name:<17} {text}"));
            }
        }
    }
    let stands_for = found.get("stands_for").map(joined).unwrap_or_default();
    if !stands_for.is_empty() {
        print::line(&format!("{:<17} {stands_for}", "stands for"));
    }
    let attempts = found.get("attempts").cloned().unwrap_or_default();
    print::list_whole(
        &attempts,
        &[
            ("attempt", "/number"),
            ("started at", "/started_at"),
            ("ms", "/duration_ms"),
            ("outcome", "/outcome"),
            ("status", "/status"),
            ("reason", "/reason"),
        ],
    );
    attempts.as_array().into_iter().flatten().for_each(exchange);
    Ok(())
}

/// What was sent in an attempt, and what came back.
fn exchange(attempt: &Value) {
    let text = |key: &str| print::cell(attempt.get(key));
    let cut = |key: &str| if attempt.get(key) == Some(&Value::Bool(true)) { " (cut)" } else { "" };
    print::line(&format!("\nattempt {}: {}{}", text("number"), text("request_line"), cut("request_cut")));
    print::line(&text("request"));
    let status = text("status");
    if !status.is_empty() {
        print::line(&format!("\nHTTP {status}{}", cut("response_cut")));
        print::line(&text("response"));
    }
}

impl ReplayArgs {
    /// What of the body is said by options of its own.
    fn more(&self) -> anyhow::Result<Vec<(&'static str, Value)>> {
        let mut more = Vec::new();
        if self.even_if_newer {
            more.push(("even_if_newer", Value::Bool(true)));
        }
        if self.even_if_failing {
            more.push(("even_if_failing", Value::Bool(true)));
        }
        if self.as_it_was {
            more.push(("mapping", json!("as_it_was")));
        }
        if let Some(to) = &self.to {
            more.push(("to", json!(to)));
        }
        if let Some(file) = &self.edit {
            if self.some.choice.ids.len() != 1 || !self.some.choice.is_by_ids() {
                bail!("--edit changes the content of one delivery: name its id alone");
            }
            more.push(("edit", replay::edit(file)?));
        }
        Ok(more)
    }
}

async fn change(
    client: &Client,
    some: SomeArgs,
    verb: &str,
    more: Vec<(&'static str, Value)>,
) -> anyhow::Result<ExitCode> {
    let SomeArgs { choice, rate: RateArgs { rate }, change } = some;
    let mut body = json!({"reason": change.reason, "dry_run": change.dry_run});
    for (key, value) in more {
        set(&mut body, key, value);
    }
    if let ([id], true) = (choice.ids.as_slice(), choice.is_by_ids()) {
        let changed = client.post(&format!("/deliveries/{id}/{verb}"), &body).await?;
        if verb == "replay" && !change.json {
            return Ok(replay::told(*id, &changed, change.dry_run));
        }
        return Ok(one_changed(*id, verb, &changed, &change));
    }
    set(&mut body, "rate", json!(rate));
    set(&mut body, "choose", choice.body());
    let answer = client.post(&format!("/deliveries/{verb}"), &body).await?;
    if change.dry_run {
        return Ok(forecast(verb, &answer, change.json));
    }
    if answer.get("id").is_none() {
        // Nothing fits, so there is nothing to follow.
        if change.json {
            print::json(&answer)
        } else {
            say_nothing(&answer)
        }
        return Ok(ExitCode::FAILURE);
    }
    if let Some(warning) = answer.get("warning").and_then(Value::as_str) {
        print::note(&format!("warning: {warning}"));
    }
    let job = jobs::follow(client, answer).await?;
    Ok(ended(verb, &job, change.json))
}

fn set(body: &mut Value, key: &str, value: Value) {
    if let Some(body) = body.as_object_mut() {
        body.insert(key.to_owned(), value);
    }
}

impl ChoiceArgs {
    /// Nobody means all of them by saying nothing.
    fn says_which(&self, verb: &str, list_path: &str) -> anyhow::Result<()> {
        if !self.is_by_ids() || !self.ids.is_empty() {
            return Ok(());
        }
        let command = list_path.trim_start_matches('/');
        bail!(
            "say which: ids of deliveries (`omgate {command} list` shows them), --issue ID of `omgate issues list`, or a filter \
             such as --destination NAME; `omgate {command} {verb} --help` has them all"
        );
    }

    fn is_by_ids(&self) -> bool {
        self.issue.is_none() && self.filter.given().is_empty()
    }

    fn body(&self) -> Value {
        let mut body = self.filter.given();
        if !self.ids.is_empty() {
            body.insert("ids".to_owned(), json!(self.ids));
        }
        if let Some(issue) = &self.issue {
            body.insert("issue".to_owned(), json!(issue));
        }
        Value::Object(body)
    }
}

fn one_changed(id: i64, verb: &str, changed: &Value, change: &ChangeArgs) -> ExitCode {
    let state = || changed.get("state").map(print::word).unwrap_or_default();
    if change.json {
        print::json(changed);
    } else if change.dry_run {
        print::line(&format!("delivery {id} is {}; {verb} would be done", state()));
        say_waits(changed);
    } else {
        print::line(&format!("delivery {id} is now {}", state()));
        say_waits(changed);
    }
    ExitCode::SUCCESS
}

/// Systems that are not called now: what is let go to them waits.
fn say_waits(answer: &Value) {
    for wait in answer.get("waits").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("{}: {}", print::cell(wait.get("text")), print::cell(wait.get("advice"))));
    }
}

/// That nothing fits, and what there is in its place.
fn say_nothing(answer: &Value) {
    print::line("no delivery fits the choice");
    if let Some(hint) = answer.get("hint").and_then(Value::as_str) {
        print::line(hint);
    }
}

fn forecast(verb: &str, forecast: &Value, json: bool) -> ExitCode {
    if json {
        print::json(forecast);
        return ExitCode::SUCCESS;
    }
    if forecast.get("count").and_then(Value::as_u64) == Some(0) {
        say_nothing(forecast);
        return ExitCode::FAILURE;
    }
    print::line(&format!("{verb} would be done for {} deliveries, such as:", print::cell(forecast.get("count"))));
    let mut sample = forecast.get("sample").cloned().unwrap_or_default();
    print::say_states(&mut sample);
    print::list(
        &sample,
        &[
            ("delivery", "/delivery_id"),
            ("record", "/record_id"),
            ("destination", "/destination"),
            ("state", "/state"),
            ("reason", "/reason"),
        ],
    );
    if let Some(missing) = forecast.get("missing").and_then(Value::as_u64) {
        print::line(&format!("{missing} of those that are named are not in the store"));
    }
    let outdated = forecast.get("outdated").and_then(Value::as_array).map_or(0, Vec::len);
    if outdated > 0 {
        let those = print::cell(forecast.get("outdated"));
        print::line(&format!(
            "{outdated} of these are outdated, as a later state of their record was delivered, and would be refused without \
             --even-if-newer: {those}"
        ));
    }
    let failing = forecast.get("failing").and_then(Value::as_array).cloned().unwrap_or_default();
    for one in &failing {
        let (id, reason) = (print::cell(one.get("delivery_id")), print::cell(one.get("reason")));
        print::line(&format!("of delivery {id} no call can be made: {reason}"));
    }
    if !failing.is_empty() {
        let tried = print::cell(forecast.get("tried"));
        let all = forecast.get("tried").and_then(Value::as_u64) == u64::try_from(failing.len()).ok();
        let rule = if all { "; where all would die again, it is refused without --even-if-failing" } else { "" };
        print::line(&format!("{} of {tried} tried would fail again as the configuration stands{rule}", failing.len()));
    }
    say_waits(forecast);
    ExitCode::SUCCESS
}

/// How a job ended; exit code 1 when any was refused, or when it did not come to its end.
fn ended(verb: &str, job: &Value, json: bool) -> ExitCode {
    let text = |key: &str| print::cell(job.get(key));
    if json {
        print::json(job);
    } else {
        print::line(&format!("{verb} {}: {} changed, {} refused", text("state"), text("changed"), text("refused")));
        for refusal in job.get("refusals").and_then(Value::as_array).into_iter().flatten() {
            print::line(&format!("  {}", print::cell(refusal.get("reason"))));
        }
        if let Some(error) = job.get("error").and_then(Value::as_str) {
            print::line(error);
        }
        say_waits(job);
    }
    let whole = text("state") == "done" && job.get("refused").and_then(Value::as_u64) == Some(0);
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

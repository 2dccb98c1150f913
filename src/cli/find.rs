//! `omgate find`: what there is of an id or a value that a person has in hand.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `find`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// An id of Salesforce (15 or 18 characters), a delivery's number, or a value of a field that a source names in `search`;
    /// with `*` at its end all that begin so. `Name=ACME-4711` looks in one field alone.
    text: String,
    /// At most so many of each kind (50 at the most).
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate find`. It exits with 1 when there is nothing.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let asked = [("q", args.text.clone()), ("limit", args.limit.to_string())];
    let mut answer = args.admin.client()?.get("/find", &asked).await?;
    let is_found = answer.get("found").and_then(Value::as_array).is_some_and(|found| !found.is_empty());
    if args.json {
        print::json(&answer);
    } else if is_found {
        answer.get_mut("found").and_then(Value::as_array_mut).into_iter().flatten().for_each(show);
    } else {
        print::line(&nothing(&answer, &args.text));
    }
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was found in one way: its deliveries with why they wait, then the notifications.
fn show(found: &mut Value) {
    print::line(&format!("As {}:", print::cell(found.get("by"))));
    if let Some(deliveries) = found.get_mut("deliveries").filter(|list| !is_empty(list)) {
        deliveries.as_array_mut().into_iter().flatten().for_each(print::say_why);
        print::say_states(deliveries);
        print::list(
            deliveries,
            &[
                ("delivery", "/delivery_id"),
                ("state", "/state"),
                ("record", "/record_id"),
                ("route", "/route"),
                ("destination", "/destination"),
                ("attempts", "/attempts"),
                ("changed", "/changed_at"),
                ("why, or what it came to", "/reason"),
            ],
        );
    }
    if let Some(notifications) = found.get("notifications").filter(|list| !is_empty(list)) {
        print::list(
            notifications,
            &[
                ("notification", "/notification_id"),
                ("received", "/received_at"),
                ("source", "/source"),
                ("record", "/record_id"),
                ("kind", "/kind"),
            ],
        );
        for one in notifications.as_array().into_iter().flatten() {
            if let Some(aside) = one.get("aside").filter(|aside| !aside.is_null()) {
                let id = print::cell(one.get("notification_id"));
                print::line(&format!("{id}: {}", print::aside_in_words(aside)));
            }
        }
    }
    if found.get("is_more") == Some(&json!(true)) {
        let option = print::cell(found.pointer("/filter/name")).replace('_', "-");
        let value = print::cell(found.pointer("/filter/value"));
        print::line(&format!("There are more: omgate deliveries list --{option} \"{value}\""));
    }
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// That there is nothing, where it was looked, and where else one may look.
fn nothing(answer: &Value, text: &str) -> String {
    let list = answer.get("looked_in").and_then(Value::as_array);
    let looked: Vec<String> = list.into_iter().flatten().map(|way| print::cell(Some(way))).collect();
    let looked = if looked.is_empty() { String::new() } else { format!(" (looked for as {})", looked.join(", ")) };
    let hint = answer.get("hint").filter(|hint| !hint.is_null());
    let hint = hint.map(|hint| format!("Note: {}.\n", print::cell(Some(hint)))).unwrap_or_default();
    let gone = answer.get("gone").filter(|gone| !gone.is_null());
    let gone = gone.map(|gone| format!(", or it came {}", print::cell(Some(gone)))).unwrap_or_default();
    format!(
        "There is nothing of {text:?}{looked}.\n{hint}What came and could not be read is not looked through: `omgate \
         notifications list --kind unreadable`, and what was refused: `omgate sources refused`. A field is \
         looked through only in what came since its source names it in `search`. If it is in none of these, it never came{gone}. \
         `omgate sources list` says when each source was heard last."
    )
}

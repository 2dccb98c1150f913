//! `omgate why`: why a delivery is where it is, or why a notification has none, in words.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::client::{AdminArgs, Client};
use crate::cli::destinations::{encoded, name};
use crate::cli::print;

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// The delivery's number, or the notification's id.
    #[arg(value_parser = name)]
    id: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate why`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.id.trim().parse::<i64>() {
        Ok(id) => of_delivery(&client, id, args.json).await?,
        Err(_) => of_notification(&client, args.id.trim(), args.json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_delivery(client: &Client, id: i64, json: bool) -> anyhow::Result<()> {
    let found = client.get(&format!("/deliveries/{id}"), &[]).await?;
    if json {
        print::json(found.pointer("/delivery/why").unwrap_or(&Value::Null));
    } else {
        print::line(&sentence(&found));
    }
    Ok(())
}

/// Of a notification each of its deliveries, and why something of it has none.
async fn of_notification(client: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    let found = client.get(&format!("/notifications/{}", encoded(id)), &[]).await?;
    let newest = found.get("revisions").and_then(Value::as_array).and_then(|list| list.last()).cloned();
    let newest = newest.unwrap_or_default();
    let mut deliveries = Vec::new();
    for one in found.get("deliveries").and_then(Value::as_array).into_iter().flatten() {
        let number = one.get("delivery_id").and_then(Value::as_i64).unwrap_or_default();
        deliveries.push(client.get(&format!("/deliveries/{number}"), &[]).await?);
    }
    let aside = found.get("aside").cloned().unwrap_or_default();
    if json {
        let each = |told: &Value| {
            let of = |key: &str| told.pointer(&format!("/delivery/{key}")).cloned().unwrap_or_default();
            json!({"delivery_id": of("delivery_id"), "state": of("state"), "why": of("why")})
        };
        let deliveries: Vec<Value> = deliveries.iter().map(each).collect();
        print::json(&json!({"kind": newest.get("kind"), "aside": aside, "deliveries": deliveries}));
        return Ok(());
    }
    print::line(&format!("notification {id} is {}", newest.get("kind").map(print::word).unwrap_or_default()));
    print::say_aside(Some(&aside));
    deliveries.iter().for_each(|told| print::line(&sentence(told)));
    Ok(())
}

/// Its state; then why it waits, or what ended it.
fn sentence(found: &Value) -> String {
    let text = |pointer: &str| print::cell(found.pointer(pointer));
    let (id, state) = (text("/delivery/delivery_id"), text("/delivery/state").replace('_', " "));
    let because = match text("/delivery/why/text") {
        why if why.is_empty() => text("/delivery/reason"),
        why => why,
    };
    if because.is_empty() {
        format!("delivery {id} is {state}")
    } else {
        format!("delivery {id} is {state}: {because}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_says_why_it_waits_or_what_ended_it() {
        for (why, reason, state, expected) in [
            (
                json!({"code": "due", "text": "it is due"}),
                json!("HTTP 503"),
                "waiting",
                "delivery 7 is waiting: it is due",
            ),
            (json!(null), json!("refused: answered 409"), "dead", "delivery 7 is dead: refused: answered 409"),
            (json!(null), json!(null), "in_flight", "delivery 7 is in flight"),
        ] {
            let found = json!({"delivery": {"delivery_id": 7, "state": state, "why": why, "reason": reason}});
            assert_eq!(sentence(&found), expected);
        }
    }
}

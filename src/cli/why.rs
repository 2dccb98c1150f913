//! `omgate why`: why a delivery is where it is, in words.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// The delivery's id.
    id: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate why`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let found = args.admin.client()?.get(&format!("/deliveries/{}", args.id), &[]).await?;
    if args.json {
        print::json(found.pointer("/delivery/why").unwrap_or(&Value::Null));
    } else {
        print::line(&sentence(&found));
    }
    Ok(ExitCode::SUCCESS)
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
    use serde_json::json;

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

//! `omgate ledger --day`: one day's accounts, and whether anything of it was lost. The gateway judges; here it is printed.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::{print, sources};

/// Prints the day; exit code 1 when something of it may be lost.
pub(super) async fn run(client: &Client, day: String, as_json: bool) -> anyhow::Result<ExitCode> {
    let told = client.get("/ledger/day", &[("day", day)]).await?;
    if as_json {
        print::json(&told);
    } else {
        show(&told);
    }
    let is_well = told.get("ok").and_then(Value::as_bool) == Some(true);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The columns of what came in.
const CAME: [(&str, &str); 12] = [
    ("source", "/source"),
    ("received", "/received"),
    ("unique", "/unique"),
    ("duplicate", "/duplicate"),
    ("revised", "/revised"),
    ("routed", "/routed"),
    ("unrouted", "/unrouted"),
    ("skipped empty", "/skipped_empty"),
    ("unreadable", "/unreadable"),
    ("quarantined", "/quarantined"),
    ("longest silence", "/longest"),
    ("last envelope", "/last_envelope"),
];

/// The columns of what became of it.
const WENT: [(&str, &str); 12] = [
    ("destination", "/destination"),
    ("routed", "/routed"),
    ("delivered", "/delivered"),
    ("waiting", "/waiting"),
    ("blocked", "/blocked"),
    ("in flight", "/in_flight"),
    ("held", "/held"),
    ("dead", "/dead"),
    ("superseded", "/superseded"),
    ("discarded", "/discarded"),
    ("calls", "/attempts"),
    ("unknown", "/attempts_unknown"),
];

fn show(told: &Value) {
    let text = |key: &str| print::cell(told.get(key));
    print::line(&format!("the ledger of {} (UTC)", text("day")));
    let mut sources = told.get("sources").cloned().unwrap_or_default();
    sources.as_array_mut().into_iter().flatten().for_each(say_silence);
    print::list(&sources, &CAME);
    print::list(told.get("destinations").unwrap_or(&Value::Null), &WENT);
    let each = |key: &str| told.get(key).and_then(Value::as_array).into_iter().flatten();
    for equation in each("equations") {
        let holds = equation.get("holds").and_then(Value::as_bool) == Some(true);
        let mark = if holds { "  " } else { "! " };
        print::line(&format!("{mark}{}: {}", print::cell(equation.get("of")), print::cell(equation.get("text"))));
    }
    for absence in each("absences") {
        let who = absence.get("acknowledged_by").and_then(Value::as_str);
        let noted = who.map(|who| format!(" (acknowledged by {who})")).unwrap_or_default();
        let (id, text) = (print::cell(absence.get("id")), print::cell(absence.get("text")));
        print::line(&format!("absence {id}{noted}: {text}"));
    }
    for refused in each("refused") {
        print::line(&print::cell(refused.get("text")));
    }
    if told.get("noted").is_some_and(|noted| !noted.is_null()) {
        let of = |key: &str| print::cell(told.pointer(&format!("/noted/{key}")));
        print::line(&format!("{} took note of what was refused at {}: {}", of("who"), of("at"), of("reason")));
    }
    for open in each("open") {
        print::line(&format!("open: {}", print::cell(open.get("text"))));
        print::line(&format!("      {}", print::cell(open.get("command"))));
    }
    for unknown in each("unknown") {
        print::line(&format!("note: {}", print::cell(Some(unknown))));
    }
    print::line(&text("text"));
}

/// How long a source was silent, and from when.
fn say_silence(source: &mut Value) {
    let length = source.get("silence_s").and_then(Value::as_u64).map(sources::span);
    let since = print::cell(source.pointer("/silence/since"));
    if let (Some(length), Some(source)) = (length, source.as_object_mut()) {
        source.insert("longest".to_owned(), format!("{length} from {since}").into());
    }
}

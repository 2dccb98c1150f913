//! What `replay` sends and says: edited content, and the call that would go out.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::cli::print;
use crate::disk;
use crate::pretty;

/// How large edited content may be.
const EDIT_BYTES_MAX: u64 = 16 << 20;

/// Reads edited content: fields as a JSON object, or a whole sObject as XML.
///
/// # Errors
/// When it cannot be read, or is neither.
pub(super) fn edit(file: &Path) -> anyhow::Result<Value> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(EDIT_BYTES_MAX).read_to_end(&mut bytes).context("reading standard input")?;
        bytes
    } else {
        disk::read(file, EDIT_BYTES_MAX).with_context(|| format!("reading {}", file.display()))?
    };
    let text = String::from_utf8(bytes).with_context(|| format!("reading {}: it is not UTF-8 text", file.display()))?;
    if text.trim_start_matches('\u{FEFF}').trim_start().starts_with('<') {
        return Ok(json!({ "xml": text }));
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(json!({ "fields": fields })),
        Ok(_) => bail!("{} must hold a JSON object of fields, or an sObject as XML", file.display()),
        Err(error) => bail!("{} is neither JSON nor XML: {error}", file.display()),
    }
}

/// Says what was done, or what would be.
pub(super) fn told(id: i64, answer: &Value, dry_run: bool) -> ExitCode {
    let text = |pointer: &str| print::cell(answer.pointer(pointer));
    if !dry_run {
        let state = text("/state").replace('_', " ");
        match text("/delivery_id") {
            sent if sent == id.to_string() => print::line(&format!("delivery {id} is now {state}")),
            sent => print::line(&format!("delivery {sent}, a new one that repeats {id}, is now {state}")),
        }
        super::say_waits(answer);
        return ExitCode::SUCCESS;
    }
    let how = match answer.pointer("/replay/linked") {
        Some(Value::Bool(true)) => "a new delivery that repeats it, with an idempotency key of its own, would go out",
        _ => "it would go out again",
    };
    let (route, destination) = (text("/replay/route"), text("/replay/destination"));
    print::line(&format!("delivery {id} is {}; {how} along route {route} to {destination}", text("/state")));
    if answer.pointer("/replay/call").is_none_or(Value::is_null) {
        print::line(&format!("no call can be made: {}", text("/replay/error")));
        return ExitCode::FAILURE;
    }
    super::say_waits(answer);
    let call = call(answer);
    print::line(&format!("\n{}\n{}", head(answer), call));
    if answer.pointer("/replay/same_as_last") == Some(&Value::Bool(true)) {
        let but = if answer.pointer("/replay/linked") == Some(&Value::Bool(true)) {
            "but for its key"
        } else {
            "to the letter"
        };
        print::line(&format!("\nit is the call of the last attempt, {but}"));
    } else if answer.pointer("/replay/last_attempt").is_some_and(Value::is_object) {
        print::line(&format!("\nagainst attempt {}:\n{}", text("/replay/last_attempt/number"), diff(answer, &call)));
    }
    ExitCode::SUCCESS
}

/// Request line and headers.
fn head(answer: &Value) -> String {
    let text = |value: &Value, key: &str| print::cell(value.get(key));
    let headers = answer.pointer("/replay/call/headers").and_then(Value::as_array).into_iter().flatten();
    let headers = headers.map(|header| format!("\n{}: {}", text(header, "name"), text(header, "value")));
    format!("{}{}", print::cell(answer.pointer("/replay/call/request_line")), headers.collect::<String>())
}

/// The body, indented.
fn call(answer: &Value) -> String {
    pretty::body(kind(answer), &print::cell(answer.pointer("/replay/call/request")))
}

fn kind(answer: &Value) -> &str {
    let body = answer.pointer("/replay/call/request").and_then(Value::as_str).unwrap_or_default();
    if body.trim_start().starts_with('<') { "xml" } else { "json" }
}

/// How the call differs from that of the last attempt: request line and body, of which alone is known what went out.
fn diff(answer: &Value, call: &str) -> String {
    let then = |key: &str| print::cell(answer.pointer(&format!("/replay/last_attempt/{key}")));
    let before = format!("{}\n{}\n", then("request_line"), pretty::body(kind(answer), &then("request")));
    let now = format!("{}\n{call}\n", print::cell(answer.pointer("/replay/call/request_line")));
    let diff = TextDiff::from_lines(&before, &now).unified_diff().context_radius(3).to_string();
    if diff.is_empty() { alike(answer).to_owned() } else { diff.trim_end().to_owned() }
}

/// What is known of a call whose request line and body look like those of the last attempt, and which is not known to be it.
fn alike(answer: &Value) -> &'static str {
    if answer.pointer("/replay/last_attempt/call_sha256").is_some_and(Value::is_string) {
        "it looks the same and is another call: a header differs, or a secret, or what was cut off"
    } else {
        "it looks the same; whether headers, secrets and what was cut off are the same is not known"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_fields_or_a_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edit");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            edit(&file).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(read("{\"Name\": \"x\", \"Note\": null}").unwrap(), json!({"fields": {"Name": "x", "Note": null}}));
        assert_eq!(read("\n <sObject/>").unwrap(), json!({"xml": "\n <sObject/>"}));
        assert!(read("[1]").unwrap_err().contains("must hold a JSON object of fields"));
        assert!(read("Name=x").unwrap_err().contains("is neither JSON nor XML"));
    }

    #[test]
    fn the_diff_is_of_request_line_and_body() {
        let answer = json!({"replay": {
            "call": {"request_line": "PUT http://h/2", "request": "{\"a\":1,\"b\":2}"},
            "last_attempt": {"number": 3, "request_line": "PUT http://h/1", "request": "{\"a\":1,\"b\":3}"},
        }});
        let diff = diff(&answer, &call(&answer));
        assert!(diff.contains("-PUT http://h/1\n+PUT http://h/2"), "{diff}");
        assert!(diff.contains("-  \"b\": 3\n+  \"b\": 2"), "{diff}");
    }

    #[test]
    fn a_call_that_looks_the_same_is_not_said_to_be() {
        for (hash, expected) in [(json!("ab"), "is another call"), (Value::Null, "is not known")] {
            let answer = json!({"replay": {
                "call": {"request_line": "PUT http://h/", "request": "{\"key\":\"${file:key}\"}"},
                "last_attempt": {
                    "number": 1, "request_line": "PUT http://h/", "request": "{\"key\":\"${file:key}\"}",
                    "call_sha256": hash,
                },
                "same_as_last": false,
            }});
            let diff = diff(&answer, &call(&answer));
            assert!(diff.contains(expected), "{diff}");
        }
    }
}

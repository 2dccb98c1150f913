//! What `what-if` found, as people read it in a terminal.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::print;

/// The report in words: of the file of this name.
pub(super) fn text(report: &Value, new: &str) -> String {
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut text = format!("{new} against configuration {}, which is in force\n", count("against"));
    let same = report.pointer("/counts/same").and_then(Value::as_u64).unwrap_or_default();
    let mut sum = format!("{same} as now + {} not", count("differ"));
    for (key, are) in
        [("skipped", "unreadable or quarantined, which go nowhere"), ("pruned", "that have no record any more")]
    {
        if count(key) > 0 {
            // Writing to a String cannot fail.
            let _ = write!(sum, " + {} {are}", count(key));
        }
    }
    let _ = writeln!(text, "{} notifications looked at, each revision for itself = {sum}", count("looked_at"));
    if count("differ") > 0 {
        let _ = writeln!(text, "each route counts for itself: one notification may be told of under several");
    }
    for route in list(report, "routes") {
        let of = |key: &str| print::cell(route.get(key));
        let _ = writeln!(text, "\nroute {}: {} as now, {} not", of("route"), of("same"), of("differ"));
        for difference in list(route, "differences") {
            let of = |key: &str| print::cell(difference.get(key));
            let _ = writeln!(text, "  {} ({})", of("words"), of("count"));
            for example in list(difference, "examples") {
                let _ = writeln!(text, "    {}", line(&of("kind"), example));
            }
        }
    }
    let _ = match count("differ") {
        0 => writeln!(text, "\nnothing would come out otherwise"),
        1 => writeln!(text, "\n1 notification would come out otherwise"),
        count => writeln!(text, "\n{count} notifications would come out otherwise"),
    };
    text
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn line(kind: &str, example: &Value) -> String {
    let clean = |key: &str| match example.get(key).and_then(Value::as_str) {
        None => "(none)".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => print::cell(Some(&Value::String(text.replace('\n', "\\n")))),
    };
    let name = print::cell(example.get("notification"));
    match kind {
        "not_made" => format!("{name}: {}", clean("new")),
        "others" => name,
        _ => format!("{name}: {} → {}", clean("old"), clean("new")),
    }
}

//! How commands print: tables for people, JSON for scripts.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::table::{self, Table};
use crate::clock::Timestamp;

/// Prints text and a line end; a closed pipe is no error.
pub fn line(text: &str) {
    // A reader that went away (`| head`) wants no more: nothing to report, nobody to report it to.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints text as it is; a closed pipe is no error.
pub fn text(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a note to standard error, for a person; a closed pipe is no error there either.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints JSON, indented.
pub fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}

/// A table with these heads.
#[must_use]
pub fn table(heads: &[&str]) -> Table {
    Table::new(heads)
}

/// Prints a table; on a terminal in the room that it has.
pub fn rows(table: &Table) {
    let Some(room) = table::room() else { return line(&drawn(table)) };
    let (text, missing) = table.within(room.columns);
    line(&text);
    if !missing.is_empty() {
        note(&format!("no room for: {}; a wider terminal shows it", missing.join(", ")));
    }
}

/// A table as it is printed. Where nobody looks at it on a terminal it has no frame, and no line is longer than what it says.
#[must_use]
pub fn drawn(table: &Table) -> String {
    match table::room() {
        Some(room) => table.within(room.columns).0,
        None => table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"),
    }
}

/// Prints a list of objects as a table with the given columns (heading, JSON pointer); on a terminal each is a line.
pub fn list(value: &Value, columns: &[(&str, &str)]) {
    rows(&listed(value, columns).of_lines());
}

/// The same, of which each is said whole: nothing else says it.
pub fn list_whole(value: &Value, columns: &[(&str, &str)]) {
    rows(&listed(value, columns));
}

fn listed(value: &Value, columns: &[(&str, &str)]) -> Table {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let mut table = table(&heads);
    for row in value.as_array().into_iter().flatten() {
        table.add_row(columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))));
    }
    table
}

/// Says the state of each object of a list as people do.
pub fn say_states(list: &mut Value) {
    for state in list.as_array_mut().into_iter().flatten().filter_map(|row| row.get_mut("state")) {
        *state = Value::String(word(state));
    }
}

/// Of what waits, why it does says more than what its last attempt came to.
pub fn say_why(delivery: &mut Value) {
    if let Some(why) = delivery.pointer("/why/text").cloned()
        && let Some(delivery) = delivery.as_object_mut()
    {
        delivery.insert("reason".to_owned(), why);
    }
}

/// Says why a notification, or something of it, goes nowhere, and what to do; nothing where there is nothing to say.
pub fn say_aside(aside: Option<&Value>) {
    if let Some(aside) = aside.filter(|aside| !aside.is_null()) {
        line(&aside_in_words(aside));
    }
}

/// Why a notification goes nowhere, and what to do.
#[must_use]
pub fn aside_in_words(aside: &Value) -> String {
    let (text, advice) = (cell(aside.get("text")), cell(aside.get("advice")));
    if advice.is_empty() { text } else { format!("{text}; {advice}") }
}

/// A word of the API as a person reads it.
#[must_use]
pub fn word(value: &Value) -> String {
    cell(Some(value)).replace('_', " ")
}

/// A moment of the API as a person reads it; none when a text is no moment.
fn moment(text: &str) -> Option<String> {
    let moment: Timestamp = serde_json::from_value(Value::from(text)).ok()?;
    (moment.to_string() == text).then(|| moment.spoken())
}

/// A JSON value as a person reads it. Control characters are shown as signs: what came from elsewhere must not steer
/// the terminal.
#[must_use]
pub fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => moment(text).unwrap_or_else(|| {
            text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
        }),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_by_people_and_does_not_steer_the_terminal() {
        let text = Value::String("a\u{1b}[2Jb\r\n\tc".to_owned());
        assert_eq!(cell(Some(&Value::from("2026-09-21T14:13:20.123Z"))), "2026-09-21 14:13:20 UTC");
        assert_eq!(cell(Some(&Value::from("2026-09-21"))), "2026-09-21", "a day stays one");
        assert_eq!(cell(Some(&text)), "a\u{fffd}[2Jb\u{fffd}\n\tc");
    }
}

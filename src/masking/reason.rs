//! Values in reasons of ours, such as `CreateOrder.Currency = "EUX" is not one of …`: a reason names the place that it is
//! about, and the expression behind it; where either is made of a hidden field, what it quotes is hidden in any form.

use std::collections::BTreeSet;

use super::{HIDDEN, string_end, value_end};

/// Words before a number, or a truth, that is a value.
const BEFORE_VALUES: [&str; 5] = ["number", "boolean", "not", "given", "gives"];

/// Whether a reason tells of what is made of one of these names, or at one of these places.
pub(super) fn tells(reason: &str, names: &BTreeSet<String>, places: &BTreeSet<String>) -> bool {
    // A document of XML or JSON is no reason.
    if reason.trim_start().starts_with(['<', '{', '[']) {
        return false;
    }
    if places.iter().any(|place| names_place(reason, place)) {
        return true;
    }
    let (words, expressions) = apart(reason);
    expressions.into_iter().any(|expression| reads(expression, names))
        || words.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';')).any(|word| is_of(word, names))
}

/// Whether a path leads through one of these names, as `CreateOrder.Lines[1].@Code` and `headers.X-Code:` do.
pub(super) fn is_of(path: &str, names: &BTreeSet<String>) -> bool {
    let path = path.trim_end_matches(':');
    let plain = |part: &str| {
        let part = part.split('[').next().unwrap_or_default();
        names.contains(part.rsplit('}').next().unwrap_or_default()) || names.contains(part)
    };
    names.contains(path) || path.split(['.', '/', '@']).any(|part| plain(part) || plain(super::local(part)))
}

/// Whether it speaks of this place, as of `url: …`.
fn names_place(reason: &str, place: &str) -> bool {
    reason.match_indices(place).any(|(at, _)| {
        let before = reason.get(..at).and_then(|before| before.chars().next_back());
        let behind = reason.get(at + place.len()..).unwrap_or_default();
        before.is_none_or(|c| c.is_whitespace() || c == '`') && behind.starts_with([':', '`'])
    })
}

/// The words outside of quotes, and what stands in back quotes.
fn apart(reason: &str) -> (String, Vec<&str>) {
    let (mut words, mut expressions) = (String::with_capacity(reason.len()), Vec::new());
    let mut rest = reason;
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        words.push_str(before);
        words.push(' ');
        let end = if quoted.starts_with('"') { string_end(quoted) } else { back_quoted(quoted) };
        let (quoted, behind) = quoted.split_at(end);
        if let Some(expression) = quoted.strip_prefix('`') {
            expressions.push(expression.trim_end_matches('`'));
        }
        rest = behind;
    }
    words.push_str(rest);
    (words, expressions)
}

/// Where back quotes end that a text begins with.
fn back_quoted(text: &str) -> usize {
    text.get(1..).and_then(|inside| inside.find('`')).map_or(text.len(), |end| end + 2)
}

/// Whether an expression reads one of these names, or the record as a whole; of one that was cut that is not known.
fn reads(expression: &str, names: &BTreeSet<String>) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |(at, word): (usize, &str)| {
        let before = expression.get(..at).unwrap_or_default();
        let behind = expression.get(at + word.len()..).unwrap_or_default().trim_start();
        !before.ends_with(['.', '\'', '"', '_'])
            && !before.ends_with(is_name)
            && !behind.starts_with(['.', '\'', '"'])
            && !["['", "[\""].iter().any(|field| behind.starts_with(field))
            && !behind.starts_with(is_name)
    };
    expression.ends_with('…')
        || expression.split(|c| !is_name(c)).any(|word| names.contains(word))
        || expression.match_indices("record").any(whole)
}

/// A reason less every value that it quotes.
pub(super) fn without_values(reason: &str) -> String {
    let is_of_xml = reason.contains("well-formed");
    let mut hidden = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(c) = rest.chars().next() {
        let last = hidden.chars().next_back();
        let starts = last.is_none_or(|c| c.is_whitespace() || c == '(');
        let (end, shown) = match c {
            '`' => (back_quoted(rest), None),
            '"' => (string_end(rest), Some(format!("\"{HIDDEN}\""))),
            // As a parser of XML quotes.
            '\'' if starts && is_of_xml => (single_quoted(rest), Some(HIDDEN.to_owned())),
            // Not the place of an item in a list.
            '[' | '{' if starts => (value_end(rest), Some(HIDDEN.to_owned())),
            _ if starts => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | ';')).unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or_default();
                (end.max(c.len_utf8()), (is_plain(word) && is_behind(&hidden)).then(|| HIDDEN.to_owned()))
            }
            _ => (c.len_utf8(), None),
        };
        let (piece, behind) = rest.split_at(end);
        match shown {
            Some(shown) => hidden.push_str(&shown),
            // A word may hold a quote.
            None if starts && c != '`' && piece.contains(['"', '`']) => {
                hidden.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                continue;
            }
            None => hidden.push_str(piece),
        }
        rest = behind;
    }
    hidden
}

fn single_quoted(text: &str) -> usize {
    text.get(1..).and_then(|inside| inside.find('\'')).map_or(text.len(), |end| end + 2)
}

/// A number or a truth.
fn is_plain(word: &str) -> bool {
    matches!(word, "true" | "false") || word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
}

/// Whether what follows these words is a value.
fn is_behind(words: &str) -> bool {
    let word = words.split_whitespace().next_back().unwrap_or_default();
    word.ends_with(':') || word == "=" || BEFORE_VALUES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_reason_of_a_hidden_place_or_expression_loses_its_values_and_no_other() {
        let (names, places) = (set(&["Country__c", "Currency", "X-Code", "Extra"]), set(&["url", "templates/a b.xml"]));
        for (reason, hidden) in [
            (
                "no call can be made: CreateOrder.Currency = \"G\\\"EX\" is not one of EUR, USD; did you mean \"GBP\"? (erp.xsd, line 10) (Currency = `(record.Country__c | upper) ~ 'X'`)",
                "no call can be made: CreateOrder.Currency = \"(masked)\" is not one of EUR, USD; did you mean \"(masked)\"? (erp.xsd, line 10) (Currency = `(record.Country__c | upper) ~ 'X'`)",
            ),
            (
                "O.Currency is \"GEX\", but the schema fixes it to \"EUR\"",
                "O.Currency is \"(masked)\", but the schema fixes it to \"(masked)\"",
            ),
            ("O.Lines[2].@Currency is 81 long; maxLength is 80", "O.Lines[2].@Currency is 81 long; maxLength is 80"),
            ("O.{urn:x.y}Currency = \"GE", "O.{urn:x.y}Currency = \"(masked)\""),
            ("O.Extra.Code = \"GE\" is no xs:int", "O.Extra.Code = \"(masked)\" is no xs:int"),
            (
                "O.Currency is a list, but it comes once and holds one value: [\"GEX\",\"G…",
                "O.Currency is a list, but it comes once and holds one value: (masked)",
            ),
            (
                "O.Extra has an $xml that is no text: 41 (a.xsd, line 8)",
                "O.Extra has an $xml that is no text: (masked) (a.xsd, line 8)",
            ),
            (
                "O.Extra has an $xml that is not well-formed: expected 'GE' tag",
                "O.Extra has an $xml that is not well-formed: expected (masked) tag",
            ),
            (
                "O.Currency is required and its value is none (a.xsd, line 8)",
                "O.Currency is required and its value is none (a.xsd, line 8)",
            ),
            (
                "Comment: expression `record.Country__c | int`: int needs a number, not the text \"plenty of it\"…",
                "Comment: expression `record.Country__c | int`: int needs a number, not the text \"(masked)\"…",
            ),
            (
                "headers.X-Code: expression `a`: abs needs a number, not the text \"GE\"",
                "headers.X-Code: expression `a`: abs needs a number, not the text \"(masked)\"",
            ),
            (
                "route r: deciding `when`: expression `record | length > 2`: not the number 41",
                "route r: deciding `when`: expression `record | length > 2`: not the number (masked)",
            ),
            (
                "x: expression `record['Country__c']` gives {\"a\":\"GE\"}, and a lane",
                "x: expression `record['Country__c']` gives (masked), and a lane",
            ),
            (
                "x: expression `long and cut…`: not the boolean true",
                "x: expression `long and cut…`: not the boolean (masked)",
            ),
            ("url: expression `a`: gives \"..\", which", "url: expression `a`: gives \"(masked)\", which"),
            (
                "templates/a b.xml: what it gives: O.Name = \"GE\"",
                "templates/a b.xml: what it gives: O.Name = \"(masked)\"",
            ),
            (
                "expression `templates/a b.xml`: table \"t\" has no row for \"GE\"",
                "expression `templates/a b.xml`: table \"(masked)\" has no row for \"(masked)\"",
            ),
        ] {
            assert!(tells(reason, &names, &places), "{reason}");
            assert_eq!(without_values(reason), hidden, "{reason}");
        }
        for reason in [
            "O.Name = \"Currency\" is too long (Name = `record.Name`)",
            "O.Name = \"url: Country__c\" is too long",
            "{\"Currency\": \"GE\"}",
            " <Currency>GE</Currency>",
            "expression `records + record.Name`: not the number 41",
            "PUT http://crm/curl: 4",
            "",
            "\"",
            "`",
        ] {
            assert!(!tells(reason, &names, &places), "{reason}");
        }
    }
}

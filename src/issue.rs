//! Dead letters grouped by what is behind them: the same destination, the same cause. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::store::DeliveryView;

/// More different causes of one destination are counted as one.
const CAUSES_MAX: usize = 500;
/// The cause of those beyond the bound.
const OTHERS: &str = "other causes";
/// Longer words with digits in them are values, not words.
const WORD_MAX: usize = 7;

/// Dead letters of one destination with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Issue {
    /// Names it: the same for the same destination and cause.
    pub id: String,
    /// The destination's name.
    pub destination: String,
    /// What they have in common, in words; values that differ are left out.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// When the first of them died.
    pub first_seen: Timestamp,
    /// When the last of them died.
    pub last_seen: Timestamp,
    /// The oldest of them.
    pub sample: DeliveryId,
    /// Its reason, to the letter.
    pub example: String,
}

/// Counts dead letters into issues.
#[derive(Clone, Debug, Default)]
pub struct Issues {
    by_cause: BTreeMap<(String, String), Issue>,
    causes: BTreeMap<String, usize>,
}

impl Issues {
    /// Counts one.
    pub fn add(&mut self, dead: &DeliveryView) {
        let mut cause = cause(dead.reason.as_deref().unwrap_or_default());
        let known = self.by_cause.contains_key(&(dead.destination.clone(), cause.clone()));
        let causes = self.causes.entry(dead.destination.clone()).or_default();
        if !known && *causes >= CAUSES_MAX {
            OTHERS.clone_into(&mut cause);
        } else if !known {
            *causes += 1;
        }
        let issue = self.by_cause.entry((dead.destination.clone(), cause.clone())).or_insert_with(|| Issue {
            id: id(&dead.destination, &cause),
            destination: dead.destination.clone(),
            cause,
            count: 0,
            first_seen: dead.changed_at,
            last_seen: dead.changed_at,
            sample: dead.delivery_id,
            example: dead.reason.clone().unwrap_or_default(),
        });
        issue.count += 1;
        issue.first_seen = issue.first_seen.min(dead.changed_at);
        issue.last_seen = issue.last_seen.max(dead.changed_at);
        if dead.delivery_id < issue.sample {
            issue.sample = dead.delivery_id;
            issue.example = dead.reason.clone().unwrap_or_default();
        }
    }

    /// Which dead letters an issue has, by its id. What stands for causes beyond the bound has all of its destination whose
    /// cause is not named.
    #[must_use]
    pub fn members(&self, issue: &str) -> Members {
        let others = |destination: &&String| id(destination, OTHERS) == issue;
        let Some(destination) = self.causes.keys().find(others) else { return Members::Cause(issue.to_owned()) };
        let own = self.by_cause.keys().filter(|(of, cause)| of == destination && cause != OTHERS);
        Members::Others { destination: destination.clone(), named: own.map(|(_, cause)| cause.clone()).collect() }
    }

    /// The issues, the largest first.
    #[must_use]
    pub fn list(self) -> Vec<Issue> {
        let mut list: Vec<Issue> = self.by_cause.into_values().collect();
        list.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.id.cmp(&other.id)));
        list
    }
}

/// Which dead letters an issue has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those whose destination and cause have this id.
    Cause(String),
    /// Those of the destination whose cause is none of these.
    Others {
        /// The destination's name.
        destination: String,
        /// The causes that are issues of their own.
        named: BTreeSet<String>,
    },
}

impl Members {
    /// Whether a dead letter is one of them.
    #[must_use]
    pub fn have(&self, dead: &DeliveryView) -> bool {
        match self {
            Self::Cause(id) => issue_of(dead) == *id,
            Self::Others { destination, named } => {
                dead.destination == *destination && !named.contains(&cause(dead.reason.as_deref().unwrap_or_default()))
            }
        }
    }
}

/// The issue that a dead letter belongs to.
#[must_use]
pub fn issue_of(dead: &DeliveryView) -> String {
    id(&dead.destination, &cause(dead.reason.as_deref().unwrap_or_default()))
}

fn id(destination: &str, cause: &str) -> String {
    let name = format!("{destination}\u{0}{cause}");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple().to_string().chars().take(12).collect()
}

/// What a reason has in common with those of the same cause: without how often it was tried, without what stands in
/// quotes, and without words that are values.
#[must_use]
pub fn cause(reason: &str) -> String {
    let reason = match reason.strip_prefix("gave up").and_then(|rest| rest.split_once(": ")) {
        Some((_, reason)) => format!("gave up: {reason}"),
        None => reason.to_owned(),
    };
    let mut words: Vec<&str> = Vec::new();
    let unquoted = without_quotes(&reason, |_| false);
    for word in unquoted.split_whitespace() {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_value = digits > 3 || (digits > 0 && word.chars().count() > WORD_MAX);
        match (is_value, words.last()) {
            (true, Some(&"…")) => {}
            (true, _) => words.push("…"),
            (false, _) => words.push(word),
        }
    }
    words.join(" ")
}

/// A reason without what a record or an answer may have brought into it: what it quotes, and the words of a fault. Our own
/// commands in back quotes are nobody's content, and stay.
#[must_use]
pub fn without_values(reason: &str) -> String {
    const FAULT: &str = "SOAP fault ";
    const STATUS: &str = ", HTTP status ";
    let reason = without_quotes(reason, is_command);
    let Some((before, rest)) = reason.split_once(FAULT) else { return reason };
    let Some((code, words)) = rest.split_once(": ") else { return reason };
    let status = words.rfind(STATUS).and_then(|at| words.get(at..)).unwrap_or_default();
    format!("{before}{FAULT}{code}: …{status}")
}

/// Whether back quotes hold a command of ours, as it is said what to do; of names and ids that it takes, the usual ones only.
fn is_command(quoted: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./:<>…'[]".contains(c);
    quoted.starts_with("omgate ") && quoted.chars().all(is_plain)
}

/// A text without what stands in its quotes, or back quotes: names and values; less what is to stay of the latter. Quotes
/// that do not end, as where a text was cut, hold all of the rest.
fn without_quotes(text: &str, stays: impl Fn(&str) -> bool) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = if quoted.starts_with('"') { '"' } else { '`' };
        let inside = quoted.get(1..).unwrap_or_default();
        let (inside, after) = end_of_quote(inside, quote).unwrap_or((inside, ""));
        found.push_str(before);
        if quote == '`' && stays(inside) {
            found.push_str(&format!("`{inside}`"));
        } else {
            found.push('…');
        }
        rest = after;
    }
    found.push_str(rest);
    found
}

/// What stands before a quote that ends, and behind it. Within double quotes others are escaped.
fn end_of_quote(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let (at, _) = text.char_indices().find(|(_, c)| {
        let ends = *c == quote && !is_escaped;
        is_escaped = quote == '"' && *c == '\\' && !is_escaped;
        ends
    })?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_see_payloads_reads_reasons_without_values() {
        for (reason, expected) in [
            ("answered 409 Conflict", "answered 409 Conflict"),
            ("Amount: \"12 EUR\" is no number", "Amount: … is no number"),
            (
                "refused: SOAP fault Client/Order: no customer jane@x.org (detail: a: b), HTTP status 500, which rule 1 calls dead",
                "refused: SOAP fault Client/Order: …, HTTP status 500, which rule 1 calls dead",
            ),
            ("SOAP fault Server: busy", "SOAP fault Server: …"),
            (r#"text and no SOAP: "{\"name\": \"Jane\"}" in place"#, "text and no SOAP: … in place"),
            (r#"a path "C:\\" and Jane"#, "a path … and Jane"),
            ("cut: \"Jane Do", "cut: …"),
            ("`record.Name`: no", "…: no"),
            (
                "organization 00D1 is unknown; `omgate sources adopt orders --organization 00D1` lets it in",
                "organization 00D1 is unknown; `omgate sources adopt orders --organization 00D1` lets it in",
            ),
            ("`omgate ~ record.Name`: no", "…: no"),
            ("a SOAP fault ", "a SOAP fault "),
        ] {
            assert_eq!(without_values(reason), expected);
        }
    }

    #[test]
    fn a_cause_is_what_reasons_have_in_common() {
        for (reason, expected) in [
            ("refused: answered 409 Conflict", "refused: answered 409 Conflict"),
            (
                "gave up after 12 attempts in 3 h 10 min, the most that max_attempts allows: answered 503 Service Unavailable",
                "gave up: answered 503 Service Unavailable",
            ),
            (
                "no call can be made: OrderNumber: \"A-4711\" is longer than 10 characters",
                "no call can be made: OrderNumber: … is longer than 10 characters",
            ),
            (
                "refused: SOAP fault Client: order 0060000012AAA is unknown",
                "refused: SOAP fault Client: order … is unknown",
            ),
            ("refused: customer 12345 67890 locked", "refused: customer … locked"),
            ("expression `record.Total` gives \"x", "expression … gives …"),
            ("", ""),
        ] {
            assert_eq!(cause(reason), expected);
        }
    }

    #[test]
    fn causes_of_one_destination_are_bounded() {
        let mut issues = Issues::default();
        let words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut many = Vec::new();
        for one in words {
            for two in words {
                many.extend(words.map(|three| format!("refused: {one} {two} {three}")));
            }
        }
        for (number, reason) in many.iter().enumerate() {
            issues.add(&dead(i64::try_from(number).unwrap(), reason));
        }
        let members = issues.clone();
        let list = issues.list();
        assert_eq!(list.len(), CAUSES_MAX + 1);
        assert_eq!((list[0].cause.as_str(), list[0].count), (OTHERS, 500));
        // Each dead letter belongs to exactly one issue, by the id that the list gives.
        for issue in &list {
            let members = members.members(&issue.id);
            let count = many.iter().filter(|reason| members.have(&dead(1, reason))).count();
            assert_eq!(u64::try_from(count).unwrap(), issue.count, "{issue:?}");
        }
    }

    #[test]
    fn an_issue_counts_and_knows_the_first_and_the_last() {
        let mut issues = Issues::default();
        for (id, reason) in [(7, "order \"1\" is unknown"), (3, "order \"2\" is unknown"), (5, "something else")] {
            issues.add(&dead(id, reason));
        }
        let list = issues.list();
        assert_eq!((list[0].count, list[0].sample, list[1].count), (2, DeliveryId(3), 1));
        assert_eq!((list[0].first_seen, list[0].last_seen), (Timestamp(3), Timestamp(7)));
        assert_eq!(list[0].id, issue_of(&dead(9, "order \"3\" is unknown")));
    }

    fn dead(id: i64, reason: &str) -> DeliveryView {
        DeliveryView {
            delivery_id: DeliveryId(id),
            notification_id: String::new(),
            notification_row: 1,
            revision: 1,
            record_id: String::new(),
            record_type: String::new(),
            source: String::new(),
            organization_id: String::new(),
            route: String::new(),
            destination: "erp".to_owned(),
            system: "erp".to_owned(),
            lane: None,
            state: crate::delivery::State::Dead,
            due_at: None,
            attempts: 1,
            reason: Some(reason.to_owned()),
            status: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(id),
            behind: None,
            lane_head: None,
            superseded_by: None,
            search: Default::default(),
            kept: serde_json::Map::new(),
            kept_warnings: BTreeMap::new(),
            links: crate::store::Links::default(),
        }
    }
}

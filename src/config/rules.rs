//! `[[destination.rule]]`: what an answer, or none, comes to.

use std::str::FromStr;
use std::time::Duration;

use super::destination;
use super::read::Section;
use crate::deliver::rules::{FaultCode, Rule, Statuses, Then, Transport};
use crate::expression::Tables;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The words for what follows, `after` apart.
const VERDICTS: [(&str, Then); 5] = [
    ("delivered", Then::Delivered),
    ("retry", Then::Retry { after: None }),
    ("dead", Then::Dead),
    ("hold", Then::Hold),
    ("pause", Then::Pause { after: None }),
];

/// Reads the rules of a destination, in their order; what is wrong in them is reported.
pub(super) fn rules(section: &Section<'_, '_>, tables: &Tables) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule in section.sections("rule") {
        if let Some(read) = one(&rule, tables) {
            if let Some(place) = rules.iter().position(|before| read.is_hidden_by(before)) {
                let reason = format!(
                    "never counts: rule {} before it matches all that it does; take it out or put it first",
                    place + 1
                );
                rule.desk.warning(&rule.spot, reason);
            }
            rules.push(read);
        }
        rule.finish();
    }
    rules
}

fn one(section: &Section<'_, '_>, tables: &Tables) -> Option<Rule> {
    let statuses = statuses(section);
    let fault = section.parsed("fault", FaultCode::from_str);
    let detail = section.plain("detail");
    let transports = [("not_sent", Transport::NotSent), ("no_answer", Transport::NoAnswer)];
    let transport = section.choice("transport", &transports);
    let when = destination::response_rule(section, "when", tables);
    let after = section.duration("after", SECOND / 10..=7 * DAY);
    section.required("then");
    let then = section.choice("then", &VERDICTS)?;
    let then = match (then.value, &after) {
        (Then::Retry { .. }, Some(after)) => Then::Retry { after: Some(after.value) },
        (Then::Pause { .. }, Some(after)) => Then::Pause { after: Some(after.value) },
        (_, Some(after)) => {
            section.desk.error(&after.spot, "belongs to then = \"retry\" or \"pause\"");
            return None;
        }
        (then, None) => then,
    };
    let of_answer = ["status", "fault", "detail", "when"].into_iter().find(|key| section.has(key));
    match (&transport, of_answer) {
        (Some(transport), _) if then == Then::Delivered => {
            let reason = "cannot be delivered: without an answer nobody knows, and what did not leave was not taken";
            section.desk.error(&transport.spot, reason);
            return None;
        }
        (Some(_), Some(key)) => {
            section.desk.error(&section.spot_of(key), "is about an answer, and with transport there is none");
            return None;
        }
        (None, None) if !section.has("transport") => {
            let reason = "matches everything; give it status, fault, detail, when or transport";
            section.desk.error(&section.spot, reason);
            return None;
        }
        _ => {}
    }
    Some(Rule {
        statuses: statuses?,
        fault: fault.map(|field| field.value),
        detail: detail.map(|field| field.value),
        transport: transport.map(|field| field.value),
        when,
        then,
    })
}

/// `409`, `"5xx"`, or a list of them.
fn statuses(section: &Section<'_, '_>) -> Option<Vec<Statuses>> {
    if !section.has("status") {
        return Some(Vec::new());
    }
    let parsed = section
        .words("status")?
        .into_iter()
        .map(|word| word.value.parse::<Statuses>().map_err(|reason| section.desk.error(&word.spot, reason)).ok());
    parsed.collect::<Vec<_>>().into_iter().collect()
}

//! What becomes of deliveries that are let go while their system is not called; and where a choice finds nothing, what there
//! is in its place.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::admin::Admin;
use crate::admin::bulk::Choice;
use crate::delivery::State;
use crate::issue;
use crate::store::StoreResult;
use crate::why::{Shut, Why};

/// A system that is not called now: what is sent again waits like all else.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Wait {
    /// The system.
    system: String,
    /// A word for programs.
    code: &'static str,
    /// Why it is not called, in words.
    text: String,
    /// What that means, and what to do.
    advice: String,
    /// Whether a person may let it go on.
    can_resume: bool,
}

/// Those of some systems that are not called now.
pub(super) fn waits<'s>(admin: &Admin, systems: impl IntoIterator<Item = &'s String>) -> Vec<Wait> {
    let wait = |system: &String| {
        let shut = admin.dispatch.shut(system).filter(Shut::is_outage)?;
        let (can_resume, advice) = advice(system, &shut);
        let why = Why::System { system: system.clone(), shut };
        // Whoever looks on, now or at the job later: what answers said stands with the deliveries.
        let text = issue::without_values(&why.to_string());
        Some(Wait { system: system.clone(), code: why.code(), text, advice, can_resume })
    };
    systems.into_iter().filter_map(wait).collect()
}

fn advice(system: &str, shut: &Shut) -> (bool, String) {
    match shut {
        Shut::Paused(_) => {
            (true, format!("what is let go waits until it is resumed: `omgate systems resume {}`", quoted(system)))
        }
        Shut::Closed { .. } => (false, "what is let go waits until it opens".to_owned()),
        Shut::Broken(_) | Shut::Full { .. } | Shut::Warming { .. } | Shut::Rate { .. } => {
            (false, "what is let go waits until a call to it goes well again".to_owned())
        }
    }
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// An answer about one delivery, with what its system has it wait for.
pub(super) fn with_waits(admin: &Admin, mut document: Json, system: &String) -> Json {
    let waits = waits(admin, [system]);
    if let Some(document) = document.as_object_mut().filter(|_| !waits.is_empty()) {
        document.insert("waits".to_owned(), json!(waits));
    }
    document
}

/// What there is in place of what a choice does not find, in words.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn instead(admin: &Admin, choice: &Choice) -> StoreResult<String> {
    let (mut found, mut systems) = (Vec::new(), BTreeSet::new());
    for state in State::ALL.into_iter().filter(|state| choice.state != Some(*state)) {
        let other = Choice { state: Some(state), members: None, issue: None, ..choice.clone() };
        let Some(page) = other.shown(admin, 0).await? else { continue };
        if page.views.is_empty() {
            continue;
        }
        let more = if other.ids.is_none() && page.views.len() >= PAGE { " or more" } else { "" };
        found.push((page.views.len(), more, state));
        if matches!(state, State::Waiting | State::Blocked) {
            systems.extend(page.views.into_iter().map(|view| view.system));
        }
    }
    Ok(in_words(choice, &found, &waits(admin, &systems)))
}

/// A page that is as long as this may have others behind it.
const PAGE: usize = 500;

fn in_words(choice: &Choice, found: &[(usize, &str, State)], waits: &[Wait]) -> String {
    let none = match (choice.state, &choice.issue) {
        (_, Some(_)) => "no dead letter belongs to that issue any more".to_owned(),
        (Some(state), None) => format!("none is {}", word(state)),
        (None, None) => "none of them can be changed so".to_owned(),
    };
    if found.is_empty() {
        return format!("{none}, and the rest of the choice fits no delivery in any other state");
    }
    let count = |(count, more, state): &(usize, &str, State)| {
        let are = if *count == 1 { "is" } else { "are" };
        format!("{count}{more} {are} {}", word(*state))
    };
    let others = found.iter().map(count).collect::<Vec<_>>().join(", ");
    let besides = if choice.issue.is_some() { " (of all issues)" } else { "" };
    let mut text = format!("{none}; {others}{besides}");
    for wait in waits {
        text = format!("{text}; {}: {}", wait.text, wait.advice);
    }
    text
}

fn word(state: State) -> String {
    state.as_str().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_finds_nothing_says_what_there_is() {
        let wait = Wait {
            system: "erp".to_owned(),
            code: "paused",
            text: "system erp is paused since 03:00".to_owned(),
            advice: "what is let go waits until it is resumed: `omgate systems resume erp`".to_owned(),
            can_resume: true,
        };
        let dead = Choice { state: Some(State::Dead), ..Choice::default() };
        assert_eq!(
            in_words(&dead, &[(14, "", State::Waiting), (1, "", State::InFlight)], &[wait]),
            "none is dead; 14 are waiting, 1 is in flight; system erp is paused since 03:00: what is let go waits until it is \
             resumed: `omgate systems resume erp`"
        );
        assert!(in_words(&dead, &[], &[]).ends_with("fits no delivery in any other state"));
        let issue = Choice { issue: Some("a".to_owned()), ..dead };
        assert!(in_words(&issue, &[], &[]).starts_with("no dead letter belongs to that issue any more"));
    }

    #[test]
    fn a_name_in_a_command_is_one_word_of_a_shell() {
        for (name, word) in [("erp", "erp"), ("my erp", "'my erp'"), ("a'b", "'a'\\''b'"), ("", "''")] {
            assert_eq!(quoted(name), word);
        }
    }
}

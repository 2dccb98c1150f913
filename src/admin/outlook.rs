//! What becomes of deliveries that are let go while their system is not called; and where a choice finds nothing, what there
//! is in its place.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::admin::Admin;
use crate::admin::bulk::Choice;
use crate::delivery::State;
use crate::issue;
use crate::store::{DeliveryView, StoreResult};
use crate::why::{Shut, Why};

/// No more pages than this are looked at for what there is in place of something: it is said aside.
const PAGES_MAX: usize = 3;

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
        Shut::Paused(_) => (
            true,
            format!(
                "what is let go waits until it is resumed: `omgate systems resume {} --reason WHY`",
                quoted(system)
            ),
        ),
        Shut::Closed { .. } => (false, "what is let go waits until it opens".to_owned()),
        Shut::Broken(_) | Shut::Untried(_) | Shut::Full { .. } | Shut::Warming { .. } | Shut::Rate { .. } => {
            (false, "what is let go waits until a call to it goes well again".to_owned())
        }
    }
}

/// A name as a shell takes it.
pub(super) fn quoted(name: &str) -> String {
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
    if choice.issue.is_some() {
        return Ok(
            "no dead letter belongs to that issue any more: `omgate issues list` shows which there are".to_owned()
        );
    }
    let (mut found, mut systems, mut is_sure) = (Vec::new(), BTreeSet::new(), true);
    for state in State::ALL.into_iter().filter(|state| choice.state != Some(*state)) {
        let other = Choice { state: Some(state), ..choice.clone() };
        let (views, is_whole) = first(admin, &other).await?;
        is_sure &= is_whole || !views.is_empty();
        if views.is_empty() {
            continue;
        }
        found.push((views.len(), if is_whole { "" } else { " or more" }, state));
        if matches!(state, State::Waiting | State::Blocked) {
            systems.extend(views.into_iter().map(|view| view.system));
        }
    }
    Ok(in_words(choice.state, &found, is_sure, &waits(admin, &systems)))
}

/// The first deliveries of a choice, and whether these are all.
async fn first(admin: &Admin, choice: &Choice) -> StoreResult<(Vec<DeliveryView>, bool)> {
    let (mut views, mut after) = (Vec::new(), 0);
    for _ in 0..PAGES_MAX {
        let Some(mut page) = choice.shown(admin, after).await? else { return Ok((views, true)) };
        after = page.last;
        views.append(&mut page.views);
    }
    Ok((views, false))
}

fn in_words(state: Option<State>, found: &[(usize, &str, State)], is_sure: bool, waits: &[Wait]) -> String {
    let none = match state {
        Some(state) => format!("none that fits is {}", word(state)),
        None => "none of them can be changed so".to_owned(),
    };
    match (found.is_empty(), is_sure) {
        (true, true) => return format!("{none}, and the rest of the choice fits no delivery in any other state"),
        (true, false) => {
            return format!("{none}; whether the rest of the choice fits others was not found out in time");
        }
        (false, _) => {}
    }
    let count = |(count, more, state): &(usize, &str, State)| {
        let are = if *count == 1 { "is" } else { "are" };
        format!("{count}{more} {are} {}", word(*state))
    };
    let others = found.iter().map(count).collect::<Vec<_>>().join(", ");
    let mut text = format!("{none}; {others}");
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
    use crate::clock::Timestamp;
    use crate::store::{Outage, Pause};

    #[test]
    fn a_choice_that_finds_nothing_says_what_there_is() {
        let wait = Wait {
            system: "erp".to_owned(),
            code: "paused",
            text: "system erp is paused since 03:00".to_owned(),
            advice: "what is let go waits until it is resumed: `omgate systems resume erp --reason WHY`".to_owned(),
            can_resume: true,
        };
        let dead = Some(State::Dead);
        assert_eq!(
            in_words(dead, &[(14, "", State::Waiting), (1, "", State::InFlight)], true, &[wait]),
            "none that fits is dead; 14 are waiting, 1 is in flight; system erp is paused since 03:00: what is let go waits until it is \
             resumed: `omgate systems resume erp --reason WHY`"
        );
        assert!(in_words(dead, &[], true, &[]).ends_with("fits no delivery in any other state"));
        assert!(in_words(dead, &[], false, &[]).ends_with("was not found out in time"));
        assert!(in_words(None, &[(2, " or more", State::Delivered)], true, &[]).ends_with("2 or more are delivered"));
    }

    #[test]
    fn only_a_pause_is_ended_by_a_person() {
        let outage = Outage { reason: "500".to_owned(), since: Timestamp(0), probe_at: Timestamp(1), trips: 1 };
        for (shut, can_resume, words) in [
            (Shut::Paused(Pause::new("401", Timestamp(0))), true, "`omgate systems resume 'my erp' --reason WHY`"),
            (Shut::Closed { opens: None }, false, "until it opens"),
            (Shut::Broken(outage), false, "until a call to it goes well again"),
        ] {
            let (may_resume, advice) = advice("my erp", &shut);
            assert!(may_resume == can_resume && advice.contains(words) && shut.is_outage(), "{advice}");
        }
        assert!(!Shut::Full { concurrency: 4 }.is_outage(), "what is only busy is not spoken of");
    }

    #[test]
    fn a_name_in_a_command_is_one_word_of_a_shell() {
        for (name, word) in [("erp", "erp"), ("my erp", "'my erp'"), ("a'b", "'a'\\''b'"), ("", "''")] {
            assert_eq!(quoted(name), word);
        }
    }
}

//! What the configuration in force, or one with other expressions, would make of a message: nothing is stored, nothing sent.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::admin::what_if::{Comparison, Fault, Other};
use crate::admin::workbench::{Message, Trial};
use crate::clock::SharedClock;
use crate::config::{self, Loaded, Problems};
use crate::facts::Facts;
use crate::preview::{self, Made, Report, Side};
use crate::store::StoredNotification;

/// What comes of a trial, as `POST /api/v1/preview` answers.
///
/// # Errors
/// Why nothing can be tried, in words.
pub(super) fn tried(trial: &Trial) -> Result<Json, String> {
    let loaded = config::load_stored_without_secrets(&trial.stored)
        .map_err(|problems| format!("the configuration in force cannot be used to try things: {problems}"))?;
    let edited = match &trial.edit {
        None => None,
        Some(edit) => {
            let variant = config::with_route(&trial.stored, &edit.route, &edit.map, edit.when.as_deref())?;
            match config::load_stored_without_secrets(&variant) {
                Ok(edited) => Some(edited),
                Err(problems) => return Ok(json!({"problems": problems_of(&problems)})),
            }
        }
    };
    let messages = messages(&loaded, trial)?;
    let new = edited.as_ref().unwrap_or(&loaded);
    let (now, before) = (Side::new(new), Side::new(&loaded));
    let each = messages.iter().map(|message| match message {
        Err(reason) => json!({"unreadable": reason}),
        Ok(stored) => {
            let (made, was) = (told(&now, stored), edited.as_ref().map(|_| told(&before, stored)));
            json!({
                "notification_id": stored.notification_id, "record_type": stored.record_type,
                "record_id": stored.record_id, "source": stored.source, "made": made, "was": was,
            })
        }
    });
    let warnings = edited.as_ref().map(|edited| &edited.facts).map(|facts| new_warnings(&loaded.facts, facts));
    Ok(json!({"notifications": each.collect::<Vec<_>>(), "problems": [], "warnings": warnings.unwrap_or_default()}))
}

/// So long notifications are compared.
const COMPARING: Duration = Duration::from_secs(10);
/// So many of them are shown one by one.
const MESSAGES: usize = 50;

/// What another configuration would make other of stored notifications.
///
/// # Errors
/// Why nothing can be compared.
pub(super) fn compared(comparison: &Comparison, clock: &SharedClock) -> Result<Json, Fault> {
    let Comparison { stored, version, other, views } = comparison;
    let old = config::load_stored_without_secrets(stored).map_err(|problems| {
        Fault::Reason(format!("the configuration in force cannot be used to try things: {problems}"))
    })?;
    let said = |problems: &Problems| problems.0.iter().map(ToString::to_string).collect();
    let new = match other {
        Other::File(path) => {
            config::load_without_secrets(path).map_err(|problems| Fault::Wrong(said(&problems), Vec::new()))?
        }
        Other::Edited(edit) => {
            let variant = config::with_route(stored, &edit.route, &edit.map, edit.when.as_deref());
            config::load_stored_without_secrets(&variant.map_err(Fault::Reason)?)
                .map_err(|problems| Fault::Wrong(said(&problems), problems_of(&problems)))?
        }
    };
    let masks = (old.plan.mask.with(&new.plan.mask), old.masks_with(&new));
    let mut report = Report::new(version.0, &masks.0, masks.1).with_messages(MESSAGES);
    let sides = (&Side::new(&old), &Side::new(&new));
    let begun = clock.monotonic();
    let mut complete = true;
    for view in views {
        complete = clock.monotonic().saturating_sub(begun) < COMPARING;
        if !complete {
            break;
        }
        report.look(view, sides);
    }
    let mut document = report.json();
    if let Some(document) = document.as_object_mut() {
        document.insert("messages".to_owned(), json!(report.messages()));
        document.insert("complete".to_owned(), json!(complete));
    }
    Ok(document)
}

fn problems_of(problems: &Problems) -> Vec<Json> {
    let each = problems.0.iter().filter(|problem| problem.severity == config::Severity::Error);
    each.map(|problem| json!({"key": problem.key, "reason": problem.reason, "suggestion": problem.suggestion}))
        .collect()
}

fn new_warnings(before: &Facts, after: &Facts) -> Vec<String> {
    after.warnings.iter().filter(|warning| !before.warnings.contains(warning)).cloned().collect()
}

/// The notifications that are tried.
fn messages(loaded: &Loaded, trial: &Trial) -> Result<Vec<Result<StoredNotification, String>>, String> {
    match &trial.message {
        Message::Stored(stored) => Ok(vec![Ok(StoredNotification::clone(stored))]),
        Message::Envelope { source, xml } => {
            let named = loaded.sources.iter().find(|known| source.as_ref().is_none_or(|name| known.name == *name));
            let source = named.ok_or_else(|| match source {
                Some(name) => format!("the configuration in force has no source {name:?}"),
                None => "the configuration in force has no source".to_owned(),
            })?;
            preview::notifications(loaded, source, xml.as_bytes()).map_err(|reason| format!("the envelope: {reason}"))
        }
    }
}

/// What each route makes.
fn told(side: &Side<'_>, stored: &StoredNotification) -> Json {
    let making = side.make(stored);
    let made = making.routes.iter().map(|(route, made)| call(side, stored, route, made));
    let passed =
        making.passed.iter().map(|(route, because)| json!({"route": route, "matches": false, "because": because}));
    json!({"refused": making.refused, "routes": made.chain(passed).collect::<Vec<_>>()})
}

fn call(side: &Side<'_>, stored: &StoredNotification, route: &str, made: &Made) -> Json {
    let Made { destination, lane, call } = made;
    let masking = side.masking(stored, route);
    let hide_lane = |lane: &String| match &masking {
        Some(masking) => masking.hide_lane(lane, &stored.record_id),
        None => lane.clone(),
    };
    let lane = lane.as_ref().map(hide_lane);
    let mut told = json!({"route": route, "matches": true, "destination": destination, "lane": lane});
    let mask = side.mask();
    let (key, value) = match call {
        Err(error) => ("dead", json!(mask.apply(&error.reason))),
        Ok(call) => {
            let headers = call.headers.iter().map(|(name, value)| {
                let value = mask.apply(&value.masked());
                let shown = masking.as_ref().map_or(value.clone(), |masking| masking.hide_header(name, &value));
                (name.clone(), shown)
            });
            let headers: Vec<(String, String)> = headers.collect();
            let body = mask.apply(&String::from_utf8_lossy(&call.body));
            let line = format!("{} {}", call.method, mask.apply(&call.url.masked()));
            ("call", json!({"request_line": line, "headers": headers, "request": body}))
        }
    };
    if let Some(told) = told.as_object_mut() {
        told.insert(key.to_owned(), value);
    }
    match masking {
        Some(masking) => masking.hide_document(&told),
        None => told,
    }
}

//! What goes into a store sealed and comes out of it open; no I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::cipher::{CipherError, Keyring, is_marked, key_of};
use crate::delivery::Planned;
use crate::outcome::{self, Kept};
use crate::store::attempt;
use crate::store::payload::{PayloadTable, Payloads, searched};
use crate::store::{
    Accept, AttemptView, Claimed, Content, DeliveryView, Edit, IncomingKind, NotificationView, RefusedPost, SavedView,
    Settle, Settlement, StoredNotification, SystemState,
};

type Done = Result<(), CipherError>;

// The kinds of values. Reasons travel from one table to another, so all of them are one kind.
const XML: &str = "xml";
const REASON: &str = "reason";
const REQUEST_LINE: &str = "request_line";
const REQUEST: &str = "request";
const RESPONSE: &str = "response";
const FAULT: &str = "fault";
const REPEAT: &str = "repeat_key";
const BODY: &str = "body";
/// Of values that were kept of answers: those that are searched, by what they are in JSON, and all others.
const TEXT: &str = "kept text";
const NUMBER: &str = "kept number";
const BOOLEAN: &str = "kept boolean";
const STRUCTURE: &str = "kept structure";
/// Of what notifications are found by.
const SEARCHED: &str = "searched";
/// Of what lists are asked.
const QUERY: &str = "query";

fn replace(text: &mut String, with: impl FnOnce(String) -> Result<String, CipherError>) -> Done {
    *text = with(std::mem::take(text))?;
    Ok(())
}

fn replace_maybe(text: &mut Option<String>, with: impl FnOnce(String) -> Result<String, CipherError>) -> Done {
    match text {
        Some(text) => replace(text, with),
        None => Ok(()),
    }
}

/// What cannot be opened is shown by the reason why.
fn shown(keys: &Keyring, kind: &str, text: &mut String) {
    if is_marked(text) {
        *text = keys.open(kind, std::mem::take(text)).unwrap_or_else(|error| format!("({error})"));
    }
}

fn shown_maybe(keys: &Keyring, kind: &str, text: &mut Option<String>) {
    if let Some(text) = text {
        shown(keys, kind, text);
    }
}

pub(super) fn seal_accept(keys: &Keyring, accept: &mut Accept) -> Done {
    replace_maybe(&mut accept.quarantine, |text| keys.seal(REASON, text))?;
    for incoming in &mut accept.notifications {
        replace(&mut incoming.xml, |text| keys.seal(XML, text))?;
        if let IncomingKind::Unreadable(reason) = &mut incoming.kind {
            replace(reason, |text| keys.seal(REASON, text))?;
        }
        seal_searched(keys, &mut incoming.search)?;
        seal_planned(keys, &mut incoming.deliveries)?;
    }
    Ok(())
}

pub(super) fn seal_edit(keys: &Keyring, edit: &mut Edit) -> Done {
    replace(&mut edit.xml, |text| keys.seal(XML, text))?;
    seal_searched(keys, &mut edit.search)
}

fn seal_searched(keys: &Keyring, fields: &mut BTreeMap<String, String>) -> Done {
    fields.values_mut().try_for_each(|value| replace(value, |text| keys.seal_equal(SEARCHED, text)))
}

/// All forms in which what a notification is found by may stand in the store.
pub(super) fn sought_as(keys: &Keyring, text: &str) -> Vec<String> {
    keys.equals(SEARCHED, text)
}

pub(super) fn seal_planned(keys: &Keyring, planned: &mut [Planned]) -> Done {
    planned.iter_mut().try_for_each(|planned| replace_maybe(&mut planned.dead, |text| keys.seal(REASON, text)))
}

pub(super) fn seal_refused(keys: &Keyring, post: &mut RefusedPost) -> Done {
    post.cut();
    replace(&mut post.body, |text| keys.seal(BODY, text))?;
    replace(&mut post.reason, |text| keys.seal(REASON, text))
}

pub(super) fn seal_settle(keys: &Keyring, settle: &mut Settle) -> Done {
    replace(&mut settle.reason, |text| keys.seal(REASON, text))?;
    replace_maybe(&mut settle.repeat_key, |text| keys.seal_equal(REPEAT, text))?;
    match &mut settle.settlement {
        Settlement::Dead { reason, .. } | Settlement::Held { reason } | Settlement::Superseded { reason } => {
            replace(reason, |text| keys.seal(REASON, text))?;
        }
        Settlement::Delivered | Settlement::Waiting { .. } => {}
    }
    let record = &mut settle.record;
    replace(&mut record.request_line, |text| keys.seal(REQUEST_LINE, text))?;
    replace(&mut record.request, |text| keys.seal(REQUEST, text))?;
    replace(&mut record.response, |text| keys.seal(RESPONSE, text))?;
    if let Some(fault) = &mut record.fault {
        seal_fault(keys, fault)?;
    }
    for kept in &mut settle.kept {
        seal_kept(keys, kept)?;
    }
    Ok(())
}

fn seal_fault(keys: &Keyring, fault: &mut outcome::Fault) -> Done {
    replace(&mut fault.string, |text| keys.seal(FAULT, text))?;
    replace_maybe(&mut fault.actor, |text| keys.seal(FAULT, text))?;
    replace_maybe(&mut fault.detail, |text| keys.seal(FAULT, text))
}

fn seal_kept(keys: &Keyring, kept: &mut Kept) -> Done {
    kept.value = seal_value(keys, std::mem::take(&mut kept.value))?;
    replace_maybe(&mut kept.warning, |text| keys.seal(REASON, text))
}

/// A value that is searched stays a text; any other becomes a list of one, which no search finds.
fn seal_value(keys: &Keyring, value: Json) -> Result<Json, CipherError> {
    let is_clear = keys.active().is_none();
    let found_by = |kind, text: String| keys.seal_equal(kind, text).map(Json::String);
    match value {
        Json::String(text) => found_by(TEXT, text),
        Json::Number(number) if !is_clear => found_by(NUMBER, number.to_string()),
        Json::Bool(boolean) if !is_clear => found_by(BOOLEAN, boolean.to_string()),
        // In clear a list of one text must not look like what is sealed.
        Json::Array(items) if is_clear => {
            let is_one = items.len() == 1;
            let written = items.into_iter().map(|item| match item {
                Json::String(text) if is_one => found_by(STRUCTURE, text),
                other @ (Json::Null
                | Json::Bool(_)
                | Json::Number(_)
                | Json::String(_)
                | Json::Array(_)
                | Json::Object(_)) => Ok(other),
            });
            written.collect::<Result<Vec<_>, _>>().map(Json::Array)
        }
        other @ (Json::Array(_) | Json::Object(_)) if !is_clear => {
            Ok(Json::Array(vec![Json::String(keys.seal(STRUCTURE, other.to_string())?)]))
        }
        other @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => Ok(other),
    }
}

fn open_value(keys: &Keyring, value: &Json) -> Result<Json, CipherError> {
    let parsed = |text: String| serde_json::from_str(&text).unwrap_or(Json::String(text));
    match value {
        Json::String(text) if is_marked(text) => match keys.open(TEXT, text.clone()) {
            Ok(text) => Ok(Json::String(text)),
            // What it was is bound to it, and said nowhere else.
            Err(CipherError::Broken(_)) => {
                keys.open(NUMBER, text.clone()).or_else(|_| keys.open(BOOLEAN, text.clone())).map(parsed)
            }
            Err(error) => Err(error),
        },
        Json::Array(items) => match items.as_slice() {
            [Json::String(text)] if key_of(text).is_some() => keys.open(STRUCTURE, text.clone()).map(parsed),
            [Json::String(text)] if is_marked(text) => {
                keys.open(STRUCTURE, text.clone()).map(|text| Json::Array(vec![Json::String(text)]))
            }
            _ => Ok(value.clone()),
        },
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => Ok(value.clone()),
    }
}

/// All forms in which a searched value may stand in the store.
pub(super) fn searched_as(keys: &Keyring, text: &str) -> Vec<String> {
    let mut forms: Vec<String> = [TEXT, NUMBER, BOOLEAN].iter().flat_map(|kind| keys.equals(kind, text)).collect();
    forms.sort_unstable();
    forms.dedup();
    forms
}

pub(super) fn open_notification(keys: &Keyring, notification: &mut StoredNotification) {
    open_xml(keys, &mut notification.xml);
}

pub(super) fn open_xml(keys: &Keyring, xml: &mut String) {
    shown(keys, XML, xml);
}

/// What cannot be opened is marked so, and stays as it is.
pub(super) fn open_content(keys: &Keyring, content: &mut Content) {
    match keys.open(XML, content.xml.clone()) {
        Ok(xml) => content.xml = xml,
        Err(_) => content.is_sealed = true,
    }
}

/// Whether a record can be opened.
pub(super) fn check_notification(keys: &Keyring, notification: &StoredNotification) -> Done {
    keys.open(XML, notification.xml.clone()).map(drop)
}

pub(super) fn open_notification_view(keys: &Keyring, view: &mut NotificationView) {
    open_notification(keys, &mut view.notification);
    shown_maybe(keys, REASON, &mut view.reason);
    view.search.values_mut().for_each(|value| shown(keys, SEARCHED, value));
}

pub(super) fn open_delivery(keys: &Keyring, view: &mut DeliveryView) {
    shown_maybe(keys, REASON, &mut view.reason);
    view.search.values_mut().for_each(|value| shown(keys, SEARCHED, value));
    for value in view.kept.values_mut() {
        *value = open_value(keys, value).unwrap_or_else(|error| Json::String(format!("({error})")));
    }
    for warning in view.kept_warnings.values_mut() {
        shown(keys, REASON, warning);
    }
}

pub(super) fn open_attempt(keys: &Keyring, view: &mut AttemptView) {
    shown_maybe(keys, REASON, &mut view.reason);
    let record = &mut view.record;
    shown(keys, REQUEST_LINE, &mut record.request_line);
    shown(keys, REQUEST, &mut record.request);
    shown(keys, RESPONSE, &mut record.response);
    if let Some(fault) = &mut record.fault {
        shown(keys, FAULT, &mut fault.string);
        shown_maybe(keys, FAULT, &mut fault.actor);
        shown_maybe(keys, FAULT, &mut fault.detail);
    }
}

pub(super) fn open_refused(keys: &Keyring, post: &mut RefusedPost) {
    shown(keys, BODY, &mut post.body);
    shown(keys, REASON, &mut post.reason);
}

pub(super) fn seal_state(keys: &Keyring, state: &mut SystemState) -> Done {
    if let Some(pause) = &mut state.paused {
        replace(&mut pause.reason, |text| keys.seal(REASON, text))?;
    }
    if let Some(outage) = &mut state.breaker {
        replace(&mut outage.reason, |text| keys.seal(REASON, text))?;
    }
    Ok(())
}

pub(super) fn open_state(keys: &Keyring, state: &mut SystemState) {
    if let Some(pause) = &mut state.paused {
        shown(keys, REASON, &mut pause.reason);
    }
    if let Some(outage) = &mut state.breaker {
        shown(keys, REASON, &mut outage.reason);
    }
}

pub(super) fn seal_view(keys: &Keyring, view: &mut SavedView) -> Done {
    replace(&mut view.query, |text| keys.seal(QUERY, text))
}

pub(super) fn open_view(keys: &Keyring, view: &mut SavedView) {
    shown(keys, QUERY, &mut view.query);
}

/// Opens what a call is made of: nothing of it may be guessed.
pub(super) fn open_claimed(keys: &Keyring, claimed: &mut Claimed) -> Done {
    replace(&mut claimed.notification.xml, |text| keys.open(XML, text))?;
    if let Some((repeat, _)) = &mut claimed.repeat {
        replace(repeat, |text| keys.open(REPEAT, text))?;
    }
    let after = std::mem::take(&mut claimed.after);
    let opened = after.into_iter().map(|(name, value)| open_value(keys, &value).map(|value| (name, value)));
    claimed.after = opened.collect::<Result<Map<_, _>, _>>()?;
    Ok(())
}

/// A row's payloads as they would be written now; none where they stand so already.
pub(super) fn reseal(
    keys: &Keyring,
    table: &PayloadTable,
    payloads: &Payloads,
) -> Result<Option<Payloads>, CipherError> {
    let mut anew = Vec::with_capacity(payloads.len());
    for (column, written) in table.columns.iter().zip(payloads) {
        let cell = written.as_ref().map(|written| reseal_cell(keys, table.name, column, written)).transpose()?;
        anew.push(cell);
    }
    // What a value is searched by follows from it.
    if table.name == "kept"
        && let [Some(value), text, _] = anew.as_mut_slice()
    {
        *text = serde_json::from_str(value).ok().as_ref().and_then(searched);
    }
    Ok((anew != *payloads).then_some(anew))
}

fn reseal_cell(keys: &Keyring, table: &str, column: &str, written: &str) -> Result<String, CipherError> {
    let owned = || written.to_owned();
    match (table, column) {
        ("attempt", "fault") => {
            let Ok(Some(mut fault)) = attempt::read_fault(Some(written)) else { return Ok(owned()) };
            let outdated = |text: &String| keys.is_outdated(text);
            let texts = [Some(&fault.string), fault.actor.as_ref(), fault.detail.as_ref()];
            if !texts.into_iter().flatten().any(outdated) {
                return Ok(owned());
            }
            let anew = |text| keys.open(FAULT, text);
            replace(&mut fault.string, anew)?;
            replace_maybe(&mut fault.actor, anew)?;
            replace_maybe(&mut fault.detail, anew)?;
            seal_fault(keys, &mut fault)?;
            Ok(attempt::write_fault(Some(&fault)).ok().flatten().unwrap_or_else(owned))
        }
        ("kept", "value") => {
            let Ok(value) = serde_json::from_str::<Json>(written) else { return Ok(owned()) };
            let sealed = match &value {
                Json::Array(items) => items.first().and_then(Json::as_str).filter(|_| items.len() == 1),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => value.as_str(),
            };
            let key = sealed.and_then(key_of);
            if value.is_null() || value.as_str() == Some("") || key == keys.active() {
                return Ok(owned());
            }
            // What is no JSON of ours any more is left to be read as it stands.
            Ok(seal_value(keys, open_value(keys, &value)?)?.to_string())
        }
        // It follows from the value.
        ("kept", "text") => Ok(owned()),
        ("searched", _) if keys.is_outdated(written) => keys.seal_equal(SEARCHED, keys.open(SEARCHED, owned())?),
        (_, "repeat_key") if keys.is_outdated(written) => keys.seal_equal(REPEAT, keys.open(REPEAT, owned())?),
        (_, column) if keys.is_outdated(written) => {
            let kind = kind_of(column);
            keys.seal(kind, keys.open(kind, owned())?)
        }
        _ => Ok(owned()),
    }
}

fn kind_of(column: &str) -> &'static str {
    match column {
        "xml" => XML,
        "request_line" => REQUEST_LINE,
        "request" => REQUEST,
        "response" => RESPONSE,
        "body" => BODY,
        "query" => QUERY,
        _ => REASON,
    }
}

/// Every key that a row's payloads were sealed with; an empty one for what stands in clear.
pub(super) fn keys_of(table: &PayloadTable, payloads: &Payloads) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |text: &str| {
        if !text.is_empty() {
            found.push(key_of(text).unwrap_or_default().to_owned());
        }
    };
    for (column, written) in table.columns.iter().zip(payloads) {
        let Some(written) = written else { continue };
        match (table.name, *column) {
            ("attempt", "fault") => {
                if let Ok(Some(fault)) = attempt::read_fault(Some(written)) {
                    [Some(&fault.string), fault.actor.as_ref(), fault.detail.as_ref()]
                        .into_iter()
                        .flatten()
                        .for_each(|text| note(text));
                }
            }
            ("kept", "value") => match serde_json::from_str(written).unwrap_or(Json::Null) {
                Json::Null => {}
                Json::String(text) => note(&text),
                Json::Array(items) if items.len() == 1 && items.first().is_some_and(Json::is_string) => {
                    note(items.first().and_then(Json::as_str).unwrap_or_default());
                }
                Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => note("in clear"),
            },
            ("kept", "text") => {}
            _ => note(written),
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::payload::PAYLOADS;

    fn ring(active: &str) -> Keyring {
        let mut ring = Keyring::default();
        ring.add("one", &"01".repeat(32)).unwrap();
        ring.add("two", &"02".repeat(32)).unwrap();
        assert!(active.is_empty() || ring.activate(active));
        ring
    }

    #[test]
    fn a_kept_value_comes_back_as_it_was_and_is_found_as_it_was_written() {
        let keys = ring("one");
        for (value, text) in [
            (json!("4711"), Some("4711")),
            (json!(4711), Some("4711")),
            (json!(true), Some("true")),
            (json!(""), Some("")),
            (json!(null), None),
            (json!(["a"]), None),
            (json!({"a": [1, "x"]}), None),
            (serde_json::from_str("1.50").unwrap(), Some("1.50")),
            (json!("\u{1}1:k9:AAAA"), Some("\u{1}1:k9:AAAA")),
            (json!(["\u{1}1:k9:AAAA"]), None),
            (json!(["\u{1}0:a"]), None),
        ] {
            // Without a key it comes back as it was too, whatever it looks like.
            for clear in [Keyring::default(), ring("")] {
                let written = seal_value(&clear, value.clone()).unwrap();
                assert_eq!(open_value(&clear, &written).unwrap(), value);
                assert_eq!(open_value(&keys, &written).unwrap(), value);
            }
            let sealed = seal_value(&keys, value.clone()).unwrap();
            assert_eq!(open_value(&keys, &sealed).unwrap(), value);
            match (searched(&sealed), text) {
                (Some(written), Some(text)) => assert!(searched_as(&ring("two"), text).contains(&written), "{value}"),
                (None, None) => assert!(value.is_null() || !sealed.to_string().contains("a\""), "{sealed}"),
                (written, text) => panic!("{value}: {written:?} for {text:?}"),
            }
        }
    }

    #[test]
    fn a_row_is_written_anew_once_and_back_into_clear() {
        let fault = outcome::Fault {
            code: "Server".to_owned(),
            string: "Jane is locked".to_owned(),
            detail: Some("<who>Jane</who>".to_owned()),
            ..outcome::Fault::default()
        };
        let some = |text: &str| Some(text.to_owned());
        let rows: [Payloads; 8] = [
            vec![some("<a>Jane</a>"), None],
            vec![some("POST /Jane"), some("Jane"), some(""), attempt::write_fault(Some(&fault)).unwrap(), some("Jane")],
            vec![some("Jane"), some("Server Jane")],
            vec![some("\"Jane\""), some("Jane"), None],
            vec![some("Jane"), some("Jane")],
            vec![None, some("Jane")],
            vec![some("Jane")],
            vec![some("search=Name=Jane")],
        ];
        let (one, two, clear) = (ring("one"), ring("two"), ring(""));
        for (table, row) in PAYLOADS.iter().zip(&rows) {
            assert_eq!(reseal(&clear, table, row), Ok(None), "{}: it stands in clear", table.name);
            let sealed = reseal(&one, table, row).unwrap().unwrap();
            assert!(!format!("{sealed:?}").contains("Jane"), "{sealed:?}");
            assert_eq!(keys_of(table, &sealed), ["one"], "{}", table.name);
            assert_eq!(reseal(&one, table, &sealed), Ok(None), "{}", table.name);
            let turned = reseal(&two, table, &sealed).unwrap().unwrap();
            assert_eq!(keys_of(table, &turned), ["two"], "{}", table.name);
            assert_eq!(reseal(&clear, table, &turned).unwrap().unwrap(), *row, "{}", table.name);
            assert_eq!(keys_of(table, row), [""], "{}", table.name);
        }
        let lost = reseal(&Keyring::default(), &PAYLOADS[0], &reseal(&one, &PAYLOADS[0], &rows[0]).unwrap().unwrap());
        assert_eq!(lost, Err(CipherError::UnknownKey("one".to_owned())));
    }
}

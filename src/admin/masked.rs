//! What people see less the fields that are masked, and how somebody who may sees them after all: that is noted.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::HttpResponse;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::account::Right;
use crate::admin::access::{self, Caller, walk};
use crate::admin::entry::lacking;
use crate::admin::person::Person;
use crate::admin::{Admin, api};
use crate::delivery::DeliveryId;
use crate::issue::{Issue, without_values};
use crate::masking::{HIDDEN, Masking, Masks};
use crate::store::{AttemptView, By, DeliveryView, NotificationView, RefusedPost, StoreResult, StoredNotification};
use crate::why::Shut;

/// What a detail is asked with.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// With masked fields in clear.
    #[serde(default)]
    pub(super) unmask: bool,
    /// Why.
    #[serde(default)]
    pub(super) reason: String,
}

/// Whether masked fields are shown in clear: whoever asks for it must have the right, and it is noted before anything is
/// shown.
///
/// # Errors
/// The answer in place of what was asked for.
pub(super) async fn unmasks(
    admin: &Admin,
    asked: Asked,
    caller: &Caller,
    person: Person,
    object: (&'static str, &str),
) -> Result<bool, HttpResponse> {
    if !asked.unmask {
        return Ok(false);
    }
    for right in [Right::Payload, Right::Unmask] {
        if !caller.has(right) {
            return Err(lacking(right));
        }
    }
    if asked.reason.trim().is_empty() {
        return Err(api::problem(400, "say in reason why masked fields are to be seen (--reason)"));
    }
    if asked.reason.len() > api::REASON_BYTES_MAX {
        return Err(api::problem(400, "the reason is too long"));
    }
    let (by, object_id) = (By::new(person.0, asked.reason), object.1.to_owned());
    let deed = crate::store::Deed { verb: "unmask".to_owned(), object: object.0, object_id, ..admin.deed(by, "shown") };
    // What cannot be noted is not shown.
    match admin.store.audit(deed).await {
        Ok(_) => Ok(true),
        Err(error) => Err(api::from_store(&error)),
    }
}

/// Records that are read at once: each may be as long as a POST.
const RECORDS_AT_ONCE: usize = 20;

/// Hides what is masked of notifications. Lists bring no XML; it is read of those that have a reason to be hidden in.
///
/// # Errors
/// When it cannot be read: then it is not known what is to be hidden.
pub(super) async fn notifications(admin: &Admin, views: &mut [NotificationView]) -> StoreResult<()> {
    let terms = admin.keep.terms.load_full();
    for some in views.chunks_mut(RECORDS_AT_ONCE) {
        let lacks = |view: &&NotificationView| {
            let NotificationView { notification, reason, .. } = view;
            (reason.is_some() || !view.search.is_empty())
                && notification.xml.is_empty()
                && terms.masks.hides(&notification.source)
        };
        let records = records(admin, some.iter().filter(lacks).map(|view| view.notification.row)).await?;
        for view in some {
            let StoredNotification { row, source, xml, .. } = &mut view.notification;
            let record = records.get(row).unwrap_or(xml);
            let Some(masking) = terms.masks.of_notification(source, record) else { continue };
            *xml = masking.hide(xml);
            hide_fields(&masking, &mut view.search);
            view.reason = view.reason.take().map(|reason| masking.hide(&reason));
        }
    }
    Ok(())
}

/// Hides what is masked of what a notification would become.
pub(super) fn considered(admin: &Admin, revisions: &[NotificationView], document: Json) -> Json {
    let terms = admin.keep.terms.load();
    let Some(view) = revisions.last() else { return document };
    let StoredNotification { source, xml, record_id, .. } = &view.notification;
    let Some(masking) = terms.masks.of_record(source, xml) else { return document };
    let mut hidden = masking.hide_document(&document);
    for route in hidden.get_mut("routes").and_then(Json::as_array_mut).into_iter().flatten() {
        let name = route.get("name").and_then(Json::as_str).unwrap_or_default();
        let masking = terms.masks.of_call(source, name, xml);
        if let (Some(masking), Some(Json::String(lane))) = (masking, route.get_mut("lane")) {
            *lane = masking.hide_lane(lane, record_id);
        }
    }
    hidden
}

/// Hides what is masked of deliveries: of their reasons, kept values and lanes.
///
/// # Errors
/// As for [`notifications`].
pub(super) async fn deliveries(admin: &Admin, views: &mut [DeliveryView]) -> StoreResult<()> {
    let terms = admin.keep.terms.load_full();
    let says = |view: &DeliveryView| {
        let says_nothing =
            view.reason.is_none() && view.lane.is_none() && view.kept.is_empty() && view.search.is_empty();
        !says_nothing && terms.masks.hides(&view.source)
    };
    for some in views.chunks_mut(RECORDS_AT_ONCE) {
        let speaking = some.iter().filter(|view| says(view));
        let records = records(admin, speaking.map(|view| view.notification_row)).await?;
        for view in some.iter_mut().filter(|view| says(view)) {
            let xml = records.get(&view.notification_row).map_or("", String::as_str);
            if let Some(masking) = terms.masks.of_call(&view.source, &view.route, xml) {
                hide(view, &masking);
            }
        }
    }
    Ok(())
}

fn hide_fields(masking: &Masking, fields: &mut BTreeMap<String, String>) {
    for (name, value) in fields {
        let shown = masking.hide_value(name, &Json::from(value.as_str()));
        *value = shown.as_str().unwrap_or(HIDDEN).to_owned();
    }
}

fn hide(view: &mut DeliveryView, masking: &Masking) {
    hide_fields(masking, &mut view.search);
    view.reason = view.reason.take().map(|reason| masking.hide(&reason));
    view.lane = view.lane.take().map(|lane| masking.hide_lane(&lane, &view.record_id));
    for warning in view.kept_warnings.values_mut() {
        *warning = masking.hide(warning);
    }
    for (name, value) in &mut view.kept {
        *value = masking.hide_value(name, value);
    }
}

/// Hides what is masked of a delivery and its attempts.
///
/// # Errors
/// As for [`notifications`].
pub(super) async fn delivery(admin: &Admin, view: &mut DeliveryView, attempts: &mut [AttemptView]) -> StoreResult<()> {
    let terms = admin.keep.terms.load_full();
    if !terms.masks.hides(&view.source) {
        return Ok(());
    }
    let xml = xml_of(admin, view.notification_row).await?;
    let Some(masking) = terms.masks.of_call(&view.source, &view.route, &xml) else { return Ok(()) };
    hide(view, &masking);
    for attempt in attempts {
        attempt.reason = attempt.reason.take().map(|reason| masking.hide(&reason));
        let record = &mut attempt.record;
        // Short values could be tried until it fits.
        record.call_hash = None;
        record.request_line = masking.hide_call(&record.request_line);
        record.request = masking.hide_call(&record.request);
        record.response = masking.hide_call(&record.response);
        if let Some(fault) = &mut record.fault {
            fault.string = masking.hide(&fault.string);
            fault.actor = fault.actor.take().map(|actor| masking.hide(&actor));
            fault.detail = fault.detail.take().map(|detail| masking.hide_call(&detail));
        }
    }
    Ok(())
}

/// The records of notifications, by their rows.
async fn records(admin: &Admin, rows: impl Iterator<Item = i64>) -> StoreResult<BTreeMap<i64, String>> {
    // Deliveries of one notification stand together.
    let rows: BTreeSet<i64> = rows.collect();
    if rows.is_empty() { Ok(BTreeMap::new()) } else { admin.store.records(rows.into_iter().collect()).await }
}

/// The record that a delivery carries; empty where it was pruned.
async fn xml_of(admin: &Admin, row: i64) -> StoreResult<String> {
    Ok(records(admin, std::iter::once(row)).await?.remove(&row).unwrap_or_default())
}

/// Hides what is masked of POSTs that were refused: by the names of fields alone, for they may be anything.
pub(super) fn refused(masks: &Masks, posts: &mut [RefusedPost]) {
    for post in posts {
        let Some(masking) = masks.of_names(&post.source) else { continue };
        post.body = masking.hide(&post.body);
        post.reason = masking.hide(&post.reason);
    }
}

/// Hides what is masked of issues: of their examples, and of what these have in common.
///
/// # Errors
/// As for [`notifications`].
pub(super) async fn issues(admin: &Admin, issues: &mut [Issue]) -> StoreResult<()> {
    let terms = admin.keep.terms.load_full();
    if terms.masks.is_empty() {
        return Ok(());
    }
    for issue in issues {
        // One that was replayed or pruned meanwhile shows nothing of it.
        let Ok((view, _)) = admin.store.delivery(issue.sample).await else {
            HIDDEN.clone_into(&mut issue.example);
            continue;
        };
        if !terms.masks.hides(&view.source) {
            continue;
        }
        let xml = xml_of(admin, view.notification_row).await?;
        if let Some(masking) = terms.masks.of_call(&view.source, &view.route, &xml) {
            issue.cause = masking.hide_cause(&issue.cause, &issue.example);
            issue.example = masking.hide(&issue.example);
        }
    }
    Ok(())
}

/// Hides what is masked of a document that says what would become of a delivery.
///
/// # Errors
/// As for [`notifications`].
pub(super) async fn document(admin: &Admin, id: DeliveryId, document: Json) -> StoreResult<Json> {
    let terms = admin.keep.terms.load_full();
    let (view, _) = admin.store.delivery(id).await?;
    if !terms.masks.hides(&view.source) {
        return Ok(document);
    }
    let xml = xml_of(admin, view.notification_row).await?;
    let of_route = |route: &str| terms.masks.of_call(&view.source, route, &xml);
    // A replay may go along another route than the attempts of before.
    let other = document.pointer("/replay/route").and_then(Json::as_str).and_then(of_route);
    let masking = of_route(&view.route).into_iter().chain(other).reduce(Masking::with);
    let mut hidden = masking.map_or_else(|| document.clone(), |masking| masking.hide_document(&document));
    // What was edited could be tried until it fits.
    forget_hashes(&mut hidden);
    Ok(hidden)
}

fn forget_hashes(document: &mut Json) {
    walk(document, &mut |key, value| {
        if key == "same_as_last" || key.ends_with("sha256") {
            *value = Json::Null;
        }
        true
    });
}

/// What is said of systems, less what it quotes of anybody's deliveries where fields are masked: whose they are is not known.
pub(super) fn of_systems(admin: &Admin, mut document: Json) -> Json {
    if !admin.keep.terms.load().masks.is_empty() {
        access::unquote(&mut document);
    }
    document
}

/// The same of why a system is not called, wherever that is said.
pub(super) fn shut(admin: &Admin, shut: Shut) -> Shut {
    let is_whole = admin.keep.terms.load().masks.is_empty();
    if is_whole { shut } else { shut.with_reason(without_values) }
}

/// What an alarm says, as the caller may see it: those about systems quote what was answered to anybody's delivery.
pub(super) fn alarm(admin: &Admin, caller: &Caller, alarm: &str, message: String) -> String {
    let is_whole = caller.has(Right::Payload) && admin.keep.terms.load().masks.is_empty();
    if is_whole || !matches!(alarm, "paused" | "breaker") { message } else { without_values(&message) }
}

/// Why something could not be done with a delivery, less what is masked of it.
pub(super) async fn reason(admin: &Admin, id: DeliveryId, reason: String) -> String {
    let hidden = document(admin, id, Json::from(reason.as_str())).await;
    hidden.ok().and_then(|hidden| hidden.as_str().map(str::to_owned)).unwrap_or_else(|| without_values(&reason))
}

/// Of what was found by a text or a kept value, that in which the caller sees it too: nobody learns by searching what is
/// hidden from him. The views are masked already.
pub(super) fn only_what_shows(views: &mut Vec<DeliveryView>, text: Option<&str>, kept: Option<&str>) {
    if let Some(text) = text {
        views.retain(|view| view.reason.as_ref().is_some_and(|reason| reason.contains(text)));
    }
    if let Some((name, value)) = kept.and_then(|kept| kept.split_once('=')) {
        let is_shown = |shown: &Json| shown.as_str().map_or_else(|| shown.to_string(), str::to_owned) == value;
        views.retain(|view| view.kept.get(name).is_some_and(is_shown));
    }
}

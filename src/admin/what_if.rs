//! `GET /api/v1/config/what-if`: what the configuration file as it stands on disk, or another expression, would make other of
//! the notifications that were stored last. It stores nothing, sends nothing, and changes no configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::entry::lacking;
use crate::admin::names;
use crate::admin::openapi::answers;
use crate::admin::question::Question;
use crate::admin::reload::{self, Refusal};
use crate::admin::workbench::RouteEdit;
use crate::admin::{Admin, api};
use crate::delivery::ConfigVersion;
use crate::store::{NotificationFilter, NotificationView, Store, StoreResult, StoredConfig};

/// So many notifications are compared unless it is said.
const LAST: u32 = 100;
/// And so many at the most.
const LAST_MAX: u32 = 1_000;
/// Records that are read at once: each may be as long as a POST.
const RECORDS_AT_ONCE: usize = 20;
/// No more of them than this, in bytes: they are in memory together.
const BYTES_MAX: usize = 32 << 20;
/// So long it is waited for a comparison that is under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is compared with the configuration in force.
#[derive(Clone, Debug)]
pub enum Other {
    /// The file as it is on disk now.
    File(PathBuf),
    /// The configuration in force with another expression.
    Edited(RouteEdit),
}

/// A comparison that is wanted.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The configuration in force.
    pub stored: StoredConfig,
    /// Its version.
    pub version: ConfigVersion,
    /// What it is compared with.
    pub other: Other,
    /// Over which notifications, with their records.
    pub views: Vec<NotificationView>,
}

/// Why nothing can be compared.
#[derive(Clone, Debug)]
pub enum Fault {
    /// In words.
    Reason(String),
    /// The other configuration is wrong: every mistake in words, and the same for programs.
    Wrong(Vec<String>, Vec<Json>),
}

/// What compares.
pub type Compare = Box<dyn Fn(&Comparison) -> Result<Json, Fault> + Send + Sync>;

/// What compares configurations, one comparison at a time: each loads two of them.
pub struct WhatIf {
    compare: Compare,
    turn: Arc<Mutex<()>>,
}

impl WhatIf {
    /// Compares in this way.
    #[must_use]
    pub fn new(compare: Compare) -> Self {
        Self { compare, turn: Arc::default() }
    }
}

/// Over which notifications.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// How many, from the newest on (default 100, at most 1,000).
    #[param(minimum = 1, maximum = 1_000)]
    last: Option<u32>,
    /// Of this source.
    source: Option<String>,
}

/// What the configuration file as it stands on disk would make other of the notifications that were stored last.
#[utoipa::path(
    get,
    path = "/api/v1/config/what-if",
    params(Asked),
    responses((status = 200, body = answers::Compared), (status = 404), (status = 422))
)]
pub(super) async fn what_if(admin: web::Data<Admin>, asked: Question<Asked>, caller: Caller) -> HttpResponse {
    let Asked { last, source } = asked.into_inner();
    let Some(reloader) = &admin.reload else { return reload::refused(&Refusal::NoFile) };
    let Some(path) = reloader.standing().path else { return reload::refused(&Refusal::NoFile) };
    let named = names::Asked { source: source.as_deref(), ..names::Asked::default() };
    if let Some(fault) = named.fault(&admin).await {
        return fault;
    }
    let files = reloader.changed().await.files;
    match compared(&admin, Other::File(path.into()), last, source).await {
        Ok(mut document) => {
            if let Some(document) = document.as_object_mut() {
                document.insert("changed_files".to_owned(), json!(files));
            }
            if !caller.has(Right::Payload) {
                leave_values(&mut document);
            }
            HttpResponse::Ok().json(document)
        }
        Err(answer) => answer,
    }
}

/// What an edited expression would make other of the last notifications of its source.
///
/// # Errors
/// The answer in place of it.
pub(super) async fn edited(
    admin: &web::Data<Admin>,
    edit: RouteEdit,
    last: u32,
    caller: &Caller,
) -> Result<Json, HttpResponse> {
    let facts = Arc::clone(&admin.keep.terms.load().facts);
    let Some(route) = facts.routes.iter().find(|route| route.summary.route == edit.route) else {
        let reason = format!("the configuration in force has no route {:?}", edit.route);
        return Err(api::problem(422, &reason));
    };
    let source = route.summary.source.clone();
    // An expression of one's own could turn a masked value into another form, which nobody knows again.
    if admin.keep.terms.load().masks.hides(&source) && !caller.has(Right::Unmask) {
        return Err(lacking(Right::Unmask));
    }
    compared(admin, Other::Edited(edit), Some(last), Some(source)).await
}

async fn compared(
    admin: &web::Data<Admin>,
    other: Other,
    last: Option<u32>,
    source: Option<String>,
) -> Result<Json, HttpResponse> {
    let last = last.unwrap_or(LAST);
    if !(1..=LAST_MAX).contains(&last) {
        return Err(api::problem(400, &format!("last is {last}: ask for 1 to {LAST_MAX}")));
    }
    let Some(version) = in_force(admin).await.map_err(|error| api::from_store(&error))? else {
        return Err(api::problem(404, "no configuration is in force yet"));
    };
    let turn = Arc::clone(&admin.what_if.turn).lock_owned();
    let Ok(turn) = tokio::time::timeout(PATIENCE, turn).await else {
        return Err(api::problem(503, "another comparison is under way: ask again in a moment"));
    };
    let stored = admin.store.config(version).await;
    let found = read(admin.store.as_ref(), last, source).await;
    let (stored, (views, is_whole)) = match (stored, found) {
        (Ok(stored), Ok(found)) => (stored, found),
        (Err(error), _) | (_, Err(error)) => return Err(api::from_store(&error)),
    };
    let comparison = Comparison { stored, version, other, views };
    let document = compare(admin, comparison, turn).await?;
    Ok(completed(document, is_whole))
}

/// The version that this gateway goes by.
async fn in_force(admin: &Admin) -> StoreResult<Option<ConfigVersion>> {
    if let Some(reloader) = &admin.reload {
        return Ok(Some(reloader.standing().taken.version));
    }
    Ok(admin.store.taken_configs(1).await?.into_iter().next().map(|taken| taken.version))
}

/// It loads configurations, and WSDLs may be large. Its turn ends with it, whoever goes away.
async fn compare(
    admin: &web::Data<Admin>,
    comparison: Comparison,
    turn: OwnedMutexGuard<()>,
) -> Result<Json, HttpResponse> {
    let admin = Arc::clone(admin);
    let done = web::block(move || {
        let done = (admin.what_if.compare)(&comparison);
        drop(turn);
        done
    });
    match done.await {
        Ok(Ok(document)) => Ok(document),
        Ok(Err(Fault::Reason(reason))) => Err(api::problem(422, &reason)),
        Ok(Err(Fault::Wrong(_, problems))) if !problems.is_empty() => Ok(json!({"problems": problems})),
        Ok(Err(Fault::Wrong(problems, _))) => Err(reload::refused(&Refusal::Wrong(problems))),
        Err(error) => Err(api::problem(503, &error.to_string())),
    }
}

/// Says whether all that was asked for was compared: neither the records nor the time were too much.
fn completed(mut document: Json, is_whole: bool) -> Json {
    if let Some(complete) = document.get_mut("complete") {
        *complete = Json::Bool(is_whole && *complete == Json::Bool(true));
    }
    document
}

/// The last notifications with their records; and whether these were all that were asked for.
async fn read(store: &dyn Store, last: u32, source: Option<String>) -> StoreResult<(Vec<NotificationView>, bool)> {
    let mut filter = NotificationFilter { source, limit: Some(last), ..NotificationFilter::default() };
    let (mut views, mut bytes) = (Vec::new(), 0);
    let wanted = usize::try_from(last).unwrap_or(usize::MAX);
    loop {
        let page = store.notifications(filter.clone()).await?;
        let next = page.next;
        for some in page.rows.chunks(RECORDS_AT_ONCE) {
            let mut records = store.records(some.iter().map(|view| view.notification.row).collect()).await?;
            for view in some {
                let mut view = view.clone();
                view.notification.xml = records.remove(&view.notification.row).unwrap_or_default();
                bytes += view.notification.xml.len();
                views.push(view);
                if views.len() >= wanted {
                    return Ok((views, true));
                }
            }
            if bytes > BYTES_MAX {
                return Ok((views, false));
            }
        }
        let Some(next) = next else { return Ok((views, true)) };
        filter.before = Some(next);
    }
}

/// Counts alone, by what is another: paths and reasons may quote what records hold.
fn leave_values(document: &mut Json) {
    let Some(entries) = document.as_object_mut() else { return };
    entries.insert("messages".to_owned(), json!([]));
    for route in entries.get_mut("routes").and_then(Json::as_array_mut).into_iter().flatten() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for difference in route.get("differences").and_then(Json::as_array).into_iter().flatten() {
            let kind = difference.get("kind").and_then(Json::as_str).unwrap_or_default();
            *counts.entry(kind.to_owned()).or_default() +=
                difference.get("count").and_then(Json::as_u64).unwrap_or_default();
        }
        let left = counts.into_iter().map(|(kind, count)| {
            let words = kind.replace('_', " ");
            json!({"kind": kind, "path": null, "words": words, "count": count, "examples": []})
        });
        let left = left.collect::<Json>();
        if let Some(route) = route.as_object_mut() {
            route.insert("differences".to_owned(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_right_payload_counts_are_left_and_nothing_that_records_hold() {
        let difference = |path: &str, count: u64| {
            json!({"kind": "field", "path": path, "words": format!("field {path}"), "count": count,
                   "examples": [{"notification": "04l", "old": "secret", "new": "secret"}]})
        };
        let mut document = json!({
            "differ": 3, "messages": [{"routes": ["secret"]}],
            "routes": [{"route": "r", "same": 1, "differ": 2, "differences": [difference("secret.a", 2), difference("b", 1)]}],
        });
        leave_values(&mut document);
        assert!(!document.to_string().contains("secret"), "{document}");
        let left = &document["routes"][0];
        assert_eq!((&left["differ"], &left["differences"][0]["count"]), (&json!(2), &json!(3)));
        assert_eq!(left["differences"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_was_cut_anywhere_is_not_complete() {
        for (compared, read, whole) in [(true, true, true), (true, false, false), (false, true, false)] {
            assert_eq!(completed(json!({"complete": compared}), read)["complete"], json!(whole));
        }
    }
}

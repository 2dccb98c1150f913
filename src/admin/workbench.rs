//! `POST /api/v1/preview`: the calls that each route would make of a message, with the expressions in force or with others.
//! It stores nothing, sends nothing, and changes no configuration.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::account::Right;
use crate::admin::access::{self, Caller};
use crate::admin::body::Body;
use crate::admin::entry::lacking;
use crate::admin::openapi::answers;
use crate::admin::{Admin, api, what_if};
use crate::pretty;
use crate::store::{StoredConfig, StoredNotification};

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The configuration in force.
    pub stored: StoredConfig,
    /// What is replaced in it.
    pub edit: Option<RouteEdit>,
    /// What it is tried with.
    pub message: Message,
}

/// What a route is tried with in place of what it says.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteEdit {
    /// The route's name.
    pub route: String,
    /// Target → expression.
    #[serde(default)]
    pub map: Vec<(String, String)>,
    /// Another condition; empty: none.
    pub when: Option<String>,
}

/// A message to try things with.
#[derive(Clone, Debug)]
pub enum Message {
    /// One that is in the store.
    Stored(Box<StoredNotification>),
    /// An envelope as Salesforce posts it.
    Envelope {
        /// The source that it is for; none: the first.
        source: Option<String>,
        /// Its text.
        xml: String,
    },
}

/// What comes of a trial; or why it cannot be tried.
pub type Try = Box<dyn Fn(&Trial) -> Result<Json, String> + Send + Sync>;

/// The body of a preview.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Preview {
    /// An envelope as Salesforce posts it.
    envelope: Option<String>,
    /// The source that the envelope is for.
    source: Option<String>,
    /// In place of an envelope: a notification of the store, by its id or row.
    notification: Option<String>,
    #[serde(default)]
    edit: Option<RouteEdit>,
    /// In place of either, with an edit: this many of the notifications of its source that were stored last (at most 1,000).
    last: Option<u32>,
}

/// The calls that each route would make of a message. Nothing is stored or sent.
#[utoipa::path(
    post,
    path = "/api/v1/preview",
    request_body = Preview,
    responses((status = 200, body = answers::Tried))
)]
pub(super) async fn preview(admin: web::Data<Admin>, wanted: Body<Preview>, caller: Caller) -> HttpResponse {
    let Preview { envelope, source, notification, edit, last } = wanted.into_inner();
    if edit.is_some() && !caller.has(Right::Edit) {
        return lacking(Right::Edit);
    }
    if let Some(last) = last {
        return match (edit, envelope, notification) {
            (Some(edit), None, None) => of_last(&admin, edit, last, &caller).await,
            _ => api::problem(400, "last goes with an edit, and with neither an envelope nor a notification"),
        };
    }
    let message = match (envelope, notification) {
        (Some(xml), None) => Message::Envelope { source, xml },
        (None, Some(id)) => match stored(&admin, id, edit.is_some(), &caller).await {
            Ok(stored) => Message::Stored(Box::new(stored)),
            Err(answer) => return answer,
        },
        (Some(_), Some(_)) | (None, None) => {
            return api::problem(400, "give an envelope, or the id of a notification that is stored: one of the two");
        }
    };
    let config = match admin.store.taken_configs(1).await.map(|taken| taken.into_iter().next()) {
        Ok(Some(taken)) => admin.store.config(taken.version).await,
        Ok(None) => return api::problem(404, "no configuration is in force yet"),
        Err(error) => Err(error),
    };
    let trial = match config {
        Ok(stored) => Trial { stored, edit, message },
        Err(error) => return api::from_store(&error),
    };
    // It loads a configuration: WSDLs may be large.
    let admin = Arc::clone(&admin);
    match web::block(move || (admin.trial)(&trial)).await {
        Ok(Ok(tried)) => HttpResponse::Ok().json(with_lines(tried)),
        Ok(Err(reason)) => api::problem(422, &reason),
        Err(error) => api::problem(503, &error.to_string()),
    }
}

/// With each request as people read it too: its numbers keep the digits that they have in the call.
fn with_lines(mut tried: Json) -> Json {
    access::walk(&mut tried, &mut |key, value| {
        let call = value.as_object_mut().filter(|_| key == "call");
        if let Some(call) = call {
            let request = call.get("request").and_then(Json::as_str).unwrap_or_default();
            let kind = if request.trim_start().starts_with('<') { "text/xml" } else { "application/json" };
            let lines = Json::from(pretty::body(kind, request));
            call.insert("request_lines".to_owned(), lines);
        }
        key != "call"
    });
    tried
}

/// What an edit makes other of the messages that were stored last.
async fn of_last(admin: &web::Data<Admin>, edit: RouteEdit, last: u32, caller: &Caller) -> HttpResponse {
    match what_if::edited(admin, edit, last, caller).await {
        Ok(wrong) if wrong.get("problems").is_some() => HttpResponse::Ok().json(wrong),
        Ok(compared) => HttpResponse::Ok().json(json!({"problems": [], "compared": compared})),
        Err(answer) => answer,
    }
}

/// A notification of the store.
async fn stored(
    admin: &Admin,
    id: String,
    is_edited: bool,
    caller: &Caller,
) -> Result<StoredNotification, HttpResponse> {
    let revisions = admin.store.notification(id).await.map_err(|error| api::from_store(&error))?;
    let newest = revisions.into_iter().next_back().map(|view| view.notification);
    let Some(stored) = newest else { return Err(api::problem(404, "no such notification")) };
    // An expression of one's own could turn a masked value into another form, which nobody knows again.
    if is_edited && admin.keep.terms.load().masks.hides(&stored.source) && !caller.has(Right::Unmask) {
        let detail = "this source masks fields: to try other expressions with its stored messages needs the right unmask; \
                      paste an envelope in its place";
        return Err(api::problem(403, detail));
    }
    Ok(stored)
}

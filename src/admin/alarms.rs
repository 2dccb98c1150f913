//! `GET /api/v1/alarms` and `POST /api/v1/alarms/test`: what stands, who is told of it, and whether that arrives.

use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::access::Caller;
use crate::admin::body::Body;
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::{Admin, api, masked};
use crate::clock::Timestamp;
use crate::store::By;
use crate::telemetry::Alarm;

/// A channel that is told of alarms, and how that went.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AlarmChannel)]
pub struct Heard {
    /// Its name.
    pub name: String,
    /// `webhook`, `email` or `command`.
    pub kind: &'static str,
    /// What it is told of; none: everything.
    pub alarms: Option<Vec<String>>,
    /// How many notices wait for it.
    pub waiting: usize,
    /// When one arrived last.
    pub sent_at: Option<Timestamp>,
    /// When one did not since then.
    pub failed_at: Option<Timestamp>,
    /// Why not.
    pub error: Option<String>,
}

/// What a test of a channel came to.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AlarmTest)]
pub struct Tried {
    /// The channel.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Why it did not arrive; none: it did.
    pub error: Option<String>,
}

/// Who tells of alarms.
pub trait Herald: Send + Sync {
    /// Who is told.
    fn channels(&self) -> Vec<Heard>;
    /// Tells one channel, or all, that this is a test.
    fn test<'a>(&'a self, only: Option<&'a str>) -> BoxFuture<'a, Vec<Tried>>;
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.route("/alarms", web::get().to(alarms)).route("/alarms/test", web::post().to(test));
}

/// The alarms that stand, and who is told of them.
#[utoipa::path(get, path = "/api/v1/alarms", responses((status = 200, body = answers::AlarmsTold)))]
pub(super) async fn alarms(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    let alarms = admin.alarms.all().into_iter().filter(|alarm| alarm.ended_at.is_none());
    let alarms: Vec<_> = alarms
        .map(|Alarm { name, subject, message, since, .. }| {
            let message = masked::alarm(&admin, &caller, name, message);
            json!({"alarm": name, "subject": subject, "message": message, "since": since})
        })
        .collect();
    let channels = admin.herald.as_ref().map(|herald| herald.channels()).unwrap_or_default();
    HttpResponse::Ok().json(json!({"alarms": alarms, "channels": channels}))
}

/// The body of a test.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlarmTestOrder)]
pub(super) struct Wanted {
    channel: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    reason: String,
}

/// Tells one channel of alarms, or all, that this is a test.
#[utoipa::path(
    post,
    path = "/api/v1/alarms/test",
    request_body = Wanted,
    responses((status = 200, body = answers::AlarmsTested))
)]
pub(super) async fn test(admin: web::Data<Admin>, person: Person, wanted: Body<Wanted>) -> HttpResponse {
    let Wanted { channel, dry_run, reason } = wanted.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    let channels = admin.herald.as_ref().map(|herald| herald.channels()).unwrap_or_default();
    if let Some(name) = channel.as_ref().filter(|name| !channels.iter().any(|known| known.name == **name)) {
        return api::problem(
            404,
            &format!("there is no channel {name:?}; those are the [[notify]] of the configuration"),
        );
    }
    let tried = match &admin.herald {
        Some(herald) if !dry_run => herald.test(channel.as_deref()).await,
        _ => Vec::new(),
    };
    if !dry_run {
        let failed = tried.iter().filter(|tried| tried.error.is_some()).count();
        let result = match failed {
            _ if tried.is_empty() => "nobody was told: there is no [[notify]] in the configuration".to_owned(),
            0 => "arrived".to_owned(),
            failed => format!("{failed} did not arrive"),
        };
        let (by, count) = (By::new(person.0, &reason), u64::try_from(tried.len()).unwrap_or(u64::MAX));
        admin.audit(by, "test", ("alarms", channel.as_deref().unwrap_or_default()), count, &result).await;
    }
    let would = channels.iter().filter(|known| channel.as_ref().is_none_or(|name| known.name == *name));
    let would: Vec<&str> = would.map(|known| known.name.as_str()).collect();
    HttpResponse::Ok().json(json!({"dry_run": dry_run, "channels": would, "tried": tried}))
}

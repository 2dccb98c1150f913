//! Has every payload of the store written anew with the key in force, and says how far that is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::{HttpResponse, web};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::admin::body::{Because, Body};
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::unended::BEGUN;
use crate::admin::{Admin, api};
use crate::clock::Timestamp;
use crate::store::pace::Company;
use crate::store::sealed::rekey::{self, Progress, Rekeyed};
use crate::store::{By, StoreError, StoreResult};

/// The walk under way, or the last one.
#[derive(Debug, Default)]
pub struct Rekeying(Mutex<Option<Walk>>);

#[derive(Debug)]
struct Walk {
    begun_at: Timestamp,
    dry_run: bool,
    progress: watch::Receiver<Progress>,
    ended: Option<StoreResult<Rekeyed>>,
}

impl Rekeying {
    fn walk(&self) -> MutexGuard<'_, Option<Walk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.route("/store/rekey", web::get().to(show)).route("/store/rekey", web::post().to(begin));
}

/// Begins to write every payload anew with the key in force.
#[utoipa::path(
    post,
    path = "/api/v1/store/rekey",
    request_body = Because,
    responses((status = 202, body = answers::RekeyTold))
)]
pub(super) async fn begin(admin: web::Data<Admin>, order: Body<Because>, person: Person) -> HttpResponse {
    let Because { reason, dry_run } = order.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    match super::to_its_end(set_off(admin.clone(), By::new(person.0, reason), dry_run)).await {
        Ok(()) => HttpResponse::Accepted().json(standing(&admin)),
        Err(error) => api::from_store(&error),
    }
}

/// Lets a walk begin, once the audit log has it; one that only looks is not noted.
async fn set_off(walking: web::Data<Admin>, by: By, dry_run: bool) -> StoreResult<()> {
    let (sender, progress) = watch::channel(Progress::default());
    let earlier = {
        let mut walk = walking.keep.rekeying.walk();
        if walk.as_ref().is_some_and(|walk| walk.ended.is_none()) {
            return Err(StoreError::Conflict("payloads are being written anew already; wait for it".to_owned()));
        }
        walk.replace(Walk { begun_at: walking.clock.now(), dry_run, progress, ended: None })
    };
    if !dry_run && let Err(error) = walking.begun(by.clone(), "rekey", ("store", ""), 0, BEGUN).await {
        *walking.keep.rekeying.walk() = earlier;
        return Err(error);
    }
    tokio::spawn(async move {
        let ended =
            rekey::rekey(&*walking.store, &walking.keep.keys, &walking.clock, Company::Others, dry_run, &sender).await;
        let result = match &ended {
            Ok(rekeyed) => serde_json::to_string(rekeyed).unwrap_or_default(),
            Err(error) => format!("failed: {error}"),
        };
        let changed = ended.as_ref().map_or(0, |rekeyed| rekeyed.changed);
        tracing::info!(changed, dry_run, result, "the walk over all payloads ended");
        if !dry_run {
            walking.audit(by, "rekey", ("store", ""), changed, &result).await;
        }
        if let Some(walk) = walking.keep.rekeying.walk().as_mut() {
            walk.ended = Some(ended);
        }
    });
    Ok(())
}

/// How far that is, or how the last walk ended.
#[utoipa::path(get, path = "/api/v1/store/rekey", responses((status = 200, body = answers::RekeyTold)))]
pub(super) async fn show(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(standing(&admin))
}

/// How the walk under way stands, or how the last one ended.
fn standing(admin: &Admin) -> Json {
    let keys = admin.keep.keys.load();
    let (active, known) = (keys.active(), keys.ids().collect::<Vec<_>>());
    let walk = admin.keep.rekeying.walk();
    let Some(Walk { begun_at, dry_run, progress, ended }) = walk.as_ref() else {
        return json!({"state": "none", "active": active, "keys": known});
    };
    let state = match ended {
        None => "running",
        Some(Ok(_)) => "done",
        Some(Err(_)) => "failed",
    };
    let error = ended.as_ref().and_then(|ended| ended.as_ref().err()).map(StoreError::to_string);
    let rekeyed = ended.as_ref().and_then(|ended| ended.as_ref().ok());
    json!({
        "state": state, "begun_at": begun_at, "dry_run": dry_run, "progress": *progress.borrow(), "error": error,
        "rekeyed": rekeyed, "active": active, "keys": known,
    })
}

//! The store moved into another one: begun, looked at, given up.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::body::{Body, Reason};
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::unended::BEGUN;
use crate::admin::{Admin, api};
use crate::clock::Timestamp;
use crate::store::transfer::mover::{Moved, Progress};
use crate::store::transfer::outlook::Outlook;
use crate::store::{By, StoreError, StoreResult};

/// How a move stands.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = MoveStanding)]
pub struct Standing {
    /// `none`, `running`, `switching`, `done`, `failed`.
    pub state: &'static str,
    /// Where it goes, as it may be shown.
    pub to: String,
    /// When it began, or went on.
    pub begun_at: Option<Timestamp>,
    /// How far it is, while it runs.
    pub progress: Option<Progress>,
    /// Why it failed.
    pub error: Option<String>,
    /// What was moved.
    pub moved: Option<Moved>,
}

/// What moves the store.
pub trait Move: Send + Sync {
    /// Where a move to the address of a store would go, as it may be shown; or why none can be begun now.
    fn aim(&self, to: &str) -> Result<String, String>;
    /// Begins a move to the address of a store, or goes on with it; returns at once.
    fn begin(&self, to: &str, by: By) -> Result<Standing, String>;
    /// What a move to the address of a store would find and do; writes nothing anywhere.
    fn look<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Result<Outlook, String>>;
    /// How it stands.
    fn standing(&self) -> Standing;
    /// Gives up a move that was begun; where it went.
    fn give_up(&self) -> BoxFuture<'_, Result<String, String>>;
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/store/move", web::get().to(standing))
        .route("/store/move", web::post().to(begin))
        .route("/store/move/give-up", web::post().to(give_up));
}

/// The body of a call that begins a move.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Move)]
pub(super) struct Order {
    to: String,
    #[serde(default)]
    reason: String,
    /// Only says what would be copied, and where to.
    #[serde(default)]
    dry_run: bool,
}

/// How far the move of the store is, or how the last one ended.
#[utoipa::path(get, path = "/api/v1/store/move", responses((status = 200, body = Standing)))]
pub(super) async fn standing(admin: web::Data<Admin>) -> HttpResponse {
    match &admin.moving {
        Some(moving) => HttpResponse::Ok().json(moving.standing()),
        None => HttpResponse::Ok().json(Standing { state: "none", ..Standing::default() }),
    }
}

/// Begins to move the store, or goes on with it; a dry run says what would be copied.
#[utoipa::path(
    post,
    path = "/api/v1/store/move",
    request_body = Order,
    responses((status = 200, body = Outlook), (status = 202, body = Standing))
)]
pub(super) async fn begin(admin: web::Data<Admin>, order: Body<Order>, person: Person) -> HttpResponse {
    let Order { to, reason, dry_run } = order.into_inner();
    let Some(moving) = &admin.moving else { return api::problem(409, "this gateway cannot move its store") };
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    if dry_run {
        return match moving.look(&to).await {
            Ok(outlook) => HttpResponse::Ok().json(outlook),
            Err(reason) => api::problem(409, &reason),
        };
    }
    match super::to_its_end(set_off(admin.clone(), Arc::clone(moving), to, By::new(person.0, &reason))).await {
        Ok(standing) => HttpResponse::Accepted().json(standing),
        Err(error) => api::from_store(&error),
    }
}

/// Begins a move, once the audit log has it.
async fn set_off(admin: web::Data<Admin>, moving: Arc<dyn Move>, to: String, by: By) -> StoreResult<Standing> {
    let shown = moving.aim(&to).map_err(StoreError::Conflict)?;
    admin.begun(by.clone(), "move", ("store", &shown), 1, BEGUN).await?;
    match moving.begin(&to, by.clone()) {
        Ok(standing) => Ok(standing),
        // Another one was begun meanwhile.
        Err(reason) => {
            admin.audit(by, "move", ("store", &shown), 0, &format!("failed: {reason}")).await;
            Err(StoreError::Conflict(reason))
        }
    }
}

/// Gives up a move that was begun and does not run.
#[utoipa::path(
    post,
    path = "/api/v1/store/move/give-up",
    request_body = Reason,
    responses((status = 200, body = answers::GivenUp))
)]
pub(super) async fn give_up(admin: web::Data<Admin>, because: Body<Reason>, person: Person) -> HttpResponse {
    let Some(moving) = &admin.moving else { return api::problem(409, "this gateway cannot move its store") };
    if because.reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    match moving.give_up().await {
        Ok(to) => {
            admin.audit(By::new(person.0, &because.reason), "move", ("store", &to), 1, "given up").await;
            HttpResponse::Ok().json(json!({"given_up": to}))
        }
        Err(reason) => api::problem(409, &reason),
    }
}

//! Health for supervisors, figures for Prometheus.

use std::sync::atomic::Ordering;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};

use crate::admin::Admin;
use crate::admin::access::{Caller, Who};
use crate::store::Health;

/// The process lives.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body("alive\n")
}

/// Envelopes are taken; or why not.
pub(super) async fn readyz(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    let (mut response, text) = match readiness(&admin) {
        Ok(()) => (HttpResponse::Ok(), "ready\n".to_owned()),
        // Why is for those who may know it.
        Err(_) if caller.who == Who::Nobody => (HttpResponse::ServiceUnavailable(), "not ready\n".to_owned()),
        Err(reason) => (HttpResponse::ServiceUnavailable(), format!("not ready: {reason}\n")),
    };
    response.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body(text)
}

/// Whether envelopes are taken; or why not.
pub(super) fn readiness(admin: &Admin) -> Result<(), String> {
    if admin.closing.load(Ordering::SeqCst) {
        return Err("the gateway is stopping".to_owned());
    }
    match admin.store.condition() {
        Health::Ready => Ok(()),
        Health::Failing(reason) => Err(format!("the store cannot write: {reason}")),
    }
}

/// Everything in Prometheus' text format, taken at this moment from the same accounts as the ledger.
pub(super) async fn metrics(admin: web::Data<Admin>) -> HttpResponse {
    match (admin.store.ledger().await, admin.store.backlog().await) {
        (Ok(ledger), Ok(backlog)) => {
            let now = admin.clock.now();
            admin.metrics.accounts(&ledger);
            admin.metrics.backlog(&backlog, |since| now.since(since).as_secs_f64());
        }
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "the accounts could not be read for the metrics"),
    }
    match admin.store.gaps(admin.clock.now().day()).await {
        Ok(gaps) => admin.metrics.gaps(&gaps, admin.clock.now()),
        Err(error) => tracing::warn!(%error, "the silence of sources could not be read for the metrics"),
    }
    admin.metrics.store(&admin.store.condition(), &admin.store.figures());
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(admin.metrics.render())
}

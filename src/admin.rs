//! What people see: the API, the metrics, health, and a page.
//!
//! It listens on loopback and is open to the machine. Two guards keep strangers' web pages out: the Host must be a
//! loopback name (against DNS rebinding), and changing calls must be JSON from the same origin (against CSRF).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpResponse, web};

use crate::clock::SharedClock;
use crate::delivery::Planned;
use crate::dispatch::Dispatch;
use crate::store::{By, Deed, Edit, Edits, Store, StoredNotification};
use crate::telemetry::{Alarms, Metrics};

mod adopt;
mod api;
mod bulk;
mod keep;
mod metrics;
pub mod moving;
pub mod reload;
mod person;
mod replay;
mod reroute;
mod sheet;
mod ui;

pub use bulk::Jobs;
pub use keep::{ABSENCE_ALARM, Keep, Terms};

/// The deliveries that the routes make of a stored notification now; or why none can be made.
pub type Replan = Box<dyn Fn(&StoredNotification) -> Result<Vec<Planned>, String> + Send + Sync>;

/// The delivery that one route makes of a stored notification now; or why it makes none.
pub type PlanTo = Box<dyn Fn(&StoredNotification, &str) -> Result<Planned, String> + Send + Sync>;

/// Edited content; or what is wrong with it.
pub type Editor = Box<dyn Fn(&StoredNotification, &Edits) -> Result<Edit, String> + Send + Sync>;

/// Whether a source takes an organization; none when there is no such source.
pub type Takes = Box<dyn Fn(&str, &str) -> Option<bool> + Send + Sync>;

/// Whether the source of a stored notification takes its organization and outbound message; or why not.
pub type Admits = Box<dyn Fn(&StoredNotification) -> Result<(), String> + Send + Sync>;

/// What the public listener serves and trusts, and whose certificates it refused.
pub type EdgeShown = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the admin listener shows and changes.
pub struct Admin {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The way out.
    pub dispatch: Arc<Dispatch>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Alarms.
    pub alarms: Arc<Alarms>,
    /// Time.
    pub clock: SharedClock,
    /// Set once the gateway stops: it is no longer ready.
    pub closing: Arc<AtomicBool>,
    /// Changes of many deliveries that are under way.
    pub jobs: Jobs,
    /// What the routes make now of a stored notification.
    pub plan: Replan,
    /// What one route, named by itself or by its destination, makes now of a stored notification.
    pub plan_to: PlanTo,
    /// The content of a stored notification as a person wants it.
    pub edit: Editor,
    /// Whether a source takes an organization.
    pub takes: Takes,
    /// Whether the source of a stored notification takes it.
    pub admits: Admits,
    /// The certificates of the public listener, and those that it refused.
    pub edge: EdgeShown,
    /// What reads the configuration again; none where there is no file.
    pub reload: Option<Arc<dyn reload::Reload>>,
    /// What moves the store; none where there is only one.
    pub moving: Option<Arc<dyn moving::Move>>,
    /// How long things are kept, which sources may be silent how long, the backup under way.
    pub keep: Keep,
}

impl Admin {
    /// Writes into the audit log what a person did, and in the log when that cannot be done. What it did stays done.
    pub async fn audit(&self, by: By, verb: &str, object: (&'static str, &str), count: u64, result: &str) {
        let deed = Deed {
            at: self.clock.now(),
            by,
            verb: verb.to_owned(),
            object: object.0,
            object_id: object.1.to_owned(),
            count,
            result: result.to_owned(),
        };
        let Deed { by: By { who, reason }, .. } = deed.clone();
        if let Err(error) = self.store.audit(deed).await {
            let (object, id) = object;
            tracing::error!(who, verb, object, id, count, reason, result, %error, "no entry in the audit log");
        }
    }
}

/// Registers the admin listener's services.
pub fn configure(config: &mut web::ServiceConfig, admin: Arc<Admin>) {
    config.app_data(web::Data::from(admin)).service(
        web::scope("")
            .wrap(from_fn(guard))
            .route("/", web::get().to(ui::page))
            .route("/ui.css", web::get().to(ui::style))
            .route("/deliveries/{id}", web::get().to(sheet::page))
            .route("/livez", web::get().to(metrics::livez))
            .route("/readyz", web::get().to(metrics::readyz))
            .route("/metrics", web::get().to(metrics::metrics))
            .service(web::scope("/api/v1").configure(api::configure))
            .default_service(web::to(nothing)),
    );
}

async fn nothing() -> HttpResponse {
    api::problem(404, "there is nothing at this address")
}

async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if let Some(reason) = stranger(request.method().is_safe(), request.headers()) {
        let response = HttpResponse::Forbidden()
            .insert_header((CONTENT_TYPE, "application/problem+json"))
            .body(api::problem_body(403, &reason));
        return Ok(request.into_response(response).map_into_right_body());
    }
    let mut response = next.call(request).await?.map_into_left_body();
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ] {
        headers.insert(
            actix_web::http::header::HeaderName::from_static(name),
            actix_web::http::header::HeaderValue::from_static(value),
        );
    }
    Ok(response)
}

/// Why a request does not come from this machine's own people; none when it may.
fn stranger(safe_method: bool, headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &actix_web::http::header::HeaderValue| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    if !is_loopback(host) {
        return Some(format!("the Host {host:?} is not a loopback name; use 127.0.0.1 or localhost"));
    }
    if safe_method {
        return None;
    }
    let content_type = text(CONTENT_TYPE).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Some("a changing call needs the header Content-Type: application/json".to_owned());
    }
    match text(ORIGIN) {
        Some(origin)
            if origin.strip_prefix("http://") != Some(host) && origin.strip_prefix("https://") != Some(host) =>
        {
            Some(format!("the call comes from another origin: {origin:?}"))
        }
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        for host in ["127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081", "127.9.9.9"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example:8081", "127.0.0.1.evil.example", "[::2]:1", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_changing_call_must_be_json_from_the_same_origin() {
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(stranger(false, &headers(&[("host", "localhost:1"), json])), None);
        assert_eq!(stranger(false, &headers(&[("host", "localhost:1"), json, ("origin", "http://localhost:1")])), None);
        assert!(stranger(false, &headers(&[("host", "localhost:1")])).is_some());
        assert!(stranger(false, &headers(&[("host", "localhost:1"), json, ("origin", "http://evil")])).is_some());
        assert!(stranger(true, &headers(&[("host", "evil")])).is_some());
    }
}

//! Health for supervisors, figures for Prometheus.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};

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
pub(super) async fn metrics(admin: web::Data<Admin>, request: HttpRequest) -> HttpResponse {
    match (admin.store.ledger().await, admin.store.backlog().await) {
        (Ok(ledger), Ok(backlog)) => {
            let now = admin.clock.now();
            admin.metrics.accounts(&ledger);
            admin.metrics.backlog(&backlog, |since| now.since(since).as_secs_f64());
        }
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "the accounts could not be read for the metrics"),
    }
    match admin.store.gaps(admin.clock.now().day(), None).await {
        Ok(gaps) => admin.metrics.gaps(&gaps, admin.clock.now()),
        Err(error) => tracing::warn!(%error, "the silence of sources could not be read for the metrics"),
    }
    admin.metrics.store(&admin.store.condition(), &admin.store.figures());
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let text = admin.metrics.render();
    let (kind, text) = if accept.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", plain(&text))
    };
    HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).body(text)
}

/// The older of the two formats names a counter as its samples are named: with `_total`.
fn plain(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let renamed = |line: &str| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("TYPE" | "HELP")), Some(name), Some(rest)) if counters.contains(name) => {
                format!("# {what} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_counter_is_named_as_its_samples_are() {
        let text = "# HELP a Of a.\n# TYPE a counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb 2\n# EOF\n";
        let wanted =
            "# HELP a_total Of a.\n# TYPE a_total counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb 2\n# EOF\n";
        assert_eq!(plain(text), wanted);
    }
}

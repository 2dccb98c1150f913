//! `[telemetry]`: where traces go.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::alarms::target;
use super::auth::{is_known, warn_of_plain_http};
use super::destination::{check_header, tls::tls};
use super::egress;
use super::read::Section;
use crate::deliver::collector::Collector;
use crate::deliver::egress::{Egress, Names};
use crate::deliver::{self, TargetConfig};
use crate::secret::Text;
use crate::telemetry;

const SECOND: Duration = Duration::from_secs(1);
/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where collectors take traces, below their address.
const PATH: &str = "/v1/traces";

/// Reads the section. `gateway` is what the gateway calls itself.
pub(super) fn telemetry(root: &Section<'_, '_>, egress: &Egress, gateway: &str) -> Option<telemetry::Collector> {
    let section = root.section("telemetry")?;
    section.required("otlp");
    let otlp = section.text("otlp");
    let headers = headers(&section);
    let service = section.plain("service_name").map_or_else(|| "omgate".to_owned(), |field| field.value);
    if service.trim().is_empty() {
        section.desk.error(&section.spot_of("service_name"), "must not be empty");
    }
    let ratio = section.number("sample_ratio", 0.0..=1.0).unwrap_or(1.0);
    let timeout = section.duration("timeout", SECOND..=60 * SECOND).map_or(10 * SECOND, |field| field.value);
    let proxy = section.text("proxy");
    let tls = tls(&section);
    let collector = otlp.and_then(|otlp| {
        let address = otlp.value.reveal();
        let url = Url::parse(address.trim()).ok().filter(|url| {
            let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            matches!(url.scheme(), "http" | "https") && is_bare && url.password().is_none()
        });
        if url.is_none() && is_known(&otlp.value) {
            let reason = "is no http:// or https:// address; write one such as \"http://collector:4318\"";
            section.desk.error(&otlp.spot, format!("{:?} {reason}", otlp.value.masked()));
        }
        let url = url?;
        if !headers.is_empty() {
            warn_of_plain_http(&section, &otlp, "the headers");
        }
        if section.desk.files.is_disk() {
            let through = proxy.as_ref().and_then(|proxy| deliver::proxy_url(&proxy.value));
            egress::foresee(&section, egress, &otlp.spot, url.as_str(), through.as_ref());
        }
        let config = TargetConfig {
            name: section.spot.key.clone(),
            auth: None,
            security: None,
            connect_timeout: timeout.min(10 * SECOND),
            response_bytes_max: ANSWER_BYTES_MAX,
            tls,
            proxy: proxy.as_ref().map(|field| field.value.clone()),
            egress: egress.clone(),
            names: Names::default(),
        };
        let target = target(&section, config, proxy.map(|field| field.spot))?;
        Some(Collector { url: below(&otlp.value, url.path()), headers, target, timeout })
    });
    section.finish();
    let collector = Arc::new(collector?);
    Some(telemetry::Collector {
        address: format!("{collector:?}"),
        post: Arc::new(move |batch| {
            let collector = Arc::clone(&collector);
            Box::pin(async move { collector.post(batch).await })
        }),
        service,
        instance: gateway.to_owned(),
        ratio,
    })
}

/// The address with the path of traces, unless it has it.
fn below(address: &Text, path: &str) -> Text {
    let mut url = address.clone();
    if !path.trim_end_matches('/').ends_with(PATH) {
        let ends_open = address.reveal().trim_end().ends_with('/');
        url.push_plain(if ends_open { &PATH[1..] } else { PATH });
    }
    url
}

fn headers(section: &Section<'_, '_>) -> Vec<(String, Text)> {
    let Some(table) = section.section("headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, name_spot, value, spot) in table.ordered_entries() {
        if let Err(reason) = check_header(&name) {
            // What destinations have for it there is not here.
            section.desk.error(&name_spot, reason.trim_end_matches("; use content_type"));
        }
        let Some(raw) = value.as_str() else {
            section.desk.error(&spot, "must be text");
            continue;
        };
        let text = section.free_text(raw, &spot);
        if text.reveal().chars().any(char::is_control) {
            section.desk.error(&spot, "has a line end or control character in it, which no header may carry");
        }
        if name.eq_ignore_ascii_case("authorization") && text.is_plain() {
            section.desk.error(&spot, "stands in clear; write ${NAME} or ${file:PATH}");
        }
        headers.push((name, text));
    }
    headers
}

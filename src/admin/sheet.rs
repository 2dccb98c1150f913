//! The page of one delivery at `/deliveries/{id}`: how it stands, what was kept, which others it belongs to, its attempts.

use std::fmt::Write as _;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use serde_json::Value as Json;

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::{Admin, api, login, masked, ui};
use crate::delivery::{DeliveryId, State};
use crate::issue;
use crate::store::DeliveryFilter;

/// How many dead letters the first page names.
const NAMED_MAX: u32 = 10;
/// Keys whose values are other deliveries.
const LINKS: [&str; 7] = ["after", "followed_by", "replay_of", "replayed_by", "superseded_by", "behind", "lane_head"];
/// What is shown of an attempt.
const COLUMNS: [&str; 7] = ["number", "started_at", "duration_ms", "outcome", "status", "reason", "request_line"];

pub(super) async fn page(admin: web::Data<Admin>, id: web::Path<i64>, caller: Caller) -> HttpResponse {
    let id = DeliveryId(id.into_inner());
    let found = match api::told(&admin, id, false).await {
        Ok(found) => caller.shown(found),
        Err(error) => return api::from_store(&error),
    };
    let mut html = ui::head(&format!("delivery {id}"));
    login::bar(&mut html, &caller);
    let _ = write!(html, "<h1>Delivery {id}</h1>");
    delivery(&mut html, found.get("delivery").unwrap_or(&Json::Null));
    if let Some(others) = found.get("stands_for").filter(|others| others.as_array().is_some_and(|all| !all.is_empty()))
    {
        let _ = write!(html, "<p>It stands for {}, which gave way to it.</p>", links(others));
    }
    html.push_str("<h2>Attempts</h2>");
    attempts(&mut html, found.get("attempts").unwrap_or(&Json::Null));
    let _ =
        write!(html, "<p class=\"links\"><a href=\"/\">omgate</a> <a href=\"/api/v1/deliveries/{id}\">JSON</a></p>");
    html.push_str("</body></html>");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
}

fn delivery(html: &mut String, delivery: &Json) {
    html.push_str("<div class=\"wide\"><table>");
    for (name, value) in delivery.as_object().into_iter().flatten() {
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if is_empty {
            continue;
        }
        let shown = match (value.as_object(), value.get("text")) {
            _ if LINKS.contains(&name.as_str()) => links(value),
            (Some(_), Some(text)) => ui::escape(&plain(text)),
            (Some(entries), None) => {
                let entries = entries.iter().map(|(name, value)| format!("{name} = {}", plain(value)));
                ui::escape(&entries.collect::<Vec<_>>().join(", "))
            }
            (None, _) if name == "state" => ui::escape(&plain(value).replace('_', " ")),
            (None, _) => ui::escape(&plain(value)),
        };
        let _ = write!(html, "<tr><th>{}</th><td>{shown}</td></tr>", ui::escape(&name.replace('_', " ")));
    }
    html.push_str("</table></div>");
}

/// Numbers of deliveries, as links to their pages.
fn links(value: &Json) -> String {
    let one = std::slice::from_ref(value);
    let ids = value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Json::as_i64);
    ids.map(|id| format!("<a href=\"/deliveries/{id}\">{id}</a>")).collect::<Vec<_>>().join(" ")
}

fn attempts(html: &mut String, attempts: &Json) {
    html.push_str("<div class=\"wide\"><table><tr>");
    for column in COLUMNS {
        let _ = write!(html, "<th>{}</th>", column.replace('_', " "));
    }
    html.push_str("</tr>");
    for attempt in attempts.as_array().into_iter().flatten() {
        html.push_str("<tr>");
        for column in COLUMNS {
            let _ = write!(html, "<td>{}</td>", ui::escape(&plain(attempt.get(column).unwrap_or(&Json::Null))));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
}

fn plain(value: &Json) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

/// The newest dead letters, for the first page.
pub(super) async fn dead(html: &mut String, admin: &Admin, caller: &Caller) {
    let filter = DeliveryFilter { state: Some(State::Dead), limit: Some(NAMED_MAX), ..DeliveryFilter::default() };
    let Ok(mut dead) = admin.store.deliveries(filter).await else { return };
    if dead.is_empty() || masked::deliveries(admin, &mut dead).await.is_err() {
        return;
    }
    html.push_str("<h2>Newest dead letters</h2><div class=\"wide\"><table>");
    for view in dead {
        let (id, mut reason) = (view.delivery_id, view.reason.unwrap_or_default());
        if !caller.has(Right::Payload) {
            reason = issue::without_values(&reason);
        }
        let (destination, reason) = (ui::escape(&view.destination), ui::escape(&reason));
        let link = format!("<a href=\"/deliveries/{id}\">{id}</a>");
        let _ = write!(html, "<tr><td>{link}</td><td>{destination}</td><td>{reason}</td></tr>");
    }
    html.push_str("</table></div>");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_kept_and_the_others_it_belongs_to_are_shown_and_markup_is_not_obeyed() {
        let mut html = String::new();
        let view = json!({
            "delivery_id": 7, "state": "in_flight", "reason": null, "kept": {"order": "<b>", "total": 4.50},
            "followed_by": [8, 9], "replay_of": 3, "replayed_by": [], "why": {"code": "due", "text": "it is due & well"},
        });
        delivery(&mut html, &view);
        for part in [
            "<th>kept</th><td>order = &lt;b&gt;, total = 4.5</td>",
            "<th>followed by</th><td><a href=\"/deliveries/8\">8</a> <a href=\"/deliveries/9\">9</a></td>",
            "<th>replay of</th><td><a href=\"/deliveries/3\">3</a></td>",
            "<th>state</th><td>in flight</td>",
            "<th>why</th><td>it is due &amp; well</td>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("replayed by") && !html.contains("reason"), "{html}");
    }
}

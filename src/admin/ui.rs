//! The page at `/`: how the gateway stands, in one look.

use std::fmt::Write as _;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};

use crate::admin::access::Caller;
use crate::admin::{Admin, login};
use crate::store::{Ledger, TakenConfig};
use crate::why::Shut;

const STYLE: &str = include_str!("ui.css");

pub(super) async fn page(admin: web::Data<Admin>, caller: Caller) -> HttpResponse {
    let mut html = head("omgate");
    login::bar(&mut html, &caller);
    html.push_str("<h1>omgate</h1>");
    standing(&mut html, &admin);
    match admin.store.ledger().await {
        Ok(ledger) => accounts(&mut html, &ledger),
        Err(error) => paragraph(&mut html, &format!("The ledger cannot be read: {error}")),
    }
    super::sheet::dead(&mut html, &admin, &caller).await;
    html.push_str(
        "<p class=\"links\"><a href=\"/api/v1/ledger\">ledger</a> <a href=\"/api/v1/deliveries\">deliveries</a> ",
    );
    html.push_str("<a href=\"/api/v1/dead\">dead letters</a> <a href=\"/api/v1/issues\">issues</a> <a href=\"/api/v1/systems\">systems</a> <a href=\"/api/v1/notifications\">notifications</a> ");
    html.push_str("<a href=\"/api/v1/refused\">refused</a> <a href=\"/api/v1/status\">status</a> <a href=\"/api/v1/config\">configuration</a> <a href=\"/metrics\">metrics</a></p>");
    html.push_str("</body></html>");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
}

/// Where a page begins.
pub(super) fn head(title: &str) -> String {
    let mut html = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(html, "<title>{}</title>", escape(title));
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.push_str("<link rel=\"stylesheet\" href=\"/ui.css\"></head><body>");
    html
}

pub(super) async fn style() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/css; charset=utf-8")).body(STYLE)
}

fn standing(html: &mut String, admin: &Admin) {
    match super::metrics::readiness(admin) {
        Ok(()) => paragraph(html, "Ready: envelopes are taken."),
        Err(reason) => paragraph(html, &format!("Not ready: {reason}")),
    }
    if let Some(config) = admin.reload.as_ref().map(|reloader| reloader.standing()) {
        let TakenConfig { version, at, by, .. } = config.taken;
        paragraph(html, &format!("Configuration {} in force since {at}, by {}.", version.0, by.as_str()));
        for key in config.needs_restart {
            warning(html, &format!("{key} in the configuration counts from the next start."));
        }
    }
    for (system, _) in admin.dispatch.systems() {
        if let Some(shut) = admin.dispatch.shut(&system).filter(Shut::is_outage) {
            warning(html, &format!("System {system} {shut}."));
        }
    }
    for (alarm, subject, message) in admin.alarms.standing() {
        warning(html, &format!("Alarm {alarm} ({subject}): {message}"));
    }
}

fn accounts(html: &mut String, ledger: &Ledger) {
    paragraph(html, if ledger.balanced { "The ledger balances." } else { "THE LEDGER DOES NOT BALANCE." });
    html.push_str("<h2>Notifications</h2>");
    table(html, "sources", std::iter::once(("all", ledger.notifications.by_name())));
    html.push_str("<h2>Deliveries</h2>");
    let all = std::iter::once(("all", ledger.deliveries.by_name()));
    let each = ledger.destinations.iter().map(|(name, counts)| (name.as_str(), counts.by_name()));
    table(html, "destination", all.chain(each));
    paragraph(
        html,
        &format!("Calls begun: {}; with an unknown outcome: {}.", ledger.attempts.total, ledger.attempts.unknown),
    );
}

fn table<'a>(html: &mut String, head: &str, rows: impl Iterator<Item = (&'a str, [(&'static str, i64); 9])>) {
    html.push_str("<div class=\"wide\"><table>");
    for (position, (name, counts)) in rows.enumerate() {
        if position == 0 {
            let _ = write!(html, "<tr><th>{}</th>", escape(head));
            for (state, _) in counts {
                let _ = write!(html, "<th>{}</th>", escape(&state.replace('_', " ")));
            }
            html.push_str("</tr>");
        }
        let _ = write!(html, "<tr><td>{}</td>", escape(name));
        for (_, count) in counts {
            let _ = write!(html, "<td class=\"count\">{count}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
}

pub(super) fn warning(html: &mut String, text: &str) {
    let _ = write!(html, "<p class=\"warning\">{}</p>", escape(text));
}

fn paragraph(html: &mut String, text: &str) {
    let _ = write!(html, "<p>{}</p>", escape(text));
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn markup_in_names_is_shown_not_obeyed() {
        assert_eq!(escape("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
    }
}

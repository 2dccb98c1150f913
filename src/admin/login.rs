//! The page where people log in, and the way out again. Forms that the gateway itself made.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use askama::Template;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;

use crate::account;
use crate::admin::access::{Caller, Who};
use crate::admin::entry::{self, Attempt};
use crate::admin::session::{AGE_MAX, Holder};
use crate::admin::way::Way;
use crate::admin::{Admin, ui};
use crate::store::By;

/// The cookie that a form to log in must match: no other site can make one that does.
const FORM: &str = "form";
/// The cookie of a session.
const SESSION: &str = "session";

/// What the form to log in holds.
#[derive(Deserialize)]
pub(super) struct Login {
    name: String,
    password: String,
    form: String,
    /// Where to go then.
    #[serde(default)]
    to: String,
}

/// What the form to log out holds.
#[derive(Deserialize)]
pub(super) struct Logout {
    form: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    fault: &'a str,
    /// Where others vouch for people.
    provider: Option<String>,
    /// Where one logs in there.
    at_provider: String,
    has_accounts: bool,
    to: &'a str,
    form: &'a str,
    style: String,
}

/// The page.
pub(super) async fn page(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> HttpResponse {
    let way = Way::asked(&request);
    if admin.entry.is_open() || caller.who != Who::Nobody {
        return see(way.as_str()).finish();
    }
    show(&admin, StatusCode::OK, "", &way)
}

pub(super) fn show(admin: &Admin, status: StatusCode, fault: &str, way: &Way) -> HttpResponse {
    let Ok(form) = account::secret() else { return HttpResponse::ServiceUnavailable().finish() };
    let provider = admin.entry.provider().map(|provider| {
        let place = provider.issuer().split("://").nth(1).unwrap_or_default();
        place.split('/').next().unwrap_or_default().to_owned()
    });
    let page = LoginPage {
        fault,
        provider,
        at_provider: way.by("/login/oidc"),
        has_accounts: admin.entry.has_accounts(),
        to: way.as_str(),
        form: &form,
        style: ui::assets::address("style.css"),
    };
    let mut response = ui::html(status, &page);
    if let Ok(cookie) = HeaderValue::from_str(&admin.entry.cookie(FORM, &form, None)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn see(place: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, place));
    response
}

/// Logs somebody in.
pub(super) async fn login(admin: web::Data<Admin>, request: HttpRequest, login: web::Form<Login>) -> HttpResponse {
    let entry = &admin.entry;
    let Login { name, password, form, to } = login.into_inner();
    let way = Way::of(&to);
    if entry.is_open() {
        return see(way.as_str()).finish();
    }
    let is_ours = entry.cookie_of(request.headers(), FORM).is_some_and(|cookie| equal(cookie, &form));
    if !is_ours {
        return show(
            &admin,
            StatusCode::FORBIDDEN,
            "The form was not made for this browser, or is too old. Try again.",
            &way,
        );
    }
    let address = entry::address_of(&request);
    match entry.check(&name, &password, address, admin.clock.monotonic()).await {
        Attempt::Known(account) => {
            let holder = Holder::Account(account.clone());
            let Ok(begun) = entry.sessions.begin(holder, admin.clock.monotonic()) else {
                return show(&admin, StatusCode::SERVICE_UNAVAILABLE, "No session can be begun now. Try again.", &way);
            };
            let by = By::new(format!("account {}", account.name), "");
            admin.audit(by, "login", ("account", &account.name), 1, &format!("done, from {address}")).await;
            let mut response = see(way.as_str());
            response.append_header((SET_COOKIE, entry.cookie(SESSION, &begun.cookie, Some(AGE_MAX))));
            response.append_header((SET_COOKIE, entry.cookie(FORM, "", Some(std::time::Duration::ZERO))));
            response.finish()
        }
        Attempt::Wrong => {
            entry::refused(&admin, Some(address), "account", &entry.shown_name(&name)).await;
            show(&admin, StatusCode::UNAUTHORIZED, "Name or password is wrong.", &way)
        }
        Attempt::Wait(wait) => {
            entry::refused(&admin, Some(address), "account", &entry.shown_name(&name)).await;
            let seconds = wait.as_secs() + 1;
            let fault = format!("Too many attempts failed. Try again in {} minutes.", seconds.div_ceil(60));
            let mut response = show(&admin, StatusCode::TOO_MANY_REQUESTS, &fault, &way);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Attempt::Busy => {
            let fault = "Too many log in at this moment. Try again.";
            show(&admin, StatusCode::SERVICE_UNAVAILABLE, fault, &way)
        }
    }
}

/// Ends a session.
pub(super) async fn logout(
    admin: web::Data<Admin>,
    request: HttpRequest,
    caller: Caller,
    logout: web::Form<Logout>,
) -> HttpResponse {
    let entry = &admin.entry;
    let is_ours = caller.form.as_deref().is_some_and(|form| equal(form, &logout.form));
    if !is_ours {
        let fault = "The form was not made for this session. Log in first.";
        return show(&admin, StatusCode::FORBIDDEN, fault, &Way::default());
    }
    if let Some(cookie) = entry.cookie_of(request.headers(), SESSION) {
        entry.sessions.end(cookie);
    }
    let mut response = see("/login");
    response.insert_header((SET_COOKIE, entry.cookie(SESSION, "", Some(std::time::Duration::ZERO))));
    response.finish()
}

/// Compared in the same time whatever differs.
fn equal(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

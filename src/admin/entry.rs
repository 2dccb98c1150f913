//! Who may come in at the admin listener, and with what: the check before every address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN,
    WWW_AUTHENTICATE,
};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::account::{Account, NAME_MAX, PASSWORD_BYTES_MAX, Right, Rights, Role};
use crate::admin::access::{self, Caller, Need, Who};
use crate::admin::oidc::{ASKED_MAX, Away, People, Provider};
use crate::admin::session::{Found, Sessions};
use crate::admin::throttle::{Notes, Throttle};
use crate::admin::way::Way;
use crate::admin::{Admin, api, token};
use crate::store::By;

/// So many passwords are looked at at once: each takes a processor and some memory.
const CHECKS_MAX: usize = 2;
/// Nobody waits longer for that.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// The header by which a script says that it asks for a part of the page that it is on.
const PART: HeaderName = HeaderName::from_static("hx-request");

/// How often the use of a token is written down.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// How the admin listener is reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Door {
    /// It speaks TLS.
    pub is_tls: bool,
    /// Others than this machine's people reach it.
    pub is_exposed: bool,
}

/// Who may come in.
#[derive(Debug)]
pub struct Entry {
    accounts: Arc<ArcSwap<Vec<Account>>>,
    people: People,
    pub(super) door: Door,
    pub(super) sessions: Sessions,
    pub(super) throttle: Throttle,
    pub(super) away: Away,
    /// Those who came back from the provider, and about whom it is asked.
    pub(super) asked: Semaphore,
    notes: Notes,
    checks: Semaphore,
    /// When the use of each token was noted last.
    uses: Mutex<HashMap<String, Duration>>,
}

impl Default for Entry {
    fn default() -> Self {
        Self::new(Arc::default(), Arc::default(), Door::default())
    }
}

/// What became of an attempt to log in.
pub(super) enum Attempt {
    Known(Account),
    /// Name or password are wrong; which is not said.
    Wrong,
    /// Too often.
    Wait(Duration),
    /// Too many log in at this moment.
    Busy,
}

impl Entry {
    /// By the accounts, and the provider of logins, of the configuration in force.
    #[must_use]
    pub fn new(accounts: Arc<ArcSwap<Vec<Account>>>, people: People, door: Door) -> Self {
        Self {
            accounts,
            people,
            door,
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            away: Away::default(),
            asked: Semaphore::new(ASKED_MAX),
            notes: Notes::default(),
            checks: Semaphore::new(CHECKS_MAX),
            uses: Mutex::default(),
        }
    }

    /// Whether whoever reaches it may do everything: on this machine, where nobody is configured who could log in.
    pub(super) fn is_open(&self) -> bool {
        !self.door.is_exposed && !self.has_accounts() && self.people.load().is_none()
    }

    pub(super) fn has_accounts(&self) -> bool {
        !self.accounts.load().is_empty()
    }

    /// Who knows people elsewhere.
    pub(super) fn provider(&self) -> Option<Arc<dyn Provider>> {
        self.people.load().as_ref().clone()
    }

    /// The name of a cookie: browsers take one with this prefix over TLS alone, from this host alone, and for all of it.
    pub(super) fn cookie_name(&self, name: &str) -> String {
        if self.door.is_tls { format!("__Host-omgate_{name}") } else { format!("omgate_{name}") }
    }

    /// A cookie as it is set; an age of none ends it with the browser.
    pub(super) fn cookie(&self, name: &str, value: &str, age: Option<Duration>) -> String {
        let secure = if self.door.is_tls { "; Secure" } else { "" };
        let age = age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
        format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}", self.cookie_name(name))
    }

    /// A cookie that a link from another site brings along.
    pub(super) fn lax_cookie(&self, name: &str, value: &str, age: Duration) -> String {
        self.cookie(name, value, Some(age)).replacen("; SameSite=Strict", "; SameSite=Lax", 1)
    }

    /// What a request says under the name of a cookie of ours.
    pub(super) fn cookie_of<'r>(&self, headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
        let name = self.cookie_name(name);
        let lines = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Looks whether a name and a password belong together. What is not known takes as long as what is.
    pub(super) async fn check(&self, name: &str, password: &str, address: IpAddr, now: Duration) -> Attempt {
        if name.len() > NAME_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Attempt::Wrong;
        }
        if let Err(wait) = self.throttle.begin(name, address, now) {
            return Attempt::Wait(wait);
        }
        let accounts = self.accounts.load_full();
        let found = accounts.iter().find(|account| account.name == name).cloned();
        // The password of somebody else is compared in its place, and what comes of it does not count.
        let Some(compared) = found.as_ref().or_else(|| accounts.first()).map(|account| account.password.clone()) else {
            return Attempt::Wrong;
        };
        let Ok(Ok(_turn)) = tokio::time::timeout(CHECK_PATIENCE, self.checks.acquire()).await else {
            return Attempt::Busy;
        };
        let password = password.to_owned();
        let fits = actix_web::web::block(move || compared.fits(&password)).await.unwrap_or(false);
        match found.filter(|_| fits) {
            Some(account) => {
                self.throttle.forgive(name, address);
                Attempt::Known(account)
            }
            None => Attempt::Wrong,
        }
    }

    /// Whether the use of a token is to be noted: once a minute.
    pub(super) fn is_news(&self, token: &str, now: Duration) -> bool {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.get(token).is_some_and(|last| now.saturating_sub(*last) < USE_NOTED_EVERY) {
            return false;
        }
        // Only tokens that are in the store come here, and those have a bound.
        uses.insert(token.to_owned(), now);
        true
    }

    /// The name as it may be written down: whoever types a password in its place has not told it to everybody.
    pub(super) fn shown_name(&self, name: &str) -> String {
        let is_known = self.accounts.load().iter().any(|account| account.name == name);
        if is_known { name.to_owned() } else { "(no such account)".to_owned() }
    }
}

/// Who asks and may; or the answer to one who may not.
pub(super) async fn admit(admin: &Admin, request: &ServiceRequest) -> Result<Caller, HttpResponse> {
    let entry = &admin.entry;
    let (method, headers) = (request.method(), request.headers());
    let strange = if entry.is_open() { stranger(headers) } else { None };
    if let Some(reason) = strange {
        return Err(api::problem(403, &reason));
    }
    let Some(need) = access::need(method.as_str(), request.path()) else {
        return Err(not_here(method.as_str(), request.path()));
    };
    if let Some((status, reason)) = crossed(headers, request.path()).filter(|_| !method.is_safe()) {
        return Err(api::problem(status, &reason));
    }
    let caller = identify(admin, request, need).await?;
    let area = access::area(request.path());
    if need != Need::Nothing && !caller.reaches(area) {
        let scope = caller.scope.join(", ");
        return Err(api::problem(403, &format!("the token is for {scope} alone, and this belongs to {area:?}")));
    }
    if caller.may(need) {
        return Ok(caller);
    }
    match (&caller.who, need) {
        (Who::Nobody, _) => Err(ask_to_log_in(request)),
        (_, Need::Right(right)) => Err(lacking(right)),
        (_, Need::Nothing) => Ok(caller),
    }
}

/// The answer where nothing is, or nothing that takes a method.
fn not_here(method: &str, path: &str) -> HttpResponse {
    let known = access::methods(path);
    if known.is_empty() {
        return api::problem(404, "there is nothing at this address");
    }
    let mut response = api::problem(405, &format!("this address takes {known}, and no {method}"));
    if let Ok(known) = HeaderValue::try_from(known) {
        response.headers_mut().insert(ALLOW, known);
    }
    response
}

/// The answer to who lacks a right.
pub(super) fn lacking(right: Right) -> HttpResponse {
    api::problem(403, &lacks(right))
}

/// That a right is lacking, and where it comes from: from which roles, and whether `rights` may add it. Who has it is not told.
fn lacks(right: Right) -> String {
    let roles: Vec<&str> =
        Role::ALL.into_iter().filter(|role| Rights::of(*role, &[]).has(right)).map(Role::as_str).collect();
    let comes = match roles.as_slice() {
        [role] => format!("the role {role} has it"),
        several => format!("the roles {} have it", several.join(" and ")),
    };
    let added = if Right::ADDED.contains(&right) { ", and `rights` can add it to any other" } else { "" };
    format!("your account or token lacks the right `{}`: {comes}{added}", right.as_str())
}

/// Who asks. What was shown counts, also where nothing is needed to be shown: what is wrong is refused.
async fn identify(admin: &Admin, request: &ServiceRequest, need: Need) -> Result<Caller, HttpResponse> {
    let entry = &admin.entry;
    if let Some(shown) = request.headers().get(AUTHORIZATION).filter(|_| need != Need::Nothing) {
        let scheme_and_secret = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
        let found = match scheme_and_secret.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            Some((_, secret)) => token::caller(admin, secret.trim()).await,
            None => Err((String::new(), unauthorized("the Authorization header must be `Bearer` and a token"))),
        };
        return match found {
            Ok(caller) => Ok(caller),
            Err((name, response)) => {
                if response.status() == StatusCode::UNAUTHORIZED {
                    refused(admin, request.peer_addr().map(|peer| peer.ip()), "token", &name).await;
                }
                Err(response)
            }
        };
    }
    if let Some(cookie) = entry.cookie_of(request.headers(), "session") {
        let terms = entry.provider().map(|provider| provider.terms());
        let found = entry.sessions.find(cookie, (&entry.accounts.load(), terms), admin.clock.monotonic());
        if let Some(Found { who, rights, form }) = found {
            return Ok(Caller { who, rights, form: Some(form), scope: Vec::new() });
        }
    }
    Ok(if entry.is_open() { Caller::machine() } else { Caller::default() })
}

/// A page sends people to where they log in, and back from there; the API says so.
fn ask_to_log_in(request: &ServiceRequest) -> HttpResponse {
    let is_page = !request.path().starts_with("/api/") && request.path() != "/metrics";
    // A script that follows what happens would take the login for a part of its page.
    let is_part = request.headers().contains_key(PART);
    if is_page && !is_part {
        let way = if request.method().is_safe() { Way::to(request.uri()) } else { Way::default() };
        return HttpResponse::SeeOther().insert_header((LOCATION, way.by("/login"))).finish();
    }
    unauthorized(
        "this needs a login at the page, or a token in the Authorization header (--token or OMGATE_TOKEN for commands)",
    )
}

pub(super) fn unauthorized(detail: &str) -> HttpResponse {
    let mut response = api::problem(401, detail);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"omgate\""));
    response
}

/// Writes into the audit log that somebody was not let in; of a flood not every one.
pub(super) async fn refused(admin: &Admin, address: Option<IpAddr>, object: &'static str, name: &str) {
    refused_because(admin, address, (object, name), "").await;
}

/// As [`refused`], and why.
pub(super) async fn refused_because(
    admin: &Admin,
    address: Option<IpAddr>,
    (object, name): (&'static str, &str),
    why: &str,
) {
    let from = address.map(|address| format!("from {address}")).unwrap_or_default();
    tracing::warn!(object, name, from, why, "somebody was not let in at the admin listener");
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let Some(unwritten) = admin.entry.notes.take(admin.clock.monotonic()) else { return };
    let more =
        if unwritten == 0 { String::new() } else { format!("; {unwritten} more were refused since the last entry") };
    let by = By::new("", "");
    admin.audit(by, "refuse", (object, name), unwritten + 1, &format!("refused {from}{why}{more}")).await;
}

/// Why a request does not come from this machine's own people; none when it may.
fn stranger(headers: &HeaderMap) -> Option<String> {
    let host = text(headers, &HOST);
    (!is_loopback(host)).then(|| format!("the Host {host:?} is not a loopback name; use 127.0.0.1 or localhost"))
}

/// Why a changing call may come from another site's page, and the status that says so; none when it does not.
fn crossed(headers: &HeaderMap, path: &str) -> Option<(u16, String)> {
    let content_type = text(headers, &CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let wanted = match path {
        "/login" | "/logout" => "application/x-www-form-urlencoded",
        _ => "application/json",
    };
    if !content_type.eq_ignore_ascii_case(wanted) {
        return Some((415, format!("a changing call needs the header Content-Type: {wanted}")));
    }
    let host = text(headers, &HOST);
    let same = |origin: &str| {
        !host.is_empty()
            && (origin.strip_prefix("http://") == Some(host) || origin.strip_prefix("https://") == Some(host))
    };
    // What browsers say of where a call comes from, and no page can say otherwise.
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    // A browser that is told to keep its origin to itself says so of our own pages too.
    let is_own = |origin: &str| same(origin) || (origin == "null" && site == "same-origin");
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(is_own)
    {
        return Some((
            403,
            format!("the call comes from another origin: {origin:?}; open the page at its own address"),
        ));
    }
    match site {
        "" | "same-origin" | "none" => None,
        site => Some((403, format!("the call comes from another site's page: Sec-Fetch-Site is {site:?}"))),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where a request comes from.
pub(super) fn address_of(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// The headers that every answer has.
pub(super) fn harden(headers: &mut HeaderMap, door: Door) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        // With none at all a browser hides from us that a form is our own.
        ("referrer-policy", "same-origin"),
        ("content-security-policy", policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        // Assets say for themselves how long they may be kept.
        if name != "cache-control" || !headers.contains_key(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if door.is_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(HeaderName::from_static("strict-transport-security"), year);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn who_lacks_a_right_is_told_where_it_comes_from() {
        for (right, words) in [
            (Right::Administer, "the right `administer`: the role admin has it"),
            (Right::Operate, "the right `operate`: the roles operator and admin have it"),
            (Right::Replay, "the roles operator and admin have it, and `rights` can add it to any other"),
            (Right::Unmask, "the role admin has it, and `rights` can add it to any other"),
        ] {
            assert!(lacks(right).ends_with(words), "{}", lacks(right));
        }
    }

    #[test]
    fn only_loopback_hosts_are_served_where_all_is_open() {
        for host in ["127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081", "127.9.9.9"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example:8081", "127.0.0.1.evil.example", "[::2]:1", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(stranger(&headers(&[("host", "evil")])).is_some());
    }

    #[test]
    fn a_changing_call_must_be_json_or_our_own_form_from_the_same_origin() {
        let json = ("content-type", "application/json; charset=utf-8");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let host = ("host", "localhost:1");
        for (path, pairs, is_fine) in [
            ("/api/v1/reload", &[host, json][..], true),
            ("/api/v1/reload", &[host, json, ("origin", "http://localhost:1")], true),
            ("/api/v1/reload", &[host, json, ("sec-fetch-site", "same-origin")], true),
            ("/api/v1/reload", &[host], false),
            ("/api/v1/reload", &[host, form], false),
            ("/api/v1/reload", &[host, json, ("origin", "http://evil")], false),
            ("/api/v1/reload", &[host, json, ("origin", "null")], false),
            ("/api/v1/reload", &[host, json, ("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            ("/login", &[host, form, ("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            ("/login", &[host, form, ("origin", "null"), ("sec-fetch-site", "cross-site")], false),
            ("/login", &[host, form, ("origin", "null"), ("sec-fetch-site", "none")], false),
            ("/api/v1/reload", &[json, ("origin", "http://")], false),
            ("/api/v1/reload", &[host, json, ("sec-fetch-site", "cross-site")], false),
            ("/login", &[host, form], true),
            ("/login", &[host, json], false),
            ("/logout", &[host, form, ("origin", "https://evil")], false),
        ] {
            assert_eq!(crossed(&headers(pairs), path).is_none(), is_fine, "{path} {pairs:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_set_for_this_host_alone() {
        let plain = Entry::default();
        let sent = headers(&[("cookie", "a=b; xomgate_session=no; omgate_session=yes; omgate_session=late")]);
        assert_eq!(plain.cookie_of(&sent, "session"), Some("yes"));
        assert_eq!(plain.cookie_of(&sent, "form"), None);
        let tls = Entry::new(Arc::default(), Arc::default(), Door { is_tls: true, is_exposed: true });
        assert_eq!(tls.cookie_of(&sent, "session"), None);
        assert_eq!(
            tls.cookie("session", "x", None),
            "__Host-omgate_session=x; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(plain.is_open() && !tls.is_open(), "what others reach is never open");
    }
}

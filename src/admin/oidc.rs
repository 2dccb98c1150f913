//! Logins by way of an OIDC provider: a browser goes there, and comes back with a code.
//!
//! The way back is a link from another site, so what knows the browser again is a cookie that such links bring along
//! (`Lax`); the cookie of the session is not, which is why the page that sets it goes on by itself.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use askama::Template;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::account::{self, Rights};
use crate::admin::entry;
use crate::admin::login;
use crate::admin::session::{AGE_MAX, Holder};
use crate::admin::throttle::network;
use crate::admin::way::Way;
use crate::admin::{Admin, api, ui};
use crate::login::{LoginError, Person, Secrets};
use crate::store::By;

/// The cookie by which the browser is known that comes back.
const COOKIE: &str = "oidc";
/// Whoever was away longer begins again.
const AWAY_MAX: Duration = Duration::from_secs(10 * 60);
/// So many are away at once; the one that is away longest is forgotten.
const AWAY_COUNT_MAX: usize = 1_000;
/// So many of one network.
const OF_NETWORK_MAX: usize = 100;
/// So many of those who came back are asked about at once.
pub(super) const ASKED_MAX: usize = 8;
/// Nobody waits longer for that.
const ASKED_PATIENCE: Duration = Duration::from_secs(10);
/// Of what a provider says in the address, in characters.
const QUOTE_MAX: usize = 200;

/// Why nobody came in.
#[derive(Debug)]
enum Failed {
    /// Nobody logged in.
    Login(LoginError),
    /// The provider knows who it is, and nothing says what they may do here.
    Stranger(String),
}

impl From<LoginError> for Failed {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}

/// Who knows people.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Where it is.
    fn issuer(&self) -> &str;

    /// By what it is told from another, and from itself with other rules: a session lasts as long as this.
    fn terms(&self) -> [u8; 32];

    /// Where a browser goes to log in.
    fn address<'a>(&'a self, secrets: &'a Secrets) -> BoxFuture<'a, Result<String, LoginError>>;

    /// Who came back with a code.
    fn person<'a>(&'a self, code: &'a str, secrets: &'a Secrets) -> BoxFuture<'a, Result<Person, LoginError>>;

    /// What somebody may do here; none: nothing, not even come in.
    fn rights(&self, person: &Person) -> Option<Rights>;
}

/// The provider of the configuration in force; none: there is none.
pub type People = Arc<ArcSwap<Option<Arc<dyn Provider>>>>;

/// Those who were sent to the provider and did not come back yet, each by the hash of its state.
#[derive(Debug, Default)]
pub(super) struct Away {
    all: Mutex<HashMap<[u8; 32], Gone>>,
}

#[derive(Debug)]
struct Gone {
    browser: [u8; 32],
    network: IpAddr,
    secrets: Secrets,
    /// Where to go then.
    way: Way,
    since: Duration,
}

impl Away {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], Gone>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one.
    fn begin(&self, (secrets, way): (Secrets, Way), cookie: &str, address: IpAddr, now: Duration) {
        let network = network(address);
        let mut all = self.all();
        all.retain(|_, gone| gone.lasts(now));
        while all.values().filter(|gone| gone.network == network).count() >= OF_NETWORK_MAX {
            forget(&mut all, |gone| gone.network == network);
        }
        while all.len() >= AWAY_COUNT_MAX {
            forget(&mut all, |_| true);
        }
        let browser = account::fingerprint(cookie);
        all.insert(account::fingerprint(&secrets.state), Gone { browser, network, secrets, way, since: now });
    }

    /// The one that comes back, once: whatever becomes of it, its state is of no use any more.
    fn take(&self, state: &str, cookie: &str, now: Duration) -> Option<(Secrets, Way)> {
        let gone = self.all().remove(&account::fingerprint(state))?;
        let is_same = verify_slices_are_equal(&gone.browser, &account::fingerprint(cookie)).is_ok();
        (is_same && gone.lasts(now)).then_some((gone.secrets, gone.way))
    }
}

impl Gone {
    fn lasts(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) < AWAY_MAX
    }
}

fn forget(all: &mut HashMap<[u8; 32], Gone>, among: impl Fn(&Gone) -> bool) {
    let longest = all.iter().filter(|(_, gone)| among(gone)).min_by_key(|(_, gone)| gone.since);
    if let Some(key) = longest.map(|(key, _)| *key) {
        all.remove(&key);
    }
}

/// Sends a browser to the provider.
pub(super) async fn begin(admin: web::Data<Admin>, request: HttpRequest) -> HttpResponse {
    let entry = &admin.entry;
    let Some(provider) = entry.provider() else { return none() };
    let way = Way::asked(&request);
    let made = || Ok::<_, String>((account::secret()?, account::secret()?, account::secret()?, account::secret()?));
    let Ok((state, nonce, verifier, cookie)) = made() else {
        let fault = "The machine gives no random numbers. Try again.";
        return login::show(&admin, StatusCode::SERVICE_UNAVAILABLE, fault, &way);
    };
    let secrets = Secrets { state, nonce, verifier };
    let place = match provider.address(&secrets).await {
        Ok(place) => place,
        Err(error) => return Failed::Login(error).answer(&admin, None, &way).await,
    };
    entry.away.begin((secrets, way), &cookie, entry::address_of(&request), admin.clock.monotonic());
    HttpResponse::SeeOther()
        .insert_header((LOCATION, place))
        .insert_header((SET_COOKIE, entry.lax_cookie(COOKIE, &cookie, AWAY_MAX)))
        .finish()
}

fn none() -> HttpResponse {
    api::problem(404, "nobody logs in by way of a provider here: the configuration has no [server.oidc]")
}

/// What a browser brings back.
#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
    iss: Option<String>,
}

/// Lets somebody in who comes back from the provider.
pub(super) async fn back(
    admin: web::Data<Admin>,
    request: HttpRequest,
    query: Result<web::Query<Back>, actix_web::Error>,
) -> HttpResponse {
    let entry = &admin.entry;
    let Some(provider) = entry.provider() else { return none() };
    let (address, now) = (entry::address_of(&request), admin.clock.monotonic());
    if let Err(wait) = entry.throttle.begin_from(address, now) {
        let seconds = wait.as_secs() + 1;
        let fault = format!("Too many attempts failed. Try again in {} minutes.", seconds.div_ceil(60));
        let mut response = login::show(&admin, StatusCode::TOO_MANY_REQUESTS, &fault, &Way::default());
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
        return response;
    }
    let cookie = entry.cookie_of(request.headers(), COOKIE).unwrap_or_default();
    let mut way = Way::default();
    let found = match query {
        Ok(query) => {
            let back = query.into_inner();
            let gone = entry.away.take(&back.state, cookie, now).map(|(secrets, wanted)| {
                way = wanted;
                secrets
            });
            known(&admin, &*provider, back, gone).await
        }
        Err(_) => Err(LoginError::Refused("what came back from the provider cannot be read".to_owned()).into()),
    };
    let mut response = match found {
        Ok((name, rights)) => {
            entry.throttle.forgive_from(address);
            come_in(&admin, &*provider, (name, rights), (address, &way)).await
        }
        Err(failed) => {
            if matches!(failed, Failed::Login(LoginError::Unavailable(_))) {
                entry.throttle.forgive_from(address);
            }
            failed.answer(&admin, Some(address), &way).await
        }
    };
    if let Ok(over) = HeaderValue::from_str(&entry.lax_cookie(COOKIE, "", Duration::ZERO)) {
        response.headers_mut().append(SET_COOKIE, over);
    }
    response
}

/// Who it is that came back, and what they may do.
async fn known(
    admin: &Admin,
    provider: &dyn Provider,
    back: Back,
    gone: Option<Secrets>,
) -> Result<(String, Rights), Failed> {
    let Back { code, error, error_description, iss, .. } = back;
    let entry = &admin.entry;
    let refused = |reason: &str| Err(LoginError::Refused(reason.to_owned()).into());
    let Some(secrets) = gone else {
        return refused(
            "this login was not begun in this browser, was used already, or took longer than 10 minutes; log in again",
        );
    };
    if iss.is_some_and(|iss| iss != provider.issuer()) {
        return refused("another provider than the one of the configuration sent the browser back (iss)");
    }
    if !error.is_empty() {
        let words = [error, error_description].into_iter().filter(|words| !words.is_empty());
        let said: String = words.collect::<Vec<_>>().join(": ").chars().take(QUOTE_MAX).collect();
        return refused(&format!("the provider says {said:?}"));
    }
    let Ok(Ok(_turn)) = tokio::time::timeout(ASKED_PATIENCE, entry.asked.acquire()).await else {
        return Err(LoginError::Unavailable("too many log in at this moment; try again".to_owned()).into());
    };
    let person = provider.person(&code, &secrets).await?;
    match provider.rights(&person) {
        Some(rights) => Ok((person.known_as(), rights)),
        None => Err(Failed::Stranger(person.known_as())),
    }
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome<'a> {
    name: &'a str,
    to: &'a str,
    style: String,
}

/// Begins a session, and goes on to the page.
async fn come_in(
    admin: &Admin,
    provider: &dyn Provider,
    (name, rights): (String, Rights),
    (address, way): (IpAddr, &Way),
) -> HttpResponse {
    let entry = &admin.entry;
    let words = rights.words().join(", ");
    let holder = Holder::Person { name: name.clone(), rights, terms: provider.terms() };
    let Ok(begun) = entry.sessions.begin(holder, admin.clock.monotonic()) else {
        return login::show(admin, StatusCode::SERVICE_UNAVAILABLE, "No session can be begun now. Try again.", way);
    };
    let by = By::new(format!("oidc {name}"), "");
    admin.audit(by, "login", ("oidc", &name), 1, &format!("done, from {address}; may {words}")).await;
    let to = way.as_str();
    let mut response = ui::html(StatusCode::OK, &Welcome { name: &name, to, style: ui::assets::address("style.css") });
    // From a page of our own: what leads here comes from another site, and to that no cookie of a session is sent.
    if let Ok(on) = HeaderValue::try_from(format!("0; url={to}")) {
        response.headers_mut().insert(HeaderName::from_static("refresh"), on);
    }
    if let Ok(cookie) = HeaderValue::from_str(&entry.cookie("session", &begun.cookie, Some(AGE_MAX))) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

impl Failed {
    /// The page that says so; written into the audit log where somebody came back.
    async fn answer(self, admin: &Admin, address: Option<IpAddr>, way: &Way) -> HttpResponse {
        let (status, name, reason) = match self {
            Self::Login(LoginError::Unavailable(reason)) => (StatusCode::SERVICE_UNAVAILABLE, None, reason),
            Self::Login(LoginError::Refused(reason)) => (StatusCode::FORBIDDEN, None, reason),
            Self::Stranger(name) => {
                let reason = format!(
                    "the provider knows you as {name}, and no [[server.oidc.grant]] of the configuration says what you may do"
                );
                (StatusCode::FORBIDDEN, Some(name), reason)
            }
        };
        if address.is_some() {
            let name = name.as_deref().unwrap_or("(not known)");
            entry::refused_because(admin, address, ("oidc", name), &reason).await;
        } else {
            tracing::warn!(reason, "nobody can log in by way of the provider");
        }
        login::show(admin, status, &format!("Not logged in: {reason}."), way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    fn secrets(state: &str) -> Secrets {
        Secrets { state: state.to_owned(), nonce: "n".to_owned(), verifier: "v".to_owned() }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn whoever_comes_back_is_known_once_in_the_same_browser_and_not_too_late() {
        let away = Away::default();
        let begin = |state: &str| {
            away.begin((secrets(state), Way::of(&format!("/find?q={state}"))), "cookie", address(1), minutes(0));
        };
        begin("one");
        let (_, way) = away.take("one", "cookie", minutes(9)).unwrap();
        assert_eq!(way.as_str(), "/find?q=one");
        assert!(away.take("one", "cookie", minutes(9)).is_none(), "once");
        begin("two");
        assert!(away.take("two", "another", minutes(0)).is_none(), "another browser");
        assert!(away.take("two", "cookie", minutes(0)).is_none(), "and then nobody");
        begin("three");
        assert!(away.take("three", "cookie", minutes(10)).is_none(), "too late");
        assert!(away.take("", "", minutes(0)).is_none());
    }

    #[test]
    fn no_more_are_remembered_than_the_bounds() {
        let away = Away::default();
        for number in 0..OF_NETWORK_MAX + 10 {
            away.begin(
                (secrets(&format!("s{number}")), Way::default()),
                "cookie",
                address(1),
                Duration::from_millis(number as u64),
            );
        }
        assert_eq!(away.all().len(), OF_NETWORK_MAX);
        assert!(away.take("s9", "cookie", minutes(1)).is_none() && away.take("s10", "cookie", minutes(1)).is_some());
        for number in 0..2_000 {
            away.begin((secrets(&format!("t{number}")), Way::default()), "cookie", address(2 + number), minutes(1));
        }
        assert_eq!(away.all().len(), AWAY_COUNT_MAX);
    }
}

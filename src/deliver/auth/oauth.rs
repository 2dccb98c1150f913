//! OAuth 2.0 tokens: fetched once for all calls of a system, kept until shortly before they expire, fetched anew when they
//! are refused.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::Value as Json;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::jwt::Assertion;
use super::{AuthError, bearer, sensitive};
use crate::deliver::{self, Asked, Target};
use crate::secret::Text;

/// How long a token endpoint may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of its answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A token is not used any more this long before it expires, or a tenth of its life if that is less.
const MARGIN_MAX: Duration = Duration::from_secs(60);
/// How long a token is used of which nobody says how long it is good. One that is refused is fetched anew anyway.
const LIFE: Duration = Duration::from_secs(900);
/// No token is kept longer, whatever its endpoint says.
const LIFE_MAX: Duration = Duration::from_secs(86_400);
/// Of what a token endpoint says in words, in characters.
const QUOTE_MAX: usize = 200;

/// Where the client's own secret goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `Authorization: Basic`, as RFC 6749 §2.3.1 prefers it.
    #[default]
    Header,
    /// `client_id` and `client_secret` in the body.
    Body,
}

/// How tokens are asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The token endpoint.
    pub token_url: Text,
    /// Who we are to it.
    pub client_id: Option<Text>,
    /// And what proves it.
    pub client_secret: Option<Text>,
    /// What for.
    pub scope: Option<Text>,
    /// Whom for; of the request, not of the assertion.
    pub audience: Option<Text>,
    /// Where the client's secret goes.
    pub style: Style,
    /// With it the grant is that of RFC 7523; without it, client credentials.
    pub assertion: Option<Assertion>,
}

/// The tokens of a system.
pub struct OAuth {
    settings: Settings,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    flight: Option<Flight>,
}

/// A request for a token that is under way: whoever needs one waits for it.
type Flight = Shared<BoxFuture<'static, Result<Arc<Token>, TokenError>>>;

/// A token.
pub(in crate::deliver) struct Token {
    /// As it is sent.
    pub(in crate::deliver) header: HeaderValue,
    /// As it came.
    pub(in crate::deliver) text: String,
    /// By the monotonic clock.
    until: Duration,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::deliver) enum TokenError {
    /// There may be one later.
    NotNow(String),
    /// Our credentials were refused.
    Refused(String),
}

impl OAuth {
    /// No token is held yet.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, AuthError> {
        let address = || AuthError::Address(settings.token_url.masked());
        let url = Url::parse(settings.token_url.reveal().trim()).map_err(|_| address())?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !(matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare) {
            return Err(address());
        }
        if settings.assertion.is_none() && (settings.client_id.is_none() || settings.client_secret.is_none()) {
            return Err(AuthError::Missing("client credentials need client_id and client_secret"));
        }
        if settings.client_secret.is_some() && settings.client_id.is_none() {
            return Err(AuthError::Missing("client_secret needs client_id"));
        }
        Ok(Self { settings, held: Mutex::default() })
    }

    /// Where tokens come from.
    #[must_use]
    pub fn token_url(&self) -> &Text {
        &self.settings.token_url
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        let Settings { token_url, client_id, client_secret, scope, audience, style: _, assertion } = &self.settings;
        let plain = [client_id, client_secret, scope, audience].into_iter().flatten();
        std::iter::once(token_url).chain(plain).chain(assertion.iter().flat_map(Assertion::texts)).collect()
    }

    /// A token that is good; never the one that was refused.
    pub(in crate::deliver) async fn token(
        self: &Arc<Self>,
        target: &Target,
        refused: Option<&Arc<Token>>,
    ) -> Result<Arc<Token>, TokenError> {
        let flight = {
            let mut held = self.held();
            if let Some(token) = &held.token {
                let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, token));
                if !is_refused && target.freshness.clock.monotonic() < token.until {
                    return Ok(Arc::clone(token));
                }
                held.token = None;
            }
            held.flight.get_or_insert_with(|| self.fly(target)).clone()
        };
        flight.await
    }

    /// Begins a request of its own task: it goes on when the call that needed it first has no time left.
    fn fly(self: &Arc<Self>, target: &Target) -> Flight {
        let (me, target) = (Arc::clone(self), target.clone());
        let fetching = tokio::spawn(async move {
            let fetched = me.fetch(&target).await;
            let mut held = me.held();
            held.flight = None;
            held.token = fetched.as_ref().ok().map(Arc::clone);
            fetched
        });
        let me = Arc::clone(self);
        async move {
            match fetching.await {
                Ok(fetched) => fetched,
                Err(_) => {
                    me.held().flight = None;
                    Err(TokenError::NotNow("the request for a token was cut off".to_owned()))
                }
            }
        }
        .boxed()
        .shared()
    }

    async fn fetch(&self, target: &Target) -> Result<Arc<Token>, TokenError> {
        let begun = target.freshness.clock.monotonic();
        let place = deliver::place(&self.settings.token_url);
        let hidden = |reason: &str| target.mask.apply(reason);
        let asked = self.asked(target).map_err(|reason| TokenError::NotNow(hidden(&reason)))?;
        let answer = tokio::time::timeout(PATIENCE, deliver::ask(target, asked, ANSWER_BYTES_MAX)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => return Err(TokenError::NotNow(hidden(&format!("no token from {place}: {reason}")))),
            Err(_) => {
                let reason = format!("no token from {place}: no whole answer within {} s", PATIENCE.as_secs());
                return Err(TokenError::NotNow(reason));
            }
        };
        let wrong = |what: &str| TokenError::NotNow(hidden(&format!("no token from {place}: {what}")));
        let body: Json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
        if answer.status != 200 {
            return Err(refusal(answer.status, &body, &place, &hidden));
        }
        if answer.cut {
            return Err(wrong("its answer is longer than 64 KiB"));
        }
        let Some(text) = body.get("access_token").and_then(Json::as_str) else {
            return Err(wrong("its answer is no JSON with an access_token"));
        };
        let kind = body.get("token_type").and_then(Json::as_str).unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(wrong(&format!("it gives a token of type {:?}, and only Bearer is known", short(kind))));
        }
        let header = bearer(text).map_err(|error| wrong(&error.to_string()))?;
        let life = body.get("expires_in").map_or(Some(LIFE), seconds).unwrap_or(LIFE).min(LIFE_MAX);
        let until = begun.saturating_add(life.saturating_sub(MARGIN_MAX.min(life / 10)));
        Ok(Arc::new(Token { header, text: text.to_owned(), until }))
    }

    /// The request for a token.
    fn asked(&self, target: &Target) -> Result<Asked, String> {
        let Settings { token_url, client_id, client_secret, scope, audience, style, assertion } = &self.settings;
        let mut form = Serializer::new(String::new());
        match assertion {
            Some(assertion) => {
                let id = deliver::random_hex(&target.freshness.nonces)?;
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", &assertion.made(target.freshness.clock.now(), &id)?);
            }
            None => {
                form.append_pair("grant_type", "client_credentials");
            }
        }
        for (name, value) in [("scope", scope), ("audience", audience)] {
            if let Some(value) = value {
                form.append_pair(name, value.reveal().trim());
            }
        }
        let authorization = match (style, client_id, client_secret) {
            (Style::Header, Some(id), Some(secret)) => Some(basic(id, secret)?),
            (_, id, secret) => {
                for (name, value) in [("client_id", id), ("client_secret", secret)] {
                    if let Some(value) = value {
                        form.append_pair(name, value.reveal().trim());
                    }
                }
                None
            }
        };
        let url = Url::parse(token_url.reveal().trim()).map_err(|error| format!("token_url is not valid: {error}"))?;
        Ok(Asked { url, authorization, form: Some(form.finish()) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// RFC 6749 §2.3.1: both are form-encoded before they are put together.
pub(in crate::deliver) fn basic(id: &Text, secret: &Text) -> Result<HeaderValue, String> {
    let encoded = |text: &Text| byte_serialize(text.reveal().trim().as_bytes()).collect::<String>();
    let both = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    sensitive(format!("Basic {both}"), "client_secret").map_err(|error| error.to_string())
}

/// What an answer other than 200 comes to: RFC 6749 §5.2 has 400 and 401 for credentials that are refused.
pub(in crate::deliver) fn refusal(
    status: u16,
    body: &Json,
    place: &str,
    hidden: &dyn Fn(&str) -> String,
) -> TokenError {
    let said = |name: &str| body.get(name).and_then(Json::as_str).map(short).filter(|text| !text.is_empty());
    let mut reason = format!("no token from {place}: it answered {status}");
    for text in [said("error"), said("error_description")].into_iter().flatten() {
        reason = format!("{reason}: {text}");
    }
    let reason = hidden(&reason);
    let is_passing = matches!(said("error").as_deref(), Some("temporarily_unavailable" | "server_error" | "slow_down"));
    match status {
        400 | 401 | 403 if !is_passing => TokenError::Refused(reason),
        _ => TokenError::NotNow(reason),
    }
}

/// On one line and not too long.
pub(in crate::deliver) fn short(text: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(QUOTE_MAX).collect()
}

/// A number, or one written as text, as some endpoints do.
fn seconds(value: &Json) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))?;
    Duration::try_from_secs_f64(number.clamp(0.0, LIFE_MAX.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_endpoint_says_is_refused_credentials_or_passing_trouble() {
        let hidden = |text: &str| text.replace("s3cr3t", "${SECRET}");
        for (status, body, expected) in [
            (
                400,
                "{\"error\":\"invalid_client\"}",
                TokenError::Refused("no token from p: it answered 400: invalid_client".into()),
            ),
            (401, "", TokenError::Refused("no token from p: it answered 401".into())),
            (
                403,
                "{\"error\":\"x\",\"error_description\":\"s3cr3t\\n is wrong\"}",
                TokenError::Refused("no token from p: it answered 403: x: ${SECRET} is wrong".into()),
            ),
            (
                400,
                "{\"error\":\"temporarily_unavailable\"}",
                TokenError::NotNow("no token from p: it answered 400: temporarily_unavailable".into()),
            ),
            (302, "", TokenError::NotNow("no token from p: it answered 302".into())),
            (429, "", TokenError::NotNow("no token from p: it answered 429".into())),
            (404, "", TokenError::NotNow("no token from p: it answered 404".into())),
            (503, "<html>", TokenError::NotNow("no token from p: it answered 503".into())),
        ] {
            let body = serde_json::from_str(body).unwrap_or(Json::Null);
            assert_eq!(refusal(status, &body, "p", &hidden), expected);
        }
    }

    #[test]
    fn a_life_is_a_number_of_seconds_however_it_is_written() {
        for (text, expected) in
            [("3600", Some(3_600)), ("\"3600\"", Some(3_600)), ("-1", Some(0)), ("1e99", Some(86_400)), ("true", None)]
        {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(seconds(&value), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn settings_that_make_no_request_are_refused() {
        let settings = |url: &str, id: Option<&str>, secret: Option<&str>| Settings {
            token_url: Text::plain(url),
            client_id: id.map(Text::plain),
            client_secret: secret.map(Text::plain),
            scope: None,
            audience: None,
            style: Style::Header,
            assertion: None,
        };
        for (settings, expected) in [
            (
                settings("login.example.com/token", Some("a"), Some("b")),
                "token_url \"login.example.com/token\" is no http",
            ),
            (settings("ftp://h/token", Some("a"), Some("b")), "is no http"),
            (settings("https://u:p@h/token", Some("a"), Some("b")), "without credentials"),
            (settings("https://h/token", Some("a"), None), "client credentials need client_id and client_secret"),
            (settings("https://h/token", None, Some("b")), "client credentials need client_id and client_secret"),
        ] {
            let error = OAuth::new(settings).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

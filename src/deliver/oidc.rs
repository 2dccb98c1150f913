//! Logins at an OIDC provider: the authorization code flow with PKCE (OIDC Core §3.1, RFC 7636).
//!
//! What the provider publishes of itself, its addresses and keys, is kept for a while, so that no login that anybody may
//! begin costs it a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Map, Value as Json};
use tokio::sync::Mutex;
use url::Host;
use url::form_urlencoded::Serializer;

use self::id_token::{Expected, Fault, Keys};
use crate::deliver::auth::oauth::{TokenError, basic, refusal, short};
use crate::deliver::exchange::{Asked, ask};
use crate::deliver::{self, Target};
use crate::login::{LoginError, Person, Secrets};
use crate::secret::Text;

mod id_token;

/// How long an answer of the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What a provider publishes is asked for anew after this long.
const PUBLISHED_MAX: Duration = Duration::from_secs(3_600);
/// After one failure nobody asks for what it publishes for this long.
const PAUSE: Duration = Duration::from_secs(5);
/// So often its keys are asked for because a token names another, and once more after each [`KEYS_EVERY`].
const KEYS_AGAIN_MAX: u32 = 5;
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// The longest code that is handed on, in bytes.
const CODE_BYTES_MAX: usize = 4 << 10;
/// So many values of a claim are looked at.
const VALUES_MAX: usize = 1_000;
/// The longest name of a person, in characters.
const NAME_MAX: usize = 64;
/// The longest subject, as OIDC bounds it.
const SUBJECT_MAX: usize = 255;

/// Who the provider is, and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address, as its tokens name it.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// What proves it; none: a public client, for which PKCE alone vouches.
    pub client_secret: Option<Text>,
    /// Where people come back to.
    pub redirect_url: String,
    /// What is asked for; `openid` is always there.
    pub scopes: Vec<String>,
    /// The claim that says what somebody may; in a nested one the names are joined by dots.
    pub role_claim: String,
    /// The claim that says what somebody is called.
    pub name_claim: String,
}

/// A provider, and what is known of it.
pub struct Provider {
    settings: Settings,
    target: Target,
    known: Mutex<Known>,
}

/// What the provider publishes.
#[derive(Default)]
struct Known {
    published: Option<Published>,
    /// When it failed to, and why.
    failed: Option<(Duration, String)>,
    again: Again,
}

#[derive(Clone)]
struct Published {
    addresses: Arc<Addresses>,
    keys: Arc<Keys>,
    at: Duration,
}

/// How often the keys may still be asked for out of turn.
struct Again {
    left: u32,
    refilled: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self { left: KEYS_AGAIN_MAX, refilled: Duration::ZERO }
    }
}

impl Again {
    fn take(&mut self, now: Duration) -> bool {
        while self.left < KEYS_AGAIN_MAX && now.saturating_sub(self.refilled) >= KEYS_EVERY {
            self.left += 1;
            self.refilled += KEYS_EVERY;
        }
        if self.left == KEYS_AGAIN_MAX {
            self.refilled = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

/// Where a provider does what.
#[derive(Debug)]
struct Addresses {
    authorization: Url,
    token: Url,
    keys: Url,
    /// It takes the client's secret in the body alone.
    secret_in_body: bool,
}

impl Provider {
    /// Nothing is asked yet. `target` is how it is reached.
    ///
    /// # Errors
    /// What is wrong with an address.
    pub fn new(settings: Settings, target: Target) -> Result<Self, String> {
        fault_of_address(&settings.issuer)
            .map_or(Ok(()), |fault| Err(format!("issuer {:?} {fault}", settings.issuer)))?;
        let target = match &settings.client_secret {
            Some(secret) => target.hiding([secret]),
            None => target,
        };
        Ok(Self { settings, target, known: Mutex::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Where a browser goes to log in.
    ///
    /// # Errors
    /// When it is not known where that is.
    pub async fn address(&self, secrets: &Secrets) -> Result<String, LoginError> {
        let Settings { client_id, redirect_url, scopes, .. } = &self.settings;
        let mut url = self.published().await?.addresses.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_url)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &secrets.state)
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &challenge(&secrets.verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who came back with a code.
    ///
    /// # Errors
    /// When the provider refuses the code, or its token does not count.
    pub async fn person(&self, code: &str, secrets: &Secrets) -> Result<Person, LoginError> {
        if code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(LoginError::Refused("the provider's code is empty or too long".to_owned()));
        }
        let published = self.published().await?;
        let token = self.token(&published.addresses, code, secrets).await?;
        let claims = self.claims(&token, &published, secrets).await?;
        Ok(self.read(&claims))
    }

    /// The request for what a code is good for.
    fn asked(&self, addresses: &Addresses, code: &str, secrets: &Secrets) -> Result<Asked, LoginError> {
        let Settings { client_id, client_secret, redirect_url, .. } = &self.settings;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_url)
            .append_pair("code_verifier", &secrets.verifier);
        let mut authorization = None;
        match client_secret {
            Some(secret) if !addresses.secret_in_body => {
                let made = basic(&Text::plain(client_id), secret).map_err(LoginError::Unavailable)?;
                authorization = Some(made);
            }
            Some(secret) => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret.reveal().trim());
            }
            None => {
                form.append_pair("client_id", client_id);
            }
        }
        Ok(Asked { url: addresses.token.clone(), authorization, form: Some(form.finish()) })
    }

    /// The ID token that a code is good for.
    async fn token(&self, addresses: &Addresses, code: &str, secrets: &Secrets) -> Result<String, LoginError> {
        let (status, body) = self.ask(self.asked(addresses, code, secrets)?).await?;
        let hidden = |text: &str| self.target.mask.apply(text).replace(code, "…").replace(&secrets.verifier, "…");
        let place = place(&addresses.token);
        if status != 200 {
            return Err(match refusal(status, &body, &place, &hidden) {
                TokenError::NotNow(reason) => LoginError::Unavailable(reason),
                TokenError::Refused(reason) => LoginError::Refused(reason),
            });
        }
        let token = body.get("id_token").and_then(Json::as_str);
        token.map(str::to_owned).ok_or_else(|| {
            LoginError::Unavailable(format!("the answer from {place} has no id_token: is `openid` among the scopes?"))
        })
    }

    /// What a token says, when it counts; by other keys where the provider has new ones.
    async fn claims(
        &self,
        token: &str,
        published: &Published,
        secrets: &Secrets,
    ) -> Result<Map<String, Json>, LoginError> {
        let now = self.target.freshness.clock.now().0;
        let Settings { issuer, client_id, .. } = &self.settings;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact for 280,000 years")]
        let expected = Expected { issuer, client_id, nonce: &secrets.nonce, now: now as f64 / 1_000.0 };
        let refused = |reason: &str| LoginError::Refused(format!("the ID token {reason}"));
        match id_token::verify(token, &published.keys, &expected) {
            Ok(claims) => Ok(claims),
            Err(Fault::Wrong(reason)) => Err(refused(&reason)),
            Err(Fault::Key(reason)) => {
                let Some(keys) = self.keys_again(published).await? else { return Err(refused(&reason)) };
                id_token::verify(token, &keys, &expected).map_err(|fault| match fault {
                    Fault::Wrong(reason) | Fault::Key(reason) => refused(&reason),
                })
            }
        }
    }

    fn read(&self, claims: &Map<String, Json>) -> Person {
        let text = |name: &str| claim(claims, name).and_then(Json::as_str).unwrap_or_default();
        let subject = shown(text("sub"), SUBJECT_MAX, "-._@+=:|/~!");
        let name = shown(text(&self.settings.name_claim), NAME_MAX, "-._@+' ");
        let values = match claim(claims, &self.settings.role_claim) {
            Some(Json::String(one)) => vec![one.clone()],
            Some(Json::Array(several)) => {
                several.iter().filter_map(Json::as_str).take(VALUES_MAX).map(str::to_owned).collect()
            }
            Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
        };
        let name = if name.trim().is_empty() { subject.clone() } else { name };
        Person { subject, name, values }
    }

    /// What the provider publishes, asked for when it is not known, or was for too long.
    async fn published(&self) -> Result<Published, LoginError> {
        let mut known = self.known.lock().await;
        let now = self.now();
        if let Some(published) = known.published.as_ref().filter(|known| now.saturating_sub(known.at) < PUBLISHED_MAX) {
            return Ok(published.clone());
        }
        if let Some((at, reason)) = &known.failed
            && now.saturating_sub(*at) < PAUSE
        {
            return Err(LoginError::Unavailable(reason.clone()));
        }
        let asked = async {
            let addresses = Arc::new(self.discover().await?);
            let keys = Arc::new(self.fetch_keys(&addresses).await?);
            Ok(Published { addresses, keys, at: now })
        };
        let asked: Result<Published, LoginError> = asked.await;
        known.failed = asked.as_ref().err().map(|error| (self.now(), error.to_string()));
        known.published = asked.as_ref().ok().cloned();
        asked
    }

    /// Its keys as they are now; none when they were asked for too often.
    async fn keys_again(&self, used: &Published) -> Result<Option<Arc<Keys>>, LoginError> {
        let mut known = self.known.lock().await;
        if let Some(published) = known.published.as_ref().filter(|known| !Arc::ptr_eq(&known.keys, &used.keys)) {
            // Somebody else had them fetched since.
            return Ok(Some(Arc::clone(&published.keys)));
        }
        if !known.again.take(self.now()) {
            return Ok(None);
        }
        let keys = Arc::new(self.fetch_keys(&used.addresses).await?);
        if let Some(published) = &mut known.published {
            published.keys = Arc::clone(&keys);
        }
        Ok(Some(keys))
    }

    async fn discover(&self) -> Result<Addresses, LoginError> {
        let issuer = &self.settings.issuer;
        let wrong = |what: &str| LoginError::Unavailable(format!("the provider {issuer} cannot be used: {what}"));
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| wrong(&error.to_string()))?;
        let document = self.document(url).await?;
        let text = |name: &str| document.get(name).and_then(Json::as_str).unwrap_or_default();
        if text("issuer") != issuer.as_str() {
            let other = quoted(text("issuer"));
            return Err(wrong(&format!(
                "it calls itself {other}; write exactly that as issuer if it is the right one"
            )));
        }
        let address = |name: &str| match (Url::parse(text(name)), fault_of_address(text(name))) {
            (Ok(url), None) => Ok(url),
            (_, fault) => Err(wrong(&format!("its {name} {}", fault.unwrap_or("is no address")))),
        };
        let ways: Option<Vec<&str>> = document
            .get("token_endpoint_auth_methods_supported")
            .and_then(Json::as_array)
            .map(|ways| ways.iter().filter_map(Json::as_str).collect());
        let takes = |way: &str| ways.as_ref().is_some_and(|ways| ways.contains(&way));
        Ok(Addresses {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            keys: address("jwks_uri")?,
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        })
    }

    async fn fetch_keys(&self, addresses: &Addresses) -> Result<Keys, LoginError> {
        let document = self.document(addresses.keys.clone()).await?;
        let place = place(&addresses.keys);
        Keys::read(&document).ok_or_else(|| LoginError::Unavailable(format!("the answer from {place} is no key set")))
    }

    async fn document(&self, url: Url) -> Result<Json, LoginError> {
        let place = place(&url);
        let (status, body) = self.ask(Asked { url, authorization: None, form: None }).await?;
        match (status, body) {
            (200, Json::Object(object)) => Ok(Json::Object(object)),
            (200, _) => Err(LoginError::Unavailable(format!("the answer from {place} is no JSON object"))),
            (status, _) => Err(LoginError::Unavailable(format!("{place} answered {status}"))),
        }
    }

    /// Status, and the JSON of the answer; null where it is none.
    async fn ask(&self, asked: Asked) -> Result<(u16, Json), LoginError> {
        let place = place(&asked.url);
        let unavailable = |reason: &str| LoginError::Unavailable(self.target.mask.apply(reason));
        let answer = tokio::time::timeout(PATIENCE, ask(&self.target, asked, ANSWER_BYTES_MAX)).await;
        match answer {
            Ok(Ok(answer)) if answer.cut => Err(unavailable(&format!("the answer from {place} is longer than 64 KiB"))),
            Ok(Ok(answer)) => Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Json::Null))),
            Ok(Err(reason)) => Err(unavailable(&format!("{place} gave no answer: {reason}"))),
            Err(_) => Err(unavailable(&format!("no whole answer from {place} within {} s", PATIENCE.as_secs()))),
        }
    }

    fn now(&self) -> Duration {
        self.target.freshness.clock.monotonic()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Scheme, host and port.
fn place(url: &Url) -> String {
    deliver::place(&Text::plain(url.as_str()))
}

/// RFC 7636 §4.2.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// A claim by its name; where there is none of it, by its path.
fn claim<'c>(claims: &'c Map<String, Json>, name: &str) -> Option<&'c Json> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

/// A name without what could be taken for something else in a log.
fn shown(name: &str, length_max: usize, marks: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || marks.contains(c);
    name.chars().take(length_max).map(|c| if fits(c) { c } else { '?' }).collect()
}

/// What a provider says in words, bounded, so that it is seen where it begins and ends.
fn quoted(text: &str) -> String {
    format!("{:?}", short(text))
}

/// What is wrong with an address at which passwords, codes or keys are asked for; none when nothing is.
#[must_use]
pub fn fault_of_address(address: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(address) else { return Some("is no address such as https://login.example.com") };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Some("must have no credentials and no fragment");
    }
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Some("is no address such as https://login.example.com"),
    };
    match url.scheme() {
        "https" => None,
        "http" if is_here => None,
        "http" => Some("must begin with https://: codes and keys go over it"),
        _ => Some("is no https address"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verifier_is_shown_as_its_hash() {
        // RFC 7636, appendix B.
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn addresses_are_https_or_of_this_machine() {
        for (address, fault) in [
            ("https://login.example.com/realms/house", None),
            ("http://127.0.0.1:9000", None),
            ("http://localhost:9000/x", None),
            ("http://[::1]:9000", None),
            ("http://login.example.com", Some("must begin with https://")),
            ("http://localhost.evil.example", Some("must begin with https://")),
            ("https://user:word@login.example.com", Some("no credentials")),
            ("https://login.example.com/#x", Some("no fragment")),
            ("ftp://login.example.com", Some("no https address")),
            ("login.example.com", Some("is no address")),
            ("", Some("is no address")),
        ] {
            let found = fault_of_address(address);
            assert!(found.is_some() == fault.is_some(), "{address}: {found:?}");
            assert!(found.unwrap_or_default().contains(fault.unwrap_or_default()), "{address}: {found:?}");
        }
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_its_path() {
        let claims = json!({"groups": ["a"], "realm_access": {"roles": ["b"]}, "https://x.example/roles": "c"});
        let claims = claims.as_object().unwrap();
        assert_eq!(claim(claims, "groups"), Some(&json!(["a"])));
        assert_eq!(claim(claims, "realm_access.roles"), Some(&json!(["b"])));
        assert_eq!(claim(claims, "https://x.example/roles"), Some(&json!("c")));
        for name in ["", "realm_access.other", "groups.a", "none", "."] {
            assert_eq!(claim(claims, name), None, "{name}");
        }
    }

    #[test]
    fn a_name_cannot_pretend_to_be_more_than_a_name() {
        assert_eq!(shown("alice (root)\nlogin done", NAME_MAX, "-._@+' "), "alice ?root??login done");
        assert_eq!(shown(&"x".repeat(100), NAME_MAX, ""), "x".repeat(NAME_MAX));
        assert_eq!(shown("Jürgen O'Neil", NAME_MAX, "-._@+' "), "Jürgen O'Neil");
    }

    #[test]
    fn keys_are_asked_for_out_of_turn_a_few_times_and_then_seldom() {
        let mut again = Again::default();
        let seconds = Duration::from_secs;
        assert_eq!((0..20).filter(|_| again.take(seconds(100))).count(), 5);
        assert!(!again.take(seconds(159)) && again.take(seconds(160)) && !again.take(seconds(161)));
    }
}

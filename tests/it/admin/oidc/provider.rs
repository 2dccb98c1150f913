//! An OIDC provider of a test: it checks what it is asked with, and says what the test wants it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};

use crate::credentials::server::{Asked, HANG, Server, answer};

/// By which the provider knows the gateway.
pub(super) const CLIENT_SECRET: &str = "s3cr3t-of-the-client";

/// Who signs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Rsa,
    Ecdsa,
    /// Another key under the name of one that is published.
    Stranger,
    /// A key that is nowhere published.
    Unpublished,
    /// `alg: none`.
    Unsigned,
    /// HMAC with what everybody knows: the public key.
    Shared,
    /// It is no token.
    Nobody,
}

/// What a token says other than it should.
#[derive(Clone, Debug)]
pub(super) struct Lie {
    pub(super) signer: Signer,
    /// Claims of the person.
    pub(super) claims: Value,
    /// Claims in place of the right ones.
    pub(super) more: Value,
}

impl Lie {
    pub(super) fn claims(claims: Value) -> Self {
        Self { signer: Signer::Rsa, claims, more: json!({}) }
    }
}

/// What is wrong with the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    Not,
    Refuses,
    Rambles,
    Redirects,
    NoJson,
    AnotherIssuer,
    InClear,
    Elsewhere,
    NoKeys,
    Hangs,
    NoClient,
    NoToken,
}

struct Approved {
    asked: HashMap<String, String>,
    lie: Lie,
}

struct State {
    away: Away,
    way: &'static str,
    approved: HashMap<String, Approved>,
    count: usize,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    generation: usize,
    /// Whatever must never be seen.
    secrets: Vec<String>,
}

/// The provider.
pub(super) struct Idp {
    server: Server,
    state: Arc<Mutex<State>>,
}

fn ecdsa() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

impl Idp {
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            away: Away::Not,
            way: "client_secret_basic",
            approved: HashMap::new(),
            count: 0,
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ecdsa: ecdsa(),
            generation: 0,
            secrets: vec![CLIENT_SECRET.to_owned()],
        }));
        let issuer: Arc<OnceLock<String>> = Arc::default();
        let (mine, its) = (Arc::clone(&state), Arc::clone(&issuer));
        let server = Server::start(move |_, asked| mine.lock().unwrap().answer(its.get().unwrap(), asked)).await;
        issuer.set(server.url("")).unwrap();
        Self { server, state }
    }

    pub(super) fn issuer(&self) -> String {
        self.server.url("")
    }

    pub(super) fn port(&self) -> u16 {
        self.server.address.port()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn be(&self, away: Away) {
        self.state().away = away;
    }

    pub(super) fn take_secret_by(&self, way: &'static str) {
        self.state().way = way;
    }

    /// Other keys from now on.
    pub(super) fn rotate(&self) {
        let mut state = self.state();
        state.rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        state.ecdsa = ecdsa();
        state.generation += 1;
    }

    /// Somebody logs in there: state and code of the way back.
    pub(super) fn approve(&self, place: &Url, lie: Lie) -> (String, String) {
        let asked: HashMap<String, String> = place.query_pairs().into_owned().collect();
        let mut state = self.state();
        state.count += 1;
        let code = format!("s3cr3t-code-{}", state.count);
        let back = asked["state"].clone();
        state.secrets.extend([code.clone(), asked["nonce"].clone()]);
        state.approved.insert(code.clone(), Approved { asked, lie });
        (back, code)
    }

    /// How often it was asked there.
    pub(super) fn count(&self, path: &str) -> usize {
        self.server.asked().iter().filter(|asked| asked.target == path).count()
    }

    pub(super) fn assert_nothing_secret_in(&self, text: &str) {
        for secret in &self.state().secrets {
            assert!(!text.contains(secret.as_str()), "{secret}: {text}");
        }
    }
}

impl State {
    fn answer(&mut self, issuer: &str, asked: &Asked) -> String {
        let json = |value: &Value| answer(200, "Content-Type: application/json\r\n", &value.to_string());
        match (asked.target.as_str(), self.away) {
            (_, Away::Refuses) => answer(500, "", "trouble"),
            (_, Away::Rambles) => answer(200, "", &format!("{{\"x\": \"{}\"}}", "x".repeat(70_000))),
            (_, Away::Redirects) => answer(302, &format!("Location: {issuer}/elsewhere\r\n"), ""),
            (_, Away::NoJson) => answer(200, "", "<html>"),
            (_, Away::Hangs) => HANG.to_owned(),
            ("/.well-known/openid-configuration", away) => json(&self.discovery(issuer, away)),
            ("/keys", Away::NoKeys) => json(&json!({"keys": "none"})),
            ("/keys", _) => json(&self.keys()),
            ("/token", Away::NoClient) => answer(401, "", "{\"error\":\"invalid_client\"}"),
            ("/token", Away::NoToken) => json(&json!({"access_token": "x", "token_type": "Bearer"})),
            ("/token", _) => self.token(issuer, asked),
            _ => answer(404, "", ""),
        }
    }

    fn discovery(&self, issuer: &str, away: Away) -> Value {
        let token = match away {
            Away::InClear => "http://login.example.com/token".to_owned(),
            Away::Elsewhere => "https://169.254.169.254/token".to_owned(),
            _ => format!("{issuer}/token"),
        };
        let named = if away == Away::AnotherIssuer { "https://login.example.com" } else { issuer };
        json!({
            "issuer": named,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": token,
            "jwks_uri": format!("{issuer}/keys"),
            "token_endpoint_auth_methods_supported": [self.way],
        })
    }

    fn kid(&self, kind: &str) -> String {
        format!("{kind}-{}", self.generation)
    }

    /// Modulus and exponent of PKCS#1.
    fn modulus(&self) -> (Vec<u8>, Vec<u8>) {
        let der = self.rsa.public_key().as_ref();
        assert_eq!((der[4], &der[5..8]), (2, &[0x82, 1, 1][..]), "2048 bits");
        (der[8..8 + 257].to_vec(), der[der.len() - 3..].to_vec())
    }

    fn keys(&self) -> Value {
        let ((n, e), point) = (self.modulus(), self.ecdsa.public_key().as_ref());
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [
            {"kty": "oct", "kid": "shared", "k": "c2hhcmVk"},
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid("rsa"), "n": text(&n), "e": text(&e)},
            {"kty": "RSA", "use": "enc", "kid": self.kid("rsa"), "n": text(&n), "e": text(&e)},
            {"kty": "EC", "crv": "P-256", "kid": self.kid("ec"), "x": text(&point[1..33]), "y": text(&point[33..])},
        ]})
    }

    fn token(&mut self, issuer: &str, asked: &Asked) -> String {
        let refuse = |error: &str| answer(400, "", &json!({"error": error, "error_description": "no"}).to_string());
        let form = asked.form();
        let by_body = (form.get("client_id").map(String::as_str), form.get("client_secret").map(String::as_str));
        let is_client = match self.way {
            "client_secret_basic" => {
                asked.basic() == Some(("omgate".to_owned(), CLIENT_SECRET.to_owned())) && by_body == (None, None)
            }
            "client_secret_post" => asked.basic().is_none() && by_body == (Some("omgate"), Some(CLIENT_SECRET)),
            _ => asked.basic().is_none() && by_body == (Some("omgate"), None),
        };
        if !is_client {
            return refuse("invalid_client");
        }
        let verifier = form.get("code_verifier").cloned().unwrap_or_default();
        self.secrets.push(verifier.clone());
        // A code is good once.
        let Some(approved) = self.approved.remove(&form["code"]) else { return refuse("invalid_grant") };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let is_whole = form["grant_type"] == "authorization_code"
            && form["redirect_uri"] == approved.asked["redirect_uri"]
            && challenge == approved.asked["code_challenge"];
        if !is_whole {
            return refuse("invalid_grant");
        }
        let token = self.id_token(issuer, &approved);
        self.secrets.push(token.clone());
        let body = json!({"access_token": "s3cr3t-access", "token_type": "Bearer", "id_token": token});
        answer(200, "Content-Type: application/json\r\n", &body.to_string())
    }

    fn id_token(&self, issuer: &str, approved: &Approved) -> String {
        let Approved { asked, lie } = approved;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": issuer, "aud": "omgate", "sub": "248289", "nonce": asked["nonce"], "iat": now,
            "exp": now + 300});
        for change in [&lie.claims, &lie.more] {
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
        }
        let (algorithm, kid) = match lie.signer {
            Signer::Rsa | Signer::Stranger | Signer::Nobody => ("RS256", self.kid("rsa")),
            Signer::Ecdsa => ("ES256", self.kid("ec")),
            Signer::Unpublished => ("ES256", "unpublished".to_owned()),
            Signer::Unsigned => ("none", self.kid("rsa")),
            Signer::Shared => ("HS256", self.kid("rsa")),
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", part(&json!({"alg": algorithm, "kid": kid, "typ": "JWT"})), part(&claims));
        let signature = match lie.signer {
            Signer::Rsa => signed(&self.rsa, &content),
            Signer::Stranger => signed(&RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), &content),
            Signer::Ecdsa => self.ecdsa.sign(&SystemRandom::new(), content.as_bytes()).unwrap().as_ref().to_vec(),
            Signer::Unpublished => ecdsa().sign(&SystemRandom::new(), content.as_bytes()).unwrap().as_ref().to_vec(),
            Signer::Unsigned => Vec::new(),
            Signer::Shared => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.modulus().0);
                hmac::sign(&key, content.as_bytes()).as_ref().to_vec()
            }
            Signer::Nobody => return "s3cr3t-nonsense".to_owned(),
        };
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn signed(pair: &RsaKeyPair, content: &str) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), content.as_bytes(), &mut signature).unwrap();
    signature
}

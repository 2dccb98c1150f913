//! Credentials on the wire: a server checks every parameter of what a destination, or a token endpoint, is asked with.

pub(crate) mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::Digest as _;
use omgate::call::Call;
use omgate::clock::{Clock, Timestamp};
use omgate::deliver::auth::Auth;
use omgate::deliver::auth::digest::Digest;
use omgate::deliver::auth::jwt::Assertion;
use omgate::deliver::auth::oauth::{OAuth, Settings, Style};
use omgate::deliver::auth::webhook::Webhook;
use omgate::deliver::{self, Target, TargetConfig};
use omgate::outcome::{Exchange, Response};
use omgate::secret::Text;
use omgate::signing::Key;
use serde_json::Value;

use crate::deliver::{call, config, secret};
use crate::harness::{ACTION, Notice, ORGANIZATION, Process, envelope};
use server::{Asked, HANG, Server, answer};

/// A clock in the test's hand.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(1_790_000_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

impl Hand {
    fn at_start() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(0)))
    }

    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

fn target(auth: Auth) -> Target {
    Target::new(TargetConfig { auth: Some(auth), ..config() }).unwrap()
}

fn timed(auth: Auth, clock: &Arc<Hand>) -> Target {
    let count = AtomicUsize::new(0);
    let nonces = move || Some([u8::try_from(count.fetch_add(1, Ordering::SeqCst) % 251).unwrap(); 16]);
    target(auth).with_freshness(Arc::clone(clock) as _, Arc::new(nonces))
}

async fn answered(target: &Target, call: &Call) -> Response {
    let exchange = deliver::send(target, call).await;
    let Exchange::Answered(response) = exchange else { panic!("{exchange:?}") };
    response
}

async fn refused(target: &Target, call: &Call) -> String {
    let exchange = deliver::send(target, call).await;
    let Exchange::NoCredentials { reason, is_refused: true } = exchange else { panic!("{exchange:?}") };
    reason
}

async fn untried(target: &Target, call: &Call) -> String {
    let exchange = deliver::send(target, call).await;
    let Exchange::NoCredentials { reason, is_refused: false } = exchange else { panic!("{exchange:?}") };
    reason
}

#[tokio::test]
async fn an_api_key_stands_in_the_header_that_is_named() {
    let server = Server::start(|_, _| answer(204, "", "")).await;
    let auth = Auth::Header { name: "X-Api-Key".to_owned(), value: secret("${KEY}", "s3cr3t-key\n") };
    let mut call = call(&server.url("/orders"));
    call.headers.push(("x-api-key".to_owned(), Text::plain("of the route")));
    assert_eq!(answered(&target(auth), &call).await.status, 204);
    let asked = server.asked().remove(0);
    assert_eq!(asked.header("x-api-key"), "s3cr3t-key");
    assert_eq!(asked.header("authorization"), "");
}

/// What a Digest server knows of its users, and checks.
fn digest_response(asked: &Asked, sha: bool, nonce: &str) -> Option<u32> {
    let text = asked.header("authorization").strip_prefix("Digest ")?;
    let get = |name: &str| {
        let found = text.split(", ").find_map(|part| part.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no {name}: {text}")).trim_matches('"').to_owned()
    };
    let hash = |text: String| {
        let bytes = if sha {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref().to_vec()
        } else {
            md5::Md5::digest(text.as_bytes()).to_vec()
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    if get("nonce") != nonce {
        return None;
    }
    assert_eq!((get("username").as_str(), get("realm").as_str(), get("uri")), ("omgate", "erp", asked.target.clone()));
    assert_eq!((get("qop").as_str(), get("opaque").as_str()), ("auth", "o"));
    assert_eq!(get("algorithm"), if sha { "SHA-256" } else { "MD5" });
    let (one, two) = (hash("omgate:erp:s3cr3t-word".to_owned()), hash(format!("{}:{}", asked.method, asked.target)));
    let expected = hash(format!("{one}:{nonce}:{}:{}:auth:{two}", get("nc"), get("cnonce")));
    (get("response") == expected).then(|| u32::from_str_radix(&get("nc"), 16).unwrap())
}

fn challenge(sha: bool, nonce: &str, more: &str) -> String {
    let md5 = format!("WWW-Authenticate: Digest realm=\"erp\", nonce=\"{nonce}\", qop=\"auth\", opaque=\"o\"");
    let sha = if sha { format!("{md5}, algorithm=SHA-256{more}\r\n") } else { String::new() };
    format!("WWW-Authenticate: Negotiate\r\n{sha}{md5}, algorithm=MD5{more}\r\n")
}

fn digest(password: &str) -> Auth {
    Auth::Digest(Arc::new(Digest::new(Text::plain("omgate"), secret("${PASSWORD}", password))))
}

#[tokio::test]
async fn digest_answers_what_is_asked_and_counts_each_use_of_a_nonce() {
    for sha in [false, true] {
        let server = Server::start(move |_, asked| match digest_response(asked, sha, "n1") {
            Some(count) => answer(200, "", &count.to_string()),
            None => answer(401, &challenge(sha, "n1", ""), "who are you"),
        })
        .await;
        let target = target(digest("s3cr3t-word"));
        for count in ["1", "2", "3"] {
            let response = answered(&target, &call(&server.url("/orders?a=b%20c"))).await;
            assert_eq!((response.status, &response.body[..]), (200, count.as_bytes()));
        }
        let asked = server.asked();
        assert_eq!(asked.len(), 4, "only the first call was asked for credentials");
        assert!(asked.iter().all(|asked| asked.body == "{\"a\":1}"), "no body is lost: {asked:?}");
        assert_eq!(asked[0].header("authorization"), "");
        assert!(!format!("{asked:?}").contains("s3cr3t"));
    }
}

#[tokio::test]
async fn digest_takes_a_new_nonce_once_when_the_old_one_is_stale() {
    let nonce = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&nonce);
    let server = Server::start(move |_, asked| {
        let nonce = format!("n{}", now.load(Ordering::SeqCst));
        match digest_response(asked, true, &nonce) {
            Some(count) => answer(200, "", &count.to_string()),
            None => answer(401, &challenge(true, &nonce, ", stale=true"), ""),
        }
    })
    .await;
    let target = target(digest("s3cr3t-word"));
    assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
    nonce.store(2, Ordering::SeqCst);
    let response = answered(&target, &call(&server.url("/"))).await;
    assert_eq!((response.status, &response.body[..]), (200, &b"1"[..]), "the new nonce is counted from 1");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn digest_gives_up_after_a_few_requests_and_says_what_the_server_said() {
    for (more, requests) in [("", 2), (", stale=true", 3)] {
        let server = Server::start(move |_, asked| {
            assert_eq!(digest_response(asked, true, "n1"), None);
            answer(401, &challenge(true, "n1", more), "no")
        })
        .await;
        let target = target(digest("wrong"));
        assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 401);
        assert_eq!(server.asked().len(), requests);
    }
    let server = Server::start(|_, _| answer(401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "")).await;
    assert_eq!(answered(&target(digest("x")), &call(&server.url("/"))).await.status, 401);
    assert_eq!(server.asked().len(), 1, "what is not asked for is not tried");
}

#[tokio::test]
async fn a_digest_server_that_dies_over_the_second_request_leaves_the_outcome_open() {
    let asks = |number| if number == 0 { answer(401, &challenge(true, "n1", ""), "") } else { String::new() };
    let server = Server::start(move |number, _| asks(number)).await;
    let exchange = deliver::send(&target(digest("s3cr3t-word")), &call(&server.url("/"))).await;
    assert!(matches!(exchange, Exchange::NoAnswer { .. }), "{exchange:?}");
}

#[tokio::test]
async fn each_request_is_signed_with_every_secret_over_id_moment_and_body() {
    let server = Server::start(|_, _| answer(200, "", "")).await;
    let keys = [b"a new key of at least 24 bytes".as_slice(), b"the old key, until it is gone"];
    let new = secret("${NEW}", &format!("whsec_{}", STANDARD.encode(keys[0])));
    let auth = Auth::Webhook(Webhook { secrets: vec![new, secret("${OLD}", "the old key, until it is gone")] });
    let clock = Hand::at_start();
    let target = timed(auth, &clock);
    for moment in ["1790000000", "1790000060"] {
        assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
        let asked = server.asked().pop().unwrap();
        assert_eq!((asked.header("webhook-id"), asked.header("webhook-timestamp")), ("key-1", moment));
        let signed = format!("key-1.{moment}.{}", asked.body);
        let expected: Vec<String> = keys
            .iter()
            .map(|key| {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
                format!("v1,{}", STANDARD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
            })
            .collect();
        assert_eq!(asked.header("webhook-signature"), expected.join(" "));
        clock.advance(60);
    }
}

fn settings(token_url: &str) -> Settings {
    Settings {
        token_url: Text::plain(token_url),
        client_id: Some(Text::plain("omgate client")),
        client_secret: Some(secret("${SECRET}", "s3cr3t:&word")),
        scope: Some(Text::plain("orders.write orders.read")),
        audience: Some(Text::plain("https://erp.example.com/")),
        style: Style::Header,
        assertion: None,
    }
}

fn oauth(settings: Settings) -> Auth {
    Auth::OAuth(Arc::new(OAuth::new(settings).unwrap()))
}

fn token(number: usize, life: u32) -> String {
    let body = format!("{{\"access_token\":\"t0ken-{number}\",\"token_type\":\"bearer\",\"expires_in\":{life}}}");
    answer(200, "Content-Type: application/json\r\n", &body)
}

/// Takes only the newest of the tokens that an endpoint has given.
async fn guarded(given: &Arc<AtomicUsize>) -> Server {
    let given = Arc::clone(given);
    Server::start(move |_, asked| {
        let newest = format!("Bearer t0ken-{}", given.load(Ordering::SeqCst));
        if asked.header("authorization") == newest { answer(200, "", "ok") } else { answer(401, "", "no") }
    })
    .await
}

#[tokio::test]
async fn client_credentials_are_sent_as_the_style_says_and_the_token_is_kept() {
    for style in [Style::Header, Style::Body] {
        let tokens = Server::start(|_, _| token(1, 3_600)).await;
        let server = guarded(&Arc::new(AtomicUsize::new(1))).await;
        let target = target(oauth(Settings { style, ..settings(&tokens.url("/oauth/token")) }));
        for _ in 0..3 {
            assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
        }
        let asked = tokens.asked();
        assert_eq!(asked.len(), 1, "one token for all");
        let (asked, mut form) = (&asked[0], asked[0].form());
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/oauth/token"));
        assert_eq!(asked.header("accept"), "application/json");
        let own = |form: &mut std::collections::HashMap<String, String>, name: &str| form.remove(name);
        assert_eq!(own(&mut form, "grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(own(&mut form, "scope").as_deref(), Some("orders.write orders.read"));
        assert_eq!(own(&mut form, "audience").as_deref(), Some("https://erp.example.com/"));
        if style == Style::Header {
            assert_eq!(asked.basic(), Some(("omgate+client".to_owned(), "s3cr3t%3A%26word".to_owned())));
        } else {
            assert_eq!(asked.header("authorization"), "");
            assert_eq!(own(&mut form, "client_id").as_deref(), Some("omgate client"));
            assert_eq!(own(&mut form, "client_secret").as_deref(), Some("s3cr3t:&word"));
        }
        assert!(form.is_empty(), "nothing else is sent: {form:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_calls_that_meet_an_expired_token_ask_for_one() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let tokens = Server::start(move |_, _| token(count.fetch_add(1, Ordering::SeqCst) + 1, 100)).await;
    let server = guarded(&given).await;
    let clock = Hand::at_start();
    let target = timed(oauth(settings(&tokens.url("/"))), &clock);
    for (seconds, expected) in [(0, 1), (85, 1), (10, 2), (89, 2), (1, 3)] {
        clock.advance(seconds);
        let calls = (0..32).map(|_| {
            let (target, call) = (target.clone(), call(&server.url("/")));
            tokio::spawn(async move { answered(&target, &call).await.status })
        });
        for status in futures_util::future::join_all(calls).await {
            assert_eq!(status.unwrap(), 200);
        }
        assert_eq!(tokens.asked().len(), expected, "a tenth of its life before it expires, a token is fetched anew");
    }
    assert_eq!(server.asked().len(), 5 * 32, "no call was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_thrown_away_and_fetched_once_more() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let tokens = Server::start(move |_, _| token(count.fetch_add(1, Ordering::SeqCst) + 1, 3_600)).await;
    let server = guarded(&given).await;
    let target = target(oauth(settings(&tokens.url("/"))));
    assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
    // The system no longer knows the token that is held.
    given.store(7, Ordering::SeqCst);
    let calls = (0..8).map(|_| {
        let (target, call) = (target.clone(), call(&server.url("/")));
        tokio::spawn(async move { answered(&target, &call).await.status })
    });
    for status in futures_util::future::join_all(calls).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(tokens.asked().len(), 2, "one more for all of them");
    assert!(server.asked().iter().all(|asked| asked.body == "{\"a\":1}"));
}

#[tokio::test]
async fn a_token_that_is_refused_twice_is_an_answer_and_not_shown() {
    let tokens = Server::start(|number, _| token(number, 3_600)).await;
    let server = Server::start(|_, asked| {
        let said = asked.header("authorization");
        answer(401, &format!("X-Said: {said}\r\n"), &format!("{said} and {said}, no"))
    })
    .await;
    let target = target(oauth(settings(&tokens.url("/"))));
    let response = answered(&target, &call(&server.url("/"))).await;
    assert_eq!((response.status, tokens.asked().len(), server.asked().len()), (401, 2, 2));
    assert_eq!(&response.body[..], b"Bearer ${token} and Bearer ${token}, no");
    assert_eq!(response.header("x-said"), Some("Bearer ${token}"));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_reason_says_why() {
    let server = Server::start(|_, _| panic!("nothing may be sent")).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let long = format!("{{\"access_token\":\"{}\"}}", "x".repeat(70_000));
    for (said, expected) in [
        (answer(503, "", "busy"), "it answered 503"),
        (answer(302, "Location: http://127.0.0.1:1/\r\n", ""), "it answered 302"),
        (answer(200, "", "<html>s3cr3t:&word</html>"), "no JSON with an access_token"),
        (answer(200, "", "{\"access_token\":7}"), "no JSON with an access_token"),
        (answer(200, "", "{\"access_token\":\"a b\"}"), "a line break, a blank"),
        (answer(200, "", "{\"access_token\":\"\"}"), "the token is empty"),
        (answer(200, "", "{\"access_token\":\"a\",\"token_type\":\"MAC\"}"), "of type \"MAC\""),
        (answer(200, "", &long), "longer than 64 KiB"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(), ""),
    ] {
        let shown = format!("{said:.60}");
        let tokens = Server::start(move |_, _| said.clone()).await;
        let target = target(oauth(settings(&tokens.url("/"))));
        let quick = Call { timeout: Duration::from_secs(4), ..call(&server.url("/")) };
        let reason = untried(&target, &quick).await;
        assert!(reason.contains(expected), "{shown}: {reason}");
        assert!(!reason.contains("s3cr3t"), "{reason}");
        assert_eq!(tokens.asked().len(), 1, "{shown}");
    }
    let reason = untried(&target(oauth(settings(&format!("http://{closed}/")))), &call(&server.url("/"))).await;
    assert!(reason.starts_with(&format!("no token from http://{closed}: ")), "{reason}");
    // A call without a body counts as not sent either.
    let mute = Server::start(|_, _| HANG.to_owned()).await;
    let quick = Call { timeout: Duration::from_millis(200), body: bytes::Bytes::new(), ..call(&server.url("/")) };
    let reason = untried(&target(oauth(settings(&mute.url("/")))), &quick).await;
    assert_eq!(reason, "no token within the 0.2 s that the call may take");
}

#[tokio::test]
async fn an_endpoint_that_refuses_us_is_told_from_one_that_is_down() {
    let server = Server::start(|_, _| panic!("nothing may be sent")).await;
    for (status, body) in [
        (400, "{\"error\":\"invalid_client\",\"error_description\":\"s3cr3t:&word is wrong\"}"),
        (401, "{\"error\":\"invalid_client\",\"error_description\":\"s3cr3t:&word is wrong\"}"),
    ] {
        let tokens = Server::start(move |_, _| answer(status, "", body)).await;
        let reason = refused(&target(oauth(settings(&tokens.url("/")))), &call(&server.url("/"))).await;
        assert!(reason.ends_with(&format!("it answered {status}: invalid_client: ${{SECRET}} is wrong")), "{reason}");
    }
}

#[tokio::test]
async fn a_call_without_patience_leaves_a_token_behind_for_the_next() {
    let tokens = Server::start(|_, _| {
        std::thread::sleep(Duration::from_millis(300));
        token(1, 3_600)
    })
    .await;
    let server = guarded(&Arc::new(AtomicUsize::new(1))).await;
    let target = target(oauth(settings(&tokens.url("/"))));
    let quick = Call { timeout: Duration::from_millis(50), ..call(&server.url("/")) };
    untried(&target, &quick).await;
    assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
    assert_eq!(tokens.asked().len(), 1);
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[tokio::test]
async fn an_assertion_says_who_we_are_and_its_signature_holds() {
    let ecdsa =
        EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, ecdsa.as_ref()).unwrap();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa_der: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    for (name, pem, verification, public) in [
        (
            "ES256",
            pem("PRIVATE KEY", ecdsa.as_ref()),
            &signature::ECDSA_P256_SHA256_FIXED as &'static dyn signature::VerificationAlgorithm,
            pair.public_key().as_ref().to_vec(),
        ),
        (
            "RS256",
            pem("PRIVATE KEY", rsa_der.as_ref()),
            &signature::RSA_PKCS1_2048_8192_SHA256,
            rsa.public_key().as_ref().to_vec(),
        ),
    ] {
        let tokens = Server::start(|_, _| token(1, 60)).await;
        let server = guarded(&Arc::new(AtomicUsize::new(1))).await;
        let assertion = Assertion {
            key: Key::from_pem(&pem).unwrap(),
            issuer: Text::plain("omgate"),
            subject: Some(Text::plain("someone@example.com")),
            audience: Text::plain("https://login.example.com"),
            key_id: Some(Text::plain("k1")),
        };
        let settings = Settings {
            client_id: None,
            client_secret: None,
            audience: None,
            assertion: Some(assertion),
            ..settings(&tokens.url("/token"))
        };
        let target = timed(oauth(settings), &Hand::at_start());
        assert_eq!(answered(&target, &call(&server.url("/"))).await.status, 200);
        let form = tokens.asked()[0].form();
        assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert_eq!((form["scope"].as_str(), form.len()), ("orders.write orders.read", 3));
        let parts: Vec<&str> = form["assertion"].split('.').collect();
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let [header, claims] = [0, 1].map(|at| serde_json::from_slice::<Value>(&decoded(parts[at])).unwrap());
        assert_eq!(header, serde_json::json!({ "alg": name, "typ": "JWT", "kid": "k1" }));
        let expected = serde_json::json!({
            "iss": "omgate", "aud": "https://login.example.com", "sub": "someone@example.com",
            "iat": 1_790_000_000, "exp": 1_790_000_180, "jti": claims["jti"],
        });
        assert_eq!(claims, expected);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        let signed = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(verification, public).verify(signed.as_bytes(), &decoded(parts[2])).unwrap();
    }
}

fn gateway(destination: &str, auth: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{{public}}\"\nadmin_listen = \"127.0.0.1:{{admin}}\"\n\
         [[source]]\nname = \"orders\"\npath = \"/in\"\norganizations = [\"{ORGANIZATION}\"]\nactions = [\"{ACTION}\"]\n\
         [[destination]]\nname = \"erp\"\nkind = \"rest\"\nurl = \"{destination}\"\n{auth}\n\
         retry = {{ first = \"50ms\", max_wait = \"100ms\" }}\nbreaker = false\n\
         [[route]]\nsource = \"orders\"\ndestination = \"erp\"\n"
    )
}

async fn post_one(process: &Process) {
    let notice = Notice { id: "04l240000000001AAA", record: "006240000000001AAA", fields: "<sf:Name>A</sf:Name>" };
    assert!(process.post("/in", envelope(&[notice])).await.unwrap().is_ack());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_tokens_pause_the_system_and_an_endpoint_that_is_down_kills_nothing() {
    const SECRET: &str = "s3cr3t-of-the-client";
    let is_up = Arc::new(AtomicUsize::new(0));
    let up = Arc::clone(&is_up);
    let tokens =
        Server::start(move |_, _| if up.load(Ordering::SeqCst) == 0 { answer(503, "", "") } else { token(1, 60) })
            .await;
    let server = Server::start(|_, _| answer(401, "", "no")).await;
    let auth = format!(
        "auth = {{ oauth2 = {{ token_url = \"{}\", client_id = \"omgate\", client_secret = \"${{OMGATE_TEST_SECRET}}\" }} }}",
        tokens.url("/token")
    );
    let limited = gateway(&server.url("/orders"), &auth).replacen("retry = {", "retry = { max_attempts = 1,", 1);
    let mut process = Process::prepare(&limited);
    process.start(&[("OMGATE_TEST_SECRET", SECRET)]).await;
    post_one(&process).await;
    let patience = Duration::from_secs(20);
    // Asked again and again, and nothing is dead.
    let waiting = "/api/v1/deliveries?state=waiting";
    let deadline = Instant::now() + patience;
    while tokens.asked().len() < 4 {
        assert!(Instant::now() < deadline, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.admin_until(waiting, patience, |answer| answer[0]["attempts"].as_u64() >= Some(4)).await;
    assert!(server.asked().is_empty());
    let shown = process.admin("/api/v1/deliveries/1").await;
    assert_eq!(shown["attempts"][3]["outcome"], "retry", "{shown:#}");
    assert!(shown["attempts"][3]["reason"].as_str().unwrap().ends_with("it answered 503"), "{shown:#}");
    is_up.store(1, Ordering::SeqCst);
    let systems = process.admin_until("/api/v1/systems", patience, |answer| !answer["erp"]["paused"].is_null()).await;
    assert!(systems["erp"]["paused"]["reason"].as_str().unwrap().contains("401"), "{systems:#}");
    assert_eq!((server.asked().len(), server.asked()[1].header("authorization")), (2, "Bearer t0ken-1"));
    let text = format!("{systems} {} {}", process.log(), process.admin("/api/v1/deliveries").await);
    assert!(!text.contains(SECRET) && !text.contains("t0ken"), "{text}");
    process.stop().await;
}

//! Logins by way of an OIDC provider: one written for the test, that checks what it is asked with and lies where it is told to.

mod provider;
mod real;

use std::collections::HashMap;

use omgate::deliver::oidc::{Provider, Settings};
use omgate::deliver::{Target, TargetConfig};
use omgate::login::{LoginError, Secrets};
use omgate::secret::Text;
use reqwest::Url;
use serde_json::{Value, json};

use super::{FLOW, House, Told, accounts, hidden, tls_file};
use crate::harness::Process;
use provider::{Away, CLIENT_SECRET, Idp, Lie, Signer};

/// What a gateway is configured by whose people that provider knows; `more` stands in `[server.oidc]`.
fn with_provider(idp: &Idp, accounts: &str, more: &str) -> String {
    configured(&idp.issuer(), accounts, more)
}

fn configured(issuer: &str, accounts: &str, more: &str) -> String {
    let (certificate, key) = (tls_file("server.pem"), tls_file("server-key.pem"));
    format!(
        r#"
{accounts}
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"

[server.admin_tls]
certificate = "{certificate}"
private_key = "{key}"

[server.oidc]
issuer = "{issuer}"
client_id = "omgate"
client_secret = "${{file:client-secret}}"
role_claim = "realm_access.roles"
{more}

[[server.oidc.grant]]
value = "ops"
role = "operator"

[[server.oidc.grant]]
value = "root"
role = "admin"

[store]
url = "sqlite:omgate.db"

{FLOW}"#
    )
}

async fn house(configuration: &str) -> House {
    let secret = format!("{CLIENT_SECRET}\n");
    House::prepared(configuration, |process| {
        std::fs::write(process.folder.path().join("client-secret"), &secret).unwrap()
    })
    .await
}

/// A browser on its way: where the provider is to be asked, and the cookie that it has.
struct Trip {
    place: Url,
    cookie: String,
}

impl Trip {
    fn asked(&self) -> HashMap<String, String> {
        self.place.query_pairs().into_owned().collect()
    }
}

impl House {
    async fn leave(&self) -> Trip {
        self.leave_for("/login/oidc").await
    }

    async fn leave_for(&self, path: &str) -> Trip {
        let told = self.get(path, "").await;
        assert_eq!(told.status, 303, "{told:?}");
        let place = Url::parse(told.headers["location"].to_str().unwrap()).unwrap();
        let cookie = told.cookie("__Host-omgate_oidc").unwrap();
        for part in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/", "; Max-Age=600"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        Trip { place, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn come_back(&self, cookie: &str, query: &[(&str, &str)]) -> Told {
        let url = Url::parse_with_params(&self.url("/login/oidc/back"), query).unwrap();
        self.send(self.http.get(url).header("Cookie", cookie)).await
    }

    /// All the way, where the provider says this of somebody.
    async fn through(&self, idp: &Idp, lie: Lie) -> Told {
        let trip = self.leave().await;
        let (state, code) = idp.approve(&trip.place, lie);
        self.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await
    }
}

fn session(told: &Told) -> String {
    let cookie = told.cookie("__Host-omgate_session").unwrap_or_else(|| panic!("{told:?}"));
    assert!(cookie.contains("SameSite=Strict") && cookie.contains("HttpOnly") && cookie.contains("Secure"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

fn roles(roles: &[&str]) -> Lie {
    Lie::claims(json!({"realm_access": {"roles": roles}, "preferred_username": "alice"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_at_the_provider_comes_back_to_what_was_wanted_and_to_no_other_host() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, "", "")).await;
    let led = house.get("/deliveries?state=dead", "").await;
    let login = house.get(led.headers["location"].to_str().unwrap(), "").await.text;
    assert!(login.contains("<a href=\"/login/oidc?to=%2Fdeliveries%3Fstate%3Ddead\">"), "{login}");
    for (to, place) in [("/deliveries?state=dead", "/deliveries?state=dead"), ("//evil.example/", "/"), ("", "/")] {
        let trip = house.leave_for(&format!("/login/oidc?{}", encoded(to))).await;
        let (state, code) = idp.approve(&trip.place, roles(&["ops"]));
        let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
        assert_eq!(told.headers["refresh"], format!("0; url={place}"), "{told:?}");
        assert!(told.text.contains(&format!("<a href=\"{place}\">Go on</a>")), "{told:?}");
    }
    // Whoever is refused there finds the way again.
    let trip = house.leave_for(&format!("/login/oidc?{}", encoded("/audit"))).await;
    let (state, code) = idp.approve(&trip.place, roles(&["nobody"]));
    let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
    assert!(told.status == 403 && told.text.contains("/login/oidc?to=%2Faudit"), "{told:?}");
}

fn encoded(to: &str) -> String {
    Url::parse_with_params("http://x/", [("to", to)]).unwrap().query().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_provider_knows_comes_in_with_what_the_claim_grants() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, "", "scopes = [\"groups\"]")).await;
    let page = house.get("/login", "").await;
    assert!(page.text.contains("<a href=\"/login/oidc\">Log in at 127.0.0.1:"), "{page:?}");
    assert!(!page.text.contains("password"), "nobody has one: {page:?}");
    assert_eq!(house.get("/api/v1/ledger", "").await.status, 401, "it is not open");

    let trip = house.leave().await;
    let asked = trip.asked();
    assert_eq!(trip.place.path(), "/authorize");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "omgate"),
        ("redirect_uri", &house.url("/login/oidc/back")),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{asked:?}");
    }
    assert!(["state", "nonce", "code_challenge"].iter().all(|name| asked[*name].len() == 43), "{asked:?}");
    assert!(asked["state"] != asked["nonce"] && !trip.cookie.contains(&asked["state"]));

    for (signer, roles, may) in [
        (Signer::Rsa, vec!["ops"], false),
        (Signer::Ecdsa, vec!["other", "root"], true),
        (Signer::Rsa, vec!["root"], true),
    ] {
        let told = house.through(&idp, Lie { signer, ..self::roles(&roles) }).await;
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(told.headers["refresh"], "0; url=/", "the cookie is not sent along by who comes from elsewhere");
        assert!(told.cookie("__Host-omgate_oidc").unwrap().contains("Max-Age=0"), "{told:?}");
        let session = session(&told);
        let page = house.get("/", &session).await;
        assert!(page.text.contains("Logged in as alice (248289)"), "{page:?}");
        assert_eq!(house.get("/api/v1/ledger", &session).await.status, 200);
        assert_eq!(house.post("/api/v1/deliveries/999/hold", &session, &json!({})).await.status, 404);
        let pruned = house.post("/api/v1/store/prune", &session, &json!({"reason": "test"})).await;
        assert_eq!(pruned.status == 200, may, "{roles:?}: {pruned:?}");
    }
    let told = house.through(&idp, roles(&["root"])).await;
    let session = session(&told);
    let deeds = house.entries(&session, "?verb=prune").await;
    assert_eq!(deeds[0]["who"], "oidc alice (248289)");
    let logins = house.entries(&session, "?verb=login&object=oidc").await;
    let first = logins.last().unwrap();
    assert_eq!(
        (&first["who"], &first["result"]),
        (&json!("oidc alice (248289)"), &json!("done, from 127.0.0.1; may view, replay, operate"))
    );
    let page = house.get("/", &session).await;
    let out = house.http.post(house.url("/logout")).header("Cookie", &session).form(&[("form", &hidden(&page.text))]);
    assert_eq!(house.send(out).await.status, 303);
    assert_eq!(house.get("/api/v1/ledger", &session).await.status, 401);
    idp.assert_nothing_secret_in(&house.process.log());
    assert_eq!((idp.count("/.well-known/openid-configuration"), idp.count("/keys")), (1, 1), "they are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_lets_nobody_in_and_is_said_in_words() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, &accounts(), "")).await;
    let admin = house.session("admin").await;
    let right = || roles(&["root"]);
    let claims = |more: Value| Lie { more, ..right() };
    for (lie, status, words) in [
        (claims(json!({"nonce": "another"})), 403, "(nonce)"),
        (claims(json!({"nonce": null})), 403, "(nonce)"),
        (claims(json!({"aud": "another"})), 403, "another client"),
        (claims(json!({"aud": ["omgate", "another"]})), 403, "another client"),
        (claims(json!({"exp": 1_700_000_000})), 403, "has expired"),
        (claims(json!({"iat": 4_000_000_000_u64})), 403, "has not come yet"),
        (claims(json!({"iss": "https://evil.example"})), 403, "was issued by"),
        (claims(json!({"sub": ""})), 403, "(sub)"),
        (Lie { signer: Signer::Stranger, ..right() }, 403, "signature that is not right"),
        (Lie { signer: Signer::Unsigned, ..right() }, 403, "signed with &#34;none&#34;"),
        (Lie { signer: Signer::Shared, ..right() }, 403, "signed with &#34;HS256&#34;"),
        (Lie { signer: Signer::Nobody, ..right() }, 403, "no signed token"),
        (roles(&["strangers"]), 403, "knows you as alice (248289), and no [[server.oidc.grant]]"),
        (roles(&[]), 403, "no [[server.oidc.grant]]"),
        (Lie::claims(json!({"roles": ["root"]})), 403, "no [[server.oidc.grant]]"),
        (Lie::claims(json!({"realm_access": {"roles": {"root": true}}})), 403, "no [[server.oidc.grant]]"),
    ] {
        let shown = format!("{lie:?}");
        let told = house.through(&idp, lie).await;
        assert_eq!(told.status, status, "{shown}: {told:?}");
        assert!(told.text.contains("Not logged in: ") && told.text.contains(words), "{shown}: {told:?}");
        assert!(told.cookie("__Host-omgate_session").is_none(), "{shown}: {told:?}");
        assert!(told.cookie("__Host-omgate_oidc").unwrap().contains("Max-Age=0"), "{told:?}");
        idp.assert_nothing_secret_in(&told.text);
    }
    let entries = format!("{:?}", house.entries(&admin, "?verb=refuse&object=oidc").await);
    for part in ["(not known)", "alice (248289)", "refused from 127.0.0.1: the ID token was not made for this login"] {
        assert!(entries.contains(part), "{part}: {entries}");
    }
    idp.assert_nothing_secret_in(&entries);
    idp.assert_nothing_secret_in(&house.process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_browser_that_left_comes_back_and_only_once() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, "", "")).await;
    let right = || roles(&["root"]);
    let (mine, other) = (house.leave().await, house.leave().await);
    for (cookie, change) in [
        (&other.cookie, ""),
        (&String::new(), ""),
        (&"__Host-omgate_oidc=guessed".to_owned(), ""),
        (&mine.cookie, "guessed"),
        (&mine.cookie, "of the other"),
    ] {
        let trip = house.leave().await;
        let (state, code) = idp.approve(&trip.place, right());
        let state = match change {
            "" => state,
            "guessed" => "A".repeat(43),
            _ => idp.approve(&other.place, right()).0,
        };
        let told = house.come_back(cookie, &[("state", &state), ("code", &code)]).await;
        assert_eq!(told.status, 403, "{told:?}");
        assert!(told.text.contains("not begun in this browser"), "{told:?}");
        let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
        assert_eq!(told.status, 403, "whoever tried it spoilt it: {told:?}");
    }
    assert_eq!(idp.count("/token"), 0, "the provider was not even asked");

    let trip = house.leave().await;
    let (state, code) = idp.approve(&trip.place, right());
    let back: &[(&str, &str)] = &[("state", &state), ("code", &code)];
    assert_eq!(house.come_back(&trip.cookie, back).await.status, 200);
    assert_eq!(house.come_back(&trip.cookie, back).await.status, 403, "the same way twice");
    let trip = house.leave().await;
    let state = trip.asked()["state"].clone();
    let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
    assert!(told.status == 403 && told.text.contains("invalid_grant"), "the same code twice: {told:?}");

    for (query, words) in [
        (
            vec![("error", "access_denied"), ("error_description", "<b>not you</b>")],
            "access_denied: &#60;b&#62;not you",
        ),
        (vec![("code", "x"), ("iss", "https://evil.example")], "another provider"),
        (vec![("code", "")], "empty or too long"),
        (vec![("code", "a"), ("code", "b")], "cannot be read"),
    ] {
        let trip = house.leave().await;
        let state = trip.asked()["state"].clone();
        let told = house.come_back(&trip.cookie, &[vec![("state", state.as_str())], query].concat()).await;
        assert!(told.status == 403 && told.text.contains(words), "{words}: {told:?}");
        assert!(!told.text.contains("<b>"), "{told:?}");
    }
    let forged = house.come_back("", &[("error", "x"), ("error_description", "call 555-1234 at once")]).await;
    assert!(!forged.text.contains("555"), "nobody's link puts words on the page: {forged:?}");

    for _ in 0..30 {
        house.come_back("", &[("state", "x"), ("code", "y")]).await;
    }
    let shut = house.come_back("", &[("state", "x"), ("code", "y")]).await;
    assert!(shut.status == 429 && shut.headers.contains_key("retry-after"), "{shut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_or_talks_nonsense_is_said_in_words() {
    for (away, words) in [
        (Away::Refuses, "answered 500"),
        (Away::Rambles, "longer than 64 KiB"),
        (Away::Redirects, "answered 302"),
        (Away::NoJson, "no JSON object"),
        (Away::AnotherIssuer, "it calls itself"),
        (Away::InClear, "its token_endpoint must begin with https://"),
        (Away::NoKeys, "is no key set"),
    ] {
        let idp = Idp::start().await;
        idp.be(away);
        let house = house(&with_provider(&idp, &accounts(), "")).await;
        for _ in 0..5 {
            let told = house.get("/login/oidc", "").await;
            assert!(told.status == 503 && told.text.contains(words), "{away:?}: {told:?}");
            assert!(told.text.contains("name=\"password\""), "accounts still can: {told:?}");
            idp.assert_nothing_secret_in(&told.text);
        }
        let asked = idp.count("/.well-known/openid-configuration");
        assert!((1..=3).contains(&asked), "{away:?}: asked {asked} times");
        house.session("admin").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_hangs_or_refuses_us_ends_the_login_in_time() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, "", "")).await;
    for (away, status, words) in [
        (Away::Hangs, 503, "within 10 s"),
        (Away::NoClient, 403, "invalid_client"),
        (Away::NoToken, 503, "has no id_token"),
        (Away::Rambles, 503, "longer than 64 KiB"),
    ] {
        idp.be(Away::Not);
        let trip = house.leave().await;
        let (state, code) = idp.approve(&trip.place, roles(&["root"]));
        idp.be(away);
        let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
        assert!(told.status == status && told.text.contains(words), "{away:?}: {told:?}");
        idp.assert_nothing_secret_in(&told.text);
    }
    idp.assert_nothing_secret_in(&house.process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_where_calls_may_go_and_nowhere_else() {
    let idp = Idp::start().await;
    // Its name may be called, and what it names may not.
    let more = format!("{}\n[egress]\nallow = [\"127.0.0.1:{}\", \"127.0.0.1:9\"]\n", accounts(), idp.port());
    let house = house(&with_provider(&idp, &more, "")).await;
    assert_eq!(house.through(&idp, roles(&["root"])).await.status, 200);
    idp.be(Away::Elsewhere);
    let trip = house.leave().await;
    let (state, code) = idp.approve(&trip.place, roles(&["root"]));
    house.process.configure(&with_provider(&idp, &more, "scopes = [\"profile\"]"));
    let admin = house.session("admin").await;
    assert_eq!(house.post("/api/v1/reload", &admin, &json!({})).await.status, 200);
    let told = house.come_back(&trip.cookie, &[("state", &state), ("code", &code)]).await;
    assert!(told.status == 503 && told.text.contains("gave no answer: "), "{told:?}");
    assert!(told.text.contains("egress"), "{told:?}");
    assert_eq!(idp.count("/token"), 1, "nothing went there");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_fetched_when_a_token_names_them_and_not_for_every_one_that_does() {
    let idp = Idp::start().await;
    let house = house(&with_provider(&idp, "", "")).await;
    assert_eq!(house.through(&idp, roles(&["root"])).await.status, 200);
    idp.rotate();
    assert_eq!(house.through(&idp, roles(&["root"])).await.status, 200);
    assert_eq!(idp.count("/keys"), 2);
    for _ in 0..12 {
        let told = house.through(&idp, Lie { signer: Signer::Unpublished, ..roles(&["root"]) }).await;
        assert!(told.status == 403 && told.text.contains("does not publish"), "{told:?}");
    }
    assert_eq!(idp.count("/keys"), 6, "the first, and five out of turn");
    assert_eq!(house.through(&idp, roles(&["root"])).await.status, 200, "known keys go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_end_the_sessions_that_came_of_the_old_ones() {
    let idp = Idp::start().await;
    let configuration = with_provider(&idp, &accounts(), "");
    let house = house(&configuration).await;
    let admin = house.session("admin").await;
    let alice = session(&house.through(&idp, roles(&["ops"])).await);
    let reload = async |configuration: &str| {
        house.process.configure(configuration);
        let told = house.post("/api/v1/reload", &admin, &json!({})).await;
        assert_eq!(told.status, 200, "{told:?}");
    };
    reload(&configuration.replace("paused = true", "paused = true\nconcurrency = 2")).await;
    assert_eq!(house.get("/api/v1/ledger", &alice).await.status, 200, "something else changed");
    reload(&configuration.replace("value = \"ops\"", "value = \"operators\"")).await;
    assert_eq!(house.get("/api/v1/ledger", &alice).await.status, 401);
    assert_eq!(house.get("/api/v1/ledger", &admin).await.status, 200, "accounts are not concerned");
    assert_eq!(house.through(&idp, roles(&["ops"])).await.status, 403);
    let alice = session(&house.through(&idp, roles(&["operators"])).await);
    let (before, rest) = configuration.split_once("[server.oidc]").unwrap();
    let (_, after) = rest.split_once("[store]").unwrap();
    reload(&format!("{before}[store]{after}")).await;
    assert_eq!(house.get("/api/v1/ledger", &alice).await.status, 401);
    for path in ["/login/oidc", "/login/oidc/back?state=x&code=y"] {
        let told = house.get(path, "").await;
        assert!(told.status == 404 && told.text.contains("no [server.oidc]"), "{told:?}");
    }
    assert!(!house.get("/login", "").await.text.contains("/login/oidc"));
}

#[test]
fn beyond_loopback_a_provider_takes_the_place_of_accounts_and_not_that_of_tls() {
    let process = Process::prepare("");
    let tls = format!(
        "[server.admin_tls]\ncertificate = \"{}\"\nprivate_key = \"{}\"\n",
        tls_file("server.pem"),
        tls_file("server-key.pem")
    );
    let oidc = |redirect: &str| {
        format!(
            "[server.oidc]\nissuer = \"https://login.example.com\"\nclient_id = \"omgate\"\nrole_claim = \"groups\"\n{redirect}\n\
             [[server.oidc.grant]]\nvalue = \"ops\"\nrole = \"operator\"\n"
        )
    };
    let there = "redirect_url = \"https://omgate.example.com:8081/login/oidc/back\"";
    for (listen, more, missing) in [
        ("0.0.0.0:8081", format!("{tls}{}", oidc(there)), None),
        ("192.0.2.1:8081", format!("{tls}{}", oidc("")), None),
        ("127.0.0.1:8081", oidc(""), None),
        ("0.0.0.0:8081", oidc(there), Some("[server.admin_tls] is missing")),
        ("0.0.0.0:8081", format!("{tls}{}", oidc("")), Some("key `redirect_url` is missing")),
        (
            "127.0.0.1:8081",
            format!("{}[egress]\nallow = [\"127.0.0.1:9\"]\n", oidc("")),
            Some("server.oidc.issuer: no call may go there"),
        ),
    ] {
        process.configure(&format!("[server]\nadmin_listen = \"{listen}\"\n{more}{FLOW}"));
        let loaded = omgate::config::load(&process.config());
        match (loaded, missing) {
            (Ok(loaded), None) => {
                let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
                assert!(loaded.server.oidc.is_some(), "{listen} {more}");
                assert!(!warnings.iter().any(|warning| warning.contains("oidc")), "{warnings:?}");
            }
            (Err(problems), Some(words)) => assert!(problems.to_string().contains(words), "{problems}"),
            (loaded, _) => panic!("{listen} {more}: {loaded:?}"),
        }
    }
}

fn settings(idp: &Idp) -> Settings {
    Settings {
        issuer: idp.issuer(),
        client_id: "omgate".to_owned(),
        client_secret: Some(Text::plain(CLIENT_SECRET)),
        redirect_url: "https://omgate.example.com/login/oidc/back".to_owned(),
        scopes: vec!["openid".to_owned()],
        role_claim: "groups".to_owned(),
        name_claim: "name".to_owned(),
    }
}

#[tokio::test]
async fn the_secret_goes_where_the_provider_takes_it_and_a_client_without_one_says_so() {
    let target = || Target::new(TargetConfig { name: "server.oidc".to_owned(), ..crate::deliver::config() }).unwrap();
    let secrets = Secrets { state: "s".repeat(43), nonce: "n".repeat(43), verifier: "v".repeat(43) };
    for (way, secret) in [("client_secret_post", true), ("client_secret_basic", true), ("none", false)] {
        let idp = Idp::start().await;
        idp.take_secret_by(way);
        let settings = Settings { client_secret: secret.then(|| Text::plain(CLIENT_SECRET)), ..settings(&idp) };
        let provider = Provider::new(settings, target()).unwrap();
        let place = Url::parse(&provider.address(&secrets).await.unwrap()).unwrap();
        let (_, code) = idp.approve(&place, Lie::claims(json!({"groups": "one", "name": "Jürgen <x>"})));
        let person = provider.person(&code, &secrets).await.unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!((person.subject.as_str(), person.name.as_str()), ("248289", "Jürgen ?x?"));
        assert_eq!(person.values, ["one"]);
        let wrong = Secrets { verifier: "w".repeat(43), ..secrets.clone() };
        let (_, code) = idp.approve(&place, Lie::claims(json!({"groups": "one"})));
        let error = provider.person(&code, &wrong).await.unwrap_err();
        assert!(matches!(&error, LoginError::Refused(reason) if reason.contains("invalid_grant")), "{way}: {error:?}");
    }
}

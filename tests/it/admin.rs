//! Who may come in at the admin listener: TLS, accounts, rights, sessions, forms, bounds on failed logins.

mod oidc;
mod roles;

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use omgate::account::{self, Rights, Role};
use omgate::admin::access::{ADDRESSES, Need};
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

use crate::harness::{Notice, Process, envelope};

const PASSWORD: &str = "correct horse battery";
static HASH: LazyLock<String> = LazyLock::new(|| account::hash(PASSWORD).unwrap());

/// An account for each role, named by it.
fn accounts() -> String {
    let one = |role: &str| format!("[[account]]\nname = \"{role}\"\npassword = \"{}\"\nrole = \"{role}\"\n", *HASH);
    Role::ALL.map(|role| one(role.as_str())).concat()
}

fn tls_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls").join(name).display().to_string()
}

fn configuration(accounts: &str) -> String {
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

[store]
url = "sqlite:omgate.db"

{FLOW}"#
    )
}

/// What every configuration must have.
const FLOW: &str = r#"
[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "sink"
kind = "rest"
url = "http://127.0.0.1:9/orders"
paused = true

[[route]]
source = "orders"
destination = "sink"
"#;

/// A gateway whose admin listener speaks TLS and has accounts.
struct House {
    process: Process,
    http: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a cookie is set to, with its attributes.
    fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned());
        lines.into_iter().find(|line| line.starts_with(&format!("{name}=")))
    }
}

impl House {
    async fn open() -> Self {
        Self::with(&configuration(&accounts())).await
    }

    async fn with(configuration: &str) -> Self {
        Self::prepared(configuration, |_| {}).await
    }

    async fn prepared(configuration: &str, prepare: impl FnOnce(&Process)) -> Self {
        let mut process = Process::prepare(configuration);
        prepare(&process);
        let authority = std::fs::read(tls_file("authority.pem")).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .build()
            .unwrap();
        process.spawn(&[]);
        let house = Self { process, http };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !house.http.get(house.url("/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(Instant::now() < deadline, "{}", house.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        house
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.process.admin)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Told {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Told { status, headers, text: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Told {
        self.send(self.http.get(self.url(path)).header("Cookie", cookie)).await
    }

    async fn post(&self, path: &str, cookie: &str, body: &Value) -> Told {
        self.send(self.http.post(self.url(path)).header("Cookie", cookie).json(body)).await
    }

    /// The form of the login page: its cookie and its hidden value.
    async fn form(&self) -> (String, String) {
        let page = self.get("/login", "").await;
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = page.cookie("__Host-omgate_form").unwrap().split(';').next().unwrap().to_owned();
        (cookie, hidden(&page.text))
    }

    async fn log_in(&self, name: &str, password: &str) -> Told {
        let (cookie, form) = self.form().await;
        let fields = [("name", name), ("password", password), ("form", &form)];
        self.send(self.http.post(self.url("/login")).header("Cookie", cookie).form(&fields)).await
    }

    /// The cookie of a session.
    async fn session(&self, name: &str) -> String {
        let told = self.log_in(name, PASSWORD).await;
        assert_eq!((told.status, told.headers.get(LOCATION).unwrap().to_str().unwrap()), (303, "/"), "{told:?}");
        told.cookie("__Host-omgate_session").unwrap().split(';').next().unwrap().to_owned()
    }

    async fn entries(&self, cookie: &str, query: &str) -> Vec<Value> {
        self.get(&format!("/api/v1/audit{query}"), cookie).await.json().as_array().unwrap().clone()
    }
}

fn hidden(page: &str) -> String {
    page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_fields_in_clear_need_a_right_of_their_own_and_whoever_asks_is_noted() {
    let house = House::open().await;
    for (name, status) in [("viewer", 403), ("operator", 403), ("admin", 404)] {
        let cookie = house.session(name).await;
        let told = house.get("/api/v1/deliveries/999?unmask=true&reason=because", &cookie).await;
        assert_eq!(told.status, status, "{name}: {told:?}");
    }
    let noted = house.entries(&house.session("admin").await, "?verb=unmask").await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(
        (&noted[0]["who"], &noted[0]["object_id"], &noted[0]["reason"]),
        (&json!("account admin"), &json!("999"), &json!("because"))
    );
}

/// An address of the table, with something in its holes.
fn filled(path: &str) -> String {
    path.replace("{id}", "999").replace("{verb}", "hold").replace("{name}", "nowhere")
}

#[test]
fn beyond_loopback_the_admin_listener_demands_tls_and_accounts() {
    let process = Process::prepare("");
    let tls = format!(
        "[server.admin_tls]\ncertificate = \"{}\"\nprivate_key = \"{}\"\n",
        tls_file("server.pem"),
        tls_file("server-key.pem")
    );
    for (more, lacking) in [
        (String::new(), "[server.admin_tls] and an [[account]], or [server.oidc], are missing"),
        (accounts(), "[server.admin_tls] is missing"),
        (tls.clone(), "an [[account]], or [server.oidc], is missing"),
    ] {
        process.configure(&format!("[server]\nadmin_listen = \"0.0.0.0:{{admin}}\"\n{more}{FLOW}"));
        for (command, code) in [("check", 1), ("serve", 64)] {
            let output = process.command(&[command]);
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(code), "{command}: {text}");
            assert!(text.contains("server.admin_listen") && text.contains(lacking), "{command}: {text}");
        }
    }
    process.configure(&format!("{}[server]\nadmin_listen = \"0.0.0.0:{{admin}}\"\n{tls}{FLOW}", accounts()));
    omgate::config::load(&process.config()).unwrap();
    process.configure("account = []\n[server]\nadmin_listen = \"0.0.0.0:{admin}\"\n");
    let problems = omgate::config::load(&process.config()).unwrap_err().to_string();
    assert!(problems.contains("server.admin_listen: others than"), "{problems}");
}

#[test]
fn a_password_is_hashed_and_one_in_clear_is_refused_without_being_told() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let hash = |password: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(["account", "hash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let made = String::from_utf8(hash("correct horse battery\n").stdout).unwrap();
    assert!(account::PasswordHash::parse(made.trim()).unwrap().fits("correct horse battery"), "{made}");
    let refused = hash("short\n");
    assert_eq!(refused.status.code(), Some(1));
    assert!(!String::from_utf8(refused.stderr).unwrap().contains("short\n"));

    let process = Process::prepare("[[account]]\nname = \"a\"\npassword = \"my-very-own-password\"\n");
    let problems = omgate::config::load(&process.config()).unwrap_err().to_string();
    assert!(problems.contains("no argon2id hash") && !problems.contains("my-very-own"), "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_asks_for_a_login_and_for_its_right() {
    let house = House::open().await;
    let mut sessions = Vec::new();
    for role in Role::ALL {
        sessions.push((role, house.session(role.as_str()).await));
    }
    for (method, path, need) in ADDRESSES {
        if ["/login", "/logout", "/login/oidc", "/login/oidc/back", "/assets/{digest}/{name}"].contains(path) {
            continue;
        }
        let address = filled(path);
        let ask = async |cookie: &str| match *method {
            "GET" => house.get(&address, cookie).await,
            _ => house.post(&address, cookie, &json!({})).await,
        };
        let told = ask("").await;
        let is_page = !address.starts_with("/api/") && address != "/metrics";
        let expected = match need {
            Need::Nothing => 200,
            Need::Right(_) if is_page => 303,
            Need::Right(_) => 401,
        };
        assert_eq!(told.status, expected, "nobody: {method} {address}: {told:?}");
        let Need::Right(right) = need else { continue };
        for (role, cookie) in &sessions {
            let told = ask(cookie).await;
            if Rights::of(*role, &[]).has(*right) {
                // A page may lead on to an address that says more, and never to a login.
                let location = told.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
                let is_let_in = ![401, 403].contains(&told.status) && !location.starts_with("/login");
                assert!(is_let_in, "{role:?}: {method} {address}: {told:?}");
            } else {
                assert_eq!(told.status, 403, "{role:?}: {method} {address}: {told:?}");
                assert!(told.text.contains(&format!("lacks the right `{}`: the role", right.as_str())), "{told:?}");
            }
        }
    }
    for path in ["/api/v1/nonsense", "/api/v1/ledger/", "//api/v1/ledger", "/api/v1/%6cedger", "/api/v1"] {
        assert_eq!(house.get(path, &sessions[2].1).await.status, 404, "{path}");
    }
    let deed = house.post("/api/v1/store/prune", &sessions[2].1, &json!({"reason": "test"})).await;
    assert_eq!(deed.status, 200, "{deed:?}");
    let entries = house.entries(&sessions[0].1, "?verb=prune").await;
    assert_eq!((&entries[0]["who"], &entries[0]["reason"]), (&json!("account admin"), &json!("test")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lacks_the_right_payload_sees_no_content() {
    let more =
        format!("{}\n[[account]]\nname = \"reader\"\npassword = \"{}\"\nrights = [\"payload\"]\n", accounts(), *HASH);
    let house = House::with(&configuration(&more)).await;
    let body = envelope(&[Notice { id: "04l1", record: "0061", fields: "<sf:Name>very-secret</sf:Name>" }]);
    assert!(house.process.post("/om/orders", body).await.unwrap().is_ack());
    let refused = house.process.post("/om/orders", "<a>very-secret</a>").await.unwrap();
    assert!(!refused.is_ack());
    let (viewer, reader) = (house.session("viewer").await, house.session("reader").await);
    for path in ["/api/v1/notifications/04l1", "/api/v1/refused"] {
        let told = house.get(path, &viewer).await;
        assert_eq!(told.status, 200, "{told:?}");
        assert!(!told.text.contains("very-secret") && told.text.contains("needs the right payload"), "{told:?}");
        let told = house.get(path, &reader).await;
        assert!(told.text.contains("very-secret"), "{told:?}");
    }
    assert_eq!(house.get("/api/v1/deliveries?kept=x", &viewer).await.status, 403);
    assert_eq!(house.get("/api/v1/deliveries?kept=x", &reader).await.status, 200);
    let edit = json!({"reason": "typo", "edit": {"fields": {"Name": "x"}}});
    let operator = house.session("operator").await;
    let told = house.post("/api/v1/deliveries/999/replay", &operator, &edit).await;
    assert!(told.status == 403 && told.text.contains("the right `edit`: the role admin has it"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_replay_would_die_again_quotes_nothing_for_whoever_lacks_payload() {
    let failing = configuration(&accounts()).replace("paused = true\n", "");
    let house = House::with(&(failing + "\n[route.map]\nAmount = \"record.Name | decimal(2)\"\n")).await;
    let (operator, admin) = (house.session("operator").await, house.session("admin").await);
    let body = envelope(&[Notice { id: "04l1", record: "0061", fields: "<sf:Name>very-secret</sf:Name>" }]);
    assert!(house.process.post("/om/orders", body).await.unwrap().is_ack());
    let deadline = Instant::now() + Duration::from_secs(20);
    while house.get("/api/v1/ledger", &admin).await.json()["deliveries"]["dead"] != 1 {
        assert!(Instant::now() < deadline, "{}", house.process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (path, order) in [
        ("/api/v1/deliveries/1/replay", json!({"reason": "again"})),
        ("/api/v1/deliveries/replay", json!({"reason": "again", "choose": {"state": "dead"}})),
    ] {
        let told = house.post(path, &operator, &order).await;
        let words = "would die again at once, for as the configuration stands no call can be made";
        assert!(told.status == 409 && told.text.contains(words), "{path}: {told:?}");
        assert!(!told.text.contains("very-secret"), "{path}: {told:?}");
        assert!(house.post(path, &admin, &order).await.text.contains("very-secret"), "who may see it reads what it is");
    }
    let order = json!({"reason": "again", "choose": {"state": "dead"}, "even_if_failing": true});
    let told = house.post("/api/v1/deliveries/replay", &operator, &order).await;
    assert!(told.status == 202 && told.text.contains("1 of 1 tried"), "{told:?}");
    assert!(!told.text.contains("very-secret"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_other_sites_out() {
    let house = House::open().await;
    let session = house.session("viewer").await;
    for (path, cookie, status) in [
        ("/login", "", 200),
        ("/readyz", "", 200),
        ("/", "", 303),
        ("/", &session, 200),
        ("/metrics", "", 401),
        ("/api/v1/ledger", &session, 200),
        ("/api/v1/nonsense", "", 404),
        ("/api/v1/deliveries/nonsense", &session, 404),
        ("/ledger", "", 303),
        ("/ledger?day=today", &session, 200),
        ("/ledger?day=nonsense", &session, 400),
        ("/api/v1/ledger/day", "", 401),
        ("/api/v1/ledger/day", &session, 200),
        ("/api/v1/ledger/days?from=nonsense", &session, 400),
    ] {
        let told = house.get(path, cookie).await;
        assert_eq!(told.status, status, "{path}: {told:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(told.headers.get(name).map(|value| value.to_str().unwrap()), Some(value), "{path} {name}");
        }
        let policy = told.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("script-src 'self';"), "{policy}");
        let is_inline = |tag: &str| tag.starts_with("<script") && !tag.contains("src=\"/assets/");
        let tags: Vec<&str> = told
            .text
            .match_indices("<script")
            .map(|(at, _)| &told.text[at..told.text[at..].find('>').unwrap() + at])
            .collect();
        assert!(!tags.iter().any(|tag| is_inline(tag)) && !told.text.contains("style=\""), "{path}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_cookie_of_this_host_alone_and_ends_with_logout() {
    let house = House::open().await;
    let told = house.log_in("operator", PASSWORD).await;
    let cookie = told.cookie("__Host-omgate_session").unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    let page = house.get("/", session).await;
    assert!(page.text.contains("Logged in as operator"), "{page:?}");
    assert_eq!(house.get("/api/v1/ledger", &format!("{session}x")).await.status, 401);
    assert_eq!(house.get("/login", session).await.status, 303);

    let out = async |form: &str| {
        let request = house.http.post(house.url("/logout")).header("Cookie", session);
        house.send(request.form(&[("form", form)])).await
    };
    assert_eq!(out("guessed").await.status, 403);
    assert_eq!(house.get("/api/v1/ledger", session).await.status, 200);
    assert_eq!(out(&hidden(&page.text)).await.status, 303);
    assert_eq!(house.get("/api/v1/ledger", session).await.status, 401);
    assert!(!house.process.log().contains(session.split('=').nth(1).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_back_to_what_was_wanted_and_to_no_other_host() {
    let house = House::open().await;
    let led = house.get("/deliveries?state=dead&text=a%20b", "").await;
    let login = led.headers[LOCATION].to_str().unwrap().to_owned();
    assert_eq!((led.status, login.as_str()), (303, "/login?to=%2Fdeliveries%3Fstate%3Ddead%26text%3Da%2520b"));
    assert_eq!(house.get("/", "").await.headers[LOCATION], "/login");
    let page = house.get(&login, "").await.text;
    assert!(page.contains("name=\"to\" value=\"/deliveries?state=dead&#38;text=a%20b\""), "{page}");
    for (to, place) in [
        ("/deliveries?state=dead", "/deliveries?state=dead"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\n//evil.example", "/"),
        ("/deliveries/1?unmask=true&reason=x", "/deliveries/1"),
    ] {
        let (cookie, form) = house.form().await;
        let fields = [("name", "viewer"), ("password", PASSWORD), ("form", &form), ("to", to)];
        let told = house.send(house.http.post(house.url("/login")).header("Cookie", cookie).form(&fields)).await;
        assert_eq!((told.status, told.headers[LOCATION].to_str().unwrap()), (303, place), "{to:?}");
    }
    // A part of a page is not the login.
    let part = house.send(house.http.get(house.url("/deliveries")).header("HX-Request", "true")).await;
    assert_eq!((part.status, part.headers.contains_key(LOCATION)), (401, false), "{part:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_or_a_call_of_another_site_changes_nothing() {
    let house = House::open().await;
    let session = house.session("admin").await;
    let (cookie, form) = house.form().await;
    let log_in = async |cookie: &str, form: &str, origin: &str| {
        let request = house.http.post(house.url("/login")).header("Cookie", cookie).header("Origin", origin);
        house.send(request.form(&[("name", "admin"), ("password", PASSWORD), ("form", form)])).await
    };
    let own = format!("https://127.0.0.1:{}", house.process.admin);
    for (cookie, form, origin) in [
        ("", form.as_str(), own.as_str()),
        (&cookie, "", &own),
        (&cookie, "guessed", &own),
        (&cookie, &form, "https://evil.example"),
    ] {
        let told = log_in(cookie, form, origin).await;
        assert_eq!(told.status, 403, "{told:?}");
        assert!(told.cookie("__Host-omgate_session").is_none());
    }
    assert_eq!(log_in(&cookie, &form, &own).await.status, 303);
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let request = house.http.post(house.url("/api/v1/store/prune")).header("Cookie", &session).header(name, value);
        let told = house.send(request.json(&json!({}))).await;
        assert_eq!(told.status, 403, "{name}: {value}: {told:?}");
    }
    let request = house.http.post(house.url("/api/v1/store/prune")).header("Cookie", &session);
    assert_eq!(house.send(request.form(&[("reason", "x")])).await.status, 415, "a form is no JSON");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_login_does_not_tell_who_exists_and_too_many_shut_the_account() {
    let house = House::open().await;
    let session = house.session("admin").await;
    let (known, unknown) = (house.log_in("viewer", "wrong").await, house.log_in("nobody", "wrong").await);
    let less_form = |told: &Told| told.text.replace(&hidden(&told.text), "");
    assert_eq!((known.status, less_form(&known)), (401, less_form(&unknown)));
    assert!(known.cookie("__Host-omgate_session").is_none());
    for _ in 0..9 {
        assert_eq!(house.log_in("viewer", "wrong").await.status, 401);
    }
    let shut = house.log_in("viewer", PASSWORD).await;
    assert_eq!(shut.status, 429, "even with the right password: {shut:?}");
    assert!(shut.headers.contains_key("retry-after"));
    assert_eq!(house.log_in("operator", PASSWORD).await.status, 303, "others are not shut");
    for number in 0..20 {
        house.log_in(&format!("my-password-typed-here-{number}"), "wrong").await;
    }
    assert_eq!(house.log_in("operator", PASSWORD).await.status, 429, "the address is shut");

    let entries = house.entries(&session, "?verb=refuse").await;
    assert!((10..=30).contains(&entries.len()), "{}", entries.len());
    assert!(entries.iter().any(|entry| entry["object_id"] == "viewer" && entry["result"] == "refused from 127.0.0.1"));
    let everything = format!("{entries:?}{}", house.process.log());
    assert!(!everything.contains("my-password-typed-here") && !everything.contains(PASSWORD));
    let logins = house.entries(&session, "?verb=login").await;
    assert_eq!(logins.last().unwrap()["who"], "account admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_accounts_count_at_once_and_end_their_sessions() {
    let house = House::open().await;
    let (viewer, admin) = (house.session("viewer").await, house.session("admin").await);
    assert_eq!(house.get("/api/v1/ledger", &viewer).await.status, 200);
    let hash = account::hash("another password").unwrap();
    let changed = accounts().replacen(HASH.as_str(), &hash, 1).replace("role = \"viewer\"", "role = \"operator\"");
    house.process.configure(&configuration(&changed));
    let told = house.post("/api/v1/reload", &admin, &json!({})).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(house.get("/api/v1/ledger", &viewer).await.status, 401);
    assert_eq!(house.log_in("viewer", PASSWORD).await.status, 401);
    let told = house.log_in("viewer", "another password").await;
    let viewer = told.cookie("__Host-omgate_session").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(house.post("/api/v1/deliveries/999/hold", &viewer, &json!({})).await.status, 404, "its new role counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_know_the_gateway_by_its_certificate_and_say_that_they_may_not() {
    let house = House::open().await;
    let output = house.process.command(&["status"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("needs a login"), "{text}");

    let other = configuration(&accounts()).replacen(&tls_file("server.pem"), &tls_file("authority.pem"), 1);
    std::fs::write(
        house.process.config(),
        other.replace("{public}", "1").replace("{admin}", &house.process.admin.to_string()),
    )
    .unwrap();
    let output = house.process.command(&["status"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("another certificate than server.admin_tls.certificate"), "{text}");
    assert!(house.http.get(format!("http://127.0.0.1:{}/readyz", house.process.admin)).send().await.is_err());
}

impl House {
    /// Runs a command with a token.
    fn command(&self, token: &str, arguments: &[&str]) -> (i32, String) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(arguments)
            .arg("--config")
            .arg(self.process.config())
            .env("OMGATE_TOKEN", token)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    }

    async fn with_token(&self, path: &str, token: &str) -> Told {
        self.send(self.http.get(self.url(path)).header("Authorization", format!("Bearer {token}"))).await
    }

    /// Makes a token; its secret and its id.
    async fn token(&self, cookie: &str, body: &Value) -> (String, String) {
        let told = self.post("/api/v1/tokens", cookie, body).await;
        assert_eq!(told.status, 201, "{told:?}");
        let text = |key: &str| told.json()[key].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_what_was_said_when_it_was_made_until_it_is_over() {
    let house = House::open().await;
    let admin = house.session("admin").await;
    let (scraper, id) =
        house.token(&admin, &json!({"name": "prometheus", "scope": ["metrics"], "expires_in_s": 3600})).await;
    assert!(scraper.starts_with("omg_") && scraper.len() == 47, "{scraper}");
    assert_eq!(house.with_token("/metrics", &scraper).await.status, 200);
    let told = house.with_token("/api/v1/ledger", &scraper).await;
    assert!(told.status == 403 && told.text.contains("the token is for metrics alone"), "{told:?}");

    let (viewer, _) = house.token(&admin, &json!({"name": "viewer", "expires_in_s": 3600})).await;
    assert_eq!(house.with_token("/api/v1/ledger", &viewer).await.status, 200);
    let hold = house.http.post(house.url("/api/v1/deliveries/999/hold")).bearer_auth(&viewer).json(&json!({}));
    assert_eq!(house.send(hold).await.status, 403);
    let (narrow, _) = house
        .token(&admin, &json!({"name": "narrow", "role": "admin", "scope": ["tokens"], "expires_in_s": 3600}))
        .await;
    for (scope, status) in [(json!([]), 400), (json!(["store"]), 400), (json!(["tokens"]), 201)] {
        let body = json!({"name": "made-by-a-token", "scope": scope, "expires_in_s": 3600});
        let request = house.http.post(house.url("/api/v1/tokens")).bearer_auth(&narrow).json(&body);
        assert_eq!(house.send(request).await.status, status, "{scope}");
    }

    let told = house.post(&format!("/api/v1/tokens/{id}/revoke"), &admin, &json!({"reason": "lost"})).await;
    assert_eq!(told.status, 200, "{told:?}");
    let told = house.with_token("/metrics", &scraper).await;
    assert!(told.status == 401 && told.text.contains("revoked"), "{told:?}");
    let guessed = format!("omg_{}", "A".repeat(43));
    for (shown, status) in [(guessed.as_str(), 401), ("", 401), ("nonsense", 401)] {
        let told = house.with_token("/api/v1/ledger", shown).await;
        assert_eq!((told.status, told.headers.contains_key("www-authenticate")), (status, true), "{told:?}");
    }
    let basic =
        house.http.get(house.url("/api/v1/ledger")).header("Cookie", &admin).basic_auth("admin", Some(PASSWORD));
    assert_eq!(house.send(basic).await.status, 401, "what is shown counts, and a password is no token");

    let list = house.get("/api/v1/tokens", &admin).await;
    let all = list.json();
    let found = |name: &str| all.as_array().unwrap().iter().find(|token| token["name"] == name).unwrap().clone();
    assert!(
        found("prometheus")["used_at"].is_string() && found("prometheus")["revoked_by"] == "account admin",
        "{all:#}"
    );
    let entries = format!("{:?}", house.entries(&admin, "?object=token").await);
    for part in ["create", "revoke", "refuse", "lost", "(no such token)", "refused from 127.0.0.1"] {
        assert!(entries.contains(part), "{part}: {entries}");
    }
    let store = std::fs::read(house.process.folder.path().join("omgate.db")).unwrap();
    let log = std::fs::read(house.process.folder.path().join("omgate.db-wal")).unwrap_or_default();
    let everything =
        [store, log, house.process.log().into_bytes(), list.text.into_bytes(), entries.into_bytes()].concat();
    for secret in [&scraper, &viewer, &guessed] {
        assert!(!everything.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_wanted_token_is_said() {
    let house = House::open().await;
    let admin = house.session("admin").await;
    for (body, word) in [
        (json!({"name": "two words", "expires_in_s": 3600}), "is no name"),
        (json!({"name": "a", "role": "root", "expires_in_s": 3600}), "is no role"),
        (json!({"name": "a", "rights": ["administer"], "expires_in_s": 3600}), "is no right"),
        (json!({"name": "a", "scope": ["everything"], "expires_in_s": 3600}), "nothing that a token could be for"),
        (json!({"name": "a", "expires_in_s": 1}), "from 1 minute to 731 days"),
        (json!({"name": "a"}), "expires_in_s"),
    ] {
        let told = house.post("/api/v1/tokens", &admin, &body).await;
        assert!(told.status == 400 && told.text.contains(word), "{body}: {told:?}");
    }
    let operator = house.session("operator").await;
    assert_eq!(house.post("/api/v1/tokens", &operator, &json!({"name": "a", "expires_in_s": 3600})).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_come_in_with_a_token() {
    let house = House::open().await;
    let admin = house.session("admin").await;
    let (root, _) = house.token(&admin, &json!({"name": "root", "role": "admin", "expires_in_s": 3600})).await;
    let (code, made) = house.command(
        &root,
        &[
            "token",
            "create",
            "--name",
            "ci",
            "--role",
            "operator",
            "--rights",
            "payload,edit",
            "--expires",
            "90d",
            "--scope",
            "deliveries,ledger",
            "--json",
        ],
    );
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        (&made["rights"], &made["scope"], &made["created_by"]),
        (&json!("payload edit"), &json!("deliveries ledger"), &json!("token root"))
    );
    let (code, text) = house.command(made["token"].as_str().unwrap(), &["ledger", "--format", "json"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = house.command(made["token"].as_str().unwrap(), &["systems", "list"]);
    assert!(code == 1 && text.contains("alone"), "{text}");
    let (code, text) = house.command(&root, &["token", "list"]);
    assert!(code == 0 && text.contains("ci") && text.contains("operator"), "{text}");
    let (code, text) = house.command(&root, &["token", "revoke", made["id"].as_str().unwrap(), "--reason", "done"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = house.command(made["token"].as_str().unwrap(), &["ledger"]);
    assert!(code == 1 && text.contains("revoked"), "{text}");
    let (code, text) = house.command(&root, &["status", "--admin", "http://gateway.internal:8081"]);
    assert!(code == 1 && text.contains("could be read on the way"), "{text}");
}

/// Changes the log behind the gateway's back.
fn tamper(house: &House, sql: &str) {
    let connection = rusqlite::Connection::open(house.process.folder.path().join("omgate.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
        .execute_batch(&format!("DROP TRIGGER IF EXISTS audit_stays; DROP TRIGGER IF EXISTS audit_lasts; {sql}"))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_a_removed_and_an_inserted_entry_of_the_audit_log_are_found() {
    let house = House::open().await;
    let admin = house.session("admin").await;
    let (root, _) = house.token(&admin, &json!({"name": "root", "role": "admin", "expires_in_s": 3600})).await;
    for _ in 0..4 {
        assert_eq!(house.post("/api/v1/store/prune", &admin, &json!({})).await.status, 200);
    }
    let verify = |arguments: &[&str]| house.command(&root, &[&["audit", "verify"], arguments].concat());
    let (code, text) = verify(&[]);
    assert!(code == 0 && text.contains("each follows from the one before"), "{text}");
    let head = text.trim().rsplit(' ').next().unwrap().to_owned();
    let exported = house.process.folder.path().join("audit.jsonl").display().to_string();
    let (code, text) = house.command(&root, &["audit", "export", &exported]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(verify(&["--file", &exported, "--head", &head]).0, 0);
    assert_eq!(verify(&["--head", &"0".repeat(64)]).0, 1);

    let lines = std::fs::read_to_string(&exported).unwrap();
    let broken = lines.replacen("account admin", "account eve", 1);
    std::fs::write(&exported, broken).unwrap();
    let (code, text) = verify(&["--file", &exported]);
    assert!(code == 1 && text.contains("does not follow"), "{text}");

    let row = "at, who, verb, object, object_id, count, reason, result";
    for (sql, undo, word) in [
        (
            "UPDATE audit SET who = 'eve' WHERE id = 3",
            "UPDATE audit SET who = 'account admin' WHERE id = 3",
            "entry 3 does not follow",
        ),
        (
            &*format!("INSERT INTO audit ({row}) SELECT {row} FROM audit WHERE id = 1"),
            "DELETE FROM audit WHERE hash IS NULL",
            "has no hash",
        ),
        (
            "CREATE TABLE held AS SELECT * FROM audit WHERE id = 4; DELETE FROM audit WHERE id = 4",
            "INSERT INTO audit SELECT * FROM held; DROP TABLE held",
            "what stood between 3 and 5 was removed",
        ),
        (
            "CREATE TABLE held AS SELECT * FROM audit WHERE id >= 5; DELETE FROM audit WHERE id >= 5",
            "INSERT INTO audit SELECT * FROM held; DROP TABLE held",
            "the log ends with entry 4",
        ),
    ] {
        tamper(&house, sql);
        let (code, text) = verify(&[]);
        assert!(code == 1 && text.contains(word) && text.contains("THE LOG WAS CHANGED"), "{sql}: {text}");
        tamper(&house, undo);
        let (code, text) = verify(&[]);
        assert_eq!(code, 0, "{undo}: {text}");
    }
}

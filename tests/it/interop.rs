//! Real SOAP servers: a mapped record arrives exact to the byte on each, and each one's faults become the right outcome.
//!
//! Each server writes what it saw to a file, a line for each field: its name, and `nil`, `absent` or the bytes in hex.
//! A server that is not installed is skipped, and the reason printed; `.ci/run` installs them all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

pub(crate) mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use omgate::call::Call;
use omgate::clock::{Clock, Timestamp};
use omgate::config::{self, Loaded};
use omgate::deliver::{self, Target, classify};
use omgate::expression::Subject;
use omgate::map::{self, Identity};
use omgate::outcome::{Exchange, Outcome};
use omgate::parse;
use omgate::soap::Reply;
use omgate::soap::security::{Fresh, Order, Security};
use serde_json::{Value, json};

use crate::harness::{Notice, ORGANIZATION, Process, envelope};
use crate::signature::{RSA, certificate, signature};
use servers::{Running, Stack};

const TEXT: &str = "& < é 漢 \"";
const AMOUNT: &str = "12345678901234567.123456789";
const PASSWORD: &str = "s3cr3t & <ö>";

/// The fields of the record, as Salesforce sends them.
fn fields(mode: &str) -> String {
    format!(
        "<sf:Text__c>&amp; &lt; é 漢 \"</sf:Text__c><sf:Nothing__c xsi:nil=\"true\"/><sf:Empty__c></sf:Empty__c>\
         <sf:Blanks__c>  two</sf:Blanks__c><sf:Amount__c>{AMOUNT}</sf:Amount__c><sf:Mode__c>{mode}</sf:Mode__c>"
    )
}

const MAP: &str = r#"
id = "record.Id"
text = "record.Text__c"
nothing = "record.Nothing__c"
empty = "record.Empty__c"
blanks = "record.Blanks__c"
amount = "record.Amount__c"
left = "record.Absent__c"
"#;

/// A configuration that carries the record to a server.
fn configuration(wsdl: &str, endpoint: &str, destination: &str) -> String {
    let map = if wsdl == "encoded.wsdl" {
        let record: String =
            MAP.lines().filter(|line| !line.is_empty()).map(|line| format!("record.{line}\n")).collect();
        format!("{record}record.words = \"['eins', 'zwei']\"\nmode = \"record.Mode__c\"\n")
    } else {
        format!("{MAP}mode = \"record.Mode__c\"\n")
    };
    format!(
        "[[source]]\nname = \"s\"\npath = \"/s\"\norganizations = [\"{ORGANIZATION}\"]\n\
         [[destination]]\nname = \"d\"\nkind = \"soap\"\nwsdl = \"{}\"\noperation = \"PutRecord\"\n\
         endpoint = \"{endpoint}\"\n{destination}\n\
         [[route]]\nname = \"r\"\nsource = \"s\"\ndestination = \"d\"\n[route.map]\n{map}",
        servers::folder().join(wsdl).display()
    )
}

fn load(wsdl: &str, endpoint: &str, destination: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    std::fs::write(&path, configuration(wsdl, endpoint, destination)).unwrap();
    config::load(&path).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What came of one call.
struct Came {
    outcome: Outcome,
    body: Option<Value>,
}

/// Maps a record.
fn mapped(loaded: &Loaded, mode: &str) -> Call {
    let route = &loaded.plan.routes["r"];
    let text = envelope(&[Notice { id: "04l000000000001AAA", record: "006000000000001AAA", fields: &fields(mode) }]);
    let envelope = parse::envelope(text.as_bytes(), None, &parse::Limits::default(), None).unwrap();
    let subject = Subject {
        record: envelope.notifications[0].record(),
        notification_id: "04l000000000001AAA",
        received_at: Timestamp(0),
        organization_id: ORGANIZATION,
        action_id: "04k1",
        enterprise_url: "",
        partner_url: "",
        source: "s",
        after: None,
    };
    let identity = Identity { idempotency_key: "key".to_owned() };
    map::call(&route.mapping, &subject, &identity).unwrap()
}

/// Maps a record, sends it and judges the answer, as the gateway does.
async fn deliver(loaded: &Loaded, mode: &str, target: Option<Target>) -> Came {
    let (route, destination) = (&loaded.plan.routes["r"], &loaded.plan.destinations["d"]);
    let call = mapped(loaded, mode);
    let exchange = deliver::send(target.as_ref().unwrap_or(&destination.target), &call).await;
    let reply = map::reply(&route.mapping, &exchange);
    let outcome = classify::judge(&exchange, reply.as_ref(), &destination.rules).outcome;
    if let (Exchange::Answered(response), Outcome::Unknown { .. }) = (&exchange, &outcome) {
        println!("{}", String::from_utf8_lossy(&response.body));
    }
    let body = reply.and_then(|reply| if let Reply::Body(body) = reply { Some(body) } else { None });
    Came { outcome, body }
}

fn word(outcome: &Outcome) -> &'static str {
    if matches!(outcome, Outcome::Unauthorized { .. }) { "unauthorized" } else { outcome.as_str() }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What the server must have seen. `left` is what it says of an element that was left out.
fn expected(left: &str, encoded: bool) -> String {
    let mut lines = String::new();
    for (name, value) in [
        ("id", Some("006000000000001AAA")),
        ("text", Some(TEXT)),
        ("nothing", None),
        ("empty", Some("")),
        ("blanks", Some("  two")),
        ("amount", Some(AMOUNT)),
    ] {
        lines.push_str(&value.map_or_else(|| format!("{name} nil\n"), |value| format!("{name} ={}\n", hex(value))));
    }
    lines.push_str(&format!("left {left}\n"));
    if encoded {
        lines.push_str(&format!("words ={}\n", hex("eins|zwei")));
    }
    lines
}

/// What the server answers: the text, or the whole record.
fn answered(encoded: bool) -> Value {
    if !encoded {
        return json!({"seen": TEXT});
    }
    let amount: Value = serde_json::from_str(AMOUNT).unwrap();
    json!({"seen": {
        "id": "006000000000001AAA",
        "text": TEXT,
        "nothing": null,
        "empty": "",
        "blanks": "  two",
        "amount": amount,
        "words": ["eins", "zwei"],
    }})
}

/// An answer less the element that was left out, which some stacks answer as nil.
fn without_left(body: Option<Value>) -> Option<Value> {
    let mut body = body?;
    let left = body["seen"].as_object_mut()?.shift_remove("left");
    assert!(left.is_none_or(|left| left.is_null()));
    Some(body)
}

/// How a stack answers, where it differs.
struct Expect {
    /// Ports of the WSDL: SOAP 1.1 and 1.2 where it takes both.
    ports: &'static [&'static str],
    /// What it makes of an element that was left out.
    left: &'static str,
    /// Whether the record can make it refuse the caller.
    security: bool,
}

const PLAIN: Expect = Expect { ports: &["Interop11"], left: "nil", security: false };

async fn check(server: &Running, expect: &Expect) {
    let encoded = server.wsdl() == "encoded.wsdl";
    for port in expect.ports {
        let loaded = load(server.wsdl(), &server.url(), &format!("port = \"{port}\""));
        let came = deliver(&loaded, "ok", None).await;
        assert_eq!(came.outcome, Outcome::Delivered, "{} {port}: {}", server.name(), server.log());
        assert_eq!(server.seen(), expected(expect.left, encoded), "{} {port}", server.name());
        let body = if encoded { without_left(came.body) } else { came.body };
        assert_eq!(body, Some(answered(encoded)), "{} {port}", server.name());
        for (mode, expected) in [("client", "refused"), ("server", "retry"), ("security", "unauthorized")] {
            if mode == "security" && !expect.security {
                continue;
            }
            let came = deliver(&loaded, mode, None).await;
            assert_eq!(word(&came.outcome), expected, "{} {port} {mode}: {:?}", server.name(), came.outcome);
            let text = ["the record is wrong", "the ledger is closed", "nobody of that name"];
            assert!(text.iter().any(|text| came.outcome.reason().contains(text)), "{:?}", came.outcome);
        }
    }
}

const BOTH: &[&str] = &["Interop11", "Interop12"];

#[tokio::test]
async fn php_takes_records_to_the_byte_and_its_faults_are_understood() {
    let Some(php) = Stack::Php.prepare() else { return };
    let expect = Expect { left: "absent", ..PLAIN };
    check(&php.start(&[("PASSWORD", PASSWORD)]).await, &expect).await;
    let newer = php.start(&[("PASSWORD", PASSWORD), ("SOAP_VERSION", "1.2")]).await;
    check(&newer, &Expect { ports: &["Interop12"], ..expect }).await;
}

#[tokio::test]
async fn gsoap_takes_records_to_the_byte_and_its_faults_are_understood() {
    let Some(gsoap) = Stack::Gsoap.prepare() else { return };
    check(&gsoap.start(&[]).await, &Expect { ports: BOTH, ..PLAIN }).await;
}

#[tokio::test]
async fn node_soap_takes_records_to_the_byte_and_its_faults_are_understood() {
    let Some(node) = Stack::Node.prepare() else { return };
    let server = node.start(&[("PASSWORD", PASSWORD)]).await;
    check(&server, &Expect { ports: BOTH, left: "absent", ..PLAIN }).await;
    // It knows passwords in clear only.
    for (password, expected) in [(PASSWORD, "delivered"), ("wrong", "unauthorized")] {
        let secured = format!("port = \"Interop11\"\n{}", credentials(password, ""));
        let came = deliver(&load("document.wsdl", &server.url(), &secured), "ok", None).await;
        assert_eq!(word(&came.outcome), expected, "{password}: {:?}", came.outcome);
    }
}

#[tokio::test]
async fn spyne_takes_records_to_the_byte_and_its_faults_are_understood() {
    let Some(spyne) = Stack::Spyne.prepare() else { return };
    check(&spyne.start(&[]).await, &Expect { security: true, ..PLAIN }).await;
}

#[tokio::test]
async fn asmx_takes_records_to_the_byte_and_its_faults_are_understood() {
    let Some(asmx) = Stack::Asmx.prepare() else { return };
    check(&asmx.start(&[]).await, &Expect { ports: BOTH, security: true, ..PLAIN }).await;
}

#[tokio::test]
async fn soap_lite_takes_encoded_records_to_the_byte_and_its_faults_are_understood() {
    let Some(lite) = Stack::Lite.prepare() else { return };
    check(&lite.start(&[]).await, &Expect { ports: &["Interop"], left: "absent", security: true }).await;
}

#[tokio::test]
async fn axis_takes_encoded_records_to_the_byte_and_its_faults_are_understood() {
    let Some(axis) = Stack::Axis.prepare() else { return };
    check(&axis.start(&[]).await, &Expect { ports: &["Interop"], security: true, ..PLAIN }).await;
}

/// The machine's clock, set wrong.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(i64::try_from(now.as_millis()).unwrap() + 1_000 * self.0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn off(loaded: &Loaded, seconds: i64) -> Target {
    let target = loaded.plan.destinations["d"].target.clone();
    target.with_freshness(Arc::new(Off(seconds)), Arc::new(|| Some([7; 16])))
}

fn credentials(password: &str, more: &str) -> String {
    format!("security = {{ username = \"omgate\", password = \"{password}\"{more} }}")
}

/// JAX-WS, and Apache WSS4J as the judge of our WS-Security headers.
#[tokio::test]
async fn jax_ws_takes_records_and_wss4j_our_credentials() {
    let Some(jax_ws) = Stack::JaxWs.prepare() else { return };
    let server = jax_ws.start(&[("PASSWORD", PASSWORD)]).await;
    check(&server, &PLAIN).await;
    let url = server.url();
    let secured = |destination: &str| load("document.wsdl", &url, &format!("port = \"Interop11\"\n{destination}"));
    for (destination, expected) in [
        (credentials(PASSWORD, ""), "delivered"),
        (credentials(PASSWORD, ", nonce = true"), "delivered"),
        (credentials(PASSWORD, ", password_type = \"digest\""), "delivered"),
        (credentials(PASSWORD, ", password_type = \"digest\", timestamp = true"), "delivered"),
        (credentials(PASSWORD, ", timestamp = true, order = \"username-first\", must_understand = false"), "delivered"),
        ("security = { timestamp = true, ttl = \"30s\" }".to_owned(), "delivered"),
        (credentials("wrong", ""), "unauthorized"),
        (credentials("wrong", ", password_type = \"digest\""), "unauthorized"),
        (credentials(PASSWORD, "").replace("omgate", "somebody"), "unauthorized"),
    ] {
        let came = deliver(&secured(&destination), "ok", None).await;
        assert_eq!(word(&came.outcome), expected, "{destination}: {:?}\n{}", came.outcome, server.log());
    }
    // A clock an hour behind, or one ahead by more than a server allows; the skew mends the latter.
    let stamped = credentials(PASSWORD, ", timestamp = true");
    let skewed = credentials(PASSWORD, ", timestamp = true, clock_skew = \"5m\"");
    for (destination, seconds, expected) in [
        (&stamped, -3_600, "unauthorized"),
        (&stamped, 0, "delivered"),
        (&stamped, 200, "unauthorized"),
        (&skewed, 200, "delivered"),
    ] {
        let loaded = secured(destination);
        let came = deliver(&loaded, "ok", Some(off(&loaded, seconds))).await;
        assert_eq!(word(&came.outcome), expected, "{destination} {seconds}: {:?}", came.outcome);
    }
    drop(server);

    let strict = jax_ws.start(&[("PASSWORD", PASSWORD), ("ADDRESSING", "required")]).await;
    let addressed =
        |destination: &str| load("document.wsdl", &strict.url(), &format!("port = \"Interop11\"\n{destination}"));
    for (destination, expected) in
        [("", "refused"), ("addressing = true", "delivered"), ("addressing = { must_understand = true }", "delivered")]
    {
        let came = deliver(&addressed(destination), "ok", None).await;
        assert_eq!(word(&came.outcome), expected, "{destination}: {:?}\n{}", came.outcome, strict.log());
    }
}

/// WSS4J as the judge of our signatures.
#[tokio::test]
async fn wss4j_takes_what_we_sign_and_nothing_that_was_changed() {
    let Some(jax_ws) = Stack::JaxWs.prepare() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "ours", RSA, 90) || !certificate(folder, "other", RSA, 90) {
        return;
    }
    let trusted = folder.join("ours.pem").display().to_string();
    let server = jax_ws.start(&[("PASSWORD", PASSWORD), ("CERTIFICATE", &trusted)]).await;
    let url = server.url();
    let secured = |security: &str| {
        let security = security.replace("DIR", &folder.display().to_string());
        load("document.wsdl", &url, &format!("port = \"Interop11\"\naddressing = true\nsecurity = {security}"))
    };
    let ours = "certificate = \"DIR/ours.pem\", private_key = \"DIR/ours.key\"";
    let user = format!("username = \"omgate\", password = \"{PASSWORD}\", password_type = \"digest\"");
    let all = "sign = [\"username-token\", \"body\", \"timestamp\", \"to\", \"action\", \"certificate\"]";
    for (security, expected) in [
        (format!("{{ signature = {{ {ours} }} }}"), "delivered"),
        (format!("{{ {user}, signature = {{ {ours}, {all} }}, order = \"username-first\" }}"), "delivered"),
        (format!("{{ signature = {{ {ours}, sign = [\"body\"] }} }}"), "unauthorized"),
        (format!("{{ signature = {{ {} }} }}", ours.replace("ours", "other")), "unauthorized"),
        ("{ timestamp = true }".to_owned(), "unauthorized"),
    ] {
        let came = deliver(&secured(&security), "ok", None).await;
        assert_eq!(word(&came.outcome), expected, "{security}: {:?}\n{}", came.outcome, server.log());
    }

    let call = mapped(&secured("{ timestamp = true }"), "ok");
    let security = Security {
        token: None,
        ttl: Some(Duration::from_secs(60)),
        signature: Some(signature(folder, "ours", &["timestamp", "body"])),
        order: Order::TimestampFirst,
        must_understand: true,
        actor: None,
        clock_skew: Duration::ZERO,
    };
    let fresh = Fresh { now: Off(0).now(), nonce: [3; 16] };
    let signed = security.add(std::str::from_utf8(&call.body).unwrap(), &fresh).unwrap();
    let expires = Timestamp(fresh.now.0 + 60_000).to_string();
    let later = Timestamp(fresh.now.0 + 61_000).to_string();
    for (text, is_taken) in [
        (signed.clone(), true),
        (signed.replace("006000000000001AAA", "006000000000002AAA"), false),
        (signed.replace(&expires, &later), false),
    ] {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(&url).header("Content-Type", "text/xml; charset=utf-8").header("SOAPAction", "\"\"");
        let answer = request.body(text.clone()).send().await.unwrap();
        let (status, said) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status.is_success(), is_taken, "{said}\n{text}\n{}", server.log());
        assert!(is_taken || said.contains("signature"), "{said}");
    }
}

#[tokio::test]
async fn a_gateway_carries_records_to_php_and_pauses_when_php_refuses_its_credentials() {
    let Some(php) = Stack::Php.prepare() else { return };
    let server = php.start(&[("PASSWORD", PASSWORD)]).await;
    let destination = credentials("${INTEROP_PASSWORD}", ", password_type = \"digest\", timestamp = true");
    let destination = format!("port = \"Interop11\"\n{destination}");
    let listen = "[server]\nlisten = \"127.0.0.1:{public}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n";
    let text = format!("{listen}{}", configuration("document.wsdl", &server.url(), &destination));
    let mut gateway = Process::prepare(&text);
    gateway.start(&[("INTEROP_PASSWORD", PASSWORD)]).await;
    let post =
        |id: &'static str, mode: &str| envelope(&[Notice { id, record: "006000000000001AAA", fields: &fields(mode) }]);
    let patience = Duration::from_secs(30);

    assert!(gateway.post("/s", post("04l000000000001AAA", "ok")).await.unwrap().is_ack());
    gateway.until(patience, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!(server.seen(), expected("absent", false));
    assert!(gateway.post("/s", post("04l000000000002AAA", "client")).await.unwrap().is_ack());
    gateway.until(patience, |ledger| ledger["deliveries"]["dead"] == 1).await;
    let shown = gateway.command(&["deliveries", "show", "1", "--json"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("PutRecord") && !shown.contains("s3cr3t") && !shown.contains("wsse"), "{shown}");

    gateway.stop().await;
    gateway.start(&[("INTEROP_PASSWORD", "another")]).await;
    assert!(gateway.post("/s", post("04l000000000003AAA", "ok")).await.unwrap().is_ack());
    let deadline = Instant::now() + patience;
    loop {
        let systems = gateway.admin("/api/v1/systems").await.to_string();
        if systems.contains("could not be authenticated") {
            break;
        }
        assert!(Instant::now() < deadline, "{systems}\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // The right password again: what waited is delivered when a person resumes the system.
    gateway.stop().await;
    gateway.start(&[("INTEROP_PASSWORD", PASSWORD)]).await;
    let resumed = gateway.command(&["systems", "resume", "d", "--reason", "the password is right again"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    gateway.until(patience, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert!(!gateway.log().contains("s3cr3t"));
}

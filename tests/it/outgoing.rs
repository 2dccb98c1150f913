//! How calls leave: TLS as a destination wants it, through proxies, and only to where they may go.

mod legacy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use omgate::call::Call;
use omgate::certificate::Pin;
use omgate::config as configuration;
use omgate::deliver::auth::Auth;
use omgate::deliver::auth::oauth::{OAuth, Settings, Style};
use omgate::deliver::egress::{Egress, Names};
use omgate::deliver::tls::{Identity, Tls, Version};
use omgate::deliver::{self, Target, TargetConfig};
use omgate::outcome::{Exchange, Response};
use omgate::secret::Text;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::deliver::faults::{Client, FaultServer, Step, TlsServer, say};
use crate::deliver::{call, config, secret};
use crate::edge::{has_openssl, self_signed};
use crate::harness::{ACTION, Notice, ORGANIZATION, Process, Sink, envelope};

const OK: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls").join(name)
}

/// Trusts the authority of the tests' servers.
fn trusting() -> Tls {
    Tls { ca: Some(file("authority.pem")), ..Tls::default() }
}

fn with_tls(tls: Tls) -> Target {
    Target::new(TargetConfig { tls, ..config() }).unwrap()
}

fn through(proxy: Text, tls: Tls) -> Target {
    Target::new(TargetConfig { proxy: Some(proxy), tls, ..config() }).unwrap()
}

fn only(allow: &[&str]) -> Egress {
    Egress { allow: Some(allow.iter().map(|text| text.parse().unwrap()).collect()) }
}

fn pin(hex: &str) -> Pin {
    Pin::parse(&format!("sha256:{hex}")).unwrap()
}

async fn answered(target: &Target, url: &str) -> Response {
    let exchange = deliver::send(target, &call(url)).await;
    let Exchange::Answered(response) = exchange else { panic!("{url}: {exchange:?}") };
    response
}

async fn not_sent(target: &Target, url: &str) -> String {
    let exchange = deliver::send(target, &call(url)).await;
    let Exchange::NotSent { reason } = exchange else { panic!("{url}: {exchange:?}") };
    reason
}

/// Why there was no token, and so no call.
async fn without_token(target: &Target, url: &str) -> String {
    let exchange = deliver::send(target, &call(url)).await;
    let Exchange::NoCredentials { reason, is_refused: false } = exchange else { panic!("{url}: {exchange:?}") };
    reason
}

/// What an error of a pin says of the server: its certificate, and its key.
async fn presented(url: &str) -> [Pin; 2] {
    let reason = not_sent(&with_tls(Tls { pins: vec![pin(&"0".repeat(64))], ..trusting() }), url).await;
    assert!(reason.contains("is not among the pins"), "{reason}");
    let pins: Vec<Pin> =
        reason.split_whitespace().filter_map(|word| Pin::parse(word.trim_end_matches(',')).ok()).collect();
    pins.try_into().unwrap()
}

#[tokio::test]
async fn a_pin_counts_beside_the_usual_check_and_never_in_its_place() {
    let server = TlsServer::start(&[&rustls::version::TLS13, &rustls::version::TLS12], Client::Ignored);
    let url = format!("https://localhost:{}/x", server.port);
    let other = pin(&"0".repeat(64));
    for pin in presented(&url).await {
        assert_eq!(answered(&with_tls(Tls { pins: vec![other, pin], ..trusting() }), &url).await.status, 204);
        // The authority is not known: the pin does not make up for it.
        let reason = not_sent(&with_tls(Tls { pins: vec![pin], ..Tls::default() }), &url).await;
        assert!(reason.contains("certificate"), "{reason}");
        // Nor for a name that the certificate does not have.
        let address = format!("https://127.0.0.2:{}/x", server.port);
        not_sent(&with_tls(Tls { pins: vec![pin], ..trusting() }), &address).await;
        // Where anybody is accepted, the pin still counts.
        let anybody = Tls { accept_invalid: true, ..Tls::default() };
        assert_eq!(answered(&with_tls(Tls { pins: vec![pin], ..anybody.clone() }), &url).await.status, 204);
        not_sent(&with_tls(Tls { pins: vec![other], ..anybody }), &url).await;
    }
}

#[tokio::test]
async fn any_certificate_is_taken_only_where_that_is_said() {
    let server = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    let url = format!("https://localhost:{}/x", server.port);
    not_sent(&with_tls(Tls::default()), &url).await;
    let anybody = with_tls(Tls { accept_invalid: true, ..Tls::default() });
    assert!(anybody.alarms().iter().any(|(alarm, _)| *alarm == "accept_invalid"));
    assert!(with_tls(trusting()).alarms().is_empty());
    assert_eq!(answered(&anybody, &url).await.status, 204);
}

#[tokio::test]
async fn no_older_version_is_spoken_than_the_least_one() {
    let old = TlsServer::start(&[&rustls::version::TLS12], Client::Ignored);
    let url = format!("https://localhost:{}/x", old.port);
    assert_eq!(answered(&with_tls(trusting()), &url).await.status, 204);
    let reason = not_sent(&with_tls(Tls { version_min: Version::Tls13, ..trusting() }), &url).await;
    assert!(reason.starts_with("no connection to https://localhost:"), "{reason}");
    let new = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    let url = format!("https://localhost:{}/x", new.port);
    assert_eq!(answered(&with_tls(Tls { version_min: Version::Tls13, ..trusting() }), &url).await.status, 204);
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let server = TlsServer::start(&[&rustls::version::TLS12], Client::Required(file("client.pem")));
    let url = format!("https://localhost:{}/x", server.port);
    let pem = Identity::Pem { certificate: file("client.pem"), key: file("client-key.pem") };
    let pkcs12 = |name: &str| Identity::Pkcs12 { file: file(name), password: secret("${P12}", "s3cr3t-file") };
    for identity in [pem, pkcs12("client.p12"), pkcs12("client-legacy.p12")] {
        let target = with_tls(Tls { identity: Some(identity), ..trusting() });
        assert_eq!(answered(&target, &url).await.status, 204);
    }
    let exchange = deliver::send(&with_tls(trusting()), &call(&url)).await;
    assert!(!matches!(exchange, Exchange::Answered(_)), "{exchange:?}");
    for (identity, expected) in [
        (Identity::Pkcs12 { file: file("client.p12"), password: Text::plain("wrong") }, "with this password"),
        (Identity::Pkcs12 { file: file("client.pem"), password: Text::plain("x") }, "cannot be read as PKCS#12"),
        (Identity::Pem { certificate: file("client.pem"), key: file("server-key.pem") }, "cannot be used together"),
        (Identity::Pem { certificate: file("client.pem"), key: file("client.pem") }, "no PEM private key"),
        (Identity::Pem { certificate: file("client-key.pem"), key: file("client-key.pem") }, "no PEM certificate"),
    ] {
        let tls = Tls { identity: Some(identity), ..trusting() };
        let error = Target::new(TargetConfig { tls, ..config() }).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("destination erp"), "{error}");
        assert!(!error.contains("wrong\""), "{error}");
    }
}

#[tokio::test]
async fn a_token_endpoint_is_asked_over_the_destinations_own_tls() {
    let tokens = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    let settings = Settings {
        token_url: Text::plain(format!("https://localhost:{}/token", tokens.port)),
        client_id: Some(Text::plain("omgate")),
        client_secret: Some(secret("${SECRET}", "s3cr3t-word")),
        scope: None,
        audience: None,
        style: Style::Body,
        assertion: None,
    };
    let auth = || Some(Auth::OAuth(Arc::new(OAuth::new(settings.clone()).unwrap())));
    let strange = Target::new(TargetConfig { auth: auth(), ..config() }).unwrap();
    let reason = without_token(&strange, "http://127.0.0.1:1/").await;
    assert!(reason.contains("certificate"), "{reason}");
    let known = Target::new(TargetConfig { auth: auth(), tls: trusting(), ..config() }).unwrap();
    let reason = without_token(&known, "http://127.0.0.1:1/").await;
    assert!(reason.contains("it answered 204"), "{reason}");
    let egress = only(&["127.0.0.1:1"]);
    let shut = Target::new(TargetConfig { auth: auth(), tls: trusting(), egress, ..config() }).unwrap();
    let reason = without_token(&shut, "http://127.0.0.1:1/").await;
    assert!(reason.contains("[egress] allow") && reason.contains("localhost"), "{reason}");
    let socket = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    assert!(socket.heads().is_empty());
}

/// A SOCKS5 proxy (RFC 1928, RFC 1929) that knows one user, and answers in the place of whom it is to reach. What it was
/// asked to reach, and the request.
async fn socks(reached: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(socks_client(stream, Arc::clone(&reached)));
        }
    });
    port
}

async fn socks_client(mut stream: TcpStream, reached: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let [_, count] = [stream.read_u8().await.ok()?, stream.read_u8().await.ok()?];
    let mut methods = vec![0; count.into()];
    stream.read_exact(&mut methods).await.ok()?;
    if !methods.contains(&2) {
        return stream.write_all(&[5, 0xff]).await.ok();
    }
    stream.write_all(&[5, 2]).await.ok()?;
    stream.read_u8().await.ok()?;
    let mut credentials = Vec::new();
    for _ in 0..2 {
        let mut text = vec![0; stream.read_u8().await.ok()?.into()];
        stream.read_exact(&mut text).await.ok()?;
        credentials.push(String::from_utf8(text).unwrap());
    }
    let is_known = credentials == ["omgate", "s3cr3t:word"];
    stream.write_all(&[1, u8::from(!is_known)]).await.ok()?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let length = if head[3] == 3 { stream.read_u8().await.ok()?.into() } else { 4 };
    let mut host = vec![0; length];
    stream.read_exact(&mut host).await.ok()?;
    let port = stream.read_u16().await.ok()?;
    let host = if head[3] == 3 { String::from_utf8(host).unwrap() } else { format!("{host:?}") };
    reached.lock().unwrap().push(format!("{host}:{port}"));
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"{\"a\":1}") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    stream.write_all(OK.as_bytes()).await.ok()
}

fn proxy_at(scheme: &str, port: u16) -> Text {
    let mut text = Text::plain(format!("{scheme}://omgate:"));
    text.push_text(&secret("${PROXY_PASSWORD}", "s3cr3t%3Aword"));
    text.push_plain(&format!("@127.0.0.1:{port}"));
    text
}

#[tokio::test]
async fn socks_proxies_are_asked_with_credentials_for_a_name_or_for_an_address() {
    let reached: Arc<Mutex<Vec<String>>> = Arc::default();
    let port = socks(Arc::clone(&reached)).await;
    let target = through(proxy_at("socks5h", port), Tls::default());
    assert_eq!(answered(&target, "http://erp.invalid:8080/orders").await.status, 204);
    let target = through(proxy_at("socks5", port), Tls::default());
    assert_eq!(answered(&target, "http://127.0.0.1:8081/orders").await.status, 204);
    let reason = not_sent(&target, "http://erp.invalid:8080/orders").await;
    assert!(!reason.contains("s3cr3t"), "{reason}");
    assert_eq!(
        *reached.lock().unwrap(),
        ["erp.invalid:8080", "[127, 0, 0, 1]:8081"],
        "only socks5h resolves elsewhere"
    );
    let wrong = through(Text::plain(format!("socks5h://omgate:wrong@127.0.0.1:{port}")), Tls::default());
    let reason = not_sent(&wrong, "http://erp.invalid/orders").await;
    assert!(reason.starts_with("no connection to http://erp.invalid: "), "{reason}");
}

#[tokio::test]
async fn a_proxy_is_spoken_to_over_tls_and_with_credentials() {
    let proxy = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    let target = through(proxy_at("https", proxy.port), trusting());
    assert_eq!(answered(&target, "http://erp.invalid/orders").await.status, 204);
    let head = proxy.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("post http://erp.invalid/orders http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nproxy-authorization: basic b21nyxrlonmzy3izddp3b3jk\r\n"), "{head}");
    let strange = through(proxy_at("https", proxy.port), Tls::default());
    let reason = not_sent(&strange, "http://erp.invalid/orders").await;
    assert!(reason.contains("certificate") && !reason.contains("s3cr3t"), "{reason}");
    let plain = FaultServer::start(vec![Step::Read, say(OK)]).await;
    let target = through(proxy_at("http", plain.address.port()), Tls::default());
    assert_eq!(answered(&target, "http://erp.invalid/orders").await.status, 204);
    let request = plain.requests().remove(0);
    assert!(request.to_ascii_lowercase().contains("\r\nproxy-authorization: basic "), "{request}");
}

#[tokio::test]
async fn where_a_call_may_not_go_no_connection_is_made() {
    let server = FaultServer::start(vec![Step::Read, say(OK)]).await;
    let port = server.address.port();
    let target = |allow: &[&str]| Target::new(TargetConfig { egress: only(allow), ..config() }).unwrap();
    let here = format!("http://127.0.0.1:{port}/");
    let localhost = format!("http://localhost:{port}/");
    for (allow, url) in [
        (&["10.0.0.0/8"][..], &here),
        (&["0.0.0.0/0", "::/0"], &here),
        (&["127.0.0.1:1"], &here),
        (&["erp.example.com"], &localhost),
        // Its addresses are judged when it is resolved.
        (&["10.0.0.0/8"], &localhost),
        (&["10.0.0.0/8"], &format!("http://2130706433:{port}/")),
        (&["10.0.0.0/8"], &format!("http://0x7f.1:{port}/")),
        (&["10.0.0.0/8"], &format!("http://[::ffff:127.0.0.1]:{port}/")),
    ] {
        let reason = not_sent(&target(allow), url).await;
        assert!(reason.contains("[egress] allow"), "{allow:?} {url}: {reason}");
    }
    let open = Target::new(config()).unwrap();
    for url in
        ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:a9fe:a9fe]/", "http://metadata.google.internal/"]
    {
        let reason = not_sent(&open, url).await;
        assert!(reason.contains("metadata"), "{url}: {reason}");
    }
    assert_eq!(server.connections(), 0);
    for (allow, url) in [
        (&["127.0.0.0/8"][..], &here),
        (&[format!("127.0.0.1:{port}").as_str()], &here),
        (&[format!("localhost:{port}").as_str()], &localhost),
        (&["127.0.0.1", "::1"], &localhost),
    ] {
        assert_eq!(answered(&target(allow), url).await.status, 204, "{allow:?} {url}");
    }
    assert_eq!(answered(&open, &localhost).await.status, 204);
    assert_eq!(server.connections(), 5);
}

/// A name service that gives one answer after the other, then the last one again; and how often it was asked.
fn changing(answers: &[&[&str]]) -> (Names, Arc<AtomicUsize>) {
    let addresses = |list: &&[&str]| list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
    let answers: Vec<Vec<SocketAddr>> = answers.iter().map(addresses).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let names = Names::of(move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(at).or(answers.last()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(answer) })
    });
    (names, asked)
}

#[tokio::test]
async fn a_name_service_that_changes_its_answer_leads_no_call_elsewhere() {
    let server = FaultServer::start(vec![Step::Read, say(OK)]).await;
    let port = server.address.port();
    let url = format!("http://erp.example.com:{port}/orders");
    let (names, asked) = changing(&[
        &["127.0.0.1"],
        &["169.254.169.254"],
        &["127.0.0.2"],
        &["::ffff:127.0.0.2"],
        &[],
        &["169.254.169.254", "127.0.0.1"],
    ]);
    let target =
        Target::new(TargetConfig { egress: only(&[&format!("127.0.0.1:{port}")]), names, ..config() }).unwrap();
    assert_eq!(answered(&target, &url).await.status, 204);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what was judged is what is connected to: nobody asks again");
    for _ in 0..4 {
        let reason = not_sent(&target, &url).await;
        assert!(reason.contains("erp.example.com leads nowhere") || reason.contains("has no address"), "{reason}");
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(answered(&target, &url).await.status, 204, "the address that is allowed is taken");
    assert_eq!((server.connections(), asked.load(Ordering::SeqCst)), (2, 6));
    // A name alone, without a list, leads neither to this machine nor to where clouds have their metadata.
    let (names, _) = changing(&[&["127.0.0.1"], &["169.254.169.254"], &["fd00:ec2::254"]]);
    let open = Target::new(TargetConfig { names, ..config() }).unwrap();
    for _ in 0..3 {
        let reason = not_sent(&open, &url).await;
        assert!(reason.contains("[egress] allow"), "{reason}");
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_name_that_is_resolved_here_for_a_proxy_is_judged_too() {
    let reached: Arc<Mutex<Vec<String>>> = Arc::default();
    let port = socks(Arc::clone(&reached)).await;
    let (names, _) = changing(&[&["10.1.2.3"], &["169.254.169.254"], &["11.1.2.3"], &[]]);
    let egress = only(&["10.0.0.0/8", "127.0.0.1"]);
    let proxy = Some(proxy_at("socks5", port));
    let target = Target::new(TargetConfig { proxy, names, egress, ..config() }).unwrap();
    assert_eq!(answered(&target, "http://erp.example.com:8080/orders").await.status, 204);
    for _ in 0..3 {
        not_sent(&target, "http://erp.example.com:8080/orders").await;
    }
    assert_eq!(*reached.lock().unwrap(), ["[10, 1, 2, 3]:8080"]);
}

#[tokio::test]
async fn a_proxy_is_no_way_around_egress() {
    let proxy = FaultServer::start(vec![Step::Read, say(OK)]).await;
    let address = || Some(Text::plain(format!("http://{}", proxy.address)));
    let target =
        |allow: &[&str]| Target::new(TargetConfig { proxy: address(), egress: only(allow), ..config() }).unwrap();
    for (allow, url) in [
        (&["127.0.0.1"][..], "http://erp.example.com/"),
        (&["127.0.0.1", "10.0.0.0/8"], "http://11.0.0.1/"),
        (&["erp.example.com"], "http://erp.example.com/"),
        (&["127.0.0.1", "*.example.com"], "http://169.254.169.254/"),
    ] {
        let reason = not_sent(&target(allow), url).await;
        assert!(reason.contains("[egress] allow"), "{allow:?} {url}: {reason}");
    }
    let open = Target::new(TargetConfig { proxy: address(), ..config() }).unwrap();
    not_sent(&open, "http://169.254.169.254/").await;
    assert_eq!(proxy.connections(), 0);
    assert_eq!(answered(&target(&["127.0.0.1", "*.example.com"]), "http://erp.example.com/").await.status, 204);
}

fn gateway(url: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{{public}}\"\nadmin_listen = \"127.0.0.1:{{admin}}\"\n\
         [[source]]\nname = \"orders\"\npath = \"/in\"\norganizations = [\"{ORGANIZATION}\"]\nactions = [\"{ACTION}\"]\n\
         [[destination]]\nname = \"erp\"\nkind = \"rest\"\nurl = \"{url}\"\n{more}\n\
         [[route]]\nsource = \"orders\"\ndestination = \"erp\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_steers_no_call_and_a_destination_that_takes_anybody_is_an_alarm() {
    let server = TlsServer::start(&[&rustls::version::TLS13], Client::Ignored);
    let url = format!("https://localhost:{}/orders", server.port);
    let mut process = Process::prepare(&gateway(&url, "tls = { accept_invalid = true }"));
    let nowhere = "http://127.0.0.1:1";
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    process.start(&names.map(|name| (name, nowhere))).await;
    let patience = Duration::from_secs(20);
    let alarm = |answer: &serde_json::Value| answer["alarms"].to_string().contains("accept_invalid");
    process.admin_until("/api/v1/status", patience, alarm).await;
    let notice = Notice { id: "04l240000000001AAA", record: "006240000000001AAA", fields: "<sf:Name>A</sf:Name>" };
    assert!(process.post("/in", envelope(&[notice])).await.unwrap().is_ack());
    process.until(patience, |_| !server.heads().is_empty()).await;
    let sink = Sink::start(Box::new(|_, _| Some((200, "{}".to_owned())))).await;
    process.configure(&gateway(&sink.url("/orders"), ""));
    process.hang_up();
    process.admin_until("/api/v1/status", patience, |answer| !alarm(answer)).await;
    let notice = Notice { id: "04l240000000002AAA", record: "006240000000002AAA", fields: "<sf:Name>A</sf:Name>" };
    assert!(process.post("/in", envelope(&[notice])).await.unwrap().is_ack());
    process.until(patience, |_| !sink.arrived().is_empty()).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_expire_within_a_month_are_told_of_both_sides() {
    if !has_openssl() {
        return;
    }
    let names = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let kept = tempfile::tempdir().unwrap();
    self_signed(kept.path(), "server", 20, names);
    let pair = (kept.path().join("server.pem"), kept.path().join("server.key"));
    let server = TlsServer::showing((&pair.0, &pair.1), &[&rustls::version::TLS13], Client::Ignored);
    let more = "tls = { ca = \"server.pem\", client_certificate = \"ours.pem\", client_key = \"ours.key\" }";
    let signs = format!(
        r#"
[[destination]]
name = "signed"
kind = "soap"
wsdl = "{}/wsdl/erp.wsdl"
operation = "CreateOrder"
endpoint = "http://127.0.0.1:9/"
security = {{ signature = {{ certificate = "seal.pem", private_key = "seal.key" }} }}
"#,
        env!("CARGO_MANIFEST_DIR")
    );
    let text = gateway(&format!("https://localhost:{}/orders", server.port), more);
    let mut process = Process::prepare(&format!("{text}{signs}"));
    self_signed(process.folder.path(), "ours", 10, "");
    self_signed(process.folder.path(), "seal", 5, "");
    std::fs::copy(&pair.0, process.folder.path().join("server.pem")).unwrap();
    let checked = process.command(&["check"]);
    let told = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(checked.status.success() && told.contains("within 10 days; renew it"), "{told}");
    process.start(&[]).await;
    let alarms = process.admin("/api/v1/status").await["alarms"].to_string();
    assert!(alarms.contains("CN=ours expires at") && alarms.contains("within 10 days: renew it"), "{alarms}");
    let notice = Notice { id: "04l240000000001AAA", record: "006240000000001AAA", fields: "<sf:Name>A</sf:Name>" };
    assert!(process.post("/in", envelope(&[notice])).await.unwrap().is_ack());
    let shown = |answer: &serde_json::Value| {
        let all = answer["certificates"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", one["key"].as_str().unwrap(), one["days_left"])).collect::<Vec<_>>()
    };
    assert!(alarms.contains("signing certificate CN=seal") && alarms.contains("within 5 days: renew it"), "{alarms}");
    let both = [
        "destination.erp.tls.client_certificate 9",
        "destination.erp.server 19",
        "destination.signed.security.signature.certificate 4",
    ];
    process.admin_until("/api/v1/status", Duration::from_secs(20), |answer| shown(answer) == both).await;
    // Renewed, it is taken, and the alarm ends.
    self_signed(process.folder.path(), "ours", 90, "");
    let over = |answer: &serde_json::Value| !answer["alarms"].to_string().contains("CN=ours");
    process.admin_until("/api/v1/status", Duration::from_secs(20), over).await;
    process.stop().await;
}

#[test]
fn a_configuration_whose_calls_could_go_nowhere_is_refused_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    let check = |allow: &str, url: &str, more: &str| {
        let text = gateway(url, more).replace("{public}", "1").replace("{admin}", "2");
        std::fs::write(&path, format!("{allow}\n{text}")).unwrap();
        configuration::load(&path).map(drop).map_err(|problems| problems.to_string())
    };
    let token = "auth = { oauth2 = { token_url = \"https://login.example.com/t\", client_id = \"a\", client_secret = \"${HOME}\" } }";
    for (allow, url, more) in [
        ("", "http://169.254.169.254/x", ""),
        ("", "http://[::ffff:a9fe:a9fe]/{{ record.Id }}", ""),
        ("", "http://metadata.google.internal/x", ""),
        ("[egress]\nallow = [\"10.0.0.0/8\"]", "http://11.0.0.1/x", ""),
        ("[egress]\nallow = [\"erp.example.com\"]", "http://crm.example.com/x", ""),
        ("[egress]\nallow = [\"erp.example.com:8443\"]", "https://erp.example.com/x", ""),
        ("[egress]\nallow = [\"erp.example.com\"]", "http://erp.example.com/x", token),
        (
            "[egress]\nallow = [\"erp.example.com\"]",
            "http://erp.example.com/x",
            "proxy = \"http://proxy.example.com:3128\"",
        ),
    ] {
        let problems = check(allow, url, more).unwrap_err();
        assert!(problems.contains("no call may go there"), "{allow} {url} {more}: {problems}");
    }
    for (allow, url, more) in [
        ("", "http://10.0.0.1/{{ record.Id }}", ""),
        ("[egress]\nallow = [\"10.0.0.0/8\"]", "http://crm.example.com/x", ""),
        ("[egress]\nallow = [\"*.example.com\"]", "http://erp.example.com/x", token),
    ] {
        assert_eq!(check(allow, url, more), Ok(()), "{allow} {url} {more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_goes_only_where_calls_may_go() {
    // Nobody knows what became of the call, so it is looked up.
    let erp = Sink::start(Box::new(|_, _| None)).await;
    let archive = Sink::start(Box::new(|_, _| Some((200, "{}".to_owned())))).await;
    let (erp_url, archive_url) = (erp.url("/orders"), archive.url("").replace("127.0.0.1", "localhost"));
    let host = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    let configured = |allow: &str| {
        let more = format!(
            "unknown = \"probe\"\nretry = {{ first = \"20ms\", max_wait = \"50ms\" }}\n\
             [[destination]]\nname = \"find\"\nsystem = \"erp\"\nkind = \"rest\"\nmethod = \"GET\"\n\
             url = \"{archive_url}/{{{{ record.Id }}}}\"\n"
        );
        let probe = "[route.probe]\ndestination = \"find\"\nfound_when = \"response.status == 200\"\n";
        let allow = format!("[egress]\nallow = [\"127.0.0.1:{}\", {allow}]\n", host(&erp_url));
        format!("{}{probe}{allow}", gateway(&erp_url, &more))
    };
    // By its name it could be there; that it is not is seen when the name is resolved.
    let mut process = Process::prepare(&configured("\"10.0.0.0/8\""));
    process.start(&[]).await;
    let notice = Notice { id: "04l240000000001AAA", record: "006240000000001AAA", fields: "" };
    assert!(process.post("/in", envelope(&[notice])).await.unwrap().is_ack());
    let patience = Duration::from_secs(20);
    let refused = |delivery: &serde_json::Value| delivery.to_string().contains("[egress] allow");
    let told = process.admin_until("/api/v1/deliveries/1", patience, refused).await;
    assert!(told.to_string().contains("whether it arrived could not be looked up"), "{told}");
    assert!(archive.arrived().is_empty(), "nobody was asked");
    assert_eq!(erp.arrived().len(), 1, "while nobody knows, nothing is sent again");
    process.configure(&configured(&format!("\"127.0.0.1:{}\"", host(&archive_url))));
    process.hang_up();
    process.until(patience, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!((archive.arrived().len(), erp.arrived().len()), (1, 1));
    process.stop().await;
}

#[tokio::test]
async fn what_a_record_says_cannot_turn_a_call_elsewhere() {
    use omgate::expression::{Expression, Place, Subject, Tables, Template};

    let template =
        Text::plain("http://erp.internal:8080/customers/{{ notification.id }}/orders?of={{ notification.id }}");
    let template = Template::compile(&template, Place::Url, &Tables::default()).unwrap();
    assert!(Expression::compile("notification.id", &Tables::default()).is_ok());
    for nasty in [
        "@evil.example.com",
        ":80@evil.example.com/",
        "//evil.example.com",
        "\\\\evil.example.com\\",
        "/../../..//evil.example.com",
        "../..",
        "%2e%2e%2f",
        "x\r\nHost: evil.example.com",
        "x\nX: y",
        "?a=b#c",
        "#",
        "\u{2024}\u{2024}/x",
        "\u{ff0e}\u{ff0e}\u{ff0f}x",
        "\u{3002}evil.example.com",
        "\u{2215}\u{2215}evil",
        "http://evil.example.com/",
        "javascript:1",
        "\u{0}",
        "\u{202e}x",
    ] {
        let subject = Subject {
            record: None,
            notification_id: nasty,
            received_at: omgate::clock::Timestamp(0),
            organization_id: "",
            action_id: "",
            enterprise_url: "",
            partner_url: "",
            source: "",
            after: None,
        };
        let url = template.fill(&subject).unwrap().reveal();
        let parsed = url::Url::parse(&url).unwrap();
        assert_eq!(
            (parsed.scheme(), parsed.host_str(), parsed.port()),
            ("http", Some("erp.internal"), Some(8080)),
            "{url}"
        );
        assert_eq!((parsed.username(), parsed.password(), parsed.fragment()), ("", None, None), "{url}");
        let parts: Vec<&str> = parsed.path_segments().unwrap().collect();
        assert_eq!((parts.len(), parts[0], parts[2]), (3, "customers", "orders"), "{url}");
        assert_eq!(parsed.query_pairs().collect::<Vec<_>>(), [("of".into(), nasty.into())], "{url}");
    }
    // The call itself: one request line, one Host.
    let server = FaultServer::start(vec![Step::Read, say(OK)]).await;
    let url = server.url() + "/x%0d%0aHost:%20evil";
    let exchange = deliver::send(&Target::new(config()).unwrap(), &Call { url: Text::plain(url), ..call("") }).await;
    assert!(matches!(exchange, Exchange::Answered(_)), "{exchange:?}");
    assert_eq!(server.requests().remove(0).to_ascii_lowercase().matches("host:").count(), 2, "one is part of the path");
}

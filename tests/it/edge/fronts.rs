//! Real reverse proxies in front, set up as the README says, and real clients at both doors: who is let in by a client
//! certificate and an address, and who is not.
//!
//! Senders are addresses of this machine: 127.0.0.5 may send, every other may not.

use std::process::{Child, Stdio};
use std::time::Instant;

use super::*;
use crate::harness::free_port;

const README: &str = include_str!("../../../README.md");
const SENDER: &str = "127.0.0.5";
const STRANGER: &str = "127.0.0.6";
const SOURCE: &str = "addresses = [\"127.0.0.5\"]";

/// The blocks of a language in the order in which they stand below a heading, before the next one.
fn blocks(heading: &str, language: &str) -> Vec<&'static str> {
    let (_, below) = README.split_once(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let below = below.split("\n###").next().unwrap_or(below);
    let fence = format!("```{language}\n");
    let fenced = below.split(fence.as_str()).skip(1);
    fenced.map(|block| block.split("```").next().unwrap_or(block)).collect()
}

fn has(program: &str, arguments: &[&str]) -> bool {
    let has = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !has {
        println!("skipped: {program} is not installed");
    }
    has
}

/// Certificates of the front and of those who knock at it.
fn make(folder: &Path) {
    let localhost = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    self_signed(folder, "front", 90, localhost);
    self_signed(folder, "client-ca", 90, "");
    self_signed(folder, "other-ca", 90, "");
    let named =
        |name: &str| format!("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:{name}\n");
    signed_by(folder, "client-ca", "salesforce", 90, &named("om.salesforce.example"));
    signed_by(folder, "client-ca", "neighbour", 90, &named("neighbour.example"));
    signed_by(folder, "other-ca", "impostor", 90, &named("om.salesforce.example"));
    let both = ["front.pem", "front.key"].map(|name| fs::read_to_string(folder.join(name)).unwrap()).concat();
    fs::write(folder.join("front-and-key.pem"), both).unwrap();
}

/// A proxy that runs, and ends with the test.
struct Front {
    child: Child,
    port: u16,
}

impl Front {
    /// Starts a program with a configuration of the README, in a folder; `frame` puts around it what every such program needs.
    async fn start(gateway: &Process, snippet: &str, frame: impl Fn(&str, &Path) -> Command) -> Self {
        let (folder, port) = (gateway.folder.path(), free_port());
        let text = snippet
            .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
            .replace("bind :443", &format!("bind 127.0.0.1:{port}"))
            .replace("accept = 443", &format!("accept = 127.0.0.1:{port}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", gateway.public))
            .replace("/etc/omgate", &folder.display().to_string());
        assert!(text.contains(&port.to_string()) && text.contains(&gateway.public.to_string()), "{text}");
        let log = fs::File::options().create(true).append(true).open(folder.join("front.log")).unwrap();
        let mut command = frame(&text, folder);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut front = Self { child: command.spawn().unwrap(), port };
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let told = || fs::read_to_string(folder.join("front.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "it does not listen: {}", told());
            assert!(front.child.try_wait().unwrap().is_none(), "it ended: {}", told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, so that killing it ends all of it.
fn nginx(server: &str, folder: &Path) -> Command {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
        .collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         {temporary}{server}}}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new(program("nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

fn haproxy(sections: &str, folder: &Path) -> Command {
    let times = "defaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\n";
    fs::write(folder.join("haproxy.cfg"), format!("{times}{sections}")).unwrap();
    let mut command = Command::new(program("haproxy"));
    command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
    command
}

fn stunnel(service: &str, folder: &Path) -> Command {
    fs::write(folder.join("stunnel.conf"), format!("foreground = yes\npid =\n{service}")).unwrap();
    let mut command = Command::new(program("stunnel"));
    command.arg(folder.join("stunnel.conf"));
    command
}

/// Debian keeps servers where an ordinary user does not look.
fn program(name: &str) -> String {
    let system = format!("/usr/sbin/{name}");
    if Path::new(&system).exists() { system } else { name.to_owned() }
}

/// Who knocks: from where, with which certificate, saying what in headers.
#[derive(Clone, Copy, Debug, Default)]
struct Knock<'a> {
    from: &'a str,
    shows: Option<&'a str>,
    says: &'a [&'a str],
}

/// Posts by curl; the HTTP status, or 0 where there was no answer, and what was said.
fn knock(gateway: &Process, scheme: &str, port: u16, number: usize, knock: Knock<'_>) -> (u16, String) {
    let folder = gateway.folder.path();
    let body = folder.join(format!("body-{number}.xml"));
    fs::write(&body, notice(number)).unwrap();
    let mut curl = Command::new("curl");
    curl.current_dir(folder)
        .args(["-q", "-sS", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}", "--cacert", "front.pem"])
        .args(["--interface", knock.from, "--resolve", &format!("localhost:{port}:127.0.0.1")])
        .args(["-H", "Content-Type: text/xml; charset=UTF-8", "-H", "Expect:"]);
    if let Some(name) = knock.shows {
        curl.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    for header in knock.says {
        match header.strip_prefix("--") {
            Some(option) => curl.arg(format!("--{option}")),
            None => curl.args(["-H", header]),
        };
    }
    curl.arg("--data-binary").arg(format!("@{}", body.display())).arg(format!("{scheme}://localhost:{port}/om/orders"));
    let output = curl.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (status.trim().parse().unwrap_or(0), format!("{answer}{said}"))
}

/// What each of them comes to: `true` for an acknowledgement, else the status, 0 for no answer.
fn table(gateway: &Process, scheme: &str, port: u16, first: usize, rows: &[(Knock<'_>, &str)]) {
    for (number, (one, expected)) in rows.iter().enumerate() {
        let (status, answer) = knock(gateway, scheme, port, first + number, *one);
        let came = if answer.contains("<Ack>true</Ack>") { "true".to_owned() } else { status.to_string() };
        assert_eq!(&came, expected, "{one:?}: {answer}\n{}", gateway.log());
    }
}

const fn from<'a>(from: &'a str, shows: Option<&'a str>) -> Knock<'a> {
    Knock { from, shows, says: &[] }
}

/// A gateway with settings of the README, and the certificates in its folder.
async fn gateway(settings: &str) -> Process {
    let mut gateway = Process::prepare("");
    let folder = gateway.folder.path().to_owned();
    make(&folder);
    let settings = settings.replace("/etc/omgate", &folder.display().to_string());
    gateway.configure(&configuration(&format!("watch = false\n{settings}"), SOURCE));
    gateway.start(&[]).await;
    gateway
}

/// A front that ends TLS and hands on certificate and address in headers.
async fn hands_on(heading: &str, language: &str, frame: fn(&str, &Path) -> Command) {
    let gateway = gateway(blocks(heading, "toml")[0]).await;
    let front = Front::start(&gateway, blocks(heading, language)[0], frame).await;
    let right = written_certificate(gateway.folder.path(), "salesforce");
    let certificate = format!("X-Client-Cert: {right}");
    let address = format!("X-Forwarded-For: {SENDER}");
    table(
        &gateway,
        "https",
        front.port,
        1,
        &[
            (from(SENDER, Some("salesforce")), "true"),
            (from(SENDER, None), "403"),
            (from(SENDER, Some("impostor")), "403"),
            (from(SENDER, Some("neighbour")), "403"),
            (from(STRANGER, Some("salesforce")), "403"),
        ],
    );
    // What a sender says of itself in these headers counts for nothing.
    table(
        &gateway,
        "https",
        front.port,
        20,
        &[
            (Knock { from: SENDER, shows: None, says: &[&certificate] }, "403"),
            (Knock { from: SENDER, shows: Some("impostor"), says: &[&certificate] }, "403"),
            (Knock { from: STRANGER, shows: Some("salesforce"), says: &[&address] }, "403"),
        ],
    );
    // Past the proxy, from an address that is not listed, the headers count for nothing either.
    table(
        &gateway,
        "http",
        gateway.public,
        30,
        &[
            (Knock { from: "127.0.0.9", shows: None, says: &[&certificate, &address] }, "403"),
            (Knock { from: SENDER, shows: None, says: &[&certificate, &address] }, "403"),
            (Knock { from: "127.0.0.1", shows: None, says: &[&certificate, &address] }, "true"),
        ],
    );
    let status = gateway.admin("/api/v1/status").await;
    let refused: Vec<&str> = status["refused_certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| refused["subject"].as_str().unwrap())
        .collect();
    assert!(refused.contains(&"CN=impostor") && refused.contains(&"CN=neighbour"), "{status:#}");
    assert_eq!(gateway.ledger().await["notifications"]["unique"], 2);
}

/// A certificate as every proxy's header may hold it.
fn written_certificate(folder: &Path, name: &str) -> String {
    let pem = fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_in_front_hands_on_the_certificate_and_the_address() {
    if has_openssl() && has("curl", &["--version"]) && has(&program("nginx"), &["-v"]) {
        hands_on("#### nginx in front", "nginx", nginx).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_in_front_hands_on_the_certificate_and_the_address() {
    if has_openssl() && has("curl", &["--version"]) && has(&program("haproxy"), &["-v"]) {
        hands_on("#### HAProxy in front", "haproxy", haproxy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_that_passes_connections_on_says_by_the_proxy_protocol_who_it_is() {
    if !(has_openssl() && has("curl", &["--version"]) && has(&program("haproxy"), &["-v"])) {
        return;
    }
    let heading = "#### HAProxy in front";
    for (version, word) in [("v2", "send-proxy-v2"), ("v1", "send-proxy")] {
        let gateway = gateway(&blocks(heading, "toml")[1].replace("\"v2\"", &format!("{version:?}"))).await;
        let snippet = blocks(heading, "haproxy")[1].replace("send-proxy-v2", word);
        let front = Front::start(&gateway, &snippet, haproxy).await;
        table(
            &gateway,
            "https",
            front.port,
            1,
            &[
                (from(SENDER, Some("salesforce")), "true"),
                (from(SENDER, None), "0"),
                (from(SENDER, Some("impostor")), "0"),
                (from(SENDER, Some("neighbour")), "0"),
                (from(STRANGER, Some("salesforce")), "403"),
            ],
        );
        // Who is not listed and says a PROXY header is turned away; who says none speaks for itself.
        let forged = ["--haproxy-protocol"];
        table(
            &gateway,
            "https",
            gateway.public,
            20,
            &[
                (Knock { from: "127.0.0.9", shows: Some("salesforce"), says: &forged }, "0"),
                (from("127.0.0.9", Some("salesforce")), "403"),
                (from(SENDER, Some("salesforce")), "true"),
                (from("127.0.0.1", Some("salesforce")), "0"),
            ],
        );
        assert_eq!(gateway.ledger().await["notifications"]["unique"], 2, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stunnel_in_front_judges_the_certificate_and_says_the_address() {
    if !(has_openssl() && has("curl", &["--version"]) && has(&program("stunnel"), &["-version"])) {
        return;
    }
    let heading = "#### stunnel in front";
    let gateway = gateway(blocks(heading, "toml")[0]).await;
    let front = Front::start(&gateway, blocks(heading, "ini")[0], stunnel).await;
    table(
        &gateway,
        "https",
        front.port,
        1,
        &[
            (from(SENDER, Some("salesforce")), "true"),
            (from(SENDER, None), "0"),
            (from(SENDER, Some("impostor")), "0"),
            (from(SENDER, Some("neighbour")), "0"),
            (from(STRANGER, Some("salesforce")), "403"),
        ],
    );
    let address = format!("X-Forwarded-For: {SENDER}");
    let forged = ["--haproxy-protocol", address.as_str()];
    table(
        &gateway,
        "http",
        gateway.public,
        20,
        &[
            (Knock { from: "127.0.0.9", shows: None, says: &forged }, "400"),
            (Knock { from: "127.0.0.9", shows: None, says: &[&address] }, "403"),
        ],
    );
    assert_eq!(gateway.ledger().await["notifications"]["unique"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_are_let_in_by_their_certificates_alone() {
    if !(has_openssl() && has("curl", &["--version"])) {
        return;
    }
    let settings = "[server.tls]\ncertificate = \"front.pem\"\nprivate_key = \"front.key\"\n\
                    client_auth = \"required\"\nclient_ca = \"client-ca.pem\"\nclient_names = [\"om.salesforce.example\"]\n";
    let gateway = gateway(settings).await;
    let first = format!("X-Client-Cert: {}", written_certificate(gateway.folder.path(), "salesforce"));
    let address = format!("X-Forwarded-For: {SENDER}");
    table(
        &gateway,
        "https",
        gateway.public,
        1,
        &[
            (from(SENDER, Some("salesforce")), "true"),
            (from(SENDER, None), "0"),
            (from(SENDER, Some("impostor")), "0"),
            (from(SENDER, Some("neighbour")), "0"),
            (from(STRANGER, Some("salesforce")), "403"),
            (Knock { from: SENDER, shows: None, says: &[&first] }, "0"),
            (Knock { from: STRANGER, shows: Some("salesforce"), says: &[&address] }, "403"),
        ],
    );
    for (number, version) in ["-tls1_2", "-tls1_3"].into_iter().enumerate() {
        for (shows, expected) in [(Some("salesforce"), true), (None, false), (Some("impostor"), false)] {
            let answer = spoken_by_openssl(&gateway, version, shows, 100 + number);
            assert_eq!(answer.contains("<Ack>true</Ack>"), expected, "{version} {shows:?}: {answer}");
        }
    }
    assert_eq!(gateway.ledger().await["notifications"]["unique"], 3);
}

/// A POST over `openssl s_client`; what came back.
fn spoken_by_openssl(gateway: &Process, version: &str, shows: Option<&str>, number: usize) -> String {
    let folder = gateway.folder.path();
    let body = notice(number);
    let request = format!(
        "POST /om/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    fs::write(folder.join("request"), request).unwrap();
    let shown = shows.map(|name| format!("-cert {name}.pem -key {name}.key")).unwrap_or_default();
    let script = format!(
        "(cat request; sleep 1) | timeout 20 openssl s_client {version} -quiet -bind {SENDER} -connect 127.0.0.1:{} {shown}",
        gateway.public
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! NTLM on the wire: an acceptor that is not ours knows who calls, by the connection alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use omgate::call::Call;
use omgate::deliver::auth::Auth;
use omgate::deliver::auth::ntlm::Ntlm;
use omgate::deliver::tls::Tls;
use omgate::deliver::{self, Target, TargetConfig};
use omgate::outcome::Exchange;
use omgate::secret::Text;

use crate::deliver::faults::{FaultServer, Step, say};
use crate::deliver::{call, config, secret};
use crate::harness::{Notice, ORGANIZATION, Process, envelope};

const PASSWORD: &str = "Pässw0rd & <ö>";

/// Ends with its value.
struct Acceptor {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Acceptor {
    /// None where pyspnego is not installed, which is said.
    fn start(environment: &[(&str, &str)]) -> Option<Self> {
        let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop/python/bin/python");
        let own = own.display().to_string();
        let has = |python: &&str| {
            let asked = Command::new(python).args(["-c", "import spnego"]).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        let Some(python) = [own.as_str(), "python3"].into_iter().find(has) else {
            std::io::stdout().lock().write_all(b"skipped: there is no Python with pyspnego to accept NTLM\n").unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users");
        std::fs::write(&users, format!("CORP:omgate:{PASSWORD}\n")).unwrap();
        let mut child = Command::new("timeout")
            .args(["--kill-after=5", "300", python])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ntlm/acceptor.py"))
            .env("NTLM_USER_FILE", &users)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line))
        });
        Some(Self { child, port: port.trim().parse().unwrap(), lines, _folder: folder })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders", self.port)
    }

    /// Connection, status and body's length of each request so far; an answer is printed before it is sent.
    fn seen(&self) -> Vec<(usize, u16, usize)> {
        let lines = self.lines.lock().unwrap();
        let numbers = lines.iter().map(|line| {
            let words: Vec<usize> = line.split(' ').map(|word| word.parse().unwrap()).collect();
            (words[0], u16::try_from(words[1]).unwrap(), words[2])
        });
        numbers.collect()
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // `timeout` hands the signal on.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn ntlm(password: &str, domain: Option<&str>) -> Target {
    let auth = Auth::Ntlm(Ntlm {
        username: Text::plain("omgate"),
        password: secret("${PASSWORD}", password),
        domain: domain.map(Text::plain),
        workstation: Some(Text::plain("GATEWAY")),
    });
    Target::new(TargetConfig { auth: Some(auth), ..config() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_is_bound_to_the_certificate_that_the_connection_goes_to() {
    let tls = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls").join(name);
    let (certificate, key) = (tls("server.pem").display().to_string(), tls("server-key.pem").display().to_string());
    for (wrong, status) in [("", 200), ("1", 401)] {
        let environment = [("TLS_CERTIFICATE", certificate.as_str()), ("TLS_KEY", key.as_str()), ("WRONG", wrong)];
        let Some(acceptor) = Acceptor::start(&environment) else { return };
        let auth = Auth::Ntlm(Ntlm {
            username: Text::plain("omgate"),
            password: secret("${PASSWORD}", PASSWORD),
            domain: Some(Text::plain("CORP")),
            workstation: None,
        });
        let trust = Tls { ca: Some(tls("authority.pem")), ..Tls::default() };
        let target = Target::new(TargetConfig { auth: Some(auth), tls: trust, ..config() }).unwrap();
        let url = acceptor.url().replace("http://127.0.0.1", "https://localhost");
        let exchange = deliver::send(&target, &call(&url)).await;
        let Exchange::Answered(response) = exchange else { panic!("{exchange:?}") };
        assert_eq!(response.status, status, "{:?}", String::from_utf8_lossy(&response.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptor_knows_us_by_three_messages_on_one_connection_and_gets_the_whole_body() {
    let Some(acceptor) = Acceptor::start(&[]) else { return };
    let body = "é".repeat(300_000);
    let long = Call { body: Bytes::from(body.clone()), ..call(&acceptor.url()) };
    let Exchange::Answered(response) = deliver::send(&ntlm(PASSWORD, Some("CORP")), &long).await else { panic!() };
    assert_eq!(response.status, 200);
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    assert_eq!(text, format!("CORP\\omgate|{body}"));
    let seen = acceptor.seen();
    assert_eq!(
        seen.iter().map(|(_, status, length)| (*status, *length)).collect::<Vec<_>>(),
        [(401, 0), (200, 600_000)]
    );
    assert_eq!(seen[0].0, seen[1].0, "one connection");

    for (password, domain) in [("wrong", Some("CORP")), (PASSWORD, Some("ELSEWHERE"))] {
        let Exchange::Answered(response) = deliver::send(&ntlm(password, domain), &call(&acceptor.url())).await else {
            panic!()
        };
        assert_eq!(response.status, 401, "{domain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_calls_at_once_do_not_meet_on_each_others_connections() {
    let Some(acceptor) = Acceptor::start(&[]) else { return };
    let target = ntlm(PASSWORD, Some("CORP"));
    let calls = (0..40).map(|number| {
        let (target, url) = (target.clone(), acceptor.url());
        tokio::spawn(async move {
            let call = Call { body: Bytes::from(format!("{{\"number\":{number}}}")), ..call(&url) };
            (number, deliver::send(&target, &call).await)
        })
    });
    for done in futures_util::future::join_all(calls).await {
        let (number, exchange) = done.unwrap();
        let Exchange::Answered(response) = exchange else { panic!("{exchange:?}") };
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!((response.status, text), (200, format!("CORP\\omgate|{{\"number\":{number}}}")));
    }
    assert_eq!(acceptor.seen().len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_to_the_end_of_it_was_surely_not_sent() {
    if let Some(acceptor) = Acceptor::start(&[("CLOSE", "1")]) {
        let exchange = deliver::send(&ntlm(PASSWORD, Some("CORP")), &call(&acceptor.url())).await;
        let Exchange::NotSent { reason } = exchange else { panic!("{exchange:?}") };
        assert!(reason.contains("the server closed the connection before it was told who calls"), "{reason}");
        assert_eq!(acceptor.seen().len(), 1, "the body went nowhere");
    }
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "did not ask who calls: it takes no NTLM there"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answered 503 to a request without a body"),
        (
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: NTLM aGVsbG8=\r\nContent-Length: 0\r\n\r\n",
            "the server's NTLM challenge is none",
        ),
    ] {
        let server = FaultServer::start(vec![Step::Read, say(answer)]).await;
        let exchange = deliver::send(&ntlm(PASSWORD, None), &call(&server.url())).await;
        let Exchange::NotSent { reason } = exchange else { panic!("{exchange:?}") };
        assert!(reason.contains(expected), "{reason}");
        let request = server.requests().remove(0).to_ascii_lowercase();
        assert!(request.contains("\r\ncontent-length: 0\r\n") && request.ends_with("\r\n\r\n"), "{request}");
    }
    let server = FaultServer::start(vec![
        Step::Read,
        say("HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
    ])
    .await;
    let exchange = deliver::send(&ntlm(PASSWORD, None), &call(&server.url())).await;
    assert!(matches!(exchange, Exchange::Answered(response) if response.status == 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_pauses_the_system_and_nothing_dies_of_it() {
    let Some(acceptor) = Acceptor::start(&[]) else { return };
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{{public}}\"\nadmin_listen = \"127.0.0.1:{{admin}}\"\n\
         [[source]]\nname = \"s\"\npath = \"/s\"\norganizations = [\"{ORGANIZATION}\"]\n\
         [[destination]]\nname = \"d\"\nkind = \"rest\"\nurl = \"{}\"\n\
         auth = {{ ntlm = {{ username = \"omgate\", password = \"${{NTLM_PASSWORD}}\", domain = \"CORP\" }} }}\n\
         [[route]]\nname = \"r\"\nsource = \"s\"\ndestination = \"d\"\n",
        acceptor.url()
    );
    let mut gateway = Process::prepare(&text);
    gateway.start(&[("NTLM_PASSWORD", "s3cr3t-but-wrong")]).await;
    let post = envelope(&[Notice { id: "04l000000000001AAA", record: "006000000000001AAA", fields: "" }]);
    assert!(gateway.post("/s", post).await.unwrap().is_ack());
    let patience = Duration::from_secs(30);
    let paused = |systems: &serde_json::Value| {
        systems["d"]["paused"]["reason"].as_str().is_some_and(|reason| reason.contains("401"))
    };
    gateway.admin_until("/api/v1/systems", patience, paused).await;
    assert!(!gateway.log().contains("s3cr3t"));
    gateway.stop().await;
    gateway.start(&[("NTLM_PASSWORD", PASSWORD)]).await;
    let resumed = gateway.command(&["systems", "resume", "d", "--reason", "the password is right again"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    gateway.until(patience, |ledger| ledger["deliveries"]["delivered"] == 1).await;
}

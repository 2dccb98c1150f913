//! People are told of alarms without anything else that watches: by a webhook, by e-mail, by a program.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(40);
const SECRET: &str = "a-key-of-more-than-24-bytes";
const PASSWORD: &str = "pass word of the mailbox";

/// A mail server in the test's own process: it turns to TLS when asked, wants a password, and remembers what it was given.
struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
    /// What was said before TLS began.
    in_clear: Arc<Mutex<Vec<String>>>,
}

fn tls_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls").join(name).display().to_string()
}

fn acceptor() -> TlsAcceptor {
    let chain: Vec<_> = CertificateDer::pem_file_iter(tls_file("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(tls_file("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

impl MailServer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mails, in_clear): (Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>) = Default::default();
        let (kept, clear, acceptor) = (Arc::clone(&mails), Arc::clone(&in_clear), acceptor());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, clear, acceptor) = (Arc::clone(&kept), Arc::clone(&clear), acceptor.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    if talk(&mut stream, &clear, &kept, false).await == Some(()) {
                        let stream = acceptor.accept(stream.into_inner()).await.ok()?;
                        talk(&mut BufReader::new(stream), &Mutex::default(), &kept, true).await?;
                    }
                    Some(())
                });
            }
        });
        Self { port, mails, in_clear }
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

/// Talks until TLS is to begin, or the other side is gone.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    heard: &Mutex<Vec<String>>,
    mails: &Mutex<Vec<String>>,
    is_private: bool,
) -> Option<()> {
    let mut may_send = false;
    if !is_private {
        stream.write_all(b"220 mail.test ESMTP\r\n").await.ok()?;
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
        heard.lock().unwrap().push(line.trim_end().to_owned());
        let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let answer = match (verb.as_str(), is_private) {
            ("EHLO", false) => "250-mail.test\r\n250 STARTTLS\r\n",
            ("EHLO", true) => "250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n",
            ("STARTTLS", false) => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(());
            }
            ("AUTH", true) => {
                may_send = line.trim_end() == format!("AUTH PLAIN {}", STANDARD.encode(format!("\0ops\0{PASSWORD}")));
                if may_send { "235 welcome\r\n" } else { "535 no\r\n" }
            }
            ("MAIL" | "RCPT", true) if may_send => "250 fine\r\n",
            ("DATA", true) if may_send => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await.ok().filter(|&read| read > 0)?;
                }
                mails.lock().unwrap().push(mail);
                "250 taken\r\n"
            }
            ("QUIT", _) => "221 bye\r\n",
            _ => "503 not now\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// A source, a destination that is called at an address, and more.
fn configuration(url: &str, more: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
name = "gate-1"

[store]
url = "sqlite:omgate.db"

[alarms]
calm = "1s"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "erp"
kind = "rest"
url = "{url}/orders"

[[route]]
source = "orders"
destination = "erp"
{more}"#
    )
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("\n[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\n{more}\n")
}

async fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a webhook was told about: event and alarms with their subjects.
fn told(arrived: &[Arrived]) -> Vec<String> {
    let each = |arrived: &Arrived| {
        let notice = arrived.json();
        let alarms: Vec<String> = notice["alarms"].as_array().unwrap().iter().map(named).collect();
        format!("{} {}", notice["event"].as_str().unwrap(), alarms.join("+"))
    };
    arrived.iter().map(each).collect()
}

fn named(alarm: &Value) -> String {
    format!("{}({})", alarm["alarm"].as_str().unwrap(), alarm["subject"].as_str().unwrap())
}

async fn pause(gateway: &Process, verb: &str) {
    let (status, answer) = gateway.change(&format!("/api/v1/systems/erp/{verb}"), &json!({"reason": "a test"})).await;
    assert_eq!(status, 200, "{answer}");
}

/// By Standard Webhooks: the signature is of id, time and body.
fn is_signed(arrived: &Arrived) -> bool {
    let header = |name: &str| arrived.headers.get(name).cloned().unwrap_or_default();
    let content = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), arrived.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = STANDARD.encode(hmac::sign(&key, content.as_bytes()).as_ref());
    header("webhook-signature") == format!("v1,{tag}") && arrived.json()["id"] == header("webhook-id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_told_when_it_begins_and_when_it_is_over_by_every_channel() {
    let hook = Sink::start(Box::new(|number, _| Some((if number == 0 { 503 } else { 200 }, String::new())))).await;
    let mail = MailServer::start().await;
    let channels = [
        webhook("hook", &hook.url("/alarms"), "secret = \"${file:hmac}\""),
        format!(
            "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"localhost:{}\"\nca = \"{}\"\nusername = \"ops\"\n\
             password = \"${{file:password}}\"\nfrom = \"omgate <omgate@example.com>\"\nto = [\"ops@example.com\", \"boss@example.com\"]\n",
            mail.port,
            tls_file("authority.pem")
        ),
        "[[notify]]\nname = \"page\"\nkind = \"command\"\ncommand = [\"sh\", \"page.sh\", \"on call\"]\n".to_owned(),
    ];
    let mut gateway = Process::prepare(&configuration("http://127.0.0.1:9", &channels.concat()));
    let folder = gateway.folder.path().to_owned();
    std::fs::write(folder.join("page.sh"), "printf '%s %s\\n' \"$1\" \"$(cat)\" >> paged\n").unwrap();
    std::fs::write(folder.join("hmac"), SECRET).unwrap();
    std::fs::write(folder.join("password"), PASSWORD).unwrap();
    gateway.start(&[]).await;

    // It comes and goes, and is one problem all the same.
    for verb in ["pause", "resume", "pause", "resume", "pause"] {
        pause(&gateway, verb).await;
    }
    let paged = || std::fs::read_to_string(folder.join("paged")).unwrap_or_default();
    until("the second try", || (hook.arrived().len() == 2).then_some(())).await;
    until("the mail", || (mail.mails().len() == 1).then_some(())).await;
    until("the page", || paged().ends_with('\n').then_some(())).await;
    pause(&gateway, "resume").await;
    until("the end", || (hook.arrived().len() == 3).then_some(())).await;
    until("the second mail", || (mail.mails().len() == 2).then_some(())).await;
    until("the second page", || (paged().matches('\n').count() == 2).then_some(())).await;

    let arrived = hook.arrived();
    assert_eq!(told(&arrived), ["begin paused(erp)", "begin paused(erp)", "end paused(erp)"]);
    assert_eq!(arrived[0].body, arrived[1].body, "the same notice, tried again");
    assert!(arrived.iter().all(is_signed));
    assert_eq!(arrived[0].json()["gateway"], "gate-1");
    assert_eq!(arrived[0].json()["alarms"][0]["message"], "a test; its deliveries wait");

    let mails = mail.mails();
    for text in
        ["From: omgate <omgate@example.com>", "To: ops@example.com, boss@example.com", "Auto-Submitted: auto-generated"]
    {
        assert!(mails[0].contains(text), "{text}:\n{}", mails[0]);
    }
    assert!(mails[0].contains("Subject: omgate gate-1: paused (erp) begins"), "{}", mails[0]);
    assert!(mails[1].contains("Subject: omgate gate-1: paused (erp) ended"), "{}", mails[1]);
    let in_clear = mail.in_clear.lock().unwrap().clone();
    assert!(in_clear.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{in_clear:?}");

    let pages = paged();
    let events = pages.lines().map(|line| line.strip_prefix("on call ").expect("its argument"));
    let events: Vec<Value> = events.map(|json| serde_json::from_str::<Value>(json).unwrap()["event"].clone()).collect();
    assert_eq!(events, ["begin", "end"]);
    let metrics = gateway.admin("/metrics").await;
    for channel in ["hook", "mail", "page"] {
        let line = format!("omgate_notices_total{{channel=\"{channel}\",result=\"sent\"}} 2");
        assert!(metrics.as_str().unwrap().contains(&line), "{line}\n{metrics}");
    }
    for secret in [SECRET, PASSWORD] {
        assert!(!gateway.log().contains(secret) && !metrics.to_string().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_is_told_of_what_it_wants_to_hear_and_another_configuration_counts_at_once() {
    let (first, second) = (ok_hook().await, ok_hook().await);
    let erp = Sink::start(Box::new(|_, _| Some((400, String::new())))).await;
    let dead = webhook("dead", &first.url(""), "alarms = [\"dead\"]");
    let text = |channels: &str| configuration(&erp.url(""), channels);
    let mut gateway = Process::prepare(&text(&dead));
    gateway.start(&[]).await;
    pause(&gateway, "pause").await;
    pause(&gateway, "resume").await;
    let body = envelope(&[Notice { id: "04l1", record: "006A0000001AAA", fields: "<sf:Name>jane</sf:Name>" }]);
    assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    let arrived = until("the dead letter", || Some(first.arrived()).filter(|arrived| !arrived.is_empty())).await;
    assert_eq!(told(&arrived), ["begin dead(erp)"]);
    assert!(!arrived[0].body.contains("jane"), "{}", arrived[0].body);
    let message = arrived[0].json()["alarms"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("1 new dead letter since ") && message.contains("omgate issues"), "{message}");

    gateway.configure(&text(&webhook("all", &second.url(""), "")));
    let reloaded = gateway.command(&["reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    let arrived = until("what stands", || Some(second.arrived()).filter(|arrived| !arrived.is_empty())).await;
    assert_eq!(told(&arrived), ["begin dead(erp)"], "who is new is told what stands");
    pause(&gateway, "pause").await;
    until("the pause", || told(&second.arrived()).contains(&"begin paused(erp)".to_owned()).then_some(())).await;
    assert_eq!(first.arrived().len(), 1, "who is gone is told nothing");
}

async fn ok_hook() -> Sink {
    Sink::start(Box::new(|_, _: &Arrived| Some((200, String::new())))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_try_whether_alarms_arrive() {
    let hook = ok_hook().await;
    let channels = [
        webhook("hook", &hook.url(""), ""),
        "[[notify]]\nname = \"page\"\nkind = \"command\"\ncommand = [\"false\"]\n".to_owned(),
    ];
    let mut gateway = Process::prepare(&configuration("http://127.0.0.1:9", &channels.concat()));
    gateway.start(&[]).await;
    let said = |arguments: &[&str]| {
        let output = gateway.command(&[&["alarms"][..], arguments].concat());
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = said(&["test", "--channel", "hook", "--reason", "is it right?"]);
    assert_eq!((code, text.as_str()), (0, "hook was told\n"));
    let (code, text) = said(&["test"]);
    assert!(code == 1 && text.contains("page was not reached: false failed"), "{code} {text}");
    let (code, text) = said(&["test", "--dry-run"]);
    assert_eq!((code, text.as_str()), (0, "hook would be told\npage would be told\n"));
    assert_eq!(said(&["test", "--channel", "nobody"]).0, 1);
    assert_eq!(told(&hook.arrived()), ["test ", "test "]);

    pause(&gateway, "pause").await;
    let (code, text) = said(&["list"]);
    assert!(code == 0 && text.contains("paused") && text.contains("hook") && text.contains("command"), "{text}");
    let listed: Value = serde_json::from_str(&said(&["list", "--json"]).1).unwrap();
    assert_eq!(named(&listed["alarms"][0]), "paused(erp)");
    assert_eq!(listed["channels"][0]["name"], "hook");
    let audit = gateway.admin("/api/v1/audit?verb=test").await;
    let results: Vec<&str> = audit.as_array().unwrap().iter().map(|entry| entry["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["1 did not arrive", "arrived"], "{audit:#}");
    assert_eq!(audit[1]["reason"], "is it right?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_cannot_be_believed_gets_nothing() {
    let mail = MailServer::start().await;
    let channel = |name: &str, more: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\nkind = \"email\"\nserver = \"localhost:{}\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n{more}\n",
            mail.port
        )
    };
    let authority = format!("ca = \"{}\"", tls_file("authority.pem"));
    let credentials = "username = \"ops\"\npassword = \"${file:password}\"";
    let channels = [
        channel("stranger", credentials),
        channel("refused", &format!("{authority}\n{}", credentials.replace("file:password", "file:wrong"))),
        channel("clear", "privacy = \"none\""),
        channel("fine", &format!("{authority}\n{credentials}")),
    ];
    let mut gateway = Process::prepare(&configuration("http://127.0.0.1:9", &channels.concat()));
    std::fs::write(gateway.folder.path().join("password"), PASSWORD).unwrap();
    std::fs::write(gateway.folder.path().join("wrong"), "another password").unwrap();
    gateway.start(&[]).await;
    let (status, done) = gateway.change("/api/v1/alarms/test", &json!({})).await;
    assert_eq!(status, 200);
    let errors: Vec<String> = done["tried"].as_array().unwrap().iter().map(|one| one["error"].to_string()).collect();
    assert!(errors[0].contains("ertificate"), "{errors:?}");
    assert!(errors[1].contains("535") && !errors[1].contains("another password"), "{errors:?}");
    assert!(errors[2].contains("503"), "{errors:?}");
    assert_eq!(errors[3], "null");
    assert_eq!(mail.mails().len(), 1);
}

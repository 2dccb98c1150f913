//! The public edge: certificates that change, client certificates, proxies, addresses, secret paths.

mod adopt;
mod certificates;
mod clients;
mod fronts;
mod proxies;
mod senders;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Answered, Notice, Process, envelope};

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway's configuration: what stands under `[server]`, and more keys of its one source.
fn configuration(server: &str, source: &str) -> String {
    let path = if source.contains("path =") { "" } else { "path = \"/om/orders\"" };
    let organizations =
        if source.contains("organizations =") { "" } else { "organizations = [\"00D24000000abcdEAA\"]" };
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
watch_every = "1s"
{server}

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
{path}
{organizations}
{source}

[[destination]]
name = "crm"
kind = "rest"
method = "POST"
url = "http://127.0.0.1:9/"
paused = true

[[route]]
source = "orders"
destination = "crm"
"#
    )
}

fn notice(number: usize) -> String {
    let (id, record) = (format!("04l{number:06}"), format!("006A{number:08}AAA"));
    envelope(&[Notice { id: &id, record: &record, fields: "<sf:Name>A</sf:Name>" }])
}

/// Whether openssl is there; says that a test is skipped where it is not.
pub(crate) fn has_openssl() -> bool {
    let has = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !has {
        println!("skipped: there is no openssl to make certificates with");
    }
    has
}

/// Runs openssl in a folder; words are split at blanks.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes `NAME.pem` and `NAME.key`, signed by itself.
pub(crate) fn self_signed(folder: &Path, name: &str, days: u32, more: &str) {
    let more = if more.is_empty() { String::new() } else { format!(" {more}") };
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -subj /CN={name} \
         -keyout {name}.key -out {name}.pem{more}"
    );
    openssl(folder, &arguments);
}

/// Makes `NAME.pem` and `NAME.key`, signed by `AUTHORITY.pem`, with these extensions.
pub(crate) fn signed_by(folder: &Path, authority: &str, name: &str, days: i32, extensions: &str) {
    fs::write(folder.join(format!("{name}.ext")), extensions).unwrap();
    let key = format!(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
    );
    openssl(folder, &key);
    let sign = format!(
        "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days {days} \
         -extfile {name}.ext -out {name}.pem"
    );
    openssl(folder, &sign);
}

/// The SHA-256 of a certificate, as a pin.
fn pin_of(folder: &Path, name: &str) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(folder.join(format!("{name}.pem")))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.trim().split_once('=').unwrap().1)
}

/// The SHA-256 of a certificate's public key, as a pin.
fn key_pin_of(folder: &Path, name: &str) -> String {
    let script = format!(
        "openssl x509 -in {name}.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | \
         openssl base64"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap();
    format!("sha256:{}", String::from_utf8(output.stdout).unwrap().trim())
}

/// A client that trusts one certificate, shows another if it is named, and keeps its connection.
fn client(folder: &Path, trusts: &str, shows: Option<&str>) -> reqwest::Client {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let authority = reqwest::Certificate::from_pem(&read(&format!("{trusts}.pem"))).unwrap();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .tls_certs_only([authority])
        .pool_max_idle_per_host(1);
    let builder = match shows {
        Some(name) => {
            let pem = [read(&format!("{name}.pem")), read(&format!("{name}.key"))].concat();
            builder.identity(reqwest::Identity::from_pem(&pem).unwrap())
        }
        None => builder,
    };
    builder.build().unwrap()
}

async fn post_tls(gateway: &Process, client: &reqwest::Client, number: usize) -> reqwest::Result<Answered> {
    let url = format!("https://localhost:{}/om/orders", gateway.public);
    let response =
        client.post(url).header("Content-Type", "text/xml; charset=UTF-8").body(notice(number)).send().await?;
    let content_type = String::new();
    Ok(Answered { status: response.status().as_u16(), content_type, body: response.text().await? })
}

/// Posts over plain HTTP with more headers.
async fn post_with(gateway: &Process, headers: &[(&str, &str)], number: usize) -> Answered {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let mut request = client.post(format!("http://127.0.0.1:{}/om/orders", gateway.public));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.header("Content-Type", "text/xml").body(notice(number)).send().await.unwrap();
    let content_type = String::new();
    Answered { status: response.status().as_u16(), content_type, body: response.text().await.unwrap() }
}

/// Takes a configuration over by a reload.
async fn taken(gateway: &Process, configuration: &str) {
    gateway.configure(configuration);
    let (status, answer) = gateway.change("/api/v1/reload", &serde_json::json!({"orphans": "keep"})).await;
    assert_eq!((status, answer["needs_restart"].clone()), (200, serde_json::json!([])), "{answer:#}");
}

fn alarms(status: &Value) -> Vec<&str> {
    status["alarms"].as_array().unwrap().iter().map(|alarm| alarm["alarm"].as_str().unwrap()).collect()
}

async fn metrics(gateway: &Process) -> String {
    let url = format!("http://127.0.0.1:{}/metrics", gateway.admin);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

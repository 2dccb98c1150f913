//! Behind reverse proxies: whom they name is believed of listed ones alone.

use std::net::SocketAddr;

use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::*;

/// This machine is a proxy.
const LISTED: &str = "watch = false\n[server.proxy]\naddresses = [\"127.0.0.1\"]\n";
/// Another one is.
const OTHER: &str = "watch = false\n[server.proxy]\naddresses = [\"127.0.0.2\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_is_read_of_the_header_of_a_listed_proxy_only() {
    let source = "addresses = [\"203.0.113.0/24\"]";
    let mut gateway = Process::prepare(&configuration(LISTED, source));
    gateway.start(&[]).await;
    let from = |value| [("X-Forwarded-For", value)];
    assert!(post_with(&gateway, &from("203.0.113.7"), 1).await.is_ack());
    assert!(post_with(&gateway, &from("198.51.100.1, 203.0.113.7"), 2).await.is_ack());
    for (number, forged) in ["198.51.100.1", "203.0.113.7, 198.51.100.1", "nonsense", ""].into_iter().enumerate() {
        let answered = post_with(&gateway, &from(forged), 10 + number).await;
        assert_eq!(answered.status, 403, "{forged}: {answered:?}");
    }
    taken(&gateway, &configuration(&format!("{LISTED}address_header = \"X-Real-IP\""), source)).await;
    assert_eq!(post_with(&gateway, &from("203.0.113.7"), 20).await.status, 403);
    assert!(post_with(&gateway, &[("X-Real-IP", "203.0.113.7")], 21).await.is_ack());
    taken(&gateway, &configuration(OTHER, source)).await;
    assert_eq!(
        post_with(&gateway, &from("203.0.113.7"), 22).await.status,
        403,
        "nobody but a listed proxy is believed"
    );
    let ledger = gateway.ledger().await;
    assert_eq!(ledger["notifications"]["unique"], 3, "{ledger:#}");
}

/// A certificate as the proxies write it.
fn written(folder: &Path, name: &str) -> [String; 3] {
    let pem = fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap();
    let escaped =
        pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    [escaped, base64.clone(), format!(":{base64}:")]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_proxys_header_is_judged_as_one_of_a_handshake() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(LISTED, ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "salesforce", 90, "-addext basicConstraints=critical,CA:TRUE");
    self_signed(&folder, "stranger", 90, "");
    let keys = format!("certificate_header = \"X-Client-Cert\"\nclient_pins = [{:?}]\n", pin_of(&folder, "salesforce"));
    gateway.configure(&configuration(&format!("{LISTED}{keys}"), ""));
    gateway.start(&[]).await;
    for (number, value) in written(&folder, "salesforce").iter().enumerate() {
        let answered = post_with(&gateway, &[("X-Client-Cert", value)], number).await;
        assert!(answered.is_ack(), "{value}: {answered:?}");
    }
    for value in &written(&folder, "stranger") {
        assert_eq!(post_with(&gateway, &[("X-Client-Cert", value)], 10).await.status, 403, "{value}");
    }
    let right = &written(&folder, "salesforce")[0];
    for headers in [
        &[][..],
        &[("X-Client-Cert", "")],
        &[("X-Client-Cert", "nonsense")],
        &[("X-Client-Cert", base64::engine::general_purpose::STANDARD.encode("nonsense").as_str())],
        &[("X-Client-Cert", right.as_str()), ("X-Client-Cert", right.as_str())],
        &[("X-Other-Cert", right.as_str())],
    ] {
        assert_eq!(post_with(&gateway, headers, 20).await.status, 403, "{headers:?}");
    }
    let status = gateway.admin("/api/v1/status").await;
    assert_eq!(status["refused_certificates"][0]["subject"], "CN=stranger", "{status:#}");
    assert!(metrics(&gateway).await.contains("omgate_refused_total{source=\"orders\",reason=\"no_certificate\"}"));
    // From anywhere else the header is worth nothing.
    taken(&gateway, &configuration(&format!("{OTHER}{keys}"), "")).await;
    assert_eq!(post_with(&gateway, &[("X-Client-Cert", right.as_str())], 30).await.status, 403);
    let rfc = keys.replace("X-Client-Cert", "Client-Cert");
    taken(&gateway, &configuration(&format!("{LISTED}{rfc}"), "")).await;
    let value = &written(&folder, "salesforce")[2];
    assert!(post_with(&gateway, &[("Client-Cert", value.as_str())], 31).await.is_ack());
    assert_eq!(gateway.ledger().await["notifications"]["unique"], 4);
}

/// Says something on a new connection from an address, then makes a POST on it; what came back.
async fn spoken(gateway: &Process, from: &str, first: &[u8], number: usize) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], gateway.public))).await.unwrap();
    let body = notice(number);
    let request = format!(
        "POST /om/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    // Whoever is turned away may be cut off while it still speaks.
    if stream.write_all(&[first, request.as_bytes()].concat()).await.is_ok() {
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_proxy_protocol_a_listed_proxy_must_speak_it_and_nobody_else_may() {
    let source = "addresses = [\"203.0.113.0/24\", \"127.0.0.3\"]";
    let speaks = |version: &str| configuration(&format!("{OTHER}protocol = \"{version}\"\n"), source);
    let one = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n".to_vec();
    let stranger = b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 443\r\n".to_vec();
    let two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x12\x67\x01\xbb".to_vec();
    let mut gateway = Process::prepare(&speaks("any"));
    gateway.start(&[]).await;
    let mut number = 0;
    for (version, from, first, expected) in [
        ("any", "127.0.0.2", &one, "true"),
        ("any", "127.0.0.2", &two, "true"),
        ("any", "127.0.0.2", &stranger, "403"),
        ("any", "127.0.0.2", &Vec::new(), ""),
        ("any", "127.0.0.3", &Vec::new(), "true"),
        ("any", "127.0.0.3", &one, "400"),
        ("any", "127.0.0.3", &two, "400"),
        ("v1", "127.0.0.2", &one, "true"),
        ("v1", "127.0.0.2", &two, ""),
        ("v2", "127.0.0.2", &two, "true"),
        ("v2", "127.0.0.2", &one, ""),
    ] {
        number += 1;
        taken(&gateway, &speaks(version)).await;
        let answer = spoken(&gateway, from, first, number).await;
        let told = format!("{version} {from} {:?}: {answer}", String::from_utf8_lossy(first));
        match expected {
            "true" => assert!(answer.contains("<Ack>true</Ack>"), "{told}"),
            "" => assert_eq!(answer, "", "{told}"),
            status => assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{told}"),
        }
    }
    assert_eq!(gateway.ledger().await["notifications"]["unique"], 5);
    assert!(metrics(&gateway).await.contains("omgate_refused_total{source=\"\",reason=\"proxy\"} 3"));
}

//! The certificate of the public listener: renewed without a restart, looked at, told a month ahead.

use super::*;

const LOCALHOST: &str = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
const TLS: &str = "[server.tls]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"";

/// Puts a pair in the place of the one that is served, as a renewal does: one file after the other, by renaming.
fn serve(gateway: &Process, certificate: &str, key: &str) {
    let folder = gateway.folder.path();
    for (from, to) in [(format!("{certificate}.pem"), "cert.pem"), (format!("{key}.key"), "key.pem")] {
        fs::copy(folder.join(from), folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join(to)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_wrong_one_is_not() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(TLS, ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "old", 90, LOCALHOST);
    self_signed(&folder, "new", 90, LOCALHOST);
    serve(&gateway, "old", "old");
    gateway.start(&[]).await;
    assert!(post_tls(&gateway, &client(&folder, "old", None), 1).await.unwrap().is_ack());

    // The key of another is refused, and the old pair stays.
    serve(&gateway, "new", "old");
    let status = gateway.admin_until("/api/v1/status", PATIENCE, |status| alarms(status).contains(&"reload")).await;
    let told = status["config"]["last_failed"]["error"].as_str().unwrap();
    assert!(told.contains("server.tls.certificate") && told.contains("private key"), "{told}");
    assert!(post_tls(&gateway, &client(&folder, "old", None), 2).await.unwrap().is_ack());
    assert!(post_tls(&gateway, &client(&folder, "new", None), 3).await.is_err());

    serve(&gateway, "new", "new");
    gateway.admin_until("/api/v1/status", PATIENCE, |status| !alarms(status).contains(&"reload")).await;
    while post_tls(&gateway, &client(&folder, "new", None), 4).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(post_tls(&gateway, &client(&folder, "old", None), 5).await.is_err(), "the old one is served no more");
    assert_eq!(gateway.admin("/api/v1/config").await["needs_restart"], serde_json::json!([]));
}

/// A greeting that offers TLS up to a version and no more, as it was written before TLS 1.3.
fn greeting(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    // No session, two suites (ECDHE, AES-GCM), no compression.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let signatures = [0, 13, 0, 8, 0, 6, 8, 4, 4, 3, 4, 1];
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let points_and_master_secret = [0, 11, 0, 2, 1, 0, 0, 23, 0, 0];
    hello.extend([[0, 30].as_slice(), &signatures, &groups, &points_and_master_secret].concat());
    let length = u8::try_from(hello.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], hello.as_slice()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    use std::io::{Read as _, Write as _};
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(TLS, ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "ours", 90, LOCALHOST);
    serve(&gateway, "ours", "ours");
    gateway.start(&[]).await;
    let authority = reqwest::Certificate::from_pem(&fs::read(folder.join("ours.pem")).unwrap()).unwrap();
    for (number, version) in [(1, reqwest::tls::Version::TLS_1_2), (2, reqwest::tls::Version::TLS_1_3)] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]);
        let client = builder.tls_version_min(version).tls_version_max(version).build().unwrap();
        assert!(post_tls(&gateway, &client, number).await.unwrap().is_ack(), "{version:?}");
    }
    // The same greeting is answered for TLS 1.2, and refused for TLS 1.1, 1.0 and SSL 3.0: the alert protocol_version.
    let (answered, refused) = (&[22, 3, 3][..], &[21, 3, 3, 0, 2, 2, 70][..]);
    for (version, expected) in [(3, answered), (2, refused), (1, refused), (0, refused)] {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", gateway.public)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&greeting(version)).unwrap();
        let mut answer = vec![0; expected.len()];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected, "3.{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_open_while_the_certificate_changes_is_not_dropped() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(&format!("watch = false\n{TLS}"), ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "old", 90, LOCALHOST);
    self_signed(&folder, "new", 90, LOCALHOST);
    serve(&gateway, "old", "old");
    gateway.start(&[]).await;
    let body = notice(1);
    let (sending, chunks) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let chunks = futures_util::stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, std::io::Error>(chunk), chunks))
    });
    let request = client(&folder, "old", None)
        .post(format!("https://localhost:{}/om/orders", gateway.public))
        .header("Content-Type", "text/xml")
        .body(reqwest::Body::wrap_stream(chunks));
    let under_way = tokio::spawn(request.send());
    sending.send(body.as_bytes()[..100].to_vec()).await.unwrap();
    // Taken out of the channel: the handshake is over.
    sending.reserve().await.unwrap();
    serve(&gateway, "new", "new");
    let (status, answer) = gateway.change("/api/v1/reload", &serde_json::json!({})).await;
    assert_eq!((status, &answer["needs_restart"]), (200, &serde_json::json!([])), "{answer:#}");
    assert!(post_tls(&gateway, &client(&folder, "old", None), 2).await.is_err());
    sending.send(body.as_bytes()[100..].to_vec()).await.unwrap();
    drop(sending);
    let answered = under_way.await.unwrap().unwrap().text().await.unwrap();
    assert!(answered.contains("<Ack>true</Ack>"), "{answered}");
    assert!(post_tls(&gateway, &client(&folder, "new", None), 3).await.unwrap().is_ack());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_within_a_month_is_told_in_alarm_metric_and_status() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(TLS, ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "soon", 10, LOCALHOST);
    self_signed(&folder, "late", 90, LOCALHOST);
    serve(&gateway, "soon", "soon");
    gateway.start(&[]).await;
    let status = gateway.admin("/api/v1/status").await;
    assert!(alarms(&status).contains(&"certificate"), "{status:#}");
    let file = &status["certificates"][0];
    assert_eq!(
        (&file["days_left"], &file["key"]),
        (&serde_json::json!(9), &serde_json::json!("server.tls.certificate"))
    );
    assert_eq!(
        (file["faults"].as_array().unwrap().len(), &file["chain"][0]["subject"]),
        (0, &serde_json::json!("CN=soon"))
    );
    let shown = gateway.command(&["status"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("CN=soon") && shown.contains("9 days"), "{shown}");
    assert!(gateway.log().contains("within 10 days: renew it"), "{}", gateway.log());
    let metrics = metrics(&gateway).await;
    let line = metrics.lines().find(|line| line.starts_with("omgate_certificate_expiry_timestamp_seconds{")).unwrap();
    assert!(line.contains("cert.pem"), "{line}");
    serve(&gateway, "late", "late");
    gateway.admin_until("/api/v1/status", PATIENCE, |status| !alarms(status).contains(&"certificate")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_served_in_the_order_of_the_file_and_its_faults_are_told() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&configuration(TLS, ""));
    let folder = gateway.folder.path().to_owned();
    self_signed(&folder, "root", 90, "");
    signed_by(&folder, "root", "middle", 90, "basicConstraints=critical,CA:TRUE\n");
    signed_by(&folder, "middle", "leaf", 90, "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
    fs::copy(folder.join("leaf.key"), folder.join("key.pem")).unwrap();
    let chain = |names: &[&str]| {
        let all: Vec<Vec<u8>> =
            names.iter().map(|name| fs::read(folder.join(format!("{name}.pem"))).unwrap()).collect();
        fs::write(folder.join("cert.pem"), all.concat()).unwrap();
        let checked = gateway.command(&["check"]);
        let text = [checked.stdout, checked.stderr].concat();
        (checked.status.success(), String::from_utf8(text).unwrap())
    };
    let (taken, told) = chain(&["leaf"]);
    assert!(taken && told.contains("lacks the issuer \"CN=middle\""), "{told}");
    let (taken, told) = chain(&["leaf", "root", "middle"]);
    assert!(taken && told.contains("the chain is not in order"), "{told}");
    let (taken, told) = chain(&["middle", "leaf"]);
    assert!(!taken && told.contains("server.tls.certificate"), "the key is not of the first one: {told}");
    let (taken, told) = chain(&["leaf", "middle"]);
    assert!(taken && !told.contains("the chain"), "{told}");
    gateway.start(&[]).await;
    // It knows the root alone: the intermediate must come along.
    assert!(post_tls(&gateway, &client(&folder, "root", None), 1).await.unwrap().is_ack());
}

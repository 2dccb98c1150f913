//! Client certificates: of an authority, by name, pinned; whoever is refused is seen, with what lets it in.

use super::*;

const LOCALHOST: &str = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";

fn tls(keys: &str) -> String {
    let tls = "watch = false\n[server.tls]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n";
    configuration(&format!("{tls}{keys}"), "")
}

/// Certificates of every kind that Salesforce and others show.
fn make(folder: &Path) {
    self_signed(folder, "server", 90, LOCALHOST);
    self_signed(folder, "authority", 90, "");
    self_signed(folder, "authority-like", 90, "-addext basicConstraints=critical,CA:TRUE");
    self_signed(folder, "stranger", 90, LOCALHOST);
    let client = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:om.salesforce.example\n";
    signed_by(folder, "authority", "salesforce", 90, client);
    signed_by(folder, "authority", "neighbour", 90, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n");
    signed_by(folder, "authority", "server-only", 90, "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
    signed_by(folder, "authority", "expired", -1, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n");
}

/// Whether a POST with each of these certificates is acknowledged.
async fn taken_of(gateway: &Process, shown: &[&'static str]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for (number, name) in shown.iter().enumerate() {
        let client = client(gateway.folder.path(), "server", Some(*name).filter(|name| *name != "none"));
        match post_tls(gateway, &client, number).await {
            Ok(answered) => {
                assert!(answered.is_ack(), "{name}: {answered:?}");
                all.push(*name);
            }
            Err(error) => assert!(!error.is_timeout(), "{name}: {error}"),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_lets_in_whom_it_names_and_nobody_else() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&tls(""));
    let folder = gateway.folder.path().to_owned();
    make(&folder);
    let pins = |names: &[String]| format!("client_pins = {}\n", serde_json::to_string(names).unwrap());
    let required = "client_auth = \"required\"\n";
    let by_authority = "client_ca = \"authority.pem\"\n";
    let named = "client_names = [\"OM.salesforce.example\"]\n";
    let two = pins(&[pin_of(&folder, "authority-like"), key_pin_of(&folder, "server-only")]);
    let old = pins(&[pin_of(&folder, "expired"), key_pin_of(&folder, "expired")]);
    let all = ["none", "salesforce", "neighbour", "authority-like", "stranger", "server-only", "expired"];
    gateway.start(&[]).await;
    for (keys, expected) in [
        (String::new(), &all[..]),
        (format!("client_auth = \"optional\"\n{by_authority}"), &["none", "salesforce", "neighbour"]),
        (format!("{required}{by_authority}"), &["salesforce", "neighbour"]),
        (format!("{required}{by_authority}{named}"), &["salesforce"]),
        (format!("{required}{by_authority}client_names = [\"neighbour\"]\n"), &["neighbour"]),
        (format!("{required}{two}"), &["authority-like", "server-only"]),
        (format!("{required}{by_authority}{two}"), &["authority-like", "server-only"]),
        (format!("{required}{by_authority}{named}{two}"), &["salesforce", "authority-like", "server-only"]),
        (format!("{required}{old}"), &[]),
    ] {
        if !keys.is_empty() {
            taken(&gateway, &tls(&keys)).await;
        }
        assert_eq!(taken_of(&gateway, &all).await, expected, "{keys}\n{}", gateway.log());
    }
    let metrics = metrics(&gateway).await;
    for reason in ["no_certificate", "certificate_issuer", "certificate_name", "certificate_pin", "certificate_expired"]
    {
        let counted = format!("omgate_refused_total{{source=\"\",reason=\"{reason}\"}}");
        assert!(metrics.contains(&counted), "{reason}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_is_seen_with_what_lets_it_in() {
    if !has_openssl() {
        return;
    }
    let pinned = |pin: &str| tls(&format!("client_auth = \"required\"\nclient_pins = [{pin:?}]\n"));
    let other = format!("sha256:{}", "0".repeat(64));
    let mut gateway = Process::prepare(&pinned(&other));
    let folder = gateway.folder.path().to_owned();
    make(&folder);
    gateway.start(&[]).await;
    for _ in 0..3 {
        assert_eq!(taken_of(&gateway, &["authority-like"]).await, [""; 0]);
    }
    let status = gateway.admin("/api/v1/status").await;
    let refused = &status["refused_certificates"][0];
    let hex = pin_of(&folder, "authority-like").replace(':', "").to_lowercase().replacen("sha256", "sha256:", 1);
    assert_eq!((&refused["subject"], &refused["issuer"]), (&"CN=authority-like".into(), &"CN=authority-like".into()));
    assert_eq!(
        (&refused["sha256"], &refused["denial"]),
        (&hex.as_str().into(), &"certificate_pin".into()),
        "{refused:#}"
    );
    assert!(refused["count"].as_u64().unwrap() >= 3, "{refused:#}");
    assert!(alarms(&status).contains(&"client_certificate"));
    let log = gateway.log();
    let told = log.lines().filter(|line| line.contains("a client certificate is refused:")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "once for a reason and a sender: {told:#?}");
    assert!(told[0].contains("CN=authority-like") && told[0].contains(&hex), "{}", told[0]);
    let shown = String::from_utf8(gateway.command(&["status"]).stdout).unwrap();
    let line = refused["let_in"][0].as_str().unwrap();
    assert!(shown.contains(line), "{shown}");

    // What it says is enough.
    taken(&gateway, &tls(&format!("client_auth = \"required\"\n{line}\n"))).await;
    assert_eq!(taken_of(&gateway, &["authority-like"]).await, ["authority-like"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_without_its_key_is_refused() {
    if !has_openssl() {
        return;
    }
    let mut gateway = Process::prepare(&tls(""));
    let folder = gateway.folder.path().to_owned();
    make(&folder);
    let pin = pin_of(&folder, "authority-like");
    gateway.configure(&tls(&format!("client_auth = \"required\"\nclient_pins = [{pin:?}]\n")));
    gateway.start(&[]).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let request = "POST /om/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let ask = |key: &str| {
            let script = format!(
                "(printf '{}'; sleep 1) | openssl s_client {version} -quiet -connect 127.0.0.1:{} -cert authority-like.pem \
                 -key {key}.key",
                request.replace("\r\n", "\\r\\n"),
                gateway.public
            );
            let output = Command::new("sh").args(["-c", &script]).current_dir(&folder).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(ask("authority-like").starts_with("HTTP/1.1 500"), "{version}");
        // openssl itself refuses a key that does not fit, as an attacker's tool would not.
        assert_eq!(ask("stranger"), "", "{version}");
    }
}

//! `tls = "legacy"`: servers that speak TLS 1.0 and nothing better.

use super::*;

fn check(more: &str, url: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    let text = gateway(url, more).replace("{public}", "1").replace("{admin}", "2");
    std::fs::write(&path, text).unwrap();
    match configuration::load(&path) {
        Ok(loaded) => (true, loaded.warnings.iter().map(ToString::to_string).collect()),
        Err(problems) => (false, problems.to_string()),
    }
}

#[cfg(not(feature = "legacy-tls"))]
#[test]
fn a_build_without_tls_for_old_servers_refuses_it_and_says_what_to_do() {
    for tls in ["tls = \"legacy\"", "tls = { legacy = true }"] {
        let (is_taken, told) = check(tls, "https://erp.internal/orders");
        assert!(!is_taken && told.contains("--features legacy-tls") && told.contains("stunnel"), "{told}");
    }
    let error = Target::new(TargetConfig { tls: Tls { legacy: true, ..Tls::default() }, ..config() }).unwrap_err();
    assert!(error.to_string().contains("--features legacy-tls"), "{error}");
}

#[cfg(feature = "legacy-tls")]
mod spoken {
    use std::io::{Read as _, Write as _};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// `openssl s_server`, which speaks TLS 1.0 alone; it answers each request with 204.
    struct OldServer {
        process: Child,
        port: u16,
        heard: Arc<Mutex<String>>,
    }

    impl OldServer {
        /// None, where this machine's OpenSSL cannot be such a server; then it says why.
        async fn start(more: &[&str]) -> Option<Self> {
            if !has_openssl() {
                return None;
            }
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = Command::new("openssl")
                .args(["s_server", "-quiet", "-tls1", "-cipher", "ALL:@SECLEVEL=0", "-accept"])
                .arg(format!("127.0.0.1:{port}"))
                .arg("-cert")
                .arg(file("server.pem"))
                .arg("-key")
                .arg(file("server-key.pem"))
                .args(more)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let (mut answers, mut requests) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
            let heard: Arc<Mutex<String>> = Arc::default();
            let hearing = Arc::clone(&heard);
            std::thread::spawn(move || {
                let mut piece = [0; 4_096];
                while let Ok(length @ 1..) = requests.read(&mut piece) {
                    let mut heard = hearing.lock().unwrap();
                    heard.push_str(&String::from_utf8_lossy(&piece[..length]));
                    if heard.ends_with("{\"a\":1}") {
                        drop(heard);
                        let _ = answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").and_then(|()| answers.flush());
                    }
                }
            });
            let mut server = Self { process, port, heard };
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if server.process.try_wait().unwrap().is_some() {
                    println!(
                        "skipped: the openssl of this machine has no `s_server -tls1` (it may be built without TLS 1.0)"
                    );
                    return None;
                }
                tokio::task::yield_now().await;
            }
            Some(server)
        }

        fn url(&self) -> String {
            format!("https://localhost:{}/orders?a=1", self.port)
        }
    }

    impl Drop for OldServer {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    fn old() -> Tls {
        Tls { legacy: true, ..trusting() }
    }

    #[tokio::test]
    async fn a_server_that_speaks_tls_1_0_alone_is_called_where_that_is_said() {
        let Some(server) = OldServer::start(&[]).await else { return };
        let reason = not_sent(&with_tls(trusting()), &server.url()).await;
        assert!(reason.starts_with("no connection to https://localhost:"), "{reason}");
        let target = with_tls(old());
        assert_eq!(target.alarms().iter().map(|(alarm, _)| *alarm).collect::<Vec<_>>(), ["legacy_tls"]);
        for _ in 0..2 {
            assert_eq!(answered(&target, &server.url()).await.status, 204);
        }
        let heard = server.heard.lock().unwrap().to_ascii_lowercase();
        assert!(heard.contains("post /orders?a=1 http/1.1\r\n"), "{heard}");
        assert!(heard.contains(&format!("\r\nhost: localhost:{}\r\n", server.port)), "{heard}");
        let seen = target.certificates();
        assert_eq!((seen.len(), seen[0].place.as_str()), (1, "localhost"));
    }

    #[tokio::test]
    async fn the_certificate_is_checked_all_the_same() {
        let Some(server) = OldServer::start(&[]).await else { return };
        let reason = not_sent(&with_tls(Tls { ca: None, ..old() }), &server.url()).await;
        assert!(reason.contains("the server's certificate: "), "{reason}");
        let elsewhere = format!("https://127.0.0.2:{}/", server.port);
        not_sent(&with_tls(old()), &elsewhere).await;
        let (names, _) = changing(&[&["127.0.0.1"]]);
        let egress = only(&["127.0.0.1"]);
        let target = Target::new(TargetConfig { tls: old(), names, egress, ..config() }).unwrap();
        let reason = not_sent(&target, &format!("https://erp.example.com:{}/", server.port)).await;
        assert!(reason.to_lowercase().contains("hostname mismatch"), "{reason}");
        let reason = not_sent(&with_tls(Tls { pins: vec![pin(&"0".repeat(64))], ..old() }), &server.url()).await;
        assert!(reason.contains("is not among the pins"), "{reason}");
        let pins = reason.split_whitespace().filter_map(|word| Pin::parse(word.trim_end_matches(',')).ok()).collect();
        assert_eq!(answered(&with_tls(Tls { pins, ..old() }), &server.url()).await.status, 204);
        let anybody = Tls { accept_invalid: true, ca: None, ..old() };
        assert_eq!(answered(&with_tls(anybody), &server.url()).await.status, 204);
    }

    #[tokio::test]
    async fn egress_holds_for_old_servers_too() {
        let Some(server) = OldServer::start(&[]).await else { return };
        let (names, asked) = changing(&[&["127.0.0.1"], &["169.254.169.254"]]);
        for (egress, url) in [
            (only(&["10.0.0.0/8"]), server.url()),
            (only(&["10.0.0.0/8"]), format!("https://127.0.0.1:{}/", server.port)),
            (Egress::default(), format!("https://erp.example.com:{}/", server.port)),
            (Egress::default(), format!("https://erp.example.com:{}/", server.port)),
        ] {
            let names = if url.contains("erp") { names.clone() } else { Names::default() };
            let target = Target::new(TargetConfig { tls: old(), egress, names, ..config() }).unwrap();
            let reason = not_sent(&target, &url).await;
            assert!(reason.contains("[egress] allow"), "{url}: {reason}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert_eq!(*server.heard.lock().unwrap(), "");
    }

    #[tokio::test]
    async fn an_old_server_that_asks_who_we_are_is_shown_our_certificate() {
        let ours = file("client.pem");
        let Some(server) =
            OldServer::start(&["-Verify", "1", "-verify_return_error", "-CAfile", ours.to_str().unwrap()]).await
        else {
            return;
        };
        let exchange = deliver::send(&with_tls(old()), &call(&server.url())).await;
        assert!(matches!(exchange, Exchange::NotSent { .. }), "{exchange:?}");
        let identity = Identity::Pkcs12 { file: file("client.p12"), password: secret("${P12}", "s3cr3t-file") };
        let target = with_tls(Tls { identity: Some(identity), ..old() });
        assert_eq!(answered(&target, &server.url()).await.status, 204);
    }

    #[test]
    fn it_is_warned_of_and_goes_neither_in_clear_nor_through_a_proxy() {
        let (is_taken, told) = check("tls = \"legacy\"", "https://erp.internal/orders");
        assert!(is_taken && told.contains("TLS 1.0"), "{told}");
        for (more, url, expected) in [
            ("tls = \"legacy\"", "http://erp.internal/orders", "is for https addresses"),
            ("tls = { legacy = true, min_version = \"1.2\" }", "https://erp.internal/", "one of them"),
            ("tls = \"legacy\"\nproxy = \"http://proxy.internal:3128\"", "https://erp.internal/", "through no proxy"),
        ] {
            let (is_taken, told) = check(more, url);
            assert!(!is_taken && told.contains(expected), "{told}");
        }
    }
}

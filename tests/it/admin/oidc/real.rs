//! A login at a provider that others wrote: oidc-provider on Node, which is certified for what it does.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{Client, Url};

use super::provider::CLIENT_SECRET;
use super::{configured, house, session};
use crate::harness::free_port;

/// Where `.ci/run` puts what comes from Node's own registry.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop/node/node_modules")
}

/// What is missing on this machine, in words.
fn missing() -> Option<String> {
    let version = Command::new("node").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        return Some(format!("it needs Node 20 or later, and this is {:?}", version.trim()));
    }
    let package = packages().join("oidc-provider");
    (!package.exists()).then(|| format!("{} is not installed", package.display()))
}

/// The provider; it ends with its value.
struct Real {
    child: Child,
    port: u16,
}

impl Real {
    async fn start(port: u16, back: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/admin/oidc/provider.mjs");
        // Ends by itself, should this process be killed and not come to stop it.
        let mut child = Command::new("timeout")
            .args(["--kill-after=5", "300", "node"])
            .arg(script)
            .env("PACKAGES", packages().canonicalize().unwrap())
            .env("PORT", port.to_string())
            .env("BACK", back)
            .env("SECRET", CLIENT_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "oidc-provider does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, port }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // `timeout` hands it on.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A browser that logs in and agrees to everything: where it is sent back to.
async fn log_in(http: &Client, place: Url, name: &str, port: u16) -> Url {
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let mut request = http.get(place.clone());
    let mut here = place;
    for _ in 0..20 {
        let line = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let answer = request.header("Cookie", line).send().await.unwrap();
        for set in answer.headers().get_all(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            cookies.insert(pair.0.to_owned(), pair.1.to_owned());
        }
        if let Some(next) = answer.headers().get(LOCATION) {
            here = here.join(next.to_str().unwrap()).unwrap();
            if here.port() != Some(port) {
                return here;
            }
            request = http.get(here.clone());
            continue;
        }
        let page = answer.text().await.unwrap();
        let after = |mark: &str| page.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark}: {page}"));
        let action = here.join(after("action=\"").split('"').next().unwrap()).unwrap();
        let prompt = after("name=\"prompt\" value=\"").split('"').next().unwrap();
        request = http.post(action).form(&[("prompt", prompt), ("login", name), ("password", "any")]);
    }
    panic!("no end of pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_lets_somebody_in_and_a_stranger_stays_outside() {
    if let Some(reason) = missing() {
        // Past the harness's capture: a test that did not run must be seen.
        let text = format!("skipped: oidc-provider: {reason}\n");
        std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
        return;
    }
    let port = free_port();
    let house = house(&configured(&format!("http://127.0.0.1:{port}"), "", "")).await;
    let real = Real::start(port, &house.url("/login/oidc/back")).await;
    for (name, status) in [("ops", 200), ("root", 200), ("stranger", 403)] {
        let trip = house.leave().await;
        let back = log_in(&house.http, trip.place.clone(), name, real.port).await;
        let told = house.send(house.http.get(back).header("Cookie", &trip.cookie)).await;
        assert_eq!(told.status, status, "{name}: {told:?}");
        if status == 200 {
            let page = house.get("/", &session(&told)).await;
            assert!(page.text.contains(&format!("Logged in as Mx {name} ({name})")), "{page:?}");
        } else {
            assert!(told.text.contains("knows you as Mx stranger (stranger)"), "{told:?}");
        }
    }
}

//! What tests do to a gateway: start it, post, kill it, restart it, look at its accounts.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub(crate) const ORGANIZATION: &str = "00D24000000abcdEAA";
pub(crate) const ACTION: &str = "04k24000000HfHaAAK";

/// How long an answer or a start may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway process in a temporary folder.
pub(crate) struct Process {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) public: u16,
    pub(crate) admin: u16,
    child: Option<Child>,
    http: reqwest::Client,
}

impl Process {
    /// A folder with a configuration; nothing runs yet. `{public}` and `{admin}` in the text become free ports.
    pub(crate) fn prepare(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (public, admin) = free_ports();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let process = Self { folder, public, admin, child: None, http };
        process.configure(configuration);
        process
    }

    /// Replaces the configuration; it counts from the next start.
    pub(crate) fn configure(&self, configuration: &str) {
        let text =
            configuration.replace("{public}", &self.public.to_string()).replace("{admin}", &self.admin.to_string());
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("omgate.toml")
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn start(&mut self, environment: &[(&str, &str)]) {
        self.spawn(environment);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready().await {
            assert!(Instant::now() < deadline, "the gateway did not become ready: {}", self.log());
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().unwrap()
            {
                let log = self.log();
                // A connection of another test may have the port as its own for a moment.
                let taken = log.lines().last().is_some_and(|line| line.contains("Address already in use"));
                assert!(taken, "the gateway ended with {status}: {log}");
                self.child = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.spawn(environment);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the gateway and does not wait.
    pub(crate) fn spawn(&mut self, environment: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(["serve", "--config"])
            .arg(self.config())
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        self.http.get(url).send().await.is_ok_and(|response| response.status().is_success())
    }

    /// The id of the process that runs.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let status = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(status.success());
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the gateway did not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    /// Asks the admin API until the answer fits, or fails with the last one.
    pub(crate) async fn admin_until(&self, path: &str, patience: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.admin(path).await;
            if fits(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} stays {answer:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the process is gone by itself; waits at most `patience`.
    pub(crate) async fn died(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                self.child = None;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    /// Posts a body to a path as Salesforce would.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Result<Answered> {
        let response = self
            .http
            .post(format!("http://127.0.0.1:{}{path}", self.public))
            .header("Content-Type", "text/xml; charset=UTF-8")
            .header("SOAPAction", "\"\"")
            .body(body)
            .send()
            .await?;
        Ok(Answered {
            status: response.status().as_u16(),
            content_type: header(&response, "content-type"),
            body: response.text().await?,
        })
    }

    /// Asks the admin API.
    pub(crate) async fn admin(&self, path: &str) -> Value {
        self.ask(path).await.1
    }

    /// The same, with the status.
    pub(crate) async fn ask(&self, path: &str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        let response = self.http.get(url).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A changing call to the admin API: status and document.
    pub(crate) async fn change(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        let response = self.http.post(url).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn ledger(&self) -> Value {
        self.admin("/api/v1/ledger").await
    }

    /// Waits until the ledger fits, or fails with the last one.
    pub(crate) async fn until(&self, patience: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let ledger = self.ledger().await;
            if fits(&ledger) {
                return ledger;
            }
            assert!(Instant::now() < deadline, "the ledger stays {ledger:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs another command of omgate against this folder's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_omgate")).args(arguments).arg("--config").arg(self.config()).output().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came back for a POST.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) fn is_ack(&self) -> bool {
        self.status == 200 && self.body.contains("<Ack>true</Ack>")
    }

    pub(crate) fn is_nack(&self) -> bool {
        self.status == 200 && self.body.contains("<Ack>false</Ack>")
    }
}

fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Two that differ: one that was given back may be given out again.
pub(crate) fn free_ports() -> (u16, u16) {
    let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, other] = listeners.map(|listener| listener.local_addr().unwrap().port());
    (one, other)
}

/// One notification for [`envelope`].
pub(crate) struct Notice<'a> {
    pub(crate) id: &'a str,
    pub(crate) record: &'a str,
    /// Field elements, such as `<sf:Name>A</sf:Name>`.
    pub(crate) fields: &'a str,
}

/// An envelope in Salesforce's shape.
pub(crate) fn envelope(notices: &[Notice<'_>]) -> String {
    let notifications: String = notices
        .iter()
        .map(|notice| {
            format!(
                "   <Notification>\n    <Id>{}</Id>\n    <sObject xsi:type=\"sf:Opportunity\" \
                 xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">\n     <sf:Id>{}</sf:Id>\n     {}\n    </sObject>\n   </Notification>\n",
                notice.id, notice.record, notice.fields
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n <soapenv:Body>\n  \
         <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">\n   <OrganizationId>{ORGANIZATION}</OrganizationId>\n   \
         <ActionId>{ACTION}</ActionId>\n   <SessionId xsi:nil=\"true\"/>\n   \
         <EnterpriseUrl>https://example.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd</EnterpriseUrl>\n   \
         <PartnerUrl>https://example.my.salesforce.com/services/Soap/u/61.0/00D24000000abcd</PartnerUrl>\n{notifications}  \
         </notifications>\n </soapenv:Body>\n</soapenv:Envelope>"
    )
}

/// A request that reached a [`Sink`].
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Arrived {
    pub(crate) fn key(&self) -> &str {
        self.headers.get("idempotency-key").map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// How a sink answers a request; none: it hangs up without a word.
pub(crate) type Respond = Box<dyn Fn(usize, &Arrived) -> Option<(u16, String)> + Send + Sync>;

/// A target system in the test's own process, that remembers everything.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Sink {
    /// Listens, and answers as `respond` says (given the number of the request, from 0).
    pub(crate) async fn start(respond: Respond) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (all, respond) = (Arc::clone(&arrived), Arc::new(respond));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, respond) = (Arc::clone(&all), Arc::clone(&respond));
                tokio::spawn(async move { while let Some(()) = serve(&stream, &all, &respond).await {} });
            }
        });
        Self { address, arrived }
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Serves one request on a kept-alive connection; none when the connection is over.
async fn serve(stream: &TcpStream, all: &Mutex<Vec<Arrived>>, respond: &Respond) -> Option<()> {
    let mut stream = BufReader::new(Shared(stream));
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let arrived = Arrived { method, path, headers, body: String::from_utf8(body).unwrap() };
    let number = {
        let mut all = all.lock().unwrap();
        all.push(arrived.clone());
        all.len() - 1
    };
    let (status, text) = respond(number, &arrived)?;
    let response = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    stream.write_all(response.as_bytes()).await.ok()
}

/// Reads and writes through a shared reference: requests come one at a time on a connection.
struct Shared<'a>(&'a TcpStream);

impl tokio::io::AsyncRead for Shared<'_> {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        loop {
            std::task::ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                other => return std::task::Poll::Ready(other.map(|_| ())),
            }
        }
    }
}

impl tokio::io::AsyncWrite for Shared<'_> {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        loop {
            std::task::ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                other => return std::task::Poll::Ready(other),
            }
        }
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

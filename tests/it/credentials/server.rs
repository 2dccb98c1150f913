//! A server that answers each request as a test says, byte for byte, and remembers all of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case; in a list, for a header may come twice.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// The one value of a header; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found: Vec<&str> =
            self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str()).collect();
        assert!(found.len() <= 1, "{name} comes more than once: {found:?}");
        found.first().copied().unwrap_or_default()
    }

    pub(crate) fn form(&self) -> HashMap<String, String> {
        assert_eq!(self.header("content-type"), "application/x-www-form-urlencoded");
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    /// User and password of `Authorization: Basic`.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization").strip_prefix("Basic ")?;
        let both = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        let both = String::from_utf8(both).unwrap();
        both.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }
}

/// In place of an answer: nothing more is said, and the connection stays. Nothing at all ends it.
pub(crate) const HANG: &str = "…";

type Answers = Arc<dyn Fn(usize, &Asked) -> String + Send + Sync>;

/// The server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers as the function says, given the number of the request from 0.
    pub(crate) async fn start(answers: impl Fn(usize, &Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&answers)));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(stream: TcpStream, kept: Arc<Mutex<Vec<Asked>>>, answers: Answers) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        let asked = Asked { method, target, headers, body: String::from_utf8(body).unwrap() };
        let number = {
            let mut all = kept.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let answer = answers(number, &asked);
        match answer.as_str() {
            "" => return None,
            HANG => return std::future::pending().await,
            _ => {}
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// An answer with headers and a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

//! A line to the database that can be cut: altogether, or at a commit, before it arrives or before its answer does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::postgres;

/// What becomes of a `COMMIT` that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It never reaches the database.
    Before,
    /// The database does it, and the answer is lost.
    After,
}

/// Stands before a server of this machine.
pub(crate) struct Line {
    pub(crate) port: u16,
    up: watch::Sender<bool>,
    next: Next,
}

/// The commit at which it is cut: after so many others.
type Next = Arc<Mutex<Option<(u64, Cut)>>>;

impl Line {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, next) = (watch::Sender::new(true), Next::default());
        let (stands, cuts) = (up.subscribe(), Arc::clone(&next));
        postgres::runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Nobody holds the other end any more.
                if stands.has_changed().is_err() {
                    return;
                }
                let (mut stands, cuts) = (stands.clone(), Arc::clone(&cuts));
                tokio::spawn(async move {
                    if *stands.borrow_and_update() {
                        tokio::select! {
                            _ = stands.wait_for(|up| !*up) => {}
                            _ = carry(client, server, &cuts) => {}
                        }
                    }
                });
            }
        });
        Self { port, up, next }
    }

    /// Cuts one connection at the commit that passes after so many others.
    pub(crate) fn cut_at(&self, commits_before: u64, cut: Cut) {
        *self.next.lock().unwrap() = Some((commits_before, cut));
    }

    /// All connections end, and none begins.
    pub(crate) fn break_down(&self) {
        self.up.send_replace(false);
    }

    pub(crate) fn restore(&self) {
        self.up.send_replace(true);
    }
}

/// Carries what both sides say, until one of them ends or it is cut.
async fn carry(client: TcpStream, server: u16, next: &Next) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let said = &asked[..read?];
                if said.is_empty() {
                    return Ok(());
                }
                let cut = if has_commit(said) { due(next) } else { None };
                if cut == Some(Cut::Before) {
                    return Ok(());
                }
                to_server.write_all(said).await?;
                if cut == Some(Cut::After) {
                    // The answer tells that it is done; nobody hears of it.
                    let done = until_done(&mut from_server, &mut answered);
                    return tokio::time::timeout(Duration::from_secs(2), done).await.unwrap_or(Ok(()));
                }
            }
            read = from_server.read(&mut answered) => {
                let said = &answered[..read?];
                if said.is_empty() {
                    return Ok(());
                }
                to_client.write_all(said).await?;
            }
        }
    }
}

async fn until_done(from_server: &mut OwnedReadHalf, answered: &mut [u8]) -> std::io::Result<()> {
    loop {
        let read = from_server.read(answered).await?;
        if has_commit(&answered[..read]) {
            return Ok(());
        }
    }
}

/// Statements and their `COMMIT` come in one piece, or the `COMMIT` alone; and so does its answer.
fn has_commit(said: &[u8]) -> bool {
    said.is_empty() || said.windows(7).any(|window| window == b"COMMIT\0")
}

/// Whether this commit is the one.
fn due(next: &Next) -> Option<Cut> {
    let mut next = next.lock().unwrap();
    match &mut *next {
        Some((0, cut)) => {
            let cut = *cut;
            *next = None;
            Some(cut)
        }
        Some((left, _)) => {
            *left -= 1;
            None
        }
        None => None,
    }
}

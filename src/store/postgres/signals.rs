//! What gateways tell one another: `NOTIFY` for haste, looking again from time to time for certainty.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};

use super::connect::Address;
use super::failure::Failure;
use super::session::args;
use super::work::{Engine, random};
use crate::store::{Signal, StoreError};

const CHANNEL: &str = "omgate";
/// A system is told of no more often than this.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// While notifications arrive, one looks again this often all the same.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// While they do not.
const LOOK_OFTEN: Duration = Duration::from_millis(250);
/// Whether they arrive is tried this often.
const TEST_EVERY: Duration = Duration::from_secs(20);
/// A notification of our own must be back after this long.
const TEST_MAX: Duration = Duration::from_secs(5);
/// What cannot listen tries again after this long.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// A name that is longer is told of by looking again.
const NAME_MAX: usize = 4_000;

/// Tells the other gateways, outside of any command's transaction.
pub(super) async fn tell(engine: Arc<Engine>, mut notices: mpsc::UnboundedReceiver<Signal>) {
    while let Some(first) = notices.recv().await {
        let mut due = BTreeSet::from([payload(engine.holder, &first)]);
        while let Ok(next) = notices.try_recv() {
            due.insert(payload(engine.holder, &next));
        }
        let due: Vec<String> = due.into_iter().flatten().collect();
        match send(&engine, &due).await {
            Ok(()) => {}
            Err(Failure::Rule(StoreError::Closed)) => return,
            // They look again by themselves.
            Err(failure) => tracing::debug!(error = %failure.into_error(), "the other gateways could not be told"),
        }
        sleep(TELL_EVERY).await;
    }
}

async fn send(engine: &Engine, payloads: &[String]) -> Result<(), Failure> {
    if payloads.is_empty() {
        return Ok(());
    }
    let connection = engine.pool.get().await?;
    let sql = "SELECT pg_notify($1, payload)::text FROM unnest($2::text[]) payload";
    let arguments = args![TEXT CHANNEL, TEXT_ARRAY payloads];
    let sent = timeout(TEST_MAX, connection.query_typed(sql, arguments)).await;
    match sent {
        Ok(sent) => Ok(sent.map(|_| ())?),
        Err(_) => {
            drop(deadpool_postgres::Object::take(connection));
            Err(Failure::Lost("the database does not answer".to_owned()))
        }
    }
}

fn payload(holder: i64, signal: &Signal) -> Option<String> {
    let (kind, name) = match signal {
        Signal::Work(system) => ('w', system),
        Signal::System(system) => ('s', system),
        Signal::Look => return None,
    };
    (name.len() <= NAME_MAX && !name.contains('\0')).then(|| format!("{holder} {kind} {name}"))
}

/// What a payload says: who sent it, and what. None for what is none of ours.
fn understand(payload: &str) -> Option<(i64, Heard)> {
    let (holder, rest) = payload.split_once(' ')?;
    let (kind, name) = rest.split_once(' ')?;
    let heard = match kind {
        "w" => Heard::Signal(Signal::Work(name.to_owned())),
        "s" => Heard::Signal(Signal::System(name.to_owned())),
        "t" => Heard::Test(name.parse().ok()?),
        _ => return None,
    };
    Some((holder.parse().ok()?, heard))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Signal(Signal),
    Test(i64),
}

/// Listens for the other gateways, and looks again from time to time, as often as it must.
pub(super) struct Ear {
    pub(super) engine: Arc<Engine>,
    pub(super) address: Address,
    pub(super) heard: broadcast::Sender<Signal>,
}

impl Ear {
    pub(super) async fn listen(self) {
        let mut said = false;
        loop {
            if let Ok((client, messages)) = self.connect().await {
                let listening = self.attend(&client, messages, &mut said).await;
                if listening && !said {
                    continue;
                }
            }
            // Without an ear one looks often; after a while the ear is tried again.
            let rounds = if said { TEST_EVERY } else { LISTEN_AGAIN }.as_millis() / LOOK_OFTEN.as_millis();
            for _ in 0..rounds {
                self.look();
                sleep(LOOK_OFTEN).await;
            }
        }
    }

    fn look(&self) {
        // Nobody listens before the dispatch runs, and none need.
        let _ = self.heard.send(Signal::Look);
    }

    /// Hands on what is heard until the connection ends or is deaf; whether it ever heard.
    async fn attend(&self, client: &Client, mut messages: mpsc::UnboundedReceiver<String>, said: &mut bool) -> bool {
        if client.batch_execute(&format!("LISTEN {CHANNEL}")).await.is_err() {
            return false;
        }
        // What was said before is found by looking.
        self.look();
        let mut hears = false;
        let now = || self.engine.machine.monotonic();
        let mut look_at = now() + LOOK_OFTEN;
        let mut test_at = now();
        let mut awaited: Option<(i64, Duration)> = None;
        loop {
            let deaf_at = awaited.map_or(test_at + TEST_MAX + TEST_EVERY, |(_, until)| until);
            tokio::select! {
                message = messages.recv() => match message {
                    None => return hears,
                    Some(message) => match understand(&message) {
                        Some((holder, Heard::Test(token))) if holder == self.engine.holder => {
                            if awaited.is_some_and(|(expected, _)| expected == token) {
                                awaited = None;
                                hears = true;
                                *said = false;
                            }
                        }
                        Some((holder, Heard::Signal(signal))) if holder != self.engine.holder => {
                            let _ = self.heard.send(signal);
                        }
                        Some(_) | None => {}
                    },
                },
                () = sleep(look_at.saturating_sub(now())) => {
                    self.look();
                    look_at = now() + if hears { LOOK_EVERY } else { LOOK_OFTEN };
                }
                () = sleep(test_at.saturating_sub(now())) => {
                    let token = random();
                    let sent = send(&self.engine, &[format!("{} t {token}", self.engine.holder)]).await;
                    test_at = now() + TEST_EVERY;
                    if sent.is_ok() {
                        awaited = Some((token, now() + TEST_MAX));
                    }
                }
                () = sleep(deaf_at.saturating_sub(now())) => {
                    if !hears && !*said {
                        *said = true;
                        tracing::warn!(
                            "notifications of the database do not arrive (a pooler in transaction mode stands before it?): \
                             looking for work every {} ms instead", LOOK_OFTEN.as_millis()
                        );
                    }
                    return hears;
                }
            }
        }
    }

    async fn connect(&self) -> Result<(Client, mpsc::UnboundedReceiver<String>), Failure> {
        let (sender, messages) = mpsc::unbounded_channel();
        let tls = self.address.tls().map_err(Failure::Gone)?;
        let config = self.address.config();
        let client = match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(hand_on(connection, sender));
                client
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls).await?;
                tokio::spawn(hand_on(connection, sender));
                client
            }
        };
        Ok((client, messages))
    }
}

/// Drives a connection, and hands on what is said there.
async fn hand_on<S, T>(mut connection: Connection<S, T>, sender: mpsc::UnboundedSender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = poll_fn(move |context| connection.poll_message(context));
    while let Some(Ok(message)) = messages.next().await {
        if let AsyncMessage::Notification(notification) = message
            && sender.send(notification.payload().to_owned()).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        for signal in [Signal::Work("erp".to_owned()), Signal::System("a system".to_owned())] {
            let payload = payload(7, &signal).unwrap();
            assert_eq!(understand(&payload), Some((7, Heard::Signal(signal))));
        }
        assert_eq!(understand("7 t 12"), Some((7, Heard::Test(12))));
        for odd in ["", "7", "7 x y", "x w erp", "7 t x"] {
            assert_eq!(understand(odd), None, "{odd}");
        }
        assert_eq!(payload(7, &Signal::Work("x".repeat(5_000))), None);
    }
}

//! Why the database did not do what it was asked, and what may be done about it.

use std::error::Error as _;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// What the database says of every change, once the store was moved away from it: a code of our own.
pub(super) const MOVED_AWAY: &str = "OM001";

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It asked for what the rules forbid; nothing was written.
    Rule(StoreError),
    /// It met another one (a deadlock, a lock that was not had in time): nothing was written, and the same again may
    /// succeed.
    Again(String),
    /// Its connection broke, or none was to be had: nothing was written, and another one may do.
    Lost(String),
    /// The database cannot be reached or cannot write.
    Gone(String),
    /// The command itself is at fault.
    Fault(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Rule(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let words = words(&error);
        let Some(code) = error.code() else {
            // No answer of the server: the connection, or what came over it.
            return if is_connection(&error) { Self::Lost(words) } else { Self::Fault(words) };
        };
        let gone = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_TABLE, SqlState::READ_ONLY_SQL_TRANSACTION];
        let again = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED];
        if code.code() == MOVED_AWAY {
            return Self::Gone(error.as_db_error().map_or(words, |said| said.message().to_owned()));
        }
        match code.code().get(..2).unwrap_or_default() {
            _ if gone.contains(code) => Self::Gone(words),
            _ if again.contains(code) => Self::Again(words),
            _ if *code == SqlState::TOO_MANY_CONNECTIONS => Self::Lost(words),
            "40" => Self::Again(words),
            "53" | "58" | "28" | "3D" | "3F" | "XX" | "F0" => Self::Gone(words),
            "08" | "57" | "25" => Self::Lost(words),
            _ => Self::Fault(words),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            // Who cannot even come in was refused by the database as a whole, whatever the code; and so is who is sent away
            // while the connection is made ready.
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => match Self::from(error)
            {
                Self::Fault(reason) => Self::Gone(reason),
                known @ (Self::Rule(_) | Self::Again(_) | Self::Lost(_) | Self::Gone(_)) => known,
            },
            PoolError::Timeout(TimeoutType::Wait) => Self::Again("every connection is busy".to_owned()),
            PoolError::Timeout(_) => Self::Lost("the database does not answer".to_owned()),
            PoolError::Closed => Self::Rule(StoreError::Closed),
            PoolError::PostCreateHook(HookError::Message(reason)) => Self::Lost(reason.into_owned()),
            PoolError::NoRuntimeSpecified => Self::Lost(error.to_string()),
        }
    }
}

fn is_connection(error: &tokio_postgres::Error) -> bool {
    let by_io = error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some());
    error.is_closed() || by_io
}

/// What the database says, in one line. The address and its password are no part of it.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let message = said.message().split_whitespace().collect::<Vec<_>>().join(" ");
        return format!("{message} (SQLSTATE {})", said.code().code());
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = next.source();
    }
    words
}

impl Failure {
    /// What the caller of the store is told.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Rule(error) => error,
            Self::Again(reason) | Self::Lost(reason) | Self::Gone(reason) => StoreError::Unavailable(reason),
            Self::Fault(reason) => StoreError::Refused(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::connect::Address;
    use super::*;
    use crate::secret::Text;

    /// A message of the protocol: its kind, its length, what it says.
    fn message(kind: u8, said: &[u8]) -> Vec<u8> {
        let length = u32::try_from(said.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), said].concat()
    }

    /// A server that lets everybody in and refuses the first statement with these words.
    async fn refusing(words: &str) -> u16 {
        let refusal = format!("SFATAL\0VFATAL\0C57P01\0M{words}\0\0");
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut peer, _) = server.accept().await.unwrap();
            let mut asked = [0; 4_096];
            assert!(peer.read(&mut asked).await.unwrap() > 0, "who comes says so");
            let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
            peer.write_all(&welcome).await.unwrap();
            assert!(peer.read(&mut asked).await.unwrap() > 0 && asked[0] == b'Q', "it makes its connection ready");
            peer.write_all(&message(b'E', refusal.as_bytes())).await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn who_is_sent_away_while_the_connection_is_made_ready_hears_what_the_database_said() {
        let port = refusing("terminating connection due to\n administrator command").await;
        let address = Address::parse(&Text::plain(format!("postgres://me:pass-word@127.0.0.1:{port}/x"))).unwrap();
        let refused = Failure::from(address.pool(1).unwrap().get().await.map(|_| ()).unwrap_err());
        assert!(matches!(refused, Failure::Lost(_)), "another connection may do: {refused:?}");
        let words = refused.into_error().to_string();
        assert_eq!(
            words,
            "the store cannot write: terminating connection due to administrator command (SQLSTATE 57P01)"
        );
    }
}

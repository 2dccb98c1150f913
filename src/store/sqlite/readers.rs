//! Connections that only read, lent to one question at a time, so that no question waits for the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{schema, words};
use crate::store::{StoreError, StoreResult};

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, count: usize) -> Arc<Self> {
        Arc::new(Self { path, idle: Mutex::new(Vec::new()), turns: Arc::new(Semaphore::new(count.max(1))) })
    }

    /// Asks a question on a thread that may block. All that it reads is of one moment.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            let answer = readers.answer(question);
            drop(turn);
            answer
        });
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Refused("the question was given up".to_owned())),
        }
    }

    /// No more questions; the connections are closed once those under way are answered.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn answer<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> StoreResult<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::reader(&self.path).map_err(|error| StoreError::Unavailable(words::of(&error)))?,
        };
        // A connection that failed is not lent again.
        let answer =
            of_one_moment(&mut connection, question).map_err(|error| StoreError::Unavailable(words::of(&error)))?;
        if !self.turns.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }
}

/// A transaction around it: what several statements find goes together, and its lock is taken once.
pub(super) fn of_one_moment<T>(
    connection: &mut Connection,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let moment = connection.transaction()?;
    let answer = question(&moment)?;
    moment.finish()?;
    Ok(answer)
}

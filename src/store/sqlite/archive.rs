//! A store that is looked at from beside a gateway: without its lock, and without a write.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension};

use super::schema::{self, OpenError};
use super::{queries, sealing, taken, words};
use crate::clock::Timestamp;
use crate::store::{Archive, NotificationView, SealingKey, StoreError, StoreResult, StoredConfig, TakenConfig};

/// What is read at once of contents, in bytes.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// A connection that only reads. A gateway may work on the store meanwhile.
#[derive(Debug)]
pub struct SqliteArchive {
    connection: Mutex<Connection>,
}

impl SqliteArchive {
    /// Opens a store that is there, of this version of the schema.
    ///
    /// # Errors
    /// In words that tell what to do; see [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { connection: Mutex::new(schema::archive(path)?) })
    }

    /// Where the store was moved to, as that may be shown, and when; none when this one counts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn moved(&self) -> StoreResult<Option<(String, Timestamp)>> {
        let sql = "SELECT other, coalesce(moved_at, begun_at) FROM moving WHERE direction <> 'in' AND stage = 'moved'";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Timestamp(row.get(1)?)));
        self.connection().query_row(sql, [], read).optional().map_err(unreadable)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: rusqlite::Error) -> StoreError {
    StoreError::Refused(format!("reading the store: {}", words::of(&error)))
}

impl SqliteArchive {
    fn last(&self) -> StoreResult<Option<(TakenConfig, StoredConfig)>> {
        let connection = self.connection();
        let Some(last) = taken::list(&connection, 1).map_err(unreadable)?.into_iter().next() else { return Ok(None) };
        let Some(files) = queries::config(&connection, last.version.0).map_err(unreadable)? else { return Ok(None) };
        let files = serde_json::from_str(&files).map_err(|error| {
            StoreError::Refused(format!("reading configuration version {}: {error}", last.version.0))
        })?;
        Ok(Some((last, StoredConfig { files })))
    }
}

impl Archive for SqliteArchive {
    fn in_force(&self) -> BoxFuture<'_, StoreResult<Option<(TakenConfig, StoredConfig)>>> {
        Box::pin(async { self.last() })
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        Box::pin(async { sealing::list(&self.connection()).map_err(unreadable) })
    }

    fn contents<'a>(
        &'a self,
        before: Option<i64>,
        source: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, StoreResult<Vec<NotificationView>>> {
        Box::pin(async move {
            queries::contents(&self.connection(), before, source, limit, PAGE_BYTES_MAX).map_err(unreadable)
        })
    }
}

//! A store that is looked at from beside the gateways: in transactions that only read.

use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;

use super::connect::Address;
use super::failure::Failure;
use super::schema::{self, OpenError};
use super::session::{Manner, Session};
use super::{queries, sealing, taken};
use crate::store::{Archive, NotificationView, SealingKey, StoreError, StoreResult, StoredConfig, TakenConfig};

/// What is read at once of contents, in bytes.
const PAGE_BYTES_MAX: i64 = 8 << 20;

/// A connection that only reads. Gateways may work on the store meanwhile.
#[derive(Debug)]
pub struct PostgresArchive {
    pool: Pool,
}

impl PostgresArchive {
    /// Opens a store that is there, of this version of the schema.
    ///
    /// # Errors
    /// In words that tell what to do; see [`OpenError`].
    pub async fn open(address: &Address) -> Result<Self, OpenError> {
        let shown = address.shown();
        let tls = |reason| OpenError::Tls { address: shown.to_owned(), reason };
        let pool = address.pool(1).map_err(tls)?;
        schema::look_from_beside(&pool, shown).await?;
        Ok(Self { pool })
    }

    async fn session(&self) -> StoreResult<Session> {
        Session::open(&self.pool, Manner::Audit).await.map_err(unreadable)
    }
}

fn unreadable(failure: Failure) -> StoreError {
    let reason = match failure.into_error() {
        StoreError::Unavailable(reason) | StoreError::Refused(reason) => reason,
        other @ (StoreError::Overloaded
        | StoreError::Closed
        | StoreError::NotFound(_)
        | StoreError::Conflict(_)
        | StoreError::LeaseLost) => other.to_string(),
    };
    StoreError::Refused(format!("reading the store: {reason}"))
}

impl Archive for PostgresArchive {
    fn in_force(&self) -> BoxFuture<'_, StoreResult<Option<(TakenConfig, StoredConfig)>>> {
        Box::pin(async move {
            let mut session = self.session().await?;
            let last = taken::list(&mut session, 1).await.map_err(unreadable)?.into_iter().next();
            let Some(last) = last else { return Ok(None) };
            let files = queries::config(&mut session, last.version.0).await.map_err(unreadable)?;
            session.end().await.map_err(unreadable)?;
            let Some(files) = files else { return Ok(None) };
            let files = serde_json::from_str(&files).map_err(|error| {
                StoreError::Refused(format!("reading configuration version {}: {error}", last.version.0))
            })?;
            Ok(Some((last, StoredConfig { files })))
        })
    }

    fn sealing_keys(&self) -> BoxFuture<'_, StoreResult<Vec<SealingKey>>> {
        Box::pin(async move {
            let mut session = self.session().await?;
            let keys = sealing::list(&mut session).await.map_err(unreadable)?;
            session.end().await.map_err(unreadable)?;
            Ok(keys)
        })
    }

    fn contents<'a>(
        &'a self,
        before: Option<i64>,
        source: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, StoreResult<Vec<NotificationView>>> {
        Box::pin(async move {
            let mut session = self.session().await?;
            let page = queries::contents(&mut session, before, source, limit, PAGE_BYTES_MAX).await;
            let page = page.map_err(unreadable)?;
            session.end().await.map_err(unreadable)?;
            Ok(page)
        })
    }
}

//! Opens the store that the configuration names.

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::config::StoreSettings;
use crate::store::Store;
#[cfg(feature = "postgres")]
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error(transparent)]
    File(#[from] sqlite::OpenError),
    /// The database.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
}

/// A store, and the clock that counts for all who work on it: that of a database which several gateways share, else this
/// machine's.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: SharedClock,
}

/// Opens the store. `hold_unknown` are the destinations whose deliveries are held when a gateway died during their call;
/// `queue_max` is how many envelopes may wait for it.
///
/// # Errors
/// In words that tell an operator what to do.
pub async fn store(
    settings: StoreSettings,
    hold_unknown: Vec<String>,
    queue_max: usize,
    clock: SharedClock,
) -> Result<Opened, OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = settings.database {
        let options = postgres::Options::new(address, clock);
        let store = PostgresStore::open(postgres::Options { queue_max, hold_unknown, ..options }).await?;
        return Ok(Opened { clock: store.clock(), store });
    }
    let options = sqlite::Options::new(settings.path, Arc::clone(&clock));
    let store = SqliteStore::open(sqlite::Options { queue_max, hold_unknown, ..options })?;
    Ok(Opened { store, clock })
}

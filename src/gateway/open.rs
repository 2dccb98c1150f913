//! Opens the store that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use crate::cipher::Keyring;
use crate::clock::SharedClock;
use crate::config::StoreSettings;
#[cfg(feature = "postgres")]
use crate::store::postgres::{self, PostgresArchive, PostgresDestination, PostgresOrigin, PostgresStore};
use crate::store::sealed::{self, Sealed, SharedKeys, rekey};
use crate::store::sqlite::{self, SqliteDestination, SqliteOrigin, SqliteStore};
use crate::store::transfer::mover::Mover;
use crate::store::transfer::outlook::{self, Outlook, Sight};
use crate::store::transfer::taking::Ending;
use crate::store::transfer::{Destination, Mark, Origin};
use crate::store::{Store, StoreError};

/// How long a store is waited for that was just turned to, and how often it is looked for.
const THERE_WITHIN: Duration = Duration::from_secs(600);
const THERE_AGAIN: Duration = Duration::from_secs(2);

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
    /// Its payloads are sealed with other keys than are configured, or it cannot be asked for them.
    #[error("opening the store")]
    Keys(#[source] StoreError),
}

/// The store as the origin of a move, whenever one is begun.
pub type OriginOf = Arc<dyn Fn() -> Box<dyn Origin> + Send + Sync>;

/// A store, and the clock that counts for all who work on it: that of a database which several gateways share, else this
/// machine's.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: SharedClock,
    /// The store as the origin of a move.
    pub origin: OriginOf,
    /// The keys that its payloads are sealed with.
    pub keys: SharedKeys,
}

/// Opens the store. `hold_unknown` are the destinations whose deliveries are held when a gateway died during their call;
/// `queue_max` is how many envelopes may wait for it.
///
/// # Errors
/// In words that tell an operator what to do.
pub async fn store(
    (settings, keys): (StoreSettings, Keyring),
    hold_unknown: Vec<String>,
    queue_max: usize,
    clock: SharedClock,
) -> Result<Opened, OpenError> {
    let (store, clock, origin) = beneath(settings, hold_unknown, queue_max, clock).await?;
    if let Err(error) = rekey::adopt(&*store, &keys, clock.now()).await {
        store.close().await;
        return Err(OpenError::Keys(error));
    }
    let keys = sealed::shared(keys);
    let store = Arc::new(Sealed::new(store, Arc::clone(&keys)));
    Ok(Opened { store, clock, origin, keys })
}

/// The store as it is, whatever its payloads are sealed with.
async fn beneath(
    settings: StoreSettings,
    hold_unknown: Vec<String>,
    queue_max: usize,
    clock: SharedClock,
) -> Result<(Arc<dyn Store>, SharedClock, OriginOf), OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = settings.database {
        let options = postgres::Options::new(address.clone(), clock);
        let store = PostgresStore::open(postgres::Options { queue_max, hold_unknown, ..options }).await?;
        let (moved, clock) = (Arc::clone(&store), store.clock());
        let origin: OriginOf = Arc::new(move || Box::new(PostgresOrigin::of(Arc::clone(&moved), &address)));
        return Ok((store, clock, origin));
    }
    let options = sqlite::Options::new(settings.path, Arc::clone(&clock));
    let store = SqliteStore::open(sqlite::Options { queue_max, hold_unknown, ..options })?;
    let moved = Arc::clone(&store);
    let origin: OriginOf = Arc::new(move || Box::new(SqliteOrigin::of(Arc::clone(&moved))));
    Ok((store, clock, origin))
}

/// Opens a store to be moved into.
///
/// # Errors
/// In words that tell an operator what to do.
pub async fn destination(settings: StoreSettings) -> Result<Box<dyn Destination>, OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        return Ok(Box::new(PostgresDestination::open(address).await?));
    }
    Ok(Box::new(SqliteDestination::open(&settings.path)?))
}

/// The mark of a store that was moved away, so that no gateway opens it any more; none when it was not.
///
/// # Errors
/// When it cannot be read.
pub async fn left(settings: &StoreSettings) -> Result<Option<Mark>, OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        return Ok(PostgresOrigin::left(address).await?);
    }
    Ok(SqliteOrigin::left(&settings.path)?)
}

/// Looks whether a store is of this version of the schema, and changes nothing: to look at one of an earlier omgate must not
/// bring it up to date, for nothing would lead back.
///
/// # Errors
/// When it is of another version, is not there, or cannot be read.
pub async fn is_current(settings: &StoreSettings) -> Result<(), OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        PostgresArchive::open(address).await?;
        return Ok(());
    }
    Ok(SqliteStore::is_current(&settings.path)?)
}

/// What a move from one store into another would find and do. Both are looked at from beside, and neither is written to.
///
/// # Errors
/// In words: what is in its way.
pub async fn outlook(from: &StoreSettings, to: &StoreSettings) -> Result<Outlook, LookError> {
    if shown(from) == shown(to) {
        return Err(LookError::Same(shown(from)));
    }
    Ok(outlook::outlook(sight(from).await?, sight(to).await?)?)
}

/// Why a move would not go.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It leads nowhere.
    #[error("{0} is the store itself; name another one")]
    Same(String),
    /// One of the stores cannot be looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The move would be refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn sight(settings: &StoreSettings) -> Result<Sight, OpenError> {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        return Ok(postgres::sight(address).await?);
    }
    let path = settings.path.clone();
    // Whoever counts many rows must not keep others waiting.
    let seen = tokio::task::spawn_blocking(move || sqlite::sight(&path)).await;
    seen.unwrap_or_else(|_| {
        let (path, doing) = (settings.path.clone(), "look at it");
        Err(sqlite::OpenError::Inaccessible { path, doing, reason: "it was given up".to_owned() })
    })
    .map_err(OpenError::from)
}

/// Waits for a store that cannot be reached for a moment: a gateway that has just turned to it has no other.
pub(super) async fn until_there(settings: &StoreSettings, clock: &SharedClock) {
    let asked = clock.monotonic();
    while let Err(error) = left(settings).await {
        if clock.monotonic().saturating_sub(asked) > THERE_WITHIN {
            return;
        }
        tracing::error!(%error, "the store that counts cannot be reached; trying again");
        tokio::time::sleep(THERE_AGAIN).await;
    }
}

/// Why a move that was cut off cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The store was moved elsewhere.
    #[error(
        "{named} is not where it was moved; {moved} is, and counts: name that, or write its address into [store] url"
    )]
    Elsewhere {
        /// Where it was moved.
        moved: String,
        /// What was named.
        named: String,
    },
    /// One of the stores cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The destination is not that of the move, or cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends a move that was cut off between the turn and its end. `mark` is that of the store that was left.
///
/// # Errors
/// In words; see [`EndError`].
pub async fn end_move(mark: Mark, to: StoreSettings) -> Result<Ending, EndError> {
    let shown = shown(&to);
    if shown != mark.other {
        return Err(EndError::Elsewhere { moved: mark.other, named: shown });
    }
    let destination = destination(to).await?;
    Ok(Mover::end_in(&*destination, mark).await?)
}

/// A store as its moves call it, whether it is there or not.
pub(super) fn shown(settings: &StoreSettings) -> String {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        return address.shown().to_owned();
    }
    SqliteDestination::shown_at(&settings.path)
}

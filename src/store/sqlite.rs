//! The store in one SQLite file.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::SharedClock;
use crate::store::Store;

/// How to open it.
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Commands.
    pub queue_max: usize,
    /// Time.
    pub clock: SharedClock,
    /// Destinations whose unknown outcomes a person decides.
    pub hold_unknown: Vec<String>,
}

/// Why it cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// The store.
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens.
    ///
    /// # Errors
    /// Why not.
    pub fn open(_options: Options) -> Result<Arc<dyn Store>, OpenError> {
        unimplemented!()
    }
}

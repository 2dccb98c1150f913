//! The files of a configuration: read from the disk and remembered, or read from a stored configuration.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::store::StoredConfig;
use crate::wsdl::Files;

/// The largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;

/// Under this name a stored configuration keeps the folder that relative paths are relative to.
pub(super) const FOLDER: &str = ".";

/// Where the configuration's files come from. Everything that was read is remembered, to be stored.
pub(super) struct Source {
    folder: PathBuf,
    stored: Option<BTreeMap<String, String>>,
    read: Mutex<BTreeMap<String, String>>,
    secrets: RefCell<()>,
}

impl Source {
    pub(super) fn disk(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), stored: None, read: Mutex::default(), secrets: RefCell::default() }
    }

    pub(super) fn stored(config: &StoredConfig) -> Self {
        let folder = config.files.get(FOLDER).map(PathBuf::from).unwrap_or_default();
        Self { folder, stored: Some(config.files.clone()), ..Self::disk(Path::new("")) }
    }

    /// A configured path, relative to the configuration's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Everything that was read, by its name in the configuration.
    pub(super) fn remembered(&self) -> BTreeMap<String, String> {
        match self.read.lock() {
            Ok(read) => read.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Whether files come from the disk, so that files beside the configuration can be looked at.
    pub(super) fn is_disk(&self) -> bool {
        self.stored.is_none()
    }

    pub(super) fn text(&self, path: &str) -> io::Result<String> {
        String::from_utf8(self.read(Path::new(path))?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8 text"))
    }

    fn remember(&self, path: &Path, bytes: &[u8]) {
        let mut read = match self.read.lock() {
            Ok(read) => read,
            Err(poisoned) => poisoned.into_inner(),
        };
        read.insert(path.to_string_lossy().into_owned(), String::from_utf8_lossy(bytes).into_owned());
    }
}

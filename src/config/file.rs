//! The files of a configuration: read from the disk and remembered, or read from a stored configuration.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::disk;
use crate::store::StoredConfig;
use crate::wsdl;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Under this name a stored configuration keeps the folder that relative paths are relative to.
const FOLDER: &str = ".";
/// Before the content of a stored file that is not UTF-8: no text file begins with U+0000.
const BINARY: &str = "\0base64:";

/// Where the configuration's files come from. Everything that was read is remembered, to be stored.
pub(super) struct Files {
    folder: PathBuf,
    stored: Option<BTreeMap<String, String>>,
    read: Mutex<BTreeMap<String, String>>,
    seen: Mutex<Seen>,
    said: Mutex<BTreeMap<String, Result<SecretString, String>>>,
    instead: Option<Instead>,
}

/// The files of the disk that a configuration was made of, secrets and certificates too, and a digest of what was in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Seen {
    /// Their paths, absolute where the configuration's is.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The same files as they are now.
    #[must_use]
    pub fn now(&self) -> Self {
        let look = |path: &PathBuf| (path.clone(), read(path).ok().map(|bytes| digest(&bytes)));
        Self(self.0.keys().map(look).collect())
    }

    /// Whether a file is there and holds the same as it does for another.
    #[must_use]
    pub fn agrees(&self, other: &Self, path: &Path) -> bool {
        self.0.get(path) == other.0.get(path)
    }

    /// Remembers what was read, or that nothing could be.
    pub(super) fn note(&mut self, path: &Path, read: &io::Result<Vec<u8>>) {
        self.0.insert(path.to_owned(), read.as_ref().ok().map(|bytes| digest(bytes)));
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    // SHA-256 has 32 bytes.
    digest.as_ref().try_into().unwrap_or_default()
}

/// A WSDL that is read in place of another, and the keys that name that other.
struct Instead {
    old: PathBuf,
    new: String,
    users: Mutex<Vec<String>>,
}

impl Files {
    /// Files of the disk, beside a configuration file.
    pub(super) fn disk(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            stored: None,
            read: Mutex::default(),
            seen: Mutex::default(),
            said: Mutex::default(),
            instead: None,
        }
    }

    /// As [`Self::disk`], with one WSDL in place of another.
    pub(super) fn with_instead(folder: &Path, old: &Path, new: &Path) -> Self {
        let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let new = whole(new).to_string_lossy().into_owned();
        let instead = Instead { old: whole(old), new, users: Mutex::default() };
        Self { instead: Some(instead), ..Self::disk(folder) }
    }

    /// The WSDL that is read where the configuration names one at a key.
    pub(super) fn wsdl(&self, named: &str, key: &str) -> String {
        let is_old =
            |instead: &&Instead| fs::canonicalize(self.folder.join(named)).is_ok_and(|path| path == instead.old);
        match self.instead.as_ref().filter(is_old) {
            Some(instead) => {
                instead.users.lock().unwrap_or_else(PoisonError::into_inner).push(key.to_owned());
                instead.new.clone()
            }
            None => named.to_owned(),
        }
    }

    /// The keys that named the WSDL in whose place another was read.
    pub(super) fn users(&self) -> Vec<String> {
        let users = self.instead.as_ref().map(|instead| &instead.users);
        users.map(|users| users.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Files of a stored configuration.
    pub(super) fn stored(config: &StoredConfig) -> Self {
        let folder = config.files.get(FOLDER).map(PathBuf::from).unwrap_or_default();
        let stored = Some(config.files.clone());
        Self { stored, ..Self::disk(&folder) }
    }

    /// A configured path, relative to the configuration's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Whether files come from the disk: what a delivery does not depend on is looked for only then.
    pub(super) fn is_disk(&self) -> bool {
        self.stored.is_none()
    }

    /// Everything that was read, and the folder, by their names in the configuration.
    pub(super) fn remembered(&self) -> BTreeMap<String, String> {
        let mut files = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        files.insert(FOLDER.to_owned(), self.folder.to_string_lossy().into_owned());
        files
    }

    /// Where a path of the configuration leads.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// A file of the disk, whatever is stored; that it was read is noted.
    pub(super) fn disk_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = self.folder.join(path);
        let bytes = read(&path);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(&path, &bytes);
        bytes
    }

    /// What a program of the configuration says, or why it says nothing; asked once, however often it is named.
    pub(super) fn said(
        &self,
        command: &str,
        run: impl FnOnce(&Path) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = said.entry(command.to_owned()).or_insert_with(|| run(&self.folder).map(SecretString::from));
        answer.as_ref().map(|secret| secret.expose_secret().to_owned()).map_err(Clone::clone)
    }

    /// The files of the disk that were read so far.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A UTF-8 file, less a byte order mark.
    pub(super) fn text(&self, path: &str) -> io::Result<String> {
        let bytes = wsdl::Files::read(self, Path::new(path))?;
        let text =
            String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

impl wsdl::Files for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let name = path.to_string_lossy().into_owned();
        let bytes = match &self.stored {
            None => self.disk_bytes(path)?,
            // Without a name stands the configuration itself, which is no file that it names.
            Some(files) => unpacked(files.get(&name).filter(|_| !name.is_empty()))?,
        };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name, packed(&bytes));
        Ok(bytes)
    }
}

/// Reads a file of the disk, within the bound.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    disk::read(path, FILE_BYTES_MAX)
}

/// Why a file cannot be read, in words that are the same on every machine.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more kinds than need words of ours")]
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

fn packed(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with('\0') => text.to_owned(),
        _ => format!("{BINARY}{}", STANDARD.encode(bytes)),
    }
}

fn unpacked(content: Option<&String>) -> io::Result<Vec<u8>> {
    let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    match content.strip_prefix(BINARY) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        None => Ok(content.clone().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_text_survive_being_stored() {
        for bytes in [b"plain".as_slice(), b"\xff\xfe<\0", b"\0x", b"", "ä".as_bytes()] {
            assert_eq!(unpacked(Some(&packed(bytes))).unwrap(), bytes);
        }
    }
}

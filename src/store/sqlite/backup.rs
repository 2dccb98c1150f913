//! Copies the database into another file while the writer goes on, marks the copy as one, and looks through it.
//!
//! A reader's transaction holds one moment of the database, so the copy is of that moment whatever is written meanwhile, and
//! never begins anew. Only the write-ahead log grows until it is done.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use super::{audit, readers, schema, shape, words};
use crate::clock::Timestamp;
use crate::disk;
use crate::store::{Backup, BackupRoom, StoreError, StoreResult};

/// Pages copied between two rests: 1 MiB.
const PAGES_AT_ONCE: i32 = 256;
/// How long the disk is left to others between.
const REST: Duration = Duration::from_millis(2);

/// Makes a backup at a moment.
pub(super) fn backup<'a>(
    (store, at): (PathBuf, Timestamp),
    file: PathBuf,
    progress: watch::Sender<(u64, u64)>,
) -> BoxFuture<'a, StoreResult<Backup>> {
    Box::pin(async move {
        let made = tokio::task::spawn_blocking(move || make((&store, at), &file, &progress));
        made.await.unwrap_or_else(|_| Err(StoreError::Refused("the backup was given up".to_owned())))
    })
}

fn make((store, at): (&Path, Timestamp), file: &Path, progress: &watch::Sender<(u64, u64)>) -> StoreResult<Backup> {
    let partial = Partial::create(file)?;
    copy(store, &partial.path, progress).map_err(|error| say(file, "copying the store", &words::of(&error)))?;
    let marked = mark(&partial.path, at);
    let made = examine(&partial.path).map_err(|error| say(file, "looking through the copy", &words::of(&error)))?;
    let made = made.map_err(|findings| say(file, "looking through the copy", &findings))?;
    marked.map_err(|error| say(file, "marking the copy as one", &words::of(&error)))?;
    let bytes = partial.name_as(file).map_err(|error| say(file, "giving it its name", &error.to_string()))?;
    Ok(Backup { file: file.to_string_lossy().into_owned(), bytes, ..made })
}

/// Whether a backup could be made of a store, which nobody need have open; writes nothing.
///
/// # Errors
/// `Conflict` in words: what is in its way.
pub fn room(store: &Path, file: &Path) -> StoreResult<BackupRoom> {
    let partial = Partial::name(file)?;
    if partial.symlink_metadata().is_ok() {
        return Err(refuse(file, &in_the_way(&partial)));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let cannot = |error: io::Error| refuse(file, &format!("no file can be made in {}: {error}", folder.display()));
    disk::takes_files(folder).map_err(cannot)?;
    let (free_bytes, _) = disk::free(folder).map_err(cannot)?;
    // What stands in the log is copied too.
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let bytes = size(store) + size(&schema::beside(store, "-wal"));
    if bytes > free_bytes {
        let (bytes, free) = (disk::in_words(bytes), disk::in_words(free_bytes));
        return Err(refuse(file, &format!("it takes up to {bytes}, and {free} are free there")));
    }
    Ok(BackupRoom { file: file.to_string_lossy().into_owned(), bytes, free_bytes })
}

fn refuse(file: &Path, reason: &str) -> StoreError {
    StoreError::Conflict(format!("backing up into {}: {reason}", file.display()))
}

fn in_the_way(partial: &Path) -> String {
    format!("{} is there: another backup is made, or one broke off; remove it then", partial.display())
}

fn say(file: &Path, doing: &str, reason: &str) -> StoreError {
    StoreError::Conflict(format!("backing up into {}: {doing}: {reason}; nothing is left of it", file.display()))
}

/// The copy while it is made, under another name. It goes when it is not named.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// What it is called while it is made; a conflict when the file cannot be meant.
    fn name(file: &Path) -> StoreResult<PathBuf> {
        if !file.is_absolute() || file.file_name().is_none() {
            return Err(refuse(file, "it must be a whole path, from the root"));
        }
        if file.symlink_metadata().is_ok() {
            return Err(refuse(file, "the file is there already, and nothing is overwritten; give another name"));
        }
        Ok(schema::beside(file, ".partial"))
    }

    fn create(file: &Path) -> StoreResult<Self> {
        let path = Self::name(file)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Ok(_) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(refuse(file, &in_the_way(&path))),
            Err(error) => Err(refuse(file, &format!("cannot create {}: {error}", path.display()))),
        }
    }

    /// Gives the whole copy its name, unless something has it meanwhile; its size.
    fn name_as(&self, file: &Path) -> io::Result<u64> {
        let copy = File::open(&self.path)?;
        copy.sync_all()?;
        // Fails where the name is taken, unlike a renaming.
        match std::fs::hard_link(&self.path, file) {
            Ok(()) => std::fs::remove_file(&self.path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists || file.symlink_metadata().is_ok() => {
                return Err(error);
            }
            // Some file systems have no second names.
            Err(_) => std::fs::rename(&self.path, file)?,
        }
        if let Some(folder) = file.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(copy.metadata()?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // Nothing to do where there is none.
            let _ = std::fs::remove_file(schema::beside(&self.path, suffix));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own rests, so that the disk is free for others")]
fn copy(store: &Path, copy: &Path, progress: &watch::Sender<(u64, u64)>) -> rusqlite::Result<()> {
    let source = schema::reader(store)?;
    let moment = source.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(copy, flags)?;
    target.execute_batch("PRAGMA synchronous = OFF;")?;
    {
        let copying = Copying::new(&source, &mut target)?;
        loop {
            let step = copying.step(PAGES_AT_ONCE)?;
            let now = copying.progress();
            let total = u64::try_from(now.pagecount).unwrap_or(0);
            progress.send_replace((total.saturating_sub(u64::try_from(now.remaining).unwrap_or(0)), total));
            if step == StepResult::Done {
                break;
            }
            std::thread::sleep(REST);
        }
    }
    // One file, with no log beside it.
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

/// Marks the copy as one, so that whoever starts on it knows that the store went on since. A copy of a copy that nobody started
/// on is as old as the first.
fn mark(copy: &Path, at: Timestamp) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags)?;
    // Nobody has the copy yet: a journal beside it would only be left behind by a kill.
    connection.query_row("PRAGMA journal_mode = MEMORY", [], |_| Ok(()))?;
    let sql = "INSERT INTO alive (id, at, copied_at) VALUES (1, ?1, ?1)
               ON CONFLICT DO UPDATE SET copied_at = coalesce(copied_at, excluded.copied_at)";
    connection.execute(sql, [at.0]).map(|_| ())
}

/// Looks through a copy: what is wrong with it, or what it holds.
fn examine(copy: &Path) -> rusqlite::Result<Result<Backup, String>> {
    let mut connection = schema::reader(copy)?;
    let mut findings: Vec<String> = connection
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    findings.retain(|finding| finding != "ok");
    // What no gateway could open is no backup; and nothing could be counted in it.
    findings.extend(shape::missing(&connection)?.into_iter().map(|part| format!("{part} is missing in the store")));
    if !findings.is_empty() {
        return Ok(Err(findings.join("; ")));
    }
    let ledger = audit::ledger(&connection)?;
    let differs = readers::of_one_moment(&mut connection, audit::verify)?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
    let backup = Backup {
        file: String::new(),
        bytes: 0,
        notifications: number("SELECT count(*) FROM notification")?,
        deliveries: number("SELECT count(*) FROM delivery")?,
        balanced: ledger.balanced && differs.is_empty(),
    };
    Ok(Ok(backup))
}

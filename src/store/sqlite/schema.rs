//! Opens the database file: creates it, refuses what is not ours, migrates it forward.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::shape;

/// Marks the file as ours (`omgt`), so that another program's database is not taken for one.
const APPLICATION_ID: i32 = 0x6f6d_6774;

/// The migrations, in order; the schema's version is how many of them were run.
const MIGRATIONS: [&str; 17] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_excused.sql"),
    include_str!("migrations/0003_breaker.sql"),
    include_str!("migrations/0004_coalesce.sql"),
    include_str!("migrations/0005_config_taken.sql"),
    include_str!("migrations/0006_keep.sql"),
    include_str!("migrations/0007_replay.sql"),
    include_str!("migrations/0008_move.sql"),
    include_str!("migrations/0009_not_before.sql"),
    include_str!("migrations/0010_admin.sql"),
    include_str!("migrations/0011_sealing.sql"),
    include_str!("migrations/0012_lists.sql"),
    include_str!("migrations/0013_outcome.sql"),
    include_str!("migrations/0014_views.sql"),
    include_str!("migrations/0015_rate.sql"),
    include_str!("migrations/0016_mark.sql"),
    include_str!("migrations/0017_alive.sql"),
];

/// How long a statement waits for another program that holds the database's own lock (a backup, a shell).
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, works on the file.
    #[error(
        "opening the store {}: it is in use by another process{}; stop that one first, or find it with `fuser {}`",
        path.display(), holder_words(holder), lock.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// The process id that the lock file names.
        holder: Option<u32>,
    },
    /// The file has another name, under which another process could open it past the lock.
    #[error(
        "opening the store {}: the file has {} other hard link{}, under which a second process could open it; \
         remove them (`find … -samefile` names them), or make a copy and open that",
        path.display(), others, if *others == 1 { "" } else { "s" }
    )]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many other names it has.
        others: u64,
    },
    /// The schema is from a later version of this program.
    #[error(
        "opening the store {}: its schema has version {found}, and this omgate knows versions up to {known}; \
         run the omgate that wrote it, or a later one", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The schema is from an earlier version of this program, and who looks only does not bring it up to date.
    #[error(
        "opening the store {}: its schema has version {found}, and this omgate reads version {known}; \
         start `omgate serve` of this version on it once", path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It was moved into another store, which counts now.
    #[error(
        "opening the store {}: it was moved to {to} at {at}, and that one counts; give [store] url its address (if the move \
         was cut off at its end, `omgate store move` to the same address ends it)", path.display()
    )]
    Moved {
        /// The database.
        path: PathBuf,
        /// The other store, as it may be shown.
        to: String,
        /// When.
        at: String,
    },
    /// Another store is being moved into it.
    #[error(
        "opening the store {}: {from} is being moved into it and is not wholly there; start on that one, and go on with \
         `omgate store move`", path.display()
    )]
    Arriving {
        /// The database.
        path: PathBuf,
        /// The other store, as it may be shown.
        from: String,
    },
    /// There is no such file.
    #[error("opening the store {}: there is no such file", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("opening the store {}: it is not a database; give [store] url another path, or move the file away", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database, but not ours.
    #[error(
        "opening the store {}: it is the database of another program; give [store] url another path", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "opening the store {}: the database is damaged ({reason}); keep a copy of it and of the files beside it, \
         then restore a backup", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Somebody took something away that omgate made in it.
    #[error(
        "opening the store {}: the database lacks what omgate made in it: {missing}; keep a copy of it and of the files \
         beside it, then restore a backup", path.display()
    )]
    Incomplete {
        /// The database.
        path: PathBuf,
        /// What, in words.
        missing: String,
    },
    /// The file cannot be created, opened or written.
    #[error("opening the store {}: cannot {doing}: {reason}", path.display())]
    Inaccessible {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        reason: String,
    },
}

fn holder_words(holder: &Option<u32>) -> String {
    holder.map_or_else(String::new, |process| format!(" (process {process})"))
}

/// Keeps other processes out for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Whether it was made for this lock: then nobody has opened the database before.
    is_new: bool,
    _file: File,
}

impl Lock {
    /// Removes the lock file again if it was made for a database that then was not opened.
    pub(super) fn discard(self) {
        if self.is_new {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A lock file that was removed is made again and tried again so often.
const LOCK_TRIES: u32 = 100;
/// How often a lock that another has is tried, and how long apart: two seconds in all.
const LOCK_POLLS: u32 = 100;
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The database's real path, so that two names of one file share one lock.
pub(super) fn real_path(path: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let real = folder.canonicalize().map_err(|error| inaccessible(folder, "find its folder", &error))?;
    match path.file_name() {
        Some(name) => Ok(real.join(name)),
        None => Err(OpenError::Inaccessible {
            path: path.to_owned(),
            doing: "use that path",
            reason: "it names no file".to_owned(),
        }),
    }
}

/// Takes the lock beside the database, or says who has it.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let lock = beside(path, "-lock");
    for _ in 0..LOCK_TRIES {
        let is_new = !lock.exists();
        let mut file = private_file(&lock).map_err(|error| inaccessible(&lock, "create its lock file", &error))?;
        match take(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, lock, &mut file)),
            Err(TryLockError::Error(error)) => return Err(inaccessible(&lock, "lock its lock file", &error)),
        }
        // One who discarded the file meanwhile left us a lock that nobody else would meet.
        if !is_at(&file, &lock) {
            continue;
        }
        // The process id is a help for people; a full disk must not keep the store shut because of it.
        let _ = file.set_len(0);
        let _ = file.seek(SeekFrom::Start(0));
        let _ = writeln!(file, "{}", std::process::id());
        return Ok(Lock { path: lock, is_new, _file: file });
    }
    Err(OpenError::InUse { path: path.to_owned(), lock, holder: None })
}

/// Locks a file. One who is just leaving is waited for: an earlier process that ends, or a child of this one, which shares
/// its open files from the fork until it runs a program of its own.
#[expect(clippy::disallowed_methods, reason = "no signal tells that another process let go of a lock")]
fn take(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_POLLS {
        let attempt = file.try_lock();
        if !matches!(attempt, Err(TryLockError::WouldBlock)) {
            return attempt;
        }
        std::thread::sleep(LOCK_POLL);
    }
    file.try_lock()
}

fn in_use(path: &Path, lock: PathBuf, file: &mut File) -> OpenError {
    let mut text = String::new();
    let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    OpenError::InUse { path: path.to_owned(), lock, holder }
}

/// Whether an open file is the one that stands at a path.
fn is_at(file: &File, path: &Path) -> bool {
    file.metadata().map(|metadata| Identity::from(&metadata)).ok() == Identity::at(path)
}

/// What makes a file this one, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl From<&std::fs::Metadata> for Identity {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Identity {
    /// Of the file at a path; none when nothing stands there.
    pub(super) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata)).ok()
    }
}

/// Refuses what can be no database of ours at first sight. A hard link is a second name with a lock of its own.
pub(super) fn look_at(path: &Path) -> Result<(), OpenError> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if metadata.is_dir() {
        return Err(OpenError::Inaccessible {
            path: path.to_owned(),
            doing: "use it as a database",
            reason: "it is a folder".to_owned(),
        });
    }
    match metadata.nlink().saturating_sub(1) {
        0 => Ok(()),
        others => Err(OpenError::Linked { path: path.to_owned(), others }),
    }
}

/// Creates the file when it is absent, readable by its owner alone; SQLite gives the files beside it the same mode.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    private_file(path).map(|_| ()).map_err(|error| inaccessible(path, "create or write the database", &error))
}

/// A connection that writes, its schema brought up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| opening(path, error))?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without it, a statement that could use one of the partial indexes for some values is prepared anew for every value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048;")?;
    Ok(connection)
}

/// A connection that looks at a store from beside: of our schema, and never written to. Where no gateway has left a
/// write-ahead log, the file is all there is, and nothing is laid beside it.
pub(super) fn archive(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Absent { path: path.to_owned() });
    }
    let path = &real_path(path)?;
    let connection = if beside(path, "-wal").exists() {
        reader(path)
    } else {
        let name: String = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
    };
    let connection = connection.map_err(|error| opening(path, error))?;
    check_identity(&connection, path)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| opening(path, error))?;
    if found < known { Err(OpenError::Older { path: path.clone(), found, known }) } else { Ok(connection) }
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let say = |error| opening(path, error);
    connection.busy_timeout(BUSY_WAIT).map_err(say)?;
    // Plans must not depend on bound values: otherwise statements are planned anew at every use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(say)?;
    connection.set_prepared_statement_cache_capacity(128);
    check_identity(connection, path)?;
    // Checkpoints are the writer's: after it has answered, never inside a commit. The way of giving space back can be
    // chosen only before anything stands in the file.
    connection
        .execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -24576; PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = OFF;",
        )
        .map_err(say)?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(say)?;
    if mode != "wal" {
        return Err(OpenError::Inaccessible {
            path: path.to_owned(),
            doing: "keep a write-ahead log there",
            reason: format!("its file system allows only the journal mode {mode}; use a local disk"),
        });
    }
    migrate(connection).map_err(say)
}

fn check_identity(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let read = || -> rusqlite::Result<(i64, i64, i64)> {
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, tables))
    };
    let (application, found, tables) = read().map_err(|error| opening(path, error))?;
    if application != i64::from(APPLICATION_ID) {
        let empty = application == 0 && found == 0 && tables == 0;
        return if empty { Ok(()) } else { Err(OpenError::Foreign { path: path.to_owned() }) };
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known { Err(OpenError::Newer { path: path.to_owned(), found, known }) } else { Ok(()) }
}

pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for (number, script) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(number + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

/// Refuses a database that lacks something of what the migrations make.
pub(super) fn look_for_gaps(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let missing = shape::missing(connection).map_err(|error| opening(path, error))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(OpenError::Incomplete { path: path.to_owned(), missing: missing.join(", ") })
}

fn opening(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, reason: error.to_string() },
        Some(_) | None => OpenError::Inaccessible { path, doing: "open the database", reason: error.to_string() },
    }
}

fn inaccessible(path: &Path, doing: &'static str, error: &std::io::Error) -> OpenError {
    OpenError::Inaccessible { path: path.to_owned(), doing, reason: error.to_string() }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

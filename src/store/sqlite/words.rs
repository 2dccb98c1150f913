//! SQLite's errors in words, and what each means for the writer.

use rusqlite::ErrorCode;

/// What an error does to the commands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is the command's own.
    Command,
    /// The whole transaction is lost; the connection is good.
    Transaction,
    /// The whole transaction is lost, and what the connection believes of the file may be wrong.
    Connection,
}

/// How far an error reaches.
pub(super) fn reach(error: &rusqlite::Error) -> Reach {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Reach::Connection,
        Some(
            ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::NoLargeFileSupport,
        ) => Reach::Transaction,
        Some(_) | None => Reach::Command,
    }
}

/// An error for people.
pub(super) fn of(error: &rusqlite::Error) -> String {
    let moved = rusqlite::ffi::SQLITE_READONLY_DBMOVED;
    let plain = match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) if error.sqlite_extended_error_code() == Some(moved) => {
            "the database file is not where it was opened: it was moved, removed or replaced; put it back, or stop \
             omgate before another file takes its place"
        }
        // Whatever its code: there is nothing more to find out.
        Some(ErrorCode::DiskFull) => return "the disk is full".to_owned(),
        Some(ErrorCode::ReadOnly) => "the database cannot be written: the file or its file system is read-only",
        Some(ErrorCode::SystemIoFailure) => "the disk failed to read or write",
        Some(ErrorCode::OutOfMemory) => "there is no memory left",
        Some(ErrorCode::DatabaseCorrupt) => "the database is damaged",
        Some(ErrorCode::NotADatabase) => "the file is not a database any more",
        Some(ErrorCode::CannotOpen) => "the database cannot be opened",
        Some(ErrorCode::PermissionDenied) => "access to the database is denied",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds the database's write lock",
        Some(_) | None => return error.to_string(),
    };
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(code) => format!("{plain} (SQLite code {code})"),
        None => plain.to_owned(),
    }
}

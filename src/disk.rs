//! The disk: how much of it is free, and its files, read whole and within a bound. What is no regular file is never opened: a pipe would wait for
//! ever, and a device may have no end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// As the file system says; `InvalidInput` when it is no regular file, `InvalidData` when it is larger.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: to open a pipe that nobody writes to waits already.
    regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {}", size(bytes_max))));
    }
    Ok(bytes)
}

/// How much of the disk that a folder is on is free for us, and how large it is, in bytes.
///
/// # Errors
/// As the file system says.
pub fn free(folder: &Path) -> io::Result<(u64, u64)> {
    let of = rustix::fs::statvfs(folder)?;
    Ok((of.f_bavail.saturating_mul(of.f_frsize), of.f_blocks.saturating_mul(of.f_frsize)))
}

/// Whether we may make files in a folder; makes none.
///
/// # Errors
/// As the file system says.
pub fn takes_files(folder: &Path) -> io::Result<()> {
    use rustix::fs::Access;
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// So many bytes, for people.
#[must_use]
pub fn in_words(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn size(bytes: u64) -> String {
    let mebibytes = bytes >> 20;
    if mebibytes << 20 == bytes { format!("{mebibytes} MiB") } else { format!("{bytes} bytes") }
}

fn regular(about: &fs::Metadata) -> io::Result<()> {
    if about.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !about.is_file() {
        let reason = "it is a pipe, a socket or a device, and only regular files are read";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_within_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert_eq!(read(folder.path(), 4).unwrap_err().to_string(), "it is a folder");
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let reason = read(path, 4).unwrap_err().to_string();
            assert_eq!(reason, "it is a pipe, a socket or a device, and only regular files are read");
        }
    }
}

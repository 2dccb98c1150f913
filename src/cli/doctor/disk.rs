//! The disk under a store: what kind it is, how much is free, and whether what it calls written is written.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::finding::{Findings, Judged, Level};
use crate::disk::{self, in_words};

/// Under these a write-ahead log is not safe: SQLite's shared memory and its locks do not hold there.
const NETWORK: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "smb2",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "lustre",
    "gfs2",
    "ncpfs",
];
/// These are memory.
const MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// Less is told.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// So many writes are timed, unless they take too long.
const WRITES: usize = 64;
const WRITES_TAKE_MAX: Duration = Duration::from_secs(5);
/// What one write is, in bytes: a page of SQLite.
const PAGE: [u8; 4_096] = [0x5a; 4_096];
/// No disk that keeps its word is faster.
const TOO_FAST: Duration = Duration::from_micros(50);
/// Every acknowledgement waits for one.
const SLOW: Duration = Duration::from_millis(100);

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) folder: String,
    pub(super) kind: String,
}

/// Looks at the folder of a store.
pub(super) fn look(findings: &mut Findings, folder: &Path) {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = mount_of(&mounts, &real.to_string_lossy());
    match &mount {
        Some(mount) => findings.judged("file system", file_system(mount)),
        None => findings.skip("file system", "/proc/self/mounts does not say which one it is"),
    }
    match disk::free(&real) {
        Ok((bytes, all)) => findings.judged("free space", free(bytes, all)),
        Err(error) => findings.fail("free space", format!("it cannot be asked for: {error}"), "look at the folder"),
    }
    match timed(&real) {
        Ok(took) => findings.judged("fsync", honest(took, mount.as_ref())),
        Err(error) => findings.fail(
            "fsync",
            format!("nothing can be written in {}: {error}", real.display()),
            "give the folder to the user that runs omgate, and look whether the disk is full or read-only",
        ),
    }
}

/// The file system that a path is on: the longest folder, and of several mounts over each other the last.
fn mount_of(mounts: &str, path: &str) -> Option<Mount> {
    let mut found: Option<Mount> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(folder), Some(kind)) = (words.next(), words.next()) else { continue };
        let folder = unescaped(folder);
        let is_above =
            path == folder || path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        if is_above && found.as_ref().is_none_or(|known| folder.len() >= known.folder.len()) {
            found = Some(Mount { folder, kind: kind.to_owned() });
        }
    }
    found
}

/// Blanks are written as octal numbers (fstab(5)).
fn unescaped(folder: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(folder.to_owned(), |text, (code, sign)| text.replace(code, sign))
}

fn file_system(mount: &Mount) -> Judged {
    let Mount { folder, kind } = mount;
    if MEMORY.contains(&kind.as_str()) {
        return Judged::failed(
            format!("{folder} is memory ({kind}): nothing in it survives a restart of the machine"),
            "give [store] url a path on a disk",
        );
    }
    if NETWORK.contains(&kind.as_str()) {
        return Judged::failed(
            format!(
                "{folder} is on the network ({kind}), where SQLite's write-ahead log is not safe: locks and \
                     shared memory do not hold there, and the file can be destroyed"
            ),
            "give [store] url a path on a disk of this machine; for several machines take PostgreSQL",
        );
    }
    if kind == "overlay" {
        return Judged::warning(
            format!("{folder} is the layer of a container ({kind}): what is in it goes with the container"),
            "mount a volume, and put the store there",
        );
    }
    Judged::ok(format!("{kind}, mounted at {folder}"))
}

fn free(bytes: u64, all: u64) -> Judged {
    let (free, percent) = (in_words(bytes), percent(bytes, all));
    let found = format!("{free} are free, {percent} % of the disk");
    if bytes < FREE_BYTES_MIN || percent < 10 {
        let advice = "make room, or let less be kept ([retention]): when the disk is full, nothing is acknowledged";
        return Judged::warning(found, advice);
    }
    Judged::ok(found)
}

fn percent(part: u64, all: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(all.max(1))).unwrap_or(100)
}

/// How long writes take until the disk calls them written, each a page behind the one before.
fn timed(folder: &Path) -> io::Result<Vec<Duration>> {
    let file = tempfile::Builder::new().prefix(".omgate-doctor-").tempfile_in(folder)?;
    measure(file.as_file())
}

fn measure(mut file: &File) -> io::Result<Vec<Duration>> {
    // As in a write-ahead log that is used again: the length stays, so that data alone is written.
    for _ in 0..WRITES {
        file.write_all(&PAGE)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let (mut took, begun) = (Vec::with_capacity(WRITES), Instant::now());
    while took.len() < WRITES && begun.elapsed() < WRITES_TAKE_MAX {
        let one = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    Ok(took)
}

/// Whether these times can be those of a disk that keeps its word, and what they come to.
fn honest(mut took: Vec<Duration>, mount: Option<&Mount>) -> Judged {
    took.sort_unstable();
    let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied();
    let (Some(middle), Some(high)) = (at(50), at(99)) else {
        return Judged { level: Level::Skipped, found: "nothing was measured".to_owned(), advice: None };
    };
    let a_second = (1.0 / middle.as_secs_f64().max(1e-9)).min(1e9).floor();
    let found = format!(
        "a write is on disk within {} (p50), {} (p99), over {} writes: up to {a_second} commits a second, and each \
         acknowledges all envelopes that wait for it",
        millis(middle),
        millis(high),
        took.len()
    );
    let is_memory = mount.is_some_and(|mount| MEMORY.contains(&mount.kind.as_str()));
    if middle < TOO_FAST && !is_memory {
        return Judged::warning(
            format!(
                "{found}; no disk is as fast: it calls written what is still in a cache, and a power cut may \
                     lose what was acknowledged"
            ),
            "look for a write cache without a battery, a virtual disk with cache=unsafe or writeback, or a mount \
             with nobarrier; a controller or a drive that keeps its cache through a power cut may be as fast, and is \
             fine",
        );
    }
    if middle > SLOW {
        let advice = "every acknowledgement waits for it: put the store on a faster disk (SSD), and nothing else there";
        return Judged::warning(found, advice);
    }
    Judged::ok(found)
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "sysfs /sys sysfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
                          nas:/a /srv/my\\040data nfs4 rw 0 0\n/dev/sdb /var/lib xfs rw 0 0\n\
                          overlay /var/lib overlay rw 0 0\n";

    #[test]
    fn a_path_is_on_the_longest_mount_and_of_several_on_the_last() {
        for (path, folder, kind) in [
            ("/home/me", "/", "ext4"),
            ("/run", "/run", "tmpfs"),
            ("/running", "/", "ext4"),
            ("/srv/my data/omgate", "/srv/my data", "nfs4"),
            ("/var/lib/omgate", "/var/lib", "overlay"),
        ] {
            let mount = mount_of(MOUNTS, path).unwrap();
            assert_eq!((mount.folder.as_str(), mount.kind.as_str()), (folder, kind), "{path}");
        }
        assert_eq!(mount_of("", "/a"), None);
    }

    #[test]
    fn memory_and_networks_are_no_place_for_a_store() {
        for (kind, level) in [
            ("ext4", Level::Ok),
            ("xfs", Level::Ok),
            ("btrfs", Level::Ok),
            ("overlay", Level::Warning),
            ("tmpfs", Level::Failed),
            ("nfs4", Level::Failed),
            ("cifs", Level::Failed),
            ("9p", Level::Failed),
        ] {
            let judged = file_system(&Mount { folder: "/d".into(), kind: kind.into() });
            assert_eq!(judged.level, level, "{kind}: {judged:?}");
        }
    }

    #[test]
    fn little_room_is_told() {
        for (bytes, all, level) in [
            (2 << 30, 10 << 30, Level::Ok),
            (1 << 30, 8 << 30, Level::Ok),
            ((1 << 30) - 1, 2 << 30, Level::Warning),
            (5 << 30, 100 << 30, Level::Warning),
            (0, 0, Level::Warning),
        ] {
            assert_eq!(free(bytes, all).level, level, "{bytes} of {all}");
        }
    }

    #[test]
    fn a_disk_that_is_faster_than_disks_are_is_not_believed() {
        let disk = Mount { folder: "/".into(), kind: "ext4".into() };
        let memory = Mount { folder: "/run".into(), kind: "tmpfs".into() };
        let of = |micros: u64| vec![Duration::from_micros(micros); 64];
        for (took, mount, level, said) in [
            (of(10), Some(&disk), Level::Warning, "no disk is as fast"),
            (of(49), None, Level::Warning, "power cut"),
            // What it is, is told already.
            (of(10), Some(&memory), Level::Ok, "0.010 ms"),
            (of(50), Some(&disk), Level::Ok, "up to 20000 commits a second"),
            (of(2_000), Some(&disk), Level::Ok, "up to 500 commits"),
            (of(150_000), Some(&disk), Level::Warning, "faster disk"),
            (Vec::new(), Some(&disk), Level::Skipped, "nothing was measured"),
        ] {
            let judged = honest(took, mount);
            let text = format!("{judged:?}");
            assert_eq!(judged.level, level, "{text}");
            assert!(text.contains(said), "{text}");
        }
        let mut some = of(1_000);
        some.truncate(98);
        some.extend(of(40_000).into_iter().take(2));
        assert!(honest(some, Some(&disk)).found.contains("1.000 ms (p50), 40.000 ms (p99)"));
    }

    #[test]
    fn writes_are_measured_in_a_file_that_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let took = timed(folder.path()).unwrap();
        assert!(!took.is_empty() && took.len() <= WRITES);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(timed(&folder.path().join("absent")).is_err());
    }
}

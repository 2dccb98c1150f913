//! What work costs: CPU time, pages, memory. Of Linux; elsewhere they are zero.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// Pages: of SQLite those that were read, which are its threads' calls for reading; of PostgreSQL those that were looked
    /// at in its shared buffers, read or not.
    pub(crate) pages: f64,
}

impl Used {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, pages: self.pages + other.pages }
    }

    /// What was used since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), pages: (self.pages - before.pages).max(0.0) }
    }
}

/// What a thread used so far.
pub(crate) fn of(thread: Option<&Path>) -> Used {
    thread.map(used).unwrap_or_default()
}

/// The threads of SQLite stores, the writer of each before what it began.
pub(crate) fn store_threads() -> Vec<PathBuf> {
    threads().into_iter().filter(|folder| text(folder, "comm").starts_with("omgate-store")).collect()
}

/// What the writer of the SQLite store that was opened last used so far.
pub(crate) fn writer() -> Used {
    of(store_threads().last().map(PathBuf::as_path))
}

/// What all threads that live used so far, less the first, which reads these figures.
pub(crate) fn process() -> Used {
    let first = std::process::id().to_string();
    let others = threads().into_iter().filter(|folder| !folder.ends_with(&first));
    others.map(|folder| used(&folder)).fold(Used::default(), Used::plus)
}

/// The most memory that the process ever held, in MiB.
pub(crate) fn memory_mib() -> Option<u64> {
    let status = text(Path::new("/proc/self"), "status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.map(|kib: u64| kib / 1_024)
}

fn threads() -> Vec<PathBuf> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut folders: Vec<PathBuf> = threads.flatten().map(|thread| thread.path()).collect();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u64>().ok();
    folders.sort_by_key(number);
    folders
}

fn used(folder: &Path) -> Used {
    let nanos = text(folder, "schedstat").split_whitespace().next().and_then(|text| text.parse().ok());
    let io = text(folder, "io");
    let reads = io.lines().find_map(|line| line.strip_prefix("syscr: ")).and_then(|text| text.parse().ok());
    Used { cpu: Duration::from_nanos(nanos.unwrap_or(0)), pages: reads.unwrap_or(0.0) }
}

fn text(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default()
}

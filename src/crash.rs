//! Places at which a crash test wants the process to die. Nothing happens there unless one is armed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

struct Point {
    name: String,
    passes_left: AtomicI64,
}

static ARMED: OnceLock<Point> = OnceLock::new();

/// Arms a point: `name` or `name:n`; the n-th passing (from 1) ends the process at once.
pub fn arm(spec: &str) {
    let (name, passes) = spec.split_once(':').unwrap_or((spec, "1"));
    let passes = passes.parse().unwrap_or(1);
    // Armed once per process; a second call changes nothing.
    drop(ARMED.set(Point { name: name.to_owned(), passes_left: AtomicI64::new(passes) }));
}

/// Whether this point is the one that is armed.
#[must_use]
pub fn is_armed(name: &str) -> bool {
    ARMED.get().is_some_and(|point| point.name == name)
}

/// Dies here if this point is armed and its turn has come, as if by `kill -9`: nothing is flushed, no destructor runs.
#[inline]
pub fn point(name: &str) {
    if let Some(armed) = ARMED.get()
        && armed.name == name
        && armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

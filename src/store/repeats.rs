//! What would be said again and again is said once in a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The same is said again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What was said last, and when by the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<Option<(String, Duration)>>);

impl Repeats {
    /// Whether something is to be said: it is something else than the last, or that was long ago.
    pub(super) fn are_over(&self, what: &str, now: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(said, at)| said == what && now.saturating_sub(*at) < AGAIN_AFTER) {
            return false;
        }
        *last = Some((what.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_a_while_and_what_is_new_at_once() {
        let repeats = Repeats::default();
        let said = |what, at| repeats.are_over(what, Duration::from_secs(at));
        assert!(said("a", 0) && !said("a", 1) && !said("a", 599) && said("a", 600));
        assert!(said("b", 601) && !said("b", 602) && said("a", 603));
    }
}

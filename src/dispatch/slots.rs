//! The slots of a system: how many of its calls are under way, and how many more may begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Counts calls under way. There may be more than the limit: after it was lowered, until enough of them end.
#[derive(Debug)]
pub(super) struct Slots {
    limit: AtomicUsize,
    taken: watch::Sender<usize>,
}

/// One call under way; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), taken: watch::Sender::new(0) })
    }

    /// How many calls may begin now.
    pub(super) fn free(&self) -> usize {
        self.limit.load(Ordering::Relaxed).saturating_sub(*self.taken.borrow())
    }

    /// From now on so many at once; calls under way go on.
    pub(super) fn resize(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A call begins. Whoever takes slots asked before how many are free; what was promised then is kept.
    pub(super) fn take(self: &Arc<Self>) -> Slot {
        self.taken.send_modify(|taken| *taken = taken.saturating_add(1));
        Slot(Arc::clone(self))
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        *self.taken.borrow() == 0
    }

    /// Resolves when no call is under way.
    pub(super) async fn idle(&self) {
        // Fails only when the sender is gone, and it is held here.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lower_limit_waits_for_calls_under_way_and_a_higher_one_counts_at_once() {
        let slots = Slots::new(3);
        let mut calls = vec![slots.take(), slots.take(), slots.take()];
        assert_eq!((slots.free(), slots.is_idle()), (0, false));
        slots.resize(1);
        calls.pop();
        assert_eq!(slots.free(), 0, "two are under way where one may be");
        calls.pop();
        calls.pop();
        assert_eq!(slots.free(), 1);
        slots.resize(5);
        let call = slots.take();
        assert_eq!(slots.free(), 4);
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.idle().await }
        });
        drop(call);
        waiting.await.unwrap();
        assert!(slots.is_idle());
    }
}

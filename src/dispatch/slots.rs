//! The slots of a system: how many of its calls are under way, and how many more may begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;

/// One claim takes at most a third of the slots: while one part is claimed, another is called and the last is settled. Were
/// all claimed at once, the calls would wait for the store and the store for the calls.
const PARTS: usize = 3;
/// But so many it may always take: each claim costs a commit.
const PART_MIN: usize = 32;

/// Counts calls under way. There may be more than the limit: after it was lowered, until enough of them end.
#[derive(Debug)]
pub(super) struct Slots {
    limit: AtomicUsize,
    taken: watch::Sender<Taken>,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Calls.
    calls: usize,
    /// Calls that ended well, whose verdict is on its way to the store.
    settling: usize,
}

/// One call under way; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    settles: AtomicBool,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), taken: watch::Sender::new(Taken::default()) })
    }

    /// How many calls may begin now. A verdict on its way to the store is no call any more; but there are never more of
    /// those than there may be calls, so that a store that takes none stops it all.
    pub(super) fn free(&self) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        let Taken { calls, settling } = *self.taken.borrow();
        limit.saturating_sub(calls).min(limit.saturating_mul(2).saturating_sub(calls.saturating_add(settling)))
    }

    /// How many of them one claim takes at most.
    pub(super) fn part(&self) -> usize {
        (self.limit.load(Ordering::Relaxed) / PARTS).max(PART_MIN)
    }

    /// From now on so many at once; calls under way go on.
    pub(super) fn resize(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A call begins. Whoever takes slots asked before how many are free; what was promised then is kept.
    pub(super) fn take(self: &Arc<Self>) -> Slot {
        self.taken.send_modify(|taken| taken.calls = taken.calls.saturating_add(1));
        Slot { slots: Arc::clone(self), settles: AtomicBool::new(false) }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        *self.taken.borrow() == Taken::default()
    }

    /// Resolves when nothing is under way.
    pub(super) async fn idle(&self) {
        // Fails only when the sender is gone, and it is held here.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == Taken::default()).await;
    }
}

impl Slot {
    /// Its call is over, and the verdict is with the store: another call may begin.
    pub(super) fn settle(&self) {
        if !self.settles.swap(true, Ordering::SeqCst) {
            self.slots.taken.send_modify(|taken| {
                taken.calls = taken.calls.saturating_sub(1);
                taken.settling = taken.settling.saturating_add(1);
            });
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let settles = *self.settles.get_mut();
        self.slots.taken.send_modify(|taken| {
            let count = if settles { &mut taken.settling } else { &mut taken.calls };
            *count = count.saturating_sub(1);
        });
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

    #[test]
    fn a_claim_takes_a_third_of_many_slots_and_all_of_few() {
        for (limit, part) in [(1, 32), (32, 32), (96, 32), (99, 33), (256, 85), (1_000, 333)] {
            assert_eq!(Slots::new(limit).part(), part, "{limit}");
        }
    }

    #[test]
    fn a_verdict_on_its_way_makes_room_for_a_call_but_not_without_end() {
        let slots = Slots::new(2);
        let calls = [slots.take(), slots.take()];
        calls.iter().for_each(Slot::settle);
        calls.iter().for_each(Slot::settle);
        assert_eq!((slots.free(), slots.is_idle()), (2, false), "twice is once");
        let more = [slots.take(), slots.take()];
        assert_eq!(slots.free(), 0);
        more.iter().for_each(Slot::settle);
        assert_eq!(slots.free(), 0, "four verdicts wait: the store takes none");
        drop(calls);
        assert_eq!(slots.free(), 2);
        drop(more);
        assert!(slots.is_idle());
    }
}

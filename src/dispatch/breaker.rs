//! The circuit breaker of a system: many failures of different deliveries mean that calling it is no use for now.
//!
//! Failures of one delivery alone never open it, however many: one stuck lane must not delay another. Nor do refusals,
//! which come from a system that works; nor deliveries that failed before while others were taken: those are stuck
//! themselves. While it is open, more and more are tried at once as long as they are answered at all, so that those which
//! fail by themselves do not hide for long that the system works.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::mutation::{self, Mutation};
use crate::store::Outage;

/// When a breaker opens, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// It opens when so many different deliveries failed in a row.
    pub failures: usize,
    /// It opens when so large a share of the last calls failed; those of one delivery count once.
    pub share: Option<Share>,
    /// How long it stays open before one delivery is tried; twice as long each time that fails.
    pub wait: Duration,
    /// No longer than this.
    pub wait_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 10, share: None, wait: Duration::from_secs(5), wait_max: Duration::from_secs(300) }
    }
}

/// A share of the last calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// In 0..=1.
    pub part: f64,
    /// Of how many calls; fewer say nothing.
    pub calls: usize,
}

/// What a call says of the system as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It works: it took the message, or refused it.
    Works,
    /// It does not: no connection, no answer, or an error of its own.
    Fails {
        /// In words.
        reason: String,
        /// Whether the system itself answered, so that it may be this message alone that fails.
        itself: bool,
    },
    /// Nothing: it asked to go slower, or the fault is that of this message.
    Nothing,
}

/// A call that came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) sign: &'a Sign,
    pub(super) delivery: DeliveryId,
    /// Whether it was made to find out whether the system works again.
    pub(super) probing: bool,
    pub(super) now: Timestamp,
}

/// Counts failures.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    settings: Option<Settings>,
    /// The deliveries that failed since the last call that did not.
    in_a_row: Vec<DeliveryId>,
    /// The last calls: the delivery, where it failed.
    recent: VecDeque<Option<DeliveryId>>,
    /// Deliveries that failed while the system worked for others, or that opened the breaker in vain.
    stuck: HashSet<DeliveryId>,
    /// How many are tried at the next probe.
    width: usize,
    /// How many probes found in a row that it does not work.
    in_vain: u32,
    open: Option<Outage>,
}

/// More stuck deliveries are not remembered.
const STUCK_MAX: usize = 10_000;

impl Breaker {
    /// A breaker as the store remembers it; none of the settings: it never opens.
    pub(super) fn new(settings: Option<Settings>, open: Option<Outage>) -> Self {
        let open = open.filter(|_| settings.is_some());
        Self { settings, open, ..Self::default() }
    }

    /// Other settings from now on; what is known of failures stays, and an outage as long as there is a breaker at all.
    pub(super) fn reconfigure(&mut self, settings: Option<Settings>, now: Timestamp) {
        let calls = settings.as_ref().and_then(|settings| settings.share).map_or(0, |share| share.calls);
        let surplus = self.recent.len().saturating_sub(calls);
        self.recent.drain(..surplus);
        if settings.is_none() {
            self.reset();
        }
        self.settings = settings;
        self.bring_near(now);
    }

    /// Set while it is open.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.open.as_ref()
    }

    /// How many deliveries may be tried at once while it is open.
    pub(super) fn width(&self) -> usize {
        self.width.max(1)
    }

    /// Whether the next probe goes to what fell due last: every second one does.
    pub(super) fn probes_newest(&self) -> bool {
        self.open.is_some() && self.in_vain % 2 == 1
    }

    /// A wall clock that was set back must not put the probe off.
    pub(super) fn bring_near(&mut self, now: Timestamp) {
        if let (Some(open), Some(settings)) = (&mut self.open, &self.settings) {
            open.probe_at = open.probe_at.min(now.plus(settings.wait_max));
        }
    }

    /// Hears what a call came to; whether that opened it, closed it or moved its next probe.
    pub(super) fn hear(&mut self, call: &Call<'_>) -> bool {
        let Some(settings) = self.settings.clone() else { return false };
        match call.sign {
            Sign::Nothing => self.says_nothing(&settings, call),
            Sign::Works => self.works(&settings, call.delivery),
            Sign::Fails { reason, itself } => self.fails(&settings, reason, *itself, call),
        }
    }

    /// It is tried again as if nothing had been.
    pub(super) fn reset(&mut self) {
        self.open = None;
        self.width = 1;
        self.in_vain = 0;
        self.in_a_row.clear();
        self.recent.clear();
    }

    /// Another gateway opened it, closed it or moved its next probe.
    pub(super) fn adopt(&mut self, open: Option<&Outage>) {
        match open.filter(|_| self.settings.is_some()) {
            Some(open) => self.open = Some(open.clone()),
            None if self.open.is_some() => self.reset(),
            None => {}
        }
    }

    fn works(&mut self, settings: &Settings, delivery: DeliveryId) -> bool {
        self.stuck.remove(&delivery);
        let failed = std::mem::take(&mut self.in_a_row);
        if self.stuck.len().saturating_add(failed.len()) > STUCK_MAX {
            // Most of them were settled long ago; those that were not are learnt again.
            self.stuck.clear();
        }
        self.stuck.extend(failed);
        if self.open.is_some() && !mutation::active(Mutation::BreakerNeverCloses) {
            self.reset();
            return true;
        }
        self.remember(settings, None);
        false
    }

    /// A probe that was told to go slower, or whose fault is of its own message, does not close it; the next one waits
    /// as after the first failure.
    fn says_nothing(&mut self, settings: &Settings, call: &Call<'_>) -> bool {
        let Some(open) = self.open.as_mut().filter(|_| call.probing) else { return false };
        self.in_vain = self.in_vain.saturating_add(1);
        open.trips = 1;
        open.probe_at = call.now.plus(settings.wait);
        true
    }

    fn fails(&mut self, settings: &Settings, reason: &str, itself: bool, call: &Call<'_>) -> bool {
        let is_stuck = self.stuck.contains(&call.delivery);
        if !is_stuck && !self.in_a_row.contains(&call.delivery) && self.in_a_row.len() < STUCK_MAX {
            self.in_a_row.push(call.delivery);
        }
        if let Some(open) = &mut self.open {
            // What was under way when it opened fails as it must; only a probe says something new.
            if call.probing {
                self.in_vain = self.in_vain.saturating_add(1);
                if itself {
                    self.width = self.width.max(1).saturating_mul(2);
                    open.trips = 1;
                } else {
                    self.width = 1;
                    open.trips = open.trips.saturating_add(1);
                }
                open.probe_at = call.now.plus(wait(settings, open.trips));
                reason.clone_into(&mut open.reason);
            }
            return call.probing;
        }
        if is_stuck {
            return false;
        }
        self.remember(settings, Some(call.delivery));
        let Some(words) = self.too_many(settings) else { return false };
        let reason = format!("{words}, at last: {reason}");
        self.recent.clear();
        self.width = 1;
        self.in_vain = 0;
        self.open = Some(Outage { reason, since: call.now, probe_at: call.now.plus(settings.wait), trips: 1 });
        true
    }

    fn remember(&mut self, settings: &Settings, failed: Option<DeliveryId>) {
        if let Some(share) = settings.share {
            self.recent.push_back(failed);
            if self.recent.len() > share.calls {
                self.recent.pop_front();
            }
        }
    }

    fn too_many(&self, settings: &Settings) -> Option<String> {
        if self.in_a_row.len() >= settings.failures {
            return Some(format!("calls for {} deliveries failed in a row", self.in_a_row.len()));
        }
        let share = settings.share.filter(|share| self.recent.len() >= share.calls)?;
        let failed: HashSet<_> = self.recent.iter().flatten().collect();
        let too_many = as_float(failed.len()) >= share.part * as_float(share.calls);
        too_many.then(|| format!("of the last {} calls those for {} deliveries failed", share.calls, failed.len()))
    }
}

fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Twice as long each time.
fn wait(settings: &Settings, trips: u32) -> Duration {
    let doublings = trips.saturating_sub(1).min(20);
    settings.wait.saturating_mul(1 << doublings).min(settings.wait_max.max(settings.wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn breaker(failures: usize, share: Option<Share>) -> Breaker {
        Breaker::new(Some(Settings { failures, share, ..Settings::default() }), None)
    }

    fn call(sign: &Sign, delivery: i64) -> Call<'_> {
        Call { sign, delivery: DeliveryId(delivery), probing: false, now: NOW }
    }

    fn fails() -> Sign {
        Sign::Fails { reason: "HTTP 503".to_owned(), itself: false }
    }

    fn fails_itself() -> Sign {
        Sign::Fails { reason: "HTTP 500".to_owned(), itself: true }
    }

    #[test]
    fn it_opens_when_different_deliveries_fail_in_a_row_and_one_success_between_starts_anew() {
        let mut breaker = breaker(3, None);
        for (delivery, sign) in [(1, fails()), (2, fails()), (9, Sign::Works), (3, fails()), (4, fails())] {
            assert!(!breaker.hear(&call(&sign, delivery)), "{delivery}");
        }
        assert!(breaker.hear(&call(&fails(), 5)));
        let outage = breaker.outage().unwrap();
        assert_eq!(outage.reason, "calls for 3 deliveries failed in a row, at last: HTTP 503");
        assert_eq!((outage.since, outage.probe_at, outage.trips), (NOW, NOW.plus(Duration::from_secs(5)), 1));
    }

    #[test]
    fn one_delivery_that_fails_for_ever_opens_nothing() {
        let share = Some(Share { part: 0.5, calls: 4 });
        let mut breaker = breaker(3, share);
        for _ in 0..100 {
            assert!(!breaker.hear(&call(&fails(), 1)));
        }
    }

    #[test]
    fn what_says_nothing_of_the_system_neither_counts_nor_starts_anew() {
        let mut breaker = breaker(2, None);
        breaker.hear(&call(&fails(), 1));
        assert!(!breaker.hear(&call(&Sign::Nothing, 2)));
        assert!(breaker.hear(&call(&fails(), 3)));
    }

    #[test]
    fn it_opens_at_a_share_of_the_last_calls() {
        let mut breaker = breaker(100, Some(Share { part: 0.5, calls: 4 }));
        for (delivery, sign) in [(1, Sign::Works), (2, fails()), (3, Sign::Works)] {
            assert!(!breaker.hear(&call(&sign, delivery)), "too few calls");
        }
        assert!(breaker.hear(&call(&fails(), 4)));
        assert!(breaker.outage().unwrap().reason.starts_with("of the last 4 calls those for 2 deliveries failed"));
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait_and_one_that_works_closes_it() {
        let mut breaker = breaker(1, None);
        breaker.hear(&call(&fails(), 1));
        assert!(!breaker.hear(&call(&fails(), 2)), "a call that was under way");
        assert_eq!(breaker.outage().unwrap().trips, 1);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert!(breaker.hear(&Call { probing: true, ..call(&fails(), 3) }));
            assert_eq!(breaker.outage().unwrap().probe_at, NOW.plus(Duration::from_secs(seconds)));
        }
        assert!(breaker.hear(&Call { probing: true, ..call(&Sign::Works, 3) }));
        assert_eq!(breaker.outage(), None);
    }

    #[test]
    fn probes_that_are_answered_grow_in_number_and_wait_no_longer() {
        let mut breaker = breaker(1, None);
        breaker.hear(&call(&fails(), 1));
        for width in [2, 4, 8] {
            assert!(breaker.hear(&Call { probing: true, ..call(&fails_itself(), 2) }));
            assert_eq!(breaker.width(), width);
            assert_eq!(breaker.outage().unwrap().probe_at, NOW.plus(Duration::from_secs(5)));
        }
        assert!(breaker.hear(&Call { probing: true, ..call(&fails(), 4) }));
        assert_eq!(breaker.width(), 1, "nobody is there");
        assert!(breaker.hear(&call(&Sign::Works, 3)), "whoever is taken closes it");
        assert_eq!(breaker.width(), 1);
    }

    #[test]
    fn every_second_probe_goes_to_what_fell_due_last() {
        let mut breaker = breaker(1, None);
        breaker.hear(&call(&fails(), 1));
        for newest in [false, true, false, true] {
            assert_eq!(breaker.probes_newest(), newest);
            breaker.hear(&Call { probing: true, ..call(&fails(), 2) });
        }
        breaker.hear(&call(&Sign::Works, 3));
        breaker.hear(&call(&fails(), 4));
        assert!(!breaker.probes_newest(), "a new outage begins anew");
    }

    #[test]
    fn deliveries_that_failed_while_others_were_taken_open_it_no_more() {
        let mut breaker = breaker(3, None);
        for delivery in 1..=3 {
            breaker.hear(&call(&fails(), delivery));
        }
        assert!(breaker.outage().is_some());
        assert!(breaker.hear(&Call { probing: true, ..call(&fails(), 4) }));
        assert!(breaker.hear(&Call { probing: true, ..call(&Sign::Works, 9) }));
        for round in 0..10 {
            for delivery in 1..=4 {
                assert!(!breaker.hear(&call(&fails(), delivery)), "{round} {delivery}");
            }
        }
        assert!(!breaker.hear(&call(&fails(), 5)));
        assert!(!breaker.hear(&call(&fails(), 6)));
        assert!(breaker.hear(&call(&fails(), 7)), "but new ones do");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_put_the_probe_off() {
        let mut breaker = breaker(1, None);
        breaker.hear(&Call { now: Timestamp(86_400_000), ..call(&fails(), 1) });
        breaker.bring_near(Timestamp(0));
        assert_eq!(breaker.outage().unwrap().probe_at, Timestamp(300_000));
    }

    #[test]
    fn without_settings_it_never_opens_and_forgets_that_it_was_open() {
        let open = Outage { reason: String::new(), since: NOW, probe_at: NOW, trips: 1 };
        let mut breaker = Breaker::new(None, Some(open));
        assert_eq!(breaker.outage(), None);
        for delivery in 0..100 {
            assert!(!breaker.hear(&call(&fails(), delivery)));
        }
    }
}

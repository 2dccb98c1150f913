//! How often somebody may fail to log in, by account and by address; and how often that is written down.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failures are forgotten after this long.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// So many failures of one account within the window.
const OF_ACCOUNT_MAX: u32 = 10;
/// So many from one address.
const OF_ADDRESS_MAX: u32 = 30;
/// So many accounts and addresses are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// So many refusals are written at once, and then one each [`NOTE_EVERY`].
const NOTES_MAX: u32 = 20;
const NOTE_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// Existing or not: whoever guesses must not learn which.
    Account(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Duration,
}

/// Counts attempts to log in.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<Subject, Failures>>,
}

impl Throttle {
    /// Counts an attempt as failed until [`Throttle::forgive`] says otherwise; or says how long to wait.
    pub(super) fn begin(&self, account: &str, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let of_account = (Subject::Account(account.to_ascii_lowercase()), OF_ACCOUNT_MAX);
        self.count(vec![of_account, (Subject::Address(network(address)), OF_ADDRESS_MAX)], now)
    }

    /// As [`Throttle::begin`], where nobody says who it is.
    pub(super) fn begin_from(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.count(vec![(Subject::Address(network(address)), OF_ADDRESS_MAX)], now)
    }

    fn count(&self, subjects: Vec<(Subject, u32)>, now: Duration) -> Result<(), Duration> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (subject, limit) in &subjects {
            if let Some(found) = failures.get(subject).filter(|found| found.lasts(now) && found.count >= *limit) {
                return Err(WINDOW.saturating_sub(now.saturating_sub(found.since)));
            }
        }
        for (subject, _) in subjects {
            make_room(&mut failures, now);
            let found = failures.entry(subject).or_insert(Failures { count: 0, since: now });
            if !found.lasts(now) {
                *found = Failures { count: 0, since: now };
            }
            found.count = found.count.saturating_add(1);
        }
        Ok(())
    }

    /// An attempt was none that failed.
    pub(super) fn forgive(&self, account: &str, address: IpAddr) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&Subject::Account(account.to_ascii_lowercase()));
        self.forgive_from(address);
    }

    /// As [`Throttle::forgive`], where nobody said who it is.
    pub(super) fn forgive_from(&self, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = failures.get_mut(&Subject::Address(network(address))) {
            found.count = found.count.saturating_sub(1);
        }
    }
}

impl Failures {
    fn lasts(self, now: Duration) -> bool {
        now.saturating_sub(self.since) < WINDOW
    }
}

fn make_room(failures: &mut HashMap<Subject, Failures>, now: Duration) {
    if failures.len() < REMEMBERED_MAX {
        return;
    }
    failures.retain(|_, found| found.lasts(now));
    while failures.len() >= REMEMBERED_MAX {
        let oldest = failures.iter().min_by_key(|(_, found)| found.since).map(|(subject, _)| subject.clone());
        match oldest {
            Some(oldest) => failures.remove(&oldest),
            None => return,
        };
    }
}

/// Who has an IPv6 address has the whole /64 that it is in.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Keeps what is written of refusals within bounds: a flood of them must not fill the audit log.
#[derive(Debug)]
pub(super) struct Notes {
    state: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    left: u32,
    refilled: Duration,
    unwritten: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self { state: Mutex::new(Written { left: NOTES_MAX, refilled: Duration::ZERO, unwritten: 0 }) }
    }
}

impl Notes {
    /// Whether one more may be written; and how many were not, since the last that was.
    pub(super) fn take(&self, now: Duration) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.left < NOTES_MAX && now.saturating_sub(state.refilled) >= NOTE_EVERY {
            state.left += 1;
            state.refilled += NOTE_EVERY;
        }
        if state.left == NOTES_MAX {
            state.refilled = now;
        }
        if state.left == 0 {
            state.unwritten += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_is_shut_for_a_while_after_too_many_failures_from_anywhere() {
        let throttle = Throttle::default();
        for number in 0..10 {
            throttle.begin("alice", address(&format!("10.0.0.{number}")), minutes(0)).unwrap();
        }
        let wait = throttle.begin("Alice", address("10.0.1.1"), minutes(5)).unwrap_err();
        assert_eq!(wait, minutes(10));
        throttle.begin("bob", address("10.0.1.1"), minutes(5)).unwrap();
        throttle.begin("alice", address("10.0.1.1"), minutes(15)).unwrap();
    }

    #[test]
    fn an_address_is_shut_for_a_while_whatever_names_it_tries() {
        let throttle = Throttle::default();
        for number in 0..30 {
            throttle.begin(&format!("name{number}"), address("2001:db8::1"), minutes(0)).unwrap();
        }
        assert!(throttle.begin("other", address("2001:db8::ffff:1"), minutes(1)).is_err(), "the same network");
        throttle.begin("other", address("2001:db8:0:1::1"), minutes(1)).unwrap();
    }

    #[test]
    fn who_says_no_name_is_counted_by_address() {
        let throttle = Throttle::default();
        for _ in 0..30 {
            throttle.begin_from(address("10.0.0.1"), minutes(0)).unwrap();
        }
        assert!(throttle.begin("alice", address("10.0.0.1"), minutes(1)).is_err());
        throttle.begin("alice", address("10.0.0.2"), minutes(1)).unwrap();
        throttle.forgive_from(address("10.0.0.1"));
        throttle.begin_from(address("10.0.0.1"), minutes(1)).unwrap();
    }

    #[test]
    fn what_succeeds_is_no_failure() {
        let throttle = Throttle::default();
        for _ in 0..100 {
            throttle.begin("alice", address("10.0.0.1"), minutes(0)).unwrap();
            throttle.forgive("alice", address("10.0.0.1"));
        }
    }

    #[test]
    fn what_is_remembered_and_written_has_bounds() {
        let throttle = Throttle::default();
        for number in 0..12_000_u32 {
            let address = IpAddr::V4((0x0a00_0000 + number).into());
            throttle.begin(&format!("n{number}"), address, Duration::from_millis(number.into())).unwrap();
        }
        assert!(throttle.failures.lock().unwrap().len() <= REMEMBERED_MAX);
        let notes = Notes::default();
        let written = (0..1_000).filter(|_| notes.take(minutes(0)).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(notes.take(Duration::from_secs(30)), Some(980));
        assert_eq!(notes.take(Duration::from_secs(30)), None);
    }
}

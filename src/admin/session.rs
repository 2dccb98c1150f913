//! Who is logged in at the page: sessions, each known by a cookie of which only the hash is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::account::{self, Account};

/// A session that nobody used for this long is over.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// However it is used, a session is over after this long.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// So many at once; the one that was idle longest gives way.
const SESSIONS_MAX: usize = 1_000;
/// So many of one account at once.
const OF_ACCOUNT_MAX: usize = 10;

/// The sessions of this gateway. They end with it.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Mutex<HashMap<[u8; 32], Session>>,
}

#[derive(Debug)]
struct Session {
    account: String,
    /// Whoever gets another password must log in anew.
    password: [u8; 32],
    form: String,
    begun: Duration,
    used: Duration,
}

/// A session that was begun: what its cookie says.
pub(super) struct Begun {
    pub(super) cookie: String,
}

/// A session that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) account: Account,
    pub(super) form: String,
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one.
    pub(super) fn begin(&self, account: &Account, now: Duration) -> Result<Begun, String> {
        let (cookie, form) = (account::secret()?, account::secret()?);
        let mut all = self.all();
        all.retain(|_, session| session.lasts(now));
        while all.values().filter(|session| session.account == account.name).count() >= OF_ACCOUNT_MAX {
            take_idlest(&mut all, |session| session.account == account.name);
        }
        while all.len() >= SESSIONS_MAX {
            take_idlest(&mut all, |_| true);
        }
        let (name, password) = (account.name.clone(), account.password.fingerprint());
        let session = Session { account: name, password, form, begun: now, used: now };
        all.insert(account::fingerprint(&cookie), session);
        Ok(Begun { cookie })
    }

    /// The session of a cookie, when it lasts and its account is still the same.
    pub(super) fn find(&self, cookie: &str, accounts: &[Account], now: Duration) -> Option<Found> {
        let mut all = self.all();
        let key = account::fingerprint(cookie);
        let session = all.get_mut(&key)?;
        let account = accounts
            .iter()
            .find(|account| account.name == session.account && account.password.fingerprint() == session.password);
        match account.filter(|_| session.lasts(now)) {
            Some(account) => {
                session.used = now;
                Some(Found { account: account.clone(), form: session.form.clone() })
            }
            None => {
                all.remove(&key);
                None
            }
        }
    }

    /// Ends the session of a cookie.
    pub(super) fn end(&self, cookie: &str) {
        self.all().remove(&account::fingerprint(cookie));
    }
}

impl Session {
    fn lasts(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) < IDLE_MAX && now.saturating_sub(self.begun) < AGE_MAX
    }
}

fn take_idlest(all: &mut HashMap<[u8; 32], Session>, among: impl Fn(&Session) -> bool) {
    let idlest = all.iter().filter(|(_, session)| among(session)).min_by_key(|(_, session)| session.used);
    if let Some(key) = idlest.map(|(key, _)| *key) {
        all.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{PasswordHash, Rights, Role};

    const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdA";

    fn account(name: &str, hash: &str) -> Account {
        let text = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT}${hash}");
        let password = PasswordHash::parse(&text).unwrap();
        Account { name: name.to_owned(), password, role: Role::Viewer, rights: Rights::of(Role::Viewer, &[]) }
    }

    fn alice() -> Account {
        account("alice", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    }

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_too_long_or_too_old() {
        let (sessions, accounts) = (Sessions::default(), [alice()]);
        let idle = sessions.begin(&accounts[0], minutes(0)).unwrap().cookie;
        assert!(sessions.find(&idle, &accounts, minutes(29)).is_some());
        assert!(sessions.find(&idle, &accounts, minutes(60)).is_none());
        assert!(sessions.find(&idle, &accounts, minutes(0)).is_none(), "it is gone for good");
        let busy = sessions.begin(&accounts[0], minutes(0)).unwrap().cookie;
        for minute in (0..12 * 60).step_by(20) {
            assert!(sessions.find(&busy, &accounts, minutes(minute)).is_some(), "{minute}");
        }
        assert!(sessions.find(&busy, &accounts, minutes(12 * 60)).is_none());
    }

    #[test]
    fn a_session_ends_with_logout_with_its_account_and_with_another_password() {
        let (sessions, accounts) = (Sessions::default(), [alice()]);
        let begin = || sessions.begin(&accounts[0], minutes(0)).unwrap().cookie;
        let (one, other, third) = (begin(), begin(), begin());
        sessions.end(&one);
        assert!(sessions.find(&one, &accounts, minutes(0)).is_none());
        assert!(sessions.find(&other, &[], minutes(0)).is_none());
        let changed = [account("alice", "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
        assert!(sessions.find(&third, &changed, minutes(0)).is_none());
        assert!(sessions.find("", &accounts, minutes(0)).is_none());
    }

    #[test]
    fn there_are_no_more_sessions_than_the_bounds_and_the_idlest_gives_way() {
        let (sessions, accounts) = (Sessions::default(), [alice()]);
        let cookies: Vec<String> = (0..=10).map(|n| sessions.begin(&accounts[0], minutes(n)).unwrap().cookie).collect();
        assert!(sessions.find(&cookies[0], &accounts, minutes(11)).is_none());
        assert!(cookies[1..].iter().all(|cookie| sessions.find(cookie, &accounts, minutes(11)).is_some()));
        for number in 0..1_100 {
            sessions
                .begin(&account(&format!("a{number}"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), minutes(11))
                .unwrap();
        }
        assert_eq!(sessions.all().len(), SESSIONS_MAX);
        let kept = format!("{:?}", sessions.all());
        assert!(cookies.iter().all(|cookie| !kept.contains(cookie)), "only hashes are kept");
    }
}

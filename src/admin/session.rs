//! Who is logged in at the page: sessions, each known by a cookie of which only the hash is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::account::{self, Account, Rights};
use crate::admin::access::Who;

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

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Account(Account),
    /// Somebody for whom a provider of logins vouches.
    Person {
        name: String,
        rights: Rights,
        /// By which rules: whoever came in by others must log in anew.
        terms: [u8; 32],
    },
}

impl Holder {
    /// As the audit log names it.
    fn who(&self) -> Who {
        match self {
            Self::Account(account) => Who::Account(account.name.clone()),
            Self::Person { name, .. } => Who::Person(name.clone()),
        }
    }
}

#[derive(Debug)]
struct Session {
    who: Who,
    holder: Holder,
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
    pub(super) who: Who,
    pub(super) rights: Rights,
    pub(super) form: String,
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one.
    pub(super) fn begin(&self, holder: Holder, now: Duration) -> Result<Begun, String> {
        let (cookie, form) = (account::secret()?, account::secret()?);
        let who = holder.who();
        let mut all = self.all();
        all.retain(|_, session| session.lasts(now));
        while all.values().filter(|session| session.who == who).count() >= OF_ACCOUNT_MAX {
            take_idlest(&mut all, |session| session.who == who);
        }
        while all.len() >= SESSIONS_MAX {
            take_idlest(&mut all, |_| true);
        }
        let session = Session { who, holder, form, begun: now, used: now };
        all.insert(account::fingerprint(&cookie), session);
        Ok(Begun { cookie })
    }

    /// The session of a cookie, when it lasts and whose it is may still come in: by the accounts, and by the terms of the
    /// provider, that are in force.
    pub(super) fn find(
        &self,
        cookie: &str,
        (accounts, terms): (&[Account], Option<[u8; 32]>),
        now: Duration,
    ) -> Option<Found> {
        let mut all = self.all();
        let key = account::fingerprint(cookie);
        let session = all.get_mut(&key)?;
        let rights = match &session.holder {
            // Whoever gets another password must log in anew; other rights count at once.
            Holder::Account(then) => {
                let now = accounts.iter().find(|now| now.name == then.name && now.password == then.password);
                now.map(|account| account.rights)
            }
            Holder::Person { rights, terms: then, .. } => (terms == Some(*then)).then_some(*rights),
        };
        match rights.filter(|_| session.lasts(now)) {
            Some(rights) => {
                session.used = now;
                Some(Found { who: session.who.clone(), rights, form: session.form.clone() })
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
        let idle = sessions.begin(Holder::Account(accounts[0].clone()), minutes(0)).unwrap().cookie;
        assert!(sessions.find(&idle, (&accounts, None), minutes(29)).is_some());
        assert!(sessions.find(&idle, (&accounts, None), minutes(60)).is_none());
        assert!(sessions.find(&idle, (&accounts, None), minutes(0)).is_none(), "it is gone for good");
        let busy = sessions.begin(Holder::Account(accounts[0].clone()), minutes(0)).unwrap().cookie;
        for minute in (0..12 * 60).step_by(20) {
            assert!(sessions.find(&busy, (&accounts, None), minutes(minute)).is_some(), "{minute}");
        }
        assert!(sessions.find(&busy, (&accounts, None), minutes(12 * 60)).is_none());
    }

    #[test]
    fn a_session_ends_with_logout_with_its_account_and_with_another_password() {
        let (sessions, accounts) = (Sessions::default(), [alice()]);
        let begin = || sessions.begin(Holder::Account(accounts[0].clone()), minutes(0)).unwrap().cookie;
        let (one, other, third) = (begin(), begin(), begin());
        sessions.end(&one);
        assert!(sessions.find(&one, (&accounts, None), minutes(0)).is_none());
        assert!(sessions.find(&other, (&[], None), minutes(0)).is_none());
        let changed = [account("alice", "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
        assert!(sessions.find(&third, (&changed, None), minutes(0)).is_none());
        assert!(sessions.find("", (&accounts, None), minutes(0)).is_none());
    }

    #[test]
    fn the_session_of_whom_a_provider_knows_lasts_as_long_as_its_terms() {
        let sessions = Sessions::default();
        let rights = Rights::of(Role::Operator, &[]);
        let holder = |terms| Holder::Person { name: "alice (1)".to_owned(), rights, terms: [terms; 32] };
        let begin = |terms| sessions.begin(holder(terms), minutes(0)).unwrap().cookie;
        let (one, other, third) = (begin(1), begin(1), begin(1));
        let found = sessions.find(&one, (&[], Some([1; 32])), minutes(0)).unwrap();
        assert_eq!((found.who, found.rights), (Who::Person("alice (1)".to_owned()), rights));
        assert!(sessions.find(&other, (&[], Some([2; 32])), minutes(0)).is_none());
        assert!(sessions.find(&third, (&[alice()], None), minutes(0)).is_none());
    }

    #[test]
    fn there_are_no_more_sessions_than_the_bounds_and_the_idlest_gives_way() {
        let (sessions, accounts) = (Sessions::default(), [alice()]);
        let cookies: Vec<String> = (0..=10)
            .map(|n| sessions.begin(Holder::Account(accounts[0].clone()), minutes(n)).unwrap().cookie)
            .collect();
        assert!(sessions.find(&cookies[0], (&accounts, None), minutes(11)).is_none());
        assert!(cookies[1..].iter().all(|cookie| sessions.find(cookie, (&accounts, None), minutes(11)).is_some()));
        for number in 0..1_100 {
            let account = account(&format!("a{number}"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
            sessions.begin(Holder::Account(account), minutes(11)).unwrap();
        }
        assert_eq!(sessions.all().len(), SESSIONS_MAX);
        let kept = format!("{:?}", sessions.all());
        assert!(cookies.iter().all(|cookie| !kept.contains(cookie)), "only hashes are kept");
    }
}

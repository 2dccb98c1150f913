//! People of the admin side: who they are, what they may do, and how their passwords are known again.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// The shortest password that a hash is made of, in characters.
pub const PASSWORD_MIN: usize = 12;
/// The longest password that is looked at, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// The longest name, in characters.
pub const NAME_MAX: usize = 64;

/// What a hash costs that is made here: memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (32 << 10, 3, 1);
/// A cheaper one is no protection: the least that is recommended for argon2id, as memory in KiB times passes.
const COST_MIN: u64 = 35_840;
/// A dearer one would let a few logins exhaust the machine.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 20;
const LANES_MAX: u32 = 8;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See how things stand, without what records hold.
    View,
    /// See what records hold: content, requests, answers, kept values.
    Payload,
    /// Have deliveries sent again.
    Replay,
    /// Hold, release, discard, pause, resume, route again.
    Operate,
    /// Have edited content sent.
    Edit,
    /// Configuration, store, tokens.
    Administer,
    /// See masked fields in clear; each time is noted.
    Unmask,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::View, Self::Payload, Self::Replay, Self::Operate, Self::Edit, Self::Administer, Self::Unmask];
    /// Those that can be added to a role.
    pub const ADDED: [Self; 4] = [Self::Payload, Self::Replay, Self::Edit, Self::Unmask];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Payload => "payload",
            Self::Replay => "replay",
            Self::Operate => "operate",
            Self::Edit => "edit",
            Self::Administer => "administer",
            Self::Unmask => "unmask",
        }
    }

    /// The one of [`Right::ADDED`] with this word.
    #[must_use]
    pub fn added(word: &str) -> Option<Self> {
        Self::ADDED.into_iter().find(|right| right.as_str() == word)
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// What comes with a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Sees how things stand.
    #[default]
    Viewer,
    /// Looks after deliveries.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Every right.
    pub const ALL: Self = Self(u8::MAX);

    /// Those of a role, and those that were added to it.
    #[must_use]
    pub fn of(role: Role, added: &[Right]) -> Self {
        let of_role: &[Right] = match role {
            Role::Viewer => &[Right::View],
            Role::Operator => &[Right::View, Right::Replay, Right::Operate],
            Role::Admin => return Self::ALL,
        };
        Self(of_role.iter().chain(added).fold(0, |all, right| all | right.bit()))
    }

    /// Whether a right is one of them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Their words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::as_str).collect()
    }
}

/// What those may do of whom a provider of logins says this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it says.
    pub value: String,
    /// What they may do.
    pub rights: Rights,
}

/// What somebody may do of whom these values are said; none: nothing, not even come in.
#[must_use]
pub fn granted(grants: &[Grant], values: &[String]) -> Option<Rights> {
    let of_them = grants.iter().filter(|grant| values.contains(&grant.value));
    of_them.map(|grant| grant.rights).reduce(Rights::with)
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// How its password is known again.
    pub password: PasswordHash,
    /// Its role.
    pub role: Role,
    /// What it may do.
    pub rights: Rights,
}

/// A password as `argon2id` leaves it. It is never shown.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// Takes a hash in PHC form, such as `$argon2id$v=19$m=32768,t=3,p=1$…$…`.
    ///
    /// # Errors
    /// Why it cannot be used; the text itself is not told, as it may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "is no argon2id hash: `omgate account hash` makes one; a password in clear is never taken";
        let phc = Phc::new(text).map_err(|_| form.to_owned())?;
        if phc.algorithm.as_str() != "argon2id" || phc.salt.is_none() || phc.hash.is_none() {
            return Err(form.to_owned());
        }
        let params = Params::try_from(&phc).map_err(|_| form.to_owned())?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if u64::from(memory) * u64::from(passes) < COST_MIN {
            return Err(format!(
                "is too cheap a hash (m={memory}, t={passes}): it could be guessed; `omgate account hash` makes a better one"
            ));
        }
        if memory > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err(format!(
                "is too dear a hash (m={memory}, t={passes}, p={lanes}): a few logins would exhaust the machine; at most \
                 m={MEMORY_KIB_MAX}, t={PASSES_MAX}, p={LANES_MAX}"
            ));
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Whether it was made of this password. It takes a while, and memory: not for a thread that serves others.
    #[must_use]
    pub fn fits(&self, password: &str) -> bool {
        let Ok(phc) = Phc::new(self.0.expose_secret()) else { return false };
        Argon2::default().verify_password(password.as_bytes(), &phc).is_ok()
    }

    /// By what it is told from another.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(self.0.expose_secret())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Eq for PasswordHash {}

/// Makes a hash of a password.
///
/// # Errors
/// When the password will not do.
pub fn hash(password: &str) -> Result<String, String> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(format!("the password is too short: take at least {PASSWORD_MIN} characters"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("the password is too long: take at most {PASSWORD_BYTES_MAX} bytes"));
    }
    let failed = || "the hash could not be made".to_owned();
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| failed())?;
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|_| failed())?;
    let made: Result<Phc, _> = Argon2::default().hash_password_with_params(password.as_bytes(), &salt, params);
    made.map(|phc| phc.to_string()).map_err(|_| failed())
}

/// 32 random bytes as text for URLs and cookies.
///
/// # Errors
/// When the machine gives none.
pub fn secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(URL_SAFE_NO_PAD.encode(bytes)),
        Err(_) => Err("the machine gives no random numbers".to_owned()),
    }
}

/// SHA-256: what is kept of a secret in its place.
#[must_use]
pub fn fingerprint(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap_or_default()
}

/// What is wrong with a name, if anything is.
#[must_use]
pub fn fault_of_name(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    let is_fine = (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits);
    (!is_fine)
        .then(|| format!("{name:?} is no name here: take 1 to {NAME_MAX} of a-z, A-Z, 0-9, `.`, `_`, `-` and `@`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_its_rights_and_those_that_are_added() {
        for (role, added, has) in [
            (Role::Viewer, &[][..], "view"),
            (Role::Viewer, &[Right::Payload], "view payload"),
            (Role::Viewer, &[Right::Replay], "view replay"),
            (Role::Operator, &[], "view replay operate"),
            (Role::Operator, &[Right::Edit], "view replay operate edit"),
            (Role::Admin, &[], "view payload replay operate edit administer unmask"),
        ] {
            assert_eq!(Rights::of(role, added).words().join(" "), has, "{role:?} {added:?}");
        }
        assert!(Right::added("administer").is_none() && Role::named("root").is_none());
    }

    #[test]
    fn what_is_granted_is_the_sum_of_what_each_value_grants_and_nothing_to_strangers() {
        let grant =
            |value: &str, role, added: &[Right]| Grant { value: value.to_owned(), rights: Rights::of(role, added) };
        let grants = [grant("ops", Role::Operator, &[]), grant("support", Role::Viewer, &[Right::Payload])];
        for (values, has) in [
            (&["ops"][..], Some("view replay operate")),
            (&["support", "other"], Some("view payload")),
            (&["support", "ops"], Some("view payload replay operate")),
            (&["Ops", "ops ", ""], None),
            (&[], None),
        ] {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            let found = granted(&grants, &values).map(|rights| rights.words().join(" "));
            assert_eq!(found.as_deref(), has, "{values:?}");
        }
    }

    #[test]
    fn a_password_is_known_again_by_its_hash_and_by_no_other() {
        let made = hash("correct horse battery").unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=32768,t=3,p=1$"), "{made}");
        assert_ne!(made, hash("correct horse battery").unwrap(), "each has a salt of its own");
        let known = PasswordHash::parse(&made).unwrap();
        assert!(known.fits("correct horse battery"));
        assert!(!known.fits("correct horse batterz") && !known.fits(""));
        assert_eq!(format!("{known:?}"), "PasswordHash(…)");
    }

    #[test]
    fn what_is_no_good_hash_is_refused_without_being_told() {
        let salt_and_hash = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (text, why) in [
            ("hunter2-hunter2", "no argon2id hash"),
            ("", "no argon2id hash"),
            ("$argon2id$v=19$m=19456,t=2,p=1", "no argon2id hash"),
            (&format!("$argon2i$v=19$m=65536,t=3,p=1${salt_and_hash}"), "no argon2id hash"),
            (&format!("$argon2id$v=19$m=1024,t=1,p=1${salt_and_hash}"), "too cheap"),
            (&format!("$argon2id$v=19$m=1048576,t=1,p=1${salt_and_hash}"), "too dear"),
            (&format!("$argon2id$v=19$m=19456,t=200,p=1${salt_and_hash}"), "too dear"),
        ] {
            let error = PasswordHash::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        assert!(PasswordHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1${salt_and_hash}")).is_ok());
    }

    #[test]
    fn a_password_that_is_too_short_or_too_long_gets_no_hash() {
        assert!(hash("short").unwrap_err().contains("too short"));
        assert!(hash(&"x".repeat(PASSWORD_BYTES_MAX + 1)).unwrap_err().contains("too long"));
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }
}

//! Logins by way of a provider: what one is made of, and who comes of it. The edge that asks the provider and the side that
//! lets people in both name these.

use std::fmt;

/// What one login is made of, and nobody else knows.
#[derive(Clone)]
pub struct Secrets {
    /// By which the way back is known.
    pub state: String,
    /// By which the provider's token is known.
    pub nonce: String,
    /// By which the provider knows who brings the code.
    pub verifier: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Somebody whom the provider knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What the provider calls them; never the same for two.
    pub subject: String,
    /// What they call themselves, as far as it may be shown.
    pub name: String,
    /// What the role claim holds.
    pub values: Vec<String>,
}

impl Person {
    /// As they stand in the audit log. Names are given by people, and several may have the same.
    #[must_use]
    pub fn known_as(&self) -> String {
        if self.name == self.subject { self.subject.clone() } else { format!("{} ({})", self.name, self.subject) }
    }
}

/// Why nobody logged in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The provider is away, or talks nonsense.
    #[error("{0}")]
    Unavailable(String),
    /// It refuses, or what it says does not count.
    #[error("{0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_apart_and_secrets_are_not_shown() {
        let person = |name: &str| Person { subject: "s-1".to_owned(), name: name.to_owned(), values: Vec::new() };
        assert_eq!(person("Ann").known_as(), "Ann (s-1)");
        assert_eq!(person("s-1").known_as(), "s-1");
        let secrets = Secrets { state: "a".to_owned(), nonce: "b".to_owned(), verifier: "c".to_owned() };
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
    }
}

//! Credentials → the `Authorization` header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::secret::Text;

/// How a destination knows us.
#[derive(Clone, Debug)]
pub enum Auth {
    /// RFC 7617, in UTF-8.
    Basic {
        /// May hold no colon.
        username: Text,
        /// As it is, blanks included.
        password: Text,
    },
    /// RFC 6750.
    Bearer {
        /// Surrounding blanks, such as a file's last line end, are no part of it.
        token: Text,
    },
}

/// Why credentials cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The user name ends at the first colon.
    #[error("the user name has a colon in it, which Basic authentication cannot carry")]
    Colon,
    /// There is nothing to send.
    #[error("the token is empty")]
    Empty,
    /// A header cannot hold it.
    #[error("the token has a line break, a blank or a control character in it")]
    Character,
}

impl Auth {
    /// The header's value, marked as sensitive.
    ///
    /// # Errors
    /// The rule that the credentials break.
    pub fn header(&self) -> Result<HeaderValue, AuthError> {
        let value = match self {
            Self::Basic { username, password } => {
                let username = username.reveal();
                if username.contains(':') {
                    return Err(AuthError::Colon);
                }
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())))
            }
            Self::Bearer { token } => {
                let token = token.reveal();
                match token.trim() {
                    "" => return Err(AuthError::Empty),
                    token if token.contains(char::is_whitespace) => return Err(AuthError::Character),
                    token => format!("Bearer {token}"),
                }
            }
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| AuthError::Character)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The texts that may hold secrets.
    pub(crate) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Basic { username, password } => vec![username, password],
            Self::Bearer { token } => vec![token],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Auth {
        Auth::Basic { username: Text::plain(username), password: Text::plain(password) }
    }

    fn bearer(token: &str) -> Auth {
        Auth::Bearer { token: Text::plain(token) }
    }

    #[test]
    fn credentials_become_one_header() {
        for (auth, expected) in [
            (basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (basic("", ""), "Basic Og=="),
            (basic("jürgen", "a:b"), "Basic asO8cmdlbjphOmI="),
            (bearer(" abc.def-123\n"), "Bearer abc.def-123"),
        ] {
            let value = auth.header().unwrap();
            assert_eq!(value.to_str().unwrap(), expected);
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_in_words() {
        assert_eq!(basic("a:b", "c").header(), Err(AuthError::Colon));
        assert_eq!(bearer(" \n").header(), Err(AuthError::Empty));
        assert_eq!(bearer("a\nb").header(), Err(AuthError::Character));
        assert_eq!(bearer("a\u{1}b").header(), Err(AuthError::Character));
    }
}

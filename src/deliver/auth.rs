//! How a destination knows us: credentials → what they add to a request, and what an answer asks of them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use self::digest::Digest;
use self::ntlm::Ntlm;
use self::oauth::OAuth;
use self::webhook::Webhook;
use crate::secret::Text;

pub mod digest;
pub mod jwt;
pub mod ntlm;
pub mod oauth;
pub mod webhook;

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
    /// A header that the destination asks for, such as `X-Api-Key`.
    Header {
        /// Its name.
        name: String,
        /// Its value; surrounding blanks are no part of it.
        value: Text,
    },
    /// RFC 7616. Clones share what the server asked for last.
    Digest(Arc<Digest>),
    /// A token that is fetched. Clones share it.
    OAuth(Arc<OAuth>),
    /// A signature of each request.
    Webhook(Webhook),
    /// MS-NLMP, over a connection of each call's own.
    Ntlm(Ntlm),
}

/// Why credentials cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The user name ends at the first colon.
    #[error("the user name has a colon in it, which Basic and Digest authentication cannot carry")]
    Colon,
    /// There is nothing to send.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A header cannot hold it.
    #[error("the {0} has a line break, a blank or a control character in it")]
    Character(&'static str),
    /// The name of a header.
    #[error("{0:?} is no header name")]
    Name(String),
    /// A secret that says that it is base64 and is not.
    #[error("a secret that begins with whsec_ is written in base64 behind it, and this one is not")]
    Base64,
    /// The address of a token endpoint.
    #[error("token_url {0:?} is no http or https address without credentials and fragment")]
    Address(String),
    /// Credentials that are not whole.
    #[error("{0}")]
    Missing(&'static str),
}

/// A request as it is about to leave, for credentials that depend on it.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// By which the destination knows the delivery again.
    pub(super) id: &'a str,
    pub(super) body: &'a [u8],
}

/// Headers that credentials add.
pub(super) type Added = Vec<(HeaderName, HeaderValue)>;

/// Credentials, checked and ready to be sent.
#[derive(Clone)]
pub(super) enum Ready {
    None,
    Fixed(HeaderName, HeaderValue),
    Digest(Arc<Digest>),
    Token(Arc<OAuth>),
    Signed(Webhook),
    Ntlm(Ntlm),
}

impl Auth {
    /// Checks them.
    ///
    /// # Errors
    /// The rule that the credentials break.
    pub(super) fn ready(&self) -> Result<Ready, AuthError> {
        Ok(match self {
            Self::Basic { .. } | Self::Bearer { .. } | Self::Header { .. } => {
                let (name, value) = self.fixed()?;
                Ready::Fixed(name, value)
            }
            Self::Digest(digest) => {
                digest.check()?;
                Ready::Digest(Arc::clone(digest))
            }
            Self::OAuth(oauth) => Ready::Token(Arc::clone(oauth)),
            Self::Webhook(webhook) => {
                webhook.check()?;
                Ready::Signed(webhook.clone())
            }
            Self::Ntlm(ntlm) => {
                ntlm.check()?;
                Ready::Ntlm(ntlm.clone())
            }
        })
    }

    /// The one header that is always the same, marked as sensitive.
    fn fixed(&self) -> Result<(HeaderName, HeaderValue), AuthError> {
        match self {
            Self::Basic { username, password } => {
                let username = username.reveal();
                if username.contains(':') {
                    return Err(AuthError::Colon);
                }
                let both = STANDARD.encode(format!("{username}:{}", password.reveal()));
                Ok((header::AUTHORIZATION, sensitive(format!("Basic {both}"), "password")?))
            }
            Self::Bearer { token } => Ok((header::AUTHORIZATION, bearer(&token.reveal())?)),
            Self::Header { name, value } => {
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| AuthError::Name(name.clone()))?;
                match value.reveal().trim() {
                    "" => Err(AuthError::Empty("value")),
                    value => Ok((header, sensitive(value.to_owned(), "value")?)),
                }
            }
            Self::Digest(_) | Self::OAuth(_) | Self::Webhook(_) | Self::Ntlm(_) => {
                Err(AuthError::Missing("they are no one header"))
            }
        }
    }

    /// The texts that may hold secrets.
    pub(crate) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Basic { username, password } => vec![username, password],
            Self::Bearer { token } => vec![token],
            Self::Header { name: _, value } => vec![value],
            Self::Digest(digest) => digest.texts(),
            Self::OAuth(oauth) => oauth.texts(),
            Self::Webhook(webhook) => webhook.texts(),
            Self::Ntlm(ntlm) => ntlm.texts(),
        }
    }
}

/// `Bearer TOKEN`.
fn bearer(token: &str) -> Result<HeaderValue, AuthError> {
    match token.trim() {
        "" => Err(AuthError::Empty("token")),
        token if token.contains(char::is_whitespace) => Err(AuthError::Character("token")),
        token => sensitive(format!("Bearer {token}"), "token"),
    }
}

fn sensitive(value: String, what: &'static str) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| AuthError::Character(what))?;
    value.set_sensitive(true);
    Ok(value)
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

    fn header(name: &str, value: &str) -> Auth {
        Auth::Header { name: name.to_owned(), value: Text::plain(value) }
    }

    #[test]
    fn credentials_become_one_header() {
        for (auth, name, expected) in [
            (basic("Aladdin", "open sesame"), "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (basic("", ""), "authorization", "Basic Og=="),
            (basic("jürgen", "a:b"), "authorization", "Basic asO8cmdlbjphOmI="),
            (bearer(" abc.def-123\n"), "authorization", "Bearer abc.def-123"),
            (header("X-Api-Key", "k 1\n"), "x-api-key", "k 1"),
        ] {
            let (found, value) = auth.fixed().unwrap();
            assert_eq!((found.as_str(), value.to_str().unwrap()), (name, expected));
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_in_words() {
        assert_eq!(basic("a:b", "c").fixed(), Err(AuthError::Colon));
        assert_eq!(bearer(" \n").fixed(), Err(AuthError::Empty("token")));
        assert_eq!(bearer("a\nb").fixed(), Err(AuthError::Character("token")));
        assert_eq!(bearer("a\u{1}b").fixed(), Err(AuthError::Character("token")));
        assert_eq!(header("X-Api-Key", "\n").fixed(), Err(AuthError::Empty("value")));
        assert_eq!(header("X-Api-Key", "a\nb").fixed(), Err(AuthError::Character("value")));
        assert_eq!(header("X Api", "a").fixed(), Err(AuthError::Name("X Api".to_owned())));
    }
}

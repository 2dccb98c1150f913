//! HMAC signatures in the form of Standard Webhooks: id, timestamp and body, signed with each of our secrets.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderName, HeaderValue};

use super::{Added, AuthError, Outgoing};
use crate::clock::Timestamp;
use crate::secret::Text;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What stands before a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// The shortest key that Standard Webhooks allows, in bytes.
pub const KEY_BYTES_MIN: usize = 24;

/// Signs requests.
#[derive(Clone)]
pub struct Webhook {
    /// Each signs every request; two while the secret is being changed.
    pub secrets: Vec<Text>,
}

impl Webhook {
    /// Checks the secrets.
    pub(super) fn check(&self) -> Result<(), AuthError> {
        if self.secrets.is_empty() {
            return Err(AuthError::Empty("list of secrets"));
        }
        self.secrets.iter().try_for_each(|secret| key(secret).map(drop))
    }

    /// Signs a request that leaves now.
    pub(in crate::deliver) fn added(&self, outgoing: &Outgoing<'_>, now: Timestamp) -> Result<Added, String> {
        let timestamp = now.0.div_euclid(1_000).to_string();
        let content = [outgoing.id.as_bytes(), b".", timestamp.as_bytes(), b".", outgoing.body].concat();
        let mut signatures = Vec::new();
        for secret in &self.secrets {
            let key = key(secret).map_err(|error| error.to_string())?;
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content);
            signatures.push(format!("v1,{}", STANDARD.encode(tag.as_ref())));
        }
        let value = |text: &str| HeaderValue::try_from(text).map_err(|_| "the webhook-id is no header".to_owned());
        Ok(vec![(ID, value(outgoing.id)?), (TIMESTAMP, value(&timestamp)?), (SIGNATURE, value(&signatures.join(" "))?)])
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        self.secrets.iter().collect()
    }
}

/// How long the key is that a secret stands for, in bytes; none when it cannot be read.
#[must_use]
pub fn key_bytes(secret: &Text) -> Option<usize> {
    key(secret).ok().map(|key| key.len())
}

/// `whsec_` and base64 as Standard Webhooks writes it; anything else is the key itself, but for blanks around it.
fn key(secret: &Text) -> Result<Vec<u8>, AuthError> {
    let revealed = secret.reveal();
    let text = revealed.trim();
    let key = match text.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| AuthError::Base64)?,
        None => text.as_bytes().to_vec(),
    };
    if key.is_empty() { Err(AuthError::Empty("secret")) } else { Ok(key) }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.secrets).finish()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};

    use super::*;

    #[test]
    fn a_request_is_signed_as_standard_webhooks_does() {
        // The example of the specification's own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let webhook = Webhook { secrets: vec![Text::plain(secret), Text::plain("the other key\n")] };
        let outgoing = Outgoing {
            method: &Method::POST,
            url: &Url::parse("http://h/").unwrap(),
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            body: b"{\"test\": 2432232314}",
        };
        let added = webhook.added(&outgoing, Timestamp(1_614_265_330_999)).unwrap();
        let value = |wanted: &HeaderName| added.iter().find(|(name, _)| name == wanted).unwrap().1.to_str().unwrap();
        assert_eq!(value(&ID), "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(value(&TIMESTAMP), "1614265330");
        let signatures: Vec<&str> = value(&SIGNATURE).split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures[0], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(signatures[0], signatures[1]);
        assert_eq!(key(&Text::plain("the other key\n")), Ok(b"the other key".to_vec()));
    }

    #[test]
    fn a_secret_that_is_no_key_is_refused() {
        for (secret, expected) in
            [("", AuthError::Empty("secret")), ("whsec_", AuthError::Empty("secret")), ("whsec_%", AuthError::Base64)]
        {
            assert_eq!(Webhook { secrets: vec![Text::plain(secret)] }.check(), Err(expected), "{secret}");
        }
        assert_eq!(Webhook { secrets: Vec::new() }.check(), Err(AuthError::Empty("list of secrets")));
    }
}

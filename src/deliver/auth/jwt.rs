//! Signed assertions (RFC 7519, RFC 7523): who asks for a token, signed with RS256 or ES256, as the key has it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::clock::Timestamp;
use crate::secret::Text;
use crate::signing::{Algorithm, Key};

/// How long an assertion is good: what the strictest of the known servers take.
const SECONDS: i64 = 180;

/// What an assertion says, and the key that signs it.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Signs it.
    pub key: Key,
    /// `iss`.
    pub issuer: Text,
    /// `sub`; none: the claim is left out.
    pub subject: Option<Text>,
    /// `aud`.
    pub audience: Text,
    /// `kid` of the header; none: left out.
    pub key_id: Option<Text>,
}

impl Assertion {
    /// Made now, with a number of its own.
    ///
    /// # Errors
    /// When the machine gives no random bytes, or the key does not sign.
    pub(super) fn made(&self, now: Timestamp, id: &str) -> Result<String, String> {
        let now = now.0.div_euclid(1_000);
        let algorithm = match self.key.algorithm() {
            Some(Algorithm::Rsa) => "RS256",
            Some(Algorithm::Ecdsa) => "ES256",
            None => "none",
        };
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        let mut claims = json!({
            "iss": self.issuer.reveal(),
            "aud": self.audience.reveal(),
            "iat": now,
            "exp": now.saturating_add(SECONDS),
            "jti": id,
        });
        for (part, name, text) in
            [(&mut header, "kid", self.key_id.as_ref()), (&mut claims, "sub", self.subject.as_ref())]
        {
            if let (Some(part), Some(text)) = (part.as_object_mut(), text) {
                part.insert(name.to_owned(), text.reveal().into());
            }
        }
        let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.key.sign(content.as_bytes()).ok_or("the private key of jwt_bearer does not sign")?;
        Ok(format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &Text> {
        [&self.issuer, &self.audience].into_iter().chain(&self.subject).chain(&self.key_id)
    }
}

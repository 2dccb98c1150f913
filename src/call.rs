//! A complete, unsent request.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::secret::Text;

/// Everything that goes to a destination, save what is added at the edge: by its credentials an `Authorization` header, and a
/// WS-Security header within the envelope; by traces a `traceparent`.
/// The same delivery mapped with the same configuration gives the same call, byte for byte.
#[derive(Clone, Debug)]
pub struct Call {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The absolute URL.
    pub url: Text,
    /// Headers in the order they are sent: Content-Type, SOAPAction and Idempotency-Key included.
    pub headers: Vec<(String, Text)>,
    /// By which a destination knows the delivery again: the same for every attempt. It goes out where a header is named for
    /// it, and where the credentials sign it.
    pub id: String,
    /// What tells the destination which span of which trace calls it (W3C `traceparent`): of each attempt its own, and no part
    /// of what is sent again byte for byte.
    pub trace: Option<String>,
    /// The body.
    pub body: Bytes,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

/// Headers that carry credentials: a rotated one makes no other call.
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];

impl Call {
    /// SHA-256 of its method, URL, headers and body; secrets in the URL and the headers count by their names, and headers
    /// of credentials not at all. Every part is preceded by its length.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        };
        part(b"omgate call");
        part(self.method.as_bytes());
        part(self.url.masked().as_bytes());
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            if !CREDENTIALS.contains(&name.as_str()) {
                part(name.as_bytes());
                part(value.masked().as_bytes());
            }
        }
        part(&self.body);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            method: "PUT".to_owned(),
            url: Text::plain("http://h/1"),
            headers: vec![("Content-Type".to_owned(), Text::plain("application/json"))],
            id: "key".to_owned(),
            trace: None,
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_hash_is_of_all_that_goes_out_but_credentials_and_time() {
        let with = |name: &str, value: &str| {
            let mut call = call();
            call.headers.push((name.to_owned(), Text::plain(value)));
            call
        };
        let traced = Call { trace: Some("00-1-2-01".to_owned()), ..call() };
        let same =
            [call(), traced, Call { timeout: Duration::from_secs(9), ..call() }, with("Authorization", "Bearer a")];
        assert!(same.iter().all(|other| other.hash() == call().hash()));
        let others = [
            Call { method: "POST".to_owned(), ..call() },
            Call { url: Text::plain("http://h/2"), ..call() },
            Call { body: Bytes::from_static(b"[]"), ..call() },
            with("X-Key", "a"),
            with("X-Key", "b"),
        ];
        let mut hashes: Vec<_> = others.iter().map(Call::hash).chain([call().hash()]).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 6);
    }
}

//! HTTP Digest (RFC 7616): what a 401 asks for, and the answer to it.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{self as sha, SHA256, SHA512_256};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{Url, header};

use super::{Added, AuthError, Outgoing};
use crate::outcome::Response;
use crate::secret::Text;

/// Of so many addresses the last challenge is known; one system has few.
const CHALLENGES_MAX: usize = 64;

/// A user and what the servers of a system asked for last.
pub struct Digest {
    username: Text,
    password: Text,
    challenges: Mutex<HashMap<String, Challenge>>,
}

impl Digest {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new(username: Text, password: Text) -> Self {
        Self { username, password, challenges: Mutex::default() }
    }

    pub(super) fn check(&self) -> Result<(), AuthError> {
        let username = self.username.reveal();
        if username.contains(':') {
            return Err(AuthError::Colon);
        }
        if username.chars().any(char::is_control) { Err(AuthError::Character("user name")) } else { Ok(()) }
    }

    /// What was asked for last at an address, used once more.
    pub(in crate::deliver) fn added(&self, outgoing: &Outgoing<'_>, cnonce: &str) -> Result<Added, String> {
        let mut challenges = self.challenges();
        let Some(challenge) = challenges.get_mut(&origin(outgoing.url)) else { return Ok(Added::new()) };
        challenge.count = challenge.count.wrapping_add(1).max(1);
        let text = challenge.answer(&self.username.reveal(), &self.password.reveal(), outgoing, cnonce);
        let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
            "what the destination asks for with its Digest challenge has characters that no header may carry".to_owned()
        })?;
        value.set_sensitive(true);
        Ok(vec![(header::AUTHORIZATION, value)])
    }

    /// Takes what an answer asks for; none when it asks for nothing that can be answered. Otherwise whether it says that
    /// the answer before was right, and only too old.
    pub(in crate::deliver) fn learn(&self, url: &Url, response: &Response) -> Option<bool> {
        let challenge = (response.status == 401).then(|| Challenge::best(response)).flatten()?;
        let stale = challenge.stale;
        let mut challenges = self.challenges();
        if challenges.len() >= CHALLENGES_MAX {
            challenges.clear();
        }
        challenges.insert(origin(url), challenge);
        Some(stale)
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        vec![&self.username, &self.password]
    }

    fn challenges(&self) -> MutexGuard<'_, HashMap<String, Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").field("username", &self.username).field("password", &self.password).finish()
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A hash function, the better one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Md5,
    Sha256,
    Sha512Of256,
}

impl Hash {
    /// In lower-case hex.
    fn of(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(sha::digest(&SHA256, text.as_bytes()).as_ref()),
            Self::Sha512Of256 => hex(sha::digest(&SHA512_256, text.as_bytes()).as_ref()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a server asks for.
#[derive(Clone, Debug)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// As the server writes it; none when it names none.
    algorithm: Option<String>,
    hash: Hash,
    is_session: bool,
    has_qop: bool,
    has_userhash: bool,
    stale: bool,
    /// How often the nonce was used.
    count: u32,
}

impl Challenge {
    /// The best that can be answered of what an answer asks for.
    fn best(response: &Response) -> Option<Self> {
        let asked = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
        asked.flat_map(|(_, value)| schemes(value)).filter_map(Self::of).max_by_key(|challenge| challenge.hash)
    }

    fn of((scheme, parameters): (String, Vec<(String, String)>)) -> Option<Self> {
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let get = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let is = |wanted: &str| get(wanted).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let algorithm = get("algorithm");
        let (hash, is_session) = match algorithm.as_deref().unwrap_or("MD5").to_ascii_lowercase().as_str() {
            "md5" => (Hash::Md5, false),
            "md5-sess" => (Hash::Md5, true),
            "sha-256" => (Hash::Sha256, false),
            "sha-256-sess" => (Hash::Sha256, true),
            "sha-512-256" => (Hash::Sha512Of256, false),
            "sha-512-256-sess" => (Hash::Sha512Of256, true),
            _ => return None,
        };
        let qop = get("qop");
        let has_qop = qop.is_some();
        // RFC 2069 knows no qop; `auth-int` alone cannot be answered.
        if qop.is_some_and(|qop| !qop.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth"))) {
            return None;
        }
        Some(Self {
            realm: get("realm")?,
            nonce: get("nonce")?,
            opaque: get("opaque"),
            algorithm,
            hash,
            is_session,
            has_qop,
            has_userhash: is("userhash"),
            stale: is("stale"),
            count: 0,
        })
    }

    /// RFC 7616 §3.4: the header's value.
    fn answer(&self, username: &str, password: &str, outgoing: &Outgoing<'_>, cnonce: &str) -> String {
        let of = |text: String| self.hash.of(&text);
        let Self { realm, nonce, .. } = self;
        let uri = target(outgoing.url);
        let mut secret = of(format!("{username}:{realm}:{password}"));
        if self.is_session {
            secret = of(format!("{secret}:{nonce}:{cnonce}"));
        }
        let request = of(format!("{}:{uri}", outgoing.method));
        let count = format!("{:08x}", self.count);
        let response = if self.has_qop {
            of(format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}"))
        } else {
            of(format!("{secret}:{nonce}:{request}"))
        };
        let user = match (self.has_userhash, username.is_ascii()) {
            (true, _) => format!("username=\"{}\"", of(format!("{username}:{realm}"))),
            (false, true) => format!("username={}", quoted(username)),
            (false, false) => format!("username*=UTF-8''{}", utf8_percent_encode(username, NON_ALPHANUMERIC)),
        };
        let mut text = format!(
            "Digest {user}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quoted(realm),
            quoted(nonce),
            quoted(&uri)
        );
        let mut add = |part: String| text.push_str(&part);
        if let Some(algorithm) = &self.algorithm {
            add(format!(", algorithm={algorithm}"));
        }
        if self.has_qop {
            add(format!(", qop=auth, nc={count}"));
        }
        if self.has_qop || self.is_session {
            add(format!(", cnonce={}", quoted(cnonce)));
        }
        if let Some(opaque) = &self.opaque {
            add(format!(", opaque={}", quoted(opaque)));
        }
        if self.has_userhash {
            add(", userhash=true".to_owned());
        }
        text
    }
}

/// Path and query as they stand in the request line.
fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The challenges in one `WWW-Authenticate` (RFC 9110 §11.6.1): scheme, and parameters with names in lower case.
fn schemes(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for item in items(header) {
        let (before, value) =
            item.split_once('=').map_or((item.as_str(), None), |(before, value)| (before, Some(value)));
        let before = before.trim();
        let (scheme, name) = match before.split_once(char::is_whitespace) {
            Some((scheme, name)) => (Some(scheme), name.trim()),
            None if value.is_none() => (Some(before), ""),
            None => (None, before),
        };
        if let Some(scheme) = scheme {
            found.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some((_, parameters)), Some(value)) = (found.last_mut(), value) {
            parameters.push((name.to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found
}

/// What stands between the commas outside of quotes.
fn items(header: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in header.chars() {
        if letter == ',' && !is_quoted {
            items.push(std::mem::take(&mut item));
            continue;
        }
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = is_quoted && letter == '\\' && !is_escaped;
        item.push(letter);
    }
    items.push(item);
    items.retain(|item| !item.trim().is_empty());
    items.iter().map(|item| item.trim().to_owned()).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut text = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        text.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    fn asks(values: &[&str]) -> Response {
        let headers = values.iter().map(|value| ("www-authenticate".to_owned(), (*value).to_owned())).collect();
        Response { status: 401, headers, body: bytes::Bytes::new(), cut: false }
    }

    fn answer(digest: &Digest, cnonce: &str) -> String {
        let url = Url::parse("http://www.example.org/dir/index.html").unwrap();
        let outgoing = Outgoing { method: &Method::GET, url: &url, id: "", body: b"" };
        let added = digest.added(&outgoing, cnonce).unwrap();
        added.first().map(|(_, value)| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_examples_of_the_specification_come_out() {
        let url = Url::parse("http://www.example.org/dir/index.html").unwrap();
        let common = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                      nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                      opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let (sha, md5) = (format!("Digest {common}, algorithm=SHA-256"), format!("Digest {common}, algorithm=MD5"));
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (asked, response, algorithm) in [
            (vec![md5.as_str()], "8ca523f5e9506fed4657c9700eebdbec", "MD5"),
            (
                vec![md5.as_str(), sha.as_str()],
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
                "SHA-256",
            ),
        ] {
            let digest = Digest::new(Text::plain("Mufasa"), Text::plain("Circle of Life"));
            assert_eq!(answer(&digest, cnonce), "", "nothing was asked yet");
            assert_eq!(digest.learn(&url, &asks(&asked)), Some(false));
            let first = answer(&digest, cnonce);
            for part in [
                "username=\"Mufasa\"",
                "realm=\"http-auth@example.org\"",
                "uri=\"/dir/index.html\"",
                "nc=00000001",
                "qop=auth,",
                "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
                &format!("response=\"{response}\""),
                &format!("algorithm={algorithm}"),
            ] {
                assert!(first.contains(part), "{part}: {first}");
            }
            assert!(answer(&digest, cnonce).contains("nc=00000002"), "each use is counted");
        }
    }

    #[test]
    fn userhash_and_other_letters_come_out_as_in_the_specification() {
        let url = Url::parse("http://api.example.org/doe.json").unwrap();
        let digest = Digest::new(Text::plain("J\u{e4}s\u{f8}n Doe"), Text::plain("Secret, or not?"));
        let asked = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
                     nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
                     opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true";
        assert_eq!(digest.learn(&url, &asks(&[asked])), Some(false));
        let outgoing = Outgoing { method: &Method::GET, url: &url, id: "", body: b"" };
        let added = digest.added(&outgoing, "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm").unwrap();
        let text = added[0].1.to_str().unwrap().to_owned();
        assert!(
            text.contains("username=\"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b\""),
            "{text}"
        );
        assert!(text.contains(", userhash=true"), "{text}");
        let plain = asks(&["Digest realm=\"r\", nonce=\"n\""]);
        digest.learn(&url, &plain).unwrap();
        let added = digest.added(&outgoing, "c").unwrap();
        let text = added[0].1.to_str().unwrap().to_owned();
        assert!(text.contains("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"), "{text}");
        assert!(!text.contains("qop") && !text.contains("cnonce"), "as RFC 2069 has it: {text}");
    }

    #[test]
    fn challenges_are_found_among_others_and_only_those_that_can_be_answered() {
        let url = Url::parse("http://h/").unwrap();
        for (asked, expected) in [
            (vec!["Negotiate", "NTLM", "Digest realm=\"a, b=c\", nonce=\"x\\\"y\", stale=TRUE"], Some(true)),
            (vec!["Basic realm=\"x\", Digest nonce=n,realm=r, qop=auth"], Some(false)),
            (vec!["Negotiate abc==, digest realm=\"r\", nonce=\"n\""], Some(false)),
            (vec!["Basic realm=\"Digest nonce=1\""], None),
            (vec!["Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\""], None),
            (vec!["Digest realm=\"r\", nonce=\"n\", algorithm=SHA-3"], None),
            (vec!["Digest realm=\"r\""], None),
            (vec!["Digest"], None),
            (vec![""], None),
            (vec!["\"", ",,=,= =", "Digest \\"], None),
        ] {
            let digest = Digest::new(Text::plain("u"), Text::plain("p"));
            assert_eq!(digest.learn(&url, &asks(&asked)), expected, "{asked:?}");
        }
        let digest = Digest::new(Text::plain("u"), Text::plain("p"));
        assert_eq!(digest.learn(&url, &Response { status: 403, ..asks(&["Digest realm=r, nonce=n"]) }), None);
        assert_eq!(Digest::new(Text::plain("a:b"), Text::plain("")).check(), Err(AuthError::Colon));
        assert!(!format!("{digest:?}").contains("realm"));
    }
}

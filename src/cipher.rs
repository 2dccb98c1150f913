//! What is sealed for the disk: AES-256-GCM, each value with the id of its key.
//!
//! A sealed value is text: U+0001, `1:`, the key's id, `:`, and base64url of nonce, ciphertext and tag. Each value has a
//! nonce of 24 bytes, the first half of which makes the value's own key out of the configured one (HKDF-SHA-256), and the
//! second half of which is the nonce of AES-256-GCM: so random nonces never meet, however many values one key seals. What
//! has to be found by its value is sealed with a nonce that is made of it (HMAC-SHA-256), so equal values look equal. The
//! kind of value is bound to it: what was sealed as one thing is not opened as another.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{digest, error};
use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{alphabet, engine::DecodePaddingMode};

/// Before every sealed value: no XML and no text of a person begins with it.
const MARK: &str = "\u{1}1:";
/// The first character of what is not as it looks, and what stands before a text in clear that begins with it: nothing that
/// comes from outside is taken for sealed.
const FIRST: char = '\u{1}';
const IN_CLEAR: &str = "\u{1}0:";
/// The bytes of a key.
const KEY_BYTES: usize = 32;
/// The bytes of a nonce: the half that makes a value's key, and the half that AES-GCM takes.
const NONCE_BYTES: usize = 24;
const HALF: usize = 12;
/// The longest id of a key.
pub const KEY_ID_MAX: usize = 32;

/// Base64 of people: with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its id.
    #[error("{0:?} is no id of a key: write 1 to {KEY_ID_MAX} letters, digits, `-`, `_` or `.`")]
    Id(String),
    /// Its bytes.
    #[error("is no key: it must be {KEY_BYTES} bytes in base64 or hexadecimal, as `openssl rand -base64 32` makes one")]
    Bytes,
}

/// Why a sealed value is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Its key is not among those that are configured.
    #[error("it was encrypted with key {0:?}, which [store.encryption] keys does not have")]
    UnknownKey(String),
    /// It is not what was written.
    #[error("it does not decrypt with key {0:?}: it was changed, or that is another key under the same id")]
    Broken(String),
    /// The operating system gives no random numbers, or the library failed.
    #[error("it could not be encrypted")]
    Failed,
}

/// The keys, and which one seals what is written from now on.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<String, Key>,
    active: Option<String>,
}

#[derive(Clone)]
struct Key {
    bytes: [u8; KEY_BYTES],
    /// Makes the nonces of what is found by its value.
    equal: [u8; KEY_BYTES],
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys.keys()).field("active", &self.active).finish()
    }
}

/// Equal when they seal and open the same.
impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        let same = |(id, key): (&String, &Key)| other.keys.get(id).is_some_and(|other| other.bytes == key.bytes);
        self.active == other.active && self.keys.len() == other.keys.len() && self.keys.iter().all(same)
    }
}

impl Eq for Keyring {}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    fn new(text: &str) -> Result<Self, KeyError> {
        let bytes = bytes_of(text.trim()).ok_or(KeyError::Bytes)?;
        let mut equal = [0; KEY_BYTES];
        derive(&bytes, b"", b"omgate equal values 1", &mut equal).map_err(|_| KeyError::Bytes)?;
        Ok(Self { bytes, equal })
    }

    /// What seals the values whose nonce begins with `half`.
    fn of(&self, half: &[u8]) -> Result<LessSafeKey, error::Unspecified> {
        let mut bytes = [0; KEY_BYTES];
        derive(&self.bytes, half, b"omgate value 1", &mut bytes)?;
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes)?))
    }

    /// The nonce that is made of a value: the first step of HKDF is an HMAC of it under the key that stands for the salt.
    fn nonce_of(&self, kind: &str, text: &str) -> Result<[u8; NONCE_BYTES], error::Unspecified> {
        let mut value = Vec::with_capacity(8 + kind.len() + text.len());
        value.extend_from_slice(&u64::try_from(kind.len()).unwrap_or(u64::MAX).to_be_bytes());
        value.extend_from_slice(kind.as_bytes());
        value.extend_from_slice(text.as_bytes());
        let mut nonce = [0; NONCE_BYTES];
        derive(&value, &self.equal, b"omgate nonce 1", &mut nonce)?;
        Ok(nonce)
    }

    fn seal_equal(&self, id: &str, kind: &str, text: &str) -> Result<String, error::Unspecified> {
        self.seal(id, kind, self.nonce_of(kind, text)?, text)
    }

    fn seal(&self, id: &str, kind: &str, nonce: [u8; NONCE_BYTES], text: &str) -> Result<String, error::Unspecified> {
        let (half, rest) = nonce.split_at(HALF);
        let mut sealed = Vec::with_capacity(NONCE_BYTES + text.len() + 16);
        sealed.extend_from_slice(text.as_bytes());
        let nonce_of_gcm = Nonce::try_assume_unique_for_key(rest)?;
        self.of(half)?.seal_in_place_append_tag(nonce_of_gcm, Aad::from(kind.as_bytes()), &mut sealed)?;
        sealed.splice(0..0, nonce);
        let mut written = String::with_capacity(MARK.len() + id.len() + 1 + sealed.len() * 4 / 3 + 4);
        written.push_str(MARK);
        written.push_str(id);
        written.push(':');
        URL_SAFE_NO_PAD.encode_string(&sealed, &mut written);
        Ok(written)
    }

    fn open(&self, kind: &str, encoded: &str) -> Option<String> {
        let mut sealed = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let nonce: [u8; NONCE_BYTES] = sealed.get(..NONCE_BYTES)?.try_into().ok()?;
        let (half, rest) = nonce.split_at(HALF);
        let nonce_of_gcm = Nonce::try_assume_unique_for_key(rest).ok()?;
        let opened =
            self.of(half).ok()?.open_within(nonce_of_gcm, Aad::from(kind.as_bytes()), &mut sealed, NONCE_BYTES..);
        String::from_utf8(opened.ok()?.to_vec()).ok()
    }
}

fn derive(key: &[u8], salt: &[u8], info: &[u8], into: &mut [u8]) -> Result<(), error::Unspecified> {
    let drawn: Prk = Salt::new(HKDF_SHA256, salt).extract(key);
    drawn.expand(&[info], Length(into.len()))?.fill(into)
}

/// A key as people write it: hexadecimal, or base64 of either alphabet, padded or not.
fn bytes_of(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() == KEY_BYTES * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digits: Vec<u8> =
            text.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
        let bytes: Vec<u8> =
            digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
        return bytes.try_into().ok();
    }
    let alphabets = [alphabet::STANDARD, alphabet::URL_SAFE];
    let read = |alphabet: &alphabet::Alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
    alphabets.iter().find_map(read)?.try_into().ok()
}

/// Whether a text may be the id of a key.
fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= KEY_ID_MAX && id.bytes().all(fits)
}

/// The id of the key that a value was sealed with, and its content; none: it was not sealed.
fn parts(written: &str) -> Option<(&str, &str)> {
    let (id, encoded) = written.strip_prefix(MARK)?.split_once(':')?;
    is_id(id).then_some((id, encoded))
}

/// A text that is written in clear.
fn in_clear(text: String) -> String {
    if text.starts_with(FIRST) { format!("{IN_CLEAR}{text}") } else { text }
}

/// Whether a text may have been written otherwise than it is read.
#[must_use]
pub fn is_marked(written: &str) -> bool {
    written.starts_with(FIRST)
}

/// The id of the key that a value was sealed with; none: it stands in clear.
#[must_use]
pub fn key_of(written: &str) -> Option<&str> {
    parts(written).map(|(id, _)| id)
}

impl Keyring {
    /// Adds a key: 32 bytes as base64 or hexadecimal.
    ///
    /// # Errors
    /// When the id or the key is none.
    pub fn add(&mut self, id: &str, key: &str) -> Result<(), KeyError> {
        if !is_id(id) {
            return Err(KeyError::Id(id.to_owned()));
        }
        self.keys.insert(id.to_owned(), Key::new(key)?);
        Ok(())
    }

    /// Has what is written from now on sealed with this key; whether there is such a key.
    pub fn activate(&mut self, id: &str) -> bool {
        let is_known = self.keys.contains_key(id);
        if is_known {
            self.active = Some(id.to_owned());
        }
        is_known
    }

    /// Whether there is no key at all: then everything is written and read as it stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The ids of the keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The id of the key that seals what is written; none: it is written in clear.
    #[must_use]
    pub fn active(&self) -> Option<&str> {
        self.active.as_deref()
    }

    fn sealing(&self) -> Option<(&str, &Key)> {
        let id = self.active.as_deref()?;
        Some((id, self.keys.get(id)?))
    }

    /// Seals a text of some kind. An empty one stays empty.
    ///
    /// # Errors
    /// When there are no random numbers to be had.
    pub fn seal(&self, kind: &str, text: String) -> Result<String, CipherError> {
        let Some((id, key)) = self.sealing().filter(|_| !text.is_empty()) else { return Ok(in_clear(text)) };
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CipherError::Failed)?;
        key.seal(id, kind, nonce, &text).map_err(|_| CipherError::Failed)
    }

    /// Seals a text so that an equal one of the same kind looks equal under the same key.
    ///
    /// # Errors
    /// When the library fails.
    pub fn seal_equal(&self, kind: &str, text: String) -> Result<String, CipherError> {
        let Some((id, key)) = self.sealing().filter(|_| !text.is_empty()) else { return Ok(in_clear(text)) };
        key.seal_equal(id, kind, &text).map_err(|_| CipherError::Failed)
    }

    /// All that a text which is found by its value may be written as, under any of the keys or in clear.
    #[must_use]
    pub fn equals(&self, kind: &str, text: &str) -> Vec<String> {
        let sealed = self.keys.iter().filter_map(|(id, key)| key.seal_equal(id, kind, text).ok());
        sealed.chain([in_clear(text.to_owned())]).collect()
    }

    /// Opens what was written. What was never sealed comes back as it is.
    ///
    /// # Errors
    /// When its key is unknown, or it was changed.
    pub fn open(&self, kind: &str, written: String) -> Result<String, CipherError> {
        if let Some(text) = written.strip_prefix(IN_CLEAR) {
            return Ok(text.to_owned());
        }
        let Some((id, encoded)) = parts(&written) else { return Ok(written) };
        let key = self.keys.get(id).ok_or_else(|| CipherError::UnknownKey(id.to_owned()))?;
        key.open(kind, encoded).ok_or_else(|| CipherError::Broken(id.to_owned()))
    }

    /// Whether a value is written otherwise than it would be now.
    #[must_use]
    pub fn is_outdated(&self, written: &str) -> bool {
        !written.is_empty() && key_of(written) != self.active()
    }

    /// What tells a key from another one under the same id, and says nothing else of it.
    #[must_use]
    pub fn proof(&self, id: &str) -> Option<String> {
        let key = self.keys.get(id)?;
        let mut bytes = [0; KEY_BYTES];
        derive(&key.bytes, b"", b"omgate proof 1", &mut bytes).ok()?;
        Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TWO: &str = "//////////////////////////////////////////8=";

    fn ring(active: &str) -> Keyring {
        let mut ring = Keyring::default();
        ring.add("one", ONE).unwrap();
        ring.add("two", TWO).unwrap();
        assert!(active.is_empty() || ring.activate(active));
        ring
    }

    #[test]
    fn what_was_sealed_is_opened_and_is_not_to_be_seen() {
        let ring = ring("one");
        for text in ["€", "Jane Doe", "<a>é漢</a>", "\0\u{1}1:one:"] {
            let sealed = ring.seal("xml", text.to_owned()).unwrap();
            assert_eq!(key_of(&sealed), Some("one"));
            assert!(!sealed.contains(text));
            assert_ne!(ring.seal("xml", text.to_owned()).unwrap(), sealed, "no two look the same");
            assert_eq!(ring.open("xml", sealed).unwrap(), text);
        }
        assert_eq!(ring.seal("xml", String::new()).unwrap(), "", "nothing stays nothing");
    }

    #[test]
    fn what_was_changed_or_stands_for_something_else_is_not_opened() {
        let ring = ring("one");
        let sealed = ring.seal("xml", "Jane Doe".to_owned()).unwrap();
        let broken = Err(CipherError::Broken("one".to_owned()));
        assert_eq!(ring.open("reason", sealed.clone()), broken);
        for place in sealed.len() - 60..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'Q' } else { b'A' };
            assert_eq!(ring.open("xml", String::from_utf8(bytes).unwrap()), broken, "at {place}");
        }
        assert_eq!(ring.open("xml", sealed[..sealed.len() - 4].to_owned()), broken);
        assert_eq!(ring.open("xml", "\u{1}1:one:".to_owned()), broken);
        let other = sealed.replacen("one", "two", 1);
        assert_eq!(ring.open("xml", other), Err(CipherError::Broken("two".to_owned())));
        let gone = sealed.replacen("one", "old", 1);
        assert_eq!(ring.open("xml", gone), Err(CipherError::UnknownKey("old".to_owned())));
    }

    #[test]
    fn what_stands_in_clear_is_read_as_it_is() {
        let (with, without) = (ring("two"), Keyring::default());
        for text in ["plain", "", "1:one:x", "\u{1}", "\u{1}1:", "\u{1}1:a b:x"] {
            assert_eq!(with.open("xml", text.to_owned()).unwrap(), text);
        }
        // Whatever comes from outside is read as it came, also what looks as if it had been sealed.
        for text in ["plain", "", "\u{1}", "\u{1}1:k9:AAAA", "\u{1}0:x", "\u{1}0:\u{1}1:one:AAAA"] {
            for ring in [&with, &without, &ring("")] {
                for sealed in
                    [ring.seal("xml", text.to_owned()).unwrap(), ring.seal_equal("xml", text.to_owned()).unwrap()]
                {
                    assert_eq!(with.open("xml", sealed.clone()).unwrap(), text);
                    assert!(!sealed.starts_with("\u{1}1:k9:"), "{sealed:?}");
                }
            }
        }
        assert!(with.is_outdated("plain") && !with.is_outdated(""));
        assert!(!without.is_outdated("plain"));
    }

    #[test]
    fn equal_values_are_found_under_every_key() {
        let (before, after) = (ring("one"), ring("two"));
        let sealed = before.seal_equal("kept", "4711".to_owned()).unwrap();
        assert_eq!(before.seal_equal("kept", "4711".to_owned()).unwrap(), sealed);
        assert_ne!(before.seal_equal("kept", "4712".to_owned()).unwrap(), sealed);
        assert_ne!(before.seal_equal("repeat", "4711".to_owned()).unwrap(), sealed);
        assert!(after.equals("kept", "4711").contains(&sealed));
        assert!(after.equals("kept", "4711").contains(&"4711".to_owned()));
        assert!(after.is_outdated(&sealed) && !before.is_outdated(&sealed));
        assert_eq!(after.open("kept", sealed).unwrap(), "4711");
    }

    #[test]
    fn a_key_is_32_bytes_and_tells_itself_from_others() {
        let mut ring = Keyring::default();
        for key in [
            ONE,
            &ONE.to_uppercase(),
            TWO,
            TWO.trim_end_matches('='),
            &TWO.replace('/', "_"),
            " //////////////////////////////////////////8=\n",
        ] {
            assert_eq!(ring.add("k", key), Ok(()), "{key}");
        }
        for key in ["", "secret", &ONE[2..], "0g0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"] {
            assert_eq!(ring.add("k", key), Err(KeyError::Bytes), "{key}");
        }
        for id in ["", "a b", "a:b", "ä", &"k".repeat(33)] {
            assert_eq!(ring.add(id, ONE), Err(KeyError::Id(id.to_owned())));
        }
        let mut other = Keyring::default();
        other.add("k", ONE).unwrap();
        assert_ne!(ring.proof("k"), other.proof("k"));
        assert!(!format!("{ring:?}").contains("////"));
        assert_eq!(ring.proof("x"), None);
    }
}

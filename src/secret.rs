//! Text with secrets inside: what is sent carries the value, what is shown carries the reference.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// A configured text in which `${NAME}` and `${file:PATH}` stand for secrets.
#[derive(Clone, Default)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    Plain(String),
    Secret { reference: String, value: SecretString },
}

/// A piece of a [`Text`].
#[derive(Debug)]
pub enum Piece<'a> {
    /// May be shown.
    Plain(&'a str),
    /// The reference that is shown, and the value that is sent.
    Secret(&'a str, &'a SecretString),
}

impl Text {
    /// A text without secrets.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Plain(text.into())] }
    }

    /// Adds text that may be shown.
    pub fn push_plain(&mut self, text: &str) {
        if let Some(Part::Plain(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else {
            self.parts.push(Part::Plain(text.to_owned()));
        }
    }

    /// Adds a secret: `reference` (such as `${ERP_TOKEN}`) is shown in its place.
    pub fn push_secret(&mut self, reference: impl Into<String>, value: SecretString) {
        self.parts.push(Part::Secret { reference: reference.into(), value });
    }

    /// The text as it is sent, secrets in clear. For the wire only.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.as_str(),
                Part::Secret { value, .. } => value.expose_secret(),
            })
            .collect()
    }

    /// The text with secrets in clear, each one changed first, such as escaped for where it stands.
    #[must_use]
    pub fn reveal_with(&self, change: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.clone(),
                Part::Secret { value, .. } => change(value.expose_secret()),
            })
            .collect()
    }

    /// Its pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Plain(text) => Piece::Plain(text),
            Part::Secret { reference, value } => Piece::Secret(reference, value),
        })
    }

    /// Adds another text at the end.
    pub fn push_text(&mut self, other: &Self) {
        for piece in other.pieces() {
            match piece {
                Piece::Plain(text) => self.push_plain(text),
                Piece::Secret(reference, value) => self.push_secret(reference, value.clone()),
            }
        }
    }

    /// The text as it may be shown: references in place of secrets.
    #[must_use]
    pub fn masked(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.as_str(),
                Part::Secret { reference, .. } => reference.as_str(),
            })
            .collect()
    }

    /// Whether nothing in it is secret.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Plain(_)))
    }

    /// The secrets in it, with their references.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Secret { reference, value } => Some((reference.as_str(), value)),
        })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Takes known secret values out of text that is kept or shown: as they are, and as XML, JSON, URLs, Base64 and hexadecimal
/// numbers write them, for whoever repeats what it was sent repeats it in such a form.
#[derive(Clone, Default)]
pub struct Mask {
    /// Every form of every secret.
    secrets: Vec<(String, SecretString)>,
}

impl Mask {
    /// A shorter value is no secret worth the damage its replacement would do to ordinary text.
    const LENGTH_MIN: usize = 4;
    /// The same of what is left of one in Base64, and of one in hexadecimal digits.
    const ENCODED_LENGTH_MIN: usize = 8;

    /// A mask over all secrets given.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let long = secrets.into_iter().filter(|(_, value)| value.expose_secret().len() >= Self::LENGTH_MIN);
        Self::over(long.flat_map(|(reference, value)| {
            let forms = forms(value.expose_secret());
            forms.into_iter().map(move |form| (reference.clone(), SecretString::from(form)))
        }))
    }

    /// A mask over the secrets of both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self::over(self.secrets.iter().chain(&other.secrets).cloned())
    }

    /// The longest first, so that one inside another is not left half shown.
    fn over(secrets: impl Iterator<Item = (String, SecretString)>) -> Self {
        let mut secrets: Vec<_> = secrets.collect();
        let value = |secret: &(String, SecretString)| secret.1.expose_secret().to_owned();
        secrets.sort_by_cached_key(|secret| (std::cmp::Reverse(secret.1.expose_secret().len()), value(secret)));
        secrets.dedup_by(|one, other| one.1.expose_secret() == other.1.expose_secret());
        Self { secrets }
    }

    /// The text with every known secret value replaced by its reference.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, (reference, value)| {
            if text.contains(value.expose_secret()) { text.replace(value.expose_secret(), reference) } else { text }
        })
    }
}

/// What RFC 3986 leaves as it is.
const IN_URLS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A secret as it may stand in a text, itself first.
fn forms(plain: &str) -> Vec<String> {
    let mut forms = vec![plain.to_owned()];
    let in_xml = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = in_xml.replace('"', "&quot;");
    let in_url = utf8_percent_encode(plain, IN_URLS).to_string();
    let in_form = in_url.replace("%20", "+");
    let in_json = serde_json::Value::from(plain).to_string();
    forms.extend([quoted.replace('\'', "&apos;"), quoted.replace('\'', "&#39;"), quoted, in_xml]);
    forms.extend([lower_escapes(&in_url), in_url, in_form]);
    forms.extend(
        in_json.get(1..in_json.len() - 1).map(|text| [text.replace('/', "\\/"), text.to_owned()]).into_iter().flatten(),
    );
    let hex: String = plain.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = [hex.to_uppercase(), hex].into_iter().chain((0..3).flat_map(|before| in_base64(plain, before)));
    forms.extend(encoded.filter(|form| form.len() >= Mask::ENCODED_LENGTH_MIN));
    forms
}

/// `%2F` as `%2f`.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        lower.push('%');
        lower.push_str(&digits.to_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// What is to be seen of a secret in the Base64, of either alphabet, of a text in which so many bytes, by threes, stand
/// before it: the characters that nothing but the secret decides.
fn in_base64(plain: &str, before: usize) -> [String; 2] {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(plain.bytes()).collect();
    let first = [0, 2, 3].get(before).copied().unwrap_or_default();
    let own = |encoded: String| encoded.get(first..bytes.len() * 8 / 6).unwrap_or_default().to_owned();
    [own(STANDARD_NO_PAD.encode(&bytes)), own(URL_SAFE_NO_PAD.encode(&bytes))]
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms of secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_but_never_shown() {
        let mut text = Text::plain("Bearer ");
        text.push_secret("${TOKEN}", SecretString::from("s3cr3t"));
        assert_eq!(text.reveal(), "Bearer s3cr3t");
        assert_eq!(format!("{text} {text:?}"), "Bearer ${TOKEN} \"Bearer ${TOKEN}\"");
        assert!(!text.is_plain());
    }

    #[test]
    fn a_mask_replaces_the_longest_secret_first() {
        let mask = Mask::new([
            ("${A}".to_owned(), SecretString::from("pass")),
            ("${B}".to_owned(), SecretString::from("password")),
            ("${C}".to_owned(), SecretString::from("x")),
        ]);
        assert_eq!(mask.apply("password pass x"), "${B} ${A} x");
    }

    #[test]
    fn a_mask_knows_a_secret_as_xml_writes_it() {
        let mask = Mask::new([("${A}".to_owned(), SecretString::from("a&b<c>"))]);
        assert_eq!(mask.apply("a&b<c> <p>a&amp;b&lt;c&gt;</p>"), "${A} <p>${A}</p>");
    }

    #[test]
    fn a_mask_knows_a_secret_in_every_form_in_which_it_may_be_repeated() {
        let secret = "s3cr/t \"w\u{f6}rd'&+";
        let mask = Mask::new([("${A}".to_owned(), SecretString::from(secret))]);
        let hex = "733363722f74202277c3b67264";
        for (text, masked) in [
            (secret, "${A}"),
            ("{\"a\": \"s3cr/t \\\"w\u{f6}rd'&+\"}", "{\"a\": \"${A}\"}"),
            ("s3cr\\/t \\\"w\u{f6}rd'&+", "${A}"),
            ("<a b=\"s3cr/t &quot;w\u{f6}rd'&amp;+\"/>", "<a b=\"${A}\"/>"),
            ("s3cr/t &quot;w\u{f6}rd&apos;&amp;+", "${A}"),
            ("s3cr/t &quot;w\u{f6}rd&#39;&amp;+", "${A}"),
            ("?a=s3cr%2Ft%20%22w%C3%B6rd%27%26%2B&b", "?a=${A}&b"),
            ("?a=s3cr%2ft%20%22w%c3%b6rd%27%26%2b&b", "?a=${A}&b"),
            ("a=s3cr%2Ft+%22w%C3%B6rd%27%26%2B", "a=${A}"),
            (&format!("{hex}27262b."), "${A}."),
            (&format!("{}27262B.", hex.to_uppercase()), "${A}."),
        ] {
            assert_eq!(mask.apply(text), masked, "{text}");
        }
        for user in ["", "u", "us", "use", "user:"] {
            for more in ["", "x", "xy"] {
                let text = format!("{user}{secret}{more}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let masked = mask.apply(&format!("Basic {encoded} x"));
                    assert!(masked.contains("${A}"), "{masked}");
                    assert!(masked.len() < "Basic ${A} x".len() + 2 + (user.len() + more.len()) * 2 + 4, "{masked}");
                }
            }
        }
        assert_eq!(mask.with(&mask).secrets.len(), mask.secrets.len());
    }

    #[test]
    fn a_mask_leaves_words_alone_that_only_look_like_a_short_secret() {
        let mask = Mask::new([("${A}".to_owned(), SecretString::from("door"))]);
        assert_eq!(mask.apply("ZG9vcg 646f6f72 door"), "ZG9vcg ${A} ${A}");
    }
}

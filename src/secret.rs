//! Text with secrets inside: what is sent carries the value, what is shown carries the reference.

use std::fmt;

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

/// Takes known secret values out of text that is kept or shown.
#[derive(Clone, Default)]
pub struct Mask {
    secrets: Vec<(String, SecretString)>,
}

impl Mask {
    /// A shorter value is no secret worth the damage its replacement would do to ordinary text.
    const LENGTH_MIN: usize = 4;

    /// A mask over all secrets given, the longest first so that one inside another is not left half shown.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let long = secrets.into_iter().filter(|(_, value)| value.expose_secret().len() >= Self::LENGTH_MIN);
        let mut secrets: Vec<_> = long.flat_map(|secret| [escaped(&secret), Some(secret)]).flatten().collect();
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.expose_secret().len()));
        Self { secrets }
    }

    /// A mask over the secrets of both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self::new(self.secrets.iter().chain(&other.secrets).cloned())
    }

    /// The text with every known secret value replaced by its reference.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, (reference, value)| {
            if text.contains(value.expose_secret()) { text.replace(value.expose_secret(), reference) } else { text }
        })
    }
}

/// The secret as it stands in XML, when that is something else.
fn escaped((reference, value): &(String, SecretString)) -> Option<(String, SecretString)> {
    let plain = value.expose_secret();
    let text = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    (text != plain).then(|| (reference.clone(), SecretString::from(text)))
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} secrets)", self.secrets.len())
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
}

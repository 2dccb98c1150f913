//! Text as PostgreSQL can keep it: it knows no U+0000, so that one is written in another way and read back as it was.

use std::borrow::Cow;

/// Stands before what is written in another way.
const ESCAPE: char = '\u{1a}';

/// The text as it is written.
pub(super) fn written(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => written.extend([ESCAPE, '0']),
            ESCAPE => written.extend([ESCAPE, '1']),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

/// The text as it was.
pub(super) fn read(written: String) -> String {
    if !written.contains(ESCAPE) {
        return written;
    }
    let mut text = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => match characters.next() {
                Some('0') => text.push('\0'),
                Some('1') | None => text.push(ESCAPE),
                Some(other) => text.extend([ESCAPE, other]),
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        for text in ["", "plain ä", "a\0b", "\u{1a}", "\u{1a}0\0\u{1a}", "\0\0"] {
            let written = written(text).into_owned();
            assert!(!written.contains('\0'));
            assert_eq!(read(written), text);
        }
    }
}

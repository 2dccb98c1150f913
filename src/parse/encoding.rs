//! Bytes → text: which encoding a document is in, as XML 1.0 appendix F has it.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED};

use super::ParseError;
use super::lexical;

/// Only this much is searched for the XML declaration.
const DECLARATION_MAX: usize = 1_024;

/// Decodes a document. `charset` is the one of the Content-Type, if it names one.
///
/// A byte order mark decides (and is taken away), then the pattern that UTF-16 makes, then `charset`, then the XML
/// declaration; without any of them it is UTF-8. Two things are forgiven, because both happen and both have one reading
/// only: a `charset` of UTF-8 when the bytes are not UTF-8 and the declaration names another encoding (then the declaration
/// is believed), and a declaration of UTF-16 on a text that is plainly not (then it is UTF-8). An unknown `charset` is passed
/// over. ISO-8859-1 and US-ASCII are read as windows-1252, as the WHATWG's Encoding Standard has it: they differ only in
/// 0x80–0x9F, which no sender means as control characters.
///
/// # Errors
/// The encoding is not known, or the bytes are not in it.
pub fn decode<'a>(body: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, ParseError> {
    if let Some((encoding, mark)) = Encoding::for_bom(body) {
        return decode_as(encoding, body.get(mark..).unwrap_or_default(), mark);
    }
    if let Some(encoding) = wide(body) {
        return decode_as(encoding, body, 0);
    }
    let declared = declared(body);
    match charset.and_then(|charset| supported(charset.trim().trim_matches(['"', '\'']))) {
        Some(encoding) if encoding == UTF_8 => {
            decode_as(UTF_8, body, 0).or_else(|error| match declared_encoding(declared) {
                Ok(encoding) if encoding != UTF_8 => decode_as(encoding, body, 0),
                Ok(_) | Err(_) => Err(error),
            })
        }
        // Bytes without the pattern of UTF-16 are not UTF-16, whatever the header says.
        Some(encoding) if !is_wide(encoding) => decode_as(encoding, body, 0),
        Some(_) | None => decode_as(declared_encoding(declared)?, body, 0),
    }
}

/// Decodes as [`decode`], and where that fails as well as can be.
pub(crate) fn decode_lossy(body: &[u8]) -> Cow<'_, str> {
    decode(body, None).unwrap_or_else(|_| match wide(body) {
        Some(encoding) => encoding.decode_without_bom_handling(body).0,
        None => Encoding::for_bom(body).map_or(UTF_8, |(encoding, _)| encoding).decode(body).0,
    })
}

/// UTF-16 without a byte order mark: what a document begins with, beside a zero.
fn wide(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [b'<' | b' ' | b'\t' | b'\r' | b'\n', 0, ..] => Some(UTF_16LE),
        [0, b'<' | b' ' | b'\t' | b'\r' | b'\n', ..] => Some(UTF_16BE),
        _ => None,
    }
}

fn is_wide(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

/// An encoding that can be decoded.
fn supported(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).filter(|&encoding| encoding != REPLACEMENT && encoding != X_USER_DEFINED)
}

/// The name in the XML declaration, if there is one.
fn declared(body: &[u8]) -> Option<String> {
    if !body.starts_with(b"<?xml") {
        return None;
    }
    let head = body.get(..DECLARATION_MAX).unwrap_or(body);
    // The declaration ends at the first `>`: most of every envelope need not be looked at for this.
    let head = head.split_inclusive(|&byte| byte == b'>').next().unwrap_or(head);
    let head = String::from_utf8_lossy(head);
    lexical::declared_encoding(&head).map(str::to_owned)
}

fn declared_encoding(declared: Option<String>) -> Result<&'static Encoding, ParseError> {
    let Some(name) = declared else { return Ok(UTF_8) };
    match supported(&name) {
        Some(encoding) if is_wide(encoding) => Ok(UTF_8),
        Some(encoding) => Ok(encoding),
        None if matches!(name.to_ascii_lowercase().as_str(), "ucs-2" | "iso-10646-ucs-2" | "csunicode") => Ok(UTF_8),
        None => Err(ParseError::UnknownEncoding(lexical::length(&name))),
    }
}

/// `skipped` bytes before `bytes` were a byte order mark.
fn decode_as<'a>(encoding: &'static Encoding, bytes: &'a [u8], skipped: usize) -> Result<Cow<'a, str>, ParseError> {
    let malformed = |at: usize| ParseError::Encoding { encoding: encoding.name(), offset: skipped + at };
    if encoding == UTF_8 {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| malformed(error.valid_up_to()));
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let capacity = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(bytes.len());
    let mut text = String::with_capacity(capacity);
    let (result, read) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
    match result {
        DecoderResult::InputEmpty => Ok(Cow::Owned(text)),
        DecoderResult::Malformed(wrong, after) => {
            Err(malformed(read.saturating_sub(usize::from(wrong) + usize::from(after))))
        }
        DecoderResult::OutputFull => Err(malformed(read)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn the_byte_order_mark_wins_then_the_charset_then_the_declaration() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xE9</a>";
        let cases: Vec<(Vec<u8>, Option<&str>, &str)> = vec![
            ("<a>é</a>".into(), None, "<a>é</a>"),
            ("\u{FEFF}<a>é</a>".into(), Some("iso-8859-1"), "<a>é</a>"),
            (utf16("\u{FEFF}<a>é😀</a>", u16::to_le_bytes), Some("utf-8"), "<a>é😀</a>"),
            (utf16("\u{FEFF}<a>é</a>", u16::to_be_bytes), None, "<a>é</a>"),
            (utf16("<a>é</a>", u16::to_le_bytes), Some("UTF-16"), "<a>é</a>"),
            (utf16("<a>é</a>", u16::to_be_bytes), Some("utf-16"), "<a>é</a>"),
            (b"<a>\xE9</a>".to_vec(), Some("ISO-8859-1"), "<a>é</a>"),
            (b"<a>\x80</a>".to_vec(), Some("latin1"), "<a>€</a>"),
            (latin.to_vec(), None, "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>"),
            (latin.to_vec(), Some("\"utf-8\""), "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>"),
            (latin.to_vec(), Some("klingon"), "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>"),
            (
                "<?xml version='1.0' encoding='UTF-16'?><a>é</a>".into(),
                None,
                "<?xml version='1.0' encoding='UTF-16'?><a>é</a>",
            ),
            ("<a>é</a>".into(), Some("UTF-16"), "<a>é</a>"),
            (utf16("\n<a>é</a>", u16::to_be_bytes), Some("UTF-16"), "\n<a>é</a>"),
            (Vec::new(), None, ""),
        ];
        for (body, charset, expected) in cases {
            assert_eq!(decode(&body, charset).unwrap(), expected, "{charset:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_in_the_encoding_are_refused_with_their_offset() {
        let mut unpaired = utf16("\u{FEFF}<a>", u16::to_le_bytes);
        unpaired.extend([0x00, 0xD8, b'x', 0]);
        let mut odd = utf16("<a/>", u16::to_be_bytes);
        odd.push(b'x');
        let cases: [(&[u8], Option<&str>, &str, usize); 5] = [
            (b"<a>\xE9</a>", None, "UTF-8", 3),
            (b"\xEF\xBB\xBF<a>\xFF", None, "UTF-8", 6),
            (b"<a>\xE9</a>", Some("utf-8"), "UTF-8", 3),
            (&unpaired, None, "UTF-16LE", 8),
            (&odd, None, "UTF-16BE", 8),
        ];
        for (body, charset, encoding, offset) in cases {
            assert_eq!(decode(body, charset), Err(ParseError::Encoding { encoding, offset }));
        }
    }

    #[test]
    fn an_unknown_encoding_is_named() {
        let body = b"<?xml version='1.0' encoding='UTF-7'?><a/>";
        assert_eq!(decode(body, None), Err(ParseError::UnknownEncoding("5 characters".to_owned())));
    }
}

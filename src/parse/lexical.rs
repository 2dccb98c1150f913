//! The productions of XML 1.0 (5th edition) and Namespaces 1.0 that concern single characters and names.

use std::borrow::Cow;

/// XML 1.0 §2.2, production 2.
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// The offset of the first character that no XML document may hold.
pub(crate) fn illegal_char(text: &str) -> Option<usize> {
    const BLOCK: usize = 64;
    let is_control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    // A fold over a block has no early exit, so the compiler makes vector instructions of it.
    let control = text.as_bytes().chunks(BLOCK).enumerate().find_map(|(number, block)| {
        if !block.iter().fold(false, |found, &byte| found | is_control(byte)) {
            return None;
        }
        block.iter().position(|&byte| is_control(byte)).map(|at| number * BLOCK + at)
    });
    [control, noncharacter(text)].into_iter().flatten().min()
}

/// The first U+FFFE or U+FFFF: in UTF-8 both begin with a byte that most texts hold nowhere.
fn noncharacter(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(0xEF, bytes).find(|&at| matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])))
}

/// XML 1.0 §2.3, production 3.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The text without surrounding XML white space.
pub(crate) fn trim(text: &str) -> &str {
    let text = trim_start(text);
    let blanks = text.bytes().rev().take_while(|&byte| is_space(byte)).count();
    text.get(..text.len() - blanks).unwrap_or_default()
}

/// The ASCII characters of names, a bit each.
const PLAIN: u128 = {
    let (mut plain, mut byte) = (0, 0_u8);
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            plain |= 1 << byte;
        }
        byte += 1;
    }
    plain
};

/// A name without colon: Namespaces 1.0 §3, production 4.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.iter().all(|&byte| byte < 128 && PLAIN >> byte & 1 == 1) {
        return bytes.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    }
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(|c| is_name_start(c) || is_name_rest(c))
}

/// Prefix (empty when there is none) and local part: Namespaces 1.0 §4, production 7.
pub(crate) fn qualified_name(name: &str) -> Option<(&str, &str)> {
    let (prefix, local) = match parts_at(name, memchr::memchr(b':', name.as_bytes())) {
        Some((prefix, local)) if is_plain_name(prefix) => (prefix, local),
        Some(_) => return None,
        None => ("", name),
    };
    is_plain_name(local).then_some((prefix, local))
}

/// What stands before and after the ASCII character at an offset.
fn parts_at(text: &str, at: Option<usize>) -> Option<(&str, &str)> {
    at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)))
}

/// What stands before and after the first occurrence of an ASCII character.
pub(crate) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    parts_at(text, memchr::memchr(byte, text.as_bytes()))
}

/// The text without the white space that it begins with.
pub(crate) fn trim_start(text: &str) -> &str {
    let blanks = text.bytes().take_while(|&byte| is_space(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// What comes before the first white space.
pub(crate) fn first_word(text: &str) -> &str {
    text.bytes().position(is_space).and_then(|at| text.get(..at)).unwrap_or(text)
}

/// Prefixes that everybody uses for what an outbound message is made of.
const USUAL_PREFIXES: [&str; 10] = ["soapenv", "soap", "env", "sf", "xsd", "xs", "xsi", "xml", "xmlns", "SOAP-ENV"];

/// A prefix for people: by its name where that is nobody's content.
pub(crate) fn prefix(prefix: &str) -> String {
    if USUAL_PREFIXES.contains(&prefix) {
        format!("the prefix {prefix}")
    } else {
        format!("a prefix ({})", length(prefix))
    }
}

/// How long a text is, for people who may not see it.
pub(crate) fn length(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".to_owned(),
        count => format!("{count} characters"),
    }
}

/// XML 1.0 §2.3, production 4, less the colon.
fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

/// What production 4a adds to production 4.
fn is_name_rest(c: char) -> bool {
    matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// What `&name;` stands for: a character reference or one of the five predefined entities.
pub(crate) fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None; // from_str_radix would take a sign
    }
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|&c| is_char(c))
}

/// Line ends as XML 1.0 §2.11: CR LF and lone CR become LF.
pub(crate) fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// The value of an attribute as XML 1.0 §3.3.3: references resolved, white space to blanks. The raw text was checked.
pub(crate) fn attribute_value(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| matches!(byte, b'&' | b'\t' | b'\n' | b'\r')) {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let text = line_ends(raw);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find(['&', '\t', '\n']) {
        let (before, special) = rest.split_at(at);
        value.push_str(before);
        let name = special.strip_prefix('&').map(|name| name.split_once(';').map_or(name, |(name, _)| name));
        let (character, used) = match name {
            Some(name) => (reference(name).unwrap_or(char::REPLACEMENT_CHARACTER), name.len() + 2),
            None => (' ', 1),
        };
        value.push(character);
        rest = special.get(used..).unwrap_or_default();
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// Checks what stands between `<?xml` and `?>`: XML 1.0 §2.8, production 23.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn declaration(content: &str) -> Result<(), &'static str> {
    let mut rest = content;
    match pseudo_attribute(&mut rest)? {
        Some(("version", "1.0")) => {}
        Some(("version", _)) => return Err("only version \"1.0\" of XML is supported"),
        _ => return Err("the XML declaration does not begin with the version"),
    }
    let mut next = pseudo_attribute(&mut rest)?;
    if let Some(("encoding", name)) = next {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err("the encoding in the XML declaration is no encoding name");
        }
        next = pseudo_attribute(&mut rest)?;
    }
    if let Some(("standalone", value)) = next {
        if !matches!(value, "yes" | "no") {
            return Err("standalone in the XML declaration is neither yes nor no");
        }
        next = pseudo_attribute(&mut rest)?;
    }
    match next {
        None => Ok(()),
        Some(_) => Err("the XML declaration holds something other than version, encoding, standalone, in this order"),
    }
}

/// The encoding that an XML declaration at the start of the text names.
pub(crate) fn declared_encoding(text: &str) -> Option<&str> {
    let (content, _) = text.strip_prefix("<?xml")?.split_once("?>")?;
    let mut rest = content;
    while let Ok(Some((name, value))) = pseudo_attribute(&mut rest) {
        if name == "encoding" {
            return Some(value);
        }
    }
    None
}

/// Takes ` name="value"` off the front; none when only white space is left.
fn pseudo_attribute<'a>(rest: &mut &'a str) -> Result<Option<(&'a str, &'a str)>, &'static str> {
    const WRONG: &str = "the XML declaration is not of the form <?xml version=\"1.0\" encoding=\"…\"?>";
    let text = trim_start(rest);
    if text.is_empty() {
        *rest = text;
        return Ok(None);
    }
    if text.len() == rest.len() {
        return Err(WRONG); // no white space before it
    }
    let (name, value) = split_at_byte(text, b'=').ok_or(WRONG)?;
    let value = trim_start(value);
    let quote = value.bytes().next().filter(|byte| matches!(byte, b'"' | b'\'')).ok_or(WRONG)?;
    let (value, after) = value.get(1..).and_then(|value| split_at_byte(value, quote)).ok_or(WRONG)?;
    *rest = after;
    Ok(Some((trim(name), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_fifth_edition() {
        for name in ["a", "_", "A-1.b", "é", "a·b", "名前", "x\u{10400}"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", "1a", "-a", ".a", "a b", "a:b", "·a", "a×b", "a\u{37E}"] {
            assert!(!is_plain_name(name), "{name}");
        }
        assert_eq!(qualified_name("sf:Id"), Some(("sf", "Id")));
        assert_eq!(qualified_name("Id"), Some(("", "Id")));
        for name in [":a", "a:", "a:b:c", "a:1", ":", "1:a"] {
            assert_eq!(qualified_name(name), None, "{name}");
        }
    }

    #[test]
    fn references_are_the_five_entities_and_legal_characters() {
        for (name, c) in [("amp", '&'), ("#13", '\r'), ("#x20AC", '€'), ("#x1F600", '😀'), ("#0000065", 'A')] {
            assert_eq!(reference(name), Some(c), "{name}");
        }
        for name in
            ["", "nbsp", "#", "#x", "#X41", "#0", "#1", "#xD800", "#xFFFE", "#x110000", "#+65", "#-1", "#99999999999"]
        {
            assert_eq!(reference(name), None, "{name}");
        }
    }

    #[test]
    fn attribute_values_are_normalised() {
        assert_eq!(attribute_value("plain"), "plain");
        assert_eq!(attribute_value("a\r\nb\tc\rd"), "a b c d");
        assert_eq!(attribute_value("&lt;&#10;&#x9;&amp;amp;x"), "<\n\t&amp;x");
    }

    #[test]
    fn line_ends_become_line_feeds() {
        assert_eq!(line_ends("a\r\nb\rc\r\r\nd\n"), "a\nb\nc\n\nd\n");
    }

    #[test]
    fn declarations_hold_version_encoding_standalone_in_this_order() {
        for content in [" version=\"1.0\"", " version = '1.0' encoding='UTF-8' standalone=\"no\" "] {
            assert_eq!(declaration(content), Ok(()), "{content}");
        }
        for content in [
            "",
            " ",
            " version=\"1.1\"",
            " version=\"1.0\"encoding=\"UTF-8\"",
            " encoding=\"UTF-8\" version=\"1.0\"",
            " version=\"1.0\" encoding=\"\"",
            " version=\"1.0\" encoding=\"a/b\"",
            " version=\"1.0\" standalone=\"maybe\"",
            " version=\"1.0\" standalone=\"yes\" encoding=\"UTF-8\"",
            " version=1.0",
            " version=\"1.0'",
            " version=\"1.0\" x",
            " VERSION=\"1.0\"",
            " version=\"1.0\" version=\"1.0\"",
        ] {
            assert!(declaration(content).is_err(), "{content}");
        }
        assert_eq!(declared_encoding("<?xml version='1.0' encoding='latin1'?><a/>"), Some("latin1"));
        assert_eq!(declared_encoding("<a/>"), None);
    }

    #[test]
    fn illegal_characters_are_found_wherever_they_stand() {
        for (text, at) in [("ab\u{1}", Some(2)), ("\u{FFFE}", Some(0)), ("a\t\r\n€\u{7F}\u{85}", None), ("", None)] {
            assert_eq!(illegal_char(text), at, "{text:?}");
        }
        let long = format!("{}\u{FFFF}\u{B}", "x".repeat(100));
        assert_eq!(illegal_char(&long), Some(100));
    }
}

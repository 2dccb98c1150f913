//! Takes the `SessionId` out of a POST that is kept although it was refused.
//!
//! A `SessionId` is a credential, and what is refused may be no XML at all: so this looks for tags in text, and where it is in
//! doubt it takes away too much. What looks like a `SessionId` goes too, wherever it stands.

use super::encoding::decode_lossy;

const NAME: &str = "SessionId";

/// The text of a POST less what its `SessionId` elements hold: works on anything, well-formed or not.
///
/// Any prefix and any case of letters counts. Without an end tag everything to the end goes.
#[must_use]
pub fn without_session_id(body: &[u8]) -> String {
    let text = decode_lossy(body);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(tag) = next_tag(rest) {
        let end = tag.from + tag.length;
        if tag.kind != Kind::Start {
            kept.push_str(rest.get(..end).unwrap_or_default());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        kept.push_str(rest.get(..tag.from).unwrap_or_default());
        kept.push('<');
        kept.push_str(tag.name);
        kept.push('>');
        rest = after_content(rest.get(end..).unwrap_or_default());
    }
    kept.push_str(rest);
    without_tokens(kept)
}

/// Takes away what has the form of a `SessionId`: an organization's id of 15 or 18 characters, `!`, and the secret.
fn without_tokens(text: String) -> String {
    let mut kept = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices('!') {
        let before = text.get(..at).unwrap_or_default();
        let is_organization = [15, 18].into_iter().any(|length| {
            let id = at.checked_sub(length).and_then(|start| before.get(start..));
            id.is_some_and(|id| id.starts_with("00D") && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        });
        if is_organization && at >= from {
            let secret = text.get(at + 1..).unwrap_or_default();
            let length =
                secret.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')).count();
            kept.push_str(text.get(from..=at).unwrap_or_default());
            from = at + 1 + length;
        }
    }
    if from == 0 {
        return text;
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    kept
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    End,
    Empty,
}

struct Tag<'a> {
    kind: Kind,
    name: &'a str,
    from: usize,
    length: usize,
}

/// What follows the content of a `SessionId` element, from its end tag on; nothing when it has none.
fn after_content(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(from) = rest.find('<') else { break };
        let here = rest.get(from..).unwrap_or_default();
        if let Some((opening, closing)) = opaque(here) {
            let Some(length) = here.get(opening.len()..).and_then(|inner| inner.find(closing)) else { break };
            at += from + opening.len() + length + closing.len();
            continue;
        }
        let Some(tag) = tag_at(here) else {
            at += from + 1;
            continue;
        };
        match tag.kind {
            Kind::Start => depth += 1,
            Kind::Empty => {}
            Kind::End if depth == 0 => return rest.get(from..).unwrap_or_default(),
            Kind::End => depth -= 1,
        }
        at += from + tag.length;
    }
    ""
}

/// Sections in which a tag is no tag.
fn opaque(text: &str) -> Option<(&'static str, &'static str)> {
    [("<![CDATA[", "]]>"), ("<!--", "-->")].into_iter().find(|(opening, _)| text.starts_with(opening))
}

fn next_tag(text: &str) -> Option<Tag<'_>> {
    text.match_indices('<').find_map(|(from, _)| {
        let tag = tag_at(text.get(from..).unwrap_or_default())?;
        Some(Tag { from, ..tag })
    })
}

/// The `SessionId` tag at the start of the text, if one stands there. A tag that does not end reaches to the end.
fn tag_at(text: &str) -> Option<Tag<'_>> {
    let inner = text.strip_prefix('<')?;
    let (closing, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
    // Ends at the next tag at the latest, so that a text full of `<` takes no more than linear time.
    let name = inner.split(['>', '/', '<', ' ', '\t', '\n', '\r']).next()?;
    let local = name.rsplit(':').next().unwrap_or(name);
    if !local.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let start = text.len() - inner.len() + name.len();
    let Some(length) = tag_end(text.get(start..)?) else {
        return Some(Tag { kind: Kind::Start, name, from: 0, length: text.len() });
    };
    let end = start + length;
    let is_empty = text.get(..end).is_some_and(|tag| tag.ends_with("/>"));
    let kind = match (closing, is_empty) {
        (true, _) => Kind::End,
        (false, true) => Kind::Empty,
        (false, false) => Kind::Start,
    };
    Some(Tag { kind, name, from: 0, length: end })
}

/// The length up to and with the `>` that is in no quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_session_id_is_taken_away() {
        for (body, expected) in [
            ("<a><SessionId>secret</SessionId></a>", "<a><SessionId></SessionId></a>"),
            ("<p:SessionId x='1>'>secret</p:SessionId >", "<p:SessionId></p:SessionId >"),
            ("<SessionId>secret", "<SessionId>"),
            ("<SessionId secret", "<SessionId>"),
            ("<SessionId x='>secret</SessionId>", "<SessionId>"),
            ("<SessionId/>kept", "<SessionId/>kept"),
            ("<SessionId xsi:nil=\"true\" />kept<b/>", "<SessionId xsi:nil=\"true\" />kept<b/>"),
            ("<SessionId a='/>'>secret</SessionId>", "<SessionId></SessionId>"),
            ("<SessionId>secret</other>secret</SessionId>kept", "<SessionId></SessionId>kept"),
            ("<SessionId><![CDATA[</SessionId>]]>secret</SessionId>kept", "<SessionId></SessionId>kept"),
            ("<SessionId><!-- </SessionId> -->secret</SessionId>kept", "<SessionId></SessionId>kept"),
            ("<SessionId><SessionId>secret</SessionId>secret</SessionId>kept", "<SessionId></SessionId>kept"),
            ("<SESSIONID>secret</sessionid>kept", "<SESSIONID></sessionid>kept"),
            (
                "<SessionId>secret</SessionId>x<q:SessionId>secret</q:SessionId>y",
                "<SessionId></SessionId>x<q:SessionId></q:SessionId>y",
            ),
            ("<SessionIds>kept</SessionIds> < <> </ <:SessionId", "<SessionIds>kept</SessionIds> < <> </ <:SessionId>"),
            ("</SessionId>kept", "</SessionId>kept"),
            ("&lt;SessionId&gt;00D24000000abcd!AR_se.cret&lt;", "&lt;SessionId&gt;00D24000000abcd!&lt;"),
            (
                "x=00D24000000abcdEAA!s&00D24000000abcd!s 00D!kept ab!kept",
                "x=00D24000000abcdEAA!&00D24000000abcd! 00D!kept ab!kept",
            ),
            ("", ""),
        ] {
            assert_eq!(without_session_id(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn any_encoding_and_any_bytes_are_read() {
        let text = "\u{FEFF}<a><SessionId>secret</SessionId>é</a>";
        let mut wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(without_session_id(&wide), "<a><SessionId></SessionId>é</a>");
        wide.push(b'x');
        assert!(!without_session_id(&wide).contains("secret"));
        let bare: Vec<u8> = "<SessionId>secret\u{20}".encode_utf16().flat_map(u16::to_be_bytes).chain([0xD8]).collect();
        assert!(!without_session_id(&bare).contains("secret"));
        assert_eq!(
            without_session_id(b"\xFF<SessionId>secret</SessionId>\xC3"),
            "\u{FFFD}<SessionId></SessionId>\u{FFFD}"
        );
    }

    #[test]
    fn a_hostile_text_takes_linear_time() {
        for unit in [
            "<",
            "<SessionId>",
            "<SessionId x='",
            "</SessionId>",
            "<!--",
            "<SessionId><![CDATA[",
            "<aaaaaaaaaaaaaaaaaaaaaaaa:",
        ] {
            let body = unit.repeat((1 << 20) / unit.len());
            assert!(without_session_id(body.as_bytes()).len() <= body.len() + 1);
        }
    }
}

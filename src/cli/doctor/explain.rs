//! `omgate doctor explain`: one of Salesforce's own error texts in plain words.

use std::process::ExitCode;

use serde_json::json;

use super::texts::{ENTRIES, Entry};
use crate::cli::print;

/// Of texts that may be meant, so many are told.
const NEAREST: usize = 3;
/// More of a text is not looked at.
const TEXT_MAX: usize = 4_000;
/// As near as this, a text is taken for the one that is known.
const SAME: f64 = 0.93;

/// Prints what is behind a text; exit code 1 when it is not known.
pub(super) fn run(text: &str, is_json: bool) -> ExitCode {
    let known = meant(text);
    let nearest = if known.is_some() { Vec::new() } else { nearest(text) };
    if is_json {
        let near: Vec<&str> = nearest.iter().map(|entry| entry.text).collect();
        let entry = known.map(
            |entry| json!({ "text": entry.text, "cause": entry.cause, "look": entry.look, "advice": entry.advice }),
        );
        print::json(&json!({ "known": known.is_some(), "entry": entry, "nearest": near }));
    } else if let Some(entry) = known {
        print::line(&in_words(entry));
    } else {
        let near: Vec<String> = nearest.iter().map(|entry| format!("  {}", entry.text)).collect();
        print::note(&format!("this text is not known; the nearest that are:\n{}", near.join("\n")));
    }
    if known.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn in_words(entry: &Entry) -> String {
    let Entry { text, cause, look, advice, .. } = entry;
    format!("{text}\n\ncause:      {cause}\nwhere:      {look}\nwhat to do: {advice}")
}

fn small(text: &str) -> String {
    let small = text.chars().take(TEXT_MAX).collect::<String>().to_lowercase().replace('\u{2019}', "'");
    small.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The one that a text is: by a piece that it has, else by being spelled nearly so.
fn meant(text: &str) -> Option<&'static Entry> {
    let text = small(text);
    let has = |piece: &&str| piece.split('&').all(|part| text.contains(part));
    let by_piece = ENTRIES.iter().find(|entry| entry.pieces.iter().any(&has));
    by_piece.or_else(|| ENTRIES.iter().find(|entry| likeness(&text, entry) >= SAME))
}

fn nearest(text: &str) -> Vec<&'static Entry> {
    let text = small(text);
    let mut all: Vec<(f64, &Entry)> = ENTRIES.iter().map(|entry| (likeness(&text, entry), entry)).collect();
    all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    all.into_iter().take(NEAREST).map(|(_, entry)| entry).collect()
}

fn likeness(text: &str, entry: &Entry) -> f64 {
    let whole = small(entry.text);
    let pieces = entry.pieces.iter().copied().filter(|piece| !piece.contains('&'));
    pieces.chain([whole.as_str()]).map(|known| strsim::jaro_winkler(text, known)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_as_setup_shows_them_are_known_cut_off_or_not() {
        for (text, expected) in [
            ("SOAP response was a nack", "SOAP response was a nack"),
            ("soap response was a NACK.", "SOAP response was a nack"),
            ("org.xml.sax.SAXParseException: Content is not allowed in prolog.", "Content is not allowed in prolog"),
            ("org.xml.sax.SAXParseException; lineNumber: 1; Premature end of file.", "Premature end of file"),
            ("org.xml.sax.SAXParseException: The element type \"meta\" must be", "org.xml.sax.SAXParseException: …"),
            ("javax.net.ssl.SSLPeerUnverifiedException: peer not authenticated", "peer not authenticated"),
            ("sun.security.validator.ValidatorException: PKIX path building fai", "PKIX path building failed"),
            ("unable to find valid certification path to requested target", "PKIX path building failed"),
            ("PKIX path validation failed: java.security.cert.CertificateExpiredException: NotAfter: Mon", "Expired"),
            ("java.net.SocketTimeoutException: Read timed out", "Read timed out"),
            ("connect timed out", "connect timed out"),
            ("java.net.ConnectException: Connection refused (Connection refused)", "Connection refused"),
            ("java.net.SocketException: Connection reset", "Connection reset"),
            ("java.net.SocketException: Unexpected end of file from server", "Unexpected end of file"),
            ("(302) Moved Temporarily", "(302) Moved"),
            ("Transport error (401) Unauthorized", "(401) Unauthorized"),
            ("(403) Forbidden", "(403) Forbidden"),
            ("(404)Not Found", "(404) Not Found"),
            ("(405) Method Not Allowed", "(405) Method"),
            ("(413) Request Entity Too Large", "(413) Request"),
            ("(500) Internal Server Error", "(500) Internal"),
            ("(502) Bad Gateway", "(502) Bad Gateway"),
            ("(503)", "(502) Bad Gateway"),
            ("java.net.UnknownHostException: hook.example.com", "UnknownHostException"),
            ("Unexpected element. Parser was expecting element 'http://schemas…:Envelope'", "Unexpected element"),
            ("Bad envelope tag: html", "Unexpected element"),
            ("Received fatal alert: handshake_failure", "handshake_failure"),
            ("Received fatal alert: certificate_unknown", "bad_certificate"),
            ("The domain name hook.example.com wasn\u{2019}t in the supported set", "hostname in certificate"),
            ("Address does not match ip-ranges", "Address does not match ip-ranges"),
            ("Unrecognized SSL message, plaintext connection?", "plaintext connection"),
            // A slip of the pen.
            ("SOAP respons was a nak", "SOAP response was a nack"),
        ] {
            let found = meant(text).unwrap_or_else(|| panic!("{text:?} is not known"));
            assert!(found.text.contains(expected), "{text:?} is taken for {:?}", found.text);
        }
    }

    #[test]
    fn what_is_not_known_has_neighbours_and_no_explanation() {
        for text in ["", "the moon is full", "insufficient access rights on cross-reference id"] {
            assert_eq!(meant(text), None, "{text:?}");
            assert_eq!(nearest(text).len(), NEAREST);
        }
    }

    #[test]
    fn every_entry_can_be_found_by_its_own_text_and_says_everything() {
        assert!(ENTRIES.len() >= 18, "{}", ENTRIES.len());
        for entry in ENTRIES {
            assert_eq!(meant(entry.text), Some(entry), "{} is hidden by another", entry.text);
            for part in [entry.cause, entry.look, entry.advice] {
                assert!(part.len() > 10, "{}", entry.text);
            }
            for piece in entry.pieces {
                assert_eq!(small(piece), *piece, "pieces are in small letters");
            }
        }
    }
}

//! The W3C's XML conformance suite against the parser's gate: what is malformed is refused, what is well-formed is not.
//!
//! The suite is no part of the project. The tests read it at `../shared/corpus/xml/w3c-xmlconf.tar.gz` and say so when it
//! is not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that meets the unexpected fails, and one that is skipped says so"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use omgate::parse::{ParseError, decode, well_formed};

/// Malformed documents without DTD that the gate accepts, each with the reason.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "errata-2e/E61.xml",
        "declares UTF-16 and is ASCII: programs that write to strings do so, and it has one reading only",
    ),
    ("misc/007.xml", "a UTF-8 byte order mark and a declaration of ISO-8859-1: the mark wins (XML 1.0 appendix F)"),
    ("misc/008.xml", "a UTF-16 byte order mark and a declaration of UTF-8: the mark wins (XML 1.0 appendix F)"),
    ("xml-1.1/016.xml", "a name that editions 1 to 4 of XML 1.0 forbid, and the fifth allows"),
    ("xml-1.1/019.xml", "a name that editions 1 to 4 of XML 1.0 forbid, and the fifth allows"),
];

/// Well-formed documents without DTD that the gate refuses, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("oasis/p04pass1.xml", "a colon in a name that is no prefix: not namespace-well-formed"),
    ("oasis/p05pass1.xml", "a colon in a name that is no prefix: not namespace-well-formed"),
];

const DEPTH: usize = 1_000;

/// Path in the archive → bytes.
type Files = BTreeMap<String, Vec<u8>>;

/// A test of a catalogue.
struct Case {
    kind: String,
    /// `XML1.1`, `NS1.0` …; empty for XML 1.0.
    recommendation: String,
    path: String,
}

fn suite() -> Option<Files> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/xml/w3c-xmlconf.tar.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: {} is not there", path.display());
        return None;
    };
    let mut files = Files::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    Some(files)
}

/// Every test of every catalogue whose document is in the archive.
fn cases(files: &Files) -> Vec<Case> {
    let test = regex::Regex::new(r"<TEST\s([^>]*)>").unwrap();
    let attribute = regex::Regex::new(r#"([A-Z]+)\s*=\s*["']([^"']*)["']"#).unwrap();
    let mut cases = Vec::new();
    for (catalogue, bytes) in files.iter().filter(|(name, _)| name.ends_with(".xml")) {
        let text = String::from_utf8_lossy(bytes);
        for found in test.captures_iter(&text) {
            let attributes: BTreeMap<&str, &str> = attribute
                .captures_iter(found.get(1).unwrap().as_str())
                .map(|pair| (pair.get(1).unwrap().as_str(), pair.get(2).unwrap().as_str()))
                .collect();
            let value = |name: &str| attributes.get(name).copied().unwrap_or_default();
            let path = format!("{}/{}", catalogue.rsplit_once('/').unwrap().0, value("URI"));
            if files.contains_key(&path) {
                let (kind, recommendation) = (value("TYPE").to_owned(), value("RECOMMENDATION").to_owned());
                cases.push(Case { kind, recommendation, path });
            }
        }
    }
    cases.sort_by(|one, other| one.path.cmp(&other.path));
    cases.dedup_by(|one, other| one.path == other.path);
    cases
}

fn gate(bytes: &[u8]) -> Result<(), ParseError> {
    well_formed(&decode(bytes, None)?, DEPTH)
}

/// Whether a document type declaration is in it, outside of comments and processing instructions. UTF-16 is read by leaving
/// out its zeros.
fn has_doctype(bytes: &[u8]) -> bool {
    let without_zeros: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != 0).collect();
    let text = String::from_utf8_lossy(&without_zeros);
    text.match_indices("<!DOCTYPE").any(|(at, _)| {
        let before = &text[..at];
        [("<!--", "-->"), ("<?", "?>"), ("<![CDATA[", "]]>")]
            .iter()
            .all(|(open, close)| before.rfind(open) <= before.rfind(close))
    })
}

fn named(list: &[(&'static str, &'static str)], path: &str) -> bool {
    list.iter().any(|(end, _)| path.ends_with(end))
}

#[test]
fn malformed_documents_without_a_dtd_are_refused() {
    let Some(files) = suite() else { return };
    let malformed: Vec<Case> =
        cases(&files).into_iter().filter(|case| case.kind == "not-wf" && !has_doctype(&files[&case.path])).collect();
    let accepted: Vec<&str> =
        malformed.iter().filter(|case| gate(&files[&case.path]).is_ok()).map(|case| case.path.as_str()).collect();
    println!("{} malformed documents without DTD, {} accepted: {accepted:#?}", malformed.len(), accepted.len());
    assert!(malformed.len() >= 235);
    assert!(accepted.len() <= 5);
    assert_eq!(accepted.len(), ACCEPTED.len());
    assert!(accepted.iter().all(|path| named(ACCEPTED, path)));
}

#[test]
fn documents_with_a_dtd_are_refused() {
    let Some(files) = suite() else { return };
    let mut count = 0;
    for case in cases(&files).iter().filter(|case| has_doctype(&files[&case.path])) {
        count += 1;
        assert!(gate(&files[&case.path]).is_err(), "{} is accepted", case.path);
    }
    assert!(count > 1_500);
}

#[test]
fn well_formed_documents_without_a_dtd_are_accepted() {
    let Some(files) = suite() else { return };
    let mut count = 0;
    let mut refused = Vec::new();
    for case in cases(&files) {
        let bytes = &files[&case.path];
        let is_one = matches!(case.kind.as_str(), "valid" | "invalid");
        if !is_one || has_doctype(bytes) || case.recommendation.ends_with("1.1") {
            continue;
        }
        count += 1;
        if let Err(error) = gate(bytes) {
            refused.push(format!("{}: {error}", case.path));
        }
    }
    println!("{count} well-formed documents without DTD, {} refused: {refused:#?}", refused.len());
    assert!(count > 20);
    assert!(refused.iter().all(|line| REFUSED.iter().any(|(end, _)| line.contains(end))));
}

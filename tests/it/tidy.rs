//! The walls of the house: which module may use which, where each external crate may appear, how files are laid out.
//!
//! The sources are read as text. Comments and literals are blanked first, and so is test code: a test may borrow a
//! neighbour to build its input, the path of a message may not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Top-level module → the top-level modules it may use. Whatever is not written here is forbidden.
///
/// Values first, then what the stages share, the stages, the drivers, and those who compose.
const WALLS: &[(&str, &[&str])] = &[
    // Values that travel: no I/O, and nothing of a stage.
    ("account", &[]),
    ("certificate", &["clock"]),
    ("cipher", &[]),
    ("clock", &[]),
    ("crash", &[]),
    ("disk", &[]),
    ("facts", &[]),
    ("fields", &[]),
    ("pretty", &[]),
    ("login", &[]),
    ("mutation", &[]),
    ("person", &[]),
    ("secret", &[]),
    ("signing", &["certificate"]),
    ("envelope", &[]),
    ("delivery", &[]),
    ("call", &["secret"]),
    ("outcome", &[]),
    // What the stages share. `parse` is the gate through which XML comes, so others may ask it too.
    ("expression", &["clock", "envelope", "outcome", "secret"]),
    ("wsdl", &["envelope", "parse"]),
    ("soap", &["clock", "outcome", "secret", "signing", "wsdl"]),
    // The stages, in the order of the path. None names another.
    ("receive", &["certificate", "clock", "envelope", "secret", "soap"]),
    ("parse", &["envelope"]),
    ("stale", &["envelope"]),
    ("route", &["delivery", "envelope", "expression", "stale"]),
    ("store", &["cipher", "clock", "crash", "delivery", "disk", "mutation", "outcome", "secret", "stale"]),
    ("map", &["call", "expression", "outcome", "secret", "soap", "wsdl"]),
    (
        "deliver",
        &[
            "call",
            "certificate",
            "clock",
            "crash",
            "disk",
            "expression",
            "login",
            "outcome",
            "secret",
            "signing",
            "soap",
        ],
    ),
    ("settle", &["clock", "mutation", "outcome"]),
    ("why", &["clock", "delivery"]),
    ("issue", &["clock", "delivery"]),
    ("masking", &["envelope", "expression", "map", "parse"]),
    // The two drivers walk the stages.
    (
        "intake",
        &[
            "certificate",
            "clock",
            "crash",
            "delivery",
            "envelope",
            "expression",
            "facts",
            "mutation",
            "parse",
            "receive",
            "route",
            "store",
            "telemetry",
        ],
    ),
    (
        "dispatch",
        &[
            "call",
            "clock",
            "crash",
            "deliver",
            "delivery",
            "envelope",
            "expression",
            "map",
            "mutation",
            "outcome",
            "parse",
            "secret",
            "settle",
            "soap",
            "stale",
            "store",
            "telemetry",
            "why",
        ],
    ),
    // Those who see, and those who compose.
    ("telemetry", &["clock", "issue"]),
    (
        "config",
        &[
            "account",
            "certificate",
            "cipher",
            // Whether a certificate holds today is told before it is used.
            "clock",
            "deliver",
            "delivery",
            "disk",
            "dispatch",
            "envelope",
            "expression",
            "facts",
            "map",
            "masking",
            "receive",
            "route",
            "secret",
            "settle",
            "signing",
            "soap",
            "store",
            "telemetry",
            "wsdl",
        ],
    ),
    (
        "preview",
        &[
            "call",
            "clock",
            "config",
            "delivery",
            "dispatch",
            "envelope",
            "expression",
            "fields",
            "map",
            "masking",
            "parse",
            "receive",
            "route",
            "secret",
            "store",
        ],
    ),
    (
        "admin",
        &[
            "account",
            "clock",
            "delivery",
            "dispatch",
            "envelope",
            "facts",
            "fields",
            "issue",
            "login",
            "masking",
            "parse",
            "person",
            "pretty",
            "store",
            "telemetry",
            "why",
        ],
    ),
    (
        "gateway",
        &[
            "account",
            "admin",
            "certificate",
            "cipher",
            "clock",
            "config",
            "deliver",
            "disk",
            "dispatch",
            "facts",
            "intake",
            "issue",
            "login",
            "preview",
            "receive",
            "store",
            "telemetry",
        ],
    ),
    // One file a command; each may take what it needs.
    (
        "cli",
        &[
            "account",
            "admin",
            "call",
            "certificate",
            "cipher",
            "clock",
            "config",
            "crash",
            "deliver",
            "delivery",
            "disk",
            "dispatch",
            "envelope",
            "expression",
            "facts",
            "gateway",
            "map",
            "outcome",
            "parse",
            "person",
            "pretty",
            "preview",
            "receive",
            "route",
            "secret",
            "settle",
            "soap",
            "store",
            "telemetry",
            "wsdl",
        ],
    ),
];

/// Holes in the walls: module, what it uses against the table, why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("map", "parse", "a rendered document is held to the strict XML rules that envelopes are held to"),
    (
        "settle",
        "store",
        "a verdict is said in the store's own words, Settlement and Pause, so that nothing translates it",
    ),
    (
        "why",
        "store",
        "it is said of the store's own views: a delivery, a pause, an outage; nothing translates them first",
    ),
    ("issue", "store", "it groups the store's own views of dead letters"),
    ("telemetry", "store", "the metrics show the ledger, and the ledger is the store's"),
];

/// External crate → the only modules (by path prefix) that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["receive", "admin", "gateway", "cli::stub", "cli::demo"]),
    ("reqwest", &["deliver", "cli"]),
    ("rusqlite", &["store"]),
    ("tokio_postgres", &["store::postgres"]),
    ("deadpool_postgres", &["store::postgres"]),
    ("tokio_postgres_rustls", &["store::postgres"]),
    ("rustls_platform_verifier", &["deliver", "store::postgres"]),
    ("quick_xml", &["parse", "wsdl", "soap", "cli::send"]),
    ("roxmltree", &["fields", "parse", "wsdl", "soap", "cli::send"]),
    ("yaserde", &["wsdl", "soap"]),
    ("encoding_rs", &["parse", "wsdl", "soap", "cli::send"]),
    ("minijinja", &["expression"]),
    ("toml", &["config"]),
    ("serde_path_to_error", &["config"]),
    ("argon2", &["account"]),
    ("rpassword", &["cli"]),
    ("rustix", &["cli", "config", "disk"]),
    ("fastrand", &["telemetry"]),
    ("lettre", &["deliver"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_http", &["telemetry"]),
    ("actix_http", &["receive"]),
    ("actix_service", &["receive"]),
    // Beside the way in: a handshake that is only looked at, and no call.
    ("tokio_rustls", &["receive", "deliver::look"]),
    ("x509_cert", &["certificate"]),
    ("ipnet", &["receive", "deliver"]),
    ("rustls", &["admin", "receive", "deliver", "gateway", "signing", "store::postgres"]),
    ("md5", &["deliver"]),
    ("md4", &["deliver"]),
    ("hmac", &["deliver"]),
    ("tower_layer", &["deliver"]),
    ("tower_service", &["deliver"]),
    ("p12_keystore", &["deliver"]),
    ("openssl", &["deliver"]),
    ("tokio_openssl", &["deliver"]),
    ("hyper", &["deliver"]),
    ("hyper_util", &["deliver"]),
    ("notify", &["gateway"]),
    ("prometheus_client", &["telemetry"]),
    ("askama", &["admin"]),
    // What the API answers is described on the very types that it answers with.
    ("utoipa", &["admin", "clock", "delivery", "facts", "issue", "outcome", "store"]),
    ("tracing_subscriber", &["telemetry"]),
    // `telemetry` derives the word for a log format, so that the option and the key are spelled alike.
    ("clap", &["cli", "main", "telemetry"]),
    ("clap_complete", &["cli"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
    ("similar", &["cli"]),
    ("tempfile", &["cli"]),
    ("anyhow", &["cli", "main"]),
];

/// What reads the world outside → the only modules (by path prefix) that may.
const READINGS: &[(&str, &[&str])] = &[
    // The command line reads itself, to run a command again.
    ("std::env", &["config", "cli"]),
    ("SystemTime::now", &["clock"]),
    // Commands measure what they did; nothing that is stored comes of it.
    ("Instant::now", &["clock", "cli"]),
    ("Timestamp::now", &["clock"]),
    ("ZonedDateTime::now", &["clock"]),
    ("thread::sleep", &["store"]),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["mod", "util", "utils", "common", "helper", "helpers", "models", "types", "misc"];

#[test]
fn every_module_keeps_to_its_walls() {
    report(&walls_broken(&sources(), WALLS, DEVIATIONS));
}

#[test]
fn the_table_of_walls_allows_nothing_that_nobody_uses() {
    report(&walls_unused(&sources(), WALLS, DEVIATIONS));
}

#[test]
fn external_crates_and_the_outside_world_are_confined() {
    report(&strays(&sources(), CRATES));
    report(&strays(&sources(), READINGS));
}

#[test]
fn nothing_of_ours_is_unsafe_and_the_compiler_sees_to_it() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "the lint that cannot be allowed again is gone");
    let is_unsafe = |text: &str| code(text).split(|c| !is_word(c)).any(|word| word == "unsafe");
    assert!(is_unsafe("fn a() { unsafe { b() } }") && !is_unsafe("// unsafe\nlet a = \"unsafe\";"));
    let all = files("src");
    report(&all.into_iter().filter(|(_, text)| is_unsafe(text)).map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let all = [files("src"), files("tests"), files("benches")].concat();
    let without: Vec<String> =
        all.iter().filter(|(_, text)| !opens_with_purpose(text)).map(|(path, _)| path.clone()).collect();
    report(&without);
}

#[test]
fn every_file_is_a_declared_module_with_a_name_of_its_own() {
    for (root, entries) in [("src", &["lib", "main"][..]), ("tests/it", &["main"][..])] {
        let found: BTreeMap<String, String> =
            files(root).into_iter().map(|(path, text)| (stem(&path, root), text)).collect();
        report(&undeclared(&found, entries));
        report(&badly_named(found.keys()));
    }
}

#[test]
fn the_longest_functions_and_files_are_shown() {
    let sources = files("src");
    let mut lengths: Vec<(usize, String)> =
        sources.iter().map(|(path, text)| (text.lines().count(), path.clone())).collect();
    let mut functions: Vec<(usize, String)> = sources
        .iter()
        .flat_map(|(path, text)| {
            function_lengths(&code(text)).into_iter().map(move |(name, lines)| (lines, format!("{path} {name}")))
        })
        .collect();
    assert!(functions.len() > 100, "only {} functions were found: the reader is broken", functions.len());
    let mut text = String::new();
    for (title, list) in [("longest files", &mut lengths), ("longest functions", &mut functions)] {
        list.sort_by(|a, b| b.cmp(a));
        let _ = writeln!(text, "{title}, in lines:");
        for (lines, name) in list.iter().take(10) {
            let _ = writeln!(text, "{lines:6}  {name}");
        }
    }
    // Past the harness's capture: these are for a person to look at, and no reason to fail.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// A module of `src`: its path (`receive::guard`) and its text without comments, literals and test code.
struct Source {
    module: String,
    code: String,
}

impl Source {
    fn top(&self) -> &str {
        self.module.split("::").next().unwrap_or_default()
    }
}

fn sources() -> Vec<Source> {
    files("src")
        .into_iter()
        .map(|(path, text)| Source { module: stem(&path, "src").replace('/', "::"), code: without_tests(&code(&text)) })
        .filter(|source| !["lib", "tests"].contains(&source.module.rsplit("::").next().unwrap_or_default()))
        .collect()
}

/// All `.rs` files below a folder of the package: path and text, in order of path.
fn files(folder: &str) -> Vec<(String, String)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![package.join(folder)];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("reading {}: {error}", folder.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
                found.insert(path.strip_prefix(package).unwrap_or(&path).display().to_string(), text);
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {folder}");
    found.into_iter().collect()
}

fn stem(path: &str, root: &str) -> String {
    path.trim_start_matches(root).trim_start_matches('/').trim_end_matches(".rs").to_owned()
}

fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn walls_broken(sources: &[Source], walls: &[(&str, &[&str])], deviations: &[(&str, &str, &str)]) -> Vec<String> {
    let known: BTreeSet<&str> = walls.iter().map(|(module, _)| *module).collect();
    let mut findings = Vec::new();
    for source in sources {
        let top = source.top();
        let Some((_, allowed)) = walls.iter().find(|(module, _)| *module == top) else {
            if top != "main" {
                findings.push(format!("{}: the table of walls does not know {top}", source.module));
            }
            continue;
        };
        for used in modules_used(source, &known) {
            let deviates = deviations.iter().any(|(module, uses, _)| *module == top && *uses == used);
            if used != top && !allowed.contains(&used.as_str()) && !deviates {
                findings.push(format!("{}: may not use crate::{used}", source.module));
            }
        }
    }
    findings
}

fn walls_unused(sources: &[Source], walls: &[(&str, &[&str])], deviations: &[(&str, &str, &str)]) -> Vec<String> {
    let known: BTreeSet<&str> = walls.iter().map(|(module, _)| *module).collect();
    let mut used = BTreeSet::new();
    for source in sources {
        used.extend(modules_used(source, &known).into_iter().map(|other| (source.top().to_owned(), other)));
    }
    let allowed = walls.iter().flat_map(|(module, others)| others.iter().map(move |other| (*module, *other)));
    let all = allowed.chain(deviations.iter().map(|(module, other, _)| (*module, *other)));
    all.filter(|(module, other)| !used.contains(&((*module).to_owned(), (*other).to_owned())))
        .map(|(module, other)| format!("{module} does not use {other} any more: take it out of the table"))
        .collect()
}

/// The top-level modules that a source names: by `crate::a`, by `crate::{a, b}`, or by climbing with `super`.
fn modules_used(source: &Source, known: &BTreeSet<&str>) -> BTreeSet<String> {
    let words = words(&source.code);
    let depth = source.module.split("::").count();
    let mut used = BTreeSet::new();
    for (position, word) in words.iter().enumerate() {
        let rest = words.get(position + 1..).unwrap_or_default();
        let after_path = position > 0 && words.get(position - 1).is_some_and(|before| *before == "::");
        match *word {
            "crate" => used.extend(first_names(rest)),
            "super" if !after_path => {
                let climbs = 1 + rest.chunks(2).take_while(|pair| *pair == ["::", "super"]).count();
                let target = rest.get((climbs - 1) * 2..).unwrap_or_default();
                used.extend(
                    first_names(target).into_iter().filter(|name| climbs >= depth && known.contains(name.as_str())),
                );
            }
            _ => {}
        }
    }
    used
}

/// What follows `crate` or `super`: `::name`, or `::{name::…, name}`.
fn first_names(words: &[&str]) -> Vec<String> {
    match words {
        ["::", "{", rest @ ..] => {
            let mut names = Vec::new();
            let (mut depth, mut expected) = (0_usize, true);
            for word in rest {
                match *word {
                    "{" => depth += 1,
                    "}" if depth == 0 => break,
                    "}" => depth -= 1,
                    "," => expected = depth == 0,
                    name if expected && depth == 0 => {
                        names.push(name.to_owned());
                        expected = false;
                    }
                    _ => {}
                }
            }
            names
        }
        ["::", name, ..] => vec![(*name).to_owned()],
        _ => Vec::new(),
    }
}

/// Where a path such as `rusqlite` or `std::env` is named outside the modules it is confined to.
fn strays(sources: &[Source], confined: &[(&str, &[&str])]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, homes) in confined {
        for source in sources {
            let at_home =
                homes.iter().any(|home| source.module == *home || source.module.starts_with(&format!("{home}::")));
            if !at_home && names_path(&source.code, path) {
                findings.push(format!("{}: may not name {path}; only {homes:?} may", source.module));
            }
        }
    }
    findings
}

/// Whether code names a path: written out (`std::env::var`) or out of braces (`use std::{env, fs}`).
fn names_path(code: &str, path: &str) -> bool {
    let words = words(code);
    let wanted: Vec<&str> = path.split("::").collect();
    words.iter().enumerate().any(|(position, word)| {
        let Some((first, rest)) = wanted.split_first() else { return false };
        let before = position.checked_sub(1).and_then(|at| words.get(at)).copied();
        let follows = words.get(position + 1..).unwrap_or_default();
        if word != first {
            return false;
        }
        match rest {
            [] => (follows.first() == Some(&"::") && before != Some("::")) || before == Some("use"),
            [name] => first_names(follows).iter().any(|found| found == name),
            _ => false,
        }
    })
}

fn opens_with_purpose(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len())
}

/// Files that no `mod` leads to, starting from the entries; by path without `.rs`.
fn undeclared(files: &BTreeMap<String, String>, entries: &[&str]) -> Vec<String> {
    let mut reached: BTreeSet<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
    let mut open: Vec<String> = reached.iter().cloned().collect();
    while let Some(file) = open.pop() {
        let folder = if entries.contains(&file.as_str()) { String::new() } else { format!("{file}/") };
        for name in files.get(&file).map(|text| declared(&code(text))).unwrap_or_default() {
            let child = format!("{folder}{name}");
            if reached.insert(child.clone()) {
                open.push(child);
            }
        }
    }
    files
        .keys()
        .filter(|file| !reached.contains(*file))
        .map(|file| format!("{file}.rs: no module declares it"))
        .collect()
}

/// The modules that a file declares as files of their own.
fn declared(code: &str) -> Vec<String> {
    let words = words(code);
    words
        .windows(3)
        .filter_map(|window| match window {
            ["mod", name, ";"] => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}

fn badly_named<'a>(files: impl Iterator<Item = &'a String>) -> Vec<String> {
    files
        .filter(|file| file.split('/').any(|part| EMPTY_NAMES.contains(&part)))
        .map(|file| format!("{file}.rs: a name says what is inside"))
        .collect()
}

/// Identifiers and punctuation of code; `::` is one word.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("::") {
            2
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(length);
        words.push(word);
        rest = tail.trim_start();
    }
    words
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Source text with comments and literals blanked; every line keeps its number.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        match blank_length(rest, after_word) {
            Some(length) => {
                let (blank, tail) = rest.split_at(length.min(rest.len()));
                code.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = tail;
            }
            None => {
                code.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    code
}

/// How many bytes at the start are a comment or a literal; none when it is code.
fn blank_length(rest: &str, after_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    let prefixed = rest.trim_start_matches(if after_word { &[][..] } else { &['b', 'c'][..] });
    let prefix = rest.len() - prefixed.len();
    if prefix > 1 {
        return None;
    }
    if prefixed.starts_with('"') {
        return Some(prefix + quoted_length(prefixed, '"'));
    }
    if let Some(raw) = prefixed.strip_prefix('r').filter(|_| !after_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw.get(hashes..).is_some_and(|quoted| quoted.starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = raw.get(hashes + 1..).unwrap_or_default();
            let length = body.find(&end).map_or(body.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + length);
        }
    }
    if prefixed.starts_with('\'') && is_character(prefixed) {
        return Some(prefix + quoted_length(prefixed, '\''));
    }
    None
}

/// A character, and not a lifetime: `'\…`, or a closing quote after one character.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

fn block_comment_length(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Code less every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(rest.get(..at).unwrap_or_default());
        let item = rest.get(at + MARK.len()..).unwrap_or_default();
        rest = item.get(item_length(item)..).unwrap_or_default();
    }
    kept.push_str(rest);
    kept
}

/// How long the item at the start is: up to its `;`, or to the brace that closes its body.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Each function with a body and how many lines it has, signature included.
fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_a_word = code.get(..at).is_none_or(|before| !before.ends_with(is_word));
        let name: String = code.get(at + 3..).unwrap_or_default().chars().take_while(|c| is_word(*c)).collect();
        let item = code.get(at..).unwrap_or_default();
        let item = item.get(..function_length(item)).unwrap_or_default();
        if starts_a_word && !name.is_empty() && item.ends_with('}') {
            found.push((name, item.lines().count()));
        }
    }
    found
}

/// Like [`item_length`], but a `;` inside the brackets of a signature (`[u8; 32]`) ends nothing.
fn function_length(code: &str) -> usize {
    let mut brackets = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' | ';' if brackets == 0 => return at + item_length(code.get(at..).unwrap_or_default()),
            _ => {}
        }
    }
    code.len()
}

mod checks {
    use super::*;

    fn source(module: &str, text: &str) -> Source {
        Source { module: module.to_owned(), code: without_tests(&code(text)) }
    }

    const SMALL: &[(&str, &[&str])] = &[("route", &["envelope"]), ("map", &[]), ("envelope", &[]), ("call", &[])];

    #[test]
    fn a_use_over_a_wall_is_found_however_it_is_written() {
        for (module, text) in [
            ("route", "use crate::map;"),
            ("route", "use crate::map::{self, Mapping};"),
            ("route", "use crate::{envelope::{Record, Field}, map};"),
            ("route::lane", "fn f() { crate :: map::call() }"),
            ("route", "use super::map;"),
            ("route::lane", "use super::super::map::Mapping;"),
            ("nowhere", "fn f() {}"),
        ] {
            assert_eq!(walls_broken(&[source(module, text)], SMALL, &[]).len(), 1, "{module}: {text}");
        }
    }

    #[test]
    fn what_the_table_allows_and_what_is_no_use_is_no_finding() {
        for (module, text) in [
            ("route", "use crate::envelope::Record;"),
            ("route", "use crate::{envelope, route::lane};"),
            (
                "route",
                "// use crate::map;\n/* crate::map */ const A: &str = \"crate::map\"; const B: &str = r#\"crate::map\"#;",
            ),
            ("route", "#[cfg(test)]\nmod tests { use crate::map; fn f() { if true { } } }\nuse crate::envelope;"),
            ("route::lane", "use super::map;"),
        ] {
            assert_eq!(walls_broken(&[source(module, text)], SMALL, &[]), Vec::<String>::new(), "{module}: {text}");
        }
        let deviations = [("route", "map", "because")];
        assert!(walls_broken(&[source("route", "use crate::map;")], SMALL, &deviations).is_empty());
    }

    #[test]
    fn a_permission_that_nobody_uses_is_found() {
        let used = source("route", "use crate::envelope;");
        assert!(walls_unused(&[used], SMALL, &[]).is_empty());
        let idle = source("route", "#[cfg(test)] mod tests { use crate::envelope; }");
        assert_eq!(walls_unused(&[idle], SMALL, &[("map", "call", "because")]).len(), 2);
    }

    #[test]
    fn a_crate_outside_its_home_is_found() {
        let confined: &[(&str, &[&str])] = &[("rusqlite", &["store"]), ("clap", &["cli"]), ("std::env", &["config"])];
        for (module, text, findings) in [
            ("route", "use rusqlite::Connection;", 1),
            ("storeroom", "fn f() { rusqlite::open() }", 1),
            ("store::sqlite", "use rusqlite::Connection;", 0),
            ("route", "#[derive(Debug, clap::Args)] struct A;", 1),
            ("route", "use std::{fs, env};", 1),
            ("route", "let a = std::env::var(\"A\");", 1),
            ("route", "use std::env;", 1),
            ("config", "use std::env;", 0),
            ("route", "fn clap() { my::clap::f(); std::envy::f() }", 0),
            ("route", "const A: &str = env!(\"CARGO_PKG_VERSION\"); // std::env", 0),
        ] {
            assert_eq!(strays(&[source(module, text)], confined).len(), findings, "{module}: {text}");
        }
    }

    #[test]
    fn a_file_without_a_purpose_a_stray_file_and_an_empty_name_are_found() {
        assert!(opens_with_purpose("//! What it is for.\n"));
        for text in ["", "\n//! Late.", "//!", "// A remark.", "use std::fs;"] {
            assert!(!opens_with_purpose(text), "{text:?}");
        }
        let files = BTreeMap::from([
            ("lib".to_owned(), "pub mod a; // mod c;".to_owned()),
            ("a".to_owned(), "mod b; mod inline { }".to_owned()),
            ("a/b".to_owned(), String::new()),
            ("c".to_owned(), String::new()),
        ]);
        assert_eq!(undeclared(&files, &["lib"]), ["c.rs: no module declares it"]);
        let names = ["a/mod".to_owned(), "utils".to_owned(), "a/utilities".to_owned()];
        assert_eq!(badly_named(names.iter()).len(), 2);
    }

    #[test]
    fn literals_are_blanked_and_lifetimes_are_not() {
        assert_eq!(code("a 'x' b"), "a     b");
        assert_eq!(code("f::<'a>('\\'', b'\"', \"\\\"\")"), "f::<'a>(    ,     ,     )");
        assert_eq!(code("br#\"a\"b\"# c").trim(), "c");
        assert_eq!(code("/* a /* b */ c */ d").trim(), "d");
        assert_eq!(code("bar\"\n\"x"), "bar \n x");
    }

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let text = "fn a(x: [u8; 2])\n{\n    if x { }\n}\ntrait T { fn b(); }\nstruct S { f: fn (u8) }\nfn c() {}\n";
        assert_eq!(function_lengths(text), [("a".to_owned(), 4), ("c".to_owned(), 1)]);
    }
}

//! What the fuzzer is thrown at holds for its corpus and for the fixtures: what it once found stays mended.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use omgate::config::{Problem, Severity};
use omgate::envelope::{Content, Notification};
use omgate::parse::{self, Limits};
use omgate::receive::network::{self, Networks};
use omgate::receive::proxy::Proxy;

#[path = "../../fuzz/properties.rs"]
mod properties;

/// The targets: name, property, more folders and files with seeds.
type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

const TARGETS: &[Target] = &[
    ("envelope", properties::envelope, &["fixtures/envelopes", "fixtures/inspect"]),
    ("wsdl", properties::wsdl, &["wsdl"]),
    ("response", properties::response, &["fixtures/soap"]),
    ("configuration", properties::configuration, &["fixtures", "fixtures/config-errors", "fixtures/what-if"]),
    ("expression", properties::expression, &["fixtures/config-errors/files"]),
    ("certificate", properties::certificate, &["tests/it/deliver/tls"]),
    ("front", properties::front, &["fixtures/envelopes"]),
    ("packed", properties::packed, &["fixtures/envelopes"]),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Why a property does not hold of a file.
fn failure(property: fn(&[u8]), input: &[u8]) -> Option<String> {
    let caught = panic::catch_unwind(AssertUnwindSafe(|| property(input))).err()?;
    let text = caught.downcast_ref::<String>().cloned();
    Some(text.or_else(|| caught.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

#[test]
fn what_the_fuzzer_is_thrown_at_holds_for_its_corpus_and_the_fixtures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut failures = Vec::new();
    for (name, property, folders) in TARGETS {
        let mut inputs = files(&root.join("fuzz/corpus").join(name));
        assert!(inputs.len() >= 3, "{name} has too few seeds");
        inputs.extend(folders.iter().flat_map(|folder| files(&root.join(folder))));
        println!("{name}: {} inputs", inputs.len());
        for path in inputs {
            let why = failure(*property, &fs::read(&path).unwrap());
            failures.extend(why.map(|why| format!("{name}, {}: {why}", path.display())));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_target_of_the_fuzzer_is_one_of_these_and_has_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let known: Vec<String> = TARGETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut sorted = known.clone();
    sorted.sort();
    let targets: Vec<String> = files(&root.join("targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(targets, sorted);
    let run = fs::read_to_string(root.join("run")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for name in &known {
        assert!(run.contains(&format!("    {name})")), "fuzz/run does not know {name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml does not know {name}");
    }
}

/// A property that cannot fail holds of nothing.
#[test]
fn the_properties_can_fail() {
    let body = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/envelopes/create.xml")).unwrap();
    let envelope = parse::envelope(&body, None, &Limits::default(), None).unwrap();
    let [notification] = envelope.notifications.as_slice() else { panic!("{envelope:?}") };
    properties::reads_again(notification, None);
    let Content::Record { id, record, xml } = notification.content.clone() else { panic!("{notification:?}") };
    let other = Content::Record { id, record, xml: xml.replace("45000.0", "45000.1") };
    for altered in [
        Notification { hash: [0; 32], ..notification.clone() },
        Notification { content: other, ..notification.clone() },
    ] {
        assert!(panic::catch_unwind(|| properties::reads_again(&altered, None)).is_err());
    }
    let headers = properties::headers(b"X-Forwarded-For: 203.0.113.7\r\n");
    let proxy = &*properties::PROXY;
    properties::believes_listed_proxies_alone(proxy, &headers);
    properties::lets_in_the_certificate_alone(proxy, &headers);
    // Whoever believes anybody, and whoever asks nobody for a certificate.
    let anybody = Networks::new(vec![network::parse("0.0.0.0/0").unwrap()]);
    let believing = Proxy { addresses: anybody, ..proxy.clone() };
    assert!(
        panic::catch_unwind(AssertUnwindSafe(|| properties::believes_listed_proxies_alone(&believing, &headers)))
            .is_err()
    );
    let open = Proxy { clients: None, ..proxy.clone() };
    assert!(
        panic::catch_unwind(AssertUnwindSafe(|| properties::lets_in_the_certificate_alone(&open, &headers))).is_err()
    );
    let problem = |line, column| Problem {
        severity: Severity::Error,
        file: "stored configuration".to_owned(),
        line,
        column,
        rule: String::new(),
        key: String::new(),
        reason: "it is wrong".to_owned(),
        suggestion: None,
    };
    properties::has_a_place(&problem(2, 3), "a\nbcd");
    for (line, column) in [(3, 1), (0, 0), (2, 9)] {
        assert!(panic::catch_unwind(|| properties::has_a_place(&problem(line, column), "a\nbcd")).is_err());
    }
}

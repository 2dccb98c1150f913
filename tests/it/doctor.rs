//! `omgate doctor` as a person runs it: a healthy gateway, each thing that can be wrong, and Salesforce's texts.

mod destinations;
mod edge;
mod store;

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::Process;

/// A gateway's configuration with what a test adds: lines of `[server]`, the store's folder, destinations.
struct Setup<'s> {
    server: &'s str,
    store: &'s str,
    source: &'s str,
    destinations: &'s str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { server: "", store: "sqlite:omgate.db", source: "path = \"/om/orders\"", destinations: "" }
    }
}

impl Setup<'_> {
    fn prepare(&self) -> Process {
        Process::prepare(&self.text())
    }

    /// Its configuration.
    fn text(&self) -> String {
        let Self { server, store, source, destinations } = self;
        let crm = "[[destination]]\nname = \"crm\"\nkind = \"rest\"\nurl = \"http://127.0.0.1:9/\"\npaused = true\n";
        let destinations = if destinations.is_empty() { crm } else { destinations };
        // One to a SOAP system would need a map.
        let route = "[[route]]\nsource = \"orders\"\ndestination = \"crm\"\n";
        let route = if destinations.contains("kind = \"soap\"") { "" } else { route };
        format!(
            "[server]\nlisten = \"127.0.0.1:{{public}}\"\nadmin_listen = \"127.0.0.1:{{admin}}\"\n{server}\n\
             [store]\nurl = \"{store}\"\n\
             [[source]]\nname = \"orders\"\norganizations = [\"00D24000000abcdEAA\"]\n{source}\n{destinations}\n{route}"
        )
    }
}

/// Runs it, and reads its JSON.
fn examined(process: &Process, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Value) {
    let output = ran(process, &[&["--json"], arguments].concat(), environment);
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), document)
}

fn ran(process: &Process, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["doctor", "--config"])
        .arg(process.config())
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// What was found of a subject and a check: level, and all that is said.
fn found<'v>(document: &'v Value, subject: &str, check: &str) -> Vec<(&'v str, String)> {
    let findings = document["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["subject"] == subject && finding["check"] == check)
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            (finding["level"].as_str().unwrap(), format!("{} — {}", text("found"), text("advice")))
        })
        .collect()
}

/// Fails unless exactly this is found: the level, and every piece of text.
#[track_caller]
fn says(document: &Value, subject: &str, check: &str, level: &str, pieces: &[&str]) {
    let all = found(document, subject, check);
    let fits = |(found, text): &&(&str, String)| *found == level && pieces.iter().all(|piece| text.contains(piece));
    assert!(all.iter().any(|one| fits(&one)), "{subject}, {check} is not {level} {pieces:?}: {all:?}\n{document:#}");
}

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_else_is_looked_at() {
    let process = Setup { server: "listne = 1\nadmin_listen_too = 2", ..Setup::default() }.prepare();
    let (code, document) = examined(&process, &[], &[]);
    assert_eq!((code, &document["ok"]), (Some(1), &Value::Bool(false)));
    says(&document, "configuration", "file", "failed", &["listne", "did you mean `listen`?"]);
    says(&document, "configuration", "file", "failed", &["admin_listen_too"]);
    says(&document, "all else", "everything", "skipped", &[]);
    assert_eq!(document["findings"].as_array().unwrap().len(), 3);
}

#[test]
fn findings_have_one_shape_and_without_a_network_the_same_are_made() {
    let process = Setup::default().prepare();
    let (_, document) = examined(&process, &["--offline"], &[]);
    let mut made = Vec::new();
    for finding in document["findings"].as_array().unwrap() {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["subject", "check", "level", "found", "advice"]);
        let level = finding["level"].as_str().unwrap();
        assert!(["ok", "warning", "failed", "skipped"].contains(&level), "{finding}");
        // What is wrong says what to do, and nothing else does.
        assert_eq!(finding["advice"].is_string(), ["warning", "failed"].contains(&level), "{finding}");
        made.push(format!("{}, {}", finding["subject"].as_str().unwrap(), finding["check"].as_str().unwrap()));
    }
    let expected = [
        "configuration, file",
        "gateway, admin listener",
        "gateway, public listener",
        "gateway, who may reach it",
        "public TLS, certificate",
        "Salesforce, scheme",
        "Salesforce, port",
        "source orders, endpoint URL",
        "source orders, path",
        "source orders, organizations",
        "store, schema",
        "store, permissions",
        "store, file system",
        "store, free space",
        "store, fsync",
        "store, contents",
        "encryption, keys",
        "encryption, store",
        "process, open files",
        "process, user",
        "process, umask",
        "destination crm, network",
        "clock, skew",
        "clock, time zones",
    ];
    assert_eq!(made, expected);
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ok", "findings"]);
}

#[test]
fn for_people_each_finding_is_one_line_with_a_mark() {
    let process = Setup::default().prepare();
    let output = ran(&process, &["--offline"], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(lines.len(), 24, "{text}");
    for line in lines {
        assert!(["ok ", "warn ", "fail ", "skipped "].iter().any(|mark| line.starts_with(mark)), "{line}");
        assert_eq!(line.starts_with("warn") || line.starts_with("fail"), line.contains(" — "), "{line}");
    }
    assert!(last.contains(" failed, ") && last.contains(" skipped"), "{last}");
}

#[test]
fn a_text_of_salesforce_is_explained_and_an_unknown_one_has_neighbours() {
    let explain = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_omgate")).args(["doctor", "explain"]).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = explain(&["SOAP response was a nack"]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["cause:", "where:", "what to do:", "omgate status"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = explain(&["--json", "PKIX path building failed: sun.security.provider.certpath.SunCer"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &document["known"]), (Some(0), &Value::Bool(true)));
    assert!(document["entry"]["cause"].as_str().unwrap().contains("intermediate"), "{text}");
    let (code, text) = explain(&["the moon is full"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("is not known") && text.lines().count() == 4, "{text}");
    let (code, text) = explain(&["--json", "the moon is full"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, document["nearest"].as_array().unwrap().len()), (Some(1), 3), "{text}");
}

#[test]
fn what_is_no_address_of_the_gateway_is_refused() {
    let process = Setup::default().prepare();
    for url in ["hooks.example.com", "ftp://hooks.example.com", "https://user:pw@hooks.example.com"] {
        let output = ran(&process, &["--offline", "--source-url", url], &[]);
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--source-url"), "{url}");
    }
}

//! schemathesis reads the description and tries every address: with what is right, at its bounds, and with what is wrong.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;

use crate::harness::Process;
use crate::interop::servers::installed;

/// What must hold of every answer. Left out is `positive_data_acceptance`: a name that fits its type may be nobody's, and
/// is refused.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,allow_header_conformance,negative_data_rejection,\
                      missing_required_header";
/// Calls that would end the run: the store goes elsewhere, a file is written wherever a name says.
const LEFT_OUT: &str = "^/api/v1/store/(move|backup)";

fn schemathesis() -> Option<PathBuf> {
    let program = installed().join("python/bin/schemathesis");
    let is_there = program.is_file();
    if !is_there {
        println!("skipped: {} is not there; .ci/run installs it", program.display());
    }
    is_there.then_some(program)
}

/// Tries all addresses; what the program said.
fn run(program: &PathBuf, process: &Process, examples: &str, more: &[&str]) -> Output {
    let url = format!("http://127.0.0.1:{}/api/v1/openapi.json", process.admin);
    let output = Command::new(program)
        .args(["run", &url, "--checks", CHECKS, "--exclude-path-regex", LEFT_OUT, "--max-examples", examples])
        .args(["--phases", "coverage,fuzzing", "--generation-deterministic"])
        // Python 3.11 keeps the depth of its parser in one place for all threads: with two of them it fails now and then.
        .args(["--workers", "1", "--no-shrink", "--no-color", "--warnings", "off", "--request-timeout", "60"])
        .args(["--continue-on-failure"])
        .args(more)
        .env("NO_PROXY", "*")
        .current_dir(process.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let end: Vec<&str> = said.lines().rev().take(12).collect();
    println!("{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
    output
}

fn assert_clean(output: &Output, process: &Process) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("API Operations:") && said.contains("Test cases:"), "nothing was tried: {said}");
    let log = process.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_reads_the_description_finds_nothing() {
    let Some(program) = schemathesis() else { return };
    let (process, _sink, _) = super::busy().await;
    let (output, process) =
        tokio::task::spawn_blocking(move || (run(&program, &process, "10", &[]), process)).await.unwrap();
    assert_clean(&output, &process);
    let verified = process.admin("/api/v1/store/verify").await;
    assert_eq!(verified, json!([]), "whatever was called, the accounts are right");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_token_and_few_rights_finds_nothing_either() {
    let Some(program) = schemathesis() else { return };
    let (process, _sink, _) = super::busy().await;
    let (status, made) = process.change("/api/v1/tokens", &json!({"name": "viewer", "expires_in_s": 3_600})).await;
    assert_eq!(status, 201, "{made}");
    let header = format!("Authorization: Bearer {}", made["token"].as_str().unwrap());
    let (output, process) = tokio::task::spawn_blocking(move || {
        (run(&program, &process, "5", &["--header", &header, "--include-method", "GET"]), process)
    })
    .await
    .unwrap();
    assert_clean(&output, &process);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fuzzer_sees_an_answer_that_is_not_as_described() {
    let Some(program) = schemathesis() else { return };
    let (process, sink, mut description) = super::busy().await;
    // The sink answers every GET with an empty object, which is no ledger.
    description["servers"] = json!([{"url": sink.url("/")}]);
    let file = process.folder.path().join("openapi.json");
    std::fs::write(&file, description.to_string()).unwrap();
    let url = sink.url("");
    let output = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args(["run", file.to_str().unwrap(), "--url", &url, "--include-path", "/api/v1/ledger"])
            .args(["--checks", CHECKS, "--max-examples", "2", "--no-color", "--generation-database", "none"])
            .env("NO_PROXY", "*")
            .current_dir(process.folder.path())
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

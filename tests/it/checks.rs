//! `omgate check`, run as a person would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn check(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate")).arg("check").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[test]
fn a_right_configuration_says_what_each_route_does() {
    let (output, text) = check(&["--config", "fixtures/omgate.toml"]);
    assert!(output.status.success(), "{text}");
    for said in ["won-orders", "CreateOrder at", "6 mapped fields", "whole", "/om/order-won", "is in order: 2 routes"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let (output, text) = check(&["--config", "fixtures/omgate.toml", "--json"]);
    assert!(output.status.success());
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["ok"], true);
    assert_eq!(document["routes"][1]["call"], "PUT http://crm.internal/customers/{{ record.Id }}");
}

#[test]
fn a_completion_script_that_nobody_reads_to_its_end_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_wrong_configuration_is_a_failure_with_places() {
    let (output, text) = check(&["--config", "fixtures/config-errors/target-paths.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("target-paths.toml:17:1: error: route.1.map.OrderNumbr"), "{text}");
    assert!(text.ends_with("6 errors\n"), "{text}");
    let (output, text) = check(&["--config", "fixtures/config-errors/target-paths.toml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["ok"], &document["problems"][0]["severity"]), (&false.into(), &"error".into()));
    let (output, text) = check(&["--config", "no/such/file.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("there is no such file"), "{text}");
}

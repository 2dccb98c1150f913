//! The demo, as a newcomer runs it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn the_demo_delivers_everything_once_and_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate")).args(["demo", "--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("yes: ").count(), 5, "{text}");
    assert!(!text.contains("NO: "), "{text}");
}

#[test]
fn an_interrupted_demo_ends_in_words() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_omgate")).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Ctrl-C ends it.") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended before anybody interrupted it");
    }
    // In the middle of the first burst.
    let id = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let status = demo.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("Interrupted: nothing more is sent"), "{text}");
    assert!(text.contains("yes: the ledger balances") && !text.contains("NO: "), "{text}");
}

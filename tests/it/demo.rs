//! The demo, as a newcomer runs it.

use std::process::Command;

#[test]
fn the_demo_delivers_everything_once_and_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate")).args(["demo", "--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("yes: ").count(), 5, "{text}");
    assert!(!text.contains("NO: "), "{text}");
}

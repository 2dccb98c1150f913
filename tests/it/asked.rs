//! What cannot be meant, asked over the API and in the command line: it is refused at once, and in words that say what to do.

use std::process::{Command, Output};

use omgate::admin::access::ADDRESSES;
use serde_json::json;

use crate::harness::Process;

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:{public}"
admin_listen = "127.0.0.1:{admin}"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "erp"
kind = "rest"
url = "http://127.0.0.1:9/"

[[route]]
source = "orders"
destination = "erp"
"#;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_an_address_does_not_take_is_refused_everywhere() {
    let mut process = Process::prepare(CONFIGURATION);
    process.start(&[]).await;
    let looks = ADDRESSES.iter().filter(|(method, path, _)| *method == "GET" && path.starts_with("/api/v1/"));
    let mut count = 0;
    for (_, path, _) in looks {
        let name = if path.contains("/sources/") { "orders" } else { "erp" };
        let path = path.replace("{id}", "1").replace("{name}", name).replace("{system}", "erp").replace("{lane}", "x");
        let (status, problem) = process.ask(&format!("{path}?foo=1")).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == 400 && detail.contains("there is no parameter \"foo\" here"), "{path}: {status} {problem}");
        count += 1;
    }
    assert!(count > 30, "{count}");
    assert_eq!(process.change("/api/v1/systems/erp/pause?foo=1", &json!({"reason": "x"})).await.0, 400);
    assert_eq!(process.ask("/api/v1/nowhere?foo=1").await.0, 404);
    let until = json!({"reason": "x", "until": "9999-12-31T23:59:59Z"});
    let (status, problem) = process.change("/api/v1/systems/erp/pause", &until).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("at the latest 9999-12-30T22"), "{problem}");
    let (status, problem) =
        process.change("/api/v1/store/backup", &json!({"reason": "x", "file": process.config()})).await;
    assert_eq!(status, 409, "what is there already is said at once: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_lacks_is_said_with_what_to_do() {
    let mut process = Process::prepare(CONFIGURATION);
    process.start(&[]).await;
    let lacking: [(&[&str], &str); 6] = [
        (&["dead", "replay"], "say which: ids of deliveries (`omgate dead list` shows them)"),
        (&["deliveries", "hold"], "say which: ids of deliveries (`omgate deliveries list` shows them)"),
        (&["dead", "list", "--status", "abc"], "it must be a status of HTTP, 100 to 599"),
        (&["dead", "replay", "--", "-1"], "it must be a number from 1"),
        (&["deliveries", "show", "x"], "it must be a number from 1"),
        (&["token", "create", "--name", "ci", "--login", "root"], "no password came"),
    ];
    for (arguments, words) in lacking {
        let output = process.command(arguments);
        assert!(!output.status.success() && said(&output).contains(words), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "what went wrong is no answer");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .arg("status")
        .current_dir(folder.path())
        .env_remove("OMGATE_CONFIG")
        .output()
        .unwrap();
    for words in ["there is no such file", "--config", "OMGATE_CONFIG", "--admin"] {
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

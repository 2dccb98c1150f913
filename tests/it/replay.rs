//! `omgate test`, run as a person would: the project's own fixtures, and what a change of theirs looks like.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn omgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omgate")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_projects_own_fixtures_make_the_calls_of_their_golden_files() {
    let mut arguments = vec!["test", "--config", "fixtures/omgate.toml"];
    arguments.extend(std::env::var_os("OMGATE_UPDATE").map(|_| "--update"));
    let output = omgate(&arguments);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(" 0 failed"), "{}", text(&output));
}

#[test]
fn a_folder_without_fixtures_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = project(folder.path());
    fs::rename(folder.path().join("fixtures"), folder.path().join("elsewhere")).unwrap();
    let output = omgate(&["test", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("there is no folder") && said.contains("fixtures: make it"), "{said}");
}

/// A configuration of two sources, and their fixtures.
fn project(folder: &Path) -> String {
    let config = r#"
        [[source]]
        name = "one"
        path = "/one"
        organizations = ["00D24000000abcdEAA"]
        [[source]]
        name = "two"
        path = "/two"
        organizations = ["00D24000000zzzzEAA"]
        [[destination]]
        name = "d"
        kind = "rest"
        url = "http://h/{{ source }}"
        [[route]]
        source = "one"
        destination = "d"
        when = "record.StageName == 'Closed Won'"
        [route.map]
        amount = "record.Amount"
        [[route]]
        source = "two"
        destination = "d"
    "#;
    fs::write(folder.join("omgate.toml"), config).unwrap();
    fs::create_dir_all(folder.join("fixtures/two")).unwrap();
    for (from, to) in [("create", "create"), ("create", "two/create"), ("deleted-record", "deleted")] {
        fs::copy(format!("fixtures/envelopes/{from}.xml"), folder.join(format!("fixtures/{to}.xml"))).unwrap();
    }
    fs::write(folder.join("fixtures/broken.xml"), "<a><b></a>").unwrap();
    folder.join("omgate.toml").to_str().unwrap().to_owned()
}

#[test]
fn a_change_a_missing_and_an_orphan_golden_file_fail_until_they_are_updated() {
    let folder = tempfile::tempdir().unwrap();
    let config = project(folder.path());
    let run = |more: &[&str]| omgate(&[&["test", "--config", &config], more].concat());

    let missing = run(&[]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing).contains("0 passed, 4 failed"), "{}", text(&missing));
    assert!(text(&run(&["--update"])).contains("4 written"));
    assert!(text(&run(&[])).contains("4 passed, 0 failed"));

    let golden = |name: &str| fs::read_to_string(folder.path().join(format!("fixtures/{name}.golden"))).unwrap();
    assert!(golden("create").contains("POST http://h/one"), "{}", golden("create"));
    assert!(golden("create").contains("\"amount\": \"45000.0\""), "{}", golden("create"));
    assert!(golden("two/create").contains("source two: refused: organization"), "{}", golden("two/create"));
    assert!(golden("deleted").contains("skipped_empty"), "{}", golden("deleted"));
    assert!(golden("broken").starts_with("source one: refused:"), "{}", golden("broken"));

    fs::write(folder.path().join("fixtures/create.golden"), golden("create").replace("POST", "PUT")).unwrap();
    fs::write(folder.path().join("fixtures/orphan.golden"), "").unwrap();
    let changed = run(&[]);
    assert_eq!(changed.status.code(), Some(1));
    let report = text(&changed);
    assert!(report.contains("-    PUT http://h/one\n+    POST http://h/one"), "{report}");
    assert!(report.contains("orphan.golden: there is no envelope or answer beside it"), "{report}");
    assert!(report.contains("3 passed, 2 failed"), "{report}");
    assert!(!report.contains('\u{1b}'), "colour belongs to terminals");
    assert!(run(&["--update"]).status.success());
    assert!(run(&[]).status.success());
}

#[test]
fn recorded_answers_show_which_rule_matches_and_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("omgate.toml");
    let rules = r#"
        [[source]]
        name = "orders"
        path = "/orders"
        organizations = ["00D24000000abcdEAA"]
        [[destination]]
        name = "shop"
        kind = "rest"
        url = "http://h/"
        retry = { first = "2s" }
        [[destination.rule]]
        status = 409
        when = "response.headers['x-known'] == 'yes'"
        then = "delivered"
        [[destination.rule]]
        status = ["409", "50x", "500-501"]
        then = "hold"
        [[destination.rule]]
        status = 503
        when = "response.body.maintenance"
        then = "pause"
        after = "30m"
        [[destination.rule]]
        transport = "no_answer"
        then = "retry"
        after = "7s"
        [[route]]
        source = "orders"
        destination = "shop"
    "#;
    fs::write(&config, rules).unwrap();
    let config = config.to_str().unwrap();
    let said = text(&omgate(&["test", folder.path().to_str().unwrap(), "--config", config]));
    assert!(said.contains("\"50x\" is no HTTP status"), "{said}");
    fs::write(folder.path().join("omgate.toml"), rules.replace("\"50x\", ", "")).unwrap();
    let twice = rules.replace("\"50x\", ", "").replace("[[destination.rule]]\n        transport", "[[destination.rule]]\n        status = 500\n        then = \"retry\"\n        [[destination.rule]]\n        transport");
    fs::write(folder.path().join("twice.toml"), twice).unwrap();
    let checked = text(&omgate(&["check", "--config", folder.path().join("twice.toml").to_str().unwrap()]));
    assert!(checked.contains("never counts: rule 2 before it matches all that it does"), "{checked}");
    let answers = folder.path().join("fixtures/shop");
    fs::create_dir_all(&answers).unwrap();
    let shop = |rule: &str, outcome: &str, follows: &str| {
        format!("destination shop\n  rule     {rule}\n  outcome  {outcome}\n  follows  {follows}\n")
    };
    let pause = "sent again after 2000 ms; the whole system is paused, and one delivery tries again after 1800 s";
    let expected = [
        ("known", "HTTP/1.1 409 Conflict\r\nX-Known: yes\r\n\r\n", shop("1 matches", "delivered", "delivered")),
        (
            "conflict",
            "HTTP/1.1 409\n\nbody",
            shop(
                "2 matches",
                "refused: answered 409 Conflict, which rule 2 calls hold",
                "held for a person; its lane stops",
            ),
        ),
        (
            "maintenance",
            "HTTP/1.1 503\nContent-Type: application/json\n\n{\"maintenance\": true}",
            shop("3 matches", "retry: answered 503 Service Unavailable, which rule 3 calls pause", pause),
        ),
        (
            "cut",
            "no answer: the connection was cut",
            shop("4 matches", "unknown: the connection was cut, which rule 4 calls retry", "sent again after 7000 ms"),
        ),
        (
            "no-route",
            "not sent: no route to host\n",
            shop("none matches", "retry: no route to host", "sent again after 2000 ms"),
        ),
        (
            "gone",
            "HTTP/1.1 410 Gone\n\n",
            shop("none matches", "refused: answered 410 Gone", "dead letter; its lane goes on"),
        ),
    ];
    for (name, answer, _) in &expected {
        fs::write(answers.join(format!("{name}.http")), answer).unwrap();
    }
    assert!(omgate(&["test", "--update", "--config", config]).status.success());
    for (name, _, expected) in &expected {
        let golden = fs::read_to_string(answers.join(format!("{name}.http.golden"))).unwrap();
        assert_eq!(golden, *expected, "{name}");
    }
    assert!(omgate(&["test", "--config", config]).status.success());
    what_came_over_the_wire_is_read_as_the_gateway_reads_it(&answers, config);
    fs::write(answers.join("endless.http"), "HTTP/1.1 200 OK\r\nX-Known: yes\r\n").unwrap();
    fs::write(answers.join("odd.http"), "410 Gone\n\n").unwrap();
    fs::write(folder.path().join("fixtures/stray.http"), "HTTP/1.1 200\n\n").unwrap();
    let report = text(&omgate(&["test", "--update", "--config", config]));
    assert!(report.contains("FAILED  shop/endless.http: its headers do not end"), "{report}");
    assert!(report.contains("FAILED  shop/odd.http: its first line is \"410 Gone\""), "{report}");
    assert!(report.contains("FAILED  stray.http: no folder of it is named like a destination"), "{report}");
    assert!(!answers.join("odd.http.golden").exists(), "what cannot be tried is no golden file");
}

/// `{"maintenance": true}`, compressed.
const COMPRESSED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4d\xcc\xcc\x2b\x49\xcd\x4b\xcc\x4b\x4e\x55\xb2\x52\x28\x29\x2a\x4d\xad\x05\x00\x74\x2c\x0f\x4c\x15\x00\x00\x00";

fn what_came_over_the_wire_is_read_as_the_gateway_reads_it(answers: &Path, config: &str) {
    let cut = "4 matches\n  outcome  unknown: the target answered 200, but its body was cut or damaged";
    let compressed =
        format!("HTTP/1.1 503 X\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", COMPRESSED.len());
    let chunks = "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"mainten\r\nc\r\nance\": true}\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict\r\nX-Known: yes\r\nContent-Length: 0\r\n\r\n";
    for (name, answer, expected) in [
        ("chunked", format!("{chunks}0\r\n\r\n").into_bytes(), "3 matches"),
        ("gzip", [compressed.as_bytes(), COMPRESSED].concat(), "3 matches"),
        ("interim", interim.into(), "1 matches"),
        ("short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into(), cut),
        ("chunk-missing", chunks.replace("503", "200").into_bytes(), cut),
        ("damaged", [compressed.replace("503", "200").as_bytes(), &[b'?'; 41]].concat(), cut),
        (
            "garbage",
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n".into(),
            "4 matches\n  outcome  unknown: the target gave no usable",
        ),
    ] {
        let file = answers.join(format!("{name}.http"));
        fs::write(&file, answer).unwrap();
        omgate(&["test", "--update", "--config", config]);
        let golden = fs::read_to_string(answers.join(format!("{name}.http.golden"))).unwrap();
        assert!(golden.contains(expected), "{name}: {golden}");
        assert!(omgate(&["test", "--config", config]).status.success(), "{name}: the same again");
    }
}

#[test]
fn nothing_to_replay_and_a_wrong_configuration_are_failures() {
    let folder = tempfile::tempdir().unwrap();
    let empty = omgate(&["test", folder.path().to_str().unwrap(), "--config", "fixtures/omgate.toml"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty).contains("there is no *.xml"), "{}", text(&empty));
    let wrong = omgate(&["test", "--config", "fixtures/config-errors/fields.toml"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("did you mean `AccountId`?"), "{}", text(&wrong));
}

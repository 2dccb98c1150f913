//! Commands that look: destinations, sources, what happens while it happens, manual pages.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Process;
use crate::pages::{FINE, busy, post};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_and_sources_are_looked_at_explained_tried_and_paused_from_the_command_line() {
    let (process, _sink) = busy("").await;
    process.until(Duration::from_secs(60), |ledger| ledger["destinations"]["erp"]["delivered"] == 20).await;
    process.admin_until("/api/v1/systems", Duration::from_secs(30), |all| !all["billing"]["paused"].is_null()).await;
    let run = |words: &str| process.command(&words.split(' ').collect::<Vec<_>>());
    let list = said(&run("destinations list"));
    for part in ["erp", "crm", "billing", "paused", "open"] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let shown = parsed(&run("destinations show crm --json"));
    assert_eq!(
        (&shown["name"], &shown["kind"], &shown["routes"]),
        (&json!("crm"), &json!("rest"), &json!(["customers"]))
    );
    assert!(said(&run("destinations show billing")).contains("billing: system billing is paused since"));
    let explained = said(&run("explain erp"));
    let rate = explained.lines().find(|line| line.contains("rate")).unwrap();
    assert!(rate.contains("200 calls in 1s") && rate.contains("destination erp, line"), "{explained}");
    assert!(explained.contains("default"), "{explained}");
    let near = run("explain erb");
    assert!(!near.status.success() && said(&near).contains("did you mean \"erp\"?"), "{}", said(&near));
    let would = said(&run("destinations test erp --dry-run"));
    assert!(would.contains("would look up the name of") && would.contains("never a POST"), "{would}");
    let would = said(&run("destinations test crm --dry-run"));
    assert!(would.contains("so much as no message fills in") && !would.contains("OPTIONS http://{{"), "{would}");
    let would = said(&run("systems pause erp --for 2h --dry-run"));
    assert!(would.contains("pause would be done, and end by itself at 20"), "{would}");
    let would = said(&run("destinations pause erp --for 2h --dry-run"));
    assert!(would.contains("to which erp belongs, and end by itself at 20"), "{would}");
    let tried = run("destinations test erp");
    assert!(tried.status.success() && said(&tried).contains("connect"), "{}", said(&tried));
    assert!(
        said(&run("destinations pause erp --reason maintenance --for 2h")).contains("erp: system erp is paused since")
    );
    assert!(said(&run("audit list --verb pause")).contains("it ends at 20"));
    let tested = run("alarms test");
    assert!(!tested.status.success(), "{}", said(&tested));
    let told = process.admin("/api/v1/audit?object=alarms").await;
    assert!(told[0]["result"].as_str().unwrap().starts_with("nobody was told"), "{told}");
    let notification = said(&run("notifications show 1"));
    for part in ["notification      04l", "source            order-won", "\nvalues of the latest:\n", "\ndeliveries:\n"]
    {
        assert!(notification.contains(part), "{part}: {notification}");
    }
    let listed =
        |since: &str| parsed(&run(&format!("notifications list --since {since} --json"))).as_array().unwrap().len();
    assert!(listed("yesterday") > 0 && listed("yesterday") == listed("2h") && listed("today") > 0);
    assert_eq!(parsed(&run("deliveries list --until yesterday --json")), json!([]));
    assert!(said(&run("deliveries list --since tomorrow")).contains("neither a day nor a moment"));
    assert!(said(&run("destinations resume erp --reason done")).contains("erp is open"));
    let verbs: Vec<String> = process
        .admin("/api/v1/audit")
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["verb"].to_string())
        .collect();
    assert_eq!(verbs[..4], ["\"resume\"", "\"test\"", "\"pause\"", "\"test\""], "and no dry run");
    assert!(said(&run("sources list")).contains("/om/order-won"));
    let source = said(&run("sources show order-won"));
    assert!(source.contains(&format!("listens at http://127.0.0.1:{}/om/order-won", process.public)), "{source}");
    let status = said(&run("status"));
    assert!(status.contains("! billing is paused since") && status.contains("\n  Did its password"), "{status}");
    let watched = run("deliveries discard 1 --reason x --watch");
    assert!(!watched.status.success() && said(&watched).contains("commands that only look"), "{}", said(&watched));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_followed_while_it_happens() {
    let (process, _sink) = busy("").await;
    process.until(Duration::from_secs(60), |ledger| ledger["destinations"]["erp"]["delivered"] == 20).await;
    let process = std::sync::Arc::new(process);
    let follow = |words: &'static [&'static str]| {
        let process = std::sync::Arc::clone(&process);
        tokio::task::spawn_blocking(move || process.command(words))
    };
    let tail = follow(&["tail", "--destination", "erp", "--count", "2"]);
    let trace = follow(&["trace", "erp", "--count", "1"]);
    let top = follow(&["top", "--every", "3", "--count", "1"]);
    // Until each has looked for the first time, nothing is news to it.
    let feeding = async {
        for number in 100..200 {
            post(&process, number, FINE).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
            if tail.is_finished() && trace.is_finished() && top.is_finished() {
                break;
            }
        }
    };
    feeding.await;
    let (tail, trace, top) = (tail.await.unwrap(), trace.await.unwrap(), top.await.unwrap());
    let lines = said(&tail);
    assert!(tail.status.success() && lines.lines().count() == 2 && lines.contains("→ erp"), "{lines}");
    let exchange = said(&trace);
    for part in
        ["── delivery", "→ POST http://", "<ns1:Total>12.50</ns1:Total>", "← HTTP 200", "<OrderId>4711</OrderId>"]
    {
        assert!(exchange.contains(part), "{part}: {exchange}");
    }
    let picture = said(&top);
    assert!(picture.contains("in/s") && picture.contains("order-won") && picture.contains("billing"), "{picture}");
    let pages = process.folder.path().join("man");
    let written = std::process::Command::new(env!("CARGO_BIN_EXE_omgate")).arg("man").arg(&pages).output().unwrap();
    assert!(written.status.success(), "{}", said(&written));
    let page = std::fs::read_to_string(pages.join("omgate-deliveries.1")).unwrap();
    assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
}

/// What a command says on a terminal of that size; none where there is nothing to make one with.
fn on_a_terminal(process: &Process, columns: usize, lines: usize, words: &str) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_omgate");
    let config = process.config();
    let limit = "timeout --preserve-status 4";
    let line =
        format!("stty cols {columns} rows {lines}; exec {limit} {program} {words} --config {}", config.display());
    let output = std::process::Command::new("script").args(["-qec", &line, "/dev/null"]).output().ok()?;
    Some(said(&output).replace('\r', ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_room_in_a_small_terminal_and_are_whole_where_there_is_none() {
    let (process, _sink) = busy("").await;
    process.until(Duration::from_secs(60), |ledger| ledger["deliveries"]["dead"].as_i64() >= Some(5)).await;
    let lists =
        ["deliveries list --limit 5", "dead list", "notifications list --limit 5", "status", "destinations list"];
    let looks = lists.iter().chain(&["audit list", "top --every 1 --count 1", "destinations show billing"]);
    for (words, (columns, lines)) in looks.flat_map(|words| [(words, (40, 14)), (words, (80, 24))]) {
        let Some(shown) = on_a_terminal(&process, columns, lines, words) else {
            return println!("skipped: there is no `script` to make a terminal with");
        };
        let table: Vec<&str> = shown.lines().filter(|line| line.starts_with(['│', '┌', '└', '╞'])).collect();
        assert!(!table.is_empty() && table.iter().all(|line| line.chars().count() <= columns), "{words}: {shown}");
        if words.starts_with("top") {
            assert!(shown.lines().count() < lines, "{words} at {columns}: {shown}");
        }
        let is_row = |line: &&&str| line.starts_with('│');
        if *words == lists[0] {
            assert_eq!(table.iter().filter(is_row).count(), 1 + 5, "{words} at {columns}: a row is a line: {shown}");
            assert!(shown.contains("no room for: ") && shown.contains("a wider terminal shows it"), "{shown}");
        }
    }
    let plain = said(&process.command(&["deliveries", "list", "--limit", "5"]));
    assert!(plain.lines().count() == 6 && plain.contains("due at") && !plain.contains(['│', '…']), "{plain}");
}

//! `omgate sources adopt`: a refreshed sandbox is let in, and what waited of it goes its way.

use super::*;

const SANDBOX: &str = "00D98000000wxyzEAA";

fn sandbox_notice(number: usize) -> String {
    notice(number).replace("00D24000000abcdEAA", SANDBOX)
}

fn quarantining(server: &str) -> String {
    configuration(server, "unknown_organization = \"quarantine\"")
}

async fn kinds(gateway: &Process) -> (i64, i64) {
    let ledger = gateway.ledger().await;
    let count = |kind: &str| ledger["notifications"][kind].as_i64().unwrap();
    assert_eq!(ledger["balanced"], true, "{ledger:#}");
    (count("quarantined"), count("routed"))
}

fn adopt(gateway: &Process, more: &[&str]) -> (bool, String) {
    let arguments = ["sources", "adopt", "orders", "--organization", SANDBOX, "--reason", "refreshed"];
    let output = gateway.command(&[&arguments, more].concat());
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_lets_a_sandbox_in_and_sends_what_was_quarantined() {
    let mut gateway = Process::prepare(&quarantining(""));
    gateway.start(&[]).await;
    for number in 0..3 {
        assert!(gateway.post("/om/orders", sandbox_notice(number)).await.unwrap().is_ack());
    }
    let stranger = notice(9).replace("00D24000000abcdEAA", "00D98000000othrEAA");
    assert!(gateway.post("/om/orders", stranger).await.unwrap().is_ack());
    assert_eq!(kinds(&gateway).await, (4, 0));

    // Told, and nothing done.
    let before = fs::read_to_string(gateway.config()).unwrap();
    let line = format!("organizations = [\"00D24000000abcdEAA\", \"{SANDBOX}\"]");
    let (done, told) = adopt(&gateway, &[]);
    assert!(!done && told.contains("3 notifications") && told.contains(&line), "{told}");
    let (done, told) = adopt(&gateway, &["--write", "--dry-run"]);
    assert!(told.contains("is the organization id of the README's examples"), "{told}");
    assert!(done && told.contains("would be written") && told.contains(&line), "{told}");
    assert_eq!((fs::read_to_string(gateway.config()).unwrap(), kinds(&gateway).await), (before.clone(), (4, 0)));

    let (done, told) = adopt(&gateway, &["--write"]);
    assert!(done && told.contains(&line) && told.contains("3 are routed, into 3 deliveries"), "{told}");
    let after = fs::read_to_string(gateway.config()).unwrap();
    assert_eq!(after, before.replace("organizations = [\"00D24000000abcdEAA\"]", &line), "and nothing else changed");
    assert_eq!(kinds(&gateway).await, (1, 3), "the stranger stays aside");
    assert!(gateway.post("/om/orders", sandbox_notice(7)).await.unwrap().is_ack());
    assert_eq!(kinds(&gateway).await, (1, 4));
    let audit = gateway.command(&["audit", "list", "--json"]);
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("\"adopt\"") && audit.contains("refreshed"), "{audit}");
    let (done, told) = adopt(&gateway, &[]);
    assert!(done && told.contains("of 0 quarantined notifications 0 are routed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_of_which_nothing_is_quarantined_is_written_only_on_purpose() {
    let mut gateway = Process::prepare(&quarantining(""));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", sandbox_notice(1)).await.unwrap().is_ack());
    let before = fs::read_to_string(gateway.config()).unwrap();
    let other = |more: &[&str]| {
        let arguments =
            ["sources", "adopt", "orders", "--organization", "00D98000000wxyyEAA", "--write", "--reason", "x"];
        let output = gateway.command(&[&arguments, more].concat());
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (done, told) = other(&[]);
    assert!(!done && told.contains("nothing is written; quarantined there are 00D98000000wxyzEAA (1)"), "{told}");
    assert!(told.contains("did you mean 00D98000000wxyzEAA?") && told.contains("--even-if-unseen"), "{told}");
    assert_eq!(fs::read_to_string(gateway.config()).unwrap(), before);
    let (done, told) = other(&["--even-if-unseen"]);
    assert!(done && told.contains("of 0 quarantined notifications 0 are routed"), "{told}");
    assert!(fs::read_to_string(gateway.config()).unwrap().contains("00D98000000wxyyEAA"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_quarantined_goes_its_way_no_faster_than_it_is_told() {
    let mut gateway = Process::prepare(&quarantining(""));
    gateway.start(&[]).await;
    for number in 0..3 {
        assert!(gateway.post("/om/orders", sandbox_notice(number)).await.unwrap().is_ack());
    }
    let begun = std::time::Instant::now();
    let (done, told) = adopt(&gateway, &["--write", "--rate", "2"]);
    assert!(done && told.contains("3 are routed, into 3 deliveries"), "{told}");
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "{:?}", begun.elapsed());
    let order = serde_json::json!({"organization": SANDBOX, "rate": 0});
    let (status, answer) = gateway.change("/api/v1/sources/orders/adopt", &order).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("from 1 to 10000"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_does_not_take_is_adopted_by_nobody() {
    let mut gateway = Process::prepare(&quarantining("watch = false"));
    gateway.start(&[]).await;
    assert!(gateway.post("/om/orders", sandbox_notice(1)).await.unwrap().is_ack());
    let order = serde_json::json!({"organization": SANDBOX, "reason": "x"});
    let (status, answer) = gateway.change("/api/v1/sources/orders/adopt", &order).await;
    assert_eq!((status, &answer["in_force"], &answer["routed"]), (200, &false.into(), &0.into()), "{answer:#}");
    assert_eq!(gateway.change("/api/v1/sources/leads/adopt", &order).await.0, 404);
    assert_eq!(kinds(&gateway).await, (1, 0));
    // Written by hand, and then sent by the same command; an outbound message that is not listed stays aside.
    let listed =
        format!("organizations = [\"00D24000000abcdEAA\", \"{SANDBOX}\"]\nunknown_organization = \"quarantine\"");
    taken(&gateway, &configuration("watch = false", &format!("{listed}\nactions = [\"04k1\"]"))).await;
    let (done, told) = adopt(&gateway, &[]);
    assert!(done && told.contains("stays quarantined: outbound message"), "{told}");
    assert_eq!(kinds(&gateway).await, (1, 0));
    taken(&gateway, &configuration("watch = false", &listed)).await;
    let (done, told) = adopt(&gateway, &[]);
    assert!(done && told.contains("1 are routed, into 1 deliveries"), "{told}");
    assert_eq!(kinds(&gateway).await, (0, 1));
}

//! What people do with what was sent, and what answers lead to: over sockets and by the command line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

/// A source, `shop` that keeps the order's number, and `ledger`; with their routes.
fn configuration(shop: &str, ledger: &str, routes: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
drain = "3s"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "shop"
kind = "rest"
url = "{shop}/orders"
timeout = "5s"
retry = {{ first = "50ms", max_wait = "1s" }}
keep = {{ order = "response.body.OrderId", secret = "response.body.Missing * 2" }}

[[destination]]
name = "ledger"
kind = "rest"
method = "PUT"
url = "{ledger}/entries/{{{{ notification.id }}}}"
timeout = "5s"
retry = {{ first = "50ms", max_wait = "1s" }}
{routes}"#
    )
}

const SHOP_ALONE: &str = "
[[route]]
name = \"sell\"
source = \"orders\"
destination = \"shop\"
[route.map]
Name = \"record.Name\"
";

const BOTH: &str = "
[[route]]
name = \"book\"
source = \"orders\"
destination = \"ledger\"
after = \"sell\"
[route.map]
Order = \"after.order\"
Name = \"record.Name\"
[[route]]
name = \"sell\"
source = \"orders\"
destination = \"shop\"
[route.map]
Name = \"record.Name\"
";

fn notice(id: &str, record: &str, name: &str) -> String {
    envelope(&[Notice { id, record, fields: &format!("<sf:Name>{name}</sf:Name>") }])
}

/// A sink that answers with a status that can be changed, and an order of this number.
async fn shop(order: Value) -> (Sink, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let said = Arc::clone(&status);
    let respond = move |_, _: &Arrived| Some((said.load(Ordering::SeqCst), json!({"OrderId": order}).to_string()));
    (Sink::start(Box::new(respond)).await, status)
}

async fn post(gateway: &Process, body: String) {
    assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
}

/// Waits until a delivery is in a state.
async fn until(gateway: &Process, delivery: i64, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = gateway.admin(&format!("/api/v1/deliveries/{delivery}")).await;
        if found["delivery"]["state"] == state {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:#}\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn replay(gateway: &Process, delivery: i64, body: Value) -> (u16, Value) {
    gateway.change(&format!("/api/v1/deliveries/{delivery}/replay"), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_system_gets_what_another_answered_and_people_find_it() {
    let (shop, status) = shop(json!(4711)).await;
    let (ledger, _) = self::shop(Value::Null).await;
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &ledger.url(""), BOTH));
    gateway.start(&[]).await;
    assert_eq!(gateway.change("/api/v1/systems/shop/pause", &json!({"reason": "inventory"})).await.0, 200);
    post(&gateway, notice("04l1", "006A", "desk")).await;
    let why = gateway.command(&["why", "2"]);
    let text = "delivery 2 is blocked: it comes after delivery 1 and waits until that one is delivered; of that one: system shop \
                is paused since";
    assert!(said(&why).starts_with(text), "{}", said(&why));
    let started = Instant::now();
    assert_eq!(gateway.change("/api/v1/systems/shop/resume", &json!({})).await.0, 200);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert!(started.elapsed() < Duration::from_secs(15), "the other system hears of it at once");
    assert_eq!(ledger.arrived()[0].json(), json!({"Order": 4711, "Name": "desk"}));
    let shown = gateway.admin("/api/v1/deliveries/1").await["delivery"].clone();
    assert_eq!(shown["kept"], json!({"order": 4711, "secret": null}));
    assert!(shown["kept_warnings"]["secret"].as_str().unwrap().contains("response.body.Missing * 2"), "{shown}");
    assert_eq!((&shown["followed_by"], &shown["after"]), (&json!([2]), &Value::Null));
    let page = gateway.admin("/deliveries/1").await;
    let page = page.as_str().unwrap();
    assert!(
        page.contains("<dt>kept: order</dt><dd>4711</dd>") && page.contains("<a href=\"/deliveries/2\">2</a>"),
        "{page}"
    );
    let listed = gateway.command(&["deliveries", "list", "--kept", "order=4711", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["delivery_id"]), (1, &json!(1)));
    assert_eq!(gateway.admin("/api/v1/deliveries?kept=order%3D4712").await, json!([]));
    let shown = gateway.command(&["deliveries", "show", "1"]);
    assert!(said(&shown).contains("kept              order = 4711"), "{}", said(&shown));
    // The one before is refused: what comes after it dies of that, and goes again once it went.
    status.store(422, Ordering::SeqCst);
    post(&gateway, notice("04l2", "006B", "lamp")).await;
    until(&gateway, 4, "dead").await;
    assert!(gateway.admin("/dead").await.as_str().unwrap().contains("<a href=\"/deliveries/4\">4</a>"));
    let (code, told) = replay(&gateway, 4, json!({"dry_run": true})).await;
    assert!(code == 409 && told["detail"].as_str().unwrap().contains("delivery 3 is dead"), "{told}");
    let (code, problem) = replay(&gateway, 4, json!({})).await;
    assert_eq!(code, 409);
    assert!(
        problem["detail"].as_str().unwrap().contains("delivery \"3\" on route \"sell\", which it comes after, is dead")
    );
    status.store(200, Ordering::SeqCst);
    let both = gateway.command(&["dead", "replay", "3", "4", "--reason", "mended"]);
    assert!(both.status.success(), "{}", said(&both));
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 4).await;
    assert_eq!(gateway.ledger().await["balanced"], true);
    assert_eq!(gateway.admin("/api/v1/store/verify").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_sent_again_as_a_delivery_of_its_own() {
    let (shop, _) = shop(json!("A-1")).await;
    let (ledger, _) = self::shop(Value::Null).await;
    let more = "\n[[route]]\nname = \"book\"\nsource = \"orders\"\ndestination = \"ledger\"\nwhen = \"false\"\n";
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &ledger.url(""), &format!("{SHOP_ALONE}{more}")));
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "006A", "desk")).await;
    let before = until(&gateway, 1, "delivered").await;
    let twice = gateway.command(&["dead", "replay", "1", "--reason", "x"]);
    assert!(!twice.status.success() && said(&twice).contains("delivery 1 is delivered, not dead"), "{}", said(&twice));
    let dry = gateway.command(&["deliveries", "replay", "1", "--dry-run"]);
    assert!(dry.status.success(), "{}", said(&dry));
    for part in [
        "a new delivery that repeats it",
        "along route sell to shop",
        "POST http://",
        "\"Name\": \"desk\"",
        "it is the call of the last attempt, but for its key",
    ] {
        assert!(said(&dry).contains(part), "{part}: {}", said(&dry));
    }
    let sent = gateway.command(&["deliveries", "replay", "1", "--reason", "lost on their side"]);
    assert!(said(&sent).starts_with("delivery 2, a new one that repeats 1, is now"), "{}", said(&sent));
    let repeated = until(&gateway, 2, "delivered").await;
    let (first, second) = (&shop.arrived()[0], &shop.arrived()[1]);
    assert_eq!(first.body, second.body);
    assert_ne!(first.key(), second.key(), "by the same key the target would take it for done");
    assert_eq!(
        (&repeated["delivery"]["replay_of"], &repeated["delivery"]["kept"]["order"]),
        (&json!(1), &json!("A-1"))
    );
    let after = until(&gateway, 1, "delivered").await;
    assert_eq!(after["delivery"]["replayed_by"], json!([2]));
    assert_eq!(after["attempts"], before["attempts"], "the old one stays as it is");
    // To another destination, by its name or by that of its route.
    for (to, delivery) in [("ledger", 3), ("book", 4)] {
        let (code, view) = replay(&gateway, 1, json!({"to": to})).await;
        assert_eq!(
            (code, &view["delivery_id"], &view["destination"]),
            (200, &json!(delivery), &json!("ledger")),
            "{view}"
        );
        until(&gateway, delivery, "delivered").await;
    }
    assert_eq!(ledger.arrived()[0].json()["record"]["Name"], "desk");
    let (code, problem) = replay(&gateway, 1, json!({"to": "ledgr"})).await;
    assert_eq!(code, 400);
    let words = "to is \"ledgr\": there is no such route or destination; did you mean \"ledger\"?";
    assert_eq!(problem["detail"], words);
    for (wrong, words) in [
        (json!({"mapping": "as_it_was", "to": "ledger"}), "its own route"),
        (json!({"edit": {"fields": {"Name": "x"}}}), "needs a reason"),
        (json!({"mapping": "like then"}), "unknown variant"),
    ] {
        let (code, problem) = replay(&gateway, 1, wrong).await;
        assert!(code == 400 && problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    assert_eq!(gateway.change("/api/v1/deliveries/1/hold", &json!({"to": "ledger"})).await.0, 400);
    let entry = gateway.admin("/api/v1/audit?verb=replay&object_id=1").await;
    let results: Vec<_> = entry.as_array().unwrap().iter().rev().map(|entry| entry["result"].clone()).collect();
    assert_eq!(
        results[..2],
        ["sent again as delivery 2 along route sell", "sent again as delivery 3 along route book"]
    );
    // Many by a filter need to say in which state.
    let held = gateway.command(&["deliveries", "hold", "--route", "sell", "--reason", "x"]);
    assert!(!held.status.success() && said(&held).contains("name --state"), "{}", said(&held));
    // A selection of what was delivered, by its state.
    let choose = json!({"route": "sell", "state": "delivered"});
    let (code, forecast) =
        gateway.change("/api/v1/deliveries/replay", &json!({"choose": choose, "dry_run": true})).await;
    assert_eq!((code, &forecast["count"]), (200, &json!(2)), "{forecast}");
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["balanced"], &ledger["deliveries"]["routed"]), (&json!(true), &json!(4)));
    assert_eq!(gateway.admin("/api/v1/store/verify").await, json!([]));
}

/// What comes after another that is sent again with it cannot be tried alone: its answer is still to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_chain_does_not_call_failing_what_waits_for_its_lead() {
    let (shop, status) = shop(json!(4711)).await;
    let (ledger, _) = self::shop(Value::Null).await;
    status.store(422, Ordering::SeqCst);
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &ledger.url(""), BOTH));
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "006A", "desk")).await;
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 2).await;
    status.store(200, Ordering::SeqCst);
    let bulk = "/api/v1/deliveries/replay";
    let choose = json!({"state": "dead"});
    let (code, forecast) = gateway.change(bulk, &json!({"choose": choose, "dry_run": true})).await;
    assert_eq!(
        (code, &forecast["count"], &forecast["tried"], &forecast["failing"]),
        (200, &json!(2), &json!(1), &Value::Null),
        "{forecast:#}"
    );
    let (code, job) = gateway.change(bulk, &json!({"choose": choose, "reason": "mended"})).await;
    assert!(code == 202 && job["warning"].is_null(), "{job}");
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 2).await;
    assert_eq!(ledger.arrived()[0].json(), json!({"Order": 4711, "Name": "desk"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_goes_as_it_was_or_mapped_anew_and_the_hash_tells_them_apart() {
    let (shop, status) = shop(json!(1)).await;
    status.store(422, Ordering::SeqCst);
    let secret = "Key = \"'${file:key}'\"\n";
    let mut gateway =
        Process::prepare(&configuration(&shop.url(""), "http://127.0.0.1:9", &format!("{SHOP_ALONE}{secret}")));
    std::fs::write(gateway.folder.path().join("key"), "s3cr3t-one").unwrap();
    gateway.start(&[]).await;
    for (id, record) in [("04l1", "006A"), ("04l2", "006B"), ("04l3", "006C")] {
        post(&gateway, notice(id, record, "desk")).await;
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 3).await;
    gateway.stop().await;
    let renamed = SHOP_ALONE.replace("Name = ", "Title = ");
    gateway.configure(&configuration(&shop.url(""), "http://127.0.0.1:9", &format!("{renamed}{secret}")));
    gateway.start(&[]).await;
    let dry = gateway.command(&["deliveries", "replay", "1", "--dry-run"]);
    assert!(said(&dry).contains("-  \"Name\": \"desk\",\n+  \"Title\": \"desk\","), "{}", said(&dry));
    assert!(said(&dry).contains("${file:key}") && !said(&dry).contains("s3cr3t"), "{}", said(&dry));
    let dry = gateway.command(&["deliveries", "replay", "1", "--as-it-was", "--dry-run", "--json"]);
    let dry: Value = serde_json::from_slice(&dry.stdout).unwrap();
    let attempt = until(&gateway, 1, "dead").await["attempts"][0].clone();
    assert_eq!(dry["replay"]["call"]["call_sha256"], attempt["call_sha256"], "{dry:#}");
    assert_eq!((&dry["replay"]["same_as_last"], &dry["replay"]["linked"]), (&json!(true), &json!(false)));
    status.store(200, Ordering::SeqCst);
    assert!(gateway.command(&["deliveries", "replay", "1", "--as-it-was", "--reason", "x"]).status.success());
    let sent = until(&gateway, 1, "delivered").await;
    assert_eq!(sent["attempts"][1]["config_version"], attempt["config_version"]);
    assert_eq!(sent["attempts"][1]["call_sha256"], attempt["call_sha256"]);
    assert!(gateway.command(&["deliveries", "replay", "2", "--reason", "x"]).status.success());
    let sent = until(&gateway, 2, "delivered").await;
    assert_ne!(sent["attempts"][1]["call_sha256"], sent["attempts"][0]["call_sha256"]);
    let bodies: Vec<Value> = shop.arrived().iter().skip(3).map(Arrived::json).collect();
    assert_eq!(bodies, [json!({"Name": "desk", "Key": "s3cr3t-one"}), json!({"Title": "desk", "Key": "s3cr3t-one"})]);
    // A repetition of what was delivered has a key that nobody knows yet.
    let dry = said(&gateway.command(&["deliveries", "replay", "2", "--dry-run"]));
    let key = shop.arrived().last().unwrap().key().to_owned();
    assert!(dry.contains("dempotency-Key: (a new one)\n") && !dry.contains(&key), "{dry}");
    assert!(dry.contains("it is the call of the last attempt, but for its key"), "{dry}");
    // A secret in the call is another now: the call of then cannot be made again.
    gateway.stop().await;
    std::fs::write(gateway.folder.path().join("key"), "s3cr3t-two").unwrap();
    gateway.start(&[]).await;
    let refused = gateway.command(&["deliveries", "replay", "3", "--as-it-was", "--reason", "x"]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("does not make the call of attempt 1 again"), "{}", said(&refused));
    let dry = said(&gateway.command(&["deliveries", "replay", "2", "--dry-run"]));
    assert!(dry.contains("against attempt 2:\nit looks the same and is another call"), "{dry}");
    assert_eq!(until(&gateway, 3, "dead").await["attempts"].as_array().unwrap().len(), 1);
}

/// A delivery whose condition nobody could decide stands on that condition when it is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_died_of_a_condition_goes_again_only_when_the_condition_holds() {
    let shop = Sink::start(Box::new(|_, _: &Arrived| Some((200, "{}".to_owned())))).await;
    let routes = |when: &str| SHOP_ALONE.replace("[route.map]", &format!("when = \"{when}\"\n[route.map]"));
    let with = |when: &str| configuration(&shop.url(""), "http://127.0.0.1:9", &routes(when));
    let mut gateway = Process::prepare(&with("record.Name > 5"));
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "006A", "desk")).await;
    until(&gateway, 1, "dead").await;
    for (when, words) in [("record.Name > 5", "deciding `when`"), ("record.Name == 'chair'", "does not hold")] {
        gateway.configure(&with(when));
        gateway.command(&["reload"]);
        for order in [&["--dry-run"][..], &["--reason", "again"], &["--reason", "again", "--even-if-failing"]] {
            let told = gateway.command(&[&["dead", "replay", "1"], order].concat());
            let said = said(&told);
            assert!(!told.status.success() && said.contains("does not take it") && said.contains(words), "{said}");
        }
        let (_, job) = gateway
            .change(
                "/api/v1/deliveries/replay",
                &json!({"choose": {"ids": [1]}, "even_if_failing": true, "reason": "x"}),
            )
            .await;
        let path = format!("/api/v1/jobs/{}", job["id"]);
        let ended = gateway.admin_until(&path, PATIENCE, |job| !job["ended_at"].is_null()).await;
        assert!(ended["changed"] == 0 && ended["refused"] == 1, "{ended}");
    }
    assert!(shop.arrived().is_empty(), "nothing was called");
    gateway.configure(&with("record.Name == 'desk'"));
    gateway.command(&["reload"]);
    let sent = gateway.command(&["dead", "replay", "1", "--reason", "mended"]);
    assert!(sent.status.success(), "{}", said(&sent));
    until(&gateway, 1, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_dead_letter_goes_out_as_a_revision_that_salesforce_does_not_know_of() {
    let refuse = |_, request: &Arrived| Some((if request.body.contains("desk") { 422 } else { 200 }, "{}".to_owned()));
    let shop = Sink::start(Box::new(refuse)).await;
    let mut gateway = Process::prepare(&configuration(&shop.url(""), "http://127.0.0.1:9", SHOP_ALONE));
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "006A", "desk")).await;
    until(&gateway, 1, "dead").await;
    let file = gateway.folder.path().join("edit.json");
    std::fs::write(&file, "{\"Name\": \"Tisch & Co\"}").unwrap();
    let file = file.to_str().unwrap();
    let without = gateway.command(&["deliveries", "replay", "1", "--edit", file]);
    assert!(said(&without).contains("needs a reason"), "{}", said(&without));
    let dry = gateway.command(&["dead", "replay", "1", "--edit", file, "--reason", "typo", "--dry-run"]);
    assert!(said(&dry).contains("+  \"Name\": \"Tisch & Co\""), "{}", said(&dry));
    let other = json!({"edit": {"fields": {"Id": "006B"}}, "reason": "x"});
    let (code, problem) = replay(&gateway, 1, other).await;
    assert!(code == 409 && problem["detail"].as_str().unwrap().contains("makes another record of it"), "{problem}");
    assert!(gateway.command(&["dead", "replay", "1", "--edit", file, "--reason", "typo"]).status.success());
    let sent = until(&gateway, 2, "delivered").await["delivery"].clone();
    assert_eq!((&sent["replay_of"], &sent["edited_from"], &sent["revision"]), (&json!(1), &json!(1), &json!(2)));
    let old = until(&gateway, 1, "superseded").await;
    assert_eq!((&old["delivery"]["superseded_by"], &old["delivery"]["replayed_by"]), (&json!(2), &json!([2])));
    assert_eq!(shop.arrived()[1].json(), json!({"Name": "Tisch & Co"}));
    // Salesforce repeats what it sent.
    post(&gateway, notice("04l1", "006A", "desk")).await;
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["notifications"]["duplicate"], &ledger["notifications"]["revised"]), (&json!(1), &json!(0)));
    let revisions = gateway.admin("/api/v1/notifications/04l1").await["revisions"].clone();
    assert_eq!((&revisions[1]["edited_from"], &revisions[1]["reason"]), (&json!(1), &json!("typo")));
    let whole = revisions[1]["xml"].as_str().unwrap().replace("Tisch &amp; Co", "Stuhl");
    let (code, view) = replay(&gateway, 2, json!({"edit": {"xml": whole}, "reason": "and again"})).await;
    assert_eq!((code, &view["revision"]), (200, &json!(3)), "{view}");
    until(&gateway, 3, "delivered").await;
    assert_eq!(gateway.ledger().await["balanced"], true);
    assert_eq!(gateway.admin("/api/v1/store/verify").await, json!([]));
}

#[test]
fn check_tells_of_paths_that_an_answer_does_not_have_and_of_what_comes_after_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["erp.wsdl", "erp.xsd"] {
        std::fs::copy(package.join("wsdl").join(name), folder.path().join(name)).unwrap();
    }
    let config = r#"
        [[source]]
        name = "orders"
        path = "/om/orders"
        organizations = ["00D24000000abcdEAA"]
        [[destination]]
        name = "erp"
        kind = "soap"
        wsdl = "erp.wsdl"
        operation = "CreateOrder"
        keep = { order = "response.body.OrderId", odd = "response.body.OrderIdd" }
        [[destination]]
        name = "books"
        kind = "rest"
        url = "http://books.internal/{{ after.order }}"
        [[route]]
        name = "create"
        source = "orders"
        destination = "erp"
        when = "record.Stage == 'Won'"
        coalesce = true
        [route.map]
        OrderNumber = "record.Name"
        Total = "1"
        Currency = "'EUR'"
        Customer.Id = "record.AccountId"
        [[route]]
        name = "wide"
        source = "orders"
        destination = "books"
        after = "create"
        [[route]]
        name = "narrow"
        source = "orders"
        destination = "books"
        when = "record.Stage == 'Won' and record.Amount > 5"
        coalesce = true
        after = "create"
    "#;
    let path = folder.path().join("omgate.toml");
    std::fs::write(&path, config).unwrap();
    let omgate = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(arguments)
            .args(["--config", path.to_str().unwrap()])
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, text) = omgate(&["check"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "the answer of operation CreateOrder has no \"OrderIdd\" by its WSDL",
        "did you mean `OrderId`?",
        "may take what route \"create\" does not: its `when` differs",
        "say coalesce = true here too",
        "after create, which must be delivered first",
        "keeps order, odd of the answer",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("may take what route").count(), 1, "{text}");
    // Recorded answers show what would be kept; envelopes what would be sent.
    let answers = folder.path().join("fixtures/erp");
    std::fs::create_dir_all(&answers).unwrap();
    let answer = "HTTP/1.1 200 OK\nContent-Type: text/xml\n\n<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\">\
                  <e:Body><CreateOrderResponse xmlns=\"urn:example:erp\"><OrderId>4711</OrderId></CreateOrderResponse></e:Body>\
                  </e:Envelope>";
    std::fs::write(answers.join("taken.http"), answer).unwrap();
    std::fs::write(folder.path().join("fixtures/won.xml"), envelope(&[Notice {
        id: "04l1",
        record: "006A",
        fields: "<sf:Name>A</sf:Name><sf:AccountId>1</sf:AccountId><sf:Stage>Won</sf:Stage><sf:Amount>7</sf:Amount>",
    }]))
    .unwrap();
    let (code, text) = omgate(&["test", "--update"]);
    assert_eq!(code, Some(0), "{text}");
    let golden = |name: &str| std::fs::read_to_string(folder.path().join("fixtures").join(name)).unwrap();
    assert!(golden("erp/taken.http.golden").contains("keeps    order = "), "{}", golden("erp/taken.http.golden"));
    let won = golden("won.golden");
    assert!(won.contains("after route create, whose answer is taken to have given 1"), "{won}");
    assert!(won.contains("POST http://books.internal/1"), "{won}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_nobody_saw_what_the_look_up_keeps_counts() {
    let answer = |_, request: &Arrived| (request.method == "GET").then(|| (200, json!({"OrderId": 9}).to_string()));
    let shop = Sink::start(Box::new(answer)).await;
    let find = format!(
        r#"
[[destination]]
name = "find"
system = "shop"
kind = "rest"
method = "GET"
url = "{}/orders"
keep = {{ order = "response.body.OrderId" }}
{SHOP_ALONE}
[route.probe]
destination = "find"
found_when = "response.status == 200"
"#,
        shop.url("")
    );
    let text = configuration(&shop.url(""), "http://127.0.0.1:9", &find);
    let mut gateway = Process::prepare(&text.replacen("timeout = \"5s\"", "timeout = \"5s\"\nunknown = \"probe\"", 1));
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "006A", "desk")).await;
    let found = until(&gateway, 1, "delivered").await["delivery"].clone();
    assert_eq!(found["kept"], json!({"order": 9, "secret": null}));
    assert!(found["kept_warnings"]["secret"].as_str().unwrap().contains("a look-up found"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_cut_off_is_begun_and_not_ended_in_the_audit_log_and_says_so() {
    let (shop, _) = shop(json!(4711)).await;
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &shop.url(""), SHOP_ALONE));
    gateway.start(&[]).await;
    assert_eq!(gateway.change("/api/v1/systems/shop/pause", &json!({"reason": "inventory"})).await.0, 200);
    for number in 0..4 {
        post(&gateway, notice(&format!("04l{number}"), &format!("006{number}"), "desk")).await;
    }
    let slowly = json!({"choose": {"state": "waiting"}, "rate": 1, "reason": "look first"});
    assert_eq!(gateway.change("/api/v1/deliveries/hold", &slowly).await.0, 202);
    let log = "/api/v1/audit?object=job";
    let begun = gateway.admin_until(log, PATIENCE, |log| log[0]["verb"] == "begin hold").await;
    assert!(begun[0]["unended"].is_null(), "it is under way: {begun}");
    gateway.kill();
    gateway.start(&[]).await;
    let cut = gateway.admin(log).await;
    assert!(cut[0]["unended"].as_str().unwrap().starts_with("begun, not ended: the gateway stopped"), "{cut}");
    let shown = gateway.admin("/audit").await;
    assert!(shown.as_str().unwrap().contains("begun, not ended: the gateway stopped"), "{shown}");
    let told = said(&gateway.command(&["audit", "list", "--object", "job"]));
    assert!(told.contains("not ended"), "{told}");
    // The next job has the same number, and an end.
    let rest = json!({"choose": {"state": "waiting"}, "rate": 1000, "reason": "the rest"});
    assert_eq!(gateway.change("/api/v1/deliveries/hold", &rest).await.0, 202);
    let both = gateway.admin_until(log, PATIENCE, |log| log[0]["verb"] == "end hold").await;
    assert_eq!((&both[0]["object_id"], &both[2]["object_id"]), (&json!("1"), &json!("1")), "{both}");
    gateway.stop().await;
    gateway.start(&[]).await;
    let unended: Vec<bool> =
        gateway.admin(log).await.as_array().unwrap().iter().map(|entry| !entry["unended"].is_null()).collect();
    assert_eq!(unended, [false, false, true], "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_answered_stands_in_the_audit_log_however_soon_the_gateway_is_killed() {
    let (shop, _) = shop(json!(4711)).await;
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &shop.url(""), SHOP_ALONE));
    gateway.start(&[]).await;
    assert_eq!(gateway.change("/api/v1/systems/shop/pause", &json!({"reason": "inventory"})).await.0, 200);
    let notices: Vec<(String, String)> = (0..50).map(|n| (format!("04l{n}"), format!("006{n}"))).collect();
    let notices: Vec<Notice<'_>> = notices.iter().map(|(id, record)| Notice { id, record, fields: "" }).collect();
    post(&gateway, envelope(&notices)).await;
    for round in 1..=4 {
        let hold = json!({"choose": {"state": "waiting"}, "rate": 1, "reason": format!("round {round}")});
        let (status, job) = gateway.change("/api/v1/deliveries/hold", &hold).await;
        gateway.kill();
        assert_eq!(status, 202, "{job}");
        gateway.start(&[]).await;
        let log = gateway.admin("/api/v1/audit?object=job").await;
        assert_eq!((log.as_array().unwrap().len(), &log[0]["verb"]), (round, &json!("begin hold")), "{log}");
        assert_eq!(log[0]["reason"], format!("round {round}"));
        assert!(log[0]["unended"].as_str().unwrap().contains("the gateway stopped"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_audit_log_does_not_take_first_is_not_begun() {
    let (shop, _) = shop(json!(4711)).await;
    let text = configuration(&shop.url(""), &shop.url(""), SHOP_ALONE);
    let nobody = text.replace("[route.map]", "when = \"record.Name == 'nobody'\"\n[route.map]");
    let mut gateway = Process::prepare(&nobody);
    gateway.start(&[]).await;
    post(&gateway, notice("04l1", "0061", "desk")).await;
    gateway.stop().await;
    gateway.configure(&text);
    let store = rusqlite::Connection::open(gateway.folder.path().join("omgate.db")).unwrap();
    store
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.result LIKE 'begun%'
             BEGIN SELECT RAISE(ABORT, 'there is no room'); END",
        )
        .unwrap();
    drop(store);
    gateway.start(&[]).await;
    post(&gateway, notice("04l2", "0062", "desk")).await;
    until(&gateway, 1, "delivered").await;
    let copy = gateway.folder.path().join("copy.db");
    for (address, order) in [
        ("deliveries/replay", json!({"choose": {"ids": [1]}})),
        ("notifications/reroute", json!({})),
        ("store/prune", json!({})),
        ("store/backup", json!({"file": copy})),
        ("store/rekey", json!({})),
        ("store/move", json!({"to": "sqlite:other.db"})),
    ] {
        let (status, told) = gateway.change(&format!("/api/v1/{address}"), &order).await;
        let words = "there is no room; nothing was begun, for the audit log must have it first: try again";
        assert!(status == 503 && told["detail"].as_str().unwrap().contains(words), "{address}: {status} {told}");
    }
    assert_eq!(gateway.admin("/api/v1/jobs").await, json!([]));
    for address in ["store/backup", "store/rekey", "store/move"] {
        assert_eq!(gateway.admin(&format!("/api/v1/{address}")).await["state"], "none", "{address}");
    }
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["notifications"]["unrouted"], &ledger["deliveries"]["routed"]), (&json!(1), &json!(1)));
    assert!(!copy.exists() && !gateway.folder.path().join("other.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_another_is_tried_with_what_that_kept_when_a_person_made_it_afterwards() {
    let (shop, _) = shop("O-1".into()).await;
    let (ledger, _) = self::shop("L-1".into()).await;
    let routes = "
[[route]]
name = \"book\"
source = \"orders\"
destination = \"numbered\"
after = \"sell\"
map = { Name = \"record.Name\" }
[[route]]
name = \"sell\"
source = \"orders\"
destination = \"shop\"
when = \"record.Name != 'Later'\"
map = { Name = \"record.Name\" }
[[destination]]
name = \"numbered\"
kind = \"rest\"
url = \"LEDGER/orders/{{ after.order }}\"
timeout = \"5s\"
"
    .replace("LEDGER", &ledger.url(""));
    let mut gateway = Process::prepare(&configuration(&shop.url(""), &ledger.url(""), &routes));
    gateway.start(&[]).await;
    post(&gateway, notice("04lA1", "006A1", "Later")).await;
    until(&gateway, 1, "dead").await;
    let (code, made) = replay(&gateway, 1, json!({"to": "sell", "reason": "it goes after all"})).await;
    assert_eq!(code, 200, "{made:#}");
    until(&gateway, 2, "delivered").await;
    until(&gateway, 1, "dead").await;
    let output = gateway.command(&["dead", "replay", "1", "--reason", "now there is an order"]);
    assert!(output.status.success(), "{}", said(&output));
    until(&gateway, 1, "delivered").await;
    assert_eq!(ledger.arrived()[0].path, "/orders/O-1");
    assert!(gateway.command(&["store", "verify"]).status.success());
}

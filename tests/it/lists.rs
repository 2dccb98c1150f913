//! What lists are asked for by: what nobody has is refused in words, and never an empty list.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

fn configuration(url: &str, source: &str, destination: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"

[store]
url = "sqlite:omgate.db"

[[source]]
name = "{source}"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]

[[destination]]
name = "{destination}"
kind = "rest"
method = "PUT"
url = "{url}/orders/{{{{ record.Id }}}}"

[[route]]
name = "to-{destination}"
source = "{source}"
destination = "{destination}"
"#
    )
}

/// A gateway that has delivered one notification from the source `orders` to the destination `erp-create`, and has another
/// configuration now, in which they are called `invoices` and `crm`.
async fn gateway(sink: &Sink) -> Process {
    let mut gateway = Process::prepare(&configuration(&sink.url(""), "orders", "erp-create"));
    gateway.start(&[]).await;
    let notice = Notice { id: "04l000000000001AAA", record: "006A00000001AAA", fields: "" };
    assert!(gateway.post("/om/orders", envelope(&[notice])).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    gateway.stop().await;
    gateway.configure(&configuration(&sink.url(""), "invoices", "crm"));
    gateway.start(&[]).await;
    gateway
}

async fn ok_sink() -> Sink {
    Sink::start(Box::new(|_, _: &Arrived| Some((200, "{}".to_owned())))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_has_is_refused_with_those_that_are_near() {
    let sink = ok_sink().await;
    let mut gateway = gateway(&sink).await;
    let (near, all) = ("did you mean \"erp-create\"?", "there are invoices, orders");
    for (query, words) in [
        ("deliveries?destination=erp-creat", format!("a destination \"erp-creat\"; {near}")),
        ("deliveries?route=to-erp", "a route \"to-erp\"; did you mean \"to-erp-create\"".to_owned()),
        ("dead?destination=erp-creat", format!("a destination \"erp-creat\"; {near}")),
        ("notifications?source=zzz", format!("a source \"zzz\"; {all}")),
        ("notifications?kind=lost", "there is no kind \"lost\"; there are routed, unrouted,".to_owned()),
        ("ledger/days?source=zzz", format!("a source \"zzz\"; {all}")),
        ("ledger/days?destination=erp-creat", format!("a destination \"erp-creat\"; {near}")),
        ("deliveries?state=lost", "state is \"lost\": there is no such state; there are waiting, blocked,".to_owned()),
        ("deliveries?state=ded", "state is \"ded\": there is no such state; did you mean \"dead\"?".to_owned()),
        ("deliveries?stat=dead", "there is no parameter \"stat\" here; expected one of `state`,".to_owned()),
        ("audit?verb=replai", "the audit log has no verb \"replai\"; did you mean \"replay\"".to_owned()),
        ("audit?object=zzz", "the audit log has no object \"zzz\"; there are absence, account,".to_owned()),
        ("audit?from=soon", "from is \"soon\": that is neither a day nor a moment; write a UTC day".to_owned()),
        ("gaps?days=0", "days is 0: ask for 1 to 366".to_owned()),
        ("gaps?days=many", "days is \"many\": it must be a whole number".to_owned()),
        ("issues?limit=0", "there is no parameter \"limit\" here; this address takes none".to_owned()),
        ("jobs?limit=0", "there is no parameter \"limit\" here; this address takes none".to_owned()),
    ] {
        let answer = gateway.admin(&format!("/api/v1/{query}")).await;
        assert_eq!(answer["status"], 400, "{query}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(&words), "{query}: {answer}");
    }
    let choose = json!({"choose": {"destination": "erp-creat"}, "dry_run": true});
    let (status, answer) = gateway.change("/api/v1/deliveries/replay", &choose).await;
    assert_eq!(status, 400, "{answer}");
    let to = json!({"choose": {"state": "dead"}, "to": "to-cmr", "dry_run": true});
    let (status, answer) = gateway.change("/api/v1/deliveries/replay", &to).await;
    let words = "to is \"to-cmr\": there is no such route or destination; did you mean \"to-crm\"";
    assert!(status == 400 && answer["detail"].as_str().unwrap().starts_with(words), "{answer}");
    let (status, answer) = gateway.change("/api/v1/notifications/reroute", &json!({"source": "zzz"})).await;
    assert_eq!(status, 400, "{answer}");
    for (arguments, words) in [
        (&["systems", "pause", "crmm", "--reason", "x"][..], "there is no system \"crmm\"; did you mean \"crm\"?"),
        (&["systems", "resume", "crmm", "--reason", "x"], "there is no system \"crmm\"; did you mean \"crm\"?"),
        (&["destinations", "pause", "crmm", "--reason", "x"], "did you mean \"crm\"?"),
        (&["lanes", "list", "--system", "crmm"], "there is no system \"crmm\"; did you mean \"crm\"?"),
        (&["lanes", "show", "crmm", "006A"], "there is no system \"crmm\"; did you mean \"crm\"?"),
        (&["lanes", "show", "crm", "006A"], "nothing is unsettled in a lane \"006A\" of system crm"),
    ] {
        let said = gateway.command(arguments);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1) && told.contains(words), "{arguments:?}: {told}");
    }
    let pause = gateway.command(&["destinations", "pause", "crm", "--for", "1h", "--reason", "closing", "--json"]);
    assert!(pause.status.success(), "{}", String::from_utf8_lossy(&pause.stderr));
    let would = gateway.command(&["systems", "resume", "crm", "--dry-run"]);
    assert!(String::from_utf8_lossy(&would.stdout).contains("what goes on by it: nothing that waits now"), "{would:?}");
    let ends = gateway.admin("/api/v1/systems").await["crm"]["paused"]["until"].as_str().unwrap().to_owned();
    let ends: omgate::clock::Timestamp = serde_json::from_value(json!(ends)).unwrap();
    let begun: omgate::clock::Timestamp =
        serde_json::from_value(gateway.admin("/api/v1/systems").await["crm"]["paused"]["since"].clone()).unwrap();
    let length = ends.since(begun).as_secs();
    assert!((3_590..=3_600).contains(&length), "{length}");
    assert_eq!(
        gateway.command(&["destinations", "pause", "crm", "--for", "0s", "--reason", "x"]).status.code(),
        Some(2)
    );
    for arguments in [
        &["deliveries", "list", "--destination", "erp-creat"][..],
        &["dead", "list", "--destination", "erp-creat"],
        &["dead", "replay", "--destination", "erp-creat", "--reason", "x"],
        &["ledger", "--destination", "erp-creat"],
    ] {
        let said = gateway.command(arguments);
        assert_eq!(said.status.code(), Some(1), "{arguments:?}");
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(words.contains(near), "{arguments:?}: {words}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_configuration_or_only_the_store_has_may_be_asked_for() {
    let sink = ok_sink().await;
    let mut gateway = gateway(&sink).await;
    for (query, found) in [
        ("deliveries?destination=erp-create", 1),
        ("deliveries?route=to-erp-create", 1),
        ("notifications?source=orders", 1),
        ("notifications?kind=revised", 0),
        ("deliveries?destination=crm", 0),
        ("deliveries?route=to-crm", 0),
        ("notifications?source=invoices", 0),
    ] {
        let answer = gateway.admin(&format!("/api/v1/{query}")).await;
        assert_eq!(answer.as_array().map(Vec::len), Some(found), "{query}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_none_or_of_more_than_there_may_be_is_refused_in_words() {
    let sink = ok_sink().await;
    let mut gateway = gateway(&sink).await;
    for list in ["deliveries", "dead", "notifications", "audit", "refused"] {
        for (limit, status) in [("0", 400), ("1001", 400), ("-1", 400), ("many", 400), ("1", 200), ("1000", 200)] {
            let answer = gateway.admin(&format!("/api/v1/{list}?limit={limit}")).await;
            let found = if answer.is_array() { 200 } else { answer["status"].as_i64().unwrap() };
            assert_eq!(found, status, "{list}, {limit}: {answer}");
            if limit == "0" || limit == "1001" {
                let words = format!("limit is {limit}: ask for 1 to 1000");
                assert!(answer["detail"].as_str().unwrap().starts_with(&words), "{answer}");
            }
        }
    }
    gateway.stop().await;
}

/// A gateway whose system refuses all orders, and whose lanes are made of the account.
async fn refusing() -> (Sink, Process) {
    let sink = Sink::start(Box::new(|_, _: &Arrived| Some((422, "{}".to_owned())))).await;
    let configuration = configuration(&sink.url(""), "orders", "erp-create")
        .replace("path = \"/om/orders\"", "path = \"/om/orders\"\nsearch = [\"Name\"]")
        .replace("source = \"orders\"\n", "source = \"orders\"\nlane = \"record.Account\"\non_dead = \"hold\"\n");
    let mut gateway = Process::prepare(&configuration);
    gateway.start(&[]).await;
    for number in 0..5 {
        let (id, record) = (format!("04l00000000000{number}AAA"), format!("006A0000000{number}AAA"));
        let fields = format!("<sf:Account>a/{}</sf:Account><sf:Name>ACME-{number}</sf:Name>", number / 3);
        let notice = Notice { id: &id, record: &record, fields: &fields };
        assert!(gateway.post("/om/orders", envelope(&[notice])).await.unwrap().is_ack());
    }
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 2).await;
    (sink, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_messages_by_their_fields_and_what_stops_their_lanes() {
    let (_sink, mut gateway) = refusing().await;
    let told = |arguments: &[&str]| -> serde_json::Value {
        let said = gateway.command(arguments);
        assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        serde_json::from_slice(&said.stdout).unwrap()
    };
    let count = |arguments: &[&str]| told(arguments).as_array().unwrap().len();
    assert_eq!(count(&["deliveries", "list", "--search", "Name=ACME-3", "--json"]), 1);
    assert_eq!(count(&["deliveries", "list", "--search", "Name=ACME*", "--since", "1h", "--json"]), 5);
    assert_eq!(count(&["deliveries", "list", "--until", "1h", "--json"]), 0);
    assert_eq!(
        count(&["notifications", "list", "--search", "Name=ACME-3", "--organization", "00D24000000abcd", "--json"]),
        1
    );
    assert_eq!(count(&["deliveries", "list", "--search", "Name = ACME-3 ", "--json"]), 1, "blanks say nothing");
    let found = told(&["notifications", "list", "--search", "Name=ACME-3", "--json"]);
    assert_eq!(found[0]["search"], json!({"Name": "ACME-3"}), "{found}");
    assert_eq!(count(&["dead", "list", "--status", "422", "--changed-since", "1h", "--json"]), 2);
    assert_eq!(count(&["dead", "list", "--status", "401", "--json"]), 0);

    let lanes = told(&["lanes", "list", "--json"]);
    let standing: Vec<_> = lanes.as_array().unwrap().iter().map(|lane| (&lane["lane"], &lane["behind"])).collect();
    assert_eq!(standing, [(&json!("a/0"), &json!(2)), (&json!("a/1"), &json!(1))], "{lanes}");
    assert_eq!((&lanes[0]["head"]["state"], &lanes[0]["is_more"]), (&json!("dead"), &json!(false)));
    assert_eq!(told(&["lanes", "list", "--limit", "1", "--json"]).as_array().unwrap().len(), 1);
    let lane = told(&["lanes", "show", "erp-create", "a/0", "--json"]);
    let states: Vec<_> = lane.as_array().unwrap().iter().map(|delivery| &delivery["state"]).collect();
    assert_eq!(states, ["dead", "blocked", "blocked"], "{lane}");

    let series = gateway.admin("/api/v1/series?hours=1&destination=erp-create").await;
    let (at, erp) = (series["at"].as_array().unwrap(), &series["destinations"]["erp-create"]);
    assert_eq!((at.len(), series["sources"].as_object().unwrap().len()), (14, 0), "{series}");
    assert_eq!((&erp["dead"][13], &erp["waiting"][13]), (&json!(2), &json!(3)), "as it stands now: {series}");
    assert!(gateway.admin("/api/v1/status").await["ack_p99_ms"].is_number());

    let choose = json!({"choose": {"state": "dead", "status": 422}, "dry_run": true});
    let (status, forecast) = gateway.change("/api/v1/deliveries/replay", &choose).await;
    assert_eq!((status, &forecast["count"]), (200, &json!(2)), "{forecast}");
    let choose = json!({"choose": {"state": "dead", "search": "Name=ACME-0", "changed_until": "2020-01-01T00:00:00Z"}, "dry_run": true});
    let (status, forecast) = gateway.change("/api/v1/deliveries/replay", &choose).await;
    assert_eq!((status, &forecast["count"]), (200, &json!(0)), "{forecast}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_has_in_hand_is_found() {
    let (_sink, mut gateway) = refusing().await;
    let told = |text: &str| -> serde_json::Value {
        let said = gateway.command(&["find", text, "--json"]);
        serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said.stderr)))
    };
    // The id of the record, as Salesforce's own pages show it in 15 characters.
    for (text, by, notifications, deliveries) in [
        ("ACME-3", "what Name holds", 1, 1),
        ("Name = ACME-3", "what Name holds", 1, 1),
        ("ACME*", "what Name holds", 5, 5),
        ("04l000000000003AAA", "a notification's id", 1, 1),
        ("04l000000000003", "a notification's id", 1, 1),
        ("00D24000000abcd", "an organization's id", 5, 5),
        ("1", "a delivery's number", 0, 1),
    ] {
        let answer = told(text);
        let found = answer["found"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["by"]), (1, &json!(by)), "{text}: {answer}");
        let counts = ["notifications", "deliveries"].map(|list| found[0][list].as_array().unwrap().len());
        assert_eq!(counts, [notifications, deliveries], "{text}: {answer}");
    }
    let why = &told("ACME-1")["found"][0]["deliveries"][0]["why"];
    assert_eq!(why["code"], json!("behind"), "{why}");
    let one = gateway.admin("/api/v1/find?q=ACME*&limit=2").await;
    assert_eq!(
        (&one["found"][0]["is_more"], one["found"][0]["deliveries"].as_array().unwrap().len()),
        (&json!(true), 2)
    );
    assert_eq!(one["found"][0]["filter"], json!({"name": "search", "value": "Name=ACME*"}));

    let nothing = gateway.command(&["find", "ACME-99"]);
    let words = String::from_utf8_lossy(&nothing.stdout).into_owned();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(words.contains("nothing of \"ACME-99\" (looked for as what Name holds)"), "{words}");
    assert!(words.contains("Note: capitals count") && words.contains("--kind unreadable"), "{words}");
    let mistyped = told("Nmae=ACME-1")["hint"].as_str().unwrap().to_owned();
    assert!(
        mistyped.starts_with("no source names the field \"Nmae\" in its `search`; these are named: Name"),
        "{mistyped}"
    );
    let table = String::from_utf8_lossy(&gateway.command(&["find", "ACME-1"]).stdout).into_owned();
    assert!(table.contains("As what Name holds") && table.contains("blocked"), "{table}");
    for query in ["q=", "q=%20", "q=a&limit=0", "q=a&limit=51", "limit=1"] {
        let answer = gateway.admin(&format!("/api/v1/find?{query}")).await;
        assert_eq!(answer["status"], json!(400), "{query}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_names_its_next_page_until_there_is_none() {
    let (_sink, mut gateway) = refusing().await;
    let base = format!("http://127.0.0.1:{}", gateway.admin);
    let mut next = Some("/api/v1/deliveries?limit=2&source=orders".to_owned());
    let mut sizes = Vec::new();
    while let Some(path) = next {
        let answer =
            reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{base}{path}")).send().await.unwrap();
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.split('<').nth(1).unwrap().split('>').next().unwrap().to_owned());
        sizes.push(answer.json::<serde_json::Value>().await.unwrap().as_array().unwrap().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
    gateway.stop().await;
}

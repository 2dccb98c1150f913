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
        ("audit?from=yesterday", "from is \"yesterday\": ".to_owned()),
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
    for arguments in [
        &["deliveries", "list", "--destination", "erp-creat"][..],
        &["dead", "list", "--destination", "erp-creat"],
        &["dead", "replay", "--destination", "erp-creat"],
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

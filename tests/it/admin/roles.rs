//! What each role sees on every page and in every answer: of payloads nothing without the right, of masked fields nothing at
//! all.

use std::time::Duration;

use serde_json::json;

use super::{House, accounts, configuration};
use crate::harness::{Notice, Sink, envelope};
use omgate::account::{Right, Rights, Role};
use omgate::admin::access::ADDRESSES;

/// Stands in a field, in the call, in the answer, in what is kept and in reasons.
const PAYLOAD: &str = "Zebra-4711-Quagga";
/// Stands in a field that its source masks, and in the call that is made of it.
const MASKED: &str = "Okapi-0815-Dugong";

async fn house() -> (House, Sink) {
    let answer = |_: usize, arrived: &crate::harness::Arrived| {
        let status = if arrived.path.ends_with("refuse") { 422 } else { 200 };
        Some((status, format!("{{\"order\": \"{PAYLOAD}\", \"echo\": \"{MASKED}\"}}")))
    };
    let sink = Sink::start(Box::new(answer)).await;
    let flow = format!(
        r#"
[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]
mask = ["Phone"]

[[destination]]
name = "takes"
kind = "rest"
url = "{}"
keep = {{ order = "response.body.order" }}

[[destination]]
name = "refuses"
kind = "rest"
url = "{}"

[[route]]
name = "first"
source = "orders"
destination = "takes"
lane = "record.Name"
[route.map]
name = "record.Name"
phone = "record.Phone"

[[route]]
name = "second"
source = "orders"
destination = "refuses"
"#,
        sink.url("/take"),
        sink.url("/refuse")
    );
    let text =
        configuration(&accounts()).replace(super::FLOW, &flow).replace("[server]\n", "[server]\nwatch = false\n");
    let house = House::with(&text).await;
    let fields = format!("<sf:Name>{PAYLOAD}</sf:Name><sf:Phone>{MASKED}</sf:Phone>");
    let body = envelope(&[Notice { id: "04l000000000001AAA", record: "006000000000001AAA", fields: &fields }]);
    assert!(house.process.post("/om/orders", body.clone()).await.unwrap().is_ack());
    // A POST that is refused is kept, with what it held.
    let strange = body.replace("00D24000000abcdEAA", "00D24000000wrongEAA");
    assert_eq!(house.process.post("/om/orders", strange).await.unwrap().status, 500);
    let admin = house.session("admin").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let ledger = house.get("/api/v1/ledger", &admin).await.json();
        if ledger["deliveries"]["delivered"] == 1 && ledger["deliveries"]["dead"] == 1 {
            return (house, sink);
        }
        assert!(std::time::Instant::now() < deadline, "{ledger}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every address that may be looked at, with what is really there in its holes.
fn addresses() -> Vec<String> {
    let looks = ADDRESSES.iter().filter(|(method, path, _)| {
        *method == "GET" && !path.starts_with("/login") && !path.contains("{digest}") && *path != "/api/v1/openapi.json"
    });
    let filled = |path: &str| {
        let name = if path.contains("/sources/") { "orders" } else { "takes" };
        path.replace("{id}", "1").replace("{name}", name).replace("{system}", "takes").replace("{lane}", PAYLOAD)
    };
    let more = [
        format!("/api/v1/deliveries?text={PAYLOAD}"),
        format!("/api/v1/deliveries?kept=order%3D{PAYLOAD}"),
        "/deliveries?state=dead".to_owned(),
        "/deliveries/2".to_owned(),
        "/api/v1/deliveries/2".to_owned(),
        "/deliveries/2/edit".to_owned(),
        "/destinations/refuses".to_owned(),
        "/workbench?notification=1".to_owned(),
    ];
    looks.map(|(_, path, _)| filled(path)).chain(more).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_and_no_answer_shows_what_a_role_may_not_see() {
    let (house, _sink) = house().await;
    // On disk both fields go another way.
    let text = std::fs::read_to_string(house.process.config()).unwrap();
    let other = text.replace("name = \"record.Name\"", "title = \"record.Name\"");
    let other = other.replace("phone = \"record.Phone\"", "phone = \"'+49 ' ~ record.Phone\"");
    std::fs::write(house.process.config(), other).unwrap();
    for role in Role::ALL {
        let cookie = house.session(role.as_str()).await;
        let may = Rights::of(role, &[]).has(Right::Payload);
        let mut seen = Vec::new();
        for address in addresses() {
            // What was asked for stands in the address, and so in its own page.
            if !may && address.contains(PAYLOAD) {
                let told = house.get(&address, &cookie).await;
                if address.contains("?text=") {
                    assert!(told.status == 403 && told.text.contains("payload"), "{role:?} {address}: {}", told.text);
                }
                let told = told.text.replace(&address, "").replace(&format!("{PAYLOAD:?}"), "");
                assert!(!told.contains(PAYLOAD) || address.contains("/lanes/"), "{role:?} {address}: {told}");
                continue;
            }
            let told = house.get(&address, &cookie).await;
            assert_ne!(told.status, 500, "{role:?} {address}: {told:?}");
            assert!(!told.text.contains(MASKED), "{role:?} {address} shows a masked field: {}", told.text);
            if told.text.contains(PAYLOAD) {
                assert!(may, "{role:?} {address} shows a payload: {}", told.text);
                seen.push(address);
            }
        }
        let shows = |address: &str| seen.iter().any(|known| known == address);
        if may {
            for address in [
                "/notifications/1",
                "/deliveries/1",
                "/api/v1/deliveries/1",
                "/api/v1/notifications/1",
                "/configuration/what-if",
                "/api/v1/config/what-if",
            ] {
                assert!(shows(address), "{role:?} may see payloads, and {address} shows none");
            }
        }
        let compared = house.get("/api/v1/config/what-if", &cookie).await.json();
        assert_eq!(
            (&compared["differ"], &compared["counts"]["changed"]),
            (&json!(1), &json!(1)),
            "{role:?} {compared}"
        );
        assert_eq!(compared["messages"].as_array().unwrap().is_empty(), !may, "{role:?} {compared}");
        let edit = json!({"route": "first", "map": [["phone", "record.Phone | replace('0', 'O')"]]});
        let last = house.post("/api/v1/preview", &cookie, &json!({"last": 5, "edit": edit})).await;
        let may_unmask = Rights::of(role, &[]).has(Right::Unmask);
        assert!(may_unmask || last.status == 403, "{role:?} turns masked values into others: {last:?}");
        let tried = house.post("/api/v1/preview", &cookie, &json!({"notification": "1"})).await;
        assert_eq!(tried.status == 200, may, "{role:?}: {tried:?}");
        assert!(!tried.text.contains(MASKED), "{role:?} sees a masked field in the workbench: {}", tried.text);
        let edit = json!({"route": "first", "map": [["phone", "record.Phone | replace('0', 'O')"]]});
        let edited = house.post("/api/v1/preview", &cookie, &json!({"notification": "1", "edit": edit})).await;
        let unmasks = Rights::of(role, &[]).has(Right::Unmask);
        assert!(unmasks || edited.status == 403, "{role:?} turns a masked value into another: {edited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_content_goes_out_when_a_second_person_approved_it() {
    let sink = Sink::start(Box::new(|_, _| Some((422, String::new())))).await;
    let editor = format!(
        "[[account]]\nname = \"editor\"\npassword = \"{}\"\nrole = \"operator\"\nrights = [\"edit\", \"payload\"]\n",
        *super::HASH
    );
    let flow = super::FLOW.replace("http://127.0.0.1:9/orders", &sink.url("/")).replace("paused = true", "");
    let text = configuration(&format!("{}{editor}", accounts())).replace(super::FLOW, &flow);
    let house = House::with(&text.replace("[server]\n", "[server]\nfour_eyes = true\n")).await;
    let body = envelope(&[Notice { id: "04l1", record: "006A", fields: "<sf:Name>wrong</sf:Name>" }]);
    assert!(house.process.post("/om/orders", body).await.unwrap().is_ack());
    let (admin, editor) = (house.session("admin").await, house.session("editor").await);
    let dead = async |count: i64| {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while house.get("/api/v1/ledger", &admin).await.json()["deliveries"]["dead"] != count {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    dead(1).await;
    let edit = json!({"reason": "typo", "edit": {"fields": {"Name": "right"}}});
    let dry = json!({"reason": "typo", "dry_run": true, "edit": {"fields": {"Name": "right"}}});
    assert_eq!(house.post("/api/v1/deliveries/1/replay", &admin, &dry).await.status, 200);
    let told = house.post("/api/v1/deliveries/1/replay", &admin, &edit).await;
    assert_eq!((told.status, &told.json()["proposal"]["state"]), (202, &json!("waiting")), "{told:?}");
    assert_eq!(sink.arrived().len(), 1, "nothing goes out before somebody else looked at it");
    let shown = house.get("/api/v1/proposals/1", &editor).await.json();
    assert!(shown["replay"]["call"]["request"].as_str().unwrap().contains("right"), "{shown}");
    assert!(house.get("/dead", &editor).await.text.contains("Edits that wait for a second person"));
    let approve =
        async |cookie: &str| house.post("/api/v1/proposals/1/approve", cookie, &json!({"reason": "I looked"})).await;
    let own = approve(&admin).await;
    assert!(own.status == 409 && own.text.contains("somebody else must approve"), "{own:?}");
    assert_eq!(approve(&house.session("operator").await).await.status, 403);
    let approved = approve(&editor).await;
    assert_eq!((approved.status, &approved.json()["state"]), (200, &json!("approved")), "{approved:?}");
    assert_eq!(approve(&editor).await.status, 409, "once is enough");
    dead(1).await;
    assert!(sink.arrived().iter().any(|arrived| arrived.body.contains("right")), "{:?}", sink.arrived());
    let audit = house.entries(&admin, "").await;
    let entry = |verb: &str| {
        audit.iter().find(|entry| entry["verb"] == verb).cloned().unwrap_or_else(|| panic!("{verb}: {audit:?}"))
    };
    assert_eq!(
        (&entry("propose")["who"], &entry("approve")["who"]),
        (&json!("account admin"), &json!("account editor"))
    );
    assert!(
        entry("replay")["reason"].as_str().unwrap().contains("proposed by account admin, approved by account editor")
    );
}

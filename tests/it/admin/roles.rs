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
    let house = House::with(&configuration(&accounts()).replace(super::FLOW, &flow)).await;
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
    for role in Role::ALL {
        let cookie = house.session(role.as_str()).await;
        let may = Rights::of(role, &[]).has(Right::Payload);
        let mut seen = Vec::new();
        for address in addresses() {
            // What was asked for stands in the address, and so in its own page.
            if !may && address.contains(PAYLOAD) {
                let told = house.get(&address, &cookie).await;
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
            for address in ["/notifications/1", "/deliveries/1", "/api/v1/deliveries/1", "/api/v1/notifications/1"] {
                assert!(shows(address), "{role:?} may see payloads, and {address} shows none");
            }
        }
        let tried = house.post("/api/v1/preview", &cookie, &json!({"notification": "1"})).await;
        assert_eq!(tried.status == 200, may, "{role:?}: {tried:?}");
        assert!(!tried.text.contains(MASKED), "{role:?} sees a masked field in the workbench: {}", tried.text);
        let edit = json!({"route": "first", "map": [["phone", "record.Phone | replace('0', 'O')"]]});
        let edited = house.post("/api/v1/preview", &cookie, &json!({"notification": "1", "edit": edit})).await;
        let unmasks = Rights::of(role, &[]).has(Right::Unmask);
        assert!(unmasks || edited.status == 403, "{role:?} turns a masked value into another: {edited:?}");
    }
}

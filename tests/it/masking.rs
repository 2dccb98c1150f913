//! What expressions make of masked fields, in reasons and in comparisons: through the real program.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the configurations of these tests make of the country; only its first letters, in capitals, are unlike all else.
const MADE: &str = "ZQX";

const MASK: &str = "mask = [\"BillingCountry__c\"]";

/// A source, and what is added to it; the SOAP route's map; and what else there is.
fn configuration(source: &str, map: &str, more: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
watch = false

[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/orders"
organizations = ["00D24000000abcdEAA"]
{source}

[[destination]]
name = "erp"
kind = "soap"
wsdl = "erp.wsdl"
operation = "CreateOrder"
endpoint = "http://127.0.0.1:9/orders"

[[route]]
name = "orders"
source = "orders"
destination = "erp"
[route.map]
Total = "record.Amount | decimal(2)"
Country = "'DE'"
Customer.Id = "record.AccountId"
{map}
{more}
"#
    )
}

const CRM: &str = r#"
[[destination]]
name = "crm"
kind = "rest"
paused = true
URL
headers = { X-Country = "{{ record.BillingCountry__c | upper | truncate(3) }}!" }

[[route]]
name = "customers"
source = "orders"
destination = "crm"
lane = "record.BillingCountry__c | upper | truncate(3)"
[route.map]
Name = "record.Name"
COMMENT
"#;

fn crm(url: &str, comment: &str) -> String {
    CRM.replace("URL", &format!("url = \"http://127.0.0.1:9/{url}\"")).replace("COMMENT", comment)
}

async fn started(configuration: &str) -> Process {
    let mut process = Process::prepare(configuration);
    for name in ["erp.wsdl", "erp.xsd"] {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wsdl").join(name);
        std::fs::copy(from, process.folder.path().join(name)).unwrap();
    }
    process.start(&[]).await;
    let fields = "<sf:AccountId>0012400000Acme1AAC</sf:AccountId><sf:Amount>10.5</sf:Amount>\
                  <sf:BillingCountry__c>zqxland</sf:BillingCountry__c><sf:Name>ACME</sf:Name>";
    let body = envelope(&[Notice { id: "04l000000000001AAA", record: "006000000000001AAA", fields }]);
    assert!(process.post("/om/orders", body).await.unwrap().is_ack());
    process
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn shown(process: &Process, path: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://127.0.0.1:{}{path}", process.admin);
    client.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expression_made_of_a_masked_field_is_hidden_in_reasons_too() {
    let more = r#"
[[destination]]
name = "crm"
kind = "rest"
url = "http://127.0.0.1:9/"

[[route]]
name = "numbers"
source = "orders"
destination = "crm"
[route.map]
Number = "record.BillingCountry__c | upper | truncate(3) | int"

[[route]]
name = "some"
source = "orders"
destination = "crm"
when = "(record.BillingCountry__c | upper | truncate(3) | int) > 1"

[[route]]
name = "names"
source = "orders"
destination = "crm"
[route.map]
Number = "record.Name | int"
"#;
    let map = "OrderNumber = \"record.Name\"\nCurrency = \"(record.BillingCountry__c | upper | truncate(3)) ~ 'X'\"";
    let process = started(&configuration(MASK, map, more)).await;
    process.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 4).await;
    for path in [
        "/api/v1/dead",
        "/api/v1/deliveries",
        "/api/v1/deliveries/1",
        "/api/v1/issues",
        "/api/v1/notifications/1",
        "/api/v1/status",
        "/api/v1/systems",
        "/",
        "/deliveries?state=dead",
        "/deliveries/1",
        "/deliveries/2",
        "/deliveries/3",
        "/notifications/1",
        "/issues",
    ] {
        let text = shown(&process, path).await;
        assert!(!text.contains(MADE), "{path}: {text}");
    }
    for command in [["dead", "list", "--json"], ["issues", "list", "--json"], ["why", "1", "--json"]] {
        let text = said(&process.command(&command));
        assert!(!text.contains(MADE), "{command:?}: {text}");
    }
    let dead = process.admin("/api/v1/dead").await.to_string();
    for reason in [
        "CreateOrder.Currency = \\\"(masked)\\\" is not one of EUR, USD",
        "int needs a number, not the text \\\"(masked)\\\"",
        "deciding `when`",
        "int needs a number, not the text \\\"ACME\\\"",
    ] {
        assert!(dead.contains(reason), "{reason}: {dead}");
    }
    assert_eq!(process.admin(&format!("/api/v1/dead?text={MADE}")).await, json!([]), "nobody learns it by asking");
    assert_eq!(process.admin("/api/v1/dead?text=ACME").await.as_array().map(Vec::len), Some(1));
    let clear = process.command(&["deliveries", "show", "1", "--unmask", "--reason", "support", "--json"]);
    assert!(said(&clear).contains("ZQXX"), "{}", said(&clear));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_in_force_stays_so_in_comparisons_with_a_file_that_masks_nothing() {
    let map = "OrderNumber = \"record.Name\"\nCurrency = \"'EUR'\"";
    let process = started(&configuration(MASK, map, &crm("customers", ""))).await;
    process.until(PATIENCE, |ledger| ledger["notifications"]["received"] == 1).await;
    let (_, tried) = process.change("/api/v1/preview", &json!({"notification": "1"})).await;
    assert!(tried.to_string().contains("X-Country") && !tried.to_string().contains(MADE), "{tried}");
    for path in ["/api/v1/notifications/1", "/notifications/1", "/api/v1/deliveries", "/deliveries/2", "/api/v1/lanes"]
    {
        let text = shown(&process, path).await;
        assert!(!text.contains(MADE), "{path}: {text}");
    }
    assert!(shown(&process, "/api/v1/notifications/1").await.contains("\"lane\":\"(masked)\""));
    let short = "record.BillingCountry__c | upper | truncate(3)";
    let map = format!("{map}\nComment = \"{short}\"");
    let comment = format!("Comment = \"{short}\"");
    let anywhere = format!("{{{{ {short} }}}}");
    for (mask, more) in [
        ("", crm("customers", &comment).replace("}}!", "}}?").replace("lane = \"", "lane = \"'l' ~ ")),
        ("", crm(&anywhere, &comment)),
        ("", crm("customers", "").replace("name = \"customers\"", "name = \"clients\"")),
        ("", crm(&anywhere, "").replace("name = \"customers\"", "name = \"clients\"")),
        ("mask = [\"Name\"]", crm("customers", "Number = \"record.BillingCountry__c | upper | truncate(3) | int\"")),
    ] {
        let text = configuration(mask, &map, &more);
        process.configure(&text);
        let file = std::fs::read_to_string(process.config()).unwrap();
        std::fs::write(process.folder.path().join("new.toml"), file).unwrap();
        let new = process.folder.path().join("new.toml").to_string_lossy().into_owned();
        let store = process.folder.path().join("omgate.db").to_string_lossy().into_owned();
        let plain = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"))
            .args(["what-if", "--config", &new, "--store", &store])
            .output()
            .unwrap();
        let told = process.admin("/api/v1/config/what-if").await;
        assert!(told["differ"] == 1 && told["messages"].as_array().map(Vec::len) == Some(1), "{told}");
        for (where_, text) in [
            ("API", told.to_string()),
            ("page", shown(&process, "/configuration/what-if").await),
            ("command", said(&plain)),
        ] {
            assert!(text.contains("(masked)") && !text.contains(MADE), "{where_}: {text}\nof {more}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_as_it_does_now_is_no_other_call_and_is_told_by_its_place() {
    let map = "OrderNumber = \"record.Name\"\nCurrency = \"record.Name\"";
    let process = started(&configuration("", map, "")).await;
    process.until(PATIENCE, |ledger| ledger["deliveries"]["dead"] == 1).await;
    let with = async |from: &str, to: &str| {
        process.configure(&configuration("", &map.replace(from, to), ""));
        process.admin("/api/v1/config/what-if").await
    };
    let counts = |same: u64, mended: u64, still: u64| {
        json!({"same": same, "changed": 0, "failing": 0, "mended": mended, "still_failing": still, "routed": 0,
               "not_routed": 0})
    };
    let found = with("Currency = \"record.Name\"", "Currency = \"record.Name | trim\"").await;
    assert_eq!((&found["differ"], &found["counts"]), (&json!(0), &counts(1, 0, 1)), "{found}");
    let place = |found: &Value| {
        let differences = found["routes"][0]["differences"].as_array().unwrap();
        differences.iter().map(|one| (one["kind"].clone(), one["words"].clone())).collect::<Vec<_>>()
    };
    let found = with("OrderNumber = \"record.Name\"", "OrderNumber = \"record.Gone__c\"").await;
    let words = "fails as it does now, for another reason, at CreateOrder.OrderNumber";
    assert_eq!(place(&found), [(json!("still_failing"), json!(words))], "{found}");
    assert_eq!((&found["differ"], &found["counts"]), (&json!(1), &counts(0, 0, 1)));
    let found = with("Currency = \"record.Name\"", "Currency = \"'EUR'\"").await;
    let words = "would not fail any more at CreateOrder.Currency";
    assert_eq!(place(&found), [(json!("mended"), json!(words))], "{found}");
    assert_eq!((&found["differ"], &found["counts"]), (&json!(1), &counts(0, 1, 0)));
    assert!(shown(&process, "/configuration/what-if").await.contains("fail as they do now"));
}

/// What another system says in a quotation, which no record holds.
const QUOTED: &str = "queue \"Q7\" is full";

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_it_reads_why_deliveries_fail_and_lanes_that_stand_are_told() {
    let fault = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><e:Fault><faultcode>e:Server</faultcode>\
         <faultstring>{QUOTED}</faultstring></e:Fault></e:Body></e:Envelope>"
    );
    let sink = Sink::start(Box::new(move |_, _| Some((500, fault.clone())))).await;
    let map = "OrderNumber = \"record.Name\"\nCurrency = \"'EUR'\"";
    let text = configuration(MASK, map, "").replace("http://127.0.0.1:9/orders", &sink.url("/orders"));
    let text = text.replace(
        "operation = \"CreateOrder\"",
        "operation = \"CreateOrder\"\nbreaker = false\nretry = { first = \"50ms\", factor = 1.0, max_wait = \"400ms\" }",
    );
    let process = started(&text).await;
    let is_told = |status: &Value, words: &str| {
        let needs = status["needs"].as_array().cloned().unwrap_or_default();
        needs.iter().any(|need| need["what"] == "failing" && need["text"].as_str().unwrap().contains(words))
    };
    let alone = "erp: 1 delivery fails again and again";
    let status = process.admin_until("/api/v1/status", PATIENCE, |status| is_told(status, alone)).await;
    assert!(is_told(&status, QUOTED), "{status}");
    let fields = "<sf:Name>ACME</sf:Name>";
    let body = envelope(&[Notice { id: "04l000000000002AAA", record: "006000000000001AAA", fields }]);
    assert!(process.post("/om/orders", body).await.unwrap().is_ack());
    let lanes = "and 1 delivery waits behind (`omgate lanes list --system erp`)";
    process.admin_until("/api/v1/status", PATIENCE, |status| is_told(status, lanes)).await;
    let says = |why: &Value| why["text"].as_str().is_some_and(|text| text.contains(QUOTED));
    process.admin_until("/api/v1/deliveries?state=waiting", PATIENCE, |found| says(&found[0]["why"])).await;
    process.admin_until("/api/v1/lanes", PATIENCE, |found| says(&found[0]["head"]["why"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_without_a_word_of_it() {
    let process = started(&configuration("", "OrderNumber = \"record.Name\"\nCurrency = \"'EUR'\"", "")).await;
    let broken = [
        "<sf:Name>Lehmann &KontoDE89370400440532013000;</sf:Name>",
        "<sf:Name>Lehmann & Soehne KontoDE89; x</sf:Name>",
        "<KontoDE89!geheim=\"x\"/>",
        "<sf:Konto><sf:KontoDE89></sf:Konto>",
        "<Konto:DE89/>",
    ];
    for fields in broken {
        let body = envelope(&[Notice { id: "04l000000000009AAA", record: "006000000000009AAA", fields }]);
        let answer = process.post("/om/orders", body).await.unwrap();
        assert_eq!(answer.status, 500);
    }
    let strange = envelope(&[Notice { id: "04l000000000009AAA", record: "006000000000009AAA", fields: "" }]);
    let strange = strange.replace("00D24000000abcdEAA", "Lehmann:KontoDE89");
    assert_eq!(process.post("/om/orders", strange).await.unwrap().status, 500);
    let all = broken.len() + 1;
    let refused =
        process.admin_until("/api/v1/refused", PATIENCE, |found| found.as_array().unwrap().len() == all).await;
    let mut told: Vec<String> = refused.as_array().unwrap().iter().map(|post| post["reason"].to_string()).collect();
    assert!(told.iter().skip(1).all(|reason| reason.contains("not well-formed XML at line ")), "{told:?}");
    told.extend([shown(&process, "/api/v1/status").await, shown(&process, "/api/v1/alarms").await, process.log()]);
    for told in told {
        assert!(!told.contains("Konto") && !told.contains("Lehmann"), "{told}");
    }
}

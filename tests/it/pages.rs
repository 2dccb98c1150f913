//! The pages: in a real browser, over every page and every action; an empty gateway that is filled; who sees what.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::harness::{Arrived, Notice, Process, Sink, envelope};
use crate::interop::servers::installed;

/// What a mapping cannot make a number of, so that there is a dead letter without a call.
const NO_NUMBER: &str = "<sf:Name>ACME-9</sf:Name><sf:Amount>plenty</sf:Amount><sf:StageName>Open</sf:StageName>";
pub(crate) const FINE: &str =
    "<sf:Name>ACME-1</sf:Name><sf:Amount>12.5</sf:Amount><sf:StageName>Closed Won</sf:StageName>";

/// Three destinations: one takes all, one refuses every third record for good, one refuses our credentials.
fn configuration(url: &str, more: &str) -> String {
    let wsdl = concat!(env!("CARGO_MANIFEST_DIR"), "/wsdl");
    format!(
        r#"{more}
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
watch = false

[store]
url = "sqlite:omgate.db"

[[source]]
name = "order-won"
path = "/om/order-won"
organizations = ["00D24000000abcdEAA"]
wsdl = "{wsdl}/order-won.wsdl"
search = ["Name"]

[[destination]]
name = "erp"
kind = "soap"
wsdl = "{wsdl}/erp.wsdl"
operation = "CreateOrder"
endpoint = "{url}/orders"
rate = "200/s"
keep = {{ order = "response.body.OrderId" }}

[[destination]]
name = "crm"
kind = "rest"
method = "PUT"
url = "{url}/picky/{{{{ record.Id }}}}"

[[destination]]
name = "billing"
kind = "rest"
url = "{url}/locked"

[[route]]
name = "won-orders"
source = "order-won"
destination = "erp"
[route.map]
OrderNumber = "record.Name | default('none') | truncate(20)"
Total = "record.Amount | default(0) | decimal(2)"
Currency = "'EUR'"
Country = "'DE'"
Customer.Id = "record.AccountId | default(record.Id)"

[[route]]
name = "customers"
source = "order-won"
destination = "crm"

[[route]]
name = "invoices"
source = "order-won"
destination = "billing"
when = "record.StageName == 'Closed Won'"
"#
    )
}

fn answer(_: usize, arrived: &Arrived) -> Option<(u16, String)> {
    let order = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                 <CreateOrderResponse xmlns=\"urn:example:erp:orders\"><OrderId>4711</OrderId></CreateOrderResponse>\
                 </s:Body></s:Envelope>";
    Some(match arrived.path.as_str() {
        "/orders" => (200, order.to_owned()),
        "/locked" => (401, String::new()),
        path if path.ends_with("0AAA") || path.ends_with("5AAA") => (422, "{\"error\":\"unknown country\"}".to_owned()),
        _ => (200, "{}".to_owned()),
    })
}

pub(crate) async fn post(process: &Process, number: usize, fields: &str) {
    let (id, record) = (format!("04l{number:012}AAA"), format!("006{number:012}AAA"));
    let body = envelope(&[Notice { id: &id, record: &record, fields }]);
    assert!(process.post("/om/order-won", body).await.unwrap().is_ack());
}

/// A gateway with a bit of everything on its pages.
pub(crate) async fn busy(more: &str) -> (Process, Sink) {
    let sink = Sink::start(Box::new(answer)).await;
    let url = sink.url("");
    let mut process = Process::prepare(&configuration(&url, more));
    process.start(&[]).await;
    for number in 1..=20 {
        post(&process, number, FINE).await;
    }
    post(&process, 21, NO_NUMBER).await;
    assert_eq!(process.post("/om/order-won", "<a").await.unwrap().status, 500);
    (process, sink)
}

/// Chromium, Node and what the walk needs; or why not.
fn browser() -> Result<(PathBuf, PathBuf), String> {
    let known = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|folder| known.map(|name| folder.join(name)));
    let chromium = found.into_iter().find(|path| path.is_file()).ok_or("there is no chromium")?;
    let node = installed().join("node");
    for package in ["playwright-core", "axe-core"] {
        if !node.join("node_modules").join(package).is_dir() {
            return Err(format!("{package} is not installed in {}", node.display()));
        }
    }
    Command::new("node").arg("--version").output().map_err(|error| format!("there is no node: {error}"))?;
    Ok((chromium, node))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_and_action_works_in_a_browser() {
    let (chromium, node) = match browser() {
        Ok(found) => found,
        Err(reason) => return println!("skipped: {reason}; .ci/run installs it"),
    };
    let (process, _sink) = busy("").await;
    let settled = |ledger: &Value| {
        let deliveries = &ledger["deliveries"];
        deliveries["in_flight"] == 0
            && deliveries["dead"].as_i64() >= Some(5)
            && deliveries["delivered"].as_i64() >= Some(36)
    };
    process.until(Duration::from_secs(60), settled).await;
    process
        .admin_until("/api/v1/systems", Duration::from_secs(30), |systems| !systems["billing"]["paused"].is_null())
        .await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pages");
    let walk = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages/walk.mjs");
    let mut command = Command::new("timeout");
    command.args(["300", "node", walk, &format!("http://127.0.0.1:{}", process.admin), folder]).arg(chromium);
    command.arg(process.config());
    let walked = tokio::task::spawn_blocking(move || command.current_dir(node).output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    println!("{said}pictures are in {folder}");
    assert!(walked.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_and_out_in_a_browser_and_a_command_for_its_first_token() {
    const PASSWORD: &str = "correct horse battery";
    let hash = omgate::account::hash(PASSWORD).unwrap();
    let account = format!("[[account]]\nname = \"chief\"\npassword = \"{hash}\"\nrole = \"admin\"\n");
    let (process, _sink) = busy(&account).await;
    // The first token comes by a login: the password is read from standard input.
    let create = |password: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omgate"));
        command.args(["token", "create", "--name", "ci", "--login", "chief", "--config"]).arg(process.config());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let wrong = create("something else");
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("name or password is wrong"));
    let made = create(PASSWORD);
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(token.starts_with("omg_"), "{token}{}", String::from_utf8_lossy(&made.stderr));
    let status = process.command(&["status", "--token", &token]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let (chromium, node) = match browser() {
        Ok(found) => found,
        Err(reason) => return println!("skipped: {reason}; .ci/run installs it"),
    };
    let walk = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages/login.mjs");
    let mut command = Command::new("timeout");
    command.args(["120", "node", walk, &format!("http://127.0.0.1:{}", process.admin)]).arg(chromium);
    command.args(["chief", PASSWORD]);
    let walked = tokio::task::spawn_blocking(move || command.current_dir(node).output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_says_that_the_gateway_died_or_the_session_ended_and_the_login_leads_back() {
    const PASSWORD: &str = "correct horse battery";
    let hash = omgate::account::hash(PASSWORD).unwrap();
    let account = format!("[[account]]\nname = \"chief\"\npassword = \"{hash}\"\nrole = \"admin\"\n");
    let (chromium, node) = match browser() {
        Ok(found) => found,
        Err(reason) => return println!("skipped: {reason}; .ci/run installs it"),
    };
    let (mut process, _sink) = busy(&account).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pages");
    let walk = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages/alive.mjs");
    let mut command = tokio::process::Command::new("timeout");
    command.args(["200", "node", walk, &format!("http://127.0.0.1:{}", process.admin), folder]).arg(chromium);
    command.args(["chief", PASSWORD]).current_dir(node).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut orders, mut lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        match line.as_str() {
            "KILL" => process.kill(),
            "START" => process.start(&[]).await,
            _ => {
                said.push_str(&line);
                said.push('\n');
                continue;
            }
        }
        orders.write_all(b"done\n").await.unwrap();
    }
    println!("{said}pictures are in {folder}");
    assert!(child.wait().await.unwrap().success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_gateway_guides_to_a_message_delivered_and_no_cut_off_file_empties_it() {
    let sink = Sink::start(Box::new(answer)).await;
    let empty = "[server]\nlisten = \"127.0.0.1:{public}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n[store]\nurl = \"sqlite:omgate.db\"\n";
    let mut process = Process::prepare(empty);
    process.start(&[]).await;
    let page = async |path: &str| process.admin(path).await.as_str().unwrap_or_default().to_owned();
    assert!(page("/").await.contains("Nothing is set up yet"));
    let guide = page("/start").await;
    assert!(guide.contains("[[source]]") && guide.contains("{{ record.Id }}"), "{guide}");
    // The path is a secret of its own each time, and stays what it is once it stands in the address.
    let path_in =
        |page: &str| page.split("name=\"path\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (path, other) = (path_in(&guide), path_in(&page("/start").await));
    assert!(path.starts_with("/om/") && path.len() >= 26 && path != other, "{path} {other}");
    assert_eq!(path_in(&page(&format!("/start?path={path}")).await), path);
    let wsdl = concat!(env!("CARGO_MANIFEST_DIR"), "/wsdl");
    let filled = [
        ("path", path.as_str()),
        ("organization", "00D24000000abcdEAA"),
        ("wsdl", &format!("{wsdl}/order-won.wsdl")),
        ("target_wsdl", &format!("{wsdl}/erp.wsdl")),
        ("operation", "CreateOrder"),
        ("endpoint", &sink.url("/orders")),
        (
            "map",
            "OrderNumber = record.Name | default('none') | truncate(20)\r\nTotal = record.Amount | default(0) | decimal(2)\r\n\
             Currency = 'EUR'\r\nCountry = 'DE'\r\nCustomer.Id = record.AccountId | default(record.Id)\r\n",
        ),
    ];
    let query =
        |fields: &[(&str, &str)]| url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let so_far = page(&format!("/start/flow.toml?{}", query(&filled[..3]))).await;
    assert!(so_far.contains("[[source]]") && so_far.contains("Still to come: a destination."), "{so_far}");
    let flow = page(&format!("/start/flow.toml?{}", query(&filled))).await;
    process.configure(&format!("{empty}{flow}"));
    process.hang_up();
    let is_there = |sources: &Value| sources.as_array().is_some_and(|list| list.len() == 1);
    process.admin_until("/api/v1/sources", Duration::from_secs(30), is_there).await;
    let sample = json!({"reason": "does it work?", "dry_run": true});
    let (status, dry) = process.change("/api/v1/sources/order-won/sample", &sample).await;
    assert!(status == 200 && dry["envelope"].as_str().unwrap().contains("sf:Opportunity"), "{dry}");
    assert_eq!(process.ledger().await["notifications"]["received"], 0);
    let (status, made) = process.change("/api/v1/sources/order-won/sample", &json!({"reason": "does it work?"})).await;
    assert_eq!(status, 200, "{made}");
    process.until(Duration::from_secs(30), |ledger| ledger["destinations"]["erp"]["delivered"] == 1).await;
    assert!(page("/start").await.contains("It works: a message was delivered"));
    let audit = process.admin("/api/v1/audit?verb=sample").await;
    assert_eq!((&audit[0]["object_id"], &audit[0]["reason"]), (&json!("order-won"), &json!("does it work?")));
    process.configure(empty);
    let (status, refused) = process.change("/api/v1/reload", &json!({})).await;
    assert!(status == 422 && refused["detail"].as_str().unwrap().contains("cut off"), "{refused}");
    assert!(is_there(&process.admin("/api/v1/sources").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workbench_shows_calls_and_mistakes_and_changes_nothing() {
    let (process, sink) = busy("").await;
    let is_still = |ledger: &Value| {
        let deliveries = &ledger["deliveries"];
        deliveries["delivered"].as_i64().unwrap() + deliveries["dead"].as_i64().unwrap() == 42
            && deliveries["in_flight"] == 0
    };
    process.until(Duration::from_secs(60), is_still).await;
    process.admin_until("/api/v1/systems", Duration::from_secs(30), |all| !all["billing"]["paused"].is_null()).await;
    let (calls, ledger) = (sink.arrived().len(), process.ledger().await);
    let try_it = async |body: Value| process.change("/api/v1/preview", &body).await;
    let of = |made: &Value, route: &str| {
        made["routes"].as_array().unwrap().iter().find(|one| one["route"] == route).cloned().unwrap()
    };
    let (status, plain) = try_it(json!({"notification": "1"})).await;
    assert_eq!(status, 200, "{plain}");
    let made = of(&plain["notifications"][0]["made"], "won-orders");
    assert!(made["call"]["request"].as_str().unwrap().contains("<ns1:Total>12.50</ns1:Total>"), "{made}");
    let edit = json!({"route": "won-orders", "map": [["Total", "record.Amount * 2 | decimal(2)"]], "when": "record.Name == 'no'"});
    let (_, edited) = try_it(json!({"notification": "1", "edit": edit})).await;
    let now = of(&edited["notifications"][0]["made"], "won-orders");
    assert_eq!(
        (&now["matches"], &now["because"]),
        (&json!(false), &json!("its condition `record.Name == 'no'` does not hold"))
    );
    assert_eq!(of(&edited["notifications"][0]["was"], "won-orders")["matches"], true);
    let edit = json!({"route": "won-orders", "map": [["Total", "record.Amuont"]]});
    let (status, wrong) = try_it(json!({"notification": "1", "edit": edit})).await;
    assert_eq!(status, 200);
    let problem = &wrong["problems"][0];
    assert!(
        problem["key"].as_str().unwrap().ends_with("won-orders.map.Total") && problem["suggestion"] == "Amount",
        "{wrong}"
    );
    let pasted = envelope(&[Notice { id: "04lX", record: "006X", fields: NO_NUMBER }]);
    let (_, dead) = try_it(json!({"envelope": pasted})).await;
    let made = of(&dead["notifications"][0]["made"], "won-orders");
    assert!(made["dead"].as_str().unwrap().contains("decimal needs a number"), "{made}");
    for (body, code, words) in [
        (json!({}), 400, "one of the two"),
        (json!({"notification": "nobody"}), 404, "is not in the store"),
        (json!({"envelope": "<a"}), 422, "the envelope"),
        (json!({"notification": "1", "edit": {"route": "nobody"}}), 422, "no route"),
    ] {
        let (status, told) = try_it(body.clone()).await;
        assert!(status == code && told["detail"].as_str().unwrap().contains(words), "{body}: {status} {told}");
    }
    // A number is shown with the digits that it has in the call.
    let whole = envelope(&[Notice {
        id: "04lX",
        record: "006X",
        fields: "<sf:Name>A</sf:Name><sf:Amount>45000.0</sf:Amount>",
    }]);
    let (_, tried) = try_it(json!({"envelope": whole})).await;
    let made = of(&tried["notifications"][0]["made"], "customers");
    assert!(made["call"]["request"].as_str().unwrap().contains("\"Amount\":45000.0,"), "{made}");
    assert!(made["call"]["request_lines"].as_str().unwrap().contains("\n    \"Amount\": 45000.0,\n"), "{made}");
    assert_eq!((sink.arrived().len(), process.ledger().await), (calls, ledger), "something was sent or stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_view_is_there_for_all_and_after_a_restart_and_its_changes_stand_in_the_audit_log() {
    let (mut process, _sink) = busy("").await;
    let page = async |process: &Process, path: &str| process.admin(path).await.as_str().unwrap_or_default().to_owned();
    let view =
        |query: &str| json!({"list": "deliveries", "name": "dead of crm", "query": query, "reason": "for the night"});
    let dry = json!({"list": "deliveries", "name": "dead of crm", "query": "state=dead", "dry_run": true});
    assert_eq!(process.change("/api/v1/views", &dry).await.0, 200);
    assert_eq!(process.admin("/api/v1/views").await, json!([]), "a dry run saves nothing");
    for query in ["state=held", "state=dead&destination=crm"] {
        let (status, saved) = process.change("/api/v1/views", &view(query)).await;
        assert!(status == 200 && saved["query"] == query, "{saved}");
    }
    process.kill();
    process.start(&[]).await;
    let views = process.admin("/api/v1/views").await;
    assert!(views.as_array().unwrap().len() == 1 && views[0]["query"] == "state=dead&destination=crm", "{views}");
    let list = page(&process, "/deliveries").await;
    assert!(
        list.contains("href=\"/deliveries?state=dead&#38;destination=crm\"") && list.contains("dead of crm"),
        "{list}"
    );
    assert!(!page(&process, "/notifications").await.contains("dead of crm"), "each list has its own");
    for (body, words) in [
        (json!({"list": "lanes", "name": "x", "query": ""}), "list must be one of"),
        (json!({"list": "deliveries", "name": " x", "query": ""}), "no blanks around"),
        (json!({"list": "deliveries", "name": "x".repeat(61), "query": ""}), "1 to 60 characters"),
        (json!({"list": "deliveries", "name": "x", "query": "y".repeat(2_001)}), "too long"),
        (json!({"list": "deliveries", "name": "x\u{0}", "query": ""}), "control characters"),
        (
            json!({"list": "deliveries", "name": "x", "query": "Search=Jane"}),
            "does not understand the query: there is no parameter",
        ),
        (json!({"list": "notifications", "name": "x", "query": "destination=crm"}), "does not understand the query"),
    ] {
        let (status, told) = process.change("/api/v1/views", &body).await;
        assert!(status == 400 && told["detail"].as_str().unwrap().contains(words), "{body}: {status} {told}");
    }
    let named = json!({"list": "deliveries", "name": "dead of crm"});
    let mut asked = named.clone();
    asked["dry_run"] = true.into();
    assert_eq!(process.change("/api/v1/views/forget", &asked).await.0, 200);
    assert_eq!(process.change("/api/v1/views/forget", &named).await.0, 200);
    let (status, gone) = process.change("/api/v1/views/forget", &named).await;
    assert!(status == 404 && gone["detail"].as_str().unwrap().contains("a saved view \"dead of crm\""), "{gone}");
    assert_eq!(process.change("/api/v1/views/forget", &asked).await, (status, gone));
    // Whoever may not see what records hold is not told for what others look.
    let jane = json!({"list": "notifications", "name": "hers", "query": "?search=Name%3DJane"});
    assert_eq!(process.change("/api/v1/views", &jane).await.0, 200, "as it is copied from an address");
    let viewer = json!({"name": "viewer", "expires_in_s": 3_600, "role": "viewer"});
    let (_, token) = process.change("/api/v1/tokens", &viewer).await;
    let secret = token["token"].as_str().unwrap();
    let told = process.command(&["audit", "list", "--object", "view", "--json", "--token", secret]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("notifications/hers") && !told.contains("Jane"), "{told}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = format!("http://127.0.0.1:{}/api/v1/views", process.admin);
    let seen = http.get(address).bearer_auth(secret).send().await.unwrap().text().await.unwrap();
    assert_eq!(seen, "[]");
    // Nor may he put another in its place, forget it, or save one that asks for values himself.
    let operator = json!({"name": "operator", "expires_in_s": 3_600, "role": "operator"});
    let (_, token) = process.change("/api/v1/tokens", &operator).await;
    let secret = token["token"].as_str().unwrap();
    for (verb, body) in [
        ("", json!({"list": "notifications", "name": "hers", "query": "kind=routed"})),
        ("", json!({"list": "notifications", "name": "his", "query": "text=Jane"})),
        ("/forget", json!({"list": "notifications", "name": "hers"})),
    ] {
        let address = format!("http://127.0.0.1:{}/api/v1/views{verb}", process.admin);
        let told = http.post(address).bearer_auth(secret).json(&body).send().await.unwrap();
        assert_eq!(told.status(), 403, "{verb} {body}");
    }
    let audit = process.admin("/api/v1/audit?object=view").await;
    let audit: Vec<Value> = audit.as_array().unwrap()[1..].to_vec();
    let said = |entry: &Value| ["verb", "was", "became"].map(|key| entry[key].as_str().unwrap().to_owned());
    let told: Vec<[String; 3]> = audit.iter().map(said).collect();
    let [held, dead] = ["state=held", "state=dead&destination=crm"];
    assert_eq!(told, [["forget", dead, ""], ["save", held, dead], ["save", "", held]]);
    assert_eq!(
        (&audit[1]["object_id"], &audit[1]["reason"]),
        (&json!("deliveries/dead of crm"), &json!("for the night"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_and_is_not_taken_says_so_and_since_when() {
    let (process, sink) = busy("").await;
    let page = async || process.admin("/configuration").await.as_str().unwrap_or_default().to_owned();
    assert!(!page().await.contains("is not what is in force"));
    let told = process.admin("/api/v1/config").await;
    assert_eq!((&told["changed_at"], &told["watched"]), (&Value::Null, &json!(false)));
    process.configure(&configuration(&sink.url(""), "").replace("rate = \"200/s\"", "rate = \"100/s\""));
    let told = process.admin("/api/v1/config").await;
    let at = told["changed_at"].as_str().unwrap();
    assert!(at > told["at"].as_str().unwrap(), "it was written after it came into force: {told}");
    let shown = page().await;
    for words in ["is not what is in force", at, "and is not taken:", "<code>watch = false</code>", "/api/v1/reload"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(process.change("/api/v1/reload", &json!({})).await.0, 200);
    assert!(!page().await.contains("is not what is in force"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_let_go_to_a_paused_system_says_that_it_waits_and_an_empty_choice_what_there_is() {
    let (process, _sink) = busy("").await;
    let patience = Duration::from_secs(30);
    process.admin_until("/api/v1/systems", patience, |all| !all["billing"]["paused"].is_null()).await;
    process.until(patience, |ledger| ledger["destinations"]["billing"]["waiting"].as_i64() >= Some(1)).await;
    let some = json!({"choose": {"destination": "billing"}, "dry_run": true});
    let (status, none) = process.change("/api/v1/deliveries/replay", &some).await;
    let hint = none["hint"].as_str().unwrap();
    assert!(status == 200 && none["count"] == 0, "{none}");
    assert!(hint.starts_with("none that fits is dead; ") && hint.contains("waiting"), "{hint}");
    assert!(
        hint.contains("billing is paused since") && hint.contains("`omgate systems resume billing --reason WHY`"),
        "{hint}"
    );
    let said = process.command(&["dead", "replay", "--destination", "billing", "--reason", "x"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.code() == Some(1) && text.contains("no delivery fits the choice\nnone that fits is dead;"),
        "{text}"
    );
    let in_earnest = json!({"choose": {"destination": "billing"}});
    // What a resume would let go is counted, and nothing is done.
    let waiting = &process.ledger().await["destinations"]["billing"]["waiting"];
    let (status, dry) = process.change("/api/v1/systems/billing/resume", &json!({"dry_run": true})).await;
    assert!(status == 200 && dry["waiting"] == *waiting && dry["blocked"] == 0 && !dry["paused"].is_null(), "{dry}");
    let (status, done) = process.change("/api/v1/deliveries/replay", &in_earnest).await;
    assert!(status == 200 && done["count"] == 0 && done["hint"] == none["hint"], "{done}");
    assert_eq!(process.admin("/api/v1/jobs").await, json!([]), "nothing to do makes no job");
    assert_eq!(process.admin("/api/v1/audit").await, json!([]), "nobody did anything");
    let nowhere = json!({"choose": {"destination": "billing", "record_id": "006nobody"}, "dry_run": true});
    let (_, nothing) = process.change("/api/v1/deliveries/replay", &nowhere).await;
    assert!(nothing["hint"].as_str().unwrap().ends_with("fits no delivery in any other state"), "{nothing}");
    // One is held and released: it waits all the same, and that is said.
    let found = process.admin("/api/v1/deliveries?destination=billing&state=waiting&limit=1").await;
    let id = found[0]["delivery_id"].as_i64().unwrap();
    let (status, held) = process.change(&format!("/api/v1/deliveries/{id}/hold"), &json!({"reason": "look"})).await;
    assert!(status == 200 && held["waits"].is_null(), "{held}");
    let some = json!({"choose": {"ids": [id]}, "dry_run": true});
    let (_, dry) = process.change("/api/v1/deliveries/release", &some).await;
    assert_eq!((&dry["count"], &dry["waits"][0]["system"]), (&json!(1), &json!("billing")), "{dry}");
    assert_eq!((&dry["waits"][0]["code"], &dry["waits"][0]["can_resume"]), (&json!("paused"), &json!(true)));
    let said = process.command(&["deliveries", "release", &id.to_string(), "--reason", "x"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.success() && text.contains("until it is resumed: `omgate systems resume billing --reason WHY`"),
        "{text}"
    );
    let (status, late) = process.change(&format!("/api/v1/deliveries/{id}/release"), &json!({})).await;
    assert!(status == 409 && late["detail"].as_str().unwrap().contains("is waiting"), "{late}");
    // A system that is called is not spoken of.
    process.until(patience, |ledger| ledger["destinations"]["crm"]["dead"].as_i64() >= Some(1)).await;
    let some = json!({"choose": {"destination": "crm"}, "dry_run": true});
    let (_, dry) = process.change("/api/v1/deliveries/replay", &some).await;
    assert!(dry["count"].as_i64() >= Some(1) && dry["waits"].is_null() && dry["hint"].is_null(), "{dry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workbench_offers_the_newest_of_the_routes_own_source() {
    let other = "[[source]]\nname = \"others\"\npath = \"/om/others\"\norganizations = [\"00D24000000abcdEAA\"]\n\
                 [[route]]\nname = \"others\"\nsource = \"others\"\ndestination = \"crm\"\n";
    let (process, _sink) = busy(other).await;
    let body = envelope(&[Notice { id: "04lOTHER", record: "006OTHER", fields: FINE }]);
    assert!(process.post("/om/others", body).await.unwrap().is_ack());
    let own = process.admin("/workbench?route=won-orders").await;
    let (own, other) = (own.as_str().unwrap(), process.admin("/workbench?route=others").await);
    assert!(own.contains("Opportunity 0060") && !own.contains("006OTHER"), "{own}");
    let other = other.as_str().unwrap();
    assert!(other.contains("006OTHER") && !other.contains("Opportunity 0060"), "{other}");
    // What is edited is tried on what came last.
    let edit = json!({"route": "won-orders", "map": [["Total", "record.Amount | default(0) | decimal(0)"]]});
    let (status, tried) = process.change("/api/v1/preview", &json!({"edit": edit, "last": 5})).await;
    assert!(status == 200 && tried["compared"]["looked_at"] == 5, "{tried}");
    assert!(tried["compared"]["messages"].to_string().contains("field CreateOrder.Total"), "{tried}");
    let wrong = json!({"edit": {"route": "won-orders", "map": [["Total", "record.Amuont"]]}, "last": 5});
    let (status, wrong) = process.change("/api/v1/preview", &wrong).await;
    assert!(status == 200 && wrong["problems"][0]["suggestion"] == "Amount", "{wrong}");
    for (body, code, words) in [
        (json!({"last": 5}), 400, "last goes with an edit"),
        (json!({"edit": {"route": "won-orders"}, "last": 0}), 400, "ask for 1 to 1000"),
        (json!({"edit": {"route": "nobody"}, "last": 5}), 422, "no route"),
    ] {
        let (status, told) = process.change("/api/v1/preview", &body).await;
        assert!(status == code && told["detail"].as_str().unwrap().contains(words), "{body}: {status} {told}");
    }
}

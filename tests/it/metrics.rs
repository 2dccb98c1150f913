//! The metrics: described, drawn, alarmed by, and equal to what everything else says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use omgate::telemetry::METRICS;
use serde_json::{Value, json};

use crate::harness::{Arrived, Notice, Process, Sink, envelope};

const PATIENCE: Duration = Duration::from_secs(60);

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

/// The metrics that an expression of Prometheus names; of a histogram by any of its three.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("omgate_"));
    let ends = ["_bucket", "_sum", "_count"];
    words
        .map(|word| {
            let histogram = ends.iter().find_map(|end| word.strip_suffix(end)).filter(|name| is_histogram(name));
            histogram.unwrap_or(word).to_owned()
        })
        .collect()
}

fn is_histogram(name: &str) -> bool {
    METRICS.iter().any(|metric| metric.name == name && metric.kind == "histogram")
}

fn unknown(text: &str) -> Vec<String> {
    named(text).into_iter().filter(|name| !METRICS.iter().any(|metric| metric.name == *name)).collect()
}

#[test]
fn the_dashboard_is_one_and_draws_what_there_is() {
    let text = std::fs::read_to_string(packaged("grafana/omgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "Grafana 9 and later");
    assert!(dashboard.get("id").is_none(), "an import gives it its own");
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|panel| panel["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Overview", "In", "Out", "Store", "Alarms"]);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let variables: Vec<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let mut drawn = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for expression in targets.iter().map(|target| target["expr"].as_str().unwrap()) {
            assert!(expression.contains("instance=~\"$instance\""), "{expression}");
            assert_eq!(unknown(expression), Vec::<String>::new(), "{expression}");
            drawn.extend(named(expression));
            sums_no_shared(expression);
        }
    }
    let left: Vec<&str> = METRICS.iter().map(|metric| metric.name).filter(|name| !drawn.contains(*name)).collect();
    assert_eq!(left, Vec::<&str>::new(), "not drawn");
}

/// What is the same at every gateway is added up only over what tells it apart, and by `max` before that.
fn sums_no_shared(expression: &str) {
    for metric in METRICS.iter().filter(|metric| metric.shared && named(expression).contains(metric.name)) {
        let before = expression.split(metric.name).next().unwrap_or_default();
        assert!(["max", "min"].iter().any(|word| before.contains(word)), "{expression} adds up {}", metric.name);
    }
}

/// What a tool says of a file; none where the tool is not there, which is said.
fn promtool(arguments: &[&str], input: &Path) -> Option<Output> {
    let input = std::fs::File::open(input).unwrap();
    match Command::new("promtool").args(arguments).stdin(input).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped the check by promtool: it cannot be run ({error})");
            None
        }
    }
}

/// Every expression of the dashboard, as Grafana asks it.
fn asked() -> Vec<String> {
    let text = std::fs::read_to_string(packaged("grafana/omgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| target["expr"].as_str().unwrap());
    expressions.map(|text| text.replace("$__rate_interval", "5m").replace("$instance", ".*")).collect()
}

/// Whether Prometheus can read expressions; none where promtool is missing.
fn is_readable(expressions: &[String]) -> Option<bool> {
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| json!({"record": format!("panel:{number}"), "expr": expression}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    let file = folder.path().join("panels.yaml");
    std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
    let output = promtool(&["check", "rules", file.to_str().unwrap()], &file)?;
    println!("{}", String::from_utf8_lossy(&output.stderr));
    Some(output.status.success())
}

#[test]
fn prometheus_can_read_what_every_panel_asks() {
    let expressions = asked();
    assert!(expressions.len() > 25, "{}", expressions.len());
    assert_ne!(is_readable(&expressions), Some(false));
    assert_ne!(is_readable(&["sum by (le) (rate(omgate_ack_seconds_bucket[5m])".to_owned()]), Some(true));
}

#[test]
fn grafanas_own_models_know_all_of_the_dashboard() {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop/python/bin/python").display().to_string();
    let has = |python: &&str| {
        let asked = Command::new(python).args(["-c", "import grafana_foundation_sdk"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let Some(python) = [own.as_str(), "python3"].into_iter().find(has) else {
        println!("skipped: there is no Python with grafana-foundation-sdk");
        return;
    };
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/metrics/dashboard.py");
    let read = |file: &Path| {
        let output = Command::new(python).arg(&reader).arg(file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let ours = packaged("grafana/omgate.json");
    assert_eq!(read(&ours), (true, "\n".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.json");
    let text = std::fs::read_to_string(&ours).unwrap();
    std::fs::write(&wrong, text.replacen("\"gridPos\"", "\"gridPosition\"", 1)).unwrap();
    let (is_clean, said) = read(&wrong);
    assert!(!is_clean && said.contains("gridPosition"), "{said}");
}

#[test]
fn the_alert_rules_see_the_first_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(packaged("prometheus/omgate.rules.yaml"), folder.path().join("omgate.rules.yaml")).unwrap();
    let tests = folder.path().join("rules.yaml");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/metrics/rules.yaml"), &tests).unwrap();
    let Some(output) = promtool(&["test", "rules", tests.to_str().unwrap()], &tests) else { return };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The counters and the gauges of the ledger among the samples, without their values.
fn counted(text: &str) -> BTreeSet<String> {
    let counters: Vec<&str> = METRICS
        .iter()
        .filter(|metric| {
            metric.kind == "counter" || ["omgate_deliveries", "omgate_notifications"].contains(&metric.name)
        })
        .map(|metric| metric.name)
        .collect();
    let is_counter = |line: &&str| counters.iter().any(|name| line.starts_with(&format!("{name}{{")));
    text.lines().filter(is_counter).filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_begins_at_zero_and_promtool_minds_nothing() {
    let sink = sink().await;
    let mut gateway = Process::prepare(&configuration("sqlite:omgate.db", &sink.url("")));
    gateway.start(&[]).await;
    let fresh = gateway.admin("/metrics").await.as_str().unwrap().to_owned();
    for series in [
        "omgate_deliveries{destination=\"refused\",state=\"dead\"} 0",
        "omgate_notifications{source=\"orders\",kind=\"unreadable\"} 0",
        "omgate_outcomes_total{destination=\"taken\",outcome=\"delivered\"} 0",
        "omgate_answers_total{source=\"orders\",answer=\"fault\"} 0",
        "omgate_refused_total{source=\"orders\",reason=\"malformed\"} 0",
        "omgate_unknown_paths_total{method=\"POST\"} 0",
        "omgate_delivery_seconds_count{destination=\"refused\"} 0",
        "omgate_writer_commits_by_size_bucket{le=\"+Inf\"}",
    ] {
        assert!(fresh.lines().any(|line| line.starts_with(series)), "{series}:\n{fresh}");
    }
    traffic(&[&gateway]).await;
    gateway.post("/om/orders", "<no>envelope".to_owned()).await.unwrap();
    gateway.post("/elsewhere", "<a/>".to_owned()).await.unwrap();
    let text = gateway.admin("/metrics").await.as_str().unwrap().to_owned();
    assert_eq!(counted(&text), counted(&fresh), "a series was born with what it counts");
    let file = gateway.folder.path().join("metrics.txt");
    for (text, is_right) in [(text.as_str(), true), ("# TYPE omgate_sizes gauge\nomgate_sizes{le=\"1\"} 1\n", false)] {
        std::fs::write(&file, text).unwrap();
        let Some(output) = promtool(&["check", "metrics"], &file) else { break };
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.success() && said.is_empty(), is_right, "{said}");
    }
    gateway.stop().await;
}

#[test]
fn the_alert_rules_are_right_and_ask_for_what_there_is() {
    let path = packaged("prometheus/omgate.rules.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(unknown(&text.replace("OmgateDown", "")), Vec::<String>::new());
    let values = |key: &str| {
        let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(&format!("{key}: ")).map(str::to_owned)).collect::<Vec<_>>()
    };
    let alerts = values("alert");
    assert!(alerts.len() >= 8 && alerts.iter().all(|name| name.starts_with("Omgate")), "{alerts:?}");
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), alerts.len(), "each has a name of its own");
    for key in ["expr", "severity", "summary", "description"] {
        assert_eq!(values(key).len(), alerts.len(), "{key}");
    }
    values("expr").iter().for_each(|expression| sums_no_shared(expression));
    if let Some(output) = promtool(&["check", "rules", path.to_str().unwrap()], &path) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_is_no_metric_and_what_is_added_up_wrongly_is_found() {
    assert_eq!(unknown("rate(omgate_ack_seconds_bucket[5m]) + omgate_nothing"), ["omgate_nothing"]);
    assert_eq!(unknown("omgate_store_ready_bucket"), ["omgate_store_ready_bucket"]);
    let wrong = std::panic::catch_unwind(|| sums_no_shared("sum(omgate_deliveries)"));
    assert!(wrong.is_err());
}

/// A source and two destinations, one of which refuses all.
fn configuration(store: &str, url: &str) -> String {
    let destination = |name: &str| {
        format!(
            "\n[[destination]]\nname = \"{name}\"\nkind = \"rest\"\nurl = \"{url}/{name}\"\nretry = {{ first = \"50ms\", max_wait = \"200ms\" }}\n\
             [[route]]\nsource = \"orders\"\ndestination = \"{name}\"\nwhen = \"record.Name != 'nobody'\"\n"
        )
    };
    format!(
        "[server]\nlisten = \"127.0.0.1:{{public}}\"\nadmin_listen = \"127.0.0.1:{{admin}}\"\n[store]\nurl = \"{store}\"\n\
         [[source]]\nname = \"orders\"\npath = \"/om/orders\"\norganizations = [\"00D24000000abcdEAA\"]\n{}{}",
        destination("taken"),
        destination("refused")
    )
}

async fn sink() -> Sink {
    let respond = |number, arrived: &Arrived| match (arrived.path.as_str(), number % 5) {
        ("/refused", _) => Some((400, String::new())),
        (_, 3) => None,
        _ => Some((200, String::new())),
    };
    Sink::start(Box::new(respond)).await
}

/// New ones, repeats, revisions, what goes nowhere, what cannot be read; to one gateway after the other.
async fn traffic(gateways: &[&Process]) {
    for number in 0..30_usize {
        let gateway = gateways[number % gateways.len()];
        let (id, record) = (format!("04l{}", number % 24), format!("006A{:08}AAA", number % 7));
        let name = ["A", "B", "nobody"][number % 3];
        let fields = format!("<sf:Name>{name}</sf:Name>");
        let body = envelope(&[Notice { id: &id, record: &record, fields: &fields }]);
        assert!(gateway.post("/om/orders", body).await.unwrap().is_ack());
    }
    let unreadable = envelope(&[Notice { id: "null", record: "006A0000001AAA", fields: "" }]);
    gateways[0].post("/om/orders", unreadable).await.unwrap();
    gateways[0]
        .until(PATIENCE, |ledger| {
            ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
        })
        .await;
}

/// The samples of a metric, by the values of two labels.
fn samples(text: &str, metric: &str, labels: [&str; 2]) -> BTreeMap<(String, String), i64> {
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    text.lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")))
        .map(|line| {
            let value = line.rsplit(' ').next().unwrap().parse().unwrap();
            ((label(line, labels[0]), label(line, labels[1])), value)
        })
        .collect()
}

/// The metrics of a gateway, its ledger over the API and the command line, all as the same numbers.
async fn agreed(gateway: &Process) -> (Value, BTreeMap<(String, String), i64>) {
    let metrics = gateway.admin("/metrics").await.as_str().unwrap().to_owned();
    let ledger = gateway.ledger().await;
    let output = gateway.command(&["status", "--json"]);
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), ledger);
    let deliveries = samples(&metrics, "omgate_deliveries", ["destination", "state"]);
    assert!(!deliveries.is_empty());
    for ((destination, state), count) in &deliveries {
        assert_eq!(ledger["destinations"][destination][state], json!(count), "{destination} {state}");
    }
    let kinds = samples(&metrics, "omgate_notifications", ["source", "kind"]);
    assert!(kinds.len() > 5);
    for ((_, kind), count) in &kinds {
        assert_eq!(ledger["notifications"][kind], json!(count), "{kind}");
    }
    for (metric, key) in [("omgate_attempts", "total"), ("omgate_attempts_unknown", "unknown")] {
        assert!(metrics.contains(&format!("\n{metric} {}\n", ledger["attempts"][key])), "{metric}\n{metrics}");
    }
    assert!(metrics.contains("\nomgate_ledger_balanced 1\n") && ledger["balanced"] == true);
    for metric in METRICS.iter().filter(|metric| metric.shared && metrics.contains(&format!("# HELP {} ", metric.name)))
    {
        let help = metrics.lines().find(|line| line.starts_with(&format!("# HELP {} ", metric.name))).unwrap();
        assert!(help.contains("take max, not sum"), "{help}");
    }
    (ledger, deliveries)
}

/// What the rows come to, by destination and state, and how many notifications and attempts there are.
const DELIVERIES: &str = "SELECT n.text, d.state, CAST(count(*) AS bigint) FROM delivery d JOIN way w ON w.id = d.way \
                          JOIN name n ON n.id = w.destination GROUP BY n.text, d.state";
const NOTIFICATIONS: &str = "SELECT kind, CAST(count(*) AS bigint) FROM notification GROUP BY kind";
const ATTEMPTS: &str = "SELECT CAST(count(*) AS bigint), CAST(coalesce(sum(CASE WHEN outcome = 'unknown' THEN 1 ELSE 0 END), 0) AS bigint) FROM attempt";

/// The rows of a database.
struct Rows {
    deliveries: BTreeMap<(String, String), i64>,
    notifications: BTreeMap<String, i64>,
    attempts: (i64, i64),
}

fn are_those(rows: &Rows, ledger: &Value, deliveries: &BTreeMap<(String, String), i64>) {
    // `routed` is the sum of the states, and no state.
    let counted = deliveries.iter().filter(|((_, state), count)| **count > 0 && state != "routed");
    assert_eq!(counted.map(|(key, count)| (key.clone(), *count)).collect::<BTreeMap<_, _>>(), rows.deliveries);
    for (kind, count) in &rows.notifications {
        assert_eq!(ledger["notifications"][kind], json!(count), "{kind}");
    }
    assert_eq!(
        (&ledger["attempts"]["total"], &ledger["attempts"]["unknown"]),
        (&json!(rows.attempts.0), &json!(rows.attempts.1))
    );
    for state in ["delivered", "dead"] {
        assert!(rows.deliveries.keys().any(|(_, found)| found == state), "nothing is {state}");
    }
    for kind in ["routed", "unrouted", "unreadable", "revised"] {
        assert!(rows.notifications.contains_key(kind), "nothing is {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_ledger_command_line_and_rows_agree() {
    let sink = sink().await;
    let mut gateway = Process::prepare(&configuration("sqlite:omgate.db", &sink.url("")));
    gateway.start(&[]).await;
    traffic(&[&gateway]).await;
    let (ledger, deliveries) = agreed(&gateway).await;
    gateway.stop().await;
    let store = rusqlite::Connection::open(gateway.folder.path().join("omgate.db")).unwrap();
    let mut statement = store.prepare(DELIVERIES).unwrap();
    let found = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).unwrap();
    let by_state = found.collect::<rusqlite::Result<_>>().unwrap();
    let mut statement = store.prepare(NOTIFICATIONS).unwrap();
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let notifications = found.collect::<rusqlite::Result<_>>().unwrap();
    let attempts = store.query_row(ATTEMPTS, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    are_those(&Rows { deliveries: by_state, notifications, attempts }, &ledger, &deliveries);
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_tell_the_same_of_what_they_share_and_it_is_what_the_rows_are() {
    use crate::postgres;

    let Some(database) = postgres::database() else { return };
    let sink = sink().await;
    let text = configuration(&database, &sink.url(""));
    let (mut one, mut other) = (Process::prepare(&text), Process::prepare(&text));
    one.start(&[]).await;
    other.start(&[]).await;
    traffic(&[&one, &other]).await;
    let same = async || one.ledger().await == other.ledger().await;
    postgres::until("both tell the same", PATIENCE, same).await;
    let (ledger, deliveries) = agreed(&one).await;
    assert_eq!(agreed(&other).await, (ledger.clone(), deliveries.clone()));
    let client = postgres::connect(&database).await;
    client.batch_execute("SET search_path = omgate").await.unwrap();
    let found = client.query(DELIVERIES, &[]).await.unwrap();
    let by_state = found.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    let found = client.query(NOTIFICATIONS, &[]).await.unwrap();
    let notifications = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    let row = client.query_one(ATTEMPTS, &[]).await.unwrap();
    are_those(&Rows { deliveries: by_state, notifications, attempts: (row.get(0), row.get(1)) }, &ledger, &deliveries);
    one.stop().await;
    other.stop().await;
    postgres::remove(&database);
}

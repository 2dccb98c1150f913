//! Deliveries whose route or destination is gone: counted, kept or discarded, never forgotten.

use super::*;

/// A system that is paused, so that what is posted waits.
fn paused(name: &str) -> String {
    way(name, "http://127.0.0.1:9/", "paused = true")
}

/// A gateway with five deliveries that wait for a route `a`, and the configurations with it and without.
async fn with_waiting() -> (Process, String, String, Sink) {
    let sink = ok_sink().await;
    let with = configuration("watch = false", &(paused("a") + &way("b", &sink.url("/b"), "")));
    let without = configuration("watch = false", &way("b", &sink.url("/b"), ""));
    let mut gateway = Process::prepare(&with);
    gateway.start(&[]).await;
    post(&gateway, 1..=5).await;
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 5).await;
    (gateway, with, without, sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_would_leave_orphans_is_refused_with_their_count_until_it_is_said_what_becomes_of_them() {
    let (gateway, _, without, _sink) = with_waiting().await;
    gateway.configure(&without);
    let orphans = json!([{"route": "a", "destination": "a", "system": "a", "count": 5}]);
    let (status, answer) = reload(&gateway, json!({"dry_run": true})).await;
    assert_eq!((status, &answer["orphans"], &answer["orphans_are"]), (200, &orphans, &Value::Null));
    let (status, answer) = reload(&gateway, json!({})).await;
    assert_eq!((status, &answer["orphans"]), (409, &orphans), "{answer:#}");
    assert!(answer["detail"].as_str().unwrap().contains("5 deliveries without route or destination (route a to a: 5)"));
    let output = gateway.command(&["reload", "--reason", "a is switched off"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("--orphans keep or --orphans discard"), "{text}");
    assert_eq!(gateway.admin("/api/v1/config").await["version"], 1, "the one in force stays");
    let (status, answer) = reload(&gateway, json!({"orphans": "burn"})).await;
    assert_eq!(status, 400, "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_that_are_kept_say_why_they_wait_and_go_on_when_their_way_comes_back() {
    let (gateway, with, without, sink) = with_waiting().await;
    gateway.configure(&without);
    let output = gateway.command(&["reload", "--orphans", "keep"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("5 of route a to a: kept"), "{text}");
    let config = gateway.admin("/api/v1/config").await;
    assert_eq!(config["orphans"], json!([{"route": "a", "destination": "a", "system": "a", "count": 5}]));
    assert!(gateway.admin("/api/v1/status").await["alarms"].to_string().contains("5 deliveries wait for a route"));
    let waiting = gateway.admin("/api/v1/deliveries?state=waiting").await;
    assert!(waiting.as_array().unwrap().iter().all(|delivery| delivery["why"]["code"] == "no_route"), "{waiting:#}");
    let (_, answer) = reload(&gateway, json!({"orphans": "discard"})).await;
    assert_eq!(
        (&answer["changed"], &answer["orphans_before"]),
        (&json!(false), &json!(5)),
        "who kept them is not overruled"
    );
    taken(&gateway, &with.replace("paused = true", "").replace("http://127.0.0.1:9/", &sink.url("/a"))).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived().iter().filter(|request| request.path == "/a").count(), 5);
    assert_eq!(gateway.admin("/api/v1/status").await["alarms"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_whose_notifications_come_again_go_on_with_the_newest_content_when_their_way_comes_back() {
    let (gateway, with, without, sink) = with_waiting().await;
    gateway.configure(&without);
    assert_eq!(reload(&gateway, json!({"orphans": "keep"})).await.0, 200);
    let says = |text: &str| notice(2).replace(">A<", &format!(">{text}<"));
    assert!(gateway.post("/om/orders", says("again")).await.unwrap().is_ack());
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 6).await;
    let kept = gateway.admin("/api/v1/deliveries?route=a&notification_id=04l000002").await;
    assert_eq!(
        (kept.as_array().unwrap().len(), &kept[0]["state"], &kept[0]["revision"]),
        (1, &json!("waiting"), &json!(2))
    );
    assert_eq!(gateway.admin("/api/v1/config").await["orphans"][0]["count"], 5);
    // It comes once more when none of its routes is left.
    let other = way("c", &sink.url("/c"), "") + "when = \"record.Name == 'nobody'\"\n";
    gateway.configure(&configuration("watch = false", &other));
    assert_eq!(reload(&gateway, json!({"orphans": "keep"})).await.0, 200);
    assert!(gateway.post("/om/orders", says("once more")).await.unwrap().is_ack());
    taken(&gateway, &with.replace("paused = true", "").replace("http://127.0.0.1:9/", &sink.url("/a"))).await;
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!((&ledger["destinations"]["a"]["delivered"], &ledger["balanced"]), (&json!(5), &json!(true)));
    let sent =
        sink.arrived().iter().filter(|request| request.path == "/a" && request.body.contains("once more")).count();
    assert_eq!(sent, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_discarded_with_a_reason_that_names_the_reload() {
    let (gateway, _, without, _sink) = with_waiting().await;
    gateway.configure(&without);
    let output = gateway.command(&["reload", "--orphans", "discard", "--reason", "a is switched off", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["orphans_are"], &answer["orphans"][0]["count"]), (&json!("discard"), &json!(5)));
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!((&ledger["deliveries"]["discarded"], &ledger["balanced"]), (&json!(5), &json!(true)));
    let discarded = gateway.admin("/api/v1/deliveries?state=discarded").await;
    let reason = "discarded by the reload to configuration version 2, which has no way for it: a is switched off";
    assert!(discarded.as_array().unwrap().iter().all(|delivery| delivery["reason"] == reason), "{discarded:#}");
    assert!(gateway.command(&["store", "verify"]).status.success());
    // Sooner than the minute after which it is looked at again.
    gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_a_refused_reload_with_all_that_is_wrong_and_the_status_says_it_once() {
    let (gateway, _, without, _sink) = with_waiting().await;
    gateway.configure(&without.replace("timeout = \"30s\"", "timeout = \"soon\"\ncolour = \"red\""));
    let output = gateway.command(&["reload", "--reason", "try"]);
    assert_eq!(output.status.code(), Some(1));
    let entry = gateway.admin("/api/v1/audit?verb=reload").await[0]["result"].as_str().unwrap().to_owned();
    assert!(entry.contains("\"soon\"") && entry.contains("colour"), "{entry}");
    let text = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    let listed = text(gateway.command(&["audit", "list"]));
    assert!(listed.contains("more: --json)") && !listed.contains("colour"), "{listed}");
    let status = text(gateway.command(&["status"]));
    assert_eq!(status.matches("colour").count(), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_keeps_orphans_and_a_start_tells_of_them() {
    let (mut gateway, _, without, _sink) = with_waiting().await;
    gateway.configure(&without);
    gateway.hang_up();
    gateway.admin_until("/api/v1/config", PATIENCE, |config| config["orphans"][0]["count"] == 5).await;
    // The alarm begins when all of it is told.
    let told = "5 deliveries wait for a route or destination that is gone";
    gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"].to_string().contains(told)).await;
    assert!(gateway.log().contains("they are kept: route a to a: 5"), "{}", gateway.log());
    gateway.stop().await;
    gateway.start(&[]).await;
    gateway.admin_until("/api/v1/status", PATIENCE, |status| status["alarms"].to_string().contains(told)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_ends_by_the_plan_that_began_it_and_is_discarded_only_if_it_was_not_taken() {
    let target = Gated::start().await;
    let sink = ok_sink().await;
    let with = configuration("watch = false", &way("a", &target.url, "concurrency = 1"));
    let mut gateway = Process::prepare(&with);
    gateway.start(&[]).await;
    post(&gateway, 1..=3).await;
    target.until(1, 1).await;
    gateway.configure(&configuration("watch = false", &way("b", &sink.url("/"), "")));
    let (status, answer) = reload(&gateway, json!({"orphans": "discard"})).await;
    assert_eq!((status, &answer["orphans"][0]["count"]), (200, &json!(3)));
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["discarded"] == 2).await;
    target.let_go(1);
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!(ledger["deliveries"]["delivered"], 1, "what was under way arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_leads_to_another_system_leaves_what_was_made_before_and_says_so() {
    let sink = ok_sink().await;
    let (a, b) = (paused("a"), way("b", &sink.url("/b"), ""));
    let mut gateway = Process::prepare(&configuration("watch = false", &(a.clone() + &b)));
    gateway.start(&[]).await;
    post(&gateway, [1]).await;
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 1).await;
    let crossed = a.replace("destination = \"a\"", "destination = \"b\"");
    gateway.configure(&configuration("watch = false", &(crossed + &b)));
    let (status, answer) = reload(&gateway, json!({})).await;
    assert_eq!((status, &answer["orphans"][0]["count"]), (409, &json!(1)), "{answer:#}");
    let (status, _) = reload(&gateway, json!({"orphans": "keep"})).await;
    assert_eq!(status, 200);
    let waiting = gateway.admin("/api/v1/deliveries?state=waiting").await;
    let text = "it was made for system a, and its route or destination belongs to system b now";
    assert_eq!((&waiting[0]["why"]["code"], &waiting[0]["why"]["text"]), (&json!("moved"), &json!(text)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_leads_to_another_destination_of_its_system_takes_what_waits_along() {
    let sink = ok_sink().await;
    let destination = |name: &str, keys: &str| {
        let section = way(name, &sink.url(&format!("/{name}")), &format!("system = \"erp\"\n{keys}"));
        section.split("[[route]]").next().unwrap().to_owned()
    };
    let route = |to: &str| format!("[[route]]\nname = \"r\"\nsource = \"orders\"\ndestination = \"{to}\"\n");
    let both = |paused: &str| destination("old", paused) + &destination("new", "");
    let mut gateway = Process::prepare(&configuration("watch = false", &(both("paused = true") + &route("old"))));
    gateway.start(&[]).await;
    post(&gateway, [1]).await;
    let answer = taken(&gateway, &configuration("watch = false", &(both("") + &route("new")))).await;
    assert_eq!(answer["orphans"], json!([]));
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived()[0].path, "/new");
    let booked = &gateway.ledger().await["destinations"];
    assert_eq!((&booked["new"]["delivered"], &booked["new"]["routed"]), (&json!(1), &json!(1)), "{booked}");
    assert_eq!(booked["old"]["routed"], 0, "nothing was sent there: {booked}");
    assert!(gateway.command(&["store", "verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_keeps_its_order_by_something_else_says_what_stands_in_the_lanes_of_before() {
    let (mut gateway, with, _, _sink) = with_waiting().await;
    let by = |lane: &str| with.replacen("[[route]]", &format!("[[route]]\nlane = \"{lane}\""), 1);
    let told = |lane: &str| {
        format!(
            "route a keeps its order by {lane} from now on, and by record.Id until now: 5 of its deliveries that are not settled \
             stay in the lanes of before"
        )
    };
    for (lane, is_told) in [("record.AccountId", true), ("none", false), ("record.Id", false)] {
        gateway.configure(&by(lane));
        let (status, answer) = reload(&gateway, json!({"dry_run": true})).await;
        assert_eq!(
            (status, answer["warnings"].to_string().contains(&told(lane))),
            (200, is_told),
            "{lane}: {answer:#}"
        );
    }
    gateway.stop().await;
    gateway.configure(&by("record.AccountId"));
    gateway.start(&[]).await;
    assert!(gateway.log().contains(&told("record.AccountId")), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_that_a_stop_cut_off_goes_on_at_the_next_start() {
    let target = Gated::start().await;
    let with = configuration("watch = false", &way("a", &target.url, "concurrency = 1"));
    let without = configuration("watch = false", &way("b", "http://127.0.0.1:9/", ""));
    let mut gateway = Process::prepare(&with);
    gateway.start(&[]).await;
    post(&gateway, 1..=5).await;
    target.until(1, 1).await;
    gateway.configure(&without);
    let (status, _) = reload(&gateway, json!({"orphans": "discard", "reason": "a is gone"})).await;
    assert_eq!(status, 200);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["discarded"] == 4).await;
    // One is in flight still, so the discard is not over.
    gateway.kill();
    gateway.start(&[]).await;
    let ledger = gateway.until(PATIENCE, settled).await;
    assert_eq!((&ledger["deliveries"]["discarded"], &ledger["balanced"]), (&json!(5), &json!(true)));
    let reason = "discarded by the reload to configuration version 2, which has no way for it: a is gone";
    let discarded = gateway.admin("/api/v1/deliveries?state=discarded").await;
    assert!(discarded.as_array().unwrap().iter().all(|delivery| delivery["reason"] == reason), "{discarded:#}");
    let log = "/api/v1/audit?verb=discard%20orphans";
    let results = |log: &Value| -> Vec<String> {
        log.as_array().unwrap().iter().map(|entry| entry["result"].as_str().unwrap().to_owned()).collect()
    };
    gateway.admin_until(log, PATIENCE, |log| results(log) == ["done", "begun"]).await;
    gateway.stop().await;
    gateway.configure(&with);
    gateway.start(&[]).await;
    post(&gateway, 6..=6).await;
    gateway.stop().await;
    gateway.configure(&without);
    gateway.start(&[]).await;
    let kept = gateway.until(PATIENCE, |ledger| ledger["deliveries"]["waiting"] == 1).await;
    assert_eq!(kept["deliveries"]["discarded"], 5, "nobody asked for more");
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_go_on_once_their_route_says_that_dead_letters_do_not_stop_them() {
    let with = |sink: &Sink, on_dead: &str| {
        let keys = format!("[[route]]\nlane = \"'all'\"\non_dead = \"{on_dead}\"");
        configuration("watch = false", &way("a", &sink.url("/"), "").replacen("[[route]]", &keys, 1))
    };
    for by_start in [false, true] {
        let answer = |number, _: &Arrived| Some((if number == 0 { 400 } else { 200 }, "{}".to_owned()));
        let sink = Sink::start(Box::new(answer)).await;
        let mut gateway = Process::prepare(&with(&sink, "hold"));
        gateway.start(&[]).await;
        post(&gateway, 1..=3).await;
        let is_stopped = |ledger: &Value| ledger["deliveries"]["dead"] == 1 && ledger["deliveries"]["blocked"] == 2;
        gateway.until(PATIENCE, is_stopped).await;
        if by_start {
            gateway.stop().await;
            gateway.configure(&with(&sink, "continue"));
            gateway.start(&[]).await;
        } else {
            taken(&gateway, &with(&sink, "continue")).await;
        }
        let ledger = gateway.until(PATIENCE, settled).await;
        assert_eq!((&ledger["deliveries"]["dead"], &ledger["deliveries"]["delivered"]), (&json!(1), &json!(2)));
        let log = gateway.admin("/api/v1/audit?verb=let%20lane%20go%20on").await;
        assert_eq!(log.as_array().unwrap().len(), 1, "{log:#}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_before_its_route_came_after_another_is_not_sent_without_that() {
    let sink = ok_sink().await;
    let after = way("b", &sink.url("/b"), "paused = true").replacen("[[route]]", "[[route]]\nafter = \"a\"", 1);
    let plain = way("b", &sink.url("/b"), "paused = true");
    let with = |b: &str| configuration("watch = false", &(way("a", &sink.url("/a"), "") + b));
    let mut gateway = Process::prepare(&with(&plain));
    gateway.start(&[]).await;
    post(&gateway, 1..=2).await;
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["a"]["delivered"] == 2).await;
    let answer = taken(&gateway, &with(&after)).await;
    let warned = "route b comes after a from now on: up to 2 of its deliveries that are not settled were made before";
    assert!(answer["warnings"].to_string().contains(warned), "{answer:#}");
    let (status, _) = gateway.change("/api/v1/systems/b/resume", &json!({})).await;
    assert_eq!(status, 200);
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["dead"] == 2).await;
    assert!(!sink.arrived().iter().any(|request| request.path == "/b"));
    let dead = gateway.admin("/api/v1/deliveries?state=dead").await;
    assert!(dead[0]["reason"].as_str().unwrap().contains("before its route came after route \"a\""), "{dead:#}");
    let all = json!({"choose": {"state": "dead"}, "reason": "in order now"});
    let (status, answer) = gateway.change("/api/v1/deliveries/replay", &all).await;
    assert_eq!(status, 202, "{answer:#}");
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_to_wait_for_another_still_does_once_its_route_waits_for_none_and_the_reload_says_so() {
    let sink = ok_sink().await;
    let after = way("b", &sink.url("/b"), "").replacen("[[route]]", "[[route]]\nafter = \"a\"", 1);
    let with = |b: &str| configuration("watch = false", &(way("a", &sink.url("/a"), "paused = true") + b));
    let mut gateway = Process::prepare(&with(&after));
    gateway.start(&[]).await;
    post(&gateway, 1..=2).await;
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["blocked"] == 2).await;
    let answer = taken(&gateway, &with(&way("b", &sink.url("/b"), ""))).await;
    let warned = "route b comes after no other route from now on: up to 2 of its deliveries that are not settled were made to \
                  wait for a, and still do";
    assert!(answer["warnings"].to_string().contains(warned), "{answer:#}");
    post(&gateway, 3..=3).await;
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 1).await;
    let (status, _) = gateway.change("/api/v1/systems/a/resume", &json!({})).await;
    assert_eq!(status, 200);
    gateway.until(PATIENCE, |ledger| ledger["destinations"]["b"]["delivered"] == 3).await;
}

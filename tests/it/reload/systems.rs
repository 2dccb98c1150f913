//! Systems through a reload: what is known of them stays, and their limits change without a slot too many.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_goes_down_as_calls_end_and_up_at_once() {
    let target = Gated::start().await;
    let with = |concurrency: usize| {
        configuration("watch = false", &way("a", &target.url, &format!("concurrency = {concurrency}")))
    };
    let mut gateway = Process::prepare(&with(6));
    gateway.start(&[]).await;
    post(&gateway, 1..=30).await;
    target.until(6, 6).await;
    let answer = taken(&gateway, &with(2)).await;
    assert_eq!(answer["systems_changed"], json!(["a"]));
    target.let_go(4);
    target.until(2, 6).await;
    target.let_go(2);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 6).await;
    target.until(2, 2).await;
    taken(&gateway, &with(5)).await;
    target.until(5, 5).await;
    target.let_go(24);
    gateway.until(PATIENCE, settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_goes_and_comes_back_gets_no_more_calls_at_once_than_it_allows() {
    let target = Gated::start().await;
    let sink = ok_sink().await;
    let with = configuration("watch = false", &way("a", &target.url, "concurrency = 1"));
    let without = configuration("watch = false", &way("b", &sink.url("/"), ""));
    let mut gateway = Process::prepare(&with);
    gateway.start(&[]).await;
    post(&gateway, 1..=3).await;
    target.until(1, 1).await;
    for _ in 0..3 {
        taken(&gateway, &without).await;
        assert_eq!(gateway.admin("/api/v1/systems").await["a"], Value::Null);
        taken(&gateway, &with).await;
    }
    post(&gateway, [4]).await;
    target.until(1, 1).await;
    target.let_go(1);
    gateway.until(PATIENCE, |ledger| ledger["deliveries"]["delivered"] == 1).await;
    target.until(1, 1).await;
    target.let_go(3);
    gateway.until(PATIENCE, settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_calls_of_a_system_that_is_gone() {
    let target = Gated::start().await;
    let sink = ok_sink().await;
    let mut gateway = Process::prepare(&configuration("watch = false", &way("a", &target.url, "")));
    gateway.start(&[]).await;
    post(&gateway, [1]).await;
    target.until(1, 1).await;
    let without = configuration("watch = false", &way("b", &sink.url("/"), ""));
    taken(&gateway, &without).await;
    let (gate, url) = (Arc::clone(&target.gate), format!("http://127.0.0.1:{}/readyz", gateway.admin));
    let release = tokio::spawn(async move {
        // The call ends once the stop has begun.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        while http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {}
        gate.add_permits(1);
    });
    gateway.stop().await;
    release.await.unwrap();
    gateway.start(&[]).await;
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["deliveries"]["delivered"], &ledger["attempts"]["unknown"]), (&json!(1), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_pause_and_an_open_breaker_survive_a_reload() {
    let sink = Sink::start(Box::new(|_, _: &Arrived| Some((503, String::new())))).await;
    let with = |keys: &str| {
        let breaker = "breaker = { failures = 3, wait = \"1m\", max_wait = \"1m\" }";
        let ways = way("a", &sink.url("/"), &format!("{breaker}\n{keys}")) + &way("b", &sink.url("/"), keys);
        configuration("watch = false", &ways)
    };
    let mut gateway = Process::prepare(&with(""));
    gateway.start(&[]).await;
    let (status, _) = gateway.change("/api/v1/systems/b/pause", &json!({"reason": "month-end"})).await;
    assert_eq!(status, 200);
    post(&gateway, 1..=5).await;
    gateway.admin_until("/api/v1/systems", PATIENCE, |systems| !systems["a"]["breaker"].is_null()).await;
    let before = gateway.admin("/api/v1/systems").await;
    taken(&gateway, &with("concurrency = 2\nrate = \"50/s\"")).await;
    let after = gateway.admin("/api/v1/systems").await;
    for (system, key) in [("a", "breaker"), ("b", "paused")] {
        assert!(!after[system][key].is_null());
        assert_eq!(before[system][key], after[system][key]);
    }
    let waiting = gateway.admin("/api/v1/deliveries?state=waiting").await;
    let codes: BTreeSet<&str> =
        waiting.as_array().unwrap().iter().map(|delivery| delivery["why"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, BTreeSet::from(["breaker", "paused"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_the_configuration_comes_and_goes_with_it() {
    let sink = ok_sink().await;
    let with = |keys: &str| configuration("watch = false", &way("a", &sink.url("/"), keys));
    let mut gateway = Process::prepare(&with(""));
    gateway.start(&[]).await;
    taken(&gateway, &with("paused = true")).await;
    post(&gateway, [1]).await;
    let system = &gateway.admin("/api/v1/systems").await["a"];
    assert_eq!(system["paused"]["reason"], "paused in the configuration");
    assert_eq!(sink.arrived().len(), 0);
    taken(&gateway, &with("")).await;
    gateway.until(PATIENCE, settled).await;
    assert_eq!(gateway.admin("/api/v1/status").await["alarms"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_another_goes_on_at_once_although_the_configuration_no_longer_says_so() {
    let (target, sink) = (Gated::start().await, ok_sink().await);
    let with = |after: &str| {
        let second =
            way("b", &sink.url("/b"), "").replace("destination = \"b\"\n", &format!("destination = \"b\"\n{after}"));
        configuration("watch = false", &(way("a", &target.url, "") + &second))
    };
    let mut gateway = Process::prepare(&with("after = \"a\""));
    gateway.start(&[]).await;
    post(&gateway, [1]).await;
    target.until(1, 1).await;
    taken(&gateway, &with("")).await;
    target.let_go(1);
    // Without being woken, a system looks only every half minute.
    gateway.until(PATIENCE, settled).await;
    assert_eq!(sink.arrived().len(), 1);
}

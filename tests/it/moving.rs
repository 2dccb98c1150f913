//! `omgate store move` with a gateway at work: from a file to PostgreSQL and back, under load, killed at every point.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::crash::{Acked, check, configuration_with, loader};
use crate::harness::{Notice, Process, Sink, envelope};
use crate::postgres;

/// One, so that what it posts goes out as fast, and a move on a slow machine comes to its end: what is posted meanwhile is
/// copied and compared too.
const POSTERS: usize = 1;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A gateway at work, those who post to it, and where it delivers to.
struct Work {
    gateway: Process,
    sink: Sink,
    acked: Acked,
    stop: Arc<AtomicBool>,
    loaders: Vec<tokio::task::JoinHandle<()>>,
}

impl Work {
    async fn start(store: &str) -> Self {
        let sink = Sink::start(Box::new(|number, _| match number % 41 {
            17 => Some((503, "busy".to_owned())),
            29 => None,
            _ => Some((200, String::new())),
        }))
        .await;
        let mut gateway = Process::prepare(&configuration_with(store, &sink.url("/in")));
        gateway.start(&[]).await;
        let (acked, stop): (Acked, Arc<AtomicBool>) = Default::default();
        let loaders = (0..POSTERS)
            .map(|number| tokio::spawn(loader(number, vec![gateway.public], Arc::clone(&acked), Arc::clone(&stop))))
            .collect();
        Self { gateway, sink, acked, stop, loaders }
    }

    fn acked(&self) -> usize {
        self.acked.lock().unwrap().len()
    }

    /// Waits until so many more are acknowledged.
    async fn go_on(&self, more: usize) {
        let wanted = self.acked() + more;
        postgres::until("envelopes are acknowledged", Duration::from_secs(60), async || self.acked() >= wanted).await;
    }

    /// Runs a command beside the gateway.
    async fn command(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let config = self.gateway.config();
        let run = move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"));
            command.args(arguments).arg("--config").arg(config).output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Orders a move, of which a gateway may die before it has answered.
    async fn begin_move(&self, target: &str) {
        let url = format!("http://127.0.0.1:{}/api/v1/store/move", self.gateway.admin);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        if let Ok(answer) = http.post(url).json(&json!({"to": target, "reason": "try"})).send().await {
            assert_eq!(answer.status().as_u16(), 202, "{:?}", answer.text().await);
        }
    }

    fn configure(&self, store: &str) {
        self.gateway.configure(&configuration_with(store, &self.sink.url("/in")));
    }

    /// Stops posting, lets everything go out, and looks at the books and at what arrived.
    async fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for loader in self.loaders.drain(..) {
            loader.await.unwrap();
        }
        let idle = |ledger: &serde_json::Value| {
            ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
        };
        let acked = u32::try_from(self.acked()).unwrap();
        let patience = Duration::from_secs(60) + Duration::from_millis(20) * acked;
        let ledger = self.gateway.until(patience, idle).await;
        check(&ledger, &self.acked.lock().unwrap(), &self.sink);
        let verified = self.command(&["store", "verify"]).await;
        assert!(verified.status.success(), "{}", said(&verified));
        self.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_moved_to_postgres_and_back_under_load_and_nothing_is_lost() {
    let Some(database) = postgres::database() else { return };
    let mut work = Work::start("sqlite:omgate.db").await;
    work.go_on(150).await;
    let moved = work.command(&["store", "move", "--to", &database, "--reason", "we grew"]).await;
    assert!(moved.status.success(), "{}\n{}", said(&moved), work.gateway.log());
    assert!(said(&moved).contains("moved to postgres://"), "{}", said(&moved));
    work.go_on(50).await;
    // The file still names the old store: that is told, and taken once it is mended.
    let status = said(&work.command(&["status"]).await);
    assert!(status.contains("write the new address into [store] url"), "{status}");
    let before = work.acked();
    work.gateway.kill();
    work.gateway.spawn(&[]);
    assert!(work.gateway.died(Duration::from_secs(20)).await, "the store that was moved is not opened");
    let log = work.gateway.log();
    assert!(log.contains("it was moved to postgres://") && log.contains("give [store] url its address"), "{log}");
    work.configure(&database);
    work.gateway.start(&[]).await;
    work.go_on(50).await;
    assert!(work.acked() >= before + 50);
    let audit = said(&work.command(&["audit", "list"]).await);
    assert!(audit.contains("we grew"), "{audit}");

    let back = work.command(&["store", "move", "--to", "sqlite:back.db", "--reason", "we shrank"]).await;
    assert!(back.status.success(), "{}\n{}", said(&back), work.gateway.log());
    work.configure("sqlite:back.db");
    work.go_on(50).await;
    work.gateway.hang_up();
    let told = async || !said(&work.command(&["status"]).await).contains("write the new address");
    postgres::until("nothing more is to be told", Duration::from_secs(20), told).await;
    work.finish().await;
    postgres::remove(&database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_at_any_point_goes_on_and_nothing_is_lost() {
    let targets = [Some("sqlite:other.db".to_owned()), postgres::database()];
    for target in targets.into_iter().flatten() {
        let order = ["store", "move", "--to", &target, "--reason", "try"];
        let mut work = Work::start("sqlite:omgate.db").await;
        work.go_on(60).await;
        let would = said(&work.command(&["store", "move", "--to", &target, "--dry-run"]).await);
        assert!(would.contains("would be copied from sqlite:") && would.contains("it would be made"), "{would}");
        assert!(!work.gateway.folder.path().join("other.db").exists(), "nothing is written");
        for point in [
            "move-marked",
            "move-marked-there",
            "move-copied:2",
            "move-copied:5",
            "move-shut",
            "move-before-turn",
            "move-after-turn",
        ] {
            work.gateway.kill();
            work.gateway.start(&[("OMGATE_KILL_AT", point)]).await;
            work.begin_move(&target).await;
            assert!(
                work.gateway.died(Duration::from_secs(180)).await,
                "{point} was not passed: {}",
                work.gateway.log()
            );
            if point == "move-copied:5" {
                // Told by the file alone: no gateway runs.
                let would = said(&work.command(&["store", "move", "--to", &target, "--dry-run"]).await);
                assert!(would.contains("has a part of this move") && would.contains("would go on in table"), "{would}");
            }
            if point != "move-after-turn" {
                work.gateway.start(&[]).await;
                work.go_on(20).await;
            }
        }
        // The turn is made: neither store is opened until the move is ended.
        for store in ["sqlite:omgate.db", &target] {
            work.configure(store);
            work.gateway.spawn(&[]);
            assert!(work.gateway.died(Duration::from_secs(20)).await, "{store} was opened");
        }
        work.configure("sqlite:omgate.db");
        let ended = work.command(&order).await;
        assert!(ended.status.success(), "{}", said(&ended));
        work.configure(&target);
        work.gateway.start(&[]).await;
        work.go_on(20).await;
        work.finish().await;
        if target.starts_with("postgres") {
            postgres::remove(&target);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_is_moved_too_and_what_cannot_be_moved_is_refused_in_words() {
    let mut work = Work::start("sqlite:omgate.db").await;
    work.go_on(30).await;
    for (to, words) in [
        ("mysql://x", "the address is no store; write \"sqlite:omgate.db\""),
        ("sqlite:no/such/folder.db", "there is no folder"),
        ("postgres://nobody@127.0.0.1:1/x", "the database cannot be reached"),
        ("sqlite:omgate.db", "omgate.db is the store itself; name another one"),
    ] {
        let refused = work.command(&["store", "move", "--to", to]).await;
        assert_eq!(refused.status.code(), Some(1), "{to}");
        assert!(said(&refused).contains(words), "{to}: {}", said(&refused));
    }
    let nothing = work.command(&["store", "move", "--give-up"]).await;
    assert!(said(&nothing).contains("no move was begun"), "{}", said(&nothing));
    work.go_on(10).await;
    work.gateway.stop().await;
    let moved = work.command(&["store", "move", "--to", "sqlite:other.db", "--json"]).await;
    assert!(moved.status.success(), "{}", said(&moved));
    let moved: serde_json::Value = serde_json::from_slice(&moved.stdout).unwrap();
    assert!(moved["moved"]["tables"][4]["rows"].as_u64().unwrap() >= 40, "{moved:#}");
    // Whoever is not sure gives the order again; no other store becomes the one that counts by it.
    let again = work.command(&["store", "move", "--to", "sqlite:other.db"]).await;
    assert!(again.status.success() && said(&again).contains("and that move has ended"), "{}", said(&again));
    let elsewhere = work.command(&["store", "move", "--to", "sqlite:empty.db"]).await;
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(said(&elsewhere).contains("empty.db is not where it was moved"), "{}", said(&elsewhere));
    assert!(!work.gateway.folder.path().join("empty.db").exists(), "nothing is made there");
    work.configure("sqlite:other.db");
    work.gateway.start(&[]).await;
    let audit = said(&work.command(&["audit", "list", "--json"]).await);
    assert!(audit.contains("begun") && audit.contains("\"done\"") && audit.contains("failed: "), "{audit}");
    work.go_on(10).await;
    work.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_a_store_is_told_soon_that_the_gateway_ended_while_it_turned_and_what_to_do() {
    // A call that goes on for as long as it may: so the turn takes a while.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let configuration = configuration_with("sqlite:omgate.db", &url);
    let configuration = configuration.replace("\"5s\"", "\"60s\"").replace("drain = \"2s\"", "drain = \"8s\"");
    let mut gateway = Process::prepare(&configuration);
    gateway.start(&[("OMGATE_KILL_AT", "move-before-turn")]).await;
    let notice = Notice { id: "04l000000000001AAA", record: "001000000000001AAA", fields: "" };
    assert!(gateway.post("/om/orders", envelope(&[notice])).await.unwrap().is_ack());
    gateway.until(Duration::from_secs(20), |ledger| ledger["deliveries"]["in_flight"] == 1).await;
    let begun = std::time::Instant::now();
    let cut = gateway.command(&["store", "move", "--to", "sqlite:other.db"]);
    let took = begun.elapsed();
    assert!(gateway.died(Duration::from_secs(20)).await, "{}", gateway.log());
    let text = said(&cut);
    assert_eq!(cut.status.code(), Some(1), "{text}");
    assert!(took < Duration::from_secs(90), "{took:?}: {text}");
    assert!(text.contains("has not answered for 5 s: waiting"), "{text}");
    assert!(text.contains("nothing is lost: look into its log") && text.contains("Connection refused"), "{text}");
    // What is said to do does it.
    gateway.start(&[]).await;
    let moved = gateway.command(&["store", "move", "--to", "sqlite:other.db"]);
    assert!(moved.status.success(), "{}", said(&moved));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_on_which_no_gateway_worked_is_moved_at_once() {
    let Some(database) = postgres::database() else { return };
    let mut gateway = Process::prepare(&configuration_with("sqlite:omgate.db", "http://127.0.0.1:9/"));
    gateway.start(&[]).await;
    gateway.stop().await;
    for (from, to) in [("sqlite:omgate.db", database.as_str()), (database.as_str(), "sqlite:back.db")] {
        gateway.configure(&configuration_with(from, "http://127.0.0.1:9/"));
        let moved = gateway.command(&["store", "move", "--to", to]);
        assert!(moved.status.success(), "{}", said(&moved));
    }
    postgres::remove(&database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_a_move_or_a_stop_cuts_off_has_an_end_in_the_audit_log() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let configuration = |store: &str| {
        configuration_with(store, "http://127.0.0.1:9/").replace("[[route]]", "paused = true\n\n[[route]]")
    };
    let mut gateway = Process::prepare(&configuration("sqlite:omgate.db"));
    gateway.start(&[]).await;
    for number in 0..20 {
        let notice = Notice { id: &format!("04l{number:012}AAA"), record: "001000000000001AAA", fields: "" };
        assert!(gateway.post("/om/orders", envelope(&[notice])).await.unwrap().is_ack());
    }
    let order = json!({"choose": {"state": "blocked"}, "reason": "not now", "rate": 1});
    let begin = async |gateway: &Process| {
        let (status, job) = gateway.change("/api/v1/deliveries/hold", &order).await;
        assert_eq!(status, 202, "{job}");
        let path = format!("/api/v1/jobs/{}", job["id"]);
        gateway.admin_until(&path, PATIENCE, |job| job["changed"] != 0).await;
    };
    let ends = async |gateway: &Process| -> Vec<String> {
        let log = gateway.admin("/api/v1/audit?verb=end%20hold").await;
        log.as_array().unwrap().iter().map(|entry| entry["result"].as_str().unwrap().to_owned()).collect()
    };
    begin(&gateway).await;
    let moved = gateway.command(&["store", "move", "--to", "sqlite:other.db", "--reason", "try"]);
    assert!(moved.status.success(), "{}", said(&moved));
    postgres::until("it goes on with the other store", PATIENCE, async || gateway.is_ready().await).await;
    assert_eq!(ends(&gateway).await, ["failed: a move of the store cut it off; order it again for the rest"]);

    begin(&gateway).await;
    gateway.stop().await;
    gateway.configure(&configuration("sqlite:other.db"));
    gateway.start(&[]).await;
    assert_eq!(
        ends(&gateway).await,
        [
            "failed: the gateway was stopped, which cut it off; order it again for the rest",
            "failed: a move of the store cut it off; order it again for the rest"
        ]
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_database_was_moved_away_says_so_and_is_not_ready() {
    let Some(database) = postgres::database() else { return };
    let mut work = Work::start(&database).await;
    work.go_on(20).await;
    let mut second = Process::prepare(&configuration_with(&database, &work.sink.url("/in")));
    second.start(&[]).await;
    // Nobody answers there: that is no reason to take the store of the configuration.
    for order in [vec!["store", "move", "--to", "sqlite:stolen.db"], vec!["store", "verify"]] {
        let refused = work.command(&[order, vec!["--admin", "http://127.0.0.1:1"]].concat()).await;
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
    assert!(!work.gateway.folder.path().join("stolen.db").exists());
    work.stop.store(true, Ordering::SeqCst);
    for loader in work.loaders.drain(..) {
        loader.await.unwrap();
    }
    // The other gateway still works on it.
    work.gateway.stop().await;
    let refused = work.command(&["store", "move", "--to", "sqlite:away.db"]).await;
    assert!(said(&refused).contains("another gateway may be at work"), "{}", said(&refused));
    for order in [vec!["store", "backup", "copy.db"], vec!["store", "prune", "--vacuum"]] {
        let refused = work.command(&order).await;
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("its own") || said(&refused).contains("pg_dump"), "{}", said(&refused));
    }
    let pruned = work.command(&["store", "prune"]).await;
    assert!(pruned.status.success(), "{}", said(&pruned));
    assert!(!work.gateway.folder.path().join("omgate.db").exists(), "no file is made in the database's place");
    work.gateway.start(&[]).await;
    let moved = work.command(&["store", "move", "--to", "sqlite:away.db"]).await;
    assert!(moved.status.success(), "{}", said(&moved));
    let told = |text: &str| text.contains("was moved to sqlite:") && text.contains("give [store] url its address");
    let notice = Notice { id: "04l000000000001AAA", record: "001000000000001AAA", fields: "" };
    second.post("/om/orders", envelope(&[notice])).await.unwrap();
    let ready = async || {
        let answer = second.admin("/readyz").await;
        answer.as_str().is_some_and(told)
    };
    postgres::until("the second is not ready", Duration::from_secs(30), ready).await;
    second.stop().await;
    work.configure("sqlite:away.db");
    work.finish().await;
    postgres::remove(&database);
}

//! What the store over PostgreSQL must do besides: several gateways on one database, leases, lost answers, its restart.

use omgate::clock::SystemClock;
use omgate::delivery::Lease;
use omgate::store::postgres::{OpenError, Options, PARTS, standing};
use omgate::store::{AuditFilter, DayFilter, Deed, Health, Pace, Prune, Pruned, Retention, Signal};

use super::*;
use crate::line::{Cut, Line};
use crate::postgres::{self, address, connect, until};

/// Long enough for what is under way, short enough to wait for.
const LEASE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

/// Several stores on one database; the first is the world's own.
struct Gateways {
    world: World,
    others: Vec<Arc<PostgresStore>>,
}

impl Gateways {
    fn start(count: usize) -> Option<Self> {
        let url = postgres::database()?;
        let world = World::on(Some(url));
        let others = (1..count).map(|_| world.another()).collect();
        Some(Self { world, others })
    }

    fn store(&self, number: usize) -> &dyn Store {
        match number.checked_sub(1) {
            None => self.world.store(),
            Some(other) => &*self.others[other],
        }
    }

    async fn claims(&self, number: usize, limit: usize, bounds: Bounds) -> Claims {
        let claim = Claim { limit, bounds, ..claim_of_everything(&self.world) };
        self.store(number).claim(claim).await.unwrap()
    }

    async fn claim(&self, number: usize, limit: usize) -> Vec<Claimed> {
        self.claims(number, limit, Bounds { lease: LEASE, ..Bounds::default() }).await.claimed
    }

    async fn rescued(&self, number: usize) -> u64 {
        let mut rescued = 0;
        until("a lease runs out", PATIENCE, async || {
            rescued += self.others[number - 1].rescue().await.unwrap();
            rescued > 0
        })
        .await;
        rescued
    }
}

impl World {
    fn another(&self) -> Arc<PostgresStore> {
        let url = self.database.as_ref().unwrap();
        match both::open(url, self.clock.clone(), vec!["careful".to_owned()]) {
            Opened::Postgres(store) => store,
            Opened::Sqlite(_) | Opened::Sealed(..) => panic!("it is over SQLite"),
        }
    }

    fn url(&self) -> &str {
        self.database.as_ref().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_acknowledged_is_a_duplicate_for_all_and_lanes_are_common() {
    let Some(gateways) = Gateways::start(3) else { return };
    let world = &gateways.world;
    let posts = (0..60).map(|number| {
        let notes = [note(&format!("n{}", number % 10)).to("a", "L"), note(&format!("m{}", number % 7)).to("b", "M")];
        gateways.store(number % 3).accept(world.envelope(notes))
    });
    let accepted = futures_util::future::try_join_all(posts).await.unwrap();
    let fates: Vec<Fate> = accepted.into_iter().flat_map(|accepted| accepted.fates).collect();
    assert_eq!(fates.iter().filter(|&&fate| fate == Fate::Routed).count(), 17);
    assert_eq!(fates.iter().filter(|&&fate| fate == Fate::Duplicate).count(), 103);
    assert_eq!(world.states().await.iter().filter(|&&state| state == "waiting").count(), 2, "one head for each lane");
    world.assert_sound().await;
    let claims = futures_util::future::join_all((0..3).map(|number| gateways.claim(number, 10))).await;
    assert_eq!(claims.iter().map(Vec::len).sum::<usize>(), 2, "nothing is leased twice");
    for (number, claimed) in claims.iter().enumerate() {
        for claimed in claimed {
            gateways.store(number).settle(world.settling(claimed, "delivered", Settlement::Delivered)).await.unwrap();
        }
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_is_rescued_by_another_gateway_and_its_late_owner_settles_nothing() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L"), note("2").to("c", "M"), note("3").to("a", "L")]).await;
    let claimed = gateways.claim(0, 10).await;
    assert_eq!(claimed.len(), 2);
    until("both are rescued", PATIENCE, async || {
        gateways.others[0].rescue().await.unwrap();
        world.states().await == ["waiting", "held", "blocked"]
    })
    .await;
    assert_eq!(world.store().ledger().await.unwrap().attempts.unknown, 2);
    let late = world.settling(&claimed[0], "delivered", Settlement::Delivered);
    assert!(matches!(world.store().settle(late.clone()).await, Err(StoreError::LeaseLost)));
    let again = gateways.claim(1, 10).await;
    assert_eq!((again.len(), again[0].attempt, again[0].same_bytes_as), (1, 2, Some(ConfigVersion(1))));
    assert!(matches!(world.store().settle(late).await, Err(StoreError::LeaseLost)), "a newer attempt is under way");
    let lost = world.store().renew(vec![(claimed[0].delivery, claimed[0].lease)], LEASE).await.unwrap();
    assert_eq!(lost, [claimed[0].delivery]);
    gateways.store(1).settle(world.settling(&again[0], "delivered", Settlement::Delivered)).await.unwrap();
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_renewed_is_not_rescued() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    let claimed = gateways.claim(0, 10).await;
    let lease = (claimed[0].delivery, claimed[0].lease);
    let minute = Duration::from_secs(60);
    assert!(world.store().renew(vec![lease], minute).await.unwrap().is_empty());
    let wrong = (claimed[0].delivery, Lease(claimed[1].lease.0));
    assert_eq!(world.store().renew(vec![wrong], minute).await.unwrap(), [claimed[0].delivery]);
    gateways.rescued(1).await;
    assert_eq!(world.states().await, ["in_flight", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_at_once_of_a_system_are_counted_over_all_gateways() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    world.post((0..20).map(|id| note(&id.to_string()).to("a", &id.to_string()))).await;
    let bounds = Bounds { concurrency: 5, ..Bounds::default() };
    let first = gateways.claims(0, 3, bounds.clone()).await.claimed;
    assert_eq!(gateways.claims(1, 8, bounds.clone()).await.claimed.len(), 2);
    let full = gateways.claims(1, 8, bounds.clone()).await;
    assert!(full.claimed.is_empty());
    assert!(full.next_due.is_some_and(|next| next > world.now()), "it is looked again soon");
    world.deliver(&first[0]).await;
    assert_eq!(gateways.claims(1, 8, bounds).await.claimed.len(), 1);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_over_all_gateways() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    world.post((0..40).map(|id| note(&id.to_string()).to("a", &id.to_string()))).await;
    let rate = Some(Pace { per_call: Duration::from_secs(30), burst: 4 });
    let bounds = Bounds { rate, ..Bounds::default() };
    assert_eq!(gateways.claims(0, 3, bounds.clone()).await.claimed.len(), 3);
    assert_eq!(gateways.claims(1, 8, bounds.clone()).await.claimed.len(), 1, "what the first left of the burst");
    let spent = gateways.claims(0, 8, bounds).await;
    assert!(spent.claimed.is_empty());
    let wait = spent.next_due.unwrap().since(world.now());
    assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
    let rate = Some(Pace { per_call: Duration::from_millis(1), burst: 50 });
    let quick = Bounds { rate, ..Bounds::default() };
    until("a rate that was raised counts at once", PATIENCE, async || {
        !gateways.claims(1, 8, quick.clone()).await.claimed.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_or_an_outage_stops_every_gateway_in_its_very_next_claim() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    let mut signals = gateways.store(1).signals().unwrap();
    let paused = SystemState { paused: Some(Pause::new("closing", world.now())), ..SystemState::default() };
    world.store().set_system("erp".to_owned(), paused.clone(), None).await.unwrap();
    let found = gateways.claims(1, 8, Bounds::default()).await;
    assert!(found.claimed.is_empty());
    assert_eq!(found.state.unwrap().paused, paused.paused, "and it learns why");
    let told = async { while signals.recv().await.unwrap() != Signal::System("erp".to_owned()) {} };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told too");

    let outage = Outage { reason: "HTTP 503".to_owned(), since: world.now(), probe_at: world.now(), trips: 1 };
    let broken = SystemState { breaker: Some(outage), ..SystemState::default() };
    world.store().set_system("erp".to_owned(), broken.clone(), None).await.unwrap();
    assert!(gateways.claims(1, 8, Bounds::default()).await.claimed.is_empty(), "who does not know of it");
    let probe = Bounds { probe: true, ..Bounds::default() };
    assert_eq!(gateways.claims(0, 1, probe.clone()).await.claimed.len(), 1);
    assert!(gateways.claims(1, 1, probe.clone()).await.claimed.is_empty(), "one probe at a time");
    world.store().turn_system("erp".to_owned(), broken.clone(), broken).await.unwrap();
    assert_eq!(gateways.claims(1, 1, probe).await.claimed.len(), 1, "the first probe is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_puts_no_probe_off() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    let tomorrow = world.now().plus(Duration::from_secs(86_400));
    let outage = Outage { reason: "HTTP 503".to_owned(), since: tomorrow, probe_at: tomorrow, trips: 1 };
    let paused = Pause { probe_at: Some(tomorrow.plus(Duration::from_secs(60))), ..Pause::new("401", tomorrow) };
    let fresh = SystemState::default();
    for state in
        [SystemState { breaker: Some(outage), ..fresh.clone() }, SystemState { paused: Some(paused), ..fresh.clone() }]
    {
        world.store().set_system("erp".to_owned(), state, None).await.unwrap();
        let bounds = Bounds { probe_within: Duration::from_secs(300), ..Bounds::default() };
        assert!(gateways.claims(0, 1, bounds.clone()).await.claimed.is_empty(), "it is no probe");
        assert_eq!(gateways.claims(0, 1, Bounds { probe: true, ..bounds }).await.claimed.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_gateway_made_of_a_system_is_not_undone() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    let fresh = SystemState::default();
    let paused = SystemState { paused: Some(Pause::new("closing", world.now())), ..fresh.clone() };
    world.store().set_system("erp".to_owned(), paused.clone(), None).await.unwrap();
    let outage = Outage { reason: "HTTP 503".to_owned(), since: world.now(), probe_at: world.now(), trips: 1 };
    let broken = SystemState { active_ms: 50, breaker: Some(outage), ..fresh.clone() };
    let standing = gateways.store(1).turn_system("erp".to_owned(), fresh, broken.clone()).await.unwrap();
    assert_eq!(standing, SystemState { active_ms: 50, ..paused.clone() });
    assert_eq!(world.store().system("erp".to_owned()).await.unwrap(), SystemState { active_ms: 50, ..paused.clone() });
    assert_eq!(gateways.store(1).turn_system("erp".to_owned(), paused, broken.clone()).await.unwrap(), broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_told_to_the_other_gateways_and_not_to_oneself() {
    let Some(gateways) = Gateways::start(2) else { return };
    let world = &gateways.world;
    let (mut own, mut other) = (world.store().signals().unwrap(), gateways.store(1).signals().unwrap());
    world.post([note("1").to("a", "L")]).await;
    let told = async { while other.recv().await.unwrap() != Signal::Work("erp".to_owned()) {} };
    tokio::time::timeout(PATIENCE, told).await.expect("the other is told");
    while let Ok(signal) = own.try_recv() {
        assert_eq!(signal, Signal::Look);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_gateways_at_once_keep_the_books_and_every_lane_in_order() {
    let Some(gateways) = Gateways::start(3) else { return };
    let world = &gateways.world;
    let ids = AtomicI64::new(0);
    let order: std::sync::Mutex<BTreeMap<String, Vec<i64>>> = std::sync::Mutex::default();
    let gateway = async |number: usize| {
        for round in 0..25_i64 {
            let notes = (0..4).map(|_| {
                let id = ids.fetch_add(1, Ordering::SeqCst);
                let (route, lane) = ([("a", "L"), ("b", "M"), ("c", "N")])[usize::try_from(id % 3).unwrap()];
                note(&format!("n{id}")).to(route, lane).in_any_order("b")
            });
            gateways.store(number).accept(world.envelope(notes.collect::<Vec<_>>())).await.unwrap();
            let bounds = Bounds { concurrency: 9, ..Bounds::default() };
            for claimed in gateways.claims(number, 5, bounds).await.claimed {
                if let Some(lane) = &claimed.lane {
                    order.lock().unwrap().entry(lane.clone()).or_default().push(claimed.delivery.0);
                }
                let settlement = match (round + claimed.delivery.0) % 9 {
                    0 => Settlement::Waiting { due_at: world.now() },
                    _ => Settlement::Delivered,
                };
                let outcome = if settlement == Settlement::Delivered { "delivered" } else { "retry" };
                gateways.store(number).settle(world.settling(&claimed, outcome, settlement)).await.unwrap();
            }
        }
    };
    futures_util::future::join_all((0..3).map(gateway)).await;
    for (lane, begun) in order.into_inner().unwrap() {
        assert!(begun.is_sorted(), "lane {lane}: {begun:?}");
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_another_never_hangs_whatever_the_gateways_do_at_once() {
    let Some(gateways) = Gateways::start(3) else { return };
    let world = &gateways.world;
    let gateway = async |number: usize| {
        let store = gateways.store(number);
        for round in 0..20_usize {
            let notes = (0..3).map(|step| {
                let (id, says) = ((round + step) % 8, ["first", "second", "third"][(round / 3 + number) % 3]);
                let lead = note(&format!("n{id}")).says(says).to("a", ["L", "M"][id % 2]);
                lead.after("b", ["L", "N", "O"].get(id % 4).copied(), "a", id % 3 == 0)
            });
            store.accept(world.envelope(notes.collect::<Vec<_>>())).await.unwrap();
            for claimed in gateways.claims(number, 3, Bounds::default()).await.claimed {
                let dead = || Settlement::Dead { reason: "it was refused".to_owned(), holds_lane: round % 2 == 0 };
                let (outcome, settlement) = match (round + number) % 4 {
                    0 => ("refused", dead()),
                    1 => ("retry", Settlement::Waiting { due_at: world.now() }),
                    _ => ("delivered", Settlement::Delivered),
                };
                store.settle(world.settling(&claimed, outcome, settlement)).await.unwrap();
            }
            let dead = DeliveryFilter { state: Some(State::Dead), limit: Some(3), ..DeliveryFilter::default() };
            for view in store.deliveries(dead).await.unwrap() {
                let by = By::new("somebody", "because");
                let change = if number == 0 { Change::Discard } else { Change::Replay { even_if_newer: true } };
                match store.change(view.delivery_id, change, None, by, world.now()).await {
                    Ok(_) | Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    futures_util::future::join_all((0..3).map(gateway)).await;
    world.assert_sound().await;
    for view in world.all().await.into_iter().filter(|view| view.state == State::Dead) {
        world.change(view.delivery_id.0, Change::Discard).await.unwrap();
    }
    loop {
        let claimed = world.claim(100).await;
        if claimed.is_empty() {
            break;
        }
        for claimed in claimed {
            world.deliver(&claimed).await;
        }
    }
    let counts = world.store().ledger().await.unwrap().deliveries;
    assert_eq!((counts.waiting, counts.blocked, counts.held), (0, 0, 0), "nothing waits for ever: {counts:?}");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_removed_by_hand_makes_a_dead_letter_of_what_comes_after_it() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L").after("b", None, "a", false), note("2").to("b", "M")]).await;
    for claimed in world.claim(2).await {
        world.deliver(&claimed).await;
    }
    connect(world.url()).await.batch_execute("DELETE FROM omgate.delivery WHERE id = 1").await.unwrap();
    assert_eq!(world.claim(10).await.len(), 0);
    let reason = world.store().delivery(DeliveryId(2)).await.unwrap().0.reason.unwrap();
    assert!(reason.contains("delivery 1, which it comes after,"), "{reason}");
}

// ---- lost answers, a database that fails ----

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_looked_for_and_never_done_twice() {
    let Some(server) = postgres::server().filter(|server| server.is_ours()) else { return };
    for cut in [Cut::Before, Cut::After] {
        let url = postgres::database().unwrap();
        let direct = World::on(Some(url.clone()));
        // Names and ways are given in commits of their own: they are known before.
        direct.post([note("0").to("a", "L")]).await;
        let line = Line::to(server.port).await;
        line.cut_at(2, cut);
        let through = url.replace(&server.port.to_string(), &line.port.to_string());
        let world = World::on(Some(through));
        for id in 1..6 {
            let fates = world.post([note(&id.to_string()).to("a", "L")]).await;
            assert_eq!(fates, [Fate::Routed], "{cut:?} {id}");
        }
        assert_eq!(world.states().await, ["waiting", "blocked", "blocked", "blocked", "blocked", "blocked"], "{cut:?}");
        direct.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_are_replaced_and_nothing_is_lost_or_done_twice() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    let killer = connect(world.url()).await;
    for id in 0..20 {
        if id % 3 == 0 {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            killer.batch_execute(sql).await.unwrap();
        }
        world.post([note(&id.to_string()).to("a", &id.to_string())]).await;
        for claimed in world.claim(1).await {
            world.deliver(&claimed).await;
        }
    }
    assert_eq!(world.store().ledger().await.unwrap().deliveries.delivered, 20);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_said_promptly_and_comes_back_by_itself() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L")]).await;
    let (_, name) = world.url().rsplit_once('/').unwrap();
    let admin = connect(&postgres::server().unwrap().url("postgres")).await;
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.batch_execute(&end).await.unwrap();
    let error = world.store().accept(world.envelope([note("2").to("a", "L")])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let Health::Failing(reason) = world.store().condition() else { panic!("it counts as ready") };
    assert!(reason.contains("not currently accepting connections"), "{reason}");
    let started = std::time::Instant::now();
    assert!(world.store().accept(world.envelope([note("2").to("a", "L")])).await.is_err());
    assert!(started.elapsed() < Duration::from_millis(200), "who knows that it fails does not try");
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    let mut health = world.store().health();
    tokio::time::timeout(PATIENCE, health.wait_for(|health| *health == Health::Ready)).await.unwrap().unwrap();
    assert_eq!(world.post([note("2").to("a", "L")]).await, [Fate::Routed]);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_do_is_told_in_words_and_without_its_password() {
    let Some(server) = postgres::server() else { return };
    let nobody = crate::harness::free_port();
    for (url, words) in [
        (format!("postgres://app:geheim@127.0.0.1:{nobody}/x"), "cannot be reached: error connecting to server"),
        (server.url("no_such_database"), "database \"no_such_database\" does not exist"),
        (format!("{}?sslmode=require", server.url("postgres")), "server does not support TLS"),
    ] {
        let opened = PostgresStore::open(Options::new(address(&url), SystemClock::shared())).await;
        let Err(error) = opened else { panic!("it was opened") };
        let error = error.to_string();
        assert!(error.contains(words) && error.starts_with("store.url: opening the store postgres://"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_later_version_and_one_that_may_not_be_made_are_refused() {
    let Some(url) = postgres::database() else { return };
    PostgresStore::open(Options::new(address(&url), SystemClock::shared())).await.unwrap().close().await;
    let client = connect(&url).await;
    client.batch_execute("UPDATE omgate.schema_version SET version = 99").await.unwrap();
    let opened = PostgresStore::open(Options::new(address(&url), SystemClock::shared())).await;
    assert!(matches!(opened.err().unwrap(), OpenError::Newer { found: 99, .. }));
    client
        .batch_execute("DROP SCHEMA omgate CASCADE; DROP ROLE IF EXISTS nobody; CREATE ROLE nobody LOGIN")
        .await
        .unwrap();
    let theirs = url.replace("app@", "nobody@");
    let error = PostgresStore::open(Options::new(address(&theirs), SystemClock::shared())).await.err().unwrap();
    assert!(error.to_string().contains("the user needs a schema `omgate` of its own"), "{error}");
    client.batch_execute("CREATE SCHEMA omgate AUTHORIZATION nobody").await.unwrap();
    let opened = PostgresStore::open(Options::new(address(&theirs), SystemClock::shared())).await;
    assert!(opened.is_ok(), "a schema that was made for the user will do");
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_at_once_make_the_tables_once() {
    let Some(url) = postgres::database() else { return };
    let open = || PostgresStore::open(Options::new(address(&url), SystemClock::shared()));
    let opened = futures_util::future::join_all((0..4).map(|_| open())).await;
    for store in opened {
        store.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_removed_by_hand_makes_a_dead_letter_and_stops_nothing() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("a", "M")]).await;
    let client = connect(world.url()).await;
    client.batch_execute("DELETE FROM omgate.notification WHERE notification_id = '1'").await.unwrap();
    let claimed = world.claim(10).await;
    assert_eq!(claimed.len(), 1);
    let ledger = world.store().ledger().await.unwrap();
    assert_eq!((ledger.deliveries.dead, ledger.balanced), (1, true), "{ledger:?}");
    assert_eq!(world.claim(10).await.len(), 1, "its lane went on");
    let found: Vec<String> = world.disagreements().await.into_iter().map(|discrepancy| discrepancy.account).collect();
    assert!(found.contains(&"deliveries without their notification".to_owned()), "{found:?}");
}

const DAY_MS: i64 = 86_400_000;

async fn prune_all(store: &dyn Store, now: Timestamp) -> Pruned {
    let mut all = Pruned::default();
    while !all.done {
        let budget = Duration::from_millis(20);
        let prune = Prune { retention: Retention::default(), now, limit: 20, budget };
        all.add(&store.prune(prune).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_prune_at_once_while_envelopes_come_and_nothing_goes_twice() {
    let Some(mut gateways) = Gateways::start(2) else { return };
    let world = &mut gateways.world;
    for batch in 0..8 {
        world.post((0..10).map(|number| note(&format!("{batch}-{number}")).record("006").in_any_order("a"))).await;
        for claimed in world.claim(10).await {
            world.deliver(&claimed).await;
        }
    }
    let before = world.store().ledger().await.unwrap();
    world.advance(91 * DAY_MS);
    let world = &gateways.world;
    let posts = async {
        for number in 0..40 {
            let of = number % 10;
            gateways
                .store(number % 2)
                .accept(world.envelope([note(&format!("{of}-{of}")).to("a", "L")]))
                .await
                .unwrap();
        }
    };
    let (one, other, ()) =
        tokio::join!(prune_all(gateways.store(0), world.now()), prune_all(gateways.store(1), world.now()), posts);
    assert_eq!(one.deliveries + other.deliveries, 80, "{one:?} {other:?}");
    assert!(one.notifications + other.notifications <= 80);
    let after = world.store().ledger().await.unwrap();
    assert_eq!(after.deliveries.delivered, before.deliveries.delivered);
    assert_eq!(after.attempts, before.attempts);
    assert_eq!(after.notifications.received, before.notifications.received + 40);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_work_stops_pruning_before_it_and_is_pruned_afterwards() {
    let Some(mut gateways) = Gateways::start(1) else { return };
    let world = &mut gateways.world;
    for id in ["1", "2", "3"] {
        world.post([note(id).to("a", "L")]).await;
        let claimed = world.claim_one().await;
        world.deliver(&claimed).await;
    }
    world.advance(91 * DAY_MS);
    let client = connect(world.url()).await;
    client.batch_execute("BEGIN; SELECT 1 FROM omgate.delivery WHERE id = 2 FOR UPDATE").await.unwrap();
    let budget = Duration::from_secs(1);
    let step = Prune { retention: Retention::default(), now: world.now(), limit: 1_000, budget };
    let pruned = world.store().prune(step.clone()).await.unwrap();
    assert!(!pruned.done && pruned.deliveries == 0 && pruned.payloads == 1, "{pruned:?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    let pruned = prune_all(world.store(), world.now()).await;
    assert_eq!((pruned.payloads, pruned.deliveries, pruned.notifications), (2, 3, 3));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_the_audit_log_as_it_is() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    let deed = Deed {
        at: world.now(),
        by: By::new("alice", "because"),
        verb: "pause".to_owned(),
        object: "system",
        object_id: "erp".to_owned(),
        count: 1,
        result: "done".to_owned(),
        ..Deed::default()
    };
    world.store().audit(deed).await.unwrap();
    let client = connect(world.url()).await;
    for sql in ["UPDATE omgate.audit SET who = 'bob'", "DELETE FROM omgate.audit", "TRUNCATE omgate.audit"] {
        assert!(client.batch_execute(sql).await.is_err(), "{sql}");
    }
    assert_eq!(world.store().audit_log(AuditFilter::default()).await.unwrap().len(), 1);
    client.batch_execute("SET session_replication_role = replica; DELETE FROM omgate.audit").await.unwrap();
    let found = world.disagreements().await;
    assert!(!found.is_empty() && found.iter().all(|found| found.account.contains("audit log")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_past_days_are_added_up_and_say_the_same() {
    let Some(mut gateways) = Gateways::start(3) else { return };
    for day in 0..4 {
        for number in 0..30 {
            let notes = [note(&format!("{day}-{number}")).to("a", "L")];
            gateways.store(number % 3).accept(gateways.world.envelope(notes)).await.unwrap();
        }
        gateways.world.advance(DAY_MS);
    }
    let world = &gateways.world;
    let today = world.now().day();
    let days = || {
        let filter = DayFilter { from: today.plus(-9), to: today, source: None, destination: None };
        world.store().ledger_days(filter)
    };
    let (before, gaps) = (days().await.unwrap(), world.store().gaps(today.plus(-9), None).await.unwrap());
    assert_eq!(before.rows.len(), 8);
    let client = connect(world.url()).await;
    let shards = async || {
        let sql = "SELECT count(*) FROM omgate.account_day WHERE shard >= 0 AND day < $1::text::bigint - 1";
        let today = today.0.to_string();
        let rows = client.query_typed(sql, &[(&today, tokio_postgres::types::Type::TEXT)]).await.unwrap();
        rows[0].get::<_, i64>(0)
    };
    assert!(shards().await > 0);
    gateways.others[0].clear().await.unwrap();
    assert_eq!(shards().await, 0);
    assert_eq!(days().await.unwrap(), before);
    assert_eq!(world.store().gaps(today.plus(-9), None).await.unwrap(), gaps);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_a_table_that_grew_is_made_to_look() {
    let Some(gateways) = Gateways::start(1) else { return };
    let url = gateways.world.database.clone().unwrap();
    let client = connect(&url).await;
    let sql = "ALTER TABLE omgate.name SET (autovacuum_enabled = false);
               INSERT INTO omgate.name (kind, text) SELECT 'source', 's' || n FROM generate_series(1, 20000) n";
    client.batch_execute(sql).await.unwrap();
    // What a session changed is told a moment after it.
    until("the server tells what was changed", PATIENCE, async || {
        let sql =
            "SELECT n_mod_since_analyze FROM pg_stat_user_tables WHERE relname = 'name' AND schemaname = 'omgate'";
        let rows = client.query_typed(sql, &[]).await.unwrap();
        rows[0].get::<_, i64>(0) >= 20_000
    })
    .await;
    let known = async || {
        let sql = "SELECT reltuples::float8 FROM pg_class WHERE oid = 'omgate.name'::regclass";
        client.query_typed(sql, &[]).await.unwrap()[0].get::<_, f64>(0)
    };
    assert!(known().await < 1_000.0);
    let another = gateways.world.another();
    until("the server looks", PATIENCE, async || known().await >= 20_000.0).await;
    drop(another);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_what_a_database_must_have_is_what_the_migrations_make() {
    let Some(gateways) = Gateways::start(1) else { return };
    let client = connect(gateways.world.url()).await;
    let rows = client.query_typed(PARTS, &[]).await.unwrap();
    let made: String = rows.iter().map(|row| format!("{}\n", row.get::<_, &str>(0))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/shape.txt");
    if std::env::var_os("OMGATE_UPDATE").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let listed = std::fs::read_to_string(path).unwrap();
    let mut listed: Vec<&str> = listed.lines().collect();
    let mut made: Vec<&str> = made.lines().collect();
    // Databases order texts in their own ways.
    listed.sort_unstable();
    made.sort_unstable();
    assert_eq!(listed, made, "OMGATE_UPDATE=1 writes it anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_which_something_was_taken_is_not_opened() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    let client = connect(world.url()).await;
    for (sql, words) in [
        ("DROP INDEX omgate.delivery_due", "index delivery_due of delivery"),
        ("DROP TRIGGER audit_lasts ON omgate.audit", "trigger audit_lasts of audit"),
        ("ALTER TABLE omgate.system DROP COLUMN next_call", "column next_call timestamp with time zone of system"),
        ("DROP SEQUENCE omgate.lease_id", "sequence lease_id"),
        ("DROP TABLE omgate.stale_mark", "table stale_mark"),
        ("DROP TABLE omgate.moving", "table moving"),
    ] {
        client.batch_execute(sql).await.unwrap();
        let options = Options::new(address(world.url()), SystemClock::shared());
        let refused = PostgresStore::open(options).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(words) && refused.contains("restore a backup"), "{sql}: {refused}");
    }
}

/// Small writes find room where large ones do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_disk_is_full_for_what_is_large_is_not_called_well_in_between() {
    let Some(gateways) = Gateways::start(1) else { return };
    let world = &gateways.world;
    world.post([note("before").to("a", "L")]).await;
    let client = connect(world.url()).await;
    client
        .batch_execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON omgate.notification FOR EACH ROW EXECUTE FUNCTION full_disk();
             CREATE FUNCTION full_too() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
             CREATE EVENT TRIGGER full_too ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION full_too()",
        )
        .await
        .unwrap();
    let refused = world.store().accept(world.envelope([note("lost").to("a", "L")])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    while std::time::Instant::now() < deadline {
        let condition = world.store().condition();
        assert!(matches!(&condition, Health::Failing(reason) if reason.contains("no space")), "{condition:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let undone = "DROP EVENT TRIGGER full_too; DROP TRIGGER full_disk ON omgate.notification";
    client.batch_execute(undone).await.unwrap();
    let freed = std::time::Instant::now();
    until("it works again", PATIENCE, async || world.store().condition() == Health::Ready).await;
    assert!(freed.elapsed() > Duration::from_millis(1_500), "it was trusted at once: {:?}", freed.elapsed());
    let left = client.query_typed("SELECT 1 FROM pg_class WHERE relname LIKE 'trial%'", &[]).await.unwrap();
    assert!(left.is_empty(), "no trial leaves anything");
    assert_eq!(world.post([note("after").to("a", "L")]).await, [Fate::Routed]);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_bounds_how_long_a_transaction_lies_about() {
    let Some(gateways) = Gateways::start(1) else { return };
    let bound = standing(&address(gateways.world.url())).await.unwrap();
    assert_eq!(bound.idle_in_transaction, "15s", "{bound:?}");
}

#[tokio::test]
async fn a_database_that_was_put_back_is_marked_as_the_readme_says() {
    let Some(url) = postgres::database() else { return };
    let (_, order) = include_str!("../../../README.md").split_once("psql -d omgate -c \"").unwrap();
    let (order, _) = order.split_once('"').unwrap();
    let world = World::on(Some(url.clone()));
    world.store().heartbeat(Timestamp(1_795_658_400_000 - 60_000)).await.unwrap();
    connect(&url).await.batch_execute(order).await.unwrap();
    let now = Timestamp(1_795_700_000_000);
    let (one, other) = tokio::join!(world.store().heartbeat(now), world.store().heartbeat(now));
    let noted: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(noted.len(), 1, "of several gateways one notes it: {noted:?}");
    assert!(noted[0].restored, "{noted:?}");
    assert_eq!(noted[0].since.to_string(), "2026-11-26T02:00:00.000Z");
    assert_eq!(world.store().absences().await.unwrap(), noted);
}

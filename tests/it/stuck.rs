//! Ten thousand stuck lanes among a hundred thousand: none of them delays another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use omgate::clock::{SystemClock, Timestamp};
use omgate::delivery::{ConfigVersion, DeliveryId, OnRevision, Planned};
use omgate::outcome::Record;
use omgate::store::sqlite::{Options, SqliteStore};
use omgate::store::{Accept, Bounds, By, Change, Claim, Claimed, Incoming, IncomingKind, Settle, Settlement, Store};

const LANES: u64 = 100_000;
/// Every so manieth lane is stuck, and has a second delivery behind the first; so has the one after it.
const EVERY: u64 = 10;
const NOW: Timestamp = Timestamp(1_790_000_000_000);
const MUCH_LATER: Timestamp = Timestamp(1_790_086_400_000);
/// Commands under way at once: they share commits.
const AT_ONCE: usize = 500;

/// How a lane is stuck.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stuck {
    /// Its head is dead, and the route says `on_dead = "hold"`.
    Dead,
    /// A person holds its head.
    Held,
    /// Its head waits for another attempt, for long.
    BacksOff,
}

fn stuck(lane: u64) -> Option<Stuck> {
    lane.is_multiple_of(EVERY)
        .then_some([Stuck::Dead, Stuck::Held, Stuck::BacksOff][usize::try_from(lane / EVERY % 3).unwrap()])
}

/// The lane of the n-th notification: first all lanes, then those that have a second one.
fn lane_of(number: u64) -> u64 {
    if number < LANES { number } else { (number - LANES) / 2 * EVERY + (number - LANES) % 2 }
}

fn incoming(number: u64) -> Incoming {
    let record_id = format!("006{:012}AAA", lane_of(number));
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    Incoming {
        notification_id: format!("04l{number:012}AAA"),
        hash,
        kind: IncomingKind::Record,
        record_type: "Order__c".to_owned(),
        xml: String::from("<sObject/>"),
        search: Default::default(),
        deliveries: vec![Planned {
            route: "orders".to_owned(),
            destination: "create".to_owned(),
            system: "erp".to_owned(),
            lane: Some(record_id.clone()),
            on_revision: OnRevision::Deliver,
            coalesce: None,
            after: None,
            dead: None,
        }],
        record_id,
    }
}

fn envelope(numbers: impl Iterator<Item = u64>) -> Accept {
    Accept {
        source: "orders".to_owned(),
        received_at: NOW,
        organization_id: "00D24000000abcdEAA".to_owned(),
        organization_key: "00D24000000abcd".to_owned(),
        action_id: "04k24000000HfHaAAK".to_owned(),
        enterprise_url: String::new(),
        partner_url: String::new(),
        sender: "10.0.0.1".to_owned(),
        quarantine: None,
        config_version: ConfigVersion(1),
        routes_in_force: Arc::new([("orders".to_owned(), OnRevision::Deliver)].into()),
        notifications: numbers.map(incoming).collect(),
    }
}

async fn claim(store: &dyn Store, now: Timestamp) -> Vec<Claimed> {
    let claim = Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned()],
        routes: vec!["orders".to_owned()],
        limit: 1_000,
        newest_first: false,
        bounds: Bounds::default(),
        now,
        active_ms: 0,
        config_version: ConfigVersion(1),
    };
    store.claim(claim).await.unwrap().claimed
}

fn settle(claimed: &Claimed, outcome: &'static str, settlement: Settlement) -> Settle {
    Settle {
        delivery: claimed.delivery,
        lease: claimed.lease,
        ended_at: NOW,
        duration: Duration::from_millis(5),
        outcome,
        reason: String::new(),
        record: Record::default(),
        repeat_key: None,
        excused: false,
        settlement,
        active_ms: 0,
        stale_mark: None,
        kept: Vec::new(),
    }
}

fn number_of(claimed: &Claimed) -> u64 {
    claimed.notification.notification_id[3..15].parse().unwrap()
}

/// What becomes of an attempt: the first of a stuck lane sticks while `sticks`, all else is delivered.
fn settled(claimed: &Claimed, sticks: bool) -> Settle {
    let number = number_of(claimed);
    match stuck(number).filter(|_| sticks && number < LANES) {
        None => settle(claimed, "delivered", Settlement::Delivered),
        Some(Stuck::Dead) => {
            settle(claimed, "refused", Settlement::Dead { reason: "refused".to_owned(), holds_lane: true })
        }
        Some(Stuck::Held) => settle(claimed, "unknown", Settlement::Held { reason: "unknown".to_owned() }),
        Some(Stuck::BacksOff) => settle(claimed, "retry", Settlement::Waiting { due_at: MUCH_LATER }),
    }
}

fn open(folder: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(Options::new(folder.join("store.db"), SystemClock::shared())).unwrap()
}

/// Claims and settles until nothing is due; the notifications of each lane in the order in which they were delivered,
/// and how many claims it took.
async fn deliver_all(store: &dyn Store, now: Timestamp, sticks: bool) -> (BTreeMap<u64, Vec<u64>>, usize) {
    let mut lanes: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for claims in 1.. {
        let claimed = claim(store, now).await;
        if claimed.is_empty() {
            return (lanes, claims);
        }
        let settles: Vec<Settle> = claimed.iter().map(|claimed| settled(claimed, sticks)).collect();
        for batch in settles.chunks(AT_ONCE) {
            try_join_all(batch.iter().map(|settle| store.settle(settle.clone()))).await.unwrap();
        }
        for (claimed, settle) in claimed.iter().zip(&settles) {
            if settle.settlement == Settlement::Delivered {
                lanes.entry(lane_of(number_of(claimed))).or_default().push(number_of(claimed));
            }
        }
    }
    unreachable!()
}

#[tokio::test]
async fn ten_thousand_stuck_lanes_delay_none_of_the_ninety_thousand_others() {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let store = open(folder.path());
    let started = Instant::now();
    let all: Vec<u64> = (0..LANES + LANES / EVERY * 2).collect();
    for envelopes in all.chunks(100 * 20) {
        let accepts = envelopes.chunks(100).map(|numbers| store.accept(envelope(numbers.iter().copied())));
        try_join_all(accepts).await.unwrap();
    }
    println!("{} stored in {} ms", all.len(), started.elapsed().as_millis());

    let started = Instant::now();
    let (lanes, claims) = deliver_all(&*store, NOW, true).await;
    println!("the others delivered in {} ms, {claims} claims", started.elapsed().as_millis());
    assert_eq!(lanes.len() as u64, LANES - LANES / EVERY, "every lane that is not stuck");
    for (lane, delivered) in &lanes {
        let expected = if lane % EVERY == 1 { 2 } else { 1 };
        assert!(
            stuck(*lane).is_none() && delivered.len() == expected && delivered.is_sorted(),
            "{lane}: {delivered:?}"
        );
    }
    // What is stuck was in no claim's way: each but the last was full, save where the second of a lane came free late.
    let claimed = LANES + LANES / EVERY;
    assert!(claims as u64 <= claimed / 1_000 + 5, "{claims} claims for {claimed} deliveries");
    let counts = store.ledger().await.unwrap().deliveries;
    let (stuck_lanes, third) = (i64::try_from(LANES / EVERY).unwrap(), i64::try_from(LANES / EVERY / 3).unwrap());
    assert!(counts.dead >= third && counts.held >= third && counts.waiting >= third, "{counts:?}");
    assert_eq!(counts.dead + counts.held + counts.waiting, stuck_lanes);
    assert_eq!(counts.blocked, stuck_lanes, "behind each stuck one there is one");

    // When they come loose they go on, each in its order.
    for lane in (0..LANES).step_by(usize::try_from(EVERY).unwrap()) {
        let change = match stuck(lane) {
            Some(Stuck::Dead) => Change::Replay { even_if_newer: false },
            Some(Stuck::Held) => Change::Release,
            Some(Stuck::BacksOff) | None => continue,
        };
        let delivery = DeliveryId(i64::try_from(lane).unwrap() + 1);
        store.change(delivery, change, None, By::new("somebody", "loose"), MUCH_LATER).await.unwrap();
    }
    let (lanes, _) = deliver_all(&*store, MUCH_LATER, false).await;
    assert_eq!(lanes.len() as u64, LANES / EVERY);
    assert!(lanes.values().all(|delivered| delivered.len() == 2 && delivered.is_sorted()));
    let ledger = store.ledger().await.unwrap();
    assert_eq!(ledger.deliveries.delivered, ledger.deliveries.routed);
    let found = store.verify().await.unwrap();
    let found: Vec<_> = found.iter().filter(|found| !found.account.starts_with("configurations ")).collect();
    assert!(found.is_empty(), "save that the configuration was never kept: {found:?}");
    assert_eq!(store.sweep().await.unwrap(), 0);
}

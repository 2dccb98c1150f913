//! Payloads that are sealed: nothing of them is to be seen in the store, and a walk writes them anew.

use omgate::cipher::Keyring;
use omgate::outcome::Kept;
use omgate::store::pace::Company;
use omgate::store::sealed::rekey::{self, Progress, Rekeyed};
use omgate::store::sealed::{SharedKeys, shared};
use tokio::sync::watch;

use omgate::store::{Page, SavedView};

use super::*;

/// Keys with these ids, of which one seals.
pub(super) fn keys(ids: &[&str], active: &str) -> SharedKeys {
    let mut ring = Keyring::default();
    for id in ids {
        ring.add(id, &hash(id).iter().map(|byte| format!("{byte:02x}")).collect::<String>()).unwrap();
    }
    assert!(active.is_empty() || ring.activate(active));
    shared(ring)
}

pub(super) const SECRET: &str = "Jane-Doe-4711";

/// Puts the secret wherever a payload may be.
pub(super) async fn fill(world: &World, store: &dyn Store) {
    let mut noted = note("1").to("a", "L");
    noted.0.xml = format!("<sObject>{SECRET}</sObject>");
    let mut dead = note("2").dead_on("b", &format!("no lane for {SECRET}"));
    dead.0.xml = SECRET.to_owned();
    let mut broken = note("3");
    broken.0.xml = SECRET.to_owned();
    broken.0.kind = IncomingKind::Unreadable(format!("no id in {SECRET}"));
    store.accept(world.envelope([noted, dead, broken, note("4").to("a", "M")])).await.unwrap();
    for (outcome, settlement) in
        [("retry", Settlement::Waiting { due_at: world.now() }), ("delivered", Settlement::Delivered)]
    {
        let claimed = claim(world, store).await.claimed.remove(0);
        assert_eq!(claimed.notification.xml, format!("<sObject>{SECRET}</sObject>"));
        let mut settle = world.settling(&claimed, outcome, settlement);
        settle.reason = if outcome == "retry" { format!("Server: {SECRET} is locked") } else { String::new() };
        settle.repeat_key = (outcome == "retry").then(|| format!("Server {SECRET}"));
        settle.record = Record {
            request_line: format!("POST /customers/{SECRET}"),
            request: format!("{{\"name\":\"{SECRET}\"}}"),
            response: format!("<fault>{SECRET}</fault>"),
            fault: Some(Fault {
                code: "Server".to_owned(),
                string: format!("{SECRET} is locked"),
                detail: Some(format!("<who>{SECRET}</who>")),
                ..Fault::default()
            }),
            ..settle.record
        };
        settle.kept = vec![
            Kept { name: "order".to_owned(), value: serde_json::json!(SECRET), warning: None },
            Kept { name: "all".to_owned(), value: serde_json::json!([SECRET]), warning: Some(SECRET.to_owned()) },
        ];
        store.settle(settle).await.unwrap();
    }
    let post = RefusedPost {
        at: world.now(),
        source: "orders".to_owned(),
        sender: "10.0.0.1".to_owned(),
        reason: format!("{SECRET} is no envelope"),
        dropped_at: None,
        body: SECRET.repeat(10_000),
    };
    store.refuse(post).await.unwrap();
    let reason = format!("it answered {SECRET}");
    let state = SystemState { paused: Some(Pause::new(&reason, world.now())), ..SystemState::default() };
    store.set_system("erp".to_owned(), state, None).await.unwrap();
    let view = SavedView {
        list: "deliveries".to_owned(),
        name: "hers".to_owned(),
        query: format!("search=Name={SECRET}"),
        by: "alice".to_owned(),
        at: world.now(),
    };
    store.save_view(view).await.unwrap();
}

async fn claim(world: &World, store: &dyn Store) -> Claims {
    let claim = Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned()],
        routes: vec!["a".to_owned()],
        limit: 1,
        newest_first: false,
        now: world.now(),
        active_ms: world.active_ms,
        config_version: ConfigVersion(1),
        bounds: Bounds::default(),
    };
    store.claim(claim).await.unwrap()
}

/// Everything that people are shown of the store.
pub(super) async fn shown(store: &dyn Store) -> String {
    let mut all = String::new();
    for id in ["1", "2", "3", "4"] {
        all.push_str(&format!("{:?}\n", store.notification(id.to_owned()).await.unwrap()));
    }
    for id in 1..=3 {
        all.push_str(&format!("{:?}\n", store.delivery(DeliveryId(id)).await.unwrap()));
    }
    all.push_str(&format!("{:?}\n", store.refused(10).await.unwrap()));
    all.push_str(&format!("{:?}\n", store.system("erp".to_owned()).await.unwrap()));
    all.push_str(&format!("{:?}\n", store.views().await.unwrap()));
    all
}

pub(super) async fn turn(world: &World, store: &dyn Store, keys: &SharedKeys, dry_run: bool) -> StoreResult<Rekeyed> {
    let clock: SharedClock = world.clock.clone();
    rekey::adopt(store, &keys.load(), world.now()).await?;
    rekey::rekey(store, keys, &clock, Company::Nobody, dry_run, &watch::Sender::new(Progress::default())).await
}

fn ids(found: &BTreeMap<String, u64>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

#[tokio::test]
pub(super) async fn what_people_see_is_the_same_with_payloads_sealed_and_after_every_walk() {
    let world = World::new();
    let keys = keys(&["one", "two"], "one");
    let sealed = Sealed::new(world.beneath(), Arc::clone(&keys));
    rekey::adopt(&sealed, &keys.load(), world.now()).await.unwrap();
    fill(&world, &sealed).await;
    let before = shown(&sealed).await;
    assert!(before.matches(SECRET).count() > 20, "{before}");
    let beneath = shown(&*world.beneath()).await;
    assert!(!beneath.contains(SECRET), "{beneath}");
    let by_kept = DeliveryFilter { kept: Some(format!("order={SECRET}")), ..DeliveryFilter::default() };
    let by_text = DeliveryFilter { text: Some("no lane for".to_owned()), ..DeliveryFilter::default() };
    let found = |found: Page<DeliveryView>| found.iter().map(|view| view.delivery_id.0).collect::<Vec<_>>();

    let mut ring = Keyring::clone(&keys.load());
    for (active, was) in [("two", "one"), ("one", "two")] {
        assert!(ring.activate(active));
        keys.store(ring.clone().into());
        let would = turn(&world, &sealed, &keys, true).await.unwrap();
        assert_eq!((would.changed, ids(&would.found)), (0, vec![was]), "{would:?}");
        assert_eq!(shown(&sealed).await, before, "old and new are read alike");
        assert_eq!(found(sealed.deliveries(by_kept.clone()).await.unwrap()), [1]);
        let did = turn(&world, &sealed, &keys, false).await.unwrap();
        assert!(did.changed >= 8 && did.failed == 0 && did.unused == [was], "{did:?}");
        assert_eq!(shown(&sealed).await, before);
        assert_eq!(found(sealed.deliveries(by_kept.clone()).await.unwrap()), [1]);
        assert_eq!(found(sealed.deliveries(by_text.clone()).await.unwrap()), [2]);
        let known = sealed.sealing_keys().await.unwrap();
        assert_eq!(known.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), [active]);
        let again = turn(&world, &sealed, &keys, false).await.unwrap();
        assert_eq!(again.changed, 0, "all is done");
    }
    // And into clear, for who wants that.
    let mut plain = Keyring::default();
    plain.add("one", &hash("one").iter().map(|byte| format!("{byte:02x}")).collect::<String>()).unwrap();
    keys.store(plain.into());
    turn(&world, &sealed, &keys, false).await.unwrap();
    assert_eq!(shown(&*world.beneath()).await.replace(SECRET, ""), before.replace(SECRET, ""));
    assert_eq!(sealed.sealing_keys().await.unwrap(), []);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_key_that_is_missing_or_another_is_refused_and_what_was_changed_harms_itself_alone() {
    let world = World::new();
    let one = keys(&["one"], "one");
    let sealed = Sealed::new(world.beneath(), Arc::clone(&one));
    rekey::adopt(&sealed, &one.load(), world.now()).await.unwrap();
    sealed.accept(world.envelope([note("1").to("a", "L"), note("2").to("a", "M")])).await.unwrap();
    let missing = rekey::adopt(&sealed, &keys(&["two"], "two").load(), world.now()).await.unwrap_err().to_string();
    assert!(missing.contains("are encrypted with key \"one\"") && missing.contains("rekey"), "{missing}");
    let mut other = Keyring::default();
    other.add("one", &"07".repeat(32)).unwrap();
    let another = rekey::adopt(&sealed, &other, world.now()).await.unwrap_err().to_string();
    assert!(another.contains("is not the one of that id"), "{another}");

    // Without its key nothing is claimed, and nothing stays in flight.
    let sight = keys(&["two"], "two");
    let blind = Sealed::new(world.beneath(), Arc::clone(&sight));
    let mut asked = world.envelope([]);
    asked.notifications.clear();
    let claim_of = |store| {
        let world = &world;
        async move {
            let store: &dyn Store = store;
            store
                .claim(Claim {
                    system: "erp".to_owned(),
                    destinations: vec!["create".to_owned()],
                    routes: vec!["a".to_owned()],
                    limit: 2,
                    newest_first: false,
                    now: world.now(),
                    active_ms: 0,
                    config_version: ConfigVersion(1),
                    bounds: Bounds::default(),
                })
                .await
        }
    };
    let refused = claim_of(&blind as &dyn Store).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(reason) if reason.contains("key \"one\"")), "{refused}");
    let condition = blind.condition();
    assert!(
        matches!(&condition, omgate::store::Health::Failing(reason) if reason.contains("\"one\"")),
        "{condition:?}"
    );
    sight.store(keys(&["one", "two"], "two").load_full());
    assert_eq!(blind.condition(), omgate::store::Health::Ready, "the key was given");
    assert_eq!(world.beneath().ledger().await.unwrap().deliveries.waiting, 2);
    assert_eq!(world.beneath().ledger().await.unwrap().attempts.total, 0);

    // One that was changed on the disk is told from the others.
    let spoil = omgate::store::Rewrite(Arc::new(|table, payloads| {
        let xml = payloads.first()?.clone()?;
        let cut = format!("{}AAAA", xml.get(..xml.len() - 4)?);
        (table.name == "notification").then(|| vec![Some(cut), payloads[1].clone()])
    }));
    let step = world.beneath().rewrite_payloads(Default::default(), 1, spoil).await.unwrap();
    assert_eq!((step.looked, step.changed), (1, 1));
    let claimed = claim_of(&sealed as &dyn Store).await.unwrap().claimed;
    let unreadable: Vec<bool> = claimed.iter().map(|claimed| claimed.unreadable.is_some()).collect();
    assert_eq!((unreadable.iter().filter(|is| **is).count(), unreadable.len()), (1, 2));
    let shown = sealed.notification("1".to_owned()).await.unwrap();
    assert!(shown[0].notification.xml.contains("does not decrypt with key \"one\""), "{shown:?}");
    let did = turn(&world, &sealed, &one, false).await.unwrap();
    assert_eq!(did.failed, 0, "what has the key in force is not looked into");
    one.store(keys(&["one", "two"], "two").load_full());
    let did = turn(&world, &sealed, &one, false).await.unwrap();
    assert_eq!((did.failed, did.unused.is_empty()), (1, true), "{did:?}");
    assert!(did.reasons[0].contains("a row of table notification"), "{did:?}");
}

#[tokio::test]
pub(super) async fn what_comes_from_outside_is_never_taken_for_sealed() {
    const LIKE: &str = "\u{1}1:k9:AAAA";
    let world = World::new();
    let keys = keys(&["one"], "");
    for (ring, id) in [(Keyring::default(), "1"), (Keyring::clone(&keys.load()), "2")] {
        let sealed = Sealed::new(world.beneath(), shared(ring));
        let mut odd = note(id).to("a", id);
        odd.0.xml = LIKE.to_owned();
        sealed.accept(world.envelope([odd])).await.unwrap();
        let claimed = claim(&world, &sealed).await.claimed.remove(0);
        assert_eq!((claimed.notification.xml.as_str(), claimed.unreadable.as_ref()), (LIKE, None));
        let mut settle = world.settling(&claimed, "delivered", Settlement::Delivered);
        settle.record.response = LIKE.to_owned();
        let kept = |name: &str, value| Kept { name: name.to_owned(), value, warning: None };
        settle.kept = vec![kept("one", serde_json::json!(LIKE)), kept("list", serde_json::json!([LIKE]))];
        sealed.settle(settle).await.unwrap();
    }
    let mut ring = Keyring::clone(&keys.load());
    assert!(ring.activate("one"));
    keys.store(ring.into());
    let sealed = Sealed::new(world.beneath(), Arc::clone(&keys));
    let did = turn(&world, &sealed, &keys, false).await.unwrap();
    assert_eq!((did.failed, did.reasons.len()), (0, 0), "{did:?}");
    for id in 1..=2 {
        let (view, attempts) = sealed.delivery(DeliveryId(id)).await.unwrap();
        assert_eq!(attempts[0].record.response, LIKE);
        assert_eq!(view.kept["one"], LIKE);
        assert_eq!(view.kept["list"], serde_json::json!([LIKE]));
    }
}

#[tokio::test]
pub(super) async fn a_walk_ends_while_others_write_and_loses_nothing_of_theirs() {
    let world = World::new();
    let keys = keys(&["one", "two"], "one");
    let sealed = Arc::new(Sealed::new(world.beneath(), Arc::clone(&keys)));
    for id in 0..50 {
        sealed.accept(world.envelope([note(&format!("a{id}")).to("a", &id.to_string())])).await.unwrap();
    }
    let mut ring = Keyring::clone(&keys.load());
    assert!(ring.activate("two"));
    keys.store(ring.into());
    let envelopes: Vec<Accept> =
        (0..50).map(|id| world.envelope([note(&format!("b{id}")).to("a", &format!("b{id}"))])).collect();
    let store: Arc<dyn Store> = Arc::clone(&sealed) as _;
    let writes = async {
        for envelope in envelopes {
            store.accept(envelope).await.unwrap();
            let claimed = claim(&world, &*store).await.claimed.remove(0);
            store.settle(world.settling(&claimed, "delivered", Settlement::Delivered)).await.unwrap();
        }
    };
    let (did, ()) = tokio::join!(turn(&world, &*sealed, &keys, false), writes);
    assert!(did.as_ref().is_ok_and(|did| did.changed >= 50 && did.failed == 0), "{did:?}");
    let left = turn(&world, &*sealed, &keys, true).await.unwrap();
    assert_eq!(ids(&left.found), ["two"], "{left:?}");
    let notifications = sealed.notifications(NotificationFilter::default()).await.unwrap();
    assert_eq!(notifications.len(), 100);
    for id in ["a0", "a49", "b0", "b49"] {
        assert_eq!(sealed.notification(id.to_owned()).await.unwrap()[0].notification.xml, "first");
    }
    world.assert_sound().await;
}

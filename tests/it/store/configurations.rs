//! The contract of every store about configurations: when each came into force, and what they leave without a way.

use omgate::store::{By, Discarded, TakenBy, TakenConfig, Unsettled, Way};

use super::*;

fn way(route: &str, destination: &str) -> Way {
    Way { route: route.to_owned(), destination: destination.to_owned(), system: "erp".to_owned() }
}

#[tokio::test]
pub(super) async fn it_is_known_which_configuration_came_into_force_when_by_what_and_why() {
    let mut world = World::new();
    assert_eq!(world.store().taken_configs(10).await.unwrap(), []);
    let mut expected = Vec::new();
    for (number, by) in [TakenBy::Start, TakenBy::File, TakenBy::Signal, TakenBy::Api].into_iter().enumerate() {
        world.advance(1_000);
        let version = ConfigVersion(i64::try_from(number / 2).unwrap() + 1);
        let taken = TakenConfig { version, at: world.now(), by, reason: format!("reason {number}") };
        world.store().take_config(taken.clone()).await.unwrap();
        expected.insert(0, taken);
    }
    assert_eq!(world.store().taken_configs(10).await.unwrap(), expected);
    assert_eq!(world.store().taken_configs(2).await.unwrap(), expected[..2]);
    world.reopen().await;
    assert_eq!(world.store().taken_configs(10).await.unwrap(), expected);
}

#[tokio::test]
pub(super) async fn the_last_thousand_times_that_a_configuration_came_into_force_are_kept() {
    let world = World::new();
    let take = |version| {
        let taken = TakenConfig { version, at: world.now(), by: TakenBy::File, reason: String::new() };
        world.store().take_config(taken)
    };
    futures_util::future::join_all((1..=1_010).map(|version| take(ConfigVersion(version)))).await;
    let kept = world.store().taken_configs(5_000).await.unwrap();
    assert_eq!((kept.len(), kept[0].version, kept[999].version), (1_000, ConfigVersion(1_010), ConfigVersion(11)));
}

#[tokio::test]
pub(super) async fn every_way_that_was_ever_gone_is_known() {
    let world = World::new();
    assert_eq!(world.store().ways().await.unwrap(), []);
    world.post([note("1").to("b", "L"), note("2").to("a", "M"), note("3").to("a", "N")]).await;
    world.post([note("4").towards("a", "careful", "O")]).await;
    let first = world.claim_one().await;
    world.deliver(&first).await;
    let expected = [way("a", "careful"), way("a", "create"), way("b", "create")];
    assert_eq!(world.store().ways().await.unwrap(), expected, "whatever became of what went there");
}

#[tokio::test]
pub(super) async fn what_is_not_settled_is_counted_by_way() {
    let world = World::new();
    assert_eq!(world.store().unsettled().await.unwrap(), []);
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("b", "M"), note("4").to("c", "N")]).await;
    world.post([note("5").towards("a", "careful", "O"), note("6").to("c", "P")]).await;
    let first = world.claim_one().await;
    world.deliver(&first).await;
    world.change(4, Change::Hold).await.unwrap();
    let unsettled = |route, destination, count| Unsettled { way: way(route, destination), count };
    let expected = [
        unsettled("a", "careful", 1),
        unsettled("a", "create", 1),
        unsettled("b", "create", 1),
        unsettled("c", "careful", 2),
    ];
    assert_eq!(world.store().unsettled().await.unwrap(), expected);
}

#[tokio::test]
pub(super) async fn a_way_is_discarded_in_steps_the_newest_first_and_its_lanes_go_on() {
    let world = World::new();
    for number in 1..=6 {
        world.post([note(&format!("{number}")).to(if number == 4 { "b" } else { "a" }, "L")]).await;
    }
    world.post([note("7").to("a", "M"), note("8").to("a", "N")]).await;
    world.change(8, Change::Hold).await.unwrap();
    let discard = |limit| {
        world.store().discard_unsettled(vec![way("a", "create")], By::new("alice", "by reload"), limit, world.now())
    };
    let flying = world.claim_one().await;
    assert_eq!(flying.delivery, DeliveryId(1));
    assert_eq!(discard(3).await.unwrap(), Discarded { count: 3, is_more: true });
    let states = world.states().await;
    assert_eq!(states[5..], ["discarded", "discarded", "discarded"], "waiting, blocked and held alike: {states:?}");
    assert_eq!(discard(100).await.unwrap(), Discarded { count: 3, is_more: true }, "one is in flight");
    let unknown = world.store().discard_unsettled(vec![way("x", "create")], By::new("alice", "x"), 9, world.now());
    assert_eq!(unknown.await.unwrap(), Discarded::default());
    world.retry(&flying, 60_000).await;
    assert_eq!(discard(100).await.unwrap(), Discarded { count: 1, is_more: false });
    assert_eq!(discard(100).await.unwrap(), Discarded::default());
    let all = world.all().await;
    assert_eq!(all[3].state, State::Waiting, "the lane's other way is its head now");
    assert!(all.iter().filter(|view| view.route == "a").all(|view| view.reason.as_deref() == Some("by reload")));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_lane_that_stops_at_a_dead_letter_is_let_go_on_and_the_letter_stays() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("a", "L")]).await;
    world.kill(&world.claim_one().await, true).await;
    assert_eq!(world.states().await, ["dead", "blocked", "blocked"]);
    let reason = world.all().await[0].reason.clone();
    let letter = world.change(1, Change::LetGo).await.unwrap();
    assert_eq!((letter.state, &letter.reason), (State::Dead, &reason));
    assert_eq!(world.states().await, ["dead", "waiting", "blocked"]);
    assert!(matches!(world.change(2, Change::LetGo).await, Err(StoreError::Conflict(_))));
    world.change(1, Change::LetGo).await.unwrap();
    world.kill(&world.claim_one().await, false).await;
    world.change(2, Change::LetGo).await.unwrap();
    assert_eq!(world.states().await, ["dead", "dead", "waiting"]);
    let ledger = world.store().ledger().await.unwrap();
    assert_eq!((ledger.deliveries.dead, ledger.balanced), (2, true));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_comes_after_another_is_discarded_with_it_and_does_not_die_of_it() {
    let world = World::new();
    for id in ["1", "2", "3"] {
        world.post([note(id).to("a", id).after("b", Some(&format!("{id}b")), "a", true)]).await;
    }
    let ways = vec![way("a", "create"), way("b", "create")];
    let discard =
        |ways: &[Way]| world.store().discard_unsettled(ways.to_vec(), By::new("alice", "by reload"), 1, world.now());
    while discard(&ways).await.unwrap().is_more {
        world.assert_sound().await;
    }
    assert_eq!(world.states().await, ["discarded"; 6]);
    // What still has a way of its own is kept for a person, who may have it sent without the other.
    world.post([note("4").to("a", "4").after("b", Some("4b"), "a", false)]).await;
    assert_eq!(discard(&ways[..1]).await.unwrap(), Discarded { count: 1, is_more: false });
    let last = world.all().await.pop().unwrap();
    assert_eq!(last.state, State::Dead);
    assert!(last.reason.unwrap().contains("delivery \"7\" on route \"a\", which it comes after, is discarded"));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_goes_to_another_destination_of_its_system_is_booked_there_with_all_that_was_tried() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    let first = world.claim_one().await;
    world.settle(&first, "unknown", Settlement::Waiting { due_at: world.now() }).await;
    let claimed = world.claim(2).await;
    let again = claimed.iter().find(|claimed| claimed.delivery == first.delivery).unwrap();
    let redirect = |lease, to| world.store().redirect(again.delivery, lease, to);
    assert!(matches!(redirect(first.lease, way("a", "careful")).await, Err(StoreError::LeaseLost)));
    let elsewhere = Way { system: "crm".to_owned(), ..way("a", "careful") };
    assert!(matches!(redirect(again.lease, elsewhere).await, Err(StoreError::Refused(_))));
    redirect(again.lease, way("a", "careful")).await.unwrap();
    world.assert_sound().await;
    for claimed in &claimed {
        world.deliver(claimed).await;
    }
    let ledger = world.store().ledger().await.unwrap();
    let counts = |destination: &str| {
        let counts = &ledger.destinations[destination];
        (counts.routed, counts.in_flight, counts.delivered)
    };
    assert_eq!((counts("create"), counts("careful")), ((1, 0, 1), (1, 0, 1)));
    assert_eq!((ledger.attempts.total, ledger.attempts.unknown), (3, 1));
    assert_eq!(world.all().await[0].destination, "careful");
    world.assert_sound().await;
}

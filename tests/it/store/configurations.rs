//! The contract of every store about configurations: when each came into force, and what they leave without a way.

use omgate::store::{Discarded, TakenBy, TakenConfig, Unsettled, Way};

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
    let discard =
        |limit| world.store().discard_unsettled(way("a", "create"), "by reload".to_owned(), limit, world.now());
    let flying = world.claim_one().await;
    assert_eq!(flying.delivery, DeliveryId(1));
    assert_eq!(discard(3).await.unwrap(), Discarded { count: 3, is_more: true });
    let states = world.states().await;
    assert_eq!(states[5..], ["discarded", "discarded", "discarded"], "waiting, blocked and held alike: {states:?}");
    assert_eq!(discard(100).await.unwrap(), Discarded { count: 3, is_more: true }, "one is in flight");
    let unknown = world.store().discard_unsettled(way("x", "create"), "x".to_owned(), 9, world.now());
    assert_eq!(unknown.await.unwrap(), Discarded::default());
    world.retry(&flying, 60_000).await;
    assert_eq!(discard(100).await.unwrap(), Discarded { count: 1, is_more: false });
    assert_eq!(discard(100).await.unwrap(), Discarded::default());
    let all = world.all().await;
    assert_eq!(all[3].state, State::Waiting, "the lane's other way is its head now");
    assert!(all.iter().filter(|view| view.route == "a").all(|view| view.reason.as_deref() == Some("by reload")));
    world.assert_sound().await;
}

//! What is kept of answers, deliveries that come after others, and deliveries that a person has made of others.

use omgate::outcome::Kept;
use omgate::store::{Edit, Prune, Replay, Replayed, Retention};
use serde_json::{Value as Json, json};

use super::*;

fn kept(name: &str, value: Json) -> Kept {
    Kept { name: name.to_owned(), value, warning: None }
}

impl World {
    async fn deliver_with(&self, claimed: &Claimed, kept: Vec<Kept>) {
        let settle = Settle { kept, ..self.settling(claimed, "delivered", Settlement::Delivered) };
        self.store().settle(settle).await.unwrap();
    }

    async fn view(&self, delivery: i64) -> DeliveryView {
        self.store().delivery(DeliveryId(delivery)).await.unwrap().0
    }

    fn again(&self, delivery: i64, planned: Planned) -> Replay {
        Replay {
            delivery: DeliveryId(delivery),
            still: None,
            planned: Some(planned),
            stays_dead: false,
            edit: None,
            as_it_was: None,
            even_if_newer: false,
            by: By::new("somebody", "by a person"),
            now: self.now(),
        }
    }

    async fn replay(&self, replay: Replay) -> StoreResult<Replayed> {
        self.store().replay(replay).await
    }

    async fn found(&self, kept: &str) -> Vec<i64> {
        let filter = DeliveryFilter { kept: Some(kept.to_owned()), ..DeliveryFilter::default() };
        let found = self.store().deliveries(filter).await.unwrap();
        found.iter().map(|view| view.delivery_id.0).collect()
    }
}

fn follower(route: &str, lane: &str, lead: &str) -> Planned {
    Planned { after: Some(After { route: lead.to_owned(), holds_lane: false }), ..planned(route, Some(lane)) }
}

fn edit(content: &str) -> Edit {
    Edit {
        hash: hash(content),
        record_type: "Opportunity".to_owned(),
        record_id: "006-1".to_owned(),
        xml: content.to_owned(),
        search: Default::default(),
    }
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(result: StoreResult<T>) -> String {
    match result {
        Err(StoreError::Conflict(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(super) async fn what_was_kept_of_an_answer_is_shown_and_found() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M"), note("3").to("a", "N")]).await;
    let total: Json = serde_json::from_str("12.50").unwrap();
    for (claimed, order) in world.claim(3).await.iter().zip([json!("4711"), json!(4711), Json::Null]) {
        let warning = order.is_null().then(|| "it was too long".to_owned());
        let order = Kept { name: "order".to_owned(), value: order, warning };
        world.deliver_with(claimed, vec![order, kept("list", json!([1, "b"])), kept("total", total.clone())]).await;
    }
    let views = world.all().await;
    assert_eq!(views[0].kept["order"], json!("4711"));
    assert_eq!(views[1].kept["total"].to_string(), "12.50", "digits stay");
    assert_eq!((&views[2].kept["order"], &views[2].kept["list"]), (&Json::Null, &json!([1, "b"])));
    assert_eq!(views[2].kept_warnings["order"], "it was too long");
    assert!(views[0].kept_warnings.is_empty());
    for (asked, expected) in [
        ("order=4711", vec![2, 1]),
        ("order", vec![2, 1]),
        ("total=12.50", vec![3, 2, 1]),
        ("order=47", vec![]),
        ("list", vec![]),
    ] {
        assert_eq!(world.found(asked).await, expected, "{asked}");
    }
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn one_that_comes_after_another_waits_for_it_and_gets_what_it_kept() {
    let mut world = World::new();
    world.post([note("1").to("a", "L").after("b", Some("M"), "a", false), note("2").to("c", "M")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked", "blocked"], "those behind it wait too");
    let blocked = world.view(2).await;
    assert_eq!((blocked.links.after, blocked.behind, blocked.lane_head), (Some(DeliveryId(1)), None, None));
    assert_eq!(world.view(3).await.lane_head, Some(DeliveryId(2)));
    assert_eq!(world.view(1).await.links.followed_by, [DeliveryId(2)]);
    let lead = world.claim_one().await;
    world.retry(&lead, 5).await;
    assert_eq!(world.store().sweep().await.unwrap(), 0, "it is no lane without a head");
    world.assert_sound().await;
    world.reopen().await;
    world.advance(5);
    let lead = world.claim_one().await;
    assert!(lead.after.is_empty());
    world.deliver_with(&lead, vec![kept("order", json!(4711))]).await;
    assert_eq!(world.states().await, ["delivered", "waiting", "blocked"]);
    let next = world.claim_one().await;
    assert_eq!((next.delivery, next.after["order"].clone()), (DeliveryId(2), json!(4711)));
    world.deliver(&next).await;
    assert_eq!(world.states().await, ["delivered", "delivered", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_chain_goes_on_one_by_one_and_the_nearest_answer_counts() {
    let world = World::new();
    let chained = note("1").to("a", "L").after("b", None, "a", false).after("c", Some("L"), "b", false);
    world.post([chained]).await;
    assert_eq!(world.states().await, ["waiting", "blocked", "blocked"]);
    assert_eq!(world.view(2).await.lane.as_deref(), Some("delivery 2"), "without a lane it has one to itself");
    world.deliver_with(&world.claim_one().await, vec![kept("order", json!("a")), kept("first", json!(1))]).await;
    let second = world.claim_one().await;
    assert_eq!(second.delivery, DeliveryId(2));
    world.deliver_with(&second, vec![kept("order", json!("b"))]).await;
    let third = world.claim_one().await;
    assert_eq!((&third.after["order"], &third.after["first"]), (&json!("b"), &json!(1)));
    world.deliver(&third).await;
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn when_the_one_before_is_lost_all_that_come_after_die_with_it_and_say_why() {
    let story = || note("1").to("a", "L").after("b", Some("M"), "a", false).after("c", Some("N"), "b", true);
    for what in ["dead", "discarded", "superseded", "held and discarded"] {
        let world = World::new();
        world.post([story(), note("2").to("b", "M"), note("3").to("c", "N")]).await;
        assert_eq!(world.states().await, ["waiting", "blocked", "blocked", "blocked", "blocked"]);
        match what {
            "dead" => world.kill(&world.claim_one().await, false).await,
            "superseded" => {
                let lead = world.claim_one().await;
                let reason = "an older state".to_owned();
                world.settle(&lead, "not_called", Settlement::Superseded { reason }).await;
            }
            "held and discarded" => {
                world.change(2, Change::Hold).await.unwrap();
                world.change(1, Change::Discard).await.unwrap();
            }
            _ => drop(world.change(1, Change::Discard).await.unwrap()),
        }
        let states = world.states().await;
        assert_eq!(
            states[1..],
            ["dead", "dead", "waiting", "blocked"],
            "{what}: on_dead of its own route holds its lane"
        );
        let reason = world.view(2).await.reason.unwrap();
        assert!(
            reason.starts_with(&format!("delivery \"1\" on route \"a\", which it comes after, is {}", states[0])),
            "{reason}"
        );
        assert_eq!(reason.contains("this one can be replayed"), what == "dead", "{reason}");
        assert!(world.view(3).await.reason.unwrap().starts_with("delivery \"2\" on route \"b\""));
        world.assert_sound().await;
    }
}

#[tokio::test]
pub(super) async fn a_dead_one_that_comes_after_another_is_replayed_once_that_one_goes_again() {
    let world = World::new();
    world.post([note("1").to("a", "L").after("b", Some("M"), "a", false)]).await;
    world.kill(&world.claim_one().await, false).await;
    assert_eq!(world.states().await, ["dead", "dead"]);
    let reason = conflict(world.change(2, Change::Replay { even_if_newer: false }).await);
    assert!(reason.contains("delivery \"1\" on route \"a\", which it comes after, is dead"), "{reason}");
    let reason = conflict(world.replay(world.again(2, follower("b", "M", "a"))).await);
    assert!(reason.contains("which it comes after, is dead"), "{reason}");
    world.replay(world.again(1, planned("a", Some("L")))).await.unwrap();
    let replayed = world.replay(world.again(2, follower("b", "M", "a"))).await.unwrap();
    assert_eq!((replayed.delivery.delivery_id, replayed.delivery.state), (DeliveryId(2), State::Blocked));
    world.deliver_with(&world.claim_one().await, vec![kept("order", json!(1))]).await;
    let second = world.claim_one().await;
    assert_eq!((second.delivery, &second.after["order"]), (DeliveryId(2), &json!(1)));
    world.deliver(&second).await;
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn without_a_delivery_to_come_after_it_is_dead_at_once() {
    let world = World::new();
    world
        .post([
            note("1").after("b", Some("M"), "a", false),
            note("2").dead_on("a", "odd").after("b", Some("M"), "a", true),
        ])
        .await;
    assert_eq!(world.states().await, ["dead", "dead", "dead"]);
    assert!(world.view(1).await.reason.unwrap().contains("made no delivery of this notification"));
    assert!(world.view(3).await.reason.unwrap().contains("delivery \"2\" on route \"a\""));
    assert!(conflict(world.replay(world.again(1, follower("b", "M", "a"))).await).contains("made no delivery"));
    // A person has the first one made, and then the other can go.
    let made = world
        .replay(Replay { planned: Some(planned("a", Some("L"))), ..world.again(1, planned("a", None)) })
        .await
        .unwrap();
    assert_eq!((made.delivery.route.as_str(), made.delivery.state), ("a", State::Waiting));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_revision_replaces_both_or_makes_both_anew() {
    let pair = |content: &str| note("1").says(content).to("a", "L").after("b", Some("L"), "a", false);
    let world = World::new();
    world.post([pair("first")]).await;
    world.post([pair("second")]).await;
    assert_eq!(world.states().await, ["waiting", "blocked"], "nothing was attempted: both carry the new content");
    let lead = world.claim_one().await;
    assert_eq!(lead.notification.xml, "second");
    world.post([pair("third")]).await;
    assert_eq!(world.states().await, ["in_flight", "blocked", "blocked", "blocked"]);
    world.deliver_with(&lead, vec![kept("order", json!(2))]).await;
    // Numbers may be drawn and not used.
    let all: Vec<_> = world.all().await.iter().map(|view| view.delivery_id).collect();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let claimed = world.claim_one().await;
        let place = all.iter().position(|id| *id == claimed.delivery).unwrap();
        seen.push((place + 1, claimed.notification.xml.clone(), claimed.after.get("order").cloned()));
        world.deliver_with(&claimed, vec![kept("order", json!(3))]).await;
    }
    let expected = [(2, "second", Some(json!(2))), (3, "third", None), (4, "third", Some(json!(3)))];
    assert_eq!(seen, expected.map(|(id, content, order)| (id, content.to_owned(), order)));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_revision_of_dead_ones_takes_the_place_of_both() {
    let world = World::new();
    let pair = |content: &str| note("1").says(content).to("a", "L").after("b", Some("M"), "a", true);
    world.post([pair("first"), note("2").to("b", "M")]).await;
    world.kill(&world.claim_one().await, false).await;
    assert_eq!(world.states().await, ["dead", "dead", "blocked"]);
    world.post([pair("second")]).await;
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting", "waiting", "blocked"]);
    assert_eq!(world.view(5).await.links.after, Some(DeliveryId(4)));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_coalesces_gives_way_together() {
    let world = World::new();
    let update = |id: &str| {
        let mut note = note(id).record("006").newest("a", "L", None).newest("b", "M", None);
        note.0.deliveries[1].after = Some(After { route: "a".to_owned(), holds_lane: false });
        note
    };
    world.post([update("1")]).await;
    world.post([update("2")]).await;
    assert_eq!(world.states().await, ["superseded", "superseded", "waiting", "blocked"]);
    let alone = |id: &str| note(id).record("007").newest("a", "X", None).after("b", Some("Y"), "a", false);
    world.post([alone("3")]).await;
    world.post([alone("4")]).await;
    assert_eq!(world.states().await[4..], ["superseded", "dead", "waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_dead_letter_that_waits_for_what_is_made_now_stays_and_lets_its_lane_go_on() {
    let world = World::new();
    let lead = |delivery| Replay { stays_dead: true, ..world.again(delivery, planned("a", Some("L"))) };
    world.post([note("1").after("b", Some("L"), "a", true)]).await;
    assert_eq!(world.states().await, ["dead"], "route a made nothing of it");
    world.replay(lead(1)).await.unwrap();
    assert_eq!(world.states().await, ["dead", "waiting"]);
    assert!(conflict(world.replay(world.again(1, follower("b", "L", "a"))).await).contains("not delivered yet"));
    world.deliver_with(&world.claim_one().await, vec![kept("order", "4711".into())]).await;
    world.replay(world.again(1, follower("b", "L", "a"))).await.unwrap();
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery, &claimed.after["order"], claimed.comes_after), (DeliveryId(1), &"4711".into(), true));

    // It stops the lane in which what it waits for would stand.
    world.kill(&claimed, true).await;
    world.post([note("2").to("c", "L")]).await;
    assert_eq!(world.states().await, ["dead", "delivered", "blocked"]);
    assert_eq!(world.replay(lead(1)).await.unwrap().delivery.state, State::Blocked);
    assert_eq!(world.states().await, ["dead", "delivered", "waiting", "blocked"]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_was_delivered_is_repeated_by_a_new_delivery_and_stays_as_it_is() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
    world.deliver(&world.claim_one().await).await;
    let replayed = world.replay(world.again(1, planned("a", Some("L")))).await.unwrap();
    assert_eq!((replayed.delivery.delivery_id, replayed.delivery.state), (DeliveryId(3), State::Blocked));
    assert_eq!(replayed.delivery.links.replay_of, Some(DeliveryId(1)));
    assert_eq!(world.view(1).await.links.replayed_by, [DeliveryId(3)]);
    assert_eq!(world.states().await, ["delivered", "waiting", "blocked"], "it stands behind what is there");
    world.deliver(&world.claim_one().await).await;
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery, claimed.replay_of, claimed.as_it_was), (DeliveryId(3), Some(DeliveryId(1)), None));
    world.deliver(&claimed).await;
    // Its own repetition makes nothing outdated; what another notification brought does.
    let reason = conflict(world.replay(world.again(9, planned("a", None))).await.map_err(|error| match error {
        StoreError::NotFound(what) => StoreError::Conflict(what),
        other => other,
    }));
    assert_eq!(reason, "delivery 9");
    assert!(world.replay(world.again(1, planned("a", Some("L")))).await.is_ok());
    assert_eq!(world.store().ledger().await.unwrap().deliveries.routed, 4);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_repetition_that_would_undo_a_later_state_is_refused() {
    let world = World::new();
    world.post([note("1").record("006").to("a", "L")]).await;
    world.deliver(&world.claim_one().await).await;
    world.post([note("2").record("006").to("a", "L")]).await;
    world.deliver(&world.claim_one().await).await;
    let reason = conflict(world.replay(world.again(1, planned("a", Some("L")))).await);
    assert!(reason.contains("outdated: delivery 2 brought a later state"), "{reason}");
    let wanted = Replay { even_if_newer: true, ..world.again(1, planned("a", Some("L"))) };
    let replayed = world.replay(wanted).await.unwrap();
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery, claimed.even_if_newer), (replayed.delivery.delivery_id, true));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_is_pruned_while_it_is_replayed_is_dead_and_no_call_without_content() {
    let mut world = World::new();
    for id in ["1", "2"] {
        world.post([note(id).to("a", "L")]).await;
        world.deliver(&world.claim_one().await).await;
    }
    world.advance(31 * 86_400_000);
    let budget = Duration::from_secs(1);
    let prune = Prune { retention: Retention::default(), now: world.now(), limit: 100, budget };
    while !world.store().prune(prune.clone()).await.unwrap().done {}
    assert!(world.store().notification("1".to_owned()).await.unwrap()[0].notification.is_pruned());
    let wanted = Replay { even_if_newer: true, ..world.again(1, planned("a", Some("L"))) };
    let id = world.replay(wanted).await.unwrap().delivery.delivery_id;
    assert!(world.claim(1).await.is_empty());
    let (view, attempts) = world.store().delivery(id).await.unwrap();
    assert_eq!((view.state, attempts.len()), (State::Dead, 0));
    assert!(view.reason.unwrap().contains("its record was pruned from the store"));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_dead_letter_goes_in_its_place_or_gives_way_to_what_repeats_it() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L")]).await;
    world.kill(&world.claim_one().await, true).await;
    assert_eq!(world.states().await, ["dead", "blocked"]);
    let as_it_was = Some(ConfigVersion(7));
    let in_place = world.replay(Replay { as_it_was, ..world.again(1, planned("a", Some("L"))) }).await.unwrap();
    assert_eq!((in_place.delivery.delivery_id, in_place.delivery.state), (DeliveryId(1), State::Waiting));
    assert_eq!(in_place.delivery.links.as_it_was, as_it_was);
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery, claimed.as_it_was, claimed.replay_of), (DeliveryId(1), as_it_was, None));
    let (_, attempts) = world.store().delivery(DeliveryId(1)).await.unwrap();
    assert_eq!(attempts[1].config_version, ConfigVersion(7));
    world.kill(&claimed, true).await;
    let elsewhere = world.replay(world.again(1, planned("c", Some("X")))).await.unwrap();
    assert_eq!((elsewhere.delivery.route.as_str(), elsewhere.delivery.destination.as_str()), ("c", "careful"));
    assert_eq!(elsewhere.woken, ["erp"]);
    assert_eq!(world.states().await, ["superseded", "waiting", "waiting"], "its lane goes on");
    let old = world.view(1).await;
    assert_eq!((old.superseded_by, old.links.replayed_by), (Some(DeliveryId(3)), vec![DeliveryId(3)]));
    assert_eq!(world.store().stands_for(vec![DeliveryId(3)]).await.unwrap(), [vec![DeliveryId(1)]]);
    for (delivery, state) in [(1, "superseded"), (2, "waiting")] {
        let reason = conflict(world.replay(world.again(delivery, planned("a", None))).await);
        assert!(reason.contains(&format!("is {state}; only a dead or a delivered one can be replayed")), "{reason}");
    }
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn edited_content_is_a_revision_that_salesforce_did_not_send() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.kill(&world.claim_one().await, false).await;
    let edited = |content: &str| Replay {
        stays_dead: false,
        edit: Some(edit(content)),
        ..world.again(1, planned("a", Some("L")))
    };
    assert!(conflict(world.replay(edited("first")).await).contains("changes nothing"));
    let made = world.replay(edited("mended")).await.unwrap().delivery;
    assert_eq!((made.delivery_id, made.revision, made.links.edited_from), (DeliveryId(2), 2, Some(1)));
    assert_eq!(world.states().await, ["superseded", "waiting"]);
    let revisions = world.store().notification("1".to_owned()).await.unwrap();
    let shown: Vec<_> =
        revisions.iter().map(|view| (view.kind.as_str(), view.edited_from, view.reason.as_deref())).collect();
    assert_eq!(shown, [("routed", None, None), ("revised", Some(1), Some("by a person"))]);
    // Salesforce repeats what it sent, or what it was mended to: nothing new.
    assert_eq!(world.post([note("1").to("a", "L")]).await, [Fate::Duplicate]);
    assert_eq!(world.post([note("1").says("mended").to("a", "L")]).await, [Fate::Duplicate]);
    world.assert_sound().await;
    let claimed = world.claim_one().await;
    assert_eq!((claimed.notification.xml.as_str(), claimed.notification.revision), ("mended", 2));
    world.deliver(&claimed).await;
    // The same edit again is the same revision.
    let again = Replay { even_if_newer: true, ..world.again(2, planned("c", Some("X"))) };
    world.replay(again).await.unwrap();
    assert_eq!(world.post([note("1").says("other").to("a", "L")]).await, [Fate::Revised]);
    let revisions = world.store().notification("1".to_owned()).await.unwrap();
    assert_eq!(revisions.iter().map(|view| view.notification.revision).collect::<Vec<_>>(), [1, 2, 3]);
    let counts = world.store().ledger().await.unwrap().notifications;
    assert_eq!((counts.received, counts.unique, counts.duplicate, counts.revised), (4, 1, 2, 1));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_revision_leaves_what_a_person_had_made_alone() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    world.deliver(&world.claim_one().await).await;
    world.replay(world.again(1, planned("a", Some("L")))).await.unwrap();
    world.post([note("1").says("second").to("a", "L")]).await;
    assert_eq!(world.states().await, ["delivered", "waiting", "blocked"]);
    let claimed = world.claim_one().await;
    assert_eq!((claimed.delivery, claimed.notification.xml.as_str()), (DeliveryId(2), "first"));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn the_one_that_comes_after_goes_by_the_newest_repetition_of_the_one_before() {
    let world = World::new();
    world.post([note("1").to("a", "L").after("b", Some("L"), "a", false)]).await;
    world.kill(&world.claim_one().await, false).await;
    let mended = Replay { stays_dead: false, edit: Some(edit("mended")), ..world.again(1, planned("a", Some("L"))) };
    world.replay(mended).await.unwrap();
    // In its old place it would stand before the one that it waits for.
    let early = conflict(world.replay(world.again(2, follower("b", "L", "a"))).await);
    assert!(early.contains("delivery 3 on route \"a\", which it comes after, is not delivered yet"), "{early}");
    world.deliver_with(&world.claim_one().await, vec![kept("order", json!(5))]).await;
    let second = world.replay(world.again(2, follower("b", "L", "a"))).await.unwrap().delivery;
    assert_eq!((second.state, second.links.after), (State::Waiting, Some(DeliveryId(3))));
    assert_eq!(world.claim_one().await.after["order"], json!(5));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn without_a_lane_nobody_waits_for_the_one_before() {
    let world = World::new();
    world.post([note("1").to("a", "L").in_any_order("b")]).await;
    for claimed in world.claim(2).await {
        match claimed.delivery.0 {
            1 => world.retry(&claimed, 60_000).await,
            _ => world.kill(&claimed, false).await,
        }
    }
    // The route comes after another only since then.
    let follower = || Planned { lane: None, ..follower("b", "", "a") };
    let early = conflict(world.replay(world.again(2, follower())).await);
    assert!(early.contains("delivery 1 on route \"a\", which it comes after, is not delivered yet"), "{early}");
    assert_eq!(world.states().await, ["waiting", "dead"]);
    world.assert_sound().await;
}

/// A generator that needs no crate and repeats itself from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Routes as one configuration has them: b comes after a, c after b. The lane is what the dice say.
fn along(route: &str, dice: &mut Dice) -> Planned {
    let lane = ["L", "M", "N", ""][dice.roll(4)];
    let lead = match route {
        "b" => Some("a"),
        "c" => Some("b"),
        _ => None,
    };
    let after = lead.map(|lead| After { route: lead.to_owned(), holds_lane: route == "c" });
    Planned { after, ..planned(route, Some(lane).filter(|lane| !lane.is_empty())) }
}

fn random_note(dice: &mut Dice) -> Note {
    let mut made = note(&format!("n{}", dice.roll(6))).says(["first", "second", "third"][dice.roll(3)]);
    let routes: &[&str] = [&["a"][..], &["a", "b"], &["a", "b", "c"], &["b"], &["a", "c"]][dice.roll(5)];
    made.0.deliveries = routes.iter().map(|route| along(route, dice)).collect();
    if dice.roll(4) == 0
        && let Some(first) = made.0.deliveries.first_mut().filter(|first| first.lane.is_some())
    {
        first.coalesce = Some(Coalesce::default());
    }
    made
}

async fn step(world: &mut World, dice: &mut Dice, flying: &mut Vec<Claimed>) {
    let all = world.all().await;
    let pick = |dice: &mut Dice| all.get(dice.roll(all.len().max(1)));
    match dice.roll(20) {
        0..5 => drop(world.accept([random_note(dice), random_note(dice)]).await),
        5..9 => {
            for claimed in world.claim(1 + dice.roll(3)).await {
                let view = world.view(claimed.delivery.0).await;
                if let Some(lead) = view.links.after {
                    assert_eq!(world.view(lead.0).await.state, State::Delivered, "{view:?}");
                }
                flying.push(claimed);
            }
        }
        9..14 if !flying.is_empty() => {
            let claimed = flying.swap_remove(dice.roll(flying.len()));
            match dice.roll(6) {
                0..3 => world.deliver_with(&claimed, vec![kept("order", json!(claimed.delivery.0))]).await,
                3 => world.retry(&claimed, 1).await,
                4 => world.kill(&claimed, dice.roll(2) == 0).await,
                _ => world.settle(&claimed, "retry", Settlement::Superseded { reason: "newer".to_owned() }).await,
            }
        }
        14..16 => {
            let change = [Change::Replay { even_if_newer: true }, Change::Hold, Change::Release, Change::Discard];
            if let Some(view) = pick(dice) {
                let _ = world.change(view.delivery_id.0, change[dice.roll(4)].clone()).await;
            }
        }
        16..19 => {
            if let Some(view) = pick(dice) {
                let route = if dice.roll(3) == 0 { ["a", "b", "c"][dice.roll(3)] } else { view.route.as_str() };
                let replay = world.again(view.delivery_id.0, along(route, dice));
                let edit = (dice.roll(4) == 0).then(|| edit(["x", "y"][dice.roll(2)]));
                let _ = world.replay(Replay { even_if_newer: true, edit, ..replay }).await;
            }
        }
        _ => {
            world.reopen().await;
            flying.clear();
        }
    }
    world.advance(3);
}

#[tokio::test]
pub(super) async fn any_history_of_what_comes_after_and_is_repeated_leaves_the_store_sound_and_comes_to_an_end() {
    for seed in 1..=16_u64 {
        println!("seed {seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut world, mut flying) = (World::new(), Vec::new());
        for _ in 0..60 {
            step(&mut world, &mut dice, &mut flying).await;
            world.assert_sound().await;
        }
        world.reopen().await;
        for view in world.all().await {
            let _ = match view.state {
                State::Held => world.change(view.delivery_id.0, Change::Release).await,
                State::Dead => world.change(view.delivery_id.0, Change::Discard).await,
                _ => continue,
            };
        }
        world.advance(1_000);
        loop {
            let claimed = world.claim(100).await;
            if claimed.is_empty() {
                break;
            }
            for claimed in claimed {
                world.deliver(&claimed).await;
            }
        }
        world.assert_sound().await;
        let counts = world.store().ledger().await.unwrap().deliveries;
        assert_eq!((counts.waiting, counts.blocked, counts.held), (0, 0, 0), "nothing waits for ever: {counts:?}");
    }
}

#[tokio::test]
pub(super) async fn what_must_still_be_dead_is_sent_once_however_many_want_it_sent() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M")]).await;
    for claimed in world.claim(2).await {
        world.kill(&claimed, false).await;
    }
    let dead = |delivery| Replay { still: Some(State::Dead), ..world.again(delivery, planned("a", Some("L"))) };
    // Whoever looked at it while it was dead comes when it was delivered.
    world.replay(dead(1)).await.unwrap();
    world.deliver(&world.claim_one().await).await;
    let refused = conflict(world.replay(dead(1)).await);
    assert_eq!(refused, "delivery 1 is delivered by now, not dead any more");
    let in_place = Change::Replay { even_if_newer: false };
    assert_eq!(conflict(world.change_still(1, in_place, Some(State::Dead)).await), refused);
    // Two at once, along another route too: one of them has it.
    let elsewhere = |delivery| Replay { planned: Some(planned("b", Some("M"))), ..dead(delivery) };
    let (one, other) = tokio::join!(world.replay(elsewhere(2)), world.replay(elsewhere(2)));
    assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
    assert_eq!(world.states().await, ["delivered", "superseded", "waiting"]);
    // Whoever means to repeat what was delivered does so.
    world.replay(world.again(1, planned("a", Some("L")))).await.unwrap();
    assert_eq!(world.states().await, ["delivered", "superseded", "waiting", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_does_not_stand_any_more_as_it_must_is_left_as_it_is() {
    let world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "L"), note("3").to("a", "L")]).await;
    world.change(3, Change::Hold).await.unwrap();
    let states = ["waiting", "blocked", "held"];
    for (delivery, change, still, is) in [
        (1, Change::Hold, State::Blocked, "waiting by now, not blocked"),
        (2, Change::Hold, State::Waiting, "blocked by now, not waiting"),
        (2, Change::Discard, State::Waiting, "blocked by now, not waiting"),
        (3, Change::Discard, State::Dead, "held by now, not dead"),
        (3, Change::Release, State::Waiting, "held by now, not waiting"),
    ] {
        let refused = conflict(world.change_still(delivery, change, Some(still)).await);
        assert_eq!(refused, format!("delivery {delivery} is {is} any more"));
        assert_eq!(world.states().await, states);
    }
    world.change_still(1, Change::Discard, Some(State::Waiting)).await.unwrap();
    world.change_still(2, Change::Hold, Some(State::Waiting)).await.unwrap();
    world.change_still(3, Change::Release, Some(State::Held)).await.unwrap();
    assert_eq!(world.states().await, ["discarded", "held", "blocked"]);
    world.assert_sound().await;
}

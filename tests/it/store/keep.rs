//! What a store keeps for how long, and what it never forgets: pruning, accounts by day, the audit log, absences.

use omgate::clock::Day;
use omgate::store::{
    AuditFilter, DayChange, DayFilter, Deed, Edit, Kept, Ledger, LedgerDay, Prune, Pruned, PrunedCounts, Replay,
    Retention, SavedView, Silence, Token, VIEWS_MAX, pace,
};

use super::*;

const DAY_MS: i64 = 86_400_000;

fn days(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count * 86_400))
}

impl World {
    /// One step that may look at so many things.
    async fn prune_step(&self, retention: &Retention, limit: usize) -> Pruned {
        let budget = Duration::from_millis(8);
        let prune = Prune { retention: retention.clone(), now: self.now(), limit, budget };
        self.store().prune(prune).await.unwrap()
    }

    /// Everything that can be pruned, in steps of a few things.
    async fn prune(&self, retention: &Retention) -> Pruned {
        let mut all = Pruned::default();
        for _ in 0..10_000 {
            all.add(&self.prune_step(retention, 7).await);
            if all.done {
                return all;
            }
        }
        panic!("pruning does not end: {all:?}");
    }

    /// The ledger, whatever was pruned.
    async fn accounts(&self) -> Ledger {
        Ledger { pruned: PrunedCounts::default(), ..self.store().ledger().await.unwrap() }
    }

    async fn delivered(&self, note: Note) {
        self.post([note]).await;
        let claimed = self.claim_one().await;
        let mut settle = self.settling(&claimed, "delivered", Settlement::Delivered);
        settle.record.request = "the request".to_owned();
        settle.record.response = "the answer".to_owned();
        self.store().settle(settle).await.unwrap();
    }

    async fn exists(&self, id: &str) -> bool {
        self.store().notification(id.to_owned()).await.is_ok()
    }

    async fn xml(&self, id: &str) -> String {
        self.store().notification(id.to_owned()).await.unwrap().pop().unwrap().notification.xml
    }

    async fn days(&self, from: i64, to: i64) -> Vec<LedgerDay> {
        let filter = DayFilter { from: Day(from), to: Day(to), source: None, destination: None };
        self.store().ledger_days(filter).await.unwrap().rows
    }
}

// ---- pruning ----

#[tokio::test]
pub(super) async fn of_what_was_delivered_the_texts_go_first_and_the_rows_later_and_the_ledger_stays() {
    let mut world = World::new();
    world.post([note("newest")]).await;
    world.delivered(note("one").to("a", "L")).await;
    world.post([note("one").to("a", "L")]).await;
    world.post([note("last")]).await;
    let before = world.store().ledger().await.unwrap();
    let retention = Retention { unrouted: None, ..Retention::default() };

    world.advance(30 * DAY_MS - 1);
    assert!(world.prune(&retention).await.is_nothing());
    world.advance(1);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.payloads, pruned.attempts, pruned.deliveries), (2, 0, 0), "the record, and the exchange");
    assert_eq!(world.xml("one").await, "");
    assert!(world.store().notification("one".to_owned()).await.unwrap()[0].notification.is_pruned());
    let (_, attempts) = world.store().delivery(DeliveryId(1)).await.unwrap();
    let record = &attempts[0].record;
    assert_eq!((record.request.as_str(), record.response.as_str(), record.request_cut), ("", "", true));
    assert_eq!(record.status, Some(200), "what it came to stays");
    assert!(world.prune(&retention).await.is_nothing(), "once");
    assert_eq!(world.post([note("one").to("a", "L")]).await, [Fate::Duplicate], "it is still known");

    world.advance(60 * DAY_MS);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.attempts, pruned.deliveries, pruned.notifications, pruned.envelopes), (1, 1, 1, 1));
    assert!(!world.exists("one").await && world.exists("newest").await && world.exists("last").await);
    let after = world.store().ledger().await.unwrap();
    assert_eq!(after.deliveries, before.deliveries);
    assert_eq!(after.attempts, before.attempts);
    assert_eq!(after.notifications.duplicate, before.notifications.duplicate + 1);
    assert_eq!(world.post([note("one").to("a", "L")]).await, [Fate::Routed], "it is known no more");
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_is_not_settled_is_never_pruned_and_a_dead_letter_stays_whole() {
    let mut world = World::new();
    world.post([note("waiting").to("a", "1"), note("behind").to("a", "1"), note("held").to("a", "2")]).await;
    world.change(3, Change::Hold).await.unwrap();
    world.post([note("dead").to("b", "3"), note("stops").to("b", "4")]).await;
    for holds_lane in [false, true] {
        let claimed = world.claims(&["create"], &["b"], 1).await.claimed.remove(0);
        world.kill(&claimed, holds_lane).await;
    }
    world.post([note("last")]).await;
    let least = Kept { payloads: days(0), attempts: days(0), rows: days(0) };
    let retention = Retention { delivered: least, superseded: least, discarded: least, ..Retention::default() };
    world.advance(4_000 * DAY_MS);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.payloads, pruned.attempts, pruned.deliveries), (0, 0, 0));
    assert_eq!(world.states().await, ["waiting", "blocked", "held", "dead", "dead"]);
    assert_eq!(world.xml("dead").await, "first");
    let (_, attempts) = world.store().delivery(DeliveryId(4)).await.unwrap();
    assert_eq!(attempts.len(), 1);

    let some_day = Retention { dead: days(365), ..retention };
    assert_eq!(world.prune(&some_day).await.deliveries, 1, "but for one that stops its lane");
    assert_eq!(world.states().await, ["waiting", "blocked", "held", "dead"]);
    assert_eq!(world.store().ledger().await.unwrap().deliveries.dead, 2);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_notification_is_known_for_as_long_as_repeats_are_told_though_its_delivery_is_gone() {
    let mut world = World::new();
    world.delivered(note("1").to("a", "L")).await;
    world.post([note("1").says("second").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    world.deliver(&claimed).await;
    world.post([note("last")]).await;
    let soon = Kept { payloads: days(0), attempts: days(0), rows: days(0) };
    let retention = Retention { delivered: soon, skipped_empty: days(0), ..Retention::default() };
    world.advance(1);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.deliveries, pruned.notifications), (2, 0));
    world.advance(29 * DAY_MS);
    assert!(world.prune(&retention).await.is_nothing());
    assert_eq!(world.post([note("1").says("second").to("a", "L")]).await, [Fate::Duplicate]);
    assert_eq!(world.post([note("1").says("third").to("a", "L")]).await, [Fate::Revised]);
    assert_eq!(world.all().await.last().unwrap().revision, 3);
    let claimed = world.claim_one().await;
    assert_eq!(claimed.notification.xml, "third");
    world.deliver(&claimed).await;
    world.post([note("very last")]).await;
    world.advance(30 * DAY_MS + 1);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.deliveries, pruned.notifications), (1, 3), "all revisions go together");
    assert_eq!(world.post([note("1").says("second").to("a", "L")]).await, [Fate::Routed]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_revision_after_pruning_finds_what_it_needs() {
    let mut world = World::new();
    world.delivered(note("1").record("006").to("a", "L").to("b", "M")).await;
    let claimed = world.claims(&["create"], &["b"], 1).await.claimed.remove(0);
    world.kill(&claimed, false).await;
    world.post([note("1").record("006").says("second").to("a", "L")]).await;
    assert_eq!(world.states().await, ["delivered", "superseded", "waiting"]);
    let claimed = world.claim_one().await;
    world.deliver(&claimed).await;
    world.post([note("last")]).await;
    let soon = Kept { payloads: days(0), attempts: days(0), rows: days(0) };
    let retention = Retention { delivered: soon, ..Retention::default() };
    world.advance(1);
    assert_eq!(world.prune(&retention).await.deliveries, 2);
    assert_eq!(world.post([note("1").record("006").says("third").to("a", "L").to("b", "M")]).await, [Fate::Revised]);
    assert_eq!(world.states().await, ["superseded", "waiting", "waiting"]);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn the_record_stays_while_another_delivery_of_its_notification_may_still_be_sent() {
    let mut world = World::new();
    let retention = Retention { unrouted: None, ..Retention::default() };
    world.post([note("1").to("a", "L").to("b", "M")]).await;
    let claimed = world.claims(&["create"], &["a"], 1).await.claimed.remove(0);
    world.deliver(&claimed).await;
    world.change(2, Change::Hold).await.unwrap();
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    let pruned = world.prune(&retention).await;
    assert_eq!((pruned.deliveries, pruned.notifications), (1, 0));
    assert_eq!(world.xml("1").await, "first");
    world.change(2, Change::Release).await.unwrap();
    let claimed = world.claim_one().await;
    assert_eq!(claimed.notification.xml, "first");
    world.deliver(&claimed).await;
    world.advance(30 * DAY_MS);
    world.prune(&retention).await;
    assert_eq!(world.xml("1").await, "");
    world.advance(60 * DAY_MS);
    assert_eq!(world.prune(&retention).await.notifications, 1);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn an_old_dead_letter_is_still_outdated_when_what_outdates_it_was_pruned() {
    let mut world = World::new();
    world.post([note("old").record("006").to("a", "L"), note("other").record("007").to("a", "M")]).await;
    for claimed in world.claim(2).await {
        world.kill(&claimed, false).await;
    }
    world.delivered(note("new").record("006").to("a", "L")).await;
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 1);
    assert_eq!(world.store().outdated_by(DeliveryId(1)).await.unwrap(), Some(DeliveryId(3)));
    assert_eq!(world.store().outdated_by(DeliveryId(2)).await.unwrap(), None);
    let refused = world.change(1, Change::Replay { even_if_newer: false }).await;
    assert!(matches!(refused, Err(StoreError::Conflict(reason)) if reason.contains("outdated")));
    world.change(2, Change::Replay { even_if_newer: false }).await.unwrap();
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn the_mark_of_what_was_delivered_survives_pruning() {
    let mut world = World::new();
    world.post([note("1").record("006").to("a", "L")]).await;
    let claimed = world.claim_one().await;
    let mut settle = world.settling(&claimed, "delivered", Settlement::Delivered);
    settle.stale_mark = Some(marked("Changed", "2026-01-01"));
    world.store().settle(settle).await.unwrap();
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.notifications, 1);
    world.post([note("2").record("006").to("a", "L")]).await;
    assert_eq!(world.claim_one().await.stale_mark, Some(marked("Changed", "2026-01-01")));
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_gave_way_to_a_dead_letter_is_shown_with_it_for_as_long_as_it_is_there() {
    let mut world = World::new();
    let update = |id: &str| note(id).record("006").newest("a", "L", None);
    world.post([update("1"), update("2"), update("3")]).await;
    let claimed = world.claim_one().await;
    world.kill(&claimed, false).await;
    let again = |id: &str| note(id).record("007").newest("a", "M", None);
    world.post([again("4"), again("5")]).await;
    let claimed = world.claim_one().await;
    world.deliver(&claimed).await;
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 2);
    assert_eq!(world.states().await, ["superseded", "superseded", "dead"]);
    world.change(3, Change::Discard).await.unwrap();
    world.advance(DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 2, "looked at again a day later");
    world.advance(90 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 1);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_never_had_a_delivery_goes_at_an_age_of_its_own() {
    let mut world = World::new();
    world.post([note("unrouted"), note("sha256:00").unreadable("no id"), note("skipped").empty()]).await;
    let mut aside = world.envelope([note("aside").to("a", "L")]);
    aside.quarantine = Some("unknown organization".to_owned());
    world.store().accept(aside).await.unwrap();
    world.post([note("last").to("a", "L")]).await;
    let retention = Retention {
        unrouted: days(40),
        unreadable: days(50),
        quarantined: None,
        skipped_empty: days(10),
        delivered: Kept { rows: days(10), attempts: days(10), payloads: days(10) },
        superseded: Kept { rows: days(10), attempts: days(10), payloads: days(10) },
        discarded: Kept { rows: days(10), attempts: days(10), payloads: days(10) },
        ..Retention::default()
    };
    for (day, left) in [
        (29, ["unrouted", "sha256:00", "skipped", "aside"].as_slice()),
        (30, &["unrouted", "sha256:00", "aside"]),
        (40, &["sha256:00", "aside"]),
        (50, &["aside"]),
        (5_000, &["aside"]),
    ] {
        world.advance(1_790_000_000_000 + day * DAY_MS - world.now().0);
        world.prune(&retention).await;
        for id in ["unrouted", "sha256:00", "skipped", "aside"] {
            assert_eq!(world.exists(id).await, left.contains(&id), "{id} on day {day}");
        }
        world.assert_sound().await;
    }
    let ledger = world.store().ledger().await.unwrap();
    assert_eq!(ledger.notifications.unrouted, 1);
    let left: i64 = ledger.left().sources.values().map(|source| source.unrouted + source.unreadable).sum();
    assert_eq!(left, 0, "it stays counted, and is not there any more");
    let quarantined: i64 = ledger.left().sources.values().map(|source| source.quarantined).sum();
    assert_eq!(quarantined, 1, "what is kept for good is there");
}

#[tokio::test]
pub(super) async fn a_dry_run_counts_what_would_go() {
    let mut world = World::new();
    world.post([note("unrouted")]).await;
    for id in ["1", "2", "3"] {
        world.delivered(note(id).to("a", "L")).await;
    }
    world.post([note("last").to("a", "L")]).await;
    let prunable = |now| world.store().prunable(Retention::default(), now);
    let at = |days: i64| Timestamp(world.now().0 + days * DAY_MS);
    let found = prunable(at(29)).await.unwrap();
    assert_eq!((found.payloads, found.deliveries, found.notifications), (0, 0, 0));
    let found = prunable(at(31)).await.unwrap();
    assert_eq!((found.payloads, found.attempts, found.deliveries, found.notifications), (6, 0, 0, 0));
    let found = prunable(at(181)).await.unwrap();
    assert_eq!((found.payloads, found.attempts, found.deliveries, found.notifications), (6, 3, 3, 1));
    world.advance(31 * DAY_MS);
    world.prune(&Retention::default()).await;
    assert_eq!(world.store().prunable(Retention::default(), world.now()).await.unwrap().payloads, 0);
}

#[tokio::test]
pub(super) async fn a_dry_run_counts_what_others_need_no_more_than_pruning_takes_it() {
    let mut world = World::new();
    // Five whose followers wait, five without any, one that gave way to a dead letter and one to what was delivered.
    for number in 0..5 {
        let id = format!("followed {number}");
        let follower = Some(format!("M{number}"));
        world.delivered(note(&id).to("a", &id).after("b", follower.as_deref(), "a", false)).await;
        let waits = world.claim_one().await;
        world.retry(&waits, 1_000 * DAY_MS).await;
        world.delivered(note(&format!("alone {number}")).to("a", &id)).await;
    }
    for (id, is_lost) in [("lost", true), ("taken", false)] {
        for mark in ["1", "2"] {
            world.post([note(&format!("{id} {mark}")).record(id).newest("a", id, Some(mark))]).await;
        }
        let claimed = world.claim_one().await;
        if is_lost {
            world.kill(&claimed, false).await
        } else {
            world.deliver(&claimed).await
        };
    }
    world.post([note("last")]).await;
    let soon = Kept { payloads: Some(Duration::ZERO), attempts: Some(Duration::ZERO), rows: Some(Duration::ZERO) };
    for (kept, dead) in [
        (Kept { attempts: None, rows: None, ..soon }, None),
        (Kept { payloads: None, rows: None, ..soon }, None),
        (soon, None),
        (soon, Some(Duration::ZERO)),
    ] {
        world.advance(DAY_MS + 1);
        let retention = Retention { delivered: kept, superseded: kept, discarded: kept, dead, ..Retention::default() };
        let found = world.store().prunable(retention.clone(), world.now()).await.unwrap();
        let pruned = world.prune(&retention).await;
        assert_eq!(
            (found.payloads, found.attempts, found.deliveries),
            (pruned.payloads, pruned.attempts, pruned.deliveries),
            "{kept:?}, {dead:?}"
        );
        assert_ne!((found.payloads, found.attempts, found.deliveries), (0, 0, 0), "{kept:?}, {dead:?}");
    }
    assert_eq!(world.all().await.len(), 11, "five leads, their followers, and what gave way to the dead letter");
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_notification_goes_with_its_rows_or_when_no_repeat_is_to_be_expected_whatever_else_is_kept() {
    let mut world = World::new();
    for id in ["1", "2", "3"] {
        world.delivered(note(id).to("a", "L")).await;
    }
    world.post([note("skipped").empty(), note("last").to("a", "L")]).await;
    let rows =
        |delivered| Retention { delivered: Kept { rows: days(delivered), ..Kept::DEFAULT }, ..Retention::default() };
    let retention = rows(7);
    for (day, deliveries, notifications) in [(8, 3, 0), (29, 0, 0), (31, 0, 3), (89, 0, 0), (91, 0, 1)] {
        let now = Timestamp(world.now().0);
        world.advance(day * DAY_MS);
        let found = world.store().prunable(retention.clone(), world.now()).await.unwrap();
        let pruned = world.prune(&retention).await;
        assert_eq!((found.deliveries, found.notifications), (deliveries, notifications), "foretold on day {day}");
        assert_eq!((pruned.deliveries, pruned.notifications), (deliveries, notifications), "day {day}");
        world.advance(now.0 - world.now().0);
    }
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn pruning_in_steps_of_one_thing_comes_to_the_same_end() {
    let mut world = World::new();
    for round in 0..5 {
        let id = format!("r{round}");
        world.post([note(&id).to("a", "L").to("b", "M")]).await;
        for claimed in world.claim(2).await {
            world.retry(&claimed, 0).await;
        }
        for claimed in world.claim(2).await {
            world.deliver(&claimed).await;
        }
    }
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    let mut all = Pruned::default();
    let mut steps = 0;
    while !all.done {
        all.add(&world.prune_step(&Retention::default(), 1).await);
        world.assert_sound().await;
        steps += 1;
        assert!(steps < 200, "{all:?}");
    }
    assert_eq!((all.attempts, all.deliveries, all.notifications, all.envelopes), (20, 10, 5, 5));
    assert!(steps >= 20, "in small steps: {steps}");
}

#[tokio::test]
pub(super) async fn any_history_can_be_pruned_and_stays_sound() {
    for seed in 1..=6_u64 {
        println!("seed {seed}");
        let mut dice = model::Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let mut outside = model::Outside::default();
        for _ in 0..60 {
            match dice.roll(12) {
                0..4 => outside.accept(&world, &mut dice).await,
                4..6 => outside.claim(&world, &mut dice).await,
                6..9 => outside.settle(&world, &mut dice).await,
                9..11 => outside.change(&world, &mut dice).await,
                _ => world.advance(i64::try_from(dice.roll(3)).unwrap() * DAY_MS),
            }
        }
        let before = world.accounts().await;
        world.advance(100 * DAY_MS);
        let retention = Retention { dead: days(200), ..Retention::default() };
        world.prune(&retention).await;
        world.assert_sound().await;
        world.advance(100 * DAY_MS);
        world.prune(&retention).await;
        world.assert_sound().await;
        assert_eq!(world.accounts().await, before, "pruning lowers no counter");
        let settled =
            |view: &&DeliveryView| matches!(view.state, State::Delivered | State::Superseded | State::Discarded);
        let left: Vec<DeliveryView> = world.all().await;
        let left: Vec<_> = left.iter().filter(settled).collect();
        let with_letters = left.iter().filter(|view| view.superseded_by.is_some()).count();
        assert_eq!(left.len(), with_letters, "{left:#?}");
    }
}

#[tokio::test]
pub(super) async fn pruning_at_a_pace_ends_and_is_bounded_by_patience() {
    let mut world = World::new();
    for id in 0..50 {
        world.delivered(note(&id.to_string()).to("a", "L")).await;
    }
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    let clock: SharedClock = world.clock.clone();
    let retention = Retention::default();
    let once = pace::prune(world.store(), &retention, &clock, pace::Company::Others, Duration::ZERO).await.unwrap();
    assert!(!once.done && once.deliveries < 50, "{once:?}");
    let patience = Duration::from_secs(600);
    let rest = pace::prune(world.store(), &retention, &clock, pace::Company::Nobody, patience).await.unwrap();
    assert!(rest.done);
    assert_eq!(once.deliveries + rest.deliveries, 50);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn an_answer_is_kept_for_as_long_as_one_that_comes_after_may_need_it() {
    let mut world = World::new();
    world.post([note("1").to("a", "L").after("b", Some("M"), "a", false)]).await;
    let lead = world.claim_one().await;
    let order = omgate::outcome::Kept { name: "order".to_owned(), value: "4711".into(), warning: None };
    let settle = Settle { kept: vec![order], ..world.settling(&lead, "delivered", Settlement::Delivered) };
    world.store().settle(settle).await.unwrap();
    let dead = world.claim_one().await;
    world.kill(&dead, false).await;
    world.post([note("last")]).await;
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 0);
    world.change(2, Change::Replay { even_if_newer: false }).await.unwrap();
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 0);
    let follower = world.claim_one().await;
    assert_eq!(follower.after["order"], "4711");
    world.deliver(&follower).await;
    world.advance(DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.deliveries, 1);
    assert!(
        world
            .store()
            .deliveries(DeliveryFilter { kept: Some("order".to_owned()), ..Default::default() })
            .await
            .unwrap()
            .is_empty()
    );
    let left = world.all().await;
    assert_eq!((left.len(), left[0].kept.len()), (1, 0), "what it came after is gone, and it stands");
    world.assert_sound().await;
    world.advance(91 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.notifications, 1);
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn what_a_person_edited_goes_with_its_notification_and_takes_no_account_with_it() {
    let mut world = World::new();
    world.post([note("1").to("a", "L"), note("2").to("a", "M"), note("3").to("b", "N")]).await;
    for claimed in world.claim(3).await {
        world.deliver(&claimed).await;
    }
    world.post([note("other")]).await;
    let edit = Edit {
        hash: hash("edited"),
        record_type: "Opportunity".to_owned(),
        record_id: "006-1".to_owned(),
        xml: "edited".to_owned(),
        search: Default::default(),
    };
    let replay = Replay {
        still: None,
        delivery: DeliveryId(2),
        planned: Some(planned("a", Some("M"))),
        stays_dead: false,
        edit: Some(edit),
        as_it_was: None,
        even_if_newer: false,
        by: By::new("somebody", "by a person"),
        now: world.now(),
    };
    world.store().replay(replay).await.unwrap();
    let claimed = world.claim_one().await;
    assert_eq!(claimed.notification.xml, "edited");
    world.deliver(&claimed).await;
    world.post([note("last")]).await;
    world.post([note("1").says("second").to("a", "L")]).await;
    let before = world.accounts().await;
    world.advance(91 * DAY_MS);
    let pruned = world.prune(&Retention { unrouted: None, ..Retention::default() }).await;
    assert_eq!((pruned.deliveries, pruned.notifications), (4, 3), "of the revised one a delivery still waits");
    assert_eq!(world.accounts().await, before);
    assert!(world.exists("1").await && !world.exists("2").await && !world.exists("3").await);
    world.assert_sound().await;
}

// ---- by day ----

#[tokio::test]
pub(super) async fn what_happens_is_booked_on_its_utc_day_and_the_days_sum_to_the_ledger() {
    let mut world = World::new();
    let today = world.now().day().0;
    world.post([note("1").to("a", "L"), note("2")]).await;
    world.post([note("1").to("a", "L")]).await;
    let midnight = world.now().day().plus(1).start().0;
    world.advance(midnight - 1 - world.now().0);
    let claimed = world.claim_one().await;
    world.advance(1);
    world.deliver(&claimed).await;
    world.post([note("3").to("a", "L")]).await;

    let rows = world.days(today, today + 1).await;
    assert_eq!(rows.iter().map(|row| row.day.0 - today).collect::<Vec<_>>(), [0, 0, 1, 1]);
    let DayChange::Source { source, counts } = &rows[0].change else { panic!("{rows:?}") };
    assert_eq!((source.as_str(), counts.received, counts.unique, counts.duplicate), ("orders", 3, 2, 1));
    assert_eq!((counts.routed, counts.unrouted), (1, 1));
    let DayChange::Destination { destination, counts, attempts, .. } = &rows[1].change else { panic!("{rows:?}") };
    assert_eq!((destination.as_str(), counts.routed, counts.in_flight, *attempts), ("create", 1, 1, 1));
    let DayChange::Destination { counts, attempts, .. } = &rows[3].change else { panic!("{rows:?}") };
    assert_eq!((counts.routed, counts.waiting, counts.in_flight, counts.delivered), (1, 1, -1, 1));
    assert_eq!(*attempts, 0, "it began the day before");
    assert!(counts.balanced() || counts.in_flight < 0);

    let ask = |source: Option<&str>, destination: Option<&str>| {
        let (source, destination) = (source.map(str::to_owned), destination.map(str::to_owned));
        world.store().ledger_days(DayFilter { from: Day(today), to: Day(today + 1), source, destination })
    };
    assert_eq!(ask(Some("orders"), None).await.unwrap().rows.len(), 2);
    assert_eq!(ask(None, Some("create")).await.unwrap().rows.len(), 2);
    assert_eq!(ask(Some("nobody"), None).await.unwrap().rows, []);
    assert_eq!(ask(None, None).await.unwrap().first, Some(Day(today)));
    for (from, to, words) in [(today + 1, today, "lies after"), (today - 366, today, "over 366 days")] {
        let filter = DayFilter { from: Day(from), to: Day(to), source: None, destination: None };
        let error = world.store().ledger_days(filter).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    world.assert_sound().await;
}

// ---- silence and absences ----

#[tokio::test]
pub(super) async fn the_longest_silence_of_a_source_is_known_with_when_it_was() {
    const MINUTE: i64 = 60_000;
    let mut world = World::new();
    let since = world.now().day();
    assert_eq!(world.store().gaps(since, None).await.unwrap(), []);
    let mut moments = Vec::new();
    for (place, minutes) in [0, 5, 90, 10].into_iter().enumerate() {
        world.advance(minutes * MINUTE);
        moments.push(world.now());
        world.post([note(&place.to_string())]).await;
    }
    world.advance(MINUTE);
    world.post([note("0")]).await;
    let gaps = world.store().gaps(since, None).await.unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].last_envelope, world.now(), "a repeat shows that Salesforce is there");
    assert_eq!(gaps[0].longest, Some(Silence { since: moments[1], until: moments[2] }));
    world.reopen().await;
    world.advance(200 * MINUTE);
    world.post([note("after the restart")]).await;
    let longest = world.store().gaps(since, None).await.unwrap()[0].longest.unwrap();
    assert_eq!(longest.until.since(longest.since), Duration::from_secs(200 * 60), "through a restart");
    assert_eq!(world.store().gaps(since.plus(2), None).await.unwrap()[0].longest, None, "none ended since");
    let that_day = world.store().gaps(since, Some(since)).await.unwrap();
    if world.now().day() > since {
        assert!(that_day[0].last_envelope.day() == since, "nothing of a later day: {that_day:?}");
    }
    assert_eq!(world.store().gaps(since, Some(since.plus(-1))).await.unwrap(), [], "it was not heard before");
}

#[tokio::test]
pub(super) async fn a_time_in_which_nobody_listened_is_kept_until_a_person_took_note() {
    let mut world = World::new();
    let beat = |world: &World| {
        let (store, now) = (world.shared(), world.now());
        async move { store.heartbeat(now).await.unwrap() }
    };
    assert_eq!(beat(&world).await, None, "the first ever");
    world.advance(60_000);
    assert_eq!(beat(&world).await, None);
    world.advance(149_000);
    assert_eq!(beat(&world).await, None, "a restart");
    world.advance(30_000);
    let last = world.now();
    world.post([note("1")]).await;
    world.reopen().await;
    world.advance(30 * 3_600_000);
    let absence = beat(&world).await.unwrap();
    assert_eq!((absence.since, absence.until), (last, world.now()), "an envelope shows that it listened");
    assert_eq!(beat(&world).await, None);
    world.clock.0.fetch_sub(3_600_000, Ordering::SeqCst);
    assert_eq!(beat(&world).await, None, "a clock that went back");

    assert_eq!(world.store().absences().await.unwrap(), std::slice::from_ref(&absence));
    let by = || By::new("alice", "compared");
    let noted = world.store().acknowledge(absence.id, by(), world.now()).await.unwrap();
    assert_eq!((noted.acknowledged_at, noted.acknowledged_by.as_deref()), (Some(world.now()), Some("alice")));
    let again = world.store().acknowledge(absence.id, by(), world.now()).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    assert!(matches!(world.store().acknowledge(99, by(), world.now()).await, Err(StoreError::NotFound(_))));
    assert_eq!(world.store().absences().await.unwrap(), [noted]);
    let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
    assert_eq!((log.len(), log[0].verb.as_str(), log[0].object.as_str()), (1, "acknowledge", "absence"));
}

#[tokio::test]
pub(super) async fn who_listened_for_too_short_a_time_did_not_end_the_absence() {
    const HOUR: i64 = 3_600_000;
    let mut world = World::new();
    let beat = |world: &World| {
        let (store, now) = (world.shared(), world.now());
        async move { store.heartbeat(now).await.unwrap() }
    };
    beat(&world).await;
    let since = world.now();
    world.advance(20 * HOUR);
    let first = beat(&world).await.unwrap();
    assert_eq!((first.since, first.dropped_until()), (since, None));
    world.advance(60_000);
    beat(&world).await;
    world.advance(20 * HOUR);
    let second = beat(&world).await.unwrap();
    assert_eq!((second.id, second.since, second.until), (first.id, since, world.now()));
    assert!(second.dropped_until().is_some(), "40 hours, but for a minute");
    assert_eq!(world.store().absences().await.unwrap(), std::slice::from_ref(&second));
    world.store().acknowledge(second.id, By::new("alice", "compared"), world.now()).await.unwrap();
    world.advance(HOUR);
    let third = beat(&world).await.unwrap();
    assert_eq!((third.since, third.acknowledged_at), (since, None), "what a person took note of does not cover this");
    assert_ne!(third.id, second.id);
    for _ in 0..160 {
        world.advance(60_000);
        beat(&world).await;
    }
    let listened = world.now();
    world.advance(HOUR);
    assert_eq!(beat(&world).await.unwrap().since, listened, "what Salesforce kept came in between");
}

// ---- the audit log ----

#[tokio::test]
pub(super) async fn what_people_do_to_deliveries_stands_in_the_audit_log_and_what_was_refused_does_not() {
    let world = World::new();
    world.post([note("1").to("a", "L")]).await;
    for change in [Change::Hold, Change::Release, Change::Discard] {
        world.change(1, change).await.unwrap();
    }
    world.change(1, Change::Hold).await.unwrap_err();
    let log = world.store().audit_log(AuditFilter::default()).await.unwrap();
    let verbs: Vec<_> = log.iter().map(|entry| entry.verb.as_str()).collect();
    assert_eq!(verbs, ["discard", "release", "hold"], "newest first");
    let entry = &log[0];
    assert_eq!((entry.who.as_str(), entry.reason.as_str(), entry.result.as_str()), ("somebody", "because", "done"));
    assert_eq!(
        (entry.object.as_str(), entry.object_id.as_str(), entry.count, entry.at),
        ("delivery", "1", 1, world.now())
    );
}

fn deed(world: &World, who: &str, verb: &str, object_id: &str) -> Deed {
    Deed {
        at: world.now(),
        by: By::new(who, "why not"),
        verb: verb.to_owned(),
        object: "system",
        object_id: object_id.to_owned(),
        count: 3,
        result: "done".to_owned(),
        ..Deed::default()
    }
}

#[tokio::test]
pub(super) async fn the_audit_log_is_filtered_and_turned_page_by_page() {
    let mut world = World::new();
    let start = world.now();
    for (who, verb, system) in [("alice", "pause", "erp"), ("bob", "pause", "crm"), ("alice", "resume", "erp")] {
        world.store().audit(deed(&world, who, verb, system)).await.unwrap();
        world.advance(1_000);
    }
    let ids = async |filter: AuditFilter| {
        let found = world.store().audit_log(filter).await.unwrap();
        found.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let none = AuditFilter::default;
    assert_eq!(ids(none()).await, [3, 2, 1]);
    assert_eq!(ids(AuditFilter { who: text("ali"), ..none() }).await, [3, 1]);
    assert_eq!(ids(AuditFilter { verb: text("pause"), ..none() }).await, [2, 1]);
    assert_eq!(ids(AuditFilter { object: text("system"), object_id: text("crm"), ..none() }).await, [2]);
    assert_eq!(ids(AuditFilter { object: text("delivery"), ..none() }).await, [0; 0]);
    let second = Timestamp(start.0 + 1_000);
    assert_eq!(ids(AuditFilter { from: Some(second), ..none() }).await, [3, 2]);
    assert_eq!(ids(AuditFilter { to: Some(second), ..none() }).await, [1]);
    assert_eq!(ids(AuditFilter { limit: Some(1), before: Some(3), ..none() }).await, [2]);
}

#[tokio::test]
pub(super) async fn an_entry_of_the_audit_log_is_pruned_after_its_time_and_never_within_a_year() {
    let mut world = World::new();
    for _ in 0..3 {
        world.store().audit(deed(&world, "alice", "pause", "erp")).await.unwrap();
    }
    world.advance(100 * DAY_MS);
    world.store().audit(deed(&world, "alice", "resume", "erp")).await.unwrap();
    let hasty = Retention { audit: days(1), ..Retention::default() };
    world.advance(200 * DAY_MS);
    assert_eq!(world.prune(&hasty).await.audit, 0, "whatever is asked for");
    world.advance(800 * DAY_MS);
    assert_eq!(world.prune(&Retention::default()).await.audit, 0, "nothing came since: nobody knows how late it is");
    world.store().audit(deed(&world, "alice", "pause", "erp")).await.unwrap();
    assert_eq!(world.store().prunable(Retention::default(), world.now()).await.unwrap().audit, 4);
    assert_eq!(world.prune(&Retention::default()).await.audit, 4);
    assert_eq!(world.store().audit_log(AuditFilter::default()).await.unwrap().len(), 1);
    world.assert_sound().await;
}

/// What a walk over the whole log finds.
async fn walked(world: &World) -> omgate::store::Checked {
    let (chain, mut entries) = world.store().audit_chain(0, 2).await.unwrap();
    let mut walk = omgate::store::Walk::new(chain);
    while let Some(last) = entries.last().map(|entry| entry.id) {
        entries.iter().for_each(|entry| walk.look(entry));
        entries = world.store().audit_chain(last, 2).await.unwrap().1;
    }
    walk.finish()
}

#[tokio::test]
pub(super) async fn each_entry_of_the_audit_log_follows_from_the_one_before_also_after_pruning() {
    let mut world = World::new();
    assert_eq!(walked(&world).await.entries, 0);
    for who in ["alice", "bob\0", "\u{1a}carol", "ä"] {
        let deed = Deed { was: "open".to_owned(), became: "paused".to_owned(), ..deed(&world, who, "pause", "erp") };
        world.store().audit(deed).await.unwrap();
    }
    world.post([note("1").to("a", "L")]).await;
    for change in [Change::Hold, Change::Release, Change::Discard] {
        world.change(1, change).await.unwrap();
    }
    let checked = walked(&world).await;
    assert_eq!((checked.findings.as_slice(), checked.entries, checked.head_entry), (&[][..], 7, 7), "{checked:?}");
    let entry = world.store().audit_log(AuditFilter::default()).await.unwrap().remove(0);
    assert_eq!((entry.was.as_str(), entry.became.as_str()), ("waiting", "discarded"));
    assert_eq!(entry.hash, Some(checked.head_hash));

    world.advance(3 * 365 * DAY_MS);
    world.store().audit(deed(&world, "dave", "resume", "erp")).await.unwrap();
    world.prune(&Retention::default()).await;
    let left = world.store().audit_log(AuditFilter::default()).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    let checked = walked(&world).await;
    assert_eq!((checked.findings.as_slice(), checked.entries), (&[][..], 1), "{checked:?}");
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn a_token_is_found_by_its_hash_until_it_is_forgotten() {
    let mut world = World::new();
    let token = |id: &str, name: &str, world: &World| Token {
        id: id.to_owned(),
        name: name.to_owned(),
        role: "viewer".to_owned(),
        rights: "payload edit".to_owned(),
        scope: String::new(),
        created_at: world.now(),
        created_by: "alice".to_owned(),
        expires_at: world.now().plus(Duration::from_secs(3_600)),
        used_at: None,
        revoked_at: None,
        revoked_by: None,
    };
    let one = token("t1", "ci", &world);
    world.store().add_token(one.clone(), "hash1".to_owned()).await.unwrap();
    assert_eq!(world.store().token("hash1".to_owned()).await.unwrap(), Some(one.clone()));
    assert_eq!(world.store().token("hash2".to_owned()).await.unwrap(), None);
    let again = world.store().add_token(token("t2", "ci", &world), "hash2".to_owned()).await.unwrap_err();
    assert!(again.to_string().contains("there is a token \"ci\" already"), "{again}");
    world.store().use_token("t1".to_owned(), world.now()).await.unwrap();
    let (id, by) = ("t1".to_owned(), "bob".to_owned());
    let revoked = world.store().revoke_token(id.clone(), by.clone(), world.now()).await.unwrap();
    assert_eq!((revoked.used_at, revoked.revoked_by.as_deref()), (Some(world.now()), Some("bob")));
    assert!(
        revoked.over(world.now()).unwrap().contains("revoked") && one.over(one.expires_at).unwrap().contains("expired")
    );
    assert!(world.store().revoke_token(id, by, world.now()).await.is_err());
    assert!(world.store().revoke_token("t9".to_owned(), String::new(), world.now()).await.is_err());
    world.advance(DAY_MS);
    world.store().add_token(token("t2", "ci", &world), "hash2".to_owned()).await.unwrap();
    assert_eq!(world.store().tokens().await.unwrap().len(), 2);
    world.advance(95 * DAY_MS);
    world.store().add_token(token("t3", "ci", &world), "hash3".to_owned()).await.unwrap();
    let kept: Vec<String> = world.store().tokens().await.unwrap().into_iter().map(|token| token.id).collect();
    assert_eq!(kept, ["t3"]);
}

#[tokio::test]
pub(super) async fn a_saved_view_is_shared_replaced_and_forgotten_and_there_are_only_so_many() {
    let world = World::new();
    let view = |list: &str, name: &str, query: &str, by: &str| SavedView {
        list: list.to_owned(),
        name: name.to_owned(),
        query: query.to_owned(),
        by: by.to_owned(),
        at: world.now(),
    };
    let store = world.store();
    let one = view("deliveries", "dead of \u{0}crm 'ä'", "state=dead&destination=crm", "alice");
    assert_eq!(store.save_view(one.clone()).await.unwrap(), None);
    let other = view("notifications", "dead of crm", "kind=routed", "bob");
    assert_eq!(store.save_view(other.clone()).await.unwrap(), None, "each list has names of its own");
    assert_eq!(store.views().await.unwrap(), [one.clone(), other.clone()]);
    let anew = SavedView { query: "state=dead".to_owned(), by: "bob".to_owned(), ..one.clone() };
    assert_eq!(store.save_view(anew.clone()).await.unwrap(), Some(one.clone()), "what stood there is told");
    assert_eq!(store.views().await.unwrap(), [anew.clone(), other.clone()]);
    assert_eq!(store.forget_view(anew.list.clone(), anew.name.clone()).await.unwrap(), anew);
    let again = store.forget_view(anew.list, anew.name).await.unwrap_err();
    assert!(again.to_string().contains("a saved view \"dead of \\0crm 'ä'\" of deliveries"), "{again}");
    for number in 1..VIEWS_MAX {
        store.save_view(view("deliveries", &format!("view {number}"), "", "alice")).await.unwrap();
    }
    let full = store.save_view(view("deliveries", "one more", "", "alice")).await.unwrap_err();
    assert!(full.to_string().contains("there are 200 saved views already"), "{full}");
    assert!(store.save_view(view("deliveries", "view 1", "state=held", "bob")).await.unwrap().is_some());
    assert_eq!(store.views().await.unwrap().len(), 200);
}

//! Random histories: whatever happens in whatever order, the store stays sound and loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A generator that needs no crate and repeats itself from its seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()]
    }
}

/// What the outside knows: what it sent, what it was told.
#[derive(Default)]
pub(super) struct Outside {
    /// Notification → the contents that were accepted, without repeats in a row.
    contents: BTreeMap<String, Vec<String>>,
    received: i64,
    duplicates: i64,
    revised: i64,
    attempts: i64,
    delivered: BTreeSet<i64>,
    in_flight: Vec<Claimed>,
}

fn random_note(dice: &mut Dice) -> Note {
    let id = format!("n{}", dice.roll(12));
    let content = dice.one_of(&["first", "second", "third"]);
    // Routes and lanes follow from the content, as they do from a record.
    let shape = content.len() as u64 + id.len() as u64 + dice.roll(2);
    let made = note(&id).says(&format!("{content}{shape}"));
    match shape % 6 {
        0 => made,
        1 => made.to("a", "L"),
        2 => made.to("a", "L").to("b", "M"),
        3 => made.to("a", "M").to("c", "L"),
        4 => made.in_any_order("a").to("b", "L"),
        _ => made.dead_on("b", "an error").to("a", "L"),
    }
}

impl Outside {
    pub(super) async fn accept(&mut self, world: &World, dice: &mut Dice) {
        let notes: Vec<Note> = (0..=dice.roll(4)).map(|_| random_note(dice)).collect();
        let fates = world.post(notes.clone()).await;
        for (note, fate) in notes.iter().zip(fates) {
            let known = self.contents.entry(note.0.notification_id.clone()).or_default();
            let expected = match known.last() {
                None if note.0.deliveries.is_empty() => Fate::Unrouted,
                None => Fate::Routed,
                Some(last) if *last == note.0.xml => Fate::Duplicate,
                Some(_) => Fate::Revised,
            };
            assert_eq!(fate, expected);
            self.received += 1;
            self.duplicates += i64::from(fate == Fate::Duplicate);
            self.revised += i64::from(fate == Fate::Revised);
            if fate != Fate::Duplicate {
                known.push(note.0.xml.clone());
            }
        }
        self.assert_newest_content_is_on_its_way(world, &notes).await;
    }

    /// As [`Outside::accept`], among others' deliveries.
    pub(super) async fn accept_blindly(&mut self, world: &World, dice: &mut Dice) {
        let notes: Vec<Note> = (0..=dice.roll(4)).map(|_| random_note(dice)).collect();
        self.received += i64::try_from(notes.len()).unwrap();
        world.post(notes).await;
    }

    /// How many changes it made.
    pub(super) fn changes(&self) -> i64 {
        self.received + self.attempts
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// For each route that matches the newest revision there is exactly one delivery with that content.
    async fn assert_newest_content_is_on_its_way(&self, world: &World, notes: &[Note]) {
        let all = world.all().await;
        for note in notes {
            let id = &note.0.notification_id;
            let revisions = &self.contents[id];
            if revisions.last() != Some(&note.0.xml) {
                continue;
            }
            for planned in &note.0.deliveries {
                let carries = |delivery: &&DeliveryView| {
                    delivery.notification_id == *id
                        && delivery.route == planned.route
                        && delivery.revision as usize == revisions.len()
                };
                assert_eq!(all.iter().filter(carries).count(), 1, "{id} on {}: {all:#?}", planned.route);
            }
        }
    }

    pub(super) async fn claim(&mut self, world: &World, dice: &mut Dice) {
        for claimed in world.claim(usize::try_from(1 + dice.roll(4)).unwrap()).await {
            assert!(!self.delivered.contains(&claimed.delivery.0), "what was delivered is never sent again");
            self.attempts += 1;
            self.in_flight.push(claimed);
        }
    }

    pub(super) async fn settle(&mut self, world: &World, dice: &mut Dice) {
        if self.in_flight.is_empty() {
            return;
        }
        let place = usize::try_from(dice.roll(self.in_flight.len() as u64)).unwrap();
        let claimed = self.in_flight.swap_remove(place);
        match dice.roll(8) {
            0..3 => {
                world.deliver(&claimed).await;
                self.delivered.insert(claimed.delivery.0);
            }
            3 => world.retry(&claimed, i64::try_from(dice.roll(50)).unwrap()).await,
            4 => world.kill(&claimed, dice.roll(2) == 0).await,
            5 => world.settle(&claimed, "unknown", Settlement::Held { reason: "unknown".to_owned() }).await,
            6 => world.settle(&claimed, "retry", Settlement::Superseded { reason: "newer".to_owned() }).await,
            _ => {
                world.store().release(vec![(claimed.delivery, claimed.lease)]).await.unwrap();
                self.attempts -= 1;
            }
        }
    }

    pub(super) async fn change(&mut self, world: &World, dice: &mut Dice) {
        let all = world.all().await;
        if all.is_empty() {
            return;
        }
        let delivery = &all[usize::try_from(dice.roll(all.len() as u64)).unwrap()];
        let replay = Change::Replay { even_if_newer: true };
        let change = [replay, Change::Hold, Change::Release, Change::Discard, Change::LetGo]
            [usize::try_from(dice.roll(5)).unwrap()]
        .clone();
        let allowed = match change {
            Change::Replay { .. } | Change::LetGo => delivery.state == State::Dead,
            Change::Hold => matches!(delivery.state, State::Waiting | State::Blocked),
            Change::Release => delivery.state == State::Held,
            Change::Discard => {
                matches!(delivery.state, State::Waiting | State::Blocked | State::Held | State::Dead)
            }
        };
        let changed = world.change(delivery.delivery_id.0, change).await;
        assert_eq!(changed.is_ok(), allowed, "{delivery:?}: {changed:?}");
    }

    async fn assert_counts(&self, world: &World) {
        let ledger = world.store().ledger().await.unwrap();
        let counts = &ledger.notifications;
        assert_eq!((counts.received, counts.duplicate, counts.revised), (self.received, self.duplicates, self.revised));
        assert_eq!(counts.unique, i64::try_from(self.contents.len()).unwrap());
        assert_eq!(ledger.deliveries.delivered, i64::try_from(self.delivered.len()).unwrap());
        assert_eq!(ledger.deliveries.in_flight, i64::try_from(self.in_flight.len()).unwrap());
        assert_eq!(ledger.attempts.total, self.attempts);
        world.assert_sound().await;
    }
}

#[tokio::test]
pub(super) async fn any_history_leaves_the_store_sound() {
    for seed in 1..=12_u64 {
        println!("seed {seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let mut outside = Outside::default();
        for _ in 0..70 {
            match dice.roll(20) {
                0..6 => outside.accept(&world, &mut dice).await,
                6..10 => outside.claim(&world, &mut dice).await,
                10..15 => outside.settle(&world, &mut dice).await,
                15..18 => outside.change(&world, &mut dice).await,
                18 => world.advance(20),
                _ => {
                    world.reopen().await;
                    outside.in_flight.clear();
                }
            }
            outside.assert_counts(&world).await;
        }
    }
}

#[tokio::test]
pub(super) async fn everything_that_is_not_stopped_is_delivered_in_the_end() {
    for seed in 1..=6_u64 {
        println!("seed {seed}");
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let mut world = World::new();
        let mut outside = Outside::default();
        for _ in 0..40 {
            match dice.roll(3) {
                0 => outside.accept(&world, &mut dice).await,
                1 => outside.claim(&world, &mut dice).await,
                _ => outside.settle(&world, &mut dice).await,
            }
        }
        world.reopen().await;
        for delivery in world.all().await {
            let change = match delivery.state {
                State::Held => Change::Release,
                State::Dead => Change::Replay { even_if_newer: true },
                State::Waiting | State::Blocked | State::InFlight => continue,
                State::Delivered | State::Superseded | State::Discarded => continue,
            };
            world.change(delivery.delivery_id.0, change).await.unwrap();
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
        assert_eq!(counts.routed, counts.delivered + counts.superseded, "{counts:?}");
    }
}

//! Salesforce's own behaviour in fast time: days of retries with its back-off, drops after a day, repeats after an Ack,
//! contents read anew at each sending, no order, batches of up to 100; against outages of the gateway and of a target.
//! `OMGATE_SALESFORCE_SEEDS=n` lives through each outage in so many ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use omgate::delivery::State;

use crate::simulation::steps::{Content, Dice, Mood, Note};
use crate::simulation::store::{Death, SqliteGround};
use crate::simulation::world::World;
use crate::simulation::{self, scene};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// What was not acknowledged is dropped after this long.
const KEPT: u64 = 24 * HOUR;
/// The longest wait between two sendings.
const WAIT_MAX: u64 = 2 * HOUR;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued { next: u64 },
    Gone,
    Dropped,
}

/// A message of the queue: which record it is about; what it says is read when it is sent.
#[derive(Debug)]
struct Message {
    record: u64,
    created: u64,
    sent: u32,
    place: Place,
    acked: bool,
}

/// The org: its records, its queue.
struct Org {
    dice: Dice,
    /// The version of each record.
    records: BTreeMap<u64, u64>,
    version: u64,
    queue: Vec<Message>,
    /// How many notifications reached the gateway, as far as Salesforce can know.
    answered: u64,
}

impl Org {
    /// Somebody changes a record.
    fn change(&mut self, now: u64) {
        // Contents that every target takes and every route can read.
        self.version += 1;
        while scene::is_poison(self.version) || !scene::is_readable(self.version) {
            self.version += 1;
        }
        let record = self.dice.roll(8);
        self.records.insert(record, self.version);
        self.queue.push(Message { record, created: now, sent: 0, place: Place::Queued { next: now }, acked: false });
    }

    /// The messages that are sent now, in no order, regrouped.
    fn due(&mut self, now: u64) -> Vec<Vec<usize>> {
        for message in &mut self.queue {
            if matches!(message.place, Place::Queued { .. }) && now >= message.created + KEPT {
                message.place = if message.acked { Place::Gone } else { Place::Dropped };
            }
        }
        let is_due = |message: &Message| matches!(message.place, Place::Queued { next } if next <= now);
        let mut due: Vec<usize> = (0..self.queue.len()).filter(|&at| is_due(&self.queue[at])).collect();
        for place in (1..due.len()).rev() {
            due.swap(place, usize::try_from(self.dice.roll(place as u64 + 1)).unwrap());
        }
        let mut batches = Vec::new();
        while !due.is_empty() {
            let size = usize::try_from(self.dice.one_of(&[1, 3, 20, 100])).unwrap().min(due.len());
            batches.push(due.split_off(due.len() - size));
        }
        batches
    }

    fn note(&self, at: usize) -> Note {
        let record = self.queue[at].record;
        Note { id: at as u64 + 1, content: Content::Record { record, version: self.records[&record] } }
    }

    /// 30 s, 1, 2, 4 … minutes, at most two hours.
    fn answered(&mut self, at: usize, now: u64, acked: bool) {
        let repeats = self.dice.roll(12) == 0;
        let message = &mut self.queue[at];
        message.sent += 1;
        message.acked |= acked;
        self.answered += u64::from(acked);
        let wait = (30_000_u64 << (message.sent - 1).min(20)).min(WAIT_MAX);
        // Now and then Salesforce fails behind the Ack, and sends again.
        message.place = if acked && !repeats { Place::Gone } else { Place::Queued { next: now + wait } };
    }

    fn next_due(&self) -> Option<u64> {
        let next = |message: &Message| match message.place {
            Place::Queued { next } => Some(next),
            Place::Gone | Place::Dropped => None,
        };
        self.queue.iter().filter_map(next).min()
    }
}

/// What is wrong when: from, to, in hours.
#[derive(Clone, Copy)]
struct Outages {
    gateway: &'static [(u64, u64)],
    target: &'static [(u64, u64)],
    mood: Mood,
}

fn within(spans: &[(u64, u64)], now: u64) -> bool {
    spans.iter().any(|(from, to)| (from * HOUR..to * HOUR).contains(&now))
}

/// Lives through so many hours of changes, and until the queue is empty.
fn live_through(outages: Outages, hours: u64, changes: u64, seed: u64) -> (World, Org) {
    let mut world = World::new(Arc::new(SqliteGround::new()), seed, scene::PATIENT);
    let mut org = Org { dice: Dice::new(seed), records: BTreeMap::new(), version: 0, queue: Vec::new(), answered: 0 };
    let mut change_at: Vec<u64> = (0..changes).map(|_| org.dice.roll(hours * HOUR)).collect();
    change_at.sort_unstable();
    let mut change_at = change_at.into_iter().peekable();
    let switches = outages.gateway.iter().chain(outages.target).flat_map(|(from, to)| [from * HOUR, to * HOUR]);
    let switches: BTreeSet<u64> = switches.collect();
    let mut now = 0;
    loop {
        let is_up = !within(outages.gateway, now);
        if !is_up {
            world.end(Some(Death::Kill), 0);
        }
        world.network.set("erp", if within(outages.target, now) { outages.mood } else { Mood::Up });
        while change_at.next_if(|at| *at <= now).is_some() {
            org.change(now);
        }
        for batch in org.due(now) {
            let notes: Vec<Note> = batch.iter().map(|at| org.note(*at)).collect();
            let acked = is_up && world.deliver(notes);
            batch.into_iter().for_each(|at| org.answered(at, now, acked));
        }
        let next = [org.next_due(), change_at.peek().copied(), switches.range(now + 1..).next().copied()];
        let Some(next) = next.into_iter().flatten().min() else { break };
        let passes = next.saturating_sub(now).max(1);
        world.until(now + passes, is_up);
        if is_up && now / HOUR != (now + passes) / HOUR {
            world.check();
        }
        assert_eq!(world.law.broken(), None, "{}", world.law.log().join("\n"));
        now += passes;
    }
    world.network.set("erp", Mood::Up);
    (world, org)
}

/// Everything that Salesforce did not drop arrives, in order for each record; what it dropped is what the account lacks.
fn check(mut world: World, org: &Org, drops: bool) {
    let all = world.come_to_rest();
    assert_eq!(world.law.broken(), None, "{}", world.law.log().join("\n"));
    let stored = world.law.revisions();
    for (at, message) in org.queue.iter().enumerate() {
        let id = scene::notification_id(at as u64 + 1);
        match message.place {
            Place::Gone => assert!(stored.contains_key(&id), "{id} was acknowledged and is not there"),
            Place::Dropped => assert!(!stored.contains_key(&id), "{id} is there, and never got an Ack"),
            Place::Queued { .. } => panic!("{id} is still in Salesforce's queue"),
        }
    }
    let dropped = org.queue.iter().filter(|message| message.place == Place::Dropped).count();
    assert_eq!(drops, dropped > 0, "{dropped} of {} were dropped", org.queue.len());
    let ledger = world.ledger();
    assert!(ledger.balanced);
    let counts = &ledger.notifications;
    assert_eq!(counts.unique, i64::try_from(org.queue.len() - dropped).unwrap(), "created less dropped");
    assert_eq!(counts.received, i64::try_from(org.answered).unwrap(), "what Salesforce was told it took");
    assert_eq!(counts.received, counts.unique + counts.duplicate + counts.revised);
    for view in &all {
        assert!(matches!(view.state, State::Delivered | State::Superseded), "{view:#?}");
    }
    let mut arrived: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (destination, record, version) in world.network.taken() {
        if destination == "create" {
            arrived.entry(record).or_default().push(version);
        }
    }
    for (record, versions) in &arrived {
        assert!(versions.is_sorted(), "record {record} arrived out of order: {versions:?}");
    }
    let newest = |record: u64| {
        let of_record = |content: &Content| match content {
            Content::Record { record: its, version } if *its == record => Some(*version),
            _ => None,
        };
        stored.values().flatten().filter_map(of_record).max()
    };
    for record in org.records.keys() {
        let last = arrived.get(record).and_then(|versions| versions.last()).copied();
        assert_eq!(last, newest(*record), "the newest state of record {record} that came in has arrived");
    }
    println!(
        "{} messages, {dropped} dropped, {} received, {} duplicates, {} revisions, {} calls, {} unknown",
        org.queue.len(),
        counts.received,
        counts.duplicate,
        counts.revised,
        ledger.attempts.total,
        ledger.attempts.unknown
    );
}

#[test]
fn what_salesforce_does_not_drop_arrives_in_order_whatever_is_down() {
    let quiet = Outages { gateway: &[], target: &[], mood: Mood::Up };
    // the gateway's outages, the target's, how the target is then | how long, how many changes | whether messages drop
    for (name, outages, hours, changes, drops) in [
        ("nothing is down", quiet, 24, 80, false),
        ("the gateway is down for 20 h", Outages { gateway: &[(5, 25)], ..quiet }, 30, 90, false),
        ("the gateway is down for 30 h, and again", Outages { gateway: &[(3, 33), (36, 37)], ..quiet }, 40, 110, true),
        (
            "a target is down for two days and a half",
            Outages { target: &[(2, 62)], mood: Mood::Down, ..quiet },
            70,
            90,
            false,
        ),
        (
            "a target fails now and then for days",
            Outages { target: &[(1, 90)], mood: Mood::Moody, ..quiet },
            96,
            110,
            false,
        ),
        (
            "both, one after the other",
            Outages { gateway: &[(4, 10), (50, 78)], target: &[(8, 52)], mood: Mood::Busy },
            90,
            110,
            true,
        ),
        ("a target says nothing for a day", Outages { target: &[(2, 26)], mood: Mood::Silent, ..quiet }, 30, 60, false),
    ] {
        println!("{name}");
        for seed in 1..=simulation::asked("OMGATE_SALESFORCE_SEEDS").unwrap_or(1) {
            let (world, org) = live_through(outages, hours, changes, seed);
            check(world, &org, drops);
        }
    }
}

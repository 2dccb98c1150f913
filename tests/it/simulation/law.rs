//! The invariants, asserted of every command, every call and after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use omgate::call::Call;
use omgate::clock::Timestamp;
use omgate::delivery::{DeliveryId, State};
use omgate::store::{Accept, Accepted, Change, Claim, Claims, Fate, Ledger, NOT_CALLED, Settle, Settlement};

use super::look::{Look, Seen, Tried};
use super::network::{self, Meets};
use super::scene::{self, ATTEMPTS_MAX, CONCURRENCY, WAIT_MAX_MS, way};
use super::steps::{Content, Note, SYSTEMS};
use super::wait;

/// What the outside knows, and what it saw of the store.
#[derive(Default)]
pub(crate) struct Law(Mutex<Book>);

#[derive(Default)]
struct Book {
    broken: Option<String>,
    log: Vec<String>,
    /// Rises with everything that happens.
    tick: u64,
    /// What it was at the last look.
    checked: u64,
    /// Whether anything was heard of the store since the last look.
    heard: bool,
    /// By notification id, the contents that are stored, oldest first.
    revisions: BTreeMap<String, Vec<Content>>,
    acked: Vec<Note>,
    /// Leases of the process that runs, by delivery.
    live: BTreeMap<i64, Live>,
    /// The last call of each delivery.
    sent: BTreeMap<i64, Sent>,
    /// Deliveries that the store has as delivered; those of which the dispatch was told so.
    delivered: BTreeSet<i64>,
    promised: BTreeSet<i64>,
    /// How often a target took a delivery.
    taken: BTreeMap<i64, u32>,
    /// What deliveries brought of which the dispatch was not told yet: route, record, version.
    brought: BTreeMap<i64, (String, u64, u64)>,
    /// What was delivered last of a record on a route: its version.
    newest: BTreeMap<(String, u64), u64>,
    /// Deliveries that a person replayed, and whether even if newer.
    replayed: BTreeMap<i64, bool>,
    due: BTreeMap<i64, Timestamp>,
    paused: BTreeMap<String, (u64, Option<Timestamp>)>,
    calls_open: BTreeMap<&'static str, usize>,
    ledger: Ledger,
    calls: u64,
    leases_lost: u64,
    works: BTreeMap<&'static str, bool>,
    /// Whether deliveries never give up.
    patient: bool,
}

#[derive(Clone)]
struct Live {
    lease: i64,
    attempt: u32,
    route: String,
    key: (String, u64, u64),
    even_if_newer: bool,
    meets: Option<Meets>,
    answered: bool,
    /// When its verdict was last refused by the store.
    refused_at: Option<Duration>,
    before: Option<(u32, String)>,
}

struct Sent {
    key: String,
    bytes: String,
    attempt: u32,
}

impl Law {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub(crate) fn broken(&self) -> Option<String> {
        self.book().broken.clone()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.book().log.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.book().calls
    }

    pub(crate) fn leases_lost(&self) -> u64 {
        self.book().leases_lost
    }

    /// From now on deliveries never give up.
    pub(crate) fn be_patient(&self) {
        self.book().patient = true;
    }

    pub(crate) fn say(&self, line: String) {
        self.book().say(line);
    }

    pub(crate) fn breaks(&self, why: String) {
        self.book().breaks(why);
    }

    /// A command came to something.
    pub(crate) fn hear(&self) {
        self.book().heard = true;
    }

    pub(crate) fn tick(&self) -> u64 {
        let mut book = self.book();
        book.tick += 1;
        book.tick
    }

    /// A process opened the store: what it was told before must stand, and nothing is in flight.
    pub(crate) fn opened(&self, look: &Look, now: Timestamp) {
        let all = look.deliveries();
        let revisions = look.revisions();
        let systems = SYSTEMS.map(|system| (system, wait(look.store.system(system.to_owned())).unwrap()));
        let mut book = self.book();
        let book = &mut *book;
        book.live.clear();
        book.calls_open.clear();
        book.due.clear();
        book.ledger = Ledger::default();
        book.heard = true;
        book.tick += 1;
        book.revisions = revisions;
        book.say(format!("opened: {} deliveries", all.len()));
        let acked = std::mem::take(&mut book.acked);
        for note in &acked {
            if !book.is_stored(note) {
                book.breaks(format!("{note:?} was acknowledged and is not in the store"));
            }
        }
        book.acked = acked;
        let stored: BTreeSet<i64> =
            all.iter().filter(|seen| seen.state == State::Delivered).map(|seen| seen.id).collect();
        if let Some(lost) = book.promised.difference(&stored).next() {
            book.breaks(format!("delivery {lost} was recorded as delivered and is not any more"));
        }
        book.delivered = stored;
        for view in &all {
            let id = view.id;
            if view.state == State::InFlight {
                book.breaks(format!("delivery {id} is in flight, and the process that called is gone"));
            }
            if let Some(sent) = book.sent.get(&id)
                && sent.attempt > view.attempts
            {
                let attempt = sent.attempt;
                book.breaks(format!("attempt {attempt} of delivery {id} made its call and is not in the store"));
            }
        }
        book.paused.clear();
        for (system, state) in systems {
            let stands = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
            if let Some(pause) = state.paused.filter(|pause| pause.probe_at.is_none() && stands(pause.until)) {
                book.paused.insert(system.to_owned(), (0, pause.until));
            }
        }
    }

    /// Salesforce was told Ack true.
    pub(crate) fn acked(&self, notes: &[Note]) {
        let mut book = self.book();
        book.say(format!("acked {}", notes.len()));
        for note in notes {
            if !book.is_stored(note) {
                book.breaks(format!("{note:?} was acknowledged and is not in the store"));
            }
            book.acked.push(*note);
        }
    }

    /// An envelope was stored.
    pub(crate) fn accepted(&self, accept: &Accept, accepted: &Accepted) {
        let mut book = self.book();
        for (incoming, fate) in accept.notifications.iter().zip(&accepted.fates) {
            let content = scene::content_of(&incoming.xml);
            let known = book.revisions.entry(incoming.notification_id.clone()).or_default();
            let expected = match (known.last(), content) {
                (Some(last), _) if *last == content => Fate::Duplicate,
                (Some(_), _) => Fate::Revised,
                (None, Content::Record { .. }) => Fate::Routed,
                (None, Content::Empty) => Fate::SkippedEmpty,
                (None, Content::Broken(_)) => Fate::Unreadable,
            };
            if expected != Fate::Duplicate {
                known.push(content);
            }
            let id = &incoming.notification_id;
            book.say(format!("stored {id} {content:?}: {fate:?}"));
            if *fate != expected {
                book.breaks(format!("{id} {content:?} is {fate:?}, not {expected:?}"));
            }
        }
    }

    /// Deliveries were leased.
    pub(crate) fn claimed(&self, look: &Look, claim: &Claim, asked: u64, claims: &Claims) {
        if claims.claimed.is_empty() {
            return;
        }
        self.hear();
        let open = look.open();
        for claimed in &claims.claimed {
            let id = claimed.delivery.0;
            let attempts = look.attempts(claimed.delivery);
            let mut book = self.book();
            let (Some(seen), Some(attempts)) = (open.iter().find(|seen| seen.id == id), attempts) else {
                return book.breaks(format!("delivery {id} was claimed and is not in the store"));
            };
            let Content::Record { record, version } = scene::content_of(&claimed.notification.xml) else {
                book.breaks(format!("delivery {id} carries no record"));
                return;
            };
            book.say(format!("claimed {id}, attempt {} ({record}/{version} on {})", claimed.attempt, claimed.route));
            book.check_claim(&open, (seen, &attempts), claim, asked, claimed.attempt);
            let before = attempts.iter().rev().nth(1);
            let before = before.and_then(|(number, outcome)| Some((*number, outcome.clone()?)));
            let live = Live {
                lease: claimed.lease.0,
                attempt: claimed.attempt,
                route: claimed.route.clone(),
                key: (claimed.notification.notification_id.clone(), record, version),
                even_if_newer: claimed.even_if_newer,
                meets: None,
                answered: false,
                refused_at: None,
                before,
            };
            if book.live.insert(id, live).is_some() {
                book.breaks(format!("delivery {id} was claimed twice at once"));
            }
        }
    }

    /// A call leaves; the delivery it is made for.
    pub(crate) fn sent(&self, call: &Call, key: &str) -> i64 {
        let mut book = self.book();
        let book = &mut *book;
        book.calls += 1;
        let url = call.url.reveal();
        let carried = scene::carried(&call.body);
        let found = book.live.iter().find(|(_, live)| {
            live.key == carried && url.ends_with(way(&live.route).destination) && live.meets.is_none()
        });
        let Some((&id, live)) = found else {
            book.breaks(format!("a call to {url} for {carried:?}, and no attempt that was written stands for it"));
            return 0;
        };
        let live = live.clone();
        let bytes =
            format!("{url}\n{}\n{}", String::from_utf8_lossy(&call.body), network::header(call, "x-configuration"));
        book.say(format!("call for {id}, attempt {}", live.attempt));
        if book.delivered.contains(&id) {
            book.breaks(format!("delivery {id} is delivered and goes out again"));
        }
        if let Some(sent) = book.sent.get(&id) {
            let (same_key, same_bytes) = (sent.key == key, sent.bytes == bytes);
            let after_unknown = live.before == Some((sent.attempt, "unknown".to_owned()));
            if !same_key {
                book.breaks(format!("delivery {id} goes out again with another key"));
            } else if after_unknown && !same_bytes {
                book.breaks(format!("delivery {id} goes out again with other bytes after an unknown outcome"));
            }
        }
        book.sent.insert(id, Sent { key: key.to_owned(), bytes, attempt: live.attempt });
        let (_, record, version) = carried;
        let newest = book.newest.get(&(live.route.clone(), record)).copied().unwrap_or(0);
        if way(&live.route).stale_by && newest > version && !live.even_if_newer {
            book.breaks(format!("version {version} of record {record} goes out after version {newest} was delivered"));
        }
        let open = book.calls_open.entry(system_of(&url)).or_default();
        *open += 1;
        if *open > CONCURRENCY {
            book.breaks(format!("more than {CONCURRENCY} calls at once to {url}"));
        }
        id
    }

    /// What a call meets.
    pub(crate) fn meets(&self, id: i64, meets: Meets) {
        let mut book = self.book();
        book.say(format!("call for {id} meets {meets:?}"));
        if is_taken(meets) {
            *book.taken.entry(id).or_default() += 1;
        }
        if let Some(live) = book.live.get_mut(&id) {
            live.meets = Some(meets);
        }
    }

    /// A call is over.
    pub(crate) fn answered(&self, id: i64) {
        let mut book = self.book();
        let Some(live) = book.live.get_mut(&id) else { return };
        live.answered = true;
        let system = way(&live.route).system;
        if let Some(open) = book.calls_open.get_mut(system) {
            *open = open.saturating_sub(1);
        }
    }

    /// A verdict was stored.
    pub(crate) fn settled(&self, settle: &Settle) {
        let mut book = self.book();
        let id = settle.delivery.0;
        book.say(format!("settled {id}: {} {:?}", settle.outcome, settle.settlement));
        let Some(live) = book.live.remove(&id).filter(|live| live.lease == settle.lease.0) else {
            book.breaks(format!("delivery {id} was settled under a lease that is no longer valid"));
            return;
        };
        if let Err(why) = fits(&live, settle) {
            book.breaks(format!("delivery {id}, attempt {}, met {:?}: {why}", live.attempt, live.meets));
        }
        book.due.remove(&id);
        let system = way(&live.route).system;
        book.works.insert(system, matches!(settle.outcome, "delivered" | "refused"));
        match settle.settlement {
            Settlement::Delivered => {
                book.delivered.insert(id);
                book.brought.insert(id, (live.route, live.key.1, live.key.2));
            }
            Settlement::Waiting { due_at } => {
                book.due.insert(id, due_at);
            }
            _ => {}
        }
    }

    /// The dispatch was told that a verdict is durable.
    pub(crate) fn promised(&self, settle: &Settle) {
        let mut book = self.book();
        if settle.settlement == Settlement::Delivered {
            book.promised.insert(settle.delivery.0);
            if let Some((route, record, version)) = book.brought.remove(&settle.delivery.0) {
                let newest = book.newest.entry((route, record)).or_default();
                *newest = version.max(*newest);
            }
        }
    }

    /// A verdict is on its way to the store; the answer may be slow.
    pub(crate) fn settles(&self, settle: &Settle) {
        self.verdict(settle, None);
    }

    /// A verdict was not stored.
    pub(crate) fn unsettled(&self, settle: &Settle, now: Duration) {
        self.verdict(settle, Some(now));
    }

    /// What is told of an attempt says nothing of the one after it.
    fn verdict(&self, settle: &Settle, refused_at: Option<Duration>) {
        let mut book = self.book();
        let live = book.live.get_mut(&settle.delivery.0).filter(|live| live.lease == settle.lease.0);
        if let Some(live) = live {
            live.refused_at = refused_at;
        }
    }

    /// By notification id, the contents that are stored, oldest first.
    pub(crate) fn revisions(&self) -> BTreeMap<String, Vec<Content>> {
        self.book().revisions.clone()
    }

    /// Whether a system took, or properly refused, what it was sent last.
    pub(crate) fn works(&self, system: &str) -> bool {
        self.book().works.get(system).copied().unwrap_or(false)
    }

    /// The wall clock is seen: pauses that end by a moment end.
    pub(crate) fn expire(&self, now: Timestamp) {
        self.book().paused.retain(|_, (_, until)| until.is_none_or(|until| until > now));
    }

    /// A lease was given back.
    pub(crate) fn released(&self, id: i64) {
        let mut book = self.book();
        book.say(format!("released {id}"));
        book.live.remove(&id);
        book.due.remove(&id);
    }

    /// Leases ran out: the attempts under them are unknown, and whoever made them has no right to settle them any more.
    pub(crate) fn rescued(&self, look: &Look) {
        let all = look.deliveries();
        let mut book = self.book();
        for view in all.iter().filter(|view| view.state != State::InFlight) {
            let id = view.id;
            if book.live.remove(&id).is_some() {
                book.leases_lost += 1;
                book.say(format!("the lease of {id} ran out: it is {}", view.state));
            }
        }
        book.heard = true;
        book.tick += 1;
    }

    /// A person's change was stored.
    pub(crate) fn changed(&self, before: &Seen, all: &[Seen], change: &Change) {
        let mut book = self.book();
        let id = before.id;
        book.say(format!("{change:?} of {id}, which was {}", before.state));
        if !change.applies_to(before.state) {
            book.breaks(format!("{change:?} was done to delivery {id}, which was {}", before.state));
        }
        book.due.remove(&id);
        let Change::Replay { even_if_newer } = change else { return };
        book.replayed.insert(id, *even_if_newer);
        let is_later = |other: &&Seen| {
            other.way.route == before.way.route && other.record_id == before.record_id && other.id > before.id
        };
        let outdated = all.iter().filter(is_later).any(|other| other.state == State::Delivered);
        if outdated && !even_if_newer {
            book.breaks(format!("delivery {id} was replayed although it is outdated"));
        }
    }

    /// A person paused a system.
    pub(crate) fn paused(&self, system: &str, until: Option<Timestamp>) {
        let tick = self.tick();
        let mut book = self.book();
        book.say(format!("{system} is paused"));
        book.paused.insert(system.to_owned(), (tick, until));
    }

    pub(crate) fn resumed(&self, system: &str) {
        let mut book = self.book();
        book.say(format!("{system} is resumed"));
        book.paused.remove(system);
    }

    /// Due times were pulled back.
    pub(crate) fn pulled_back(&self, latest: Timestamp) {
        for due in self.book().due.values_mut() {
            *due = latest.min(*due);
        }
    }

    /// What must hold after every step; all deliveries. Where nothing was written since the last look, and nothing
    /// was said to be, nothing changed.
    pub(crate) fn check(&self, look: &Look, now: Duration) -> Option<Vec<Seen>> {
        {
            let mut book = self.book();
            let dropped = |live: &&Live| live.refused_at.is_some_and(|at| now.saturating_sub(at).as_secs() > 2);
            if let Some(live) = book.live.values().find(dropped) {
                let why = format!("the verdict on {:?} was refused by the store, and not tried again", live.key);
                book.breaks(why);
            }
            let heard = std::mem::take(&mut book.heard);
            let commanded = book.checked != book.tick;
            book.checked = book.tick;
            if !look.is_other().unwrap_or(commanded) && !heard {
                return None;
            }
        }
        let all = look.deliveries();
        let ledger = wait(look.store.ledger()).unwrap();
        let disagreements = wait(look.store.verify()).unwrap();
        let repaired = wait(look.store.sweep());
        let mut book = self.book();
        if !ledger.balanced {
            book.breaks(format!("the ledger does not balance: {ledger:?}"));
        }
        if !disagreements.is_empty() {
            book.breaks(format!("counters and rows disagree: {disagreements:?}"));
        }
        if repaired.as_ref().is_ok_and(|lanes| *lanes > 0) {
            book.breaks(format!("{repaired:?} lanes had blocked deliveries and no head"));
        }
        if ledger.notifications.unique != i64::try_from(book.revisions.len()).unwrap() {
            let (stored, expected) = (ledger.notifications.unique, book.revisions.len());
            book.breaks(format!("{stored} notifications are counted, and {expected} were stored"));
        }
        book.check_counters(&ledger);
        book.ledger = ledger;
        book.check_states(&all);
        book.check_lanes(&all);
        book.check_routes(&all);
        Some(all)
    }

    /// What must hold when everything had its chance.
    pub(crate) fn check_end(&self, look: &Look, now: Timestamp) {
        self.opened(look, now);
        for view in look.deliveries() {
            let id = view.id;
            let attempts = look.attempts(DeliveryId(id)).unwrap();
            let unknown = attempts.iter().filter(|(_, outcome)| outcome.as_deref() == Some("unknown")).count();
            let mut book = self.book();
            let taken = book.taken.get(&id).copied().unwrap_or(0);
            if taken as usize > unknown + 1 {
                book.breaks(format!("delivery {id} was taken {taken} times with {unknown} unknown attempts"));
            }
            match view.state {
                State::Delivered if taken == 0 => {
                    book.breaks(format!("delivery {id} is recorded as delivered, and nobody took it"));
                }
                State::Delivered | State::Superseded | State::Discarded | State::Dead => {}
                state => book.breaks(format!("delivery {id} is still {state} ({:?})", view.reason)),
            }
        }
    }
}

impl Book {
    fn say(&mut self, line: String) {
        if self.log.len() < 5_000 {
            self.log.push(line);
        }
    }

    fn breaks(&mut self, why: String) {
        self.say(format!("BROKEN: {why}"));
        self.broken.get_or_insert(why);
    }

    fn is_stored(&self, note: &Note) -> bool {
        match note.content {
            Content::Broken(_) => self.revisions.values().any(|contents| contents.contains(&note.content)),
            Content::Empty | Content::Record { .. } => self
                .revisions
                .get(&scene::notification_id(note.id))
                .is_some_and(|contents| contents.contains(&note.content)),
        }
    }

    fn check_claim(
        &mut self,
        open: &[Seen],
        (seen, attempts): (&Seen, &[Tried]),
        claim: &Claim,
        asked: u64,
        attempt: u32,
    ) {
        let id = seen.id;
        let begun = attempts.last() == Some(&(attempt, None));
        if seen.state != State::InFlight || seen.attempts != attempt || !begun {
            self.breaks(format!("attempt {attempt} of delivery {id} was begun and is not in the store"));
        }
        if self.delivered.contains(&id) {
            self.breaks(format!("delivery {id} is delivered and was claimed again"));
        }
        let allowed = ["retry", "unknown"];
        if let Some(before) = attempts.iter().rev().nth(1).and_then(|(_, outcome)| outcome.as_deref())
            && !allowed.contains(&before)
            && !self.replayed.contains_key(&id)
        {
            self.breaks(format!("delivery {id} goes out again after {before}"));
        }
        for ahead in open.iter().filter(|other| other.id < id && in_one_lane(other, seen) && !is_settled(other)) {
            let (other, state) = (ahead.id, ahead.state);
            self.breaks(format!("delivery {id} goes out, and {other} ahead in its lane is {state}"));
        }
        if let Some((since, until)) = self.paused.get(&claim.system)
            && *since < asked
            && until.is_none_or(|until| until > claim.now)
        {
            self.breaks(format!("delivery {id} was claimed, and {} is paused", claim.system));
        }
        if let Some(due) = self.due.remove(&id)
            && due > claim.now
        {
            self.breaks(format!("delivery {id} was claimed at {}, and is due at {due}", claim.now));
        }
    }

    fn check_counters(&mut self, now: &Ledger) {
        let (before, now) = (&self.ledger, now);
        let pairs = [
            (before.notifications.received, now.notifications.received),
            (before.notifications.unique, now.notifications.unique),
            (before.notifications.duplicate, now.notifications.duplicate),
            (before.notifications.revised, now.notifications.revised),
            (before.deliveries.routed, now.deliveries.routed),
            (before.deliveries.delivered, now.deliveries.delivered),
            (before.attempts.unknown, now.attempts.unknown),
        ];
        if pairs.iter().any(|(before, now)| now < before) {
            self.breaks(format!("a counter went down: {pairs:?}"));
        }
    }

    fn check_states(&mut self, all: &[Seen]) {
        for view in all {
            let id = view.id;
            if (view.state == State::Delivered) != self.delivered.contains(&id) {
                self.breaks(format!("delivery {id} is {}, and what was stored of it says otherwise", view.state));
            }
            if (view.state == State::InFlight) != self.live.contains_key(&id) {
                self.breaks(format!("delivery {id} is {}, and what was leased says otherwise", view.state));
            }
            let excused = self.replayed.contains_key(&id) || view.way.destination == "put";
            if view.attempts > 3 * ATTEMPTS_MAX && !excused && !self.patient {
                self.breaks(format!("delivery {id} has {} attempts", view.attempts));
            }
        }
    }

    fn check_lanes(&mut self, all: &[Seen]) {
        let mut lanes: BTreeMap<(&str, &str), Vec<&Seen>> = BTreeMap::new();
        for view in all.iter().filter(|view| !is_settled(view)) {
            if let Some(lane) = &view.lane {
                lanes.entry((view.way.system, lane)).or_default().push(view);
            }
        }
        for (lane, unsettled) in lanes {
            // Rows rise as contents come in. What a person replays keeps its place, whatever came since.
            let later = |one: &Seen, other: &Seen| {
                one.record_id == other.record_id
                    && one.notification_id != other.notification_id
                    && one.notification_row > other.notification_row
            };
            let pairs = unsettled
                .iter()
                .enumerate()
                .flat_map(|(place, one)| unsettled.iter().skip(place + 1).map(move |other| (one, other)));
            if let Some((one, other)) = pairs.into_iter().find(|(one, other)| later(one, other)) {
                let (one, other) = (one.id, other.id);
                self.breaks(format!(
                    "lane {lane:?}: {one} has a later state of its record than {other}, and goes out first"
                ));
            }
            let going = unsettled.iter().filter(|view| matches!(view.state, State::Waiting | State::InFlight)).count();
            let waits_behind = unsettled.iter().skip(1).any(|view| view.state == State::Waiting);
            if going > 1 || waits_behind {
                let states: Vec<_> = unsettled.iter().map(|view| (view.id, view.state)).collect();
                self.breaks(format!("lane {lane:?} is out of order: {states:?}"));
            }
        }
    }

    /// For each route that matches what a notification says last, there is one delivery with that, and one only.
    fn check_routes(&mut self, all: &[Seen]) {
        let mut counts: BTreeMap<(&str, u32, &str), u32> = BTreeMap::new();
        for view in all {
            *counts.entry((&view.notification_id, view.revision, view.way.route)).or_default() += 1;
        }
        let mut wrong = counts.iter().filter(|(_, count)| **count > 1).map(|(key, _)| format!("{key:?} twice")).next();
        for (id, contents) in &self.revisions {
            let revision = u32::try_from(contents.len()).unwrap();
            for route in contents.last().map(|content| scene::routes_of(*content)).unwrap_or_default() {
                if !counts.contains_key(&(id.as_str(), revision, route)) {
                    wrong.get_or_insert(format!("{:?} not at all", (id, revision, route)));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.breaks(format!("every matching route has one delivery of a content, but {wrong}"));
        }
    }
}

fn system_of(url: &str) -> &'static str {
    if url.contains("crm") { "crm" } else { "erp" }
}

pub(crate) fn is_taken(meets: Meets) -> bool {
    match meets {
        Meets::Answer { status, .. } => status == 200,
        Meets::Silence { taken } => taken,
        Meets::Cut | Meets::Twice => true,
        Meets::NoConnection => false,
    }
}

fn in_one_lane(one: &Seen, other: &Seen) -> bool {
    one.lane.is_some() && one.lane == other.lane && one.way.system == other.way.system
}

fn is_settled(view: &Seen) -> bool {
    match view.state {
        State::Delivered | State::Superseded | State::Discarded => true,
        // What no call could ever be made of holds no lane.
        State::Dead => !view.way.dead_holds || view.attempts == 0,
        State::Waiting | State::Blocked | State::InFlight | State::Held => false,
    }
}

/// Whether a verdict fits what the call met.
fn fits(live: &Live, settle: &Settle) -> Result<(), String> {
    let is_dead = matches!(settle.settlement, Settlement::Dead { .. });
    if let Settlement::Dead { holds_lane, .. } = &settle.settlement
        && *holds_lane != way(&live.route).dead_holds
    {
        return Err("it is dead, and its lane does what its route does not say".to_owned());
    }
    let expected = match live.meets {
        None => NOT_CALLED,
        Some(_) if !live.answered => "unknown",
        Some(Meets::Answer { status: 200, .. } | Meets::Twice) => "delivered",
        Some(Meets::Answer { status: 404 | 422, .. }) => "refused",
        Some(Meets::Answer { .. } | Meets::NoConnection) => "retry",
        Some(Meets::Silence { .. } | Meets::Cut) => "unknown",
    };
    if settle.outcome != expected {
        return Err(format!("it is settled as {}, not as {expected}", settle.outcome));
    }
    let fitting = match (expected, &settle.settlement) {
        ("delivered", settlement) => *settlement == Settlement::Delivered,
        ("refused", _) => is_dead,
        ("retry", Settlement::Waiting { .. }) => true,
        ("retry", _) => is_dead && live.attempt >= ATTEMPTS_MAX,
        ("unknown", Settlement::Held { .. }) => live.route == "newest",
        ("unknown", Settlement::Waiting { .. }) => live.route != "newest",
        ("unknown", _) => is_dead && live.attempt >= ATTEMPTS_MAX && live.route != "newest",
        (_, settlement) => !matches!(settlement, Settlement::Delivered),
    };
    if !fitting {
        return Err(format!("{expected} is followed by {:?}", settle.settlement));
    }
    if let (Some(Meets::Answer { retry_after: Some(seconds), .. }), Settlement::Waiting { due_at }) =
        (live.meets, &settle.settlement)
    {
        let asked_ms = i64::try_from(seconds * 1_000).unwrap().min(WAIT_MAX_MS);
        // The wall clock may be set between the verdict and its settlement.
        let waits_ms = due_at.0 - settle.ended_at.0;
        if waits_ms < asked_ms && waits_ms > asked_ms - 3_600_000 {
            return Err(format!("it was asked to wait {seconds} s and waits {waits_ms} ms"));
        }
    }
    Ok(())
}

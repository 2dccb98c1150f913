//! Whether, and how fast, a system may be called. Pure: moments come in, decisions go out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::breaker::{Breaker, Call, Sign};
use super::{Rate, Remembered, System};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::mutation::{self, Mutation};
use crate::store::{PROBE_AFTER, Pace, Pause, SystemState};
use crate::why::Shut;

/// Why a system is paused that the configuration pauses.
const BY_CONFIGURATION: &str = "paused in the configuration";

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) monotonic: Duration,
}

/// What stands between deliveries and their system.
pub(super) struct Gate {
    settings: System,
    paused: Option<Pause>,
    /// A person resumed it since the configuration began to pause it.
    is_resumed: bool,
    breaker: Breaker,
    /// Something is on its way to find out whether the system works again.
    probing: bool,
    /// The deliveries that are: what others bring home that were under way before says nothing of it.
    probes: HashSet<DeliveryId>,
    lockouts: Lockouts,
    bucket: Option<Bucket>,
    /// Since when the system is being warmed up after an outage.
    warm_since: Option<Duration>,
    /// How long the system was open for calls, over its whole life.
    active: Duration,
    /// The plan in force does not have the system.
    is_aside: bool,
    /// Until when `active` is counted, and whether it goes on from there.
    counted_until: Duration,
    counting: bool,
}

/// Deliveries whose credentials were refused while those of others were taken: the fault is theirs, not the system's.
#[derive(Default)]
struct Lockouts {
    /// How often each was, with others taken before it.
    alone: HashMap<DeliveryId, u32>,
    /// Whether another was taken since the last pause.
    others_taken: bool,
    last: Option<DeliveryId>,
}

impl Lockouts {
    /// More are not remembered.
    const MAX: usize = 1_000;

    fn taken(&mut self, delivery: DeliveryId) {
        self.alone.remove(&delivery);
        self.others_taken |= self.last.is_some_and(|last| last != delivery);
    }

    fn refused(&mut self, delivery: DeliveryId) {
        let alone = std::mem::take(&mut self.others_taken) && self.last == Some(delivery);
        self.last = Some(delivery);
        if alone {
            if self.alone.len() >= Self::MAX {
                self.alone.clear();
            }
            *self.alone.entry(delivery).or_default() += 1;
        }
    }
}

/// A token bucket with little burst: a rate holds over any second, not just on average.
struct Bucket {
    per_call: Duration,
    burst: u32,
    /// Monotonic: when the next call would be on time.
    next: Duration,
}

impl Bucket {
    /// Unless the burst is said, a twentieth of a second's calls may go at once, so that timers of a millisecond do not
    /// lower the rate.
    fn new(rate: Rate, burst: Option<u32>) -> Self {
        let per_call = rate.per / rate.calls.max(1);
        let usual = (Duration::from_millis(50).as_nanos() / per_call.as_nanos().max(1)).clamp(1, 1_000);
        Self { per_call, burst: burst.unwrap_or(u32::try_from(usual).unwrap_or(1)).max(1), next: Duration::ZERO }
    }

    /// As calls before a restart left it. What lies further ahead than calls at once put it was written before the clock was
    /// set back.
    fn resumed(mut self, next_call: Option<Timestamp>, now: Moment) -> Self {
        if let Some(next) = next_call {
            let ahead = next.since(now.wall);
            let most = self.per_call * self.burst.saturating_mul(2).saturating_add(1);
            let behind = now.wall.since(next);
            self.next = if ahead > most { now.monotonic } else { (now.monotonic + ahead).saturating_sub(behind) };
        }
        self
    }

    fn next(&self, now: Duration) -> Duration {
        let earliest = now.saturating_sub(self.per_call * self.burst.saturating_sub(1));
        self.next.max(earliest)
    }

    /// How many calls may go now, at most `wanted`; or how long to wait for one.
    fn ready(&self, now: Duration, wanted: usize) -> Result<usize, Duration> {
        let next = self.next(now);
        if next > now {
            return Err(next - now);
        }
        let ready = 1 + (now - next).as_nanos() / self.per_call.as_nanos().max(1);
        Ok(usize::try_from(ready).unwrap_or(usize::MAX).min(wanted))
    }

    fn take(&mut self, now: Duration, calls: usize) {
        self.next = self.next(now) + self.per_call * u32::try_from(calls).unwrap_or(u32::MAX);
    }
}

impl Gate {
    /// As the store remembers the system.
    pub(super) fn new(settings: &System, remembered: impl Into<Remembered>, now: Moment) -> Self {
        let Remembered { state, was_resumed } = remembered.into();
        let by_configuration = || Pause::new(BY_CONFIGURATION, now.wall);
        // A pause whose time ran out while the gateway was down is over, and that of the configuration once it does not say so
        // any more.
        let standing = state.paused.filter(|pause| {
            pause.until.is_none_or(|until| until > now.wall) && (settings.paused || pause.reason != BY_CONFIGURATION)
        });
        let paused = standing.or_else(|| (settings.paused && !was_resumed).then(by_configuration));
        let mut gate = Self {
            paused,
            is_resumed: was_resumed,
            breaker: Breaker::new(settings.breaker.clone(), state.breaker),
            probing: false,
            probes: HashSet::new(),
            lockouts: Lockouts::default(),
            bucket: settings.rate.map(|rate| Bucket::new(rate, settings.burst).resumed(state.next_call, now)),
            warm_since: None,
            active: Duration::from_millis(u64::try_from(state.active_ms).unwrap_or(0)),
            counted_until: now.monotonic,
            counting: false,
            is_aside: false,
            settings: settings.clone(),
        };
        gate.count(now);
        gate
    }

    /// Other settings from now on; whether what the store keeps of the system changed. What a person did, an outage and the
    /// time that was counted stay. A pause of the configuration begins when the configuration begins to say so, and ends
    /// when it does not say so any more: whoever resumed it meanwhile is not overruled.
    pub(super) fn reconfigure(&mut self, settings: &System, now: Moment) -> bool {
        self.count(now);
        let before = (self.paused.clone(), self.breaker.outage().cloned());
        let was = std::mem::replace(&mut self.settings, settings.clone());
        let was_aside = std::mem::take(&mut self.is_aside);
        if (was.rate, was.burst) != (settings.rate, settings.burst) {
            let next = self.bucket.take().map_or(Duration::ZERO, |bucket| bucket.next);
            self.bucket = settings.rate.map(|rate| Bucket::new(rate, settings.burst));
            if let Some(bucket) = &mut self.bucket {
                // What was sent counts, but a slow rate of before holds up no more than one call of the new one.
                bucket.next = next.min(now.monotonic + bucket.per_call);
            }
        }
        self.breaker.reconfigure(settings.breaker.clone(), now.wall);
        // What no plan had was paused by none: whichever has it now begins to say so.
        if settings.paused && (was_aside || !was.paused) {
            self.is_resumed = false;
            self.paused.get_or_insert_with(|| Pause::new(BY_CONFIGURATION, now.wall));
        } else if !settings.paused && self.paused.as_ref().is_some_and(|pause| pause.reason == BY_CONFIGURATION) {
            self.open(now);
        }
        self.count(now);
        was_aside || before != (self.paused.clone(), self.breaker.outage().cloned())
    }

    /// No plan has the system any more: no time counts until one does.
    pub(super) fn set_aside(&mut self, now: Moment) {
        self.count(now);
        self.is_aside = true;
        self.count(now);
    }

    /// How many calls may begin now with so many free slots; or why none. Marks a probe.
    pub(super) fn admit(&mut self, free: usize, now: Moment) -> Result<usize, Shut> {
        self.count(now);
        let calls = self.look(free, now)?;
        self.probing |= self.paused.is_some() || self.breaker.outage().is_some();
        Ok(calls)
    }

    /// What [`Gate::admit`] would say.
    pub(super) fn look(&self, free: usize, now: Moment) -> Result<usize, Shut> {
        let probe = self.probe(now)?;
        if free == 0 {
            return Err(Shut::Full { concurrency: self.settings.concurrency });
        }
        let wanted = match (probe, &self.paused) {
            (false, _) => self.warm(free, now)?,
            (true, Some(_)) => 1,
            (true, None) => self.breaker.width().min(free),
        };
        match &self.bucket {
            None => Ok(wanted),
            Some(bucket) => bucket.ready(now.monotonic, wanted).map_err(|wait| Shut::Rate { wait }),
        }
    }

    /// Why the system does not go on as it should: why no call may begin now; or what stands against it still where one may,
    /// and none is due that finds out whether it works again.
    pub(super) fn standing(&self, free: usize, now: Moment) -> Option<Shut> {
        let shut = self.look(free, now).err();
        if shut.as_ref().is_some_and(Shut::is_outage) {
            return shut;
        }
        let paused = self.paused.clone().map(Shut::Paused);
        paused.or_else(|| self.breaker.outage().cloned().map(Shut::Untried)).or(shut)
    }

    /// Whether it is of no use to look whether anything is due: asked for every envelope, so nothing is worked out.
    pub(super) fn is_shut(&self, now: Moment) -> bool {
        self.paused.as_ref().is_some_and(|pause| pause.probe_at.is_none_or(|at| at > now.wall))
            || self.breaker.outage().is_some_and(|outage| outage.probe_at > now.wall)
            || !self.is_open(now)
    }

    fn is_open(&self, now: Moment) -> bool {
        self.settings.calendar.as_ref().is_none_or(|calendar| calendar.is_open(now.wall))
    }

    /// Whether the next call is one that finds out whether the system works again.
    fn probe(&self, now: Moment) -> Result<bool, Shut> {
        let paused = self.paused.as_ref().filter(|_| !mutation::active(Mutation::PauseIgnored));
        if let Some(pause) = paused
            && (self.probing || pause.probe_at.is_none_or(|at| at > now.wall))
        {
            return Err(Shut::Paused(pause.clone()));
        }
        if let Some(calendar) = &self.settings.calendar
            && !self.is_open(now)
        {
            return Err(Shut::Closed { opens: calendar.opens(now.wall) });
        }
        match self.breaker.outage() {
            Some(outage) if self.probing || outage.probe_at > now.wall => Err(Shut::Broken(outage.clone())),
            outage => Ok(outage.is_some() || paused.is_some()),
        }
    }

    /// After an outage the calls at once grow evenly from one to all.
    fn warm(&self, free: usize, now: Moment) -> Result<usize, Shut> {
        let (Some(since), Some(warm_up)) = (self.warm_since, self.settings.warm_up) else { return Ok(free) };
        let passed = now.monotonic.saturating_sub(since).as_secs_f64() / warm_up.as_secs_f64();
        if passed >= 1.0 {
            return Ok(free);
        }
        let share = Duration::from_secs(self.settings.concurrency as u64).mul_f64(passed.max(0.0)).as_secs();
        let allowed = usize::try_from(share).unwrap_or(usize::MAX).max(1);
        let under_way = self.settings.concurrency.saturating_sub(free);
        match allowed.saturating_sub(under_way) {
            0 => {
                let next = warm_up.mul_f64((allowed + 1) as f64 / self.settings.concurrency.max(1) as f64);
                let wait = (since + next).saturating_sub(now.monotonic).max(Duration::from_millis(1));
                Err(Shut::Warming { calls: allowed, wait })
            }
            calls => Ok(calls.min(free)),
        }
    }

    /// Whether a delivery is on its way to find out whether the system works again.
    pub(super) fn is_probing(&self) -> bool {
        self.probing
    }

    /// The rate, as other gateways must keep it too.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.bucket.as_ref().map(|bucket| Pace { per_call: bucket.per_call, burst: bucket.burst })
    }

    /// Takes over what another gateway made of the system.
    pub(super) fn adopt(&mut self, state: &SystemState, now: Moment) {
        let was_shut = self.paused.is_some() || self.breaker.outage().is_some();
        self.is_resumed |= self.paused.is_some() && state.paused.is_none();
        self.paused.clone_from(&state.paused);
        self.breaker.adopt(state.breaker.as_ref());
        if was_shut && self.paused.is_none() && self.breaker.outage().is_none() {
            self.warm_since = Some(now.monotonic);
        }
        self.count(now);
    }

    /// Another gateway may have counted more open time: ages are those of the system, whoever calls it.
    pub(super) fn raise_active(&mut self, active_ms: i64, now: Moment) {
        self.count(now);
        self.active = self.active.max(Duration::from_millis(u64::try_from(active_ms).unwrap_or(0)));
    }

    /// So many calls begin.
    pub(super) fn begin(&mut self, calls: usize, now: Moment) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now.monotonic, calls);
        }
    }

    /// These are on their way; if they are to find out whether the system works again, what they meet decides.
    pub(super) fn sent(&mut self, deliveries: impl Iterator<Item = DeliveryId>) {
        if self.probing {
            self.probes.extend(deliveries);
        }
    }

    /// Whether the probe goes to the delivery that fell due last. In turns with the one that waits longest, so that
    /// however many there are that fail by themselves, one that does not is tried soon.
    pub(super) fn probes_newest(&self) -> bool {
        self.probing && self.breaker.probes_newest()
    }

    /// A probe that found nothing to send is over.
    pub(super) fn no_probe(&mut self) {
        self.probing = false;
    }

    /// No call was made for a delivery: if it was a probe, that is over.
    pub(super) fn no_call(&mut self, delivery: DeliveryId) {
        if self.probes.remove(&delivery) {
            self.probing = false;
        }
    }

    /// How often a delivery met refused credentials while others before it did not.
    pub(super) fn lockouts_alone(&self, delivery: DeliveryId) -> u32 {
        self.lockouts.alone.get(&delivery).copied().unwrap_or(0)
    }

    /// A call came back. Whether what the store keeps of the system changed.
    pub(super) fn hear(&mut self, sign: &Sign, answered: bool, delivery: DeliveryId, now: Moment) -> bool {
        let probing = self.probes.remove(&delivery);
        if probing {
            self.probing = false;
        }
        if *sign == Sign::Works {
            self.lockouts.taken(delivery);
        }
        let was_broken = self.breaker.outage().is_some();
        let turned = self.breaker.hear(&Call { sign, delivery, probing, now: now.wall });
        if was_broken && self.breaker.outage().is_none() {
            self.warm_since = Some(now.monotonic);
        }
        let changed = match &mut self.paused {
            Some(_) if probing && answered => {
                self.open(now);
                true
            }
            // A probe that got no answer says nothing of the credentials.
            Some(Pause { probe_at: Some(at), .. }) if probing => {
                *at = now.wall.plus(PROBE_AFTER);
                true
            }
            Some(_) | None => false,
        };
        self.count(now);
        turned || changed
    }

    /// What a delivery met pauses the system.
    pub(super) fn pause_for(&mut self, delivery: DeliveryId, pause: Pause, now: Moment) {
        // What was under way with it meets the same and says nothing new.
        if self.paused.is_none() || self.probes.contains(&delivery) {
            self.lockouts.refused(delivery);
        }
        self.pause(pause, now);
    }

    /// The system is not called any more. A person's pause is not softened by what calls under way bring home.
    pub(super) fn pause(&mut self, pause: Pause, now: Moment) {
        self.probing = false;
        self.probes.clear();
        if self.paused.as_ref().is_none_or(|standing| standing.probe_at.is_some()) {
            let since = self.paused.as_ref().map_or(pause.since, |standing| standing.since);
            self.paused = Some(Pause { since, ..pause });
        }
        self.count(now);
    }

    /// A person pauses it, whatever was before.
    pub(super) fn pause_by_person(&mut self, pause: Pause, now: Moment) {
        self.paused = None;
        self.pause(pause, now);
    }

    /// A person resumes it: no pause, no outage.
    pub(super) fn resume(&mut self, now: Moment) {
        self.probing = false;
        self.probes.clear();
        self.breaker.reset();
        self.is_resumed = true;
        self.open(now);
        self.count(now);
    }

    /// No probe of an outage is put off for longer.
    pub(super) fn probe_within(&self) -> Duration {
        self.settings.breaker.as_ref().map_or(Duration::MAX, |settings| settings.wait_max)
    }

    /// Ends a pause whose time is over, and sees to the clocks; whether a pause ended.
    pub(super) fn pass_time(&mut self, now: Moment) -> bool {
        self.breaker.bring_near(now.wall);
        let mut over = false;
        if let Some(pause) = &mut self.paused {
            // A wall clock that was set back must not put the probe off.
            pause.probe_at = pause.probe_at.map(|at| at.min(now.wall.plus(pause.probe_within(at))));
            over = pause.until.is_some_and(|until| until <= now.wall);
        }
        if over && self.settings.paused && !self.is_resumed {
            self.paused = Some(Pause::new(BY_CONFIGURATION, now.wall));
        } else if over {
            self.open(now);
        }
        self.count(now);
        over
    }

    fn open(&mut self, now: Moment) {
        self.paused = None;
        self.warm_since = Some(now.monotonic);
    }

    /// What the store keeps.
    pub(super) fn state(&self, now: Moment) -> SystemState {
        SystemState {
            active_ms: self.active_ms(now.monotonic),
            paused: self.paused.clone(),
            breaker: self.breaker.outage().cloned(),
            next_call: None,
        }
    }

    /// How long the system has been open for calls, over its whole life.
    pub(super) fn active_ms(&self, monotonic: Duration) -> i64 {
        i64::try_from(self.active(monotonic).as_millis()).unwrap_or(i64::MAX)
    }

    fn active(&self, monotonic: Duration) -> Duration {
        let since = if self.counting { monotonic.saturating_sub(self.counted_until) } else { Duration::ZERO };
        self.active.saturating_add(since)
    }

    /// Counts open time up to now, and whether it goes on: ages stand still while nothing may be sent.
    fn count(&mut self, now: Moment) {
        self.active = self.active(now.monotonic);
        self.counted_until = now.monotonic;
        let is_shut = self.is_aside || self.paused.is_some() || self.breaker.outage().is_some();
        self.counting = !is_shut && self.is_open(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::breaker::Settings;
    use crate::store::Outage;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn system() -> System {
        System {
            concurrency: 8,
            rate: None,
            burst: None,
            calendar: None,
            breaker: Some(Settings { failures: 2, ..Settings::default() }),
            warm_up: None,
            paused: false,
            wait_max: Duration::from_secs(600),
        }
    }

    /// So long after some moment on a Thursday at noon.
    fn after(time: Duration) -> Moment {
        Moment { wall: Timestamp(1_779_969_600_000).plus(time), monotonic: MINUTE + time }
    }

    fn gate(settings: &System) -> Gate {
        Gate::new(settings, SystemState::default(), after(Duration::ZERO))
    }

    fn fails() -> Sign {
        Sign::Fails { reason: "HTTP 503".to_owned(), itself: false }
    }

    fn broken(settings: &System) -> Gate {
        let mut gate = gate(settings);
        assert!(!gate.hear(&fails(), true, DeliveryId(1), after(Duration::ZERO)));
        assert!(gate.hear(&fails(), true, DeliveryId(2), after(Duration::ZERO)));
        gate
    }

    #[test]
    fn an_open_gate_lets_as_many_calls_begin_as_there_are_free_slots() {
        let mut gate = gate(&system());
        assert_eq!(gate.admit(5, after(SECOND)), Ok(5));
        assert_eq!(gate.admit(0, after(SECOND)), Err(Shut::Full { concurrency: 8 }));
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through_and_what_that_one_meets_decides() {
        let mut gate = broken(&system());
        assert!(matches!(gate.admit(8, after(SECOND)), Err(Shut::Broken(_))));
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        assert!(matches!(gate.admit(7, after(5 * SECOND)), Err(Shut::Broken(_))), "only one");
        gate.sent([DeliveryId(3)].into_iter());
        assert!(gate.hear(&fails(), false, DeliveryId(3), after(6 * SECOND)));
        assert!(matches!(gate.admit(8, after(15 * SECOND)), Err(Shut::Broken(_))), "twice as long");
        assert_eq!(gate.admit(8, after(16 * SECOND)), Ok(1));
        let itself = Sign::Fails { reason: "HTTP 500".to_owned(), itself: true };
        gate.sent([DeliveryId(4)].into_iter());
        assert!(gate.hear(&itself, true, DeliveryId(4), after(16 * SECOND)));
        assert_eq!(gate.admit(8, after(21 * SECOND)), Ok(2), "it answers itself: two are tried, and sooner");
        assert!(gate.hear(&Sign::Works, true, DeliveryId(3), after(17 * SECOND)));
        assert_eq!(gate.admit(8, after(17 * SECOND)), Ok(8));
    }

    #[test]
    fn a_probe_that_finds_nothing_to_send_leaves_the_next_one_free() {
        let mut gate = broken(&system());
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        gate.no_probe();
        assert_eq!(gate.admit(8, after(6 * SECOND)), Ok(1));
    }

    #[test]
    fn what_another_gateway_made_of_the_system_holds_here_too() {
        let mut here = gate(&System { warm_up: Some(MINUTE), ..system() });
        let there = broken(&system()).state(after(SECOND));
        here.adopt(&there, after(SECOND));
        assert!(matches!(here.admit(8, after(2 * SECOND)), Err(Shut::Broken(_))));
        assert_eq!(here.admit(8, after(5 * SECOND)), Ok(1), "its probe is this one's too");
        assert!(here.is_probing());
        here.adopt(&SystemState::default(), after(6 * SECOND));
        assert_eq!(here.admit(8, after(6 * SECOND)), Ok(1), "and it is warmed up here too");
        here.raise_active(3_600_000, after(7 * SECOND));
        assert_eq!(here.active_ms(after(8 * SECOND).monotonic), 3_601_000);
        here.raise_active(5, after(8 * SECOND));
        assert_eq!(here.active_ms(after(8 * SECOND).monotonic), 3_601_000, "open time never goes back");
    }

    #[test]
    fn other_settings_leave_a_persons_pause_an_outage_and_a_running_probe_as_they_are() {
        let mut gate = broken(&system());
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        let settings = System { concurrency: 2, rate: Some(Rate { calls: 1, per: SECOND }), ..system() };
        assert!(!gate.reconfigure(&settings, after(6 * SECOND)));
        assert!(matches!(gate.admit(2, after(6 * SECOND)), Err(Shut::Broken(_))), "its probe is still under way");
        assert!(gate.hear(&Sign::Works, true, DeliveryId(3), after(7 * SECOND)));
        let pause = Pause::new("closing", after(7 * SECOND).wall);
        gate.pause_by_person(pause.clone(), after(7 * SECOND));
        assert!(!gate.reconfigure(&System { paused: true, ..settings.clone() }, after(8 * SECOND)));
        assert!(!gate.reconfigure(&settings, after(9 * SECOND)));
        assert_eq!(gate.admit(2, after(MINUTE)), Err(Shut::Paused(pause)));
        gate.resume(after(MINUTE));
        assert_eq!(gate.admit(2, after(MINUTE)), Ok(1), "as the rate says");
    }

    #[test]
    fn without_a_breaker_any_more_an_outage_is_over() {
        let mut gate = broken(&system());
        assert!(gate.reconfigure(&System { breaker: None, ..system() }, after(SECOND)));
        assert_eq!(gate.admit(8, after(SECOND)), Ok(8));
    }

    #[test]
    fn a_pause_of_the_configuration_comes_and_goes_with_it_and_overrules_nobody() {
        let paused = System { paused: true, ..system() };
        let mut gate = gate(&system());
        assert!(gate.reconfigure(&paused, after(SECOND)));
        assert!(matches!(gate.admit(8, after(SECOND)), Err(Shut::Paused(_))));
        assert!(gate.reconfigure(&system(), after(2 * SECOND)));
        assert_eq!(gate.admit(8, after(2 * SECOND)), Ok(8));
        assert!(gate.reconfigure(&paused, after(3 * SECOND)));
        gate.resume(after(4 * SECOND));
        assert!(!gate.reconfigure(&paused, after(5 * SECOND)));
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(8), "a person resumed it");
    }

    #[test]
    fn another_rate_counts_at_once_and_a_slow_one_of_before_holds_nothing_up() {
        let rate = |calls, per| System { rate: Some(Rate { calls, per }), ..system() };
        let mut gate = gate(&rate(1, 60 * MINUTE));
        gate.begin(1, after(Duration::ZERO));
        assert!(matches!(gate.admit(8, after(SECOND)), Err(Shut::Rate { .. })));
        gate.reconfigure(&rate(2, SECOND), after(SECOND));
        assert!(matches!(gate.admit(8, after(SECOND)), Err(Shut::Rate { .. })));
        assert_eq!(gate.admit(8, after(2 * SECOND)), Ok(1));
        gate.reconfigure(&system(), after(2 * SECOND));
        assert_eq!(gate.admit(8, after(2 * SECOND)), Ok(8));
    }

    #[test]
    fn a_system_that_no_plan_has_does_not_age() {
        let mut gate = gate(&system());
        gate.set_aside(after(SECOND));
        assert_eq!(gate.active_ms(after(MINUTE).monotonic), 1_000);
        assert!(gate.reconfigure(&system(), after(MINUTE)));
        assert_eq!(gate.active_ms(after(MINUTE + SECOND).monotonic), 2_000);
    }

    #[test]
    fn an_open_breaker_stands_until_a_call_goes_well_also_when_none_is_due_that_could() {
        let mut gate = broken(&system());
        assert!(matches!(gate.standing(8, after(SECOND)), Some(Shut::Broken(_))));
        let late = after(60 * MINUTE);
        assert_eq!(gate.look(8, late), Ok(1), "one may go");
        let standing = gate.standing(8, late).unwrap();
        assert!(matches!(standing, Shut::Untried(_)), "{standing:?}");
        assert!(standing.to_string().contains("HTTP 503; the next call that is due tries it"), "{standing}");
        assert_eq!(gate.admit(8, late), Ok(1));
        gate.sent([DeliveryId(3)].into_iter());
        assert!(matches!(gate.standing(7, late), Some(Shut::Broken(_))), "it is being tried");
        assert!(gate.hear(&Sign::Works, true, DeliveryId(3), late));
        assert_eq!(gate.standing(8, late), None);
    }

    #[test]
    fn an_outage_survives_a_restart() {
        let state = broken(&system()).state(after(SECOND));
        let mut gate = Gate::new(&system(), state, after(2 * SECOND));
        assert!(matches!(gate.admit(8, after(2 * SECOND)), Err(Shut::Broken(Outage { trips: 1, .. }))));
    }

    #[test]
    fn a_pause_by_a_person_ends_by_its_moment_or_by_a_person_and_by_nothing_else() {
        let mut gate = gate(&system());
        let pause = Pause { until: Some(after(MINUTE).wall), ..Pause::new("closing", after(Duration::ZERO).wall) };
        gate.pause_by_person(pause.clone(), after(Duration::ZERO));
        let credentials = Pause { probe_at: Some(after(SECOND).wall), ..Pause::new("401", after(SECOND).wall) };
        gate.pause(credentials, after(SECOND));
        assert!(!gate.hear(&Sign::Works, true, DeliveryId(1), after(SECOND)));
        assert_eq!(gate.admit(8, after(59 * SECOND)), Err(Shut::Paused(pause.clone())));
        assert!(gate.pass_time(after(MINUTE)));
        assert_eq!(gate.admit(8, after(MINUTE)), Ok(8));
        gate.pause_by_person(pause, after(MINUTE));
        gate.resume(after(MINUTE));
        assert_eq!(gate.admit(8, after(MINUTE)), Ok(8));
    }

    #[test]
    fn only_a_configuration_that_begins_to_say_so_pauses_what_a_person_resumed() {
        let paused = System { paused: true, ..system() };
        let before = |was_resumed: bool| Remembered { state: SystemState::default(), was_resumed };
        assert_eq!(Gate::new(&paused, before(true), after(MINUTE)).admit(8, after(MINUTE)), Ok(8));
        assert!(Gate::new(&paused, before(false), after(MINUTE)).admit(8, after(MINUTE)).is_err());
        let by_person =
            SystemState { paused: Some(Pause::new("closing", after(Duration::ZERO).wall)), ..SystemState::default() };
        let remembered = Remembered { state: by_person, was_resumed: true };
        assert!(Gate::new(&paused, remembered.clone(), after(MINUTE)).admit(8, after(MINUTE)).is_err());
        assert!(Gate::new(&system(), remembered, after(MINUTE)).admit(8, after(MINUTE)).is_err());
        let kept = Gate::new(&paused, before(false), after(MINUTE)).state(after(MINUTE));
        let remembered = Remembered { state: kept, was_resumed: true };
        assert!(Gate::new(&paused, remembered.clone(), after(MINUTE)).admit(8, after(MINUTE)).is_err());
        assert_eq!(Gate::new(&system(), remembered, after(MINUTE)).admit(8, after(MINUTE)), Ok(8));
    }

    #[test]
    fn a_pause_for_a_while_gives_way_to_that_of_the_configuration_unless_a_person_resumed_it() {
        let paused = System { paused: true, ..system() };
        for is_resumed in [false, true] {
            let mut gate = Gate::new(&paused, SystemState::default(), after(Duration::ZERO));
            if is_resumed {
                gate.resume(after(SECOND));
            }
            let until = Some(after(MINUTE).wall);
            let pause = Pause { until, ..Pause::new("closing", after(SECOND).wall) };
            gate.pause_by_person(pause.clone(), after(SECOND));
            assert!(gate.pass_time(after(2 * MINUTE)));
            assert_eq!(gate.admit(8, after(2 * MINUTE)).is_ok(), is_resumed);
            // The same where its end was met by a start.
            let state = SystemState { paused: Some(pause), ..SystemState::default() };
            let remembered = Remembered { state, was_resumed: is_resumed };
            let mut gate = Gate::new(&paused, remembered, after(2 * MINUTE));
            assert_eq!(gate.admit(8, after(2 * MINUTE)).is_ok(), is_resumed);
        }
    }

    #[test]
    fn a_system_that_no_plan_had_meanwhile_is_paused_anew() {
        let paused = System { paused: true, ..system() };
        let mut gate = Gate::new(&paused, SystemState::default(), after(Duration::ZERO));
        gate.resume(after(SECOND));
        gate.reconfigure(&paused, after(SECOND));
        assert!(gate.admit(8, after(SECOND)).is_ok(), "nothing began");
        gate.set_aside(after(SECOND));
        assert!(gate.reconfigure(&paused, after(MINUTE)));
        assert!(gate.admit(8, after(MINUTE)).is_err());
        assert!(gate.reconfigure(&system(), after(MINUTE)));
        assert!(gate.admit(8, after(MINUTE)).is_ok());
    }

    #[test]
    fn a_pause_that_ran_out_while_the_gateway_was_down_leaves_that_of_the_configuration() {
        let pause = Pause { until: Some(after(SECOND).wall), ..Pause::new("closing", after(Duration::ZERO).wall) };
        let state = SystemState { paused: Some(pause), ..SystemState::default() };
        let mut configured = Gate::new(&System { paused: true, ..system() }, state.clone(), after(MINUTE));
        let Err(Shut::Paused(pause)) = configured.admit(8, after(MINUTE)) else { panic!("it is open") };
        assert_eq!(pause.reason, "paused in the configuration");
        assert_eq!(Gate::new(&system(), state, after(MINUTE)).admit(8, after(MINUTE)), Ok(8));
    }

    #[test]
    fn refused_credentials_are_probed_and_any_answer_to_the_probe_resumes() {
        let mut gate = gate(&system());
        let pause = Pause { probe_at: Some(after(MINUTE).wall), ..Pause::new("401", after(SECOND).wall) };
        gate.pause(pause, after(SECOND));
        assert!(matches!(gate.admit(8, after(2 * SECOND)), Err(Shut::Paused(_))));
        assert_eq!(gate.admit(8, after(MINUTE)), Ok(1));
        gate.sent([DeliveryId(1)].into_iter());
        assert!(gate.hear(&Sign::Nothing, false, DeliveryId(1), after(MINUTE)));
        assert!(matches!(gate.admit(8, after(2 * MINUTE)), Err(Shut::Paused(_))), "no answer: in five minutes again");
        assert_eq!(gate.admit(8, after(6 * MINUTE)), Ok(1));
        gate.sent([DeliveryId(1)].into_iter());
        assert!(gate.hear(&Sign::Nothing, true, DeliveryId(1), after(6 * MINUTE)));
        assert_eq!(gate.admit(8, after(6 * MINUTE)), Ok(8));
    }

    #[test]
    fn only_what_the_probe_itself_meets_counts_as_its_answer() {
        let mut gate = broken(&system());
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        gate.sent([DeliveryId(3)].into_iter());
        assert!(!gate.hear(&fails(), true, DeliveryId(1), after(6 * SECOND)), "a call that was under way before");
        let Err(Shut::Broken(outage)) = gate.admit(8, after(6 * SECOND)) else { panic!("no second probe") };
        assert_eq!(outage.trips, 1);
        gate.resume(after(6 * SECOND));
        let pause = Pause { probe_at: Some(after(MINUTE).wall), ..Pause::new("401", after(SECOND).wall) };
        gate.pause_for(DeliveryId(4), pause, after(7 * SECOND));
        assert_eq!(gate.admit(8, after(MINUTE)), Ok(1));
        gate.sent([DeliveryId(4)].into_iter());
        assert!(!gate.hear(&Sign::Works, true, DeliveryId(5), after(MINUTE)), "sent before the credentials changed");
        assert!(matches!(gate.admit(8, after(MINUTE)), Err(Shut::Paused(_))));
        gate.no_call(DeliveryId(6));
        assert!(matches!(gate.admit(8, after(MINUTE)), Err(Shut::Paused(_))), "the probe is still under way");
        gate.no_call(DeliveryId(4));
        assert_eq!(gate.admit(8, after(MINUTE)), Ok(1));
    }

    #[test]
    fn a_probe_that_is_told_to_go_slower_leaves_it_open_for_another_while() {
        let mut gate = broken(&system());
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        gate.sent([DeliveryId(3)].into_iter());
        assert!(gate.hear(&Sign::Nothing, true, DeliveryId(3), after(5 * SECOND)));
        assert!(matches!(gate.admit(8, after(9 * SECOND)), Err(Shut::Broken(Outage { trips: 1, .. }))));
        assert_eq!(gate.admit(8, after(10 * SECOND)), Ok(1));
        assert!(gate.probes_newest(), "the next one goes to what fell due last");
    }

    #[test]
    fn a_delivery_whose_credentials_alone_are_refused_is_known_by_it() {
        let mut gate = gate(&system());
        let pause = || Pause { probe_at: Some(after(SECOND).wall), ..Pause::new("401", after(SECOND).wall) };
        for (round, alone) in [(1, 0), (2, 1), (3, 2)] {
            gate.resume(after(round * SECOND));
            gate.hear(&Sign::Works, true, DeliveryId(100), after(round * SECOND));
            gate.pause_for(DeliveryId(1), pause(), after(round * SECOND));
            gate.pause_for(DeliveryId(2), pause(), after(round * SECOND));
            assert_eq!(gate.lockouts_alone(DeliveryId(1)), alone, "{round}");
            assert_eq!(gate.lockouts_alone(DeliveryId(2)), 0, "it was under way with the first");
        }
        gate.resume(after(4 * SECOND));
        gate.pause_for(DeliveryId(1), pause(), after(4 * SECOND));
        assert_eq!(gate.lockouts_alone(DeliveryId(1)), 2, "nobody was taken in between: the system itself refuses");
        gate.resume(after(5 * SECOND));
        gate.hear(&Sign::Works, true, DeliveryId(1), after(5 * SECOND));
        assert_eq!(gate.lockouts_alone(DeliveryId(1)), 0, "and it is forgotten when it is taken");
    }

    #[test]
    fn outside_its_hours_not_even_a_probe_goes() {
        let hours = ["daily 12:00-12:10".parse().unwrap()];
        let calendar = super::super::calendar::Calendar::new(jiff::tz::TimeZone::UTC, &hours, Vec::new()).unwrap();
        let mut gate = broken(&System { calendar: Some(calendar), ..system() });
        let opens = after(Duration::from_secs(86_400)).wall;
        assert_eq!(gate.admit(8, after(10 * MINUTE)), Err(Shut::Closed { opens: Some(opens) }));
        assert_eq!(gate.admit(8, after(Duration::from_secs(86_400))), Ok(1), "and then it is the probe");
    }

    #[test]
    fn after_an_outage_the_calls_at_once_grow_back_to_all() {
        let mut gate = broken(&System { warm_up: Some(MINUTE), ..system() });
        assert_eq!(gate.admit(8, after(5 * SECOND)), Ok(1));
        assert!(gate.hear(&Sign::Works, true, DeliveryId(1), after(10 * SECOND)));
        assert_eq!(gate.admit(8, after(10 * SECOND)), Ok(1));
        assert_eq!(gate.admit(7, after(11 * SECOND)), Err(Shut::Warming { calls: 1, wait: 14 * SECOND }));
        assert_eq!(gate.admit(7, after(40 * SECOND)), Ok(3), "half of the time, half of the eight, one under way");
        assert_eq!(gate.admit(8, after(70 * SECOND)), Ok(8));
    }

    #[test]
    fn open_time_stands_still_while_paused_broken_or_closed() {
        let hours = ["daily 12:00-13:00".parse().unwrap()];
        let calendar = super::super::calendar::Calendar::new(jiff::tz::TimeZone::UTC, &hours, Vec::new()).unwrap();
        let mut gate = gate(&System { calendar: Some(calendar), ..system() });
        let pause = Pause::new("closing", after(MINUTE).wall);
        gate.pause_by_person(pause, after(MINUTE));
        assert_eq!(gate.active_ms(after(10 * MINUTE).monotonic), 60_000);
        gate.resume(after(10 * MINUTE));
        gate.hear(&fails(), true, DeliveryId(1), after(11 * MINUTE));
        gate.hear(&fails(), true, DeliveryId(2), after(11 * MINUTE));
        assert_eq!(gate.active_ms(after(20 * MINUTE).monotonic), 120_000);
        gate.resume(after(20 * MINUTE));
        let _ = gate.admit(8, after(60 * MINUTE));
        assert_eq!(gate.active_ms(after(90 * MINUTE).monotonic), 2_520_000, "after 13:00 it is closed");
    }

    #[test]
    fn open_time_is_counted_to_the_microsecond_however_often_it_is_looked_at() {
        let mut gate = gate(&system());
        for step in 1..=10_000_u32 {
            let _ = gate.admit(8, after(Duration::from_micros(100) * step));
        }
        assert_eq!(gate.active_ms(after(SECOND).monotonic), 1_000);
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rate_holds_behind_it() {
        let rate = Some(Rate { calls: 60, per: MINUTE });
        let mut gate = gate(&System { rate, burst: Some(5), ..system() });
        assert_eq!(gate.admit(8, after(SECOND)), Ok(5));
        gate.begin(5, after(SECOND));
        assert_eq!(gate.admit(8, after(SECOND)), Err(Shut::Rate { wait: SECOND }));
        assert_eq!(gate.admit(8, after(2 * SECOND)), Ok(1));
    }

    #[test]
    fn a_restart_gives_no_call_away_and_a_clock_that_was_set_back_holds_none_up() {
        let settings = System { rate: Some(Rate { calls: 60, per: MINUTE }), burst: Some(3), ..system() };
        let start = after(MINUTE);
        let resumed = |next_call| Gate::new(&settings, SystemState { next_call, ..SystemState::default() }, start);
        let wait = |next_call| resumed(next_call).admit(8, start);
        assert_eq!(wait(None), Ok(3));
        assert_eq!(wait(Some(start.wall.plus(SECOND))), Err(Shut::Rate { wait: SECOND }));
        assert_eq!(wait(Some(start.wall)), Ok(1));
        assert_eq!(wait(Some(Timestamp(start.wall.0 - 1_000))), Ok(2));
        assert_eq!(wait(Some(Timestamp(start.wall.0 - 3_600_000))), Ok(3));
        assert_eq!(wait(Some(start.wall.plus(8 * SECOND))), Ok(1), "no call puts the next so far off");
    }

    #[test]
    fn a_rate_holds_over_any_second() {
        let mut bucket = Bucket::new(Rate { calls: 20, per: Duration::from_secs(1) }, None);
        let mut begun = Vec::new();
        for ms in 0..3_000_u64 {
            let now = Duration::from_secs(100) + Duration::from_millis(ms);
            if let Ok(calls) = bucket.ready(now, 8) {
                bucket.take(now, calls);
                begun.extend(std::iter::repeat_n(ms, calls));
            }
        }
        assert!((58..=61).contains(&begun.len()), "{}", begun.len());
        for window in begun.windows(22) {
            assert!(window[21] - window[0] >= 1_000, "{window:?}");
        }
    }

    #[test]
    fn a_high_rate_is_reached_with_coarse_timers() {
        let mut bucket = Bucket::new(Rate { calls: 1_000, per: Duration::from_secs(1) }, None);
        let mut begun = 0;
        for step in 0..500_u64 {
            let now = Duration::from_secs(1) + Duration::from_millis(2 * step);
            if let Ok(calls) = bucket.ready(now, 100) {
                bucket.take(now, calls);
                begun += calls;
            }
        }
        assert!((950..=1_060).contains(&begun), "{begun}");
    }
}

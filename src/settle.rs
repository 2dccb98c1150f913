//! Outcome + policy + now → verdict. Pure.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::mutation::{self, Mutation};
use crate::outcome::{Follow, Judgement, Outcome};
use crate::store::{DECIDED, PROBE_AFTER, Pause, Settlement};

/// How a route's deliveries to a destination are retried.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The wait after the first attempt.
    pub first: Duration,
    /// Each wait is the one before times this.
    pub factor: f64,
    /// No wait is longer (before jitter), and no Retry-After counts beyond it.
    pub wait_max: Duration,
    /// Dead after this many attempts; none: no limit.
    pub attempts_max: Option<u32>,
    /// Dead when this old, counted from the first attempt while the system is open; but never before 3 attempts.
    pub age_max: Duration,
    /// What follows an unknown outcome.
    pub unknown: OnUnknown,
    /// What happens behind a dead letter.
    pub on_dead: OnDead,
}

/// What follows an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// The same bytes go out again with the same idempotency key.
    #[default]
    Resend,
    /// The target is asked whether it arrived; if not, as [`OnUnknown::Resend`].
    Probe,
    /// A person decides.
    Hold,
}

/// What happens behind a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// The lane goes on.
    #[default]
    Continue,
    /// The lane stops until the dead letter is replayed or discarded.
    Hold,
}

/// What is known of the delivery when its attempt ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The number of the attempt that just ended, from 1.
    pub attempt: u32,
    /// How many of the attempts before met refused credentials, or had none: they count against no limit.
    pub excused: u32,
    /// How often its credentials were refused while others, before and after, were taken.
    pub lockouts_alone: u32,
    /// Since the first attempt, counted while the system was open.
    pub age: Duration,
    /// The fault before this one and how often in a row it came.
    pub repeat: Option<(String, u32)>,
    /// Now.
    pub now: Timestamp,
    /// In 0..1; spreads the waits, which only ever grow by it.
    pub jitter: f64,
}

impl Facts {
    /// The attempts that count against the delivery's limits, the one that just ended included.
    fn counted(&self) -> u32 {
        self.attempt.saturating_sub(self.excused).max(1)
    }
}

/// What is to be stored and done.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The delivery's new state.
    pub settlement: Settlement,
    /// Set when the whole system is to be paused.
    pub pause: Option<Pause>,
}

/// A delivery never dies of age before this many attempts.
const ATTEMPTS_BEFORE_AGE: u32 = 3;
/// The same fault with a detail so often in a row is no passing trouble.
const REPEATS_MAX: u32 = 12;
/// In the place of a fault that came: nobody issued the credentials.
const UNTRIED: &str = "untried";
/// Waits grow by up to this part, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// A delivery whose credentials were refused so often while others were taken is no reason any more to stop the system.
const LOCKOUTS_ALONE_MAX: u32 = 2;

/// Decides: as a rule of the destination has it, else by the outcome.
#[must_use]
pub fn verdict(judgement: &Judgement, facts: &Facts, policy: &Policy) -> Verdict {
    let reason = judgement.outcome.reason();
    match judgement.follow {
        None => by_outcome(&judgement.outcome, facts, policy),
        Some(Follow::Retry(None)) => only(again(reason, None, facts, policy)),
        Some(Follow::Retry(Some(after))) => {
            let settlement = again(reason, None, facts, policy);
            let gives_up = !matches!(settlement, Settlement::Waiting { .. });
            only(if gives_up { settlement } else { Settlement::Waiting { due_at: facts.now.plus(after) } })
        }
        Some(Follow::Dead) => only(dead(format!("given up: {reason}"), policy)),
        Some(Follow::Hold) => only(Settlement::Held { reason: reason.to_owned() }),
        Some(Follow::Pause(after)) => locked_out(reason, after.unwrap_or(PROBE_AFTER), facts, policy),
    }
}

fn by_outcome(outcome: &Outcome, facts: &Facts, policy: &Policy) -> Verdict {
    match outcome {
        Outcome::Delivered => only(Settlement::Delivered),
        Outcome::Refused { reason } => only(dead(format!("refused: {reason}"), policy)),
        Outcome::Retry { reason, after, repeat_key } => only(match repeats(repeat_key.as_deref(), facts) {
            count if count >= REPEATS_MAX => {
                let often = format!("the same fault came {count} times in a row");
                dead(format!("gave up, {often}, {}: {reason}", effort(facts)), policy)
            }
            _ => again(reason, *after, facts, policy),
        }),
        Outcome::Unauthorized { reason } => locked_out(reason, PROBE_AFTER, facts, policy),
        // No limit ends what was not tried; the waits grow as they would, had it been.
        Outcome::Untried { .. } => {
            let in_a_row = Facts { attempt: repeats(Some(UNTRIED), facts), excused: 0, ..facts.clone() };
            only(Settlement::Waiting { due_at: facts.now.plus(wait(None, &in_a_row, policy)) })
        }
        Outcome::Unknown { reason } => only(match policy.unknown {
            OnUnknown::Resend => again(reason, None, facts, policy),
            // It may have arrived with the last attempt: that is looked up before anything is given up.
            OnUnknown::Probe => Settlement::Waiting { due_at: facts.now.plus(wait(None, facts, policy)) },
            OnUnknown::Hold => held(reason),
        }),
    }
}

fn held(reason: &str) -> Settlement {
    Settlement::Held { reason: format!("it is unknown whether it was taken: {reason}") }
}

/// The verdict on a delivery that was to be sent again after an unknown outcome, and whose destination has a person decide
/// by now: no call is made. None where it goes on, or where it was decided already.
#[must_use]
pub fn undecided(reason: &str, facts: &Facts, policy: &Policy) -> Option<Verdict> {
    (policy.unknown == OnUnknown::Hold && !is_decided(facts)).then(|| only(held(reason)))
}

fn is_decided(facts: &Facts) -> bool {
    facts.repeat.as_ref().is_some_and(|(key, _)| key == DECIDED)
}

/// What a delivery remembers of an attempt in place of a fault that may come again, where there is something.
#[must_use]
pub fn remembered(judgement: &Judgement, verdict: &Verdict, facts: &Facts, policy: &Policy) -> Option<String> {
    let goes_on = matches!(verdict.settlement, Settlement::Waiting { .. });
    // An attempt that came to nothing takes nothing back of what a person decided.
    if goes_on && is_decided(facts) {
        return Some(DECIDED.to_owned());
    }
    match &judgement.outcome {
        Outcome::Retry { repeat_key, .. } => repeat_key.clone(),
        Outcome::Untried { .. } => Some(UNTRIED.to_owned()),
        // A rule says so, although the destination would have a person decide.
        Outcome::Unknown { .. } if goes_on && policy.unknown == OnUnknown::Hold => Some(DECIDED.to_owned()),
        Outcome::Unknown { .. } | Outcome::Delivered | Outcome::Refused { .. } | Outcome::Unauthorized { .. } => None,
    }
}

/// The verdict on a delivery of which a look-up could not say whether it arrived: it is looked up again, the later the
/// older it is.
#[must_use]
pub fn look_again(facts: &Facts, policy: &Policy) -> Verdict {
    let wait = (facts.age / 4).clamp(policy.first, policy.wait_max.max(policy.first));
    only(Settlement::Waiting { due_at: facts.now.plus(wait) })
}

/// The verdict on a delivery that did not arrive, as was looked up, and for which no attempt is left; none when one is.
/// `facts` are those of the attempt that would be made.
#[must_use]
pub fn exhausted(facts: &Facts, policy: &Policy) -> Option<Verdict> {
    let made = Facts { attempt: facts.attempt.saturating_sub(1), ..facts.clone() };
    let settlement = again("it did not arrive, as was looked up", None, &made, policy);
    (!matches!(settlement, Settlement::Waiting { .. })).then(|| only(settlement))
}

/// The verdict on a delivery of which no call can be made.
#[must_use]
pub fn unmappable(reason: &str, policy: &Policy) -> Verdict {
    only(dead(format!("no call can be made: {reason}"), policy))
}

fn only(settlement: Settlement) -> Verdict {
    Verdict { settlement, pause: None }
}

fn dead(reason: String, policy: &Policy) -> Settlement {
    Settlement::Dead { reason, holds_lane: policy.on_dead == OnDead::Hold }
}

/// Again later, unless a limit is reached.
fn again(reason: &str, after: Option<Duration>, facts: &Facts, policy: &Policy) -> Settlement {
    let counted = facts.counted();
    if policy.attempts_max.is_some_and(|max| counted >= max) {
        return dead(format!("gave up {}, the most that max_attempts allows: {reason}", effort(facts)), policy);
    }
    if counted >= ATTEMPTS_BEFORE_AGE && facts.age >= policy.age_max {
        return dead(format!("gave up {}, longer than max_age allows: {reason}", effort(facts)), policy);
    }
    Settlement::Waiting { due_at: facts.now.plus(wait(after, facts, policy)) }
}

/// The wait before the next attempt: exponential, or what the destination asked for if that is longer; never more than
/// the longest wait; then spread upwards.
fn wait(after: Option<Duration>, facts: &Facts, policy: &Policy) -> Duration {
    let longest = policy.wait_max.as_secs_f64();
    let factor = if policy.factor.is_finite() { policy.factor.max(1.0) } else { 1.0 };
    let exponent = i32::try_from(facts.counted().saturating_sub(1)).unwrap_or(i32::MAX);
    // NaN (a first wait of nothing, times infinity) is no wait: f64::min would take the other side.
    let grown = policy.first.as_secs_f64() * factor.powi(exponent);
    let grown = if grown.is_nan() { 0.0 } else { grown };
    let after = after.filter(|_| !mutation::active(Mutation::RetryAfterIgnored));
    let asked = after.unwrap_or_default().as_secs_f64();
    let jitter = if facts.jitter.is_finite() { facts.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let seconds = grown.max(asked).min(longest) * (1.0 + JITTER * jitter);
    Duration::try_from_secs_f64(seconds).unwrap_or(policy.wait_max)
}

/// Credentials were refused: no fault of this delivery, so no limit kills it. The pause holds it back until the system
/// is probed; when a person resumes earlier, it must not sit out the rest and hold up its lane.
///
/// Save when it is this delivery alone, again and again: then a person must look at it, and the others go on.
fn locked_out(reason: &str, probe_after: Duration, facts: &Facts, policy: &Policy) -> Verdict {
    if facts.lockouts_alone >= LOCKOUTS_ALONE_MAX {
        let often = facts.lockouts_alone.saturating_add(1);
        let reason = format!("it stopped its system {often} times while others were taken in between: {reason}");
        return only(Settlement::Held { reason });
    }
    let probe_at = facts.now.plus(probe_after);
    let first = Facts { attempt: 1, excused: 0, ..facts.clone() };
    Verdict {
        settlement: Settlement::Waiting { due_at: facts.now.plus(wait(None, &first, policy).min(probe_after)) },
        pause: Some(Pause { probe_at: Some(probe_at), ..Pause::new(reason, facts.now) }),
    }
}

/// How often in a row this fault has come, this time included; 0 when it is none that counts.
fn repeats(key: Option<&str>, facts: &Facts) -> u32 {
    match (key, &facts.repeat) {
        (None, _) => 0,
        (Some(key), Some((before, count))) if before == key => count.saturating_add(1),
        (Some(_), _) => 1,
    }
}

/// What was done for a delivery, by what counts.
fn effort(facts: &Facts) -> String {
    let counted = facts.counted();
    let attempts = if counted == 1 { "attempt" } else { "attempts" };
    let excused = match facts.excused {
        0 => String::new(),
        excused => format!(" (and {excused} before that do not count)"),
    };
    format!("after {counted} {attempts}{excused} in {}", span(facts.age))
}

/// A span of time in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{} ms", time.as_millis()),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, _, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn policy() -> Policy {
        Policy {
            first: Duration::from_secs(1),
            factor: 2.0,
            wait_max: Duration::from_secs(600),
            attempts_max: None,
            age_max: 72 * HOUR,
            unknown: OnUnknown::Resend,
            on_dead: OnDead::Continue,
        }
    }

    fn facts(attempt: u32) -> Facts {
        Facts {
            attempt,
            excused: 0,
            lockouts_alone: 0,
            age: Duration::from_secs(90),
            repeat: None,
            now: Timestamp(1_000_000),
            jitter: 0.0,
        }
    }

    fn retry(after: Option<u64>) -> Outcome {
        Outcome::Retry { reason: "answered 503".to_owned(), after: after.map(Duration::from_secs), repeat_key: None }
    }

    fn same_fault() -> Outcome {
        Outcome::Retry { reason: "fault".to_owned(), after: None, repeat_key: Some("k".to_owned()) }
    }

    fn unknown() -> Outcome {
        Outcome::Unknown { reason: "cut".to_owned() }
    }

    /// The wait in milliseconds; none when it does not wait.
    fn waits(verdict: &Verdict) -> Option<i64> {
        let Settlement::Waiting { due_at } = verdict.settlement else { return None };
        Some(due_at.0 - 1_000_000)
    }

    fn dies(verdict: &Verdict) -> Option<&str> {
        let Settlement::Dead { reason, .. } = &verdict.settlement else { return None };
        Some(reason)
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_retry_after_counts_when_it_is_longer() {
        for (attempt, after, expected) in [
            (1, None, 1_000),
            (2, None, 2_000),
            (5, None, 16_000),
            (10, None, 512_000),
            (11, None, 600_000),
            (u32::MAX, None, 600_000),
            (1, Some(30), 30_000),
            (6, Some(30), 32_000),
            (1, Some(0), 1_000),
            (1, Some(86_400), 600_000),
            (1, Some(u64::MAX), 600_000),
        ] {
            assert_eq!(
                waits(&by_outcome(&retry(after), &facts(attempt), &policy())),
                Some(expected),
                "{attempt} {after:?}"
            );
        }
    }

    #[test]
    fn a_delivery_that_alone_meets_refused_credentials_is_held_at_the_third_time() {
        let refused = Outcome::Unauthorized { reason: "HTTP 401".to_owned() };
        for (lockouts_alone, holds) in [(0, false), (1, false), (2, true)] {
            let verdict = by_outcome(&refused, &Facts { lockouts_alone, ..facts(1) }, &policy());
            assert_eq!(verdict.pause.is_none(), holds);
            assert_eq!(matches!(verdict.settlement, Settlement::Held { .. }), holds, "{verdict:?}");
        }
    }

    #[test]
    fn what_may_have_arrived_is_looked_up_before_a_limit_ends_it() {
        let policy = Policy { unknown: OnUnknown::Probe, attempts_max: Some(1), ..policy() };
        assert!(matches!(by_outcome(&unknown(), &facts(1), &policy).settlement, Settlement::Waiting { .. }));
        assert!(matches!(look_again(&facts(2), &policy).settlement, Settlement::Waiting { .. }));
        let gone = exhausted(&facts(2), &policy).unwrap();
        assert_eq!(
            dies(&gone),
            Some(
                "gave up after 1 attempt in 1 min 30 s, the most that max_attempts allows: it did not arrive, as was looked up"
            )
        );
        assert_eq!(exhausted(&facts(2), &Policy { attempts_max: Some(2), ..policy }), None);
    }

    #[test]
    fn jitter_only_adds_at_most_a_fifth() {
        for (jitter, expected) in [(0.0, 1_000), (0.5, 1_100), (1.0, 1_200), (f64::NAN, 1_000), (9.0, 1_200)] {
            let facts = Facts { jitter, ..facts(1) };
            assert_eq!(waits(&by_outcome(&retry(None), &facts, &policy())), Some(expected), "{jitter}");
        }
    }

    #[test]
    fn a_policy_without_sense_still_waits_within_its_bounds() {
        for (first, factor, attempt, expected) in [
            (0, f64::INFINITY, 9, 0),
            (0, 2.0, u32::MAX, 0),
            (1, f64::NAN, 9, 1_000),
            (1, 0.1, 9, 1_000),
            (1, -3.0, 4, 1_000),
        ] {
            let policy = Policy { first: Duration::from_secs(first), factor, ..policy() };
            assert_eq!(waits(&by_outcome(&retry(None), &facts(attempt), &policy)), Some(expected), "{first} {factor}");
        }
    }

    #[test]
    fn a_delivered_one_is_delivered_and_a_refused_one_is_dead_at_once() {
        assert_eq!(by_outcome(&Outcome::Delivered, &facts(1), &policy()).settlement, Settlement::Delivered);
        let refused = Outcome::Refused { reason: "answered 404 Not Found".to_owned() };
        assert_eq!(dies(&by_outcome(&refused, &facts(1), &policy())), Some("refused: answered 404 Not Found"));
        for (on_dead, holds_lane) in [(OnDead::Continue, false), (OnDead::Hold, true)] {
            let policy = Policy { on_dead, ..policy() };
            let reason = "no call can be made: Order.Total: is none".to_owned();
            let expected = Settlement::Dead { reason, holds_lane };
            assert_eq!(unmappable("Order.Total: is none", &policy).settlement, expected);
        }
    }

    #[test]
    fn attempts_and_age_end_in_a_dead_letter_that_says_why() {
        let limited = Policy { attempts_max: Some(2), ..policy() };
        assert!(waits(&by_outcome(&retry(None), &facts(1), &limited)).is_some());
        assert_eq!(
            dies(&by_outcome(&retry(None), &facts(2), &limited)),
            Some("gave up after 2 attempts in 1 min 30 s, the most that max_attempts allows: answered 503")
        );
        assert!(dies(&by_outcome(&unknown(), &facts(2), &limited)).is_some());
        let old = |attempt| Facts { age: 72 * HOUR, ..facts(attempt) };
        assert!(waits(&by_outcome(&retry(None), &old(2), &policy())).is_some(), "never before three attempts");
        assert_eq!(
            dies(&by_outcome(&retry(None), &old(3), &policy())),
            Some("gave up after 3 attempts in 3 d 0 h, longer than max_age allows: answered 503")
        );
        let young = Facts { age: 72 * HOUR - Duration::from_millis(1), ..facts(900) };
        assert!(waits(&by_outcome(&retry(None), &young, &policy())).is_some(), "no limit of attempts");
    }

    #[test]
    fn the_same_fault_with_a_detail_kills_at_the_twelfth_time_in_a_row() {
        for (before, dead) in [
            (None, false),
            (Some(("k", 10)), false),
            (Some(("k", 11)), true),
            (Some(("k", u32::MAX)), true),
            (Some(("other", 500)), false),
        ] {
            let facts = Facts { repeat: before.map(|(key, count)| (key.to_owned(), count)), ..facts(40) };
            assert_eq!(dies(&by_outcome(&same_fault(), &facts, &policy())).is_some(), dead, "{before:?}");
            assert!(waits(&by_outcome(&retry(None), &facts, &policy())).is_some(), "without a detail it goes on");
        }
    }

    #[test]
    fn refused_credentials_pause_the_system_and_kill_nothing() {
        let outcome = Outcome::Unauthorized { reason: "answered 401".to_owned() };
        let strict = Policy { attempts_max: Some(1), age_max: Duration::ZERO, ..policy() };
        let old = Facts { age: 900 * HOUR, ..facts(50) };
        let verdict = by_outcome(&outcome, &old, &strict);
        assert_eq!(waits(&verdict), Some(1_000), "not after the probe, and soon when a person resumes the system");
        let slow = Policy { first: HOUR, wait_max: HOUR, ..strict };
        assert_eq!(waits(&by_outcome(&outcome, &old, &slow)), Some(300_000));
        let pause = Pause {
            until: None,
            reason: "answered 401".to_owned(),
            since: Timestamp(1_000_000),
            probe_at: Some(Timestamp(1_300_000)),
        };
        assert_eq!(verdict.pause, Some(pause));
    }

    #[test]
    fn what_nobody_issued_credentials_for_waits_as_long_as_if_it_were_tried_and_never_dies() {
        let outcome = Outcome::Untried { reason: "no token".to_owned() };
        let strict = Policy { attempts_max: Some(1), age_max: Duration::ZERO, ..policy() };
        for (before, expected) in
            [(None, 1_000), (Some(("k", 4)), 1_000), (Some((UNTRIED, 1)), 2_000), (Some((UNTRIED, 90)), 600_000)]
        {
            let repeat = before.map(|(key, count)| (key.to_owned(), count));
            let facts = Facts { repeat, excused: 89, age: 900 * HOUR, ..facts(90) };
            let verdict = by_outcome(&outcome, &facts, &strict);
            assert_eq!((waits(&verdict), &verdict.pause), (Some(expected), &None), "{before:?}");
        }
        let judgement = Judgement::from(outcome);
        let verdict = verdict(&judgement, &facts(1), &policy());
        assert_eq!(remembered(&judgement, &verdict, &facts(1), &policy()).as_deref(), Some(UNTRIED));
    }

    #[test]
    fn what_waits_to_be_sent_again_is_held_where_its_destination_says_so_by_now_unless_it_was_decided() {
        let hold = Policy { unknown: OnUnknown::Hold, ..policy() };
        let held = Settlement::Held { reason: "it is unknown whether it was taken: cut".to_owned() };
        assert_eq!(undecided("cut", &facts(2), &hold).unwrap().settlement, held);
        assert_eq!(undecided("cut", &facts(2), &policy()), None);
        let decided = Facts { repeat: Some((DECIDED.to_owned(), 0)), ..facts(2) };
        assert_eq!(undecided("cut", &decided, &hold), None);
        // What comes to nothing then changes nothing of that.
        let judgement = Judgement::from(retry(None));
        let again = verdict(&judgement, &decided, &hold);
        assert_eq!(remembered(&judgement, &again, &decided, &hold).as_deref(), Some(DECIDED));
        assert_eq!(remembered(&judgement, &again, &facts(2), &hold), None);
        // A rule that has it go on decides, too.
        for (follow, policy, expected) in [
            (Some(Follow::Retry(None)), &hold, Some(DECIDED)),
            (None, &hold, None),
            (Some(Follow::Retry(None)), &policy(), None),
        ] {
            let judgement = Judgement { outcome: unknown(), follow, rule: Some(1) };
            let verdict = verdict(&judgement, &facts(1), policy);
            assert_eq!(remembered(&judgement, &verdict, &facts(1), policy).as_deref(), expected, "{judgement:?}");
        }
    }

    #[test]
    fn what_a_rule_says_follows_in_place_of_what_the_outcome_would_lead_to() {
        let minute = Duration::from_secs(60);
        let judged = |outcome: Outcome, follow| Judgement { outcome, follow: Some(follow), rule: Some(1) };
        let unknown = || Outcome::Unknown { reason: "cut".to_owned() };
        let refused = || Outcome::Refused { reason: "answered 409".to_owned() };
        let of = |judgement| verdict(&judgement, &facts(1), &policy());
        assert_eq!(waits(&of(judged(unknown(), Follow::Retry(None)))), Some(1_000));
        assert_eq!(waits(&of(judged(retry(None), Follow::Retry(Some(minute))))), Some(60_000));
        let dead = of(judged(unknown(), Follow::Dead)).settlement;
        assert_eq!(dead, Settlement::Dead { reason: "given up: cut".to_owned(), holds_lane: false });
        let held = of(judged(refused(), Follow::Hold)).settlement;
        assert_eq!(held, Settlement::Held { reason: "answered 409".to_owned() });
        let paused = of(judged(retry(None), Follow::Pause(Some(minute))));
        assert_eq!(paused.pause.unwrap().probe_at, Some(facts(1).now.plus(minute)));
        assert!(matches!(paused.settlement, Settlement::Waiting { .. }));
        let last = Policy { attempts_max: Some(1), ..policy() };
        let judgement = judged(retry(None), Follow::Retry(Some(minute)));
        let given_up = verdict(&judgement, &facts(1), &last).settlement;
        assert!(matches!(given_up, Settlement::Dead { .. }), "a rule does not lift a limit");
    }

    #[test]
    fn attempts_that_met_refused_credentials_count_against_no_limit() {
        let limited = Policy { attempts_max: Some(2), ..policy() };
        let facts = |attempt| Facts { excused: 5, ..facts(attempt) };
        assert_eq!(waits(&by_outcome(&retry(None), &facts(6), &limited)), Some(1_000), "the first that counts");
        let reason = "gave up after 2 attempts (and 5 before that do not count) in 1 min 30 s, \
                      the most that max_attempts allows: answered 503";
        assert_eq!(dies(&by_outcome(&retry(None), &facts(7), &limited)), Some(reason));
        let old = |attempt| Facts { age: 72 * HOUR, ..facts(attempt) };
        assert!(
            waits(&by_outcome(&retry(None), &old(7), &policy())).is_some(),
            "never before three attempts that count"
        );
        assert!(dies(&by_outcome(&retry(None), &old(8), &policy())).is_some());
    }

    #[test]
    fn what_found_the_credentials_refused_is_due_soon_after_a_person_resumes() {
        let outcome = Outcome::Unauthorized { reason: "answered 401".to_owned() };
        assert_eq!(waits(&by_outcome(&outcome, &facts(1), &policy())), Some(1_000));
    }

    #[test]
    fn an_unknown_one_goes_out_again_or_waits_for_a_person() {
        assert_eq!(waits(&by_outcome(&unknown(), &facts(1), &policy())), Some(1_000));
        let hold = Policy { unknown: OnUnknown::Hold, attempts_max: Some(1), ..policy() };
        let expected = Settlement::Held { reason: "it is unknown whether it was taken: cut".to_owned() };
        assert_eq!(by_outcome(&unknown(), &facts(1), &hold).settlement, expected);
    }

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        for (milliseconds, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (3_600_000, "1 h 0 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), expected);
        }
    }

    proptest! {
        #[test]
        fn what_waits_is_due_after_now_and_within_the_longest_wait_and_a_fifth(
            attempt in 1_u32..,
            first in 0_u64..10_000_000,
            factor in any::<f64>(),
            wait_max in 0_u64..10_000_000,
            after in proptest::option::of(any::<u64>()),
            jitter in any::<f64>(),
            now in 0_i64..10_000_000_000_000,
        ) {
            let policy = Policy {
                first: Duration::from_millis(first),
                factor,
                wait_max: Duration::from_millis(wait_max),
                age_max: Duration::MAX,
                ..policy()
            };
            let facts = Facts { jitter, now: Timestamp(now), ..facts(attempt) };
            for outcome in [retry(after), unknown(), Outcome::Unauthorized { reason: String::new() }] {
                let Settlement::Waiting { due_at } = by_outcome(&outcome, &facts, &policy).settlement else {
                    return Err(TestCaseError::fail("it does not wait"));
                };
                let latest = now + i64::try_from(wait_max + wait_max / 5 + 1).unwrap();
                prop_assert!((now..=latest).contains(&due_at.0));
            }
        }

        #[test]
        fn a_later_attempt_never_waits_less(attempt in 1_u32..5_000, factor in 1.0..10.0_f64, jitter in 0.0..1.0_f64) {
            let policy = Policy { factor, ..policy() };
            let wait = |attempt| waits(&by_outcome(&retry(None), &Facts { jitter, ..facts(attempt) }, &policy));
            prop_assert!(wait(attempt) <= wait(attempt + 1));
        }
    }
}

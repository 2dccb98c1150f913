//! Why a delivery is not under way: one answer, the same in the API, the page and the command line. Pure.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};
use crate::store::{DeliveryView, Outage, Pause};

/// Why a system is not called now.
#[derive(Clone, Debug, PartialEq)]
pub enum Shut {
    /// It is paused: by a person, by the configuration, or because it refused our credentials.
    Paused(Pause),
    /// Its calendar says that it is closed.
    Closed {
        /// When it opens; none when that is over a year away.
        opens: Option<Timestamp>,
    },
    /// Too much failed: its circuit breaker is open.
    Broken(Outage),
    /// Its circuit breaker is open, and it may be tried again; so the next call does, once one is due.
    Untried(Outage),
    /// As many calls as it allows are under way.
    Full {
        /// How many.
        concurrency: usize,
    },
    /// It is being warmed up after an outage, and as many calls as that allows are under way.
    Warming {
        /// How many.
        calls: usize,
        /// How long until one more may go.
        wait: Duration,
    },
    /// Its rate allows no call yet.
    Rate {
        /// For so long.
        wait: Duration,
    },
}

impl Shut {
    /// How long to wait before it is looked at again, if time alone may change it. A moment that has passed changes
    /// nothing any more: the probe is under way, and its end is what is waited for.
    #[must_use]
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let until = |at: Option<Timestamp>| at.filter(|at| *at > now).map(|at| at.since(now));
        match self {
            Self::Paused(pause) => [until(pause.probe_at), until(pause.until)].into_iter().flatten().min(),
            Self::Closed { opens } => until(*opens),
            Self::Broken(outage) => until(Some(outage.probe_at)),
            Self::Rate { wait } | Self::Warming { wait, .. } => Some(*wait),
            Self::Untried(_) | Self::Full { .. } => None,
        }
    }

    /// The same with what is said of its reason.
    #[must_use]
    pub fn with_reason(self, said: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Paused(pause) => Self::Paused(Pause { reason: said(&pause.reason), ..pause }),
            Self::Broken(outage) => Self::Broken(Outage { reason: said(&outage.reason), ..outage }),
            Self::Untried(outage) => Self::Untried(Outage { reason: said(&outage.reason), ..outage }),
            other @ (Self::Closed { .. } | Self::Full { .. } | Self::Warming { .. } | Self::Rate { .. }) => other,
        }
    }

    /// Whether it concerns whoever waits, due or not.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Paused(_) | Self::Closed { .. } | Self::Broken(_) | Self::Untried(_))
    }
}

/// Why a delivery is not under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The store cannot write, so nothing is sent: what cannot be recorded would be sent twice.
    Store {
        /// Why not.
        reason: String,
    },
    /// The gateway is stopping.
    Stopping,
    /// Its route is not in the configuration.
    NoRoute {
        /// The route's name.
        route: String,
    },
    /// Its destination is not in the configuration.
    NoDestination {
        /// The destination's name.
        destination: String,
    },
    /// Its route or destination belongs to another system now.
    Moved {
        /// The system that it was made for.
        system: String,
        /// The other.
        to: String,
    },
    /// Its system is not called now.
    System {
        /// The system's name.
        system: String,
        /// Why not.
        shut: Shut,
    },
    /// An attempt came to nothing; the next is due later.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Attempts so far.
        attempts: u32,
        /// What the last one came to.
        reason: String,
    },
    /// Due, and about to be called.
    Due,
    /// Another of its lane is ahead.
    Behind {
        /// The first of the lane.
        head: DeliveryId,
        /// How that one stands.
        state: Option<State>,
        /// Why that one waits, as far as it does.
        because: Option<Box<Self>>,
    },
    /// The delivery that it comes after is not delivered yet.
    After {
        /// That one.
        lead: DeliveryId,
        /// How that one stands, where it is known.
        state: Option<State>,
        /// Why that one waits, as far as it does.
        because: Option<Box<Self>>,
    },
    /// A person stopped it, or must decide.
    Held {
        /// In words.
        reason: String,
    },
}

/// The delivery that another waits for, if it does: the first of its lane, or as that first itself the one it comes after.
#[must_use]
pub fn waits_for(delivery: &DeliveryView) -> Option<DeliveryId> {
    let head = delivery.lane_head.or(delivery.behind);
    head.or(delivery.links.after).filter(|_| delivery.state == State::Blocked)
}

/// What is around a delivery.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Why the store cannot write, if so.
    pub store_failing: Option<String>,
    /// Whether the gateway is stopping.
    pub is_stopping: bool,
    /// Whether the configuration has its route.
    pub has_route: bool,
    /// Whether the configuration has its destination.
    pub has_destination: bool,
    /// The system that its route or destination belongs to now, when that is another.
    pub moved_to: Option<String>,
    /// Why its system is not called now, if so.
    pub shut: Option<Shut>,
    /// The delivery that it waits for and why that one waits, where it is known.
    pub first: Option<(DeliveryView, Option<Why>)>,
    /// The present moment.
    pub now: Timestamp,
}

/// Why a delivery is not under way; none when it is, or when it is settled.
#[must_use]
pub fn why(delivery: &DeliveryView, around: &Surroundings) -> Option<Why> {
    let reason = || delivery.reason.clone().unwrap_or_default();
    match delivery.state {
        State::InFlight | State::Delivered | State::Dead | State::Superseded | State::Discarded => None,
        State::Held => Some(Why::Held { reason: reason() }),
        State::Blocked => Some(blocked(delivery, around)),
        State::Waiting => Some(waiting(delivery, around)),
    }
}

fn blocked(delivery: &DeliveryView, around: &Surroundings) -> Why {
    let first = waits_for(delivery).unwrap_or(delivery.delivery_id);
    // What is known of another one, which was the first a moment ago, says nothing of this one.
    let known = around.first.as_ref().filter(|(known, _)| known.delivery_id == first);
    let state = known.map(|(known, _)| known.state);
    let because = known.and_then(|(_, because)| because.clone()).map(Box::new);
    match (delivery.lane_head.or(delivery.behind), delivery.links.after) {
        // As the first of its lane.
        (None, Some(lead)) => Why::After { lead, state, because },
        (Some(_) | None, _) => Why::Behind { head: first, state, because },
    }
}

fn waiting(delivery: &DeliveryView, around: &Surroundings) -> Why {
    let system = |shut: &Shut| Why::System { system: delivery.system.clone(), shut: shut.clone() };
    if let Some(reason) = &around.store_failing {
        return Why::Store { reason: reason.clone() };
    }
    if around.is_stopping {
        return Why::Stopping;
    }
    if !around.has_route {
        return Why::NoRoute { route: delivery.route.clone() };
    }
    if !around.has_destination {
        return Why::NoDestination { destination: delivery.destination.clone() };
    }
    if let Some(to) = &around.moved_to {
        return Why::Moved { system: delivery.system.clone(), to: to.clone() };
    }
    if let Some(shut) = around.shut.as_ref().filter(|shut| shut.is_outage()) {
        return system(shut);
    }
    match (delivery.due_at, &around.shut) {
        (Some(due_at), _) if due_at > around.now => {
            let reason = delivery.reason.clone().unwrap_or_default();
            Why::Retry { due_at, attempts: delivery.attempts, reason }
        }
        (_, Some(shut)) => system(shut),
        (_, None) => Why::Due,
    }
}

impl Why {
    /// The word for it, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store { .. } => "store",
            Self::Stopping => "stopping",
            Self::NoRoute { .. } => "no_route",
            Self::NoDestination { .. } => "no_destination",
            Self::Moved { .. } => "moved",
            Self::System { shut, .. } => match shut {
                Shut::Paused(_) => "paused",
                Shut::Closed { .. } => "closed",
                Shut::Broken(_) | Shut::Untried(_) => "breaker",
                Shut::Full { .. } => "concurrency",
                Shut::Warming { .. } => "warm_up",
                Shut::Rate { .. } => "rate",
            },
            Self::Retry { .. } => "retry",
            Self::Due => "due",
            Self::Behind { .. } => "behind",
            Self::After { .. } => "after",
            Self::Held { .. } => "held",
        }
    }
}

/// `{"code", "text"}`.
impl Serialize for Why {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serde::Serializer::serialize_map(serializer, Some(2))?;
        serde::ser::SerializeMap::serialize_entry(&mut map, "code", self.code())?;
        serde::ser::SerializeMap::serialize_entry(&mut map, "text", &self.to_string())?;
        serde::ser::SerializeMap::end(map)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { reason } => write!(f, "nothing is sent while the store cannot write: {reason}"),
            Self::Stopping => f.write_str("the gateway is stopping; it goes on after the next start"),
            // In quotes of their own: what is quoted otherwise is a value, and hidden from who may see none.
            Self::NoRoute { route } => write!(f, "the configuration has no route '{route}' any more"),
            Self::NoDestination { destination } => {
                write!(f, "the configuration has no destination '{destination}' any more")
            }
            Self::Moved { system, to } => {
                write!(f, "it was made for system {system}, and its route or destination belongs to system {to} now")
            }
            Self::System { system, shut } => write!(f, "system {system} {shut}"),
            Self::Retry { due_at, attempts: 0, .. } => write!(f, "it is not to be sent before {}", due_at.spoken()),
            Self::Retry { due_at, attempts, reason } => {
                let times = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                write!(f, "after {times} it is tried again at {}", due_at.spoken())?;
                if reason.is_empty() { Ok(()) } else { write!(f, "; the last came to: {reason}") }
            }
            Self::Due => f.write_str("it is due and about to be sent"),
            Self::Behind { head, state, because } => {
                write!(f, "it waits behind delivery {head}, the first of its lane")?;
                other(f, *state, because.as_deref())
            }
            Self::After { lead, state, because } => {
                write!(f, "it comes after delivery {lead} and waits until that one is delivered")?;
                other(f, *state, because.as_deref())
            }
            Self::Held { reason } if reason.is_empty() => f.write_str("it is held until a person releases it"),
            Self::Held { reason } => write!(f, "it is held until a person releases it: {reason}"),
        }
    }
}

/// How another delivery stands, and why that one waits.
fn other(f: &mut fmt::Formatter<'_>, state: Option<State>, because: Option<&Why>) -> fmt::Result {
    match (state, because) {
        (_, Some(because)) => write!(f, "; of that one: {because}"),
        (Some(state), None) => write!(f, ", which is {}", state.as_str().replace('_', " ")),
        (None, None) => Ok(()),
    }
}

/// A wait as people say it: `50 ms`, `12 s`, `5 min 48 s`.
fn spoken(wait: Duration) -> String {
    match wait.as_secs() {
        0 => format!("{} ms", wait.as_millis()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(Pause { reason, since, until, probe_at }) => {
                write!(f, "is paused since {}: {reason}; ", since.spoken())?;
                match (probe_at, until) {
                    (Some(at), _) => write!(f, "one delivery is tried at {}", at.spoken()),
                    (None, Some(until)) => write!(f, "until {}", until.spoken()),
                    (None, None) => f.write_str("until a person resumes it"),
                }
            }
            Self::Closed { opens: Some(opens) } => {
                write!(f, "is closed by its calendar; it opens at {}", opens.spoken())
            }
            Self::Closed { opens: None } => f.write_str("is closed by its calendar for more than a year"),
            Self::Broken(Outage { reason, since, probe_at, .. }) => {
                let (since, probe_at) = (since.spoken(), probe_at.spoken());
                write!(f, "is left alone since {since}: {reason}; one delivery is tried at {probe_at}")
            }
            Self::Untried(Outage { reason, since, .. }) => {
                write!(f, "fails since {}: {reason}; the next call that is due tries it", since.spoken())
            }
            Self::Full { concurrency: 1 } => {
                f.write_str("is at work on another call, the one that its concurrency allows")
            }
            Self::Full { concurrency } => {
                write!(f, "is at work on the {concurrency} calls that its concurrency allows")
            }
            Self::Warming { calls, .. } => {
                write!(f, "is being warmed up after an outage, with {calls} calls at once for now")
            }
            Self::Rate { wait } => {
                write!(f, "is called no faster than its rate; the next call is in {}", spoken(*wait))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const LATER: Timestamp = Timestamp(1_790_000_060_000);

    fn delivery(state: State) -> DeliveryView {
        DeliveryView {
            delivery_id: DeliveryId(7),
            notification_id: "04l1".to_owned(),
            notification_row: 1,
            revision: 1,
            record_id: "006".to_owned(),
            record_type: "Order".to_owned(),
            source: "orders".to_owned(),
            organization_id: String::new(),
            route: "orders → erp".to_owned(),
            destination: "erp".to_owned(),
            system: "erp".to_owned(),
            lane: Some("006".to_owned()),
            state,
            due_at: (state == State::Waiting).then_some(NOW),
            attempts: 0,
            reason: None,
            status: None,
            created_at: NOW,
            changed_at: NOW,
            behind: (state == State::Blocked).then_some(DeliveryId(6)),
            lane_head: (state == State::Blocked).then_some(DeliveryId(5)),
            superseded_by: None,
            search: Default::default(),
            kept: serde_json::Map::new(),
            kept_warnings: std::collections::BTreeMap::new(),
            links: crate::store::Links::default(),
        }
    }

    fn around() -> Surroundings {
        Surroundings { has_route: true, has_destination: true, now: NOW, ..Surroundings::default() }
    }

    fn shut(shut: Shut) -> Surroundings {
        Surroundings { shut: Some(shut), ..around() }
    }

    fn pause() -> Pause {
        Pause { reason: "month-end closing".to_owned(), since: NOW, until: None, probe_at: None }
    }

    fn outage() -> Outage {
        Outage { reason: "calls failed: HTTP 503".to_owned(), since: NOW, probe_at: LATER, trips: 1 }
    }

    #[track_caller]
    fn says(delivery: &DeliveryView, around: &Surroundings, code: &str, text: &str) {
        let why = why(delivery, around).unwrap();
        assert_eq!((why.code(), why.to_string().as_str()), (code, text));
    }

    #[test]
    fn a_store_that_cannot_write_holds_everything() {
        let around = Surroundings { store_failing: Some("the disk is full".to_owned()), ..around() };
        says(
            &delivery(State::Waiting),
            &around,
            "store",
            "nothing is sent while the store cannot write: the disk is full",
        );
    }

    #[test]
    fn a_gateway_that_stops_sends_nothing_new() {
        let around = Surroundings { is_stopping: true, ..around() };
        says(
            &delivery(State::Waiting),
            &around,
            "stopping",
            "the gateway is stopping; it goes on after the next start",
        );
    }

    #[test]
    fn a_route_or_destination_that_is_gone_is_named() {
        let no_route = Surroundings { has_route: false, ..around() };
        let text = "the configuration has no route 'orders → erp' any more";
        says(&delivery(State::Waiting), &no_route, "no_route", text);
        let no_destination = Surroundings { has_destination: false, ..around() };
        let text = "the configuration has no destination 'erp' any more";
        says(&delivery(State::Waiting), &no_destination, "no_destination", text);
    }

    #[test]
    fn what_moved_to_another_system_says_to_which() {
        let moved = Surroundings { moved_to: Some("crm".to_owned()), ..around() };
        let text = "it was made for system erp, and its route or destination belongs to system crm now";
        says(&delivery(State::Waiting), &moved, "moved", text);
    }

    #[test]
    fn a_pause_says_why_since_when_and_until_when() {
        for (pause, end) in [
            (pause(), "until a person resumes it"),
            (Pause { until: Some(LATER), ..pause() }, "until 2026-09-21 14:14:20 UTC"),
            (Pause { probe_at: Some(LATER), ..pause() }, "one delivery is tried at 2026-09-21 14:14:20 UTC"),
        ] {
            let text = format!("system erp is paused since 2026-09-21 14:13:20 UTC: month-end closing; {end}");
            says(&delivery(State::Waiting), &shut(Shut::Paused(pause)), "paused", &text);
        }
    }

    #[test]
    fn a_closed_system_says_when_it_opens() {
        let text = "system erp is closed by its calendar; it opens at 2026-09-21 14:14:20 UTC";
        says(&delivery(State::Waiting), &shut(Shut::Closed { opens: Some(LATER) }), "closed", text);
        let text = "system erp is closed by its calendar for more than a year";
        says(&delivery(State::Waiting), &shut(Shut::Closed { opens: None }), "closed", text);
    }

    #[test]
    fn an_open_breaker_says_what_failed_and_when_it_is_tried() {
        let text = "system erp is left alone since 2026-09-21 14:13:20 UTC: calls failed: HTTP 503; one delivery is tried at \
                    2026-09-21 14:14:20 UTC";
        says(&delivery(State::Waiting), &shut(Shut::Broken(outage())), "breaker", text);
    }

    #[test]
    fn limits_of_concurrency_warm_up_and_rate_say_so() {
        for (limit, code, text) in [
            (Shut::Full { concurrency: 8 }, "concurrency", "is at work on the 8 calls that its concurrency allows"),
            (
                Shut::Warming { calls: 2, wait: Duration::from_secs(1) },
                "warm_up",
                "is being warmed up after an outage, with 2 calls at once for now",
            ),
            (
                Shut::Rate { wait: Duration::from_millis(50) },
                "rate",
                "is called no faster than its rate; the next call is in 50 ms",
            ),
        ] {
            says(&delivery(State::Waiting), &shut(limit), code, &format!("system erp {text}"));
        }
    }

    #[test]
    fn a_retry_says_when_and_what_the_last_attempt_came_to() {
        let again = DeliveryView {
            due_at: Some(LATER),
            attempts: 3,
            reason: Some("HTTP 503".to_owned()),
            ..delivery(State::Waiting)
        };
        let text = "after 3 attempts it is tried again at 2026-09-21 14:14:20 UTC; the last came to: HTTP 503";
        says(&again, &around(), "retry", text);
        says(&again, &shut(Shut::Full { concurrency: 1 }), "retry", text);
        assert_eq!(why(&again, &shut(Shut::Broken(outage()))).unwrap().code(), "breaker", "an outage comes first");
    }

    #[test]
    fn what_is_due_and_free_to_go_is_about_to() {
        says(&delivery(State::Waiting), &around(), "due", "it is due and about to be sent");
    }

    #[test]
    fn what_is_blocked_names_the_first_of_its_lane_and_why_that_one_waits() {
        let blocked = delivery(State::Blocked);
        says(&blocked, &around(), "behind", "it waits behind delivery 5, the first of its lane");
        let head = |state| DeliveryView { delivery_id: DeliveryId(5), ..delivery(state) };
        let held = Surroundings {
            first: Some((head(State::Held), Some(Why::Held { reason: "by a person".to_owned() }))),
            ..around()
        };
        let text = "it waits behind delivery 5, the first of its lane; of that one: it is held until a person releases it: \
                    by a person";
        says(&blocked, &held, "behind", text);
        let flying = Surroundings { first: Some((head(State::InFlight), None)), ..around() };
        says(&blocked, &flying, "behind", "it waits behind delivery 5, the first of its lane, which is in flight");
    }

    #[test]
    fn what_comes_after_another_names_it_and_why_that_one_waits() {
        let links = crate::store::Links { after: Some(DeliveryId(3)), ..crate::store::Links::default() };
        let after = DeliveryView { links, behind: None, lane_head: None, ..delivery(State::Blocked) };
        says(&after, &around(), "after", "it comes after delivery 3 and waits until that one is delivered");
        let lead = |state| DeliveryView { delivery_id: DeliveryId(3), ..delivery(state) };
        let flying = Surroundings { first: Some((lead(State::InFlight), None)), ..around() };
        let text = "it comes after delivery 3 and waits until that one is delivered, which is in flight";
        says(&after, &flying, "after", text);
        let closed = Why::System { system: "erp".to_owned(), shut: Shut::Closed { opens: None } };
        let waiting = Surroundings { first: Some((lead(State::Waiting), Some(closed))), ..around() };
        let text = "it comes after delivery 3 and waits until that one is delivered; of that one: system erp is closed by its \
                    calendar for more than a year";
        says(&after, &waiting, "after", text);
        let inside = DeliveryView { lane_head: Some(DeliveryId(5)), ..after.clone() };
        assert_eq!(why(&inside, &around()).unwrap().code(), "behind", "its lane comes first");
        assert_eq!((waits_for(&after), waits_for(&inside)), (Some(DeliveryId(3)), Some(DeliveryId(5))));
        assert_eq!(waits_for(&DeliveryView { state: State::Waiting, ..inside.clone() }), None);
        let other = Surroundings { first: Some((lead(State::Dead), None)), ..around() };
        says(&inside, &other, "behind", "it waits behind delivery 5, the first of its lane");
    }

    #[test]
    fn what_is_held_says_for_whom() {
        says(&delivery(State::Held), &around(), "held", "it is held until a person releases it");
    }

    #[test]
    fn what_is_under_way_or_settled_waits_for_nothing() {
        for state in [State::InFlight, State::Delivered, State::Dead, State::Superseded, State::Discarded] {
            assert_eq!(why(&delivery(state), &around()), None, "{state}");
        }
    }

    #[test]
    fn time_alone_ends_what_has_a_moment() {
        let wait = Some(Duration::from_secs(60));
        for (shut, expected) in [
            (Shut::Paused(pause()), None),
            (Shut::Paused(Pause { until: Some(LATER), ..pause() }), wait),
            (
                Shut::Paused(Pause {
                    probe_at: Some(LATER),
                    until: Some(LATER.plus(Duration::from_secs(9))),
                    ..pause()
                }),
                wait,
            ),
            (Shut::Closed { opens: Some(LATER) }, wait),
            (Shut::Broken(outage()), wait),
            (Shut::Full { concurrency: 1 }, None),
        ] {
            assert_eq!(shut.wait(NOW), expected, "{shut:?}");
        }
    }

    #[test]
    fn a_moment_that_has_passed_is_not_waited_for() {
        for shut in [
            Shut::Paused(Pause { probe_at: Some(NOW), ..pause() }),
            Shut::Closed { opens: Some(NOW) },
            Shut::Broken(Outage { probe_at: NOW, ..outage() }),
        ] {
            assert_eq!(shut.wait(LATER), None, "{shut:?}");
            assert_eq!(shut.wait(NOW), None, "a runner would spin until the probe comes back: {shut:?}");
        }
    }
}

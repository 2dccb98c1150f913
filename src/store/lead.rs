//! The delivery that another comes after: whether it may yet be delivered, and what that means for those behind it.

use super::StoreError;
use crate::delivery::{After, State};

/// The delivery that another comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) id: i64,
    pub(super) state: State,
}

/// What one that comes after a delivery does once it hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// It stands as it stood.
    Stays,
    /// Its lane may go on.
    GoesOn,
    /// It dies, and so do those that come after it; then its lane may go on.
    Dies,
}

/// What a delivery that a person sends again waits for from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejoined {
    /// Nothing any more.
    Nothing,
    /// What it waited for, if anything.
    AsItWas,
    /// The newest delivery that this route made of its notification.
    Newest(After),
}

impl Lead {
    /// Whether it will not be delivered, unless a person sees to it.
    fn is_lost(self) -> bool {
        matches!(self.state, State::Dead | State::Superseded | State::Discarded)
    }

    /// Whether those that come after it have anything to hear.
    pub(super) fn is_decided(self) -> bool {
        self.state == State::Delivered || self.is_lost()
    }

    /// What one does that comes after it and is in this state.
    pub(super) fn follower(self, state: State) -> Follower {
        if self.state == State::Delivered {
            Follower::GoesOn
        } else if self.is_lost() && matches!(state, State::Blocked | State::Held) {
            Follower::Dies
        } else {
            Follower::Stays
        }
    }

    /// Why one dies that comes after it; `route` is its own.
    // The id stands in quotes, so that dead letters with this cause are grouped.
    pub(super) fn lost(self, route: &str) -> String {
        let Self { id, state } = self;
        let then = match state {
            State::Dead => "; once that one was replayed and delivered, this one can be replayed",
            State::Waiting
            | State::Blocked
            | State::InFlight
            | State::Delivered
            | State::Held
            | State::Superseded
            | State::Discarded => "",
        };
        format!("delivery \"{id}\" on route {route:?}, which it comes after, is {state} and gave no answer{then}")
    }
}

/// Why a delivery cannot go out at all; none when its lead is, or may yet be, delivered.
pub(super) fn refusal(after: &After, lead: Option<Lead>) -> Option<String> {
    let route = &after.route;
    match lead {
        None => Some(format!(
            "route {route:?}, which it comes after, made no delivery of this notification, so there is no answer to take; \
             have one made (replay this one with --to {route:?}), and once that is delivered, replay this one"
        )),
        Some(lead) if lead.is_lost() => Some(lead.lost(route)),
        Some(_) => None,
    }
}

/// What a delivery that a person sends again waits for: the one that it knows, by its route, or where that is lost the
/// newest that its route made of the notification. `said` is what the configuration says now, where that is known; `holds`,
/// whether its lane was to stop behind it.
pub(super) fn rejoined(said: Option<Option<&After>>, known: Option<(&str, Lead)>, holds: bool) -> Rejoined {
    let route = match (said, known) {
        (Some(None), _) => return Rejoined::Nothing,
        (Some(Some(after)), _) => &after.route,
        (None, Some((route, _))) => route,
        (None, None) => return Rejoined::AsItWas,
    };
    if known.is_some_and(|(own, lead)| own == route && !lead.is_lost()) {
        return Rejoined::AsItWas;
    }
    let holds_lane = said.flatten().map_or(holds, |after| after.holds_lane);
    Rejoined::Newest(After { route: route.to_owned(), holds_lane })
}

/// Whether a delivery that a person sends again may wait for that lead; else why not. `lane`: its
/// own, if it has one.
pub(super) fn check<L>(delivery: i64, lane: Option<L>, after: &After, lead: Option<Lead>) -> Result<(), StoreError> {
    // Who waits for a higher number may stand before it in its own lane: then neither would ever go out. And who has no
    // lane has no place in which to wait.
    let early = lead.filter(|lead| (lead.id > delivery || lane.is_none()) && lead.state != State::Delivered);
    let reason = refusal(after, lead).or_else(|| {
        let Lead { id, .. } = early?;
        let route = &after.route;
        Some(format!(
            "delivery {id} on route {route:?}, which it comes after, is not delivered yet; replay this one once it is"
        ))
    });
    match reason {
        Some(reason) => Err(StoreError::Conflict(format!("delivery {delivery}: {reason}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 8] = [
        State::Waiting,
        State::Blocked,
        State::InFlight,
        State::Delivered,
        State::Dead,
        State::Held,
        State::Superseded,
        State::Discarded,
    ];

    fn lead(id: i64, state: State) -> Lead {
        Lead { id, state }
    }

    fn after(route: &str) -> After {
        After { route: route.to_owned(), holds_lane: true }
    }

    #[test]
    fn those_behind_go_on_when_it_is_delivered_and_die_of_it_when_it_is_lost_and_they_still_wait() {
        for state in STATES {
            let of = lead(1, state);
            let lost = matches!(state, State::Dead | State::Superseded | State::Discarded);
            for theirs in STATES {
                let expected = match (state, lost, theirs) {
                    (State::Delivered, ..) => Follower::GoesOn,
                    (_, true, State::Blocked | State::Held) => Follower::Dies,
                    _ => Follower::Stays,
                };
                assert_eq!(of.follower(theirs), expected, "{theirs} behind one that is {state}");
            }
            assert_eq!(of.is_decided(), lost || state == State::Delivered, "{state}");
            assert_eq!(refusal(&after("a"), Some(of)).is_some(), lost, "{state}");
        }
        assert!(refusal(&after("a"), None).is_some());
    }

    #[test]
    fn what_is_sent_again_waits_for_what_it_knew_unless_that_is_lost_or_its_route_comes_after_another_now() {
        let (a, b) = (after("a"), after("b"));
        let (open, lost) = (Some(("a", lead(1, State::Blocked))), Some(("a", lead(1, State::Dead))));
        let of_itself = After { holds_lane: false, ..a.clone() };
        for (said, known, expected) in [
            (Some(None), open, Rejoined::Nothing),
            (None, None, Rejoined::AsItWas),
            (None, open, Rejoined::AsItWas),
            (Some(Some(&a)), open, Rejoined::AsItWas),
            (Some(Some(&b)), open, Rejoined::Newest(b.clone())),
            (Some(Some(&a)), None, Rejoined::Newest(a.clone())),
            (Some(Some(&a)), lost, Rejoined::Newest(a.clone())),
            (None, lost, Rejoined::Newest(of_itself)),
        ] {
            assert_eq!(rejoined(said, known, false), expected, "{said:?}, {known:?}");
        }
    }

    #[test]
    fn nothing_waits_for_what_stands_behind_it_or_without_a_lane() {
        let refused = |delivery, lane: Option<&str>, lead| check(delivery, lane, &after("a"), lead).is_err();
        for (delivery, lane, state, is_refused) in [
            (5, Some("l"), State::Blocked, false),
            (3, Some("l"), State::Blocked, true),
            (5, None, State::Blocked, true),
            (3, None, State::Delivered, false),
            (5, Some("l"), State::Dead, true),
        ] {
            assert_eq!(refused(delivery, lane, Some(lead(4, state))), is_refused, "{delivery}, {lane:?}, {state}");
        }
        assert!(refused(5, Some("l"), None));
    }
}

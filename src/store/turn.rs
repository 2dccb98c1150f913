//! What a delivery becomes: its next state, and whether it keeps its place in its lane.

use super::Settlement;
use crate::clock::Timestamp;
use crate::delivery::State;
use crate::mutation::{self, Mutation};

/// What a delivery becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn<'a> {
    pub(super) to: State,
    /// Set for `Waiting`, and for `Blocked` if it is not to be sent before.
    pub(super) due_at: Option<Timestamp>,
    /// Whether it keeps its place in its lane.
    pub(super) unsettled: bool,
    pub(super) reason: Option<&'a str>,
    pub(super) at: Timestamp,
}

/// What comes of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// The delivery takes its turn in its lane again, and is due then.
    Again(Timestamp),
    /// It leaves its lane, or stops it.
    Turn(Turn<'a>),
}

/// What comes of a settlement, for a delivery that stands in a lane or in none.
pub(super) fn settled<L>(settlement: &Settlement, lane: Option<L>, at: Timestamp) -> Next<'_> {
    let turn = |to, unsettled, reason| Next::Turn(Turn { to, due_at: None, unsettled, reason, at });
    match settlement {
        Settlement::Waiting { due_at } => Next::Again(*due_at),
        Settlement::Delivered => turn(State::Delivered, false, None),
        Settlement::Dead { reason, holds_lane } => {
            let holds = *holds_lane && !mutation::active(Mutation::DeadLetterHoldsNoLane);
            turn(State::Dead, holds && lane.is_some(), Some(reason))
        }
        Settlement::Held { reason } => turn(State::Held, true, Some(reason)),
        Settlement::Superseded { reason } => turn(State::Superseded, false, Some(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_leaves_its_lane_and_what_is_held_keeps_its_place() {
        let reason = "because".to_owned();
        let dead = |holds_lane| Settlement::Dead { reason: reason.clone(), holds_lane };
        for (settlement, lane, to, unsettled) in [
            (Settlement::Delivered, Some("a"), State::Delivered, false),
            (dead(true), Some("a"), State::Dead, true),
            (dead(true), None, State::Dead, false),
            (dead(false), Some("a"), State::Dead, false),
            (Settlement::Held { reason: reason.clone() }, None, State::Held, true),
            (Settlement::Superseded { reason: reason.clone() }, Some("a"), State::Superseded, false),
        ] {
            let at = Timestamp(7);
            let reason = (to != State::Delivered).then_some("because");
            let expected = Next::Turn(Turn { to, due_at: None, unsettled, reason, at });
            assert_eq!(settled(&settlement, lane, at), expected, "{settlement:?}");
        }
        let again = Settlement::Waiting { due_at: Timestamp(9) };
        assert_eq!(settled(&again, Some("a"), Timestamp(7)), Next::Again(Timestamp(9)));
    }
}

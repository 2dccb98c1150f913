//! What people do to a delivery: from which states, into which, and in which words.

use super::turn::Turn;
use super::{By, Change, Deed, StoreError};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, State};

impl Change {
    /// Whether a delivery in this state can be changed so.
    #[must_use]
    pub fn applies_to(&self, state: State) -> bool {
        match self {
            Self::Replay { .. } => matches!(state, State::Dead | State::Delivered),
            Self::Hold => matches!(state, State::Waiting | State::Blocked),
            Self::Release => state == State::Held,
            Self::Discard => matches!(state, State::Waiting | State::Blocked | State::Held | State::Dead),
            Self::LetGo => state == State::Dead,
        }
    }

    /// Whether the delivery can be changed so where it stands; else why not. A delivered one takes a [`super::Replay`].
    pub(super) fn check(&self, delivery: i64, state: State) -> Result<(), StoreError> {
        let rule = match self {
            Self::Replay { .. } => "only a dead one can be replayed",
            Self::Hold => "only a waiting or blocked one can be held",
            Self::Release => "only a held one can be released",
            Self::Discard => "only a waiting, blocked, held or dead one can be discarded",
            Self::LetGo => "only a dead one can let its lane go on",
        };
        let in_place = !matches!(self, Self::Replay { .. }) || state == State::Dead;
        if in_place && self.applies_to(state) {
            return Ok(());
        }
        let state = state.as_str().replace('_', " ");
        Err(StoreError::Conflict(format!("delivery {delivery} is {state}; {rule}")))
    }

    /// The word for it in the audit log.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard => "discard",
            Self::LetGo => "let lane go on",
        }
    }
}

/// That a delivery stands as it must still, where that is said; else how it does.
pub(super) fn stands(delivery: i64, state: State, still: Option<State>) -> Result<(), StoreError> {
    let word = |state: State| state.as_str().replace('_', " ");
    match still.filter(|still| *still != state) {
        None => Ok(()),
        Some(still) => Err(StoreError::Conflict(format!(
            "delivery {delivery} is {} by now, not {} any more",
            word(state),
            word(still)
        ))),
    }
}

/// A person stops a delivery.
pub(super) fn held(reason: &str, at: Timestamp) -> Turn<'_> {
    Turn { to: State::Held, due_at: None, unsettled: true, reason: Some(reason), at }
}

/// A person gives a delivery up.
pub(super) fn discarded(reason: &str, at: Timestamp) -> Turn<'_> {
    Turn { to: State::Discarded, due_at: None, unsettled: false, reason: Some(reason), at }
}

/// A dead letter for which its lane does not wait any more.
pub(super) fn let_go(reason: Option<&str>, at: Timestamp) -> Turn<'_> {
    Turn { to: State::Dead, due_at: None, unsettled: false, reason, at }
}

/// Why a delivery is not sent again: an older state of a record behind a newer one would undo it.
pub(super) fn outdated(delivery: i64, newer: i64) -> StoreError {
    StoreError::Conflict(format!(
        "delivery {delivery} is outdated: delivery {newer} brought a later state of the record; replay it with \
         --even-if-newer (even_if_newer in the API) if that is what you want"
    ))
}

/// The entry about what a person did to a delivery, and what came of it.
pub(super) fn deed(delivery: DeliveryId, verb: &str, by: &By, at: Timestamp, result: String) -> Deed {
    let (verb, object_id) = (verb.to_owned(), delivery.to_string());
    Deed { at, by: by.clone(), verb, object: "delivery", object_id, count: 1, result, ..Deed::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_still_stand_as_it_did_says_how_it_stands_else() {
        assert!(stands(5, State::Dead, None).is_ok() && stands(5, State::Dead, Some(State::Dead)).is_ok());
        let error = stands(5, State::InFlight, Some(State::Waiting)).unwrap_err();
        assert_eq!(error.to_string(), "delivery 5 is in flight by now, not waiting any more");
    }

    #[test]
    fn a_change_says_from_which_states_it_may_come() {
        let replay = Change::Replay { even_if_newer: false };
        let words = |change: &Change, state| change.check(5, state).map_err(|error| error.to_string());
        for (change, state, refused) in [
            (&replay, State::Dead, None),
            (&replay, State::Delivered, Some("delivery 5 is delivered; only a dead one can be replayed")),
            (&Change::Hold, State::Blocked, None),
            (
                &Change::Hold,
                State::InFlight,
                Some("delivery 5 is in flight; only a waiting or blocked one can be held"),
            ),
            (&Change::Release, State::Held, None),
            (&Change::Release, State::Dead, Some("delivery 5 is dead; only a held one can be released")),
            (&Change::Discard, State::Dead, None),
            (
                &Change::Discard,
                State::Discarded,
                Some("delivery 5 is discarded; only a waiting, blocked, held or dead one can be discarded"),
            ),
        ] {
            assert_eq!(words(change, state).err().as_deref(), refused, "{change:?} of {state}");
        }
    }
}

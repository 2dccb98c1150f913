//! What comes: what a notification is when it comes for the first time, and how a new delivery begins.

use std::sync::Arc;

use super::lead::{self, Lead};
use super::{Accept, Fate, Incoming, IncomingKind, StoreError};
use crate::clock::Timestamp;
use crate::delivery::{ConfigVersion, Planned, State};

/// What a notification is when it comes for the first time.
pub(super) fn first_fate(accept: &Accept, incoming: &Incoming) -> Fate {
    if accept.quarantine.is_some() {
        return Fate::Quarantined;
    }
    match (&incoming.kind, incoming.deliveries.is_empty()) {
        (IncomingKind::Unreadable(_), _) => Fate::Unreadable,
        (IncomingKind::Record | IncomingKind::Empty, false) => Fate::Routed,
        (IncomingKind::Record, true) => Fate::Unrouted,
        (IncomingKind::Empty, true) => Fate::SkippedEmpty,
    }
}

/// The word for a fate in the rows and accounts.
pub(super) fn kind_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Routed => "routed",
        Fate::Unrouted => "unrouted",
        Fate::SkippedEmpty => "skipped_empty",
        Fate::Unreadable => "unreadable",
        Fate::Quarantined => "quarantined",
        Fate::Duplicate => "duplicate",
        Fate::Revised => "revised",
    }
}

/// What is noted with a notification that is stored aside or cannot be read.
pub(super) fn remark<'a>(accept: &'a Accept, incoming: &'a Incoming) -> Option<&'a str> {
    match (&accept.quarantine, &incoming.kind) {
        (Some(reason), _) | (None, IncomingKind::Unreadable(reason)) => Some(reason),
        (None, IncomingKind::Record | IncomingKind::Empty) => None,
    }
}

/// What is planned of a notification: one for each route.
pub(super) fn planned(incoming: &Incoming) -> impl Iterator<Item = &Planned> {
    let deliveries = &incoming.deliveries;
    let is_first = |place: usize, route: &String| deliveries.iter().take(place).all(|before| before.route != *route);
    deliveries.iter().enumerate().filter(move |(place, planned)| is_first(*place, &planned.route)).map(|(_, it)| it)
}

/// Why a new delivery is dead from its beginning.
pub(super) fn dead(planned: &Planned, lead: Option<Lead>) -> Option<String> {
    planned.dead.clone().or_else(|| lead::refusal(planned.after.as_ref()?, lead))
}

/// The lane of a new delivery: one that may have to wait for another has a lane, if need be to itself; there it keeps its
/// place.
pub(super) fn lane(planned: &Planned, lead: Option<Lead>, delivery: i64) -> Option<String> {
    planned.lane.clone().or_else(|| lead.map(|_| format!("delivery {delivery}")))
}

/// The state in which a new delivery begins. `dead`: why it is; `newer`: what it gives way to; `is_occupied`: whether
/// something stands in its lane.
pub(super) fn state<E>(
    dead: Option<&String>,
    newer: Option<i64>,
    lead: Option<Lead>,
    is_occupied: impl FnOnce() -> Result<bool, E>,
) -> Result<State, E> {
    let waits = lead.is_some_and(|lead| lead.state != State::Delivered);
    Ok(match (dead, newer) {
        (Some(_), _) => State::Dead,
        (None, Some(_)) => State::Superseded,
        (None, None) if waits || is_occupied()? => State::Blocked,
        (None, None) => State::Waiting,
    })
}

/// Whether a new delivery in this state keeps a place in its lane.
pub(super) fn is_unsettled(state: State) -> bool {
    matches!(state, State::Waiting | State::Blocked)
}

/// Whether a notification may get the deliveries that routes make of it now: `row` is what was asked for, `kind` what its
/// first revision is.
pub(super) fn check_reroutable(row: i64, kind: &str) -> Result<(), StoreError> {
    if [Fate::Unrouted, Fate::Quarantined].map(kind_word).contains(&kind) {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("notification row {row} is {kind}, not unrouted or quarantined")))
}

/// What the making of deliveries asks of an envelope, where none came: the moment.
pub(super) fn nothing_new(now: Timestamp) -> Accept {
    Accept {
        source: String::new(),
        received_at: now,
        organization_id: String::new(),
        organization_key: String::new(),
        action_id: String::new(),
        enterprise_url: String::new(),
        partner_url: String::new(),
        sender: String::new(),
        quarantine: None,
        config_version: ConfigVersion(0),
        routes_in_force: Arc::default(),
        notifications: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{After, OnRevision};

    fn a_plan(route: &str) -> Planned {
        Planned {
            route: route.to_owned(),
            destination: "erp".to_owned(),
            system: "erp".to_owned(),
            lane: None,
            on_revision: OnRevision::Deliver,
            coalesce: None,
            after: None,
            dead: None,
        }
    }

    fn incoming(kind: IncomingKind, routes: &[&str]) -> Incoming {
        Incoming {
            notification_id: "n".to_owned(),
            hash: [0; 32],
            kind,
            record_type: String::new(),
            record_id: String::new(),
            xml: String::new(),
            search: Default::default(),
            deliveries: routes.iter().map(|route| a_plan(route)).collect(),
        }
    }

    #[test]
    fn what_comes_first_is_known_by_what_it_holds_and_by_its_routes() {
        let accept = nothing_new(Timestamp(1));
        let unreadable = IncomingKind::Unreadable("no record".to_owned());
        for (kind, routes, fate, word) in [
            (IncomingKind::Record, &["a"][..], Fate::Routed, "routed"),
            (IncomingKind::Record, &[], Fate::Unrouted, "unrouted"),
            (IncomingKind::Empty, &["a"], Fate::Routed, "routed"),
            (IncomingKind::Empty, &[], Fate::SkippedEmpty, "skipped_empty"),
            (unreadable.clone(), &[], Fate::Unreadable, "unreadable"),
        ] {
            let incoming = incoming(kind, routes);
            assert_eq!(first_fate(&accept, &incoming), fate, "{incoming:?}");
            assert_eq!(kind_word(fate), word);
            let remarked = (fate == Fate::Unreadable).then_some("no record");
            assert_eq!(remark(&accept, &incoming), remarked, "{incoming:?}");
        }
        let aside = Accept { quarantine: Some("a stranger".to_owned()), ..accept };
        let incoming = incoming(unreadable, &[]);
        assert_eq!(first_fate(&aside, &incoming), Fate::Quarantined, "whatever it holds");
        assert_eq!(remark(&aside, &incoming), Some("a stranger"));
    }

    #[test]
    fn a_route_makes_one_delivery_of_a_notification() {
        let incoming = incoming(IncomingKind::Record, &["a", "b", "a"]);
        let routes: Vec<&str> = planned(&incoming).map(|planned| planned.route.as_str()).collect();
        assert_eq!(routes, ["a", "b"]);
    }

    #[test]
    fn a_new_delivery_waits_unless_it_is_dead_or_gives_way_or_something_stands_before_it() {
        let lead = |state| Some(Lead { id: 1, state });
        let why = "because".to_owned();
        for (dead, newer, lead, occupied, expected) in [
            (None, None, None, false, State::Waiting),
            (None, None, None, true, State::Blocked),
            (None, None, lead(State::Blocked), false, State::Blocked),
            (None, None, lead(State::Delivered), false, State::Waiting),
            (None, Some(9), lead(State::Blocked), true, State::Superseded),
            (Some(&why), None, None, true, State::Dead),
        ] {
            let found = state::<()>(dead, newer, lead, || Ok(occupied));
            assert_eq!(found, Ok(expected), "{dead:?}, {newer:?}, {lead:?}, {occupied}");
            assert_eq!(is_unsettled(expected), matches!(expected, State::Waiting | State::Blocked));
        }
    }

    #[test]
    fn what_comes_after_another_has_a_lane_and_dies_where_that_one_was_lost() {
        let after = Some(After { route: "a".to_owned(), holds_lane: true });
        let planned = Planned { after, ..a_plan("b") };
        let lead = |state| Some(Lead { id: 1, state });
        assert_eq!(lane(&planned, lead(State::Waiting), 7), Some("delivery 7".to_owned()));
        assert_eq!(lane(&planned, None, 7), None);
        let named = Planned { lane: Some("l".to_owned()), ..planned.clone() };
        assert_eq!(lane(&named, lead(State::Waiting), 7), named.lane);
        assert_eq!(dead(&planned, lead(State::Waiting)), None);
        assert!(dead(&planned, lead(State::Dead)).is_some());
        assert!(dead(&planned, None).is_some(), "there is nothing to come after");
        let stillborn = Planned { dead: Some("no lane".to_owned()), ..planned };
        assert_eq!(dead(&stillborn, lead(State::Waiting)), stillborn.dead);
    }

    #[test]
    fn only_what_no_route_matched_or_was_quarantined_is_routed_later() {
        assert!(["unrouted", "quarantined"].iter().all(|kind| check_reroutable(4, kind).is_ok()));
        let refused = check_reroutable(4, "routed").unwrap_err().to_string();
        assert_eq!(refused, "notification row 4 is routed, not unrouted or quarantined");
    }
}

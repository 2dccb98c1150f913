//! Notifications that come again with other content: what becomes of the deliveries that are there.

use super::arrival;
use super::lead::Lead;
use super::names::Way;
use super::{Accept, Incoming, IncomingKind};
use crate::delivery::{OnRevision, Planned, State};
use crate::mutation::{self, Mutation};

/// How many of a record's latest notifications are looked at for what stands behind a delivery.
pub(super) const MATES_MAX: i64 = 1_000;

/// A route's newest delivery of the notification, and what the route wants now.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) route: i64,
    pub(super) old: Option<i64>,
    pub(super) planned: Option<&'a Planned>,
    /// Whether the route is not in force: then it wants nothing, and may come back.
    pub(super) is_absent: bool,
}

/// What an old delivery becomes when its notification was revised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It carries the new content.
    Replace,
    /// It is superseded, and a new one is made where the route matches.
    Supersede,
    /// It stays as it is, and a new one is made where the route matches.
    Keep,
}

/// An old delivery, as far as its step depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old<'a> {
    pub(super) id: i64,
    pub(super) state: State,
    pub(super) is_attempted: bool,
    /// Whether a person had it made.
    pub(super) is_replay: bool,
    /// The delivery that it comes after.
    pub(super) comes_after: Option<i64>,
    pub(super) lane: Option<&'a String>,
    pub(super) way: &'a Way,
}

/// Every route that matches now or has a delivery, each once, less those that ignore revisions. One that is not in force has
/// nothing to do with an empty notification either: there is no state of the record in it. `newest`: the deliveries of the
/// notification, lowest id first, each with its way; `number` tells the number of a route.
pub(super) fn cases<'a, W: AsRef<Way>, E>(
    accept: &Accept,
    incoming: &'a Incoming,
    newest: impl IntoIterator<Item = (i64, W)>,
    mut number: impl FnMut(&str) -> Result<i64, E>,
) -> Result<Vec<Case<'a>>, E> {
    let in_force = |route: &str| accept.routes_in_force.get(route).copied();
    let ignored = |route: &str| match in_force(route) {
        Some(on_revision) => on_revision == OnRevision::Ignore,
        None => matches!(incoming.kind, IncomingKind::Empty),
    };
    let mut cases: Vec<Case<'a>> = Vec::new();
    for (delivery, way) in newest {
        let way = way.as_ref();
        // Ids rise: of two deliveries of a route the later one is the newest.
        cases.retain(|case| case.route != way.route);
        if !ignored(&way.route_name) {
            let is_absent = in_force(&way.route_name).is_none();
            cases.push(Case { route: way.route, old: Some(delivery), planned: None, is_absent });
        }
    }
    for planned in &incoming.deliveries {
        if in_force(&planned.route) == Some(OnRevision::Ignore) {
            continue;
        }
        let route = number(&planned.route)?;
        match cases.iter_mut().find(|case| case.route == route) {
            Some(case) if case.planned.is_some() => {}
            Some(case) => (case.planned, case.is_absent) = (Some(planned), false),
            None => cases.push(Case { route, old: None, planned: Some(planned), is_absent: false }),
        }
    }
    cases.retain(|case| case.planned.is_none_or(|planned| planned.on_revision == OnRevision::Deliver));
    // What others come after is planned before them, and what is not planned any more is seen to first of all.
    if incoming.deliveries.iter().any(|planned| planned.after.is_some()) {
        let place = |case: &Case<'_>| {
            let route = case.planned.map(|planned| &planned.route);
            route.map(|route| incoming.deliveries.iter().position(|planned| planned.route == *route))
        };
        cases.sort_by_key(place);
    }
    Ok(cases)
}

/// What an old delivery becomes by what its route wants now; `lead` is what that would come after.
pub(super) fn step(old: Old<'_>, case: &Case<'_>, lead: Option<Lead>) -> Step {
    if case.is_absent {
        return step_without_route(old);
    }
    let planned = case.planned;
    let untouched = !old.is_attempted || mutation::active(Mutation::RevisionReplacesAttempted);
    let moves = old.comes_after != lead.map(|lead| lead.id);
    match old.state {
        // What a person had made is not for Salesforce to change.
        State::Waiting | State::Blocked | State::Held if old.is_replay => Step::Keep,
        // What it comes after was attempted and stays: so does it, and both are made anew.
        State::Waiting | State::Blocked | State::Held
            if !old.is_attempted && planned.is_some() && old.comes_after.is_some() && moves =>
        {
            Step::Keep
        }
        State::Waiting | State::Blocked | State::Held if untouched => {
            let replaceable = planned.is_some_and(|planned| {
                planned.dead.is_none()
                    && !moves
                    && arrival::lane(planned, lead, old.id).as_ref() == old.lane
                    && planned.destination == old.way.destination_name
                    && planned.system == old.way.system_name
            });
            if replaceable { Step::Replace } else { Step::Supersede }
        }
        State::Dead => Step::Supersede,
        State::Waiting
        | State::Blocked
        | State::Held
        | State::InFlight
        | State::Delivered
        | State::Superseded
        | State::Discarded => Step::Keep,
    }
}

/// What an old delivery becomes whose route is not in force: when that comes back, it is to find the newest state there.
fn step_without_route(old: Old<'_>) -> Step {
    let is_untouched = !old.is_attempted && !old.is_replay;
    match old.state {
        State::Waiting | State::Blocked | State::Held if is_untouched => Step::Replace,
        State::Waiting
        | State::Blocked
        | State::Held
        | State::InFlight
        | State::Delivered
        | State::Dead
        | State::Superseded
        | State::Discarded => Step::Keep,
    }
}

/// The delivery that keeps a revision for a route that is not in force, where the old one does not carry it: it goes as that
/// went, once the route comes back. None where a person gave that up, or where it comes after another, whose answer nobody
/// has.
pub(super) fn kept_for(old: Old<'_>) -> Option<Planned> {
    let Way { route_name, destination_name, system_name, .. } = old.way;
    let is_wanted = old.state != State::Discarded && old.comes_after.is_none();
    is_wanted.then(|| Planned {
        route: route_name.clone(),
        destination: destination_name.clone(),
        system: system_name.clone(),
        lane: old.lane.cloned(),
        on_revision: OnRevision::Deliver,
        coalesce: None,
        after: None,
        dead: None,
    })
}

/// Why an old delivery was superseded; `planned` is what its route wants now.
pub(super) fn reason(revision: i64, planned: Option<&Planned>) -> String {
    match planned {
        Some(_) => format!("revision {revision} of the notification took its place"),
        None => format!("revision {revision} of the notification came, and the route does not match it"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::delivery::After;

    fn way(route: i64, name: &str) -> Arc<Way> {
        let (route_name, destination_name, system_name) = (name.to_owned(), "erp".to_owned(), "sap".to_owned());
        Arc::new(Way { id: route, route, destination: 0, system: 0, route_name, destination_name, system_name })
    }

    fn planned(route: &str) -> Planned {
        Planned {
            route: route.to_owned(),
            destination: "erp".to_owned(),
            system: "sap".to_owned(),
            lane: Some("l".to_owned()),
            on_revision: OnRevision::Deliver,
            coalesce: None,
            after: None,
            dead: None,
        }
    }

    #[test]
    fn what_was_not_attempted_carries_the_new_content_where_nothing_else_changes() {
        let (lane, way, plan) = ("l".to_owned(), way(1, "a"), planned("a"));
        let old = |state| Old {
            id: 5,
            state,
            is_attempted: false,
            is_replay: false,
            comes_after: None,
            lane: Some(&lane),
            way: way.as_ref(),
        };
        let waiting = old(State::Waiting);
        let elsewhere = Planned { destination: "crm".to_owned(), ..plan.clone() };
        let dead = Planned { dead: Some("no lane".to_owned()), ..plan.clone() };
        let other_lane = Planned { lane: None, ..plan.clone() };
        let lead = |id| Some(Lead { id, state: State::Waiting });
        let behind = |id| Old { comes_after: Some(id), ..waiting };
        for (old, planned, lead, expected) in [
            (waiting, Some(&plan), None, Step::Replace),
            (old(State::Held), Some(&plan), None, Step::Replace),
            (waiting, Some(&elsewhere), None, Step::Supersede),
            (waiting, Some(&dead), None, Step::Supersede),
            (waiting, Some(&other_lane), None, Step::Supersede),
            (waiting, None, None, Step::Supersede),
            (Old { is_attempted: true, ..waiting }, Some(&plan), None, Step::Keep),
            (Old { is_replay: true, ..waiting }, None, None, Step::Keep),
            (behind(3), Some(&plan), lead(3), Step::Replace),
            (behind(3), Some(&plan), lead(4), Step::Keep),
            (behind(3), None, None, Step::Supersede),
            (waiting, Some(&plan), lead(4), Step::Supersede),
            (old(State::Dead), Some(&plan), None, Step::Supersede),
            (old(State::InFlight), Some(&plan), None, Step::Keep),
            (old(State::Delivered), None, None, Step::Keep),
        ] {
            let case = Case { route: 1, old: Some(old.id), planned, is_absent: false };
            assert_eq!(step(old, &case, lead), expected, "{old:?}, {planned:?}, {lead:?}");
        }
    }

    #[test]
    fn every_route_that_matches_or_has_a_delivery_is_looked_at_once_and_those_before_others_come_first() {
        let after = Some(After { route: "b".to_owned(), holds_lane: true });
        let ignoring = Planned { on_revision: OnRevision::Ignore, ..planned("d") };
        let incoming = Incoming {
            notification_id: "n".to_owned(),
            hash: [0; 32],
            kind: IncomingKind::Record,
            record_type: String::new(),
            record_id: String::new(),
            xml: String::new(),
            search: Default::default(),
            deliveries: vec![planned("b"), Planned { after, ..planned("a") }, planned("c"), ignoring],
        };
        let all = [("a", OnRevision::Deliver), ("b", OnRevision::Deliver), ("c", OnRevision::Ignore)];
        let others = [("d", OnRevision::Deliver), ("passing", OnRevision::Deliver)];
        let routes_in_force = all.into_iter().chain(others).map(|(name, does)| (name.to_owned(), does)).collect();
        let accept = Accept { routes_in_force: Arc::new(routes_in_force), ..arrival::nothing_new(Timestamp(1)) };
        let newest =
            [(9, way(6, "gone")), (10, way(1, "a")), (11, way(3, "c")), (12, way(5, "passing")), (13, way(1, "a"))];
        let number =
            |route: &str| Ok::<i64, ()>(["", "a", "b", "c", "d"].iter().position(|it| *it == route).unwrap() as i64);
        let found = cases(&accept, &incoming, newest.clone(), number).unwrap();
        let seen = |cases: &[Case<'_>]| -> Vec<_> {
            cases.iter().map(|case| (case.route, case.old, case.planned.is_some(), case.is_absent)).collect()
        };
        let passing = (5, Some(12), false, false);
        assert_eq!(
            seen(&found),
            [(6, Some(9), false, true), passing, (2, None, true, false), (1, Some(13), true, false)]
        );
        let empty = Incoming { kind: IncomingKind::Empty, deliveries: Vec::new(), ..incoming };
        let found = cases(&accept, &empty, newest, number).unwrap();
        assert_eq!(seen(&found), [passing, (1, Some(13), false, false)], "there is nothing in it to carry");
    }

    #[test]
    fn what_waits_for_its_route_to_come_back_carries_the_new_content_and_all_else_stays() {
        let (lane, way) = ("l".to_owned(), way(1, "a"));
        let case = Case { route: 1, old: Some(5), planned: None, is_absent: true };
        let waiting = Old {
            id: 5,
            state: State::Waiting,
            is_attempted: false,
            is_replay: false,
            comes_after: Some(3),
            lane: Some(&lane),
            way: way.as_ref(),
        };
        for (old, expected) in [
            (waiting, Step::Replace),
            (Old { state: State::Blocked, ..waiting }, Step::Replace),
            (Old { state: State::Held, ..waiting }, Step::Replace),
            (Old { is_attempted: true, ..waiting }, Step::Keep),
            (Old { is_replay: true, ..waiting }, Step::Keep),
            (Old { state: State::Dead, ..waiting }, Step::Keep),
            (Old { state: State::InFlight, ..waiting }, Step::Keep),
            (Old { state: State::Delivered, ..waiting }, Step::Keep),
        ] {
            assert_eq!(step(old, &case, None), expected, "{old:?}");
        }
    }
}

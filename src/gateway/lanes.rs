//! What becomes of the order of records when a route keeps it otherwise from now on.

use crate::clock::Timestamp;
use crate::dispatch::{Dispatch, Plan, Route};
use crate::facts::{Facts, RouteFacts};
use crate::store::{By, Change, LIST_MAX, LaneFilter, Store, StoreError, Unsettled};

/// What deliveries that are not settled lose of their order with another configuration: in words, one for each route.
pub(super) fn reordered(before: (&Facts, &Plan), after: (&Facts, &Plan), unsettled: &[Unsettled]) -> Vec<String> {
    let mut told = abandoned(before.0, after.0, unsettled);
    told.extend(unled(before.1, after.1, unsettled));
    told.extend(led_still(before.1, after.1, unsettled));
    told
}

/// How many deliveries of a route are not settled.
fn standing(route: &str, unsettled: &[Unsettled]) -> u64 {
    unsettled.iter().filter(|found| found.way.route == route).map(|found| found.count).sum()
}

/// What is to be told of a plan's routes of which deliveries stand, given how many, in the order of their names.
fn told_of(plan: &Plan, unsettled: &[Unsettled], told: impl Fn(&Route, u64) -> Option<String>) -> Vec<String> {
    let mut routes: Vec<_> = plan.routes.values().collect();
    routes.sort_by(|one, other| one.name.cmp(&other.name));
    let counted = routes.into_iter().map(|route| (route, standing(&route.name, unsettled)));
    counted.filter(|(_, count)| *count > 0).filter_map(|(route, count)| told(route, count)).collect()
}

/// Which routes come after another from now on while deliveries of theirs stand that wait for none.
fn unled(before: &Plan, after: &Plan, unsettled: &[Unsettled]) -> Vec<String> {
    told_of(after, unsettled, |route, count| {
        let (name, lead) = (&route.name, route.after.as_ref()?);
        let is_new = before.routes.get(name)?.after.is_none();
        is_new.then(|| {
            format!(
                "route {name} comes after {lead} from now on: up to {count} of its deliveries that are not settled were made before, \
                 and wait for no answer of that; each becomes a dead letter when its turn comes, and waits for it once it is \
                 replayed"
            )
        })
    })
}

/// Which routes come after no other from now on, or after another one, while deliveries of theirs stand that were made to
/// wait for the one of before. They were made as pairs, and stay so.
fn led_still(before: &Plan, after: &Plan, unsettled: &[Unsettled]) -> Vec<String> {
    told_of(before, unsettled, |route, count| {
        let (name, was) = (&route.name, route.after.as_ref()?);
        let is = after.routes.get(name)?.after.as_ref();
        (is != Some(was)).then(|| {
            let now = is.map_or("after no other route".to_owned(), |lead| format!("after {lead}"));
            format!(
                "route {name} comes {now} from now on: up to {count} of its deliveries that are not settled were made to wait for \
                 {was}, and still do; one whose wait comes to nothing becomes a dead letter, and goes by the route of now once \
                 it is replayed"
            )
        })
    })
}

/// Lets lanes go on that stop at dead letters of routes which say `on_dead = "continue"` by now; how many. The letters stay.
pub(super) async fn let_go(
    store: &dyn Store,
    dispatch: &Dispatch,
    by: &By,
    now: impl Fn() -> Timestamp,
    is_over: impl Fn() -> bool,
) -> u64 {
    let mut total = 0;
    loop {
        let (mut freed, mut after) = (0, None);
        loop {
            let filter = LaneFilter { system: None, after, limit: Some(LIST_MAX) };
            let Ok(lanes) = store.lanes(filter).await else { return total };
            let heads = lanes.rows.into_iter().map(|lane| lane.head);
            for head in heads.filter(|head| dispatch.lets_go(head)) {
                if is_over() {
                    return total;
                }
                match store.change(head.delivery_id, Change::LetGo, None, by.clone(), now()).await {
                    Ok(_) => {
                        freed += 1;
                        dispatch.wake(&head.system);
                    }
                    // A person was there before.
                    Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                    Err(error) => {
                        tracing::warn!(delivery = %head.delivery_id, %error, "its lane could not be let go on");
                        return total;
                    }
                }
            }
            match lanes.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // Behind a dead letter that was let go another may stop its lane.
        if freed == 0 {
            return total;
        }
        total += freed;
    }
}

/// Which routes keep their order by other lanes than before while deliveries of theirs stand in those: what comes now does
/// not wait for these. A route that keeps no order, before or now, has none to lose.
fn abandoned(before: &Facts, after: &Facts, unsettled: &[Unsettled]) -> Vec<String> {
    let told = |route: &RouteFacts| {
        let name = &route.summary.route;
        let known = before.routes.iter().find(|known| known.summary.route == *name)?;
        let (was, is) = (known.summary.lane.as_str(), route.summary.lane.as_str());
        let count = standing(name, unsettled);
        (was != is && was != "none" && is != "none" && count > 0).then(|| {
            format!(
                "route {name} keeps its order by {is} from now on, and by {was} until now: {count} of its deliveries that are not \
                 settled stay in the lanes of before, and what comes now of their records does not wait for them; where the \
                 order counts, let those go out first, with the route's sources or its system at rest"
            )
        })
    };
    after.routes.iter().filter_map(told).collect()
}
